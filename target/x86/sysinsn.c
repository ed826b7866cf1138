/* SPDX-License-Identifier: MIT
 * target/x86/sysinsn.c - the other privileged and system instructions: CLI/STI, HLT, CPUID, TSC, MSRs, random
 * numbers, cache and TLB invalidation, MONITOR/MWAIT, CLAC/STAC.
 * Models:  Intel SDM volume 2, the instruction pages; volume 3 2.3 and 20.3-20.4 (VIF, VIP, PVI), 4.10.4.1
 * (INVPCID).
 * Does not model: performance counters (RDPMC: #GP, CPUID leaf 0xA is empty), store-triggered
 * wake-up from MWAIT: on a machine with several CPUs it returns at once, which the SDM allows.
 * Threads: the
 * vCPU's thread.
 */
#include "sysint.h"
#include "cpuid.h"
#include "rhea/util/log.h"

OP(cli)
{
    if (!(cpu->mode & MODE_PE) || cpu->cpl <= iopl(cpu)) {
        cpu->eflags &= ~FL_IF;
    } else if ((in_vm86(cpu) && (cpu->cr4 & CR4_VME)) ||
               (!in_vm86(cpu) && cpu->cpl == 3 && (cpu->cr4 & CR4_PVI))) {
        cpu->eflags &= ~FL_VIF;
    } else {
        RAISE_ERR(EXC_GP, 0);
    }
    NEXT;
}

OP(sti)
{
    if (!(cpu->mode & MODE_PE) || cpu->cpl <= iopl(cpu)) {
        if (!(cpu->eflags & FL_IF)) {
            cpu->irq_shadow = true;
        }
        cpu->eflags |= FL_IF;
    } else if (((in_vm86(cpu) && (cpu->cr4 & CR4_VME)) ||
                (!in_vm86(cpu) && cpu->cpl == 3 && (cpu->cr4 & CR4_PVI))) &&
               !(cpu->eflags & FL_VIP)) {
        cpu->eflags |= FL_VIF;
    } else {
        RAISE_ERR(EXC_GP, 0);
    }
    cpu->rip = insn_next_rip(cpu, d);
    END_UNIT;
}

static void sysinsn_halt(X86Cpu *cpu)
{
    cpu->irq_shadow = false; /* HLT is the one instruction the shadow covered */
    cpu->vcpu.halted = true;
}

OP(hlt)
{
    cpu->rip = insn_next_rip(cpu, d);
    sysinsn_halt(cpu);
    END_UNIT;
}

OP(monitor)
{
    if (cpu->cpl != 0) {
        RAISE(EXC_UD);
    }
    if (R32(R_RCX)) {
        RAISE_ERR(EXC_GP, 0);
    }
    /* The address is checked like a byte load: DS (or an override) and rAX by address size. */
    uint64_t off = R64(R_RAX);
    unsigned as = d->flags & I_ASIZE;
    off = as == 1 ? (uint16_t)off : as == 2 ? (uint32_t)off : off;
    uint64_t lin;
    if (d->flags & I_SEGCHECK) {
        SYNC(d);
        lin = seg_linear(cpu, d->seg, off, 1, false);
    } else {
        lin = off + cpu->seg_base[d->seg];
    }
    (void)ld8(cpu, d, cpu->mode & MODE_CODE64 ? lin : (uint32_t)lin);
    cpu->sys->monitor_armed = true;
    NEXT;
}

OP(mwait)
{
    if (cpu->cpl != 0) {
        RAISE(EXC_UD);
    }
    uint32_t ecx = R32(R_RCX);
    if (ecx & ~1u) {
        RAISE_ERR(EXC_GP, 0);
    }
    cpu->rip = insn_next_rip(cpu, d);
    if (cpu->sys->monitor_armed && cpu->vcpu.machine->n_cpus == 1) {
        cpu->sys->monitor_armed = false;
        cpu->sys->mwait_any = ecx & 1;
        sysinsn_halt(cpu);
    } else {
        g_thread_yield();
    }
    END_UNIT;
}

OP(cpuid)
{
    uint32_t r[4];
    x86_cpuid(cpu, R32(R_RAX), R32(R_RCX), r);
    R64(R_RAX) = r[0];
    R64(R_RBX) = r[1];
    R64(R_RCX) = r[2];
    R64(R_RDX) = r[3];
    cpu->rip = insn_next_rip(cpu, d); /* serialising instructions end their unit: docs/devel/threads.md */
    END_UNIT;
}

static void sysinsn_tsc(X86Cpu *cpu, const X86Insn *d)
{
    if ((cpu->cr4 & CR4_TSD) && cpu->cpl != 0) {
        RAISE_ERR(EXC_GP, 0);
    }
    SYNC(d); /* counted time is that of this instruction */
    uint64_t t = x86_read_tsc(cpu);
    R64(R_RAX) = (uint32_t)t;
    R64(R_RDX) = t >> 32;
}

OP(rdtsc) { sysinsn_tsc(cpu, d); NEXT; }

OP(rdtscp)
{
    sysinsn_tsc(cpu, d);
    R64(R_RCX) = (uint32_t)cpu->tsc_aux;
    NEXT;
}

OP(rdpid) { R64(d->rm) = (uint32_t)cpu->tsc_aux; NEXT; }

OP(rdpmc) { RAISE_ERR(EXC_GP, 0); }

OP(rdmsr)
{
    uint64_t v;
    SYNC(d);
    if (!x86_msr_read(cpu, R32(R_RCX), &v)) {
        RAISE_ERR(EXC_GP, 0);
    }
    R64(R_RAX) = (uint32_t)v;
    R64(R_RDX) = v >> 32;
    NEXT;
}

OP(wrmsr)
{
    SYNC(d);
    if (!x86_msr_write(cpu, R32(R_RCX), (uint64_t)R32(R_RDX) << 32 | R32(R_RAX))) {
        RAISE_ERR(EXC_GP, 0);
    }
    cpu->rip = insn_next_rip(cpu, d);
    END_UNIT;
}

static void sysinsn_random(X86Cpu *cpu, const X86Insn *d)
{
    uint64_t v = 0;
    bool ok = machine_random(cpu->vcpu.machine, &v);
    v = ok ? v : 0;
    if (insn_osize(d) == 1) {
        R16(d->rm) = (uint16_t)v;
    } else {
        R64(d->rm) = insn_osize(d) == 2 ? (uint32_t)v : v;
    }
    x86_set_eflags_arith(cpu, ok ? FL_CF : 0);
}

OP(rdrand) { sysinsn_random(cpu, d); NEXT; }
OP(rdseed) { sysinsn_random(cpu, d); NEXT; }

OP(invlpg)
{
    uint64_t lin = ea_off(cpu, d) + cpu->seg_base[d->seg];
    if (!(cpu->mode & MODE_CODE64)) {
        lin = (uint32_t)lin;
    }
    SYNC(d);
    if (x86_canonical_base(cpu, lin)) {
        x86_tlb_flush_page(cpu, lin);
    }
    cpu->rip = insn_next_rip(cpu, d);
    END_UNIT;
}

OP(invpcid)
{
    uint64_t type = cpu->mode & MODE_CODE64 ? R64(d->reg) : R32(d->reg);
    uint64_t lin = ea_lin(cpu, d, 16, false), desc[2];
    ld_n(cpu, d, lin, desc, 16);
    uint64_t pcid = desc[0] & 0xfff;
    SYNC(d);
    if (type > 3 || desc[0] >> 12 || (type < 2 && !(cpu->cr4 & CR4_PCIDE) && pcid) ||
        (type == 0 && !x86_canonical_base(cpu, desc[1]))) {
        RAISE_ERR(EXC_GP, 0);
    }
    if (type == 0) {
        x86_tlb_flush_pcid_page(cpu, (unsigned)pcid, desc[1]);
    } else if (type == 1) {
        x86_tlb_flush_pcid(cpu, (unsigned)pcid);
    } else {
        x86_tlb_flush(cpu, type == 3);
    }
    cpu->rip = insn_next_rip(cpu, d);
    END_UNIT;
}

OP(wbinvd)
{
    cpu->rip = insn_next_rip(cpu, d);
    END_UNIT;
}

/* SDM volume 2 RDPKRU, WRPKRU: any privilege. */
OP(rdpkru)
{
    if (!(cpu->cr4 & CR4_PKE)) {
        RAISE(EXC_UD);
    }
    if (R32(R_RCX)) {
        RAISE_ERR(EXC_GP, 0);
    }
    R64(R_RAX) = cpu->pkru;
    R64(R_RDX) = 0;
    NEXT;
}

OP(wrpkru)
{
    if (!(cpu->cr4 & CR4_PKE)) {
        RAISE(EXC_UD);
    }
    if (R32(R_RCX) || R32(R_RDX)) {
        RAISE_ERR(EXC_GP, 0);
    }
    x86_set_pkru(cpu, R32(R_RAX));
    cpu->rip = insn_next_rip(cpu, d);
    END_UNIT;
}

static void sysinsn_ac(X86Cpu *cpu, const X86Insn *d, bool set)
{
    if (cpu->cpl != 0) {
        RAISE(EXC_UD);
    }
    cpu->eflags = (cpu->eflags & ~FL_AC) | (set ? FL_AC : 0);
    cpu->rip = insn_next_rip(cpu, d);
    x86_update_mode(cpu);
}

OP(clac) { sysinsn_ac(cpu, d, false); END_UNIT; }
OP(stac) { sysinsn_ac(cpu, d, true); END_UNIT; }
