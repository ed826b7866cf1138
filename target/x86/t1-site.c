/* SPDX-License-Identifier: MIT
 * target/x86/t1-site.c - which instructions of translated code look their operand up in the TLB instead of checking a window.
 * A window that misses costs a mispredicted jump and a fill, some 20 ns; a look-up costs 0.2 ns, and 4 ns where the
 * next address waits for it. Each window counts its misses; when there were SITE_MISSES within SITE_US, the instruction that
 * missed last goes over: it is noted by where it lies in host memory, because libraries and programs lie at other addresses in each
 * process, and its unit is translated anew.
 * Threads: the vCPU's thread.
 */
#include "t1.h"

enum { SITE_MISSES = 1024, SITE_US = 4000 };

static uint64_t *site_bit(T1State *s, uintptr_t at, uint64_t *bit)
{
    return tlb_bit(s->tlb_sites, G_N_ELEMENTS(s->tlb_sites) * 64, at, bit);
}

void t1_sites_init(X86Cpu *cpu)
{
    int32_t *misses = &cpu->tr1.win_misses[0][0][0];
    for (unsigned i = 0; i < G_N_ELEMENTS(cpu->t1->win_since); i++) {
        misses[i] = SITE_MISSES;
    }
    memset(cpu->t1->tlb_sites, 0, sizeof(cpu->t1->tlb_sites));
}

bool t1_site_by_tlb(const T1 *t)
{
    uint64_t bit, *word = site_bit(t->cpu->t1, t->key + t->insn[t->i].off, &bit);
    return *word & bit;
}

/* Where code lies in host memory, if that can be told without a walk; else 0. */
static uintptr_t code_at(X86Cpu *cpu, uint64_t rip)
{
    const TlbEntry *e = &cpu->tlb->e[cpu->mmu][tlb_index(rip)];
    return e->xtag == (rip & TLB_PAGE_MASK) ? (uintptr_t)(rip + e->delta) : 0;
}

static X86Unit *unit_at(X86Cpu *cpu, uint64_t rip, uintptr_t key)
{
    UnitPlace at = { .lin = rip, .left = UINT64_MAX, .key = key };
    uint64_t now = cpu->rip;
    cpu->rip = rip;
    X86Unit *u = unit_lookup(cpu, &at, cpu->mode | MODE_T1);
    cpu->rip = now;
    return u;
}

void t1_site_missed(X86Cpu *cpu, const X86Insn *d, uint64_t unit_rip)
{
    T1State *s = cpu->t1;
    unsigned id = cpu->tr1.win_thrash - 1;
    int32_t *misses = &cpu->tr1.win_misses[0][0][0];
    uint32_t now = (uint32_t)g_get_monotonic_time(), since = s->win_since[id];
    cpu->tr1.win_thrash = 0;
    misses[id] = SITE_MISSES;
    s->win_since[id] = now;
    uintptr_t key = code_at(cpu, unit_rip);
    if (now - since > SITE_US || !key) {
        return;
    }
    uint64_t bit, *word = site_bit(s, key + d->off, &bit);
    *word |= bit;
    s->stats.tlb_sites++;
    bool crosses = (unit_rip & ~TLB_PAGE_MASK) + d->off + d->len > 4096; /* then the other page would have to be looked at */
    X86Unit *u = crosses ? NULL : unit_at(cpu, unit_rip, key);
    if (u) {
        unit_kill_one(cpu, u);
    }
}
