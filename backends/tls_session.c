/* SPDX-License-Identifier: MIT
 * backends/tls_session.c - the server's side of a TLS connection, by GnuTLS, over a descriptor that does not
 * block.
 *
 * Models: TLS 1.2 and 1.3 as the credentials' priority allows; a client's certificate, when they ask for one.
 * Does not model: a second handshake in a connection (renegotiation), which ends it; resumption.
 * Threads: a session belongs to one thread at a time; sessions share what tls_creds.c has read.
 */
#include "tls_internal.h"
#include "rhea/util/errorcode.h"

#if HAVE_GNUTLS
#include <errno.h>
#include <string.h>
#include <sys/socket.h>

enum {
    HANDSHAKE_BYTES = 128 << 10, /* a chain of certificates has a few KiB */
    MESSAGE_BYTES = 64 << 10,    /* one message of it */
    NAME_MAX_BYTES = 1024,
};

struct TlsSession {
    gnutls_session_t gnutls;
    TlsMaterial *material;
    int fd;
    bool ready; /* past the handshake */
    size_t got; /* bytes before that */
};

static ssize_t pull(gnutls_transport_ptr_t opaque, void *buf, size_t len)
{
    TlsSession *s = opaque;
    ssize_t n = -1;
    if (!s->ready && s->got >= HANDSHAKE_BYTES) {
        errno = EMSGSIZE;
    } else {
        n = recv(s->fd, buf, len, 0);
    }
    if (n < 0) {
        tls.transport_set_errno(s->gnutls, errno);
    } else if (!s->ready) {
        s->got += (size_t)n;
    }
    return n;
}

static ssize_t push(gnutls_transport_ptr_t opaque, const void *buf, size_t len)
{
    TlsSession *s = opaque;
    ssize_t n = send(s->fd, buf, len, MSG_NOSIGNAL);
    if (n < 0) {
        tls.transport_set_errno(s->gnutls, errno);
    }
    return n;
}

TlsSession *tls_session_new(const TlsCreds *c, int fd, Error **errp)
{
    TlsSession *s = g_new0(TlsSession, 1);
    s->fd = fd;
    s->material = tls_material(c);
    const TlsMaterial *m = s->material;
    int r = tls.init(&s->gnutls, GNUTLS_SERVER | GNUTLS_NONBLOCK | GNUTLS_NO_SIGNAL);
    if (r < 0) {
        s->gnutls = NULL;
    } else if ((r = tls.priority_set(s->gnutls, m->priority)) >= 0) {
        r = tls.credentials_set(s->gnutls, m->anonymous ? GNUTLS_CRD_ANON : GNUTLS_CRD_CERTIFICATE,
                                m->anonymous ? (void *)m->anon : (void *)m->x509);
    }
    if (r < 0) {
        error_set(errp, "could not begin a TLS session: %s", tls.strerror(r));
        tls_session_free(s);
        return NULL;
    }
    tls.certificate_server_set_request(s->gnutls, m->verify_peer ? GNUTLS_CERT_REQUIRE : GNUTLS_CERT_IGNORE);
    tls.handshake_set_max_packet_length(s->gnutls, MESSAGE_BYTES);
    tls.transport_set_ptr(s->gnutls, s);
    tls.transport_set_pull_function(s->gnutls, pull);
    tls.transport_set_push_function(s->gnutls, push);
    return s;
}

void tls_session_free(TlsSession *s)
{
    if (s) {
        if (s->gnutls) {
            tls.deinit(s->gnutls);
        }
        tls_material_unref(s->material);
        g_free(s);
    }
}

TlsNext tls_session_wants(const TlsSession *s)
{
    return tls.record_get_direction(s->gnutls) ? TLS_WANT_WRITE : TLS_WANT_READ;
}

static bool peer_is_good(TlsSession *s, Error **errp)
{
    unsigned status = 0;
    int r = s->material->verify_peer ? tls.certificate_verify_peers2(s->gnutls, &status) : 0;
    if (r < 0) {
        return error_set(errp, "the peer's certificate: %s", tls.strerror(r));
    }
    return !status ||
           error_set(errp, "the peer's certificate is not trusted: %s",
                     status & GNUTLS_CERT_REVOKED            ? "it was revoked"
                     : status & GNUTLS_CERT_EXPIRED          ? "it has expired"
                     : status & GNUTLS_CERT_NOT_ACTIVATED    ? "its time has not come"
                     : status & GNUTLS_CERT_SIGNER_NOT_FOUND ? "ca-cert.pem's owner has not signed it"
                                                             : "it does not hold");
}

TlsNext tls_session_handshake(TlsSession *s, Error **errp)
{
    int r;
    do {
        r = tls.handshake(s->gnutls);
    } while (r == GNUTLS_E_INTERRUPTED || (r < 0 && r != GNUTLS_E_AGAIN && !tls.error_is_fatal(r)));
    if (r == GNUTLS_E_AGAIN) {
        return tls_session_wants(s);
    }
    if (r < 0) {
        error_set(errp, "TLS handshake: %s", tls.strerror(r));
        return TLS_FAILED;
    }
    s->ready = true;
    return peer_is_good(s, errp) ? TLS_DONE : TLS_FAILED;
}

/* GnuTLS's result as read()'s and write()'s. */
static ssize_t result(ssize_t r)
{
    if (r < 0) {
        errno = r == GNUTLS_E_AGAIN || r == GNUTLS_E_INTERRUPTED ? EAGAIN
                : r == GNUTLS_E_PREMATURE_TERMINATION            ? ECONNRESET
                                                                 : EPROTO;
        return -1;
    }
    return r;
}

/* A peer that asks for another handshake gets an error by this, too. */
ssize_t tls_session_read(TlsSession *s, void *buf, size_t len)
{
    return result(tls.record_recv(s->gnutls, buf, len));
}

ssize_t tls_session_write(TlsSession *s, const void *buf, size_t len)
{
    return result(tls.record_send(s->gnutls, buf, len));
}

bool tls_session_bye(TlsSession *s)
{
    int r = s->ready ? tls.bye(s->gnutls, GNUTLS_SHUT_WR) : 0;
    return r != GNUTLS_E_AGAIN && r != GNUTLS_E_INTERRUPTED;
}

char *tls_session_peer_name(const TlsSession *s)
{
    unsigned n = 0;
    const gnutls_datum_t *list = s->material->anonymous ? NULL : tls.certificate_get_peers(s->gnutls, &n);
    gnutls_x509_crt_t crt;
    char name[NAME_MAX_BYTES];
    size_t size = sizeof(name);
    if (!list || !n || tls.x509_crt_init(&crt) < 0) {
        return NULL;
    }
    bool ok = tls.x509_crt_import(crt, &list[0], GNUTLS_X509_FMT_DER) >= 0 &&
              tls.x509_crt_get_dn(crt, name, &size) >= 0 && g_utf8_validate(name, -1, NULL);
    tls.x509_crt_deinit(crt);
    return ok ? g_strdup(name) : NULL;
}
#endif
