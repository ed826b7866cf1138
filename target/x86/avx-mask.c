/* SPDX-License-Identifier: MIT
 * target/x86/avx-mask.c - VMASKMOV, VPMASKMOV and the gathers: memory element by element, as a mask says.
 * Models: Intel SDM volume 2, VMASKMOV, VPMASKMOV, VGATHERDPS and its kin: no access and no fault for an element whose
 *   mask bit is clear; a gather that faults keeps what it has, so that it goes on after the handler's return.
 * Does not model: RF in the flags that a fault in the middle of a gather pushes.
 * Threads: the vCPU's.
 */
#include "avx.h"

static bool mask_bit(const X86Vec *m, unsigned i, unsigned bytes) { return m->b[i * bytes + bytes - 1] >> 7; }
static bool mask_full(const X86Vec *m, unsigned n, unsigned bytes)
{
    for (unsigned i = 0; i < n / bytes; i++) {
        if (!mask_bit(m, i, bytes)) {
            return false;
        }
    }
    return true;
}
/* Linear address of the element of `bytes` bytes at distance i from the memory operand. */
static uint64_t elem_lin(X86Cpu *cpu, const X86Insn *d, uint64_t at, unsigned bytes, bool write)
{
    unsigned asize = d->flags & I_ASIZE;
    at = asize == 1 ? (uint16_t)at : asize == 2 ? (uint32_t)at : at;
    return ea_lin_off(cpu, d, at, bytes, write);
}

SSE_INLINE void mask_load(X86Cpu *cpu, const X86Insn *d, unsigned bytes)
{
    const X86Vec *m = avx_src1(cpu, d);
    unsigned n = insn_vlen(d);
    X86Vec r = { 0 };
    if (mask_full(m, n, bytes)) {
        ld_n(cpu, d, ea_lin(cpu, d, n, false), &r, n);
    } else {
        uint64_t at = ea_off(cpu, d);
        for (unsigned i = 0; i < n / bytes; i++) {
            if (!mask_bit(m, i, bytes)) {
                continue;
            }
            uint64_t lin = elem_lin(cpu, d, at + i * bytes, bytes, false);
            if (bytes == 4) {
                r.d[i] = ld32(cpu, d, lin);
            } else {
                r.q[i] = ld64(cpu, d, lin);
            }
        }
    }
    cpu->xmm[d->reg] = r;
}
OP(vmaskload32) { mask_load(cpu, d, 4); NEXT; }
OP(vmaskload64) { mask_load(cpu, d, 8); NEXT; }

/* All elements are checked before the first is written. */
SSE_INLINE void mask_store(X86Cpu *cpu, const X86Insn *d, unsigned bytes)
{
    const X86Vec *m = avx_src1(cpu, d), *v = &cpu->xmm[d->reg];
    unsigned n = insn_vlen(d);
    if (mask_full(m, n, bytes)) {
        st_n(cpu, d, ea_lin(cpu, d, n, true), v, n);
        return;
    }
    uint64_t at = ea_off(cpu, d), lin[8];
    for (unsigned i = 0; i < n / bytes; i++) {
        if (mask_bit(m, i, bytes)) {
            lin[i] = elem_lin(cpu, d, at + i * bytes, bytes, true);
            SYNC(d);
            x86_probe_write(cpu, lin[i], bytes, cpu->mmu);
        }
    }
    for (unsigned i = 0; i < n / bytes; i++) {
        if (!mask_bit(m, i, bytes)) {
            continue;
        }
        if (bytes == 4) {
            st32(cpu, d, lin[i], v->d[i]);
        } else {
            st64(cpu, d, lin[i], v->q[i]);
        }
    }
}
OP(vmaskstore32) { mask_store(cpu, d, 4); NEXT; }
OP(vmaskstore64) { mask_store(cpu, d, 8); NEXT; }

/* ib, eb: bytes of an index and of an element. Destination and mask change one element at a time: a fault leaves those
 * done, and the mask says which are not. */
SSE_INLINE void gather(X86Cpu *cpu, const X86Insn *d, unsigned ib, unsigned eb)
{
    X86Vec *dst = &cpu->xmm[d->reg], *mask = &cpu->xmm[insn_vvvv(d)];
    const X86Vec *ix = &cpu->xmm[d->index];
    if (dst == mask || dst == ix || mask == ix) {
        RAISE(EXC_UD);
    }
    unsigned n = insn_vlen(d) / MAX(ib, eb);
    uint64_t base = cpu->gpr[d->base] + (uint64_t)(int64_t)d->disp;
    for (unsigned i = 0; i < n; i++) {
        if (!mask_bit(mask, i, eb)) {
            memset(&mask->b[i * eb], 0, eb);
            continue;
        }
        int64_t off = ib == 4 ? ix->sd[i] : ix->sq[i];
        uint64_t lin = elem_lin(cpu, d, base + ((uint64_t)off << d->scale), eb, false);
        if (eb == 4) {
            dst->d[i] = ld32(cpu, d, lin);
            mask->d[i] = 0;
        } else {
            dst->q[i] = ld64(cpu, d, lin);
            mask->q[i] = 0;
        }
    }
    *mask = (X86Vec){ 0 };
    for (unsigned q = n * eb / 8; q < 4; q++) {
        dst->q[q] = 0;
    }
}
OP(vgather_dd) { gather(cpu, d, 4, 4); NEXT; }
OP(vgather_dq) { gather(cpu, d, 4, 8); NEXT; }
OP(vgather_qd) { gather(cpu, d, 8, 4); NEXT; }
OP(vgather_qq) { gather(cpu, d, 8, 8); NEXT; }
