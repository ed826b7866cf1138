/* SPDX-License-Identifier: MIT
 * net/vde.c - -netdev vde: a port of a VDE switch, or whatever else libvdeplug connects to.
 *
 * Models: vde_plug(1), libvdeplug's documented calls: a descriptor of frames, each in one datagram, and one
 *         that tells by its end that the switch has gone; then it is looked for again every second.
 * Threads: main loop, which waits while the switch answers a new connection.
 */
#include "net_internal.h"
#include "rhea/util/errorcode.h"
#include "rhea/util/log.h"

#include <errno.h>
#include <fcntl.h>
#include <libvdeplug.h>

enum { TURN_FRAMES = 256, RETRY_SECONDS = 1 };

typedef struct Vde {
    NetClient *client;
    VDECONN *conn;         /* NULL: the switch has gone */
    FdWatch data, control; /* control.fd -1: the connection has none */
    Timer retry;
    char *where, *group;
    int port;
    mode_t mode;
    uint8_t in[NET_FRAME_MAX];
} Vde;

static Vde *vde_of(const NetClient *c)
{
    return c->state;
}

static void disconnect(Vde *v)
{
    if (v->conn) {
        fd_watch_remove(&v->data);
        if (v->control.fd >= 0) {
            fd_watch_remove(&v->control);
        }
        vde_close(v->conn);
        v->conn = NULL;
    }
}

static void retry_later(Vde *v)
{
    timer_arm(&v->retry, clock_now(&clock_host_monotonic) + RETRY_SECONDS * INT64_C(1000000000));
}

static void gone(Vde *v)
{
    log_warn("network '%s': the switch at '%s' has gone; it is looked for every second", v->client->name,
             v->where);
    disconnect(v);
    retry_later(v);
    net_client_resume(v->client); /* what waits leads nowhere now */
}

/* ---- frames ---- */

static bool vde_receive(NetClient *c, const NetFrame *f)
{
    Vde *v = vde_of(c);
    if (!v->conn) {
        return true;
    }
    if (v->data.events & LOOP_OUT) {
        return false;
    }
    ssize_t n;
    do {
        n = vde_send(v->conn, f->data, f->len, MSG_DONTWAIT);
    } while (n < 0 && errno == EINTR);
    if (n < 0 && errno == EAGAIN) {
        fd_watch_set(&v->data, v->data.events | LOOP_OUT);
        return false;
    }
    if (n < 0) {
        net_client_count_drop(
            c); /* longer than the switch takes; or the end of the control connection tells */
    }
    return true;
}

static void watch_data(Vde *v)
{
    fd_watch_set(&v->data, (v->data.events & LOOP_OUT) | (net_client_may_send(v->client) ? LOOP_IN : 0));
}

static void data_ready(void *opaque, unsigned revents)
{
    Vde *v = opaque;
    if (revents & LOOP_OUT && v->data.events & LOOP_OUT) {
        fd_watch_set(&v->data, v->data.events & ~(unsigned)LOOP_OUT);
        net_client_resume(v->client);
    }
    for (unsigned i = 0; i < TURN_FRAMES && net_client_may_send(v->client); i++) {
        ssize_t n = vde_recv(v->conn, v->in, sizeof(v->in), MSG_DONTWAIT);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n < 0 && errno != EAGAIN) {
            gone(v);
            return;
        }
        if (n <= 0) {
            break; /* nothing more; or an empty datagram, which is no frame */
        }
        net_client_send(v->client, &(NetFrame){ .data = v->in, .len = (size_t)n });
    }
    watch_data(v);
}

static void vde_resumed(NetClient *c)
{
    Vde *v = vde_of(c);
    if (v->conn) {
        watch_data(v);
    }
}

/* Silent while the switch is there. */
static void control_ready(void *opaque, unsigned revents)
{
    Vde *v = opaque;
    char byte[64];
    ssize_t n = recv(v->control.fd, byte, sizeof(byte), MSG_DONTWAIT);
    if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR)) {
        gone(v);
    }
}

/* ---- life ---- */

static bool connect_switch(Vde *v, Error **errp)
{
    struct vde_open_args args = { .port = v->port, .group = v->group, .mode = v->mode };
    char descr[] = "rhea";
    errno = 0;
    v->conn = vde_open(v->where, descr, &args);
    if (!v->conn) {
        error_set_errno(errp, errno ? errno : ENOENT, "cannot connect to VDE switch '%s'",
                        *v->where ? v->where : "(default)");
        error_hint(errp, "start vde_switch -s PATH and give sock=PATH");
        return false;
    }
    int fd = vde_datafd(v->conn);
    v->data = (FdWatch){ .fd = fd, .events = LOOP_IN, .ready = data_ready, .opaque = v };
    v->control =
        (FdWatch){ .fd = vde_ctlfd(v->conn), .events = LOOP_IN, .ready = control_ready, .opaque = v };
    fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
    fcntl(fd, F_SETFD, FD_CLOEXEC);
    if (v->control.fd == fd) {
        v->control.fd = -1;
    }
    if (v->control.fd >= 0) {
        fcntl(v->control.fd, F_SETFD, FD_CLOEXEC);
    }
    Loop *loop = v->client->machine->loop;
    if (!fd_watch_add(loop, &v->data, errp) ||
        (v->control.fd >= 0 && !fd_watch_add(loop, &v->control, errp))) {
        disconnect(v);
        return false;
    }
    return true;
}

static void retry_fired(void *opaque)
{
    Vde *v = opaque;
    if (!connect_switch(v, NULL)) {
        retry_later(v);
        return;
    }
    log_info("network '%s': the switch at '%s' is there again", v->client->name, v->where);
    watch_data(v);
}

static bool vde_open_client(NetClient *c, const NetdevOptions *opts, Error **errp)
{
    Vde *v = vde_of(c);
    const NetdevVdeOptions *o = &opts->u.vde;
    v->client = c;
    v->where = g_strdup(o->sock ? o->sock : "");
    v->group = g_strdup(o->group);
    v->port = o->has_port ? (int)o->port : 0;
    v->mode = o->has_mode ? (mode_t)o->mode : 0700;
    timer_init(&v->retry, c->machine->loop, &clock_host_monotonic, retry_fired, v);
    return connect_switch(v, errp);
}

static void vde_close_client(NetClient *c)
{
    Vde *v = vde_of(c);
    timer_cancel(&v->retry);
    disconnect(v);
    g_free(v->where);
    g_free(v->group);
}

static void vde_describe(const NetClient *c, GString *out)
{
    const Vde *v = vde_of(c);
    g_string_append_printf(out, "sock=%s,%s", *v->where ? v->where : "default",
                           v->conn ? "connected" : "nobody there");
}

const NetKind net_vde_kind = {
    .name = "vde",
    .state_size = sizeof(Vde),
    .open = vde_open_client,
    .close = vde_close_client,
    .receive = vde_receive,
    .resumed = vde_resumed,
    .describe = vde_describe,
};
