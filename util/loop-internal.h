/* SPDX-License-Identifier: MIT
 * util/loop-internal.h - what loop.c, loop-timer.c and clock.c share.
 */
#ifndef RHEA_UTIL_LOOP_INTERNAL_H
#define RHEA_UTIL_LOOP_INTERNAL_H

#include "rhea/util/loop.h"

#include <glib.h>

/* The timers of one clock, a binary min-heap by (expires, order). */
typedef struct ClockQueue {
    const Clock *clock;
    bool paused;
    GPtrArray *heap;
} ClockQueue;

typedef struct TimerSet {
    pthread_mutex_t lock;       /* leaf: a clock's now() is never called under it */
    GPtrArray *queues; /* ClockQueue *, never removed, reused when empty */
    GQueue due;        /* Timer *: expired, in firing order, not yet run */
    uint64_t order;
} TimerSet;

enum { TIMER_IDLE = 0, TIMER_DUE = ~0u }; /* other values of heap_index: position in the heap + 1 */

void timer_set_init(TimerSet *s);
void timer_set_fini(TimerSet *s);
/* Nanoseconds until the next timer, 0 when one is due, -1 when none is to be waited for. */
int64_t timer_set_wait(TimerSet *s);
bool timer_set_run(TimerSet *s);

TimerSet *loop_timers(Loop *loop);
void loop_wake_if_waiting(Loop *loop);

typedef enum ClockPace {
    CLOCK_FLOWS,  /* at the pace of the host's clock: can be waited for */
    CLOCK_STANDS, /* by hand */
    CLOCK_FROZEN, /* stopped: its timers do not fire */
} ClockPace;
ClockPace clock_pace(const Clock *clock);

#endif
