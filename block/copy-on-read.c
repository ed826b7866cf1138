/* SPDX-License-Identifier: MIT
 * block/copy-on-read.c - copy-on-read: what is read from a backing file is written to the image above it.
 *
 * Models: QEMU's filter with its 'bottom': what lies below that layer is not copied. Whole clusters of the
 *         image are copied, in pieces of bounded size.
 * Threads: any; a piece that is copied is claimed exclusively, writes claim their range: old bytes never
 *          go over newer ones.
 */
#include "internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { PIECE = 1024 * 1024, ALIGN = 4096 };

typedef struct Cor {
    BlockNode *base; /* what is not copied lies from here on; NULL: nothing does */
    int64_t cluster;
    CoRangeLock ranges;
} Cor;

/* The node called `name` among the backing nodes of `n`, or `n` itself. */
static BlockNode *find_in_chain(BlockNode *n, const char *name)
{
    for (; n; n = block_backing(n)) {
        if (strcmp(n->name, name) == 0 || strcmp(block_skip_filters(n)->name, name) == 0) {
            return n;
        }
    }
    return NULL;
}

static bool cor_open(BlockNode *n, const BlockdevOptions *o, bool from_text, Error **errp)
{
    Cor *s = n->state;
    co_range_init(&s->ranges);
    n->child_perm = BLOCK_PERM_WRITE_UNCHANGED;
    if (!filter_open(n, "file", o->u.copy_on_read.file, from_text, errp)) {
        return false;
    }
    if (n->read_only) {
        error_set(errp, "copy-on-read on '%s', which is read-only", n->filename);
        error_hint(errp, "it writes to the image: open that for writing");
        return false;
    }
    const char *bottom = o->u.copy_on_read.bottom;
    if (bottom) {
        const BlockNode *b = find_in_chain(n->file->node, bottom);
        if (!b) {
            return error_set(errp, "copy-on-read: there is no node '%s' among the backing nodes of '%s'",
                             bottom, n->file->node->name);
        }
        s->base = block_backing(b);
    }
    BlockNode *image = block_skip_filters(n->file->node);
    const BlockFormatOps *f = image->driver->format;
    s->cluster = f && f->cluster_size ? f->cluster_size(image) : 65536;
    return true;
}

static void cor_close(BlockNode *n)
{
    co_range_fini(&((Cor *)n->state)->ranges);
}

/* Is data for [off, off + *bytes) to be copied? Shortens *bytes to what has one answer. */
static int cor_wanted(const BlockNode *n, int64_t off, int64_t *bytes, bool *wanted)
{
    BlockExtent e;
    const Cor *s = n->state;
    int r = node_extent(n->file->node, off, *bytes, &e);
    if (r < 0) {
        return r;
    }
    *wanted = !e.allocated;
    *bytes = e.bytes;
    if (*wanted && s->base) {
        r = node_extent_above(n->file->node, s->base, off, *bytes, &e);
        *wanted = e.allocated;
        *bytes = e.bytes;
    }
    return r;
}

/* [off, end), claimed: the parts that the image does not have go from below through `buf` into it. */
static int cor_copy(BlockNode *n, int64_t off, int64_t end, uint8_t *buf)
{
    int r = 0;
    while (off < end && r == 0) {
        int64_t len = end - off;
        bool wanted;
        r = cor_wanted(n, off, &len, &wanted);
        if (r == 0 && wanted) {
            r = node_pread(n->file->node, off, buf, (size_t)len);
        }
        if (r == 0 && wanted) {
            node_event(n->file->node, BLKDEBUG_EVENT_COR_WRITE);
            r = buf_is_zero(buf, (size_t)len) ? node_write_zeroes(n->file->node, off, len, 0)
                                              : node_pwrite(n->file->node, off, buf, (size_t)len);
        }
        off += len;
    }
    return r;
}

/* A copy that fails is no failure of the read. */
static int cor_fill(BlockNode *n, int64_t off, int64_t end)
{
    Cor *s = n->state;
    uint8_t *buf = NULL;
    int r = 0;
    while (off < end && r == 0) {
        int64_t len = end - off;
        bool wanted;
        r = cor_wanted(n, off, &len, &wanted);
        if (r < 0 || !wanted) {
            off += len;
            continue;
        }
        int64_t from = off / s->cluster * s->cluster, to = MIN(off + len, from + PIECE);
        to = MIN((to + s->cluster - 1) / s->cluster * s->cluster, block_size(n));
        buf = buf ? buf : aligned_alloc(ALIGN, (size_t)(PIECE + s->cluster));
        if (!buf) {
            return -ENOMEM;
        }
        CoRange range;
        co_range_claim(&s->ranges, &range, from, to, true);
        r = cor_copy(n, from, to, buf);
        co_range_release(&s->ranges, &range);
        off = to;
    }
    free(buf);
    return r;
}

static int cor_preadv(BlockNode *n, int64_t off, IoVec *v, unsigned flags)
{
    if (block_backing(n->file->node)) {
        cor_fill(n, off, off + (int64_t)v->bytes);
    }
    return filter_preadv(n, off, v, flags);
}

static int cor_pwritev(BlockNode *n, int64_t off, IoVec *v, unsigned flags)
{
    Cor *s = n->state;
    CoRange range;
    co_range_claim(&s->ranges, &range, off, off + (int64_t)v->bytes, false);
    int r = filter_pwritev(n, off, v, flags);
    co_range_release(&s->ranges, &range);
    return r;
}

static int cor_write_zeroes(BlockNode *n, int64_t off, int64_t bytes, unsigned flags)
{
    Cor *s = n->state;
    CoRange range;
    co_range_claim(&s->ranges, &range, off, off + bytes, false);
    int r = filter_write_zeroes(n, off, bytes, flags);
    co_range_release(&s->ranges, &range);
    return r;
}

static int cor_discard(BlockNode *n, int64_t off, int64_t bytes)
{
    Cor *s = n->state;
    CoRange range;
    co_range_claim(&s->ranges, &range, off, off + bytes, false);
    int r = filter_discard(n, off, bytes);
    co_range_release(&s->ranges, &range);
    return r;
}

const BlockDriver block_copy_on_read_driver = {
    .name = "copy-on-read",
    .state_size = sizeof(Cor),
    .filter = true,
    .open = cor_open,
    .close = cor_close,
    .preadv = cor_preadv,
    .pwritev = cor_pwritev,
    .write_zeroes = cor_write_zeroes,
    .discard = cor_discard,
    .flush = filter_flush,
    .extent = filter_extent,
    .truncate = filter_truncate,
};
