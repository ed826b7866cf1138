/* SPDX-License-Identifier: MIT
 * util/loop-timer.c - a loop's timers: one min-heap for each clock, and the list of those that are due.
 *
 * A timer is idle, in its clock's heap, or due (expired, waiting for its turn); it is armed in the last
 * two. Expired timers move to the due list first and fire from there, so that a timer that arms itself
 * with a past time fires in the next turn, and moving or cancelling one that is due still works.
 * Threads: arm, cancel and the queries from any; `lock` guards heaps, due list and every Timer's
 * private members. Firing: the loop's thread.
 */
#include "loop-internal.h"

void timer_set_init(TimerSet *s)
{
    pthread_mutex_init(&s->lock, NULL);
    s->queues = g_ptr_array_new();
    g_queue_init(&s->due);
    s->order = 0;
}

void timer_set_fini(TimerSet *s)
{
    g_assert(g_queue_is_empty(&s->due));
    for (unsigned i = 0; i < s->queues->len; i++) {
        ClockQueue *q = s->queues->pdata[i];
        g_assert(q->heap->len == 0); /* a timer outlives its loop */
        g_ptr_array_free(q->heap, TRUE);
        g_free(q);
    }
    g_ptr_array_free(s->queues, TRUE);
    pthread_mutex_destroy(&s->lock);
}

/* The queue of a clock, or NULL. */
static ClockQueue *timer_find_queue(TimerSet *s, const Clock *clock)
{
    for (unsigned i = 0; i < s->queues->len; i++) {
        ClockQueue *q = s->queues->pdata[i];
        if (q->clock == clock) {
            return q;
        }
    }
    return NULL;
}

static ClockQueue *timer_get_queue(TimerSet *s, const Clock *clock)
{
    ClockQueue *q = timer_find_queue(s, clock);
    for (unsigned i = 0; !q && i < s->queues->len; i++) {
        ClockQueue *old = s->queues->pdata[i];
        if (old->heap->len == 0 && !old->paused) {
            q = old; /* its clock may be gone: loops outlive machines */
        }
    }
    if (!q) {
        q = g_new0(ClockQueue, 1);
        q->heap = g_ptr_array_new();
        g_ptr_array_add(s->queues, q);
    }
    q->clock = clock;
    return q;
}

static bool timer_before(const Timer *a, const Timer *b)
{
    return a->expires != b->expires ? a->expires < b->expires : a->order < b->order;
}

static void heap_put(GPtrArray *heap, unsigned i, Timer *t)
{
    heap->pdata[i] = t;
    t->heap_index = i + 1;
}

static void heap_sift_up(GPtrArray *heap, unsigned i)
{
    Timer *t = heap->pdata[i];
    for (; i > 0; i = (i - 1) / 2) {
        Timer *parent = heap->pdata[(i - 1) / 2];
        if (!timer_before(t, parent)) {
            break;
        }
        heap_put(heap, i, parent);
    }
    heap_put(heap, i, t);
}

static void heap_sift_down(GPtrArray *heap, unsigned i)
{
    Timer *t = heap->pdata[i];
    for (;;) {
        unsigned child = 2 * i + 1;
        if (child >= heap->len) {
            break;
        }
        if (child + 1 < heap->len && timer_before(heap->pdata[child + 1], heap->pdata[child])) {
            child++;
        }
        if (!timer_before(heap->pdata[child], t)) {
            break;
        }
        heap_put(heap, i, heap->pdata[child]);
        i = child;
    }
    heap_put(heap, i, t);
}

static void heap_insert(GPtrArray *heap, Timer *t)
{
    g_ptr_array_add(heap, t);
    heap_sift_up(heap, heap->len - 1);
}

static void heap_remove(GPtrArray *heap, Timer *t)
{
    unsigned i = t->heap_index - 1;
    Timer *last = heap->pdata[heap->len - 1];
    g_ptr_array_set_size(heap, heap->len - 1);
    t->heap_index = TIMER_IDLE;
    if (last != t) {
        heap_put(heap, i, last);
        heap_sift_up(heap, i);
        heap_sift_down(heap, last->heap_index - 1);
    }
}

/* Takes the timer from wherever it is; it is idle then. */
static void timer_detach_locked(TimerSet *s, Timer *t)
{
    if (t->heap_index == TIMER_DUE) {
        g_queue_remove(&s->due, t);
        t->heap_index = TIMER_IDLE;
    } else if (t->heap_index != TIMER_IDLE) {
        heap_remove(timer_find_queue(s, t->clock)->heap, t);
    }
    __atomic_store_n(&t->expires, TIMER_OFF, __ATOMIC_RELAXED);
}

void timer_init(Timer *t, Loop *loop, const Clock *clock, void (*fire)(void *), void *opaque)
{
    *t = (Timer){ .loop = loop, .clock = clock, .fire = fire, .opaque = opaque, .expires = TIMER_OFF };
}

void timer_arm(Timer *t, int64_t expires_ns)
{
    if (expires_ns == TIMER_OFF) {
        timer_cancel(t);
        return;
    }
    TimerSet *s = loop_timers(t->loop);
    pthread_mutex_lock(&s->lock);
    /* The loop sleeps at most until the head that it saw, and whoever made that one earlier woke it: so
     * what counts is whether this one comes before all there were, itself included. */
    ClockQueue *q = timer_find_queue(s, t->clock);
    int64_t head = q && q->heap->len ? timer_expires(q->heap->pdata[0]) : TIMER_OFF;
    timer_detach_locked(s, t);
    __atomic_store_n(&t->expires, expires_ns, __ATOMIC_RELAXED);
    t->order = s->order++;
    q = timer_get_queue(s, t->clock);
    heap_insert(q->heap, t);
    bool earlier = expires_ns < head && !q->paused;
    pthread_mutex_unlock(&s->lock);
    if (earlier) {
        loop_wake_if_waiting(t->loop);
        if (t->clock->armed) {
            t->clock->armed(t->clock);
        }
    }
}

void timer_cancel(Timer *t)
{
    if (!t->loop) {
        return; /* never initialised */
    }
    TimerSet *s = loop_timers(t->loop);
    pthread_mutex_lock(&s->lock);
    timer_detach_locked(s, t);
    pthread_mutex_unlock(&s->lock);
}

int64_t timer_expires(const Timer *t)
{
    return __atomic_load_n(&t->expires, __ATOMIC_RELAXED);
}

bool timer_armed(const Timer *t)
{
    return t->loop && timer_expires(t) != TIMER_OFF;
}

int64_t loop_deadline(Loop *loop, const Clock *clock)
{
    TimerSet *s = loop_timers(loop);
    int64_t earliest = TIMER_OFF;
    pthread_mutex_lock(&s->lock);
    ClockQueue *q = timer_find_queue(s, clock);
    if (q && q->heap->len) {
        earliest = ((Timer *)q->heap->pdata[0])->expires;
    }
    for (GList *l = s->due.head; l; l = l->next) {
        Timer *t = l->data;
        if (t->clock == clock) {
            earliest = MIN(earliest, t->expires);
        }
    }
    pthread_mutex_unlock(&s->lock);
    return earliest;
}

void loop_clock_changed(Loop *loop, const Clock *clock)
{
    loop_wake_if_waiting(loop);
}

void loop_clock_pause(Loop *loop, const Clock *clock, bool paused)
{
    TimerSet *s = loop_timers(loop);
    pthread_mutex_lock(&s->lock);
    timer_get_queue(s, clock)->paused = paused;
    pthread_mutex_unlock(&s->lock);
    loop_wake_if_waiting(loop);
}

/* The clock of the i-th queue if its timers can expire now, and how it moves. */
static const Clock *timer_queue_clock(TimerSet *s, unsigned i, bool *more, ClockPace *pace)
{
    const Clock *clock = NULL;
    pthread_mutex_lock(&s->lock);
    *more = i < s->queues->len;
    if (*more) {
        ClockQueue *q = s->queues->pdata[i];
        clock = q->heap->len && !q->paused ? q->clock : NULL;
    }
    pthread_mutex_unlock(&s->lock);
    if (clock) {
        *pace = clock_pace(clock);
        clock = *pace == CLOCK_FROZEN ? NULL : clock;
    }
    return clock;
}

int64_t timer_set_wait(TimerSet *s)
{
    int64_t wait = -1;
    bool more = true;
    for (unsigned i = 0; more; i++) {
        ClockPace pace;
        const Clock *clock = timer_queue_clock(s, i, &more, &pace);
        if (!clock) {
            continue;
        }
        int64_t now = clock_now(clock);
        pthread_mutex_lock(&s->lock);
        ClockQueue *q = timer_find_queue(s, clock);
        int64_t expires = q && q->heap->len ? ((Timer *)q->heap->pdata[0])->expires : TIMER_OFF;
        pthread_mutex_unlock(&s->lock);
        if (expires <= now) {
            return 0;
        }
        if (pace == CLOCK_FLOWS && expires != TIMER_OFF) {
            int64_t delta = now < 0 && expires > INT64_MAX + now ? INT64_MAX : expires - now;
            wait = wait < 0 ? delta : MIN(wait, delta);
        }
    }
    return wait;
}

static void timer_collect_due(TimerSet *s)
{
    bool more = true;
    for (unsigned i = 0; more; i++) {
        ClockPace pace;
        const Clock *clock = timer_queue_clock(s, i, &more, &pace);
        if (!clock) {
            continue;
        }
        int64_t now = clock_now(clock);
        pthread_mutex_lock(&s->lock);
        ClockQueue *q = timer_find_queue(s, clock);
        while (q && q->heap->len && ((Timer *)q->heap->pdata[0])->expires <= now) {
            Timer *t = q->heap->pdata[0];
            heap_remove(q->heap, t);
            t->heap_index = TIMER_DUE;
            g_queue_push_tail(&s->due, t);
        }
        pthread_mutex_unlock(&s->lock);
    }
}

/* A timer at the head of the due list whose clock was stopped meanwhile goes back into its heap. */
static bool timer_put_back_locked(TimerSet *s, Timer *t)
{
    ClockQueue *q = timer_get_queue(s, t->clock);
    if (!q->paused && clock_pace(t->clock) != CLOCK_FROZEN) {
        return false;
    }
    g_queue_pop_head(&s->due);
    heap_insert(q->heap, t);
    return true;
}

bool timer_set_run(TimerSet *s)
{
    bool ran = false;
    timer_collect_due(s);
    pthread_mutex_lock(&s->lock);
    while (!g_queue_is_empty(&s->due)) {
        Timer *t = g_queue_peek_head(&s->due);
        if (timer_put_back_locked(s, t)) {
            continue;
        }
        /* The guard comes before our lock. While we wait for it the owner may move, cancel or free the
         * timer, so it counts only if it still is the next one due. */
        const TimerGuard *guard = t->guard;
        if (guard) {
            pthread_mutex_unlock(&s->lock);
            guard->lock(guard->opaque);
            pthread_mutex_lock(&s->lock);
        }
        if (g_queue_peek_head(&s->due) != t || t->guard != guard || timer_put_back_locked(s, t)) {
            pthread_mutex_unlock(&s->lock);
            if (guard) {
                guard->unlock(guard->opaque);
            }
            pthread_mutex_lock(&s->lock);
            continue;
        }
        timer_detach_locked(s, t);
        void (*fire)(void *) = t->fire;
        void *opaque = t->opaque;
        pthread_mutex_unlock(&s->lock);
        fire(opaque);
        if (guard) {
            guard->unlock(guard->opaque);
        }
        ran = true;
        pthread_mutex_lock(&s->lock);
    }
    pthread_mutex_unlock(&s->lock);
    return ran;
}
