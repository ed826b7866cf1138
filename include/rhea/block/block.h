/* SPDX-License-Identifier: MIT
 * rhea/block/block.h - disks and images, as their users see them.
 *
 * A graph holds the nodes of one machine or tool. A node is one open layer: a file, a format on top of it. A
 * client is a root: a device, an export, a tool; requests enter only there, through its gate. Configuration
 * (open, close, clients, gates) belongs to the main loop's thread; requests are coroutines on any loop.
 * Data-path functions return 0 or -errno. docs/devel/block.md has the rules.
 */
#ifndef RHEA_BLOCK_BLOCK_H
#define RHEA_BLOCK_BLOCK_H

#include "rhea/util/co.h"
#include "rhea/util/iov.h"
#include "rhea/util/json.h"
#include "rhea/util/roles.h"
#include "rhea/util/worker.h"

typedef struct BlockGraph BlockGraph;
typedef struct BlockNode BlockNode;
typedef struct BlockClient BlockClient;

typedef enum BlockFlags {
    BLK_FUA = 1,         /* on stable storage when the request completes */
    BLK_MAY_UNMAP = 2,   /* write_zeroes: the space may be given back */
    BLK_NO_FALLBACK = 4, /* write_zeroes: -ENOTSUP rather than writing buffers of zeros */
    BLK_ALLOCATE = 16,   /* write_zeroes: this layer decides it, also where it would read as zeros anyway */
    BLK_COMPRESSED = 8,  /* pwritev of whole clusters: store them compressed, or -ENOTSUP */
} BlockFlags;

/* What a user does to a node, and what it lets others do at the same time. QEMU's lock bytes have the same
 * order. */
enum {
    BLOCK_PERM_READ = 1, /* sees consistent data */
    BLOCK_PERM_WRITE = 2,
    BLOCK_PERM_WRITE_UNCHANGED = 4, /* writes that change no data */
    BLOCK_PERM_RESIZE = 8,
    BLOCK_PERM_ALL = 15,
};

/* What lies at [off, off + bytes). */
typedef struct BlockExtent {
    int64_t bytes;  /* how far this holds */
    bool data;      /* stored here or below */
    bool zero;      /* reads as zeros */
    bool allocated; /* decided by this layer, not by its backing node */
    bool compressed;
    BlockNode *host; /* where the bytes lie as they are, NULL: nowhere */
    int64_t host_off;
    unsigned depth; /* block_extent_above: layers below the top one */
} BlockExtent;

BlockGraph *block_graph_new(Loop *main_loop) MAIN_LOOP;
void block_graph_free(BlockGraph *g) MAIN_LOOP; /* all clients and references must be gone */
Loop *block_graph_loop(const BlockGraph *g);
WorkerPool *block_graph_workers(const BlockGraph *g);

/* Opens a node; the caller gets a reference. `options` is what type_decode takes for BlockdevOptions; values
 * are text when from_text. Without a driver, but with a file, the driver is the format of the file's
 * content. */
BlockNode *block_open(BlockGraph *g, const Json *options, bool from_text, Error **errp) MAIN_LOOP;
/* A qcow2 layer above `base` that is gone with the node; `more` are members of its options, NULL: none. */
BlockNode *block_open_temporary(BlockNode *base, const Json *more, Error **errp) MAIN_LOOP;
/* Options of an image named on a tool's command line or in a backing-file field: "json:{...}", an NBD URL, or
 * a path, whose driver is `format`, or what the content says when that is NULL. A new object. */
Json *block_image_options(const char *name, const char *format, Error **errp) MAIN_LOOP;
/* The format was guessed from the content: writes after which the guess would be another one fail, so that a
 * guest cannot make the next start open files of its choice as backing files. */
void block_guard_format(BlockNode *n) MAIN_LOOP;
BlockNode *block_find(const BlockGraph *g, const char *name) MAIN_LOOP; /* borrowed, NULL: none */
void block_foreach(const BlockGraph *g, void (*fn)(BlockNode *n, void *opaque), void *opaque) MAIN_LOOP;
BlockNode *block_ref(BlockNode *n) MAIN_LOOP;
void block_unref(BlockNode *n) MAIN_LOOP; /* the last one closes it: flushes, writes what is cached */

const char *block_name(const BlockNode *n);
const char *block_driver_name(const BlockNode *n);
const char *block_filename(const BlockNode *n); /* as it was given; "" when there is none */
int64_t block_size(const BlockNode *n);
bool block_is_read_only(const BlockNode *n);
BlockNode *block_backing(const BlockNode *n); /* borrowed, NULL: none; a filter's is that of its image */
BlockNode *block_skip_filters(BlockNode *n);  /* the image below filters, or `n` itself; borrowed */
BlockNode *block_file(const BlockNode *n);
BlockNode *block_data_file(const BlockNode *n); /* NULL: none */
/* Bytes allocated by the host's file system for the node and what is below it, not its backing nodes and
 * data files; -1: unknown. */
int64_t block_allocated_bytes(const BlockNode *n);

/* Clients. perm and shared are BLOCK_PERM_ sets; a conflict with another user fails. Takes its own reference.
 */
BlockClient *block_client_new(BlockNode *n, const char *name, unsigned perm, unsigned shared,
                              Error **errp) MAIN_LOOP;
void block_client_free(BlockClient *c) MAIN_LOOP; /* waits for its requests */
BlockNode *block_client_node(const BlockClient *c);
void block_client_set_write_through(BlockClient *c, bool on) MAIN_LOOP; /* every write is BLK_FUA */

int block_preadv(BlockClient *c, int64_t off, IoVec *v, unsigned flags) CO_FN;
int block_pwritev(BlockClient *c, int64_t off, IoVec *v, unsigned flags) CO_FN;
int block_write_zeroes(BlockClient *c, int64_t off, int64_t bytes, unsigned flags) CO_FN;
/* Writes what lies in an open file, without a buffer, or -ENOTSUP. */
int block_copy_from(BlockClient *c, int64_t off, int fd, int64_t fd_off, int64_t bytes) CO_FN;
int block_discard(BlockClient *c, int64_t off, int64_t bytes) CO_FN;
int block_flush(BlockClient *c) CO_FN;
int block_extent(BlockClient *c, int64_t off, int64_t bytes, BlockExtent *out) CO_FN; /* this layer's view */
/* The view through backing nodes down to, not including, `base` (NULL: all). */
int block_extent_above(BlockClient *c, BlockNode *base, int64_t off, int64_t bytes, BlockExtent *out) CO_FN;
/* The bytes of [off, off + bytes) as memory that shows the file itself, to be looked at or passed on; nothing
 * is copied. Read-only nodes whose bytes lie together in one file with a page cache, and enough of them that
 * it is worth it; otherwise -ENOTSUP: read them. A mapping outlives the request, the node too. Whoever else
 * changes the file changes what is seen. */
typedef struct BlockMap {
    const uint8_t *data;
    void *window; /* private; NULL: nothing is mapped */
} BlockMap;
int block_map(BlockClient *c, int64_t off, int64_t bytes, BlockMap *out) CO_FN;
/* False: some of what was seen since were zeros in the place of bytes that the file could not show. System
 * calls answer EFAULT for such a place when nobody has looked at it yet. Read the range then. Any thread. */
bool block_map_ok(const BlockMap *m);
void block_unmap(BlockMap *m); /* any thread */
/* The view through all layers, and holes of the file that holds the data are zeros, where they say so. */
int block_extent_deep(BlockClient *c, int64_t off, int64_t bytes, BlockExtent *out) CO_FN;
/* For a program whose one job is to move data, while it does: buffered reads of any length are tried without
 * another thread, and the one that writes a file looks out for the next request for a while before it sleeps
 * (to wake it may take as long as to write 100 KiB). Costs CPU time. On a host with one CPU the asking thread
 * writes. Any thread; holds for requests from now on. */
void block_set_bulk(bool on);
/* Whether the node's data is a regular file's in the page cache. Main thread or a request's. */
bool block_is_buffered(const BlockNode *n);
/* prealloc: a BlockPrealloc. `exact`: fail rather than leave another size. */
bool block_truncate(BlockClient *c, int64_t size, int prealloc, Error **errp) CO_FN;

/* The same for a node that others use meanwhile: their requests end first, and those that come wait until it
 * is done, so none that was checked against the old size reaches what is gone. */
bool block_resize(BlockNode *n, int64_t size, Error **errp) MAIN_LOOP;

/* The next write to the node itself that ends behind `off` is told, once; 0: none is. So an image can be
 * given room before its file system is full. */
void block_set_write_threshold(BlockNode *n, uint64_t off) MAIN_LOOP;
uint64_t block_write_threshold(const BlockNode *n);
/* Who hears it, on the write's thread, before it is done: how far beyond it reached. Set before the first
 * request. */
typedef void BlockThresholdSay(void *opaque, const BlockNode *n, uint64_t threshold, uint64_t exceeded);
void block_set_threshold_say(BlockGraph *g, BlockThresholdSay *fn, void *opaque) MAIN_LOOP;

/* Breakpoints of the blkdebug node at or below `n`: the next request that raises the event stops there.
 * -ENOTSUP: there is no such node; -ENOENT: no such event, tag or request. A NULL tag means all. */
int block_debug_break(BlockNode *n, const char *event, const char *tag) MAIN_LOOP;
int block_debug_remove_break(BlockNode *n, const char *tag) MAIN_LOOP; /* what it has stopped goes on */
int block_debug_resume(BlockNode *n, const char *tag) MAIN_LOOP;
bool block_debug_is_suspended(BlockNode *n, const char *tag) MAIN_LOOP;
bool block_debug_there(BlockNode *n) MAIN_LOOP;
/* Who hears that a request stops at a breakpoint (`stopped`), and that it goes on: a tool whose users wait
 * for a line. Set before the first request; fn is called on the requests' loops. Without it nobody hears. */
typedef void BlockDebugSay(void *opaque, const char *tag, bool stopped);
void block_debug_set_say(BlockGraph *g, BlockDebugSay *fn, void *opaque) MAIN_LOOP;

/* Gates: stop admitting requests to every client above `n` and wait until none is in flight. Nests. */
void block_gate_close(BlockNode *n) MAIN_LOOP;
void block_gate_open(BlockNode *n) MAIN_LOOP;
/* Before waiting for requests: those that wait for the return of a lost server fail now. */
void block_give_up(BlockGraph *g) MAIN_LOOP;

#endif
