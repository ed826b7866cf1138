/* SPDX-License-Identifier: MIT
 * rhea/ui/vnc.h - VNC servers (RFC 6143). MAIN_LOOP, no domain held.
 *
 * A server listens; each client has a thread that speaks with it, so that a slow or hostile one holds up
 * nobody. Nothing is drawn and no thread runs while nobody is connected.
 */
#ifndef RHEA_UI_VNC_H
#define RHEA_UI_VNC_H

#include "rhea/ui/layout.h"
#include "rhea/util/sock.h"
#include "schema/vnc.h"

typedef struct VncServer VncServer;

typedef struct VncAddress {
    char host[256], service[108];
    const char *family; /* "ipv4", "ipv6", "unix", "unknown" */
    bool websocket;
} VncAddress;

/* layout: -k, NULL: en-us. Its consoles exist, or come. Takes what the options own, and
 * zeroes them; type_clear() them in any case. */
VncServer *vnc_start(Machine *m, VncOptions *options, const char *layout, Error **errp);
/* Somebody else looks at what comes first: a place where browsers get pages, too. */
typedef struct VncFront {
    void (*accepted)(void *opaque, int fd, const VncAddress *peer); /* takes fd, which is non-blocking */
    void *opaque;
} VncFront;
/* A server whose one place of its own is for WebSockets and has a front, which lives until vnc_stop_all(). */
VncServer *vnc_start_behind(Machine *m, VncOptions *options, const SockSpec *place, const VncFront *front,
                            Error **errp);
/* From the front: a client whose WebSocket's request can be read from fd, which this takes. */
void vnc_take(VncServer *s, int fd, const VncAddress *peer);
void vnc_stop_all(Machine *m); /* ends all connections; before the machine goes */
/* id NULL: the first one. */
VncServer *vnc_find(Machine *m, const char *id, Error **errp);

typedef enum VncConnected { VNC_CONNECTED_KEEP, VNC_CONNECTED_FAIL, VNC_CONNECTED_DISCONNECT } VncConnected;
/* New places to listen at instead of those it has, but for WebSockets'; clients stay. False: *errp, and it
 * listens where it did. */
bool vnc_set_addresses(VncServer *s, const SockSpec *specs, unsigned n, Error **errp);
/* The same by a text as -vnc's: HOST:N, unix:PATH, none. */
bool vnc_move(VncServer *s, const char *text, Error **errp);
/* The password of a server that has password=on; clients that are there stay, make it fail, or are ended. */
bool vnc_set_password(VncServer *s, const char *password, VncConnected connected, Error **errp);
/* "now", "never", "+SECONDS" or seconds since 1970. */
bool vnc_expire_password(VncServer *s, const char *when, Error **errp);

/* For clients that come. False: *errp, and it has those it had. */
bool vnc_reload_certificates(VncServer *s, Error **errp);

void vnc_foreach(Machine *m, void (*fn)(VncServer *s, void *opaque), void *opaque);
const char *vnc_id(const VncServer *s);
/* "none", "vnc", "vencrypt+x509+vnc" and the like. Of WebSockets: what comes inside of TLS. */
const char *vnc_auth(const VncServer *s, bool websocket);
const char *vnc_display(const VncServer *s); /* the device; NULL: the first one */
bool vnc_listens_at(const VncServer *s, unsigned n, VncAddress *out); /* false: there are no more */
/* Of those that are past their handshake. *name: the one in its certificate, or NULL; g_free. */
bool vnc_client_at(const VncServer *s, unsigned n, VncAddress *out, char **name);

#endif
