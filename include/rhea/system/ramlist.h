/* SPDX-License-Identifier: MIT
 * rhea/system/ramlist.h - all blocks of guest memory of a machine.
 */
#ifndef RHEA_SYSTEM_RAMLIST_H
#define RHEA_SYSTEM_RAMLIST_H

#include "rhea/system/memory.h"

/* In order of creation. Any thread; under a leaf lock: fn neither makes nor releases blocks. */
void ram_foreach(Machine *m, void (*fn)(RamBlock *ram, void *opaque), void *opaque);

#endif
