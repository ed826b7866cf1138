/* SPDX-License-Identifier: MIT
 * target/x86/sse4.c - SSE4.1, the packed part of SSE4.2 (string comparisons in sse-str.c), simple SSE4a; AVX
 *   forms of the element-wise part.
 * Models: Intel SDM volume 2, instruction pages; AMD APM volume 4 for EXTRQ, INSERTQ, MOVNTSS, MOVNTSD.
 * Does not model: -
 * Threads: the vCPU's.
 */
#include "avx.h"
#include "sse-fp.h"

#define SSE_EACH(name, f, bytes, T, expr) VEC_EACH(name, f, bytes, T, expr) VEC_SSE(name) AVX_EACH(name)
SSE_EACH(pminsb, sb, 1, int8_t, MIN(x, y))
SSE_EACH(pmaxsb, sb, 1, int8_t, MAX(x, y))
SSE_EACH(pminuw, w, 2, uint16_t, MIN(x, y))
SSE_EACH(pmaxuw, w, 2, uint16_t, MAX(x, y))
SSE_EACH(pminsd, sd, 4, int32_t, MIN(x, y))
SSE_EACH(pmaxsd, sd, 4, int32_t, MAX(x, y))
SSE_EACH(pminud, d, 4, uint32_t, MIN(x, y))
SSE_EACH(pmaxud, d, 4, uint32_t, MAX(x, y))
SSE_EACH(pmulld, d, 4, uint32_t, x * y)
SSE_EACH(pmuldq, sq, 8, int64_t, (int64_t)(int32_t)x * (int32_t)y)
SSE_EACH(pcmpeqq, q, 8, uint64_t, x == y ? UINT64_MAX : 0)
SSE_EACH(pcmpgtq, sq, 8, int64_t, x > y ? -1 : 0)

/* ---- sign and zero extension: the source is the low part, of 8, 4 or 2 bytes ---- */

#define EXTEND(name, to, n, from, bits)                                                                     \
    OP(name)                                                                                                \
    {                                                                                                       \
        X86Vec b = { 0 };                                                                                   \
        if (d->flags & I_MEM) {                                                                             \
            b.q[0] = ld##bits(cpu, d, ea_lin(cpu, d, bits / 8, false));                                     \
        } else {                                                                                            \
            b.q[0] = cpu->xmm[d->rm].q[0];                                                                  \
        }                                                                                                   \
        for (unsigned i = 0; i < (n); i++) {                                                                \
            cpu->xmm[d->reg].to[i] = b.from[i];                                                             \
        }                                                                                                   \
        NEXT;                                                                                               \
    }
EXTEND(pmovsxbw, sw, 8, sb, 64)
EXTEND(pmovsxbd, sd, 4, sb, 32)
EXTEND(pmovsxbq, sq, 2, sb, 16)
EXTEND(pmovsxwd, sd, 4, sw, 64)
EXTEND(pmovsxwq, sq, 2, sw, 32)
EXTEND(pmovsxdq, sq, 2, sd, 64)
EXTEND(pmovzxbw, w, 8, b, 64)
EXTEND(pmovzxbd, d, 4, b, 32)
EXTEND(pmovzxbq, q, 2, b, 16)
EXTEND(pmovzxwd, d, 4, w, 64)
EXTEND(pmovzxwq, q, 2, w, 32)
EXTEND(pmovzxdq, q, 2, d, 64)

/* ---- blends: variable by the top bits of XMM0, or by the immediate ---- */

#define BLEND(name, f, n, select)                                                                           \
    OP(name)                                                                                                \
    {                                                                                                       \
        X86Vec tmp, *a = &cpu->xmm[d->reg];                                                                 \
        X86Vec b = *sse_src16(cpu, d, &tmp), m G_GNUC_UNUSED = cpu->xmm[0];                                 \
        for (unsigned i = 0; i < (n); i++) {                                                                \
            if (select) {                                                                                   \
                a->f[i] = b.f[i];                                                                           \
            }                                                                                               \
        }                                                                                                   \
        NEXT;                                                                                               \
    }
BLEND(pblendvb, b, 16, m.b[i] >> 7)
BLEND(blendvps, d, 4, m.d[i] >> 31)
BLEND(blendvpd, q, 2, m.q[i] >> 63)
BLEND(blendps, d, 4, d->imm >> i & 1)
BLEND(blendpd, q, 2, d->imm >> i & 1)
BLEND(pblendw, w, 8, d->imm >> i & 1)

OP(ptest)
{
    X86Vec tmp;
    const X86Vec *a = &cpu->xmm[d->reg], *b = sse_src16(cpu, d, &tmp);
    bool z = !((a->q[0] & b->q[0]) | (a->q[1] & b->q[1]));
    bool c = !((~a->q[0] & b->q[0]) | (~a->q[1] & b->q[1]));
    x86_set_eflags_arith(cpu, (z ? FL_ZF : 0) | (c ? FL_CF : 0));
    NEXT;
}

OP(phminposuw)
{
    X86Vec tmp, *a = &cpu->xmm[d->reg];
    X86Vec b = *sse_src16(cpu, d, &tmp);
    unsigned at = 0;
    for (unsigned i = 1; i < 8; i++) {
        at = b.w[i] < b.w[at] ? i : at;
    }
    a->q[0] = b.w[at] | (uint64_t)at << 16;
    a->q[1] = 0;
    NEXT;
}

OP(mpsadbw)
{
    X86Vec tmp, *a = &cpu->xmm[d->reg], x = *a;
    X86Vec b = *sse_src16(cpu, d, &tmp);
    unsigned ao = d->imm & 4, bo = (d->imm & 3) * 4;
    for (unsigned i = 0; i < 8; i++) {
        unsigned sum = 0;
        for (unsigned k = 0; k < 4; k++) {
            sum += (unsigned)ABS(x.b[ao + i + k] - b.b[bo + k]);
        }
        a->w[i] = (uint16_t)sum;
    }
    NEXT;
}

/* ---- single elements ---- */

#define EXTRACT(name, f, mask, bits, T)                                                                     \
    OP(name)                                                                                                \
    {                                                                                                       \
        T v = cpu->xmm[d->reg].f[d->imm & (mask)];                                                          \
        if (d->flags & I_MEM) {                                                                             \
            st##bits(cpu, d, ea_lin(cpu, d, bits / 8, true), v);                                            \
        } else {                                                                                            \
            cpu->gpr[d->rm] = v;                                                                            \
        }                                                                                                   \
        NEXT;                                                                                               \
    }
EXTRACT(pextrb, b, 15, 8, uint8_t)
EXTRACT(pextrw_store, w, 7, 16, uint16_t)
EXTRACT(pextrd, d, 3, 32, uint32_t)
EXTRACT(pextrq, q, 1, 64, uint64_t)

#define INSERT(name, f, mask, bits, T)                                                                      \
    OP(name)                                                                                                \
    {                                                                                                       \
        T v = d->flags & I_MEM ? ld##bits(cpu, d, ea_lin(cpu, d, bits / 8, false)) : (T)cpu->gpr[d->rm];    \
        cpu->xmm[d->reg].f[d->imm & (mask)] = v;                                                            \
        NEXT;                                                                                               \
    }
INSERT(pinsrb, b, 15, 8, uint8_t)
INSERT(pinsrd, d, 3, 32, uint32_t)
INSERT(pinsrq, q, 1, 64, uint64_t)

/* The register form picks the source element; the memory form has only one. */
OP(insertps)
{
    unsigned imm = (uint8_t)d->imm;
    uint32_t v = d->flags & I_MEM ? ld32(cpu, d, ea_lin(cpu, d, 4, false)) : cpu->xmm[d->rm].d[imm >> 6];
    X86Vec *a = &cpu->xmm[d->reg];
    a->d[imm >> 4 & 3] = v;
    for (unsigned i = 0; i < 4; i++) {
        if (imm >> i & 1) {
            a->d[i] = 0;
        }
    }
    NEXT;
}

/* ---- rounding, on the bits: exact on every host ---- */

/* Rounds the magnitude `mag` (exponent and fraction of a number below the integers' range, `frac` fraction
 * bits, exponent bias `bias`). Returns the new magnitude; *inexact when it differs. */
static uint64_t round_bits(uint64_t mag, bool neg, unsigned frac, int bias, unsigned mode, bool *inexact)
{
    int e = (int)(mag >> frac) - bias;
    if (mag == 0 || e >= (int)frac) {
        return mag;
    }
    uint64_t one = (uint64_t)bias << frac, down, half_cmp; /* half_cmp: 0 below a half, 1 a half, 2 above */
    uint64_t up;
    bool odd;
    if (e < 0) {
        down = 0;
        up = one;
        odd = false;
        half_cmp = e < -1 ? 0 : mag == (uint64_t)(bias - 1) << frac ? 1 : 2;
    } else {
        uint64_t unit = (uint64_t)1 << ((int)frac - e), rest = mag & (unit - 1);
        if (rest == 0) {
            return mag;
        }
        down = mag - rest;
        up = down + unit;
        odd = e == 0 ? true : down & unit;
        half_cmp = rest < unit / 2 ? 0 : rest == unit / 2 ? 1 : 2;
    }
    *inexact = true;
    switch (mode) {
    case 0: return half_cmp == 2 || (half_cmp == 1 && odd) ? up : down;
    case 1: return neg ? up : down;
    case 2: return neg ? down : up;
    default: return down;
    }
}

/* imm8: bits 0..1 mode, bit 2 use MXCSR.RC, bit 3 do not report inexact. */
uint32_t sse_round_elem(X86Vec *dst, const X86Vec *src, unsigned i, bool dbl, unsigned imm, uint32_t mxcsr)
{
    unsigned frac = dbl ? 52 : 23, mode = imm & 4 ? mxcsr >> 13 & 3 : imm & 3;
    uint64_t v = dbl ? src->q[i] : src->d[i], sign = (uint64_t)1 << (dbl ? 63 : 31);
    uint64_t mag = v & (sign - 1), inf = (uint64_t)(dbl ? 0x7ff : 0xff) << frac;
    uint32_t flags = 0;
    if (mag > inf) {
        flags = mag >> (frac - 1) & 1 ? 0 : SSE_IE;
        mag |= (uint64_t)1 << (frac - 1);
    } else if (mag < inf) {
        bool inexact = false;
        if (mag < (uint64_t)1 << frac && (mxcsr & SSE_DAZ)) {
            mag = 0;
        }
        mag = round_bits(mag, v & sign, frac, dbl ? 1023 : 127, mode, &inexact);
        flags = inexact && !(imm & 8) ? SSE_PE : 0;
    }
    v = mag | (v & sign);
    if (dbl) {
        dst->q[i] = v;
    } else {
        dst->d[i] = (uint32_t)v;
    }
    return flags;
}
static void round_vec(X86Cpu *cpu, const X86Insn *d, const X86Vec *src, unsigned n, bool dbl)
{
    X86Vec r = cpu->xmm[d->reg];
    uint32_t flags = 0;
    for (unsigned i = 0; i < n; i++) {
        flags |= sse_round_elem(&r, src, i, dbl, (uint8_t)d->imm, cpu->mxcsr);
    }
    sse_retire(cpu, d, flags, &r, 4, 0);
    cpu->xmm[d->reg].q[0] = r.q[0];
    cpu->xmm[d->reg].q[1] = r.q[1];
}
OP(roundps) { X86Vec t; round_vec(cpu, d, sse_src16(cpu, d, &t), 4, false); NEXT; }
OP(roundpd) { X86Vec t; round_vec(cpu, d, sse_src16(cpu, d, &t), 2, true); NEXT; }
OP(roundss) { X86Vec t; round_vec(cpu, d, sse_src4(cpu, d, &t), 1, false); NEXT; }
OP(roundsd) { X86Vec t; round_vec(cpu, d, sse_src8(cpu, d, &t), 1, true); NEXT; }

/* ---- dot products ---- */

/* Products not selected are +0.0; the sums are (0 + 1) + (2 + 3). Each step raises what it raises, for all lanes (two
 * with AVX). Which of several NaNs comes out is open (on Intel's processors it is not even the same one in each
 * element): the host answers, as it does in tier 1. r, p, q: lanes; p and q are changed. */
void sse_dpps(X86Cpu *cpu, const X86Insn *d, X86Vec *r, X86Vec *p, X86Vec *q, unsigned lanes)
{
    unsigned imm = (uint8_t)d->imm;
    uint32_t mx = sse_control(cpu), fl[3] = { 0 };
    X86Vec s[2], all[3] = { { .q = { 0 } } };
    for (unsigned l = 0; l < lanes; l++) {
        for (unsigned i = 0; i < 4; i++) {
            if (!(imm >> (4 + i) & 1)) {
                p[l].d[i] = q[l].d[i] = 0;
            }
        }
        r[l] = p[l];
        bool host = hostsse_dpps(&r[l], &q[l], mx);
        fl[0] |= hostsse_mulps(&p[l], &q[l], mx);
        memcpy(&all[0].d[4 * l], &p[l], 16);
        s[l] = (X86Vec){ .d = { p[l].d[0], p[l].d[2] } };
        X86Vec t = { .d = { p[l].d[1], p[l].d[3] } };
        fl[1] |= hostsse_addps(&s[l], &t, mx);
        memcpy(&all[1].d[4 * l], &s[l], 16);
        t = (X86Vec){ .d = { s[l].d[1] } };
        fl[2] |= hostsse_addss(&s[l], &t, mx);
        all[2].d[l] = s[l].d[0];
        if (!host) {
            r[l] = (X86Vec){ .d = { s[l].d[0], s[l].d[0], s[l].d[0], s[l].d[0] } };
        }
    }
    sse_retire(cpu, d, fl[0], &all[0], 4, 4 * lanes);
    sse_retire(cpu, d, fl[1], &all[1], 4, 4 * lanes);
    sse_retire(cpu, d, fl[2], &all[2], 4, lanes);
    for (unsigned l = 0; l < lanes; l++) {
        for (unsigned i = 0; i < 4; i++) {
            r[l].d[i] = imm >> i & 1 ? r[l].d[i] : 0;
        }
    }
}
OP(dpps)
{
    X86Vec tmp, r;
    X86Vec b = *sse_src16(cpu, d, &tmp), p = cpu->xmm[d->reg];
    sse_dpps(cpu, d, &r, &p, &b, 1);
    memcpy(&cpu->xmm[d->reg], &r, 16);
    NEXT;
}
/* *p = the result; *b is changed. */
void sse_dppd(X86Cpu *cpu, const X86Insn *d, X86Vec *p, X86Vec *b)
{
    unsigned imm = (uint8_t)d->imm;
    for (unsigned i = 0; i < 2; i++) {
        if (!(imm >> (4 + i) & 1)) {
            p->q[i] = b->q[i] = 0;
        }
    }
    uint32_t mx = sse_control(cpu), fl = hostsse_mulpd(p, b, mx);
    sse_retire(cpu, d, fl, p, 8, 2);
    X86Vec t = { .q = { p->q[1] } };
    fl = hostsse_addsd(p, &t, mx);
    sse_retire(cpu, d, fl, p, 8, 1);
    p->q[1] = imm & 2 ? p->q[0] : 0;
    p->q[0] = imm & 1 ? p->q[0] : 0;
}
OP(dppd)
{
    X86Vec tmp, b = *sse_src16(cpu, d, &tmp), p = cpu->xmm[d->reg];
    sse_dppd(cpu, d, &p, &b);
    memcpy(&cpu->xmm[d->reg], &p, 16);
    NEXT;
}

/* ---- SSE4a ---- */

static uint64_t field_mask(unsigned len) { return len ? ((uint64_t)1 << len) - 1 : UINT64_MAX; }
static uint64_t extract_field(uint64_t v, unsigned len, unsigned at)
{
    return v >> (at & 63) & field_mask(len & 63);
}
static uint64_t insert_field(uint64_t v, uint64_t src, unsigned len, unsigned at)
{
    uint64_t m = field_mask(len & 63);
    return (v & ~(m << (at & 63))) | (src & m) << (at & 63);
}
/* Length in imm bits 0..5, index in bits 8..13 (two immediate bytes). */
OP(extrq_imm)
{
    X86Vec *a = &cpu->xmm[d->rm];
    a->q[0] = extract_field(a->q[0], d->imm & 63, d->imm >> 8 & 63);
    a->q[1] = 0; /* undefined in the APM; CPUs clear it */
    NEXT;
}
OP(extrq)
{
    X86Vec *a = &cpu->xmm[d->reg];
    uint64_t c = cpu->xmm[d->rm].q[0];
    a->q[0] = extract_field(a->q[0], c & 63, c >> 8 & 63);
    a->q[1] = 0; /* undefined in the APM; CPUs clear it */
    NEXT;
}
OP(insertq_imm)
{
    X86Vec *a = &cpu->xmm[d->reg];
    a->q[0] = insert_field(a->q[0], cpu->xmm[d->rm].q[0], d->imm & 63, d->imm >> 8 & 63);
    a->q[1] = 0; /* undefined in the APM; CPUs clear it */
    NEXT;
}
OP(insertq)
{
    X86Vec *a = &cpu->xmm[d->reg];
    X86Vec b = cpu->xmm[d->rm];
    a->q[0] = insert_field(a->q[0], b.q[0], b.q[1] & 63, b.q[1] >> 8 & 63);
    a->q[1] = 0; /* undefined in the APM; CPUs clear it */
    NEXT;
}
