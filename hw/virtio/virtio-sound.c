/* SPDX-License-Identifier: MIT
 * hw/virtio/virtio-sound.c - a sound card: `-device virtio-sound-pci`; on boards with transports in memory
 * virtio-sound-device.
 *
 * Models: virtio 1.2, 5.14 (sound device): PCM streams and their life, channel maps, jacks (nothing is ever
 *         unplugged, so no event is sent). The first half of the streams plays, the rest records, as QEMU's.
 *         Buffers stay here until their sound is due: as many as the queues have entries, of 2 MiB at most
 *         (descriptors may name the same memory again and again, and silence fills what a driver releases;
 *         it is more than half a second of the most that can be played). A driver that does
 *         not follow a stream's life (5.14.6.6.1) gets BAD_MSG, and nothing happens.
 * Does not model: shared memory, polling, notifications of periods and of xruns; remapping of jacks.
 * Threads: the device's domain.
 */
#include "rhea/backends/audio.h"
#include "rhea/hw/virtio-types.h"
#include "rhea/system/machine.h"
#include "rhea/util/errorcode.h"

#include <string.h>

enum { SND_CLASS = 25, SND_QUEUE = 64, SND_TURN = 256, SND_STREAMS = 10, SND_JACKS = 8, SND_CHMAPS = 4 };
enum { CONTROLQ, EVENTQ, TXQ, RXQ, SND_QUEUES };
enum { /* 5.14.6 */
       R_JACK_INFO = 0x0001,
       R_JACK_REMAP = 0x0002,
       R_PCM_INFO = 0x0100,
       R_PCM_SET_PARAMS = 0x0101,
       R_PCM_PREPARE = 0x0102,
       R_PCM_RELEASE = 0x0103,
       R_PCM_START = 0x0104,
       R_PCM_STOP = 0x0105,
       R_CHMAP_INFO = 0x0200
};
enum { S_OK = 0x8000, S_BAD_MSG = 0x8001, S_NOT_SUPP = 0x8002 };
enum { D_OUTPUT, D_INPUT };
enum { CHMAP_MONO = 3, CHMAP_FL = 4, CHMAP_FR = 5 };
enum { JACK_PRESENCE = 1 << 2, JACK_OUT = 1 << 4, JACK_IN = 1 << 5 };
enum { LINE_OUT = 0x00004010, LINE_IN = 0x00805020 }; /* pins' defaults in HD Audio's terms, two jacks */
enum { SND_CONFIG = 12, SND_REQUEST = 24, SND_HEADER = 4, SND_STATUS = 8, CHANNELS_MOST = 2 };
enum { SND_BYTES = 2 << 20 };

/* 5.14.6.6.1 */
typedef enum PcmState { PCM_NONE, PCM_SET, PCM_PREPARED, PCM_STARTED, PCM_STOPPED, PCM_RELEASED } PcmState;
#define IN_STATE(s) (1u << (s))

/* By their numbers in messages (5.14.6.6.2); 0: there is no such rate. */
static const uint32_t rates[] = { 5512,  8000,  11025, 16000, 22050,  32000,  44100,
                                  48000, 64000, 88200, 96000, 176400, 192000, 384000 };
static const struct {
    uint8_t number;
    AudioFormat format;
} formats[] = { { 3, AUDIO_FORMAT_S8 },   { 4, AUDIO_FORMAT_U8 },   { 5, AUDIO_FORMAT_S16 },
                { 6, AUDIO_FORMAT_U16 },  { 17, AUDIO_FORMAT_S32 }, { 18, AUDIO_FORMAT_U32 },
                { 19, AUDIO_FORMAT_F32 } };

typedef struct SndBuffer {
    VirtElem e;
    struct SndBuffer *next; /* of the same stream */
} SndBuffer;

typedef struct SndStream {
    struct VirtioSound *s;
    Voice *voice;
    SndBuffer *first, *last;
    AudioSettings settings;
    /* the driver's; saved */
    uint8_t state, channels, format, rate;
    uint32_t at;  /* bytes of the first buffer that are done */
    int64_t time; /* the voice's */
} SndStream;

typedef struct VirtioSound {
    VirtioDevice v;
    char *audiodev; /* properties */
    uint32_t jacks, n_streams, chmaps;
    int legacy;
    bool no_modern;
    SndStream streams[SND_STREAMS];
    DomainTask more, resume;
    Fifo8 held;    /* saved: the buffers of all streams */
    bool resuming; /* loaded, not yet taken from the rings again */
} VirtioSound;
#define snd_of(V) ((VirtioSound *)(V))

static bool is_output(const SndStream *p)
{
    return p - p->s->streams < (p->s->n_streams + 1) / 2;
}

static uint32_t get32(const IoVec *v, size_t off)
{
    uint32_t le = 0;
    iov_to_buf(v, off, &le, sizeof(le));
    return GUINT32_FROM_LE(le);
}

/* ---- buffers (5.14.6.8) ---- */

/* Of sound in it. */
static size_t buffer_bytes(const SndStream *p, const SndBuffer *b)
{
    return is_output(p) ? b->e.out.bytes - SND_HEADER : b->e.in.bytes - SND_STATUS;
}

/* Back to the driver; its status lies behind the data. */
static void buffer_finish(VirtioDevice *v, SndBuffer *b, uint32_t status)
{
    uint32_t le[2] = { GUINT32_TO_LE(status), 0 }; /* and its latency, which nobody knows */
    size_t n = b->e.in.bytes;
    if (n >= sizeof(le)) {
        iov_from_buf(&b->e.in, n - sizeof(le), le, sizeof(le));
    }
    virtq_push(v, &b->e, n >= sizeof(le) ? (uint32_t)n : 0);
}

static SndBuffer *stream_take(SndStream *p)
{
    SndBuffer *b = p->first;
    if (b) {
        p->first = b->next;
        p->last = b->next ? p->last : NULL;
        p->at = 0;
    }
    return b;
}

/* Released: a buffer that was not full yet has silence behind what came. */
static void stream_return_all(SndStream *p)
{
    size_t at = p->at;
    for (SndBuffer *b; (b = stream_take(p)) != NULL; at = 0) {
        size_t n = buffer_bytes(p, b);
        if (!is_output(p) && at < n) {
            iov_fill(&b->e.in, at, 0, n - at);
        }
        buffer_finish(&p->s->v, b, S_OK);
    }
}

/* As if they had not been taken: the ring is about to be reset, or to be another one. */
static void stream_forget_all(SndStream *p)
{
    uint32_t at = p->at; /* perhaps a loaded one */
    for (SndBuffer *b; (b = stream_take(p)) != NULL;) {
        virtq_unpop(&p->s->v, &b->e);
    }
    p->at = at;
}

static void snd_forget(VirtioDevice *v, const VirtQueue *q)
{
    VirtioSound *s = snd_of(v);
    for (unsigned i = 0; i < s->n_streams; i++) {
        if (!q || q == &v->q[is_output(&s->streams[i]) ? TXQ : RXQ]) {
            stream_forget_all(&s->streams[i]);
        }
    }
}

/* One that was taken from TXQ or RXQ goes to its stream's others. */
static void buffer_add(VirtioSound *s, SndBuffer *b)
{
    uint32_t id = b->e.out.bytes >= SND_HEADER ? get32(&b->e.out, 0) : UINT32_MAX;
    SndStream *p = id < s->n_streams ? &s->streams[id] : NULL;
    bool wanted = p && p->state >= PCM_PREPARED && p->state <= PCM_STOPPED;
    if (!wanted || b->e.in.bytes < SND_STATUS || is_output(p) != (b->e.q == &s->v.q[TXQ])) {
        guest_error(&s->v.dev, "virtio-sound: a buffer for stream %u, which wants none", id);
        buffer_finish(&s->v, b, S_BAD_MSG);
        return;
    }
    if (buffer_bytes(p, b) > SND_BYTES) {
        guest_error(&s->v.dev, "virtio-sound: a buffer of %zu bytes for stream %u", buffer_bytes(p, b), id);
        buffer_finish(&s->v, b, S_BAD_MSG);
        return;
    }
    b->next = NULL;
    if (p->last) {
        p->last->next = b;
    } else {
        p->first = b;
        p->at = 0;
    }
    p->last = b;
}

/* Moves bytes between the voice and the driver's buffers; those that are done go back. */
static unsigned stream_move(SndStream *p, uint8_t *buf, unsigned frames)
{
    size_t frame = audio_frame_size(&p->settings), len = frames * frame, done = 0;
    while (done < len && p->first) {
        SndBuffer *b = p->first;
        size_t size = buffer_bytes(p, b), left = size - MIN(p->at, size), n = MIN(len - done, left);
        if (is_output(p)) {
            iov_to_buf(&b->e.out, SND_HEADER + p->at, buf + done, n);
        } else {
            iov_from_buf(&b->e.in, p->at, buf + done, n);
        }
        done += n;
        p->at += (uint32_t)n;
        if (n == left) {
            buffer_finish(&p->s->v, stream_take(p), S_OK);
        }
    }
    return (unsigned)(done / frame);
}

static unsigned snd_play(void *opaque, void *buf, unsigned frames)
{
    return stream_move(opaque, buf, frames);
}

static unsigned snd_record(void *opaque, const void *buf, unsigned frames)
{
    return stream_move(opaque, (void *)buf, frames); /* a stream that records only reads it */
}

/* ---- control messages ---- */

typedef struct Le {
    uint8_t bytes[32];
    unsigned n;
} Le;

static void put(Le *le, unsigned n, uint64_t v)
{
    for (unsigned i = 0; i < n; i++) {
        le->bytes[le->n++] = (uint8_t)(v >> 8 * i);
    }
}

static void jack_info(const VirtioSound *s G_GNUC_UNUSED, unsigned i, Le *le)
{
    put(le, 4, 0);                       /* one function group has all */
    put(le, 4, 0);                       /* features */
    put(le, 4, (i & 1 ? LINE_IN : LINE_OUT) + i / 2);
    put(le, 4, JACK_PRESENCE | (i & 1 ? JACK_IN : JACK_OUT));
    put(le, 8, 1);                       /* connected */
}

static void pcm_info(const VirtioSound *s, unsigned i, Le *le)
{
    uint64_t known = 0;
    for (unsigned f = 0; f < G_N_ELEMENTS(formats); f++) {
        known |= UINT64_C(1) << formats[f].number;
    }
    put(le, 4, 0);
    put(le, 4, 0);
    put(le, 8, known);
    put(le, 8, (UINT64_C(1) << G_N_ELEMENTS(rates)) - 1);
    put(le, 1, is_output(&s->streams[i]) ? D_OUTPUT : D_INPUT);
    put(le, 1, 1);
    put(le, 6, CHANNELS_MOST);
}

/* Two channels and then one, for both directions. */
static void chmap_info(const VirtioSound *s, unsigned i, Le *le)
{
    bool both = s->n_streams > 1, stereo = both ? i < 2 : i < 1;
    put(le, 4, 0);
    put(le, 1, both && (i & 1) ? D_INPUT : D_OUTPUT);
    put(le, 1, stereo ? 2 : 1);
    put(le, 1, stereo ? CHMAP_FL : CHMAP_MONO);
    put(le, 1, stereo ? CHMAP_FR : 0);
    put(le, 8, 0);
    put(le, 8, 0);
}

/* 5.14.6.1.1: `count` items of one kind. Returns the status; *written: with the answer's header. */
static uint32_t query(VirtioSound *s, const VirtElem *e, unsigned n, unsigned size,
                      void (*info)(const VirtioSound *s, unsigned i, Le *le), size_t *written)
{
    if (e->out.bytes < 16) {
        return S_BAD_MSG;
    }
    uint32_t start = get32(&e->out, 4), count = get32(&e->out, 8);
    if (start > n || count > n - start || get32(&e->out, 12) != size ||
        e->in.bytes < SND_HEADER + (size_t)count * size) {
        return S_BAD_MSG;
    }
    for (unsigned i = 0; i < count; i++) {
        Le le = { .n = 0 };
        info(s, start + i, &le);
        iov_from_buf(&e->in, *written, le.bytes, size);
        *written += size;
    }
    return S_OK;
}

/* False: a format or rate that there is not. */
static bool stream_settings(SndStream *p)
{
    for (unsigned f = 0; f < G_N_ELEMENTS(formats); f++) {
        if (formats[f].number == p->format && p->rate < G_N_ELEMENTS(rates) && p->channels >= 1 &&
            p->channels <= CHANNELS_MOST) {
            p->settings = (AudioSettings){ .frequency = rates[p->rate],
                                           .channels = p->channels,
                                           .format = formats[f].format };
            return true;
        }
    }
    return false;
}

/* 5.14.6.6.2 */
static uint32_t set_params(SndStream *p, const uint8_t *m)
{
    SndStream now = *p;
    uint32_t le[3];
    memcpy(le, m + 8, sizeof(le));
    uint32_t buffer = GUINT32_FROM_LE(le[0]), period = GUINT32_FROM_LE(le[1]);
    now.channels = m[20];
    now.format = m[21];
    now.rate = m[22];
    if (!period || period > buffer || buffer % period) {
        return S_BAD_MSG;
    }
    if (le[2] || !stream_settings(&now)) { /* features: none is offered */
        return S_NOT_SUPP;
    }
    stream_return_all(p);
    p->channels = now.channels;
    p->format = now.format;
    p->rate = now.rate;
    p->settings = now.settings;
    return S_OK;
}

/* time: not 0: it ran, and was asked up to then. */
static void stream_apply(SndStream *p, int64_t time)
{
    bool run = p->state == PCM_STARTED;
    voice_run(p->voice, false);
    if (run && voice_set(p->voice, &p->settings)) {
        if (time) {
            voice_run_from(p->voice, time);
        }
        voice_run(p->voice, true);
    }
}

/* What may be asked in which states, and the state that follows. */
static uint32_t stream_request(SndStream *p, uint32_t code, const uint8_t *m)
{
    static const struct {
        uint32_t code;
        unsigned from;
        PcmState to;
    } rows[] = {
        { R_PCM_SET_PARAMS,
          IN_STATE(PCM_NONE) | IN_STATE(PCM_SET) | IN_STATE(PCM_PREPARED) | IN_STATE(PCM_RELEASED), PCM_SET },
        { R_PCM_PREPARE, IN_STATE(PCM_SET) | IN_STATE(PCM_PREPARED) | IN_STATE(PCM_RELEASED), PCM_PREPARED },
        { R_PCM_START, IN_STATE(PCM_PREPARED) | IN_STATE(PCM_STOPPED), PCM_STARTED },
        { R_PCM_STOP, IN_STATE(PCM_STARTED), PCM_STOPPED },
        { R_PCM_RELEASE, IN_STATE(PCM_PREPARED) | IN_STATE(PCM_STOPPED), PCM_RELEASED },
    };
    for (unsigned i = 0; i < G_N_ELEMENTS(rows); i++) {
        if (rows[i].code != code) {
            continue;
        }
        uint32_t status = !(rows[i].from & IN_STATE(p->state)) ? S_BAD_MSG
                          : code == R_PCM_SET_PARAMS           ? set_params(p, m)
                                                               : S_OK;
        if (status != S_OK) {
            guest_error(&p->s->v.dev, "virtio-sound: request 0x%x in state %d of stream %u", code, p->state,
                        (unsigned)(p - p->s->streams));
            return status;
        }
        p->state = rows[i].to;
        if (code == R_PCM_RELEASE) {
            stream_return_all(p);
        }
        stream_apply(p, 0);
        return S_OK;
    }
    return S_NOT_SUPP;
}

static uint32_t pcm_request(VirtioSound *s, const VirtElem *e, uint32_t code)
{
    uint8_t m[SND_REQUEST] = { 0 };
    size_t need = code == R_PCM_SET_PARAMS ? SND_REQUEST : 8;
    if (e->out.bytes < need || get32(&e->out, 4) >= s->n_streams) {
        return S_BAD_MSG;
    }
    iov_to_buf(&e->out, 0, m, need);
    return stream_request(&s->streams[get32(&e->out, 4)], code, m);
}

static void control(VirtioSound *s, VirtElem *e)
{
    uint32_t code = e->out.bytes >= SND_HEADER ? get32(&e->out, 0) : 0, status, le;
    size_t written = SND_HEADER;
    if (e->in.bytes < SND_HEADER) {
        guest_error(&s->v.dev, "virtio-sound: request 0x%x has no room for its answer", code);
        virtq_push(&s->v, e, 0);
        return;
    }
    switch (code) {
    case R_JACK_INFO: status = query(s, e, s->jacks, 24, jack_info, &written); break;
    case R_PCM_INFO: status = query(s, e, s->n_streams, 32, pcm_info, &written); break;
    case R_CHMAP_INFO: status = query(s, e, s->chmaps, 24, chmap_info, &written); break;
    case R_JACK_REMAP: status = S_NOT_SUPP; break;
    default: status = pcm_request(s, e, code); break;
    }
    le = GUINT32_TO_LE(status);
    iov_from_buf(&e->in, 0, &le, sizeof(le));
    virtq_push(&s->v, e, (uint32_t)written);
}

/* ---- queues ---- */

static void snd_resume(void *opaque);

static void snd_kick(VirtioDevice *v, VirtQueue *q)
{
    VirtioSound *s = snd_of(v);
    VirtElem *e;
    unsigned turn = 0;
    if (q == &v->q[EVENTQ]) {
        return; /* what comes there stays in the ring */
    }
    snd_resume(s);
    do {
        while ((e = virtq_pop(v, q)) != NULL) {
            if (q == &v->q[CONTROLQ]) {
                control(s, e);
            } else {
                buffer_add(s, (SndBuffer *)e);
            }
            if (++turn >= SND_TURN) {
                domain_post(&s->more);
                return;
            }
        }
    } while (virtq_rearm(v, q));
}

static void snd_more(void *opaque)
{
    VirtioSound *s = opaque;
    for (unsigned i = 0; i < SND_QUEUES; i++) {
        snd_kick(&s->v, &s->v.q[i]);
    }
}

static void snd_get_config(VirtioDevice *v, uint8_t *config)
{
    const VirtioSound *s = snd_of(v);
    uint32_t le[3] = { GUINT32_TO_LE(s->jacks), GUINT32_TO_LE(s->n_streams), GUINT32_TO_LE(s->chmaps) };
    memcpy(config, le, sizeof(le));
}

static void snd_config_written(VirtioDevice *v, unsigned off, unsigned len, uint32_t val G_GNUC_UNUSED)
{
    guest_error(&v->dev, "virtio-sound: %u-byte write of configuration field 0x%x", len, off);
}

static void snd_driver_reset(VirtioDevice *v)
{
    VirtioSound *s = snd_of(v);
    snd_forget(v, NULL); /* the machine's reset */
    fifo8_clear(&s->held);
    s->resuming = false;
    for (unsigned i = 0; i < s->n_streams; i++) {
        SndStream *p = &s->streams[i];
        p->state = PCM_NONE;
        p->channels = p->format = p->rate = 0;
        p->at = 0;
        p->time = 0;
        stream_apply(p, 0);
    }
}

/* ---- saved state: buffers are taken from their rings again ---- */

static void snd_pre_save(void *opaque)
{
    VirtioSound *s = opaque;
    for (unsigned i = 0; i < s->n_streams; i++) {
        s->streams[i].time = voice_time(s->streams[i].voice);
    }
    if (s->resuming) { /* nothing else has happened since the load */
        return;
    }
    fifo8_clear(&s->held);
    for (unsigned i = 0; i < s->n_streams; i++) {
        for (const SndBuffer *b = s->streams[i].first; b; b = b->next) {
            if (s->v.packed) {
                virtq_save_elem(&s->v, &b->e, &s->held);
                continue;
            }
            fifo8_push(&s->held, (uint8_t)(b->e.q - s->v.q));
            fifo8_push(&s->held, (uint8_t)b->e.head);
            fifo8_push(&s->held, (uint8_t)(b->e.head >> 8));
        }
    }
}

static VirtElem *held_take(VirtioSound *s)
{
    if (s->v.packed) {
        return virtq_load_elem(&s->v, &s->held);
    }
    unsigned q = fifo8_pop_or(&s->held, 0), low = fifo8_pop_or(&s->held, 0), high = fifo8_pop_or(&s->held, 0);
    return q == TXQ || q == RXQ ? virtq_retake(&s->v, &s->v.q[q], (uint16_t)(low | high << 8)) : NULL;
}

/* After a load, when all of the machine is there. */
static void snd_resume(void *opaque)
{
    VirtioSound *s = opaque;
    if (!s->resuming) {
        return;
    }
    s->resuming = false;
    uint32_t at[SND_STREAMS];
    for (unsigned i = 0; i < SND_STREAMS; i++) {
        at[i] = s->streams[i].at;
    }
    for (VirtElem *e; fifo8_used(&s->held) && (e = held_take(s)) != NULL;) {
        if (e->q == &s->v.q[TXQ] || e->q == &s->v.q[RXQ]) {
            buffer_add(s, (SndBuffer *)e);
        } else {
            virtq_push(&s->v, e, 0);
        }
    }
    fifo8_clear(&s->held);
    for (unsigned i = 0; i < SND_STREAMS; i++) {
        s->streams[i].at = s->streams[i].first ? at[i] : 0;
    }
}

/* ---- life ---- */

static const PciOps snd_pci_ops[VIRTIO_PCI_VARIANTS] = VIRTIO_PCI_OPS(SND_CLASS, 0, 0x040100);
static const VirtioClass snd_class = {
    .id = SND_CLASS,
    .pci = snd_pci_ops,
    .kick = snd_kick,
    .get_config = snd_get_config,
    .config_written = snd_config_written,
    .reset = snd_driver_reset,
    .forget = snd_forget,
    .config_size = SND_CONFIG,
    .elem_size = sizeof(SndBuffer),
};

static void snd_fini(void *opaque)
{
    VirtioSound *s = opaque;
    for (unsigned i = 0; i < SND_STREAMS; i++) {
        voice_free(s->streams[i].voice);
        s->streams[i].voice = NULL;
    }
}

static void snd_stop(void *opaque)
{
    snd_forget(opaque, NULL);
}

static bool snd_realize(Device *dev, Error **errp)
{
    static const VoiceOps play = { .play = snd_play }, record = { .record = snd_record };
    VirtioSound *s = snd_of(dev_as(VirtioDevice, dev));
    unsigned maps = s->n_streams > 1 ? SND_CHMAPS : SND_CHMAPS / 2;
    if (!virtio_modern_only(s->legacy, s->no_modern, "sound", errp)) {
        return false;
    }
    if (s->chmaps > maps) {
        return error_fail(errp, "out-of-range", "chmaps", "leave it out",
                          "chmaps=%u: %u are possible: two channels and one, for each direction", s->chmaps,
                          maps);
    }
    device_add_cleanup(dev, snd_fini, s);
    for (unsigned i = 0; i < s->n_streams; i++) {
        SndStream *p = &s->streams[i];
        g_autofree char *name = g_strdup_printf("stream%u", i);
        p->s = s;
        p->voice = voice_new(dev, s->audiodev, name, is_output(p) ? &play : &record, p, errp);
        if (!p->voice) {
            return false;
        }
    }
    device_add_task(dev, &s->more, snd_more);
    device_add_task(dev, &s->resume, snd_resume);
    device_add_fifo8(dev, &s->held, 2 * SND_QUEUE * VIRTIO_SAVED_DESC);
    if (!virtio_start(&s->v, &snd_class, SND_QUEUES, SND_QUEUE, errp)) {
        return false;
    }
    device_add_cleanup(dev, snd_stop, s); /* before the elements go */
    return true;
}

static bool snd_post_load(void *opaque, Error **errp)
{
    VirtioSound *s = opaque;
    bool ok = virtio_post_load(&s->v, errp);
    snd_forget(&s->v, NULL); /* of before */
    for (unsigned i = 0; ok && i < s->n_streams; i++) {
        SndStream *p = &s->streams[i];
        if (p->state != PCM_NONE && !stream_settings(p)) {
            return error_set(errp, "saved sound stream %u: %u channels, format %u, rate %u", i, p->channels,
                             p->format, p->rate);
        }
    }
    for (unsigned i = 0; ok && i < s->n_streams; i++) {
        stream_apply(&s->streams[i], s->streams[i].time);
    }
    s->resuming = ok;
    domain_post(&s->resume);
    domain_post(&s->more); /* it may have been about to run */
    return ok;
}

static void snd_describe(Device *dev, GString *out, int indent)
{
    const VirtioSound *s = snd_of(dev_as(VirtioDevice, dev));
    for (unsigned i = 0; i < s->n_streams; i++) {
        voice_describe(s->streams[i].voice, out, indent);
    }
}

static const VmField stream_fields[] = {
    VM_U8_MAX(SndStream, state, PCM_RELEASED),
    VM_U8(SndStream, channels),
    VM_U8(SndStream, format),
    VM_U8(SndStream, rate),
    VM_U32(SndStream, at),
    VM_I64(SndStream, time),
    { 0 },
};
static const VmState stream_state = {
    .name = "virtio-sound-stream",
    .version = 1,
    .oldest = 1,
    .fields = stream_fields,
};
#define SND_FIELDS VM_STRUCT_ARRAY(VirtioSound, streams, stream_state), VM_FIFO8(VirtioSound, held)
VIRTIO_STATES(snd, VirtioSound, "virtio-sound", 3, 3, 4, 4, SND_FIELDS, .pre_save = snd_pre_save,
              .post_load = snd_post_load);

#define SND_PROPS                                                                                            \
    PROP_AUDIODEV(VirtioSound, audiodev),                                                                    \
        PROP_U32(VirtioSound, jacks, "jacks", 0, 0, SND_JACKS, "Jacks: line out and line in, in turn"),      \
        PROP_U32(VirtioSound, n_streams, "streams", 2, 1, SND_STREAMS,                                       \
                 "PCM streams; the first half plays, the rest records"),                                     \
        PROP_U32(VirtioSound, chmaps, "chmaps", 0, 0, SND_CHMAPS,                                            \
                 "Channel maps: of two channels and of one, for each direction")
static const Prop snd_mmio_props[] = { SND_PROPS, { 0 } };
static const Prop snd_pci_props[] = {
    SND_PROPS,
    PROP_ONOFFAUTO(VirtioSound, legacy, "disable-legacy", AUTO, "There is no legacy interface: not off"),
    PROP_BOOL(VirtioSound, no_modern, "disable-modern", false, "There is only the modern one: not on"),
    VIRTIO_PROP_IOEVENTFD(VirtioSound),
    { 0 },
};

const DeviceType virtio_sound_pci_type =
    VIRTIO_PCI_TYPE_(snd, VirtioSound, "virtio-sound-pci", "Virtio sound card (PCI)", virtio_pci_modern_type,
                     snd_pci_props, .category = "Sound", .realize = snd_realize, .describe = snd_describe);
const DeviceType virtio_sound_device_type = {
    .name = "virtio-sound-device",
    .desc = "Virtio sound card (in memory)",
    .size = sizeof(VirtioSound),
    .base = &virtio_mmio_device_type,
    .bus_type = &virtio_mmio_bus_type,
    .props = snd_mmio_props,
    .vmstate = &snd_mmio_state,
    .category = "Sound",
    .realize = snd_realize,
    .describe = snd_describe,
};
