/* SPDX-License-Identifier: MIT
 * block/file.c - file and host_device: a file or block device of the host.
 *
 * Models: open(2) with the node's modes, or a copy of a descriptor of /dev/fdset/N; holes by fallocate(2),
 *         BLKDISCARD and BLKZEROOUT; where data lies by lseek(2) SEEK_DATA and SEEK_HOLE. With
 *         cache.direct=on requests that do not fit the device's alignment go through an aligned buffer; a
 *         write that covers a unit in part reads it first, alone on its range.
 * Does not model: SCSI pass-through, zoned devices.
 * Threads: coroutines on any loop; flags are atomics.
 */
#include "internal.h"
#include "rhea/util/errorcode.h"
#include "rhea/util/fdset.h"
#include "rhea/util/log.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

enum { MAP_LEAST = 128 * 1024 }; /* to copy less than that is cheaper than to map it */

typedef struct File {
    FileIo io;
    FileLocks locks;
    CoRangeLock ranges; /* cache.direct: writes against read-modify-write */
    int64_t unit;       /* what direct requests must be aligned to; 1 without */
    bool is_device, locking, ready;
    bool no_zero_range, no_punch; /* atomic: the file system refused once */
    int flush_error; /* atomic: after a failed sync the kernel has dropped pages; later syncs must not succeed
                      */
    BlockDiscards discards; /* each atomic */
} File;

/* Opening */

static int open_flags(const BlockNode *n)
{
    return (n->read_only ? O_RDONLY : O_RDWR) | O_CLOEXEC | (n->direct ? O_DIRECT : 0);
}

static bool file_open_fd(BlockNode *n, const BlockdevOptions *o, Error **errp)
{
    File *s = n->state;
    s->io.fd = fdset_open(n->filename, open_flags(n), 0);
    if (s->io.fd < 0 && !n->read_only && o->auto_read_only &&
        (errno == EACCES || errno == EROFS || errno == EPERM)) {
        n->read_only = true;
        s->io.fd = fdset_open(n->filename, open_flags(n), 0);
    }
    if (s->io.fd >= 0) {
        return true;
    }
    int err = errno;
    error_set_errno(errp, err, "cannot open '%s'%s", n->filename, n->read_only ? "" : " for writing");
    fdset_hint(n->filename, open_flags(n), err, errp);
    if (err == EINVAL && n->direct) {
        error_hint(errp, "its file system may not support O_DIRECT; use cache.direct=off");
    } else if ((err == EACCES || err == EROFS) && !n->read_only && !fdset_is_path(n->filename)) {
        error_hint(errp, "read-only=on or auto-read-only=on opens it without the right to write");
    }
    return false;
}

static bool file_kind_ok(BlockNode *n, const struct stat *st, bool want_device, Error **errp)
{
    bool device = S_ISBLK(st->st_mode) || S_ISCHR(st->st_mode);
    if (want_device && !device) {
        return error_fail(errp, "invalid-value", "filename", NULL,
                          "'%s' is not a device; use driver 'file'", n->filename);
    }
    if (!want_device && !S_ISREG(st->st_mode)) {
        error_fail(errp, "invalid-value", "filename", NULL, "'%s' is not a regular file", n->filename);
        error_hint(errp, device ? "use driver 'host_device'" : "name a file");
        return false;
    }
    return true;
}

static int64_t file_length(const File *s)
{
    uint64_t bytes;
    if (s->is_device && ioctl(s->io.fd, BLKGETSIZE64, &bytes) == 0) {
        return (int64_t)bytes;
    }
    struct stat st;
    if (!s->is_device && fstat(s->io.fd, &st) == 0) {
        return st.st_size;
    }
    return lseek(s->io.fd, 0, SEEK_END);
}

/* The smallest unit of direct requests: what the device says, or what a read accepts. */
static int64_t probe_unit(const File *s)
{
    int sector;
    if (s->is_device && ioctl(s->io.fd, BLKSSZGET, &sector) == 0 && sector > 0) {
        return sector;
    }
    void *buf = g_aligned_alloc(1, 4096, 4096);
    int64_t unit = 512;
    while (unit < 4096 && pread(s->io.fd, buf, (size_t)unit, 0) < 0 && errno == EINVAL) {
        unit *= 2;
    }
    g_aligned_free(buf);
    return unit;
}

static bool choose_engine(BlockNode *n, BlockAio aio, Error **errp)
{
    File *s = n->state;
    Error *why = NULL;
    if (aio == BLOCK_AIO_NATIVE && !n->direct) {
        error_fail(errp, "conflict", "aio", NULL, "aio=native needs cache.direct=on");
        error_hint(errp, "with the page cache use aio=threads or aio=io_uring");
        return false;
    }
    if ((aio == BLOCK_AIO_IO_URING && !uring_supported(&why)) ||
        (aio == BLOCK_AIO_NATIVE && !aio_supported(&why))) {
        log_warn("'%s': aio=%s is not available: %s; using aio=threads", n->filename, block_aio_names[aio],
                 error_text(why));
        error_free(why);
        aio = BLOCK_AIO_THREADS;
    }
    s->io.aio = aio;
    s->io.nowait = !n->direct && !s->is_device;
    s->io.one_writer = s->io.nowait;
    s->io.workers = n->graph->workers;
    return true;
}

static bool file_open_any(BlockNode *n, const BlockdevOptions *o, bool want_device, Error **errp)
{
    File *s = n->state;
    const BlockFile *f = want_device ? &o->u.host_device : &o->u.file;
    struct stat st;
    s->io.fd = -1;
    co_range_init(&s->ranges);
    file_io_init(&s->io);
    s->ready = true;
    g_free(n->filename);
    n->filename = g_strdup(f->filename);
    /* Before open(): opening a pipe or a terminal has effects. A set's descriptor is open already. */
    bool given = fdset_is_path(n->filename);
    if (given && !file_open_fd(n, o, errp)) {
        return false;
    }
    if ((given ? fstat(s->io.fd, &st) : stat(n->filename, &st)) < 0) {
        return error_set_errno(errp, errno, "cannot open '%s'", n->filename);
    }
    if (!file_kind_ok(n, &st, want_device, errp) || (!given && !file_open_fd(n, o, errp))) {
        return false;
    }
    s->is_device = want_device;
    s->locking = f->locking == BLOCK_ON_OFF_AUTO_ON || (f->locking == BLOCK_ON_OFF_AUTO_AUTO && !want_device);
    int64_t size = file_length(s);
    if (size < 0) {
        return error_set_errno(errp, errno, "cannot tell the size of '%s'", n->filename);
    }
    node_set_size(n, size);
    s->unit = n->direct ? probe_unit(s) : 1;
    n->grows_zero = !want_device;
    n->max_zeroes = 1024 * 1024 * 1024; /* so that one call does not keep a worker for minutes */
    n->zero_align = want_device ? probe_unit(s) : 1;
    return choose_engine(n, f->aio, errp);
}

static bool file_open(BlockNode *n, const BlockdevOptions *o, bool from_text, Error **errp)
{
    return file_open_any(n, o, false, errp);
}

static bool host_device_open(BlockNode *n, const BlockdevOptions *o, bool from_text, Error **errp)
{
    return file_open_any(n, o, true, errp);
}

static void file_close(BlockNode *n)
{
    File *s = n->state;
    if (s->ready) {
        co_range_fini(&s->ranges);
        file_io_fini(&s->io);
        if (s->io.fd >= 0) {
            /* A set's descriptor shares its locks with this copy, so they do not end with it. */
            file_lock_set(s->io.fd, n->filename, &s->locks, (FileLocks){ 0 }, NULL);
            fdset_close(s->io.fd);
        }
    }
}

static bool file_set_perm(BlockNode *n, unsigned perm, unsigned shared, Error **errp)
{
    File *s = n->state;
    if (!s->locking) {
        return true;
    }
    bool used = perm || shared != BLOCK_PERM_ALL;
    FileLocks want = { perm, used ? BLOCK_PERM_ALL & ~shared : 0 };
    if (n->force_share) {
        want = (FileLocks){ 0 };
    }
    return file_lock_set(s->io.fd, n->filename, &s->locks, want, errp);
}

static int64_t file_allocated_bytes(const BlockNode *n)
{
    const File *s = n->state;
    struct stat st;
    return fstat(s->io.fd, &st) < 0 ? -1 : (int64_t)st.st_blocks * 512;
}

/* Reading and writing */

static bool fits(const File *s, int64_t off, const IoVec *v)
{
    return s->unit == 1 ||
           (!((off | (int64_t)v->bytes) & (s->unit - 1)) && iov_is_aligned(v, (size_t)s->unit));
}

static int bounce_read(File *s, int64_t off, IoVec *v)
{
    int64_t from = off & -s->unit, to = (off + (int64_t)v->bytes + s->unit - 1) & -s->unit;
    size_t len = (size_t)MIN(to - from, (int64_t)BLOCK_BOUNCE);
    uint8_t *buf = g_aligned_alloc(1, len, (size_t)s->unit);
    size_t done = 0;
    int r = 0;
    while (r == 0 && done < v->bytes) {
        IoVec piece;
        size_t skip = (size_t)(off + (int64_t)done - from), now = MIN(len, (size_t)(to - from));
        iov_init_buf(&piece, buf, now);
        r = file_io_rw(&s->io, false, from, &piece);
        size_t use = MIN(now - skip, v->bytes - done);
        if (r == 0) {
            iov_from_buf(v, done, buf + skip, use);
        }
        done += use;
        from += (int64_t)now;
    }
    g_aligned_free(buf);
    return r;
}

static int file_preadv(BlockNode *n, int64_t off, IoVec *v, unsigned flags)
{
    File *s = n->state;
    return fits(s, off, v) ? file_io_rw(&s->io, false, off, v) : bounce_read(s, off, v);
}

/* One piece: units that are covered in part are read first. */
static int bounce_write_piece(File *s, uint8_t *buf, int64_t from, int64_t to, int64_t off, const IoVec *v,
                              size_t at, size_t use)
{
    IoVec unit;
    int r = 0;
    if (off > from) {
        iov_init_buf(&unit, buf, (size_t)s->unit);
        r = file_io_rw(&s->io, false, from, &unit);
    }
    int64_t last = to - s->unit;
    if (r == 0 && off + (int64_t)use < to && (last > from || off == from)) {
        iov_init_buf(&unit, buf + (last - from), (size_t)s->unit);
        r = file_io_rw(&s->io, false, last, &unit);
    }
    if (r == 0) {
        iov_to_buf(v, at, buf + (off - from), use);
        iov_init_buf(&unit, buf, (size_t)(to - from));
        r = file_io_rw(&s->io, true, from, &unit);
    }
    return r;
}

static int bounce_write(File *s, int64_t off, IoVec *v)
{
    int64_t end = off + (int64_t)v->bytes;
    uint8_t *buf = g_aligned_alloc(1, BLOCK_BOUNCE, (size_t)s->unit);
    size_t at = 0;
    int r = 0;
    while (r == 0 && at < v->bytes) {
        int64_t pos = off + (int64_t)at, from = pos & -s->unit;
        int64_t to = MIN((end + s->unit - 1) & -s->unit, from + BLOCK_BOUNCE);
        size_t use = (size_t)(MIN(to, end) - pos);
        r = bounce_write_piece(s, buf, from, to, pos, v, at, use);
        at += use;
    }
    g_aligned_free(buf);
    return r;
}

static void grow_to(BlockNode *n, int64_t end)
{
    int64_t size = block_size(n);
    while (size < end &&
           !__atomic_compare_exchange_n(&n->size, &size, end, false, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE)) {
    }
}

static int file_pwritev(BlockNode *n, int64_t off, IoVec *v, unsigned flags)
{
    File *s = n->state;
    int64_t end = off + (int64_t)v->bytes;
    if (flags & BLK_COMPRESSED) {
        return -ENOTSUP;
    }
    if (s->unit == 1) {
        int r = file_io_rw(&s->io, true, off, v);
        if (r == 0) {
            grow_to(n, end);
        }
        return r;
    }
    CoRange range;
    bool aligned = !((off | end) & (s->unit - 1));
    /* The last unit is written whole, then cut: nobody may write behind it meanwhile. */
    bool cut = !s->is_device && end & (s->unit - 1) && end > block_size(n);
    co_range_claim(&s->ranges, &range, off & -s->unit, cut ? INT64_MAX : (end + s->unit - 1) & -s->unit,
                   !aligned);
    int r = fits(s, off, v) ? file_io_rw(&s->io, true, off, v) : bounce_write(s, off, v);
    if (r == 0 && cut && end > block_size(n)) {
        r = ftruncate(s->io.fd, end) < 0 ? -errno : 0;
    }
    if (r == 0) {
        grow_to(n, end);
    }
    co_range_release(&s->ranges, &range);
    return r;
}

static int file_flush(BlockNode *n)
{
    File *s = n->state;
    int r = __atomic_load_n(&s->flush_error, __ATOMIC_RELAXED);
    if (n->no_flush || r < 0) {
        return n->no_flush ? 0 : r;
    }
    r = file_io_sync(&s->io);
    if (r < 0 && r != -EINTR && !n->direct) {
        __atomic_store_n(&s->flush_error, r, __ATOMIC_RELAXED);
    }
    return r;
}

/* Holes */

typedef struct HoleCall {
    File *s;
    int op; /* fallocate mode, or the ioctl for a device */
    int64_t off, bytes;
} HoleCall;

static int hole_call(void *opaque)
{
    HoleCall *c = opaque;
    int r;
    do {
        if (c->s->is_device) {
            uint64_t range[2] = { (uint64_t)c->off, (uint64_t)c->bytes };
            r = ioctl(c->s->io.fd, (unsigned long)(unsigned)c->op, range);
        } else {
            r = fallocate(c->s->io.fd, c->op, c->off, c->bytes);
        }
    } while (r < 0 && errno == EINTR);
    int err = r < 0 ? errno : 0;
    return err == EOPNOTSUPP || err == ENOSYS || err == ENOTTY || err == EINVAL ? -ENOTSUP : -err;
}

static int hole(BlockNode *n, int op, int64_t off, int64_t bytes)
{
    File *s = n->state;
    HoleCall c = { s, op, off, bytes };
    CoRange range;
    if (s->unit > 1) {
        co_range_claim(&s->ranges, &range, off, off + bytes, false);
    }
    int r = worker_run(s->io.workers, hole_call, &c);
    if (s->unit > 1) {
        co_range_release(&s->ranges, &range);
    }
    return r;
}

static int try_hole(BlockNode *n, int op, bool *refused, int64_t off, int64_t bytes)
{
    if (__atomic_load_n(refused, __ATOMIC_RELAXED)) {
        return -ENOTSUP;
    }
    int r = hole(n, op, off, bytes);
    if (r == -ENOTSUP) {
        __atomic_store_n(refused, true, __ATOMIC_RELAXED);
    }
    return r;
}

static int file_write_zeroes(BlockNode *n, int64_t off, int64_t bytes, unsigned flags)
{
    File *s = n->state;
    if (s->is_device) {
        return try_hole(n, BLKZEROOUT, &s->no_zero_range, off, bytes);
    }
    int r = -ENOTSUP;
    if (flags & BLK_MAY_UNMAP && off + bytes <= block_size(n)) { /* a hole does not make the file longer */
        r = try_hole(n, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, &s->no_punch, off, bytes);
    }
    if (r == -ENOTSUP) {
        r = try_hole(n, FALLOC_FL_ZERO_RANGE, &s->no_zero_range, off, bytes);
    }
    if (r == 0) {
        grow_to(n, off + bytes);
    }
    return r;
}

static int file_discard(BlockNode *n, int64_t off, int64_t bytes)
{
    File *s = n->state;
    int r = try_hole(n, s->is_device ? BLKDISCARD : FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, &s->no_punch,
                     off, bytes);
    __atomic_add_fetch(r < 0 ? &s->discards.failed : &s->discards.done, 1, __ATOMIC_RELAXED);
    __atomic_add_fetch(&s->discards.bytes, r < 0 ? 0 : (uint64_t)bytes, __ATOMIC_RELAXED);
    return r;
}

static void file_discards(const BlockNode *n, BlockDiscards *out)
{
    const File *s = n->state;
    out->done = __atomic_load_n(&s->discards.done, __ATOMIC_RELAXED);
    out->failed = __atomic_load_n(&s->discards.failed, __ATOMIC_RELAXED);
    out->bytes = __atomic_load_n(&s->discards.bytes, __ATOMIC_RELAXED);
}

typedef struct CopyCall {
    int to, from;
    off_t to_off, from_off;
    int64_t bytes;
} CopyCall;

static int copy_call(void *opaque)
{
    CopyCall *c = opaque;
    while (c->bytes > 0) {
        ssize_t n = copy_file_range(c->from, &c->from_off, c->to, &c->to_off, (size_t)c->bytes, 0);
        if (n == 0) {
            return -ENOTSUP; /* the file ends: what follows are no bytes of it */
        }
        if (n < 0 && errno != EINTR) {
            bool cannot = errno == EXDEV || errno == EINVAL || errno == ENOSYS || errno == EOPNOTSUPP ||
                          errno == EBADF || errno == ETXTBSY;
            return cannot ? -ENOTSUP : -errno;
        }
        c->bytes -= MAX(n, 0);
    }
    return 0;
}

static int file_copy_from(BlockNode *n, int64_t off, int fd, int64_t fd_off, int64_t bytes)
{
    File *s = n->state;
    CopyCall c = { s->io.fd, fd, off, fd_off, bytes };
    CoRange range;
    if (s->is_device || s->unit > 1) {
        return -ENOTSUP;
    }
    co_range_claim(&s->ranges, &range, off, off + bytes, false);
    int r = worker_run(s->io.workers, copy_call, &c);
    co_range_release(&s->ranges, &range);
    if (r == 0) {
        grow_to(n, off + bytes);
    }
    return r;
}

static int file_host_fd(const BlockNode *n)
{
    return ((const File *)n->state)->io.fd;
}

static int file_extent(BlockNode *n, int64_t off, int64_t bytes, BlockExtent *out)
{
    const File *s = n->state;
    *out = (BlockExtent){ .bytes = bytes, .data = true, .allocated = true, .host = n, .host_off = off };
    if (s->is_device) {
        return 0;
    }
    off_t data = lseek(s->io.fd, off, SEEK_DATA), limit = off + bytes;
    if (data < 0 && errno != ENXIO) {
        return 0; /* the file system cannot tell */
    }
    if (data == off) {
        off_t gap = lseek(s->io.fd, off, SEEK_HOLE);
        limit = gap > off ? MIN(gap, limit) : limit;
    } else {
        out->data = false;
        out->zero = true;
        limit = data > off ? MIN(data, limit) : limit;
    }
    out->bytes = limit - off;
    return 0;
}

static int file_node_map(BlockNode *n, int64_t off, int64_t bytes, BlockMap *out)
{
    File *s = n->state;
    if (s->is_device || n->direct || bytes < MAP_LEAST || bytes > block_size(n) - off) {
        return -ENOTSUP;
    }
    return file_map(&s->io, off, bytes, out);
}

/* Resizing */

typedef struct ResizeCall {
    File *s;
    int64_t was, size;
    int prealloc;
} ResizeCall;

static int write_zero_bytes(int fd, int64_t off, int64_t end)
{
    g_autofree uint8_t *zeros = g_malloc0(BLOCK_BOUNCE);
    while (off < end) {
        ssize_t r = pwrite(fd, zeros, (size_t)MIN(end - off, (int64_t)BLOCK_BOUNCE), off);
        if (r < 0 && errno != EINTR) {
            return -errno;
        }
        off += MAX(r, 0);
    }
    return fsync(fd) < 0 ? -errno : 0;
}

static int resize_call(void *opaque)
{
    ResizeCall *c = opaque;
    int fd = c->s->io.fd, r = 0;
    if (c->prealloc == BLOCK_PREALLOC_FALLOC && c->size > c->was) {
        r = -posix_fallocate(fd, c->was, c->size - c->was);
    } else if (c->prealloc == BLOCK_PREALLOC_FULL && c->size > c->was) {
        r = write_zero_bytes(fd, c->was, c->size);
    } else if (ftruncate(fd, c->size) < 0) {
        r = -errno;
    }
    if (r < 0 && c->size > c->was && ftruncate(fd, c->was) < 0) {
        return r; /* as it was, as far as that goes */
    }
    return r;
}

static bool file_truncate(BlockNode *n, int64_t size, int prealloc, Error **errp)
{
    File *s = n->state;
    if (s->is_device) {
        int64_t have = file_length(s);
        if (size > have) {
            return error_fail(errp, "not-supported", "size", "enlarge the device first",
                              "'%s' is a device of %" PRId64 " bytes and cannot grow", n->filename, have);
        }
        return true;
    }
    if (prealloc == BLOCK_PREALLOC_METADATA) {
        return error_fail(errp, "invalid-value", "preallocation", NULL,
                          "a file has no metadata to preallocate; use falloc or full");
    }
    ResizeCall c = { s, block_size(n), size, prealloc };
    if (prealloc != BLOCK_PREALLOC_OFF && size < c.was) {
        return error_fail(errp, "conflict", "preallocation", "leave it out",
                          "preallocation goes with growing, not with shrinking");
    }
    if (prealloc == BLOCK_PREALLOC_FULL && n->direct) {
        return error_fail(errp, "conflict", "preallocation", NULL,
                          "preallocation=full needs cache.direct=off; falloc reserves the space as well");
    }
    CoRange range;
    co_range_claim(&s->ranges, &range, 0, INT64_MAX, true);
    int r = worker_run(s->io.workers, resize_call, &c);
    co_range_release(&s->ranges, &range);
    if (r < 0) {
        return error_set_errno(errp, -r, "cannot resize '%s' to %" PRId64 " bytes", n->filename, size);
    }
    node_set_size(n, size);
    return true;
}

#define FILE_DRIVER(driver_name, open_fn)                                                                    \
    {                                                                                                        \
        .name = driver_name, .state_size = sizeof(File), .open = open_fn, .close = file_close,               \
        .set_perm = file_set_perm, .allocated_bytes = file_allocated_bytes, .preadv = file_preadv,           \
        .pwritev = file_pwritev, .write_zeroes = file_write_zeroes, .discard = file_discard,                 \
        .flush = file_flush, .extent = file_extent, .map = file_node_map, .truncate = file_truncate,         \
        .discards = file_discards,                                                                           \
        .copy_from = file_copy_from, .host_fd = file_host_fd,                                                \
    }

bool block_is_buffered(const BlockNode *n)
{
    while (n->file) {
        n = n->file->node;
    }
    return n->driver->open == file_open && ((const File *)n->state)->io.one_writer;
}

const BlockDriver block_file_driver = FILE_DRIVER("file", file_open);
const BlockDriver block_host_device_driver = FILE_DRIVER("host_device", host_device_open);
