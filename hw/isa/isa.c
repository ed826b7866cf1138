/* SPDX-License-Identifier: MIT
 * hw/isa/isa.c - the ISA bus: where its devices sit and who owns which line.
 * Models:         IEEE P996 draft: fixed I/O ports, interrupt lines 0-15; one OR gate per line, since a
 *                 UART's tri-state driver lets several share one.
 * Does not model: bus timing, ISA memory windows, Plug and Play isolation.
 * Threads:        the main loop; lines are driven by the devices' domain.
 */
#include "rhea/hw/isa.h"
#include "rhea/util/errorcode.h"

static const Prop isa_child_props[] = {
    PROP_U32(IsaChild, iobase, "iobase", UINT32_MAX, 0, UINT32_MAX, "First I/O port (unset: the usual one)"),
    PROP_U32(IsaChild, irq, "irq", UINT32_MAX, 0, UINT32_MAX, "Interrupt line (unset: the usual one)"),
    PROP_U32(IsaChild, index, "index", UINT32_MAX, 0, UINT32_MAX,
             "Which of several of its type (unset: next)"),
    { 0 },
};

static const IsaOps *isa_ops(const Device *dev)
{
    static const IsaOps none = { .irq = -1 };
    for (const DeviceType *t = dev->type; t; t = t->base) {
        if (t->bus_ops) {
            return t->bus_ops;
        }
    }
    return &none;
}

static bool isa_index_taken(Bus *bus, const Device *dev, uint32_t index)
{
    for (guint i = 0; i < bus->children->len; i++) {
        Device *other = bus->children->pdata[i];
        if (other != dev && other->type == dev->type && isa_child(other)->index == index) {
            return true;
        }
    }
    return false;
}

static bool isa_pick_index(Bus *bus, Device *dev, const IsaOps *ops, Error **errp)
{
    IsaChild *child = isa_child(dev);
    if (!ops->n) {
        if (child->index != UINT32_MAX) {
            return error_fail(errp, "not-supported", "index", "leave it out",
                              "%s has no 'index': there is one place for it", dev->type->name);
        }
        return true;
    }
    if (child->index == UINT32_MAX) {
        for (child->index = 0; isa_index_taken(bus, dev, child->index);) {
            child->index++;
        }
        if (child->index >= ops->n) {
            child->index = UINT32_MAX;
            error_fail(errp, "no-place", "index", NULL,
                       "at most %u devices of type %s have usual ports", ops->n, dev->type->name);
            error_hint(errp, "use a PCI device for more");
            return false;
        }
    } else if (child->index >= ops->n) {
        return error_fail(errp, "out-of-range", "index", NULL,
                          "index %u of %s is out of range, the last is %u", child->index, dev->type->name,
                          ops->n - 1);
    } else if (isa_index_taken(bus, dev, child->index)) {
        return error_fail(errp, "in-use", "index", "give another index=",
                          "index %u of %s is taken by another device", child->index, dev->type->name);
    }
    return true;
}

static bool isa_prepare(Bus *bus, Device *dev, Error **errp)
{
    const IsaOps *ops = isa_ops(dev);
    IsaChild *child = isa_child(dev);
    if (!isa_pick_index(bus, dev, ops, errp)) {
        return false;
    }
    bool listed = ops->n && child->index < ops->n;
    if (child->iobase == UINT32_MAX) {
        child->iobase = listed && ops->iobase_n ? ops->iobase_n[child->index] : ops->iobase[0];
    } else if (!ops->iobase[0] && !ops->iobase_n) {
        return error_fail(errp, "not-supported", "iobase", "leave it out",
                          "%s has no 'iobase': its ports are fixed", dev->type->name);
    } else if (child->iobase > UINT16_MAX) {
        return error_fail(errp, "out-of-range", "iobase", "give one below 0x10000",
                          "iobase 0x%x of %s is beyond the last I/O port, 0xffff", child->iobase,
                          dev->type->name);
    }
    int line = listed && ops->irq_n ? ops->irq_n[child->index] : ops->irq;
    if (child->irq == UINT32_MAX) {
        child->irq = line < 0 ? UINT32_MAX : (uint32_t)line;
    } else if (line < 0) {
        return error_fail(errp, "not-supported", "irq", "leave it out",
                          "%s has no 'irq': it does not interrupt through this property", dev->type->name);
    }
    return true;
}

static bool isa_attach(Bus *bus G_GNUC_UNUSED, Device *dev, Error **errp)
{
    const IsaOps *ops = isa_ops(dev);
    IsaChild *child = isa_child(dev);
    for (unsigned k = 0; k < G_N_ELEMENTS(ops->iobase); k++) {
        MemRegion *region = device_region(dev, k);
        if (!region || (k == 0 ? !child->iobase : !ops->iobase[k])) {
            continue;
        }
        uint32_t port = child->iobase + (k ? ops->iobase[k] - ops->iobase[0] : 0);
        if (port + region->size > 0x10000) {
            return error_fail(errp, "out-of-range", "iobase", "give a lower one",
                              "ports 0x%x and up of %s do not fit below 0x10000", port, device_name(dev));
        }
        if (!device_map_io(dev, region, port, errp)) {
            return false;
        }
    }
    IrqLine *line = device_irq(dev, 0);
    if (line && child->irq != UINT32_MAX) {
        return isa_connect_irq(dev, line, child->irq, ops->irq_shared, errp);
    }
    return true;
}

static void isa_detach(Bus *bus G_GNUC_UNUSED, Device *dev G_GNUC_UNUSED)
{
    /* Ports and lines are on the device's unwind list. */
}

static void isa_describe_child(Device *dev, GString *out, int indent)
{
    if (isa_child(dev)->irq != UINT32_MAX) {
        g_string_append_printf(out, "%*sisa irq %u\n", indent, "", isa_child(dev)->irq);
    }
}

const BusType isa_bus_type = {
    .name = "ISA",
    .child_size = sizeof(IsaChild),
    .child_props = isa_child_props,
    .prepare = isa_prepare,
    .attach = isa_attach,
    .detach = isa_detach,
    .describe_child = isa_describe_child,
};

static void isa_release_irq(void *opaque)
{
    struct IsaIrqPin *pin = ((void **)opaque)[0];
    IrqLine *line = ((void **)opaque)[1];
    for (unsigned i = 0; i < ISA_SOURCE_BOARD; i++) {
        if (pin->user[i].line == line) {
            irq_set(line, false);
            pin->user[i].line = NULL;
            pin->user[i].dev = NULL;
            pin->n_users--;
        }
    }
    g_free(opaque);
}

bool isa_connect_irq(Device *dev, IrqLine *line, unsigned irq, bool shared, Error **errp)
{
    IsaBus *isa = isa_bus_of(dev);
    if (irq >= ISA_IRQS) {
        return error_fail(errp, "out-of-range", "irq", NULL,
                          "irq %u of %s does not exist, ISA lines are 0 to 15", irq, device_name(dev));
    }
    if (irq == 2) {
        error_fail(errp, "not-supported", "irq", NULL,
                   "irq 2 of %s is not on the bus, it cascades the interrupt controllers", device_name(dev));
        error_hint(errp, "devices made for IRQ 2 use irq=9");
        return false;
    }
    struct IsaIrqPin *pin = &isa->pin[irq];
    unsigned slot = ISA_SOURCE_BOARD;
    for (unsigned i = 0; i < ISA_SOURCE_BOARD; i++) {
        if (!pin->user[i].line) {
            slot = MIN(slot, i);
        } else if (!shared || !pin->user[i].shared) {
            error_fail(errp, "in-use", "irq", NULL,
                       "irq %u of %s is taken by %s, and ISA lines are edge-triggered", irq,
                       device_name(dev), device_name(pin->user[i].dev));
            error_hint(errp, "give one of them another line with irq=");
            return false;
        }
    }
    if (slot == ISA_SOURCE_BOARD) {
        return error_fail(errp, "in-use", "irq", "give another irq=",
                          "irq %u has too many devices for %s to share it", irq, device_name(dev));
    }
    pin->user[slot].dev = dev;
    pin->user[slot].line = line;
    pin->user[slot].shared = shared;
    pin->n_users++;
    irq_connect(line, &irq_or_sink, &isa->irq_or[irq], slot);
    void **held = g_new(void *, 2);
    held[0] = pin;
    held[1] = line;
    device_add_cleanup(dev, isa_release_irq, held);
    return true;
}

Device *isa_find_device(IsaBus *isa, const DeviceType *type)
{
    for (guint i = 0; i < isa->bus->children->len; i++) {
        Device *dev = isa->bus->children->pdata[i];
        if (device_is_a(dev, type) && dev->realized) {
            return dev;
        }
    }
    return NULL;
}

/* The gates' outputs; a second step because irq_in[] is what boards connect. */
static void isa_gate_set(void *sink, unsigned pin, bool level)
{
    IsaBus *isa = sink;
    irq_set(pin < ISA_IRQS ? &isa->irq_in[pin] : &isa->gsi_in[pin - ISA_IRQS], level);
}

static const IrqSinkOps isa_gate_sink = { .set = isa_gate_set };

IsaBus *isa_bus_new(Device *bridge, const char *name)
{
    IsaBus *isa = g_new0(IsaBus, 1);
    for (unsigned i = 0; i < ISA_GSIS; i++) {
        IrqOr *gate = i < ISA_IRQS ? &isa->irq_or[i] : &isa->gsi_or[i - ISA_IRQS];
        irq_or_init(gate);
        irq_connect(&gate->out, &isa_gate_sink, isa, i);
    }
    for (unsigned i = 0; i < ISA_IRQS; i++) {
        isa->pin[i].bus = isa;
        isa->pin[i].irq = i;
    }
    device_add_cleanup(bridge, g_free, isa);
    isa->bus = bus_new(&isa_bus_type, bridge, name, isa);
    return isa;
}
