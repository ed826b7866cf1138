/* SPDX-License-Identifier: MIT
 * tests/device/test-virtio-packed.c - hw/virtio/packed.c and what queue.c and virtio-blk.c have for it: a
 * driver in the test uses a disk through packed rings, and breaks their rules. RHEA_RINGS=N: random rings.
 * Threads: main.
 */
#include "tests/device/virtguest.h"
#include "rhea/backends/drive.h"

#include <glib/gstdio.h>
#include <signal.h>
#include <stdlib.h>

enum {
    RING = 0x1000, /* in memory */
    DRIVER = 0x2000,
    DEVICE = 0x3000,
    HEADER = 0x4000,
    STATUS = 0x4800,
    DATA = 0x10000,
    SIZE = 16,
};
enum { NEXT = 1, WRITE = 2, INDIRECT = 4, AVAIL = 1 << 7, USED = 1 << 15 };
static void guest_open(Guest *g)
{
    guest_open_with(g, "virtio-blk-pci", "packed", "on", "werror", "stop");
}

static void guest_reset(Guest *g)
{
    wr(g, BAR + 0x14, 0, 1);
    for (unsigned i = 0; rd(g, BAR + 0x14, 1) && i < 1000000; i++) {
        loop_turn(g->t->loop, false);
    }
    g_assert_cmphex(rd(g, BAR + 0x14, 1), ==, 0);
}

static void packed_start(Guest *g, uint64_t features, unsigned size)
{
    guest_reset(g);
    wr(g, BAR + 0x14, 3, 1);
    for (unsigned i = 0; i < 2; i++) {
        wr(g, BAR + 8, i, 4);
        wr(g, BAR + 12, (features | VERSION_1 | PACKED) >> (32 * i), 4);
    }
    wr(g, BAR + 0x14, 11, 1);
    g_assert_cmphex(rd(g, BAR + 0x14, 1), ==, 11);
    memset(ram(g, RING), 0, 0x4000);
    g->size = size;
    g->next = g->used = 0;
    g->wrap = g->used_wrap = true;
    wr(g, BAR + 0x16, 0, 2);
    wr(g, BAR + 0x18, size, 2);
    g_assert_cmpuint(rd(g, BAR + 0x18, 2), ==, size);
    wr(g, BAR + 0x20, RING, 4);
    wr(g, BAR + 0x28, DRIVER, 4);
    wr(g, BAR + 0x30, DEVICE, 4);
    wr(g, BAR + 0x1c, 1, 2);
    g_assert_cmpuint(rd(g, BAR + 0x1c, 2), ==, 1);
    wr(g, BAR + 0x14, 15, 1);
}

/* ---- the driver's side ---- */

typedef struct Part {
    uint64_t addr;
    uint32_t len;
    unsigned flags;
} Part;

static void set_desc(Guest *g, hwaddr at, Part p, unsigned id, unsigned flags)
{
    wr(g, at, p.addr, 8);
    wr(g, at + 8, p.len, 4);
    wr(g, at + 12, id, 2);
    wr(g, at + 14, p.flags | flags, 2);
}

/* The chain's first flags are written last. */
static void add(Guest *g, unsigned id, const Part *p, unsigned n)
{
    hwaddr first = RING + 16 * g->next;
    unsigned first_flags = 0;
    for (unsigned i = 0; i < n; i++) {
        unsigned flags = (g->wrap ? AVAIL : USED) | (i + 1 < n ? NEXT : 0);
        set_desc(g, RING + 16 * g->next, p[i], id, i ? flags : 0);
        first_flags = i ? first_flags : flags | p[i].flags;
        if (++g->next == g->size) {
            g->next = 0;
            g->wrap = !g->wrap;
        }
        if (i == 0) { /* as it was: not available */
            wr(g, first + 14, first_flags & AVAIL ? USED : AVAIL, 2);
        }
    }
    wr(g, first + 14, first_flags, 2);
}

static void kick(Guest *g)
{
    wr(g, NOTIFY, 0, 2);
}

static bool is_used(Guest *g)
{
    unsigned flags = (unsigned)rd(g, RING + 16 * g->used + 14, 2);
    return !(flags & AVAIL) == !g->used_wrap && !(flags & USED) == !g->used_wrap;
}

/* Waits for the next used buffer, which has n descriptors; returns its id. */
static unsigned take(Guest *g, unsigned n, uint32_t *len)
{
    gint64 end = g_get_monotonic_time() + 20 * G_USEC_PER_SEC;
    while (!is_used(g) && g_get_monotonic_time() < end) {
        loop_turn(g->t->loop, false);
    }
    g_assert_true(is_used(g));
    hwaddr at = RING + 16 * g->used;
    if (len) {
        *len = (uint32_t)rd(g, at + 8, 4);
    }
    g->used += n;
    if (g->used >= g->size) {
        g->used -= g->size;
        g->used_wrap = !g->used_wrap;
    }
    return (unsigned)rd(g, at + 12, 2);
}

/* Request number k, with a header, a piece of data and a status of its own; returns its descriptors. */
static unsigned put_request(Guest *g, unsigned k, uint32_t type, uint64_t sector, uint32_t len, bool indirect)
{
    hwaddr header = HEADER + 16 * k, table = TABLE + 64 * k;
    wr(g, header, type, 4);
    wr(g, header + 8, sector, 8);
    wr(g, STATUS + k, 0xee, 1);
    Part p[3] = {
        { header, 16, 0 }, { DATA + 4096 * k, len, type == 0 ? WRITE : 0 }, { STATUS + k, 1, WRITE }
    };
    if (!indirect) {
        add(g, 100 + k, p, 3);
        return 3;
    }
    for (unsigned i = 0; i < 3; i++) {
        set_desc(g, table + 16 * i, p[i], 0, 0);
    }
    add(g, 100 + k, &(Part){ table, 48, INDIRECT }, 1);
    return 1;
}

static unsigned request(Guest *g, uint32_t type, uint64_t sector, uint32_t len, bool indirect)
{
    uint32_t written;
    unsigned n = put_request(g, 0, type, sector, len, indirect);
    kick(g);
    g_assert_cmpuint(take(g, n, &written), ==, 100);
    g_assert_cmpuint(written, ==, type == 0 ? len + 1 : 1);
    return (unsigned)rd(g, STATUS, 1);
}

/* ---- tests ---- */

static void test_transfer(void)
{
    static const unsigned sizes[] = { 16, 11, 3 };
    Guest g;
    guest_open(&g);
    wr(&g, BAR + 8, 1, 4);
    g_assert_cmphex(rd(&g, BAR + 4, 4) & 4, ==, 4);
    for (unsigned s = 0; s < G_N_ELEMENTS(sizes); s++) {
        packed_start(&g, INDIRECT_DESC, sizes[s]);
        for (unsigned i = 0; i < 50; i++) {
            memset(ram(&g, DATA), (int)(i + s + 1), 4096);
            g_assert_cmpuint(request(&g, 1, i * 8, 4096, i % 3 == 1), ==, 0);
            g_assert_cmphex(rd(&g, ISR, 1), ==, 1);
            memset(ram(&g, DATA), 0, 4096);
            g_assert_cmpuint(request(&g, 0, i * 8, 4096, i % 5 == 1), ==, 0);
            g_assert_cmphex(*ram(&g, DATA + 4095), ==, i + s + 1);
        }
        rd(&g, ISR, 1);
        wr(&g, DRIVER + 2, 1, 2); /* no interrupts */
        g_assert_cmpuint(request(&g, 0, DISK / 512, 512, false), ==, 1);
        g_assert_cmphex(rd(&g, ISR, 1), ==, 0);
    }
    guest_close(&g);
}

/* Many at a time: one interrupt where one was asked for, and the device asks for the next notification. */
static void test_many(void)
{
    Guest g;
    guest_open(&g);
    packed_start(&g, INDIRECT_DESC | EVENT_IDX, 13);
    for (unsigned round = 0; round < 500; round++) {
        bool seen[13] = { false };
        for (unsigned k = 0; k < 13; k++) {
            put_request(&g, k, 0, k, 512, true);
        }
        /* behind the last of them: g.next is where the next round begins, so the entry before it */
        unsigned last = g.next ? g.next - 1 : 12;
        bool last_wrap = g.next ? g.wrap : !g.wrap;
        wr(&g, DRIVER, last | (last_wrap ? 0x8000 : 0), 2);
        wr(&g, DRIVER + 2, 2, 2);
        rd(&g, ISR, 1);
        kick(&g);
        g_assert_cmphex(rd(&g, DEVICE, 4), ==, 0x20000u | g.next | (g.wrap ? 0x8000u : 0));
        g_assert_cmphex(rd(&g, ISR, 1), ==, 0);
        for (unsigned k = 0; k < 13; k++) {
            unsigned id = take(&g, 1, NULL) - 100;
            g_assert_true(id < 13 && !seen[id]);
            seen[id] = true;
            g_assert_cmphex(rd(&g, STATUS + id, 1), ==, 0);
        }
        g_assert_cmphex(rd(&g, ISR, 1), ==, 1);
    }
    guest_close(&g);
}

/* A reset waits for what is under way, and the ring begins anew. */
static void test_reset(void)
{
    Guest g;
    guest_open(&g);
    packed_start(&g, 0, SIZE);
    g_assert_cmpuint(request(&g, 0, 0, 512, false), ==, 0);
    put_request(&g, 0, 0, 0, 4096, false);
    kick(&g);
    wr(&g, BAR + 0x14, 0, 1);
    g_assert_cmphex(rd(&g, BAR + 0x14, 1), ==, 15);
    guest_reset(&g);
    g_assert_false(is_used(&g));
    packed_start(&g, 0, SIZE);
    g_assert_cmpuint(request(&g, 0, 0, 512, false), ==, 0);
    guest_close(&g);
}

static void test_saved(void)
{
    Guest g;
    guest_open(&g);
    packed_start(&g, 0, 7);
    for (unsigned i = 0; i < 20; i++) {
        g_assert_cmpuint(request(&g, 0, 0, 512, false), ==, 0);
        g_autoptr(GByteArray) a = guest_saved(&g);
        machine_reset(g.t->m, RESET_COLD);
        g_assert_true(machine_load(g.t->m, a->data, a->len, &error_abort_slot));
        g_autoptr(GByteArray) b = guest_saved(&g);
        g_assert_cmpmem(b->data, b->len, a->data, a->len);
    }
    guest_close(&g);
}

/* A write is held back; a request behind it is used, in the place of the write's descriptors. After save and
 * load the write is there all the same. */
static void test_held(void)
{
    for (unsigned indirect = 0; indirect < 2; indirect++) {
        Guest g;
        signal(SIGXFSZ, SIG_IGN);
        guest_open(&g);
        packed_start(&g, INDIRECT_DESC, 8);
        machine_start(g.t->m);
        limit_files(DISK / 2);
        memset(ram(&g, DATA), 0x77, 4096);
        unsigned n = put_request(&g, 0, 1, DISK / 512 - 8, 4096, indirect);
        kick(&g);
        for (unsigned i = 0; machine_running(g.t->m) && i < 100000; i++) {
            loop_turn(g.t->loop, false);
            g_usleep(10);
        }
        g_assert_cmpstr(run_state_name(g.t->m->state), ==, "io-error");
        limit_files(RLIM_INFINITY);
        put_request(&g, 1, 8, 0, 20, false); /* the id needs no disk: it does not wait */
        wr(&g, HEADER + 16, 8, 4);
        wr(&g, RING + 16 * (n + 1) + 14, AVAIL | NEXT | WRITE, 2);
        kick(&g);
        g_assert_cmpuint(take(&g, 3, NULL), ==, 101);
        g_autoptr(GByteArray) a = guest_saved(&g);
        machine_reset(g.t->m, RESET_COLD);
        guest_turns(&g, 1000);
        g_assert_true(machine_load(g.t->m, a->data, a->len, &error_abort_slot));
        g_autoptr(GByteArray) b = guest_saved(&g);
        g_assert_cmpmem(b->data, b->len, a->data, a->len);
        guest_turns(&g, 1000);
        g_autoptr(GByteArray) c = guest_saved(&g);
        g_assert_cmpmem(c->data, c->len, a->data, a->len);
        g_assert_false(is_used(&g));
        machine_start(g.t->m);
        g_assert_cmpuint(take(&g, n, NULL), ==, 100);
        g_assert_cmphex(rd(&g, STATUS, 1), ==, 0);
        g_autofree char *file = NULL;
        g_file_get_contents(g.path, &file, NULL, NULL);
        g_assert_cmphex(file[DISK - 4096], ==, 0x77);
        guest_close(&g);
    }
}

static void test_hostile(void)
{
    static const struct {
        const char *what;
        Part p[4];
        unsigned n;
    } ways[] = {
        { "short header", { { HEADER, 15, 0 }, { STATUS, 1, WRITE } }, 2 },
        { "no status", { { HEADER, 16, 0 }, { DATA, 512, 0 } }, 2 },
        { "empty part", { { HEADER, 16, 0 }, { DATA, 0, 0 }, { STATUS, 1, WRITE } }, 3 },
        { "outside RAM", { { HEADER, 16, 0 }, { 0x80000000, 512, 0 }, { STATUS, 1, WRITE } }, 3 },
        { "at the edge", { { HEADER, 16, 0 }, { 16 * MIB - 256, 512, 0 }, { STATUS, 1, WRITE } }, 3 },
        { "wrapped", { { HEADER, 16, 0 }, { UINT64_MAX - 255, 512, 0 }, { STATUS, 1, WRITE } }, 3 },
        { "long", { { HEADER, 16, 0 }, { DATA, UINT32_MAX, 0 }, { STATUS, 1, WRITE } }, 3 },
        { "order", { { HEADER, 16, 0 }, { STATUS, 1, WRITE }, { DATA, 512, 0 } }, 3 },
        { "table odd", { { TABLE, 47, INDIRECT } }, 1 },
        { "table empty", { { TABLE, 0, INDIRECT } }, 1 },
        { "table too big", { { TABLE, 16 * (SIZE + 1), INDIRECT } }, 1 },
        { "table outside RAM", { { 0x90000000, 48, INDIRECT } }, 1 },
        { "table with a next", { { TABLE, 48, INDIRECT }, { STATUS, 1, WRITE } }, 2 },
        { "table second", { { HEADER, 16, 0 }, { TABLE, 48, INDIRECT } }, 2 },
        { "table nested", { { TABLE + 0x100, 48, INDIRECT } }, 1 },
        { "no end", { { HEADER, 16, NEXT } }, 1 },
    };
    Guest g;
    guest_open(&g);
    for (unsigned i = 0; i < G_N_ELEMENTS(ways); i++) {
        packed_start(&g, INDIRECT_DESC, SIZE);
        g_test_message("%s", ways[i].what);
        put_request(&g, 1, 1, 0, 512, true); /* a good table at TABLE + 64 */
        g.next = 0;
        for (unsigned k = 0; k < 16; k++) {
            set_desc(&g, TABLE + 0x100 + 16 * k, (Part){ TABLE, 48, INDIRECT }, 0, 0);
            set_desc(&g, RING + 16 * k, (Part){ HEADER, 16, NEXT }, 0, 0); /* chains without end go round */
        }
        add(&g, 5, ways[i].p, ways[i].n);
        kick(&g);
        g_assert_cmphex(rd(&g, BAR + 0x14, 1), ==, 15 | 64);
        g_assert_cmphex(rd(&g, ISR, 1) & 2, ==, 2);
        g_assert_false(is_used(&g));
        packed_start(&g, INDIRECT_DESC, SIZE);
        g_assert_cmpuint(request(&g, 1, 0, 512, true), ==, 0);
    }
    packed_start(&g, 0, SIZE); /* indirect was not negotiated */
    put_request(&g, 0, 1, 0, 512, true);
    kick(&g);
    g_assert_cmphex(rd(&g, BAR + 0x14, 1), ==, 15 | 64);
    /* sizes and places */
    packed_start(&g, 0, SIZE);
    wr(&g, BAR + 0x16, 1, 2);
    wr(&g, BAR + 0x18, SIZE + 1, 2);
    wr(&g, BAR + 0x18, 0, 2);
    g_assert_cmpuint(rd(&g, BAR + 0x18, 2), ==, SIZE);
    wr(&g, BAR + 0x28, DRIVER + 2, 4);
    wr(&g, BAR + 0x1c, 1, 2);
    g_assert_cmpuint(rd(&g, BAR + 0x1c, 2), ==, 0);
    guest_close(&g);
}

/* Random rings, resets, saves and loads: whatever happens, a reset brings the device back. */
static void test_random(void)
{
    static const uint32_t lens[] = { 1, 16, 32, 48, 512, 4096, 0x100000, UINT32_MAX };
    static const uint64_t places[] = { HEADER, STATUS, TABLE, DATA, RING, DRIVER, DEVICE, 0xfee00000 };
    const char *rounds = g_getenv("RHEA_RINGS");
    Guest g;
    guest_open(&g);
    g_autoptr(GRand) r = g_rand_new_with_seed((guint32)g_test_rand_int());
    for (int round = rounds ? atoi(rounds) : 300; round > 0; round--) {
        unsigned size = (unsigned)g_rand_int_range(r, 1, SIZE + 1);
        uint64_t may = (g_rand_boolean(r) ? INDIRECT_DESC : 0) | (g_rand_boolean(r) ? EVENT_IDX : 0);
        packed_start(&g, may, size);
        for (unsigned i = 0; i < 2 * SIZE; i++) {
            hwaddr at = i < SIZE ? RING + 16 * i : TABLE + 16 * (i - SIZE);
            Part p = { places[g_rand_int_range(r, 0, 8)], lens[g_rand_int_range(r, 0, 8)],
                       (unsigned)g_rand_int_range(r, 0, 8) };
            set_desc(&g, at, p, (unsigned)g_rand_int_range(r, 0, 65536),
                     (g_rand_boolean(r) ? AVAIL : 0) | (g_rand_int_range(r, 0, 4) ? 0 : USED));
        }
        wr(&g, HEADER, (uint64_t)g_rand_int_range(r, 0, 15), 4);
        for (unsigned i = 0; i < 8; i++) {
            unsigned at = (unsigned)g_rand_int_range(r, 0, SIZE);
            wr(&g, RING + 16 * at + 14, (uint64_t)g_rand_int_range(r, 0, 65536), 2);
            wr(&g, DRIVER, g_rand_int(r), 4);
            kick(&g);
            loop_turn(g.t->loop, false);
        }
        if (g_rand_int_range(r, 0, 16) == 0) {
            GByteArray *a = guest_saved(&g);
            machine_reset(g.t->m, RESET_COLD);
            g_assert_true(machine_load(g.t->m, a->data, a->len, &error_abort_slot));
            g_byte_array_unref(a);
            kick(&g);
        }
        guest_reset(&g);
    }
    packed_start(&g, INDIRECT_DESC, SIZE);
    g_assert_cmpuint(request(&g, 1, 0, 512, true), ==, 0);
    guest_close(&g);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    role_become_main();
    drive_register();
    g_test_add_func("/virtio-packed/transfer", test_transfer);
    g_test_add_func("/virtio-packed/many", test_many);
    g_test_add_func("/virtio-packed/reset", test_reset);
    g_test_add_func("/virtio-packed/saved", test_saved);
    g_test_add_func("/virtio-packed/held", test_held);
    g_test_add_func("/virtio-packed/hostile", test_hostile);
    g_test_add_func("/virtio-packed/random", test_random);
    return g_test_run();
}
