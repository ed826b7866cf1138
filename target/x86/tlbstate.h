/* SPDX-License-Identifier: MIT
 * target/x86/tlbstate.h - what stands behind the first-level TLB of X86Cpu: which of its entries are in use, the
 * second level, paging-structure caches, and the numbers that say which of all that is still true.
 * Models: SDM vol. 3 4.10.1 (PCIDs), 4.10.2 (TLBs), 4.10.3 (paging-structure caches).
 * Does not model: memory types.
 *
 * Epochs: every flush of a context takes a new number from `serial`; an entry holds while its number is the one
 * of its context. A PCID's own number counts when it is above the floor, which a flush of all PCIDs raises; so
 * no flush has to visit entries. Jump-cache generations (gen) follow the same scheme.
 * Threads: the vCPU's thread.
 */
#ifndef TARGET_X86_TLBSTATE_H
#define TARGET_X86_TLBSTATE_H

#include "rhea/accel/tlb.h"

enum {
    L2_SETS = 2048, L2_WAYS = 4, /* 4 KiB pages */
    BIG_SETS = 64,               /* pages above 4 KiB, in pieces of 2 MiB */
    PDE_SLOTS = 64, PDPTE_SLOTS = 16,
    PCIDS = 4096,
    USED_WORDS = TLB_SIZE / 64,
    FETCHED_BITS = 1 << 16,
    FILTER_BITS = 4096,
};
_Static_assert(USED_WORDS >= 1 && USED_WORDS <= 64, "TlbState.some has a bit for each word of used[]");

/* key: page number << 12 | PCID. val: frame, 4.6's rights, size; paging-structure caches: table and rights. */
typedef struct MmuEntry { uint64_t key, val, epoch; } MmuEntry;
enum { MAP_W = 1, MAP_U = 2, MAP_NX = 4, MAP_G = 8, MAP_D = 16, MAP_SIZE_SHIFT = 5, MAP_KEY_SHIFT = 59 };
#define MAP_FRAME 0x000ffffffffff000ull

typedef struct PcidState {
    uint64_t epoch, psc; /* of its TLB entries; of its paging-structure entries */
    uint32_t gen[2];     /* jump cache: supervisor, user */
} PcidState;

typedef struct TlbState {
    uint32_t drops;                      /* counts everything that drops first-level entries */
    /* first level */
    uint64_t some[TLB_MMUS];             /* bit w: used[][w] is not zero */
    uint64_t used[TLB_MMUS][USED_WORDS]; /* entries a flush must clear */
    uint64_t global[TLB_MMUS][USED_WORDS];
    uint64_t written[FILTER_BITS / 64];  /* by hash of host page: some entry may have a write tag for it */
    /* Large pages since the last flush of everything, by hash: 2 MiB; 4 MiB and 1 GiB by GiB. */
    uint64_t big2m[FILTER_BITS / 64], big1g;
    /* contexts */
    unsigned pcid;
    uint64_t serial, floor, psc_floor;
    uint64_t epoch, psc_epoch, global_epoch; /* of the current PCID; of global entries */
    PcidState pcids[PCIDS];
    /* jump cache */
    uint32_t gen_serial, gen_floor, gen[2];
    bool fetched_local;                  /* supervisor code came from pages that are not global */
    uint64_t fetched_1g;                 /* code came from pages above 2 MiB, by GiB */
    uint64_t fetched[FETCHED_BITS / 64], fetched_2m[FILTER_BITS / 64]; /* by hash of page, of 2 MiB region: code was fetched there */
    /* second level and paging-structure caches */
    unsigned victim;
    MmuEntry small[L2_SETS][L2_WAYS], big[BIG_SETS][L2_WAYS];
    MmuEntry pde[PDE_SLOTS], pdpte[PDPTE_SLOTS];
} TlbState;

static inline uint64_t *tlb_bit(uint64_t *map, unsigned bits, uint64_t n, uint64_t *bit)
{
    unsigned at = (unsigned)(n * 0x9e3779b97f4a7c15u >> 40) & (bits - 1);
    *bit = 1ull << (at & 63);
    return &map[at / 64];
}
static inline void tlb_filter_add(uint64_t *map, unsigned bits, uint64_t n)
{
    uint64_t bit, *word = tlb_bit(map, bits, n, &bit);
    *word |= bit;
}
static inline bool tlb_filter_has(uint64_t *map, unsigned bits, uint64_t n)
{
    uint64_t bit;
    return *tlb_bit(map, bits, n, &bit) & bit;
}

/* mmucache.c. For the current PCID; false: nothing is known. */
bool l2_find(const TlbState *s, uint64_t lin, uint64_t *val);
void l2_add(TlbState *s, uint64_t lin, uint64_t val);
void l2_drop_page(TlbState *s, uint64_t lin, unsigned pcid);
static inline uint64_t map_size(uint64_t val)
{
    static const uint8_t shift[] = { 12, 21, 22, 30 };
    return 1ull << shift[val >> MAP_SIZE_SHIFT & 3];
}
/* The table that a PDE or PDPTE of the current PCID refers to, with the rights down to there. */
bool psc_find(const TlbState *s, uint64_t lin, bool pdpte, uint64_t *val);
void psc_add(TlbState *s, uint64_t lin, bool pdpte, uint64_t val);
/* Second level and paging-structure caches. */
void ctx_init(TlbState *s);
void ctx_load(TlbState *s, unsigned pcid);       /* makes it the current one */
void ctx_flush_pcid(TlbState *s, unsigned pcid); /* all but global entries */
void ctx_flush_psc(TlbState *s, unsigned pcid);
void ctx_flush_all(TlbState *s, bool keep_global);

#endif
