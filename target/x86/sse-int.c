/* SPDX-License-Identifier: MIT
 * target/x86/sse-int.c - packed integer arithmetic of MMX, SSE2, SSSE3 and of their AVX and AVX2 forms, one body for
 *   all widths.
 * Models: Intel SDM volume 2, instruction pages.
 * Does not model: SSE4 (sse4.c).
 * Threads: the vCPU's.
 */
#include "avx.h"

/* ---- element by element ---- */

#define BOTH_EACH(name, f, bytes, T, expr) VEC_EACH(name, f, bytes, T, expr) VEC_BOTH(name) AVX_EACH(name)

BOTH_EACH(paddb, b, 1, uint8_t, (uint8_t)(x + y))
BOTH_EACH(paddw, w, 2, uint16_t, (uint16_t)(x + y))
BOTH_EACH(paddd, d, 4, uint32_t, x + y)
BOTH_EACH(paddq, q, 8, uint64_t, x + y)
BOTH_EACH(psubb, b, 1, uint8_t, (uint8_t)(x - y))
BOTH_EACH(psubw, w, 2, uint16_t, (uint16_t)(x - y))
BOTH_EACH(psubd, d, 4, uint32_t, x - y)
BOTH_EACH(psubq, q, 8, uint64_t, x - y)
BOTH_EACH(paddsb, sb, 1, int, sat_s8(x + y))
BOTH_EACH(paddsw, sw, 2, int, sat_s16(x + y))
BOTH_EACH(psubsb, sb, 1, int, sat_s8(x - y))
BOTH_EACH(psubsw, sw, 2, int, sat_s16(x - y))
BOTH_EACH(paddusb, b, 1, int, sat_u8(x + y))
BOTH_EACH(paddusw, w, 2, int, sat_u16(x + y))
BOTH_EACH(psubusb, b, 1, int, sat_u8(x - y))
BOTH_EACH(psubusw, w, 2, int, sat_u16(x - y))
BOTH_EACH(pcmpeqb, b, 1, uint8_t, x == y ? 0xff : 0)
BOTH_EACH(pcmpeqw, w, 2, uint16_t, x == y ? 0xffff : 0)
BOTH_EACH(pcmpeqd, d, 4, uint32_t, x == y ? ~0u : 0)
BOTH_EACH(pcmpgtb, sb, 1, int, x > y ? -1 : 0)
BOTH_EACH(pcmpgtw, sw, 2, int, x > y ? -1 : 0)
BOTH_EACH(pcmpgtd, sd, 4, int32_t, x > y ? -1 : 0)
BOTH_EACH(pand, q, 8, uint64_t, x & y)
BOTH_EACH(pandn, q, 8, uint64_t, ~x & y)
BOTH_EACH(por, q, 8, uint64_t, x | y)
BOTH_EACH(pxor, q, 8, uint64_t, x ^ y)
BOTH_EACH(pminub, b, 1, uint8_t, MIN(x, y))
BOTH_EACH(pmaxub, b, 1, uint8_t, MAX(x, y))
BOTH_EACH(pminsw, sw, 2, int16_t, MIN(x, y))
BOTH_EACH(pmaxsw, sw, 2, int16_t, MAX(x, y))
BOTH_EACH(pavgb, b, 1, unsigned, (uint8_t)((x + y + 1) >> 1))
BOTH_EACH(pavgw, w, 2, unsigned, (uint16_t)((x + y + 1) >> 1))
BOTH_EACH(pmullw, sw, 2, int, (int16_t)(x * y))
BOTH_EACH(pmulhw, sw, 2, int, (int16_t)((x * y) >> 16))
BOTH_EACH(pmulhuw, w, 2, uint32_t, (uint16_t)((x * y) >> 16))
BOTH_EACH(pmuludq, q, 8, uint64_t, (x & 0xffffffff) * (y & 0xffffffff))
BOTH_EACH(psignb, sb, 1, int, (int8_t)(y < 0 ? -x : y ? x : 0))
BOTH_EACH(psignw, sw, 2, int, (int16_t)(y < 0 ? -x : y ? x : 0))
BOTH_EACH(psignd, sd, 4, int32_t, y < 0 ? (int32_t)-(uint32_t)x : y ? x : 0)
BOTH_EACH(pabsb, sb, 1, int, (int8_t)(y < 0 ? -y : y))
BOTH_EACH(pabsw, sw, 2, int, (int16_t)(y < 0 ? -y : y))
BOTH_EACH(pabsd, sd, 4, int32_t, y < 0 ? (int32_t)-(uint32_t)y : y)
BOTH_EACH(pmulhrsw, sw, 2, int, (int16_t)((((x * y) >> 14) + 1) >> 1))

/* ---- sums over neighbours ---- */

VEC_FN(pmaddwd)
{
    for (unsigned i = 0; i < n / 4; i++) {
        uint32_t lo = (uint32_t)(a->sw[2 * i] * b->sw[2 * i]);
        uint32_t hi = (uint32_t)(a->sw[2 * i + 1] * b->sw[2 * i + 1]);
        a->d[i] = lo + hi;
    }
}
VEC_BOTH(pmaddwd)
AVX_EACH(pmaddwd)

VEC_FN(pmaddubsw)
{
    for (unsigned i = 0; i < n / 2; i++) {
        a->sw[i] = sat_s16(a->b[2 * i] * b->sb[2 * i] + a->b[2 * i + 1] * b->sb[2 * i + 1]);
    }
}
VEC_BOTH(pmaddubsw)
AVX_EACH(pmaddubsw)

VEC_FN(psadbw)
{
    for (unsigned q = 0; q < n / 8; q++) {
        unsigned sum = 0;
        for (unsigned i = 8 * q; i < 8 * q + 8; i++) {
            sum += (unsigned)ABS(a->b[i] - b->b[i]);
        }
        a->q[q] = sum;
    }
}
VEC_BOTH(psadbw)
AVX_EACH(psadbw)

/* PHADD, PHSUB: pairs of the first operand below, of the second above. */
#define HORIZONTAL(name, f, bytes, expr)                                                                    \
    VEC_FN(name)                                                                                            \
    {                                                                                                       \
        X86Vec r;                                                                                           \
        unsigned half = n / (bytes) / 2;                                                                    \
        for (unsigned i = 0; i < half; i++) {                                                               \
            int32_t x = a->f[2 * i], y = a->f[2 * i + 1];                                                   \
            r.f[i] = (expr);                                                                                \
            x = b->f[2 * i], y = b->f[2 * i + 1];                                                           \
            r.f[half + i] = (expr);                                                                         \
        }                                                                                                   \
        memcpy(a, &r, n);                                                                                   \
    }                                                                                                       \
    VEC_BOTH(name)                                                                                          \
    AVX_LANES(name)
HORIZONTAL(phaddw, sw, 2, (int16_t)(x + y))
HORIZONTAL(phaddd, sd, 4, (int32_t)((uint32_t)x + (uint32_t)y))
HORIZONTAL(phaddsw, sw, 2, sat_s16(x + y))
HORIZONTAL(phsubw, sw, 2, (int16_t)(x - y))
HORIZONTAL(phsubd, sd, 4, (int32_t)((uint32_t)x - (uint32_t)y))
HORIZONTAL(phsubsw, sw, 2, sat_s16(x - y))

/* ---- packing, unpacking, shuffling ---- */

#define PACK(name, to, from, bytes, sat)                                                                    \
    VEC_FN(name)                                                                                            \
    {                                                                                                       \
        X86Vec r;                                                                                           \
        unsigned half = n / (bytes);                                                                        \
        for (unsigned i = 0; i < half; i++) {                                                               \
            r.to[i] = sat(a->from[i]);                                                                      \
            r.to[half + i] = sat(b->from[i]);                                                               \
        }                                                                                                   \
        memcpy(a, &r, n);                                                                                   \
    }
PACK(packsswb, sb, sw, 2, sat_s8)
PACK(packuswb, b, sw, 2, sat_u8)
PACK(packssdw, sw, sd, 4, sat_s16)
PACK(packusdw, w, sd, 4, sat_u16)
VEC_BOTH(packsswb) AVX_LANES(packsswb)
VEC_BOTH(packuswb) AVX_LANES(packuswb)
VEC_BOTH(packssdw) AVX_LANES(packssdw)
VEC_SSE(packusdw) AVX_LANES(packusdw)

#define UNPACK(name, f, bytes, high)                                                                        \
    VEC_FN(name)                                                                                            \
    {                                                                                                       \
        X86Vec r;                                                                                           \
        unsigned half = n / (bytes) / 2;                                                                    \
        for (unsigned i = 0; i < half; i++) {                                                               \
            r.f[2 * i] = a->f[i + ((high) ? half : 0)];                                                     \
            r.f[2 * i + 1] = b->f[i + ((high) ? half : 0)];                                                 \
        }                                                                                                   \
        memcpy(a, &r, n);                                                                                   \
    }
UNPACK(punpcklbw, b, 1, false)
UNPACK(punpcklwd, w, 2, false)
UNPACK(punpckldq, d, 4, false)
UNPACK(punpcklqdq, q, 8, false)
UNPACK(punpckhbw, b, 1, true)
UNPACK(punpckhwd, w, 2, true)
UNPACK(punpckhdq, d, 4, true)
UNPACK(punpckhqdq, q, 8, true)
VEC_SSE(punpcklbw) AVX_LANES(punpcklbw)
VEC_SSE(punpcklwd) AVX_LANES(punpcklwd)
VEC_SSE(punpckldq) AVX_LANES(punpckldq)
VEC_SSE(punpcklqdq) AVX_LANES(punpcklqdq)
VEC_BOTH(punpckhbw) AVX_LANES(punpckhbw)
VEC_BOTH(punpckhwd) AVX_LANES(punpckhwd)
VEC_BOTH(punpckhdq) AVX_LANES(punpckhdq)
VEC_SSE(punpckhqdq) AVX_LANES(punpckhqdq)

/* The low unpacks of MMX read only 32 bits of memory. */
#define UNPACK_LOW_MMX(name)                                                                                \
    OP(mmx_##name)                                                                                          \
    {                                                                                                       \
        MMX_ENTER;                                                                                          \
        X86Vec a, b;                                                                                        \
        b.q[0] = d->flags & I_MEM ? ld32(cpu, d, ea_lin(cpu, d, 4, false)) : mmx_read(cpu, d->rm);          \
        a.q[0] = mmx_read(cpu, d->reg);                                                                     \
        mmx_begin(cpu);                                                                                     \
        v_##name(&a, &b, 8);                                                                                \
        mmx_write(cpu, d->reg, a.q[0]);                                                                     \
        NEXT;                                                                                               \
    }
UNPACK_LOW_MMX(punpcklbw)
UNPACK_LOW_MMX(punpcklwd)
UNPACK_LOW_MMX(punpckldq)

VEC_FN(pshufb)
{
    X86Vec r;
    for (unsigned i = 0; i < n; i++) {
        r.b[i] = b->b[i] & 0x80 ? 0 : a->b[b->b[i] & (n - 1)];
    }
    memcpy(a, &r, n);
}
VEC_BOTH(pshufb) AVX_LANES(pshufb)

/* PALIGNR: bytes imm.. of a:b. */
SSE_INLINE void align_bytes(X86Vec *a, const X86Vec *b, unsigned n, unsigned imm)
{
    uint8_t cat[64] = { 0 };
    memcpy(cat, b, n);
    memcpy(cat + n, a, n);
    if (imm >= 2 * n) {
        memset(a, 0, n);
    } else {
        memcpy(a, cat + imm, n);
    }
}
OP(mmx_palignr)
{
    MMX_ENTER;
    X86Vec a, b;
    b.q[0] = mmx_src(cpu, d);
    a.q[0] = mmx_read(cpu, d->reg);
    mmx_begin(cpu);
    align_bytes(&a, &b, 8, (uint8_t)d->imm);
    mmx_write(cpu, d->reg, a.q[0]);
    NEXT;
}
OP(sse_palignr)
{
    X86Vec tmp;
    const X86Vec *b = sse_src16(cpu, d, &tmp);
    align_bytes(&cpu->xmm[d->reg], b, 16, (uint8_t)d->imm);
    NEXT;
}

OP(mmx_pshufw)
{
    MMX_ENTER;
    X86Vec b, r;
    b.q[0] = mmx_src(cpu, d);
    mmx_begin(cpu);
    for (unsigned i = 0; i < 4; i++) {
        r.w[i] = b.w[d->imm >> (2 * i) & 3];
    }
    mmx_write(cpu, d->reg, r.q[0]);
    NEXT;
}

OP(pshufd)
{
    X86Vec tmp;
    X86Vec b = *sse_src16(cpu, d, &tmp);
    for (unsigned i = 0; i < 4; i++) {
        cpu->xmm[d->reg].d[i] = b.d[d->imm >> (2 * i) & 3];
    }
    NEXT;
}

static void shuffle_words(X86Cpu *cpu, const X86Insn *d, unsigned first)
{
    X86Vec tmp;
    X86Vec b = *sse_src16(cpu, d, &tmp);
    X86Vec *a = &cpu->xmm[d->reg];
    a->q[0] = b.q[0];
    a->q[1] = b.q[1];
    for (unsigned i = 0; i < 4; i++) {
        a->w[first + i] = b.w[first + (d->imm >> (2 * i) & 3)];
    }
}
OP(pshuflw) { shuffle_words(cpu, d, 0); NEXT; }
OP(pshufhw) { shuffle_words(cpu, d, 4); NEXT; }

/* ---- shifts ---- */

/* The count is the whole low quadword of the source; elements shifted out become 0 or sign. */
#define SHIFT(name, f, bits, expr)                                                                          \
    SSE_INLINE void s_##name(X86Vec *a, uint64_t count, unsigned bytes)                                     \
    {                                                                                                       \
        unsigned c G_GNUC_UNUSED = count >= (bits) ? (bits) : (unsigned)count;                              \
        for (unsigned i = 0; i < bytes * 8 / (bits); i++) {                                                 \
            a->f[i] = (expr);                                                                               \
        }                                                                                                   \
    }                                                                                                       \
    VEC_FN(name) { uint64_t c = b->q[0]; s_##name(a, c, n); }                                               \
    VEC_BOTH(name)                                                                                          \
    OP(v##name)                                                                                             \
    {                                                                                                       \
        X86Vec tmp, r;                                                                                      \
        uint64_t c = avx_src(cpu, d, &tmp, 16)->q[0];                                                       \
        r = *avx_src1(cpu, d);                                                                              \
        AVX_BY_L(s_##name(&r, c, n); avx_put(&cpu->xmm[d->reg], &r, n););                                   \
        NEXT;                                                                                               \
    }                                                                                                       \
    OP(v##name##_imm)                                                                                       \
    {                                                                                                       \
        X86Vec r = cpu->xmm[d->rm];                                                                         \
        AVX_BY_L(s_##name(&r, (uint8_t)d->imm, n); avx_put(&cpu->xmm[insn_vvvv(d)], &r, n););               \
        NEXT;                                                                                               \
    }                                                                                                       \
    OP(mmx_##name##_imm)                                                                                    \
    {                                                                                                       \
        MMX_ENTER;                                                                                          \
        X86Vec a;                                                                                           \
        a.q[0] = mmx_read(cpu, d->rm);                                                                      \
        mmx_begin(cpu);                                                                                     \
        s_##name(&a, (uint8_t)d->imm, 8);                                                                   \
        mmx_write(cpu, d->rm, a.q[0]);                                                                      \
        NEXT;                                                                                               \
    }                                                                                                       \
    OP(sse_##name##_imm) { s_##name(&cpu->xmm[d->rm], (uint8_t)d->imm, 16); NEXT; }
SHIFT(psllw, w, 16, c == 16 ? 0 : (uint16_t)(a->w[i] << c))
SHIFT(pslld, d, 32, c == 32 ? 0 : a->d[i] << c)
SHIFT(psllq, q, 64, c == 64 ? 0 : a->q[i] << c)
SHIFT(psrlw, w, 16, c == 16 ? 0 : (uint16_t)(a->w[i] >> c))
SHIFT(psrld, d, 32, c == 32 ? 0 : a->d[i] >> c)
SHIFT(psrlq, q, 64, c == 64 ? 0 : a->q[i] >> c)
SHIFT(psraw, sw, 16, (int16_t)(a->sw[i] >> MIN(c, 15u)))
SHIFT(psrad, sd, 32, a->sd[i] >> MIN(c, 31u))

OP(pslldq)
{
    uint8_t *v = cpu->xmm[d->rm].b;
    unsigned c = MIN((unsigned)(uint8_t)d->imm, 16u);
    memmove(v + c, v, 16 - c);
    memset(v, 0, c);
    NEXT;
}

OP(psrldq)
{
    uint8_t *v = cpu->xmm[d->rm].b;
    unsigned c = MIN((unsigned)(uint8_t)d->imm, 16u);
    memmove(v, v + c, 16 - c);
    memset(v + 16 - c, 0, c);
    NEXT;
}

/* ---- to and from general registers ---- */

OP(mmx_pmovmskb)
{
    MMX_ENTER;
    X86Vec v;
    v.q[0] = mmx_read(cpu, d->rm);
    mmx_begin(cpu);
    uint32_t m = 0;
    for (unsigned i = 0; i < 8; i++) {
        m |= (uint32_t)(v.b[i] >> 7) << i;
    }
    cpu->gpr[d->reg] = m;
    NEXT;
}

OP(sse_pmovmskb)
{
    const X86Vec *v = &cpu->xmm[d->rm];
    cpu->gpr[d->reg] = byte_signs(v->q[0]) | byte_signs(v->q[1]) << 8;
    NEXT;
}

static uint16_t word_src(X86Cpu *cpu, const X86Insn *d)
{
    return d->flags & I_MEM ? ld16(cpu, d, ea_lin(cpu, d, 2, false)) : (uint16_t)cpu->gpr[d->rm];
}

OP(mmx_pinsrw)
{
    MMX_ENTER;
    uint16_t w = word_src(cpu, d);
    X86Vec v;
    v.q[0] = mmx_read(cpu, d->reg);
    mmx_begin(cpu);
    v.w[d->imm & 3] = w;
    mmx_write(cpu, d->reg, v.q[0]);
    NEXT;
}

OP(sse_pinsrw)
{
    uint16_t w = word_src(cpu, d);
    cpu->xmm[d->reg].w[d->imm & 7] = w;
    NEXT;
}

OP(mmx_pextrw)
{
    MMX_ENTER;
    X86Vec v;
    v.q[0] = mmx_read(cpu, d->rm);
    mmx_begin(cpu);
    cpu->gpr[d->reg] = v.w[d->imm & 3];
    NEXT;
}

OP(sse_pextrw)
{
    cpu->gpr[d->reg] = cpu->xmm[d->rm].w[d->imm & 7];
    NEXT;
}
