/* SPDX-License-Identifier: MIT
 * block/blklogwrites.c - blklogwrites: passes requests on, and writes down on another node what was written.
 *
 * Models: the log of Linux's device mapper (Documentation/admin-guide/device-mapper/log-writes.rst): a super
 *         block, then for each write, discard and flush an entry of one sector, and the data. A write is
 *         noted when it is done, a flush at the place where it began: what stands in front of a flush is
 *         what it has made safe. An entry whose request failed is a mark.
 * Does not model: changes of the size (the log has no entry for them).
 * Threads: any; `lock` gives out places in the log.
 */
#include "internal.h"

#include <errno.h>
#include <string.h>

#define SUPER_MAGIC UINT64_C(0x6a736677736872)
enum { SUPER_VERSION = 1, FLAG_FLUSH = 1, FLAG_DISCARD = 4, FLAG_MARK = 8, DEFAULT_SECTOR = 512 };

typedef struct Log {
    BlockNode *node;
    CoMutex lock;
    CoRangeLock ranges;        /* writes that cover sectors in part */
    int64_t sector_size, next; /* `next`: bytes of the log that are given out */
    uint64_t entries, interval, unwritten, since_super;
    bool super_due;
} Log;

static void le_put(uint8_t *p, uint64_t v, unsigned bytes)
{
    for (unsigned i = 0; i < bytes; i++) {
        p[i] = (uint8_t)(v >> 8 * i);
    }
}

static uint64_t le_get(const uint8_t *p, unsigned bytes)
{
    uint64_t v = 0;
    for (unsigned i = bytes; i-- > 0;) {
        v = v << 8 | p[i];
    }
    return v;
}

/* ---- open ---- */

typedef struct Scan {
    Log *s;
    Error **errp;
    bool ok;
} Scan;

/* Behind the last entry of a log that exists. */
static void scan_log(void *opaque)
{
    Scan *k = opaque;
    Log *s = k->s;
    uint8_t b[32];
    const char *name = s->node->filename;
    int r = block_size(s->node) < DEFAULT_SECTOR ? -EINVAL : node_pread(s->node, 0, b, sizeof(b));
    if (r < 0 || le_get(b, 8) != SUPER_MAGIC || le_get(b + 8, 8) != SUPER_VERSION) {
        k->ok = error_set(k->errp, "log-append=on: '%s' does not begin as a log", name);
        return;
    }
    uint64_t entries = le_get(b + 16, 8);
    s->sector_size = (int64_t)le_get(b + 24, 4);
    if (s->sector_size < DEFAULT_SECTOR || s->sector_size > 1 << 22 ||
        s->sector_size & (s->sector_size - 1)) {
        k->ok =
            error_set(k->errp, "log-append=on: '%s' has sectors of %" PRId64 " bytes", name, s->sector_size);
        return;
    }
    s->next = s->sector_size;
    for (; s->entries < entries; s->entries++) {
        if (s->next > block_size(s->node) - s->sector_size ||
            node_pread(s->node, s->next, b, sizeof(b)) < 0) {
            k->ok = error_set(k->errp, "log-append=on: '%s' ends before entry %" PRIu64 " of %" PRIu64, name,
                              s->entries, entries);
            return;
        }
        uint64_t sectors = le_get(b + 16, 8) & FLAG_DISCARD ? 0 : le_get(b + 8, 8);
        if (sectors > (uint64_t)(block_size(s->node) / s->sector_size)) {
            k->ok =
                error_set(k->errp, "log-append=on: entry %" PRIu64 " of '%s' is absurd", s->entries, name);
            return;
        }
        s->next += s->sector_size * (1 + (int64_t)sectors);
    }
    k->ok = true;
}

static int write_super(Log *s)
{
    g_autofree uint8_t *b = g_malloc0((size_t)s->sector_size);
    le_put(b, SUPER_MAGIC, 8);
    le_put(b + 8, SUPER_VERSION, 8);
    le_put(b + 16, s->entries, 8);
    le_put(b + 24, (uint64_t)s->sector_size, 4);
    s->super_due = false;
    s->since_super = 0;
    return node_pwrite(s->node, 0, b, (size_t)s->sector_size);
}

static void super_body(void *opaque)
{
    Scan *k = opaque;
    int r = write_super(k->s);
    k->ok = r == 0 || error_set_errno(k->errp, -r, "cannot write to the log '%s'", k->s->node->filename);
}

static bool log_open(BlockNode *n, const BlockdevOptions *all, bool from_text, Error **errp)
{
    Log *s = n->state;
    const BlockBlklogwrites *o = &all->u.blklogwrites;
    co_mutex_init(&s->lock);
    co_range_init(&s->ranges);
    if (!filter_open(n, "file", o->file, from_text, errp)) {
        return false;
    }
    if (n->read_only) {
        return error_set(errp, "blklogwrites: '%s' is read-only, there is nothing to write down",
                         n->filename);
    }
    if (o->log_append && o->has_log_sector_size) {
        return error_set(errp, "log-append=on and log-sector-size exclude each other: the log has its own");
    }
    s->sector_size = o->has_log_sector_size ? (int64_t)o->log_sector_size : DEFAULT_SECTOR;
    s->interval = o->log_super_update_interval;
    if (s->sector_size & (s->sector_size - 1)) {
        return error_set(errp, "log-sector-size=%" PRId64 " is not a power of two", s->sector_size);
    }
    BlockEdge *e = block_attach(n, "log", o->log, from_text, errp);
    if (!e) {
        return false;
    }
    s->node = e->node;
    s->next = s->sector_size;
    Scan k = { .s = s, .errp = errp };
    co_run_sync(n->graph->loop, o->log_append ? scan_log : super_body, &k);
    return k.ok;
}

static void close_body(void *opaque)
{
    Log *s = opaque;
    if (write_super(s) == 0) {
        node_flush(s->node);
    }
}

static void log_close(BlockNode *n)
{
    Log *s = n->state;
    if (s->node && s->entries) {
        co_run_sync(n->graph->loop, close_body, s);
    }
    co_range_fini(&s->ranges);
    co_mutex_fini(&s->lock);
}

static int64_t log_allocated_bytes(const BlockNode *n)
{
    return block_allocated_bytes(n->file->node);
}

/* ---- entries ---- */

/* A place for an entry and so much data. */
static int64_t entry_take(Log *s, int64_t data)
{
    co_mutex_lock(&s->lock);
    int64_t at = s->next;
    s->next += s->sector_size + data;
    s->entries++;
    s->unwritten++;
    co_mutex_unlock(&s->lock);
    return at;
}

/* The super block counts entries that are there: it waits while one in front of its count is being written.
 */
static int entry_write(Log *s, int64_t at, int64_t off, int64_t bytes, unsigned flags, IoVec *data)
{
    g_autofree uint8_t *b = g_malloc0((size_t)s->sector_size);
    le_put(b, (uint64_t)(off / s->sector_size), 8);
    le_put(b + 8, (uint64_t)(bytes / s->sector_size), 8);
    le_put(b + 16, flags, 8);
    int r = data ? node_pwritev(s->node, at + s->sector_size, data, 0) : 0;
    r = r < 0 ? r : node_pwrite(s->node, at, b, (size_t)s->sector_size);
    co_mutex_lock(&s->lock);
    s->unwritten--;
    s->since_super++;
    s->super_due |= flags & FLAG_FLUSH || s->since_super >= s->interval;
    if (s->super_due && s->unwritten == 0) {
        int e = write_super(s);
        r = r < 0 ? r : e;
    }
    co_mutex_unlock(&s->lock);
    return r;
}

/* What lies in the whole sectors around a write that is done. */
static int entry_of_write(BlockNode *n, int64_t off, IoVec *v)
{
    Log *s = n->state;
    int64_t end = off + (int64_t)v->bytes, from = off & -s->sector_size,
            to = (end + s->sector_size - 1) & -s->sector_size;
    if (from == off && to == end) {
        return entry_write(s, entry_take(s, to - from), from, to - from, 0, v);
    }
    g_autofree uint8_t *buf = g_malloc0((size_t)(to - from));
    IoVec all;
    int r = node_pread(n->file->node, from, buf, (size_t)MIN(to - from, block_size(n->file->node) - from));
    iov_init_buf(&all, buf, (size_t)(to - from));
    return r < 0 ? r : entry_write(s, entry_take(s, to - from), from, to - from, 0, &all);
}

/* ---- requests ---- */

static void claim(Log *s, CoRange *range, int64_t off, int64_t bytes)
{
    int64_t end = off + bytes, mask = s->sector_size - 1;
    co_range_claim(&s->ranges, range, off & ~mask, (end + mask) & ~mask, true);
}

static int log_pwritev(BlockNode *n, int64_t off, IoVec *v, unsigned flags)
{
    Log *s = n->state;
    CoRange range;
    if (flags & BLK_COMPRESSED) {
        return -ENOTSUP; /* the log holds what is read back */
    }
    claim(s, &range, off, (int64_t)v->bytes);
    int r = filter_pwritev(n, off, v, flags);
    r = r < 0 ? r : entry_of_write(n, off, v);
    co_range_release(&s->ranges, &range);
    return r;
}

/* Zeros are not written in one go: the log takes them as data, in pieces. */
static int log_write_zeroes(BlockNode *n, int64_t off, int64_t bytes, unsigned flags)
{
    return -ENOTSUP;
}

static int log_discard(BlockNode *n, int64_t off, int64_t bytes)
{
    Log *s = n->state;
    CoRange range;
    int64_t end = off + bytes, from = (off + s->sector_size - 1) & -s->sector_size,
            to = end & -s->sector_size;
    if (from >= to) {
        return 0;
    }
    claim(s, &range, from, to - from);
    int r = filter_discard(n, from, to - from);
    r = r < 0 ? r : entry_write(s, entry_take(s, 0), from, to - from, FLAG_DISCARD, NULL);
    co_range_release(&s->ranges, &range);
    return r;
}

static int log_flush(BlockNode *n)
{
    Log *s = n->state;
    int64_t at = entry_take(s, 0);
    int r = filter_flush(n);
    int e = entry_write(s, at, 0, 0, r < 0 ? FLAG_MARK : FLAG_FLUSH, NULL);
    e = e < 0 ? e : node_flush(s->node);
    return r < 0 ? r : e;
}

const BlockDriver block_blklogwrites_driver = {
    .name = "blklogwrites",
    .state_size = sizeof(Log),
    .filter = true,
    .open = log_open,
    .close = log_close,
    .allocated_bytes = log_allocated_bytes,
    .preadv = filter_preadv,
    .pwritev = log_pwritev,
    .write_zeroes = log_write_zeroes,
    .discard = log_discard,
    .flush = log_flush,
    .extent = filter_extent,
    .truncate = filter_truncate,
};
