/* SPDX-License-Identifier: MIT
 * tests/cpu/test-gdb-points.c - a debugger's breakpoints, watchpoints and steps on one and several vCPUs (system/debug.c,
 * target/x86/dbg.c, debugreg.c). Run in tier 0, in tier 1, and on KVM (target/x86/kvm-debug.c): with its debugging
 * (kernel-irqchip=split), and, where hosts emulate, with the interpreter's (off).
 * Threads: main, and the vCPUs.
 */
#include "config.h"
#include "target/x86/sysint.h"
#include "tests/cpu/gdbguest.h"
#ifdef HAVE_KVM
#include "rhea/accel/kvm.h"
#endif

/* --- breakpoints --- */

static void test_break(gconstpointer kind_)
{
    unsigned kind = GPOINTER_TO_UINT(kind_);
    GdbGuest f = gdb_guest_new(1, true);
    gc_expect(f.c, "qSupported:swbreak+;hwbreak+", "*");
    const char *why = kind ? "T05hwbreak:;thread:1;" : "T05swbreak:;thread:1;";
    uint64_t byte = gc_mem(f.c, AT(gdb_f2), 1);
    gdb_point(&f, 'Z', kind, AT(gdb_f2), 1);
    gdb_point(&f, 'Z', kind, AT(gdb_f2), 1); /* twice is once */
    go(&f, "c", why, AT(gdb_f2));
    g_assert_cmphex(guest_ld(f.g, AT(gdb_f2), 1), ==, byte);
    go(&f, "c", why, AT(gdb_f2)); /* still there */
    go(&f, "vCont;s:1", "T05thread:1;", AT(gdb_f2) + 1);
    for (unsigned i = 2; i < 30; i++) {
        go(&f, "c", why, AT(gdb_f2));
        g_assert_cmpuint(gc_reg(f.c, GC_RAX), ==, i);
        go(&f, "s", "T05thread:1;", AT(gdb_f2) + 1);
    }
    gdb_point(&f, 'z', kind, AT(gdb_f2), 1);
    gc_send(f.c, "c");
    g_assert_true(gc_quiet(f.c));
    gdb_stop(&f, "T02thread:1;");
    /* code that became hot while the breakpoint was away */
    gdb_point(&f, 'Z', kind, AT(gdb_f2), 1);
    go(&f, "c", why, AT(gdb_f2));
    gdb_point(&f, 'Z', kind, AT(gdb_after_cross), 1);
    gdb_point(&f, 'z', kind, AT(gdb_f2), 1);
    go(&f, "c", why, AT(gdb_after_cross));
    gc_send(f.c, "s");
    gc_wait(f.c);
    go(&f, "c", why, AT(gdb_after_cross));
    gdb_point(&f, 'z', kind, AT(gdb_after_cross), 1);
    gc_send(f.c, "c");
    g_assert_true(gc_quiet(f.c));
    gdb_stop(&f, "T02*");
    /* a debugger removes and inserts its breakpoints at each stop; another address in the same unit */
    gdb_point(&f, 'Z', kind, AT(gdb_after_rmw), 1);
    gdb_point(&f, 'Z', kind, AT(gdb_f2), 1);
    gc_send(f.c, "c");
    gc_wait(f.c);
    g_assert_true(gc_reg(f.c, GC_RIP) == AT(gdb_after_rmw) || gc_reg(f.c, GC_RIP) == AT(gdb_f2));
    gdb_guest_free(&f);
}

/* While there are others a breakpoint that comes back finds code that was made and joined without it: arrived at by RET,
 * by falling through, by a jump. */
static void test_break_again(void)
{
    const uint64_t at[] = { AT(gdb_after_call), AT(gdb_f2), AT(gdb_loop), AT(gdb_f), AT(gdb_after_rmw) };
    GdbGuest f = gdb_guest_new(1, true);
    gdb_point(&f, 'Z', 0, 0x123, 1); /* nobody gets there */
    for (unsigned i = 0; i < 3 * G_N_ELEMENTS(at); i++) {
        uint64_t here = at[i % G_N_ELEMENTS(at)];
        gdb_point(&f, 'Z', i & 1, here, 1);
        go(&f, "c", "T05*", here);
        gdb_point(&f, 'z', i & 1, here, 1);
        gc_send(f.c, "c");
        g_assert_true(gc_quiet(f.c));
        gdb_stop(&f, "T02*");
    }
    gdb_guest_free(&f);
}

/* The same page at two linear addresses: the breakpoint is at one. */
static void test_break_alias(void)
{
    GdbGuest f = gdb_guest_new(1, true);
    const uint64_t alias = 0x200000000;
    guest_st(f.g, G_PT + 0x1000 + 8 * 8, 8, (G_PT + 0x2000) | 7); /* 8 GiB = the first MiBs again */
    gdb_point(&f, 'Z', 0, alias + AT(gdb_f), 1);
    gc_send(f.c, "c");
    g_assert_true(gc_quiet(f.c)); /* units are made at the low address */
    gdb_stop(&f, "T02*");
    g_assert_true(gc_set_reg(f.c, GC_RIP, alias + AT(gdb_loop), 8));
    go(&f, "c", "T05*", alias + AT(gdb_f));
    /* its offset is marked in every page, but nobody stops at the low one */
    g_assert_true(gc_set_reg(f.c, GC_RIP, AT(gdb_loop), 8));
    gc_send(f.c, "c");
    g_assert_true(gc_quiet(f.c));
    gdb_stop(&f, "T02*");
    gdb_guest_free(&f);
}

/* --- watchpoints --- */

static void watch(unsigned kind, uint64_t at, unsigned len, const char *why, uint64_t rip)
{
    GdbGuest f = gdb_guest_new(1, true);
    gc_send(f.c, "c"); /* hot before */
    g_assert_true(gc_quiet(f.c));
    gdb_stop(&f, "T02*");
    gdb_point(&f, 'Z', kind, at, len);
    for (unsigned i = 0; i < 5; i++) {
        go(&f, "c", why, rip);
    }
    uint64_t rcx = gc_reg(f.c, GC_RCX);
    go(&f, "c", why, rip);
    g_assert_cmpuint(gc_reg(f.c, GC_RCX), ==, rcx + 1);
    if (rip == AT(gdb_after_store)) { /* the store is done */
        g_assert_cmpuint(guest_ld(f.g, DATA, 8), ==, rcx + 1);
    }
    gdb_point(&f, 'z', kind, at, len);
    gc_send(f.c, "c");
    g_assert_true(gc_quiet(f.c));
    gdb_stop(&f, "T02*");
    gdb_guest_free(&f);
}

static void test_watch(void)
{
    if (gdb_no_watch(true)) {
        return;
    }
    watch(2, DATA, 8, "T05watch:200000;thread:1;", AT(gdb_after_store));
    watch(2, DATA + 3, 1, "T05watch:200003;thread:1;", AT(gdb_after_store));
    watch(4, DATA - 2, 3, "T05awatch:200000;thread:1;", AT(gdb_after_store));
    watch(3, DATA + 64, 4, "T05rwatch:200040;thread:1;", AT(gdb_after_load));
    watch(4, DATA + 71, 1, "T05awatch:200047;thread:1;", AT(gdb_after_load));
    watch(2, DATA + 128, 4, "T05watch:200080;thread:1;", AT(gdb_after_rmw));
    watch(3, DATA + 128, 4, "T05rwatch:200080;thread:1;", AT(gdb_after_rmw));
    watch(2, DATA + 192, 8, "T05watch:2000c0;thread:1;", AT(gdb_after_lock));
    watch(3, DATA + 192, 8, "T05rwatch:2000c0;thread:1;", AT(gdb_after_lock));
    watch(2, DATA + 4096, 1, "T05watch:201000;thread:1;", AT(gdb_after_cross)); /* the second page of the store */
    watch(2, DATA + 4094, 1, "T05watch:200ffe;thread:1;", AT(gdb_after_cross));
    watch(3, DATA + 8200, 8, "T05rwatch:202008;thread:1;", AT(gdb_after_far)); /* the rest of the large page is plain */
    watch(2, 0x60000 - 8, 8, "T05watch:5fff8;thread:1;", AT(gdb_f)); /* the stack: CALL pushes */
    watch(3, 0x60000 - 8, 8, "T05rwatch:5fff8;thread:1;", AT(gdb_after_call));
}

/* Watched bytes beside accesses, and of the other kind. */
static void test_watch_not(void)
{
    if (gdb_no_watch(true)) {
        return;
    }
    GdbGuest f = gdb_guest_new(1, true);
    gdb_point(&f, 'Z', 2, DATA + 64, 8);  /* is read only */
    gdb_point(&f, 'Z', 3, DATA, 8);       /* is written only */
    gdb_point(&f, 'Z', 4, DATA + 8, 56);  /* nobody */
    gdb_point(&f, 'Z', 4, DATA - 16, 16);
    gc_send(f.c, "c");
    g_assert_true(gc_quiet(f.c));
    gdb_stop(&f, "T02*");
    gdb_guest_free(&f);
}

GUEST_CODE(code_rep, 64, "mov $64, %ecx\n cld\n rep stosb\n gdb_after_rep: jmp .\n");
extern const uint8_t gdb_after_rep[];

/* In the middle of a repeated instruction: registers tell how far it is. */
static void test_watch_rep(void)
{
    if (gdb_no_watch(true)) {
        return;
    }
    GdbGuest f = gdb_guest_new(1, true);
    put_code(&f, 0, code_rep, DATA);
    uint64_t rep = G_CODE + (uint64_t)(gdb_after_rep - code_rep) - 2;
    gdb_point(&f, 'Z', 2, DATA + 10, 1);
    go(&f, "c", "T05watch:20000a;*", rep);
    g_assert_cmpuint(gc_reg(f.c, GC_RCX), ==, 64 - 11);
    gdb_point(&f, 'z', 2, DATA + 10, 1);
    go(&f, "s", "T05thread:1;", rep); /* one element a step, as hardware does it */
    g_assert_cmpuint(gc_reg(f.c, GC_RCX), ==, 64 - 12);
    gdb_point(&f, 'Z', 1, rep + 2, 1);
    go(&f, "c", "T05*", rep + 2);
    g_assert_cmpuint(gc_reg(f.c, GC_RCX), ==, 0);
    gdb_guest_free(&f);
}

GUEST_CODE(code_fault, 64, "gdb_movs: movsb\n jmp .\n");

/* A load that hits, of an instruction whose store faults: it did not happen. */
static void test_watch_fault(void)
{
    if (gdb_no_watch(true)) {
        return;
    }
    GdbGuest f = gdb_guest_new(1, true);
    put_code(&f, 0, code_fault, 0x900000); /* RDI: not mapped */
    f.g->cpu->gpr[R_RSI] = DATA;
    gdb_point(&f, 'Z', 3, DATA, 1);
    gc_send(f.c, "c");
    g_assert_true(gc_quiet(f.c));
    gdb_stop(&f, "T02*");
    g_assert_cmpint(guest_vector(f.g), ==, EXC_PF);
    gdb_guest_free(&f);
}

/* The guest's own debug registers go on working beside a debugger's points. */
static void test_own_registers(void)
{
    if (gdb_no_watch(true)) {
        return;
    }
    GdbGuest f = gdb_guest_new(1, true);
    X86Cpu *cpu = f.g->cpu;
    cpu->dr[0] = DATA + 128; /* write, four bytes */
    cpu->dr[7] = DR7_FIXED | 1 | 0xd0000;
    gdb_point(&f, 'Z', 2, DATA + 128, 4);
    gdb_point(&f, 'Z', 2, DATA, 8);
    go(&f, "c", "T05watch:200000;*", AT(gdb_after_store));
    /* one access hits both: the guest's handler is entered, then the debugger is told */
    go(&f, "c", "T05watch:200080;*", G_HANDLERS + 16);
    g_assert_cmphex(cpu->dr[6] & 0xf, ==, 1);
    g_assert_cmphex(guest_ld(f.g, cpu->gpr[R_RSP], 8), ==, AT(gdb_after_rmw));
    g_assert_cmphex(cpu->dr[7], ==, DR7_FIXED | 1 | 0xd0000);
    gdb_guest_free(&f);
}

/* --- steps --- */

static void test_step(void)
{
    GdbGuest f = gdb_guest_new(1, true);
    const uint64_t at[] = { AT(gdb_start) + 2, AT(gdb_loop), AT(gdb_loop) + 3, AT(gdb_f), AT(gdb_f2), AT(gdb_f2) + 1, AT(gdb_after_call),
                            AT(gdb_after_store), AT(gdb_after_load), AT(gdb_after_rmw), AT(gdb_after_lock), AT(gdb_after_cross),
                            AT(gdb_after_far), AT(gdb_loop) };
    for (unsigned i = 0; i < G_N_ELEMENTS(at); i++) {
        go(&f, i & 1 ? "s" : "vCont;s:1", "T05thread:1;", at[i]);
    }
    /* a step that hits a watchpoint tells that */
    if (!gdb_no_watch(false)) {
        gdb_point(&f, 'Z', 2, 0x60000 - 8, 8);
        go(&f, "s", "T05thread:1;", AT(gdb_loop) + 3);
        go(&f, "s", "T05watch:5fff8;thread:1;", AT(gdb_f));
    }
    /* from somewhere else */
    g_autofree char *s = g_strdup_printf("s%" PRIx64, AT(gdb_f2));
    go(&f, s, "T05thread:1;", AT(gdb_f2) + 1);
    gdb_guest_free(&f);
}

GUEST_CODE(code_events, 64, "nop\n nop\n nop\n ud2\n");
GUEST_CODE(code_halt, 64, "sti\n nop\n hlt\n nop\n jmp .\n");

static void test_step_events(void)
{
#ifdef HAVE_KVM
    if (guest_on_kvm() && (g_strcmp0(g_getenv("RHEA_TEST_CHIP"), "off") || kvm_host_class(NULL) == KVM_HOST_HARDWARE)) {
        g_test_skip("which event ends a step is KVM's business");
        return;
    }
#endif
    GdbGuest f = gdb_guest_new(1, true);
    put_code(&f, 0, code_events, DATA);
    /* by default nothing interrupts a step; without NOIRQ the step ends at the handler */
    vcpu_interrupt(&f.g->cpu->vcpu, X86_IRQ_NMI);
    go(&f, "s", "T05*", G_CODE + 1);
    go(&f, "s", "T05*", G_CODE + 2);
    gc_expect(f.c, "Qqemu.sstep=1", "OK");
    go(&f, "s", "T05*", G_HANDLERS + 2 * 16);
    g_assert_cmphex(guest_ld(f.g, f.g->cpu->gpr[R_RSP], 8), ==, G_CODE + 2);
    /* an exception: at its handler */
    put_code(&f, 0, code_events, DATA);
    f.g->cpu->rip = G_CODE + 3;
    go(&f, "s", "T05*", G_HANDLERS + 6 * 16);
    /* HLT is one step; the next one needs an interrupt and takes it, whatever the bits say */
    gc_expect(f.c, "Qqemu.sstep=7", "OK");
    put_code(&f, 0, code_halt, DATA);
    go(&f, "s", "T05*", G_CODE + 1);
    go(&f, "s", "T05*", G_CODE + 2);
    go(&f, "s", "T05*", G_CODE + 3);
    g_assert_true(f.g->cpu->vcpu.halted);
    gc_expect(f.c, "qThreadExtraInfo,1", "4350552330205b68616c7465645d"); /* CPU#0 [halted] */
    gc_send(f.c, "s");
    g_assert_true(gc_quiet(f.c));
    f.g->cpu->nmi_blocked = false;
    vcpu_interrupt(&f.g->cpu->vcpu, X86_IRQ_NMI);
    g_assert_cmpstr(gc_wait(f.c), ==, "T05thread:1;");
    g_assert_cmphex(gc_reg(f.c, GC_RIP), ==, G_HANDLERS + 2 * 16);
    gdb_guest_free(&f);
}

/* --- several vCPUs --- */

static void test_smp(void)
{
    if (gdb_no_watch(true)) {
        return;
    }
    GdbGuest f = gdb_guest_new(2, true);
    gc_expect(f.c, "qSupported:multiprocess+", "*");
    /* one steps, the other stays */
    gc_expect(f.c, "vCont;s:p1.2", "T05thread:p1.2;");
    g_assert_cmphex(gc_reg(f.c, GC_RIP), ==, AT(gdb_start) + 2);
    gc_expect(f.c, "Hgp1.1", "OK");
    g_assert_cmphex(gc_reg(f.c, GC_RIP), ==, AT(gdb_start));
    /* one runs */
    gc_send(f.c, "vCont;c:p1.1");
    g_assert_true(gc_quiet(f.c));
    gdb_stop(&f, "T02*");
    g_assert_cmpuint(guest_ld(f.g, DATA, 8), >, 0);
    g_assert_cmpuint(guest_ld(f.g, DATA_OTHER, 8), ==, 0);
    /* only the second one writes there; both stop */
    gdb_point(&f, 'Z', 2, DATA_OTHER, 8);
    gc_expect(f.c, "vCont;c", "T05watch:300000;thread:p1.2;");
    g_assert_true(f.m->cpus[0]->parked && f.m->cpus[1]->parked);
    g_assert_cmphex(gc_reg(f.c, GC_RIP), ==, AT(gdb_after_store));
    /* one steps while the other runs */
    gc_expect(f.c, "vCont;s:p1.2;c", "T05thread:p1.2;");
    g_assert_cmphex(gc_reg(f.c, GC_RIP), ==, AT(gdb_after_load));
    gdb_point(&f, 'z', 2, DATA_OTHER, 8);
    /* both run into the same breakpoint: each is told */
    gdb_point(&f, 'Z', 0, AT(gdb_f), 1);
    bool seen[3] = { false };
    for (unsigned i = 0; i < 200 && !(seen[1] && seen[2]); i++) {
        const char *got = gc_ask(f.c, "vCont;c");
        unsigned n = g_str_has_prefix(got, "T05thread:p1.1") ? 1 : g_str_has_prefix(got, "T05thread:p1.2") ? 2 : 0;
        g_assert_cmpuint(n, >, 0);
        g_assert_cmphex(gc_reg(f.c, GC_RIP), ==, AT(gdb_f));
        seen[n] = true;
        g_autofree char *over = g_strdup_printf("vCont;s:p1.%u", n); /* over it, as debuggers do */
        gc_ask(f.c, "%s", over);
    }
    g_assert_true(seen[1] && seen[2]);
    gdb_guest_free(&f);
}

/* Two vCPUs hit watchpoints at once: the second one's is told when the debugger goes on. */
static void test_smp_late(void)
{
    if (gdb_no_watch(true)) {
        return;
    }
    GdbGuest f = gdb_guest_new(2, true);
    gdb_point(&f, 'Z', 2, DATA, 8);
    gdb_point(&f, 'Z', 2, DATA_OTHER, 8);
    unsigned told[2] = { 0 };
    for (unsigned i = 0; i < 40; i++) {
        const char *got = gc_ask(f.c, "c");
        bool second = strstr(got, "300000");
        g_assert_cmpstr(got, ==, second ? "T05watch:300000;thread:2;" : "T05watch:200000;thread:1;");
        told[second]++;
        gc_expect(f.c, second ? "Hg2" : "Hg1", "OK");
        g_assert_cmphex(gc_reg(f.c, GC_RIP), ==, AT(gdb_after_store));
    }
    /* no store got lost: each vCPU counts them itself; one may be stopped in front of being told */
    for (unsigned i = 0; i < 2; i++) {
        uint64_t stores = guest_ld(f.g, i ? DATA_OTHER : DATA, 8);
        g_assert_cmpuint(stores, >=, told[i]);
        g_assert_cmpuint(stores, <=, told[i] + 1);
    }
    gdb_guest_free(&f);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    rcu_register_thread();
    if (gdb_skipped()) {
        return 0;
    }
    g_test_add_data_func("/gdb/break-soft", GUINT_TO_POINTER(0), test_break);
    g_test_add_data_func("/gdb/break-hard", GUINT_TO_POINTER(1), test_break);
    g_test_add_func("/gdb/break-again", test_break_again);
    g_test_add_func("/gdb/break-alias", test_break_alias);
    g_test_add_func("/gdb/watch", test_watch);
    g_test_add_func("/gdb/watch-not", test_watch_not);
    g_test_add_func("/gdb/watch-rep", test_watch_rep);
    g_test_add_func("/gdb/watch-fault", test_watch_fault);
    g_test_add_func("/gdb/own-registers", test_own_registers);
    g_test_add_func("/gdb/step", test_step);
    g_test_add_func("/gdb/step-events", test_step_events);
    g_test_add_func("/gdb/smp", test_smp);
    g_test_add_func("/gdb/smp-late", test_smp_late);
    return g_test_run();
}
