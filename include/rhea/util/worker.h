/* SPDX-License-Identifier: MIT
 * rhea/util/worker.h - threads for what blocks or computes long: system calls, compression.
 *
 * Threads start when there is work and no idle one, up to the pool's limit, and end after ten idle
 * seconds. They hold nothing of a machine.
 */
#ifndef RHEA_UTIL_WORKER_H
#define RHEA_UTIL_WORKER_H

#include "rhea/util/co.h"

typedef struct WorkerPool WorkerPool;
WorkerPool *worker_pool_new(unsigned max_threads);
void worker_pool_free(WorkerPool *p); /* waits for what is queued and running */

/* No more threads than that from here on; with 0, and once the idle ones are gone, whoever has work does it
 * himself. A test whose requests must come in a repeatable order asks for that. */
void worker_pool_set_max(WorkerPool *p, unsigned max_threads);

/* Runs fn(opaque) on a worker; the coroutine yields meanwhile. Its result. */
int worker_run(WorkerPool *p, int (*fn)(void *opaque), void *opaque) CO_FN;

/* Work that nobody waits for. The caller's memory; untouched once fn has begun. Any thread. False: no thread
 * at all could be made; fn was not called. */
typedef struct WorkItem {
    int (*fn)(void *opaque);
    void *opaque;
    int result;            /* from here: private */
    Co *co;                /* NULL: nobody waits */
    struct WorkItem *next;
} WorkItem;
bool worker_post(WorkerPool *p, WorkItem *item);

#endif
