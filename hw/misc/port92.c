/* SPDX-License-Identifier: MIT
 * hw/misc/port92.c - system control port A.
 * Models:         IBM PS/2 Technical Reference, port 92h: bit 1 fast A20 gate, bit 0 fast reset on its
 *                 rise; PIIX3 data sheet, PORT92.
 * Does not model: disk activity light and password lock (bits 7, 6, 3 read back as 0).
 * Threads:        the device's domain.
 */
#include "rhea/hw/isa.h"
#include "rhea/hw/pcmisc.h"
#include "rhea/system/machine.h"

enum { PORT92_INIT = 1, PORT92_A20 = 2 };

typedef struct Port92 {
    Device dev;
    MemRegion regs;
    IrqLine a20;
    uint8_t value;
} Port92;

static uint64_t port92_read(void *opaque, MemAccess *a G_GNUC_UNUSED)
{
    Port92 *p = opaque;
    return p->value;
}

static void port92_write(void *opaque, MemAccess *a G_GNUC_UNUSED, uint64_t val)
{
    Port92 *p = opaque;
    bool reset = val & ~p->value & PORT92_INIT;
    p->value = val & (PORT92_INIT | PORT92_A20);
    irq_set(&p->a20, p->value & PORT92_A20);
    if (reset) {
        machine_request_reset(p->dev.machine, SHUTDOWN_GUEST_RESET);
    }
}

static bool port92_realize(Device *dev, Error **errp G_GNUC_UNUSED)
{
    static const MemOps ops = {
        .read = port92_read, .write = port92_write, .min = 1, .max = 1, .impl_min = 1, .impl_max = 1
    };
    Port92 *p = dev_as(Port92, dev);
    region_init_io(&p->regs, dev, "port92", &ops, p, 1);
    device_add_region(dev, &p->regs);
    device_add_irq(dev, &p->a20);
    return true;
}

static void port92_reset(Device *dev, ResetKind kind G_GNUC_UNUSED)
{
    dev_as(Port92, dev)->value = 0;
}

static void port92_drive(Device *dev)
{
    Port92 *p = dev_as(Port92, dev);
    irq_set(&p->a20, p->value & PORT92_A20);
}

static bool port92_post_load(void *opaque, Error **errp G_GNUC_UNUSED)
{
    port92_drive(opaque);
    return true;
}

static const VmField port92_fields[] = { VM_U8_MAX(Port92, value, PORT92_INIT | PORT92_A20), { 0 } };
static const VmState port92_state = {
    .name = "port92", .version = 1, .oldest = 1, .fields = port92_fields, .post_load = port92_post_load
};
static const IsaOps port92_isa = { .iobase = { 0x92 }, .irq = -1 };

const DeviceType port92_type = {
    .name = "port92",
    .desc = "System control port A",
    .size = sizeof(Port92),
    .bus_type = &isa_bus_type,
    .bus_ops = &port92_isa,
    .internal = true,
    .vmstate = &port92_state,
    .realize = port92_realize,
    .reset = port92_reset,
    .reset_done = port92_drive,
};
