/* SPDX-License-Identifier: MIT
 * block/qcow2.c - qcow2: opening, closing, describing an image.
 *
 * Models: the qcow2 format, versions 2 and 3, as published ("QCOW2 image format"): header, extensions,
 * features. Does not model: encryption. Opening reads the header, its extensions, L1, the refcount
 * table and the snapshot table, each bounded, and writes nothing. What an image needs before its first write
 * (repair of a dirty one, marks) happens then. Threads: open and close on the main loop's thread; requests in
 * qcow2-io.c.
 */
#include "qcow2.h"
#include "rhea/block/nbd.h"
#include "rhea/util/errorcode.h"
#include "rhea/util/log.h"

#include <errno.h>
#include <stdarg.h>
#include <string.h>

/* Header */

int qcow2_header_write(Qcow2 *q, unsigned from, unsigned to, const void *bytes)
{
    uint8_t sector[512]; /* all fields lie in the first one: the change is atomic */
    int r = node_pread(qcow2_file(q), 0, sector, sizeof(sector));
    if (r == 0) {
        memcpy(sector + from, bytes, to - from);
        r = node_pwrite(qcow2_file(q), 0, sector, sizeof(sector));
    }
    return r < 0 ? r : node_flush(qcow2_file(q));
}

int qcow2_header_u64(Qcow2 *q, unsigned at, uint64_t value)
{
    uint8_t be[8];
    put64(be, value);
    return qcow2_header_write(q, at, at + 8, be);
}

int qcow2_corrupt(Qcow2 *q, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    g_autofree char *what = g_strdup_vprintf(fmt, ap);
    va_end(ap);
    if (!q->broken) {
        log_warn("image '%s' is corrupt: %s; rhea-img check tells more", block_label(q->node), what);
        if (q->version >= 3 && q->ready && !(q->incompatible & QINC_CORRUPT)) {
            q->incompatible |= QINC_CORRUPT;
            qcow2_header_u64(q, QH_INCOMPATIBLE, q->incompatible);
        }
    }
    q->broken |= q->ready; /* an image that is only read stays readable elsewhere */
    return -EIO;
}

/* A refcount block that lies on another table must not be written, nor searched again and again. */
static int metadata_collect(Qcow2 *q)
{
    q->metadata = g_hash_table_new(NULL, NULL);
    for (uint32_t i = 0; i < q->l1_size; i++) {
        uint64_t at = q->l1[i] & QCOW2_OFFSET;
        if (at) {
            g_hash_table_add(q->metadata, GSIZE_TO_POINTER((size_t)(at >> q->cluster_bits)));
        }
    }
    for (uint32_t i = 0; i < q->ref_entries; i++) {
        int64_t cluster = (int64_t)(q->reftable[i] >> q->cluster_bits);
        if (q->reftable[i] && (qref_is_metadata(q, cluster, 1) ||
                               !g_hash_table_add(q->metadata, GSIZE_TO_POINTER((size_t)cluster)))) {
            g_clear_pointer(&q->metadata, g_hash_table_destroy);
            return qcow2_corrupt(q, "refcount block %u at %#" PRIx64 " lies on another table", i,
                                 q->reftable[i]);
        }
    }
    return 0;
}

int qcow2_prepare(Qcow2 *q)
{
    if (G_LIKELY(q->ready)) {
        return q->broken ? -EIO : 0;
    }
    int r = 0;
    if (q->incompatible & QINC_CORRUPT) {
        return -EIO;
    }
    if (q->incompatible & QINC_DIRTY) {
        BlockCheck result = { 0 };
        r = qcow2_check_locked(q, &result, BLOCK_FIX_LEAKS | BLOCK_FIX_ERRORS);
        if (r < 0 || result.corruptions || result.check_errors) {
            log_warn("image '%s' was not closed and could not be repaired; try rhea-img check -r all",
                     block_label(q->node));
            return r < 0 ? r : -EIO;
        }
    }
    uint64_t autoclear = q->autoclear & (QAUTO_RAW | (q->bitmaps_void ? 0 : QAUTO_BITMAPS));
    if (q->version >= 3 && autoclear != q->autoclear) {
        r = qcow2_header_u64(q, QH_AUTOCLEAR, autoclear);
        q->autoclear = r < 0 ? q->autoclear : autoclear;
    }
    r = r < 0 ? r : qcow2_mark_bitmaps(q);
    if (r == 0 && q->lazy) {
        r = qcow2_header_u64(q, QH_INCOMPATIBLE, q->incompatible | QINC_DIRTY);
        q->incompatible |= r < 0 ? 0 : QINC_DIRTY;
    }
    q->ready = r == 0;
    return r < 0 ? r : metadata_collect(q);
}

/* Opening */

static bool bad_offset(const Qcow2 *q, uint64_t at)
{
    return at & ((uint64_t)q->cluster_size - 1) || at >= (uint64_t)QCOW2_MAX_HOST;
}

static bool check_features(Qcow2 *q, Error **errp)
{
    uint64_t unknown = q->incompatible & ~(uint64_t)QINC_KNOWN;
    if (unknown) {
        error_set(errp, "'%s' uses unknown incompatible features (bits %#" PRIx64 ")", block_label(q->node),
                  unknown);
        error_hint(errp, "a newer program wrote it");
        return false;
    }
    q->extended = q->incompatible & QINC_EXTENDED_L2;
    q->external = q->incompatible & QINC_DATA_FILE;
    q->external_raw = q->external && q->autoclear & QAUTO_RAW;
    if (!(q->incompatible & QINC_COMPRESSION) != (q->compression == QCOW2_COMPRESSION_ZLIB)) {
        return error_set(errp, "'%s': the compression type and its feature bit contradict each other",
                         block_label(q->node));
    }
    if (q->extended && q->cluster_bits < 14) {
        return error_set(errp, "'%s': subclusters need clusters of 16 KiB or more", block_label(q->node));
    }
    return true;
}

static bool parse_v3(Qcow2 *q, const uint8_t *h, Error **errp)
{
    q->incompatible = get64(h + QH_INCOMPATIBLE);
    q->compatible = get64(h + QH_COMPATIBLE);
    q->autoclear = get64(h + QH_AUTOCLEAR);
    q->refcount_order = get32(h + QH_REFCOUNT_ORDER);
    q->header_length = get32(h + QH_LENGTH);
    if (q->header_length < 104 || q->header_length & 7 || q->header_length > q->cluster_size) {
        return error_set(errp, "'%s': the header's length %u is invalid", block_label(q->node),
                         q->header_length);
    }
    unsigned how = q->header_length > QH_COMPRESSION ? h[QH_COMPRESSION] : 0;
    if (how >= QCOW2_COMPRESSION__COUNT) {
        return error_set(errp, "'%s': compression type %u is not known", block_label(q->node), how);
    }
    q->compression = how;
    return true;
}

static bool parse_header(Qcow2 *q, const uint8_t *h, Error **errp)
{
    const char *name = block_label(q->node);
    if (get32(h) != QCOW2_MAGIC) {
        return error_fail(errp, "invalid-value", NULL, "'rhea-img info' tells what it is",
                          "'%s' is not a qcow2 image", name);
    }
    q->version = get32(h + QH_VERSION);
    if (q->version != 2 && q->version != 3) {
        return error_set(errp, "'%s': qcow2 version %u is not known", name, q->version);
    }
    q->cluster_bits = get32(h + QH_CLUSTER_BITS);
    if (q->cluster_bits < QCOW2_MIN_BITS || q->cluster_bits > QCOW2_MAX_BITS) {
        return error_set(errp, "'%s': clusters of 2^%u bytes are not possible (512 bytes to 2 MiB are)", name,
                         q->cluster_bits);
    }
    q->cluster_size = (int64_t)1 << q->cluster_bits;
    if (get32(h + QH_CRYPT)) {
        error_set(errp, "'%s' is encrypted, which is not supported", name);
        error_hint(errp, "convert it to an image without encryption with the program that made it");
        return false;
    }
    q->refcount_order = 4;
    q->header_length = QH_V2_LENGTH;
    q->compression = QCOW2_COMPRESSION_ZLIB;
    if (q->version >= 3 && !parse_v3(q, h, errp)) {
        return false;
    }
    if (q->refcount_order > 6) {
        return error_set(errp, "'%s': refcounts of 2^%u bits are not possible", name, q->refcount_order);
    }
    if (!check_features(q, errp)) {
        return false;
    }
    q->max_refcount =
        q->refcount_order == 6 ? (uint64_t)INT64_MAX : ((uint64_t)1 << (1u << q->refcount_order)) - 1;
    q->refs_per_block = (q->cluster_size * 8) >> q->refcount_order;
    q->entry_bytes = q->extended ? 16 : 8;
    q->l2_bits = q->cluster_bits - (q->extended ? 4 : 3);
    q->l2_entries = (int64_t)1 << q->l2_bits;
    q->sc_count = q->extended ? QCOW2_SUBCLUSTERS : 1;
    q->sc_bits = q->extended ? q->cluster_bits - 5 : q->cluster_bits;
    uint64_t size = get64(h + QH_SIZE);
    if (size > (uint64_t)BLOCK_MAX_SIZE) {
        return error_set(errp, "'%s': a size of %" PRIu64 " bytes is not possible", name, size);
    }
    node_set_size(q->node, (int64_t)size);
    return true;
}

static char *ext_string(const uint8_t *p, uint32_t len)
{
    return g_strndup((const char *)p, len);
}

/* `area` holds the first cluster from the header on, `limit` is where extensions must end. */
static bool parse_extensions(Qcow2 *q, const uint8_t *area, size_t limit, Error **errp)
{
    static const uint8_t zeros[8];
    bool bitmaps = false;
    for (size_t at = q->header_length; at + 8 <= limit;) {
        uint32_t type = get32(area + at), len = get32(area + at + 4);
        const uint8_t *data = area + at + 8;
        if (type == QEXT_END) {
            break;
        }
        if (len > limit - at - 8) {
            return error_set(errp, "'%s': header extension %#x is longer than the header's cluster",
                             block_label(q->node), type);
        }
        if (type == (uint32_t)QEXT_BACKING_FORMAT) {
            g_free(q->backing_format);
            q->backing_format = ext_string(data, MIN(len, 64));
        } else if (type == QEXT_DATA_FILE) {
            g_free(q->data_file_name);
            q->data_file_name = ext_string(data, MIN(len, QCOW2_MAX_NAME));
        } else if (type == QEXT_CRYPT) {
            return error_set(errp, "'%s' has an encryption header, which is not supported",
                             block_label(q->node));
        } else if (type == QEXT_BITMAPS) {
            bitmaps = len >= 24;
            q->bitmaps = bitmaps ? get32(data) : 0;
            q->bitmap_dir_bytes = bitmaps ? (int64_t)get64(data + 8) : 0;
            q->bitmap_dir = bitmaps ? (int64_t)get64(data + 16) : 0;
        } else if (type != QEXT_FEATURES) {
            size_t whole = MIN(8 + (((size_t)len + 7) & ~(size_t)7), limit - at);
            g_byte_array_append(q->unknown_ext, area + at, (guint)whole);
            g_byte_array_append(q->unknown_ext, zeros, -(guint)whole & 7);
        }
        at += 8 + (((size_t)len + 7) & ~(size_t)7);
    }
    if (q->autoclear & QAUTO_BITMAPS && !bitmaps) {
        return error_set(errp, "'%s': the bitmaps' feature bit is set, but there are none",
                         block_label(q->node));
    }
    return true;
}

static bool parse_backing(Qcow2 *q, const uint8_t *area, size_t *limit, Error **errp)
{
    uint64_t at = get64(area + QH_BACKING_OFFSET);
    uint32_t len = get32(area + QH_BACKING_SIZE);
    if (!at) {
        return true;
    }
    if (len == 0 || len > QCOW2_MAX_NAME || at < q->header_length || at > (uint64_t)q->cluster_size ||
        len > (uint64_t)q->cluster_size - at) {
        return error_set(errp,
                         "'%s': the place of the backing file's name (%u bytes at %" PRIu64 ") is invalid",
                         block_label(q->node), len, at);
    }
    if (q->external_raw) {
        return error_set(errp, "'%s': a raw external data file and a backing file exclude each other",
                         block_label(q->node));
    }
    *limit = (size_t)at;
    q->backing_name = g_strndup((const char *)area + at, len);
    return true;
}

/* A table of 64-bit entries. */
static uint64_t *read_table(Qcow2 *q, const char *what, uint64_t at, uint64_t bytes, uint64_t max,
                            Error **errp)
{
    if (bytes > max) {
        error_set(errp, "'%s': the %s of %" PRIu64 " bytes is larger than %" PRIu64, block_label(q->node),
                  what, bytes, max);
        return NULL;
    }
    if (bytes && (bad_offset(q, at) || (int64_t)at > block_size(qcow2_file(q)) ||
                  (int64_t)bytes > ((block_size(qcow2_file(q)) - (int64_t)at + 511) & -512))) {
        error_set(errp, "'%s': the %s at %#" PRIx64 " does not lie within the file", block_label(q->node),
                  what, at);
        return NULL;
    }
    uint64_t *table = g_malloc0(bytes + 8);
    int r = bytes ? node_pread(qcow2_file(q), (int64_t)at, table, bytes) : 0;
    if (r < 0) {
        error_set_errno(errp, -r, "cannot read the %s of '%s'", what, block_label(q->node));
        g_free(table);
        return NULL;
    }
    for (uint64_t i = 0; i < bytes / 8; i++) {
        table[i] = GUINT64_FROM_BE(table[i]);
    }
    return table;
}

static bool read_tables(Qcow2 *q, const uint8_t *h, Error **errp)
{
    q->l1_size = get32(h + QH_L1_SIZE);
    q->l1_offset = (int64_t)get64(h + QH_L1_OFFSET);
    q->ref_offset = (int64_t)get64(h + QH_REFTABLE_OFFSET);
    uint64_t clusters = get32(h + QH_REFTABLE_CLUSTERS);
    if ((int64_t)q->l1_size < qcow2_l1_needed(q, block_size(q->node))) {
        return error_set(errp, "'%s': an L1 table of %u entries is too small for %" PRId64 " bytes",
                         block_label(q->node), q->l1_size, block_size(q->node));
    }
    if (clusters == 0) {
        return error_set(errp, "'%s' has no refcount table", block_label(q->node));
    }
    q->l1 = read_table(q, "L1 table", (uint64_t)q->l1_offset, (uint64_t)q->l1_size * 8, QCOW2_MAX_L1, errp);
    q->reftable = q->l1 ? read_table(q, "refcount table", (uint64_t)q->ref_offset,
                                     clusters << q->cluster_bits, QCOW2_MAX_REFTABLE, errp)
                        : NULL;
    q->ref_entries = q->ref_stored = (uint32_t)(clusters << (q->cluster_bits - 3));
    q->l1_lo = q->ref_lo = UINT32_MAX;
    return q->reftable &&
           qcow2_read_snapshots(q, get32(h + QH_SNAPSHOTS), (int64_t)get64(h + QH_SNAPSHOTS_OFFSET), errp);
}

typedef struct OpenCall {
    Qcow2 *q;
    Error **errp;
    bool ok;
} OpenCall;

static bool read_header(Qcow2 *q, Error **errp)
{
    uint8_t head[QH_V3_LENGTH];
    int r = node_pread(qcow2_file(q), 0, head, sizeof(head));
    if (r < 0) {
        return error_set_errno(errp, -r, "cannot read the header of '%s'", block_label(q->node));
    }
    if (!parse_header(q, head, errp)) {
        return false;
    }
    g_autofree uint8_t *area = g_malloc0((size_t)q->cluster_size);
    size_t limit = (size_t)q->cluster_size;
    r = node_pread(qcow2_file(q), 0, area, limit);
    if (r < 0) {
        return error_set_errno(errp, -r, "cannot read the header of '%s'", block_label(q->node));
    }
    return parse_backing(q, area, &limit, errp) && parse_extensions(q, area, limit, errp) &&
           read_tables(q, head, errp);
}

static void open_body(void *opaque)
{
    OpenCall *c = opaque;
    c->ok = read_header(c->q, c->errp);
    if (c->ok) {
        qcow2_load_bitmaps(c->q);
    }
}

/* A name in the image is relative to the image's folder. */
static char *beside(const BlockNode *n, const char *name)
{
    if (g_str_has_prefix(name, "file:")) {
        name += 5;
    }
    if (*name == '/' || g_str_has_prefix(name, "json:") || nbd_is_url(name)) {
        return g_strdup(name);
    }
    g_autofree char *folder = g_path_get_dirname(n->filename);
    return strcmp(folder, ".") == 0 ? g_strdup(name) : g_build_filename(folder, name, NULL);
}

static bool open_named(BlockNode *n, const char *role, const char *name, const char *format, Error **errp)
{
    g_autofree char *path = beside(n, name);
    g_autoptr(Json) o = block_image_options(path, format, errp);
    return o && block_attach(n, role, o, false, errp);
}

static bool open_others(Qcow2 *q, const BlockQcow2 *o, bool from_text, Error **errp)
{
    BlockNode *n = q->node;
    bool ok = true;
    if (q->external) {
        ok = o->data_file        ? block_attach(n, "data-file", o->data_file, from_text, errp) != NULL
             : q->data_file_name ? open_named(n, "data-file", q->data_file_name, "file", errp)
                                 : error_set(errp, "'%s' does not name its data file", block_label(n));
        if (!ok) {
            error_prefix(errp, "data file of '%s'", block_label(n));
            return false;
        }
    } else if (o->data_file) {
        return error_set(errp, "'%s' has no external data file, but data-file was given", block_label(n));
    }
    const char *none = json_get_string(o->backing);
    if (n->backing_is_null || (none && !*none)) {
        return true;
    }
    if (o->backing) {
        ok = block_attach(n, "backing", o->backing, from_text, errp) != NULL;
    } else if (q->backing_name) {
        ok = open_named(n, "backing", q->backing_name, q->backing_format, errp);
    }
    if (!ok) {
        error_prefix(errp, "backing file of '%s'", block_label(n));
    }
    return ok;
}

static bool qcow2_open(BlockNode *n, const BlockdevOptions *o, bool from_text, Error **errp)
{
    Qcow2 *q = n->state;
    const BlockQcow2 *opt = &o->u.qcow2;
    q->node = n;
    co_mutex_init(&q->lock);
    co_range_init(&q->ranges);
    q->freed = g_array_new(FALSE, FALSE, sizeof(QFreed));
    q->waiting = g_hash_table_new(NULL, NULL);
    q->snapshots = g_array_new(FALSE, TRUE, sizeof(QSnapshot));
    q->unknown_ext = g_byte_array_new();
    q->bitmap_list = g_array_new(FALSE, FALSE, sizeof(QBitmap));
    q->locks_ready = true;
    BlockEdge *file = block_attach(n, "file", opt->file, from_text, errp);
    if (!file) {
        return false;
    }
    n->read_only |= file->node->read_only;
    OpenCall call = { .q = q, .errp = errp };
    co_run_sync(n->graph->loop, open_body, &call);
    if (!call.ok) {
        return false;
    }
    q->lazy = opt->has_lazy_refcounts ? opt->lazy_refcounts : q->compatible & QCOMPAT_LAZY;
    if (q->lazy && q->version < 3) {
        return error_set(errp, "lazy-refcounts=on: '%s' is of version 2, which has none", block_label(n));
    }
    q->pass_discard = opt->pass_discard_request;
    q->pass_discard_snapshot = opt->pass_discard_snapshot;
    q->fresh_from = (block_size(file->node) + q->cluster_size - 1) >> q->cluster_bits;
    n->zero_align = (int64_t)1 << q->sc_bits;
    qcache_init(q, &q->l2, opt->l2_cache_size);
    qcache_init(q, &q->refs, opt->refcount_cache_size);
    return open_others(q, opt, from_text, errp);
}

/* An image that is known to be corrupt may be read, and checked, but not written. */
static bool qcow2_set_perm(BlockNode *n, unsigned perm, unsigned shared, Error **errp)
{
    const Qcow2 *q = n->state;
    if (perm & BLOCK_PERM_WRITE && q->incompatible & QINC_CORRUPT) {
        error_set(errp, "'%s' is marked as corrupt and cannot be written", block_label(n));
        error_hint(errp, "repair it with 'rhea-img check -r all', or open it read-only");
        return false;
    }
    return true;
}

static void close_body(void *opaque)
{
    Qcow2 *q = opaque;
    co_mutex_lock(&q->lock);
    bool lazy = q->lazy;
    q->lazy = false;
    int r = q->ready && !q->broken ? qref_commit(q, true) : 0;
    int stored = r == 0 && q->ready && !q->broken ? qcow2_store_bitmaps(q) : 0;
    if (stored < 0) {
        log_warn("image '%s': its bitmaps could not be stored and stay marked as inconsistent: %s",
                 block_label(q->node), g_strerror(-stored));
    }
    r = r == 0 && q->ready && !q->broken ? qref_commit(q, true) : r;
    while (r == 0 && q->ready && !q->broken && (q->refs.dirty || q->l2.dirty)) {
        r = qref_commit(q, true); /* counts that the first one dropped */
    }
    if (r == 0 && lazy && q->ready && !q->broken) {
        r = qcow2_header_u64(q, QH_INCOMPATIBLE, q->incompatible & ~(uint64_t)QINC_DIRTY);
    }
    co_mutex_unlock(&q->lock);
    if (r < 0) {
        log_warn("image '%s': closing: %s", block_label(q->node), g_strerror(-r));
    }
}

static void qcow2_close(BlockNode *n)
{
    Qcow2 *q = n->state;
    if (!q->locks_ready) {
        return;
    }
    if (q->l2.tables) {
        co_run_sync(n->graph->loop, close_body, q);
        qcache_fini(&q->l2);
        qcache_fini(&q->refs);
    }
    qcow2_free_snapshots(q);
    g_array_free(q->snapshots, TRUE);
    g_array_free(q->freed, TRUE);
    g_hash_table_destroy(q->waiting);
    g_byte_array_free(q->unknown_ext, TRUE);
    qcow2_free_bitmaps(q);
    g_array_free(q->bitmap_list, TRUE);
    g_free(q->bitmaps_void);
    g_clear_pointer(&q->metadata, g_hash_table_destroy);
    g_free(q->l1);
    g_free(q->reftable);
    g_free(q->backing_name);
    g_free(q->backing_format);
    g_free(q->data_file_name);
    co_range_fini(&q->ranges);
    co_mutex_fini(&q->lock);
}

/* Telling */

static bool qcow2_probe(const uint8_t *head, size_t len)
{
    return len >= 8 && get32(head) == QCOW2_MAGIC && get32(head + 4) >= 2;
}

static Json *qcow2_info(BlockNode *n)
{
    const Qcow2 *q = n->state;
    Json *o = json_new_object();
    json_put(o, "compat", json_new_string(q->version >= 3 ? "1.1" : "0.10"));
    json_put(o, "compression-type", json_new_string(qcow2_compression_names[q->compression]));
    if (q->version >= 3) {
        json_put(o, "lazy-refcounts", json_new_bool(q->compatible & QCOMPAT_LAZY));
    }
    if (q->bitmap_list->len) {
        json_put(o, "bitmaps", qcow2_bitmaps_info(q));
    }
    json_put(o, "refcount-bits", json_new_int(1 << q->refcount_order));
    if (q->external && q->data_file_name) {
        json_put(o, "data-file", json_new_string(q->data_file_name));
        json_put(o, "data-file-raw", json_new_bool(q->external_raw));
    }
    if (q->version >= 3) {
        json_put(o, "corrupt", json_new_bool(q->incompatible & QINC_CORRUPT));
        json_put(o, "extended-l2", json_new_bool(q->extended));
    }
    return o;
}

static int64_t qcow2_cluster_size(const BlockNode *n)
{
    return ((const Qcow2 *)n->state)->cluster_size;
}

static bool qcow2_is_dirty(const BlockNode *n)
{
    return ((const Qcow2 *)n->state)->incompatible & QINC_DIRTY;
}

static const char *qcow2_backing_name(const BlockNode *n, const char **format)
{
    const Qcow2 *q = n->state;
    *format = q->backing_format;
    return q->backing_name;
}

static const BlockFormatOps qcow2_format = {
    .probe = qcow2_probe,
    .create_type = &qcow2_create_type,
    .create = qcow2_create,
    .create_at = qcow2_create_at,
    .measure = qcow2_measure,
    .info = qcow2_info,
    .cluster_size = qcow2_cluster_size,
    .used_clusters = qcow2_used_clusters,
    .is_dirty = qcow2_is_dirty,
    .backing_name = qcow2_backing_name,
    .set_backing = qcow2_set_backing,
    .make_empty = qcow2_make_empty,
    .amend_type = &qcow2_amend_type,
    .amend = qcow2_amend,
    .bitmap_fits = qcow2_bitmap_fits,
    .bitmaps_touch = qcow2_bitmaps_touch,
    .check = qcow2_check,
    .snapshots = qcow2_snapshots,
    .snapshot_create = qcow2_snapshot_create,
    .snapshot_apply = qcow2_snapshot_apply,
    .snapshot_view = qcow2_snapshot_view,
    .snapshot_delete = qcow2_snapshot_delete,
};

const BlockDriver block_qcow2_driver = {
    .name = "qcow2",
    .state_size = sizeof(Qcow2),
    .format = &qcow2_format,
    .open = qcow2_open,
    .close = qcow2_close,
    .set_perm = qcow2_set_perm,
    .preadv = qcow2_preadv,
    .pwritev = qcow2_pwritev,
    .write_zeroes = qcow2_write_zeroes,
    .discard = qcow2_discard,
    .flush = qcow2_flush,
    .extent = qcow2_extent,
    .map = qcow2_map,
    .truncate = qcow2_truncate,
};
