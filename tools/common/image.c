/* SPDX-License-Identifier: MIT
 * tools/common/image.c - opening images that a command line names, cache modes, messages.
 *
 * Threads: the main thread.
 */
#include "rhea/tools/image.h"

#include "rhea/util/log.h"
#include "rhea/util/text.h"

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
    if (i->share && i->writable) {
        error_set(errp, "-U (--force-share): '%s' is opened for writing", i->name);
        error_hint(errp, "two writers of one image destroy it");
        return NULL;
    }
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
    v->ok = v->n->driver->format->snapshot_view(v->n, v->name, &v->err);
}

/* The ID of the snapshot that has this ID and this name; NULL: any. g_free */
static char *snapshot_id(BlockNode *n, const char *id, const char *name)
{
    g_autoptr(GArray) list = n->driver->format->snapshots(n);
    for (unsigned i = 0; i < list->len; i++) {
        const BlockSnapshot *s = &g_array_index(list, BlockSnapshot, i);
        if ((!id || g_str_equal(s->id, id)) && (!name || g_str_equal(s->name, name))) {
            return g_strdup(s->id);
        }
    }
    return NULL;
}

bool tool_view_snapshot(BlockNode *n, const char *snapshot, Error **errp)
{
    const BlockFormatOps *f = n->driver->format;
    if (!f || !f->snapshot_view) {
        return error_set(errp, "'%s' cannot hold snapshots", block_filename(n));
    }
    g_autofree char *found = NULL;
    if (g_str_has_prefix(snapshot, "snapshot.")) {
        bool from_text;
        g_autoptr(Json) o = keyval_parse(snapshot, NULL, &from_text, errp);
        if (!o) {
            return false;
        }
        Json *keys = json_member(o, "snapshot", NULL);
        const char *id = json_get_string(json_member(keys, "id", NULL)),
                   *name = json_get_string(json_member(keys, "name", NULL));
        if (json_object_object_length(o) != 1 || json_object_object_length(keys) != !!id + !!name) {
            return error_set(errp, "'%s': a snapshot is named by snapshot.id= and snapshot.name=", snapshot);
        }
        found = snapshot_id(n, id, name);
        if (!found) {
            return error_set(errp, "'%s' has no snapshot '%s'", block_filename(n), snapshot);
        }
    }
    View v = { .n = n, .name = found ? found : snapshot };
    co_run_sync(block_graph_loop(n->graph), view_body, &v);
    return v.ok || error_propagate(errp, v.err);
}

/* ---- what a format says, as indented text ---- */

static void print_tree(const Json *v, unsigned depth);

static void print_member(const char *name, const Json *v, unsigned depth)
{
    JsonKind kind = json_kind(v);
    if (kind == JSON_OBJECT || kind == JSON_ARRAY) {
        printf("%*s%s:\n", (int)depth * 4, "", name);
        print_tree(v, depth + 1);
    } else {
        printf("%*s%s: %s\n", (int)depth * 4, "", name, json_object_get_string((Json *)v));
    }
}

static void print_tree(const Json *v, unsigned depth)
{
    if (json_kind(v) == JSON_ARRAY) {
        for (size_t i = 0; i < json_object_array_length((Json *)v); i++) {
            g_autofree char *name = g_strdup_printf("[%zu]", i);
            print_member(name, json_object_array_get_idx((Json *)v, i), depth);
        }
        return;
    }
    json_object_object_foreach((Json *)v, key, value)
    {
        g_autofree char *words = g_strdelimit(g_strdup(key), "-", ' ');
        print_member(words, value, depth);
    }
}

void tool_print_specific(BlockNode *n)
{
    Json *data = n->driver->format && n->driver->format->info ? n->driver->format->info(n) : NULL;
    if (data) {
        printf("Format specific information:\n");
        print_tree(data, 1);
        json_unref(data);
    }
}
