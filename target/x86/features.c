/* SPDX-License-Identifier: MIT
 * target/x86/features.c - the names of CPU features, and which of them an engine can offer.
 * Models:  feature bits of Intel SDM volume 2 CPUID and AMD APM volume 3 appendix E.
 * Does not model: features no engine here has (AVX-512, TSX, VMX, SVM): they have names only.
 * Threads: main loop; names: any thread.
 */
#include "model-parts.h"
#include "decode.h"
#include "hostfp.h"
#include "rhea/accel/kvm.h"
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
const char *const x86_word_names[FW_COUNT] = {
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

bool x86_name_equal(const char *a, size_t n, const char *b)
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
        if (x86_name_equal(name, n, feature_aliases[i].alias)) {
            name = feature_aliases[i].name;
            n = strlen(name);
            break;
        }
    }
    for (unsigned w = 0; w < FW_COUNT; w++) {
        for (unsigned b = 0; b < 32; b++) {
            if (feature_names[w][b] && x86_name_equal(name, n, feature_names[w][b])) {
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

void x86_feature_set(uint32_t *words, unsigned feat, bool on)
{
    uint32_t bit = 1u << ((feat - 1) % 32);
    words[(feat - 1) / 32] = on ? words[(feat - 1) / 32] | bit : words[(feat - 1) / 32] & ~bit;
}

void x86_features_set(uint32_t *words, const char *list, bool on)
{
    while (list && *list) {
        size_t n = strcspn(list, " ");
        unsigned f = feature_number_n(list, n);
        g_assert(f); /* constant tables of features and models */
        x86_feature_set(words, f, on);
        list += n;
        list += strspn(list, " ");
    }
}

/* What can be offered: the engine's own features and those whose instructions insn.def has. */
void x86_features_available(uint32_t *words)
{
    memset(words, 0, sizeof(uint32_t) * FW_COUNT);
    x86_features_set(words, engine_features, true);
    for (unsigned i = 1; i <= x86_n_features; i++) {
        unsigned f = x86_feature_number(x86_feature_names[i]);
        if (f) {
            x86_feature_set(words, f, true);
        }
    }
    for (unsigned i = 0; i < G_N_ELEMENTS(host_features); i++) {
        if (!host_features[i].present()) {
            x86_features_set(words, host_features[i].name, false);
        }
    }
}

bool x86_model_on_kvm(const Machine *machine)
{
#ifdef HAVE_KVM
    return machine && kvm_used(machine);
#else
    return false;
#endif
}

void x86_model_features(const Machine *machine, uint32_t *words)
{
#ifdef HAVE_KVM
    if (x86_model_on_kvm(machine)) {
        x86_kvm_features(machine, words);
        return;
    }
#endif
    x86_features_available(words);
}

bool x86_feature_host_lacks(const char *name)
{
    for (unsigned i = 0; name && i < G_N_ELEMENTS(host_features); i++) {
        if (!strcmp(name, host_features[i].name)) {
            return !host_features[i].present();
        }
    }
    return false;
}

bool x86_has_feature(const X86Cpu *cpu, const char *flag)
{
    unsigned f = x86_feature_number(flag);
    return f && x86_has_bit(cpu, f);
}
