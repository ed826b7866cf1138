/* SPDX-License-Identifier: MIT
 * net/l2tpv3.c - -netdev l2tpv3: frames in an L2TPv3 session, without control connection.
 *
 * Models: RFC 3931, 4.1: over UDP (4.1.2: a word with the version before the session) or over IP (4.1.1,
 *         protocol 115); cookies of 32 or 64 bits, a counter in the place of the L2-specific sublayer, an
 *         offset. What is not of the session, has another cookie or is no frame is dropped and counted.
 * Does not model: control messages: sessions are set up by hand at both ends. Threads: main loop.
 */
#include "net_internal.h"
#include "rhea/util/errorcode.h"
#include "rhea/util/who.h"

#include <errno.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

enum { L2TP = 115, VERSION_WORD = 0x00030000, HEAD_MAX = 4 + 4 + 8 + 4, OFFSET_MAX = 256, TURN_FRAMES = 256,
       IP_MAX = 60 };

typedef struct L2tp {
    NetClient *client;
    int fd;
    FdWatch watch;
    bool udp, ipv6, counter, pinned;
    unsigned cookie_bytes, head; /* bytes before a frame, with the offset */
    uint32_t tx_session, rx_session, count;
    uint64_t tx_cookie, rx_cookie;
    char *where;
    uint8_t *in;
} L2tp;

static L2tp *l2tp_of(const NetClient *c)
{
    return c->state;
}

static uint8_t *put_bytes(uint8_t *p, uint64_t v, unsigned bytes)
{
    for (unsigned i = 0; i < bytes; i++) {
        p[i] = (uint8_t)(v >> (8 * (bytes - 1 - i)));
    }
    return p + bytes;
}

static uint64_t get_bytes(const uint8_t *p, unsigned bytes)
{
    uint64_t v = 0;
    for (unsigned i = 0; i < bytes; i++) {
        v = v << 8 | p[i];
    }
    return v;
}

/* ---- out ---- */

static void put_head(L2tp *l, uint8_t *head)
{
    uint8_t *p = head;
    memset(head, 0, l->head);
    if (l->udp) {
        p = put_bytes(p, VERSION_WORD, 4);
    }
    p = put_bytes(p, l->tx_session, 4);
    p = put_bytes(p, l->tx_cookie, l->cookie_bytes);
    if (l->counter) {
        put_bytes(p, l->pinned ? 0 : l->count++, 4);
    }
}

static bool l2tp_receive(NetClient *c, const NetFrame *f)
{
    L2tp *l = l2tp_of(c);
    uint8_t head[HEAD_MAX + OFFSET_MAX];
    struct iovec iov[2] = { { head, l->head }, { (void *)f->data, f->len } };
    struct msghdr msg = { .msg_iov = iov, .msg_iovlen = 2 };
    if (l->watch.events & LOOP_OUT) {
        return false;
    }
    put_head(l, head);
    ssize_t n = sendmsg(l->fd, &msg, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (n < 0 && (errno == ECONNREFUSED || errno == EINTR)) { /* told of an earlier one */
        n = sendmsg(l->fd, &msg, MSG_NOSIGNAL | MSG_DONTWAIT);
    }
    if (n < 0 && errno == EAGAIN) {
        fd_watch_set(&l->watch, l->watch.events | LOOP_OUT);
        l->count -= l->counter && !l->pinned; /* the same frame is to come again */
        return false;
    }
    if (n < 0) {
        net_client_count_drop(c);
    }
    return true;
}

/* ---- in ---- */

/* Where the frame begins; 0: it is nothing of this session. */
static size_t check_head(const L2tp *l, const uint8_t *data, size_t len)
{
    size_t at = 0;
    if (!l->udp && !l->ipv6) { /* a raw socket of IPv4 gives the IP header as well */
        at = len ? 4 * (size_t)(data[0] & 15) : 0;
    }
    if (len < at + l->head) {
        return 0;
    }
    if (l->udp) {
        if (get_bytes(data + at, 4) != VERSION_WORD) {
            return 0; /* a control message, or another version */
        }
        at += 4;
    }
    bool ours = get_bytes(data + at, 4) == l->rx_session &&
                get_bytes(data + at + 4, l->cookie_bytes) == l->rx_cookie;
    return ours ? at + l->head - (l->udp ? 4 : 0) : 0;
}

static void l2tp_ready(void *opaque, unsigned revents)
{
    L2tp *l = opaque;
    if (revents & LOOP_OUT && l->watch.events & LOOP_OUT) {
        fd_watch_set(&l->watch, l->watch.events & ~(unsigned)LOOP_OUT);
        net_client_resume(l->client);
    }
    if (!(revents & (LOOP_IN | LOOP_OUT))) {
        net_forget_error(l->fd);
    }
    for (unsigned i = 0; i < TURN_FRAMES && net_client_may_send(l->client); i++) {
        ssize_t n = recv(l->fd, l->in, IP_MAX + HEAD_MAX + OFFSET_MAX + NET_FRAME_MAX, MSG_DONTWAIT);
        if (n < 0 && errno == EAGAIN) {
            return;
        }
        size_t at = n > 0 ? check_head(l, l->in, (size_t)n) : 0;
        if (n >= 0) {
            net_client_send(l->client, &(NetFrame){ .data = l->in + at, .len = at ? (size_t)n - at : 0 });
        }
    }
    fd_watch_set(&l->watch, (l->watch.events & LOOP_OUT) | (net_client_may_send(l->client) ? LOOP_IN : 0));
}

static void l2tp_resumed(NetClient *c)
{
    FdWatch *w = &l2tp_of(c)->watch;
    fd_watch_set(w, w->events | LOOP_IN);
}

/* ---- options ---- */

static bool check(const NetdevL2TPv3Options *o, Error **errp)
{
    if (o->udp && (!o->srcport || !o->dstport)) {
        error_fail(errp, "missing-member", "srcport", NULL,
                   "'srcport' and 'dstport' are missing: 'udp' needs both");
        error_hint(errp, "1701 is the port of L2TP");
        return false;
    }
    if (!o->udp && (o->srcport || o->dstport)) {
        return error_fail(errp, "conflict", "srcport", "leave them out",
                          "'srcport' and 'dstport' go with 'udp=on' only");
    }
    if (o->has_txcookie != o->has_rxcookie) {
        return error_fail(errp, "missing-member", "rxcookie", "give both, or neither",
                          "'txcookie' and 'rxcookie' go together: both ends have cookies, or none");
    }
    if (o->cookie64 && !o->has_txcookie) {
        return error_fail(errp, "missing-member", "txcookie", "give both, or leave cookie64 out",
                          "'cookie64' needs 'txcookie' and 'rxcookie'");
    }
    if (!o->cookie64 && ((o->txcookie | o->rxcookie) >> 32)) {
        error_fail(errp, "out-of-range", "rxcookie", NULL, "a cookie has more than 32 bits");
        error_hint(errp, "use cookie64=on, at both ends");
        return false;
    }
    return !o->pincounter || o->counter || error_fail(errp, "conflict", "pincounter", "leave it out",
                                                      "'pincounter' needs 'counter=on'");
}

static bool resolve(const char *host, const char *port, const NetdevL2TPv3Options *o, SockAddrs *out,
                    Error **errp)
{
    SockSpec spec = { .kind = SOCK_KIND_INET,
                      .host = host,
                      .port = port ? port : "0",
                      .no_ipv4 = o->ipv6,
                      .no_ipv6 = !o->ipv6 };
    return sock_resolve(&spec, false, out, errp);
}

static bool say_no_socket(int err, Error **errp)
{
    error_set_errno(errp, err, "cannot make a socket for L2TP over IP");
    if (err == EPERM) {
        error_hint(errp, "it needs CAP_NET_RAW; udp=on needs nothing");
    }
    return false;
}

static bool open_socket(L2tp *l, const NetdevL2TPv3Options *o, Error **errp)
{
    SockAddrs from, to;
    if (!resolve(o->src, o->srcport, o, &from, errp) || !resolve(o->dst, o->dstport, o, &to, errp)) {
        return false;
    }
    const struct sockaddr_in *in = (const struct sockaddr_in *)&from.list[0].sa;
    l->fd = socket(in->sin_family, (l->udp ? SOCK_DGRAM : SOCK_RAW) | SOCK_CLOEXEC | SOCK_NONBLOCK,
                   l->udp ? 0 : L2TP);
    if (l->fd < 0) {
        return say_no_socket(errno, errp);
    }
    if (bind(l->fd, (const struct sockaddr *)in, from.list[0].len) < 0) {
        int err = errno;
        g_autofree char *who = err == EADDRINUSE ? who_has_udp((const struct sockaddr *)in) : NULL;
        return who ? error_fail(errp, "in-use", "srcport", "use another port",
                                "UDP port %u is in use by %s", ntohs(in->sin_port), who)
                   : error_set_errno(errp, err, "cannot receive at %s", o->src);
    }
    /* Connected: what others send is not even seen. */
    return connect(l->fd, (const struct sockaddr *)&to.list[0].sa, to.list[0].len) == 0 ||
           error_set_errno(errp, errno, "cannot send to %s", o->dst);
}

static bool l2tp_open(NetClient *c, const NetdevOptions *opts, Error **errp)
{
    L2tp *l = l2tp_of(c);
    const NetdevL2TPv3Options *o = &opts->u.l2tpv3;
    l->client = c;
    l->fd = -1;
    l->in = g_malloc(IP_MAX + HEAD_MAX + OFFSET_MAX + NET_FRAME_MAX);
    if (!check(o, errp)) {
        return false;
    }
    l->udp = o->udp;
    l->ipv6 = o->ipv6;
    l->counter = o->counter;
    l->pinned = o->pincounter;
    l->cookie_bytes = !o->has_txcookie ? 0 : o->cookie64 ? 8 : 4;
    l->tx_cookie = o->txcookie;
    l->rx_cookie = o->rxcookie;
    l->tx_session = (uint32_t)o->txsession;
    l->rx_session = (uint32_t)(o->has_rxsession ? o->rxsession : o->txsession);
    l->head = (l->udp ? 4 : 0) + 4 + l->cookie_bytes + (l->counter ? 4 : 0) + (unsigned)o->offset;
    l->where = g_strdup_printf("%s-%s,%s", o->src, o->dst, l->udp ? "udp" : "ip");
    if (!open_socket(l, o, errp)) {
        return false;
    }
    l->watch = (FdWatch){ .fd = l->fd, .events = LOOP_IN, .ready = l2tp_ready, .opaque = l };
    return fd_watch_add(c->machine->loop, &l->watch, errp);
}

static void l2tp_close(NetClient *c)
{
    L2tp *l = l2tp_of(c);
    if (l->fd >= 0) {
        fd_watch_remove(&l->watch);
        close(l->fd);
    }
    g_free(l->where);
    g_free(l->in);
}

static void l2tp_describe(const NetClient *c, GString *out)
{
    g_string_append_printf(out, "%s,session=%u", l2tp_of(c)->where, l2tp_of(c)->tx_session);
}

const NetKind net_l2tpv3_kind = {
    .name = "l2tpv3",
    .state_size = sizeof(L2tp),
    .open = l2tp_open,
    .close = l2tp_close,
    .receive = l2tp_receive,
    .resumed = l2tp_resumed,
    .describe = l2tp_describe,
};
