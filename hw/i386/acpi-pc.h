/* SPDX-License-Identifier: MIT
 * hw/i386/acpi-pc.h - what the ACPI tables of the board depend on.
 */
#ifndef HW_I386_ACPI_PC_H
#define HW_I386_ACPI_PC_H

#include "pc_internal.h"
#include "rhea/hw/acpi.h"
#include "rhea/hw/pcihp.h"

struct PcAcpi;
typedef struct PcAcpiChipset { /* what differs from board to board */
    uint16_t pm_default; /* where the tables say the PM block is until firmware has put it somewhere */
    uint8_t pm_size, smi_cmd, acpi_enable, acpi_disable, gpe0, gpe0_size; /* gpe0: from the PM base */
    void (*pci_root)(Aml *a, const struct PcAcpi *p);
    void (*links)(Aml *a);
    void (*root_methods)(Aml *a);                               /* outside all scopes; NULL: none */
    void (*tables)(AcpiBuilder *b, const struct PcAcpi *p);     /* further ones; NULL: none */
    const IrqSinkOps *gpe; /* a pulse on pin n of PcAcpi.pm is general-purpose event n */
    bool (*look)(struct PcAcpi *p); /* takes the registers' places from the chipset; false: nothing new */
} PcAcpiChipset;
extern const PcAcpiChipset acpi_piix4, acpi_ich9; /* acpi-pc.c, acpi-q35.c */

typedef struct PcAcpi {
    const PcAcpiChipset *chipset;
    PcLayout layout;
    unsigned n_cpus;
    unsigned max_cpus;   /* >= n_cpus: entries that no CPU has are marked as disabled */
    uint32_t *apic_id;   /* max_cpus of them; the board's */
    const MachineNuma *numa; /* NULL: one node */
    bool hpet, i8042, pit, fdc, vmgenid;
    struct { uint16_t iobase; uint8_t irq; } serial[4];
    unsigned n_serial;
    uint16_t pvpanic;    /* its port; 0: there is none */
    uint16_t pm_base;    /* always one that takes a word: the size of the tables must not depend on it */
    AcpiPcihp *hotplug;  /* NULL: none by ACPI */
    Device *pm, *mch;
    uint64_t ecam;       /* memory-mapped configuration space, 256 MiB; as pm_base */
} PcAcpi;

/* Shared with other boards: processors of the DSDT, the MADT. level: ISA lines that are level-triggered. */
void pc_acpi_processors(Aml *a, const PcAcpi *p);
void pc_acpi_madt(AcpiBuilder *b, const PcAcpi *p, bool pic, const uint8_t *level, unsigned n_level);
void pc_acpi_fw_cfg(Aml *a); /* the device by which systems find fw_cfg */
void pc_acpi_numa(AcpiBuilder *b, const PcAcpi *p); /* acpi-numa.c: SRAT, SLIT */
/* acpi-pc.c, for the chipsets' own parts */
/* PCI0's ids and the part of its resources that no chipset changes; leaves the list of resources open for the
 * windows above 1 MiB, and the device for the rest. */
void pc_acpi_pci_root_begin(Aml *a, const char *hid, const char *cid); /* cid: NULL for none */
/* \_SB.PCI0.ISA: its PIRQ registers PRQx, the devices behind it, the chipset's own ports. */
void pc_acpi_isa_bridge(Aml *a, const PcAcpi *p, uint32_t adr, unsigned pirqs);
void pc_acpi_link(Aml *a, char letter, unsigned uid); /* LNKx of \_SB.PCI0.ISA.PRQx */
void pc_acpi_build(AcpiBuilder *b, const PcAcpi *p);
/* Into fw_cfg; p must live as long as the machine. */
bool pc_acpi_publish(PcAcpi *p, Device *fw, Error **errp);

#endif
