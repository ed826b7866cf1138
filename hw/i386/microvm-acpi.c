/* SPDX-License-Identifier: MIT
 * hw/i386/microvm-acpi.c - the ACPI tables of the board "microvm".
 *
 * Models: ACPI 6.3, hardware-reduced (4.1): FADT (5.2.9) with sleep and reset registers, MADT, SRAT, SLIT,
 *         DSDT with a generic event device (5.6.9), a power button, the virtio transports (id LNRO0005),
 *         serial port and clock.
 * Does not model: hot-plug, sleep states but S5.
 * Threads: built on the main loop.
 */
#include "microvm.h"
#include "rhea/hw/ged.h"
#include "rhea/hw/virtio-mmio.h"

enum { RTC_PORT = 0x70, RTC_IRQ = 8, EVENT_READ = 0x80 };

/* ---- DSDT ---- */

static void dsdt_transport(Aml *a, const MicrovmBoard *s, unsigned i)
{
    g_autofree char *name = g_strdup_printf("VR%02u", i);
    aml_device(a, name);
    aml_name(a, "_HID");
    aml_string(a, "LNRO0005");
    aml_name_int(a, "_UID", i);
    aml_name_int(a, "_CCA", 1); /* coherent */
    aml_name(a, "_CRS");
    aml_resources(a);
    aml_res_memory32(a, MICROVM_VIRTIO_BASE + i * VIRTIO_MMIO_SIZE, VIRTIO_MMIO_SIZE, true);
    aml_res_interrupt(a, microvm_virtio_irq(s, i), false);
    aml_resources_end(a);
    aml_end(a);
}

/* _EVT takes what has happened, and tells the devices. */
static void dsdt_events(Aml *a)
{
    aml_device(a, "PWRB");
    aml_name_eisaid(a, "_HID", "PNP0C0C");
    aml_name_int(a, "_UID", 0);
    aml_end(a);
    aml_device(a, "GED");
    aml_name(a, "_HID");
    aml_string(a, "ACPI0013");
    aml_name_int(a, "_UID", 0);
    aml_name(a, "_CRS");
    aml_resources(a);
    aml_res_interrupt(a, MICROVM_GED_IRQ, false);
    aml_resources_end(a);
    aml_op_region(a, "GEDR", AML_SPACE_MEMORY, MICROVM_GED_BASE + GED_EVENTS, 4);
    aml_field(a, "GEDR", AML_FIELD_DWORD);
    aml_field_unit(a, "GEVT", 32);
    aml_end(a);
    aml_method(a, "_EVT", 1, true);
    aml_byte(a, AML_STORE);
    aml_path(a, "GEVT");
    aml_byte(a, AML_LOCAL0);
    aml_if(a);
    aml_byte(a, AML_AND);
    aml_byte(a, AML_LOCAL0);
    aml_int(a, GED_POWER_BUTTON);
    aml_byte(a, AML_NIL);
    aml_notify(a, "\\_SB.PWRB", EVENT_READ);
    aml_end(a);
    aml_end(a);
    aml_end(a);
}

static void dsdt_isa(Aml *a, const char *name, const char *hid, uint16_t port, uint8_t len, unsigned irq)
{
    aml_device(a, name);
    aml_name_eisaid(a, "_HID", hid);
    aml_name_int(a, "_UID", 0);
    aml_name(a, "_CRS");
    aml_resources(a);
    aml_res_io(a, port, len);
    aml_res_irq(a, irq);
    aml_resources_end(a);
    aml_end(a);
}

static void build_dsdt(AcpiBuilder *b, const MicrovmBoard *s)
{
    Aml a;
    aml_init(&a, b->tables);
    aml_scope(&a, "\\_SB");
    pc_acpi_processors(&a, &s->tables);
    if (s->tables.n_serial) {
        dsdt_isa(&a, "COM1", "PNP0501", s->tables.serial[0].iobase, 8, s->tables.serial[0].irq);
    }
    pc_acpi_fw_cfg(&a);
    if (s->rtc_dev) {
        dsdt_isa(&a, "RTC", "PNP0B00", RTC_PORT, 2, RTC_IRQ);
    }
    dsdt_events(&a);
    for (unsigned i = 0; i < MICROVM_TRANSPORTS; i++) {
        if (virtio_mmio_used(s->transport[i])) {
            dsdt_transport(&a, s, i);
        }
    }
    aml_end(&a);
    aml_name(&a, "\\_S5");
    aml_package(&a, 4);
    aml_int(&a, GED_SLEEP_S5);
    for (unsigned i = 0; i < 3; i++) {
        aml_int(&a, 0);
    }
    aml_end(&a);
    aml_fini(&a);
}

/* ---- FADT ---- */

enum { /* table 5-35 and 5.2.9.3 */
       FADT_WBINVD = 1 << 0,
       FADT_PROC_C1 = 1 << 2,
       FADT_PWR_BUTTON = 1 << 4,
       FADT_SLP_BUTTON = 1 << 5,
       FADT_RESET_REG_SUP = 1 << 10,
       FADT_HW_REDUCED = 1 << 20,
       BOOT_LEGACY = 1 << 0,
       BOOT_NO_VGA = 1 << 2,
       BOOT_NO_RTC = 1 << 5,
};

static void build_fadt(AcpiBuilder *b, const MicrovmBoard *s, guint dsdt)
{
    GByteArray *t = b->tables;
    guint at = acpi_table_begin(b, "FACP", 6);
    acpi_put(t, 0, 4); /* no FACS */
    acpi_put(t, 0, 4);
    acpi_link(b, at + 40, 4, dsdt);
    acpi_put(t, 0, 1);
    acpi_put(t, 0, 1);                             /* profile: unspecified */
    for (guint zeros = 109 - 46; zeros; zeros--) { /* SCI, SMI, PM blocks, their lengths, latencies: none */
        acpi_put(t, 0, 1);
    }
    acpi_put(t, BOOT_NO_VGA | (s->rtc_dev ? 0 : BOOT_NO_RTC) | (s->tables.n_serial ? BOOT_LEGACY : 0), 2);
    acpi_put(t, 0, 1);
    acpi_put(t,
             FADT_WBINVD | FADT_PROC_C1 | FADT_PWR_BUTTON | FADT_SLP_BUTTON | FADT_RESET_REG_SUP |
                 FADT_HW_REDUCED,
             4);
    acpi_put_gas(t, AML_SPACE_MEMORY, 8, 1, MICROVM_GED_BASE + GED_RESET);
    acpi_put(t, GED_RESET_VALUE, 1);
    acpi_put(t, 0, 2); /* ARM's flags */
    acpi_put(t, 3, 1); /* minor version: 6.3 */
    acpi_put(t, 0, 8); /* X_FIRMWARE_CTRL */
    acpi_put(t, 0, 8);
    acpi_link(b, t->len - 8, 8, dsdt);
    for (unsigned i = 0; i < 8; i++) {
        acpi_put_gas(t, 0, 0, 0, 0); /* event, control, timer, general-purpose blocks */
    }
    acpi_put_gas(t, AML_SPACE_MEMORY, 8, 1, MICROVM_GED_BASE + GED_SLEEP_CONTROL);
    acpi_put_gas(t, AML_SPACE_MEMORY, 8, 1, MICROVM_GED_BASE + GED_SLEEP_STATUS);
    acpi_put(t, 0, 8); /* hypervisor's vendor */
    acpi_table_end(b, at, true);
}

void microvm_acpi_build(AcpiBuilder *b, const MicrovmBoard *s)
{
    guint dsdt = acpi_table_begin(b, "DSDT", 2);
    build_dsdt(b, s);
    acpi_table_end(b, dsdt, false);
    build_fadt(b, s, dsdt);
    pc_acpi_madt(b, &s->tables, s->pic_master != NULL, NULL, 0);
    if (s->tables.numa) {
        pc_acpi_numa(b, &s->tables);
    }
    acpi_finish(b);
}
