/* SPDX-License-Identifier: MIT
 * rhea/target/x86/models.h - CPU models as management programs ask for them: lists, expansion, properties of a CPU.
 * MAIN_LOOP.
 */
#ifndef RHEA_TARGET_X86_MODELS_H
#define RHEA_TARGET_X86_MODELS_H

#include "rhea/system/machine.h"

const char *x86_cpu_model(unsigned i); /* its name; NULL: no more */
/* What `-cpu TEXT` gives on this machine's accelerator: each feature and number that -cpu takes, with its value; and a
 * list of the model's features that the accelerator lacks. Owned; NULL on failure. */
Json *x86_cpu_expand(Machine *m, const char *text, Error **errp);
Json *x86_cpu_missing(Machine *m, const char *text, Error **errp);
/* The names that x86_cpu_expand() gives, and their types ("bool", "int", "string"). */
void x86_cpu_each_property(void (*fn)(void *opaque, const char *name, const char *type), void *opaque);
/* The value that a CPU has; false: there is no such property. */
bool x86_cpu_property(Vcpu *cpu, const char *name, Json **out);

#endif
