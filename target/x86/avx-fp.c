/* SPDX-License-Identifier: MIT
 * target/x86/avx-fp.c - AVX floating point: arithmetic, comparisons, conversions, rounding, dot products. A 256-bit
 *   operation is two 128-bit ones of hostfp.h, whose exceptions are collected before anything is written.
 * Models: Intel SDM volume 1, 14.5 and 14.8 (exceptions), volume 2, instruction pages.
 * Does not model: FMA and half precision (avx-fma.c).
 * Threads: the vCPU's.
 */
#include "avx.h"
#include "sse-fp.h"

/* ---- dst = op(src1, src2); elem and count say which results of 128 bits can be tiny (sse_retire) ---- */

#define FP_PACKED(name, elem, count)                                                                        \
    OP(v##name)                                                                                             \
    {                                                                                                       \
        X86Vec tmp;                                                                                         \
        uint32_t mx = sse_control(cpu);                                                                     \
        AVX_BY_L({                                                                                          \
            const X86Vec *b = avx_src(cpu, d, &tmp, n);                                                     \
            const X86Vec *a = avx_src1(cpu, d);                                                             \
            X86Vec r = vec_low(a), bl = vec_low(b);                                                         \
            uint32_t fl = hostsse_##name(&r, &bl, mx);                                                      \
            if (n == 32) {                                                                                  \
                X86Vec h = vec_high(a), bh = vec_high(b);                                                   \
                fl |= hostsse_##name(&h, &bh, mx);                                                          \
                vec_set_high(&r, &h);                                                                       \
            }                                                                                               \
            sse_retire(cpu, d, fl, &r, elem, (count) * (n / 16));                                           \
            avx_put(&cpu->xmm[d->reg], &r, n);                                                              \
        });                                                                                                 \
        NEXT;                                                                                               \
    }
#define FP_SCALAR(name, src_fn, elem, count)                                                                \
    OP(v##name)                                                                                             \
    {                                                                                                       \
        X86Vec tmp;                                                                                         \
        const X86Vec *b = src_fn(cpu, d, &tmp);                                                             \
        X86Vec r = vec_low(avx_src1(cpu, d));                                                               \
        uint32_t fl = hostsse_##name(&r, b, sse_control(cpu));                                              \
        sse_retire(cpu, d, fl, &r, elem, count);                                                            \
        avx_put(&cpu->xmm[d->reg], &r, 16);                                                                 \
        NEXT;                                                                                               \
    }
#define FP_ALL_FORMS(op)                                                                                    \
    FP_PACKED(op##ps, 4, 4)                                                                                 \
    FP_PACKED(op##pd, 8, 2)                                                                                 \
    FP_SCALAR(op##ss, sse_src4, 4, 1)                                                                       \
    FP_SCALAR(op##sd, sse_src8, 8, 1)
#define FP_ALL_FORMS_NO_TINY(op)                                                                            \
    FP_PACKED(op##ps, 4, 0)                                                                                 \
    FP_PACKED(op##pd, 8, 0)                                                                                 \
    FP_SCALAR(op##ss, sse_src4, 4, 0)                                                                       \
    FP_SCALAR(op##sd, sse_src8, 8, 0)
FP_ALL_FORMS(add)
FP_ALL_FORMS(sub)
FP_ALL_FORMS(mul)
FP_ALL_FORMS(div)
FP_ALL_FORMS_NO_TINY(min)
FP_ALL_FORMS_NO_TINY(max)
FP_ALL_FORMS_NO_TINY(sqrt)
FP_PACKED(addsubps, 4, 4)
FP_PACKED(addsubpd, 8, 2)
FP_PACKED(haddps, 4, 4)
FP_PACKED(haddpd, 8, 2)
FP_PACKED(hsubps, 4, 4)
FP_PACKED(hsubpd, 8, 2)
FP_PACKED(cvtdq2ps, 4, 0)
FP_PACKED(cvtps2dq, 4, 0)
FP_PACKED(cvttps2dq, 4, 0)
FP_SCALAR(cvtss2sd, sse_src4, 8, 0)
FP_SCALAR(cvtsd2ss, sse_src8, 4, 1)

/* ---- conversions between sizes ---- */

/* The source has half the length of the result. */
#define FP_WIDEN(name)                                                                                      \
    OP(v##name)                                                                                             \
    {                                                                                                       \
        X86Vec tmp;                                                                                         \
        uint32_t mx = sse_control(cpu);                                                                     \
        AVX_BY_L({                                                                                          \
            const X86Vec *b = avx_src(cpu, d, &tmp, n / 2);                                                 \
            X86Vec bl = { .q = { b->q[0] } }, r = bl;                                                       \
            X86Vec bh = { .q = { n == 32 ? b->q[1] : 0 } }, h = bh;                                         \
            uint32_t fl = hostsse_##name(&r, &bl, mx);                                                      \
            if (n == 32) {                                                                                  \
                fl |= hostsse_##name(&h, &bh, mx);                                                          \
                vec_set_high(&r, &h);                                                                       \
            }                                                                                               \
            sse_retire(cpu, d, fl, &r, 4, 0);                                                               \
            avx_put(&cpu->xmm[d->reg], &r, n);                                                              \
        });                                                                                                 \
        NEXT;                                                                                               \
    }
FP_WIDEN(cvtps2pd)
FP_WIDEN(cvtdq2pd)

/* The result has half the length of the source, at most 128 bits. */
#define FP_NARROW(name, tiny)                                                                               \
    OP(v##name)                                                                                             \
    {                                                                                                       \
        X86Vec tmp;                                                                                         \
        uint32_t mx = sse_control(cpu);                                                                     \
        AVX_BY_L({                                                                                          \
            const X86Vec *b = avx_src(cpu, d, &tmp, n);                                                     \
            X86Vec bl = vec_low(b), r = bl;                                                                 \
            uint32_t fl = hostsse_##name(&r, &bl, mx);                                                      \
            if (n == 32) {                                                                                  \
                X86Vec bh = vec_high(b), h = bh;                                                            \
                fl |= hostsse_##name(&h, &bh, mx);                                                          \
                r.q[1] = h.q[0];                                                                            \
            }                                                                                               \
            sse_retire(cpu, d, fl, &r, 4, (tiny) ? n / 8 : 0);                                              \
            avx_put(&cpu->xmm[d->reg], &r, 16);                                                             \
        });                                                                                                 \
        NEXT;                                                                                               \
    }
FP_NARROW(cvtpd2ps, true)
FP_NARROW(cvtpd2dq, false)
FP_NARROW(cvttpd2dq, false)

#define FP_FROM_GPR(name)                                                                                   \
    OP(v##name)                                                                                             \
    {                                                                                                       \
        int64_t v = sse_gpr_src(cpu, d);                                                                    \
        X86Vec r = vec_low(avx_src1(cpu, d));                                                               \
        uint32_t fl = hostsse_##name(&r, v, insn_wide(d), sse_control(cpu));                                \
        sse_retire(cpu, d, fl, &r, 4, 0);                                                                   \
        avx_put(&cpu->xmm[d->reg], &r, 16);                                                                 \
        NEXT;                                                                                               \
    }
FP_FROM_GPR(cvtsi2ss)
FP_FROM_GPR(cvtsi2sd)

/* ---- approximations ---- */

#define APPROX(name, fn)                                                                                    \
    OP(v##name##ps)                                                                                         \
    {                                                                                                       \
        X86Vec tmp;                                                                                         \
        AVX_BY_L({                                                                                          \
            const X86Vec *b = avx_src(cpu, d, &tmp, n);                                                     \
            X86Vec bl = vec_low(b), r;                                                                      \
            fn(&r, &bl);                                                                                    \
            if (n == 32) {                                                                                  \
                X86Vec bh = vec_high(b), h;                                                                 \
                fn(&h, &bh);                                                                                \
                vec_set_high(&r, &h);                                                                       \
            }                                                                                               \
            avx_put(&cpu->xmm[d->reg], &r, n);                                                              \
        });                                                                                                 \
        NEXT;                                                                                               \
    }                                                                                                       \
    OP(v##name##ss)                                                                                         \
    {                                                                                                       \
        X86Vec tmp, q;                                                                                      \
        fn(&q, sse_src4(cpu, d, &tmp));                                                                     \
        X86Vec r = vec_low(avx_src1(cpu, d));                                                               \
        r.d[0] = q.d[0];                                                                                    \
        avx_put(&cpu->xmm[d->reg], &r, 16);                                                                 \
        NEXT;                                                                                               \
    }
APPROX(rcp, hostsse_rcpps)
APPROX(rsqrt, hostsse_rsqrtps)

/* ---- comparisons with 32 predicates, on the bits (SDM volume 2A, CMPPD, table 3-1) ---- */

enum { REL_LT = 1, REL_EQ = 2, REL_GT = 4, REL_UN = 8 };
/* Relations for which predicate 0..15 is true; 16..31 are the same with signalling turned round. */
static const uint8_t cmp_true[16] = {
    REL_EQ, REL_LT, REL_LT | REL_EQ, REL_UN, REL_LT | REL_GT | REL_UN, REL_EQ | REL_GT | REL_UN, REL_GT | REL_UN,
    REL_LT | REL_EQ | REL_GT, REL_EQ | REL_UN, REL_LT | REL_UN, REL_LT | REL_EQ | REL_UN, 0, REL_LT | REL_GT,
    REL_EQ | REL_GT, REL_GT, REL_LT | REL_EQ | REL_GT | REL_UN,
};
static bool cmp_signals(unsigned pred) { return (0x6666u >> (pred & 15) & 1) != (pred >> 4 & 1); }

/* Order of two numbers' bits in sign and magnitude: as integers with one zero. */
static int64_t cmp_key(uint64_t v, uint64_t sign) { return v & sign ? -(int64_t)(v & (sign - 1)) : (int64_t)v; }

static bool cmp_elem(uint64_t a, uint64_t b, bool dbl, unsigned pred, uint32_t mxcsr, uint32_t *flags)
{
    unsigned frac = dbl ? 52 : 23;
    uint64_t sign = (uint64_t)1 << (dbl ? 63 : 31), inf = (uint64_t)(dbl ? 0x7ff : 0xff) << frac;
    uint64_t ma = a & (sign - 1), mb = b & (sign - 1), quiet = (uint64_t)1 << (frac - 1), least = (uint64_t)1 << frac;
    if (ma > inf || mb > inf) {
        bool snan = (ma > inf && !(ma & quiet)) || (mb > inf && !(mb & quiet));
        *flags |= snan || cmp_signals(pred) ? SSE_IE : 0;
        return cmp_true[pred & 15] & REL_UN;
    }
    if ((ma && ma < least) || (mb && mb < least)) {
        if (mxcsr & SSE_DAZ) {
            a = ma < least ? 0 : a;
            b = mb < least ? 0 : b;
        } else {
            *flags |= SSE_DE;
        }
    }
    int64_t ka = cmp_key(a, sign), kb = cmp_key(b, sign);
    return cmp_true[pred & 15] & (ka < kb ? REL_LT : ka == kb ? REL_EQ : REL_GT);
}

static void cmp_packed(X86Cpu *cpu, const X86Insn *d, bool dbl)
{
    X86Vec tmp;
    unsigned n = insn_vlen(d), pred = d->imm & 31;
    const X86Vec *b = avx_src(cpu, d, &tmp, n), *a = avx_src1(cpu, d);
    X86Vec r = { 0 };
    uint32_t fl = 0;
    for (unsigned i = 0; i < n / (dbl ? 8 : 4); i++) {
        if (dbl) {
            r.q[i] = cmp_elem(a->q[i], b->q[i], true, pred, cpu->mxcsr, &fl) ? UINT64_MAX : 0;
        } else {
            r.d[i] = cmp_elem(a->d[i], b->d[i], false, pred, cpu->mxcsr, &fl) ? UINT32_MAX : 0;
        }
    }
    sse_retire(cpu, d, fl, &r, 4, 0);
    avx_put(&cpu->xmm[d->reg], &r, n);
}
OP(vcmpps) { cmp_packed(cpu, d, false); NEXT; }
OP(vcmppd) { cmp_packed(cpu, d, true); NEXT; }

static void cmp_scalar(X86Cpu *cpu, const X86Insn *d, bool dbl)
{
    X86Vec tmp;
    const X86Vec *b = dbl ? sse_src8(cpu, d, &tmp) : sse_src4(cpu, d, &tmp);
    X86Vec r = vec_low(avx_src1(cpu, d));
    uint32_t fl = 0;
    bool yes = cmp_elem(dbl ? r.q[0] : r.d[0], dbl ? b->q[0] : b->d[0], dbl, d->imm & 31, cpu->mxcsr, &fl);
    if (dbl) {
        r.q[0] = yes ? UINT64_MAX : 0;
    } else {
        r.d[0] = yes ? UINT32_MAX : 0;
    }
    sse_retire(cpu, d, fl, &r, 4, 0);
    avx_put(&cpu->xmm[d->reg], &r, 16);
}
OP(vcmpss) { cmp_scalar(cpu, d, false); NEXT; }
OP(vcmpsd) { cmp_scalar(cpu, d, true); NEXT; }

/* ---- rounding ---- */

static void round_elems(X86Cpu *cpu, const X86Insn *d, const X86Vec *src, X86Vec *r, unsigned count, bool dbl, unsigned n)
{
    uint32_t fl = 0;
    for (unsigned i = 0; i < count; i++) {
        fl |= sse_round_elem(r, src, i, dbl, (uint8_t)d->imm, cpu->mxcsr);
    }
    sse_retire(cpu, d, fl, r, 4, 0);
    avx_put(&cpu->xmm[d->reg], r, n);
}
OP(vroundps)
{
    X86Vec tmp, r;
    unsigned n = insn_vlen(d);
    round_elems(cpu, d, avx_src(cpu, d, &tmp, n), &r, n / 4, false, n);
    NEXT;
}
OP(vroundpd)
{
    X86Vec tmp, r;
    unsigned n = insn_vlen(d);
    round_elems(cpu, d, avx_src(cpu, d, &tmp, n), &r, n / 8, true, n);
    NEXT;
}
OP(vroundss)
{
    X86Vec tmp, r = vec_low(avx_src1(cpu, d));
    round_elems(cpu, d, sse_src4(cpu, d, &tmp), &r, 1, false, 16);
    NEXT;
}
OP(vroundsd)
{
    X86Vec tmp, r = vec_low(avx_src1(cpu, d));
    round_elems(cpu, d, sse_src8(cpu, d, &tmp), &r, 1, true, 16);
    NEXT;
}

/* ---- dot products: lane by lane as sse_dpps() does, each step for all lanes before the next ---- */

OP(vdpps)
{
    X86Vec tmp, r[2];
    unsigned n = insn_vlen(d), lanes = n / 16;
    const X86Vec *b = avx_src(cpu, d, &tmp, n), *a = avx_src1(cpu, d);
    X86Vec p[2] = { vec_low(a) }, q[2] = { vec_low(b) };
    if (lanes == 2) {
        p[1] = vec_high(a);
        q[1] = vec_high(b);
    }
    sse_dpps(cpu, d, r, p, q, lanes);
    if (lanes == 2) {
        vec_set_high(&r[0], &r[1]);
    }
    avx_put(&cpu->xmm[d->reg], &r[0], n);
    NEXT;
}
OP(vdppd)
{
    X86Vec tmp, r = vec_low(avx_src1(cpu, d));
    X86Vec b = vec_low(avx_src(cpu, d, &tmp, 16));
    sse_dppd(cpu, d, &r, &b);
    avx_put(&cpu->xmm[d->reg], &r, 16);
    NEXT;
}
