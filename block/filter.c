/* SPDX-License-Identifier: MIT
 * block/filter.c - what filters have in common: a request goes to the node below as it came.
 *
 * Threads: any; a filter's own state is its own business.
 */
#include "internal.h"

bool filter_open(BlockNode *n, const char *role, const Json *ref, bool from_text, Error **errp)
{
    BlockEdge *e = block_attach(n, role, ref, from_text, errp);
    if (!e) {
        return false;
    }
    const BlockNode *below = e->node;
    n->read_only = n->read_only || below->read_only;
    n->align = below->align;
    n->zero_align = below->zero_align;
    n->max_zeroes = below->max_zeroes;
    n->grows_zero = below->grows_zero;
    node_set_size(n, block_size(below));
    return true;
}

void filter_close(BlockNode *n) {}

int filter_preadv(BlockNode *n, int64_t off, IoVec *v, unsigned flags)
{
    return node_preadv(n->file->node, off, v, flags);
}

/* A format writes behind the end of its file, which grows. */
static int follow(BlockNode *n, int r)
{
    int64_t size = block_size(n->file->node);
    if (G_UNLIKELY(size != block_size(n))) {
        node_set_size(n, size);
    }
    return r;
}

int filter_pwritev(BlockNode *n, int64_t off, IoVec *v, unsigned flags)
{
    return follow(n, node_pwritev(n->file->node, off, v, flags));
}

int filter_write_zeroes(BlockNode *n, int64_t off, int64_t bytes, unsigned flags)
{
    return follow(n, node_write_zeroes(n->file->node, off, bytes, flags));
}

int filter_discard(BlockNode *n, int64_t off, int64_t bytes)
{
    return node_discard(n->file->node, off, bytes);
}

int filter_flush(BlockNode *n)
{
    return node_flush(n->file->node);
}

int filter_extent(BlockNode *n, int64_t off, int64_t bytes, BlockExtent *out)
{
    return node_extent(n->file->node, off, bytes, out);
}

bool filter_truncate(BlockNode *n, int64_t size, int prealloc, Error **errp)
{
    bool ok = node_truncate(n->file->node, size, prealloc, errp);
    node_set_size(n, block_size(n->file->node));
    return ok;
}

BlockNode *block_skip_filters(BlockNode *n)
{
    while (n->driver->filter && !n->driver->format && n->file) {
        n = n->file->node;
    }
    return n;
}
