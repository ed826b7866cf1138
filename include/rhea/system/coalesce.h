/* SPDX-License-Identifier: MIT
 * rhea/system/coalesce.h - registers whose writes may come late: an index or an address that matters only to an
 * access behind it. An accelerator that can collects such writes, and does them in order before anything else
 * that a vCPU's exit leads to, and before a vCPU parks. Nobody calls anything else because of such a write.
 */
#ifndef RHEA_SYSTEM_COALESCE_H
#define RHEA_SYSTEM_COALESCE_H

#include "rhea/system/device.h"

typedef struct Coalesced { /* embedded in its device, zeroed */
    /* The owner's: bytes of a region in memory or I/O space; writes that lie in them as a whole. */
    MemRegion *region;
    hwaddr off;
    unsigned size;
    /* private: the accelerator's */
    bool told, io;
    hwaddr at;
    struct Coalesced *next;
} Coalesced;

/* In realize, before the region is mapped; undone with the device. */
void coalesced_add(Coalesced *c, Device *owner);
/* For accelerators, topology lock held. */
Coalesced *coalesced_first(Machine *m);
/* Where it lies as a whole now; false: nowhere. */
bool coalesced_place(Machine *m, const Coalesced *c, hwaddr *at, bool *io);

#endif
