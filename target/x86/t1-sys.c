/* SPDX-License-Identifier: MIT
 * target/x86/t1-sys.c - templates of system instructions that kernels run all the time: CLI, STI, PUSHF, MOV from segment and
 * control registers, SWAPGS, FS and GS bases, STAC, CLAC, CLD, STD, RDPKRU; REP MOVS and REP STOS inside a page.
 * Privilege and IOPL are part of a unit's mode, so their checks are made here, once.
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

/* --- STAC, CLAC: the mode changes to one that is known, so the unit goes on in it --- */

bool t1_ac_inline(const T1 *t) { return t->code64 && mode_cpl(t) == 0; }

void t1_set_mmu(T1 *t, uint32_t mode)
{
    t->mode = mode;
    t->mmu = mode >> MODE_USER_MMU_SHIFT & 3;
}

/* MMU index 2: SMAP is on and AC clear. 0: AC is set, or there is no SMAP, which only CLAC must know. */
static bool emit_ac(T1 *t, const X86Insn *d)
{
    Asm *a = &t->hot;
    bool set = !strcmp(x86_rows[d->row].name, "STAC");
    if (!t1_ac_inline(t)) {
        return false;
    }
    flags_aside(t);
    if (!set && t->mmu == 0) {
        e_op(a, 0, 0xf7, 0, CPU(cr4)); /* TEST */
        e32(a, CR4_SMAP);
        t1_side(t, SIDE_EXEC, e_jcc(a, CC_E)); /* leaves the unit */
    }
    e_alu_ri(a, false, set ? 1 : 4, CPU(eflags), set ? (int32_t)FL_AC : (int32_t)~FL_AC);
    if (t->mmu == (set ? 2u : 0u)) {
        t1_set_mmu(t, (t->mode & ~(3u << MODE_USER_MMU_SHIFT)) | (set ? 0u : 2u) << MODE_USER_MMU_SHIFT);
        e_store_imm32(a, false, CPU(mode), t->mode);
        e_op(a, 0, 0xc6, 0, CPU(mmu));
        e8(a, t->mmu);
        e_op(a, E_W | E_0F, 0xba, 7, CPU(tr1.salt)); /* BTC: see salt_for() */
        e8(a, t->cpu->cr4 & CR4_LA57 ? 57 : 48);
        e_store(a, CPU(tr1.shadow_saved[set]), H_RSP);
        e_load(a, H_RSP, CPU(tr1.shadow_saved[!set]));
    }
    return true;
}

static bool emit_df(T1 *t, const X86Insn *d)
{
    bool set = x86_rows[d->row].opcode & 1;
    flags_aside(t);
    e_alu_ri(&t->hot, false, set ? 1 : 4, CPU(eflags), set ? (int32_t)FL_DF : (int32_t)~FL_DF);
    return true;
}

static bool emit_rdpkru(T1 *t, const X86Insn *d, const T1Row *r)
{
    Asm *a = &t->hot;
    uint32_t regs = 1u << R_RAX | 1u << R_RDX;
    t1_fl_before(t, regs, true, false);
    e_op(a, 0, 0xf7, 0, CPU(cr4));
    e32(a, CR4_PKE);
    T1Side *s = t1_side(t, SIDE_EXEC, e_jcc(a, CC_E));
    e_op(a, 0, 0x85, H_RCX, h_reg(H_RCX));
    s->from2 = e_jcc(a, CC_NE);
    t->fl.host = s->fl.host = false;
    e_load32(a, H_RAX, CPU(pkru));
    e_mov_ri(a, H_RDX, 0);
    t1_fl_after(t, d, r, regs);
    t1_side_done(t, s);
    return true;
}

/* RDTSC and RDTSCP: a call of x86_read_tsc() that saves what it must. */
static bool emit_rdtsc(T1 *t, const X86Insn *d, const T1Row *r)
{
    Asm *a = &t->hot;
    bool aux = x86_rows[d->row].opcode != 0x31;
    uint32_t regs = 1u << R_RAX | 1u << R_RDX | (aux ? 1u << R_RCX : 0);
    T1Side *s = NULL;
    t1_fl_before(t, regs, true, false);
    t->fl.host = false;
    if (mode_cpl(t) != 0) {
        e_op(a, 0, 0xf7, 0, CPU(cr4));
        e32(a, CR4_TSD);
        s = t1_side(t, SIDE_EXEC, e_jcc(a, CC_NE));
    }
    e_call_to(a, t->thunk->rdtsc - t->rx_off);
    if (aux) {
        e_load32(a, H_RCX, CPU(tsc_aux));
    }
    t1_fl_after(t, d, r, regs);
    if (s) {
        t1_side_done(t, s);
    }
    return true;
}

/* A 64-bit value, in T0_ or in memory, to a register. */
static void put_gpr(T1 *t, unsigned n, HOp from, bool wide)
{
    int to = t1_hreg(n), via = to == H_NONE ? T0_ : to;
    e_op(&t->hot, wide ? E_W : 0, 0x8b, (unsigned)via, from);
    if (to == H_NONE) {
        e_store(&t->hot, t1_gpr_mem(n), T0_);
    }
}

static bool emit_mov_rc(T1 *t, const X86Insn *d, const T1Row *r)
{
    static const int at[] = { [0] = offsetof(X86Cpu, cr0), [2] = offsetof(X86Cpu, cr2), [3] = offsetof(X86Cpu, cr3),
                              [4] = offsetof(X86Cpu, cr4) };
    if (!t->code64 || mode_cpl(t) != 0 || d->reg > 4 || d->reg == 1) {
        return false;
    }
    t1_fl_before(t, 1u << d->rm, false, false);
    put_gpr(t, d->rm, h_gs((size_t)at[d->reg]), true);
    t1_fl_after(t, d, r, 1u << d->rm);
    return true;
}

/* RDFSBASE, RDGSBASE, WRFSBASE, WRGSBASE */
static bool emit_fsgs(T1 *t, const X86Insn *d, const T1Row *r)
{
    Asm *a = &t->hot;
    const char *name = x86_rows[d->row].name;
    bool wide = t1_osize(d) == 8, write = name[0] == 'W';
    unsigned seg = name[2] == 'F' ? SEG_FS : SEG_GS;
    size_t base = offsetof(X86Cpu, seg) + seg * sizeof(X86Seg) + offsetof(X86Seg, base);
    uint32_t regs = write ? 0 : 1u << d->rm;
    t1_fl_before(t, regs, true, false);
    e_op(a, 0, 0xf7, 0, CPU(cr4));
    e32(a, CR4_FSGSBASE);
    T1Side *s = t1_side(t, SIDE_EXEC, e_jcc(a, CC_E));
    if (write) {
        int from = t1_hreg(d->rm);
        e_op(a, wide ? E_W : 0, 0x8b, T0_, from == H_NONE ? t1_gpr_mem(d->rm) : h_reg(from));
        e_mov_rr(a, T1_, T0_); /* canonical for 48 bits: others are the T0 function's */
        e_shift_ri(a, true, 4, T1_, 16);
        e_shift_ri(a, true, 7, T1_, 16);
        e_op(a, E_W, 0x3b, T1_, h_reg(T0_));
        s->from2 = e_jcc(a, CC_NE);
        e_store(a, h_gs(base), T0_);
        e_store(a, h_gs(offsetof(X86Cpu, seg_base) + 8 * seg), T0_);
    } else {
        put_gpr(t, d->rm, h_gs(base), wide);
    }
    t->fl.host = s->fl.host = false;
    t1_fl_after(t, d, r, regs);
    t1_side_done(t, s);
    return true;
}

/* Kernels and C libraries clear and copy some words this way. Inside a page that the TLB has, by a subroutine. */
static bool emit_rep(T1 *t, const X86Insn *d, const T1Row *r)
{
    unsigned op = x86_rows[d->row].opcode, size = op & 1 ? insn_osize(d) : 0;
    bool movs = op < 0xaa;
    uint32_t regs = 1u << R_RCX | 1u << R_RDI | (movs ? 1u << R_RSI : 0);
    if (!t->code64 || (d->flags & I_ASIZE) != 3 || d->flags & I_SEGCHECK || (movs && d->seg != SEG_FLAT)) {
        return false;
    }
    t1_fl_before(t, regs, true, false);
    t->fl.host = false;
    e_call_to(&t->hot, t->thunk->rep[t->mmu][movs][size] - t->rx_off);
    T1Side *s = t1_side(t, SIDE_EXEC, e_jcc(&t->hot, CC_NE));
    t1_fl_after(t, d, r, regs);
    t1_side_done(t, s);
    return true;
}

/* EFLAGS without RF into T2_; they are in the state, too. */
static void all_flags(T1 *t)
{
    Asm *a = &t->hot;
    t1_fl_to_state(t, a, &t->fl);
    t1_fl_need_host(t, FL_ALL_);
    e8(a, 0x9c);                 /* PUSHFQ on the host's stack */
    e_bytes(a, "\x41\x5e", 2);   /* POP R14: T2_ */
    e_alu_ri(a, false, 4, h_reg(T2_), FL_ALL_);
    e_op(a, 0, 0x0b, T2_, CPU(eflags));
    e_alu_ri(a, false, 4, h_reg(T2_), ~FL_RF);
    t->fl.host = false;
}

/* SYSCALL and SYSRET, when the transition that is noted begins in this mode: see t1_make_transition(). */
static bool emit_transition(T1 *t, const X86Insn *d, bool ret)
{
    Asm *a = &t->hot;
    if (!t->code64 || mode_cpl(t) != (ret ? 0 : 3) || (ret && t1_osize(d) != 8)) {
        return false;
    }
    t1_fpu_flush(t);
    if (ret) {
        flags_aside(t);
        t1_fl_to_state(t, a, &t->fl);
    } else {
        all_flags(t);
        t1_emit_rip(t, a, T0_, t->rip + d->off + d->len);
    }
    e_op(a, 0, 0x81, 7, CPU(tr1.trans[ret].from)); /* CMP */
    e32(a, t->mode);
    T1Side *s = t1_side(t, SIDE_EXEC, e_jcc(a, CC_NE));
    e_call_to(a, t->thunk->transition[ret] - t->rx_off);
    s->from2 = e_jmp(a); /* comes back when there is more to do */
    return true;
}

bool t1_emit_system(T1 *t, const X86Insn *d, const T1Row *r)
{
    switch (r->cls) {
    case T1C_CLI: return emit_cli(t);
    case T1C_STI: return emit_sti(t);
    case T1C_PUSHF: return emit_pushf(t, d, r);
    case T1C_MOV_RS: return emit_mov_from_sreg(t, d, r);
    case T1C_AC: return emit_ac(t, d);
    case T1C_DF: return emit_df(t, d);
    case T1C_RDPKRU: return emit_rdpkru(t, d, r);
    case T1C_MOV_RC: return emit_mov_rc(t, d, r);
    case T1C_FSGS: return emit_fsgs(t, d, r);
    case T1C_RDTSC: return emit_rdtsc(t, d, r);
    case T1C_REP: return emit_rep(t, d, r);
    case T1C_SYSCALL: return emit_transition(t, d, false);
    case T1C_SYSRET: return emit_transition(t, d, true);
    default: return emit_swapgs(t);
    }
}
