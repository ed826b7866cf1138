/* SPDX-License-Identifier: MIT
 * rhea/hw/ide.h - IDE host adapters, for boards, and the bus their drives plug into.
 */
#ifndef RHEA_HW_IDE_H
#define RHEA_HW_IDE_H

#include "rhea/system/device.h"

extern const BusType ide_bus_type;
/* 00:01.1 of a PIIX3: buses "ide.0" and "ide.1"; exported lines 0 and 1 are for IRQ 14 and 15. */
extern const DeviceType piix3_ide_type;
/* Buses "ide.0" to "ide.5", or named by its id, with one place each. */
extern const DeviceType ich9_ahci_type;
extern const DeviceType ide_hd_type, ide_cd_type;

#endif
