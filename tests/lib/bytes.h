/* SPDX-License-Identifier: MIT
 * tests/lib/bytes.h - reads what a hostile driver does from a row of bytes: a fuzzer's input, or random ones.
 * Behind the end there are zeros.
 */
#ifndef TESTS_LIB_BYTES_H
#define TESTS_LIB_BYTES_H

#include <glib.h>
#include <string.h>

typedef struct Bytes {
    const uint8_t *p;
    size_t left;
} Bytes;

static inline void bytes_read(Bytes *b, void *out, size_t n)
{
    size_t have = MIN(n, b->left);
    memcpy(out, b->p, have);
    memset((uint8_t *)out + have, 0, n - have);
    b->p += have;
    b->left -= have;
}

static inline uint64_t bytes_le(Bytes *b, unsigned n)
{
    uint8_t raw[8] = { 0 };
    uint64_t v = 0;
    bytes_read(b, raw, n);
    for (unsigned i = n; i-- > 0;) {
        v = v << 8 | raw[i];
    }
    return v;
}

static inline uint8_t bytes_u8(Bytes *b)
{
    return (uint8_t)bytes_le(b, 1);
}

static inline uint16_t bytes_u16(Bytes *b)
{
    return (uint16_t)bytes_le(b, 2);
}

static inline uint32_t bytes_u32(Bytes *b)
{
    return (uint32_t)bytes_le(b, 4);
}

/* Mostly a number below 2048, now and then any 16 or 32 bits: lengths. */
static inline uint32_t bytes_length(Bytes *b)
{
    uint8_t kind = bytes_u8(b);
    return kind < 240 ? bytes_u16(b) & 0x7ff : kind < 250 ? bytes_u16(b) : bytes_u32(b);
}

#endif
