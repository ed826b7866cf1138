/* SPDX-License-Identifier: MIT
 * net/passt.c - -netdev passt: user-mode networking by the program passt, which is started here, and again
 * when it ends.
 *
 * Models: passt(1): --fd is one end of a pair of sockets, over which frames go as those of stream; the
 * program puts itself into the background when it is ready. Options are those of QEMU 10.1 that Debian 12's
 *         passt (2023-03-09) has. Its complaints are in the error. That version may go on without a peer, so
 *         it is ended (daemon.c) with the back end, and with this process.
 * Threads: main loop, which waits while the program gets ready (some 30 ms).
 */
#include "daemon.h"
#include "rhea/util/errorcode.h"
#include "rhea/util/log.h"
#include "stream_internal.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#define SECOND INT64_C(1000000000)
enum { FIRST_PAUSE_MS = 100, LONGEST_PAUSE_MS = 30000, LIVED_SECONDS = 10 };

typedef struct Passt {
    Stream stream; /* first: stream.c's functions serve it */
    GPtrArray *argv;
    NetDaemon daemon;
    Timer again;
    int64_t started;   /* clock_host_monotonic */
    unsigned pause_ms; /* before the next attempt */
} Passt;

static Passt *passt_of(const NetClient *c)
{
    return c->state;
}

/* ---- the program ---- */

static bool start(Passt *p, Error **errp)
{
    int pair[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0) {
        return error_set_errno(errp, errno, "cannot make a pair of sockets");
    }
    g_autofree char *fd = g_strdup_printf("%d", pair[1]);
    bool ok = net_daemon_begin(&p->daemon, errp);
    if (ok) {
        p->argv->pdata[2] = fd;
        p->argv->pdata[4] = p->daemon.pid_file;
        ok = net_child_run((char *const *)p->argv->pdata, pair[1], errp) &&
             net_daemon_started(&p->daemon, errp);
        p->argv->pdata[2] = p->argv->pdata[4] = NULL;
    }
    close(pair[1]);
    if (!ok) {
        net_daemon_end(&p->daemon);
        error_member_default(errp, "path");
        error_hint_else(errp, "passt(1) says what it takes and what it needs");
        close(pair[0]);
        return false;
    }
    p->started = clock_now(&clock_host_monotonic);
    g_free(p->stream.name);
    p->stream.name = g_strdup_printf("%d", pair[0]);
    return net_stream_connected(&p->stream, pair[0], errp);
}

static void start_later(Passt *p)
{
    timer_arm(&p->again, clock_now(&clock_host_monotonic) + p->pause_ms * (SECOND / 1000));
    p->pause_ms = MIN(p->pause_ms * 2, LONGEST_PAUSE_MS);
}

static void start_again(void *opaque)
{
    Passt *p = opaque;
    g_autoptr(Error) err = NULL;
    if (start(p, &err)) {
        log_info("network '%s': '%s' runs again", p->stream.client->name, p->stream.where);
        return;
    }
    if (!p->stream.said) {
        log_warn("network '%s': %s; it is tried again", p->stream.client->name, error_text(err));
    }
    p->stream.said = true;
    start_later(p);
}

/* One that ends as soon as it runs is not started all the time. */
static void passt_gone(Stream *s)
{
    Passt *p = (Passt *)s;
    bool lived = clock_now(&clock_host_monotonic) - p->started > LIVED_SECONDS * SECOND;
    p->pause_ms = lived ? FIRST_PAUSE_MS : p->pause_ms;
    log_warn("network '%s': '%s' has ended; it is started again", s->client->name, s->where);
    net_daemon_end(&p->daemon);
    start_later(p);
}

/* ---- options ---- */

static void add(GPtrArray *argv, const char *option, const char *value)
{
    if (value) {
        g_ptr_array_add(argv, g_strdup(option));
        g_ptr_array_add(argv, g_strdup(value));
    }
}

static void add_if(GPtrArray *argv, bool wanted, const char *option)
{
    if (wanted) {
        g_ptr_array_add(argv, g_strdup(option));
    }
}

/* Two members of the schema for each switch: given, and on. */
#define OFF(o, name) ((o)->has_##name && !(o)->name)

static GPtrArray *arguments(const char *path, const NetdevPasstOptions *o)
{
    GPtrArray *a = g_ptr_array_new_with_free_func(g_free);
    g_autofree char *mtu = o->has_mtu ? g_strdup_printf("%" G_GUINT64_FORMAT, o->mtu) : NULL;
    g_ptr_array_add(a, g_strdup(path));
    g_ptr_array_add(a, g_strdup("--fd"));
    g_ptr_array_add(a, NULL); /* start() puts these here */
    g_ptr_array_add(a, g_strdup("--pid"));
    g_ptr_array_add(a, NULL);
    add_if(a, !OFF(o, quiet), "--quiet");
    add(a, "--mtu", mtu);
    add(a, "--address", o->address);
    add(a, "--netmask", o->netmask);
    add(a, "--mac-addr", o->mac);
    add(a, "--gateway", o->gateway);
    add(a, "--interface", o->interface);
    add(a, "--outbound", o->outbound);
    add(a, "--outbound-if4", o->outbound_if4);
    add(a, "--outbound-if6", o->outbound_if6);
    add(a, "--dns", o->dns);
    add(a, "--dns-forward", o->dns_forward);
    if (o->search.n) { /* one list, with blanks between */
        g_autoptr(GString) domains = g_string_new(o->search.items[0].str);
        for (size_t i = 1; i < o->search.n; i++) {
            g_string_append_printf(domains, " %s", o->search.items[i].str);
        }
        add(a, "--search", domains->str);
    }
    add_if(a, OFF(o, dhcp_dns), "--no-dhcp-dns");
    add_if(a, OFF(o, dhcp_search), "--no-dhcp-search");
    add_if(a, OFF(o, tcp), "--no-tcp");
    add_if(a, OFF(o, udp), "--no-udp");
    add_if(a, OFF(o, icmp), "--no-icmp");
    add_if(a, OFF(o, dhcp), "--no-dhcp");
    add_if(a, OFF(o, ndp), "--no-ndp");
    add_if(a, OFF(o, dhcpv6), "--no-dhcpv6");
    add_if(a, OFF(o, ra), "--no-ra");
    add_if(a, OFF(o, ipv4), "--ipv6-only");
    add_if(a, OFF(o, ipv6), "--ipv4-only");
    for (size_t i = 0; i < o->tcp_ports.n; i++) {
        add(a, "--tcp-ports", o->tcp_ports.items[i].str);
    }
    for (size_t i = 0; i < o->udp_ports.n; i++) {
        add(a, "--udp-ports", o->udp_ports.items[i].str);
    }
    for (size_t i = 0; i < o->param.n; i++) {
        g_ptr_array_add(a, g_strdup(o->param.items[i].str));
    }
    g_ptr_array_add(a, NULL);
    return a;
}

static char *find_program(const char *given, Error **errp)
{
    char *path = g_find_program_in_path(given ? given : "passt");
    if (!path) {
        error_fail(errp, "file-not-found", "path", NULL, "there is no program '%s'", given ? given : "passt");
        error_hint(errp, "install the package passt, name the program with path=, or use user");
    }
    return path;
}

static bool passt_open(NetClient *c, const NetdevOptions *opts, Error **errp)
{
    Passt *p = passt_of(c);
    const NetdevPasstOptions *o = &opts->u.passt;
    net_stream_init(&p->stream, c);
    net_daemon_init(&p->daemon);
    timer_init(&p->again, c->machine->loop, &clock_host_monotonic, start_again, p);
    p->stream.type = NET_SOCKET_TYPE_FD;
    p->pause_ms = FIRST_PAUSE_MS;
    if (net_programs_filtered()) {
        error_fail(errp, "not-supported", "type", NULL,
                   "passt is not supported below -sandbox, which would filter it, too");
        error_hint(errp, "start passt before, and use stream,addr.type=unix,addr.path=PATH");
        return false;
    }
    if (OFF(o, ipv4) && OFF(o, ipv6)) {
        return error_fail(errp, "conflict", "ipv6", "leave one of them on",
                          "'ipv4' and 'ipv6' are both off: nothing is left");
    }
    p->stream.where = find_program(o->path, errp);
    if (!p->stream.where) {
        return false;
    }
    p->argv = arguments(p->stream.where, o);
    p->stream.gone = passt_gone;
    return start(p, errp);
}

static void passt_close(NetClient *c)
{
    Passt *p = passt_of(c);
    timer_cancel(&p->again);
    net_stream_close(c);
    net_daemon_end(&p->daemon);
    if (p->argv) {
        g_ptr_array_free(p->argv, TRUE);
    }
}

const NetKind net_passt_kind = {
    .name = "passt",
    .state_size = sizeof(Passt),
    .open = passt_open,
    .close = passt_close,
    .receive = net_stream_receive,
    .resumed = net_stream_resumed,
    .describe = net_stream_describe,
};
