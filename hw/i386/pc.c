/* SPDX-License-Identifier: MIT
 * hw/i386/pc.c - the board "pc-0.1": 82441FX host bridge, PIIX3, PIIX4 power management, legacy devices; and
 *                what the q35 board has in common with it.
 *
 * Models: a PC of 1996 with ACPI: RAM to at most 3.5 GiB and from 4 GiB on, PCI below; slots 0 (host), 1
 *         (ISA bridge, IDE, power management); 8259s, I/O APIC, 8254, RTC, HPET, 8042, 8237s, serial ports,
 *         floppy controller, fw_cfg.
 * Does not model: parallel port.
 * Threads: main loop.
 */
#include "pc.h"
#include "rhea/backends/char.h"
#include "rhea/hw/pc.h"
#include "rhea/hw/fdc.h"
#include "rhea/hw/fw_cfg.h"
#include "rhea/hw/guestinfo.h"
#include "rhea/hw/ide.h"
#include "rhea/hw/isadma.h"
#include "rhea/hw/pcmisc.h"
#include "rhea/hw/usb.h"
#include "rhea/target/x86/cpu.h"
#include "rhea/util/errorcode.h"

enum { PC_MAX_SERIAL = 4 };

/* ---- options that only have one possible value ---- */

static bool pc_refuse(Error **errp, const char *prop, const char *why, const char *cure)
{
    error_fail(errp, "conflict", prop, NULL, "-machine %s: %s", prop, why);
    error_hint(errp, "%s", cure);
    return false;
}

static bool pc_check_props(const PcBoard *s, Error **errp)
{
    if (s->pic == OFF) {
        return pc_refuse(errp, "pic=off", "this board always has its 8259s", "leave pic out");
    }
    if (s->memory_encryption && s->memory_encryption[0]) {
        return pc_refuse(errp, "memory-encryption", "encrypted guest memory is not available",
                         "leave it out");
    }
    return true;
}

/* ---- devices ---- */

/* The windows below 1 MiB (PAM, SMRAM) are pieces of one block. */
static bool pc_check_numa(const Machine *m, Error **errp)
{
    const MachineNuma *numa = m->numa;
    for (unsigned i = 0; numa && i < numa->n; i++) {
        uint64_t size = numa_node_size(&numa->node[i]);
        if (size) {
            return size >= MIB || error_fail(errp, "out-of-range", "numa", "give it 1 MiB or more",
                                             "-numa: the first memory, of node %u, is below 1 MiB", i);
        }
    }
    return true;
}

static bool pc_map_ram(Machine *m, PcBoard *s, const PcLayoutLimits *limits, Error **errp)
{
    if (!pc_layout(m->ram_size, s->max_ram_below_4g, limits, &s->layout, errp)) {
        return false;
    }
    if (!pc_check_numa(m, errp) || !machine_init_ram(m, "pc.ram", errp)) {
        return false;
    }
    machine_advise_ram(m, s->mem_merge, s->dump_guest_core);
    pc_map_layout(m, &s->layout, &s->ram_low, &s->ram_high);
    return true;
}

static bool pc_create_bridges(Machine *m, PcBoard *s, Error **errp)
{
    if (s->sata) {
        return pc_refuse(errp, "sata=on", "the board has no SATA controller",
                         "use -M q35 or -device ich9-ahci");
    }
    s->host = device_create(m, &i440fx_host_type, m->unattached, NULL, NULL, errp, NULL);
    if (!s->host) {
        return false;
    }
    s->pci = i440fx_host_bus(s->host);
    s->pci_mem = i440fx_host_mem(s->host);
    Device *i440fx =
        device_create(m, &i440fx_type, m->unattached, NULL, s->pci->bus, errp, "addr", "0.0", NULL);
    Device *piix3 = i440fx ? device_create(m, &piix3_type, m->unattached, NULL, s->pci->bus, errp, "addr",
                                           "1.0", "multifunction", "on", NULL)
                           : NULL;
    if (!piix3) {
        return false;
    }
    s->wants_fdc = true;
    s->shadow = i440fx_shadow(i440fx);
    s->isa = piix3_isa_bus(piix3);
    s->ide = device_create(m, &piix3_ide_type, m->unattached, NULL, s->pci->bus, errp, "addr", "1.1", NULL);
    if (!s->ide) {
        return false;
    }
    for (unsigned i = 0; i < 2; i++) { /* IRQ 14 and 15; the lines of a compatible channel are not shared */
        irq_connect(device_irq(s->ide, i), &irq_or_sink, &s->isa->irq_or[14 + i], PC_IRQ_SOURCE_IDE);
    }
    if (s->usb && !device_create(m, &piix3_usb_uhci_type, m->unattached, NULL, s->pci->bus, errp, "addr",
                                 "1.2", NULL)) {
        return false;
    }
    if (s->acpi != OFF) {
        Device *pm = device_create(m, &piix4_pm_type, m->unattached, NULL, s->pci->bus, errp, "addr", "1.3",
                                   "smm-enabled", s->smm == OFF ? "off" : "on", NULL);
        if (!pm) {
            return false;
        }
        s->smi = piix4_pm_smi(pm);
        irq_connect(piix4_pm_sci(pm), &irq_or_sink, &s->isa->irq_or[9], PC_IRQ_SOURCE_SCI);
        s->tables.pm = pm;
        s->tables.hotplug = piix4_pm_hotplug(pm, &s->hotplug_root);
    }
    s->tables.chipset = &acpi_piix4;
    return true;
}

static bool pc_create_serial(Machine *m, PcBoard *s, Error **errp)
{
    GPtrArray *list = m->serial_chardevs;
    if (list && list->len > PC_MAX_SERIAL) {
        error_fail(errp, "too-many", "serial", NULL,
                   "%u serial ports asked for; the board has places for %d", list->len, PC_MAX_SERIAL);
        error_hint(errp, "use fewer -serial options");
        return false;
    }
    for (guint i = 0; list && i < list->len; i++) {
        Chardev *c = list->pdata[i];
        g_autofree char *index = g_strdup_printf("%u", i);
        if (c && !device_create(m, &isa_serial_type, m->unattached, NULL, s->isa->bus, errp, "index", index,
                                "chardev", chardev_id(c), NULL)) {
            return false;
        }
    }
    return true;
}

static bool pc_create_fdc(Machine *m, PcBoard *s, Error **errp)
{
    if (s->wants_fdc) {
        s->fdc = device_create(m, &isa_fdc_type, m->unattached, NULL, s->isa->bus, errp, NULL);
    }
    return !s->wants_fdc || s->fdc;
}

Device *pc_find_fdc(const PcBoard *s)
{
    return s->fdc ? s->fdc : isa_find_device(s->isa, &isa_fdc_type);
}

Bus *pc_floppy_bus(const PcBoard *s)
{
    Device *fdc = pc_find_fdc(s);
    return fdc ? fdc->buses->pdata[0] : NULL;
}

static bool pc_create_vga(Machine *m, PcBoard *s, Error **errp)
{
    Bus *bus = m->vga ? pc_plain_bus(s, m->vga->bus_type) : NULL;
    return !m->vga || device_create(m, m->vga, m->unattached, NULL, bus, errp, NULL);
}

bool pc_board_init(Machine *m, const PcLayoutLimits *limits,
                   bool (*create_bridges)(Machine *m, PcBoard *s, Error **errp), Error **errp)
{
    PcBoard *s = m->board_state;
    if (!pc_check_props(s, errp) || !pc_check_boot_order(s, m, errp) || !pc_map_ram(m, s, limits, errp) ||
        !create_bridges(m, s, errp) || !pc_load_bios(m, s, errp)) {
        return false;
    }
    s->fw = device_create(m, &fw_cfg_type, m->unattached, NULL, NULL, errp, NULL);
    return s->fw && pc_glue_wire(m, s, errp) && isa_dma_create_pair(s->isa->bus, m->unattached, errp) &&
           pc_create_vga(m, s, errp) &&
           pc_create_fdc(m, s, errp) && pc_create_serial(m, s, errp) && pc_glue_attach_cpus(m, s, errp);
}

static bool pc_init(Machine *m, Error **errp)
{
    return pc_board_init(m, &pc_layout_limits, pc_create_bridges, errp);
}

static void pc_note_serial(PcBoard *s)
{
    GPtrArray *list = s->isa->bus->children;
    for (guint i = 0; i < list->len; i++) {
        Device *d = list->pdata[i];
        PcAcpi *t = &s->tables;
        if (d->type == &isa_serial_type && t->n_serial < G_N_ELEMENTS(t->serial) &&
            isa_child(d)->irq < ISA_IRQS) {
            t->serial[t->n_serial].iobase = isa_child(d)->iobase;
            t->serial[t->n_serial++].irq = isa_child(d)->irq;
        }
    }
}

/* The tables tell of it, and its changes are a general-purpose event. */
static bool pc_wire_vmgenid(Machine *m, PcBoard *s, Error **errp)
{
    Device *dev = fw_cfg_find_device(m, &vmgenid_type);
    if (dev && s->acpi == OFF) {
        error_fail(errp, "conflict", "acpi", NULL,
                   "device 'vmgenid': guests find it by ACPI, which this machine has not");
        error_hint(errp, "leave out vmgenid or acpi=off");
        return false;
    }
    if (dev) {
        irq_connect(device_irq(dev, 0), s->tables.chipset->gpe, s->tables.pm, VMGENID_GPE);
    }
    s->tables.vmgenid = dev != NULL;
    return true;
}

bool pc_board_ready(Machine *m, Error **errp)
{
    PcBoard *s = m->board_state;
    pc_note_serial(s);
    s->tables.layout = s->layout;
    s->tables.numa = m->numa;
    s->tables.hpet = s->hpet;
    s->tables.i8042 = s->i8042;
    s->tables.fdc = pc_find_fdc(s) != NULL;
    Device *panic = isa_find_device(s->isa, &pvpanic_type);
    s->tables.pvpanic = panic ? pvpanic_port(panic) : 0;
    s->tables.pit = s->pit != OFF;
    s->tables.pm_base = s->tables.chipset->pm_default;
    if (s->tables.hotplug) {
        acpi_pcihp_attach(s->tables.hotplug, s->pci, s->hotplug_root);
    }
    return pc_wire_vmgenid(m, s, errp) && pc_publish(m, s, errp);
}

/* -boot once= counts for the first boot only; devices with a bootindex may have come or gone since the last
 * one. */
void pc_board_reset(Machine *m, ResetKind kind)
{
    PcBoard *s = m->board_state;
    bool held = domain_held(m->platform);
    if (kind != RESET_SNAPSHOT && s->tables.hotplug && !held) { /* before firmware looks, if possible */
        acpi_pcihp_finish(s->tables.hotplug);
    }
    if (kind == RESET_SNAPSHOT) {
        return;
    }
    if (!held) {
        domain_lock(m->platform);
    }
    if (s->boots++ == 1 && s->boot_once) {
        pc_set_boot_order(s, s->boot_order);
    }
    pc_renew_boot_order(m, s);
    if (!held) {
        domain_unlock(m->platform);
    }
}

void pc_board_fini(Machine *m)
{
    PcBoard *s = m->board_state;
    MemRegion *own[] = { &s->ram_low, &s->ram_high, &s->bios_region };
    for (unsigned i = 0; i < G_N_ELEMENTS(own); i++) {
        if (own[i]->name) {
            region_unmap(own[i]);
            region_fini(own[i]);
        }
    }
    if (s->bios) {
        ram_unref(s->bios);
    }
    g_free(s->tables.apic_id);
    g_free(s->boot_order);
    g_free(s->boot_once);
}

Bus *pc_plain_bus(const PcBoard *s, const BusType *type)
{
    return type == &pci_bus_type      ? s->pci->bus
           : type == &isa_bus_type    ? s->isa->bus
           : type == &fw_cfg_bus_type ? fw_cfg_bus(s->fw)
                                      : NULL;
}

static Bus *pc_default_bus(Machine *m, const BusType *type)
{
    PcBoard *s = m->board_state;
    if (type == &ide_bus_type) { /* the first with a free place */
        Bus *first = s->ide->buses->pdata[0];
        return first->children->len < 2 ? first : s->ide->buses->pdata[1];
    }
    if (type == &floppy_bus_type) {
        return pc_floppy_bus(s);
    }
    return pc_plain_bus(s, type);
}

static const Prop pc_props[] = {
    PC_BOARD_PROPS,
    PROP_BOOL(PcBoard, sata, "sata", false, "SATA controller (off)"),
    { 0 },
};

const BoardType pc_board = {
    .name = "pc-0.1", .alias = "pc", .desc = "Standard PC (i440FX + PIIX, 1996)", .is_default = true,
    .target = &x86_64_target_ops, .max_cpus = PC_MAX_CPUS, .default_ram = 128 * MIB, .min_ram = MIB,
    .max_ram = UINT64_C(1) << 40, .numa = true, .accel_chips = true,
    .state_size = sizeof(PcBoard), .props = pc_props,
    .init = pc_init, .fini = pc_board_fini, .ready = pc_board_ready, .reset = pc_board_reset,
    .default_bus = pc_default_bus,
    .default_nic = "e1000",
    .default_vga = "VGA",
};
