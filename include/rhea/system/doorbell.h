/* SPDX-License-Identifier: MIT
 * rhea/system/doorbell.h - registers whose every write means the same, or every write of one value: "look". Where the accelerator can, it
 * catches such writes without leaving the guest; the device looks soon after, on its domain's home loop. Else
 * the register's ops->write is called as for any other.
 */
#ifndef RHEA_SYSTEM_DOORBELL_H
#define RHEA_SYSTEM_DOORBELL_H

#include "rhea/system/device.h"

typedef struct Doorbell { /* embedded in its device, zeroed */
    /* The owner's, before doorbell_add(): a register of a region, writes of any size that begin there. */
    MemRegion *region;
    hwaddr off;
    bool io;        /* the region lies in I/O space */
    uint8_t len;    /* 0, or: only writes of so many bytes count, with this value */
    uint32_t value;
    void (*ring)(void *opaque); /* home loop, domain held */
    void *opaque;
    /* private */
    Device *owner;
    int fd; /* an eventfd, while open */
    bool open;
    FdWatch watch;
    bool armed; /* topology lock */
    hwaddr at;
    uint64_t rung;
    struct Doorbell *next;
} Doorbell;

/* Main loop. */
void doorbell_add(Doorbell *d, Device *owner);
void doorbell_remove(Doorbell *d); /* before the region goes */

/* An accelerator's. Topology lock held: from now on (no longer) such writes that begin at d->at in memory or I/O
 * space are counts in d->fd's eventfd, and nobody is called. False: it cannot. */
typedef struct DoorbellOps {
    bool (*watch)(Machine *m, const Doorbell *d, bool on);
} DoorbellOps;
void doorbells_provide(Machine *m, const DoorbellOps *ops); /* main loop; NULL: no longer */

/* For the core. */
void doorbells_open(Machine *m);   /* main loop: the accelerator is there */
void doorbells_close(Machine *m);  /* ... and goes */
void doorbells_mapped(Machine *m); /* topology lock held: the view changed */
void doorbells_flush(Machine *m);  /* main loop, vCPUs parked: who rang is heard now */
/* For `info`: how many the accelerator watches, and how often they rang. */
unsigned doorbells_count(Machine *m, uint64_t *rung);

#endif
