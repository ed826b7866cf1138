/* SPDX-License-Identifier: MIT
 * backends/block/drive_internal.h - a machine's disks, as the files of this folder share them.
 */
#ifndef BACKENDS_DRIVE_INTERNAL_H
#define BACKENDS_DRIVE_INTERNAL_H

#include "rhea/backends/drive.h"
#include "rhea/block/nbd.h"
#include "rhea/system/machine.h"

struct MachineBlock {
    Machine *m;
    BlockGraph *graph;
    GPtrArray *nodes;  /* BlockNode *: what -blockdev made, held */
    GPtrArray *drives; /* Drive * */
    GPtrArray *throttles; /* DriveThrottle * */
    const Clock *clock;   /* of I/O limits; a test may have its own, before the first drive */
    GPtrArray *ports;  /* DrivePort *: bound, borrowed */
    NbdServer *nbd;    /* NULL: there is none */
    unsigned waiting;  /* atomic: the main loop waits for requests to end */
    Task ended;        /* ends the turn in which it waits */
    MachineListener listener;
    bool cancelling;   /* atomic: no request is held back any more */
};

/* limits.c */
/* From the members limits and x- of a throttle-group. */
bool drive_limits_of_object(const Json *o, DriveLimits *out, Error **errp);

/* throttle.c */
void drive_throttle_free(void *throttle);
bool drive_throttle_options(MachineBlock *b, Drive *d, const Json *o, Error **errp); /* -drive throttling. */
void drive_throttle(const DriveRequest *r) CO_FN; /* waits until it may go */

MachineBlock *machine_block(Machine *m); /* made at the first use */
void drive_free(Drive *d);
void drive_state_changed(void *opaque, RunState was, RunState now); /* errors.c: the listener */
bool drive_error_handled(DriveRequest *r); /* in the domain; true: it is held back, no done() now */
void drive_hold_back(DriveRequest *r);     /* in the domain */
bool drive_must_wait(const DriveRequest *r); /* one with the same order is held back; not in the domain */
void drive_account(DriveRequest *r); /* account.c: it has ended; in the domain */
/* intervals.c: of statistics. Times are the host's monotonic ones. g_free() frees each. */
DriveInterval *drive_intervals_new(const uint32_t *seconds, unsigned n, int64_t now);
void drive_intervals_add(DriveInterval *all, unsigned n, DriveStatKind kind, uint64_t ns, int64_t now);
DriveTimed *drive_intervals_read(DriveInterval *all, unsigned n, int64_t now);

void drive_account_init(DrivePort *p); /* in realize */
void drive_account_fini(DrivePort *p);
void drive_port_cancel(DrivePort *p);      /* requests that are held back end with their errors */
void drive_port_wait(DrivePort *p); /* until none of its requests is in flight */
/* With the permissions of p->dev and p->read_only. */
BlockClient *drive_client_new(const DrivePort *p, BlockNode *n, Error **errp);

#endif
