/* SPDX-License-Identifier: MIT
 * target/x86/t1-exec.c - what translated code calls: one instruction by its T0 function, for units that always run it so and
 * for side paths, whose records (t1-side.c) are read here.
 * Threads: the vCPU's thread.
 */
#define T0_TAIL_NEXT
#include "t1-exec.h"

/* Behind the instruction in scratch[]: back to run(). */
const X86Insn *t1_op_done(X86Cpu *cpu, const X86Insn *d)
{
    (void)cpu;
    return d;
}

/* A SYSCALL or SYSRET has been done, from this mode. All that its outcome depends on is the mode, the flags that translated code
 * looks at again, and what x86_transitions_drop() follows. */
static void note_transition(X86Cpu *cpu, const X86Insn *d, uint32_t from)
{
    bool ret = t1_rows()[d->row].cls == T1C_SYSRET;
    uint32_t fl = ret ? cpu->eflags : (uint32_t)cpu->gpr[11];
    uint32_t bad = FL_TF | FL_AC | FL_VM | (ret ? FL_IOPL | FL_NT | FL_VIF | FL_VIP : 0);
    if ((!ret && t1_rows()[d->row].cls != T1C_SYSCALL) || fl & bad || !(from & cpu->mode & MODE_CODE64)) {
        return;
    }
    const X86Seg *cs = &cpu->seg[SEG_CS], *ss = &cpu->seg[SEG_SS];
    uint64_t salt = t1_salt_for(cpu, cpu->mode); /* first: it may drop what is noted */
    cpu->tr1.trans[ret] = (X86Transition){
        .from = from, .to = cpu->mode, .generation = cpu->t0->generation, .fl_keep = ~(uint32_t)cpu->fmask & ~FL_RF,
        .rip = cpu->lstar, .salt = salt, .cs_limit_attr = cs->limit | (uint64_t)cs->attr << 32,
        .ss_limit_attr = ss->limit | (uint64_t)ss->attr << 32, .shadow_start = cpu->tr1.shadow_base[t1_shadow(cpu->mmu)],
        .cs_sel = cs->sel, .ss_sel = ss->sel, .mmu = cpu->mmu,
    };
}

/* RIP of what comes after the instruction. Outside 64-bit code the sum wraps at 4 GiB. */
static inline uint64_t behind(const X86Cpu *cpu, uint64_t start, const X86Insn *d)
{
    uint64_t next = start + d->off + d->len;
    return cpu->mode & MODE_CODE64 ? next : (uint32_t)next;
}

static int run(X86Cpu *cpu, const X86Insn *insn, uint64_t start, bool whole)
{
    T1State *s = cpu->t1;
    X86Insn *d = s->scratch;
    uint32_t mode = cpu->mode, generation = cpu->t0->generation;
    uint64_t next = behind(cpu, start, insn);
    d[0] = *insn;
    cpu->gpr[R_UNIT] = start;
    bool goes_on = d->op(cpu, d);
    T1RowCount *count = &s->rows[insn->row];
    whole ? count->whole++ : count->slow++;
    if (G_LIKELY(goes_on)) {
        bool leave = __atomic_load_n(&cpu->vcpu.exit_request, __ATOMIC_RELAXED) & EXIT_SELF;
        if (G_LIKELY(!leave && !(s->chaos && t1_chaos_leave(cpu)))) {
            return 0;
        }
        cpu->rip = next;
        s->stats.leaves++;
        return 1;
    }
    /* The instruction ends units; when it changed nothing that translated code depends on, go on all the same. */
    bool chaos = s->chaos && t1_chaos_leave(cpu);
    if (!chaos && cpu->rip == next && cpu->mode == mode && cpu->t0->generation == generation && !cpu->irq_shadow &&
        !cpu->vcpu.halted && !cpu->db_hits && !vcpu_irq_pending(&cpu->vcpu) &&
        !__atomic_load_n(&cpu->vcpu.exit_request, __ATOMIC_RELAXED)) {
        return 0;
    }
    if (cpu->mode != mode) {
        note_transition(cpu, insn, mode);
    }
    cpu->tr1.next = chaos ? NULL : t1_next_code(cpu);
    if (G_LIKELY(cpu->tr1.next)) {
        return 2;
    }
    s->stats.leaves++;
    return 1;
}

/* Code that goes on with vectors or x87 in the host's registers does so only while their exceptions are masked. */
static bool state_unmasked(X86Cpu *cpu, unsigned state)
{
    return (state & T1S_VEC && G_UNLIKELY(!t1_simd_masked(cpu))) || (state & T1S_FPU && G_UNLIKELY(!t1_fpu_masked(cpu)));
}

static inline int exec(X86Cpu *cpu, const T1Rec *rec, unsigned state)
{
    uint64_t start = *(const uint64_t *)(const void *)((const uint8_t *)rec - rec->head) + (rec->pic ? cpu->tr1.pcbase : 0);
    t1_flags_normal(cpu);
    int leave = run(cpu, &rec->insn, start, true);
    if (leave) {
        return leave;
    }
    if (state_unmasked(cpu, state)) {
        cpu->rip = behind(cpu, start, &rec->insn);
        return 1;
    }
    if (state & T1S_FPU) {
        t1_fpu_load(cpu); /* the last thing C code does */
    }
    return 0;
}
#define EXEC(name, state) \
    static int name(X86Cpu *cpu, const T1Rec *rec) { return exec(cpu, rec, state); }
EXEC(exec_plain, 0)
EXEC(exec_vec, T1S_VEC)
EXEC(exec_fpu, T1S_FPU)
EXEC(exec_both, T1S_VEC | T1S_FPU)
T1ExecFn *const t1_exec_fns[4] = { exec_plain, exec_vec, exec_fpu, exec_both };

/* --- side paths --- */

/* The instruction of the side path at `at`. Only its bytes are kept there: most side paths never run. */
static const X86Insn *decoded(X86Cpu *cpu, const uint8_t *at, const uint8_t *bytes, unsigned len, unsigned off)
{
    T1Decoded *e = &cpu->t1->decoded[((uintptr_t)at * 0x9e3779b97f4a7c15u) >> 56 & (T1_DECODED - 1)];
    if (G_UNLIKELY(e->at != at)) {
        e->at = x86_decode(cpu->mode, &cpu->t0->feat, bytes, len, off, &e->insn) == DEC_OK ? at : NULL;
    }
    return &e->insn;
}

static inline unsigned get(const uint8_t **p, unsigned n)
{
    uint32_t v = 0;
    memcpy(&v, *p, n);
    *p += n;
    return v;
}

int t1_side_exec(X86Cpu *cpu, const uint8_t *at)
{
    T1State *s = cpu->t1;
    const uint8_t *p = at, *back = NULL;
    unsigned head = get(&p, 2), place = get(&p, 2), what = get(&p, 2);
    uint64_t start;
    memcpy(&start, at - head, 8);
    start += what & SR_PIC ? cpu->tr1.pcbase : 0;
    if (what & SR_NEAR) { /* behind the jump that leads to the look-up */
        int32_t again;
        memcpy(&again, at - 4, 4);
        back = at + again + get(&p, 1);
    } else if (what & SR_BACK) {
        back = at + (int32_t)get(&p, 4);
    }
    if (what & SR_FLAGS) {
        unsigned op = get(&p, 1), a = get(&p, 1), b = get(&p, 1);
        cpu->cc_dst = a >= R_KEPT_DST ? cpu->cc_dst : cpu->gpr[a]; /* R_KEPT_*: there already */
        if ((op & ~3u) != CC_T1_LOGIC) {
            cpu->cc_src = b == R_NONE ? (uint64_t)(int32_t)get(&p, 4) : b >= R_KEPT_DST ? cpu->cc_src : cpu->gpr[b];
        }
        cpu->cc_op = op;
    }
    if (what & SR_UNDO) {
        cpu->gpr[R_RSP] += (uint64_t)(int32_t)get(&p, 4);
    }
    t1_flags_normal(cpu);
    const X86Insn *d = decoded(cpu, at, p, place >> 12, place & 4095);
    if (G_UNLIKELY(cpu->tr1.win_thrash)) {
        t1_site_missed(cpu, d, start);
    }
    if (G_UNLIKELY(what & SR_LEADS)) {
        t1_site_crossed(cpu, d, start);
    }
    uint64_t next = behind(cpu, start, d);
    int leave = run(cpu, d, start, false);
    if (what & SR_RELOAD) {
        t1_load_flags(cpu);
    }
    if (leave) {
        return leave;
    }
    unsigned vec = what >> SR_VEC_SHIFT & 3;
    unsigned state = (vec ? T1S_VEC : 0) | (what & SR_FPU ? T1S_FPU : 0);
    if (!(what & (SR_NEAR | SR_BACK | SR_LEAVES))) { /* a branch to the next instruction: rip is set */
        return 1;
    }
    if (state_unmasked(cpu, state)) {
        cpu->rip = next;
        return 1;
    }
    cpu->rip = next; /* for thunk.jump */
    cpu->tr1.left_early += !!(what & SR_LEAVES);
    cpu->tr1.next = what & SR_LEAVES ? s->thunk.jump : back;
    cpu->tr1.resume = s->thunk.resume[(what & SR_RELOAD) != 0][vec];
    if (state & T1S_FPU) {
        t1_fpu_load(cpu);
    }
    return 0;
}
