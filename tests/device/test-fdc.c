/* SPDX-License-Identifier: MIT
 * tests/device/test-fdc.c - hw/block/fdc.c, fdc-data.c, floppy.c: the commands of the 82078 by DMA and by the
 * FIFO, what they leave on the image, media, saved state, random commands. Threads: main.
 */
#include "rhea/backends/drive.h"
#include "rhea/block/driver.h"
#include "rhea/hw/fdc.h"
#include "rhea/hw/isadma.h"
#include "rhea/util/co.h"
#include "tests/device/isatest.h"

#include <glib/gstdio.h>
#include <string.h>

enum { DOR = 0x3f2, MSR = 0x3f4, FIFO = 0x3f5, CCR = 0x3f7, IRQ = 6, BUF = 0x10000, KIB = 1440 };
enum { READ = 0xe6, WRITE = 0xc5, IN = 0x46 /* DMA modes, channel 2 */, OUT = 0x4a };

typedef struct Fix {
    IsaTest *t;
    Device *fdc, *floppy;
    char *dir, *path[2];
} Fix;

static void open_disk(Fix *f, const char *extra)
{
    f->dir = g_dir_make_tmp("rhea-fdc-XXXXXX", NULL);
    for (unsigned i = 0; i < 2; i++) {
        f->path[i] = g_strdup_printf("%s/disk%u", f->dir, i);
        g_autofree uint8_t *bytes = g_malloc(KIB * 1024);
        for (unsigned k = 0; k < KIB * 1024; k++) {
            bytes[k] = (uint8_t)(k / 512 + k + i);
        }
        g_file_set_contents(f->path[i], (char *)bytes, KIB * 1024, NULL);
    }
    f->t = isatest_new();
    Machine *m = f->t->tm->m;
    isa_dma_create_pair(f->t->bus, m->unattached, &error_abort_slot);
    f->fdc = isatest_add(f->t, &isa_fdc_type);
    g_autofree char *text =
        g_strdup_printf("{\"file\": \"%s\", \"format\": \"raw\", \"if\": \"floppy\", \"id\": \"fd\"%s}",
                        f->path[0], extra);
    g_autoptr(Json) o = json_parse(text, -1, &error_abort_slot);
    drive_add_json(m, o, false, false, &error_abort_slot);
    f->floppy = tm_device_type(f->t->tm, &floppy_type, f->fdc->buses->pdata[0], "drive", "fd", NULL);
}

static void setup(Fix *f, gconstpointer data G_GNUC_UNUSED)
{
    open_disk(f, "");
}

static void teardown(Fix *f, gconstpointer data G_GNUC_UNUSED)
{
    machine_stop(f->t->tm->m, RUN_PAUSED);
    drive_remove_all(f->t->tm->m);
    isatest_free(f->t);
    for (unsigned i = 0; i < 2; i++) {
        g_unlink(f->path[i]);
        g_free(f->path[i]);
    }
    g_rmdir(f->dir);
    g_free(f->dir);
}

/* ---- a driver ---- */

static bool irq(Fix *f)
{
    return f->t->tm->level[IRQ];
}

static void command(Fix *f, const uint8_t *bytes, unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        g_assert_cmphex(inb(f->t, MSR) & 0xc0, ==, 0x80);
        outb(f->t, FIFO, bytes[i]);
    }
}
#define COMMAND(F, ...) command(F, (const uint8_t[]){ __VA_ARGS__ }, sizeof((const uint8_t[]){ __VA_ARGS__ }))

static void results(Fix *f, uint8_t *out, unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        g_assert_cmphex(inb(f->t, MSR), ==, 0xd0);
        out[i] = inb(f->t, FIFO);
    }
    g_assert_cmphex(inb(f->t, MSR), ==, 0x80);
}

static void expect_results(Fix *f, const uint8_t *want, unsigned n)
{
    uint8_t got[16];
    results(f, got, n);
    g_assert_cmpmem(got, n, want, n);
}
#define RESULTS(F, ...) \
    expect_results(F, (const uint8_t[]){ __VA_ARGS__ }, sizeof((const uint8_t[]){ __VA_ARGS__ }))

static void wait_irq(Fix *f)
{
    for (unsigned i = 0; !irq(f) && i < 1000000; i++) {
        loop_turn(f->t->tm->loop, false);
    }
    g_assert_true(irq(f));
}

static void start(Fix *f, unsigned rate)
{
    outb(f->t, DOR, 0);
    g_assert_cmphex(inb(f->t, MSR), ==, 0);
    outb(f->t, DOR, 0x1c);
    g_assert_true(irq(f));
    for (unsigned i = 0; i < 4; i++) { /* each drive has become ready */
        COMMAND(f, 8);
        g_assert_false(irq(f));
        RESULTS(f, (uint8_t)(0xc0 | i), 0);
    }
    COMMAND(f, 8);
    RESULTS(f, 0x80);
    outb(f->t, CCR, (uint8_t)rate);
    COMMAND(f, 3, 0xdf, 2);
}

static void seek(Fix *f, unsigned track)
{
    COMMAND(f, 0x0f, 0, (uint8_t)track);
    g_assert_true(irq(f));
    COMMAND(f, 8);
    RESULTS(f, 0x20, (uint8_t)track);
}

static void dma(Fix *f, unsigned mode, hwaddr at, unsigned len)
{
    outb(f->t, 0x0a, 6);
    outb(f->t, 0x0c, 0);
    outb(f->t, 0x0b, (uint8_t)mode);
    outb(f->t, 4, at & 0xff);
    outb(f->t, 4, at >> 8 & 0xff);
    outb(f->t, 5, (len - 1) & 0xff);
    outb(f->t, 5, (len - 1) >> 8);
    outb(f->t, 0x81, (uint8_t)(at >> 16));
    outb(f->t, 0x0a, 2);
}

static uint8_t *ram(Fix *f)
{
    return f->t->tm->m->ram->host + BUF;
}

static void check_image(Fix *f, unsigned lba, unsigned n, const uint8_t *want)
{
    g_autofree char *file = NULL;
    drive_drain(f->t->tm->m);
    g_file_get_contents(f->path[0], &file, NULL, NULL);
    g_assert_cmpmem(file + lba * 512, n * 512, want, n * 512);
}

static void check_pattern(const uint8_t *p, unsigned lba, unsigned n, unsigned disk)
{
    for (unsigned k = 0; k < n * 512; k++) {
        g_assert_cmphex(p[k], ==, (uint8_t)(lba + k / 512 + k + disk));
    }
}

/* ---- the tests ---- */

/* 6.5.8 to 6.5.22: what moves no data. */
static void test_simple(Fix *f, gconstpointer data G_GNUC_UNUSED)
{
    start(f, 0);
    COMMAND(f, 0x10);
    RESULTS(f, 0x90);
    COMMAND(f, 0x55); /* unknown */
    RESULTS(f, 0x80);
    COMMAND(f, 0x94);
    RESULTS(f, 0x10);
    COMMAND(f, 0x13, 0, 0x57, 3);
    COMMAND(f, 0x12, 0x85);
    COMMAND(f, 0x0f, 1, 7);
    COMMAND(f, 8);
    RESULTS(f, 0x21, 7);
    COMMAND(f, 0x0e);
    RESULTS(f, 0, 7, 0, 0, 0xdf, 2, 0, 0x85, 0x57, 3);
    outb(f->t, MSR, 0x80); /* a reset by DSR: LOCK keeps FIFO and precompensation */
    g_assert_true(irq(f));
    COMMAND(f, 0x0e);
    RESULTS(f, 0, 0, 0, 0, 0xdf, 2, 0, 0x84, 0x07, 3);
    COMMAND(f, 0x14);
    RESULTS(f, 0);
    COMMAND(f, 0x8e, 0x28, 0x80);
    RESULTS(f, 0, 8, 0, 0);
    COMMAND(f, 0x8e, 0xc0);
    COMMAND(f, 0x8f, 0, 5); /* outwards from 0 */
    COMMAND(f, 8);
    RESULTS(f, 0x20, 0);
    COMMAND(f, 0xcf, 4, 5);
    COMMAND(f, 8);
    RESULTS(f, 0x24, 5);
    COMMAND(f, 4, 4);
    RESULTS(f, 0x2c);
    COMMAND(f, 7, 0);
    COMMAND(f, 8);
    RESULTS(f, 0x20, 0);
    COMMAND(f, 4, 0);
    RESULTS(f, 0x38);
    COMMAND(f, 7, 1); /* there is no drive B */
    COMMAND(f, 8);
    RESULTS(f, 0x71, 0);
    g_assert_cmphex(inb(f->t, 0x3f0), ==, 0xff);
    g_assert_cmphex(inb(f->t, DOR), ==, 0x1c);
    outb(f->t, DOR, 0x14); /* no gate, no line */
    COMMAND(f, 7, 0);
    g_assert_false(irq(f));
    outb(f->t, DOR, 0x1c);
    g_assert_true(irq(f));
}

static void test_read(Fix *f, gconstpointer data G_GNUC_UNUSED)
{
    start(f, 0);
    seek(f, 5);
    dma(f, IN, BUF, 3 * 512);
    COMMAND(f, READ, 4, 5, 1, 7, 2, 18, 0x1b, 0xff);
    wait_irq(f);
    RESULTS(f, 4, 0, 0, 5, 1, 10, 2);
    g_assert_false(irq(f));
    check_pattern(ram(f), (5 * 2 + 1) * 18 + 6, 3, 0);
    dma(f, IN, BUF, 36 * 512); /* both sides; the terminal count comes with the last byte */
    COMMAND(f, READ, 0, 5, 0, 1, 2, 18, 0x1b, 0xff);
    wait_irq(f);
    RESULTS(f, 4, 0, 0, 6, 0, 1, 2);
    check_pattern(ram(f), 5 * 36, 36, 0);
    dma(f, IN, BUF, 0x4000); /* the cylinder ends first */
    COMMAND(f, READ & ~0x80, 0, 5, 0, 18, 2, 18, 0x1b, 0xff);
    wait_irq(f);
    RESULTS(f, 0x40, 0x80, 0, 6, 0, 1, 2);
    dma(f, IN, BUF, 100); /* within a sector */
    memset(ram(f), 0, 512);
    COMMAND(f, READ, 0, 5, 0, 1, 2, 18, 0x1b, 0xff);
    wait_irq(f);
    RESULTS(f, 0, 0, 0, 5, 0, 2, 2);
    g_assert_cmphex(ram(f)[99], ==, (uint8_t)(180 + 99));
    g_assert_cmphex(ram(f)[100], ==, 0);
    COMMAND(f, READ, 0, 5, 0, 1, 2, 18, 0x1b, 0xff); /* the channel is masked until later */
    for (unsigned i = 0; i < 1000; i++) {
        loop_turn(f->t->tm->loop, false);
    }
    g_assert_false(irq(f));
    g_assert_cmphex(inb(f->t, MSR), ==, 0x10);
    dma(f, IN, BUF, 512);
    wait_irq(f);
    RESULTS(f, 0, 0, 0, 5, 0, 2, 2);
    COMMAND(f, 0x4a, 0); /* READ ID */
    wait_irq(f);
    RESULTS(f, 0, 0, 0, 5, 0, 1, 2);
    COMMAND(f, 0x42, 0, 5, 0, 9, 2, 4, 0x1b, 0xff); /* READ TRACK begins at the index hole */
    dma(f, IN, BUF, 4 * 512);
    wait_irq(f);
    RESULTS(f, 0, 0, 0, 6, 0, 1, 2);
    check_pattern(ram(f), 180, 4, 0);
}

static void test_not_found(Fix *f, gconstpointer data G_GNUC_UNUSED)
{
    static const struct {
        uint8_t cmd[9], st1, st2;
    } bad[] = {
        { { READ, 0, 6, 0, 1, 2, 18, 0, 0 }, 0x04, 0x10 },  /* another cylinder */
        { { READ, 0, 255, 0, 1, 2, 18, 0, 0 }, 0x04, 0x02 },
        { { READ, 4, 5, 0, 1, 2, 18, 0, 0 }, 0x04, 0 },     /* another head */
        { { READ, 0, 5, 0, 19, 2, 18, 0, 0 }, 0x04, 0 },
        { { READ, 0, 5, 0, 0, 2, 18, 0, 0 }, 0x04, 0 },
        { { READ, 0, 5, 0, 1, 3, 18, 0, 0 }, 0x04, 0 },     /* 1024 bytes */
        { { READ & ~0x40, 0, 5, 0, 1, 2, 18, 0, 0 }, 1, 0 }, /* FM */
        { { 0xec, 0, 5, 0, 1, 2, 18, 0, 0 }, 0x04, 0 },     /* deleted, the others skipped */
        { { WRITE, 0, 5, 0, 99, 2, 18, 0, 0 }, 0x04, 0 },
    };
    start(f, 0);
    seek(f, 5);
    for (unsigned i = 0; i < G_N_ELEMENTS(bad); i++) {
        uint8_t got[7];
        command(f, bad[i].cmd, 9);
        wait_irq(f);
        results(f, got, 7);
        g_assert_cmphex(got[0] & 0xf8, ==, 0x40);
        g_assert_cmphex(got[1], ==, bad[i].st1);
        g_assert_cmphex(got[2], ==, bad[i].st2);
    }
    outb(f->t, CCR, 2); /* another data rate */
    COMMAND(f, 0x4a, 0);
    RESULTS(f, 0x40, 1, 0, 0, 0, 0, 0);
    outb(f->t, CCR, 0);
    seek(f, 81);
    COMMAND(f, 0x4a, 0);
    RESULTS(f, 0x40, 1, 0, 0, 0, 0, 0);
    COMMAND(f, 0x4a, 1);
    RESULTS(f, 0x41, 1, 0, 0, 0, 0, 0);
    COMMAND(f, 0x13, 0, 0x60, 0); /* implied seek */
    dma(f, IN, BUF, 512);
    COMMAND(f, READ, 0, 5, 0, 1, 2, 18, 0x1b, 0xff);
    wait_irq(f);
    RESULTS(f, 0, 0, 0, 5, 0, 2, 2);
    /* VERIFY: all of a side; so many; one that is not there */
    COMMAND(f, 0x56, 0, 5, 0, 1, 2, 18, 0x1b, 0xff);
    wait_irq(f);
    RESULTS(f, 0, 0, 0, 6, 0, 1, 2);
    COMMAND(f, 0x56, 0x80, 5, 0, 3, 2, 18, 0x1b, 4);
    wait_irq(f);
    RESULTS(f, 0, 0, 0, 5, 0, 7, 2);
    COMMAND(f, 0x56, 0, 5, 0, 1, 2, 20, 0x1b, 0xff);
    wait_irq(f);
    RESULTS(f, 0x40, 4, 0, 5, 0, 19, 2);
}

static void test_write(Fix *f, gconstpointer data G_GNUC_UNUSED)
{
    uint8_t want[2048];
    start(f, 0);
    seek(f, 20);
    for (unsigned i = 0; i < sizeof(want); i++) {
        want[i] = ram(f)[i] = (uint8_t)(i * 3);
    }
    dma(f, OUT, BUF, 1024);
    COMMAND(f, WRITE, 0, 20, 0, 2, 2, 18, 0x1b, 0xff);
    wait_irq(f);
    RESULTS(f, 0, 0, 0, 20, 0, 4, 2);
    check_image(f, 20 * 36 + 1, 2, want);
    dma(f, OUT, BUF, 10); /* the rest of the sector becomes zero */
    COMMAND(f, WRITE, 0, 20, 0, 2, 2, 18, 0x1b, 0xff);
    wait_irq(f);
    RESULTS(f, 0, 0, 0, 20, 0, 3, 2);
    memset(want + 10, 0, 502);
    check_image(f, 20 * 36 + 1, 1, want);
    for (unsigned i = 0; i < 18; i++) { /* FORMAT TRACK, interleaved */
        memcpy(ram(f) + 4 * i, (uint8_t[]){ 20, 1, (uint8_t)(i % 2 * 9 + i / 2 + 1), 2 }, 4);
    }
    dma(f, OUT, BUF, 72);
    COMMAND(f, 0x4d, 4, 2, 18, 0x54, 0xf6);
    wait_irq(f);
    uint8_t got[7];
    results(f, got, 7);
    g_assert_cmphex(got[0], ==, 4);
    memset(want, 0xf6, sizeof(want));
    check_image(f, 20 * 36 + 18, 4, want);
    check_image(f, 20 * 36 + 32, 4, want);
    ram(f)[2] = 19; /* an ID that the image cannot hold */
    dma(f, OUT, BUF, 72);
    COMMAND(f, 0x4d, 4, 2, 18, 0x54, 0);
    wait_irq(f);
    results(f, got, 7);
    g_assert_cmphex(got[0] & 0xc0, ==, 0x40);
    check_image(f, 20 * 36 + 18, 4, want);
}

/* Without DMA every byte passes through the FIFO; nothing tells the end but EOT. */
static void test_fifo(Fix *f, gconstpointer data G_GNUC_UNUSED)
{
    uint8_t in[1024];
    start(f, 0);
    COMMAND(f, 3, 0xdf, 3);
    for (unsigned round = 0; round < 3; round++) {
        bool write = round == 1;
        COMMAND(f, (uint8_t)(write ? WRITE & ~0x80 : READ & ~0x80), 0, 0, 0, 3, 2, 4, 0x1b, 0xff);
        for (unsigned i = 0; i < 1024; i++) {
            wait_irq(f);
            g_assert_cmphex(inb(f->t, MSR), ==, write ? 0xb0 : 0xf0);
            if (write) {
                outb(f->t, FIFO, (uint8_t)(in[i] ^ 0x5a));
            } else {
                in[i] = inb(f->t, FIFO);
            }
        }
        wait_irq(f);
        RESULTS(f, 0x40, 0x80, 0, 1, 0, 1, 2);
        for (unsigned i = 0; round == 2 && i < 1024; i++) {
            in[i] ^= 0x5a;
        }
        check_pattern(in, 2, 2, 0);
    }
}

static void test_media(Fix *f, gconstpointer data G_GNUC_UNUSED)
{
    Machine *m = f->t->tm->m;
    g_assert_cmpuint(fdc_drive_kind(f->fdc, 0), ==, 4);
    g_assert_cmpuint(fdc_drive_kind(f->fdc, 1), ==, 0);
    start(f, 0);
    g_assert_cmphex(inb(f->t, CCR), ==, 0x80);
    seek(f, 0); /* the head stays */
    g_assert_cmphex(inb(f->t, CCR), ==, 0x80);
    seek(f, 1);
    g_assert_cmphex(inb(f->t, CCR), ==, 0);
    g_assert_true(drive_eject(m, "fd", false, &error_abort_slot));
    g_assert_cmphex(inb(f->t, CCR), ==, 0x80);
    seek(f, 2); /* nothing is there */
    g_assert_cmphex(inb(f->t, CCR), ==, 0x80);
    dma(f, IN, BUF, 512);
    COMMAND(f, READ, 0, 2, 0, 1, 2, 18, 0x1b, 0xff);
    wait_irq(f);
    RESULTS(f, 0x40, 1, 0, 2, 0, 1, 2);
    g_assert_true(drive_change(m, "fd", f->path[1], "raw", false, ON, &error_abort_slot));
    seek(f, 3);
    g_assert_cmphex(inb(f->t, CCR), ==, 0);
    COMMAND(f, READ, 0, 3, 0, 1, 2, 18, 0x1b, 0xff);
    wait_irq(f);
    RESULTS(f, 0, 0, 0, 3, 0, 2, 2);
    check_pattern(ram(f), 3 * 36, 1, 1);
    COMMAND(f, 4, 0);
    RESULTS(f, 0x68);
    for (unsigned format = 0; format < 2; format++) { /* write-protected */
        dma(f, OUT, BUF, 512);
        if (format) {
            COMMAND(f, 0x4d, 0, 2, 18, 0x54, 0xf6);
        } else {
            COMMAND(f, WRITE, 0, 3, 0, 1, 2, 18, 0x1b, 0xff);
        }
        uint8_t got[7];
        wait_irq(f);
        results(f, got, 7);
        g_assert_cmphex(got[0], ==, 0x40);
        g_assert_cmphex(got[1], ==, 2);
    }
    g_assert_true(drive_change(m, "fd", f->path[0], "raw", false, OFF, &error_abort_slot));
    COMMAND(f, 4, 0);
    RESULTS(f, 0x28);
    g_autofree char *big = g_build_filename(f->dir, "big", NULL); /* a 1.44 MB drive cannot read it */
    g_file_set_contents(big, "", 0, NULL);
    g_assert_cmpint(truncate(big, 2880 * 1024), ==, 0);
    g_assert_true(drive_change(m, "fd", big, "raw", false, AUTO, &error_abort_slot));
    COMMAND(f, 0x4a, 0);
    RESULTS(f, 0x40, 1, 0, 0, 0, 0, 0);
    g_assert_cmpint(truncate(big, 1000), ==, 0); /* a disk of which the image has the beginning */
    g_assert_true(drive_change(m, "fd", big, "raw", false, AUTO, &error_abort_slot));
    dma(f, IN, BUF, 512);
    COMMAND(f, READ, 0, 3, 0, 1, 2, 18, 0x1b, 0xff);
    wait_irq(f);
    RESULTS(f, 0, 0, 0, 3, 0, 2, 2);
    g_assert_cmphex(ram(f)[5], ==, 0);
    dma(f, OUT, BUF, 512);
    COMMAND(f, WRITE, 0, 3, 0, 1, 2, 18, 0x1b, 0xff);
    wait_irq(f);
    RESULTS(f, 0x40, 0x20, 0x20, 3, 0, 1, 2);
    g_unlink(big);
}

/* Saved while the host has taken a part, and loaded: the rest comes. */
static void test_state(Fix *f, gconstpointer data G_GNUC_UNUSED)
{
    start(f, 0);
    dma(f, IN, BUF, 700);
    COMMAND(f, READ, 0, 0, 0, 1, 2, 18, 0x1b, 0xff);
    GByteArray *state = tm_save(f->t->tm); /* its first sector was still to come, or not */
    wait_irq(f);
    RESULTS(f, 0, 0, 0, 0, 0, 3, 2);
    memset(ram(f), 0, 1024);
    tm_reset(f->t->tm);
    g_assert_true(tm_load(f->t->tm, state, &error_abort_slot));
    wait_irq(f);
    RESULTS(f, 0, 0, 0, 0, 0, 3, 2);
    check_pattern(ram(f), 0, 1, 0);
    g_byte_array_free(state, TRUE);
    COMMAND(f, READ, 0, 0, 0, 1, 2, 18, 0x1b); /* a byte is missing */
    state = tm_save(f->t->tm);
    tm_reset(f->t->tm);
    g_assert_true(tm_load(f->t->tm, state, &error_abort_slot));
    g_assert_cmphex(inb(f->t, MSR), ==, 0x90);
    dma(f, IN, BUF, 512);
    COMMAND(f, 0xff);
    wait_irq(f);
    RESULTS(f, 0, 0, 0, 0, 0, 2, 2);
    g_byte_array_free(state, TRUE);
}

/* ---- writes that a reset forgets ---- */

static struct {
    bool slow;
    Co *kept;
    GString *list; /* a letter for each write that has reached the medium */
} medium;

static int medium_pwritev(BlockNode *n G_GNUC_UNUSED, int64_t off, IoVec *v, unsigned flags G_GNUC_UNUSED)
{
    uint8_t c;
    iov_to_buf(v, 0, &c, 1);
    g_assert_cmpint(off, ==, 0);
    if (medium.slow) {
        medium.slow = false;
        medium.kept = co_self();
        co_yield();
        medium.kept = NULL;
    }
    for (unsigned i = 0; i < 20; i++) { /* each takes some turns of the loop */
        co_wake(co_self());
        co_yield();
    }
    g_string_append_c(medium.list, (char)c);
    return 0;
}

static void write_first(Fix *f, unsigned unit, char c)
{
    ram(f)[0] = (uint8_t)c;
    dma(f, OUT, BUF, 512);
    COMMAND(f, WRITE, (uint8_t)unit, 0, 0, 1, 2, 18, 0x1b, 0xff);
}

static DrivePort *medium_of(Fix *f, const char *drive)
{
    static BlockDriver driver;
    DrivePort *p = drive_port_find(f->t->tm->m, drive, &error_abort_slot);
    driver = *p->node->driver;
    driver.pwritev = medium_pwritev;
    p->node->driver = &driver;
    return p;
}

/* The first write is under way, and stays so. */
static void medium_begin(Fix *f, unsigned unit)
{
    medium.slow = true;
    medium.list = g_string_new(NULL);
    start(f, 0);
    write_first(f, unit, 'A');
    for (unsigned i = 0; !medium.kept && i < 1000; i++) {
        loop_turn(f->t->tm->loop, false);
    }
    g_assert_nonnull(medium.kept);
}

/* However often the controller is reset, the write that was forgotten first is the one in flight; when it has
 * ended, the last one is made. */
static void test_forgotten(Fix *f, gconstpointer data G_GNUC_UNUSED)
{
    DrivePort *p = medium_of(f, "fd");
    medium_begin(f, 0);
    for (unsigned i = 0; i < 1000; i++) {
        start(f, 0);
        write_first(f, 0, i < 999 ? 'B' : 'C');
        g_assert_cmpuint(p->in_flight, ==, 1);
    }
    for (unsigned i = 0; i < 1000; i++) {
        loop_turn(f->t->tm->loop, false);
    }
    g_assert_cmpstr(medium.list->str, ==, "");
    g_assert_cmphex(inb(f->t, MSR), ==, 0x10);
    co_wake(medium.kept);
    wait_irq(f);
    RESULTS(f, 0, 0, 0, 0, 0, 2, 2);
    g_assert_cmpstr(medium.list->str, ==, "AC");
    g_string_free(medium.list, TRUE);
}

/* A write to drive A waits for a forgotten one to drive B; a stop waits for both. */
static void test_forgotten_other(Fix *f, gconstpointer data G_GNUC_UNUSED)
{
    Machine *m = f->t->tm->m;
    g_autofree char *text =
        g_strdup_printf("{\"file\": \"%s\", \"format\": \"raw\", \"if\": \"none\", \"id\": \"fd1\"}",
                        f->path[1]);
    g_autoptr(Json) o = json_parse(text, -1, &error_abort_slot);
    drive_add_json(m, o, false, false, &error_abort_slot);
    tm_device_type(f->t->tm, &floppy_type, f->fdc->buses->pdata[0], "drive", "fd1", NULL);
    DrivePort *p[] = { medium_of(f, "fd"), medium_of(f, "fd1") };
    medium_begin(f, 1);
    start(f, 0);
    write_first(f, 0, 'B');
    g_assert_cmpuint(p[0]->in_flight, ==, 0);
    g_assert_cmpuint(p[1]->in_flight, ==, 1);
    co_wake(medium.kept);
    machine_stop(m, RUN_PAUSED);
    g_assert_cmpuint(p[0]->in_flight + p[1]->in_flight, ==, 0);
    g_assert_cmpstr(medium.list->str, ==, "AB");
    g_string_free(medium.list, TRUE);
}

/* Commands at random with good and bad parts, resets and media changes between. */
static void test_storm(Fix *f, gconstpointer data G_GNUC_UNUSED)
{
    static const uint8_t codes[] = { READ, WRITE, 0x42, 0x4d, 0x56, 0x4a, 7,   8,
                                     3,    4,     0x0f, 0xcf, 0x13, 0xcc, 0xc9 };
    Machine *m = f->t->tm->m;
    unsigned read = 0;
    start(f, 0);
    for (unsigned i = 0; i < 20000; i++) {
        uint32_t r = (uint32_t)g_test_rand_int();
        if (r % 64 == 0) {
            dma(f, r & 64 ? IN : OUT, BUF, 1 + (r >> 8) % 40000);
        }
        if (r % 256 == 1) {
            drive_change(m, "fd", f->path[r >> 8 & 1], "raw", false, r >> 9 & 1 ? ON : OFF,
                         &error_abort_slot);
        }
        if (r % 128 == 2) {
            outb(f->t, DOR, r >> 8 & 1 ? 0x1c : (uint8_t)(r >> 10));
            outb(f->t, DOR, 0x1c);
            outb(f->t, CCR, 0);
        }
        uint8_t s = inb(f->t, MSR);
        if ((s & 0xc0) == 0x80) {
            uint32_t v = (uint32_t)g_test_rand_int();
            bool first = !(s & 0x10);
            outb(f->t, FIFO, first ? codes[v % sizeof(codes)] : v & 0x300 ? v >> 16 & 3 : v & 0xff);
        } else if (s & 0x80) {
            inb(f->t, FIFO);
            read++;
        }
        loop_turn(f->t->tm->loop, false);
    }
    g_assert_cmpuint(read, >, 1000);
}

static void test_refusals(Fix *f, gconstpointer data G_GNUC_UNUSED)
{
    Machine *m = f->t->tm->m;
    Error *err = NULL;
    Device *d = device_new(m, &floppy_type, m->peripheral, NULL);
    g_assert_true(device_set(d, "unit", "0", &error_abort_slot));
    g_assert_false(device_realize(d, f->fdc->buses->pdata[0], &err));
    g_assert_nonnull(strstr(error_text(err), "unit 0 of bus 'floppy-bus.0' is in use"));
    error_free(err);
    device_remove(d);
    g_assert_true(isatest_refuses(f->t, &isa_fdc_type, NULL, NULL, "DMA channel 2"));
}

int main(int argc, char **argv)
{
    static const struct {
        const char *name;
        void (*fn)(Fix *f, gconstpointer data);
    } tests[] = {
        { "simple", test_simple }, { "read", test_read },   { "not-found", test_not_found },
        { "write", test_write },   { "fifo", test_fifo },   { "media", test_media },
        { "state", test_state },   { "storm", test_storm }, { "refusals", test_refusals },
        { "forgotten", test_forgotten }, { "forgotten-other", test_forgotten_other },
    };
    g_test_init(&argc, &argv, NULL);
    role_become_main();
    drive_register();
    for (unsigned i = 0; i < G_N_ELEMENTS(tests); i++) {
        g_autofree char *path = g_strdup_printf("/fdc/%s", tests[i].name);
        g_test_add(path, Fix, NULL, setup, tests[i].fn, teardown);
    }
    return g_test_run();
}
