/* SPDX-License-Identifier: MIT
 * block/node.c - the graph: opening nodes, naming them, who uses whom.
 *
 * Models: a directed graph without cycles: an edge leads to a node that existed before its parent was ready.
 * Threads: all of it on the main loop's thread.
 */
#include "block/trace.h"
#include "internal.h"
#include "rhea/block/bitmap.h"
#include "rhea/util/errorcode.h"
#include "rhea/util/text.h"

#include <string.h>

const BlockDriver *const block_drivers[BLOCK_DRIVER_NAME__COUNT + 1] = {
    [BLOCK_DRIVER_NAME_FILE] = &block_file_driver,
    [BLOCK_DRIVER_NAME_HOST_DEVICE] = &block_host_device_driver,
    [BLOCK_DRIVER_NAME_NBD] = &block_nbd_driver,
    [BLOCK_DRIVER_NAME_NULL_CO] = &block_null_driver,
    [BLOCK_DRIVER_NAME_RAW] = &block_raw_driver,
    [BLOCK_DRIVER_NAME_QCOW2] = &block_qcow2_driver,
    [BLOCK_DRIVER_NAME_BLKDEBUG] = &block_blkdebug_driver,
    [BLOCK_DRIVER_NAME_BLKLOGWRITES] = &block_blklogwrites_driver,
    [BLOCK_DRIVER_NAME_THROTTLE] = &block_throttle_driver,
    [BLOCK_DRIVER_NAME_COPY_ON_READ] = &block_copy_on_read_driver,
};

static void graph_drained(void *opaque)
{
    /* That it ran has ended the turn in which somebody waits. */
}

BlockGraph *block_graph_new(Loop *main_loop)
{
    role_assert_main();
    BlockGraph *g = g_new0(BlockGraph, 1);
    g->loop = main_loop;
    g->workers = worker_pool_new(BLOCK_WORKERS);
    g->nodes = g_ptr_array_new();
    g->throttles = g_ptr_array_new();
    g->drained = (Task){ .run = graph_drained };
    return g;
}

void block_graph_free(BlockGraph *g)
{
    if (!g) {
        return;
    }
    role_assert_main();
    g_assert(g->nodes->len == 0 && g->throttles->len == 0);
    worker_pool_free(g->workers);
    while (__atomic_load_n(&g->drained.queued, __ATOMIC_ACQUIRE)) {
        loop_turn(g->loop, false);
    }
    g_ptr_array_free(g->nodes, TRUE);
    g_ptr_array_free(g->throttles, TRUE);
    g_free(g);
}

Loop *block_graph_loop(const BlockGraph *g)
{
    return g->loop;
}

WorkerPool *block_graph_workers(const BlockGraph *g)
{
    return g->workers;
}

/* Nodes */

static BlockNode *node_new(BlockGraph *g, const BlockDriver *driver)
{
    BlockNode *n = g_new0(BlockNode, 1);
    n->driver = driver;
    n->graph = g;
    n->refs = 1;
    n->edges_down = g_ptr_array_new();
    n->edges_up = g_ptr_array_new();
    n->align = n->zero_align = 1;
    n->max_zeroes = BLOCK_MAX_SIZE;
    n->shared = BLOCK_PERM_ALL;
    n->filename = g_strdup("");
    n->name = g_strdup(""); /* found by nobody */
    n->state = g_malloc0(driver->state_size + 1);
    pthread_mutex_init(&n->bitmap_lock, NULL);
    g_ptr_array_add(g->nodes, n);
    return n;
}

static void node_destroy(BlockNode *n)
{
    g_assert(n->edges_up->len == 0);
    trace_block_node_close(n->name, n->driver->name);
    n->driver->close(n);
    block_bitmaps_free(n);
    for (unsigned i = n->edges_down->len; i-- > 0;) {
        BlockEdge *e = g_ptr_array_index(n->edges_down, i);
        block_edge_remove(e);
        g_free(e);
    }
    g_ptr_array_free(n->edges_down, TRUE);
    g_ptr_array_free(n->edges_up, TRUE);
    g_ptr_array_remove(n->graph->nodes, n);
    json_unref(n->options);
    pthread_mutex_destroy(&n->bitmap_lock);
    g_free(n->state);
    g_free(n->filename);
    g_free(n->name);
    g_free(n);
}

void block_foreach(const BlockGraph *g, void (*fn)(BlockNode *n, void *opaque), void *opaque)
{
    for (guint i = 0; i < g->nodes->len; i++) {
        fn(g->nodes->pdata[i], opaque);
    }
}

void block_give_up(BlockGraph *g)
{
    role_assert_main();
    for (guint i = 0; i < g->nodes->len; i++) {
        BlockNode *n = g->nodes->pdata[i];
        if (n->driver->give_up) {
            n->driver->give_up(n);
        }
    }
}

BlockNode *block_ref(BlockNode *n)
{
    n->refs++;
    return n;
}

void block_unref(BlockNode *n)
{
    role_assert_main();
    if (n && --n->refs == 0) {
        node_destroy(n);
    }
}

void block_guard_format(BlockNode *n)
{
    n->guarded = true;
}

BlockNode *block_find(const BlockGraph *g, const char *name)
{
    for (unsigned i = 0; i < g->nodes->len; i++) {
        BlockNode *n = g_ptr_array_index(g->nodes, i);
        if (strcmp(n->name, name) == 0) {
            return n;
        }
    }
    return NULL;
}

static bool node_set_name(BlockNode *n, const char *name, Error **errp)
{
    if (!name) {
        g_free(n->name);
        n->name = g_strdup_printf("#block%03u", n->graph->next_name++);
        return true;
    }
    if (!(text_is_id(name) && strlen(name) <= 31)) {
        error_fail(errp, "invalid-value", "node-name", NULL, "'%s' is not a valid node name", name);
        error_hint(errp, "a name is a letter, then up to 30 letters, digits, '-', '.' and '_'");
        return false;
    }
    if (block_find(n->graph, name)) {
        return error_fail(errp, "already-exists", "node-name", "give another name",
                          "node name '%s' is in use", name);
    }
    g_free(n->name);
    n->name = g_strdup(name);
    return true;
}

static bool node_configure(BlockNode *n, const BlockdevOptions *o, Error **errp)
{
    n->read_only = o->read_only;
    n->force_share = o->force_share;
    n->direct = o->has_cache && o->cache.direct;
    n->no_flush = o->has_cache && o->cache.no_flush;
    n->discard = o->discard;
    n->detect_zeroes = o->detect_zeroes;
    if (o->force_share && !o->read_only) {
        error_fail(errp, "conflict", "force-share", NULL, "force-share=on needs read-only=on");
        error_hint(errp, "two writers of one image destroy it");
        return false;
    }
    if (o->detect_zeroes == BLOCK_DETECT_ZEROES_UNMAP && o->discard != BLOCK_DISCARD_UNMAP) {
        return error_fail(errp, "conflict", "detect-zeroes", "use discard=unmap as well, or detect-zeroes=on",
                          "detect-zeroes=unmap needs discard=unmap");
    }
    return true;
}

static BlockNode *open_probed(BlockGraph *g, const Json *options, bool from_text, Error **errp);

BlockNode *block_open(BlockGraph *g, const Json *options, bool from_text, Error **errp)
{
    role_assert_main();
    BlockdevOptions o;
    bool has_driver, has_file;
    json_member(options, "driver", &has_driver);
    json_member(options, "file", &has_file);
    if (!has_driver && has_file) {
        return open_probed(g, options, from_text, errp);
    }
    if (g->depth >= BLOCK_MAX_DEPTH) {
        error_fail(errp, "too-many", NULL, NULL,
                   "more than %d nodes lie on top of each other", BLOCK_MAX_DEPTH);
        error_hint(errp, "does an image name itself as its backing file?");
        return NULL;
    }
    if (!type_decode(&blockdev_options_type, options, from_text, &o, errp)) {
        return NULL;
    }
    BlockNode *n = node_new(g, block_drivers[o.driver]);
    n->options = json_ref((Json *)options);
    n->from_text = from_text;
    bool found;
    const Json *backing = json_member(options, "backing", &found);
    n->backing_is_null = found && json_kind(backing) == JSON_NULL;
    g->depth++;
    bool ok = node_set_name(n, o.node_name, errp) && node_configure(n, &o, errp) &&
              n->driver->open(n, &o, from_text, errp);
    g->depth--;
    type_clear(&blockdev_options_type, &o);
    if (!ok) {
        node_destroy(n);
        return NULL;
    }
    trace_block_node_open(n->name, n->driver->name, n->filename, block_size(n));
    return n;
}

/* Edges */

static void inherit_bool(Json *to, const char *key, bool value, bool from_text)
{
    bool found;
    json_member(to, key, &found);
    if (!found) {
        json_put(to, key, from_text ? json_new_string(value ? "on" : "off") : json_new_bool(value));
    }
}

/* A node described inside another one gets that one's modes unless it says otherwise. */
static Json *inherit(const BlockNode *n, const char *role, const Json *ref, bool from_text)
{
    Json *o = json_new_object();
    json_object_object_foreach((Json *)ref, key, value)
    {
        json_put(o, key, json_ref(value));
    }
    bool backing = strcmp(role, "backing") == 0, found;
    inherit_bool(o, "read-only", backing || n->read_only, from_text);
    inherit_bool(o, "force-share", n->force_share, from_text);
    json_member(o, "discard", &found);
    if (!found && !backing) {
        json_put(o, "discard", json_new_string(block_discard_names[n->discard]));
    }
    json_member(o, "cache", &found);
    if (!found) {
        Json *cache = json_new_object();
        inherit_bool(cache, "direct", n->direct, from_text);
        inherit_bool(cache, "no-flush", n->no_flush, from_text);
        json_put(o, "cache", cache);
    }
    return o;
}

static BlockNode *attach_find(BlockNode *n, const char *role, const Json *ref, bool from_text, Error **errp)
{
    const char *name = json_get_string(ref);
    if (name) {
        BlockNode *below = block_find(n->graph, name);
        if (!below) {
            error_fail(errp, "not-found", role, "query-named-block-nodes lists the nodes",
                       "'%s' of node '%s': there is no node '%s'", role, n->name, name);
            return NULL;
        }
        if (below == n) {
            error_fail(errp, "conflict", role, "name another node",
                       "node '%s' cannot lie on top of itself", name);
            return NULL;
        }
        return block_ref(below);
    }
    if (json_kind(ref) != JSON_OBJECT) {
        error_fail(errp, "wrong-type", role, "blockdev-add takes both",
                   "'%s' of node '%s' must be a node's name or its options", role, n->name);
        return NULL;
    }
    g_autoptr(Json) options = inherit(n, role, ref, from_text);
    return block_open(n->graph, options, from_text, errp);
}

BlockEdge *block_attach(BlockNode *n, const char *role, const Json *ref, bool from_text, Error **errp)
{
    BlockNode *below = attach_find(n, role, ref, from_text, errp);
    if (!below) {
        return NULL;
    }
    BlockEdge *e = g_new0(BlockEdge, 1);
    *e = (BlockEdge){ .node = below, .parent = n, .role = role };
    block_child_perm(n, e, &e->perm, &e->shared);
    bool ok = block_edge_add(e, errp);
    block_unref(below);
    if (!ok) {
        g_free(e);
        return NULL;
    }
    g_ptr_array_add(n->edges_down, e);
    if (strcmp(role, "file") == 0 || strcmp(role, "image") == 0) {
        n->file = e;
        g_free(n->filename);
        n->filename = g_strdup(below->filename);
    } else if (strcmp(role, "backing") == 0) {
        n->backing = e;
    } else if (strcmp(role, "data-file") == 0) {
        n->data_file = e;
    }
    return e;
}

/* Opens the node below as the format above it would, and looks what it holds. */
static BlockNode *open_below(BlockGraph *g, const Json *options, bool from_text, Error **errp)
{
    static const char *const handed_down[] = { "read-only", "force-share", "discard", "cache", "file" };
    BlockdevOptions o;
    g_autoptr(Json) some = json_put(json_new_object(), "driver", json_new_string("raw"));
    for (unsigned i = 0; i < G_N_ELEMENTS(handed_down); i++) {
        bool found;
        Json *v = json_member(options, handed_down[i], &found);
        if (found) {
            json_put(some, handed_down[i], json_ref(v));
        }
    }
    if (!type_decode(&blockdev_options_type, some, from_text, &o, errp)) {
        return NULL;
    }
    BlockNode *n = node_new(g, &block_raw_driver);
    BlockNode *below = NULL;
    if (node_configure(n, &o, errp)) {
        below = attach_find(n, "file", o.u.raw.file, from_text, errp);
    }
    type_clear(&blockdev_options_type, &o);
    node_destroy(n);
    return below;
}

/* A node without a driver, but with one below: the content there says what it is. */
static BlockNode *open_probed(BlockGraph *g, const Json *options, bool from_text, Error **errp)
{
    BlockNode *below = open_below(g, options, from_text, errp), *n = NULL;
    const char *format = below ? block_probe_node(below, errp) : NULL;
    if (format) {
        g_autoptr(Json) all = json_new_object();
        json_object_object_foreach((Json *)options, key, value)
        {
            json_put(all, key, json_ref(value));
        }
        json_put(all, "driver", json_new_string(format));
        json_put(all, "file", json_new_string(below->name));
        n = block_open(g, all, from_text, errp);
    }
    block_unref(below);
    return n;
}

/* Views */

const char *block_name(const BlockNode *n)
{
    return n->name;
}

const char *block_driver_name(const BlockNode *n)
{
    return n->driver->name;
}

const char *block_filename(const BlockNode *n)
{
    return n->filename;
}

const char *block_label(const BlockNode *n)
{
    while (!*n->filename && n->file) {
        n = n->file->node;
    }
    return *n->filename ? n->filename : n->name;
}

int64_t block_size(const BlockNode *n)
{
    return __atomic_load_n(&n->size, __ATOMIC_ACQUIRE);
}

bool block_is_read_only(const BlockNode *n)
{
    return n->read_only;
}

BlockNode *block_backing(const BlockNode *n)
{
    const BlockEdge *e = block_skip_filters((BlockNode *)n)->backing;
    return e ? e->node : NULL;
}

BlockNode *block_file(const BlockNode *n)
{
    return n->file ? n->file->node : NULL;
}

BlockNode *block_data_file(const BlockNode *n)
{
    return n->data_file ? n->data_file->node : NULL;
}

int64_t block_allocated_bytes(const BlockNode *n)
{
    if (n->driver->allocated_bytes) {
        return n->driver->allocated_bytes(n);
    }
    int64_t sum = 0;
    for (unsigned i = 0; i < n->edges_down->len; i++) {
        const BlockEdge *e = g_ptr_array_index(n->edges_down, i);
        if (e != n->backing && e != n->data_file) { /* as qemu-img counts */
            int64_t bytes = block_allocated_bytes(e->node);
            sum = bytes < 0 || sum < 0 ? -1 : sum + bytes;
        }
    }
    return sum;
}
