/* SPDX-License-Identifier: MIT
 * block/qcow2-io.c - qcow2's requests: read, write with allocation and copying, zeros, discard.
 *
 * Models: a write to clusters that have one user goes straight there, sharing its range. Anything that
 * changes the mapping claims its clusters exclusively: allocate (lock), write data with what surrounds it,
 * link (lock). The link is in memory only; qref_commit() brings it to disk behind the data. What would be
 * copied is not, when it reads as zeros and the new cluster was never written. Threads: coroutines on any
 * loop; metadata under Qcow2.lock, never held across data transfers.
 */
#include "qcow2.h"

#include <errno.h>
#include <string.h>

enum { FREED_LIMIT = 65536 }; /* clusters that wait for a commit: then one is made */

static int lookup(Qcow2 *q, int64_t off, int64_t bytes, QRun *run)
{
    co_mutex_lock(&q->lock);
    int r = qmap_lookup(q, off, bytes, run);
    co_mutex_unlock(&q->lock);
    return r;
}

/* Reading */

static int read_backing(BlockNode *n, int64_t off, IoVec *v, size_t at, size_t len)
{
    BlockNode *below = block_backing(n);
    int64_t left = below ? block_size(below) - off : 0;
    size_t part = left <= 0 ? 0 : (size_t)MIN((int64_t)len, left);
    int r = 0;
    if (part) {
        IoVec piece;
        iov_init(&piece);
        iov_add_slice(&piece, v, at, part);
        qevent(n->state, BLKDEBUG_EVENT_READ_BACKING_AIO);
        r = node_preadv(below, off, &piece, 0);
        iov_fini(&piece);
    }
    iov_fill(v, at + part, 0, len - part);
    return r;
}

/* Data of a compressed cluster moves when somebody rewrites the cluster: the range keeps them away. */
static int read_compressed(Qcow2 *q, int64_t off, IoVec *v, size_t at, size_t len, bool claimed)
{
    CoRange range;
    int64_t cluster = off & ~(q->cluster_size - 1);
    if (!claimed) {
        co_range_claim(&q->ranges, &range, cluster, cluster + q->cluster_size, false);
    }
    QRun run;
    int r = lookup(q, off, (int64_t)len, &run);
    if (r == 0 && run.kind == Q_COMPRESSED) {
        g_autofree uint8_t *buf = g_malloc((size_t)q->cluster_size);
        r = qcow2_read_compressed(q, run.entry, buf);
        if (r == 0) {
            iov_from_buf(v, at, buf + (off - cluster), len);
        }
    } else if (r == 0) {
        r = -EAGAIN; /* rewritten meanwhile: look again */
    }
    if (!claimed) {
        co_range_release(&q->ranges, &range);
    }
    return r;
}

static int read_data(Qcow2 *q, const QRun *run, IoVec *v, size_t at, size_t len)
{
    IoVec piece;
    qevent(q, BLKDEBUG_EVENT_READ_AIO);
    if (len == v->bytes) {
        return node_preadv(qcow2_data(q), run->host, v, 0);
    }
    iov_init(&piece);
    iov_add_slice(&piece, v, at, len);
    int r = node_preadv(qcow2_data(q), run->host, &piece, 0);
    iov_fini(&piece);
    return r;
}

/* Of clusters that are not marked as having one user: a write moves them, and their place may be another's
 * after the next flush. The range keeps writers away. */
static int read_shared(Qcow2 *q, int64_t off, IoVec *v, size_t at, size_t *len)
{
    CoRange range;
    QRun run;
    int64_t mask = q->cluster_size - 1, end = (off + (int64_t)*len + mask) & ~mask;
    co_range_claim(&q->ranges, &range, off & ~mask, end, false);
    int r = lookup(q, off, (int64_t)*len, &run);
    bool same = r == 0 && run.kind == Q_NORMAL;
    *len = same ? (size_t)run.bytes : 0; /* 0: changed meanwhile, look again */
    r = same ? read_data(q, &run, v, at, *len) : r;
    co_range_release(&q->ranges, &range);
    return r;
}

static int read_some(Qcow2 *q, int64_t off, IoVec *v, size_t at, size_t want, size_t *got, bool claimed)
{
    QRun run;
    int r = lookup(q, off, (int64_t)want, &run);
    if (r < 0) {
        return r;
    }
    *got = (size_t)run.bytes;
    switch (run.kind) {
    case Q_ZERO: iov_fill(v, at, 0, *got); return 0;
    case Q_UNALLOCATED: return read_backing(q->node, off, v, at, *got);
    case Q_COMPRESSED:
        r = read_compressed(q, off, v, at, *got, claimed);
        *got = r == -EAGAIN ? 0 : *got;
        return r == -EAGAIN ? 0 : r;
    case Q_NORMAL: break;
    }
    bool moves = !run.in_place && !claimed && !q->external && !q->node->read_only;
    return moves ? read_shared(q, off, v, at, got) : read_data(q, &run, v, at, *got);
}

static int read_range(Qcow2 *q, int64_t off, IoVec *v, bool claimed)
{
    size_t at = 0, got;
    int r = 0;
    while (r == 0 && at < v->bytes) {
        r = read_some(q, off + (int64_t)at, v, at, v->bytes - at, &got, claimed);
        at += got;
    }
    return r;
}

int qcow2_preadv(BlockNode *n, int64_t off, IoVec *v, unsigned flags)
{
    return read_range(n->state, off, v, false);
}

/* Writing */

/* With the lock: may data go there? */
static int check_target(Qcow2 *q, int64_t host, int64_t bytes)
{
    if (q->external) {
        return 0;
    }
    int64_t first = host >> q->cluster_bits, last = (host + bytes - 1) >> q->cluster_bits;
    return qref_is_metadata(q, first, last - first + 1)
               ? qcow2_corrupt(q, "guest data at host offset %#" PRIx64 " lies on metadata", host)
               : 0;
}

/* A plan covers neighbouring clusters that get the same treatment. */
typedef struct Plan {
    int64_t off, bytes;      /* the guest's bytes */
    int64_t start, end;      /* with what is copied around them */
    int64_t host;            /* of the cluster that holds `off` */
    int64_t first, clusters; /* newly allocated; clusters == 0: none */
    bool fresh;
    uint8_t *head, *tail; /* what surrounds them; NULL: zeros that need no writing, or nothing */
} Plan;

static bool fully_usable(const Qcow2 *q, uint64_t e)
{
    return qmap_has_host(q, e) && e & QCOW2_COPIED;
}

/* Must all of a cluster be copied when it moves? Otherwise only what shares a subcluster with the new data.
 */
static bool copies_whole(const Qcow2 *q, uint64_t e)
{
    return e & QCOW2_COMPRESSED || (qmap_has_host(q, e) && !(e & QCOW2_COPIED));
}

/* A failed write: nothing refers to the new clusters. Data on its way to them has arrived or failed. */
static void plan_undo(Qcow2 *q, const Plan *p)
{
    if (p->clusters) {
        qref_add(q, p->first, p->clusters, -1);
    }
}

/* With the lock: how much from p->off on can be done at once, and where it goes. */
static int plan_make(Qcow2 *q, Plan *p)
{
    QTable *t;
    int r = qmap_table(q, p->off, true, &t);
    if (r < 0) {
        return r;
    }
    int64_t mask = q->cluster_size - 1, cluster = p->off & ~mask;
    uint64_t bitmap, e = qmap_entry(q, t, p->off, &bitmap), last = e;
    int64_t unit = copies_whole(q, e) ? q->cluster_size : (int64_t)1 << q->sc_bits;
    int64_t table_end = ((p->off >> (q->cluster_bits + q->l2_bits)) + 1) << (q->cluster_bits + q->l2_bits);
    r = qmap_check(q, p->off, e, bitmap);
    if (r < 0) {
        return r;
    }
    p->start = p->off & -unit;
    if (fully_usable(q, e) || q->external) {
        p->host = q->external ? cluster : (int64_t)(e & QCOW2_OFFSET);
        r = check_target(q, p->host, q->cluster_size);
        if (r < 0) {
            return r;
        }
        p->bytes = MIN(p->bytes, cluster + q->cluster_size - p->off);
        p->clusters = 0;
        p->fresh = false;
    } else {
        int64_t end = MIN(p->off + p->bytes, table_end), n = 1;
        for (int64_t at = cluster + q->cluster_size; at < end; at += q->cluster_size, n++) {
            uint64_t map, next = qmap_entry(q, t, at, &map);
            if (fully_usable(q, next)) {
                break;
            }
            last = next;
        }
        r = qref_alloc(q, n, false, &p->first, &p->clusters, &p->fresh);
        if (r < 0) {
            return r;
        }
        if (p->clusters < n) { /* the last one is another one now; allocating may have moved the table */
            r = qmap_table(q, p->off, false, &t);
            if (r < 0) {
                plan_undo(q, p);
                return r;
            }
            last = qmap_entry(q, t, cluster + (p->clusters - 1) * q->cluster_size, &bitmap);
        }
        p->host = p->first << q->cluster_bits;
        p->bytes = MIN(p->bytes, cluster + p->clusters * q->cluster_size - p->off);
    }
    unit = copies_whole(q, last) ? q->cluster_size : (int64_t)1 << q->sc_bits;
    p->end = (p->off + p->bytes + unit - 1) & -unit;
    return 0;
}

/* What lies around the new data. NULL in *out when it need not be written. */
static int plan_copy(Qcow2 *q, const Plan *p, int64_t from, int64_t to, uint8_t **out)
{
    *out = NULL;
    if (from == to) {
        return 0;
    }
    int64_t size = block_size(q->node), inside = MAX(MIN(to, size) - from, 0);
    uint8_t *buf = g_malloc0((size_t)(to - from));
    IoVec v;
    iov_init_buf(&v, buf, (size_t)inside);
    qevent(q, BLKDEBUG_EVENT_COW_READ);
    int r = inside ? read_range(q, from, &v, true) : 0;
    if (r < 0 || (p->fresh && buf_is_zero(buf, (size_t)(to - from)))) {
        g_free(buf);
        return r;
    }
    *out = buf;
    return 0;
}

static int plan_write(Qcow2 *q, Plan *p, IoVec *v, size_t at)
{
    int r = plan_copy(q, p, p->start, p->off, &p->head);
    r = r < 0 ? r : plan_copy(q, p, p->off + p->bytes, p->end, &p->tail);
    if (r < 0) {
        return r;
    }
    int64_t start = p->head ? p->start : p->off;
    IoVec all;
    iov_init(&all);
    if (p->head) {
        iov_add(&all, p->head, (size_t)(p->off - p->start));
    }
    iov_add_slice(&all, v, at, (size_t)p->bytes);
    if (p->tail) {
        iov_add(&all, p->tail, (size_t)(p->end - p->off - p->bytes));
    }
    qevent(q, p->head || p->tail ? BLKDEBUG_EVENT_COW_WRITE : BLKDEBUG_EVENT_WRITE_AIO);
    r = node_pwritev(qcow2_data(q), p->host + (start & (q->cluster_size - 1)), &all, 0);
    iov_fini(&all);
    return r;
}

/* With the lock: the mapping names the new data. */
static int plan_link(Qcow2 *q, const Plan *p)
{
    int64_t cluster = p->off & ~(q->cluster_size - 1), host = p->host;
    QTable *t;
    int r = qmap_table(q, cluster, true, &t); /* one table holds all of a plan */
    if (r < 0) {
        return r;
    }
    for (; cluster < p->off + p->bytes; cluster += q->cluster_size, host += q->cluster_size) {
        uint64_t bitmap, e = qmap_entry(q, t, cluster, &bitmap);
        if (q->extended) {
            int64_t from = MAX(p->start, cluster) - cluster;
            int64_t to = MIN(p->end, cluster + q->cluster_size) - cluster;
            unsigned a = (unsigned)(from >> q->sc_bits), b = (unsigned)(to >> q->sc_bits);
            uint64_t mask = (((uint64_t)1 << b) - 1) & ~(((uint64_t)1 << a) - 1);
            bitmap = (e & QCOW2_COMPRESSED ? 0 : bitmap & ~(mask << 32)) | mask;
        }
        bool moved = p->clusters > 0 && !(!(e & QCOW2_COMPRESSED) && (e & QCOW2_OFFSET) == (uint64_t)host);
        qmap_set(q, t, cluster, (uint64_t)host | QCOW2_COPIED, bitmap);
        if (moved) {
            qref_free_entry(q, e);
        }
    }
    return 0;
}

static int write_allocating(Qcow2 *q, int64_t off, IoVec *v, size_t at, size_t *done)
{
    Plan p = { .off = off, .bytes = (int64_t)(v->bytes - at) };
    co_mutex_lock(&q->lock);
    int r = plan_make(q, &p);
    co_mutex_unlock(&q->lock);
    if (r < 0) {
        return r;
    }
    r = plan_write(q, &p, v, at);
    g_free(p.head);
    g_free(p.tail);
    co_mutex_lock(&q->lock);
    r = r < 0 ? r : plan_link(q, &p);
    if (r < 0) {
        plan_undo(q, &p);
    }
    if (r == 0 && q->freed_clusters > FREED_LIMIT) {
        r = qref_commit(q, false);
    }
    co_mutex_unlock(&q->lock);
    *done = (size_t)p.bytes;
    return r;
}

static int write_in_place(Qcow2 *q, const QRun *run, IoVec *v, size_t at)
{
    qevent(q, BLKDEBUG_EVENT_WRITE_AIO);
    if ((size_t)run->bytes == v->bytes) {
        return node_pwritev(qcow2_data(q), run->host, v, 0);
    }
    IoVec piece;
    iov_init(&piece);
    iov_add_slice(&piece, v, at, (size_t)run->bytes);
    int r = node_pwritev(qcow2_data(q), run->host, &piece, 0);
    iov_fini(&piece);
    return r;
}

static bool is_in_place(Qcow2 *q, const QRun *run)
{
    return run->kind == Q_NORMAL && run->in_place;
}

/* From *at on, as far as nothing has to be allocated. */
static int write_placed(Qcow2 *q, int64_t off, IoVec *v, size_t *at, bool *blocked)
{
    int r = 0;
    *blocked = false;
    while (r == 0 && *at < v->bytes && !*blocked) {
        QRun run;
        co_mutex_lock(&q->lock);
        r = qcow2_prepare(q);
        r = r < 0 ? r : qmap_lookup(q, off + (int64_t)*at, (int64_t)(v->bytes - *at), &run);
        *blocked = r == 0 && !is_in_place(q, &run);
        r = r < 0 || *blocked ? r : check_target(q, run.host, run.bytes);
        co_mutex_unlock(&q->lock);
        if (r == 0 && !*blocked) {
            r = write_in_place(q, &run, v, *at);
            *at += (size_t)run.bytes;
        }
    }
    return r;
}

static int write_compressed(Qcow2 *q, int64_t off, IoVec *v)
{
    int64_t end = off + (int64_t)v->bytes;
    if (q->external) {
        return -ENOTSUP;
    }
    if (off & (q->cluster_size - 1) || (end & (q->cluster_size - 1) && end != block_size(q->node))) {
        return -EINVAL;
    }
    int r = 0;
    for (int64_t at = off; r == 0 && at < end; at += q->cluster_size) {
        CoRange range;
        IoVec piece;
        co_range_claim(&q->ranges, &range, at, at + q->cluster_size, true);
        iov_init(&piece);
        iov_add_slice(&piece, v, (size_t)(at - off), (size_t)MIN(end - at, q->cluster_size));
        co_mutex_lock(&q->lock);
        r = qcow2_prepare(q);
        co_mutex_unlock(&q->lock);
        r = r < 0 ? r : qcow2_write_compressed(q, at, &piece);
        if (r == -ENOTSUP) { /* does not get smaller */
            size_t done = 0, now = 0;
            for (r = 0; r == 0 && done < piece.bytes; done += now) {
                r = write_allocating(q, at + (int64_t)done, &piece, done, &now);
            }
        }
        iov_fini(&piece);
        co_range_release(&q->ranges, &range);
    }
    return r;
}

int qcow2_pwritev(BlockNode *n, int64_t off, IoVec *v, unsigned flags)
{
    Qcow2 *q = n->state;
    if (flags & BLK_COMPRESSED) {
        return write_compressed(q, off, v);
    }
    CoRange range;
    size_t at = 0;
    bool blocked;
    int64_t start = off & ~(q->cluster_size - 1);
    int64_t end = (off + (int64_t)v->bytes + q->cluster_size - 1) & ~(q->cluster_size - 1);
    co_range_claim(&q->ranges, &range, start, end, false);
    int r = write_placed(q, off, v, &at, &blocked);
    co_range_release(&q->ranges, &range);
    if (r < 0 || !blocked) {
        return r;
    }
    co_range_claim(&q->ranges, &range, start, end, true);
    while (r == 0 && at < v->bytes) {
        size_t done = 0;
        r = write_placed(q, off, v, &at, &blocked);
        if (r == 0 && blocked) {
            r = write_allocating(q, off + (int64_t)at, v, at, &done);
            at += done;
        }
    }
    co_range_release(&q->ranges, &range);
    return r;
}

/* Zeros and discards: changes of the mapping alone. */
typedef enum { UNMAP_ZERO, UNMAP_DISCARD, UNMAP_CUT } Unmap; /* cut: the image will end in front of it */

static bool backed(const Qcow2 *q, int64_t off)
{
    BlockNode *below = block_backing(q->node);
    return below && off < block_size(below);
}

/* What an entry becomes when [sc a, sc b) of its cluster shall read as zeros. -ENOTSUP: only data can say it.
 */
static int zero_entry(Qcow2 *q, int64_t cluster, unsigned flags, unsigned a, unsigned b, uint64_t *e,
                      uint64_t *bitmap)
{
    bool unmap = flags & BLK_MAY_UNMAP, explicit = flags & BLK_ALLOCATE;
    bool whole = a == 0 && b == q->sc_count, unallocated = !(*e & QCOW2_COMPRESSED) && !qmap_has_host(q, *e);
    if (q->external_raw) {
        return -ENOTSUP;
    }
    if (q->version < 3) {
        if (explicit || backed(q, cluster) || !(unmap || unallocated)) {
            return -ENOTSUP;
        }
        *e = 0;
        return 0;
    }
    bool keep =
        !unmap && !(*e & QCOW2_COMPRESSED) && (*e & QCOW2_COPIED || q->external) && qmap_has_host(q, *e);
    if (!q->extended) {
        if (explicit || !unallocated || *e & QCOW2_ZERO || backed(q, cluster)) {
            *e = keep ? *e | QCOW2_ZERO : QCOW2_ZERO;
        }
        return 0;
    }
    if (*e & QCOW2_COMPRESSED && !whole) {
        return -ENOTSUP;
    }
    uint64_t mask = (((uint64_t)1 << b) - 1) & ~(((uint64_t)1 << a) - 1);
    *bitmap = *e & QCOW2_COMPRESSED ? mask << 32 : (*bitmap & ~mask) | mask << 32;
    if (*e & QCOW2_COMPRESSED || (!keep && !(*bitmap & UINT32_MAX))) {
        *e = 0;
    }
    return 0;
}

static int discard_entry(Qcow2 *q, int64_t cluster, Unmap how, uint64_t *e, uint64_t *bitmap)
{
    if (q->external_raw) {
        return 0; /* each cluster keeps its place, where zeros are put */
    }
    bool hide = backed(q, cluster) && how != UNMAP_CUT; /* an image that grows hides what is below */
    if (q->version < 3 && hide) {
        return -ENOTSUP; /* the old data below would come back */
    }
    *e = hide && !q->extended ? QCOW2_ZERO : 0;
    *bitmap = hide && q->extended ? (uint64_t)UINT32_MAX << 32 : 0;
    return 0;
}

/* With the lock: one cluster's part. */
static int unmap_cluster(Qcow2 *q, int64_t off, int64_t end, Unmap how, unsigned flags)
{
    QTable *t;
    int64_t cluster = off & ~(q->cluster_size - 1), unit = (int64_t)1 << q->sc_bits;
    unsigned a = (unsigned)((off - cluster) >> q->sc_bits);
    unsigned b = (unsigned)((MIN(end, cluster + q->cluster_size) - cluster + unit - 1) >> q->sc_bits);
    int r = qmap_table(q, off, false, &t);
    if (r < 0 || (!t && !backed(q, cluster) && !q->external_raw && !(flags & BLK_ALLOCATE))) {
        return r; /* zeros already */
    }
    uint64_t bitmap, e = qmap_entry(q, t, off, &bitmap), was = e, was_bitmap = bitmap;
    if (how != UNMAP_ZERO && (a > 0 || (b < q->sc_count && end != block_size(q->node)))) {
        return 0; /* only whole clusters go; the last one may be short */
    }
    r = how == UNMAP_ZERO ? zero_entry(q, cluster, flags, a, b, &e, &bitmap)
                          : discard_entry(q, cluster, how, &e, &bitmap);
    if (r < 0 || (e == was && bitmap == was_bitmap)) {
        return r;
    }
    r = qmap_table(q, off, true, &t);
    if (r < 0) {
        return r;
    }
    qmap_set(q, t, off, e, bitmap);
    if ((was & ~QCOW2_ZERO) && (e & ~(QCOW2_ZERO | QCOW2_COPIED)) != (was & ~(QCOW2_ZERO | QCOW2_COPIED))) {
        qref_free_entry(q, was);
    }
    return 0;
}

static int unmap_range(Qcow2 *q, int64_t off, int64_t bytes, Unmap how, unsigned flags)
{
    int64_t end = off + bytes, mask = q->cluster_size - 1;
    CoRange range;
    co_range_claim(&q->ranges, &range, off & ~mask, (end + mask) & ~mask, true);
    co_mutex_lock(&q->lock);
    int r = qcow2_prepare(q);
    while (r == 0 && off < end) {
        r = unmap_cluster(q, off, end, how, flags);
        off = (off & ~mask) + q->cluster_size;
        if (r == 0 && q->freed_clusters > FREED_LIMIT) {
            r = qref_commit(q, false);
        }
    }
    co_mutex_unlock(&q->lock);
    co_range_release(&q->ranges, &range);
    return r;
}

int qcow2_write_zeroes(BlockNode *n, int64_t off, int64_t bytes, unsigned flags)
{
    return unmap_range(n->state, off, bytes, UNMAP_ZERO, flags);
}

/* The space in an external data file is given back as well; one that is an image by itself holds zeros there
 * then, as the guest sees them. */
static int discard_external(Qcow2 *q, int64_t off, int64_t bytes)
{
    BlockNode *data = qcow2_data(q);
    int64_t mask = q->cluster_size - 1, end = off + bytes;
    off = (off + mask) & ~mask;
    end = end == block_size(q->node) ? MIN(end, block_size(data)) : end & ~mask; /* whole clusters only */
    if (off >= end || !q->pass_discard) {
        return 0;
    }
    if (!q->external_raw) {
        return node_discard(data, off, end - off);
    }
    int r = node_write_zeroes(data, off, end - off, BLK_MAY_UNMAP | BLK_NO_FALLBACK);
    return r == -ENOTSUP ? 0 : r;
}

int qcow2_discard(BlockNode *n, int64_t off, int64_t bytes)
{
    Qcow2 *q = n->state;
    int r = unmap_range(q, off, bytes, UNMAP_DISCARD, 0);
    return r == 0 && q->external ? discard_external(q, off, bytes) : r;
}

int qcow2_cut(Qcow2 *q, int64_t from)
{
    int64_t bytes = block_size(q->node) - from;
    int r = bytes > 0 ? unmap_range(q, from, bytes, UNMAP_CUT, 0) : 0;
    return r == 0 && bytes > 0 && q->external ? discard_external(q, from, bytes) : r;
}

int qcow2_flush(BlockNode *n)
{
    Qcow2 *q = n->state;
    co_mutex_lock(&q->lock);
    qevent(q, BLKDEBUG_EVENT_FLUSH_TO_OS);
    int r = q->broken ? -EIO : qref_commit(q, true);
    co_mutex_unlock(&q->lock);
    return r;
}

/* How far [off, off + bytes) is of one kind and lies together, across L2 tables too; compressed clusters one
 * by one. */
static int lookup_far(Qcow2 *q, int64_t off, int64_t bytes, QRun *run)
{
    int r = lookup(q, off, bytes, run);
    if (r < 0) {
        return r;
    }
    int64_t total = 0;
    QRun next = *run;
    do {
        total += next.bytes;
        r = total < bytes && next.kind != Q_COMPRESSED ? lookup(q, off + total, bytes - total, &next) : -1;
    } while (r == 0 && next.kind == run->kind && next.mapped == run->mapped &&
             (!run->mapped || next.host == run->host + total));
    run->bytes = total;
    return 0;
}

int qcow2_extent(BlockNode *n, int64_t off, int64_t bytes, BlockExtent *out)
{
    Qcow2 *q = n->state;
    QRun run;
    int r = lookup_far(q, off, bytes, &run);
    if (r < 0) {
        return r;
    }
    *out = (BlockExtent){ .bytes = run.bytes,
                          .allocated = run.kind != Q_UNALLOCATED,
                          .zero = run.kind == Q_ZERO,
                          .data = run.kind == Q_NORMAL || run.kind == Q_COMPRESSED,
                          .compressed = run.kind == Q_COMPRESSED };
    if (run.mapped) {
        out->host = qcow2_data(q);
        out->host_off = run.host;
    }
    if (run.kind == Q_UNALLOCATED && !block_backing(n)) {
        out->zero = true;
    }
    return 0;
}

int qcow2_map(BlockNode *n, int64_t off, int64_t bytes, BlockMap *out)
{
    Qcow2 *q = n->state;
    QRun run;
    int r = lookup_far(q, off, bytes, &run);
    if (r < 0 || run.bytes < bytes) {
        return r < 0 ? r : -ENOTSUP;
    }
    BlockNode *below = block_backing(n);
    if (run.kind == Q_UNALLOCATED && below && bytes <= block_size(below) - off) {
        return node_map(below, off, bytes, out);
    }
    return run.kind == Q_NORMAL ? node_map(qcow2_data(q), run.host, bytes, out) : -ENOTSUP;
}
