/* SPDX-License-Identifier: MIT
 * block/qcow2-bitmap.c - qcow2: persistent dirty bitmaps.
 *
 * Models: the bitmaps extension: a directory of bitmaps, each with a table of clusters of bits. Opening loads
 * those that are in order. Before the first write all are marked as in use, on disk; closing stores what
 * changed in new clusters, then the directory elsewhere, and switches to it by the header; then the old
 * clusters are counted down. So a cut leaves bitmaps that say they are not to be trusted, or the new ones, or
 * leaks. A bitmap of unknown kind, or with extra data that must be understood, is kept as it is and marked in
 * use, too. A directory that cannot be read leaves an image whose data is usable; the first write then clears
 * the feature bit, the format's way to say that bitmaps are void. Threads: with Qcow2.lock held, but for
 * opening and closing.
 */
#include "qcow2.h"
#include "rhea/block/bitmap.h"
#include "rhea/util/log.h"

#include <errno.h>
#include <string.h>

enum {
    ENTRY_BYTES = 24,
    MAX_DIRECTORY = 64 * 1024 * 1024,
    F_IN_USE = 1,
    F_AUTO = 2,
    F_COMPATIBLE = 4,
    F_KNOWN = 7,
    TYPE_DIRTY = 1,
};
#define TABLE_RESERVED ((uint64_t)0xff000000000001fe)

static void entry_clear(QBitmap *e)
{
    g_free(e->name);
    g_free(e->extra);
}

void qcow2_free_bitmaps(Qcow2 *q)
{
    for (unsigned i = 0; i < q->bitmap_list->len; i++) {
        entry_clear(&g_array_index(q->bitmap_list, QBitmap, i));
    }
    g_array_set_size(q->bitmap_list, 0);
}

/* Opening */

static bool void_bitmaps(Qcow2 *q, const char *fmt, ...) G_GNUC_PRINTF(2, 3);
static bool void_bitmaps(Qcow2 *q, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    g_free(q->bitmaps_void);
    q->bitmaps_void = g_strdup_vprintf(fmt, ap);
    va_end(ap);
    return false;
}

static bool within(const Qcow2 *q, uint64_t at, uint64_t bytes)
{
    uint64_t size = (uint64_t)block_size(qcow2_file(q));
    return !(at & ((uint64_t)q->cluster_size - 1)) && at && at < size &&
           bytes <= ((size - at + 511) & ~511ull);
}

/* Bytes of the entry at p, or -1. What is stored passes: clusters have 512 bytes at least, so a table has no
 * more entries than that of all the bits that the core lets a node have. */
static int64_t parse_entry(Qcow2 *q, const uint8_t *p, int64_t room, int64_t at)
{
    QBitmap e = { .at = at };
    if (room < ENTRY_BYTES) {
        return -1;
    }
    e.table = (int64_t)get64(p);
    e.table_size = get32(p + 8);
    e.flags = get32(p + 12);
    e.type = p[16];
    e.granularity_bits = p[17];
    unsigned name = (unsigned)(p[18] << 8 | p[19]);
    e.extra_len = get32(p + 20);
    int64_t need = ENTRY_BYTES + (int64_t)e.extra_len + name;
    if (need > room || name == 0 || name > BLOCK_BITMAP_MAX_NAME || memchr(p + need - name, 0, name) ||
        (e.table_size && !within(q, (uint64_t)e.table, (uint64_t)e.table_size * 8)) ||
        e.table_size > BLOCK_BITMAP_MAX_BYTES >> 9) {
        return -1;
    }
    e.name = g_strndup((const char *)p + need - name, name);
    e.extra = g_memdup2(p + ENTRY_BYTES, e.extra_len);
    e.known = e.type == TYPE_DIRTY && !(e.flags & ~(uint32_t)F_KNOWN) &&
              e.granularity_bits >= BLOCK_BITMAP_MIN_BITS && e.granularity_bits <= BLOCK_BITMAP_MAX_BITS &&
              (!e.extra_len || e.flags & F_COMPATIBLE);
    for (unsigned i = 0; i < q->bitmap_list->len; i++) {
        if (strcmp(g_array_index(q->bitmap_list, QBitmap, i).name, e.name) == 0) {
            entry_clear(&e);
            return -1;
        }
    }
    g_array_append_val(q->bitmap_list, e);
    return (need + 7) & ~(int64_t)7;
}

static bool read_directory(Qcow2 *q)
{
    int64_t bytes = q->bitmap_dir_bytes;
    if (!q->bitmaps || q->bitmaps > BLOCK_BITMAP_MAX_PER_NODE || bytes <= 0 || bytes > MAX_DIRECTORY ||
        bytes < (int64_t)q->bitmaps * ENTRY_BYTES || !within(q, (uint64_t)q->bitmap_dir, (uint64_t)bytes)) {
        return void_bitmaps(q, "the directory of %u entries (%" PRId64 " bytes at %#" PRIx64 ") is invalid",
                            q->bitmaps, bytes, q->bitmap_dir);
    }
    g_autofree uint8_t *d = g_malloc((size_t)bytes);
    int r = node_pread(qcow2_file(q), q->bitmap_dir, d, (size_t)bytes);
    if (r < 0) {
        return void_bitmaps(q, "the directory cannot be read: %s", g_strerror(-r));
    }
    int64_t at = 0;
    for (unsigned i = 0; i < q->bitmaps; i++) {
        int64_t len = at > bytes ? -1 : parse_entry(q, d + at, bytes - at, at);
        if (len < 0) {
            return void_bitmaps(q, "entry %u of the directory is invalid", i);
        }
        at += len;
    }
    return (at == ((bytes + 7) & ~(int64_t)7)) ||
           void_bitmaps(q, "the directory is longer than its %u entries", q->bitmaps);
}

static int read_table(Qcow2 *q, const QBitmap *e, uint64_t **out)
{
    size_t bytes = (size_t)e->table_size * 8;
    *out = g_malloc(bytes + 8);
    int r = node_pread(qcow2_file(q), e->table, *out, bytes);
    for (uint32_t i = 0; r == 0 && i < e->table_size; i++) {
        (*out)[i] = GUINT64_FROM_BE((*out)[i]);
    }
    return r;
}

/* The table is as long as the bits need. *loaded: bytes of the bits of all bitmaps so far. */
static bool load_bits(Qcow2 *q, const QBitmap *e, BlockBitmap *b, int64_t *loaded)
{
    int64_t need = (block_bitmap_bytes(b) + q->cluster_size - 1) >> q->cluster_bits;
    g_autofree uint64_t *table = NULL;
    g_autofree uint8_t *buf = g_malloc((size_t)q->cluster_size);
    *loaded += (int64_t)e->table_size * 8;
    if ((int64_t)e->table_size != need || *loaded > block_size(qcow2_file(q)) + q->cluster_size ||
        read_table(q, e, &table) < 0) {
        return false;
    }
    for (uint32_t i = 0; i < e->table_size; i++) {
        uint64_t host = table[i] & QCOW2_OFFSET;
        if (table[i] & TABLE_RESERVED || (host && table[i] & 1)) {
            return false;
        }
        if (host) {
            *loaded += q->cluster_size; /* no two share a cluster, so all fit in the file */
            if (*loaded > block_size(qcow2_file(q)) + q->cluster_size || !within(q, host, 1) ||
                node_pread(qcow2_file(q), (int64_t)host, buf, (size_t)q->cluster_size) < 0) {
                return false;
            }
        }
        if (table[i]) {
            block_bitmap_put_bits(b, (int64_t)i << q->cluster_bits, host ? buf : NULL, q->cluster_size);
        }
    }
    return true;
}

void qcow2_load_bitmaps(Qcow2 *q)
{
    int64_t loaded = 0;
    if (!(q->autoclear & QAUTO_BITMAPS)) {
        if (q->bitmaps) {
            log_warn("image '%s': a program without bitmaps has written it: its %u bitmaps are void",
                     block_label(q->node), q->bitmaps);
        }
        q->bitmaps = 0;
        return;
    }
    bool ok = read_directory(q);
    for (unsigned i = 0; ok && i < q->bitmap_list->len; i++) {
        const QBitmap *e = &g_array_index(q->bitmap_list, QBitmap, i);
        Error *err = NULL;
        BlockBitmap *b =
            e->known ? block_bitmap_add(q->node, e->name, (uint64_t)1 << e->granularity_bits, &err) : NULL;
        if (err) {
            ok = void_bitmaps(q, "%s", error_text(err));
            error_free(err);
        } else if (b) {
            b->persistent = true;
            b->inconsistent = e->flags & F_IN_USE || !load_bits(q, e, b, &loaded);
            block_bitmap_set_recording(b, e->flags & F_AUTO);
            b->changed = false;
        }
    }
    if (!ok) {
        log_warn("image '%s': its bitmaps cannot be used: %s", block_label(q->node), q->bitmaps_void);
        qcow2_free_bitmaps(q);
        block_bitmaps_free(q->node);
    }
}

/* Writing */

int qcow2_mark_bitmaps(Qcow2 *q)
{
    int r = 0;
    bool marked = false;
    for (unsigned i = 0; i < q->bitmap_list->len && r == 0; i++) {
        QBitmap *e = &g_array_index(q->bitmap_list, QBitmap, i);
        uint8_t flags[4];
        if (!(e->flags & F_IN_USE)) {
            put32(flags, e->flags | F_IN_USE);
            r = node_pwrite(qcow2_file(q), q->bitmap_dir + e->at + 12, flags, 4);
            e->flags |= r < 0 ? 0 : F_IN_USE;
            marked = true;
        }
    }
    return r < 0 || !marked ? r : node_flush(qcow2_file(q));
}

bool qcow2_bitmaps_touch(BlockNode *n, Error **errp)
{
    Qcow2 *q = n->state;
    co_mutex_lock(&q->lock);
    int r = qcow2_prepare(q);
    co_mutex_unlock(&q->lock);
    return r == 0 || error_set_errno(errp, -r, "cannot change the bitmaps of '%s'", block_label(n));
}

bool qcow2_bitmap_fits(BlockNode *n, const char *name, uint64_t granularity, Error **errp)
{
    Qcow2 *q = n->state;
    if (q->version < 3) {
        error_set(errp, "'%s': Cannot store dirty bitmaps in qcow2 v2 files", block_label(n));
        error_hint(errp, "rhea-img amend -o compat=1.1 makes it version 3");
        return false;
    }
    return !q->bitmaps_void ||
           error_set(errp, "'%s': its bitmaps cannot be used: %s", block_label(n), q->bitmaps_void);
}

/* Clusters of a bitmap that the new directory does not name. */
static int free_bits(Qcow2 *q, const QBitmap *e)
{
    g_autofree uint64_t *table = NULL;
    int r = read_table(q, e, &table);
    for (uint32_t i = 0; r == 0 && i < e->table_size; i++) {
        if (table[i] & QCOW2_OFFSET) {
            qref_free_later(q, (int64_t)(table[i] & QCOW2_OFFSET) >> q->cluster_bits, 1);
        }
    }
    int64_t n = ((int64_t)e->table_size * 8 + q->cluster_size - 1) >> q->cluster_bits;
    if (r == 0 && n) {
        qref_free_later(q, e->table >> q->cluster_bits, n);
    }
    return r;
}

static int write_bits(Qcow2 *q, BlockBitmap *b, QBitmap *e)
{
    int64_t n = (block_bitmap_bytes(b) + q->cluster_size - 1) >> q->cluster_bits, first = 0, got;
    int64_t clusters = (n * 8 + q->cluster_size - 1) >> q->cluster_bits;
    bool fresh;
    g_autofree uint8_t *buf = g_malloc((size_t)q->cluster_size);
    g_autofree uint8_t *table = g_malloc0((size_t)(clusters << q->cluster_bits) + 8);
    int r = n ? qref_alloc(q, clusters, true, &first, &got, &fresh) : 0;
    for (int64_t i = 0; i < n && r == 0; i++) {
        int64_t at;
        BlockBits kind = block_bitmap_get_bits(b, i << q->cluster_bits, buf, q->cluster_size);
        uint64_t entry = kind == BLOCK_BITS_ONE;
        if (kind == BLOCK_BITS_MIXED) {
            r = qref_alloc(q, 1, true, &at, &got, &fresh);
            r = r < 0 ? r : node_pwrite(qcow2_file(q), at << q->cluster_bits, buf, (size_t)q->cluster_size);
            entry = r < 0 ? 0 : (uint64_t)at << q->cluster_bits;
        }
        put64(table + i * 8, entry);
    }
    e->table = first << q->cluster_bits;
    e->table_size = (uint32_t)n;
    return r < 0 || !n ? r
                       : node_pwrite(qcow2_file(q), e->table, table, (size_t)(clusters << q->cluster_bits));
}

static const QBitmap *entry_of(const Qcow2 *q, const char *name)
{
    for (unsigned i = 0; i < q->bitmap_list->len; i++) {
        const QBitmap *e = &g_array_index(q->bitmap_list, QBitmap, i);
        if (strcmp(e->name, name) == 0) {
            return e;
        }
    }
    return NULL;
}

/* The entries of the new directory; of bitmaps that changed, with clusters of their own. */
static int collect(Qcow2 *q, GArray *out)
{
    int r = 0;
    for (unsigned i = 0; i < q->bitmap_list->len; i++) {
        QBitmap e = g_array_index(q->bitmap_list, QBitmap, i);
        const BlockBitmap *b = block_bitmap_find(q->node, e.name);
        if (!e.known || (b && b->persistent && b->inconsistent)) {
            e.kept = true;
            g_array_append_val(out, e);
        }
    }
    for (unsigned i = 0; i < block_bitmap_count(q->node) && r == 0; i++) {
        BlockBitmap *b = block_bitmap_at(q->node, i);
        if (!b->persistent || b->inconsistent) {
            continue;
        }
        const QBitmap *was = entry_of(q, b->name);
        QBitmap e = { .name = b->name, .type = TYPE_DIRTY, .known = true };
        if (was) {
            e = *was;
        }
        e.granularity_bits = (uint8_t)b->granularity_bits;
        e.flags = (e.flags & F_COMPATIBLE) | (b->recording ? F_AUTO : 0);
        e.kept = was && !b->changed;
        r = e.kept ? 0 : write_bits(q, b, &e);
        g_array_append_val(out, e);
    }
    return r;
}

static int write_directory(Qcow2 *q, GArray *entries, int64_t *first, int64_t *bytes)
{
    static const uint8_t zeros[8];
    GByteArray *d = g_byte_array_new();
    for (unsigned i = 0; i < entries->len; i++) {
        QBitmap *e = &g_array_index(entries, QBitmap, i);
        size_t name = strlen(e->name);
        uint8_t h[ENTRY_BYTES];
        e->at = d->len;
        put64(h, (uint64_t)e->table);
        put32(h + 8, e->table_size);
        put32(h + 12, e->flags);
        h[16] = e->type;
        h[17] = e->granularity_bits;
        put16(h + 18, (uint16_t)name);
        put32(h + 20, e->extra_len);
        g_byte_array_append(d, h, sizeof(h));
        if (e->extra_len) {
            g_byte_array_append(d, e->extra, e->extra_len);
        }
        g_byte_array_append(d, (const uint8_t *)e->name, (guint)name);
        g_byte_array_append(d, zeros, -d->len & 7);
    }
    int64_t n = ((int64_t)d->len + q->cluster_size - 1) >> q->cluster_bits, got;
    bool fresh;
    *bytes = d->len;
    int r = d->len > MAX_DIRECTORY ? -EFBIG : n ? qref_alloc(q, n, true, first, &got, &fresh) : 0;
    r = r < 0 || !n ? r : node_pwrite(qcow2_file(q), *first << q->cluster_bits, d->data, d->len);
    g_byte_array_free(d, TRUE);
    return r;
}

static bool is_kept(const GArray *entries, const char *name)
{
    for (unsigned i = 0; i < entries->len; i++) {
        const QBitmap *e = &g_array_index(entries, QBitmap, i);
        if (e->kept && strcmp(e->name, name) == 0) {
            return true;
        }
    }
    return false;
}

int qcow2_store_bitmaps(Qcow2 *q)
{
    g_autoptr(GArray) entries = g_array_new(FALSE, FALSE, sizeof(QBitmap));
    int64_t first = 0, bytes = 0;
    int r = q->bitmaps_void ? 0 : collect(q, entries);
    if (q->bitmaps_void || (entries->len == 0 && q->bitmap_list->len == 0)) {
        return 0;
    }
    r = r < 0 ? r : write_directory(q, entries, &first, &bytes);
    r = r < 0 ? r : qref_commit(q, true); /* counts, bits and directory are on disk */
    if (r < 0) {
        return r;
    }
    uint32_t was = q->bitmaps;
    int64_t dir = q->bitmap_dir, dir_bytes = q->bitmap_dir_bytes;
    uint64_t autoclear = q->autoclear;
    q->bitmaps = entries->len;
    q->bitmap_dir = first << q->cluster_bits;
    q->bitmap_dir_bytes = bytes;
    q->autoclear = (autoclear & ~(uint64_t)QAUTO_BITMAPS) | (entries->len ? QAUTO_BITMAPS : 0);
    r = qcow2_header_rebuild(q, q->header_length);
    if (r < 0) {
        q->bitmaps = was;
        q->bitmap_dir = dir;
        q->bitmap_dir_bytes = dir_bytes;
        q->autoclear = autoclear;
        return r;
    }
    for (unsigned i = 0; i < q->bitmap_list->len; i++) {
        const QBitmap *e = &g_array_index(q->bitmap_list, QBitmap, i);
        if (!is_kept(entries, e->name)) {
            int e_r = free_bits(q, e);
            r = r < 0 ? r : e_r;
        }
    }
    if (was) {
        qref_free_later(q, dir >> q->cluster_bits, (dir_bytes + q->cluster_size - 1) >> q->cluster_bits);
    }
    return r;
}

/* Telling */

Json *qcow2_bitmaps_info(const Qcow2 *q)
{
    Json *out = json_new_array();
    for (unsigned i = 0; i < q->bitmap_list->len; i++) {
        const QBitmap *e = &g_array_index(q->bitmap_list, QBitmap, i);
        Json *j = json_new_object(), *flags = json_new_array();
        if (e->flags & F_IN_USE) {
            json_append(flags, json_new_string("in-use"));
        }
        if (e->flags & F_AUTO) {
            json_append(flags, json_new_string("auto"));
        }
        json_put(j, "flags", flags);
        json_put(j, "name", json_new_string(e->name));
        json_put(j, "granularity", json_new_int((int64_t)1 << MIN(e->granularity_bits, 62)));
        json_append(out, j);
    }
    return out;
}
