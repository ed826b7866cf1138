/* SPDX-License-Identifier: MIT
 * tests/unit/ui/test-vnctls.c - what VNC clients say before TLS (ui/vnc_vencrypt.c) and the relay behind it
 * (ui/vnc_tls.c, with backends/tls_creds.c and backends/tls_session.c): wrong bytes, early ends, peers that
 * say or take nothing, and a client of GnuTLS whose bytes all arrive. RHEA_TLS_CASES: handshakes of nonsense.
 * Threads: main; the relays' own.
 */
#include "rhea/schema/type.h"
#include "tests/lib/testmachine.h"
#include "ui/vnc_tls.h"
#include "ui/vnc_vencrypt.h"

#include <gnutls/gnutls.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* ---- the parser ---- */

static VencryptNext say(Vencrypt *v, const char *in, uint8_t *out, size_t *n)
{
    g_assert_cmpuint(vencrypt_wants(v), <=, VENCRYPT_IN_MAX);
    VencryptNext next = vencrypt_take(v, (const uint8_t *)in, out, n);
    g_assert_cmpuint(*n, <=, VENCRYPT_OUT_MAX);
    return next;
}

static const char *const talk[] = { "RFB 003.008\n", "\x13", "\0\2", "\0\0\1\5" };

static void test_words(void)
{
    static const struct {
        unsigned step;
        const char *in, *out;
        size_t n;
    } wrong[] = {
        { 0, "RFB 004.001\n", "", 0 },
        { 0, "rfb 003.008\n", "", 0 },
        { 0, "RFB 003.00x\n", "", 0 },
        { 0, "RFB 003.008\r", "", 0 },
        { 0, "RFB 003.003\n", "\0\0\0\0", 4 },
        { 0, "RFB 003.006\n", "\0\0\0\0", 4 },
        { 1, "\1", "\0\0\0\1", 4 },
        { 1, "\x12", "\0\0\0\1", 4 },
        { 2, "\0\1", "\xff", 1 },
        { 2, "\0\0", "\xff", 1 },
        { 2, "\1\2", "\xff", 1 },
        { 3, "\0\0\1\4", "\0", 1 },
        { 3, "\5\1\0\0", "\0", 1 },
    };
    static const char answers[][7] = { "\1\x13", "\0\2", "\0\1\0\0\1\5", "\1" };
    static const size_t sizes[] = { 2, 2, 6, 1 };
    uint8_t out[VENCRYPT_OUT_MAX];
    size_t n;
    Vencrypt v = { .offered = VENCRYPT_X509_VNC };
    for (unsigned i = 0; i < 4; i++) {
        VencryptNext next = say(&v, talk[i], out, &n);
        g_assert_cmpint(next, ==, i == 3 ? VENCRYPT_START_TLS : VENCRYPT_MORE);
        g_assert_cmpmem(out, n, answers[i], sizes[i]);
    }
    v = (Vencrypt){ .offered = VENCRYPT_X509_VNC };
    g_assert_cmpint(say(&v, "RFB 003.007\n", out, &n), ==, VENCRYPT_MORE);
    for (size_t i = 0; i < G_N_ELEMENTS(wrong); i++) {
        v = (Vencrypt){ .offered = VENCRYPT_X509_VNC };
        for (unsigned k = 0; k < wrong[i].step; k++) {
            say(&v, talk[k], out, &n);
        }
        g_assert_cmpint(say(&v, wrong[i].in, out, &n), ==, VENCRYPT_REFUSED);
        g_assert_cmpuint(n, >=, wrong[i].n);
        g_assert_cmpmem(out, wrong[i].n, wrong[i].out, wrong[i].n);
    }
}

/* ---- the relay ---- */

typedef struct Place {
    TestMachine *tm;
    TlsCreds *creds;
    VncTls *tls;
    int client, plain; /* our ends */
    bool ended;
    char *why;
} Place;

static void on_ended(void *opaque, VncTls *t, const char *why)
{
    Place *p = opaque;
    g_assert_true(t == p->tls);
    p->ended = true;
    p->why = g_strdup(why);
}

static void place_init(Place *p)
{
    g_autoptr(Json) j = json_new_object();
    *p = (Place){ .tm = tm_new(1 << 20) };
    json_put(j, "qom-type", json_new_string("tls-creds-anon"));
    json_put(j, "id", json_new_string("t"));
    json_put(j, "endpoint", json_new_string("server"));
    tls_creds_new_json(p->tm->m, j, false, &error_abort_slot);
    p->creds = tls_creds_lookup(p->tm->m, "t", &error_abort_slot);
}

static void place_start(Place *p, bool vencrypt, int patience_ms)
{
    int pair[2];
    VncTlsOptions o = { .creds = p->creds,
                        .vencrypt = vencrypt,
                        .loop = p->tm->loop,
                        .ended = on_ended,
                        .opaque = p,
                        .patience_ms = patience_ms };
    g_assert_cmpint(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair), ==, 0);
    p->client = pair[0];
    p->ended = false;
    p->tls = vnc_tls_new(&o, pair[1], &p->plain, &error_abort_slot);
}

static void place_stop(Place *p)
{
    vnc_tls_free(p->tls);
    close(p->client);
    close(p->plain);
    g_clear_pointer(&p->why, g_free);
}

static void place_end(Place *p)
{
    tls_creds_unref(p->creds);
    tls_creds_remove_all(p->tm->m);
    tm_free(p->tm);
}

static void wait_for_end(Place *p)
{
    while (!p->ended) {
        loop_turn(p->tm->loop, true);
    }
}

/* All that comes, until the other side ends it. */
static size_t drain(int fd, void *out, size_t room)
{
    char buf[4096];
    size_t all = 0;
    for (;;) {
        struct pollfd f = { .fd = fd, .events = POLLIN };
        poll(&f, 1, -1);
        ssize_t n = recv(fd, buf, sizeof(buf), 0);
        if (n <= 0) {
            return all;
        }
        memcpy((char *)out + MIN(all, room), buf, MIN((size_t)n, room - MIN(all, room)));
        all += (size_t)n;
    }
}

static void send_all(int fd, const void *data, size_t n)
{
    g_assert_cmpint(send(fd, data, n, MSG_NOSIGNAL), ==, (ssize_t)n);
}

static void test_patience(void)
{
    Place p;
    char out[64];
    place_init(&p);
    for (unsigned vencrypt = 0; vencrypt < 2; vencrypt++) {
        place_start(&p, vencrypt, 30);
        wait_for_end(&p);
        g_assert_cmpstr(p.why, ==, "its handshake took too long");
        g_assert_cmpuint(drain(p.client, out, sizeof(out)), ==, vencrypt ? 12 : 0);
        g_assert_cmpuint(drain(p.plain, out, sizeof(out)), ==, 0);
        place_stop(&p);
    }
    place_end(&p);
}

/* Either side goes at each step; and it is ended at each step. */
static void test_early_ends(void)
{
    Place p;
    char out[64];
    static const size_t sizes[] = { 12, 1, 2, 4 };
    place_init(&p);
    for (unsigned steps = 0; steps <= 4; steps++) {
        for (unsigned how = 0; how < 3; how++) {
            place_start(&p, true, 0);
            for (unsigned i = 0; i < steps; i++) {
                send_all(p.client, i < 3 ? talk[i] : "\0\0\1\1", sizes[i]);
            }
            if (how < 2) {
                shutdown(how ? p.plain : p.client, SHUT_RDWR);
                wait_for_end(&p);
                g_assert_cmpuint(drain(how ? p.client : p.plain, out, sizeof(out)), <, sizeof(out));
            }
            place_stop(&p);
        }
    }
    place_end(&p);
}

static void test_nonsense(void)
{
    const char *cases = g_getenv("RHEA_TLS_CASES");
    g_autoptr(GRand) r = g_rand_new_with_seed(1);
    static const size_t sizes[] = { 12, 1, 2, 4 };
    Place p;
    char out[4096];
    place_init(&p);
    for (unsigned n = cases ? (unsigned)atoi(cases) : 300; n > 0; n--) {
        bool vencrypt = g_rand_boolean(r);
        unsigned good = (unsigned)g_rand_int_range(r, 0, 6);
        place_start(&p, vencrypt, 0);
        for (unsigned i = 0; vencrypt && i < MIN(good, 4); i++) {
            send_all(p.client, i < 3 ? talk[i] : "\0\0\1\1", sizes[i]);
        }
        size_t len = (size_t)g_rand_int_range(r, 0, sizeof(out));
        for (size_t i = 0; i < len; i++) {
            out[i] = (char)g_rand_int(r);
        }
        if (good == 5 && len > 5) { /* a record of a handshake, as far as its head goes */
            memcpy(out, "\x16\3\1", 3);
        }
        if (len && send(p.client, out, len, MSG_NOSIGNAL) < 0) {
            /* it may be over */
        }
        shutdown(p.client, SHUT_WR);
        wait_for_end(&p);
        place_stop(&p);
    }
    place_end(&p);
}

/* ---- a client ---- */

enum { BYTES = 3 << 20 };

typedef struct Peer {
    int fd;
    gnutls_session_t tls;
    gnutls_anon_client_credentials_t anon;
} Peer;

static void peer_start(Peer *c, int fd)
{
    int r;
    c->fd = fd;
    gnutls_anon_allocate_client_credentials(&c->anon);
    gnutls_init(&c->tls, GNUTLS_CLIENT | GNUTLS_NONBLOCK);
    gnutls_priority_set_direct(c->tls, "NORMAL:-VERS-TLS1.3:+ANON-ECDH", NULL);
    gnutls_credentials_set(c->tls, GNUTLS_CRD_ANON, c->anon);
    gnutls_transport_set_int(c->tls, fd);
    while ((r = gnutls_handshake(c->tls)) == GNUTLS_E_AGAIN) {
        struct pollfd f = { .fd = fd, .events = gnutls_record_get_direction(c->tls) ? POLLOUT : POLLIN };
        poll(&f, 1, -1);
    }
    g_assert_cmpint(r, ==, 0);
}

static void peer_end(Peer *c)
{
    gnutls_deinit(c->tls);
    gnutls_anon_free_client_credentials(c->anon);
}

/* The plain side sends back what it gets, until it gets no more. */
static void *echo(void *opaque)
{
    int fd = *(int *)opaque;
    char buf[10000];
    for (;;) {
        struct pollfd f = { .fd = fd, .events = POLLIN };
        poll(&f, 1, -1);
        ssize_t n = recv(fd, buf, sizeof(buf), 0);
        if (n <= 0) {
            return NULL;
        }
        for (ssize_t done = 0; done < n;) {
            f.events = POLLOUT;
            poll(&f, 1, -1);
            ssize_t k = send(fd, buf + done, (size_t)(n - done), MSG_NOSIGNAL);
            if (k < 0) {
                return NULL;
            }
            done += k;
        }
    }
}

/* All bytes come back, while both directions fill up; then a peer that takes nothing holds nobody up. */
static void test_bytes(void)
{
    g_autofree uint8_t *data = g_malloc(BYTES), *back = g_malloc(BYTES);
    size_t sent = 0, got = 0;
    Place p;
    Peer c;
    pthread_t thread;
    place_init(&p);
    place_start(&p, false, 0);
    for (size_t i = 0; i < BYTES; i++) {
        data[i] = (uint8_t)(i * 7 + i / 255);
    }
    peer_start(&c, p.client);
    g_assert_null(vnc_tls_name(p.tls));
    pthread_create(&thread, NULL, echo, &p.plain);
    while (got < BYTES) {
        struct pollfd f = { .fd = c.fd, .events = POLLIN };
        ssize_t n =
            sent < BYTES ? gnutls_record_send(c.tls, data + sent, MIN(BYTES - sent, 16384)) : GNUTLS_E_AGAIN;
        sent += (size_t)MAX(n, 0);
        f.events |= sent < BYTES ? POLLOUT : 0;
        n = gnutls_record_recv(c.tls, back + got, BYTES - got);
        g_assert_true(n > 0 || n == GNUTLS_E_AGAIN);
        got += (size_t)MAX(n, 0);
        if (n < 0) {
            poll(&f, 1, -1);
        }
    }
    g_assert_cmpmem(data, BYTES, back, BYTES);
    gnutls_bye(c.tls, GNUTLS_SHUT_WR);
    pthread_join(thread, NULL);
    wait_for_end(&p);
    g_assert_null(p.why);
    peer_end(&c);
    place_stop(&p);
    place_end(&p);
}

/* Nobody serves the client any more: it gets what was left for it; one that does not take it is ended. */
static void test_last_bytes(void)
{
    char buf[16384];
    Place p;
    Peer c;
    place_init(&p);
    for (unsigned deaf = 0; deaf < 2; deaf++) {
        size_t got = 0, left = 0;
        ssize_t n;
        place_start(&p, false, 0);
        peer_start(&c, p.client);
        memset(buf, 7, sizeof(buf));
        for (;;) { /* until the relay, which waits for the client, takes no more for a while */
            struct pollfd f = { .fd = p.plain, .events = POLLOUT };
            n = send(p.plain, buf, sizeof(buf), MSG_NOSIGNAL);
            if (n < 0 && poll(&f, 1, 200) == 0) {
                break;
            }
            left += (size_t)MAX(n, 0);
        }
        shutdown(p.plain, SHUT_RDWR);
        while (!deaf && (n = gnutls_record_recv(c.tls, buf, sizeof(buf))) != 0) {
            struct pollfd f = { .fd = c.fd, .events = POLLIN };
            g_assert_true(n > 0 || n == GNUTLS_E_AGAIN);
            got += (size_t)MAX(n, 0);
            poll(&f, 1, n < 0 ? -1 : 0);
        }
        g_assert_cmpuint(got, ==, deaf ? 0 : left);
        wait_for_end(&p);
        peer_end(&c);
        place_stop(&p);
    }
    place_end(&p);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    role_become_main();
    g_test_add_func("/vnctls/words", test_words);
    g_test_add_func("/vnctls/patience", test_patience);
    g_test_add_func("/vnctls/early-ends", test_early_ends);
    g_test_add_func("/vnctls/nonsense", test_nonsense);
    g_test_add_func("/vnctls/bytes", test_bytes);
    g_test_add_func("/vnctls/last-bytes", test_last_bytes);
    return g_test_run();
}
