/* SPDX-License-Identifier: MIT
 * block/qcow2-snapshot.c - qcow2: internal snapshots.
 *
 * Models: a snapshot is a copy of the L1 table; what both reach has one user more. Each step leaves a sound
 * image if the power fails behind it: counts go up first, "one user" marks are cleared next, then the header,
 * by one sector, changes from one snapshot table (or L1 table) to another; counts go down last. Threads:
 * coroutines with all guest offsets claimed and Qcow2.lock held.
 */
#include "qcow2.h"
#include "rhea/block/bitmap.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { ENTRY_BYTES = 40, EXTRA_KNOWN = 24 };

static void snapshot_clear(QSnapshot *s)
{
    g_free(s->pub.id);
    g_free(s->pub.name);
    g_free(s->extra);
}

void qcow2_free_snapshots(Qcow2 *q)
{
    for (unsigned i = 0; i < q->snapshots->len; i++) {
        snapshot_clear(&g_array_index(q->snapshots, QSnapshot, i));
    }
    g_array_set_size(q->snapshots, 0);
}

/* The table */

static int64_t parse_entry(Qcow2 *q, const uint8_t *p, int64_t room)
{
    if (room < ENTRY_BYTES) {
        return -1;
    }
    uint32_t extra = get32(p + 36), id = get16(p + 12), name = get16(p + 14);
    int64_t need = ENTRY_BYTES + (int64_t)extra + id + name;
    if (extra > 1024 || need > room) {
        return -1;
    }
    const uint8_t *more = p + ENTRY_BYTES;
    QSnapshot s = { .l1_offset = (int64_t)get64(p), .l1_size = get32(p + 8) };
    s.pub = (BlockSnapshot){ .id = g_strndup((const char *)more + extra, id),
                             .name = g_strndup((const char *)more + extra + id, name),
                             .date_sec = get32(p + 16),
                             .date_nsec = get32(p + 20),
                             .vm_clock_nsec = get64(p + 24),
                             .vm_state_size = extra >= 8 ? get64(more) : get32(p + 32),
                             .disk_size = extra >= 16 ? get64(more + 8) : (uint64_t)block_size(q->node),
                             .icount = extra >= 24 ? get64(more + 16) : UINT64_MAX };
    if (extra > EXTRA_KNOWN) {
        s.extra_len = extra - EXTRA_KNOWN;
        s.extra = g_memdup2(more + EXTRA_KNOWN, s.extra_len);
    }
    g_array_append_val(q->snapshots, s);
    return (need + 7) & ~(int64_t)7;
}

bool qcow2_read_snapshots(Qcow2 *q, uint32_t count, int64_t offset, Error **errp)
{
    if (!count) {
        return true;
    }
    int64_t size = block_size(qcow2_file(q));
    if (count > QCOW2_MAX_SNAPSHOTS || offset & (q->cluster_size - 1) || offset <= 0 || offset >= size) {
        return error_set(errp, "'%s': the snapshot table (%u entries at %#" PRIx64 ") is invalid",
                         block_label(q->node), count, offset);
    }
    int64_t room = MIN(size - offset, (int64_t)QCOW2_MAX_SNAPSHOT_TABLE), at = 0;
    room = MIN(room, (int64_t)count * (ENTRY_BYTES + 1024 + 2 * 65536)); /* no more than entries can take */
    g_autofree uint8_t *table = g_malloc((size_t)room);
    int r = node_pread(qcow2_file(q), offset, table, (size_t)room);
    if (r < 0) {
        return error_set_errno(errp, -r, "cannot read the snapshot table of '%s'", block_label(q->node));
    }
    for (uint32_t i = 0; i < count; i++) {
        int64_t len = at > room ? -1 : parse_entry(q, table + at, room - at);
        if (len < 0) {
            return error_set(errp, "'%s': entry %u of the snapshot table is invalid", block_label(q->node),
                             i);
        }
        at += len;
    }
    q->snapshots_offset = offset;
    q->snapshots_bytes = at;
    return true;
}

static uint8_t *build_table(const Qcow2 *q, size_t *len)
{
    GByteArray *out = g_byte_array_new();
    for (unsigned i = 0; i < q->snapshots->len; i++) {
        const QSnapshot *s = &g_array_index(q->snapshots, QSnapshot, i);
        uint8_t e[ENTRY_BYTES + EXTRA_KNOWN] = { 0 };
        size_t id = strlen(s->pub.id), name = strlen(s->pub.name);
        put64(e, (uint64_t)s->l1_offset);
        put32(e + 8, s->l1_size);
        put16(e + 12, (uint16_t)id);
        put16(e + 14, (uint16_t)name);
        put32(e + 16, (uint32_t)s->pub.date_sec);
        put32(e + 20, (uint32_t)s->pub.date_nsec);
        put64(e + 24, s->pub.vm_clock_nsec);
        put32(e + 32, (uint32_t)MIN(s->pub.vm_state_size, UINT32_MAX));
        put32(e + 36, EXTRA_KNOWN + s->extra_len);
        put64(e + 40, s->pub.vm_state_size);
        put64(e + 48, s->pub.disk_size);
        put64(e + 56, s->pub.icount);
        g_byte_array_append(out, e, sizeof(e));
        if (s->extra_len) {
            g_byte_array_append(out, s->extra, s->extra_len);
        }
        g_byte_array_append(out, (const uint8_t *)s->pub.id, (guint)id);
        g_byte_array_append(out, (const uint8_t *)s->pub.name, (guint)name);
        static const uint8_t zeros[8];
        g_byte_array_append(out, zeros, -out->len & 7);
    }
    *len = out->len;
    return g_byte_array_free(out, FALSE);
}

/* A new table elsewhere, then the header. The old one is freed. */
static int write_snapshots(Qcow2 *q)
{
    size_t len;
    g_autofree uint8_t *table = build_table(q, &len);
    int64_t first = 0, got, n = ((int64_t)len + q->cluster_size - 1) >> q->cluster_bits;
    bool fresh;
    int r = n ? qref_alloc(q, n, true, &first, &got, &fresh) : 0;
    r = r < 0 ? r : qref_commit(q, true);
    r = r < 0 || !n ? r : node_pwrite(qcow2_file(q), first << q->cluster_bits, table, len);
    r = r < 0 ? r : node_flush(qcow2_file(q));
    if (r == 0) {
        uint8_t field[12];
        put32(field, q->snapshots->len);
        put64(field + 4, (uint64_t)first << q->cluster_bits);
        r = qcow2_header_write(q, QH_SNAPSHOTS, QH_SNAPSHOTS + 12, field);
    }
    if (r < 0) {
        return r;
    }
    int64_t old = (q->snapshots_bytes + q->cluster_size - 1) >> q->cluster_bits;
    if (old) {
        qref_free_later(q, q->snapshots_offset >> q->cluster_bits, old);
    }
    q->snapshots_offset = first << q->cluster_bits;
    q->snapshots_bytes = (int64_t)len;
    return 0;
}

/* Trees */

typedef int (*TreeFn)(Qcow2 *q, int64_t first, int64_t n);

static int tree_add(Qcow2 *q, int64_t first, int64_t n)
{
    return qref_add(q, first, n, 1);
}

static int tree_free(Qcow2 *q, int64_t first, int64_t n)
{
    qref_free_later(q, first, n);
    return 0;
}

/* Calls fn for all clusters that `l1` reaches, until *limit of them are done. Entries of one L1 table share
 * no L2 table: those of an image that lies could make a small file a very long way. */
static int walk_tree(Qcow2 *q, const uint64_t *l1, uint32_t size, TreeFn fn, int64_t *limit)
{
    g_autoptr(GHashTable) seen = g_hash_table_new(NULL, NULL);
    int r = 0;
    for (uint32_t i = 0; i < size && r == 0 && *limit > 0; i++) {
        int64_t at = (int64_t)(l1[i] & QCOW2_OFFSET);
        if (!at) {
            continue;
        }
        if (!g_hash_table_add(seen, GSIZE_TO_POINTER((size_t)(at >> q->cluster_bits)))) {
            return qcow2_corrupt(q, "L1 entry %u names an L2 table that another one names (%#" PRIx64 ")", i,
                                 (uint64_t)at);
        }
        r = at & (q->cluster_size - 1) ? -EIO : fn(q, at >> q->cluster_bits, 1);
        *limit -= r == 0;
        for (int64_t k = 0; r == 0 && k<q->cluster_size && * limit> 0; k += q->entry_bytes) {
            QTable *t;
            r = qcache_get(q, &q->l2, at, &t); /* again: counting may have needed its place */
            uint64_t e = r < 0 ? 0 : get64(t->data + k);
            int64_t off = (int64_t)(e & QCOW2_OFFSET), len = 1;
            if (e & QCOW2_COMPRESSED) {
                qmap_compressed(q, e, &off, &len);
            }
            if (r == 0 && off && !q->external) {
                int64_t first = off >> q->cluster_bits;
                r = fn(q, first, ((off + len - 1) >> q->cluster_bits) - first + 1);
                *limit -= r == 0;
            }
        }
    }
    return r;
}

static int add_users(Qcow2 *q, const uint64_t *l1, uint32_t size)
{
    int64_t left = INT64_MAX;
    int r = walk_tree(q, l1, size, tree_add, &left);
    if (r < 0) { /* give back what was counted */
        int64_t done = INT64_MAX - left;
        walk_tree(q, l1, size, tree_free, &done);
        qref_commit(q, true);
    }
    return r;
}

/* The marks of the active tables become what the counts say. */
static int set_marks(Qcow2 *q, bool clear_all)
{
    g_autoptr(GHashTable) seen = g_hash_table_new(NULL, NULL);
    int r = 0;
    for (uint32_t i = 0; i < q->l1_size && r == 0; i++) {
        int64_t at = (int64_t)(q->l1[i] & QCOW2_OFFSET);
        uint64_t count = 2;
        if (!at) {
            continue;
        }
        r = clear_all ? 0 : qref_get(q, at >> q->cluster_bits, &count);
        uint64_t want = (uint64_t)at | (count == 1 ? QCOW2_COPIED : 0);
        if (r == 0 && want != q->l1[i]) {
            q->l1[i] = want;
            q->l1_lo = MIN(q->l1_lo, i);
            q->l1_hi = MAX(q->l1_hi, i + 1);
        }
        if (!g_hash_table_add(seen, GSIZE_TO_POINTER((size_t)at))) {
            continue; /* an image that lies */
        }
        bool own = count == 1; /* a table that a snapshot shares keeps no marks */
        for (int64_t k = 0; r == 0 && k < q->cluster_size; k += q->entry_bytes) {
            QTable *t;
            r = qcache_get(q, &q->l2, at, &t);
            uint64_t e = r < 0 ? 0 : get64(t->data + k), host = e & QCOW2_OFFSET;
            if (!host || e & QCOW2_COMPRESSED) {
                continue;
            }
            count = 2;
            r = own ? qref_get(q, (int64_t)host >> q->cluster_bits, &count) : 0;
            uint64_t mark = count == 1 ? e | QCOW2_COPIED : e & ~QCOW2_COPIED;
            if (r == 0 && mark != e) {
                put64(t->data + k, mark);
                qcache_touch(&q->l2, t, (uint32_t)k, (uint32_t)k + 8);
            }
        }
    }
    return r;
}

/* Commands */

GArray *qcow2_snapshots(BlockNode *n)
{
    const Qcow2 *q = n->state;
    GArray *out = g_array_new(FALSE, FALSE, sizeof(BlockSnapshot));
    for (unsigned i = 0; i < q->snapshots->len; i++) {
        g_array_append_val(out, g_array_index(q->snapshots, QSnapshot, i).pub);
    }
    return out;
}

typedef enum { BY_ID_FIRST, BY_NAME_FIRST } FindOrder;
static int find(const Qcow2 *q, const char *name, FindOrder order)
{
    for (int pass = 0; pass < 2; pass++) {
        bool by_name = (order == BY_NAME_FIRST) != (pass == 1);
        for (unsigned i = 0; i < q->snapshots->len; i++) {
            const QSnapshot *s = &g_array_index(q->snapshots, QSnapshot, i);
            if (strcmp(by_name ? s->pub.name : s->pub.id, name) == 0) {
                return (int)i;
            }
        }
    }
    return -1;
}

/* Commands run alone: no request maps or unmaps anything meanwhile. */
static int command_begin(Qcow2 *q, CoRange *range, bool external, Error **errp)
{
    co_range_claim(&q->ranges, range, 0, INT64_MAX, true);
    co_mutex_lock(&q->lock);
    int r = q->external && !external ? -ENOTSUP : qcow2_prepare(q);
    r = r < 0 ? r : qref_commit(q, true);
    if (r == -ENOTSUP) {
        error_set(errp, "an image with an external data file cannot have internal snapshots");
    } else if (r < 0) {
        error_set_errno(errp, -r, "cannot change '%s'", block_label(q->node));
    }
    return r;
}

static bool command_end(Qcow2 *q, CoRange *range, int r, const char *what, Error **errp)
{
    co_mutex_unlock(&q->lock);
    co_range_release(&q->ranges, range);
    if (r == -E2BIG) {
        error_set(errp, "cannot %s the snapshot of '%s': its reference counts are too narrow for one more",
                  what, block_label(q->node));
        error_hint(errp, "delete one, or make the image with more refcount_bits");
    } else if (r < 0 && (!errp || !*errp)) {
        error_set_errno(errp, -r, "cannot %s the snapshot of '%s'", what, block_label(q->node));
    }
    return r == 0;
}

static int write_l1_copy(Qcow2 *q, const uint64_t *l1, uint32_t size, int64_t *first)
{
    int64_t n = ((int64_t)size * 8 + q->cluster_size - 1) >> q->cluster_bits, got;
    bool fresh;
    int r = n ? qref_alloc(q, n, true, first, &got, &fresh) : 0;
    g_autofree uint8_t *buf = g_malloc0((size_t)(n << q->cluster_bits) + 8);
    for (uint32_t i = 0; i < size; i++) {
        put64(buf + (size_t)i * 8, l1[i] & ~QCOW2_COPIED);
    }
    return r < 0 || !n
               ? r
               : node_pwrite(qcow2_file(q), *first << q->cluster_bits, buf, (size_t)(n << q->cluster_bits));
}

static int snapshot_make(Qcow2 *q, const char *name)
{
    unsigned long id = 0;
    for (unsigned i = 0; i < q->snapshots->len; i++) {
        id = MAX(id, strtoul(g_array_index(q->snapshots, QSnapshot, i).pub.id, NULL, 10));
    }
    int64_t first = 0;
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    int r = q->snapshots->len >= QCOW2_MAX_SNAPSHOTS ? -EFBIG : add_users(q, q->l1, q->l1_size);
    r = r < 0 ? r : qref_commit(q, true);
    r = r < 0 ? r : set_marks(q, true);
    r = r < 0 ? r : qref_commit(q, true);
    r = r < 0 ? r : write_l1_copy(q, q->l1, q->l1_size, &first);
    if (r < 0) {
        return r;
    }
    QSnapshot s = { .l1_offset = first << q->cluster_bits, .l1_size = q->l1_size };
    s.pub = (BlockSnapshot){ .id = g_strdup_printf("%lu", id + 1),
                             .name = g_strdup(name),
                             .date_sec = (uint64_t)now.tv_sec,
                             .date_nsec = (uint64_t)now.tv_nsec,
                             .disk_size = (uint64_t)block_size(q->node) };
    g_array_append_val(q->snapshots, s);
    r = write_snapshots(q);
    if (r < 0) {
        snapshot_clear(&g_array_index(q->snapshots, QSnapshot, q->snapshots->len - 1));
        g_array_set_size(q->snapshots, q->snapshots->len - 1);
    }
    return r;
}

bool qcow2_snapshot_create(BlockNode *n, const char *name, Error **errp)
{
    Qcow2 *q = n->state;
    CoRange range;
    if (strlen(name) > 255) {
        return error_set(errp, "a snapshot's name has at most 255 bytes");
    }
    int r = command_begin(q, &range, false, errp);
    r = r < 0 ? r : snapshot_make(q, name);
    r = r < 0 ? r : qref_commit(q, true);
    return command_end(q, &range, r, "create", errp);
}

static int read_l1(Qcow2 *q, const QSnapshot *s, uint64_t **out)
{
    size_t bytes = (size_t)s->l1_size * 8;
    if (bytes > QCOW2_MAX_L1 || s->l1_offset & (q->cluster_size - 1) ||
        s->l1_offset > block_size(qcow2_file(q))) {
        return -EIO;
    }
    *out = g_malloc0(bytes + 8);
    int r = node_pread(qcow2_file(q), s->l1_offset, *out, bytes);
    for (uint32_t i = 0; i < s->l1_size; i++) {
        (*out)[i] = GUINT64_FROM_BE((*out)[i]);
    }
    return r;
}

static int free_tree(Qcow2 *q, const uint64_t *l1, uint32_t size, int64_t l1_offset)
{
    int64_t left = INT64_MAX, n = ((int64_t)size * 8 + q->cluster_size - 1) >> q->cluster_bits;
    int r = walk_tree(q, l1, size, tree_free, &left);
    if (n) {
        qref_free_later(q, l1_offset >> q->cluster_bits, n);
    }
    bool pass = q->pass_discard;
    q->pass_discard = q->pass_discard_snapshot;
    int e = qref_commit(q, true);
    q->pass_discard = pass;
    r = r < 0 ? r : e;
    r = r < 0 ? r : set_marks(q, false);
    return r < 0 ? r : qref_commit(q, true);
}

bool qcow2_snapshot_delete(BlockNode *n, const char *name, Error **errp)
{
    Qcow2 *q = n->state;
    CoRange range;
    g_autofree uint64_t *l1 = NULL;
    int r = command_begin(q, &range, false, errp), i = find(q, name, BY_NAME_FIRST);
    if (r == 0 && i < 0) {
        error_set(errp, "'%s' has no snapshot '%s'", block_label(n), name);
        r = -ENOENT;
    }
    if (r == 0) {
        QSnapshot s = g_array_index(q->snapshots, QSnapshot, i);
        r = read_l1(q, &s, &l1);
        if (r == 0) {
            g_array_remove_index(q->snapshots, (guint)i);
            r = write_snapshots(q);
            if (r < 0) {
                g_array_insert_val(q->snapshots, (guint)i, s);
            } else {
                snapshot_clear(&s);
                r = free_tree(q, l1, s.l1_size, s.l1_offset);
            }
        }
    }
    return command_end(q, &range, r, "delete", errp);
}

/* The header goes from the active L1 to `l1` (then owned), and to a size. What that reaches is counted. */
static int switch_l1(Qcow2 *q, uint64_t *l1, uint32_t size, uint64_t disk_size)
{
    uint32_t was_size = q->l1_size;
    int64_t first = 0, was_offset = q->l1_offset;
    uint64_t *was = q->l1;
    int r = write_l1_copy(q, l1, size, &first);
    r = r < 0 ? r : qref_commit(q, true);
    if (r < 0) {
        return r;
    }
    uint8_t field[QH_L1_OFFSET + 8 - QH_SIZE] = { 0 }; /* size, no encryption, L1 */
    put64(field, disk_size);
    put32(field + (QH_L1_SIZE - QH_SIZE), size);
    put64(field + (QH_L1_OFFSET - QH_SIZE), (uint64_t)first << q->cluster_bits);
    r = qcow2_header_write(q, QH_SIZE, QH_L1_OFFSET + 8, field);
    if (r < 0) {
        return r;
    }
    for (uint32_t i = 0; i < size; i++) {
        l1[i] &= ~QCOW2_COPIED;
    }
    q->l1 = l1;
    q->l1_size = size;
    q->l1_offset = first << q->cluster_bits;
    q->l1_lo = UINT32_MAX;
    q->l1_hi = 0;
    node_set_size(q->node, (int64_t)disk_size);
    r = free_tree(q, was, was_size, was_offset);
    g_free(was);
    return r;
}

static int snapshot_switch(Qcow2 *q, const QSnapshot *s, uint64_t *l1)
{
    uint64_t disk_size = s->pub.disk_size;
    if ((int64_t)s->l1_size < qcow2_l1_needed(q, (int64_t)disk_size) || disk_size > BLOCK_MAX_SIZE) {
        return -EIO;
    }
    int r = add_users(q, l1, s->l1_size);
    r = r < 0 ? r : qref_commit(q, true);
    return r < 0 ? r : switch_l1(q, l1, s->l1_size, disk_size);
}

/* All is left to the backing file again: an empty L1 table takes the place of the present one. */
bool qcow2_make_empty(BlockNode *n, Error **errp)
{
    Qcow2 *q = n->state;
    CoRange range;
    int r = command_begin(q, &range, true, errp);
    if (r == 0) {
        uint64_t *l1 = g_new0(uint64_t, (size_t)q->l1_size + 1);
        r = switch_l1(q, l1, q->l1_size, (uint64_t)block_size(n));
        if (q->l1 != l1) {
            g_free(l1);
        }
    }
    co_mutex_unlock(&q->lock);
    co_range_release(&q->ranges, &range);
    if (r < 0 && (!errp || !*errp)) {
        error_set_errno(errp, -r, "cannot empty '%s'", block_label(n));
    }
    return r == 0;
}

/* A read-only node shows the snapshot instead of the active state. Nothing is in flight. */
bool qcow2_snapshot_view(BlockNode *n, const char *name, Error **errp)
{
    Qcow2 *q = n->state;
    uint64_t *l1 = NULL;
    int i = find(q, name, BY_ID_FIRST);
    if (!n->read_only) {
        return error_set(errp, "a snapshot can be looked at in an image that is opened read-only");
    }
    if (i < 0) {
        return error_set(errp, "'%s' has no snapshot '%s'", block_label(n), name);
    }
    const QSnapshot *s = &g_array_index(q->snapshots, QSnapshot, i);
    int r = s->pub.disk_size > (uint64_t)BLOCK_MAX_SIZE ||
                    (int64_t)s->l1_size < qcow2_l1_needed(q, (int64_t)s->pub.disk_size)
                ? -EIO
                : read_l1(q, s, &l1);
    if (r < 0) {
        g_free(l1);
        return error_set_errno(errp, -r, "cannot read the L1 table of snapshot '%s'", name);
    }
    g_free(q->l1);
    q->l1 = l1;
    q->l1_size = s->l1_size;
    node_set_size(n, (int64_t)s->pub.disk_size);
    return true;
}

bool qcow2_snapshot_apply(BlockNode *n, const char *name, Error **errp)
{
    Qcow2 *q = n->state;
    CoRange range;
    uint64_t *l1 = NULL;
    if (block_bitmap_count(n)) {
        error_set(errp, "Device has active dirty bitmaps");
        error_hint(errp, "they do not say what a snapshot changes; remove them first");
        return false;
    }
    int r = command_begin(q, &range, false, errp), i = find(q, name, BY_ID_FIRST);
    if (r == 0 && i < 0) {
        error_set(errp, "'%s' has no snapshot '%s'", block_label(n), name);
        r = -ENOENT;
    }
    if (r == 0) {
        const QSnapshot *s = &g_array_index(q->snapshots, QSnapshot, i);
        r = read_l1(q, s, &l1);
        r = r < 0 ? r : snapshot_switch(q, s, l1);
        if (q->l1 != l1) {
            g_free(l1);
        }
    }
    return command_end(q, &range, r, "apply", errp);
}
