/* SPDX-License-Identifier: MIT
 * tools/system/typetext.c - text that is typed on the guest's keyboard: x-rhea-type-text, type_text.
 *
 * Each character becomes keys of the layout (-k), which go down and up as rhea/ui/strokes.h says. Times are
 * the guest's: while it stands nothing is typed. One text at a time; an event tells of its end. Threads: main
 * loop.
 */
#include "cli.h"
#include "rhea/ui/strokes.h"
#include "rhea/util/errorcode.h"
#include "rhea/util/text.h"
#include "schema/qmp-input.h"

#include <string.h>

enum { TEXT_MAX = 65536, LOOK_AGAIN_MS = 2, DELAY_MAX_MS = 10000 };

/* The process has one machine. */
static struct Typing {
    Machine *machine; /* NULL: nothing is typed */
    Timer timer;
    Strokes strokes;
    int64_t delay_ms, chars;
} typing;

static void end_typing(void)
{
    Json *data = json_new_object();
    json_object_object_add(data, "characters", json_new_int(typing.chars));
    machine_event(typing.machine, "X_RHEA_TEXT_TYPED", data);
    timer_cancel(&typing.timer);
    strokes_fini(&typing.strokes);
    memset(&typing, 0, sizeof(typing));
}

static void type_some(void *opaque)
{
    Machine *m = typing.machine;
    (void)opaque;
    if (strokes_send(&typing.strokes, m, NULL, typing.delay_ms != 0)) {
        end_typing();
    } else {
        int64_t wait_ms = MAX(typing.delay_ms, LOOK_AGAIN_MS);
        timer_arm(&typing.timer, clock_now(m->clock) + wait_ms * INT64_C(1000000));
    }
}

void type_text_forget(Machine *m)
{
    if (typing.machine == m) {
        timer_cancel(&typing.timer);
        strokes_fini(&typing.strokes);
        memset(&typing, 0, sizeof(typing));
    }
}

/* False: the layout has no key for a character. */
static bool add_text(Strokes *strokes, const char *text, Error **errp)
{
    KeyLayout *l = key_layout_new(cli_layout(), errp);
    bool ok = l != NULL;
    for (const char *p = text; ok && *p; p = g_utf8_next_char(p)) {
        gunichar c = g_utf8_get_char(p);
        InputKey key;
        unsigned mods;
        if (c == '\r' && p[1] == '\n') {
            continue;
        }
        if (!key_layout_char(l, c, &key, &mods)) {
            error_fail(errp, "invalid-value", "text", NULL, "no key of layout '%s' gives character U+%04X",
                       cli_layout() ? cli_layout() : "en-us", c);
            error_hint(errp, "-k chooses another layout");
            ok = false;
            break;
        }
        strokes_add(strokes, key, mods);
    }
    key_layout_free(l);
    return ok;
}

bool qmp_x_rhea_type_text(QmpCall *call, const XRheaTypeTextArgs *args, Error **errp)
{
    Machine *m = call->machine;
    if (typing.machine) {
        error_fail(errp, "busy", NULL, NULL, "another text is being typed");
        error_hint(errp, "wait for X_RHEA_TEXT_TYPED");
        return false;
    }
    if (strlen(args->text) > TEXT_MAX) {
        error_fail(errp, "too-large", "text", NULL, "the text has %zu bytes, %d are possible",
                   strlen(args->text), TEXT_MAX);
        error_hint(errp, "send it in pieces");
        return false;
    }
    if (!input_need(m, INPUT_KIND_KEY, "keyboard", errp)) {
        return false;
    }
    strokes_init(&typing.strokes);
    if (!add_text(&typing.strokes, args->text, errp)) {
        strokes_fini(&typing.strokes);
        return false;
    }
    typing.machine = m;
    typing.delay_ms = args->has_key_delay ? args->key_delay : 0;
    typing.chars = g_utf8_strlen(args->text, -1);
    timer_init(&typing.timer, m->loop, m->clock, type_some, NULL);
    timer_arm(&typing.timer, clock_now(m->clock));
    return true;
}

void hmp_type_text(Monitor *mon, Machine *m, int argc, char **argv, GString *out)
{
    Error *err = NULL;
    uint64_t ms = 0;
    if (argc < 2 || argc > 3 || (argc == 3 && (!text_to_u64(argv[2], &ms, NULL) || ms > DELAY_MAX_MS))) {
        g_string_append(out, "type_text: \"TEXT\" [MS between keys] is expected\n");
        return;
    }
    XRheaTypeTextArgs a = { .text = argv[1], .has_key_delay = true, .key_delay = (int64_t)ms };
    if (!qmp_x_rhea_type_text(&(QmpCall){ .machine = m }, &a, &err)) {
        hmp_say_error(out, err);
    }
}
