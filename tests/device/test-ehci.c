/* SPDX-License-Identifier: MIT
 * tests/device/test-ehci.c - hw/usb/ehci.c, hw/usb/ehci-sched.c, hw/usb/ehci-isoch.c, hw/usb/ehci.h, and
 * hw/usb/uhci.c and hw/usb/bus.c as far as companions go: the test is the driver of a controller with a
 * keyboard: queue heads in the asynchronous ring and the frame list, isochronous transfers that nobody
 * answers, the doorbell, ports that change their owner, saved state, a disk (hw/usb/storage.c) that is reset
 * or goes while it reads, and a hostile schedule. RHEA_USB_CASES: rounds of that one. Threads: main.
 */
#include "q35test.h"
#include "rhea/backends/drive.h"
#include "rhea/hw/usb.h"
#include "rhea/ui/input.h"
#include "usbtest.h"

#include <string.h>

enum { EHCI = PCI_DEVFN(4, 7), UHCI = PCI_DEVFN(4, 0), BAR = 0xe0000000, OP = BAR + 0x20, PORTS = 0xc000 };
enum { CMD = OP, STS = OP + 4, INTR = OP + 8, FRINDEX = OP + 12, PERIODIC = OP + 0x14, ASYNC = OP + 0x18 };
enum { CONFIGFLAG = OP + 0x40, PORTSC = OP + 0x44 };
enum { RAM = 16 << 20, FRAMES = 0x100000, QH = 0x102000, TD = 0x103000, DATA = 0x110000, MS = 1000000 };
enum { OUT, IN, SETUP };
enum { RUN = 1, PSE = 0x10, ASE = 0x20, BELL = 0x40 };
enum { USBINT = 1, ERRINT = 2, ROLLED = 8, HSE = 16, IAA = 32 };
enum { ACTIVE = 0x80, HALTED = 0x40, XACT = 8, CERR = 3 << 10, IOC = 1 << 15, END = 1, IS_QH = 2 };

static uint32_t rd(TestMachine *tm, hwaddr at)
{
    return (uint32_t)tm_read(tm, at, 4);
}
static void wr(TestMachine *tm, hwaddr at, uint32_t v)
{
    tm_write(tm, at, 4, v);
}

/* A high-speed keyboard at port 1, a full-speed one at port 2; ports 3 to 6 have no companion. */
static void plug(TestMachine *tm)
{
    Machine *m = tm->m;
    Bus *pci = m->board->default_bus(m, &pci_bus_type);
    Device *e = tm_device(tm, "ich9-usb-ehci1", pci, "addr", "4.7", "multifunction", "on", NULL);
    Bus *usb = e->buses->pdata[0];
    tm_device(tm, "ich9-usb-uhci1", pci, "addr", "4.0", "multifunction", "on", "masterbus", usb->name,
              "firstport", "0", NULL);
    tm_device(tm, "usb-kbd", usb, "port", "1", NULL);
    tm_device(tm, "usb-kbd", usb, "port", "2", "usb_version", "1", NULL);
}

/* A queue head for endpoint ep; mask: microframes, 0: in the ring. */
static void qh(TestMachine *tm, unsigned i, unsigned addr, unsigned ep, unsigned mask)
{
    hwaddr at = QH + 64 * i;
    for (unsigned w = 0; w < 12; w++) {
        wr(tm, at + 4 * w, 0);
    }
    wr(tm, at, mask ? END : (uint32_t)at | IS_QH);
    wr(tm, at + 4, 64 << 16 | 1 << 15 | 2 << 12 | ep << 8 | addr);
    wr(tm, at + 8, 1u << 30 | mask);
    wr(tm, at + 16, END);
    wr(tm, at + 20, END);
}

static void td(TestMachine *tm, unsigned i, bool last, unsigned pid, unsigned len, uint32_t at)
{
    hwaddr t = TD + 32 * i;
    wr(tm, t, last ? END : t + 32);
    wr(tm, t + 4, END);
    wr(tm, t + 8, len << 16 | (last ? IOC : 0) | CERR | pid << 8 | ACTIVE);
    for (unsigned p = 0; p < 5; p++) {
        wr(tm, t + 12 + 4 * p, p ? (at & ~0xfffu) + 0x1000 * p : at);
    }
}

static uint32_t token(TestMachine *tm, unsigned i)
{
    return rd(tm, TD + 32 * i + 8);
}

/* Registers, the frame list without anything, the ring with queue head 0; the port's device is reset. */
static void start(TestMachine *tm)
{
    q35_set(tm, EHCI, 0x10, BAR, 4);
    q35_set(tm, EHCI, 4, 6, 2);
    q35_set(tm, UHCI, 0x20, PORTS, 4);
    q35_set(tm, UHCI, 4, 5, 2);
    wr(tm, CMD, 2);
    for (unsigned i = 0; i < 1024; i++) {
        wr(tm, FRAMES + 4 * i, END);
    }
    qh(tm, 0, 0, 0, 0);
    wr(tm, PERIODIC, FRAMES);
    wr(tm, ASYNC, QH);
    wr(tm, INTR, 0x3f);
    wr(tm, CONFIGFLAG, 1);
    wr(tm, CMD, RUN | ASE | PSE | 8 << 16);
    wr(tm, PORTSC, 0x1100);
    wr(tm, PORTSC, 0x1000);
}

static TestMachine *open_guest(void (*devices)(TestMachine *tm))
{
    TestMachine *tm = q35_new_with(RAM, NULL, devices);
    start(tm);
    g_assert_cmphex(rd(tm, PORTSC) & 0x2005, ==, 5);
    g_assert_cmphex(rd(tm, STS) & 0xf000, ==, 0xc000);
    return tm;
}

/* The transfers from t on are queue head i's. */
static void run_from(TestMachine *tm, unsigned i, unsigned t)
{
    wr(tm, QH + 64 * i + 24, 0);
    wr(tm, QH + 64 * i + 16, TD + 32 * t);
    tm_step(tm, 12 * MS);
}

static void run(TestMachine *tm, unsigned i)
{
    run_from(tm, i, 0);
}

static void request(TestMachine *tm, uint64_t setup)
{
    tm_write(tm, DATA, 8, setup);
    td(tm, 0, false, SETUP, 8, DATA);
    td(tm, 1, true, IN, 0, DATA);
    run(tm, 0);
    g_assert_cmphex(token(tm, 1) & 0xff, ==, 0);
}

/* Port 1's keyboard is device 5, configured. */
static void configure(TestMachine *tm)
{
    request(tm, 0x00050500);
    qh(tm, 0, 5, 0, 0);
    request(tm, 0x00010900);
}

static void test_registers(void)
{
    TestMachine *tm = open_guest(plug);
    g_assert_cmphex(rd(tm, BAR), ==, 0x01000020);
    g_assert_cmphex(rd(tm, BAR + 4), ==, 0x1206);
    g_assert_cmphex(rd(tm, BAR + 8), ==, 0x6880);
    g_assert_cmphex(q35_get(tm, EHCI, 0x60, 2), ==, 0x2020);
    unsigned at = rd(tm, FRINDEX) & 0x3fff;
    for (unsigned i = 1; i <= 100; i++) {
        tm_step(tm, MS / 8 * 3);
        g_assert_cmpuint(rd(tm, FRINDEX), ==, (at + 3 * i) & 0x3fff);
    }
    wr(tm, STS, 0x3f);
    wr(tm, CMD, RUN); /* no schedule: the roll-over is told nevertheless */
    tm_step(tm, INT64_C(1024) * MS);
    g_assert_cmphex(rd(tm, STS) & 0x3f, ==, ROLLED);
    wr(tm, CMD, 0);
    g_assert_cmphex(rd(tm, STS) & 0xf000, ==, 0x1000);
    tm_free(tm);
}

static void test_transfers(void)
{
    TestMachine *tm = open_guest(plug);
    wr(tm, STS, 0x3f);
    tm_write(tm, DATA, 8, UINT64_C(0x00ff000001000680));
    td(tm, 0, false, SETUP, 8, DATA);
    td(tm, 1, false, IN, 255, DATA + 0xff8); /* over a page's end; it is short */
    td(tm, 2, true, OUT, 0, DATA);
    wr(tm, TD + 32 + 4, TD + 64); /* where short ones go on */
    wr(tm, TD + 32, TD + 96);
    run(tm, 0);
    g_assert_cmphex(token(tm, 1) & 0x7fff00ff, ==, (255 - 18) << 16);
    g_assert_cmphex(token(tm, 2) & 0xff, ==, 0);
    g_assert_cmphex(rd(tm, DATA + 0x1000), ==, 0x00010627);
    g_assert_cmphex(rd(tm, STS) & 0x3f, ==, USBINT);
    g_assert_cmphex(rd(tm, QH + 12), ==, TD + 64);
    wr(tm, STS, 0x3f);
    g_assert_cmphex(rd(tm, STS) & 0x3f, ==, 0);
    configure(tm);

    /* Nobody has that address: the queue halts. So it does at what makes no sense. */
    wr(tm, STS, 0x3f);
    qh(tm, 0, 9, 0, 0);
    td(tm, 0, true, IN, 8, DATA);
    run(tm, 0);
    g_assert_cmphex(token(tm, 0) & (0xff | CERR), ==, HALTED | XACT);
    g_assert_cmphex(rd(tm, STS) & 0x3f, ==, USBINT | ERRINT);
    qh(tm, 0, 5, 0, 0);
    td(tm, 0, true, 3, 8, DATA);
    run(tm, 0);
    g_assert_cmphex(token(tm, 0) & (ACTIVE | HALTED), ==, HALTED);
    qh(tm, 0, 5, 0, 0);
    td(tm, 0, true, IN, 0x7fff, DATA);
    run(tm, 0);
    g_assert_cmphex(token(tm, 0) & (ACTIVE | HALTED), ==, HALTED);

    wr(tm, CMD, rd(tm, CMD) | BELL);
    g_assert_cmphex(rd(tm, CMD) & BELL, ==, 0);
    g_assert_cmphex(rd(tm, STS) & IAA, ==, IAA);

    /* What is not in memory stops it. */
    wr(tm, ASYNC, 0xf0000000);
    tm_step(tm, 12 * MS);
    g_assert_cmphex(rd(tm, STS) & (HSE | 0x1000), ==, HSE | 0x1000);
    g_assert_cmphex(rd(tm, CMD) & RUN, ==, 0);
    tm_free(tm);
}

/* Reports, also after a load, of a queue head in each eighth frame. */
static void test_periodic(void)
{
    TestMachine *tm = open_guest(plug);
    configure(tm);
    qh(tm, 1, 5, 1, 1);
    for (unsigned i = 3; i < 1024; i += 8) {
        wr(tm, FRAMES + 4 * i, (QH + 64) | IS_QH);
    }
    td(tm, 0, false, IN, 8, DATA);
    td(tm, 1, true, IN, 8, DATA + 64);
    run(tm, 1);
    g_assert_cmphex(token(tm, 0) & 0xff, ==, ACTIVE);
    input_send_key(tm->m, NULL, INPUT_KEY_A, true);
    tm_step(tm, 12 * MS);
    g_assert_cmphex(token(tm, 0) & 0x7fff00ff, ==, 0);
    g_assert_cmphex(rd(tm, DATA), ==, 0x00040000);
    g_assert_cmphex(token(tm, 1) & 0xff, ==, ACTIVE);
    g_autoptr(GByteArray) state = tm_save(tm);
    g_assert_true(tm_load(tm, state, &error_abort_slot));
    input_send_key(tm->m, NULL, INPUT_KEY_A, false);
    tm_step(tm, 12 * MS);
    g_assert_cmphex(token(tm, 1) & 0xff, ==, 0);
    g_assert_cmphex(rd(tm, DATA + 64), ==, 0);
    tm_free(tm);
}

/* Nobody here has an isochronous endpoint, and nobody splits transactions. */
static void test_isochronous(void)
{
    TestMachine *tm = open_guest(plug);
    hwaddr itd = TD, sitd = TD + 64;
    for (unsigned i = 0; i < 1024; i++) {
        wr(tm, FRAMES + 4 * i, (uint32_t)itd);
    }
    wr(tm, itd, sitd | 4);
    for (unsigned i = 1; i < 9; i++) {
        wr(tm, itd + 4 * i, 1u << 31 | 8u << 16 | (i == 8 ? IOC : 0) | i << 4);
    }
    wr(tm, itd + 36, DATA | 1 << 8 | 5);
    wr(tm, itd + 40, DATA | 1 << 11 | 64);
    wr(tm, itd + 44, DATA | 1);
    wr(tm, sitd, END);
    wr(tm, sitd + 4, 1u << 31 | 5);
    wr(tm, sitd + 8, 0x1c01);
    wr(tm, sitd + 12, 8 << 16 | ACTIVE);
    wr(tm, STS, 0x3f);
    tm_step(tm, 12 * MS);
    g_assert_cmphex(rd(tm, itd + 4) >> 16, ==, 0x1000);
    g_assert_cmphex(rd(tm, itd + 32) >> 16, ==, 0x1000);
    g_assert_cmphex(rd(tm, sitd + 12) & 0xff, ==, XACT);
    g_assert_cmphex(rd(tm, STS) & 0x3f, ==, USBINT | ERRINT);
    wr(tm, itd + 4, 1u << 31 | 8u << 16);
    wr(tm, itd + 40, DATA | 64);
    wr(tm, sitd + 4, 5);
    wr(tm, sitd + 12, 1u << 31 | 8 << 16 | ACTIVE);
    tm_step(tm, 12 * MS);
    g_assert_cmphex(rd(tm, itd + 4), ==, 8u << 16);
    g_assert_cmphex(rd(tm, sitd + 12), ==, 1u << 31);
    tm_free(tm);
}

/* 4.2: who has which port. */
static void test_companion(void)
{
    TestMachine *tm = open_guest(plug);
    g_assert_cmphex(rd(tm, PORTSC + 4) & 0x2c01, ==, 0x0801);
    wr(tm, PORTSC + 4, 0x1100);
    wr(tm, PORTSC + 4, 0x1000);
    g_assert_cmphex(rd(tm, PORTSC + 4) & 0x2105, ==, 1); /* it does not get high speed */
    g_assert_cmphex(q35_in(tm, PORTS + 0x12, 2) & 1, ==, 0);
    wr(tm, PORTSC + 4, 0x3002);
    g_assert_cmphex(rd(tm, PORTSC + 4) & 0x2007, ==, 0x2002);
    g_assert_cmphex(q35_in(tm, PORTS + 0x12, 2) & 3, ==, 3);
    g_assert_cmphex(q35_in(tm, PORTS + 0x10, 2) & 1, ==, 0);
    wr(tm, PORTSC + 8, 0x3000); /* there is no companion */
    g_assert_cmphex(rd(tm, PORTSC + 8), ==, 0x1000);

    g_autoptr(GByteArray) state = tm_save(tm);
    wr(tm, CONFIGFLAG, 0);
    g_assert_cmphex(rd(tm, PORTSC) & 0x2005, ==, 0x2000);
    g_assert_cmphex(q35_in(tm, PORTS + 0x10, 2) & 3, ==, 3);
    wr(tm, CONFIGFLAG, 1);
    g_assert_cmphex(rd(tm, PORTSC) & 0x2005, ==, 1);
    g_assert_cmphex(rd(tm, PORTSC + 4) & 0x2005, ==, 1);
    g_assert_cmphex(q35_in(tm, PORTS + 0x12, 2) & 1, ==, 0);
    g_assert_true(tm_load(tm, state, &error_abort_slot));
    g_assert_cmphex(rd(tm, PORTSC + 4) & 0x2005, ==, 0x2000);
    g_assert_cmphex(q35_in(tm, PORTS + 0x12, 2) & 1, ==, 1);
    wr(tm, CMD, 2);
    g_assert_cmphex(q35_in(tm, PORTS + 0x10, 2) & 1, ==, 1);
    g_assert_cmphex(q35_in(tm, PORTS + 0x12, 2) & 1, ==, 1);
    tm_free(tm);
}

/* ---- a disk ---- */

enum { READING = 4, RING_IN = 1, RING_OUT = 2, SECTOR = DATA + 0x1000 };
static Device *disk;

static void plug_disk(TestMachine *tm)
{
    Machine *m = tm->m;
    Bus *pci = m->board->default_bus(m, &pci_bus_type);
    Device *e = tm_device(tm, "usb-ehci", pci, "addr", "4.7", "multifunction", "on", NULL);
    disk = usbdisk_plug(tm, e->buses->pdata[0], "1");
}

/* The ring: control transfers, the disk's two pipes. */
static TestMachine *open_disk(void)
{
    TestMachine *tm = open_guest(plug_disk);
    configure(tm);
    qh(tm, RING_IN, 5, 1, 0);
    qh(tm, RING_OUT, 5, 2, 0);
    for (unsigned i = 0; i < 3; i++) {
        wr(tm, QH + 64 * i, (QH + 64 * ((i + 1) % 3)) | IS_QH);
    }
    return tm;
}

/* The command of a read of one sector. */
static void read_command(TestMachine *tm, uint8_t sector)
{
    usbdisk_read_command(tm, DATA + 0x400, sector);
    td(tm, 2, true, OUT, 31, DATA + 0x400);
    run_from(tm, RING_OUT, 2);
    g_assert_cmphex(token(tm, 2) & 0xff, ==, 0);
}

static void begin_slow_read(TestMachine *tm)
{
    usbdisk_keep_read();
    read_command(tm, 3);
    td(tm, READING, true, IN, 512, SECTOR);
    run_from(tm, RING_IN, READING);
    g_assert_cmphex(token(tm, READING) & 0xff, ==, ACTIVE);
    g_assert_true(usbdisk_read_is_kept());
}

/* The transport is reset while a read is under way: the transfer goes on waiting, and gets the next command's
 * data. */
static void test_disk_reset(void)
{
    TestMachine *tm = open_disk();
    begin_slow_read(tm);
    request(tm, 0xff21);
    usbdisk_end_read(tm);
    tm_step(tm, 12 * MS);
    g_assert_cmphex(token(tm, READING) & 0xff, ==, ACTIVE);
    read_command(tm, 7);
    tm_step(tm, 12 * MS);
    g_assert_cmphex(token(tm, READING) & 0x7fff00ff, ==, 0);
    g_assert_cmphex(rd(tm, SECTOR), ==, 0x08080808);
    usbdisk_free(tm);
}

/* The next command is not taken before the forgotten read has ended: there are never two. */
static void test_disk_forgotten(void)
{
    TestMachine *tm = open_disk();
    begin_slow_read(tm);
    request(tm, 0xff21);
    usbdisk_read_command(tm, DATA + 0x400, 7);
    td(tm, 2, true, OUT, 31, DATA + 0x400);
    run_from(tm, RING_OUT, 2);
    g_assert_cmphex(token(tm, 2) & 0xff, ==, ACTIVE);
    usbdisk_end_read(tm);
    tm_step(tm, 24 * MS);
    g_assert_cmphex(token(tm, 2) & 0xff, ==, 0);
    g_assert_cmphex(token(tm, READING) & 0x7fff00ff, ==, 0);
    g_assert_cmphex(rd(tm, SECTOR), ==, 0x08080808);
    usbdisk_free(tm);
}

/* The disk goes while the host reads for it: its transfer finds nobody. */
static void test_disk_unplug(void)
{
    TestMachine *tm = open_disk();
    begin_slow_read(tm);
    usbdisk_remove_reading(tm, disk);
    tm_step(tm, 12 * MS);
    g_assert_cmphex(token(tm, READING) & 0xff, ==, HALTED | XACT);
    g_assert_cmphex(rd(tm, PORTSC) & 7, ==, 2);
    usbdisk_free(tm);
}

static void refuse(TestMachine *tm, const char *what, ...)
{
    g_autoptr(Error) err = NULL;
    Machine *m = tm->m;
    Device *d = device_new(m, device_type_find("ich9-usb-uhci2"), m->unattached, NULL);
    va_list ap;
    va_start(ap, what);
    for (const char *prop = va_arg(ap, const char *); prop; prop = va_arg(ap, const char *)) {
        g_assert_true(device_set(d, prop, va_arg(ap, const char *), &error_abort_slot));
    }
    va_end(ap);
    g_assert_false(device_realize(d, m->board->default_bus(m, &pci_bus_type), &err));
    g_assert_nonnull(strstr(error_text(err), what));
    device_remove(d);
}

static void test_refusals(void)
{
    TestMachine *tm = open_guest(plug);
    Machine *m = tm->m;
    const char *bus = "usb-bus.0";
    tm_device(tm, "qemu-xhci", m->board->default_bus(m, &pci_bus_type), "addr", "5.0", NULL);
    refuse(tm, "no USB bus 'nope'", "masterbus", "nope", NULL);
    refuse(tm, "has no companions", "masterbus", "usb-bus.1", NULL);
    refuse(tm, "between 0 and 4", "masterbus", bus, "firstport", "5", NULL);
    refuse(tm, "port 1 of bus 'usb-bus.0' has a companion", "masterbus", bus, "firstport", "1", NULL);
    tm_free(tm);
}

/* Queue heads and transfers of anything, in loops and out of memory. */
static void storm(TestMachine *tm, unsigned c)
{
    if (c % 16 == 0 || !(rd(tm, CMD) & RUN)) {
        start(tm);
        for (unsigned i = 0; i < 32; i++) {
            wr(tm, FRAMES + 4 * i, (QH + 64 * (i % 4)) | IS_QH);
        }
    }
    for (unsigned i = 0; i < 24; i++) {
        uint32_t r = (uint32_t)g_test_rand_int(), v = (uint32_t)g_test_rand_int();
        uint32_t near = (r & 1 ? QH + (v & 0xc0) : TD + (v & 0x1e0)) | (v >> 12 & 7);
        hwaddr at = r & 2 ? QH + (r >> 8 & 0xfc) : TD + (r >> 8 & 0x1fc);
        switch (r >> 4 & 7) {
        case 0: break;
        case 1:
        case 2: v = near; break;
        case 3: v = (v & 0x00ff8301) | ACTIVE; break;
        case 4: v = (v & 0x00101) | 64 << 16 | 2 << 12; break;
        case 5: v = DATA | (v & 0xfff); break;
        default: v &= 0x8fff87ff; break;
        }
        wr(tm, at, v);
        if (i % 8 == 0) { /* likely to be met */
            wr(tm, QH + 64 * (r >> 20 & 3) + 24, 0);
            wr(tm, QH + 64 * (r >> 20 & 3) + 16, TD + (r >> 16 & 0x1e0));
            wr(tm, FRAMES + 4 * (r >> 24 & 31), near & (r >> 29 ? ~1u : ~0u));
        }
        wr(tm, DATA + (r >> 10 & 0x3c), v & 0xff03ff87);
    }
    if (c % 8 == 7) {
        wr(tm, OP + ((uint32_t)g_test_rand_int() & 0x7c), (uint32_t)g_test_rand_int());
    }
}

static void test_storm(void)
{
    TestMachine *tm = open_guest(plug);
    usbtest_storm(tm, 300, storm);
    tm_free(tm);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    drive_register();
    g_test_add_func("/ehci/registers", test_registers);
    g_test_add_func("/ehci/transfers", test_transfers);
    g_test_add_func("/ehci/periodic", test_periodic);
    g_test_add_func("/ehci/isochronous", test_isochronous);
    g_test_add_func("/ehci/companion", test_companion);
    g_test_add_func("/ehci/refusals", test_refusals);
    g_test_add_func("/ehci/disk-reset", test_disk_reset);
    g_test_add_func("/ehci/disk-forgotten", test_disk_forgotten);
    g_test_add_func("/ehci/disk-unplug", test_disk_unplug);
    g_test_add_func("/ehci/storm", test_storm);
    return g_test_run();
}
