/* SPDX-License-Identifier: MIT
 * tests/device/test-virtio.c - hw/virtio/queue.c, pool.c, virtio-pci.c, virtio-pci-legacy.c, virtio-blk.c and
 * backends/block/resize.c: a driver in the test reads and writes a disk through the rings, and breaks their
 * rules; another one is of the time before virtio 1.0. Threads: main.
 */
#include "rhea/backends/drive.h"
#include "rhea/schema/type.h"
#include "tests/device/virtguest.h"
#include "tests/device/virtring.h"

#include <glib/gstdio.h>
#include <signal.h>

/* A legacy driver uses DESC and what follows for its queue. */
enum { LEGACY_USED = 0x2000 };

static void guest_open_type(Guest *g, const char *type, const char *prop, const char *val)
{
    guest_open_with(g, type, "serial", "disk-1", prop, val);
}

static void guest_open(Guest *g, const char *prop, const char *val)
{
    guest_open_type(g, "virtio-blk-pci", prop, val);
}

static void set_desc(Guest *g, hwaddr table, unsigned i, uint64_t addr, uint32_t len, unsigned flags,
                     unsigned next)
{
    ring_set_desc(g->t->m, table, i, addr, len, flags, next);
}

static unsigned used(Guest *g)
{
    return ring_used(g->t->m);
}

static void offer(Guest *g, unsigned head)
{
    ring_offer(g->t->m, &g->avail, head);
    wr(g, NOTIFY, 0, 2);
}

static void wait_used(Guest *g, unsigned idx)
{
    ring_wait_used(g->t->m, idx);
}

static void set_request(Guest *g, uint32_t type, uint64_t sector, uint32_t len, bool in)
{
    ring_set_request(g->t->m, type, sector, len, in);
}

static unsigned request(Guest *g, uint32_t type, uint64_t sector, uint32_t len, bool in)
{
    set_request(g, type, sector, len, in);
    offer(g, 0);
    wait_used(g, g->avail);
    return (unsigned)rd(g, STATUS, 1);
}

static void test_transfer(void)
{
    Guest g;
    guest_open(&g, "config-wce", "on");
    g_assert_cmphex(pctest_config_read(g.t, FN, 0, 4), ==, 0x10011af4);
    g_assert_cmpuint(rd(&g, CONFIG, 8), ==, DISK / 512);
    g_assert_cmpuint(rd(&g, CONFIG + 34, 2), ==, 2);
    guest_start(&g, VERSION_1 | 1 << 9 | 1 << 11 | 1 << 13 | 1 << 14);
    for (unsigned i = 0; i < 8192; i++) {
        *ram(&g, DATA + i) = (uint8_t)(i * 7 + i / 256);
    }
    g_autofree uint8_t *copy = g_memdup2(ram(&g, DATA), 8192);
    g_assert_cmpuint(request(&g, 1, 100, 8192, false), ==, 0);
    g_assert_cmphex(rd(&g, ISR, 1), ==, 1);
    g_assert_cmphex(rd(&g, ISR, 1), ==, 0);
    memset(ram(&g, DATA), 0, 8192);
    g_assert_cmpuint(request(&g, 0, 100, 8192, true), ==, 0);
    g_assert_cmpuint(rd(&g, USED + 4 + 8 + 4, 4), ==, 8193);
    g_assert_cmpmem(ram(&g, DATA), 8192, copy, 8192);
    g_assert_cmpuint(request(&g, 4, 0, 0, false), ==, 0);
    g_autofree char *file = NULL;
    g_file_get_contents(g.path, &file, NULL, NULL);
    g_assert_cmpmem(file + 51200, 8192, copy, 8192);
    g_assert_cmpuint(request(&g, 8, 0, 20, true), ==, 0);
    g_assert_cmpstr((char *)ram(&g, DATA), ==, "disk-1");
    g_assert_cmpuint(request(&g, 77, 0, 512, true), ==, 2);
    /* beyond the end, odd lengths, overflow */
    g_assert_cmpuint(request(&g, 0, DISK / 512, 512, true), ==, 1);
    g_assert_cmpuint(request(&g, 1, DISK / 512 - 1, 1024, false), ==, 1);
    g_assert_cmpuint(request(&g, 0, UINT64_MAX / 512, 512, true), ==, 1);
    g_assert_cmpuint(request(&g, 0, 0, 511, true), ==, 1);
    /* ranges: zeroes, discard, unknown flags */
    wr(&g, DATA, 100, 8);
    wr(&g, DATA + 8, 8, 4);
    wr(&g, DATA + 12, 1, 4);
    g_assert_cmpuint(request(&g, 13, 0, 16, false), ==, 0);
    g_assert_cmpuint(request(&g, 11, 0, 16, false), ==, 2);
    wr(&g, DATA + 12, 0, 4);
    g_assert_cmpuint(request(&g, 11, 0, 16, false), ==, 0);
    wr(&g, DATA, DISK / 512 - 1, 8);
    g_assert_cmpuint(request(&g, 13, 0, 16, false), ==, 1);
    g_assert_cmpuint(request(&g, 0, 100, 8192, true), ==, 0);
    g_assert_cmpuint(rd(&g, DATA + 4088, 8), ==, 0);
    g_assert_cmpmem(ram(&g, DATA + 4096), 4096, copy + 4096, 4096);
    /* the cache switch, and the reset that brings it back */
    g_assert_cmpuint(rd(&g, CONFIG + 32, 1), ==, 1);
    wr(&g, CONFIG + 32, 0, 1);
    g_assert_cmpuint(rd(&g, CONFIG + 32, 1), ==, 0);
    wr(&g, BAR + 0x14, 0, 1);
    g_assert_cmpuint(rd(&g, CONFIG + 32, 1), ==, 1);
    guest_close(&g);
}

/* Many at a time, indirect, with the event index: one interrupt where one was asked for. */
static void test_many(void)
{
    Guest g;
    guest_open(&g, "event_idx", "on");
    guest_start(&g, VERSION_1 | INDIRECT_DESC | EVENT_IDX);
    for (unsigned round = 0; round < 5000; round++) {
        for (unsigned i = 0; i < SIZE; i++) {
            hwaddr table = TABLE + 64 * i, header = HEADER + 16 * i;
            wr(&g, header, 0, 4);
            wr(&g, header + 8, i, 8);
            set_desc(&g, table, 0, header, 16, NEXT, 1);
            set_desc(&g, table, 1, DATA + 512 * i, 512, NEXT | WRITE, 2);
            set_desc(&g, table, 2, STATUS + i, 1, WRITE, 0);
            set_desc(&g, DESC, i, table, 48, INDIRECT, 0);
            wr(&g, AVAIL + 4 + 2 * (g.avail++ % SIZE), i, 2);
        }
        wr(&g, AVAIL + 4 + 2 * SIZE, (uint16_t)(g.avail - 1), 2); /* used_event: at the last */
        rd(&g, ISR, 1);
        wr(&g, AVAIL + 2, g.avail, 2);
        wr(&g, NOTIFY, 0, 2);
        g_assert_cmpuint(rd(&g, USED + 4 + 8 * SIZE, 2), ==, g.avail); /* avail_event */
        g_assert_cmpuint(rd(&g, ISR, 1), ==, 0);
        wait_used(&g, g.avail);
        g_assert_cmpuint(rd(&g, ISR, 1), ==, 1);
    }
    guest_close(&g);
}

/* A reset while requests are under way reads as done only when they are. */
static void test_reset_in_flight(void)
{
    Guest g;
    guest_open(&g, "config-wce", "on");
    guest_start(&g, VERSION_1);
    set_request(&g, 0, 0, 4096, true);
    offer(&g, 0);
    wr(&g, BAR + 0x14, 0, 1);
    g_assert_cmphex(rd(&g, BAR + 0x14, 1), ==, 15);
    for (unsigned i = 0; rd(&g, BAR + 0x14, 1) && i < 1000000; i++) {
        loop_turn(g.t->loop, false);
    }
    g_assert_cmphex(rd(&g, BAR + 0x14, 1), ==, 0);
    g_assert_cmpuint(used(&g), ==, 0);
    guest_start(&g, VERSION_1);
    g_assert_cmpuint(request(&g, 0, 0, 512, true), ==, 0);
    guest_close(&g);
}

/* A machine's reset waits for requests that are under way: none writes to memory afterwards. */
static void test_machine_reset_in_flight(void)
{
    Guest g;
    enum { BYTES = 512 << 10 };
    guest_open(&g, "config-wce", "on");
    guest_start(&g, VERSION_1);
    memset(ram(&g, DATA), 0x55, BYTES);
    set_request(&g, 0, 0, BYTES, true);
    offer(&g, 0);
    machine_reset(g.t->m, RESET_COLD);
    g_assert_cmphex(*ram(&g, DATA), ==, 0);
    g_assert_cmphex(*ram(&g, DATA + BYTES - 1), ==, 0);
    memset(ram(&g, DATA), 0x55, BYTES);
    for (unsigned i = 0; i < 100; i++) {
        loop_turn(g.t->loop, false);
        g_usleep(100);
    }
    for (unsigned i = 0; i < BYTES; i++) {
        g_assert_cmphex(*ram(&g, DATA + i), ==, 0x55);
    }
    guest_close(&g);
}

/* A bridge resets what is behind it, whatever is under way: a driver that begins at once may have all entries
 * in use while those from before are out as well. Each is answered, and nothing of the old ones is told. One
 * that asks for a reset sees when they are done. */
static void test_bus_reset_in_flight(void)
{
    Guest g;
    enum { EACH = 512, DATA2 = DATA + SIZE * EACH };
    guest_open(&g, "config-wce", "on");
    for (unsigned round = 0; round < 3; round++) {
        hwaddr data = round & 1 ? DATA2 : DATA;
        guest_begin(&g, VERSION_1 | INDIRECT_DESC);
        set_request(&g, 0, 0, EACH, true);
        memset(ram(&g, data), 0x55, SIZE * EACH);
        memset(ram(&g, STATUS), 0xee, SIZE);
        for (unsigned i = 0; i < SIZE; i++) {
            hwaddr table = TABLE + 64 * i;
            set_desc(&g, table, 0, HEADER, 16, NEXT, 1);
            set_desc(&g, table, 1, data + i * EACH, EACH, NEXT | WRITE, 2);
            set_desc(&g, table, 2, STATUS + i, 1, WRITE, 0);
            set_desc(&g, DESC, i, table, 48, INDIRECT, 0);
            offer(&g, i);
        }
        g_assert_cmpuint(used(&g), ==, 0); /* they end on the loop, which has not turned */
        if (round < 2) {
            device_reset(g.dev, RESET_WARM);
            guest_place(&g);
        }
    }
    wait_used(&g, SIZE);
    for (unsigned i = 0; i < SIZE; i++) {
        g_assert_cmphex(rd(&g, STATUS + i, 1), ==, 0);
        g_assert_cmphex(rd(&g, DATA + i * EACH, 8), ==, 0);
    }
    set_request(&g, 0, 0, EACH, true);
    offer(&g, 0);
    device_reset(g.dev, RESET_WARM);
    guest_place(&g);
    wr(&g, BAR + 0x14, 0, 1);
    g_assert_cmphex(rd(&g, BAR + 0x14, 1), !=, 0);
    for (unsigned i = 0; rd(&g, BAR + 0x14, 1) && i < 1000000; i++) {
        loop_turn(g.t->loop, false);
    }
    guest_start(&g, VERSION_1);
    g_assert_cmpuint(request(&g, 0, 0, 4096, true), ==, 0);
    guest_close(&g);
}

/* The file may not grow or be written from here on: the host's error for that is EFBIG. */
static void write_that_stops(Guest *g)
{
    limit_files(DISK / 2);
    memset(ram(g, DATA), 0x77, 4096);
    set_request(g, 1, DISK / 512 - 8, 4096, false);
    offer(g, 0);
    for (unsigned i = 0; machine_running(g->t->m) && i < 100000; i++) {
        loop_turn(g->t->loop, false);
        g_usleep(10);
    }
    g_assert_cmpstr(run_state_name(g->t->m->state), ==, "io-error");
    limit_files(RLIM_INFINITY);
}

/* werror=stop: the machine stops and goes on with the request; a reset drops it. Else the guest is told. */
static void test_errors(void)
{
    Guest g;
    signal(SIGXFSZ, SIG_IGN);
    guest_open(&g, "werror", "stop");
    guest_start(&g, VERSION_1);
    machine_start(g.t->m);
    write_that_stops(&g);
    g_assert_cmpuint(used(&g), ==, 0);
    machine_start(g.t->m);
    wait_used(&g, 1);
    g_assert_cmphex(rd(&g, STATUS, 1), ==, 0);
    memset(ram(&g, DATA), 0, 4096);
    g_assert_cmpuint(request(&g, 0, DISK / 512 - 8, 4096, true), ==, 0);
    g_assert_cmphex(*ram(&g, DATA), ==, 0x77);
    g_assert_cmpuint(request(&g, 1, DISK / 512 - 8, 512, false), ==, 0);
    write_that_stops(&g);
    machine_reset(g.t->m, RESET_COLD);
    pctest_config_write(g.t, FN, 0x14, MSIX_BAR, 4);
    pctest_config_write(g.t, FN, 0x20, BAR, 4);
    pctest_config_write(g.t, FN, 0x24, 0, 4);
    pctest_config_write(g.t, FN, 4, 6, 2);
    guest_start(&g, VERSION_1);
    machine_start(g.t->m);
    g_assert_cmpuint(request(&g, 0, DISK / 512 - 7, 512, true), ==, 0);
    g_assert_cmpuint(used(&g), ==, 1);
    guest_close(&g);
    guest_open(&g, "werror", "enospc"); /* it is another error */
    guest_start(&g, VERSION_1);
    machine_start(g.t->m);
    limit_files(DISK / 2);
    g_assert_cmpuint(request(&g, 1, DISK / 512 - 8, 4096, false), ==, 1);
    limit_files(RLIM_INFINITY);
    g_assert_true(machine_running(g.t->m));
    guest_close(&g);
    guest_open(&g, "werror", "ignore");
    guest_start(&g, VERSION_1);
    limit_files(DISK / 2);
    g_assert_cmpuint(request(&g, 1, DISK / 512 - 8, 4096, false), ==, 0);
    limit_files(RLIM_INFINITY);
    guest_close(&g);
}

/* A request that is held back when the machine is saved is there after the load, and runs when that goes
 * on; a driver's reset that waits for it is done. */
static void test_held_saved(void)
{
    for (unsigned reset = 0; reset < 2; reset++) {
        Guest g;
        guest_open(&g, "werror", "stop");
        guest_start(&g, VERSION_1);
        machine_start(g.t->m);
        write_that_stops(&g);
        if (reset) {
            wr(&g, BAR + 0x14, 0, 1);
            g_assert_cmphex(rd(&g, BAR + 0x14, 1), ==, 15);
        }
        g_autoptr(GByteArray) a = guest_saved(&g);
        machine_reset(g.t->m, RESET_COLD);
        guest_turns(&g, 1000);
        g_assert_true(machine_load(g.t->m, a->data, a->len, &error_abort_slot));
        g_autoptr(GByteArray) b = guest_saved(&g);
        g_assert_cmpmem(b->data, b->len, a->data, a->len);
        guest_turns(&g, 1000);
        g_assert_cmpuint(used(&g), ==, 0);
        if (reset) {
            g_assert_cmphex(rd(&g, BAR + 0x14, 1), ==, 0);
        } else {
            g_autoptr(GByteArray) c = guest_saved(&g);
            g_assert_cmpmem(c->data, c->len, a->data, a->len);
            machine_start(g.t->m);
            wait_used(&g, 1);
            g_assert_cmphex(rd(&g, STATUS, 1), ==, 0);
        }
        g_autofree char *file = NULL;
        g_file_get_contents(g.path, &file, NULL, NULL);
        g_assert_cmphex(file[DISK - 4096], ==, reset ? 0 : 0x77);
        guest_close(&g);
    }
}

static void break_header(Guest *g)
{
    set_desc(g, DESC, 0, HEADER, 15, NEXT, 2);
}
static void break_status(Guest *g)
{
    set_desc(g, DESC, 1, DATA, 512, 0, 0);
}
static void break_loop(Guest *g)
{
    set_desc(g, DESC, 1, DATA, 512, NEXT, 1);
}
static void break_next(Guest *g)
{
    set_desc(g, DESC, 1, DATA, 512, NEXT, SIZE);
}
static void break_ram(Guest *g)
{
    set_desc(g, DESC, 1, 0x80000000, 512, NEXT, 2);
}
static void break_edge(Guest *g)
{
    set_desc(g, DESC, 1, 16 * MIB - 256, 512, NEXT, 2);
}
static void break_long(Guest *g)
{
    set_desc(g, DESC, 1, DATA, UINT32_MAX, NEXT, 2);
}
static void break_wrap(Guest *g)
{
    set_desc(g, DESC, 1, UINT64_MAX - 255, 512, NEXT, 2);
}
static void break_empty(Guest *g)
{
    set_desc(g, DESC, 1, DATA, 0, NEXT, 2);
}
static void break_order(Guest *g)
{
    set_desc(g, DESC, 1, DATA, 512, NEXT | WRITE, 3);
    set_desc(g, DESC, 3, DATA, 512, NEXT, 2);
}
static void indirect(Guest *g, hwaddr at, uint32_t len, unsigned flags)
{
    set_desc(g, DESC, 0, at, len, flags, 1);
}
static void break_table_odd(Guest *g)
{
    indirect(g, TABLE, 47, INDIRECT);
}
static void break_table_empty(Guest *g)
{
    indirect(g, TABLE, 0, INDIRECT);
}
static void break_table_next(Guest *g)
{
    indirect(g, TABLE, 48, INDIRECT | NEXT);
}
static void break_table_big(Guest *g)
{
    indirect(g, TABLE, 16 * (SIZE + 1), INDIRECT);
}
static void break_table_ram(Guest *g)
{
    indirect(g, 0x90000000, 48, INDIRECT);
}
static void break_table_nest(Guest *g)
{
    indirect(g, TABLE, 48, INDIRECT);
    set_desc(g, TABLE, 0, TABLE, 48, INDIRECT, 0);
}
static void break_table_loop(Guest *g)
{
    indirect(g, TABLE, 48, INDIRECT);
    set_desc(g, TABLE, 0, HEADER, 16, NEXT, 0);
}
static void break_avail(Guest *g)
{
    g->avail += SIZE + 1;
}

static void test_hostile(void)
{
    static void (*const ways[])(Guest * g) = {
        break_header,     break_status,      break_loop,       break_next,      break_ram,
        break_edge,       break_long,        break_wrap,       break_empty,     break_order,
        break_table_odd,  break_table_empty, break_table_next, break_table_big, break_table_ram,
        break_table_nest, break_table_loop,  break_avail,
    };
    Guest g;
    guest_open(&g, "config-wce", "on");
    for (unsigned i = 0; i < G_N_ELEMENTS(ways); i++) {
        guest_start(&g, VERSION_1 | INDIRECT_DESC);
        set_request(&g, 1, 0, 512, false);
        ways[i](&g);
        offer(&g, 0);
        g_test_message("way %u", i);
        g_assert_cmphex(rd(&g, BAR + 0x14, 1), ==, 15 | 64);
        g_assert_cmphex(rd(&g, ISR, 1) & 2, ==, 2);
        offer(&g, 0); /* nothing moves any more */
        for (unsigned k = 0; k < 20; k++) {
            loop_turn(g.t->loop, false);
        }
        g_assert_cmpuint(used(&g), ==, 0);
        guest_start(&g, VERSION_1);
        g_assert_cmpuint(request(&g, 1, 0, 512, false), ==, 0);
    }
    guest_start(&g, VERSION_1); /* indirect was not negotiated */
    indirect(&g, TABLE, 48, INDIRECT);
    offer(&g, 0);
    g_assert_cmphex(rd(&g, BAR + 0x14, 1), ==, 15 | 64);
    guest_close(&g);
}

/* Random rings: whatever happens, a reset brings the device back. */
static void test_random(void)
{
    Guest g;
    guest_open(&g, "config-wce", "on");
    g_autoptr(GRand) r = g_rand_new_with_seed((guint32)g_test_rand_int());
    for (unsigned round = 0; round < 300; round++) {
        guest_start(&g, VERSION_1 | (g_rand_boolean(r) ? INDIRECT_DESC : 0) |
                            (g_rand_boolean(r) ? EVENT_IDX : 0));
        for (unsigned i = 0; i < 2 * SIZE; i++) {
            hwaddr table = i < SIZE ? DESC : TABLE;
            static const uint32_t lens[] = { 1, 16, 32, 48, 512, 4096, 0x100000, UINT32_MAX };
            static const uint64_t at[] = { HEADER, STATUS, TABLE, DATA, DESC, AVAIL, USED, 0xfee00000 };
            set_desc(&g, table, i % SIZE, at[g_rand_int_range(r, 0, 8)], lens[g_rand_int_range(r, 0, 8)],
                     (unsigned)g_rand_int_range(r, 0, 8), (unsigned)g_rand_int_range(r, 0, SIZE + 1));
        }
        wr(&g, HEADER, (uint64_t)g_rand_int_range(r, 0, 15), 4);
        for (unsigned i = 0; i < 8; i++) {
            offer(&g, (unsigned)g_rand_int_range(r, 0, SIZE));
            loop_turn(g.t->loop, false);
        }
        wr(&g, BAR + 0x14, 0, 1);
        for (unsigned i = 0; rd(&g, BAR + 0x14, 1) && i < 1000000; i++) {
            loop_turn(g.t->loop, false);
        }
    }
    guest_start(&g, VERSION_1);
    g_assert_cmpuint(request(&g, 1, 0, 512, false), ==, 0);
    guest_close(&g);
}

/* ---- the legacy interface ---- */

static void legacy_start(Guest *g, uint32_t features)
{
    PcTest *t = g->t;
    pctest_out(t, PORT + 0x12, 0, 1);
    g_assert_cmphex(pctest_in(t, PORT + 0x12, 1), ==, 0);
    pctest_out(t, PORT + 0x12, 3, 1);
    pctest_out(t, PORT + 4, features, 4);
    g_assert_cmphex(pctest_in(t, PORT + 4, 4), ==, features);
    g->avail = 0;
    memset(ram(g, DESC), 0, 0x3000);
    pctest_out(t, PORT + 0xe, 0, 2);
    g_assert_cmpuint(pctest_in(t, PORT + 0xc, 2), ==, SIZE);
    g_assert_cmphex(pctest_in(t, PORT + 8, 4), ==, 0);
    pctest_out(t, PORT + 8, DESC / 4096, 4);
    g_assert_cmphex(pctest_in(t, PORT + 8, 4), ==, DESC / 4096);
    pctest_out(t, PORT + 0x12, 7, 1);
    g_assert_cmphex(pctest_in(t, PORT + 0x12, 1), ==, 7);
}

static unsigned legacy_used(Guest *g)
{
    return (unsigned)rd(g, LEGACY_USED + 2, 2);
}

static void legacy_offer(Guest *g)
{
    hwaddr avail = DESC + 16 * SIZE;
    wr(g, avail + 4 + 2 * (g->avail % SIZE), 0, 2);
    wr(g, avail + 2, ++g->avail, 2);
    pctest_out(g->t, PORT + 0x10, 0, 2);
}

static unsigned legacy_request(Guest *g, uint32_t type, uint64_t sector, uint32_t len, bool in)
{
    set_request(g, type, sector, len, in);
    legacy_offer(g);
    for (unsigned i = 0; legacy_used(g) != g->avail && i < 1000000; i++) {
        loop_turn(g->t->loop, false);
    }
    g_assert_cmpuint(legacy_used(g), ==, g->avail);
    return (unsigned)rd(g, STATUS, 1);
}

/* 4.1.4.10: a driver from before virtio 1.0, of a device with both interfaces and of one with that alone. */
static void test_legacy(void)
{
    for (unsigned only = 0; only < 2; only++) {
        Guest g;
        guest_open(&g, "disable-modern", only ? "on" : "off");
        PcTest *t = g.t;
        g_assert_cmphex(pctest_config_read(t, FN, 0, 4), ==, 0x10011af4);
        g_assert_cmphex(pctest_config_read(t, FN, 8, 1), ==, 0);
        g_assert_cmphex(pctest_config_read(t, FN, 0x2c, 4), ==, 0x00021af4);
        g_assert_cmphex(pctest_config_read(t, FN, 0x10, 4), ==, PORT | 1);
        g_assert_cmphex(pctest_config_read(t, FN, 0x20, 4), ==, only ? 0 : BAR | 0xc);
        g_assert_cmphex(pctest_in(t, PORT, 4) & 3u << 28, ==, 3u << 28);
        g_assert_cmphex(pctest_in(t, PORT, 4) & 9u << 24, ==, 9u << 24);
        g_assert_cmphex(pctest_in(t, PORT + 0x16, 2), ==, 0); /* the capacity's third word */
        g_assert_cmpuint(pctest_in(t, PORT + 0x14, 4), ==, DISK / 512);
        legacy_start(&g, 1 << 9);
        memset(ram(&g, DATA), 0x5a, 4096);
        g_assert_cmpuint(legacy_request(&g, 1, 64, 4096, false), ==, 0);
        g_assert_cmphex(pctest_in(t, PORT + 0x13, 1), ==, 1);
        g_assert_cmphex(pctest_in(t, PORT + 0x13, 1), ==, 0);
        memset(ram(&g, DATA), 0, 4096);
        g_assert_cmpuint(legacy_request(&g, 0, 64, 4096, true), ==, 0);
        g_assert_cmphex(*ram(&g, DATA + 4095), ==, 0x5a);
        /* MSI-X moves the configuration */
        unsigned cap = pctest_config_read(t, FN, 0x34, 1);
        while (pctest_config_read(t, FN, cap, 1) != 0x11) {
            cap = pctest_config_read(t, FN, cap + 1, 1);
        }
        pctest_config_write(t, FN, cap + 2, 0x8000, 2);
        g_assert_cmpuint(pctest_in(t, PORT + 0x18, 4), ==, DISK / 512);
        g_assert_cmphex(pctest_in(t, PORT + 0x14, 4), ==, UINT32_MAX);
        pctest_out(t, PORT + 0x14, 2, 2);
        pctest_out(t, PORT + 0x16, 1, 2);
        g_assert_cmphex(pctest_in(t, PORT + 0x14, 4), ==, 0x00010002);
        pctest_out(t, PORT + 0x16, 77, 2);
        g_assert_cmphex(pctest_in(t, PORT + 0x16, 2), ==, 0xffff);
        guest_close(&g);
    }
}

/* Queues are used before DRIVER_OK; a reset with a request under way is done at once (one thread runs all),
 * bits that were not offered are not there, and a new place begins a queue anew. */
static void test_legacy_ways(void)
{
    Guest g;
    guest_open(&g, "config-wce", "on");
    PcTest *t = g.t;
    legacy_start(&g, 0);
    pctest_out(t, PORT + 0x12, 3, 1);
    g_assert_cmpuint(legacy_request(&g, 0, 0, 512, true), ==, 0);
    pctest_out(t, PORT + 4, 1u << 30 | 1 << 9, 4);
    g_assert_cmphex(pctest_in(t, PORT + 4, 4), ==, 1 << 9);
    set_request(&g, 0, 0, 4096, true);
    legacy_offer(&g);
    pctest_out(t, PORT + 0x12, 0, 1);
    g_assert_cmphex(pctest_in(t, PORT + 0x12, 1), ==, 0);
    legacy_start(&g, 0);
    for (unsigned i = 0; i < 1000; i++) {
        loop_turn(t->loop, false);
    }
    g_assert_cmpuint(legacy_used(&g), ==, 0);
    g_assert_cmpuint(legacy_request(&g, 0, 0, 512, true), ==, 0);
    pctest_out(t, PORT + 8, 0, 4);
    g_assert_cmphex(pctest_in(t, PORT + 8, 4), ==, 0);
    pctest_out(t, PORT + 0x10, 0, 2);
    pctest_out(t, PORT + 8, DESC / 4096, 4);
    memset(ram(&g, DESC), 0, 0x3000);
    g.avail = 0;
    g_assert_cmpuint(legacy_request(&g, 0, 0, 512, true), ==, 0);
    /* the state survives */
    GByteArray *a = guest_saved(&g);
    machine_reset(t->m, RESET_COLD);
    g_assert_true(machine_load(t->m, a->data, a->len, &error_abort_slot));
    g_byte_array_unref(a);
    g_assert_cmpuint(legacy_request(&g, 0, 0, 512, true), ==, 0);
    /* a broken ring: the driver, which knows of no such bit, resets it */
    set_request(&g, 0, 0, 512, true);
    set_desc(&g, DESC, 1, DATA, 512, NEXT, 1);
    legacy_offer(&g);
    g_assert_cmphex(pctest_in(t, PORT + 0x12, 1), ==, 7);
    legacy_start(&g, 0);
    g_assert_cmpuint(legacy_request(&g, 0, 0, 512, true), ==, 0);
    /* wrong widths, queues and places that do not exist */
    pctest_out(t, PORT + 8, 1, 2);
    pctest_out(t, PORT + 0xe, 9, 2);
    g_assert_cmpuint(pctest_in(t, PORT + 0xc, 2), ==, 0);
    pctest_out(t, PORT + 8, 1, 4);
    pctest_out(t, PORT + 0x16, 1, 2);
    pctest_out(t, PORT + 0x10, 9, 2);
    pctest_out(t, PORT + 0xe, 1, 2);
    pctest_out(t, PORT + 8, UINT32_MAX, 4);
    pctest_out(t, PORT + 0x10, 1, 2);
    g_assert_cmphex(pctest_in(t, PORT + 0x12, 1), ==, 7);
    legacy_start(&g, 0);
    g_assert_cmpuint(legacy_request(&g, 0, 0, 512, true), ==, 0);
    /* one of today takes over */
    guest_start(&g, VERSION_1);
    g_assert_cmpuint(request(&g, 0, 0, 512, true), ==, 0);
    pctest_out(t, PORT + 8, 9, 4); /* not its interface any more */
    g_assert_cmpuint(request(&g, 0, 0, 512, true), ==, 0);
    guest_close(&g);
}

/* 6.3: an interrupt that the driver does not want comes when it has no more buffers with the device. */
static void test_notify_on_empty(void)
{
    for (unsigned on = 0; on < 2; on++) {
        Guest g;
        guest_open(&g, "config-wce", "on");
        legacy_start(&g, on << 24);
        wr(&g, DESC + 16 * SIZE, 1, 2);
        g_assert_cmpuint(legacy_request(&g, 0, 0, 512, true), ==, 0);
        g_assert_cmphex(pctest_in(g.t, PORT + 0x13, 1), ==, on);
        guest_close(&g);
    }
}

static void test_types(void)
{
    static const struct {
        const char *type, *prop, *val;
        unsigned id, sub, revision;
    } all[] = {
        { "virtio-blk-pci", "disable-legacy", "on", 0x1042, 0x1100, 1 },
        { "virtio-blk-pci-non-transitional", "config-wce", "on", 0x1042, 0x1100, 1 },
        { "virtio-blk-pci-transitional", "config-wce", "on", 0x1001, 2, 0 },
    };
    for (unsigned i = 0; i < G_N_ELEMENTS(all); i++) {
        Guest g;
        guest_open_type(&g, all[i].type, all[i].prop, all[i].val);
        g_assert_cmphex(pctest_config_read(g.t, FN, 2, 2), ==, all[i].id);
        g_assert_cmphex(pctest_config_read(g.t, FN, 0x2e, 2), ==, all[i].sub);
        g_assert_cmphex(pctest_config_read(g.t, FN, 8, 1), ==, all[i].revision);
        guest_start(&g, VERSION_1);
        g_assert_cmpuint(request(&g, 0, 0, 512, true), ==, 0);
        Error *err = NULL;
        if (i) {
            g_assert_false(device_set(g.dev, "disable-legacy", "on", &err));
            error_free(err);
        }
        guest_close(&g);
    }
}

/* Properties that the driver sees, in the configuration (5.2.4) or as features. What is refused:
 * tests/func/devprops.py. */
static void test_properties(void)
{
    static const struct {
        const char *prop, *val;
        unsigned at, n;
        uint64_t want;
    } all[] = {
        { "seg-max-adjust", "on", 12, 4, SIZE - 2 },
        { "logical_block_size", "4K", 20, 4, 4096 },
        { "logical_block_size", "0", 20, 4, 512 },
        { "physical_block_size", "2M", 24, 1, 12 },
        { "min_io_size", "4096", 26, 2, 8 },
        { "opt_io_size", "1M", 28, 4, 2048 },
        { "write-cache", "off", 32, 1, 0 },
        { "max-discard-sectors", "77", 36, 4, 77 },
        { "discard_granularity", "64K", 44, 4, 128 },
        { "discard_granularity", "4294967295", 44, 4, 1 },
        { "max-write-zeroes-sectors", "78", 48, 4, 78 },
    };
    for (unsigned i = 0; i < G_N_ELEMENTS(all); i++) {
        Guest g;
        guest_open(&g, all[i].prop, all[i].val);
        g_assert_cmphex(rd(&g, CONFIG + all[i].at, all[i].n), ==, all[i].want);
        guest_close(&g);
    }
    Guest g;
    guest_open(&g, "class", "0x180");
    g_assert_cmphex(pctest_config_read(g.t, FN, 0x0a, 2), ==, 0x180);
    guest_close(&g);
}

/* "report-discard-granularity=off", geometry, and a queue long enough for "seg-max-adjust=off": on a device
 * of its own. */
static void test_several_properties(void)
{
    Guest g;
    guest_open(&g, "class", "0");
    Machine *m = g.t->m;
    g_autoptr(Json) o = json_parse("{\"driver\": \"null-co\", \"node-name\": \"n\", \"size\": 1048576}", -1,
                                   &error_abort_slot);
    blockdev_add_json(m, o, false, &error_abort_slot);
    device_remove(g.dev);
    g.dev = device_create(m, device_type_find("virtio-blk-pci"), m->peripheral, NULL, g.t->pci->bus,
                          &error_abort_slot, "addr", "4", "drive", "n", "report-discard-granularity", "off",
                          "discard_granularity", "64K", "seg-max-adjust", "off", "cyls", "7", "heads", "6",
                          "secs", "5", "vectors", "0", NULL);
    guest_place(&g);
    g_assert_cmpuint(rd(&g, CONFIG + 12, 4), ==, 126);
    g_assert_cmpuint(rd(&g, CONFIG + 16, 4), ==, 7 | 6 << 16 | 5 << 24);
    g_assert_cmpuint(rd(&g, CONFIG + 44, 4), ==, 1);
    g_assert_cmphex(pctest_config_read(g.t, FN, 0x14, 4), ==, 0); /* no BAR for vectors */
    for (unsigned cap = pctest_config_read(g.t, FN, 0x34, 1); cap;
         cap = pctest_config_read(g.t, FN, cap + 1, 1)) {
        g_assert_cmphex(pctest_config_read(g.t, FN, cap, 1), !=, 0x11);
    }
    guest_close(&g);
}

/* 6.2: a driver that leaves ACCESS_PLATFORM out is not let in. */
static void test_access_platform(void)
{
    const uint64_t bit = UINT64_C(1) << 33;
    Guest g;
    guest_open_type(&g, "virtio-blk-pci-non-transitional", "iommu_platform", "on");
    wr(&g, BAR + 0x14, 3, 1);
    wr(&g, BAR + 8, 1, 4);
    wr(&g, BAR + 12, 1, 4);
    wr(&g, BAR + 0x14, 11, 1);
    g_assert_cmphex(rd(&g, BAR + 0x14, 1), ==, 3);
    wr(&g, BAR + 0x14, 0, 1);
    guest_start(&g, VERSION_1 | bit);
    g_assert_cmpuint(request(&g, 0, 0, 512, true), ==, 0);
    guest_close(&g);
}

/* share-rw: a second device may have the node, too; without it not. */
static void test_share_rw(void)
{
    for (unsigned share = 0; share < 2; share++) {
        Guest g;
        guest_open(&g, "share-rw", share ? "on" : "off");
        Machine *m = g.t->m;
        const char *node = block_name(drive_find(m, "d0")->node);
        Error *err = NULL;
        Device *two = device_create(m, device_type_find("virtio-blk-pci"), m->peripheral, "two",
                                    g.t->pci->bus, &err, "drive", node, "share-rw", "on", NULL);
        g_assert_true(share ? two != NULL : !two && strstr(error_text(err), "write"));
        g_clear_pointer(&err, error_free);
        guest_close(&g);
    }
}

/* 2.6.1: one queue is reset, with a request under way; its buffers are not told of, and it begins anew. */
static void test_queue_reset(void)
{
    Guest g;
    guest_open(&g, "page-per-vq", "on");
    guest_start(&g, VERSION_1);
    wr(&g, BAR + 0x3a, 1, 2); /* not negotiated */
    g_assert_cmpuint(rd(&g, BAR + 0x1c, 2), ==, 1);
    guest_start(&g, VERSION_1 | UINT64_C(1) << 40);
    set_request(&g, 0, 0, 4096, true);
    offer(&g, 0);
    wr(&g, BAR + 0x3a, 1, 2);
    g_assert_cmpuint(rd(&g, BAR + 0x1c, 2), ==, 0);
    g_assert_cmpuint(rd(&g, BAR + 0x3a, 2), ==, 1);
    wr(&g, BAR + 0x1c, 1, 2); /* too early */
    g_assert_cmpuint(rd(&g, BAR + 0x1c, 2), ==, 0);
    for (unsigned i = 0; rd(&g, BAR + 0x3a, 2) && i < 1000000; i++) {
        loop_turn(g.t->loop, false);
    }
    g_assert_cmpuint(rd(&g, BAR + 0x3a, 2), ==, 0);
    g_assert_cmpuint(used(&g), ==, 0);
    g_assert_cmpuint(rd(&g, BAR + 0x18, 2), ==, SIZE);
    g_assert_cmpuint(rd(&g, BAR + 0x20, 4), ==, 0);
    memset(ram(&g, DESC), 0, 0x3000);
    g.avail = 0;
    wr(&g, BAR + 0x20, DESC, 4);
    wr(&g, BAR + 0x28, AVAIL, 4);
    wr(&g, BAR + 0x30, USED, 4);
    wr(&g, BAR + 0x1c, 1, 2);
    g_assert_cmpuint(rd(&g, BAR + 0x1c, 2), ==, 1);
    g_assert_cmpuint(request(&g, 0, 0, 512, true), ==, 0);
    guest_close(&g);
}

/* block_resize: the capacity, its generation and an interrupt; what is new can be used, what is gone not. */
static void test_resize(void)
{
    Guest g;
    Machine *m;
    guest_open(&g, "config-wce", "on");
    m = g.t->m;
    guest_start(&g, VERSION_1);
    unsigned generation = (unsigned)rd(&g, BAR + 0x15, 1);
    g_assert_cmpuint(request(&g, 1, DISK / 512, 512, false), ==, 1);
    rd(&g, ISR, 1);
    g_assert_true(drive_resize(m, "d0", NULL, 2 * DISK, &error_abort_slot));
    g_assert_cmphex(rd(&g, ISR, 1), ==, 2);
    g_assert_cmpuint(rd(&g, CONFIG, 8), ==, 2 * DISK / 512);
    g_assert_cmpuint(rd(&g, BAR + 0x15, 1), !=, generation);
    g_assert_cmpuint(request(&g, 1, 2 * DISK / 512 - 1, 512, false), ==, 0);
    rd(&g, ISR, 1);
    g_assert_true(drive_resize(m, "d0", NULL, 2 * DISK, &error_abort_slot)); /* nothing to tell */
    g_assert_cmphex(rd(&g, ISR, 1), ==, 0);
    g_assert_true(drive_resize(m, NULL, block_name(drive_find(m, "d0")->node), DISK / 2, &error_abort_slot));
    g_assert_cmphex(rd(&g, ISR, 1), ==, 2);
    g_assert_cmpuint(rd(&g, CONFIG, 8), ==, DISK / 2 / 512);
    g_assert_cmpuint(request(&g, 0, DISK / 2 / 512, 512, true), ==, 1);
    static const struct {
        const char *device, *node, *text;
        int64_t size;
    } wrong[] = {
        { "d0", NULL, "is negative", -1 },
        { "d9", NULL, "no drive or device 'd9'", 0 },
        { NULL, "n9", "no block node 'n9'", 0 },
        { "d0", "n9", "exclude each other", 0 },
        { NULL, NULL, "is missing", 0 },
    };
    for (unsigned i = 0; i < G_N_ELEMENTS(wrong); i++) {
        Error *err = NULL;
        g_assert_false(drive_resize(m, wrong[i].device, wrong[i].node, wrong[i].size, &err));
        g_assert_nonnull(strstr(error_text(err), wrong[i].text));
        error_free(err);
    }
    guest_close(&g);
}

/* 4.1.4.9: the same registers through configuration space. */
static void test_window(void)
{
    Guest g;
    guest_open(&g, "config-wce", "on");
    unsigned cap = pctest_config_read(g.t, FN, 0x34, 1);
    while (cap &&
           (pctest_config_read(g.t, FN, cap, 1) != 9 || pctest_config_read(g.t, FN, cap + 3, 1) != 5)) {
        cap = pctest_config_read(g.t, FN, cap + 1, 1);
    }
    g_assert_cmpuint(cap, !=, 0);
    pctest_config_write(g.t, FN, cap + 4, 4, 1);
    pctest_config_write(g.t, FN, cap + 12, 1, 4);
    pctest_config_write(g.t, FN, cap + 8, 0x14, 4);
    pctest_config_write(g.t, FN, cap + 16, 3, 1);
    g_assert_cmphex(rd(&g, BAR + 0x14, 1), ==, 3);
    g_assert_cmphex(pctest_config_read(g.t, FN, cap + 16, 1), ==, 3);
    guest_close(&g);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    role_become_main();
    drive_register();
    g_test_add_func("/virtio/transfer", test_transfer);
    g_test_add_func("/virtio/many", test_many);
    g_test_add_func("/virtio/reset-in-flight", test_reset_in_flight);
    g_test_add_func("/virtio/machine-reset-in-flight", test_machine_reset_in_flight);
    g_test_add_func("/virtio/bus-reset-in-flight", test_bus_reset_in_flight);
    g_test_add_func("/virtio/errors", test_errors);
    g_test_add_func("/virtio/held-saved", test_held_saved);
    g_test_add_func("/virtio/hostile", test_hostile);
    g_test_add_func("/virtio/random", test_random);
    g_test_add_func("/virtio/window", test_window);
    g_test_add_func("/virtio/legacy", test_legacy);
    g_test_add_func("/virtio/legacy-ways", test_legacy_ways);
    g_test_add_func("/virtio/notify-on-empty", test_notify_on_empty);
    g_test_add_func("/virtio/types", test_types);
    g_test_add_func("/virtio/properties", test_properties);
    g_test_add_func("/virtio/several-properties", test_several_properties);
    g_test_add_func("/virtio/access-platform", test_access_platform);
    g_test_add_func("/virtio/share-rw", test_share_rw);
    g_test_add_func("/virtio/queue-reset", test_queue_reset);
    g_test_add_func("/virtio/resize", test_resize);
    return g_test_run();
}
