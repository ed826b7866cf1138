/* SPDX-License-Identifier: MIT
 * backends/tls_internal.h - TLS inside: GnuTLS, which is loaded with the first credentials, and what the
 * credentials (tls_creds.c) give the sessions (tls_session.c).
 */
#ifndef BACKENDS_TLS_INTERNAL_H
#define BACKENDS_TLS_INTERNAL_H

#include "config.h"
#include "rhea/backends/tls.h"

#if HAVE_GNUTLS
#include <gnutls/gnutls.h>
#include <gnutls/x509.h>

#define TLS_FUNCTIONS(F)                                                                                     \
    F(anon_allocate_server_credentials)                                                                      \
    F(anon_free_server_credentials)                                                                          \
    F(anon_set_server_dh_params)                                                                             \
    F(bye)                                                                                                   \
    F(certificate_allocate_credentials)                                                                      \
    F(certificate_free_credentials)                                                                          \
    F(certificate_get_peers)                                                                                 \
    F(certificate_server_set_request)                                                                        \
    F(certificate_set_dh_params)                                                                             \
    F(certificate_set_x509_crl_mem)                                                                          \
    F(certificate_set_x509_key_mem2)                                                                         \
    F(certificate_set_x509_trust_mem)                                                                        \
    F(certificate_verify_peers2)                                                                             \
    F(credentials_set)                                                                                       \
    F(deinit)                                                                                                \
    F(dh_params_deinit)                                                                                      \
    F(dh_params_import_pkcs3)                                                                                \
    F(dh_params_init)                                                                                        \
    F(error_is_fatal)                                                                                        \
    F(handshake)                                                                                             \
    F(handshake_set_max_packet_length)                                                                       \
    F(init)                                                                                                  \
    F(priority_deinit)                                                                                       \
    F(priority_init)                                                                                         \
    F(priority_set)                                                                                          \
    F(record_get_direction)                                                                                  \
    F(record_recv)                                                                                           \
    F(record_send)                                                                                           \
    F(strerror)                                                                                              \
    F(transport_set_errno)                                                                                   \
    F(transport_set_ptr)                                                                                     \
    F(transport_set_pull_function)                                                                           \
    F(transport_set_push_function)                                                                           \
    F(x509_crt_deinit)                                                                                       \
    F(x509_crt_get_activation_time)                                                                          \
    F(x509_crt_get_ca_status)                                                                                \
    F(x509_crt_get_dn)                                                                                       \
    F(x509_crt_get_expiration_time)                                                                          \
    F(x509_crt_get_key_purpose_oid)                                                                          \
    F(x509_crt_get_key_usage)                                                                                \
    F(x509_crt_import)                                                                                       \
    F(x509_crt_init)                                                                                         \
    F(x509_crt_list_import)                                                                                  \
    F(x509_crt_list_verify)

typedef struct TlsLibrary {
#define TLS_FIELD(f) __typeof__(gnutls_##f) *f;
    TLS_FUNCTIONS(TLS_FIELD)
#undef TLS_FIELD
} TlsLibrary;
extern TlsLibrary tls; /* filled when there are credentials */

/* What was read from files. Never changes; sessions of any thread share it. */
typedef struct TlsMaterial {
    int refs; /* atomic */
    bool anonymous, verify_peer;
    gnutls_certificate_credentials_t x509;
    gnutls_anon_server_credentials_t anon;
    gnutls_dh_params_t dh; /* or NULL */
    gnutls_priority_t priority;
} TlsMaterial;

TlsMaterial *tls_material(const TlsCreds *c); /* a reference; main loop */
void tls_material_unref(TlsMaterial *m);      /* any thread; NULL is fine */
#endif

#endif
