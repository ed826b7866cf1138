/* SPDX-License-Identifier: MIT
 * hw/audio/ac97.c - AC97: Intel 82801AA AC'97 audio controller.
 * Models:         Intel 82801AA (ICH) data sheet, AC'97 audio controller registers: the codec's registers in
 * BAR 0, three bus masters (PCM in, PCM out, microphone) with lists of up to 32 buffers in BAR 1, global
 *                 control and status, the semaphore; samples are 16 bits, two channels.
 * Does not model: four and six channels, modem, GPIO, a second codec, prefetching (the list's entry is read
 * when its buffer begins), what BUP says of a list that ends: silence follows in any case. Threads: the
 * device's domain; voices ask in it.
 *
 * A bus master moves when its voice asks for frames or has some, and nowhere else.
 */
#include "hw/audio/ac97.h"
#include "rhea/hw/pci.h"
#include "rhea/system/machine.h"

#include <string.h>

/* Of each bus master, 16 bytes apart. */
enum { R_BDBAR = 0, R_CIV = 4, R_LVI = 5, R_SR = 6, R_PICB = 8, R_PIV = 10, R_CR = 11, BOX = 16 };
enum { R_GLOB_CNT = 0x2c, R_GLOB_STA = 0x30, R_ACC_SEMA = 0x34, NAM_SIZE = 256, NABM_SIZE = 64 };
enum { SR_DCH = 1, SR_CELV = 2, SR_LVBCI = 4, SR_BCIS = 8, SR_FIFOE = 16, SR_BITS = 31 };
enum { CR_RPBM = 1, CR_RR = 2, CR_LVBIE = 4, CR_FEIE = 8, CR_IOCE = 16, CR_BITS = 31, CR_ENABLES = 28 };
enum { CNT_COLD = 2, CNT_WARM = 4, CNT_BITS = 0x0030003f, STA_READY = 0x100 };
enum { ENTRIES = 32, ENTRY_IOC = 0x8000, CHANNELS = 2, SAMPLE = 2 };

typedef struct Ac97 Ac97;
typedef struct Engine {
    Ac97 *s; /* wiring */
    Voice *voice;
    Ac97Stream which;
    uint32_t bdbar; /* guest-visible state */
    uint8_t civ, lvi, piv, cr;
    uint16_t sr, picb; /* samples that are left of the buffer */
    uint32_t at;       /* where they are */
    bool ioc;          /* its end is an interrupt */
    int64_t time;      /* the voice's, in saved state */
} Engine;

struct Ac97 {
    Device dev;
    char *audiodev;      /* configuration */
    MemRegion nam, nabm; /* wiring */
    IrqLine intx;
    Ac97Codec codec; /* guest-visible state */
    Engine engine[AC97_STREAMS];
    uint32_t glob_cnt;
    bool semaphore;
};

/* ---- interrupts and voices ---- */

static bool engine_wants(const Engine *e)
{
    return (e->sr & SR_LVBCI && e->cr & CR_LVBIE) || (e->sr & SR_BCIS && e->cr & CR_IOCE) ||
           (e->sr & SR_FIFOE && e->cr & CR_FEIE);
}

static uint32_t ac97_status(const Ac97 *s)
{
    static const uint32_t bit[] = { [AC97_PCM_IN] = 0x20, [AC97_PCM_OUT] = 0x40, [AC97_MIC_IN] = 0x80 };
    uint32_t v = s->glob_cnt & CNT_COLD ? STA_READY : 0;
    for (unsigned i = 0; i < AC97_STREAMS; i++) {
        v |= engine_wants(&s->engine[i]) ? bit[i] : 0;
    }
    return v;
}

static void ac97_update_irq(Ac97 *s)
{
    irq_set(&s->intx, ac97_status(s) & ~(uint32_t)STA_READY);
}

static bool engine_runs(const Engine *e)
{
    return e->cr & CR_RPBM && !(e->sr & SR_DCH);
}

static AudioSettings ac97_settings(const Ac97 *s, Ac97Stream which)
{
    return (AudioSettings){ ac97_codec_rate(&s->codec, which), CHANNELS, AUDIO_FORMAT_S16 };
}

/* Voices are as the registers say. */
static void ac97_follow(Ac97 *s)
{
    for (unsigned i = 0; i < AC97_STREAMS; i++) {
        Engine *e = &s->engine[i];
        AudioSettings set = ac97_settings(s, i);
        bool on = engine_runs(e);
        uint8_t volume[2];
        bool mute = ac97_codec_volume(&s->codec, i, volume);
        voice_volume(e->voice, mute, volume[0], volume[1]);
        if (!on || set.frequency != voice_settings(e->voice)->frequency) {
            voice_run(e->voice, false);
            voice_set(e->voice, &set);
        }
        voice_run(e->voice, on);
    }
}

/* ---- bus masters ---- */

/* The entry of CIV: 0 buffer, 4 samples, 6 flags. One that cannot be read is an empty one. */
static void engine_fetch(Engine *e)
{
    uint8_t d[8];
    if (dma_read(&pci_func(&e->s->dev)->dma, e->bdbar + 8 * e->civ, d, sizeof(d)) != MEM_OK) {
        memset(d, 0, sizeof(d));
    }
    e->at = (d[0] | d[1] << 8 | d[2] << 16 | (uint32_t)d[3] << 24) & ~1u;
    e->picb = d[4] | d[5] << 8;
    e->ioc = (d[6] | d[7] << 8) & ENTRY_IOC;
}

static void engine_next(Engine *e)
{
    e->civ = e->piv;
    e->piv = (e->piv + 1) % ENTRIES;
    engine_fetch(e);
}

/* The buffer is done. False: it was the last one. */
static bool engine_ended(Engine *e)
{
    e->sr |= e->ioc ? SR_BCIS : 0;
    if (e->civ == e->lvi) {
        e->sr |= SR_LVBCI | SR_DCH | SR_CELV;
        voice_run(e->voice, false);
        return false;
    }
    engine_next(e);
    return true;
}

/* Moves up to `frames` frames; how many there were. Empty buffers end in passing; the list ends within 32. */
static unsigned engine_move(Engine *e, uint8_t *out, const uint8_t *in, unsigned frames)
{
    DmaContext *dma = &pci_func(&e->s->dev)->dma;
    unsigned left = frames * CHANNELS;
    bool on = engine_runs(e);
    while (on && left) {
        unsigned n = MIN(e->picb, left), len = n * SAMPLE;
        if (out && n && dma_read(dma, e->at, out, len) != MEM_OK) {
            memset(out, 0, len);
        } else if (in && n) {
            dma_write(dma, e->at, in, len);
        }
        out += out ? len : 0;
        in += in ? len : 0;
        e->at += len;
        e->picb -= n;
        left -= n;
        on = e->picb || engine_ended(e);
    }
    ac97_update_irq(e->s);
    return frames - (left + CHANNELS - 1) / CHANNELS;
}

static unsigned engine_play(void *opaque, void *buf, unsigned frames)
{
    memset(buf, 0, (size_t)frames * CHANNELS * SAMPLE); /* a list may end between the samples of a frame */
    return engine_move(opaque, buf, NULL, frames);
}

static unsigned engine_record(void *opaque, const void *buf, unsigned frames)
{
    return engine_move(opaque, NULL, buf, frames);
}

/* All but the interrupt enables (CR bit 1). */
static void engine_reset(Engine *e)
{
    e->bdbar = e->at = 0;
    e->civ = e->lvi = e->piv = 0;
    e->sr = SR_DCH;
    e->picb = 0;
    e->ioc = false;
    e->cr &= CR_ENABLES;
}

/* It was paused in a buffer, or begins with the next one. A list that has ended goes on when LVI is written.
 */
static void engine_control(Engine *e, uint8_t val)
{
    bool was = e->cr & CR_RPBM;
    if (val & CR_RR) {
        e->cr = val & CR_ENABLES;
        engine_reset(e);
        return;
    }
    e->cr = val & (CR_BITS & ~CR_RR);
    if (e->cr & CR_RPBM && !was) {
        if (!e->picb) {
            engine_next(e);
        }
        e->sr &= ~(SR_DCH | SR_CELV);
    } else if (!(e->cr & CR_RPBM) && was) {
        e->sr |= SR_DCH;
    }
}

static void engine_write(Engine *e, unsigned off, uint8_t val)
{
    switch (off) {
    case R_BDBAR ... R_BDBAR + 3:
        e->bdbar = (e->bdbar & ~(0xffu << 8 * off)) | (uint32_t)val << 8 * off;
        e->bdbar &= ~7u;
        break;
    case R_LVI:
        e->lvi = val % ENTRIES;
        if (e->cr & CR_RPBM && e->sr & SR_DCH) {
            e->sr &= ~(SR_DCH | SR_CELV);
            engine_next(e);
        }
        break;
    case R_SR: e->sr &= ~(val & (SR_LVBCI | SR_BCIS | SR_FIFOE)); break;
    case R_CR: engine_control(e, val); break;
    default: break; /* read-only */
    }
}

static uint8_t engine_read(const Engine *e, unsigned off)
{
    switch (off) {
    case R_BDBAR ... R_BDBAR + 3: return e->bdbar >> 8 * off;
    case R_CIV: return e->civ;
    case R_LVI: return e->lvi;
    case R_SR: return e->sr;
    case R_PICB: return e->picb;
    case R_PICB + 1: return e->picb >> 8;
    case R_PIV: return e->piv;
    case R_CR: return e->cr;
    default: return 0;
    }
}

/* ---- registers ---- */

/* The AC-link's reset (GLOB_CNT bit 1 low): "all data in the controller and the codec are lost". */
static void ac97_cold_reset(Ac97 *s)
{
    ac97_codec_reset(&s->codec);
    for (unsigned i = 0; i < AC97_STREAMS; i++) {
        s->engine[i].cr = 0;
        engine_reset(&s->engine[i]);
    }
}

static void ac97_control(Ac97 *s, unsigned byte, uint8_t val)
{
    uint32_t was = s->glob_cnt;
    s->glob_cnt = (was & ~(0xffu << 8 * byte)) | (uint32_t)val << 8 * byte;
    s->glob_cnt &= CNT_BITS & ~CNT_WARM; /* a warm reset is done at once */
    if (was & CNT_COLD && !(s->glob_cnt & CNT_COLD)) {
        ac97_cold_reset(s);
    }
}

static uint8_t nabm_read_byte(Ac97 *s, unsigned off)
{
    if (off < AC97_STREAMS * BOX && off % BOX <= R_CR) {
        return engine_read(&s->engine[off / BOX], off % BOX);
    }
    if (off >= R_GLOB_CNT && off < R_GLOB_CNT + 4) {
        return s->glob_cnt >> 8 * (off - R_GLOB_CNT);
    }
    if (off >= R_GLOB_STA && off < R_GLOB_STA + 4) {
        return ac97_status(s) >> 8 * (off - R_GLOB_STA);
    }
    uint8_t was = s->semaphore;
    s->semaphore = s->semaphore || off == R_ACC_SEMA; /* the next access to the codec gives it back */
    return off == R_ACC_SEMA ? was : 0;
}

static uint64_t nabm_read(void *opaque, MemAccess *a)
{
    uint64_t v = 0;
    for (unsigned i = 0; i < a->size; i++) {
        v |= (uint64_t)nabm_read_byte(opaque, a->off + i) << 8 * i;
    }
    return v;
}

static void nabm_write(void *opaque, MemAccess *a, uint64_t val)
{
    Ac97 *s = opaque;
    for (unsigned i = 0; i < a->size; i++) {
        unsigned off = a->off + i;
        if (off < AC97_STREAMS * BOX && off % BOX <= R_CR) {
            engine_write(&s->engine[off / BOX], off % BOX, val >> 8 * i);
        } else if (off >= R_GLOB_CNT && off < R_GLOB_CNT + 4) {
            ac97_control(s, off - R_GLOB_CNT, val >> 8 * i);
        }
    }
    ac97_follow(s);
    ac97_update_irq(s);
}

static uint64_t nam_read(void *opaque, MemAccess *a)
{
    Ac97 *s = opaque;
    s->semaphore = false;
    return ac97_codec_read(&s->codec, a->off);
}

static void nam_write(void *opaque, MemAccess *a, uint64_t val)
{
    Ac97 *s = opaque;
    s->semaphore = false;
    ac97_codec_write(&s->codec, a->off, val);
    ac97_follow(s);
}

/* ---- life ---- */

static void ac97_free_voices(void *opaque)
{
    Ac97 *s = opaque;
    for (unsigned i = 0; i < AC97_STREAMS; i++) {
        voice_free(s->engine[i].voice);
    }
}

static bool ac97_realize(Device *dev, Error **errp)
{
    static const MemOps nam = {
        .read = nam_read, .write = nam_write, .min = 1, .max = 4, .impl_min = 2, .impl_max = 2
    };
    static const MemOps nabm = {
        .read = nabm_read, .write = nabm_write, .min = 1, .max = 4, .impl_min = 1, .impl_max = 4
    };
    static const VoiceOps play = { .play = engine_play }, record = { .record = engine_record };
    static const char *const names[] = { "pcm-in", "pcm-out", "mic-in" };
    Ac97 *s = dev_as(Ac97, dev);
    device_add_cleanup(dev, ac97_free_voices, s);
    for (unsigned i = 0; i < AC97_STREAMS; i++) {
        Engine *e = &s->engine[i];
        *e = (Engine){ .s = s, .which = i };
        e->voice = voice_new(dev, s->audiodev, names[i], i == AC97_PCM_OUT ? &play : &record, e, errp);
        if (!e->voice) {
            return false;
        }
    }
    region_init_io(&s->nam, dev, "ac97-nam", &nam, s, NAM_SIZE);
    region_init_io(&s->nabm, dev, "ac97-nabm", &nabm, s, NABM_SIZE);
    device_add_region(dev, &s->nam);
    device_add_region(dev, &s->nabm);
    device_add_irq(dev, &s->intx);
    return true;
}

static void ac97_reset(Device *dev, ResetKind kind G_GNUC_UNUSED)
{
    Ac97 *s = dev_as(Ac97, dev);
    ac97_cold_reset(s);
    s->glob_cnt = 0;
    s->semaphore = false;
}

static void ac97_reset_done(Device *dev)
{
    Ac97 *s = dev_as(Ac97, dev);
    ac97_follow(s);
    ac97_update_irq(s);
}

static void ac97_pre_save(void *opaque)
{
    Ac97 *s = opaque;
    for (unsigned i = 0; i < AC97_STREAMS; i++) {
        s->engine[i].time = voice_time(s->engine[i].voice);
    }
}

static bool ac97_post_load(void *opaque, Error **errp)
{
    Ac97 *s = opaque;
    if (!ac97_codec_loaded(&s->codec)) {
        return error_set(errp, "AC97: the codec's rates are not between 8000 and 48000");
    }
    for (unsigned i = 0; i < AC97_STREAMS; i++) {
        Engine *e = &s->engine[i];
        AudioSettings set = ac97_settings(s, i);
        voice_run(e->voice, false);
        voice_set(e->voice, &set);
        if (engine_runs(e)) {
            voice_run_from(e->voice, e->time);
        }
    }
    ac97_follow(s);
    ac97_update_irq(s);
    return true;
}

static void ac97_describe(Device *dev, GString *out, int indent)
{
    Ac97 *s = dev_as(Ac97, dev);
    for (unsigned i = 0; i < AC97_STREAMS; i++) {
        voice_describe(s->engine[i].voice, out, indent);
    }
}

static const Prop ac97_props[] = { PROP_AUDIODEV(Ac97, audiodev), { 0 } };
static const VmField engine_fields[] = {
    VM_U32(Engine, bdbar),
    VM_U8_MAX(Engine, civ, ENTRIES - 1),
    VM_U8_MAX(Engine, lvi, ENTRIES - 1),
    VM_U8_MAX(Engine, piv, ENTRIES - 1),
    VM_U8_MAX(Engine, cr, CR_BITS),
    VM_U16_MAX(Engine, sr, SR_BITS),
    VM_U16(Engine, picb),
    VM_U32(Engine, at),
    VM_BOOL(Engine, ioc),
    VM_I64(Engine, time),
    { 0 },
};
static const VmState engine_state = {
    .name = "AC97-engine",
    .version = 1,
    .oldest = 1,
    .fields = engine_fields,
};
static const VmField ac97_fields[] = {
    VM_U16_ARRAY(Ac97, codec.reg),
    VM_STRUCT_ARRAY(Ac97, engine, engine_state),
    VM_U32_MAX(Ac97, glob_cnt, CNT_BITS),
    VM_BOOL(Ac97, semaphore),
    { 0 },
};
static const VmState ac97_state = { .name = "AC97", .version = 1, .oldest = 1, .fields = ac97_fields,
                                    .pre_save = ac97_pre_save, .post_load = ac97_post_load };
static const PciOps ac97_pci = {
    .vendor = 0x8086,
    .device = 0x2415,
    .revision = 1,
    .class_code = 0x040100,
    .intx_pin = 1,
    .bar = { { PCI_BAR_IO }, { PCI_BAR_IO } },
};

const DeviceType ac97_type = {
    .name = "AC97",
    .alias = "ac97",
    .desc = "Intel 82801AA AC97 Audio",
    .size = sizeof(Ac97),
    .bus_type = &pci_bus_type,
    .bus_ops = &ac97_pci,
    .category = "Sound",
    .props = ac97_props,
    .vmstate = &ac97_state,
    .realize = ac97_realize,
    .reset = ac97_reset,
    .reset_done = ac97_reset_done,
    .describe = ac97_describe,
};
