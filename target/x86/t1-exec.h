/* SPDX-License-Identifier: MIT
 * target/x86/t1-exec.h - what the thunks call: one instruction by its T0 function. Result 0: go on behind it; 1: cpu->rip is set,
 * leave translated code. May long-jump. With flags they prepare tr1.efl; for vector and x87 code they also leave when one of its
 * exceptions is unmasked, and load the x87 state (the vectors are loaded by the thunk).
 */
#ifndef TARGET_X86_T1_EXEC_H
#define TARGET_X86_T1_EXEC_H

#include "t1.h"

typedef int T1ExecFn(X86Cpu *cpu, const T1Rec *rec);
extern T1ExecFn *const t1_exec_fns[2][4]; /* flags; T1S_* */
void t1_load_flags(X86Cpu *cpu); /* cc_* into tr1.efl */

/* mem.c: puts the page of lin into the first level; false: not without further ado. */
bool tlb_fill_quietly(X86Cpu *cpu, uint64_t lin, unsigned write, unsigned mmu);

#endif
