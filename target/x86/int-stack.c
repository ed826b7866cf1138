/* SPDX-License-Identifier: MIT
 * target/x86/int-stack.c - PUSH, POP, PUSHA, POPA, PUSHF, POPF, ENTER, LEAVE.
 * Models: SDM vol. 2, per instruction; vol. 3 20.2 and table 20-2 (PUSHF and POPF in VM86 mode, with VME).
 * RSP moves last, so that a fault leaves it alone.
 * Threads: the vCPU's thread.
 */
#include "int.h"

OP(push_z16) { stack_push(cpu, d, R16(d->reg), 1); NEXT; }
OP(push_z32) { stack_push(cpu, d, R32(d->reg), 2); NEXT; }
OP(push_z64)
{
    uint64_t sp = cpu->gpr[R_RSP] - 8;
    st64(cpu, d, sp, R64(d->reg));
    cpu->gpr[R_RSP] = sp;
    NEXT;
}
OP(push_i16) { stack_push(cpu, d, d->imm, 1); NEXT; }
OP(push_i32) { stack_push(cpu, d, d->imm, 2); NEXT; }
OP(push_i64) { stack_push(cpu, d, d->imm, 3); NEXT; }
OP(push_e_r16) { stack_push(cpu, d, R16(d->rm), 1); NEXT; }
OP(push_e_r32) { stack_push(cpu, d, R32(d->rm), 2); NEXT; }
OP(push_e_r64) { stack_push(cpu, d, R64(d->rm), 3); NEXT; }
OP(push_e_m16) { stack_push(cpu, d, ld16(cpu, d, ea_lin(cpu, d, 2, false)), 1); NEXT; }
OP(push_e_m32) { stack_push(cpu, d, ld32(cpu, d, ea_lin(cpu, d, 4, false)), 2); NEXT; }
OP(push_e_m64) { stack_push(cpu, d, ld64(cpu, d, ea_lin(cpu, d, 8, false)), 3); NEXT; }

/* POP SP writes the popped value over the incremented pointer. */
#define POP_REG(n, osize, WRITE)                                                                            \
    {                                                                                                       \
        uint64_t v = stack_ld(cpu, d, cpu->gpr[R_RSP], osize);                                              \
        sp_set(cpu, cpu->gpr[R_RSP] + (1u << (osize)));                                                     \
        WRITE;                                                                                              \
        NEXT;                                                                                               \
    }
OP(pop_z16) POP_REG(reg, 1, R16(d->reg) = (uint16_t)v)
OP(pop_z32) POP_REG(reg, 2, R64(d->reg) = (uint32_t)v)
OP(pop_z64)
{
    uint64_t v = ld64(cpu, d, cpu->gpr[R_RSP]);
    cpu->gpr[R_RSP] += 8;
    R64(d->reg) = v;
    NEXT;
}
OP(pop_e_r16) POP_REG(rm, 1, R16(d->rm) = (uint16_t)v)
OP(pop_e_r32) POP_REG(rm, 2, R64(d->rm) = (uint32_t)v)
OP(pop_e_r64) POP_REG(rm, 3, R64(d->rm) = v)

/* The address of the destination is computed with RSP already incremented; a fault takes that back. */
static void pop_mem(X86Cpu *cpu, const X86Insn *d, unsigned osize)
{
    uint64_t v = stack_ld(cpu, d, cpu->gpr[R_RSP], osize), was = cpu->gpr[R_RSP];
    sp_set(cpu, was + (1u << osize));
    uint64_t off = ea_off(cpu, d), now = cpu->gpr[R_RSP];
    cpu->gpr[R_RSP] = was;
    uint64_t lin = ea_lin_off(cpu, d, off, 1u << osize, true);
    switch (osize) {
    case 1: st16(cpu, d, lin, (uint16_t)v); break;
    case 2: st32(cpu, d, lin, (uint32_t)v); break;
    default: st64(cpu, d, lin, v); break;
    }
    cpu->gpr[R_RSP] = now;
}
OP(pop_e_m16) { pop_mem(cpu, d, 1); NEXT; }
OP(pop_e_m32) { pop_mem(cpu, d, 2); NEXT; }
OP(pop_e_m64) { pop_mem(cpu, d, 3); NEXT; }

/* Every slot is checked before the first is written. */
OP(pusha)
{
    unsigned os = insn_osize(d), n = 1u << os;
    uint64_t sp = cpu->gpr[R_RSP];
    SYNC(d);
    for (unsigned i = 1; i <= 8; i++) {
        x86_probe_write(cpu, stack_lin(cpu, d, sp - i * n, n, true), n, cpu->mmu);
    }
    for (unsigned i = 0; i < 8; i++) {
        stack_st(cpu, d, sp - (i + 1) * n, os, cpu->gpr[i]);
    }
    sp_set(cpu, sp - 8 * n);
    NEXT;
}

OP(popa)
{
    unsigned os = insn_osize(d), n = 1u << os;
    uint64_t sp = cpu->gpr[R_RSP];
    SYNC(d);
    for (unsigned i = 0; i < 8; i++) {
        x86_probe_read(cpu, stack_lin(cpu, d, sp + i * n, n, false), n, cpu->mmu);
    }
    for (unsigned i = 0; i < 8; i++) {
        unsigned reg = 7 - i;
        if (reg == R_RSP) {
            continue; /* skipped in memory as well as in the register */
        }
        uint64_t v = stack_ld(cpu, d, sp + i * n, os);
        if (os == 1) {
            R16(reg) = (uint16_t)v;
        } else {
            R64(reg) = (uint32_t)v;
        }
    }
    sp_set(cpu, sp + 8 * n);
    NEXT;
}

static inline unsigned iopl_of(const X86Cpu *cpu) { return (cpu->eflags & FL_IOPL) >> 12; }

OP(pushf)
{
    unsigned os = insn_osize(d);
    uint32_t fl = x86_get_eflags(cpu) & ~(FL_VM | FL_RF);
    if (cpu->mode & MODE_VM86 && iopl_of(cpu) < 3) {
        if (!(cpu->cr4 & CR4_VME) || os != 1) {
            RAISE_ERR(EXC_GP, 0);
        }
        fl = (fl & ~FL_IF) | FL_IOPL | (cpu->eflags & FL_VIF ? FL_IF : 0);
    }
    stack_push(cpu, d, fl, os);
    NEXT;
}

/* VM86 with IOPL < 3 and VME: IF stands for VIF (SDM vol. 3 20.2.7). */
static uint32_t popf_vme(X86Cpu *cpu, const X86Insn *d, uint32_t *v)
{
    if (!(cpu->cr4 & CR4_VME) || insn_osize(d) != 1 || *v & FL_TF || (*v & FL_IF && cpu->eflags & FL_VIP)) {
        RAISE_ERR(EXC_GP, 0);
    }
    *v = (*v & ~FL_VIF) | (*v & FL_IF ? FL_VIF : 0);
    return FL_ARITH | FL_TF | FL_DF | FL_NT | FL_VIF;
}

static void popf(X86Cpu *cpu, const X86Insn *d)
{
    unsigned os = insn_osize(d);
    uint32_t v = (uint32_t)stack_ld(cpu, d, cpu->gpr[R_RSP], os), mask = FL_ARITH | FL_TF | FL_DF | FL_NT;
    mask |= os == 1 ? 0 : FL_AC | FL_ID | FL_RF;
    v &= ~FL_RF;
    if (cpu->mode & MODE_VM86 && iopl_of(cpu) < 3) {
        mask = popf_vme(cpu, d, &v);
    } else {
        mask |= cpu->cpl <= iopl_of(cpu) ? FL_IF : 0;
        mask |= cpu->cpl == 0 ? FL_IOPL : 0;
    }
    sp_set(cpu, cpu->gpr[R_RSP] + (1u << os));
    x86_set_eflags(cpu, v, mask);
    cpu->rip = insn_next_rip(cpu, d);
}
OP(popf) { popf(cpu, d); END_UNIT; }

/* SDM vol. 2 ENTER: also faults when a write at the final RSP would. */
static void enter(X86Cpu *cpu, const X86Insn *d)
{
    unsigned os = insn_osize(d), n = 1u << os, level = (d->imm >> 16) & 31, size = d->imm & 0xffff;
    uint64_t sp = cpu->gpr[R_RSP], bp = cpu->gpr[R_RBP], slots = level ? level + 1 : 1;
    SYNC(d);
    for (uint64_t i = 1; i <= slots; i++) {
        x86_probe_write(cpu, stack_lin(cpu, d, sp - i * n, n, true), n, cpu->mmu);
    }
    x86_probe_write(cpu, stack_lin(cpu, d, sp - slots * n - size, 1, true), 1, cpu->mmu);
    for (unsigned i = 1; i < level; i++) {
        x86_probe_read(cpu, stack_lin(cpu, d, bp - i * n, n, false), n, cpu->mmu);
    }
    stack_st(cpu, d, sp - n, os, bp);
    uint64_t frame = (sp - n) & sp_mask(cpu);
    for (unsigned i = 1; i < level; i++) {
        stack_st(cpu, d, sp - n - i * n, os, stack_ld(cpu, d, bp - i * n, os));
    }
    if (level) {
        stack_st(cpu, d, sp - n - level * n, os, frame);
    }
    if (os == 1) {
        R16(R_RBP) = (uint16_t)frame;
    } else {
        R64(R_RBP) = os == 2 ? (uint32_t)frame : frame;
    }
    sp_set(cpu, sp - slots * n - size);
}
OP(enter) { enter(cpu, d); NEXT; }

#define LEAVE_OF(osize, WRITE)                                                                              \
    {                                                                                                       \
        uint64_t bp = cpu->gpr[R_RBP], v = stack_ld(cpu, d, bp, osize);                                     \
        sp_set(cpu, bp + (1u << (osize)));                                                                  \
        WRITE;                                                                                              \
        NEXT;                                                                                               \
    }
OP(leave16) LEAVE_OF(1, R16(R_RBP) = (uint16_t)v)
OP(leave32) LEAVE_OF(2, R64(R_RBP) = (uint32_t)v)
OP(leave64) LEAVE_OF(3, R64(R_RBP) = v)
