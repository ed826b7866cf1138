/* SPDX-License-Identifier: MIT
 * target/x86/model-parts.h - what the pieces that make CPU models offer each other.
 */
#ifndef TARGET_X86_MODEL_PARTS_H
#define TARGET_X86_MODEL_PARTS_H

#include "cpuid.h"

/* features.c */
extern const char *const x86_word_names[FW_COUNT]; /* "CPUID.01H:EDX" */
bool x86_name_equal(const char *a, size_t n, const char *b); /* of n characters; '_' is '-', case does not count */
void x86_feature_set(uint32_t *words, unsigned feat, bool on);
bool x86_feature_host_lacks(const char *name); /* its instructions would run on the host's own, which has none */
bool x86_model_on_kvm(const Machine *machine);
void x86_model_features(const Machine *machine, uint32_t *words); /* what its accelerator can offer; NULL: the software engine */

/* model-table.c: false, and m as it was, if there is no such model */
bool x86_model_look_up(const char *name, X86CpuModel *m);

/* A model being made. */
typedef struct X86ModelParse {
    X86CpuModel *m;
    uint32_t avail[FW_COUNT], asked[FW_COUNT];
    bool check, enforce, level_set, xlevel_set, vendor_set;
    bool kvm;
} X86ModelParse;

/* model-text.c: one property or feature; item is written to. */
bool x86_model_option(X86ModelParse *p, char *item, Error **errp);

#endif
