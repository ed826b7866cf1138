/* SPDX-License-Identifier: MIT
 * target/x86/model-table.c - the named CPU models.
 * Models:  feature lists of the processors named, with the names of QEMU 7.2.
 * Does not model: "-vN" versions that no other name has.
 * Threads: any: constant.
 */
#include "model-parts.h"
#include <string.h>

typedef struct ModelDef {
    const char *name, *base; /* features, numbers and brand that are not given come from the base */
    const char *vendor;
    uint16_t family, model, stepping;
    uint32_t level, xlevel;
    const char *brand;
    const char *add, *drop;
} ModelDef;

#define INTEL "GenuineIntel"
#define AMD   "AuthenticAMD"
#define PPRO "fpu de pse tsc msr mce cx8 pge cmov pat fxsr mmx sse sse2 pae sep apic "
#define CORE PPRO "vme clflush pse36 mca mtrr "
static const ModelDef models[] = {
    { "486", NULL, INTEL, 4, 8, 0, 1, 0, "", "fpu vme pse", NULL },
    { "Broadwell", "Haswell", INTEL, 6, 61, 2, 0xd, 0x80000008, "Intel Core Processor (Broadwell)",
      "rdseed adx smap 3dnowprefetch", NULL },
    { "Broadwell-IBRS", "Broadwell", NULL, 0, 0, 0, 0, 0, "Intel Core Processor (Broadwell, IBRS)",
      "spec-ctrl", NULL },
    { "Broadwell-noTSX", "Broadwell", NULL, 0, 0, 0, 0, 0, "Intel Core Processor (Broadwell, no TSX)", NULL,
      "hle rtm" },
    { "Broadwell-noTSX-IBRS", "Broadwell", NULL, 0, 0, 0, 0, 0,
      "Intel Core Processor (Broadwell, no TSX, IBRS)", "spec-ctrl", "hle rtm" },
    { "Cascadelake-Server", "Skylake-Server", INTEL, 6, 85, 6, 0xd, 0x80000008,
      "Intel Xeon Processor (Cascadelake)", "avx512vnni spec-ctrl ssbd clflushopt", NULL },
    { "Conroe", NULL, INTEL, 6, 15, 3, 10, 0x80000008, "Intel Celeron_4x0 (Conroe/Merom Class Core 2)",
      CORE "ssse3 pni lm nx syscall lahf-lm", NULL },
    { "EPYC", NULL, AMD, 23, 1, 2, 0xd, 0x8000001e, "AMD EPYC Processor",
      CORE
      "rdrand f16c avx xsave aes popcnt movbe sse4.2 sse4.1 cx16 fma ssse3 monitor pclmulqdq pni lm rdtscp "
      "pdpe1gb fxsr-opt mmxext nx syscall osvw 3dnowprefetch misalignsse sse4a abm cr8legacy lahf-lm topoext "
      "fsgsbase bmi1 avx2 smep bmi2 rdseed adx smap clflushopt sha-ni xsaveopt xsavec xgetbv1 arat",
      NULL },
    { "EPYC-IBPB", "EPYC", NULL, 0, 0, 0, 0, 0, "AMD EPYC Processor (with IBPB)", "ibpb", NULL },
    { "EPYC-Rome", "EPYC", AMD, 23, 49, 0, 0xd, 0x8000001e, "AMD EPYC-Rome Processor",
      "ibpb amd-stibp clzero xsaveerptr wbnoinvd clwb umip rdpid xsaves perfctr-core", NULL },
    { "Haswell", "IvyBridge", INTEL, 6, 60, 4, 0xd, 0x80000008, "Intel Core Processor (Haswell)",
      "fma pcid movbe bmi1 hle avx2 bmi2 invpcid rtm abm", NULL },
    { "Haswell-IBRS", "Haswell", NULL, 0, 0, 0, 0, 0, "Intel Core Processor (Haswell, IBRS)", "spec-ctrl",
      NULL },
    { "Haswell-noTSX", "Haswell", INTEL, 6, 60, 1, 0xd, 0x80000008, "Intel Core Processor (Haswell, no TSX)",
      NULL, "hle rtm" },
    { "Haswell-noTSX-IBRS", "Haswell-noTSX", NULL, 0, 0, 0, 0, 0,
      "Intel Core Processor (Haswell, no TSX, IBRS)", "spec-ctrl", NULL },
    { "IvyBridge", "SandyBridge", INTEL, 6, 58, 9, 0xd, 0x80000008, "Intel Xeon E3-12xx v2 (Ivy Bridge)",
      "f16c rdrand fsgsbase smep erms", NULL },
    { "IvyBridge-IBRS", "IvyBridge", NULL, 0, 0, 0, 0, 0, "Intel Xeon E3-12xx v2 (Ivy Bridge, IBRS)",
      "spec-ctrl", NULL },
    { "Nehalem", "Penryn", INTEL, 6, 26, 3, 11, 0x80000008, "Intel Core i7 9xx (Nehalem Class Core i7)",
      "popcnt sse4.2", NULL },
    { "Nehalem-IBRS", "Nehalem", NULL, 0, 0, 0, 0, 0, "Intel Core i7 9xx (Nehalem Core i7, IBRS update)",
      "spec-ctrl", NULL },
    { "Opteron_G1", NULL, AMD, 15, 6, 1, 5, 0x80000008, "AMD Opteron 240 (Gen 1 Class Opteron)",
      CORE "pni lm nx syscall", NULL },
    { "Opteron_G2", "Opteron_G1", AMD, 15, 6, 1, 5, 0x80000008, "AMD Opteron 22xx (Gen 2 Class Opteron)",
      "cx16 lahf-lm", NULL },
    { "Opteron_G3", "Opteron_G2", AMD, 16, 2, 3, 5, 0x80000008, "AMD Opteron 23xx (Gen 3 Class Opteron)",
      "popcnt monitor rdtscp misalignsse sse4a abm", NULL },
    { "Opteron_G4", "Opteron_G3", AMD, 21, 1, 2, 0xd, 0x8000001a, "AMD Opteron 62xx class CPU",
      "avx xsave aes sse4.2 sse4.1 ssse3 pclmulqdq pdpe1gb fma4 xop 3dnowprefetch", "monitor" },
    { "Opteron_G5", "Opteron_G4", AMD, 21, 2, 0, 0xd, 0x8000001a, "AMD Opteron 63xx class CPU",
      "f16c fma tbm", NULL },
    { "Penryn", "Conroe", INTEL, 6, 23, 3, 10, 0x80000008, "Intel Core 2 Duo P9xxx (Penryn Class Core 2)",
      "sse4.1 cx16", NULL },
    { "SandyBridge", "Westmere", INTEL, 6, 42, 1, 0xd, 0x80000008, "Intel Xeon E312xx (Sandy Bridge)",
      "avx xsave tsc-deadline x2apic rdtscp xsaveopt", NULL },
    { "SandyBridge-IBRS", "SandyBridge", NULL, 0, 0, 0, 0, 0, "Intel Xeon E312xx (Sandy Bridge, IBRS update)",
      "spec-ctrl", NULL },
    { "Skylake-Client", "Broadwell", INTEL, 6, 94, 3, 0xd, 0x80000008, "Intel Core Processor (Skylake)",
      "xsavec xgetbv1", NULL },
    { "Skylake-Client-IBRS", "Skylake-Client", NULL, 0, 0, 0, 0, 0, "Intel Core Processor (Skylake, IBRS)",
      "spec-ctrl", NULL },
    { "Skylake-Client-noTSX-IBRS", "Skylake-Client", NULL, 0, 0, 0, 0, 0,
      "Intel Core Processor (Skylake, IBRS, no TSX)", "spec-ctrl", "hle rtm" },
    { "Skylake-Server", "Skylake-Client", INTEL, 6, 85, 4, 0xd, 0x80000008, "Intel Xeon Processor (Skylake)",
      "pdpe1gb clwb avx512f avx512dq avx512bw avx512cd avx512vl pku", NULL },
    { "Skylake-Server-IBRS", "Skylake-Server", NULL, 0, 0, 0, 0, 0, "Intel Xeon Processor (Skylake, IBRS)",
      "spec-ctrl", NULL },
    { "Skylake-Server-noTSX-IBRS", "Skylake-Server", NULL, 0, 0, 0, 0, 0,
      "Intel Xeon Processor (Skylake, IBRS, no TSX)", "spec-ctrl", "hle rtm" },
    { "Westmere", "Nehalem", INTEL, 6, 44, 1, 11, 0x80000008, "Westmere E56xx/L56xx/X56xx (Nehalem-C)",
      "aes pclmulqdq arat", NULL },
    { "Westmere-IBRS", "Westmere", NULL, 0, 0, 0, 0, 0, "Westmere E56xx/L56xx/X56xx (IBRS update)",
      "spec-ctrl", NULL },
    { "athlon", NULL, AMD, 6, 2, 3, 2, 0x80000008, "Rhea Virtual CPU",
      PPRO "pse36 vme mtrr mca mmxext 3dnow 3dnowext", NULL },
    { "core2duo", NULL, INTEL, 6, 15, 11, 10, 0x80000008, "Intel(R) Core(TM)2 Duo CPU     T7700  @ 2.40GHz",
      CORE "acpi ss pni ssse3 cx16 monitor lm syscall nx lahf-lm", NULL },
    { "coreduo", NULL, INTEL, 6, 14, 8, 10, 0x80000008, "Genuine Intel(R) CPU           T2600  @ 2.16GHz",
      PPRO "vme mtrr clflush mca acpi ss pni monitor nx", NULL },
    { "kvm32", NULL, INTEL, 15, 6, 1, 5, 0x80000008, "Common 32-bit KVM processor", CORE "pni", NULL },
    { "kvm64", NULL, INTEL, 15, 6, 1, 0xd, 0x80000008, "Common KVM processor", CORE "pni cx16 lm syscall nx",
      NULL },
    { "n270", NULL, INTEL, 6, 28, 2, 10, 0x80000008, "Intel(R) Atom(TM) CPU N270   @ 1.60GHz",
      PPRO "vme mtrr clflush mca acpi ss pni ssse3 movbe monitor nx lahf-lm", NULL },
    { "pentium", NULL, INTEL, 5, 4, 3, 1, 0, "", "fpu vme pse de tsc msr mce cx8 mmx apic", NULL },
    { "pentium2", "pentium", INTEL, 6, 5, 2, 2, 0, "", "pae sep mtrr pge mca cmov pat pse36 fxsr", NULL },
    { "pentium3", "pentium2", INTEL, 6, 7, 3, 3, 0, "", "sse", NULL },
    { "phenom", NULL, AMD, 16, 2, 3, 5, 0x8000001a, "AMD Phenom(tm) 9550 Quad-Core Processor",
      CORE
      "pni monitor cx16 popcnt lm syscall nx mmxext 3dnow 3dnowext fxsr-opt pdpe1gb rdtscp lahf-lm abm sse4a",
      NULL },
    { "qemu32", NULL, INTEL, 6, 6, 3, 4, 0x80000004, "Rhea Virtual CPU", PPRO "pni", NULL },
    { "qemu64", NULL, AMD, 15, 107, 1, 0xd, 0x8000000a, "Rhea Virtual CPU",
      CORE "pni cx16 lm syscall nx lahf-lm", NULL },
    { "base", NULL, INTEL, 0, 0, 0, 0, 0, "", NULL, NULL },
    { "max", NULL, AMD, 15, 107, 1, 0x16, 0x80000021, "Rhea Virtual CPU (max)", NULL, NULL },
    { "host", NULL, NULL, 0, 0, 0, 0, 0, "", NULL, NULL }, /* x86_model_read_host() */
};

/* Versions that are other models' contents under a number (the names are QEMU's); every model is its own -v1. */
static const struct { const char *version, *name;
} model_versions[] = {
    { "Broadwell-v2", "Broadwell-noTSX" },
    { "Broadwell-v3", "Broadwell-IBRS" },
    { "Broadwell-v4", "Broadwell-noTSX-IBRS" },
    { "EPYC-v2", "EPYC-IBPB" },
    { "Haswell-v2", "Haswell-noTSX" },
    { "Haswell-v3", "Haswell-IBRS" },
    { "Haswell-v4", "Haswell-noTSX-IBRS" },
    { "IvyBridge-v2", "IvyBridge-IBRS" },
    { "Nehalem-v2", "Nehalem-IBRS" },
    { "SandyBridge-v2", "SandyBridge-IBRS" },
    { "Skylake-Client-v2", "Skylake-Client-IBRS" },
    { "Skylake-Client-v3", "Skylake-Client-noTSX-IBRS" },
    { "Skylake-Server-v2", "Skylake-Server-IBRS" },
    { "Skylake-Server-v3", "Skylake-Server-noTSX-IBRS" },
    { "Westmere-v2", "Westmere-IBRS" },
};

static const ModelDef *model_find(const char *name)
{
    for (unsigned i = 0; i < G_N_ELEMENTS(model_versions); i++) {
        if (!g_ascii_strcasecmp(name, model_versions[i].version)) {
            name = model_versions[i].name;
            break;
        }
    }
    for (unsigned i = 0; i < G_N_ELEMENTS(models); i++) {
        size_t n = strlen(models[i].name);
        if (!g_ascii_strncasecmp(models[i].name, name, n) && (!name[n] || !strcmp(name + n, "-v1") ||
                                                               !strcmp(name + n, "-x86_64-cpu"))) {
            return &models[i];
        }
    }
    return NULL;
}

static void def_expand(const ModelDef *d, X86CpuModel *m)
{
    if (d->base) {
        def_expand(model_find(d->base), m);
    }
    m->name = d->name;
    if (d->vendor) {
        g_strlcpy(m->vendor, d->vendor, sizeof(m->vendor));
        m->family = d->family;
        m->model = d->model;
        m->stepping = d->stepping;
        m->level = d->level;
        m->xlevel = d->xlevel;
    }
    g_strlcpy(m->model_id, d->brand, sizeof(m->model_id));
    x86_features_set(m->words, d->add, true);
    x86_features_set(m->words, d->drop, false);
}

bool x86_model_look_up(const char *name, X86CpuModel *m)
{
    const ModelDef *d = model_find(name);
    if (d) {
        def_expand(d, m);
    }
    return d != NULL;
}

const char *x86_model_name(unsigned i, const char **brand)
{
    if (i >= G_N_ELEMENTS(models)) {
        return NULL;
    }
    *brand = models[i].brand;
    return models[i].name;
}
