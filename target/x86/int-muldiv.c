/* SPDX-License-Identifier: MIT
 * target/x86/int-muldiv.c - multiplication, division, sign extension of the accumulator, decimal adjustment.
 * Models: SDM vol. 2 MUL, IMUL, DIV, IDIV, MULX, CBW/CWDE/CDQE, CWD/CDQ/CQO, DAA, DAS, AAA, AAS, AAM, AAD.
 * #DE is raised before any register changes. Flags a division leaves undefined stay as they were.
 * Threads: the vCPU's thread.
 */
#include "int-ops.h"

typedef unsigned __int128 u128;
typedef __int128 s128;

/* Forms _r and _m of an instruction that reads one operand v. */
#define READ_FORMS(name, bits, body)                                                                        \
    static inline __attribute__((always_inline)) void do_##name##bits(X86Cpu *cpu, const X86Insn *d, uint##bits##_t v) body \
    OP(name##_r##bits)                                                                                      \
    {                                                                                                       \
        do_##name##bits(cpu, d, RD##bits(d->rm));                                                           \
        NEXT;                                                                                               \
    }                                                                                                       \
    OP(name##_m##bits)                                                                                      \
    {                                                                                                       \
        do_##name##bits(cpu, d, ld##bits(cpu, d, ea_lin(cpu, d, bits / 8, false)));                         \
        NEXT;                                                                                               \
    }

#define AL_ R8(0)
#define AH_ R8(1)

READ_FORMS(mul_e, 8, {
    unsigned r = AL_ * v;
    WR16(R_RAX, r);
    SET_CC(CC_MUL, r & 0xff, r >> 8);
})
READ_FORMS(mul_e, 16, {
    uint32_t r = (uint32_t)RD16(R_RAX) * v;
    WR16(R_RAX, r);
    WR16(R_RDX, r >> 16);
    SET_CC(CC_MUL + 1, r & 0xffff, r >> 16);
})
READ_FORMS(mul_e, 32, {
    uint64_t r = (uint64_t)RD32(R_RAX) * v;
    WR32(R_RAX, r);
    WR32(R_RDX, r >> 32);
    SET_CC(CC_MUL + 2, r & 0xffffffff, r >> 32);
})
READ_FORMS(mul_e, 64, {
    u128 r = (u128)RD64(R_RAX) * v;
    cpu->gpr[R_RAX] = (uint64_t)r;
    cpu->gpr[R_RDX] = (uint64_t)(r >> 64);
    SET_CC(CC_MUL + 3, (uint64_t)r, (uint64_t)(r >> 64));
})

READ_FORMS(imul_e, 8, {
    int r = (int8_t)AL_ * (int8_t)v;
    WR16(R_RAX, r);
    SET_CC(CC_MUL, r & 0xff, r != (int8_t)r);
})
READ_FORMS(imul_e, 16, {
    int32_t r = (int16_t)RD16(R_RAX) * (int16_t)v;
    WR16(R_RAX, r);
    WR16(R_RDX, r >> 16);
    SET_CC(CC_MUL + 1, r & 0xffff, r != (int16_t)r);
})
READ_FORMS(imul_e, 32, {
    int64_t r = (int64_t)(int32_t)RD32(R_RAX) * (int32_t)v;
    WR32(R_RAX, r);
    WR32(R_RDX, r >> 32);
    SET_CC(CC_MUL + 2, r & 0xffffffff, r != (int32_t)r);
})
READ_FORMS(imul_e, 64, {
    s128 r = (s128)(int64_t)RD64(R_RAX) * (int64_t)v;
    cpu->gpr[R_RAX] = (uint64_t)r;
    cpu->gpr[R_RDX] = (uint64_t)(r >> 64);
    SET_CC(CC_MUL + 3, (uint64_t)r, r != (int64_t)r);
})

#define IMUL2(bits, wide)                                                                                   \
    READ_FORMS(imul_ge, bits, {                                                                             \
        wide r = (wide)(int##bits##_t)RD##bits(d->reg) * (int##bits##_t)v;                                  \
        WR##bits(d->reg, r);                                                                                \
        SET_CC(CC_MUL + LOG2_##bits, (uint##bits##_t)r, r != (int##bits##_t)r);                             \
    })                                                                                                      \
    READ_FORMS(imul_gei, bits, {                                                                            \
        wide r = (wide)(int##bits##_t)d->imm * (int##bits##_t)v;                                            \
        WR##bits(d->reg, r);                                                                                \
        SET_CC(CC_MUL + LOG2_##bits, (uint##bits##_t)r, r != (int##bits##_t)r);                             \
    })
IMUL2(16, int32_t)
IMUL2(32, int64_t)
IMUL2(64, s128)

READ_FORMS(div_e, 8, {
    unsigned n = RD16(R_RAX);
    if (v == 0 || n / v > 0xff) {
        RAISE(EXC_DE);
    }
    WR16(R_RAX, (n / v) | (n % v) << 8);
})
READ_FORMS(div_e, 16, {
    uint32_t n = RD16(R_RAX) | (uint32_t)RD16(R_RDX) << 16;
    if (v == 0 || n / v > 0xffff) {
        RAISE(EXC_DE);
    }
    WR16(R_RAX, n / v);
    WR16(R_RDX, n % v);
})
READ_FORMS(div_e, 32, {
    uint64_t n = RD32(R_RAX) | (uint64_t)RD32(R_RDX) << 32;
    if (v == 0 || n / v > 0xffffffff) {
        RAISE(EXC_DE);
    }
    WR32(R_RAX, n / v);
    WR32(R_RDX, n % v);
})
READ_FORMS(div_e, 64, {
    u128 n = RD64(R_RAX) | (u128)RD64(R_RDX) << 64;
    if (v <= RD64(R_RDX)) { /* the quotient does not fit, or v is zero */
        RAISE(EXC_DE);
    }
    cpu->gpr[R_RAX] = (uint64_t)(n / v);
    cpu->gpr[R_RDX] = (uint64_t)(n % v);
})

READ_FORMS(idiv_e, 8, {
    int n = (int16_t)RD16(R_RAX);
    int q = v ? n / (int8_t)v : 0x100;
    if (q != (int8_t)q) {
        RAISE(EXC_DE);
    }
    WR16(R_RAX, (q & 0xff) | (n % (int8_t)v) << 8);
})
READ_FORMS(idiv_e, 16, {
    int64_t n = (int32_t)(RD16(R_RAX) | (uint32_t)RD16(R_RDX) << 16);
    int64_t q = v ? n / (int16_t)v : 0x10000;
    if (q != (int16_t)q) {
        RAISE(EXC_DE);
    }
    WR16(R_RAX, q);
    WR16(R_RDX, n % (int16_t)v);
})
READ_FORMS(idiv_e, 32, {
    s128 n = (int64_t)(RD32(R_RAX) | (uint64_t)RD32(R_RDX) << 32);
    s128 q = v ? n / (int32_t)v : (s128)1 << 40;
    if (q != (int32_t)q) {
        RAISE(EXC_DE);
    }
    WR32(R_RAX, q);
    WR32(R_RDX, n % (int32_t)v);
})
/* 128 by 64 bits with signs apart: the most negative dividend has no positive counterpart in 128 bits but in u128. */
READ_FORMS(idiv_e, 64, {
    u128 n = RD64(R_RAX) | (u128)RD64(R_RDX) << 64;
    bool nneg = RD64(R_RDX) >> 63;
    bool dneg = v >> 63;
    u128 un = nneg ? -n : n;
    uint64_t uv = dneg ? -v : v;
    if (uv <= (uint64_t)(un >> 64)) {
        RAISE(EXC_DE);
    }
    uint64_t q = (uint64_t)(un / uv);
    uint64_t r = (uint64_t)(un % uv);
    if (q > ((uint64_t)1 << 63) - (nneg == dneg)) {
        RAISE(EXC_DE);
    }
    cpu->gpr[R_RAX] = nneg != dneg ? -q : q;
    cpu->gpr[R_RDX] = nneg ? -r : r;
})

/* CBW, CWDE, CDQE; CWD, CDQ, CQO */
OP(cbw16) { WR16(R_RAX, (int8_t)R8(0)); NEXT; }
OP(cbw32) { WR32(R_RAX, (int16_t)RD16(R_RAX)); NEXT; }
OP(cbw64) { cpu->gpr[R_RAX] = (uint64_t)(int64_t)(int32_t)RD32(R_RAX); NEXT; }
OP(cwd16) { WR16(R_RDX, RD16(R_RAX) >> 15 ? 0xffff : 0); NEXT; }
OP(cwd32) { WR32(R_RDX, RD32(R_RAX) >> 31 ? 0xffffffff : 0); NEXT; }
OP(cwd64) { cpu->gpr[R_RDX] = (uint64_t)((int64_t)cpu->gpr[R_RAX] >> 63); NEXT; }

/* ---- decimal adjustment: SDM vol. 2, the "Operation" sections ---- */

static uint32_t szp(uint8_t v)
{
    return (v ? 0 : FL_ZF) | (v & 0x80 ? FL_SF : 0) | (__builtin_parity(v) ? 0 : FL_PF);
}

static void decimal(X86Cpu *cpu, bool subtract)
{
    uint32_t f = x86_arith_flags(cpu), out = 0;
    uint8_t old = AL_, al = old;
    if ((old & 15) > 9 || (f & FL_AF)) {
        al = (uint8_t)(subtract ? al - 6 : al + 6);
        out |= FL_AF | (subtract && old < 6 ? FL_CF : 0);
        out |= f & FL_CF;
    }
    if (old > 0x99 || (f & FL_CF)) {
        al = (uint8_t)(subtract ? al - 0x60 : al + 0x60);
        out |= FL_CF;
    } else if (!subtract) {
        out &= ~FL_CF;
    }
    WR8(0, al);
    x86_set_eflags_arith(cpu, out | szp(al));
}
OP(daa) { decimal(cpu, false); NEXT; }
OP(das) { decimal(cpu, true); NEXT; }

static void ascii(X86Cpu *cpu, int sign)
{
    bool adjust = (AL_ & 15) > 9 || (x86_arith_flags(cpu) & FL_AF);
    if (adjust) {
        WR16(R_RAX, RD16(R_RAX) + sign * 0x106);
    }
    WR8(0, AL_ & 15);
    x86_set_eflags_arith(cpu, szp(AL_) | (adjust ? FL_AF | FL_CF : 0));
}
OP(aaa) { ascii(cpu, 1); NEXT; }
OP(aas) { ascii(cpu, -1); NEXT; }

OP(aam)
{
    uint8_t base = (uint8_t)d->imm, al = AL_;
    if (base == 0) {
        RAISE(EXC_DE);
    }
    WR16(R_RAX, (al / base) << 8 | al % base);
    x86_set_eflags_arith(cpu, szp(AL_));
    NEXT;
}

OP(aad)
{
    uint8_t al = (uint8_t)(AL_ + AH_ * (uint8_t)d->imm);
    WR16(R_RAX, al);
    x86_set_eflags_arith(cpu, szp(al));
    NEXT;
}

OP(salc) /* undocumented: AL = CF ? FFh : 0 */
{
    WR8(0, x86_carry(cpu) ? 0xff : 0);
    NEXT;
}
