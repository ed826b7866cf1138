/* SPDX-License-Identifier: MIT
 * target/x86/avx-perm.c - AVX permutations, blends, shuffles with an immediate, variable shifts, tests, and the packed
 *   integers that the element-wise macros of sse-int.c do not fit.
 * Models: Intel SDM volume 2, instruction pages.
 * Does not model: -
 * Threads: the vCPU's.
 */
#include "avx.h"

/* ---- one source and an immediate, or two, element by element: r.f[i] from a, b, imm ---- */

#define V_SHUFFLE(name, f, bytes, expr)                                                                     \
    OP(name)                                                                                                \
    {                                                                                                       \
        X86Vec tmp, r;                                                                                      \
        unsigned imm G_GNUC_UNUSED = (uint8_t)d->imm;                                                       \
        AVX_BY_L({                                                                                          \
            const X86Vec *b = avx_src(cpu, d, &tmp, n);                                                     \
            const X86Vec *a G_GNUC_UNUSED = avx_src1(cpu, d);                                               \
            for (unsigned i = 0; i < n / (bytes); i++) {                                                    \
                r.f[i] = (expr);                                                                            \
            }                                                                                               \
            avx_put(&cpu->xmm[d->reg], &r, n);                                                              \
        });                                                                                                 \
        NEXT;                                                                                               \
    }
V_SHUFFLE(vpshufd, d, 4, b->d[(i & 4) | (imm >> (2 * (i & 3)) & 3)])
V_SHUFFLE(vpshuflw, w, 2, i & 4 ? b->w[i] : b->w[(i & 8) | (imm >> (2 * (i & 3)) & 3)])
V_SHUFFLE(vpshufhw, w, 2, i & 4 ? b->w[(i & 12) | (imm >> (2 * (i & 3)) & 3)] : b->w[i])
V_SHUFFLE(vshufps, d, 4, (i & 2 ? b : a)->d[(i & 4) | (imm >> (2 * (i & 3)) & 3)])
V_SHUFFLE(vshufpd, q, 8, (i & 1 ? b : a)->q[(i & 2) | (imm >> i & 1)])
V_SHUFFLE(vblendps, d, 4, (imm >> i & 1 ? b : a)->d[i])
V_SHUFFLE(vblendpd, q, 8, (imm >> i & 1 ? b : a)->q[i])
V_SHUFFLE(vpblendd, d, 4, (imm >> i & 1 ? b : a)->d[i])
V_SHUFFLE(vpblendw, w, 2, (imm >> (i & 7) & 1 ? b : a)->w[i])
V_SHUFFLE(vpermilps, d, 4, a->d[(i & 4) | (b->d[i] & 3)])
V_SHUFFLE(vpermilpd, q, 8, a->q[(i & 2) | (b->q[i] >> 1 & 1)])
V_SHUFFLE(vpermilps_imm, d, 4, b->d[(i & 4) | (imm >> (2 * (i & 3)) & 3)])
V_SHUFFLE(vpermilpd_imm, q, 8, b->q[(i & 2) | (imm >> i & 1)])
V_SHUFFLE(vpermd, d, 4, b->d[a->d[i] & 7])
V_SHUFFLE(vpermq, q, 8, b->q[imm >> (2 * i) & 3])

/* Blends by the top bits of a fourth register. */
V_SHUFFLE(vpblendvb, b, 1, (cpu->xmm[insn_is4(d)].b[i] >> 7 ? b : a)->b[i])
V_SHUFFLE(vblendvps, d, 4, (cpu->xmm[insn_is4(d)].d[i] >> 31 ? b : a)->d[i])
V_SHUFFLE(vblendvpd, q, 8, (cpu->xmm[insn_is4(d)].q[i] >> 63 ? b : a)->q[i])

/* Shifts by a count for each element; counts beyond the width clear, or leave signs. */
V_SHUFFLE(vpsllvd, d, 4, b->d[i] < 32 ? a->d[i] << b->d[i] : 0)
V_SHUFFLE(vpsllvq, q, 8, b->q[i] < 64 ? a->q[i] << b->q[i] : 0)
V_SHUFFLE(vpsrlvd, d, 4, b->d[i] < 32 ? a->d[i] >> b->d[i] : 0)
V_SHUFFLE(vpsrlvq, q, 8, b->q[i] < 64 ? a->q[i] >> b->q[i] : 0)
V_SHUFFLE(vpsravd, sd, 4, a->sd[i] >> MIN(b->d[i], 31u))

/* Each half: one of four, or zero. */
OP(vperm2x128)
{
    X86Vec tmp, r;
    const X86Vec *b = avx_src(cpu, d, &tmp, 32), *a = avx_src1(cpu, d);
    for (unsigned i = 0; i < 2; i++) {
        unsigned sel = (unsigned)d->imm >> (4 * i) & 15;
        const X86Vec *s = sel & 2 ? b : a;
        r.q[2 * i] = sel & 8 ? 0 : s->q[sel & 1 ? 2 : 0];
        r.q[2 * i + 1] = sel & 8 ? 0 : s->q[sel & 1 ? 3 : 1];
    }
    cpu->xmm[d->reg] = r;
    NEXT;
}

/* ---- bytes within lanes ---- */

/* Bytes imm.. of a:b in each lane; beyond both, zero. */
V_SHUFFLE(vpalignr, b, 1,
          (i & 15) + imm < 16 ? b->b[i + imm] : (i & 15) + imm < 32 ? a->b[(i & 16) + (i & 15) + imm - 16] : 0)

OP(vpslldq)
{
    const X86Vec *v = &cpu->xmm[d->rm];
    X86Vec r;
    unsigned c = (uint8_t)d->imm;
    for (unsigned i = 0; i < 32; i++) {
        r.b[i] = (i & 15) >= c ? v->b[i - c] : 0;
    }
    avx_put(&cpu->xmm[insn_vvvv(d)], &r, insn_vlen(d));
    NEXT;
}
OP(vpsrldq)
{
    const X86Vec *v = &cpu->xmm[d->rm];
    X86Vec r;
    unsigned c = (uint8_t)d->imm;
    for (unsigned i = 0; i < 32; i++) {
        r.b[i] = (i & 15) + c < 16 ? v->b[i + c] : 0;
    }
    avx_put(&cpu->xmm[insn_vvvv(d)], &r, insn_vlen(d));
    NEXT;
}

/* Sums of absolute differences; each lane has three control bits. */
OP(vmpsadbw)
{
    X86Vec tmp, r;
    unsigned n = insn_vlen(d);
    const X86Vec *b = avx_src(cpu, d, &tmp, n), *a = avx_src1(cpu, d);
    for (unsigned i = 0; i < n / 2; i++) {
        unsigned lane = i & 8 ? 16 : 0, c = (unsigned)d->imm >> (i & 8 ? 3 : 0);
        unsigned ao = lane + (c & 4) + (i & 7), bo = lane + (c & 3) * 4, sum = 0;
        for (unsigned k = 0; k < 4; k++) {
            sum += (unsigned)ABS(a->b[ao + k] - b->b[bo + k]);
        }
        r.w[i] = (uint16_t)sum;
    }
    avx_put(&cpu->xmm[d->reg], &r, n);
    NEXT;
}
OP(vphminposuw)
{
    X86Vec tmp;
    const X86Vec *b = avx_src(cpu, d, &tmp, 16);
    unsigned at = 0;
    for (unsigned i = 1; i < 8; i++) {
        at = b->w[i] < b->w[at] ? i : at;
    }
    cpu->xmm[d->reg] = (X86Vec){ .q = { b->w[at] | (uint64_t)at << 16 } };
    NEXT;
}

/* ---- sign and zero extension ---- */

#define V_EXTEND(name, to, to_bytes, from, from_bytes)                                                      \
    OP(name)                                                                                                \
    {                                                                                                       \
        X86Vec tmp, r;                                                                                      \
        AVX_BY_L({                                                                                          \
            const X86Vec *b = avx_src(cpu, d, &tmp, n / (to_bytes) * (from_bytes));                         \
            for (unsigned i = 0; i < n / (to_bytes); i++) {                                                 \
                r.to[i] = b->from[i];                                                                       \
            }                                                                                               \
            avx_put(&cpu->xmm[d->reg], &r, n);                                                              \
        });                                                                                                 \
        NEXT;                                                                                               \
    }
V_EXTEND(vpmovsxbw, sw, 2, sb, 1)
V_EXTEND(vpmovsxbd, sd, 4, sb, 1)
V_EXTEND(vpmovsxbq, sq, 8, sb, 1)
V_EXTEND(vpmovsxwd, sd, 4, sw, 2)
V_EXTEND(vpmovsxwq, sq, 8, sw, 2)
V_EXTEND(vpmovsxdq, sq, 8, sd, 4)
V_EXTEND(vpmovzxbw, w, 2, b, 1)
V_EXTEND(vpmovzxbd, d, 4, b, 1)
V_EXTEND(vpmovzxbq, q, 8, b, 1)
V_EXTEND(vpmovzxwd, d, 4, w, 2)
V_EXTEND(vpmovzxwq, q, 8, w, 2)
V_EXTEND(vpmovzxdq, q, 8, d, 4)

/* ---- ZF: no bit of a & b (that counts); CF: none of ~a & b ---- */

static void vec_test(X86Cpu *cpu, const X86Insn *d, uint64_t counts)
{
    X86Vec tmp;
    unsigned n = insn_vlen(d);
    const X86Vec *b = avx_src(cpu, d, &tmp, n), *a = &cpu->xmm[d->reg];
    uint64_t both = 0, only = 0;
    for (unsigned i = 0; i < n / 8; i++) {
        both |= a->q[i] & b->q[i] & counts;
        only |= ~a->q[i] & b->q[i] & counts;
    }
    x86_set_eflags_arith(cpu, (both ? 0 : FL_ZF) | (only ? 0 : FL_CF));
}
OP(vptest) { vec_test(cpu, d, UINT64_MAX); NEXT; }
OP(vtestps) { vec_test(cpu, d, 0x8000000080000000u); NEXT; }
OP(vtestpd) { vec_test(cpu, d, 0x8000000000000000u); NEXT; }
