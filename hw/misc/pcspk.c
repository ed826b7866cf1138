/* SPDX-License-Identifier: MIT
 * hw/misc/pcspk.c - port 61h: gate of timer 2, speaker, refresh toggle, OUT2.
 * Models:         PIIX3 data sheet, NMI status and control register: bits 0-3 written and read back, bit 4
 *                 toggling with each refresh request (18 timer clocks), bit 5 OUT of counter 2.
 * Does not model: sound; NMI sources (bits 7:6 read 0: no parity or channel check occurs).
 * Threads:        the device's domain, the PIT's as well.
 */
#include "rhea/hw/isa.h"
#include "rhea/hw/pcmisc.h"
#include "rhea/hw/timer.h"

enum { SPK_GATE = 0x01, SPK_DATA = 0x02, SPK_WRITABLE = 0x0f, SPK_REFRESH = 0x10, SPK_OUT2 = 0x20 };
enum { REFRESH_CLOCKS = 18 };

typedef struct PcSpk {
    Device dev;
    char *audiodev; /* configuration */
    MemRegion regs; /* wiring */
    Device *pit;
    uint8_t value; /* guest-visible state */
} PcSpk;

/* An accelerator that has the PIT inside has this port's two bits for it, too: they are read with the PIT. */
static void pcspk_tell(void *opaque, bool gate, bool speaker)
{
    PcSpk *s = opaque;
    s->value = (s->value & ~(SPK_GATE | SPK_DATA)) | (gate ? SPK_GATE : 0) | (speaker ? SPK_DATA : 0);
}

static void pcspk_pull(void *opaque)
{
    i8254_gate(((PcSpk *)opaque)->pit, 2);
}

static uint64_t pcspk_read(void *opaque, MemAccess *a G_GNUC_UNUSED)
{
    PcSpk *s = opaque;
    pcspk_pull(s);
    bool refresh = i8254_ticks(s->pit) / REFRESH_CLOCKS & 1;
    return s->value | (refresh ? SPK_REFRESH : 0) | (i8254_out(s->pit, 2) ? SPK_OUT2 : 0);
}

static void pcspk_write(void *opaque, MemAccess *a G_GNUC_UNUSED, uint64_t val)
{
    PcSpk *s = opaque;
    s->value = val & SPK_WRITABLE;
    i8254_set_gate(s->pit, 2, val & SPK_GATE);
    i8254_set_speaker(s->pit, val & SPK_DATA);
}

static bool pcspk_realize(Device *dev, Error **errp)
{
    static const MemOps ops = {
        .read = pcspk_read, .write = pcspk_write, .min = 1, .max = 1, .impl_min = 1, .impl_max = 1
    };
    PcSpk *s = dev_as(PcSpk, dev);
    if (s->audiodev && *s->audiodev) {
        error_set(errp, "isa-pcspk cannot play on audiodev '%s': the speaker makes no sound", s->audiodev);
        error_hint(errp, "leave audiodev unset");
        return false;
    }
    s->pit = isa_find_device(isa_bus_of(dev), &i8254_type);
    if (!s->pit) {
        return error_set(errp, "isa-pcspk needs an isa-pit on its bus, whose counter 2 it gates");
    }
    i8254_on_port61(s->pit, pcspk_tell, s);
    region_init_io(&s->regs, dev, "pcspk", &ops, s, 1);
    device_add_region(dev, &s->regs);
    return true;
}

static void pcspk_reset(Device *dev, ResetKind kind G_GNUC_UNUSED)
{
    dev_as(PcSpk, dev)->value = 0; /* the PIT's own reset lowers the gate */
}

static void pcspk_reset_done(Device *dev)
{
    i8254_set_speaker(dev_as(PcSpk, dev)->pit, false);
}

static bool pcspk_post_load(void *opaque, Error **errp G_GNUC_UNUSED)
{
    PcSpk *s = opaque;
    i8254_set_speaker(s->pit, s->value & SPK_DATA);
    return true;
}

static const Prop pcspk_props[] = {
    PROP_STR(PcSpk, audiodev, "audiodev", NULL, "Audio back end; there is none for the speaker"),
    { 0 },
};
static const VmField pcspk_fields[] = { VM_U8_MAX(PcSpk, value, SPK_WRITABLE), { 0 } };
static const VmState pcspk_state = {
    .name = "isa-pcspk", .version = 1, .oldest = 1, .fields = pcspk_fields,
    .pre_save = pcspk_pull, .post_load = pcspk_post_load,
};
static const IsaOps pcspk_isa = { .iobase = { 0x61 }, .irq = -1 };

const DeviceType pcspk_type = {
    .name = "isa-pcspk",
    .desc = "Speaker and timer gate port",
    .size = sizeof(PcSpk),
    .bus_type = &isa_bus_type,
    .bus_ops = &pcspk_isa,
    .internal = true,
    .props = pcspk_props,
    .vmstate = &pcspk_state,
    .realize = pcspk_realize,
    .reset = pcspk_reset,
    .reset_done = pcspk_reset_done,
};
