/* SPDX-License-Identifier: MIT
 * tests/device/test-xhci.c - hw/usb/xhci.c, xhci-cmd.c, xhci-ring.c, xhci-xfer.c, bus.c, device.c, hid.c,
 * hid-desc.c, storage.c, storage-scsi.c: the test is the driver, which brings up a keyboard, a tablet and a
 * disk by commands and rings, and a hostile one. RHEA_USB_CASES: rounds of that one. Threads: main.
 */
#include "hw/usb/xhci.h"
#include "q35test.h"
#include "rhea/backends/drive.h"
#include "rhea/hw/usb.h"
#include "rhea/ui/input.h"
#include "usbtest.h"

#include <string.h>

enum { XHCI = PCI_DEVFN(4, 0), BAR = 0xe0000000, OPER = BAR + 0x40, RUN = BAR + 0x1000, BELL = BAR + 0x2000 };
enum {
    DCBAA = 0x100000,
    COMMANDS = 0x101000,
    ERST = 0x102000,
    EVENTS = 0x103000,
    CONTEXT = 0x104000,
    INPUT = 0x106000,
    RINGS = 0x110000,
    DATA = 0x140000,
    RING = 0x1000,
    EVENT_N = 64,
    RAM = 16 << 20
};
enum {
    SETUP = 2,
    DATA_STAGE = 3,
    STATUS = 4,
    LINK = 6,
    ENABLE_SLOT = 9,
    ADDRESS = 11,
    CONFIGURE = 12,
    STOP = 15,
    TRANSFER_EVENT = 32,
    COMMAND_EVENT = 33,
    PORT_EVENT = 34
};
enum { CHAIN = 1 << 4, IDT = 1 << 6, IOC = 1 << 5, IN = 1 << 16 };

typedef struct Guest {
    TestMachine *tm;
    Machine *m;
    unsigned command_at, event_at, at[32];
    bool event_cycle;
    uint32_t event[4]; /* the last one */
} Guest;

static uint64_t rd(Guest *g, hwaddr at)
{
    return tm_read(g->tm, at, 4);
}
static void wr(Guest *g, hwaddr at, uint32_t v)
{
    tm_write(g->tm, at, 4, v);
}

static void wr64(Guest *g, hwaddr at, uint64_t v)
{
    wr(g, at, (uint32_t)v);
    wr(g, at + 4, (uint32_t)(v >> 32));
}

static void put_trb(Guest *g, hwaddr at, uint64_t param, uint32_t status, uint32_t control)
{
    wr64(g, at, param);
    wr(g, at + 8, status);
    wr(g, at + 12, control | 1); /* rings here do not wrap: the cycle is 1 */
}

static void plug(TestMachine *tm)
{
    Machine *m = tm->m;
    Bus *pci = m->board->default_bus(m, &pci_bus_type);
    Device *x = tm_device(tm, "qemu-xhci", pci, "addr", "4.0", NULL);
    Bus *usb = x->buses->pdata[0];
    tm_device(tm, "usb-kbd", usb, "port", "1", NULL);
    tm_device(tm, "usb-tablet", usb, "port", "2", "usb_version", "1", NULL);
}

/* The controller runs, with rings and one interrupter. */
static void start(Guest *g)
{
    q35_set(g->tm, XHCI, 0x10, BAR, 4);
    q35_set(g->tm, XHCI, 0x14, 0, 4);
    q35_set(g->tm, XHCI, 4, 6, 2);
    g_assert_cmphex(rd(g, BAR), ==, 0x01000040);
    wr(g, OPER, 2);
    g_assert_cmphex(rd(g, OPER), ==, 0);
    wr(g, OPER + 0x38, 64);
    wr64(g, OPER + 0x30, DCBAA);
    wr64(g, OPER + 0x18, COMMANDS | 1);
    wr64(g, ERST, EVENTS);
    wr64(g, ERST + 8, EVENT_N);
    wr(g, RUN + 0x28, 1);
    wr64(g, RUN + 0x38, EVENTS);
    wr64(g, RUN + 0x30, ERST);
    wr(g, RUN + 0x20, 2);
    wr(g, OPER, 5);
    g->command_at = g->event_at = 0;
    g->event_cycle = true;
    memset(g->at, 0, sizeof(g->at));
}

static bool event(Guest *g)
{
    hwaddr at = EVENTS + 16 * g->event_at;
    for (unsigned i = 0; i < 4; i++) {
        g->event[i] = (uint32_t)rd(g, at + 4 * i);
    }
    if ((g->event[3] & 1) != g->event_cycle) {
        return false;
    }
    if (++g->event_at == EVENT_N) {
        g->event_at = 0;
        g->event_cycle = !g->event_cycle;
    }
    wr64(g, RUN + 0x38, (EVENTS + 16 * g->event_at) | 8);
    return true;
}

static void expect(Guest *g, unsigned type, unsigned cc)
{
    for (unsigned i = 0; i < 100 && !event(g); i++) {
        tm_turns(g->tm);
        g_assert_cmpuint(i, <, 99);
    }
    g_assert_cmpuint(g->event[3] >> 10 & 63, ==, type);
    g_assert_cmpuint(g->event[2] >> 24, ==, cc);
}

static void command(Guest *g, uint64_t param, uint32_t control, unsigned cc)
{
    put_trb(g, COMMANDS + 16 * g->command_at++, param, 0, control);
    wr(g, BELL, 0);
    expect(g, COMMAND_EVENT, cc);
}

static hwaddr ring_of(unsigned slot, unsigned dci)
{
    return RINGS + (slot * 8 + dci) * (hwaddr)RING;
}

static void queue(Guest *g, unsigned slot, unsigned dci, uint64_t param, uint32_t status, uint32_t control)
{
    put_trb(g, ring_of(slot, dci) + 16 * g->at[slot * 8 + dci]++, param, status, control);
}

/* The port is reset, and its device has an address. Returns the slot. */
static unsigned address(Guest *g, unsigned port)
{
    wr(g, OPER + 0x400 + 16 * (port - 1), 0x210);
    expect(g, PORT_EVENT, CC_SUCCESS);
    g_assert_cmphex(rd(g, OPER + 0x400 + 16 * (port - 1)) & 0x200003, ==, 0x200003);
    command(g, 0, ENABLE_SLOT << 10, CC_SUCCESS);
    unsigned slot = g->event[3] >> 24;
    wr64(g, DCBAA + 8 * slot, CONTEXT + 0x400 * slot);
    wr64(g, INPUT, UINT64_C(3) << 32);
    wr64(g, INPUT + 32, 1u << 27 | (uint64_t)port << 48);
    wr64(g, INPUT + 64, (uint64_t)(64 << 16 | 4 << 3) << 32);
    wr64(g, INPUT + 72, ring_of(slot, 1) | 1);
    command(g, INPUT, ADDRESS << 10 | slot << 24, CC_SUCCESS);
    return slot;
}

/* A control transfer that reads `len` bytes to DATA; returns how many came. */
static unsigned control_in(Guest *g, unsigned slot, uint64_t setup, unsigned len)
{
    queue(g, slot, 1, setup, 8, SETUP << 10 | IDT | 3 << 16);
    queue(g, slot, 1, DATA, len, DATA_STAGE << 10 | IOC | IN);
    queue(g, slot, 1, 0, 0, STATUS << 10);
    wr(g, BELL + 4 * slot, 1);
    expect(g, TRANSFER_EVENT, CC_SHORT);
    return len - (g->event[2] & 0xffffff);
}

static void control_none(Guest *g, unsigned slot, uint64_t setup)
{
    queue(g, slot, 1, setup, 8, SETUP << 10 | IDT);
    queue(g, slot, 1, 0, 0, STATUS << 10 | IOC | IN);
    wr(g, BELL + 4 * slot, 1);
    expect(g, TRANSFER_EVENT, CC_SUCCESS);
}

/* The endpoint dci of that type joins the slot. */
static void add_endpoint(Guest *g, unsigned slot, unsigned dci, unsigned type)
{
    wr64(g, INPUT, (UINT64_C(1) | 1u << dci) << 32);
    wr64(g, INPUT + 32, (uint64_t)dci << 27);
    wr64(g, INPUT + 32 * (dci + 1), (uint64_t)(8 << 16 | type << 3) << 32);
    wr64(g, INPUT + 32 * (dci + 1) + 8, ring_of(slot, dci) | 1);
    command(g, INPUT, CONFIGURE << 10 | slot << 24, CC_SUCCESS);
}

static void open_with(Guest *g, void (*devices)(TestMachine *tm))
{
    memset(g, 0, sizeof(*g));
    g->tm = q35_new_with(RAM, NULL, devices);
    g->m = g->tm->m;
    start(g);
}

static void open_guest(Guest *g)
{
    open_with(g, plug);
}

static void test_keyboard(void)
{
    Guest g;
    open_guest(&g);
    unsigned slot = address(&g, 5); /* ports of USB 3 come first */
    g_assert_cmpuint(control_in(&g, slot, UINT64_C(0x00ff000001000680), 255), ==, 18);
    g_assert_cmphex(rd(&g, DATA + 8), ==, 0x00010627);
    g_assert_cmpuint(control_in(&g, slot, UINT64_C(0x00ff000002000680), 255), ==, 34);
    g_assert_cmphex(rd(&g, DATA) & 0xffff, ==, 0x0209);
    control_none(&g, slot, 0x00010900);
    add_endpoint(&g, slot, 3, 7);
    for (unsigned i = 0; i < 3; i++) {
        queue(&g, slot, 3, DATA + 64 * i, 8, 1 << 10 | IOC);
    }
    wr(&g, BELL + 4 * slot, 3);
    g_assert_false(event(&g)); /* it has nothing to say */
    input_send_key(g.m, NULL, INPUT_KEY_A, true);
    expect(&g, TRANSFER_EVENT, CC_SUCCESS);
    g_assert_cmphex(rd(&g, DATA), ==, 0x00040000);
    input_send_key(g.m, NULL, INPUT_KEY_SHIFT, true);
    expect(&g, TRANSFER_EVENT, CC_SUCCESS);
    g_assert_cmphex(rd(&g, DATA + 64), ==, 0x00040002);

    /* A load finds the packet that waits in the ring. */
    g_autoptr(GByteArray) state = tm_save(g.tm);
    g_assert_true(tm_load(g.tm, state, &error_abort_slot));
    input_send_key(g.m, NULL, INPUT_KEY_A, false);
    expect(&g, TRANSFER_EVENT, CC_SUCCESS);
    g_assert_cmphex(rd(&g, DATA + 128), ==, 0x00000002);
    g_assert_false(event(&g));
    tm_free(g.tm);
}

static void place(Guest *g, int x)
{
    UiEvent to = { .kind = INPUT_KIND_ABS, .code = 0, .value = x };
    g_assert_true(input_send(g->m, NULL, &to, 1));
}

static void button(Guest *g, bool down)
{
    UiEvent to = { .kind = INPUT_KIND_BUTTON, .code = POINTER_LEFT, .down = down };
    g_assert_true(input_send(g->m, NULL, &to, 1));
}

static void test_tablet(void)
{
    Guest g;
    open_guest(&g);
    unsigned slot = address(&g, 6);
    g_assert_cmphex(rd(&g, OPER + 0x450) >> 10 & 15, ==, 1); /* full speed */
    control_none(&g, slot, 0x00010900);
    add_endpoint(&g, slot, 3, 7);
    queue(&g, slot, 3, DATA, 8, 1 << 10 | IOC | 1 << 2);
    wr(&g, BELL + 4 * slot, 3);
    UiEvent to[] = { { .kind = INPUT_KIND_ABS, .code = 0, .value = 0x1234 },
                     { .kind = INPUT_KIND_ABS, .code = 1, .value = 0x4321 },
                     { .kind = INPUT_KIND_BUTTON, .code = POINTER_RIGHT, .down = true } };
    g_assert_true(input_send(g.m, NULL, to, G_N_ELEMENTS(to)));
    expect(&g, TRANSFER_EVENT, CC_SHORT);
    g_assert_cmpuint(g.event[2] & 0xffffff, ==, 2);
    g_assert_cmphex(rd(&g, DATA), ==, 0x21123402);
    g_assert_cmphex(rd(&g, DATA + 4) & 0xffff, ==, 0x0043);
    /* Before the guest asks again: movements are one report, but a click stays where it was made. */
    place(&g, 1);
    place(&g, 2);
    button(&g, true);
    button(&g, false);
    place(&g, 3);
    place(&g, 4);
    static const uint32_t want[] = { 0x00000202, 0x00000203, 0x00000202, 0x00000402 };
    for (unsigned i = 0; i < G_N_ELEMENTS(want); i++) {
        queue(&g, slot, 3, DATA + 64 * i, 8, 1 << 10 | IOC | 1 << 2);
    }
    wr(&g, BELL + 4 * slot, 3);
    for (unsigned i = 0; i < G_N_ELEMENTS(want); i++) {
        expect(&g, TRANSFER_EVENT, CC_SHORT);
        g_assert_cmphex(rd(&g, DATA + 64 * i) & 0xffffff, ==, want[i]);
    }
    command(&g, 0, STOP << 10 | slot << 24 | 3 << 16, CC_SUCCESS);
    command(&g, 0, STOP << 10 | slot << 24 | 3 << 16, 19);
    tm_free(g.tm);
}

static void plug_disk(TestMachine *tm)
{
    Machine *m = tm->m;
    Device *x = tm_device(tm, "qemu-xhci", m->board->default_bus(m, &pci_bus_type), "addr", "4.0", NULL);
    usbdisk_plug(tm, x->buses->pdata[0], "1");
}

static void read_command(Guest *g, unsigned slot, uint8_t sector)
{
    usbdisk_read_command(g->tm, DATA + 0x400, sector);
    queue(g, slot, 4, DATA + 0x400, 31, 1 << 10 | IOC);
    wr(g, BELL + 4 * slot, 4);
    expect(g, TRANSFER_EVENT, CC_SUCCESS);
}

/* A configured disk, of which a read is under way. Returns its slot. */
static unsigned begin_slow_read(Guest *g)
{
    open_with(g, plug_disk);
    unsigned slot = address(g, 1);
    control_none(g, slot, 0x00010900);
    add_endpoint(g, slot, 3, 6);
    add_endpoint(g, slot, 4, 2);
    usbdisk_keep_read();
    read_command(g, slot, 3);
    queue(g, slot, 3, DATA + 0x1000, 512, 1 << 10 | IOC);
    wr(g, BELL + 4 * slot, 3);
    tm_turns(g->tm);
    g_assert_true(usbdisk_read_is_kept());
    return slot;
}

/* The transport is reset while a read is under way: the TD stays in its ring, and gets the next command's
 * data. */
static void test_disk_reset(void)
{
    Guest g;
    unsigned slot = begin_slow_read(&g);
    control_none(&g, slot, 0xff21);
    usbdisk_end_read(g.tm);
    g_assert_false(event(&g));
    read_command(&g, slot, 7);
    expect(&g, TRANSFER_EVENT, CC_SUCCESS);
    g_assert_cmphex(rd(&g, DATA + 0x1000), ==, 0x08080808);
    usbdisk_free(g.tm);
}

/* The end of a request does not begin the next while the machine stands: stopping it would wait for all. */
static void test_disk_stopped(void)
{
    Guest g;
    unsigned slot = begin_slow_read(&g);
    queue(&g, slot, 3, DATA + 0x2000, 13, 1 << 10 | IOC);
    usbdisk_stop_reading(g.tm);
    tm_turns(g.tm);
    g_assert_cmphex(rd(&g, DATA + 0x1000), ==, 0x04040404);
    g_assert_cmphex(rd(&g, DATA + 0x2000), ==, 0);
    machine_start(g.tm->m);
    tm_turns(g.tm);
    g_assert_cmphex(rd(&g, DATA + 0x2000), ==, 0x53425355);
    usbdisk_free(g.tm);
}

/* The disk, or its controller, goes while the host reads for it; also after a reset of the transport. */
static void test_disk_goes(void)
{
    for (unsigned how = 0; how < 4; how++) {
        Guest g;
        unsigned slot = begin_slow_read(&g);
        if (how & 2) {
            control_none(&g, slot, 0xff21);
        }
        Device *x = q35_find(g.tm, &qemu_xhci_type);
        usbdisk_remove_reading(g.tm, how & 1 ? x : ((Bus *)x->buses->pdata[0])->children->pdata[0]);
        tm_turns(g.tm);
        usbdisk_free(g.tm);
    }
}

/* Large transfers take turns with everything else: a doorbell does not do all of a ring. */
static void test_turns(void)
{
    enum { TDS = 7, TRBS = 32, PIECE = 65536 };
    Guest g;
    open_with(&g, plug_disk);
    unsigned slot = address(&g, 1);
    control_none(&g, slot, 0x00010900);
    add_endpoint(&g, slot, 3, 6);
    add_endpoint(&g, slot, 4, 2);
    usbdisk_read_command(g.tm, DATA + 0x400, 0);
    wr(&g, DATA + 0x408, TDS * TRBS * PIECE);
    wr(&g, DATA + 0x40c, 10 << 16 | 0x80); /* TEST UNIT READY: what it does not have is filled up */
    queue(&g, slot, 4, DATA + 0x400, 31, 1 << 10 | IOC);
    wr(&g, BELL + 4 * slot, 4);
    expect(&g, TRANSFER_EVENT, CC_SUCCESS);
    for (unsigned i = 0; i < TDS * TRBS; i++) {
        queue(&g, slot, 3, DATA + 0x1000, PIECE, 1 << 10 | (i % TRBS == TRBS - 1 ? IOC : CHAIN));
    }
    wr(&g, BELL + 4 * slot, 3);
    g_assert_true(event(&g));
    g_assert_false(event(&g));
    for (unsigned i = 1; i < TDS; i++) {
        expect(&g, TRANSFER_EVENT, CC_SUCCESS);
    }
    usbdisk_free(g.tm);
}

/* A saved state in which an empty port has a device. */
static void test_load(void)
{
    Guest g;
    g_autoptr(Error) err = NULL;
    open_guest(&g);
    Xhci *x = dev_as(Xhci, q35_find(g.tm, &qemu_xhci_type));
    g_assert_cmphex(x->ports[0].portsc & 1, ==, 0);
    x->ports[0].portsc |= 1;
    g_autoptr(GByteArray) state = tm_save(g.tm);
    x->ports[0].portsc &= ~1u;
    g_assert_false(tm_load(g.tm, state, &err));
    g_assert_nonnull(strstr(error_text(err), "port 1 of a saved xHCI controller"));
    tm_free(g.tm);
}

/* A ring of links, one that leads to no memory, and doorbells of what there is not. */
static void test_bad_rings(void)
{
    Guest g;
    open_guest(&g);
    unsigned slot = address(&g, 5);
    put_trb(&g, ring_of(slot, 1), ring_of(slot, 1), 0, LINK << 10);
    wr(&g, BELL + 4 * slot, 1);
    expect(&g, TRANSFER_EVENT, 5);
    g_assert_cmphex(rd(&g, CONTEXT + 0x400 * slot + 32) & 7, ==, 4); /* state: error */
    wr(&g, BELL + 4 * slot, 0);
    wr(&g, BELL + 4 * 64, 255);
    command(&g, UINT64_C(0x4000000000000000), ADDRESS << 10 | 63 << 24, 11);
    put_trb(&g, COMMANDS + 16 * g.command_at, UINT64_C(0x4000000000000000), 0, LINK << 10);
    wr(&g, BELL, 0);
    g_assert_cmphex(rd(&g, OPER + 4) & 5, ==, 5); /* host system error, halted */
    wr(&g, OPER, 2);
    start(&g);
    address(&g, 5);
    tm_free(g.tm);
}

/* Any registers, structures of anything in memory. */
static void test_storm(void)
{
    unsigned cases = usbtest_cases(300);
    Guest g;
    open_guest(&g);
    for (unsigned c = 0; c < cases; c++) {
        if (c % 16 == 0) {
            wr(&g, OPER, 2);
            start(&g);
            wr(&g, OPER + 0x440, 0x210); /* mostly with devices that answer */
            wr(&g, OPER + 0x450, 0x210);
        }
        for (unsigned i = 0; i < 40; i++) {
            hwaddr page = (hwaddr[]){
                DCBAA, COMMANDS, ERST, CONTEXT, INPUT, RINGS + RING * (hwaddr)g_test_rand_int_range(0, 16)
            }[g_test_rand_int_range(0, 6)];
            uint32_t v = (uint32_t)g_test_rand_int();
            switch (g_test_rand_int_range(0, 4)) {
            case 0: v = DCBAA + (v & 0x7fff0); break;
            case 1: v = (v & 0x3f) << 10 | (v >> 8 & 0x73) | 1 | (v & 0x07000000) | (v >> 4 & 3) << 16; break;
            case 2: v &= 0xff; break;
            }
            wr(&g, page + ((uint32_t)g_test_rand_int() & 0xfc), v);
        }
        for (unsigned i = 0; i < 8; i++) {
            hwaddr at = (hwaddr[]){
                BELL, BELL + 4, BELL + 8, OPER + 0x400, OPER, RUN + 0x20, BELL, BELL + 4
            }[g_test_rand_int_range(0, 8)];
            uint32_t v = (uint32_t)g_test_rand_int();
            if (at >= BELL) {
                v = at == BELL ? 0 : (uint32_t)g_test_rand_int_range(1, 6);
            } else if (at == OPER) {
                v = (v & 0xfd) | 5;
            } else {
                at += ((uint32_t)g_test_rand_int() & 0x7c);
            }
            wr(&g, at, v);
        }
        if (g_test_rand_bit()) {
            input_send_key(g.m, NULL, INPUT_KEY_A + (unsigned)g_test_rand_int_range(0, 4), g_test_rand_bit());
        }
        tm_turns(g.tm);
    }
    tm_free(g.tm);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    drive_register();
    g_test_add_func("/xhci/keyboard", test_keyboard);
    g_test_add_func("/xhci/tablet", test_tablet);
    g_test_add_func("/xhci/bad-rings", test_bad_rings);
    g_test_add_func("/xhci/disk-reset", test_disk_reset);
    g_test_add_func("/xhci/disk-stopped", test_disk_stopped);
    g_test_add_func("/xhci/disk-goes", test_disk_goes);
    g_test_add_func("/xhci/turns", test_turns);
    g_test_add_func("/xhci/load", test_load);
    g_test_add_func("/xhci/storm", test_storm);
    return g_test_run();
}
