/* SPDX-License-Identifier: MIT
 * tools/system/options.c - reads argv by the table; prints -help from it.
 *
 * Threads: main thread, before anything else runs.
 */
#include "cli.h"
#include "rhea/util/errorcode.h"
#include "rhea/util/log.h"
#include "rhea/util/text.h"
#include <string.h>

static bool has_name(const char *names, const char *word, size_t len)
{
    while (*names) {
        size_t n = strcspn(names, "|");
        if (n == len && !memcmp(names, word, n)) {
            return true;
        }
        names += n + (names[n] == '|');
    }
    return false;
}

const Option *option_find(const char *name)
{
    for (const Option *o = option_table; o->name; o++) {
        if (has_name(o->name, name, strlen(name))) {
            return o;
        }
    }
    return NULL;
}

static bool unknown_option(const char *dashed, const char *name, Error **errp)
{
    g_autoptr(GPtrArray) names = g_ptr_array_new_with_free_func(g_free);
    for (const Option *o = option_table; o->name; o++) {
        g_auto(GStrv) list = g_strsplit(o->name, "|", -1);
        for (char **n = list; *n; n++) {
            g_ptr_array_add(names, g_strdup(*n));
        }
    }
    g_ptr_array_add(names, NULL);
    const char *near = text_nearest(name, (const char *const *)names->pdata);
    error_fail(errp, "unknown-option", name, NULL, "unknown option '%s'", dashed);
    if (near) {
        error_hint(errp, "did you mean '-%s'?", near);
    } else {
        error_hint(errp, "-help lists all options");
    }
    return false;
}

static bool refuse(const Option *o, const char *dashed, Error **errp)
{
    return cli_refuse(errp, dashed, o->reason, o->instead);
}

void cli_blame(Error **errp, const char *dashed, const char *arg)
{
    static const char implied[] = "value"; /* of an item without a name */
    bool from_text;
    g_autoptr(Json) given = arg && *arg ? keyval_parse(arg, implied, &from_text, NULL) : NULL;
    if (!errp || !*errp || error_member(*errp)) {
        return;
    }
    if (given) {
        error_find_member(errp, given);
    }
    if (!error_member(*errp) || g_str_equal(error_member(*errp), implied)) {
        const char *name = dashed + strspn(dashed, "-");
        g_autofree char *option = g_strndup(name, strcspn(name, " :"));
        error_member_default(errp, NULL);
        error_member_default(errp, option);
    }
}

bool cli_fail_at(Error **errp, Error *err, const Item *item)
{
    cli_blame(&err, item->where, item->text);
    error_prefix(&err, "%s", item->where);
    return error_propagate(errp, err);
}

bool cli_run_option(Cli *cli, const Option *o, const char *dashed, const char *arg, Error **errp)
{
    if (!o->run) {
        return refuse(o, dashed, errp);
    }
    Error *err = NULL;
    if (o->run(cli, o, arg, &err)) {
        return true;
    }
    cli_blame(&err, dashed, arg);
    error_prefix(&err, "%s%s%s", dashed, arg ? " " : "", arg ? arg : "");
    return error_propagate(errp, err);
}

bool cli_parse(Cli *cli, int argc, char **argv, Error **errp)
{
    for (int i = 1; i < argc && !cli->done; i++) {
        const char *dashed = argv[i];
        if (dashed[0] != '-' || !dashed[1]) {
            if (!cli_run_option(cli, option_find("hda"), "-hda", dashed, errp)) { /* a disk image */
                return false;
            }
            continue;
        }
        const char *name = dashed + (dashed[1] == '-' ? 2 : 1);
        const Option *o = option_find(name);
        if (!o) {
            return unknown_option(dashed, name, errp);
        }
        const char *arg = NULL;
        if (o->args && o->run) {
            if (++i == argc) {
                error_fail(errp, "missing-argument", name, NULL, "option '%s' needs an argument", dashed);
                error_hint(errp, "usage: -%s %s", name, o->args);
                return false;
            }
            arg = argv[i];
        }
        if (!cli_run_option(cli, o, dashed, arg, errp)) {
            return false;
        }
    }
    return true;
}

/* ---- help ---- */

static void help_option(const Option *o, GString *out)
{
    g_auto(GStrv) names = g_strsplit(o->name, "|", -1);
    g_autofree char *joined = g_strjoinv(" or -", names);
    g_autofree char *head = g_strdup_printf("-%s%s%s", joined, o->args ? " " : "", o->args ? o->args : "");
    g_auto(GStrv) lines = g_strsplit(o->help ? o->help : "", "\n", -1);
    bool first = true;
    if (strlen(head) > 15) {
        g_string_append_printf(out, "%s\n", head);
        first = false;
    }
    for (char **l = lines; *l; l++) {
        g_string_append_printf(out, "%-15s %s\n", first ? head : "", *l);
        first = false;
    }
}

void cli_help(GString *out)
{
    g_string_append_printf(out, "usage: %s [options]\n", log_program());
    for (int g = 0; g < GROUP_COUNT; g++) {
        bool titled = false;
        for (const Option *o = option_table; o->name; o++) {
            if (o->group == (OptionGroup)g && o->run) {
                if (!titled) {
                    g_string_append_printf(out, "\n%s:\n", option_group_titles[g]);
                    titled = true;
                }
                help_option(o, out);
            }
        }
    }
    g_string_append(out, "\nKnown, but not supported yet:\n");
    for (const Option *o = option_table; o->name; o++) {
        if (!o->run) {
            g_autofree char *name = g_strdelimit(g_strdup(o->name), "|", ' ');
            g_string_append_printf(out, "-%-14s %s%s%s\n", name, o->reason, o->instead ? "; use " : "",
                                   o->instead ? o->instead : "");
        }
    }
    g_string_append(out,
                    "\nMost options with key=value items take 'help'. -option and --option are the same.\n"
                    "Keys in -nographic mode: C-a h for help, C-a x to end, C-a c for the monitor.\n");
}
