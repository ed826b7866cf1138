/* SPDX-License-Identifier: MIT
 * block/nbd-client.h - the driver nbd: what its connection and its requests share.
 */
#ifndef BLOCK_NBD_CLIENT_H
#define BLOCK_NBD_CLIENT_H

#include "nbd.h"

enum { NBD_SLOTS = 64, NBD_GAPS = 1024 };

typedef struct NbdRange {
    uint32_t from, to;
} NbdRange;

/* On the stack of the coroutine that asks. From slot_take() until `done` its reply's side belongs to the
 * receiver. */
typedef struct NbdRequest {
    uint16_t type, flags;
    uint64_t off;
    uint32_t len;
    const IoVec *v; /* what is written, or where to read to: len bytes from v_off on */
    size_t v_off;
    Co *co;
    uint64_t handle;
    unsigned slot;
    bool waiting, done, lost;
    int result;
    uint32_t front; /* a read: bytes that are there from the beginning on */
    GArray *pieces; /* NbdRange behind that, when the server sends them out of order; or NULL */
    bool has_status;
    uint32_t status_len, status_flags;
} NbdRequest;

typedef enum NbdState {
    NBD_CONNECTED,
    NBD_WAITING, /* for a new connection; requests wait too */
    NBD_FAILING, /* likewise, but requests fail */
} NbdState;

typedef struct NbdClient {
    /* Fixed after open. */
    BlockNode *node;
    BlockSocketAddress address;
    char *export_name, *context;
    bool asked_context; /* by x-dirty-bitmap: its flags are what the extents say */
    uint64_t delay_s;
    char *where;
    NbdInfo info; /* but for context_id, which is the receiver's */
    bool ready;
    /* The main loop's. */
    NbdStream stream; /* fd < 0: none */
    Timer give_up, retry;
    Co *sleeper, *closer;
    bool running, closing;
    unsigned received; /* messages */
    /* Under `lock`. */
    pthread_mutex_t lock;
    NbdState state;
    NbdRequest *slots[NBD_SLOTS];
    unsigned in_use;
    bool impatient; /* somebody waits for the requests that are inside */
    uint64_t serial;
    CoList waiting; /* for a slot or a connection */
    Co *drainer;    /* waits for in_use == 0 */
    CoMutex send;   /* whose turn it is to write */
    CoRangeLock ranges; /* min_block > 1: writes against read-modify-write */
} NbdClient;

/* Sends and waits for the reply, again on a new connection when the old one is lost and options say so. */
int nbd_request(NbdClient *s, NbdRequest *r) CO_FN;
/* One message of the server's. False: it makes no sense, or the connection is gone. */
bool nbd_receive(NbdClient *s, Error **errp) CO_FN;
/* The connection is gone: requests that wait for replies are told; returns when none is inside. */
void nbd_drop_requests(NbdClient *s, NbdState next) CO_FN;
void nbd_set_state(NbdClient *s, NbdState state);
void nbd_end_waiting(NbdClient *s); /* from NBD_WAITING to NBD_FAILING */

/* The driver's functions. */
int nbd_preadv(BlockNode *n, int64_t off, IoVec *v, unsigned flags) CO_FN;
int nbd_pwritev(BlockNode *n, int64_t off, IoVec *v, unsigned flags) CO_FN;
int nbd_write_zeroes(BlockNode *n, int64_t off, int64_t bytes, unsigned flags) CO_FN;
int nbd_discard(BlockNode *n, int64_t off, int64_t bytes) CO_FN;
int nbd_flush(BlockNode *n) CO_FN;
int nbd_extent(BlockNode *n, int64_t off, int64_t bytes, BlockExtent *out) CO_FN;
bool nbd_truncate(BlockNode *n, int64_t size, int prealloc, Error **errp) CO_FN;

#endif
