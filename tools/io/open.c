/* SPDX-License-Identifier: MIT
 * tools/io/open.c - open, close, reopen.
 *
 * Models: qemu-io's commands. An image is reopened by closing it and opening it with changed options; when
 *         that fails it is open as it was before. Threads: the main thread.
 */
#include "io.h"
#include "rhea/util/log.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* Other tools may read an image that is being written here, as with qemu-io. */
static bool client_new(Io *io, BlockNode *n, bool share, Error **errp)
{
    unsigned perm = BLOCK_PERM_READ;
    if (!block_is_read_only(n)) {
        perm |= BLOCK_PERM_WRITE | BLOCK_PERM_RESIZE;
    }
    unsigned shared = share ? BLOCK_PERM_ALL : BLOCK_PERM_READ | BLOCK_PERM_WRITE_UNCHANGED;
    io->client = block_client_new(n, "rhea-io", perm, shared, errp);
    if (io->client) {
        block_client_set_write_through(io->client, io->write_through);
    }
    return io->client != NULL;
}

static bool open_node(Io *io, bool share, Error **errp)
{
    BlockNode *n = block_open(io->graph, io->options, io->from_text, errp);
    if (n && io->snapshot) {
        BlockNode *above = block_open_temporary(n, NULL, errp);
        block_unref(n);
        n = above;
    }
    bool ok = n && client_new(io, n, share, errp);
    block_unref(n);
    return ok;
}

/* What `text` says goes over what `to` has. */
static bool merge(Json *to, bool to_is_text, const char *text, Error **errp)
{
    bool is_text;
    g_autoptr(Json) more = keyval_parse(text, NULL, &is_text, errp);
    if (!more) {
        return false;
    }
    if (to_is_text != is_text) {
        return error_set(errp, "'%s': key=value text and JSON do not mix", text);
    }
    json_object_object_foreach(more, key, value)
    {
        Json *inner = json_member(to, key, NULL);
        if (inner && json_kind(inner) == JSON_OBJECT && json_kind(value) == JSON_OBJECT) {
            json_object_object_foreach(value, k2, v2)
            {
                json_put(inner, k2, json_ref(v2));
            }
        } else {
            json_put(to, key, json_ref(value));
        }
    }
    return true;
}

static char *driver_in(const char *text)
{
    bool is_text;
    g_autoptr(Json) o = keyval_parse(text, NULL, &is_text, NULL);
    return o ? g_strdup(json_get_string(json_member(o, "driver", NULL))) : NULL;
}

/* The options that `open -o OPTIONS [NAME]` means. */
static Json *named_options(const char *name, const char *options, bool *from_text, Error **errp)
{
    if (!name) {
        return keyval_parse(options, NULL, from_text, errp);
    }
    if (g_str_has_prefix(name, "json:")) {
        error_set(errp, "-o and a name that carries options itself, '%s', exclude each other", name);
        return NULL;
    }
    g_autofree char *driver = driver_in(options);
    Json *o = block_image_options(name, driver, errp);
    *from_text = true;
    if (o && !merge(o, true, options, errp)) {
        g_clear_pointer(&o, json_unref);
    }
    return o;
}

static bool guessed_raw(const char *name, const IoOpen *how, const Json *o)
{
    const char *driver = json_get_string(json_member(o, "driver", NULL));
    return !how->format && !how->image_opts && !how->options && driver && g_str_equal(driver, "raw") &&
           !g_str_has_prefix(name, "json:");
}

static const char *discard_name(const char *text)
{
    return !g_strcmp0(text, "on") ? "unmap" : !g_strcmp0(text, "off") ? "ignore" : text;
}

static bool prepare(Io *io, const char *name, const IoOpen *how, Error **errp)
{
    if (how->share && !how->read_only) {
        error_set(errp, "-U needs -r");
        error_hint(errp, "two writers of one image destroy it");
        return false;
    }
    if (how->copy_on_read && how->read_only) {
        return error_set(errp, "-C writes to the image: it excludes -r");
    }
    ToolImage i = { .name = name,
                    .format = how->format,
                    .image_opts = how->image_opts,
                    .writable = !how->read_only && !how->snapshot,
                    .share = how->share,
                    .cache = &how->cache,
                    .aio = how->aio,
                    .discard = discard_name(how->discard) };
    io->from_text = false;
    if (how->options) {
        io->options = named_options(name, how->options, &io->from_text, errp);
        if (io->options) {
            tool_complete_options(&i, io->options, io->from_text);
        }
    } else {
        io->options = tool_image_options(&i, &io->from_text, errp);
    }
    io->read_only = how->read_only;
    io->snapshot = how->snapshot;
    io->write_through = how->cache.write_through;
    return io->options != NULL;
}

/* The same nodes below a filter that writes what it reads into the image. */
static void add_copy_on_read(Io *io)
{
    Json *o = json_put(json_new_object(), "driver", json_new_string("copy-on-read"));
    json_put(o, "read-only", json_ref(json_member(io->options, "read-only", NULL)));
    json_put(o, "file", io->options);
    io->options = o;
}

bool io_open(Io *io, const char *name, const IoOpen *how, Error **errp)
{
    if (io->client) {
        return error_set(errp, "file open already, try 'help close'");
    }
    bool ok = prepare(io, name, how, errp);
    if (ok) {
        bool guard = !how->read_only && guessed_raw(name, how, io->options);
        if (how->copy_on_read) {
            add_copy_on_read(io);
        }
        ok = open_node(io, how->share, errp);
        if (ok && guard) {
            log_warn("the format of '%s' is not given and looks raw; writes that would make its beginning "
                     "look like another format are refused (-f raw permits them)",
                     name);
            block_guard_format(block_skip_filters(block_client_node(io->client)));
        }
    }
    if (!ok) {
        g_clear_pointer(&io->options, json_unref);
    }
    return ok;
}

void io_close(Io *io)
{
    block_debug_remove_break(block_client_node(io->client), NULL);
    io_cmd_aio_flush(io, 0, NULL);
    block_client_free(io->client);
    io->client = NULL;
    g_clear_pointer(&io->options, json_unref);
}

int io_cmd_close(Io *io, int argc, char **argv)
{
    io_close(io);
    return 0;
}

int io_cmd_open(Io *io, int argc, char **argv)
{
    IoOpen how = { 0 };
    Error *err = NULL;
    const char *cache = NULL;
    for (int c; (c = io_getopt(argc, argv, "snCro:ki:t:d:U")) != -1;) {
        switch (c) {
        case 's': how.snapshot = true; break;
        case 'n': cache = "none"; break;
        case 'C': how.copy_on_read = true; break;
        case 'r': how.read_only = true; break;
        case 'k': how.aio = "native"; break;
        case 'i': how.aio = optarg; break;
        case 't': cache = optarg; break;
        case 'd': how.discard = optarg; break;
        case 'U': how.share = true; break;
        case 'o': how.options = optarg; break;
        default: return 1;
        }
    }
    if (optind < argc - 1 || (optind == argc && !how.options)) {
        return io_usage(argv[0]);
    }
    if ((cache && !tool_parse_cache(cache, &how.cache, &err)) || !io_open(io, argv[optind], &how, &err)) {
        return tool_fail(err);
    }
    return 0;
}

/* ---- reopen ---- */

static void set_flag(const Io *io, Json *o, const char *key, bool on)
{
    json_put(o, key, io->from_text ? json_new_string(on ? "on" : "off") : json_new_bool(on));
}

/* An inline child says read-only by itself only when the user wrote so: it follows. */
static Json *changed_options(Io *io, int read_only, const ToolCache *cache, const char *text, Error **errp)
{
    g_autofree char *copy = json_format(io->options, false);
    Json *o = json_parse(copy, -1, errp);
    if (!o) {
        return NULL;
    }
    if (text && !merge(o, io->from_text, text, errp)) {
        json_unref(o);
        return NULL;
    }
    if (read_only >= 0) {
        set_flag(io, o, "read-only", read_only);
    }
    if (cache) {
        Json *c = json_new_object();
        set_flag(io, c, "direct", cache->direct);
        set_flag(io, c, "no-flush", cache->no_flush);
        json_put(o, "cache", c);
    }
    return o;
}

static bool reopen(Io *io, int read_only, const ToolCache *cache, const char *text, Error **errp)
{
    if (io->snapshot) {
        return error_set(errp, "an image below a temporary file (-s) cannot be reopened: its writes would "
                               "be lost");
    }
    Json *fresh = changed_options(io, read_only, cache, text, errp), *old = io->options;
    if (!fresh) {
        return false;
    }
    block_debug_remove_break(block_client_node(io->client), NULL);
    io_cmd_aio_flush(io, 0, NULL);
    block_client_free(io->client);
    bool was_through = io->write_through;
    io->client = NULL;
    io->options = fresh;
    io->write_through = cache ? cache->write_through : was_through;
    if (open_node(io, false, errp)) {
        json_unref(old);
        io->read_only = read_only >= 0 ? read_only : io->read_only;
        return true;
    }
    json_unref(fresh);
    io->options = old;
    io->write_through = was_through;
    Error *again = NULL;
    if (!open_node(io, false, &again)) {
        error_hint(errp, "and it cannot be opened as it was: %s", error_text(again));
        error_free(again);
        g_clear_pointer(&io->options, json_unref);
    }
    return false;
}

int io_cmd_reopen(Io *io, int argc, char **argv)
{
    int read_only = -1;
    const char *text = NULL;
    ToolCache cache;
    bool has_cache = false;
    Error *err = NULL;
    for (int c; (c = io_getopt(argc, argv, "c:o:rw")) != -1;) {
        switch (c) {
        case 'c':
            if (!tool_parse_cache(optarg, &cache, &err)) {
                return tool_fail(err);
            }
            has_cache = true;
            break;
        case 'o':
            if (text) {
                return io_usage(argv[0]);
            }
            text = optarg;
            break;
        case 'r':
        case 'w':
            if (read_only >= 0) {
                return tool_complain("Only one -r/-w option may be given");
            }
            read_only = c == 'r';
            break;
        default: return 1;
        }
    }
    if (optind != argc) {
        return io_usage(argv[0]);
    }
    if (has_cache && text && strstr(text, "cache.")) {
        return tool_complain("Cannot set both -c and the cache options");
    }
    return reopen(io, read_only, has_cache ? &cache : NULL, text, &err) ? 0 : tool_fail(err);
}
