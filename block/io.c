/* SPDX-License-Identifier: MIT
 * block/io.c - requests to a node: what every driver would otherwise do by itself.
 *
 * Models: zero detection, FUA by write and flush, write_zeroes and discard cut to what the driver takes,
 * buffers of zeros where a driver has no write_zeroes; thresholds that a write passes. Threads: coroutines on
 * any loop; no state.
 */
#include "internal.h"
#include "rhea/block/bitmap.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>

int node_preadv(BlockNode *n, int64_t off, IoVec *v, unsigned flags)
{
    return v->bytes ? n->driver->preadv(n, off, v, flags) : 0;
}

int node_pread(BlockNode *n, int64_t off, void *buf, size_t len)
{
    IoVec v;
    iov_init_buf(&v, buf, len);
    return node_preadv(n, off, &v, 0);
}

/* Looks at the first bytes as they would be; a guarded node's content is raw. */
static int guard_check(BlockNode *n, int64_t off, const IoVec *v)
{
    uint8_t head[512];
    if (off >= (int64_t)sizeof(head)) {
        return 0;
    }
    int64_t room = MIN((int64_t)sizeof(head), block_size(n));
    int r = node_pread(n, 0, head, (size_t)room);
    if (r == 0) {
        iov_to_buf(v, 0, head + off, (size_t)MIN(room - off, (int64_t)v->bytes));
        r = strcmp(block_probe(head, (size_t)room), "raw") ? -EPERM : 0;
    }
    return r;
}

static int finish_write(BlockNode *n, int64_t off, int64_t bytes, int r, unsigned flags)
{
    block_bitmaps_mark(n, off, bytes); /* a write that failed may have changed something, too */
    return r == 0 && (flags & BLK_FUA) ? node_flush(n) : r;
}

/* Of several writes one tells. */
static void threshold_passed(BlockNode *n, uint64_t threshold, int64_t end)
{
    const BlockGraph *g = n->graph;
    if (__atomic_compare_exchange_n(&n->threshold, &threshold, 0, false, __ATOMIC_RELAXED,
                                    __ATOMIC_RELAXED) &&
        g->threshold_say) {
        g->threshold_say(g->threshold_opaque, n, threshold, (uint64_t)end - threshold);
    }
}

void block_set_write_threshold(BlockNode *n, uint64_t off)
{
    role_assert_main();
    __atomic_store_n(&n->threshold, off, __ATOMIC_RELAXED);
}

uint64_t block_write_threshold(const BlockNode *n)
{
    return __atomic_load_n(&n->threshold, __ATOMIC_RELAXED);
}

void block_set_threshold_say(BlockGraph *g, BlockThresholdSay *fn, void *opaque)
{
    role_assert_main();
    g->threshold_say = fn;
    g->threshold_opaque = opaque;
}

static void note_end(BlockNode *n, int64_t end)
{
    uint64_t threshold = __atomic_load_n(&n->threshold, __ATOMIC_RELAXED);
    if (G_UNLIKELY(threshold && (uint64_t)end > threshold)) {
        threshold_passed(n, threshold, end);
    }
    int64_t seen = __atomic_load_n(&n->highest, __ATOMIC_RELAXED);
    while (seen < end && !__atomic_compare_exchange_n(&n->highest, &seen, end, true, __ATOMIC_RELAXED,
                                                      __ATOMIC_RELAXED)) {
    }
}

int node_pwritev(BlockNode *n, int64_t off, IoVec *v, unsigned flags)
{
    if (n->read_only) {
        return -EPERM;
    }
    if (v->bytes == 0) {
        return 0;
    }
    note_end(n, off + (int64_t)v->bytes);
    int guard = G_UNLIKELY(n->guarded) ? guard_check(n, off, v) : 0;
    if (guard < 0) {
        return guard;
    }
    if (n->detect_zeroes != BLOCK_DETECT_ZEROES_OFF && !(flags & BLK_COMPRESSED) &&
        iov_is_zero(v, 0, v->bytes)) {
        unsigned unmap = n->detect_zeroes == BLOCK_DETECT_ZEROES_UNMAP ? BLK_MAY_UNMAP : 0;
        return node_write_zeroes(n, off, (int64_t)v->bytes, (flags & BLK_FUA) | unmap);
    }
    if (n->fua) {
        return finish_write(n, off, (int64_t)v->bytes,
                            n->driver->pwritev(n, off, v, flags & (BLK_COMPRESSED | BLK_FUA)), 0);
    }
    return finish_write(n, off, (int64_t)v->bytes, n->driver->pwritev(n, off, v, flags & BLK_COMPRESSED),
                        flags);
}

int node_pwrite(BlockNode *n, int64_t off, const void *buf, size_t len)
{
    IoVec v;
    iov_init_buf(&v, (void *)buf, len);
    return node_pwritev(n, off, &v, 0);
}

/* Plain writes of zeros, in pieces of bounded size. */
static int write_zero_buffers(BlockNode *n, int64_t off, int64_t bytes)
{
    size_t room = (size_t)MIN(bytes, (int64_t)BLOCK_BOUNCE);
    void *zeros =
        mmap(NULL, room, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0); /* aligned, costs one page */
    if (zeros == MAP_FAILED) {
        return -ENOMEM;
    }
    int r = 0;
    while (bytes > 0 && r == 0) {
        IoVec v;
        size_t len = (size_t)MIN(bytes, (int64_t)room);
        iov_init_buf(&v, zeros, len);
        r = n->driver->pwritev(n, off, &v, 0);
        off += (int64_t)len;
        bytes -= (int64_t)len;
    }
    munmap(zeros, room);
    return r;
}

static int write_zeroes_piece(BlockNode *n, int64_t off, int64_t bytes, unsigned flags)
{
    int r = n->driver->write_zeroes ? n->driver->write_zeroes(n, off, bytes, flags) : -ENOTSUP;
    if (r == -ENOTSUP && !(flags & BLK_NO_FALLBACK)) {
        r = write_zero_buffers(n, off, bytes);
    }
    return r;
}

/* [off, end) without the parts that are not whole units; the end of the node counts as a whole one. */
static void inner_units(const BlockNode *n, int64_t unit, int64_t off, int64_t end, int64_t *from,
                        int64_t *to)
{
    *from = (off + unit - 1) / unit * unit;
    *to = end == block_size(n) ? end : end / unit * unit;
    if (*from >= *to) {
        *from = *to = end;
    }
}

int node_write_zeroes(BlockNode *n, int64_t off, int64_t bytes, unsigned flags)
{
    if (n->read_only) {
        return -EPERM;
    }
    if (n->discard != BLOCK_DISCARD_UNMAP) {
        flags &= ~(unsigned)BLK_MAY_UNMAP;
    }
    note_end(n, off + bytes);
    int64_t end = off + bytes, from, to;
    inner_units(n, n->zero_align, off, end, &from, &to);
    if (from > off && (flags & BLK_NO_FALLBACK)) {
        return -ENOTSUP;
    }
    unsigned pass = flags & (BLK_MAY_UNMAP | BLK_NO_FALLBACK | BLK_ALLOCATE);
    int r = from > off ? write_zero_buffers(n, off, from - off) : 0;
    while (r == 0 && from < to) {
        int64_t len = MIN(to - from, n->max_zeroes);
        r = write_zeroes_piece(n, from, len, pass);
        from += len;
    }
    if (r == 0 && to < end) {
        r = flags & BLK_NO_FALLBACK ? -ENOTSUP : write_zero_buffers(n, to, end - to);
    }
    return finish_write(n, off, bytes, r, flags);
}

int node_discard(BlockNode *n, int64_t off, int64_t bytes)
{
    if (n->read_only) {
        return -EPERM;
    }
    if (n->discard != BLOCK_DISCARD_UNMAP || !n->driver->discard) {
        return 0; /* advice that is not taken */
    }
    int64_t from, to;
    inner_units(n, n->zero_align, off, off + bytes, &from, &to);
    int r = 0;
    while (r == 0 && from < to) {
        int64_t len = MIN(to - from, n->max_zeroes);
        r = n->driver->discard(n, from, len);
        from += len;
    }
    block_bitmaps_mark(n, off, bytes);
    return r == -ENOTSUP ? 0 : r;
}

int node_copy_from(BlockNode *n, int64_t off, int fd, int64_t fd_off, int64_t bytes)
{
    if (n->read_only) {
        return -EPERM;
    }
    if (!n->driver->copy_from || n->guarded || n->detect_zeroes != BLOCK_DETECT_ZEROES_OFF) {
        return -ENOTSUP;
    }
    note_end(n, off + bytes);
    return finish_write(n, off, bytes, n->driver->copy_from(n, off, fd, fd_off, bytes), 0);
}

int node_flush(BlockNode *n)
{
    return n->read_only || !n->driver->flush ? 0 : n->driver->flush(n);
}

int node_extent(BlockNode *n, int64_t off, int64_t bytes, BlockExtent *out)
{
    *out = (BlockExtent){ .bytes = bytes };
    if (bytes == 0) {
        return 0;
    }
    if (!n->driver->extent) {
        *out = (BlockExtent){ .bytes = bytes, .data = true, .allocated = true, .host = n, .host_off = off };
        return 0;
    }
    int r = n->driver->extent(n, off, bytes, out);
    g_assert(r < 0 || (out->bytes > 0 && out->bytes <= bytes));
    return r;
}

/* Goes down while a layer leaves the range to its backing node. Beyond a shorter backing node all is zero. */
int node_extent_above(BlockNode *n, BlockNode *base, int64_t off, int64_t bytes, BlockExtent *out)
{
    for (unsigned depth = 0;; depth++) {
        int r = node_extent(n, off, bytes, out);
        if (r < 0) {
            return r;
        }
        out->depth = depth;
        BlockNode *below = block_backing(n);
        if (out->allocated || !below || below == base) {
            return 0;
        }
        int64_t left = block_size(below) - off;
        bytes = out->bytes;
        if (left <= 0) {
            out->zero = true; /* behind the end of what lies below */
            return 0;
        }
        bytes = MIN(bytes, left);
        n = below;
    }
}

/* What a node writes may move what is mapped: it has to be read-only. */
int node_map(BlockNode *n, int64_t off, int64_t bytes, BlockMap *out)
{
    return n->read_only && n->driver->map ? n->driver->map(n, off, bytes, out) : -ENOTSUP;
}

/* Holes below a format say something only when the image was preallocated: it uses more clusters than the
 * host has allocated for its file. Else they are clusters whose data has not reached the disk yet. */
static bool holes_count(BlockNode *top)
{
    const BlockFormatOps *f = top->driver->format;
    if (!f || !f->used_clusters) {
        return true;
    }
    if (!top->holes) {
        int64_t bytes = block_allocated_bytes(block_file(top)), have = bytes / f->cluster_size(top);
        top->holes = bytes >= 0 && f->used_clusters(top) >= MAX(have * 10 / 9, have + 2) ? 1 : -1;
    }
    return top->holes > 0;
}

int node_extent_deep(BlockNode *n, int64_t off, int64_t bytes, BlockExtent *out)
{
    int r = node_extent_above(n, NULL, off, bytes, out);
    BlockNode *host = out->host;
    if (r < 0 || !out->data || out->zero || !host || !host->driver->extent || host->driver->format) {
        return r;
    }
    for (unsigned i = 0; i < out->depth; i++) {
        n = block_backing(n); /* the layer that the data belongs to */
    }
    int64_t left = block_size(host) - out->host_off;
    if (left <= 0 || !holes_count(n)) {
        out->zero = left <= 0 && holes_count(n);
        return 0;
    }
    BlockExtent low;
    r = node_extent(host, out->host_off, MIN(out->bytes, left), &low);
    if (r == 0) {
        out->bytes = low.bytes;
        out->zero = low.zero;
    }
    return r;
}

bool node_truncate(BlockNode *n, int64_t size, int prealloc, Error **errp)
{
    if (n->read_only) {
        return error_set(errp, "block node '%s' is read-only", n->name);
    }
    if (size < 0 || size > BLOCK_MAX_SIZE) {
        return error_set(errp, "%" PRId64 " bytes are more than an image can have", size);
    }
    if (!n->driver->truncate) {
        return error_set(errp, "'%s' nodes cannot be resized", n->driver->name);
    }
    if (!block_bitmaps_fit(n, size, errp) || !n->driver->truncate(n, size, prealloc, errp)) {
        return false;
    }
    block_bitmaps_resize(n, block_size(n)); /* a new part is not dirty, as in QEMU */
    return true;
}
