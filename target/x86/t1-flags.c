/* SPDX-License-Identifier: MIT
 * target/x86/t1-flags.c - where the guest's arithmetic flags are while a unit is emitted, and the code that moves them.
 * The rule: at every instruction that may fault or leave, EFLAGS, the state in X86Cpu or a recipe over registers
 * that still hold their values gives all six flags. Measured: LAHF/SETO and back cost 1 to 3 ns, PUSHF/POPF 9 ns, a
 * repeated CMP nothing. What the code leaves in the state becomes tier 0's here, too.
 * Threads: the vCPU's thread.
 */
#include "t1.h"
#include "t1-exec.h"
#include "flags.h"

#define CPU(member) h_gs(offsetof(X86Cpu, member))

/* ALU opcode of the 8-bit form, for any size in log2. */
static void e_alu(Asm *a, unsigned size, unsigned opcode, int reg, HOp o)
{
    unsigned f = size == 3 ? E_W : size == 1 ? E_66 : 0;
    if (size == 0 && (reg >= 4 || (!o.mem && o.base >= 4))) {
        f |= E_REX;
    }
    e_op(a, f, opcode | (size != 0), (unsigned)reg, o);
}

static HOp gpr_op(unsigned n)
{
    if (n >= R_KEPT_DST) {
        return n == R_KEPT_DST ? CPU(cc_dst) : CPU(cc_src);
    }
    return t1_hreg(n) != H_NONE ? h_reg(t1_hreg(n)) : t1_gpr_mem(n);
}

static void store_gpr(Asm *a, HOp to, unsigned n)
{
    int r = t1_hreg(n);
    if (n >= R_KEPT_DST) {
        return;
    }
    if (r == H_NONE) {
        e_load(a, T0_, t1_gpr_mem(n));
        r = T0_;
    }
    e_store(a, to, r);
}

/* LAHF and SETO into a slot; T0_ is lost, EFLAGS stay. */
static void e_lahf(Asm *a, HOp slot)
{
    e_mov_rr(a, T0_, H_RAX);
    e8(a, 0x9f);                          /* LAHF */
    e_op(a, E_0F, 0x90, 0, h_reg(H_RAX)); /* SETO AL */
    e_store(a, slot, H_RAX);
    e_mov_rr(a, H_RAX, T0_);
}

/* EFLAGS are lost. */
static void save_part(Asm *a, T1Flags *f)
{
    HOp code = h_gs(offsetof(X86Cpu, cc_op) + 1);
    if (f->part == FL_PART_CO) {
        e_op(a, E_0F, 0x92, 0, h_gs(offsetof(X86Cpu, tr1.part[0]) + 1)); /* SETB where LAHF has CF */
        e_op(a, E_0F, 0x90, 0, CPU(tr1.part[0]));
        e_op(a, 0, 0x80, 4, code); /* AND */
        e8(a, (uint8_t)~CC_PART_NC_LAST);
        e_op(a, 0, 0x80, 1, code); /* OR */
        e8(a, CC_PART_CO);
    } else {
        e_lahf(a, CPU(tr1.part[1]));
        e_op(a, 0, 0x80, 1, code);
        e8(a, CC_PART_NC | CC_PART_NC_LAST);
    }
    f->part = 0;
    f->state_lahf = false;
}

unsigned t1_fl_partial(const X86Insn *d, const T1Row *r)
{
    const X86Row *x = &x86_rows[d->row];
    unsigned def = r->fl_def & FL_ALL_;
    if (r->roles & T1R_CONDFL || def == FL_ALL_ || !def) {
        return 0;
    }
    if (def == FL_PART_CO) {
        return FL_PART_CO;
    }
    if (!(def & FL_CF) && def == FL_PART_NC) {
        return FL_PART_NC;
    }
    return x->fl_written == FL_CF && x->fl_undef & FL_OF ? FL_PART_CO : 0; /* BT: the undefined ones stay on the host */
}

void t1_fl_to_state(T1 *t, Asm *a, T1Flags *f)
{
    (void)t;
    if (f->state) {
        if (f->part) {
            save_part(a, f);
        }
        return;
    }
    if (f->op) {
        unsigned kind = f->op & ~3u;
        store_gpr(a, CPU(cc_dst), f->a);
        if (kind == CC_T1_LOGIC) {
            ;
        } else if (f->b != R_NONE) {
            store_gpr(a, CPU(cc_src), f->b);
        } else {
            e_store_imm32(a, true, CPU(cc_src), (uint32_t)f->imm);
        }
        e_store_imm32(a, false, CPU(cc_op), f->op);
        if (kind == CC_T1_ADD || kind == CC_T1_SUB || kind == CC_T1_LOGIC) { /* what t1_flags_normal() makes of them serves, too */
            f->a = R_KEPT_DST;
            f->b = R_KEPT_SRC;
        }
    } else {
        e_lahf(a, CPU(tr1.lahf));
        e_store_imm32(a, false, CPU(cc_op), CC_T1_LAHF);
        f->state_lahf = true;
    }
    f->state = true;
}

/* The T0 function runs and raises. */
static bool traps(const X86Insn *d)
{
    return d->op == op_raise_ud || d->op == op_raise_gp || d->op == op_trap_sse || d->op == op_trap_mmx || d->op == op_trap_x87 ||
           d->op == op_trap_avx;
}

/* A shift by an immediate that is zero when masked: no flag changes, whatever the row says (SDM vol. 2, SAL/SAR/SHL/SHR, SHLD). */
static bool shifts_by_zero(const X86Insn *d)
{
    const X86Row *x = &x86_rows[d->row];
    bool shift = x->map == 0 ? x->opcode == 0xc0 || x->opcode == 0xc1 : x->map == 1 && (x->opcode == 0xa4 || x->opcode == 0xac);
    return shift && ((unsigned)d->imm & (insn_osize(d) == 3 ? 63 : 31)) == 0;
}

/* on: EFLAGS are right and stay so: what reads them finds them there, and members of groups leave them alone. Conditional
 * jumps do not count: what is set aside where they go need not be fast. */
static bool dead(const T1 *t, unsigned from, bool on)
{
    unsigned live = FL_ALL_;
    const T1Row *rows = t1_rows();
    for (unsigned i = from; i < t->n; i++) {
        const X86Insn *d = &t->insn[i];
        const T1Row *r = &rows[d->row];
        switch (r->cls) {
        case T1C_NOP: case T1C_LEA: case T1C_MOV_ZI:
            continue;
        case T1C_JCC:
            if (!on) {
                return false;
            }
            continue;
        case T1C_NATIVE: case T1C_VEC: case T1C_MMX: case T1C_X87: case T1C_XCHG_ZA:
            if ((insn_is_mem(d) && !(on && t->group[t->member[i][0]].checked)) || (r->fl_read & live && !on) || shifts_by_zero(d) ||
                traps(d)) {
                return false;
            }
            live &= r->roles & T1R_CONDFL ? live : ~(unsigned)r->fl_def;
            break;
        default:
            return false;
        }
        if (!live) {
            return true;
        }
    }
    return false;
}

bool t1_fl_dead(const T1 *t, unsigned from) { return dead(t, from, false); }

static bool recipe_uses(const T1Flags *f, uint32_t regs)
{
    return f->op && (regs >> f->a & 1 || (f->b != R_NONE && (f->op & ~3u) != CC_T1_LOGIC && regs >> f->b & 1));
}

void t1_fl_before(T1 *t, uint32_t regs, bool check, bool writes_all)
{
    T1Flags *f = &t->fl;
    if (f->state) {
        if (check && f->part) {
            save_part(&t->hot, f);
        }
        return;
    }
    if (check && f->host && !f->op) {
        t1_fl_to_state(t, &t->hot, f);
        return;
    }
    bool keeps_host = f->host && !check;
    if (recipe_uses(f, regs) && !writes_all && !dead(t, t->i + 1, keeps_host)) { /* its operands, cheaper than LAHF later */
        t1_fl_to_state(t, &t->hot, f);
    }
}

/* EFLAGS from a recipe: CMP and TEST again, ADD and SUB by undoing them first. */
static void replay(Asm *a, const T1Flags *f)
{
    unsigned size = f->op & 3, kind = f->op & ~3u;
    int x = t1_hreg(f->a);
    if (x == H_NONE || kind == CC_T1_ADD || kind == CC_T1_SUB) {
        e_load(a, T1_, gpr_op(f->a));
        x = T1_;
    }
    if (kind == CC_T1_LOGIC) {
        e_alu(a, size, 0x84, x, h_reg(x));
        return;
    }
    static const uint8_t undo[] = { [0] = 5, [1] = 0 }; /* of ADD: SUB; of SUB: ADD */
    unsigned n = kind == CC_T1_ADD ? 0 : kind == CC_T1_SUB ? 5 : kind == CC_T1_CMP ? 7 : 8;
    for (unsigned pass = kind == CC_T1_ADD || kind == CC_T1_SUB ? 0 : 1; pass < 2; pass++) {
        unsigned op = pass ? n : undo[kind == CC_T1_SUB];
        if (f->b != R_NONE) {
            /* 03, 2b, 3b /r: register, r/m; TEST: 84 */
            e_alu(a, size, op == 8 ? 0x84 : op << 3 | 2, x, gpr_op(f->b));
        } else if (op == 8) {
            e_alu(a, size, 0xf6, 0, h_reg(x));
            size == 0 ? e8(a, (uint8_t)f->imm) : size == 1 ? e_bytes(a, &f->imm, 2) : e32(a, (uint32_t)f->imm);
        } else {
            e_alu(a, size, 0x80, (int)op, h_reg(x));
            size == 0 ? e8(a, (uint8_t)f->imm) : size == 1 ? e_bytes(a, &f->imm, 2) : e32(a, (uint32_t)f->imm);
        }
    }
}

void t1_fl_need_host(T1 *t, unsigned mask)
{
    T1Flags *f = &t->fl;
    Asm *a = &t->hot;
    if (f->host || (f->part && !(mask & ~(unsigned)f->part))) {
        return;
    }
    if (f->part) { /* into the state, keeping T0_ */
        e_mov_rr(a, T1_, T0_);
        save_part(a, f);
        e_mov_rr(a, T0_, T1_);
    }
    if (f->op && f->op != CC_T1_OVF) {
        replay(a, f);
    } else if (f->state_lahf) {
        e_mov_rr(a, T1_, H_RAX);
        e_load(a, H_RAX, CPU(tr1.lahf));
        e_bytes(a, "\x04\x7f\x9e", 3); /* ADD AL, 7fh: OF = bit 0; SAHF */
        e_mov_rr(a, H_RAX, T1_);
    } else {
        t1_fl_to_state(t, a, f);
        e_call_to(a, t->thunk->load_flags - t->rx_off);
    }
    f->host = true;
}

static unsigned reg_number(const T1Row *r, unsigned role_byte, unsigned n)
{
    if (r->roles & role_byte) {
        return n & 7 ? (unsigned)R_NONE : n >> 3; /* AH..BH: no recipe */
    }
    return n;
}

/* The recipe that d leaves behind, in terms of registers after it. */
static void set_recipe(T1Flags *f, const X86Insn *d, const T1Row *r, bool kept)
{
    unsigned kind = r->recipe, size = insn_osize(d), a, b = R_NONE;
    bool mem = insn_is_mem(d);
    bool to_reg = r->roles & T1R_REG_DST || (r->roles & T1R_REG_FIRST);
    if (!kind) {
        return;
    }
    bool has_reg = r->roles & (T1R_REG_GPR | T1R_REG_BYTE), has_rm = r->roles & (T1R_RM_GPR | T1R_RM_BYTE);
    if (!has_reg && !has_rm) { /* AL, Ib; rAX, Iz */
        a = R_RAX;
    } else if (has_reg && to_reg) {
        a = reg_number(r, T1R_REG_BYTE, d->reg);
        if (kind == CC_T1_LOGIC && mem) {
            goto done;
        }
        b = mem ? kept ? (unsigned)R_KEPT_SRC : (unsigned)R_COUNT : reg_number(r, T1R_RM_BYTE, d->rm);
    } else {
        if (mem && !kept) {
            return;
        }
        if (mem) { /* CMP was done as SUB, TEST as AND */
            a = R_KEPT_DST;
            kind = kind == CC_T1_CMP ? CC_T1_SUB : kind == CC_T1_TEST ? CC_T1_LOGIC : kind;
        } else {
            a = reg_number(r, T1R_RM_BYTE, d->rm);
        }
        b = has_reg ? reg_number(r, T1R_REG_BYTE, d->reg) : (unsigned)R_NONE;
    }
    if (a == R_NONE || b == R_COUNT || (has_reg && b == R_NONE)) {
        return;
    }
    if (kind == CC_T1_ADD && a == b) {
        return;
    }
    if (kind == CC_T1_TEST && a == b) {
        kind = CC_T1_LOGIC;
    }
done:
    f->op = (uint8_t)(kind + size);
    f->a = (uint8_t)a;
    f->b = (uint8_t)b;
    f->imm = (int32_t)d->imm;
}

void t1_fl_after(T1 *t, const X86Insn *d, const T1Row *r, uint32_t regs)
{
    T1Flags *f = &t->fl;
    if (recipe_uses(f, regs)) {
        f->op = 0;
    }
    unsigned part = t1_fl_partial(d, r);
    if (part && !f->host) {
        f->host = (f->part | part) == FL_ALL_;
        f->part = f->host ? 0 : (uint16_t)part;
        f->state = !f->host;
        f->op = 0;
    } else if (r->fl_def & FL_ALL_) {
        *f = (T1Flags){ .host = true };
        if (t->kept && !r->recipe) {
            f->op = CC_T1_OVF;
            f->a = R_KEPT_DST;
            f->b = R_KEPT_SRC;
        } else {
            set_recipe(f, d, r, t->kept);
        }
    }
    t->kept = false;
}

/* --- at run time: what translated code left, as tier 0 has it --- */

static uint64_t lahf_to_eflags(uint64_t v)
{
    return (v >> 8 & (FL_SF | FL_ZF | FL_AF | FL_PF | FL_CF)) | (v & 1 ? FL_OF : 0);
}

void t1_flags_normal(X86Cpu *cpu)
{
    if (cpu->cc_op < CC_T1) {
        return;
    }
    unsigned parts = cpu->cc_op >> 8;
    if (G_UNLIKELY(parts)) {
        cpu->cc_op &= 0xff;
        t1_flags_normal(cpu);
        uint32_t f = x86_arith_flags(cpu);
        for (unsigned pass = 0; pass < 2; pass++) {
            unsigned which = pass ^ !(parts & CC_PART_NC_LAST); /* the later one last */
            uint32_t mask = which ? FL_PART_NC : FL_PART_CO;
            if (parts >> which & 1) {
                f = (f & ~mask) | ((uint32_t)lahf_to_eflags(cpu->tr1.part[which]) & mask);
            }
        }
        x86_set_eflags_arith(cpu, f);
        return;
    }
    if (cpu->cc_op == CC_T1_OVF) {
        x86_set_eflags_arith(cpu, cpu->cc_src ? FL_CF | FL_OF : 0);
        return;
    }
    unsigned size = cpu->cc_op & 3;
    uint64_t mask = cc_size_mask(size), a = cpu->cc_dst & mask, b = cpu->cc_src & mask;
    switch (cpu->cc_op & ~3u) {
    case CC_T1_ADD: SET_CC(CC_ADD + size, a, b); break;
    case CC_T1_SUB: SET_CC(CC_SUB + size, a, b); break;
    case CC_T1_LOGIC: SET_CC(CC_LOGIC + size, a, 0); break;
    case CC_T1_CMP: SET_CC(CC_SUB + size, (a - b) & mask, b); break;
    case CC_T1_TEST: SET_CC(CC_LOGIC + size, a & b, 0); break;
    default: SET_CC(CC_FLAGS, 0, lahf_to_eflags(cpu->tr1.lahf)); break;
    }
}

void t1_load_flags(X86Cpu *cpu)
{
    t1_flags_normal(cpu);
    cpu->tr1.efl = x86_arith_flags(cpu) | FL_IF | 2;
}
