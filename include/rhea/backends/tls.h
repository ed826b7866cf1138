/* SPDX-License-Identifier: MIT
 * rhea/backends/tls.h - TLS (RFC 5246, 8446): credentials by name (-object tls-creds-x509, tls-creds-anon),
 * and sessions of servers that use them.
 */
#ifndef RHEA_BACKENDS_TLS_H
#define RHEA_BACKENDS_TLS_H

#include "rhea/system/machine.h"

#include <sys/types.h>

/* ---- credentials: MAIN_LOOP ---- */

typedef struct TlsCreds TlsCreds;

/* Of -object or object-add. Reads and checks the files. False: *errp. */
bool tls_creds_new_json(Machine *m, const Json *opts, bool from_text, Error **errp);
bool tls_creds_exists(Machine *m, const char *id);
bool tls_creds_remove(Machine *m, const char *id, Error **errp); /* whoever uses them has a reference */
void tls_creds_remove_all(Machine *m);

/* A server's; the caller's reference. NULL: *errp. */
TlsCreds *tls_creds_lookup(Machine *m, const char *id, Error **errp);
void tls_creds_unref(TlsCreds *c); /* NULL is fine */
bool tls_creds_are_anonymous(const TlsCreds *c);
/* Reads the files again, for sessions that come. False: *errp, and they stay as they are. */
bool tls_creds_reload(TlsCreds *c, Error **errp);

/* ---- sessions: one thread at a time ---- */

typedef struct TlsSession TlsSession;
typedef enum TlsNext { TLS_DONE, TLS_WANT_READ, TLS_WANT_WRITE, TLS_FAILED } TlsNext;

/* The server's side of a connection at fd, which is non-blocking and stays the caller's, for as long as the
 * session. MAIN_LOOP; NULL: *errp. */
TlsSession *tls_session_new(const TlsCreds *c, int fd, Error **errp);
void tls_session_free(TlsSession *s); /* NULL is fine */
/* Goes on with the handshake; again when the descriptor is ready for what it wants. TLS_DONE: the peer is who
 * the credentials ask for. A peer that sends more than a handshake can need fails. */
TlsNext tls_session_handshake(TlsSession *s, Error **errp);
/* As read() and write(): -1 with errno EAGAIN, and tls_session_wants(), or with another one. A write() that
 * said EAGAIN must be called with the same bytes again. */
ssize_t tls_session_read(TlsSession *s, void *buf, size_t len);
ssize_t tls_session_write(TlsSession *s, const void *buf, size_t len);
TlsNext tls_session_wants(const TlsSession *s); /* TLS_WANT_READ or TLS_WANT_WRITE: what EAGAIN waited for */
/* Tells the peer of the end. False: again, when the descriptor is ready for what it wants. */
bool tls_session_bye(TlsSession *s);
/* The name in the peer's certificate, as GnuTLS and QEMU write it: C=GB,O=...,CN=...; NULL: it has shown
 * none. g_free. */
char *tls_session_peer_name(const TlsSession *s);

#endif
