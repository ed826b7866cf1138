/* SPDX-License-Identifier: MIT
 * block/internal.h - the core's own structures: graph, clients, and how a file reaches the kernel.
 */
#ifndef BLOCK_INTERNAL_H
#define BLOCK_INTERNAL_H

#include "rhea/block/driver.h"

enum { BLOCK_WORKERS = 64, BLOCK_MAX_DEPTH = 200, BLOCK_BOUNCE = 1024 * 1024 };
#define BLOCK_MAX_SIZE ((int64_t)0x7ffffffffffffe00)

typedef struct BlockGate BlockGate;

struct BlockGraph {
    Loop *loop;
    WorkerPool *workers;
    GPtrArray *nodes; /* all, borrowed */
    GPtrArray *throttles; /* all, borrowed */
    unsigned next_name, depth;
    BlockGate *gates; /* closed ones, the latest first (client.c) */
    unsigned closing; /* atomic: how often the main loop is waiting for clients' requests to end */
    Task drained;     /* ends the turn it waits in */
    BlockDebugSay *debug_say; /* NULL: nobody listens */
    void *debug_opaque;
    BlockThresholdSay *threshold_say; /* NULL: nobody listens */
    void *threshold_opaque;
};

struct BlockClient {
    BlockEdge edge;
    bool write_through;
    unsigned in_flight;   /* atomic: requests inside */
    unsigned closed;      /* atomic: gates closed for it, and its removal; the main loop's to write */
    pthread_mutex_t lock; /* for `waiting` */
    CoList waiting;       /* requests in front of the closed gate */
};

/* What a node needs of the node below it. */
void block_child_perm(const BlockNode *n, const BlockEdge *e, unsigned *perm, unsigned *shared);
/* Recomputes what all users of `n` do and allow, down to the leaves. On failure nothing has changed. */
bool block_update_perm(BlockNode *n, Error **errp);
/* Adds a use (owned by its parent or client) and takes a reference. */
bool block_edge_add(BlockEdge *e, Error **errp);
void block_edge_remove(BlockEdge *e);

/* The name of the driver whose format begins so; "raw": none's. */
const char *block_probe(const uint8_t *head, size_t len);
/* The same of an open node's content; NULL: it cannot be read. */
const char *block_probe_node(BlockNode *n, Error **errp);

/* Filters: open() attaches the node below as `role` and takes over its size and limits; the others pass
 * on. */
bool filter_open(BlockNode *n, const char *role, const Json *ref, bool from_text, Error **errp);
void filter_close(BlockNode *n);
int filter_preadv(BlockNode *n, int64_t off, IoVec *v, unsigned flags) CO_FN;
int filter_pwritev(BlockNode *n, int64_t off, IoVec *v, unsigned flags) CO_FN;
int filter_write_zeroes(BlockNode *n, int64_t off, int64_t bytes, unsigned flags) CO_FN;
int filter_discard(BlockNode *n, int64_t off, int64_t bytes) CO_FN;
int filter_flush(BlockNode *n) CO_FN;
int filter_extent(BlockNode *n, int64_t off, int64_t bytes, BlockExtent *out) CO_FN;
bool filter_truncate(BlockNode *n, int64_t size, int prealloc, Error **errp) CO_FN;

/* What messages call an image: its file, or the node that is in its place where no file has a name. */
const char *block_label(const BlockNode *n);

/* How requests to a descriptor reach the kernel. */
typedef struct FileIo {
    int fd;
    BlockAio aio;
    bool nowait; /* atomic: reads may be tried without waiting (RWF_NOWAIT) */
    bool one_writer; /* the kernel lets one write at a time into the file's pages: one worker does all */
    WorkerPool *workers;
    struct FileWriter { /* for one_writer */
        pthread_mutex_t lock;
        struct FileWrite *first, **last; /* waiting */
        bool busy;                       /* a worker is at it */
        bool closing;                    /* atomic: it shall not wait for more */
        WorkItem work;
    } writer;
} FileIo;
void file_io_init(FileIo *io); /* with nothing set but what the engines need */
void file_io_fini(FileIo *io);
int file_io_rw(FileIo *io, bool write, int64_t off,
               IoVec *v) CO_FN; /* 0 or -errno; reads past the end: zeros */
int file_io_sync(FileIo *io) CO_FN;

/* A window of a regular file that is that long; -ENOTSUP: it cannot be had. */
int file_map(FileIo *io, int64_t off, int64_t bytes, BlockMap *out) CO_FN;

/* Engines: bytes transferred or -errno. supported() says why not. */
bool uring_supported(Error **errp);
ssize_t uring_rw(int fd, bool write, int64_t off, const struct iovec *iov, unsigned n) CO_FN;
int uring_sync(int fd) CO_FN;
bool aio_supported(Error **errp);
ssize_t aio_rw(int fd, bool write, int64_t off, const struct iovec *iov, unsigned n) CO_FN;

/* Byte-range locks that QEMU's tools understand. `have` are those held; what is missing is taken, what is
 * too much dropped. On failure `have` stays. */
typedef struct FileLocks {
    unsigned perm, unshared;
} FileLocks;
bool file_lock_set(int fd, const char *filename, FileLocks *have, FileLocks want, Error **errp);

#endif
