/* SPDX-License-Identifier: MIT
 * rhea/block/nbd.h - network block devices: serving nodes to others, and asking servers what they have.
 *
 * A server has listeners, connections and exports; an export is a node under a name. The driver `nbd` is the
 * other side; it is opened as any node.
 */
#ifndef RHEA_BLOCK_NBD_H
#define RHEA_BLOCK_NBD_H

#include "rhea/block/bitmap.h"
#include "rhea/util/sock.h"

/* ---- the client's side ---- */

/* What the server said of the export. */
typedef struct NbdInfo {
    uint64_t size;
    uint16_t flags;
    uint32_t min_block, preferred_block, max_block;
    bool has_blocks;
    bool structured, has_context;
    uint32_t context_id;
    char *description; /* or NULL */
} NbdInfo;

/* An export in a server's list. */
typedef struct NbdListed {
    char *name;
    bool has_info; /* the server told more than the name */
    NbdInfo info;
    GPtrArray *contexts; /* of char *; NULL: not known */
} NbdListed;
/* Asks a server for its exports; an array to free, NULL on failure. */
GPtrArray *nbd_list(BlockGraph *g, const SockSpec *where, Error **errp) CO_FN;

/* "nbd://...", "nbd+unix://...", "nbd:...": is it one, and the options of its node (a new object). */
bool nbd_is_url(const char *name);
Json *nbd_url_options(const char *url, Error **errp);

/* ---- the server's side ---- */

typedef struct NbdServer NbdServer;
typedef struct NbdExport NbdExport;

typedef struct NbdServerConfig {
    unsigned max_connections;   /* 0: any number */
    unsigned handshake_seconds; /* after which a peer that has not chosen an export is sent away; 0: 10 */
    /* A connection has ended; it had reached an export; so many are left. May be NULL. Main loop. */
    void (*gone)(void *opaque, bool had_export, unsigned left);
    /* An export that was removed has no connection any more and is closed. May be NULL. Main loop. */
    void (*deleted)(void *opaque, const char *id);
    void *opaque;
} NbdServerConfig;

/* What a meta context says of a range: how far it holds (1 to `bytes`) and its 32 bits, or -errno. */
typedef int NbdContextFn(BlockClient *c, void *opaque, int64_t off, int64_t bytes, int64_t *len,
                         uint32_t *flags);

typedef struct NbdExportConfig {
    const char *id;   /* for `deleted` and nbd_export_find(); NULL: the name */
    const char *name; /* "": the default export */
    const char *description;
    BlockNode *node;
    bool writable, write_through;
    bool allocation_depth; /* also the meta context qemu:allocation-depth */
    unsigned shared;       /* BLOCK_PERM_: what others may do meanwhile */
} NbdExportConfig;

NbdServer *nbd_server_new(BlockGraph *g, const NbdServerConfig *config) MAIN_LOOP;
/* Ends listeners, connections and exports; turns the loop until they are gone. */
void nbd_server_free(NbdServer *s) MAIN_LOOP;
bool nbd_server_listen(NbdServer *s, const SockSpec *where, Error **errp) MAIN_LOOP;
bool nbd_server_listen_fd(NbdServer *s, int fd, Error **errp) MAIN_LOOP; /* takes it */
/* Serves a connected socket, which is taken. */
bool nbd_server_serve(NbdServer *s, int fd, Error **errp) MAIN_LOOP;
unsigned nbd_server_connections(const NbdServer *s);

NbdExport *nbd_export_add(NbdServer *s, const NbdExportConfig *config, Error **errp) MAIN_LOOP;
void nbd_export_abandon(NbdExport *e) MAIN_LOOP; /* it never was: nobody has connected, nothing is told */
/* One more meta context, before somebody connects. `opaque` must outlive the export. */
void nbd_export_add_context(NbdExport *e, const char *name, NbdContextFn *fn, void *opaque) MAIN_LOOP;
/* One more context, qemu:dirty-bitmap:NAME: bit 0 is set where the bitmap is. It stays as it is meanwhile,
 * but for writes. */
bool nbd_export_add_bitmap(NbdExport *e, BlockBitmap *b, Error **errp) MAIN_LOOP;
/* The bitmap of that name of the node, or of one whose content the node shows. */
BlockBitmap *nbd_find_bitmap(BlockNode *n, const char *name, Error **errp) MAIN_LOOP;
NbdExport *nbd_export_find(const NbdServer *s, const char *id) MAIN_LOOP; /* NULL: none */
/* No new connection gets it; those that have it are ended when `hard`, and make it fail otherwise. */
bool nbd_export_remove(NbdExport *e, bool hard, Error **errp) MAIN_LOOP;
void nbd_export_foreach(const NbdServer *s, void (*fn)(const NbdExport *e, void *opaque), void *opaque);
const char *nbd_export_id(const NbdExport *e);
const char *nbd_export_name(const NbdExport *e);
BlockNode *nbd_export_node(const NbdExport *e);
bool nbd_export_removed(const NbdExport *e); /* waits for its connections to end */

#endif
