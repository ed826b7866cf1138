/* SPDX-License-Identifier: MIT
 * tests/device/test-virtio-mmio.c - hw/virtio/virtio-mmio.c and the part of virtio.c and virtio-blk.c
 * behind it: a driver in the test. Threads: main.
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

static void guest_open(Guest *g)
{
    memset(g, 0, sizeof(*g));
    g->tm = tm_new(16 << 20);
    Machine *m = g->tm->m;
    g_autoptr(Json) j = json_parse("{\"driver\": \"null-co\", \"node-name\": \"d0\", \"size\": 1048576, "
                                   "\"read-zeroes\": true}",
                                   -1, &error_abort_slot);
    blockdev_add_json(m, j, false, &error_abort_slot);
    g->transport =
        device_create(m, &virtio_mmio_type, m->unattached, NULL, NULL, &error_abort_slot, "index", "3", NULL);
    device_map_mem(g->transport, device_region(g->transport, 0), BASE, 1);
    tm_connect(g->tm, g->transport, 0, 7);
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
    g_clear_pointer(&err, error_free);
    g_assert_null(device_create(g.tm->m, &virtio_mmio_type, g.tm->m->unattached, NULL, NULL, &err,
                                "force-legacy", "on", NULL));
    g_assert_nonnull(strstr(error_text(err), "no legacy interface"));
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

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    drive_register();
    g_test_add_func("/virtio-mmio/empty", test_empty);
    g_test_add_func("/virtio-mmio/transfer", test_transfer);
    g_test_add_func("/virtio-mmio/rules", test_rules);
    g_test_add_func("/virtio-mmio/queue-reset", test_queue_reset);
    return g_test_run();
}
