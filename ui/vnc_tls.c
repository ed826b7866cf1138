/* SPDX-License-Identifier: MIT
 * ui/vnc_tls.c - VNC clients that speak TLS: a thread between such a client and a socket with plain bytes.
 *
 * Models: VeNCrypt (vnc_vencrypt.c) and TLS (rhea/backends/tls.h) towards the client. Towards libvncserver,
 * which knows neither, the relay is a client of RFB 3.8 that takes the security type it is offered, None or
 * VNC authentication; what follows, beginning with that type's own bytes, is passed on both ways. Without
 * VeNCrypt (WebSockets) all bytes are. Memory and time: a buffer of one TLS record each way, and who fills it
 * waits until it is empty; PATIENCE_MS for all that comes before the plain bytes; LINGER_MS for a client to
 * take the last ones. Threads: each relay's own; the functions of vnc_tls.h, main loop. Tests:
 * tests/unit/ui/test-vnctls.c, tests/func/vnctls.py.
 */
#include "vnc_tls.h"
#include "vnc_vencrypt.h"
#include "rhea/util/errorcode.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { RECORD = 16384, PATIENCE_MS = 20000, LINGER_MS = 2000 };
enum { SECURITY_NONE = 1, SECURITY_VNC = 2 };

struct VncTls {
    int refs; /* atomic */
    VncTlsOptions o;
    int fd, plain; /* the client's, ours of the pair */
    int wake[2];   /* a pipe: a byte ends the thread */
    TlsSession *session;
    VencryptSubtype subtype;
    int64_t until; /* of the monotonic clock, ns: the handshake's time is over */
    pthread_t thread;
    bool joined;
    pthread_mutex_t lock;
    char *name; /* under it */
    Error *why; /* the thread's, then the main loop's */
    Task over;
};

/* ---- waiting ---- */

static int64_t now_ns(void)
{
    return clock_now(&clock_host_monotonic);
}

static int ms_until(int64_t ns)
{
    return (int)CLAMP((ns - now_ns()) / 1000000 + 1, 0, INT32_MAX);
}

/* Before the plain bytes. False: the time is over, nobody serves the client any more, or it is to end. */
static bool wait_for(VncTls *t, int fd, short events)
{
    struct pollfd fds[3] = { { .fd = fd, .events = events },
                             { .fd = t->wake[0], .events = POLLIN },
                             { .fd = fd == t->plain ? -1 : t->plain } }; /* a hang-up is always told */
    if (now_ns() >= t->until) {
        return error_set(&t->why, "its handshake took too long");
    }
    return (poll(fds, 3, ms_until(t->until)) >= 0 || errno == EINTR) && !fds[1].revents && !fds[2].revents;
}

static bool receive(VncTls *t, int fd, void *buf, size_t len)
{
    for (size_t have = 0; have < len;) {
        ssize_t n = recv(fd, (char *)buf + have, len - have, MSG_DONTWAIT);
        if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR)) {
            return false;
        }
        have += (size_t)MAX(n, 0);
        if (n < 0 && !wait_for(t, fd, POLLIN)) {
            return false;
        }
    }
    return true;
}

static bool transmit(VncTls *t, int fd, const void *buf, size_t len)
{
    for (size_t done = 0; done < len;) {
        ssize_t n = send(fd, (const char *)buf + done, len - done, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (n < 0 && errno != EAGAIN && errno != EINTR) {
            return false;
        }
        done += (size_t)MAX(n, 0);
        if (n < 0 && !wait_for(t, fd, POLLOUT)) {
            return false;
        }
    }
    return true;
}

/* ---- before the plain bytes ---- */

static bool speak_vencrypt(VncTls *t)
{
    Vencrypt v = { .offered = t->subtype };
    VencryptNext next = VENCRYPT_MORE;
    if (!transmit(t, t->fd, VENCRYPT_VERSION, strlen(VENCRYPT_VERSION))) {
        return false;
    }
    while (next == VENCRYPT_MORE) {
        uint8_t in[VENCRYPT_IN_MAX], out[VENCRYPT_OUT_MAX];
        size_t n;
        if (!receive(t, t->fd, in, vencrypt_wants(&v))) {
            return false;
        }
        next = vencrypt_take(&v, in, out, &n);
        if (!transmit(t, t->fd, out, n)) {
            return false;
        }
    }
    return next == VENCRYPT_START_TLS ||
           error_set(&t->why, "it knows no VeNCrypt 0.2 with type %d", t->subtype);
}

static bool begin_tls(VncTls *t)
{
    TlsNext next;
    while ((next = tls_session_handshake(t->session, &t->why)) != TLS_DONE) {
        if (next == TLS_FAILED || !wait_for(t, t->fd, next == TLS_WANT_READ ? POLLIN : POLLOUT)) {
            return false;
        }
    }
    pthread_mutex_lock(&t->lock);
    t->name = tls_session_peer_name(t->session);
    pthread_mutex_unlock(&t->lock);
    return true;
}

/* The library as a server of RFB 3.8. */
static bool greet_library(VncTls *t)
{
    uint8_t version[12], n, types[255], want = t->o.password ? SECURITY_VNC : SECURITY_NONE;
    return receive(t, t->plain, version, sizeof(version)) &&
           transmit(t, t->plain, VENCRYPT_VERSION, strlen(VENCRYPT_VERSION)) && receive(t, t->plain, &n, 1) &&
           receive(t, t->plain, types, n) && memchr(types, want, n) && transmit(t, t->plain, &want, 1);
}

/* ---- plain bytes ---- */

typedef struct Pipe {
    uint8_t data[RECORD];
    size_t at, end;
    bool over; /* there comes no more */
} Pipe;

/* What a direction did. */
typedef enum Step { STEP_WORKED, STEP_WAITS, STEP_CLIENT_GONE, STEP_UNSERVED } Step;

static short events_of(const VncTls *t)
{
    return tls_session_wants(t->session) == TLS_WANT_WRITE ? POLLOUT : POLLIN;
}

static void filled(Pipe *p, ssize_t n)
{
    p->over = n == 0;
    p->at = 0;
    p->end = (size_t)n;
}

/* From the client; *client, *plain: what it waits for. */
static Step step_in(VncTls *t, Pipe *p, short *client, short *plain)
{
    ssize_t n;
    if (p->at < p->end) {
        n = send(t->plain, p->data + p->at, p->end - p->at, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (n < 0) {
            *plain |= POLLOUT;
            return errno == EAGAIN || errno == EINTR ? STEP_WAITS : STEP_UNSERVED;
        }
        p->at += (size_t)n;
        return STEP_WORKED;
    }
    if (p->over) {
        return STEP_CLIENT_GONE;
    }
    n = tls_session_read(t->session, p->data, RECORD);
    if (n < 0) {
        *client |= events_of(t);
        return errno == EAGAIN ? STEP_WAITS : STEP_CLIENT_GONE;
    }
    filled(p, n);
    return STEP_WORKED;
}

/* To the client. */
static Step step_out(VncTls *t, Pipe *p, short *client, short *plain)
{
    ssize_t n;
    if (p->at < p->end) {
        n = tls_session_write(t->session, p->data + p->at, p->end - p->at);
        if (n < 0) {
            *client |= events_of(t);
            return errno == EAGAIN ? STEP_WAITS : STEP_CLIENT_GONE;
        }
        p->at += (size_t)n;
        return STEP_WORKED;
    }
    if (p->over) {
        bool said = tls_session_bye(t->session);
        *client |= said ? 0 : events_of(t);
        return said ? STEP_CLIENT_GONE : STEP_WAITS;
    }
    n = recv(t->plain, p->data, RECORD, MSG_DONTWAIT);
    if (n < 0) {
        *plain |= POLLIN;
        return errno == EAGAIN || errno == EINTR ? STEP_WAITS : STEP_CLIENT_GONE;
    }
    filled(p, n);
    return STEP_WORKED;
}

static void pass_on(VncTls *t)
{
    g_autofree Pipe *in = g_new(Pipe, 1), *out = g_new(Pipe, 1);
    int64_t until = INT64_MAX; /* a time once nobody serves the client any more: it gets what is left */
    in->at = in->end = out->at = out->end = 0;
    in->over = out->over = false;
    for (;;) {
        short client = 0, plain = 0;
        bool served = until == INT64_MAX;
        Step a = served ? step_in(t, in, &client, &plain) : STEP_WAITS, b = step_out(t, out, &client, &plain);
        if (a == STEP_CLIENT_GONE || b == STEP_CLIENT_GONE) {
            return;
        }
        /* A hang-up is always told, so it is looked for only once. */
        struct pollfd fds[3] = { { .fd = client ? t->fd : -1, .events = client },
                                 { .fd = served ? t->plain : -1, .events = plain },
                                 { .fd = t->wake[0], .events = POLLIN } };
        int wait = a == STEP_WORKED || b == STEP_WORKED || a == STEP_UNSERVED ? 0
                   : served                                                   ? -1
                                                                              : ms_until(until);
        if ((poll(fds, 3, wait) < 0 && errno != EINTR) || fds[2].revents || now_ns() >= until) {
            return;
        }
        if (served && (a == STEP_UNSERVED || (fds[1].revents & (POLLHUP | POLLERR)))) {
            until = now_ns() + LINGER_MS * INT64_C(1000000);
        }
    }
}

/* ---- life ---- */

static void *relay_thread(void *opaque)
{
    VncTls *t = opaque;
    if ((!t->o.vencrypt || speak_vencrypt(t)) && begin_tls(t) && (!t->o.vencrypt || greet_library(t))) {
        pass_on(t);
    }
    shutdown(t->fd, SHUT_RDWR);
    shutdown(t->plain, SHUT_RDWR); /* whoever waits there goes on */
    loop_post(t->o.loop, &t->over);
    return NULL;
}

static void on_over(void *opaque)
{
    VncTls *t = opaque;
    t->o.ended(t->o.opaque, t, t->why ? error_text(t->why) : NULL);
}

VncTls *vnc_tls_ref(VncTls *t)
{
    g_atomic_int_inc(&t->refs);
    return t;
}

void vnc_tls_unref(VncTls *t)
{
    if (t && g_atomic_int_dec_and_test(&t->refs)) {
        g_free(t->name);
        pthread_mutex_destroy(&t->lock);
        g_free(t);
    }
}

/* What only the thread needs. */
static void release(VncTls *t)
{
    int *fds[] = { &t->fd, &t->plain, &t->wake[0], &t->wake[1] };
    tls_session_free(g_steal_pointer(&t->session));
    for (size_t i = 0; i < G_N_ELEMENTS(fds); i++) {
        if (*fds[i] >= 0) {
            close(*fds[i]);
        }
        *fds[i] = -1;
    }
    error_free(g_steal_pointer(&t->why));
}

void vnc_tls_free(VncTls *t)
{
    if (write(t->wake[1], "", 1) < 0) {
        /* full: it has been woken */
    }
    pthread_join(t->thread, NULL);
    loop_unpost(t->o.loop, &t->over);
    release(t);
    vnc_tls_unref(t);
}

char *vnc_tls_name(VncTls *t)
{
    pthread_mutex_lock(&t->lock);
    char *name = g_strdup(t->name);
    pthread_mutex_unlock(&t->lock);
    return name;
}

static VencryptSubtype subtype_of(const VncTlsOptions *o)
{
    return tls_creds_are_anonymous(o->creds) ? o->password ? VENCRYPT_TLS_VNC : VENCRYPT_TLS_NONE
           : o->password                     ? VENCRYPT_X509_VNC
                                             : VENCRYPT_X509_NONE;
}

VncTls *vnc_tls_new(const VncTlsOptions *o, int fd, int *plain, Error **errp)
{
    VncTls *t = g_new0(VncTls, 1);
    int pair[2] = { -1, -1 }, err = 0;
    t->refs = 1;
    t->o = *o;
    t->fd = fd;
    t->plain = t->wake[0] = t->wake[1] = -1;
    t->subtype = subtype_of(o);
    t->until = now_ns() + (o->patience_ms ? o->patience_ms : PATIENCE_MS) * INT64_C(1000000);
    t->over = (Task){ .run = on_over, .opaque = t };
    pthread_mutex_init(&t->lock, NULL);
    if (!(t->session = tls_session_new(o->creds, fd, errp))) {
        release(t);
        vnc_tls_unref(t);
        return NULL;
    }
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) < 0 ||
        pipe2(t->wake, O_CLOEXEC | O_NONBLOCK) < 0) {
        err = errno;
    }
    t->plain = pair[0];
    *plain = pair[1];
    if (!err) {
        err = pthread_create(&t->thread, NULL, relay_thread, t);
    }
    if (err) {
        error_set_errno(errp, err, "could not start a relay for a VNC client with TLS");
        if (pair[1] >= 0) {
            close(pair[1]);
        }
        release(t);
        vnc_tls_unref(t);
        return NULL;
    }
    return t;
}
