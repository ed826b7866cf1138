/* SPDX-License-Identifier: MIT
 * rhea/system/ramprops.h - options of boards that have RAM, for members of their states of these names: what
 * machine_advise_ram() is told.
 */
#ifndef RHEA_SYSTEM_RAMPROPS_H
#define RHEA_SYSTEM_RAMPROPS_H

#include "rhea/system/prop.h"

#define MACHINE_RAM_PROPS(Board)                                                                             \
    PROP_BOOL(Board, dump_guest_core, "dump-guest-core", true, "Guest memory is part of a core dump"),       \
        PROP_BOOL(Board, mem_merge, "mem-merge", true, "Let the host merge equal pages")

#endif
