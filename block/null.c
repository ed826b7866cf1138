/* SPDX-License-Identifier: MIT
 * block/null.c - null-co: reads as zeros, forgets what is written. For measurements and tests.
 *
 * Threads: any; the size is the only state.
 */
#include "internal.h"

#include <errno.h>

typedef struct Null {
    bool read_zeroes;
} Null;

static bool null_open(BlockNode *n, const BlockdevOptions *o, bool from_text, Error **errp)
{
    Null *s = n->state;
    s->read_zeroes = o->u.null_co.read_zeroes;
    node_set_size(n, (int64_t)o->u.null_co.size);
    return true;
}

static void null_close(BlockNode *n) {}

static int64_t null_allocated_bytes(const BlockNode *n)
{
    return 0;
}

static int null_preadv(BlockNode *n, int64_t off, IoVec *v, unsigned flags)
{
    const Null *s = n->state;
    if (s->read_zeroes) {
        iov_fill(v, 0, 0, v->bytes);
    }
    return 0;
}

static int null_pwritev(BlockNode *n, int64_t off, IoVec *v, unsigned flags)
{
    return flags & BLK_COMPRESSED ? -ENOTSUP : 0;
}

static int null_write_zeroes(BlockNode *n, int64_t off, int64_t bytes, unsigned flags)
{
    return 0;
}

static int null_discard(BlockNode *n, int64_t off, int64_t bytes)
{
    return 0;
}

static int null_extent(BlockNode *n, int64_t off, int64_t bytes, BlockExtent *out)
{
    const Null *s = n->state;
    *out =
        (BlockExtent){ .bytes = bytes, .zero = s->read_zeroes, .data = !s->read_zeroes, .allocated = true };
    return 0;
}

const BlockDriver block_null_driver = {
    .name = "null-co",
    .state_size = sizeof(Null),
    .open = null_open,
    .close = null_close,
    .allocated_bytes = null_allocated_bytes,
    .preadv = null_preadv,
    .pwritev = null_pwritev,
    .write_zeroes = null_write_zeroes,
    .discard = null_discard,
    .extent = null_extent,
};
