/* SPDX-License-Identifier: MIT
 * target/x86/t1-lockstep.c - `-accel tcg,lockstep=on`: each translated unit runs twice, by T0 functions and as translated code, from
 * the same state, and what they leave is compared: registers, flags, vectors, x87, memory.
 *
 * T0 goes first, through a TLB of its own that has no write tags, so that every store comes to mem.c and is logged with what was
 * there before; then stores and registers are taken back and translated code runs. A unit whose effects cannot be
 * taken back (device access, an exception, code that modifies code) stays as T0 left it and is not compared.
 * Threads: the vCPU's thread.
 */
#include "t1.h"
#include "flags.h"
#include "rhea/util/log.h"

enum { LOG_MAX = 4096 };

typedef struct Store { uint8_t *host; uint8_t n, old[16], new[16]; } Store;
typedef struct Saved { /* what an instruction may change, up to the engine's own members */
    uint8_t bytes[offsetof(X86Cpu, controllers_)];
} Saved;
struct T1Lockstep {
    bool logging, fixed; /* fixed: something happened that cannot be taken back */
    unsigned n;
    uint32_t drops;
    uint64_t units, compared, different;
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
    cpu->t1->lockstep = g_try_new0(T1Lockstep, 1);
    return cpu->t1->lockstep;
}

/* Rows whose effects reach beyond registers and memory, or that depend on time. */
static bool repeatable(const T1Code *c)
{
    for (unsigned i = 0; i < c->n_insns; i++) {
        const X86Row *x = &x86_rows[c->insn[i].row];
        if (c->insn[i].row == 0 || (x->attrs & RA_NOFUZZ && strcmp(x->name, "CLI") && strcmp(x->name, "SWAPGS") && x->opcode != 0x8c)) {
            return false;
        }
    }
    return true;
}

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
        uint64_t next = c->rip + c->insn[i].off + c->insn[i].len;
        d[0] = c->insn[i];
        cpu->gpr[R_UNIT] = c->rip;
        const X86Insn *r = d->op(cpu, d);
        if (r) {
            cpu->rip = cpu->mode & MODE_CODE64 ? next : (uint32_t)next;
        }
        if (l->fixed || cpu->irq_shadow || cpu->db_hits || cpu->vcpu.exit_request & EXIT_SELF) {
            l->fixed |= cpu->irq_shadow || cpu->db_hits || cpu->vcpu.exit_request & EXIT_SELF;
            return;
        }
        if (i + 1 < c->n_insns && cpu->rip != c->rip + c->insn[i + 1].off) {
            return;
        }
    }
}

static void report(X86Cpu *cpu, const T1Code *c, const X86Cpu *t0, const char *what)
{
    g_autoptr(GString) t = g_string_new(NULL);
    static const char *const names[] = { "rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi" };
    g_string_append_printf(t, "lockstep: unit at 0x%" PRIx64 " (%u instructions, mode %x): %s differs\n", c->rip, c->n_insns, cpu->mode, what);
    for (unsigned i = 0; i < 16; i++) {
        if (cpu->gpr[i] != t0->gpr[i]) {
            g_string_append_printf(t, "  %s%u: tier 0 %016" PRIx64 ", tier 1 %016" PRIx64 "\n", i < 8 ? names[i] : "r", i, t0->gpr[i], cpu->gpr[i]);
        }
    }
    g_string_append_printf(t, "  rip %016" PRIx64 " %016" PRIx64 ", flags %x %x\n", t0->rip, cpu->rip, x86_arith_flags(t0), x86_arith_flags(cpu));
    for (unsigned i = 0; i < c->n_insns; i++) {
        const X86Row *x = &x86_rows[c->insn[i].row];
        g_string_append_printf(t, "  %" PRIx64 " %s %s\n", c->rip + c->insn[i].off, x->name, x->operands);
    }
    fputs(t->str, stderr);
}

static uint32_t flags_known(const T1Code *c)
{
    uint32_t known = FL_ARITH; /* the path may have ended anywhere: what no instruction leaves undefined */
    for (unsigned i = 0; i < c->n_insns; i++) {
        known &= ~(uint32_t)x86_rows[c->insn[i].row].fl_undef;
    }
    return known;
}

static bool same_fpu(const X86Fpu *a, const X86Fpu *b)
{
    for (unsigned i = 0; i < 8; i++) {
        if (a->r[i].sig != b->r[i].sig || a->r[i].se != b->r[i].se) {
            return false;
        }
    }
    return a->cw == b->cw && a->sw == b->sw && a->top == b->top && a->tags == b->tags && a->fop == b->fop && a->fcs == b->fcs &&
           a->fds == b->fds && a->fip == b->fip && a->fdp == b->fdp;
}

static void compare(X86Cpu *cpu, const T1Code *c)
{
    T1Lockstep *l = cpu->t1->lockstep;
    const X86Cpu *t0 = (const X86Cpu *)(const void *)l->after.bytes;
    const char *what = NULL;
    l->compared++;
    if (memcmp(cpu->gpr, t0->gpr, 16 * 8)) {
        what = "a register";
    } else if (cpu->rip != t0->rip) {
        what = "RIP";
    } else if ((x86_arith_flags(cpu) ^ x86_arith_flags(t0)) & flags_known(c)) {
        what = "a flag";
    } else if (cpu->eflags != t0->eflags || cpu->mode != t0->mode) {
        what = "the mode";
    } else if (memcmp(cpu->seg_base, t0->seg_base, sizeof(cpu->seg_base)) || cpu->kernel_gs_base != t0->kernel_gs_base) {
        what = "a segment's base";
    } else if (memcmp(cpu->xmm, t0->xmm, sizeof(cpu->xmm)) || cpu->mxcsr != t0->mxcsr) {
        what = "a vector register or MXCSR";
    } else if (!same_fpu(&cpu->fpu, &t0->fpu)) {
        what = "the x87 state";
    }
    for (unsigned i = 0; i < l->n && !what; i++) {
        if (memcmp(l->store[i].host, l->store[i].new, l->store[i].n)) {
            what = "memory";
        }
    }
    if (what && ++l->different <= 5) {
        report(cpu, c, t0, what);
    }
}

void t1_lockstep_unit(X86Cpu *cpu, X86Unit *u, void (*enter)(X86Cpu *, const void *))
{
    T1Lockstep *l = cpu->t1->lockstep;
    T1Code *c = u->t1;
    TlbState *ts = &cpu->t0->tlb;
    l->units++;
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
    enter(cpu, c->entry);
    if (__atomic_load_n(&cpu->vcpu.exit_request, __ATOMIC_ACQUIRE) || vcpu_irq_pending(&cpu->vcpu)) {
        return; /* it may have left before the end */
    }
    compare(cpu, c);
}

void t1_lockstep_describe(const X86Cpu *cpu, GString *out)
{
    const T1Lockstep *l = cpu->t1->lockstep;
    g_string_append_printf(out, "  lockstep             %" PRIu64 " units, %" PRIu64 " compared, %" PRIu64 " different\n", l->units, l->compared,
                           l->different);
}
