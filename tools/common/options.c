/* SPDX-License-Identifier: MIT
 * tools/common/options.c - the options of a command line: one table says what there is and what is refused.
 *
 * Threads: the main thread.
 */
#include "rhea/tools/image.h"
#include "rhea/tools/trace.h"
#include "rhea/util/log.h"
#include "rhea/util/text.h"

#include <getopt.h>
#include <string.h>

/* getopt's own tables, made from ours. */
typedef struct Tables {
    struct option longs[64];
    char letters[160];
} Tables;

static void make_tables(const ToolOption *all, Tables *t)
{
    size_t n = 0, len = 0;
    t->letters[len++] = ':'; /* what lacks its argument is told apart from what is unknown */
    for (const ToolOption *o = all; o->c; o++) {
        g_assert(n + 1 < G_N_ELEMENTS(t->longs) && len + 3 < sizeof(t->letters));
        if (o->name) {
            t->longs[n++] = (struct option){ o->name, o->arg ? required_argument : no_argument, NULL, o->c };
        }
        if (o->c < TOOL_LONG) {
            t->letters[len++] = (char)o->c;
            if (o->arg) {
                t->letters[len++] = ':';
            }
        }
    }
    t->longs[n] = (struct option){ NULL, 0, NULL, 0 };
    t->letters[len] = '\0';
}

static int bad_option(int c, const char *given, const ToolOption *all)
{
    g_autoptr(GPtrArray) names = g_ptr_array_new();
    bool is_long = g_str_has_prefix(given, "--"), takes_none = false;
    for (const ToolOption *o = all; o->c; o++) {
        if (o->name) {
            g_ptr_array_add(names, (char *)o->name);
            takes_none = takes_none || (is_long && optopt && o->c == optopt && !o->arg);
        }
    }
    g_ptr_array_add(names, NULL);
    Error *err = NULL;
    if (c == ':') {
        error_set(&err, "option '%s' needs an argument", given);
    } else if (takes_none) {
        error_set(&err, "option '%s': it takes no argument", given);
    } else if (is_long) {
        g_autofree char *word = g_strndup(given + 2, strcspn(given + 2, "="));
        error_set(&err, "option '--%s' is not known, or could be several", word);
        error_hint_nearest(&err, word, (const char *const *)names->pdata);
    } else {
        error_set(&err, "option '-%c' is not known", optopt);
    }
    if (!error_hint_text(err)) {
        error_hint(&err, "try '%s --help'", log_program());
    }
    tool_fail(err);
    return TOOL_BAD;
}

static int refuse(const ToolOption *o)
{
    Error *err = NULL;
    g_autofree char *name = o->name ? g_strdup_printf("--%s", o->name) : g_strdup_printf("-%c", o->c);
    if (o->name && o->c < TOOL_LONG) {
        error_set(&err, "-%c (%s) is not supported: %s", o->c, name, o->why);
    } else {
        error_set(&err, "%s is not supported: %s", name, o->why);
    }
    error_hint(&err, "%s", o->cure);
    tool_fail(err);
    return TOOL_BAD;
}

int tool_getopt(int argc, char **argv, const ToolOption *all)
{
    Tables t;
    make_tables(all, &t);
    opterr = 0;
    int c = getopt_long(argc, argv, t.letters, t.longs, NULL);
    if (c == '?' || c == ':') {
        return bad_option(c, argv[optind - 1], all);
    }
    for (const ToolOption *o = all; c != -1 && o->c; o++) {
        if (o->c == c && o->why) {
            return refuse(o);
        }
    }
    return c;
}

int tool_trace(const char *arg)
{
    bool help;
    Error *err = NULL;
    if (!trace_option(arg, &help, NULL, &err)) {
        error_prefix(&err, "--trace %s", arg);
        return tool_fail(err);
    }
    return help ? 0 : -1;
}
