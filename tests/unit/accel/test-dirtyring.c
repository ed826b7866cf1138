/* SPDX-License-Identifier: MIT
 * tests/unit/accel/test-dirtyring.c - rings of dirty pages in memory of the test's own, which plays the
 * kernel: what is harvested, in which order, where it ends, a ring that overran, and with a thread that
 * fills while another empties.
 * Tests: accel/kvm/dirtyring.c (kvm_ring_harvest; what needs /dev/kvm is in tests/cpu/test-kvm-machine.c).
 * Threads: main, and one that fills.
 */
#include "accel/kvm/kvm_internal.h"

enum { ENTRIES = 256 };

typedef struct Fixture {
    struct kvm_dirty_gfn gfns[ENTRIES];
    KvmDirtyRing ring;
    uint32_t dirty, reset; /* the kernel's: the entry it fills next, the one it takes back next */
    GArray *seen;          /* of uint64_t: slot << 32 | page */
} Fixture;

static void set_up(Fixture *f)
{
    *f = (Fixture){ .seen = g_array_new(FALSE, FALSE, sizeof(uint64_t)) };
    f->ring = (KvmDirtyRing){ .gfns = f->gfns, .entries = ENTRIES };
}

static void see(void *opaque, uint32_t slot, uint64_t page)
{
    uint64_t v = (uint64_t)slot << 32 | page;
    g_array_append_val((GArray *)opaque, v);
}

static unsigned harvest(Fixture *f)
{
    KvmHarvest h = kvm_ring_harvest(&f->ring, see, f->seen);
    g_assert_cmpuint(h.marked, >=, h.pages);
    return h.pages;
}

/* What the kernel does: the fields, then the flag. */
static void kernel_push(Fixture *f, uint32_t slot, uint64_t page)
{
    struct kvm_dirty_gfn *e = &f->gfns[f->dirty++ % ENTRIES];
    g_assert_cmpuint(__atomic_load_n(&e->flags, __ATOMIC_ACQUIRE), ==, 0);
    e->slot = slot;
    e->offset = page;
    __atomic_store_n(&e->flags, KVM_DIRTY_GFN_F_DIRTY, __ATOMIC_RELEASE);
}

/* KVM_RESET_DIRTY_RINGS. */
static unsigned kernel_reset(Fixture *f)
{
    unsigned n = 0;
    for (; __atomic_load_n(&f->gfns[f->reset % ENTRIES].flags, __ATOMIC_ACQUIRE) & KVM_DIRTY_GFN_F_RESET;
         n++) {
        __atomic_store_n(&f->gfns[f->reset++ % ENTRIES].flags, 0, __ATOMIC_RELEASE);
    }
    f->ring.next += n;
    return n;
}

static void test_order(void)
{
    Fixture f;
    set_up(&f);
    g_assert_cmpuint(harvest(&f), ==, 0);
    for (unsigned i = 0; i < 3; i++) {
        kernel_push(&f, i, 100 + i);
    }
    f.gfns[4].flags = KVM_DIRTY_GFN_F_DIRTY; /* behind a gap: not its turn */
    g_assert_cmpuint(harvest(&f), ==, 3);
    g_assert_cmpuint(f.seen->len, ==, 3);
    for (unsigned i = 0; i < 3; i++) {
        g_assert_cmphex(g_array_index(f.seen, uint64_t, i), ==, (uint64_t)i << 32 | (100 + i));
        g_assert_cmpuint(f.gfns[i].flags & KVM_DIRTY_GFN_F_RESET, !=, 0);
    }
    g_assert_cmpuint(f.gfns[3].flags, ==, 0);
    g_assert_cmpuint(harvest(&f), ==, 0); /* harvested once only */
    g_assert_cmpuint(kernel_reset(&f), ==, 3);
    /* A reset that ended early: what is left is not told again, and goes back with what follows. */
    kernel_push(&f, 0, 103);
    f.gfns[4].flags = 0;
    g_assert_cmpuint(harvest(&f), ==, 1);
    kernel_push(&f, 0, 104);
    g_assert_cmpuint(harvest(&f), ==, 1);
    g_assert_cmpuint(kernel_reset(&f), ==, 2);
    g_assert_cmpuint(f.ring.next, ==, f.dirty);
    g_array_unref(f.seen);
}

/* Around the end, also of the counter. */
static void test_wrap(void)
{
    Fixture f;
    set_up(&f);
    f.dirty = f.reset = f.ring.next = UINT32_MAX - ENTRIES - 10;
    uint64_t page = 0, seen = 0;
    for (unsigned turn = 0; turn < 12; turn++) {
        unsigned n = turn % 3 == 0 ? ENTRIES - 1 : turn % 3 == 1 ? 1 : 77;
        for (unsigned i = 0; i < n; i++) {
            kernel_push(&f, 0, page++);
        }
        g_assert_cmpuint(harvest(&f), ==, n);
        g_assert_cmpuint(harvest(&f), ==, 0);
        g_assert_cmpuint(kernel_reset(&f), ==, n);
    }
    g_assert_cmpuint(f.seen->len, ==, page);
    for (; seen < page; seen++) {
        g_assert_cmpuint(g_array_index(f.seen, uint64_t, seen), ==, seen);
    }
    g_assert_cmpuint(f.ring.next, <, 1 << 20); /* it passed the end of 32 bits */
    g_array_unref(f.seen);
}

static void test_none(void)
{
    KvmDirtyRing none = { 0 };
    g_assert_cmpuint(kvm_ring_harvest(&none, see, NULL).pages, ==, 0);
}

/* A kernel that goes on filling beyond the end: bursts of random length, and between two of them what the
 * accelerator does. No page may be missing unless an overrun was told; and the ring comes to work again. */
static void overfill(Fixture *f, unsigned n, uint64_t *page)
{
    for (unsigned i = 0; i < n; i++) {
        struct kvm_dirty_gfn *e = &f->gfns[f->dirty++ % ENTRIES];
        *e = (struct kvm_dirty_gfn){ .flags = KVM_DIRTY_GFN_F_DIRTY, .slot = 0, .offset = (*page)++ };
    }
}

static void test_overrun(void)
{
    enum { SOFT = ENTRIES - 64 };
    g_autoptr(GRand) rand = g_rand_new_with_seed(5);
    Fixture f;
    set_up(&f);
    uint64_t page = 0;
    unsigned overruns = 0, exact = 0;
    for (unsigned turn = 0; turn < 20000; turn++) {
        unsigned kind = (unsigned)g_rand_int_range(rand, 0, 20), tries = 0;
        unsigned n = kind == 0 ? (unsigned)g_rand_int_range(rand, 0, 4 * ENTRIES)
                               : (unsigned)g_rand_int_range(rand, 0, 40);
        uint64_t first = page;
        overfill(&f, n, &page);
        g_array_set_size(f.seen, 0);
        KvmHarvest h = kvm_ring_harvest(&f.ring, see, f.seen);
        unsigned back = kernel_reset(&f);
        g_assert_cmpuint(back, ==, h.marked);
        overruns += h.overrun;
        if (!h.overrun) { /* all of this burst; behind an overrun older ones may come with it */
            unsigned found = 0;
            for (guint i = 0; i < f.seen->len; i++) {
                found += g_array_index(f.seen, uint64_t, i) >= first;
            }
            g_assert_cmpuint(found, ==, n);
            exact += f.seen->len == n;
        }
        /* The guest may run when this is over: until then each try is an exit. */
        while (f.dirty - f.reset >= SOFT) {
            g_assert_cmpuint(++tries, <, 8 * ENTRIES);
            kvm_ring_unstick(&f.ring);
            g_assert_cmpuint(kernel_reset(&f), ==, 1);
        }
        g_assert_cmpuint(f.dirty - f.reset, <, ENTRIES);
    }
    g_test_message("%u overruns, %u exact of 20000", overruns, exact);
    g_assert_cmpuint(overruns, >, 500);
    g_assert_cmpuint(exact, >, 15000);
    g_array_unref(f.seen);
}

enum { PAGES = 200000 };

static void *kernel_thread(void *opaque)
{
    Fixture *f = opaque;
    for (uint64_t page = 0; page < PAGES;) {
        if (__atomic_load_n(&f->gfns[(f->dirty + 63) % ENTRIES].flags, __ATOMIC_ACQUIRE) ==
            0) { /* soft limit */
            kernel_push(f, 1, page++);
        } else {
            g_usleep(1); /* full */
        }
    }
    return NULL;
}

static void test_race(void)
{
    Fixture f;
    pthread_t t;
    set_up(&f);
    g_assert_cmpint(pthread_create(&t, NULL, kernel_thread, &f), ==, 0);
    for (unsigned n = 0; n < PAGES;) {
        unsigned got = harvest(&f);
        n += got;
        g_assert_cmpuint(kernel_reset(&f), ==, got);
        if (!got) {
            g_usleep(1);
        }
    }
    pthread_join(t, NULL);
    g_assert_cmpuint(f.seen->len, ==, PAGES);
    for (uint64_t i = 0; i < PAGES; i++) {
        g_assert_cmphex(g_array_index(f.seen, uint64_t, i), ==, UINT64_C(1) << 32 | i);
    }
    g_array_unref(f.seen);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/accel/dirtyring/order", test_order);
    g_test_add_func("/accel/dirtyring/wrap", test_wrap);
    g_test_add_func("/accel/dirtyring/none", test_none);
    g_test_add_func("/accel/dirtyring/overrun", test_overrun);
    g_test_add_func("/accel/dirtyring/race", test_race);
    return g_test_run();
}
