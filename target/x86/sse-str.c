/* SPDX-License-Identifier: MIT
 * target/x86/sse-str.c - PCMPESTRI, PCMPESTRM, PCMPISTRI, PCMPISTRM.
 * Models: Intel SDM volume 2B, 4.1 (imm8 control byte, aggregation, valid/invalid overrides).
 * Does not model: -
 * Threads: the vCPU's.
 */
#include "sse.h"

/* Element i, signed or not by imm8 bit 1, word or byte by bit 0. */
static int elem(const X86Vec *v, unsigned i, unsigned imm)
{
    switch (imm & 3) {
    case 0: return v->b[i];
    case 1: return v->w[i];
    case 2: return v->sb[i];
    default: return v->sw[i];
    }
}

/* Is element j of b what the aggregation asks for, against a with `la` valid elements of n? */
static bool equal_any(const X86Vec *a, unsigned la, const X86Vec *b, unsigned j, unsigned imm)
{
    for (unsigned i = 0; i < la; i++) {
        if (elem(a, i, imm) == elem(b, j, imm)) {
            return true;
        }
    }
    return false;
}
static bool in_ranges(const X86Vec *a, unsigned la, const X86Vec *b, unsigned j, unsigned imm)
{
    int v = elem(b, j, imm);
    for (unsigned i = 0; i + 1 < la; i += 2) {
        if (v >= elem(a, i, imm) && v <= elem(a, i + 1, imm)) {
            return true;
        }
    }
    return false;
}
/* Substring a begins at b[j], as far as b's register reaches. */
static bool equal_ordered(const X86Vec *a, unsigned la, const X86Vec *b, unsigned lb, unsigned j, unsigned n,
                          unsigned imm)
{
    for (unsigned i = 0; i < la && i + j < n; i++) {
        if (i + j >= lb || elem(a, i, imm) != elem(b, i + j, imm)) {
            return false;
        }
    }
    return true;
}

static uint32_t compare(const X86Vec *a, unsigned la, const X86Vec *b, unsigned lb, unsigned imm)
{
    unsigned n = imm & 1 ? 8 : 16;
    uint32_t res = 0;
    for (unsigned j = 0; j < n; j++) {
        bool hit;
        switch (imm >> 2 & 3) {
        case 0: hit = j < lb && equal_any(a, la, b, j, imm); break;
        case 1: hit = j < lb && in_ranges(a, la, b, j, imm); break;
        case 2: hit = j >= la || j >= lb ? j >= la && j >= lb : elem(a, j, imm) == elem(b, j, imm); break;
        default: hit = equal_ordered(a, la, b, lb, j, n, imm); break;
        }
        res |= (uint32_t)hit << j;
    }
    if (imm & 0x10) {
        res ^= imm & 0x20 ? (lb >= n ? (1u << n) - 1 : (1u << lb) - 1) : (1u << n) - 1;
    }
    return res;
}

static unsigned explicit_len(X86Cpu *cpu, const X86Insn *d, unsigned reg, unsigned n)
{
    int64_t v = insn_wide(d) ? (int64_t)cpu->gpr[reg] : (int32_t)cpu->gpr[reg];
    uint64_t mag = v < 0 ? -(uint64_t)v : (uint64_t)v;
    return mag > n ? n : (unsigned)mag;
}
static unsigned implicit_len(const X86Vec *v, unsigned imm, unsigned n)
{
    unsigned i = 0;
    while (i < n && elem(v, i, imm) != 0) {
        i++;
    }
    return i;
}

static void string_compare(X86Cpu *cpu, const X86Insn *d, bool expl, bool index)
{
    X86Vec tmp, a = cpu->xmm[d->reg];
    X86Vec b = *sse_src16u(cpu, d, &tmp);
    unsigned imm = (uint8_t)d->imm, n = imm & 1 ? 8 : 16;
    unsigned la = expl ? explicit_len(cpu, d, R_RAX, n) : implicit_len(&a, imm, n);
    unsigned lb = expl ? explicit_len(cpu, d, R_RDX, n) : implicit_len(&b, imm, n);
    uint32_t res = compare(&a, la, &b, lb, imm);
    if (index) {
        unsigned at = n;
        if (res) {
            at = imm & 0x40 ? 31 - (unsigned)__builtin_clz(res) : (unsigned)__builtin_ctz(res);
        }
        cpu->gpr[R_RCX] = at;
    } else {
        X86Vec *x = &cpu->xmm[0];
        if (imm & 0x40) {
            for (unsigned i = 0; i < n; i++) {
                if (imm & 1) {
                    x->w[i] = res >> i & 1 ? 0xffff : 0;
                } else {
                    x->b[i] = res >> i & 1 ? 0xff : 0;
                }
            }
        } else {
            x->q[0] = res;
            x->q[1] = 0;
        }
    }
    x86_set_eflags_arith(cpu, (res ? FL_CF : 0) | (lb < n ? FL_ZF : 0) | (la < n ? FL_SF : 0) |
                                  (res & 1 ? FL_OF : 0));
}
OP(pcmpestrm) { string_compare(cpu, d, true, false); NEXT; }
OP(pcmpestri) { string_compare(cpu, d, true, true); NEXT; }
OP(pcmpistrm) { string_compare(cpu, d, false, false); NEXT; }
OP(pcmpistri) { string_compare(cpu, d, false, true); NEXT; }

/* The VEX forms of those that write XMM0 clear its upper half. */
OP(vpcmpestrm)
{
    string_compare(cpu, d, true, false);
    cpu->xmm[0].q[2] = cpu->xmm[0].q[3] = 0;
    NEXT;
}
OP(vpcmpistrm)
{
    string_compare(cpu, d, false, false);
    cpu->xmm[0].q[2] = cpu->xmm[0].q[3] = 0;
    NEXT;
}
OP(vpcmpestri) { string_compare(cpu, d, true, true); NEXT; }
OP(vpcmpistri) { string_compare(cpu, d, false, true); NEXT; }
