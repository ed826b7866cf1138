/* SPDX-License-Identifier: MIT
 * target/x86/features.c - which CPU features an engine can offer; their names are in feature-names.c.
 * Does not model: features no engine here has (AVX-512, TSX, VMX, SVM): they have names only.
 * Threads: main loop.
 */
#include "model-parts.h"
#include "decode.h"
#include "hostfp.h"
#include "rhea/accel/kvm.h"
#include <string.h>

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
