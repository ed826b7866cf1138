/* SPDX-License-Identifier: MIT
 * hw/virtio/balloon-pages.c - what becomes of pages that a guest gives away.
 *
 * Models: virtio 1.2, 5.5.6: between the inflate request and its acknowledgement their contents may go. Later
 *         on only with MUST_TELL_HOST: without it the driver may use a page again before it says so, and the
 *         host's page that it is a part of must not go any more.
 * Threads: the device's domain.
 */
#include "balloon-pages.h"
#include "rhea/system/ramdiscard.h"

#include <stdlib.h>

enum { WORD_BITS = 8 * sizeof(unsigned long) };

typedef struct Given { /* of one block */
    unsigned long *bits; /* by BALLOON_PAGE */
    uint32_t *parts;     /* how many bits, by pages of the host's */
} Given;

static void given_free(void *opaque)
{
    Given *g = opaque;
    g_free(g->bits);
    g_free(g->parts);
    g_free(g);
}

static void block_unref(void *ram)
{
    ram_unref(ram);
}

void balloon_pages_init(BalloonPages *p, Machine *m)
{
    *p = (BalloonPages){ .machine = m };
    p->blocks = g_hash_table_new_full(NULL, NULL, block_unref, given_free);
}

void balloon_pages_fini(BalloonPages *p)
{
    g_clear_pointer(&p->blocks, g_hash_table_destroy);
}

void balloon_pages_forget(BalloonPages *p)
{
    g_hash_table_remove_all(p->blocks);
}

/* ---- large pages of the host's ---- */

static Given *given_of(BalloonPages *p, RamBlock *ram)
{
    Given *g = g_hash_table_lookup(p->blocks, ram);
    if (!g) {
        g = g_new(Given, 1);
        g->bits = g_new0(unsigned long, ram->size / BALLOON_PAGE / WORD_BITS + 1);
        g->parts = g_new0(uint32_t, ram->size / ram->page);
        g_hash_table_insert(p->blocks, ram_ref(ram), g);
    }
    return g;
}

/* True: it was not so before. */
static bool given_put(Given *g, uint64_t i, bool on)
{
    unsigned long bit = 1ul << i % WORD_BITS, was = g->bits[i / WORD_BITS] & bit;
    g->bits[i / WORD_BITS] ^= !was == on ? bit : 0;
    return !was == on;
}

/* Of the host's pages in the range those go of which nothing is left to the guest. */
static void give_collected(BalloonPages *p, RamBlock *ram, uint64_t off, uint64_t len)
{
    Given *g = given_of(p, ram);
    uint64_t parts = ram->page / BALLOON_PAGE;
    for (uint64_t i = off / BALLOON_PAGE; i < (off + len) / BALLOON_PAGE; i++) {
        if (given_put(g, i, true) && ++g->parts[i / parts] == parts) {
            ram_discard(ram, i / parts * ram->page, ram->page);
        }
    }
}

/* ---- requests ---- */

uint64_t balloon_pages_free(RamBlock *ram, uint64_t off, uint64_t len)
{
    uint64_t from = (off + ram->page - 1) & ~(ram->page - 1), to = (off + len) & ~(ram->page - 1);
    return from < to && ram_discard(ram, from, to - from) == 0 ? to - from : 0;
}

static void give(BalloonPages *p, RamBlock *ram, uint64_t off, uint64_t len)
{
    if (p->collect && ram->page > BALLOON_PAGE) {
        give_collected(p, ram, off, len);
    } else {
        balloon_pages_free(ram, off, len);
    }
}

static void take(BalloonPages *p, RamBlock *ram, uint64_t off, uint64_t len)
{
    Given *g = g_hash_table_lookup(p->blocks, ram);
    for (uint64_t i = off / BALLOON_PAGE; g && i < (off + len) / BALLOON_PAGE; i++) {
        if (given_put(g, i, false)) {
            g->parts[i / (ram->page / BALLOON_PAGE)]--;
        }
    }
}

/* [at, at+len) of guest memory, by blocks. */
static void each_part(BalloonPages *p, Device *dev, hwaddr at, uint64_t len,
                      void (*fn)(BalloonPages *p, RamBlock *ram, uint64_t off, uint64_t len))
{
    while (len) {
        rcu_read_lock();
        const FlatRange *r = flatview_find(as_view(&p->machine->as_mem), at, NULL);
        uint64_t n = r ? MIN(len, r->size - (at - r->start)) : BALLOON_PAGE;
        bool good = r && r->host && !r->readonly && n >= BALLOON_PAGE;
        uint64_t off = good ? r->ram_off + (at - r->start) : 0;
        RamBlock *ram = good ? ram_ref(r->ram) : NULL;
        rcu_read_unlock();
        good = good && off % BALLOON_PAGE == 0;
        n = good ? n - n % BALLOON_PAGE : BALLOON_PAGE;
        if (good) {
            fn(p, ram, off, n);
        } else {
            guest_error(dev, "virtio-balloon: the page at 0x%" G_GINT64_MODIFIER "x is no memory", at);
        }
        ram_unref(ram);
        at += n;
        len -= MIN(len, n);
    }
}

static int by_number(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

/* Neighbours become one range: the host is asked once for all of them. */
static void each_range(BalloonPages *p, Device *dev, uint32_t *pages, size_t n,
                       void (*fn)(BalloonPages *p, RamBlock *ram, uint64_t off, uint64_t len))
{
    qsort(pages, n, sizeof(*pages), by_number);
    for (size_t i = 0, end; i < n; i = end) {
        end = i + 1;
        while (end < n && pages[end] - pages[end - 1] <= 1) { /* 0: named twice */
            end++;
        }
        each_part(p, dev, (hwaddr)pages[i] * BALLOON_PAGE,
                  ((uint64_t)pages[end - 1] - pages[i] + 1) * BALLOON_PAGE, fn);
    }
}

void balloon_pages_give(BalloonPages *p, Device *dev, uint32_t *pages, size_t n)
{
    each_range(p, dev, pages, n, give);
}

void balloon_pages_take(BalloonPages *p, Device *dev, uint32_t *pages, size_t n)
{
    if (g_hash_table_size(p->blocks)) {
        each_range(p, dev, pages, n, take);
    }
}
