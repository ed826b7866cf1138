/* SPDX-License-Identifier: MIT
 * block/nbd-server.c - NBD server: listeners, connections and exports come and go.
 *
 * Models: each connection is a coroutine (handshake, then transmission) on the main loop, and a coroutine for
 *         each request. When as many are connected as may be, the others wait in the kernel's queue. Whoever
 *         does not come to an end with the handshake in time is sent away.
 * Does not model: TLS.
 * Threads: main loop.
 */
#include "nbd-server.h"
#include "rhea/util/errorcode.h"
#include "rhea/util/log.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

enum { BACKLOG = 16, HANDSHAKE_SECONDS = 10 };
#define SECOND INT64_C(1000000000)

typedef struct Listener {
    NbdServer *server;
    FdWatch watch;
    char *path; /* the name to unlink, or NULL */
} Listener;

static bool full(const NbdServer *s)
{
    return s->config.max_connections && s->connections->len >= s->config.max_connections;
}

static void update_listeners(NbdServer *s)
{
    bool listen_now = !s->ending && !full(s) && !timer_armed(&s->accept_again);
    for (guint i = 0; i < s->listeners->len; i++) {
        Listener *l = s->listeners->pdata[i];
        fd_watch_set(&l->watch, listen_now ? LOOP_IN : 0);
    }
}

/* ---- connections ---- */

static void handshake_late(void *opaque)
{
    nbd_stream_shutdown(&((NbdConnection *)opaque)->stream);
}

static void connection_main(void *opaque)
{
    NbdConnection *c = opaque;
    NbdServer *s = c->server;
    if (nbd_negotiate(c)) {
        timer_cancel(&c->late);
        nbd_transmit(c);
    }
    timer_cancel(&c->late);
    nbd_stream_close(&c->stream);
    c->ended = true;
    loop_post(s->graph->loop, &s->reap); /* what is freed then must not be freed by a coroutine */
}

bool nbd_server_serve(NbdServer *s, int fd, Error **errp)
{
    role_assert_main();
    NbdConnection *c = g_new0(NbdConnection, 1);
    c->server = s;
    if (!nbd_stream_open(&c->stream, fd, errp)) {
        g_free(c);
        return false;
    }
    unsigned seconds = s->config.handshake_seconds ? s->config.handshake_seconds : HANDSHAKE_SECONDS;
    co_mutex_init(&c->send);
    timer_init(&c->late, s->graph->loop, &clock_host_monotonic, handshake_late, c);
    timer_arm(&c->late, clock_now(&clock_host_monotonic) + seconds * SECOND);
    g_ptr_array_add(s->connections, c);
    update_listeners(s);
    co_start(s->graph->loop, connection_main, c);
    return true;
}

unsigned nbd_server_connections(const NbdServer *s)
{
    return s->connections->len;
}

static void export_free(NbdExport *e)
{
    for (guint i = 0; i < e->bitmaps->len; i++) {
        ((BlockBitmap *)e->bitmaps->pdata[i])->busy--;
    }
    g_ptr_array_free(e->bitmaps, TRUE);
    block_client_free(e->client);
    for (unsigned i = 0; i < e->n_contexts; i++) {
        g_free(e->contexts[i].name);
    }
    g_free(e->id);
    g_free(e->name);
    g_free(e->description);
    g_free(e);
}

/* Removed exports that nobody uses any more. */
static void reap_exports(NbdServer *s)
{
    for (guint i = 0; i < s->exports->len;) {
        NbdExport *e = s->exports->pdata[i];
        if (!e->removed || e->users) {
            i++;
            continue;
        }
        g_ptr_array_remove_index(s->exports, i);
        g_autofree char *id = g_strdup(e->id);
        export_free(e);
        if (s->config.deleted) {
            s->config.deleted(s->config.opaque, id);
        }
    }
}

static void reap(void *opaque)
{
    NbdServer *s = opaque;
    for (guint i = 0; i < s->connections->len;) {
        NbdConnection *c = s->connections->pdata[i];
        if (!c->ended) {
            i++;
            continue;
        }
        g_ptr_array_remove_index(s->connections, i);
        bool had_export = c->export != NULL;
        if (had_export) {
            c->export->users--;
        }
        co_mutex_fini(&c->send);
        g_free(c->contexts_of);
        g_free(c);
        if (s->config.gone) {
            s->config.gone(s->config.opaque, had_export, s->connections->len);
        }
    }
    reap_exports(s);
    update_listeners(s);
}

/* ---- listeners ---- */

static void accept_again(void *opaque)
{
    update_listeners(opaque);
}

static void listener_ready(void *opaque, unsigned revents)
{
    Listener *l = opaque;
    NbdServer *s = l->server;
    int fd = accept4(l->watch.fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    g_autoptr(Error) err = NULL;
    if (fd < 0 && (errno == EMFILE || errno == ENFILE || errno == ENOMEM || errno == ENOBUFS)) {
        log_warn("NBD server: no connection can be taken: %s; trying again in a second", g_strerror(errno));
        timer_arm(&s->accept_again, clock_now(&clock_host_monotonic) + SECOND);
        update_listeners(s);
    } else if (fd >= 0 && !nbd_server_serve(s, fd, &err)) {
        log_warn("NBD server: %s", error_text(err));
    }
}

static bool listener_add(NbdServer *s, int fd, char *path, Error **errp)
{
    Listener *l = g_new0(Listener, 1);
    l->server = s;
    l->path = path;
    l->watch = (FdWatch){ .fd = fd, .ready = listener_ready, .opaque = l };
    if (!fd_watch_add(s->graph->loop, &l->watch, errp)) {
        close(fd);
        g_free(path);
        g_free(l);
        return false;
    }
    g_ptr_array_add(s->listeners, l);
    update_listeners(s);
    return true;
}

bool nbd_server_listen(NbdServer *s, const SockSpec *where, Error **errp)
{
    char *path;
    int fd = sock_listen(where, BACKLOG, &path, errp);
    return fd >= 0 && listener_add(s, fd, path, errp);
}

bool nbd_server_listen_fd(NbdServer *s, int fd, Error **errp)
{
    int listening = 0;
    socklen_t len = sizeof(listening);
    if (getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listening, &len) < 0 || !listening) {
        close(fd);
        return error_fail(errp, "invalid-value", "addr", "pass a socket that listens",
                          "descriptor %d is not a listening socket", fd);
    }
    sock_tune(fd);
    return listener_add(s, fd, NULL, errp);
}

static void listener_free(void *opaque)
{
    Listener *l = opaque;
    fd_watch_remove(&l->watch);
    close(l->watch.fd);
    if (l->path) {
        unlink(l->path);
    }
    g_free(l->path);
    g_free(l);
}

/* ---- exports ---- */

NbdExport *nbd_server_export(const NbdServer *s, const char *name, size_t len)
{
    for (guint i = 0; i < s->exports->len; i++) {
        NbdExport *e = s->exports->pdata[i];
        if (!e->removed && strlen(e->name) == len && memcmp(e->name, name, len) == 0) {
            return e;
        }
    }
    return NULL;
}

uint16_t nbd_export_flags(const NbdConnection *c, const NbdExport *e)
{
    unsigned flags = NBD_HAS_FLAGS | NBD_SEND_FLUSH | NBD_SEND_FUA | NBD_SEND_CACHE;
    flags |= e->writable ? NBD_SEND_TRIM | NBD_SEND_WRITE_ZEROES | NBD_SEND_FAST_ZERO : NBD_READ_ONLY;
    flags |= c->structured ? NBD_SEND_DF : 0;
    /* All connections are one user of one node: a flush by any covers the writes of all. */
    flags |= c->server->config.max_connections != 1 ? NBD_CAN_MULTI_CONN : 0;
    return (uint16_t)flags;
}

void nbd_export_add_context(NbdExport *e, const char *name, NbdContextFn *fn, void *opaque)
{
    g_assert(e->n_contexts < NBD_CONTEXTS);
    e->contexts[e->n_contexts++] = (NbdContext){ .name = g_strdup(name), .fn = fn, .opaque = opaque };
}

NbdExport *nbd_export_add(NbdServer *s, const NbdExportConfig *config, Error **errp)
{
    role_assert_main();
    const char *id = config->id ? config->id : config->name;
    if (strlen(config->name) > NBD_STRING_MAX ||
        (config->description && strlen(config->description) > NBD_STRING_MAX)) {
        error_fail(errp, "too-large", "name", "shorten them",
                   "an export's name and description have at most %d bytes", NBD_STRING_MAX);
        return NULL;
    }
    if (nbd_server_export(s, config->name, strlen(config->name))) {
        error_fail(errp, "already-exists", "name", "give another name",
                   "there is already an NBD export with name '%s'", config->name);
        return NULL;
    }
    unsigned perm = BLOCK_PERM_READ | (config->writable ? BLOCK_PERM_WRITE : 0);
    g_autofree char *user = g_strdup_printf("NBD export %s", config->name);
    BlockClient *client = block_client_new(config->node, user, perm, config->shared, errp);
    if (!client) {
        return NULL;
    }
    block_client_set_write_through(client, config->write_through);
    NbdExport *e = g_new0(NbdExport, 1);
    e->server = s;
    e->id = g_strdup(id);
    e->name = g_strdup(config->name);
    e->description = g_strdup(config->description);
    e->client = client;
    e->writable = config->writable;
    e->bitmaps = g_ptr_array_new();
    nbd_export_add_context(e, "base:allocation", nbd_context_allocation, NULL);
    if (config->allocation_depth) {
        nbd_export_add_context(e, "qemu:allocation-depth", nbd_context_depth, NULL);
    }
    g_ptr_array_add(s->exports, e);
    return e;
}

BlockBitmap *nbd_find_bitmap(BlockNode *n, const char *name, Error **errp)
{
    for (BlockNode *at = n; at;) {
        BlockBitmap *b = block_bitmap_find(at, name);
        if (b) {
            return b;
        }
        BlockNode *below = at->driver->filter ? block_file(at) : block_backing(at);
        bool window = below && at->driver->filter && block_size(below) != block_size(at);
        at = window ? NULL : below;
    }
    error_fail(errp, "not-found", NULL, "block-dirty-bitmap-add makes one",
               "there is no dirty bitmap '%s' on node '%s' or below", name, block_name(n));
    return NULL;
}

bool nbd_export_add_bitmap(NbdExport *e, BlockBitmap *b, Error **errp)
{
    g_autofree char *context = g_strdup_printf("qemu:dirty-bitmap:%s", b->name);
    for (unsigned i = 0; i < e->n_contexts; i++) {
        if (g_str_equal(e->contexts[i].name, context)) {
            return error_fail(errp, "already-exists", "bitmaps", "name each once",
                              "the export has dirty bitmap '%s' already", b->name);
        }
    }
    if (!block_bitmap_usable(b, errp)) {
        return false;
    }
    if (b->recording && !e->writable && !block_is_read_only(b->node)) {
        error_fail(errp, "in-use", "bitmaps", NULL,
                   "dirty bitmap '%s' is recording, but the export is for reading", b->name);
        error_hint(errp, "disable it first (block-dirty-bitmap-disable): what a client sees would change");
        return false;
    }
    if (e->n_contexts == NBD_CONTEXTS) {
        return error_fail(errp, "too-many", "bitmaps", "make several exports",
                          "an export has at most %d meta contexts", NBD_CONTEXTS);
    }
    b->busy++;
    g_ptr_array_add(e->bitmaps, b);
    nbd_export_add_context(e, context, nbd_context_bitmap, b);
    return true;
}

NbdExport *nbd_export_find(const NbdServer *s, const char *id)
{
    for (guint i = 0; i < s->exports->len; i++) {
        NbdExport *e = s->exports->pdata[i];
        if (g_str_equal(e->id, id)) {
            return e;
        }
    }
    return NULL;
}

void nbd_export_foreach(const NbdServer *s, void (*fn)(const NbdExport *e, void *opaque), void *opaque)
{
    for (guint i = 0; i < s->exports->len; i++) {
        fn(s->exports->pdata[i], opaque);
    }
}

void nbd_export_abandon(NbdExport *e)
{
    g_assert(e->users == 0);
    g_ptr_array_remove(e->server->exports, e);
    export_free(e);
}

bool nbd_export_remove(NbdExport *e, bool hard, Error **errp)
{
    role_assert_main();
    NbdServer *s = e->server;
    if (e->users && !hard) {
        error_fail(errp, "in-use", "id", NULL,
                   "export '%s' is in use by %u connection%s", e->id, e->users, e->users > 1 ? "s" : "");
        error_hint(errp, "mode=hard ends them");
        return false;
    }
    e->removed = true;
    for (guint i = 0; i < s->connections->len; i++) {
        NbdConnection *c = s->connections->pdata[i];
        if (c->export == e && !c->ended) {
            nbd_stream_shutdown(&c->stream);
        }
    }
    loop_post(s->graph->loop, &s->reap);
    return true;
}

const char *nbd_export_id(const NbdExport *e)
{
    return e->id;
}

const char *nbd_export_name(const NbdExport *e)
{
    return e->name;
}

BlockNode *nbd_export_node(const NbdExport *e)
{
    return block_client_node(e->client);
}

bool nbd_export_removed(const NbdExport *e)
{
    return e->removed;
}

/* ---- the server ---- */

NbdServer *nbd_server_new(BlockGraph *g, const NbdServerConfig *config)
{
    role_assert_main();
    NbdServer *s = g_new0(NbdServer, 1);
    s->graph = g;
    s->config = *config;
    s->listeners = g_ptr_array_new_with_free_func(listener_free);
    s->connections = g_ptr_array_new();
    s->exports = g_ptr_array_new();
    s->reap = (Task){ .run = reap, .opaque = s };
    timer_init(&s->accept_again, g->loop, &clock_host_monotonic, accept_again, s);
    return s;
}

void nbd_server_free(NbdServer *s)
{
    if (!s) {
        return;
    }
    role_assert_main();
    s->ending = true;
    timer_cancel(&s->accept_again);
    g_ptr_array_free(s->listeners, TRUE);
    s->listeners = g_ptr_array_new();
    for (guint i = 0; i < s->connections->len; i++) {
        NbdConnection *c = s->connections->pdata[i];
        if (!c->ended) {
            nbd_stream_shutdown(&c->stream);
        }
    }
    for (guint i = 0; i < s->exports->len; i++) {
        ((NbdExport *)s->exports->pdata[i])->removed = true;
    }
    loop_post(s->graph->loop, &s->reap);
    while (s->connections->len || s->exports->len) {
        loop_turn(s->graph->loop, true);
    }
    loop_unpost(s->graph->loop, &s->reap);
    g_ptr_array_free(s->listeners, TRUE);
    g_ptr_array_free(s->connections, TRUE);
    g_ptr_array_free(s->exports, TRUE);
    g_free(s);
}
