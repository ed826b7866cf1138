/* SPDX-License-Identifier: MIT
 * tools/img/commit.c - rhea-img commit and rebase.
 *
 * Models: commit opens the layers above the base as a chain that ends there, and the base for writing, so
 * that what is read is what those layers decide. Threads: the main thread.
 */
#include "img.h"
#include "rhea/block/copy.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void progress(void *opaque, int64_t done, int64_t total)
{
    img_progress(opaque, done, total);
}

/* Commit */

/* How a layer was opened. */
typedef struct Layer {
    char *name, *filename;
    Json *options;
    bool from_text;
} Layer;

static void layer_free(gpointer p)
{
    Layer *l = p;
    g_free(l->name);
    g_free(l->filename);
    json_unref(l->options);
    g_free(l);
}

/* The layers of `n`, from the top down to the base: the one that `base` names, or the second. */
static GPtrArray *layers_of(BlockNode *n, const char *base, Error **errp)
{
    GPtrArray *layers = g_ptr_array_new_with_free_func(layer_free);
    const char *named = NULL; /* what the layer above calls this one */
    BlockNode *top = n;
    for (; n; n = block_backing(n)) {
        Layer *l = g_new0(Layer, 1);
        l->filename = g_strdup(block_filename(n));
        l->options = json_ref(n->options);
        l->from_text = n->from_text;
        g_ptr_array_add(layers, l);
        bool found =
            base ? strcmp(l->filename, base) == 0 || (named && strcmp(named, base) == 0) : layers->len == 2;
        if (layers->len > 1 && found) {
            return layers;
        }
        const char *format;
        const BlockFormatOps *f = n->driver->format;
        named = f && f->backing_name ? f->backing_name(n, &format) : NULL;
    }
    if (base) {
        error_set(errp, "Did not find '%s' in the backing chain of '%s'", base, block_filename(top));
    } else {
        error_set(errp, "Image does not have a backing file");
    }
    g_ptr_array_unref(layers);
    return NULL;
}

/* Opens a layer again. `below`: the node under it; NULL: none, "": as it says. */
static BlockNode *layer_open(Img *m, const Layer *l, bool read_only, const char *below,
                             const ToolCache *cache, Error **errp)
{
    g_autoptr(Json) o = json_new_object();
    json_object_object_foreach(l->options, key, value)
    {
        json_put(o, key, json_ref(value));
    }
    ToolImage i = { .writable = !read_only, .cache = read_only ? NULL : cache };
    tool_complete_options(&i, o, l->from_text);
    if (!below || *below) {
        json_put(o, "backing", json_new_string(below ? below : ""));
    }
    return block_open(m->graph, o, l->from_text, errp);
}

typedef struct Commit {
    BlockClient *top, *base;
    BlockCopy how;
    bool empty;
    int r;
    Error *err;
} Commit;

static void commit_body(void *opaque)
{
    Commit *k = opaque;
    BlockNode *n = block_client_node(k->top), *b = block_client_node(k->base);
    if (block_size(b) < block_size(n) &&
        !block_truncate(k->base, block_size(n), BLOCK_PREALLOC_OFF, &k->err)) {
        return;
    }
    k->r = block_commit(k->top, k->base, &k->how);
    if (k->r < 0) {
        error_set_errno(&k->err, -k->r, "the commit of '%s' to '%s' failed", block_filename(n),
                        block_filename(b));
    } else if (k->empty) {
        n->driver->format->make_empty(n, &k->err);
    }
}

static BlockClient *client_of(BlockNode *n, const ToolCache *cache, Error **errp)
{
    BlockClient *c =
        n ? block_client_new(n, "rhea-img", BLOCK_PERM_READ | BLOCK_PERM_WRITE | BLOCK_PERM_RESIZE,
                             BLOCK_PERM_READ | BLOCK_PERM_WRITE_UNCHANGED, errp)
          : NULL;
    block_unref(n);
    if (c) {
        block_client_set_write_through(c, cache->write_through);
    }
    return c;
}

/* The layers above the base, as a chain of their own. */
static BlockNode *open_above(Img *m, GPtrArray *layers, const ToolCache *cache, Error **errp)
{
    BlockNode *n = NULL;
    for (unsigned i = layers->len - 1; i-- > 0;) {
        BlockNode *below = n;
        n = layer_open(m, g_ptr_array_index(layers, i), i > 0, below ? block_name(below) : NULL, cache, errp);
        block_unref(below);
        if (!n) {
            return NULL;
        }
    }
    return n;
}

static int commit(Img *m, const char *name, const char *format, const char *base, bool keep,
                  const ToolCache *cache, uint64_t rate)
{
    Error *err = NULL;
    BlockNode *n = img_open(m, name, format, IMG_READ, cache, &err);
    GPtrArray *layers = n ? layers_of(n, base, &err) : NULL;
    block_unref(n);
    if (!layers) {
        return tool_fail(err);
    }
    Commit k = { .how = { .rate = rate, .progress = progress, .opaque = m }, .empty = !keep && !base };
    BlockNode *below = layer_open(m, g_ptr_array_index(layers, layers->len - 1), false, "", cache, &err);
    k.base = client_of(below, cache, &err);
    k.top = k.base ? client_of(open_above(m, layers, cache, &err), cache, &err) : NULL;
    if (k.top) {
        img_progress(m, 0, 1);
        img_co(m, commit_body, &k);
        err = k.err;
    }
    block_client_free(k.top);
    block_client_free(k.base);
    g_ptr_array_unref(layers);
    if (err) {
        return tool_fail(err);
    }
    img_progress_end(m);
    if (!m->quiet) {
        printf("Image committed.\n");
    }
    return 0;
}

int img_cmd_commit(Img *m, int argc, char **argv)
{
    const char *format = NULL, *base = NULL;
    ToolCache cache = { 0 };
    int64_t rate = 0;
    bool keep = false;
    Error *err = NULL;
    for (int c; (c = img_getopt(m, argc, argv, "qf:t:b:dpr:", NULL)) != -1;) {
        switch (c) {
        case 'f': format = optarg; break;
        case 'b': base = optarg; break;
        case 'd': keep = true; break;
        case 't':
            if (!tool_parse_cache(optarg, &cache, &err)) {
                return tool_fail(err);
            }
            break;
        case 'r':
            if (!img_size(optarg, &rate, &err)) {
                return tool_fail(err);
            }
            break;
        default: return 1;
        }
    }
    if (optind != argc - 1) {
        return tool_complain("commit needs one file's name");
    }
    return commit(m, argv[optind], format, base, keep, &cache, (uint64_t)rate);
}

/* Rebase */

typedef struct Rebase {
    BlockClient *top, *was, *now;
    BlockCopy how;
    const char *name, *format;
    bool copies;
    Error *err;
} Rebase;

static void rebase_body(void *opaque)
{
    Rebase *k = opaque;
    BlockNode *n = block_client_node(k->top);
    const BlockFormatOps *f = n->driver->format;
    int r = k->copies ? block_keep_content(k->top, k->was, k->now, &k->how) : 0;
    if (r < 0) {
        error_set_errno(&k->err, -r, "cannot copy what the new backing file lacks");
    } else {
        f->set_backing(n, k->name, k->format, &k->err);
    }
}

static BlockClient *reader_of(BlockNode *n, bool share, Error **errp)
{
    unsigned shared = share ? BLOCK_PERM_ALL : BLOCK_PERM_READ | BLOCK_PERM_WRITE_UNCHANGED;
    return n ? block_client_new(n, "rhea-img", BLOCK_PERM_READ, shared, errp) : NULL;
}

/* The overlay; without what lies below it when nothing is to be copied. */
static BlockNode *open_overlay(Img *m, const char *name, const char *format, bool alone,
                               const ToolCache *cache, Error **errp)
{
    bool from_text;
    ToolImage i = {
        .name = name, .format = format, .image_opts = m->image_opts, .writable = true, .cache = cache
    };
    g_autoptr(Json) o = tool_image_options(&i, &from_text, errp);
    if (!o) {
        return NULL;
    }
    const char *driver = json_get_string(json_member(o, "driver", NULL));
    if (alone && driver && strcmp(driver, "qcow2") == 0) {
        json_put(o, "backing", json_new_string(""));
    }
    BlockNode *n = block_open(m->graph, o, from_text, errp);
    if (n && !(n->driver->format && n->driver->format->set_backing)) {
        error_set(errp, "images of format '%s' have no backing file", block_driver_name(n));
        g_clear_pointer(&n, block_unref);
    }
    return n;
}

typedef struct RebaseArgs {
    const char *name, *format, *base, *base_format;
    ToolCache cache, source_cache;
    bool unsafe;
} RebaseArgs;

static bool open_sides(Img *m, Rebase *k, const RebaseArgs *a, Error **errp)
{
    BlockNode *n = block_client_node(k->top), *was = block_backing(n);
    k->was = reader_of(was, false, errp);
    if (was && !k->was) {
        return false;
    }
    if (!a->base || !*a->base) {
        return true;
    }
    g_autofree char *path = img_beside(block_filename(n), a->base);
    bool opts = m->image_opts;
    m->image_opts = false; /* -U: others may use this one; the image itself is written */
    BlockNode *now = img_open(m, path, a->base_format, IMG_READ, &a->source_cache, errp);
    m->image_opts = opts;
    k->now = reader_of(now, m->share, errp);
    block_unref(now);
    if (!k->now) {
        error_prefix(errp, "new backing file '%s'", a->base);
    }
    return k->now != NULL;
}

static int rebase(Img *m, const RebaseArgs *a)
{
    Error *err = NULL;
    Rebase k = { .how = { .progress = progress, .opaque = m },
                 .name = a->base,
                 .format = a->base_format,
                 .copies = !a->unsafe };
    BlockNode *n = open_overlay(m, a->name, a->format, a->unsafe, &a->cache, &err);
    k.top = n ? client_of(n, &a->cache, &err) : NULL;
    if (k.top && (a->unsafe || open_sides(m, &k, a, &err))) {
        img_progress(m, 0, 1);
        img_co(m, rebase_body, &k);
        err = k.err;
    }
    block_client_free(k.now);
    block_client_free(k.was);
    block_client_free(k.top);
    if (err) {
        return tool_fail(err);
    }
    img_progress_end(m);
    return 0;
}

int img_cmd_rebase(Img *m, int argc, char **argv)
{
    RebaseArgs a = { 0 };
    Error *err = NULL;
    for (int c; (c = img_getopt(m, argc, argv, "qf:t:T:pub:F:U", NULL)) != -1;) {
        switch (c) {
        case 'f': a.format = optarg; break;
        case 'b': a.base = optarg; break;
        case 'F': a.base_format = optarg; break;
        case 'u': a.unsafe = true; break;
        case 't':
        case 'T':
            if (!tool_parse_cache(optarg, c == 't' ? &a.cache : &a.source_cache, &err)) {
                return tool_fail(err);
            }
            break;
        default: return 1;
        }
    }
    if (optind != argc - 1) {
        return tool_complain("rebase needs one file's name");
    }
    if (!a.unsafe && !a.base) {
        return tool_complain("rebase needs the new backing file (-b, \"\" for none), or -u");
    }
    if (a.base && *a.base && !a.base_format) {
        return tool_complain("the new backing file's format is not given; name it with -F, as in -F qcow2");
    }
    if (a.base_format && type_enum_value(block_driver_name_names, a.base_format) < 0) {
        error_set(&err, "format '%s' is not known", a.base_format);
        error_hint_nearest(&err, a.base_format, block_driver_name_names);
        return tool_fail(err);
    }
    a.name = argv[optind];
    return rebase(m, &a);
}
