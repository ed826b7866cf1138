/* SPDX-License-Identifier: MIT
 * block/nbd-server.h - the NBD server: what listeners, handshake and transmission share.
 */
#ifndef BLOCK_NBD_SERVER_H
#define BLOCK_NBD_SERVER_H

#include "nbd.h"

enum {
    NBD_CONTEXTS = 32,                     /* of an export */
    NBD_IN_FLIGHT = 64,                    /* requests of a connection */
    NBD_IN_FLIGHT_BYTES = 64 * 1024 * 1024 /* their buffers, though one request is always taken */
};

typedef struct NbdContext {
    char *name;
    NbdContextFn *fn;
    void *opaque;
} NbdContext;

struct NbdExport {
    NbdServer *server;
    char *id, *name, *description;
    BlockClient *client;
    bool writable, removed;
    unsigned users; /* connections */
    unsigned n_contexts;
    NbdContext contexts[NBD_CONTEXTS]; /* the first is base:allocation */
    GPtrArray *bitmaps;                /* BlockBitmap *, busy */
};

struct NbdServer {
    BlockGraph *graph;
    NbdServerConfig config;
    GPtrArray *listeners, *connections, *exports;
    Task reap;
    Timer accept_again; /* no descriptors were left */
    bool ending;
};

typedef struct NbdConnection {
    NbdServer *server;
    NbdStream stream;
    Timer late; /* the handshake's end */
    bool ended;
    /* What the handshake has found. */
    bool no_zeroes, structured;
    NbdExport *export; /* counted in its users */
    uint64_t size;
    uint32_t contexts;      /* bit n: context n of the export was asked for; its id is n */
    char *contexts_of;      /* the export they were asked of; NULL: none were */
    /* Transmission. */
    CoMutex send;
    unsigned in_flight;
    uint64_t in_flight_bytes;
    Co *reader; /* waits until there is room for more */
} NbdConnection;

/* True: transmission begins. False: the connection ends. */
bool nbd_negotiate(NbdConnection *c) CO_FN;
/* Until the client leaves or breaks the rules; no request is left then. */
void nbd_transmit(NbdConnection *c) CO_FN;
NbdExport *nbd_server_export(const NbdServer *s, const char *name, size_t len);
uint16_t nbd_export_flags(const NbdConnection *c, const NbdExport *e);

NbdContextFn nbd_context_allocation, nbd_context_depth, nbd_context_bitmap;

#endif
