/* SPDX-License-Identifier: MIT
 * block/qcow2-check.c - qcow2: what refers to what, against what is counted; repair.
 *
 * Models: all references are counted anew from header, L1, L2 (of the active state and of every snapshot),
 * snapshot and refcount tables, then compared. Counts above the references are leaks, counts below are
 * errors. An L2 table is read once, however many L1 entries share it (snapshots do, and an image that lies):
 * what it refers to counts as often. Memory grows with the clusters referred to, not with the file's size;
 * references beyond the file's end are errors of their own. What could not be followed (the L1 table of a
 * snapshot, say) keeps leaks from being repaired, since its clusters look like some. Repair sets the counts,
 * then the "one user" marks that follow from them. A mark that is missing costs a copy, no data: it is
 * repaired, but is no error by itself. Threads: a coroutine with Qcow2.lock held and no requests in flight.
 */
#include "qcow2.h"

#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

enum { CHUNK_BITS = 12, CHUNK = 1 << CHUNK_BITS };

typedef struct Check {
    Qcow2 *q;
    BlockCheck *res;
    unsigned fix;
    GHashTable *chunks;    /* cluster >> CHUNK_BITS -> uint32_t[CHUNK] */
    int64_t file_clusters; /* what the file can hold */
    int64_t top;           /* behind the highest cluster that is referred to */
    int64_t last_host;     /* for fragmentation */
    GHashTable *tables;    /* of L2: cluster -> L2Uses */
    GHashTable *no_blocks; /* indices of refcount blocks that cannot be used */
    uint32_t weight;       /* how often the table that is walked is referred to */
    bool snapshot;         /* and no active L1 entry does so */
    bool marks;            /* second pass: compare COPIED */
    bool partial;          /* something could not be followed */
} Check;

/* L1 entries that name an L2 table. */
typedef struct L2Uses {
    int64_t offset;
    uint32_t n;
    bool active, bad; /* the active L1 table does; it cannot be read */
} L2Uses;

static void say(Check *k, const char *fmt, ...) G_GNUC_PRINTF(2, 3);
static void say(Check *k, const char *fmt, ...)
{
    if (k->res->say) {
        va_list ap;
        va_start(ap, fmt);
        g_autofree char *text = g_strdup_vprintf(fmt, ap);
        va_end(ap);
        k->res->say(k->res->opaque, text);
    }
}

static uint32_t *chunk_of(Check *k, int64_t cluster, bool make)
{
    gpointer key = GSIZE_TO_POINTER((size_t)(cluster >> CHUNK_BITS));
    uint32_t *c = g_hash_table_lookup(k->chunks, key);
    if (!c && make) {
        c = g_new0(uint32_t, CHUNK);
        g_hash_table_insert(k->chunks, key, c);
    }
    return c ? &c[cluster & (CHUNK - 1)] : NULL;
}

static uint32_t refs_of(Check *k, int64_t cluster)
{
    const uint32_t *c = chunk_of(k, cluster, false);
    return c ? *c : 0;
}

/* Counts references to [off, off + bytes). False: it does not lie within the file. */
static bool refer(Check *k, const char *what, int64_t off, int64_t bytes)
{
    int64_t first = off >> k->q->cluster_bits;
    int64_t n = bytes ? ((off + bytes - 1) >> k->q->cluster_bits) - first + 1 : 0;
    if (off < 0 || first + n > k->file_clusters) {
        say(k, "ERROR: %s at %#" PRIx64 " lies behind the end of the file", what, off);
        k->res->corruptions++;
        return false;
    }
    for (int64_t i = 0; i < n; i++) {
        uint32_t *c = chunk_of(k, first + i, true);
        *c = *c > UINT32_MAX - k->weight ? UINT32_MAX : *c + k->weight;
    }
    k->top = MAX(k->top, first + n);
    return true;
}

/* L2 entries */

static void entry_repair(Check *k, QTable *t, int64_t at, uint64_t e)
{
    put64(t->data + at, e);
    qcache_touch(&k->q->l2, t, (uint32_t)at, (uint32_t)at + 8);
}

static int count_entry(Check *k, QTable *t, int64_t at)
{
    Qcow2 *q = k->q;
    uint64_t e = get64(t->data + at), host = e & QCOW2_OFFSET;
    bool ok = true;
    if (e & QCOW2_COMPRESSED) {
        int64_t off, len;
        qmap_compressed(q, e, &off, &len);
        k->res->compressed_clusters += !k->snapshot;
        k->res->allocated_clusters += !k->snapshot;
        k->res->fragmented_clusters += !k->snapshot;
        ok = !(e & QCOW2_COPIED) && !q->external;
        if (!ok) {
            say(k, "ERROR: compressed cluster at %#" PRIx64 " is marked as having one user", off);
            k->res->corruptions++;
        } else {
            ok = refer(k, "compressed cluster", off, len);
        }
    } else if (host || (q->external && e & QCOW2_COPIED)) {
        k->res->allocated_clusters += !k->snapshot;
        if (host & ((uint64_t)q->cluster_size - 1)) {
            say(k, "ERROR: cluster offset %#" PRIx64 " is not a multiple of the cluster size", host);
            k->res->corruptions++;
            ok = false;
        } else {
            k->res->fragmented_clusters += !k->snapshot && k->last_host && (int64_t)host != k->last_host;
            k->last_host = (int64_t)host + q->cluster_size;
            ok = q->external || refer(k, "data cluster", (int64_t)host, q->cluster_size);
        }
    }
    if (!ok && k->fix & BLOCK_FIX_ERRORS) {
        entry_repair(k, t, at, 0);
        if (q->extended) {
            put64(t->data + at + 8, 0);
        }
        k->res->corruptions--;
        k->res->corruptions_fixed++;
    }
    return 0;
}

/* The mark must be missing when there are more users; it should be there when there is one. */
static int compare_mark(Check *k, uint64_t e, const char *what, uint64_t *fixed)
{
    Qcow2 *q = k->q;
    uint64_t host = e & QCOW2_OFFSET, count;
    *fixed = e;
    if (!host || host & ((uint64_t)q->cluster_size - 1) || e & QCOW2_COMPRESSED) {
        return 0;
    }
    int r = qref_get(q, (int64_t)host >> q->cluster_bits, &count);
    bool want = count == 1;
    if (r < 0 || want == !!(e & QCOW2_COPIED)) {
        return r == -EIO ? 0 : r; /* a block that cannot be read was an error before */
    }
    bool harmful = !want && refs_of(k, (int64_t)host >> q->cluster_bits) > 1;
    if (harmful) {
        say(k, "%s: %s at %#" PRIx64 " is marked as having one user, but has %" PRIu64,
            k->fix & BLOCK_FIX_ERRORS ? "Repairing" : "ERROR", what, host, count);
    }
    if (k->fix & BLOCK_FIX_ERRORS) {
        *fixed = want ? e | QCOW2_COPIED : e & ~QCOW2_COPIED;
        k->res->corruptions_fixed += harmful;
    } else {
        k->res->corruptions += harmful;
    }
    return 0;
}

static int walk_l2(Check *k, int64_t offset)
{
    Qcow2 *q = k->q;
    QTable *t;
    int r = qcache_get(q, &q->l2, offset, &t);
    k->last_host = 0; /* fragments are counted within a table */
    for (int64_t at = 0; r == 0 && at < q->cluster_size; at += q->entry_bytes) {
        if (!k->marks) {
            r = count_entry(k, t, at);
        } else if (!q->external) {
            uint64_t e = get64(t->data + at), fixed;
            r = compare_mark(k, e, "data cluster", &fixed);
            /* Looking at the count may have made room in the cache, but never for the newest table. */
            if (fixed != e) {
                entry_repair(k, t, at, fixed);
            }
        }
    }
    return r;
}

static bool l1_bad(const Check *k, uint64_t e)
{
    return e & QCOW2_L1_RESERVED || e & QCOW2_OFFSET & ((uint64_t)k->q->cluster_size - 1);
}

static void l1_set(Qcow2 *q, uint32_t i, uint64_t e)
{
    q->l1[i] = e;
    q->l1_lo = MIN(q->l1_lo, i);
    q->l1_hi = MAX(q->l1_hi, i + 1);
}

static L2Uses *uses_of(Check *k, uint64_t at)
{
    return g_hash_table_lookup(k->tables, GSIZE_TO_POINTER((size_t)(at >> k->q->cluster_bits)));
}

/* Notes the L2 tables that an L1 table names. */
static void note_l1(Check *k, const uint64_t *l1, uint32_t n, bool active)
{
    Qcow2 *q = k->q;
    for (uint32_t i = 0; i < n; i++) {
        uint64_t at = l1[i] & QCOW2_OFFSET;
        if (!at) {
            continue;
        }
        bool bad = l1_bad(k, l1[i]);
        if (bad) {
            say(k, "ERROR: L1 entry %u is invalid (%#" PRIx64 ")", i, l1[i]);
            k->res->corruptions++;
        } else if (!(bad = !refer(k, "L2 table", (int64_t)at, q->cluster_size))) {
            L2Uses *u = uses_of(k, at);
            if (!u) {
                u = g_new0(L2Uses, 1);
                u->offset = (int64_t)at;
                g_hash_table_insert(k->tables, GSIZE_TO_POINTER((size_t)(at >> q->cluster_bits)), u);
            }
            u->n += u->n < UINT32_MAX;
            u->active |= active;
        }
        if (bad && active && k->fix & BLOCK_FIX_ERRORS) {
            l1_set(q, i, 0);
            k->res->corruptions--;
            k->res->corruptions_fixed++;
        } else if (bad) {
            k->partial = true;
        }
    }
}

static int by_offset(gconstpointer a, gconstpointer b)
{
    int64_t x = (*(L2Uses *const *)a)->offset, y = (*(L2Uses *const *)b)->offset;
    return x < y ? -1 : x > y;
}

/* All L2 tables that were noted, as they lie in the file. */
static int walk_tables(Check *k)
{
    g_autoptr(GPtrArray) all = g_ptr_array_new();
    GHashTableIter iter;
    gpointer u;
    int r = 0;
    g_hash_table_iter_init(&iter, k->tables);
    while (g_hash_table_iter_next(&iter, NULL, &u)) {
        g_ptr_array_add(all, u);
    }
    g_ptr_array_sort(all, by_offset);
    for (guint i = 0; i < all->len && r == 0; i++) {
        L2Uses *use = all->pdata[i];
        if (use->bad || (k->marks && !use->active)) {
            continue;
        }
        k->weight = use->n;
        k->snapshot = !use->active;
        r = walk_l2(k, use->offset);
        if (r == -EIO && !k->marks) {
            bool fix = use->active && k->fix & BLOCK_FIX_ERRORS;
            say(k, "ERROR: the L2 table at %#" PRIx64 " cannot be read", use->offset);
            *(fix ? &k->res->corruptions_fixed : &k->res->corruptions) += 1;
            k->partial |= !fix || use->n > 1;
            use->bad = true;
            r = 0;
        }
    }
    k->weight = 1;
    return r;
}

/* Repair: what the active L1 table names and nobody can read is gone. */
static void drop_bad_tables(Check *k)
{
    Qcow2 *q = k->q;
    for (uint32_t i = 0; i < q->l1_size && k->fix & BLOCK_FIX_ERRORS; i++) {
        const L2Uses *u = q->l1[i] & QCOW2_OFFSET ? uses_of(k, q->l1[i] & QCOW2_OFFSET) : NULL;
        if (u && u->bad) {
            l1_set(q, i, 0);
        }
    }
}

/* The marks of the active tables. */
static int compare_marks(Check *k)
{
    Qcow2 *q = k->q;
    int r = 0;
    k->marks = true;
    for (uint32_t i = 0; i < q->l1_size && r == 0; i++) {
        uint64_t fixed = q->l1[i];
        if (!(q->l1[i] & QCOW2_OFFSET) || l1_bad(k, q->l1[i]) || !uses_of(k, q->l1[i] & QCOW2_OFFSET)) {
            continue;
        }
        r = compare_mark(k, q->l1[i], "L2 table", &fixed);
        if (fixed != q->l1[i]) {
            l1_set(q, i, fixed);
        }
    }
    return r < 0 ? r : walk_tables(k);
}

/* A snapshot's L1 table is nobody else's: else many could share one, and each be a long way to go. */
static bool snapshot_l1_ok(Check *k, const QSnapshot *s)
{
    const Qcow2 *q = k->q;
    int64_t bytes = (int64_t)s->l1_size * 8;
    if (s->l1_offset & (q->cluster_size - 1) || s->l1_offset < 0 || bytes > QCOW2_MAX_L1) {
        return false;
    }
    for (int64_t at = s->l1_offset; at < s->l1_offset + bytes; at += q->cluster_size) {
        if (refs_of(k, at >> q->cluster_bits)) {
            return false;
        }
    }
    return refer(k, "snapshot's L1 table", s->l1_offset, bytes);
}

static int count_snapshots(Check *k)
{
    Qcow2 *q = k->q;
    int r = 0;
    for (unsigned i = 0; i < q->snapshots->len && r == 0; i++) {
        const QSnapshot *s = &g_array_index(q->snapshots, QSnapshot, i);
        size_t bytes = (size_t)s->l1_size * 8;
        if (!snapshot_l1_ok(k, s)) {
            say(k, "ERROR: the L1 table of snapshot '%s' is invalid", s->pub.id);
            k->res->corruptions++;
            k->partial = true;
            continue;
        }
        g_autofree uint64_t *l1 = g_malloc(bytes + 8);
        r = node_pread(qcow2_file(q), s->l1_offset, l1, bytes);
        for (uint32_t n = 0; r == 0 && n < s->l1_size; n++) {
            l1[n] = GUINT64_FROM_BE(l1[n]);
        }
        if (r == 0) {
            note_l1(k, l1, s->l1_size, false);
        }
    }
    return r;
}

/* The bitmaps' directory, tables and data. */
static int count_bitmaps(Check *k)
{
    Qcow2 *q = k->q;
    int r = 0;
    if (q->bitmaps_void) {
        say(k, "ERROR: the bitmaps cannot be used: %s", q->bitmaps_void);
        bool fix = k->fix & BLOCK_FIX_ERRORS; /* the feature bit goes; what they had is leaked */
        *(fix ? &k->res->corruptions_fixed : &k->res->corruptions) += 1;
        if (fix) {
            q->autoclear &= ~(uint64_t)QAUTO_BITMAPS;
            r = qcow2_header_u64(q, QH_AUTOCLEAR, q->autoclear);
            g_clear_pointer(&q->bitmaps_void, g_free);
            q->bitmaps = 0;
        }
        return r;
    }
    if (q->bitmaps) {
        refer(k, "bitmap directory", q->bitmap_dir, q->bitmap_dir_bytes);
    }
    for (unsigned i = 0; i < q->bitmap_list->len && r == 0; i++) {
        const QBitmap *b = &g_array_index(q->bitmap_list, QBitmap, i);
        g_autofree uint64_t *e = g_malloc((size_t)b->table_size * 8 + 8);
        if (!refer(k, "bitmap table", b->table, (int64_t)b->table_size * 8)) {
            k->partial = true;
            continue;
        }
        r = node_pread(qcow2_file(q), b->table, e, (size_t)b->table_size * 8);
        for (uint32_t n = 0; r == 0 && n < b->table_size; n++) {
            uint64_t host = GUINT64_FROM_BE(e[n]) & QCOW2_OFFSET;
            if (host & ((uint64_t)q->cluster_size - 1)) {
                say(k, "ERROR: bitmap '%s': entry %u of its table is invalid (%#" PRIx64 ")", b->name, n,
                    host);
                k->res->corruptions++;
                k->partial = true;
            } else if (host) {
                refer(k, "bitmap data", (int64_t)host, q->cluster_size);
            }
        }
    }
    return r;
}

static int count_all(Check *k)
{
    Qcow2 *q = k->q;
    refer(k, "header", 0, q->cluster_size);
    if (q->l1_size) {
        refer(k, "L1 table", q->l1_offset, (int64_t)q->l1_size * 8);
    }
    if (q->snapshots_bytes) {
        refer(k, "snapshot table", q->snapshots_offset, q->snapshots_bytes);
    }
    note_l1(k, q->l1, q->l1_size, true);
    int r = count_snapshots(k);
    r = r < 0 ? r : walk_tables(k);
    drop_bad_tables(k);
    r = r < 0 ? r : count_bitmaps(k);
    refer(k, "refcount table", q->ref_offset, (int64_t)q->ref_entries * 8);
    for (uint32_t i = 0; i < q->ref_entries && r == 0; i++) {
        uint64_t at = q->reftable[i];
        if (!at) {
            continue;
        }
        bool bad = at & ((uint64_t)q->cluster_size - 1) || at >= (uint64_t)QCOW2_MAX_HOST;
        if (bad) {
            say(k, "ERROR: refcount block %u has the impossible offset %#" PRIx64, i, at);
            k->res->corruptions++;
        } else {
            bad = !refer(k, "refcount block", (int64_t)at, q->cluster_size);
        }
        if (!bad && refs_of(k, (int64_t)at >> q->cluster_bits) > 1) {
            say(k, "ERROR: refcount block %u at %#" PRIx64 " is used for something else, too", i, at);
            k->res->corruptions++;
            bad = true;
        }
        if (bad && k->fix & BLOCK_FIX_ERRORS) { /* its counts are made anew, elsewhere */
            q->reftable[i] = 0;
            q->ref_lo = MIN(q->ref_lo, i);
            q->ref_hi = MAX(q->ref_hi, i + 1);
            k->res->corruptions--;
            k->res->corruptions_fixed++;
        } else if (bad) {
            g_hash_table_add(k->no_blocks, GUINT_TO_POINTER(i + 1));
        }
    }
    return r;
}

static int compare_one(Check *k, int64_t cluster, uint64_t count, uint32_t refs)
{
    bool leak = count > refs;
    bool fix = leak ? k->fix & BLOCK_FIX_LEAKS && !k->partial : k->fix & BLOCK_FIX_ERRORS;
    say(k, "%s cluster %" PRId64 " refcount=%" PRIu64 " reference=%u",
        fix    ? "Repairing"
        : leak ? "Leaked"
               : "ERROR",
        cluster, count, refs);
    if (!fix) {
        *(leak ? &k->res->leaks : &k->res->corruptions) += 1;
        return 0;
    }
    int r = refs > k->q->max_refcount ? -E2BIG : qref_set(k->q, cluster, refs);
    if (r == 0) {
        *(leak ? &k->res->leaks_fixed : &k->res->corruptions_fixed) += 1;
    }
    return r;
}

/* [c, end) lies within one block, if there is one, and within one chunk, if there is one. */
static int compare_part(Check *k, int64_t c, int64_t end, bool counted, bool referred)
{
    Qcow2 *q = k->q;
    int r = 0;
    for (; c < end && r == 0; c++) {
        uint64_t count = 0;
        uint32_t refs = 0;
        if (referred) {
            refs = refs_of(k, c);
            r = counted ? qref_get(q, c, &count) : 0;
        } else {
            r = qref_next_used(q, c, end, &c, &count);
            if (r < 0 || c == end) {
                break;
            }
        }
        if (r == 0 && count != refs) {
            r = compare_one(k, c, count, refs);
        }
        if (count) {
            k->top = MAX(k->top, c + 1);
        }
    }
    return r;
}

static int by_number(gconstpointer a, gconstpointer b)
{
    size_t x = GPOINTER_TO_SIZE(*(const gpointer *)a), y = GPOINTER_TO_SIZE(*(const gpointer *)b);
    return x < y ? -1 : x > y;
}

/* Counted clusters from the blocks, referred ones from the chunks: whichever exists. */
static int compare_counts(Check *k)
{
    Qcow2 *q = k->q;
    guint n, i = 0;
    g_autofree gpointer *chunks = g_hash_table_get_keys_as_array(k->chunks, &n);
    qsort(chunks, n, sizeof(gpointer), by_number);
    int64_t per = q->refs_per_block, c = 0, block = 0;
    int r = 0;
    while (r == 0) {
        while (i < n && (int64_t)(GPOINTER_TO_SIZE(chunks[i]) + 1) << CHUNK_BITS <= c) {
            i++;
        }
        while (block < q->ref_entries &&
               (!q->reftable[block] || (block + 1) * per <= c ||
                g_hash_table_contains(k->no_blocks, GUINT_TO_POINTER((guint)block + 1)))) {
            block++;
        }
        int64_t chunk_at = i < n ? (int64_t)GPOINTER_TO_SIZE(chunks[i]) << CHUNK_BITS : INT64_MAX;
        int64_t block_at = block < q->ref_entries ? block * per : INT64_MAX;
        c = MAX(c, MIN(chunk_at, block_at));
        if (c == INT64_MAX) {
            break;
        }
        bool counted = block_at <= c, referred = chunk_at <= c;
        int64_t end = MIN(referred ? chunk_at + CHUNK : chunk_at, counted ? block_at + per : block_at);
        r = compare_part(k, c, end, counted, referred);
        c = end;
    }
    return r;
}

int qcow2_check_locked(Qcow2 *q, BlockCheck *res, unsigned fix)
{
    Check k = { .q = q, .res = res, .fix = fix, .weight = 1 };
    bool ready = q->ready, lazy = q->lazy;
    k.file_clusters = (block_size(qcow2_file(q)) + q->cluster_size - 1) >> q->cluster_bits;
    k.chunks = g_hash_table_new_full(NULL, NULL, NULL, g_free);
    k.tables = g_hash_table_new_full(NULL, NULL, NULL, g_free);
    k.no_blocks = g_hash_table_new(NULL, NULL);
    res->total_clusters = (block_size(q->node) + q->cluster_size - 1) >> q->cluster_bits;
    q->free_hint = k.file_clusters; /* repairs that allocate do so behind everything */
    q->lazy = false;
    q->repairing = fix;
    int r = count_all(&k);
    r = r < 0 ? r : compare_counts(&k);
    r = r < 0 ? r : compare_marks(&k);
    res->image_end = k.top << q->cluster_bits;
    if (r == 0 && fix) {
        r = qref_commit(q, true);
        if (r == 0 && q->refs.dirty) {
            r = qref_commit(q, true);
        }
        uint64_t left = q->incompatible & ~(uint64_t)QINC_DIRTY;
        if (!res->corruptions && fix & BLOCK_FIX_ERRORS) {
            left &= ~(uint64_t)QINC_CORRUPT;
        }
        if (r == 0 && q->version >= 3 && left != q->incompatible && fix & BLOCK_FIX_ERRORS) {
            r = qcow2_header_u64(q, QH_INCOMPATIBLE, left);
            q->incompatible = left;
        }
    }
    q->repairing = false;
    q->free_hint = 0;
    q->ready = ready;
    q->lazy = lazy;
    g_hash_table_destroy(k.chunks);
    g_hash_table_destroy(k.tables);
    g_hash_table_destroy(k.no_blocks);
    return r;
}

int qcow2_check(BlockNode *n, BlockCheck *res, unsigned fix, Error **errp)
{
    Qcow2 *q = n->state;
    co_mutex_lock(&q->lock);
    int r = qref_commit(q, true);
    r = r < 0 ? r : qcow2_check_locked(q, res, fix);
    co_mutex_unlock(&q->lock);
    if (r < 0) {
        res->check_errors++;
        error_set_errno(errp, -r, "the check of '%s' could not be finished", block_label(n));
    }
    return r;
}
