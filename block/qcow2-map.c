/* SPDX-License-Identifier: MIT
 * block/qcow2-map.c - from guest offsets to host clusters: L1, L2, and subclusters.
 *
 * Models: the two-level mapping and the extended entries (128 bits, a bit per 32nd of a cluster for
 * "allocated" and one for "reads as zeros"). Every entry is checked before it is used: alignment, reserved
 * bits, range. Threads: with Qcow2.lock held.
 */
#include "qcow2.h"

#include <errno.h>
#include <string.h>

static uint32_t l1_index(const Qcow2 *q, int64_t off)
{
    return (uint32_t)(off >> (q->cluster_bits + q->l2_bits));
}

static uint32_t l2_at(const Qcow2 *q, int64_t off)
{
    return (uint32_t)((off >> q->cluster_bits) & (q->l2_entries - 1)) * q->entry_bytes;
}

static void l1_set(Qcow2 *q, uint32_t i, uint64_t entry)
{
    q->l1[i] = entry;
    q->l1_lo = MIN(q->l1_lo, i);
    q->l1_hi = MAX(q->l1_hi, i + 1);
}

/* A table of its own for L1 entry i: a copy of the shared one, or empty. The old one is copied first:
 * allocating, and making room for the new one, may commit, and what a commit frees leaves the cache. */
static int table_make(Qcow2 *q, uint32_t i, QTable **out)
{
    uint64_t was = q->l1[i] & QCOW2_OFFSET;
    int64_t cluster, got;
    bool fresh;
    QTable *t;
    g_autofree uint8_t *content = NULL;
    int r = 0;
    if (was) {
        qevent(q, BLKDEBUG_EVENT_L2_ALLOC_COW_READ);
        r = qcache_get(q, &q->l2, (int64_t)was, &t);
        content = r < 0 ? NULL : g_memdup2(t->data, (gsize)q->cluster_size);
    }
    r = r < 0 ? r : qref_alloc(q, 1, true, &cluster, &got, &fresh);
    r = r < 0 ? r : qcache_new(q, &q->l2, cluster << q->cluster_bits, &t);
    if (r < 0) {
        return r;
    }
    if (content) {
        memcpy(t->data, content, (size_t)q->cluster_size);
    }
    if (q->metadata) {
        g_hash_table_add(q->metadata, GSIZE_TO_POINTER((size_t)cluster));
    }
    l1_set(q, i, (uint64_t)(cluster << q->cluster_bits) | QCOW2_COPIED);
    if (was) {
        qref_free_later(q, (int64_t)was >> q->cluster_bits, 1);
    }
    *out = t;
    return 0;
}

int qmap_table(Qcow2 *q, int64_t off, bool write, QTable **out)
{
    uint32_t i = l1_index(q, off);
    *out = NULL;
    if (i >= q->l1_size) {
        return write ? -EFBIG : 0;
    }
    uint64_t e = q->l1[i], at = e & QCOW2_OFFSET;
    if (e & QCOW2_L1_RESERVED || at & ((uint64_t)q->cluster_size - 1)) {
        return qcow2_corrupt(q, "L1 entry %u is invalid (%#" PRIx64 ")", i, e);
    }
    if (write && !(at && e & QCOW2_COPIED)) {
        return table_make(q, i, out);
    }
    return at ? qcache_get(q, &q->l2, (int64_t)at, out) : 0;
}

uint64_t qmap_entry(const Qcow2 *q, const QTable *t, int64_t off, uint64_t *bitmap)
{
    *bitmap = 0;
    if (!t) {
        return 0;
    }
    const uint8_t *p = t->data + l2_at(q, off);
    if (q->extended) {
        *bitmap = get64(p + 8);
    }
    return get64(p);
}

void qmap_set(Qcow2 *q, QTable *t, int64_t off, uint64_t entry, uint64_t bitmap)
{
    uint32_t at = l2_at(q, off);
    put64(t->data + at, entry);
    if (q->extended) {
        put64(t->data + at + 8, bitmap);
    }
    qcache_touch(&q->l2, t, at, at + q->entry_bytes);
}

void qmap_compressed(const Qcow2 *q, uint64_t entry, int64_t *off, int64_t *len)
{
    unsigned shift = 62 - (q->cluster_bits - 8);
    uint64_t sectors = (entry & (QCOW2_COMPRESSED - 1)) >> shift;
    *off = (int64_t)(entry & (((uint64_t)1 << shift) - 1));
    *len = (int64_t)((sectors + 1) * 512) - (*off & 511);
}

static QKind entry_kind(const Qcow2 *q, uint64_t e, uint64_t bitmap, unsigned sc)
{
    if (e & QCOW2_COMPRESSED) {
        return Q_COMPRESSED;
    }
    if (q->extended) {
        return bitmap >> (32 + sc) & 1 ? Q_ZERO : bitmap >> sc & 1 ? Q_NORMAL : Q_UNALLOCATED;
    }
    return e & QCOW2_ZERO && q->version >= 3 ? Q_ZERO : qmap_has_host(q, e) ? Q_NORMAL : Q_UNALLOCATED;
}

int qmap_check(Qcow2 *q, int64_t off, uint64_t e, uint64_t bitmap)
{
    uint64_t at = e & QCOW2_OFFSET, cluster = (uint64_t)off & ~((uint64_t)q->cluster_size - 1);
    if (e & QCOW2_COMPRESSED) {
        int64_t from, len;
        qmap_compressed(q, e, &from, &len);
        if (q->external || from >= QCOW2_MAX_HOST || e & QCOW2_COPIED) {
            return qcow2_corrupt(q, "compressed cluster at guest offset %#" PRIx64 " is invalid", cluster);
        }
        return 0;
    }
    bool bad = at & ((uint64_t)q->cluster_size - 1) || (q->external && qmap_has_host(q, e) && at != cluster);
    if (q->extended) {
        bad |= (bitmap >> 32 & bitmap & UINT32_MAX) || (bitmap & UINT32_MAX && !qmap_has_host(q, e));
    }
    return bad ? qcow2_corrupt(q, "L2 entry for guest offset %#" PRIx64 " is invalid (%#" PRIx64 ")", cluster,
                               e)
               : 0;
}

/* How far [off, off + bytes) is of one kind, and contiguous below. Within one L2 table. */
int qmap_lookup(Qcow2 *q, int64_t off, int64_t bytes, QRun *run)
{
    QTable *t;
    int64_t table_end = ((off >> (q->cluster_bits + q->l2_bits)) + 1) << (q->cluster_bits + q->l2_bits);
    int64_t end = MIN(off + bytes, table_end), at = off, unit = (int64_t)1 << q->sc_bits;
    int r = qmap_table(q, off, false, &t);
    *run = (QRun){ .kind = Q_UNALLOCATED, .bytes = end - off };
    if (r < 0 || !t) {
        return r;
    }
    while (at < end) {
        uint64_t bitmap, e = qmap_entry(q, t, at, &bitmap);
        int64_t cluster = at & ~(q->cluster_size - 1), cluster_end = MIN(cluster + q->cluster_size, end);
        r = qmap_check(q, at, e, bitmap);
        if (r < 0) {
            return at == off ? r : 0; /* the good part first */
        }
        bool copied = e & QCOW2_COPIED, mapped = qmap_has_host(q, e);
        int64_t host = (int64_t)(e & QCOW2_OFFSET);
        for (; at < cluster_end; at = MIN((at & -unit) + unit, cluster_end)) {
            QKind kind = entry_kind(q, e, bitmap, (unsigned)((at - cluster) >> q->sc_bits));
            int64_t here = host + (at - cluster);
            if (at == off) {
                *run = (QRun){ .kind = kind, .entry = e, .host = here, .mapped = mapped, .in_place = copied };
            } else if (kind != run->kind || (kind == Q_COMPRESSED && at == cluster) ||
                       mapped != run->mapped || (mapped && here != run->host + (at - off)) ||
                       (kind == Q_NORMAL && copied != run->in_place)) {
                run->bytes = at - off;
                return 0;
            }
            run->bytes = MIN((at & -unit) + unit, cluster_end) - off;
        }
    }
    return 0;
}
