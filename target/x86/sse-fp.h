/* SPDX-License-Identifier: MIT
 * target/x86/sse-fp.h - MXCSR control and exception handling around hostfp.h, for sse-fp.c, sse4.c and the AVX files.
 * Models: Intel SDM volume 1, 11.5.
 * Does not model: PE beside an unmasked overflow or underflow (it is that of the masked result).
 * Threads: the vCPU's.
 */
#ifndef TARGET_X86_SSE_FP_H
#define TARGET_X86_SSE_FP_H

#include "sse.h"

enum { SSE_IE = 1, SSE_DE = 2, SSE_ZE = 4, SSE_OE = 8, SSE_UE = 16, SSE_PE = 32, SSE_EXC = 63, SSE_DAZ = 64,
       SSE_UM = 0x800, SSE_MASKS = 0x1f80, SSE_FTZ = 0x8000 };

/* Raises #XM (or #UD): flags, nothing else changes. */
void sse_unmasked(X86Cpu *cpu, const X86Insn *d, uint32_t flags) G_GNUC_NORETURN;
bool sse_any_tiny(const X86Vec *v, unsigned elem, unsigned n);
/* sse4.c: element i of src, rounded as imm (of ROUNDPS) and mxcsr say, into dst. Returns flags. */
uint32_t sse_round_elem(X86Vec *dst, const X86Vec *src, unsigned i, bool dbl, unsigned imm, uint32_t mxcsr);
void sse_dpps(X86Cpu *cpu, const X86Insn *d, X86Vec *r, X86Vec *p, X86Vec *q, unsigned lanes);
void sse_dppd(X86Cpu *cpu, const X86Insn *d, X86Vec *p, X86Vec *b);
/* sse-fp.c: the general operand of CVTSI2SS and its kin. */
int64_t sse_gpr_src(X86Cpu *cpu, const X86Insn *d);

/* FTZ works only while underflow is masked. */
static inline uint32_t sse_control(const X86Cpu *cpu)
{
    return G_LIKELY(cpu->mxcsr & SSE_UM) ? cpu->mxcsr : cpu->mxcsr & ~(uint32_t)SSE_FTZ;
}
/* Takes flags over, or raises. An exact tiny result counts as underflow only when that is unmasked: elem
 * and n describe the results that may be. */
static inline void sse_retire(X86Cpu *cpu, const X86Insn *d, uint32_t flags, const X86Vec *r, unsigned elem,
                              unsigned n)
{
    if (G_UNLIKELY((cpu->mxcsr & SSE_MASKS) != SSE_MASKS)) {
        if (!(cpu->mxcsr & SSE_UM) && n && sse_any_tiny(r, elem, n)) {
            flags |= SSE_UE;
        }
        if (flags & ~(cpu->mxcsr >> 7) & SSE_EXC) {
            sse_unmasked(cpu, d, flags);
        }
    }
    cpu->mxcsr |= flags;
}

#endif
