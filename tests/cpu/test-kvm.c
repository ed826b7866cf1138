/* SPDX-License-Identifier: MIT
 * tests/cpu/test-kvm.c - the KVM accelerator: registers there and back, memory slots, exits, kicks, completed
 * instructions, errors; and small guests that must come to the same end in tier 0, tier 1 and on KVM.
 * What this host's KVM cannot do is skipped for the reason a probe found.
 * Threads: main, and vCPU threads of the guests that have them.
 */
#include "config.h"
#include "target/x86/kvm.h"
#include "accel/kvm/kvm_internal.h"
#include "rhea/accel/tcg.h"
#include "rhea/hw/apic.h"
#include "rhea/hw/intc.h"
#include "rhea/system/vmstate.h"
#include "target/x86/t1.h"
#include "tests/cpu/sysguest.h"

#include <glib/gstdio.h>
#include <string.h>
#include <unistd.h>

typedef enum Engine { TIER0, TIER1, ON_KVM, ENGINES } Engine;
static const char *const engine_names[] = { "tier 0", "tier 1", "kvm" };

/* True: there is none, and the test says so. */
static bool no_kvm(void)
{
    Error *err = NULL;
    if (kvm_available(&err)) {
        return false;
    }
    g_test_skip(error_text(err));
    error_free(err);
    return true;
}

static Guest *guest_on(Engine e, const char *model)
{
    g_setenv("RHEA_TEST_ACCEL", e == ON_KVM ? "kvm" : "tcg", true);
    g_setenv("RHEA_TEST_TIER", e == TIER1 ? "1" : "0", true);
    return guest_new(model);
}

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
    if (no_kvm()) {
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
    if (no_kvm()) {
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
    if (no_kvm()) {
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

/* ---- the same guests on every engine ---- */

typedef struct Result {
    uint64_t gpr[16], rip, cr2;
    uint32_t eflags;
    int vector;
    bool down;
    unsigned n_io, n_in;
    GuestIo io[32];
    uint32_t data;
} Result;

typedef enum Mode { REAL16, PROT32, LONG64, USER64, PAGED32 } Mode;
typedef struct Case {
    const char *name;
    Mode mode;
    const uint8_t *code, *end;
} Case;

static void enter_mode(Guest *g, Mode mode)
{
    switch (mode) {
    case REAL16:
        for (unsigned i = 0; i < SEG_COUNT; i++) {
            g->cpu->seg[i] = (X86Seg){ .limit = 0xffff, .attr = SA_P | SA_S | SA_RW | SA_ACCESSED };
            g->cpu->seg_base[i] = 0;
        }
        g->cpu->seg[SEG_CS] = (X86Seg){ .sel = G_CODE >> 4, .base = G_CODE, .limit = 0xffff,
                                        .attr = SA_P | SA_S | SA_CODE | SA_RW | SA_ACCESSED };
        g->cpu->idt = (X86Table){ 0, 0x3ff };
        for (unsigned v = 0; v < 256; v++) { /* each vector halts at its own place */
            guest_st(g, v * 4, 4, (uint64_t)(G_HANDLERS >> 4) << 16 | v * 16);
            guest_st(g, G_HANDLERS + v * 16, 1, 0xf4);
        }
        g->cpu->gpr[R_RSP] = 0x8000;
        g->cpu->wait_sipi = g->cpu->vcpu.halted = false;
        break;
    case PROT32: guest_pm32(g); break;
    case PAGED32: guest_pm32(g); guest_paging32(g); break;
    case LONG64: guest_long(g); break;
    case USER64: guest_long(g); guest_user(g); break;
    }
    g->cpu->cr4 |= CR4_OSFXSR | CR4_OSXMMEXCPT;
    g->cpu->cr0 |= CR0_NE | CR0_MP;
    x86_update_mode(g->cpu);
}

static Result run_case(Engine e, const Case *c, uint64_t *completed)
{
    Result r = { 0 };
    Guest *g = guest_on(e, NULL);
    enter_mode(g, c->mode);
    guest_put(g, G_CODE, c->code, (size_t)(c->end - c->code));
    g->cpu->rip = c->mode == REAL16 ? 0 : G_CODE;
    g->cpu->gpr[R_RDI] = G_DATA;
    g->cpu->gpr[R_RSI] = G_DATA + 0x800;
    for (unsigned i = 0; i < 64; i++) {
        guest_st(g, G_DATA + 0x800 + i, 1, i * 7 + 1);
    }
    guest_continue(g);
    memcpy(r.gpr, g->cpu->gpr, sizeof(r.gpr));
    r.rip = g->cpu->rip;
    r.cr2 = g->cpu->cr2;
    r.eflags = x86_get_eflags(g->cpu) & ~(FL_RF | FL_AF);
    r.vector = guest_vector(g);
    r.down = g->shut_down;
    r.n_io = g->n_io;
    r.n_in = g->n_in;
    memcpy(r.io, g->io, sizeof(r.io));
    for (unsigned i = 0; i < 0x1000; i++) {
        r.data = r.data * 31 + (uint8_t)guest_ld(g, G_DATA + i, 1);
    }
    if (completed) {
        *completed = g->cpu->kvm->completed + g->cpu->kvm->software_insns;
    }
    guest_free(g);
    return r;
}

static void same_result(const Case *c, Engine e, const Result *want, const Result *got)
{
    static const char *const regs[] = { "rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi",
                                        "r8",  "r9",  "r10", "r11", "r12", "r13", "r14", "r15" };
    for (unsigned i = 0; i < 16; i++) {
        if (want->gpr[i] != got->gpr[i]) {
            g_error("%s: %s is 0x%" PRIx64 " on %s, 0x%" PRIx64 " on tier 0", c->name, regs[i], got->gpr[i],
                    engine_names[e], want->gpr[i]);
        }
    }
    if (memcmp(want, got, sizeof(*want))) {
        g_error("%s: on %s rip 0x%" PRIx64 " flags 0x%x vector %d down %d out %u in %u data 0x%x cr2 0x%" PRIx64
                ", on tier 0 rip 0x%" PRIx64 " flags 0x%x vector %d down %d out %u in %u data 0x%x cr2 0x%" PRIx64,
                c->name, engine_names[e], got->rip, got->eflags, got->vector, got->down, got->n_io, got->n_in, got->data,
                got->cr2, want->rip, want->eflags, want->vector, want->down, want->n_io, want->n_in, want->data, want->cr2);
    }
}

#define CASE(n, m) { #n, m, n, n##_end }
/* Integer code, all sizes of ports, strings of ports, stack, loops, far returns. */
GUEST_CODE(k_real, 16, "mov $0x1234, %ax\n mov $7, %cx\n 1: add %cx, %ax\n rol $3, %ax\n loop 1b\n out %al, $0x80\n"
                       "out %ax, $0x82\n in $0x85, %al\n in $0x86, %ax\n mov $0x3000, %bx\n mov %bx, %es\n mov $0x5555aaaa, %edx\n"
                       "mov %edx, %es:(0x10)\n mov %es:(0x11), %si\n push %si\n pop %di\n sti\n cli\n pushf\n pop %bp\n");
GUEST_CODE(k_real_int, 16, "mov $0x77, %dx\n int $0x42\n");
GUEST_CODE(k_real_div, 16, "xor %cx, %cx\n div %cx\n");
GUEST_CODE(k_pm, 32, "mov $100, %ecx\n 1: imul $17, %ecx, %eax\n xor %eax, (%edi,%ecx,4)\n adc %eax, %ebx\n bswap %eax\n"
                     "dec %ecx\n jnz 1b\n mov %cr0, %edx\n out %eax, $0x84\n in $0x80, %eax\n mov $0x80, %edx\n"
                     "mov $5, %ecx\n rep outsb\n mov $3, %ecx\n rep insb\n cmpxchg8b (%edi)\n");
GUEST_CODE(k_pm_ud, 32, "mov $1, %eax\n ud2\n");
GUEST_CODE(k_long, 64, "mov $50, %rcx\n movabs $0x0123456789abcdef, %rax\n 1: ror $7, %rax\n mulq %rax\n add %rdx, %r9\n"
                       "mov %rax, (%rdi,%rcx,8)\n lock xadd %rax, (%rdi,%rcx,8)\n bsf %rax, %r10\n cmovz %rcx, %r11\n"
                       "loop 1b\n out %eax, $0x80\n in $0x80, %eax\n mov %cr3, %r12\n mov %cr4, %r13\n call 2f\n jmp 3f\n"
                       "2: ret\n 3: movdqu (%rsi), %xmm0\n movdqu %xmm0, 64(%rdi)\n fxsave 0x100(%rdi)\n movl $0, 0x118(%rdi)\n"
                       "movl $0, 0x11c(%rdi)\n test %r9, %r9\n");
GUEST_CODE(k_long_pf, 64, "mov $0x900008, %rax\n mov %rax, (%rax)\n");
GUEST_CODE(k_long_gp, 64, "movabs $0x8000000000000000, %rax\n mov (%rax), %rbx\n");
GUEST_CODE(k_long_down, 64, "lidt 2f(%rip)\n ud2\n 2: .word 0\n .quad 0\n");
GUEST_CODE(k_user, 64, "mov $1000, %rcx\n 1: add %rcx, %rax\n lea 3(%rax,%rcx,2), %rbx\n xor %rbx, %rdx\n loop 1b\n"
                       "movq %rdx, %xmm1\n paddq %xmm1, %xmm1\n movq %xmm1, %r8\n div %rcx\n");
GUEST_CODE(k_paged, 32, "mov $3, %ecx\n 1: mov %ecx, (%edi,%ecx,4)\n add (%edi,%ecx,4), %eax\n loop 1b\n mov %cr3, %edx\n"
                        "mov %edx, %cr3\n mov $0x80000000, %ebx\n or $0x3c, %bl\n mov 0x7ffffc(,%eax,1), %esi\n");
GUEST_CODE(k_paged_off, 32, "mov %cr0, %eax\n and $0x7fffffff, %eax\n mov %eax, %cr0\n mov $11, %ebx\n or $0x80000000, %eax\n"
                            "mov %eax, %cr0\n mov $12, %ecx\n mov %ebx, (%edi)\n and $0x7fffffff, %eax\n mov %eax, %cr0\n"
                            "mov $13, %edx\n out %eax, $0x80\n");
/* From real protected mode: builds an identity map of 4 MiB pages at 1 MiB, switches paging on and off. */
GUEST_CODE(k_page_on, 32, "push $0\n push $0\n lidt (%esp)\n mov $0x100000, %edx\n mov $0x83, %eax\n 1: mov %eax, (%edx)\n add $4, %edx\n add $0x400000, %eax\n"
                          "cmp $0x100010, %edx\n jb 1b\n mov $0x100000, %edx\n mov %edx, %cr3\n mov %cr4, %edx\n or $0x10, %edx\n"
                          "mov %edx, %cr4\n mov %cr0, %eax\n or $0x80000000, %eax\n mov %eax, %cr0\n jmp 2f\n 2: mov $21, %ebx\n"
                          "mov %ebx, (%edi)\n mov 0x4(%edi), %ecx\n and $0x7fffffff, %eax\n mov %eax, %cr0\n mov $22, %ecx\n"
                          "out %al, $0x81\n");
static const Case cases[] = {
    CASE(k_real, REAL16), CASE(k_real_int, REAL16), CASE(k_real_div, REAL16), CASE(k_pm, PROT32), CASE(k_pm_ud, PROT32),
    CASE(k_long, LONG64), CASE(k_long_pf, LONG64), CASE(k_long_gp, LONG64), CASE(k_long_down, LONG64),
    CASE(k_user, USER64), CASE(k_paged, PAGED32), CASE(k_paged_off, PAGED32),
    CASE(k_page_on, PROT32),
};

static void test_same(gconstpointer data)
{
    const Case *c = data;
    Result want = run_case(TIER0, c, NULL), t1 = run_case(TIER1, c, NULL);
    same_result(c, TIER1, &want, &t1);
    if (no_kvm()) {
        return;
    }
    uint64_t software;
    Result got = run_case(ON_KVM, c, &software);
    g_test_message("%" PRIu64 " instructions in software", software);
    same_result(c, ON_KVM, &want, &got);
}

/* ---- instructions that some KVMs give up on ---- */

GUEST_CODE(c_fwait, 64, "fninit\n fwait\n fld1\n fldpi\n faddp\n fstpl (%rdi)\n mov (%rdi), %rax\n");
GUEST_CODE(c_int3, 64, "mov $5, %eax\n int3\n");
GUEST_CODE(c_intn, 64, "mov $6, %eax\n int $0x42\n");
GUEST_CODE(c_iret, 32, "pushf\n push %cs\n push $0\n call 2f\n 2: pop %eax\n add $(1f-2b), %eax\n mov %eax, (%esp)\n"
                       "iret\n ud2\n 1: mov $9, %ebx\n");
GUEST_CODE(c_sse, 64, "movdqu (%rsi), %xmm2\n paddd %xmm2, %xmm2\n pxor %xmm3, %xmm3\n punpcklbw %xmm3, %xmm2\n movdqu %xmm2, (%rdi)\n"
                      "cvtsi2sd %rsi, %xmm4\n mulsd %xmm4, %xmm4\n cvtsd2si %xmm4, %rbx\n ldmxcsr 2f(%rip)\n stmxcsr 32(%rdi)\n"
                      "jmp 3f\n 2: .long 0x1f80\n 3: nop\n");
GUEST_CODE(c_lar, 64, "mov $0x10, %ecx\n lar %ecx, %eax\n lsl %ecx, %edx\n verw %cx\n setz %bl\n");
GUEST_CODE(c_cx16, 64, "mov $1, %ebx\n mov $2, %ecx\n xor %eax, %eax\n xor %edx, %edx\n lock cmpxchg16b (%rdi)\n setz %r8b\n");
GUEST_CODE(c_many, 64, "mov $3000, %ecx\n fninit\n fldz\n 1: fld1\n faddp\n loop 1b\n fistpll (%rdi)\n fwait\n mov (%rdi), %rax\n");
GUEST_CODE(c_io, 64, "mov $20, %ecx\n 1: fwait\n mov %ecx, %eax\n out %al, $0x80\n fwait\n in $0x81, %al\n loop 1b\n");
static const Case completions[] = {
    CASE(c_fwait, LONG64), CASE(c_int3, LONG64), CASE(c_intn, LONG64), CASE(c_iret, PROT32), CASE(c_sse, LONG64),
    CASE(c_lar, LONG64), CASE(c_cx16, LONG64), CASE(c_many, LONG64), CASE(c_io, LONG64),
};

static VcpuExit run_on(Guest *g)
{
    VcpuExit e;
    do {
        e = g->m->accel->run(&g->cpu->vcpu);
    } while (e.why == EXIT_KICKED);
    return e;
}

/* complete-limit ends a guest with a message instead of running on. */
static void test_limit(void)
{
    if (no_kvm()) {
        return;
    }
    Guest *g = guest_on(ON_KVM, NULL);
    enter_mode(g, LONG64);
    kvm_vm(g->m)->complete = false;
    guest_put(g, G_CODE, c_fwait, (size_t)(c_fwait_end - c_fwait));
    g->cpu->rip = G_CODE;
    VcpuExit e = run_on(g);
    if (e.why == EXIT_HALT) {
        g_test_skip("this KVM runs every instruction");
    } else {
        g_assert_cmpint(e.why, ==, EXIT_ERROR);
        kvm_vm(g->m)->complete = true;
        e = run_on(g); /* the state was kept: it goes on from there */
        g_assert_cmpint(e.why, ==, EXIT_HALT);
        g_assert_cmpuint(g->cpu->kvm->completed, >, 0);
        kvm_vm(g->m)->complete_limit = 1;
        g->m->accel->regs_pull(&g->cpu->vcpu);
        g->cpu->vcpu.halted = false;
        g->cpu->rip = G_CODE;
        e = run_on(g);
        g_assert_cmpint(e.why, ==, EXIT_ERROR);
    }
    guest_free(g);
}

/* ---- memory ---- */

typedef struct Window {
    MemRegion rom, io, ram;
    unsigned reads, writes;
    uint64_t last;
} Window;

static uint64_t window_read(void *opaque, MemAccess *a)
{
    Window *w = opaque;
    w->reads++;
    return 0x1122334455667788ull >> (8 * (a->off & 7));
}

static void window_write(void *opaque, MemAccess *a G_GNUC_UNUSED, uint64_t val)
{
    Window *w = opaque;
    w->writes++;
    w->last = val;
}

static const MemOps window_ops = { .read = window_read, .write = window_write, .min = 1, .max = 8, .unaligned = true };

/* Above RAM: ROM at 16 MiB, registers in the page behind, a hole behind that. The code reads and writes all three. */
GUEST_CODE(m_access, 32, "mov (%ebx), %eax\n movl $0x99999999, (%ebx)\n mov (%ebx), %ecx\n mov 0x1000(%ebx), %edx\n"
                         "mov %edi, 0x1004(%ebx)\n mov 0x2000(%ebx), %esi\n movl $1, 0x2000(%ebx)\n movw 0x1001(%ebx), %bp\n");

static void test_memory(void)
{
    enum { AT = 16 << 20 };
    if (no_kvm()) {
        return;
    }
    for (Engine e = TIER0; e < ENGINES; e++) {
        Window w = { 0 };
        Guest *g = guest_on(e, NULL);
        RamBlock *ram = ram_new(g->m, "rom", 4096, &error_abort_slot);
        memset(ram->host, 0x42, 4096);
        region_init_rom(&w.rom, NULL, "rom", ram);
        region_init_io(&w.io, NULL, "registers", &window_ops, &w, 4096);
        region_map(&g->m->sysmem, AT, &w.rom, 1);
        region_map(&g->m->sysmem, AT + 4096, &w.io, 1);
        guest_pm32(g);
        for (unsigned turn = 0; turn < 3; turn++) {
            g->cpu->gpr[R_RBX] = AT;
            g->cpu->gpr[R_RDI] = 0xabcdef01;
            g->cpu->gpr[R_RBP] = 0;
            guest_run(g, m_access);
            uint32_t first = turn == 0 ? 0x42424242 : turn == 1 ? 0x99999999 : 0xffffffff;
            g_assert_cmphex(g->cpu->gpr[R_RAX], ==, turn == 1 ? 0x42424242 : first);
            g_assert_cmphex(g->cpu->gpr[R_RCX], ==, first);
            g_assert_cmphex(g->cpu->gpr[R_RDX], ==, 0x55667788);
            g_assert_cmphex(g->cpu->gpr[R_RSI], ==, 0xffffffff);
            g_assert_cmphex(g->cpu->gpr[R_RBP], ==, 0x6677);
            g_assert_cmphex(w.last, ==, 0xabcdef01);
            g_assert_cmpuint(w.writes, ==, turn + 1);
            if (turn == 0) {
                region_set_readonly(&w.rom, false);
            } else {
                region_set_enabled(&w.rom, false);
            }
        }
        region_unmap(&w.rom);
        region_unmap(&w.io);
        region_fini(&w.rom);
        region_fini(&w.io);
        ram_unref(ram);
        guest_free(g);
    }
}

GUEST_CODE(m_dirty, 32, "mov %ebx, (%ebx)\n mov %ecx, (%ecx)\n");

static void test_dirty(void)
{
    if (no_kvm()) {
        return;
    }
    for (Engine e = TIER0; e < ENGINES; e++) {
        unsigned long bits[G_RAM / 4096 / 64];
        Guest *g = guest_on(e, NULL);
        guest_pm32(g);
        guest_run(g, m_dirty); /* once before anybody asks */
        dirty_enable(g->m->ram, DIRTY_MIGRATION, true);
        g_assert_cmpuint(dirty_take(g->m->ram, DIRTY_MIGRATION, 0, G_RAM / 4096, bits), ==, G_RAM / 4096);
        g_assert_cmpuint(dirty_take(g->m->ram, DIRTY_MIGRATION, 0, G_RAM / 4096, bits), ==, 0);
        for (unsigned turn = 0; turn < 3; turn++) {
            g->cpu->gpr[R_RBX] = 0x300000 + turn * 4096;
            g->cpu->gpr[R_RCX] = 0x412345;
            g->cpu->vcpu.halted = false;
            g->cpu->rip = G_CODE;
            guest_continue(g);
            size_t n = dirty_take(g->m->ram, DIRTY_MIGRATION, 0, G_RAM / 4096, bits);
            g_assert_true(n == 2 || (n > 2 && e != ON_KVM)); /* tiers may name pages again that they could write */
            g_assert_true(bits[0x300 / 64] >> turn & 1);
            g_assert_true(bits[0x412 / 64] >> (0x412 % 64) & 1);
        }
        dirty_enable(g->m->ram, DIRTY_MIGRATION, false);
        guest_free(g);
    }
}

/* ---- threads ---- */

GUEST_CODE(t_spin, 32, "1: inc %eax\n jmp 1b\n");
GUEST_CODE(t_rom, 32, "1: mov (%ebx), %eax\n incl (%edi)\n jmp 1b\n");

static Guest *threaded(const uint8_t *code, size_t n)
{
    g_setenv("RHEA_TEST_ACCEL", "kvm", true);
    Guest *g = guest_new_smp(NULL, 2, false);
    guest_pm32(g);
    guest_put(g, G_CODE, code, n);
    g->cpu->rip = G_CODE;
    g->cpu->gpr[R_RBX] = 16 << 20;
    g->cpu->gpr[R_RDI] = G_DATA;
    return g;
}

/* A guest that never leaves by itself is stopped, looked at, and goes on, again and again. */
static void test_kick(void)
{
    if (no_kvm()) {
        return;
    }
    Guest *g = threaded(t_spin, (size_t)(t_spin_end - t_spin));
    uint64_t last = 0;
    for (unsigned i = 0; i < 50; i++) {
        machine_start(g->m);
        g_usleep(i % 3 * 700);
        machine_stop(g->m, RUN_PAUSED);
        uint64_t now = g->cpu->gpr[R_RAX];
        g_assert_true(i == 0 || (uint32_t)(now - last) < 1u << 31);
        g_assert_cmpuint(g->cpu->rip - G_CODE, <, 5);
        last = now;
    }
    g_assert_cmpuint(last, >, 0);
    guest_free(g);
}

/* Slots come and go under a running guest, which never sees a hole where RAM is. */
static void test_slots_change(void)
{
    if (no_kvm()) {
        return;
    }
    Guest *g = threaded(t_rom, (size_t)(t_rom_end - t_rom));
    RamBlock *ram = ram_new(g->m, "rom", 65536, &error_abort_slot);
    MemRegion top, low;
    region_init_ram(&top, NULL, "top", ram);
    region_init_io(&low, NULL, "cover", &window_ops, &(Window){ 0 }, 4096);
    region_map(&g->m->sysmem, 16 << 20, &top, 1);
    region_map(&g->m->sysmem, 0x7ff000, &low, 1); /* cuts the slot of RAM that the guest runs from */
    machine_start(g->m);
    for (unsigned i = 0; i < 200; i++) {
        region_set_enabled(&top, i & 1);
        region_set_enabled(&low, i % 3 == 0);
    }
    uint64_t was = guest_ld(g, G_DATA, 4);
    for (unsigned i = 0; i < 2000 && guest_ld(g, G_DATA, 4) == was; i++) {
        g_usleep(1000);
    }
    g_assert_cmphex(guest_ld(g, G_DATA, 4), !=, was);
    machine_stop(g->m, RUN_PAUSED);
    g_assert_cmpint(g->m->state, ==, RUN_PAUSED);
    g_assert_cmpuint(g->cpu->rip - G_CODE, <, 8);
    region_unmap(&top);
    region_unmap(&low);
    region_fini(&top);
    region_fini(&low);
    ram_unref(ram);
    guest_free(g);
}

/* ---- interrupts: a board with a local APIC and an I/O APIC ---- */

/* Long mode: timer, IPI to itself, level-triggered pin with its EOI, message, PIC vector; what came is counted per vector
 * at G_DATA + 8 * vector, R15 says which step waits. */
enum { V_TIMER = 0x40, V_SELF = 0x41, V_LEVEL = 0x42, V_MSI = 0x43, V_NMI = 2, LEVEL_PIN = 20 };
GUEST_CODE(i_handlers, 64,
           "push %rax\n incq 0x18000+8*0x40\n movabs $0xfee000b0, %rax\n movl $0, (%rax)\n pop %rax\n iretq\n .org i_handlers+64\n"
           "push %rax\n incq 0x18000+8*0x41\n movabs $0xfee000b0, %rax\n movl $0, (%rax)\n pop %rax\n iretq\n .org i_handlers+128\n"
           "push %rax\n incq 0x18000+8*0x42\n out %al, $0x80\n movabs $0xfee000b0, %rax\n movl $0, (%rax)\n pop %rax\n iretq\n"
           " .org i_handlers+192\n"
           "push %rax\n incq 0x18000+8*0x43\n movabs $0xfee000b0, %rax\n movl $0, (%rax)\n pop %rax\n iretq\n .org i_handlers+256\n"
           "incq 0x18000+8*2\n iretq\n");
/* APIC on; self IPI; one-shot timer until it came; then sleeps, counting wake-ups in R14. */
GUEST_CODE(i_main, 64, "movabs $0xfee00000, %rbx\n movl $0x1ff, 0xf0(%rbx)\n movl $0x40041, 0x300(%rbx)\n"
                       "sti\n 1: cmpq $1, 0x18000+8*0x41\n jne 1b\n movl $0xb, 0x3e0(%rbx)\n movl $0x40, 0x320(%rbx)\n"
                       "movl $1000000, 0x380(%rbx)\n 2: cmpq $1, 0x18000+8*0x40\n jne 2b\n mov $1, %r15d\n"
                       "3: hlt\n inc %r14\n jmp 3b\n");

typedef struct Board {
    Guest *g;
    Device *ioapic;
    IrqLine line;
    bool dropped;
} Board;

static void level_off(Board *b) { irq_set(&b->line, false); }

/* The handler's OUT is the device's acknowledge. */
static void ack_write(void *opaque, MemAccess *a G_GNUC_UNUSED, uint64_t val G_GNUC_UNUSED)
{
    level_off(opaque);
}

static uint64_t count_of(Guest *g, unsigned vector) { return guest_ld(g, G_DATA + 8 * vector, 8); }

static void await_count(Board *b, unsigned vector, uint64_t want)
{
    for (unsigned i = 0; i < 10000 && count_of(b->g, vector) < want; i++) {
        loop_turn(b->g->loop, false);
        g_usleep(500);
    }
    if (count_of(b->g, vector) != want) {
        g_autoptr(GString) text = g_string_new(NULL);
        machine_stop(b->g->m, RUN_PAUSED);
        x86_64_target_ops.print_regs(b->g->m->cpus[0], text);
        apic_print(b->g->m->cpus[0], text);
        g_error("vector 0x%x came %" PRIu64 " times, not %" PRIu64 "\n%s", vector, count_of(b->g, vector), want, text->str);
    }
}

static void run_interrupts(const char *chip)
{
    static const MemOps ack_ops = { .write = ack_write, .min = 1, .max = 4 };
    g_setenv("RHEA_TEST_ACCEL", chip ? "kvm" : "tcg", true);
    g_setenv("RHEA_TEST_TIER", "0", true);
    guest_accel_props = chip;
    Guest *g = guest_new_smp("max", 2, false);
    guest_accel_props = NULL;
    Board b = { .g = g };
    for (unsigned i = 0; i < 2; i++) {
        g_assert_nonnull(apic_create(g->m, g->m->cpus[i], g->m->unattached, &error_abort_slot));
    }
    b.ioapic = device_create(g->m, &ioapic_type, g->m->unattached, NULL, NULL, &error_abort_slot, NULL);
    device_map_mem(b.ioapic, device_region(b.ioapic, 0), 0xfec00000, 1);
    apic_set_eoi_target(g->m, b.ioapic);
    machine_reset(g->m, RESET_COLD);
    irq_connect(&b.line, &ioapic_sink, b.ioapic, LEVEL_PIN);
    MemRegion ack;
    region_init_io(&ack, NULL, "ack", &ack_ops, &b, 1);
    region_map(&g->m->sysio, 0x80, &ack, 2);
    guest_long(g);
    /* The APIC's page at 0xfee00000 and the I/O APIC's: 2 MiB pages in the fourth GiB. */
    guest_st(g, G_PT + 0x1000 + 3 * 8, 8, (G_PT + 0x3000) | 7);
    guest_st(g, G_PT + 0x3000 + 0x1f7 * 8, 8, 0xfee00000 | 0x9b);
    guest_put(g, G_HANDLERS + 0x8000, i_handlers, (size_t)(i_handlers_end - i_handlers));
    for (unsigned i = 0; i < 4; i++) {
        guest_gate64(g, G_IDT + (V_TIMER + i) * 16, S_CODE64, G_HANDLERS + 0x8000 + i * 64, 0x8e, 0);
    }
    guest_gate64(g, G_IDT + V_NMI * 16, S_CODE64, G_HANDLERS + 0x8000 + 4 * 64, 0x8e, 0);
    guest_put(g, G_CODE, i_main, (size_t)(i_main_end - i_main));
    /* Pin 20: level, fixed, to APIC 0. */
    as_store(&g->m->as_mem, 0xfec00000, 4, 0x10 + 2 * LEVEL_PIN, MEM_ATTRS_NONE);
    as_store(&g->m->as_mem, 0xfec00010, 4, 0x8000 | V_LEVEL, MEM_ATTRS_NONE);
    machine_start(g->m);
    await_count(&b, V_SELF, 1);
    await_count(&b, V_TIMER, 1);
    for (unsigned i = 1; i <= 3; i++) { /* each again after its EOI */
        irq_set(&b.line, true);
        await_count(&b, V_LEVEL, i);
        msi_send(g->m, (MsiMessage){ 0xfee00000, V_MSI });
        await_count(&b, V_MSI, i);
        vcpu_interrupt(g->m->cpus[0], X86_IRQ_NMI);
        await_count(&b, V_NMI, i);
        machine_stop(g->m, RUN_PAUSED);
        g_assert_cmpuint(g->cpu->gpr[R_R15], ==, 1);
        GByteArray *s = g_byte_array_new();
        machine_save(g->m, s, true);
        if (i == 2) { /* local APICs come back as they were */
            machine_reset(g->m, RESET_COLD);
            g_assert_true(machine_load(g->m, s->data, s->len, &error_abort_slot));
        }
        g_byte_array_unref(s);
        machine_start(g->m);
    }
    machine_stop(g->m, RUN_PAUSED);
    g_assert_cmpuint(g->cpu->gpr[14], >, 0);
    region_unmap(&ack);
    region_fini(&ack);
    guest_free(g);
}

static void test_interrupts(gconstpointer chip)
{
    if (chip && no_kvm()) {
        return;
    }
    run_interrupts(chip);
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
    for (unsigned i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_autofree char *path = g_strdup_printf("/cpu/kvm/same/%s", cases[i].name);
        g_test_add_data_func(path, &cases[i], test_same);
    }
    for (unsigned i = 0; i < G_N_ELEMENTS(completions); i++) {
        g_autofree char *path = g_strdup_printf("/cpu/kvm/complete/%s", completions[i].name);
        g_test_add_data_func(path, &completions[i], test_same);
    }
    g_test_add_func("/cpu/kvm/complete/limit", test_limit);
    g_test_add_data_func("/cpu/kvm/interrupts/tcg", NULL, test_interrupts);
    g_test_add_data_func("/cpu/kvm/interrupts/off", "off", test_interrupts);
    g_test_add_data_func("/cpu/kvm/interrupts/split", "split", test_interrupts);
    g_test_add_func("/cpu/kvm/memory", test_memory);
    g_test_add_func("/cpu/kvm/dirty", test_dirty);
    g_test_add_func("/cpu/kvm/kick", test_kick);
    g_test_add_func("/cpu/kvm/slots-change", test_slots_change);
    return g_test_run();
}
