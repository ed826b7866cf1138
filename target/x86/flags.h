/* SPDX-License-Identifier: MIT
 * target/x86/flags.h - lazy arithmetic flags: setting them, and testing a condition without computing them all.
 * Models: SDM vol. 1 3.4.3.1, appendix B (condition codes).
 * Values in cc_dst and cc_src are zero-extended from the operation's size.
 */
#ifndef TARGET_X86_FLAGS_H
#define TARGET_X86_FLAGS_H

#include "interp.h"

#define SET_CC(kind, dst, src) (cpu->cc_dst = (dst), cpu->cc_src = (src), cpu->cc_op = (kind))

uint32_t x86_carry_slow(const X86Cpu *cpu);
bool x86_cond_slow(const X86Cpu *cpu, unsigned cc);

static inline uint64_t cc_size_mask(unsigned op) { return UINT64_MAX >> (64 - (8u << (op & 3))); }

/* CF as 0 or 1 */
static inline uint32_t x86_carry(const X86Cpu *cpu)
{
    switch (cpu->cc_op) {
    case CC_FLAGS: return cpu->cc_src & FL_CF;
    case CC_LOGIC: case CC_LOGIC + 1: case CC_LOGIC + 2: case CC_LOGIC + 3: return 0;
    case CC_ADD + 2: return (uint32_t)cpu->cc_dst < (uint32_t)cpu->cc_src;
    case CC_ADD + 3: return cpu->cc_dst < cpu->cc_src;
    case CC_SUB + 2: return (uint32_t)(cpu->cc_dst + cpu->cc_src) < (uint32_t)cpu->cc_src;
    case CC_SUB + 3: return cpu->cc_dst + cpu->cc_src < cpu->cc_src;
    default: return x86_carry_slow(cpu);
    }
}

static inline bool cond_sub(unsigned cc, uint64_t a, uint64_t b, int64_t sa, int64_t sb)
{
    bool r;
    switch (cc >> 1) {
    case 1: r = a < b; break;
    case 3: r = a <= b; break;
    case 6: r = sa < sb; break;
    default: r = sa <= sb; break;
    }
    return r ^ (cc & 1);
}

/* Condition cc (0..15 as in Jcc), cc a constant at the call. */
static inline bool x86_cond(const X86Cpu *cpu, unsigned cc)
{
    unsigned op = cpu->cc_op;
    switch (cc >> 1) {
    case 1:
        return x86_carry(cpu) ^ (cc & 1);
    case 2:
        return (op == CC_FLAGS ? (cpu->cc_src & FL_ZF) != 0 : cpu->cc_dst == 0) ^ (cc & 1);
    case 4:
        return (op == CC_FLAGS ? (cpu->cc_src & FL_SF) != 0 : cpu->cc_dst >> ((8u << (op & 3)) - 1) & 1) ^ (cc & 1);
    case 3: case 6: case 7: {
        uint64_t b = cpu->cc_src, a = cpu->cc_dst + b;
        if (op == CC_SUB + 3) {
            return cond_sub(cc, a, b, (int64_t)a, (int64_t)b);
        }
        if (op == CC_SUB + 2) {
            return cond_sub(cc, (uint32_t)a, (uint32_t)b, (int32_t)a, (int32_t)b);
        }
        return x86_cond_slow(cpu, cc);
    }
    default:
        return x86_cond_slow(cpu, cc);
    }
}

#endif
