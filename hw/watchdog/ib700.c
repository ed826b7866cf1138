/* SPDX-License-Identifier: MIT
 * hw/watchdog/ib700.c - `-device ib700`: the watchdog of iBASE's computers on one board, two write-only
 * ports.
 *
 * Models: the IB700 manual: a write to 443h starts the timer or starts it over, with 30 seconds for 0 down to
 *         none for 0fh in steps of two; a write to 441h stops it.
 * Threads: the device's domain.
 */
#include "rhea/hw/isa.h"
#include "rhea/hw/pcmisc.h"
#include "rhea/system/machine.h"

enum { PORT_STOP = 0x441, PORT_START = 0x443, LAST = 0x0f, STEP_S = 2 };

typedef struct Ib700 {
    Device dev;
    MemRegion stop, start; /* wiring */
    Timer timer;           /* state */
} Ib700;

static uint64_t ib700_read(void *opaque G_GNUC_UNUSED, MemAccess *a G_GNUC_UNUSED)
{
    return 0xff;
}

static void ib700_stop(void *opaque, MemAccess *a G_GNUC_UNUSED, uint64_t val G_GNUC_UNUSED)
{
    Ib700 *w = opaque;
    timer_cancel(&w->timer);
}

static void ib700_start(void *opaque, MemAccess *a G_GNUC_UNUSED, uint64_t val)
{
    Ib700 *w = opaque;
    int64_t seconds = (int64_t)(LAST - (val & LAST)) * STEP_S;
    timer_arm(&w->timer, clock_now(w->dev.machine->clock) + seconds * 1000000000);
}

static void ib700_expired(void *opaque)
{
    Ib700 *w = opaque;
    machine_watchdog_expired(w->dev.machine);
}

static bool ib700_realize(Device *dev, Error **errp G_GNUC_UNUSED)
{
    static const MemOps stop = { .read = ib700_read, .write = ib700_stop, .min = 1, .max = 1 };
    static const MemOps start = { .read = ib700_read, .write = ib700_start, .min = 1, .max = 1 };
    Ib700 *w = dev_as(Ib700, dev);
    region_init_io(&w->stop, dev, "ib700-stop", &stop, w, 1);
    region_init_io(&w->start, dev, "ib700-start", &start, w, 1);
    device_add_region(dev, &w->stop);
    device_add_region(dev, &w->start);
    device_add_timer(dev, &w->timer, ib700_expired);
    return true;
}

static void ib700_reset(Device *dev, ResetKind kind G_GNUC_UNUSED)
{
    timer_cancel(&dev_as(Ib700, dev)->timer);
}

static const IsaOps ib700_isa = { .iobase = { PORT_STOP, PORT_START }, .irq = -1 };
static const VmField ib700_fields[] = { VM_TIMER(Ib700, timer), { 0 } };
static const VmState ib700_state = { .name = "ib700", .version = 1, .oldest = 1, .fields = ib700_fields };

const DeviceType ib700_type = {
    .name = "ib700",
    .desc = "iBASE 700",
    .size = sizeof(Ib700),
    .bus_type = &isa_bus_type,
    .bus_ops = &ib700_isa,
    .category = "Watchdog",
    .vmstate = &ib700_state,
    .realize = ib700_realize,
    .reset = ib700_reset,
};
