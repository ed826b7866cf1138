/* SPDX-License-Identifier: MIT
 * target/x86/kvm-cpuid.c - CPUID under KVM: which features can be offered, and the table the vCPU
 *   answers from.
 * Models: Linux Documentation/virt/kvm/api.rst, 4.20 (CPUID2), 4.46 (GET_SUPPORTED_CPUID), cpuid.rst
 *   (the KVM leaves).
 * Does not model: features whose state X86Cpu has no room for (AVX-512, AMX, MPX, CET), nested
 *   virtualization.
 * Threads: main loop for the features, the vCPU's own thread for its table.
 */
#include "kvm.h"
#include "rhea/util/log.h"
#include "t0.h"

#include <errno.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

enum { ENTRIES_MAX = 1024 };

static struct kvm_cpuid2 *entries_new(unsigned n)
{
    struct kvm_cpuid2 *c = g_malloc0(sizeof(*c) + n * sizeof(c->entries[0]));
    c->nent = n;
    return c;
}

/* NULL: KVM does not say. */
static struct kvm_cpuid2 *supported(const Machine *m)
{
    for (unsigned n = 64; n <= ENTRIES_MAX; n *= 2) {
        struct kvm_cpuid2 *c = entries_new(n);
        int r = kvm_sys_ioctl(m, KVM_GET_SUPPORTED_CPUID, c);
        if (r >= 0) {
            return c;
        }
        g_free(c);
        if (r != -E2BIG) {
            return NULL;
        }
    }
    return NULL;
}

static const struct {
    uint32_t leaf, sub;
    unsigned reg, word;
} from[] = {
    { 1, 0, 3, FW_1_EDX },           { 1, 0, 2, FW_1_ECX },           { 6, 0, 0, FW_6_EAX },
    { 7, 0, 1, FW_7_EBX },           { 7, 0, 2, FW_7_ECX },           { 7, 0, 3, FW_7_EDX },
    { 0xd, 1, 0, FW_D1_EAX },        { 0x80000001, 0, 3, FW_81_EDX }, { 0x80000001, 0, 2, FW_81_ECX },
    { 0x80000007, 0, 3, FW_87_EDX }, { 0x80000008, 0, 1, FW_88_EBX }, { 0x80000021, 0, 0, FW_821_EAX },
    { 0x40000001, 0, 0, FW_KVM },
};

static uint32_t word_of(const struct kvm_cpuid2 *c, unsigned i)
{
    for (unsigned n = 0; n < c->nent; n++) {
        const struct kvm_cpuid_entry2 *e = &c->entries[n];
        if (e->function == from[i].leaf && e->index == from[i].sub) {
            const uint32_t r[4] = { e->eax, e->ebx, e->ecx, e->edx };
            return r[from[i].reg];
        }
    }
    return 0;
}

/* State with no place in X86Cpu, nested guests, and what needs an irqchip in the kernel. */
static const char never[] =
    "vmx svm mpx avx512f avx512dq avx512ifma avx512pf avx512er avx512cd avx512bw avx512vl avx512vbmi "
    "avx512vbmi2 avx512vnni avx512bitalg avx512-vpopcntdq avx512-4vnniw avx512-4fmaps "
    "avx512-vp2intersect avx512-fp16 amx-bf16 amx-tile amx-int8 pks intel-pt sgx sgxlc arch-lbr "
    "monitor waitpkg xfd "
    "kvm-mmu kvm-asyncpf kvm-pv-eoi kvm-pv-unhalt kvm-pv-tlb-flush kvm-pv-ipi kvm-poll-control "
    "kvm-pv-sched-yield kvm-asyncpf-int kvm-msi-ext-dest-id"; /* refused_names in model-text.c says why */
/* Offered whatever KVM's list says: it is how the vCPU runs, or the table is ours. */
static const char always[] = "hypervisor ht cmp-legacy topoext arat";

void x86_kvm_features(const Machine *m, uint32_t *words)
{
    struct kvm_cpuid2 *c = supported(m);
    memset(words, 0, sizeof(uint32_t) * FW_COUNT);
    for (unsigned i = 0; c && i < G_N_ELEMENTS(from); i++) {
        words[from[i].word] = word_of(c, i);
    }
    g_free(c);
    KvmOneMsr caps = kvm_x86_one_msr(0x10a);
    if (kvm_sys_ioctl(m, KVM_GET_MSRS, &caps) == 1) {
        words[FW_CAPS] = (uint32_t)caps.e.data;
    }
    for (unsigned w = 0; w < FW_COUNT; w++) { /* what has no name here has no rules here */
        for (unsigned b = 0; b < 32; b++) {
            if (!x86_feature_name(w, b)) {
                words[w] &= ~(1u << b);
            }
        }
    }
    x86_features_set(words, always, true);
    x86_features_set(words, never, false);
    bool lapic = kvm_irqchip(m) != IRQCHIP_OFF;
    x86_features_set(words, "x2apic", lapic);
    x86_features_set(words, "tsc-deadline", lapic && kvm_cap(m, KVM_CAP_TSC_DEADLINE_TIMER) > 0);
}

static bool is_runtime(const char *name) /* follows from what the guest did */
{
    return !strcmp(name, "osxsave") || !strcmp(name, "ospke") || !strcmp(name, "ht");
}

void x86_kvm_shown(const Machine *m, uint32_t *words)
{
    static const uint32_t leaves[] = { 0, 1, 7, 0xd, 0x80000000, 0x80000001 };
    g_autofree struct kvm_cpuid2 *c = entries_new(ENTRIES_MAX);
    int vm = -1, fd = kvm_host_class(NULL) == KVM_HOST_EMULATED ? kvm_scratch_vcpu(m, &vm) : -1;
    memset(words, 0, sizeof(uint32_t) * FW_COUNT);
    c->nent = G_N_ELEMENTS(leaves);
    for (unsigned i = 0; i < c->nent; i++) { /* none of them has a feature */
        c->entries[i] = (struct kvm_cpuid_entry2){ .function = leaves[i], .index = leaves[i] == 0xd,
                                                   .flags = leaves[i] == 7 || leaves[i] == 0xd ? KVM_CPUID_FLAG_SIGNIFCANT_INDEX : 0,
                                                   .eax = leaves[i] == 0 ? 0xd : leaves[i] == 0x80000000 ? 0x80000001 : 0 };
    }
    if (fd >= 0 && ioctl(fd, KVM_SET_CPUID2, c) == 0) {
        c->nent = ENTRIES_MAX;
        if (ioctl(fd, KVM_GET_CPUID2, c) == 0) {
            for (unsigned i = 0; i < G_N_ELEMENTS(from); i++) {
                words[from[i].word] = from[i].word == FW_KVM ? 0 : word_of(c, i);
            }
        }
    }
    if (fd >= 0) {
        close(fd);
    }
    if (vm >= 0) {
        close(vm);
    }
}

/* ---- the vCPU's table ---- */

static void put(struct kvm_cpuid2 *c, X86Cpu *cpu, uint32_t leaf, uint32_t sub, bool indexed)
{
    uint32_t r[4];
    if (c->nent == ENTRIES_MAX) {
        return;
    }
    x86_cpuid(cpu, leaf, sub, r);
    c->entries[c->nent++] = (struct kvm_cpuid_entry2){
        .function = leaf,
        .index = sub,
        .flags = indexed ? KVM_CPUID_FLAG_SIGNIFCANT_INDEX : 0,
        .eax = r[0],
        .ebx = r[1],
        .ecx = r[2],
        .edx = r[3],
    };
}

static unsigned sub_leaves(uint32_t leaf)
{
    switch (leaf) {
    case 4:
    case 0x8000001d: return 5; /* four caches and the end */
    case 7: return 1;
    case 0xb: return 3;
    case 0x1f: return 4;
    case 0xd: return 10;
    default: return 0;
    }
}

static void put_range(struct kvm_cpuid2 *c, X86Cpu *cpu, uint32_t first)
{
    uint32_t r[4];
    x86_cpuid(cpu, first, 0, r);
    for (uint32_t leaf = first; leaf <= r[0] && leaf - first <= 0xff; leaf++) {
        unsigned n = sub_leaves(leaf);
        if (!n) {
            put(c, cpu, leaf, 0, false);
        }
        for (unsigned sub = 0; sub < n; sub++) {
            put(c, cpu, leaf, sub, true);
        }
    }
}

/* Some hosts show guests more than was asked for. The interpreter, which completes instructions for KVM, has
 * to know, and a debugger to whom the CPU is described. */
static void take_shown(X86Cpu *cpu, const uint32_t *seen, bool say_all)
{
    X86CpuModel *m = cpu->vcpu.machine->cpu_model;
    uint32_t can[FW_COUNT];
    x86_features_available(can);
    g_autoptr(GString) more = g_string_new(NULL);
    for (unsigned i = 0; i < G_N_ELEMENTS(from); i++) {
        unsigned w = from[i].word;
        uint32_t extra = w == FW_KVM ? 0 : seen[w] & ~m->words[w];
        for (unsigned b = 0; b < 32; b++) {
            const char *name = extra >> b & 1 ? x86_feature_name(w, b) : NULL;
            if (name && !is_runtime(name) && (say_all || can[w] >> b & 1)) {
                g_string_append_printf(more, " %s", name);
            }
        }
        m->words[w] |= extra & can[w];
    }
    static bool said; /* it is the host's, whatever machine finds it */
    if (more->len && !__atomic_exchange_n(&said, true, __ATOMIC_RELAXED)) {
        log_info("this host's KVM shows guests CPU features that were not asked for:%s", more->str);
    }
}

static void read_back(X86Cpu *cpu)
{
    g_autofree struct kvm_cpuid2 *c = entries_new(ENTRIES_MAX);
    uint32_t seen[FW_COUNT] = { 0 };
    if (kvm_vcpu_ioctl(&cpu->vcpu, KVM_GET_CPUID2, c) < 0) {
        return;
    }
    for (unsigned i = 0; i < G_N_ELEMENTS(from); i++) {
        seen[from[i].word] = word_of(c, i);
    }
    take_shown(cpu, seen, false);
}

void kvm_x86_know_shown(X86Cpu *cpu)
{
    uint32_t seen[FW_COUNT];
    if (cpu->vcpu.index == 0 && !cpu->vcpu.machine->moving) {
        x86_kvm_shown(cpu->vcpu.machine, seen);
        take_shown(cpu, seen, true);
    }
}

/* Late, when the board has given the CPU its local APIC; KVM takes it before the first entry only. */
bool kvm_x86_tell_cpuid(X86Cpu *cpu, Error **errp)
{
    g_autofree struct kvm_cpuid2 *c = entries_new(ENTRIES_MAX);
    c->nent = 0;
    put_range(c, cpu, 0);
    if (x86_has_bit(cpu, X86_FEAT_HYPERVISOR)) {
        static const uint32_t leaves[] = { 0, 1, 2, 3, 4, 5, 0x10, 0x100, 0x101 };
        for (unsigned i = 0; i < G_N_ELEMENTS(leaves); i++) {
            put(c, cpu, 0x40000000 + leaves[i], 0, false);
        }
    }
    if (cpu->model->xlevel >= 0x80000000) {
        put_range(c, cpu, 0x80000000);
    }
    int r = kvm_vcpu_ioctl(&cpu->vcpu, KVM_SET_CPUID2, c);
    if (r < 0) {
        return kvm_x86_failed(cpu, "KVM_SET_CPUID2", r, errp);
    }
    cpu->kvm->cpuid_told = true;
    read_back(cpu);
    t0_features(cpu);
    return true;
}
