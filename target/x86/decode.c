/* SPDX-License-Identifier: MIT
 * target/x86/decode.c - the instruction decoder.
 * Models: SDM vol. 2 chapter 2 (instruction format, REX, VEX), appendix A; vol. 3 chapter 21 for 16-bit forms.
 * Does not model: EVEX, XOP, 3DNow! (decode to #UD).
 * Threads: pure functions.
 */
#include "decode.h"

typedef struct Dec {
    const uint8_t *p;
    unsigned avail, pos;
    uint32_t mode;
    const X86Features *feat;
    X86Insn *d;
    X86DecodeResult fail;
    bool op66, addr67, lock, rex;
    uint8_t rep;        /* 0, 0xf2, 0xf3: the last one */
    uint8_t rex_bits;   /* W R X B as 8 4 2 1 */
    int8_t seg;         /* override, -1 none */
    bool vex, vex_l;
    uint8_t vvvv, vex_pp;
    uint8_t map, opcode, modrm;
    bool has_modrm;
    uint8_t asize, osize; /* log2 bytes */
    uint16_t row;
} Dec;

/* n more bytes must exist: inside what was fetched and inside the length limit. Bytes are fetched in order, so
 * whichever end comes first decides between a page fault and #GP. */
static bool need(Dec *s, unsigned n)
{
    if (G_LIKELY(s->pos + n <= s->avail && s->pos + n <= X86_MAX_INSN)) {
        return true;
    }
    s->fail = s->avail < X86_MAX_INSN ? DEC_MORE : DEC_LONG;
    return false;
}

static uint64_t take(Dec *s, unsigned n)
{
    uint64_t v = 0;
    for (unsigned i = 0; i < n; i++) {
        v |= (uint64_t)s->p[s->pos + i] << (8 * i);
    }
    s->pos += n;
    return v;
}

static int64_t sext(uint64_t v, unsigned bytes)
{
    unsigned sh = 64 - 8 * bytes;
    return (int64_t)(v << sh) >> sh;
}

static bool decode_prefixes(Dec *s)
{
    bool m64 = s->mode & MODE_CODE64;
    for (;;) {
        if (!need(s, 1)) {
            return false;
        }
        uint8_t b = s->p[s->pos];
        if (m64 && (b & 0xf0) == 0x40) {
            s->rex = true; /* only the one right before the opcode counts: see below */
            s->rex_bits = b & 15;
            s->pos++;
            continue;
        }
        switch (b) {
        case 0x66: s->op66 = true; break;
        case 0x67: s->addr67 = true; break;
        case 0xf0: s->lock = true; break;
        case 0xf2: case 0xf3: s->rep = b; break;
        case 0x64: s->seg = SEG_FS; break;
        case 0x65: s->seg = SEG_GS; break;
        case 0x26: case 0x2e: case 0x36: case 0x3e: /* null prefixes in 64-bit mode */
            s->seg = m64 ? s->seg : (b >> 3) & 3;
            break;
        default:
            return true;
        }
        s->rex = false; /* a REX followed by another prefix is ignored (SDM vol. 2A 2.2.1) */
        s->rex_bits = 0;
        s->pos++;
    }
}

/* C4, C5 at s->pos. VEX only where LES, LDS cannot be: 64-bit mode, or mod = 3 outside it. */
static bool decode_vex(Dec *s, bool *is_vex)
{
    *is_vex = false;
    if (!need(s, 2)) {
        return false;
    }
    bool two = s->p[s->pos] == 0xc5;
    uint8_t b1 = s->p[s->pos + 1];
    if (!(s->mode & MODE_CODE64) && (b1 & 0xc0) != 0xc0) {
        return true;
    }
    if (!(s->mode & MODE_PE) || (s->mode & MODE_VM86)) {
        s->pos += 2;
        s->fail = DEC_UD;
        return false;
    }
    if (s->lock || s->op66 || s->rep || s->rex) {
        s->pos += 2;
        s->fail = DEC_UD;
        return false;
    }
    if (!need(s, two ? 3 : 4)) {
        return false;
    }
    uint8_t last = two ? b1 : s->p[s->pos + 2];
    s->vex = *is_vex = true;
    s->rex_bits = (~b1 >> 5) & 4;
    unsigned map = 1;
    if (!two) {
        s->rex_bits |= ((~b1 >> 5) & 2) | ((~b1 >> 5) & 1) | (last & 0x80 ? 8 : 0);
        map = b1 & 0x1f;
    }
    if (!(s->mode & MODE_CODE64)) {
        s->rex_bits &= 8;
    }
    s->vvvv = (~last >> 3) & 15;
    s->vex_l = last & 4;
    s->vex_pp = last & 3; /* 1 = 66, 2 = F3, 3 = F2 */
    s->pos += two ? 2 : 3;
    s->opcode = (uint8_t)take(s, 1);
    if (map < 1 || map > 3) {
        s->fail = DEC_UD;
        return false;
    }
    s->map = (uint8_t)(map + 3);
    return true;
}

static bool decode_opcode(Dec *s)
{
    if (!need(s, 1)) {
        return false;
    }
    uint8_t b = s->p[s->pos];
    if ((b & 0xfe) == 0xc4) {
        bool vex;
        if (!decode_vex(s, &vex) || vex) {
            return vex && s->fail == DEC_OK;
        }
    }
    s->pos++;
    s->map = 0;
    if (b == 0x0f) {
        if (!need(s, 1)) {
            return false;
        }
        b = (uint8_t)take(s, 1);
        s->map = 1;
        if (b == 0x38 || b == 0x3a) {
            s->map = b == 0x38 ? 2 : 3;
            if (!need(s, 1)) {
                return false;
            }
            b = (uint8_t)take(s, 1);
        }
    }
    s->opcode = b;
    return true;
}

static bool rule_matches(const Dec *s, const X86Rule *r)
{
    if ((s->modrm & r->mask) != r->val || !x86_feature_on(s->feat, r->feat)) {
        return false;
    }
    unsigned c = r->cond;
    if (G_LIKELY(c == 0)) {
        return true;
    }
    bool m64 = s->mode & MODE_CODE64;
    return !((c & RC_64 && !m64) || (c & RC_NOT64 && m64) || (c & RC_MEM && s->modrm >= 0xc0) ||
             (c & RC_W0 && s->rex_bits & 8) || (c & RC_W1 && !(s->rex_bits & 8)) ||
             (c & RC_L0 && s->vex_l) || (c & RC_L1 && !s->vex_l) || (c & RC_B0 && s->rex_bits & 1) ||
             (c & RC_PE && (!(s->mode & MODE_PE) || s->mode & MODE_VM86)));
}

static bool find_row(Dec *s)
{
    unsigned pp = s->vex ? s->vex_pp : s->rep == 0xf3 ? 2 : s->rep == 0xf2 ? 3 : s->op66;
    const X86Rule *r = &x86_rules[x86_first_rule[s->map][s->opcode][pp]];
    for (; r->row; r++) {
        if (rule_matches(s, r)) {
            s->row = r->row;
            return true;
        }
    }
    return false;
}

static void pick_sizes(Dec *s, const X86Row *row)
{
    bool w = s->rex_bits & 8;
    unsigned def = s->mode & (MODE_CODE32 | MODE_CODE64) ? 2 : 1;
    unsigned v = s->op66 ? 3 - def : def; /* 1 <-> 2 */
    if (s->mode & MODE_CODE64) {
        if (row->attrs & RA_F64) {
            v = 3;
        } else if (row->attrs & RA_D64) {
            v = s->op66 && !w ? 1 : 3;
        } else if (w) {
            v = 3;
        }
    }
    switch (row->osz) {
    case OSZ_V: s->osize = (uint8_t)v; break;
    case OSZ_Z: s->osize = v == 3 ? 2 : (uint8_t)v; break;
    case OSZ_Y: s->osize = s->mode & MODE_CODE64 && w ? 3 : 2; break;
    case OSZ_B: s->osize = 0; break;
    case OSZ_W: s->osize = 1; break;
    case OSZ_D: s->osize = 2; break;
    default: s->osize = 3; break;
    }
}

/* A byte register as an offset into gpr[]: AH..BH are the second bytes of RAX..RBX when there is no REX. */
static uint8_t byte_reg(const Dec *s, unsigned n)
{
    bool high = !s->rex && !s->vex && n >= 4 && n < 8;
    return (uint8_t)(high ? (n - 4) * 8 + 1 : n * 8);
}

static uint8_t map_reg(const Dec *s, unsigned kind, unsigned low, unsigned ext)
{
    switch (kind) {
    case RK_BYTE: return byte_reg(s, low | ext);
    case RK_SEG: case RK_MMX: return (uint8_t)low;
    default: return (uint8_t)(low | ext);
    }
}

static void set_segment(Dec *s, unsigned def)
{
    X86Insn *d = s->d;
    unsigned seg = s->seg >= 0 ? (unsigned)s->seg : def;
    if (s->mode & MODE_CODE64) {
        d->seg = (uint8_t)(seg >= SEG_FS ? seg : (unsigned)SEG_FLAT);
    } else if (s->mode & MODE_FLAT && seg < SEG_FS && seg != SEG_CS) { /* writes through CS fault */
        d->seg = SEG_FLAT;
    } else {
        d->seg = (uint8_t)seg;
        d->flags |= I_SEGCHECK;
    }
}

static bool decode_mem16(Dec *s)
{
    static const uint8_t base[8] = { R_RBX, R_RBX, R_RBP, R_RBP, R_RSI, R_RDI, R_RBP, R_RBX };
    static const uint8_t index[8] = { R_RSI, R_RDI, R_RSI, R_RDI, R_NONE, R_NONE, R_NONE, R_NONE };
    unsigned mod = s->modrm >> 6, rm = s->modrm & 7, n = mod;
    X86Insn *d = s->d;
    d->base = base[rm];
    d->index = index[rm];
    if (mod == 0 && rm == 6) {
        d->base = R_NONE;
        n = 2;
    }
    if (!need(s, n)) {
        return false;
    }
    d->disp = n ? (int32_t)sext(take(s, n), n) : 0;
    set_segment(s, d->base == R_RBP ? SEG_SS : SEG_DS);
    return true;
}

static bool decode_mem32(Dec *s)
{
    bool vsib = x86_rows[s->row].attrs & RA_VSIB;
    unsigned mod = s->modrm >> 6, rm = s->modrm & 7, n = mod == 1 ? 1 : mod == 2 ? 4 : 0;
    X86Insn *d = s->d;
    d->base = (uint8_t)(rm | (s->rex_bits & 1) << 3);
    if (rm == 4) {
        if (!need(s, 1)) {
            return false;
        }
        unsigned sib = (unsigned)take(s, 1), ix = (sib >> 3 & 7) | (s->rex_bits & 2) << 2;
        d->scale = (uint8_t)(sib >> 6);
        d->index = (uint8_t)(ix == 4 && !vsib ? (unsigned)R_NONE : ix);
        d->base = (uint8_t)((sib & 7) | (s->rex_bits & 1) << 3);
        if ((sib & 7) == 5 && mod == 0) {
            d->base = R_NONE;
            n = 4;
        }
    } else if (rm == 5 && mod == 0) {
        d->base = s->mode & MODE_CODE64 ? R_UNIT : R_NONE;
        n = 4;
    }
    if (!need(s, n)) {
        return false;
    }
    d->disp = n ? (int32_t)sext(take(s, n), n) : 0;
    set_segment(s, d->base == R_RSP || d->base == R_RBP ? SEG_SS : SEG_DS);
    return true;
}

static bool decode_imm(Dec *s, const X86Row *row)
{
    static const uint8_t bytes[] = {
        [IMM_NONE] = 0, [IMM_IB] = 1, [IMM_IBS] = 1, [IMM_IW] = 2, [IMM_JB] = 1, [IMM_IWIB] = 3,
    };
    unsigned n, osize = s->osize;
    switch (row->imm) {
    case IMM_IZ: case IMM_JZ: n = osize == 1 ? 2 : 4; break;
    case IMM_IV: n = 1u << osize; break;
    case IMM_AP: n = (1u << osize) + 2; break;
    case IMM_MOFFS: n = 1u << s->asize; break;
    default: n = bytes[row->imm]; break;
    }
    if (!need(s, n)) {
        return false;
    }
    if (n == 0) {
        return true;
    }
    uint64_t v = take(s, n);
    switch (row->imm) {
    case IMM_IBS: case IMM_IZ: case IMM_JB: case IMM_JZ: v = (uint64_t)sext(v, n); break;
    case IMM_AP: v = n == 4 ? (v & 0xffff) | (v >> 16) << 32 : v; break;
    default: break;
    }
    s->d->imm = v;
    return true;
}

/* RIP-relative: the displacement counts from the next instruction, ours from the unit's start. */
static void rebase_rip(Dec *s, unsigned off)
{
    X86Insn *d = s->d;
    int64_t disp = (int64_t)d->disp + off + d->len;
    if (disp > INT32_MAX) { /* R_BIAS holds 0x10000 */
        d->index = R_BIAS;
        disp -= 0x10000;
    }
    d->disp = (int32_t)disp;
}

static void pick_handler(Dec *s, const X86Row *row)
{
    X86Insn *d = s->d;
    unsigned form = 0, size = row->attrs & RA_SZ ? s->osize : 0;
    uint32_t mode = s->mode;
    if (row->attrs & RA_RM && d->flags & I_MEM) {
        bool fast = row->attrs & RA_FAST && !(d->flags & I_SEGCHECK);
        unsigned plain = fast && s->asize == 3 ? 3 : fast && s->asize == 2 && !(mode & MODE_CODE64) ? 4 : 1;
        form = s->lock ? 2 : plain;
    }
    d->op = x86_ops[row->ops + (row->attrs & RA_SZ ? form * 4 + size : form)];
    if (row->attrs & RA_CPL0 && mode & MODE_CPL3) {
        d->op = op_raise_gp;
    } else if (row->attrs & RA_AVX && !(mode & MODE_AVX_OK)) {
        d->op = op_trap_avx;
    } else if (row->attrs & RA_SSE && mode & MODE_SSE_TRAP) {
        d->op = op_trap_sse;
    } else if (row->attrs & RA_MMX && mode & MODE_FPU_TRAP) {
        d->op = op_trap_mmx;
    } else if (row->attrs & RA_X87 && mode & MODE_FPU_TRAP) {
        d->op = op_trap_x87;
    }
}

static bool decode_operands(Dec *s, unsigned off)
{
    const X86Row *row = &x86_rows[s->row];
    X86Insn *d = s->d;
    unsigned R = (s->rex_bits & 4) << 1, B = (s->rex_bits & 1) << 3;
    bool mem = s->has_modrm && s->modrm < 0xc0 && !(row->attrs & RA_MODANY);
    pick_sizes(s, row);
    d->flags = (uint8_t)(s->asize | s->osize << I_OSIZE_SHIFT);
    if (s->lock) {
        if (!(row->attrs & RA_LOCK) || !mem) {
            s->fail = DEC_UD;
            return false;
        }
        d->flags |= I_LOCK;
    }
    if (s->rep == 0xf3) {
        d->flags |= I_REP;
    }
    if (s->has_modrm) {
        d->reg = map_reg(s, row->reg, s->modrm >> 3 & 7, R);
        d->rm = map_reg(s, row->rm, s->modrm & 7, B);
    } else {
        d->reg = map_reg(s, row->reg, s->opcode & 7, B);
    }
    if (mem) {
        d->flags |= I_MEM;
        if (row->attrs & RA_VSIB && (s->asize == 1 || (s->modrm & 7) != 4)) { /* needs a SIB byte (SDM vol. 2A 2.3.12) */
            s->fail = DEC_UD;
            return false;
        }
        if (!(s->asize == 1 ? decode_mem16(s) : decode_mem32(s))) {
            return false;
        }
    } else {
        set_segment(s, SEG_DS);
    }
    if (!decode_imm(s, row)) {
        return false;
    }
    if (row->attrs & RA_VEX) {
        if (!(row->attrs & RA_VVVV) && s->vvvv) {
            s->fail = DEC_UD;
            return false;
        }
        s->vvvv &= s->mode & MODE_CODE64 ? 15 : 7; /* eight registers; unused it must be 1111b all the same */
        d->imm = (d->imm & 0xff) | (uint64_t)s->vvvv << 8 | (uint64_t)s->vex_l << 12 | (uint64_t)(s->rex_bits & 8) << 10;
        if (row->attrs & RA_IS4 && !(s->mode & MODE_CODE64)) { /* eight registers: the top bit is ignored */
            d->imm &= ~0x80ull;
        }
    }
    if (row->attrs & RA_X87) { /* the last-instruction opcode, and the segment behind d->seg: x87.h */
        unsigned def = d->base == R_RSP || d->base == R_RBP ? SEG_SS : SEG_DS;
        d->imm = (s->opcode & 7u) << 8 | s->modrm | (s->seg >= 0 ? (unsigned)s->seg : def) << 16;
    }
    d->len = (uint8_t)s->pos;
    if (d->base == R_UNIT) {
        rebase_rip(s, off);
    }
    pick_handler(s, row);
    return true;
}

X86DecodeResult x86_decode(uint32_t mode, const X86Features *feat, const uint8_t *bytes, unsigned avail, unsigned off,
                           X86Insn *insn)
{
    Dec s = { .p = bytes, .avail = avail, .mode = mode, .feat = feat, .d = insn, .seg = -1 };
    *insn = (X86Insn){ .op = op_raise_ud, .base = R_NONE, .index = R_NONE, .seg = SEG_FLAT, .off = (uint16_t)off };
    bool ok = decode_prefixes(&s) && decode_opcode(&s);
    if (ok) {
        s.asize = mode & MODE_CODE64 ? 3 - s.addr67 : !(mode & MODE_CODE32) == !s.addr67 ? 1 : 2;
        s.has_modrm = x86_has_modrm[s.map][s.opcode];
        if (s.has_modrm) {
            ok = need(&s, 1);
            s.modrm = ok ? s.p[s.pos++] : 0;
        }
    }
    if (ok && !find_row(&s)) {
        s.fail = DEC_UD;
        ok = false;
    }
    ok = ok && decode_operands(&s, off);
    if (!ok) {
        X86DecodeResult why = s.fail ? s.fail : DEC_UD;
        *insn = (X86Insn){ .op = why == DEC_LONG ? op_raise_gp : op_raise_ud, .base = R_NONE, .index = R_NONE,
                           .seg = SEG_FLAT, .off = (uint16_t)off, .len = (uint8_t)s.pos };
        return why;
    }
    insn->row = s.row;
    return DEC_OK;
}

X86Features x86_all_features(void)
{
    return (X86Features){ { UINT64_MAX, UINT64_MAX } };
}
