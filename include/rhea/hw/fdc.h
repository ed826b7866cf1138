/* SPDX-License-Identifier: MIT
 * rhea/hw/fdc.h - the floppy disk controller of a PC and its drives.
 */
#ifndef RHEA_HW_FDC_H
#define RHEA_HW_FDC_H

#include "rhea/system/device.h"

extern const DeviceType isa_fdc_type; /* "isa-fdc": ports 3F0h-3F5h and 3F7h, IRQ 6, DMA channel 2; a bus of drives */
extern const DeviceType floppy_type;  /* "floppy": properties drive, drive-type; the bus's: unit */
extern const BusType floppy_bus_type;

enum { FDC_UNITS = 2 };
/* What CMOS says of a drive (byte 10h): 0: there is none, 2: 1.2 MB, 4: 1.44 MB, 5: 2.88 MB. */
unsigned fdc_drive_kind(Device *fdc, unsigned unit);

#endif
