/* SPDX-License-Identifier: MIT
 * target/x86/t1-lockstep.c - `-accel tcg,lockstep=on`: each translated unit runs twice, by T0 functions and as translated code, from
 * the same state, and what they leave is compared: registers, flags, vectors, x87, memory.
 *
 * T0 goes first, through a TLB of its own that has no write tags, so that every store comes to mem.c and is logged with what was
 * there before; then stores and registers are taken back and translated code runs. A unit whose effects cannot be
 * taken back (device access, an exception, code that modifies code) stays as T0 left it and is not compared.
 * Does not model: comparing what translated code stored where tier 0 did not; exceptions (cpu-blocks does).
 * Threads: the vCPU's thread.
 */
#include "t1.h"
#include "flags.h"
#include <stdio.h>
#include <stdlib.h>

enum { LOG_MAX = 4096, REPORTS = 5 };

typedef struct Store { uint8_t *host; uint8_t n, old[16], new[16]; } Store;
typedef struct Saved { /* what an instruction may change, up to the engine's own members; looked at as an X86Cpu */
    _Alignas(X86Cpu) uint8_t bytes[offsetof(X86Cpu, controllers_)];
} Saved;
struct T1Lockstep {
    bool logging, fixed; /* fixed: something happened that cannot be taken back */
    unsigned n;
    uint32_t drops;
    uint64_t units, compared, different;
    const T1Code *running; /* as translated code, now */
    const uint8_t *bytes;  /* of its instructions */
    Store store[LOG_MAX];
    Saved before, after;
    Tlb tlb;
};

void t1_log_store(X86Cpu *cpu, uint8_t *host, unsigned n)
{
    T1Lockstep *l = cpu->t1->lockstep;
    while (n) {
        unsigned step = MIN(n, 16u);
        if (l->n == LOG_MAX) {
            l->fixed = true;
            return;
        }
        Store *s = &l->store[l->n++];
        s->host = host;
        s->n = (uint8_t)step;
        memcpy(s->old, host, step);
        host += step;
        n -= step;
    }
}

void t1_log_io(X86Cpu *cpu)
{
    cpu->t1->lockstep->fixed = true;
}

bool t1_lockstep_init(X86Cpu *cpu)
{
    T1Lockstep *l = aligned_alloc(_Alignof(T1Lockstep), sizeof(*l)); /* as X86Cpu is, which is more than malloc() aligns */
    cpu->t1->lockstep = l ? memset(l, 0, sizeof(*l)) : NULL;
    return l;
}

/* Instructions whose effects reach beyond registers and memory, or that depend on time. */
bool t1_lockstep_repeatable(const X86Insn *d)
{
    static const char *const more[] = { "CLI", "STAC", "CLAC", "SWAPGS", "RDPKRU", "RDFSBASE", "RDGSBASE", "WRFSBASE", "WRGSBASE" };
    const X86Row *x = &x86_rows[d->row];
    for (unsigned i = 0; i < G_N_ELEMENTS(more); i++) {
        if (!strcmp(x->name, more[i])) {
            return true;
        }
    }
    return d->row && (!(x->attrs & RA_NOFUZZ) || t1_rows()[d->row].cls == T1C_MOV_RC);
}

/* Neither does code that reads what another instruction of it leaves undefined: SHL, PUSHF makes AF visible, which is the host's
 * in translated code. */
static bool repeatable(const T1Code *c)
{
    uint32_t undef = 0;
    for (unsigned i = 0; i < c->n_insns; i++) {
        const X86Row *x = &x86_rows[t1_code_insns(c)[i].row];
        if (!t1_lockstep_repeatable(&t1_code_insns(c)[i]) || x->fl_read & undef) {
            return false;
        }
        undef = (undef & ~(uint32_t)x->fl_written) | x->fl_undef;
    }
    return true;
}

static const X86Cpu *saved_cpu(const Saved *s) { return (const X86Cpu *)(const void *)s->bytes; }

static void save(const X86Cpu *cpu, Saved *s)
{
    memcpy(s->bytes + sizeof(Vcpu), (const uint8_t *)cpu + sizeof(Vcpu), sizeof(s->bytes) - sizeof(Vcpu));
}

static void restore(X86Cpu *cpu, const Saved *s)
{
    memcpy((uint8_t *)cpu + sizeof(Vcpu), s->bytes + sizeof(Vcpu), sizeof(s->bytes) - sizeof(Vcpu));
}

/* The unit's instructions along the path that T0 takes. */
static void run_t0(X86Cpu *cpu, const T1Code *c)
{
    T1State *s = cpu->t1;
    T1Lockstep *l = s->lockstep;
    for (unsigned i = 0; i < c->n_insns; i++) {
        X86Insn *d = s->scratch;
        uint64_t next = c->rip + t1_code_insns(c)[i].off + t1_code_insns(c)[i].len;
        d[0] = t1_code_insns(c)[i];
        cpu->gpr[R_UNIT] = c->rip;
        const X86Insn *r = d->op(cpu, d);
        if (r) {
            cpu->rip = cpu->mode & MODE_CODE64 ? next : (uint32_t)next;
        }
        if (l->fixed || cpu->irq_shadow || cpu->db_hits || cpu->vcpu.exit_request & EXIT_SELF) {
            l->fixed |= cpu->irq_shadow || cpu->db_hits || cpu->vcpu.exit_request & EXIT_SELF;
            return;
        }
        if (i + 1 < c->n_insns && cpu->rip != c->rip + t1_code_insns(c)[i + 1].off) {
            return;
        }
    }
}

static void append_code(X86Cpu *cpu, const T1Code *c, const uint8_t *bytes, GString *t)
{
    for (unsigned i = 0; i < c->n_insns; i++) {
        const X86Insn *d = &t1_code_insns(c)[i];
        const X86Row *x = &x86_rows[d->row];
        g_string_append_printf(t, "  %" PRIx64 "  ", c->rip + d->off);
        if (!bytes || !cpu->vcpu.target->disassemble ||
            !cpu->vcpu.target->disassemble(&cpu->vcpu, c->rip + d->off, bytes + d->off, d->len, t)) {
            g_string_append_printf(t, "%s %s", x->name, x->operands);
        }
        g_string_append_c(t, '\n');
    }
}

static void report(X86Cpu *cpu, const T1Code *c, const uint8_t *bytes, const X86Cpu *t0, const char *what)
{
    g_autoptr(GString) t = g_string_new(NULL);
    static const char *const names[] = { "rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi" };
    const X86Cpu *was = saved_cpu(&cpu->t1->lockstep->before);
    g_string_append_printf(t, "lockstep: unit at 0x%" PRIx64 " (%u instructions, mode %x): %s differs\n", c->rip, c->n_insns, cpu->mode, what);
    for (unsigned i = 0; i < 16; i++) {
        g_string_append_printf(t, "  %s", i < 8 ? names[i] : "r");
        i < 8 ? (void)0 : g_string_append_printf(t, "%u", i);
        g_string_append_printf(t, "\tbefore %016" PRIx64, was->gpr[i]);
        if (cpu->gpr[i] != t0->gpr[i]) {
            g_string_append_printf(t, ", tier 0 %016" PRIx64 ", tier 1 %016" PRIx64, t0->gpr[i], cpu->gpr[i]);
        }
        g_string_append_c(t, '\n');
    }
    for (unsigned i = 0; i < 16; i++) {
        if (memcmp(&cpu->xmm[i], &t0->xmm[i], sizeof(cpu->xmm[i]))) {
            g_string_append_printf(t, "  vector register %u: tier 0 %016" PRIx64 "%016" PRIx64 ", tier 1 %016" PRIx64 "%016" PRIx64 "\n", i,
                                   t0->xmm[i].q[1], t0->xmm[i].q[0], cpu->xmm[i].q[1], cpu->xmm[i].q[0]);
        }
    }
    g_string_append_printf(t, "  tier 0 rip %016" PRIx64 " flags %03x, tier 1 rip %016" PRIx64 " flags %03x\n", t0->rip, x86_arith_flags(t0),
                           cpu->rip, x86_arith_flags(cpu));
    append_code(cpu, c, bytes, t);
    fputs(t->str, stderr);
}

static uint32_t flags_known(const T1Code *c)
{
    uint32_t known = FL_ARITH; /* the path may have ended anywhere: what no instruction leaves undefined */
    for (unsigned i = 0; i < c->n_insns; i++) {
        known &= ~(uint32_t)x86_rows[t1_code_insns(c)[i].row].fl_undef;
    }
    return known;
}

static bool fpu_same(const X86Fpu *a, const X86Fpu *b)
{
    for (unsigned i = 0; i < 8; i++) {
        if (a->r[i].sig != b->r[i].sig || a->r[i].se != b->r[i].se) {
            return false;
        }
    }
    return a->cw == b->cw && a->sw == b->sw && a->top == b->top && a->tags == b->tags && a->fop == b->fop &&
           a->fcs == b->fcs && a->fds == b->fds && a->fip == b->fip && a->fdp == b->fdp;
}

/* What tier 1 left differs from what tier 0 did, NULL: nothing. */
static const char *difference(const X86Cpu *cpu, const X86Cpu *t0, const T1Code *c)
{
    const T1Lockstep *l = cpu->t1->lockstep;
    size_t from = offsetof(X86Cpu, seg), to = offsetof(X86Cpu, fpu);
    if (memcmp(cpu->gpr, t0->gpr, 16 * 8)) {
        return "a register";
    } else if (cpu->rip != t0->rip) {
        return "RIP";
    } else if ((x86_arith_flags(cpu) ^ x86_arith_flags(t0)) & flags_known(c)) {
        return "a flag";
    } else if (cpu->eflags != t0->eflags || cpu->mode != t0->mode) {
        return "the mode";
    } else if (memcmp(cpu->seg_base, t0->seg_base, sizeof(cpu->seg_base))) {
        return "a segment's base";
    } else if (memcmp(cpu->xmm, t0->xmm, sizeof(cpu->xmm)) || cpu->mxcsr != t0->mxcsr) {
        return "a vector register or MXCSR";
    } else if (!fpu_same(&cpu->fpu, &t0->fpu)) {
        return "the x87";
    } else if (memcmp((const uint8_t *)cpu + from, (const uint8_t *)t0 + from, to - from)) {
        return "a segment or system register";
    }
    for (unsigned i = 0; i < l->n; i++) {
        if (memcmp(l->store[i].host, l->store[i].new, l->store[i].n)) {
            return "memory";
        }
    }
    return NULL;
}

/* Goes on as tier 0 would have: one wrong translation is reported, not what follows from it. */
static void side_with_t0(X86Cpu *cpu)
{
    T1Lockstep *l = cpu->t1->lockstep;
    restore(cpu, &l->after);
    for (unsigned i = 0; i < l->n; i++) {
        memcpy(l->store[i].host, l->store[i].new, l->store[i].n);
    }
}

static void differs(X86Cpu *cpu, const T1Code *c, const char *what)
{
    T1Lockstep *l = cpu->t1->lockstep;
    if (++l->different <= REPORTS) {
        report(cpu, c, l->bytes, saved_cpu(&l->after), what);
    }
    side_with_t0(cpu);
}

void t1_lockstep_raised(X86Cpu *cpu)
{
    T1Lockstep *l = cpu->t1->lockstep;
    if (!l->running) {
        return;
    }
    l->running = NULL;
    if (++l->different <= REPORTS) {
        fprintf(stderr, "lockstep: tier 1 raised exception %d at 0x%" PRIx64 ", tier 0 none\n", cpu->exc_vector, cpu->rip);
    }
}

void t1_lockstep_unit(X86Cpu *cpu, X86Unit *u, void (*enter)(X86Cpu *, const void *))
{
    T1Lockstep *l = cpu->t1->lockstep;
    T1Code *c = u->t1;
    TlbState *ts = &cpu->t0->tlb;
    l->units++;
    l->running = NULL;
    c->rip = cpu->rip;
    if (!repeatable(c)) {
        enter(cpu, c->entry);
        return;
    }
    if (l->drops != ts->drops) {
        l->drops = ts->drops;
        memset(&l->tlb, 0xff, sizeof(l->tlb));
    }
    save(cpu, &l->before);
    uint32_t generation = cpu->t0->generation;
    l->n = 0;
    l->fixed = false;
    l->bytes = u->key2 ? NULL : (const uint8_t *)u->key;
    cpu->unit = cpu->t1->none;
    cpu->tlb = &l->tlb;
    cpu->t0->log_stores = true;
    run_t0(cpu, c); /* may long-jump: t1_left() clears what is set here */
    cpu->t0->log_stores = false;
    cpu->tlb = &cpu->tlb_mem;
    if (l->fixed || cpu->t0->generation != generation || !u->t1) {
        return;
    }
    save(cpu, &l->after);
    for (unsigned i = 0; i < l->n; i++) {
        memcpy(l->store[i].new, l->store[i].host, l->store[i].n);
    }
    for (unsigned i = l->n; i-- > 0; ) {
        memcpy(l->store[i].host, l->store[i].old, l->store[i].n);
    }
    restore(cpu, &l->before);
    l->running = c;
    uint64_t leaves = cpu->t1->stats.leaves;
    uint32_t early = cpu->tr1.left_early;
    enter(cpu, c->entry);
    l->running = NULL;
    const X86Cpu *t0 = saved_cpu(&l->after);
    bool asked = __atomic_load_n(&cpu->vcpu.exit_request, __ATOMIC_RELAXED) || cpu->t1->stats.leaves != leaves ||
                 vcpu_irq_pending(&cpu->vcpu);
    const X86Cpu *was = saved_cpu(&l->before);
    bool unmoved = cpu->rip == was->rip && !memcmp(cpu->gpr, was->gpr, 16 * 8);
    if (cpu->tr1.left_early != early || (asked && (cpu->rip != t0->rip || unmoved))) {
        return; /* it left half way, or somebody wanted it to leave, before the first instruction or half way */
    }
    l->compared++;
    const char *what = difference(cpu, t0, c);
    if (what) {
        differs(cpu, c, what);
    }
}

bool t1_lockstep_failed(const X86Cpu *cpu)
{
    return cpu->t1->lockstep->different;
}

void t1_lockstep_describe(const X86Cpu *cpu, GString *out)
{
    const T1Lockstep *l = cpu->t1->lockstep;
    g_string_append_printf(out, "  lockstep             %" PRIu64 " units, %" PRIu64 " compared, %" PRIu64 " different\n", l->units, l->compared,
                           l->different);
}

void t1_lockstep_end(X86Cpu *cpu)
{
    const T1Lockstep *l = cpu->t1->lockstep;
    fprintf(stderr, "lockstep: %" PRIu64 " units run, %" PRIu64 " compared, %" PRIu64 " different\n", l->units, l->compared, l->different);
}
