/* SPDX-License-Identifier: MIT
 * target/x86/cpuid.h - CPU models and feature bits.
 * Models:  Intel SDM volume 2 CPUID, AMD APM volume 3 appendix E.
 * Does not model: anything by itself.
 * Threads: models are set up before the machine runs and constant afterwards; any thread reads.
 */
#ifndef TARGET_X86_CPUID_H
#define TARGET_X86_CPUID_H

#include "hyperv.h"
#include "rhea/target/x86/cpu.h"
#include "config.h"

enum X86FeatWord { /* in the order of lists */
    FW_1_EDX,
    FW_1_ECX,
    FW_7_EBX,
    FW_7_ECX,
    FW_7_EDX,
    FW_71_EAX,
    FW_81_EDX,
    FW_81_ECX,
    FW_87_EDX,
    FW_88_EBX,
    FW_C1_EDX, /* VIA PadLock */
    FW_KVM, /* EAX of the second KVM leaf */
    FW_KVM_HINTS, /* EDX of the second KVM leaf */
    FW_8A_EDX, /* SVM */
    FW_D1_EAX,
    FW_6_EAX,
    FW_821_EAX, /* AMD, extended feature identification 2 */
    FW_CAPS, /* IA32_ARCH_CAPABILITIES, low half */
    FW_CORE_CAPS, /* IA32_CORE_CAPABILITIES */
    FW_PERF_CAPS, /* IA32_PERF_CAPABILITIES; from here on names only, no engine has them */
    FW_VMX_PIN,
    FW_VMX_PROC,
    FW_VMX_PROC2,
    FW_VMX_EXIT,
    FW_VMX_ENTRY,
    FW_VMX_MISC,
    FW_VMX_EPT,
    FW_VMX_VPID,
    FW_VMX_BASIC,
    FW_VMX_FUNC,
    FW_14_ECX,
    FW_12_EAX,
    FW_12_EBX,
    FW_121_EAX,
    FW_COUNT
};
enum { X86_APIC_TIMER_HZ = 1000000000 }; /* hw/intc/apic-timer.c, before its divider */
#define FEAT(w, b) ((w) * 32 + (b) + 1)
enum {
    X86_FEAT_VME = FEAT(FW_1_EDX, 1),
    X86_FEAT_DE = FEAT(FW_1_EDX, 2),
    X86_FEAT_PSE = FEAT(FW_1_EDX, 3),
    X86_FEAT_TSC = FEAT(FW_1_EDX, 4),
    X86_FEAT_PAE = FEAT(FW_1_EDX, 6),
    X86_FEAT_MCE = FEAT(FW_1_EDX, 7),
    X86_FEAT_APIC = FEAT(FW_1_EDX, 9),
    X86_FEAT_SEP = FEAT(FW_1_EDX, 11),
    X86_FEAT_MTRR = FEAT(FW_1_EDX, 12),
    X86_FEAT_PGE = FEAT(FW_1_EDX, 13),
    X86_FEAT_MCA = FEAT(FW_1_EDX, 14),
    X86_FEAT_PAT = FEAT(FW_1_EDX, 16),
    X86_FEAT_PSE36 = FEAT(FW_1_EDX, 17),
    X86_FEAT_FXSR = FEAT(FW_1_EDX, 24),
    X86_FEAT_SSE = FEAT(FW_1_EDX, 25),
    X86_FEAT_HTT = FEAT(FW_1_EDX, 28),
    X86_FEAT_MONITOR = FEAT(FW_1_ECX, 3),
    X86_FEAT_PCID = FEAT(FW_1_ECX, 17),
    X86_FEAT_X2APIC = FEAT(FW_1_ECX, 21),
    X86_FEAT_TSC_DEADLINE = FEAT(FW_1_ECX, 24),
    X86_FEAT_XSAVE = FEAT(FW_1_ECX, 26),
    X86_FEAT_HYPERVISOR = FEAT(FW_1_ECX, 31),
    X86_FEAT_FSGSBASE = FEAT(FW_7_EBX, 0),
    X86_FEAT_TSC_ADJUST = FEAT(FW_7_EBX, 1),
    X86_FEAT_SMEP = FEAT(FW_7_EBX, 7),
    X86_FEAT_SMAP = FEAT(FW_7_EBX, 20),
    X86_FEAT_UMIP = FEAT(FW_7_ECX, 2),
    X86_FEAT_PKU = FEAT(FW_7_ECX, 3),
    X86_FEAT_LA57 = FEAT(FW_7_ECX, 16),
    X86_FEAT_PKS = FEAT(FW_7_ECX, 31),
    X86_FEAT_SPEC_CTRL = FEAT(FW_7_EDX, 26),
    X86_FEAT_ARCH_CAPABILITIES = FEAT(FW_7_EDX, 29),
    X86_FEAT_SYSCALL = FEAT(FW_81_EDX, 11),
    X86_FEAT_NX = FEAT(FW_81_EDX, 20),
    X86_FEAT_FXSR_OPT = FEAT(FW_81_EDX, 25),
    X86_FEAT_PDPE1GB = FEAT(FW_81_EDX, 26),
    X86_FEAT_RDTSCP = FEAT(FW_81_EDX, 27),
    X86_FEAT_LM = FEAT(FW_81_EDX, 29),
    X86_FEAT_XSAVES = FEAT(FW_D1_EAX, 3),
    X86_FEAT_INVTSC = FEAT(FW_87_EDX, 8),
    X86_FEAT_KVM_NOPIODELAY = FEAT(FW_KVM, 1),
    X86_FEAT_KVMCLOCK = FEAT(FW_KVM, 3),
    X86_FEAT_KVM_STEAL_TIME = FEAT(FW_KVM, 5),
    X86_FEAT_KVMCLOCK_STABLE = FEAT(FW_KVM, 24),
    X86_FEAT_ARAT = FEAT(FW_6_EAX, 2),
};

/* m->cpu_model: what -cpu says, checked and masked. Shared by all vCPUs of the machine. */
typedef struct X86CpuModel {
    const char *name;
    char vendor[13], model_id[49];
    uint32_t family, model, stepping;
    uint32_t level, xlevel;
    uint32_t phys_bits;
    uint32_t min_level, min_xlevel; /* level and xlevel grow from here as far as the features need */
    uint32_t phys_bits_limit;       /* of host_phys_bits; 0: none */
    uint64_t tsc_hz;
    bool tsc_hz_set;     /* asked for: leaf 0x15 may tell it */
    bool phys_bits_set;  /* asked for */
    bool amd;            /* AMD or Hygon rules where the vendors differ */
    bool check, enforce; /* what cannot be offered is told, or refused */
    bool migratable;     /* max and host: as asked; all that is offered can be saved */
    bool kvm_name;       /* KVM's leaves and, on KVM, its name are shown */
    bool own_name;       /* the leaves at 40000000H are shown */
    bool timing_leaf;    /* 40000010H is */
    bool topology_leaf;  /* 0BH is */
    bool l3_cache;
    bool host_phys_bits; /* phys_bits is the host's */
    uint32_t words[FW_COUNT];
    X86Hyperv hv;
} X86CpuModel;

static inline bool x86_has_bit(const X86Cpu *cpu, unsigned feat)
{
    return feat == 0 || (cpu->model->words[(feat - 1) / 32] >> ((feat - 1) % 32) & 1);
}
static inline bool x86_vendor_is_amd(const X86Cpu *cpu) { return cpu->model->amd; }
static inline uint64_t x86_arch_capabilities(const X86Cpu *cpu) { return cpu->model->words[FW_CAPS]; }

void x86_cpuid(X86Cpu *cpu, uint32_t leaf, uint32_t sub, uint32_t r[4]);
uint32_t x86_cpuid_signature(const X86Cpu *cpu); /* leaf 1 EAX; EDX after reset */

/* models.c: TargetOps members. */
bool x86_model_parse(Machine *m, const char *text, Error **errp);
void x86_model_free(Machine *m);
bool x86_model_fits(Machine *m, Error **errp); /* TargetOps.accel_fits */
/* The model of text; quiet: without warnings. wanted (may be NULL, then an item "help" is an error): the features before
 * those that cannot be offered are taken away. g_free. */
X86CpuModel *x86_model_make(const char *text, bool quiet, uint32_t *wanted, Error **errp);
/* model-table.c: by name. alias_of: the version it stands for, or NULL. NULL: no more. */
const char *x86_model_name(unsigned i, const char **brand, const char **alias_of);
/* features.c */
void x86_features_available(uint32_t *words); /* what the software engine can do */
void x86_features_set(uint32_t *words, const char *list, bool on); /* names with single spaces between */
#ifdef HAVE_KVM
void x86_kvm_features(const Machine *m, uint32_t *words); /* kvm-cpuid.c: what this host's KVM can do */
/* ... and what it shows each guest, whatever its table says (some that emulate do). */
void x86_kvm_shown(const Machine *m, uint32_t *words);
#endif
/* model-help.c: all models; what `-cpu MODEL[,...],help` says of one. */
bool x86_model_describe(const char *text, GString *out, Error **errp);
void x86_model_help(GString *out);
/* model-props.c: what -cpu takes besides features and hv-*. The property's name; NULL: no more. *type: "bool", "int",
 * "uint8", "uint32", "string". */
const char *x86_model_property(const X86CpuModel *m, unsigned i, const char **type);
Json *x86_model_property_value(const X86CpuModel *m, const char *name); /* NULL: there is none */
/* model-host.c: the host CPU's identity, address width and features, not masked. False: not an x86. */
bool x86_model_read_host(X86CpuModel *m, Error **errp);
/* features.c: a feature's number by any of its names, 0: none. */
unsigned x86_feature_number(const char *name);
const char *x86_feature_name(unsigned word, unsigned bit); /* NULL: reserved */

#endif
