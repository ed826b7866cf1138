/* SPDX-License-Identifier: MIT
 * block/qcow2-header.c - qcow2: another header: extensions, the backing file's name, another version.
 *
 * Models: the header's cluster cannot move, so it changes in steps that each leave a sound image. What the
 * image needs (fields and extensions) lies in the first sector, where it changes by one write; the names of
 * features follow behind it and the backing file's name lies where the old header names nothing. While these
 * change, the first sector ends its list of extensions in front of them. Headers whose needed part is longer
 * than a sector are written at once. Threads: with Qcow2.lock held.
 */
#include "qcow2.h"

#include <errno.h>
#include <string.h>

enum { SECTOR = 512 };

size_t qcow2_put_extension(uint8_t *p, uint32_t type, const void *data, size_t len)
{
    put32(p, type);
    put32(p + 4, (uint32_t)len);
    memcpy(p + 8, data, len);
    return 8 + ((len + 7) & ~(size_t)7);
}

/* Names of features, for programs that do not know them. */
size_t qcow2_put_features(uint8_t *p)
{
    static const struct {
        uint8_t kind, bit;
        const char *name;
    } names[] = {
        { 0, 0, "dirty bit" },        { 0, 1, "corrupt bit" },         { 0, 2, "external data file" },
        { 0, 3, "compression type" }, { 0, 4, "extended L2 entries" }, { 1, 0, "lazy refcounts" },
        { 2, 0, "bitmaps" },          { 2, 1, "raw external data" },
    };
    uint8_t table[G_N_ELEMENTS(names)][48] = { { 0 } };
    G_STATIC_ASSERT(sizeof(table) + 8 == QCOW2_FEATURES_BYTES);
    for (unsigned i = 0; i < G_N_ELEMENTS(names); i++) {
        table[i][0] = names[i].kind;
        table[i][1] = names[i].bit;
        memcpy(table[i] + 2, names[i].name, strlen(names[i].name));
    }
    return qcow2_put_extension(p, QEXT_FEATURES, table, sizeof(table));
}

typedef struct Header {
    uint8_t *bytes;  /* a cluster */
    size_t critical; /* where the extensions end that the image needs */
    size_t exts;     /* where all of them end, their end's mark included */
    size_t name, name_len;
} Header;

static void put_fields(const Qcow2 *q, uint8_t *h)
{
    put32(h + QH_VERSION, q->version);
    if (q->version >= 3) {
        put64(h + QH_INCOMPATIBLE, q->incompatible);
        put64(h + QH_COMPATIBLE, q->compatible);
        put64(h + QH_AUTOCLEAR, q->autoclear);
        put32(h + QH_REFCOUNT_ORDER, q->refcount_order);
        put32(h + QH_LENGTH, q->header_length);
        if (q->header_length > QH_COMPRESSION) {
            h[QH_COMPRESSION] = (uint8_t)q->compression;
        }
    }
}

static size_t put_needed(const Qcow2 *q, uint8_t *p)
{
    size_t at = 0;
    if (q->backing_name && q->backing_format) {
        at += qcow2_put_extension(p + at, (uint32_t)QEXT_BACKING_FORMAT, q->backing_format,
                                  strlen(q->backing_format));
    }
    if (q->data_file_name) {
        at += qcow2_put_extension(p + at, QEXT_DATA_FILE, q->data_file_name, strlen(q->data_file_name));
    }
    if (q->bitmaps) {
        uint8_t b[24] = { 0 };
        put32(b, q->bitmaps);
        put64(b + 8, (uint64_t)q->bitmap_dir_bytes);
        put64(b + 16, (uint64_t)q->bitmap_dir);
        at += qcow2_put_extension(p + at, QEXT_BITMAPS, b, sizeof(b));
    }
    if (q->unknown_ext->len) {
        memcpy(p + at, q->unknown_ext->data, q->unknown_ext->len);
    }
    return at + q->unknown_ext->len;
}

/* Where the old header's extensions end, and its name lies: bytes that must stay as long as it is valid. */
static void old_layout(const uint8_t *old, size_t cluster, size_t header_length, size_t *exts, size_t *name,
                       size_t *name_len)
{
    uint32_t len, v;
    memcpy(&len, old + QH_BACKING_SIZE, 4);
    *name = (size_t)get64(old + QH_BACKING_OFFSET);
    *name_len = *name && *name < cluster ? MIN((size_t)GUINT32_FROM_BE(len), cluster - *name) : 0;
    size_t at = header_length;
    while (at + 8 <= cluster) {
        memcpy(&v, old + at, 4);
        memcpy(&len, old + at + 4, 4);
        at += 8;
        if (!v) {
            break;
        }
        at += ((size_t)GUINT32_FROM_BE(len) + 7) & ~(size_t)7;
    }
    *exts = MIN(at, cluster);
}

/* `old`: the cluster as it is; `was_length`: its header's. */
static int header_build(const Qcow2 *q, const uint8_t *old, size_t was_length, Header *h)
{
    size_t cluster = (size_t)q->cluster_size, len = q->backing_name ? strlen(q->backing_name) : 0;
    size_t room = 4 * 1024 + q->unknown_ext->len + cluster; /* of what may turn out to be too much */
    h->bytes = g_malloc0(room);
    memcpy(h->bytes, old, MIN(was_length, (size_t)q->header_length));
    put_fields(q, h->bytes);
    h->critical = q->header_length + put_needed(q, h->bytes + q->header_length);
    h->exts = h->critical + 8;
    if (q->version >= 3 && h->exts + QCOW2_FEATURES_BYTES + len <= cluster) {
        h->exts += qcow2_put_features(h->bytes + h->critical);
    }
    size_t old_exts, old_name, old_len;
    old_layout(old, cluster, was_length, &old_exts, &old_name, &old_len);
    h->name_len = len;
    h->name = h->exts;
    bool moves = len && (h->name != old_name || len != old_len ||
                         memcmp(old + old_name, q->backing_name, len) != 0);
    if (moves && h->exts + len > SECTOR) {
        size_t clear = (MAX(MAX(h->exts, old_exts), old_name + old_len) + 7) & ~(size_t)7;
        h->name = clear + len <= cluster ? clear : h->exts;
    }
    if (h->name + len > cluster) {
        return -ENOSPC;
    }
    memcpy(h->bytes + h->name, len ? q->backing_name : "", len);
    put64(h->bytes + QH_BACKING_OFFSET, len ? h->name : 0);
    put32(h->bytes + QH_BACKING_SIZE, (uint32_t)len);
    return 0;
}

static int put_synced(Qcow2 *q, const uint8_t *bytes, size_t from, size_t to)
{
    int r = from < to ? node_pwrite(qcow2_file(q), (int64_t)from, bytes + from, to - from) : 0;
    return r < 0 || from >= to ? r : node_flush(qcow2_file(q));
}

static int header_store(Qcow2 *q, const uint8_t *old, const Header *h)
{
    size_t end = MAX(h->exts, h->name + h->name_len), first = 0, last = end;
    while (first < end && old[first] == h->bytes[first]) {
        first++;
    }
    while (last > first && old[last - 1] == h->bytes[last - 1]) {
        last--;
    }
    if (first == last) {
        return 0;
    }
    size_t sector = first / SECTOR * SECTOR;
    if (sector == (last - 1) / SECTOR * SECTOR) {
        return put_synced(q, h->bytes, sector, sector + SECTOR);
    }
    if (h->critical + 8 > SECTOR) {
        return put_synced(q, h->bytes, 0, (end + SECTOR - 1) / SECTOR * SECTOR);
    }
    uint8_t head[SECTOR];
    memcpy(head, h->bytes, SECTOR);
    memset(head + h->critical, 0, MIN(h->exts, (size_t)SECTOR) - h->critical);
    int r = put_synced(q, h->bytes, MAX(h->name, (size_t)SECTOR), h->name + h->name_len);
    r = r < 0 ? r : put_synced(q, head, 0, SECTOR);
    r = r < 0 ? r : put_synced(q, h->bytes, SECTOR, h->exts);
    return r < 0 ? r : put_synced(q, h->bytes, 0, SECTOR);
}

int qcow2_header_rebuild(Qcow2 *q, uint32_t was_length)
{
    Header h = { 0 };
    g_autofree uint8_t *old = g_malloc0((size_t)q->cluster_size);
    int r = node_pread(qcow2_file(q), 0, old, (size_t)q->cluster_size);
    r = r < 0 ? r : header_build(q, old, was_length, &h);
    r = r < 0 ? r : header_store(q, old, &h);
    g_free(h.bytes);
    return r;
}

/* Another backing file */

bool qcow2_set_backing(BlockNode *n, const char *name, const char *format, Error **errp)
{
    Qcow2 *q = n->state;
    name = name && *name ? name : NULL;
    format = name && format && *format ? format : NULL;
    if (name && strlen(name) > QCOW2_MAX_NAME) {
        return error_set(errp, "the backing file's name is longer than %d bytes", QCOW2_MAX_NAME);
    }
    if (name && q->external_raw) {
        return error_set(errp, "'%s': a raw external data file and a backing file exclude each other",
                         block_label(n));
    }
    co_mutex_lock(&q->lock);
    char *was = q->backing_name, *was_format = q->backing_format;
    int r = qcow2_prepare(q);
    r = r < 0 ? r : qref_commit(q, true); /* what was copied comes first */
    if (r == 0) {
        q->backing_name = g_strdup(name);
        q->backing_format = g_strdup(format);
        r = qcow2_header_rebuild(q, q->header_length);
        g_free(r < 0 ? q->backing_name : was);
        g_free(r < 0 ? q->backing_format : was_format);
        if (r < 0) {
            q->backing_name = was;
            q->backing_format = was_format;
        }
    }
    co_mutex_unlock(&q->lock);
    if (r == -ENOSPC) {
        return error_set(errp, "the backing file's name does not fit into the header of '%s'",
                         block_label(n));
    }
    return r == 0 || error_set_errno(errp, -r, "cannot change the header of '%s'", block_label(n));
}
