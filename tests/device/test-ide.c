/* SPDX-License-Identifier: MIT
 * tests/device/test-ide.c - the PIIX3 IDE function and its disks by the registers (hw/ide/channel.c, drive.c,
 * ide-hd.c, trim.c, identify.c, piix.c), and their places on the cable (cable.c):
 * the firmware's boot order (system/bootorder.c); the order of writes that are forgotten, held back or slow
 * (backends/block/port.c, errors.c);
 * ATA/ATAPI-6 chapters 7 to 9, 290550 2.7. Threads: the test's main thread.
 */
#include "pctest.h"
#include "rhea/backends/drive.h"
#include "rhea/block/driver.h"
#include "rhea/hw/ide.h"
#include "rhea/schema/type.h"
#include "rhea/util/co.h"

#include <errno.h>
#include <string.h>

enum { CMD = 0x1f0, CTL = 0x3f6, BM = 0xc000, PRD = 0x1000, BUF = 0x2000, RDY = 0x50, DRQ = 0x58 };

typedef struct Fixture {
    PcTest *t;
    Device *ide, *disk;
} Fixture;

static void setup(Fixture *f, gconstpointer data)
{
    f->t = pctest_new(16 << 20, NULL);
    Machine *m = f->t->m;
    g_autoptr(Json) o = json_put(json_put(json_put(json_new_object(), "driver", json_new_string("null-co")),
                                          "node-name", json_new_string("n")),
                                 "size", json_new_int(INT64_C(1) << 38));
    blockdev_add_json(m, o, false, &error_abort_slot);
    f->ide = device_create(m, &piix3_ide_type, m->unattached, NULL, f->t->pci->bus, &error_abort_slot, "addr",
                           "1.1", NULL);
    f->disk = device_create(m, &ide_hd_type, m->peripheral, "d", f->ide->buses->pdata[0], &error_abort_slot,
                            "drive", "n", "serial", "S123", "physical_block_size", "4096", NULL);
    machine_reset(m, RESET_COLD);
    pci_config_write(f->t->pci, 0x09, 0x20, BM, 4);
    pci_config_write(f->t->pci, 0x09, 0x04, 5, 2);
    g_assert_cmphex(pctest_in(f->t, CMD + 7, 1), ==, 0x50);
    pci_config_write(f->t->pci, 0x09, 0x40, 0, 4);
    g_assert_cmphex(pctest_in(f->t, CMD + 7, 1), ==, 0xff); /* not decoded */
    pci_config_write(f->t->pci, 0x09, 0x40, 0x80008000, 4);
}

static void teardown(Fixture *f, gconstpointer data)
{
    drive_remove_all(f->t->m);
    pctest_free(f->t);
}

static void command(Fixture *f, uint64_t lba, unsigned count, uint8_t cmd, bool ext)
{
    pctest_out(f->t, CMD + 6, 0x40 | (ext ? 0 : (unsigned)(lba >> 24) & 15), 1);
    for (int high = ext; high >= 0; high--) {
        pctest_out(f->t, CMD + 2, count >> (8 * high) & 0xff, 1);
        for (unsigned i = 0; i < 3; i++) {
            pctest_out(f->t, CMD + 3 + i, (uint32_t)(lba >> (8 * i + 24 * high)) & 0xff, 1);
        }
    }
    pctest_out(f->t, CMD + 7, cmd, 1);
}

static bool irq(Fixture *f)
{
    return device_irq(f->ide, 0)->level;
}

/* The fixture's disk has unit 0 of the primary channel. */
static void test_cable(Fixture *f, gconstpointer data)
{
    static const struct { const char *unit, *says, *hint; } wrong[] = {
        { "0", "unit 0 of bus 'ide.0' is in use by 'd'", "give another unit= or bus=" },
        { "2", "unit 2 does not exist: bus 'ide.0' has two places", "unit=0 is the first" },
    };
    Machine *m = f->t->m;
    Bus *bus = f->ide->buses->pdata[0];
    g_autoptr(Json) o = json_put(json_put(json_put(json_new_object(), "driver", json_new_string("null-co")),
                                          "node-name", json_new_string("n2")),
                                 "size", json_new_int(1 << 20));
    blockdev_add_json(m, o, false, &error_abort_slot);
    for (unsigned i = 0; i < G_N_ELEMENTS(wrong); i++) {
        g_autoptr(Error) err = NULL;
        g_assert_null(device_create(m, &ide_hd_type, m->peripheral, "e", bus, &err, "drive", "n2", "unit",
                                    wrong[i].unit, NULL));
        g_assert_nonnull(strstr(error_text(err), wrong[i].says));
        g_assert_cmpstr(error_hint_text(err), ==, wrong[i].hint);
    }
    /* With no unit given it gets the free place, and answers there. */
    device_create(m, &ide_hd_type, m->peripheral, "e", bus, &error_abort_slot, "drive", "n2", NULL);
    pctest_out(f->t, CMD + 6, 0x10, 1);
    g_assert_cmphex(pctest_in(f->t, CMD + 7, 1) & 0x40, ==, 0x40);
    g_autoptr(Error) err = NULL; /* both places are taken */
    g_assert_null(device_create(m, &ide_hd_type, m->peripheral, "g", bus, &err, "drive", "n2", NULL));
    g_assert_nonnull(strstr(error_text(err), "unit 1 of bus 'ide.0' is in use by 'e'"));
}

/* What a disk or CD drive on the second channel answers the command with. */
static void identify_other(Fixture *f, uint8_t cmd, uint16_t words[256])
{
    enum { SECOND = 0x170 };
    pci_config_write(f->t->pci, 0x09, 0x40, 0x80008000, 4);
    pctest_out(f->t, SECOND + 6, 0, 1);
    pctest_out(f->t, SECOND + 7, cmd, 1);
    g_assert_cmphex(pctest_in(f->t, SECOND + 7, 1) & 9, ==, 8);
    for (unsigned i = 0; i < 256; i++) {
        words[i] = (uint16_t)pctest_in(f->t, SECOND, 2);
    }
}

/* Properties that IDENTIFY tells of: word and value. What is refused: tests/func/devprops.py. */
static void test_properties(Fixture *f, gconstpointer data)
{
    static const struct {
        const char *prop, *val;
        unsigned word, mask, want;
    } disk[] = {
        { "rotation_rate", "7200", 217, 0xffff, 7200 },
        { "rotation_rate", "0", 217, 0xffff, 0 },
        { "wwn", "0x5000c50015ea71ac", 108, 0xffff, 0x5000 },
        { "wwn", "0x5000c50015ea71ac", 111, 0xffff, 0x71ac },
        { "wwn", "1", 87, 0x100, 0x100 },
        { "wwn", "0", 87, 0x100, 0 },
        { "wwn", "1", 84, 0x100, 0x100 },
        { "write-cache", "off", 85, 0x20, 0 },
        { "write-cache", "auto", 85, 0x20, 0x20 },
        { "discard_granularity", "0", 169, 1, 0 },
        { "discard_granularity", "512", 169, 1, 1 },
        { "physical_block_size", "2M", 106, 0x200f, 0x200c },
        { "ver", "9.9", 23, 0xffff, 0x392e },
    };
    Machine *m = f->t->m;
    Bus *bus = f->ide->buses->pdata[1];
    g_autoptr(Json) o = json_put(json_put(json_put(json_new_object(), "driver", json_new_string("null-co")),
                                          "node-name", json_new_string("n2")),
                                 "size", json_new_int(1 << 20));
    blockdev_add_json(m, o, false, &error_abort_slot);
    uint16_t w[256];
    for (unsigned i = 0; i < G_N_ELEMENTS(disk); i++) {
        Device *d = device_create(m, &ide_hd_type, m->peripheral, "e", bus, &error_abort_slot, "drive", "n2",
                                  disk[i].prop, disk[i].val, NULL);
        machine_reset(m, RESET_COLD);
        identify_other(f, 0xec, w);
        g_assert_cmphex(w[disk[i].word] & disk[i].mask, ==, disk[i].want);
        device_remove(d);
    }
    Device *d = device_create(m, &ide_hd_type, m->peripheral, "e", bus, &error_abort_slot, "drive", "n2",
                              "cyls", "5", "heads", "4", "secs", "3", "share-rw", "on", NULL);
    machine_reset(m, RESET_COLD);
    identify_other(f, 0xec, w);
    static const struct {
        unsigned word, want;
    } chs[] = { { 1, 5 }, { 3, 4 }, { 6, 3 }, { 54, 5 }, { 55, 4 }, { 56, 3 }, { 57, 60 }, { 58, 0 } };
    for (unsigned i = 0; i < G_N_ELEMENTS(chs); i++) {
        g_assert_cmpuint(w[chs[i].word], ==, chs[i].want);
    }
    device_remove(d);
    d = device_create(m, &ide_cd_type, m->peripheral, "cd", bus, &error_abort_slot, "wwn",
                      "0x5000c50015ea71ac", "write-cache", "on", NULL);
    machine_reset(m, RESET_COLD);
    identify_other(f, 0xa1, w);
    g_assert_cmphex(w[108], ==, 0x5000);
    g_assert_cmphex(w[87] & 0x100, ==, 0x100);
    device_remove(d);
}

/* Firmware's order: by bootindex, with the paths that SeaBIOS looks for. */
static void test_bootindex(Fixture *f, gconstpointer data)
{
    Machine *m = f->t->m;
    g_autoptr(GString) none = g_string_new(NULL), text = g_string_new(NULL), less = g_string_new(NULL);
    machine_boot_paths(m, none);
    g_assert_cmpstr(none->str, ==, "");
    Device *cd = device_create(m, &ide_cd_type, m->peripheral, "cd", f->ide->buses->pdata[1],
                               &error_abort_slot, "bootindex", "7", "unit", "1", NULL);
    device_create(m, &ide_cd_type, m->peripheral, "first", f->ide->buses->pdata[1], &error_abort_slot,
                  "bootindex", "0", NULL);
    g_autoptr(Error) err = NULL;
    g_assert_null(device_create(m, &ide_cd_type, m->peripheral, "twin", f->ide->buses->pdata[0], &err,
                                "bootindex", "7", NULL));
    g_assert_nonnull(strstr(error_text(err), "bootindex=7 is that of 'cd' already"));
    machine_boot_paths(m, text);
    g_assert_cmpstr(text->str, ==, "/pci@i0cf8/ide@1,1/drive@1/disk@0\n/pci@i0cf8/ide@1,1/drive@1/disk@1\n");
    device_remove(cd);
    machine_boot_paths(m, less);
    g_assert_cmpstr(less->str, ==, "/pci@i0cf8/ide@1,1/drive@1/disk@0\n");
}

static void test_identify(Fixture *f, gconstpointer data)
{
    uint16_t w[256];
    g_assert_cmphex(pctest_in(f->t, CMD + 7, 1), ==, RDY);
    g_assert_cmphex(pctest_in(f->t, CMD + 1, 1), ==, 1);
    command(f, 0, 0, 0xec, false);
    g_assert_true(irq(f));
    g_assert_cmphex(pctest_in(f->t, CTL, 1), ==, DRQ);
    g_assert_true(irq(f)); /* the alternate status acknowledges nothing */
    g_assert_cmphex(pctest_in(f->t, CMD + 7, 1), ==, DRQ);
    g_assert_false(irq(f));
    for (unsigned i = 0; i < 256; i++) {
        w[i] = (uint16_t)pctest_in(f->t, CMD, 2);
    }
    g_assert_cmphex(pctest_in(f->t, CMD + 7, 1), ==, RDY);
    g_assert_cmphex(w[10], ==, 'S' << 8 | '1');
    g_assert_cmphex(w[106], ==, 0x6003);
    g_assert_cmphex(w[105], ==, 8);
    g_assert_cmphex(w[169], ==, 1);
    g_assert_cmphex(w[80] & 0x80, ==, 0x80);
    g_assert_cmphex(w[60] | (uint32_t)w[61] << 16, ==, 0x0fffffff);
    g_assert_cmphex(w[100] | (uint64_t)w[101] << 16 | (uint64_t)w[102] << 32, ==, UINT64_C(1) << 29);
    command(f, 0, 0, 0xa1, false); /* IDENTIFY PACKET DEVICE */
    g_assert_cmphex(pctest_in(f->t, CMD + 7, 1), ==, RDY | 1);
    g_assert_cmphex(pctest_in(f->t, CMD + 1, 1), ==, 4);
}

static void test_pio(Fixture *f, gconstpointer data)
{
    command(f, (UINT64_C(1) << 29) - 2, 2, 0x24, true);
    g_assert_cmphex(pctest_in(f->t, CMD + 7, 1) & 0x80, ==, 0x80); /* the medium is asked: nobody waits */
    for (unsigned s = 0; s < 2; s++) {
        pctest_settle(f->t);
        g_assert_true(irq(f));
        g_assert_cmphex(pctest_in(f->t, CMD + 7, 1), ==, DRQ);
        for (unsigned i = 0; i < 128; i++) {
            g_assert_cmphex(pctest_in(f->t, CMD, 4), ==, 0);
        }
    }
    g_assert_cmphex(pctest_in(f->t, CMD + 7, 1), ==, RDY);
    command(f, (UINT64_C(1) << 29) - 1, 2, 0x24, true); /* beyond the end */
    g_assert_cmphex(pctest_in(f->t, CMD + 7, 1), ==, RDY | 1);
    g_assert_cmphex(pctest_in(f->t, CMD + 1, 1), ==, 0x10);
    command(f, 5, 2, 0xc5, false); /* WRITE MULTIPLE: one block of two sectors */
    g_assert_false(irq(f));
    for (unsigned i = 0; i < 512; i++) {
        pctest_out(f->t, CMD, i, 2);
    }
    pctest_settle(f->t);
    g_assert_cmphex(pctest_in(f->t, CMD + 7, 1), ==, RDY);
    g_assert_cmphex(pctest_in(f->t, CMD + 3, 1), ==, 6); /* the last one written */
}

static void test_dma(Fixture *f, gconstpointer data)
{
    pctest_write(f->t, BUF + 1020, 0x11111111, 4);
    pctest_write(f->t, BUF + 1024, 0x22222222, 4);
    pctest_prd(f->t, PRD, 0, BUF, 512);
    pctest_prd(f->t, PRD, 1, BUF + 512, 0x80000000 | 512);
    pctest_out(f->t, BM + 4, PRD, 4);
    command(f, 7, 2, 0xc8, false);
    pctest_out(f->t, BM, 9, 1);
    g_assert_cmphex(pctest_in(f->t, BM + 2, 1), ==, 1);
    pctest_settle(f->t);
    g_assert_true(irq(f));
    g_assert_cmphex(pctest_in(f->t, BM + 2, 1), ==, 4);
    g_assert_cmphex(pctest_in(f->t, CMD + 7, 1), ==, RDY);
    g_assert_cmphex(pctest_read(f->t, BUF + 1020, 4), ==, 0);
    g_assert_cmphex(pctest_read(f->t, BUF + 1024, 4), ==, 0x22222222);
    pctest_out(f->t, BM + 2, 4, 1);
    pctest_out(f->t, BM, 0, 1);
    /* A table that is too short: the master stops without an interrupt, a soft reset frees the disk. */
    pctest_prd(f->t, PRD, 0, BUF, 0x80000000 | 512);
    pctest_out(f->t, BM, 8, 1);
    command(f, 7, 2, 0xc8, false);
    pctest_out(f->t, BM, 9, 1);
    pctest_settle(f->t);
    g_assert_cmphex(pctest_in(f->t, BM + 2, 1), ==, 0);
    g_assert_false(irq(f));
    pctest_out(f->t, CTL, 4, 1);
    g_assert_cmphex(pctest_in(f->t, CTL, 1), ==, 0x80);
    pctest_out(f->t, CTL, 0, 1);
    g_assert_cmphex(pctest_in(f->t, CMD + 7, 1), ==, RDY);
}

/* A write in flight at a reset is forgotten, and what follows comes after it. */
static void test_reset(Fixture *f, gconstpointer data)
{
    command(f, 5, 1, 0x30, false);
    for (unsigned i = 0; i < 128; i++) {
        pctest_out(f->t, CMD, i, 4);
    }
    g_assert_cmphex(pctest_in(f->t, CTL, 1) & 0x80, ==, 0x80);
    pctest_out(f->t, CTL, 4, 1);
    pctest_out(f->t, CTL, 0, 1);
    command(f, 0, 0, 0xe7, false);
    pctest_settle(f->t);
    g_assert_cmphex(pctest_in(f->t, CMD + 7, 1), ==, RDY);
    pctest_out(f->t, CMD + 6, 0x50, 1); /* nobody is the slave */
    g_assert_cmphex(pctest_in(f->t, CMD + 7, 1), ==, 0);
}

/* ---- writes that a reset forgets ---- */

/* The medium: it fails so many writes, or keeps one until it is let go, and lists those that reached it. */
static struct {
    unsigned fails;
    bool slow;
    Co *kept;
    GString *list; /* a letter each, small: it failed */
} medium;

static int medium_pwritev(BlockNode *n, int64_t off, IoVec *v, unsigned flags)
{
    uint8_t c;
    iov_to_buf(v, 0, &c, 1);
    g_assert_cmpint(off, ==, 5 * 512);
    if (medium.fails) {
        medium.fails--;
        g_string_append_c(medium.list, g_ascii_tolower((char)c));
        return -ENOSPC;
    }
    if (medium.slow) {
        medium.slow = false;
        medium.kept = co_self();
        co_yield();
        medium.kept = NULL;
    }
    g_string_append_c(medium.list, (char)c);
    return 0;
}

static void medium_begin(Fixture *f, unsigned fails, bool slow)
{
    static BlockDriver driver;
    BlockNode *n = block_find(machine_block_graph(f->t->m), "n");
    driver = *n->driver;
    driver.pwritev = medium_pwritev;
    n->driver = &driver;
    medium.fails = fails;
    medium.slow = slow;
    medium.kept = NULL;
    medium.list = g_string_new(NULL);
    machine_start(f->t->m);
}

static void medium_end(const char *list)
{
    g_assert_cmpstr(medium.list->str, ==, list);
    g_string_free(medium.list, TRUE);
}

static void some_turns(Fixture *f)
{
    for (unsigned i = 0; i < 100 && loop_turn(f->t->loop, false); i++) {
    }
}

static void write_sector(Fixture *f, char c)
{
    command(f, 5, 1, 0x30, false);
    for (unsigned i = 0; i < 256; i++) {
        pctest_out(f->t, CMD, (uint8_t)c * 0x101u, 2);
    }
}

static void soft_reset(Fixture *f)
{
    pctest_out(f->t, CTL, 4, 1);
    pctest_out(f->t, CTL, 0, 1);
}

/* A write fails and stops the machine; before it stands, the guest forgets the write and makes another one of
 * the same sector. When the machine goes on, also after it failed again, the newer one is what stays. */
static void test_forgotten_failed(Fixture *f, gconstpointer data)
{
    for (unsigned fails = 1; fails <= 3; fails++) {
        static const char *const want[] = { "aAB", "aaAB", "aaaAB" };
        medium_begin(f, fails, false);
        write_sector(f, 'A');
        g_assert_cmphex(pctest_in(f->t, CTL, 1) & 0x80, ==, 0x80);
        while (medium.list->len == 0) {
            loop_turn(f->t->loop, false);
        }
        soft_reset(f);
        write_sector(f, 'B');
        for (unsigned i = 0; i < fails; i++) {
            some_turns(f);
            g_assert_cmpint(f->t->m->state, ==, RUN_IO_ERROR);
            g_assert_cmpuint(medium.list->len, ==, i + 1);
            machine_start(f->t->m);
        }
        some_turns(f);
        g_assert_cmphex(pctest_in(f->t, CMD + 7, 1), ==, RDY);
        machine_stop(f->t->m, RUN_PAUSED);
        medium_end(want[fails - 1]);
    }
}

/* It is under way, and nothing overtakes it. A stop waits for both. */
static void test_forgotten_slow(Fixture *f, gconstpointer data)
{
    medium_begin(f, 0, true);
    write_sector(f, 'A');
    some_turns(f);
    g_assert_nonnull(medium.kept);
    soft_reset(f);
    write_sector(f, 'B');
    some_turns(f);
    g_assert_cmpstr(medium.list->str, ==, "");
    g_assert_cmphex(pctest_in(f->t, CTL, 1) & 0x80, ==, 0x80);
    co_wake(medium.kept);
    machine_stop(f->t->m, RUN_PAUSED);
    g_assert_cmpstr(medium.list->str, ==, "AB");
    g_assert_cmphex(pctest_in(f->t, CMD + 7, 1), ==, RDY);
    machine_start(f->t->m);
    write_sector(f, 'C');
    pctest_settle(f->t);
    machine_stop(f->t->m, RUN_PAUSED);
    medium_end("ABC");
}

/* The machine is reset while the forgotten write waits for it to go on: neither that one nor the one that had
 * to wait for it gets to the medium, and the drive works. */
static void test_forgotten_cancelled(Fixture *f, gconstpointer data)
{
    medium_begin(f, 1, false);
    write_sector(f, 'A');
    while (medium.list->len == 0) {
        loop_turn(f->t->loop, false);
    }
    soft_reset(f);
    write_sector(f, 'B');
    some_turns(f);
    g_assert_cmpint(f->t->m->state, ==, RUN_IO_ERROR);
    machine_reset(f->t->m, RESET_COLD);
    some_turns(f);
    g_assert_cmpstr(medium.list->str, ==, "a");
    machine_start(f->t->m);
    pci_config_write(f->t->pci, 0x09, 0x04, 5, 2);
    write_sector(f, 'C');
    pctest_settle(f->t);
    g_assert_cmphex(pctest_in(f->t, CMD + 7, 1), ==, RDY);
    machine_stop(f->t->m, RUN_PAUSED);
    medium_end("aC");
}

static unsigned in_flight(Fixture *f)
{
    return drive_port_find(f->t->m, "d", &error_abort_slot)->in_flight;
}

/* However often the guest stops the bus master or resets the drive, one request is in flight: the first that
 * was forgotten. When it ends, the command that the drive has by then is carried out, and no other. */
static void test_forgotten_bounded(Fixture *f, gconstpointer data)
{
    for (unsigned dma = 0; dma < 2; dma++) {
        medium_begin(f, 0, true);
        write_sector(f, 'A');
        some_turns(f);
        g_assert_nonnull(medium.kept);
        soft_reset(f);
        pctest_prd(f->t, PRD, 0, BUF, 0x80000000 | 512);
        pctest_out(f->t, BM + 4, PRD, 4);
        pctest_out(f->t, BM + 2, 6, 1);
        if (dma) {
            command(f, 5, 1, 0xca, false);
        }
        for (unsigned i = 0; i < 1000; i++) {
            if (dma) {
                pctest_out(f->t, BM, 1, 1);
                pctest_out(f->t, BM, 0, 1);
            } else {
                write_sector(f, 'B');
                soft_reset(f);
            }
            g_assert_cmpuint(in_flight(f), ==, 1);
        }
        pctest_write(f->t, BUF, 'C', 1);
        if (dma) {
            pctest_out(f->t, BM, 1, 1);
        } else {
            write_sector(f, 'C');
        }
        some_turns(f);
        g_assert_cmpstr(medium.list->str, ==, "");
        co_wake(medium.kept);
        pctest_settle(f->t);
        g_assert_true(irq(f));
        g_assert_cmphex(pctest_in(f->t, CMD + 7, 1), ==, RDY);
        g_assert_cmpuint(in_flight(f), ==, 0);
        pctest_out(f->t, BM, 0, 1);
        machine_stop(f->t->m, RUN_PAUSED);
        medium_end("AC");
    }
}

/* The drive goes while its command waits for a forgotten one: that is not begun. */
static void test_forgotten_removed(Fixture *f, gconstpointer data)
{
    medium_begin(f, 0, true);
    write_sector(f, 'A');
    some_turns(f);
    soft_reset(f);
    write_sector(f, 'B');
    co_wake(medium.kept);
    device_remove(f->disk);
    machine_stop(f->t->m, RUN_PAUSED);
    medium_end("A");
}

/* ---- TRIM ---- */

static GString *discards;

static int medium_discard(BlockNode *n, int64_t off, int64_t bytes)
{
    g_string_append_printf(discards, "%" G_GINT64_FORMAT "+%" G_GINT64_FORMAT " ", off / 512, bytes / 512);
    return 0;
}

static void trim_entry(Fixture *f, unsigned i, uint64_t lba, uint64_t sectors)
{
    pctest_write(f->t, BUF + 8 * i, sectors << 48 | lba, 8);
}

/* DATA SET MANAGEMENT of `blocks`, from a table that has one. */
static void trim(Fixture *f, unsigned feature, unsigned blocks)
{
    pctest_out(f->t, BM, 0, 1);
    pctest_out(f->t, BM + 2, 6, 1);
    pctest_prd(f->t, PRD, 0, BUF, 0x80000000 | 512);
    pctest_out(f->t, BM + 4, PRD, 4);
    pctest_out(f->t, CMD + 1, feature, 1);
    command(f, 0, blocks, 0x06, true);
    pctest_out(f->t, BM, 1, 1);
}

/* Neighbours are one request, entries of no sectors none; one beyond the end has all of them refused. */
static void test_trim(Fixture *f, gconstpointer data)
{
    static BlockDriver driver;
    BlockNode *n = block_find(machine_block_graph(f->t->m), "n");
    driver = *n->driver;
    driver.discard = medium_discard;
    n->driver = &driver;
    discards = g_string_new(NULL);
    uint64_t end = UINT64_C(1) << 29;
    for (unsigned i = 0; i < 64; i++) {
        trim_entry(f, i, i, 0);
    }
    trim(f, 1, 1);
    g_assert_cmphex(pctest_in(f->t, CMD + 7, 1), ==, RDY); /* nothing to do */
    trim_entry(f, 1, 100, 8);
    trim_entry(f, 3, 108, 65535);
    trim_entry(f, 4, 65644, 1); /* one sector further on */
    trim_entry(f, 63, end - 2, 2);
    trim(f, 1, 1);
    g_assert_cmphex(pctest_in(f->t, CTL, 1) & 0x80, ==, 0x80);
    GByteArray *state = g_byte_array_new();
    device_tree_save(f->disk, state);
    pctest_settle(f->t);
    g_assert_true(irq(f));
    g_assert_cmphex(pctest_in(f->t, BM + 2, 1) & 5, ==, 4);
    g_assert_cmphex(pctest_in(f->t, CMD + 7, 1), ==, RDY);
    g_assert_cmpstr(discards->str, ==, "100+65543 65644+1 536870910+2 ");
    const uint8_t *p = state->data; /* once more, from the middle */
    g_assert_true(device_tree_load(f->disk, &p, state->data + state->len, &error_abort_slot));
    pctest_settle(f->t);
    g_assert_cmphex(pctest_in(f->t, CMD + 7, 1), ==, RDY);
    g_assert_cmpstr(discards->str, ==, "100+65543 65644+1 536870910+2 100+65543 65644+1 536870910+2 ");
    g_byte_array_free(state, TRUE);
    g_string_truncate(discards, 0);
    trim_entry(f, 63, end - 2, 3);
    static const struct {
        unsigned feature, blocks;
    } wrong[] = { { 1, 1 }, { 0, 1 }, { 2, 1 }, { 1, 0 }, { 1, 9 } };
    for (unsigned i = 0; i < G_N_ELEMENTS(wrong); i++) {
        trim(f, wrong[i].feature, wrong[i].blocks);
        pctest_settle(f->t);
        g_assert_cmphex(pctest_in(f->t, CMD + 7, 1), ==, RDY | 1);
        g_assert_cmphex(pctest_in(f->t, CMD + 1, 1), ==, 4);
    }
    trim_entry(f, 63, 0, 0);
    trim(f, 1, 2); /* the table has less than the command: it waits until a reset */
    pctest_settle(f->t);
    g_assert_false(irq(f));
    soft_reset(f);
    g_assert_cmphex(pctest_in(f->t, CMD + 7, 1), ==, RDY);
    g_assert_cmpstr(discards->str, ==, "");
    g_string_free(discards, TRUE);
}

/* A drive saved while it waits for the medium asks again when loaded. */
static void test_state(Fixture *f, gconstpointer data)
{
    command(f, 5, 1, 0x20, false);
    GByteArray *state = g_byte_array_new();
    device_tree_save(f->disk, state);
    pctest_settle(f->t);
    pctest_in(f->t, CMD + 7, 1);
    pctest_out(f->t, CTL, 4, 1);
    pctest_out(f->t, CTL, 0, 1);
    const uint8_t *p = state->data;
    g_assert_true(device_tree_load(f->disk, &p, state->data + state->len, &error_abort_slot));
    pctest_settle(f->t);
    g_assert_cmphex(pctest_in(f->t, CMD + 7, 1), ==, DRQ);
    Error *err = NULL;
    g_byte_array_free(state, TRUE);
    g_assert_null(device_create(f->t->m, &ide_hd_type, f->t->m->peripheral, NULL, f->ide->buses->pdata[0],
                                &err, "drive", "n", "unit", "0", NULL));
    g_assert_nonnull(strstr(error_text(err), "in use by 'd'"));
    error_free(err);
}

/* Random accesses to every register, as a hostile guest makes them, with saves and loads in between. */
static void test_storm(Fixture *f, gconstpointer data)
{
    static const uint8_t commands[] = { 0x20, 0x24, 0x29, 0x30, 0x34, 0xc4, 0xc5, 0xc8, 0x25, 0xca,
                                        0x35, 0xe7, 0xec, 0xef, 0xc6, 0x91, 0xf8, 0x27, 0x90, 0x40, 0x06 };
    for (unsigned i = 0; i < 8; i++) {
        pctest_prd(f->t, PRD, i, BUF + 512 * i, 512 | (i == 7 ? 0x80000000 : 0));
    }
    pctest_out(f->t, BM + 4, PRD, 4);
    for (unsigned i = 0; i < 60000; i++) {
        uint32_t r = (uint32_t)g_test_rand_int();
        unsigned size = 1u << (r >> 4 & 3) % 3, what = r & 15, v = (uint32_t)g_test_rand_int();
        if (what < 3) {
            pctest_in(f->t, CMD + (r >> 8 & 7), size);
        } else if (what < 6) {
            pctest_in(f->t, CMD, 4);
            pctest_out(f->t, CMD, v, 4);
        } else if (what < 8) {
            pctest_out(f->t, CMD + 1 + (r >> 8) % 6, v >> 8 & 1 ? v & 3 : v & 0xff, 1);
        } else if (what < 10) {
            pctest_out(f->t, CMD + 7, v & 0x100 ? v & 0xff : commands[v % sizeof(commands)], 1);
        } else if (what < 12) {
            pctest_out(f->t, BM + (r >> 8 & 3), v, 1);
        } else if (what == 12 && !(v & 7)) {
            pctest_out(f->t, CTL, v >> 8 & 0x86, 1);
        } else if (what == 13 && !(v & 31)) {
            GByteArray *state = g_byte_array_new();
            device_tree_save(f->disk, state);
            const uint8_t *p = state->data;
            g_assert_true(device_tree_load(f->disk, &p, state->data + state->len, &error_abort_slot));
            g_byte_array_free(state, TRUE);
        } else {
            loop_turn(f->t->loop, false);
        }
    }
    pctest_settle(f->t);
}

int main(int argc, char **argv)
{
    static const struct {
        const char *name;
        void (*fn)(Fixture *f, gconstpointer data);
    } tests[] = {
        { "cable", test_cable },
        { "bootindex", test_bootindex },
        { "identify", test_identify },
        { "properties", test_properties },
        { "pio", test_pio },
        { "dma", test_dma },
        { "reset", test_reset },
        { "state", test_state },
        { "storm", test_storm },
        { "forgotten-failed", test_forgotten_failed },
        { "forgotten-slow", test_forgotten_slow },
        { "forgotten-cancelled", test_forgotten_cancelled },
        { "forgotten-bounded", test_forgotten_bounded },
        { "forgotten-removed", test_forgotten_removed },
        { "trim", test_trim },
    };
    g_test_init(&argc, &argv, NULL);
    role_become_main();
    drive_register();
    for (size_t i = 0; i < G_N_ELEMENTS(tests); i++) {
        g_autofree char *path = g_strdup_printf("/ide/%s", tests[i].name);
        g_test_add(path, Fixture, NULL, setup, tests[i].fn, teardown);
    }
    return g_test_run();
}
