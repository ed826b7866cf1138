/* SPDX-License-Identifier: MIT
 * tests/device/virtring.c - see virtring.h.
 */
#include "tests/device/virtring.h"

static void put(Machine *m, hwaddr at, unsigned n, uint64_t v)
{
    as_store(&m->as_mem, at, n, v, MEM_ATTRS_NONE);
}

void ring_set_desc(Machine *m, hwaddr table, unsigned i, uint64_t addr, uint32_t len, unsigned flags,
                   unsigned next)
{
    put(m, table + 16 * i, 8, addr);
    put(m, table + 16 * i + 8, 4, len);
    put(m, table + 16 * i + 12, 2, flags);
    put(m, table + 16 * i + 14, 2, next);
}

void ring_set_request(Machine *m, uint32_t type, uint64_t sector, uint32_t len, bool in)
{
    put(m, HEADER, 4, type);
    put(m, HEADER + 4, 4, 0);
    put(m, HEADER + 8, 8, sector);
    put(m, STATUS, 1, 0xee);
    ring_set_desc(m, DESC, 0, HEADER, 16, NEXT, len ? 1 : 2);
    ring_set_desc(m, DESC, 1, DATA, len, NEXT | (in ? WRITE : 0), 2);
    ring_set_desc(m, DESC, 2, STATUS, 1, WRITE, 0);
}

void ring_offer(Machine *m, uint16_t *avail, unsigned head)
{
    put(m, AVAIL + 4 + 2 * (*avail % SIZE), 2, head);
    put(m, AVAIL + 2, 2, ++*avail);
}

unsigned ring_used(Machine *m)
{
    uint64_t v = 0;
    as_load(&m->as_mem, USED + 2, 2, &v, MEM_ATTRS_NONE);
    return (unsigned)v;
}

void ring_wait_used(Machine *m, unsigned idx)
{
    gint64 end = g_get_monotonic_time() + 20 * G_USEC_PER_SEC;
    while (ring_used(m) != (idx & 0xffff) && g_get_monotonic_time() < end) {
        loop_turn(m->loop, false);
    }
    g_assert_cmpuint(ring_used(m), ==, idx & 0xffff);
}
