/* SPDX-License-Identifier: MIT
 * block/throttle.c - I/O limits, and the filter "throttle".
 *
 * Models: leaky buckets. Each limit is a bucket that leaks at its rate: a request goes when the bucket has
 *         room and then fills it by what it is, so that a large one is paid for afterwards. A bucket holds a
 *         tenth of a second of the rate; with a burst it holds that rate for the burst's length, and a second
 *         bucket keeps the burst itself at it. Who waits and is woken late, because the host is busy, may use
 *         what would have passed meanwhile, a second's worth at most; without that a bucket would lose all
 *         that does not fit in, and the rate would fall.
 * Threads: requests wait as coroutines on any loop. Of a throttle one request in each direction waits for its
 *         time, the others in the order of coming wait for that. Nobody waits while the owner is in a hurry
 *         or the graph closes gates.
 */
#include "internal.h"
#include "rhea/block/throttle.h"
#include "rhea/util/errorcode.h"

#include <string.h>

enum { LIMIT_BPS = 3, SLICE_NS = 10 * 1000 * 1000, AVERAGE = 0, BURST = 1 };
#define LATE_S 1.0 /* so much of the rate may be caught up with */
#define SOON_S 0.1

bool block_limits_any(const BlockLimits *l)
{
    bool any = false;
    for (unsigned i = 0; i < BLOCK_LIMITS; i++) {
        any = any || l->limit[i].avg;
    }
    return any;
}

BlockThrottle *block_throttle_new(BlockGraph *g, const char *name, const Clock *clock, const unsigned *hurry)
{
    role_assert_main();
    BlockThrottle *t = g_new0(BlockThrottle, 1);
    t->graph = g;
    t->name = g_strdup(name);
    t->clock = clock;
    t->hurry = hurry;
    t->at = clock_now(clock);
    pthread_mutex_init(&t->lock, NULL);
    co_mutex_init(&t->turn[0]);
    co_mutex_init(&t->turn[1]);
    g_ptr_array_add(g->throttles, t);
    return t;
}

void block_throttle_free(BlockThrottle *t)
{
    role_assert_main();
    g_assert(t->nodes == 0);
    g_ptr_array_remove(t->graph->throttles, t);
    co_mutex_fini(&t->turn[0]);
    co_mutex_fini(&t->turn[1]);
    pthread_mutex_destroy(&t->lock);
    g_free(t->name);
    g_free(t);
}

BlockThrottle *block_throttle_find(const BlockGraph *g, const char *name)
{
    for (guint i = 0; name && i < g->throttles->len; i++) {
        BlockThrottle *t = g->throttles->pdata[i];
        if (!g_strcmp0(t->name, name)) {
            return t;
        }
    }
    return NULL;
}

void block_throttle_set(BlockThrottle *t, const BlockLimits *l)
{
    pthread_mutex_lock(&t->lock);
    t->limits = *l;
    memset(t->bucket, 0, sizeof(t->bucket));
    pthread_mutex_unlock(&t->lock);
}

/* ---- requests ---- */

static bool counts(unsigned i, bool write)
{
    return i % LIMIT_BPS == 0 || (i % LIMIT_BPS == 2) == write;
}

static double rate(const BlockLimit *l, unsigned kind)
{
    return (double)(kind == BURST ? l->max : l->avg);
}

static double room(const BlockLimit *l, unsigned kind)
{
    return kind == AVERAGE && l->max ? (double)l->max * (double)l->length : rate(l, kind) / 10;
}

/* What was left over is kept while requests come soon after each other. */
static void leak(BlockThrottle *t)
{
    int64_t now = clock_now(t->clock);
    double s = (double)(now - t->at) / 1e9;
    t->at = now;
    for (unsigned i = 0; i < BLOCK_LIMITS; i++) {
        for (unsigned kind = AVERAGE; kind <= BURST; kind++) {
            BlockBucket *b = &t->bucket[i][kind];
            double r = rate(&t->limits.limit[i], kind), rest = s < SOON_S ? MIN(b->level, 0) : 0;
            b->level = MAX(b->awaited ? -r * LATE_S : rest, b->level - s * r);
        }
    }
}

/* Nanoseconds until a request in this direction may go; 0: now, and it is accounted. */
static int64_t take(BlockThrottle *t, bool write, int64_t bytes)
{
    double over[BLOCK_LIMITS][2] = { 0 }, wait = 0;
    uint8_t bit = (uint8_t)(1u << write);
    pthread_mutex_lock(&t->lock);
    leak(t);
    for (unsigned i = 0; i < BLOCK_LIMITS; i++) {
        const BlockLimit *l = &t->limits.limit[i];
        for (unsigned kind = AVERAGE; kind <= BURST && rate(l, kind) > 0 && counts(i, write); kind++) {
            over[i][kind] = (t->bucket[i][kind].level - room(l, kind)) / rate(l, kind);
            wait = MAX(wait, over[i][kind]);
        }
    }
    bool go = wait <= 0 || __atomic_load_n(t->hurry, __ATOMIC_SEQ_CST) ||
              __atomic_load_n(&t->graph->closing, __ATOMIC_SEQ_CST);
    uint64_t size = t->limits.iops_size;
    double requests = size && (uint64_t)bytes > size ? (double)bytes / (double)size : 1;
    for (unsigned i = 0; i < BLOCK_LIMITS; i++) {
        double units = i < LIMIT_BPS ? (double)bytes : requests;
        for (unsigned kind = AVERAGE; kind <= BURST && counts(i, write); kind++) {
            BlockBucket *b = &t->bucket[i][kind];
            bool awaited = !go && over[i][kind] > 0;
            b->level += go ? units : 0;
            b->awaited = (uint8_t)(awaited ? b->awaited | bit : b->awaited & ~bit);
        }
    }
    pthread_mutex_unlock(&t->lock);
    return go ? 0 : MAX((int64_t)(wait * 1e9), 1);
}

static void wake(void *co)
{
    co_wake(co);
}

/* In slices: who drains the machine does not wait for the limit. */
static void sleep_for(const Clock *clock, int64_t ns)
{
    Timer t;
    timer_init(&t, co_loop(), clock, wake, co_self());
    timer_arm(&t, clock_now(clock) + MIN(ns, (int64_t)SLICE_NS));
    co_yield ();
}

void block_throttle_wait(BlockThrottle *t, bool write, int64_t bytes)
{
    int64_t ns;
    co_mutex_lock(&t->turn[write]);
    while ((ns = take(t, write, bytes)) > 0) {
        sleep_for(t->clock, ns);
    }
    co_mutex_unlock(&t->turn[write]);
}

/* ---- the filter ---- */

typedef struct ThrottleNode {
    BlockThrottle *t; /* NULL: it could not be opened */
} ThrottleNode;

static bool throttle_open(BlockNode *n, const BlockdevOptions *all, bool from_text, Error **errp)
{
    ThrottleNode *s = n->state;
    const BlockThrottleOptions *o = &all->u.throttle;
    BlockThrottle *t = block_throttle_find(n->graph, o->throttle_group);
    if (!t) {
        error_fail(errp, "not-found", "throttle-group", NULL,
                   "there is no throttle group '%s'", o->throttle_group);
        error_hint(errp, "make it before: -object throttle-group,id=%s,...", o->throttle_group);
        return false;
    }
    if (!filter_open(n, "file", o->file, from_text, errp)) {
        return false;
    }
    s->t = t;
    t->nodes++;
    return true;
}

static void throttle_close(BlockNode *n)
{
    ThrottleNode *s = n->state;
    if (s->t) {
        s->t->nodes--;
    }
}

static void wait_for(const BlockNode *n, bool write, int64_t bytes)
{
    block_throttle_wait(((ThrottleNode *)n->state)->t, write, bytes);
}

static int throttle_preadv(BlockNode *n, int64_t off, IoVec *v, unsigned flags)
{
    wait_for(n, false, (int64_t)v->bytes);
    return filter_preadv(n, off, v, flags);
}

static int throttle_pwritev(BlockNode *n, int64_t off, IoVec *v, unsigned flags)
{
    wait_for(n, true, (int64_t)v->bytes);
    return filter_pwritev(n, off, v, flags);
}

static int throttle_write_zeroes(BlockNode *n, int64_t off, int64_t bytes, unsigned flags)
{
    wait_for(n, true, bytes);
    return filter_write_zeroes(n, off, bytes, flags);
}

static int throttle_discard(BlockNode *n, int64_t off, int64_t bytes)
{
    wait_for(n, true, bytes);
    return filter_discard(n, off, bytes);
}

const BlockDriver block_throttle_driver = {
    .name = "throttle",
    .state_size = sizeof(ThrottleNode),
    .filter = true,
    .open = throttle_open,
    .close = throttle_close,
    .preadv = throttle_preadv,
    .pwritev = throttle_pwritev,
    .write_zeroes = throttle_write_zeroes,
    .discard = throttle_discard,
    .flush = filter_flush,
    .extent = filter_extent,
    .truncate = filter_truncate,
};
