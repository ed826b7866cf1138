/* SPDX-License-Identifier: MIT
 * block/qcow2-ref.c - reference counts, allocation, and the order in which metadata reaches the disk.
 *
 * Models: one rule makes every power cut harmless: counts go up on disk before anything refers to the
 * cluster, and down only after nothing does. So qref_commit() writes
 *           1. refcount blocks, then (synced) the refcount table's new entries; L2 tables that nothing refers
 * to yet;
 *           2. sync: now all data and counts that the next step makes visible are safe;
 *           3. L2 tables and L1 entries;
 *           4. sync, and only then counts of clusters that lost their user go down, in memory.
 *         A cut leaves clusters counted that nobody uses, never the opposite. A freed cluster is not used
 * again before step 4, so what the disk still refers to is never overwritten. With lazy refcounts the image
 * is marked dirty first and step 1 leaves the blocks in memory. A refcount block lies in the first cluster it
 * counts, where that is possible. Threads: with Qcow2.lock held.
 */
#include "qcow2.h"

#include <errno.h>
#include <string.h>

/* Entries of a block: 1 to 64 bits, the least significant first within a byte, bytes big-endian. */
static uint64_t entry_get(const Qcow2 *q, const uint8_t *block, int64_t i)
{
    switch (q->refcount_order) {
    case 3: return block[i];
    case 4: return get16(block + 2 * i);
    case 5: return get32(block + 4 * i);
    case 6: return get64(block + 8 * i);
    default: break;
    }
    unsigned bits = 1u << q->refcount_order, per_byte = 8 / bits;
    return block[i / per_byte] >> (i % per_byte * bits) & (q->max_refcount);
}

void qref_put_entry(unsigned order, uint8_t *block, int64_t i, uint64_t v)
{
    switch (order) {
    case 3: block[i] = (uint8_t)v; return;
    case 4: put16(block + 2 * i, (uint16_t)v); return;
    case 5: put32(block + 4 * i, (uint32_t)v); return;
    case 6: put64(block + 8 * i, v); return;
    default: break;
    }
    unsigned bits = 1u << order, per_byte = 8 / bits, shift = (unsigned)(i % per_byte) * bits;
    uint8_t *byte = &block[i / per_byte];
    *byte = (uint8_t)((*byte & ~(((1u << bits) - 1) << shift)) | v << shift);
}

/* The block that counts `cluster`; *out NULL when there is none. */
static int block_get(Qcow2 *q, int64_t cluster, QTable **out)
{
    int64_t k = cluster / q->refs_per_block;
    *out = NULL;
    if (k >= q->ref_entries || !q->reftable[k]) {
        return 0;
    }
    uint64_t at = q->reftable[k];
    if ((at & QCOW2_REF_OFFSET) != at || at & ((uint64_t)q->cluster_size - 1) ||
        at >= (uint64_t)QCOW2_MAX_HOST) {
        return qcow2_corrupt(q, "refcount block %" PRId64 " has the impossible offset %#" PRIx64, k, at);
    }
    return qcache_get(q, &q->refs, (int64_t)at, out);
}

int qref_get(Qcow2 *q, int64_t cluster, uint64_t *count)
{
    QTable *t;
    int r = block_get(q, cluster, &t);
    *count = r == 0 && t ? entry_get(q, t->data, cluster % q->refs_per_block) : 0;
    return r;
}

int qref_next_used(Qcow2 *q, int64_t from, int64_t end, int64_t *cluster, uint64_t *count)
{
    QTable *t;
    int64_t first = from - from % q->refs_per_block, i = from - first;
    int64_t n = MIN(end - first, q->refs_per_block);
    int r = block_get(q, from, &t);
    *cluster = end;
    for (; r == 0 && t && i < n; i++) {
        int64_t bit = i << q->refcount_order;
        if (bit % 64 == 0 && i + (64 >> q->refcount_order) <= n && get64(t->data + bit / 8) == 0) {
            i += (64 >> q->refcount_order) - 1;
        } else if ((*count = entry_get(q, t->data, i)) != 0) {
            *cluster = first + i;
            return 0;
        }
    }
    return r;
}

int64_t qcow2_used_clusters(BlockNode *n)
{
    Qcow2 *q = n->state;
    int64_t used = 0;
    uint64_t count;
    int r = 0;
    g_autoptr(GHashTable) seen = g_hash_table_new(NULL, NULL); /* a block counts for one range */
    co_mutex_lock(&q->lock);
    for (int64_t k = 0; k < q->ref_entries && r == 0; k++) {
        int64_t end = (k + 1) * q->refs_per_block;
        if (!g_hash_table_add(seen, GSIZE_TO_POINTER((size_t)q->reftable[k])) && q->reftable[k]) {
            r = -EIO;
        }
        for (int64_t c = k * q->refs_per_block; q->reftable[k] && r == 0 && c < end; c++) {
            r = qref_next_used(q, c, end, &c, &count);
            used += r == 0 && c < end;
        }
    }
    co_mutex_unlock(&q->lock);
    return r < 0 ? r : used;
}

static void block_put(Qcow2 *q, QTable *t, int64_t cluster, uint64_t count)
{
    int64_t i = cluster % q->refs_per_block, bit = i << q->refcount_order;
    qref_put_entry(q->refcount_order, t->data, i, count);
    qcache_touch(&q->refs, t, (uint32_t)(bit / 8), (uint32_t)((bit + (1 << q->refcount_order) - 1) / 8 + 1));
}

static void metadata_add(Qcow2 *q, int64_t cluster)
{
    if (q->metadata) {
        g_hash_table_add(q->metadata, GSIZE_TO_POINTER((size_t)cluster));
    }
}

static void reftable_set(Qcow2 *q, int64_t k, int64_t offset)
{
    q->reftable[k] = (uint64_t)offset;
    q->ref_lo = MIN(q->ref_lo, (uint32_t)k);
    q->ref_hi = MAX(q->ref_hi, (uint32_t)k + 1);
    metadata_add(q, offset >> q->cluster_bits);
}

static void used_up_to(Qcow2 *q, int64_t end)
{
    q->fresh_from = MAX(q->fresh_from, end);
}

/* New blocks for [k, k + n) from cluster `first` on, which they or their neighbours count. */
static int blocks_create(Qcow2 *q, int64_t k, int64_t n, int64_t first)
{
    used_up_to(q, first + n);
    for (int64_t i = 0; i < n; i++) {
        QTable *t;
        int r = qcache_new(q, &q->refs, (first + i) << q->cluster_bits, &t);
        if (r < 0) {
            return r;
        }
        reftable_set(q, k + i, (first + i) << q->cluster_bits);
    }
    for (int64_t i = 0; i < n; i++) {
        int r = qref_set(q, first + i, 1);
        if (r < 0) {
            return r;
        }
    }
    return 0;
}

static int write_reftable(Qcow2 *q, int64_t offset, uint32_t from, uint32_t to)
{
    size_t len = (size_t)(to - from) * 8;
    g_autofree uint8_t *buf = g_malloc(len);
    for (uint32_t i = from; i < to; i++) {
        put64(buf + (size_t)(i - from) * 8, q->reftable[i]);
    }
    return node_pwrite(qcow2_file(q), offset + (int64_t)from * 8, buf, len);
}

/* A larger table, behind all that the old one can count. Everything else is brought to disk first, so that
 * the header changes from one complete table to another. */
static int reftable_grow(Qcow2 *q, int64_t need)
{
    int64_t entries = MAX(need, (int64_t)q->ref_entries * 3 / 2), per = q->cluster_size / 8;
    int64_t first = (int64_t)q->ref_entries * q->refs_per_block, clusters, blocks;
    for (;; entries += per) {
        clusters = (entries + per - 1) / per;
        blocks = (clusters + q->refs_per_block) / q->refs_per_block;
        while (blocks * q->refs_per_block < clusters + blocks) {
            blocks++;
        }
        if (clusters * per >= (int64_t)q->ref_entries + blocks) {
            break;
        }
    }
    if (clusters * q->cluster_size > QCOW2_MAX_REFTABLE) {
        return -EFBIG;
    }
    qevent(q, BLKDEBUG_EVENT_REFTABLE_GROW);
    uint32_t was = q->ref_entries;
    int64_t old = q->ref_offset, at = (first + blocks) << q->cluster_bits;
    q->reftable = g_renew(uint64_t, q->reftable, clusters * per);
    memset(q->reftable + was, 0, (size_t)(clusters * per - was) * 8);
    q->ref_entries = (uint32_t)(clusters * per);
    int r = blocks_create(q, was, blocks, first);
    r = r < 0 ? r : qref_add(q, first + blocks, clusters, 1);
    used_up_to(q, first + blocks + clusters);
    qevent(q, BLKDEBUG_EVENT_REFBLOCK_ALLOC_WRITE_BLOCKS);
    r = r < 0 ? r : qcache_write(q, &q->refs, false);
    qevent(q, BLKDEBUG_EVENT_REFBLOCK_ALLOC_WRITE_TABLE);
    r = r < 0 ? r : write_reftable(q, at, 0, q->ref_entries);
    r = r < 0 ? r : node_flush(qcow2_file(q));
    if (r == 0) {
        uint8_t field[12];
        put64(field, (uint64_t)at);
        put32(field + 8, (uint32_t)clusters);
        qevent(q, BLKDEBUG_EVENT_REFBLOCK_ALLOC_SWITCH_TABLE);
        r = qcow2_header_write(q, QH_REFTABLE_OFFSET, QH_REFTABLE_OFFSET + 12, field);
    }
    if (r < 0) {
        /* The header still names the old table; what was added lies behind its reach: forget it. */
        for (uint32_t k = was; k < q->ref_entries; k++) {
            qcache_forget(&q->refs, (int64_t)q->reftable[k]);
        }
        q->ref_entries = was;
        q->ref_lo = MIN(q->ref_lo, was);
        q->ref_hi = MIN(q->ref_hi, was);
        return r;
    }
    q->ref_offset = at;
    q->ref_stored = q->ref_entries;
    q->ref_lo = UINT32_MAX;
    q->ref_hi = 0;
    qref_free_later(q, old >> q->cluster_bits, (int64_t)was / per);
    return 0;
}

/* Makes sure that block k exists. The first cluster it counts is a good place, unless something may be there
 * already: then it lies behind everything. */
static int block_ensure(Qcow2 *q, int64_t k)
{
    int64_t own = k * q->refs_per_block;
    if (k >= q->ref_entries) {
        int r = reftable_grow(q, k + 1);
        if (r < 0) {
            return r;
        }
    }
    if (q->reftable[k]) {
        return 0;
    }
    qevent(q, BLKDEBUG_EVENT_REFBLOCK_ALLOC);
    bool unused =
        own >= q->fresh_from || (!qcow2_file(q)->grows_zero && !q->repairing && !qref_is_metadata(q, own, 1));
    return blocks_create(q, k, 1, unused ? own : q->fresh_from);
}

/* Clusters that wait for a commit to be counted down. They still have a count, so none of them can be
 * allocated; where an image says otherwise, the commit would take away what was put there meanwhile. */

static void waiting_add(Qcow2 *q, int64_t first, int64_t n)
{
    for (int64_t end = first + n, stop; first < end; first = stop) {
        gpointer group = GSIZE_TO_POINTER((size_t)(first >> 5));
        stop = MIN((first | 31) + 1, end);
        uint32_t bits = UINT32_MAX >> (32 - (stop - first)) << (first & 31);
        bits |= GPOINTER_TO_UINT(g_hash_table_lookup(q->waiting, group));
        g_hash_table_insert(q->waiting, group, GUINT_TO_POINTER(bits));
    }
}

static bool is_waiting(const Qcow2 *q, int64_t cluster)
{
    gpointer group = GSIZE_TO_POINTER((size_t)(cluster >> 5));
    return GPOINTER_TO_UINT(g_hash_table_lookup(q->waiting, group)) >> (cluster & 31) & 1;
}

int qref_set(Qcow2 *q, int64_t cluster, uint64_t count)
{
    QTable *t;
    int r = block_get(q, cluster, &t);
    if (r == 0 && !t) {
        r = block_ensure(q, cluster / q->refs_per_block);
        r = r < 0 ? r : block_get(q, cluster, &t);
    }
    if (r < 0) {
        return r;
    }
    if (count && !q->repairing && is_waiting(q, cluster) &&
        entry_get(q, t->data, cluster % q->refs_per_block) == 0) {
        return qcow2_corrupt(q, "cluster %" PRId64 " was in use but is counted as free", cluster);
    }
    block_put(q, t, cluster, count);
    if (count == 0) {
        q->free_hint = MIN(q->free_hint, cluster);
        qcache_forget(&q->l2, cluster << q->cluster_bits);
        if (q->metadata) {
            g_hash_table_remove(q->metadata, GSIZE_TO_POINTER((size_t)cluster));
        }
        if (q->comp_next && cluster == (q->comp_next - 1) >> q->cluster_bits) {
            q->comp_next = 0;
        }
    }
    return 0;
}

int qref_add(Qcow2 *q, int64_t first, int64_t n, int change)
{
    for (int64_t i = 0; i < n; i++) {
        uint64_t count;
        int r = qref_get(q, first + i, &count);
        if (r == 0 && (change > 0 ? count >= q->max_refcount : count == 0)) {
            r = change > 0 ? -E2BIG
                           : qcow2_corrupt(q, "cluster %" PRId64 " is used but not counted", first + i);
        }
        r = r < 0 ? r : qref_set(q, first + i, change > 0 ? count + 1 : count - 1);
        if (r < 0) {
            for (; change > 0 && i > 0; i--) { /* as it was */
                qref_add(q, first + i - 1, 1, -1);
            }
            return r;
        }
    }
    return 0;
}

/* Allocation */

static bool range_hits(int64_t a, int64_t an, int64_t b, int64_t bn)
{
    return an > 0 && bn > 0 && a < b + bn && b < a + an;
}

static int64_t in_clusters(const Qcow2 *q, int64_t bytes)
{
    return (bytes + q->cluster_size - 1) >> q->cluster_bits;
}

/* Would somebody's data or a new table overwrite what the image itself needs? */
bool qref_is_metadata(Qcow2 *q, int64_t first, int64_t n)
{
    if (range_hits(first, n, 0, 1) ||
        range_hits(first, n, q->l1_offset >> q->cluster_bits, in_clusters(q, (int64_t)q->l1_size * 8)) ||
        range_hits(first, n, q->ref_offset >> q->cluster_bits, in_clusters(q, (int64_t)q->ref_entries * 8)) ||
        range_hits(first, n, q->snapshots_offset >> q->cluster_bits, in_clusters(q, q->snapshots_bytes))) {
        return true;
    }
    for (int64_t i = 0; q->metadata && i < n; i++) {
        if (g_hash_table_contains(q->metadata, GSIZE_TO_POINTER((size_t)(first + i)))) {
            return true;
        }
    }
    return false;
}

/* A run of free clusters within one block, `least` to `want` long; 0 in *got: this block has none. */
static int scan_block(Qcow2 *q, int64_t *at, int64_t least, int64_t want, int64_t *got)
{
    QTable *t;
    int r = block_get(q, *at, &t);
    int64_t end = (*at / q->refs_per_block + 1) * q->refs_per_block, run = 0, c = *at;
    *got = 0;
    if (r < 0 || !t) {
        return r < 0 ? r : -EIO;
    }
    for (; c < end && run < want; c++) {
        bool is_free = entry_get(q, t->data, c % q->refs_per_block) == 0;
        if (!is_free && run >= least) {
            break;
        }
        run = is_free ? run + 1 : 0;
    }
    *at = c - run;
    *got = run >= least ? run : 0;
    if (!*got) {
        *at = end;
    }
    return 0;
}

/* More neighbours than one block is sure to have: behind all blocks, their own blocks in front. */
static int alloc_behind(Qcow2 *q, int64_t n, int64_t *first)
{
    int64_t k = q->ref_entries;
    while (k > 0 && !q->reftable[k - 1]) {
        k--;
    }
    int64_t blocks = 1;
    while (blocks * q->refs_per_block < n + blocks) {
        blocks++;
    }
    if (k + blocks > q->ref_entries) {
        int r = reftable_grow(q, k + blocks);
        if (r < 0) {
            return r;
        }
        k = q->ref_entries;
        while (!q->reftable[k - 1]) {
            k--;
        }
        if (k + blocks > q->ref_entries) {
            return -EFBIG;
        }
    }
    int r = blocks_create(q, k, blocks, k * q->refs_per_block);
    *first = k * q->refs_per_block + blocks;
    return r;
}

int qref_alloc(Qcow2 *q, int64_t want, bool exact, int64_t *first, int64_t *got, bool *fresh)
{
    qevent(q, BLKDEBUG_EVENT_CLUSTER_ALLOC);
    int64_t hint = q->free_hint, at = hint, n = 0;
    int r = 0;
    if (exact && want > q->refs_per_block / 2) {
        r = alloc_behind(q, want, &at);
        n = want;
    }
    while (r == 0 && n == 0) {
        r = at >= QCOW2_MAX_HOST >> q->cluster_bits ? -EFBIG : block_ensure(q, at / q->refs_per_block);
        r = r < 0 ? r : scan_block(q, &at, exact ? want : 1, want, &n);
    }
    if (r == 0 && qref_is_metadata(q, at, n)) {
        r = qcow2_corrupt(q, "cluster %" PRId64 " holds metadata but is counted as free", at);
    }
    r = r < 0 ? r : qref_add(q, at, n, 1);
    if (r < 0) {
        return r;
    }
    if (q->free_hint == hint && (at <= hint || !exact)) { /* unless a commit on the way has freed some */
        q->free_hint = at + n;
    }
    *first = at;
    *got = n;
    *fresh = at >= q->fresh_from && qcow2_file(q)->grows_zero;
    used_up_to(q, at + n);
    return 0;
}

/* Freeing */

void qref_free_later(Qcow2 *q, int64_t first, int64_t n)
{
    waiting_add(q, first, n);
    if (q->freed->len) {
        QFreed *last = &g_array_index(q->freed, QFreed, q->freed->len - 1);
        if (last->first + last->n == first) {
            last->n += n;
            q->freed_clusters += n;
            return;
        }
    }
    QFreed f = { first, n };
    g_array_append_val(q->freed, f);
    q->freed_clusters += n;
}

void qref_free_entry(Qcow2 *q, uint64_t entry)
{
    int64_t off = (int64_t)(entry & QCOW2_OFFSET), len = 1;
    if (entry & QCOW2_COMPRESSED) {
        qmap_compressed(q, entry, &off, &len);
    } else if (!off || q->external) {
        return;
    }
    int64_t first = off >> q->cluster_bits, n = ((off + len - 1) >> q->cluster_bits) - first + 1;
    if (qref_is_metadata(q, first, n)) { /* a commit would free a table that is being used */
        qcow2_corrupt(q, "guest data at host offset %#" PRIx64 " lies on metadata", off);
        return;
    }
    qref_free_later(q, first, n);
}

/* One run of clusters whose users are gone on disk, too. Discards come first: afterwards they may have new
 * users. */
static int free_run(Qcow2 *q, QFreed f)
{
    int r = 0;
    for (int64_t i = 0; i < f.n && r == 0; i++) {
        uint64_t count;
        int64_t c = f.first + i, run = 0;
        r = qref_get(q, c, &count);
        while (q->pass_discard && r == 0 && count == 1 && i + run < f.n) {
            run++;
            r = i + run < f.n ? qref_get(q, c + run, &count) : 0;
        }
        qevent(q, BLKDEBUG_EVENT_CLUSTER_FREE);
        if (run) {
            node_discard(qcow2_file(q), c << q->cluster_bits, run << q->cluster_bits);
            r = r < 0 ? r : qref_add(q, c, run, -1);
            i += run - 1;
        } else {
            r = r < 0 ? r : qref_add(q, c, 1, -1);
        }
    }
    return r;
}

static int apply_freed(Qcow2 *q)
{
    GArray *freed = q->freed;
    int r = 0;
    q->freed = g_array_new(FALSE, FALSE, sizeof(QFreed));
    q->freed_clusters = 0;
    g_hash_table_remove_all(q->waiting);
    for (unsigned i = 0; i < freed->len; i++) {
        int e = free_run(q, g_array_index(freed, QFreed, i));
        r = r < 0 ? r : e; /* a failure leaks clusters, no more */
    }
    g_array_free(freed, TRUE);
    return r;
}

/* Committing */

static int write_l1(Qcow2 *q)
{
    uint32_t lo = q->l1_lo & ~63u, hi = MIN((q->l1_hi + 63) & ~63u, q->l1_size); /* whole sectors */
    if (q->l1_lo >= q->l1_hi) {
        return 0;
    }
    size_t len = (size_t)(hi - lo) * 8;
    g_autofree uint8_t *buf = g_malloc(len);
    for (uint32_t i = lo; i < hi; i++) {
        put64(buf + (size_t)(i - lo) * 8, q->l1[i]);
    }
    qevent(q, BLKDEBUG_EVENT_L1_UPDATE);
    int r = node_pwrite(qcow2_file(q), q->l1_offset + (int64_t)lo * 8, buf, len);
    if (r == 0) {
        q->l1_lo = UINT32_MAX;
        q->l1_hi = 0;
    }
    return r;
}

static int commit_refs(Qcow2 *q)
{
    if (q->lazy) {
        return 0;
    }
    int r = qcache_write(q, &q->refs, false);
    /* While a larger table is made a commit may be needed: the old one has no place for the new blocks. */
    uint32_t hi = MIN(q->ref_hi, q->ref_stored);
    if (r == 0 && q->ref_lo < hi) {
        r = node_flush(qcow2_file(q));
        qevent(q, BLKDEBUG_EVENT_REFTABLE_UPDATE);
        r = r < 0 ? r : write_reftable(q, q->ref_offset, q->ref_lo, hi);
        if (r == 0) {
            q->ref_lo = q->ref_hi > hi ? hi : UINT32_MAX;
            q->ref_hi = q->ref_hi > hi ? q->ref_hi : 0;
        }
    }
    return r;
}

int qref_commit(Qcow2 *q, bool sync)
{
    int r = commit_refs(q);
    if (r == 0 && (q->l2.dirty || q->l1_lo < q->l1_hi)) {
        r = qcache_write(q, &q->l2, true);
        r = r < 0 || !q->external ? r : node_flush(qcow2_data(q));
        r = r < 0 ? r : node_flush(qcow2_file(q));
        r = r < 0 ? r : qcache_write(q, &q->l2, false);
        r = r < 0 ? r : write_l1(q);
    } else if (r == 0 && sync && q->external) {
        r = node_flush(qcow2_data(q));
    }
    if (r == 0 && (sync || q->freed->len)) {
        if (sync) {
            qevent(q, BLKDEBUG_EVENT_FLUSH_TO_DISK);
        }
        r = node_flush(qcow2_file(q));
        r = r < 0 ? r : apply_freed(q);
    }
    return r;
}
