/* SPDX-License-Identifier: MIT
 * backends/char/ring.c - a byte ring with bulk operations.
 * Models: nothing. Threads: the owner's lock applies.
 */
#include "char_internal.h"
#include <string.h>

void ring_init(ByteRing *r, uint32_t cap)
{
    *r = (ByteRing){ .data = g_malloc(cap), .cap = cap };
}

void ring_fini(ByteRing *r)
{
    g_free(r->data);
    *r = (ByteRing){ 0 };
}

size_t ring_push(ByteRing *r, const uint8_t *buf, size_t len)
{
    size_t n = MIN(len, ring_room(r));
    uint32_t tail = (r->head + r->used) % r->cap;
    size_t first = MIN(n, r->cap - tail);
    memcpy(r->data + tail, buf, first);
    memcpy(r->data, buf + first, n - first);
    r->used += n;
    return n;
}

size_t ring_peek(const ByteRing *r, uint32_t skip, uint8_t *buf, size_t len)
{
    if (skip >= r->used) {
        return 0;
    }
    size_t n = MIN(len, r->used - skip);
    uint32_t from = (r->head + skip) % r->cap;
    size_t first = MIN(n, r->cap - from);
    memcpy(buf, r->data + from, first);
    memcpy(buf + first, r->data, n - first);
    return n;
}

void ring_drop(ByteRing *r, size_t len)
{
    size_t n = MIN(len, r->used);
    r->head = (r->head + n) % r->cap;
    r->used -= n;
}
