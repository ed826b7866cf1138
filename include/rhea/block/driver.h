/* SPDX-License-Identifier: MIT
 * rhea/block/driver.h - what a block driver implements, and what it may call.
 *
 * A driver is one constant BlockDriver. open() gets its typed options; functions from preadv on are
 * coroutines and may run on several loops at once: a driver that needs order owns a CoMutex. Buffers have any
 * alignment unless the node asks for one.
 */
#ifndef RHEA_BLOCK_DRIVER_H
#define RHEA_BLOCK_DRIVER_H

#include "rhea/block/block.h"
#include "schema/block.h"

typedef struct BlockDriver BlockDriver;
typedef struct BlockFormatOps BlockFormatOps;

/* An edge: somebody's use of a node. */
typedef struct BlockEdge {
    BlockNode *node;
    BlockNode *parent;   /* NULL: a client's */
    BlockClient *client; /* NULL: a node's */
    const char *role;    /* "file", "backing", "data-file" or the client's name */
    unsigned perm, shared;
} BlockEdge;

struct BlockNode {
    /* Configuration, fixed after open. */
    const BlockDriver *driver;
    BlockGraph *graph;
    char *name, *filename;
    bool read_only, force_share, direct, no_flush;
    Json *options; /* it was opened with these; values are text when from_text */
    bool from_text;
    bool guarded;         /* block_guard_format() */
    bool backing_is_null; /* "backing": null was given: whatever the image says, there is none */
    BlockDiscard discard;
    BlockDetectZeroes detect_zeroes;
    /* What requests must look like; drivers set them in open(). */
    int64_t align;      /* offsets and lengths are multiples of this; 1: any (the driver bounces) */
    int64_t zero_align; /* write_zeroes() and discard() get multiples of this, but for the end of the node */
    int64_t max_zeroes; /* bytes write_zeroes() takes at once */
    bool fua;           /* pwritev() takes BLK_FUA itself; else a flush follows */
    unsigned child_perm, child_unshared; /* filters: what the node below hears besides what users say */
    bool grows_zero; /* beyond its end reads give zeros, and writing there keeps that so for the gap */
    /* The graph: main loop. */
    unsigned refs;
    GPtrArray *edges_down, *edges_up; /* BlockEdge *; up: borrowed */
    BlockEdge *file, *backing, *data_file;
    unsigned perm, shared;
    void *state;        /* the driver's */
    GPtrArray *bitmaps; /* BlockBitmap *, NULL: none; with bitmap_lock: rhea/block/bitmap.h */
    pthread_mutex_t bitmap_lock;
    /* node_extent_deep()'s, main loop: do holes of the file below count? 1, -1; 0: not known */
    signed char holes;
    /* Data path. */
    unsigned bitmaps_recording; /* atomic: how many bitmaps writes must mark */
    int64_t size;               /* atomic; block_size() */
    int64_t highest;            /* atomic: where the write that reached furthest ended */
    uint64_t threshold;         /* atomic: a write beyond it is told once; 0: none */
};

typedef struct BlockDiscards {
    uint64_t done, failed, bytes; /* bytes: of those that were done */
} BlockDiscards;

struct BlockDriver {
    const char *name;
    size_t state_size;
    bool filter;                  /* its file's permissions are those asked of itself */
    const BlockFormatOps *format; /* NULL: a protocol, or nothing of that kind */
    bool (*open)(BlockNode *n, const BlockdevOptions *o, bool from_text, Error **errp) MAIN_LOOP;
    void (*close)(BlockNode *n) MAIN_LOOP; /* also after a failed open */
    /* Takes or drops what guards `perm` and `shared` outside this process. NULL: nothing to do. */
    bool (*set_perm)(BlockNode *n, unsigned perm, unsigned shared, Error **errp) MAIN_LOOP;
    int64_t (*allocated_bytes)(const BlockNode *n); /* NULL: its children's */
    /* Requests that wait for what may never come (a server's return) fail now. NULL: none do. */
    void (*give_up)(BlockNode *n) MAIN_LOOP;
    void (*event)(BlockNode *n, BlkdebugEvent e) CO_FN; /* NULL: it does not listen */
    int (*preadv)(BlockNode *n, int64_t off, IoVec *v, unsigned flags) CO_FN;
    int (*pwritev)(BlockNode *n, int64_t off, IoVec *v,
                   unsigned flags) CO_FN; /* flags: BLK_COMPRESSED, and BLK_FUA when node->fua */
    int (*write_zeroes)(BlockNode *n, int64_t off, int64_t bytes, unsigned flags) CO_FN; /* or -ENOTSUP */
    int (*discard)(BlockNode *n, int64_t off, int64_t bytes) CO_FN;                      /* or -ENOTSUP */
    int (*flush)(BlockNode *n) CO_FN;
    int (*extent)(BlockNode *n, int64_t off, int64_t bytes, BlockExtent *out) CO_FN;
    int (*map)(BlockNode *n, int64_t off, int64_t bytes, BlockMap *out) CO_FN; /* NULL: -ENOTSUP */
    bool (*truncate)(BlockNode *n, int64_t size, int prealloc, Error **errp) CO_FN;
    /* Writes what lies in an open file without reading it; -ENOTSUP (or NULL): it must be read and written.
     */
    int (*copy_from)(BlockNode *n, int64_t off, int fd, int64_t fd_off, int64_t bytes) CO_FN;
    void (*discards)(const BlockNode *n, BlockDiscards *out); /* how often it did. NULL: nobody counts */
    int (*host_fd)(const BlockNode *n); /* that has its bytes at the same offsets. NULL: there is none */
};

/* Result of a check; QEMU's names in JSON. */
typedef struct BlockCheck {
    int64_t corruptions, leaks, check_errors, corruptions_fixed, leaks_fixed;
    int64_t image_end, total_clusters, allocated_clusters, fragmented_clusters, compressed_clusters;
    void (*say)(void *opaque, const char *text); /* a finding, one line; may be NULL */
    void *opaque;
} BlockCheck;
enum { BLOCK_FIX_LEAKS = 1, BLOCK_FIX_ERRORS = 2 };

typedef struct BlockSnapshot {
    char *id, *name;
    uint64_t vm_state_size, date_sec, date_nsec, vm_clock_nsec, icount, disk_size;
} BlockSnapshot;

typedef struct BlockMeasure {
    uint64_t required, fully_allocated;
    uint64_t bitmaps; /* UINT64_MAX: not said */
} BlockMeasure;

struct BlockFormatOps {
    /* Does content that begins so belong to the format? */
    bool (*probe)(const uint8_t *head, size_t len);
    const TypeDesc *create_type;
    /* `options` is a decoded create_type. `g` opens what is needed meanwhile. */
    bool (*create)(BlockGraph *g, const char *filename, const void *options, Error **errp) MAIN_LOOP;
    /* The same inside a node, whose content is lost; file: its name, or its options. NULL: files only. */
    bool (*create_at)(BlockGraph *g, const Json *file, const void *options, Error **errp) MAIN_LOOP;
    bool (*measure)(const void *options, int64_t size, BlockClient *source, BlockMeasure *out,
                    Error **errp) MAIN_LOOP;
    Json *(*info)(BlockNode *n); /* members of format-specific data; NULL: none */
    int64_t (*cluster_size)(const BlockNode *n);
    int64_t (*used_clusters)(BlockNode *n) CO_FN; /* that have a user, or -errno */
    bool (*is_dirty)(const BlockNode *n);
    const char *(*backing_name)(const BlockNode *n,
                                const char **format); /* as the image has it; NULL: none */
    /* What the image says lies below it from now on; NULL: nothing. The graph stays as it is. */
    bool (*set_backing)(BlockNode *n, const char *name, const char *format, Error **errp) CO_FN;
    bool (*make_empty)(BlockNode *n, Error **errp) CO_FN; /* leaves everything to the layer below */
    /* Can a persistent bitmap be stored here? NULL: none can. */
    bool (*bitmap_fits)(BlockNode *n, const char *name, uint64_t granularity, Error **errp) MAIN_LOOP;
    /* Persistent bitmaps are about to change: what the image holds is marked as old. */
    bool (*bitmaps_touch)(BlockNode *n, Error **errp) CO_FN;
    const TypeDesc *amend_type; /* options that can be changed; NULL: none */
    bool (*amend)(BlockNode *n, const void *options, Error **errp) CO_FN;
    int (*check)(BlockNode *n, BlockCheck *result, unsigned fix, Error **errp) CO_FN;
    GArray *(*snapshots)(BlockNode *n); /* of BlockSnapshot, borrowed strings; g_array_unref */
    bool (*snapshot_create)(BlockNode *n, const char *name, Error **errp) CO_FN;
    bool (*snapshot_apply)(BlockNode *n, const char *name, Error **errp) CO_FN;
    bool (*snapshot_view)(BlockNode *n, const char *name, Error **errp) CO_FN;   /* read-only nodes */
    bool (*snapshot_delete)(BlockNode *n, const char *name, Error **errp) CO_FN; /* name, or ID */
};

extern const BlockDriver *const block_drivers[]; /* by BlockDriverName */
extern const BlockDriver block_file_driver, block_host_device_driver, block_nbd_driver, block_null_driver,
    block_raw_driver, block_qcow2_driver, block_copy_on_read_driver, block_blkdebug_driver,
    block_blklogwrites_driver, block_throttle_driver;

/* For open(): uses a node named by a string, or opened from an object with what it inherits of `n`. */
BlockEdge *block_attach(BlockNode *n, const char *role, const Json *ref, bool from_text,
                        Error **errp) MAIN_LOOP;

/* Requests between nodes; any offset and length that node->align allows. */
int node_preadv(BlockNode *n, int64_t off, IoVec *v, unsigned flags) CO_FN;
int node_pwritev(BlockNode *n, int64_t off, IoVec *v, unsigned flags) CO_FN;
int node_pread(BlockNode *n, int64_t off, void *buf, size_t len) CO_FN;
int node_pwrite(BlockNode *n, int64_t off, const void *buf, size_t len) CO_FN;
int node_write_zeroes(BlockNode *n, int64_t off, int64_t bytes, unsigned flags) CO_FN;
int node_discard(BlockNode *n, int64_t off, int64_t bytes) CO_FN;
int node_copy_from(BlockNode *n, int64_t off, int fd, int64_t fd_off, int64_t bytes) CO_FN;
int node_flush(BlockNode *n) CO_FN;
int node_extent(BlockNode *n, int64_t off, int64_t bytes, BlockExtent *out) CO_FN;
/* The view through backing nodes down to, not including, `base` (NULL: all). */
int node_extent_deep(BlockNode *n, int64_t off, int64_t bytes, BlockExtent *out) CO_FN;
int node_extent_above(BlockNode *n, BlockNode *base, int64_t off, int64_t bytes, BlockExtent *out) CO_FN;
int node_map(BlockNode *n, int64_t off, int64_t bytes, BlockMap *out) CO_FN;
bool node_truncate(BlockNode *n, int64_t size, int prealloc, Error **errp) CO_FN;
/* The node above is about to do something, or has done it: blkdebug wants to know. */
static inline void node_event(BlockNode *n, BlkdebugEvent e)
{
    if (G_UNLIKELY(n->driver->event)) {
        n->driver->event(n, e);
    }
}
static inline void node_set_size(BlockNode *n, int64_t size)
{
    __atomic_store_n(&n->size, size, __ATOMIC_RELEASE);
}

#endif
