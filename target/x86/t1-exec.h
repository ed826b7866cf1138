/* SPDX-License-Identifier: MIT
 * target/x86/t1-exec.h - what the thunks call: one instruction by its T0 function. Result 0: go on behind it (units) or at tr1.resume
 * (side paths); 1: cpu->rip is set, leave translated code; 2: go on at tr1.next. May long-jump. For vector and x87 code they
 * also leave when one of its exceptions is unmasked, and load the x87 state (the vectors are loaded by the thunk).
 */
#ifndef TARGET_X86_T1_EXEC_H
#define TARGET_X86_T1_EXEC_H

#include "t1.h"

typedef int T1ExecFn(X86Cpu *cpu, const T1Rec *rec);
extern T1ExecFn *const t1_exec_fns[4]; /* T1S_* */
const X86Insn *t1_op_done(X86Cpu *cpu, const X86Insn *d); /* behind the instruction in T1State.scratch[] */
void t1_load_flags(X86Cpu *cpu); /* cc_* into tr1.efl */

/* The record of a side path, unaligned, little endian:
 *   2 bytes: how far before it the unit's RIP lies, as in T1Rec
 *   2        offset of the instruction in the unit, its length << 12
 *   2        SR_*
 *   SR_NEAR: 1, where to go on, from the target of the jump that lies right before the record; SR_BACK: 4, from the record
 *   SR_FLAGS: 3, the recipe of the flags: T1Flags.op, a, b; 4, imm, if it is one of two operands and b is R_NONE
 *   SR_UNDO: 4, is added to RSP
 *   the instruction's bytes */
enum {
    SR_PIC = 1, SR_LEADS = 2 /* the check of a group on the stack may have failed */, SR_NEAR = 4, SR_BACK = 8,
    SR_LEAVES = 16 /* behind it, the unit is left */, SR_RELOAD = 32 /* EFLAGS must be right there */, SR_FLAGS = 64, SR_UNDO = 128, SR_FPU = 256,
    SR_VEC_SHIFT = 9, /* two bits: see T1Thunks.exec */
};
int t1_side_exec(X86Cpu *cpu, const uint8_t *at);

/* mem.c: puts the page of lin into the first level; false: not without further ado. */
bool tlb_fill_quietly(X86Cpu *cpu, uint64_t lin, unsigned write, unsigned mmu);

#endif
