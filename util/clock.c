/* SPDX-License-Identifier: MIT
 * util/clock.c - sources of time: the host's, one that can be stopped, one moved by hand.
 * Threads: any.
 */
#include "loop-internal.h"

#include <time.h>

static int64_t clock_read(clockid_t id)
{
    struct timespec ts;
    clock_gettime(id, &ts);
    return ts.tv_sec * INT64_C(1000000000) + ts.tv_nsec;
}

static int64_t clock_monotonic_now(const Clock *clock)
{
    return clock_read(CLOCK_MONOTONIC);
}

static int64_t clock_wall_now(const Clock *clock)
{
    return clock_read(CLOCK_REALTIME);
}

const Clock clock_host_monotonic = { .now = clock_monotonic_now };
const Clock clock_host_wall = { .now = clock_wall_now };

static int64_t clock_manual_now(const Clock *clock)
{
    const ManualClock *c = clock->opaque;
    return __atomic_load_n(&c->ns, __ATOMIC_ACQUIRE);
}

void clock_manual_init(ManualClock *c, int64_t ns)
{
    *c = (ManualClock){ .clock = { .now = clock_manual_now, .opaque = c }, .ns = ns };
}

void clock_manual_set(ManualClock *c, int64_t ns)
{
    __atomic_store_n(&c->ns, ns, __ATOMIC_RELEASE);
}

/* Guests ask for the time millions of times a second. */
static int64_t clock_stop_now(const Clock *clock)
{
    const StopClock *c = clock->opaque;
    for (;;) {
        unsigned turn = __atomic_load_n(&c->turn, __ATOMIC_ACQUIRE);
        bool running = __atomic_load_n(&c->running, __ATOMIC_ACQUIRE);
        int64_t base = __atomic_load_n(&c->base, __ATOMIC_ACQUIRE);
        int64_t ns = base + (running ? clock_read(CLOCK_MONOTONIC) : 0);
        if (G_LIKELY(!(turn & 1) && __atomic_load_n(&c->turn, __ATOMIC_RELAXED) == turn)) {
            return ns;
        }
    }
}

/* Under c->lock. */
static void clock_stop_put(StopClock *c, bool running, int64_t base)
{
    __atomic_fetch_add(&c->turn, 1, __ATOMIC_SEQ_CST);
    __atomic_store_n(&c->running, running, __ATOMIC_SEQ_CST);
    __atomic_store_n(&c->base, base, __ATOMIC_SEQ_CST);
    __atomic_fetch_add(&c->turn, 1, __ATOMIC_SEQ_CST);
}

void clock_stop_init(StopClock *c)
{
    *c = (StopClock){ .clock = { .now = clock_stop_now, .opaque = c } };
    pthread_mutex_init(&c->lock, NULL);
}

static void clock_stop_switch(StopClock *c, bool run)
{
    pthread_mutex_lock(&c->lock);
    if (c->running != run) {
        int64_t host = clock_read(CLOCK_MONOTONIC);
        clock_stop_put(c, run, c->base + (run ? -host : host));
    }
    pthread_mutex_unlock(&c->lock);
}

void clock_stop_start(StopClock *c)
{
    clock_stop_switch(c, true);
}

void clock_stop_stop(StopClock *c)
{
    clock_stop_switch(c, false);
}

void clock_stop_set(StopClock *c, int64_t ns)
{
    pthread_mutex_lock(&c->lock);
    clock_stop_put(c, c->running, ns - (c->running ? clock_read(CLOCK_MONOTONIC) : 0));
    pthread_mutex_unlock(&c->lock);
}

ClockPace clock_pace(const Clock *clock)
{
    if (clock->stands || clock->now == clock_manual_now) {
        return CLOCK_STANDS;
    }
    if (clock->now != clock_stop_now) {
        return CLOCK_FLOWS;
    }
    StopClock *c = clock->opaque;
    pthread_mutex_lock(&c->lock);
    bool running = c->running;
    pthread_mutex_unlock(&c->lock);
    return running ? CLOCK_FLOWS : CLOCK_FROZEN;
}
