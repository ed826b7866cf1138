/* SPDX-License-Identifier: MIT
 * target/x86/int-shift.c - shifts, rotates and double shifts.
 * Models: SDM vol. 2 SAL/SAR/SHL/SHR, RCL/RCR/ROL/ROR, SHLD, SHRD. Counts are taken modulo 32 (64 for 64-bit
 * operands); a count of zero leaves the flags alone.
 * Threads: the vCPU's thread.
 */
#include "int-ops.h"

typedef enum { K_ROL, K_ROR, K_RCL, K_RCR, K_SHL, K_SHR, K_SAR, K_SHLD, K_SHRD } Kind;
typedef struct Shifted {
    uint64_t r;
    uint32_t cc_op; /* UINT32_MAX: flags unchanged */
    uint64_t src;
} Shifted;

/* Rotates change CF and OF alone. OF is defined for counts of one: the two top bits, or top bit and CF, differ. */
static inline uint64_t rotate_flags(const X86Cpu *cpu, bool cf, bool of)
{
    return (x86_arith_flags(cpu) & ~(FL_CF | FL_OF)) | (cf ? FL_CF : 0) | (of ? FL_OF : 0);
}

static inline __attribute__((always_inline)) Shifted shift(const X86Cpu *cpu, Kind kind, unsigned bits, uint64_t v, uint64_t fill,
                                                            unsigned count)
{
    unsigned log2 = bits == 8 ? 0 : bits == 16 ? 1 : bits == 32 ? 2 : 3, top = bits - 1;
    uint64_t mask = UINT64_MAX >> (64 - bits), r;
    unsigned n = count & (bits == 64 ? 63 : 31);
    if (n == 0) {
        return (Shifted){ v, UINT32_MAX, 0 };
    }
    switch (kind) {
    case K_SHL: {
        uint64_t last = n - 1 < bits ? v << (n - 1) & mask : 0; /* its top bit goes to CF */
        return (Shifted){ last << 1 & mask, CC_SHL | log2, last };
    }
    case K_SHR: {
        uint64_t last = n - 1 < bits ? v >> (n - 1) : 0;
        return (Shifted){ last >> 1, CC_SAR | log2, last };
    }
    case K_SAR: {
        int64_t s = (int64_t)(v << (64 - bits)) >> (64 - bits), last = s >> (n - 1 > top ? top : n - 1);
        return (Shifted){ (uint64_t)(last >> 1) & mask, CC_SAR | log2, (uint64_t)last & mask };
    }
    case K_ROL:
        n &= top;
        r = n ? (v << n | v >> (bits - n)) & mask : v;
        return (Shifted){ r, CC_FLAGS, rotate_flags(cpu, r & 1, (r >> top ^ r) & 1) };
    case K_ROR:
        n &= top;
        r = n ? (v >> n | v << (bits - n)) & mask : v;
        return (Shifted){ r, CC_FLAGS, rotate_flags(cpu, r >> top & 1, (r >> top ^ r >> (top - 1)) & 1) };
    case K_RCL: {
        uint64_t c = x86_carry(cpu);
        n %= bits + 1;
        if (n == 0) {
            return (Shifted){ v, CC_FLAGS, rotate_flags(cpu, c, (v >> top ^ c) & 1) };
        }
        r = ((n == 64 ? 0 : v << n) | c << (n - 1) | (n > 1 ? v >> (bits + 1 - n) : 0)) & mask;
        c = v >> (bits - n) & 1;
        return (Shifted){ r, CC_FLAGS, rotate_flags(cpu, c, (r >> top ^ c) & 1) };
    }
    case K_RCR: {
        uint64_t c = x86_carry(cpu);
        n %= bits + 1;
        if (n == 0) {
            return (Shifted){ v, CC_FLAGS, rotate_flags(cpu, c, (v >> top ^ v >> (top - 1)) & 1) };
        }
        r = ((n == 64 ? 0 : v >> n) | c << (bits - n) | (n > 1 ? v << (bits + 1 - n) : 0)) & mask;
        c = v >> (n - 1) & 1;
        return (Shifted){ r, CC_FLAGS, rotate_flags(cpu, c, (r >> top ^ r >> (top - 1)) & 1) };
    }
    case K_SHLD: { /* 16-bit operands and counts above 16: undefined by the SDM; Intel CPUs shift the source in twice */
        uint64_t last;
        if (bits == 16) {
            uint64_t wide = v << 32 | (fill & 0xffff) << 16 | (fill & 0xffff);
            last = (wide << (n - 1)) >> 32 & 0xffff;
            r = (wide << n) >> 32 & 0xffff;
        } else {
            last = (n == 1 ? v : v << (n - 1) | fill >> (bits - n + 1)) & mask;
            r = (v << n | fill >> (bits - n)) & mask;
        }
        return (Shifted){ r, CC_SHL | log2, last };
    }
    default: {
        uint64_t last;
        if (bits == 16) {
            uint64_t wide = (fill & 0xffff) << 32 | (fill & 0xffff) << 16 | v;
            last = wide >> (n - 1) & 0xffff;
            r = wide >> n & 0xffff;
        } else {
            last = (n == 1 ? v : v >> (n - 1) | fill << (bits - n + 1)) & mask;
            r = (v >> n | fill << (bits - n)) & mask;
        }
        return (Shifted){ r, CC_SAR | log2, last };
    }
    }
}

#define COMMIT()                                                                                            \
    if (s.cc_op != UINT32_MAX) {                                                                            \
        SET_CC(s.cc_op, s.r, s.src);                                                                        \
    }                                                                                                       \
    NEXT

/* A register operand of 32 bits is zero-extended even when the count is zero. */
#define SHIFT(name, kind, bits, form, fill, count)                                                          \
    OP(name##_##form##_r##bits)                                                                             \
    {                                                                                                       \
        Shifted s = shift(cpu, kind, bits, RD##bits(d->rm), fill, count);                                   \
        WR##bits(d->rm, s.r);                                                                               \
        COMMIT();                                                                                           \
    }                                                                                                       \
    OP(name##_##form##_m##bits)                                                                             \
    {                                                                                                       \
        uint64_t lin = ea_lin(cpu, d, bits / 8, true);                                                      \
        void *p;                                                                                            \
        Shifted s = shift(cpu, kind, bits, rmw_ld##bits(cpu, d, lin, &p), fill, count);                     \
        rmw_st##bits(cpu, lin, p, (uint##bits##_t)s.r);                                                     \
        COMMIT();                                                                                           \
    }
#define SIZES(name, kind, form, count)                                                                      \
    SHIFT(name, kind, 8, form, 0, count)                                                                    \
    SHIFT(name, kind, 16, form, 0, count)                                                                   \
    SHIFT(name, kind, 32, form, 0, count)                                                                   \
    SHIFT(name, kind, 64, form, 0, count)
#define FORMS(name, kind)                                                                                   \
    SIZES(name, kind, i, (unsigned)d->imm)                                                                  \
    SIZES(name, kind, 1, 1)                                                                                 \
    SIZES(name, kind, c, (unsigned)cpu->gpr[R_RCX])
FORMS(rol, K_ROL)
FORMS(ror, K_ROR)
FORMS(rcl, K_RCL)
FORMS(rcr, K_RCR)
FORMS(shl, K_SHL)
FORMS(shr, K_SHR)
FORMS(sar, K_SAR)

#define DOUBLE(name, kind, form, count)                                                                     \
    SHIFT(name, kind, 16, form, RD16(d->reg), count)                                                        \
    SHIFT(name, kind, 32, form, RD32(d->reg), count)                                                        \
    SHIFT(name, kind, 64, form, RD64(d->reg), count)
DOUBLE(shld, K_SHLD, i, (unsigned)d->imm)
DOUBLE(shld, K_SHLD, c, (unsigned)cpu->gpr[R_RCX])
DOUBLE(shrd, K_SHRD, i, (unsigned)d->imm)
DOUBLE(shrd, K_SHRD, c, (unsigned)cpu->gpr[R_RCX])
