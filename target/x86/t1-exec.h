/* SPDX-License-Identifier: MIT
 * target/x86/t1-exec.h - what the thunks call: one instruction by its T0 function. Result 0: go on behind it; 1: cpu->rip is set,
 * leave translated code. May long-jump. The _flags forms prepare tr1.efl, the _vec forms also leave when vector
 * registers may not be loaded.
 */
#ifndef TARGET_X86_T1_EXEC_H
#define TARGET_X86_T1_EXEC_H

#include "t1.h"

int t1_exec(X86Cpu *cpu, const T1Rec *rec);
int t1_exec_flags(X86Cpu *cpu, const T1Rec *rec);
int t1_exec_vec(X86Cpu *cpu, const T1Rec *rec);
int t1_exec_flags_vec(X86Cpu *cpu, const T1Rec *rec);
void t1_load_flags(X86Cpu *cpu); /* cc_* into tr1.efl */

#endif
