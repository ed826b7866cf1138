/* SPDX-License-Identifier: MIT
 * rhea/system/ramdiscard.h - guest memory goes back to the host.
 */
#ifndef RHEA_SYSTEM_RAMDISCARD_H
#define RHEA_SYSTEM_RAMDISCARD_H

#include "rhea/system/memory.h"

/* Why all of a machine's memory stays with it. */
enum {
    RAM_KEEP_LOCKED = 1, /* the process keeps its memory in RAM (-overcommit mem-lock=) */
    RAM_KEEP_KVM = 2,    /* the accelerator would go on using pages that are gone */
};

/* Gives [off, off+len) back to the host: it reads as zeros from then on, and code that vCPUs hold of it is
 * forgotten. Both are multiples of ram->page. 0, or -errno, and nothing has changed: -EPERM when all memory stays,
 * -EOPNOTSUPP when this block's does; the first refusal of the host's own is logged. Any thread; the caller holds
 * a reference. */
int ram_discard(RamBlock *ram, uint64_t off, uint64_t len);

/* From now on no block of the machine is given back: RAM_KEEP_... Any thread, for good. */
void ram_discard_forbid(Machine *m, unsigned why);
unsigned ram_discard_forbidden(const Machine *m); /* all reasons so far, 0: none */

/* Bytes of the largest pages that memory of the machine's has. Any thread. */
uint64_t ram_largest_page(Machine *m);

#endif
