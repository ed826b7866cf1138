/* SPDX-License-Identifier: MIT
 * block/qcow2-amend.c - qcow2: another version, width of refcounts, lazy refcounts, data file's name.
 *
 * Models: each step changes the header by one write of its first sector, or as qcow2-header.c does. Another
 * width makes all refcount structures anew behind everything, switches, and frees the old ones. Version 2 has
 * no clusters that read as zeros: they become gaps, or data where a backing file would show through. Threads:
 * a coroutine with all guest offsets claimed and, but for copying, Qcow2.lock held.
 */
#include "qcow2.h"
#include "rhea/block/bitmap.h"

#include <errno.h>
#include <string.h>

/* Width of refcounts */

typedef struct Width {
    unsigned order;
    int64_t per, top; /* clusters that a block counts; behind all that have users */
    int64_t blocks, table;
    uint64_t max;
} Width;

/* Behind the last cluster with a user; -EOVERFLOW: some have more users than the new width can count. */
static int find_top(Qcow2 *q, Width *w)
{
    for (int64_t k = 0; k < q->ref_entries; k++) {
        int64_t end = (k + 1) * q->refs_per_block;
        for (int64_t c = k * q->refs_per_block; q->reftable[k] && c < end; c++) {
            uint64_t count = 0;
            int r = qref_next_used(q, c, end, &c, &count);
            if (r < 0 || (c < end && count > w->max)) {
                return r < 0 ? r : -EOVERFLOW;
            }
            w->top = c < end ? c + 1 : w->top;
        }
    }
    return 0;
}

static int write_blocks(Qcow2 *q, const Width *w)
{
    g_autofree uint8_t *buf = g_malloc((size_t)q->cluster_size);
    int64_t used = w->top + w->blocks + w->table;
    int r = 0;
    for (int64_t k = 0; k < w->blocks && r == 0; k++) {
        memset(buf, 0, (size_t)q->cluster_size);
        for (int64_t c = k * w->per; c < MIN((k + 1) * w->per, used) && r == 0; c++) {
            uint64_t count = 1;
            r = c < w->top ? qref_get(q, c, &count) : 0;
            qref_put_entry(w->order, buf, c % w->per, count);
        }
        r = r < 0 ? r
                  : node_pwrite(qcow2_file(q), (w->top + k) << q->cluster_bits, buf, (size_t)q->cluster_size);
    }
    return r;
}

static uint64_t *write_table(Qcow2 *q, const Width *w, int *r)
{
    size_t n = (size_t)(w->table << q->cluster_bits) / 8;
    uint64_t *table = g_new0(uint64_t, n + 1);
    g_autofree uint8_t *buf = g_malloc0(n * 8);
    for (int64_t k = 0; k < w->blocks; k++) {
        table[k] = (uint64_t)(w->top + k) << q->cluster_bits;
        put64(buf + k * 8, table[k]);
    }
    *r = node_pwrite(qcow2_file(q), (w->top + w->blocks) << q->cluster_bits, buf, n * 8);
    *r = *r < 0 ? *r : node_flush(qcow2_file(q));
    return table;
}

static int switch_header(Qcow2 *q, const Width *w)
{
    uint8_t sector[512];
    int r = node_pread(qcow2_file(q), 0, sector, sizeof(sector));
    put64(sector + QH_REFTABLE_OFFSET, (uint64_t)(w->top + w->blocks) << q->cluster_bits);
    put32(sector + QH_REFTABLE_CLUSTERS, (uint32_t)w->table);
    put32(sector + QH_REFCOUNT_ORDER, w->order);
    return r < 0 ? r
                 : qcow2_header_write(q, QH_REFTABLE_OFFSET, QH_REFCOUNT_ORDER + 4,
                                      sector + QH_REFTABLE_OFFSET);
}

/* Memory follows the header; what the old structures were is free. */
static void switch_memory(Qcow2 *q, const Width *w, uint64_t *table)
{
    uint64_t cache = (uint64_t)q->refs.max << q->cluster_bits;
    for (uint32_t k = 0; k < q->ref_entries; k++) {
        if (q->reftable[k]) {
            gpointer cluster = GSIZE_TO_POINTER((size_t)(q->reftable[k] >> q->cluster_bits));
            g_hash_table_remove(q->metadata, cluster);
            qref_free_later(q, (int64_t)GPOINTER_TO_SIZE(cluster), 1);
        }
    }
    qref_free_later(q, q->ref_offset >> q->cluster_bits, ((int64_t)q->ref_entries * 8) >> q->cluster_bits);
    for (int64_t k = 0; k < w->blocks; k++) {
        g_hash_table_add(q->metadata, GSIZE_TO_POINTER((size_t)(w->top + k)));
    }
    g_free(q->reftable);
    q->reftable = table;
    q->ref_entries = q->ref_stored = (uint32_t)((w->table << q->cluster_bits) / 8);
    q->ref_offset = (w->top + w->blocks) << q->cluster_bits;
    q->refcount_order = w->order;
    q->refs_per_block = w->per;
    q->max_refcount = w->max;
    q->fresh_from = MAX(q->fresh_from, w->top + w->blocks + w->table);
    q->comp_next = 0;
    qcache_fini(&q->refs);
    qcache_init(q, &q->refs, cache);
}

static int change_width(Qcow2 *q, unsigned bits)
{
    Width w = { .order = (unsigned)__builtin_ctz(bits) };
    w.per = (q->cluster_size * 8) >> w.order;
    w.max = bits == 64 ? (uint64_t)INT64_MAX : ((uint64_t)1 << bits) - 1;
    bool lazy = q->lazy;
    q->lazy = false; /* all counts on disk, none waiting */
    int r = qref_commit(q, true);
    while (r == 0 && (q->refs.dirty || q->freed->len)) {
        r = qref_commit(q, true);
    }
    q->lazy = lazy;
    r = r < 0 ? r : find_top(q, &w);
    for (int64_t before = -1; before != w.blocks + w.table;) {
        before = w.blocks + w.table;
        w.blocks = (w.top + before + w.per - 1) / w.per;
        w.table = (w.blocks * 8 + q->cluster_size - 1) >> q->cluster_bits;
    }
    if (r == 0 && w.table << q->cluster_bits > QCOW2_MAX_REFTABLE) {
        r = -EFBIG;
    }
    r = r < 0 ? r : write_blocks(q, &w);
    if (r < 0) {
        return r;
    }
    uint64_t *table = write_table(q, &w, &r);
    r = r < 0 ? r : switch_header(q, &w);
    if (r < 0) {
        g_free(table);
        return r;
    }
    switch_memory(q, &w, table);
    return qref_commit(q, true);
}

/* Versions */

static int change_version(Qcow2 *q, unsigned version)
{
    uint32_t was = q->header_length;
    unsigned was_version = q->version;
    uint64_t compatible = q->compatible, autoclear = q->autoclear;
    q->version = version;
    q->header_length = version == 2 ? QH_V2_LENGTH : QH_V3_LENGTH;
    if (version == 2) {
        q->compatible = q->autoclear = 0;
    }
    int r = qcow2_header_rebuild(q, was);
    if (r < 0) {
        q->version = was_version;
        q->header_length = was;
        q->compatible = compatible;
        q->autoclear = autoclear;
    }
    return r;
}

/* Clusters that read as zeros become gaps, or zeros that are written where something lies below. */
static int expand_zeros(Qcow2 *q)
{
    BlockNode *n = q->node, *below = block_backing(n);
    int64_t size = block_size(n), hidden = below ? block_size(below) : 0;
    g_autofree uint8_t *zeros = g_malloc0(1024 * 1024);
    int r = 0;
    for (int64_t at = 0; at < size && r == 0;) {
        BlockExtent e;
        r = node_extent(n, at, size - at, &e);
        if (r < 0) {
            break;
        }
        if (e.allocated && e.zero && at < hidden) {
            e.bytes = MIN(e.bytes, 1024 * 1024);
            r = node_pwrite(n, at, zeros, (size_t)e.bytes);
        } else if (e.allocated && e.zero) {
            r = qcow2_discard(n, at, e.bytes);
        }
        at += e.bytes;
    }
    return r < 0 ? r : qcow2_flush(n);
}

/* With the lock. Does a snapshot use what version 2 does not have? */
static int snapshots_have_zeros(Qcow2 *q, bool *yes)
{
    int r = 0;
    *yes = false;
    for (unsigned i = 0; i < q->snapshots->len && r == 0; i++) {
        const QSnapshot *s = &g_array_index(q->snapshots, QSnapshot, i);
        size_t bytes = (size_t)s->l1_size * 8;
        g_autofree uint8_t *l1 = g_malloc(bytes + 8);
        r = bytes > QCOW2_MAX_L1 ? -EIO : node_pread(qcow2_file(q), s->l1_offset, l1, bytes);
        for (uint32_t k = 0; k < s->l1_size && r == 0 && !*yes; k++) {
            int64_t at = (int64_t)(get64(l1 + (size_t)k * 8) & QCOW2_OFFSET);
            QTable *t = NULL;
            r = at & (q->cluster_size - 1) ? -EIO : at ? qcache_get(q, &q->l2, at, &t) : 0;
            for (int64_t e = 0; r == 0 && t && e < q->cluster_size; e += 8) {
                uint64_t entry = get64(t->data + e);
                *yes |= !(entry & QCOW2_COMPRESSED) && entry & QCOW2_ZERO;
            }
        }
    }
    return r;
}

/* With the lock: counts are on disk, and the dirty mark goes. */
static int end_lazy(Qcow2 *q)
{
    int r = 0;
    q->lazy = false;
    do {
        r = qref_commit(q, true);
    } while (r == 0 && (q->refs.dirty || q->l2.dirty || q->freed->len));
    if (r == 0 && q->incompatible & QINC_DIRTY) {
        r = qcow2_header_u64(q, QH_INCOMPATIBLE, q->incompatible & ~(uint64_t)QINC_DIRTY);
        q->incompatible &= r < 0 ? UINT64_MAX : ~(uint64_t)QINC_DIRTY;
    }
    return r;
}

static bool downgrade(Qcow2 *q, Error **errp)
{
    bool zeros;
    const char *name = block_label(q->node);
    co_mutex_lock(&q->lock);
    int r = snapshots_have_zeros(q, &zeros);
    co_mutex_unlock(&q->lock);
    if (r == 0 && zeros) {
        error_set(errp, "compat=0.10: snapshots of '%s' have clusters of zeros, which version 2 lacks", name);
        error_hint(errp, "delete the snapshots, or stay with compat=1.1");
        return false;
    }
    r = r < 0 ? r : expand_zeros(q);
    co_mutex_lock(&q->lock);
    r = r < 0 ? r : end_lazy(q);
    r = r < 0 ? r : change_version(q, 2);
    co_mutex_unlock(&q->lock);
    return r == 0 || error_set_errno(errp, -r, "cannot make '%s' an image of version 2", name);
}

/* Options */

typedef struct Plan {
    const Qcow2Amend *o;
    unsigned version, bits;
    bool lazy;
} Plan;

static bool same_text(const char *a, const char *b)
{
    return strcmp(a ? a : "", b ? b : "") == 0;
}

static bool check_names(const Qcow2 *q, const Qcow2Amend *o, Error **errp)
{
    if ((o->backing_file && !same_text(o->backing_file, q->backing_name)) ||
        (o->backing_fmt && !same_text(o->backing_fmt, q->backing_format))) {
        error_set(errp, "Cannot amend the backing file");
        error_hint(errp, "rhea-img rebase changes it");
        return false;
    }
    if (o->data_file && !q->external) {
        return error_set(errp, "data-file can only be set for images that use an external data file");
    }
    if (o->data_file && (!*o->data_file || strlen(o->data_file) > QCOW2_MAX_NAME)) {
        return error_set(errp, "a data file's name has 1 to %d bytes", QCOW2_MAX_NAME);
    }
    if (o->has_data_file_raw && o->data_file_raw && !q->external_raw) {
        return error_set(errp, "data-file-raw cannot be set on existing images");
    }
    return true;
}

static bool check_plan(const Qcow2 *q, Plan *p, Error **errp)
{
    const Qcow2Amend *o = p->o;
    const char *c = o->compat;
    if (c && strcmp(c, "0.10") != 0 && strcmp(c, "v2") != 0 && strcmp(c, "1.1") != 0 &&
        strcmp(c, "v3") != 0) {
        return error_set(errp, "compat '%s' is not known (0.10 and v2, 1.1 and v3)", c);
    }
    p->version = !c ? q->version : strcmp(c, "0.10") == 0 || strcmp(c, "v2") == 0 ? 2 : 3;
    p->bits = o->has_refcount_bits ? (unsigned)o->refcount_bits : 1u << q->refcount_order;
    p->lazy = o->has_lazy_refcounts ? o->lazy_refcounts : q->compatible & QCOMPAT_LAZY;
    if (!p->bits || p->bits & (p->bits - 1) || p->bits > 64) {
        return error_set(errp, "refcount_bits must be a power of two up to 64, which %u is not", p->bits);
    }
    const char *why = p->version > 2                               ? NULL
                      : p->bits != 16                              ? "a refcount_bits other than 16"
                      : o->has_lazy_refcounts && o->lazy_refcounts ? "lazy_refcounts=on"
                      : q->external                                ? "an external data file"
                      : q->extended                                ? "extended_l2"
                      : q->compression != QCOW2_COMPRESSION_ZLIB   ? "compression_type=zstd"
                      : block_bitmap_count(q->node) || q->bitmaps  ? "a persistent bitmap"
                      : q->incompatible & ~(uint64_t)(QINC_DIRTY)  ? "a feature of this image"
                                                                   : NULL;
    if (why) {
        return error_set(errp, "%s needs compat=1.1", why);
    }
    return check_names(q, o, errp);
}

static int apply(Qcow2 *q, const Plan *p)
{
    const Qcow2Amend *o = p->o;
    int r = q->version < p->version ? change_version(q, p->version) : 0;
    if (r == 0 && p->bits != 1u << q->refcount_order) {
        r = change_width(q, p->bits);
    }
    if (r == 0 && p->version > 2 && p->lazy != !!(q->compatible & QCOMPAT_LAZY)) {
        uint64_t c = p->lazy ? q->compatible | QCOMPAT_LAZY : q->compatible & ~(uint64_t)QCOMPAT_LAZY;
        r = p->lazy ? 0 : end_lazy(q);
        r = r < 0 ? r : qcow2_header_u64(q, QH_COMPATIBLE, c);
        q->compatible = r < 0 ? q->compatible : c;
    }
    if (r == 0 && o->has_data_file_raw && !o->data_file_raw && q->autoclear & QAUTO_RAW) {
        r = qcow2_header_u64(q, QH_AUTOCLEAR, q->autoclear & ~(uint64_t)QAUTO_RAW);
        q->autoclear &= r < 0 ? UINT64_MAX : ~(uint64_t)QAUTO_RAW;
        q->external_raw = r < 0;
    }
    if (r == 0 && o->data_file && !same_text(o->data_file, q->data_file_name)) {
        char *was = q->data_file_name;
        q->data_file_name = g_strdup(o->data_file);
        r = qcow2_header_rebuild(q, q->header_length);
        g_free(r < 0 ? q->data_file_name : was);
        q->data_file_name = r < 0 ? was : q->data_file_name;
    }
    return r;
}

bool qcow2_amend(BlockNode *n, const void *options, Error **errp)
{
    Qcow2 *q = n->state;
    Plan p = { .o = options };
    if (!check_plan(q, &p, errp)) {
        return false;
    }
    CoRange range;
    co_range_claim(&q->ranges, &range, 0, INT64_MAX, true);
    co_mutex_lock(&q->lock);
    int r = qcow2_prepare(q);
    r = r < 0 ? r : qref_commit(q, true);
    r = r < 0 ? r : apply(q, &p);
    co_mutex_unlock(&q->lock);
    co_range_release(&q->ranges, &range);
    if (r < 0) {
        return r == -EOVERFLOW
                   ? error_set(errp, "refcount_bits=%u: clusters of '%s' have more users than that counts",
                               p.bits, block_label(n))
               : r == -ENOSPC ? error_set(errp, "the names do not fit into the header of '%s'",
                                          block_label(n))
                              : error_set_errno(errp, -r, "cannot amend '%s'", block_label(n));
    }
    if (p.o->has_size && !node_truncate(n, (int64_t)p.o->size, BLOCK_PREALLOC_OFF, errp)) {
        return false;
    }
    return p.version >= q->version || downgrade(q, errp);
}
