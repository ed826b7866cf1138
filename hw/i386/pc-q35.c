/* SPDX-License-Identifier: MIT
 * hw/i386/pc-q35.c - the board "pc-q35-0.1": 82Q35 memory controller hub, ICH9, PCI Express.
 *
 * Models: a PC of 2007 with ACPI: RAM to at most 2.75 GiB and from 4 GiB on, configuration space in memory,
 * PCI below; slots 0 (host) and 1f (LPC bridge, AHCI,
 *         SMBus), with usb=on 1d (USB); the legacy devices of the pc board. Does not model:
 * parallel port, IOMMU. Threads: main loop.
 */
#include "ich9.h"
#include "pc.h"
#include "rhea/backends/drive.h"
#include "rhea/hw/fdc.h"
#include "rhea/hw/ide.h"
#include "rhea/hw/pc.h"
#include "rhea/hw/usb.h"
#include "rhea/target/x86/cpu.h"
#include "rhea/util/errorcode.h"

/* The floppy controller comes with drives that need one. */
static bool q35_has_floppies(Machine *m)
{
    for (unsigned i = 0; i < drive_count(m); i++) {
        if (drive_at(m, i)->iface == DRIVE_INTERFACE_FLOPPY) {
            return true;
        }
    }
    return false;
}

/* EHCI and its companions, as in QEMU: functions 7, 0, 1, 2 of slot 1d. */
static bool q35_create_usb(Machine *m, PcBoard *s, Error **errp)
{
    static const DeviceType *const companions[] = { &ich9_usb_uhci1_type, &ich9_usb_uhci2_type,
                                                    &ich9_usb_uhci3_type };
    Device *ehci = device_create(m, &ich9_usb_ehci1_type, m->unattached, NULL, s->pci->bus, errp, "addr",
                                 "1d.7", "multifunction", "on", NULL);
    for (unsigned i = 0; ehci && i < G_N_ELEMENTS(companions); i++) {
        const Bus *bus = ehci->buses->pdata[0];
        char addr[8], first[8];
        g_snprintf(addr, sizeof(addr), "1d.%u", i);
        g_snprintf(first, sizeof(first), "%u", 2 * i);
        if (!device_create(m, companions[i], m->unattached, NULL, s->pci->bus, errp, "addr", addr,
                           "multifunction", "on", "masterbus", bus->name, "firstport", first, NULL)) {
            return false;
        }
    }
    return ehci;
}

static bool q35_create_bridges(Machine *m, PcBoard *s, Error **errp)
{
    s->wants_fdc = q35_has_floppies(m);
    s->host = device_create(m, &q35_host_type, m->unattached, NULL, NULL, errp, NULL);
    if (!s->host) {
        return false;
    }
    s->pci = q35_host_bus(s->host);
    s->pci_mem = q35_host_mem(s->host);
    Device *mch = device_create(m, &mch_type, m->unattached, NULL, s->pci->bus, errp, "addr", "0.0", NULL);
    if (!mch) {
        return false;
    }
    mch_attach(mch, s->host, s->layout.below_4g);
    s->shadow = mch_shadow(mch);
    Device *lpc = device_create(m, &ich9_lpc_type, m->unattached, NULL, s->pci->bus, errp, "addr", "1f.0",
                                "multifunction", "on", "smm-enabled", s->smm == OFF ? "off" : "on", NULL);
    if (!lpc) {
        return false;
    }
    s->isa = ich9_lpc_isa_bus(lpc);
    s->smi = ich9_lpc_smi(lpc);
    s->tables.mch = mch;
    s->tables.pm = lpc;
    s->tables.hotplug = s->acpi != OFF ? ich9_lpc_hotplug(lpc) : NULL;
    s->tables.chipset = &acpi_ich9;
    if (s->sata) {
        s->ide = device_create(m, &ich9_ahci_type, m->unattached, NULL, s->pci->bus, errp, "addr", "1f.2",
                               NULL);
        if (!s->ide) {
            return false;
        }
    }
    if (s->smbus &&
        !device_create(m, &ich9_smbus_type, m->unattached, NULL, s->pci->bus, errp, "addr", "1f.3", NULL)) {
        return false;
    }
    return !s->usb || q35_create_usb(m, s, errp);
}

static bool q35_init(Machine *m, Error **errp)
{
    static const PcLayoutLimits limits = { .most = 0xb0000000, .when_more = 0x80000000 };
    return pc_board_init(m, &limits, q35_create_bridges, errp);
}

static Bus *q35_default_bus(Machine *m, const BusType *type)
{
    PcBoard *s = m->board_state;
    for (guint i = 0; type == &ide_bus_type && s->ide && i < s->ide->buses->len; i++) {
        Bus *b = s->ide->buses->pdata[i]; /* the first with a free place */
        if (!b->children->len || i + 1 == s->ide->buses->len) {
            return b;
        }
    }
    if (type == &floppy_bus_type) {
        return pc_floppy_bus(s);
    }
    return pc_plain_bus(s, type);
}

static const Prop q35_props[] = {
    PC_BOARD_PROPS,
    PROP_BOOL(PcBoard, sata, "sata", true, "AHCI controller"),
    PROP_BOOL(PcBoard, smbus, "smbus", true, "SMBus controller"),
    { 0 },
};

const BoardType q35_board = {
    .name = "pc-q35-0.1", .alias = "q35", .desc = "Standard PC (Q35 + ICH9, 2009)",
    .target = &x86_64_target_ops, .max_cpus = PC_MAX_CPUS, .default_ram = 128 * MIB, .min_ram = MIB,
    .max_ram = UINT64_C(1) << 40, .numa = true, .accel_chips = true,
    .ide_buses = 6, .ide_units = 1, .state_size = sizeof(PcBoard), .props = q35_props,
    .init = q35_init, .fini = pc_board_fini, .ready = pc_board_ready, .reset = pc_board_reset,
    .default_bus = q35_default_bus,
    .default_nic = "e1000e",
    .default_vga = "VGA",
};
