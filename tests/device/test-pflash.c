/* SPDX-License-Identifier: MIT
 * tests/device/test-pflash.c - hw/block/pflash.c: the command set as a driver uses it, and what is on the
 * image afterwards. Threads: main.
 */
#include "rhea/backends/drive.h"
#include "rhea/hw/pflash.h"
#include "tests/lib/testmachine.h"

#include <glib/gstdio.h>
#include <signal.h>
#include <string.h>
#include <sys/resource.h>

enum { BASE = 0x40000000, SIZE = 64 << 10, IO_ERROR_TURNS = 100000 };

typedef struct Chip {
    TestMachine *tm;
    Device *dev;
    char *dir, *path;
} Chip;

static void chip_open(Chip *c, const char *extra, const char *prop, const char *val)
{
    c->dir = g_dir_make_tmp("rhea-pflash-XXXXXX", NULL);
    c->path = g_build_filename(c->dir, "image", NULL);
    g_autofree char *bytes = g_malloc(SIZE);
    memset(bytes, 0xff, SIZE);
    memcpy(bytes, "contents", 8);
    g_file_set_contents(c->path, bytes, SIZE, NULL);
    c->tm = tm_new(1 << 20);
    g_autofree char *text =
        g_strdup_printf("{\"file\": \"%s\", \"format\": \"raw\", \"if\": \"pflash\", \"id\": \"f0\"%s}",
                        c->path, extra);
    g_autoptr(Json) o = json_parse(text, -1, &error_abort_slot);
    drive_add_json(c->tm->m, o, false, false, &error_abort_slot);
    c->dev = tm_device_type(c->tm, &pflash_type, NULL, "drive", "f0", prop, val, NULL);
    region_map(&c->tm->m->sysmem, BASE, device_region(c->dev, 0), 1);
}

static void chip_close(Chip *c)
{
    machine_stop(c->tm->m, RUN_PAUSED);
    drive_remove_all(c->tm->m);
    tm_free(c->tm);
    g_unlink(c->path);
    g_rmdir(c->dir);
    g_free(c->path);
    g_free(c->dir);
}

static unsigned rd(Chip *c, hwaddr at)
{
    return (unsigned)tm_read(c->tm, BASE + at, 1);
}

static void wr(Chip *c, hwaddr at, unsigned val)
{
    tm_write(c->tm, BASE + at, 1, val);
}

static void program(Chip *c, hwaddr at, unsigned val)
{
    wr(c, at, 0x40);
    wr(c, at, val);
}

static void check_image(Chip *c, hwaddr at, const void *want, size_t n)
{
    drive_drain(c->tm->m);
    g_autofree char *file = NULL;
    gsize len;
    g_file_get_contents(c->path, &file, &len, NULL);
    g_assert_cmpuint(len, ==, SIZE);
    g_assert_cmpmem(file + at, n, want, n);
}

/* JESD68.01: the query, in any mode; the identifiers; the ways back to the array. */
static void test_query(void)
{
    Chip c;
    chip_open(&c, "", NULL, NULL);
    g_assert_cmphex(tm_read(c.tm, BASE, 8), ==, 0x73746e65746e6f63);
    wr(&c, 0x55, 0x98);
    g_assert_cmphex(tm_read(c.tm, BASE + 0x10, 4), ==, 0x01595251);
    g_assert_cmpuint(1u << rd(&c, 0x27), ==, SIZE);
    g_assert_cmpuint((rd(&c, 0x2d) | rd(&c, 0x2e) << 8) + 1, ==, SIZE / PFLASH_BLOCK);
    g_assert_cmpuint((rd(&c, 0x2f) | rd(&c, 0x30) << 8) * 256, ==, PFLASH_BLOCK);
    unsigned table = rd(&c, 0x15) | rd(&c, 0x16) << 8;
    g_assert_cmpuint(rd(&c, table), ==, 'P');
    g_assert_cmpuint(rd(&c, table + 2), ==, 'I');
    wr(&c, 0, 0x90);
    g_assert_cmphex(tm_read(c.tm, BASE, 2), ==, 0x1889);
    g_assert_cmphex(rd(&c, 0x1002), ==, 0);
    wr(&c, 0, 0x70);
    g_assert_cmphex(tm_read(c.tm, BASE + 0x100, 2), ==, 0x8080);
    wr(&c, 0, 0xff);
    g_assert_cmpuint(rd(&c, 0), ==, 'c');
    wr(&c, 0, 0x13); /* unknown */
    g_assert_cmpuint(rd(&c, 0), ==, 'c');
    wr(&c, 0, 0x98);
    tm_reset(c.tm);
    g_assert_cmpuint(rd(&c, 0), ==, 'c');
    chip_close(&c);
}

/* Bits only become zero; erasing makes a block ones; each is on the image. */
static void test_program(void)
{
    Chip c;
    uint8_t ones[PFLASH_BLOCK];
    memset(ones, 0xff, sizeof(ones));
    chip_open(&c, "", NULL, NULL);
    program(&c, 0x1234, 0xa5);
    g_assert_cmphex(rd(&c, 0), ==, 0x80);
    program(&c, 0x1234, 0xf0);
    wr(&c, 0, 0xff);
    g_assert_cmphex(rd(&c, 0x1234), ==, 0xa0);
    g_assert_cmphex(rd(&c, 0x1235), ==, 0xff);
    check_image(&c, 0x1234, "\xa0\xff", 2);
    wr(&c, 0x1fff, 0x20);
    wr(&c, 0x1fff, 0xd0);
    g_assert_cmphex(rd(&c, 0), ==, 0x80);
    wr(&c, 0, 0xff);
    g_assert_cmphex(rd(&c, 0x1234), ==, 0xff);
    check_image(&c, 0x1000, ones, sizeof(ones));
    check_image(&c, 0, "contents", 8);
    wr(&c, 0, 0x20); /* not confirmed: a sequence error, until it is cleared */
    wr(&c, 0, 0xff);
    g_assert_cmphex(rd(&c, 0), ==, 0xb0);
    wr(&c, 0, 0x50);
    g_assert_cmpuint(rd(&c, 0), ==, 'c');
    wr(&c, 0, 0x70);
    g_assert_cmphex(rd(&c, 0), ==, 0);
    wr(&c, 0, 0x60);
    wr(&c, 0, 0xd0);
    g_assert_cmphex(rd(&c, 0), ==, 0x80);
    wr(&c, 0, 0x60);
    wr(&c, 0, 1);
    g_assert_cmphex(rd(&c, 0), ==, 0x90);
    chip_close(&c);
}

static void test_buffer(void)
{
    Chip c;
    chip_open(&c, "", NULL, NULL);
    wr(&c, 0x2100, 0xe8);
    g_assert_cmphex(rd(&c, 0x2100), ==, 0x80);
    wr(&c, 0x2100, 3);
    for (unsigned i = 0; i < 4; i++) {
        wr(&c, 0x2100 + i, 0x10 + i);
    }
    g_assert_cmphex(tm_read(c.tm, BASE + 0x2100, 1), ==, 0x80);
    wr(&c, 0x2100, 0xd0);
    g_assert_cmphex(rd(&c, 0), ==, 0x80);
    wr(&c, 0, 0xff);
    g_assert_cmphex(tm_read(c.tm, BASE + 0x2100, 8), ==, 0xffffffff13121110);
    check_image(&c, 0x2100, "\x10\x11\x12\x13\xff", 5);
    static const hwaddr bad[][2] = { { 0x3000, 0x3002 }, { 0x3000, 0x2fff }, { SIZE - 1, SIZE - 1 } };
    for (unsigned i = 0; i < G_N_ELEMENTS(bad); i++) { /* outside the buffer, beyond the end */
        wr(&c, 0, 0x50);
        wr(&c, 0x3000, 0xe8);
        wr(&c, 0x3000, 1);
        wr(&c, bad[i][0], 0x70); /* where the first one failed: read the status */
        wr(&c, bad[i][1], 0x70);
        g_assert_cmphex(rd(&c, 0), ==, 0xb0);
    }
    wr(&c, 0, 0xff);
    g_assert_cmphex(rd(&c, 0x3000), ==, 0xff);
    chip_close(&c);
}

/* A chip that cannot be written; commands that only SMM may give. */
static void test_protected(void)
{
    Chip c;
    chip_open(&c, ", \"read-only\": true", NULL, NULL);
    program(&c, 0, 0);
    g_assert_cmphex(rd(&c, 0), ==, 0x90);
    wr(&c, 0, 0x20);
    wr(&c, 0, 0xd0);
    g_assert_cmphex(rd(&c, 0), ==, 0xb0);
    wr(&c, 0, 0xff);
    g_assert_cmpuint(rd(&c, 0), ==, 'c');
    chip_close(&c);
    chip_open(&c, "", "secure", "on");
    MemAttrs cpu = { .cpu = true }, smm = { .cpu = true, .smm = true };
    AddressSpace *as = &c.tm->m->as_mem;
    uint64_t v;
    g_assert_cmpint(as_store(as, BASE, 1, 0x70, cpu), !=, MEM_OK);
    g_assert_cmpuint(rd(&c, 0), ==, 'c');
    g_assert_cmpint(as_store(as, BASE, 1, 0x70, smm), ==, MEM_OK);
    g_assert_cmpint(as_load(as, BASE, 1, &v, smm), ==, MEM_OK);
    g_assert_cmphex(v, ==, 0x80);
    g_assert_cmpint(as_load(as, BASE, 1, &v, cpu), ==, MEM_OK);
    g_assert_cmpuint(v, ==, 'c');
    chip_close(&c);
}

/* State in the middle of a command; contents that are loaded are on the image, too. */
static void test_state(void)
{
    Chip c;
    chip_open(&c, "", NULL, NULL);
    program(&c, 0x4000, 0x42);
    wr(&c, 0x5000, 0x40);
    GByteArray *state = tm_save(c.tm);
    wr(&c, 0x5000, 0x55);
    wr(&c, 0x4000, 0x20);
    wr(&c, 0x4000, 0xd0);
    check_image(&c, 0x4000, "\xff", 1);
    check_image(&c, 0x5000, "\x55", 1);
    g_assert_true(tm_load(c.tm, state, &error_abort_slot));
    tm_turns(c.tm);
    check_image(&c, 0x4000, "\x42", 1);
    check_image(&c, 0x5000, "\xff", 1);
    wr(&c, 0x5000, 0x66);
    wr(&c, 0, 0xff);
    g_assert_cmphex(rd(&c, 0x5000), ==, 0x66);
    check_image(&c, 0x5000, "\x66", 1);
    g_byte_array_free(state, TRUE);
    chip_close(&c);
}

static void limit_files(rlim_t bytes)
{
    struct rlimit l;
    getrlimit(RLIMIT_FSIZE, &l);
    l.rlim_cur = bytes;
    g_assert_cmpint(setrlimit(RLIMIT_FSIZE, &l), ==, 0);
}

/* An image that cannot be written for a while: the chip says so, and the bytes follow after a reset; or the
 * machine stops. */
static void test_errors(void)
{
    signal(SIGXFSZ, SIG_IGN);
    for (unsigned stop = 0; stop < 2; stop++) {
        Chip c;
        chip_open(&c, "", "werror", stop ? "stop" : "report");
        limit_files(SIZE / 2);
        program(&c, 0xc000, 0x12);
        for (unsigned i = 0; stop && machine_running(c.tm->m) && i < IO_ERROR_TURNS; i++) {
            loop_turn(c.tm->loop, false);
            g_usleep(10);
        }
        drive_drain(c.tm->m);
        limit_files(RLIM_INFINITY);
        check_image(&c, 0xc000, "\xff", 1);
        g_assert_cmpint(machine_running(c.tm->m), ==, !stop);
        g_assert_cmphex(rd(&c, 0), ==, stop ? 0x80 : 0x90);
        if (stop) {
            machine_start(c.tm->m);
        } else {
            tm_reset(c.tm);
        }
        check_image(&c, 0xc000, "\x12", 1);
        chip_close(&c);
    }
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    role_become_main();
    drive_register();
    g_test_add_func("/pflash/query", test_query);
    g_test_add_func("/pflash/program", test_program);
    g_test_add_func("/pflash/buffer", test_buffer);
    g_test_add_func("/pflash/protected", test_protected);
    g_test_add_func("/pflash/state", test_state);
    g_test_add_func("/pflash/errors", test_errors);
    return g_test_run();
}
