/* SPDX-License-Identifier: MIT
 * target/x86/sse.h - operands of MMX and SSE instructions, shared by the files that implement them.
 * Models: Intel SDM volume 1, 10.4 (alignment), volume 2A, 2.4 (exception classes of legacy SSE).
 * Does not model: VEX forms.
 * Threads: the vCPU's.
 */
#ifndef TARGET_X86_SSE_H
#define TARGET_X86_SSE_H

#include "x87.h"

#define SSE_INLINE static inline __attribute__((always_inline))

/* Linear address of a 16-byte operand that must be aligned. */
static inline uint64_t sse_ea_aligned(X86Cpu *cpu, const X86Insn *d, bool write)
{
    uint64_t lin = ea_lin(cpu, d, 16, write);
    if (G_UNLIKELY(lin & 15)) {
        RAISE_ERR(EXC_GP, 0);
    }
    return lin;
}
/* The source operand: a register, or memory brought to *tmp. */
static inline const X86Vec *sse_src16(X86Cpu *cpu, const X86Insn *d, X86Vec *tmp)
{
    if (d->flags & I_MEM) {
        ld_n(cpu, d, sse_ea_aligned(cpu, d, false), tmp, 16);
        return tmp;
    }
    return &cpu->xmm[d->rm];
}
static inline const X86Vec *sse_src16u(X86Cpu *cpu, const X86Insn *d, X86Vec *tmp)
{
    if (d->flags & I_MEM) {
        ld_n(cpu, d, ea_lin(cpu, d, 16, false), tmp, 16);
        return tmp;
    }
    return &cpu->xmm[d->rm];
}
static inline const X86Vec *sse_src8(X86Cpu *cpu, const X86Insn *d, X86Vec *tmp)
{
    if (d->flags & I_MEM) {
        tmp->q[0] = ld64(cpu, d, ea_lin(cpu, d, 8, false));
        tmp->q[1] = 0;
        return tmp;
    }
    return &cpu->xmm[d->rm];
}
static inline const X86Vec *sse_src4(X86Cpu *cpu, const X86Insn *d, X86Vec *tmp)
{
    if (d->flags & I_MEM) {
        tmp->q[0] = ld32(cpu, d, ea_lin(cpu, d, 4, false));
        tmp->q[1] = 0;
        return tmp;
    }
    return &cpu->xmm[d->rm];
}
static inline uint64_t mmx_src(X86Cpu *cpu, const X86Insn *d)
{
    return d->flags & I_MEM ? ld64(cpu, d, ea_lin(cpu, d, 8, false)) : mmx_read(cpu, d->rm);
}
/* Linear address of MASKMOVQ's and MASKMOVDQU's implied destination, DS:rDI. */
static inline uint64_t sse_rdi_lin(X86Cpu *cpu, const X86Insn *d, unsigned n)
{
    unsigned asize = d->flags & I_ASIZE;
    uint64_t off = cpu->gpr[R_RDI];
    off = asize == 1 ? (uint16_t)off : asize == 2 ? (uint32_t)off : off;
    SYNC(d);
    if (d->flags & I_SEGCHECK) {
        return seg_linear(cpu, d->seg, off, n, true);
    }
    off += cpu->seg_base[d->seg];
    return cpu->mode & MODE_CODE64 ? off : (uint32_t)off;
}
/* General-register operands of 32 or 64 bits by I_OSIZE. */
static inline bool insn_wide(const X86Insn *d) { return (d->flags & I_OSIZE) == 3 << I_OSIZE_SHIFT; }
static inline void sse_set_gpr(X86Cpu *cpu, const X86Insn *d, unsigned reg, uint64_t v)
{
    cpu->gpr[reg] = insn_wide(d) ? v : (uint32_t)v;
}

/* An operation on n-byte vectors (8: MMX, 16: SSE), as a function of both operands, becomes both handlers. */
#define VEC_MMX(name)                                                                                       \
    OP(mmx_##name)                                                                                          \
    {                                                                                                       \
        MMX_ENTER;                                                                                          \
        X86Vec a, b;                                                                                        \
        b.q[0] = mmx_src(cpu, d);                                                                           \
        a.q[0] = mmx_read(cpu, d->reg);                                                                     \
        mmx_begin(cpu);                                                                                     \
        v_##name(&a, &b, 8);                                                                                \
        mmx_write(cpu, d->reg, a.q[0]);                                                                     \
        NEXT;                                                                                               \
    }
#define VEC_SSE(name)                                                                                       \
    OP(sse_##name)                                                                                          \
    {                                                                                                       \
        X86Vec tmp;                                                                                         \
        const X86Vec *b = sse_src16(cpu, d, &tmp);                                                          \
        v_##name(&cpu->xmm[d->reg], b, 16);                                                                 \
        NEXT;                                                                                               \
    }
#define VEC_BOTH(name) VEC_MMX(name) VEC_SSE(name)
#define VEC_FN(name) SSE_INLINE void v_##name(X86Vec *a, const X86Vec *b, unsigned n)
/* Element by element: x and y are the elements (in type T of field f), the expression the result. */
#define VEC_EACH(name, f, bytes, T, expr)                                                                   \
    VEC_FN(name)                                                                                            \
    {                                                                                                       \
        for (unsigned i = 0; i < n / (bytes); i++) {                                                        \
            T x G_GNUC_UNUSED = a->f[i], y G_GNUC_UNUSED = b->f[i];                                         \
            a->f[i] = (expr);                                                                               \
        }                                                                                                   \
    }

/* The top bits of eight bytes, side by side: the product brings bit 8i + 7 to bit 56 + i and nothing else there. */
static inline uint32_t byte_signs(uint64_t q)
{
    return (uint32_t)((q >> 7 & 0x0101010101010101u) * 0x0102040810204080u >> 56);
}

static inline int8_t sat_s8(int v) { return (int8_t)(v < -128 ? -128 : v > 127 ? 127 : v); }
static inline uint8_t sat_u8(int v) { return (uint8_t)(v < 0 ? 0 : v > 255 ? 255 : v); }
static inline int16_t sat_s16(int v) { return (int16_t)(v < -32768 ? -32768 : v > 32767 ? 32767 : v); }
static inline uint16_t sat_u16(int v) { return (uint16_t)(v < 0 ? 0 : v > 65535 ? 65535 : v); }

#endif
