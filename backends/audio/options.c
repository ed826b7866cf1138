/* SPDX-License-Identifier: MIT
 * backends/audio/options.c - -audiodev: which back ends there are, by name.
 *
 * Models: QEMU 7.2's -audiodev with drivers none, wav, sdl and pa. A driver is started when the first device
 * uses it. Does not model: several streams of a driver (voices=), the other drivers. Threads: main loop.
 */
#include "backends/audio/audio_internal.h"
#include "config.h"
#include "rhea/schema/type.h"
#include "rhea/util/errorcode.h"
#include "rhea/util/text.h"

#include <string.h>

enum { DEFAULT_RATE = 44100, DEFAULT_CHANNELS = 2 };
static GPtrArray *audiodevs; /* Audiodev *, of all machines; NULL: none */

static const struct {
    const char *name, *reason, *instead;
} other_drivers[] = {
    { "alsa", "sound cards belong to the desktop's server", "pa, which PipeWire serves as well, or sdl" },
    { "coreaudio", "it needs macOS", "sdl" },
    { "dbus", "there is no display on D-Bus", "pa or sdl" },
    { "dsound", "it needs Windows", "sdl" },
    { "jack", "there is no JACK client", "pa, which PipeWire serves as well" },
    { "oss", "Linux has no OSS any more", "pa or sdl" },
    { "pipewire", "QEMU 7.2 has none either", "pa, which PipeWire serves" },
    { "sndio", "there is no client of sndiod", "sdl" },
    { "spice", "there is no SPICE server", "pa or sdl" },
#ifndef HAVE_SDL
    { "sdl", "this program was built without SDL", "pa or wav" },
#endif
#ifndef HAVE_PULSE
    { "pa", "this program was built without libpulse", "sdl or wav" },
#endif
};

static bool check_driver(const char *driver, Error **errp)
{
    for (unsigned i = 0; driver && i < G_N_ELEMENTS(other_drivers); i++) {
        if (g_str_equal(driver, other_drivers[i].name)) {
            error_fail(errp, "not-supported", "driver", NULL, "driver '%s' is not supported: %s", driver,
                       other_drivers[i].reason);
            error_hint(errp, "use %s", other_drivers[i].instead);
            return false;
        }
    }
    return true;
}

static bool is_fixed(const AudiodevPerDirectionOptions *o)
{
    return o->has_fixed_settings ? o->fixed_settings : o->mixing_engine;
}

/* QEMU's rules about what excludes what. */
static bool check_direction(const char *name, const AudiodevPerDirectionOptions *o, bool none, Error **errp)
{
    bool fixed = is_fixed(o);
    if (fixed && !o->mixing_engine) {
        error_fail(errp, "conflict", name, NULL, "'%s': fixed-settings=on needs mixing-engine=on", name);
        error_hint(errp, "leave out one of them");
        return false;
    }
    if (!fixed && (o->has_frequency || o->has_channels || o->has_format)) {
        error_fail(errp, "conflict", name, NULL,
                   "'%s': frequency, channels and format are the stream's with fixed-settings=off", name);
        error_hint(errp, "leave them out, or use fixed-settings=on");
        return false;
    }
    if (!none && o->has_voices && o->voices > 1) {
        g_autofree char *member = g_strdup_printf("%s.voices", name);
        error_fail(errp, "not-supported", member, NULL,
                   "'%s': a driver has one stream, into which all that devices play is mixed", member);
        error_hint(errp, "leave it out: any number of devices can play");
        return false;
    }
    return true;
}

/* The two directions' common members; those of sdl and pa begin with them. */
static void directions(const AudiodevOptions *o, const AudiodevPerDirectionOptions **in,
                       const AudiodevPerDirectionOptions **out)
{
    const void *i = NULL, *w = NULL;
    switch (o->driver) {
    case AUDIODEV_DRIVER_NONE:
        i = o->u.none.has_in ? &o->u.none.in : NULL;
        w = o->u.none.has_out ? &o->u.none.out : NULL;
        break;
    case AUDIODEV_DRIVER_WAV:
        i = o->u.wav.has_in ? &o->u.wav.in : NULL;
        w = o->u.wav.has_out ? &o->u.wav.out : NULL;
        break;
    case AUDIODEV_DRIVER_SDL:
        i = o->u.sdl.has_in ? &o->u.sdl.in : NULL;
        w = o->u.sdl.has_out ? &o->u.sdl.out : NULL;
        break;
    case AUDIODEV_DRIVER_PA:
        i = o->u.pa.has_in ? &o->u.pa.in : NULL;
        w = o->u.pa.has_out ? &o->u.pa.out : NULL;
        break;
    }
    *in = i;
    *out = w;
}

static bool check_options(Machine *m, const AudiodevOptions *o, Error **errp)
{
    const AudiodevPerDirectionOptions *in, *out;
    bool none = o->driver == AUDIODEV_DRIVER_NONE;
    directions(o, &in, &out);
    if (!text_check_id(o->id, "audio0", errp)) {
        return false;
    }
    if (audiodev_exists(m, o->id)) {
        return error_fail(errp, "already-exists", "id", "give another id",
                          "there is already an audiodev '%s'", o->id);
    }
    return (!in || check_direction("in", in, none, errp)) &&
           (!out || check_direction("out", out, none, errp));
}

/* ---- the list ---- */

static const AudioDriver *driver_of(AudiodevDriver d)
{
    switch (d) {
    case AUDIODEV_DRIVER_WAV: return &audio_wav;
#ifdef HAVE_SDL
    case AUDIODEV_DRIVER_SDL: return &audio_sdl;
#endif
#ifdef HAVE_PULSE
    case AUDIODEV_DRIVER_PA: return &audio_pa;
#endif
    default: return &audio_none;
    }
}

static Audiodev *audiodev_add(Machine *m, const char *id, const AudioDriver *driver)
{
    static const AudioSettings usual = { DEFAULT_RATE, DEFAULT_CHANNELS, AUDIO_FORMAT_S16 };
    Audiodev *a = g_new0(Audiodev, 1);
    *a = (Audiodev){ .m = m, .id = g_strdup(id), .driver = driver, .refs = 1, .period_ns = 10000000 };
    a->out = (AudioStream){ .a = a, .out = true, .mixing = true, .fixed = true, .settings = usual };
    a->in = (AudioStream){ .a = a, .mixing = true, .fixed = true, .settings = usual };
    a->voices = g_ptr_array_new();
    audiodevs = audiodevs ? audiodevs : g_ptr_array_new();
    g_ptr_array_add(audiodevs, a);
    return a;
}

static void set_direction(AudioStream *s, const AudiodevPerDirectionOptions *o)
{
    if (!o) {
        return;
    }
    s->mixing = o->mixing_engine;
    s->fixed = is_fixed(o);
    s->settings.frequency = o->has_frequency ? o->frequency : s->settings.frequency;
    s->settings.channels = o->has_channels ? o->channels : s->settings.channels;
    s->settings.format = o->has_format ? o->format : s->settings.format;
    s->latency_us = o->has_buffer_length ? o->buffer_length : 0;
}

bool audiodev_new_json(Machine *m, const Json *opts, bool from_text, Error **errp)
{
    AudiodevOptions o;
    role_assert_main();
    if (!check_driver(json_get_string(json_member(opts, "driver", NULL)), errp) ||
        !type_decode(&audiodev_options_type, opts, from_text, &o, errp)) {
        return false;
    }
    if (!check_options(m, &o, errp)) {
        type_clear(&audiodev_options_type, &o);
        return false;
    }
    const AudiodevPerDirectionOptions *in, *out;
    Audiodev *a = audiodev_add(m, o.id, driver_of(o.driver));
    a->options = o;
    a->has_options = true;
    a->period_ns = o.timer_period * 1000;
    directions(&a->options, &in, &out);
    set_direction(&a->in, in);
    set_direction(&a->out, out);
    return true;
}

Audiodev *audiodev_new_driver(Machine *m, const char *id, const AudioDriver *driver, void *state,
                              const AudioSettings *s, uint64_t latency_us)
{
    role_assert_main();
    Audiodev *a = audiodev_add(m, id, driver);
    a->state = state;
    a->in.settings = a->out.settings = *s;
    a->in.latency_us = a->out.latency_us = latency_us;
    return a;
}

static Audiodev *audiodev_find(const Machine *m, const char *id)
{
    for (guint i = 0; audiodevs && i < audiodevs->len; i++) {
        Audiodev *a = audiodevs->pdata[i];
        if (a->m == m && (!id || !strcmp(a->id, id))) {
            return a;
        }
    }
    return NULL;
}

bool audiodev_exists(Machine *m, const char *id)
{
    return audiodev_find(m, id) != NULL;
}

Audiodev *audiodev_get(Machine *m, const char *id, Error **errp)
{
    bool any = !id || !*id;
    Audiodev *a = audiodev_find(m, any ? NULL : id);
    if (!a && any) {
        a = audiodev_add(m, "", &audio_none);
        a->refs = 0; /* it goes with the last device */
    } else if (!a) {
        error_fail(errp, "not-found", "audiodev", NULL, "there is no audiodev '%s'", id);
        error_hint(errp, "make it with -audiodev none,id=%s; -audiodev help lists the drivers", id);
        return NULL;
    }
    a->refs++;
    return a;
}

/* Out of the list, and silent. */
static void drop(Audiodev *a)
{
    if (a->closed) {
        return;
    }
    audio_stop(a);
    g_ptr_array_remove(audiodevs, a);
    if (audiodevs->len == 0) {
        g_clear_pointer(&audiodevs, g_ptr_array_unref);
    }
}

void audiodev_unref(Audiodev *a)
{
    if (--a->refs) {
        return;
    }
    drop(a);
    if (a->ready) { /* a device that goes may have started it once more */
        timer_cancel(&a->timer);
    }
    if (a->has_options) {
        type_clear(&audiodev_options_type, &a->options);
    }
    g_ptr_array_unref(a->voices);
    g_free(a->id);
    g_free(a);
}

void audiodev_remove_all(Machine *m)
{
    for (guint i = audiodevs ? audiodevs->len : 0; i > 0; i--) {
        Audiodev *a = audiodevs->pdata[i - 1];
        if (a->m == m) {
            drop(a);
            if (*a->id) {
                audiodev_unref(a);
            }
        }
    }
}

void audiodev_help(GString *out)
{
    g_string_append(out, "Available audio drivers:\n");
    for (const char *const *n = audiodev_driver_names; *n; n++) {
        if (check_driver(*n, NULL)) {
            g_string_append_printf(out, "%s\n", *n);
        }
    }
}
