/* SPDX-License-Identifier: MIT
 * tests/device/test-uhci.c - hw/usb/uhci.c, hw/usb/hub.c, hw/usb/bus.c, hw/usb/device.c: the test is the
 * driver of a controller with keyboards, one of them behind a hub: transfers, frames that are numbered while
 * nothing happens, saved state, ports of hubs that are disabled, rows of hubs, and a hostile schedule.
 * RHEA_USB_CASES: rounds of that one. Threads: main.
 */
#include "q35test.h"
#include "rhea/hw/usb.h"
#include "rhea/ui/input.h"
#include "usbtest.h"

#include <string.h>

enum {
    UHCI = PCI_DEVFN(4, 0),
    PORTS = 0xc000,
    RAM = 16 << 20,
    FRAMES = 0x100000,
    QH = 0x102000,
    TD = 0x103000,
    DATA = 0x110000,
    MS = 1000000
};
enum {
    ACTIVE = 1 << 23,
    IOC = 1 << 24,
    ERRORS = 0x77 << 16,
    NAK = 1 << 19,
    IN = 0x69,
    OUT = 0xe1,
    SETUP = 0x2d,
    END = 1,
    QUEUE = 2,
    DEPTH = 4
};

static void plug(TestMachine *tm)
{
    Machine *m = tm->m;
    Device *u = tm_device(tm, "ich9-usb-uhci1", m->board->default_bus(m, &pci_bus_type), "addr", "4.0", NULL);
    tm_device(tm, "usb-kbd", u->buses->pdata[0], "port", "1", NULL);
}

static void plug_hubs(TestMachine *tm)
{
    static const char *const ports[] = { "2", "2.1", "2.1.1", "2.1.1.1", "2.1.1.1.1" };
    plug(tm);
    Bus *usb = q35_find(tm, device_type_find("ich9-usb-uhci1"))->buses->pdata[0];
    for (unsigned i = 0; i < G_N_ELEMENTS(ports); i++) {
        tm_device(tm, "usb-hub", usb, "port", ports[i], "ports", "2", NULL);
    }
    tm_device(tm, "usb-kbd", usb, "port", "2.2", NULL);
}

static void start(TestMachine *tm)
{
    q35_set(tm, UHCI, 0x20, PORTS, 4);
    q35_set(tm, UHCI, 4, 5, 2);
    q35_out(tm, PORTS, 2, 2);
    for (unsigned i = 0; i < 1024; i++) { /* every frame has the one queue */
        tm_write(tm, FRAMES + 4 * i, 4, QH | QUEUE);
    }
    tm_write(tm, QH, 4, END);
    tm_write(tm, QH + 4, 4, END);
    q35_out(tm, PORTS + 8, FRAMES, 4);
    q35_out(tm, PORTS + 4, 15, 2);
    q35_out(tm, PORTS + 0x10, 0x200, 2);
    q35_out(tm, PORTS + 0x10, 0, 2);
    q35_out(tm, PORTS + 0x10, 4, 2);
    q35_out(tm, PORTS, 1, 2);
}

static TestMachine *open_guest(void (*devices)(TestMachine *tm))
{
    TestMachine *tm = q35_new_with(RAM, NULL, devices);
    start(tm);
    g_assert_cmphex(q35_in(tm, PORTS + 0x10, 2) & 5, ==, 5);
    return tm;
}

/* Descriptor i, with those behind it first. len: bytes. */
static void td(TestMachine *tm, unsigned i, bool last, uint8_t pid, unsigned addr, unsigned ep, unsigned len,
               uint32_t at)
{
    hwaddr t = TD + 16 * i;
    tm_write(tm, t, 4, last ? END : (t + 16) | DEPTH);
    tm_write(tm, t + 4, 4, ACTIVE | 3 << 27 | (last ? IOC : 0));
    tm_write(tm, t + 8, 4, ((len - 1) & 0x7ffu) << 21 | ep << 15 | addr << 8 | pid);
    tm_write(tm, t + 12, 4, at);
}

static uint32_t control(TestMachine *tm, unsigned i)
{
    return (uint32_t)tm_read(tm, TD + 16 * i + 4, 4);
}

static void run(TestMachine *tm)
{
    tm_write(tm, QH + 4, 4, TD);
    tm_step(tm, 12 * MS);
}

/* A request without data, and its status. */
static void request(TestMachine *tm, uint64_t setup, unsigned addr)
{
    tm_write(tm, DATA, 8, setup);
    td(tm, 0, false, SETUP, addr, 0, 8, DATA);
    td(tm, 1, true, IN, addr, 0, 0, DATA);
    run(tm);
    g_assert_cmphex(control(tm, 1) & (ACTIVE | ERRORS), ==, 0);
}

static void test_transfers(void)
{
    TestMachine *tm = open_guest(plug);
    tm_write(tm, DATA, 8, UINT64_C(0x0012000001000680));
    td(tm, 0, false, SETUP, 0, 0, 8, DATA);
    td(tm, 1, false, IN, 0, 0, 8, DATA + 64);
    td(tm, 2, false, IN, 0, 0, 8, DATA + 72);
    td(tm, 3, false, IN, 0, 0, 8, DATA + 80);
    td(tm, 4, true, OUT, 0, 0, 0, DATA);
    run(tm);
    g_assert_cmphex(control(tm, 3) & 0x7ff, ==, 1); /* two bytes */
    g_assert_cmphex(control(tm, 4) & (ACTIVE | ERRORS), ==, 0);
    g_assert_cmphex(tm_read(tm, DATA + 72, 4), ==, 0x00010627);
    g_assert_cmphex(q35_in(tm, PORTS + 2, 2), ==, 1);
    q35_out(tm, PORTS + 2, 1, 2);
    g_assert_cmphex(q35_in(tm, PORTS + 2, 2), ==, 0);
    request(tm, 0x00050500, 0);
    request(tm, 0x00010900, 5);

    /* Nobody has that address. */
    td(tm, 0, true, IN, 9, 0, 8, DATA);
    run(tm);
    g_assert_cmphex(control(tm, 0) & (ACTIVE | ERRORS), ==, 0x44 << 16);

    /* The keyboard has nothing to say, the frames go on; then it has, also after a load. */
    td(tm, 0, true, IN, 5, 1, 8, DATA);
    run(tm);
    g_assert_cmphex(control(tm, 0) & (ACTIVE | NAK), ==, ACTIVE | NAK);
    unsigned at = q35_in(tm, PORTS + 6, 2);
    for (unsigned i = 1; i <= 300; i++) {
        tm_step(tm, MS);
        g_assert_cmpuint(q35_in(tm, PORTS + 6, 2), ==, (at + i) & 0x7ff);
    }
    g_autoptr(GByteArray) state = tm_save(tm);
    g_assert_true(tm_load(tm, state, &error_abort_slot));
    input_send_key(tm->m, NULL, INPUT_KEY_A, true);
    tm_step(tm, 2 * MS);
    g_assert_cmphex(control(tm, 0) & (ACTIVE | 0x7ff), ==, 7);
    g_assert_cmphex(tm_read(tm, DATA, 4), ==, 0x00040000);
    tm_free(tm);
}

/* A control transfer of no data fails: nobody answers. */
static void expect_nobody(TestMachine *tm, unsigned addr)
{
    td(tm, 0, true, SETUP, addr, 0, 8, DATA);
    run(tm);
    g_assert_cmphex(control(tm, 0) & (ACTIVE | ERRORS), ==, 0x44 << 16);
}

/* 11.5.1.4: what is plugged into a port that is not enabled hears nothing, whatever its address was. */
static void test_hub_ports(void)
{
    enum { HUB = 6, KEYS = 7 };
    const uint64_t reset_port2 = UINT64_C(0x0000000200040323), disable_port2 = UINT64_C(0x0000000200010123);
    TestMachine *tm = open_guest(plug_hubs);
    request(tm, 0x00050500, 0); /* the keyboard at the controller */
    q35_out(tm, PORTS + 0x12, 0x200, 2);
    q35_out(tm, PORTS + 0x12, 0, 2);
    q35_out(tm, PORTS + 0x12, 4, 2);
    request(tm, HUB << 16 | 0x0500, 0);
    request(tm, 0x00010900, HUB);
    expect_nobody(tm, 0);
    request(tm, reset_port2, HUB);
    request(tm, KEYS << 16 | 0x0500, 0);
    request(tm, 0x00010900, KEYS);
    request(tm, disable_port2, HUB);
    expect_nobody(tm, KEYS);
    request(tm, reset_port2, HUB);
    request(tm, KEYS << 16 | 0x0500, 0);
    q35_out(tm, PORTS + 0x12, 0x204, 2); /* a reset of the hub disables them all */
    q35_out(tm, PORTS + 0x12, 4, 2);
    request(tm, HUB << 16 | 0x0500, 0);
    expect_nobody(tm, KEYS);
    request(tm, 0x00010900, 5);
    tm_free(tm);
}

/* USB 2.0, 4.1.1: five hubs, and a device behind them. */
static void test_hub_row(void)
{
    TestMachine *tm = open_guest(plug_hubs);
    g_autoptr(Error) err = NULL;
    Machine *m = tm->m;
    Bus *usb = q35_find(tm, device_type_find("ich9-usb-uhci1"))->buses->pdata[0];
    g_assert_null(device_create(m, device_type_find("usb-hub"), m->peripheral, "h", usb, &err, "port",
                                "2.1.1.1.1.1", NULL));
    g_assert_nonnull(strstr(error_text(err), "there are 5 in a row at most"));
    tm_device(tm, "usb-kbd", usb, "port", "2.1.1.1.1.1", NULL);
    tm_free(tm);
}

/* Queues and descriptors of anything, in loops and out of memory. */
static void storm(TestMachine *tm, unsigned c)
{
    if (c % 8 == 0 || !(q35_in(tm, PORTS, 2) & 1)) {
        start(tm);
    }
    for (unsigned i = 0; i < 16; i++) {
        uint32_t r = (uint32_t)g_test_rand_int(), pids[] = { IN, OUT, SETUP, r & 0xff };
        hwaddr t = TD + 16 * (r & 15);
        uint32_t to = (r >> 4 & 1 ? QH + (r >> 5 & 0x30) : TD + (r >> 5 & 0xf0)) | (r >> 12 & 6);
        tm_write(tm, t, 4, r >> 28 ? to : r);
        tm_write(tm, t + 4, 4, (uint32_t)g_test_rand_int() | ACTIVE);
        tm_write(tm, t + 8, 4, ((r >> 8 & 0x3f) << 21) | (r >> 14 & 1) << 15 | pids[r >> 27 ? r % 3 : 3]);
        tm_write(tm, t + 12, 4, r >> 29 ? DATA : r);
        tm_write(tm, DATA + (r & 0x3c), 4, (uint32_t)g_test_rand_int() & 0xff03ff87);
        tm_write(tm, QH + (r >> 16 & 0x3c), 4, to);
    }
    if (c % 32 == 31) {
        q35_out(tm, PORTS + ((uint32_t)g_test_rand_int() & 0x1e), (uint32_t)g_test_rand_int(), 2);
    }
}

static void test_storm(void)
{
    TestMachine *tm = open_guest(plug);
    usbtest_storm(tm, 200, storm);
    tm_free(tm);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/uhci/transfers", test_transfers);
    g_test_add_func("/uhci/hub-ports", test_hub_ports);
    g_test_add_func("/uhci/hub-row", test_hub_row);
    g_test_add_func("/uhci/storm", test_storm);
    return g_test_run();
}
