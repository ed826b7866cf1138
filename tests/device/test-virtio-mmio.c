/* SPDX-License-Identifier: MIT
 * tests/device/test-virtio-mmio.c - hw/virtio/virtio-mmio.c and the part of virtio.c and virtio-blk.c
 * behind it: a driver in the test, of virtio 1.0 and of the time before. Threads: main.
 */
#include "tests/device/virtring.h"
#include "tests/lib/testmachine.h"

#include "rhea/backends/drive.h"
#include "rhea/hw/virtio-mmio.h"
#include <string.h>

enum { BASE = 0xfeb00000, DISK = 1 << 20 };

typedef struct Guest {
    TestMachine *tm;
    Device *transport, *dev;
    uint16_t avail;
} Guest;

static uint32_t rd(Guest *g, unsigned off)
{
    return (uint32_t)tm_read(g->tm, BASE + off, 4);
}

static void wr(Guest *g, unsigned off, uint32_t v)
{
    tm_write(g->tm, BASE + off, 4, v);
}

static void guest_open_as(Guest *g, const char *legacy)
{
    memset(g, 0, sizeof(*g));
    g->tm = tm_new(16 << 20);
    Machine *m = g->tm->m;
    g_autoptr(Json) j = json_parse("{\"driver\": \"null-co\", \"node-name\": \"d0\", \"size\": 1048576, "
                                   "\"read-zeroes\": true}",
                                   -1, &error_abort_slot);
    blockdev_add_json(m, j, false, &error_abort_slot);
    g->transport = device_create(m, &virtio_mmio_type, m->unattached, NULL, NULL, &error_abort_slot, "index",
                                 "3", "address", "0xfeb00000", "force-legacy", legacy, NULL);
    device_map_mem(g->transport, device_region(g->transport, 0), BASE, 1);
    tm_connect(g->tm, g->transport, 0, 7);
}

static void guest_open(Guest *g)
{
    guest_open_as(g, "off");
}

static void guest_plug(Guest *g)
{
    g->dev = device_create(g->tm->m, device_type_find("virtio-blk-device"), g->tm->m->peripheral, "disk",
                           virtio_mmio_bus(g->transport), &error_abort_slot, "drive", "d0", "serial",
                           "disk-1", "num-queues", "2", "queue-size", "16", NULL);
}

static void guest_close(Guest *g)
{
    machine_stop(g->tm->m, RUN_PAUSED);
    drive_remove_all(g->tm->m);
    tm_free(g->tm);
}

/* high: features from bit 32 on. */
static void guest_start_with(Guest *g, uint32_t high)
{
    wr(g, 0x70, 0);
    g_assert_cmphex(rd(g, 0x70), ==, 0);
    g->avail = 0;
    for (unsigned i = 0; i < 0x100; i += 4) {
        tm_write(g->tm, AVAIL + i, 4, 0);
        tm_write(g->tm, USED + i, 4, 0);
    }
    wr(g, 0x70, 3);
    wr(g, 0x14, 1);
    g_assert_cmphex(rd(g, 0x10) & 1, ==, 1); /* VERSION_1 is offered */
    wr(g, 0x24, 1);
    wr(g, 0x20, high);
    wr(g, 0x24, 0);
    wr(g, 0x20, 0);
    wr(g, 0x70, 11);
    g_assert_cmphex(rd(g, 0x70), ==, 11);
    wr(g, 0x30, 0);
    g_assert_cmpuint(rd(g, 0x34), ==, SIZE);
    wr(g, 0x38, SIZE);
    wr(g, 0x80, DESC);
    wr(g, 0x84, 0);
    wr(g, 0x90, AVAIL);
    wr(g, 0xa0, USED);
    g_assert_cmpuint(rd(g, 0x44), ==, 0);
    wr(g, 0x44, 1);
    g_assert_cmpuint(rd(g, 0x44), ==, 1);
    wr(g, 0x70, 15);
}

static void guest_start(Guest *g)
{
    guest_start_with(g, 1);
}

static unsigned request(Guest *g, uint32_t type, uint64_t sector, uint32_t len, bool in)
{
    ring_set_request(g->tm->m, type, sector, len, in);
    ring_offer(g->tm->m, &g->avail, 0);
    wr(g, 0x50, 0);
    ring_wait_used(g->tm->m, g->avail);
    return (unsigned)tm_read(g->tm, STATUS, 1);
}

/* A place without a device: magic, version, vendor; id 0, and nothing else answers. */
static void test_empty(void)
{
    Guest g;
    guest_open(&g);
    g_assert_cmpstr(virtio_mmio_bus(g.transport)->name, ==, "virtio-mmio-bus.3");
    g_assert_false(virtio_mmio_used(g.transport));
    g_assert_cmphex(rd(&g, 0), ==, 0x74726976);
    g_assert_cmpuint(rd(&g, 4), ==, 2);
    g_assert_cmpuint(rd(&g, 8), ==, 0);
    wr(&g, 0x70, 3);
    g_assert_cmpuint(rd(&g, 0x70), ==, 0);
    g_assert_cmpuint(rd(&g, 0x100), ==, 0);
    guest_plug(&g);
    g_assert_true(virtio_mmio_used(g.transport));
    g_assert_cmpuint(rd(&g, 8), ==, 2);
    Error *err = NULL;
    g_assert_null(device_create(g.tm->m, device_type_find("virtio-blk-device"), g.tm->m->peripheral, "two",
                                virtio_mmio_bus(g.transport), &err, "drive", "d0", NULL));
    g_assert_nonnull(
        strstr(error_text(err), "bus 'virtio-mmio-bus.3' has one place, and device 'disk' is there"));
    error_free(err);
    guest_close(&g);
}

static void test_transfer(void)
{
    Guest g;
    guest_open(&g);
    guest_plug(&g);
    g_assert_cmpuint(rd(&g, 0x100), ==, DISK / 512);
    g_assert_cmpuint(tm_read(g.tm, BASE + 0x100 + 34, 2), ==, 2);
    g_assert_cmphex(rd(&g, 0xb0), ==, UINT32_MAX); /* no shared memory */
    guest_start(&g);
    g_assert_false(g.tm->level[7]);
    g_assert_cmpuint(request(&g, 8, 0, 20, true), ==, 0);
    char id[21] = "";
    tm_copy_out(g.tm, DATA, id, 20);
    g_assert_cmpstr(id, ==, "disk-1");
    /* the line is up until what it told of is acknowledged */
    g_assert_true(g.tm->level[7]);
    g_assert_cmpuint(rd(&g, 0x60), ==, 1);
    wr(&g, 0x64, 2);
    g_assert_true(g.tm->level[7]);
    wr(&g, 0x64, 1);
    g_assert_cmpuint(rd(&g, 0x60), ==, 0);
    g_assert_false(g.tm->level[7]);
    tm_write(g.tm, DATA, 8, UINT64_MAX);
    g_assert_cmpuint(request(&g, 0, 5, 512, true), ==, 0);
    g_assert_cmpuint(tm_read(g.tm, DATA, 8), ==, 0);
    g_assert_cmpuint(request(&g, 0, DISK / 512, 512, true), ==, 1);
    /* the state survives: a save, a reset, a load */
    GByteArray *state = tm_save(g.tm);
    tm_reset(g.tm);
    g_assert_cmpuint(rd(&g, 0x70), ==, 0);
    g_assert_false(g.tm->level[7]);
    tm_load(g.tm, state, &error_abort_slot);
    g_byte_array_unref(state);
    g_assert_cmpuint(rd(&g, 0x70), ==, 15);
    g_assert_true(g.tm->level[7]);
    g_assert_cmpuint(request(&g, 0, 5, 512, true), ==, 0);
    guest_close(&g);
}

/* What the rules forbid changes nothing. */
static void test_rules(void)
{
    Guest g;
    guest_open(&g);
    guest_plug(&g);
    guest_start(&g);
    wr(&g, 0x38, 8); /* registers of a ready queue */
    wr(&g, 0x80, DESC + 0x800);
    g_assert_cmpuint(request(&g, 8, 0, 20, true), ==, 0);
    tm_write(g.tm, BASE + 0x70, 1, 0); /* not 32 bits wide */
    g_assert_cmpuint(rd(&g, 0x70), ==, 15);
    g_assert_cmpuint(tm_read(g.tm, BASE + 0x70, 1), ==, 0);
    wr(&g, 0x50, 7); /* no such queue */
    wr(&g, 0x30, 2);
    g_assert_cmpuint(rd(&g, 0x34), ==, 0);
    wr(&g, 0x44, 1);
    g_assert_cmpuint(rd(&g, 0x44), ==, 0);
    wr(&g, 0x30, 1);
    wr(&g, 0x38, 5); /* no power of two */
    wr(&g, 0x80, 8); /* not aligned */
    wr(&g, 0x44, 1);
    g_assert_cmpuint(rd(&g, 0x44), ==, 0);
    /* a queue may stop, and begins anew */
    wr(&g, 0x30, 0);
    wr(&g, 0x44, 0);
    g_assert_cmpuint(rd(&g, 0x44), ==, 0);
    unsigned used = (unsigned)tm_read(g.tm, USED + 2, 2);
    tm_write(g.tm, AVAIL + 2, 2, ++g.avail);
    wr(&g, 0x50, 0);
    loop_turn(g.tm->loop, false);
    g_assert_cmpuint(tm_read(g.tm, USED + 2, 2), ==, used);
    guest_start(&g);
    g_assert_cmpuint(request(&g, 8, 0, 20, true), ==, 0);
    guest_close(&g);
}

/* 2.6.1, 4.2.2: one queue is reset with a request under way, which is not told of, and begins anew. */
static void test_queue_reset(void)
{
    Guest g;
    guest_open(&g);
    guest_plug(&g);
    guest_start(&g);
    wr(&g, 0xc0, 1); /* not negotiated */
    g_assert_cmpuint(rd(&g, 0x44), ==, 1);
    guest_start_with(&g, 1 | 1 << 8);
    ring_set_request(g.tm->m, 0, 0, 512, true);
    ring_offer(g.tm->m, &g.avail, 0);
    wr(&g, 0x50, 0);
    wr(&g, 0xc0, 1);
    g_assert_cmpuint(rd(&g, 0x44), ==, 0);
    g_assert_cmpuint(rd(&g, 0xc0), ==, 1);
    while (rd(&g, 0xc0)) {
        loop_turn(g.tm->loop, true);
    }
    g_assert_cmpuint(tm_read(g.tm, USED + 2, 2), ==, 0);
    guest_start(&g);
    g_assert_cmpuint(request(&g, 8, 0, 20, true), ==, 0);
    guest_close(&g);
}

/* ---- 4.2.4: the legacy interface ---- */

enum {
    L_QUEUE = 0x20000,
    L_PAGE = 4096,
    L_USED = L_QUEUE + 4096
}; /* its avail ring: behind 16 descriptors */

static void legacy_start(Guest *g, uint32_t features)
{
    for (unsigned i = 0; i < 0x2000; i += 4) {
        tm_write(g->tm, L_QUEUE + i, 4, 0);
    }
    g->avail = 0;
    wr(g, 0x28, L_PAGE);
    wr(g, 0x70, 0); /* forgets all but the page */
    wr(g, 0x70, 3);
    wr(g, 0x14, 1);
    g_assert_cmphex(rd(g, 0x10), ==, 0);
    wr(g, 0x14, 0);
    g_assert_cmphex(rd(g, 0x10) & (1 << 28 | 1 << 24), ==, 1 << 28 | 1 << 24);
    wr(g, 0x24, 1);
    wr(g, 0x20, 1); /* no such half */
    wr(g, 0x24, 0);
    wr(g, 0x20, features);
    wr(g, 0x30, 0);
    g_assert_cmpuint(rd(g, 0x34), ==, SIZE);
    wr(g, 0x38, SIZE);
    wr(g, 0x3c, L_PAGE);
    wr(g, 0x40, L_QUEUE / L_PAGE);
    g_assert_cmpuint(rd(g, 0x40), ==, L_QUEUE / L_PAGE);
    g_assert_cmpuint(rd(g, 0x34), ==, 0); /* in use */
    wr(g, 0x70, 7);
    g_assert_cmphex(rd(g, 0x70), ==, 7);
}

static void legacy_desc(Guest *g, unsigned i, uint64_t addr, uint32_t len, unsigned flags)
{
    ring_set_desc(g->tm->m, L_QUEUE, i, addr, len, flags, i + 1);
}

static unsigned legacy_request(Guest *g, uint32_t type, uint64_t sector, uint32_t len)
{
    tm_write(g->tm, HEADER, 8, type);
    tm_write(g->tm, HEADER + 8, 8, sector);
    tm_write(g->tm, STATUS, 1, 0xff);
    legacy_desc(g, 0, HEADER, 16, NEXT);
    legacy_desc(g, 1, DATA, len, NEXT | WRITE);
    legacy_desc(g, 2, STATUS, 1, WRITE);
    hwaddr avail = L_QUEUE + 16 * SIZE;
    tm_write(g->tm, avail + 4 + 2 * (g->avail % SIZE), 2, 0);
    tm_write(g->tm, avail + 2, 2, ++g->avail);
    wr(g, 0x50, 0);
    for (unsigned i = 0; tm_read(g->tm, L_USED + 2, 2) != g->avail && i < 1000000; i++) {
        loop_turn(g->tm->loop, false);
    }
    g_assert_cmpuint(tm_read(g->tm, L_USED + 2, 2), ==, g->avail);
    return (unsigned)tm_read(g->tm, STATUS, 1);
}

static void test_legacy(void)
{
    Guest g;
    guest_open_as(&g, "on");
    g_assert_cmpuint(rd(&g, 4), ==, 1);
    guest_plug(&g);
    g_assert_cmpuint(rd(&g, 8), ==, 2);
    g_assert_cmpuint(rd(&g, 0x100), ==, DISK / 512);
    legacy_start(&g, 0);
    g_assert_cmpuint(legacy_request(&g, 8, 0, 20), ==, 0);
    char id[21] = "";
    tm_copy_out(g.tm, DATA, id, 20);
    g_assert_cmpstr(id, ==, "disk-1");
    g_assert_true(g.tm->level[7]);
    wr(&g, 0x64, 1);
    g_assert_false(g.tm->level[7]);
    /* the state survives */
    GByteArray *state = tm_save(g.tm);
    tm_reset(g.tm);
    g_assert_cmpuint(rd(&g, 0x40), ==, 0);
    tm_load(g.tm, state, &error_abort_slot);
    g_byte_array_unref(state);
    g_assert_cmpuint(rd(&g, 0x40), ==, L_QUEUE / L_PAGE);
    g_assert_cmphex(rd(&g, 0x70), ==, 7);
    g_assert_cmpuint(legacy_request(&g, 0, 5, 512), ==, 0);
    /* the queue goes, and comes again */
    wr(&g, 0x40, 0);
    g_assert_cmpuint(rd(&g, 0x40), ==, 0);
    g_assert_cmpuint(rd(&g, 0x34), ==, SIZE);
    legacy_start(&g, 0);
    g_assert_cmpuint(legacy_request(&g, 0, 5, 512), ==, 0);
    guest_close(&g);
}

/* What makes no sense changes nothing; registers of the other interface are not there. */
static void test_legacy_rules(void)
{
    Guest g;
    guest_open_as(&g, "on");
    guest_plug(&g);
    wr(&g, 0x70, 3);
    wr(&g, 0x30, 0);
    wr(&g, 0x3c, L_PAGE);
    wr(&g, 0x40, 5); /* of what size are pages? */
    g_assert_cmpuint(rd(&g, 0x40), ==, 0);
    wr(&g, 0x28, 1000);
    wr(&g, 0x40, 5);
    g_assert_cmpuint(rd(&g, 0x40), ==, 0);
    legacy_start(&g, 0);
    wr(&g, 0x38, 8); /* while it has its place */
    wr(&g, 0x3c, 64);
    wr(&g, 0x44, 0);
    wr(&g, 0x80, 0x5000);
    g_assert_cmpuint(rd(&g, 0x44), ==, 0);
    g_assert_cmpuint(rd(&g, 0xfc), ==, 0);
    g_assert_cmpuint(legacy_request(&g, 8, 0, 20), ==, 0);
    wr(&g, 0x70, 11); /* reads back, as SeaBIOS wants it, and means nothing: DRIVER_OK goes */
    g_assert_cmphex(rd(&g, 0x70), ==, 11);
    wr(&g, 0x30, 1);
    wr(&g, 0x3c, 3); /* no power of two: 4096 stays */
    wr(&g, 0x40, 9);
    g_assert_cmpuint(rd(&g, 0x40), ==, 9);
    wr(&g, 0x30, 5);
    g_assert_cmpuint(rd(&g, 0x34), ==, 0);
    wr(&g, 0x40, 9);
    g_assert_cmpuint(rd(&g, 0x40), ==, 0);
    Error *err = NULL;
    guest_close(&g);
    guest_open_as(&g, "on");
    static const char *const modern[] = { "packed", "iommu_platform" };
    for (unsigned i = 0; i < G_N_ELEMENTS(modern); i++) {
        g_assert_null(device_create(g.tm->m, device_type_find("virtio-blk-device"), g.tm->m->peripheral,
                                    "disk", virtio_mmio_bus(g.transport), &err, "drive", "d0", modern[i],
                                    "on", NULL));
        g_assert_nonnull(strstr(error_text(err), "=on: drivers of the legacy interface know nothing of it"));
        g_clear_pointer(&err, error_free);
    }
    guest_close(&g);
}

/* Whatever is written, in whatever order: a driver that begins anew is served. */
static void test_legacy_storm(void)
{
    static const uint32_t values[] = { 0, 1, 3, 7, 15, 16, 33, 4096, L_QUEUE / L_PAGE, UINT32_MAX };
    Guest g;
    guest_open_as(&g, "on");
    guest_plug(&g);
    for (unsigned i = 0; i < 50000; i++) {
        unsigned off = (unsigned)g_test_rand_int_range(0, 0x44) * 4;
        if (g_test_rand_bit()) {
            wr(&g, off, values[g_test_rand_int_range(0, G_N_ELEMENTS(values))]);
        } else {
            rd(&g, off);
        }
        if (i % 64 == 0) {
            loop_turn(g.tm->loop, false);
        }
    }
    legacy_start(&g, 0);
    g_assert_cmpuint(legacy_request(&g, 8, 0, 20), ==, 0);
    guest_close(&g);
}

/* The place in firmware's boot order. */
static void test_bootindex(void)
{
    Guest g;
    guest_open(&g);
    g.dev =
        device_create(g.tm->m, device_type_find("virtio-blk-device"), g.tm->m->peripheral, "disk",
                      virtio_mmio_bus(g.transport), &error_abort_slot, "drive", "d0", "bootindex", "4", NULL);
    g_autoptr(GString) paths = g_string_new(NULL);
    machine_boot_paths(g.tm->m, paths);
    g_assert_cmpstr(paths->str, ==, "/virtio-mmio@00000000feb00000/disk@0,0\n");
    guest_close(&g);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    drive_register();
    g_test_add_func("/virtio-mmio/empty", test_empty);
    g_test_add_func("/virtio-mmio/transfer", test_transfer);
    g_test_add_func("/virtio-mmio/rules", test_rules);
    g_test_add_func("/virtio-mmio/queue-reset", test_queue_reset);
    g_test_add_func("/virtio-mmio/legacy", test_legacy);
    g_test_add_func("/virtio-mmio/legacy-rules", test_legacy_rules);
    g_test_add_func("/virtio-mmio/legacy-storm", test_legacy_storm);
    g_test_add_func("/virtio-mmio/bootindex", test_bootindex);
    return g_test_run();
}
