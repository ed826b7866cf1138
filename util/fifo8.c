/* SPDX-License-Identifier: MIT
 * util/fifo8.c - a byte queue of fixed capacity.
 *
 * `head` is the index of the oldest byte; bytes sit at (head + i) mod capacity. A loaded state may hold
 * any head and used that vmstate's ranges let through, so indexes are reduced on every use.
 * Threads: not locked, the owner's lock applies.
 */
#include "rhea/util/fifo8.h"

#include <glib.h>

void fifo8_init(Fifo8 *f, uint32_t capacity)
{
    *f = (Fifo8){ .data = g_malloc0(capacity), .capacity = capacity };
}

void fifo8_fini(Fifo8 *f)
{
    g_free(f->data);
    *f = (Fifo8){ 0 };
}

void fifo8_clear(Fifo8 *f)
{
    f->head = 0;
    f->used = 0;
}

bool fifo8_push(Fifo8 *f, uint8_t byte)
{
    if (f->used >= f->capacity) {
        return false;
    }
    f->data[((uint64_t)f->head + f->used) % f->capacity] = byte;
    f->used++;
    return true;
}

uint8_t fifo8_pop_or(Fifo8 *f, uint8_t if_empty)
{
    if (!f->used || !f->capacity) {
        return if_empty;
    }
    uint8_t byte = f->data[f->head % f->capacity];
    f->head = (f->head + 1) % f->capacity;
    f->used--;
    return byte;
}

uint8_t fifo8_peek_or(const Fifo8 *f, uint32_t index, uint8_t if_absent)
{
    if (index >= f->used || !f->capacity) {
        return if_absent;
    }
    return f->data[((uint64_t)f->head + index) % f->capacity];
}
