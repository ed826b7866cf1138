/* SPDX-License-Identifier: MIT
 * hw/intc/apic_internal.h - the local APIC's state, and what its parts offer each other.
 *
 * Threads: a leaf object. ApicBus.lock guards every local APIC of a machine; registers are dispatched without
 * a domain. Under the lock only vcpu_interrupt() and timers are called; EOI messages go out after it.
 */
#ifndef HW_INTC_APIC_INTERNAL_H
#define HW_INTC_APIC_INTERNAL_H

#include "rhea/hw/apic.h"
#include "rhea/hw/intc.h"
#include "rhea/system/machine.h"
#include "rhea/target/x86/cpu.h"
#include <pthread.h>

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

static inline int apic_bits_highest(const uint32_t *r)
{
    for (int i = 7; i >= 0; i--) {
        if (r[i]) {
            return i * 32 + 31 - __builtin_clz(r[i]);
        }
    }
    return -1;
}

static inline void apic_bit_put(uint32_t *r, unsigned v, bool on)
{
    r[v / 32] = on ? r[v / 32] | 1u << (v % 32) : r[v / 32] & ~(1u << (v % 32));
}

static inline bool apic_bit_get(const uint32_t *r, unsigned v) { return r[v / 32] >> (v % 32) & 1; }

static inline bool apic_on(const Apic *a) { return a->base & BASE_EN; }
static inline bool apic_soft_on(const Apic *a) { return apic_on(a) && (a->svr & SVR_ENABLE); }
static inline bool apic_x2(const Apic *a) { return a->base & BASE_EXTD; }

/* Lock held in all that follows, where nothing else is said. */

/* apic-deliver.c */
uint32_t apic_ppr(const Apic *a);
int apic_deliverable(const Apic *a); /* the vector that the CPU would take now; -1: none */
void apic_pin(Apic *a, uint32_t bit, bool on);
void apic_update(Apic *a);           /* after every change: recomputes what the CPU sees */
void apic_accept(Apic *a, uint8_t vector, bool level);
void apic_local(Apic *a, unsigned entry); /* an LVT entry's event */
void apic_error(Apic *a, uint32_t bit);
void apic_lint_level(Apic *a, unsigned pin);
void apic_send_ipi(Apic *a);              /* as the ICR says */
int apic_eoi(Apic *a);                    /* the vector whose end must be told, or -1 */
void apic_tell_eoi(Apic *a, int vector);  /* without the lock */
void apic_bus_msi(void *opaque, MsiMessage msg); /* the machine's msi_sink; without the lock */

/* apic-timer.c */
static inline unsigned apic_timer_shift(const Apic *a)
{
    return (((a->tdcr & 3) | (a->tdcr >> 1 & 4)) + 1) & 7;
}

static inline int64_t apic_timer_now(const Apic *a) { return clock_now(a->dev.machine->clock); }

static inline bool apic_timer_is_deadline(const Apic *a)
{
    return (a->lvt[LVT_TIMER] & (LVT_PERIODIC | LVT_DEADLINE)) == LVT_DEADLINE;
}

uint32_t apic_timer_count(const Apic *a, int64_t now);
void apic_timer_rearm(Apic *a, int64_t now, int64_t late);
void apic_timer_fire(void *opaque); /* without the lock */

/* apic-regs.c */
extern const MemOps apic_page_ops;       /* of ApicBus.page */
extern const X86ApicOps apic_cpu_ops;    /* what the CPU asks */
uint32_t apic_lvt_mask(const Apic *a, unsigned entry);
void apic_reset_state(Apic *a);          /* all but id and base */

#endif
