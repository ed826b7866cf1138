/* SPDX-License-Identifier: MIT
 * target/x86/tlb.c - flushes: what each operation drops from the first-level TLB, the windows, the second level and
 * the jump cache; and what happens when stores to a page must be seen from now on.
 * Models: SDM vol. 3 4.10.4.1 (operations that invalidate), 4.10.2.4 (global pages).
 * Does not model: delayed invalidation (4.10.4.4): all is dropped at once.
 * Threads: the vCPU's thread.
 */
#include "t0.h"
#include "rhea/util/log.h"

/* --- the jump cache's generations ---
 * One number for supervisor code, one for user code: kernels map themselves global, and then their part of the jump
 * cache outlives a change of address space. PCIDs that were not flushed meanwhile get their numbers back. */

static uint32_t gen_new(X86Cpu *cpu)
{
    T0State *t = cpu->t0;
    TlbState *s = &t->tlb;
    if (++s->gen_serial == 0) { /* 2^32 generations: an old entry must not come back to life */
        memset(t->jc, 0, sizeof(t->jc));
        memset(s->pcids, 0, sizeof(s->pcids)); /* their epochs, too: all contexts begin anew */
        ctx_flush_all(s, false);
        s->gen_serial = 1;
        s->gen_floor = 0;
        if (cpu->t1) { /* evicted units are found by what it knows of their generation */
            t1_salts_drop(cpu);
        }
    }
    return s->gen_serial;
}

static void gen_select(X86Cpu *cpu)
{
    T0State *t = cpu->t0;
    t->generation = t->tlb.gen[cpu->cpl == 3];
    memcpy(cpu->tr1.gen, t->tlb.gen, sizeof(cpu->tr1.gen));
    if (t->gen != GEN_NEVER) {
        t->gen = (uint64_t)t->generation << 32 | cpu->mode;
    }
    t->link_from = NULL;
}

void tlb_mode_changed(X86Cpu *cpu)
{
    cpu->t0->generation = cpu->t0->tlb.gen[cpu->cpl == 3];
}

void tlb_new_generation(X86Cpu *cpu)
{
    T0State *t = cpu->t0;
    TlbState *s = &t->tlb;
    s->gen_floor = s->gen_serial;
    s->gen[0] = gen_new(cpu);
    s->gen[1] = gen_new(cpu);
    s->fetched_local = false;
    s->fetched_1g = 0;
    memset(s->fetched, 0, sizeof(s->fetched));
    memset(s->fetched_2m, 0, sizeof(s->fetched_2m));
    t->jc_used = false;
    t->stats.generations++;
    gen_select(cpu);
}

static void gen_enter(X86Cpu *cpu)
{
    TlbState *s = &cpu->t0->tlb;
    PcidState *p = &s->pcids[s->pcid];
    s->gen[1] = p->gen[1] > s->gen_floor ? p->gen[1] : gen_new(cpu);
    if (s->fetched_local) {
        bool known = p->gen[0] > s->gen_floor;
        s->gen[0] = known ? p->gen[0] : gen_new(cpu);
        s->fetched_local = known; /* nothing was fetched under a new number */
    }
    gen_select(cpu);
}

/* All but what was fetched from global pages, of one PCID. */
static void gen_flush_pcid(X86Cpu *cpu, unsigned pcid)
{
    TlbState *s = &cpu->t0->tlb;
    s->pcids[pcid].gen[0] = s->pcids[pcid].gen[1] = 0;
    if (pcid == s->pcid) {
        gen_enter(cpu);
    }
}

/* A supervisor number that all PCIDs share must not be found again by one of them when another has made it its own. */
static void gen_leave(TlbState *s)
{
    s->pcids[s->pcid].gen[0] = s->fetched_local ? s->gen[0] : 0;
    s->pcids[s->pcid].gen[1] = s->gen[1];
}

/* Code is fetched through the entry of lin. */
void tlb_note_fetch(X86Cpu *cpu, uint64_t lin, const TlbAux *aux, unsigned mmu)
{
    TlbState *s = &cpu->t0->tlb;
    tlb_filter_add(s->fetched, FETCHED_BITS, lin >> 12);
    if (aux->page_size > 4096) {
        tlb_filter_add(s->fetched_2m, FILTER_BITS, lin >> 21);
        s->fetched_1g |= (uint64_t)(aux->page_size > 2 << 20) << (lin >> 30 & 63);
    }
    s->fetched_local |= mmu != 1 && !aux->global;
}

/* May the jump cache know code of the page of lin, whatever its size? */
static bool page_was_fetched(TlbState *s, uint64_t lin)
{
    return (s->fetched_1g >> (lin >> 30 & 63) & 1) || tlb_filter_has(s->fetched, FETCHED_BITS, lin >> 12) ||
           tlb_filter_has(s->fetched_2m, FILTER_BITS, lin >> 21);
}

/* What the jump caches know of the page of lin goes, in every address space; of a larger page, all that may belong to it. */
static void jump_caches_drop_page(X86Cpu *cpu, uint64_t lin)
{
    T0State *t = cpu->t0;
    TlbState *s = &t->tlb;
    if ((s->fetched_1g >> (lin >> 30 & 63) & 1) || t->cs_base != 0) {
        tlb_new_generation(cpu);
        return;
    }
    uint64_t mask = 0xffffffffffffull & (tlb_filter_has(s->fetched_2m, FILTER_BITS, lin >> 21) ? ~(uint64_t)0x1fffff : TLB_PAGE_MASK);
    for (unsigned i = 0; i < JC_SIZE && t->jc_used; i++) {
        if (((t->jc[i].rip ^ lin) & mask) == 0 || ((t->jc[i].rip ^ (lin - 4096)) & mask) == 0) { /* it may reach into the page */
            t->jc[i].gen = 0;
        }
    }
    if (cpu->t1) {
        t1_forget_page(cpu, lin, mask);
    }
    t->link_from = NULL;
    x86_unit_leave(cpu);
}

/* --- the first level --- */

static void entry_drop(Tlb *tlb, unsigned mmu, unsigned i)
{
    tlb->e[mmu][i] = (TlbEntry){ TLB_NO_TAG, TLB_NO_TAG, TLB_NO_TAG, 0 };
}

void tlb_init(X86Cpu *cpu)
{
    cpu->tlb = &cpu->tlb_mem;
    /* Zero is the tag of page 0, whose place is index 0; and of an access that begins in the last page and wraps. */
    for (unsigned m = 0; m < TLB_MMUS; m++) {
        entry_drop(cpu->tlb, m, 0);
        entry_drop(cpu->tlb, m, TLB_SIZE - 1);
    }
    ctx_init(&cpu->t0->tlb);
    tlb_new_generation(cpu);
}

static void drop_bits(X86Cpu *cpu, unsigned m, unsigned w, uint64_t victims)
{
    TlbState *s = &cpu->t0->tlb;
    for (uint64_t u = victims; u; u &= u - 1) {
        entry_drop(cpu->tlb, m, w * 64 + (unsigned)__builtin_ctzll(u));
    }
    s->used[m][w] &= ~victims;
    s->global[m][w] &= ~victims;
    s->some[m] &= s->used[m][w] ? UINT64_MAX : ~(1ull << w);
}

/* First level and windows. They hold the current PCID and global pages only. */
void tlb_drop_l1(X86Cpu *cpu, bool keep_global)
{
    TlbState *s = &cpu->t0->tlb;
    s->drops++;
    for (unsigned m = 0; m < TLB_MMUS; m++) {
        for (uint64_t some = s->some[m]; some; some &= some - 1) {
            unsigned w = (unsigned)__builtin_ctzll(some);
            drop_bits(cpu, m, w, s->used[m][w] & ~(keep_global ? s->global[m][w] : 0));
        }
    }
    tlb_windows_drop(cpu);
    if (!keep_global) {
        memset(s->written, 0, sizeof(s->written));
    }
}

static uint64_t entry_page(const TlbEntry *e)
{
    return (e->rtag != TLB_NO_TAG ? e->rtag : e->wtag != TLB_NO_TAG ? e->wtag : e->xtag) & TLB_PAGE_MASK;
}

/* The entries made from the page of lin. Those of a large page may be anywhere (4.10.2.3). */
static void l1_drop_page(X86Cpu *cpu, uint64_t lin)
{
    TlbState *s = &cpu->t0->tlb;
    s->drops++;
    bool huge = s->big1g >> (lin >> 30 & 63) & 1;
    bool large = huge || tlb_filter_has(s->big2m, FILTER_BITS, lin >> 21);
    for (unsigned m = 0; m < TLB_MMUS; m++) {
        unsigned i = tlb_index(lin);
        if ((s->used[m][i / 64] >> (i % 64) & 1) && entry_page(&cpu->tlb->e[m][i]) == (lin & TLB_PAGE_MASK)) {
            drop_bits(cpu, m, i / 64, 1ull << (i % 64));
        }
        for (uint64_t some = large ? s->some[m] : 0; some; some &= some - 1) {
            unsigned w = (unsigned)__builtin_ctzll(some);
            uint64_t victims = 0;
            if (!huge && USED_WORDS > 8 && (w ^ tlb_index(lin) / 64) >= 8) {
                continue; /* not one of the 512 places of this 2 MiB */
            }
            for (uint64_t u = s->used[m][w]; u; u &= u - 1) {
                unsigned b = (unsigned)__builtin_ctzll(u), k = w * 64 + b;
                bool same = ((entry_page(&cpu->tlb->e[m][k]) ^ lin) & ~(cpu->tlb->aux[m][k].page_size - 1)) == 0;
                victims |= same ? 1ull << b : 0;
            }
            drop_bits(cpu, m, w, victims);
        }
    }
    tlb_windows_drop_page(cpu, lin, huge ? 30 : large ? 21 : 12);
}

/* --- the operations of 4.10.4.1 --- */

static unsigned pcid_now(const X86Cpu *cpu) { return cpu->cr4 & CR4_PCIDE ? cpu->cr3 & 0xfff : 0; }

static void log_flush(const X86Cpu *cpu, const char *what)
{
    if (log_on(LOG_MMU)) {
        log_printf("mmu: cpu %u rip 0x%" PRIx64 ": flush of %s, cr3 0x%" PRIx64 "\n", cpu->vcpu.index, cpu->rip, what,
                   cpu->cr3);
    }
}

/* Every PCID. */
void x86_tlb_flush(X86Cpu *cpu, bool keep_global)
{
    T0State *t = cpu->t0;
    if (!t) {
        return;
    }
    TlbState *s = &t->tlb;
    log_flush(cpu, keep_global ? "all but global pages" : "everything");
    t->stats.tlb_flushes++;
    ctx_flush_all(s, keep_global);
    ctx_load(s, pcid_now(cpu));
    tlb_drop_l1(cpu, keep_global);
    if (!keep_global || s->fetched_local) {
        tlb_new_generation(cpu);
        return;
    }
    s->gen_floor = s->gen_serial; /* user code of all PCIDs; supervisor code was global */
    s->gen[1] = gen_new(cpu);
    gen_select(cpu);
}

/* MOV to CR3, task switch: cr3 and cr4 are set. keep: bit 63 of the source with CR4.PCIDE. */
void x86_tlb_new_cr3(X86Cpu *cpu, bool keep)
{
    T0State *t = cpu->t0;
    if (!t) {
        return;
    }
    TlbState *s = &t->tlb;
    unsigned pcid = pcid_now(cpu);
    bool same = pcid == s->pcid;
    if (same && keep) {
        return;
    }
    log_flush(cpu, keep ? "nothing but the first level" : "all but global pages");
    t->stats.tlb_flushes++;
    if (!same) {
        gen_leave(s);
    }
    ctx_load(s, pcid);
    if (!keep) {
        ctx_flush_pcid(s, pcid);
        gen_flush_pcid(cpu, pcid);
    } else {
        gen_enter(cpu);
    }
    tlb_drop_l1(cpu, true);
}

/* INVLPG, INVPCID type 0: the page in one PCID, and global pages; that PCID's paging-structure entries. */
void x86_tlb_flush_pcid_page(X86Cpu *cpu, unsigned pcid, uint64_t lin)
{
    T0State *t = cpu->t0;
    if (!t) {
        return;
    }
    TlbState *s = &t->tlb;
    if (log_on(LOG_MMU)) {
        log_printf("mmu: cpu %u rip 0x%" PRIx64 ": flush of the page at 0x%" PRIx64 "\n", cpu->vcpu.index, cpu->rip, lin);
    }
    t->stats.page_flushes++;
    l1_drop_page(cpu, lin);
    l2_drop_page(s, lin, pcid);
    ctx_flush_psc(s, pcid);
    if (page_was_fetched(s, lin)) {
        jump_caches_drop_page(cpu, lin);
    }
}

void x86_tlb_flush_page(X86Cpu *cpu, uint64_t lin)
{
    x86_tlb_flush_pcid_page(cpu, pcid_now(cpu), lin);
}

/* INVPCID type 1. */
void x86_tlb_flush_pcid(X86Cpu *cpu, unsigned pcid)
{
    T0State *t = cpu->t0;
    if (!t) {
        return;
    }
    log_flush(cpu, pcid == t->tlb.pcid ? "all but global pages" : "another PCID");
    t->stats.tlb_flushes++;
    ctx_flush_pcid(&t->tlb, pcid);
    gen_flush_pcid(cpu, pcid);
    if (pcid == t->tlb.pcid) {
        tlb_drop_l1(cpu, true);
    }
}

/* CR0.WP, protection-key registers: rights that were worked out when an entry was made. Caches of the page tables and of
 * fetches stay. */
void x86_tlb_rights_changed(X86Cpu *cpu)
{
    if (cpu->t0) {
        tlb_drop_l1(cpu, false);
    }
}

/* --- stores that must be seen --- */

static uint64_t host_page_no(uint64_t host) { return host >> 12; }

void tlb_note_writable(X86Cpu *cpu, uint64_t host)
{
    tlb_filter_add(cpu->t0->tlb.written, FILTER_BITS, host_page_no(host));
}

static bool plain_write(const TlbEntry *e)
{
    return e->wtag != TLB_NO_TAG && !(e->wtag & (TLB_SLOW_IO | TLB_SLOW_WATCH));
}

/* Stores to the page take the slow path from now on. The filter is rebuilt while all entries pass by. */
bool tlb_unmap_writes(X86Cpu *cpu, uintptr_t host_page)
{
    TlbState *s = &cpu->t0->tlb;
    bool any = tlb_windows_drop_host(cpu, host_page);
    if (!tlb_filter_has(s->written, FILTER_BITS, host_page_no(host_page))) {
        return any;
    }
    memset(s->written, 0, sizeof(s->written));
    for (unsigned m = 0; m < TLB_MMUS; m++) {
        for (uint64_t some = s->some[m]; some; some &= some - 1) {
            unsigned w = (unsigned)__builtin_ctzll(some);
            for (uint64_t u = s->used[m][w]; u; u &= u - 1) {
                TlbEntry *e = &cpu->tlb->e[m][w * 64 + (unsigned)__builtin_ctzll(u)];
                uintptr_t host = (e->wtag & TLB_PAGE_MASK) + e->delta;
                if (plain_write(e) && host == host_page) {
                    e->wtag |= TLB_SLOW_WATCH;
                    any = true;
                } else if (plain_write(e)) {
                    tlb_filter_add(s->written, FILTER_BITS, host_page_no(host));
                }
            }
        }
    }
    return any;
}

/* Page flags were set by another thread while this vCPU could store unseen: pages it has write tags for are reported as
 * written, and the tags go. */
void tlb_recheck_writes(X86Cpu *cpu)
{
    TlbState *s = &cpu->t0->tlb;
    tlb_windows_recheck(cpu);
    for (unsigned m = 0; m < TLB_MMUS; m++) {
        for (uint64_t some = s->some[m]; some; some &= some - 1) {
            unsigned w = (unsigned)__builtin_ctzll(some);
            for (uint64_t u = s->used[m][w]; u; u &= u - 1) {
                unsigned i = w * 64 + (unsigned)__builtin_ctzll(u);
                TlbEntry *e = &cpu->tlb->e[m][i];
                const TlbAux *a = &cpu->tlb->aux[m][i];
                if (!plain_write(e) || !a->range || !a->range->ram) {
                    continue;
                }
                uint64_t off = a->range->ram_off + (a->phys - a->range->start);
                if (__atomic_load_n(&a->range->ram->page_flags[off >> RAM_PAGE_BITS], __ATOMIC_ACQUIRE)) {
                    e->wtag |= TLB_SLOW_WATCH;
                    ram_written(a->range->ram, off, RAM_PAGE_SIZE);
                }
            }
        }
    }
}
