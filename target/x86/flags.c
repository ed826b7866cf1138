/* SPDX-License-Identifier: MIT
 * target/x86/flags.c - the arithmetic flags made real, and writes of RFLAGS.
 * Models: SDM vol. 1 3.4.3, vol. 2 "Flags Affected" of each instruction; flags left undefined there get the
 * value that is cheapest here.
 * Threads: the vCPU's thread.
 */
#include "flags.h"
#include "rhea/target/x86/cpu.h"

typedef struct CfOf { bool cf, of; uint32_t af; } CfOf;

static CfOf cf_of(const X86Cpu *cpu)
{
    unsigned op = cpu->cc_op & ~3u;
    uint64_t mask = cc_size_mask(cpu->cc_op), msb = (mask >> 1) + 1;
    uint64_t d = cpu->cc_dst & mask, s = cpu->cc_src & mask, c = cpu->cc_src2 & 1, a;
    switch (op) {
    case CC_ADD: case CC_ADC:
        c = op == CC_ADC ? c : 0;
        a = (d - s - c) & mask;
        return (CfOf){ c ? d <= s : d < s, (a ^ d) & (s ^ d) & msb, (uint32_t)(a ^ s ^ d) & FL_AF };
    case CC_SUB: case CC_SBB:
        c = op == CC_SBB ? c : 0;
        a = (d + s + c) & mask;
        return (CfOf){ c ? a <= s : a < s, (a ^ s) & (a ^ d) & msb, (uint32_t)(a ^ s ^ d) & FL_AF };
    case CC_INC:
        return (CfOf){ cpu->cc_src & 1, d == msb, (d & 15) == 0 ? FL_AF : 0 };
    case CC_DEC:
        return (CfOf){ cpu->cc_src & 1, d == msb - 1, (d & 15) == 15 ? FL_AF : 0 };
    case CC_SHL:
        return (CfOf){ s & msb, (d ^ s) & msb, 0 };
    case CC_SAR:
        return (CfOf){ s & 1, (d ^ s) & msb, 0 };
    case CC_MUL:
        return (CfOf){ cpu->cc_src, cpu->cc_src, 0 };
    case CC_BMILG:
        return (CfOf){ cpu->cc_src, false, 0 };
    default:
        return (CfOf){ false, false, 0 };
    }
}

uint32_t x86_arith_flags(const X86Cpu *cpu)
{
    if (cpu->cc_op == CC_FLAGS) {
        return (uint32_t)cpu->cc_src & FL_ARITH;
    }
    uint64_t mask = cc_size_mask(cpu->cc_op), d = cpu->cc_dst & mask;
    CfOf x = cf_of(cpu);
    return (x.cf ? FL_CF : 0) | (x.of ? FL_OF : 0) | x.af | (d ? 0 : FL_ZF) | (d > mask >> 1 ? FL_SF : 0) |
           (__builtin_parity((unsigned)d & 0xff) ? 0 : FL_PF);
}

uint32_t x86_carry_slow(const X86Cpu *cpu)
{
    return cpu->cc_op == CC_FLAGS ? cpu->cc_src & FL_CF : cf_of(cpu).cf;
}

bool x86_cond_slow(const X86Cpu *cpu, unsigned cc)
{
    uint32_t f = x86_arith_flags(cpu);
    bool r, lt = !(f & FL_SF) != !(f & FL_OF);
    switch (cc >> 1) {
    case 0: r = f & FL_OF; break;
    case 1: r = f & FL_CF; break;
    case 2: r = f & FL_ZF; break;
    case 3: r = f & (FL_CF | FL_ZF); break;
    case 4: r = f & FL_SF; break;
    case 5: r = f & FL_PF; break;
    case 6: r = lt; break;
    default: r = lt || f & FL_ZF; break;
    }
    return r ^ (cc & 1);
}

uint32_t x86_get_eflags(const X86Cpu *cpu)
{
    return cpu->eflags | x86_arith_flags(cpu) | 2;
}

void x86_set_eflags_arith(X86Cpu *cpu, uint32_t arith)
{
    cpu->cc_op = CC_FLAGS;
    cpu->cc_src = arith & FL_ARITH;
}

void x86_set_eflags(X86Cpu *cpu, uint32_t value, uint32_t mask)
{
    uint32_t was = cpu->eflags;
    if (mask & FL_ARITH) {
        x86_set_eflags_arith(cpu, (x86_arith_flags(cpu) & ~mask) | (value & mask));
    }
    mask &= ~FL_ARITH;
    cpu->eflags = (was & ~mask) | (value & mask) | 2;
    if ((was ^ cpu->eflags) & (FL_TF | FL_VM | FL_AC | FL_IOPL)) {
        x86_update_mode(cpu);
    }
}
