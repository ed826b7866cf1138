/* SPDX-License-Identifier: MIT
 * rhea/system/domain.h - a set of devices that share one lock and one home loop.
 *
 * A thread holds at most one domain: this is the whole deadlock argument (order 1; topology lock 2;
 * leaf locks 3). Asserted at run time. Work for another domain is posted, never called.
 */
#ifndef RHEA_SYSTEM_DOMAIN_H
#define RHEA_SYSTEM_DOMAIN_H

#include "rhea/util/loop.h"
#include "rhea/util/roles.h"

typedef struct TSA_CAPABILITY("domain") Domain Domain;

Domain *domain_new(const char *name, Loop *home);
void domain_free(Domain *d);
void domain_lock(Domain *d) TSA_ACQUIRE(*d);   /* asserts that this thread holds no other domain */
void domain_unlock(Domain *d) TSA_RELEASE(*d);
bool domain_held(const Domain *d);             /* by this thread */
Domain *domain_current(void);                  /* the one this thread holds, or NULL */
Loop *domain_loop(const Domain *d);
const TimerGuard *domain_guard(const Domain *d); /* for timers whose fire runs with d held */

/* Any thread: run `task` on d's home loop with d locked, in order of posting. No effect while queued. */
typedef struct DomainTask {
    Task task;
    Domain *domain;
    void (*run)(void *opaque);
    void *opaque;
} DomainTask;
void domain_task_init(DomainTask *t, Domain *d, void (*run)(void *opaque), void *opaque);
void domain_post(DomainTask *t);

#endif
