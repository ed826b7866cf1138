/* SPDX-License-Identifier: MIT
 * rhea/target/x86/models.h - CPU models as management programs ask for them: lists, expansion, properties of a CPU.
 * MAIN_LOOP.
 */
#ifndef RHEA_TARGET_X86_MODELS_H
#define RHEA_TARGET_X86_MODELS_H

#include "rhea/system/machine.h"

/* The name of model i, by the alphabet; NULL: no more. *alias_of: the version that the name stands for, or NULL. */
const char *x86_cpu_model(unsigned i, const char **alias_of);
/* What `-cpu TEXT` is: each feature, with the identity what "base" makes the same CPU of; full: and all other properties.
 * The features are the model's, also those that the machine's accelerator lacks, of which x86_cpu_missing() is the list.
 * Owned; NULL on failure. */
Json *x86_cpu_expand(Machine *m, const char *text, bool full, Error **errp);
Json *x86_cpu_missing(Machine *m, const char *text, Error **errp);
/* The names that a full x86_cpu_expand() of that model gives, and their types ("bool", "int", "uint32", "string"...). */
void x86_cpu_each_property(const char *model, void (*fn)(void *opaque, const char *name, const char *type), void *opaque);
/* Those of a CPU. */
void x86_cpu_each_live_property(const Vcpu *cpu, void (*fn)(void *opaque, const char *name, const char *type), void *opaque);
/* The value that a CPU has; false: there is no such property. */
bool x86_cpu_property(Vcpu *cpu, const char *name, Json **out);

#endif
