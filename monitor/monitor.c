/* SPDX-License-Identifier: MIT
 * monitor/monitor.c - human monitor sessions: the prompt, output with back pressure, command dispatch.
 *
 * Models: the monitor QEMU's users and scripts know: its banner form, the "(qemu) " prompt that expect
 * scripts wait for, command names and aliases.
 * Does not model: QMP.
 * Threads: main loop, no domain held.
 */
#include "config.h"
#include "monitor/trace.h"
#include "monitor_internal.h"
#include "rhea/util/fdset.h"
#include "rhea/util/text.h"
#include <ctype.h>
#include <string.h>

enum { PENDING_LIMIT = 1 << 20, ARGS_MAX = 64 };

static const HmpCommand *const *tables;

void monitor_set_commands(const HmpCommand *const *list)
{
    tables = list;
}

const HmpCommand *const *monitor_tables(void)
{
    static const HmpCommand *const core_only[] = { monitor_core_commands, NULL };
    return tables ? tables : core_only;
}

/* ---- command lookup ---- */

static bool name_matches(const char *names, const char *word)
{
    size_t len = strlen(word);
    while (*names) {
        size_t n = strcspn(names, "|");
        if (n == len && !memcmp(names, word, n)) {
            return true;
        }
        names += n + (names[n] == '|');
    }
    return false;
}

static const HmpCommand *find_in(const HmpCommand *table, const char *name)
{
    for (const HmpCommand *c = table; c && c->name; c++) {
        if (name_matches(c->name, name)) {
            return c;
        }
    }
    return NULL;
}

const HmpCommand *monitor_find(const HmpCommand *const *list, const char *name)
{
    for (; *list; list++) {
        const HmpCommand *c = find_in(*list, name);
        if (c) {
            return c;
        }
    }
    return NULL;
}

static void add_names(GPtrArray *a, const HmpCommand *table)
{
    for (const HmpCommand *c = table; c && c->name; c++) {
        g_auto(GStrv) alias = g_strsplit(c->name, "|", -1);
        for (char **n = alias; *n; n++) {
            g_ptr_array_add(a, g_strdup(*n));
        }
    }
}

/* Sub-commands of one name may come from several tables: `info` of the core and of the program. */
static const HmpCommand *find_sub(const char *cmd, const char *name)
{
    for (const HmpCommand *const *t = monitor_tables(); *t; t++) {
        const HmpCommand *c = find_in(*t, cmd);
        const HmpCommand *s = c ? find_in(c->sub, name) : NULL;
        if (s) {
            return s;
        }
    }
    return NULL;
}

static char **command_names(const char *cmd)
{
    GPtrArray *a = g_ptr_array_new();
    for (const HmpCommand *const *t = monitor_tables(); *t; t++) {
        if (!cmd) {
            add_names(a, *t);
        } else {
            const HmpCommand *c = find_in(*t, cmd);
            add_names(a, c ? c->sub : NULL);
        }
    }
    g_ptr_array_add(a, NULL);
    return (char **)g_ptr_array_free(a, FALSE);
}

/* ---- help ---- */

static void help_line(GString *out, const char *prefix, const HmpCommand *c)
{
    g_string_append_printf(out, "%s%s%s%s -- %s\n", prefix, c->name, c->args && *c->args ? " " : "",
                           c->args ? c->args : "", c->help);
}

static void help_subs(GString *out, const char *cmd)
{
    g_autofree char *prefix = g_strdup_printf("%s ", cmd);
    for (const HmpCommand *const *t = monitor_tables(); *t; t++) {
        const HmpCommand *c = find_in(*t, cmd);
        for (const HmpCommand *s = c ? c->sub : NULL; s && s->name; s++) {
            help_line(out, prefix, s);
        }
    }
}

void monitor_help(GString *out, const char *cmd, const char *sub)
{
    const HmpCommand *c = cmd ? monitor_find(monitor_tables(), cmd) : NULL;
    if (!cmd) {
        GHashTable *seen = g_hash_table_new(g_str_hash, g_str_equal);
        for (const HmpCommand *const *t = monitor_tables(); *t; t++) {
            for (const HmpCommand *i = *t; i->name; i++) {
                if (g_hash_table_add(seen, (gpointer)i->name)) {
                    help_line(out, "", i);
                }
            }
        }
        g_hash_table_destroy(seen);
    } else if (!c) {
        g_string_append_printf(out, "unknown command: '%s'\n", cmd);
    } else if (sub) {
        g_autofree char *prefix = g_strdup_printf("%s ", cmd);
        const HmpCommand *s = find_sub(cmd, sub);
        if (s) {
            help_line(out, prefix, s);
        } else {
            g_string_append_printf(out, "unknown command: '%s %s'\n", cmd, sub);
        }
    } else if (c->sub) {
        help_subs(out, cmd);
    } else {
        help_line(out, "", c);
    }
}

/* ---- running a line ---- */

void monitor_say_error(GString *out, Error *err)
{
    g_string_append_printf(out, "Error: %s\n", error_text(err));
    if (error_hint_text(err)) {
        g_string_append_printf(out, "%s\n", error_hint_text(err));
    }
    error_free(err);
}

static void say_unknown(GString *out, const char *cmd, const char *sub)
{
    g_autoptr(Error) err = NULL;
    g_auto(GStrv) names = command_names(sub ? cmd : NULL);
    g_string_append_printf(out, "unknown command: '%s%s%s'\n", cmd, sub ? " " : "", sub ? sub : "");
    error_set(&err, "unknown");
    error_hint_nearest(&err, sub ? sub : cmd, (const char *const *)names);
    if (error_hint_text(err)) {
        g_string_append_printf(out, "%s\n", error_hint_text(err));
    }
}

/* Words; double quotes group, a backslash inside them protects the next character. "x/4xb" gives "x" and
 * "/4xb". */
static bool split_line(const char *line, GPtrArray *words, GString *out)
{
    const char *p = line;
    for (;;) {
        while (isspace((unsigned char)*p)) {
            p++;
        }
        if (!*p || (words->len == 0 && *p == '#')) {
            return true;
        }
        if (words->len >= ARGS_MAX) {
            g_string_append(out, "too many arguments\n");
            return false;
        }
        GString *w = g_string_new(NULL);
        bool quoted = false;
        while (*p && (quoted || !isspace((unsigned char)*p))) {
            if (*p == '"') {
                quoted = !quoted;
            } else if (quoted && *p == '\\' && p[1]) {
                g_string_append_c(w, *++p);
            } else if (*p == '/' && words->len == 0 && w->len) {
                break;
            } else {
                g_string_append_c(w, *p);
            }
            p++;
        }
        g_ptr_array_add(words, g_string_free(w, FALSE));
        if (quoted) {
            g_string_append(out, "a '\"' is not closed\n");
            return false;
        }
    }
}

void monitor_run_line(Monitor *mon, Machine *m, const char *line, GString *out)
{
    role_assert_main();
    trace_hmp_line(line);
    g_autoptr(GPtrArray) words = g_ptr_array_new_with_free_func(g_free);
    if (!split_line(line, words, out) || words->len == 0) {
        return;
    }
    guint argc = words->len;
    g_ptr_array_add(words, NULL);
    char **argv = (char **)words->pdata;
    const HmpCommand *c = monitor_find(monitor_tables(), argv[0]);
    if (!c) {
        say_unknown(out, argv[0], NULL);
        return;
    }
    if (c->sub && argc > 1) {
        c = find_sub(argv[0], argv[1]);
        if (!c) {
            say_unknown(out, argv[0], argv[1]);
            return;
        }
        c->run(mon, m, argc - 1, argv + 1, out);
    } else if (c->sub) {
        help_subs(out, argv[0]);
    } else {
        c->run(mon, m, argc, argv, out);
    }
}

int monitor_get_cpu(Monitor *mon)
{
    return mon ? (int)mon->cpu : 0;
}

Vcpu *monitor_cpu(Monitor *mon, Machine *m)
{
    unsigned i = mon ? mon->cpu : 0;
    return m->cpus && i < m->n_cpus ? m->cpus[i] : NULL;
}

/* ---- the session ---- */

static void monitor_writable(void *opaque);

static void flush_pending(Monitor *mon)
{
    if (!mon->focused) {
        return; /* another front end of the mux has the screen */
    }
    size_t n = char_write(&mon->port, (const uint8_t *)mon->pending->str, mon->pending->len);
    g_string_erase(mon->pending, 0, n);
    if (mon->pending->len) {
        char_notify_writable(&mon->port, monitor_writable);
    }
}

static void monitor_writable(void *opaque)
{
    Monitor *mon = opaque;
    flush_pending(mon);
    char_accept_input(&mon->port);
}

static void monitor_put(void *opaque, const char *text, size_t len)
{
    Monitor *mon = opaque;
    for (size_t i = 0; i < len; i++) {
        if (text[i] == '\n') {
            g_string_append_c(mon->pending, '\r');
        }
        g_string_append_c(mon->pending, text[i]);
    }
    flush_pending(mon);
}

static void monitor_line(void *opaque, const char *line)
{
    Monitor *mon = opaque;
    GString *out = g_string_new(NULL);
    monitor_run_line(mon, mon->machine, line, out);
    monitor_put(mon, out->str, out->len);
    g_string_free(out, TRUE);
    if (!mon->ending) {
        readline_show(mon->line);
    }
}

static void add_matching(GPtrArray *out, char **names, const char *prefix)
{
    for (; *names; names++) {
        if (g_str_has_prefix(*names, prefix)) {
            g_ptr_array_add(out, g_strdup(*names));
        }
    }
}

static void monitor_complete(void *opaque, const char *before, GPtrArray *out)
{
    Monitor *mon = opaque;
    g_auto(GStrv) words = g_strsplit(before, " ", -1);
    guint n = g_strv_length(words);
    const char *last = words[n - 1];
    bool is_help = g_str_equal(words[0], "help") || g_str_equal(words[0], "?");
    if (n == 1 || (n == 2 && is_help)) {
        g_auto(GStrv) names = command_names(NULL);
        add_matching(out, names, last);
        return;
    }
    const char *cmd = is_help ? words[1] : words[0];
    const HmpCommand *c = monitor_find(monitor_tables(), cmd);
    if (c && c->sub && n == (is_help ? 3u : 2u)) {
        g_auto(GStrv) names = command_names(cmd);
        add_matching(out, names, last);
    } else if (c && c->complete) {
        g_autoptr(GPtrArray) all = g_ptr_array_new_with_free_func(g_free);
        c->complete(mon->machine, n - 1, all);
        g_ptr_array_add(all, NULL);
        add_matching(out, (char **)all->pdata, last);
    }
}

static void greet(Monitor *mon)
{
    static const char banner[] = "Rhea " RHEA_VERSION " monitor - type 'help' for more information\n";
    if (!mon->greeted && mon->focused) {
        mon->greeted = true;
        monitor_put(mon, banner, strlen(banner));
        readline_show(mon->line);
    }
}

static size_t monitor_room(void *opaque)
{
    Monitor *mon = opaque;
    return mon->pending->len < PENDING_LIMIT ? 256 : 0;
}

static void monitor_receive(void *opaque, const uint8_t *buf, size_t len)
{
    Monitor *mon = opaque;
    for (size_t i = 0; i < len && !mon->ending; i++) {
        readline_input(mon->line, buf[i]);
    }
}

/* Who is here can refer to sets of descriptors. */
static void set_open(Monitor *mon, bool open)
{
    if (open && !mon->open) {
        fdset_client_came();
    } else if (!open && mon->open) {
        fdset_client_gone(machine_running(mon->machine));
    }
    mon->open = open;
}

static void monitor_char_event(void *opaque, CharEvent event)
{
    Monitor *mon = opaque;
    switch (event) {
    case CHAR_OPENED:
        set_open(mon, true);
        mon->greeted = false;
        greet(mon);
        break;
    case CHAR_CLOSED:
        set_open(mon, false);
        readline_reset(mon->line);
        g_string_truncate(mon->pending, 0);
        mon->greeted = false;
        break;
    case CHAR_MUX_IN:
        mon->focused = true;
        if (!mon->greeted) {
            greet(mon);
        } else {
            flush_pending(mon);
            monitor_put(mon, "\n", 1);
            readline_show(mon->line);
        }
        break;
    case CHAR_MUX_OUT:
        mon->focused = false;
        break;
    case CHAR_BREAK:
        break;
    }
}

Monitor *monitor_new(Machine *m, Chardev *c, Error **errp)
{
    static const CharHandler handler = { .room = monitor_room, .receive = monitor_receive,
                                         .event = monitor_char_event, .answers = true };
    static const ReadlineOps ops = { .write = monitor_put,
                                     .line = monitor_line,
                                     .complete = monitor_complete };
    Monitor *mon = g_new0(Monitor, 1);
    mon->machine = m;
    mon->dump_format = 'x';
    mon->dump_size = 4;
    mon->focused = !chardev_is_mux(c); /* a mux says when */
    if (!chardev_connect(c, &mon->port, errp)) {
        g_free(mon);
        return NULL;
    }
    char_port_set_holder(&mon->port, "a monitor");
    mon->pending = g_string_new(NULL);
    mon->line = readline_new("(qemu) ", &ops, mon);
    char_attach(&mon->port, &handler, mon, NULL);
    return mon;
}

void monitor_free(Monitor *mon)
{
    set_open(mon, false);
    char_detach(&mon->port);
    readline_free(mon->line);
    g_string_free(mon->pending, TRUE);
    g_free(mon);
}

const char *monitor_history(Monitor *mon, unsigned i)
{
    return mon && mon->line ? readline_history(mon->line, i) : NULL;
}
