/* SPDX-License-Identifier: MIT
 * tests/unit/util/test-worker.c - the worker pool: results, limits, many loops.
 */
#include "rhea/util/worker.h"
#include <unistd.h>

typedef struct Job {
    WorkerPool *pool;
    int in, out;
    unsigned *left;
    unsigned *running, *peak;
} Job;

static int work(void *opaque)
{
    Job *j = opaque;
    unsigned n = __atomic_add_fetch(j->running, 1, __ATOMIC_SEQ_CST);
    unsigned peak = __atomic_load_n(j->peak, __ATOMIC_SEQ_CST);
    while (n > peak &&
           !__atomic_compare_exchange_n(j->peak, &peak, n, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST)) {
    }
    g_usleep(1000);
    __atomic_sub_fetch(j->running, 1, __ATOMIC_SEQ_CST);
    return j->in * 2;
}

static void body(void *opaque)
{
    Job *j = opaque;
    j->out = worker_run(j->pool, work, j);
    --*j->left;
}

static void run(unsigned max)
{
    enum { N = 100 };
    Loop *loop = loop_new("test");
    WorkerPool *pool = worker_pool_new(max);
    unsigned left = N, running = 0, peak = 0;
    Job jobs[N];
    for (int i = 0; i < N; i++) {
        jobs[i] = (Job){ pool, i, -1, &left, &running, &peak };
        co_start(loop, body, &jobs[i]);
    }
    while (left) {
        loop_turn(loop, true);
    }
    for (int i = 0; i < N; i++) {
        g_assert_cmpint(jobs[i].out, ==, i * 2);
    }
    g_assert_cmpuint(peak, <=, max);
    g_assert_true(max == 1 || peak > 1);
    worker_pool_free(pool);
    loop_free(loop);
}

static void test_one(void) { run(1); }
static void test_some(void) { run(8); }

static void test_idle(void)
{
    worker_pool_free(worker_pool_new(4));
    worker_pool_free(NULL);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/worker/one", test_one);
    g_test_add_func("/worker/some", test_some);
    g_test_add_func("/worker/idle", test_idle);
    return g_test_run();
}
