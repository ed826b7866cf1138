/* SPDX-License-Identifier: MIT
 * tools/system/readconfig.c - -readconfig: options from a file.
 *
 * Models: the JSON that -dump-config prints: an object whose members are options, lists where an option may
 *         be given several times; and QEMU's older form: lines key = "value" in sections [group "id"]. Each
 *         becomes an option as the command line has it, in the file's order. Threads: main thread.
 */
#include "cli.h"
#include <errno.h>
#include <string.h>
#include <sys/stat.h>

enum { FILE_MAX = 16 << 20 };

static char *read_file(const char *path, Error **errp)
{
    struct stat st;
    char *text = NULL;
    g_autoptr(GError) gerr = NULL;
    if (stat(path, &st) < 0) {
        error_set_errno(errp, errno, "could not read '%s'", path);
    } else if (!S_ISREG(st.st_mode) || st.st_size > FILE_MAX) {
        error_set(errp, "'%s' is not a file of at most 16 MiB", path);
    } else if (!g_file_get_contents(path, &text, NULL, &gerr)) {
        error_set(errp, "could not read '%s': %s", path, gerr->message);
    }
    return text;
}

static bool run(Cli *cli, const char *name, const char *arg, Error **errp)
{
    const Option *o = option_find(name);
    g_autofree char *dashed = g_strdup_printf("-%s", name);
    if (!o || g_str_equal(name, "readconfig")) {
        error_set(errp, o ? "'%s' cannot be in a file of options" : "there is no option '%s'", dashed);
        error_hint(errp, o ? "give it on the command line" : "-help lists the options");
        return false;
    }
    if (!o->args != !arg && o->run) {
        return error_set(errp, arg ? "option '%s' takes no value but true" : "option '%s' needs a value",
                         dashed);
    }
    return cli_run_option(cli, o, dashed, arg, errp);
}

static void add_item(GString *arg, const char *key, const char *value)
{
    g_string_append_printf(arg, "%s%s=", arg->len ? "," : "", key);
    for (; *value; value++) { /* a comma is written twice */
        g_string_append(arg, *value == ',' ? ",," : (char[]){ *value, 0 });
    }
}

/* ---- JSON ---- */

/* What has no value but strings was text, where "on" and "64M" have a meaning that they lack in JSON: it
 * becomes text again. False: something else is in it. */
static bool flatten(Json *v, const char *name, GString *out)
{
    const char *text = json_get_string(v);
    bool list = json_kind(v) == JSON_ARRAY;
    if (text) {
        add_item(out, name, text);
        return true;
    }
    if ((!list && json_kind(v) != JSON_OBJECT) || !json_length(v)) {
        return false;
    }
    for (size_t i = 0; list && i < json_length(v); i++) {
        g_autofree char *key = g_strdup_printf("%s.%zu", name, i);
        if (!flatten(json_at(v, i), key, out)) {
            return false;
        }
    }
    if (!list) {
        json_object_object_foreach(v, member, inner)
        {
            g_autofree char *key = *name ? g_strdup_printf("%s.%s", name, member) : g_strdup(member);
            if (!flatten(inner, key, out)) {
                return false;
            }
        }
    }
    return true;
}

static char *object_arg(Json *v)
{
    g_autoptr(GString) text = g_string_new(NULL);
    return flatten(v, "", text) ? g_strdup(text->str) : json_format(v, false);
}

static bool run_value(Cli *cli, const char *name, Json *v, Error **errp)
{
    bool on = false;
    g_autofree char *text = NULL;
    switch (json_kind(v)) {
    case JSON_BOOL: /* a flag; false: it is not given */
        return !json_get_bool(v, &on) || !on || run(cli, name, NULL, errp);
    case JSON_STRING:
        return run(cli, name, json_get_string(v), errp);
    case JSON_INT:
    case JSON_OBJECT:
        text = json_kind(v) == JSON_OBJECT ? object_arg(v) : json_format(v, false);
        return run(cli, name, text, errp);
    default:
        return error_set(errp, "option '%s' cannot have %s as its value", name, json_kind_name(json_kind(v)));
    }
}

static bool run_json(Cli *cli, const char *text, Error **errp)
{
    g_autoptr(Json) j = json_parse(text, -1, errp);
    if (!j) {
        return false;
    }
    json_object_object_foreach(j, name, v)
    {
        bool list = json_kind(v) == JSON_ARRAY;
        for (size_t i = 0; i < (list ? json_length(v) : 1) && !cli->done; i++) {
            if (!run_value(cli, name, list ? json_at(v, i) : v, errp)) {
                return false;
            }
        }
    }
    return true;
}

/* ---- sections ---- */

typedef struct Section {
    char *option; /* NULL: none has begun */
    GString *arg;
    unsigned line;
} Section;

/* QEMU's names of groups, where they are not those of options. */
static const char *option_of_group(const char *group)
{
    static const struct {
        const char *group, *option;
    } others[] = { { "memory", "m" }, { "smp-opts", "smp" }, { "boot-opts", "boot" } };
    for (size_t i = 0; i < G_N_ELEMENTS(others); i++) {
        if (g_str_equal(group, others[i].group)) {
            return others[i].option;
        }
    }
    return group;
}

static bool end_section(Cli *cli, Section *s, Error **errp)
{
    bool ok = !s->option || run(cli, s->option, s->arg->str, errp);
    if (!ok) {
        error_prefix(errp, "line %u", s->line);
    }
    g_clear_pointer(&s->option, g_free);
    g_string_truncate(s->arg, 0);
    return ok;
}

static bool take_line(Cli *cli, Section *s, const char *line, unsigned number, Error **errp)
{
    static GRegex *head, *item;
    g_autoptr(GMatchInfo) m = NULL;
    if (!head) {
        head = g_regex_new("^\\[\\s*([\\w-]+)(?:\\s+\"([^\"]*)\")?\\s*\\]$", 0, 0, NULL);
        item = g_regex_new("^([\\w.-]+)\\s*=\\s*\"([^\"]*)\"$", 0, 0, NULL);
    }
    if (!*line || *line == '#') {
        return true;
    }
    if (g_regex_match(head, line, 0, &m)) {
        if (!end_section(cli, s, errp)) {
            return false;
        }
        g_autofree char *group = g_match_info_fetch(m, 1), *id = g_match_info_fetch(m, 2);
        s->option = g_strdup(option_of_group(group));
        s->line = number;
        if (id && *id) {
            add_item(s->arg, "id", id);
        }
        return true;
    }
    g_clear_pointer(&m, g_match_info_free);
    if (!s->option || !g_regex_match(item, line, 0, &m)) {
        return error_set(errp, "line %u: '%s' is not %s", number, line,
                         s->option ? "key = \"value\"" : "[group] or [group \"id\"]");
    }
    g_autofree char *key = g_match_info_fetch(m, 1), *value = g_match_info_fetch(m, 2);
    add_item(s->arg, key, value);
    return true;
}

static bool run_sections(Cli *cli, const char *text, Error **errp)
{
    g_auto(GStrv) lines = g_strsplit(text, "\n", -1);
    Section s = { .arg = g_string_new(NULL) };
    bool ok = true;
    for (unsigned i = 0; ok && lines[i] && !cli->done; i++) {
        ok = take_line(cli, &s, g_strstrip(lines[i]), i + 1, errp);
    }
    ok = ok && end_section(cli, &s, errp);
    g_free(s.option);
    g_string_free(s.arg, TRUE);
    return ok;
}

OPTION_RUN(opt_readconfig)
{
    g_autofree char *text = read_file(arg, errp);
    if (!text) {
        return false;
    }
    return text[strspn(text, " \t\r\n")] == '{' ? run_json(cli, text, errp) : run_sections(cli, text, errp);
}
