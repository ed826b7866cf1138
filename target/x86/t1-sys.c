/* SPDX-License-Identifier: MIT
 * target/x86/t1-sys.c - templates of system instructions that kernels run all the time: CLI, STI, PUSHF, MOV from a segment
 * register, SWAPGS. Privilege and IOPL are part of a unit's mode, so their checks are made here, once.
 * Models: SDM vol. 2; vol. 3 6.8.1 (IF), 6.8.3 (the shadow of STI).
 * Does not model: virtual interrupt flags and VM86 (the T0 function runs).
 * Threads: the vCPU's thread.
 */
#include "t1.h"

#define CPU(member) h_gs(offsetof(X86Cpu, member))

static unsigned mode_cpl(const T1 *t) { return t->mode >> MODE_CPL_SHIFT & 3; }
static bool may_change_if(const T1 *t) { return mode_cpl(t) <= (t->mode >> MODE_IOPL_SHIFT & 3); }

/* EFLAGS are lost to what comes next, and nothing of it can fault. */
static void flags_aside(T1 *t)
{
    t1_fl_before(t, 0, true, false);
    t->fl.host = false;
}

static bool emit_cli(T1 *t)
{
    if (!may_change_if(t)) {
        return false;
    }
    flags_aside(t);
    e_alu_ri(&t->hot, false, 4, CPU(eflags), ~FL_IF);
    return true;
}

/* An interrupt that is already pending goes the T0 function's way, through the shadow. One that comes later makes itself
 * heard by exit_request, which the next unit looks at: the instruction behind STI is still in this one. */
static bool emit_sti(T1 *t)
{
    if (!may_change_if(t) || t->i + 1 == t->n) {
        return false;
    }
    t1_fl_before(t, 0, true, false);
    e_alu_ri(&t->hot, false, 7, CPU(vcpu.irq_pending), 0);
    t->fl.host = false;
    T1Side *s = t1_side(t, SIDE_EXEC, e_jcc(&t->hot, CC_NE));
    e_alu_ri(&t->hot, false, 1, CPU(eflags), FL_IF);
    t1_side_done(t, s);
    return true;
}

static bool emit_pushf(T1 *t, const X86Insn *d, const T1Row *r)
{
    Asm *a = &t->hot;
    T1Side *s;
    if (!t->code64 || t1_osize(d) != 8) {
        return false;
    }
    t1_fl_before(t, 1u << R_RSP, true, false);
    t1_fl_need_host(t, FL_ALL_);
    e8(a, 0x9c);                 /* PUSHFQ on the host's stack */
    e_bytes(a, "\x41\x5e", 2);   /* POP R14: T2_ */
    e_alu_ri(a, false, 4, h_reg(T2_), FL_ALL_);
    e_load32(a, T1_, CPU(eflags));
    e_alu_ri(a, false, 4, h_reg(T1_), ~(FL_VM | FL_RF));
    e_op(a, 0, 0x0b, T2_, h_reg(T1_));
    t->fl.host = false;
    HOp m = t1_stack_check(t, -8, 8, true, &s);
    e_store(a, m, T2_);
    e_lea(a, G_RSP, h_mem(G_RSP, -8));
    t1_fl_after(t, d, r, 1u << R_RSP);
    t1_side_done(t, s);
    return true;
}

static bool emit_mov_from_sreg(T1 *t, const X86Insn *d, const T1Row *r)
{
    Asm *a = &t->hot;
    if (insn_is_mem(d) || d->reg > SEG_GS) {
        return false;
    }
    t1_fl_before(t, 1u << d->rm, false, false);
    int to = t1_hreg(d->rm), via = to == H_NONE ? T0_ : to;
    bool word = t1_osize(d) == 2;
    HOp sel = h_gs(offsetof(X86Cpu, seg) + d->reg * sizeof(X86Seg) + offsetof(X86Seg, sel));
    word ? e_op(a, E_66, 0x8b, (unsigned)via, sel) : e_op(a, E_0F, 0xb7, (unsigned)via, sel);
    if (to == H_NONE) {
        e_op(a, word ? E_66 : E_W, 0x89, T0_, t1_gpr_mem(d->rm));
    }
    t1_fl_after(t, d, r, 1u << d->rm);
    return true;
}

static bool emit_swapgs(T1 *t)
{
    Asm *a = &t->hot;
    if (!t->code64 || mode_cpl(t) != 0) {
        return false;
    }
    e_load(a, T0_, CPU(seg[SEG_GS].base));
    e_load(a, T1_, CPU(kernel_gs_base));
    e_store(a, CPU(seg[SEG_GS].base), T1_);
    e_store(a, CPU(seg_base[SEG_GS]), T1_);
    e_store(a, CPU(kernel_gs_base), T0_);
    return true;
}

bool t1_emit_system(T1 *t, const X86Insn *d, const T1Row *r)
{
    switch (r->cls) {
    case T1C_CLI: return emit_cli(t);
    case T1C_STI: return emit_sti(t);
    case T1C_PUSHF: return emit_pushf(t, d, r);
    case T1C_MOV_RS: return emit_mov_from_sreg(t, d, r);
    default: return emit_swapgs(t);
    }
}
