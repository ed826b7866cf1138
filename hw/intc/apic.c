/* SPDX-License-Identifier: MIT
 * hw/intc/apic.c - local APIC in xAPIC and x2APIC mode, interrupt messages, timer.
 * Models:         Intel SDM volume 3 chapter 10: registers (10.4), LVT and timer (10.5), IPIs (10.6),
 * delivery and priority (10.8), spurious vector (10.9), messages (10.11), x2APIC (10.12). The timer counts at
 * 1 GHz before its divider.
 * Does not model: bus arbitration, delivery status (messages arrive at once), focus
 * processors, EOI-broadcast suppression, CMCI, ExtINT as a message (only through LINT0), different register
 * pages per CPU: a write to one CPU's APIC base moves the page for all.
 * Threads:        a leaf object:
 * ApicBus.lock guards every local APIC of a machine; registers are dispatched without a domain. Under the
 * lock only vcpu_interrupt() and timers are called; EOI messages go out after it.
 */
#include "rhea/hw/apic.h"
#include "rhea/hw/intc.h"
#include "rhea/system/machine.h"
#include "rhea/target/x86/cpu.h"
#include <pthread.h>
#include <string.h>

enum { BASE_BSP = 1 << 8, BASE_EXTD = 1 << 10, BASE_EN = 1 << 11 };
enum { LVT_TIMER, LVT_THERMAL, LVT_PERF, LVT_LINT0, LVT_LINT1, LVT_ERROR, LVT_COUNT };
enum {
    LVT_MASKED = 1 << 16,
    LVT_LEVEL = 1 << 15,
    LVT_REMOTE = 1 << 14,
    LVT_PERIODIC = 1 << 17,
    LVT_DEADLINE = 1 << 18
};
enum { MODE_FIXED, MODE_LOWEST, MODE_SMI, MODE_NMI = 4, MODE_INIT, MODE_SIPI, MODE_EXTINT };
enum { ESR_SEND_VECTOR = 1 << 5, ESR_RECV_VECTOR = 1 << 6, ESR_REGISTER = 1 << 7 };
enum { SVR_ENABLE = 1 << 8, APIC_VERSION = 0x14 | (LVT_COUNT - 1) << 16 };
enum { /* register numbers: offset / 16, and MSR - 800h */
       R_ID = 0x02,
       R_VERSION,
       R_TPR = 0x08,
       R_APR,
       R_PPR,
       R_EOI,
       R_RRD,
       R_LDR,
       R_DFR,
       R_SVR,
       R_ISR = 0x10,
       R_TMR = 0x18,
       R_IRR = 0x20,
       R_ESR = 0x28,
       R_ICR = 0x30,
       R_ICR_HIGH,
       R_LVT = 0x32,
       R_TMICT = 0x38,
       R_TMCCT,
       R_TDCR = 0x3e,
       R_SELF = 0x3f,
};
enum { MIN_PERIOD_NS = 20000 }; /* a periodic timer does not fire more often, however fast it counts */

typedef struct ApicBus ApicBus;
typedef struct Apic {
    Device dev;
    X86Cpu *cpu; /* wiring */
    ApicBus *bus;
    Timer timer;
    /* guest-visible state */
    uint64_t base, icr, tsc_deadline;
    uint32_t id, ldr, dfr, svr, esr, esr_next, tpr, lvt[LVT_COUNT], tmict, tdcr;
    uint32_t irr[8], isr[8], tmr[8];
    int64_t timer_start; /* when tmict was written */
    bool lint[2];
} Apic;

struct ApicBus {
    Machine *machine;
    pthread_mutex_t lock;
    unsigned refs, n, next; /* next: where the search for a lowest-priority target starts */
    Apic **apics;           /* by vCPU index */
    Device *ioapic;
    MemRegion page;
    MachineListener listener; /* of moves to another accelerator */
    bool inside;            /* the accelerator has the APICs; these hold their state while vCPUs are parked */
    void (*on_take)(void *opaque, uint8_t vector);
    void *take_opaque;
};

/* --- vectors --- */

static int bits_highest(const uint32_t *r)
{
    for (int i = 7; i >= 0; i--) {
        if (r[i]) {
            return i * 32 + 31 - __builtin_clz(r[i]);
        }
    }
    return -1;
}
static void bit_put(uint32_t *r, unsigned v, bool on)
{
    r[v / 32] = on ? r[v / 32] | 1u << (v % 32) : r[v / 32] & ~(1u << (v % 32));
}
static bool bit_get(const uint32_t *r, unsigned v) { return r[v / 32] >> (v % 32) & 1; }

static bool apic_on(const Apic *a) { return a->base & BASE_EN; }
static bool apic_soft_on(const Apic *a) { return apic_on(a) && (a->svr & SVR_ENABLE); }
static bool apic_x2(const Apic *a) { return a->base & BASE_EXTD; }

/* 10.8.3.1 */
static uint32_t apic_ppr(const Apic *a)
{
    int v = bits_highest(a->isr);
    uint32_t isrv = v < 0 ? 0 : (uint32_t)v & 0xf0;
    return (a->tpr & 0xf0) >= isrv ? a->tpr : isrv;
}

static int apic_deliverable(const Apic *a)
{
    int v = bits_highest(a->irr);
    return apic_soft_on(a) && v >= 0 && ((uint32_t)v & 0xf0) > (apic_ppr(a) & 0xf0) ? v : -1;
}

static void apic_pin(Apic *a, uint32_t bit, bool on)
{
    bool now = vcpu_irq_pending(&a->cpu->vcpu) & bit;
    if (on && !now) {
        vcpu_interrupt(&a->cpu->vcpu, bit);
    } else if (!on && now) {
        vcpu_interrupt_clear(&a->cpu->vcpu, bit);
    }
}

/* Recomputes what the CPU sees; after every change. */
static void apic_update(Apic *a)
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

static void apic_error(Apic *a, uint32_t bit);

/* A fixed interrupt arrives. */
static void apic_accept(Apic *a, uint8_t vector, bool level)
{
    if (!apic_soft_on(a)) {
        return;
    }
    if (vector < 16) {
        apic_error(a, ESR_RECV_VECTOR);
        return;
    }
    bit_put(a->irr, vector, true);
    bit_put(a->tmr, vector, level);
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
static void apic_local(Apic *a, unsigned entry)
{
    uint32_t lvt = a->lvt[entry];
    unsigned mode = entry == LVT_TIMER || entry == LVT_ERROR ? MODE_FIXED : lvt >> 8 & 7;
    if (!(lvt & LVT_MASKED) && mode != MODE_EXTINT && mode != MODE_SIPI) {
        apic_receive(a, mode, (uint8_t)lvt, false);
    }
}

static void apic_error(Apic *a, uint32_t bit)
{
    bool again = a->esr_next & bit;
    a->esr_next |= bit;
    /* An illegal error vector would come back here. */
    if (!again && (a->lvt[LVT_ERROR] & 0xff) >= 16) {
        apic_local(a, LVT_ERROR);
    }
}

/* A level-triggered fixed LINT pin: requests again after each EOI while the pin is held. */
static void apic_lint_level(Apic *a, unsigned pin)
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
static void bus_msi(void *opaque, MsiMessage msg)
{
    ApicBus *bus = opaque;
    unsigned mode = msg.data >> 8 & 7;
    bool level = msg.data & 0x8000;
    if (level && !(msg.data & 0x4000)) {
        return; /* the deassert message of a level trigger */
    }
    if (bus->inside) {
        bus->machine->accel->irqchip->msi(bus->machine, msg);
        return;
    }
    pthread_mutex_lock(&bus->lock);
    bus_send(bus, msg.addr >> 12 & 0xff, msg.addr & 4, false, mode, (uint8_t)msg.data, level);
    pthread_mutex_unlock(&bus->lock);
}

/* 10.6.1 */
static void apic_send_ipi(Apic *a)
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
static int apic_eoi(Apic *a)
{
    int v = bits_highest(a->isr), tell = -1;
    if (v < 0) {
        return -1;
    }
    bit_put(a->isr, (unsigned)v, false);
    if (bit_get(a->tmr, (unsigned)v)) {
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

/* --- timer (10.5.4) --- */

static unsigned timer_shift(const Apic *a)
{
    return (((a->tdcr & 3) | (a->tdcr >> 1 & 4)) + 1) & 7;
}
static int64_t timer_now(const Apic *a) { return clock_now(a->dev.machine->clock); }
static bool timer_is_deadline(const Apic *a)
{
    return (a->lvt[LVT_TIMER] & (LVT_PERIODIC | LVT_DEADLINE)) == LVT_DEADLINE;
}

static int64_t timer_period(const Apic *a) { return (int64_t)((uint64_t)a->tmict << timer_shift(a)); }

static uint32_t timer_count(const Apic *a, int64_t now)
{
    int64_t period = timer_period(a), gone = now - a->timer_start;
    if (!a->tmict || timer_is_deadline(a) || gone < 0) {
        return gone < 0 ? a->tmict : 0;
    }
    if (a->lvt[LVT_TIMER] & LVT_PERIODIC) {
        gone %= period;
    }
    return gone >= period ? 0 : a->tmict - (uint32_t)(gone >> timer_shift(a));
}

/* Arms for the next expiry after now; `late`: at the earliest then. The caller has read the clock, once: a
 * short count that starts at one reading and is judged by a later one would be over before it was armed. A
 * one-shot count that is over fired, or is about to: the host may be late. */
static void timer_rearm(Apic *a, int64_t now, int64_t late)
{
    if (a->bus->inside) {
        return;
    }
    if (timer_is_deadline(a)) {
        if (a->tsc_deadline) {
            timer_arm(&a->timer, x86_tsc_to_ns(a->cpu, a->tsc_deadline));
        } else {
            timer_cancel(&a->timer);
        }
        return;
    }
    if (!a->tmict) {
        timer_cancel(&a->timer);
        return;
    }
    int64_t period = timer_period(a), gone = now - a->timer_start;
    if (!(a->lvt[LVT_TIMER] & LVT_PERIODIC) && gone >= period) {
        return;
    }
    int64_t at = a->timer_start + (gone / period + 1) * period;
    timer_arm(&a->timer, MAX(at, late));
}

static void apic_timer_fire(void *opaque)
{
    Apic *a = dev_as(Apic, (Device *)opaque);
    pthread_mutex_lock(&a->bus->lock);
    if (timer_is_deadline(a)) {
        if (a->tsc_deadline) {
            a->tsc_deadline = 0;
            apic_local(a, LVT_TIMER);
        }
    } else if (a->tmict) {
        apic_local(a, LVT_TIMER);
        if (a->lvt[LVT_TIMER] & LVT_PERIODIC) {
            int64_t now = timer_now(a);
            timer_rearm(a, now, now + MIN_PERIOD_NS);
        }
    }
    pthread_mutex_unlock(&a->bus->lock);
}

/* --- registers: one set of functions for the page and the MSRs --- */

static bool reg_read(Apic *a, unsigned r, uint32_t *val)
{
    bool x2 = apic_x2(a);
    switch (r) {
    case R_ID: *val = x2 ? a->id : a->id << 24; return true;
    case R_VERSION: *val = APIC_VERSION; return true;
    case R_TPR: *val = a->tpr; return true;
    case R_APR: *val = apic_ppr(a); return !x2;
    case R_PPR: *val = apic_ppr(a); return true;
    case R_EOI: *val = 0; return !x2;
    case R_RRD: *val = 0; return !x2;
    case R_LDR: *val = a->ldr; return true;
    case R_DFR: *val = a->dfr; return !x2;
    case R_SVR: *val = a->svr; return true;
    case R_ISR ... R_ISR + 7: *val = a->isr[r - R_ISR]; return true;
    case R_TMR ... R_TMR + 7: *val = a->tmr[r - R_TMR]; return true;
    case R_IRR ... R_IRR + 7: *val = a->irr[r - R_IRR]; return true;
    case R_ESR: *val = a->esr; return true;
    case R_ICR: *val = (uint32_t)a->icr; return true;
    case R_ICR_HIGH: *val = (uint32_t)(a->icr >> 32); return !x2;
    case R_LVT ... R_LVT + LVT_COUNT - 1: *val = a->lvt[r - R_LVT]; return true;
    case R_TMICT: *val = timer_is_deadline(a) ? 0 : a->tmict; return true;
    case R_TMCCT: *val = timer_count(a, timer_now(a)); return true;
    case R_TDCR: *val = a->tdcr; return true;
    default: *val = 0; return false;
    }
}

static uint32_t lvt_mask(const Apic *a, unsigned entry)
{
    static const uint32_t masks[LVT_COUNT] = { 0x300ff, 0x107ff, 0x107ff, 0x1a7ff, 0x1a7ff, 0x100ff };
    return masks[entry] | (entry == LVT_TIMER && x86_has_feature(a->cpu, "tsc-deadline") ? LVT_DEADLINE : 0);
}

static bool lvt_write(Apic *a, unsigned entry, uint32_t val)
{
    uint32_t mask = lvt_mask(a, entry), was = a->lvt[entry];
    if (apic_x2(a) && val & ~(mask | 0x1000 | LVT_REMOTE)) {
        return false;
    }
    val = (val & mask) | (was & LVT_REMOTE);
    if (!apic_soft_on(a)) {
        val |= LVT_MASKED;
    }
    a->lvt[entry] = val;
    if (entry == LVT_TIMER && ((was ^ val) & (LVT_PERIODIC | LVT_DEADLINE))) {
        if ((was ^ val) & LVT_DEADLINE) {
            a->tmict = 0; /* 10.5.4.1: changing to or from TSC-deadline disarms */
            a->tsc_deadline = 0;
        }
        timer_rearm(a, timer_now(a), 0);
    } else if (entry == LVT_LINT0 || entry == LVT_LINT1) {
        if (!(val & LVT_LEVEL)) {
            a->lvt[entry] &= ~(uint32_t)LVT_REMOTE;
        }
        apic_lint_level(a, entry - LVT_LINT0);
    }
    return true;
}

static bool svr_write(Apic *a, uint32_t val)
{
    if (apic_x2(a) && val & ~0x3ffu) {
        return false;
    }
    a->svr = val & 0x3ff;
    if (!(val & SVR_ENABLE)) {
        for (unsigned i = 0; i < LVT_COUNT; i++) {
            a->lvt[i] |= LVT_MASKED; /* 10.4.7.2 */
        }
    }
    return true;
}

/* False: no such register, or a value x2APIC mode refuses. *eoi: vector to broadcast. */
static bool reg_write(Apic *a, unsigned r, uint32_t val, int *eoi)
{
    bool x2 = apic_x2(a), ok = true;
    switch (r) {
    case R_ID: ok = !x2; break; /* 10.4.6: read-only here, as on recent processors */
    case R_TPR:
        ok = !x2 || val < 256;
        a->tpr = ok ? val & 0xff : a->tpr;
        break;
    case R_EOI:
        ok = !x2 || val == 0;
        *eoi = ok ? apic_eoi(a) : -1;
        break;
    case R_LDR:
        ok = !x2;
        a->ldr = ok ? val & 0xff000000 : a->ldr;
        break;
    case R_DFR:
        ok = !x2;
        a->dfr = ok ? val | 0x0fffffff : a->dfr;
        break;
    case R_SVR: ok = svr_write(a, val); break;
    case R_ESR:
        ok = !x2 || val == 0;
        if (ok) {
            a->esr = a->esr_next;
            a->esr_next = 0;
        }
        break;
    case R_ICR:
        a->icr = (a->icr & ~0xffffffffull) | (val & 0xccfff);
        apic_send_ipi(a);
        break;
    case R_ICR_HIGH:
        ok = !x2;
        a->icr = ok ? (uint32_t)a->icr | (uint64_t)(val & 0xff000000) << 32 : a->icr;
        break;
    case R_LVT ... R_LVT + LVT_COUNT - 1: ok = lvt_write(a, r - R_LVT, val); break;
    case R_TMICT:
        if (!timer_is_deadline(a)) {
            a->tmict = val;
            a->timer_start = timer_now(a);
            timer_rearm(a, a->timer_start, 0);
        }
        break;
    case R_TDCR: {
        ok = !x2 || !(val & ~0xbu);
        if (ok) {
            int64_t now = timer_now(a);
            uint32_t left = timer_count(a, now);
            a->tdcr = val & 0xb;
            if (left && !timer_is_deadline(a)) { /* go on from the present count at the new rate */
                a->timer_start = now - (int64_t)((uint64_t)(a->tmict - left) << timer_shift(a));
            }
            timer_rearm(a, now, 0);
        }
        break;
    }
    case R_SELF:
        ok = x2 && val < 256;
        if (ok && val < 16) {
            apic_error(a, ESR_SEND_VECTOR);
        } else if (ok) {
            apic_accept(a, (uint8_t)val, false);
        }
        break;
    default: ok = false;
    }
    apic_update(a);
    return ok;
}

static void apic_tell_eoi(Apic *a, int vector)
{
    if (vector >= 0 && a->bus->ioapic) {
        ioapic_eoi(a->bus->ioapic, (uint8_t)vector);
    }
}

static Apic *page_apic(ApicBus *bus, const MemAccess *acc)
{
    unsigned i = acc->attrs.cpu ? acc->attrs.requester : 0;
    return i < bus->n ? bus->apics[i] : NULL;
}

static uint64_t page_read(void *opaque, MemAccess *acc)
{
    ApicBus *bus = opaque;
    Apic *a = page_apic(bus, acc);
    uint32_t val = 0;
    if (!a) {
        return UINT32_MAX;
    }
    pthread_mutex_lock(&bus->lock);
    if (!apic_on(a) || apic_x2(a)) {
        val = UINT32_MAX; /* the page is not there */
    } else if (!(acc->off & 15) && !reg_read(a, acc->off >> 4, &val)) {
        apic_error(a, ESR_REGISTER);
    }
    pthread_mutex_unlock(&bus->lock);
    return val;
}

static void page_write(void *opaque, MemAccess *acc, uint64_t val)
{
    ApicBus *bus = opaque;
    Apic *a = page_apic(bus, acc);
    int eoi = -1;
    if (!a || acc->attrs.debug) {
        return;
    }
    pthread_mutex_lock(&bus->lock);
    bool bad = false;
    if (apic_on(a) && !apic_x2(a) && !(acc->off & 15)) {
        bad = !reg_write(a, acc->off >> 4, (uint32_t)val, &eoi);
        if (bad) {
            apic_error(a, ESR_REGISTER);
        }
    }
    pthread_mutex_unlock(&bus->lock);
    if (bad) {
        guest_error(&a->dev, "write of 0x%" PRIx64 " to offset 0x%" PRIx64 ": no such register", val,
                    acc->off);
    }
    apic_tell_eoi(a, eoi);
}

/* --- what the CPU asks --- */

static int op_ack(void *opaque)
{
    Apic *a = opaque;
    pthread_mutex_lock(&a->bus->lock);
    int v = apic_deliverable(a);
    if (v >= 0) {
        bit_put(a->irr, (unsigned)v, false);
        bit_put(a->isr, (unsigned)v, true);
    }
    apic_update(a);
    pthread_mutex_unlock(&a->bus->lock);
    if (v >= 0 && a->bus->on_take) {
        a->bus->on_take(a->bus->take_opaque, (uint8_t)v);
    }
    return v;
}

static uint8_t op_get_tpr(void *opaque)
{
    Apic *a = opaque;
    return (uint8_t)a->tpr; /* written by this thread only */
}

static void op_set_tpr(void *opaque, uint8_t tpr)
{
    Apic *a = opaque;
    pthread_mutex_lock(&a->bus->lock);
    a->tpr = tpr;
    apic_update(a);
    pthread_mutex_unlock(&a->bus->lock);
}

static bool op_msr_read(void *opaque, uint32_t msr, uint64_t *val)
{
    Apic *a = opaque;
    uint32_t v = 0;
    bool ok = true;
    pthread_mutex_lock(&a->bus->lock);
    if (msr == 0x1b) {
        *val = a->base;
    } else if (msr == 0x6e0) {
        ok = x86_has_feature(a->cpu, "tsc-deadline");
        *val = a->tsc_deadline;
    } else if (msr == 0x800 + R_ICR) {
        ok = apic_x2(a);
        *val = a->icr;
    } else {
        ok = apic_x2(a) && reg_read(a, msr - 0x800, &v);
        *val = v;
    }
    pthread_mutex_unlock(&a->bus->lock);
    return ok;
}

static void apic_reset_state(Apic *a)
{
    memset(a->irr, 0, sizeof(a->irr));
    memset(a->isr, 0, sizeof(a->isr));
    memset(a->tmr, 0, sizeof(a->tmr));
    for (unsigned i = 0; i < LVT_COUNT; i++) {
        a->lvt[i] = LVT_MASKED;
    }
    a->icr = a->tsc_deadline = 0;
    a->tpr = a->esr = a->esr_next = a->tmict = a->tdcr = 0;
    a->timer_start = 0;
    a->dfr = 0xffffffff;
    a->svr = 0xff;
    a->ldr = apic_x2(a) ? (a->id >> 4) << 16 | 1u << (a->id & 15) : 0;
    timer_cancel(&a->timer);
}

/* 10.12.5.1, figure 10-32. Lock held. False: an illegal transition. */
static bool base_write(Apic *a, uint64_t val)
{
    uint64_t known = BASE_BSP | BASE_EN | (x86_has_feature(a->cpu, "x2apic") ? BASE_EXTD : 0);
    known |= ((1ull << a->cpu->phys_bits) - 1) & ~0xfffull;
    bool en = val & BASE_EN, ext = val & BASE_EXTD;
    if (val & ~known || (ext && !en) || (apic_x2(a) && en && !ext) || (!apic_on(a) && ext)) {
        return false;
    }
    uint64_t was = a->base;
    a->base = val;
    if (!en && (was & BASE_EN)) {
        a->base &= ~(uint64_t)BASE_EXTD;
        apic_reset_state(a);
    } else if (ext && !(was & BASE_EXTD)) {
        a->ldr = (a->id >> 4) << 16 | 1u << (a->id & 15);
        a->icr = 0;
    }
    apic_update(a);
    return true;
}

static bool op_base_write(Apic *a, uint64_t val)
{
    hwaddr page = val & ~0xfffull;
    pthread_mutex_lock(&a->bus->lock);
    bool moved = page != (a->base & ~0xfffull), ok = base_write(a, val);
    pthread_mutex_unlock(&a->bus->lock);
    if (ok && moved) {
        region_set_addr(&a->bus->page, page);
    }
    return ok;
}

static bool op_msr_write(void *opaque, uint32_t msr, uint64_t val)
{
    Apic *a = opaque;
    int eoi = -1;
    bool ok = true;
    if (msr == 0x1b) {
        return op_base_write(a, val);
    }
    pthread_mutex_lock(&a->bus->lock);
    if (msr == 0x6e0) {
        ok = x86_has_feature(a->cpu, "tsc-deadline");
        if (ok && timer_is_deadline(a)) {
            a->tsc_deadline = val;
            timer_rearm(a, timer_now(a), 0);
        }
    } else if (msr == 0x800 + R_ICR) {
        ok = apic_x2(a) && !(val & 0xfff32000ull);
        if (ok) {
            a->icr = val;
            apic_send_ipi(a);
            apic_update(a);
        }
    } else {
        ok = apic_x2(a) && !(val >> 32) && reg_write(a, msr - 0x800, (uint32_t)val, &eoi);
    }
    pthread_mutex_unlock(&a->bus->lock);
    apic_tell_eoi(a, eoi);
    return ok;
}

/* 10.4.7.3: INIT keeps the id and IA32_APIC_BASE. */
static void op_init(void *opaque)
{
    Apic *a = opaque;
    pthread_mutex_lock(&a->bus->lock);
    apic_reset_state(a);
    apic_update(a);
    pthread_mutex_unlock(&a->bus->lock);
}

/* --- an accelerator that has the APIC inside --- */

static void op_get_page(void *opaque, uint32_t page[256])
{
    Apic *a = opaque;
    pthread_mutex_lock(&a->bus->lock);
    for (unsigned r = 0; r < 64; r++) {
        uint32_t val = 0;
        reg_read(a, r, &val);
        page[4 * r] = val;
    }
    page[4 * R_ID] = a->id << 24; /* in either mode */
    page[4 * R_ICR_HIGH] = (uint32_t)(a->icr >> 32);
    page[4 * R_DFR] = a->dfr;
    pthread_mutex_unlock(&a->bus->lock);
}

static void op_set_page(void *opaque, const uint32_t page[256])
{
    Apic *a = opaque;
    pthread_mutex_lock(&a->bus->lock);
    a->ldr = page[4 * R_LDR];
    a->dfr = apic_x2(a) ? a->dfr : page[4 * R_DFR] | 0x0fffffff;
    a->tpr = page[4 * R_TPR] & 0xff;
    a->svr = page[4 * R_SVR] & 0x3ff;
    a->esr = page[4 * R_ESR];
    a->esr_next = 0;
    a->icr = page[4 * R_ICR] | (uint64_t)page[4 * R_ICR_HIGH] << 32;
    for (unsigned i = 0; i < LVT_COUNT; i++) {
        a->lvt[i] = page[4 * (R_LVT + i)] & (lvt_mask(a, i) | LVT_REMOTE);
    }
    for (unsigned i = 0; i < 8; i++) {
        a->isr[i] = page[4 * (R_ISR + i)];
        a->tmr[i] = page[4 * (R_TMR + i)];
        a->irr[i] = page[4 * (R_IRR + i)];
    }
    a->tmict = page[4 * R_TMICT];
    a->tdcr = page[4 * R_TDCR] & 0xb;
    uint32_t left = MIN(page[4 * R_TMCCT], a->tmict);
    a->timer_start = timer_now(a) - (int64_t)((uint64_t)(a->tmict - left) << timer_shift(a));
    pthread_mutex_unlock(&a->bus->lock);
}

static void op_tell_eoi(void *opaque, uint8_t vector)
{
    apic_tell_eoi(opaque, vector);
}

static const X86ApicOps apic_cpu_ops = { .ack = op_ack,
                                         .msr_read = op_msr_read,
                                         .msr_write = op_msr_write,
                                         .get_tpr = op_get_tpr,
                                         .set_tpr = op_set_tpr,
                                         .init = op_init,
                                         .get_page = op_get_page,
                                         .set_page = op_set_page,
                                         .tell_eoi = op_tell_eoi };

/* --- the device --- */

static void bus_unref(void *opaque)
{
    Apic *a = opaque;
    ApicBus *bus = a->bus;
    a->cpu->apic = NULL;
    a->cpu->apic_ops = NULL;
    pthread_mutex_lock(&bus->lock);
    bus->apics[a->cpu->vcpu.index] = NULL;
    pthread_mutex_unlock(&bus->lock);
    if (--bus->refs == 0) {
        if (bus->machine->msi_opaque == bus) {
            bus->machine->msi_sink = NULL;
            bus->machine->msi_opaque = NULL;
        }
        if (region_mapped(&bus->page)) {
            region_unmap(&bus->page);
        }
        region_fini(&bus->page);
        pthread_mutex_destroy(&bus->lock);
        machine_remove_listener(bus->machine, &bus->listener);
        g_free(bus->apics);
        g_free(bus);
    }
}

static ApicBus *bus_of(Machine *m)
{
    return m->msi_sink == bus_msi ? m->msi_opaque : NULL;
}

/* Another accelerator has taken over, with state as it was pulled. A one-shot count that is over when its
 * APIC comes out of the kernel may have fired, or be about to: KVM does not tell. It fires here: guests bear
 * one too many, not one too few. */
static void bus_accel(void *opaque)
{
    ApicBus *bus = opaque;
    bool was = bus->inside;
    pthread_mutex_lock(&bus->lock);
    bus->inside = accel_has_lapic(bus->machine);
    for (unsigned i = 0; i < bus->n; i++) {
        Apic *a = bus->apics[i];
        if (!a) {
            continue;
        }
        if (bus->inside) {
            timer_cancel(&a->timer);
            apic_pin(a, X86_IRQ_APIC, false);
        } else {
            int64_t now = timer_now(a);
            bool once = !timer_is_deadline(a) && !(a->lvt[LVT_TIMER] & LVT_PERIODIC);
            if (was && once && a->tmict && !timer_count(a, now)) {
                apic_local(a, LVT_TIMER);
            }
            timer_rearm(a, now, 0);
        }
        apic_update(a);
    }
    pthread_mutex_unlock(&bus->lock);
}

static ApicBus *bus_new_for(Machine *m)
{
    static const MemOps ops = { .read = page_read,
                                .write = page_write,
                                .min = 1,
                                .max = 8,
                                .impl_min = 4,
                                .impl_max = 4,
                                .unaligned = true,
                                .lockless = true };
    ApicBus *bus = g_new0(ApicBus, 1);
    bus->machine = m;
    bus->inside = accel_has_lapic(m);
    bus->listener = (MachineListener){ .accel = bus_accel, .opaque = bus };
    machine_add_listener(m, &bus->listener);
    bus->n = MAX(m->n_cpus, m->max_cpus);
    bus->apics = g_new0(Apic *, bus->n);
    pthread_mutex_init(&bus->lock, NULL);
    region_init_io(&bus->page, NULL, "apic-msi", &ops, bus, 4096);
    region_map(&m->sysmem, APIC_DEFAULT_BASE, &bus->page, 4096);
    m->msi_sink = bus_msi;
    m->msi_opaque = bus;
    m->msi_base = 0xfee00000;
    m->msi_size = 0x100000;
    return bus;
}

static bool apic_realize(Device *dev, Error **errp)
{
    Apic *a = dev_as(Apic, dev);
    if (!a->cpu) {
        return error_set(errp, "a local APIC belongs to a CPU and is created with it");
    }
    ApicBus *bus = bus_of(dev->machine);
    if (!bus) {
        bus = bus_new_for(dev->machine);
    }
    a->bus = bus;
    a->id = a->cpu->apic_id;
    bus->refs++;
    bus->apics[a->cpu->vcpu.index] = a;
    a->cpu->apic = a;
    a->cpu->apic_ops = &apic_cpu_ops;
    device_add_cleanup(dev, bus_unref, a);
    device_add_timer(dev, &a->timer, apic_timer_fire);
    return true;
}

static void apic_reset(Device *dev, ResetKind kind G_GNUC_UNUSED)
{
    Apic *a = dev_as(Apic, dev);
    pthread_mutex_lock(&a->bus->lock);
    a->base = APIC_DEFAULT_BASE | BASE_EN | (a->cpu->is_bsp ? BASE_BSP : 0);
    a->id = a->cpu->apic_id;
    apic_reset_state(a);
    if (a->cpu->is_bsp) {
        /* Virtual wire, as firmware sets up before it can take a timer tick (MP specification 3.6.2.2). */
        a->lvt[LVT_LINT0] = MODE_EXTINT << 8;
    }
    pthread_mutex_unlock(&a->bus->lock);
}

static void apic_reset_done(Device *dev)
{
    Apic *a = dev_as(Apic, dev);
    if (a->bus->page.at != APIC_DEFAULT_BASE) {
        region_set_addr(&a->bus->page, APIC_DEFAULT_BASE);
    }
    pthread_mutex_lock(&a->bus->lock);
    apic_update(a);
    pthread_mutex_unlock(&a->bus->lock);
}

static bool apic_post_load(void *opaque, Error **errp)
{
    Apic *a = opaque;
    if ((a->base & (BASE_EXTD | BASE_EN)) == BASE_EXTD || a->base >> a->cpu->phys_bits ||
        a->id != a->cpu->apic_id) {
        return error_set(errp, "local APIC of CPU %u: base 0x%" PRIx64 ", id %u are not possible",
                         a->cpu->vcpu.index, a->base, a->id);
    }
    a->tpr &= 0xff;
    a->svr &= 0x3ff;
    a->tdcr &= 0xb;
    for (unsigned i = 0; i < LVT_COUNT; i++) {
        a->lvt[i] &= lvt_mask(a, i) | LVT_REMOTE;
    }
    a->irr[0] &= 0xffff0000;
    a->isr[0] &= 0xffff0000;
    /* Before time 0 if a slower divisor was chosen in the middle of a count; at most by a whole count. */
    if (a->timer_start < -((int64_t)UINT32_MAX << 7) || a->timer_start > timer_now(a)) {
        a->timer_start = timer_now(a);
    }
    if (a->bus->page.at != (a->base & ~0xfffull)) {
        region_set_addr(&a->bus->page, a->base & ~0xfffull);
    }
    pthread_mutex_lock(&a->bus->lock);
    apic_update(a);
    pthread_mutex_unlock(&a->bus->lock);
    return true;
}

static void apic_text(Apic *a, GString *out)
{
    static const char *const names[LVT_COUNT] = { "LVTT", "LVTTHMR", "LVTPC", "LVT0", "LVT1", "LVTERR" };
    static const char *const modes[] = { "Fixed", "LowPri", "SMI", "3", "NMI", "INIT", "SIPI", "ExtINT" };
    pthread_mutex_lock(&a->bus->lock);
    for (unsigned i = 0; i < LVT_COUNT; i++) {
        uint32_t l = a->lvt[i];
        g_string_append_printf(out, "%-8s 0x%08x %-8s %-6s %s%s (vec %u)\n", names[i], l,
                               l & LVT_LEVEL ? "active-hi level" : "active-hi edge",
                               l & LVT_MASKED ? "masked" : "",
                               i == LVT_TIMER ? (l & LVT_DEADLINE   ? "tsc-deadline "
                                                 : l & LVT_PERIODIC ? "periodic "
                                                                    : "one-shot ")
                                              : "",
                               modes[i == LVT_TIMER || i == LVT_ERROR ? 0 : l >> 8 & 7], l & 0xff);
    }
    g_string_append_printf(out, "TIMER    DCR=0x%x (divide by %u) initial_count = %u current_count = %u\n",
                           a->tdcr, 1u << timer_shift(a), a->tmict, timer_count(a, timer_now(a)));
    g_string_append_printf(out, "SPIV     0x%08x APIC %s, spurious vec %u\n", a->svr,
                           a->svr & SVR_ENABLE ? "enabled" : "disabled", a->svr & 0xff);
    g_string_append_printf(out, "BASE     0x%" PRIx64 " %s%s\n", a->base,
                           apic_x2(a)   ? "x2apic"
                           : apic_on(a) ? "xapic"
                                        : "off",
                           a->base & BASE_BSP ? " bsp" : "");
    g_string_append_printf(out, "ICR      0x%08x%08x\nESR      0x%08x\n", (uint32_t)(a->icr >> 32),
                           (uint32_t)a->icr, a->esr);
    const struct { const char *name; const uint32_t *r; } sets[] = { { "ISR", a->isr }, { "IRR", a->irr } };
    for (unsigned k = 0; k < 2; k++) {
        g_string_append_printf(out, "%-8s", sets[k].name);
        for (unsigned v = 0; v < 256; v++) {
            if (bit_get(sets[k].r, v)) {
                g_string_append_printf(out, " %u%s", v, bit_get(a->tmr, v) ? "(level)" : "");
            }
        }
        g_string_append(out, bits_highest(sets[k].r) < 0 ? " (none)\n" : "\n");
    }
    g_string_append_printf(out, "\nAPR 0x%02x TPR 0x%02x DFR 0x%02x LDR 0x%02x PPR 0x%02x\n", apic_ppr(a),
                           a->tpr, a->dfr >> 28, a->ldr >> 24, apic_ppr(a));
    pthread_mutex_unlock(&a->bus->lock);
}

typedef struct ApicText { Apic *a; GString *out; } ApicText;

static void text_on_cpu(void *opaque)
{
    const ApicText *t = opaque;
    apic_text(t->a, t->out);
}

void apic_print(Vcpu *cpu, GString *out)
{
    Apic *a = x86_cpu(cpu)->apic_ops == &apic_cpu_ops ? x86_cpu(cpu)->apic : NULL;
    if (!a) {
        g_string_append(out, "no local APIC\n");
        return;
    }
    g_string_append_printf(out, "dumping local APIC state for CPU %u\n\n", cpu->index);
    vcpu_run_on_wait(cpu, text_on_cpu, &(ApicText){ a, out }); /* there its registers are up to date */
}

static void apic_describe(Device *dev, GString *out, int indent)
{
    Apic *a = dev_as(Apic, dev);
    g_string_append_printf(out, "%*slapic: id=%u cpu=%u\n", indent, "", a->id, a->cpu->vcpu.index);
}

Device *apic_create(Machine *m, Vcpu *cpu, Device *parent, Error **errp)
{
    Device *dev = device_new(m, &apic_type, parent, NULL);
    dev_as(Apic, dev)->cpu = x86_cpu(cpu);
    if (!device_realize(dev, NULL, errp)) {
        device_remove(dev);
        return NULL;
    }
    return dev;
}

void apic_set_eoi_target(Machine *m, Device *ioapic)
{
    ApicBus *bus = bus_of(m);
    if (bus) {
        bus->ioapic = ioapic;
    }
}

bool apic_vector_waits(Machine *m, uint8_t vector)
{
    ApicBus *bus = bus_of(m);
    bool waits = false;
    if (!bus || bus->inside) { /* inside the accelerator nobody can look */
        return false;
    }
    pthread_mutex_lock(&bus->lock);
    for (unsigned i = 0; i < bus->n && !waits; i++) {
        waits = bus->apics[i] && bit_get(bus->apics[i]->irr, vector);
    }
    pthread_mutex_unlock(&bus->lock);
    return waits;
}

void apic_on_take(Machine *m, void (*fn)(void *opaque, uint8_t vector), void *opaque)
{
    ApicBus *bus = bus_of(m);
    if (bus) {
        bus->on_take = fn;
        bus->take_opaque = opaque;
    }
}

static const VmField apic_fields[] = {
    VM_U64(Apic, base),
    VM_U64(Apic, icr),
    VM_U64(Apic, tsc_deadline),
    VM_U32(Apic, id),
    VM_U32(Apic, ldr),
    VM_U32(Apic, dfr),
    VM_U32(Apic, svr),
    VM_U32(Apic, esr),
    VM_U32(Apic, esr_next),
    VM_U32(Apic, tpr),
    VM_U32_ARRAY(Apic, lvt),
    VM_U32(Apic, tmict),
    VM_U32(Apic, tdcr),
    VM_U32_ARRAY(Apic, irr),
    VM_U32_ARRAY(Apic, isr),
    VM_U32_ARRAY(Apic, tmr),
    VM_I64(Apic, timer_start),
    { .name = "lint0", .kind = VM_BOOL_, .offset = offsetof(Apic, lint[0]), .max = 1 },
    { .name = "lint1", .kind = VM_BOOL_, .offset = offsetof(Apic, lint[1]), .max = 1 },
    VM_TIMER(Apic, timer),
    { 0 },
};
static const VmState apic_state = {
    .name = "apic", .version = 1, .oldest = 1, .fields = apic_fields, .post_load = apic_post_load
};

const DeviceType apic_type = {
    .name = "apic",
    .desc = "Local APIC",
    .size = sizeof(Apic),
    .category = "Misc",
    .internal = true,
    .vmstate = &apic_state,
    .realize = apic_realize,
    .reset = apic_reset,
    .reset_done = apic_reset_done,
    .describe = apic_describe,
};
