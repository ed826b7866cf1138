/* SPDX-License-Identifier: MIT
 * hw/intc/apic-deliver.c - how interrupts reach a local APIC and its CPU: vectors and their priority, pins,
 * messages, IPIs, end of interrupt.
 * Models: Intel SDM volume 3, 10.5.1 (LVT events), 10.6 (IPIs), 10.8 (delivery and priority), 10.11
 * (messages).
 * Does not model: bus arbitration, delivery status (messages arrive at once), focus processors, EOI-broadcast
 * suppression, ExtINT as a message (only through LINT0).
 * Threads: see apic_internal.h.
 */
#include "apic_internal.h"

/* --- vectors --- */

/* 10.8.3.1 */
uint32_t apic_ppr(const Apic *a)
{
    int v = apic_bits_highest(a->isr);
    uint32_t isrv = v < 0 ? 0 : (uint32_t)v & 0xf0;
    return (a->tpr & 0xf0) >= isrv ? a->tpr : isrv;
}

int apic_deliverable(const Apic *a)
{
    int v = apic_bits_highest(a->irr);
    return apic_soft_on(a) && v >= 0 && ((uint32_t)v & 0xf0) > (apic_ppr(a) & 0xf0) ? v : -1;
}

void apic_pin(Apic *a, uint32_t bit, bool on)
{
    bool now = vcpu_irq_pending(&a->cpu->vcpu) & bit;
    if (on && !now) {
        vcpu_interrupt(&a->cpu->vcpu, bit);
    } else if (!on && now) {
        vcpu_interrupt_clear(&a->cpu->vcpu, bit);
    }
}

/* Recomputes what the CPU sees; after every change. */
void apic_update(Apic *a)
{
    if (a->bus->inside) { /* whether LINT0 lets it through, the accelerator knows */
        apic_pin(a, X86_IRQ_INTR, a->lint[0] && a->cpu->is_bsp);
        return;
    }
    uint32_t l0 = a->lvt[LVT_LINT0];
    bool extint = !apic_on(a) || (!(l0 & LVT_MASKED) && (l0 >> 8 & 7) == MODE_EXTINT);
    /* A disabled APIC is transparent on the bootstrap processor only: the others' LINT0 is not wired to INTR.
     */
    apic_pin(a, X86_IRQ_INTR, a->lint[0] && extint && (apic_on(a) || a->cpu->is_bsp));
    apic_pin(a, X86_IRQ_APIC, apic_deliverable(a) >= 0);
}

/* A fixed interrupt arrives. */
void apic_accept(Apic *a, uint8_t vector, bool level)
{
    if (!apic_soft_on(a)) {
        return;
    }
    if (vector < 16) {
        apic_error(a, ESR_RECV_VECTOR);
        return;
    }
    apic_bit_put(a->irr, vector, true);
    apic_bit_put(a->tmr, vector, level);
    apic_update(a);
}

static void apic_receive(Apic *a, unsigned mode, uint8_t vector, bool level)
{
    Vcpu *v = &a->cpu->vcpu;
    if (!apic_on(a)) {
        return;
    }
    switch (mode) {
    case MODE_FIXED:
    case MODE_LOWEST: apic_accept(a, vector, level); break;
    case MODE_SMI: vcpu_interrupt(v, X86_IRQ_SMI); break;
    case MODE_NMI: vcpu_interrupt(v, X86_IRQ_NMI); break;
    case MODE_INIT:
        vcpu_interrupt_clear(v, X86_IRQ_SIPI); /* one that comes after this is for the state INIT leads to */
        vcpu_interrupt(v, X86_IRQ_INIT);
        break;
    case MODE_SIPI:
        __atomic_store_n(&a->cpu->sipi_vector, vector, __ATOMIC_RELEASE);
        vcpu_interrupt(v, X86_IRQ_SIPI);
        break;
    default: guest_unimp(&a->dev, "interrupt message with delivery mode %u dropped", mode);
    }
}

/* An LVT entry's event (10.5.1). */
void apic_local(Apic *a, unsigned entry)
{
    uint32_t lvt = a->lvt[entry];
    unsigned mode = entry == LVT_TIMER || entry == LVT_ERROR ? MODE_FIXED : lvt >> 8 & 7;
    if (!(lvt & LVT_MASKED) && mode != MODE_EXTINT && mode != MODE_SIPI) {
        apic_receive(a, mode, (uint8_t)lvt, false);
    }
}

void apic_error(Apic *a, uint32_t bit)
{
    bool again = a->esr_next & bit;
    a->esr_next |= bit;
    /* An illegal error vector would come back here. */
    if (!again && (a->lvt[LVT_ERROR] & 0xff) >= 16) {
        apic_local(a, LVT_ERROR);
    }
}

/* A level-triggered fixed LINT pin: requests again after each EOI while the pin is held. */
void apic_lint_level(Apic *a, unsigned pin)
{
    uint32_t *lvt = &a->lvt[LVT_LINT0 + pin];
    if (a->lint[pin] && (*lvt & (LVT_LEVEL | LVT_MASKED | LVT_REMOTE | 0x700)) == LVT_LEVEL &&
        apic_soft_on(a)) {
        *lvt |= LVT_REMOTE;
        apic_accept(a, (uint8_t)*lvt, true);
    }
}

void apic_set_lint(void *opaque, unsigned pin, bool level)
{
    Apic *a = opaque;
    if (pin > 1) {
        return;
    }
    pthread_mutex_lock(&a->bus->lock);
    bool rising = level && !a->lint[pin];
    uint32_t lvt = a->lvt[LVT_LINT0 + pin];
    a->lint[pin] = level;
    if (!apic_on(a) || a->bus->inside) {
        if (pin == 1 && rising) {
            vcpu_interrupt(&a->cpu->vcpu, X86_IRQ_NMI);
        }
    } else if ((lvt & LVT_LEVEL) && (lvt & 0x700) == 0) {
        apic_lint_level(a, pin);
    } else if (rising) {
        apic_local(a, LVT_LINT0 + pin);
    }
    apic_update(a);
    pthread_mutex_unlock(&a->bus->lock);
}

/* --- messages --- */

/* 10.6.2: is this APIC addressed? wide: dest has 32 bits (from an x2APIC's ICR). */
static bool apic_addressed(const Apic *a, uint32_t dest, bool logical, bool wide)
{
    if (dest == (wide ? 0xffffffff : 0xff)) {
        return true;
    }
    if (!logical) {
        return a->id == dest;
    }
    if (apic_x2(a)) {
        return a->ldr >> 16 == dest >> 16 && (a->ldr & dest & 0xffff);
    }
    uint32_t ldr = a->ldr >> 24;
    if (a->dfr >> 28 == 0xf) {
        return ldr & dest;
    }
    return ((dest >> 4) == 0xf || ldr >> 4 == dest >> 4) && (ldr & dest & 0xf);
}

static void bus_lowest(ApicBus *bus, uint32_t dest, bool logical, bool wide, uint8_t vector, bool level)
{
    Apic *best = NULL;
    for (unsigned k = 0; k < bus->n; k++) {
        Apic *a = bus->apics[(bus->next + k) % bus->n];
        if (a && apic_soft_on(a) && apic_addressed(a, dest, logical, wide) &&
            (!best || apic_ppr(a) < apic_ppr(best))) {
            best = a;
        }
    }
    if (best) {
        bus->next = best->cpu->vcpu.index + 1;
        apic_accept(best, vector, level);
    }
}

/* Lock held. */
static void bus_send(ApicBus *bus, uint32_t dest, bool logical, bool wide, unsigned mode, uint8_t vector,
                     bool level)
{
    if (mode == MODE_LOWEST) {
        bus_lowest(bus, dest, logical, wide, vector, level);
        return;
    }
    for (unsigned k = 0; k < bus->n; k++) {
        if (bus->apics[k] && apic_addressed(bus->apics[k], dest, logical, wide)) {
            apic_receive(bus->apics[k], mode, vector, level);
        }
    }
}

/* 10.11: FEE00000h | destination << 12 | redirection hint << 3 | logical << 2. */
void apic_bus_msi(void *opaque, MsiMessage msg)
{
    ApicBus *bus = opaque;
    unsigned mode = msg.data >> 8 & 7;
    bool level = msg.data & 0x8000;
    if (level && !(msg.data & 0x4000)) {
        return; /* the deassert message of a level trigger */
    }
    if (bus->inside && accel_has_lapic(bus->machine)) { /* not so in the middle of a move */
        bus->machine->accel->irqchip->msi(bus->machine, msg);
        return;
    }
    pthread_mutex_lock(&bus->lock);
    bus_send(bus, msg.addr >> 12 & 0xff, msg.addr & 4, false, mode, (uint8_t)msg.data, level);
    pthread_mutex_unlock(&bus->lock);
}

/* 10.6.1 */
void apic_send_ipi(Apic *a)
{
    uint32_t lo = (uint32_t)a->icr, dest = a->icr >> 32;
    unsigned mode = lo >> 8 & 7, shorthand = lo >> 18 & 3;
    uint8_t vector = (uint8_t)lo;
    bool wide = apic_x2(a), level = lo & 0x8000;
    dest = wide ? dest : dest >> 24;
    if (mode == MODE_INIT && level && !(lo & 0x4000)) {
        return; /* INIT level de-assert: only synchronised arbitration ids */
    }
    if (mode <= MODE_LOWEST && vector < 16) {
        apic_error(a, ESR_SEND_VECTOR);
        return;
    }
    level = false; /* 10.6.1: IPIs other than INIT de-assert are edge-triggered */
    switch (shorthand) {
    case 0: bus_send(a->bus, dest, lo & 0x800, wide, mode, vector, level); break;
    case 1: apic_receive(a, mode, vector, level); break;
    default:
        for (unsigned k = 0; k < a->bus->n; k++) {
            Apic *t = a->bus->apics[k];
            if (t && (shorthand == 2 || t != a)) {
                apic_receive(t, mode, vector, level);
            }
        }
    }
}

/* Returns the vector whose end must be broadcast, or -1. Lock held. */
int apic_eoi(Apic *a)
{
    int v = apic_bits_highest(a->isr), tell = -1;
    if (v < 0) {
        return -1;
    }
    apic_bit_put(a->isr, (unsigned)v, false);
    if (apic_bit_get(a->tmr, (unsigned)v)) {
        tell = v;
        for (unsigned pin = 0; pin < 2; pin++) {
            if ((a->lvt[LVT_LINT0 + pin] & (LVT_REMOTE | 0xff)) == (LVT_REMOTE | (uint32_t)v)) {
                a->lvt[LVT_LINT0 + pin] &= ~(uint32_t)LVT_REMOTE;
                apic_lint_level(a, pin);
            }
        }
    }
    apic_update(a);
    return tell;
}

void apic_tell_eoi(Apic *a, int vector)
{
    if (vector >= 0 && a->bus->ioapic) {
        ioapic_eoi(a->bus->ioapic, (uint8_t)vector);
    }
}
