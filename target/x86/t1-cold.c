/* SPDX-License-Identifier: MIT
 * target/x86/t1-cold.c - code that is not translated yet: counting its runs, finding it again, running it in
 * tier 0. A boot runs cold units a million times, each some dozen times. They have a jump cache of their own
 * (T1State.cold) with the salted tags of translated code's, and run one after the other without the run loop
 * while nothing else is to be done.
 * Threads: the vCPU's thread.
 */
#define T0_TAIL_NEXT
#include "t1.h"

enum {
    T1_AFTER_USER = 2,           /* user code: every process that runs it comes after the first */
    HEAT_SIZE = 1 << 17,
    CHANGES_WORK = 512, ENTRY_WORK = 80, /* in instructions, the run loop's work for each entry included */
    COLD_NEAR_BITS = 6, COLD_NEAR = 1 << COLD_NEAR_BITS, COLD_PAGE_BITS = 7,
    COLD_SIZE = 1 << (COLD_NEAR_BITS + COLD_PAGE_BITS),
};

/* --- its jump cache --- */

/* All code of a page is in COLD_NEAR places. Salts do not reach the index. */
static unsigned cold_index(uint64_t rip)
{
    unsigned page = (uint32_t)(rip >> 12) * T1_JC2_FACTOR >> (32 - COLD_PAGE_BITS);
    return page << COLD_NEAR_BITS | ((unsigned)(rip ^ rip >> 6) & (COLD_NEAR - 1));
}

static void cold_clear(T1Cold *e)
{
    if (e->tag != UINT64_MAX) {
        e->unit->cold_at = 0;
        e->tag = UINT64_MAX; /* is none: upper bits of tags are neither all set nor all clear (salt_for()) */
    }
}

/* A unit has one place: it must be found when it dies. Not those that cross into a page that may be mapped
 * anew. */
static void cold_add(X86Cpu *cpu, X86Unit *u)
{
    T1State *s = cpu->t1;
    if (u->loose || u->dead || u->key2 || u->cs_off) {
        return;
    }
    if (u->cold_at) {
        cold_clear(&s->cold[u->cold_at - 1]);
    }
    unsigned i = cold_index(cpu->rip);
    cold_clear(&s->cold[i]);
    s->cold[i] = (T1Cold){ cpu->rip ^ cpu->tr1.salt, u };
    u->cold_at = (uint16_t)(i + 1);
}

void t1_cold_gone(T1State *s, X86Unit *u)
{
    if (u->cold_at) {
        cold_clear(&s->cold[u->cold_at - 1]);
    }
}

void t1_cold_forget_page(T1State *s, uint64_t page)
{
    T1Cold *e = &s->cold[cold_index(page) & ~(COLD_NEAR - 1u)];
    for (unsigned i = 0; i < COLD_NEAR; i++, e++) {
        if (((e->tag ^ page) & 0xfffffffff000ull) == 0) {
            cold_clear(e);
        }
    }
}

void t1_cold_forget(T1State *s, bool gone)
{
    for (unsigned i = 0; i < COLD_SIZE && !gone; i++) {
        cold_clear(&s->cold[i]);
    }
    memset(s->cold, 0xff, COLD_SIZE * sizeof(*s->cold));
}

/* --- heat --- */

/* Code of the kernel that has been moved (modules) is cold there. */
static uint8_t *heat_of(T1State *s, uintptr_t key, uint32_t mode, uint64_t rip)
{
    bool user = (mode & MODE_CPL3) == MODE_CPL3;
    uint64_t h = (key ^ (user ? 0 : rip << 20)) * 0x9e3779b97f4a7c15u;
    return &s->heat[h >> 40 & (HEAT_SIZE - 1)];
}

void t1_heat_prefetch(X86Cpu *cpu, uintptr_t key, uint32_t mode)
{
    __builtin_prefetch(heat_of(cpu->t1, key, mode, cpu->rip), 1); /* the host's caches do not have it */
}

bool t1_heat_up(X86Cpu *cpu, uintptr_t key, uint32_t mode)
{
    T1State *s = cpu->t1;
    bool user = (mode & MODE_CPL3) == MODE_CPL3;
    if (user && !s->users) {
        t1_sites_users(cpu);
    }
    uint8_t *heat = heat_of(s, key, mode, cpu->rip);
    if (*heat < (user ? MIN(s->after, T1_AFTER_USER) : s->after)) {
        ++*heat;
        return false;
    }
    return true;
}

/* --- running it --- */

bool t1_changes_worked(const X86Unit *u)
{
    return u->work >= CHANGES_WORK;
}

/* Where code changes often a unit stays cold for long: then a loop to its own head stays in it. */
static void run(X86Cpu *cpu, X86Unit *u)
{
    T0State *t = cpu->t0;
    uint64_t before = cpu->insn_count, rip = cpu->rip;
    t->link_from = NULL;
    t0_run_unit(cpu, u);
    u->work += (uint32_t)MIN(cpu->insn_count - before, CHANGES_WORK) + ENTRY_WORK;
    if (t->link_from == u && t->link_rip == rip && u->page[0] && !dbg_ends_at(t, rip) &&
        u->page[0]->changed[(u->key & 4095) >> GRANULE_BITS] >= T1_CHANGES_OFTEN) {
        u->link[t->link_slot] = u;
        u->linked = true;
    }
    t->link_from = NULL; /* nobody looks at it before the unit may be gone */
}

/* Behind a cold unit: would the run loop have nothing to do but look for the next one? */
static bool goes_on(X86Cpu *cpu, uint32_t mode, uint32_t generation)
{
    T0State *t = cpu->t0;
    cpu->cur = NULL;
    cpu->unit = NULL;
    if (cpu->mode != mode || cpu->irq_shadow || cpu->vcpu.halted || cpu->db_hits || t->grave || t->patched ||
        t->awaiting || t->cs_base != cpu->seg_base[SEG_CS] || __atomic_load_n(&t->wanted, __ATOMIC_ACQUIRE) ||
        vcpu_irq_pending(&cpu->vcpu) || __atomic_load_n(&cpu->vcpu.exit_request, __ATOMIC_RELAXED)) {
        return false;
    }
    cpu->eflags &= ~FL_RF;
    mem_mode_changed(cpu);
    return t->generation == generation;
}

bool t1_cold_run(X86Cpu *cpu, uint32_t mode)
{
    T0State *t = cpu->t0;
    T1State *s = cpu->t1;
    uint32_t generation = t->generation;
    bool any = false;
    if (t->dbg_ends_on) {
        return false;
    }
    do {
        const T1Cold *e = &s->cold[cold_index(cpu->rip)];
        X86Unit *u = e->unit;
        if (e->tag != (cpu->rip ^ cpu->tr1.salt) || !x86_canonical(cpu, cpu->rip) ||
            t1_heat_up(cpu, u->key, mode)) {
            return any;
        }
        any = true;
        s->stats.cold_runs++;
        run(cpu, u);
    } while (goes_on(cpu, mode, generation));
    return true;
}

void t1_cold_unit(X86Cpu *cpu, X86Unit *u, bool keep)
{
    if (keep) {
        cold_add(cpu, u);
    }
    run(cpu, u);
}

/* --- life --- */

void t1_cold_init(T1State *s)
{
    s->heat = g_malloc0(HEAT_SIZE);
    s->cold = g_new(T1Cold, COLD_SIZE);
    t1_cold_forget(s, true);
}

void t1_cold_fini(T1State *s)
{
    g_free(s->heat);
    g_free(s->cold);
}
