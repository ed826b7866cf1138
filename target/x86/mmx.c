/* SPDX-License-Identifier: MIT
 * target/x86/mmx.c - MMX moves, EMMS, and the moves and conversions between MMX and SSE registers.
 * Models: Intel SDM volume 1, chapter 9 and 10.6; the arithmetic is in sse-int.c.
 * Does not model: 3DNow!.
 * Threads: the vCPU's.
 */
#include "sse.h"

OP(emms)
{
    MMX_ENTER;
    cpu->fpu.tags = 0xff;
    cpu->fpu.top = 0;
    NEXT;
}

/* MOVD/MOVQ Pq,Ey */
OP(mmx_movd_load)
{
    MMX_ENTER;
    uint64_t v;
    if (insn_wide(d)) {
        v = d->flags & I_MEM ? ld64(cpu, d, ea_lin(cpu, d, 8, false)) : cpu->gpr[d->rm];
    } else {
        v = d->flags & I_MEM ? ld32(cpu, d, ea_lin(cpu, d, 4, false)) : (uint32_t)cpu->gpr[d->rm];
    }
    mmx_begin(cpu);
    mmx_write(cpu, d->reg, v);
    NEXT;
}

OP(mmx_movd_store)
{
    MMX_ENTER;
    uint64_t v = mmx_read(cpu, d->reg);
    if (!(d->flags & I_MEM)) {
        sse_set_gpr(cpu, d, d->rm, v);
    } else if (insn_wide(d)) {
        st64(cpu, d, ea_lin(cpu, d, 8, true), v);
    } else {
        st32(cpu, d, ea_lin(cpu, d, 4, true), (uint32_t)v);
    }
    mmx_begin(cpu);
    NEXT;
}

OP(mmx_movq_load)
{
    MMX_ENTER;
    uint64_t v = mmx_src(cpu, d);
    mmx_begin(cpu);
    mmx_write(cpu, d->reg, v);
    NEXT;
}

/* MOVQ Qq,Pq; MOVNTQ */
OP(mmx_movq_store)
{
    MMX_ENTER;
    uint64_t v = mmx_read(cpu, d->reg);
    if (d->flags & I_MEM) {
        st64(cpu, d, ea_lin(cpu, d, 8, true), v);
        mmx_begin(cpu);
    } else {
        mmx_begin(cpu);
        mmx_write(cpu, d->rm, v);
    }
    NEXT;
}

/* MASKMOVQ: only the selected bytes are written, each on its own. */
OP(maskmovq)
{
    MMX_ENTER;
    X86Vec v, m;
    v.q[0] = mmx_read(cpu, d->reg);
    m.q[0] = mmx_read(cpu, d->rm);
    uint64_t lin = sse_rdi_lin(cpu, d, 8);
    x86_probe_write(cpu, lin, 8, cpu->mmu); /* faults without a byte selected, too: AMD */
    for (unsigned i = 0; i < 8; i++) {
        if (m.b[i] & 0x80) {
            st8(cpu, d, lin + i, v.b[i]);
        }
    }
    mmx_begin(cpu);
    NEXT;
}

OP(movq2dq)
{
    MMX_ENTER;
    uint64_t v = mmx_read(cpu, d->rm);
    mmx_begin(cpu);
    cpu->xmm[d->reg].q[0] = v;
    cpu->xmm[d->reg].q[1] = 0;
    NEXT;
}

OP(movdq2q)
{
    MMX_ENTER;
    mmx_begin(cpu);
    mmx_write(cpu, d->reg, cpu->xmm[d->rm].q[0]);
    NEXT;
}
