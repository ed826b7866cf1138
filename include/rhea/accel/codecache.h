/* SPDX-License-Identifier: MIT
 * rhea/accel/codecache.h - memory for translated code: one anonymous file mapped twice, once writable and
 * once executable, never both (W^X). Cut into segments that are filled one after the other; the owner
 * empties a segment before it fills it again.
 * A segment has an area for hot code and one for cold code (exits, slow paths)
 * and their records, so that the host's instruction cache holds what runs.
 * Threads: a cache belongs to one vCPU's thread.
 */
#ifndef RHEA_ACCEL_CODECACHE_H
#define RHEA_ACCEL_CODECACHE_H

#include "rhea/util/error.h"
#include <stddef.h>
#include <stdint.h>

enum { CODE_SEGMENTS = 16 };

typedef struct CodeCache {
    uint8_t *rw, *rx;
    size_t size, segment_size, reserve;
    uint8_t *fixed;          /* writable address of `reserve` bytes that no segment contains */
    unsigned segment;        /* being filled */
    uint8_t *hot, *hot_end, *cold, *cold_end; /* free space, as writable addresses */
    ptrdiff_t rx_off;        /* executable address = writable address + rx_off */
} CodeCache;

/* size, reserve: bytes, rounded up to whole pages. False: no memory, or no executable mappings. */
bool codecache_init(CodeCache *c, size_t size, size_t reserve, Error **errp);
void codecache_fini(CodeCache *c);
/* Starts filling segment n from its beginning; what was there is overwritten. */
void codecache_start_segment(CodeCache *c, unsigned n);
static inline unsigned codecache_segment_of(const CodeCache *c, const void *rx)
{
    return (unsigned)((size_t)((const uint8_t *)rx - c->rx) / c->segment_size);
}

#endif
