/* SPDX-License-Identifier: MIT
 * net/tap.c - -netdev tap and bridge: frames to and from an interface of the host's.
 *
 * Models: the kernel's tuntap interface (networking/tuntap): a frame a read or write, behind a
 *         struct virtio_net_hdr where the interface has such. Then the host takes unfinished frames and
 *         gives them; what a card does not take so, net/core.c finishes. Several queues: each pair of a card
 *         has its own; a card with one pair has its flows spread over them. Which one a frame comes from is
 *         the host's choice: of a flow that has been sent something, the one that this was sent by.
 * Threads: main loop.
 */
#include "tap_internal.h"
#include "rhea/util/log.h"

#include <errno.h>
#include <linux/if_tun.h>
#include <linux/virtio_net.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/uio.h>
#include <unistd.h>

typedef struct virtio_net_hdr VnetHdr;
enum { TURN_FRAMES = 256, FULL = NET_CAN_CSUM | NET_CAN_TSO4 | NET_CAN_TSO6 | NET_CAN_ECN | NET_CAN_UFO };
enum { OFFLOAD_USO = 0x60 }; /* TUN_F_USO4 and 6, of kernel 6.2 */

typedef struct TapQueue {
    struct Tap *tap;
    FdWatch watch;
    NetQueueInfo count;
} TapQueue;

typedef struct Tap {
    NetClient *client;
    TapPlan plan;
    TapQueue *queues; /* plan.n */
    uint8_t *in;
} Tap;

static Tap *tap_of(const NetClient *c)
{
    return c->state;
}

/* ---- headers ---- */

static bool from_vnet(const VnetHdr *v, NetHdr *h)
{
    unsigned gso = v->gso_type & ~VIRTIO_NET_HDR_GSO_ECN;
    *h = (NetHdr){ .needs_csum = v->flags & VIRTIO_NET_HDR_F_NEEDS_CSUM,
                   .csum_valid = v->flags & VIRTIO_NET_HDR_F_DATA_VALID,
                   .csum_start = v->csum_start,
                   .csum_offset = v->csum_offset };
    if (gso == VIRTIO_NET_HDR_GSO_NONE) {
        return true;
    }
    h->gso = (uint8_t)net_gso_from_virtio(gso);
    h->ecn = (v->gso_type & VIRTIO_NET_HDR_GSO_ECN) != 0;
    h->gso_size = v->gso_size;
    h->hdr_len = v->hdr_len;
    return h->gso != NET_GSO_NONE;
}

static VnetHdr to_vnet(const NetHdr *h, size_t len)
{
    VnetHdr v = { 0 };
    if (h->needs_csum) {
        v.flags = VIRTIO_NET_HDR_F_NEEDS_CSUM;
        v.csum_start = h->csum_start;
        v.csum_offset = h->csum_offset;
    }
    if (h->gso) {
        v.gso_type = net_gso_to_virtio(h->gso);
        v.gso_type |= h->ecn ? VIRTIO_NET_HDR_GSO_ECN : 0;
        v.gso_size = h->gso_size;
        v.hdr_len = (uint16_t)MIN(h->hdr_len, len);
    }
    return v;
}

/* ---- out ---- */

/* The card's own queue has decided; else addresses and ports do, so that a connection stays in order. */
static unsigned pick_queue(const Tap *t, const NetFrame *f)
{
    uint32_t hash = 0;
    size_t from = 0, n = 0;
    if (t->plan.n == 1) {
        return 0;
    }
    if (f->hdr.queue) {
        return (f->hdr.queue - 1u) % t->plan.n;
    }
    if (f->len >= 38 && f->data[12] == 0x08 && f->data[13] == 0) { /* IPv4 without options */
        from = 26;
        n = 12;
    } else if (f->len >= 58 && f->data[12] == 0x86 && f->data[13] == 0xdd) {
        from = 22;
        n = 36;
    }
    for (size_t i = 0; i < n; i++) {
        hash = (hash ^ f->data[from + i]) * 16777619u; /* FNV-1a */
    }
    return (hash >> 8) % t->plan.n;
}

static bool tap_receive(NetClient *c, const NetFrame *f)
{
    Tap *t = tap_of(c);
    TapQueue *q = &t->queues[pick_queue(t, f)];
    if (q->watch.events & LOOP_OUT) {
        return false;
    }
    VnetHdr v = to_vnet(&f->hdr, f->len);
    struct iovec iov[2] = { { &v, sizeof(v) }, { (void *)f->data, f->len } };
    ssize_t n;
    do {
        n = writev(q->watch.fd, t->plan.vnet ? iov : iov + 1, t->plan.vnet ? 2 : 1);
    } while (n < 0 && errno == EINTR);
    if (n < 0 && errno == EAGAIN) {
        fd_watch_set(&q->watch, q->watch.events | LOOP_OUT);
        return false;
    }
    if (n < 0) {
        net_client_count_drop(c); /* the interface is down, or takes no such frame */
        return true;
    }
    q->count.sent_frames++;
    q->count.sent_bytes += (int64_t)f->len;
    return true;
}

/* ---- in ---- */

static void watch_queues(Tap *t)
{
    unsigned in = net_client_may_send(t->client) ? LOOP_IN : 0;
    for (unsigned i = 0; i < t->plan.n; i++) {
        FdWatch *w = &t->queues[i].watch;
        fd_watch_set(w, (w->events & LOOP_OUT) | in);
    }
}

static void take_frame(Tap *t, TapQueue *q, size_t n)
{
    size_t head = t->plan.vnet ? sizeof(VnetHdr) : 0;
    NetFrame f = { .data = t->in + head, .len = n - MIN(head, n) };
    VnetHdr v;
    if (head && n >= head) {
        memcpy(&v, t->in, sizeof(v));
        if (!from_vnet(&v, &f.hdr)) {
            f.len = 0; /* nothing that was agreed on; it is counted */
        }
    }
    f.hdr.queue = t->plan.n > 1 ? (uint16_t)(q - t->queues + 1) : 0;
    q->count.got_frames++;
    q->count.got_bytes += (int64_t)f.len;
    net_client_send(t->client, &f);
}

/* Takes one frame. False: there is none, or the descriptor has failed and is no longer watched. */
static bool read_frame(TapQueue *q)
{
    Tap *t = q->tap;
    ssize_t n = read(q->watch.fd, t->in, sizeof(VnetHdr) + NET_FRAME_MAX);
    if (n < 0 && errno != EAGAIN && errno != EINTR) {
        log_warn("network '%s': interface '%s' has gone: %s", t->client->name, t->plan.ifname,
                 g_strerror(errno));
        fd_watch_remove(&q->watch); /* the kernel would tell so for ever */
    }
    if (n > 0) {
        take_frame(t, q, (size_t)n);
    }
    return n > 0;
}

static void queue_ready(void *opaque, unsigned revents)
{
    TapQueue *q = opaque;
    Tap *t = q->tap;
    if (revents & LOOP_OUT && q->watch.events & LOOP_OUT) {
        fd_watch_set(&q->watch, q->watch.events & ~(unsigned)LOOP_OUT);
        net_client_resume(t->client);
    }
    bool only_error = !(revents & (LOOP_IN | LOOP_OUT)); /* which reading tells */
    for (unsigned i = 0; i < TURN_FRAMES && (only_error || net_client_may_send(t->client)); i++) {
        if (!read_frame(q)) {
            return;
        }
    }
    watch_queues(t);
}

static void tap_resumed(NetClient *c)
{
    watch_queues(tap_of(c));
}

/* ---- life ---- */

/* What is left unfinished on either side: everything that net/core.c can finish for others. */
static bool agree(Tap *t, uint64_t sndbuf, bool named, Error **errp)
{
    int size = sizeof(VnetHdr), limit = sndbuf && sndbuf < INT_MAX ? (int)sndbuf : INT_MAX;
    unsigned offload = TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6 | TUN_F_TSO_ECN | TUN_F_UFO;
    unsigned can = FULL | NET_CAN_USO;
    for (unsigned i = 0; i < t->plan.n; i++) {
        int fd = t->plan.fds[i];
        if (ioctl(fd, TUNSETSNDBUF, &limit) < 0 && named) {
            return error_set_errno(errp, errno, "'sndbuf' does not take %" G_GUINT64_FORMAT, sndbuf);
        }
        if (!t->plan.vnet) {
            continue;
        }
        if (ioctl(fd, TUNSETVNETHDRSZ, &size) < 0) {
            return error_set_errno(errp, errno, "interface '%s' takes no header of %d bytes", t->plan.ifname,
                                   size);
        }
        if (ioctl(fd, TUNSETOFFLOAD, offload | OFFLOAD_USO) < 0) {
            can = FULL;
            if (ioctl(fd, TUNSETOFFLOAD, offload) < 0) {
                ioctl(fd, TUNSETOFFLOAD, 0); /* the host finishes its own frames then */
            }
        }
    }
    t->client->can = t->plan.vnet ? can : 0;
    t->client->n_queues = t->plan.n;
    return true;
}

static bool tap_start(NetClient *c, Error **errp)
{
    Tap *t = tap_of(c);
    t->in = g_malloc(sizeof(VnetHdr) + NET_FRAME_MAX);
    t->queues = g_new0(TapQueue, t->plan.n);
    for (unsigned i = 0; i < t->plan.n; i++) {
        t->queues[i].tap = t;
        t->queues[i].watch = (FdWatch){
            .fd = t->plan.fds[i], .events = LOOP_IN, .ready = queue_ready, .opaque = &t->queues[i]
        };
        if (!fd_watch_add(c->machine->loop, &t->queues[i].watch, errp)) {
            return false;
        }
    }
    return true;
}

static bool tap_open(NetClient *c, const NetdevOptions *o, Error **errp)
{
    Tap *t = tap_of(c);
    const NetdevTapOptions *opts = &o->u.tap;
    t->client = c;
    return tap_plan(&t->plan, c->machine, opts, errp) && agree(t, opts->sndbuf, opts->has_sndbuf, errp) &&
           tap_start(c, errp);
}

static bool bridge_open(NetClient *c, const NetdevOptions *o, Error **errp)
{
    Tap *t = tap_of(c);
    t->client = c;
    return tap_plan_bridge(&t->plan, &o->u.bridge, errp) && agree(t, 0, false, errp) && tap_start(c, errp);
}

static void tap_close(NetClient *c)
{
    Tap *t = tap_of(c);
    g_autoptr(Error) err = NULL;
    if (t->plan.downscript && !tap_run_script(t->plan.downscript, t->plan.ifname, &err)) {
        log_warn("network '%s': %s", c->name, error_text(err));
    }
    for (unsigned i = 0; i < t->plan.n; i++) {
        if (t->queues) {
            fd_watch_remove(&t->queues[i].watch);
        }
        close(t->plan.fds[i]);
    }
    g_free(t->plan.downscript);
    g_free(t->queues);
    g_free(t->in);
}

static void tap_describe(const NetClient *c, GString *out)
{
    const Tap *t = tap_of(c);
    g_string_append_printf(out, "ifname=%s,vnet_hdr=%s", t->plan.ifname, t->plan.vnet ? "on" : "off");
    if (t->plan.n > 1) {
        g_string_append_printf(out, ",queues=%u", t->plan.n);
    }
}

static void tap_queues(const NetClient *c, GArray *out)
{
    const Tap *t = tap_of(c);
    for (unsigned i = 0; i < t->plan.n; i++) {
        g_array_append_val(out, t->queues[i].count);
    }
}

#define TAP_KIND(kind_name, opener)                                                                     \
    {                                                                                                   \
        .name = (kind_name), .state_size = sizeof(Tap), .open = (opener), .close = tap_close,           \
        .receive = tap_receive, .resumed = tap_resumed, .describe = tap_describe, .queues = tap_queues, \
    }
const NetKind net_tap_kind = TAP_KIND("tap", tap_open);
const NetKind net_bridge_kind = TAP_KIND("bridge", bridge_open);
