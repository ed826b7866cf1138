/* SPDX-License-Identifier: MIT
 * tests/device/test-virtio-rng.c - hw/virtio/virtio-rng.c and backends/rng.c: a driver in the test takes
 * random numbers of each source, within limits, from a source that is empty at times, and breaks the rules.
 * Threads: main.
 */
#include "rhea/backends/object.h"
#include "rhea/backends/rng.h"
#include "rhea/hw/virtio-mmio.h"
#include "rhea/schema/type.h"
#include "tests/device/mmioguest.h"

#include <fcntl.h>
#include <glib/gstdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { SIZE = 8, RAM = 16 << 20 };

static void object(MmioGuest *g, const char *text, Error **errp)
{
    bool from_text;
    g_autoptr(Json) j = keyval_parse(text, "qom-type", &from_text, &error_abort_slot);
    object_new_json(g->tm->m, j, from_text, false, errp);
}

static void expect_error(MmioGuest *g, const char *text, const char *pattern)
{
    Error *err = NULL;
    object(g, text, &err);
    g_assert_nonnull(err);
    if (!g_pattern_match_simple(pattern, error_text(err))) {
        g_error("'%s' is not like '%s'", error_text(err), pattern);
    }
    error_free(err);
}

static const uint8_t *buffer(MmioGuest *g)
{
    return (const uint8_t *)g->tm->m->ram->host + MG_BUFFERS;
}

static void finish(MmioGuest *g)
{
    rng_remove_all(g->tm->m); /* while the device reads it */
    mg_close(g);
}

/* Buffers of one and of several pieces; nothing behind them changes. */
static void check_fills(MmioGuest *g)
{
    static const uint8_t zeroes[64];
    mg_start(g, 0, 1);
    mg_put(g, 0, MG_BUFFERS, 64, MG_WRITE);
    g_assert_cmpuint(mg_used(g, 0), ==, 1);
    g_assert_cmpuint(mg_used_len(g, 0, 0), ==, 64);
    g_assert_true(g->tm->level[MG_PIN]);
    g_assert_cmpint(memcmp(buffer(g), zeroes, 64), !=, 0);
    g_assert_cmpmem(buffer(g) + 64, 64, zeroes, 64);
    mg_desc(g, 0, 1, MG_BUFFERS + 0x1000, 3, MG_WRITE | MG_NEXT, 2);
    mg_desc(g, 0, 2, MG_BUFFERS + 0x2000, 61, MG_WRITE, 0);
    mg_offer(g, 0, 1);
    mg_kick(g, 0);
    g_assert_cmpuint(mg_used_len(g, 0, 1), ==, 64);
    g_assert_cmpmem(buffer(g) + 0x1003, 61, zeroes, 61);
    g_assert_cmpint(memcmp(buffer(g) + 0x2000, zeroes, 61), !=, 0);
    mg_put(g, 0, MG_BUFFERS, 4 << 20, MG_WRITE); /* 5.4.6: some bytes are enough */
    g_assert_cmpuint(mg_used_len(g, 0, 2), >=, 1);
    g_assert_cmpuint(mg_used_len(g, 0, 2), <=, 64 << 10);
}

static void test_sources(void)
{
    static const char *const objects[] = { NULL, "rng-builtin,id=r0", "rng-random,id=r0",
                                           "rng-random,id=r0,filename=/dev/urandom" };
    for (unsigned i = 0; i < G_N_ELEMENTS(objects); i++) {
        MmioGuest g;
        mg_open(&g, RAM, SIZE);
        if (objects[i]) {
            object(&g, objects[i], &error_abort_slot);
        }
        mg_plug(&g, "virtio-rng-device", objects[i] ? "rng" : NULL, "r0", NULL);
        g_assert_cmpuint(mg_rd(&g, 8), ==, 4);
        g_assert_cmphex(mg_features(&g) & 0xffffff, ==, 0);
        check_fills(&g);
        finish(&g);
    }
}

/* -seed: the same bytes again. */
static void test_seed(void)
{
    uint8_t first[256];
    for (unsigned i = 0; i < 2; i++) {
        MmioGuest g;
        mg_open(&g, RAM, SIZE);
        g.tm->m->seeded = true;
        g.tm->m->seed = 77;
        mg_plug(&g, "virtio-rng-device", NULL);
        mg_start(&g, 0, 1);
        mg_put(&g, 0, MG_BUFFERS, sizeof(first) - 1, MG_WRITE);
        if (i) {
            g_assert_cmpmem(buffer(&g), sizeof(first) - 1, first, sizeof(first) - 1);
        }
        memcpy(first, buffer(&g), sizeof(first));
        finish(&g);
    }
}

/* 100 bytes in 2 seconds, whatever the driver's buffers and resets. */
static void test_limit(void)
{
    MmioGuest g;
    mg_open(&g, RAM, SIZE);
    mg_plug(&g, "virtio-rng-device", "max-bytes", "100", "period", "2000", NULL);
    mg_start(&g, 0, 1);
    mg_put(&g, 0, MG_BUFFERS, 70, MG_WRITE);
    g_assert_cmpuint(mg_used_len(&g, 0, 0), ==, 70);
    mg_put(&g, 0, MG_BUFFERS, 70, MG_WRITE);
    g_assert_cmpuint(mg_used_len(&g, 0, 1), ==, 30);
    mg_put(&g, 0, MG_BUFFERS, 70, MG_WRITE);
    g_assert_cmpuint(mg_used(&g, 0), ==, 2);
    mg_start(&g, 0, 1);
    mg_put(&g, 0, MG_BUFFERS, 70, MG_WRITE);
    tm_step(g.tm, INT64_C(1999000000));
    g_assert_cmpuint(mg_used(&g, 0), ==, 0);
    GByteArray *state = tm_save(g.tm);
    tm_load(g.tm, state, &error_abort_slot);
    g_byte_array_free(state, TRUE);
    tm_turns(g.tm);
    g_assert_cmpuint(mg_used(&g, 0), ==, 0);
    tm_step(g.tm, 1000000);
    g_assert_cmpuint(mg_used(&g, 0), ==, 1);
    g_assert_cmpuint(mg_used_len(&g, 0, 0), ==, 70);
    tm_step(g.tm, INT64_C(5000000000)); /* nothing is saved up */
    mg_put(&g, 0, MG_BUFFERS, 200, MG_WRITE);
    g_assert_cmpuint(mg_used_len(&g, 0, 1), ==, 100);
    tm_reset(g.tm);
    mg_start(&g, 0, 1);
    mg_put(&g, 0, MG_BUFFERS, 200, MG_WRITE);
    g_assert_cmpuint(mg_used_len(&g, 0, 0), ==, 100);
    finish(&g);
}

/* A FIFO has bytes when somebody writes them: the buffer waits in the ring, and no bytes are lost. */
static void test_empty_source(void)
{
    MmioGuest g;
    g_autofree char *dir = g_dir_make_tmp("rhea-rng-XXXXXX", NULL), *fifo = g_build_filename(dir, "f", NULL);
    g_autofree char *text = g_strdup_printf("rng-random,id=r0,filename=%s", fifo);
    g_assert_cmpint(mkfifo(fifo, 0600), ==, 0);
    mg_open(&g, RAM, SIZE);
    object(&g, text, &error_abort_slot);
    mg_plug(&g, "virtio-rng-device", "rng", "r0", NULL);
    mg_start(&g, 0, 1);
    mg_put(&g, 0, MG_BUFFERS, 16, MG_WRITE);
    g_assert_cmpuint(mg_used(&g, 0), ==, 0); /* there is no writer */
    int fd = open(fifo, O_WRONLY | O_NONBLOCK);
    g_assert_cmpint(fd, >=, 0);
    tm_step(g.tm, 100000000);
    g_assert_cmpuint(mg_used(&g, 0), ==, 0); /* there is one, with nothing to say */
    mg_wr(&g, MG_STATUS, 0); /* reset meanwhile: the buffer is the driver's again */
    g_assert_cmpint(write(fd, "0123456789", 10), ==, 10);
    tm_step(g.tm, 100000000);
    mg_start(&g, 0, 1);
    mg_put(&g, 0, MG_BUFFERS, 16, MG_WRITE);
    g_assert_cmpuint(mg_used_len(&g, 0, 0), ==, 10);
    g_assert_cmpmem(buffer(&g), 10, "0123456789", 10);
    mg_put(&g, 0, MG_BUFFERS, 16, MG_WRITE);
    g_assert_cmpint(write(fd, "abc", 3), ==, 3);
    g_assert_cmpuint(mg_used(&g, 0), ==, 1);
    tm_step(g.tm, 100000000);
    g_assert_cmpuint(mg_used(&g, 0), ==, 2);
    g_assert_cmpuint(mg_used_len(&g, 0, 1), ==, 3);
    close(fd);
    finish(&g);
    g_unlink(fifo);
    g_rmdir(dir);
}

/* A ring full of large buffers: other tasks have their turn in between, and all come back. */
static void test_turns(void)
{
    MmioGuest g;
    mg_open(&g, RAM, SIZE);
    mg_plug(&g, "virtio-rng-device", NULL);
    mg_start(&g, 0, 1);
    for (unsigned i = 0; i < SIZE; i++) {
        mg_desc(&g, 0, i, MG_BUFFERS + (i << 16), 1 << 16, MG_WRITE, 0);
        mg_offer(&g, 0, i);
    }
    mg_kick(&g, 0);
    g_assert_cmpuint(mg_used(&g, 0), <, SIZE);
    tm_turns(g.tm);
    g_assert_cmpuint(mg_used(&g, 0), ==, SIZE);
    finish(&g);
}

static void test_hostile(void)
{
    MmioGuest g;
    mg_open(&g, RAM, SIZE);
    mg_plug(&g, "virtio-rng-device", NULL);
    mg_start(&g, 0, 1);
    mg_put(&g, 0, MG_BUFFERS, 16, 0); /* 5.4.6.1 forbids it: nothing can be written, it comes back */
    g_assert_cmpuint(mg_used(&g, 0), ==, 1);
    g_assert_cmpuint(mg_used_len(&g, 0, 0), ==, 0);
    g_assert_cmphex(mg_rd(&g, MG_STATUS), ==, MG_STATUS_OK);
    static const struct { uint64_t addr; uint32_t len; unsigned flags; } bad[] = {
        { RAM - 8, 16, MG_WRITE },
        { UINT64_MAX - 7, 16, MG_WRITE },
        { MG_BUFFERS, 0, MG_WRITE },
        { MG_BUFFERS, 16, MG_WRITE | MG_NEXT }, /* a loop */
        { MG_BUFFERS, 16, 4 },                  /* indirect, not negotiated */
        { MG_BASE, 16, MG_WRITE },
    };
    for (unsigned i = 0; i < G_N_ELEMENTS(bad); i++) {
        mg_start(&g, 0, 1);
        mg_put(&g, 0, bad[i].addr, bad[i].len, bad[i].flags);
        g_assert_cmpuint(mg_used(&g, 0), ==, 0);
        g_assert_cmphex(mg_rd(&g, MG_STATUS), ==, MG_STATUS_BROKEN);
        mg_kick(&g, 0);
        tm_turns(g.tm);
    }
    mg_start(&g, 0, 1);
    mg_put(&g, 0, MG_BUFFERS, 16, MG_WRITE);
    g_assert_cmpuint(mg_used(&g, 0), ==, 1);
    finish(&g);
}

static void test_objects(void)
{
    MmioGuest g;
    Error *err = NULL;
    mg_open(&g, RAM, SIZE);
    object(&g, "rng-builtin,id=r0", &error_abort_slot);
    expect_error(&g, "rng-random,id=r0", "*already*'r0'*");
    expect_error(&g, "rng-random,id=1", "*not a name*");
    expect_error(&g, "rng-random,id=r1,filename=/nowhere/to/be/found", "*'r1': cannot open*No such file*");
    expect_error(&g, "rng-random,id=r1,opened=on", "*'opened'*");
    expect_error(&g, "rng-builtin,id=r1,filename=/dev/urandom", "*'filename'*");
    Device *dev = device_new(g.tm->m, device_type_find("virtio-rng-device"), g.tm->m->peripheral, "x");
    g_assert_true(device_set(dev, "rng", "r7", &error_abort_slot));
    g_assert_false(device_realize(dev, virtio_mmio_bus(g.transport), &err));
    g_assert_true(g_pattern_match_simple("*there is no rng 'r7'*", error_text(err)));
    g_clear_pointer(&err, error_free);
    device_remove(dev);
    dev = device_new(g.tm->m, device_type_find("virtio-rng-device"), g.tm->m->peripheral, "x");
    g_assert_true(device_set(dev, "rng", "r0", &error_abort_slot));
    g_assert_true(device_realize(dev, virtio_mmio_bus(g.transport), &error_abort_slot));
    g_assert_false(rng_remove(g.tm->m, "r0", &err));
    g_assert_true(g_pattern_match_simple("*in use by 1 device", error_text(err)));
    g_clear_pointer(&err, error_free);
    device_remove(dev);
    g_assert_true(rng_remove(g.tm->m, "r0", &error_abort_slot));
    g_assert_false(rng_exists(g.tm->m, "r0"));
    finish(&g);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    role_become_main();
    g_test_add_func("/device/virtio-rng/sources", test_sources);
    g_test_add_func("/device/virtio-rng/seed", test_seed);
    g_test_add_func("/device/virtio-rng/limit", test_limit);
    g_test_add_func("/device/virtio-rng/empty-source", test_empty_source);
    g_test_add_func("/device/virtio-rng/turns", test_turns);
    g_test_add_func("/device/virtio-rng/hostile", test_hostile);
    g_test_add_func("/device/virtio-rng/objects", test_objects);
    return g_test_run();
}
