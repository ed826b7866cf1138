/* SPDX-License-Identifier: MIT
 * ui/vnc_tls.h - VNC clients that speak TLS: a relay between such a client and a socket where its bytes are
 * plain.
 *
 * A relay has a thread, so that neither the ciphers nor a slow or hostile client hold up anybody else; it
 * holds 32 KiB. MAIN_LOOP, no domain held.
 */
#ifndef UI_VNC_TLS_H
#define UI_VNC_TLS_H

#include "rhea/backends/tls.h"
#include "rhea/util/loop.h"

typedef struct VncTls VncTls;

typedef struct VncTlsOptions {
    const TlsCreds *creds;
    bool vencrypt; /* RFB comes first; else TLS is the outermost, as browsers have it */
    bool password; /* vencrypt: clients need one */
    Loop *loop;    /* of the main thread */
    /* Its thread is about to end: vnc_tls_free() may be called. why: of a client that was not let in; or
     * NULL. */
    void (*ended)(void *opaque, VncTls *t, const char *why);
    void *opaque;
    int patience_ms; /* for all that comes before the plain bytes; 0: what is usual */
} VncTlsOptions;

/* Takes fd, which is non-blocking. *plain: the caller's end of a socket pair, non-blocking, where whoever
 * serves the client finds it: with vencrypt it begins with RFB's version, as a server says it. NULL: *errp.
 */
VncTls *vnc_tls_new(const VncTlsOptions *o, int fd, int *plain, Error **errp);
VncTls *vnc_tls_ref(VncTls *t);
void vnc_tls_unref(VncTls *t); /* NULL is fine */
/* Ends it at once and waits for its thread; the caller's reference goes. */
void vnc_tls_free(VncTls *t);
/* The name in the certificate of a client that is past its handshake; NULL: there is none. g_free. */
char *vnc_tls_name(VncTls *t);

#endif
