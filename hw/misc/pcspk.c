/* SPDX-License-Identifier: MIT
 * hw/misc/pcspk.c - port 61h: gate of timer 2, speaker, refresh toggle, OUT2.
 * Models:         PIIX3 data sheet, NMI status and control register: bits 0-3 written and read back, bit 4
 *                 toggling with each refresh request (18 timer clocks), bit 5 OUT of counter 2. With
 * audiodev= the speaker is heard: OUT2 while bit 1 is set, to the clock pulse. Does not model: NMI sources
 * (bits 7:6 read 0: no parity or channel check occurs); the speaker while an accelerator has the timer
 * inside. Threads:        the device's domain, the PIT's as well.
 *
 * A sample is for how much of its time the speaker was on, counted in timer clocks: tones have their exact
 * pitch, and programs that switch bit 1 fast (speech by pulse widths) are heard as on the membrane. Time is
 * rendered up to now whenever something changes, into a ring that the voice empties. As a membrane, it
 * settles after a while.
 */
#include "rhea/backends/audio.h"
#include "rhea/hw/isa.h"
#include "rhea/hw/pcmisc.h"
#include "rhea/hw/timer.h"
#include "rhea/system/machine.h"
#include "rhea/util/errorcode.h"

#include <string.h>

enum { SPK_GATE = 0x01, SPK_DATA = 0x02, SPK_WRITABLE = 0x0f, SPK_REFRESH = 0x10, SPK_OUT2 = 0x20 };
enum { REFRESH_CLOCKS = 18 };
enum {
    SPK_RATE = 48000,
    SPK_RING = 65536,          /* more than the longest time between two looks */
    SPK_SPARE = SPK_RATE / 50, /* what may wait when a sound card is slower than the machine */
    SPK_AHEAD = SPK_SPARE / 2, /* silence that comes first, for one that is faster */
    SPK_LOOKS = 2 * SPK_RATE,  /* in so many samples a look ends: nobody comes less often than each second */
    SPK_QUIET = SPK_RATE / 5,  /* off for so long: it is over */
    SPK_SWING = 16384          /* from off to on */
};
#define SPK_SETTLE (1 - 20 * 2 * G_PI / SPK_RATE) /* a high-pass filter of 20 Hz: no constant pressure */

typedef struct Membrane {     /* what is heard; not saved */
    Voice *voice;             /* NULL: nobody listens */
    uint64_t base, index, at; /* timer clocks: of sample 0; the sample that is made; up to where */
    uint64_t high;            /* of them the speaker was on in this sample */
    double was, out;          /* of the filter */
    unsigned quiet;           /* samples since it was on */
    unsigned first, have;
    unsigned least, taken; /* what waited always, while so many were taken */
    int16_t ring[SPK_RING];
} Membrane;

typedef struct PcSpk {
    Device dev;
    char *audiodev; /* configuration */
    MemRegion regs; /* wiring */
    Device *pit;
    uint8_t value;      /* guest-visible state */
    Membrane *membrane; /* NULL without audiodev= */
} PcSpk;

/* ---- what is heard ---- */

static void membrane_put(Membrane *b, double level)
{
    b->out = level - b->was + SPK_SETTLE * b->out;
    b->was = level;
    if (b->have == SPK_RING) { /* nobody came for it: the oldest goes */
        b->first = (b->first + 1) % SPK_RING;
        b->have--;
    }
    b->ring[(b->first + b->have++) % SPK_RING] = b->out * SPK_SWING;
}

/* Renders what is over. */
static void pcspk_render(void *opaque)
{
    PcSpk *s = opaque;
    Membrane *b = s->membrane;
    bool on = s->value & SPK_DATA;
    if (!voice_runs(b->voice)) {
        return;
    }
    uint64_t now = i8254_ticks(s->pit);
    if (now > b->at + PIT_HZ * 5 / 4) { /* as if it had begun now; the ring holds no more anyway */
        b->base = b->at = now;
        b->index = b->high = 0;
    }
    while (b->at < now) {
        uint64_t start = b->base + b->index * PIT_HZ / SPK_RATE,
                 end = b->base + (b->index + 1) * PIT_HZ / SPK_RATE;
        uint64_t to = MIN(end, now);
        b->high += on ? i8254_high(s->pit, b->at, to) : 0;
        b->at = to;
        if (to == end) {
            b->quiet = on ? 0 : b->quiet + 1;
            membrane_put(b, (double)b->high / (end - start));
            b->high = 0;
            b->index++;
        }
    }
}

/* A look comes in pieces: what waits after each of them is too much, and no piece of the same look. */
static void membrane_spare(Membrane *b, unsigned frames)
{
    b->least = MIN(b->least, b->have);
    b->taken += frames;
    if (b->taken < SPK_LOOKS) {
        return;
    }
    unsigned n = b->least > SPK_SPARE ? b->least - SPK_AHEAD : 0;
    b->first = (b->first + n) % SPK_RING;
    b->have -= n;
    b->taken = 0;
    b->least = SPK_RING;
}

static unsigned pcspk_play(void *opaque, void *buf, unsigned frames)
{
    PcSpk *s = opaque;
    Membrane *b = s->membrane;
    int16_t *to = buf, last = 0;
    pcspk_render(s);
    for (unsigned i = 0; i < frames; i++) {
        if (b->have) { /* else a sound card is faster than the machine by one sample */
            last = b->ring[b->first];
            b->first = (b->first + 1) % SPK_RING;
            b->have--;
        }
        to[i] = GINT16_TO_LE(last);
    }
    membrane_spare(b, frames);
    if (b->quiet > SPK_QUIET) {
        voice_run(b->voice, false);
    }
    return frames;
}

/* The speaker was switched: the voice runs from the first sound on. */
static void pcspk_follow(PcSpk *s)
{
    Membrane *b = s->membrane;
    if (!b || !(s->value & SPK_DATA) || voice_runs(b->voice)) {
        return;
    }
    b->base = b->at = i8254_ticks(s->pit);
    b->index = b->high = b->first = b->quiet = 0;
    b->have = SPK_AHEAD;
    memset(b->ring, 0, SPK_AHEAD * sizeof(b->ring[0]));
    b->was = b->out = 0;
    b->taken = 0;
    b->least = SPK_RING;
    voice_run(b->voice, true);
}

static void membrane_free(void *opaque)
{
    Membrane *b = opaque;
    voice_free(b->voice);
    g_free(b);
}

static bool pcspk_listen(PcSpk *s, Error **errp)
{
    static const VoiceOps ops = { .play = pcspk_play };
    static const AudioSettings mono = { SPK_RATE, 1, AUDIO_FORMAT_S16 };
    if (i8254_is_inside(s->pit)) {
        error_fail(errp, "conflict", "audiodev", NULL,
                   "isa-pcspk cannot play on audiodev '%s': the accelerator has the timer, and does not tell "
                   "its output",
                   s->audiodev);
        error_hint(errp, "use -machine kernel-irqchip=split");
        return false;
    }
    Membrane *b = g_new0(Membrane, 1);
    b->voice = voice_new(&s->dev, s->audiodev, "pcspk", &ops, s, errp);
    if (!b->voice) {
        g_free(b);
        return false;
    }
    device_add_cleanup(&s->dev, membrane_free, b);
    voice_set(b->voice, &mono);
    s->membrane = b;
    i8254_listen(s->pit, pcspk_render, s);
    return true;
}

/* ---- the port ---- */

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
    if (s->membrane) {
        pcspk_render(s);
    }
    s->value = val & SPK_WRITABLE;
    pcspk_follow(s);
    i8254_set_gate(s->pit, 2, val & SPK_GATE);
    i8254_set_speaker(s->pit, val & SPK_DATA);
}

static bool pcspk_realize(Device *dev, Error **errp)
{
    static const MemOps ops = {
        .read = pcspk_read, .write = pcspk_write, .min = 1, .max = 1, .impl_min = 1, .impl_max = 1
    };
    PcSpk *s = dev_as(PcSpk, dev);
    s->pit = isa_find_device(isa_bus_of(dev), &i8254_type);
    if (!s->pit) {
        return error_set(errp, "isa-pcspk needs an isa-pit on its bus, whose counter 2 it gates");
    }
    if (s->audiodev && *s->audiodev && !pcspk_listen(s, errp)) {
        return false;
    }
    i8254_on_port61(s->pit, pcspk_tell, s);
    region_init_io(&s->regs, dev, "pcspk", &ops, s, 1);
    device_add_region(dev, &s->regs);
    return true;
}

static void pcspk_reset(Device *dev, ResetKind kind G_GNUC_UNUSED)
{
    PcSpk *s = dev_as(PcSpk, dev);
    s->value = 0; /* the PIT's own reset lowers the gate */
    if (s->membrane) {
        voice_run(s->membrane->voice, false);
    }
}

static void pcspk_reset_done(Device *dev)
{
    i8254_set_speaker(dev_as(PcSpk, dev)->pit, false);
}

static bool pcspk_post_load(void *opaque, Error **errp G_GNUC_UNUSED)
{
    PcSpk *s = opaque;
    i8254_set_speaker(s->pit, s->value & SPK_DATA);
    if (s->membrane) {
        voice_run(s->membrane->voice, false);
    }
    pcspk_follow(s);
    return true;
}

static void pcspk_describe(Device *dev, GString *out, int indent)
{
    PcSpk *s = dev_as(PcSpk, dev);
    if (s->membrane) {
        voice_describe(s->membrane->voice, out, indent);
    }
}

static const Prop pcspk_props[] = {
    PROP_STR(PcSpk, audiodev, "audiodev", NULL, "Audio back end; without it the speaker is silent"),
    { 0 },
};
static const VmField pcspk_fields[] = { VM_U8_MAX(PcSpk, value, SPK_WRITABLE), { 0 } };
static const VmState pcspk_state = {
    .name = "isa-pcspk",
    .version = 1,
    .oldest = 1,
    .fields = pcspk_fields,
    .pre_save = pcspk_pull,
    .post_load = pcspk_post_load,
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
    .describe = pcspk_describe,
};
