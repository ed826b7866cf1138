/* SPDX-License-Identifier: MIT
 * rhea/accel/tlb.h - the software TLB that interpreted and translated code look up inline.
 *
 * Direct-mapped, one table per MMU index (kernel, user, ...: the target says). A tag is the page's
 * linear address with flag bits in the low 12 bits that no lookup has, so that an entry which needs the
 * slow path never matches. Owned by the vCPU's thread; other threads ask it to flush.
 */
#ifndef RHEA_ACCEL_TLB_H
#define RHEA_ACCEL_TLB_H

#include "rhea/system/memory.h"

enum { TLB_BITS = 12, TLB_SIZE = 1 << TLB_BITS, TLB_MMUS = 3 };
#define TLB_PAGE_MASK ((uint64_t)-4096)
#define TLB_NO_TAG    ((uint64_t)-1)
/* Beyond the bits in which an aligned access's address is 0 (up to 64 bytes): translated code compares those
 * of a misaligned one with the tag as well, and they must differ from every tag. */
enum {
    TLB_SLOW_IO = 1 << 8,     /* not RAM (or ROM for writes): dispatch through the range */
    TLB_SLOW_WATCH = 1 << 9,  /* a write must be reported: code page, dirty tracking */
    TLB_SLOW_CHECK = 1 << 10, /* a data breakpoint lies in the page */
    TLB_SLOW = TLB_SLOW_IO | TLB_SLOW_WATCH | TLB_SLOW_CHECK,
};

typedef struct TlbEntry {
    uint64_t rtag, wtag, xtag; /* page address | TLB_SLOW_*; TLB_NO_TAG: no such access */
    uintptr_t delta;           /* host address = linear + delta */
} TlbEntry;
typedef struct TlbAux { /* for the slow paths; same index */
    hwaddr phys;            /* page frame */
    const FlatRange *range; /* inside the view the table was filled from */
    uint64_t page_size;     /* of the guest mapping: 4 KiB, 2 MiB, 4 MiB, 1 GiB */
    bool global;
} TlbAux;
/* A power-of-two region of linear addresses behind which RAM is contiguous. An access of up to 64 bytes at
 * A is inside when (A ^ base) < lim, unsigned: lim is the size - 63. An empty window has lim 0: nothing is
 * below it. (With <= there is no empty window: a program can form any 64-bit address, canonical or not.) */
typedef struct TlbWindow { uint64_t base, lim, delta; } TlbWindow;
enum { TLB_WINDOWS = 32 };
typedef struct Tlb {
    TlbEntry e[TLB_MMUS][TLB_SIZE];
    TlbAux aux[TLB_MMUS][TLB_SIZE];
    /* For entries of readable RAM: -size of the region around the page, a power of two, whose addresses all
     * have the entry's delta: what a load window may cover. */
    uint64_t span[TLB_MMUS][TLB_SIZE];
} Tlb;

static inline unsigned tlb_index(uint64_t lin) { return (lin >> 12) & (TLB_SIZE - 1); }
/* An access of n bytes that starts and ends in the page, with no slow bit, hits. */
static inline bool tlb_hit(uint64_t tag, uint64_t lin, unsigned n)
{
    return G_LIKELY(tag == ((lin + n - 1) & TLB_PAGE_MASK));
}

#endif
