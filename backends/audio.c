/* SPDX-License-Identifier: MIT
 * backends/audio.c - where sound goes, by name: from -audiodev to the devices that play.
 *
 * Models: QEMU 7.2's -audiodev with driver none and the options it has there. They are checked, and that is
 *         all they can do: no device makes sound yet, and this driver plays none. Management programs name
 *         one with every machine.
 * Does not model: drivers that play or record.
 * Threads: main loop.
 */
#include "rhea/backends/audio.h"
#include "rhea/schema/type.h"
#include "rhea/util/errorcode.h"
#include "rhea/util/text.h"
#include "schema/audio.h"

#include <string.h>

typedef struct Audiodev {
    const Machine *m;
    char *id;
} Audiodev;
static GPtrArray *audiodevs; /* Audiodev *, of all machines; NULL: none */

static const struct { const char *name, *reason; } other_drivers[] = {
    { "alsa", "no device makes sound yet" },
    { "dbus", "there is no display on D-Bus" },
    { "jack", "no device makes sound yet" },
    { "oss", "no device makes sound yet" },
    { "pa", "no device makes sound yet" },
    { "sdl", "no device makes sound yet" },
    { "sndio", "no device makes sound yet" },
    { "spice", "there is no SPICE server" },
    { "wav", "no device makes sound yet" },
    { "coreaudio", "it needs macOS" },
    { "dsound", "it needs Windows" },
};

static bool check_driver(const char *driver, Error **errp)
{
    for (unsigned i = 0; driver && i < G_N_ELEMENTS(other_drivers); i++) {
        if (g_str_equal(driver, other_drivers[i].name)) {
            error_fail(errp, "not-supported", "driver", NULL,
                       "driver '%s' is not supported: %s", driver, other_drivers[i].reason);
            error_hint(errp, "use none, which plays nothing");
            return false;
        }
    }
    return true;
}

/* QEMU's rules about what excludes what. */
static bool check_direction(const char *name, const AudiodevPerDirectionOptions *o, Error **errp)
{
    bool fixed = o->has_fixed_settings ? o->fixed_settings : o->mixing_engine;
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
    return true;
}

static bool check_options(Machine *m, const AudiodevOptions *o, Error **errp)
{
    const AudiodevGenericOptions *g = &o->u.none;
    if (!text_is_id(o->id)) {
        return error_fail(errp, "invalid-value", "id", "such as audio0",
                          "id '%s' is not a name: a letter, then letters, digits, '-', '.', '_'", o->id);
    }
    if (audiodev_exists(m, o->id)) {
        return error_fail(errp, "already-exists", "id", "give another id",
                          "there is already an audiodev '%s'", o->id);
    }
    return (!g->has_in || check_direction("in", &g->in, errp)) &&
           (!g->has_out || check_direction("out", &g->out, errp));
}

static void audiodev_free(void *opaque)
{
    Audiodev *a = opaque;
    g_free(a->id);
    g_free(a);
}

bool audiodev_new_json(Machine *m, const Json *opts, bool from_text, Error **errp)
{
    AudiodevOptions o;
    role_assert_main();
    if (!check_driver(json_get_string(json_member(opts, "driver", NULL)), errp) ||
        !type_decode(&audiodev_options_type, opts, from_text, &o, errp)) {
        return false;
    }
    bool ok = check_options(m, &o, errp);
    if (ok) {
        Audiodev *a = g_new0(Audiodev, 1);
        *a = (Audiodev){ .m = m, .id = g_strdup(o.id) };
        audiodevs = audiodevs ? audiodevs : g_ptr_array_new_with_free_func(audiodev_free);
        g_ptr_array_add(audiodevs, a);
    }
    type_clear(&audiodev_options_type, &o);
    return ok;
}

bool audiodev_exists(Machine *m, const char *id)
{
    for (guint i = 0; audiodevs && i < audiodevs->len; i++) {
        const Audiodev *a = audiodevs->pdata[i];
        if (a->m == m && !strcmp(a->id, id)) {
            return true;
        }
    }
    return false;
}

void audiodev_remove_all(Machine *m)
{
    for (guint i = audiodevs ? audiodevs->len : 0; i > 0; i--) {
        if (((Audiodev *)audiodevs->pdata[i - 1])->m == m) {
            g_ptr_array_remove_index(audiodevs, i - 1);
        }
    }
    if (audiodevs && audiodevs->len == 0) {
        g_clear_pointer(&audiodevs, g_ptr_array_unref);
    }
}

void audiodev_help(GString *out)
{
    g_string_append(out, "Available audio drivers:\n");
    for (const char *const *n = audiodev_driver_names; *n; n++) {
        g_string_append_printf(out, "%s\n", *n);
    }
}
