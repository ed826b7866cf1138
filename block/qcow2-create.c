/* SPDX-License-Identifier: MIT
 * block/qcow2-create.c - qcow2: new images, other sizes, preallocation, how much space one takes.
 *
 * Models: a new image is a header, a refcount table and one block; it is then opened and grown like any
 * other. Threads: creation on the main loop's thread; resizing in a coroutine with the whole range claimed.
 */
#include "qcow2.h"
#include "rhea/block/bitmap.h"
#include "rhea/block/nbd.h"

#include <errno.h>
#include <string.h>

int64_t qcow2_l1_needed(const Qcow2 *q, int64_t size)
{
    unsigned bits = q->cluster_bits + q->l2_bits;
    return (int64_t)(((uint64_t)size + ((uint64_t)1 << bits) - 1) >> bits);
}

/* Resizing */

/* With the lock: a longer L1 table elsewhere; the header changes from one complete table to the other. */
int qcow2_grow_l1(Qcow2 *q, uint64_t entries)
{
    if (entries <= q->l1_size) {
        return 0;
    }
    if (entries * 8 > QCOW2_MAX_L1) {
        return -EFBIG;
    }
    int64_t clusters = ((int64_t)entries * 8 + q->cluster_size - 1) >> q->cluster_bits, first, got;
    bool fresh;
    qevent(q, BLKDEBUG_EVENT_L1_GROW_ALLOC_TABLE);
    int r = qref_alloc(q, clusters, true, &first, &got, &fresh);
    if (r < 0) {
        return r;
    }
    size_t bytes = (size_t)(clusters << q->cluster_bits);
    g_autofree uint8_t *buf = g_malloc0(bytes);
    for (uint32_t i = 0; i < q->l1_size; i++) {
        put64(buf + (size_t)i * 8, q->l1[i]);
    }
    r = qref_commit(q, true); /* what the entries name is on disk */
    qevent(q, BLKDEBUG_EVENT_L1_GROW_WRITE_TABLE);
    r = r < 0 ? r : node_pwrite(qcow2_file(q), first << q->cluster_bits, buf, bytes);
    r = r < 0 ? r : node_flush(qcow2_file(q));
    if (r == 0) {
        uint8_t field[12];
        put32(field, (uint32_t)entries);
        put64(field + 4, (uint64_t)first << q->cluster_bits);
        qevent(q, BLKDEBUG_EVENT_L1_GROW_ACTIVATE_TABLE);
        r = qcow2_header_write(q, QH_L1_SIZE, QH_L1_SIZE + 12, field);
    }
    if (r < 0) {
        qref_add(q, first, clusters, -1);
        return r;
    }
    int64_t old = ((int64_t)q->l1_size * 8 + q->cluster_size - 1) >> q->cluster_bits;
    if (old) {
        qref_free_later(q, q->l1_offset >> q->cluster_bits, old);
    }
    q->l1 = g_renew(uint64_t, q->l1, entries + 1);
    memset(q->l1 + q->l1_size, 0, (size_t)(entries - q->l1_size) * 8);
    q->l1_size = (uint32_t)entries;
    q->l1_offset = first << q->cluster_bits;
    return 0;
}

/* Maps every unmapped cluster of [from, to) to a new one; those beyond the file's end read as zeros. With
 * extended L2 the subclusters stay what they were: unallocated ones, which show a backing file, or zeros. */
static int preallocate(Qcow2 *q, int64_t from, int64_t to, int64_t *end)
{
    int r = 0;
    while (r == 0 && from < to) {
        QTable *t;
        uint64_t bitmap;
        int64_t cluster = from & ~(q->cluster_size - 1), host = cluster, first, got;
        bool fresh = true;
        r = qmap_table(q, cluster, true, &t);
        if (r == 0 && !(qmap_entry(q, t, cluster, &bitmap) & ~QCOW2_ZERO)) {
            if (!q->external) {
                r = qref_alloc(q, 1, true, &first, &got, &fresh);
                host = first << q->cluster_bits;
                r = r < 0 ? r : qmap_table(q, cluster, true, &t); /* allocating may have moved the table */
            }
            if (r == 0) {
                qmap_set(q, t, cluster,
                         (uint64_t)host | QCOW2_COPIED |
                             (q->version >= 3 && !q->extended && !q->external && !fresh ? QCOW2_ZERO : 0),
                         bitmap);
                *end = MAX(*end, host + q->cluster_size);
            }
        }
        from = cluster + q->cluster_size;
    }
    return r;
}

static bool prealloc_range(Qcow2 *q, int64_t from, int64_t to, int prealloc, Error **errp)
{
    int64_t end = 0;
    BlockNode *data = qcow2_data(q);
    if (q->external_raw && prealloc == BLOCK_PREALLOC_OFF) {
        prealloc = BLOCK_PREALLOC_METADATA; /* its data file has all of the content by itself */
    }
    if (prealloc == BLOCK_PREALLOC_OFF) {
        return true;
    }
    co_mutex_lock(&q->lock);
    int r = qcow2_prepare(q);
    r = r < 0 ? r : preallocate(q, from, to, &end);
    r = r < 0 ? r : qref_commit(q, true);
    co_mutex_unlock(&q->lock);
    if (r < 0) {
        return error_set_errno(errp, -r, "cannot preallocate '%s'", block_label(q->node));
    }
    end = q->external ? to : end;
    if (end <= block_size(data)) {
        return true;
    }
    int below = prealloc == BLOCK_PREALLOC_METADATA ? BLOCK_PREALLOC_OFF : prealloc;
    return node_truncate(data, end, below, errp);
}

/* What a new part shows: zeros, whatever lies below or was left in the last cluster. */
static int zero_new_part(Qcow2 *q, int64_t was, int64_t size)
{
    BlockNode *below = block_backing(q->node);
    int64_t cluster_end = MIN((was + q->cluster_size - 1) & ~(q->cluster_size - 1), size);
    int64_t hidden = below ? MIN(block_size(below), size) : 0;
    int64_t end = MAX(cluster_end, hidden);
    return end > was ? node_write_zeroes(q->node, was, end - was, 0) : 0;
}

static bool grow(Qcow2 *q, int64_t was, int64_t size, int prealloc, Error **errp)
{
    co_mutex_lock(&q->lock);
    int r = qcow2_prepare(q);
    r = r < 0 ? r : qcow2_grow_l1(q, (uint64_t)qcow2_l1_needed(q, size));
    co_mutex_unlock(&q->lock);
    if (r == -EFBIG) {
        error_set(errp, "%" PRId64 " bytes are too large for clusters of %" PRId64 " bytes", size,
                  q->cluster_size);
        error_hint(errp, "larger clusters allow larger images");
        return false;
    }
    if (r < 0) {
        return error_set_errno(errp, -r, "cannot enlarge the L1 table of '%s'", block_label(q->node));
    }
    node_set_size(q->node, size);
    r = zero_new_part(q, was, size);
    if (r == 0 && q->external && block_size(qcow2_data(q)) < size) {
        if (!node_truncate(qcow2_data(q), size, BLOCK_PREALLOC_OFF, errp)) {
            node_set_size(q->node, was);
            return false;
        }
    }
    bool ok = r == 0 && prealloc_range(q, was, size, prealloc, errp);
    if (!ok) {
        node_set_size(q->node, was);
        return r < 0 ? error_set_errno(errp, -r, "cannot clear the new part of '%s'", block_label(q->node))
                     : false;
    }
    return true;
}

bool qcow2_truncate(BlockNode *n, int64_t size, int prealloc, Error **errp)
{
    Qcow2 *q = n->state;
    int64_t was = block_size(n);
    if (size % 512) {
        return error_set(
            errp, "a qcow2 image's size must be a multiple of 512 bytes, which %" PRId64 " is not", size);
    }
    for (unsigned i = 0; i < block_bitmap_count(n); i++) {
        if (!block_bitmap_usable(block_bitmap_at(n, i), errp)) {
            error_prefix(errp, "cannot resize '%s'", block_label(n));
            return false;
        }
    }
    if (q->snapshots->len && q->version < 3) {
        return error_set(errp, "a version 2 image with snapshots cannot be resized");
    }
    if (size < was && prealloc != BLOCK_PREALLOC_OFF) {
        return error_set(errp, "preallocation goes with growing, not with shrinking");
    }
    if (size > was && !grow(q, was, size, prealloc, errp)) {
        return false;
    }
    int r = 0;
    if (size < was) {
        r = qcow2_cut(q, (size + q->cluster_size - 1) & ~(q->cluster_size - 1));
    }
    co_mutex_lock(&q->lock);
    r = r < 0 ? r : qcow2_prepare(q);
    r = r < 0 ? r : qref_commit(q, true);
    r = r < 0 ? r : qcow2_header_u64(q, QH_SIZE, (uint64_t)size);
    co_mutex_unlock(&q->lock);
    node_set_size(n, r < 0 ? was : size);
    if (r == 0 && q->external && size < was && block_size(qcow2_data(q)) > size) {
        /* What is there must not show when the image grows again. */
        return node_truncate(qcow2_data(q), size, BLOCK_PREALLOC_OFF, errp);
    }
    return r == 0 || error_set_errno(errp, -r, "cannot resize '%s'", block_label(n));
}

/* Creation */

typedef struct Create {
    const Qcow2Create *o;
    BlockClient *c;
    unsigned version, cluster_bits, refcount_order;
    Error **errp;
    bool ok;
} Create;

static unsigned log2_of(uint64_t v)
{
    return (unsigned)g_bit_nth_msf(v, -1);
}

static bool check_options(Create *k, Error **errp)
{
    const Qcow2Create *o = k->o;
    bool v2 = strcmp(o->compat, "0.10") == 0 || strcmp(o->compat, "v2") == 0;
    if (!v2 && strcmp(o->compat, "1.1") != 0 && strcmp(o->compat, "v3") != 0) {
        error_set(errp, "compat '%s' is not known", o->compat);
        error_hint(errp, "0.10 and v2 are version 2, 1.1 and v3 are version 3");
        return false;
    }
    k->version = v2 ? 2 : 3;
    if (o->cluster_size & (o->cluster_size - 1) || o->cluster_size < 512 ||
        o->cluster_size > 2 * 1024 * 1024) {
        return error_set(errp, "cluster_size must be a power of two from 512 to 2M, which %" PRIu64 " is not",
                         o->cluster_size);
    }
    if (o->refcount_bits & (o->refcount_bits - 1) || o->refcount_bits > 64) {
        return error_set(errp, "refcount_bits must be a power of two up to 64, which %" PRIu64 " is not",
                         o->refcount_bits);
    }
    k->cluster_bits = log2_of(o->cluster_size);
    k->refcount_order = log2_of(o->refcount_bits);
    const char *needs3 = o->lazy_refcounts                               ? "lazy_refcounts=on"
                         : o->refcount_bits != 16                        ? "a refcount_bits other than 16"
                         : o->extended_l2                                ? "extended_l2=on"
                         : o->compression_type != QCOW2_COMPRESSION_ZLIB ? "compression_type=zstd"
                         : o->data_file                                  ? "data_file"
                                                                         : NULL;
    if (v2 && needs3) {
        return error_set(errp, "%s needs compat=1.1", needs3);
    }
    if (o->extended_l2 && o->cluster_size < 16384) {
        return error_set(errp, "extended_l2=on needs clusters of 16k or more");
    }
    if (o->data_file && strlen(o->data_file) > QCOW2_MAX_NAME) {
        return error_set(errp, "the data file's name is too long for the header");
    }
    if (o->data_file_raw && !o->data_file) {
        return error_set(errp, "data_file_raw=on needs data_file");
    }
    if (o->data_file_raw && o->backing_file) {
        return error_set(errp, "data_file_raw=on and a backing file exclude each other");
    }
    if (o->preallocation != BLOCK_PREALLOC_OFF && o->backing_file && !o->extended_l2) {
        return error_set(errp, "preallocation with a backing file needs extended_l2=on");
    }
    if (o->backing_fmt && !o->backing_file) {
        return error_set(errp, "backing_fmt needs backing_file");
    }
    if (o->backing_file && !o->backing_fmt) {
        return error_set(errp, "the backing file's format is not given: backing_fmt names it");
    }
    if (o->backing_file &&
        (strlen(o->backing_file) > QCOW2_MAX_NAME ||
         strlen(o->backing_file) + 1024 > o->cluster_size + (o->cluster_size >= 2048 ? 0 : 700))) {
        return error_set(errp, "the backing file's name is too long for the header");
    }
    return true;
}

static bool build_header(const Create *k, uint8_t *h, Error **errp)
{
    const Qcow2Create *o = k->o;
    size_t cluster = (size_t)1 << k->cluster_bits, at = k->version == 2 ? QH_V2_LENGTH : QH_V3_LENGTH;
    put32(h, QCOW2_MAGIC);
    put32(h + QH_VERSION, k->version);
    put32(h + QH_CLUSTER_BITS, k->cluster_bits);
    put64(h + QH_L1_OFFSET, 3 * cluster); /* l1_size 0: nothing is there */
    put64(h + QH_REFTABLE_OFFSET, cluster);
    put32(h + QH_REFTABLE_CLUSTERS, 1);
    if (k->version >= 3) {
        uint64_t inc = (o->data_file ? QINC_DATA_FILE : 0) | (o->extended_l2 ? QINC_EXTENDED_L2 : 0) |
                       (o->compression_type != QCOW2_COMPRESSION_ZLIB ? QINC_COMPRESSION : 0);
        put64(h + QH_INCOMPATIBLE, inc);
        put64(h + QH_COMPATIBLE, o->lazy_refcounts ? QCOMPAT_LAZY : 0);
        put64(h + QH_AUTOCLEAR, o->data_file_raw ? QAUTO_RAW : 0);
        put32(h + QH_REFCOUNT_ORDER, k->refcount_order);
        put32(h + QH_LENGTH, QH_V3_LENGTH);
        h[QH_COMPRESSION] = (uint8_t)o->compression_type;
    }
    if (o->backing_fmt) {
        at += qcow2_put_extension(h + at, (uint32_t)QEXT_BACKING_FORMAT, o->backing_fmt,
                                  strlen(o->backing_fmt));
    }
    if (o->data_file) {
        at += qcow2_put_extension(h + at, QEXT_DATA_FILE, o->data_file, strlen(o->data_file));
    }
    if (k->version >= 3 && at + 500 < cluster) {
        at += qcow2_put_features(h + at);
    }
    at += 8; /* the end's mark is all zeros */
    size_t len = o->backing_file ? strlen(o->backing_file) : 0;
    if (at + len > cluster) {
        return error_set(errp, "names do not fit into a header of %zu bytes; use larger clusters", cluster);
    }
    if (len) {
        memcpy(h + at, o->backing_file, len);
        put64(h + QH_BACKING_OFFSET, at);
        put32(h + QH_BACKING_SIZE, (uint32_t)len);
    }
    return true;
}

/* Header, refcount table, one block that counts the three. */
static void write_skeleton(void *opaque)
{
    Create *k = opaque;
    size_t cluster = (size_t)1 << k->cluster_bits;
    g_autofree uint8_t *buf = g_malloc0(MAX(3 * cluster, 8192));
    uint8_t *block = buf + 2 * cluster;
    if (!build_header(k, buf, k->errp)) {
        return;
    }
    put64(buf + cluster, 2 * cluster);
    for (unsigned i = 0; i < 3; i++) {
        unsigned bits = 1u << k->refcount_order, bit = i * bits;
        if (bits < 8) {
            block[bit / 8] |= (uint8_t)(1u << (bit & 7));
        } else {
            block[(i + 1) * bits / 8 - 1] = 1;
        }
    }
    k->ok = block_truncate(k->c, (int64_t)(3 * cluster), BLOCK_PREALLOC_OFF, k->errp);
    int r = k->ok ? 0 : -EIO;
    for (size_t at = 0; at < 3 * cluster && r == 0; at += cluster) { /* the rest of each is a hole */
        IoVec v;
        iov_init_buf(&v, buf + at, MIN(cluster, 4096));
        r = block_pwritev(k->c, (int64_t)at, &v, at == 2 * cluster ? BLK_FUA : 0);
    }
    if (k->ok && r < 0) {
        k->ok = error_set_errno(k->errp, -r, "cannot write the header");
    }
}

static void resize_body(void *opaque)
{
    Create *k = opaque;
    k->ok = block_truncate(k->c, (int64_t)k->o->size, (int)k->o->preallocation, k->errp);
}

static BlockClient *open_for(BlockGraph *g, Json *options, Error **errp)
{
    BlockNode *n = options ? block_open(g, options, false, errp) : NULL;
    json_unref(options);
    BlockClient *c = n ? block_client_new(n, "create", BLOCK_PERM_READ | BLOCK_PERM_WRITE | BLOCK_PERM_RESIZE,
                                          BLOCK_PERM_READ, errp)
                       : NULL;
    block_unref(n);
    return c;
}

static Json *image_json(BlockGraph *g, const char *filename, const Qcow2Create *o, Error **errp)
{
    Json *j = block_image_options(filename, "qcow2", errp);
    if (j) { /* the backing file's content plays no part */
        json_put(j, "backing", json_new_string(""));
    }
    return j;
}

static bool create_files(BlockGraph *g, const char *filename, const Qcow2Create *o, Error **errp)
{
    static const RawCreate empty = { .preallocation = BLOCK_PREALLOC_OFF };
    const BlockFormatOps *raw = block_raw_driver.format;
    if (o->data_file) {
        g_autofree char *folder = g_path_get_dirname(filename);
        g_autofree char *path = g_path_is_absolute(o->data_file)
                                    ? g_strdup(o->data_file)
                                    : g_build_filename(folder, o->data_file, NULL);
        if (!raw->create(g, path, &empty, errp)) {
            return false;
        }
    }
    return raw->create(g, filename, &empty, errp);
}

/* Header and tables through `file` (NULL: an error was set), then the size through the image. Takes both. */
static bool fill(Create *k, BlockGraph *g, BlockClient *file, Json *image, Error **errp)
{
    Loop *loop = block_graph_loop(g);
    k->c = file;
    if (file) {
        co_run_sync(loop, write_skeleton, k);
        block_client_free(file);
    }
    if (!file || !k->ok) {
        json_unref(image);
        return false;
    }
    k->c = open_for(g, image, errp);
    if (!k->c) {
        return false;
    }
    co_run_sync(loop, resize_body, k);
    block_client_free(k->c);
    return k->ok;
}

bool qcow2_create(BlockGraph *g, const char *filename, const void *options, Error **errp)
{
    Create k = { .o = options, .errp = errp };
    if (!check_options(&k, errp) || !create_files(g, filename, k.o, errp)) {
        return false;
    }
    const char *protocol = nbd_is_url(filename) ? "nbd" : "file";
    Json *image = image_json(g, filename, k.o, errp);
    BlockClient *c = image ? open_for(g, block_image_options(filename, protocol, errp), errp) : NULL;
    return fill(&k, g, c, image, errp);
}

static void empty_body(void *opaque)
{
    Create *k = opaque;
    k->ok = block_truncate(k->c, 0, BLOCK_PREALLOC_OFF, k->errp);
}

bool qcow2_create_at(BlockGraph *g, const Json *file, const void *options, Error **errp)
{
    Create k = { .o = options, .errp = errp };
    const char *name = json_get_string(file);
    if (!check_options(&k, errp)) {
        return false;
    }
    BlockNode *n = !name ? block_open(g, file, false, errp) : block_find(g, name);
    if (!n) {
        return name ? error_set(errp, "there is no node '%s'", name) : false;
    }
    n = name ? block_ref(n) : n;
    k.c = block_client_new(n, "create", BLOCK_PERM_READ | BLOCK_PERM_WRITE | BLOCK_PERM_RESIZE,
                           BLOCK_PERM_READ, errp);
    block_unref(n);
    if (!k.c) {
        return false;
    }
    co_run_sync(block_graph_loop(g), empty_body, &k); /* holes stand for zeros */
    if (!k.ok) {
        block_client_free(k.c);
        return false;
    }
    Json *image = json_put(json_new_object(), "driver", json_new_string("qcow2"));
    json_put(image, "file", json_ref((Json *)file));
    json_put(image, "backing", json_new_string("")); /* the backing file's content plays no part */
    return fill(&k, g, k.c, image, errp);
}

/* Space */

static int64_t metadata_bytes(const Create *k, int64_t size, bool extended)
{
    int64_t cluster = (int64_t)1 << k->cluster_bits, entry = extended ? 16 : 8;
    int64_t data = (size + cluster - 1) / cluster, l2 = (data * entry + cluster - 1) / cluster;
    int64_t l1 = (l2 * 8 + cluster - 1) / cluster, fixed = 1 + l1 + l2,
            per = (cluster * 8) >> k->refcount_order;
    int64_t blocks = 0, table = 0, before;
    do { /* they count themselves */
        before = blocks + table;
        blocks = (data + fixed + before + per - 1) / per;
        table = (blocks * 8 + cluster - 1) / cluster;
    } while (blocks + table != before);
    return (fixed + blocks + table) * cluster;
}

typedef struct Used {
    BlockClient *c;
    int64_t cluster, bytes;
    int r;
} Used;

/* Bytes of clusters that hold something else than zeros. */
static void count_used(void *opaque)
{
    Used *u = opaque;
    int64_t size = block_size(block_client_node(u->c)), end = 0;
    for (int64_t at = 0; at < size && u->r == 0;) {
        BlockExtent e;
        u->r = block_extent_deep(u->c, at, size - at, &e);
        if (u->r == 0 && e.data && !e.zero) {
            int64_t from = MAX(at / u->cluster * u->cluster, end);
            end = MAX((at + e.bytes + u->cluster - 1) / u->cluster * u->cluster, end);
            u->bytes += end - from;
        }
        at += e.bytes;
    }
}

/* Space of the persistent bitmaps of `n` as an image with such clusters keeps them: bits, their tables, the
 * directory (24 bytes and the name for each, in units of 8). */
static uint64_t bitmaps_bytes(const BlockNode *n, uint64_t cluster)
{
    uint64_t directory = 0, sum = 0;
    for (unsigned i = 0; i < block_bitmap_count(n); i++) {
        const BlockBitmap *b = block_bitmap_at(n, i);
        if (b->persistent) {
            uint64_t granularity = (uint64_t)1 << b->granularity_bits;
            uint64_t bits = ((uint64_t)block_size(n) + granularity - 1) >> b->granularity_bits;
            uint64_t clusters = ((bits + 7) / 8 + cluster - 1) / cluster;
            sum += clusters * cluster + (clusters * 8 + cluster - 1) / cluster * cluster;
            directory += (24 + strlen(b->name) + 7) & ~(uint64_t)7;
        }
    }
    return sum + (directory + cluster - 1) / cluster * cluster;
}

bool qcow2_measure(const void *options, int64_t size, BlockClient *source, BlockMeasure *out, Error **errp)
{
    Create k = { .o = options };
    if (!check_options(&k, errp)) {
        return false;
    }
    int64_t cluster = (int64_t)1 << k.cluster_bits, whole = (size + cluster - 1) & -cluster;
    int64_t meta = metadata_bytes(&k, whole, k.o->extended_l2);
    *out = (BlockMeasure){ .fully_allocated = (uint64_t)(meta + whole),
                           .required = (uint64_t)meta,
                           .bitmaps = UINT64_MAX };
    if (k.o->preallocation == BLOCK_PREALLOC_FALLOC || k.o->preallocation == BLOCK_PREALLOC_FULL) {
        out->required = out->fully_allocated;
    } else if (source && k.o->backing_file) {
        out->required = out->fully_allocated; /* nobody knows what it shares with the backing file */
    } else if (source) {
        Used u = { .c = source, .cluster = cluster };
        co_run_sync(block_client_node(source)->graph->loop, count_used, &u);
        if (u.r < 0) {
            return error_set_errno(errp, -u.r, "cannot tell what the source holds");
        }
        out->required += (uint64_t)u.bytes;
    }
    BlockNode *from = source ? block_client_node(source) : NULL;
    const BlockFormatOps *f = from ? from->driver->format : NULL;
    if (k.version >= 3 && f && f->bitmap_fits && f->bitmap_fits(from, "", 0, NULL)) {
        out->bitmaps = bitmaps_bytes(from, (uint64_t)cluster);
    }
    return true;
}
