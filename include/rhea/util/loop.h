/* SPDX-License-Identifier: MIT
 * rhea/util/loop.h - event loops, tasks, clocks and timers.
 *
 * One Loop per thread that waits (epoll inside). The main thread's loop also drives GLib's default
 * GMainContext as a foreign source (loop_host_glib), so that libraries built on GLib work.
 */
#ifndef RHEA_UTIL_LOOP_H
#define RHEA_UTIL_LOOP_H

#include "rhea/util/error.h"
#include <pthread.h>
#include <stdint.h>

typedef struct Loop Loop;

Loop *loop_new(const char *name);
void loop_free(Loop *loop);           /* drops queued tasks; timers and watches must be gone */
void loop_host_glib(Loop *loop);      /* the main loop only, once */
void loop_run(Loop *loop);            /* until loop_quit(); the calling thread becomes the loop's own */
/* Any thread, signal handlers too. When no run is going on, the next one returns at once. */
void loop_quit(Loop *loop);
/* One turn: waits (if may_block and nothing is due), runs what is due. True if anything ran. */
bool loop_turn(Loop *loop, bool may_block);
bool loop_is_current(const Loop *loop); /* is the caller the loop's own thread? */

/* What a subsystem keeps for each loop it is used on (an I/O ring, say): made at the first use, freed with
 * the loop. The loop's own thread. */
typedef struct LoopLocal {
    void *(*make)(Loop *loop);
    void (*free)(void *value); /* removes its watches and timers */
} LoopLocal;
void *loop_local(Loop *loop, const LoopLocal *key);

/* Runs fn(opaque) on the loop's thread and waits for it: at once when that is the caller. Something must be
 * running the loop, and not wait for the caller. */
void loop_call(Loop *loop, void (*fn)(void *opaque), void *opaque);

/* Looks for events for a time before it sleeps, which saves the wake-up of a thread that is soon needed. The
 * time follows from how long the loop lately slept: it grows by the factor `grow` (0: 2) up to max_ns, and is
 * divided by `shrink` (0: it ends) when there was nothing for longer than max_ns. 0: never. Any thread. */
void loop_set_poll(Loop *loop, int64_t max_ns, int64_t grow, int64_t shrink);

/* A task is embedded in its owner's struct. loop_post: any thread, lock-free, no allocation; no effect
 * while the task is queued. Tasks of one poster run in order of posting. */
typedef struct Task {
    void (*run)(void *opaque);
    void *opaque;
    struct Task *next; /* private */
    unsigned queued;   /* private, atomic */
} Task;
void loop_post(Loop *loop, Task *task);
/* Removes a queued task. The loop's own thread only; afterwards the task is not queued. */
void loop_unpost(Loop *loop, Task *task);

enum { LOOP_IN = 1, LOOP_OUT = 4, LOOP_HUP = 16 }; /* EPOLLIN, EPOLLOUT, EPOLLHUP */

/* Watches a descriptor. The loop's own thread, or before the loop runs. The struct is the caller's;
 * events == 0 keeps it registered but silent (HUP is reported always). */
typedef struct FdWatch {
    int fd;
    unsigned events;
    void (*ready)(void *opaque, unsigned revents);
    void *opaque;
    Loop *loop; /* NULL: not watched */
    uint64_t serial; /* private: tells a removed watch from a new one in the same turn */
    bool regular;    /* private: a file epoll refuses is always ready */
} FdWatch;
bool fd_watch_add(Loop *loop, FdWatch *w, Error **errp);
void fd_watch_set(FdWatch *w, unsigned events);
void fd_watch_remove(FdWatch *w);     /* safe inside any callback of the same loop; no further call */

/* A source of time in nanoseconds. Virtual clocks stop with the machine. */
typedef struct Clock Clock;
struct Clock {
    int64_t (*now)(const Clock *clock);
    void *opaque;
    bool stands;                        /* like a manual clock: its timers fire, but nobody waits for them */
    void (*armed)(const Clock *clock);  /* or NULL: a timer became its loop's first one; any thread */
};
extern const Clock clock_host_monotonic, clock_host_wall;
static inline int64_t clock_now(const Clock *c) { return c->now(c); }

/* A manual clock (tests, qtest): time moves only by clock_manual_set(). */
typedef struct ManualClock {
    Clock clock;
    int64_t ns;
} ManualClock;
void clock_manual_init(ManualClock *c, int64_t ns);
/* Any thread; a loop that waits needs loop_clock_changed(). */
void clock_manual_set(ManualClock *c, int64_t ns);

/* A clock that can be stopped; its time is kept while stopped (a machine's virtual time on the host). */
typedef struct StopClock {
    Clock clock;
    pthread_mutex_t lock; /* not GLib's: ThreadSanitizer cannot see into those */
    unsigned turn;        /* atomic, odd while the two below change: reading takes no lock */
    bool running;
    int64_t base; /* running: virtual = host + base; stopped: virtual = base */
} StopClock;
void clock_stop_init(StopClock *c);    /* stopped at 0 */
void clock_stop_start(StopClock *c);
void clock_stop_stop(StopClock *c);
void clock_stop_set(StopClock *c, int64_t ns); /* state load */

/* A timer is embedded. arm/cancel: any thread. fire runs on the loop. A timer whose time was moved or
 * cancelled between expiry and the run of its task does not fire (checked under `guard` when it has
 * one: the loop takes it around fire, so that an owner holding it sees no fire after cancel). */
typedef struct TimerGuard {
    void (*lock)(void *opaque);
    void (*unlock)(void *opaque);
    void *opaque;
} TimerGuard;
#define TIMER_OFF INT64_MAX
typedef struct Timer {
    Loop *loop;
    const Clock *clock;
    void (*fire)(void *opaque);
    void *opaque;
    const TimerGuard *guard; /* may be NULL */
    int64_t expires;         /* TIMER_OFF: not armed; read with timer_expires() */
    unsigned heap_index;     /* private */
    uint64_t order;          /* private: timers of equal time fire in order of arming */
} Timer;
void timer_init(Timer *t, Loop *loop, const Clock *clock, void (*fire)(void *), void *opaque);
void timer_arm(Timer *t, int64_t expires_ns); /* absolute; a past time fires in the next turn */
void timer_cancel(Timer *t);
bool timer_armed(const Timer *t);
int64_t timer_expires(const Timer *t);
/* The earliest expiry among this loop's timers on `clock`, TIMER_OFF when there is none. Any thread. */
int64_t loop_deadline(Loop *loop, const Clock *clock);
/* Call after `clock` was started, stopped or set by hand: the loop looks at its timers again. */
void loop_clock_changed(Loop *loop, const Clock *clock);
/* Timers of a paused clock neither fire nor are waited for. A StopClock that is stopped counts as paused
 * without a call; a ManualClock is never waited for, but its timers fire in the next turn. */
void loop_clock_pause(Loop *loop, const Clock *clock, bool paused);

#endif
