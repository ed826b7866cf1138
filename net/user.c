/* SPDX-License-Identifier: MIT
 * net/user.c - -netdev user: a network of the guest's own, whose connections are sockets of this process.
 *
 * Models: what libslirp does: an Ethernet with a router, DHCP, DNS, TFTP and, by a program, SMB; TCP, UDP and
 * ICMP echo end at it and begin again at the host's sockets. It takes unsegmented TCP frames (IPv4), and
 * sends finished ones.
 * Does not model: urgent data out of band (it comes in line).
 * Threads: main loop. The library cannot be entered again from its own calls: a frame that comes meanwhile
 * waits in the queue. Its descriptors are watched by the loop; what it wants of them is asked for after each
 * burst of calls, not in each turn. Its time is the machine's: it stands with the guest.
 */
#include "user_internal.h"
#include "rhea/util/errorcode.h"
#include "rhea/util/log.h"

#include <malloc.h>
#include <string.h>

enum { NO_TIMEOUT = 1000 }; /* what the library answers when it waits for nothing */
/* A connection has some 20 KiB of buffers until late segments of it cannot come any more. The memory of so
 * many is worth giving back to the host, so long after they were closed. */
enum { TRIM_CLOSED = 256, TRIM_MS = 30000 };

typedef struct UserFd {
    UserNet *user;
    FdWatch watch;
    unsigned revents; /* LOOP_* since the library last looked */
    unsigned round;   /* when the library last wanted it */
} UserFd;

typedef struct UserTimer {
    UserNet *user;
    Timer timer;
    SlirpTimerId id;
    void *opaque;
} UserTimer;

static UserNet *user_of(const NetClient *c)
{
    return c->state;
}

/* ---- entering the library ---- */

void user_enter(UserNet *u)
{
    g_assert(!u->inside);
    u->inside = true;
}

void user_leave(UserNet *u)
{
    u->inside = false;
    loop_post(u->client->machine->loop, &u->update);
}

/* ---- frames ---- */

static bool user_receive(NetClient *c, const NetFrame *f)
{
    UserNet *u = user_of(c);
    if (u->inside) {
        return false; /* user_update() resumes */
    }
    NetFrame given = *f;
    if (!user_guard(u, &given) || !user_guestfwd_has_room(u, &given) || !user_flow_allowed(u, &given)) {
        return true;
    }
    user_enter(u);
    slirp_input(u->slirp, given.data, (int)given.len);
    user_leave(u);
    return true;
}

static ssize_t cb_send_packet(const void *buf, size_t len, void *opaque)
{
    UserNet *u = opaque;
    NetFrame f = { .hdr.csum_valid = true, .data = buf, .len = len };
    net_client_send(u->client, &f);
    return (ssize_t)len; /* what finds no room is lost, as on a wire */
}

static void cb_guest_error(const char *msg, void *opaque)
{
    const UserNet *u = opaque;
    if (log_on(LOG_GUEST_ERRORS)) {
        log_printf("network '%s': %s\n", u->client->name, msg);
    }
}

/* ---- time ---- */

static int64_t cb_clock_get_ns(void *opaque)
{
    const UserNet *u = opaque;
    return clock_now(u->client->machine->clock);
}

static void timer_fired(void *opaque)
{
    UserTimer *t = opaque;
    user_enter(t->user);
    slirp_handle_timer(t->user->slirp, t->id, t->opaque);
    user_leave(t->user);
}

static void *cb_timer_new(SlirpTimerId id, void *cb_opaque, void *opaque)
{
    UserNet *u = opaque;
    UserTimer *t = g_new0(UserTimer, 1);
    *t = (UserTimer){ .user = u, .id = id, .opaque = cb_opaque };
    timer_init(&t->timer, u->client->machine->loop, u->client->machine->clock, timer_fired, t);
    g_ptr_array_add(u->timers, t);
    return t;
}

static void cb_timer_free(void *timer, void *opaque)
{
    UserNet *u = opaque;
    UserTimer *t = timer;
    timer_cancel(&t->timer);
    g_ptr_array_remove(u->timers, t);
    g_free(t);
}

static void cb_timer_mod(void *timer, int64_t expire_ms, void *opaque)
{
    timer_arm(&((UserTimer *)timer)->timer, expire_ms * 1000000);
}

static void poll_timer_fired(void *opaque)
{
    UserNet *u = opaque;
    u->due = true;
    loop_post(u->client->machine->loop, &u->update);
}

/* ---- descriptors ---- */

static void fd_ready(void *opaque, unsigned revents)
{
    UserFd *f = opaque;
    f->revents |= revents;
    loop_post(f->user->client->machine->loop, &f->user->update);
}

static void fd_free(void *opaque)
{
    UserFd *f = opaque;
    fd_watch_remove(&f->watch);
    for (guint i = 0; i < f->user->polled->len; i++) {
        if (f->user->polled->pdata[i] == f) {
            f->user->polled->pdata[i] = NULL;
        }
    }
    g_free(f);
}

static void cb_register_poll_fd(int fd, void *opaque)
{
    UserNet *u = opaque;
    g_hash_table_remove(u->fds, GINT_TO_POINTER(fd)); /* of a descriptor closed unseen */
    u->fresh++;
}

/* The C library keeps what was freed below something that is still there: without this a guest that made
 * thousands of connections once would cost their buffers for ever. */
static void trim_fired(void *opaque)
{
    UserNet *u = opaque;
    u->closed = 0;
    malloc_trim(0);
}

static void cb_unregister_poll_fd(int fd, void *opaque)
{
    UserNet *u = opaque;
    g_hash_table_remove(u->fds, GINT_TO_POINTER(fd));
    if (++u->closed == TRIM_CLOSED) {
        timer_arm(&u->trim_timer, clock_now(&clock_host_monotonic) + TRIM_MS * INT64_C(1000000));
    }
}

static int cb_add_poll(int fd, int events, void *opaque)
{
    UserNet *u = opaque;
    UserFd *f = g_hash_table_lookup(u->fds, GINT_TO_POINTER(fd));
    unsigned want = (events & SLIRP_POLL_IN ? LOOP_IN : 0) | (events & SLIRP_POLL_OUT ? LOOP_OUT : 0);
    if (!f) {
        g_autoptr(Error) err = NULL;
        f = g_new0(UserFd, 1);
        f->user = u;
        f->watch = (FdWatch){ .fd = fd, .events = want, .ready = fd_ready, .opaque = f };
        if (!fd_watch_add(u->client->machine->loop, &f->watch, &err)) {
            log_warn("network '%s': %s", u->client->name, error_text(err));
        }
        g_hash_table_insert(u->fds, GINT_TO_POINTER(fd), f);
    } else {
        fd_watch_set(&f->watch, want);
    }
    f->round = u->round;
    g_ptr_array_add(u->polled, f);
    return (int)u->polled->len - 1;
}

static int cb_get_revents(int idx, void *opaque)
{
    const UserNet *u = opaque;
    const UserFd *f = idx >= 0 && (guint)idx < u->polled->len ? u->polled->pdata[idx] : NULL;
    if (!f) {
        return 0;
    }
    /* A peer that has closed both ways is told as such only to a reader, since the library reads at once,
     * and with no room for anything it takes nothing for the end. Never as an error: then it writes, and
     * with nothing to write it takes that for the end, while the last bytes are still in the socket. */
    bool reads = f->watch.events & LOOP_IN, writes = f->watch.events & LOOP_OUT;
    bool hup = f->revents & LOOP_HUP;
    return (f->revents & LOOP_IN ? SLIRP_POLL_IN : 0) |
           (f->revents & LOOP_OUT || (hup && writes) ? SLIRP_POLL_OUT : 0) |
           (hup && reads ? SLIRP_POLL_HUP : 0);
}

static bool take_ready(UserNet *u)
{
    bool any = u->due;
    for (guint i = 0; !any && i < u->polled->len; i++) {
        const UserFd *f = u->polled->pdata[i];
        any = f && f->revents;
    }
    return any;
}

/* What has become ready is handed over; then the library says what it waits for from now on. */
static void user_update(void *opaque)
{
    UserNet *u = opaque;
    Machine *m = u->client->machine;
    GHashTableIter it;
    gpointer value;
    uint32_t timeout = UINT32_MAX;
    u->inside = true;
    if (take_ready(u)) {
        u->due = false;
        slirp_pollfds_poll(u->slirp, 0, cb_get_revents, u);
    }
    u->round++;
    g_ptr_array_set_size(u->polled, 0);
    slirp_pollfds_fill(u->slirp, &timeout, cb_add_poll, u);
    u->fresh = 0;
    u->inside = false;
    g_hash_table_iter_init(&it, u->fds);
    while (g_hash_table_iter_next(&it, NULL, &value)) {
        UserFd *f = value;
        f->revents = 0;
        if (f->round != u->round) {
            fd_watch_set(&f->watch, 0);
        }
    }
    if (timeout < NO_TIMEOUT) {
        timer_arm(&u->poll_timer, clock_now(m->clock) + (int64_t)timeout * 1000000);
    } else {
        timer_cancel(&u->poll_timer);
    }
    user_guests_resumed(u);
    if (!net_queue_empty(&u->client->rx)) {
        net_client_resume(u->client);
    }
}

static void cb_notify(void *opaque)
{
    UserNet *u = opaque;
    loop_post(u->client->machine->loop, &u->update);
}

static const SlirpCb callbacks = {
    .send_packet = cb_send_packet,
    .guest_error = cb_guest_error,
    .clock_get_ns = cb_clock_get_ns,
    .timer_free = cb_timer_free,
    .timer_mod = cb_timer_mod,
    .register_poll_fd = cb_register_poll_fd,
    .unregister_poll_fd = cb_unregister_poll_fd,
    .notify = cb_notify,
    .timer_new_opaque = cb_timer_new,
};

/* ---- life ---- */

static bool add_rules(UserNet *u, const NetdevUserOptions *o, Error **errp)
{
    for (size_t i = 0; i < o->hostfwd.n; i++) {
        if (!user_forward_add(u, o->hostfwd.items[i].str, errp)) {
            error_prefix(errp, "hostfwd=%s", o->hostfwd.items[i].str);
            return false;
        }
    }
    for (size_t i = 0; i < o->guestfwd.n; i++) {
        if (!user_guestfwd_add(u, o->guestfwd.items[i].str, errp)) {
            error_prefix(errp, "guestfwd=%s", o->guestfwd.items[i].str);
            return false;
        }
    }
    return true;
}

static bool user_open(NetClient *c, const NetdevOptions *o, Error **errp)
{
    UserNet *u = user_of(c);
    Machine *m = c->machine;
    UserConfig cfg;
    u->client = c;
    u->fds = g_hash_table_new_full(NULL, NULL, NULL, fd_free);
    u->polled = g_ptr_array_new();
    u->flows = user_flows_new();
    u->timers = g_ptr_array_new();
    u->forwards = g_ptr_array_new();
    u->guests = g_ptr_array_new();
    u->update = (Task){ .run = user_update, .opaque = u };
    timer_init(&u->poll_timer, m->loop, m->clock, poll_timer_fired, u);
    timer_init(&u->trim_timer, m->loop, &clock_host_monotonic, trim_fired, u);
    if (!user_config(&o->u.user, &cfg, errp)) {
        return false;
    }
    u->network = g_steal_pointer(&cfg.network);
    u->restricted = cfg.c.restricted;
    u->host6 = cfg.c.vhost6;
    u->dns6 = cfg.c.vnameserver6;
    u->inside = true;
    u->slirp = slirp_new(&cfg.c, &callbacks, u);
    u->inside = false;
    user_config_clear(&cfg);
    if (!u->slirp) {
        return error_fail(errp, "not-supported", NULL, "use fewer of them, or another libslirp",
                          "libslirp %s does not take these options", slirp_version_string());
    }
    loop_post(m->loop, &u->update);
    return (!o->u.user.smb || user_smb_add(u, o->u.user.smb, cfg.smb, errp)) &&
           add_rules(u, &o->u.user, errp);
}

static void user_close(NetClient *c)
{
    UserNet *u = user_of(c);
    user_forwards_free(u);
    if (u->slirp) {
        u->inside = true;
        slirp_cleanup(u->slirp);
        u->slirp = NULL;
    }
    user_smb_free(u->smb);
    timer_cancel(&u->poll_timer);
    timer_cancel(&u->trim_timer);
    loop_unpost(c->machine->loop, &u->update);
    g_hash_table_destroy(u->fds);
    g_ptr_array_free(u->polled, TRUE);
    while (u->timers->len) { /* the library frees its own */
        cb_timer_free(u->timers->pdata[0], u);
    }
    g_ptr_array_free(u->timers, TRUE);
    g_ptr_array_free(u->forwards, TRUE);
    g_ptr_array_free(u->guests, TRUE);
    user_guard_free(u);
    g_free(u->flows);
    g_free(u->network);
}

static void user_describe(const NetClient *c, GString *out)
{
    const UserNet *u = user_of(c);
    g_string_append_printf(out, "net=%s,restrict=%s", u->network, u->restricted ? "on" : "off");
}

const NetKind net_user_kind = {
    .name = "user",
    .state_size = sizeof(UserNet),
    /* A long frame is one long packet to it; but it refuses those of IPv6 that are longer than its link's. */
    .can = NET_CAN_TSO4 | NET_CAN_ECN,
    .open = user_open,
    .close = user_close,
    .receive = user_receive,
    .describe = user_describe,
};

/* ---- for users ---- */

bool user_hostfwd_add(NetClient *c, const char *rule, Error **errp)
{
    return user_forward_add(user_of(c), rule, errp);
}

bool user_hostfwd_remove(NetClient *c, const char *rule, Error **errp)
{
    return user_forward_remove(user_of(c), rule, errp);
}

void user_hostfwd_list(NetClient *c, GArray *out)
{
    user_forwards_list(user_of(c), c->name, out);
}

void user_print(NetClient *c, GString *out)
{
    UserNet *u = user_of(c);
    char *text = slirp_connection_info(u->slirp);
    int hub = c->peer && c->peer->kind == &net_hubport_kind ? net_hub_id(c->peer) : -1;
    g_string_append_printf(out, "Hub %d (%s):\n", hub, c->name); /* -1: none */
    g_string_append(out, text);
    g_free(text);
}
