/* SPDX-License-Identifier: MIT
 * rhea/util/fifo8.h - a byte queue of fixed capacity. Not locked: the owner's lock applies.
 */
#ifndef RHEA_UTIL_FIFO8_H
#define RHEA_UTIL_FIFO8_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct Fifo8 {
    uint8_t *data;
    uint32_t capacity, head, used;
} Fifo8;

void fifo8_init(Fifo8 *f, uint32_t capacity);
void fifo8_fini(Fifo8 *f);
void fifo8_clear(Fifo8 *f);
bool fifo8_push(Fifo8 *f, uint8_t byte);              /* false: full, the byte is dropped */
uint8_t fifo8_pop_or(Fifo8 *f, uint8_t if_empty);
uint8_t fifo8_peek_or(const Fifo8 *f, uint32_t index, uint8_t if_absent);
static inline uint32_t fifo8_used(const Fifo8 *f) { return f->used; }
static inline uint32_t fifo8_room(const Fifo8 *f) { return f->capacity - f->used; }

#endif
