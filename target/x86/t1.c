/* SPDX-License-Identifier: MIT
 * target/x86/t1.c - tier 1 at run time: finding and entering translated code, linking it, evicting it, and running single
 * instructions by their T0 functions on its behalf.
 * Does not model: counting instructions (a vCPU with a budget runs in tier 0).
 * Threads: the vCPU's thread.
 */
#include "t1-exec.h"
#include "flags.h"
#include "rhea/util/log.h"
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/auxv.h>
#include <asm/prctl.h>
#include <unistd.h>

enum {
    T1_AFTER = 32,               /* runs in tier 0 before kernel code is translated: most of a boot's never gets there */
    SHADOW_SIZE = 256 << 10, SHADOW_MARGIN = 64 << 10, /* the margin is for signal frames */
    SHADOW_NONE = 8,             /* words above its base */
};

/* --- the jump caches: jc[] is what translated code looks at, jc2[] what thunk.lookup looks at before it leaves --- */

static void jumps_drop_all(X86Cpu *cpu)
{
    memset(cpu->tr1.jc, 0xff, sizeof(cpu->tr1.jc));
    memset(cpu->tr1.jc2, 0, sizeof(cpu->tr1.jc2));
    t1_cold_forget(cpu->t1, false);
}

/* The code for cpu->rip, NULL: not known. Only a canonical RIP has a tag: with a salt of another address space the tag of an
 * address that is not canonical may be that of code there. */
static const void *jump_find(X86Cpu *cpu)
{
    uint64_t tag = cpu->rip ^ cpu->tr1.salt;
    X86JumpTarget *first = &cpu->tr1.jc[t1_jc_index(cpu->rip)];
    const X86JumpTarget *set = cpu->tr1.jc2[t1_jc2_set(cpu->rip)];
    if (!x86_canonical(cpu, cpu->rip)) {
        return NULL;
    }
    if (G_LIKELY(first->tag == tag)) {
        return first->code;
    }
    for (unsigned way = 0; way < T1_JC2_WAYS; way++) {
        if (set[way].tag == tag) {
            *first = set[way];
            return first->code;
        }
    }
    return NULL;
}

/* What jc[] has, jc2[] has: only so few places must be looked at to drop a page. */
static void jump_drop_first(X86Cpu *cpu, uint64_t tag)
{
    X86JumpTarget *first = &cpu->tr1.jc[t1_jc_index(tag)]; /* salts do not reach the index */
    first->tag = first->tag == tag ? UINT64_MAX : first->tag;
}

static void jump_add(X86Cpu *cpu, const void *code)
{
    X86JumpTarget e = { cpu->rip ^ cpu->tr1.salt, code }, *set = cpu->tr1.jc2[t1_jc2_set(cpu->rip)];
    cpu->tr1.jc[t1_jc_index(cpu->rip)] = e;
    if (set[0].tag != e.tag && (set[0].tag || set[1].tag == e.tag)) {
        jump_drop_first(cpu, set[1].tag);
        set[1] = set[0];
    }
    set[0] = e;
}

/* What cpu->rip led to is code that is no more. */
static void jump_drop_stale(X86Cpu *cpu)
{
    X86JumpTarget *set = cpu->tr1.jc2[t1_jc2_set(cpu->rip)];
    uint64_t tag = cpu->rip ^ cpu->tr1.salt;
    jump_drop_first(cpu, tag);
    for (unsigned way = 0; way < T1_JC2_WAYS; way++) {
        set[way].tag = set[way].tag == tag ? 0 : set[way].tag;
    }
    cpu->tr1.stale = false;
}

static void jumps_drop_page(X86Cpu *cpu, uint64_t page, unsigned from)
{
    X86JumpTarget *e = (X86JumpTarget *)cpu->tr1.jc2 + (t1_jc2_set(page) & ~(T1_JC2_NEAR - 1u)) * T1_JC2_WAYS;
    for (unsigned i = 0; i < T1_JC2_NEAR * T1_JC2_WAYS; i++, e++) {
        uint64_t off = (e->tag ^ page) & 0xffffffffffffull;
        if (off >= from && off < 4096) {
            jump_drop_first(cpu, e->tag);
            e->tag = 0;
        }
    }
}

/* mask: of a page, or of a larger one that all goes. An instruction at the end of the page before may reach into it. */
void t1_forget_page(X86Cpu *cpu, uint64_t lin, uint64_t mask)
{
    cpu->t1->pending = NULL;
    if (mask & 1u << 12) {
        t1_cold_forget_page(cpu->t1, lin & TLB_PAGE_MASK);
        jumps_drop_page(cpu, lin & TLB_PAGE_MASK, 0);
        jumps_drop_page(cpu, (lin & TLB_PAGE_MASK) - 4096, 4096 - X86_MAX_INSN);
        return;
    }
    t1_cold_forget(cpu->t1, false);
    for (unsigned i = 0; i < T1_JC_SIZE; i++) { /* salts lie outside the mask */
        uint64_t tag = cpu->tr1.jc[i].tag;
        if (((tag ^ lin) & mask) == 0 || ((tag ^ (lin - 4096)) & mask) == 0) {
            cpu->tr1.jc[i].tag = UINT64_MAX;
        }
    }
    X86JumpTarget *e = (X86JumpTarget *)cpu->tr1.jc2;
    for (unsigned i = 0; i < T1_JC2_SETS * T1_JC2_WAYS; i++, e++) {
        if (((e->tag ^ lin) & mask) == 0 || ((e->tag ^ (lin - 4096)) & mask) == 0) {
            e->tag = 0;
        }
    }
}

/* Nothing is on the shadow stacks when translated code begins. */
static void shadow_empty(X86Cpu *cpu)
{
    unsigned k = t1_shadow(cpu->mmu);
    cpu->tr1.shadow_start = cpu->tr1.shadow_base[k];
    cpu->tr1.shadow_saved[!k] = cpu->tr1.shadow_base[!k];
}

const void *t1_next_code(X86Cpu *cpu)
{
    T0State *t = cpu->t0;
    T1State *s = cpu->t1;
    uint32_t mode = cpu->mode;
    if (cpu->irq_shadow || cpu->vcpu.halted || cpu->db_hits || t->grave || t->awaiting || s->lockstep || s->once ||
        !t1_mode_ok(mode) || !t1_simd_masked(cpu) || !t1_fpu_masked(cpu) || t->cs_base != 0 || t->cs_limit != UINT32_MAX ||
        log_on(LOG_EXEC | LOG_CPU | LOG_NOCHAIN) || __atomic_load_n(&t->wanted, __ATOMIC_ACQUIRE) ||
        vcpu_irq_pending(&cpu->vcpu) || __atomic_load_n(&cpu->vcpu.exit_request, __ATOMIC_RELAXED)) {
        return NULL;
    }
    cpu->cur = NULL;
    cpu->eflags &= ~FL_RF;
    mem_mode_changed(cpu);
    cpu->tr1.salt = t1_salt_for(cpu, mode);
    shadow_empty(cpu);
    return jump_find(cpu);
}

/* Translated code that uses vectors or x87 runs only while their exceptions are masked. */
static bool state_masked(const X86Cpu *cpu, unsigned uses)
{
    return (!(uses & T1S_VEC) || t1_simd_masked(cpu)) && (!(uses & T1S_FPU) || t1_fpu_masked(cpu));
}

/* --- units by place: a process that starts looks thousands of them up, one for each jump that leaves a page --- */

static T1Place *place_of(T1State *s, uintptr_t key, uint32_t mode, uint64_t rip)
{
    return &s->place[(key ^ rip ^ (uint64_t)mode << 20) * 0x9e3779b97f4a7c15u >> 50 & (T1_PLACES - 1)];
}

/* Instructions that cross into another page, whose mapping may have changed, and code with a base are not among them. */
static void place_add(T1State *s, const X86Unit *u)
{
    if (!u->key2 && !u->cs_off) {
        *place_of(s, u->key, u->mode, u->rip) = (T1Place){ u->key, u->rip, u->t1->entry, u->mode, u->t1->uses };
    }
}

static void place_drop(T1State *s, const X86Unit *u)
{
    T1Place *p = place_of(s, u->key, u->mode, u->rip);
    if (p->key == u->key && p->mode == u->mode && p->rip == u->rip) {
        p->entry = NULL;
    }
}

/* NULL: not known, or not to be entered now. */
static const void *place_find(X86Cpu *cpu, const UnitPlace *at, uint32_t mode)
{
    uint64_t rip = t1_key_rip(mode, cpu->rip);
    const T1Place *p = place_of(cpu->t1, at->key, mode, rip);
    bool same = p->entry && p->key == at->key && p->mode == mode && p->rip == rip && !at->cs_off && at->left >= 4096;
    return same && state_masked(cpu, p->uses) ? p->entry : NULL;
}

/* --- links --- */

static void link_cut(const CodeCache *c, T1Link *l)
{
    if (l->to) {
        T1Link **at = &l->to->t1->incoming;
        while (*at != l) {
            at = &(*at)->next_in;
        }
        *at = l->next_in;
        l->to = NULL;
        T1Code *from = t1_link_code(l);
        e_patch(c->rw + l->at, (uint8_t *)from - (from->n_links - l->n) * T1_EXIT_BYTES);
    }
}

/* Forward links lie in one page, so every loop has a jump of another kind, which polls. Not where interrupts may be masked: a loop
 * might always poll while they are. */
static const uint8_t *link_target(T1Link *l, const X86Unit *to)
{
    const X86Unit *from = t1_link_code(l)->unit;
    const T1Code *t = to->t1;
    bool user = (from->mode & (MODE_CPL3 | 3u << MODE_IOPL_SHIFT)) == MODE_CPL3, forward = from->key < to->key;
    return t->entry + (l->pad ? t->pad : t->linked + (user && forward ? t->poll_bytes : 0));
}

/* A direct jump: in the mode at its end, and in the page, is the other unit. */
static bool link_fits(T1Link *l, const X86Unit *to)
{
    const X86Unit *from = t1_link_code(l)->unit;
    return (from->mode ^ (l->ac ? 2u << MODE_USER_MMU_SHIFT : 0)) == to->mode && (from->key ^ to->key) < 4096;
}

static void link_make(const CodeCache *c, T1Link *l, X86Unit *to)
{
    link_cut(c, l);
    l->to = to;
    l->next_in = to->t1->incoming;
    to->t1->incoming = l;
    e_patch(c->rw + l->at, link_target(l, to) - c->rx_off);
}

void t1_unit_killed(X86Cpu *cpu, X86Unit *u)
{
    T1State *s = cpu->t1;
    T1Code *c = u->t1;
    place_drop(s, u);
    while (c->incoming) {
        link_cut(&s->cache, c->incoming);
    }
    for (unsigned i = 0; i < c->n_links; i++) {
        link_cut(&s->cache, &c->links[i]);
    }
    if (s->pending && t1_link_code(s->pending) == c) {
        s->pending = NULL;
    }
    if (!s->evicting) { /* whoever comes through the jump cache, from any process, goes on to the run loop */
        uint8_t *at = (uint8_t *)(uintptr_t)c->entry - s->cache.rx_off;
        *at = 0xe9;
        e_patch(at + 1, s->thunk.stale - s->cache.rx_off);
    }
    c->unit = NULL; /* freed with its segment, when nothing can be running in it */
    u->t1 = NULL;
    if (s->running) {
        x86_unit_leave(cpu);
    }
}

/* --- the code cache --- */

static void segment_empty(X86Cpu *cpu, unsigned n)
{
    T1State *s = cpu->t1;
    s->evicting = true;
    while (s->segment[n]) {
        T1Code *c = s->segment[n];
        if (c->unit) {
            unit_kill_one(cpu, c->unit);
        }
        s->segment[n] = c->seg_next;
    }
    s->evicting = false;
}

/* The oldest segment gives way. */
static void next_segment(X86Cpu *cpu)
{
    T1State *s = cpu->t1;
    unsigned n = (s->cache.segment + 1) % CODE_SEGMENTS;
    segment_empty(cpu, n);
    tlb_new_generation(cpu);
    if (n == 0) {
        t1_sites_init(cpu); /* what runs now may be another program */
    }
    codecache_start_segment(&s->cache, n);
    s->reused = true;
    s->stats.flushes++;
}

/* --- translating --- */

static X86Unit *translate(X86Cpu *cpu, UnitPlace *at, uint32_t mode)
{
    T1State *s = cpu->t1;
    T1 *t = &s->work;
    unsigned max = s->chaos ? t1_chaos_insns(s) : T1_MAX_INSNS;
    unit_watch(cpu, at); /* before its bytes are read */
    for (unsigned evicted = 0; evicted < 2;) {
        t1_decode(t, cpu, at, mode, max);
        if (t->n == 0) {
            t1_decode_crossing(t, cpu, at, mode);
            if (t->n == 0) {
                return NULL;
            }
        }
        t->loops = !s->lockstep; /* it compares after each unit */
        T1Code *c = t1_translate(t, &s->cache);
        if (c) {
            X86Unit *u = unit_add(cpu, at, mode | MODE_T1, t->span, c->memory);
            c->unit = u;
            u->t1 = c;
            c->seg_next = s->segment[s->cache.segment];
            s->segment[s->cache.segment] = c;
            s->stats.units++;
            s->stats.insns += t->n;
            return u;
        }
        if (t->full && t->n > 1) {
            max = t->n / 2;
            continue;
        }
        next_segment(cpu);
        evicted++;
        unit_watch(cpu, at); /* evicting may have dropped it */
    }
    return NULL;
}

/* --- running --- */

void t1_salts_drop(X86Cpu *cpu)
{
    jumps_drop_all(cpu);
    x86_transitions_drop(cpu);
    memset(cpu->t1->salts, 0xff, sizeof(cpu->t1->salts));
    cpu->t1->salt_next = 0;
}

/* The lowest bit says that supervisor code is in MMU index 0, not 2: STAC and CLAC of translated code flip it. */
uint64_t t1_salt_for(X86Cpu *cpu, uint32_t mode)
{
    T1State *s = cpu->t1;
    uint32_t generation = cpu->t0->generation, mmu = mode & 3u << MODE_USER_MMU_SHIFT;
    unsigned shift = cpu->cr4 & CR4_LA57 ? 57 : 48, limit = (1u << (63 - shift)) - 1;
    bool user = (mode & MODE_CPL3) == MODE_CPL3, low = !user && !mmu;
    mode &= user ? mode : ~(3u << MODE_USER_MMU_SHIFT);
    unsigned i = (generation * 0x9e3779b1u ^ mode * 0x85ebca6bu) >> 24 & ~1u; /* two ways */
    for (unsigned k = i; k < i + 2; k++) {
        if (s->salts[k].generation == generation && s->salts[k].mode == mode && s->salts[k].salt < limit) {
            return (uint64_t)(s->salts[k].salt + low) << shift;
        }
    }
    if (s->salt_next + 3 > limit || s->salt_shift != shift) {
        t1_salts_drop(cpu);
        s->salt_shift = shift;
    }
    uint32_t n = user ? s->salt_next + 1 : (s->salt_next + 2) & ~1u;
    s->salt_next = user ? n : n + 1;
    s->salts[i + 1] = s->salts[i];
    s->salts[i].generation = generation;
    s->salts[i].mode = mode;
    s->salts[i].salt = n;
    return (uint64_t)(n + low) << shift;
}

/* The link whose exit translated code came by; cpu->rip becomes where it leads. */
static T1Link *link_led_out(X86Cpu *cpu)
{
    uint8_t *exit = (uint8_t *)cpu->tr1.link - cpu->t1->cache.rx_off - 5; /* a call */
    unsigned left = exit[5];
    T1Code *c = (T1Code *)(void *)(exit + left * T1_EXIT_BYTES);
    T1Link *l = &c->links[c->n_links - left];
    if (!l->pad) {
        cpu->rip = ((c->pic ? cpu->tr1.pcbase : c->rip) & TLB_PAGE_MASK) | l->rip;
    }
    return l;
}

static void enter(X86Cpu *cpu, const void *code)
{
    T1State *s = cpu->t1;
    cpu->unit = s->none;
    cpu->tr1.link = NULL;
    s->running = true;
    uint64_t leaves = s->stats.leaves;
    shadow_empty(cpu);
    s->thunk.enter(cpu, code);
    if (G_UNLIKELY(cpu->tr1.stale)) {
        jump_drop_stale(cpu);
    }
    t1_flags_normal(cpu);
    s->running = false;
    s->pending = cpu->tr1.link ? link_led_out(cpu) : NULL;
    s->pending_rip = cpu->rip;
    s->stats.exits++;
    if (s->pending) {
        s->stats.exits_link++;
    } else if (s->stats.leaves == leaves) {
        bool poll = __atomic_load_n(&cpu->vcpu.exit_request, __ATOMIC_RELAXED);
        poll ? s->stats.exits_poll++ : s->stats.exits_indirect++;
    }
}

void t1_left(X86Cpu *cpu)
{
    T1State *s = cpu->t1;
    if (s->running) {
        s->stats.faults++;
        if (s->lockstep) {
            t1_lockstep_raised(cpu);
        }
    }
    s->running = s->once = false;
    cpu->t0->log_stores = false;
    cpu->tlb = &cpu->tlb_mem;
    cpu->t1->pending = NULL;
    t1_flags_normal(cpu);
}

/* Code that is overwritten again and again stays in tier 0 until it has run for as long as a translation takes. */
static X86Unit *changes_often(X86Cpu *cpu, const UnitPlace *at, uint32_t mode)
{
    if (G_LIKELY(unit_changes(cpu, at->key) < T1_CHANGES_OFTEN)) {
        return NULL;
    }
    X86Unit *cold = unit_find(cpu, mode);
    if (!cold->page[0] || !t1_changes_worked(cold)) {
        return cold;
    }
    cold->page[0]->changed[(cold->key & 4095) >> GRANULE_BITS] = 0;
    return NULL;
}

/* *keep: it is of tier 0 and may be found by its address from now on. */
static X86Unit *find(X86Cpu *cpu, uint32_t mode, UnitPlace *at, bool *keep)
{
    T0State *t = cpu->t0;
    T1State *s = cpu->t1;
    t->stats.units_entered_slow++;
    t1_heat_prefetch(cpu, at->key, mode);
    X86Unit *u = unit_lookup(cpu, at, mode | MODE_T1);
    if (u) {
        return u;
    }
    if (!t1_heat_up(cpu, at->key, mode) || dbg_ends_at(t, at->lin)) {
        *keep = true;
        s->stats.cold_runs++;
        t->stats.units_entered_slow++;
        return unit_find_at(cpu, at, mode);
    }
    X86Unit *cold = changes_often(cpu, at, mode);
    if (cold) {
        s->stats.cold_runs++;
        return cold;
    }
    cold = unit_lookup(cpu, at, mode);
    if (cold) {
        unit_kill_one(cpu, cold);
    }
    u = translate(cpu, at, mode);
    return u ? u : unit_find(cpu, mode);
}

/* A unit of tier 0 that t1_cold_run() did not find. What has one and is not hot yet has no translation that could be run. */
static bool run_known_cold(X86Cpu *cpu, uint32_t mode, const UnitPlace *at)
{
    T0State *t = cpu->t0;
    X86Unit *u = t->dbg_ends_on ? NULL : unit_lookup(cpu, at, mode);
    if (!u || t1_heat_up(cpu, at->key, mode)) {
        return false;
    }
    t->stats.units_entered_slow++;
    cpu->t1->stats.cold_runs++;
    cpu->t1->pending = NULL;
    cpu->tr1.salt = t1_salt_for(cpu, mode); /* the TLB may have lost something meanwhile */
    t1_cold_unit(cpu, u, true);
    return true;
}

void t1_run_unit(X86Cpu *cpu, uint32_t mode)
{
    T0State *t = cpu->t0;
    T1State *s = cpu->t1;
    if (G_UNLIKELY(s->chaos) && t1_chaos_step(cpu)) {
        s->pending = NULL;
        t->link_from = NULL;
        t->gen = GEN_NEVER;
        t0_run_unit(cpu, unit_find(cpu, mode));
        t->link_from = NULL;
        return;
    }
    T1Link *from = s->pending && s->pending_rip == cpu->rip ? s->pending : NULL;
    t->gen = GEN_NEVER; /* T0 code does not chain */
    cpu->tr1.salt = t1_salt_for(cpu, mode);
    if (t1_cold_run(cpu, mode)) { /* then there is nothing to link to yet, either */
        s->pending = NULL;
        return;
    }
    const void *known = !from && state_masked(cpu, T1S_VEC | T1S_FPU) ? jump_find(cpu) : NULL;
    if (known) {
        enter(cpu, known);
        return;
    }
    UnitPlace at;
    bool located = unit_locate(cpu, &at);
    if (located && run_known_cold(cpu, mode, &at)) {
        return;
    }
    known = located && !from && !s->lockstep ? place_find(cpu, &at, mode | MODE_T1) : NULL;
    if (known) {
        t->stats.units_entered_slow++;
        s->pending = NULL;
        cpu->tr1.salt = t1_salt_for(cpu, mode);
        jump_add(cpu, known);
        enter(cpu, known);
        return;
    }
    bool keep = false;
    X86Unit *u = located ? find(cpu, mode, &at, &keep) : unit_find(cpu, mode);
    from = s->pending ? from : NULL; /* translating may have evicted it */
    s->pending = NULL;
    if (!u->t1 || !state_masked(cpu, u->t1->uses)) {
        cpu->tr1.salt = t1_salt_for(cpu, mode);
        t1_cold_unit(cpu, u->t1 ? unit_find(cpu, mode) : u, keep);
        return;
    }
    if (from && !s->lockstep && link_fits(from, u)) {
        link_make(&s->cache, from, u);
    }
    cpu->tr1.salt = t1_salt_for(cpu, mode);
    if (s->lockstep) {
        t1_lockstep_unit(cpu, u, enter);
        return;
    }
    place_add(s, u);
    jump_add(cpu, u->t1->entry);
    enter(cpu, u->t1->entry);
}

bool t1_run_once(X86Cpu *cpu, uint32_t mode, unsigned max)
{
    T1State *s = cpu->t1;
    UnitPlace at;
    if (!t1_mode_ok(mode) || !unit_locate(cpu, &at)) {
        return false;
    }
    uint8_t *hot = s->cache.hot, *cold = s->cache.cold;
    t1_decode(&s->work, cpu, &at, mode, max);
    T1Code *c = s->work.n ? t1_translate(&s->work, &s->cache) : NULL;
    s->cache.hot = hot;
    s->cache.cold = cold;
    s->reused = true;
    if (!c || !state_masked(cpu, c->uses)) {
        return false;
    }
    cpu->t0->gen = GEN_NEVER;
    cpu->tr1.salt = 1ull << 63; /* no entry has it */
    s->once = true;
    enter(cpu, c->entry);
    s->once = false;
    s->pending = NULL;
    t1_flags_normal(cpu);
    return true;
}

/* --- life --- */

static void set_gs(const void *base)
{
#ifdef __x86_64__
    if (getauxval(AT_HWCAP2) & 2) { /* HWCAP2_FSGSBASE */
        __asm__ volatile("wrgsbase %0" : : "r"(base));
    } else {
        syscall(SYS_arch_prctl, ARCH_SET_GS, base);
    }
#endif
}

void t1_begin_run(X86Cpu *cpu)
{
    set_gs(cpu);
    x86_transitions_drop(cpu);
    t1_left(cpu);
    __asm__ volatile("stmxcsr %0" : "=m"(cpu->tr1.host_mxcsr));
}

void t1_resize(X86Cpu *cpu, size_t size)
{
    T1State *s = cpu->t1;
    for (unsigned n = 0; n < CODE_SEGMENTS; n++) {
        segment_empty(cpu, n);
    }
    codecache_fini(&s->cache);
    codecache_init(&s->cache, size, T1_THUNK_BYTES, &error_abort_slot);
    s->reused = true;
    t1_make_thunks(cpu);
    tlb_new_generation(cpu);
}

void t1_tune(X86Cpu *cpu, bool on, unsigned after)
{
    if (cpu->t1) {
        cpu->t1->off = !on;
        cpu->t1->after = after;
    }
}

bool t1_init(X86Cpu *cpu, size_t size, Error **errp)
{
    T1State *s = g_try_new0(T1State, 1);
    if (!s) {
        return error_set(errp, "vCPU %u: no memory for the translator", cpu->vcpu.index);
    }
    if (!codecache_init(&s->cache, size, T1_THUNK_BYTES, errp)) {
        g_free(s);
        return false;
    }
    s->shadow = g_malloc(2 * SHADOW_SIZE);
    t1_cold_init(s);
    s->place = g_new0(T1Place, T1_PLACES);
    s->chaos = tcg_chaos(&cpu->vcpu) ? tcg_chaos(&cpu->vcpu) * 0x9e3779b97f4a7c15ull + cpu->vcpu.index : 0;
    s->after = s->chaos ? 0 : T1_AFTER;
    s->rows = g_new0(T1RowCount, x86_n_rows);
    s->perf_fd = -1;
    s->none = g_new0(X86Unit, 1);
    s->scratch[1].op = t1_op_done;
    memset(s->salts, 0xff, sizeof(s->salts));
    memset(cpu->tr1.jc, 0xff, sizeof(cpu->tr1.jc));
    cpu->tr1.self = cpu;
    for (unsigned k = 0; k < 2; k++) {
        uintptr_t end = (uintptr_t)s->shadow + (k + 1) * SHADOW_SIZE;
        cpu->tr1.shadow_base[k] = (end - 128) & ~(uintptr_t)63;
        cpu->tr1.shadow_limit[k] = end - SHADOW_SIZE + SHADOW_MARGIN;
    }
    cpu->tr1.shadow_start = cpu->tr1.shadow_base[0];
    bool by_gs = tcg_chaos(&cpu->vcpu) & 1; /* so that both are tested */
    s->low = !by_gs && (uintptr_t)cpu + sizeof(*cpu) <= INT32_MAX ? (int32_t)(uintptr_t)cpu : 0;
    cpu->t1 = s;
    t1_sites_init(cpu);
    if (tcg_perf_map(&cpu->vcpu) && !t1_perf_open(cpu, errp)) {
        return false;
    }
    t1_make_thunks(cpu);
    /* The empty shadow stacks: return addresses that a guest may well go to, so canonical ones, which are then looked up. */
    for (unsigned k = 0; k < 2; k++) {
        uint64_t *base = (uint64_t *)cpu->tr1.shadow_base[k];
        for (unsigned i = 0; i < SHADOW_NONE; i += 2) {
            base[i] = (uintptr_t)s->thunk.no_return;
            base[i + 1] = 0;
        }
    }
    if (tcg_lockstep(&cpu->vcpu) && !t1_lockstep_init(cpu)) {
        return error_set(errp, "vCPU %u: no memory for lockstep", cpu->vcpu.index);
    }
    return true;
}

void t1_fini(X86Cpu *cpu)
{
    T1State *s = cpu->t1;
    if (!s) {
        return;
    }
    for (unsigned n = 0; n < CODE_SEGMENTS; n++) {
        segment_empty(cpu, n);
    }
    unit_reap(cpu->t0);
    if (s->perf_fd >= 0) {
        close(s->perf_fd);
    }
    if (s->lockstep) {
        t1_lockstep_end(cpu);
    }
    codecache_fini(&s->cache);
    g_free(s->shadow);
    t1_cold_fini(s);
    g_free(s->place);
    g_free(s->none);
    g_free(s->rows);
    free(s->lockstep);
    g_free(s);
    cpu->t1 = NULL;
}
