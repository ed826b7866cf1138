/* SPDX-License-Identifier: MIT
 * net/switch.c - -netdev x-rhea-switch: guests of one user that name the same switch are on one network, and
 * nobody has to start or keep it.
 *
 * Models: a learning Ethernet switch (IEEE 802.1D without spanning tree): addresses are learnt with their
 * port and forgotten after 300 s; frames to one that is not known, and to groups, go to all ports. The first
 *         machine serves at a name in the abstract name space, which the kernel gives to one only and frees
 *         when that one ends; the others connect, and one of them takes it then. Frames as in frames.c.
 * Safety: the name has the user's number in it, and both ends ask the kernel who the other is: frames are
 *         exchanged with processes of the same user only. A port has a queue of bounded size, what does not
 * fit is dropped; a port's share of the table is bounded. Threads: main loop.
 */
#include "frames.h"
#include "rhea/util/errorcode.h"
#include "rhea/util/log.h"
#include "rhea/util/who.h"

#include <errno.h>
#include <string.h>
#include <sys/un.h>
#include <unistd.h>

enum { PORTS = 64, BUCKETS = 256, WAYS = 4, SHARE = 256, NAME_MAX_LEN = 64, BACKLOG = 128 };
enum { AGE_SECONDS = 300, FIRST_PAUSE_MS = 10, LONGEST_PAUSE_MS = 400 };
enum { LOCAL = 0 }; /* the port of this machine's card */
#define MS INT64_C(1000000)

typedef struct SwitchPort {
    struct Switch *sw;
    unsigned index;
    FrameLink link;
    NetQueue queue; /* what the socket did not take */
} SwitchPort;

typedef struct Station {
    uint8_t mac[NET_MAC];
    uint8_t port;
    bool used;
    int64_t seen; /* clock_host_monotonic */
} Station;

typedef struct Switch {
    NetClient *client;
    char *name;
    uid_t uid; /* whose switch it is */
    struct sockaddr_un sa;
    socklen_t sa_len;
    Timer retry;
    unsigned pause_ms;
    bool complained;
    FrameLink up;  /* to who serves */
    int listen_fd; /* -1: another one serves */
    FdWatch listen_watch;
    SwitchPort *ports[PORTS]; /* from 1 on; NULL: free */
    uint64_t dropped;
    uint32_t seed;
    unsigned share[PORTS]; /* of the table */
    Station stations[BUCKETS][WAYS];
} Switch;

static Switch *switch_of(const NetClient *c)
{
    return c->state;
}

static void complain(Switch *s, const char *what)
{
    if (!s->complained) {
        log_warn("network '%s': switch '%s': %s", s->client->name, s->name, what);
    }
    s->complained = true;
}

/* ---- addresses ---- */

/* The seed keeps guests from choosing addresses that meet in one bucket. */
static Station *bucket(Switch *s, const uint8_t *mac)
{
    uint32_t h = s->seed;
    for (unsigned i = 0; i < NET_MAC; i++) {
        h = (h ^ mac[i]) * 16777619u; /* FNV-1a */
    }
    return s->stations[(h ^ h >> 15) % BUCKETS];
}

static void forget(Switch *s, Station *e)
{
    if (e->used) {
        s->share[e->port]--;
        e->used = false;
    }
}

static void forget_port(Switch *s, unsigned port)
{
    for (Station *e = s->stations[0]; e < s->stations[0] + BUCKETS * WAYS; e++) {
        if (e->port == port) {
            forget(s, e);
        }
    }
}

/* NULL: not known. What is too old is forgotten on the way. */
static Station *find_station(Switch *s, const uint8_t *mac, int64_t now)
{
    Station *b = bucket(s, mac), *found = NULL;
    for (unsigned i = 0; i < WAYS; i++) {
        if (b[i].used && now - b[i].seen > AGE_SECONDS * 1000 * MS) {
            forget(s, &b[i]);
        }
        if (b[i].used && net_mac_is(b[i].mac, mac)) {
            found = &b[i];
        }
    }
    return found;
}

/* A full bucket, or a port that has its share, learns nothing new: such frames go to all. */
static void learn(Switch *s, const uint8_t *mac, unsigned port, int64_t now)
{
    Station *e = find_station(s, mac, now);
    if (e) {
        s->share[e->port]--; /* it may have moved */
    } else if (s->share[port] < SHARE) {
        Station *b = bucket(s, mac);
        for (unsigned i = 0; i < WAYS && !e; i++) {
            e = b[i].used ? NULL : &b[i];
        }
    }
    if (e) {
        *e = (Station){ .port = (uint8_t)port, .used = true, .seen = now };
        memcpy(e->mac, mac, NET_MAC);
        s->share[port]++;
    }
}

/* ---- ports ---- */

static void send_to(Switch *s, unsigned port, const uint8_t *data, size_t len)
{
    static const NetHdr plain;
    if (port == LOCAL) {
        net_client_send(s->client, &(NetFrame){ .data = data, .len = len });
        return;
    }
    SwitchPort *p = s->ports[port];
    if (!net_queue_empty(&p->queue) || !frame_link_send(&p->link, data, len)) {
        uint8_t *room = net_queue_reserve(&p->queue, len);
        if (!room) {
            s->dropped++;
            return;
        }
        memcpy(room, data, len);
        net_queue_commit(&p->queue, &plain, len);
    }
}

static void forward(Switch *s, unsigned from, const uint8_t *data, size_t len)
{
    const uint8_t *to = data, *source = data + NET_MAC;
    int64_t now = clock_now(&clock_host_monotonic);
    if (!(source[0] & 1)) {
        learn(s, source, from, now);
    }
    const Station *e = to[0] & 1 ? NULL : find_station(s, to, now);
    if (e) {
        if (e->port != from) {
            send_to(s, e->port, data, len);
        }
        return;
    }
    for (unsigned i = 0; i < PORTS; i++) {
        if (i != from && (i == LOCAL || s->ports[i])) {
            send_to(s, i, data, len);
        }
    }
}

static void port_frame(void *opaque, const uint8_t *data, size_t len)
{
    SwitchPort *p = opaque;
    forward(p->sw, p->index, data, len);
}

static void port_writable(void *opaque)
{
    SwitchPort *p = opaque;
    NetHdr hdr;
    size_t len;
    const uint8_t *data;
    while ((data = net_queue_peek(&p->queue, &hdr, &len)) && frame_link_send(&p->link, data, len)) {
        net_queue_drop(&p->queue);
    }
}

static void port_free(SwitchPort *p)
{
    forget_port(p->sw, p->index);
    p->sw->ports[p->index] = NULL;
    frame_link_close(&p->link);
    net_queue_fini(&p->queue);
    g_free(p);
}

static void port_gone(void *opaque, size_t nonsense)
{
    SwitchPort *p = opaque;
    if (nonsense != SIZE_MAX) {
        complain(p->sw, "a machine sends what is no frame; its connection is closed");
    }
    port_free(p);
}

/* ---- who serves ---- */

/* After -runas this process is somebody else's than when it began. */
static bool same_user(const Switch *s, int fd)
{
    struct ucred cred;
    socklen_t len = sizeof(cred);
    return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &len) == 0 &&
           (cred.uid == s->uid || cred.uid == geteuid());
}

static void listener_ready(void *opaque, unsigned revents)
{
    static const FrameLinkOps ops = { port_frame, NULL, port_writable, port_gone };
    Switch *s = opaque;
    int fd = accept4(s->listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    unsigned i = 1;
    while (i < PORTS && s->ports[i]) {
        i++;
    }
    if (fd < 0) {
        return;
    }
    if (i == PORTS || !same_user(s, fd)) {
        complain(s, i == PORTS ? "all ports are in use; a machine was turned away"
                               : "a process of another user was turned away");
        close(fd);
        return;
    }
    SwitchPort *p = g_new0(SwitchPort, 1);
    p->sw = s;
    p->index = i;
    frame_link_init(&p->link, &ops, p);
    if (!frame_link_open(&p->link, s->client->machine->loop, fd, NULL)) {
        g_free(p);
        return;
    }
    net_queue_init(&p->queue, NET_QUEUE_BYTES);
    s->ports[i] = p;
}

/* True: this one serves from now on. */
static bool try_to_serve(Switch *s, int *err)
{
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    s->listen_watch = (FdWatch){ .fd = fd, .events = LOOP_IN, .ready = listener_ready, .opaque = s };
    if (fd >= 0 && bind(fd, (struct sockaddr *)&s->sa, s->sa_len) == 0 && listen(fd, BACKLOG) == 0 &&
        fd_watch_add(s->client->machine->loop, &s->listen_watch, NULL)) {
        s->listen_fd = fd;
        s->seed = g_random_int();
        return true;
    }
    *err = errno;
    if (fd >= 0) {
        close(fd);
    }
    return false;
}

/* 0: connected. Nobody listens: no error is set. */
static int try_to_connect(Switch *s, Error **errp)
{
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    int err = fd < 0 || connect(fd, (struct sockaddr *)&s->sa, s->sa_len) < 0 ? errno : 0;
    if (!err && same_user(s, fd)) {
        return frame_link_open(&s->up, s->client->machine->loop, fd, errp) ? 0 : EMFILE;
    }
    if (!err) {
        g_autofree char *who = who_is_peer(fd);
        error_fail(errp, "in-use", "name", NULL, "the name of switch '%s' is held by %s of another user",
                   s->name, who);
        error_hint(errp, "choose another name");
        err = EACCES;
    } else if (err != ECONNREFUSED && err != EAGAIN) {
        error_set_errno(errp, err, "cannot connect to switch '%s'", s->name);
    }
    if (fd >= 0) {
        close(fd);
    }
    return err;
}

static void join_later(Switch *s)
{
    timer_arm(&s->retry, clock_now(&clock_host_monotonic) + s->pause_ms * MS);
    s->pause_ms = MIN(s->pause_ms * 2, LONGEST_PAUSE_MS);
}

/* Serves, connects, or tries again soon: the name may be in between two machines. False: it never will. */
static bool join(Switch *s, Error **errp)
{
    int err = 0;
    if (try_to_serve(s, &err)) {
        return true;
    }
    if (err != EADDRINUSE) {
        return error_set_errno(errp, err, "cannot make switch '%s'", s->name);
    }
    err = try_to_connect(s, errp);
    if (err == ECONNREFUSED || err == EAGAIN) {
        join_later(s);
        return true;
    }
    return !err;
}

static void retry_fired(void *opaque)
{
    Switch *s = opaque;
    Error *err = NULL;
    if (!join(s, &err)) {
        complain(s, error_text(err));
        error_free(err);
        join_later(s);
    }
}

/* ---- another one serves ---- */

static void up_frame(void *opaque, const uint8_t *data, size_t len)
{
    Switch *s = opaque;
    s->pause_ms = FIRST_PAUSE_MS;
    net_client_send(s->client, &(NetFrame){ .data = data, .len = len });
}

static bool up_may_read(void *opaque)
{
    Switch *s = opaque;
    return net_client_may_send(s->client);
}

static void up_writable(void *opaque)
{
    Switch *s = opaque;
    net_client_resume(s->client);
}

static void up_gone(void *opaque, size_t nonsense)
{
    Switch *s = opaque;
    if (nonsense != SIZE_MAX) {
        complain(s, "who serves it sends what is no frame");
    }
    join_later(s);
    net_client_resume(s->client);
}

/* ---- this machine's card ---- */

static bool switch_receive(NetClient *c, const NetFrame *f)
{
    Switch *s = switch_of(c);
    if (s->listen_fd < 0) {
        return frame_link_send(&s->up, f->data, f->len);
    }
    forward(s, LOCAL, f->data, f->len);
    return true;
}

static void switch_resumed(NetClient *c)
{
    frame_link_update(&switch_of(c)->up);
}

/* ---- life ---- */

static bool make_address(Switch *s, const char *name, Error **errp)
{
    for (const char *p = name; *p; p++) {
        if (!g_ascii_isalnum(*p) && !strchr("-._", *p)) {
            return error_fail(errp, "invalid-value", "name", "letters, digits, '-', '.' and '_' make a name",
                              "'name' does not take '%s'", name);
        }
    }
    if (!*name || strlen(name) > NAME_MAX_LEN) {
        return error_fail(errp, "invalid-value", "name", "choose another one",
                          "the name of a switch has 1 to %d characters", NAME_MAX_LEN);
    }
    s->sa.sun_family = AF_UNIX; /* a zero before the name: in no file system */
    int n = g_snprintf(s->sa.sun_path + 1, sizeof(s->sa.sun_path) - 1, "rhea-switch/%u/%s", (unsigned)s->uid,
                       name);
    s->sa_len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + (size_t)n);
    return true;
}

static bool switch_open(NetClient *c, const NetdevOptions *o, Error **errp)
{
    static const FrameLinkOps ops = { up_frame, up_may_read, up_writable, up_gone };
    Switch *s = switch_of(c);
    s->client = c;
    s->listen_fd = -1;
    s->pause_ms = FIRST_PAUSE_MS;
    s->uid = geteuid();
    s->name = g_strdup(o->u.x_rhea_switch.name);
    frame_link_init(&s->up, &ops, s);
    timer_init(&s->retry, c->machine->loop, &clock_host_monotonic, retry_fired, s);
    return make_address(s, s->name, errp) && join(s, errp);
}

static void switch_close(NetClient *c)
{
    Switch *s = switch_of(c);
    timer_cancel(&s->retry);
    frame_link_close(&s->up);
    if (s->listen_fd >= 0) {
        fd_watch_remove(&s->listen_watch);
        close(s->listen_fd); /* before the ports: who loses its port finds the name free */
    }
    for (unsigned i = 0; i < PORTS; i++) {
        if (s->ports[i]) {
            port_free(s->ports[i]);
        }
    }
    g_free(s->name);
}

static void switch_describe(const NetClient *c, GString *out)
{
    const Switch *s = switch_of(c);
    unsigned ports = 0;
    for (unsigned i = 1; i < PORTS; i++) {
        ports += s->ports[i] != NULL;
    }
    g_string_append_printf(out, "name=%s,", s->name);
    if (s->listen_fd >= 0) {
        g_string_append_printf(out, "serves %u others,%" G_GUINT64_FORMAT " frames dropped", ports,
                               s->dropped);
    } else {
        g_string_append(out, s->up.fd >= 0 ? "connected" : "looks for who serves");
    }
}

const NetKind net_switch_kind = {
    .name = "x-rhea-switch",
    .state_size = sizeof(Switch),
    .open = switch_open,
    .close = switch_close,
    .receive = switch_receive,
    .resumed = switch_resumed,
    .describe = switch_describe,
};
