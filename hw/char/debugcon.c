/* SPDX-License-Identifier: MIT
 * hw/char/debugcon.c - one write-only port to a character back end, for firmware and kernels under test.
 * Models:         the "port E9 hack" of PC emulators: bytes written appear at the host, reads return a
 *                 signature.
 * Does not model: flow control, which the interface does not have: 64 KiB wait for a slow host, then bytes
 *                 are lost.
 * Threads:        the device's domain.
 */
#include "rhea/backends/char.h"
#include "rhea/hw/isa.h"
#include "rhea/hw/pcmisc.h"
#include "rhea/util/errorcode.h"

enum { DEBUGCON_BACKLOG = 65536 };

typedef struct Debugcon {
    Device dev;
    CharPort chr; /* configuration */
    uint32_t readback;
    MemRegion regs; /* wiring */
    Fifo8 backlog;  /* not visible to the guest; migrated so that no output is lost */
    bool waiting;   /* derived: the back end will call when it is writable */
} Debugcon;

static void debugcon_flush(void *opaque)
{
    Debugcon *d = opaque;
    d->waiting = false;
    while (fifo8_used(&d->backlog)) {
        uint8_t byte = fifo8_peek_or(&d->backlog, 0, 0);
        if (d->chr.be && !char_write(&d->chr, &byte, 1)) {
            d->waiting = true;
            char_notify_writable(&d->chr, debugcon_flush);
            return;
        }
        fifo8_pop_or(&d->backlog, 0);
    }
}

static uint64_t debugcon_read(void *opaque, MemAccess *a G_GNUC_UNUSED)
{
    Debugcon *d = opaque;
    return d->readback;
}

static void debugcon_write(void *opaque, MemAccess *a G_GNUC_UNUSED, uint64_t val)
{
    Debugcon *d = opaque;
    fifo8_push(&d->backlog, val);
    if (!d->waiting) {
        debugcon_flush(d);
    }
}

static bool debugcon_realize(Device *dev, Error **errp)
{
    static const MemOps ops = {
        .read = debugcon_read, .write = debugcon_write, .min = 1, .max = 1, .impl_min = 1, .impl_max = 1
    };
    static const CharHandler handler = { 0 };
    Debugcon *d = dev_as(Debugcon, dev);
    if (!d->chr.be) {
        error_fail(errp, "missing-member", "chardev", NULL,
                   "isa-debugcon has no chardev, its output would go nowhere");
        error_hint(errp, "add -chardev stdio,id=dbg and chardev=dbg");
        return false;
    }
    device_add_fifo8(dev, &d->backlog, DEBUGCON_BACKLOG);
    region_init_io(&d->regs, dev, "isa-debugcon", &ops, d, 1);
    device_add_region(dev, &d->regs);
    char_attach(&d->chr, &handler, d, dev->domain);
    return true;
}

static void debugcon_unrealize(Device *dev)
{
    char_detach(&dev_as(Debugcon, dev)->chr);
}

/* A reset does not take back what was printed. */
static bool debugcon_post_load(void *opaque, Error **errp G_GNUC_UNUSED)
{
    Debugcon *d = opaque;
    if (!d->waiting) {
        debugcon_flush(d);
    }
    return true;
}

static const Prop debugcon_props[] = {
    PROP_CHARDEV(Debugcon, chr, "chardev", "Where the bytes go"),
    PROP_U32(Debugcon, readback, "readback", 0xe9, 0, UINT32_MAX, "What reads of the port return"),
    { 0 },
};
static const VmField debugcon_fields[] = { VM_FIFO8(Debugcon, backlog), { 0 } };
static const VmState debugcon_state = { .name = "isa-debugcon",
                                        .version = 1,
                                        .oldest = 1,
                                        .fields = debugcon_fields,
                                        .post_load = debugcon_post_load };
static const IsaOps debugcon_isa = { .iobase = { 0xe9 }, .irq = -1 };

const DeviceType isa_debugcon_type = {
    .name = "isa-debugcon",
    .desc = "Debug console port",
    .size = sizeof(Debugcon),
    .bus_type = &isa_bus_type,
    .bus_ops = &debugcon_isa,
    .category = "Misc",
    .props = debugcon_props,
    .vmstate = &debugcon_state,
    .realize = debugcon_realize,
    .unrealize = debugcon_unrealize,
};
