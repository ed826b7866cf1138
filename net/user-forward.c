/* SPDX-License-Identifier: MIT
 * net/user-forward.c - ports of the host's that lead into a user-mode network, and addresses of it that lead
 * out.
 *
 * Models: QEMU's hostfwd= and guestfwd=; addresses of either family, IPv6 in brackets. A port that is taken
 * is told with who has it; port 0 is any free one. Threads: main loop.
 */
#include "user_internal.h"
#include "rhea/util/errorcode.h"
#include "rhea/util/text.h"
#include "rhea/util/who.h"

#include <arpa/inet.h>
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

typedef struct Place {
    union {
        struct sockaddr sa;
        struct sockaddr_in in;
        struct sockaddr_in6 in6;
    };
    bool any; /* no address was given */
} Place;

typedef struct UserForward {
    bool udp;
    Place host, guest;
} UserForward;

typedef struct GuestForward {
    UserNet *user;
    struct in_addr addr;
    int port;
    Chardev *chr; /* made for this */
    CharPort front;
    GByteArray *kept; /* the guest's bytes that it has no room for */
    size_t sent;      /* so many of them are gone */
} GuestForward;
enum { GUEST_KEPT = 256 << 10, IP4_HEAD = 20, TCP_HEAD = 20 };

/* ---- text ---- */

static unsigned place_port(const Place *p)
{
    return ntohs(p->sa.sa_family == AF_INET6 ? p->in6.sin6_port : p->in.sin_port);
}

static void place_set_port(Place *p, unsigned port)
{
    *(p->sa.sa_family == AF_INET6 ? &p->in6.sin6_port : &p->in.sin_port) = htons((uint16_t)port);
}

static socklen_t place_len(const Place *p)
{
    return p->sa.sa_family == AF_INET6 ? sizeof(p->in6) : sizeof(p->in);
}

static char *place_address(const Place *p)
{
    char text[INET6_ADDRSTRLEN];
    bool six = p->sa.sa_family == AF_INET6;
    inet_ntop(p->sa.sa_family, six ? (const void *)&p->in6.sin6_addr : &p->in.sin_addr, text, sizeof(text));
    return g_strdup(text);
}

/* [ADDR]:PORT; what follows it begins at the returned character, NULL: it is not that. */
static const char *parse_place(const char *text, char end, const char *what, Place *out, Error **errp)
{
    const char *close = *text == '[' ? strchr(text, ']') : NULL;
    const char *colon = strchr(close ? close : text, ':');
    const char *stop = colon ? end ? strchr(colon, end) : colon + strlen(colon) : NULL;
    uint64_t port;
    if (!stop) {
        error_fail(errp, "invalid-syntax", "hostfwd", "it looks like tcp::5555-:22",
                   "the %s's side is not [ADDR]:PORT", what);
        return NULL;
    }
    g_autofree char *addr =
        close ? g_strndup(text + 1, (gsize)(close - text - 1)) : g_strndup(text, (gsize)(colon - text));
    g_autofree char *number = g_strndup(colon + 1, (gsize)(stop - colon - 1));
    memset(out, 0, sizeof(*out));
    out->any = !*addr;
    if (inet_pton(AF_INET6, addr, &out->in6.sin6_addr) == 1) {
        out->sa.sa_family = AF_INET6;
    } else if (out->any || inet_pton(AF_INET, addr, &out->in.sin_addr) == 1) {
        out->sa.sa_family = AF_INET;
    } else {
        error_fail(errp, "invalid-value", "hostfwd", NULL, "'%s' is no address of the %s", addr, what);
        error_hint(errp, "a number such as 127.0.0.1, or [::1]; nothing for all");
        return NULL;
    }
    if (!text_to_u64(number, &port, NULL) || port > 65535) {
        error_fail(errp, "out-of-range", "hostfwd", "ports are 1 to 65535", "'%s' is no port of the %s",
                   number, what);
        return NULL;
    }
    place_set_port(out, (unsigned)port);
    return *stop ? stop + 1 : stop;
}

static const char *parse_protocol(const char *rule, bool *udp, Error **errp)
{
    *udp = g_str_has_prefix(rule, "udp:");
    const char *colon = strchr(rule, ':');
    if (*udp || g_str_has_prefix(rule, "tcp:") || rule[0] == ':') {
        return colon + 1;
    }
    error_fail(errp, "invalid-syntax", "hostfwd", NULL,
               "the rule begins with neither 'tcp:', 'udp:' nor ':'");
    error_hint(errp, "it looks like tcp::5555-:22, or udp:127.0.0.1:5353-10.0.2.15:53");
    return NULL;
}

/* ---- host to guest ---- */

static bool say_taken(const UserForward *f, int err, Error **errp)
{
    unsigned port = place_port(&f->host);
    const char *proto = f->udp ? "UDP" : "TCP";
    g_autofree char *who = err != EADDRINUSE ? NULL
                           : f->udp          ? who_has_udp(&f->host.sa)
                                             : who_listens_tcp(&f->host.sa);
    if (who) {
        error_fail(errp, "in-use", "hostfwd", NULL, "%s port %u is in use by %s", proto, port, who);
        error_hint(errp, "choose another port, or 0 for any that is free");
        return false;
    }
    g_autofree char *addr = place_address(&f->host);
    return error_set_errno(errp, err, "cannot listen on %s port %u of %s", proto, port, addr);
}

static bool same_host_side(const UserForward *a, const UserForward *b)
{
    g_autofree char *x = place_address(&a->host), *y = place_address(&b->host);
    return a->udp == b->udp && place_port(&a->host) == place_port(&b->host) && g_str_equal(x, y);
}

/* The library does not tell which port it got: one is looked for before. */
static bool choose_port(UserForward *f, Error **errp)
{
    int fd = socket(f->host.sa.sa_family, (f->udp ? SOCK_DGRAM : SOCK_STREAM) | SOCK_CLOEXEC, 0);
    Place bound = f->host;
    socklen_t len = sizeof(bound.in6);
    bool ok =
        fd >= 0 && bind(fd, &f->host.sa, place_len(&f->host)) == 0 && getsockname(fd, &bound.sa, &len) == 0;
    int err = errno;
    if (fd >= 0) {
        close(fd);
    }
    place_set_port(&f->host, place_port(&bound));
    return ok || say_taken(f, err, errp);
}

bool user_forward_add(UserNet *u, const char *rule, Error **errp)
{
    UserForward f = { 0 };
    const char *at = parse_protocol(rule, &f.udp, errp);
    at = at ? parse_place(at, '-', "host", &f.host, errp) : NULL;
    at = at ? parse_place(at, 0, "guest", &f.guest, errp) : NULL;
    if (!at) {
        return false;
    }
    if (!place_port(&f.guest)) {
        return error_fail(errp, "out-of-range", "hostfwd", "name the port that the guest listens on",
                          "port 0 of the guest leads nowhere");
    }
    if (f.guest.sa.sa_family == AF_INET6 && f.host.any) { /* all of the guest's family */
        f.host.in6 = (struct sockaddr_in6){ .sin6_family = AF_INET6, .sin6_port = f.host.in.sin_port };
    }
    if (!place_port(&f.host) && !choose_port(&f, errp)) {
        return false;
    }
    user_enter(u);
    errno = 0;
    int r = slirp_add_hostxfwd(u->slirp, &f.host.sa, place_len(&f.host), &f.guest.sa, place_len(&f.guest),
                               f.udp ? SLIRP_HOSTFWD_UDP : 0);
    int err = errno;
    user_leave(u);
    if (r < 0) {
        return say_taken(&f, err ? err : EINVAL, errp);
    }
    g_ptr_array_add(u->forwards, g_memdup2(&f, sizeof(f)));
    return true;
}

bool user_forward_remove(UserNet *u, const char *rule, Error **errp)
{
    UserForward f = { 0 };
    const char *at = parse_protocol(rule, &f.udp, errp);
    if (!at || !parse_place(at, 0, "host", &f.host, errp)) {
        return false;
    }
    for (guint i = 0; i < u->forwards->len; i++) {
        UserForward *o = u->forwards->pdata[i];
        if (!same_host_side(o, &f)) {
            continue;
        }
        user_enter(u);
        int r =
            slirp_remove_hostxfwd(u->slirp, &o->host.sa, place_len(&o->host), f.udp ? SLIRP_HOSTFWD_UDP : 0);
        user_leave(u);
        g_ptr_array_remove_index(u->forwards, i);
        g_free(o);
        return r == 0 || error_fail(errp, "not-found", NULL, NULL, "the port was not forwarded any more");
    }
    error_fail(errp, "not-found", NULL, NULL, "there is no forward from '%s'", rule);
    error_hint(errp, "info usernet lists them");
    return false;
}

void user_forwards_list(UserNet *u, const char *id, GArray *out)
{
    for (guint i = 0; i < u->forwards->len; i++) {
        const UserForward *f = u->forwards->pdata[i];
        HostfwdInfo h = { .id = g_strdup(id), .protocol = g_strdup(f->udp ? "udp" : "tcp") };
        h.host_addr = place_address(&f->host);
        h.host_port = place_port(&f->host);
        h.guest_addr = f->guest.any ? g_strdup("") : place_address(&f->guest);
        h.guest_port = place_port(&f->guest);
        g_array_append_val(out, h);
    }
}

/* ---- guest to host ---- */

static size_t guest_room(void *opaque)
{
    const GuestForward *g = opaque;
    return g->user->inside ? 0 : slirp_socket_can_recv(g->user->slirp, g->addr, g->port);
}

static void guest_receive(void *opaque, const uint8_t *buf, size_t len)
{
    GuestForward *g = opaque;
    user_enter(g->user);
    slirp_socket_recv(g->user->slirp, g->addr, g->port, buf, (int)len);
    user_leave(g->user);
}

static void guest_drain(void *opaque)
{
    GuestForward *g = opaque;
    size_t n;
    while (g->sent < g->kept->len &&
           (n = char_write(&g->front, g->kept->data + g->sent, g->kept->len - g->sent)) > 0) {
        g->sent += n;
    }
    if (g->sent >= g->kept->len / 2) { /* not each time: the rest moves */
        g_byte_array_remove_range(g->kept, 0, (guint)g->sent);
        g->sent = 0;
    }
    if (g->kept->len) {
        char_notify_writable(&g->front, guest_drain);
    }
}

/* The library acknowledges all of it, whatever is returned, and asks nobody whether there is room: what the
 * device does not take is kept, and with GUEST_KEPT bytes of it the guest's next frames are lost. */
static ssize_t guest_write(const void *buf, size_t len, void *opaque)
{
    GuestForward *g = opaque;
    bool idle = g->kept->len == 0;
    size_t n = idle ? char_write(&g->front, buf, len) : 0;
    if (n < len && char_is_open(&g->front)) {
        g_byte_array_append(g->kept, (const uint8_t *)buf + n, (guint)(len - n));
        if (idle) {
            char_notify_writable(&g->front, guest_drain);
        }
    }
    return (ssize_t)len;
}

static void guest_event(void *opaque, CharEvent event)
{
    GuestForward *g = opaque;
    if (event == CHAR_OPENED || event == CHAR_CLOSED) { /* what was for the one before is for nobody */
        g_byte_array_set_size(g->kept, 0);
        g->sent = 0;
    }
}

bool user_guestfwd_has_room(UserNet *u, const NetFrame *f)
{
    const uint8_t *ip = f->data + NET_ETH;
    if (!u->guests->len || f->len < NET_ETH + IP4_HEAD || memcmp(f->data + 12, "\x08\x00", 2) ||
        ip[9] != IPPROTO_TCP) {
        return true;
    }
    size_t head = (ip[0] & 15u) * 4, bytes = (size_t)(ip[2] << 8 | ip[3]);
    const uint8_t *tcp = ip + head;
    if (f->len < NET_ETH + head + TCP_HEAD || bytes <= head + (tcp[12] >> 4) * 4u) {
        return true; /* it acknowledges, or ends something */
    }
    for (guint i = 0; i < u->guests->len; i++) {
        const GuestForward *g = u->guests->pdata[i];
        if (g->port == (tcp[2] << 8 | tcp[3]) && !memcmp(&g->addr, ip + 16, sizeof(g->addr))) {
            return g->kept->len - g->sent < GUEST_KEPT;
        }
    }
    return true;
}

void user_guests_resumed(UserNet *u)
{
    for (guint i = 0; i < u->guests->len; i++) {
        char_accept_input(&((GuestForward *)u->guests->pdata[i])->front);
    }
}

static void guest_free(GuestForward *g)
{
    char_detach(&g->front);
    if (g->chr) {
        chardev_remove(g->user->client->machine, chardev_id(g->chr), NULL);
    }
    g_byte_array_unref(g->kept);
    g_free(g);
}

static bool guest_connect(GuestForward *g, const char *target, Error **errp)
{
    static const CharHandler handler = { .room = guest_room, .receive = guest_receive, .event = guest_event };
    Machine *m = g->user->client->machine;
    g_autofree char *id = g_strdup_printf("guestfwd.%s.%d", g->user->client->name, g->port);
    bool named = g_str_has_prefix(target, "chardev:");
    Error *err = NULL;
    Chardev *c = chardev_new_legacy(m, id, target, &err);
    if (!c) {
        return err ? error_propagate(errp, err)
                   : error_fail(errp, "invalid-value", "guestfwd",
                                "it leads to a chardev: chardev:ID, tcp:HOST:PORT, unix:PATH",
                                "'%s' leads nowhere", target);
    }
    g->chr = named ? NULL : c;
    if (!chardev_connect(c, &g->front, errp)) {
        return false;
    }
    g_autofree char *holder = g_strdup_printf("guestfwd of network '%s'", g->user->client->name);
    char_port_set_holder(&g->front, holder);
    char_attach(&g->front, &handler, g, NULL);
    return true;
}

bool user_guestfwd_add(UserNet *u, const char *rule, Error **errp)
{
    Place p;
    const char *at = g_str_has_prefix(rule, "tcp:") ? rule + 4 : rule[0] == ':' ? rule + 1 : rule;
    const char *target = parse_place(at, '-', "guest", &p, errp);
    if (!target) {
        return false;
    }
    if (p.sa.sa_family != AF_INET || p.any || !place_port(&p)) {
        return error_fail(errp, "invalid-syntax", "guestfwd", "it looks like tcp:10.0.2.100:80-chardev:ID",
                          "an IPv4 address and a port in the guest's network are needed");
    }
    bool command = g_str_has_prefix(target, "cmd:");
    if (command && !net_may_start(target + 4, errp)) { /* it is started later, for each connection */
        error_member_default(errp, "guestfwd");
        return false;
    }
    struct in_addr addr = p.in.sin_addr;
    int port = (int)place_port(&p), r;
    GuestForward *g = NULL;
    user_enter(u);
    if (command) {
        r = slirp_add_exec(u->slirp, target + 4, &addr, port);
    } else {
        g = g_new0(GuestForward, 1);
        *g = (GuestForward){ .user = u, .addr = addr, .port = port };
        r = slirp_add_guestfwd(u->slirp, guest_write, g, &addr, port);
        g->addr = addr;
    }
    user_leave(u);
    if (r < 0) {
        g_free(g);
        error_fail(errp, "in-use", "guestfwd", NULL, "the address is not free for this");
        error_hint(errp,
                   "one in the guest's network that is neither the host's, the name server's, nor forwarded");
        return false;
    }
    if (g) {
        g->kept = g_byte_array_new();
        g_ptr_array_add(u->guests, g);
        return guest_connect(g, target, errp);
    }
    return true;
}

void user_forwards_free(UserNet *u)
{
    for (guint i = 0; i < u->guests->len; i++) {
        guest_free(u->guests->pdata[i]);
    }
    for (guint i = 0; i < u->forwards->len; i++) {
        g_free(u->forwards->pdata[i]);
    }
    g_ptr_array_set_size(u->guests, 0);
    g_ptr_array_set_size(u->forwards, 0);
}
