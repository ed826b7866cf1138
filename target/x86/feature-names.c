/* SPDX-License-Identifier: MIT
 * target/x86/feature-names.c - the names of CPU features, and where each is told.
 * Models:  feature bits of Intel SDM volume 2 CPUID, volume 3 appendix A (VMX) and volume 4 (MSRs), AMD APM volume 3
 *          appendix E, VIA's PadLock leaf, and the KVM leaves (Linux, Documentation/virt/kvm/x86/cpuid.rst).
 * Does not model: what they do. The words from FW_PERF_CAPS on are names only: programs ask for them.
 * Threads: any: constant.
 */
#include "model-parts.h"
#include <string.h>

static const struct {
    const char *title;
    const char *bit[32]; /* NULL: reserved, or nobody names it */
} words[FW_COUNT] = {
    [FW_1_EDX] = { "CPUID.01H:EDX", {
        "fpu", "vme", "de", "pse", "tsc", "msr", "pae", "mce", "cx8", "apic", [11] = "sep", "mtrr", "pge",
        "mca", "cmov", "pat", "pse36", "pn", "clflush", [21] = "ds", "acpi", "mmx", "fxsr", "sse", "sse2", "ss",
        "ht", "tm", "ia64", "pbe",
    } },
    [FW_1_ECX] = { "CPUID.01H:ECX", {
        "pni", "pclmulqdq", "dtes64", "monitor", "ds-cpl", "vmx", "smx", "est", "tm2", "ssse3", "cid",
        [12] = "fma", "cx16", "xtpr", "pdcm", [17] = "pcid", "dca", "sse4.1", "sse4.2", "x2apic", "movbe",
        "popcnt", "tsc-deadline", "aes", "xsave", "osxsave", "avx", "f16c", "rdrand", "hypervisor",
    } },
    [FW_7_EBX] = { "CPUID.07H:EBX", {
        "fsgsbase", "tsc-adjust", "sgx", "bmi1", "hle", "avx2", [7] = "smep", "bmi2", "erms", "invpcid", "rtm",
        [14] = "mpx", [16] = "avx512f", "avx512dq", "rdseed", "adx", "smap", "avx512ifma", "pcommit",
        "clflushopt", "clwb", "intel-pt", "avx512pf", "avx512er", "avx512cd", "sha-ni", "avx512bw", "avx512vl",
    } },
    [FW_7_ECX] = { "CPUID.07H:ECX", {
        [1] = "avx512vbmi", "umip", "pku", "ospke", "waitpkg", "avx512vbmi2", [8] = "gfni", "vaes",
        "vpclmulqdq", "avx512vnni", "avx512bitalg", [14] = "avx512-vpopcntdq", [16] = "la57", [22] = "rdpid",
        [24] = "bus-lock-detect", "cldemote", [27] = "movdiri", "movdir64b", [30] = "sgxlc", "pks",
    } },
    [FW_7_EDX] = { "CPUID.07H:EDX", {
        [2] = "avx512-4vnniw", "avx512-4fmaps", "fsrm", [8] = "avx512-vp2intersect", [10] = "md-clear",
        [14] = "serialize", [16] = "tsx-ldtrk", [19] = "arch-lbr", [22] = "amx-bf16", "avx512-fp16", "amx-tile",
        "amx-int8", "spec-ctrl", "stibp", [29] = "arch-capabilities", "core-capability", "ssbd",
    } },
    [FW_71_EAX] = { "CPUID.07H.1:EAX", {
        [4] = "avx-vnni", "avx512-bf16",
    } },
    [FW_81_EDX] = { "CPUID.80000001H:EDX", {
        [11] = "syscall", [20] = "nx", [22] = "mmxext", [25] = "fxsr-opt", "pdpe1gb", "rdtscp",
        [29] = "lm", "3dnowext", "3dnow",
    } },
    [FW_81_ECX] = { "CPUID.80000001H:ECX", {
        "lahf-lm", "cmp-legacy", "svm", "extapic", "cr8legacy", "abm", "sse4a", "misalignsse", "3dnowprefetch",
        "osvw", "ibs", "xop", "skinit", "wdt", [15] = "lwp", "fma4", "tce", [19] = "nodeid-msr", [21] = "tbm",
        "topoext", "perfctr-core", "perfctr-nb",
    } },
    [FW_87_EDX] = { "CPUID.80000007H:EDX", {
        [8] = "invtsc",
    } },
    [FW_88_EBX] = { "CPUID.80000008H:EBX", {
        "clzero", [2] = "xsaveerptr", [9] = "wbnoinvd", [12] = "ibpb", [14] = "ibrs", "amd-stibp",
        [24] = "amd-ssbd", "virt-ssbd", "amd-no-ssb",
    } },
    [FW_C1_EDX] = { "CPUID.C0000001H:EDX", {
        [2] = "xstore", "xstore-en", [6] = "xcrypt", "xcrypt-en", "ace2", "ace2-en", "phe", "phe-en", "pmm",
        "pmm-en",
    } },
    [FW_KVM] = { "KVM feature leaf", {
        [1] = "kvm-nopiodelay", "kvm-mmu", "kvmclock", "kvm-asyncpf", "kvm-steal-time", "kvm-pv-eoi",
        "kvm-pv-unhalt", [9] = "kvm-pv-tlb-flush", [11] = "kvm-pv-ipi", "kvm-poll-control",
        "kvm-pv-sched-yield", "kvm-asyncpf-int", "kvm-msi-ext-dest-id", [24] = "kvmclock-stable-bit",
    } },
    [FW_KVM_HINTS] = { "KVM hints leaf", {
        "kvm-hint-dedicated",
    } },
    [FW_8A_EDX] = { "CPUID.8000000AH:EDX", {
        "npt", "lbrv", "svm-lock", "nrip-save", "tsc-scale", "vmcb-clean", "flushbyasid", "decodeassists",
        [10] = "pause-filter", [12] = "pfthreshold", "avic", [15] = "v-vmsave-vmload", "vgif",
        [28] = "svme-addr-chk",
    } },
    [FW_D1_EAX] = { "CPUID.0DH.1:EAX", {
        "xsaveopt", "xsavec", "xgetbv1", "xsaves", "xfd",
    } },
    [FW_6_EAX] = { "CPUID.06H:EAX", {
        [2] = "arat",
    } },
    [FW_821_EAX] = { "CPUID.80000021H:EAX", {
        [2] = "lfence-always-serializing", [6] = "null-sel-clr-base",
    } },
    [FW_CAPS] = { "MSR 10AH", {
        "rdctl-no", "ibrs-all", "rsba", "skip-l1dfl-vmentry", "ssb-no", "mds-no", "pschange-mc-no", "tsx-ctrl",
        "taa-no", [13] = "sbdr-ssdp-no", "fbsdp-no", "psdp-no", [20] = "bhi-no", [24] = "pbrsb-no",
    } },
    [FW_CORE_CAPS] = { "MSR CFH", {
        [5] = "split-lock-detect",
    } },
    [FW_PERF_CAPS] = { "MSR 345H", {
        [13] = "full-width-write",
    } },
    [FW_VMX_PIN] = { "MSR 48DH", {
        "vmx-intr-exit", [3] = "vmx-nmi-exit", [5] = "vmx-vnmi", "vmx-preemption-timer", "vmx-posted-intr",
    } },
    [FW_VMX_PROC] = { "MSR 48EH", {
        [2] = "vmx-vintr-pending", "vmx-tsc-offset", [7] = "vmx-hlt-exit", [9] = "vmx-invlpg-exit",
        "vmx-mwait-exit", "vmx-rdpmc-exit", "vmx-rdtsc-exit", [15] = "vmx-cr3-load-noexit",
        "vmx-cr3-store-noexit", [19] = "vmx-cr8-load-exit", "vmx-cr8-store-exit", "vmx-flexpriority",
        "vmx-vnmi-pending", "vmx-movdr-exit", "vmx-io-exit", "vmx-io-bitmap", [27] = "vmx-mtf",
        "vmx-msr-bitmap", "vmx-monitor-exit", "vmx-pause-exit", "vmx-secondary-ctls",
    } },
    [FW_VMX_PROC2] = { "MSR 48BH", {
        "vmx-apicv-xapic", "vmx-ept", "vmx-desc-exit", "vmx-rdtscp-exit", "vmx-apicv-x2apic", "vmx-vpid",
        "vmx-wbinvd-exit", "vmx-unrestricted-guest", "vmx-apicv-register", "vmx-apicv-vid", "vmx-ple",
        "vmx-rdrand-exit", "vmx-invpcid-exit", "vmx-vmfunc", "vmx-shadow-vmcs", "vmx-encls-exit",
        "vmx-rdseed-exit", "vmx-pml", [20] = "vmx-xsaves", [25] = "vmx-tsc-scaling",
    } },
    [FW_VMX_EXIT] = { "MSR 48FH", {
        [2] = "vmx-exit-nosave-debugctl", [12] = "vmx-exit-load-perf-global-ctrl", [15] = "vmx-exit-ack-intr",
        [18] = "vmx-exit-save-pat", "vmx-exit-load-pat", "vmx-exit-save-efer", "vmx-exit-load-efer",
        "vmx-exit-save-preemption-timer", "vmx-exit-clear-bndcfgs", [25] = "vmx-exit-clear-rtit-ctl",
        [29] = "vmx-exit-load-pkrs",
    } },
    [FW_VMX_ENTRY] = { "MSR 490H", {
        [2] = "vmx-entry-noload-debugctl", [9] = "vmx-entry-ia32e-mode",
        [13] = "vmx-entry-load-perf-global-ctrl", "vmx-entry-load-pat", "vmx-entry-load-efer",
        "vmx-entry-load-bndcfgs", [18] = "vmx-entry-load-rtit-ctl", [22] = "vmx-entry-load-pkrs",
    } },
    [FW_VMX_MISC] = { "MSR 485H", {
        [5] = "vmx-store-lma", "vmx-activity-hlt", "vmx-activity-shutdown", "vmx-activity-wait-sipi",
        [29] = "vmx-vmwrite-vmexit-fields", "vmx-zero-len-inject",
    } },
    [FW_VMX_EPT] = { "MSR 48CH", {
        "vmx-ept-execonly", [6] = "vmx-page-walk-4", "vmx-page-walk-5", [16] = "vmx-ept-2mb", "vmx-ept-1gb",
        [20] = "vmx-invept", "vmx-eptad", "vmx-ept-advanced-exitinfo", [25] = "vmx-invept-single-context",
        "vmx-invept-all-context",
    } },
    [FW_VMX_VPID] = { "MSR 48CH, high half", {
        "vmx-invvpid", [8] = "vmx-invvpid-single-addr", [10] = "vmx-invvpid-all-context",
        "vmx-invept-single-context-noglobals",
    } },
    [FW_VMX_BASIC] = { "MSR 480H, high half", {
        [22] = "vmx-ins-outs", "vmx-true-ctls",
    } },
    [FW_VMX_FUNC] = { "MSR 491H", {
        "vmx-eptp-switching",
    } },
    [FW_14_ECX] = { "CPUID.14H:ECX", {
        [31] = "intel-pt-lip",
    } },
    [FW_12_EAX] = { "CPUID.12H:EAX", {
        "sgx1", "sgx2",
    } },
    [FW_12_EBX] = { "CPUID.12H:EBX", {
        "sgx-exinfo",
    } },
    [FW_121_EAX] = { "CPUID.12H.1:EAX", {
        [1] = "sgx-debug", "sgx-mode64", [4] = "sgx-provisionkey", "sgx-tokenkey", [7] = "sgx-kss",
    } },
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

/* Of the names that -cpu takes as well, those that lists have beside the proper one. */
static const char *const listed_aliases[] = {
    "cmp_legacy", "ds_cpl", "ffxsr", "fxsr_opt", "i64", "kvm_asyncpf", "kvm_asyncpf_int", "kvm_mmu", "kvm_nopiodelay",
    "kvm_poll_control", "kvm_pv_eoi", "kvm_pv_unhalt", "kvm_steal_time", "lahf_lm", "nodeid_msr", "nrip_save",
    "pause_filter", "pclmuldq", "perfctr_core", "perfctr_nb", "sse3", "sse4-1", "sse4-2", "sse4_1", "sse4_2", "svm_lock",
    "tsc_adjust", "tsc_scale", "vmcb_clean", "xd",
};

const char *x86_feature_alias(unsigned i)
{
    return i < G_N_ELEMENTS(listed_aliases) ? listed_aliases[i] : NULL;
}

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
            if (words[w].bit[b] && x86_name_equal(name, n, words[w].bit[b])) {
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

const char *x86_feature_word(unsigned word)
{
    return words[word].title;
}

const char *x86_feature_name(unsigned word, unsigned bit)
{
    return words[word].bit[bit];
}

void x86_feature_set(uint32_t *set, unsigned feat, bool on)
{
    uint32_t bit = 1u << ((feat - 1) % 32);
    set[(feat - 1) / 32] = on ? set[(feat - 1) / 32] | bit : set[(feat - 1) / 32] & ~bit;
}

void x86_features_set(uint32_t *set, const char *list, bool on)
{
    while (list && *list) {
        size_t n = strcspn(list, " ");
        unsigned f = feature_number_n(list, n);
        g_assert(f); /* constant tables of features and models */
        x86_feature_set(set, f, on);
        list += n;
        list += strspn(list, " ");
    }
}
