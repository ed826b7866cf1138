/* SPDX-License-Identifier: MIT
 * hw/i386/acpi-pc.c - the ACPI tables of the board.
 *
 * Models: ACPI 6.3: FADT (5.2.9), MADT (5.2.12), DSDT (5.2.11.1) with the PCI root bridge, its routing
 *         table (6.2.13) and link devices, ISA devices, processors and \_S5; IA-PC HPET 1.0a, 3.2.4;
 *         WAET.
 * Does not model: S3 and S4. NUMA nodes: acpi-numa.c; PCI hot-plug: hw/acpi/pcihp-aml.c.
 * Threads: built on the main loop; rebuilt in fw_cfg's domain when firmware asks, because only then is the
 *         power-management I/O base known.
 */
#include "acpi-pc.h"
#include "rhea/hw/acpi.h"
#include "rhea/hw/fw_cfg.h"
#include "rhea/hw/guestinfo.h"
#include <string.h>

enum { SCI_IRQ = 9, LAPIC_BASE_ADDR = 0xfee00000u, IOAPIC_ADDR = 0xfec00000u, HPET_ADDR = 0xfed00000u };

/* ---- DSDT ---- */

static void dsdt_isa_device(Aml *a, const char *name, const char *hid, int uid)
{
    aml_device(a, name);
    aml_name_eisaid(a, "_HID", hid);
    if (uid >= 0) {
        aml_name_int(a, "_UID", uid);
    }
}

/* Name, id, up to three port ranges, line (-1: none). */
typedef struct IsaRow {
    const char *name, *hid;
    struct { uint16_t at; uint8_t len; } io[3];
    int irq;
} IsaRow;

static void dsdt_isa_row(Aml *a, const IsaRow *r, int uid)
{
    dsdt_isa_device(a, r->name, r->hid, uid);
    aml_name(a, "_CRS");
    aml_resources(a);
    for (unsigned i = 0; i < G_N_ELEMENTS(r->io) && r->io[i].len; i++) {
        aml_res_io(a, r->io[i].at, r->io[i].len);
    }
    if (r->irq >= 0) {
        aml_res_irq(a, r->irq);
    }
    aml_resources_end(a);
    aml_end(a);
}

/* As the pvpanic specification has it: the port, and methods that read and write it. */
static void dsdt_pvpanic(Aml *a, uint16_t port)
{
    aml_device(a, "PEVT");
    aml_name(a, "_HID");
    aml_string(a, "QEMU0001");
    aml_name(a, "_CRS");
    aml_resources(a);
    aml_res_io(a, port, 1);
    aml_resources_end(a);
    aml_name_int(a, "_STA", 0x0f);
    aml_op_region(a, "PEOR", AML_SPACE_IO, port, 1);
    aml_field(a, "PEOR", AML_FIELD_BYTE);
    aml_field_unit(a, "PEPT", 8);
    aml_end(a);
    aml_method(a, "RDPT", 0, false);
    aml_return(a);
    aml_path(a, "PEPT");
    aml_end(a);
    aml_method(a, "WRPT", 1, false);
    aml_byte(a, AML_STORE);
    aml_byte(a, AML_ARG0);
    aml_path(a, "PEPT");
    aml_end(a);
    aml_end(a);
}

void pc_acpi_fw_cfg(Aml *a)
{
    aml_device(a, "FWCF");
    aml_name(a, "_HID");
    aml_string(a, "QEMU0002");
    aml_name_int(a, "_STA", 0x0b);
    aml_name(a, "_CRS");
    aml_resources(a);
    aml_res_io(a, FW_CFG_PORTS, FW_CFG_PORTS_LEN);
    aml_resources_end(a);
    aml_end(a);
}

static void dsdt_isa_devices(Aml *a, const PcAcpi *p)
{
    static const IsaRow fixed[] = {
        { "PIC", "PNP0000", { { 0x20, 2 }, { 0xa0, 2 }, { 0x4d0, 2 } }, 2 },
        { "FPU", "PNP0C04", { { 0xf0, 16 } }, 13 },
        { "RTC", "PNP0B00", { { 0x70, 8 } }, 8 },
    };
    static const IsaRow timer = { "TMR", "PNP0100", { { 0x40, 4 } }, 0 };
    static const IsaRow speaker = { "SPK", "PNP0800", { { 0x61, 1 } }, -1 };
    static const IsaRow kbd = { "KBD", "PNP0303", { { 0x60, 1 }, { 0x64, 1 } }, 1 };
    static const IsaRow mouse = { "MOU", "PNP0F13", { { 0, 0 } }, 12 };
    for (unsigned i = 0; i < G_N_ELEMENTS(fixed); i++) {
        dsdt_isa_row(a, &fixed[i], -1);
    }
    if (p->pit) {
        dsdt_isa_row(a, &timer, -1);
        dsdt_isa_row(a, &speaker, -1);
    }
    if (p->i8042) {
        dsdt_isa_row(a, &kbd, -1);
        dsdt_isa_row(a, &mouse, -1);
    }
    dsdt_isa_device(a, "DMAC", "PNP0200", -1);
    aml_name(a, "_CRS");
    aml_resources(a);
    aml_res_io(a, 0x00, 0x10);
    aml_res_io(a, 0x81, 0x0f);
    aml_res_io(a, 0xc0, 0x20);
    aml_res_dma(a, 4);
    aml_resources_end(a);
    aml_end(a);
    if (p->fdc) {
        dsdt_isa_device(a, "FDC0", "PNP0700", -1);
        aml_name(a, "_CRS");
        aml_resources(a);
        aml_res_io(a, 0x3f2, 4);
        aml_res_io(a, 0x3f7, 1);
        aml_res_irq(a, 6);
        aml_res_dma(a, 2);
        aml_resources_end(a);
        aml_end(a);
    }
    for (unsigned i = 0; i < p->n_serial; i++) {
        g_autofree char *name = g_strdup_printf("COM%u", i + 1);
        IsaRow com = { name, "PNP0501", { { p->serial[i].iobase, 8 } }, p->serial[i].irq };
        dsdt_isa_row(a, &com, i + 1);
    }
    pc_acpi_fw_cfg(a);
    if (p->pvpanic) {
        dsdt_pvpanic(a, p->pvpanic);
    }
}

/* Ports that belong to the chipset: nobody else may be put there. */
static void dsdt_motherboard(Aml *a, const PcAcpi *p)
{
    dsdt_isa_device(a, "MBRD", "PNP0C02", 1);
    aml_name(a, "_CRS");
    aml_resources(a);
    aml_res_io(a, 0x92, 1);
    aml_res_io(a, p->chipset->smi_cmd, 2);
    aml_res_io(a, p->pm_base, p->chipset->pm_size);
    aml_res_io(a, 0x700, 0x10);
    if (p->hotplug) {
        aml_res_io(a, p->hotplug->port, ACPI_PCIHP_SIZE);
    }
    aml_resources_end(a);
    aml_end(a);
}

void pc_acpi_isa_bridge(Aml *a, const PcAcpi *p, uint32_t adr, unsigned pirqs)
{
    aml_device(a, "ISA");
    aml_name_int(a, "_ADR", adr);
    aml_op_region(a, "PIRR", AML_SPACE_PCI_CONFIG, 0x60, pirqs + (pirqs > 4 ? 4 : 0));
    aml_field(a, "PIRR", AML_FIELD_BYTE);
    for (unsigned i = 0; i < pirqs; i++) {
        char name[5] = { 'P', 'R', 'Q', 'A' + i, 0 };
        if (i == 4) { /* other registers lie between PIRQD's and PIRQE's */
            aml_field_unit(a, NULL, 32);
        }
        aml_field_unit(a, name, 8);
    }
    aml_end(a);
    dsdt_isa_devices(a, p);
    dsdt_motherboard(a, p);
    aml_end(a);
}

/* Interrupt link devices (6.2.13): LNKA... are the chipset's PIRQ registers; bit 7 is "not routed". */
void pc_acpi_link(Aml *a, char letter, unsigned uid)
{
    static const uint32_t possible[] = { 5, 10, 11 };
    char name[5] = { 'L', 'N', 'K', letter, 0 };
    g_autofree char *reg = g_strdup_printf("\\_SB.PCI0.ISA.PRQ%c", letter);
    uint32_t none = 0;
    dsdt_isa_device(a, name, "PNP0C0F", uid);
    aml_name(a, "_PRS");
    aml_resources(a);
    aml_res_interrupts(a, possible, G_N_ELEMENTS(possible));
    aml_resources_end(a);
    aml_method(a, "_STA", 0, false);
    aml_if(a);
    aml_byte(a, AML_AND);
    aml_path(a, reg);
    aml_int(a, 0x80);
    aml_byte(a, AML_NIL);
    aml_return(a);
    aml_int(a, 0x09);
    aml_end(a);
    aml_return(a);
    aml_int(a, 0x0b);
    aml_end(a);
    aml_method(a, "_DIS", 0, false);
    aml_byte(a, AML_OR);
    aml_path(a, reg);
    aml_int(a, 0x80);
    aml_path(a, reg);
    aml_end(a);
    aml_method(a, "_CRS", 0, true);
    aml_byte(a, AML_STORE);
    aml_resources(a);
    aml_res_interrupts(a, &none, 1);
    aml_resources_end(a);
    aml_byte(a, AML_LOCAL0);
    aml_create_dword_field(a, AML_LOCAL0, 5, "IRQN");
    aml_byte(a, AML_AND);
    aml_path(a, reg);
    aml_int(a, 0x0f);
    aml_path(a, "IRQN");
    aml_return(a);
    aml_byte(a, AML_LOCAL0);
    aml_end(a);
    aml_method(a, "_SRS", 1, true);
    aml_create_dword_field(a, AML_ARG0, 5, "IRQN");
    aml_byte(a, AML_STORE);
    aml_path(a, "IRQN");
    aml_path(a, reg);
    aml_end(a);
    aml_end(a);
}

/* The power-management function's pin is wired to the SCI, not to a PIRQ. */
static void dsdt_sci_link(Aml *a)
{
    static const uint32_t sci = SCI_IRQ;
    dsdt_isa_device(a, "LNKS", "PNP0C0F", 0);
    for (unsigned i = 0; i < 2; i++) {
        aml_name(a, i ? "_CRS" : "_PRS");
        aml_resources(a);
        aml_res_interrupts(a, &sci, 1);
        aml_resources_end(a);
    }
    aml_name_int(a, "_STA", 0x0b);
    aml_method(a, "_SRS", 1, false);
    aml_end(a);
    aml_end(a);
}

/* Slot s, pin p: PIRQ (s + p - 1) mod 4, as piix3.c wires it; the package has 128 entries. */
static void dsdt_routing(Aml *a)
{
    static const char *const links[] = { "LNKA", "LNKB", "LNKC", "LNKD" };
    aml_name(a, "_PRT");
    aml_package(a, 128);
    for (unsigned slot = 0; slot < 32; slot++) {
        for (unsigned pin = 0; pin < 4; pin++) {
            g_autofree char *link =
                g_strdup_printf("\\_SB.%s", slot == 1 && pin == 0 ? "LNKS" : links[(slot + pin + 3) & 3]);
            aml_package(a, 4);
            aml_int(a, slot << 16 | 0xffff);
            aml_int(a, pin);
            aml_path(a, link);
            aml_int(a, 0);
            aml_end(a);
        }
    }
    aml_end(a);
}

void pc_acpi_pci_root_begin(Aml *a, const char *hid, const char *cid)
{
    aml_device(a, "PCI0");
    aml_name_eisaid(a, "_HID", hid);
    if (cid) {
        aml_name_eisaid(a, "_CID", cid);
    }
    aml_name_int(a, "_UID", 0);
    aml_name_int(a, "_BBN", 0);
    aml_name(a, "_CRS");
    aml_resources(a);
    aml_res_window(a, AML_RANGE_BUS, 0, 255);
    aml_res_io(a, 0xcf8, 8);
    aml_res_window(a, AML_RANGE_IO, 0x0000, 0x0cf7);
    aml_res_window(a, AML_RANGE_IO, 0x0d00, 0xffff);
    aml_res_window(a, AML_RANGE_MEMORY, 0xa0000, 0xbffff);
}

static void dsdt_pci_root(Aml *a, const PcAcpi *p)
{
    pc_acpi_pci_root_begin(a, "PNP0A03", NULL);
    aml_res_window(a, AML_RANGE_MEMORY, p->layout.below_4g, IOAPIC_ADDR - 1);
    aml_resources_end(a);
    dsdt_routing(a);
    if (p->hotplug) {
        acpi_pcihp_describe(p->hotplug, a);
    }
    pc_acpi_isa_bridge(a, p, 0x00010000, 4);
    aml_end(a);
}

static void dsdt_links(Aml *a)
{
    for (unsigned i = 0; i < 4; i++) {
        pc_acpi_link(a, 'A' + i, i + 1);
    }
    dsdt_sci_link(a);
}

void pc_acpi_processors(Aml *a, const PcAcpi *p)
{
    for (unsigned i = 0; i < p->n_cpus; i++) {
        g_autofree char *name = g_strdup_printf("C%03X", i);
        if (i < 255 && p->apic_id[i] < 255) {
            aml_processor(a, name, i);
            aml_end(a);
        } else { /* 8.4: a device, since the old object has a one-byte id */
            aml_device(a, name);
            aml_name(a, "_HID");
            aml_string(a, "ACPI0007");
            aml_name_int(a, "_UID", i);
            aml_end(a);
        }
    }
}

static void build_dsdt(AcpiBuilder *b, const PcAcpi *p)
{
    Aml a;
    aml_init(&a, b->tables);
    if (p->chipset->root_methods) {
        p->chipset->root_methods(&a);
    }
    aml_scope(&a, "\\_SB");
    p->chipset->pci_root(&a, p);
    if (p->hpet) {
        dsdt_isa_device(&a, "HPET", "PNP0103", 0);
        aml_name(&a, "_CRS");
        aml_resources(&a);
        aml_res_memory32(&a, HPET_ADDR, 0x400, false);
        aml_resources_end(&a);
        aml_end(&a);
    }
    pc_acpi_processors(&a, p);
    p->chipset->links(&a);
    aml_end(&a);
    if (p->hotplug) {
        acpi_pcihp_describe_event(p->hotplug, &a);
    }
    aml_name(&a, "\\_S5");
    aml_package(&a, 4);
    for (unsigned i = 0; i < 4; i++) {
        aml_int(&a, 0);
    }
    aml_end(&a);
    aml_fini(&a);
}

/* ---- the fixed tables ---- */

enum { /* FADT flags, table 5-35 */
    FADT_WBINVD = 1 << 0, FADT_PROC_C1 = 1 << 2, FADT_SLP_BUTTON = 1 << 5, FADT_RESET_REG_SUP = 1 << 10,
};

static void build_fadt(AcpiBuilder *b, const PcAcpi *p, guint facs, guint dsdt)
{
    GByteArray *t = b->tables;
    guint at = acpi_table_begin(b, "FACP", 3);
    const PcAcpiChipset *chip = p->chipset;
    uint16_t pm = p->pm_base;
    acpi_put(t, 0, 4);
    acpi_link(b, at + 36, 4, facs);
    acpi_put(t, 0, 4);
    acpi_link(b, at + 40, 4, dsdt);
    acpi_put(t, 1, 1);           /* model: multiple APIC */
    acpi_put(t, 0, 1);           /* profile: unspecified */
    acpi_put(t, SCI_IRQ, 2);
    acpi_put(t, chip->smi_cmd, 4);
    acpi_put(t, chip->acpi_enable, 1);
    acpi_put(t, chip->acpi_disable, 1);
    acpi_put(t, 0, 2);
    acpi_put(t, pm, 4);          /* PM1a event */
    acpi_put(t, 0, 4);
    acpi_put(t, pm + 4, 4);      /* PM1a control */
    acpi_put(t, 0, 8);
    acpi_put(t, pm + 8, 4);      /* timer */
    acpi_put(t, pm + chip->gpe0, 4);
    acpi_put(t, 0, 4);
    acpi_put(t, 4, 1);           /* lengths */
    acpi_put(t, 2, 1);
    acpi_put(t, 0, 1);
    acpi_put(t, 4, 1);
    acpi_put(t, chip->gpe0_size, 1);
    acpi_put(t, 0, 3);
    acpi_put(t, 0xfff, 2);       /* no C2, no C3 */
    acpi_put(t, 0xfff, 2);
    acpi_put(t, 0, 4);
    acpi_put(t, 0, 4);           /* duty cycle, day and month alarm: none */
    acpi_put(t, 0x32, 1);        /* century */
    acpi_put(t, 1 | (p->i8042 ? 2 : 0), 2); /* legacy devices, 8042 */
    acpi_put(t, 0, 1);
    acpi_put(t, FADT_WBINVD | FADT_PROC_C1 | FADT_SLP_BUTTON | FADT_RESET_REG_SUP, 4);
    acpi_put_gas(t, 1, 8, 1, 0xcf9);
    acpi_put(t, 6, 1);           /* value that resets */
    acpi_put(t, 0, 3);
    acpi_put(t, 0, 8);           /* X_FIRMWARE_CTRL: the 32-bit one counts */
    acpi_put(t, 0, 8);           /* X_DSDT alike */
    acpi_link(b, t->len - 8, 8, dsdt);
    acpi_put_gas(t, 1, 32, 2, pm);
    acpi_put_gas(t, 0, 0, 0, 0);
    acpi_put_gas(t, 1, 16, 2, pm + 4);
    acpi_put_gas(t, 0, 0, 0, 0);
    acpi_put_gas(t, 0, 0, 0, 0);
    acpi_put_gas(t, 1, 32, 3, pm + 8);
    acpi_put_gas(t, 1, 8 * chip->gpe0_size, 1, pm + chip->gpe0);
    acpi_put_gas(t, 0, 0, 0, 0);
    acpi_table_end(b, at, true);
}

static void madt_override(GByteArray *t, uint8_t irq, uint32_t gsi, uint16_t flags)
{
    acpi_put(t, 2, 1);
    acpi_put(t, 10, 1);
    acpi_put(t, 0, 1);
    acpi_put(t, irq, 1);
    acpi_put(t, gsi, 4);
    acpi_put(t, flags, 2);
}

void pc_acpi_madt(AcpiBuilder *b, const PcAcpi *p, bool pic, const uint8_t *level, unsigned n_level)
{
    GByteArray *t = b->tables;
    guint at = acpi_table_begin(b, "APIC", 3);
    bool x2 = false;
    acpi_put(t, LAPIC_BASE_ADDR, 4);
    acpi_put(t, pic, 4); /* are there 8259s too? */
    for (unsigned i = 0; i < p->max_cpus; i++) {
        uint32_t enabled = i < p->n_cpus;
        if (i < 255 && p->apic_id[i] < 255) {
            acpi_put(t, 0, 1);
            acpi_put(t, 8, 1);
            acpi_put(t, i, 1);
            acpi_put(t, p->apic_id[i], 1);
            acpi_put(t, enabled, 4);
        } else {
            acpi_put(t, 9, 1);
            acpi_put(t, 16, 1);
            acpi_put(t, 0, 2);
            acpi_put(t, p->apic_id[i], 4);
            acpi_put(t, enabled, 4);
            acpi_put(t, i, 4);
            x2 = true;
        }
    }
    acpi_put(t, 1, 1); /* I/O APIC */
    acpi_put(t, 12, 1);
    acpi_put(t, 0, 2);
    acpi_put(t, IOAPIC_ADDR, 4);
    acpi_put(t, 0, 4);
    madt_override(t, 0, 2, 0);
    for (unsigned i = 0; i < n_level; i++) {
        madt_override(t, level[i], level[i], 0x0d); /* active high, level */
    }
    acpi_put(t, 4, 1); /* NMI on LINT1 of all */
    acpi_put(t, 6, 1);
    acpi_put(t, 0xff, 1);
    acpi_put(t, 0, 2);
    acpi_put(t, 1, 1);
    if (x2) {
        acpi_put(t, 10, 1);
        acpi_put(t, 12, 1);
        acpi_put(t, 0, 2);
        acpi_put(t, UINT32_MAX, 4);
        acpi_put(t, 1, 1);
        acpi_put(t, 0, 3);
    }
    acpi_table_end(b, at, true);
}

static void build_hpet(AcpiBuilder *b)
{
    guint at = acpi_table_begin(b, "HPET", 1);
    acpi_put(b->tables, 0x8086a201,
             4); /* vendor, legacy route, 64-bit counter, three comparators, revision 1 */
    acpi_put_gas(b->tables, 0, 64, 0, HPET_ADDR);
    acpi_put(b->tables, 0, 1);
    acpi_put(b->tables, 0, 2);
    acpi_put(b->tables, 0, 1);
    acpi_table_end(b, at, true);
}

/* Tells Windows that the PM timer can be read once. */
static void build_waet(AcpiBuilder *b)
{
    guint at = acpi_table_begin(b, "WAET", 1);
    acpi_put(b->tables, 1 << 1, 4);
    acpi_table_end(b, at, true);
}

void pc_acpi_build(AcpiBuilder *b, const PcAcpi *p)
{
    guint facs = acpi_put_facs(b);
    guint dsdt = acpi_table_begin(b, "DSDT", 2);
    build_dsdt(b, p);
    acpi_table_end(b, dsdt, false);
    build_fadt(b, p, facs, dsdt);
    static const uint8_t level[] = { 5, SCI_IRQ, 10, 11 }; /* what PIRQs and the SCI can be routed to */
    pc_acpi_madt(b, p, true, level, G_N_ELEMENTS(level));
    if (p->numa) {
        pc_acpi_numa(b, p);
    }
    if (p->hpet) {
        build_hpet(b);
    }
    if (p->chipset->tables) {
        p->chipset->tables(b, p);
    }
    build_waet(b);
    if (p->vmgenid) {
        vmgenid_describe(b);
    }
    acpi_finish(b);
}

static bool piix4_look(PcAcpi *p)
{
    uint16_t base = piix4_pm_base(p->pm);
    if (!base || base == p->pm_base) {
        return false;
    }
    p->pm_base = base;
    return true;
}

const PcAcpiChipset acpi_piix4 = {
    .pm_default = PIIX4_PM_DEFAULT_BASE, .pm_size = 0x40, .smi_cmd = PIIX4_PM_SMI_CMD,
    .acpi_enable = PIIX4_ACPI_ENABLE, .acpi_disable = PIIX4_ACPI_DISABLE, .gpe0 = 0x0c, .gpe0_size = 4,
    .pci_root = dsdt_pci_root, .links = dsdt_links, .look = piix4_look, .gpe = &piix4_gpe_sink,
};

static GBytes *pc_acpi_refresh(void *opaque, GBytes *was G_GNUC_UNUSED)
{
    PcAcpi *p = opaque;
    if (!p->chipset->look(p)) {
        return NULL;
    }
    AcpiBuilder b;
    acpi_builder_init(&b);
    pc_acpi_build(&b, p);
    GBytes *now = g_bytes_new(b.tables->data, b.tables->len);
    acpi_builder_fini(&b);
    return now;
}

bool pc_acpi_publish(PcAcpi *p, Device *fw, Error **errp)
{
    AcpiBuilder b;
    p->chipset->look(p);
    acpi_builder_init(&b);
    pc_acpi_build(&b, p);
    bool ok = fw_cfg_add_file_bytes(fw, ACPI_FILE_RSDP, b.rsdp->data, b.rsdp->len, errp) &&
              fw_cfg_add_file_bytes(fw, ACPI_FILE_TABLES, b.tables->data, b.tables->len, errp) &&
              fw_cfg_add_file_bytes(fw, ACPI_FILE_LOADER, b.loader->data, b.loader->len, errp);
    acpi_builder_fini(&b);
    if (ok) {
        fw_cfg_set_hook(fw, ACPI_FILE_TABLES, pc_acpi_refresh, p);
    }
    return ok;
}
