/* SPDX-License-Identifier: MIT
 * hw/i386/acpi-q35.c - what ACPI tells of the q35 board beyond what the pc board has: the PCI Express root.
 *
 * Models: ACPI 6.3: _OSC (6.2.11), routing by link devices or straight to I/O APIC inputs as \_PIC chose
 *         (5.8.1, 6.2.13); PCI Firmware Specification 3.2: MCFG (4.1.2), _OSC of a host bridge (4.5.1), which
 *         grants native hot-plug where there is none by ACPI (hw/acpi/pcihp-aml.c).
 * Does not model: power management events and error reporting: _OSC grants neither.
 * Threads: built with the other tables.
 */
#include "acpi-pc.h"
#include "ich9.h"

enum {
    PIRQS = 8,
    FIRST_ROUTED_SLOT = 25,
    AML_LEQUAL = 0x93,
    AML_LNOT = 0x92,
    AML_ARG1 = 0x69,
    AML_ARG3 = 0x6b
};
enum { OSC_HOTPLUG_CONTROL = 1 << 0, OSC_CAPABILITY_CONTROL = 1 << 4 };
enum { OSC_UNKNOWN_UUID = 4, OSC_UNKNOWN_REVISION = 8, OSC_MASKED = 0x10 };
enum { ECAM_DEFAULT = 0xb0000000u, ECAM_SPAN = 256 << 20, IOAPIC_ADDR = 0xfec00000u };

/* As link devices: which GSI or link a pin goes to; the same as in ich9-lpc.c. */
static unsigned pirq_of(unsigned slot, unsigned pin)
{
    return slot < FIRST_ROUTED_SLOT ? 4 + ((slot + pin) & 3) : pin;
}

static void q35_routes(Aml *a, const char *name, bool apic)
{
    aml_name(a, name);
    aml_package(a, 128);
    for (unsigned slot = 0; slot < 32; slot++) {
        for (unsigned pin = 0; pin < 4; pin++) {
            unsigned pirq = pirq_of(slot, pin);
            g_autofree char *link = g_strdup_printf("\\_SB.LNK%c", 'A' + pirq);
            aml_package(a, 4);
            aml_int(a, slot << 16 | 0xffff);
            aml_int(a, pin);
            if (apic) {
                aml_int(a, 0);
                aml_int(a, 16 + pirq);
            } else {
                aml_path(a, link);
                aml_int(a, 0);
            }
            aml_end(a);
        }
    }
    aml_end(a);
}

static void q35_routing(Aml *a)
{
    q35_routes(a, "PRTP", false);
    q35_routes(a, "PRTA", true);
    aml_method(a, "_PRT", 0, false);
    aml_if(a);
    aml_path(a, "\\PICF");
    aml_return(a);
    aml_path(a, "PRTA");
    aml_end(a);
    aml_return(a);
    aml_path(a, "PRTP");
    aml_end(a);
}

static void osc_set_status(Aml *a, unsigned bits)
{
    aml_byte(a, AML_OR);
    aml_path(a, "CDW1");
    aml_int(a, bits);
    aml_path(a, "CDW1");
}

/* The operating system may have the Express capability structures, and hot-plug if nobody else has it. */
static void q35_osc(Aml *a, bool hotplug)
{
    static const uint8_t uuid[16] = { 0x5b, 0x4d, 0xdb, 0x33, 0xf7, 0x1f, 0x1c, 0x40,
                                      0x96, 0x57, 0x74, 0x41, 0xc0, 0x3d, 0xd7, 0x66 };
    aml_method(a, "_OSC", 4, true);
    aml_create_dword_field(a, AML_ARG3, 0, "CDW1");
    aml_if(a);
    aml_byte(a, AML_LEQUAL);
    aml_byte(a, AML_ARG0);
    aml_byte(a, 0x11); /* a buffer of 16 bytes (20.2.5.4) */
    aml_byte(a, 3 + sizeof(uuid));
    aml_byte(a, 0x0a);
    aml_byte(a, sizeof(uuid));
    for (unsigned i = 0; i < sizeof(uuid); i++) {
        aml_byte(a, uuid[i]);
    }
    aml_create_dword_field(a, AML_ARG3, 8, "CDW3");
    aml_byte(a, AML_AND);
    aml_path(a, "CDW3");
    aml_int(a, OSC_CAPABILITY_CONTROL | (hotplug ? OSC_HOTPLUG_CONTROL : 0));
    aml_byte(a, AML_LOCAL0);
    aml_if(a);
    aml_byte(a, AML_LNOT);
    aml_byte(a, AML_LEQUAL);
    aml_byte(a, AML_ARG1);
    aml_int(a, 1);
    osc_set_status(a, OSC_UNKNOWN_REVISION);
    aml_end(a);
    aml_if(a);
    aml_byte(a, AML_LNOT);
    aml_byte(a, AML_LEQUAL);
    aml_path(a, "CDW3");
    aml_byte(a, AML_LOCAL0);
    osc_set_status(a, OSC_MASKED);
    aml_end(a);
    aml_byte(a, AML_STORE);
    aml_byte(a, AML_LOCAL0);
    aml_path(a, "CDW3");
    aml_end(a);
    aml_else(a);
    osc_set_status(a, OSC_UNKNOWN_UUID);
    aml_end(a);
    aml_return(a);
    aml_byte(a, AML_ARG3);
    aml_end(a);
}

/* PCI memory is what RAM and the configuration window leave below the I/O APIC. There are always two
 * windows, because the size of the tables must not depend on where firmware puts the latter. */
static void q35_windows(Aml *a, const PcAcpi *p)
{
    uint64_t ecam_end = p->ecam + ECAM_SPAN;
    bool below = p->layout.below_4g < p->ecam;
    uint64_t first = below ? p->layout.below_4g : ecam_end, last = below ? p->ecam - 1 : ecam_end + 0xfffff;
    aml_res_window(a, AML_RANGE_MEMORY, first, last);
    aml_res_window(a, AML_RANGE_MEMORY, below ? ecam_end : last + 1, IOAPIC_ADDR - 1);
}

static void q35_pci_root(Aml *a, const PcAcpi *p)
{
    pc_acpi_pci_root_begin(a, "PNP0A08", "PNP0A03");
    q35_windows(a, p);
    aml_resources_end(a);
    q35_routing(a);
    q35_osc(a, !p->hotplug);
    if (p->hotplug) {
        acpi_pcihp_describe(p->hotplug, a);
    }
    pc_acpi_isa_bridge(a, p, 0x001f0000, PIRQS);
    aml_end(a);
    aml_device(a, "ECAM"); /* reserved, as operating systems want to see before they use it */
    aml_name_eisaid(a, "_HID", "PNP0C02");
    aml_name_int(a, "_UID", 2);
    aml_name(a, "_CRS");
    aml_resources(a);
    aml_res_memory32(a, p->ecam, ECAM_SPAN, true);
    aml_resources_end(a);
    aml_end(a);
}

static void q35_links(Aml *a)
{
    for (unsigned i = 0; i < PIRQS; i++) {
        pc_acpi_link(a, 'A' + i, i + 1);
    }
}

/* At the root: what the operating system says about its interrupt controller, before it looks at _PRT. */
static void q35_root_methods(Aml *a)
{
    aml_name_int(a, "\\PICF", 0);
    aml_method(a, "\\_PIC", 1, false);
    aml_byte(a, AML_STORE);
    aml_byte(a, AML_ARG0);
    aml_path(a, "\\PICF");
    aml_end(a);
}

static void q35_mcfg(AcpiBuilder *b, const PcAcpi *p)
{
    guint at = acpi_table_begin(b, "MCFG", 1);
    acpi_put(b->tables, 0, 8);
    acpi_put(b->tables, p->ecam, 8);
    acpi_put(b->tables, 0, 2); /* segment */
    acpi_put(b->tables, 0, 1); /* buses */
    acpi_put(b->tables, 255, 1);
    acpi_put(b->tables, 0, 4);
    acpi_table_end(b, at, true);
}

/* Where the chipset's registers are now; false: as the tables say already. */
static bool q35_look(PcAcpi *p)
{
    uint64_t size, ecam = mch_ecam(p->mch, &size);
    uint16_t pm = ich9_lpc_pm_base(p->pm);
    bool changed = false;
    if (!p->ecam) {
        p->ecam = ECAM_DEFAULT;
    }
    if (ecam && size == ECAM_SPAN && ecam <= UINT32_MAX && ecam != p->ecam) {
        p->ecam = ecam;
        changed = true;
    }
    if (pm && pm != p->pm_base) {
        p->pm_base = pm;
        changed = true;
    }
    return changed;
}

const PcAcpiChipset acpi_ich9 = {
    .pm_default = ICH9_PM_DEFAULT_BASE, .pm_size = ICH9_PM_SIZE, .smi_cmd = ICH9_SMI_CMD,
    .acpi_enable = ICH9_ACPI_ENABLE, .acpi_disable = ICH9_ACPI_DISABLE,
    .gpe0 = ICH9_GPE0_STS, .gpe0_size = ICH9_GPE0_SIZE,
    .pci_root = q35_pci_root, .links = q35_links, .root_methods = q35_root_methods, .tables = q35_mcfg,
    .look = q35_look, .gpe = &ich9_gpe_sink,
};
