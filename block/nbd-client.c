/* SPDX-License-Identifier: MIT
 * block/nbd-client.c - driver nbd: opening, the coroutine that receives, reconnecting, closing.
 *
 * Models: one connection. A coroutine on the main loop reads replies; when the connection ends it tries to
 *         get a new one, after 1, 2, 4, 8, then every 16 seconds. Requests wait for that during the first
 *         `reconnect-delay` seconds and are sent again; then they fail until there is one.
 * Does not model: TLS, several connections.
 * Threads: connection and timers on the main loop; requests on any (nbd-request.c).
 */
#include "nbd-client.h"
#include "rhea/util/log.h"

#include <errno.h>
#include <string.h>

#define SECOND INT64_C(1000000000)
enum { ATTEMPT_SECONDS = 30, RETRY_MAX_SECONDS = 16 };

static int64_t now(void)
{
    return clock_now(&clock_host_monotonic);
}

/* ---- waiting ---- */

static void wake_sleeper(void *opaque)
{
    NbdClient *s = opaque;
    Co *co = s->sleeper;
    s->sleeper = NULL;
    if (co) {
        co_wake(co);
    }
}

static void client_sleep(NbdClient *s, int64_t seconds)
{
    s->sleeper = co_self();
    timer_arm(&s->retry, now() + seconds * SECOND);
    co_yield ();
}

static void waited_enough(void *opaque)
{
    nbd_end_waiting(opaque);
}

/* ---- connecting ---- */

static void attempt_late(void *opaque)
{
    nbd_stream_shutdown(&((NbdClient *)opaque)->stream);
}

/* What the node was opened with must still be true. */
static bool same_export(const NbdClient *s, const NbdInfo *i, Error **errp)
{
    const BlockNode *n = s->node;
    if ((int64_t)i->size != block_size(n)) {
        return error_set(errp, "the export has %" PRIu64 " bytes now, not %" PRId64, i->size, block_size(n));
    }
    if (i->flags & NBD_READ_ONLY && !n->read_only) {
        return error_set(errp, "the export is read-only now");
    }
    if (i->min_block > s->info.min_block || i->max_block < s->info.max_block) {
        return error_set(errp, "the export wants blocks of %u to %u bytes now", i->min_block, i->max_block);
    }
    unsigned needed = s->info.flags & ~(unsigned)(NBD_READ_ONLY | NBD_CAN_MULTI_CONN | NBD_ROTATIONAL);
    if (needed & ~i->flags || i->structured != s->info.structured || i->has_context != s->info.has_context) {
        return error_set(errp, "the server cannot do all that it could before");
    }
    return true;
}

/* One attempt; `info` is what the server says. */
static bool attempt(NbdClient *s, NbdInfo *info, bool *final, Error **errp)
{
    NbdTarget t = {
        .server = nbd_address(&s->address), .export_name = s->export_name, .context = s->context
    };
    int64_t deadline = now() + ATTEMPT_SECONDS * SECOND;
    *final = false;
    int fd = nbd_connect(s->node->graph, &t.server, deadline, &s->closing, errp);
    if (fd < 0 || !nbd_stream_open(&s->stream, fd, errp)) {
        return false;
    }
    Timer late;
    timer_init(&late, s->node->graph->loop, &clock_host_monotonic, attempt_late, s);
    timer_arm(&late, deadline);
    bool ok = nbd_handshake(&s->stream, &t, info, final, errp);
    timer_cancel(&late);
    if (ok && s->asked_context && !info->has_context) {
        *final = true;
        ok = error_set(errp, "the server does not have meta context '%s'", s->context);
    }
    if (!ok) {
        g_clear_pointer(&info->description, g_free);
        nbd_stream_close(&s->stream);
    }
    return ok;
}

/* Until there is a connection. The first attempt comes at once, unless the last connection did not live long.
 * False: the node is being closed. */
static bool reconnect(NbdClient *s, int64_t lived)
{
    bool said = false, final;
    for (int64_t pause = lived < SECOND;; pause = pause ? MIN(pause * 2, (int64_t)RETRY_MAX_SECONDS) : 1) {
        NbdInfo info;
        g_autoptr(Error) err = NULL;
        if (pause && !s->closing) {
            client_sleep(s, pause);
        }
        if (s->closing) {
            return false;
        }
        if (attempt(s, &info, &final, &err)) {
            g_free(info.description);
            info.description = NULL;
            if (same_export(s, &info, &err)) {
                s->info.context_id = info.context_id;
                return true;
            }
            nbd_stream_close(&s->stream);
        }
        if (!s->closing) {
            log_warn_once(&said, "'%s': %s; trying again", s->where, error_text(err));
        }
    }
}

static void client_main(void *opaque)
{
    NbdClient *s = opaque;
    while (!s->closing) {
        g_autoptr(Error) err = NULL;
        int64_t since = now();
        nbd_set_state(s, NBD_CONNECTED);
        while (nbd_receive(s, &err)) {
        }
        bool once = s->address.type == BLOCK_SOCKET_TYPE_FD;
        if (!s->closing) {
            log_warn("'%s': %s%s", s->where, error_text(err), once ? "" : "; connecting again");
        }
        nbd_stream_shutdown(&s->stream);
        nbd_drop_requests(s, s->delay_s && !once && !s->closing ? NBD_WAITING : NBD_FAILING);
        nbd_stream_close(&s->stream);
        if (s->delay_s) {
            timer_arm(&s->give_up, now() + (int64_t)s->delay_s * SECOND);
        }
        bool again = !once && reconnect(s, now() - since);
        timer_cancel(&s->give_up);
        if (!again) {
            break;
        }
    }
    nbd_set_state(s, NBD_FAILING);
    if (s->stream.fd >= 0) {
        nbd_stream_close(&s->stream);
    }
    s->running = false;
    if (s->closer) {
        co_wake(s->closer);
    }
}

/* ---- opening ---- */

typedef struct OpenCall {
    NbdClient *s;
    int64_t until;
    Error *err;
    bool ok;
} OpenCall;

static void open_body(void *opaque)
{
    OpenCall *c = opaque;
    for (int64_t pause = 1;; pause = MIN(pause * 2, (int64_t)RETRY_MAX_SECONDS)) {
        bool final;
        c->ok = attempt(c->s, &c->s->info, &final, &c->err);
        int64_t left = c->until - now();
        if (c->ok || final || left <= 0) {
            return;
        }
        error_free(c->err);
        c->err = NULL;
        client_sleep(c->s, MIN(pause, left / SECOND + 1));
    }
}

static bool take_modes(NbdClient *s, const BlockdevOptions *o, Error **errp)
{
    BlockNode *n = s->node;
    if (s->info.flags & NBD_READ_ONLY && !n->read_only) {
        if (!o->auto_read_only) {
            error_set(errp, "'%s' is exported for reading only", s->where);
            error_hint(errp, "read-only=on or auto-read-only=on opens it so");
            return false;
        }
        n->read_only = true;
    }
    node_set_size(n, (int64_t)s->info.size);
    n->zero_align = s->info.min_block;
    n->max_zeroes = 1024 * 1024 * 1024;
    n->fua = s->info.flags & NBD_SEND_FUA;
    return true;
}

static bool check_text(const char *name, const char *text, Error **errp)
{
    return strlen(text) <= NBD_STRING_MAX ||
           error_set(errp, "'%s' is longer than %d bytes", name, NBD_STRING_MAX);
}

static bool nbd_open(BlockNode *n, const BlockdevOptions *o, bool from_text, Error **errp)
{
    NbdClient *s = n->state;
    const BlockNbd *b = &o->u.nbd;
    s->node = n;
    s->stream.fd = -1;
    s->state = NBD_FAILING;
    g_autoptr(Json) address = type_encode(&block_socket_address_type, &b->server);
    type_decode(&block_socket_address_type, address, false, &s->address, &error_abort_slot);
    s->export_name = g_strdup(b->export ? b->export : "");
    s->asked_context = b->x_dirty_bitmap != NULL;
    s->context = g_strdup(s->asked_context ? b->x_dirty_bitmap : "base:allocation");
    s->delay_s = b->reconnect_delay;
    SockSpec where = nbd_address(&s->address);
    s->where = nbd_url_text(&where, s->export_name);
    g_free(n->filename);
    n->filename = g_strdup(s->where);
    pthread_mutex_init(&s->lock, NULL);
    co_mutex_init(&s->send);
    co_range_init(&s->ranges);
    timer_init(&s->retry, n->graph->loop, &clock_host_monotonic, wake_sleeper, s);
    timer_init(&s->give_up, n->graph->loop, &clock_host_monotonic, waited_enough, s);
    s->ready = true;
    if (!check_text("export", s->export_name, errp) || !check_text("x-dirty-bitmap", s->context, errp)) {
        return false;
    }
    OpenCall c = { .s = s, .until = now() + (int64_t)b->open_timeout * SECOND };
    co_run_sync(n->graph->loop, open_body, &c);
    if (!c.ok) {
        error_propagate(errp, c.err);
        error_prefix(errp, "'%s'", s->where);
        return false;
    }
    g_clear_pointer(&s->info.description, g_free);
    s->running = true;
    s->state = NBD_CONNECTED;
    co_start(n->graph->loop, client_main, s);
    return take_modes(s, o, errp);
}

/* ---- closing ---- */

static void close_body(void *opaque)
{
    NbdClient *s = opaque;
    if (s->stream.fd >= 0) {
        uint8_t bye[NBD_REQUEST_BYTES] = { 0 };
        put32(bye, NBD_REQUEST_MAGIC);
        put16(bye + 6, NBD_CMD_DISC);
        if (s->state == NBD_CONNECTED) { /* nobody else writes now; a full socket does without */
            send(s->stream.fd, bye, sizeof(bye), MSG_NOSIGNAL);
        }
        nbd_stream_shutdown(&s->stream);
    }
    timer_cancel(&s->retry);
    wake_sleeper(s);
    s->closer = co_self();
    co_yield ();
}

static void nbd_close(BlockNode *n)
{
    NbdClient *s = n->state;
    if (!s->ready) {
        return;
    }
    s->closing = true;
    if (s->running) {
        co_run_sync(n->graph->loop, close_body, s);
    }
    timer_cancel(&s->give_up);
    timer_cancel(&s->retry);
    co_range_fini(&s->ranges);
    co_mutex_fini(&s->send);
    pthread_mutex_destroy(&s->lock);
    type_clear(&block_socket_address_type, &s->address);
    g_free(s->export_name);
    g_free(s->context);
    g_free(s->where);
}

static void nbd_give_up(BlockNode *n)
{
    nbd_end_waiting(n->state);
}

static int64_t nbd_allocated_bytes(const BlockNode *n)
{
    return -1;
}

const BlockDriver block_nbd_driver = {
    .name = "nbd",
    .state_size = sizeof(NbdClient),
    .open = nbd_open,
    .close = nbd_close,
    .allocated_bytes = nbd_allocated_bytes,
    .give_up = nbd_give_up,
    .preadv = nbd_preadv,
    .pwritev = nbd_pwritev,
    .write_zeroes = nbd_write_zeroes,
    .discard = nbd_discard,
    .flush = nbd_flush,
    .extent = nbd_extent,
    .truncate = nbd_truncate,
};
