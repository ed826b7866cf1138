/* SPDX-License-Identifier: MIT
 * target/x86/print.h - TargetOps members that print. See print.c.
 */
#ifndef TARGET_X86_PRINT_H
#define TARGET_X86_PRINT_H

#include "rhea/system/target.h"

void x86_print_regs(Vcpu *v, GString *out);
void x86_print_mem(Vcpu *v, GString *out);
void x86_print_tlb(Vcpu *v, GString *out);
extern const VmState x86_cpu_vmstate; /* vmstate.c */

#endif
