/* SPDX-License-Identifier: MIT
 * backends/audio/pa.c - the driver that plays and records through PulseAudio, or PipeWire, which speaks its
 * protocol.
 *
 * Models: a stream for each direction; out.latency is what waits in the server, out.buffer-length the room
 * beyond it. The machine's pace follows the server's. A server that went is not looked for again: nothing is
 * heard. Threads: main loop; the library's own thread runs its protocol, and everything of it is touched with
 * the library's lock held.
 *
 * The library is loaded when the first device uses the driver.
 */
#include "backends/audio/audio_internal.h"
#include "rhea/util/errorcode.h"
#include "rhea/util/log.h"

#include <gmodule.h>
#include <pulse/pulseaudio.h>

enum { BUFFER_US = 46440, LATENCY_US = 15000 };

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
                                X(stream_flush) X(stream_get_buffer_attr) X(operation_unref) X(strerror)

static struct {
#define MEMBER(f) __typeof__(pa_##f) *f;
    CALLS(MEMBER)
#undef MEMBER
} lib;

typedef struct Server {
    pa_threaded_mainloop *loop;
    pa_context *context;
    bool told; /* that it went */
} Server;

typedef struct Stream {
    pa_stream *stream;
    uint32_t room; /* bytes that may wait for playing */
    size_t offset; /* of the piece that is read: bytes that were taken */
} Stream;

static bool pa_load(Error **errp)
{
    GModule *m = g_module_open("libpulse.so.0", G_MODULE_BIND_LAZY | G_MODULE_BIND_LOCAL);
    bool there = m != NULL;
#define SYMBOL(f) there = there && g_module_symbol(m, "pa_" #f, (gpointer *)&lib.f);
    CALLS(SYMBOL)
#undef SYMBOL
    if (!there) {
        error_fail(errp, "file-not-found", "driver", NULL, "driver 'pa' needs libpulse: %s",
                   g_module_error());
        error_hint(errp, "install it (Debian: libpulse0), or use sdl, wav or none");
        return false;
    }
    g_module_make_resident(m);
    return true;
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

static bool server_connect(Server *v, const char *address)
{
    v->context = lib.context_new(lib.threaded_mainloop_get_api(v->loop), "rhea");
    if (!v->context) {
        return false;
    }
    lib.context_set_state_callback(v->context, context_changed, v);
    lib.threaded_mainloop_lock(v->loop);
    bool ok = lib.threaded_mainloop_start(v->loop) >= 0 &&
              lib.context_connect(v->context, address, PA_CONTEXT_NOAUTOSPAWN, NULL) >= 0;
    pa_context_state_t state = PA_CONTEXT_UNCONNECTED;
    while (ok && (state = lib.context_get_state(v->context)) != PA_CONTEXT_READY &&
           PA_CONTEXT_IS_GOOD(state)) {
        lib.threaded_mainloop_wait(v->loop);
    }
    lib.threaded_mainloop_unlock(v->loop);
    return ok && state == PA_CONTEXT_READY;
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

/* With the lock held: waits until the stream is there. */
static bool stream_start(AudioStream *s, Stream *t, const pa_buffer_attr *attr)
{
    Server *v = s->a->state;
    const char *device = options_of(s)->name;
    pa_stream_flags_t flags = PA_STREAM_ADJUST_LATENCY | PA_STREAM_START_CORKED;
    int err = s->out ? lib.stream_connect_playback(t->stream, device, attr, flags, NULL, NULL)
                     : lib.stream_connect_record(t->stream, device, attr, flags);
    pa_stream_state_t state = PA_STREAM_UNCONNECTED;
    while (err >= 0 && (state = lib.stream_get_state(t->stream)) != PA_STREAM_READY &&
           PA_STREAM_IS_GOOD(state)) {
        lib.threaded_mainloop_wait(v->loop);
    }
    const pa_buffer_attr *got =
        err >= 0 && state == PA_STREAM_READY ? lib.stream_get_buffer_attr(t->stream) : NULL;
    t->room = got ? got->tlength : 0;
    return got != NULL;
}

static bool pa_open(AudioStream *s, Error **errp)
{
    Server *v = s->a->state;
    const AudiodevPaPerDirectionOptions *o = options_of(s);
    pa_sample_spec spec = { .format = pa_format(&s->settings),
                            .rate = s->settings.frequency,
                            .channels = s->settings.channels };
    uint64_t rate = spec.rate, size = audio_frame_size(&s->settings);
    uint64_t wait = (o->has_latency ? o->latency : LATENCY_US) * rate / 1000000;
    uint64_t more = (o->has_buffer_length ? o->buffer_length : BUFFER_US) * rate / 1000000;
    /* Less than two looks would run dry between them; more than ten seconds are nobody's wish. */
    wait = CLAMP(wait, 2 * (uint64_t)s->a->period_ns * rate / 1000000000, 10 * rate);
    more = CLAMP(more, wait, 10 * rate);
    pa_buffer_attr attr = { .maxlength = UINT32_MAX,
                            .tlength = (wait + more) * size,
                            .prebuf = 0,
                            .minreq = UINT32_MAX,
                            .fragsize = MAX(wait / 2, 1) * size };
    Stream *t = g_new0(Stream, 1);
    lib.threaded_mainloop_lock(v->loop);
    t->stream = lib.stream_new(v->context, o->stream_name ? o->stream_name : s->a->id, &spec, NULL);
    bool ok = t->stream != NULL;
    if (ok) {
        lib.stream_set_state_callback(t->stream, stream_changed, v);
        ok = stream_start(s, t, &attr);
    }
    int err = lib.context_errno(v->context);
    if (!ok && t->stream) {
        lib.stream_unref(t->stream);
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
    lib.stream_set_state_callback(t->stream, NULL, NULL);
    lib.stream_disconnect(t->stream);
    lib.stream_unref(t->stream);
    lib.threaded_mainloop_unlock(v->loop);
    g_free(t);
}

/* With the lock held. */
static bool stream_good(AudioStream *s)
{
    Server *v = s->a->state;
    Stream *t = s->state;
    bool good = lib.stream_get_state(t->stream) == PA_STREAM_READY;
    if (!good) {
        log_warn_once(&v->told,
                      "audiodev '%s': the PulseAudio server ended the stream; nothing is heard or recorded",
                      s->a->id);
    }
    return good;
}

static void forget(pa_operation *o)
{
    if (o) {
        lib.operation_unref(o);
    }
}

static void pa_run(AudioStream *s, bool on)
{
    Server *v = s->a->state;
    Stream *t = s->state;
    lib.threaded_mainloop_lock(v->loop);
    if (stream_good(s)) {
        forget(lib.stream_cork(t->stream, !on, NULL, NULL));
        if (!on) {
            forget(lib.stream_flush(t->stream, NULL, NULL)); /* it is too old for the next time */
        }
    }
    lib.threaded_mainloop_unlock(v->loop);
}

/* A stream that is no more is always as full as it should be: time goes on. */
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
        level = (s->out ? t->room - MIN(n, t->room) : n - MIN(t->offset, n)) / size;
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
        lib.stream_write(t->stream, frames, (size_t)n * audio_frame_size(&s->settings), NULL, 0,
                         PA_SEEK_RELATIVE);
    }
    lib.threaded_mainloop_unlock(v->loop);
}

/* The library gives pieces of its own size; a hole in them (data is NULL) is silence. */
static unsigned pa_read(AudioStream *s, void *frames, unsigned n)
{
    Server *v = s->a->state;
    Stream *t = s->state;
    size_t size = audio_frame_size(&s->settings), want = n * size, done = 0;
    lib.threaded_mainloop_lock(v->loop);
    while (done < want && stream_good(s)) {
        const void *data;
        size_t len;
        if (lib.stream_peek(t->stream, &data, &len) < 0 || !len) {
            break;
        }
        size_t some = MIN(len - t->offset, want - done);
        if (data) {
            memcpy((char *)frames + done, (const char *)data + t->offset, some);
        } else {
            memset((char *)frames + done, s->settings.format == AUDIO_FORMAT_U8 ? 0x80 : 0, some);
        }
        done += some;
        t->offset += some;
        if (t->offset == len) {
            lib.stream_drop(t->stream);
            t->offset = 0;
        }
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
