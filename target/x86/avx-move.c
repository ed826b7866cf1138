/* SPDX-License-Identifier: MIT
 * target/x86/avx-move.c - AVX data movement: loads, stores, halves, single elements, broadcasts, VZEROUPPER.
 * Models: Intel SDM volume 2, instruction pages. Stores whose legacy form writes no register share its handler.
 * Does not model: write combining.
 * Threads: the vCPU's.
 */
#include "avx.h"

/* ---- whole vectors ---- */

OP(vmovu_load)
{
    X86Vec tmp;
    AVX_BY_L(avx_put(&cpu->xmm[d->reg], avx_src(cpu, d, &tmp, n), n););
    NEXT;
}
OP(vmovu_store)
{
    if (d->flags & I_MEM) {
        AVX_BY_L(st_n(cpu, d, ea_lin(cpu, d, n, true), &cpu->xmm[d->reg], n););
    } else {
        avx_put(&cpu->xmm[d->rm], &cpu->xmm[d->reg], insn_vlen(d));
    }
    NEXT;
}
OP(vmova_load)
{
    if (d->flags & I_MEM) {
        X86Vec tmp;
        AVX_BY_L({
            ld_n(cpu, d, avx_ea_aligned(cpu, d, n, false), &tmp, n);
            avx_put(&cpu->xmm[d->reg], &tmp, n);
        });
    } else {
        avx_put(&cpu->xmm[d->reg], &cpu->xmm[d->rm], insn_vlen(d));
    }
    NEXT;
}
OP(vmova_store)
{
    if (d->flags & I_MEM) {
        AVX_BY_L(st_n(cpu, d, avx_ea_aligned(cpu, d, n, true), &cpu->xmm[d->reg], n););
    } else {
        avx_put(&cpu->xmm[d->rm], &cpu->xmm[d->reg], insn_vlen(d));
    }
    NEXT;
}

/* ---- low elements; everything above becomes zero ---- */

static void put_low(X86Vec *v, uint64_t q0, uint64_t q1)
{
    *v = (X86Vec){ .q = { q0, q1 } };
}
OP(vmovq_load)
{
    X86Vec tmp;
    put_low(&cpu->xmm[d->reg], sse_src8(cpu, d, &tmp)->q[0], 0);
    NEXT;
}
OP(vmovq_store)
{
    uint64_t v = cpu->xmm[d->reg].q[0];
    if (d->flags & I_MEM) {
        st64(cpu, d, ea_lin(cpu, d, 8, true), v);
    } else {
        put_low(&cpu->xmm[d->rm], v, 0);
    }
    NEXT;
}
OP(vmovd_load)
{
    uint64_t v;
    if (insn_wide(d)) {
        v = d->flags & I_MEM ? ld64(cpu, d, ea_lin(cpu, d, 8, false)) : cpu->gpr[d->rm];
    } else {
        v = d->flags & I_MEM ? ld32(cpu, d, ea_lin(cpu, d, 4, false)) : (uint32_t)cpu->gpr[d->rm];
    }
    put_low(&cpu->xmm[d->reg], v, 0);
    NEXT;
}
OP(vmovss_load)
{
    put_low(&cpu->xmm[d->reg], ld32(cpu, d, ea_lin(cpu, d, 4, false)), 0);
    NEXT;
}
OP(vmovsd_load)
{
    put_low(&cpu->xmm[d->reg], ld64(cpu, d, ea_lin(cpu, d, 8, false)), 0);
    NEXT;
}
/* The register forms merge; opcode 11 has destination and second source exchanged. */
static void merge_ss(X86Cpu *cpu, unsigned dst, const X86Vec *a, const X86Vec *b)
{
    put_low(&cpu->xmm[dst], (a->q[0] & 0xffffffff00000000u) | b->d[0], a->q[1]);
}
OP(vmovss_rr) { merge_ss(cpu, d->reg, avx_src1(cpu, d), &cpu->xmm[d->rm]); NEXT; }
OP(vmovss_rr_11) { merge_ss(cpu, d->rm, avx_src1(cpu, d), &cpu->xmm[d->reg]); NEXT; }
OP(vmovsd_rr) { put_low(&cpu->xmm[d->reg], cpu->xmm[d->rm].q[0], avx_src1(cpu, d)->q[1]); NEXT; }
OP(vmovsd_rr_11) { put_low(&cpu->xmm[d->rm], cpu->xmm[d->reg].q[0], avx_src1(cpu, d)->q[1]); NEXT; }

OP(vmovlps_load)
{
    put_low(&cpu->xmm[d->reg], ld64(cpu, d, ea_lin(cpu, d, 8, false)), avx_src1(cpu, d)->q[1]);
    NEXT;
}
OP(vmovhps_load)
{
    put_low(&cpu->xmm[d->reg], avx_src1(cpu, d)->q[0], ld64(cpu, d, ea_lin(cpu, d, 8, false)));
    NEXT;
}
OP(vmovhlps) { put_low(&cpu->xmm[d->reg], cpu->xmm[d->rm].q[1], avx_src1(cpu, d)->q[1]); NEXT; }
OP(vmovlhps) { put_low(&cpu->xmm[d->reg], avx_src1(cpu, d)->q[0], cpu->xmm[d->rm].q[0]); NEXT; }

#define V_INSERT(name, f, mask, bits, T)                                                                    \
    OP(name)                                                                                                \
    {                                                                                                       \
        T v = d->flags & I_MEM ? ld##bits(cpu, d, ea_lin(cpu, d, bits / 8, false)) : (T)cpu->gpr[d->rm];    \
        X86Vec r = vec_low(avx_src1(cpu, d));                                                               \
        r.f[d->imm & (mask)] = v;                                                                           \
        cpu->xmm[d->reg] = r;                                                                               \
        NEXT;                                                                                               \
    }
V_INSERT(vpinsrb, b, 15, 8, uint8_t)
V_INSERT(vpinsrw, w, 7, 16, uint16_t)
V_INSERT(vpinsrd, d, 3, 32, uint32_t)
V_INSERT(vpinsrq, q, 1, 64, uint64_t)

/* The register form picks the source element; the memory form has only one. */
OP(vinsertps)
{
    unsigned imm = (uint8_t)d->imm;
    uint32_t v = d->flags & I_MEM ? ld32(cpu, d, ea_lin(cpu, d, 4, false)) : cpu->xmm[d->rm].d[imm >> 6];
    X86Vec r = vec_low(avx_src1(cpu, d));
    r.d[imm >> 4 & 3] = v;
    for (unsigned i = 0; i < 4; i++) {
        r.d[i] = imm >> i & 1 ? 0 : r.d[i];
    }
    cpu->xmm[d->reg] = r;
    NEXT;
}

/* ---- duplicates and broadcasts ---- */

#define V_DUP(name, f, bytes, from)                                                                         \
    OP(name)                                                                                                \
    {                                                                                                       \
        X86Vec tmp, r;                                                                                      \
        AVX_BY_L({                                                                                          \
            const X86Vec *b = avx_src(cpu, d, &tmp, n);                                                     \
            for (unsigned i = 0; i < n / (bytes); i++) {                                                    \
                r.f[i] = b->f[from];                                                                        \
            }                                                                                               \
            avx_put(&cpu->xmm[d->reg], &r, n);                                                              \
        });                                                                                                 \
        NEXT;                                                                                               \
    }
V_DUP(vmovsldup, d, 4, i & ~1u)
V_DUP(vmovshdup, d, 4, i | 1)
OP(vmovddup)
{
    X86Vec tmp, r;
    unsigned n = insn_vlen(d);
    const X86Vec *b = avx_src(cpu, d, &tmp, n == 32 ? 32 : 8);
    r.q[0] = r.q[1] = b->q[0];
    r.q[2] = r.q[3] = n == 32 ? b->q[2] : 0;
    cpu->xmm[d->reg] = r;
    NEXT;
}

#define V_BROADCAST(bits, f)                                                                                \
    OP(vbroadcast##bits)                                                                                    \
    {                                                                                                       \
        X86Vec r;                                                                                           \
        uint##bits##_t v =                                                                                  \
            d->flags & I_MEM ? ld##bits(cpu, d, ea_lin(cpu, d, bits / 8, false)) : cpu->xmm[d->rm].f[0];    \
        for (unsigned i = 0; i < 256 / bits; i++) {                                                         \
            r.f[i] = v;                                                                                     \
        }                                                                                                   \
        avx_put(&cpu->xmm[d->reg], &r, insn_vlen(d));                                                       \
        NEXT;                                                                                               \
    }
V_BROADCAST(8, b)
V_BROADCAST(16, w)
V_BROADCAST(32, d)
V_BROADCAST(64, q)
OP(vbroadcast128)
{
    X86Vec r;
    ld_n(cpu, d, ea_lin(cpu, d, 16, false), &r, 16);
    r.q[2] = r.q[0];
    r.q[3] = r.q[1];
    cpu->xmm[d->reg] = r;
    NEXT;
}

/* ---- halves ---- */

OP(vinsert128)
{
    X86Vec tmp, half = vec_low(avx_src(cpu, d, &tmp, 16)), r = *avx_src1(cpu, d);
    memcpy(&r.q[d->imm & 1 ? 2 : 0], &half, 16);
    cpu->xmm[d->reg] = r;
    NEXT;
}
OP(vextract128)
{
    const X86Vec *v = &cpu->xmm[d->reg];
    X86Vec half = d->imm & 1 ? vec_high(v) : vec_low(v);
    if (d->flags & I_MEM) {
        st_n(cpu, d, ea_lin(cpu, d, 16, true), &half, 16);
    } else {
        cpu->xmm[d->rm] = half;
    }
    NEXT;
}

/* Outside 64-bit mode registers 8 to 15 keep their values. */
static unsigned vec_count(const X86Cpu *cpu) { return cpu->mode & MODE_CODE64 ? 16 : 8; }
OP(vzeroupper)
{
    for (unsigned i = 0; i < vec_count(cpu); i++) {
        cpu->xmm[i].q[2] = cpu->xmm[i].q[3] = 0;
    }
    NEXT;
}
OP(vzeroall)
{
    memset(cpu->xmm, 0, vec_count(cpu) * sizeof(cpu->xmm[0]));
    NEXT;
}

/* ---- sign bits ---- */

OP(vpmovmskb)
{
    const X86Vec *v = &cpu->xmm[d->rm];
    uint32_t m = byte_signs(v->q[0]) | byte_signs(v->q[1]) << 8;
    if (insn_vex_l(d)) {
        m |= byte_signs(v->q[2]) << 16 | byte_signs(v->q[3]) << 24;
    }
    cpu->gpr[d->reg] = m;
    NEXT;
}
OP(vmovmskps)
{
    const X86Vec *v = &cpu->xmm[d->rm];
    uint32_t m = 0;
    for (unsigned i = 0; i < insn_vlen(d) / 4; i++) {
        m |= v->d[i] >> 31 << i;
    }
    cpu->gpr[d->reg] = m;
    NEXT;
}
OP(vmovmskpd)
{
    const X86Vec *v = &cpu->xmm[d->rm];
    uint64_t m = 0;
    for (unsigned i = 0; i < insn_vlen(d) / 8; i++) {
        m |= v->q[i] >> 63 << i;
    }
    cpu->gpr[d->reg] = m;
    NEXT;
}
