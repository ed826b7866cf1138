/* SPDX-License-Identifier: MIT
 * hw/i386/acpi-pc.h - what the ACPI tables of the board depend on.
 */
#ifndef HW_I386_ACPI_PC_H
#define HW_I386_ACPI_PC_H

#include "pc_internal.h"
#include "rhea/hw/acpi.h"

typedef struct PcAcpi {
    PcLayout layout;
    unsigned n_cpus;
    unsigned max_cpus;   /* >= n_cpus: entries that no CPU has are marked as disabled */
    uint32_t *apic_id;   /* max_cpus of them; the board's */
    const MachineNuma *numa; /* NULL: one node */
    bool hpet, i8042, pit;
    struct { uint16_t iobase; uint8_t irq; } serial[4];
    unsigned n_serial;
    uint16_t pm_base;    /* always one that takes a word: the size of the tables must not depend on it */
    Device *pm;
} PcAcpi;

void pc_acpi_numa(AcpiBuilder *b, const PcAcpi *p); /* acpi-numa.c: SRAT, SLIT */
void pc_acpi_build(AcpiBuilder *b, const PcAcpi *p);
/* Into fw_cfg; p must live as long as the machine. */
bool pc_acpi_publish(PcAcpi *p, Device *fw, Error **errp);

#endif
