/* SPDX-License-Identifier: MIT
 * target/x86/t1-site.c - which instructions of translated code look their operand up in the TLB instead of checking a window.
 * A window that misses costs a mispredicted jump and a fill, some 20 ns; a look-up costs 0.2 ns, and 4 ns where the
 * next address waits for it. The stack, code's own data (by RIP) and the segments with a base have windows, and the copies of
 * loops; everything else goes by the TLB. Each window counts its misses; when there were many within some time, the instruction that
 * missed last goes over: it is noted by where it lies in host memory, because libraries and programs lie at other addresses in each
 * process, and its unit is translated anew. In a kernel, whose time is spread over far more instructions than there are windows, fewer
 * misses are enough, and what the unit addresses through the same register goes over with it: without the first one to fill
 * the window, the others would be next. Not before there is user code, and not too often: what a kernel does once, at its start, is
 * not worth the memory of two translations.
 * Threads: the vCPU's thread.
 */
#include "t1.h"

enum { CROSSED_OFTEN = 100, SITE_MISSES = 1024, SITE_US = 4000, KERNEL_MISSES = 32, KERNEL_US = 2000, KERNEL_GAP_US = 1000 };

/* By number of a window. The stack's are shared by all code that runs on it, and miss when it is another one. */
static bool few_misses(const T1State *s, unsigned id)
{
    return s->users && id / (2 * TLB_WINDOWS) != 1 && id % TLB_WINDOWS != T1_STACK_WINDOW;
}

static void count_anew(X86Cpu *cpu)
{
    int32_t *misses = &cpu->tr1.win_misses[0][0][0];
    for (unsigned i = 0; i < G_N_ELEMENTS(cpu->t1->win_since); i++) {
        misses[i] = few_misses(cpu->t1, i) ? KERNEL_MISSES : SITE_MISSES;
    }
}

static uint64_t *site_bit(T1State *s, uintptr_t at, uint64_t *bit)
{
    return tlb_bit(s->tlb_sites, G_N_ELEMENTS(s->tlb_sites) * 64, at, bit);
}

static uint64_t *apart_bit(T1State *s, uintptr_t at, uint64_t *bit)
{
    return tlb_bit(s->apart, G_N_ELEMENTS(s->apart) * 64, at, bit);
}

void t1_sites_init(X86Cpu *cpu)
{
    count_anew(cpu);
    memset(cpu->t1->tlb_sites, 0, sizeof(cpu->t1->tlb_sites));
    memset(cpu->t1->apart, 0, sizeof(cpu->t1->apart));
    memset(cpu->t1->crossed, 0, sizeof(cpu->t1->crossed));
}

void t1_sites_users(X86Cpu *cpu)
{
    cpu->t1->users = true;
    count_anew(cpu);
}

/* What an operand is addressed through, for `bases`. */
static unsigned base_of(const X86Insn *d)
{
    if (!(d->flags & I_MEM)) {
        return R_RSP;
    }
    return d->base < 16 ? d->base : d->base == R_UNIT ? 16 : 17;
}

void t1_sites_look(T1 *t)
{
    t->by_tlb = t->bases_by_tlb = 0;
    t->apart = 0;
    for (unsigned i = 0; i < t->n; i++) {
        uint64_t one, *at = apart_bit(t->cpu->t1, t->key + t->insn[i].off, &one);
        t->apart |= *at & one ? 1ull << i : 0;
        uint64_t bit, *word = site_bit(t->cpu->t1, t->key + t->insn[i].off, &bit);
        if (*word & bit) {
            t->by_tlb |= 1ull << i;
            t->bases_by_tlb |= (t->mode & MODE_CPL3) == 0 ? 1u << base_of(&t->insn[i]) : 0;
        }
    }
    t->bases_by_tlb &= (1u << 16) - 1 - (1u << R_RSP);
}

/* Windows hit there: they are few pages, or run through one after the other. */
static bool suits_windows(const T1 *t, const X86Insn *d)
{
    switch (t1_rows()[d->row].cls) {
    case T1C_PUSH_R: case T1C_PUSH_I: case T1C_POP_R: case T1C_LEAVE: case T1C_CALL: case T1C_RET: case T1C_RET_I: case T1C_PUSHF:
        return true;
    default:
        return t->in_loop || (insn_is_mem(d) && (d->base == R_RSP || d->base == R_UNIT || d->seg != SEG_FLAT));
    }
}

bool t1_site_by_tlb(const T1 *t)
{
    return !suits_windows(t, &t->insn[t->i]) || t->by_tlb >> t->i & 1 || t->bases_by_tlb >> base_of(&t->insn[t->i]) & 1;
}

/* Where code lies in host memory, if that can be told without a walk; else 0. */
static uintptr_t code_at(X86Cpu *cpu, uint64_t rip)
{
    for (unsigned m = 0; m < TLB_MMUS; m++) { /* STAC and CLAC change the index inside a unit */
        const TlbEntry *e = &cpu->tlb->e[m][tlb_index(rip)];
        if (e->xtag == (rip & TLB_PAGE_MASK)) {
            return (uintptr_t)(rip + e->delta);
        }
    }
    return 0;
}

static void drop_unit(X86Cpu *cpu, uint64_t rip, uintptr_t key, uint32_t mode)
{
    UnitPlace at = { .lin = rip, .left = UINT64_MAX, .key = key };
    uint64_t now = cpu->rip;
    cpu->rip = rip;
    X86Unit *u = unit_lookup(cpu, &at, mode | MODE_T1);
    cpu->rip = now;
    if (u) {
        unit_kill_one(cpu, u);
    }
}

static void translate_anew(X86Cpu *cpu, const X86Insn *d, uint64_t unit_rip, uintptr_t key)
{
    bool crosses = (unit_rip & ~TLB_PAGE_MASK) + d->off + d->len > 4096; /* then the other page would have to be looked at */
    if (!crosses) {
        drop_unit(cpu, unit_rip, key, cpu->mode);
        if (cpu->mmu != 1 && cpu->cr4 & CR4_SMAP) { /* it may begin before a STAC or CLAC */
            drop_unit(cpu, unit_rip, key, cpu->mode ^ 2u << MODE_USER_MMU_SHIFT);
        }
    }
}

void t1_site_missed(X86Cpu *cpu, const X86Insn *d, uint64_t unit_rip)
{
    T1State *s = cpu->t1;
    unsigned id = cpu->tr1.win_thrash - 1;
    int32_t *misses = &cpu->tr1.win_misses[0][0][0];
    uint32_t now = (uint32_t)g_get_monotonic_time(), since = s->win_since[id];
    cpu->tr1.win_thrash = 0;
    misses[id] = few_misses(s, id) ? KERNEL_MISSES : SITE_MISSES;
    s->win_since[id] = now;
    uintptr_t key = code_at(cpu, unit_rip);
    if (now - since > (few_misses(s, id) ? KERNEL_US : SITE_US) || !key || (few_misses(s, id) && now - s->site_last < KERNEL_GAP_US)) {
        return;
    }
    s->site_last = now;
    uint64_t bit, *word = site_bit(s, key + d->off, &bit);
    *word |= bit;
    s->stats.tlb_sites++;
    translate_anew(cpu, d, unit_rip, key);
}

/* A group that crosses a page runs by T0 functions, one access after the other. On the stack that depends on where the stack lies in this
 * process, and is so each time then; elsewhere it happens now and then. The first access of such a group goes by itself from now on. */
void t1_site_crossed(X86Cpu *cpu, const X86Insn *d, uint64_t unit_rip)
{
    T1State *s = cpu->t1;
    uint64_t at = cpu->gpr[R_RSP] + (uint64_t)(int64_t)(insn_is_mem(d) && d->base == R_RSP ? d->disp : 0);
    if (((at + 64) & 4095) >= 128) { /* a fault, rather */
        return;
    }
    uintptr_t key = code_at(cpu, unit_rip);
    uint64_t bit, *word = apart_bit(s, key + d->off, &bit);
    uint8_t *crossed = &s->crossed[word - s->apart];
    if (!key || ++*crossed < CROSSED_OFTEN) {
        return;
    }
    *crossed = 0;
    *word |= bit;
    translate_anew(cpu, d, unit_rip, key);
}
