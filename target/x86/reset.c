/* SPDX-License-Identifier: MIT
 * target/x86/reset.c - RESET, INIT, start-up IPI, and the entry states of direct boots.
 * Models:  Intel SDM volume 3 9.1, table 9-1 (register values after power-up, reset and INIT), 8.4.
 * Does not model: BIST (EAX is 0), the difference between power-up and RESET# for the caches.
 * Threads: the vCPU's thread, or anybody while it is parked.
 */
#include "sysint.h"
#include "cpuid.h"
#include "rhea/util/log.h"

static void reset_segments(X86Cpu *cpu)
{
    for (unsigned i = 0; i < SEG_COUNT; i++) {
        cpu->seg[i] = (X86Seg){ .limit = 0xffff, .attr = SA_P | SA_S | SA_RW | SA_ACCESSED };
    }
    cpu->seg[SEG_CS].sel = 0xf000;
    cpu->seg[SEG_CS].base = 0xffff0000;
    cpu->seg[SEG_CS].attr |= SA_CODE;
    cpu->ldt = (X86Seg){ .limit = 0xffff, .attr = SA_P | DT_LDT };
    cpu->tr = (X86Seg){ .limit = 0xffff, .attr = SA_P | DT_TSS32_BUSY };
    cpu->gdt = cpu->idt = (X86Table){ .limit = 0xffff };
}

/* What RESET and INIT have in common. */
static void reset_common(X86Cpu *cpu)
{
    memset(cpu->gpr, 0, 16 * sizeof(cpu->gpr[0]));
    cpu->gpr[R_RDX] = x86_cpuid_signature(cpu);
    cpu->rip = 0xfff0;
    cpu->eflags = 2;
    x86_set_eflags_arith(cpu, 0);
    cpu->cr2 = cpu->cr3 = cpu->cr4 = cpu->cr8_shadow = 0;
    cpu->efer = 0;
    x86_transitions_drop(cpu);
    cpu->cpl = 0;
    memset(cpu->pdpte, 0, sizeof(cpu->pdpte));
    memset(cpu->dr, 0, sizeof(cpu->dr));
    cpu->dr[6] = DR6_FIXED;
    cpu->dr[7] = DR7_FIXED;
    reset_segments(cpu);
    cpu->irq_shadow = cpu->nmi_blocked = cpu->exc_in_flight = cpu->in_smm = false;
    cpu->exc_vector = 0;
    cpu->exc_err = 0;
    cpu->db_hits = 0;
    cpu->cur = NULL;
    cpu->sys->n_chain = 0;
    cpu->sys->walk.valid = cpu->sys->scratch.valid = false;
    cpu->held.kind = X86_HELD_NONE;
    cpu->sys->monitor_armed = cpu->sys->mwait_any = cpu->sys->pending_fault = false;
    cpu->wait_sipi = cpu->vcpu.halted = !cpu->is_bsp;
#ifdef HAVE_KVM
    x86_kvm_reset(cpu);
#endif
    x86_update_mode(cpu);
    if (cpu->tlb) {
        x86_tlb_flush(cpu, false);
    }
}

void x86_cpu_reset(X86Cpu *cpu, ResetKind kind)
{
    if (log_on(LOG_CPU_RESET)) {
        g_autoptr(GString) text = g_string_new(NULL);
        x86_64_target_ops.print_regs(&cpu->vcpu, text);
        log_printf("CPU Reset (CPU %u)\n%s", cpu->vcpu.index, text->str);
    }
    vcpu_interrupt_clear(&cpu->vcpu, X86_IRQ_NMI | X86_IRQ_INIT | X86_IRQ_SIPI | X86_IRQ_SMI | X86_IRQ_MCE |
                                     (kind == RESET_COLD ? X86_IRQ_INTR | X86_IRQ_APIC : 0));
    cpu->cr0 = 0x60000010;
    cpu->a20_gate = true;
    cpu->sipi_vector = 0;
    cpu->smbase = 0x30000;
    cpu->smi_count = 0;
    memset(&cpu->fpu, 0, sizeof(cpu->fpu)); /* empty tags are 1: all registers hold zero, tag word 5555h */
    cpu->fpu.cw = 0x40;
    memset(cpu->xmm, 0, sizeof(cpu->xmm));
    cpu->mxcsr = 0x1f80;
    x86_msr_reset(cpu);
    reset_common(cpu);
}

void x86_cpu_init_event(X86Cpu *cpu)
{
    cpu->cr0 = 0x10 | (cpu->cr0 & (CR0_CD | CR0_NW));
    if (cpu->apic_ops) {
        cpu->apic_ops->init(cpu->apic);
    }
    reset_common(cpu);
}

void x86_cpu_start(X86Cpu *cpu, uint8_t vector)
{
    cpu->seg[SEG_CS].sel = (uint16_t)(vector << 8);
    cpu->seg[SEG_CS].base = (uint32_t)vector << 12;
    cpu->rip = 0;
    cpu->wait_sipi = cpu->vcpu.halted = false;
    x86_update_mode(cpu);
}

/* Flat 4 GiB segments, interrupts off; long: 64-bit code. */
static void enter_flat(X86Cpu *cpu, uint16_t code_sel, uint16_t data_sel, bool code64)
{
    static const X86Seg data = { .limit = 0xffffffff,
                                 .attr = SA_P | SA_S | SA_RW | SA_ACCESSED | SA_DB | SA_G };
    for (unsigned i = 0; i < SEG_COUNT; i++) {
        cpu->seg[i] = data;
        cpu->seg[i].sel = i == SEG_CS ? code_sel : data_sel;
    }
    cpu->seg[SEG_CS].attr = SA_P | SA_S | SA_CODE | SA_RW | SA_ACCESSED | SA_G | (code64 ? SA_L : SA_DB);
    cpu->tr = (X86Seg){ .limit = 0x67, .attr = SA_P | DT_TSS32_BUSY };
    cpu->cr0 = CR0_PE | CR0_ET;
    cpu->cr4 = 0;
    cpu->efer = 0;
    cpu->cpl = 0;
    cpu->eflags = 2;
    x86_set_eflags_arith(cpu, 0);
}

static void enter_done(X86Cpu *cpu)
{
    x86_transitions_drop(cpu);
    cpu->wait_sipi = cpu->vcpu.halted = false;
    x86_update_mode(cpu);
    if (cpu->tlb) {
        x86_tlb_flush(cpu, false);
    }
}

/* Multiboot 3.2 "machine state" and the PVH start-info ABI: protected mode, no paging. */
void x86_enter_flat32(X86Cpu *cpu, uint32_t eip, uint32_t ebx, uint32_t eax)
{
    enter_flat(cpu, 0x08, 0x10, false);
    cpu->rip = eip;
    cpu->gpr[R_RAX] = eax;
    cpu->gpr[R_RBX] = ebx;
    enter_done(cpu);
}

/* The Linux/x86 boot protocol, "32-bit boot protocol" and "64-bit boot protocol". */
void x86_enter_linux(X86Cpu *cpu, const X86LinuxEntry *e)
{
    enter_flat(cpu, 0x10, 0x18, e->cr3 != 0);
    cpu->gdt = (X86Table){ .base = e->gdt, .limit = e->gdt_limit };
    if (e->cr3) {
        cpu->cr3 = e->cr3;
        cpu->cr4 = CR4_PAE;
        cpu->efer = EFER_LME | EFER_LMA;
        cpu->cr0 |= CR0_PG;
    }
    cpu->rip = e->entry;
    cpu->gpr[R_RSI] = e->boot_params;
    cpu->gpr[R_RBX] = cpu->gpr[R_RBP] = cpu->gpr[R_RDI] = 0;
    enter_done(cpu);
}

/* What firmware does at last: all memory is cached (SDM volume 3, 12.11.2.1). */
void x86_set_memory_cached(X86Cpu *cpu)
{
    cpu->mtrr_def = 1 << 11 | 6;
}
