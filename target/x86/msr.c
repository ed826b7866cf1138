/* SPDX-License-Identifier: MIT
 * target/x86/msr.c - model-specific registers and the time-stamp counter.
 * Models:  Intel SDM volume 4 (architectural MSRs), volume 3 11.11 (MTRR), 11.12 (PAT), 15.3 (machine
 * check), 17.17 (TSC, TSC_ADJUST); AMD PPR for the few AMD registers that operating systems touch. Does not
 * model: the effect of memory types (all memory is coherent), performance counters, microcode updates (a load
 * is accepted and changes nothing), last-branch records, thermal sensors (they read as cool).
 * Threads: the
 * vCPU's thread.
 */
#include "sysint.h"
#include "cpuid.h"
#include "rhea/util/log.h"
#include <string.h>

void x86_guest_error(X86Cpu *cpu, const char *fmt, ...)
{
    if (log_on(LOG_GUEST_ERRORS)) {
        va_list ap;
        va_start(ap, fmt);
        g_autofree char *text = g_strdup_vprintf(fmt, ap);
        va_end(ap);
        log_printf("cpu %u at 0x%" PRIx64 ": %s\n", cpu->vcpu.index,
                   cpu->cur ? insn_rip(cpu, cpu->cur) : cpu->rip, text);
    }
}

/* --- time --- */

static uint64_t tsc_of(const X86Cpu *cpu, int64_t ns)
{
    if (cpu->tsc_hz == 1000000000) {
        return (uint64_t)ns;
    }
    return (uint64_t)((unsigned __int128)(uint64_t)ns * cpu->tsc_hz / 1000000000);
}

static uint64_t tsc_raw(X86Cpu *cpu) { return tsc_of(cpu, clock_now(cpu->vcpu.machine->clock)); }

uint64_t x86_tsc_at(const X86Cpu *cpu, int64_t ns) { return tsc_of(cpu, ns) + cpu->tsc_offset; }

uint64_t x86_read_tsc(X86Cpu *cpu)
{
    return tsc_raw(cpu) + cpu->tsc_offset;
}

int64_t x86_tsc_to_ns(X86Cpu *cpu, uint64_t tsc)
{
    int64_t now = clock_now(cpu->vcpu.machine->clock), delta = (int64_t)(tsc - x86_read_tsc(cpu));
    if (delta <= 0) {
        return now;
    }
    unsigned __int128 ns = (unsigned __int128)(uint64_t)delta * 1000000000 / cpu->tsc_hz;
    return ns > (uint64_t)(INT64_MAX - 1 - now) ? INT64_MAX - 1 : now + (int64_t)ns + 1;
}

/* --- the table --- */

enum {
    MSR_TSC = 0x10,
    MSR_PLATFORM_ID = 0x17,
    MSR_APIC_BASE = 0x1b,
    MSR_EBL_CR_POWERON = 0x2a,
    MSR_SMI_COUNT = 0x34,
    MSR_FEATURE_CONTROL = 0x3a,
    MSR_TSC_ADJUST = 0x3b,
    MSR_SPEC_CTRL = 0x48,
    MSR_PRED_CMD = 0x49,
    MSR_BIOS_UPDT_TRIG = 0x79,
    MSR_BIOS_SIGN_ID = 0x8b,
    MSR_SMBASE = 0x9e,
    MSR_FSB_FREQ = 0xcd,
    MSR_PLATFORM_INFO = 0xce,
    MSR_MTRRCAP = 0xfe,
    MSR_ARCH_CAP = 0x10a,
    MSR_FLUSH_CMD = 0x10b,
    MSR_BBL_CR_CTL3 = 0x11e,
    MSR_MISC_FEATURES = 0x140,
    MSR_SYSENTER_CS = 0x174,
    MSR_SYSENTER_ESP = 0x175,
    MSR_SYSENTER_EIP = 0x176,
    MSR_MCG_CAP = 0x179,
    MSR_MCG_STATUS = 0x17a,
    MSR_MCG_CTL = 0x17b,
    MSR_PERF_STATUS = 0x198,
    MSR_PERF_CTL = 0x199,
    MSR_THERM_INTERRUPT = 0x19b,
    MSR_THERM_STATUS = 0x19c,
    MSR_MISC_ENABLE = 0x1a0,
    MSR_TEMP_TARGET = 0x1a2,
    MSR_ENERGY_BIAS = 0x1b0,
    MSR_DEBUGCTL = 0x1d9,
    MSR_MTRR_BASE0 = 0x200,
    MSR_MTRR_LAST = 0x20f,
    MSR_MTRR_64K = 0x250,
    MSR_MTRR_16K = 0x258,
    MSR_MTRR_4K = 0x268,
    MSR_PAT = 0x277,
    MSR_MC_CTL2 = 0x280,
    MSR_MTRR_DEF = 0x2ff,
    MSR_MC0_CTL = 0x400,
    MSR_RAPL_UNIT = 0x606,
    MSR_TSC_DEADLINE = 0x6e0,
    MSR_PKRS = 0x6e1,
    MSR_X2APIC = 0x800,
    MSR_X2APIC_LAST = 0x8ff,
    MSR_XSS = 0xda0,
    MSR_TSX_CTRL = 0x122,
};
enum {
    MSR_EFER = 0xc0000080,
    MSR_STAR,
    MSR_LSTAR,
    MSR_CSTAR,
    MSR_FMASK,
    MSR_FS_BASE = 0xc0000100,
    MSR_GS_BASE,
    MSR_KERNEL_GS_BASE,
    MSR_TSC_AUX,
    MSR_AMD_EVNTSEL = 0xc0010000,
    MSR_AMD_SYSCFG = 0xc0010010,
    MSR_AMD_HWCR = 0xc0010015,
    MSR_AMD_IORR0 = 0xc0010016,
    MSR_AMD_TOP_MEM = 0xc001001a,
    MSR_AMD_TOP_MEM2 = 0xc001001d,
    MSR_AMD_NB_CFG = 0xc001001f,
    MSR_AMD_PATCH_LOADER = 0xc0010020,
    MSR_AMD_OSVW_LEN = 0xc0010140,
    MSR_AMD_OSVW_STATUS,
    MSR_AMD_INT_PENDING = 0xc0010055,
    MSR_AMD_VM_CR = 0xc0010114,
    MSR_AMD_LS_CFG = 0xc0011020,
    MSR_AMD_IC_CFG,
    MSR_AMD_DC_CFG,
    MSR_AMD_BU_CFG2 = 0xc001102a,
    MSR_AMD_DE_CFG = 0xc0011029,
};

enum { MCG_BANKS = 10 };
#define MCG_CAP_VALUE (MCG_BANKS | 1u << 8 /* MCG_CTL */ | 1u << 24 /* SER_P */)

/* Registers that only hold a value. mask: bits that may be set, others are #GP. */
typedef struct MsrCell {
    uint32_t msr;
    uint16_t feat;   /* X86_FEAT_*, 0: always */
    uint64_t mask;
    size_t offset;   /* uint64_t in X86Cpu */
    bool canonical;
} MsrCell;
#define CELL(m, f, bits, field) { (m), (f), (bits), TYPED_OFFSET(X86Cpu, field, uint64_t), false }
#define CELL_VA(m, f, field) { (m), (f), UINT64_MAX, TYPED_OFFSET(X86Cpu, field, uint64_t), true }
static const MsrCell msr_cells[] = {
    CELL(MSR_SYSENTER_CS, X86_FEAT_SEP, UINT32_MAX, sysenter_cs),
    CELL_VA(MSR_SYSENTER_ESP, X86_FEAT_SEP, sysenter_esp),
    CELL_VA(MSR_SYSENTER_EIP, X86_FEAT_SEP, sysenter_eip),
    CELL(MSR_STAR, X86_FEAT_SYSCALL, UINT64_MAX, star),
    CELL_VA(MSR_LSTAR, X86_FEAT_LM, lstar),
    CELL_VA(MSR_CSTAR, X86_FEAT_LM, cstar),
    CELL(MSR_FMASK, X86_FEAT_LM, UINT32_MAX, fmask),
    CELL_VA(MSR_KERNEL_GS_BASE, X86_FEAT_LM, kernel_gs_base),
    CELL(MSR_TSC_AUX, X86_FEAT_RDTSCP, UINT32_MAX, tsc_aux),
    CELL(MSR_SPEC_CTRL, X86_FEAT_SPEC_CTRL, 7, spec_ctrl),
    CELL(MSR_MISC_ENABLE, 0, UINT64_MAX, misc_enable),
    CELL(MSR_MCG_STATUS, X86_FEAT_MCA, 7, mcg_status),
    CELL(MSR_MTRR_DEF, X86_FEAT_MTRR, 0xcff, mtrr_def),
    CELL(MSR_BIOS_SIGN_ID, 0, UINT64_MAX, bios_sign_id),
};

static uint64_t *msr_cell(X86Cpu *cpu, uint32_t msr, const MsrCell **out)
{
    for (unsigned i = 0; i < G_N_ELEMENTS(msr_cells); i++) {
        const MsrCell *c = &msr_cells[i];
        if (c->msr == msr && (c->feat == 0 || x86_has_bit(cpu, c->feat))) {
            *out = c;
            return (uint64_t *)((char *)cpu + c->offset);
        }
    }
    return NULL;
}

/* Registers without state here: reads give `val`, writes are dropped (bit set in MSR_DROP) or refused. */
typedef struct MsrFixed {
    uint32_t msr;
    enum { MSR_RO, MSR_DROP, MSR_WO } kind;
    enum { MSR_ANY, MSR_INTEL, MSR_AMD } vendor;
    uint16_t feat;
    uint64_t val;
    unsigned more; /* registers behind it that behave the same */
} MsrFixed;
static const MsrFixed msr_fixed[] = {
    { MSR_PLATFORM_ID, MSR_RO, MSR_INTEL, 0, 0 },
    { MSR_EBL_CR_POWERON, MSR_DROP, MSR_INTEL, 0, 0 },
    { MSR_BIOS_UPDT_TRIG, MSR_WO, MSR_ANY, 0, 0 },
    { MSR_FSB_FREQ, MSR_RO, MSR_INTEL, 0, 3 },
    { MSR_PRED_CMD, MSR_WO, MSR_ANY, X86_FEAT_SPEC_CTRL, 1 },
    { MSR_FLUSH_CMD, MSR_WO, MSR_ANY, 0, 1 },
    { MSR_MTRRCAP, MSR_RO, MSR_ANY, X86_FEAT_MTRR, 8 | 1 << 8 | 1 << 10 },
    { MSR_BBL_CR_CTL3, MSR_DROP, MSR_INTEL, 0, 0 },
    { MSR_MISC_FEATURES, MSR_DROP, MSR_INTEL, 0, 0 },
    { MSR_PERF_STATUS, MSR_DROP, MSR_ANY, 0, 1000ull << 32 | 1000 },
    { MSR_PERF_CTL, MSR_DROP, MSR_ANY, 0, 0 },
    { MSR_THERM_INTERRUPT, MSR_DROP, MSR_INTEL, 0, 0 },
    { MSR_THERM_STATUS, MSR_DROP, MSR_INTEL, 0, 0 },
    { MSR_TEMP_TARGET, MSR_RO, MSR_INTEL, 0, 100 << 16 },
    { MSR_ENERGY_BIAS, MSR_DROP, MSR_INTEL, 0, 6 },
    { MSR_DEBUGCTL, MSR_DROP, MSR_ANY, 0, 0 },
    { MSR_RAPL_UNIT, MSR_RO, MSR_INTEL, 0, 0 },
    { MSR_AMD_EVNTSEL, MSR_DROP, MSR_AMD, 0, 0, 7 }, /* no event is ever counted */
    { MSR_AMD_SYSCFG, MSR_DROP, MSR_AMD, 0, 0 },
    { MSR_AMD_HWCR, MSR_DROP, MSR_AMD, 0, 1 << 24 /* TscFreqSel */ },
    { MSR_AMD_TOP_MEM, MSR_DROP, MSR_AMD, 0, 0 },
    { MSR_AMD_TOP_MEM2, MSR_DROP, MSR_AMD, 0, 0 },
    { MSR_AMD_NB_CFG, MSR_DROP, MSR_AMD, 0, 0 },
    { MSR_AMD_PATCH_LOADER, MSR_WO, MSR_AMD, 0, UINT64_MAX },
    { MSR_AMD_OSVW_LEN, MSR_DROP, MSR_AMD, 0, 0 },
    { MSR_AMD_OSVW_STATUS, MSR_DROP, MSR_AMD, 0, 0 },
    { MSR_AMD_INT_PENDING, MSR_DROP, MSR_AMD, 0, 0 },
    { MSR_AMD_VM_CR, MSR_RO, MSR_AMD, 0, 1 << 4 /* SVMDIS */ },
    { MSR_AMD_LS_CFG, MSR_DROP, MSR_AMD, 0, 0 },
    { MSR_AMD_IC_CFG, MSR_DROP, MSR_AMD, 0, 0 },
    { MSR_AMD_DC_CFG, MSR_DROP, MSR_AMD, 0, 0 },
    { MSR_AMD_BU_CFG2, MSR_DROP, MSR_AMD, 0, 0 },
    { MSR_AMD_DE_CFG, MSR_DROP, MSR_AMD, 0, 1 << 1 /* LFENCE is serialising */ },
};

static const MsrFixed *msr_fixed_find(X86Cpu *cpu, uint32_t msr)
{
    for (unsigned i = 0; i < G_N_ELEMENTS(msr_fixed); i++) {
        const MsrFixed *f = &msr_fixed[i];
        if (msr - f->msr <= f->more && (f->feat == 0 || x86_has_bit(cpu, f->feat)) &&
            (f->vendor == MSR_ANY || (f->vendor == MSR_AMD) == x86_vendor_is_amd(cpu))) {
            return f;
        }
    }
    return NULL;
}

static bool msr_is_apic(uint32_t msr)
{
    return msr == MSR_APIC_BASE || msr == MSR_TSC_DEADLINE || (msr >= MSR_X2APIC && msr <= MSR_X2APIC_LAST);
}

/* Fixed-range MTRRs are one array: 64K, two 16K, eight 4K. -1: not one of them. */
static int msr_mtrr_fixed(uint32_t msr)
{
    return msr == MSR_MTRR_64K                                  ? 0
           : msr == MSR_MTRR_16K || msr == MSR_MTRR_16K + 1     ? (int)(1 + msr - MSR_MTRR_16K)
           : msr >= MSR_MTRR_4K && msr <= MSR_MTRR_4K + 7       ? (int)(3 + msr - MSR_MTRR_4K)
                                                                : -1;
}

/* 11.11.2.1, 11.12.4: types 0, 1, 4, 5, 6 (and 7, UC-, in the PAT). */
static bool msr_types_ok(uint64_t v, bool pat)
{
    for (unsigned i = 0; i < 8; i++, v >>= 8) {
        unsigned t = v & 0xff;
        if (t > 7 || t == 2 || t == 3 || (t == 7 && !pat)) {
            return false;
        }
    }
    return true;
}

static uint64_t *msr_array(X86Cpu *cpu, uint32_t msr)
{
    int fixed = msr_mtrr_fixed(msr);
    if (x86_has_bit(cpu, X86_FEAT_MTRR)) {
        if (fixed >= 0) {
            return &cpu->mtrr_fixed[fixed];
        }
        if (msr >= MSR_MTRR_BASE0 && msr <= MSR_MTRR_LAST) {
            unsigned i = (msr - MSR_MTRR_BASE0) / 2;
            return msr & 1 ? &cpu->mtrr_mask[i] : &cpu->mtrr_base[i];
        }
    }
    if (x86_has_bit(cpu, X86_FEAT_MCA) && msr >= MSR_MC0_CTL && msr < MSR_MC0_CTL + 4 * MCG_BANKS) {
        return &cpu->mc_bank[msr - MSR_MC0_CTL];
    }
    return NULL;
}

static bool msr_array_write_ok(const X86Cpu *cpu, uint32_t msr, uint64_t val)
{
    if (msr_mtrr_fixed(msr) >= 0) {
        return msr_types_ok(val, false);
    }
    if (msr >= MSR_MTRR_BASE0 && msr <= MSR_MTRR_LAST) {
        uint64_t ok = ((1ull << cpu->phys_bits) - 1) & ~0xfffull;
        if (msr & 1) {
            return !(val & ~(ok | 0x800));
        }
        return !(val & ~(ok | 0xff)) && msr_types_ok(val & 0xff, false);
    }
    /* Bank control: all ones or anything; status and address accept only zero (15.3.2). */
    return (msr & 3) == 0 || val == 0;
}

bool x86_msr_read(X86Cpu *cpu, uint32_t msr, uint64_t *val)
{
    const MsrCell *cell;
    uint64_t *slot;
    if (msr_is_apic(msr)) {
        if (cpu->apic_ops && cpu->apic_ops->msr_read(cpu->apic, msr, val)) {
            return true;
        }
        x86_guest_error(cpu, "rdmsr 0x%x: refused by the local APIC", msr);
        return false;
    }
    if ((slot = msr_cell(cpu, msr, &cell)) || (slot = msr_array(cpu, msr))) {
        *val = *slot;
        return true;
    }
    switch (msr) {
    case 0: case 1: *val = 0; return true; /* P5_MC_ADDR, P5_MC_TYPE */
    case MSR_TSC: *val = x86_read_tsc(cpu); return true;
    case MSR_TSC_ADJUST: *val = cpu->tsc_adjust; return x86_has_bit(cpu, X86_FEAT_TSC_ADJUST);
    case MSR_FEATURE_CONTROL: *val = cpu->feature_control; return !x86_vendor_is_amd(cpu);
    case MSR_SMI_COUNT: *val = cpu->smi_count; return !x86_vendor_is_amd(cpu);
    case MSR_SMBASE: *val = cpu->smbase; return cpu->in_smm && !x86_vendor_is_amd(cpu);
    case MSR_PLATFORM_INFO: *val = (cpu->tsc_hz / 100000000 & 0xff) << 8; return !x86_vendor_is_amd(cpu);
    case MSR_ARCH_CAP: *val = x86_arch_capabilities(cpu); return x86_has_bit(cpu, X86_FEAT_ARCH_CAPABILITIES);
    case MSR_MCG_CAP: *val = MCG_CAP_VALUE; return x86_has_bit(cpu, X86_FEAT_MCA);
    case MSR_MCG_CTL: *val = cpu->mcg_ctl; return x86_has_bit(cpu, X86_FEAT_MCA);
    case MSR_PAT: *val = cpu->pat; return x86_has_bit(cpu, X86_FEAT_PAT);
    case MSR_EFER:
        *val = cpu->efer;
        return x86_has_bit(cpu, X86_FEAT_LM) || x86_has_bit(cpu, X86_FEAT_SYSCALL) ||
               x86_has_bit(cpu, X86_FEAT_NX);
    case MSR_FS_BASE: *val = cpu->seg[SEG_FS].base; return x86_has_bit(cpu, X86_FEAT_LM);
    case MSR_GS_BASE: *val = cpu->seg[SEG_GS].base; return x86_has_bit(cpu, X86_FEAT_LM);
    case MSR_XSS: *val = cpu->xss; return x86_has_bit(cpu, X86_FEAT_XSAVES);
    case X86_MSR_KVM_WALL_CLOCK: *val = cpu->pv_wall; return x86_has_bit(cpu, X86_FEAT_KVMCLOCK);
    case X86_MSR_KVM_STEAL_TIME: *val = cpu->pv_steal; return x86_has_bit(cpu, X86_FEAT_KVM_STEAL_TIME);
    case X86_MSR_KVM_SYSTEM_TIME: *val = cpu->pv_time; return x86_has_bit(cpu, X86_FEAT_KVMCLOCK);
    case MSR_PKRS: *val = cpu->pkrs; return x86_has_bit(cpu, X86_FEAT_PKS);
    }
    if ((slot = x86_hyperv_slot(cpu, msr))) { /* KVM's, while the interpreter runs for it */
        *val = *slot;
        return true;
    }
    const MsrFixed *f = msr_fixed_find(cpu, msr);
    if (f && f->kind != MSR_WO) {
        *val = f->val;
        return true;
    }
    x86_guest_error(cpu, "rdmsr 0x%x: no such register", msr);
    return false;
}

static bool msr_write_special(X86Cpu *cpu, uint32_t msr, uint64_t val, bool *ok)
{
    *ok = true;
    switch (msr) {
    case 0: case 1: break;
    case MSR_TSC: {
        uint64_t delta = val - x86_read_tsc(cpu);
        cpu->tsc_offset += delta;
        cpu->tsc_adjust += delta; /* 17.17.3 */
        x86_pvclock_update(cpu);
        break;
    }
    case MSR_TSC_ADJUST:
        *ok = x86_has_bit(cpu, X86_FEAT_TSC_ADJUST);
        if (*ok) {
            cpu->tsc_offset += val - cpu->tsc_adjust;
            cpu->tsc_adjust = val;
            x86_pvclock_update(cpu);
        }
        break;
    case MSR_FEATURE_CONTROL: /* lock bit: writable once; nothing else can be enabled here */
        *ok = !x86_vendor_is_amd(cpu) && !(cpu->feature_control & 1) && !(val & ~1ull);
        cpu->feature_control = *ok ? val : cpu->feature_control;
        break;
    case MSR_MCG_CTL:
        *ok = x86_has_bit(cpu, X86_FEAT_MCA) && (val == 0 || val == UINT64_MAX);
        cpu->mcg_ctl = *ok ? val : cpu->mcg_ctl;
        break;
    case MSR_PAT:
        *ok = x86_has_bit(cpu, X86_FEAT_PAT) && msr_types_ok(val, true);
        cpu->pat = *ok ? val : cpu->pat;
        break;
    case MSR_EFER:
        *ok = (x86_has_bit(cpu, X86_FEAT_LM) || x86_has_bit(cpu, X86_FEAT_SYSCALL) ||
               x86_has_bit(cpu, X86_FEAT_NX)) &&
              x86_set_efer(cpu, val);
        break;
    case MSR_FS_BASE:
    case MSR_GS_BASE: {
        unsigned seg = msr == MSR_FS_BASE ? SEG_FS : SEG_GS;
        *ok = x86_has_bit(cpu, X86_FEAT_LM) && x86_canonical_base(cpu, val);
        if (*ok) {
            cpu->seg[seg].base = cpu->seg_base[seg] = val;
        }
        break;
    }
    case MSR_XSS:
        *ok = x86_has_bit(cpu, X86_FEAT_XSAVES) && val == 0;
        break;
    case X86_MSR_KVM_STEAL_TIME: /* KVM gets it with the next push; bits 5:1 are reserved */
        *ok = x86_has_bit(cpu, X86_FEAT_KVM_STEAL_TIME) && !(val & 0x3e);
        cpu->pv_steal = *ok ? val : cpu->pv_steal;
        break;
    case X86_MSR_KVM_WALL_CLOCK: case X86_MSR_KVM_SYSTEM_TIME: *ok = x86_pvclock_write(cpu, msr, val); break;
    case MSR_PKRS:
        *ok = x86_has_bit(cpu, X86_FEAT_PKS) && !(val >> 32);
        if (*ok) {
            x86_set_pkrs(cpu, (uint32_t)val);
        }
        break;
    default:
        return false;
    }
    return true;
}

bool x86_msr_write(X86Cpu *cpu, uint32_t msr, uint64_t val)
{
    const MsrCell *cell;
    uint64_t *slot;
    bool ok;
    if (msr >= MSR_EFER && msr <= MSR_FMASK) {
        x86_transitions_drop(cpu);
    }
    if (msr_is_apic(msr)) {
        ok = cpu->apic_ops && cpu->apic_ops->msr_write(cpu->apic, msr, val);
    } else if ((slot = msr_cell(cpu, msr, &cell))) {
        ok = !(val & ~cell->mask) && (!cell->canonical || x86_canonical_base(cpu, val));
        if (ok) {
            *slot = val;
        }
    } else if ((slot = msr_array(cpu, msr))) {
        ok = msr_array_write_ok(cpu, msr, val);
        if (ok) {
            *slot = val;
        }
    } else if ((slot = x86_hyperv_slot(cpu, msr))) {
        ok = true;
        *slot = val; /* KVM checks it when it gets it */
    } else if (!msr_write_special(cpu, msr, val, &ok)) {
        const MsrFixed *f = msr_fixed_find(cpu, msr);
        ok = f && (f->kind == MSR_DROP || (f->kind == MSR_WO && (f->val == 0 || !(val & ~f->val))));
    }
    if (!ok) {
        x86_guest_error(cpu, "wrmsr 0x%x, 0x%" PRIx64 ": no such register, or a value it does not take", msr,
                        val);
    }
    return ok;
}

void x86_msr_reset(X86Cpu *cpu)
{
    cpu->tsc_offset = cpu->vcpu.machine->clock ? 0 - tsc_raw(cpu) : 0;
    cpu->tsc_adjust = cpu->tsc_aux = 0;
    cpu->star = cpu->lstar = cpu->cstar = cpu->fmask = cpu->kernel_gs_base = 0;
    cpu->sysenter_cs = cpu->sysenter_esp = cpu->sysenter_eip = 0;
    cpu->pat = 0x0007040600070406ull;
    /* 2.1, IA32_MISC_ENABLE: fast strings; BTS and PEBS unavailable; MONITOR by CPUID. */
    cpu->misc_enable = 1 | 1 << 11 | 1 << 12 | (x86_has_bit(cpu, X86_FEAT_MONITOR) ? 1 << 18 : 0);
    cpu->spec_ctrl = cpu->mtrr_def = cpu->feature_control = 0;
    /* Revision in the upper half: not zero, so that nobody thinks an update is due. */
    cpu->bios_sign_id = x86_vendor_is_amd(cpu) ? 0x01000065 : 1ull << 32;
    memset(cpu->mtrr_fixed, 0, sizeof(cpu->mtrr_fixed));
    memset(cpu->mtrr_base, 0, sizeof(cpu->mtrr_base));
    memset(cpu->mtrr_mask, 0, sizeof(cpu->mtrr_mask));
    memset(cpu->mc_bank, 0, sizeof(cpu->mc_bank));
    for (unsigned i = 0; i < MCG_BANKS; i++) {
        cpu->mc_bank[4 * i] = UINT64_MAX;
    }
    cpu->mcg_cap = MCG_CAP_VALUE;
    cpu->mcg_status = 0;
    cpu->mcg_ctl = UINT64_MAX;
    cpu->xcr0 = 1;
    cpu->xss = 0;
    cpu->pkru = cpu->pkrs = 0;
    cpu->pv_wall = cpu->pv_time = cpu->pv_steal = 0;
    memset(cpu->hv, 0, sizeof(cpu->hv));
}
