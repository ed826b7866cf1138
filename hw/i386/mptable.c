/* SPDX-License-Identifier: MIT
 * hw/i386/mptable.c - the MP configuration table, by which kernels without ACPI find CPUs and the I/O APIC.
 *
 * Models: MultiProcessor Specification 1.4, chapter 4: floating pointer, processors, one ISA bus, one I/O
 *         APIC, interrupt assignments.
 * Does not model: PCI, extended entries.
 * Threads: none.
 */
#include "mptable.h"
#include "rhea/hw/acpi.h"
#include "rhea/hw/apic.h"
#include "rhea/hw/intc.h"
#include <string.h>

enum { MP_CPU = 0, MP_BUS, MP_IOAPIC, MP_IRQ, MP_LOCAL_IRQ }; /* 4.3: entry types */
enum { MP_INT = 0, MP_NMI = 1, MP_EXTINT = 3, MP_POINTER_SIZE = 16, MP_ISA_BUS = 0, MP_ALL_APICS = 0xff };
enum { MP_CONFORMS = 0, MP_LEVEL_HIGH = 0x0d };

static uint8_t mp_sum(const uint8_t *p, size_t n)
{
    uint8_t sum = 0;
    while (n--) {
        sum += *p++;
    }
    return sum;
}

static void mp_interrupt(GByteArray *t, uint8_t entry, uint8_t type, uint16_t flags, uint8_t irq,
                         uint8_t apic, uint8_t pin)
{
    acpi_put(t, entry, 1);
    acpi_put(t, type, 1);
    acpi_put(t, flags, 2);
    acpi_put(t, MP_ISA_BUS, 1);
    acpi_put(t, irq, 1);
    acpi_put(t, apic, 1);
    acpi_put(t, pin, 1);
}

static unsigned mp_entries(GByteArray *t, const MpTable *mp)
{
    for (unsigned i = 0; i < mp->n_cpus; i++) {
        acpi_put(t, MP_CPU, 1);
        acpi_put(t, mp->apic_id[i], 1);
        acpi_put(t, 0x14, 1);                 /* version of the local APIC */
        acpi_put(t, 1 | (i == 0 ? 2 : 0), 1); /* enabled, bootstrap processor */
        acpi_put(t, mp->signature, 4);
        acpi_put(t, mp->features, 4);
        acpi_put(t, 0, 8);
    }
    acpi_put(t, MP_BUS, 1);
    acpi_put(t, MP_ISA_BUS, 1);
    g_byte_array_append(t, (const uint8_t *)"ISA   ", 6);
    acpi_put(t, MP_IOAPIC, 1);
    acpi_put(t, mp->ioapic_id, 1);
    acpi_put(t, 0x20, 1);
    acpi_put(t, 1, 1);
    acpi_put(t, IOAPIC_BASE, 4);
    unsigned n = mp->n_cpus + 2;
    for (unsigned irq = 0; irq < 16; irq++) { /* IRQ 0 is on pin 2, and IRQ 2 is no line */
        if (irq != 2) {
            bool level = mp->level >> irq & 1;
            mp_interrupt(t, MP_IRQ, MP_INT, level ? MP_LEVEL_HIGH : MP_CONFORMS, irq, mp->ioapic_id,
                         irq ? irq : 2);
            n++;
        }
    }
    mp_interrupt(t, MP_LOCAL_IRQ, MP_EXTINT, MP_CONFORMS, 0, MP_ALL_APICS, 0);
    mp_interrupt(t, MP_LOCAL_IRQ, MP_NMI, MP_CONFORMS, 0, MP_ALL_APICS, 1);
    return n + 2;
}

/* The pointer first; it must lie on a multiple of 16 where kernels look: at F0000h or above. */
GByteArray *mp_table_build(const MpTable *mp, uint32_t at)
{
    GByteArray *t = g_byte_array_new(), *p = g_byte_array_new();
    g_byte_array_append(t, (const uint8_t *)"PCMP", 4);
    acpi_put(t, 0, 2); /* length */
    acpi_put(t, 4, 1); /* specification 1.4 */
    acpi_put(t, 0, 1); /* checksum */
    g_byte_array_append(t, (const uint8_t *)"RHEA    MICROVM     ", 20);
    acpi_put(t, 0, 4);
    acpi_put(t, 0, 2);
    acpi_put(t, 0, 2); /* number of entries */
    acpi_put(t, APIC_DEFAULT_BASE, 4);
    acpi_put(t, 0, 4);
    acpi_set(t, 34, mp_entries(t, mp), 2);
    acpi_set(t, 4, t->len, 2);
    t->data[7] = -mp_sum(t->data, t->len);

    g_byte_array_append(p, (const uint8_t *)"_MP_", 4);
    acpi_put(p, at + MP_POINTER_SIZE, 4);
    acpi_put(p, 1, 1); /* length in units of 16 */
    acpi_put(p, 4, 1);
    acpi_put(p, 0, 1); /* checksum */
    acpi_put(p, 0, 5); /* there is a table; virtual wire mode */
    p->data[10] = -mp_sum(p->data, p->len);
    g_byte_array_append(p, t->data, t->len);
    g_byte_array_unref(t);
    return p;
}
