/* SPDX-License-Identifier: MIT
 * block/nbd-serve.c - NBD server: the transmission phase.
 *
 * Models: proto.md, "Transmission phase", "Request types", "Structured reply chunk types": a coroutine reads
 *         requests, each of which becomes a coroutine of its own that answers when it is done. At most
 *         NBD_IN_FLIGHT requests and NBD_IN_FLIGHT_BYTES of their buffers exist at once; then no more are
 *         read. Large reads leave zeros out.
 * Does not model: RESIZE, which is an error as any unknown command.
 * Threads: the server's loop.
 */
#include "nbd-server.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum {
    FAIR_REQUESTS = 64,
    SPARSE_MIN = 64 * 1024, /* reads from here on are looked at for zeros */
    STATUS_EXTENTS = 2048,  /* of one reply */
    STATUS_LOOKS = 8192,    /* at extents, for one reply */
    CACHE_PIECE = 1024 * 1024,
};

typedef struct Request {
    NbdConnection *c;
    unsigned type, flags;
    uint64_t handle, off;
    uint32_t len;
    uint8_t *buf; /* len bytes, or NULL */
    uint32_t cost;
    bool answered; /* all that there is to say has been said */
} Request;

/* ---- meta contexts ---- */

int nbd_context_allocation(BlockClient *c, void *opaque, int64_t off, int64_t bytes, int64_t *len,
                           uint32_t *flags)
{
    BlockExtent e;
    int r = block_extent_above(c, NULL, off, bytes, &e);
    *len = e.bytes;
    *flags = (e.data ? 0 : NBD_STATE_HOLE) | (e.zero ? NBD_STATE_ZERO : 0);
    return r;
}

/* 0: in no layer; n: in the n-th from above. */
int nbd_context_depth(BlockClient *c, void *opaque, int64_t off, int64_t bytes, int64_t *len, uint32_t *flags)
{
    BlockExtent e;
    int r = block_extent_above(c, NULL, off, bytes, &e);
    *len = e.bytes;
    *flags = e.allocated ? e.depth + 1 : 0;
    return r;
}

int nbd_context_bitmap(BlockClient *c, void *opaque, int64_t off, int64_t bytes, int64_t *len,
                       uint32_t *flags)
{
    int64_t start, dirty;
    bool any = block_bitmap_next(opaque, off, off + bytes, &start, &dirty);
    *flags = any && start == off;
    *len = !any ? bytes : *flags ? dirty : start - off;
    return 0;
}

/* ---- replies ---- */

static void send_all(NbdConnection *c, const uint8_t *head, size_t head_len, const void *data, size_t len)
{
    IoVec v;
    iov_init_buf(&v, (void *)head, head_len);
    iov_add(&v, (void *)data, len);
    co_mutex_lock(&c->send);
    if (nbd_write_iov(&c->stream, &v) < 0) {
        nbd_stream_shutdown(&c->stream); /* half a reply is the end */
    }
    co_mutex_unlock(&c->send);
    iov_fini(&v);
}

static void send_simple(const Request *r, int err)
{
    uint8_t head[NBD_SIMPLE_BYTES];
    put32(head, NBD_SIMPLE_MAGIC);
    put32(head + 4, err < 0 ? nbd_error_to_wire(err) : 0);
    put64(head + 8, r->handle);
    send_all(r->c, head, sizeof(head), r->buf, err == 0 && r->type == NBD_CMD_READ ? r->len : 0);
}

/* extra: what stands between the chunk's header and its data. */
static void send_chunk(const Request *r, unsigned type, bool done, const uint8_t *extra, size_t extra_len,
                       const void *data, size_t len)
{
    uint8_t head[NBD_CHUNK_BYTES + 12];
    put32(head, NBD_STRUCTURED_MAGIC);
    put16(head + 4, done ? NBD_CHUNK_DONE : 0);
    put16(head + 6, (uint16_t)type);
    put64(head + 8, r->handle);
    put32(head + 16, (uint32_t)(extra_len + len));
    memcpy(head + NBD_CHUNK_BYTES, extra, extra_len);
    send_all(r->c, head, NBD_CHUNK_BYTES + extra_len, data, len);
}

static void send_data(const Request *r, uint64_t off, const uint8_t *data, uint32_t len, bool done)
{
    uint8_t b[8];
    put64(b, off);
    send_chunk(r, NBD_CHUNK_DATA, done, b, sizeof(b), data, len);
}

static void send_error(Request *r, int err)
{
    uint8_t b[6];
    const char *text = g_strerror(-err);
    if (!r->c->structured) {
        send_simple(r, err);
        return;
    }
    put32(b, nbd_error_to_wire(err));
    put16(b + 4, (uint16_t)strlen(text));
    send_chunk(r, NBD_CHUNK_ERROR, true, b, sizeof(b), text, strlen(text));
}

/* ---- commands: 0 or -errno; r->answered: nothing is left to say ---- */

static BlockClient *client_of(const Request *r)
{
    return r->c->export->client;
}

static int read_into(Request *r, uint64_t off, uint32_t len)
{
    IoVec v;
    iov_init_buf(&v, r->buf + (off - r->off), len);
    return block_preadv(client_of(r), (int64_t)off, &v, 0);
}

/* A chunk for each run of data or zeros. */
static int do_sparse_read(Request *r)
{
    uint64_t at = r->off, end = r->off + r->len;
    while (at < end) {
        BlockExtent e;
        int err = block_extent_above(client_of(r), NULL, (int64_t)at, (int64_t)(end - at), &e);
        uint32_t len = err < 0 ? 0 : (uint32_t)e.bytes;
        if (err == 0 && e.zero) {
            uint8_t b[12];
            put64(b, at);
            put32(b + 8, len);
            send_chunk(r, NBD_CHUNK_HOLE, at + len == end, b, sizeof(b), NULL, 0);
        } else if (err == 0) {
            err = read_into(r, at, len);
            if (err == 0) {
                send_data(r, at, r->buf + (at - r->off), len, at + len == end);
            }
        }
        if (err < 0) {
            return err;
        }
        at += len;
    }
    r->answered = true;
    return 0;
}

static int do_read(Request *r)
{
    if (!r->c->structured) {
        return r->len ? read_into(r, r->off, r->len) : 0;
    }
    if (r->len >= SPARSE_MIN && !(r->flags & NBD_DF)) {
        return do_sparse_read(r);
    }
    int err = r->len ? read_into(r, r->off, r->len) : 0;
    if (err == 0) {
        r->answered = true;
        if (r->len) {
            send_data(r, r->off, r->buf, r->len, true);
        } else {
            send_chunk(r, NBD_CHUNK_NONE, true, (const uint8_t *)"", 0, NULL, 0);
        }
    }
    return err;
}

static int do_write(Request *r)
{
    IoVec v;
    iov_init_buf(&v, r->buf, r->len);
    return block_pwritev(client_of(r), (int64_t)r->off, &v, r->flags & NBD_FUA ? BLK_FUA : 0);
}

static int do_zeroes(Request *r)
{
    unsigned flags = (r->flags & NBD_FUA ? BLK_FUA : 0) | (r->flags & NBD_NO_HOLE ? 0 : BLK_MAY_UNMAP) |
                     (r->flags & NBD_FAST_ZERO ? BLK_NO_FALLBACK : 0);
    return block_write_zeroes(client_of(r), (int64_t)r->off, r->len, flags);
}

static int do_trim(Request *r)
{
    int err = block_discard(client_of(r), (int64_t)r->off, r->len);
    return err == 0 && r->flags & NBD_FUA ? block_flush(client_of(r)) : err;
}

/* What is cached below stays cached; the bytes go nowhere. */
static int do_cache(Request *r)
{
    for (uint64_t at = r->off, end = r->off + r->len; at < end;) {
        uint32_t len = (uint32_t)MIN(end - at, (uint64_t)CACHE_PIECE);
        IoVec v;
        iov_init_buf(&v, r->buf, len);
        int err = block_preadv(client_of(r), (int64_t)at, &v, 0);
        if (err < 0) {
            return err;
        }
        at += len;
    }
    return 0;
}

/* One context's descriptors: neighbours of equal flags are one. */
static int collect(Request *r, const NbdContext *x, GByteArray *out)
{
    uint64_t at = r->off, end = r->off + r->len, last_len = 0;
    uint32_t last_flags = 0, n = 0, most = r->flags & NBD_REQ_ONE ? 1 : STATUS_EXTENTS;
    for (unsigned looks = 0; at < end && looks < STATUS_LOOKS; looks++) {
        int64_t len;
        uint32_t flags;
        int err = x->fn(client_of(r), x->opaque, (int64_t)at, (int64_t)(end - at), &len, &flags);
        if (err < 0) {
            return err;
        }
        if (n && flags == last_flags) {
            last_len += (uint64_t)len;
            put32(out->data + out->len - 8, (uint32_t)last_len);
        } else if (n == most) {
            break;
        } else {
            uint8_t b[8];
            put32(b, (uint32_t)len);
            put32(b + 4, flags);
            g_byte_array_append(out, b, sizeof(b));
            last_len = (uint64_t)len;
            last_flags = flags;
            n++;
        }
        at += (uint64_t)len;
    }
    return 0;
}

static int do_status(Request *r)
{
    NbdConnection *c = r->c;
    if (r->len == 0 || !c->contexts) {
        return -EINVAL;
    }
    for (unsigned i = 0; i < c->export->n_contexts; i++) {
        if (!(c->contexts >> i & 1)) {
            continue;
        }
        uint8_t id[4];
        g_autoptr(GByteArray) a = g_byte_array_new();
        int err = collect(r, &c->export->contexts[i], a);
        if (err < 0) {
            return err;
        }
        put32(id, i);
        send_chunk(r, NBD_CHUNK_STATUS, !(c->contexts >> i >> 1), id, sizeof(id), a->data, a->len);
    }
    r->answered = true;
    return 0;
}

static int execute(Request *r)
{
    switch (r->type) {
    case NBD_CMD_READ: return do_read(r);
    case NBD_CMD_WRITE: return do_write(r);
    case NBD_CMD_FLUSH: return block_flush(client_of(r));
    case NBD_CMD_TRIM: return do_trim(r);
    case NBD_CMD_CACHE: return do_cache(r);
    case NBD_CMD_WRITE_ZEROES: return do_zeroes(r);
    default: return do_status(r);
    }
}

/* ---- requests come in ---- */

/* What is wrong with it, by "Error values" of the request types; 0: nothing. */
static int check(const Request *r)
{
    static const unsigned known[] = {
        [NBD_CMD_READ] = NBD_DF,   [NBD_CMD_WRITE] = 0,
        [NBD_CMD_FLUSH] = 0,       [NBD_CMD_TRIM] = 0,
        [NBD_CMD_CACHE] = 0,       [NBD_CMD_WRITE_ZEROES] = NBD_NO_HOLE | NBD_FAST_ZERO,
        [NBD_CMD_BLOCK_STATUS] = NBD_REQ_ONE,
    };
    bool writes =
        r->type == NBD_CMD_WRITE || r->type == NBD_CMD_TRIM || r->type == NBD_CMD_WRITE_ZEROES;
    if (r->type >= G_N_ELEMENTS(known) || r->flags & ~(known[r->type] | NBD_FUA) ||
        (r->flags & NBD_DF && !r->c->structured)) {
        return -EINVAL;
    }
    if (writes && !r->c->export->writable) {
        return -EPERM;
    }
    if (r->type == NBD_CMD_READ && r->len > NBD_PAYLOAD_MAX) {
        return -EINVAL;
    }
    if (r->type != NBD_CMD_FLUSH && (r->off > r->c->size || r->len > r->c->size - r->off)) {
        return writes && r->type != NBD_CMD_TRIM ? -ENOSPC : -EINVAL;
    }
    return 0;
}

static uint32_t buffer_bytes(const Request *r)
{
    return r->type == NBD_CMD_READ || r->type == NBD_CMD_WRITE ? r->len
           : r->type == NBD_CMD_CACHE                          ? MIN(r->len, (uint32_t)CACHE_PIECE)
                                                               : 0;
}

static void request_end(Request *r)
{
    NbdConnection *c = r->c;
    c->in_flight--;
    c->in_flight_bytes -= r->cost;
    Co *reader = c->reader;
    c->reader = NULL;
    free(r->buf);
    g_free(r);
    if (reader) {
        co_wake(reader);
    }
}

static void request_body(void *opaque)
{
    Request *r = opaque;
    int err = execute(r);
    if (err < 0) {
        send_error(r, err);
    } else if (!r->answered) {
        send_simple(r, 0);
    }
    request_end(r);
}

static void wait_for_room(NbdConnection *c, uint32_t cost)
{
    while (c->in_flight >= NBD_IN_FLIGHT ||
           (c->in_flight && c->in_flight_bytes + cost > NBD_IN_FLIGHT_BYTES)) {
        c->reader = co_self();
        co_yield ();
    }
}

/* Refuses one; the data of a write is still to come. False: the connection ends. */
static bool turn_down(Request *r, int err)
{
    bool ok = r->type != NBD_CMD_WRITE || nbd_skip(&r->c->stream, r->len) == 0;
    if (ok) {
        send_error(r, err);
    }
    request_end(r);
    return ok;
}

static bool next_request(NbdConnection *c)
{
    uint8_t head[NBD_REQUEST_BYTES];
    if (nbd_read(&c->stream, head, sizeof(head)) < 0 || get32(head) != NBD_REQUEST_MAGIC) {
        return false;
    }
    Request in = { .c = c,
                   .flags = get16(head + 4),
                   .type = get16(head + 6),
                   .handle = get64(head + 8),
                   .off = get64(head + 16),
                   .len = get32(head + 24) };
    /* The bytes of a write that is too long might be taken for requests: the end, as for a leaving client. */
    if (in.type == NBD_CMD_DISC || (in.type == NBD_CMD_WRITE && in.len > NBD_PAYLOAD_MAX)) {
        return false;
    }
    int err = check(&in);
    in.cost = err < 0 ? 0 : buffer_bytes(&in);
    wait_for_room(c, in.cost);
    Request *r = g_new(Request, 1);
    *r = in;
    c->in_flight++;
    c->in_flight_bytes += r->cost;
    if (err == 0 && r->cost && posix_memalign((void **)&r->buf, 4096, r->cost)) {
        r->buf = NULL;
        err = -ENOMEM;
    }
    if (err < 0) {
        return turn_down(r, err);
    }
    if (r->type == NBD_CMD_WRITE && nbd_read(&c->stream, r->buf, r->len) < 0) {
        request_end(r);
        return false;
    }
    co_enter(c->server->graph->loop, request_body, r);
    return true;
}

void nbd_transmit(NbdConnection *c)
{
    for (unsigned n = 1; next_request(c); n++) {
        if (n % FAIR_REQUESTS == 0) { /* others want the loop, too */
            co_wake(co_self());
            co_yield ();
        }
    }
    while (c->in_flight) { /* the client may wait for what it has asked before it left */
        c->reader = co_self();
        co_yield ();
    }
}
