/* SPDX-License-Identifier: MIT
 * hw/i386/ich9.h - what the pieces of the q35 board tell each other.
 */
#ifndef HW_I386_ICH9_H
#define HW_I386_ICH9_H

#include "pc_internal.h"
#include "shadow.h"

/* q35-mch.c. The host device makes the bus "pcie.0"; the function at 00:00.0 owns PAM, SMRAM and PCIEXBAR. */
extern const DeviceType q35_host_type, mch_type;
PciBus *q35_host_bus(Device *host);
MemRegion *q35_host_mem(Device *host);  /* PCI memory space, below RAM in priority */
void mch_attach(Device *mch, Device *host, uint64_t below_4g); /* before the first reset */
PcShadow *mch_shadow(Device *mch);
/* Where memory-mapped configuration space is: 0 when switched off; *size in bytes. */
uint64_t mch_ecam(Device *mch, uint64_t *size);

/* ich9-lpc.c */
extern const DeviceType ich9_lpc_type;
IsaBus *ich9_lpc_isa_bus(Device *lpc);
IrqLine *ich9_lpc_smi(Device *lpc);
extern const IrqSinkOps ich9_gpe_sink; /* sink: the bridge; a pulse on pin n: GPE n. Its domain */
uint16_t ich9_lpc_pm_base(Device *lpc); /* 0 when not enabled yet */
struct AcpiPcihp *ich9_lpc_hotplug(Device *lpc); /* NULL: switched off */
enum {
    ICH9_SMI_CMD = 0xb2,
    ICH9_HOTPLUG = 0xcc0, /* rhea/hw/pcihp.h */
    ICH9_ACPI_ENABLE = 0x02,
    ICH9_ACPI_DISABLE = 0x03,
    ICH9_PM_DEFAULT_BASE = 0x600,
    ICH9_PM_SIZE = 0x80,
    ICH9_GPE0_STS = 0x20,
    ICH9_GPE0_SIZE = 16,
};

/* ich9-smbus.c */
extern const DeviceType ich9_smbus_type;

#endif
