/* SPDX-License-Identifier: MIT
 * target/x86/t1-move.c - templates of moves without ModRM, of INC and DEC without it, and of divisions.
 * Models: SDM vol. 2.
 * Threads: the vCPU's thread.
 */
#include "t1.h"

/* MOV with a memory offset, into or out of RAX. */
static void emit_moffs(T1 *t, const X86Insn *d, const T1Row *r)
{
    Asm *a = &t->hot;
    unsigned n = t1_osize(d);
    bool store = r->cls == T1C_MOV_OA;
    T1Side *s;
    X86Insn at = *d;
    at.base = at.index = R_NONE;
    at.disp = (int32_t)d->imm;
    at.flags |= I_MEM;
    uint64_t k = (d->flags & I_ASIZE) == 3 ? (uint64_t)(int64_t)at.disp : (uint32_t)at.disp;
    if (k != d->imm || !t1_mem_ok(&at)) {
        t1_emit_exec(t);
        return;
    }
    uint32_t regs = store ? 0 : 1u << R_RAX;
    t1_fl_before(t, regs, true, false);
    HOp m = t1_mem_check(t, &at, n, store, 0, &s);
    unsigned f = n == 8 ? E_W : n == 2 ? E_66 : 0;
    e_op(a, f, (store ? 0x88u : 0x8au) | (n > 1), H_RAX, m);
    t1_fl_after(t, d, r, regs);
    t1_side_done(t, s);
}

static void emit_mov_zi(T1 *t, const X86Insn *d, const T1Row *r)
{
    Asm *a = &t->hot;
    unsigned n = t1_osize(d), reg = n == 1 ? d->reg >> 3 : d->reg;
    t1_fl_before(t, 1u << reg, false, false);
    int to = t1_hreg(reg);
    if (n == 1) {
        HOp o = d->reg & 7 ? h_reg((int)reg + 4) : to == H_NONE ? t1_gpr_mem(reg) : h_reg(to);
        e_op(a, !(d->reg & 7) && to >= 4 ? E_REX : 0, 0xc6, 0, o);
        e8(a, (unsigned)d->imm);
    } else if (n == 2) {
        e_op(a, E_66, 0xc7, 0, to == H_NONE ? t1_gpr_mem(reg) : h_reg(to));
        e_bytes(a, &d->imm, 2);
    } else {
        uint64_t v = n == 4 ? (uint32_t)d->imm : d->imm;
        if (to != H_NONE) {
            e_mov_ri(a, to, v);
        } else if ((int64_t)v >= INT32_MIN && (int64_t)v <= INT32_MAX) {
            e_store_imm32(a, true, t1_gpr_mem(reg), (uint32_t)v);
        } else {
            e_mov_ri(a, T0_, v);
            e_store(a, t1_gpr_mem(reg), T0_);
        }
    }
    t1_fl_after(t, d, r, 1u << reg);
}

static void emit_xchg_za(T1 *t, const X86Insn *d, const T1Row *r)
{
    Asm *a = &t->hot;
    unsigned n = t1_osize(d);
    uint32_t regs = 1u << R_RAX | 1u << d->reg;
    t1_fl_before(t, regs, false, false);
    int o = t1_hreg(d->reg);
    unsigned f = n == 8 ? E_W : n == 2 ? E_66 : 0;
    if (o == H_NONE) { /* not the memory form: that would lock */
        e_load(a, T0_, t1_gpr_mem(d->reg));
        e_op(a, f, 0x87, H_RAX, h_reg(T0_));
        e_store(a, t1_gpr_mem(d->reg), T0_);
    } else {
        e_op(a, f, 0x87, H_RAX, h_reg(o));
    }
    t1_fl_after(t, d, r, regs);
}

/* 40+r, 48+r, which are REX prefixes on the host */
static void emit_incdec(T1 *t, const X86Insn *d, const T1Row *r)
{
    Asm *a = &t->hot;
    uint32_t regs = 1u << d->reg;
    bool dec = x86_rows[d->row].opcode & 8, merge = !t1_fl_dead(t, t->i);
    if (!merge) {
        t1_fl_before(t, regs, false, true);
    }
    if (merge && !t->fl.host) {
        t1_fl_to_state(t, a, &t->fl);
    }
    e_op(a, t1_osize(d) == 2 ? E_66 : 0, 0xff, dec, h_reg(t1_hreg(d->reg)));
    t1_fl_after(t, d, r, regs);
}

/* --- division: the quotient must fit, else the T0 function raises #DE --- */

static void emit_div(T1 *t, const X86Insn *d, const T1Row *r)
{
    Asm *a = &t->hot;
    unsigned n = t1_osize(d);
    uint32_t regs = 1u << R_RAX | 1u << R_RDX;
    T1Side *s, *s2 = NULL;
    if (n < 4 || (insn_is_mem(d) && !t1_mem_ok(d))) {
        t1_emit_exec(t);
        return;
    }
    t1_fl_before(t, regs, true, false);
    unsigned w = n == 8 ? E_W : 0;
    if (insn_is_mem(d)) {
        HOp m = t1_mem_check(t, d, n, false, 0, &s2);
        e_op(a, w, 0x8b, T2_, m);
    } else {
        int o = t1_hreg(d->rm);
        e_op(a, w, 0x8b, T2_, o == H_NONE ? t1_gpr_mem(d->rm) : h_reg(o));
    }
    if (r->cls == T1C_DIV) { /* RDX < divisor */
        e_op(a, w, 0x3b, H_RDX, h_reg(T2_));
        s = t1_side(t, SIDE_EXEC, e_jcc(a, CC_AE));
    } else { /* RDX the sign of RAX, divisor neither 0 nor -1: always fits */
        e_op(a, w, 0x8b, T0_, h_reg(H_RAX));
        e_shift_ri(a, n == 8, 7, T0_, n == 8 ? 63 : 31);
        e_op(a, w, 0x3b, T0_, h_reg(H_RDX));
        s = t1_side(t, SIDE_EXEC, e_jcc(a, CC_NE));
        n == 8 ? e_lea(a, T0_, h_mem(T2_, 1)) : e_lea32(a, T0_, h_mem(T2_, 1));
        e_alu_ri(a, n == 8, 7, h_reg(T0_), 1);
        s->from2 = e_jcc(a, CC_BE);
    }
    t->fl.host = false;
    s->fl.host = false;
    e_op(a, w, 0xf7, r->cls == T1C_DIV ? 6 : 7, h_reg(T2_));
    t1_fl_after(t, d, r, regs);
    t1_side_done(t, s);
    if (s2) {
        t1_side_done(t, s2);
    }
}

void t1_emit_move(T1 *t, const X86Insn *d, const T1Row *r)
{
    switch (r->cls) {
    case T1C_MOV_AO: case T1C_MOV_OA: emit_moffs(t, d, r); break;
    case T1C_MOV_ZI: emit_mov_zi(t, d, r); break;
    case T1C_XCHG_ZA: emit_xchg_za(t, d, r); break;
    case T1C_INCDEC_R: emit_incdec(t, d, r); break;
    default: emit_div(t, d, r); break;
    }
}
