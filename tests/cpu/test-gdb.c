/* SPDX-License-Identifier: MIT
 * tests/cpu/test-gdb.c - the GDB server and a ring-0 guest on vCPU threads: registers, memory, breakpoints, watchpoints,
 * steps, several vCPUs, connections that come and go. Run in tier 0, in tier 1, and on KVM: with its debugging
 * (kernel-irqchip=split), and, where hosts emulate, with the interpreter's (off).
 * Threads: main, and the vCPUs.
 */
#include "rhea/accel/tcg.h"
#include "target/x86/sysint.h"
#include "target/x86/t1.h"
#include "tests/cpu/gdbclient.h"
#include "tests/cpu/sysguest.h"

#include "config.h"
#include <stdio.h>
#ifdef HAVE_KVM
#include "rhea/accel/kvm.h"
const AccelOps *const accel_table[] = { &accel_tcg_ops, &accel_kvm_ops, NULL };
#else
const AccelOps *const accel_table[] = { &accel_tcg_ops, NULL };
#endif
const BoardType *const board_table[] = { &board_none, NULL };

/* RDI: the data. F is called in a loop; counters in memory are written, read and changed at places of their own. */
GUEST_CODE(code_loop, 64,
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
extern const uint8_t gdb_start[], gdb_loop[], gdb_after_call[], gdb_after_store[], gdb_after_load[], gdb_after_rmw[], gdb_after_lock[],
    gdb_after_cross[], gdb_after_far[], gdb_f[], gdb_f2[];
#define AT(label) ((uint64_t)G_CODE + (uint64_t)((label) - code_loop))

/* Watchpoints on KVM are the host's. */
static bool no_watch(bool skip)
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

enum { CPUS_MAX = 2, DATA = 0x200000, DATA_OTHER = 0x300000 };

typedef struct Fixture {
    Guest *g;
    GdbClient *c;
    Machine *m;
} Fixture;

static X86Cpu *put_cpu(Guest *g, unsigned i, const uint8_t *code, size_t n, uint64_t data)
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
#define put_code(f, i, name, data) put_cpu((f)->g, (i), name, (size_t)(name##_end - name), (data))

static Fixture fixture_new(unsigned cpus, bool connect)
{
    guest_accel_props = guest_on_kvm() ? g_getenv("RHEA_TEST_CHIP") : NULL;
    Fixture f = { .g = guest_new_smp(NULL, cpus, false) };
    f.m = f.g->m;
    for (unsigned i = cpus; i-- > 0;) {
        put_code(&f, i, code_loop, i ? DATA_OTHER : DATA);
    }
    f.c = connect ? gc_new(f.m) : NULL;
    return f;
}

static void fixture_free(Fixture *f)
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

static void stop(Fixture *f, const char *reply)
{
    gc_raw(f->c, "\3", 1);
    if (!g_pattern_match_simple(reply, gc_wait(f->c))) {
        g_error("Ctrl-C gave '%s', not '%s'", f->c->reply->str, reply);
    }
}

/* Continues to a stop at rip, for that reason. */
#define go(f, packet, why, rip) go_at(__LINE__, (f), (packet), (why), (rip))
static void go_at(int line, Fixture *f, const char *packet, const char *why, uint64_t rip)
{
    const char *got = gc_ask(f->c, "%s", packet);
    if (!g_pattern_match_simple(why, got) || gc_reg(f->c, GC_RIP) != rip) {
        g_error("line %d: '%s' stopped with '%s' at 0x%" PRIx64 ", not '%s' at 0x%" PRIx64, line, packet, got, gc_reg(f->c, GC_RIP),
                why, rip);
    }
}

static void point(Fixture *f, char what, unsigned kind, uint64_t at, unsigned len)
{
    g_autofree char *t = g_strdup_printf("%c%u,%" PRIx64 ",%x", what, kind, at, len);
    gc_expect(f->c, t, "OK");
}

/* --- packets --- */

static void test_packets(void)
{
    Fixture f = fixture_new(2, true);
    gc_expect(f.c, "vMustReplyEmpty", "");
    gc_expect(f.c, "qSupported:multiprocess+;xmlRegisters=i386", "PacketSize=4000;*multiprocess+*");
    gc_expect(f.c, "?", "T05thread:p1.1;");
    gc_expect(f.c, "qC", "QCp1.1");
    gc_expect(f.c, "qAttached:1", "1");
    gc_expect(f.c, "qfThreadInfo", "mp1.1,p1.2");
    gc_expect(f.c, "qsThreadInfo", "l");
    gc_expect(f.c, "qThreadExtraInfo,p1.2", "4350552331205b72756e6e696e675d"); /* CPU#1 [running] */
    gc_expect(f.c, "qThreadExtraInfo,p1.3", "E16");
    gc_expect(f.c, "vCont?", "vCont;c;C;s;S");
    gc_expect(f.c, "Hgp1.2", "OK");
    gc_expect(f.c, "qC", "QCp1.2");
    gc_expect(f.c, "Hgp0.0", "OK");
    gc_expect(f.c, "Hc-1", "OK");
    gc_expect(f.c, "Hgp1.3", "E16");
    gc_expect(f.c, "Hgp2.1", "E16");
    gc_expect(f.c, "Hx1", "E16");
    gc_expect(f.c, "Tp1.2", "OK");
    gc_expect(f.c, "Tp1.9", "E16");
    gc_expect(f.c, "vCont;x", "E16");
    gc_expect(f.c, "vCont;c:p1.7", "E16");
    gc_expect(f.c, "vFile:open:1", "");
    gc_expect(f.c, "qNoSuchThing", "");
    gc_expect(f.c, "qqemu.sstepbits", "ENABLE=1,NOIRQ=2,NOTIMER=4");
    gc_expect(f.c, "qqemu.sstep", "0x7");
    gc_expect(f.c, "Qqemu.sstep=0x5", "OK");
    gc_expect(f.c, "qqemu.sstep", "0x5");
    gc_expect(f.c, "Qqemu.sstep=8", "E16");
    gc_expect(f.c, "Z9,1000,1", "");
    gc_expect(f.c, "Z0,1000", "E16");
    gc_expect(f.c, "Z2,1000,0", "E16");
    gc_expect(f.c, "Z2,fffffffffffffffe,8", "E16");
    /* a damaged packet is asked for again, the last reply comes again */
    gc_raw(f.c, "$qC#00", 6);
    gc_turns(f.c);
    g_assert_cmpstr(f.c->in->str, ==, "-");
    gc_raw(f.c, "-", 1);
    g_assert_cmpstr(gc_wait(f.c), ==, "E16");
    gc_expect(f.c, "QStartNoAckMode", "OK");
    gc_turns(f.c);
    f.c->acks = false;
    gc_expect(f.c, "qC", "QCp1.2");
    g_assert_cmpuint(f.c->in->len, ==, 0);
    fixture_free(&f);
}

/* The description in pieces of 100 bytes. */
static void test_description(void)
{
    Fixture f = fixture_new(1, true);
    g_autoptr(GString) xml = g_string_new(NULL);
    const char *got;
    do {
        got = gc_ask(f.c, "qXfer:features:read:target.xml:%zx,64", xml->len);
        g_assert_true(*got == 'm' || *got == 'l');
        for (const char *p = got + 1; p < f.c->reply->str + f.c->reply->len; p++) {
            g_string_append_c(xml, *p == '}' ? *++p ^ 0x20 : *p);
        }
    } while (*got == 'm');
    const char *const want[] = { "org.gnu.gdb.i386.core", "org.gnu.gdb.i386.sse", "org.gnu.gdb.i386.avx", "org.gnu.gdb.i386.segments",
                                 "\"rip\"", "\"st7\"", "\"fop\"", "\"xmm15\"", "\"ymm15h\"", "\"cr3\"", "\"efer\"", "</target>" };
    for (unsigned i = 0; i < G_N_ELEMENTS(want); i++) {
        bool avx = strstr(want[i], "avx") || strstr(want[i], "ymm");
        g_assert_true((strstr(xml->str, want[i]) != NULL) == (!avx || x86_has_feature(f.g->cpu, "avx")));
    }
    gc_expect(f.c, "qXfer:features:read:other.xml:0,64", "E00");
    gc_expect(f.c, "qXfer:features:read:target.xml:0", "E00");
    gc_expect(f.c, "qXfer:features:read:target.xml:fffffff,64", "E00");
    fixture_free(&f);
}

/* --- registers and memory --- */

static void test_registers(void)
{
    Fixture f = fixture_new(1, true);
    X86Cpu *cpu = f.g->cpu;
    g_assert_cmphex(gc_reg(f.c, GC_RIP), ==, G_CODE);
    g_assert_cmphex(gc_reg(f.c, GC_RDI), ==, DATA);
    g_assert_cmphex(gc_reg(f.c, GC_CS), ==, S_CODE64);
    g_assert_cmphex(gc_reg(f.c, GC_CR3), ==, G_PT);
    for (unsigned n = 0; n < 16; n++) {
        g_assert_true(gc_set_reg(f.c, n, 0x1122334455667700 + n, 8));
        g_assert_cmphex(gc_reg(f.c, n), ==, 0x1122334455667700 + n);
    }
    g_assert_cmphex(cpu->gpr[R_R15], ==, 0x112233445566770f);
    g_assert_cmphex(cpu->gpr[R_RSP], ==, 0x1122334455667707);
    g_assert_true(gc_set_reg(f.c, GC_EFLAGS, 0x8d7, 4));
    g_assert_cmphex(x86_get_eflags(cpu), ==, 0x8d7);
    gc_expect(f.c, "P18=112233445566778899aa", "OK"); /* st0 */
    g_assert_cmphex(cpu->fpu.r[cpu->fpu.top].se, ==, 0xaa99);
    g_assert_true(gc_set_reg(f.c, GC_FTAG, 0x5557, 4));
    g_assert_cmphex(cpu->fpu.tags, ==, 1);
    g_assert_true(gc_set_reg(f.c, GC_FSTAT, 0x3800, 4));
    g_assert_cmphex(cpu->fpu.top, ==, 7);
    gc_expect(f.c, "P29=000102030405060708090a0b0c0d0e0f", "OK"); /* xmm1 */
    bool avx = x86_has_feature(cpu, "avx");
    gc_expect(f.c, "P43=101112131415161718191a1b1c1d1e1f", avx ? "OK" : "E16"); /* ymm1h */
    for (unsigned i = 0; i < (avx ? 32 : 16); i++) {
        g_assert_cmpuint(cpu->xmm[1].b[i], ==, i);
    }
    g_assert_true(gc_set_reg(f.c, GC_KGS_BASE, 0xffff888000000000, 8));
    g_assert_false(gc_set_reg(f.c, GC_FS_BASE, 0x1122334455667788, 8));
    g_assert_false(gc_set_reg(f.c, GC_CR0, 0x80000000, 8)); /* PG without PE */
    g_assert_false(gc_set_reg(f.c, GC_CR8, 16, 8));
    g_assert_true(gc_set_reg(f.c, GC_CR8, 5, 8));
    g_assert_cmphex(gc_reg(f.c, GC_CR8), ==, 5);
    g_assert_true(gc_set_reg(f.c, GC_DS, S_DATA0, 4));
    g_assert_true(gc_set_reg(f.c, GC_DS, 0, 4));
    g_assert_false(gc_set_reg(f.c, GC_DS, 0xfff8, 4)); /* not present */
    g_assert_false(gc_set_reg(f.c, GC_CS, S_DATA0, 4));
    gc_expect(f.c, "p52", "E16");
    gc_expect(f.c, "pffffffffffffffff", "E16");
    gc_expect(f.c, "p", "E16");
    gc_expect(f.c, "P0=11", "E16");
    gc_expect(f.c, "P0=112233445566778899", "E16");
    gc_expect(f.c, "P0", "E16");
    /* all at once, and back */
    g_autofree char *all = g_strdup(gc_ask(f.c, "g"));
    uint64_t sum = 16 * 8 + 8 + 4 + 24 + 80 + 32 + 256 + 4 + 9 * 8 + (avx ? 256 : 0);
    g_assert_cmpuint(strlen(all), ==, 2 * sum);
    g_autofree char *more = g_strdup_printf("G%s", all);
    memcpy(more + 1, "efcdab8967452301", 16);
    gc_expect(f.c, more, "OK");
    g_assert_cmphex(cpu->gpr[R_RAX], ==, 0x0123456789abcdef);
    gc_expect(f.c, "G", "E16");
    gc_expect(f.c, "G00", "E16");
    fixture_free(&f);
}

static void test_memory(void)
{
    Fixture f = fixture_new(1, true);
    guest_st(f.g, DATA, 8, 0x8877665544332211);
    gc_expect(f.c, "m200000,8", "1122334455667788");
    gc_expect(f.c, "m200000,0", "");
    gc_expect(f.c, "M200002,2:aabb", "OK");
    g_assert_cmphex(guest_ld(f.g, DATA, 8), ==, 0x88776655bbaa2211);
    const char x[] = "X200000,4:ab}\3c", *p = x;
    gc_expect(f.c, p, "OK");
    g_assert_cmphex(guest_ld(f.g, DATA, 4), ==, 0x63236261);
    gc_expect(f.c, "X200000,0:", "OK");
    gc_expect(f.c, "X200000,5:abc", "E16");
    gc_expect(f.c, "M200000,4:aabb", "E16");
    gc_expect(f.c, "M200000,2:aabbcc", "E16");
    gc_expect(f.c, "m200000,4001", "E16");
    gc_expect(f.c, "m200000,ffffffffffffffff", "E16");
    gc_expect(f.c, "m12345678123456781,8", "E16");
    gc_expect(f.c, "m200000", "E16");
    gc_expect(f.c, "mfffffffffffffff8,10", "E0e");
    /* RAM and what is mapped end at 8 MiB: as much as there is */
    gc_expect(f.c, "m7ffffe,8", "0000");
    gc_expect(f.c, "m800000,8", "E0e");
    /* physical: page 0 of the linear space leads elsewhere */
    guest_st(f.g, G_PT + 0x2000, 8, 0x200000 | 0x87);
    gc_expect(f.c, "m0,4", "61622363");
    gc_expect(f.c, "Qqemu.PhyMemMode:1", "OK");
    gc_expect(f.c, "qqemu.PhyMemMode", "1");
    gc_expect(f.c, "m200000,4", "61622363");
    gc_expect(f.c, "m0,4", "00000000");
    gc_expect(f.c, "Qqemu.PhyMemMode:0", "OK");
    gc_expect(f.c, "Qqemu.PhyMemMode:2", "E16");
    fixture_free(&f);
}

/* Code that ran is changed by M: the guest sees it. */
static void test_code_change(void)
{
    Fixture f = fixture_new(1, true);
    point(&f, 'Z', 0, AT(gdb_after_call), 1);
    for (unsigned i = 0; i < 20; i++) {
        go(&f, "c", "T05*", AT(gdb_after_call));
        go(&f, "s", "T05*", AT(gdb_after_store));
    }
    uint64_t rax = gc_reg(f.c, GC_RAX);
    g_assert_cmphex(rax, ==, gc_reg(f.c, GC_RCX));
    g_autofree char *m = g_strdup_printf("M%" PRIx64 ",3:48ffc8", AT(gdb_f)); /* DEC RAX */
    gc_expect(f.c, m, "OK");
    go(&f, "c", "T05*", AT(gdb_after_call));
    g_assert_cmphex(gc_reg(f.c, GC_RAX), ==, rax - 1);
    fixture_free(&f);
}

/* --- breakpoints --- */

static void test_break(gconstpointer kind_)
{
    unsigned kind = GPOINTER_TO_UINT(kind_);
    Fixture f = fixture_new(1, true);
    gc_expect(f.c, "qSupported:swbreak+;hwbreak+", "*");
    const char *why = kind ? "T05hwbreak:;thread:1;" : "T05swbreak:;thread:1;";
    uint64_t byte = gc_mem(f.c, AT(gdb_f2), 1);
    point(&f, 'Z', kind, AT(gdb_f2), 1);
    point(&f, 'Z', kind, AT(gdb_f2), 1); /* twice is once */
    go(&f, "c", why, AT(gdb_f2));
    g_assert_cmphex(guest_ld(f.g, AT(gdb_f2), 1), ==, byte);
    go(&f, "c", why, AT(gdb_f2)); /* still there */
    go(&f, "vCont;s:1", "T05thread:1;", AT(gdb_f2) + 1);
    for (unsigned i = 2; i < 30; i++) {
        go(&f, "c", why, AT(gdb_f2));
        g_assert_cmpuint(gc_reg(f.c, GC_RAX), ==, i);
        go(&f, "s", "T05thread:1;", AT(gdb_f2) + 1);
    }
    point(&f, 'z', kind, AT(gdb_f2), 1);
    gc_send(f.c, "c");
    g_assert_true(gc_quiet(f.c));
    stop(&f, "T02thread:1;");
    /* code that became hot while the breakpoint was away */
    point(&f, 'Z', kind, AT(gdb_f2), 1);
    go(&f, "c", why, AT(gdb_f2));
    point(&f, 'Z', kind, AT(gdb_after_cross), 1);
    point(&f, 'z', kind, AT(gdb_f2), 1);
    go(&f, "c", why, AT(gdb_after_cross));
    gc_send(f.c, "s");
    gc_wait(f.c);
    go(&f, "c", why, AT(gdb_after_cross));
    point(&f, 'z', kind, AT(gdb_after_cross), 1);
    gc_send(f.c, "c");
    g_assert_true(gc_quiet(f.c));
    stop(&f, "T02*");
    /* a debugger removes and inserts its breakpoints at each stop; another address in the same unit */
    point(&f, 'Z', kind, AT(gdb_after_rmw), 1);
    point(&f, 'Z', kind, AT(gdb_f2), 1);
    gc_send(f.c, "c");
    gc_wait(f.c);
    g_assert_true(gc_reg(f.c, GC_RIP) == AT(gdb_after_rmw) || gc_reg(f.c, GC_RIP) == AT(gdb_f2));
    fixture_free(&f);
}

/* While there are others a breakpoint that comes back finds code that was made and joined without it: arrived at by RET,
 * by falling through, by a jump. */
static void test_break_again(void)
{
    const uint64_t at[] = { AT(gdb_after_call), AT(gdb_f2), AT(gdb_loop), AT(gdb_f), AT(gdb_after_rmw) };
    Fixture f = fixture_new(1, true);
    point(&f, 'Z', 0, 0x123, 1); /* nobody gets there */
    for (unsigned i = 0; i < 3 * G_N_ELEMENTS(at); i++) {
        uint64_t here = at[i % G_N_ELEMENTS(at)];
        point(&f, 'Z', i & 1, here, 1);
        go(&f, "c", "T05*", here);
        point(&f, 'z', i & 1, here, 1);
        gc_send(f.c, "c");
        g_assert_true(gc_quiet(f.c));
        stop(&f, "T02*");
    }
    fixture_free(&f);
}

/* The same page at two linear addresses: the breakpoint is at one. */
static void test_break_alias(void)
{
    Fixture f = fixture_new(1, true);
    const uint64_t alias = 0x200000000;
    guest_st(f.g, G_PT + 0x1000 + 8 * 8, 8, (G_PT + 0x2000) | 7); /* 8 GiB = the first MiBs again */
    point(&f, 'Z', 0, alias + AT(gdb_f), 1);
    gc_send(f.c, "c");
    g_assert_true(gc_quiet(f.c)); /* units are made at the low address */
    stop(&f, "T02*");
    g_assert_true(gc_set_reg(f.c, GC_RIP, alias + AT(gdb_loop), 8));
    go(&f, "c", "T05*", alias + AT(gdb_f));
    /* its offset is marked in every page, but nobody stops at the low one */
    g_assert_true(gc_set_reg(f.c, GC_RIP, AT(gdb_loop), 8));
    gc_send(f.c, "c");
    g_assert_true(gc_quiet(f.c));
    stop(&f, "T02*");
    fixture_free(&f);
}

/* --- watchpoints --- */

static void watch(unsigned kind, uint64_t at, unsigned len, const char *why, uint64_t rip)
{
    Fixture f = fixture_new(1, true);
    gc_send(f.c, "c"); /* hot before */
    g_assert_true(gc_quiet(f.c));
    stop(&f, "T02*");
    point(&f, 'Z', kind, at, len);
    for (unsigned i = 0; i < 5; i++) {
        go(&f, "c", why, rip);
    }
    uint64_t rcx = gc_reg(f.c, GC_RCX);
    go(&f, "c", why, rip);
    g_assert_cmpuint(gc_reg(f.c, GC_RCX), ==, rcx + 1);
    if (rip == AT(gdb_after_store)) { /* the store is done */
        g_assert_cmpuint(guest_ld(f.g, DATA, 8), ==, rcx + 1);
    }
    point(&f, 'z', kind, at, len);
    gc_send(f.c, "c");
    g_assert_true(gc_quiet(f.c));
    stop(&f, "T02*");
    fixture_free(&f);
}

static void test_watch(void)
{
    if (no_watch(true)) {
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
    if (no_watch(true)) {
        return;
    }
    Fixture f = fixture_new(1, true);
    point(&f, 'Z', 2, DATA + 64, 8);  /* is read only */
    point(&f, 'Z', 3, DATA, 8);       /* is written only */
    point(&f, 'Z', 4, DATA + 8, 56);  /* nobody */
    point(&f, 'Z', 4, DATA - 16, 16);
    gc_send(f.c, "c");
    g_assert_true(gc_quiet(f.c));
    stop(&f, "T02*");
    fixture_free(&f);
}

GUEST_CODE(code_rep, 64, "mov $64, %ecx\n cld\n rep stosb\n gdb_after_rep: jmp .\n");
extern const uint8_t gdb_after_rep[];

/* In the middle of a repeated instruction: registers tell how far it is. */
static void test_watch_rep(void)
{
    if (no_watch(true)) {
        return;
    }
    Fixture f = fixture_new(1, true);
    put_code(&f, 0, code_rep, DATA);
    uint64_t rep = G_CODE + (uint64_t)(gdb_after_rep - code_rep) - 2;
    point(&f, 'Z', 2, DATA + 10, 1);
    go(&f, "c", "T05watch:20000a;*", rep);
    g_assert_cmpuint(gc_reg(f.c, GC_RCX), ==, 64 - 11);
    point(&f, 'z', 2, DATA + 10, 1);
    go(&f, "s", "T05thread:1;", rep); /* one element a step, as hardware does it */
    g_assert_cmpuint(gc_reg(f.c, GC_RCX), ==, 64 - 12);
    point(&f, 'Z', 1, rep + 2, 1);
    go(&f, "c", "T05*", rep + 2);
    g_assert_cmpuint(gc_reg(f.c, GC_RCX), ==, 0);
    fixture_free(&f);
}

GUEST_CODE(code_fault, 64, "gdb_movs: movsb\n jmp .\n");

/* A load that hits, of an instruction whose store faults: it did not happen. */
static void test_watch_fault(void)
{
    if (no_watch(true)) {
        return;
    }
    Fixture f = fixture_new(1, true);
    put_code(&f, 0, code_fault, 0x900000); /* RDI: not mapped */
    f.g->cpu->gpr[R_RSI] = DATA;
    point(&f, 'Z', 3, DATA, 1);
    gc_send(f.c, "c");
    g_assert_true(gc_quiet(f.c));
    stop(&f, "T02*");
    g_assert_cmpint(guest_vector(f.g), ==, EXC_PF);
    fixture_free(&f);
}

/* The guest's own debug registers go on working beside a debugger's points. */
static void test_own_registers(void)
{
    if (no_watch(true)) {
        return;
    }
    Fixture f = fixture_new(1, true);
    X86Cpu *cpu = f.g->cpu;
    cpu->dr[0] = DATA + 128; /* write, four bytes */
    cpu->dr[7] = DR7_FIXED | 1 | 0xd0000;
    point(&f, 'Z', 2, DATA + 128, 4);
    point(&f, 'Z', 2, DATA, 8);
    go(&f, "c", "T05watch:200000;*", AT(gdb_after_store));
    /* one access hits both: the guest's handler is entered, then the debugger is told */
    go(&f, "c", "T05watch:200080;*", G_HANDLERS + 16);
    g_assert_cmphex(cpu->dr[6] & 0xf, ==, 1);
    g_assert_cmphex(guest_ld(f.g, cpu->gpr[R_RSP], 8), ==, AT(gdb_after_rmw));
    g_assert_cmphex(cpu->dr[7], ==, DR7_FIXED | 1 | 0xd0000);
    fixture_free(&f);
}

/* --- steps --- */

static void test_step(void)
{
    Fixture f = fixture_new(1, true);
    const uint64_t at[] = { AT(gdb_start) + 2, AT(gdb_loop), AT(gdb_loop) + 3, AT(gdb_f), AT(gdb_f2), AT(gdb_f2) + 1, AT(gdb_after_call),
                            AT(gdb_after_store), AT(gdb_after_load), AT(gdb_after_rmw), AT(gdb_after_lock), AT(gdb_after_cross),
                            AT(gdb_after_far), AT(gdb_loop) };
    for (unsigned i = 0; i < G_N_ELEMENTS(at); i++) {
        go(&f, i & 1 ? "s" : "vCont;s:1", "T05thread:1;", at[i]);
    }
    /* a step that hits a watchpoint tells that */
    if (!no_watch(false)) {
        point(&f, 'Z', 2, 0x60000 - 8, 8);
        go(&f, "s", "T05thread:1;", AT(gdb_loop) + 3);
        go(&f, "s", "T05watch:5fff8;thread:1;", AT(gdb_f));
    }
    /* from somewhere else */
    g_autofree char *s = g_strdup_printf("s%" PRIx64, AT(gdb_f2));
    go(&f, s, "T05thread:1;", AT(gdb_f2) + 1);
    fixture_free(&f);
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
    Fixture f = fixture_new(1, true);
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
    fixture_free(&f);
}

/* --- several vCPUs --- */

static void test_smp(void)
{
    if (no_watch(true)) {
        return;
    }
    Fixture f = fixture_new(2, true);
    gc_expect(f.c, "qSupported:multiprocess+", "*");
    /* one steps, the other stays */
    gc_expect(f.c, "vCont;s:p1.2", "T05thread:p1.2;");
    g_assert_cmphex(gc_reg(f.c, GC_RIP), ==, AT(gdb_start) + 2);
    gc_expect(f.c, "Hgp1.1", "OK");
    g_assert_cmphex(gc_reg(f.c, GC_RIP), ==, AT(gdb_start));
    /* one runs */
    gc_send(f.c, "vCont;c:p1.1");
    g_assert_true(gc_quiet(f.c));
    stop(&f, "T02*");
    g_assert_cmpuint(guest_ld(f.g, DATA, 8), >, 0);
    g_assert_cmpuint(guest_ld(f.g, DATA_OTHER, 8), ==, 0);
    /* only the second one writes there; both stop */
    point(&f, 'Z', 2, DATA_OTHER, 8);
    gc_expect(f.c, "vCont;c", "T05watch:300000;thread:p1.2;");
    g_assert_true(f.m->cpus[0]->parked && f.m->cpus[1]->parked);
    g_assert_cmphex(gc_reg(f.c, GC_RIP), ==, AT(gdb_after_store));
    /* one steps while the other runs */
    gc_expect(f.c, "vCont;s:p1.2;c", "T05thread:p1.2;");
    g_assert_cmphex(gc_reg(f.c, GC_RIP), ==, AT(gdb_after_load));
    point(&f, 'z', 2, DATA_OTHER, 8);
    /* both run into the same breakpoint: each is told */
    point(&f, 'Z', 0, AT(gdb_f), 1);
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
    fixture_free(&f);
}

/* Two vCPUs hit watchpoints at once: the second one's is told when the debugger goes on. */
static void test_smp_late(void)
{
    if (no_watch(true)) {
        return;
    }
    Fixture f = fixture_new(2, true);
    point(&f, 'Z', 2, DATA, 8);
    point(&f, 'Z', 2, DATA_OTHER, 8);
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
    fixture_free(&f);
}

/* --- connections --- */

static void hex_command(GString *t, const char *line)
{
    g_string_assign(t, "qRcmd,");
    for (const char *p = line; *p; p++) {
        g_string_append_printf(t, "%02x", (uint8_t)*p);
    }
}

static char *monitor(Fixture *f, const char *line)
{
    g_autoptr(GString) t = g_string_new(NULL), text = g_string_new(NULL);
    hex_command(t, line);
    const char *got = gc_ask(f->c, "%s", t->str);
    while (*got == 'O' && got[1] != 'K') {
        for (const char *p = got + 1; *p; p += 2) {
            g_string_append_c(text, (char)(g_ascii_xdigit_value(p[0]) << 4 | g_ascii_xdigit_value(p[1])));
        }
        got = gc_wait(f->c);
    }
    g_assert_cmpstr(got, ==, "OK");
    return g_string_free(g_steal_pointer(&text), FALSE);
}

static void test_monitor(void)
{
    Fixture f = fixture_new(2, true);
    g_autofree char *a = monitor(&f, "p $rdi");
    g_assert_cmpstr(a, ==, "0x200000\n");
    g_free(monitor(&f, "cpu 1"));
    g_autofree char *d = monitor(&f, "p $rdi");
    g_assert_cmpstr(d, ==, "0x300000\n"); /* the session remembers it */
    g_autofree char *e = monitor(&f, "gdbserver none");
    g_assert_nonnull(strstr(e, "cannot be changed by the debugger"));
    g_autofree char *h = monitor(&f, "help");
    g_assert_nonnull(strstr(h, "gdbserver"));
    g_autofree char *i = monitor(&f, "info history");
    g_assert_cmpstr(i, ==, "");
    gc_expect(f.c, "qRcmd,zz", "E16");
    gc_expect(f.c, "qRcmd,", "E16");
    gc_expect(f.c, "qRcmd,0041", "E16");
    fixture_free(&f);
}

/* A debugger that goes away without a word leaves nothing behind. */
static void test_disconnect(void)
{
    Fixture f = fixture_new(1, true);
    point(&f, 'Z', 0, AT(gdb_f), 1);
    if (!no_watch(false)) {
        point(&f, 'Z', 2, DATA, 8);
    }
    go(&f, "c", "T05*", AT(gdb_f));
    gc_disconnect(f.c);
    g_assert_false(machine_running(f.m));
    g_assert_cmpuint(f.m->debug.n, ==, 0);
    gc_connect(f.c);
    gc_expect(f.c, "?", "T05thread:1;");
    gc_send(f.c, "c");
    g_assert_true(gc_quiet(f.c));
    gc_disconnect(f.c); /* the machine goes on */
    g_assert_true(machine_running(f.m));
    gc_connect(f.c); /* and stops for the next one */
    g_assert_false(machine_running(f.m));
    gc_expect(f.c, "vAttach;1", "T05thread:1;");
    gc_expect(f.c, "vAttach;2", "E03");
    gc_expect(f.c, "D;2", "E03");
    gc_expect(f.c, "D", "OK");
    g_assert_true(machine_running(f.m));
    /* what comes while it runs for somebody else stops it */
    gc_expect(f.c, "qC", "QC1");
    g_assert_false(machine_running(f.m));
    fixture_free(&f);
}

static void test_life(void)
{
    Fixture f = fixture_new(1, true);
    gc_send(f.c, "c");
    g_assert_true(gc_quiet(f.c));
    machine_stop(f.m, RUN_PAUSED); /* by a monitor */
    g_assert_cmpstr(gc_wait(f.c), ==, "T02thread:1;");
    machine_start(f.m);
    machine_stop(f.m, RUN_PAUSED); /* nobody asked the debugger, nobody tells it */
    g_assert_true(gc_quiet(f.c));
    gc_send(f.c, "c");
    g_assert_true(gc_quiet(f.c));
    /* a reset: the debugger goes on waiting, breakpoints stay */
    stop(&f, "T02*");
    point(&f, 'Z', 1, 0xfffffff0, 1);
    gc_send(f.c, "c");
    g_assert_true(gc_quiet(f.c));
    machine_request_reset(f.m, SHUTDOWN_HOST_RESET);
    g_assert_cmpstr(gc_wait(f.c), ==, "T05thread:1;");
    g_assert_cmphex(gc_reg(f.c, GC_RIP), ==, 0xfff0); /* the breakpoint is linear, RIP is not */
    g_assert_cmphex(gc_reg(f.c, GC_CS), ==, 0xf000);
    point(&f, 'z', 1, 0xfffffff0, 1);
    /* the guest powers off and the machine stays */
    f.m->action.no_shutdown = true;
    put_code(&f, 0, code_loop, DATA);
    gc_send(f.c, "c");
    g_assert_true(gc_quiet(f.c));
    machine_request_shutdown(f.m, SHUTDOWN_GUEST_SHUTDOWN, 0);
    g_assert_cmpstr(gc_wait(f.c), ==, "T03thread:1;");
    gc_expect(f.c, "c", "T03thread:1;"); /* it cannot go on */
    f.m->action.no_shutdown = false;
    machine_reset(f.m, RESET_WARM);
    machine_request_shutdown(f.m, SHUTDOWN_DEBUG_EXIT, 0x123);
    g_assert_cmpstr(gc_wait(f.c), ==, "W23");
    fixture_free(&f);
}

static void test_kill(void)
{
    Fixture f = fixture_new(1, true);
    gc_expect(f.c, "vKill;7", "E03");
    gc_send(f.c, "k");
    g_assert_cmpstr(gc_wait(f.c), ==, "W00");
    g_assert_cmpint(f.m->state, ==, RUN_FINISHED);
    fixture_free(&f);
}

/* Another server in the place of the first; none; one that cannot be opened. */
static void test_server(void)
{
    Fixture f = fixture_new(1, true);
    Error *err = NULL;
    g_assert_true(gdb_server_start(f.m, "none", &error_abort_slot));
    g_assert_null(gdb_server_device(f.m));
    g_assert_null(chardev_find(f.m, "gdb"));
    g_assert_false(gdb_server_start(f.m, "unix:/nonexistent/s,server=on", &err));
    g_assert_null(gdb_server_device(f.m));
    error_free(g_steal_pointer(&err));
    g_assert_false(gdb_server_start(f.m, "chardev:nobody", &err));
    error_free(g_steal_pointer(&err));
    chardev_new_buffer(f.m, "mine");
    g_assert_true(gdb_server_start(f.m, "chardev:mine", &error_abort_slot));
    g_assert_cmpstr(gdb_server_device(f.m), ==, "chardev:mine");
    gdb_server_stop(f.m);
    g_assert_nonnull(chardev_find(f.m, "mine"));
    fixture_free(&f);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    rcu_register_thread();
#ifdef HAVE_KVM
    Error *err = NULL;
    if (guest_on_kvm() && !kvm_available(&err)) {
        printf("1..0 # SKIP %s\n", error_text(err));
        error_free(err);
        return 0;
    }
#endif
    g_test_add_func("/gdb/packets", test_packets);
    g_test_add_func("/gdb/description", test_description);
    g_test_add_func("/gdb/registers", test_registers);
    g_test_add_func("/gdb/memory", test_memory);
    g_test_add_func("/gdb/code-change", test_code_change);
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
    g_test_add_func("/gdb/monitor", test_monitor);
    g_test_add_func("/gdb/disconnect", test_disconnect);
    g_test_add_func("/gdb/life", test_life);
    g_test_add_func("/gdb/kill", test_kill);
    g_test_add_func("/gdb/server", test_server);
    return g_test_run();
}
