/* SPDX-License-Identifier: MIT
 * target/x86/t1-join.c - jumps forwards to an instruction of the same unit: they stay in it, where they meet the code that was not
 * jumped over. What checks of memory accesses found in front of the jump holds there, too; a loop with such a jump stays in its copy.
 * What is true behind the join is what is true on all ways there: registers that were written in between
 * are others to t1-group.c, checks made in between do not count, and the flags are in one place. They are already where nobody wrote
 * them in between, or where nobody reads them any more; else both ways bring them to the state.
 * Does not model: jumps over anything that C code or a change of mode may come of.
 * Threads: the vCPU's thread.
 */
#include "t1.h"

/* Emitted in line, with nothing of C but the side paths that come back. */
static bool plain(const T1 *t, unsigned i)
{
    if (t1_traps(&t->insn[i])) {
        return false;
    }
    switch (t1_rows()[t->insn[i].row].cls) {
    case T1C_NOP: case T1C_NATIVE: case T1C_VEC: case T1C_LEA: case T1C_PUSH_R: case T1C_PUSH_I: case T1C_PUSH_E: case T1C_POP_R:
    case T1C_LEAVE: case T1C_JCC: case T1C_JMP: case T1C_MOV_AO: case T1C_MOV_OA: case T1C_INCDEC_R: case T1C_MOV_ZI: case T1C_XCHG_ZA:
        return true;
    default: return false;
    }
}

/* The instruction of the unit that the conditional jump i leads to, behind the next one; 0: none. */
static unsigned target_of(const T1 *t, unsigned i)
{
    const X86Insn *d = &t->insn[i];
    uint64_t to = (uint64_t)d->off + d->len + d->imm;
    for (unsigned k = i + 1; (int64_t)d->imm > 0 && k < t->n && t->insn[k].off <= to; k++) {
        if (t->insn[k].off == to) {
            return k > i + 1 ? k : 0;
        }
        if (!plain(t, k)) {
            return 0;
        }
    }
    return 0;
}

void t1_joins_plan(T1 *t)
{
    memset(t->join, 0, sizeof(t->join));
    t->joins = 0;
    for (unsigned i = 0; i + 2 < t->n && !t->cpu->t1->lockstep; i++) { /* it compares after each unit */
        const X86Insn *d = &t->insn[i];
        if (t1_rows()[d->row].cls == T1C_JCC && insn_osize(d) == 3 && plain(t, i)) {
            t->join[i] = (uint8_t)target_of(t, i);
            t->joins |= t->join[i] ? 1ull << t->join[i] : 0;
        }
    }
}

/* What becomes of flags that go to the state. */
static T1Flags as_state(T1Flags f)
{
    unsigned kind = f.op & ~3u;
    if (f.state) {
        f.state_lahf &= !f.part;
        f.host &= !f.part;
        f.part = 0;
        return f;
    }
    if (!f.op) {
        f.state_lahf = true;
    } else if (kind == CC_T1_ADD || kind == CC_T1_SUB || kind == CC_T1_LOGIC) {
        f.a = R_KEPT_DST;
        f.b = R_KEPT_SRC;
    }
    f.state = true;
    return f;
}

static T1Flags common(T1Flags a, const T1Flags *b)
{
    a.host &= b->host;
    a.state_lahf &= b->state_lahf;
    if (a.op != b->op || a.a != b->a || a.b != b->b || a.imm != b->imm) {
        a.op = 0;
    }
    return a;
}

static bool meets(const T1 *t, const T1Side *s)
{
    return s->kind == SIDE_EXIT && s->join == t->i;
}

void t1_join_here(T1 *t)
{
    unsigned first = t->n;
    bool same = true;
    for (unsigned k = t->first_side; k < t->n_sides && t->joins >> t->i & 1; k++) {
        if (meets(t, &t->side[k])) {
            same &= t1_same_flags(&t->side[k].fl, &t->fl);
            first = MIN(first, t->side[k].insn);
        }
    }
    if (first == t->n) {
        return;
    }
    bool dead = t1_fl_dead(t, t->i);
    t->delta = NULL;
    for (unsigned k = 1; k <= t->n_groups; k++) {
        t->group[k].checked &= t->group[k].begin <= first;
    }
    t->cpu->t1->stats.joins++;
    if (!dead && !same) {
        t1_fl_to_state(t, &t->hot, &t->fl);
    }
    T1Flags all = t->fl;
    for (unsigned k = t->first_side; k < t->n_sides; k++) {
        T1Side *s = &t->side[k];
        if (!meets(t, s)) {
            continue;
        }
        if (dead || same || (s->fl.state && !s->fl.part)) {
            e_patch(s->from, t->hot.p);
            s->kind = SIDE_NONE;
        } else {
            s->kind = SIDE_JOIN;
            s->back = t->hot.p;
        }
        T1Flags f = as_state(s->fl);
        all = dead || same ? all : common(all, &f);
    }
    t->fl = dead ? (T1Flags){ .host = true } : all;
}
