/* SPDX-License-Identifier: MIT
 * rhea/system/iothread.h - I/O threads: each runs a loop, the home of a domain for devices that chose it.
 *
 * A device with PROP_IOTHREAD() and DeviceType.choose_domain is served there: its registers still by whichever
 * vCPU touches them, with the domain locked; its doorbells, timers, tasks and requests on the thread.
 */
#ifndef RHEA_SYSTEM_IOTHREAD_H
#define RHEA_SYSTEM_IOTHREAD_H

#include "rhea/system/device.h"

typedef struct IoThread IoThread;

typedef struct IoThreadPoll { /* loop_set_poll() */
    int64_t max_ns, grow, shrink;
} IoThreadPoll;
enum { IOTHREAD_POLL_NS = 32768 }; /* the default of max_ns */

/* All MAIN_LOOP, without a domain held. */
bool iothread_new(Machine *m, const char *id, IoThreadPoll poll, Error **errp); /* id: not taken */
IoThread *iothread_find(Machine *m, const char *id);
bool iothread_remove(Machine *m, const char *id, Error **errp); /* not while a device uses it */
void iothread_foreach(Machine *m, void (*fn)(const IoThread *t, void *opaque), void *opaque);
const char *iothread_id(const IoThread *t);
IoThreadPoll iothread_poll(const IoThread *t);
int iothread_tid(const IoThread *t); /* the host's number of the thread */
Domain *iothread_domain(const IoThread *t);
/* Returns when each thread has finished what it was doing: who has seen that nothing is in flight also sees
 * the end of the code that ended it. */
void iothreads_settle(Machine *m);

#define PROP_IOTHREAD(T, f, n, text) \
    { .name = (n), .doc = (text), .kind = PROP_IOTHREAD_, .offset = TYPED_OFFSET(T, f, IoThread *) }
void iothread_register(void); /* the binder. Once per process. */

#endif
