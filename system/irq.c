/* SPDX-License-Identifier: MIT
 * system/irq.c - interrupt lines, OR gates, message-signalled interrupts.
 * Models: level-carrying wires; MSI as a 32-bit memory write (PCI Local Bus 3.0, 6.8).
 * Threads: a line belongs to its owner's domain or leaf lock; OR gates and msi_send() are free for any.
 */
#include "internal.h"
#include "system/trace.h"

#include "rhea/system/msiroute.h"

#include <string.h>

void irq_connect(IrqLine *line, const IrqSinkOps *ops, void *sink, unsigned pin)
{
    line->ops = ops;
    line->sink = sink;
    line->pin = pin;
    if (ops && line->level) { /* a wire that is high when plugged in is seen high */
        ops->set(sink, pin, true);
    }
}

void irq_set(IrqLine *line, bool level)
{
    if (line->level == level) {
        return;
    }
    line->level = level;
    trace_irq_line(line->sink, line->pin, level);
    if (G_UNLIKELY(line->observer)) {
        line->observer(line->observer_opaque, line->observer_index, level);
    }
    if (line->ops) {
        line->ops->set(line->sink, line->pin, level);
    }
}

void irq_or_init(IrqOr *g)
{
    memset(g, 0, sizeof(*g));
    pthread_mutex_init(&g->lock, NULL);
}

/* The lock is taken only when the output may change. Whoever gets it last recomputes the output from the
 * atomic word, so the output ends up right in whatever order the sources arrive. */
static void irq_or_set(void *sink, unsigned pin, bool level)
{
    IrqOr *g = sink;
    uint64_t bit = UINT64_C(1) << (pin & 63);
    uint64_t was = level ? __atomic_fetch_or(&g->level, bit, __ATOMIC_ACQ_REL)
                         : __atomic_fetch_and(&g->level, ~bit, __ATOMIC_ACQ_REL);
    uint64_t now = level ? was | bit : was & ~bit;
    if (!was == !now) {
        return;
    }
    pthread_mutex_lock(&g->lock);
    irq_set(&g->out, __atomic_load_n(&g->level, __ATOMIC_ACQUIRE) != 0);
    pthread_mutex_unlock(&g->lock);
}

const IrqSinkOps irq_or_sink = { .set = irq_or_set };

bool accel_has_lapic(const Machine *m)
{
    return m->accel && m->accel->irqchip && m->accel->irqchip->lapic_inside(m);
}

bool accel_has_chips(const Machine *m)
{
    return accel_has_lapic(m) && m->accel->irqchip->chips_inside && m->accel->irqchip->chips_inside(m);
}

bool accel_chip_attach(Machine *m, AccelChipUser *u)
{
    u->attached = u->fresh = accel_has_chips(m);
    if (u->attached) {
        m->accel->irqchip->attach(m, u);
    }
    return u->attached;
}

void accel_chip_detach(Machine *m, AccelChipUser *u)
{
    if (u->attached && accel_has_chips(m)) {
        m->accel->irqchip->detach(m, u);
    }
    u->attached = u->fresh = false;
}

void accel_chip_line(Machine *m, const AccelChipUser *u, unsigned pin, bool level)
{
    if (accel_has_chips(m)) {
        m->accel->irqchip->line(m, u->chip, pin, level);
    }
}

void accel_chip_changed(Machine *m, AccelChipUser *u)
{
    if (!u->attached) {
        return;
    }
    if (machine_running(m)) {
        u->fresh = false;
        u->push(u->opaque);
    } else {
        u->fresh = true;
    }
}

void msi_route_send(Machine *m, MsiRoute *r, MsiMessage msg)
{
    const MsiRouteOps *ops = __atomic_load_n(&m->priv->msi_routes, __ATOMIC_ACQUIRE);
    bool inside = ops && m->msi_sink && msg.addr - m->msi_base < m->msi_size;
    if (!inside || !ops->send(m, r, msg)) {
        msi_send(m, msg);
    }
}

void msi_route_drop(Machine *m, MsiRoute *r)
{
    const MsiRouteOps *ops = __atomic_load_n(&m->priv->msi_routes, __ATOMIC_ACQUIRE);
    if (r->open && ops) {
        ops->drop(m, r);
    }
}

void msi_routes_provide(Machine *m, const MsiRouteOps *ops)
{
    __atomic_store_n(&m->priv->msi_routes, ops, __ATOMIC_RELEASE);
}

void msi_send(Machine *m, MsiMessage msg)
{
    trace_msi_message(msg.addr, msg.data);
    if (m->msi_sink && msg.addr - m->msi_base < m->msi_size) {
        m->msi_sink(m->msi_opaque, msg);
        return;
    }
    /* Not an interrupt on this board: the write it is on the bus. Registers get it posted, so no domain
     * is taken here. */
    DmaContext dma = { .as = &m->as_mem };
    uint32_t data = GUINT32_TO_LE(msg.data);
    dma_write(&dma, msg.addr, &data, sizeof(data));
}
