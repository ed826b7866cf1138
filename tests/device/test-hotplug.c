/* SPDX-License-Identifier: MIT
 * tests/device/test-hotplug.c - devices that come and go while the machine is up: system/hotplug.c,
 * monitor/device_add.c, hw/pci/unplug.c, pcie-slot.c, hw/acpi/pcihp.c and the boards that use them. The test
 * is the guest: it reads the registers that ACPI's methods and PCI Express drivers read, and answers. Then a
 * storm of additions and removals for each type that can. RHEA_STORM=N: accesses in it, for each type.
 * Threads: main, and an I/O thread for a disk.
 */
#include "tests/device/dut.h"
#include "tests/device/virtguest.h"
#include "tests/device/virtring.h"
#include "tests/lib/testmachine.h"

#include "hw/i386/pc.h"

#include "rhea/backends/drive.h"
#include "rhea/hw/pc.h"
#include "rhea/hw/pcie.h"
#include "rhea/hw/pcihp.h"
#include "rhea/monitor/monitor.h"
#include "rhea/net/net.h"
#include "rhea/system/hotplug.h"
#include "rhea/system/iothread.h"

#include <glib/gstdio.h>
#include <stdlib.h>

enum { PC_PORT = 0xae00, Q35_PORT = 0xcc0, UP = 0, DOWN = 4, EJECT = 8, REMOVABLE = 0xc, SELECT = 0x10 };
enum { PORT_FN = PCI_DEVFN(2, 0), SLOT_CONTROL = 0x18, SLOT_STATUS = 0x1a, LINK = 0x12 };

static char *firmware; /* 64 KiB of HLT */

typedef struct Hp {
    TestMachine *tm;
    PcTest io; /* ways to the machine */
    MachineListener listener;
    GString *events; /* " NAME:ID" of each */
    uint16_t port;   /* ACPI's registers */
} Hp;

static void note_event(void *opaque, const char *name, const Json *data)
{
    Hp *h = opaque;
    const char *id = data ? json_get_string(json_member(data, "device", NULL)) : NULL;
    if (g_str_has_prefix(name, "DEVICE_")) {
        g_string_append_printf(h->events, " %s:%s", name, id ? id : "");
        g_assert_nonnull(json_get_string(json_member(data, "path", NULL)));
    }
}

static void add_global(Machine *m, const char *driver, const char *prop, const char *value)
{
    GlobalProp *g = g_new0(GlobalProp, 1);
    *g = (GlobalProp){ .driver = g_strdup(driver), .prop = g_strdup(prop), .value = g_strdup(value) };
    g_ptr_array_add(m->globals, g);
}

static void hp_prepare(Hp *h, const BoardType *board)
{
    memset(h, 0, sizeof(*h));
    h->tm = tm_prepare(board);
    h->tm->m->ram_size = 64 << 20;
    h->tm->m->bios = g_strdup(firmware);
    h->tm->m->action.no_shutdown = true;
    h->io.m = h->tm->m;
    h->io.loop = h->tm->loop;
    h->events = g_string_new(NULL);
    h->port = board == &pc_board ? PC_PORT : Q35_PORT;
}

/* q35 with a port "rp" at 02.0, and one without hot-plug, "still", at 03.0. */
static void hp_open(Hp *h)
{
    Machine *m = h->tm->m;
    machine_build(m, &error_abort_slot);
    if (h->port == Q35_PORT) {
        device_add_option(m, "pcie-root-port,id=rp,addr=2,chassis=1", &error_abort_slot);
        device_add_option(m, "pcie-root-port,id=still,addr=3,chassis=2,hotplug=off", &error_abort_slot);
    }
    machine_ready(m, &error_abort_slot);
    machine_start(m);
    h->listener = (MachineListener){ .event = note_event, .opaque = h };
    machine_add_listener(m, &h->listener);
}

static void hp_begin(Hp *h, const BoardType *board)
{
    hp_prepare(h, board);
    hp_open(h);
}

static void hp_end(Hp *h)
{
    machine_stop(h->tm->m, RUN_PAUSED);
    machine_remove_listener(h->tm->m, &h->listener);
    drive_remove_all(h->tm->m);
    tm_free(h->tm);
    g_string_free(h->events, TRUE);
}

static void add(Hp *h, const char *option)
{
    device_add_option(h->tm->m, option, &error_abort_slot);
}

static void del(Hp *h, const char *id)
{
    device_del(h->tm->m, id, &error_abort_slot);
}

static void refuse(bool done, Error **err, const char *text)
{
    g_assert_false(done);
    g_assert_cmpstr(error_text(*err), ==, text);
    g_assert_nonnull(error_hint_text(*err));
    g_clear_pointer(err, error_free);
}

static void expect_events(Hp *h, const char *want)
{
    tm_turns(h->tm);
    g_assert_cmpstr(h->events->str, ==, want);
    g_string_set_size(h->events, 0);
}

static uint32_t hp_get(Hp *h, unsigned bus, unsigned reg)
{
    pctest_out(&h->io, h->port + SELECT, bus, 4);
    return pctest_in(&h->io, h->port + reg, 4);
}

/* What _EJ0 does. */
static void eject(Hp *h, unsigned bus, uint32_t slots)
{
    pctest_out(&h->io, h->port + SELECT, bus, 4);
    pctest_out(&h->io, h->port + EJECT, slots, 4);
}

static uint32_t config(Hp *h, unsigned bdf, unsigned off, unsigned n)
{
    return pctest_config_read(&h->io, bdf, off, n);
}

/* Status of the events, and the SCI on input 9. */
enum { GPE_PC = 0x60c, GPE_Q35 = 0x620 };
static void place_pm(Hp *h)
{
    if (h->port == PC_PORT) {
        pctest_config_write(&h->io, PCI_DEVFN(1, 3), 0x40, 0x601, 4);
        pctest_config_write(&h->io, PCI_DEVFN(1, 3), 0x80, 1, 1);
        pctest_out(&h->io, 0xb2, 0xf1, 1);
    } else {
        pctest_config_write(&h->io, PCI_DEVFN(31, 0), 0x40, 0x601, 4);
        pctest_config_write(&h->io, PCI_DEVFN(31, 0), 0x44, 0x80, 1);
        pctest_out(&h->io, 0xb2, 0x02, 1);
    }
}

static bool gpe_set(Hp *h)
{
    uint16_t at = h->port == PC_PORT ? GPE_PC : GPE_Q35;
    bool set = pctest_in(&h->io, at, 2) & 2;
    pctest_out(&h->io, at, 2, 2);
    g_assert_cmphex(pctest_in(&h->io, at, 2) & 2, ==, 0);
    return set;
}

/* ---- ACPI ---- */

static void test_acpi_pc(void)
{
    Hp h;
    hp_begin(&h, &pc_board);
    place_pm(&h);
    g_assert_false(gpe_set(&h));
    add(&h, "virtio-rng-pci,id=r,addr=5");
    g_assert_true(gpe_set(&h));
    g_assert_cmphex(config(&h, PCI_DEVFN(5, 0), 0, 4), ==, 0x10051af4);
    g_assert_cmphex(hp_get(&h, 0, UP), ==, 1 << 5);
    g_assert_cmphex(hp_get(&h, 0, UP), ==, 0);          /* read once */
    g_assert_cmphex(hp_get(&h, 0, REMOVABLE), ==, ~3u); /* host bridge, and what is in slot 1 */
    g_assert_cmphex(hp_get(&h, 7, REMOVABLE), ==, 0);
    del(&h, "r");
    g_assert_true(gpe_set(&h));
    g_assert_cmphex(hp_get(&h, 0, DOWN), ==, 1 << 5);
    g_assert_cmphex(hp_get(&h, 0, DOWN), ==, 1 << 5); /* until it is gone */
    expect_events(&h, "");
    del(&h, "r"); /* a guest that did not listen is asked again */
    g_assert_true(gpe_set(&h));
    eject(&h, 0, 1 << 5);
    g_assert_cmphex(hp_get(&h, 0, DOWN), ==, 0);
    expect_events(&h, " DEVICE_DELETED:r");
    g_assert_cmphex(config(&h, PCI_DEVFN(5, 0), 0, 4), ==, 0xffffffff);
    /* the guest by itself; what may not go stays */
    add(&h, "virtio-rng-pci,id=r,addr=5");
    eject(&h, 0, ~0u);
    expect_events(&h, " DEVICE_DELETED:r");
    g_assert_cmphex(config(&h, 0, 0, 4), ==, 0x12378086);
    g_assert_cmphex(config(&h, PCI_DEVFN(1, 1), 0, 4), ==, 0x70108086);
    hp_end(&h);
}

static void test_again(void)
{
    Hp h;
    hp_begin(&h, &pc_board);
    for (unsigned i = 0; i < 100; i++) {
        add(&h, i & 1 ? "pvpanic-pci,id=x,addr=9" : "virtio-rng-pci,id=x,addr=9");
        Error *err = NULL;
        refuse(device_add_option(h.tm->m, "virtio-rng-pci,id=y,addr=9", &err), &err,
               i & 1 ? "device 'y': PCI address 09.0 on bus 'pci.0' is in use by 'pvpanic-pci', id 'x'"
                     : "device 'y': PCI address 09.0 on bus 'pci.0' is in use by 'virtio-rng-pci', id 'x'");
        del(&h, "x");
        eject(&h, 0, 1 << 9);
        expect_events(&h, " DEVICE_DELETED:x");
    }
    hp_end(&h);
}

/* Function 0 last: then all of them are told of, and go together. */
static void test_functions(void)
{
    Hp h;
    Error *err = NULL;
    hp_begin(&h, &pc_board);
    add(&h, "virtio-rng-pci,id=f1,addr=6.1");
    g_assert_cmphex(hp_get(&h, 0, UP), ==, 0);
    add(&h, "virtio-rng-pci,id=f2,addr=6.2");
    del(&h, "f2"); /* no guest knows it */
    expect_events(&h, " DEVICE_DELETED:f2");
    add(&h, "virtio-rng-pci,id=f0,addr=6.0,multifunction=on");
    g_assert_cmphex(hp_get(&h, 0, UP), ==, 1 << 6);
    refuse(device_add_option(h.tm->m, "virtio-rng-pci,id=f3,addr=6.3", &err), &err,
           "device 'f3': PCI address 06.3: 'f0' is function 0 of that slot, and the guest has seen it");
    del(&h, "f1");
    eject(&h, 0, hp_get(&h, 0, DOWN));
    expect_events(&h, " DEVICE_DELETED:f1 DEVICE_DELETED:f0");
    hp_end(&h);
}

static void test_acpi_q35(void)
{
    Hp h;
    hp_begin(&h, &q35_board);
    place_pm(&h);
    pctest_config_write(&h.io, PORT_FN, 0x18, 0x010100, 4); /* bus 1 is behind it */
    unsigned cap = config(&h, PORT_FN, 0x34, 1);
    while (config(&h, PORT_FN, cap, 1) != 0x10) {
        cap = config(&h, PORT_FN, cap + 1, 1);
    }
    g_assert_cmphex(config(&h, PORT_FN, cap + 0x14, 1), ==, 0x5b); /* firmware sees that room is needed */
    add(&h, "virtio-rng-pci,id=r,bus=rp");
    g_assert_true(gpe_set(&h));
    g_assert_cmphex(hp_get(&h, 0, UP), ==, 1);
    g_assert_cmphex(hp_get(&h, 1, UP), ==, 0);
    g_assert_cmphex(config(&h, 1 << 8, 0, 4), ==, 0x10441af4);
    g_assert_cmphex(config(&h, PORT_FN, cap + LINK, 2), ==, 0x2011); /* nobody has to power it on */
    g_assert_cmphex(config(&h, PORT_FN, cap + SLOT_STATUS, 2), ==, 0x40);
    del(&h, "r");
    eject(&h, 0, hp_get(&h, 0, DOWN));
    expect_events(&h, " DEVICE_DELETED:r");
    g_assert_cmphex(config(&h, 1 << 8, 0, 4), ==, 0xffffffff);
    g_assert_cmphex(config(&h, PORT_FN, cap + LINK, 2), ==, 0x0011);
    hp_end(&h);
}

/* A reset of the machine completes what the guest was asked for. */
static void test_reset(void)
{
    Hp h;
    hp_begin(&h, &pc_board);
    add(&h, "virtio-rng-pci,id=a,addr=5");
    add(&h, "virtio-rng-pci,id=b,addr=6");
    del(&h, "a");
    machine_reset(h.tm->m, RESET_COLD);
    g_assert_cmphex(config(&h, PCI_DEVFN(5, 0), 0, 4), ==, 0xffffffff); /* firmware does not find it */
    expect_events(&h, " DEVICE_DELETED:a");
    g_assert_cmphex(hp_get(&h, 0, UP), ==, 0); /* b is found by looking */
    g_assert_cmphex(config(&h, PCI_DEVFN(6, 0), 0, 4), ==, 0x10051af4);
    hp_end(&h);
}

static void check_boot_order(Hp *h, const char *want)
{
    g_autoptr(GBytes) order = pctest_file(&h->io, "bootorder");
    g_assert_nonnull(order);
    gsize n;
    const char *text = g_bytes_get_data(order, &n);
    g_assert_cmpuint(n, ==, want ? strlen(want) + 1 : 0);
    g_assert_cmpstr(text, ==, want);
}

/* Firmware hears at its next start of those that came and went with a bootindex. */
static void test_boot_order(void)
{
    static const char first[] = "/pci@i0cf8/ethernet@5/ethernet-phy@0";
    static const char second[] = "/pci@i0cf8/ethernet@6/ethernet-phy@0";
    g_autofree char *both = g_strconcat(second, "\n", first, NULL);
    Hp h;
    hp_begin(&h, &pc_board);
    check_boot_order(&h, NULL);
    add(&h, "virtio-net-pci,id=a,addr=5,bootindex=2");
    check_boot_order(&h, NULL); /* it may be reading */
    machine_reset(h.tm->m, RESET_WARM);
    check_boot_order(&h, first);
    add(&h, "virtio-net-pci,id=b,addr=6,bootindex=1");
    machine_reset(h.tm->m, RESET_WARM);
    check_boot_order(&h, both);
    eject(&h, 0, 1 << 5);
    expect_events(&h, " DEVICE_DELETED:a");
    del(&h, "b"); /* the guest does not answer */
    machine_reset(h.tm->m, RESET_WARM);
    check_boot_order(&h, NULL);
    expect_events(&h, " DEVICE_DELETED:b");
    hp_end(&h);
}

/* Saved between the guest's answer and the removal: the copy has it removed, too. */
static void test_saved(void)
{
    Hp h, k;
    hp_begin(&h, &pc_board);
    hp_begin(&k, &pc_board);
    for (unsigned i = 0; i < 2; i++) {
        add(i ? &k : &h, "virtio-rng-pci,id=r,addr=5");
        add(i ? &k : &h, "virtio-rng-pci,id=s,addr=6");
    }
    hp_get(&h, 0, UP);
    del(&h, "s");
    eject(&h, 0, 1 << 5);
    GByteArray *state = g_byte_array_new();
    machine_save(h.tm->m, state, true);
    machine_stop(k.tm->m, RUN_PAUSED);
    machine_load(k.tm->m, state->data, state->len, &error_abort_slot);
    g_byte_array_unref(state);
    expect_events(&k, " DEVICE_DELETED:r");
    g_assert_cmphex(hp_get(&k, 0, UP), ==, 0);
    g_assert_cmphex(hp_get(&k, 0, DOWN), ==, 1 << 6);
    hp_end(&h);
    hp_end(&k);
}

/* ---- what is refused ---- */

static void test_refused(void)
{
    Hp h;
    Error *err = NULL;
    hp_begin(&h, &q35_board);
    Machine *m = h.tm->m;
    const struct {
        const char *option, *text;
    } rows[] = {
        { "virtio-rng-pci,id=x", "bus 'pcie.0' does not support hotplugging" },
        { "virtio-rng-pci,id=x,bus=still", "bus 'still' does not support hotplugging" },
        { "isa-debug-exit,id=x", "bus 'isa.0' does not support hotplugging" },
        { "pcie-root-port,id=x,bus=rp", "device 'pcie-root-port' does not support hotplugging" },
        { "qemu64-x86_64-cpu,id=x", "device 'qemu64-x86_64-cpu': CPUs cannot be added to a machine" },
        { "pc-dimm,id=x", "device 'pc-dimm': memory modules cannot be added to a machine" },
    };
    for (unsigned i = 0; i < G_N_ELEMENTS(rows); i++) {
        refuse(device_add_option(m, rows[i].option, &err), &err, rows[i].text);
    }
    refuse(device_del(m, "rp", &err), &err, "bus 'pcie.0' does not support hotplugging");
    refuse(device_del(m, "/machine/unattached/device[0]", &err), &err,
           "bus '(none)' does not support hotplugging");
    g_assert_false(device_del(m, "nobody", &err));
    g_assert_cmpint(error_class(err), ==, ERROR_DEVICE_NOT_FOUND);
    g_clear_pointer(&err, error_free);
    add(&h, "virtio-rng-pci,id=r,bus=rp");
    refuse(device_add_option(m, "virtio-rng-pci,id=r2,bus=rp", &err), &err,
           "device 'r2': no free slot on PCI bus 'rp' for 'r2'");
    refuse(device_add_option(m, "virtio-rng-pci,id=r,bus=rp,nonsense=1", &err), &err,
           "there is already a device with id 'r'");
    expect_events(&h, "");
    hp_end(&h);
    /* switched off */
    hp_prepare(&h, &pc_board);
    add_global(h.tm->m, "PIIX4_PM", "acpi-root-pci-hotplug", "off");
    hp_open(&h);
    refuse(device_add_option(h.tm->m, "virtio-rng-pci,id=x", &err), &err,
           "bus 'pci.0' does not support hotplugging");
    hp_end(&h);
}

/* ---- native hot-plug ---- */

enum { BUTTON = 1, PRESENCE = 8, PRESENT = 0x40, LINK_CHANGED = 0x100 };
enum { LED_ON = 0x100, LED_BLINKS = 0x200, LED_OFF = 0x300, NO_POWER = 0x400, LISTEN = 0x1029 };

typedef struct Native {
    Hp h;
    unsigned cap;
} Native;

static void native_begin(Native *n)
{
    hp_prepare(&n->h, &q35_board);
    add_global(n->h.tm->m, "ICH9-LPC", "acpi-pci-hotplug-with-bridge-support", "off");
    hp_open(&n->h);
    pctest_config_write(&n->h.io, PORT_FN, 0x18, 0x010100, 4);
    pctest_config_write(&n->h.io, PORT_FN, 0x04, 7, 2);
    n->cap = config(&n->h, PORT_FN, 0x34, 1);
    while (config(&n->h, PORT_FN, n->cap, 1) != 0x10) {
        n->cap = config(&n->h, PORT_FN, n->cap + 1, 1);
    }
}

static uint32_t slot_get(Native *n, unsigned off)
{
    return config(&n->h, PORT_FN, n->cap + off, 2);
}

static void slot_control(Native *n, unsigned v)
{
    pctest_config_write(&n->h.io, PORT_FN, n->cap + SLOT_CONTROL, v | LISTEN | 0xc0, 2);
}

/* What happened since the last time; the port's pin is up as long as something has. */
static unsigned slot_events(Native *n)
{
    unsigned v = slot_get(n, SLOT_STATUS) & ~PRESENT;
    const Device *port = n->h.tm->m->peripheral->children->pdata[0];
    g_assert_true(((const PciFunc *)port->bus_data)->intx_level == (v != 0));
    pctest_config_write(&n->h.io, PORT_FN, n->cap + SLOT_STATUS, v, 2);
    g_assert_cmphex(slot_get(n, SLOT_STATUS) & ~PRESENT, ==, 0);
    g_assert_false(((const PciFunc *)port->bus_data)->intx_level);
    return v;
}

static void native_add(Native *n)
{
    add(&n->h, "virtio-rng-pci,id=r,bus=rp");
    g_assert_cmphex(slot_events(n), ==, BUTTON | PRESENCE);
    g_assert_cmphex(slot_get(n, LINK), ==, 0x0011);
    slot_control(n, LED_BLINKS | NO_POWER);
    slot_control(n, LED_BLINKS);
    g_assert_cmphex(slot_events(n), ==, LINK_CHANGED);
    g_assert_cmphex(slot_get(n, LINK), ==, 0x2011);
    slot_control(n, LED_ON);
    g_assert_cmphex(slot_events(n), ==, 0);
}

static void test_native(void)
{
    Native n;
    Error *err = NULL;
    native_begin(&n);
    g_assert_cmphex(slot_get(&n, SLOT_CONTROL), ==, 0x7c0); /* nobody there: no power, indicators off */
    slot_control(&n, LED_OFF | NO_POWER);
    for (unsigned i = 0; i < 20; i++) {
        native_add(&n);
        del(&n.h, "r");
        g_assert_cmphex(slot_events(&n), ==, BUTTON);
        refuse(device_del(n.h.tm->m, "r", &err), &err, "device 'r' is already in the process of unplug");
        slot_control(&n, LED_BLINKS);
        tm_step(n.h.tm, 5000000001);
        refuse(device_del(n.h.tm->m, "r", &err), &err,
               "device 'r' cannot be removed now: its guest is busy with the slot (the power indicator "
               "blinks)");
        slot_control(&n, LED_BLINKS | NO_POWER);
        g_assert_cmphex(slot_events(&n), ==, LINK_CHANGED);
        expect_events(&n.h, "");
        slot_control(&n, LED_OFF | NO_POWER); /* now the guest has let go */
        expect_events(&n.h, " DEVICE_DELETED:r");
        g_assert_cmphex(slot_events(&n), ==, PRESENCE);
        g_assert_cmphex(config(&n.h, 1 << 8, 0, 4), ==, 0xffffffff);
    }
    hp_end(&n.h);
}

static void test_native_answers(void)
{
    Native n;
    native_begin(&n);
    slot_control(&n, LED_OFF | NO_POWER);
    native_add(&n);
    del(&n.h, "r"); /* the guest begins, and changes its mind */
    slot_control(&n, LED_BLINKS);
    slot_control(&n, LED_ON);
    expect_events(&n.h, " DEVICE_UNPLUG_GUEST_ERROR:r");
    slot_events(&n);
    del(&n.h, "r"); /* it may be asked again at once; a reset completes it */
    machine_reset(n.h.tm->m, RESET_COLD);
    expect_events(&n.h, " DEVICE_DELETED:r");
    slot_control(&n, LED_OFF | NO_POWER);
    add(&n.h, "virtio-rng-pci,id=r,bus=rp"); /* a slot that is off is nobody's business */
    del(&n.h, "r");
    expect_events(&n.h, " DEVICE_DELETED:r");
    hp_end(&n.h);
}

/* By MSI: a message each time the condition becomes true. */
static void test_native_msi(void)
{
    Native n;
    native_begin(&n);
    unsigned msi = config(&n.h, PORT_FN, 0x34, 1);
    while (config(&n.h, PORT_FN, msi, 1) != 5) {
        msi = config(&n.h, PORT_FN, msi + 1, 1);
    }
    pctest_config_write(&n.h.io, PORT_FN, msi + 4, 0x6000, 4);
    pctest_config_write(&n.h.io, PORT_FN, msi + 12, 0x77, 2);
    pctest_config_write(&n.h.io, PORT_FN, msi + 2, 1, 2);
    slot_control(&n, LED_OFF | NO_POWER);
    g_assert_cmphex(pctest_read(&n.h.io, 0x6000, 4), ==, 0);
    add(&n.h, "virtio-rng-pci,id=r,bus=rp");
    g_assert_cmphex(pctest_read(&n.h.io, 0x6000, 4), ==, 0x77);
    pctest_write(&n.h.io, 0x6000, 0, 4);
    slot_control(&n, LED_BLINKS); /* another event on top is no edge */
    g_assert_cmphex(pctest_read(&n.h.io, 0x6000, 4), ==, 0);
    pctest_config_write(&n.h.io, PORT_FN, n.cap + SLOT_STATUS, 0x1ff, 2);
    slot_control(&n, LED_BLINKS | NO_POWER);
    g_assert_cmphex(pctest_read(&n.h.io, 0x6000, 4), ==, 0x77);
    hp_end(&n.h);
}

/* Before the machine has started nobody is told: whoever starts finds what is there. */
static void test_prelaunch(void)
{
    Native n;
    Hp h;
    native_begin(&n);
    machine_stop(n.h.tm->m, RUN_PAUSED);
    machine_reset(n.h.tm->m, RESET_COLD);
    n.h.tm->m->state = RUN_PRELAUNCH;
    add(&n.h, "virtio-rng-pci,id=r,bus=rp");
    g_assert_cmphex(slot_get(&n, SLOT_STATUS), ==, PRESENT);
    g_assert_cmphex(slot_get(&n, LINK), ==, 0x2011);
    hp_end(&n.h);
    hp_begin(&h, &pc_board);
    h.tm->m->state = RUN_PRELAUNCH;
    add(&h, "virtio-rng-pci,id=r,addr=5");
    g_assert_cmphex(hp_get(&h, 0, UP), ==, 0);
    del(&h, "r"); /* stays until a guest answers, or a reset */
    expect_events(&h, "");
    h.tm->m->state = RUN_RUNNING;
    hp_end(&h);
}

/* ---- disks ---- */

static void make_disk(const char *path)
{
    g_autofree char *zeros = g_malloc0(1 << 20);
    g_assert_true(g_file_set_contents(path, zeros, 1 << 20, NULL));
}

/* What -drive made goes with its device; what -blockdev made stays, and can be deleted then. */
static void test_drives(void)
{
    Hp h;
    Error *err = NULL;
    g_autofree char *dir = g_dir_make_tmp("rhea-hotplug-XXXXXX", NULL),
                    *path = g_build_filename(dir, "disk", NULL);
    make_disk(path);
    hp_begin(&h, &pc_board);
    Machine *m = h.tm->m;
    for (unsigned i = 0; i < 3; i++) {
        g_autoptr(Json) d = json_put(json_new_object(), "file", json_new_string(path));
        json_put(d, "format", json_new_string("raw"));
        json_put(d, "if", json_new_string("none"));
        json_put(d, "id", json_new_string("d0"));
        g_assert_nonnull(drive_add_json(m, d, true, false, &error_abort_slot));
        g_assert_false(
            device_add_option(m, "virtio-blk-pci,id=x,drive=d0,addr=5,logical_block_size=3", &err));
        g_clear_pointer(&err, error_free);
        g_assert_nonnull(drive_find(m, "d0")); /* a device that never came takes nothing along */
        add(&h, "virtio-blk-pci,id=x,drive=d0,addr=5");
        eject(&h, 0, 1 << 5);
        expect_events(&h, " DEVICE_DELETED:x");
        g_assert_null(drive_find(m, "d0"));
    }
    for (unsigned i = 0; i < 3; i++) {
        g_autofree char *text = g_strdup_printf("{\"driver\": \"raw\", \"node-name\": \"n0\", \"file\": "
                                                "{\"driver\": \"file\", \"filename\": \"%s\"}}",
                                                path);
        g_autoptr(Json) n = json_parse(text, -1, &error_abort_slot);
        blockdev_add_json(m, n, false, &error_abort_slot);
        add(&h, "virtio-blk-pci,id=x,drive=n0,addr=5");
        g_assert_false(blockdev_del(m, "n0", &err));
        g_clear_pointer(&err, error_free);
        eject(&h, 0, 1 << 5);
        expect_events(&h, " DEVICE_DELETED:x");
        g_assert_true(blockdev_del(m, "n0", &error_abort_slot));
    }
    hp_end(&h);
    g_unlink(path);
    g_rmdir(dir);
}

/* Requests under way when it goes: they end first, and none of them is told of. On the main loop, and on a
 * thread of the disk's own that goes on with the ring meanwhile. */
static void test_in_flight(void)
{
    g_autofree char *dir = g_dir_make_tmp("rhea-hotplug-XXXXXX", NULL),
                    *path = g_build_filename(dir, "disk", NULL);
    make_disk(path);
    for (unsigned i = 0; i < 40; i++) {
        Hp h;
        hp_begin(&h, &pc_board);
        Machine *m = h.tm->m;
        Guest g = { .t = &h.io };
        g_autofree char *text = g_strdup_printf("{\"driver\": \"raw\", \"node-name\": \"n0\", \"file\": "
                                                "{\"driver\": \"file\", \"filename\": \"%s\"}}",
                                                path);
        g_autoptr(Json) n = json_parse(text, -1, &error_abort_slot);
        blockdev_add_json(m, n, false, &error_abort_slot);
        iothread_new(m, "t0", (IoThreadPoll){ 0 }, &error_abort_slot);
        add(&h, i & 1 ? "virtio-blk-pci,id=x,drive=n0,addr=4,queue-size=16,iothread=t0"
                      : "virtio-blk-pci,id=x,drive=n0,addr=4,queue-size=16");
        guest_place(&g);
        guest_start(&g, VERSION_1 | INDIRECT_DESC);
        ring_set_request(m, i & 2 ? 1 : 0, 0, 65536, !(i & 2));
        for (unsigned k = 0; k < 15; k++) {
            ring_offer(m, &g.avail, 0);
            wr(&g, NOTIFY, 0, 2);
        }
        eject(&h, 0, 1 << 4);
        expect_events(&h, " DEVICE_DELETED:x");
        g_assert_true(blockdev_del(m, "n0", &error_abort_slot));
        hp_end(&h);
    }
    g_unlink(path);
    g_rmdir(dir);
}

/* ---- the storm ---- */

typedef struct Storm {
    Hp h;
    DutHost host;
    GRand *rand;
    unsigned left; /* accesses */
} Storm;

enum { IO_AT = 0xc000, MEM_AT = 0xe0000000, BAR_STEP = 0x100000 };

/* Its BARs are mapped one after the other; what it has of them answers. */
static void storm_place(Storm *s, unsigned bdf)
{
    for (unsigned bar = 0; bar < 6; bar++) {
        uint32_t low = config(&s->h, bdf, 0x10 + 4 * bar, 4);
        uint32_t at = low & 1 ? IO_AT + 0x100 * bar : MEM_AT + BAR_STEP * bar;
        pctest_config_write(&s->h.io, bdf, 0x10 + 4 * bar, at, 4);
        bar += (low & 7) == 4;
    }
    pctest_config_write(&s->h.io, bdf, 4, 7, 2);
}

static void storm_hit(Storm *s, unsigned bdf)
{
    GRand *r = s->rand;
    unsigned n = 1u << g_rand_int_range(r, 0, 3), bar = g_rand_int_range(r, 0, 6);
    unsigned off = (g_rand_int(r) & (g_rand_boolean(r) ? 0x3ff : 0x7fff)) & ~(n - 1);
    uint32_t v = g_rand_boolean(r) ? g_rand_int(r) : g_rand_int(r) & 0xf;
    switch (g_rand_int_range(r, 0, 8)) {
    case 0: pctest_config_write(&s->h.io, bdf, (unsigned)g_rand_int_range(r, 0x40, 0x100) & ~3u, v, 4); break;
    case 1: pctest_out(&s->h.io, (uint16_t)(IO_AT + 0x100 * bar + (off & 0xff)), v, n); break;
    case 2: pctest_in(&s->h.io, (uint16_t)(IO_AT + 0x100 * bar + (off & 0xff)), n); break;
    case 3: pctest_read(&s->h.io, MEM_AT + BAR_STEP * bar + off, n); break;
    default: pctest_write(&s->h.io, MEM_AT + BAR_STEP * bar + off, v, n);
    }
    if (g_rand_int_range(r, 0, 64) == 0) { /* addresses that lead into the middle of everything */
        pctest_write(&s->h.io, g_rand_int(r) & 0xfffff0, g_rand_int(r), 4);
        tm_step(s->h.tm, g_rand_int_range(r, 0, 10000000));
    }
}

/* All pins to ISA line 11: nobody is left who could let go of it. */
static void storm_check_lines(Storm *s)
{
    const PcBoard *b = s->h.tm->m->board_state;
    pctest_config_write(&s->h.io, PCI_DEVFN(1, 0), 0x60, 0x0b0b0b0b, 4);
    g_assert_false(b->isa->irq_or[11].out.level);
}

/* Removed in one of the ways there are. */
static void storm_remove(Storm *s, unsigned slot)
{
    switch (g_rand_int_range(s->rand, 0, 4)) {
    case 0: eject(&s->h, 0, UINT32_C(1) << slot); break;
    case 1:
        del(&s->h, "x");
        machine_reset(s->h.tm->m, RESET_COLD);
        break;
    default: del(&s->h, "x"); eject(&s->h, 0, hp_get(&s->h, 0, DOWN));
    }
    expect_events(&s->h, " DEVICE_DELETED:x");
}

static void test_storm(const void *data)
{
    const DeviceType *type = data;
    Storm s = { .rand = g_rand_new_with_seed((guint32)g_test_rand_int()) };
    const char *n = g_getenv("RHEA_STORM");
    s.left = n ? (unsigned)strtoul(n, NULL, 0) : 20000;
    hp_begin(&s.h, &pc_board);
    Machine *m = s.h.tm->m;
    dut_host_open(&s.host, m);
    Bus *bus = m->board->default_bus(m, &pci_bus_type);
    while (s.left) {
        unsigned slot = (unsigned)g_rand_int_range(s.rand, 2, 32), bdf = PCI_DEVFN(slot, 0);
        g_autofree char *addr = g_strdup_printf("%x", slot);
        Device *dev = device_new(m, type, m->peripheral, "x");
        device_set(dev, "addr", addr, &error_abort_slot);
        dut_connect(&s.host, dev, &error_abort_slot);
        device_plug(dev, bus, &error_abort_slot);
        storm_place(&s, bdf);
        for (unsigned k = (unsigned)g_rand_int_range(s.rand, 0, 400); k && s.left; k--, s.left--) {
            storm_hit(&s, bdf);
            if (k % 16 == 0) {
                loop_turn(s.h.tm->loop, false);
            }
        }
        storm_remove(&s, slot);
        g_assert_cmphex(config(&s.h, bdf, 0, 4), ==, 0xffffffff);
        storm_check_lines(&s);
        s.left -= s.left > 0;
    }
    machine_stop(m, RUN_PAUSED);
    dut_host_close(&s.host, m);
    g_rand_free(s.rand);
    hp_end(&s.h);
}

static const PciOps *ops_of(const DeviceType *t)
{
    while (t && !t->bus_ops) {
        t = t->base;
    }
    return t ? t->bus_ops : NULL;
}

static bool is_pci(const DeviceType *t)
{
    while (t && !t->bus_type) {
        t = t->base;
    }
    return t && t->bus_type == &pci_bus_type;
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    role_become_main();
    chardev_register();
    drive_register();
    net_register();
    iothread_register();
    g_autofree char *halts = g_strnfill(0x10000, '\xf4');
    int fd = g_file_open_tmp("rhea-bios-XXXXXX", &firmware, NULL);
    close(fd);
    g_file_set_contents(firmware, halts, 0x10000, NULL);
    g_test_add_func("/hotplug/acpi-pc", test_acpi_pc);
    g_test_add_func("/hotplug/again", test_again);
    g_test_add_func("/hotplug/functions", test_functions);
    g_test_add_func("/hotplug/acpi-q35", test_acpi_q35);
    g_test_add_func("/hotplug/reset", test_reset);
    g_test_add_func("/hotplug/boot-order", test_boot_order);
    g_test_add_func("/hotplug/saved", test_saved);
    g_test_add_func("/hotplug/refused", test_refused);
    g_test_add_func("/hotplug/native", test_native);
    g_test_add_func("/hotplug/native-answers", test_native_answers);
    g_test_add_func("/hotplug/native-msi", test_native_msi);
    g_test_add_func("/hotplug/prelaunch", test_prelaunch);
    g_test_add_func("/hotplug/drives", test_drives);
    g_test_add_func("/hotplug/in-flight", test_in_flight);
    for (const DeviceType *const *t = device_table; *t; t++) {
        if (is_pci(*t) && !(*t)->internal && !ops_of(*t)->no_hotplug) {
            g_autofree char *path = g_strconcat("/hotplug/storm/", (*t)->name, NULL);
            g_test_add_data_func(path, *t, test_storm);
        }
    }
    int status = g_test_run();
    g_unlink(firmware);
    g_free(firmware);
    return status;
}
