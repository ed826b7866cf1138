/* SPDX-License-Identifier: MIT
 * hw/intc/apic-timer.c - the local APIC's timer: one-shot, periodic, TSC deadline.
 * Models: Intel SDM volume 3, 10.5.4. It counts at 1 GHz before its divider.
 * Threads: see apic_internal.h.
 */
#include "apic_internal.h"

enum { MIN_PERIOD_NS = 20000 }; /* a periodic timer does not fire more often, however fast it counts */

static int64_t timer_period(const Apic *a) { return (int64_t)((uint64_t)a->tmict << apic_timer_shift(a)); }

uint32_t apic_timer_count(const Apic *a, int64_t now)
{
    int64_t period = timer_period(a), gone = now - a->timer_start;
    if (!a->tmict || apic_timer_is_deadline(a) || gone < 0) {
        return gone < 0 ? a->tmict : 0;
    }
    if (a->lvt[LVT_TIMER] & LVT_PERIODIC) {
        gone %= period;
    }
    return gone >= period ? 0 : a->tmict - (uint32_t)(gone >> apic_timer_shift(a));
}

/* Arms for the next expiry after now; `late`: at the earliest then. The caller has read the clock, once: a
 * short count that starts at one reading and is judged by a later one would be over before it was armed. A
 * one-shot count that is over fired, or is about to: the host may be late. */
void apic_timer_rearm(Apic *a, int64_t now, int64_t late)
{
    if (a->bus->inside) {
        return;
    }
    if (apic_timer_is_deadline(a)) {
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

void apic_timer_fire(void *opaque)
{
    Apic *a = dev_as(Apic, (Device *)opaque);
    pthread_mutex_lock(&a->bus->lock);
    if (apic_timer_is_deadline(a)) {
        if (a->tsc_deadline) {
            a->tsc_deadline = 0;
            apic_local(a, LVT_TIMER);
        }
    } else if (a->tmict) {
        apic_local(a, LVT_TIMER);
        if (a->lvt[LVT_TIMER] & LVT_PERIODIC) {
            int64_t now = apic_timer_now(a);
            apic_timer_rearm(a, now, now + MIN_PERIOD_NS);
        }
    }
    pthread_mutex_unlock(&a->bus->lock);
}
