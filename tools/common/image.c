/* SPDX-License-Identifier: MIT
 * tools/common/image.c - opening images that a command line names, cache modes, messages.
 *
 * Threads: the main thread.
 */
#include "rhea/tools/image.h"

#include "rhea/util/log.h"
#include "rhea/util/text.h"

#include <getopt.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

int tool_fail(Error *err)
{
    error_report(err);
    return 1;
}

int tool_complain(const char *fmt, ...)
{
    Error *err = NULL;
    va_list ap;
    va_start(ap, fmt);
    g_autofree char *text = g_strdup_vprintf(fmt, ap);
    va_end(ap);
    error_set(&err, "%s", text);
    return tool_fail(err);
}

int tool_bad_option(int c, char **argv, const struct option *all)
{
    g_autoptr(GPtrArray) names = g_ptr_array_new();
    const char *given = argv[optind - 1];
    bool is_long = g_str_has_prefix(given, "--"), takes_none = false;
    for (const struct option *o = all; o->name; o++) {
        g_ptr_array_add(names, (char *)o->name);
        takes_none = takes_none || (is_long && optopt && o->val == optopt && !o->has_arg);
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
    return tool_fail(err);
}

bool tool_parse_cache(const char *text, ToolCache *out, Error **errp)
{
    static const struct {
        const char *name;
        ToolCache cache;
    } modes[] = {
        { "none", { .direct = true } },
        { "off", { .direct = true } },
        { "writeback", { 0 } },
        { "writethrough", { .write_through = true } },
        { "directsync", { .direct = true, .write_through = true } },
        { "unsafe", { .no_flush = true } },
    };
    for (unsigned i = 0; i < G_N_ELEMENTS(modes); i++) {
        if (strcmp(modes[i].name, text) == 0) {
            *out = modes[i].cache;
            return true;
        }
    }
    error_set(errp, "cache mode '%s' is not known", text);
    error_hint(errp, "it is one of none, writeback, writethrough, directsync, unsafe");
    return false;
}

static void put_flag(Json *o, const char *key, bool on, bool from_text)
{
    json_put(o, key, from_text ? json_new_string(on ? "on" : "off") : json_new_bool(on));
}

static void put_default(Json *o, const char *key, const char *value)
{
    bool found;
    json_member(o, key, &found);
    if (!found && value) {
        json_put(o, key, json_new_string(value));
    }
}

static Json *child(Json *o)
{
    Json *file = json_member(o, "file", NULL), *image = json_member(o, "image", NULL);
    return json_kind(file) == JSON_OBJECT ? file : json_kind(image) == JSON_OBJECT ? image : NULL;
}

void tool_complete_options(const ToolImage *i, Json *o, bool from_text)
{
    bool found;
    put_flag(o, "read-only", !i->writable, from_text);
    if (i->share && !i->writable) {
        put_flag(o, "force-share", true, from_text);
    }
    json_member(o, "cache", &found);
    if (i->cache && !found) {
        Json *c = json_new_object();
        put_flag(c, "direct", i->cache->direct, from_text);
        put_flag(c, "no-flush", i->cache->no_flush, from_text);
        json_put(o, "cache", c);
    }
    put_default(o, "discard", i->discard);
    /* Down to what the host serves: "file" of formats and most filters, "image" of blkdebug. */
    Json *bottom = o;
    for (Json *below; (below = child(bottom));) {
        put_default(below, "driver", "file");
        bottom = below;
    }
    put_default(bottom, "aio", i->aio);
}

Json *tool_image_options(const ToolImage *i, bool *from_text, Error **errp)
{
    *from_text = !g_str_has_prefix(i->name, "json:"); /* what follows from a plain name is text either way */
    if (i->image_opts && i->format) {
        error_set(errp, "--image-opts and a format exclude each other; write driver=%s", i->format);
        return NULL;
    }
    Json *o = i->image_opts ? keyval_parse(i->name, NULL, from_text, errp)
                            : block_image_options(i->name, i->format, errp);
    if (o) {
        tool_complete_options(i, o, *from_text);
    }
    return o;
}

BlockNode *tool_open(BlockGraph *g, const ToolImage *i, Error **errp)
{
    bool from_text;
    g_autoptr(Json) o = tool_image_options(i, &from_text, errp);
    return o ? block_open(g, o, from_text, errp) : NULL;
}

typedef struct View {
    BlockNode *n;
    const char *name;
    Error *err;
    bool ok;
} View;

static void view_body(void *opaque)
{
    View *v = opaque;
    const BlockFormatOps *f = v->n->driver->format;
    v->ok = f && f->snapshot_view ? f->snapshot_view(v->n, v->name, &v->err)
                                  : error_set(&v->err, "'%s' cannot hold snapshots", block_filename(v->n));
}

bool tool_view_snapshot(BlockNode *n, const char *snapshot, Error **errp)
{
    View v = { .n = n,
               .name = g_str_has_prefix(snapshot, "snapshot.id=")     ? snapshot + 12
                       : g_str_has_prefix(snapshot, "snapshot.name=") ? snapshot + 14
                                                                      : snapshot };
    co_run_sync(block_graph_loop(n->graph), view_body, &v);
    return v.ok || error_propagate(errp, v.err);
}

void tool_print_specific(BlockNode *n)
{
    Json *data = n->driver->format && n->driver->format->info ? n->driver->format->info(n) : NULL;
    if (!data) {
        return;
    }
    printf("Format specific information:\n");
    json_object_object_foreach(data, key, value)
    {
        g_autofree char *words = g_strdelimit(g_strdup(key), "-", ' ');
        printf("    %s: %s\n", words, json_object_get_string(value));
    }
    json_unref(data);
}
