/* SPDX-License-Identifier: MIT
 * block/copy.c - commit: an overlay's data goes down; rebase: what another backing file lacks comes up.
 *
 * Models: the range is walked by what each layer decides; zeros are written as such, data in pieces of up to
 * 2 MiB. A rate counts what is copied. Threads: coroutines; no state.
 */
#include "rhea/block/copy.h"
#include "internal.h"

#include <string.h>

enum { PIECE = 2 * 1024 * 1024 };

static void wake(void *co)
{
    co_wake(co);
}

void block_copy_pace(uint64_t rate, int64_t start, int64_t done)
{
    if (!rate) {
        return;
    }
    int64_t due = start + (int64_t)((double)done * 1e9 / (double)rate);
    if (due > clock_now(&clock_host_monotonic)) {
        Timer t;
        timer_init(&t, co_loop(), &clock_host_monotonic, wake, co_self());
        timer_arm(&t, due);
        co_yield ();
    }
}

/* Like block_extent_above(), and zeros that a short layer shows behind its end are decided by it. */
static int layers_extent(BlockNode *n, int64_t off, int64_t bytes, BlockExtent *out)
{
    for (;;) {
        int r = node_extent(n, off, bytes, out);
        BlockNode *below = block_backing(n);
        if (r < 0 || out->allocated || !below) {
            return r;
        }
        int64_t left = block_size(below) - off;
        bytes = out->bytes;
        if (left <= 0) {
            *out = (BlockExtent){ .bytes = bytes, .zero = true, .allocated = true };
            return 0;
        }
        bytes = MIN(bytes, left);
        n = below;
    }
}

static int copy_data(BlockClient *from, BlockClient *to, int64_t off, int64_t len, uint8_t *buf)
{
    IoVec v;
    iov_init_buf(&v, buf, (size_t)len);
    int r = block_preadv(from, off, &v, 0);
    return r < 0 ? r : block_pwritev(to, off, &v, 0);
}

static void tell(const BlockCopy *how, int64_t done, int64_t total)
{
    if (how->progress) {
        how->progress(how->opaque, done, total);
    }
}

int block_commit(BlockClient *top, BlockClient *base, const BlockCopy *how)
{
    BlockNode *n = block_client_node(top);
    int64_t size = block_size(n), copied = 0, start = clock_now(&clock_host_monotonic);
    uint8_t *buf = g_aligned_alloc(1, PIECE, 4096);
    int r = 0;
    for (int64_t at = 0; at < size && r == 0;) {
        BlockExtent e;
        r = layers_extent(n, at, size - at, &e);
        if (r < 0) {
            break;
        }
        if (e.allocated && e.zero) {
            r = block_write_zeroes(base, at, e.bytes, BLK_MAY_UNMAP);
        } else if (e.allocated) {
            e.bytes = MIN(e.bytes, PIECE);
            r = copy_data(top, base, at, e.bytes, buf);
            copied += e.bytes;
            block_copy_pace(how->rate, start, copied);
        }
        at += e.bytes;
        tell(how, at, size);
    }
    g_aligned_free(buf);
    return r < 0 ? r : block_flush(base);
}

int block_copy_range(BlockClient *from, int64_t off, BlockClient *to, int64_t to_off, int64_t bytes)
{
    for (int64_t end = off + bytes; off < end;) {
        BlockExtent e;
        int r = block_extent_above(from, NULL, off, end - off, &e);
        bool plain = r == 0 && e.data && !e.zero && !e.compressed && e.host && e.host->driver->host_fd;
        if (r == 0) {
            r = plain ? block_copy_from(to, to_off, e.host->driver->host_fd(e.host), e.host_off, e.bytes)
                      : -ENOTSUP;
        }
        if (r < 0) {
            return r;
        }
        off += e.bytes;
        to_off += e.bytes;
    }
    return 0;
}

/* Rebase */

typedef struct Side {
    BlockClient *c; /* NULL: zeros */
    uint8_t *buf;
    bool zero;
} Side;

/* How far from `at` on the side is of one kind; behind its end are zeros. */
static int side_look(Side *s, int64_t at, int64_t *len)
{
    int64_t left = s->c ? block_size(block_client_node(s->c)) - at : 0;
    s->zero = true;
    if (left <= 0) {
        return 0;
    }
    BlockExtent e;
    int r = block_extent_above(s->c, NULL, at, MIN(*len, left), &e);
    s->zero = e.zero;
    *len = r < 0 ? *len : e.bytes;
    return r;
}

static int side_read(Side *s, int64_t at, int64_t len)
{
    if (s->zero) {
        memset(s->buf, 0, (size_t)len);
        return 0;
    }
    IoVec v;
    iov_init_buf(&v, s->buf, (size_t)len);
    return block_preadv(s->c, at, &v, 0);
}

/* [at, at + len) of `top` is unallocated: units that differ are written. */
static int keep_range(BlockClient *top, Side *was, Side *now, int64_t at, int64_t len)
{
    int64_t unit = block_client_node(top)->zero_align;
    int r = side_read(was, at, len);
    r = r < 0 ? r : side_read(now, at, len);
    for (int64_t p = 0, n; p < len && r == 0; p += n) {
        n = MIN(unit - (at + p) % unit, len - p);
        bool same = memcmp(was->buf + p, now->buf + p, (size_t)n) == 0;
        while (p + n < len) {
            int64_t next = MIN(unit, len - p - n);
            if ((memcmp(was->buf + p + n, now->buf + p + n, (size_t)next) == 0) != same) {
                break;
            }
            n += next;
        }
        if (!same && buf_is_zero(was->buf + p, (size_t)n)) {
            r = block_write_zeroes(top, at + p, n, BLK_MAY_UNMAP | BLK_ALLOCATE);
        } else if (!same) {
            IoVec v;
            iov_init_buf(&v, was->buf + p, (size_t)n);
            r = block_pwritev(top, at + p, &v, 0);
        }
    }
    return r;
}

int block_keep_content(BlockClient *top, BlockClient *was, BlockClient *now, const BlockCopy *how)
{
    BlockNode *n = block_client_node(top);
    int64_t size = block_size(n);
    Side a = { .c = was, .buf = g_aligned_alloc(1, PIECE, 4096) };
    Side b = { .c = now, .buf = g_aligned_alloc(1, PIECE, 4096) };
    int r = 0;
    for (int64_t at = 0; at < size && r == 0;) {
        BlockExtent e;
        r = block_extent(top, at, size - at, &e);
        if (r == 0 && !e.allocated) {
            r = side_look(&a, at, &e.bytes);
            r = r < 0 ? r : side_look(&b, at, &e.bytes);
            if (r == 0 && !(a.zero && b.zero)) {
                e.bytes = MIN(e.bytes, PIECE);
                r = keep_range(top, &a, &b, at, e.bytes);
            }
        }
        at += e.bytes;
        tell(how, at, size);
    }
    g_aligned_free(a.buf);
    g_aligned_free(b.buf);
    return r < 0 ? r : block_flush(top);
}
