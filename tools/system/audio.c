/* SPDX-License-Identifier: MIT
 * tools/system/audio.c - -audiodev, and -audio, which is one and the devices that play on it.
 * Threads: main.
 */
#include "cli.h"
#include "rhea/backends/audio.h"
#include "rhea/schema/type.h"
#include "rhea/util/errorcode.h"
#include "rhea/util/text.h"

#include <stdio.h>

#define SHORTCUT_ID "audiodev0" /* of -audio without id= */

/* What model= stands for: QEMU's names. codec: on the bus that the device has; NULL: it is the one that
 * plays. */
static const struct {
    const char *name, *desc, *device, *codec;
} models[] = {
    { "ac97", "Intel 82801AA AC97 Audio", "AC97", NULL },
    { "es1370", "ENSONIQ AudioPCI ES1370", "ES1370", NULL },
    { "hda", "Intel HD Audio", "intel-hda", "hda-duplex" },
};

static bool print(Cli *cli, GString *s)
{
    fputs(s->str, stdout);
    g_string_free(s, TRUE);
    cli->done = true;
    return true;
}

static bool print_drivers(Cli *cli)
{
    GString *s = g_string_new(NULL);
    audiodev_help(s);
    return print(cli, s);
}

OPTION_RUN(opt_audio_help)
{
    return print_drivers(cli);
}

OPTION_RUN(opt_audiodev)
{
    if (cli_is_help(arg)) {
        return print_drivers(cli);
    }
    bool from_text;
    g_autoptr(Json) j = keyval_parse(arg, "driver", &from_text, errp);
    if (!j || !audiodev_new_json(cli->m, j, from_text, errp)) {
        return false;
    }
    cli_record(cli, "audiodev", json_ref(j));
    return true;
}

static bool has_model(unsigned i)
{
    return device_type_find(models[i].device) && (!models[i].codec || device_type_find(models[i].codec));
}

static bool print_models(Cli *cli)
{
    GString *s = g_string_new("Valid sound card names (comma separated):\n");
    for (unsigned i = 0; i < G_N_ELEMENTS(models); i++) {
        if (has_model(i)) {
            g_string_append_printf(s, "%-11s %s\n", models[i].name, models[i].desc);
        }
    }
    return print(cli, s);
}

static bool add_model(Cli *cli, const Option *o, const char *model, const char *id, Error **errp)
{
    for (unsigned i = 0; i < G_N_ELEMENTS(models); i++) {
        if (!g_str_equal(models[i].name, model) || !has_model(i)) {
            continue;
        }
        const char *player = models[i].codec ? models[i].codec : models[i].device;
        g_autofree char *text = g_strdup_printf("%s,audiodev=%s", player, id);
        return (!models[i].codec || opt_device(cli, o, models[i].device, errp)) &&
               opt_device(cli, o, text, errp);
    }
    error_fail(errp, "not-found", "model", NULL, "there is no sound card '%s'", model);
    error_hint(errp, "model=help lists them");
    return false;
}

OPTION_RUN(opt_audio)
{
    if (cli_is_help(arg)) {
        return print_drivers(cli);
    }
    bool from_text;
    g_autoptr(Json) j = keyval_parse(arg, "driver", &from_text, errp);
    if (!j) {
        return false;
    }
    const char *given = json_get_string(json_member(j, "model", NULL));
    if (!given) {
        error_fail(errp, "missing-member", "model", NULL, "'model' is missing");
        error_hint(errp, "model=help lists the sound cards; -audiodev makes a back end without one");
        return false;
    }
    if (cli_is_help(given)) {
        return print_models(cli);
    }
    g_autofree char *model = g_strdup(given);
    json_object_object_del(j, "model");
    if (!json_member(j, "id", NULL)) {
        json_put(j, "id", json_new_string(SHORTCUT_ID));
    }
    g_autofree char *id = g_strdup(json_get_string(json_member(j, "id", NULL)));
    if (!audiodev_new_json(cli->m, j, from_text, errp)) {
        return false;
    }
    cli_record(cli, "audiodev", json_ref(j));
    return add_model(cli, o, model, id, errp);
}
