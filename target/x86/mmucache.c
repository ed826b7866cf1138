/* SPDX-License-Identifier: MIT
 * target/x86/mmucache.c - the second-level TLB, the paging-structure caches, and the contexts (PCIDs) they hold.
 * Models: SDM vol. 3 4.10.2.4 (global pages), 4.10.3 (PDE and PDPTE caches), 4.10.4.1 (what each operation drops).
 * Does not model: PML4E and PML5E caches: PDPTE entries stand in for them.
 * Threads: the vCPU's thread.
 */
#include "tlbstate.h"
#include <string.h>

static unsigned l2_set(uint64_t lin) { return (unsigned)(lin >> 12 ^ lin >> 23) & (L2_SETS - 1); }
static unsigned big_set(uint64_t lin) { return (unsigned)(lin >> 21 ^ lin >> 30) & (BIG_SETS - 1); }
#define BIG_MASK (~((uint64_t)(2 << 20) - 1))

static uint64_t max64(uint64_t a, uint64_t b) { return a > b ? a : b; }

static uint64_t epoch_of(const TlbState *s, unsigned pcid) { return max64(s->pcids[pcid].epoch, s->floor); }

static bool l2_flushed(const TlbState *s, const MmuEntry *e)
{
    return e->epoch != s->global_epoch && e->epoch != epoch_of(s, e->key & 0xfff);
}

/* Global entries match under every PCID. The two kinds of epoch never have the same number. */
static bool l2_match(const TlbState *s, const MmuEntry *e, uint64_t key)
{
    return (e->key == key && e->epoch == s->epoch) || ((e->key ^ key) < 4096 && e->epoch == s->global_epoch);
}

bool l2_find(const TlbState *s, uint64_t lin, uint64_t *val)
{
    const MmuEntry *e = s->small[l2_set(lin)];
    uint64_t key = (lin & TLB_PAGE_MASK) | s->pcid;
    __builtin_prefetch(&e[L2_WAYS - 1]);
    for (unsigned i = 0; i < L2_WAYS; i++) {
        if (l2_match(s, &e[i], key)) {
            *val = e[i].val;
            return true;
        }
    }
    e = s->big[big_set(lin)];
    key = (lin & BIG_MASK) | s->pcid;
    for (unsigned i = 0; i < L2_WAYS; i++) {
        if (l2_match(s, &e[i], key)) {
            *val = e[i].val;
            return true;
        }
    }
    return false;
}

/* val: the frame is that of the whole page. */
void l2_add(TlbState *s, uint64_t lin, uint64_t val)
{
    bool large = val >> MAP_SIZE_SHIFT & 3;
    MmuEntry *set = large ? s->big[big_set(lin)] : s->small[l2_set(lin)];
    uint64_t key = (lin & (large ? BIG_MASK : TLB_PAGE_MASK)) | s->pcid;
    if (large && map_size(val) == 2 << 20) {
        tlb_filter_add(s->big2m, FILTER_BITS, lin >> 21);
    } else if (large) {
        s->big1g |= 1ull << (lin >> 30 & 63);
    }
    unsigned at = L2_WAYS;
    for (unsigned i = 0; i < L2_WAYS && at == L2_WAYS; i++) {
        at = l2_match(s, &set[i], key) ? i : at;
    }
    for (unsigned i = 0; i < L2_WAYS && at == L2_WAYS; i++) {
        at = l2_flushed(s, &set[i]) ? i : at;
    }
    at = at == L2_WAYS ? s->victim++ % L2_WAYS : at;
    set[at] = (MmuEntry){ key, val, val & MAP_G ? s->global_epoch : s->epoch };
}

/* INVLPG for a PCID: its own and global entries of the page, whatever its size. */
void l2_drop_page(TlbState *s, uint64_t lin, unsigned pcid)
{
    uint64_t epoch = epoch_of(s, pcid), key = (lin & TLB_PAGE_MASK) | pcid;
    MmuEntry *e = s->small[l2_set(lin)];
    for (unsigned i = 0; i < L2_WAYS; i++) {
        if ((e[i].key == key && e[i].epoch == epoch) || ((e[i].key ^ key) < 4096 && e[i].epoch == s->global_epoch)) {
            e[i].epoch = 0;
        }
    }
    bool scan = s->big1g >> (lin >> 30 & 63) & 1; /* pieces of the page may lie in any set */
    if (!scan && !tlb_filter_has(s->big2m, FILTER_BITS, lin >> 21)) {
        return;
    }
    unsigned first = scan ? 0 : big_set(lin), last = scan ? BIG_SETS - 1 : first;
    for (unsigned set = first; set <= last; set++) {
        for (unsigned i = 0; i < L2_WAYS; i++) {
            MmuEntry *b = &s->big[set][i];
            bool same = ((b->key ^ lin) & ~(map_size(b->val) - 1)) == 0;
            if (same && ((b->epoch == epoch && (b->key & 0xfff) == pcid) || b->epoch == s->global_epoch)) {
                b->epoch = 0;
            }
        }
    }
}

/* --- paging-structure caches --- */

static MmuEntry *psc_slot(TlbState *s, uint64_t lin, bool pdpte, uint64_t *key)
{
    unsigned shift = pdpte ? 30 : 21;
    *key = (lin >> shift << shift) | s->pcid;
    uint64_t n = lin >> shift;
    return pdpte ? &s->pdpte[(n ^ n >> 9) % PDPTE_SLOTS] : &s->pde[(n ^ n >> 9) % PDE_SLOTS];
}

bool psc_find(const TlbState *s, uint64_t lin, bool pdpte, uint64_t *val)
{
    uint64_t key;
    const MmuEntry *e = psc_slot((TlbState *)s, lin, pdpte, &key);
    *val = e->val;
    return e->key == key && e->epoch == s->psc_epoch;
}

void psc_add(TlbState *s, uint64_t lin, bool pdpte, uint64_t val)
{
    uint64_t key;
    MmuEntry *e = psc_slot(s, lin, pdpte, &key);
    *e = (MmuEntry){ key, val, s->psc_epoch };
}

/* --- contexts --- */

void ctx_init(TlbState *s)
{
    s->serial = 1;
    ctx_flush_all(s, false);
    ctx_load(s, 0);
}

void ctx_load(TlbState *s, unsigned pcid)
{
    s->pcid = pcid;
    s->epoch = epoch_of(s, pcid);
    s->psc_epoch = max64(s->pcids[pcid].psc, s->psc_floor);
}

void ctx_flush_psc(TlbState *s, unsigned pcid)
{
    s->pcids[pcid].psc = ++s->serial;
    ctx_load(s, s->pcid);
}

void ctx_flush_pcid(TlbState *s, unsigned pcid)
{
    s->pcids[pcid].epoch = ++s->serial;
    ctx_flush_psc(s, pcid);
}

/* Paging-structure entries are never global (4.10.3.2). */
void ctx_flush_all(TlbState *s, bool keep_global)
{
    s->floor = s->psc_floor = ++s->serial;
    if (!keep_global) {
        s->global_epoch = ++s->serial;
        memset(s->big2m, 0, sizeof(s->big2m));
        s->big1g = 0;
    }
    ctx_load(s, s->pcid);
}
