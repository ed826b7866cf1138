/* SPDX-License-Identifier: MIT
 * target/x86/avx-fma.c - fused multiply-add (FMA3) and half-precision conversions (F16C).
 * Models: Intel SDM volume 1, 14.4 (half precision: DAZ does not apply to it, FTZ not to results), 14.5.3 (FMA).
 * Does not model: the arithmetic itself (hostfp-fma.c).
 * Threads: the vCPU's.
 */
#include "avx.h"
#include "sse-fp.h"

SSE_INLINE void fma_packed(X86Cpu *cpu, const X86Insn *d, HostFma *fn, unsigned elem)
{
    X86Vec tmp;
    unsigned n = insn_vlen(d);
    uint32_t mx = sse_control(cpu);
    const X86Vec *b = avx_src(cpu, d, &tmp, n), *a = avx_src1(cpu, d), *c = &cpu->xmm[d->reg];
    X86Vec r = vec_low(c), al = vec_low(a), bl = vec_low(b);
    uint32_t fl = fn(&r, &al, &bl, mx);
    if (n == 32) {
        X86Vec h = vec_high(c), ah = vec_high(a), bh = vec_high(b);
        fl |= fn(&h, &ah, &bh, mx);
        vec_set_high(&r, &h);
    }
    sse_retire(cpu, d, fl, &r, elem, n / elem);
    avx_put(&cpu->xmm[d->reg], &r, n);
}
SSE_INLINE void fma_scalar(X86Cpu *cpu, const X86Insn *d, HostFma *fn, unsigned elem)
{
    X86Vec tmp;
    const X86Vec *b = elem == 4 ? sse_src4(cpu, d, &tmp) : sse_src8(cpu, d, &tmp);
    X86Vec r = vec_low(&cpu->xmm[d->reg]), a = vec_low(avx_src1(cpu, d)), bl = vec_low(b);
    uint32_t fl = fn(&r, &a, &bl, sse_control(cpu));
    sse_retire(cpu, d, fl, &r, elem, 1);
    avx_put(&cpu->xmm[d->reg], &r, 16);
}
#define FMA_ps(op, form) fma_packed(cpu, d, hostfma_##op##ps_##form, 4)
#define FMA_pd(op, form) fma_packed(cpu, d, hostfma_##op##pd_##form, 8)
#define FMA_ss(op, form) fma_scalar(cpu, d, hostfma_##op##ss_##form, 4)
#define FMA_sd(op, form) fma_scalar(cpu, d, hostfma_##op##sd_##form, 8)
#define FMA_OP(op, form, type) OP(v##op##type##_##form) { FMA_##type(op, form); NEXT; }
HOSTFMA_LIST(FMA_OP)

/* ---- half precision ---- */

OP(vcvtph2ps)
{
    X86Vec tmp;
    uint32_t mx = sse_control(cpu);
    AVX_BY_L({
        const X86Vec *b = avx_src(cpu, d, &tmp, n / 2);
        X86Vec bl = { .q = { b->q[0] } }, r;
        uint32_t fl = hostf16_to_ps(&r, &bl, mx);
        if (n == 32) {
            X86Vec bh = { .q = { b->q[1] } }, h;
            fl |= hostf16_to_ps(&h, &bh, mx);
            vec_set_high(&r, &h);
        }
        sse_retire(cpu, d, fl, &r, 4, 0);
        avx_put(&cpu->xmm[d->reg], &r, n);
    });
    NEXT;
}

OP(vcvtps2ph)
{
    const X86Vec *v = &cpu->xmm[d->reg];
    unsigned n = insn_vlen(d);
    uint32_t mx = sse_control(cpu);
    X86Vec in = vec_low(v), r;
    uint32_t fl = hostf16_from_ps(&r, &in, (uint8_t)d->imm, mx);
    r.q[1] = 0;
    if (n == 32) {
        X86Vec hi = vec_high(v), h;
        fl |= hostf16_from_ps(&h, &hi, (uint8_t)d->imm, mx);
        r.q[1] = h.q[0];
    }
    uint64_t lin = 0;
    if (d->flags & I_MEM) { /* the page fault comes before the numeric one has changed MXCSR */
        lin = ea_lin(cpu, d, n / 2, true);
        SYNC(d);
        x86_probe_write(cpu, lin, n / 2, cpu->mmu);
    }
    sse_retire(cpu, d, fl, &r, 2, n / 4);
    if (d->flags & I_MEM) {
        st_n(cpu, d, lin, &r, n / 2);
    } else {
        avx_put(&cpu->xmm[d->rm], &r, 16);
    }
    NEXT;
}
