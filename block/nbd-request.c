/* SPDX-License-Identifier: MIT
 * block/nbd-request.c - driver nbd: requests, and the replies that end them.
 *
 * Models: proto.md, "Transmission": many requests in flight, told apart by handles; simple and structured
 *         replies in any order. A reply must be one to a request that waits, of a kind that fits it, and a
 *         read must get each byte once: anything else ends the connection. Requests are cut to the server's
 *         block sizes; what is smaller than its smallest block is read, changed and written.
 * Threads: requests on any loop; the receiver on the main loop.
 */
#include "nbd-client.h"

#include <errno.h>
#include <string.h>

enum { FAIR_MESSAGES = 64, MESSAGE_MAX = NBD_STRING_MAX + 64, STATUS_MAX = 1024 * 1024 };

/* ---- who waits ---- */

static void list_add(CoList *l, CoWaiter *w)
{
    *(l->first ? &l->last->next : &l->first) = w;
    l->last = w;
}

static void list_wake(CoList *l, bool all)
{
    CoWaiter *w;
    while ((w = l->first)) {
        l->first = w->next; /* w lies on the stack of the one that is woken */
        co_wake(w->co);
        if (!all) {
            return;
        }
    }
}

void nbd_set_state(NbdClient *s, NbdState state)
{
    pthread_mutex_lock(&s->lock);
    s->state = state == NBD_WAITING && s->impatient ? NBD_FAILING : state;
    if (s->state != NBD_WAITING) {
        list_wake(&s->waiting, true);
    }
    pthread_mutex_unlock(&s->lock);
}

void nbd_end_waiting(NbdClient *s)
{
    pthread_mutex_lock(&s->lock);
    s->impatient = s->in_use > 0;
    if (s->state == NBD_WAITING) {
        s->state = NBD_FAILING;
        list_wake(&s->waiting, true);
    }
    pthread_mutex_unlock(&s->lock);
}

static int slot_take(NbdClient *s, NbdRequest *r)
{
    pthread_mutex_lock(&s->lock);
    while (s->state == NBD_WAITING || (s->state == NBD_CONNECTED && s->in_use == NBD_SLOTS)) {
        CoWaiter me = { .co = co_self() };
        list_add(&s->waiting, &me);
        pthread_mutex_unlock(&s->lock);
        co_yield ();
        pthread_mutex_lock(&s->lock);
    }
    bool ok = s->state == NBD_CONNECTED;
    if (ok) {
        r->slot = 0;
        while (s->slots[r->slot]) {
            r->slot++;
        }
        s->slots[r->slot] = r;
        s->in_use++;
        s->impatient = false;
        r->handle = ++s->serial << 8 | r->slot;
        r->co = co_self();
        r->waiting = r->done = r->lost = r->has_status = false;
        r->result = 0;
        r->front = 0;
    }
    pthread_mutex_unlock(&s->lock);
    return ok ? 0 : -EIO;
}

static void slot_drop(NbdClient *s, NbdRequest *r)
{
    Co *drainer = NULL;
    pthread_mutex_lock(&s->lock);
    s->slots[r->slot] = NULL;
    if (--s->in_use == 0) {
        drainer = s->drainer;
        s->drainer = NULL;
    }
    list_wake(&s->waiting, false);
    pthread_mutex_unlock(&s->lock);
    if (drainer) {
        co_wake(drainer);
    }
    if (r->pieces) {
        g_array_free(r->pieces, TRUE);
        r->pieces = NULL;
    }
}

void nbd_drop_requests(NbdClient *s, NbdState next)
{
    nbd_set_state(s, next);
    pthread_mutex_lock(&s->lock);
    for (unsigned i = 0; i < NBD_SLOTS; i++) {
        NbdRequest *r = s->slots[i];
        if (r && !r->done) {
            r->done = r->lost = true;
            if (r->waiting) {
                co_wake(r->co);
            }
        }
    }
    bool wait = s->in_use > 0;
    s->drainer = wait ? co_self() : NULL;
    pthread_mutex_unlock(&s->lock);
    if (wait) {
        co_yield ();
    }
}

/* ---- asking ---- */

static bool request_done(NbdClient *s, NbdRequest *r, bool wait)
{
    pthread_mutex_lock(&s->lock);
    bool done = r->done;
    r->waiting = wait && !done;
    pthread_mutex_unlock(&s->lock);
    return done;
}

static void request_send(NbdClient *s, NbdRequest *r)
{
    uint8_t head[NBD_REQUEST_BYTES];
    IoVec v;
    put32(head, NBD_REQUEST_MAGIC);
    put16(head + 4, r->flags);
    put16(head + 6, r->type);
    put64(head + 8, r->handle);
    put64(head + 16, r->off);
    put32(head + 24, r->len);
    iov_init_buf(&v, head, sizeof(head));
    if (r->type == NBD_CMD_WRITE) {
        iov_add_slice(&v, r->v, r->v_off, r->len);
    }
    if (nbd_write_iov(&s->stream, &v) < 0) {
        nbd_stream_shutdown(&s->stream); /* the receiver sees it and tells everybody */
    }
    iov_fini(&v);
}

int nbd_request(NbdClient *s, NbdRequest *r)
{
    int64_t until = 0;
    for (;;) {
        int err = slot_take(s, r);
        if (err < 0) {
            return err;
        }
        co_mutex_lock(&s->send);
        if (!request_done(s, r, false)) { /* else the connection was lost meanwhile */
            request_send(s, r);
        }
        co_mutex_unlock(&s->send);
        if (!request_done(s, r, true)) {
            co_yield ();
        }
        bool lost = r->lost;
        slot_drop(s, r);
        int64_t now = clock_now(&clock_host_monotonic);
        until = until ? until : now + (int64_t)s->delay_s * INT64_C(1000000000);
        if (!lost || now >= until) {
            return lost ? -EIO : r->result;
        }
    }
}

/* ---- replies ---- */

static bool lost(int r, Error **errp)
{
    return error_set(errp, "%s", nbd_read_problem(r));
}

static NbdRequest *find(NbdClient *s, uint64_t handle, Error **errp)
{
    pthread_mutex_lock(&s->lock);
    NbdRequest *r = (handle & 0xff) < NBD_SLOTS ? s->slots[handle & 0xff] : NULL;
    if (r && (r->handle != handle || r->done)) {
        r = NULL;
    }
    pthread_mutex_unlock(&s->lock);
    if (!r) {
        error_set(errp, "the server answers a request that nobody made");
    }
    return r;
}

/* The request is its owner's again. */
static void finish(NbdClient *s, NbdRequest *r)
{
    pthread_mutex_lock(&s->lock);
    r->done = true;
    if (r->waiting) {
        co_wake(r->co);
    }
    pthread_mutex_unlock(&s->lock);
}

static bool receive_simple(NbdClient *s, const uint8_t *head, Error **errp)
{
    NbdRequest *r = find(s, get64(head + 8), errp);
    uint32_t error = get32(head + 4);
    if (!r) {
        return false;
    }
    bool has_data = r->type == NBD_CMD_READ || r->type == NBD_CMD_BLOCK_STATUS;
    if (has_data && (s->info.structured || r->type != NBD_CMD_READ)) {
        return error_set(errp, "the server answers by a simple reply where a structured one must be");
    }
    r->result = error ? nbd_error_from_wire(error) : 0;
    if (!error && has_data) {
        int e = nbd_read_iov(&s->stream, r->v, r->v_off, r->len);
        if (e < 0) {
            return lost(e, errp);
        }
    }
    finish(s, r);
    return true;
}

/* Notes [from, from + len) as read. */
static bool cover(NbdRequest *r, uint64_t off, uint64_t len, Error **errp)
{
    if (len == 0 || off < r->off || off - r->off > r->len || len > r->len - (off - r->off)) {
        return error_set(errp, "the server sends bytes of the disk that were not asked for");
    }
    NbdRange p = { (uint32_t)(off - r->off), (uint32_t)(off - r->off + len) };
    bool twice = p.from < r->front;
    for (unsigned i = 0; r->pieces && i < r->pieces->len; i++) {
        const NbdRange *o = &g_array_index(r->pieces, NbdRange, i);
        twice = twice || (p.from < o->to && o->from < p.to);
    }
    if (twice) {
        return error_set(errp, "the server sends bytes of the disk twice");
    }
    if (p.from > r->front) {
        if (!r->pieces) {
            r->pieces = g_array_new(FALSE, FALSE, sizeof(NbdRange));
        }
        if (r->pieces->len == NBD_GAPS) {
            return error_set(errp, "the server sends a read in more than %d pieces out of order", NBD_GAPS);
        }
        g_array_append_val(r->pieces, p);
        return true;
    }
    r->front = p.to;
    for (unsigned i = 0; r->pieces && i < r->pieces->len;) {
        const NbdRange *o = &g_array_index(r->pieces, NbdRange, i);
        if (o->from == r->front) {
            r->front = o->to;
            g_array_remove_index_fast(r->pieces, i);
            i = 0;
        } else {
            i++;
        }
    }
    return true;
}

static bool chunk_data(NbdClient *s, NbdRequest *r, uint32_t len, Error **errp)
{
    uint8_t b[8];
    if (r->type != NBD_CMD_READ || len <= sizeof(b)) {
        return error_set(errp, "the server sends data of %u bytes that do not fit the request", len);
    }
    int e = nbd_read(&s->stream, b, sizeof(b));
    len -= (uint32_t)sizeof(b);
    if (e == 0) {
        if (!cover(r, get64(b), len, errp)) {
            return false;
        }
        e = nbd_read_iov(&s->stream, r->v, r->v_off + (size_t)(get64(b) - r->off), len);
    }
    return e == 0 || lost(e, errp);
}

static bool chunk_hole(NbdClient *s, NbdRequest *r, uint32_t len, Error **errp)
{
    uint8_t b[12];
    if (r->type != NBD_CMD_READ || len != sizeof(b)) {
        return error_set(errp, "the server sends a hole that does not fit the request");
    }
    int e = nbd_read(&s->stream, b, sizeof(b));
    if (e < 0) {
        return lost(e, errp);
    }
    if (!cover(r, get64(b), get32(b + 8), errp)) {
        return false;
    }
    iov_fill(r->v, r->v_off + (size_t)(get64(b) - r->off), 0, get32(b + 8));
    return true;
}

/* One descriptor was asked for; what follows it is not used. */
static bool chunk_status(NbdClient *s, NbdRequest *r, uint32_t len, Error **errp)
{
    uint8_t b[12];
    if (r->type != NBD_CMD_BLOCK_STATUS || len < sizeof(b) || len > STATUS_MAX || (len - 4) % 8) {
        return error_set(errp, "the server sends a block status of %u bytes that does not fit the request",
                         len);
    }
    int e = nbd_read(&s->stream, b, sizeof(b));
    e = e < 0 ? e : nbd_skip(&s->stream, len - sizeof(b));
    if (e < 0) {
        return lost(e, errp);
    }
    uint32_t bytes = get32(b + 4);
    if (get32(b) != s->info.context_id || r->has_status || bytes == 0) {
        return error_set(errp, "the server's block status makes no sense");
    }
    r->has_status = true;
    r->status_len = MIN(bytes, r->len);
    r->status_flags = get32(b + 8);
    return true;
}

static bool chunk_error(NbdClient *s, NbdRequest *r, unsigned type, uint32_t len, Error **errp)
{
    uint8_t b[MESSAGE_MAX];
    if (len < 6 || len > sizeof(b)) {
        return error_set(errp, "the server sends an error of %u bytes", len);
    }
    int e = nbd_read(&s->stream, b, len);
    if (e < 0) {
        return lost(e, errp);
    }
    uint32_t tail = type == NBD_CHUNK_ERROR_OFFSET ? 8 : 0;
    bool known = type == NBD_CHUNK_ERROR || type == NBD_CHUNK_ERROR_OFFSET;
    if (known && get16(b + 4) + 6 + tail != len) {
        return error_set(errp, "the server sends an error of %u bytes whose text does not fit", len);
    }
    r->result = r->result ? r->result : nbd_error_from_wire(get32(b));
    return true;
}

static bool receive_chunk(NbdClient *s, const uint8_t *head, Error **errp)
{
    unsigned flags = get16(head + 4), type = get16(head + 6);
    uint32_t len = get32(head + 16);
    NbdRequest *r = find(s, get64(head + 8), errp);
    bool ok;
    if (!r) {
        return false;
    }
    switch (type) {
    case NBD_CHUNK_NONE:
        ok = (len == 0 && flags & NBD_CHUNK_DONE) ||
             error_set(errp, "the server sends an empty chunk that is not the last, or is not empty");
        break;
    case NBD_CHUNK_DATA: ok = chunk_data(s, r, len, errp); break;
    case NBD_CHUNK_HOLE: ok = chunk_hole(s, r, len, errp); break;
    case NBD_CHUNK_STATUS: ok = chunk_status(s, r, len, errp); break;
    default:
        ok = type & 0x8000 ? chunk_error(s, r, type, len, errp)
                           : error_set(errp, "the server sends a chunk of unknown type %u", type);
        break;
    }
    if (!ok || !(flags & NBD_CHUNK_DONE)) {
        return ok;
    }
    if (r->result == 0 && ((r->type == NBD_CMD_READ && r->front != r->len) ||
                           (r->type == NBD_CMD_BLOCK_STATUS && !r->has_status))) {
        return error_set(errp, "the server ends a reply before all of it has come");
    }
    finish(s, r);
    return true;
}

bool nbd_receive(NbdClient *s, Error **errp)
{
    uint8_t head[NBD_CHUNK_BYTES];
    if (s->received++ % FAIR_MESSAGES == 0) { /* others want the loop, too */
        co_wake(co_self());
        co_yield ();
    }
    int e = nbd_read(&s->stream, head, NBD_SIMPLE_BYTES);
    if (e == 0 && get32(head) == NBD_SIMPLE_MAGIC) {
        return receive_simple(s, head, errp);
    }
    if (e == 0 && (get32(head) != NBD_STRUCTURED_MAGIC || !s->info.structured)) {
        return error_set(errp, "the server sends a reply with the wrong magic number 0x%08x", get32(head));
    }
    if (e == 0) {
        e = nbd_read(&s->stream, head + NBD_SIMPLE_BYTES, NBD_CHUNK_BYTES - NBD_SIMPLE_BYTES);
    }
    return e == 0 ? receive_chunk(s, head, errp) : lost(e, errp);
}

/* ---- the driver's functions ---- */

/* Whole blocks within the export, in pieces that the server takes. */
static int transfer(NbdClient *s, unsigned type, unsigned flags, int64_t off, const IoVec *v)
{
    int e = 0;
    for (size_t at = 0; e == 0 && at < v->bytes;) {
        NbdRequest r = { .type = (uint16_t)type,
                         .flags = (uint16_t)flags,
                         .off = (uint64_t)off + at,
                         .len = (uint32_t)MIN(v->bytes - at, (size_t)s->info.max_block),
                         .v = v,
                         .v_off = at };
        e = nbd_request(s, &r);
        at += r.len;
    }
    return e;
}

static bool whole_blocks(const NbdClient *s, int64_t off, size_t len)
{
    return !((off | (int64_t)len) & (s->info.min_block - 1));
}

/* Reads the blocks around a range. g_free. */
static uint8_t *read_around(NbdClient *s, int64_t off, size_t len, IoVec *all, int64_t *from, int *e)
{
    int64_t unit = s->info.min_block, to = (off + (int64_t)len + unit - 1) & -unit;
    *from = off & -unit;
    uint8_t *buf = g_malloc((gsize)(to - *from));
    iov_init_buf(all, buf, (size_t)(to - *from));
    *e = transfer(s, NBD_CMD_READ, 0, *from, all);
    return buf;
}

int nbd_preadv(BlockNode *n, int64_t off, IoVec *v, unsigned flags)
{
    NbdClient *s = n->state;
    int64_t left = block_size(n) - off;
    IoVec part, *use = v;
    if (left < (int64_t)v->bytes) { /* a format reads past the end: zeros */
        left = MAX(left, 0);
        iov_fill(v, (size_t)left, 0, v->bytes - (size_t)left);
        iov_init(&part);
        iov_add_slice(&part, v, 0, (size_t)left);
        use = &part;
    }
    int e = 0;
    if (use->bytes && whole_blocks(s, off, use->bytes)) {
        e = transfer(s, NBD_CMD_READ, 0, off, use);
    } else if (use->bytes) {
        IoVec all;
        int64_t from;
        g_autofree uint8_t *buf = read_around(s, off, use->bytes, &all, &from, &e);
        if (e == 0) {
            iov_from_buf(use, 0, buf + (off - from), use->bytes);
        }
    }
    if (use == &part) {
        iov_fini(&part);
    }
    return e;
}

static unsigned fua(const NbdClient *s, unsigned flags)
{
    return flags & BLK_FUA && !s->node->no_flush ? NBD_FUA : 0;
}

int nbd_pwritev(BlockNode *n, int64_t off, IoVec *v, unsigned flags)
{
    NbdClient *s = n->state;
    if (flags & BLK_COMPRESSED) {
        return -ENOTSUP;
    }
    if (off > block_size(n) || (int64_t)v->bytes > block_size(n) - off) {
        return -ENOSPC;
    }
    if (s->info.min_block == 1) {
        return transfer(s, NBD_CMD_WRITE, fua(s, flags), off, v);
    }
    CoRange range;
    int64_t unit = s->info.min_block, from = off & -unit;
    bool whole = whole_blocks(s, off, v->bytes);
    int e = 0;
    co_range_claim(&s->ranges, &range, from, (off + (int64_t)v->bytes + unit - 1) & -unit, !whole);
    if (whole) {
        e = transfer(s, NBD_CMD_WRITE, fua(s, flags), off, v);
    } else {
        IoVec all;
        g_autofree uint8_t *buf = read_around(s, off, v->bytes, &all, &from, &e);
        if (e == 0) {
            iov_to_buf(v, 0, buf + (off - from), v->bytes);
            e = transfer(s, NBD_CMD_WRITE, fua(s, flags), from, &all);
        }
    }
    co_range_release(&s->ranges, &range);
    return e;
}

static int simple_request(NbdClient *s, unsigned type, unsigned flags, int64_t off, int64_t bytes)
{
    NbdRequest r = {
        .type = (uint16_t)type, .flags = (uint16_t)flags, .off = (uint64_t)off, .len = (uint32_t)bytes
    };
    return nbd_request(s, &r);
}

int nbd_write_zeroes(BlockNode *n, int64_t off, int64_t bytes, unsigned flags)
{
    NbdClient *s = n->state;
    unsigned f = flags & BLK_MAY_UNMAP ? 0 : NBD_NO_HOLE;
    bool fast = s->info.flags & NBD_SEND_FAST_ZERO;
    if (!(s->info.flags & NBD_SEND_WRITE_ZEROES) || (flags & BLK_NO_FALLBACK && !fast) ||
        !whole_blocks(s, off, (size_t)bytes)) {
        return -ENOTSUP;
    }
    if (off > block_size(n) || bytes > block_size(n) - off) {
        return -ENOSPC;
    }
    f |= flags & BLK_NO_FALLBACK ? NBD_FAST_ZERO : 0;
    return simple_request(s, NBD_CMD_WRITE_ZEROES, f, off, bytes);
}

int nbd_discard(BlockNode *n, int64_t off, int64_t bytes)
{
    NbdClient *s = n->state;
    if (!(s->info.flags & NBD_SEND_TRIM) || !whole_blocks(s, off, (size_t)bytes) ||
        off > block_size(n) || bytes > block_size(n) - off) {
        return -ENOTSUP;
    }
    return simple_request(s, NBD_CMD_TRIM, 0, off, bytes);
}

int nbd_flush(BlockNode *n)
{
    NbdClient *s = n->state;
    if (n->no_flush || !(s->info.flags & NBD_SEND_FLUSH)) {
        return 0;
    }
    return simple_request(s, NBD_CMD_FLUSH, 0, 0, 0);
}

int nbd_extent(BlockNode *n, int64_t off, int64_t bytes, BlockExtent *out)
{
    NbdClient *s = n->state;
    *out = (BlockExtent){ .bytes = bytes, .data = true, .allocated = true, .host = n, .host_off = off };
    if (!s->info.has_context || off >= block_size(n)) {
        return 0;
    }
    int64_t unit = s->info.min_block, from = off & -unit;
    int64_t ask = MIN(block_size(n) - from, (INT64_C(1) << 32) - unit);
    ask = MIN(ask, (off - from + bytes + unit - 1) & -unit);
    NbdRequest r = { .type = NBD_CMD_BLOCK_STATUS,
                     .flags = NBD_REQ_ONE,
                     .off = (uint64_t)from,
                     .len = (uint32_t)ask };
    int e = nbd_request(s, &r);
    if (e < 0) {
        return e;
    }
    if (from + r.status_len > off) { /* else the server has cut a block in two */
        out->bytes = MIN(bytes, from + (int64_t)r.status_len - off);
        bool hole = r.status_flags & NBD_STATE_HOLE;
        out->zero = r.status_flags & NBD_STATE_ZERO;
        out->data = s->asked_context ? !hole : !hole || !out->zero;
    } else {
        out->bytes = MIN(bytes, unit - (off - from));
    }
    return 0;
}

bool nbd_truncate(BlockNode *n, int64_t size, int prealloc, Error **errp)
{
    if (size > block_size(n)) {
        return error_set(errp, "'%s' has %" PRId64 " bytes and cannot grow", n->filename, block_size(n));
    }
    return true; /* as a device: the rest is there and is not used */
}
