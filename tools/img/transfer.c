/* SPDX-License-Identifier: MIT
 * tools/img/transfer.c - rhea-img: the copy of images to another, for convert and dd.
 *
 * Models: several coroutines take the next piece of the source in turn, read it, and write what is not zero;
 *         without -W they write in the order of the pieces, so that the target's clusters lie in order.
 * Compressed clusters are packed anyway and written as they get ready. From page cache to page cache the
 * pieces are short enough to be in the processor's cache when they are written.
 * Threads: the main thread; compression is done by the block layer's workers.
 */
#include "convert.h"
#include "rhea/block/copy.h"
#include "rhea/util/log.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

/* Eight pieces fit into a processor's cache; what is not in the host's is better asked for in larger ones. */
enum { PIECE = 2 << 20, BUFFERED_PIECE = 128 << 10, POLL_NS = 300000 };
enum { DATA, ZERO, BELOW }; /* of a piece; BELOW: the target's backing file has it */

static ConvertSource *source_at(Convert *k, int64_t at)
{
    for (unsigned i = 0; i < k->sources->len; i++) {
        ConvertSource *s = &g_array_index(k->sources, ConvertSource, i);
        if (at >= s->start && at < s->start + s->size) {
            return s;
        }
    }
    return NULL;
}

/* Sources begin at whole sectors: what lies behind the end of one, or behind the last, are zeros. */
static int64_t gap_end(const Convert *k, int64_t at)
{
    for (unsigned i = 0; i < k->sources->len; i++) {
        const ConvertSource *s = &g_array_index(k->sources, ConvertSource, i);
        if (s->start > at) {
            return s->start;
        }
    }
    return k->total;
}

static void fail(Convert *k, int r, int64_t at, bool reading)
{
    if (!k->error) {
        k->error = r;
        k->error_at = at;
        k->error_read = reading;
    }
}

/* What one coroutine has at hand. */
typedef struct Piece {
    int64_t at, len;
    int kind;
    bool turn_over; /* the next piece may be written */
    uint8_t *buf;
} Piece;

/* Turns: a piece is written when all before it have been. */
typedef struct Turn {
    uint64_t piece;
    Co *co;
} Turn;

static void turn_wait(Convert *k, uint64_t piece)
{
    while (!k->any_order && k->next_write != piece) {
        Turn t = { piece, co_self() };
        g_queue_push_tail(&k->waiting, &t);
        co_yield ();
    }
}

static void turn_done(Convert *k)
{
    k->next_write++;
    for (GList *l = k->waiting.head; l; l = l->next) {
        Turn *t = l->data;
        if (t->piece == k->next_write) {
            g_queue_delete_link(&k->waiting, l);
            co_wake(t->co);
            return;
        }
    }
}

/* A new target reads as zeros already, also behind the end of its backing file. */
static int write_zero_run(Convert *k, int64_t at, int64_t len)
{
    if (k->base_size >= 0) {
        len = MIN(len, k->base_size - at);
    }
    return k->target_zero || len <= 0 ? 0
                                      : block_write_zeroes(k->target, at, len, k->sparse ? BLK_MAY_UNMAP : 0);
}

static int write_run(Convert *k, const uint8_t *buf, int64_t at, int64_t len)
{
    IoVec v;
    iov_init_buf(&v, (uint8_t *)buf, (size_t)len);
    return block_pwritev(k->target, at, &v, k->compressed ? BLK_COMPRESSED : 0);
}

/* Behind the last request of a piece the next piece's may queue up: the target's metadata goes by the order
 * of asking, and the file's writer always has something to do. */
static int write_last(Convert *k, Piece *p, int64_t from, int64_t len)
{
    p->turn_over = true;
    turn_done(k);
    return write_run(k, p->buf + from, p->at + from, len);
}

/* Zeros of at least `sparse` bytes become gaps; shorter ones are written with their neighbours. */
static int write_data(Convert *k, Piece *p)
{
    const uint8_t *data = p->buf;
    int64_t len = p->len, unit = k->sparse, from = 0;
    int r = 0;
    if (k->compressed || !k->sparse) {
        bool zero = k->sparse && buf_is_zero(data, (size_t)len);
        return zero ? write_zero_run(k, p->at, len) : write_last(k, p, 0, len);
    }
    while (from < len && r == 0) {
        int64_t to = from + MIN(unit, len - from);
        bool zero = buf_is_zero(data + from, (size_t)(to - from));
        while (to < len) {
            int64_t next = MIN(unit, len - to);
            if (buf_is_zero(data + to, (size_t)next) != zero) {
                break;
            }
            to += next;
        }
        r = zero       ? write_zero_run(k, p->at + from, to - from)
            : to < len ? write_run(k, data + from, p->at + from, to - from)
                       : write_last(k, p, from, to - from);
        from = to;
    }
    return r;
}

static int read_piece(Convert *k, const ConvertSource *s, uint8_t *buf, int64_t at, int64_t len)
{
    IoVec v;
    iov_init_buf(&v, buf, (size_t)len);
    int r = block_preadv(s->c, at - s->start, &v, 0);
    if (r == 0 || !k->salvage) {
        return r;
    }
    for (int64_t p = 0; p < len; p += 512) { /* what cannot be read becomes zeros */
        int64_t n = MIN(len - p, 512);
        iov_init_buf(&v, buf + p, (size_t)n);
        if (block_preadv(s->c, at + p - s->start, &v, 0) < 0) {
            if (!k->m->quiet) {
                log_warn("cannot read the sector at offset %" PRId64 "; it becomes zeros", at + p);
            }
            memset(buf + p, 0, (size_t)n);
        }
    }
    return 0;
}

/* What lies at `at`, as far as it is of one kind. */
static int look(Convert *k, const ConvertSource *s, int64_t at, int64_t room, int64_t *len)
{
    if (at >= k->seen.end) {
        BlockExtent e = { .bytes = MIN(room, k->piece) };
        int r = 0;
        bool top_only = k->base_size >= 0;
        if (top_only) {
            r = block_extent(s->c, at - s->start, room, &e);
        } else if (k->sparse || k->compressed) {
            r = block_extent_above(s->c, NULL, at - s->start, room, &e);
        }
        if (r < 0) {
            *len = MIN(room, 512);
            return k->salvage ? DATA : r;
        }
        k->seen.end = at + e.bytes;
        k->seen.kind = top_only && !e.allocated ? BELOW : e.zero && k->sparse ? ZERO : DATA;
    }
    *len = MIN(k->seen.end - at, room);
    return k->seen.kind;
}

/* The next piece: within one source, of one kind, at most PIECE bytes of data; any length of what is not
 * copied. Its kind, or -errno. */
static int next_piece(Convert *k, int64_t *at, int64_t *len)
{
    *at = k->at;
    ConvertSource *s = source_at(k, *at);
    int kind = ZERO;
    if (s) {
        kind = look(k, s, *at, s->start + s->size - *at, len);
    } else {
        *len = gap_end(k, *at) - *at;
    }
    if (kind < 0) {
        return kind;
    }
    if (k->compressed) { /* whole clusters, each by itself; short gaps are read with what is around them */
        int64_t end = MIN((*at + k->cluster) / k->cluster * k->cluster, k->total);
        bool whole = kind != DATA && *at % k->cluster == 0 && (*len >= k->cluster || *at + *len == k->total);
        kind = whole ? kind : DATA;
        *len = whole && *at + *len < k->total ? *len / k->cluster * k->cluster : whole ? *len : end - *at;
    } else if (kind == DATA) {
        *len = MIN(*len, k->piece - *at % k->piece);
    }
    return kind;
}

/* A compressed cluster may reach over the border of two sources, or behind the last. */
static int read_across(Convert *k, uint8_t *buf, int64_t at, int64_t len)
{
    int r = 0;
    while (len > 0 && r == 0) {
        ConvertSource *s = source_at(k, at);
        int64_t n = MIN(len, (s ? s->start + s->size : gap_end(k, at)) - at);
        if (s) {
            r = read_piece(k, s, buf, at, n);
        } else {
            memset(buf, 0, (size_t)n);
        }
        buf += n;
        at += n;
        len -= n;
    }
    return r;
}

/* From file to file without a buffer, as long as the kernel does it. */
static int offload(Convert *k, int64_t at, int64_t len)
{
    ConvertSource *s = source_at(k, at);
    int r = k->offload && s ? block_copy_range(s->c, at - s->start, k->target, at, len) : -ENOTSUP;
    if (r == -ENOTSUP) {
        k->offload = false;
    }
    return r;
}

static void convert_body(void *opaque)
{
    Convert *k = opaque;
    g_autofree uint8_t *mem = g_malloc((size_t)k->piece + 4096);
    Piece p = { .buf = (uint8_t *)(((uintptr_t)mem + 4095) & ~(uintptr_t)4095) }; /* fits cache=none */
    for (;;) {
        co_mutex_lock(&k->order_lock); /* looking for the next piece may yield */
        if (k->at >= k->total || k->error) {
            co_mutex_unlock(&k->order_lock);
            break;
        }
        p.kind = next_piece(k, &p.at, &p.len);
        int r = MIN(p.kind, 0);
        k->at += r < 0 ? 0 : p.len;
        if (p.kind == BELOW || (p.kind == ZERO && k->target_zero)) { /* nothing to do: no turn to wait for */
            co_mutex_unlock(&k->order_lock);
            k->done += p.len;
            img_progress(k->m, k->done, k->total);
            continue;
        }
        uint64_t piece = k->next_piece++;
        co_mutex_unlock(&k->order_lock);
        p.turn_over = false;
        if (p.kind == DATA) {
            k->copied += p.len;
            block_copy_pace(k->rate, k->start_ns, k->copied);
        }
        bool offloaded = p.kind == DATA && k->offload && offload(k, p.at, p.len) == 0;
        if (p.kind == DATA && !offloaded) {
            r = read_across(k, p.buf, p.at, p.len);
        }
        if (r < 0) {
            fail(k, r, p.at, true);
        }
        turn_wait(k, piece);
        if (!k->error && !offloaded) {
            r = p.kind == DATA ? write_data(k, &p) : p.kind == ZERO ? write_zero_run(k, p.at, p.len) : 0;
            if (r < 0) {
                fail(k, r, p.at, false);
            }
        }
        k->done += p.len;
        img_progress(k->m, k->done, k->total);
        if (!p.turn_over) {
            turn_done(k);
        }
    }
    k->running--;
}

typedef struct Flush {
    BlockClient *c;
    int r;
} Flush;

static void flush_body(void *opaque)
{
    Flush *f = opaque;
    f->r = block_flush(f->c);
}

static bool is_buffered(const Convert *k)
{
    for (unsigned i = 0; i < k->sources->len; i++) {
        if (!block_is_buffered(block_client_node(g_array_index(k->sources, ConvertSource, i).c))) {
            return false;
        }
    }
    return block_is_buffered(block_client_node(k->target));
}

/* From here on the copy is all this program does. */
static void bulk(Convert *k, bool on)
{
    block_set_bulk(on);
    loop_set_poll(k->m->loop, on && g_get_num_processors() > 1 ? POLL_NS : 0, 0, 0);
}

int convert_run(Convert *k, unsigned requests)
{
    /* A part of a cluster costs zeros around it. */
    k->piece = k->compressed ? k->cluster : is_buffered(k) ? MAX(BUFFERED_PIECE, k->cluster) : PIECE;
    bulk(k, true);
    k->start_ns = clock_now(&clock_host_monotonic);
    co_mutex_init(&k->order_lock);
    g_queue_init(&k->waiting);
    k->running = requests;
    for (unsigned i = 0; i < requests; i++) {
        co_start(k->m->loop, convert_body, k);
    }
    while (k->running) {
        loop_turn(k->m->loop, true);
    }
    bulk(k, false);
    co_mutex_fini(&k->order_lock);
    Error *err = NULL;
    if (!k->error) {
        Flush f = { .c = k->target };
        img_co(k->m, flush_body, &f);
        if (f.r == 0) {
            img_progress_end(k->m);
            return 0;
        }
        error_set_errno(&err, -f.r, "cannot bring the output to the disk");
    } else {
        error_set_errno(&err, -k->error, "error while %s at byte %" PRId64,
                        k->error_read ? "reading" : "writing", k->error_at);
    }
    return tool_fail(err);
}
