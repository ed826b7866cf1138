/* SPDX-License-Identifier: MIT
 * backends/audio/pa.c - the driver that plays and records through PulseAudio, or PipeWire, which speaks its
 * protocol.
 *
 * Models: a stream for each direction; out.latency is what waits in the server, out.buffer-length the room
 * beyond it. The machine's pace follows the server's. A server that went is looked for again while something
 * plays or records, without waiting: meanwhile nothing is heard, and silence is recorded. Threads: main loop;
 * the library's own thread runs its protocol, and everything of it is touched with the library's lock held.
 *
 * The library is loaded when the first device uses the driver.
 */
#include "backends/audio/audio_internal.h"
#include "rhea/util/errorcode.h"
#include "rhea/util/library.h"
#include "rhea/util/log.h"

#include <pulse/pulseaudio.h>

enum { BUFFER_US = 46440, LATENCY_US = 15000, AGAIN_US = 500000 };

#define CALLS(X)                                                                                             \
    X(threaded_mainloop_new)                                                                                 \
    X(threaded_mainloop_free)                                                                                \
    X(threaded_mainloop_start)                                                                               \
    X(threaded_mainloop_stop)                                                                                \
    X(threaded_mainloop_lock) X(threaded_mainloop_unlock) X(threaded_mainloop_wait)                          \
        X(threaded_mainloop_signal) X(threaded_mainloop_get_api) X(context_new) X(context_unref)             \
            X(context_connect) X(context_disconnect) X(context_get_state) X(context_set_state_callback)      \
                X(context_errno) X(stream_new) X(stream_unref) X(stream_connect_playback)                    \
                    X(stream_connect_record) X(stream_disconnect) X(stream_get_state)                        \
                        X(stream_set_state_callback) X(stream_writable_size) X(stream_write)                 \
                            X(stream_readable_size) X(stream_peek) X(stream_drop) X(stream_cork)             \
                                X(stream_get_buffer_attr) X(operation_unref) X(strerror)

static struct Lib {
#define MEMBER(f) __typeof__(pa_##f) *f;
    CALLS(MEMBER)
#undef MEMBER
} lib;

typedef struct Server {
    pa_threaded_mainloop *loop;
    pa_context *context;
} Server;

typedef struct Stream {
    pa_stream *stream; /* NULL: it could not be made anew */
    pa_sample_spec spec;
    pa_buffer_attr wish;
    size_t offset;     /* of the piece that is read: bytes that were taken */
    bool runs, lost;   /* lost: it ended without being asked to, and this was said */
    int64_t again_us;  /* host time from which on it is looked for */
} Stream;

static bool pa_load(Error **errp)
{
    static const LibraryCall calls[] = {
#define CALL(f) { "pa_" #f, offsetof(struct Lib, f), false },
        CALLS(CALL)
#undef CALL
    };
    static const Library pulse = {
        .file = "libpulse.so.0",
        .what = "driver 'pa' needs libpulse",
        .member = "driver",
        .cure = "install it (Debian: libpulse0), or use sdl, wav or none",
        .calls = calls,
        .n = G_N_ELEMENTS(calls),
    };
    return library_load(&pulse, &lib, errp);
}

/* ---- the server ---- */

static void context_changed(pa_context *c G_GNUC_UNUSED, void *opaque)
{
    lib.threaded_mainloop_signal(((Server *)opaque)->loop, 0);
}

static void stream_changed(pa_stream *s G_GNUC_UNUSED, void *opaque)
{
    lib.threaded_mainloop_signal(((Server *)opaque)->loop, 0);
}

static void server_free(Server *v)
{
    if (v->loop) {
        lib.threaded_mainloop_stop(v->loop);
        if (v->context) {
            lib.context_disconnect(v->context);
            lib.context_unref(v->context);
        }
        lib.threaded_mainloop_free(v->loop);
    }
    g_free(v);
}

/* With the lock held: begins a connection in the place of one that ended. */
static bool server_dial(Server *v, const char *address)
{
    if (v->context) {
        lib.context_set_state_callback(v->context, NULL, NULL);
        lib.context_disconnect(v->context);
        lib.context_unref(v->context);
    }
    v->context = lib.context_new(lib.threaded_mainloop_get_api(v->loop), "rhea");
    if (!v->context) {
        return false;
    }
    lib.context_set_state_callback(v->context, context_changed, v);
    return lib.context_connect(v->context, address, PA_CONTEXT_NOAUTOSPAWN, NULL) >= 0;
}

/* With the lock held: is there a connection? One that has begun is waited for. */
static bool server_ready(Server *v)
{
    pa_context_state_t state = PA_CONTEXT_FAILED;
    while (v->context && (state = lib.context_get_state(v->context)) != PA_CONTEXT_READY &&
           PA_CONTEXT_IS_GOOD(state)) {
        lib.threaded_mainloop_wait(v->loop);
    }
    return state == PA_CONTEXT_READY;
}

static bool server_connect(Server *v, const char *address)
{
    lib.threaded_mainloop_lock(v->loop);
    bool ok =
        lib.threaded_mainloop_start(v->loop) >= 0 && server_dial(v, address) && server_ready(v);
    lib.threaded_mainloop_unlock(v->loop);
    return ok;
}

static bool pa_init(Audiodev *a, Error **errp)
{
    const char *address = a->options.u.pa.server;
    if (!lib.strerror && !pa_load(errp)) {
        return false;
    }
    Server *v = g_new0(Server, 1);
    v->loop = lib.threaded_mainloop_new();
    if (!v->loop || !server_connect(v, address)) {
        error_set(errp, "cannot connect to the PulseAudio server%s%s%s: %s", address ? " '" : "",
                  address ? address : "", address ? "'" : "",
                  v->context ? lib.strerror(lib.context_errno(v->context)) : "out of memory");
        error_hint(errp, "server= names it; it serves the user whose desktop runs; wav and none need none");
        server_free(v);
        return false;
    }
    a->state = v;
    return true;
}

static void pa_fini(Audiodev *a)
{
    server_free(a->state);
}

/* ---- streams ---- */

static const AudiodevPaPerDirectionOptions *options_of(const AudioStream *s)
{
    static const AudiodevPaPerDirectionOptions none;
    const AudiodevPaOptions *o = &s->a->options.u.pa;
    return s->out ? (o->has_out ? &o->out : &none) : o->has_in ? &o->in : &none;
}

/* The protocol has no s8, u16 and u32. */
static pa_sample_format_t pa_format(AudioSettings *s)
{
    static const struct {
        AudioFormat have;
        pa_sample_format_t pa;
    } all[] = {
        [AUDIO_FORMAT_U8] = { AUDIO_FORMAT_U8, PA_SAMPLE_U8 },
        [AUDIO_FORMAT_S8] = { AUDIO_FORMAT_U8, PA_SAMPLE_U8 },
        [AUDIO_FORMAT_U16] = { AUDIO_FORMAT_S16, PA_SAMPLE_S16LE },
        [AUDIO_FORMAT_S16] = { AUDIO_FORMAT_S16, PA_SAMPLE_S16LE },
        [AUDIO_FORMAT_U32] = { AUDIO_FORMAT_S32, PA_SAMPLE_S32LE },
        [AUDIO_FORMAT_S32] = { AUDIO_FORMAT_S32, PA_SAMPLE_S32LE },
        [AUDIO_FORMAT_F32] = { AUDIO_FORMAT_F32, PA_SAMPLE_FLOAT32LE },
    };
    AudioFormat f = s->format;
    s->format = all[f].have;
    return all[f].pa;
}

/* With the lock held, as all that follows. */
static void stream_end(Stream *t)
{
    if (t->stream) {
        lib.stream_set_state_callback(t->stream, NULL, NULL);
        lib.stream_disconnect(t->stream);
        lib.stream_unref(t->stream);
    }
    t->stream = NULL;
    t->offset = 0;
}

/* Asks for a stream, in the place of one that ended; false: it cannot be. */
static bool stream_ask(AudioStream *s, Stream *t)
{
    Server *v = s->a->state;
    const AudiodevPaPerDirectionOptions *o = options_of(s);
    pa_stream_flags_t flags = PA_STREAM_ADJUST_LATENCY | PA_STREAM_START_CORKED;
    stream_end(t);
    t->stream = lib.stream_new(v->context, o->stream_name ? o->stream_name : s->a->id, &t->spec, NULL);
    if (!t->stream) {
        return false;
    }
    lib.stream_set_state_callback(t->stream, stream_changed, v);
    return (s->out ? lib.stream_connect_playback(t->stream, o->name, &t->wish, flags, NULL, NULL)
                   : lib.stream_connect_record(t->stream, o->name, &t->wish, flags)) >= 0;
}

static bool stream_start(AudioStream *s, Stream *t)
{
    Server *v = s->a->state;
    pa_stream_state_t state = PA_STREAM_FAILED;
    bool ok = (server_ready(v) || (server_dial(v, s->a->options.u.pa.server) && server_ready(v))) &&
              stream_ask(s, t);
    while (ok && (state = lib.stream_get_state(t->stream)) != PA_STREAM_READY && PA_STREAM_IS_GOOD(state)) {
        lib.threaded_mainloop_wait(v->loop);
    }
    return state == PA_STREAM_READY;
}

/* Bytes that may wait to be played: the server may change its mind when it moves the stream elsewhere. */
static size_t stream_room(const Stream *t)
{
    const pa_buffer_attr *now = lib.stream_get_buffer_attr(t->stream);
    return now ? now->tlength : 0;
}

static bool pa_open(AudioStream *s, Error **errp)
{
    Server *v = s->a->state;
    const AudiodevPaPerDirectionOptions *o = options_of(s);
    Stream *t = g_new0(Stream, 1);
    t->spec.format = pa_format(&s->settings);
    t->spec.rate = s->settings.frequency;
    t->spec.channels = s->settings.channels;
    uint64_t rate = t->spec.rate, size = audio_frame_size(&s->settings);
    uint64_t wait = (o->has_latency ? o->latency : LATENCY_US) * rate / 1000000;
    uint64_t more = (o->has_buffer_length ? o->buffer_length : BUFFER_US) * rate / 1000000;
    /* Less than two looks would run dry between them. */
    wait = MAX(wait, 2 * (uint64_t)s->a->period_ns * rate / 1000000000);
    more = MAX(more, wait);
    t->wish = (pa_buffer_attr){ .maxlength = UINT32_MAX,
                                .tlength = (wait + more) * size,
                                .prebuf = 0,
                                .minreq = UINT32_MAX,
                                .fragsize = MAX(wait / 2, 1) * size };
    lib.threaded_mainloop_lock(v->loop);
    bool ok = stream_start(s, t);
    int err = v->context ? lib.context_errno(v->context) : PA_ERR_UNKNOWN;
    if (ok && s->out) { /* a server may have less room */
        wait = CLAMP(stream_room(t) / size / 2, 1, wait);
    } else if (!ok) {
        stream_end(t);
    }
    lib.threaded_mainloop_unlock(v->loop);
    if (!ok) {
        g_free(t);
        return error_set(errp, "PulseAudio cannot %s%s%s%s: %s", s->out ? "play" : "record",
                         o->name ? " by '" : "", o->name ? o->name : "", o->name ? "'" : "",
                         lib.strerror(err));
    }
    s->target = wait;
    s->state = t;
    return true;
}

static void pa_close(AudioStream *s)
{
    Server *v = s->a->state;
    Stream *t = s->state;
    lib.threaded_mainloop_lock(v->loop);
    stream_end(t);
    lib.threaded_mainloop_unlock(v->loop);
    g_free(t);
}

static void stream_set_running(Stream *t)
{
    pa_operation *o = lib.stream_cork(t->stream, !t->runs, NULL, NULL);
    if (o) {
        lib.operation_unref(o);
    }
}

/* Begins what brings it back: the connection, then the stream. */
static void stream_revive(AudioStream *s)
{
    Server *v = s->a->state;
    Stream *t = s->state;
    int64_t now = g_get_monotonic_time();
    pa_context_state_t state = v->context ? lib.context_get_state(v->context) : PA_CONTEXT_FAILED;
    if (now < t->again_us || (PA_CONTEXT_IS_GOOD(state) && state != PA_CONTEXT_READY)) {
        return;
    }
    t->again_us = now + AGAIN_US;
    if (state == PA_CONTEXT_READY) {
        stream_ask(s, t);
    } else {
        server_dial(v, s->a->options.u.pa.server);
    }
}

/* Can it be used? If not, it is looked for. */
static bool stream_good(AudioStream *s)
{
    Stream *t = s->state;
    pa_stream_state_t state = t->stream ? lib.stream_get_state(t->stream) : PA_STREAM_FAILED;
    if (state == PA_STREAM_READY) {
        if (t->lost) {
            log_info("audiodev '%s': the PulseAudio server is back", s->a->id);
            t->lost = false;
            stream_set_running(t);
        }
        return true;
    }
    if (!t->lost) {
        log_warn("audiodev '%s': the PulseAudio server ended the stream; nothing is %s until it is back",
                 s->a->id, s->out ? "heard" : "recorded");
        t->lost = true;
    }
    if (!PA_STREAM_IS_GOOD(state)) {
        stream_revive(s);
    }
    return false;
}

static void pa_run(AudioStream *s, bool on)
{
    Server *v = s->a->state;
    Stream *t = s->state;
    const void *old;
    size_t len;
    lib.threaded_mainloop_lock(v->loop);
    t->runs = on;
    if (stream_good(s)) {
        while (on && !s->out && lib.stream_peek(t->stream, &old, &len) >= 0 && len) {
            lib.stream_drop(t->stream); /* of the last time */
        }
        t->offset = s->out || !on ? t->offset : 0;
        stream_set_running(t);
    }
    lib.threaded_mainloop_unlock(v->loop);
}

/* A stream that is away is always as full as it should be: time goes on. */
static unsigned pa_level(AudioStream *s)
{
    Server *v = s->a->state;
    Stream *t = s->state;
    unsigned size = audio_frame_size(&s->settings), level = s->target;
    lib.threaded_mainloop_lock(v->loop);
    if (stream_good(s)) {
        size_t n = s->out ? lib.stream_writable_size(t->stream) : lib.stream_readable_size(t->stream);
        if (n == (size_t)-1) {
            n = 0;
        }
        size_t room = s->out ? stream_room(t) : 0;
        level = (s->out ? room - MIN(n, room) : n - MIN(t->offset, n)) / size;
    }
    lib.threaded_mainloop_unlock(v->loop);
    return level;
}

static void pa_write(AudioStream *s, const void *frames, unsigned n)
{
    Server *v = s->a->state;
    Stream *t = s->state;
    lib.threaded_mainloop_lock(v->loop);
    if (stream_good(s)) {
        /* What it wants beyond its room it missed already: this is for the time that comes. */
        size_t size = audio_frame_size(&s->settings), room = stream_room(t);
        size_t wants = lib.stream_writable_size(t->stream);
        size_t late = wants != (size_t)-1 && wants > room ? (wants - room) / size * size : 0;
        lib.stream_write(t->stream, frames, n * size, NULL, (int64_t)late, PA_SEEK_RELATIVE);
    }
    lib.threaded_mainloop_unlock(v->loop);
}

/* The library gives pieces of its own size; a hole in them (data is NULL) is silence, and so is a stream that
 * is away. */
static unsigned pa_read(AudioStream *s, void *frames, unsigned n)
{
    Server *v = s->a->state;
    Stream *t = s->state;
    size_t size = audio_frame_size(&s->settings), want = n * size, done = 0;
    int silence = s->settings.format == AUDIO_FORMAT_U8 ? 0x80 : 0;
    lib.threaded_mainloop_lock(v->loop);
    bool good = stream_good(s);
    while (good && done < want) {
        const void *data;
        size_t len;
        if (lib.stream_peek(t->stream, &data, &len) < 0 || !len) {
            break;
        }
        size_t some = MIN(len - t->offset, want - done);
        if (data) {
            memcpy((char *)frames + done, (const char *)data + t->offset, some);
        } else {
            memset((char *)frames + done, silence, some);
        }
        done += some;
        t->offset += some;
        if (t->offset == len) {
            lib.stream_drop(t->stream);
            t->offset = 0;
        }
    }
    if (!good) {
        memset(frames, silence, want);
        done = want;
    }
    lib.threaded_mainloop_unlock(v->loop);
    return done / size;
}

const AudioDriver audio_pa = {
    .name = "pa",
    .init = pa_init,
    .fini = pa_fini,
    .open = pa_open,
    .close = pa_close,
    .run = pa_run,
    .level = pa_level,
    .write = pa_write,
    .read = pa_read,
};
