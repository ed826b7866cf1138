/* SPDX-License-Identifier: MIT
 * rhea/util/co.h - stackful coroutines for the block layer's data path.
 *
 * A coroutine belongs to one loop for life: it is started, resumed and ended on that loop's thread, so
 * thread-local data stays valid across co_yield(). Nobody but the block layer writes coroutines; other
 * code uses callbacks. Floating-point control words are not switched: block code does no arithmetic on
 * floating-point numbers.
 *
 * CO_FN behind a prototype: may be called only inside a coroutine, and may yield.
 */
#ifndef RHEA_UTIL_CO_H
#define RHEA_UTIL_CO_H

#include "rhea/util/loop.h"
#include "rhea/util/roles.h"

#define CO_FN

typedef struct Co Co;

/* Starts fn(opaque) on the loop's next turn. Any thread. The coroutine frees itself when fn returns. */
void co_start(Loop *loop, void (*fn)(void *opaque), void *opaque);
/* Starts it at once, on the calling thread, which must be the one that runs (or will run) `loop`; returns
 * when it first yields or ends. May be called inside another coroutine. */
void co_enter(Loop *loop, void (*fn)(void *opaque), void *opaque);

Co *co_self(void);                /* NULL outside a coroutine */
Loop *co_loop(void) CO_FN;        /* the loop of the running coroutine */
void co_yield(void) CO_FN;        /* until somebody wakes this coroutine; every yield needs one wake */
/* Resumes it on its loop's next turn. Any thread; also before the coroutine has yielded. */
void co_wake(Co *co);
/* The loop's own thread, for a coroutine that has yielded: resumes it now. Saves a turn. */
void co_resume(Co *co);

/* Runs fn(opaque) as a coroutine and turns `loop` until it has returned. The main-loop thread only, not
 * inside a coroutine: tools, open and close. */
void co_run_sync(Loop *loop, void (*fn)(void *opaque), void *opaque) MAIN_LOOP;

/* A list of coroutines that wait. */
typedef struct CoWaiter {
    Co *co;
    struct CoWaiter *next;
} CoWaiter;
typedef struct CoList {
    CoWaiter *first, *last;
} CoList;

/* A mutex between coroutines of any loops; waiters get it in the order of asking. Zero-initialised by
 * co_mutex_init. Holding it across yields is what it is for. */
typedef struct CoMutex {
    pthread_mutex_t lock;
    bool held;
    CoList waiters;
} CoMutex;
void co_mutex_init(CoMutex *m);
void co_mutex_fini(CoMutex *m);
void co_mutex_lock(CoMutex *m) CO_FN;
void co_mutex_unlock(CoMutex *m);

/* Byte ranges that requests claim. Overlapping exclusive claims, or a shared and an exclusive one, wait
 * for each other in the order of asking; shared ones do not. */
typedef struct CoRange {
    int64_t start, end;
    bool exclusive;
    Co *co;               /* private: its owner; `waiting` says that it waits for a turn */
    bool waiting;
    struct CoRange *next; /* private */
} CoRange;
typedef struct CoRangeLock {
    pthread_mutex_t lock;
    CoRange *first, **last;
} CoRangeLock;
void co_range_init(CoRangeLock *l);
void co_range_fini(CoRangeLock *l);
void co_range_claim(CoRangeLock *l, CoRange *r, int64_t start, int64_t end, bool exclusive) CO_FN;
void co_range_release(CoRangeLock *l, CoRange *r);

/* Tests: "asm", "ucontext" or NULL for what fits this host. Before the first coroutine of the process. */
void co_force_switch(const char *name);
const char *co_switch_name(void);

#endif
