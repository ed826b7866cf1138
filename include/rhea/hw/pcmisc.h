/* SPDX-License-Identifier: MIT
 * rhea/hw/pcmisc.h - small PC devices a board creates. Platform domain.
 */
#ifndef RHEA_HW_PCMISC_H
#define RHEA_HW_PCMISC_H

#include "rhea/system/device.h"

/* "port92": ISA device. Exported line 0 is the fast A20 gate. On the PC the CPU's A20 is the OR of this and
 * the 8042's: use an IrqOr. */
extern const DeviceType port92_type;
/* "isa-pcspk": port 61h. Needs an isa-pit on the same bus, created before it. */
extern const DeviceType pcspk_type;
/* "isa-serial", "pci-serial", "isa-debugcon", "isa-debug-exit", "pc-testdev": also for -device. */
extern const DeviceType isa_serial_type, pci_serial_type, isa_debugcon_type, isa_debug_exit_type;
extern const DeviceType pc_testdev_type;
/* "pvpanic" (ISA) and "pvpanic-pci": guests tell of panics. */
extern const DeviceType pvpanic_type, pvpanic_pci_type;
uint16_t pvpanic_port(Device *dev); /* of a pvpanic */
/* Watchdogs: "i6300esb" (PCI), "ib700" (ISA). */
extern const DeviceType i6300esb_type, ib700_type;

#endif
