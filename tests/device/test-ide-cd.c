/* SPDX-License-Identifier: MIT
 * tests/device/test-ide-cd.c - the ATAPI CD drive by the registers (hw/ide/ide-cd.c, atapi.c, atapi-info.c,
 * cdsector.c, channel.c, drive.c) and its medium and tray from outside (backends/block/media.c):
 * ATA/ATAPI-6 8.25, 9.8, 9.12; MMC-3 chapter 6; ECMA-130 annex A. Threads: the test's main thread.
 */
#include "pctest.h"
#include "rhea/backends/drive.h"
#include "rhea/hw/ide.h"
#include "rhea/schema/type.h"

#include <glib/gstdio.h>
#include <string.h>
#include <unistd.h>

enum {
    CMD = 0x170,
    CTL = 0x376,
    BM = 0xc008,
    PRD = 0x1000,
    BUF = 0x2000,
    RDY = 0x40,
    DRQ = 0x48,
    BLOCKS = 100
};

typedef struct Fixture {
    PcTest *t;
    Device *ide, *cd;
    char *image[2];
    MachineListener listener;
    char *event;
} Fixture;

static void on_event(void *opaque, const char *name, const Json *data)
{
    Fixture *f = opaque;
    g_autofree char *text = json_format(data, false);
    g_free(f->event);
    f->event = g_strdup_printf("%s %s", name, text);
}

/* Block i of disc d is 2048 bytes of value i + d. */
static char *make_image(unsigned d, unsigned blocks)
{
    char *path = NULL;
    int fd = g_file_open_tmp("rhea-cd-XXXXXX", &path, NULL);
    uint8_t b[2048];
    for (unsigned i = 0; i < blocks; i++) {
        memset(b, (int)(i + d), sizeof(b));
        g_assert_cmpint(write(fd, b, sizeof(b)), ==, sizeof(b));
    }
    close(fd);
    return path;
}

static void setup(Fixture *f, gconstpointer data)
{
    bool empty = data != NULL;
    f->t = pctest_new(16 << 20, NULL);
    Machine *m = f->t->m;
    f->image[0] = make_image(0, BLOCKS);
    f->image[1] = make_image(1, BLOCKS / 2);
    f->event = NULL;
    f->listener = (MachineListener){ .event = on_event, .opaque = f };
    machine_add_listener(m, &f->listener);
    g_autoptr(Json) o = json_put(json_put(json_new_object(), "id", json_new_string("cd0")), "media",
                                 json_new_string("cdrom"));
    json_put(o, "if", json_new_string("none"));
    if (!empty) {
        json_put(o, "file", json_new_string(f->image[0]));
        json_put(o, "format", json_new_string("raw"));
    }
    g_assert_nonnull(drive_add_json(m, o, true, false, &error_abort_slot));
    f->ide = device_create(m, &piix3_ide_type, m->unattached, NULL, f->t->pci->bus, &error_abort_slot, "addr",
                           "1.1", NULL);
    f->cd = device_create(m, &ide_cd_type, m->peripheral, "d", f->ide->buses->pdata[1], &error_abort_slot,
                          "drive", "cd0", "serial", "S123", NULL);
    machine_reset(m, RESET_COLD);
    pci_config_write(f->t->pci, 0x09, 0x20, BM & ~15u, 4);
    pci_config_write(f->t->pci, 0x09, 0x04, 5, 2);
    pci_config_write(f->t->pci, 0x09, 0x40, 0x80008000, 4);
}

static void teardown(Fixture *f, gconstpointer data)
{
    drive_remove_all(f->t->m);
    machine_remove_listener(f->t->m, &f->listener);
    pctest_free(f->t);
    for (unsigned i = 0; i < 2; i++) {
        g_unlink(f->image[i]);
        g_free(f->image[i]);
    }
    g_free(f->event);
}

static bool irq(Fixture *f)
{
    return device_irq(f->ide, 1)->level;
}

/* Sends a packet; status after it. */
static uint8_t packet(Fixture *f, const uint8_t *p, unsigned limit, bool dma)
{
    pctest_out(f->t, CMD + 6, 0xa0, 1);
    pctest_out(f->t, CMD + 1, dma, 1);
    pctest_out(f->t, CMD + 4, limit & 0xff, 1);
    pctest_out(f->t, CMD + 5, limit >> 8, 1);
    pctest_out(f->t, CMD + 7, 0xa0, 1);
    g_assert_cmphex(pctest_in(f->t, CMD + 7, 1), ==, DRQ);
    g_assert_cmphex(pctest_in(f->t, CMD + 2, 1), ==, 1);
    g_assert_false(irq(f));
    for (unsigned i = 0; i < 12; i += 2) {
        pctest_out(f->t, CMD, p[i] | (uint32_t)p[i + 1] << 8, 2);
    }
    pctest_settle(f->t);
    return (uint8_t)pctest_in(f->t, CTL, 1);
}

/* A packet and all its data, by PIO; returns the length. The largest block is left in *most. */
static unsigned transfer(Fixture *f, const uint8_t *p, unsigned limit, uint8_t *data, unsigned *most)
{
    unsigned total = 0;
    uint8_t st = packet(f, p, limit, false);
    *most = 0;
    while (st & 8) {
        g_assert_true(irq(f));
        g_assert_cmphex(pctest_in(f->t, CMD + 7, 1), ==, DRQ);
        g_assert_cmphex(pctest_in(f->t, CMD + 2, 1), ==, 2);
        unsigned n = pctest_in(f->t, CMD + 4, 1) | pctest_in(f->t, CMD + 5, 1) << 8;
        *most = MAX(*most, n);
        g_assert_cmpuint(n, >, 0);
        g_assert_cmpuint(n, <=, limit);
        for (unsigned i = 0; i < n; i += 2) {
            uint32_t v = pctest_in(f->t, CMD, 2);
            data[total + i] = (uint8_t)v;
            if (i + 1 < n) {
                data[total + i + 1] = (uint8_t)(v >> 8);
            }
        }
        total += n;
        pctest_settle(f->t);
        st = (uint8_t)pctest_in(f->t, CTL, 1);
    }
    g_assert_true(irq(f));
    g_assert_cmphex(pctest_in(f->t, CMD + 2, 1), ==, 3);
    pctest_in(f->t, CMD + 7, 1);
    return total;
}

static unsigned ask(Fixture *f, const uint8_t *p, uint8_t *data)
{
    unsigned most;
    return transfer(f, p, 0xfffe, data, &most);
}

/* key << 16 | asc << 8 | ascq */
static uint32_t sense(Fixture *f)
{
    static const uint8_t p[12] = { 0x03, 0, 0, 0, 18 };
    uint8_t b[18];
    g_assert_cmpuint(ask(f, p, b), ==, 18);
    g_assert_cmphex(b[0], ==, 0x70);
    return (uint32_t)b[2] << 16 | (uint32_t)b[12] << 8 | b[13];
}

/* The command fails with this sense. */
static void refused(Fixture *f, const uint8_t *p, uint32_t why)
{
    g_assert_cmphex(packet(f, p, 0xfffe, false), ==, RDY | 1);
    g_assert_true(irq(f));
    g_assert_cmphex(pctest_in(f->t, CMD + 1, 1) >> 4, ==, why >> 16);
    g_assert_cmphex(sense(f), ==, why);
}

static void simple(Fixture *f, uint8_t op, uint8_t byte4, uint8_t status)
{
    uint8_t p[12] = { op, 0, 0, 0, byte4 };
    g_assert_cmphex(packet(f, p, 0, false), ==, status);
    pctest_in(f->t, CMD + 7, 1);
}

static void attention_off(Fixture *f)
{
    simple(f, 0x00, 0, RDY | 1);
}

static void test_identify(Fixture *f, gconstpointer data)
{
    uint16_t w[256];
    g_assert_cmphex(pctest_in(f->t, CMD + 7, 1), ==, 0);
    g_assert_cmphex(pctest_in(f->t, CMD + 2, 1) | pctest_in(f->t, CMD + 3, 1) << 8 |
                        pctest_in(f->t, CMD + 4, 1) << 16 | pctest_in(f->t, CMD + 5, 1) << 24,
                    ==, 0xeb140101);
    pctest_out(f->t, CMD + 4, 0, 1);
    pctest_out(f->t, CMD + 7, 0xec, 1); /* IDENTIFY DEVICE: refused, with the signature */
    g_assert_cmphex(pctest_in(f->t, CMD + 7, 1), ==, RDY | 1);
    g_assert_cmphex(pctest_in(f->t, CMD + 1, 1), ==, 4);
    g_assert_cmphex(pctest_in(f->t, CMD + 4, 1), ==, 0x14);
    pctest_out(f->t, CMD + 7, 0xa1, 1);
    g_assert_true(irq(f));
    g_assert_cmphex(pctest_in(f->t, CMD + 7, 1), ==, DRQ);
    for (unsigned i = 0; i < 256; i++) {
        w[i] = (uint16_t)pctest_in(f->t, CMD, 2);
    }
    g_assert_cmphex(pctest_in(f->t, CMD + 7, 1), ==, RDY);
    g_assert_cmphex(w[0], ==, 0x85c0);
    g_assert_cmphex(w[10], ==, 'S' << 8 | '1');
    g_assert_cmphex(w[88], ==, 0x0407);
    static const uint8_t inquiry[12] = { 0x12, 0, 0, 0, 255 }, few[12] = { 0x12, 0, 0, 0, 5 };
    uint8_t b[256];
    g_assert_cmpuint(ask(f, inquiry, b), ==, 36); /* runs although the reset has not been told */
    g_assert_cmphex(b[0] | b[1] << 8, ==, 0x8005);
    g_assert_cmpmem(b + 8, 24, "RHEA    DVD-ROM         ", 24);
    g_assert_cmpuint(ask(f, few, b), ==, 5);
    static const uint8_t vpd[12] = { 0x12, 1, 0x80, 0, 255 }, bad[12] = { 0x12, 1, 0x77, 0, 255 };
    g_assert_cmpuint(ask(f, vpd, b), ==, 24);
    g_assert_cmpmem(b + 4, 5, "S123 ", 5);
    refused(f, bad, 0x052400);
    g_assert_cmphex(sense(f), ==, 0x062900); /* power on; REQUEST SENSE tells of it as well */
    simple(f, 0x00, 0, RDY);
    static const uint8_t unknown[12] = { 0x55 };
    refused(f, unknown, 0x052000);
}

static void test_reset(Fixture *f, gconstpointer data)
{
    static const uint8_t read[12] = { 0x28, 0, 0, 0, 0, 0, 0, 0, 4 };
    attention_off(f);
    packet(f, read, 2048, false);
    g_assert_cmphex(pctest_in(f->t, CTL, 1), ==, DRQ);
    pctest_out(f->t, CMD + 7, 0xa1, 1); /* a command while another runs */
    g_assert_cmphex(pctest_in(f->t, CTL, 1), ==, DRQ);
    pctest_out(f->t, CMD + 7, 0x08, 1); /* DEVICE RESET ends it */
    g_assert_cmphex(pctest_in(f->t, CMD + 7, 1), ==, 0);
    g_assert_cmphex(pctest_in(f->t, CMD + 1, 1), ==, 1);
    g_assert_cmphex(pctest_in(f->t, CMD + 5, 1), ==, 0xeb);
    g_assert_false(irq(f));
    simple(f, 0x00, 0, RDY); /* not a reset that is told of */
    simple(f, 0x1e, 1, RDY);
    pctest_out(f->t, CTL, 4, 1);
    g_assert_cmphex(pctest_in(f->t, CTL, 1), ==, 0x80);
    pctest_out(f->t, CTL, 0, 1);
    g_assert_cmphex(pctest_in(f->t, CMD + 4, 1), ==, 0x14);
    simple(f, 0x1b, 2, RDY | 1); /* still locked */
    machine_reset(f->t->m, RESET_COLD);
    pci_config_write(f->t->pci, 0x09, 0x04, 5, 2);
    pci_config_write(f->t->pci, 0x09, 0x40, 0x80008000, 4);
    attention_off(f);
    simple(f, 0x1b, 2, RDY); /* no longer */
}

/* READ by PIO with limits of all kinds; what a limit cannot carry is refused. */
static void test_pio(Fixture *f, gconstpointer data)
{
    static const struct {
        unsigned limit, most;
    } limits[] = {
        { 2048, 2048 }, { 0xfffe, 8192 }, { 0xffff, 8192 }, { 2047, 2046 }, { 3, 2 }, { 4000, 4000 },
    };
    uint8_t p[12] = { 0x28, 0, 0, 0, 0, 90, 0, 0, 10 };
    g_autofree uint8_t *b = g_malloc(64 * 2352);
    unsigned most;
    attention_off(f);
    for (unsigned i = 0; i < G_N_ELEMENTS(limits); i++) {
        memset(b, 0xee, 10 * 2048);
        g_assert_cmpuint(transfer(f, p, limits[i].limit, b, &most), ==, 10 * 2048);
        g_assert_cmpuint(most, ==, limits[i].most);
        for (unsigned k = 0; k < 10 * 2048; k++) {
            g_assert_cmpuint(b[k], ==, 90 + k / 2048);
        }
    }
    g_assert_cmphex(packet(f, p, 0, false), ==, RDY | 1);
    g_assert_cmphex(sense(f), ==, 0x052400);
    g_assert_cmphex(packet(f, p, 1, false), ==, RDY | 1);
    p[8] = 11;
    refused(f, p, 0x052100); /* beyond the end */
    p[8] = 0;
    g_assert_cmphex(packet(f, p, 2048, false), ==, RDY); /* nothing */
    static const uint8_t huge[12] = { 0xa8, 0, 0, 0, 0, 1, 0xff, 0xff, 0xff, 0xff };
    refused(f, huge, 0x052100);
    static const uint8_t read12[12] = { 0xa8, 0, 0, 0, 0, 7, 0, 0, 0, 1 };
    g_assert_cmpuint(ask(f, read12, b), ==, 2048);
    g_assert_cmpuint(b[2047], ==, 7);
    static const uint8_t seek[12] = { 0x2b, 0, 0, 0, 0, BLOCKS };
    refused(f, seek, 0x052100);
    static const uint8_t capacity[12] = { 0x25 };
    g_assert_cmpuint(ask(f, capacity, b), ==, 8);
    g_assert_cmpmem(b, 8, "\0\0\0\x63\0\0\x08\0", 8);
}

static void test_dma(Fixture *f, gconstpointer data)
{
    uint8_t p[12] = { 0x28, 0, 0, 0, 0, 10, 0, 0, 80 }; /* more than one request of the drive */
    attention_off(f);
    pctest_prd(f->t, PRD, 0, 0x100000, 0);
    pctest_prd(f->t, PRD, 1, 0x110000, 0);
    pctest_prd(f->t, PRD, 2, 0x120000, 0x80000000 | (80 * 2048 - 0x20000));
    pctest_out(f->t, BM + 4, PRD, 4);
    pctest_out(f->t, BM, 8, 1);
    packet(f, p, 0, true);
    g_assert_false(irq(f));
    pctest_out(f->t, BM, 9, 1);
    pctest_settle(f->t);
    g_assert_true(irq(f));
    g_assert_cmphex(pctest_in(f->t, BM + 2, 1), ==, 4);
    g_assert_cmphex(pctest_in(f->t, CMD + 7, 1), ==, RDY);
    for (unsigned i = 0; i < 80; i++) {
        g_assert_cmpuint(pctest_read(f->t, 0x100000 + 2048 * i, 1), ==, 10 + i);
        g_assert_cmpuint(pctest_read(f->t, 0x100000 + 2048 * i + 2047, 1), ==, 10 + i);
    }
    pctest_out(f->t, BM, 0, 1);
    pctest_out(f->t, BM + 2, 4, 1);
    /* The master stopped and started while the medium is read: one request is in flight, however often. */
    const DrivePort *port = drive_port_find(f->t->m, "d", &error_abort_slot);
    pctest_write(f->t, 0x100000, 0, 1);
    packet(f, p, 0, true);
    for (unsigned i = 0; i < 1000; i++) {
        pctest_out(f->t, BM, 9, 1);
        g_assert_cmpuint(port->in_flight, ==, 1);
        pctest_out(f->t, BM, 8, 1);
    }
    pctest_out(f->t, BM, 9, 1);
    pctest_settle(f->t);
    g_assert_true(irq(f));
    g_assert_cmphex(pctest_in(f->t, CMD + 7, 1), ==, RDY);
    g_assert_cmpuint(pctest_read(f->t, 0x100000, 1), ==, 10);
    pctest_out(f->t, BM, 0, 1);
    pctest_out(f->t, BM + 2, 4, 1);
    /* An answer by DMA, into a table with room for more. */
    static const uint8_t inquiry[12] = { 0x12, 0, 0, 0, 36 };
    pctest_prd(f->t, PRD, 0, BUF, 0x80000000 | 64);
    pctest_out(f->t, BM, 8, 1);
    packet(f, inquiry, 0, true);
    pctest_out(f->t, BM, 9, 1);
    pctest_settle(f->t);
    g_assert_true(irq(f));
    g_assert_cmphex(pctest_in(f->t, BM + 2, 1), ==, 5);
    g_assert_cmphex(pctest_read(f->t, BUF + 8, 1), ==, 'R');
    pctest_out(f->t, BM, 0, 1);
    /* And one that is too short: no interrupt, DEVICE RESET frees the drive. */
    pctest_prd(f->t, PRD, 0, BUF, 0x80000000 | 16);
    pctest_out(f->t, BM, 8, 1);
    packet(f, p, 0, true);
    pctest_out(f->t, BM, 9, 1);
    pctest_settle(f->t);
    g_assert_cmphex(pctest_in(f->t, CTL, 1) & 0x80, ==, 0x80);
    pctest_out(f->t, CMD + 7, 0x08, 1);
    simple(f, 0x00, 0, RDY);
}

/* Both checks of each code word of annex A are zero, and the EDC's remainder. */
static void check_sector(const uint8_t *raw, unsigned lba)
{
    static const uint8_t sync[12] = { 0, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 0 };
    g_assert_cmpmem(raw, 12, sync, 12);
    g_assert_cmphex(raw[12], ==, 0);
    g_assert_cmphex(raw[13], ==, 2);
    g_assert_cmphex(raw[14], ==, (lba / 10 % 10) << 4 | lba % 10);
    g_assert_cmphex(raw[15], ==, 1);
    uint32_t r = 0;
    for (unsigned i = 0; i < 2068 * 8; i++) {
        r = r >> 1 ^ (((r ^ raw[i / 8] >> (i & 7)) & 1) ? 0xd8018001 : 0);
    }
    g_assert_cmphex(r, ==, 0);
    const uint8_t *b = raw + 12;
    for (unsigned code = 0; code < 86 + 52; code++) {
        bool p = code < 86;
        unsigned n = p ? 26 : 45, c = p ? code : code - 86;
        uint8_t sum = 0, horner = 0;
        for (unsigned k = 0; k < n; k++) {
            unsigned word = p        ? 43 * k + c / 2
                            : k < 43 ? (44 * k + 43 * (c / 2)) % 1118
                                     : 1118 + 26 * (k - 43) + c / 2;
            uint8_t v = b[2 * word + c % 2];
            sum ^= v;
            horner = (uint8_t)((horner << 1 ^ (horner & 0x80 ? 0x11d : 0)) ^ v);
        }
        g_assert_cmphex(sum, ==, 0);
        g_assert_cmphex(horner, ==, 0);
    }
}

static void test_read_cd(Fixture *f, gconstpointer data)
{
    uint8_t p[12] = { 0xbe, 0, 0, 0, 0, 42, 0, 0, 5, 0xf8 };
    g_autofree uint8_t *b = g_malloc(64 * 2352);
    attention_off(f);
    g_assert_cmpuint(ask(f, p, b), ==, 5 * 2352);
    for (unsigned i = 0; i < 5; i++) {
        check_sector(b + 2352 * i, 42 + i);
        g_assert_cmpuint(b[2352 * i + 16], ==, 42 + i);
    }
    p[9] = 0x20; /* headers alone: many in one block */
    p[8] = 30;
    g_assert_cmpuint(ask(f, p, b), ==, 30 * 4);
    g_assert_cmphex(b[29 * 4 + 2], ==, 0x71);
    p[9] = 0;
    g_assert_cmpuint(ask(f, p, b), ==, 0);
    p[9] = 0x12;
    refused(f, p, 0x052400);
    p[9] = 0x10;
    p[1] = 1 << 2; /* audio */
    refused(f, p, 0x056400);
    static const uint8_t msf[12] = { 0xb9, 0, 0, 0, 2, 3, 0, 2, 5, 0x10 },
                         back[12] = { 0xb9, 0, 0, 0, 2, 3, 0, 2, 2 };
    g_assert_cmpuint(ask(f, msf, b), ==, 2 * 2048);
    g_assert_cmpuint(b[0], ==, 3);
    refused(f, back, 0x052100);
}

static void test_info(Fixture *f, gconstpointer data)
{
    static const uint8_t toc[12] = { 0x43, 2, 0, 0, 0, 0, 0, 3, 0 },
                         lead_out[12] = { 0x43, 0, 0, 0, 0, 0, 0xaa, 0, 12 };
    static const uint8_t full[12] = { 0x43, 2, 2, 0, 0, 0, 0, 0, 200 },
                         old[12] = { 0x43, 0, 0, 0, 0, 0, 0, 0, 12, 0x40 };
    static const uint8_t want[] = { 0, 18, 1, 1, 0, 0x14, 1, 0, 0, 0, 2, 0, 0, 0x14, 0xaa, 0, 0, 0, 3, 25 };
    uint8_t b[1024];
    attention_off(f);
    g_assert_cmpmem(b, ask(f, toc, b), want, sizeof(want));
    g_assert_cmpuint(ask(f, lead_out, b), ==, 12);
    g_assert_cmpuint(b[11], ==, BLOCKS);
    g_assert_cmpuint(ask(f, full, b), ==, 4 + 44);
    g_assert_cmpmem(b + 4 + 22 + 8, 3, "\0\3\x19", 3);
    g_assert_cmpuint(ask(f, old, b), ==, 12);
    uint8_t sense_all[12] = { 0x5a, 0, 0x3f, 0, 0, 0, 0, 2, 0 },
            caps[12] = { 0x5a, 0, 0x2a, 0, 0, 0, 0, 0, 255 };
    unsigned n = ask(f, sense_all, b);
    g_assert_cmpuint(n, ==, 2u + (b[0] << 8 | b[1]));
    g_assert_cmpuint(ask(f, caps, b), ==, 28);
    g_assert_cmphex(b[2], ==, 1);
    g_assert_cmphex(b[8] | b[14] << 8, ==, 0x292a);
    simple(f, 0x1e, 1, RDY);
    ask(f, caps, b);
    g_assert_cmphex(b[14], ==, 0x2b); /* locked */
    caps[2] = 0xea;
    refused(f, caps, 0x053900);
    caps[2] = 0x07;
    refused(f, caps, 0x052400);
    static const uint8_t config[12] = { 0x46, 0, 0, 0, 0, 0, 0, 2, 0 },
                         one[12] = { 0x46, 2, 0, 3, 0, 0, 0, 2, 0 };
    n = ask(f, config, b);
    g_assert_cmpuint(n, ==, 4u + b[3]);
    g_assert_cmphex(b[7], ==, 8); /* a CD */
    g_assert_cmpuint(ask(f, one, b), ==, 16);
    g_assert_cmphex(b[12], ==, 0x29);
    static const uint8_t info[12] = { 0x51, 0, 0, 0, 0, 0, 0, 0, 34 },
                         dvd[12] = { 0xad, 0, 0, 0, 0, 0, 0, 0, 8, 4 };
    g_assert_cmpuint(ask(f, info, b), ==, 34);
    g_assert_cmphex(b[2], ==, 0x0e);
    refused(f, dvd, 0x053002);
    static const uint8_t mechanism[12] = { 0xbd, 0, 0, 0, 0, 0, 0, 0, 0, 8 };
    g_assert_cmpuint(ask(f, mechanism, b), ==, 8);
    g_assert_cmphex(b[1], ==, 0);
}

/* Media class of GET EVENT STATUS NOTIFICATION: event << 8 | state. */
static unsigned event(Fixture *f)
{
    static const uint8_t p[12] = { 0x4a, 1, 0, 0, 1 << 4, 0, 0, 0, 8 };
    uint8_t b[8];
    g_assert_cmpuint(ask(f, p, b), ==, 8);
    g_assert_cmphex(b[1], ==, 6);
    return (unsigned)b[4] << 8 | b[5];
}

static bool error_says(Error *err, const char *text)
{
    bool yes = err && strstr(error_text(err), text);
    error_free(err);
    return yes;
}

static void test_change(Fixture *f, gconstpointer data)
{
    static const uint8_t tur[12] = { 0 }, read[12] = { 0x28, 0, 0, 0, 0, 5, 0, 0, 1 };
    static const uint8_t async[12] = { 0x4a, 0, 0, 0, 16, 0, 0, 0, 8 };
    Machine *m = f->t->m;
    uint8_t b[2048];
    g_autoptr(GString) text = g_string_new(NULL);
    attention_off(f);
    g_assert_cmphex(event(f), ==, 0x0002);
    refused(f, async, 0x052400);
    simple(f, 0x1e, 1, RDY);
    g_assert_true(drive_print(m, NULL, false, text));
    g_assert_nonnull(strstr(text->str, "Removable device: locked, tray closed"));
    Error *err = NULL;
    g_assert_false(drive_eject(m, "cd0", false, &err)); /* the guest is asked */
    g_assert_true(error_says(err, "'cd0' is locked by the guest"));
    g_assert_null(f->event);
    g_assert_cmphex(event(f), ==, 0x0102);
    g_assert_cmphex(event(f), ==, 0x0002);
    simple(f, 0x1b, 2, RDY | 1);
    g_assert_cmphex(sense(f), ==, 0x055302);
    simple(f, 0x1e, 0, RDY);
    simple(f, 0x1b, 2, RDY); /* it opens */
    g_assert_cmpstr(f->event, ==,
                    "DEVICE_TRAY_MOVED {\"device\": \"cd0\", \"id\": \"d\", \"tray-open\": true}");
    refused(f, tur, 0x023a02);
    g_assert_cmphex(event(f), ==, 0x0301);
    simple(f, 0x1b, 3, RDY); /* and closes: the medium is a new one */
    g_assert_cmphex(event(f), ==, 0x0202);
    refused(f, tur, 0x062800);
    g_assert_true(drive_eject(m, "d", false, &error_abort_slot)); /* by the device's id */
    refused(f, read, 0x023a02);
    err = NULL;
    g_assert_false(drive_change(m, "cd0", "/nonexistent.iso", "raw", false, AUTO, &err));
    g_assert_nonnull(err);
    error_free(err);
    g_assert_true(drive_close_tray(drive_port_find(m, "cd0", &error_abort_slot), &error_abort_slot));
    refused(f, tur, 0x023a01);
    err = NULL; /* not through a closed tray */
    g_assert_false(drive_remove_medium(drive_port_find(m, "cd0", &error_abort_slot), &err));
    g_assert_true(error_says(err, "the tray of 'cd0' is not open"));
    g_assert_true(drive_change(m, "cd0", f->image[1], "raw", false, AUTO, &error_abort_slot));
    g_assert_nonnull(strstr(f->event, "\"tray-open\": false"));
    refused(f, read, 0x062800);
    g_assert_cmpuint(ask(f, read, b), ==, 2048);
    g_assert_cmpuint(b[0], ==, 6);
    /* Taken out by force while a read runs: it fails, nothing is lost. */
    simple(f, 0x1e, 1, RDY);
    g_assert_cmphex(packet(f, read, 512, false), ==, DRQ);
    g_assert_true(drive_change(m, "cd0", f->image[0], NULL, true, AUTO, &error_abort_slot));
    for (unsigned i = 0; i < 1024; i++) {
        pctest_in(f->t, CMD, 2);
    }
    g_assert_cmphex(pctest_in(f->t, CMD + 7, 1), ==, RDY); /* one block was in the drive already */
    refused(f, read, 0x062800);
    err = NULL;
    g_assert_false(drive_eject(m, "cd9", false, &err));
    g_assert_true(error_says(err, "there is no drive or device 'cd9'"));
}

static void test_empty(Fixture *f, gconstpointer data)
{
    static const uint8_t tur[12] = { 0 }, config[12] = { 0x46, 0, 0, 0, 0, 0, 0, 2, 0 };
    uint8_t b[512];
    g_autoptr(GString) text = g_string_new(NULL);
    attention_off(f);
    refused(f, tur, 0x023a01);
    g_assert_cmphex(event(f), ==, 0);
    ask(f, config, b);
    g_assert_cmphex(b[7], ==, 0);
    drive_print(f->t->m, "cd0", true, text);
    g_assert_cmpstr(text->str, ==,
                    "cd0: [not inserted]\n    Attached to:      d\n"
                    "    Removable device: not locked, tray closed\n");
    g_assert_true(drive_change(f->t->m, "cd0", f->image[0], "raw", false, AUTO, &error_abort_slot));
    refused(f, tur, 0x062800);
    simple(f, 0x00, 0, RDY);
    /* One without any drive behind it. */
    Device *bare = device_create(f->t->m, &ide_cd_type, f->t->m->peripheral, "bare", f->ide->buses->pdata[0],
                                 &error_abort_slot, NULL);
    g_assert_true(drive_change(f->t->m, "bare", f->image[1], "raw", false, AUTO, &error_abort_slot));
    g_assert_true(drive_eject(f->t->m, "bare", false, &error_abort_slot));
    device_remove(bare);
}

/* Saved in the middle of a transfer, it goes on when loaded. */
static void test_state(Fixture *f, gconstpointer data)
{
    static const uint8_t read[12] = { 0x28, 0, 0, 0, 0, 20, 0, 0, 9 };
    attention_off(f);
    packet(f, read, 2048, false);
    for (unsigned i = 0; i < 1024 + 5; i++) { /* into the second block */
        pctest_in(f->t, CMD, 2);
    }
    GByteArray *state = g_byte_array_new();
    device_tree_save(f->cd, state);
    pctest_out(f->t, CMD + 7, 0x08, 1);
    const uint8_t *p = state->data;
    g_assert_true(device_tree_load(f->cd, &p, state->data + state->len, &error_abort_slot));
    g_byte_array_free(state, TRUE);
    for (unsigned i = 1024 + 5; i < 9 * 1024; i++) {
        pctest_settle(f->t);
        g_assert_cmphex(pctest_in(f->t, CMD, 2), ==, (20 + i / 1024) * 0x101);
    }
    g_assert_cmphex(pctest_in(f->t, CMD + 7, 1), ==, RDY);
}

/* Random accesses, packets among them, with media that come and go, saves and loads. */
static void test_storm(Fixture *f, gconstpointer data)
{
    static const uint8_t ops[] = { 0x00, 0x03, 0x12, 0x1b, 0x1e, 0x25, 0x28, 0x2b, 0x43, 0x46, 0x4a,
                                   0x51, 0x5a, 0xa8, 0xad, 0xb9, 0xbb, 0xbd, 0xbe, 0x28, 0x28, 0xbe };
    Machine *m = f->t->m;
    for (unsigned i = 0; i < 8; i++) {
        pctest_prd(f->t, PRD, i, BUF + 2048 * i, 2048 | (i == 7 ? 0x80000000 : 0));
    }
    pctest_out(f->t, BM + 4, PRD, 4);
    for (unsigned i = 0; i < 60000; i++) {
        uint32_t r = (uint32_t)g_test_rand_int(), v = (uint32_t)g_test_rand_int();
        unsigned size = 1u << (r >> 4 & 3) % 3, what = r & 15;
        if (what < 3) {
            pctest_in(f->t, CMD + (r >> 8 & 7), size);
        } else if (what < 6) {
            pctest_in(f->t, CMD, 4);
            pctest_in(f->t, CMD, 2);
        } else if (what < 7) {
            pctest_out(f->t, CMD + 1 + (r >> 8) % 6, v & 0xff, 1);
        } else if (what < 12) { /* a packet, not always whole */
            pctest_out(f->t, CMD + 6, 0xa0, 1);
            pctest_out(f->t, CMD + 1, v & 1, 1);
            pctest_out(f->t, CMD + 4, v >> 1 & 0xff, 1);
            pctest_out(f->t, CMD + 5, v & 0x200 ? 0 : v >> 16 & 0xff, 1);
            pctest_out(f->t, CMD + 7, v & 0x400 ? 0xa0 : v >> 24, 1);
            uint32_t low = r >> 8 & 0x7f;
            pctest_out(f->t, CMD, ops[(r >> 16) % sizeof(ops)] | (v & 0x3c0000 ? 0 : v >> 8 & 0xff00), 4);
            pctest_out(f->t, CMD, v & 0x80 ? low << 8 | 3 : v, 4);
            pctest_out(f->t, CMD, v & 0x100 ? 0xf800 | low : (uint32_t)g_test_rand_int(), 4);
        } else if (what == 12) {
            pctest_out(f->t, BM + (r >> 8 & 1 ? 0 : 2), v, 1);
        } else if (what == 13 && !(v & 31)) {
            GByteArray *state = g_byte_array_new();
            device_tree_save(f->cd, state);
            const uint8_t *p = state->data;
            g_assert_true(device_tree_load(f->cd, &p, state->data + state->len, &error_abort_slot));
            g_byte_array_free(state, TRUE);
        } else if (what == 14 && !(v & 63)) {
            if (v & 64) {
                drive_change(m, "cd0", f->image[v >> 7 & 1], "raw", true, AUTO, &error_abort_slot);
            } else {
                drive_eject(m, "cd0", true, &error_abort_slot);
            }
        } else if (what == 15 && !(v & 7)) {
            pctest_out(f->t, v & 8 ? CTL : CMD + 7, v & 8 ? v >> 8 & 6 : 0x08, 1);
            pctest_out(f->t, CTL, 0, 1);
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
        bool empty;
    } tests[] = {
        { "identify", test_identify, false }, { "reset", test_reset, false },
        { "pio", test_pio, false },           { "dma", test_dma, false },
        { "read-cd", test_read_cd, false },   { "info", test_info, false },
        { "change", test_change, false },     { "empty", test_empty, true },
        { "state", test_state, false },       { "storm", test_storm, false },
    };
    g_test_init(&argc, &argv, NULL);
    role_become_main();
    drive_register();
    for (size_t i = 0; i < G_N_ELEMENTS(tests); i++) {
        g_autofree char *path = g_strdup_printf("/ide-cd/%s", tests[i].name);
        g_test_add(path, Fixture, tests[i].empty ? path : NULL, setup, tests[i].fn, teardown);
    }
    return g_test_run();
}
