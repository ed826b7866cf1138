/* SPDX-License-Identifier: MIT
 * target/x86/sse-fp.c - SSE, SSE2 and SSE3 floating point: arithmetic, comparisons, conversions; #XM.
 * Models: Intel SDM volume 1, 10.2.3, 11.5 (exceptions: every element's, before anything is written).
 * Does not model: the operations themselves (hostfp.h).
 * Threads: the vCPU's.
 */
#include "sse-fp.h"

void sse_unmasked(X86Cpu *cpu, const X86Insn *d, uint32_t flags)
{
    uint32_t unmasked = flags & ~(cpu->mxcsr >> 7) & SSE_EXC;
    /* Errors of the operands are found before anything is computed. */
    if (unmasked & (SSE_IE | SSE_DE | SSE_ZE)) {
        flags &= SSE_IE | SSE_DE | SSE_ZE;
    }
    cpu->mxcsr |= flags & SSE_EXC;
    RAISE(cpu->cr4 & CR4_OSXMMEXCPT ? EXC_XM : EXC_UD);
}

bool sse_any_tiny(const X86Vec *v, unsigned elem, unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        uint64_t mag = elem == 2   ? (uint64_t)(v->w[i] & 0x7fff)
                       : elem == 4 ? (uint64_t)(v->d[i] & 0x7fffffff)
                                   : v->q[i] & 0x7fffffffffffffffu;
        if (mag && mag < (elem == 2 ? 0x400u : elem == 4 ? 0x800000u : 0x10000000000000u)) {
            return true;
        }
    }
    return false;
}

/* ---- dst = op(dst, src) ---- */

#define FP_BINARY(name, src_fn, elem, n)                                                                    \
    OP(name)                                                                                                \
    {                                                                                                       \
        X86Vec tmp, r;                                                                                      \
        const X86Vec *b = src_fn(cpu, d, &tmp);                                                             \
        r.q[0] = cpu->xmm[d->reg].q[0];                                                                     \
        r.q[1] = cpu->xmm[d->reg].q[1];                                                                     \
        uint32_t fl = hostsse_##name(&r, b, sse_control(cpu));                                              \
        sse_retire(cpu, d, fl, &r, elem, n);                                                                \
        cpu->xmm[d->reg].q[0] = r.q[0];                                                                     \
        cpu->xmm[d->reg].q[1] = r.q[1];                                                                     \
        NEXT;                                                                                               \
    }
/* elem and n say what results can underflow; 0: none. */
#define FP_ALL_FORMS(op)                                                                                    \
    FP_BINARY(op##ps, sse_src16, 4, 4)                                                                      \
    FP_BINARY(op##pd, sse_src16, 8, 2)                                                                      \
    FP_BINARY(op##ss, sse_src4, 4, 1)                                                                       \
    FP_BINARY(op##sd, sse_src8, 8, 1)
#define FP_ALL_FORMS_NO_TINY(op)                                                                            \
    FP_BINARY(op##ps, sse_src16, 4, 0)                                                                      \
    FP_BINARY(op##pd, sse_src16, 8, 0)                                                                      \
    FP_BINARY(op##ss, sse_src4, 4, 0)                                                                       \
    FP_BINARY(op##sd, sse_src8, 8, 0)
FP_ALL_FORMS(add)
FP_ALL_FORMS(sub)
FP_ALL_FORMS(mul)
FP_ALL_FORMS(div)
FP_ALL_FORMS_NO_TINY(min)
FP_ALL_FORMS_NO_TINY(max)
FP_ALL_FORMS_NO_TINY(sqrt)
FP_BINARY(addsubps, sse_src16, 4, 4)
FP_BINARY(addsubpd, sse_src16, 8, 2)
FP_BINARY(haddps, sse_src16, 4, 4)
FP_BINARY(haddpd, sse_src16, 8, 2)
FP_BINARY(hsubps, sse_src16, 4, 4)
FP_BINARY(hsubpd, sse_src16, 8, 2)
FP_BINARY(cvtps2pd, sse_src8, 8, 0)
FP_BINARY(cvtpd2ps, sse_src16, 4, 2)
FP_BINARY(cvtss2sd, sse_src4, 8, 0)
FP_BINARY(cvtsd2ss, sse_src8, 4, 1)
FP_BINARY(cvtdq2ps, sse_src16, 4, 0)
FP_BINARY(cvtdq2pd, sse_src8, 8, 0)
FP_BINARY(cvtps2dq, sse_src16, 4, 0)
FP_BINARY(cvttps2dq, sse_src16, 4, 0)
FP_BINARY(cvtpd2dq, sse_src16, 4, 0)
FP_BINARY(cvttpd2dq, sse_src16, 4, 0)

/* ---- comparisons ---- */

#define FP_CMP(name, src_fn)                                                                                \
    OP(name)                                                                                                \
    {                                                                                                       \
        X86Vec tmp, r;                                                                                      \
        const X86Vec *b = src_fn(cpu, d, &tmp);                                                             \
        r.q[0] = cpu->xmm[d->reg].q[0];                                                                     \
        r.q[1] = cpu->xmm[d->reg].q[1];                                                                     \
        uint32_t fl = hostsse_##name(&r, b, sse_control(cpu), (unsigned)d->imm & 7);                        \
        sse_retire(cpu, d, fl, &r, 4, 0);                                                                   \
        cpu->xmm[d->reg].q[0] = r.q[0];                                                                     \
        cpu->xmm[d->reg].q[1] = r.q[1];                                                                     \
        NEXT;                                                                                               \
    }
FP_CMP(cmpps, sse_src16)
FP_CMP(cmppd, sse_src16)
FP_CMP(cmpss, sse_src4)

/* CMPSD the string instruction has the plain name. */
OP(cmpsd_xmm)
{
    X86Vec tmp, r;
    const X86Vec *b = sse_src8(cpu, d, &tmp);
    r.q[0] = cpu->xmm[d->reg].q[0];
    r.q[1] = cpu->xmm[d->reg].q[1];
    uint32_t fl = hostsse_cmpsd(&r, b, sse_control(cpu), (unsigned)d->imm & 7);
    sse_retire(cpu, d, fl, &r, 4, 0);
    cpu->xmm[d->reg].q[0] = r.q[0];
    NEXT;
}

#define FP_COMIS(name, src_fn)                                                                              \
    OP(name)                                                                                                \
    {                                                                                                       \
        X86Vec tmp, r;                                                                                      \
        const X86Vec *b = src_fn(cpu, d, &tmp);                                                             \
        r.q[0] = cpu->xmm[d->reg].q[0];                                                                     \
        r.q[1] = 0;                                                                                         \
        uint32_t fl = hostsse_##name(&r, b, sse_control(cpu));                                              \
        sse_retire(cpu, d, fl, &r, 4, 0);                                                                   \
        x86_set_eflags_arith(cpu, r.d[0]);                                                                  \
        NEXT;                                                                                               \
    }
FP_COMIS(comiss, sse_src4)
FP_COMIS(comisd, sse_src8)
FP_COMIS(ucomiss, sse_src4)
FP_COMIS(ucomisd, sse_src8)

/* ---- conversions with general registers ---- */

int64_t sse_gpr_src(X86Cpu *cpu, const X86Insn *d)
{
    if (insn_wide(d)) {
        return (int64_t)(d->flags & I_MEM ? ld64(cpu, d, ea_lin(cpu, d, 8, false)) : cpu->gpr[d->rm]);
    }
    return (int32_t)(d->flags & I_MEM ? ld32(cpu, d, ea_lin(cpu, d, 4, false)) : (uint32_t)cpu->gpr[d->rm]);
}
#define FP_FROM_GPR(name)                                                                                   \
    OP(name)                                                                                                \
    {                                                                                                       \
        int64_t v = sse_gpr_src(cpu, d);                                                                        \
        X86Vec r = cpu->xmm[d->reg];                                                                        \
        uint32_t fl = hostsse_##name(&r, v, insn_wide(d), sse_control(cpu));                                \
        sse_retire(cpu, d, fl, &r, 4, 0);                                                                   \
        cpu->xmm[d->reg].q[0] = r.q[0];                                                                     \
        NEXT;                                                                                               \
    }
FP_FROM_GPR(cvtsi2ss)
FP_FROM_GPR(cvtsi2sd)

#define FP_TO_GPR(name, fn, src_fn, trunc)                                                                  \
    OP(name)                                                                                                \
    {                                                                                                       \
        X86Vec tmp;                                                                                         \
        int64_t v;                                                                                          \
        const X86Vec *b = src_fn(cpu, d, &tmp);                                                             \
        uint32_t fl = hostsse_##fn(&v, b, insn_wide(d), trunc, sse_control(cpu));                           \
        sse_retire(cpu, d, fl, b, 4, 0);                                                                    \
        sse_set_gpr(cpu, d, d->reg, (uint64_t)v);                                                           \
        NEXT;                                                                                               \
    }
FP_TO_GPR(cvtss2si, cvtss2si, sse_src4, false)
FP_TO_GPR(cvttss2si, cvtss2si, sse_src4, true)
FP_TO_GPR(cvtsd2si, cvtsd2si, sse_src8, false)
FP_TO_GPR(cvttsd2si, cvtsd2si, sse_src8, true)

/* ---- conversions with MMX registers ---- */

/* From memory they neither touch the x87 state nor wait for its errors: SDM volume 2A for CVTPI2PD, AMD's
 * processors for CVTPI2PS too. */
#define FP_FROM_MMX(name, fn, whole)                                                                        \
    OP(name)                                                                                                \
    {                                                                                                       \
        bool reg = !(d->flags & I_MEM);                                                                     \
        if (reg) {                                                                                          \
            MMX_ENTER;                                                                                      \
        }                                                                                                   \
        X86Vec b = { .q = { mmx_src(cpu, d) } }, r = b;                                                     \
        uint32_t fl = hostsse_##fn(&r, &b, sse_control(cpu));                                               \
        sse_retire(cpu, d, fl, &r, 4, 0);                                                                   \
        if (reg) {                                                                                          \
            mmx_begin(cpu);                                                                                 \
        }                                                                                                   \
        cpu->xmm[d->reg].q[0] = r.q[0];                                                                     \
        if (whole) {                                                                                        \
            cpu->xmm[d->reg].q[1] = r.q[1];                                                                 \
        }                                                                                                   \
        NEXT;                                                                                               \
    }
FP_FROM_MMX(cvtpi2ps, cvtdq2ps, false)
FP_FROM_MMX(cvtpi2pd, cvtdq2pd, true)
/* The upper lanes of a single-precision source are no operands: zero them. */
#define FP_TO_MMX(name, fn, src_fn, single)                                                                 \
    OP(name)                                                                                                \
    {                                                                                                       \
        MMX_ENTER;                                                                                          \
        X86Vec tmp, b = *src_fn(cpu, d, &tmp), r = b;                                                       \
        if (single) {                                                                                       \
            b.q[1] = 0;                                                                                     \
        }                                                                                                   \
        uint32_t fl = hostsse_##fn(&r, &b, sse_control(cpu));                                               \
        sse_retire(cpu, d, fl, &r, 4, 0);                                                                   \
        mmx_begin(cpu);                                                                                     \
        mmx_write(cpu, d->reg, r.q[0]);                                                                     \
        NEXT;                                                                                               \
    }
FP_TO_MMX(cvtps2pi, cvtps2dq, sse_src8, true)
FP_TO_MMX(cvttps2pi, cvttps2dq, sse_src8, true)
FP_TO_MMX(cvtpd2pi, cvtpd2dq, sse_src16, false)
FP_TO_MMX(cvttpd2pi, cvttpd2dq, sse_src16, false)

/* ---- approximations ---- */

OP(rcpps)
{
    X86Vec tmp;
    hostsse_rcpps(&cpu->xmm[d->reg], sse_src16(cpu, d, &tmp));
    NEXT;
}
OP(rsqrtps)
{
    X86Vec tmp;
    hostsse_rsqrtps(&cpu->xmm[d->reg], sse_src16(cpu, d, &tmp));
    NEXT;
}
OP(rcpss)
{
    X86Vec tmp, r;
    hostsse_rcpps(&r, sse_src4(cpu, d, &tmp));
    cpu->xmm[d->reg].d[0] = r.d[0];
    NEXT;
}
OP(rsqrtss)
{
    X86Vec tmp, r;
    hostsse_rsqrtps(&r, sse_src4(cpu, d, &tmp));
    cpu->xmm[d->reg].d[0] = r.d[0];
    NEXT;
}
