/* SPDX-License-Identifier: MIT
 * block/raw.c - raw: the bytes of the node below, all of them or [offset, offset + size).
 *
 * Models: a window; requests pass with their offset moved. Images without structure.
 * Threads: any; offset and size limit are fixed after open.
 */
#include "internal.h"
#include "rhea/block/nbd.h"
#include "rhea/util/errorcode.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

typedef struct Raw {
    int64_t offset;
    bool window; /* a size was given */
} Raw;

static bool raw_open(BlockNode *n, const BlockdevOptions *o, bool from_text, Error **errp)
{
    Raw *s = n->state;
    const BlockRaw *r = &o->u.raw;
    BlockEdge *file = block_attach(n, "file", r->file, from_text, errp);
    if (!file) {
        return false;
    }
    BlockNode *below = file->node;
    int64_t size = block_size(below);
    s->offset = (int64_t)r->offset;
    s->window = r->has_size;
    if (below->read_only) {
        n->read_only = true;
    }
    if (s->offset > size) {
        return error_fail(errp, "out-of-range", "offset", "give an offset within the image",
                          "raw: offset %" PRId64 " lies behind the end of '%s' (%" PRId64 " bytes)",
                          s->offset, n->filename, size);
    }
    if (r->has_size && (int64_t)r->size > size - s->offset) {
        return error_fail(errp, "out-of-range", "size", "leave size out: then it ends where the image ends",
                          "raw: size %" PRIu64 " from offset %" PRId64 " ends behind '%s' (%" PRId64
                          " bytes)",
                          r->size, s->offset, n->filename, size);
    }
    if ((s->offset | (r->has_size ? (int64_t)r->size : 0)) % below->align) {
        return error_fail(errp, "invalid-value", "offset", "round them",
                          "raw: offset and size must be multiples of %" PRId64, below->align);
    }
    node_set_size(n, r->has_size ? (int64_t)r->size : size - s->offset);
    n->zero_align = s->offset % below->zero_align ? 1 : below->zero_align;
    n->max_zeroes = below->max_zeroes;
    n->fua = below->fua;
    return true;
}

static void raw_close(BlockNode *n) {}

static int raw_preadv(BlockNode *n, int64_t off, IoVec *v, unsigned flags)
{
    node_event(n->file->node, BLKDEBUG_EVENT_READ_AIO);
    return node_preadv(n->file->node, off + ((Raw *)n->state)->offset, v, flags);
}

/* A format above writes behind the end, and the file grows. */
static int raw_follow(BlockNode *n, int r)
{
    const Raw *s = n->state;
    int64_t size = block_size(n->file->node) - s->offset;
    if (G_UNLIKELY(!s->window && size != block_size(n))) {
        node_set_size(n, size);
    }
    return r;
}

static int raw_pwritev(BlockNode *n, int64_t off, IoVec *v, unsigned flags)
{
    node_event(n->file->node, BLKDEBUG_EVENT_WRITE_AIO);
    return raw_follow(n, node_pwritev(n->file->node, off + ((Raw *)n->state)->offset, v, flags));
}

static int raw_write_zeroes(BlockNode *n, int64_t off, int64_t bytes, unsigned flags)
{
    return raw_follow(n, node_write_zeroes(n->file->node, off + ((Raw *)n->state)->offset, bytes, flags));
}

static int raw_copy_from(BlockNode *n, int64_t off, int fd, int64_t fd_off, int64_t bytes)
{
    int64_t at = off + ((Raw *)n->state)->offset;
    return raw_follow(n, node_copy_from(n->file->node, at, fd, fd_off, bytes));
}

static int raw_discard(BlockNode *n, int64_t off, int64_t bytes)
{
    return node_discard(n->file->node, off + ((Raw *)n->state)->offset, bytes);
}

static int raw_flush(BlockNode *n)
{
    node_event(n->file->node, BLKDEBUG_EVENT_FLUSH_TO_OS);
    node_event(n->file->node, BLKDEBUG_EVENT_FLUSH_TO_DISK);
    return node_flush(n->file->node);
}

static int raw_extent(BlockNode *n, int64_t off, int64_t bytes, BlockExtent *out)
{
    int r = node_extent(n->file->node, off + ((Raw *)n->state)->offset, bytes, out);
    out->allocated = true;
    return r;
}

static int raw_map(BlockNode *n, int64_t off, int64_t bytes, BlockMap *out)
{
    return node_map(n->file->node, off + ((Raw *)n->state)->offset, bytes, out);
}

static bool raw_truncate(BlockNode *n, int64_t size, int prealloc, Error **errp)
{
    Raw *s = n->state;
    if (s->window) {
        error_fail(errp, "not-supported", "size", NULL, "a raw node with a size cannot be resized");
        error_hint(errp, "open it without 'size'");
        return false;
    }
    if (size > BLOCK_MAX_SIZE - s->offset ||
        !node_truncate(n->file->node, size + s->offset, prealloc, errp)) {
        return false;
    }
    node_set_size(n, block_size(n->file->node) - s->offset);
    return true;
}

/* Creation */

typedef struct Preallocate {
    BlockClient *client;
    int64_t size;
    int prealloc;
    Error **errp;
    bool ok;
} Preallocate;

static void preallocate(void *opaque)
{
    Preallocate *p = opaque;
    p->ok = block_truncate(p->client, p->size, p->prealloc, p->errp);
}

static bool raw_fill(BlockGraph *g, const char *filename, int64_t size, int prealloc, Error **errp)
{
    Json *o = block_image_options(filename, nbd_is_url(filename) ? "nbd" : "file", errp);
    BlockNode *n = o ? block_open(g, o, false, errp) : NULL;
    json_unref(o);
    BlockClient *c =
        n ? block_client_new(n, "create", BLOCK_PERM_WRITE | BLOCK_PERM_RESIZE, BLOCK_PERM_READ, errp) : NULL;
    Preallocate p = { .client = c, .size = size, .prealloc = prealloc, .errp = errp };
    if (c) {
        co_run_sync(block_graph_loop(g), preallocate, &p);
        block_client_free(c);
    }
    block_unref(n);
    return p.ok;
}

static bool raw_create(BlockGraph *g, const char *filename, const void *options, Error **errp)
{
    const RawCreate *o = options;
    struct stat st;
    if (o->preallocation == BLOCK_PREALLOC_METADATA) {
        return error_set(errp, "preallocation=metadata: a raw image has no metadata; use falloc or full");
    }
    if (nbd_is_url(filename) || (stat(filename, &st) == 0 && S_ISBLK(st.st_mode))) {
        return raw_fill(g, filename, (int64_t)o->size, BLOCK_PREALLOC_OFF, errp);
    }
    int fd = open(filename, O_RDWR | O_CREAT | O_CLOEXEC, 0644);
    if (fd < 0) {
        return error_set_errno(errp, errno, "cannot create '%s'", filename);
    }
    /* Nobody else may use it; then it is emptied. */
    FileLocks none = { 0 }, all = { BLOCK_PERM_WRITE | BLOCK_PERM_RESIZE, BLOCK_PERM_RESIZE };
    bool ok = file_lock_set(fd, filename, &none, all, errp);
    if (ok && ftruncate(fd, 0) < 0) {
        ok = error_set_errno(errp, errno, "cannot empty '%s'", filename);
    }
    close(fd);
    return ok && raw_fill(g, filename, (int64_t)o->size, o->preallocation, errp);
}

static bool raw_measure(const void *options, int64_t size, BlockClient *source, BlockMeasure *out,
                        Error **errp)
{
    *out = (BlockMeasure){ .required = (uint64_t)size,
                           .fully_allocated = (uint64_t)size,
                           .bitmaps = UINT64_MAX };
    return true;
}

static const BlockFormatOps raw_format = {
    .create_type = &raw_create_type,
    .create = raw_create,
    .measure = raw_measure,
};

const BlockDriver block_raw_driver = {
    .name = "raw",
    .state_size = sizeof(Raw),
    .filter = true,
    .format = &raw_format,
    .open = raw_open,
    .close = raw_close,
    .preadv = raw_preadv,
    .pwritev = raw_pwritev,
    .write_zeroes = raw_write_zeroes,
    .discard = raw_discard,
    .flush = raw_flush,
    .extent = raw_extent,
    .map = raw_map,
    .truncate = raw_truncate,
    .copy_from = raw_copy_from,
};
