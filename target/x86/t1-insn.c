/* SPDX-License-Identifier: MIT
 * target/x86/t1-insn.c - templates of the instructions that are not simply re-encoded: the stack, branches, LEA. Side paths: t1-side.c.
 * Models: SDM vol. 2; vol. 1 6.2 (stack), 6.4.
 * Threads: the vCPU's thread.
 */
#include "t1.h"

#define CPU(member) h_gs(offsetof(X86Cpu, member))
#define TR(member)  h_gs(offsetof(X86Cpu, tr1.member))

T1Side *t1_side(T1 *t, int kind, uint8_t *from)
{
    t->full |= t->n_sides == T1_MAX_SIDES;
    t->hot.r12_used |= kind != SIDE_EXEC && kind != SIDE_EXIT; /* they come back */
    T1Side *s = &t->side[t->full ? T1_MAX_SIDES - 1 : t->n_sides++];
    *s = (T1Side){ .kind = kind, .from = from, .insn = (uint16_t)t->i, .mode = t->mode, .fl = t->fl, .note = t->fpu_note };
    return s;
}

static uint64_t cut(const T1 *t, uint64_t rip) { return t->code64 ? rip : (uint32_t)rip; }
static uint64_t insn_end(const T1 *t) { return t->rip + t->insn[t->i].off + t->insn[t->i].len; }

T1NewLink *t1_new_link(T1 *t, uint64_t rip)
{
    t->full |= t->n_links == T1_MAX_LINKS;
    unsigned i = t->full ? T1_MAX_LINKS - 1 : t->n_links++;
    t->link[i] = (T1NewLink){ .rip = rip, .mode = t->mode };
    return &t->link[i];
}

static bool canonical(const T1 *t, uint64_t v)
{
    unsigned bits = t->cpu->cr4 & CR4_LA57 ? 7 : 16;
    return !t->code64 || t->pic || (uint64_t)((int64_t)(v << bits) >> bits) == v;
}

void t1_emit_near(const T1 *t, Asm *a, int to, uint64_t v, bool wide)
{
    if (!t->pic) {
        e_mov_ri(a, to, wide ? v : (uint32_t)v);
        return;
    }
    int64_t off = (int64_t)(v - (t->rip & TLB_PAGE_MASK));
    e_load(a, to, TR(pcbase));
    if (!wide) {
        e_lea32(a, to, h_mem(to, (int32_t)(uint32_t)off));
        return;
    }
    if (off > INT32_MAX) { /* by a few bytes */
        e_lea(a, to, h_mem(to, 1 << 30));
        off -= 1 << 30;
    } else if (off < INT32_MIN) {
        e_lea(a, to, h_mem(to, -(1 << 30)));
        off += 1 << 30;
    }
    if (off) {
        e_lea(a, to, h_mem(to, (int32_t)off));
    }
}

void t1_emit_jc_slot(Asm *a)
{
    e_op(a, 0, 0x69, T0_, h_reg(T1_)); /* IMUL */
    e32(a, T1_JC_HASH);
    e_shift_ri(a, false, 5, T0_, 32 - T1_JC_BITS - 4);
    e_alu_ri(a, false, 4, h_reg(T0_), -16);
}

uint8_t *t1_emit_jc_find(Asm *a)
{
    t1_emit_jc_slot(a);
    e_mov_rr(a, T2_, T1_);
    e_op(a, E_W, 0x33, T2_, TR(salt));
    e_op(a, E_W, 0x3b, T2_, h_gs_idx(T0_, offsetof(X86Cpu, tr1.jc)));
    return e_jcc(a, CC_NE);
}

/* A jump with a known target outside the page: through the jump cache, whose slot is known too if the target is. */
static void far_jump(T1 *t, Asm *a, uint64_t rip)
{
    if (t->pic) {
        t1_emit_rip(t, a, T1_, rip);
        e_jmp_to(a, t->thunk->jump - t->rx_off);
        return;
    }
    size_t slot = offsetof(X86Cpu, tr1.jc) + t1_jc_index(rip) * sizeof(((X86Cpu *)0)->tr1.jc[0]);
    e_mov_ri(a, T1_, rip);
    if (!canonical(t, rip)) { /* code at the end of the lower half: the run loop raises #GP */
        e_jmp_to(a, t->thunk->indirect - t->rx_off);
        return;
    }
    e_mov_rr(a, T0_, T1_);
    e_op(a, E_W, 0x33, T0_, TR(salt));
    e_op(a, E_W, 0x3b, T0_, h_gs(slot));
    e_patch(e_jcc(a, CC_NE), t->thunk->lookup - t->rx_off);
    e_op(a, 0, 0xff, 4, h_gs(slot + 8));
}

/* Emits the end of a unit at a: flags are in the state, T0_..T2_ are free. */
void t1_leave_to(T1 *t, Asm *a, uint64_t rip)
{
    if (!t1_same_page(t, rip)) {
        far_jump(t, a, rip);
        return;
    }
    T1NewLink *l = t1_new_link(t, rip);
    l->at = e_jmp(a);
}

void t1_emit_exit(T1 *t, uint64_t rip)
{
    t1_fpu_flush(t);
    t1_fl_to_state(t, &t->hot, &t->fl);
    t1_leave_to(t, &t->hot, rip);
}

void t1_emit_exec(T1 *t)
{
    uint8_t *fix;
    t1_groups_forget(t);
    t1_fpu_flush(t);
    t1_fl_to_state(t, &t->hot, &t->fl);
    fix = t1_emit_rec_address(&t->hot);
    unsigned state = t1_state_needed(t, t->i + 1);
    e_call_to(&t->hot, t->thunk->exec[t1_vec_needed(t, state)][(state & T1S_FPU) != 0] - t->rx_off);
    e_patch(fix, t1_put_rec(t));
    t->fl = (T1Flags){ .state = true };
    t->fpu_seg = 0;
}

/* --- LEA, moves, stack --- */

static void emit_lea(T1 *t, const X86Insn *d)
{
    Asm *a = &t->hot;
    unsigned osize = t1_osize(d);
    int to = t1_hreg(d->reg);
    t1_fl_before(t, 1u << d->reg, false, false);
    bool wide = (d->flags & I_ASIZE) == 3;
    if (d->base == R_UNIT && osize >= 4 && to != H_NONE) {
        t1_emit_near(t, a, to, t->rip + (uint64_t)(int64_t)d->disp + (d->index == R_BIAS ? 0x10000 : 0), wide && osize == 8);
        t1_fl_after(t, d, &t1_rows()[d->row], 1u << d->reg);
        return;
    }
    int base = d->base < 16 ? t1_hreg(d->base) : H_NONE, index = d->index < 16 ? t1_hreg(d->index) : H_NONE;
    bool direct = to != H_NONE && osize >= 4 && d->base != R_UNIT && (d->base == R_NONE || base != H_NONE) &&
                  (d->index == R_NONE || index != H_NONE);
    if (direct) {
        HOp m = h_sib(base, index, index == H_NONE ? 0 : d->scale, d->disp);
        wide && osize == 8 ? e_lea(a, to, m) : e_lea32(a, to, m);
    } else {
        t1_address(t, d, T2_, false);
        if (osize == 4) {
            e_mov_rr32(a, T2_, T2_);
        }
        HOp at = to == H_NONE ? t1_gpr_mem(d->reg) : h_reg(to);
        e_op(a, osize == 2 ? E_66 : E_W, 0x89, T2_, at);
    }
    t1_fl_after(t, d, &t1_rows()[d->row], 1u << d->reg);
}

static void add_rsp(T1 *t, int32_t n) /* keeps EFLAGS */
{
    if (t->code64) {
        e_lea(&t->hot, G_RSP, h_mem(G_RSP, n));
    } else {
        e_lea32(&t->hot, G_RSP, h_mem(G_RSP, n));
    }
}

static void store_sized(Asm *a, HOp m, int r, unsigned n)
{
    e_op(a, n == 8 ? E_W : n == 2 ? E_66 : 0, 0x89, (unsigned)r, m);
}

static void load_sized(Asm *a, int r, HOp m, unsigned n) /* 4 and 8 write the whole register */
{
    e_op(a, n == 8 ? E_W : n == 2 ? E_66 : 0, 0x8b, (unsigned)r, m);
}

/* A PUSH of what a host register or an immediate holds. Guest RSP is pushed as it was. */
static void emit_push(T1 *t, const X86Insn *d, const T1Row *r)
{
    Asm *a = &t->hot;
    unsigned n = t1_osize(d);
    T1Side *s, *s2 = NULL;
    int from = H_NONE;
    bool checks = !t1_checked(t, 1) || (r->cls == T1C_PUSH_E && insn_is_mem(d) && !t1_checked(t, 0));
    t1_fl_before(t, 1u << R_RSP, checks, false);
    if (r->cls == T1C_PUSH_E) { /* to T2_, which the stack's check leaves alone in 64-bit code */
        HOp m = insn_is_mem(d) ? t1_mem_check(t, d, n, false, 0, &s2) : t1_hreg(d->rm) == H_NONE ? t1_gpr_mem(d->rm) : h_reg(t1_hreg(d->rm));
        load_sized(a, T2_, m, n);
        from = T2_;
    }
    HOp m = t1_stack_check(t, -(int32_t)n, n, true, &s);
    if (r->cls == T1C_PUSH_R) {
        from = t1_hreg(d->reg);
        if (from == H_NONE) {
            e_load(a, T1_, t1_gpr_mem(d->reg));
            from = T1_;
        }
    }
    if (r->cls == T1C_PUSH_I) {
        e_op(a, n == 8 ? E_W : n == 2 ? E_66 : 0, 0xc7, 0, m);
        int32_t v = (int32_t)d->imm;
        e_bytes(a, &v, MIN(n, 4u));
    } else {
        store_sized(a, m, from, n);
    }
    add_rsp(t, -(int32_t)n);
    t1_fl_after(t, d, r, 1u << R_RSP);
    t1_side_done(t, s);
    t1_side_done(t, s2);
}

static void emit_pop(T1 *t, const X86Insn *d, const T1Row *r)
{
    Asm *a = &t->hot;
    unsigned n = t1_osize(d);
    uint32_t regs = 1u << R_RSP | 1u << d->reg;
    T1Side *s;
    if (d->reg == R_RSP && n == 2) { /* the rest of RSP is incremented first: a carry out of SP counts */
        t1_emit_exec(t);
        return;
    }
    t1_fl_before(t, regs, !t1_checked(t, 1), false);
    HOp m = t1_stack_check(t, 0, n, false, &s);
    int to = t1_hreg(d->reg);
    if (d->reg == R_RSP) {
        load_sized(a, G_RSP, m, n);
    } else if (to == H_NONE) {
        load_sized(a, T1_, m, n);
        store_sized(a, t1_gpr_mem(d->reg), T1_, n == 4 ? 8 : n);
        add_rsp(t, (int32_t)n);
    } else {
        load_sized(a, to, m, n);
        add_rsp(t, (int32_t)n);
    }
    t1_fl_after(t, d, r, regs);
    t1_side_done(t, s);
}

static void emit_leave(T1 *t, const X86Insn *d, const T1Row *r)
{
    Asm *a = &t->hot;
    unsigned n = t1_osize(d);
    uint32_t regs = 1u << R_RSP | 1u << R_RBP;
    T1Side *s;
    if (n == 2) {
        t1_emit_exec(t);
        return;
    }
    X86Insn at = *d; /* [RBP] */
    at.base = R_RBP;
    at.index = R_NONE;
    at.disp = 0;
    at.seg = SEG_FLAT;
    at.flags = (uint8_t)(I_MEM | (t->code64 ? 3 : 2));
    t1_fl_before(t, regs, true, false);
    HOp m = t1_mem_check(t, &at, n, false, 0, &s);
    t->code64 ? e_lea(a, G_RSP, h_mem(H_RBP, (int32_t)n)) : e_lea32(a, G_RSP, h_mem(H_RBP, (int32_t)n));
    load_sized(a, H_RBP, m, n);
    t1_fl_after(t, d, r, regs);
    t1_side_done(t, s);
}

/* --- branches --- */

static uint64_t rel_target(const T1 *t, const X86Insn *d)
{
    uint64_t to = insn_end(t) + d->imm;
    switch (insn_osize(d)) {
    case 3: return to;
    case 2: return (uint32_t)to;
    default: return (uint16_t)to;
    }
}

/* A branch that ends the unit, by its T0 function; which leaves, but when it leads to the next instruction. */
static void exec_branch(T1 *t)
{
    t1_emit_exec(t);
    t1_emit_exit(t, cut(t, insn_end(t)));
}

/* Where a direct branch leads to can be told, from the unit's own place at least. */
static bool known_target(const T1 *t, const X86Insn *d)
{
    return canonical(t, rel_target(t, d)) && !(t->pic && insn_osize(d) == 1);
}

static void emit_jcc(T1 *t, const X86Insn *d)
{
    unsigned cc = x86_rows[d->row].opcode & 15;
    uint64_t to = rel_target(t, d);
    if (!known_target(t, d)) {
        t1_emit_exec(t);
        return;
    }
    if (to == (t->code64 ? insn_end(t) : (uint32_t)insn_end(t))) {
        return; /* compilers leave such jumps behind */
    }
    t1_fl_need_host(t, x86_rows[d->row].fl_read);
    bool loop = to == t->rip && t->mode == t->head_mode;
    if (t->in_loop && loop && t1_same_flags(&t->fl, &t->loop_fl)) {
        e_patch(e_jcc(&t->hot, cc), t->loop_head);
        return;
    }
    T1Side *s = t1_side(t, SIDE_EXIT, e_jcc(&t->hot, cc));
    s->rip = to;
    s->join = t->join[t->i];
    if (loop && !t->in_loop) {
        t->loop_side = s;
        t->loop_next = t->hot.p;
        t->loop_fl = t->fl;
        t1_groups_forget(t); /* the copy of the loop, whose checks may be others, comes back to here */
    }
}

/* The return address in code of 64 and 32 bits. True: T1_ has it. */
static bool push_return(T1 *t, uint64_t ret, HOp m)
{
    Asm *a = &t->hot;
    if (t->pic) {
        t1_emit_rip(t, a, T1_, ret);
        e_op(a, t->code64 ? E_W : 0, 0x89, T1_, m);
        return true;
    } else if (!t->code64) {
        e_store_imm32(a, false, m, (uint32_t)ret);
    } else if ((int64_t)ret >= INT32_MIN && (int64_t)ret <= INT32_MAX) {
        e_store_imm32(a, true, m, (uint32_t)ret);
    } else {
        e_mov_ri(a, T1_, ret);
        e_store(a, m, T1_);
        return true;
    }
    return false;
}

/* The return address for the shadow stack; in T1_ already, or T2_ is lost. */
static void shadow_push(T1 *t, uint64_t ret, bool in_t1)
{
    Asm *a = &t->hot;
    e_op(a, E_W, 0x3b, H_RSP, TR(shadow_limit[t1_shadow(t->mmu)]));
    T1Side *s = t1_side(t, SIDE_SHADOW, e_jcc(a, CC_B));
    s->back = a->p;
    if (in_t1) {
        e_bytes(a, "\x41\x55", 2); /* PUSH R13 */
    } else if (!t->pic && (ret <= INT32_MAX || ((int64_t)ret < 0 && (int64_t)ret >= INT32_MIN))) {
        e8(a, 0x68);
        e32(a, (uint32_t)ret);
    } else {
        t1_emit_rip(t, a, T2_, ret);
        e_bytes(a, "\x41\x56", 2); /* PUSH R14 */
    }
}

/* Where the host's RET of the callee comes back to; T1_ is the address. The callee may lie in another page. */
static void shadow_pad(T1 *t, uint64_t ret)
{
    Asm *a = &t->hot;
    e_lea(a, H_RSP, h_mem(H_RSP, 8));
    if (t1_same_page(t, ret)) {
        T1NewLink *l = t1_new_link(t, ret);
        l->pad = true;
        l->at = e_jmp(a);
    } else if (t->pic) {
        e_jmp_to(a, t->thunk->jump - t->rx_off);
    } else {
        far_jump(t, a, ret);
    }
}

/* Calls the unit at `to`. */
static void call_to(T1 *t, uint64_t to, uint64_t ret, bool in_t1)
{
    Asm *a = &t->hot;
    if (t1_same_page(t, to)) {
        shadow_push(t, ret, in_t1);
        T1NewLink *l = t1_new_link(t, to);
        e8(a, 0xe8);
        e32(a, 0);
        l->at = a->p - 4;
    } else if (t->pic) {
        t1_emit_rip(t, a, T1_, to);
        e_patch(t1_emit_jc_find(a), t->thunk->lookup - t->rx_off);
        shadow_push(t, ret, false);
        e_op(a, 0, 0xff, 2, h_gs_idx(T0_, offsetof(X86Cpu, tr1.jc) + 8));
    } else {
        size_t slot = offsetof(X86Cpu, tr1.jc) + t1_jc_index(to) * sizeof(((X86Cpu *)0)->tr1.jc[0]);
        e_mov_ri(a, T1_, to);
        e_mov_rr(a, T0_, T1_);
        e_op(a, E_W, 0x33, T0_, TR(salt));
        e_op(a, E_W, 0x3b, T0_, h_gs(slot));
        e_patch(e_jcc(a, CC_NE), t->thunk->lookup - t->rx_off);
        shadow_push(t, ret, false);
        e_op(a, 0, 0xff, 2, h_gs(slot + 8));
    }
    shadow_pad(t, ret);
}

static void emit_call(T1 *t, const X86Insn *d)
{
    uint64_t to = rel_target(t, d);
    unsigned n = t1_osize(d);
    if (!known_target(t, d) || n != (t->code64 ? 8u : 4u)) {
        exec_branch(t);
        return;
    }
    T1Side *s;
    t1_fl_to_state(t, &t->hot, &t->fl);
    HOp m = t1_stack_check(t, -(int32_t)n, n, true, &s);
    bool in_t1 = push_return(t, insn_end(t), m);
    add_rsp(t, -(int32_t)n);
    call_to(t, to, cut(t, insn_end(t)), in_t1);
}

/* A jump that is taken when the address in reg is not canonical: salts make tags of such addresses, so that they must not be compared
 * with tags. */
static uint8_t *jump_if_wild(T1 *t, int reg, int temp)
{
    Asm *a = &t->hot;
    e_mov_rr(a, temp, reg);
    e_op(a, E_W, 0x03, (unsigned)temp, TR(canonical));
    e_shift_ri(a, true, 5, temp, t->cpu->cr4 & CR4_LA57 ? 57 : 48);
    return e_jcc(a, CC_NE);
}

/* Target in T1_; undo: what to add to RSP before the T0 function runs instead (which raises #GP). call: with a return
 * address for the shadow stack; the target is canonical. */
static void indirect(T1 *t, int32_t undo, bool call)
{
    Asm *a = &t->hot;
    size_t jc = offsetof(X86Cpu, tr1.jc);
    uint8_t *wild = t->code64 && !call ? jump_if_wild(t, T1_, T2_) : NULL;
    uint8_t *miss = t1_emit_jc_find(a);
    if (call) {
        shadow_push(t, cut(t, insn_end(t)), false);
    }
    e_op(a, 0, 0xff, call ? 2 : 4, h_gs_idx(T0_, jc + 8));
    if (call) {
        shadow_pad(t, cut(t, insn_end(t)));
    }
    if (!wild) {
        e_patch(miss, t->thunk->lookup - t->rx_off);
        return;
    }
    T1Side *s = t1_side(t, SIDE_INDIRECT, miss);
    s->from2 = wild;
    s->undo = undo;
}

static void emit_ret(T1 *t, const X86Insn *d, const T1Row *r)
{
    unsigned n = t1_osize(d);
    if (n != (t->code64 ? 8u : 4u)) {
        exec_branch(t);
        return;
    }
    int32_t pop = (int32_t)n + (r->cls == T1C_RET_I ? (int32_t)(uint16_t)d->imm : 0);
    T1Side *s;
    t1_fl_to_state(t, &t->hot, &t->fl);
    HOp m = t1_stack_check(t, 0, n, false, &s);
    load_sized(&t->hot, T1_, m, n);
    add_rsp(t, pop);
    e_op(&t->hot, E_W, 0x3b, T1_, h_mem(H_RSP, 8));
    T1Side *miss = t1_side(t, SIDE_RET, e_jcc(&t->hot, CC_NE));
    e8(&t->hot, 0xc3);
    miss->back = t->hot.p;
    indirect(t, -pop, false);
}

static void emit_indirect(T1 *t, const X86Insn *d, const T1Row *r)
{
    Asm *a = &t->hot;
    unsigned n = t1_osize(d);
    bool call = r->cls == T1C_CALL_E;
    if (n != (t->code64 ? 8u : 4u) || (insn_is_mem(d) && !t1_mem_ok(d))) {
        exec_branch(t);
        return;
    }
    T1Side *s;
    t1_fl_to_state(t, a, &t->fl);
    int hold = call ? T2_ : T1_;
    if (insn_is_mem(d)) {
        load_sized(a, hold, t1_mem_check(t, d, n, false, 0, &s), n);
    } else {
        int o = t1_hreg(d->rm);
        load_sized(a, hold, o == H_NONE ? t1_gpr_mem(d->rm) : h_reg(o), n);
    }
    if (call) {
        if (t->code64) { /* before the push, which may overwrite the operand */
            t1_side(t, SIDE_EXEC, jump_if_wild(t, T2_, T0_));
        } else { /* the stack's check needs T2_ */
            e_store(a, TR(tmp), T2_);
        }
        HOp m = t1_stack_check(t, -(int32_t)n, n, true, &s);
        push_return(t, insn_end(t), m);
        add_rsp(t, -(int32_t)n);
        t->code64 ? e_mov_rr(a, T1_, T2_) : e_load(a, T1_, TR(tmp));
    }
    indirect(t, 0, call);
}

bool t1_traps(const X86Insn *d)
{
    return d->op == op_raise_ud || d->op == op_raise_gp || d->op == op_trap_sse || d->op == op_trap_mmx || d->op == op_trap_x87 ||
           d->op == op_trap_avx;
}

void t1_emit_insn(T1 *t)
{
    const X86Insn *d = &t->insn[t->i];
    const T1Row *r = &t1_rows()[d->row];
    t1_join_here(t);
    if (t->hoists[t->i]) {
        t1_hoisted_checks(t);
    }
    switch (r->cls) {
    case T1C_JCC: case T1C_CALL: case T1C_CALL_E: case T1C_JMP_E: case T1C_RET: case T1C_RET_I: t1_fpu_flush(t); break;
    default: break;
    }
    switch (t1_traps(d) ? T1C_T0 : r->cls) {
    case T1C_NOP: break;
    case T1C_X87:
        if (!t1_emit_x87(t, d, r)) {
            t1_emit_exec(t);
        }
        break;
    case T1C_LDMXCSR:
        if (!t1_emit_ldmxcsr(t, d, r)) {
            t1_emit_exec(t);
        }
        break;
    case T1C_NATIVE: case T1C_VEC: case T1C_MMX:
        if (!t1_emit_native(t, d, r)) {
            t1_emit_exec(t);
        }
        break;
    case T1C_LEA:
        t1_mem_lea_ok(d) ? emit_lea(t, d) : t1_emit_exec(t);
        break;
    case T1C_PUSH_E:
        if ((insn_is_mem(d) && !t1_mem_ok(d)) || !t->code64) {
            t1_emit_exec(t);
            break;
        }
        emit_push(t, d, r);
        break;
    case T1C_PUSH_R: case T1C_PUSH_I: emit_push(t, d, r); break;
    case T1C_POP_R: emit_pop(t, d, r); break;
    case T1C_LEAVE: emit_leave(t, d, r); break;
    case T1C_MOV_AO: case T1C_MOV_OA: case T1C_MOV_ZI: case T1C_XCHG_ZA: case T1C_INCDEC_R: case T1C_DIV: case T1C_IDIV:
        t1_emit_move(t, d, r);
        break;
    case T1C_JCC: emit_jcc(t, d); break;
    case T1C_JMP:
        if (!known_target(t, d)) {
            exec_branch(t);
        } else if (t->i + 1 == t->n) {
            t1_emit_exit(t, rel_target(t, d));
        } /* else the target comes next */
        break;
    case T1C_CALL: emit_call(t, d); break;
    case T1C_RET: case T1C_RET_I: emit_ret(t, d, r); break;
    case T1C_JMP_E: case T1C_CALL_E: emit_indirect(t, d, r); break;
    case T1C_T0: t1_emit_exec(t); break;
    default:
        t1_groups_forget(t);
        if (!t1_emit_system(t, d, r)) {
            t1_emit_exec(t);
        }
        break;
    }
}
