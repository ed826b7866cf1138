/* SPDX-License-Identifier: MIT
 * target/x86/avx.h - operands of VEX-encoded vector instructions, and the macros that make them of the functions that
 *   the SSE forms are made of.
 * Models: Intel SDM volume 1, 14.2 (upper halves become zero, alignment), volume 2A, 2.4 (exception classes).
 * Does not model: EVEX.
 * Threads: the vCPU's.
 */
#ifndef TARGET_X86_AVX_H
#define TARGET_X86_AVX_H

#include "sse.h"

/* The r/m operand of n bytes; those above n are undefined. */
SSE_INLINE const X86Vec *avx_src(X86Cpu *cpu, const X86Insn *d, X86Vec *tmp, unsigned n)
{
    if (d->flags & I_MEM) {
        ld_n(cpu, d, ea_lin(cpu, d, n, false), tmp, n);
        return tmp;
    }
    return &cpu->xmm[d->rm];
}
SSE_INLINE const X86Vec *avx_src1(const X86Cpu *cpu, const X86Insn *d) { return &cpu->xmm[insn_vvvv(d)]; }
/* A result of n bytes; what is above becomes zero. */
SSE_INLINE void avx_put(X86Vec *dst, const X86Vec *r, unsigned n)
{
    dst->q[0] = r->q[0];
    dst->q[1] = r->q[1];
    dst->q[2] = n == 32 ? r->q[2] : 0;
    dst->q[3] = n == 32 ? r->q[3] : 0;
}
SSE_INLINE X86Vec vec_low(const X86Vec *v) { return (X86Vec){ .q = { v->q[0], v->q[1] } }; }
SSE_INLINE X86Vec vec_high(const X86Vec *v) { return (X86Vec){ .q = { v->q[2], v->q[3] } }; }
SSE_INLINE void vec_set_high(X86Vec *v, const X86Vec *high)
{
    v->q[2] = high->q[0];
    v->q[3] = high->q[1];
}
/* Linear address of an operand that must be aligned to its size (class 1). */
static inline uint64_t avx_ea_aligned(X86Cpu *cpu, const X86Insn *d, unsigned n, bool write)
{
    uint64_t lin = ea_lin(cpu, d, n, write);
    if (G_UNLIKELY(lin & (n - 1))) {
        RAISE_ERR(EXC_GP, 0);
    }
    return lin;
}

/* The body twice, for the two vector lengths as constants. */
#define AVX_BY_L(...)                                                                                       \
    do {                                                                                                    \
        if (insn_vex_l(d)) {                                                                                \
            enum { n = 32 };                                                                                \
            __VA_ARGS__                                                                                     \
        } else {                                                                                            \
            enum { n = 16 };                                                                                \
            __VA_ARGS__                                                                                     \
        }                                                                                                   \
    } while (0)

/* dst = v_name(src1, src2): elements are independent of lanes. */
#define AVX_EACH(name)                                                                                      \
    OP(v##name)                                                                                             \
    {                                                                                                       \
        X86Vec tmp;                                                                                         \
        AVX_BY_L({                                                                                          \
            const X86Vec *b = avx_src(cpu, d, &tmp, n);                                                     \
            X86Vec r = *avx_src1(cpu, d);                                                                   \
            v_##name(&r, b, n);                                                                             \
            avx_put(&cpu->xmm[d->reg], &r, n);                                                              \
        });                                                                                                 \
        NEXT;                                                                                               \
    }
/* The same for operations that work within each 128-bit lane: fn(&lane of src1, &lane of src2). */
#define AVX_LANES_FN(name, fn)                                                                              \
    OP(name)                                                                                                \
    {                                                                                                       \
        X86Vec tmp;                                                                                         \
        AVX_BY_L({                                                                                          \
            const X86Vec *b = avx_src(cpu, d, &tmp, n);                                                     \
            const X86Vec *a = avx_src1(cpu, d);                                                             \
            X86Vec r = vec_low(a), bl = vec_low(b);                                                         \
            fn(&r, &bl);                                                                                    \
            if (n == 32) {                                                                                  \
                X86Vec h = vec_high(a), bh = vec_high(b);                                                   \
                fn(&h, &bh);                                                                                \
                vec_set_high(&r, &h);                                                                       \
            }                                                                                               \
            avx_put(&cpu->xmm[d->reg], &r, n);                                                              \
        });                                                                                                 \
        NEXT;                                                                                               \
    }
#define AVX_LANES(name)                                                                                     \
    SSE_INLINE void lane_##name(X86Vec *a, const X86Vec *b) { v_##name(a, b, 16); }                         \
    AVX_LANES_FN(v##name, lane_##name)

#endif
