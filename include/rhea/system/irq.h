/* SPDX-License-Identifier: MIT
 * rhea/system/irq.h - interrupt lines and message-signalled interrupts.
 *
 * Interrupt controllers are leaf objects: they have a small lock of their own and call nothing outward
 * but vcpu_interrupt() and other sinks further down the tree (8259 slave to master to CPU).
 */
#ifndef RHEA_SYSTEM_IRQ_H
#define RHEA_SYSTEM_IRQ_H

#include "rhea/util/error.h"
#include <pthread.h>
#include <stdint.h>

typedef struct Machine Machine;

typedef struct IrqSinkOps {
    void (*set)(void *sink, unsigned pin, bool level);
} IrqSinkOps;
typedef struct IrqLine { /* zero = unconnected */
    const IrqSinkOps *ops;
    void *sink;
    unsigned pin;
    bool level;
    /* A test (irq_intercept) sees level changes before the sink; NULL normally. */
    void (*observer)(void *opaque, unsigned index, bool level);
    void *observer_opaque;
    unsigned observer_index;
} IrqLine;

void irq_connect(IrqLine *line, const IrqSinkOps *ops, void *sink, unsigned pin);
void irq_set(IrqLine *line, bool level); /* the owner's domain or leaf lock; no call when unchanged */
static inline void irq_pulse(IrqLine *line) { irq_set(line, true); irq_set(line, false); }

/* An OR gate: several sources on one pin, one bit per source (at most 64). Lock-free. */
typedef struct IrqOr {
    IrqLine out;
    uint64_t level; /* atomic */
    pthread_mutex_t lock;
} IrqOr;
extern const IrqSinkOps irq_or_sink; /* sink = IrqOr *, pin = source number */
void irq_or_init(IrqOr *g);

typedef struct MsiMessage {
    uint64_t addr;
    uint32_t data;
} MsiMessage;
/* Delivers a message: the machine's MSI sink (local APICs) or, outside the MSI window, a memory write.
 * Any thread; takes leaf locks only. */
void msi_send(Machine *m, MsiMessage msg);

#endif
