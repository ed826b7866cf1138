/* SPDX-License-Identifier: MIT
 * hw/timer/tickdebt.h - periodic interrupts that would be lost because no CPU has taken the one before, or
 * because the host let the timer come late. They are owed, and follow one another as they are taken, up to
 * 200 ms of them.
 *
 * A kernel that counts ticks against the TSC finds otherwise, on a busy host, that the timer does not work
 * ("IO-APIC + timer doesn't work"). Who is told that a tick was taken tells the timer on the vCPU's thread,
 * which need not wait for the timers' thread to run.
 * Threads: the device's domain.
 */
#ifndef HW_TIMER_TICKDEBT_H
#define HW_TIMER_TICKDEBT_H

#include "rhea/system/vmstate.h"
#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

enum { TICK_RETRY_NS = 100000, TICK_OWED_NS = 200000000, TICK_OWED_MAX = 10000 };

typedef struct TickDebt {
    bool (*pending)(void *opaque); /* wiring: does the last tick wait for a CPU? NULL: none is owed */
    void *opaque;
    uint32_t owed;     /* guest-visible state */
    uint32_t retry_ns; /* until it is looked again whether one may come */
} TickDebt;

/* n more are due. True: one is to be sent now. */
static inline bool tick_due(TickDebt *d, uint64_t n, uint64_t period_ns)
{
    uint64_t most = MIN(MAX(TICK_OWED_NS / MAX(period_ns, 1u), 1u), (uint64_t)TICK_OWED_MAX);
    uint64_t first = MAX(MIN(period_ns, 1000000000u) / 16, (uint64_t)TICK_RETRY_NS);
    d->owed = (uint32_t)MIN(d->owed + MIN(n, most), most);
    if (!d->owed) {
        return false;
    }
    if (d->pending(d->opaque)) {
        d->retry_ns = (uint32_t)MIN(MAX(d->retry_ns, first) * 2, 16 * first);
        return false;
    }
    d->owed--;
    d->retry_ns = (uint32_t)first;
    return true;
}

#define VM_TICK_DEBT(type, member)                                                                           \
    VM_U32_MAX(type, member.owed, TICK_OWED_MAX), VM_U32_MAX(type, member.retry_ns, 1000000000)

#endif
