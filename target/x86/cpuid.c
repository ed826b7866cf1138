/* SPDX-License-Identifier: MIT
 * target/x86/cpuid.c - the CPUID instruction's leaves.
 * Models:  Intel SDM volume 2 CPUID (leaves 0-0xD, 0x15, 0x16, 0x1F), AMD APM volume 3 appendix E
 * (0x80000000-0x80000021). Leaves from 0x40000000 on: docs/devel/cpuid.md.
 * Does not model: leaves of absent features (all zero), cache sizes of
 * the machines the models are named after.
 * Threads: the vCPU's thread.
 */
#include "sysint.h"
#include "cpuid.h"

static unsigned log2_up(unsigned n)
{
    unsigned b = 0;
    while ((1u << b) < n) {
        b++;
    }
    return b;
}

/* Widths of the APIC id's fields (SDM 8.9.1). */
static unsigned topo_smt_bits(const Machine *m) { return log2_up(MAX(m->threads, 1u)); }
static unsigned topo_die_bits(const Machine *m) { return topo_smt_bits(m) + log2_up(MAX(m->cores, 1u)); }
static unsigned topo_pkg_bits(const Machine *m) { return topo_die_bits(m) + log2_up(MAX(m->dies, 1u)); }
static unsigned topo_per_pkg(const Machine *m)
{
    return MAX(m->threads, 1u) * MAX(m->cores, 1u) * MAX(m->dies, 1u);
}

uint32_t x86_cpuid_signature(const X86Cpu *cpu)
{
    const X86CpuModel *m = cpu->model;
    uint32_t fam = MIN(m->family, 0xfu), ext = m->family - fam;
    return (m->stepping & 15) | (m->model & 15) << 4 | fam << 8 | (m->model >> 4) << 16 | ext << 20;
}

static void leaf_vendor(const X86CpuModel *m, uint32_t max, uint32_t r[4])
{
    r[0] = max;
    memcpy(&r[1], m->vendor, 4);
    memcpy(&r[3], m->vendor + 4, 4);
    memcpy(&r[2], m->vendor + 8, 4);
}

static bool apic_enabled(X86Cpu *cpu)
{
    uint64_t base;
    return cpu->apic_ops && cpu->apic_ops->msr_read(cpu->apic, 0x1b, &base) && (base & 0x800);
}

static void leaf_1(X86Cpu *cpu, uint32_t r[4])
{
    const X86CpuModel *m = cpu->model;
    const Machine *mc = cpu->vcpu.machine;
    unsigned n = topo_per_pkg(mc);
    r[0] = x86_cpuid_signature(cpu);
    r[1] = cpu->apic_id << 24 | MIN(n > 1 ? 1u << topo_pkg_bits(mc) : 1u, 255u) << 16 |
           8 << 8 /* CLFLUSH line: 64 */;
    r[2] = m->words[FW_1_ECX] & ~(1u << 27);
    r[2] |= cpu->cr4 & CR4_OSXSAVE ? 1u << 27 : 0;
    r[3] = m->words[FW_1_EDX];
    if (!apic_enabled(cpu)) {
        r[3] &= ~(1u << 9);
    }
    if (!cpu->apic_ops) {
        r[2] &= ~(1u << 21 | 1u << 24);
    }
    if (n > 1) {
        r[3] |= 1u << 28;
    }
}

/* Deterministic cache parameters (leaf 4, 0x8000001D). */
static void leaf_cache(const X86Cpu *cpu, bool amd, uint32_t sub, uint32_t r[4])
{
    const Machine *m = cpu->vcpu.machine;
    static const struct { uint8_t type, level; uint16_t ways, sets; bool shared; } caches[] = {
        { 1, 1, 8, 64, false }, { 2, 1, 8, 64, false }, { 3, 2, 8, 1024, false }, { 3, 3, 16, 16384, true },
    };
    if (sub >= G_N_ELEMENTS(caches) || (caches[sub].level == 3 && !cpu->model->l3_cache)) {
        return;
    }
    unsigned share = caches[sub].shared ? 1u << topo_die_bits(m) : 1u << topo_smt_bits(m);
    unsigned cores = 1u << (topo_pkg_bits(m) - topo_smt_bits(m));
    r[0] = caches[sub].type | caches[sub].level << 5 | 1 << 8 | MIN(share - 1, 0xfffu) << 14;
    r[0] |= amd ? 0 : MIN(cores - 1, 63u) << 26;
    r[1] = 63 | (caches[sub].ways - 1u) << 22;
    r[2] = caches[sub].sets - 1u;
    r[3] = caches[sub].shared ? 2 : 0;
}

/* Leaves 0xB (threads, cores) and 0x1F (dies, too): SDM volume 3 8.9.1. Shift to the next level, CPUs of this one, its
 * number and type, the x2APIC id. */
static void leaf_topology(X86Cpu *cpu, bool dies, uint32_t sub, uint32_t r[4])
{
    enum { SMT = 1, CORE = 2, DIE = 5 };
    const Machine *m = cpu->vcpu.machine;
    unsigned threads = MAX(m->threads, 1u);
    r[2] = sub & 0xff;
    r[3] = cpu->apic_id;
    if (sub == 0) {
        r[0] = topo_smt_bits(m);
        r[1] = threads;
        r[2] |= SMT << 8;
    } else if (sub == 1) {
        r[0] = dies ? topo_die_bits(m) : topo_pkg_bits(m);
        r[1] = dies ? threads * MAX(m->cores, 1u) : topo_per_pkg(m);
        r[2] |= CORE << 8;
    } else if (sub == 2 && dies) {
        r[0] = topo_pkg_bits(m);
        r[1] = topo_per_pkg(m);
        r[2] |= DIE << 8;
    }
}

/* SDM volume 1 13.5: area sizes in the standard and the compact form, component by component. */
static uint32_t xsave_size(uint64_t comps, bool compact)
{
    uint32_t n = comps & 4 ? 0x340 : 0x240;
    return !(comps & 0x200) ? n : compact ? n + 8 : 0xa88;
}

static void leaf_xsave(X86Cpu *cpu, uint32_t sub, uint32_t r[4])
{
    const X86CpuModel *m = cpu->model;
    if (!x86_has_bit(cpu, X86_FEAT_XSAVE)) {
        return;
    }
    uint64_t all = x86_xcr0_allowed(cpu);
    if (sub == 0) {
        r[0] = (uint32_t)all;
        r[1] = xsave_size(cpu->xcr0, false);
        r[2] = xsave_size(all, false);
    } else if (sub == 1) {
        r[0] = m->words[FW_D1_EAX];
        r[1] = r[0] & 0xa ? xsave_size(cpu->xcr0, true) : 0;
    } else if (sub == 2 && (all & 4)) {
        r[0] = 0x100;
        r[1] = 0x240;
    } else if (sub == 9 && (all & 0x200)) {
        r[0] = 8;
        r[1] = 0xa80;
    }
}

/* Only leaf 0x1F can tell dies apart (SDM volume 3 8.9.3); AMD has 0x8000001E. */
static uint32_t basic_level(const X86Cpu *cpu)
{
    const X86CpuModel *m = cpu->model;
    return cpu->vcpu.machine->dies > 1 && !m->amd && m->level >= 0xb ? MAX(m->level, 0x1fu) : m->level;
}

/* TSC frequency = crystal * EBX / EAX, exactly. The crystal is what the local APIC's timer counts (SDM volume 2, leaf
 * 15H), 1 GHz here; a ratio that does not fit 32 bits is not told. */
static void leaf_tsc(const X86Cpu *cpu, uint32_t r[4])
{
    const uint64_t crystal = X86_APIC_TIMER_HZ;
    uint64_t a = cpu->tsc_hz, b = crystal;
    while (b) {
        uint64_t t = a % b;
        a = b;
        b = t;
    }
    if (cpu->tsc_hz / a > UINT32_MAX) {
        return;
    }
    r[0] = (uint32_t)(crystal / a);
    r[1] = (uint32_t)(cpu->tsc_hz / a);
    r[2] = (uint32_t)crystal;
}

/* 0x40000000: the name and the timing leaf (kHz of TSC and APIC timer), as VMware defined it and several others give it
 * too. 0x40000100: KVM's name, when any of its interfaces is on; guests look for it at every multiple of 100h. */
static void leaf_hypervisor(const X86Cpu *cpu, uint32_t leaf, uint32_t r[4])
{
    const X86CpuModel *m = cpu->model;
    uint32_t kvm = m->words[FW_KVM];
    bool kvm_name = cpu->kvm && m->kvm_name;
    if (leaf < 0x40000100 && x86_hyperv_on(&cpu->model->hv)) { /* KVM's own are found behind */
        x86_hyperv_leaf(cpu, leaf, r);
        return;
    }
    if (leaf < 0x40000100 && !m->own_name && !kvm_name) {
        return;
    }
    switch (leaf) {
    case 0x40000000: /* on KVM the name is KVM's: what it offers is found there */
        r[0] = m->timing_leaf ? 0x40000010 : 0x40000001;
        memcpy(&r[1], kvm_name ? "KVMKVMKVM\0\0" : "RheaRheaRhea", 12);
        break;
    case 0x40000001: r[0] = kvm_name ? kvm : 0; break;
    case 0x40000010:
        if (m->timing_leaf) {
            r[0] = (uint32_t)(cpu->tsc_hz / 1000);
            r[1] = X86_APIC_TIMER_HZ / 1000;
        }
        break;
    case 0x40000100:
        if (kvm) {
            r[0] = 0x40000101;
            memcpy(&r[1], "KVMKVMKVM\0\0", 12);
        }
        break;
    case 0x40000101: r[0] = kvm; break;
    }
}

static void leaf_basic(X86Cpu *cpu, uint32_t leaf, uint32_t sub, uint32_t r[4])
{
    const X86CpuModel *m = cpu->model;
    switch (leaf) {
    case 0: leaf_vendor(m, basic_level(cpu), r); break;
    case 1: leaf_1(cpu, r); break;
    case 2: r[0] = 0xff01 | 0 << 16; break; /* 0xff: see leaf 4 */
    case 4:
        if (!m->amd) {
            leaf_cache(cpu, false, sub, r);
        }
        break;
    case 5:
        if (x86_has_bit(cpu, X86_FEAT_MONITOR)) {
            r[0] = r[1] = 64;
            r[2] = 3; /* extensions: masked interrupts break MWAIT */
        }
        break;
    case 6: r[0] = m->words[FW_6_EAX]; break;
    case 7:
        if (sub == 0) {
            r[1] = m->words[FW_7_EBX];
            r[2] = (m->words[FW_7_ECX] & ~(1u << 4)) | (cpu->cr4 & CR4_PKE ? 1u << 4 /* OSPKE */ : 0);
            r[3] = m->words[FW_7_EDX];
        }
        break;
    case 0xb:
        if (m->topology_leaf) {
            leaf_topology(cpu, false, sub, r);
        }
        break;
    case 0xd: leaf_xsave(cpu, sub, r); break;
    case 0x15: leaf_tsc(cpu, r); break;
    case 0x16:
        r[0] = r[1] = (uint32_t)(cpu->tsc_hz / 1000000);
        r[2] = 100;
        break;
    case 0x1f: leaf_topology(cpu, true, sub, r); break;
    }
}

static void leaf_extended(X86Cpu *cpu, uint32_t leaf, uint32_t sub, uint32_t r[4])
{
    const X86CpuModel *m = cpu->model;
    const Machine *mc = cpu->vcpu.machine;
    const uint32_t shared_edx = 0x0183f3ff; /* AMD repeats these bits of leaf 1 */
    switch (leaf) {
    case 0x80000000:
        leaf_vendor(m, m->xlevel, r);
        if (!m->amd) {
            r[1] = r[2] = r[3] = 0;
        }
        break;
    case 0x80000001:
        r[0] = m->amd ? x86_cpuid_signature(cpu) : 0;
        r[2] = m->words[FW_81_ECX];
        r[3] = m->words[FW_81_EDX] | (m->amd ? m->words[FW_1_EDX] & shared_edx : 0);
        if (m->amd && !apic_enabled(cpu)) {
            r[3] &= ~(1u << 9);
        }
        if (m->amd && topo_per_pkg(mc) > 1) {
            r[2] |= 2; /* CmpLegacy */
        }
        break;
    case 0x80000002: case 0x80000003: case 0x80000004:
        memcpy(r, m->model_id + 16 * (leaf - 0x80000002), 16);
        break;
    case 0x80000005: /* AMD L1: 32 KiB, 8 ways, 64-byte lines; TLBs */
        if (m->amd) {
            r[0] = r[1] = 0xff40ff40;
            r[2] = r[3] = 32u << 24 | 8 << 16 | 1 << 8 | 64;
        }
        break;
    case 0x80000006: /* L2 512 KiB 8 ways; L3 16 MiB 16 ways (AMD) */
        r[2] = 512u << 16 | 6 << 12 | (m->amd ? 1 << 8 : 0) | 64;
        r[3] = m->amd && m->l3_cache ? 32u << 18 | 8 << 12 | 1 << 8 | 64 : 0;
        break;
    case 0x80000007: r[3] = m->words[FW_87_EDX]; break;
    case 0x80000008:
        r[0] = cpu->phys_bits | (!x86_has_bit(cpu, X86_FEAT_LM) ? 32 : x86_has_bit(cpu, X86_FEAT_LA57) ? 57 : 48) << 8;
        r[1] = m->words[FW_88_EBX];
        if (m->amd && topo_per_pkg(mc) > 1) {
            r[2] = topo_pkg_bits(mc) << 12 | (topo_per_pkg(mc) - 1);
        }
        break;
    case 0x80000021: r[0] = m->amd ? m->words[FW_821_EAX] : 0; break;
    case 0x8000001d:
        if (m->amd && (m->words[FW_81_ECX] >> 22 & 1)) {
            leaf_cache(cpu, true, sub, r);
        }
        break;
    case 0x8000001e:
        if (m->words[FW_81_ECX] >> 22 & 1) {
            r[0] = cpu->apic_id;
            r[1] = ((cpu->apic_id & ((1u << topo_pkg_bits(mc)) - 1)) >> topo_smt_bits(mc)) |
                   (MAX(mc->threads, 1u) - 1) << 8;
            r[2] = cpu->apic_id >> topo_die_bits(mc) | (MAX(mc->dies, 1u) - 1) << 8; /* a die is a node */
        }
        break;
    }
}

void x86_cpuid(X86Cpu *cpu, uint32_t leaf, uint32_t sub, uint32_t r[4])
{
    const X86CpuModel *m = cpu->model;
    memset(r, 0, 4 * sizeof(r[0]));
    if (leaf >> 16 == 0x4000 && x86_has_bit(cpu, X86_FEAT_HYPERVISOR)) {
        leaf_hypervisor(cpu, leaf, r);
        return;
    }
    if (leaf >= 0x80000000) {
        if (leaf <= m->xlevel) {
            leaf_extended(cpu, leaf, sub, r);
        }
        return;
    }
    /* Beyond the end, Intel processors answer with the last basic leaf, AMD's with zeros. */
    uint32_t level = basic_level(cpu);
    if (leaf > level) {
        if (m->amd) {
            return;
        }
        leaf = level;
    }
    leaf_basic(cpu, leaf, sub, r);
}
