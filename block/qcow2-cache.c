/* SPDX-License-Identifier: MIT
 * block/qcow2-cache.c - L2 tables and refcount blocks in memory, up to a limit.
 *
 * Models: least recently used first out. A table that differs from the disk is not thrown out: when all do,
 * everything is committed in order first. Only the bytes that differ are written, in units of 512. Threads:
 * with Qcow2.lock held.
 */
#include "qcow2.h"

#include <errno.h>
#include <string.h>

enum { MIN_TABLES = 8, WRITE_UNIT = 512 }; /* callers hold a few tables at once */

void qcache_init(Qcow2 *q, QCache *c, uint64_t bytes)
{
    uint64_t n = bytes >> q->cluster_bits;
    *c = (QCache){ .tables = g_hash_table_new(g_int64_hash, g_int64_equal),
                   .max = (unsigned)CLAMP(n, MIN_TABLES, 1u << 23) };
}

static void lru_remove(QCache *c, QTable *t)
{
    *(t->newer ? &t->newer->older : &c->newest) = t->older;
    *(t->older ? &t->older->newer : &c->oldest) = t->newer;
}

static void lru_push(QCache *c, QTable *t)
{
    t->newer = NULL;
    t->older = c->newest;
    *(c->newest ? &c->newest->newer : &c->oldest) = t;
    c->newest = t;
}

static void table_free(QCache *c, QTable *t)
{
    g_hash_table_remove(c->tables, &t->offset);
    lru_remove(c, t);
    c->dirty -= t->lo < t->hi;
    g_aligned_free(t->data);
    g_free(t);
}

void qcache_fini(QCache *c)
{
    while (c->newest) {
        table_free(c, c->newest);
    }
    g_clear_pointer(&c->tables, g_hash_table_destroy);
}

void qcache_forget(QCache *c, int64_t offset)
{
    QTable *t = g_hash_table_lookup(c->tables, &offset);
    if (t) {
        table_free(c, t);
    }
}

static int table_write(Qcow2 *q, QCache *c, QTable *t)
{
    uint32_t lo = t->lo & ~(uint32_t)(WRITE_UNIT - 1),
             hi = (t->hi + WRITE_UNIT - 1) & ~(uint32_t)(WRITE_UNIT - 1);
    qevent(q, c == &q->refs ? t->fresh ? BLKDEBUG_EVENT_REFBLOCK_ALLOC_WRITE : BLKDEBUG_EVENT_REFBLOCK_UPDATE
              : t->fresh    ? BLKDEBUG_EVENT_L2_ALLOC_WRITE
                            : BLKDEBUG_EVENT_L2_UPDATE);
    int r = node_pwrite(qcow2_file(q), t->offset + lo, t->data + lo, hi - lo);
    if (r == 0) {
        t->lo = UINT32_MAX;
        t->hi = 0;
        t->fresh = false;
        c->dirty--;
    }
    return r;
}

int qcache_write(Qcow2 *q, QCache *c, bool only_fresh)
{
    if (!c->dirty) {
        return 0;
    }
    int r = 0;
    for (QTable *t = c->oldest; t && r == 0 && c->dirty; t = t->newer) {
        if (t->lo < t->hi && (t->fresh || !only_fresh)) {
            r = table_write(q, c, t);
        }
    }
    return r;
}

/* Room for one more. Tables that callers hold are among the newest. */
static int make_room(Qcow2 *q, QCache *c)
{
    while (g_hash_table_size(c->tables) >= c->max) {
        QTable *t = c->oldest;
        for (unsigned keep = g_hash_table_size(c->tables) - MIN_TABLES / 2; keep > 0 && t->lo < t->hi;
             keep--) {
            t = t->newer;
        }
        if (t->lo < t->hi) {
            int r = qref_commit(q, false);
            if (r == 0 && q->refs.dirty && c == &q->refs) {
                r = qcache_write(q, c, false); /* lazy refcounts: written here only */
            }
            if (r < 0) {
                return r;
            }
            continue;
        }
        table_free(c, t);
    }
    return 0;
}

static QTable *table_add(Qcow2 *q, QCache *c, int64_t offset)
{
    QTable *t = g_new0(QTable, 1);
    t->offset = offset;
    t->lo = UINT32_MAX;
    t->data = g_aligned_alloc0(1, (size_t)q->cluster_size, 4096);
    g_hash_table_insert(c->tables, &t->offset, t);
    lru_push(c, t);
    return t;
}

int qcache_get(Qcow2 *q, QCache *c, int64_t offset, QTable **out)
{
    QTable *t = g_hash_table_lookup(c->tables, &offset);
    if (G_LIKELY(t)) {
        if (t != c->newest) {
            lru_remove(c, t);
            lru_push(c, t);
        }
        *out = t;
        return 0;
    }
    if (offset >= block_size(qcow2_file(q))) { /* zeros would be read, and there may be many such tables */
        return qcow2_corrupt(q, "%s at %#" PRIx64 " lies behind the end of the file (%" PRId64 " bytes)",
                             c == &q->refs ? "a refcount block" : "an L2 table", (uint64_t)offset,
                             block_size(qcow2_file(q)));
    }
    int r = make_room(q, c);
    if (r < 0) {
        return r;
    }
    t = g_hash_table_lookup(c->tables, &offset);
    if (t) { /* to make room was to commit, which has counted clusters down and needed this table for it */
        *out = t;
        return 0;
    }
    t = table_add(q, c, offset);
    qevent(q, c == &q->refs ? BLKDEBUG_EVENT_REFBLOCK_LOAD : BLKDEBUG_EVENT_L2_LOAD);
    r = node_pread(qcow2_file(q), offset, t->data, (size_t)q->cluster_size);
    if (r < 0) {
        table_free(c, t);
        return r;
    }
    *out = t;
    return 0;
}

int qcache_new(Qcow2 *q, QCache *c, int64_t offset, QTable **out)
{
    int r = make_room(q, c);
    if (r < 0) {
        return r;
    }
    qcache_forget(c, offset);
    *out = table_add(q, c, offset);
    (*out)->fresh = true;
    qcache_touch(c, *out, 0, (uint32_t)q->cluster_size);
    return 0;
}

void qcache_touch(QCache *c, QTable *t, uint32_t lo, uint32_t hi)
{
    c->dirty += t->lo >= t->hi;
    t->lo = MIN(t->lo, lo);
    t->hi = MAX(t->hi, hi);
}
