/* SPDX-License-Identifier: MIT
 * tests/cpu/gdbguest.c - see gdbguest.h.
 */
#include "tests/cpu/gdbguest.h"
#include "rhea/accel/tcg.h"
#include "target/x86/sysint.h"
#include "target/x86/t1.h"

#include "config.h"
#include <stdio.h>
#ifdef HAVE_KVM
#include "rhea/accel/kvm.h"
const AccelOps *const accel_table[] = { &accel_tcg_ops, &accel_kvm_ops, NULL };
#else
const AccelOps *const accel_table[] = { &accel_tcg_ops, NULL };
#endif
const BoardType *const board_table[] = { &board_none, NULL };

GUEST_CODE(code_loop, 64,
           ".globl code_loop, code_loop_end, gdb_start, gdb_loop, gdb_after_call, gdb_after_store, gdb_after_load, gdb_after_rmw\n"
           ".globl gdb_after_lock, gdb_after_cross, gdb_after_far, gdb_f, gdb_f2\n"
           "gdb_start: xor %eax, %eax\n xor %ecx, %ecx\n"
           "gdb_loop: inc %rcx\n"
           "call gdb_f\n"
           "gdb_after_call: mov %rcx, (%rdi)\n"
           "gdb_after_store: mov 64(%rdi), %rdx\n"
           "gdb_after_load: incl 128(%rdi)\n"
           "gdb_after_rmw: lock incq 192(%rdi)\n"
           "gdb_after_lock: mov %rcx, 4092(%rdi)\n"
           "gdb_after_cross: mov 8200(%rdi), %rdx\n"
           "gdb_after_far: jmp gdb_loop\n"
           "gdb_f: inc %rax\n"
           "gdb_f2: nop\n"
           "ret\n");

/* Watchpoints on KVM are the host's. */
bool gdb_no_watch(bool skip)
{
#ifdef HAVE_KVM
    if (guest_on_kvm() && g_strcmp0(g_getenv("RHEA_TEST_CHIP"), "off") && kvm_host_class(NULL) != KVM_HOST_HARDWARE) {
        if (skip) {
            g_test_skip("this host's KVM emulates guests, and knows no watchpoints");
        }
        return true;
    }
#endif
    return false;
}

X86Cpu *gdb_put_cpu(Guest *g, unsigned i, const uint8_t *code, size_t n, uint64_t data)
{
    X86Cpu *cpu = g->cpu = x86_cpu(g->m->cpus[i]);
    guest_long(g);
    guest_put(g, G_CODE, code, n);
    cpu->rip = G_CODE;
    cpu->gpr[R_RSP] = 0x60000 + 0x1000 * i;
    cpu->gpr[R_RDI] = data;
    cpu->wait_sipi = cpu->vcpu.halted = false;
    t1_tune(cpu, !g_strcmp0(g_getenv("RHEA_TEST_TIER"), "1"), 0);
    return cpu;
}

GdbGuest gdb_guest_new(unsigned cpus, bool connect)
{
    guest_accel_props = guest_on_kvm() ? g_getenv("RHEA_TEST_CHIP") : NULL;
    GdbGuest f = { .g = guest_new_smp(NULL, cpus, false) };
    f.m = f.g->m;
    for (unsigned i = cpus; i-- > 0;) {
        put_code(&f, i, code_loop, i ? DATA_OTHER : DATA);
    }
    f.c = connect ? gc_new(f.m) : NULL;
    return f;
}

void gdb_guest_free(GdbGuest *f)
{
    if (f->c) {
        gc_free(f->c);
    }
    if (machine_running(f->m)) {
        machine_stop(f->m, RUN_PAUSED);
    }
    chardev_remove_all(f->m);
    guest_free(f->g);
}

void gdb_stop(GdbGuest *f, const char *reply)
{
    gc_raw(f->c, "\3", 1);
    if (!g_pattern_match_simple(reply, gc_wait(f->c))) {
        g_error("Ctrl-C gave '%s', not '%s'", f->c->reply->str, reply);
    }
}

void gdb_go_at(int line, GdbGuest *f, const char *packet, const char *why, uint64_t rip)
{
    const char *got = gc_ask(f->c, "%s", packet);
    if (!g_pattern_match_simple(why, got) || gc_reg(f->c, GC_RIP) != rip) {
        g_error("line %d: '%s' stopped with '%s' at 0x%" PRIx64 ", not '%s' at 0x%" PRIx64, line, packet, got, gc_reg(f->c, GC_RIP),
                why, rip);
    }
}

void gdb_point(GdbGuest *f, char what, unsigned kind, uint64_t at, unsigned len)
{
    g_autofree char *t = g_strdup_printf("%c%u,%" PRIx64 ",%x", what, kind, at, len);
    gc_expect(f->c, t, "OK");
}

bool gdb_skipped(void)
{
#ifdef HAVE_KVM
    g_autoptr(Error) err = NULL;
    if (guest_on_kvm() && !kvm_available(&err)) {
        printf("1..0 # SKIP %s\n", error_text(err));
        return true;
    }
#endif
    return false;
}
