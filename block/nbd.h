/* SPDX-License-Identifier: MIT
 * block/nbd.h - the NBD protocol's numbers, and the byte stream that both of its sides use.
 *
 * Numbers: "Values" and "Simple reply message" to "Structured reply flags" of the NBD protocol's proto.md.
 */
#ifndef BLOCK_NBD_H
#define BLOCK_NBD_H

#include "bigendian.h"
#include "internal.h"
#include "rhea/block/nbd.h"

#define NBD_MAGIC            UINT64_C(0x4e42444d41474943) /* "NBDMAGIC" */
#define NBD_OPT_MAGIC        UINT64_C(0x49484156454f5054) /* "IHAVEOPT" */
#define NBD_OLDSTYLE_MAGIC   UINT64_C(0x00420281861253)
#define NBD_OPT_REPLY_MAGIC  UINT64_C(0x3e889045565a9)
#define NBD_REQUEST_MAGIC    0x25609513u
#define NBD_SIMPLE_MAGIC     0x67446698u
#define NBD_STRUCTURED_MAGIC 0x668e33efu

enum { NBD_FIXED_NEWSTYLE = 1, NBD_NO_ZEROES = 2 }; /* handshake flags, both directions */
enum {                                              /* transmission flags */
    NBD_HAS_FLAGS = 1,
    NBD_READ_ONLY = 2,
    NBD_SEND_FLUSH = 4,
    NBD_SEND_FUA = 8,
    NBD_ROTATIONAL = 16,
    NBD_SEND_TRIM = 32,
    NBD_SEND_WRITE_ZEROES = 64,
    NBD_SEND_DF = 128,
    NBD_CAN_MULTI_CONN = 256,
    NBD_SEND_RESIZE = 512,
    NBD_SEND_CACHE = 1024,
    NBD_SEND_FAST_ZERO = 2048,
};
enum {
    NBD_OPT_EXPORT_NAME = 1,
    NBD_OPT_ABORT = 2,
    NBD_OPT_LIST = 3,
    NBD_OPT_STARTTLS = 5,
    NBD_OPT_INFO = 6,
    NBD_OPT_GO = 7,
    NBD_OPT_STRUCTURED_REPLY = 8,
    NBD_OPT_LIST_META_CONTEXT = 9,
    NBD_OPT_SET_META_CONTEXT = 10,
};
enum { NBD_REP_ACK = 1, NBD_REP_SERVER = 2, NBD_REP_INFO = 3, NBD_REP_META_CONTEXT = 4 };
#define NBD_REP_ERR                 0x80000000u /* set in every error */
#define NBD_REP_ERR_UNSUP           0x80000001u
#define NBD_REP_ERR_POLICY          0x80000002u
#define NBD_REP_ERR_INVALID         0x80000003u
#define NBD_REP_ERR_PLATFORM        0x80000004u
#define NBD_REP_ERR_TLS_REQD        0x80000005u
#define NBD_REP_ERR_UNKNOWN         0x80000006u
#define NBD_REP_ERR_SHUTDOWN        0x80000007u
#define NBD_REP_ERR_BLOCK_SIZE_REQD 0x80000008u
#define NBD_REP_ERR_TOO_BIG         0x80000009u
enum { NBD_INFO_EXPORT = 0, NBD_INFO_NAME = 1, NBD_INFO_DESCRIPTION = 2, NBD_INFO_BLOCK_SIZE = 3 };
enum {
    NBD_CMD_READ = 0,
    NBD_CMD_WRITE = 1,
    NBD_CMD_DISC = 2,
    NBD_CMD_FLUSH = 3,
    NBD_CMD_TRIM = 4,
    NBD_CMD_CACHE = 5,
    NBD_CMD_WRITE_ZEROES = 6,
    NBD_CMD_BLOCK_STATUS = 7,
};
enum { NBD_FUA = 1, NBD_NO_HOLE = 2, NBD_DF = 4, NBD_REQ_ONE = 8, NBD_FAST_ZERO = 16 }; /* command flags */
enum { NBD_CHUNK_DONE = 1 };
enum {
    NBD_CHUNK_NONE = 0,
    NBD_CHUNK_DATA = 1,
    NBD_CHUNK_HOLE = 2,
    NBD_CHUNK_STATUS = 5,
    NBD_CHUNK_ERROR = 32769,
    NBD_CHUNK_ERROR_OFFSET = 32770,
};
enum { NBD_STATE_HOLE = 1, NBD_STATE_ZERO = 2 }; /* of base:allocation */

enum {
    NBD_STRING_MAX = 4096,             /* of names and messages */
    NBD_PAYLOAD_MAX = 32 * 1024 * 1024, /* "Size constraints": what everybody takes */
    NBD_REQUEST_BYTES = 28,
    NBD_SIMPLE_BYTES = 16,
    NBD_CHUNK_BYTES = 20,
};

/* Error numbers on the wire ("Error values") and ours; those that the protocol does not know are EINVAL. */
uint32_t nbd_error_to_wire(int negative_errno);
int nbd_error_from_wire(uint32_t error); /* -errno, never 0 */
const char *nbd_option_name(uint32_t option);

/* One connection. A single coroutine, on one loop, reads; writers of any loop take turns by a mutex of
 * theirs. After nbd_stream_shutdown() both fail. */
typedef struct NbdStream {
    int fd, out; /* the same socket: each has watches of its own; -1: closed */
    FdWatch in;
    Co *reader; /* waits for bytes */
    uint8_t *buf;
    size_t at, have;
} NbdStream;
/* Takes the descriptor. */
bool nbd_stream_open(NbdStream *s, int fd, Error **errp);
/* On the reader's loop, with nobody inside. */
void nbd_stream_close(NbdStream *s);
void nbd_stream_shutdown(NbdStream *s); /* any thread, while it is open */
/* 0 or -errno; -ENODATA: the peer has closed the connection. */
int nbd_read(NbdStream *s, void *buf, size_t len) CO_FN;
int nbd_read_iov(NbdStream *s, const IoVec *v, size_t off, size_t len) CO_FN;
int nbd_skip(NbdStream *s, uint64_t len) CO_FN;
int nbd_write_iov(NbdStream *s, const IoVec *v) CO_FN;
int nbd_write(NbdStream *s, const void *buf, size_t len) CO_FN;
const char *nbd_read_problem(int r); /* text for a failed read or write */

/* Waits for a non-blocking descriptor on the running coroutine's loop, until `deadline` (host_monotonic ns,
 * or INT64_MAX). False: time is up. */
bool nbd_wait_fd(int fd, unsigned events, int64_t deadline) CO_FN;

/* ---- the client's side of a handshake ---- */

typedef struct NbdTarget {
    SockSpec server;
    const char *export_name;
    const char *context; /* the one meta context that is asked for; NULL: none */
} NbdTarget;

/* A connected socket, or -1. Looks names up in a worker. *stop (may be NULL) becoming true ends the wait. */
int nbd_connect(BlockGraph *g, const SockSpec *where, int64_t deadline, const bool *stop, Error **errp) CO_FN;
/* Up to the transmission phase. *final: trying again would not help. */
bool nbd_handshake(NbdStream *s, const NbdTarget *t, NbdInfo *info, bool *final, Error **errp) CO_FN;

/* Members of BlockNbd as an address. */
SockSpec nbd_address(const BlockSocketAddress *a);
char *nbd_url_text(const SockSpec *where, const char *export_name); /* g_free */

#endif
