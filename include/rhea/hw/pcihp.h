/* SPDX-License-Identifier: MIT
 * rhea/hw/pcihp.h - hot-plug of PCI devices by ACPI: I/O registers, and the methods that use them.
 *
 * Embedded in the chipset's power-management function, whose VmState table has
 * VM_STRUCT(T, hotplug, acpi_pcihp_state). Registers: that device's domain.
 */
#ifndef RHEA_HW_PCIHP_H
#define RHEA_HW_PCIHP_H

#include "rhea/hw/acpi.h"
#include "rhea/hw/pci.h"

enum { ACPI_PCIHP_BUSES = 256, ACPI_PCIHP_SIZE = 0x18, ACPI_PCIHP_GPE = 1 };

typedef struct AcpiPcihp {
    Device *owner;
    void (*raise)(Device *owner); /* the event ACPI_PCIHP_GPE, in its domain */
    uint16_t port;                /* 0: not there */
    MemRegion io;
    PciBus *root;
    unsigned n;                   /* buses whose devices come and go */
    PciBus *bus[ACPI_PCIHP_BUSES];
    uint32_t fixed[ACPI_PCIHP_BUSES]; /* by bus: slots of what stays */
    uint32_t select;              /* guest-visible, with the next two */
    uint32_t up[ACPI_PCIHP_BUSES], down[ACPI_PCIHP_BUSES]; /* slots to tell of */
    uint32_t eject[ACPI_PCIHP_BUSES]; /* what the guest has let go of, and the main loop has not taken yet */
    Task task;
} AcpiPcihp;

/* In the owner's realize. */
bool acpi_pcihp_init(AcpiPcihp *h, Device *owner, uint16_t port, void (*raise)(Device *owner), Error **errp);
void acpi_pcihp_reset(AcpiPcihp *h); /* in the owner's reset */
extern const VmState acpi_pcihp_state;

/* Once all devices of the command line are there: slots of the root bus (if root_too), and those behind its
 * ports that have hot-plug, which are taken over. MAIN_LOOP. */
void acpi_pcihp_attach(AcpiPcihp *h, PciBus *root, bool root_too);
/* Takes out what the guest has let go of; after a reset, too, what it had been asked for. MAIN_LOOP, no domain
 * held. */
void acpi_pcihp_finish(AcpiPcihp *h);

/* In the scope of the root bridge, whose path is \_SB.PCI0; and outside all scopes. */
void acpi_pcihp_describe(const AcpiPcihp *h, Aml *a);
void acpi_pcihp_describe_event(const AcpiPcihp *h, Aml *a);

#endif
