/* SPDX-License-Identifier: MIT
 * target/x86/debug.h - what a monitor asks of the CPU (TargetOps.get_reg and disassemble).
 */
#ifndef TARGET_X86_DEBUG_H
#define TARGET_X86_DEBUG_H

#include "rhea/target/x86/cpu.h"

bool x86_get_reg(Vcpu *v, const char *name, uint64_t *val);
/* One instruction in the mode MODE_CODE* as text, its length; 0: none, or there is no capstone library. */
size_t x86_disas(uint32_t mode, uint64_t va, const uint8_t *code, size_t len, GString *out);
bool x86_disas_works(void);
size_t x86_disassemble(Vcpu *v, uint64_t va, const uint8_t *code, size_t len, GString *out);

#endif
