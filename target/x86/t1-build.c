/* SPDX-License-Identifier: MIT
 * target/x86/t1-build.c - one translation: decoding a superblock, emitting it, making it final.
 * Threads: the vCPU's thread.
 */
#include "t1.h"

/* Bytes that one instruction, the head or the end of a unit, one side path or one link makes at most. Emitters
 * write straight-line code of fixed shape, so nothing the guest says changes these; the greatest seen are a third
 * of them (`info jit`). Room is looked at before each, which is cheaper than at each byte. */
enum { HOT_STEP = 1536, COLD_STEP = 768 };

/* Rows behind which a unit never goes on: what follows runs in another mode, or rarely. */
static bool hard_end(const T1 *t, const X86Insn *d)
{
    static const char *const names[] = { "RETF", "IRET", "INT", "INT1", "INT3", "INTO", "SYSCALL", "SYSRET", "SYSENTER", "SYSEXIT",
                                         "HLT", "RSM", "MWAIT", "LMSW", "UD0", "UD1", "UD2", "LOOP", "LOOPE", "LOOPNE", "JRCXZ" };
    const X86Row *x = &x86_rows[d->row];
    if (d->row == 0) {
        return true;
    }
    switch (t1_rows()[d->row].cls) {
    case T1C_CALL: case T1C_CALL_E: case T1C_JMP_E: case T1C_RET: case T1C_RET_I: return true;
    case T1C_JCC: case T1C_JMP: return false;
    default: break;
    }
    if (!(x->attrs & RA_END) || (t1_rows()[d->row].cls == T1C_AC && t1_ac_inline(t))) {
        return false;
    }
    for (unsigned i = 0; i < G_N_ELEMENTS(names); i++) {
        if (!strcmp(x->name, names[i])) {
            return true;
        }
    }
    /* MOV CRn, far JMP and CALL, loads of segments */
    return x->attrs & RA_CPL0 || !strcmp(x->name, "JMP") || !strcmp(x->name, "CALL") || x->reg == RK_SEG;
}

/* Where the unit goes on after d, an offset; -1: nowhere. */
static int next_offset(const T1 *t, const X86Insn *d, const UnitPlace *at)
{
    unsigned end = d->off + d->len;
    if (hard_end(t, d)) {
        return -1;
    }
    if (t1_rows()[d->row].cls == T1C_JMP) { /* forwards, in the page */
        uint64_t from = t->rip + end, to = from + d->imm;
        if (t->pic && insn_osize(d) == 1) {
            return -1;
        }
        to = insn_osize(d) == 3 ? to : insn_osize(d) == 2 ? (uint32_t)to : (uint16_t)to;
        return to >= from && to - t->rip < at->room ? (int)(to - t->rip) : -1;
    }
    return (int)end;
}

void t1_decode(T1 *t, X86Cpu *cpu, const UnitPlace *at, uint32_t mode, unsigned max)
{
    const uint8_t *bytes = (const uint8_t *)at->key;
    int off = 0;
    memset(t, 0, offsetof(T1, insn));
    memset((uint8_t *)t + offsetof(T1, n), 0, offsetof(T1, side) - offsetof(T1, n));
    t->rec_head = NULL;
    t->n_sides = t->n_links = 0; /* the arrays, 20 KiB, are written before they are read */
    t->full = t->no_room = t->loops = t->in_loop = false;
    t->loop_side = NULL;
    t->first_side = 0;
    t->cpu = cpu;
    t->mode = t->head_mode = mode;
    t->code64 = mode & MODE_CODE64;
    t->rip = cpu->rip;
    t->key = at->key;
    t->pic = t1_pic(mode, cpu->rip);
    t->mmu = cpu->mmu;
    t->max = max;
    while (t->n < t->max && off >= 0) {
        X86Insn *d = &t->insn[t->n];
        if (t->n && dbg_ends_at(cpu->t0, at->lin + (unsigned)off)) {
            break;
        }
        unsigned room = at->room - (unsigned)off, n = MIN(room, 15u);
        memcpy(t->bytes[t->n], bytes + off, n);
        X86DecodeResult r = x86_decode(mode, &cpu->t0->feat, t->bytes[t->n], n, (unsigned)off, d);
        if (r == DEC_MORE) {
            break;
        }
        if (t->n && t->cpu->t1->lockstep && r == DEC_OK && !t1_lockstep_repeatable(d)) {
            break; /* what cannot run twice has a unit of its own */
        }
        t->n++;
        t->span = MAX(t->span, (unsigned)off + MAX(d->len, 1u));
        if (r != DEC_OK) {
            break;
        }
        if (t1_rows()[d->row].cls != T1C_T0 && !t1_traps(d)) {
            t->uses |= t1_rows()[d->row].state;
        }
        off = next_offset(t, d, at);
        if (t->cpu->t1->lockstep && t1_rows()[d->row].cls == T1C_JCC && d->imm == 0) {
            off = -1; /* taken or not, tier 0 goes on behind it; translated code ends when it is taken */
        }
    }
}

void t1_decode_crossing(T1 *t, X86Cpu *cpu, UnitPlace *at, uint32_t mode)
{
    X86Insn *d = &t->insn[0];
    if (!unit_decode_crossing(cpu, at, mode, t->bytes[0], d)) {
        return;
    }
    t->n = 1;
    t->crossing = true;
    t->span = d->len;
    if (t1_rows()[d->row].cls != T1C_T0 && !t1_traps(d)) {
        t->uses = t1_rows()[d->row].state;
    }
}

static void head_check(T1 *t, size_t live, int kind)
{
    Asm *a = &t->hot;
    e_op(a, 0, 0x80, 7, h_gs(live));
    e8(a, 0);
    T1Side *s = t1_side(t, kind, e_jcc(a, CC_E));
    s->back = a->p;
    s->rip = t->rip;
}

typedef struct Entries { const uint8_t *entry, *linked, *pad; } Entries; /* see T1Code; writable */

static Entries emit_entries(T1 *t)
{
    Asm *a = &t->hot;
    Entries e = { 0 };
    if (t->crossing) {
        e.linked = a->p;
        t1_emit_rip(t, a, T1_, t->rip);
        e.pad = a->p; /* pcbase is the callee's */
        e_jmp_to(a, t->thunk->jump - t->rx_off);
    }
    e.entry = a->p;
    if (t->pic) {
        e_alu_ri(a, true, 4, h_reg(T1_), -4096);
        e_store(a, h_gs(offsetof(X86Cpu, tr1.pcbase)), T1_);
    }
    if (!t->crossing) {
        e.pad = e.entry;
        e.linked = a->p;
    }
    return e;
}

/* The result is behind the poll. */
static uint8_t *emit_head(T1 *t)
{
    Asm *a = &t->hot;
    e_op(a, 0, 0x80, 7, h_gs(offsetof(X86Cpu, vcpu.exit_request)));
    e8(a, 0);
    T1Side *s = t1_side(t, SIDE_POLL, e_jcc(a, CC_NE));
    s->rip = t->rip;
    uint8_t *polled = a->p;
    unsigned need = t1_state_needed(t, 0);
    if (need & T1S_FPU) { /* first: loading it lets go of the vectors */
        head_check(t, offsetof(X86Cpu, tr1.fpu_live), SIDE_FPU);
    }
    if (need & T1S_VEC) {
        head_check(t, offsetof(X86Cpu, tr1.vec_live), SIDE_VEC);
    }
    return polled;
}

bool t1_same_flags(const T1Flags *a, const T1Flags *b)
{
    return a->host == b->host && a->state == b->state && a->state_lahf == b->state_lahf && a->part == b->part && a->op == b->op &&
           a->a == b->a && a->b == b->b && a->imm == b->imm;
}

bool t1_hot_full(T1 *t)
{
    t->no_room |= t->hot_end - t->hot.p < HOT_STEP;
    return t->no_room;
}

bool t1_cold_full(T1 *t)
{
    t->no_room |= t->cold_end - t->cold.p < COLD_STEP;
    return t->no_room;
}

/* The head of a unit finds the flags in the state, so each jump back to it would have to put them there. A loop whose
 * last instruction is such a jump has a second copy, behind the unit's end, which begins with the flags as they are at that
 * jump: by recipe, mostly, and nothing is stored. What follows the jump is common to both. */
static void emit_loop(T1 *t)
{
    T1Side *jump = t->loop_side;
    unsigned sides = t->n_sides, links = t->n_links;
    uint8_t *end = t->hot.p;
    if (!t->loops || !jump || jump->fl.part || jump->fl.state) {
        return;
    }
    t->in_loop = true;
    t->first_side = sides;
    t1_set_mmu(t, t->head_mode);
    t->hot.p = (uint8_t *)(((uintptr_t)t->hot.p + 15) & ~(uintptr_t)15);
    t->loop_head = t->hot.p;
    t->fl = t->loop_fl;
    t->fpu_note = 0; /* noted before the jump */
    t->fpu_seg = 0;
    t->i = 0;
    t1_groups_forget(t);
    t1_fl_before(t, 0, true, false);
    t->fl.host = false;
    emit_head(t);
    bool same = !t->fl.state;
    for (; t->i <= jump->insn && same && !t1_hot_full(t); t->i++) {
        t1_emit_insn(t);
    }
    if (!same || !t1_same_flags(&t->fl, &t->loop_fl) || t->full || t->no_room || t->hot_end - t->hot.p < HOT_STEP) {
        t->hot.p = end;
        t->n_sides = sides;
        t->n_links = links;
        t->full = t->no_room = false;
    } else {
        e_jmp_to(&t->hot, t->loop_next);
        e_patch(jump->from, t->loop_head);
        jump->kind = SIDE_NONE;
        t->cpu->t1->stats.loops++;
    }
    t->in_loop = false;
}

T1Code *t1_translate(T1 *t, CodeCache *c)
{
    T1State *s = t->cpu->t1;
    if (s->reused) {
        memset(s->decoded, 0, sizeof(s->decoded));
        s->reused = false;
    }
    t->hot.p = c->hot;
    t->cold.p = c->cold;
    t->hot.low = t->cold.low = s->low;
    t->thunk = &s->thunk;
    t->rx_off = c->rx_off;
    t->hot_end = c->hot_end;
    t->cold_end = c->cold_end;
    t->fl = (T1Flags){ .state = true };
    if (t1_hot_full(t)) {
        return NULL;
    }
    t1_sites_look(t);
    t1_plan(t);
    Entries e = emit_entries(t);
    uint8_t *polled = emit_head(t);
    for (t->i = 0; t->i < t->n; t->i++) {
        if (t1_hot_full(t)) {
            return NULL;
        }
        uint8_t *from = t->hot.p;
        t1_emit_insn(t);
        s->stats.hot_step = MAX(s->stats.hot_step, (unsigned)(t->hot.p - from));
    }
    if (t1_hot_full(t)) {
        return NULL;
    }
    t->i = t->n - 1;
    const X86Insn *last = &t->insn[t->i];
    if (!hard_end(t, last) || t1_rows()[last->row].cls == T1C_T0 || t1_rows()[last->row].cls >= T1C_CLI) {
        if (t1_rows()[last->row].cls != T1C_JMP) {
            uint64_t next = t->rip + last->off + last->len;
            t1_emit_exit(t, t->code64 ? next : (uint32_t)next);
        }
    }
    if (!t->full) {
        emit_loop(t);
    }
    t1_put_sides(t);
    if (t->full || t->no_room) {
        return NULL;
    }
    T1Code *code = t1_put_code(t, c);
    if (!code) {
        return NULL;
    }
    code->entry = e.entry + c->rx_off;
    code->linked = (int8_t)(e.linked - e.entry);
    code->pad = (int8_t)(e.pad - e.entry);
    code->poll_bytes = t->crossing ? 0 : (uint8_t)(polled - e.linked);
    for (unsigned i = 0; i < t->n; i++) {
        s->stats.bytes_guest += t->insn[i].len;
    }
    t1_perf_unit(t->cpu, t, c->hot, (size_t)(t->hot.p - c->hot), c->cold, (size_t)(t->cold.p - c->cold));
    s->stats.bytes_hot += (uint64_t)(t->hot.p - c->hot);
    s->stats.bytes_cold += (uint64_t)(t->cold.p - c->cold);
    c->hot = (uint8_t *)(((uintptr_t)t->hot.p + 15) & ~(uintptr_t)15);
    c->cold = t->cold.p;
    return code;
}
