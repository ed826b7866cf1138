/* SPDX-License-Identifier: MIT
 * target/x86/control.c - control registers, EFER, and the instructions that write them.
 * Models:  Intel SDM volume 3 2.5 (control registers, reserved bits), 4.1-4.4 (mode changes, PDPTE
 * loads), 4.5 (CR4.LA57), 4.6.2 (protection keys), 4.10.4 (what each write invalidates), 10.8.6 (CR8);
 * volume 2 MOV CR, LMSW, SMSW, CLTS.
 * Does not model: CET, VMX and SVM enables (those bits are reserved).
 * Threads: the
 * vCPU's thread.
 */
#include "sysint.h"
#include "cpuid.h"
#include "rhea/util/log.h"

#define CR0_KNOWN                                                                                            \
    (CR0_PE | CR0_MP | CR0_EM | CR0_TS | CR0_ET | CR0_NE | CR0_WP | CR0_AM | CR0_NW | CR0_CD | CR0_PG)

/* 4.4.1. False: a reserved bit is set; the registers keep what they had. */
bool x86_load_pdptes(X86Cpu *cpu, uint64_t cr3)
{
    uint64_t rsvd = ~((1ull << cpu->phys_bits) - 1) | 0x1e6, e[4];
    hwaddr pa = cr3 & 0xffffffe0;
    for (unsigned i = 0; i < 4; i++) {
        hwaddr at = pa + 8 * i;
        e[i] = x86_phys_ld(cpu, cpu->a20_gate ? at : at & ~(hwaddr)(1u << 20), 8);
        if ((e[i] & 1) && (e[i] & rsvd)) {
            return false;
        }
    }
    memcpy(cpu->pdpte, e, sizeof(e));
    return true;
}

static bool paging_is_pae(uint64_t cr0, uint64_t cr4, uint64_t efer)
{
    return (cr0 & CR0_PG) && (cr4 & CR4_PAE) && !(efer & EFER_LME);
}

bool x86_set_cr0(X86Cpu *cpu, uint64_t val)
{
    uint64_t was = cpu->cr0, efer = cpu->efer;
    if (val >> 32 || ((val & CR0_PG) && !(val & CR0_PE)) || ((val & CR0_NW) && !(val & CR0_CD))) {
        return false;
    }
    val = (val & CR0_KNOWN) | CR0_ET;
    if (!(was & CR0_PG) && (val & CR0_PG)) {
        if (efer & EFER_LME) {
            if (!(cpu->cr4 & CR4_PAE) || (cpu->seg[SEG_CS].attr & SA_L)) {
                return false;
            }
            efer |= EFER_LMA;
        }
    } else if ((was & CR0_PG) && !(val & CR0_PG)) {
        if (in_code64(cpu) || (cpu->cr4 & CR4_PCIDE)) {
            return false;
        }
        efer &= ~(uint64_t)EFER_LMA;
    }
    if (paging_is_pae(val, cpu->cr4, efer) && ((was ^ val) & (CR0_CD | CR0_NW | CR0_PG)) &&
        !x86_load_pdptes(cpu, cpu->cr3)) {
        return false;
    }
    cpu->cr0 = val;
    cpu->efer = efer;
    x86_transitions_drop(cpu);
    if ((was ^ val) & (CR0_PG | CR0_PE)) {
        x86_tlb_flush(cpu, false);
    } else if ((was ^ val) & CR0_WP) {
        x86_tlb_rights_changed(cpu);
    }
    x86_update_mode(cpu);
    return true;
}

bool x86_set_cr3(X86Cpu *cpu, uint64_t val)
{
    bool keep = false;
    if (in_long(cpu)) {
        if (cpu->cr4 & CR4_PCIDE) {
            keep = val >> 63; /* 4.10.4.1: the PCID's entries are still good */
            val &= ~(1ull << 63);
        }
        if (val >> cpu->phys_bits) {
            return false;
        }
    } else {
        val = (uint32_t)val;
        if (paging_is_pae(cpu->cr0, cpu->cr4, cpu->efer) && !x86_load_pdptes(cpu, val)) {
            return false;
        }
    }
    cpu->cr3 = val;
    if (cpu->cr0 & CR0_PG) {
        x86_tlb_new_cr3(cpu, keep);
    }
    return true;
}

uint64_t x86_cr4_allowed(const X86Cpu *cpu)
{
    static const struct { uint32_t bit; uint16_t feat;
    } map[] = {
        { CR4_VME | CR4_PVI, X86_FEAT_VME },
        { CR4_TSD, X86_FEAT_TSC },
        { CR4_DE, X86_FEAT_DE },
        { CR4_PSE, X86_FEAT_PSE },
        { CR4_PAE, X86_FEAT_PAE },
        { CR4_MCE, X86_FEAT_MCE },
        { CR4_PGE, X86_FEAT_PGE },
        { CR4_OSFXSR, X86_FEAT_FXSR },
        { CR4_OSXMMEXCPT, X86_FEAT_SSE },
        { CR4_UMIP, X86_FEAT_UMIP },
        { CR4_FSGSBASE, X86_FEAT_FSGSBASE },
        { CR4_PCIDE, X86_FEAT_PCID },
        { CR4_OSXSAVE, X86_FEAT_XSAVE },
        { CR4_SMEP, X86_FEAT_SMEP },
        { CR4_SMAP, X86_FEAT_SMAP },
        { CR4_LA57, X86_FEAT_LA57 },
        { CR4_PKE, X86_FEAT_PKU },
        { CR4_PKS, X86_FEAT_PKS },
    };
    uint64_t ok = CR4_PCE;
    for (unsigned i = 0; i < G_N_ELEMENTS(map); i++) {
        ok |= x86_has_bit(cpu, map[i].feat) ? map[i].bit : 0;
    }
    return ok;
}

bool x86_set_cr4(X86Cpu *cpu, uint64_t val)
{
    uint64_t diff = cpu->cr4 ^ val;
    if (val & ~x86_cr4_allowed(cpu)) {
        return false;
    }
    if (in_long(cpu) && (!(val & CR4_PAE) || (diff & CR4_LA57))) { /* 4.5: LA57 only outside */
        return false;
    }
    if ((diff & val & CR4_PCIDE) && (!in_long(cpu) || (cpu->cr3 & 0xfff))) {
        return false;
    }
    if (paging_is_pae(cpu->cr0, val, cpu->efer) && (diff & (CR4_PAE | CR4_PGE | CR4_PSE | CR4_SMEP)) &&
        !x86_load_pdptes(cpu, cpu->cr3)) {
        return false;
    }
    cpu->cr4 = val;
    x86_transitions_drop(cpu);
    if (diff & (CR4_PSE | CR4_PAE | CR4_PGE | CR4_PCIDE | CR4_SMEP | CR4_SMAP | CR4_LA57 | CR4_PKE | CR4_PKS)) {
        x86_tlb_flush(cpu, false);
    }
    x86_update_mode(cpu);
    return true;
}

uint64_t x86_efer_allowed(const X86Cpu *cpu)
{
    uint64_t ok = x86_has_bit(cpu, X86_FEAT_LM) ? EFER_LMA : 0;
    ok |= x86_has_bit(cpu, X86_FEAT_SYSCALL) ? EFER_SCE : 0;
    ok |= x86_has_bit(cpu, X86_FEAT_LM) ? EFER_LME : 0;
    ok |= x86_has_bit(cpu, X86_FEAT_NX) ? EFER_NXE : 0;
    ok |= x86_has_bit(cpu, X86_FEAT_FXSR_OPT) ? EFER_FFXSR : 0;
    return ok;
}

bool x86_set_efer(X86Cpu *cpu, uint64_t val)
{
    uint64_t was = cpu->efer;
    if (val & ~(x86_efer_allowed(cpu) | EFER_LMA)) {
        return false;
    }
    if (((was ^ val) & EFER_LME) && (cpu->cr0 & CR0_PG)) {
        return false;
    }
    cpu->efer = (val & ~(uint64_t)EFER_LMA) | (was & EFER_LMA);
    x86_transitions_drop(cpu);
    if ((was ^ val) & EFER_NXE) {
        x86_tlb_flush(cpu, false);
    }
    x86_update_mode(cpu);
    return true;
}

static uint8_t cr8_get(X86Cpu *cpu)
{
    return cpu->apic_ops ? cpu->apic_ops->get_tpr(cpu->apic) >> 4 : cpu->cr8_shadow & 15;
}

OP(mov_rc)
{
    uint64_t v;
    switch (d->reg) {
    case 0: v = cpu->cr0; break;
    case 2: v = cpu->cr2; break;
    case 3: v = cpu->cr3; break;
    case 4: v = cpu->cr4; break;
    case 8: v = cr8_get(cpu); break;
    default: RAISE(EXC_UD);
    }
    R64(d->rm) = cpu->mode & MODE_CODE64 ? v : (uint32_t)v;
    NEXT;
}

OP(mov_cr)
{
    uint64_t v = cpu->mode & MODE_CODE64 ? R64(d->rm) : (uint32_t)R64(d->rm);
    bool ok = true;
    SYNC(d);
    cpu->rip = insn_next_rip(cpu, d);
    switch (d->reg) {
    case 0: ok = x86_set_cr0(cpu, v); break;
    case 2: cpu->cr2 = v; break;
    case 3: ok = x86_set_cr3(cpu, v); break;
    case 4: ok = x86_set_cr4(cpu, v); break;
    case 8:
        ok = v < 16;
        if (ok && cpu->apic_ops) {
            cpu->apic_ops->set_tpr(cpu->apic, (uint8_t)(v << 4));
        } else if (ok) {
            cpu->cr8_shadow = v;
        }
        break;
    default: RAISE(EXC_UD);
    }
    if (!ok) {
        RAISE_ERR(EXC_GP, 0);
    }
    END_UNIT;
}

OP(clts)
{
    cpu->cr0 &= ~(uint64_t)CR0_TS;
    x86_update_mode(cpu);
    cpu->rip = insn_next_rip(cpu, d);
    END_UNIT;
}

/* LMSW sets PE but never clears it. */
OP(lmsw)
{
    uint64_t v = insn_is_mem(d) ? ld16(cpu, d, ea_lin(cpu, d, 2, false)) : R16(d->rm);
    SYNC(d);
    cpu->rip = insn_next_rip(cpu, d);
    if (!x86_set_cr0(cpu, (cpu->cr0 & ~0xeull) | (v & 0xf))) {
        RAISE_ERR(EXC_GP, 0);
    }
    END_UNIT;
}
