/* SPDX-License-Identifier: MIT
 * hw/misc/isa-debug-exit.c - a port whose write ends the emulator with a status, for test kernels.
 * Models:         the documented interface: writing V ends the process with status (V << 1) | 1; reads
 *                 return 0.
 * Does not model: anything else.
 * Threads:        the device's domain.
 */
#include "rhea/hw/isa.h"
#include "rhea/hw/pcmisc.h"
#include "rhea/system/machine.h"

typedef struct DebugExit {
    Device dev;
    uint32_t iosize; /* configuration */
    MemRegion regs;  /* wiring */
} DebugExit;

static uint64_t debug_exit_read(void *opaque G_GNUC_UNUSED, MemAccess *a G_GNUC_UNUSED)
{
    return 0;
}

static void debug_exit_write(void *opaque, MemAccess *a G_GNUC_UNUSED, uint64_t val)
{
    DebugExit *d = opaque;
    int status = ((uint32_t)val << 1) | 1;
    machine_request_shutdown(d->dev.machine, SHUTDOWN_DEBUG_EXIT, status & 0xff); /* what wait() passes on */
}

static bool debug_exit_realize(Device *dev, Error **errp G_GNUC_UNUSED)
{
    static const MemOps ops = { .read = debug_exit_read,
                                .write = debug_exit_write,
                                .min = 1,
                                .max = 4,
                                .impl_min = 1,
                                .impl_max = 4,
                                .unaligned = true };
    DebugExit *d = dev_as(DebugExit, dev);
    region_init_io(&d->regs, dev, "isa-debug-exit", &ops, d, d->iosize);
    device_add_region(dev, &d->regs);
    return true;
}

static const Prop debug_exit_props[] = {
    PROP_U32(DebugExit, iosize, "iosize", 2, 1, 0x10000, "Number of ports"),
    { 0 },
};
static const IsaOps debug_exit_isa = { .iobase = { 0x501 }, .irq = -1 };

const DeviceType isa_debug_exit_type = {
    .name = "isa-debug-exit",
    .desc = "Exit port for tests",
    .size = sizeof(DebugExit),
    .bus_type = &isa_bus_type,
    .bus_ops = &debug_exit_isa,
    .category = "Misc",
    .props = debug_exit_props,
    .realize = debug_exit_realize,
};
