/* SPDX-License-Identifier: MIT
 * tests/cpu/test-kvm.c - the KVM accelerator: registers and events there and back (target/x86/kvm-ops.c, kvm-regs.c,
 * kvm-fpu.c, kvm-msrs.c, kvm-events.c), and what can be said of a host (accel/kvm/open.c).
 * Threads: main.
 */
#include "config.h"
#include "rhea/system/vmstate.h"
#include "target/x86/kvm.h"
#include "tests/cpu/kvmguest.h"

#include <glib/gstdio.h>
#include <string.h>
#include <unistd.h>

/* ---- registers ---- */

static GByteArray *state_of(Guest *g)
{
    GByteArray *a = g_byte_array_new();
    g->cpu->tsc_offset = 0; /* time goes on between two looks */
    vmstate_save(x86_64_target_ops.vmstate, g->cpu, a);
    return a;
}

static void there_and_back(Guest *g, const char *what)
{
    Vcpu *v = &g->cpu->vcpu;
    g_autoptr(GByteArray) before = state_of(g);
    x86_kvm_ops.push(v, true, &error_abort_slot);
    /* What is pulled must come from there. */
    memset(g->cpu->gpr, 0x5a, 16 * sizeof(g->cpu->gpr[0]));
    memset(g->cpu->xmm, 0x5a, sizeof(g->cpu->xmm));
    memset(g->cpu->dr, 0x5a, 4 * sizeof(g->cpu->dr[0]));
    memset(g->cpu->fpu.r, 0x5a, sizeof(g->cpu->fpu.r));
    for (unsigned i = 0; i < SEG_COUNT; i++) {
        g->cpu->seg[i].base = 0x5a5a;
    }
    g->cpu->rip = g->cpu->cr2 = g->cpu->cr3 = g->cpu->lstar = g->cpu->star = g->cpu->mtrr_base[3] = 0x5a5a;
    g->cpu->mxcsr = 0x1f80;
    g->cpu->dr[6] = g->cpu->dr[7] = 0x5a5a;
    for (unsigned i = 0; i < g->cpu->kvm->n_msrs; i++) { /* every register that travels */
        *(uint64_t *)((char *)g->cpu + g->cpu->kvm->msrs[i].off) = 0x5a5a5a5a5a5a5a5a;
    }
    x86_kvm_ops.pull(v, &error_abort_slot);
    g_autoptr(GByteArray) after = state_of(g);
    g_assert_cmpuint(before->len, ==, after->len);
    for (unsigned i = 0; i < before->len; i++) {
        if (before->data[i] != after->data[i]) {
            g_error("%s: byte %u of the saved state is 0x%02x, was 0x%02x", what, i, after->data[i], before->data[i]);
        }
    }
}

static uint64_t rand64(GRand *r) { return (uint64_t)g_rand_int(r) << 32 | g_rand_int(r); }

static void random_fpu(X86Cpu *cpu, GRand *r)
{
    static const uint16_t words[] = { 0x37f, 0x27f, 0x7f, 0xf7f };
    cpu->fpu.cw = words[g_rand_int_range(r, 0, 4)];
    cpu->fpu.top = g_rand_int(r) & 7;
    cpu->fpu.sw = (uint16_t)(g_rand_int(r) & 0x4700);
    cpu->fpu.tags = (uint8_t)g_rand_int(r);
    cpu->fpu.fop = g_rand_int(r) & 0x7ff;
    cpu->fpu.fip = rand64(r) >> 17;
    cpu->fpu.fdp = rand64(r) >> 17;
    cpu->fpu.fcs = cpu->fpu.fds = 0;
    for (unsigned i = 0; i < 8; i++) {
        cpu->fpu.r[i] = (X86F80){ .sig = rand64(r) | 1ull << 63, .se = (uint16_t)(g_rand_int(r) & 0xbfff) };
    }
    cpu->mxcsr = 0x1f80 | (g_rand_int(r) & 0xe03f);
    for (unsigned i = 0; i < 16; i++) {
        for (unsigned k = 0; k < 2; k++) {
            cpu->xmm[i].q[k] = rand64(r);
        }
    }
}

static void random_msrs(X86Cpu *cpu, GRand *r)
{
    cpu->star = rand64(r);
    cpu->lstar = rand64(r) >> 17;
    cpu->cstar = rand64(r) >> 17;
    cpu->fmask = g_rand_int(r);
    cpu->kernel_gs_base = rand64(r) >> 17;
    cpu->sysenter_cs = g_rand_int(r) & 0xffff;
    cpu->sysenter_esp = rand64(r) >> 17;
    cpu->sysenter_eip = rand64(r) >> 17;
    cpu->pat = g_rand_boolean(r) ? 0x0007040600070406ull : 0x0407050600070106ull;
    for (unsigned i = 0; i < 8; i++) {
        cpu->mtrr_base[i] = (rand64(r) & 0xfffff000) | 6;
        cpu->mtrr_mask[i] = (rand64(r) & 0xfffff000) | 0x800;
    }
    for (unsigned i = 0; i < 11; i++) {
        cpu->mtrr_fixed[i] = g_rand_boolean(r) ? 0x0606060606060606ull : 0;
    }
    cpu->mtrr_def = 0xc00 | (g_rand_boolean(r) ? 6 : 0);
    for (unsigned i = 0; i < cpu->kvm->n_msrs; i++) { /* those of which this KVM has some only */
        const KvmMsr *k = &cpu->kvm->msrs[i];
        uint64_t *v = (uint64_t *)((char *)cpu + k->off), bits = rand64(r);
        switch (k->index) {
        case 0xc0000103: *v = (uint32_t)bits; break;              /* TSC_AUX */
        case 0x3b: *v = bits >> 20; break;                        /* TSC_ADJUST */
        case 0x8b: *v = bits; break;                              /* BIOS_SIGN_ID */
        case 0x17a: *v = bits & 7; break;                         /* MCG_STATUS */
        case 0x17b: *v = g_rand_boolean(r) ? UINT64_MAX : 0; break; /* MCG_CTL */
        case 0x400 ... 0x427: *v = k->index % 4 || !g_rand_boolean(r) ? k->index % 4 ? bits : 0 : UINT64_MAX; break;
        }
    }
}

static void random_regs(X86Cpu *cpu, GRand *r)
{
    for (unsigned i = 0; i < 16; i++) {
        cpu->gpr[i] = rand64(r);
    }
    cpu->rip = rand64(r) >> 33;
    cpu->eflags = 2 | (g_rand_int(r) & (FL_IF | FL_DF | FL_ID | FL_IOPL));
    x86_set_eflags_arith(cpu, g_rand_int(r) & FL_ARITH);
    cpu->cr2 = rand64(r);
    cpu->cr3 = (uint64_t)(g_rand_int(r) & 0x7ff000);
    for (unsigned i = 0; i < 4; i++) {
        cpu->dr[i] = rand64(r) >> 17;
    }
    cpu->dr[6] = 0xffff0ff0 | (g_rand_int(r) & 0xe00f);
    cpu->dr[7] = 0x400 | (g_rand_int(r) & 0xff0003ff);
    cpu->irq_shadow = g_rand_boolean(r);
    cpu->nmi_blocked = g_rand_boolean(r);
    cpu->gdt = (X86Table){ rand64(r) >> 17, (uint16_t)g_rand_int(r) };
    cpu->idt = (X86Table){ rand64(r) >> 17, (uint16_t)g_rand_int(r) };
    for (unsigned i = 0; i < SEG_COUNT; i++) {
        if (cpu->efer & EFER_LMA ? i == SEG_FS || i == SEG_GS : true) {
            cpu->seg[i].base = cpu->seg_base[i] = g_rand_int(r) & ~15u;
        }
    }
}

static void test_registers(void)
{
    if (kvm_skipped()) {
        return;
    }
    g_autoptr(GRand) r = g_rand_new_with_seed(1);
    for (unsigned mode = 0; mode < 3; mode++) {
        static const char *const names[] = { "real mode", "protected mode", "long mode" };
        Guest *g = guest_on(ON_KVM, "max");
        if (mode) {
            (mode == 1 ? guest_pm32 : guest_long)(g);
        }
        there_and_back(g, names[mode]);
        for (unsigned k = 0; k < 50; k++) {
            random_regs(g->cpu, r);
            random_fpu(g->cpu, r);
            random_msrs(g->cpu, r);
            there_and_back(g, names[mode]);
        }
        guest_free(g);
    }
}

/* AVX and PKRU where the CPU has them, XCR0. */
static void test_extended(void)
{
    if (kvm_skipped()) {
        return;
    }
    g_autoptr(GRand) r = g_rand_new_with_seed(2);
    Guest *g = guest_on(ON_KVM, "max");
    guest_long(g);
    if (!x86_has_feature(g->cpu, "avx")) {
        g_test_skip("this KVM offers no AVX");
        guest_free(g);
        return;
    }
    for (unsigned k = 0; k < 20; k++) {
        random_fpu(g->cpu, r);
        g->cpu->cr4 |= CR4_OSXSAVE;
        g->cpu->xcr0 = 7;
        for (unsigned i = 0; i < 16; i++) {
            g->cpu->xmm[i].q[2] = rand64(r);
            g->cpu->xmm[i].q[3] = rand64(r);
        }
        there_and_back(g, "extended state");
    }
    guest_free(g);
}

/* What KVM is about to deliver comes into the CPU struct, goes back, travels in saved state; the interpreter delivers it. A reset
 * forgets it. */
static void test_events(void)
{
    if (kvm_skipped()) {
        return;
    }
    Guest *g = guest_on(ON_KVM, NULL);
    guest_long(g);
    static const X86Held held[] = { { X86_HELD_EXCEPTION, EXC_GP, 0x1234 }, { X86_HELD_INTERRUPT, 0x31, 0 }, { X86_HELD_NMI, EXC_NMI, 0 } };
    Vcpu *v = &g->cpu->vcpu;
    x86_kvm_ops.push(v, true, &error_abort_slot);
    x86_kvm_ops.pull(v, &error_abort_slot);
    for (unsigned i = 0; i < G_N_ELEMENTS(held); i++) {
        g->cpu->held = held[i];
        g->cpu->nmi_blocked = held[i].kind == X86_HELD_NMI;
        there_and_back(g, "a held event");
        g_autoptr(GByteArray) state = state_of(g);
        for (unsigned engine = 0; engine < 2; engine++) { /* KVM; the interpreter behind it */
            VcpuExit out = { 0 };
            const uint8_t *p = state->data;
            memset(&g->cpu->held, 0, sizeof(g->cpu->held));
            g_assert_true(vmstate_load(x86_64_target_ops.vmstate, g->cpu, &p, state->data + state->len, &error_abort_slot));
            g_assert_cmpint(g->cpu->held.kind, ==, held[i].kind);
            kvm_of(v)->own = kvm_of(v)->fresh = true;
            guest_put(g, G_CODE, "\xf4", 1);
            g->cpu->rip = G_CODE;
            g->cpu->gpr[R_RSP] = G_STACK0;
            if (engine == 0) {
                guest_continue(g);
            } else {
                v->halted = false;
                while (!v->halted) {
                    kvm_x86_run_software(g->cpu, 10, &out);
                }
            }
            g_assert_cmpint(guest_vector(g), ==, held[i].vector);
            g_assert_cmphex(guest_frame(g, 0), ==, held[i].kind == X86_HELD_EXCEPTION ? 0x1234 : G_CODE);
            g_assert_cmpint(g->cpu->held.kind, ==, X86_HELD_NONE);
        }
    }
    g->cpu->held = held[0];
    x86_cpu_reset(g->cpu, RESET_COLD);
    x86_kvm_ops.push(v, true, &error_abort_slot);
    x86_kvm_ops.pull(v, &error_abort_slot);
    g_assert_cmpint(g->cpu->held.kind, ==, X86_HELD_NONE);
    there_and_back(g, "after reset");
    guest_free(g);
}

/* ---- errors ---- */

static void open_fails(const char *path, const char *text, const char *hint)
{
    Error *err = NULL;
    g_assert_cmpint(kvm_open(path, &err), ==, -1);
    g_assert_nonnull(strstr(error_text(err), text));
    g_assert_nonnull(error_hint_text(err));
    g_assert_nonnull(strstr(error_hint_text(err), hint));
    error_free(err);
}

static void test_errors(void)
{
    g_autofree char *dir = g_dir_make_tmp("rhea-kvm-XXXXXX", NULL);
    g_autofree char *file = g_build_filename(dir, "kvm", NULL);
    open_fails(file, "does not exist", "-accel tcg");
    g_assert_true(g_file_set_contents(file, "", 0, NULL));
    open_fails(file, "is no KVM device", "remove the file");
    open_fails("/dev/null", "is no KVM device", "remove the file");
    if (getuid() != 0) {
        g_chmod(file, 0);
        open_fails(file, "permission denied", "usermod -aG kvm");
    }
    g_unlink(file);
    g_rmdir(dir);
    char *why = NULL;
    KvmHost host = kvm_host_class(&why);
    g_assert_true((host == KVM_HOST_HARDWARE) == !why);
    g_test_message("this host: %s%s%s", host == KVM_HOST_HARDWARE ? "hardware" : host == KVM_HOST_EMULATED ? "emulated" : "none",
                   why ? ", " : "", why ? why : "");
    g_free(why);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/cpu/kvm/errors", test_errors);
    g_test_add_func("/cpu/kvm/registers", test_registers);
    g_test_add_func("/cpu/kvm/extended", test_extended);
    g_test_add_func("/cpu/kvm/events", test_events);
    return g_test_run();
}
