/* SPDX-License-Identifier: MIT
 * hw/acpi/ged.c - what a hardware-reduced ACPI platform needs of hardware: the registers behind its generic
 * event device, and those for sleep and reset.
 *
 * Models: ACPI 6.3, 4.8.3.6 (reset register), 4.8.3.7 (sleep control and status registers); 5.6.9
 *         (interrupt-signalled events: the control method reads GED_EVENTS).
 * Does not model: sleep states but S5.
 * Threads: the device's domain.
 */
#include "rhea/hw/ged.h"
#include "rhea/system/machine.h"

enum { SLP_EN = 1 << 5, SLP_TYP_SHIFT = 2, SLP_TYP = 7 };

typedef struct Ged {
    Device dev;
    MemRegion regs;
    IrqLine irq;
    uint32_t events;
    uint8_t sleep_control;
} Ged;

static void ged_update(Ged *s)
{
    irq_set(&s->irq, s->events != 0);
}

static uint64_t ged_read(void *opaque, MemAccess *a)
{
    Ged *s = opaque;
    uint32_t events = s->events;
    switch (a->off) {
    case GED_EVENTS:
        s->events = 0;
        ged_update(s);
        return events;
    case GED_SLEEP_CONTROL: return s->sleep_control;
    default: return 0; /* the wake status: nothing has slept; the reset register is write-only */
    }
}

static void ged_sleep(Ged *s, uint8_t val)
{
    unsigned type = val >> SLP_TYP_SHIFT & SLP_TYP;
    s->sleep_control = val & SLP_TYP << SLP_TYP_SHIFT;
    if (!(val & SLP_EN)) {
        return;
    }
    if (type == GED_SLEEP_S5) {
        machine_request_shutdown(s->dev.machine, SHUTDOWN_GUEST_SHUTDOWN, 0);
    } else {
        guest_unimp(&s->dev, "sleep type %u: only soft off (%d) exists", type, GED_SLEEP_S5);
    }
}

static void ged_write(void *opaque, MemAccess *a, uint64_t val)
{
    Ged *s = opaque;
    if (a->off == GED_SLEEP_CONTROL) {
        ged_sleep(s, (uint8_t)val);
    } else if (a->off == GED_RESET && (uint8_t)val == GED_RESET_VALUE) {
        machine_request_reset(s->dev.machine, SHUTDOWN_GUEST_RESET);
    } else if (a->off == GED_RESET) {
        guest_error(&s->dev, "reset register: %02x is not the value that resets", (unsigned)val);
    }
}

static void ged_power_button(void *opaque)
{
    Ged *s = opaque;
    s->events |= GED_POWER_BUTTON;
    ged_update(s);
}

static bool ged_realize(Device *dev, Error **errp G_GNUC_UNUSED)
{
    /* Events are a doubleword; a byte access to its other bytes is none to a register. */
    static const MemOps ops = { .read = ged_read, .write = ged_write, .min = 1, .max = 4 };
    Ged *s = dev_as(Ged, dev);
    region_init_io(&s->regs, dev, "acpi-ged", &ops, s, GED_SIZE);
    device_add_region(dev, &s->regs);
    device_add_irq(dev, &s->irq);
    machine_on_powerdown(dev->machine, ged_power_button, s);
    return true;
}

static void ged_reset(Device *dev, ResetKind kind G_GNUC_UNUSED)
{
    Ged *s = dev_as(Ged, dev);
    s->events = 0;
    s->sleep_control = 0;
}

static void ged_reset_done(Device *dev)
{
    ged_update(dev_as(Ged, dev));
}

static const VmField ged_fields[] = { VM_U32(Ged, events), VM_U8(Ged, sleep_control), { 0 } };
static const VmState ged_state = { .name = "acpi-ged", .version = 1, .oldest = 1, .fields = ged_fields };

const DeviceType acpi_ged_type = {
    .name = "acpi-ged",
    .desc = "Registers of hardware-reduced ACPI",
    .size = sizeof(Ged),
    .category = "Misc",
    .internal = true,
    .vmstate = &ged_state,
    .realize = ged_realize,
    .reset = ged_reset,
    .reset_done = ged_reset_done,
};
