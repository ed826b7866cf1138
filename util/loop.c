/* SPDX-License-Identifier: MIT
 * util/loop.c - event loops: tasks, descriptor watches, the turn.
 *
 * A turn waits on epoll (with GLib's descriptors beside it when hosting), then runs, in this order,
 * ready descriptors, due timers, queued tasks, GLib's sources. Tasks queued by tasks run in the next
 * turn, so that a task that posts itself cannot starve the rest.
 *
 * Task list. Posters push on `inbox`, a lock-free stack; the loop takes the whole stack and reverses it,
 * which keeps the order of all posts. `queued` goes 0 -> 1 by the poster, 1 -> 0 by the loop just before
 * run(); both are read-modify-writes, so a poster that finds 1 knows that the coming run sees its data.
 *
 * Wake-up. The loop sets `waiting`, then looks at inbox, quit and timers, then blocks; a poster publishes
 * its work, then looks at `waiting`. All four are sequentially consistent: one of them sees the other.
 * The poster that turns `waiting` off writes the eventfd, so each wait costs at most one write.
 */
#include "loop-internal.h"

#include <errno.h>
#include <poll.h>
#include <sched.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/timerfd.h>
#include <unistd.h>

enum { LOOP_EVENTS = 64 };

struct Loop {
    char *name;
    int epoll_fd, wake_fd, wall_fd;
    GThread *thread;     /* atomic: who runs it */
    unsigned waiting;    /* atomic */
    unsigned quit;       /* atomic */
    Task *inbox;         /* atomic: newest first */
    Task *first, **last; /* the loop's own: oldest first */
    TimerSet timers;
    GHashTable *watches; /* fd -> FdWatch *, those that epoll watches */
    GPtrArray *regular;  /* FdWatch * of files that are always ready */
    uint64_t serial;
    GMainContext *glib;  /* NULL: not hosting */
    GArray *glib_fds;    /* GPollFD; element 0 is our epoll descriptor */
    int glib_priority;
    int glib_n;
    GArray *locals;      /* LocalValue */
    struct {
        int64_t max_ns, grow, shrink; /* atomic */
        int64_t ns;                   /* the loop's own */
    } poll;
};

typedef struct LocalValue {
    const LoopLocal *key;
    void *value;
} LocalValue;

enum { SERIAL_WAKE = 0, SERIAL_WALL = 1, SERIAL_FIRST = 2 };

static void loop_add_internal(Loop *loop, int fd, uint64_t serial)
{
    /* Each write to the eventfd is an edge of its own: it need not be read. */
    uint32_t edge = serial == SERIAL_WAKE ? EPOLLET : 0;
    struct epoll_event ev = { .events = EPOLLIN | edge, .data.u64 = serial };
    if (fd < 0 || epoll_ctl(loop->epoll_fd, EPOLL_CTL_ADD, fd, &ev) < 0) {
        g_error("loop '%s': cannot create its descriptors: %s", loop->name, g_strerror(errno));
    }
}

Loop *loop_new(const char *name)
{
    Loop *loop = g_new0(Loop, 1);
    loop->name = g_strdup(name);
    loop->last = &loop->first;
    loop->watches = g_hash_table_new(NULL, NULL);
    loop->regular = g_ptr_array_new();
    loop->serial = SERIAL_FIRST;
    loop->locals = g_array_new(FALSE, FALSE, sizeof(LocalValue));
    timer_set_init(&loop->timers);
    loop->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    loop->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    loop_add_internal(loop, loop->wake_fd, SERIAL_WAKE);
    /* Armed far away, it fires when somebody sets the host's wall clock: timers on it move then. */
    loop->wall_fd = timerfd_create(CLOCK_REALTIME, TFD_CLOEXEC | TFD_NONBLOCK);
    loop_add_internal(loop, loop->wall_fd, SERIAL_WALL);
    struct itimerspec far = { .it_value.tv_sec = INT32_MAX };
    timerfd_settime(loop->wall_fd, TFD_TIMER_ABSTIME | TFD_TIMER_CANCEL_ON_SET, &far, NULL);
    return loop;
}

/* Moves the inbox behind the list. The loop's own thread. */
static void loop_take_inbox(Loop *loop)
{
    if (!__atomic_load_n(&loop->inbox, __ATOMIC_RELAXED)) {
        return;
    }
    Task *stack = __atomic_exchange_n(&loop->inbox, NULL, __ATOMIC_ACQ_REL), *fifo = NULL;
    Task *newest = stack;
    while (stack) {
        Task *next = stack->next;
        stack->next = fifo;
        fifo = stack;
        stack = next;
    }
    *loop->last = fifo;
    loop->last = &newest->next;
}

static Task *loop_pop_task(Loop *loop)
{
    Task *t = loop->first;
    if (t) {
        loop->first = t->next;
        if (!loop->first) {
            loop->last = &loop->first;
        }
        t->next = NULL;
    }
    return t;
}

void loop_free(Loop *loop)
{
    if (!loop) {
        return;
    }
    for (unsigned i = 0; i < loop->locals->len; i++) {
        LocalValue *local = &g_array_index(loop->locals, LocalValue, i);
        local->key->free(local->value);
    }
    g_array_free(loop->locals, TRUE);
    g_assert(g_hash_table_size(loop->watches) == 0 && loop->regular->len == 0);
    loop_take_inbox(loop);
    for (Task *t; (t = loop_pop_task(loop));) {
        __atomic_store_n(&t->queued, 0, __ATOMIC_RELEASE);
    }
    timer_set_fini(&loop->timers);
    g_hash_table_destroy(loop->watches);
    g_ptr_array_free(loop->regular, TRUE);
    if (loop->glib) {
        g_main_context_unref(loop->glib);
        g_array_free(loop->glib_fds, TRUE);
    }
    close(loop->wall_fd);
    close(loop->wake_fd);
    close(loop->epoll_fd);
    g_free(loop->name);
    g_free(loop);
}

void *loop_local(Loop *loop, const LoopLocal *key)
{
    for (unsigned i = 0; i < loop->locals->len; i++) {
        LocalValue *local = &g_array_index(loop->locals, LocalValue, i);
        if (local->key == key) {
            return local->value;
        }
    }
    LocalValue local = { key, key->make(loop) };
    g_array_append_val(loop->locals, local);
    return local.value;
}

void loop_host_glib(Loop *loop)
{
    g_assert(!loop->glib);
    loop->glib = g_main_context_ref(g_main_context_default());
    loop->glib_fds = g_array_new(FALSE, TRUE, sizeof(GPollFD));
    g_array_set_size(loop->glib_fds, 16);
}

TimerSet *loop_timers(Loop *loop)
{
    return &loop->timers;
}

bool loop_is_current(const Loop *loop)
{
    return __atomic_load_n(&loop->thread, __ATOMIC_RELAXED) == g_thread_self();
}

/* Async-signal-safe. */
void loop_wake_if_waiting(Loop *loop)
{
    if (__atomic_load_n(&loop->waiting, __ATOMIC_SEQ_CST) &&
        __atomic_exchange_n(&loop->waiting, 0, __ATOMIC_SEQ_CST)) {
        uint64_t one = 1;
        int saved = errno;
        while (write(loop->wake_fd, &one, sizeof(one)) < 0 && errno == EINTR) {
        }
        errno = saved;
    }
}

void loop_quit(Loop *loop)
{
    __atomic_store_n(&loop->quit, 1, __ATOMIC_SEQ_CST);
    loop_wake_if_waiting(loop);
}

void loop_run(Loop *loop)
{
    while (!__atomic_exchange_n(&loop->quit, 0, __ATOMIC_SEQ_CST)) {
        loop_turn(loop, true);
    }
}

/* Tasks */

void loop_post(Loop *loop, Task *task)
{
    if (__atomic_exchange_n(&task->queued, 1, __ATOMIC_ACQ_REL)) {
        return;
    }
    Task *head = __atomic_load_n(&loop->inbox, __ATOMIC_RELAXED);
    do {
        task->next = head;
    } while (
        !__atomic_compare_exchange_n(&loop->inbox, &head, task, true, __ATOMIC_SEQ_CST, __ATOMIC_RELAXED));
    loop_wake_if_waiting(loop); /* the task itself may be gone by now */
}

void loop_unpost(Loop *loop, Task *task)
{
    while (__atomic_load_n(&task->queued, __ATOMIC_ACQUIRE)) {
        loop_take_inbox(loop);
        for (Task **link = &loop->first; *link; link = &(*link)->next) {
            if (*link != task) {
                continue;
            }
            *link = task->next;
            if (loop->last == &task->next) {
                loop->last = link;
            }
            task->next = NULL;
            __atomic_exchange_n(&task->queued, 0, __ATOMIC_ACQ_REL);
            return;
        }
        sched_yield(); /* a poster is between claiming the task and pushing it */
    }
}

static bool loop_run_tasks(Loop *loop)
{
    loop_take_inbox(loop);
    unsigned n = 0;
    for (Task *t = loop->first; t; t = t->next) {
        n++;
    }
    bool ran = n > 0;
    for (Task *t; n > 0 && (t = loop_pop_task(loop)); n--) {
        void (*run)(void *) = t->run;
        void *opaque = t->opaque;
        __atomic_exchange_n(&t->queued, 0, __ATOMIC_ACQ_REL);
        run(opaque); /* may free, post or re-use the task */
    }
    return ran;
}

/* Watches */

/* With no event wanted only HUP and ERR are reported: edge-triggered, else they would spin the loop. */
static struct epoll_event fd_watch_event(const FdWatch *w)
{
    uint32_t events = w->events & (EPOLLIN | EPOLLOUT);
    return (struct epoll_event){ .events = events ? events : EPOLLET,
                                 .data.u64 = (uint64_t)(uint32_t)w->fd << 32 | (uint32_t)w->serial };
}

bool fd_watch_add(Loop *loop, FdWatch *w, Error **errp)
{
    g_assert(!w->loop);
    w->serial = loop->serial;
    loop->serial = (uint32_t)loop->serial == UINT32_MAX ? SERIAL_FIRST : loop->serial + 1;
    struct epoll_event ev = fd_watch_event(w);
    if (epoll_ctl(loop->epoll_fd, EPOLL_CTL_ADD, w->fd, &ev) == 0) {
        w->regular = false;
        g_hash_table_insert(loop->watches, GINT_TO_POINTER(w->fd), w);
    } else if (errno == EPERM) {
        w->regular = true;
        g_ptr_array_add(loop->regular, w);
    } else {
        return error_set_errno(errp, errno, "cannot watch descriptor %d", w->fd);
    }
    w->loop = loop;
    return true;
}

void fd_watch_set(FdWatch *w, unsigned events)
{
    if (!w->loop || w->events == events) {
        w->events = events;
        return;
    }
    w->events = events;
    if (!w->regular) {
        struct epoll_event ev = fd_watch_event(w);
        epoll_ctl(w->loop->epoll_fd, EPOLL_CTL_MOD, w->fd, &ev);
    }
}

void fd_watch_remove(FdWatch *w)
{
    Loop *loop = w->loop;
    if (!loop) {
        return;
    }
    if (w->regular) {
        g_ptr_array_remove(loop->regular, w);
    } else {
        epoll_ctl(loop->epoll_fd, EPOLL_CTL_DEL, w->fd, NULL); /* fails if closed already: the same to us */
        g_hash_table_remove(loop->watches, GINT_TO_POINTER(w->fd));
    }
    w->loop = NULL;
}

static bool loop_regular_ready(const Loop *loop)
{
    for (unsigned i = 0; i < loop->regular->len; i++) {
        if (((FdWatch *)loop->regular->pdata[i])->events & (LOOP_IN | LOOP_OUT)) {
            return true;
        }
    }
    return false;
}

static bool loop_run_regular(Loop *loop)
{
    bool ran = false;
    uint64_t limit = loop->serial; /* those added meanwhile wait for the next turn */
    for (unsigned i = loop->regular->len; i-- > 0;) {
        if (i >= loop->regular->len) {
            continue; /* callbacks removed some */
        }
        FdWatch *w = loop->regular->pdata[i];
        unsigned events = w->events & (LOOP_IN | LOOP_OUT);
        if (events && w->serial < limit) {
            w->ready(w->opaque, events);
            ran = true;
        }
    }
    return ran;
}

static void loop_rearm_wall(int fd)
{
    uint64_t count;
    if (read(fd, &count, sizeof(count)) < 0 && errno == ECANCELED) {
        struct itimerspec far = { .it_value.tv_sec = INT32_MAX };
        timerfd_settime(fd, TFD_TIMER_ABSTIME | TFD_TIMER_CANCEL_ON_SET, &far, NULL);
    }
}

static bool loop_run_events(Loop *loop, const struct epoll_event *events, int n)
{
    bool ran = false;
    for (int i = 0; i < n; i++) {
        uint64_t tag = events[i].data.u64;
        if (tag == SERIAL_WAKE) {
            continue;
        }
        if (tag == SERIAL_WALL) {
            loop_rearm_wall(loop->wall_fd);
            continue;
        }
        /* An earlier callback may have removed the watch, closed the descriptor and opened another. */
        FdWatch *w = g_hash_table_lookup(loop->watches, GINT_TO_POINTER((int)(tag >> 32)));
        if (!w || (uint32_t)w->serial != (uint32_t)tag) {
            continue;
        }
        unsigned ready = events[i].events & (w->events | LOOP_HUP);
        ready |= events[i].events & EPOLLERR ? LOOP_HUP : 0;
        if (ready) {
            w->ready(w->opaque, ready);
            ran = true;
        }
    }
    return ran;
}

/* Waiting */

/* How long to wait: 0 not at all, -1 for ever. `waiting` is set already. */
static int64_t loop_wait_time(Loop *loop)
{
    if (__atomic_load_n(&loop->inbox, __ATOMIC_SEQ_CST) || loop->first || loop_regular_ready(loop) ||
        __atomic_load_n(&loop->quit, __ATOMIC_SEQ_CST)) {
        return 0;
    }
    return timer_set_wait(&loop->timers);
}

static struct timespec loop_timespec(int64_t ns)
{
    return (struct timespec){ .tv_sec = ns / 1000000000, .tv_nsec = ns % 1000000000 };
}

static int loop_epoll(Loop *loop, struct epoll_event *events, int64_t wait)
{
    static bool no_pwait2; /* atomic: kernels before 5.11 */
    struct timespec ts = loop_timespec(wait);
    if (wait == 0) {
        return epoll_wait(loop->epoll_fd, events, LOOP_EVENTS, 0);
    }
    if (!__atomic_load_n(&no_pwait2, __ATOMIC_RELAXED)) {
        int n = epoll_pwait2(loop->epoll_fd, events, LOOP_EVENTS, wait < 0 ? NULL : &ts, NULL);
        if (n >= 0 || errno != ENOSYS) {
            return n;
        }
        __atomic_store_n(&no_pwait2, true, __ATOMIC_RELAXED);
    }
    struct pollfd p = { .fd = loop->epoll_fd, .events = POLLIN };
    ppoll(&p, 1, wait < 0 ? NULL : &ts, NULL);
    return epoll_wait(loop->epoll_fd, events, LOOP_EVENTS, 0);
}

/* Waits for our descriptors and GLib's at once. Returns whether GLib has something to dispatch. */
static bool loop_wait_glib(Loop *loop, int64_t wait)
{
    int timeout_ms;
    g_main_context_prepare(loop->glib, &loop->glib_priority);
    for (;;) {
        loop->glib_n = g_main_context_query(loop->glib, loop->glib_priority, &timeout_ms,
                                            &g_array_index(loop->glib_fds, GPollFD, 1),
                                            loop->glib_fds->len - 1);
        if (loop->glib_n < (int)loop->glib_fds->len) {
            break;
        }
        g_array_set_size(loop->glib_fds, loop->glib_n + 16);
    }
    if (timeout_ms >= 0) {
        int64_t ns = timeout_ms * INT64_C(1000000);
        wait = wait < 0 ? ns : MIN(wait, ns);
    }
    GPollFD *fds = (GPollFD *)loop->glib_fds->data;
    fds[0] = (GPollFD){ .fd = loop->epoll_fd, .events = G_IO_IN };
    struct timespec ts = loop_timespec(wait);
    G_STATIC_ASSERT(sizeof(GPollFD) ==
                    sizeof(struct pollfd)); /* GLib guarantees the layout where poll() exists */
    if (ppoll((struct pollfd *)fds, loop->glib_n + 1, wait < 0 ? NULL : &ts, NULL) < 0) {
        for (int i = 0; i <= loop->glib_n; i++) {
            fds[i].revents = 0;
        }
    }
    return g_main_context_check(loop->glib, loop->glib_priority, fds + 1, loop->glib_n);
}

/* ---- calls from other threads ---- */

typedef struct LoopCall {
    Task task;
    void (*fn)(void *opaque);
    void *opaque;
    pthread_mutex_t lock;
    pthread_cond_t done;
    bool finished;
} LoopCall;

static void loop_call_run(void *opaque)
{
    LoopCall *c = opaque;
    c->fn(c->opaque);
    pthread_mutex_lock(&c->lock);
    c->finished = true;
    pthread_cond_signal(&c->done);
    pthread_mutex_unlock(&c->lock);
}

void loop_call(Loop *loop, void (*fn)(void *opaque), void *opaque)
{
    if (loop_is_current(loop)) {
        fn(opaque);
        return;
    }
    LoopCall c = { .fn = fn, .opaque = opaque };
    c.task = (Task){ .run = loop_call_run, .opaque = &c };
    pthread_mutex_init(&c.lock, NULL);
    pthread_cond_init(&c.done, NULL);
    loop_post(loop, &c.task);
    pthread_mutex_lock(&c.lock);
    while (!c.finished) {
        pthread_cond_wait(&c.done, &c.lock);
    }
    pthread_mutex_unlock(&c.lock);
    pthread_cond_destroy(&c.done);
    pthread_mutex_destroy(&c.lock);
}

/* ---- polling ---- */

enum { POLL_FIRST_NS = 4000 }; /* the shortest time that is worth it */

void loop_set_poll(Loop *loop, int64_t max_ns, int64_t grow, int64_t shrink)
{
    __atomic_store_n(&loop->poll.grow, grow, __ATOMIC_RELAXED);
    __atomic_store_n(&loop->poll.shrink, shrink, __ATOMIC_RELAXED);
    __atomic_store_n(&loop->poll.max_ns, max_ns, __ATOMIC_RELAXED);
}

/* Looks for what a wait would end at. False: nothing came, and the loop may sleep. */
static bool loop_poll(Loop *loop, struct epoll_event *events, int *n, int64_t wait)
{
    int64_t start = clock_now(&clock_host_monotonic), limit = loop->poll.ns;
    limit = wait >= 0 ? MIN(limit, wait) : limit;
    do {
        *n = epoll_wait(loop->epoll_fd, events, LOOP_EVENTS, 0);
        if (*n > 0 || loop_wait_time(loop) == 0) {
            return true;
        }
    } while (clock_now(&clock_host_monotonic) - start < limit);
    return false;
}

static void loop_adapt_poll(Loop *loop, int64_t slept)
{
    int64_t max = __atomic_load_n(&loop->poll.max_ns, __ATOMIC_RELAXED);
    int64_t grow = __atomic_load_n(&loop->poll.grow, __ATOMIC_RELAXED);
    int64_t shrink = __atomic_load_n(&loop->poll.shrink, __ATOMIC_RELAXED);
    int64_t ns = loop->poll.ns;
    if (slept > max) {
        ns = shrink ? ns / shrink : 0;
    } else if (slept > ns) {
        ns = !ns ? POLL_FIRST_NS : ns > max / MAX(grow, 2) ? max : ns * MAX(grow, 2);
    }
    loop->poll.ns = MIN(ns, max);
}

/* Polls, then sleeps; `wait` as from loop_wait_time(), which has said that there is nothing yet. */
static int loop_wait_polling(Loop *loop, struct epoll_event *events, int64_t wait)
{
    int n = 0;
    if (loop->poll.ns) {
        __atomic_store_n(&loop->waiting, 0, __ATOMIC_SEQ_CST); /* nobody need write to wake it */
        if (loop_poll(loop, events, &n, wait)) {
            return n;
        }
        __atomic_store_n(&loop->waiting, 1, __ATOMIC_SEQ_CST);
        wait = loop_wait_time(loop);
        if (wait == 0) {
            return 0;
        }
    }
    int64_t start = clock_now(&clock_host_monotonic);
    n = loop_epoll(loop, events, wait);
    loop_adapt_poll(loop, clock_now(&clock_host_monotonic) - start);
    return n;
}

bool loop_turn(Loop *loop, bool may_block)
{
    struct epoll_event events[LOOP_EVENTS];
    __atomic_store_n(&loop->thread, g_thread_self(), __ATOMIC_RELAXED);
    bool hosting = loop->glib && g_main_context_acquire(loop->glib);
    bool glib_ready = false;

    int64_t wait = 0;
    if (may_block) {
        __atomic_store_n(&loop->waiting, 1, __ATOMIC_SEQ_CST);
        wait = loop_wait_time(loop);
    }
    if (hosting) {
        glib_ready = loop_wait_glib(loop, wait);
        wait = 0;
    }
    bool poll = wait && __atomic_load_n(&loop->poll.max_ns, __ATOMIC_RELAXED);
    int n = poll ? loop_wait_polling(loop, events, wait) : loop_epoll(loop, events, wait);
    __atomic_store_n(&loop->waiting, 0, __ATOMIC_SEQ_CST);

    bool ran = loop_run_events(loop, events, n);
    ran |= loop_run_regular(loop);
    ran |= timer_set_run(&loop->timers);
    ran |= loop_run_tasks(loop);
    if (hosting) {
        if (glib_ready) {
            g_main_context_dispatch(loop->glib);
        }
        g_main_context_release(loop->glib);
    }
    return ran | glib_ready;
}
