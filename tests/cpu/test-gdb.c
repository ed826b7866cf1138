/* SPDX-License-Identifier: MIT
 * tests/cpu/test-gdb.c - the GDB server: packets, registers, memory, monitor commands, connections that come and go
 * (monitor/gdb_*.c, target/x86/gdb.c). Run in tier 0, in tier 1, and on KVM (target/x86/kvm-debug.c): with its debugging
 * (kernel-irqchip=split), and, where hosts emulate, with the interpreter's (off).
 * Threads: main, and the vCPUs.
 */
#include "rhea/util/errorcode.h"
#include "target/x86/sysint.h"
#include "tests/cpu/gdbguest.h"

/* --- packets --- */

static void test_packets(void)
{
    GdbGuest f = gdb_guest_new(2, true);
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
    gdb_guest_free(&f);
}

/* The description in pieces of 100 bytes. */
static void test_description(void)
{
    GdbGuest f = gdb_guest_new(1, true);
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
    gdb_guest_free(&f);
}

/* --- registers and memory --- */

static void test_registers(void)
{
    GdbGuest f = gdb_guest_new(1, true);
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
    gdb_guest_free(&f);
}

static void test_memory(void)
{
    GdbGuest f = gdb_guest_new(1, true);
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
    gdb_guest_free(&f);
}

/* Code that ran is changed by M: the guest sees it. */
static void test_code_change(void)
{
    GdbGuest f = gdb_guest_new(1, true);
    gdb_point(&f, 'Z', 0, AT(gdb_after_call), 1);
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
    gdb_guest_free(&f);
}

/* --- connections --- */

static void hex_command(GString *t, const char *line)
{
    g_string_assign(t, "qRcmd,");
    for (const char *p = line; *p; p++) {
        g_string_append_printf(t, "%02x", (uint8_t)*p);
    }
}

static char *monitor(GdbGuest *f, const char *line)
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
    GdbGuest f = gdb_guest_new(2, true);
    g_autofree char *a = monitor(&f, "p $rdi");
    g_assert_cmpstr(a, ==, "0x200000\n");
    g_free(monitor(&f, "cpu 1"));
    g_autofree char *d = monitor(&f, "p $rdi");
    g_assert_cmpstr(d, ==, "0x300000\n"); /* the session remembers it */
    g_autofree char *e = monitor(&f, "gdbserver none");
    g_assert_nonnull(strstr(e, "cannot be changed while"));
    g_autofree char *h = monitor(&f, "help");
    g_assert_nonnull(strstr(h, "gdbserver"));
    g_autofree char *i = monitor(&f, "info history");
    g_assert_cmpstr(i, ==, "");
    gc_expect(f.c, "qRcmd,zz", "E16");
    gc_expect(f.c, "qRcmd,", "E16");
    gc_expect(f.c, "qRcmd,0041", "E16");
    gdb_guest_free(&f);
}

/* A debugger that goes away without a word leaves nothing behind. */
static void test_disconnect(void)
{
    GdbGuest f = gdb_guest_new(1, true);
    gdb_point(&f, 'Z', 0, AT(gdb_f), 1);
    if (!gdb_no_watch(false)) {
        gdb_point(&f, 'Z', 2, DATA, 8);
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
    gdb_guest_free(&f);
}

static void test_life(void)
{
    GdbGuest f = gdb_guest_new(1, true);
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
    gdb_stop(&f, "T02*");
    gdb_point(&f, 'Z', 1, 0xfffffff0, 1);
    gc_send(f.c, "c");
    g_assert_true(gc_quiet(f.c));
    machine_request_reset(f.m, SHUTDOWN_HOST_RESET);
    g_assert_cmpstr(gc_wait(f.c), ==, "T05thread:1;");
    g_assert_cmphex(gc_reg(f.c, GC_RIP), ==, 0xfff0); /* the breakpoint is linear, RIP is not */
    g_assert_cmphex(gc_reg(f.c, GC_CS), ==, 0xf000);
    gdb_point(&f, 'z', 1, 0xfffffff0, 1);
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
    gdb_guest_free(&f);
}

static void test_kill(void)
{
    GdbGuest f = gdb_guest_new(1, true);
    gc_expect(f.c, "vKill;7", "E03");
    gc_send(f.c, "k");
    g_assert_cmpstr(gc_wait(f.c), ==, "W00");
    g_assert_cmpint(f.m->state, ==, RUN_FINISHED);
    gdb_guest_free(&f);
}

/* Another server in the place of the first; none; one that cannot be opened. */
static void test_server(void)
{
    GdbGuest f = gdb_guest_new(1, true);
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
    gdb_guest_free(&f);
}

/* --- others' doings while the server stops the machine, which turns the main loop --- */

static GdbGuest *nested;
static void (*nested_do)(void);

static void nested_drain(Machine *m, bool cancel)
{
    void (*now)(void) = nested_do;
    nested_do = NULL;
    if (now) {
        now();
    }
}

/* Runs the machine; `now` is done in the next stop. */
static void run_until_stop(GdbGuest *f, void (*now)(void))
{
    machine_start(f->m);
    g_assert_true(machine_running(f->m));
    nested = f;
    nested_do = now;
    f->m->drain_backends = nested_drain;
}

static void do_start(void)
{
    g_assert_false(machine_running(nested->m));
    machine_start(nested->m);
}

static void do_send(void)
{
    gc_raw(nested->c, "$qAttached:1#fa", 15);
    gc_turns(nested->c);
}

static void do_change(void)
{
    g_autoptr(Error) err = NULL;
    g_assert_false(gdb_server_start(nested->m, "none", &err));
    g_assert_cmpstr(error_code(err), ==, "in-use");
}

static void do_reconnect(void)
{
    gc_disconnect(nested->c);
    gc_connect(nested->c);
}

static void test_nested(void)
{
    GdbGuest f = gdb_guest_new(1, true);
    DebugPoint p = { .kind = DEBUG_BREAK_SOFT, .addr = AT(gdb_f), .len = 1 };
    static const char *const packets[] = { "Z0,1000,1", "z0,1000,1", "?", "g", "c" };
    for (unsigned i = 0; i < G_N_ELEMENTS(packets); i++) {
        run_until_stop(&f, do_start);
        gc_expect(f.c, packets[i], "E10");
        g_assert_true(machine_running(f.m));
    }
    g_autoptr(Error) err = NULL;
    g_assert_false(debug_point_add(f.m, p, &err));
    g_assert_nonnull(strstr(error_text(err), "while the machine runs"));
    g_assert_false(debug_point_remove(f.m, p, NULL));
    gc_expect(f.c, "?", "T02*");
    /* the next packet is not begun before the first is done */
    run_until_stop(&f, do_send);
    gc_expect(f.c, "qC", "QC1");
    g_assert_cmpstr(gc_wait(f.c), ==, "1");
    /* the server stays while it is at work: for a packet, for Ctrl-C, for a debugger that comes */
    run_until_stop(&f, do_change);
    gc_expect(f.c, "qC", "QC1");
    run_until_stop(&f, do_change);
    gc_raw(f.c, "\3", 1);
    gc_turns(f.c);
    g_assert_null(nested_do);
    gc_disconnect(f.c);
    run_until_stop(&f, do_change);
    gc_connect(f.c);
    g_assert_null(nested_do);
    gc_expect(f.c, "?", "T05*");
    /* nobody gets the answer to a question of one who has gone */
    run_until_stop(&f, do_reconnect);
    gc_raw(f.c, "$qC#b4$qAttached:1#fa", 21);
    g_assert_true(gc_quiet(f.c));
    g_assert_null(nested_do);
    gc_expect(f.c, "?", "T05*");
    f.m->drain_backends = NULL;
    gdb_guest_free(&f);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    rcu_register_thread();
    if (gdb_skipped()) {
        return 0;
    }
    g_test_add_func("/gdb/packets", test_packets);
    g_test_add_func("/gdb/description", test_description);
    g_test_add_func("/gdb/registers", test_registers);
    g_test_add_func("/gdb/memory", test_memory);
    g_test_add_func("/gdb/code-change", test_code_change);
    g_test_add_func("/gdb/monitor", test_monitor);
    g_test_add_func("/gdb/disconnect", test_disconnect);
    g_test_add_func("/gdb/life", test_life);
    g_test_add_func("/gdb/kill", test_kill);
    g_test_add_func("/gdb/server", test_server);
    g_test_add_func("/gdb/nested", test_nested);
    return g_test_run();
}
