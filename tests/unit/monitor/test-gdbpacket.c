/* SPDX-License-Identifier: MIT
 * tests/unit/monitor/test-gdbpacket.c - framing and numbers of GDB's protocol, well-formed and hostile; the
 *   whole server against random packets.
 */
#include "monitor/gdb_packet.h"
#include "rhea/monitor/gdb.h"
#include "rhea/accel/tcg.h"
#include "rhea/target/x86/cpu.h"
#include "rhea/monitor/monitor.h"
#include <string.h>

const AccelOps *const accel_table[] = { &accel_tcg_ops, NULL };
const BoardType *const board_table[] = { &board_none, NULL };

static GdbInput feed(GdbParser *p, const char *bytes, size_t len)
{
    GdbInput got = GDB_NOTHING;
    for (size_t i = 0; i < len; i++) {
        g_assert_cmpint(got, ==, GDB_NOTHING); /* what counts comes with the last byte */
        got = gdb_parser_byte(p, (uint8_t)bytes[i]);
    }
    return got;
}
#define FEED(p, text) feed((p), (text), sizeof(text) - 1)

static void test_frames(void)
{
    g_autofree GdbParser *p = g_new0(GdbParser, 1);
    g_assert_cmpint(FEED(p, "+"), ==, GDB_ACK);
    g_assert_cmpint(FEED(p, "-"), ==, GDB_NAK);
    g_assert_cmpint(FEED(p, "\3"), ==, GDB_INTERRUPT);
    g_assert_cmpint(FEED(p, "noise#00"), ==, GDB_NOTHING);
    g_assert_cmpint(FEED(p, "$OK#9a"), ==, GDB_PACKET);
    g_assert_cmpstr(p->data, ==, "OK");
    g_assert_cmpint(FEED(p, "$OK#9A"), ==, GDB_PACKET);
    g_assert_cmpint(FEED(p, "$#00"), ==, GDB_PACKET);
    g_assert_cmpuint(p->len, ==, 0);
    g_assert_cmpint(FEED(p, "$OK#9b"), ==, GDB_DAMAGED);
    g_assert_cmpint(FEED(p, "$OK#9x"), ==, GDB_DAMAGED);
    g_assert_cmpint(FEED(p, "$OK#x9"), ==, GDB_DAMAGED);
    g_assert_cmpint(FEED(p, "$lost$OK#9a"), ==, GDB_PACKET); /* the first one's end got lost */
    g_assert_cmpstr(p->data, ==, "OK");
    g_assert_cmpint(FEED(p, "$a\3b#c6"), ==, GDB_PACKET); /* no Ctrl-C inside a packet */
    g_assert_cmpint(FEED(p, "$}\3}]#5a"), ==, GDB_PACKET); /* escaped '#' and '}' */
    g_assert_cmpuint(p->len, ==, 2);
    g_assert_cmpstr(p->data, ==, "#}");
    g_assert_cmpint(FEED(p, "$}#00"), ==, GDB_NOTHING); /* the '#' was escaped: no end yet */
    p->state = GDB_IDLE;
}

/* As long as it may be, one byte more, and a gigabyte's beginning. */
static void test_length(void)
{
    g_autofree GdbParser *p = g_new0(GdbParser, 1);
    g_autoptr(GString) body = g_string_new(NULL), packet = g_string_new(NULL);
    for (unsigned extra = 0; extra < 3; extra++) {
        g_string_truncate(packet, 0);
        g_string_truncate(body, 0);
        for (unsigned i = 0; i < GDB_PACKET_MAX + extra; i++) {
            g_string_append_c(body, 'a' + (char)(i % 26));
        }
        gdb_put_packet(packet, body->str, body->len);
        GdbInput got = feed(p, packet->str, packet->len);
        g_assert_cmpint(got, ==, extra ? GDB_DAMAGED : GDB_PACKET);
        g_assert_cmpint(FEED(p, "$OK#9a"), ==, GDB_PACKET);
    }
    gdb_parser_byte(p, '$');
    for (unsigned i = 0; i < 1000000; i++) {
        g_assert_cmpint(gdb_parser_byte(p, 'x'), ==, GDB_NOTHING);
    }
    g_assert_cmpuint(p->len, <=, GDB_PACKET_MAX);
}

/* Any bytes, written and read. */
static void test_round_trip(void)
{
    g_autofree GdbParser *p = g_new0(GdbParser, 1);
    for (unsigned round = 0; round < 2000; round++) {
        uint8_t data[64];
        unsigned n = (unsigned)g_test_rand_int_range(0, sizeof(data));
        for (unsigned i = 0; i < n; i++) {
            data[i] = round < 256 ? (uint8_t)round : (uint8_t)g_test_rand_int();
        }
        g_autoptr(GString) body = g_string_new(NULL), packet = g_string_new(NULL), hex = g_string_new(NULL);
        gdb_put_binary(body, data, n);
        gdb_put_packet(packet, body->str, body->len);
        g_assert_cmpint(feed(p, packet->str, packet->len), ==, GDB_PACKET);
        g_assert_cmpmem(p->data, p->len, data, n);
        uint8_t back[sizeof(data)];
        gdb_put_hex(hex, data, n);
        const char *at = hex->str;
        g_assert_cmpuint(gdb_get_hex(&at, back, sizeof(back)), ==, n);
        g_assert_cmpmem(back, n, data, n);
        g_assert_cmpint(*at, ==, 0);
    }
}

static void test_numbers(void)
{
    static const struct { const char *text; bool ok; uint64_t val; unsigned used; } cases[] = {
        { "0", true, 0, 1 }, { "1f,", true, 0x1f, 2 }, { "FFFFFFFFFFFFFFFF", true, UINT64_MAX, 16 },
        { "00000000000000001", false },
        { "10000000000000000", false }, { "", false }, { ",1", false }, { "-1", false }, { " 1", false },
        { "x1", false },
    };
    for (unsigned i = 0; i < G_N_ELEMENTS(cases); i++) {
        const char *p = cases[i].text;
        uint64_t v = 77;
        g_assert_cmpint(gdb_get_number(&p, &v), ==, cases[i].ok);
        g_assert_cmphex(v, ==, cases[i].ok ? cases[i].val : 77);
        g_assert_true(p == cases[i].text + cases[i].used);
    }
    uint64_t a, n;
    const char *p = "1000,20:";
    g_assert_true(gdb_get_range(&p, &a, &n) && a == 0x1000 && n == 0x20 && *p == ':');
    static const char *const bad[] = { "1000", "1000,", ",20", "1000;20", "1000,-1",
        "1000,11112222333344445" };
    for (unsigned i = 0; i < G_N_ELEMENTS(bad); i++) {
        p = bad[i];
        g_assert_false(gdb_get_range(&p, &a, &n));
        g_assert_true(p == bad[i]);
    }
    uint8_t buf[4] = { 0 };
    p = "aabbccddee";
    g_assert_cmpuint(gdb_get_hex(&p, buf, sizeof(buf)), ==, 4);
    g_assert_cmpstr(p, ==, "ee");
    p = "aab";
    g_assert_cmpuint(gdb_get_hex(&p, buf, sizeof(buf)), ==, 1);
    p = "zz";
    g_assert_cmpuint(gdb_get_hex(&p, buf, sizeof(buf)), ==, 0);
}

static void test_threads(void)
{
    static const struct { const char *text; bool ok; int64_t process, thread; const char *rest; } cases[] = {
        { "1", true, GDB_ANY_ID, 1, "" }, { "0", true, GDB_ANY_ID, GDB_ANY_ID, "" }, { "-1", true,
        GDB_ANY_ID, GDB_ALL_IDS, "" },
        { "p1.2;", true, 1, 2, ";" }, { "p1", true, 1, GDB_ALL_IDS, "" }, { "p-1.-1", true, GDB_ALL_IDS,
        GDB_ALL_IDS, "" },
        { "p1.-1", true, 1, GDB_ALL_IDS, "" }, { "p0.0", true, 0, 0, "" }, { "pa.b", true, 10, 11, "" },
        { "p-1.1", false }, { "p", false }, { "p.1", false }, { "p1.", false }, { "-2", false }, { "-11",
        false }, { "", false },
        { "80000000", false }, { "p1.80000000", false }, { "x", false },
    };
    for (unsigned i = 0; i < G_N_ELEMENTS(cases); i++) {
        const char *p = cases[i].text;
        GdbThread id;
        g_assert_cmpint(gdb_get_thread(&p, &id), ==, cases[i].ok);
        if (cases[i].ok) {
            g_assert_cmpint(id.process, ==, cases[i].process);
            g_assert_cmpint(id.thread, ==, cases[i].thread);
            g_assert_cmpstr(p, ==, cases[i].rest);
        } else {
            g_assert_true(p == cases[i].text);
        }
    }
}

/* ---- the whole server ---- */

static const BoardType board_cpus = { .name = "cpus", .target = &x86_64_target_ops, .max_cpus = 4,
    .max_ram = 1 << 24 };

static Machine *machine_of(unsigned cpus)
{
    Machine *m = machine_new(loop_new("main"));
    m->board = &board_cpus;
    m->accel = &accel_tcg_ops;
    m->serial_mode = true;
    m->n_cpus = m->max_cpus = m->sockets = cpus;
    m->ram_size = 1 << 20;
    machine_build(m, &error_abort_slot);
    machine_ready(m, &error_abort_slot);
    for (unsigned i = 0; i < cpus; i++) {
        m->cpus[i]->budget = 50; /* there is no RAM: wherever it runs, it faults */
    }
    return m;
}

static void machine_end(Machine *m)
{
    Loop *loop = m->loop;
    machine_stop(m, RUN_PAUSED);
    gdb_server_stop(m);
    chardev_remove_all(m);
    machine_free(m);
    loop_free(loop);
}

/* A piece of a packet as debuggers write it, or of none. */
static void random_piece(GString *t)
{
    static const char *const words[] = { "qSupported:", "qXfer:features:read:", "target.xml:", "qRcmd,",
        "qfThreadInfo", "vCont;", "vCont;s:",
                                         "vAttach;", "Hg", "Hc", "p1.", "-1", "m", "M", "X", "P", "p", "G",
                                         "g", "Z", "z", "0,", "1,", "4,",
                                         "ffffffff", "1000", ",", ":", ";", "=", "aabb", "0", "c", "s",
                                         "C05", "S05", "?", "T", "D", "!",
                                         "qThreadExtraInfo,", "Qqemu.sstep=", "Qqemu.PhyMemMode:",
                                         "vMustReplyEmpty", "68656c70" };
    if (g_test_rand_int_range(0, 4)) {
        g_string_append(t, words[g_test_rand_int_range(0, G_N_ELEMENTS(words))]);
    } else {
        g_string_append_c(t, (char)g_test_rand_int());
    }
}

static void turns(Machine *m)
{
    for (unsigned i = 0; i < 8; i++) {
        loop_turn(m->loop, false);
    }
}

static void take_all(Chardev *c)
{
    uint8_t buf[4096];
    while (chardev_buffer_take(c, buf, sizeof(buf))) {
    }
}

static void test_storm(void)
{
    Machine *m = machine_of(2);
    Chardev *c = chardev_new_buffer(m, "g");
    const char *n = g_getenv("RHEA_STORM");
    unsigned rounds = n ? (unsigned)strtoul(n, NULL, 0) : 10000;
    gdb_server_start(m, "chardev:g", &error_abort_slot);
    turns(m);
    for (unsigned i = 0; i < rounds; i++) {
        g_autoptr(GString) body = g_string_new(NULL), t = g_string_new(NULL);
        for (int k = g_test_rand_int_range(0, 6); k >= 0; k--) {
            random_piece(body);
        }
        if (*body->str == 'k') { /* the client's wish that the machine ends */
            *body->str = 'K';
        }
        if (i % 16 == 0) {
            g_string_append(t, "\3");
        }
        if (i % 8) {
            g_autoptr(GString) escaped = g_string_new(NULL);
            gdb_put_binary(escaped, body->str, body->len);
            gdb_put_packet(t, escaped->str, escaped->len);
        } else {
            g_string_append_len(t, body->str, (gssize)body->len); /* no packet, or its beginning */
        }
        chardev_buffer_feed(c, (const uint8_t *)t->str, t->len);
        turns(m);
        take_all(c);
        g_assert_cmpuint(m->debug.n, <=, DEBUG_POINTS_MAX);
        g_assert_cmpint(m->state, !=, RUN_FINISHED);
    }
    /* it still answers */
    chardev_buffer_feed(c, (const uint8_t *)"#00\3$vMustReplyEmpty#3a", 23);
    turns(m);
    uint8_t buf[256] = "";
    g_assert_cmpuint(chardev_buffer_take(c, buf, sizeof(buf) - 1), >=, 4);
    g_assert_nonnull(strstr((char *)buf, "$#00"));
    machine_end(m);
}

/* Points are bounded; a machine without CPUs, and an accelerator that cannot stop them, are refused. */
static void test_limits(void)
{
    Machine *m = machine_of(1);
    Error *err = NULL;
    for (unsigned i = 0; i < DEBUG_POINTS_MAX; i++) {
        g_assert_true(debug_point_add(m, (DebugPoint){ DEBUG_BREAK_SOFT, i, 1 }, &error_abort_slot));
    }
    g_assert_false(debug_point_add(m, (DebugPoint){ DEBUG_BREAK_SOFT, 1 << 20, 1 }, &err));
    error_free(g_steal_pointer(&err));
    g_assert_true(debug_point_add(m, (DebugPoint){ DEBUG_BREAK_SOFT, 5, 4 },
        &error_abort_slot)); /* is there */
    g_assert_cmpuint(m->debug.n, ==, DEBUG_POINTS_MAX);
    debug_points_clear(m);
    g_assert_cmpuint(m->debug.n, ==, 0);
    machine_end(m);

    m = machine_new(loop_new("main"));
    m->board = &board_none;
    m->accel = &accel_tcg_ops;
    machine_build(m, &error_abort_slot);
    machine_ready(m, &error_abort_slot);
    g_assert_false(gdb_server_start(m, "tcp::0", &err));
    g_assert_nonnull(strstr(error_text(err), "no CPU to debug"));
    error_free(err);
    machine_end(m);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    role_become_main();
    rcu_register_thread();
    g_test_add_func("/gdbpacket/frames", test_frames);
    g_test_add_func("/gdbpacket/length", test_length);
    g_test_add_func("/gdbpacket/round-trip", test_round_trip);
    g_test_add_func("/gdbpacket/numbers", test_numbers);
    g_test_add_func("/gdbpacket/threads", test_threads);
    g_test_add_func("/gdbpacket/storm", test_storm);
    g_test_add_func("/gdbpacket/limits", test_limits);
    return g_test_run();
}
