/* SPDX-License-Identifier: MIT
 * tests/unit/util/test-co.c - coroutines: order, wakes, nesting, mutexes, ranges, both ways to switch.
 */
#include "rhea/util/co.h"
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

static Loop *loop;
static GString *trace;

static void turn_until(bool *done)
{
    while (!*done) {
        loop_turn(loop, true);
    }
}

static void body_steps(void *opaque)
{
    for (int i = 0; i < 3; i++) {
        g_string_append_printf(trace, "%s%d ", (char *)opaque, i);
        co_wake(co_self());
        co_yield();
    }
}

static void test_order(void)
{
    g_string_truncate(trace, 0);
    co_start(loop, body_steps, "a");
    co_start(loop, body_steps, "b");
    g_assert_cmpstr(trace->str, ==, "");
    while (loop_turn(loop, false)) {
    }
    g_assert_cmpstr(trace->str, ==, "a0 b0 a1 b1 a2 b2 ");
    g_assert_null(co_self());
}

static void body_inner(void *opaque)
{
    Co **me = opaque;
    *me = co_self();
    g_string_append(trace, "in ");
    co_yield();
    g_string_append(trace, "again ");
}

static void body_outer(void *opaque)
{
    Co *inner = NULL;
    co_enter(loop, body_inner, &inner);
    g_string_append(trace, "out ");
    g_assert_true(co_loop() == loop);
    co_resume(inner);
    g_string_append(trace, "end ");
    *(bool *)opaque = true;
}

static void test_nested(void)
{
    bool done = false;
    g_string_truncate(trace, 0);
    co_enter(loop, body_outer, &done);
    g_assert_true(done);
    g_assert_cmpstr(trace->str, ==, "in out again end ");
}

/* Locals, callee-saved registers and deep frames survive switches; many stacks at once. */
typedef struct Deep {
    unsigned seed, sum, want;
    unsigned *left;
} Deep;

static __attribute__((noinline)) unsigned recurse(unsigned depth, unsigned x)
{
    volatile uint8_t frame[512];
    memset((void *)frame, (int)x, sizeof(frame));
    unsigned sum = x;
    if (depth % 8 == 0) {
        co_wake(co_self());
        co_yield();
    }
    if (depth) {
        sum += recurse(depth - 1, x * 3 + 1);
    }
    for (unsigned i = 0; i < sizeof(frame); i++) {
        g_assert_cmpuint(frame[i], ==, (uint8_t)x);
    }
    return sum;
}

static unsigned expected(unsigned depth, unsigned x)
{
    return x + (depth ? expected(depth - 1, x * 3 + 1) : 0);
}

static void body_deep(void *opaque)
{
    Deep *d = opaque;
    d->sum = recurse(64, d->seed);
    --*d->left;
}

static void test_many(void)
{
    enum { N = 200 };
    unsigned left = N;
    Deep d[N];
    for (unsigned i = 0; i < N; i++) {
        d[i] = (Deep){ .seed = i, .want = expected(64, i), .left = &left };
        co_start(loop, body_deep, &d[i]);
    }
    while (left) {
        loop_turn(loop, true);
    }
    for (unsigned i = 0; i < N; i++) {
        g_assert_cmpuint(d[i].sum, ==, d[i].want);
    }
}

/* Wakes from other threads, before and after the yield. */
typedef struct Ping {
    Co *co;
    unsigned go; /* atomic */
    bool done;
} Ping;

static void *waker(void *opaque)
{
    Ping *p = opaque;
    for (unsigned i = 1; i <= 2000; i++) {
        while (__atomic_load_n(&p->go, __ATOMIC_ACQUIRE) != i) {
            sched_yield();
        }
        co_wake(p->co);
    }
    return NULL;
}

static void body_ping(void *opaque)
{
    Ping *p = opaque;
    pthread_t t;
    p->co = co_self();
    g_assert_cmpint(pthread_create(&t, NULL, waker, p), ==, 0);
    for (unsigned i = 1; i <= 2000; i++) {
        __atomic_store_n(&p->go, i, __ATOMIC_RELEASE);
        co_yield();
    }
    pthread_join(t, NULL);
    p->done = true;
}

static void test_threads(void)
{
    Ping p = { 0 };
    co_start(loop, body_ping, &p);
    turn_until(&p.done);
}

static CoMutex mutex;
static unsigned inside, counter;

static void body_mutex(void *opaque)
{
    for (int i = 0; i < 50; i++) {
        co_mutex_lock(&mutex);
        g_assert_cmpuint(__atomic_fetch_add(&inside, 1, __ATOMIC_RELAXED), ==, 0);
        counter++;
        if (i % 3 == 0) {
            co_wake(co_self());
            co_yield();
        }
        __atomic_fetch_sub(&inside, 1, __ATOMIC_RELAXED);
        co_mutex_unlock(&mutex);
    }
    if (opaque) {
        __atomic_fetch_sub((unsigned *)opaque, 1, __ATOMIC_RELEASE);
    }
}

typedef struct Side {
    Loop *loop;
    unsigned left;
} Side;

static void *side_main(void *opaque)
{
    Side *s = opaque;
    for (int i = 0; i < 8; i++) {
        co_start(s->loop, body_mutex, &s->left);
    }
    while (__atomic_load_n(&s->left, __ATOMIC_ACQUIRE)) {
        loop_turn(s->loop, true);
    }
    return NULL;
}

/* Two threads, sixteen coroutines, one mutex. */
static void test_mutex(void)
{
    co_mutex_init(&mutex);
    counter = 0;
    Side a = { loop_new("a"), 8 }, b = { loop, 8 };
    pthread_t t;
    g_assert_cmpint(pthread_create(&t, NULL, side_main, &a), ==, 0);
    side_main(&b);
    pthread_join(t, NULL);
    g_assert_cmpuint(counter, ==, 16 * 50);
    co_mutex_fini(&mutex);
    loop_free(a.loop);
}

static CoRangeLock ranges;
static uint8_t claimed[64]; /* 255: exclusively, else the number of shared claims */
static unsigned range_left;

static void body_range(void *opaque)
{
    for (int i = 0; i < 100; i++) {
        CoRange r;
        int start = g_random_int_range(0, 64), end = g_random_int_range(start, 64) + 1;
        bool exclusive = g_random_int_range(0, 3) == 0;
        co_range_claim(&ranges, &r, start, end, exclusive);
        for (int k = start; k < end; k++) {
            g_assert_cmpuint(claimed[k], !=, 255);
            g_assert_true(!exclusive || claimed[k] == 0);
            claimed[k] = exclusive ? 255 : claimed[k] + 1;
        }
        co_wake(co_self());
        co_yield();
        for (int k = start; k < end; k++) {
            claimed[k] = exclusive ? 0 : claimed[k] - 1;
        }
        co_range_release(&ranges, &r);
    }
    range_left--;
}

static void test_ranges(void)
{
    co_range_init(&ranges);
    range_left = 30;
    for (int i = 0; i < 30; i++) {
        co_start(loop, body_range, NULL);
    }
    while (range_left) {
        loop_turn(loop, true);
    }
    co_range_fini(&ranges);
}

static void body_sync(void *opaque)
{
    co_wake(co_self());
    co_yield();
    *(int *)opaque = 42;
}

static void test_sync(void)
{
    int x = 0;
    co_run_sync(loop, body_sync, &x);
    g_assert_cmpint(x, ==, 42);
}

static __attribute__((noinline)) int overflow(int n)
{
    volatile char pad[4096];
    pad[0] = (char)n;
    return n > 100000 ? 0 : overflow(n + 1) + pad[0];
}

static void body_overflow(void *opaque)
{
    overflow(0);
}

/* The guard page ends the process before the neighbour's memory is hit. */
static void test_guard(void)
{
    pid_t pid = fork();
    if (pid == 0) {
        close(STDERR_FILENO);
        co_enter(loop, body_overflow, NULL);
        _exit(0);
    }
    int status;
    waitpid(pid, &status, 0);
    g_assert_true(WIFSIGNALED(status) || WEXITSTATUS(status) != 0);
}

static int run_all(const char *way)
{
    static const struct {
        const char *name;
        void (*fn)(void);
    } tests[] = {
        { "order", test_order },     { "nested", test_nested }, { "many", test_many },
        { "threads", test_threads }, { "mutex", test_mutex },   { "ranges", test_ranges },
        { "sync", test_sync },       { "guard", test_guard },
    };
    for (unsigned i = 0; i < G_N_ELEMENTS(tests); i++) {
        g_autofree char *path = g_strdup_printf("/co/%s/%s", way, tests[i].name);
        g_test_add_func(path, tests[i].fn);
    }
    return g_test_run();
}

/* Each way to switch in a process of its own: it is chosen once. */
int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    role_become_main();
    const char *way = g_getenv("RHEA_TEST_SWITCH");
    co_force_switch(way);
    loop = loop_new("test");
    trace = g_string_new(NULL);
    int status = run_all(co_switch_name());
    g_string_free(trace, TRUE);
    loop_free(loop);
    return status;
}
