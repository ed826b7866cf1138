/* SPDX-License-Identifier: MIT
 * rhea/hw/pflash.h - flash memory chips with the Intel command set.
 */
#ifndef RHEA_HW_PFLASH_H
#define RHEA_HW_PFLASH_H

#include "rhea/system/device.h"

enum { PFLASH_BLOCK = 4096 }; /* bytes that are erased at once: the size is a multiple */

/* "cfi.pflash01": property drive. Region 0 is the chip, for a board to map; region 1 lies in it. */
extern const DeviceType pflash_type;
RamBlock *pflash_ram(Device *dev); /* its contents */

#endif
