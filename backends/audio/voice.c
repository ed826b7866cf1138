/* SPDX-License-Identifier: MIT
 * backends/audio/voice.c - streams of devices: time, conversion, mixing.
 *
 * Models: a look every timer-period, as many frames as time has passed. Time is the machine's virtual time,
 * exactly; for a driver with a clock of its own it runs up to 2 % faster or slower, so that the sound that
 *         waits there stays at the latency that was asked for: its clock may drift. Whoever comes more than
 *         a tenth of a second late (a busy host) leaves the time out: sound comes later, but has no hole.
 * Does not model: more than one stream of a driver for each direction; what devices play is mixed.
 * Threads: main loop, the device's domain around callbacks and wherever Voice's members that it guards are
 * touched.
 */
#include "backends/audio/audio_internal.h"
#include "rhea/util/log.h"

#include <string.h>

enum { TRIM_PPM = 20000, SECOND = 1000000000, LATE_NS = 100000000 };
#define PART_ONE (1000000ull * SECOND) /* of AudioStream.part: nanoseconds times parts of a million */

struct Voice {
    Device *dev;
    char *name;
    AudioStream *s;
    const VoiceOps *ops;
    void *opaque;

    /* in the domain */
    AudioSettings settings; /* frequency 0: none yet */
    bool running, active;   /* active: Audiodev.active counts it */
    bool began, changed;    /* since the last look: it runs; it has other settings */
    int64_t began_ns;
    int64_t last_ns; /* nobody hears or says anything: the device was asked up to here */
    bool mute;
    uint8_t volume[2];
    uint64_t missing, dropped; /* frames that the device did not give or take */

    /* the main loop's */
    AudioSettings using;
    Resampler *rs;
    unsigned rs_channels;
    uint32_t rs_rate; /* the stream's */
    float gain[2];    /* where the last chunk ended */
    unsigned tail;    /* input frames until it has faded out */
};

static uint64_t frames_in(int64_t ns, uint32_t rate)
{
    return ns > 0 ? (unsigned __int128)ns * rate / SECOND : 0;
}

/* Frame n is at n / rate of virtual time, whenever a stream began: so a loaded copy of it goes on with the
 * same ones. */
static uint64_t frames_between(int64_t from, int64_t to, uint32_t rate)
{
    return to > from ? frames_in(to, rate) - frames_in(from, rate) : 0;
}

/* ---- life ---- */

static bool stream_open(AudioStream *s, Error **errp)
{
    s->target = MAX(frames_in(s->latency_us * 1000, s->settings.frequency), 1);
    s->is_open = s->a->driver->open(s, errp);
    s->failed = !s->is_open;
    return s->is_open;
}

static void stream_move(AudioStream *s, bool on)
{
    if (s->is_open && s->a->driver->run && s->moves != on) {
        s->moves = on;
        s->a->driver->run(s, on);
    }
}

static void audio_state(void *audiodev, RunState was, RunState now);

static bool audiodev_prepare(Audiodev *a, AudioStream *s, Error **errp)
{
    if (!a->ready && a->driver->init && !a->driver->init(a, errp)) {
        return false;
    }
    if (!a->ready) {
        timer_init(&a->timer, a->m->loop, a->m->clock, audio_tick, a);
        a->listener = (MachineListener){ .state = audio_state, .opaque = a };
        machine_add_listener(a->m, &a->listener);
        size_t n = (size_t)AUDIO_CHUNK * AUDIO_MAX_CHANNELS;
        a->raw = g_malloc(n * 4);
        a->wide = g_new(float, n);
        a->narrow = g_new(float, n);
        a->mix = g_new(float, n);
    }
    a->ready = true;
    return s->is_open || !s->fixed || (!s->out && a->driver->out_only) || stream_open(s, errp);
}

Voice *voice_new(Device *dev, const char *audiodev, const char *name, const VoiceOps *ops, void *opaque,
                 Error **errp)
{
    role_assert_main();
    Audiodev *a = audiodev_get(dev->machine, audiodev, errp);
    if (!a) {
        return NULL;
    }
    AudioStream *s = ops->play ? &a->out : &a->in;
    if (!audiodev_prepare(a, s, errp)) {
        error_prefix(errp, "audiodev '%s'", a->id);
        audiodev_unref(a);
        return NULL;
    }
    Voice *v = g_new0(Voice, 1);
    *v = (Voice){
        .dev = dev, .name = g_strdup(name), .s = s, .ops = ops, .opaque = opaque, .volume = { 255, 255 }
    };
    g_ptr_array_add(a->voices, v);
    return v;
}

/* In the domain. */
static void voice_rest(Voice *v)
{
    if (v->active) {
        v->active = false;
        __atomic_sub_fetch(&v->s->a->active, 1, __ATOMIC_SEQ_CST);
    }
}

void voice_free(Voice *v)
{
    if (!v) {
        return;
    }
    role_assert_main();
    Audiodev *a = v->s->a;
    domain_lock(v->dev->domain);
    v->running = false;
    voice_rest(v);
    domain_unlock(v->dev->domain);
    if (v->s->only == v) {
        v->s->only = NULL;
    }
    g_ptr_array_remove(a->voices, v);
    resampler_free(v->rs);
    g_free(v->name);
    g_free(v);
    audiodev_unref(a);
}

static void stream_close(AudioStream *s)
{
    stream_move(s, false);
    if (s->is_open) {
        s->a->driver->close(s);
    }
    s->is_open = s->runs = s->ending = false;
}

void audio_stop(Audiodev *a)
{
    if (a->ready) {
        timer_cancel(&a->timer);
        machine_remove_listener(a->m, &a->listener);
    }
    stream_close(&a->out);
    stream_close(&a->in);
    if (a->ready && a->driver->fini) {
        a->driver->fini(a);
    }
    g_clear_pointer(&a->raw, g_free);
    g_clear_pointer(&a->wide, g_free);
    g_clear_pointer(&a->narrow, g_free);
    g_clear_pointer(&a->mix, g_free);
    a->closed = true;
}

/* ---- the device's side ---- */

/* At the same times, whenever the first voice began. */
static int64_t next_look(const Audiodev *a, int64_t now)
{
    return (now / a->period_ns + 1) * a->period_ns;
}

bool voice_set(Voice *v, const AudioSettings *s)
{
    if (v->running || s->frequency < AUDIO_MIN_RATE || s->frequency > AUDIO_MAX_RATE || !s->channels ||
        s->channels > AUDIO_MAX_CHANNELS || (unsigned)s->format >= AUDIO_FORMAT__COUNT) {
        return false;
    }
    v->changed = v->changed || v->settings.frequency != s->frequency || v->settings.channels != s->channels ||
                 v->settings.format != s->format;
    v->settings = *s;
    return true;
}

const AudioSettings *voice_settings(const Voice *v)
{
    return &v->settings;
}

static void voice_start(Voice *v, int64_t now, int64_t from)
{
    Audiodev *a = v->s->a;
    v->running = v->began = true;
    v->began_ns = v->last_ns = from;
    if (!v->active) {
        v->active = true;
        __atomic_add_fetch(&a->active, 1, __ATOMIC_SEQ_CST);
    }
    if (!timer_armed(
            &a->timer)) { /* audio_tick() looks at `active` after it has fired: one of both arms it */
        timer_arm(&a->timer, next_look(a, now));
    }
}

void voice_run(Voice *v, bool on)
{
    if (!on) {
        v->running = false; /* the next look lets what was heard fade out */
    } else if (!v->running && v->settings.frequency) {
        int64_t now = clock_now(v->s->a->m->clock);
        voice_start(v, now, now);
    }
}

int64_t voice_time(const Voice *v)
{
    return v->running ? v->last_ns : 0;
}

void voice_run_from(Voice *v, int64_t ns)
{
    int64_t now = clock_now(v->s->a->m->clock);
    if (!v->running && v->settings.frequency) {
        voice_start(v, now,
                    CLAMP(ns, now - MIN(now, LATE_NS), now)); /* ns is a stream's: it may say anything */
    }
}

bool voice_runs(const Voice *v)
{
    return v->running;
}

void voice_volume(Voice *v, bool mute, uint8_t left, uint8_t right)
{
    v->mute = mute;
    v->volume[0] = left;
    v->volume[1] = right;
}

void voice_describe(const Voice *v, GString *out, int indent)
{
    const AudioStream *s = v->s;
    g_string_append_printf(out, "%*s%s: audiodev \"%s\", %s", indent, "", v->name, s->a->id,
                           v->running ? "runs" : "stopped");
    if (v->settings.frequency) {
        g_string_append_printf(out, ", %u Hz, %u x %s", v->settings.frequency, v->settings.channels,
                               audio_format_names[v->settings.format]);
    }
    g_string_append_printf(out,
                           "; frames missing %" PRIu64 ", dropped %" PRIu64 ", late %" PRIu64
                           "; driver underruns %" PRIu64 ", overruns %" PRIu64 "\n",
                           v->missing, v->dropped, s->late_frames, s->underruns, s->overruns);
}

/* ---- a voice at a look ---- */

/* In the domain: what the device changed since the last one. */
static void voice_follow(Voice *v)
{
    AudioStream *s = v->s;
    unsigned channels = s->out ? s->settings.channels : v->settings.channels;
    uint32_t rate = s->settings.frequency;
    bool other = !v->rs || v->rs_channels != channels || v->rs_rate != rate;
    if (other || (v->changed && v->running)) { /* what fades out has the old ones */
        resampler_free(v->rs);
        v->using = v->settings;
        v->rs =
            resampler_new(s->out ? v->using.frequency : rate, s->out ? rate : v->using.frequency, channels);
        v->rs_channels = channels;
        v->rs_rate = rate;
        v->changed = false;
    }
    if (v->running) {
        v->tail = resampler_tail(v->rs);
    }
}

/* A jump of the volume clicks: it goes from one to the other over the chunk. */
static void apply_volume(float gain[2], const float to[2], float *f, unsigned channels, unsigned frames)
{
    if (gain[0] == 1 && gain[1] == 1 && to[0] == 1 && to[1] == 1) {
        return;
    }
    float g[3] = { gain[0], gain[1] }, step[3] = { 0 };
    for (unsigned k = 0; k < 2; k++) {
        step[k] = (to[k] - gain[k]) / frames;
    }
    for (unsigned i = 0; i < frames; i++) {
        g[0] += step[0];
        g[1] += step[1];
        g[2] = MAX(g[0], g[1]);
        for (unsigned c = 0; c < channels; c++) {
            *f++ *= channels == 1 ? (g[0] + g[1]) / 2 : g[MIN(c, 2u)];
        }
    }
    gain[0] = to[0];
    gain[1] = to[1];
}

/* In the domain. */
static void wanted_gain(const Voice *v, float to[2])
{
    to[0] = v->mute ? 0 : v->volume[0] / 255.0f;
    to[1] = v->mute ? 0 : v->volume[1] / 255.0f;
}

/* Does it go on with the settings that this look began with? One that stopped and began anew meanwhile takes
 * part from the next look on. In the domain. */
static bool voice_goes_on(const Voice *v)
{
    return v->running && !v->began;
}

/* Asks the device for `need` frames and pushes them; not heard: as many of silence. False: nothing came, and
 * nothing will. */
static bool voice_fetch(Voice *v, unsigned need, bool heard)
{
    Audiodev *a = v->s->a;
    float to[2];
    unsigned got = 0;
    domain_lock(v->dev->domain);
    bool was = voice_goes_on(v);
    if (was && need) {
        got = v->ops->play(v->opaque, a->raw, need);
        got = MIN(got, need);
        v->missing += voice_goes_on(v) ? need - got : 0; /* one that stopped itself has said all it had */
    }
    wanted_gain(v, to);
    if (!was && !v->tail && !v->running) {
        voice_rest(v);
    }
    bool goes_on = v->active;
    domain_unlock(v->dev->domain);
    if (!goes_on) {
        v->s->only = v->s->only == v ? NULL : v->s->only;
        return false;
    }
    v->tail -= was ? 0 : MIN(v->tail, need);
    if (!heard) {
        resampler_push(v->rs, NULL, need);
        return true;
    }
    unsigned channels = v->using.channels, mixed = v->rs_channels;
    audio_to_float(a->wide, a->raw, v->using.format, (size_t)got * channels);
    audio_map_channels(a->narrow, mixed, a->wide, channels, got);
    if (got) {
        apply_volume(v->gain, to, a->narrow, mixed, got);
    }
    memset(a->narrow + (size_t)got * mixed, 0, (size_t)(need - got) * mixed * sizeof(float));
    resampler_push(v->rs, a->narrow, need);
    return true;
}

/* In the domain, on the main loop: so many frames go nowhere, or silence comes. */
static void voice_pass(Voice *v, uint64_t due)
{
    Audiodev *a = v->s->a;
    unsigned channels = v->settings.channels;
    while (due && v->running) {
        unsigned n = MIN(due, AUDIO_CHUNK);
        due -= n;
        if (v->ops->play) {
            unsigned got = v->ops->play(v->opaque, a->raw, n);
            v->missing += v->running ? n - MIN(got, n) : 0;
        } else {
            memset(a->wide, 0, (size_t)n * channels * sizeof(float));
            audio_from_float(a->raw, a->wide, v->settings.format, (size_t)n * channels);
            unsigned took = v->ops->record(v->opaque, a->raw, n);
            v->dropped += v->running ? n - MIN(took, n) : 0;
        }
    }
}

static void voice_pass_to(Voice *v, int64_t now)
{
    int64_t late = MAX(LATE_NS, 2 * v->s->a->period_ns), from = v->last_ns;
    uint32_t rate = v->settings.frequency;
    v->last_ns = now;
    v->began = false;
    if (now - from > late) {
        v->s->late_frames += frames_between(from, now - late, rate);
        from = now - late;
    }
    voice_pass(v, frames_between(from, now, rate));
}

/* Nobody listens, nor says anything. */
static bool stream_is_deaf(const AudioStream *s)
{
    return !s->is_open || (s->out ? !s->a->driver->write : !s->a->driver->read);
}

static bool voice_is_heard(Voice *v)
{
    AudioStream *s = v->s;
    if (s->mixing) {
        return true;
    }
    if (!s->only) {
        s->only = v;
    }
    return s->only == v;
}

/* Adds n frames to those of the mix, if they are written. */
static void voice_play(Voice *v, float *mix, unsigned n, bool write)
{
    Audiodev *a = v->s->a;
    bool heard = voice_is_heard(v) && write;
    while (n) {
        unsigned some = MIN(MIN(n, AUDIO_CHUNK), resampler_can(v->rs, AUDIO_CHUNK));
        if (!voice_fetch(v, resampler_need(v->rs, some), heard)) {
            return;
        }
        resampler_pull(v->rs, heard ? a->wide : NULL, some);
        for (size_t i = 0; heard && i < (size_t)some * v->rs_channels; i++) {
            mix[i] += a->wide[i];
        }
        mix += (size_t)some * v->rs_channels;
        n -= some;
    }
}

static void voice_record(Voice *v, const float *in, unsigned n)
{
    Audiodev *a = v->s->a;
    unsigned channels = v->using.channels;
    float to[2];
    audio_map_channels(a->wide, channels, in, v->s->settings.channels, n);
    resampler_push(v->rs, voice_is_heard(v) ? a->wide : NULL, n);
    unsigned some;
    while ((some = MIN(resampler_can(v->rs, 0), AUDIO_CHUNK)) > 0) {
        resampler_pull(v->rs, a->wide, some);
        domain_lock(v->dev->domain);
        wanted_gain(v, to);
        apply_volume(v->gain, to, a->wide, channels, some);
        audio_from_float(a->raw, a->wide, v->using.format, (size_t)some * channels);
        if (voice_goes_on(v)) {
            unsigned took = v->ops->record(v->opaque, a->raw, some);
            v->dropped += voice_goes_on(v) ? some - MIN(took, some) : 0;
        }
        domain_unlock(v->dev->domain);
    }
}

/* Before the stream's n frames up to `now`: does the voice take part, and from which of them on? */
static bool voice_begin(Voice *v, int64_t now, unsigned n, unsigned *from)
{
    AudioStream *s = v->s;
    *from = 0;
    domain_lock(v->dev->domain);
    bool active = v->active;
    if (active) {
        voice_follow(v);
        v->last_ns = MAX(now, v->last_ns);
        if (v->began && now < v->began_ns) {
            active = false; /* in a later chunk */
        } else if (v->began) {
            v->began = false;
            *from = n - MIN(n, frames_between(v->began_ns, now, s->settings.frequency));
            wanted_gain(v, v->gain);
        }
        if (!s->out && !v->running) {
            voice_rest(v);
            active = false;
        }
    }
    domain_unlock(v->dev->domain);
    if (!active && !s->out && s->only == v) {
        s->only = NULL;
    }
    return active;
}

/* ---- a stream at a look ---- */

/* Without settings of its own it has those of the voice that runs. */
static void stream_settle(AudioStream *s)
{
    for (guint i = 0; i < s->a->voices->len; i++) {
        Voice *v = s->a->voices->pdata[i];
        if (v->s != s) {
            continue;
        }
        domain_lock(v->dev->domain);
        bool active = v->active;
        AudioSettings settings = v->settings;
        domain_unlock(v->dev->domain);
        if (active) {
            s->settings = settings;
            return;
        }
    }
}

static bool same_settings(const AudioSettings *a, const AudioSettings *b)
{
    return a->frequency == b->frequency && a->channels == b->channels && a->format == b->format;
}

/* Without settings of its own: the driver is opened with those of the voice, unless it was already. A guest
 * may go to and fro between streams, and what cannot be opened is tried once. */
static void stream_adapt(AudioStream *s)
{
    AudioSettings have = s->settings;
    stream_settle(s);
    if (!s->out && s->a->driver->out_only) {
        return;
    }
    if ((s->is_open || s->failed) && same_settings(&s->settings, &s->asked)) {
        s->settings = have;
        return;
    }
    AudioSettings asked = s->asked = s->settings;
    s->settings = have; /* to close it, a driver may look at them */
    stream_close(s);
    s->settings = asked;
    g_autoptr(Error) err = NULL;
    if (!stream_open(s, &err)) {
        log_warn_once(&s->told, "audiodev '%s': %s; nothing is %s", s->a->id, error_text(err),
                      s->out ? "heard" : "recorded");
    }
}

static bool stream_has_clock(const AudioStream *s)
{
    return s->is_open && s->a->driver->level;
}

static void stream_begin(AudioStream *s, int64_t began)
{
    if (!s->fixed && (!s->is_open || s->a->driver->run)) {
        stream_adapt(s);
    }
    /* Does the end of another sound wait there? */
    s->primed = s->ending && s->out && stream_has_clock(s) && s->a->driver->level(s);
    s->runs = true;
    s->ending = false;
    s->last_ns = began;
    s->part = 0;
    stream_move(s, true);
}

/* No voice is left. What waits to be played is, before the driver stops: a look more tells that it is empty,
 * and twice as long that what a server took out of it was heard. */
static bool stream_has_ended(AudioStream *s, int64_t now)
{
    if (!s->out || !stream_has_clock(s)) {
        return true;
    }
    if (!s->ending) {
        s->ending = true;
        s->last_ns = now;
    }
    int64_t rest = 2 * (int64_t)((uint64_t)s->target * SECOND / s->settings.frequency) + LATE_NS;
    return now < s->last_ns || now - s->last_ns > rest;
}

/* The driver's clock: virtual time runs a little faster while too much waits to be recorded, or too little to
 * be played. */
static unsigned due_by_level(AudioStream *s, int64_t ns)
{
    int64_t level = s->a->driver->level(s), target = s->target;
    int64_t more = s->out ? target - level : level - target;
    int64_t ppm = s->primed ? CLAMP(more * TRIM_PPM / target, -TRIM_PPM, TRIM_PPM) : 0;
    unsigned __int128 part =
        (unsigned __int128)ns * s->settings.frequency * (uint64_t)(1000000 + ppm) + s->part;
    s->part = part % PART_ONE;
    return part / PART_ONE;
}

/* Frames from the last look to this one. */
static unsigned stream_due(AudioStream *s, int64_t now)
{
    int64_t late = MAX(LATE_NS, 2 * s->a->period_ns);
    if (now < s->last_ns || now - s->last_ns > late) {
        s->late_frames += frames_in(now - s->last_ns - late, s->settings.frequency);
        s->last_ns = now < s->last_ns ? now : now - late;
    }
    if (stream_has_clock(s)) {
        return due_by_level(s, now - s->last_ns);
    }
    return frames_between(s->last_ns, now, s->settings.frequency);
}

/* A driver that plays by its own clock begins, and begins again after it ran dry, with silence to spare: so
 * much that with the `due` frames that come, maybe less than a look's, the next look finds the target there.
 * One that has far too much leaves some out. True: these frames are for it. */
static bool stream_has_room(AudioStream *s, unsigned due)
{
    const AudioDriver *d = s->a->driver;
    if (!stream_has_clock(s)) {
        return true;
    }
    unsigned level = d->level(s);
    if (!s->primed || !level) {
        s->underruns += s->primed;
        s->primed = true;
        memset(s->a->mix, 0, (size_t)AUDIO_CHUNK * s->settings.channels * sizeof(float));
        unsigned look = frames_in(s->a->period_ns, s->settings.frequency);
        for (unsigned left = s->target + look - MIN(due, look); left;) {
            unsigned n = MIN(left, AUDIO_CHUNK);
            audio_from_float(s->a->raw, s->a->mix, s->settings.format, (size_t)n * s->settings.channels);
            d->write(s, s->a->raw, n);
            left -= n;
        }
    } else if (level > 4 * (uint64_t)s->target + s->settings.frequency / 10) {
        s->overruns++;
        return false;
    }
    return true;
}

/* One chunk of the mix, of which the last frame is at `now`. */
static void stream_play(AudioStream *s, int64_t now, unsigned n, bool write)
{
    Audiodev *a = s->a;
    unsigned channels = s->settings.channels;
    memset(a->mix, 0, (size_t)n * channels * sizeof(float));
    for (guint i = 0; i < a->voices->len; i++) {
        Voice *v = a->voices->pdata[i];
        unsigned from;
        if (v->s == s && voice_begin(v, now, n, &from)) {
            voice_play(v, a->mix + (size_t)from * channels, n - from, write);
        }
    }
    if (write) {
        audio_from_float(a->raw, a->mix, s->settings.format, (size_t)n * channels);
        a->driver->write(s, a->raw, n);
    }
}

/* Reads n frames, silence where there are none. */
static void stream_read(AudioStream *s, unsigned n)
{
    Audiodev *a = s->a;
    unsigned channels = s->settings.channels, got = 0;
    if (stream_has_clock(s)) {
        unsigned level = a->driver->level(s);
        for (; level > 4 * (uint64_t)s->target + s->settings.frequency / 10; level = a->driver->level(s)) {
            s->overruns++;
            if (!a->driver->read(s, a->raw, MIN(level - s->target, AUDIO_CHUNK))) {
                break;
            }
        }
        if (!s->primed && level < s->target) {
            memset(a->mix, 0, (size_t)n * channels * sizeof(float));
            return;
        }
        s->primed = true;
    }
    if (s->is_open && a->driver->read) {
        got = a->driver->read(s, a->raw, n);
        if (got < n && stream_has_clock(s)) {
            s->underruns++;
            s->primed = false;
        }
        audio_to_float(a->mix, a->raw, s->settings.format, (size_t)got * channels);
    }
    memset(a->mix + (size_t)got * channels, 0, (size_t)(n - got) * channels * sizeof(float));
}

static void stream_record(AudioStream *s, int64_t now, unsigned n)
{
    Audiodev *a = s->a;
    stream_read(s, n);
    for (guint i = 0; i < a->voices->len; i++) {
        Voice *v = a->voices->pdata[i];
        unsigned from;
        if (v->s == s && voice_begin(v, now, n, &from)) {
            voice_record(v, a->mix + (size_t)from * s->settings.channels, n - from);
        }
    }
}

/* When the first of the stream's voices began; false: none is active. */
static bool stream_wanted(const AudioStream *s, int64_t now, int64_t *began)
{
    bool any = false;
    *began = now;
    for (guint i = 0; i < s->a->voices->len; i++) {
        Voice *v = s->a->voices->pdata[i];
        if (v->s == s) {
            domain_lock(v->dev->domain);
            any = any || v->active;
            *began = v->active && v->began ? MIN(*began, v->began_ns) : *began;
            domain_unlock(v->dev->domain);
        }
    }
    return any;
}

static void stream_pass(AudioStream *s, int64_t now)
{
    for (guint i = 0; i < s->a->voices->len; i++) {
        Voice *v = s->a->voices->pdata[i];
        if (v->s != s) {
            continue;
        }
        domain_lock(v->dev->domain);
        if (v->active) {
            voice_pass_to(v, now);
        }
        if (!v->running) {
            voice_rest(v);
        }
        domain_unlock(v->dev->domain);
    }
}

static void stream_tick(AudioStream *s, int64_t now)
{
    int64_t began;
    if (!stream_wanted(s, now, &began)) {
        if (s->runs && stream_has_ended(s, now)) {
            stream_move(s, false);
            s->runs = s->ending = false;
        }
        s->only = NULL;
        return;
    }
    if (!s->runs || s->ending) {
        stream_begin(s, began);
    }
    if (stream_is_deaf(s)) {
        stream_pass(s, now);
        return;
    }
    unsigned due = stream_due(s, now);
    bool write = s->out && stream_has_room(s, due);
    s->last_ns = now;
    while (due) {
        unsigned n = MIN(due, AUDIO_CHUNK);
        due -= n;
        int64_t at = now - (int64_t)((uint64_t)due * SECOND / s->settings.frequency);
        if (s->out) {
            stream_play(s, at, n, write);
        } else {
            stream_record(s, at, n);
        }
    }
}

void audio_tick(void *audiodev)
{
    Audiodev *a = audiodev;
    if (a->closed) {
        return;
    }
    int64_t now = clock_now(a->m->clock);
    stream_tick(&a->out, now);
    stream_tick(&a->in, now);
    /* One more look after the last voice ended: then the driver rests, when all was played. */
    if (__atomic_load_n(&a->active, __ATOMIC_SEQ_CST) || a->out.runs || a->in.runs) {
        timer_arm(&a->timer, next_look(a, now));
    }
}

/* A machine that stands neither plays nor records, and its voices' time stands still. When it goes on, time
 * may be that of a state which was loaded, long before the next look that was arranged. */
static void audio_state(void *audiodev, RunState was G_GNUC_UNUSED, RunState now)
{
    Audiodev *a = audiodev;
    AudioStream *streams[] = { &a->out, &a->in };
    for (unsigned i = 0; i < G_N_ELEMENTS(streams); i++) {
        AudioStream *s = streams[i];
        stream_move(s, s->runs && now == RUN_RUNNING);
        s->primed = s->primed && s->out;
    }
    if (now == RUN_RUNNING && timer_armed(&a->timer)) {
        timer_arm(&a->timer, next_look(a, clock_now(a->m->clock)));
    }
}
