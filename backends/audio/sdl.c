/* SPDX-License-Identifier: MIT
 * backends/audio/sdl.c - the driver that plays and records through SDL 2.
 *
 * Models: SDL's queues: what is written waits there (buffer-length, of which a buffer-count-th is what the
 * sound card takes at once), what was recorded is fetched from there. SDL converts what the host has not.
 * Threads: main loop; SDL's own thread works on its queue.
 *
 * The library is loaded when the first device uses the driver, by calls of its own: -display sdl is another
 * user.
 */
#include "backends/audio/audio_internal.h"
#include "rhea/util/errorcode.h"
#include "rhea/util/library.h"

#include <SDL.h>

enum { BUFFER_US = 92880, BUFFERS = 4, MIN_SAMPLES = 64, MAX_SAMPLES = 16384 };

#define CALLS(X)                                                                                             \
    X(InitSubSystem)                                                                                         \
    X(QuitSubSystem)                                                                                         \
    X(GetError)                                                                                              \
    X(OpenAudioDevice)                                                                                       \
    X(CloseAudioDevice)                                                                                      \
    X(PauseAudioDevice) X(QueueAudio) X(DequeueAudio) X(GetQueuedAudioSize) X(ClearQueuedAudio)

static struct Lib {
#define MEMBER(f) __typeof__(SDL_##f) *f;
    CALLS(MEMBER)
#undef MEMBER
} lib;

static bool sdl_load(Error **errp)
{
    static const LibraryCall calls[] = {
#define CALL(f) { "SDL_" #f, offsetof(struct Lib, f), false },
        CALLS(CALL)
#undef CALL
    };
    static const Library sdl = {
        .file = "libSDL2-2.0.so.0",
        .what = "driver 'sdl' needs SDL 2",
        .member = "driver",
        .cure = "install it (Debian: libsdl2-2.0-0), or use wav or none",
        .calls = calls,
        .n = G_N_ELEMENTS(calls),
    };
    return library_load(&sdl, &lib, errp);
}

static bool sdl_init(Audiodev *a G_GNUC_UNUSED, Error **errp)
{
    if (!lib.GetError && !sdl_load(errp)) {
        return false;
    }
    if (lib.InitSubSystem(SDL_INIT_AUDIO) < 0) {
        error_set(errp, "SDL cannot play: %s", lib.GetError());
        error_hint(errp, "SDL_AUDIODRIVER says how it reaches the host's sound; wav and none need none");
        return false;
    }
    return true;
}

static void sdl_fini(Audiodev *a G_GNUC_UNUSED)
{
    lib.QuitSubSystem(SDL_INIT_AUDIO);
}

static SDL_AudioDeviceID device_of(const AudioStream *s)
{
    return GPOINTER_TO_UINT(s->state);
}

static uint16_t power_of_two_from(uint64_t n)
{
    uint16_t p = MIN_SAMPLES;
    while (p < n && p < MAX_SAMPLES) {
        p *= 2;
    }
    return p;
}

/* SDL has no u32; s32 stands in for it. */
static SDL_AudioFormat sdl_format(AudioSettings *s)
{
    switch (s->format) {
    case AUDIO_FORMAT_U8: return AUDIO_U8;
    case AUDIO_FORMAT_S8: return AUDIO_S8;
    case AUDIO_FORMAT_U16: return AUDIO_U16LSB;
    case AUDIO_FORMAT_S16: return AUDIO_S16LSB;
    case AUDIO_FORMAT_F32: return AUDIO_F32LSB;
    default: s->format = AUDIO_FORMAT_S32; return AUDIO_S32LSB;
    }
}

static bool sdl_open(AudioStream *s, Error **errp)
{
    const AudiodevSdlOptions *o = &s->a->options.u.sdl;
    const AudiodevSdlPerDirectionOptions *d = s->out      ? (o->has_out ? &o->out : NULL)
                                              : o->has_in ? &o->in
                                                          : NULL;
    uint64_t us = s->latency_us ? s->latency_us : BUFFER_US;
    uint64_t frames = us * s->settings.frequency / 1000000;
    unsigned buffers = d && d->has_buffer_count ? d->buffer_count : BUFFERS;
    SDL_AudioSpec want = {
        .freq = s->settings.frequency,
        .format = sdl_format(&s->settings),
        .channels = s->settings.channels,
        .samples = power_of_two_from(frames / buffers),
    }, have;
    SDL_AudioDeviceID id = lib.OpenAudioDevice(NULL, !s->out, &want, &have, 0);
    if (!id) {
        return error_set(errp, "SDL cannot %s: %s", s->out ? "play" : "record", lib.GetError());
    }
    s->state = GUINT_TO_POINTER(id);
    /* Less would run dry between two looks, or while the card takes its part. */
    uint64_t least = want.samples + 2 * (uint64_t)s->a->period_ns * s->settings.frequency / 1000000000;
    s->target = MAX(frames - MIN(frames, want.samples), least);
    return true;
}

static void sdl_close(AudioStream *s)
{
    lib.CloseAudioDevice(device_of(s));
}

static void sdl_run(AudioStream *s, bool on)
{
    if (on && !s->out) {
        lib.ClearQueuedAudio(device_of(s)); /* of the last time */
    }
    lib.PauseAudioDevice(device_of(s), !on);
}

static unsigned sdl_level(AudioStream *s)
{
    return lib.GetQueuedAudioSize(device_of(s)) / audio_frame_size(&s->settings);
}

static void sdl_write(AudioStream *s, const void *frames, unsigned n)
{
    lib.QueueAudio(device_of(s), frames, n * audio_frame_size(&s->settings));
}

static unsigned sdl_read(AudioStream *s, void *frames, unsigned n)
{
    unsigned size = audio_frame_size(&s->settings);
    return lib.DequeueAudio(device_of(s), frames, n * size) / size;
}

const AudioDriver audio_sdl = {
    .name = "sdl",
    .init = sdl_init,
    .fini = sdl_fini,
    .open = sdl_open,
    .close = sdl_close,
    .run = sdl_run,
    .level = sdl_level,
    .write = sdl_write,
    .read = sdl_read,
};
