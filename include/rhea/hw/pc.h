/* SPDX-License-Identifier: MIT
 * rhea/hw/pc.h - the PC boards, for the programs' board tables.
 */
#ifndef RHEA_HW_PC_H
#define RHEA_HW_PC_H

#include "rhea/system/machine.h"

extern const BoardType pc_board;  /* "pc-0.1", alias "pc": i440FX and PIIX */
extern const BoardType q35_board; /* "pc-q35-0.1", alias "q35": Q35 and ICH9, PCI Express */
extern const BoardType microvm_board; /* "microvm": virtio in memory, no PCI */

/* What firmware boots from the next reset on, as -boot order= takes it; once= counts no more. Fails on other boards.
 * MAIN_LOOP, no domain held. */
bool pc_boot_set(Machine *m, const char *order, Error **errp);

#endif
