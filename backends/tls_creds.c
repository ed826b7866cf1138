/* SPDX-License-Identifier: MIT
 * backends/tls_creds.c - certificates and keys by name: from -object tls-creds-x509 and tls-creds-anon to
 * servers.
 *
 * Models: QEMU 7.2's objects of these kinds, for servers: ca-cert.pem, ca-crl.pem, server-cert.pem,
 * server-key.pem and dh-params.pem of a folder, a key with a password, priorities, a check whether
 * certificates can work. Does not model: clients, since nothing here connects with TLS; tls-creds-psk. GnuTLS
 * is loaded with the first object. Threads: main loop; what was read from files is counted atomically, as
 * sessions of other threads hold it.
 */
#include "tls_internal.h"
#include "rhea/backends/secret.h"
#include "rhea/schema/type.h"
#include "rhea/util/errorcode.h"
#include "rhea/util/library.h"
#include "schema/tls.h"

#include <string.h>

#if HAVE_GNUTLS
#include <time.h>

enum { FILE_BYTES = 1 << 20, CA_MAX = 128, CHAIN_MAX = 16 };

TlsLibrary tls;

struct TlsCreds {
    int refs; /* main loop only */
    const Machine *m;
    TlsCredsOptions o;
    /* Both kinds' options, in o. */
    bool anonymous, server, verify_peer, sanity_check;
    const char *dir, *priority, *passwordid; /* or NULL */
    char *password;                          /* of the key; or NULL */
    TlsMaterial *material;
};
static GPtrArray *creds; /* TlsCreds *, of all machines; NULL: none */

static bool load_library(Error **errp)
{
    static bool there;
    static const LibraryCall calls[] = {
#define CALL(f) { "gnutls_" #f, offsetof(TlsLibrary, f), false },
        TLS_FUNCTIONS(CALL)
#undef CALL
    };
    static const Library gnutls = {
        .file = "libgnutls.so.30",
        .what = "TLS needs GnuTLS",
        .cure = "install libgnutls30",
        .calls = calls,
        .n = G_N_ELEMENTS(calls),
    };
    return there = there || library_load(&gnutls, &tls, errp);
}

/* ---- what is in files ---- */

/* *data: a zero follows; g_free. One that may be missing, and is: true, with data NULL. */
static bool read_pem(const char *dir, const char *name, bool optional, gnutls_datum_t *out, Error **errp)
{
    g_autofree char *path = g_build_filename(dir, name, NULL);
    g_autoptr(GError) err = NULL;
    gsize n = 0;
    char *data = NULL;
    *out = (gnutls_datum_t){ 0 };
    if (!g_file_get_contents(path, &data, &n, &err)) {
        bool missing = g_error_matches(err, G_FILE_ERROR, G_FILE_ERROR_NOENT);
        return (optional && missing) ||
               error_fail(errp, "not-found", "dir",
                          "the folder needs ca-cert.pem, server-cert.pem and server-key.pem",
                          "could not read '%s': %s", path, err->message);
    }
    if (n > FILE_BYTES) {
        g_free(data);
        return error_fail(errp, "too-large", "dir", NULL, "'%s' has %zu bytes, %d are the most", path, n,
                          FILE_BYTES);
    }
    *out = (gnutls_datum_t){ .data = (unsigned char *)data, .size = (unsigned)n };
    return true;
}

static void free_pem(gnutls_datum_t *d)
{
    if (d->data) {
        explicit_bzero(d->data, d->size);
    }
    g_free(d->data);
}

static bool works(int r, const char *what, Error **errp)
{
    return r >= 0 || error_fail(errp, "invalid-value", "dir", NULL, "%s: %s", what, tls.strerror(r));
}

void tls_material_unref(TlsMaterial *m)
{
    if (!m || !g_atomic_int_dec_and_test(&m->refs)) {
        return;
    }
    if (m->x509) {
        tls.certificate_free_credentials(m->x509);
    }
    if (m->anon) {
        tls.anon_free_server_credentials(m->anon);
    }
    if (m->dh) { /* after those that point to it */
        tls.dh_params_deinit(m->dh);
    }
    if (m->priority) {
        tls.priority_deinit(m->priority);
    }
    g_free(m);
}

TlsMaterial *tls_material(const TlsCreds *c)
{
    g_atomic_int_inc(&c->material->refs);
    return c->material;
}

/* ---- the check ---- */

static bool wrong(Error **errp, const char *file, const char *what)
{
    error_fail(errp, "invalid-value", "dir", NULL, "'%s' %s", file, what);
    error_hint(errp, "make another one; sanity-check=off takes it as it is");
    return false;
}

static bool check_times(gnutls_x509_crt_t crt, const char *file, Error **errp)
{
    time_t now = time(NULL), from = tls.x509_crt_get_activation_time(crt),
           to = tls.x509_crt_get_expiration_time(crt);
    return from > now            ? wrong(errp, file, "has a certificate whose time has not come")
           : to >= 0 && to < now ? wrong(errp, file, "has a certificate that has expired")
                                 : true;
}

static bool check_authority(gnutls_x509_crt_t crt, Error **errp)
{
    unsigned critical, usage;
    if (tls.x509_crt_get_ca_status(crt, &critical) <= 0) {
        return wrong(errp, "ca-cert.pem", "has a certificate that may sign no others (basic constraints)");
    }
    return tls.x509_crt_get_key_usage(crt, &usage, &critical) < 0 || (usage & GNUTLS_KEY_KEY_CERT_SIGN) ||
           wrong(errp, "ca-cert.pem", "has a certificate that may sign no others (key usage)");
}

/* Of the server itself. */
static bool check_server(gnutls_x509_crt_t crt, Error **errp)
{
    unsigned critical, usage;
    bool told = false, fits = false;
    if (tls.x509_crt_get_ca_status(crt, &critical) > 0) {
        return wrong(errp, "server-cert.pem", "begins with a certificate of an authority");
    }
    if (tls.x509_crt_get_key_usage(crt, &usage, &critical) >= 0 &&
        !(usage & (GNUTLS_KEY_DIGITAL_SIGNATURE | GNUTLS_KEY_KEY_ENCIPHERMENT))) {
        return wrong(errp, "server-cert.pem", "has a key that may not be used for TLS (key usage)");
    }
    for (unsigned i = 0;; i++) {
        char oid[128];
        size_t n = sizeof(oid);
        int r = tls.x509_crt_get_key_purpose_oid(crt, i, oid, &n, &critical);
        if (r < 0) {
            break;
        }
        told = true;
        fits = fits || g_str_equal(oid, GNUTLS_KP_TLS_WWW_SERVER) || g_str_equal(oid, GNUTLS_KP_ANY);
    }
    return !told || fits || wrong(errp, "server-cert.pem", "is not for servers (key purpose)");
}

static bool check_chain(gnutls_x509_crt_t *cas, unsigned n_ca, gnutls_x509_crt_t *chain, unsigned n,
                        Error **errp)
{
    unsigned status = 0;
    for (unsigned i = 0; i < n_ca; i++) {
        if (!check_times(cas[i], "ca-cert.pem", errp) || !check_authority(cas[i], errp)) {
            return false;
        }
    }
    for (unsigned i = 0; i < n; i++) {
        if (!check_times(chain[i], "server-cert.pem", errp)) {
            return false;
        }
    }
    if (!check_server(chain[0], errp)) {
        return false;
    }
    int r = tls.x509_crt_list_verify(chain, (int)n, cas, (int)n_ca, NULL, 0, 0, &status);
    return works(r, "'server-cert.pem'", errp) &&
           (!status || wrong(errp, "server-cert.pem", "was not signed by ca-cert.pem's owner"));
}

static bool check_certificates(const gnutls_datum_t *ca, const gnutls_datum_t *cert, Error **errp)
{
    gnutls_x509_crt_t cas[CA_MAX], chain[CHAIN_MAX];
    unsigned n_ca = CA_MAX, n = CHAIN_MAX;
    bool ok = false;
    int r = tls.x509_crt_list_import(cas, &n_ca, ca, GNUTLS_X509_FMT_PEM, 0);
    if (!works(r, "'ca-cert.pem'", errp)) {
        return false;
    }
    r = tls.x509_crt_list_import(chain, &n, cert, GNUTLS_X509_FMT_PEM, 0);
    if (works(r, "'server-cert.pem'", errp)) {
        ok = check_chain(cas, n_ca, chain, n, errp);
        for (unsigned i = 0; i < n; i++) {
            tls.x509_crt_deinit(chain[i]);
        }
    }
    for (unsigned i = 0; i < n_ca; i++) {
        tls.x509_crt_deinit(cas[i]);
    }
    return ok;
}

/* ---- from files to material ---- */

static bool load_dh(const char *dir, TlsMaterial *m, Error **errp)
{
    gnutls_datum_t d;
    if (!read_pem(dir, "dh-params.pem", true, &d, errp)) {
        return false;
    }
    if (!d.data) { /* clients choose among RFC 7919's groups */
        return true;
    }
    int r = tls.dh_params_init(&m->dh);
    r = r < 0 ? r : tls.dh_params_import_pkcs3(m->dh, &d, GNUTLS_X509_FMT_PEM);
    free_pem(&d);
    return works(r, "'dh-params.pem'", errp);
}

static bool load_x509(const TlsCreds *c, TlsMaterial *m, Error **errp)
{
    const char *dir = c->dir;
    gnutls_datum_t ca = { 0 }, crl = { 0 }, cert = { 0 }, key = { 0 };
    bool ok =
        read_pem(dir, "ca-cert.pem", false, &ca, errp) && read_pem(dir, "ca-crl.pem", true, &crl, errp) &&
        read_pem(dir, "server-cert.pem", false, &cert, errp) &&
        read_pem(dir, "server-key.pem", false, &key, errp) &&
        (!c->sanity_check || check_certificates(&ca, &cert, errp)) &&
        works(tls.certificate_allocate_credentials(&m->x509), "certificates", errp) &&
        works(tls.certificate_set_x509_trust_mem(m->x509, &ca, GNUTLS_X509_FMT_PEM), "'ca-cert.pem'", errp) &&
        (!crl.data ||
         works(tls.certificate_set_x509_crl_mem(m->x509, &crl, GNUTLS_X509_FMT_PEM), "'ca-crl.pem'", errp)) &&
        works(tls.certificate_set_x509_key_mem2(m->x509, &cert, &key, GNUTLS_X509_FMT_PEM, c->password, 0),
              "'server-cert.pem' with 'server-key.pem'", errp);
    gnutls_datum_t *all[] = { &ca, &crl, &cert, &key };
    for (size_t i = 0; i < G_N_ELEMENTS(all); i++) {
        free_pem(all[i]);
    }
    if (ok && m->dh) {
        tls.certificate_set_dh_params(m->x509, m->dh);
    }
    return ok;
}

static bool load_anon(TlsMaterial *m, Error **errp)
{
    int r = tls.anon_allocate_server_credentials(&m->anon);
    if (r >= 0 && m->dh) {
        tls.anon_set_server_dh_params(m->anon, m->dh);
    }
    return works(r, "credentials", errp);
}

static bool load_priority(const TlsCreds *c, TlsMaterial *m, Error **errp)
{
    const char *base = c->priority ? c->priority : "NORMAL", *at = NULL;
    /* TLS 1.3 has nothing without certificates or keys. */
    g_autofree char *text = g_strconcat(base, m->anonymous ? ":-VERS-TLS1.3:+ANON-ECDH:+ANON-DH" : "", NULL);
    int r = tls.priority_init(&m->priority, text, &at);
    if (r < 0) {
        m->priority = NULL;
        return error_fail(errp, "invalid-value", "priority", "such as NORMAL, or SECURE256:-VERS-TLS1.2",
                          "'%s' is no priority of GnuTLS: %s at '%s'", base, tls.strerror(r), at ? at : text);
    }
    return true;
}

static TlsMaterial *load(const TlsCreds *c, Error **errp)
{
    TlsMaterial *m = g_new0(TlsMaterial, 1);
    m->refs = 1;
    m->anonymous = c->anonymous;
    m->verify_peer = c->verify_peer;
    if (!load_priority(c, m, errp) || (c->dir && !load_dh(c->dir, m, errp)) ||
        !(m->anonymous ? load_anon(m, errp) : load_x509(c, m, errp))) {
        tls_material_unref(m);
        return NULL;
    }
    return m;
}

/* ---- objects ---- */

static TlsCreds *find(const Machine *m, const char *id)
{
    for (guint i = 0; creds && i < creds->len; i++) {
        TlsCreds *c = creds->pdata[i];
        if (c->m == m && g_str_equal(c->o.id, id)) {
            return c;
        }
    }
    return NULL;
}

bool tls_creds_exists(Machine *m, const char *id)
{
    return find(m, id) != NULL;
}

void tls_creds_unref(TlsCreds *c)
{
    if (c && --c->refs == 0) {
        tls_material_unref(c->material);
        type_clear(&tls_creds_options_type, &c->o);
        if (c->password) {
            explicit_bzero(c->password, strlen(c->password));
        }
        g_free(c->password);
        g_free(c);
    }
}

/* From the kind's own options. */
static void take_options(TlsCreds *c)
{
    if (c->o.qom_type == TLS_CREDS_KIND_TLS_CREDS_ANON) {
        const TlsCredsAnonProperties *p = &c->o.u.tls_creds_anon;
        c->anonymous = true;
        c->server = p->endpoint == TLS_CREDS_ENDPOINT_SERVER;
        c->dir = p->dir;
        c->priority = p->priority;
    } else {
        const TlsCredsX509Properties *p = &c->o.u.tls_creds_x509;
        c->server = p->endpoint == TLS_CREDS_ENDPOINT_SERVER;
        c->verify_peer = p->verify_peer;
        c->sanity_check = p->sanity_check;
        c->dir = p->dir;
        c->priority = p->priority;
        c->passwordid = p->passwordid;
    }
}

static bool check_options(const TlsCreds *c, Error **errp)
{
    if (!c->server) {
        return error_fail(
            errp, "not-supported", "endpoint", "give endpoint=server, for -vnc",
            "endpoint=client, which is also the default, has no user: nothing here connects with TLS");
    }
    return c->dir || c->anonymous ||
           error_fail(errp, "missing-member", "dir", "give the folder with server-cert.pem",
                      "'dir' is needed");
}

static bool take_password(TlsCreds *c, Machine *m, Error **errp)
{
    g_autoptr(GBytes) b = c->passwordid ? secret_lookup(m, c->passwordid, errp) : NULL;
    if (c->passwordid && !b) {
        error_prefix(errp, "'passwordid'");
        return false;
    }
    c->password = b ? g_strndup(g_bytes_get_data(b, NULL), g_bytes_get_size(b)) : NULL;
    return true;
}

bool tls_creds_new_json(Machine *m, const Json *opts, bool from_text, Error **errp)
{
    TlsCreds *c = g_new0(TlsCreds, 1);
    c->refs = 1;
    c->m = m;
    role_assert_main();
    if (!type_decode(&tls_creds_options_type, opts, from_text, &c->o, errp)) {
        g_free(c);
        return false;
    }
    take_options(c);
    if (!check_options(c, errp) || !load_library(errp) || !take_password(c, m, errp) ||
        !(c->material = load(c, errp))) {
        error_prefix(errp, "TLS credentials '%s'", c->o.id);
        tls_creds_unref(c);
        return false;
    }
    creds = creds ? creds : g_ptr_array_new();
    g_ptr_array_add(creds, c);
    return true;
}

bool tls_creds_remove(Machine *m, const char *id, Error **errp)
{
    TlsCreds *c = find(m, id);
    if (!c) {
        return error_fail(errp, "not-found", NULL, NULL, "there are no TLS credentials '%s'", id);
    }
    g_ptr_array_remove(creds, c);
    tls_creds_unref(c);
    return true;
}

void tls_creds_remove_all(Machine *m)
{
    for (guint i = creds ? creds->len : 0; i > 0; i--) {
        TlsCreds *c = creds->pdata[i - 1];
        if (c->m == m) {
            g_ptr_array_remove_index(creds, i - 1);
            tls_creds_unref(c);
        }
    }
    if (creds && !creds->len) {
        g_clear_pointer(&creds, g_ptr_array_unref);
    }
}

TlsCreds *tls_creds_lookup(Machine *m, const char *id, Error **errp)
{
    TlsCreds *c = find(m, id);
    if (!c) {
        error_fail(errp, "not-found", "tls-creds", NULL, "there are no TLS credentials '%s'", id);
        error_hint(errp, "make them before, with -object tls-creds-x509,id=%s,endpoint=server,dir=FOLDER",
                   id);
        return NULL;
    }
    c->refs++;
    return c;
}

bool tls_creds_are_anonymous(const TlsCreds *c)
{
    return c->material->anonymous;
}

bool tls_creds_reload(TlsCreds *c, Error **errp)
{
    TlsMaterial *fresh = load(c, errp);
    if (fresh) {
        tls_material_unref(c->material);
        c->material = fresh;
    }
    return fresh != NULL;
}
#else
static bool no_tls(Error **errp)
{
    return error_fail(errp, "not-supported", NULL, "build it with libgnutls28-dev", "this build has no TLS");
}

bool tls_creds_new_json(Machine *m, const Json *opts, bool from_text, Error **errp)
{
    return no_tls(errp);
}

bool tls_creds_exists(Machine *m, const char *id)
{
    return false;
}

bool tls_creds_remove(Machine *m, const char *id, Error **errp)
{
    return no_tls(errp);
}

void tls_creds_remove_all(Machine *m) {}

TlsCreds *tls_creds_lookup(Machine *m, const char *id, Error **errp)
{
    no_tls(errp);
    return NULL;
}

void tls_creds_unref(TlsCreds *c) {}

/* There are none of whom this could be asked; nor are there sessions below. */
bool tls_creds_are_anonymous(const TlsCreds *c)
{
    return false;
}

bool tls_creds_reload(TlsCreds *c, Error **errp)
{
    return no_tls(errp);
}

TlsSession *tls_session_new(const TlsCreds *c, int fd, Error **errp)
{
    no_tls(errp);
    return NULL;
}

void tls_session_free(TlsSession *s) {}

TlsNext tls_session_handshake(TlsSession *s, Error **errp)
{
    no_tls(errp);
    return TLS_FAILED;
}

ssize_t tls_session_read(TlsSession *s, void *buf, size_t len)
{
    return -1;
}

ssize_t tls_session_write(TlsSession *s, const void *buf, size_t len)
{
    return -1;
}

TlsNext tls_session_wants(const TlsSession *s)
{
    return TLS_WANT_READ;
}

bool tls_session_bye(TlsSession *s)
{
    return true;
}

char *tls_session_peer_name(const TlsSession *s)
{
    return NULL;
}
#endif
