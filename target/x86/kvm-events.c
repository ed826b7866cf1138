/* SPDX-License-Identifier: MIT
 * target/x86/kvm-events.c - what happens between entries: interrupts, NMI, INIT, start-up IPI, SMI,
 *   halts; the events KVM holds for a CPU; and the exits that are this architecture's.
 * Models: Linux Documentation/virt/kvm/api.rst, 4.16 (KVM_INTERRUPT), 4.31-4.32 (VCPU_EVENTS),
 *   4.38-4.39 (MP_STATE), 4.64 (KVM_NMI), 5 (if_flag, ready_for_interrupt_injection,
 *   request_interrupt_window, cr8, apic_base).
 * Does not model: machine checks.
 * Threads: the vCPU's own.
 */
#include "kvm.h"

#include <string.h>

/* ---- VCPU_EVENTS, MP_STATE ---- */

/* What KVM was about to deliver becomes part of the CPU struct: another engine, or saved state, may take it from there. */
static void hold_events(X86Cpu *cpu)
{
    struct kvm_vcpu_events *e = &cpu->kvm->events;
    X86Held *h = &cpu->held;
    *h = (X86Held){ 0 };
    if (e->exception.injected || e->exception.pending) {
        *h = (X86Held){ X86_HELD_EXCEPTION, e->exception.nr, e->exception.has_error_code ? e->exception.error_code : 0 };
    } else if (e->nmi.injected) {
        *h = (X86Held){ X86_HELD_NMI, EXC_NMI, 0 };
    } else if (e->interrupt.injected) {
        *h = (X86Held){ X86_HELD_INTERRUPT, e->interrupt.nr, 0 };
    }
    if (e->nmi.pending) {
        vcpu_interrupt(&cpu->vcpu, X86_IRQ_NMI);
        cpu->kvm->nmi_changed = true;
    }
    memset(&e->exception, 0, sizeof(e->exception));
    e->nmi.injected = e->nmi.pending = e->interrupt.injected = e->interrupt.soft = 0;
}

static void put_held(X86Cpu *cpu)
{
    struct kvm_vcpu_events *e = &cpu->kvm->events;
    const X86Held *h = &cpu->held;
    memset(&e->exception, 0, sizeof(e->exception));
    e->nmi.injected = h->kind == X86_HELD_NMI;
    e->interrupt.injected = h->kind == X86_HELD_INTERRUPT;
    e->interrupt.nr = h->kind == X86_HELD_INTERRUPT ? h->vector : 0;
    e->interrupt.soft = 0;
    if (h->kind == X86_HELD_EXCEPTION) {
        e->exception.injected = 1;
        e->exception.nr = h->vector;
        e->exception.has_error_code = x86_has_errcode(h->vector) && !in_real(cpu);
        e->exception.error_code = e->exception.has_error_code ? h->err : 0;
    }
}

/* INIT and start-up IPIs that wait in the kernel change every register: KVM takes them when it is asked for the
 * run state, so that comes before all others. */
bool kvm_x86_settle(X86Cpu *cpu, Error **errp)
{
    struct kvm_mp_state mp;
    if (kvm_irqchip(cpu->vcpu.machine) == IRQCHIP_OFF) {
        return true; /* run states are ours */
    }
    int r = kvm_vcpu_ioctl(&cpu->vcpu, KVM_GET_MP_STATE, &mp);
    if (r < 0) {
        return kvm_x86_failed(cpu, "KVM_GET_MP_STATE", r, errp);
    }
    cpu->kvm->mp_seen = mp.mp_state;
    cpu->wait_sipi = mp.mp_state == KVM_MP_STATE_UNINITIALIZED || mp.mp_state == KVM_MP_STATE_INIT_RECEIVED;
    cpu->vcpu.halted = cpu->wait_sipi || mp.mp_state == KVM_MP_STATE_HALTED;
    return true;
}

bool kvm_x86_pull_events(X86Cpu *cpu, Error **errp)
{
    struct kvm_vcpu_events *e = &cpu->kvm->events;
    int r = kvm_vcpu_ioctl(&cpu->vcpu, KVM_GET_VCPU_EVENTS, e);
    if (r < 0) {
        return kvm_x86_failed(cpu, "KVM_GET_VCPU_EVENTS", r, errp);
    }
    cpu->irq_shadow = e->interrupt.shadow;
    cpu->nmi_blocked = e->nmi.masked;
    hold_events(cpu);
    return true;
}

bool kvm_x86_push_events(X86Cpu *cpu, bool fresh, Error **errp)
{
    struct kvm_vcpu_events *e = &cpu->kvm->events;
    put_held(cpu);
    e->interrupt.shadow = cpu->irq_shadow ? KVM_X86_SHADOW_INT_STI : 0;
    e->nmi.masked = cpu->nmi_blocked;
    e->flags &= ~(uint32_t)KVM_VCPUEVENT_VALID_SMM;
    e->flags &= ~(uint32_t)KVM_VCPUEVENT_VALID_NMI_PENDING; /* one that came since the pull stays */
    e->flags |=
        KVM_VCPUEVENT_VALID_SHADOW | (fresh || cpu->kvm->nmi_changed ? KVM_VCPUEVENT_VALID_NMI_PENDING : 0);
    cpu->kvm->nmi_changed = false;
    int r = kvm_vcpu_ioctl(&cpu->vcpu, KVM_SET_VCPU_EVENTS, e);
    if (r < 0) {
        return kvm_x86_failed(cpu, "KVM_SET_VCPU_EVENTS", r, errp);
    }
    if (kvm_irqchip(cpu->vcpu.machine) == IRQCHIP_OFF) {
        return true;
    }
    struct kvm_mp_state mp = { .mp_state = KVM_MP_STATE_RUNNABLE };
    if (cpu->vcpu.halted) { /* UNINITIALIZED would not hear a start-up IPI that follows an INIT taken already */
        mp.mp_state = cpu->wait_sipi ? KVM_MP_STATE_INIT_RECEIVED : KVM_MP_STATE_HALTED;
    }
    if (!fresh && mp.mp_state == cpu->kvm->mp_seen) {
        return true;
    }
    cpu->kvm->mp_seen = mp.mp_state;
    r = kvm_vcpu_ioctl(&cpu->vcpu, KVM_SET_MP_STATE, &mp);
    return r < 0 ? kvm_x86_failed(cpu, "KVM_SET_MP_STATE", r, errp) : true;
}

/* ---- local APICs in the kernel ---- */

enum { MSR_TSC_DEADLINE = 0x6e0 };

static bool lapic_inside(const X86Cpu *cpu)
{
    return kvm_irqchip(cpu->vcpu.machine) != IRQCHIP_OFF && cpu->apic_ops;
}

bool kvm_x86_pull_lapic(X86Cpu *cpu, Error **errp)
{
    struct kvm_lapic_state s;
    KvmOneMsr msr = kvm_x86_one_msr(MSR_TSC_DEADLINE);
    _Static_assert(sizeof(s) == 1024, "256 words");
    if (!lapic_inside(cpu)) {
        return true;
    }
    int r = kvm_vcpu_ioctl(&cpu->vcpu, KVM_GET_LAPIC, &s);
    if (r < 0) {
        return kvm_x86_failed(cpu, "KVM_GET_LAPIC", r, errp);
    }
    uint32_t page[256];
    memcpy(page, &s, sizeof(page));
    cpu->apic_ops->msr_write(cpu->apic, 0x1b, cpu->kvm->apic_base);
    cpu->apic_ops->set_page(cpu->apic, page);
    if (kvm_vcpu_ioctl(&cpu->vcpu, KVM_GET_MSRS, &msr) == 1) {
        cpu->apic_ops->msr_write(cpu->apic, MSR_TSC_DEADLINE, msr.e.data);
    }
    return true;
}

/* Behind SREGS, which have IA32_APIC_BASE. */
bool kvm_x86_push_lapic(X86Cpu *cpu, Error **errp)
{
    struct kvm_lapic_state s;
    KvmOneMsr msr = kvm_x86_one_msr(MSR_TSC_DEADLINE);
    uint32_t page[256] = { 0 };
    if (!lapic_inside(cpu)) {
        return true;
    }
    cpu->apic_ops->get_page(cpu->apic, page);
    memcpy(&s, page, sizeof(s));
    int r = kvm_vcpu_ioctl(&cpu->vcpu, KVM_SET_LAPIC, &s);
    if (r < 0) {
        return kvm_x86_failed(cpu, "KVM_SET_LAPIC", r, errp);
    }
    uint64_t deadline = 0;
    if (cpu->apic_ops->msr_read(cpu->apic, MSR_TSC_DEADLINE, &deadline)) {
        msr.e.data = deadline;
        kvm_vcpu_ioctl(&cpu->vcpu, KVM_SET_MSRS, &msr);
    }
    return true;
}

/* ---- before an entry ---- */

/* INIT, start-up IPI, SMI: they replace state, so it has to be here. True: look again. */
static bool take_unmaskable(X86Cpu *cpu, uint32_t p)
{
    Vcpu *v = &cpu->vcpu;
    p &= v->debug.step & DEBUG_STEP_NO_IRQ ? ~(uint32_t)X86_IRQ_SMI : UINT32_MAX;
    if (!(p & (X86_IRQ_INIT | X86_IRQ_SIPI | X86_IRQ_SMI)) || cpu->in_smm || !kvm_own_state(v)) {
        return false;
    }
    if (p & X86_IRQ_INIT) {
        vcpu_interrupt_clear(v, X86_IRQ_INIT | X86_IRQ_NMI);
        if (!cpu->wait_sipi) {
            x86_cpu_init_event(cpu);
        }
        return true;
    }
    if (p & X86_IRQ_SIPI) {
        vcpu_interrupt_clear(v, X86_IRQ_SIPI);
        if (cpu->wait_sipi) {
            x86_cpu_start(cpu, (uint8_t)__atomic_load_n(&cpu->sipi_vector, __ATOMIC_ACQUIRE));
        }
        return true;
    }
    if (cpu->wait_sipi) {
        return false;
    }
    vcpu_interrupt_clear(v, X86_IRQ_SMI);
    if (cpu->no_smm) {
        x86_guest_error(cpu, "system-management interrupt dropped: -machine smm=off");
        return false;
    }
    x86_smm_enter(cpu); /* the handler runs in software until RSM */
    return true;
}

static int take_vector(X86Cpu *cpu, uint32_t p)
{
    int v = -1;
    if ((p & X86_IRQ_APIC) && cpu->apic_ops) {
        v = cpu->apic_ops->ack(cpu->apic);
    }
    return v < 0 && (p & X86_IRQ_INTR) && cpu->pic_ack ? cpu->pic_ack(cpu->pic_opaque) : v;
}

/* For shutdown_exit(). */
static void note_given(X86Cpu *cpu, int vector)
{
    struct kvm_regs g;
    bool known = cpu->kvm->no_paging32 && kvm_vcpu_ioctl(&cpu->vcpu, KVM_GET_REGS, &g) >= 0;
    cpu->kvm->given = known ? (uint8_t)vector : 0;
    cpu->kvm->given_rip = known ? g.rip : 0;
}

/* Gives KVM the next vector when the guest can take it now; else asks for an exit when it can. */
static bool offer_interrupt(X86Cpu *cpu, struct kvm_run *run)
{
    enum { MASKABLE = X86_IRQ_INTR | X86_IRQ_APIC };
    uint32_t p = vcpu_irq_pending(&cpu->vcpu) & MASKABLE;
    run->request_interrupt_window = 0;
    if (!p || (cpu->vcpu.debug.step & DEBUG_STEP_NO_IRQ)) {
        return true;
    }
    if (cpu->kvm->window_known && run->ready_for_interrupt_injection && run->if_flag) {
        int vector = take_vector(cpu, p);
        if (vector >= 0) {
            struct kvm_interrupt irq = { .irq = (uint32_t)vector };
            cpu->kvm->window_known = false;
            if (kvm_vcpu_ioctl(&cpu->vcpu, KVM_INTERRUPT, &irq) < 0) {
                return false;
            }
            note_given(cpu, vector);
        }
        p = vcpu_irq_pending(&cpu->vcpu) & MASKABLE;
    }
    run->request_interrupt_window = p != 0;
    return true;
}

static bool no_irqchip(const Vcpu *v)
{
    return kvm_irqchip(v->machine) == IRQCHIP_OFF;
}

/* Does LINT0 let the 8259's interrupt through? */
static bool extint_passes(X86Cpu *cpu)
{
    enum { LVT0 = 0x350 / 4, MASKED = 1 << 16, MODE = 7 << 8, ENABLED = 1 << 11 };
    uint32_t page[256] = { 0 };
    uint64_t base = 0;
    if (!cpu->apic_ops || !cpu->apic_ops->msr_read(cpu->apic, 0x1b, &base) || !(base & ENABLED)) {
        return true;
    }
    cpu->apic_ops->get_page(cpu->apic, page);
    return (page[LVT0] & (MASKED | MODE)) == MODE;
}

/* A CPU that is pushed asleep stays so: KVM_RUN waits for local APICs first, and does not look whether somebody asks for
 * the window. So it is awake, with the 8259's interrupt about to be delivered. */
static void wake_asleep(X86Cpu *cpu)
{
    Vcpu *v = &cpu->vcpu;
    if (no_irqchip(v) || cpu->kvm->window_known || !v->halted || !(vcpu_irq_pending(v) & X86_IRQ_INTR) ||
        (v->debug.step & DEBUG_STEP_NO_IRQ) || !kvm_own_state(v)) {
        return;
    }
    if (v->halted && !cpu->wait_sipi && (cpu->eflags & FL_IF) && !cpu->irq_shadow && !cpu->held.kind &&
        extint_passes(cpu)) {
        int vector = take_vector(cpu, vcpu_irq_pending(v));
        if (vector >= 0) {
            cpu->held = (X86Held){ X86_HELD_INTERRUPT, (uint8_t)vector, 0 };
            v->halted = false;
        }
    }
}

KvmNext kvm_x86_enter(Vcpu *v, VcpuExit *out)
{
    X86Cpu *cpu = x86_cpu(v);
    struct kvm_run *run = kvm_vcpu_run(v);
    uint32_t p = vcpu_irq_pending(v);
    if (p) {
        vcpu_interrupt_clear(v, p & (X86_IRQ_TLB | X86_IRQ_MCE));
        if (take_unmaskable(cpu, p)) {
            return KVM_NEXT_AGAIN;
        }
        if ((p & X86_IRQ_NMI) && !cpu->wait_sipi && !(v->debug.step & DEBUG_STEP_NO_IRQ) &&
            !kvm_x86_needs_software(cpu)) {
            vcpu_interrupt_clear(v, X86_IRQ_NMI);
            v->halted = v->halted && !no_irqchip(v);
            if (kvm_state_owned(v)) {
                cpu->kvm->events.nmi.pending = 1;
                cpu->kvm->nmi_changed = true;
            } else {
                kvm_vcpu_ioctl(v, KVM_NMI, NULL);
            }
        }
    }
    wake_asleep(cpu);
    if (no_irqchip(v) && v->halted) {
        if (cpu->wait_sipi || !x86_irq_ready(v)) {
            out->why = EXIT_HALT;
            return KVM_NEXT_LEAVE;
        }
        v->halted = kvm_x86_needs_software(cpu) != NULL; /* the interpreter wakes it by itself */
    }
    if (G_UNLIKELY(kvm_x86_needs_software(cpu))) {
        return kvm_x86_run_software(cpu, 0, out);
    }
    KvmNext next;
    if (G_UNLIKELY(v->debug.step) && kvm_x86_step_planted(cpu, &next, out)) {
        return next;
    }
    if (!offer_interrupt(cpu, run)) {
        return kvm_give_up(v, out, "KVM refused an interrupt");
    }
    if (no_irqchip(v) && cpu->apic_ops) {
        run->cr8 = cpu->apic_ops->get_tpr(cpu->apic) >> 4;
    }
    return KVM_NEXT_ENTER;
}

/* ---- after it ---- */

void kvm_x86_left(Vcpu *v)
{
    X86Cpu *cpu = x86_cpu(v);
    const struct kvm_run *run = kvm_vcpu_run(v);
    cpu->kvm->window_known = true;
    cpu->kvm->entries++;
    /* For x86_irq_ready(), while KVM has the rest. */
    cpu->eflags = (cpu->eflags & ~FL_IF) | (run->if_flag ? FL_IF : 0);
    cpu->irq_shadow = cpu->nmi_blocked = false;
    if (!no_irqchip(v) || !cpu->apic_ops) {
        return;
    }
    if (cpu->apic_ops->get_tpr(cpu->apic) >> 4 != (run->cr8 & 15)) {
        cpu->apic_ops->set_tpr(cpu->apic, (uint8_t)(run->cr8 << 4));
    }
    if (G_UNLIKELY(run->apic_base != cpu->kvm->apic_base)) {
        cpu->kvm->apic_base = run->apic_base;
        if (!cpu->apic_ops->msr_write(cpu->apic, 0x1b, run->apic_base)) {
            x86_guest_error(cpu, "IA32_APIC_BASE = 0x%llx: no such state of the local APIC",
                            (unsigned long long)run->apic_base);
        }
    }
}

/* Where KVM refuses to switch on 32-bit paging, with a #GP of its own, guests that have no handlers yet fall
 * into a triple fault. There the interpreter tries what KVM says the guest died of: a real triple fault it
 * finds, too. So do some interrupts of 32-bit code, which such a KVM then forgets: they are delivered here, if the guest
 * is where it was with interrupts enabled. */
static KvmNext shutdown_exit(X86Cpu *cpu, VcpuExit *out)
{
    X86Kvm *k = cpu->kvm;
    if (k->no_paging32 && kvm_completes(cpu->vcpu.machine)) {
        if (k->given && kvm_own_state(&cpu->vcpu) && cpu->rip == k->given_rip && (cpu->eflags & FL_IF) && !cpu->held.kind) {
            cpu->held = (X86Held){ X86_HELD_INTERRUPT, k->given, 0 };
        }
        k->given = 0;
        return kvm_x86_complete(cpu, out);
    }
    out->why = EXIT_SHUTDOWN;
    return KVM_NEXT_LEAVE;
}

KvmNext kvm_x86_exit(Vcpu *v, VcpuExit *out)
{
    X86Cpu *cpu = x86_cpu(v);
    struct kvm_run *run = kvm_vcpu_run(v);
    switch (run->exit_reason) {
    case KVM_EXIT_HLT:
        v->halted = true;
        if (G_UNLIKELY(v->debug.step)) { /* the step was that */
            debug_note_hit(v, DEBUG_STEP, 0);
            v->debug.step = 0;
        }
        return KVM_NEXT_AGAIN;
    case KVM_EXIT_DEBUG: return kvm_x86_debug_exit(cpu, out);
    case KVM_EXIT_IRQ_WINDOW_OPEN:
    case KVM_EXIT_SET_TPR:
    case KVM_EXIT_X86_BUS_LOCK: return KVM_NEXT_AGAIN;
    case KVM_EXIT_IOAPIC_EOI:
        if (cpu->apic_ops) {
            cpu->apic_ops->tell_eoi(cpu->apic, run->eoi.vector);
        }
        return KVM_NEXT_AGAIN;
    case KVM_EXIT_HYPERV: return kvm_x86_hyperv_exit(cpu);
    case KVM_EXIT_HYPERCALL:
        run->hypercall.ret = (uint64_t)-1000; /* -KVM_ENOSYS */
        return KVM_NEXT_AGAIN;
    case KVM_EXIT_SHUTDOWN: return shutdown_exit(cpu, out);
    case KVM_EXIT_INTERNAL_ERROR:
        return run->internal.suberror == KVM_INTERNAL_ERROR_EMULATION && kvm_completes(v->machine)
                   ? kvm_x86_complete(cpu, out)
                   : KVM_NEXT_ENTER;
    default: return KVM_NEXT_ENTER; /* the accelerator knows it */
    }
}
