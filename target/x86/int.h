/* SPDX-License-Identifier: MIT
 * target/x86/int.h - what the integer handlers share. Include first: it selects tail-call chaining.
 */
#ifndef TARGET_X86_INT_H
#define TARGET_X86_INT_H

#define T0_TAIL_NEXT
#include "t0.h"
#include "flags.h"
#include "int-ops.h"

#define CAT2(a, b) a##b
#define CAT(a, b)  CAT2(a, b)

/* Host pointer for a plain read-modify-write, NULL for the slow way; raises. */
static inline void *rmw_ptr(X86Cpu *cpu, const X86Insn *d, uint64_t lin, unsigned n)
{
    const TlbEntry *e = &cpu->tlb->e[cpu->mmu][tlb_index(lin)];
    if (tlb_hit(e->wtag, lin, n)) {
        return (void *)(lin + e->delta);
    }
    SYNC(d);
    return x86_rmw_ptr(cpu, lin, n);
}

static inline void set_flags(X86Cpu *cpu, uint32_t arith)
{
    cpu->cc_op = CC_FLAGS;
    cpu->cc_src = arith;
}

/* --- the stack at the current stack-address size --- */

/* The common case of 32-bit code: stack addresses are 32 bits wide and linear. */
static inline bool stack_flat32(const X86Cpu *cpu)
{
    return (cpu->mode & (MODE_FLAT | MODE_SS32 | MODE_CODE64)) == (MODE_FLAT | MODE_SS32);
}
static inline uint64_t sp_mask(const X86Cpu *cpu)
{
    return cpu->mode & MODE_CODE64 ? UINT64_MAX : cpu->mode & MODE_SS32 ? UINT32_MAX : UINT16_MAX;
}
static inline void sp_set(X86Cpu *cpu, uint64_t sp)
{
    if (G_LIKELY(stack_flat32(cpu))) {
        cpu->gpr[R_RSP] = (uint32_t)sp;
        return;
    }
    uint64_t m = sp_mask(cpu);
    cpu->gpr[R_RSP] = m == UINT16_MAX ? (cpu->gpr[R_RSP] & ~m) | (sp & m) : sp & m;
}
static inline uint64_t stack_lin(X86Cpu *cpu, const X86Insn *d, uint64_t sp, unsigned n, bool write)
{
    sp &= sp_mask(cpu);
    if (G_LIKELY(cpu->mode & (MODE_CODE64 | MODE_FLAT))) {
        return sp;
    }
    SYNC(d);
    return seg_linear(cpu, SEG_SS, sp, n, write);
}
static inline void stack_st(X86Cpu *cpu, const X86Insn *d, uint64_t sp, unsigned osize, uint64_t v)
{
    uint64_t lin = stack_lin(cpu, d, sp, 1u << osize, true);
    switch (osize) {
    case 1: st16(cpu, d, lin, (uint16_t)v); break;
    case 2: st32(cpu, d, lin, (uint32_t)v); break;
    default: st64(cpu, d, lin, v); break;
    }
}
static inline uint64_t stack_ld(X86Cpu *cpu, const X86Insn *d, uint64_t sp, unsigned osize)
{
    if (osize == 2 && G_LIKELY(stack_flat32(cpu))) {
        return ld32(cpu, d, (uint32_t)sp);
    }
    uint64_t lin = stack_lin(cpu, d, sp, 1u << osize, false);
    switch (osize) {
    case 1: return ld16(cpu, d, lin);
    case 2: return ld32(cpu, d, lin);
    default: return ld64(cpu, d, lin);
    }
}
static inline void stack_push(X86Cpu *cpu, const X86Insn *d, uint64_t v, unsigned osize)
{
    uint64_t sp = cpu->gpr[R_RSP] - (1u << osize);
    if (osize == 2 && G_LIKELY(stack_flat32(cpu))) {
        st32(cpu, d, (uint32_t)sp, (uint32_t)v);
        cpu->gpr[R_RSP] = (uint32_t)sp;
        return;
    }
    stack_st(cpu, d, sp, osize, v);
    sp_set(cpu, sp);
}

#endif
