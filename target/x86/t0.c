/* SPDX-License-Identifier: MIT
 * target/x86/t0.c - the interpreter's run loop: events between units, entering units, leaving them.
 * Models: SDM vol. 3 6.8.3 (interrupt shadow), 6.9 (priorities at instruction boundaries), 17.3.1.4 (single step).
 * Does not model: timing.
 * Threads: the vCPU's thread, but for the functions that say so.
 */
#define T0_TAIL_NEXT
#include "t1.h"
#include "flags.h"
#include "rhea/util/log.h"
#include "sysint.h"


OP(raise_ud) { RAISE(EXC_UD); }
OP(raise_gp) { RAISE_ERR(EXC_GP, 0); }

/* The unit is done without a jump: go on behind it. */
OP(unit_end)
{
    JUMP(insn_rip(cpu, d), 0);
}

/* The same for units of one instruction: the run loop looks at debug traps and interrupts. */
OP(unit_stop)
{
    cpu->rip = insn_rip(cpu, d);
    END_UNIT;
}

/* Stands for the instruction after one that called x86_unit_leave(). */
static const X86Insn *op_leave(X86Cpu *cpu, const X86Insn *d)
{
    const X86Unit *u = cpu->unit;
    cpu->rip = insn_rip(cpu, d);
    cpu->insn_count -= u->n - (uint64_t)(d - u->insn);
    END_UNIT;
}

void x86_unit_leave(X86Cpu *cpu)
{
    T0State *t = cpu->t0;
    if (!t) {
        return;
    }
    __atomic_fetch_or(&cpu->vcpu.exit_request, EXIT_SELF, __ATOMIC_RELAXED);
    X86Insn *next = (X86Insn *)cpu->cur + 1;
    if (!cpu->cur || !t->in_unit || t->patched == next) {
        return;
    }
    if (t->patched) {
        t->patched->op = t->patched_op;
    }
    t->patched = next;
    t->patched_op = next->op;
    next->op = op_leave;
}

static void t0_unpatch(T0State *t)
{
    if (G_UNLIKELY(t->patched)) {
        t->patched->op = t->patched_op;
        t->patched = NULL;
    }
}

/* --- the loop --- */

/* A fault left the unit in the middle: take back what had been counted and did not retire. */
static void t0_settle(X86Cpu *cpu)
{
    T0State *t = cpu->t0;
    if (t->in_unit && cpu->unit) {
        const X86Unit *u = cpu->unit;
        uint64_t off = cpu->rip - cpu->gpr[R_UNIT];
        unsigned done = u->n;
        for (unsigned i = 0; i < u->n; i++) {
            if (u->insn[i].off == off) {
                done = i;
                break;
            }
        }
        cpu->insn_count -= u->n - done;
    }
    t->in_unit = false;
}

/* A code segment with another base or limit ends what the jump cache knows. */
static void cs_check(X86Cpu *cpu)
{
    T0State *t = cpu->t0;
    uint32_t limit = cpu->mode & MODE_FLAT ? UINT32_MAX : cpu->seg[SEG_CS].limit;
    if (G_UNLIKELY(t->cs_base != cpu->seg_base[SEG_CS] || t->cs_limit != limit)) {
        t->cs_base = cpu->seg_base[SEG_CS];
        t->cs_limit = limit;
        tlb_new_generation(cpu);
    }
}

static X86Unit *next_unit(X86Cpu *cpu, uint32_t mode)
{
    T0State *t = cpu->t0;
    bool linking = t->link_rip == cpu->rip;
    JumpEntry *e = &t->jc[jc_index(cpu->rip)];
    X86Unit *u;
    if (e->rip == cpu->rip && e->gen == t->gen) {
        u = e->unit;
    } else {
        u = unit_find(cpu, mode);
        if (t->gen != GEN_NEVER && !u->loose && !dbg_ends_at(t, u->key)) {
            *e = (JumpEntry){ .rip = cpu->rip, .gen = t->gen, .unit = u };
            u->in_jc = t->jc_used = true;
        }
    }
    X86Unit *from = linking ? t->link_from : NULL; /* not before: it may have gone */
    t->link_from = NULL;
    if (from && !from->dead && !dbg_ends_at(t, u->key) && !u->loose && !from->key2 && !u->key2 && from->mode == mode && u->mode == mode &&
        (from->key ^ u->key) < 4096 && t->gen != GEN_NEVER) {
        from->link[t->link_slot] = u;
        u->linked = true;
    }
    return u;
}

static bool insn_is_sti(const X86Unit *u)
{
    const X86Row *r = &x86_rows[u->insn[0].row];
    return r->map == 0 && r->opcode == 0xfb;
}

/* Debug traps after the one instruction of u. */
static void debug_traps(X86Cpu *cpu, const X86Unit *u, bool single_step)
{
    bool stack_shadow = cpu->irq_shadow && !(u && insn_is_sti(u)); /* MOV SS, POP SS hold them back (SDM 6.8.3) */
    if (stack_shadow) {
        return;
    }
    uint64_t bits = cpu->db_hits;
    if (single_step && u && !(x86_rows[u->insn[0].row].attrs & RA_NOSTEP)) {
        bits |= DR6_BS;
    }
    cpu->db_hits = 0;
    if (bits) {
        cpu->vcpu.halted = false; /* a step over HLT: it completes, and the trap ends the wait */
        x86_raise_db_trap(cpu, bits);
    }
}

void t0_run_unit(X86Cpu *cpu, X86Unit *u)
{
    T0State *t = cpu->t0;
    cpu->unit = u;
    cpu->gpr[R_UNIT] = cpu->rip;
    cpu->insn_count += u->n;
    t->in_unit = true;
    for (const X86Insn *d = u->insn; d; ) {
        d = d->op(cpu, d);
    }
    t->in_unit = false;
}

/* For tests that ask which rows of insn.def ran: with insn_limit set, a unit is one instruction. */
static void run_unit_counted(X86Cpu *cpu, X86Unit *u)
{
    uint8_t *row = &cpu->t0->rows_run[u->insn[0].row];
    *row |= ROW_ENTERED;
    t0_run_unit(cpu, u);
    *row |= ROW_RETIRED;
}

/* A step that nothing shall interrupt. A CPU that waits for an interrupt has no other way to go on. */
static uint32_t irqs_wanted(const X86Cpu *cpu)
{
    bool some = cpu->t0->dbg & DBG_NO_IRQ && !cpu->vcpu.halted;
    return some ? X86_IRQ_INIT | X86_IRQ_SIPI | X86_IRQ_TLB : UINT32_MAX;
}

/* Events before the next unit. True: leave the loop with *why. */
static bool before_unit(X86Cpu *cpu, ExitReason *why)
{
    Vcpu *v = &cpu->vcpu;
    T0State *t = cpu->t0;
    for (;;) {
        t0_unpatch(t);
        cpu->cur = NULL;
        cpu->unit = NULL;
        unit_reap(t);
        uint8_t exit = __atomic_load_n(&v->exit_request, __ATOMIC_ACQUIRE);
        if (G_UNLIKELY(exit & EXIT_SELF)) {
            __atomic_fetch_and(&v->exit_request, (uint8_t)~EXIT_SELF, __ATOMIC_ACQ_REL);
        }
        if (G_UNLIKELY(__atomic_load_n(&t->wanted, __ATOMIC_ACQUIRE))) {
            t0_take_requests(cpu);
        }
        if (exit & EXIT_CORE) {
            __atomic_fetch_and(&v->exit_request, (uint8_t)~EXIT_CORE, __ATOMIC_ACQ_REL);
            *why = EXIT_KICKED;
            return true;
        }
        if (G_UNLIKELY(t->awaiting) && !smp_settled(cpu)) {
            continue;
        }
        if (G_UNLIKELY(vcpu_irq_pending(v)) && x86_take_irq(cpu, irqs_wanted(cpu))) {
            cpu->irq_shadow = false;
            if (G_UNLIKELY(t->dbg & DBG_STEP)) { /* of a halted CPU, or one that may be interrupted */
                dbg_stepped(cpu);
                *why = EXIT_DEBUG;
                return true;
            }
            continue;
        }
        if (v->halted) {
            *why = EXIT_HALT;
            return true;
        }
        return false;
    }
}

static ExitReason t0_loop(X86Cpu *cpu)
{
    T0State *t = cpu->t0;
    const uint64_t stop = cpu->vcpu.budget ? cpu->insn_count + cpu->vcpu.budget : UINT64_MAX;
    volatile unsigned raised = 0;
    if (sigsetjmp(cpu->fault_jmp, 0)) {
        t0_settle(cpu);
        t0_unpatch(t);
        t->link_from = NULL;
        smp_split_end(cpu);
        if (cpu->t1) {
            t1_left(cpu);
        }
        cpu->irq_shadow = false;
        cpu->db_hits = 0; /* of an instruction that did not complete: it hits again when it does */
        dbg_fault(cpu);
        if (cpu->exc_stop) {
            return EXIT_DEBUG;
        }
        if (!x86_deliver_pending(cpu)) {
            return EXIT_SHUTDOWN;
        }
        if (G_UNLIKELY(t->dbg & DBG_STEP)) { /* it ends at the handler */
            dbg_stepped(cpu);
            return EXIT_DEBUG;
        }
        if (cpu->vcpu.budget && ++raised >= cpu->vcpu.budget) {
            return EXIT_KICKED; /* handlers that fault at once retire nothing: others want their turn, too */
        }
    }
    for (;;) {
        ExitReason why;
        if (G_UNLIKELY(t->dbg & DBG_HIT)) {
            t->dbg &= ~DBG_HIT;
            return EXIT_DEBUG;
        }
        if (before_unit(cpu, &why)) {
            return why;
        }
        if (G_UNLIKELY(cpu->db_hits) && !cpu->irq_shadow) {
            debug_traps(cpu, NULL, false); /* the frame of an interrupt or exception hit a data breakpoint */
        }
        if (G_UNLIKELY(t->dbg & DBG_BREAK) && dbg_at_break(cpu)) {
            return EXIT_DEBUG;
        }
        bool shadow = cpu->irq_shadow;
        cpu->irq_shadow = false;
        /* The end of a budget is exact: a timer of -icount fires between the same two instructions in every run. */
        bool one = shadow || cpu->insn_limit || t->dbg & DBG_STEP || stop - cpu->insn_count < UNIT_MAX;
        uint32_t mode = cpu->mode | (one ? MODE_ONE : 0);
        cpu->eflags &= mode & MODE_DEBUG ? UINT32_MAX : ~FL_RF; /* nobody else looks at RF */
        if (cpu->insn_limit && cpu->insn_count >= cpu->insn_limit) {
            cpu->irq_shadow = shadow;
            return EXIT_DEBUG;
        }
        if (cpu->insn_count >= stop) {
            cpu->irq_shadow = shadow;
            return EXIT_KICKED;
        }
        bool alone = mode & (MODE_ONE | MODE_TF | MODE_DEBUG) || cpu->vcpu.budget || log_on(LOG_EXEC | LOG_CPU | LOG_NOCHAIN);
        t->gen = alone ? GEN_NEVER : (uint64_t)t->generation << 32 | mode;
        cs_check(cpu);
        mem_mode_changed(cpu);
        if (G_UNLIKELY(mode & MODE_DEBUG)) {
            x86_debug_unit_begin(cpu);
        }
        if (cpu->t1 && !cpu->t1->off && !alone && !t->rows_run && t1_mode_ok(mode)) {
            t1_run_unit(cpu, mode);
            if (G_UNLIKELY(cpu->db_hits)) {
                debug_traps(cpu, NULL, false);
            }
            continue;
        }
        X86Unit *u = next_unit(cpu, mode);
        if (log_on(LOG_EXEC | LOG_CPU)) {
            t0_log_enter(cpu, u, cpu->rip);
        }
        if (G_UNLIKELY(t->rows_run != NULL)) {
            run_unit_counted(cpu, u);
        } else {
            t0_run_unit(cpu, u);
        }
        if (G_UNLIKELY(mode & MODE_TF || cpu->db_hits)) {
            debug_traps(cpu, mode & (MODE_ONE | MODE_TF | MODE_DEBUG) ? u : NULL, mode & MODE_TF);
        }
        if (G_UNLIKELY(t->dbg & DBG_STEP)) {
            dbg_stepped(cpu);
            return EXIT_DEBUG;
        }
    }
}

/* What another engine was about to deliver. False: a triple fault. */
static bool deliver_held(X86Cpu *cpu)
{
    X86Held h = cpu->held;
    cpu->held.kind = X86_HELD_NONE;
    if (h.kind == X86_HELD_EXCEPTION) {
        cpu->exc_vector = h.vector;
        cpu->exc_err = h.err;
        cpu->sys->pending_fault = h.vector != EXC_BP && h.vector != EXC_OF && h.vector != EXC_DB;
        return x86_deliver_pending(cpu);
    }
    cpu->cur = NULL;
    if (sigsetjmp(cpu->fault_jmp, 0)) {
        return x86_deliver_pending(cpu);
    }
    x86_interrupt(cpu, h.vector, INT_HARD, false, 0);
    return true;
}

static VcpuExit t0_run(Vcpu *v)
{
    X86Cpu *cpu = x86_cpu(v);
    VcpuExit exit = { 0 };
    rcu_read_lock();
    smp_run_begin(cpu);
    cpu->gpr[R_NONE] = 0;
    cpu->gpr[R_BIAS] = 0x10000;
    cpu->seg_base[SEG_FLAT] = 0;
    x86_update_mode(cpu); /* reset, a debugger or a loaded state may have changed what it follows from */
    mem_begin_run(cpu);
    dbg_begin_run(cpu);
    if (cpu->t1) {
        t1_begin_run(cpu);
    }
    bool up = G_LIKELY(cpu->held.kind == X86_HELD_NONE) || deliver_held(cpu);
    exit.why = up ? t0_loop(cpu) : EXIT_SHUTDOWN;
    smp_run_end(cpu);
    cpu->t0->hint = NULL;
    rcu_read_unlock();
    return exit;
}

/* What the CPU model has, for the decoder. */
void t0_features(X86Cpu *cpu)
{
    for (unsigned i = 1; i <= x86_n_features; i++) {
        if (x86_has_feature(cpu, x86_feature_names[i])) {
            cpu->t0->feat.bit[i >> 6] |= 1ull << (i & 63);
        }
    }
}

static bool t0_vcpu_init(Vcpu *v, Error **errp)
{
    X86Cpu *cpu = x86_cpu(v);
    T0State *t = g_try_new0(T0State, 1);
    if (!t) {
        return error_set(errp, "vCPU %u: no memory for the interpreter's tables", v->index);
    }
    memset(t->jc, 0, sizeof(t->jc));
    t->gen = GEN_NEVER;
    pthread_mutex_init(&t->lock, NULL);
    t->await = g_new0(Await, v->machine->n_cpus);
    cpu->t0 = t;
    t0_features(cpu);
    tlb_init(cpu);
    size_t size = tcg_code_size(v);
    return size == 0 || t1_init(cpu, size, errp);
}

static void t0_vcpu_fini(Vcpu *v)
{
    X86Cpu *cpu = x86_cpu(v);
    if (!cpu->t0) {
        return;
    }
    units_free_all(cpu);
    t1_fini(cpu);
    pthread_mutex_destroy(&cpu->t0->lock);
    g_free(cpu->t0->await);
    g_free(cpu->t0);
    cpu->t0 = NULL;
    cpu->tlb = NULL;
    cpu->unit = NULL;
    cpu->cur = NULL;
    memset(&cpu->tr1, 0, sizeof(*cpu) - offsetof(X86Cpu, tr1)); /* caches: another engine may come (machine_move) */
}

/* In the middle of a unit all of it is counted already; whatever looks at the time has noted its instruction in cur. */
static uint64_t t0_insns(Vcpu *v)
{
    const X86Cpu *cpu = x86_cpu(v);
    const X86Unit *u = cpu->unit;
    if (!cpu->t0 || !cpu->t0->in_unit || !u) {
        return cpu->insn_count;
    }
    unsigned done = cpu->cur >= u->insn && cpu->cur < u->insn + u->n ? (unsigned)(cpu->cur - u->insn) : 0;
    return cpu->insn_count - (u->n - done);
}

static void t0_stats(Vcpu *v, TcgStats *out)
{
    const X86Cpu *cpu = x86_cpu(v);
    *out = (TcgStats){ 0 };
    if (cpu->t0) {
        *out = cpu->t0->stats;
        out->insns = cpu->insn_count;
        out->unit_bytes = cpu->t0->unit_memory;
    }
}

const TcgTargetOps x86_tcg_ops = {
    .vcpu_init = t0_vcpu_init,
    .vcpu_fini = t0_vcpu_fini,
    .run = t0_run,
    .request_flush = smp_request_flush,
    .code_written = smp_code_written,
    .insns = t0_insns,
    .stats = t0_stats,
    .describe = t1_describe,
    .failed = t1_failed,
};
