/* SPDX-License-Identifier: MIT
 * target/x86/sse-move.c - SSE data movement, bitwise logic on floats, shuffles, MXCSR.
 * Models: Intel SDM volume 2, instruction pages; volume 1, 10.4.6 (non-temporal stores are plain stores).
 * Does not model: write combining.
 * Threads: the vCPU's.
 */
#include "sse.h"

SSE_INLINE void copy16(X86Vec *a, const X86Vec *b)
{
    uint64_t q0 = b->q[0], q1 = b->q[1];
    a->q[0] = q0;
    a->q[1] = q1;
}

/* MOVAPS, MOVAPD, MOVDQA and MOVNTDQA */
OP(movaps_load)
{
    X86Vec tmp;
    copy16(&cpu->xmm[d->reg], sse_src16(cpu, d, &tmp));
    NEXT;
}
OP(movaps_store)
{
    if (d->flags & I_MEM) {
        st_n(cpu, d, sse_ea_aligned(cpu, d, true), &cpu->xmm[d->reg], 16);
    } else {
        copy16(&cpu->xmm[d->rm], &cpu->xmm[d->reg]);
    }
    NEXT;
}
OP(movups_load)
{
    X86Vec tmp;
    copy16(&cpu->xmm[d->reg], sse_src16u(cpu, d, &tmp));
    NEXT;
}
OP(movups_store)
{
    if (d->flags & I_MEM) {
        st_n(cpu, d, ea_lin(cpu, d, 16, true), &cpu->xmm[d->reg], 16);
    } else {
        copy16(&cpu->xmm[d->rm], &cpu->xmm[d->reg]);
    }
    NEXT;
}

OP(movss_load)
{
    X86Vec *a = &cpu->xmm[d->reg];
    if (d->flags & I_MEM) {
        a->q[0] = ld32(cpu, d, ea_lin(cpu, d, 4, false));
        a->q[1] = 0;
    } else {
        a->d[0] = cpu->xmm[d->rm].d[0];
    }
    NEXT;
}
OP(movss_store)
{
    uint32_t v = cpu->xmm[d->reg].d[0];
    if (d->flags & I_MEM) {
        st32(cpu, d, ea_lin(cpu, d, 4, true), v);
    } else {
        cpu->xmm[d->rm].d[0] = v;
    }
    NEXT;
}
OP(movsd_load)
{
    X86Vec *a = &cpu->xmm[d->reg];
    if (d->flags & I_MEM) {
        a->q[0] = ld64(cpu, d, ea_lin(cpu, d, 8, false));
        a->q[1] = 0;
    } else {
        a->q[0] = cpu->xmm[d->rm].q[0];
    }
    NEXT;
}
/* MOVSD Wsd,Vsd; MOVLPS and MOVLPD stores */
OP(movsd_store)
{
    uint64_t v = cpu->xmm[d->reg].q[0];
    if (d->flags & I_MEM) {
        st64(cpu, d, ea_lin(cpu, d, 8, true), v);
    } else {
        cpu->xmm[d->rm].q[0] = v;
    }
    NEXT;
}
/* MOVQ Vq,Wq and Wq,Vq: the upper half becomes zero. */
OP(movq_load)
{
    X86Vec tmp, *a = &cpu->xmm[d->reg];
    a->q[0] = sse_src8(cpu, d, &tmp)->q[0];
    a->q[1] = 0;
    NEXT;
}
OP(movq_store)
{
    uint64_t v = cpu->xmm[d->reg].q[0];
    if (d->flags & I_MEM) {
        st64(cpu, d, ea_lin(cpu, d, 8, true), v);
    } else {
        cpu->xmm[d->rm].q[0] = v;
        cpu->xmm[d->rm].q[1] = 0;
    }
    NEXT;
}
OP(movd_load)
{
    X86Vec *a = &cpu->xmm[d->reg];
    if (insn_wide(d)) {
        a->q[0] = d->flags & I_MEM ? ld64(cpu, d, ea_lin(cpu, d, 8, false)) : cpu->gpr[d->rm];
    } else {
        a->q[0] = d->flags & I_MEM ? ld32(cpu, d, ea_lin(cpu, d, 4, false)) : (uint32_t)cpu->gpr[d->rm];
    }
    a->q[1] = 0;
    NEXT;
}
OP(movd_store)
{
    uint64_t v = cpu->xmm[d->reg].q[0];
    if (!(d->flags & I_MEM)) {
        sse_set_gpr(cpu, d, d->rm, v);
    } else if (insn_wide(d)) {
        st64(cpu, d, ea_lin(cpu, d, 8, true), v);
    } else {
        st32(cpu, d, ea_lin(cpu, d, 4, true), (uint32_t)v);
    }
    NEXT;
}

/* MOVLPS, MOVLPD from memory; MOVHLPS is the register form. */
OP(movlps_load)
{
    cpu->xmm[d->reg].q[0] = ld64(cpu, d, ea_lin(cpu, d, 8, false));
    NEXT;
}
OP(movhlps)
{
    cpu->xmm[d->reg].q[0] = cpu->xmm[d->rm].q[1];
    NEXT;
}
OP(movhps_load)
{
    cpu->xmm[d->reg].q[1] = ld64(cpu, d, ea_lin(cpu, d, 8, false));
    NEXT;
}
OP(movlhps)
{
    cpu->xmm[d->reg].q[1] = cpu->xmm[d->rm].q[0];
    NEXT;
}
OP(movhps_store)
{
    st64(cpu, d, ea_lin(cpu, d, 8, true), cpu->xmm[d->reg].q[1]);
    NEXT;
}

OP(movddup)
{
    X86Vec tmp, *a = &cpu->xmm[d->reg];
    uint64_t v = sse_src8(cpu, d, &tmp)->q[0];
    a->q[0] = a->q[1] = v;
    NEXT;
}
OP(movsldup)
{
    X86Vec tmp, *a = &cpu->xmm[d->reg];
    X86Vec b = *sse_src16(cpu, d, &tmp);
    a->d[0] = a->d[1] = b.d[0];
    a->d[2] = a->d[3] = b.d[2];
    NEXT;
}
OP(movshdup)
{
    X86Vec tmp, *a = &cpu->xmm[d->reg];
    X86Vec b = *sse_src16(cpu, d, &tmp);
    a->d[0] = a->d[1] = b.d[1];
    a->d[2] = a->d[3] = b.d[3];
    NEXT;
}

OP(movmskps)
{
    const X86Vec *b = &cpu->xmm[d->rm];
    cpu->gpr[d->reg] = b->d[0] >> 31 | b->d[1] >> 31 << 1 | b->d[2] >> 31 << 2 | b->d[3] >> 31 << 3;
    NEXT;
}
OP(movmskpd)
{
    const X86Vec *b = &cpu->xmm[d->rm];
    cpu->gpr[d->reg] = b->q[0] >> 63 | b->q[1] >> 63 << 1;
    NEXT;
}

/* Only the selected bytes are written, each on its own; addresses fault without any selected, too (AMD; the
 * manuals leave it open). */
OP(maskmovdqu)
{
    const X86Vec *v = &cpu->xmm[d->reg], *m = &cpu->xmm[d->rm];
    uint64_t lin = sse_rdi_lin(cpu, d, 16);
    x86_probe_write(cpu, lin, 16, cpu->mmu);
    for (unsigned i = 0; i < 16; i++) {
        if (m->b[i] & 0x80) {
            st8(cpu, d, lin + i, v->b[i]);
        }
    }
    NEXT;
}

OP(shufps)
{
    X86Vec tmp, *a = &cpu->xmm[d->reg];
    X86Vec b = *sse_src16(cpu, d, &tmp), x = *a;
    unsigned s = (unsigned)d->imm;
    a->d[0] = x.d[s & 3];
    a->d[1] = x.d[s >> 2 & 3];
    a->d[2] = b.d[s >> 4 & 3];
    a->d[3] = b.d[s >> 6 & 3];
    NEXT;
}
OP(shufpd)
{
    X86Vec tmp, *a = &cpu->xmm[d->reg];
    X86Vec b = *sse_src16(cpu, d, &tmp), x = *a;
    a->q[0] = x.q[d->imm & 1];
    a->q[1] = b.q[d->imm >> 1 & 1];
    NEXT;
}

/* ---- MXCSR ---- */

/* SDM volume 1, 10.2.3: bits 16..31 are reserved; DAZ exists in every CPU with SSE2. */
OP(ldmxcsr)
{
    uint32_t v = ld32(cpu, d, ea_lin(cpu, d, 4, false));
    if (v & 0xffff0000u) {
        RAISE_ERR(EXC_GP, 0);
    }
    cpu->mxcsr = v;
    NEXT;
}
OP(stmxcsr)
{
    st32(cpu, d, ea_lin(cpu, d, 4, true), cpu->mxcsr);
    NEXT;
}
