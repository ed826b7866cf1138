/* SPDX-License-Identifier: MIT
 * block/qcow2.h - private to the qcow2 driver: on-disk constants, state, and who calls whom.
 *
 * On disk (big-endian):
 *   cluster 0: header | extensions | backing file's name
 *   L1 table -> L2 tables -> clusters: where the guest's bytes lie
 *   refcount table -> refcount blocks: how many users each host cluster has
 *
 * qcow2.c opens, closes and tells; -cache.c keeps L2 tables and refcount blocks; -ref.c counts, allocates and
 * brings metadata to disk in order; -map.c walks L1 and L2; -io.c serves requests; -compress.c; -create.c
 * makes and resizes; -header.c changes the header; -check.c; -snapshot.c.
 */
#ifndef BLOCK_QCOW2_H
#define BLOCK_QCOW2_H

#include "bigendian.h"
#include "internal.h"

enum {
    QCOW2_MAGIC = 0x514649fb,
    QCOW2_MIN_BITS = 9,
    QCOW2_MAX_BITS = 21,
    QCOW2_MAX_L1 = 32 * 1024 * 1024,      /* bytes */
    QCOW2_MAX_REFTABLE = 8 * 1024 * 1024, /* bytes */
    QCOW2_MAX_SNAPSHOTS = 65536,
    QCOW2_MAX_SNAPSHOT_TABLE = 64 * 1024 * 1024,
    QCOW2_MAX_NAME = 1023,
    QCOW2_SUBCLUSTERS = 32,
    QCOW2_FEATURES_BYTES = 392, /* of the extension that names them */
};

/* Header fields by offset. */
enum {
    QH_VERSION = 4,
    QH_BACKING_OFFSET = 8,
    QH_BACKING_SIZE = 16,
    QH_CLUSTER_BITS = 20,
    QH_SIZE = 24,
    QH_CRYPT = 32,
    QH_L1_SIZE = 36,
    QH_L1_OFFSET = 40,
    QH_REFTABLE_OFFSET = 48,
    QH_REFTABLE_CLUSTERS = 56,
    QH_SNAPSHOTS = 60,
    QH_SNAPSHOTS_OFFSET = 64,
    QH_V2_LENGTH = 72,
    QH_INCOMPATIBLE = 72,
    QH_COMPATIBLE = 80,
    QH_AUTOCLEAR = 88,
    QH_REFCOUNT_ORDER = 96,
    QH_LENGTH = 100,
    QH_COMPRESSION = 104,
    QH_V3_LENGTH = 112,
};

enum {
    QEXT_END = 0,
    QEXT_BACKING_FORMAT = (int)0xe2792aca,
    QEXT_FEATURES = 0x6803f857,
    QEXT_BITMAPS = 0x23852875,
    QEXT_DATA_FILE = 0x44415441,
    QEXT_CRYPT = 0x0537be77,
};

enum {
    QINC_DIRTY = 1,
    QINC_CORRUPT = 2,
    QINC_DATA_FILE = 4,
    QINC_COMPRESSION = 8,
    QINC_EXTENDED_L2 = 16,
    QINC_KNOWN = 31
};
enum { QCOMPAT_LAZY = 1 };
enum { QAUTO_BITMAPS = 1, QAUTO_RAW = 2 };

#define QCOW2_COPIED      ((uint64_t)1 << 63)
#define QCOW2_COMPRESSED  ((uint64_t)1 << 62)
#define QCOW2_ZERO        ((uint64_t)1)
#define QCOW2_OFFSET      ((uint64_t)0x00fffffffffffe00)
#define QCOW2_L1_RESERVED ((uint64_t)0x7f000000000001ff)
#define QCOW2_REF_OFFSET  ((uint64_t)0xfffffffffffffe00)
#define QCOW2_MAX_HOST    ((int64_t)1 << 56)

/* One table, a cluster long, in memory. */
typedef struct QTable {
    int64_t offset;
    uint8_t *data;
    uint32_t lo, hi; /* bytes that differ from the disk's; lo >= hi: none */
    bool fresh;      /* nothing on disk refers to it yet */
    struct QTable *newer, *older;
} QTable;

typedef struct QCache {
    GHashTable *tables; /* offset -> QTable */
    QTable *newest, *oldest;
    unsigned max, dirty;
} QCache;

typedef struct QSnapshot {
    BlockSnapshot pub;
    int64_t l1_offset;
    uint32_t l1_size;
    uint8_t *extra; /* what follows the known extra data */
    uint32_t extra_len;
} QSnapshot;

typedef struct QFreed {
    int64_t first, n; /* clusters */
} QFreed;

/* An entry of the bitmaps' directory. */
typedef struct QBitmap {
    char *name;
    int64_t table; /* its offset */
    uint32_t table_size, flags;
    uint8_t type, granularity_bits;
    uint8_t *extra;
    uint32_t extra_len;
    int64_t at; /* in the directory */
    bool known; /* of a kind that can be used */
    bool kept;  /* private: its clusters stay */
} QBitmap;

typedef struct Qcow2 {
    BlockNode *node;
    /* Fixed after open. */
    unsigned version, cluster_bits, refcount_order, entry_bytes, l2_bits, sc_bits, sc_count;
    int64_t cluster_size, refs_per_block, l2_entries;
    uint64_t max_refcount;
    bool extended, external, external_raw, lazy, pass_discard, pass_discard_snapshot, locks_ready;
    uint32_t header_length;
    Qcow2Compression compression;
    char *backing_name, *backing_format, *data_file_name;
    /* Under `lock`. */
    GByteArray *unknown_ext; /* header extensions that are kept as they are */
    uint32_t bitmaps;        /* persistent bitmaps in the directory */
    int64_t bitmap_dir, bitmap_dir_bytes;
    GArray *bitmap_list; /* QBitmap: what the directory says */
    char *bitmaps_void;  /* why it cannot be used; NULL: it can */
    CoMutex lock;
    CoRangeLock ranges; /* guest offsets: whoever changes what maps there claims exclusively */
    uint64_t incompatible, compatible, autoclear;
    uint64_t *l1;
    uint32_t l1_size, l1_lo, l1_hi; /* entries; [lo, hi) differ from the disk's */
    int64_t l1_offset;
    uint64_t *reftable;
    uint32_t ref_entries, ref_lo, ref_hi;
    uint32_t ref_stored; /* entries that the table on disk has room for; more: it is being replaced */
    int64_t ref_offset;
    QCache l2, refs;
    GHashTable *metadata; /* cluster numbers of L2 tables and refcount blocks; NULL until the first write */
    int64_t free_hint;    /* clusters below it are in use */
    int64_t fresh_from;   /* clusters from here on were never written */
    GArray *freed;        /* QFreed: users dropped, not yet counted; not to be used again before a commit */
    int64_t freed_clusters;
    GHashTable *waiting; /* the clusters of `freed`: number / 32 -> a bit for each */
    int64_t comp_next;   /* where the next compressed cluster may go on, 0: nowhere */
    bool ready;          /* the first write's preparations are made */
    bool repairing;      /* counts are not to be trusted */
    bool broken;         /* corruption was found: no more writes */
    GArray *snapshots;   /* QSnapshot */
    int64_t snapshots_offset, snapshots_bytes;
} Qcow2;

/* What a guest range maps to. */
typedef enum { Q_UNALLOCATED, Q_ZERO, Q_NORMAL, Q_COMPRESSED } QKind;
typedef struct QRun {
    QKind kind;
    int64_t bytes;  /* from the offset asked for */
    int64_t host;   /* of the first byte, when mapped */
    uint64_t entry; /* of the first cluster */
    bool mapped;    /* a host cluster belongs to it, whatever it reads as */
    bool in_place;  /* Q_NORMAL: every cluster has one user */
} QRun;

/* qcow2.c */
int qcow2_header_write(Qcow2 *q, unsigned from, unsigned to, const void *bytes) CO_FN; /* and syncs */
int qcow2_header_u64(Qcow2 *q, unsigned at, uint64_t value) CO_FN;
int qcow2_prepare(Qcow2 *q) CO_FN; /* before anything is changed; lock held */
int qcow2_corrupt(Qcow2 *q, const char *fmt, ...) G_GNUC_PRINTF(2, 3); /* -EIO; lock held */
static inline BlockNode *qcow2_file(const Qcow2 *q)
{
    return q->node->file->node;
}
static inline BlockNode *qcow2_data(const Qcow2 *q)
{
    return q->external ? q->node->data_file->node : q->node->file->node;
}

/* qcow2-header.c; with the lock held */
size_t qcow2_put_extension(uint8_t *p, uint32_t type, const void *data, size_t len);
size_t qcow2_put_features(uint8_t *p);
/* Writes the header that the state describes, so that a power cut leaves the old or the new one.
 * `was_length`: the present header's. -ENOSPC: it does not fit; nothing was written. */
int qcow2_header_rebuild(Qcow2 *q, uint32_t was_length) CO_FN;
bool qcow2_set_backing(BlockNode *n, const char *name, const char *format, Error **errp) CO_FN;

/* qcow2-bitmap.c */
void qcow2_load_bitmaps(Qcow2 *q) CO_FN;
int qcow2_mark_bitmaps(Qcow2 *q) CO_FN;  /* as in use, before the first write; lock held */
int qcow2_store_bitmaps(Qcow2 *q) CO_FN; /* lock held; a commit must follow */
void qcow2_free_bitmaps(Qcow2 *q);
bool qcow2_bitmap_fits(BlockNode *n, const char *name, uint64_t granularity, Error **errp);
bool qcow2_bitmaps_touch(BlockNode *n, Error **errp) CO_FN;
Json *qcow2_bitmaps_info(const Qcow2 *q);

/* qcow2-cache.c; all with the lock held */
void qcache_init(Qcow2 *q, QCache *c, uint64_t bytes);
void qcache_fini(QCache *c);
int qcache_get(Qcow2 *q, QCache *c, int64_t offset, QTable **out) CO_FN;
int qcache_new(Qcow2 *q, QCache *c, int64_t offset, QTable **out) CO_FN; /* zeroed, fresh, dirty */
void qcache_touch(QCache *c, QTable *t, uint32_t lo, uint32_t hi);
int qcache_write(Qcow2 *q, QCache *c, bool only_fresh) CO_FN;
void qcache_forget(QCache *c, int64_t offset);

/* qcow2-ref.c; all with the lock held */
int qref_get(Qcow2 *q, int64_t cluster, uint64_t *count) CO_FN;
/* The next cluster with a user in [from, end), which one block counts; *cluster == end: none. */
int qref_next_used(Qcow2 *q, int64_t from, int64_t end, int64_t *cluster, uint64_t *count) CO_FN;
int qref_set(Qcow2 *q, int64_t cluster, uint64_t count) CO_FN;
/* Entry i of a block whose entries have 2^order bits. */
void qref_put_entry(unsigned order, uint8_t *block, int64_t i, uint64_t count);
int qref_add(Qcow2 *q, int64_t first, int64_t n, int change) CO_FN; /* at once; +1 or -1 */
/* Up to `want` neighbouring clusters with a count of 1; at least one, all when `exact`. */
int qref_alloc(Qcow2 *q, int64_t want, bool exact, int64_t *first, int64_t *got, bool *fresh) CO_FN;
/* Users of these are gone in what memory holds; counted down once that is on disk. */
void qref_free_later(Qcow2 *q, int64_t first, int64_t n);
/* The same for a cluster or compressed data that an L2 entry named. Metadata stays: the image is corrupt. */
void qref_free_entry(Qcow2 *q, uint64_t entry) CO_FN;
int qref_commit(Qcow2 *q, bool sync) CO_FN; /* metadata to disk, in order */
int64_t qcow2_used_clusters(BlockNode *n) CO_FN;
bool qref_is_metadata(Qcow2 *q, int64_t first, int64_t n);

/* qcow2-map.c; with the lock held */
static inline void qevent(Qcow2 *q, BlkdebugEvent e)
{
    node_event(qcow2_file(q), e);
}
int qmap_table(Qcow2 *q, int64_t off, bool write, QTable **out) CO_FN; /* *out NULL: none (reading) */
uint64_t qmap_entry(const Qcow2 *q, const QTable *t, int64_t off, uint64_t *bitmap);
int qmap_check(Qcow2 *q, int64_t off, uint64_t entry, uint64_t bitmap); /* -EIO: no valid one for `off` */
void qmap_set(Qcow2 *q, QTable *t, int64_t off, uint64_t entry, uint64_t bitmap);
int qmap_lookup(Qcow2 *q, int64_t off, int64_t bytes, QRun *run) CO_FN;
static inline bool qmap_has_host(const Qcow2 *q, uint64_t entry)
{
    return !(entry & QCOW2_COMPRESSED) && ((entry & QCOW2_OFFSET) || (q->external && (entry & QCOW2_COPIED)));
}
/* Where compressed data lies: [*off, *off + *len). */
void qmap_compressed(const Qcow2 *q, uint64_t entry, int64_t *off, int64_t *len);

/* qcow2-io.c */
int qcow2_preadv(BlockNode *n, int64_t off, IoVec *v, unsigned flags) CO_FN;
int qcow2_pwritev(BlockNode *n, int64_t off, IoVec *v, unsigned flags) CO_FN;
int qcow2_write_zeroes(BlockNode *n, int64_t off, int64_t bytes, unsigned flags) CO_FN;
int qcow2_discard(BlockNode *n, int64_t off, int64_t bytes) CO_FN;
/* Nothing is mapped at or behind `from` any more, the start of a cluster: before the image becomes shorter.
 */
int qcow2_cut(Qcow2 *q, int64_t from) CO_FN;
int qcow2_flush(BlockNode *n) CO_FN;
int qcow2_extent(BlockNode *n, int64_t off, int64_t bytes, BlockExtent *out) CO_FN;
int qcow2_map(BlockNode *n, int64_t off, int64_t bytes, BlockMap *out) CO_FN;

/* qcow2-compress.c */
int qcow2_read_compressed(Qcow2 *q, uint64_t entry, uint8_t *cluster) CO_FN;
int qcow2_write_compressed(Qcow2 *q, int64_t off, IoVec *v) CO_FN; /* one cluster, its range claimed */

/* qcow2-amend.c */
bool qcow2_amend(BlockNode *n, const void *options, Error **errp) CO_FN;

/* qcow2-create.c */
bool qcow2_create(BlockGraph *g, const char *filename, const void *options, Error **errp);
bool qcow2_create_at(BlockGraph *g, const Json *file, const void *options, Error **errp);
bool qcow2_measure(const void *options, int64_t size, BlockClient *source, BlockMeasure *out, Error **errp);
bool qcow2_truncate(BlockNode *n, int64_t size, int prealloc, Error **errp) CO_FN;
int qcow2_grow_l1(Qcow2 *q, uint64_t entries) CO_FN;
int64_t qcow2_l1_needed(const Qcow2 *q, int64_t size);

/* qcow2-check.c */
int qcow2_check(BlockNode *n, BlockCheck *result, unsigned fix, Error **errp) CO_FN;
int qcow2_check_locked(Qcow2 *q, BlockCheck *result, unsigned fix) CO_FN;

/* qcow2-snapshot.c */
bool qcow2_read_snapshots(Qcow2 *q, uint32_t count, int64_t offset, Error **errp) CO_FN;
void qcow2_free_snapshots(Qcow2 *q);
GArray *qcow2_snapshots(BlockNode *n);
bool qcow2_snapshot_create(BlockNode *n, const char *name, Error **errp) CO_FN;
bool qcow2_snapshot_apply(BlockNode *n, const char *name, Error **errp) CO_FN;
bool qcow2_snapshot_view(BlockNode *n, const char *name, Error **errp) CO_FN;
bool qcow2_snapshot_delete(BlockNode *n, const char *name, Error **errp) CO_FN;
bool qcow2_make_empty(BlockNode *n, Error **errp) CO_FN;

#endif
