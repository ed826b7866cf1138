/* SPDX-License-Identifier: MIT
 * target/x86/model-parts.h - what the pieces that make CPU models offer each other.
 */
#ifndef TARGET_X86_MODEL_PARTS_H
#define TARGET_X86_MODEL_PARTS_H

#include "cpuid.h"

/* feature-names.c */
const char *x86_feature_word(unsigned word); /* "CPUID.01H:EDX" */
const char *x86_feature_alias(unsigned i);   /* another name that lists have, too; NULL: no more */
bool x86_name_equal(const char *a, size_t n, const char *b); /* of n characters; '_' is '-', case does not count */
void x86_feature_set(uint32_t *words, unsigned feat, bool on);

/* features.c */
bool x86_feature_host_lacks(const char *name); /* its instructions would run on the host's own, which has none */
bool x86_model_on_kvm(const Machine *machine);
void x86_model_features(const Machine *machine, uint32_t *words); /* what its accelerator can offer; NULL: the software engine */

/* model-list.c: ends with a row without a name. What a row leaves out (NULL, 0) is that of its base. */
typedef struct X86ModelDef {
    const char *name;
    uint8_t version;    /* 0: the model has none */
    const char *alias;  /* another name of this version; NULL: none */
    const char *base;   /* a model's name, with its version; NULL: nothing is on */
    const char *vendor;
    uint16_t family, model, stepping;
    uint32_t level, xlevel;
    const char *brand;
    const char *add, *drop; /* features, with single spaces between */
} X86ModelDef;
extern const X86ModelDef x86_model_defs[];
#define X86_CPU_TYPE_SUFFIX "-x86_64-cpu" /* a model's name and this is the type of its CPU objects */

/* model-table.c: false, and m as it was, if there is no such model */
bool x86_model_look_up(const char *name, X86CpuModel *m);

/* A model being made. */
typedef struct X86ModelParse {
    X86CpuModel *m;
    uint32_t avail[FW_COUNT], asked[FW_COUNT];
    bool quiet, level_set, xlevel_set, vendor_set;
    bool kvm;
} X86ModelParse;

/* model-props.c. *known = false: no such property. */
void x86_model_property_defaults(X86CpuModel *m);
bool x86_model_property_set(X86ModelParse *p, const char *name, const char *val, bool *known, Error **errp);
/* Why a name that other programs know is none here, or cannot be on; NULL: it is not one of those. */
const char *x86_model_refused(const char *name, const char **hint);
const char *x86_model_refused_name(unsigned i); /* those that can be off; NULL: no more */

/* model-text.c: one property or feature; item is written to. */
bool x86_model_option(X86ModelParse *p, char *item, Error **errp);

#endif
