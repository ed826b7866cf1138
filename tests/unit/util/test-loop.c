/* SPDX-License-Identifier: MIT
 * tests/unit/util/test-loop.c - tasks, watches, clocks and timers, with and without threads.
 */
#include "rhea/util/loop.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef struct Note {
    Task task;
    Timer timer;
    Loop *loop;
    GString *log;
    char letter;
    int again; /* how often to post or arm again */
} Note;

static void note_run(void *opaque)
{
    Note *n = opaque;
    g_string_append_c(n->log, n->letter);
    if (n->again > 0) {
        n->again--;
        loop_post(n->loop, &n->task);
    }
}

static void notes_init(Note *n, unsigned count, Loop *loop, GString *log)
{
    for (unsigned i = 0; i < count; i++) {
        n[i] = (Note){ .loop = loop, .log = log, .letter = 'a' + i };
        n[i].task = (Task){ .run = note_run, .opaque = &n[i] };
    }
}

static void test_tasks(void)
{
    Loop *loop = loop_new("test");
    GString *log = g_string_new(NULL);
    Note n[4];
    notes_init(n, 4, loop, log);
    g_assert_false(loop_turn(loop, false));
    loop_post(loop, &n[2].task);
    loop_post(loop, &n[0].task);
    loop_post(loop, &n[2].task); /* queued already */
    loop_post(loop, &n[1].task);
    g_assert_true(loop_turn(loop, true));
    g_assert_cmpstr(log->str, ==, "cab");
    g_assert_false(loop_turn(loop, false));

    g_string_truncate(log, 0);
    n[0].again = 2;
    loop_post(loop, &n[0].task);
    loop_post(loop, &n[1].task);
    g_assert_true(loop_turn(loop, false)); /* one that posts itself does not starve the next */
    g_assert_cmpstr(log->str, ==, "ab");
    loop_turn(loop, true);
    loop_turn(loop, true);
    g_assert_cmpstr(log->str, ==, "abaa");

    g_string_truncate(log, 0);
    for (int i = 0; i < 4; i++) {
        loop_post(loop, &n[i].task);
    }
    loop_unpost(loop, &n[3].task);
    loop_unpost(loop, &n[1].task);
    loop_unpost(loop, &n[1].task);
    loop_post(loop, &n[3].task); /* behind the others: the tail was removed before */
    loop_turn(loop, false);
    g_assert_cmpstr(log->str, ==, "acd");

    loop_post(loop, &n[0].task); /* dropped by free */
    g_assert_true(loop_is_current(loop));
    loop_free(loop);
    g_assert_cmpint(n[0].task.queued, ==, 0);
    g_string_free(log, TRUE);
}

enum { POSTERS = 4, POSTS = 5000 };
typedef struct Poster {
    Loop *loop;
    struct Numbered {
        Task task;
        struct Poster *owner;
        unsigned number;
    } posts[POSTS];
    unsigned seen, *left;
} Poster;

static void poster_check(void *opaque)
{
    struct Numbered *n = opaque;
    g_assert_cmpuint(n->number, ==, n->owner->seen); /* order of each poster is kept */
    n->owner->seen++;
    if (--*n->owner->left == 0) {
        loop_quit(n->owner->loop);
    }
}

static gpointer poster_main(gpointer opaque)
{
    Poster *p = opaque;
    for (unsigned i = 0; i < POSTS; i++) {
        p->posts[i] = (struct Numbered){ { .run = poster_check, .opaque = &p->posts[i] }, p, i };
        loop_post(p->loop, &p->posts[i].task);
    }
    return NULL;
}

static void test_posters(void)
{
    Loop *loop = loop_new("test");
    Poster *posters = g_new0(Poster, POSTERS);
    GThread *threads[POSTERS];
    unsigned left = POSTERS * POSTS;
    for (int i = 0; i < POSTERS; i++) {
        posters[i].loop = loop;
        posters[i].left = &left;
        threads[i] = g_thread_new("poster", poster_main, &posters[i]);
    }
    loop_run(loop);
    for (int i = 0; i < POSTERS; i++) {
        g_thread_join(threads[i]);
        g_assert_cmpuint(posters[i].seen, ==, POSTS);
    }
    g_free(posters);
    loop_free(loop);
}

/* One task posted by many: every post is followed by a run that sees its data. */
typedef struct Shared {
    Loop *loop;
    Task task;
    unsigned value[POSTERS], last[POSTERS], index;
} Shared;
typedef struct SharedPoster {
    Shared *s;
    unsigned index;
} SharedPoster;

static void shared_run(void *opaque)
{
    Shared *s = opaque;
    bool all = true;
    for (int i = 0; i < POSTERS; i++) {
        s->last[i] = __atomic_load_n(&s->value[i], __ATOMIC_RELAXED);
        all &= s->last[i] == POSTS;
    }
    if (all) {
        loop_quit(s->loop);
    }
}

static gpointer shared_main(gpointer opaque)
{
    SharedPoster *p = opaque;
    for (unsigned i = 1; i <= POSTS; i++) {
        __atomic_store_n(&p->s->value[p->index], i, __ATOMIC_RELAXED);
        loop_post(p->s->loop, &p->s->task);
    }
    return NULL;
}

static void test_shared_task(void)
{
    Shared s = { .loop = loop_new("test") };
    s.task = (Task){ .run = shared_run, .opaque = &s };
    SharedPoster p[POSTERS];
    GThread *threads[POSTERS];
    for (int i = 0; i < POSTERS; i++) {
        p[i] = (SharedPoster){ &s, i };
        threads[i] = g_thread_new("poster", shared_main, &p[i]);
    }
    loop_run(s.loop); /* hangs if a post is lost */
    for (int i = 0; i < POSTERS; i++) {
        g_thread_join(threads[i]);
    }
    loop_free(s.loop);
}

static void note_fire(void *opaque)
{
    Note *n = opaque;
    g_string_append_c(n->log, n->letter);
    if (n->again > 0) {
        n->again--;
        timer_arm(&n->timer, 0);
    }
}

static void test_timers_manual(void)
{
    Loop *loop = loop_new("test");
    GString *log = g_string_new(NULL);
    ManualClock mc;
    clock_manual_init(&mc, 100);
    Note n[5];
    notes_init(n, 5, loop, log);
    for (int i = 0; i < 5; i++) {
        timer_init(&n[i].timer, loop, &mc.clock, note_fire, &n[i]);
        g_assert_false(timer_armed(&n[i].timer));
    }
    g_assert_cmpint(loop_deadline(loop, &mc.clock), ==, TIMER_OFF);
    timer_arm(&n[0].timer, 300);
    timer_arm(&n[1].timer, 200);
    timer_arm(&n[2].timer, 200); /* same time: order of arming */
    timer_arm(&n[3].timer, 150);
    timer_arm(&n[4].timer, 250);
    g_assert_cmpint(loop_deadline(loop, &mc.clock), ==, 150);
    g_assert_false(loop_turn(loop, false));
    timer_cancel(&n[3].timer);
    g_assert_cmpint(loop_deadline(loop, &mc.clock), ==, 200);
    clock_manual_set(&mc, 199);
    g_assert_false(loop_turn(loop, false));
    clock_manual_set(&mc, 300);
    timer_arm(&n[1].timer, 201); /* moved */
    g_assert_true(loop_turn(loop, true));
    g_assert_cmpstr(log->str, ==, "cbea");
    g_assert_cmpint(timer_expires(&n[0].timer), ==, TIMER_OFF);

    g_string_truncate(log, 0);
    n[0].again = 2; /* a past time fires once in each turn */
    timer_arm(&n[0].timer, 0);
    g_assert_true(loop_turn(loop, true));
    g_assert_cmpstr(log->str, ==, "a");
    g_assert_true(loop_turn(loop, true));
    g_assert_true(loop_turn(loop, true));
    g_assert_cmpstr(log->str, ==, "aaa");
    g_assert_false(loop_turn(loop, false));

    timer_arm(&n[0].timer, 1);
    loop_clock_pause(loop, &mc.clock, true);
    g_assert_false(loop_turn(loop, false));
    loop_clock_pause(loop, &mc.clock, false);
    g_assert_true(loop_turn(loop, false));
    timer_arm(&n[0].timer, TIMER_OFF);
    g_assert_false(timer_armed(&n[0].timer));
    loop_free(loop);
    g_string_free(log, TRUE);
}

static void *rearm(void *opaque)
{
    Note *n = opaque;
    for (int i = 0; i < 30; i++) {
        g_usleep(1000);
        timer_arm(&n->timer, timer_expires(&n->timer)); /* a device that looks at its registers again */
    }
    timer_arm(&n->timer, clock_now(&clock_host_monotonic));
    return NULL;
}

/* A timer armed for when it was armed already wakes nobody: that would take the CPU from a guest. */
static void test_rearm(void)
{
    Loop *loop = loop_new("test");
    GString *log = g_string_new(NULL);
    Note n[1];
    notes_init(n, 1, loop, log);
    timer_init(&n[0].timer, loop, &clock_host_monotonic, note_fire, &n[0]);
    timer_arm(&n[0].timer, clock_now(&clock_host_monotonic) + INT64_C(3600000000000));
    GThread *t = g_thread_new("rearm", rearm, &n[0]);
    unsigned turns = 0;
    while (!log->len) {
        loop_turn(loop, true);
        turns++;
    }
    g_thread_join(t);
    g_assert_cmpuint(turns, <=, 3);
    loop_free(loop);
    g_string_free(log, TRUE);
}

/* Random arms, moves and cancels against a sorted model. */
static void test_timers_random(void)
{
    enum { N = 50 };
    Loop *loop = loop_new("test");
    GString *log = g_string_new(NULL);
    ManualClock mc;
    clock_manual_init(&mc, 0);
    Note n[N];
    notes_init(n, N, loop, log);
    for (int i = 0; i < N; i++) {
        timer_init(&n[i].timer, loop, &mc.clock, note_fire, &n[i]);
    }
    GRand *rand = g_rand_new_with_seed(1);
    for (int round = 0; round < 2000; round++) {
        unsigned i = g_rand_int_range(rand, 0, N);
        if (g_rand_int_range(rand, 0, 4) == 0) {
            timer_cancel(&n[i].timer);
        } else {
            timer_arm(&n[i].timer, mc.ns + 1 + g_rand_int_range(rand, 0, 1000));
        }
        if (round % 10) {
            continue;
        }
        int64_t until = mc.ns + g_rand_int_range(rand, 0, 300), last = 0, expect = 0;
        int64_t times[N];
        for (int k = 0; k < N; k++) {
            times[k] = timer_expires(&n[k].timer);
            expect += times[k] <= until;
        }
        g_string_truncate(log, 0);
        clock_manual_set(&mc, until);
        loop_turn(loop, false);
        g_assert_cmpint(log->len, ==, expect);
        for (size_t k = 0; k < log->len; k++) {
            int64_t t = times[(unsigned char)log->str[k] - 'a'];
            g_assert_cmpint(t, >=, last);
            last = t;
        }
    }
    for (int i = 0; i < N; i++) {
        timer_cancel(&n[i].timer);
    }
    g_rand_free(rand);
    loop_free(loop);
    g_string_free(log, TRUE);
}

/* Callbacks that cancel and move timers due in the same turn. */
typedef struct Killer {
    Timer timer;
    Timer *victim, *moved;
} Killer;

static void killer_fire(void *opaque)
{
    Killer *k = opaque;
    timer_cancel(k->victim);
    timer_arm(k->moved, 1000);
}

static void test_timers_cancel_due(void)
{
    Loop *loop = loop_new("test");
    GString *log = g_string_new(NULL);
    ManualClock mc;
    clock_manual_init(&mc, 0);
    Note n[3];
    notes_init(n, 3, loop, log);
    for (int i = 0; i < 3; i++) {
        timer_init(&n[i].timer, loop, &mc.clock, note_fire, &n[i]);
        timer_arm(&n[i].timer, 10 + i);
    }
    Killer k = { .victim = &n[0].timer, .moved = &n[1].timer };
    timer_init(&k.timer, loop, &mc.clock, killer_fire, &k);
    timer_arm(&k.timer, 5);
    clock_manual_set(&mc, 20);
    loop_turn(loop, true);
    g_assert_cmpstr(log->str, ==, "c");
    g_assert_false(timer_armed(&n[0].timer));
    g_assert_cmpint(timer_expires(&n[1].timer), ==, 1000);
    timer_cancel(&n[1].timer);
    loop_free(loop);
    g_string_free(log, TRUE);
}

static void quit_fire(void *opaque)
{
    loop_quit(opaque);
}

static void test_timers_host(void)
{
    Loop *loop = loop_new("test");
    Timer t;
    timer_init(&t, loop, &clock_host_monotonic, quit_fire, loop);
    int64_t start = clock_now(&clock_host_monotonic);
    timer_arm(&t, start + 3500000); /* not whole milliseconds: must not fire early */
    loop_run(loop);
    g_assert_cmpint(clock_now(&clock_host_monotonic), >=, start + 3500000);
    loop_free(loop);
}

typedef struct Armer {
    Timer *t;
    int64_t at;
} Armer;

static gpointer armer_main(gpointer opaque)
{
    Armer *a = opaque;
    g_usleep(5000); /* the loop waits by now, for a minute */
    timer_arm(a->t, clock_now(&clock_host_monotonic));
    return NULL;
}

static void test_timer_wakes(void)
{
    Loop *loop = loop_new("test");
    Timer far, t;
    timer_init(&far, loop, &clock_host_monotonic, quit_fire, loop);
    timer_init(&t, loop, &clock_host_monotonic, quit_fire, loop);
    timer_arm(&far, clock_now(&clock_host_monotonic) + INT64_C(60000000000));
    Armer a = { .t = &t };
    GThread *thread = g_thread_new("armer", armer_main, &a);
    loop_run(loop);
    g_thread_join(thread);
    g_assert_true(timer_armed(&far));
    g_assert_false(timer_armed(&t));
    timer_cancel(&far);
    loop_free(loop);
}

/* The owner, holding the guard, cancels: no fire may follow until it arms again. */
typedef struct Guarded {
    pthread_mutex_t lock;
    TimerGuard guard;
    Timer timer;
    bool allowed; /* under lock */
    unsigned fired;
    Loop *loop;
} Guarded;

static void guarded_lock(void *opaque)
{
    pthread_mutex_lock(&((Guarded *)opaque)->lock);
}

static void guarded_unlock(void *opaque)
{
    pthread_mutex_unlock(&((Guarded *)opaque)->lock);
}

static void guarded_fire(void *opaque)
{
    Guarded *g = opaque;
    g_assert_true(g->allowed);
    g->fired++;
}

static gpointer guarded_main(gpointer opaque)
{
    Guarded *g = opaque;
    for (int i = 0; i < 5000; i++) {
        pthread_mutex_lock(&g->lock);
        g->allowed = true;
        timer_arm(&g->timer, clock_now(&clock_host_monotonic) + (i % 7) * 1000);
        pthread_mutex_unlock(&g->lock);
        if (i % 3 == 0) {
            g_thread_yield();
        }
        pthread_mutex_lock(&g->lock);
        timer_cancel(&g->timer);
        g->allowed = false;
        pthread_mutex_unlock(&g->lock);
    }
    loop_quit(g->loop);
    return NULL;
}

static void test_timer_guard_race(void)
{
    Guarded g = { .loop = loop_new("test") };
    pthread_mutex_init(&g.lock, NULL);
    g.guard = (TimerGuard){ guarded_lock, guarded_unlock, &g };
    timer_init(&g.timer, g.loop, &clock_host_monotonic, guarded_fire, &g);
    g.timer.guard = &g.guard;
    GThread *thread = g_thread_new("owner", guarded_main, &g);
    loop_run(g.loop);
    g_thread_join(thread);
    g_assert_false(timer_armed(&g.timer));
    pthread_mutex_destroy(&g.lock);
    loop_free(g.loop);
}

static void test_stop_clock(void)
{
    Loop *loop = loop_new("test");
    GString *log = g_string_new(NULL);
    StopClock c;
    Note n;
    clock_stop_init(&c);
    notes_init(&n, 1, loop, log);
    timer_init(&n.timer, loop, &c.clock, note_fire, &n);
    g_assert_cmpint(clock_now(&c.clock), ==, 0);
    timer_arm(&n.timer, -5);
    g_assert_false(loop_turn(loop, false)); /* stopped: even a past time waits */
    clock_stop_start(&c);
    g_assert_true(loop_turn(loop, false));
    g_usleep(1000);
    int64_t now = clock_now(&c.clock);
    g_assert_cmpint(now, >=, 1000000);
    clock_stop_set(&c, INT64_C(1) << 50);
    g_assert_cmpint(clock_now(&c.clock), >=, INT64_C(1) << 50);
    clock_stop_stop(&c);
    clock_stop_stop(&c);
    now = clock_now(&c.clock);
    g_usleep(1000);
    g_assert_cmpint(clock_now(&c.clock), ==, now);
    clock_stop_set(&c, 77);
    g_assert_cmpint(clock_now(&c.clock), ==, 77);
    pthread_mutex_destroy(&c.lock);
    loop_free(loop);
    g_string_free(log, TRUE);
}

typedef struct Reader {
    FdWatch w;
    unsigned calls, seen;
    FdWatch *remove;
    char buf[64];
} Reader;

static void reader_ready(void *opaque, unsigned revents)
{
    Reader *r = opaque;
    r->calls++;
    r->seen |= revents;
    if (revents & LOOP_IN) {
        ssize_t n = read(r->w.fd, r->buf, sizeof(r->buf));
        g_assert_cmpint(n, >=, 0);
    }
    if (r->remove) {
        fd_watch_remove(r->remove);
    }
}

static void reader_init(Reader *r, int fd, unsigned events)
{
    *r = (Reader){ .w = { .fd = fd, .events = events, .ready = reader_ready, .opaque = r } };
}

static void test_watch(void)
{
    Loop *loop = loop_new("test");
    int p[2], q[2];
    g_assert_cmpint(pipe2(p, O_CLOEXEC), ==, 0);
    g_assert_cmpint(pipe2(q, O_CLOEXEC), ==, 0);
    Reader a, b, twice;
    Error *err = NULL;
    reader_init(&a, p[0], LOOP_IN);
    reader_init(&b, q[0], LOOP_IN);
    reader_init(&twice, p[0], LOOP_IN);
    g_assert_true(fd_watch_add(loop, &a.w, &error_abort_slot));
    g_assert_true(fd_watch_add(loop, &b.w, &error_abort_slot));
    g_assert_false(fd_watch_add(loop, &twice.w, &err));
    g_assert_nonnull(strstr(error_text(err), "cannot watch descriptor"));
    g_assert_null(twice.w.loop);
    error_free(err);
    g_assert_false(loop_turn(loop, false));
    g_assert_cmpint(write(p[1], "x", 1), ==, 1);
    g_assert_true(loop_turn(loop, true));
    g_assert_cmpuint(a.calls, ==, 1);
    fd_watch_set(&a.w, 0);
    g_assert_cmpint(write(p[1], "x", 1), ==, 1);
    g_assert_false(loop_turn(loop, false)); /* silent */
    fd_watch_set(&a.w, LOOP_IN);
    g_assert_true(loop_turn(loop, false));
    g_assert_cmpuint(a.calls, ==, 2);

    /* Both ready, each removes the other: exactly one is called. */
    a.remove = &b.w;
    b.remove = &a.w;
    g_assert_cmpint(write(p[1], "x", 1) + write(q[1], "x", 1), ==, 2);
    g_assert_true(loop_turn(loop, true));
    g_assert_cmpuint(a.calls + b.calls, ==, 3);
    fd_watch_remove(&a.w);
    fd_watch_remove(&b.w);

    /* A silent watch hears of a hang-up once, and does not spin. */
    reader_init(&a, p[0], 0);
    g_assert_true(fd_watch_add(loop, &a.w, &error_abort_slot));
    close(p[1]);
    g_assert_true(loop_turn(loop, true));
    g_assert_cmpuint(a.seen, ==, LOOP_HUP);
    g_assert_false(loop_turn(loop, false));
    fd_watch_remove(&a.w);
    close(p[0]);
    close(q[0]);
    close(q[1]);
    loop_free(loop);
}

static void test_regular_file(void)
{
    Loop *loop = loop_new("test");
    g_autofree char *name = NULL;
    int fd = g_file_open_tmp("rhea-XXXXXX", &name, NULL);
    g_assert_cmpint(fd, >=, 0);
    g_assert_cmpint(write(fd, "hello", 5), ==, 5);
    lseek(fd, 0, SEEK_SET);
    Reader r;
    reader_init(&r, fd, LOOP_IN);
    g_assert_true(fd_watch_add(loop, &r.w, &error_abort_slot));
    g_assert_true(loop_turn(loop, true));
    g_assert_cmpstr(r.buf, ==, "hello");
    g_assert_true(loop_turn(loop, true)); /* always ready, as poll(2) has it */
    fd_watch_set(&r.w, 0);
    g_assert_false(loop_turn(loop, false));
    fd_watch_remove(&r.w);
    close(fd);
    unlink(name);
    loop_free(loop);
}

static gboolean glib_idle(gpointer opaque)
{
    g_string_append_c(opaque, 'i');
    return G_SOURCE_REMOVE;
}

static gboolean glib_timeout(gpointer opaque)
{
    loop_quit(opaque);
    return G_SOURCE_REMOVE;
}

static gpointer glib_waker(gpointer opaque)
{
    g_usleep(3000);
    g_source_set_ready_time(opaque, 0); /* allocates nothing: TSan cannot see GLib's locks */
    return NULL;
}

static void test_glib(void)
{
    Loop *loop = loop_new("test");
    GString *log = g_string_new(NULL);
    loop_host_glib(loop);
    g_assert_false(loop_turn(loop, false));
    g_idle_add(glib_idle, log);
    g_assert_true(loop_turn(loop, true));
    g_assert_cmpstr(log->str, ==, "i");
    g_timeout_add(5, glib_timeout, loop);
    loop_run(loop);
    GSource *late = g_timeout_source_new_seconds(600);
    g_source_set_callback(late, glib_timeout, loop, NULL);
    g_source_attach(late, NULL);
    GThread *t = g_thread_new("waker", glib_waker, late); /* GLib's own wake-up reaches our wait */
    loop_run(loop);
    g_thread_join(t);
    g_source_unref(late);
    Timer own;
    timer_init(&own, loop, &clock_host_monotonic, quit_fire, loop);
    timer_arm(&own, clock_now(&clock_host_monotonic) + 2000000);
    loop_run(loop);
    Note n; /* and ours reaches GLib's */
    notes_init(&n, 1, loop, log);
    loop_post(loop, &n.task);
    g_assert_true(loop_turn(loop, true));
    g_assert_cmpstr(log->str, ==, "ia");
    loop_free(loop);
    g_string_free(log, TRUE);
}

static void test_quit_first(void)
{
    Loop *loop = loop_new("test");
    loop_quit(loop);
    loop_run(loop); /* returns at once */
    loop_free(loop);
}

/* ---- other threads' calls, polling ---- */

typedef struct Called {
    Loop *loop;
    unsigned runs;
} Called;

static void note_call(void *opaque)
{
    Called *c = opaque;
    g_assert_true(loop_is_current(c->loop));
    c->runs++;
}

static gpointer run_loop(gpointer loop)
{
    loop_run(loop);
    return NULL;
}

/* A loop of another thread that polls for the time given: each call comes back done, each post is run. */
static void test_call(gconstpointer ns)
{
    Called c = { .loop = loop_new("test") };
    loop_set_poll(c.loop, GPOINTER_TO_INT(ns), 0, 0);
    GThread *thread = g_thread_new("loop", run_loop, c.loop);
    for (unsigned i = 1; i <= 2000; i++) {
        loop_call(c.loop, note_call, &c);
        g_assert_cmpuint(c.runs, ==, i);
        if (i % 500 == 0) {
            g_usleep(3000); /* longer than it polls: it sleeps */
        }
    }
    loop_quit(c.loop);
    g_thread_join(thread);
    g_assert_cmpuint(c.runs, ==, 2000);
    loop_free(c.loop);
}

static void count_fire(void *opaque)
{
    ++*(unsigned *)opaque;
}

/* Timers are not late by what is polled: one at 100 us, while a loop may poll for a second. */
static void test_poll_timer(void)
{
    Loop *loop = loop_new("test");
    unsigned fired = 0;
    Timer t;
    timer_init(&t, loop, &clock_host_monotonic, count_fire, &fired);
    loop_set_poll(loop, 1000000000, 0, 0);
    int64_t start = clock_now(&clock_host_monotonic);
    for (unsigned i = 1; i <= 50; i++) {
        timer_arm(&t, clock_now(&clock_host_monotonic) + 100000);
        while (fired < i) {
            loop_turn(loop, true);
        }
    }
    g_assert_cmpint(clock_now(&clock_host_monotonic) - start, >=, 50 * 100000);
    g_assert_cmpint(clock_now(&clock_host_monotonic) - start, <, 50 * INT64_C(1000000000));
    timer_cancel(&t);
    loop_free(loop);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/loop/tasks", test_tasks);
    g_test_add_func("/loop/posters", test_posters);
    g_test_add_func("/loop/shared-task", test_shared_task);
    g_test_add_func("/loop/timers-manual", test_timers_manual);
    g_test_add_func("/loop/rearm", test_rearm);
    g_test_add_func("/loop/timers-random", test_timers_random);
    g_test_add_func("/loop/timers-cancel-due", test_timers_cancel_due);
    g_test_add_func("/loop/timers-host", test_timers_host);
    g_test_add_func("/loop/timer-wakes", test_timer_wakes);
    g_test_add_func("/loop/timer-guard-race", test_timer_guard_race);
    g_test_add_func("/loop/stop-clock", test_stop_clock);
    g_test_add_func("/loop/watch", test_watch);
    g_test_add_func("/loop/regular-file", test_regular_file);
    g_test_add_func("/loop/glib", test_glib);
    g_test_add_func("/loop/quit-first", test_quit_first);
    g_test_add_data_func("/loop/call", GINT_TO_POINTER(0), test_call);
    g_test_add_data_func("/loop/call-polling", GINT_TO_POINTER(50000), test_call);
    g_test_add_func("/loop/poll-timer", test_poll_timer);
    return g_test_run();
}
