/* SPDX-License-Identifier: MIT
 * target/x86/irq.c - asynchronous events: INIT, SIPI, NMI, maskable interrupts; priorities and masks.
 * Models:  Intel SDM volume 3 6.7 (NMI blocking), 6.8 (IF, the STI and MOV SS shadow), 6.9 (priorities), 8.4
 * and 10.4.7 (INIT, SIPI, wait-for-SIPI).
 *          34.3, 34.7, 34.8 (SMI; what system-management mode holds back).
 * Does not model: FRED.
 * Threads: the vCPU's thread, but x86_irq_ready() only reads and may be
 * called by whoever holds vcpu.lock.
 */
#include "sysint.h"
#include "rhea/util/log.h"

/* INIT, SIPI and SMI wait until RSM; an SMI waits for the end of the interrupt shadow, too, so that the save area has
 * no need to keep that, and for SIPI. */
static bool irq_smi_open(const X86Cpu *cpu)
{
    return !cpu->in_smm && !cpu->wait_sipi && !cpu->irq_shadow;
}

static bool irq_intr_open(const X86Cpu *cpu)
{
    return (cpu->eflags & FL_IF) && !cpu->irq_shadow;
}

bool x86_irq_ready(const Vcpu *v)
{
    const X86Cpu *cpu = (const X86Cpu *)v;
    uint32_t p = vcpu_irq_pending(v);
    if ((p & X86_IRQ_TLB) || ((p & X86_IRQ_INIT) && !cpu->in_smm)) {
        return true;
    }
    if (cpu->wait_sipi) {
        return p & X86_IRQ_SIPI;
    }
    if ((p & X86_IRQ_NMI) && !cpu->nmi_blocked) {
        return true;
    }
    if ((p & (X86_IRQ_SMI | X86_IRQ_SIPI)) && !cpu->in_smm) {
        return true;
    }
    if (p & (X86_IRQ_INTR | X86_IRQ_APIC)) {
        /* MWAIT with ECX[0] wakes for masked interrupts too. */
        return (cpu->eflags & FL_IF) || cpu->sys->mwait_any;
    }
    return false;
}

/* The vector of the next maskable interrupt: the APIC's own first, then ExtINT from the 8259. -1: none, after
 * all. */
static int irq_take_vector(X86Cpu *cpu, uint32_t p)
{
    if ((p & X86_IRQ_APIC) && cpu->apic_ops) {
        int v = cpu->apic_ops->ack(cpu->apic);
        if (v >= 0) {
            return v;
        }
    }
    if ((p & X86_IRQ_INTR) && cpu->pic_ack) {
        return cpu->pic_ack(cpu->pic_opaque);
    }
    return -1;
}

static void irq_wake(X86Cpu *cpu)
{
    cpu->vcpu.halted = false;
    cpu->sys->mwait_any = false;
}

/* Events that no flag masks. True: the state changed. */
static bool irq_take_unmaskable(X86Cpu *cpu, uint32_t p)
{
    if (cpu->in_smm) {
        return false;
    }
    if (p & X86_IRQ_INIT) {
        /* A start-up IPI that is pending, too, came later: the APIC withdraws older ones when it gets an INIT. */
        vcpu_interrupt_clear(&cpu->vcpu, X86_IRQ_INIT | X86_IRQ_NMI);
        if (!cpu->wait_sipi) {
            x86_cpu_init_event(cpu);
        }
        return true;
    }
    if (p & X86_IRQ_SIPI) {
        vcpu_interrupt_clear(&cpu->vcpu, X86_IRQ_SIPI);
        if (cpu->wait_sipi) { /* otherwise it is ignored: 10.4.7.3 */
            x86_cpu_start(cpu, (uint8_t)__atomic_load_n(&cpu->sipi_vector, __ATOMIC_ACQUIRE));
            return true;
        }
    }
    if ((p & X86_IRQ_SMI) && irq_smi_open(cpu)) {
        vcpu_interrupt_clear(&cpu->vcpu, X86_IRQ_SMI);
        if (!cpu->no_smm) {
            x86_smm_enter(cpu);
            return true;
        }
        x86_guest_error(cpu, "system-management interrupt dropped: -machine smm=off");
    }
    return false;
}

bool x86_take_irq(X86Cpu *cpu, uint32_t wanted)
{
    uint32_t p = vcpu_irq_pending(&cpu->vcpu) & wanted;
    if (p & X86_IRQ_TLB) {
        vcpu_interrupt_clear(&cpu->vcpu, X86_IRQ_TLB);
        x86_tlb_flush(cpu, false);
        x86_units_flush(cpu);
    }
    if (irq_take_unmaskable(cpu, p)) {
        return true;
    }
    if (cpu->wait_sipi) {
        return false;
    }
    cpu->cur = NULL;
    if ((p & X86_IRQ_NMI) && !cpu->nmi_blocked && !cpu->irq_shadow) {
        vcpu_interrupt_clear(&cpu->vcpu, X86_IRQ_NMI);
        irq_wake(cpu);
        cpu->nmi_blocked = true;
        x86_interrupt(cpu, EXC_NMI, INT_HARD, false, 0);
        return true;
    }
    if ((p & (X86_IRQ_INTR | X86_IRQ_APIC)) && irq_intr_open(cpu)) {
        int vector = irq_take_vector(cpu, p);
        if (vector >= 0) {
            irq_wake(cpu);
            x86_interrupt(cpu, vector, INT_HARD, false, 0);
            return true;
        }
    } else if ((p & (X86_IRQ_INTR | X86_IRQ_APIC)) && cpu->sys->mwait_any) {
        irq_wake(cpu);
    }
    return false;
}
