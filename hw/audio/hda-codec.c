/* SPDX-License-Identifier: MIT
 * hw/audio/hda-codec.c - the HD Audio link's bus, and codecs: `-device hda-output`, hda-duplex, hda-micro.
 *
 * Models: HDA 7.2 (nodes), 7.3.3 (verbs), 7.3.4 (parameters), 7.3.3.7 (amplifiers of 1 dB a step). A codec
 *         has one audio function group with a converter and a pin for what it plays (nodes 2, 3) and, but for
 *         hda-output, for what it records (4, 5): 16 bits, 16 to 96 kHz, stereo, with QEMU's ids. Other rates
 *         and sizes that a stream's format can say work, too, but are not told of; 8 bits do not.
 * Does not model: unsolicited responses, jack detection, GPIOs, beep.
 * Threads: the controller's domain.
 */
#include "hda.h"
#include "rhea/system/machine.h"
#include "rhea/util/errorcode.h"

#include <string.h>

enum { NID_ROOT, NID_GROUP, NID_DAC, NID_PIN_OUT, NID_ADC, NID_PIN_IN };
enum { VERB_SET_FORMAT = 0x2, VERB_SET_AMP = 0x3, VERB_GET_FORMAT = 0xa, VERB_GET_AMP = 0xb };
enum {
    VERB_PARAM = 0xf00,
    VERB_GET_CONNECTION = 0xf02,
    VERB_GET_POWER = 0xf05,
    VERB_SET_POWER = 0x705,
    VERB_GET_STREAM = 0xf06,
    VERB_SET_STREAM = 0x706,
    VERB_GET_PIN = 0xf07,
    VERB_SET_PIN = 0x707,
    VERB_GET_CONFIG = 0xf1c,
    VERB_SET_CONFIG = 0x71c, /* four of them, one for each byte */
    VERB_GET_SUBSYSTEM = 0xf20,
    VERB_SET_SUBSYSTEM = 0x720, /* four */
    VERB_RESET = 0x7ff,
};
enum {
    PARAM_VENDOR = 0x00,
    PARAM_REVISION = 0x02,
    PARAM_NODES = 0x04,
    PARAM_GROUP_TYPE = 0x05,
    PARAM_WIDGET = 0x09,
    PARAM_PCM = 0x0a,
    PARAM_FORMATS = 0x0b,
    PARAM_PIN = 0x0c,
    PARAM_AMP_IN = 0x0d,
    PARAM_CONNECTIONS = 0x0e,
    PARAM_AMP_OUT = 0x12,
};
enum { /* 7.3.4.6: widgets */
       WCAP_STEREO = 1,
       WCAP_IN_AMP = 1 << 1,
       WCAP_OUT_AMP = 1 << 2,
       WCAP_AMP_OWN = 1 << 3,
       WCAP_FORMAT_OWN = 1 << 4,
       WCAP_CONNECTIONS = 1 << 8,
       WCAP_ADC = 1 << 20,
       WCAP_PIN = 4 << 20
};
enum {
    REVISION = 0x100101,
    PCM_CAPS = 0x201fc, /* 16 bits, 16 to 96 kHz without 64 */
    GROUP_AUDIO = 1,
    AMP_STEPS = 0x4a, /* and the offset: 0 dB is the last one */
    AMP_MUTE = 0x80,
    PIN_OUT = 0x40,
    PIN_IN = 0x20,
    PIN_CAN_OUT = 0x10,
    PIN_CAN_IN = 0x20,
    POWER_D3 = 3,
    BITS_16 = 1,
    BITS_32 = 4,
};
#define AMP_CAPS (UINT32_C(1) << 31 | 3u << 16 | AMP_STEPS << 8 | AMP_STEPS)

typedef struct CodecModel {
    uint8_t id;                     /* of the product; its low bits: 1 without amplifiers, 2 with */
    uint32_t config_out, config_in; /* pins (7.3.3.31); config_in 0: it does not record */
} CodecModel;

typedef struct CodecPath { /* a converter and its pin */
    Voice *voice;
    HdaCodec *codec;
    uint16_t format;
    uint8_t stream; /* its tag, and the first channel */
    uint8_t gain[2], mute[2];
    uint8_t pin;
    uint32_t config;
    AudioSettings settings; /* the voice's, from the format */
    int64_t time;           /* the voice's, in saved state; loaded: not 0 until it runs from there */
    unsigned frame;         /* bytes of the stream's frame, which may have more channels */
} CodecPath;
enum { PATH_OUT, PATH_IN, PATHS };

struct HdaCodec {
    Device dev;
    const CodecModel *model;
    char *audiodev; /* property */
    bool mixer;     /* property */
    CodecPath path[PATHS];
    uint8_t power;
    uint32_t subsystem;
};

typedef struct HdaChild { /* bus data */
    uint32_t cad;
} HdaChild;

static uint32_t codec_id(const HdaCodec *c)
{
    return 0x1af40000u | (c->model->id + c->mixer);
}

static bool is_output(const CodecPath *p)
{
    return p == &p->codec->path[PATH_OUT];
}

/* ---- sound ---- */

/* 3.7.1; false: no format that a voice can have. */
static bool decode_format(CodecPath *p)
{
    unsigned f = p->format, bits = f >> 4 & 7, mult = f >> 11 & 7, channels = (f & 15) + 1;
    if (f & 0x8000 || bits < BITS_16 || bits > BITS_32 || mult > 3) {
        return false;
    }
    p->settings.frequency = (f & 0x4000 ? 44100u : 48000u) * (mult + 1) / ((f >> 8 & 7) + 1);
    p->settings.channels = (uint8_t)MIN(channels, 2);
    p->settings.format = bits == BITS_16 ? AUDIO_FORMAT_S16 : AUDIO_FORMAT_S32; /* 20, 24: left-justified */
    p->frame = channels * audio_sample_size(p->settings.format);
    return true;
}

/* 7.3.3.7: steps of 1 dB down from full. */
static uint8_t amplitude(const CodecPath *p, unsigned side)
{
    double a = 255;
    for (unsigned i = p->gain[side]; i < AMP_STEPS; i++) {
        a *= 0.89125093813374556;
    }
    return p->mute[side] ? 0 : (uint8_t)(a + 0.5);
}

/* The voice is as the nodes say. */
static void path_apply(CodecPath *p)
{
    const HdaCodec *c = p->codec;
    if (!p->voice) {
        return;
    }
    AudioSettings was = p->settings;
    bool open = p->pin & (is_output(p) ? PIN_OUT : PIN_IN);
    bool run = c->power != POWER_D3 && decode_format(p) &&
               hda_stream_runs(c->dev.bus->impl, p->stream >> 4, is_output(p));
    bool same = was.frequency == p->settings.frequency && was.channels == p->settings.channels &&
                was.format == p->settings.format;
    if (!run || !same) {
        voice_run(p->voice, false);
    }
    voice_volume(p->voice, !open, amplitude(p, 0), amplitude(p, 1));
    if (run && !voice_runs(p->voice) && voice_set(p->voice, &p->settings)) {
        if (p->time) {
            voice_run_from(p->voice, p->time);
        }
        voice_run(p->voice, true);
        p->time = 0;
    }
}

static void codec_apply(HdaCodec *c)
{
    for (unsigned i = 0; i < PATHS; i++) {
        path_apply(&c->path[i]);
    }
}

void hda_codec_streams_changed(HdaCodec *c)
{
    codec_apply(c);
}

/* 7.3.3.11: of a stream's frame this converter has the channels from its own first one on; those behind the
 * stream's last are silent. A piece of the stream at a time. */
static unsigned move_channels(CodecPath *p, uint8_t *buf, unsigned frames)
{
    uint8_t piece[4096];
    HdaBus *b = p->codec->dev.bus->impl;
    unsigned sample = audio_sample_size(p->settings.format), own = p->settings.channels * sample;
    unsigned skip = (p->stream & 15) * sample, n = skip < p->frame ? MIN(own, p->frame - skip) : 0, done = 0;
    bool output = is_output(p);
    while (done < frames) {
        unsigned want = MIN(frames - done, (unsigned)sizeof(piece) / p->frame);
        memset(piece, 0, (size_t)want * p->frame);
        for (unsigned i = 0; !output && i < want; i++) {
            memcpy(piece + (size_t)i * p->frame + (n ? skip : 0), buf + (size_t)(done + i) * own, n);
        }
        unsigned got = (unsigned)(hda_stream_transfer(b, p->stream >> 4, output, piece,
                                                      (size_t)want * p->frame) / p->frame);
        for (unsigned i = 0; output && i < got; i++) {
            memset(buf + (size_t)(done + i) * own, 0, own);
            memcpy(buf + (size_t)(done + i) * own, piece + (size_t)i * p->frame + (n ? skip : 0), n);
        }
        done += got;
        if (got < want) {
            break;
        }
    }
    return done;
}

static unsigned path_move(CodecPath *p, void *buf, unsigned frames)
{
    unsigned own = audio_frame_size(&p->settings);
    if (p->frame != own || (p->stream & 15)) {
        return move_channels(p, buf, frames);
    }
    return (unsigned)(hda_stream_transfer(p->codec->dev.bus->impl, p->stream >> 4, is_output(p), buf,
                                          (size_t)frames * own) / own);
}

static unsigned codec_play(void *opaque, void *buf, unsigned frames)
{
    return path_move(opaque, buf, frames);
}

static unsigned codec_record(void *opaque, const void *buf, unsigned frames)
{
    return path_move(opaque, (void *)buf, frames); /* an input stream only reads it */
}

/* ---- parameters (7.3.4) ---- */

static CodecPath *path_of(HdaCodec *c, unsigned nid)
{
    CodecPath *p = &c->path[nid >= NID_ADC ? PATH_IN : PATH_OUT];
    return nid < NID_DAC || nid > NID_PIN_IN || !p->voice ? NULL : p;
}

static bool is_pin(unsigned nid)
{
    return nid == NID_PIN_OUT || nid == NID_PIN_IN;
}

static uint32_t widget_caps(const HdaCodec *c, unsigned nid)
{
    uint32_t amp = c->mixer ? WCAP_AMP_OWN | (nid == NID_DAC ? WCAP_OUT_AMP : WCAP_IN_AMP) : 0;
    switch (nid) {
    case NID_DAC: return WCAP_STEREO | WCAP_FORMAT_OWN | amp;
    case NID_ADC: return WCAP_STEREO | WCAP_FORMAT_OWN | WCAP_CONNECTIONS | WCAP_ADC | amp;
    case NID_PIN_OUT: return WCAP_STEREO | WCAP_CONNECTIONS | WCAP_PIN;
    default: return WCAP_STEREO | WCAP_PIN;
    }
}

static uint32_t widget_param(const HdaCodec *c, unsigned nid, unsigned param)
{
    switch (param) {
    case PARAM_WIDGET: return widget_caps(c, nid);
    case PARAM_PCM: return is_pin(nid) ? 0 : PCM_CAPS;
    case PARAM_FORMATS: return !is_pin(nid);
    case PARAM_PIN: return nid == NID_PIN_OUT ? PIN_CAN_OUT : nid == NID_PIN_IN ? PIN_CAN_IN : 0;
    case PARAM_AMP_IN: return nid == NID_ADC && c->mixer ? AMP_CAPS : 0;
    case PARAM_AMP_OUT: return nid == NID_DAC && c->mixer ? AMP_CAPS : 0;
    case PARAM_CONNECTIONS: return nid == NID_PIN_OUT || nid == NID_ADC;
    default: return 0;
    }
}

static uint32_t group_param(const HdaCodec *c, unsigned param)
{
    switch (param) {
    case PARAM_NODES: return NID_DAC << 16 | (c->path[PATH_IN].voice ? 4 : 2);
    case PARAM_GROUP_TYPE: return GROUP_AUDIO;
    case PARAM_PCM: return PCM_CAPS;
    case PARAM_FORMATS: return 1;
    default: return 0;
    }
}

static uint32_t root_param(const HdaCodec *c, unsigned param)
{
    switch (param) {
    case PARAM_VENDOR: return codec_id(c);
    case PARAM_REVISION: return REVISION;
    case PARAM_NODES: return NID_GROUP << 16 | 1;
    default: return 0;
    }
}

/* ---- verbs (7.3.3); what a node does not know is answered by 0 (7.3.2) ---- */

static void codec_reset(HdaCodec *c)
{
    c->power = 0;
    for (unsigned i = 0; i < PATHS; i++) {
        CodecPath *p = &c->path[i];
        p->format = p->stream = 0;
        p->time = 0;
        memset(p->gain, AMP_STEPS, sizeof(p->gain));
        memset(p->mute, 0, sizeof(p->mute));
        p->pin = i == PATH_OUT ? PIN_OUT : PIN_IN;
    }
}

/* Four verbs from `first` on set the bytes of a word; others do nothing to it. */
static void put_byte(uint32_t *word, unsigned first, unsigned verb, uint8_t byte)
{
    unsigned n = verb - first;
    if (n < 4) {
        *word = (*word & ~(0xffu << 8 * n)) | (uint32_t)byte << 8 * n;
    }
}

static uint32_t group_verb(HdaCodec *c, unsigned verb, uint8_t payload)
{
    switch (verb) {
    case VERB_PARAM: return group_param(c, payload);
    case VERB_GET_POWER: return c->power | (uint32_t)c->power << 4;
    case VERB_SET_POWER:
        c->power = payload & 3;
        codec_apply(c);
        return 0;
    case VERB_GET_SUBSYSTEM: return c->subsystem;
    case VERB_RESET:
        codec_reset(c);
        codec_apply(c);
        return 0;
    default: put_byte(&c->subsystem, VERB_SET_SUBSYSTEM, verb, payload); return 0;
    }
}

static uint32_t pin_verb(const HdaCodec *c, CodecPath *p, unsigned nid, unsigned verb, uint8_t payload)
{
    switch (verb) {
    case VERB_PARAM: return widget_param(c, nid, payload);
    case VERB_GET_CONNECTION: return nid == NID_PIN_OUT && payload == 0 ? NID_DAC : 0;
    case VERB_GET_PIN: return p->pin;
    case VERB_SET_PIN:
        p->pin = payload & (nid == NID_PIN_OUT ? PIN_OUT : PIN_IN);
        path_apply(p);
        return 0;
    case VERB_GET_CONFIG: return p->config;
    default: put_byte(&p->config, VERB_SET_CONFIG, verb, payload); return 0;
    }
}

static uint32_t converter_verb(const HdaCodec *c, CodecPath *p, unsigned nid, unsigned verb, uint8_t payload)
{
    switch (verb) {
    case VERB_PARAM: return widget_param(c, nid, payload);
    case VERB_GET_CONNECTION: return nid == NID_ADC && payload == 0 ? NID_PIN_IN : 0;
    case VERB_GET_STREAM: return p->stream;
    case VERB_SET_STREAM: p->stream = payload; break;
    default: return 0;
    }
    path_apply(p);
    return 0;
}

/* 7.3.3.7: bits 15 to 12 say which amplifiers are meant. */
static void set_amp(const HdaCodec *c, CodecPath *p, unsigned payload)
{
    if (!c->mixer || !(payload & (is_output(p) ? 1 << 15 : 1 << 14)) || (payload >> 8 & 15)) {
        return;
    }
    for (unsigned side = 0; side < 2; side++) {
        if (payload & (side == 0 ? 1 << 13 : 1 << 12)) {
            p->gain[side] = MIN(payload & 0x7f, AMP_STEPS);
            p->mute[side] = payload & AMP_MUTE ? 1 : 0;
        }
    }
    path_apply(p);
}

static uint32_t get_amp(const HdaCodec *c, const CodecPath *p, unsigned payload)
{
    unsigned side = payload & 1 << 13 ? 0 : 1;
    bool meant = c->mixer && !(payload & 15) && !!(payload & 1 << 15) == is_output(p);
    return meant ? p->gain[side] | (p->mute[side] ? AMP_MUTE : 0) : 0;
}

/* Verbs of 4 bits, whose payload has 16; true: it is one of them. */
static bool wide_verb(const HdaCodec *c, CodecPath *p, uint32_t cmd, uint32_t *response)
{
    unsigned payload = cmd & 0xffff;
    switch (cmd >> 16 & 15) {
    case VERB_SET_FORMAT:
        p->format = (uint16_t)payload;
        path_apply(p);
        return true;
    case VERB_SET_AMP: set_amp(c, p, payload); return true;
    case VERB_GET_FORMAT: *response = p->format; return true;
    case VERB_GET_AMP: *response = get_amp(c, p, payload); return true;
    default: return false;
    }
}

uint32_t hda_codec_command(HdaCodec *c, uint32_t cmd)
{
    unsigned nid = cmd >> 20 & 0xff, verb = cmd >> 8 & 0xfff;
    uint8_t payload = (uint8_t)cmd;
    uint32_t response = 0;
    CodecPath *p = path_of(c, nid);
    if (nid == NID_ROOT) {
        return verb == VERB_PARAM ? root_param(c, payload) : 0;
    }
    if (nid == NID_GROUP) {
        return group_verb(c, verb, payload);
    }
    if (!p || (cmd & 1 << 27)) { /* there are no indirect nodes (7.1.2) */
        guest_error(&c->dev, "hda: command 0x%07x is for a node that is not there", cmd);
        return 0;
    }
    if (is_pin(nid)) {
        return pin_verb(c, p, nid, verb, payload);
    }
    return wide_verb(c, p, cmd, &response) ? response : converter_verb(c, p, nid, verb, payload);
}

void hda_codec_link_reset(HdaCodec *c)
{
    codec_reset(c);
    codec_apply(c);
}

/* ---- the bus ---- */

static bool bus_prepare(Bus *bus, Device *dev, Error **errp)
{
    const HdaBus *b = bus->impl;
    HdaChild *child = dev->bus_data;
    uint32_t cad = child->cad;
    for (uint32_t i = 0; cad == UINT32_MAX && i < HDA_CODECS; i++) {
        cad = b->codecs[i] ? cad : i;
    }
    if (cad == UINT32_MAX) {
        return error_fail(errp, "no-place", "bus", "add another controller",
                          "bus '%s' has %d codecs, and no address is free", bus->name, HDA_CODECS);
    }
    if (cad >= HDA_CODECS || b->codecs[cad]) {
        return error_fail(errp, cad < HDA_CODECS ? "in-use" : "out-of-range", "cad",
                          "leave it out: the first free address is taken",
                          cad < HDA_CODECS ? "codec address %u of bus '%s' is in use"
                                           : "cad=%u: bus '%s' has codec addresses 0 to 14", cad, bus->name);
    }
    child->cad = cad;
    return true;
}

static bool bus_attach(Bus *bus, Device *dev, Error **errp G_GNUC_UNUSED)
{
    HdaBus *b = bus->impl;
    domain_lock(dev->domain);
    b->codecs[((HdaChild *)dev->bus_data)->cad] = dev_as(HdaCodec, dev);
    domain_unlock(dev->domain);
    return true;
}

static void bus_detach(Bus *bus, Device *dev)
{
    HdaBus *b = bus->impl;
    const HdaChild *child = dev->bus_data;
    domain_lock(dev->domain); /* a vCPU may be among them: the controller's registers go after the codecs */
    if (child->cad < HDA_CODECS && b->codecs[child->cad] == dev_as(HdaCodec, dev)) {
        b->codecs[child->cad] = NULL;
    }
    domain_unlock(dev->domain);
}

static void bus_describe(Device *dev, GString *out, int indent)
{
    const HdaChild *child = dev->bus_data;
    g_string_append_printf(out, "%*scodec address %u\n", indent, "", child->cad);
}

static const Prop child_props[] = {
    PROP_U32(HdaChild, cad, "cad", UINT32_MAX, 0, UINT32_MAX,
             "Address on the link, 0 to 14; default: the first free one"),
    { 0 },
};

const BusType hda_bus_type = {
    .name = "HDA",
    .child_size = sizeof(HdaChild),
    .child_props = child_props,
    .prepare = bus_prepare,
    .attach = bus_attach,
    .detach = bus_detach,
    .describe_child = bus_describe,
};

/* ---- life ---- */

static void codec_fini(void *opaque)
{
    HdaCodec *c = opaque;
    for (unsigned i = 0; i < PATHS; i++) {
        voice_free(c->path[i].voice);
        c->path[i].voice = NULL;
    }
}

static bool codec_start(Device *dev, const CodecModel *model, Error **errp)
{
    static const VoiceOps ops[PATHS] = { { .play = codec_play }, { .record = codec_record } };
    static const char *const names[PATHS] = { "dac", "adc" };
    HdaCodec *c = dev_as(HdaCodec, dev);
    c->model = model;
    c->path[PATH_OUT].config = model->config_out;
    c->path[PATH_IN].config = model->config_in;
    c->subsystem = codec_id(c);
    device_add_cleanup(dev, codec_fini, c);
    for (unsigned i = 0; i < (model->config_in ? PATHS : PATH_IN); i++) {
        c->path[i].codec = c;
        c->path[i].voice = voice_new(dev, c->audiodev, names[i], &ops[i], &c->path[i], errp);
        if (!c->path[i].voice) {
            return false;
        }
    }
    return true;
}

static bool output_realize(Device *dev, Error **errp)
{
    static const CodecModel model = { 0x11, 0x00004010, 0 }; /* line out, green */
    return codec_start(dev, &model, errp);
}

static bool duplex_realize(Device *dev, Error **errp)
{
    static const CodecModel model = { 0x21, 0x00004010, 0x00805020 }; /* and line in, red */
    return codec_start(dev, &model, errp);
}

static bool micro_realize(Device *dev, Error **errp)
{
    static const CodecModel model = { 0x31, 0x00104010, 0x00a05020 }; /* speaker, microphone */
    return codec_start(dev, &model, errp);
}

/* What verbs that survive a function's reset have written is gone with the power, too. */
static void codec_dev_reset(Device *dev, ResetKind kind G_GNUC_UNUSED)
{
    HdaCodec *c = dev_as(HdaCodec, dev);
    codec_reset(c);
    c->path[PATH_OUT].config = c->model->config_out;
    c->path[PATH_IN].config = c->model->config_in;
    c->subsystem = codec_id(c);
}

static void codec_reset_done(Device *dev)
{
    codec_apply(dev_as(HdaCodec, dev));
}

static void codec_pre_save(void *opaque)
{
    HdaCodec *c = opaque;
    for (unsigned i = 0; i < PATHS; i++) {
        c->path[i].time = c->path[i].voice ? voice_time(c->path[i].voice) : 0;
    }
}

/* The controller may be loaded before or afterwards: the later one starts the voices. */
static bool codec_post_load(void *opaque, Error **errp G_GNUC_UNUSED)
{
    HdaCodec *c = opaque;
    for (unsigned i = 0; i < PATHS; i++) {
        if (c->path[i].voice) {
            voice_run(c->path[i].voice, false);
        }
    }
    codec_apply(c);
    return true;
}

static void codec_describe(Device *dev, GString *out, int indent)
{
    const HdaCodec *c = dev_as(HdaCodec, dev);
    for (unsigned i = 0; i < PATHS; i++) {
        if (c->path[i].voice) {
            voice_describe(c->path[i].voice, out, indent);
        }
    }
}

static const VmField path_fields[] = {
    VM_U16(CodecPath, format),
    VM_U8(CodecPath, stream),
    { .name = "gain", .kind = VM_BYTES_, .offset = TYPED_OFFSET(CodecPath, gain[0], uint8_t), .count = 2 },
    { .name = "mute", .kind = VM_BYTES_, .offset = TYPED_OFFSET(CodecPath, mute[0], uint8_t), .count = 2 },
    VM_U8(CodecPath, pin),
    VM_U32(CodecPath, config),
    VM_I64(CodecPath, time),
    { 0 },
};
static const VmState path_state = { .name = "hda-path", .version = 1, .oldest = 1, .fields = path_fields };
static const VmField codec_fields[] = {
    VM_STRUCT_ARRAY(HdaCodec, path, path_state),
    VM_U8_MAX(HdaCodec, power, POWER_D3),
    VM_U32(HdaCodec, subsystem),
    { 0 },
};
static const VmState codec_state = { .name = "hda-codec", .version = 1, .oldest = 1, .fields = codec_fields,
                                     .pre_save = codec_pre_save, .post_load = codec_post_load };

static const Prop codec_props[] = {
    PROP_AUDIODEV(HdaCodec, audiodev),
    PROP_BOOL(HdaCodec, mixer, "mixer", true, "It has amplifiers: volume and mute"),
    PROP_ONLY_UINT("debug", 0, "the codec prints nothing of its own", "use -d guest_errors"),
    PROP_ONLY_BOOL("use-timer", true, "streams move with the machine's time, whatever the host's sound does",
                   "leave it out; timer-period= of -audiodev says how often"),
    { 0 },
};

#define CODEC_TYPE(VAR, NAME, DESC, REALIZE)                                                                 \
    const DeviceType VAR##_type = {                                                                          \
        .name = (NAME),                                                                                      \
        .desc = (DESC),                                                                                      \
        .size = sizeof(HdaCodec),                                                                            \
        .bus_type = &hda_bus_type,                                                                           \
        .category = "Sound",                                                                                 \
        .props = codec_props,                                                                                \
        .vmstate = &codec_state,                                                                             \
        .realize = (REALIZE),                                                                                \
        .reset = codec_dev_reset,                                                                            \
        .reset_done = codec_reset_done,                                                                      \
        .describe = codec_describe,                                                                          \
    }
CODEC_TYPE(hda_output, "hda-output", "HD Audio codec that plays (line out)", output_realize);
CODEC_TYPE(hda_duplex, "hda-duplex", "HD Audio codec that plays and records (line out, line in)",
           duplex_realize);
CODEC_TYPE(hda_micro, "hda-micro", "HD Audio codec that plays and records (speaker, microphone)",
           micro_realize);
