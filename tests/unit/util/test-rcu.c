/* SPDX-License-Identifier: MIT
 * tests/unit/util/test-rcu.c - grace periods: alone, and under readers and writers that race.
 */
#include "rhea/util/rcu.h"

#include <stdbool.h>
#include <stdint.h>

static void count_up(void *opaque)
{
    __atomic_add_fetch((unsigned *)opaque, 1, __ATOMIC_RELAXED);
}

static unsigned count_get(unsigned *p)
{
    return __atomic_load_n(p, __ATOMIC_RELAXED);
}

static void test_barrier(void)
{
    unsigned n = 0;
    for (int i = 0; i < 100; i++) {
        rcu_defer(count_up, &n);
    }
    rcu_barrier();
    g_assert_cmpuint(count_get(&n), ==, 100);
}

/* What this thread could have seen stays until it leaves. */
static void test_section(void)
{
    unsigned n = 0;
    rcu_read_lock();
    rcu_read_lock();
    rcu_defer(count_up, &n);
    g_usleep(20000);
    g_assert_cmpuint(count_get(&n), ==, 0);
    rcu_read_unlock();
    rcu_quiescent();
    for (int i = 0; i < 30000 && !count_get(&n); i++) {
        g_usleep(1000);
        rcu_quiescent(); /* a quiescent state releases it inside the section */
    }
    g_assert_cmpuint(count_get(&n), ==, 1);

    rcu_read_lock(); /* nested: quiescent announces nothing */
    rcu_defer(count_up, &n);
    rcu_quiescent();
    g_usleep(20000);
    rcu_quiescent();
    g_assert_cmpuint(count_get(&n), ==, 1);
    rcu_read_unlock();
    rcu_read_unlock();
    rcu_barrier();
    g_assert_cmpuint(count_get(&n), ==, 2);
}

typedef struct Pair {
    uint64_t a, b;
} Pair;
static Pair *shared;
static bool stop;
static unsigned freed;

static void pair_free(void *opaque)
{
    Pair *p = opaque;
    p->a = 1; /* a reader that still holds it would see them differ */
    p->b = 2;
    g_free(p);
    count_up(&freed);
}

static gpointer reader_main(gpointer opaque)
{
    bool long_sections = GPOINTER_TO_INT(opaque);
    rcu_register_thread();
    if (long_sections) {
        rcu_read_lock();
    }
    while (!__atomic_load_n(&stop, __ATOMIC_RELAXED)) {
        for (int i = 0; i < 10; i++) {
            rcu_read_lock();
            Pair *p = rcu_get(&shared);
            g_assert_cmpuint(p->a, ==, p->b);
            g_assert_cmpuint(p->a, ==, rcu_get(&p->b));
            rcu_read_unlock();
        }
        if (long_sections) {
            rcu_quiescent(); /* the way vCPU threads do it */
        }
    }
    if (long_sections) {
        rcu_read_unlock();
    }
    rcu_unregister_thread();
    return NULL;
}

static gpointer writer_main(gpointer opaque)
{
    for (unsigned i = 0; i < 3000; i++) {
        Pair *p = g_new(Pair, 1);
        p->a = p->b = i + 10;
        Pair *old = __atomic_exchange_n(&shared, p, __ATOMIC_ACQ_REL);
        rcu_defer(pair_free, old);
    }
    return NULL;
}

static void test_stress(void)
{
    enum { READERS = 4, WRITERS = 2 };
    GThread *readers[READERS], *writers[WRITERS];
    shared = g_new(Pair, 1);
    shared->a = shared->b = 7;
    stop = false;
    freed = 0;
    for (int i = 0; i < READERS; i++) {
        readers[i] = g_thread_new("reader", reader_main, GINT_TO_POINTER(i & 1));
    }
    for (int i = 0; i < WRITERS; i++) {
        writers[i] = g_thread_new("writer", writer_main, NULL);
    }
    for (int i = 0; i < WRITERS; i++) {
        g_thread_join(writers[i]);
    }
    rcu_barrier();
    g_assert_cmpuint(count_get(&freed), ==, WRITERS * 3000);
    __atomic_store_n(&stop, true, __ATOMIC_RELAXED);
    for (int i = 0; i < READERS; i++) {
        g_thread_join(readers[i]);
    }
    g_free(shared);
}

static gpointer leaver_main(gpointer opaque)
{
    rcu_read_lock(); /* registers */
    rcu_read_unlock();
    return NULL; /* and does not unregister */
}

static void test_thread_exit(void)
{
    for (int i = 0; i < 50; i++) {
        g_thread_join(g_thread_new("leaver", leaver_main, NULL));
    }
    rcu_barrier(); /* walks the registry: a stale entry would be a use after free */
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/rcu/barrier", test_barrier);
    g_test_add_func("/rcu/section", test_section);
    g_test_add_func("/rcu/stress", test_stress);
    g_test_add_func("/rcu/thread-exit", test_thread_exit);
    return g_test_run();
}
