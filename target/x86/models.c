/* SPDX-License-Identifier: MIT
 * target/x86/models.c - named CPU models, feature names, and the text of -cpu.
 * Models:  feature lists of the processors named, with the names of QEMU 7.2; feature bits of Intel SDM
 * volume 2 CPUID and AMD APM volume 3 appendix E.
 * Does not model: features no engine here has (AVX-512, TSX,
 * VMX, SVM): a model's missing features are reported (check) or refused (enforce); "-vN" versions that no
 * other name has.
 * Threads: main loop, before the machine runs.
 */
#include "cpuid.h"
#include "model-query.h"
#include "decode.h"
#include "hostfp.h"
#include "rhea/accel/kvm.h"
#include "rhea/util/log.h"
#include "rhea/util/text.h"
#include <string.h>

/* Lowest bit first; NULL is reserved. */
static const char *const feature_names[FW_COUNT][32] = {
    [FW_1_EDX] = {
        "fpu", "vme", "de", "pse", "tsc", "msr", "pae", "mce", "cx8", "apic", NULL, "sep", "mtrr", "pge",
        "mca", "cmov", "pat", "pse36", "pn", "clflush", NULL, "ds", "acpi", "mmx", "fxsr", "sse", "sse2",
        "ss", "ht", "tm", "ia64", "pbe",
    },
    [FW_1_ECX] = {
        "pni", "pclmulqdq", "dtes64", "monitor", "ds-cpl", "vmx", "smx", "est", "tm2", "ssse3", "cid", NULL,
        "fma", "cx16", "xtpr", "pdcm", NULL, "pcid", "dca", "sse4.1", "sse4.2", "x2apic", "movbe", "popcnt",
        "tsc-deadline", "aes", "xsave", "osxsave", "avx", "f16c", "rdrand", "hypervisor",
    },
    [FW_7_EBX] = {
        "fsgsbase", "tsc-adjust", "sgx", "bmi1", "hle", "avx2", NULL, "smep", "bmi2", "erms", "invpcid",
        "rtm", NULL, NULL, "mpx", NULL, "avx512f", "avx512dq", "rdseed", "adx", "smap", "avx512ifma",
        "pcommit", "clflushopt", "clwb", "intel-pt", "avx512pf", "avx512er", "avx512cd", "sha-ni",
        "avx512bw", "avx512vl",
    },
    [FW_7_ECX] = {
        NULL, "avx512vbmi", "umip", "pku", "ospke", "waitpkg", "avx512vbmi2", NULL, "gfni", "vaes",
        "vpclmulqdq", "avx512vnni", "avx512bitalg", NULL, "avx512-vpopcntdq", NULL, "la57", NULL, NULL,
        NULL, NULL, NULL, "rdpid", NULL, "bus-lock-detect", "cldemote", NULL, "movdiri", "movdir64b", NULL,
        "sgxlc", "pks",
    },
    [FW_7_EDX] = {
        NULL, NULL, "avx512-4vnniw", "avx512-4fmaps", "fsrm", NULL, NULL, NULL, "avx512-vp2intersect", NULL,
        "md-clear", NULL, NULL, NULL, "serialize", NULL, "tsx-ldtrk", NULL, NULL, "arch-lbr", NULL, NULL,
        "amx-bf16", "avx512-fp16", "amx-tile", "amx-int8", "spec-ctrl", "stibp", NULL, "arch-capabilities",
        "core-capability", "ssbd",
    },
    [FW_81_EDX] = {
        NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, "syscall", NULL, NULL, NULL, NULL,
        NULL, NULL, NULL, "mp", "nx", NULL, "mmxext", NULL, NULL, "fxsr-opt", "pdpe1gb", "rdtscp", NULL,
        "lm", "3dnowext", "3dnow",
    },
    [FW_81_ECX] = {
        "lahf-lm", "cmp-legacy", "svm", "extapic", "cr8legacy", "abm", "sse4a", "misalignsse",
        "3dnowprefetch", "osvw", "ibs", "xop", "skinit", "wdt", NULL, "lwp", "fma4", "tce", NULL,
        "nodeid-msr", NULL, "tbm", "topoext", "perfctr-core", "perfctr-nb", NULL, NULL, NULL, NULL, NULL,
        NULL, NULL,
    },
    [FW_87_EDX] = {
        NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, "invtsc", NULL, NULL, NULL, NULL, NULL, NULL, NULL,
        NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL,
    },
    [FW_88_EBX] = {
        "clzero", NULL, "xsaveerptr", NULL, NULL, NULL, NULL, NULL, NULL, "wbnoinvd", NULL, NULL, "ibpb",
        NULL, "ibrs", "amd-stibp", NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, "amd-ssbd", "virt-ssbd",
        "amd-no-ssb", NULL, NULL, NULL, NULL, NULL,
    },
    [FW_D1_EAX] = {
        "xsaveopt", "xsavec", "xgetbv1", "xsaves", NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL,
        NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL,
        NULL, NULL, NULL,
    },
    [FW_6_EAX] = {
        NULL, NULL, "arat", NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL,
        NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL,
    },
    [FW_821_EAX] = {
        NULL, NULL, "lfence-always-serializing", NULL, NULL, NULL, "null-sel-clr-base", NULL, NULL, NULL, NULL, NULL, NULL,
        NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL,
    },
    [FW_KVM] = {
        NULL, "kvm-nopiodelay", NULL, "kvmclock", NULL, "kvm-steal-time", NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL,
        NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, "kvmclock-stable-bit", NULL, NULL, NULL, NULL, NULL, NULL, NULL,
    },
    [FW_CAPS] = {
        "rdctl-no", "ibrs-all", "rsba", "skip-l1dfl-vmentry", "ssb-no", "mds-no", "pschange-mc-no",
        "tsx-ctrl", "taa-no", NULL, NULL, NULL, NULL, "sbdr-ssdp-no", "fbsdp-no", "psdp-no", NULL, NULL,
        NULL, NULL, "bhi-no", NULL, NULL, NULL, "pbrsb-no", NULL, NULL, NULL, NULL, NULL, NULL, NULL,
    },
};
static const char *const word_names[FW_COUNT] = {
    "CPUID.01H:EDX",       "CPUID.01H:ECX",       "CPUID.07H:EBX",       "CPUID.07H:ECX",
    "CPUID.07H:EDX",       "CPUID.80000001H:EDX", "CPUID.80000001H:ECX", "CPUID.80000007H:EDX",
    "CPUID.80000008H:EBX", "CPUID.0DH.1:EAX",     "CPUID.06H:EAX",       "MSR 10AH",
    "CPUID.80000021H:EAX", "KVM feature leaf",
};

static const struct { const char *alias, *name;
} feature_aliases[] = {
    { "sse3", "pni" },           { "sse4-1", "sse4.1" },    { "sse4-2", "sse4.2" },
    { "lzcnt", "abm" },          { "i64", "lm" },           { "xd", "nx" },
    { "pclmuldq", "pclmulqdq" }, { "pclmul", "pclmulqdq" }, { "tsc_adjust", "tsc-adjust" },
    { "ffxsr", "fxsr-opt" },     { "sse4.1", "sse4.1" },    { "sse41", "sse4.1" },
    { "sse42", "sse4.2" },       { "lahf", "lahf-lm" },     { "sha", "sha-ni" },
    { "rdrnd", "rdrand" },
};

/* Store-triggered wake-up does not exist here, so MWAIT would only burn time; real topology decides on HT. A guest that
 * sees LA57 walks five levels instead of four for address space it has no use for: +la57 asks for it. */
static const char never_by_default[] = "monitor ht cmp-legacy la57";

/* What every engine here does besides instructions named by a feat= of insn.def. */
static const char engine_features[] =
    "fpu vme de pse tsc msr pae mce cx8 apic sep mtrr pge mca cmov pat pse36 clflush acpi mmx fxsr sse sse2 "
    "ss ht "
    "pcid x2apic tsc-deadline hypervisor tsc-adjust smep erms smap umip pku la57 pks fsrm md-clear spec-ctrl stibp ssbd "
    "arch-capabilities syscall nx pdpe1gb lm cmp-legacy cr8legacy 3dnowprefetch osvw topoext invtsc ibpb "
    "arat xgetbv1 "
    "rdctl-no ibrs-all skip-l1dfl-vmentry ssb-no mds-no pschange-mc-no taa-no sbdr-ssdp-no fbsdp-no psdp-no "
    "bhi-no pbrsb-no lfence-always-serializing null-sel-clr-base kvm-nopiodelay kvmclock kvmclock-stable-bit";

/* Features whose instructions run on the host's own: without those they are not offered. */
static const struct { const char *name; bool (*present)(void);
} host_features[] = { { "fma", hostfma_present }, { "f16c", hostf16c_present } };

/* Features that mean nothing without another one (SDM volume 1, 13.2, 14.3, 14.4.1, 14.5.3, 14.7.1). */
static const struct { const char *base, *need;
} feature_needs[] = {
    { "xsave", "avx xsaveopt xsavec xgetbv1 xsaves" },
    { "hypervisor", "kvmclock kvm-nopiodelay kvmclock-stable-bit kvm-steal-time" },
    { "kvmclock", "kvmclock-stable-bit" },
    { "avx", "fma f16c avx2 vaes vpclmulqdq xop fma4" },
};

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

static bool name_equal(const char *a, size_t n, const char *b)
{
    for (; n && *b; n--, a++, b++) {
        if (g_ascii_tolower(*a == '_' ? '-' : *a) != g_ascii_tolower(*b == '_' ? '-' : *b)) {
            return false;
        }
    }
    return n == 0 && !*b;
}

static unsigned feature_number_n(const char *name, size_t n)
{
    for (unsigned i = 0; i < G_N_ELEMENTS(feature_aliases); i++) {
        if (name_equal(name, n, feature_aliases[i].alias)) {
            name = feature_aliases[i].name;
            n = strlen(name);
            break;
        }
    }
    for (unsigned w = 0; w < FW_COUNT; w++) {
        for (unsigned b = 0; b < 32; b++) {
            if (feature_names[w][b] && name_equal(name, n, feature_names[w][b])) {
                return FEAT(w, b);
            }
        }
    }
    return 0;
}

unsigned x86_feature_number(const char *name)
{
    return feature_number_n(name, strlen(name));
}

const char *x86_feature_name(unsigned word, unsigned bit)
{
    return feature_names[word][bit];
}

static void words_set(uint32_t *words, unsigned feat, bool on)
{
    uint32_t bit = 1u << ((feat - 1) % 32);
    words[(feat - 1) / 32] = on ? words[(feat - 1) / 32] | bit : words[(feat - 1) / 32] & ~bit;
}

static void words_apply(uint32_t *words, const char *list, bool on)
{
    while (list && *list) {
        size_t n = strcspn(list, " ");
        unsigned f = feature_number_n(list, n);
        g_assert(f); /* constant tables of this file */
        words_set(words, f, on);
        list += n;
        list += strspn(list, " ");
    }
}

/* What can be offered: the engine's own features and those whose instructions insn.def has. */
void x86_features_available(uint32_t *words)
{
    memset(words, 0, sizeof(uint32_t) * FW_COUNT);
    words_apply(words, engine_features, true);
    for (unsigned i = 1; i <= x86_n_features; i++) {
        unsigned f = x86_feature_number(x86_feature_names[i]);
        if (f) {
            words_set(words, f, true);
        }
    }
    for (unsigned i = 0; i < G_N_ELEMENTS(host_features); i++) {
        if (!host_features[i].present()) {
            words_apply(words, host_features[i].name, false);
        }
    }
}

void x86_features_set(uint32_t *words, const char *list, bool on)
{
    words_apply(words, list, on);
}

static bool machine_on_kvm(const Machine *machine)
{
#ifdef HAVE_KVM
    return machine && kvm_used(machine);
#else
    return false;
#endif
}

static void machine_features(const Machine *machine, uint32_t *words)
{
#ifdef HAVE_KVM
    if (machine_on_kvm(machine)) {
        x86_kvm_features(machine, words);
        return;
    }
#endif
    x86_features_available(words);
}

static bool host_lacks(const char *name)
{
    for (unsigned i = 0; name && i < G_N_ELEMENTS(host_features); i++) {
        if (!strcmp(name, host_features[i].name)) {
            return !host_features[i].present();
        }
    }
    return false;
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
    words_apply(m->words, d->add, true);
    words_apply(m->words, d->drop, false);
}

/* --- the text of -cpu --- */

typedef struct ModelParse {
    X86CpuModel *m;
    uint32_t avail[FW_COUNT], asked[FW_COUNT];
    bool check, enforce, level_set, xlevel_set, vendor_set;
    bool kvm;
} ModelParse;

static bool option_number(const char *name, const char *val, uint64_t max, uint64_t *out, Error **errp)
{
    if (!text_to_u64(val, out, errp)) {
        error_prefix(errp, "-cpu property '%s'", name);
        return false;
    }
    if (*out > max) {
        return error_set(errp, "-cpu property '%s': %s is more than %" PRIu64, name, val, max);
    }
    return true;
}

/* Hz, with the decimal suffixes k, M, G. */
static bool option_hz(const char *val, uint64_t *out, Error **errp)
{
    char *end;
    double v = g_ascii_strtod(val, &end);
    double scale = *end == 'k' || *end == 'K' ? 1e3 : *end == 'M' ? 1e6 : *end == 'G' ? 1e9 : 1;
    if (end == val || (*end && (scale == 1 || end[1])) || !(v * scale >= 1e6 && v * scale <= 1e11)) {
        return error_set(
            errp, "-cpu property 'tsc-frequency': '%s' is not a frequency from 1M to 100G (in Hz)", val);
    }
    *out = (uint64_t)(v * scale + 0.5);
    return true;
}

static const char *const option_names[] = { "check",  "enforce",   "vendor",        "family",
                                            "model",  "stepping",  "model-id",      "level",
                                            "xlevel", "phys-bits", "tsc-frequency", NULL };

/* Unknown names: *known = false. */
static bool option_value(ModelParse *p, const char *name, const char *val, bool *known, Error **errp)
{
    X86CpuModel *m = p->m;
    uint64_t n = 0;
    *known = true;
#define IS(text) name_equal(name, strlen(name), (text))
    if (IS("check") || IS("enforce")) {
        return text_to_bool(val, IS("check") ? &p->check : &p->enforce, errp);
    } else if (IS("vendor")) {
        if (strlen(val) != 12) {
            return error_set(errp, "-cpu property 'vendor': '%s' is not 12 characters long", val);
        }
        g_strlcpy(m->vendor, val, sizeof(m->vendor));
        p->vendor_set = true;
    } else if (IS("model-id")) {
        g_strlcpy(m->model_id, val, sizeof(m->model_id));
    } else if (IS("family")) {
        if (!option_number(name, val, 0xff + 0xf, &n, errp)) {
            return false;
        }
        m->family = (uint32_t)n;
    } else if (IS("model")) {
        if (!option_number(name, val, 0xff, &n, errp)) {
            return false;
        }
        m->model = (uint32_t)n;
    } else if (IS("stepping")) {
        if (!option_number(name, val, 0xf, &n, errp)) {
            return false;
        }
        m->stepping = (uint32_t)n;
    } else if (IS("level") || IS("xlevel")) {
        bool x = IS("xlevel");
        if (!option_number(name, val, UINT32_MAX, &n, errp)) {
            return false;
        }
        *(x ? &m->xlevel : &m->level) = (uint32_t)n;
        *(x ? &p->xlevel_set : &p->level_set) = true;
    } else if (IS("phys-bits")) {
        if (!option_number(name, val, 52, &n, errp)) {
            return false;
        }
        if (n < 32) {
            return error_set(errp, "-cpu property 'phys-bits': %s is less than 32", val);
        }
        m->phys_bits = (uint32_t)n;
    } else if (IS("tsc-frequency")) {
        m->tsc_hz_set = true;
        return option_hz(val, &m->tsc_hz, errp);
    } else {
        *known = false;
    }
#undef IS
    return true;
}

/* Names that other programs know, and why they are none here. A name that ends in '-' stands for all that begin so. */
static const struct { const char *name, *why, *hint;
} refused_names[] = {
    { "hv-", "Hyper-V enlightenments are not offered", "leave them out: Windows runs without, with its plain timers and APIC" },
    { "kvm-pv-eoi", "it saves an exit that processors with APIC virtualization do not have", "leave it out" },
    { "kvm-asyncpf", "page faults of the host are not told to guests", "leave it out" },
    { "kvm-asyncpf-int", "page faults of the host are not told to guests", "leave it out" },
    { "kvm-pv-unhalt", "hypercalls of guests are not answered", "leave it out" },
    { "kvm-pv-tlb-flush", "CPUs flush their own TLBs", "leave it out" },
    { "kvm-pv-ipi", "hypercalls of guests are not answered", "leave it out" },
    { "kvm-pv-sched-yield", "hypercalls of guests are not answered", "leave it out" },
    { "kvm-pv-enforce-cpuid", "hypercalls of guests are not answered", "leave it out" },
    { "kvm-poll-control", "halts are polled as the host's kernel decides", "leave it out" },
    { "kvm-msi-ext-dest-id", "messages reach 255 CPUs without it", "leave it out" },
    { "kvm-hint-dedicated", "it needs kvm-poll-control and exits that are switched off", "use -overcommit cpu-pm=on" },
    { "kvm-mmu", "it has been obsolete since Linux 3.3", "leave it out" },
    { "kvm", "the KVM leaves go with the bit 'hypervisor'", "use -hypervisor" },
    { "migratable", "what saved state cannot carry is never offered", "leave it out" },
    { "pmu", "there are no performance counters", "leave it out" },
};

static bool option_refused(const char *name, Error **errp)
{
    for (unsigned i = 0; i < G_N_ELEMENTS(refused_names); i++) {
        size_t n = strlen(refused_names[i].name);
        bool prefix = refused_names[i].name[n - 1] == '-';
        if (name_equal(name, prefix ? MIN(n, strlen(name)) : strlen(name), refused_names[i].name)) {
            error_set(errp, "-cpu: '%s' is not there: %s", name, refused_names[i].why);
            error_hint(errp, "%s", refused_names[i].hint);
            return true;
        }
    }
    return false;
}

static bool option_unknown(const char *name, Error **errp)
{
    if (option_refused(name, errp)) {
        return false;
    }
    g_autoptr(GPtrArray) names = g_ptr_array_new();
    for (unsigned w = 0; w < FW_COUNT; w++) {
        for (unsigned b = 0; b < 32; b++) {
            const char *n = x86_feature_name(w, b);
            if (n) {
                g_ptr_array_add(names, (void *)n);
            }
        }
    }
    for (unsigned i = 0; option_names[i]; i++) {
        g_ptr_array_add(names, (void *)option_names[i]);
    }
    g_ptr_array_add(names, NULL);
    error_set(errp, "-cpu: unknown feature or property '%s'", name);
    error_hint_nearest(errp, name, (const char *const *)names->pdata);
    if (errp && *errp && !error_hint_text(*errp)) {
        error_hint(errp, "'-cpu help' lists the feature names");
    }
    return false;
}

static bool option_one(ModelParse *p, char *item, Error **errp)
{
    bool on = true, known = false;
    char *eq = strchr(item, '=');
    if (*item == '+' || *item == '-') {
        on = *item++ == '+';
        eq = NULL;
    } else if (eq) {
        *eq++ = 0;
        if (!option_value(p, item, eq, &known, errp) || known) {
            return known && !(errp && *errp);
        }
    } else if (!option_value(p, item, "on", &known, errp) || known) {
        return known && !(errp && *errp);
    }
    unsigned f = x86_feature_number(item);
    if (!f) {
        return option_unknown(item, errp);
    }
    if (eq && !text_to_bool(eq, &on, errp)) {
        error_prefix(errp, "-cpu feature '%s'", item);
        return false;
    }
    words_set(p->m->words, f, on);
    words_set(p->asked, f, on);
    return true;
}

/* Takes away what its base feature left alone; says so when it was asked for by name. */
static void model_dependencies(ModelParse *p)
{
    for (unsigned i = 0; i < G_N_ELEMENTS(feature_needs); i++) {
        unsigned base = x86_feature_number(feature_needs[i].base) - 1;
        if (p->m->words[base / 32] >> (base % 32) & 1) {
            continue;
        }
        uint32_t lost[FW_COUNT] = { 0 };
        words_apply(lost, feature_needs[i].need, true);
        for (unsigned f = 0; f < FW_COUNT * 32; f++) {
            if ((lost[f / 32] & p->m->words[f / 32] & p->asked[f / 32]) >> (f % 32) & 1) {
                log_warn("CPU feature '%s' is left out: it needs '%s', which is off", x86_feature_name(f / 32, f % 32),
                         feature_needs[i].base);
            }
        }
        words_apply(p->m->words, feature_needs[i].need, false);
    }
}

/* Masks what cannot be offered; says so (check) or fails (enforce). */
static bool model_mask(ModelParse *p, Error **errp)
{
    X86CpuModel *m = p->m;
    g_autoptr(GString) missing = g_string_new(NULL);
    for (unsigned w = 0; w < FW_COUNT; w++) {
        uint32_t lack = m->words[w] & ~p->avail[w];
        for (unsigned b = 0; b < 32; b++) {
            if (lack >> b & 1) {
                const char *n = x86_feature_name(w, b);
                g_string_append_printf(missing, "%s%s [%s bit %u%s]", missing->len ? ", " : "", n ? n : "?",
                                       word_names[w], b, host_lacks(n) ? "; the host's CPU lacks it" : "");
            }
        }
        m->words[w] &= p->avail[w];
    }
    if (!missing->len) {
        return true;
    }
    if (p->enforce) {
        error_set(errp, "CPU model '%s' cannot be offered in full: missing %s", m->name, missing->str);
        error_hint(errp, "leave out 'enforce', switch these features off, or use -cpu max");
        return false;
    }
    if (p->check) {
        log_warn("CPU model '%s' without features this accelerator lacks: %s", m->name, missing->str);
    }
    return true;
}

/* Levels grow as far as the features need, unless level= or xlevel= say otherwise. */
static void model_levels(ModelParse *p)
{
    X86CpuModel *m = p->m;
    static const struct { unsigned word; uint32_t level;
    } need[] = {
        { FW_1_EDX, 1 },           { FW_1_ECX, 1 },           { FW_6_EAX, 6 },
        { FW_7_EBX, 7 },           { FW_7_ECX, 7 },           { FW_7_EDX, 7 },
        { FW_D1_EAX, 0xd },        { FW_81_EDX, 0x80000001 }, { FW_81_ECX, 0x80000001 },
        { FW_87_EDX, 0x80000007 }, { FW_88_EBX, 0x80000008 },
        { FW_821_EAX, 0x80000021 },
    };
    for (unsigned i = 0; i < G_N_ELEMENTS(need); i++) {
        bool x = need[i].level >> 31;
        uint32_t *l = x ? &m->xlevel : &m->level;
        if (m->words[need[i].word] && *l < need[i].level && !(x ? p->xlevel_set : p->level_set)) {
            *l = need[i].level;
        }
    }
    if ((m->words[FW_1_ECX] >> 26 & 1) && m->level < 0xd && !p->level_set) {
        m->level = 0xd;
    }
}

static void model_defaults(X86CpuModel *m)
{
    if (!m->phys_bits) {
        bool lm = m->words[FW_81_EDX] >> 29 & 1, pse36 = m->words[FW_1_EDX] >> 17 & 1,
             pae = m->words[FW_1_EDX] >> 6 & 1;
        m->phys_bits = lm ? 40 : pse36 || pae ? 36 : 32;
    }
    if (!m->tsc_hz) {
        m->tsc_hz = 1000000000;
    }
    m->amd = !strcmp(m->vendor, AMD) || !strcmp(m->vendor, "HygonGenuine");
}

static void model_max(ModelParse *p)
{
    X86CpuModel *m = p->m;
    memcpy(m->words, p->avail, sizeof(m->words));
    words_apply(m->words, never_by_default, false);
}

/* The host's features as far as they can be offered: like max, it has all it can have and warns of nothing. */
static bool model_host(ModelParse *p, Error **errp)
{
    X86CpuModel *m = p->m;
    if (!x86_model_read_host(m, errp)) {
        return false;
    }
    m->words[FW_821_EAX] = m->words[FW_KVM] = UINT32_MAX; /* what the engine does, whatever the host */
    if (p->kvm) { /* its list is of the host's features, and of some it emulates */
        memset(m->words, 0xff, sizeof(m->words));
    }
    for (unsigned w = 0; w < FW_COUNT; w++) {
        m->words[w] &= p->avail[w];
    }
    words_apply(m->words, never_by_default, false);
    return true;
}

static bool item_is_help(const char *item)
{
    return !strcmp(item, "help") || !strcmp(item, "?");
}

/* Under KVM the vendor is the host's: SYSCALL, SYSENTER and much of what software does about errata follow it. */
static bool model_for_kvm(ModelParse *p, Error **errp)
{
    X86CpuModel host = { .name = "host" };
    if (!p->kvm || !x86_model_read_host(&host, p->kvm ? errp : NULL)) {
        return !p->kvm;
    }
    if (!p->vendor_set) {
        g_strlcpy(p->m->vendor, host.vendor, sizeof(p->m->vendor));
    }
    if (!p->m->phys_bits) {
        p->m->phys_bits = host.phys_bits;
    }
    return true;
}

static X86CpuModel *model_make(const Machine *machine, const char *text, bool quiet, uint32_t *wanted, Error **errp)
{
    g_auto(GStrv) items = g_strsplit(text, ",", -1);
    const char *name = items[0] ? items[0] : "";
    const ModelDef *d = model_find(name);
    if (!d) {
        const char *names[G_N_ELEMENTS(models) + 1] = { NULL };
        for (unsigned i = 0; i < G_N_ELEMENTS(models); i++) {
            names[i] = models[i].name;
        }
        error_set(errp, "unknown CPU model '%s'", name);
        error_hint_nearest(errp, name, names);
        if (errp && *errp && !error_hint_text(*errp)) {
            error_hint(errp, "'-cpu help' lists the models");
        }
        return NULL;
    }
    g_autofree X86CpuModel *m = g_new0(X86CpuModel, 1);
    ModelParse p = { .m = m, .check = !quiet, .kvm = machine_on_kvm(machine) };
    machine_features(machine, p.avail);
    def_expand(d, m);
    if (!strcmp(d->name, "max")) {
        model_max(&p);
    } else if (!strcmp(d->name, "host") && !model_host(&p, errp)) {
        return NULL;
    }
    words_apply(m->words, strcmp(d->name, "base") ? "hypervisor" : NULL, true);
    const char *board = machine && machine->board ? machine->board->cpu_features : NULL;
    if ((p.kvm || board) && strcmp(d->name, "base")) { /* as users of KVM, or guests of the board, expect of every model */
        uint32_t usual[FW_COUNT] = { 0 };
        words_apply(usual, board, true);
        words_apply(usual, p.kvm ? "kvmclock kvm-nopiodelay kvmclock-stable-bit kvm-steal-time x2apic" : NULL, true);
        for (unsigned w = 0; w < FW_COUNT; w++) {
            m->words[w] |= usual[w] & p.avail[w];
        }
    }
    for (unsigned i = 1; items[i]; i++) {
        Error *err = NULL;
        if (*items[i] && !(wanted && item_is_help(items[i])) && !option_one(&p, items[i], &err)) {
            error_propagate(errp, err);
            return NULL;
        }
    }
    if (wanted) {
        memcpy(wanted, m->words, sizeof(m->words));
    }
    if (!model_mask(&p, errp)) {
        return NULL;
    }
    model_dependencies(&p);
    if (!model_for_kvm(&p, errp)) {
        return NULL;
    }
    model_levels(&p);
    model_defaults(m);
    return g_steal_pointer(&m);
}

X86CpuModel *x86_model_make(const char *text, bool quiet, uint32_t *wanted, Error **errp)
{
    return model_make(NULL, text, quiet, wanted, errp);
}

X86CpuModel *x86_model_make_on(Machine *machine, const char *text, uint32_t *wanted, Error **errp)
{
    return model_make(machine, text, true, wanted, errp);
}

bool x86_model_parse(Machine *machine, const char *text, Error **errp)
{
    X86CpuModel *m = model_make(machine, text, false, NULL, errp);
    if (!m) {
        return false;
    }
    x86_model_free(machine);
    machine->cpu_model = m;
    return true;
}

/* Machine.accel is the accelerator that shall go on. */
bool x86_model_fits(Machine *machine, Error **errp)
{
    const X86CpuModel *m = machine->cpu_model;
    uint32_t avail[FW_COUNT], shown[FW_COUNT] = { 0 };
    g_autoptr(GString) missing = g_string_new(NULL);
    machine_features(machine, avail);
    x86_features_set(avail, "kvm-steal-time", true); /* where nobody counts, it stands still */
#ifdef HAVE_KVM
    if (machine_on_kvm(machine)) {
        x86_kvm_shown(machine, shown);
    }
#endif
    for (unsigned w = 0; w < FW_COUNT; w++) {
        for (unsigned b = 0; b < 32; b++) {
            const char *name = (m->words[w] & ~avail[w] & ~shown[w]) >> b & 1 ? x86_feature_name(w, b) : NULL;
            if (name) {
                g_string_append_printf(missing, "%s%s", missing->len ? ", " : "", name);
            }
        }
    }
    if (missing->len) {
        error_set(errp, "the guest's CPU has features that accelerator '%s' lacks here: %s", machine->accel->name,
                  missing->str);
        error_hint(errp, "start the machine with these switched off (-cpu MODEL,-FEATURE,...), then it can move");
        return false;
    }
    return true;
}

void x86_model_free(Machine *m)
{
    g_free(m->cpu_model);
    m->cpu_model = NULL;
}

const char *x86_model_name(unsigned i, const char **brand)
{
    if (i >= G_N_ELEMENTS(models)) {
        return NULL;
    }
    *brand = models[i].brand;
    return models[i].name;
}

bool x86_has_feature(const X86Cpu *cpu, const char *flag)
{
    unsigned f = x86_feature_number(flag);
    return f && x86_has_bit(cpu, f);
}
