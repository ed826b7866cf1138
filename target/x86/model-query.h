/* SPDX-License-Identifier: MIT
 * target/x86/model-query.h - models made for a question rather than for a CPU.
 */
#ifndef TARGET_X86_MODEL_QUERY_H
#define TARGET_X86_MODEL_QUERY_H

#include "cpuid.h"

/* As x86_model_make(), for the machine's accelerator, without warnings. */
X86CpuModel *x86_model_make_on(Machine *machine, const char *text, uint32_t *wanted, Error **errp);

#endif
