/* SPDX-License-Identifier: MIT
 * target/x86/gdb.h - TargetOps.gdb of x86-64.
 */
#ifndef TARGET_X86_GDB_H
#define TARGET_X86_GDB_H

#include "rhea/target/x86/cpu.h"

extern const GdbArchOps x86_gdb_ops;

#endif
