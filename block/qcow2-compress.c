/* SPDX-License-Identifier: MIT
 * block/qcow2-compress.c - compressed clusters: zlib (raw deflate, 4 KiB window) and zstd.
 *
 * Models: compressed data lies at any byte offset; clusters of it share host clusters, each of which counts
 * one user per piece of data that touches it. The length is kept in sectors; what follows the data in the
 * last one is ignored. Threads: the work is done by workers; metadata under Qcow2.lock.
 */
#include "qcow2.h"

#include <errno.h>
#include <string.h>
#include <zlib.h>
#include <zstd.h>

enum {
    WINDOW_BITS = -12
}; /* negative: no zlib header; every reader of the format has a window of that size */

typedef struct Job {
    Qcow2Compression how;
    const uint8_t *in;
    uint8_t *out;
    size_t in_len, out_len;
} Job;

static int inflate_job(void *opaque)
{
    Job *j = opaque;
    if (j->how == QCOW2_COMPRESSION_ZSTD) {
        ZSTD_DStream *d = ZSTD_createDStream();
        ZSTD_inBuffer in = { j->in, j->in_len, 0 };
        ZSTD_outBuffer out = { j->out, j->out_len, 0 };
        while (d && out.pos < out.size) {
            size_t before = in.pos + out.pos, r = ZSTD_decompressStream(d, &out, &in);
            if (ZSTD_isError(r) || in.pos + out.pos == before) {
                break;
            }
        }
        ZSTD_freeDStream(d);
        return out.pos == out.size ? 0 : -EIO;
    }
    z_stream z = { .next_in = (Bytef *)j->in,
                   .avail_in = (uInt)j->in_len,
                   .next_out = j->out,
                   .avail_out = (uInt)j->out_len };
    if (inflateInit2(&z, WINDOW_BITS) != Z_OK) {
        return -ENOMEM;
    }
    int r = inflate(&z, Z_FINISH);
    bool ok = z.avail_out == 0 && (r == Z_STREAM_END || r == Z_BUF_ERROR);
    inflateEnd(&z);
    return ok ? 0 : -EIO;
}

/* Bytes, or -ENOTSUP when the result would not be smaller. */
static int deflate_job(void *opaque)
{
    Job *j = opaque;
    if (j->how == QCOW2_COMPRESSION_ZSTD) {
        size_t r = ZSTD_compress(j->out, j->out_len, j->in, j->in_len, ZSTD_CLEVEL_DEFAULT);
        return ZSTD_isError(r) ? -ENOTSUP : (int)r;
    }
    z_stream z = { .next_in = (Bytef *)j->in,
                   .avail_in = (uInt)j->in_len,
                   .next_out = j->out,
                   .avail_out = (uInt)j->out_len };
    if (deflateInit2(&z, Z_DEFAULT_COMPRESSION, Z_DEFLATED, WINDOW_BITS, 9, Z_DEFAULT_STRATEGY) != Z_OK) {
        return -ENOMEM;
    }
    int r = deflate(&z, Z_FINISH), len = (int)(j->out_len - z.avail_out);
    deflateEnd(&z);
    return r == Z_STREAM_END ? len : -ENOTSUP;
}

int qcow2_read_compressed(Qcow2 *q, uint64_t entry, uint8_t *cluster)
{
    int64_t off, len;
    qmap_compressed(q, entry, &off, &len);
    g_autofree uint8_t *data = g_malloc((size_t)len);
    qevent(q, BLKDEBUG_EVENT_READ_COMPRESSED);
    int r = node_pread(qcow2_file(q), off, data, (size_t)len);
    Job j = { q->compression, data, cluster, (size_t)len, (size_t)q->cluster_size };
    return r < 0 ? r : worker_run(block_graph_workers(q->node->graph), inflate_job, &j);
}

/* With the lock: host bytes for `len` bytes of data, behind the last piece when there is room, and the counts
 * of the clusters it touches. */
static int alloc_bytes(Qcow2 *q, int64_t len, int64_t *off)
{
    int64_t mask = q->cluster_size - 1, first, got, room = q->comp_next ? -q->comp_next & mask : 0;
    bool fresh;
    int r;
    qevent(q, BLKDEBUG_EVENT_CLUSTER_ALLOC_BYTES);
    if (room > 0) {
        uint64_t count;
        int64_t shared = q->comp_next >> q->cluster_bits;
        r = qref_get(q, shared, &count);
        if (r < 0) {
            return r;
        }
        if (count == 0 || count >= q->max_refcount) {
            room = 0;
        } else if (len <= room) {
            r = qref_add(q, shared, 1, 1);
            *off = q->comp_next;
            q->comp_next += r < 0 ? 0 : len;
            return r;
        }
    }
    r = qref_alloc(q, 1, true, &first, &got, &fresh);
    if (r < 0) {
        return r;
    }
    *off = first << q->cluster_bits;
    /* The next cluster: go on across. Allocating may have committed, and the shared one may be gone. */
    if (room > 0 && q->comp_next && *off == (q->comp_next | mask) + 1) {
        r = qref_add(q, first - 1, 1, 1);
        if (r < 0) {
            qref_add(q, first, 1, -1);
            return r;
        }
        *off = q->comp_next;
    }
    q->comp_next = *off + len;
    return 0;
}

static void undo_bytes(Qcow2 *q, int64_t off, int64_t len)
{
    for (int64_t c = off >> q->cluster_bits; c <= (off + len - 1) >> q->cluster_bits; c++) {
        qref_add(q, c, 1, -1);
    }
    q->comp_next = 0;
}

static int link_compressed(Qcow2 *q, int64_t guest, int64_t off, int64_t len)
{
    QTable *t;
    unsigned shift = 62 - (q->cluster_bits - 8);
    int r = qmap_table(q, guest, true, &t);
    if (r < 0) {
        return r;
    }
    uint64_t bitmap, was = qmap_entry(q, t, guest, &bitmap);
    uint64_t more = (uint64_t)(((off + len - 1) >> 9) - (off >> 9));
    qmap_set(q, t, guest, QCOW2_COMPRESSED | more << shift | (uint64_t)off, 0);
    qref_free_entry(q, was);
    return 0;
}

int qcow2_write_compressed(Qcow2 *q, int64_t guest, IoVec *v)
{
    size_t size = (size_t)q->cluster_size;
    g_autofree uint8_t *in = g_malloc0(size), *out = g_malloc(size);
    iov_to_buf(v, 0, in, v->bytes);
    Job j = { q->compression, in, out, size, size - 1 };
    int len = worker_run(block_graph_workers(q->node->graph), deflate_job, &j);
    if (len < 0) {
        return len;
    }
    int64_t off = 0;
    co_mutex_lock(&q->lock);
    int r = alloc_bytes(q, len, &off);
    if (r == 0 && off + len > (int64_t)1 << (62 - (q->cluster_bits - 8))) {
        undo_bytes(q, off, len);
        r = -ENOTSUP; /* the entry has no room for such an offset */
    }
    co_mutex_unlock(&q->lock);
    if (r < 0) {
        return r == -E2BIG ? -ENOTSUP : r;
    }
    qevent(q, BLKDEBUG_EVENT_WRITE_COMPRESSED);
    r = node_pwrite(qcow2_file(q), off, out, (size_t)len);
    co_mutex_lock(&q->lock);
    r = r < 0 ? r : link_compressed(q, guest, off, len);
    if (r < 0) {
        undo_bytes(q, off, len);
    }
    co_mutex_unlock(&q->lock);
    return r;
}
