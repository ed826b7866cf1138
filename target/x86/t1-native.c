/* SPDX-License-Identifier: MIT
 * target/x86/t1-native.c - instructions that the host runs itself: the guest's bytes with other registers and another memory
 * operand. The opcode, prefixes and immediates are the guest's.
 * Models: SDM vol. 2 chapter 2.
 * Does not model: AH..BH in an instruction that needs a REX prefix here (the T0 function runs).
 * Threads: the vCPU's thread.
 */
#include "t1.h"

typedef struct Raw { /* an instruction's parts */
    bool p66, lock, vex, w, l, has_modrm;
    uint8_t rep, map, opcode, pp, vvvv, modrm;
    const uint8_t *imm;
    unsigned n_imm;
} Raw;

static Raw parse(const T1 *t, const X86Insn *d)
{
    const uint8_t *p = t->bytes[t->i], *end = p + d->len;
    Raw r = { 0 };
    for (;; p++) {
        switch (*p) {
        case 0x66: r.p66 = true; continue;
        case 0xf0: r.lock = true; continue;
        case 0xf2: case 0xf3: r.rep = *p; continue;
        case 0x67: case 0x26: case 0x2e: case 0x36: case 0x3e: case 0x64: case 0x65: continue;
        default: break;
        }
        if (t->code64 && (*p & 0xf0) == 0x40) {
            r.w = *p & 8;
            continue;
        }
        break;
    }
    const X86Row *row = &x86_rows[d->row];
    if (row->attrs & RA_VEX) {
        r.vex = true;
        bool two = *p == 0xc5;
        uint8_t last = two ? p[1] : p[2];
        r.map = two ? 1 : p[1] & 3;
        r.w = !two && last & 0x80;
        r.l = last & 4;
        r.pp = last & 3;
        r.vvvv = ~last >> 3 & (t->code64 ? 15 : 7);
        p += two ? 2 : 3;
        r.opcode = *p++;
        if (!t->code64 && row->osz == OSZ_Y) {
            r.w = false; /* ignored outside 64-bit mode */
        }
    } else {
        if (*p == 0x0f) {
            p++;
            r.map = 1;
            if (*p == 0x38 || *p == 0x3a) {
                r.map = *p == 0x38 ? 2 : 3;
                p++;
            }
        }
        r.opcode = *p++;
    }
    if (row->enc[0] != 'f') {
        r.rep = 0; /* not part of this instruction: BSF with an ignored F3 is not TZCNT */
    }
    r.has_modrm = x86_has_modrm[r.vex ? r.map + 3 : r.map][r.opcode];
    if (r.has_modrm) {
        r.modrm = *p++;
        unsigned mod = r.modrm >> 6, rm = r.modrm & 7;
        if (mod != 3) {
            unsigned sib_base = 0;
            if (rm == 4) {
                sib_base = *p++ & 7;
            }
            p += mod == 1 ? 1 : mod == 2 || rm == 5 || (rm == 4 && sib_base == 5) ? 4 : 0;
        }
    }
    r.imm = p;
    r.n_imm = p <= end ? (unsigned)(end - p) : 0;
    if (row->attrs & RA_IS4) {
        r.imm = (const uint8_t *)&d->imm; /* without the bit that 32-bit code ignores */
    }
    return r;
}

static unsigned mem_size(const X86Insn *d) { return x86_operand_bytes(x86_rows[d->row].memsize, d); }

/* One operand in a general register: where the host's instruction finds it. */
typedef struct GprUse {
    int host;      /* register number in the encoding */
    bool high, rex; /* AH..BH; needs REX to mean SPL..DIL */
    bool spilled;  /* guest register in memory, worked on in a temporary */
    unsigned n;
} GprUse;

static GprUse gpr_use(unsigned field, bool byte, int temp)
{
    GprUse u = { .n = byte ? field >> 3 : field };
    if (byte && field & 7) {
        u.high = true;
        u.host = (int)u.n + 4;
        return u;
    }
    u.host = t1_hreg(u.n);
    if (u.host == H_NONE) {
        u.spilled = true;
        u.host = temp;
    }
    u.rex = byte && u.host >= 4;
    return u;
}

uint32_t t1_regs_written(const X86Insn *d, const T1Row *r)
{
    uint32_t m = r->implicit;
    if (r->roles & T1R_REG_DST && r->roles & (T1R_REG_GPR | T1R_REG_BYTE)) {
        m |= 1u << (r->roles & T1R_REG_BYTE ? d->reg >> 3 : d->reg);
    }
    if (r->roles & T1R_RM_DST && !insn_is_mem(d) && r->roles & (T1R_RM_GPR | T1R_RM_BYTE)) {
        m |= 1u << (r->roles & T1R_RM_BYTE ? d->rm >> 3 : d->rm);
    }
    if (r->roles & T1R_V_DST) {
        m |= 1u << insn_vvvv(d);
    }
    return m;
}

/* BT, BTS, BTR, BTC with a bit number in a register */
static bool by_bit(const Raw *w)
{
    return w->map == 1 && !w->vex && (w->opcode == 0xa3 || w->opcode == 0xab || w->opcode == 0xb3 || w->opcode == 0xbb);
}

/* What cannot be re-encoded, before anything is emitted. */
static bool encodable(const T1 *t, const X86Insn *d, const T1Row *r, const Raw *w)
{
    bool mem = insn_is_mem(d);
    if (mem && !t1_mem_ok(d)) {
        return false;
    }
    if (mem && by_bit(w) && (!t->code64 || (d->flags & I_ASIZE) != 3)) {
        return false;
    }
    if (mem && mem_size(d) == 0) {
        return false;
    }
    if (w->vex && !w->has_modrm && !t->code64) {
        return false; /* 32-bit code has eight registers to clear */
    }
    unsigned op = w->opcode;
    if ((w->map == 0 && (op == 0xc0 || op == 0xc1)) || (w->map == 1 && (op == 0xa4 || op == 0xac))) {
        unsigned count = (unsigned)d->imm & (insn_osize(d) == 3 ? 63 : 31);
        if (count == 0) {
            return false; /* flags stay */
        }
    }
    if (!t->code64 && w->map == 0 && op == 0x82) {
        return false;
    }
    bool high = (r->roles & T1R_REG_BYTE && d->reg & 7) || (r->roles & T1R_RM_BYTE && !mem && d->rm & 7);
    if (high) {
        GprUse g = r->roles & T1R_REG_BYTE ? gpr_use(d->reg, true, T1_) : r->roles & T1R_REG_GPR ? gpr_use(d->reg, false, T1_) : (GprUse){ 0 };
        GprUse m = mem || !(r->roles & (T1R_RM_BYTE | T1R_RM_GPR)) ? (GprUse){ 0 } : gpr_use(d->rm, r->roles & T1R_RM_BYTE, T0_);
        if (mem || g.rex || m.rex || (!g.high && g.host >= 8) || (!m.high && m.host >= 8) || insn_osize(d) == 3) {
            return false;
        }
    }
    if (r->roles & T1R_V_GPR && t1_hreg(insn_vvvv(d)) == H_NONE) { /* a second register from memory: T1_ must be free for it */
        return !(r->roles & T1R_V_DST) && !(r->roles & T1R_REG_GPR && t1_hreg(d->reg) == H_NONE);
    }
    return true;
}

static void e_raw(Asm *a, const Raw *w, unsigned reg, HOp rm, bool rex, int vvvv)
{
    if (w->vex && !w->has_modrm) { /* VZEROUPPER, VZEROALL */
        e8(a, 0xc5);
        e8(a, 0xf8 | (w->l ? 4 : 0));
        e8(a, w->opcode);
    } else if (w->vex) {
        e_vex(a, w->w, w->l, w->pp, w->map, (unsigned)vvvv, w->opcode, reg, rm);
    } else if (w->has_modrm) {
        unsigned f = (w->w ? E_W : 0) | (w->p66 ? E_66 : 0) | (w->rep == 0xf2 ? E_F2 : w->rep ? E_F3 : 0) | (w->lock ? E_LOCK : 0) |
                     (rex ? E_REX : 0) | (unsigned)w->map << E_MAP_SHIFT;
        e_op(a, f, w->opcode, reg, rm);
    } else {
        if (w->p66) {
            e8(a, 0x66);
        }
        if (w->w || rex || reg >= 8) {
            e8(a, 0x40u | (w->w ? 8u : 0) | (reg >> 3 & 1)); /* +r register in B */
        }
        if (w->map) {
            e8(a, 0x0f);
        }
        e8(a, w->opcode);
    }
    e_bytes(a, w->imm, w->n_imm);
}

/* A guest register that lives in memory can be the r/m operand itself, unless 32 bits of it are written: that clears the others. */
static bool direct(const X86Insn *d, const T1Row *r, const Raw *w)
{
    unsigned op = w->opcode;
    if (w->vex || w->map > 1 || r->cls != T1C_NATIVE || (r->roles & T1R_RM_DST && insn_osize(d) == 2)) {
        return false;
    }
    if (w->map == 1) {
        return (op & 0xe0) == 0x40 ? op < 0x50 : (op & 0xf0) == 0x90 || op == 0xaf || op == 0xb6 || op == 0xb7 || op == 0xbe || op == 0xbf;
    }
    return op < 0x40 || op == 0x63 || op == 0x69 || op == 0x6b || (op >= 0x80 && op <= 0x85) || (op >= 0x88 && op <= 0x8b) ||
           op == 0xc0 || op == 0xc1 || (op >= 0xd0 && op <= 0xd3) || op == 0xf6 || op == 0xf7 || op == 0xfe || op == 0xff;
}

static bool clears(const X86Insn *d, const Raw *w) /* XOR or SUB of a register with itself */
{
    unsigned op = w->opcode & ~2u;
    return w->map == 0 && (op == 0x31 || op == 0x29) && insn_osize(d) >= 2 && d->reg == d->rm;
}

static bool multiplies(const Raw *w)
{
    unsigned digit = w->modrm >> 3 & 7;
    return w->vex ? false : w->map ? w->map == 1 && w->opcode == 0xaf
           : w->opcode == 0x69 || w->opcode == 0x6b || ((w->opcode & 0xfe) == 0xf6 && (digit == 4 || digit == 5));
}

static unsigned alu_number(const Raw *w, unsigned digit) /* 0 ADD 1 OR 4 AND 5 SUB 6 XOR 7 CMP; TEST: 8 */
{
    return w->opcode < 0x40 ? w->opcode >> 3 : w->opcode < 0x84 ? digit : 8;
}

/* An operation on memory that leaves a recipe behind, while its flags may be seen: what the recipe needs of memory goes
 * through T1_ to where the state has it, as the T0 function leaves it. Two moves, against LAHF, SETO and four moves. */
static bool emit_kept(T1 *t, const X86Insn *d, const T1Row *r, const Raw *w, HOp rm)
{
    Asm *a = &t->hot;
    bool reg = r->roles & (T1R_REG_GPR | T1R_REG_BYTE), reg_first = r->roles & T1R_REG_FIRST;
    unsigned size = insn_osize(d), f = size == 3 ? E_W : size == 1 ? E_66 : 0, wide = size != 0;
    unsigned n = alu_number(w, w->modrm >> 3 & 7), what = n == 7 ? 5 : n == 8 ? 4 : n;
    if (!r->recipe || w->map || w->lock || (r->roles & T1R_REG_BYTE && d->reg & 7) || (reg_first && r->recipe == CC_T1_LOGIC) ||
        t1_fl_dead(t, t->i + 1)) {
        return false;
    }
    unsigned k = r->roles & T1R_REG_BYTE ? d->reg >> 3 : d->reg;
    int host = reg ? t1_hreg(k) : H_NONE;
    HOp other = host == H_NONE ? t1_gpr_mem(k) : h_reg(host);
    size < 2 ? e_op(a, E_0F, 0xb6 | wide, T1_, rm) : e_op(a, f, 0x8b, T1_, rm);
    t->kept = true;
    if (reg_first) {
        e_store(a, h_gs(offsetof(X86Cpu, cc_src)), T1_);
        if (host != H_NONE) {
            e_op(a, f | (size ? 0 : E_REX), n << 3 | 2 | wide, (unsigned)host, h_reg(T1_));
        } else if (n == 7) {
            e_op(a, f, 0x38 | wide, T1_, other);
        } else {
            e_load(a, T0_, other);
            e_op(a, f, n << 3 | 2 | wide, T0_, h_reg(T1_));
            e_store(a, other, T0_);
        }
        return true;
    }
    if (reg) {
        e_op(a, f | (size ? 0 : E_REX), what << 3 | 2 | wide, T1_, other);
    } else {
        e_op(a, f, n == 8 ? 0x80 | wide : w->opcode, what, h_reg(T1_));
        e_bytes(a, w->imm, w->n_imm);
    }
    if (r->roles & T1R_STORE) {
        e_op(a, f, 0x88 | wide, T1_, rm);
    }
    e_store(a, h_gs(offsetof(X86Cpu, cc_dst)), T1_);
    return true;
}

bool t1_emit_native(T1 *t, const X86Insn *d, const T1Row *r)
{
    Raw w = parse(t, d);
    Asm *a = &t->hot;
    bool mem = w.has_modrm && insn_is_mem(d), checks = mem && !t1_checked(t, 0);
    if (!encodable(t, d, r, &w)) {
        return false;
    }
    uint32_t regs = t1_regs_written(d, r);
    bool all = (r->fl_def & FL_ALL_) == FL_ALL_ && !(r->roles & T1R_CONDFL);
    unsigned part = t1_fl_partial(d, r);
    bool condfl = r->roles & T1R_CONDFL, rotate = condfl && w.map == 0 && (w.modrm >> 3 & 7) < 4;
    if ((part || condfl) && !mem && !t->fl.host && t1_fl_dead(t, t->i)) { /* whatever is in EFLAGS will do */
        t->fl = (T1Flags){ .host = true };
    }
    bool merge = r->fl_def & FL_ALL_ && !all && !part && !(condfl && !rotate) && !t1_fl_dead(t, t->i);
    if (part && (checks || !t->fl.host)) { /* what it leaves alone must be in the state */
        t1_fl_to_state(t, &t->hot, &t->fl);
    }
    t1_fl_before(t, regs, checks, all);
    T1Side *side = NULL;
    HOp rm = h_reg(0);
    unsigned reg = w.modrm >> 3 & 7;
    bool rex = false;
    if (mem) {
        bool store = r->roles & T1R_STORE || d->flags & I_LOCK;
        rm = by_bit(&w) ? t1_bit_check(t, d, mem_size(d), store, &side)
                        : t1_mem_check(t, d, mem_size(d), store, r->roles & T1R_ALIGN ? mem_size(d) : 0, &side);
    }
    if (merge) {
        t1_fl_need_host(t, FL_ALL_);
    } else if (r->fl_read & FL_ALL_) {
        t1_fl_need_host(t, r->fl_read & FL_ALL_);
    }
    if (mem && emit_kept(t, d, r, &w, rm)) {
        t1_fl_after(t, d, r, regs);
        t1_side_done(t, side);
        return true;
    }
    if (condfl && !rotate && !t->fl.host && (!t->fl.state || t->fl.part)) {
        t1_fl_need_host(t, FL_ALL_); /* while T1_ is free: SHLD and SHRD have an operand there */
    }
    GprUse g = { .host = (int)reg }, m = { 0 };
    bool use_g = r->roles & (T1R_REG_GPR | T1R_REG_BYTE), use_m = !mem && r->roles & (T1R_RM_GPR | T1R_RM_BYTE);
    int vvvv = w.vvvv;
    if (mem && by_bit(&w)) { /* the number inside the operand */
        int from = t1_hreg(d->reg);
        e_load32(a, T1_, from == H_NONE ? t1_gpr_mem(d->reg) : h_reg(from));
        e_alu_ri(a, false, 4, h_reg(T1_), (int32_t)(8 * mem_size(d) - 1));
        g.host = T1_;
    } else if (use_g) {
        g = gpr_use(d->reg, r->roles & T1R_REG_BYTE, T1_);
        if (g.spilled && (r->roles & T1R_REG_SRC || t1_osize(d) < 4) && !(use_m && clears(d, &w))) {
            e_load(a, T1_, t1_gpr_mem(g.n));
        }
    } else if (w.has_modrm && !(r->roles & (T1R_REG_SRC | T1R_REG_DST))) {
        g.host = w.modrm >> 3 & 7; /* opcode extension */
    } else if (w.has_modrm) {
        g.host = d->reg; /* vector register */
    }
    if (r->roles & T1R_V_GPR) {
        vvvv = t1_hreg(insn_vvvv(d));
        if (vvvv == H_NONE) {
            e_load(a, T1_, t1_gpr_mem(insn_vvvv(d)));
            vvvv = T1_;
        }
    }
    if (use_m) {
        m = gpr_use(d->rm, r->roles & T1R_RM_BYTE, T0_);
        rm = h_reg(m.host);
        if (m.spilled && use_g && clears(d, &w)) {
            g = m;
        } else if (m.spilled && direct(d, r, &w)) {
            rm = t1_gpr_mem(m.n);
            m = (GprUse){ 0 };
        } else if (m.spilled && (r->roles & T1R_RM_SRC || t1_osize(d) < 4)) {
            e_load(a, T0_, t1_gpr_mem(m.n));
        }
    } else if (w.has_modrm && !mem) {
        rm = h_reg(d->rm);
    }
    rex = g.rex || m.rex;
    if (use_g && !w.has_modrm) { /* +r */
        w.opcode = (uint8_t)((w.opcode & 0xf8) | (g.host & 7));
    }
    T1Side *count0 = NULL;
    if (condfl && !rotate && !t->fl.host) { /* a shift by CL: with a count of zero the flags stay */
        e_op(a, 0, 0xf6, 0, h_reg(H_RCX)); /* TEST CL */
        e8(a, insn_osize(d) == 3 ? 63 : 31);
        count0 = t1_side(t, SIDE_COUNT0, e_jcc(a, CC_E));
        count0->copy = a->p;
    }
    if (part == FL_PART_NC && t->fl.state_lahf && !t->fl.part && !t->fl.host) { /* INC, DEC: with CF all flags are in EFLAGS */
        e_op(a, E_W | E_0F, 0xba, 4, h_gs(offsetof(X86Cpu, tr1.lahf))); /* BT */
        e8(a, 8);
        t->fl.host = true;
    }
    e_raw(a, &w, (unsigned)g.host, rm, rex, vvvv);
    if (count0) {
        count0->n_copy = (uint8_t)(a->p - count0->copy);
        count0->back = a->p;
    }
    if (g.spilled && r->roles & T1R_REG_DST) {
        e_store(a, t1_gpr_mem(g.n), g.host);
    }
    if (m.spilled && r->roles & T1R_RM_DST) {
        e_store(a, t1_gpr_mem(m.n), m.host);
    }
    if (multiplies(&w) && !t1_fl_dead(t, t->i + 1)) {
        e_store_imm32(a, true, h_gs(offsetof(X86Cpu, cc_src)), 0);
        e_op(a, E_0F, 0x90, 0, h_gs(offsetof(X86Cpu, cc_src))); /* SETO; CF is the same, the others are undefined */
        t->kept = true;
    }
    t1_fl_after(t, d, r, regs);
    if (side) {
        t1_side_done(t, side);
    }
    return true;
}
