/* SPDX-License-Identifier: MIT
 * net/core.c - clients, their cables and queues: how a frame gets from one end to the other.
 *
 * Models: a cable between two ends, each of which can be pulled out; what a sender left unfinished (checksum,
 *         segmentation) is finished here for a receiver that does not take it so.
 * Threads: the main loop's. A card puts frames into its peer's queue from its domain (nic.c); a task of the
 *          main loop hands them over, a bounded number of bytes in a turn.
 */
#include "net/trace.h"
#include "net_internal.h"
#include "rhea/util/errorcode.h"

#include <string.h>

/* ---- handing over ---- */

void net_client_count_drop(NetClient *to)
{
    trace_net_frame_dropped(to->name);
    __atomic_add_fetch(&to->count.dropped, 1, __ATOMIC_RELAXED);
}

static bool give(NetClient *to, const NetFrame *f)
{
    const char *from = to->peer ? to->peer->name : NULL;
    if (!to->kind->receive(to, f)) {
        trace_net_frame_waits(from, to->name, f->len);
        return false;
    }
    trace_net_frame(from, to->name, f->len);
    to->count.frames++;
    to->count.bytes += f->len;
    return true;
}

static unsigned wants(const NetHdr *h)
{
    static const uint8_t can[] = { [NET_GSO_TCP4] = NET_CAN_TSO4,
                                   [NET_GSO_TCP6] = NET_CAN_TSO6,
                                   [NET_GSO_UDP] = NET_CAN_UFO,
                                   [NET_GSO_UDP_L4] = NET_CAN_USO };
    return can[h->gso] | (h->gso && h->ecn ? NET_CAN_ECN : 0u);
}

/* Segment by segment; where the receiver stops is kept in to->segment, for the next attempt. */
static bool give_segments(NetClient *to, const NetFrame *f)
{
    uint8_t *scratch = to->machine->net->scratch;
    unsigned n = net_segments(f);
    while (to->segment < n) {
        NetFrame one = { .data = scratch, .len = net_segment(f, to->segment, scratch) };
        one.hdr.queue = f->hdr.queue;
        if (!give(to, &one)) {
            return false;
        }
        to->segment++;
    }
    to->segment = 0;
    return true;
}

/* mutable: the checksum can be put where the frame is. */
static bool deliver(NetClient *to, const NetFrame *f, uint8_t *mutable)
{
    unsigned can = __atomic_load_n(&to->can, __ATOMIC_RELAXED);
    if (f->hdr.gso && (wants(&f->hdr) & ~can)) {
        return give_segments(to, f);
    }
    if (!f->hdr.needs_csum || (can & NET_CAN_CSUM)) {
        return give(to, f);
    }
    NetFrame done = *f;
    if (!mutable) {
        mutable = to->machine->net->scratch;
        memcpy(mutable, f->data, f->len);
    }
    net_complete_csum(&f->hdr, mutable, f->len);
    done.data = mutable;
    done.hdr.needs_csum = false; /* a frame that is to be cut keeps csum_start, where TCP begins */
    return give(to, &done);
}

void net_frame_finish(Machine *m, const NetFrame *f, void (*each)(void *opaque, const NetFrame *f),
                      void *opaque)
{
    uint8_t *scratch = m->net->scratch;
    NetFrame one = { .data = scratch, .len = f->len };
    if (f->hdr.gso) {
        unsigned n = net_segments(f);
        for (unsigned i = 0; i < n; i++) {
            one.len = net_segment(f, i, scratch);
            each(opaque, &one);
        }
    } else if (f->hdr.needs_csum) {
        memcpy(scratch, f->data, f->len);
        net_complete_csum(&f->hdr, scratch, f->len);
        each(opaque, &one);
    } else {
        each(opaque, f);
    }
}

static void sender_resumed(NetClient *to)
{
    NetClient *from = to->peer;
    if (from && from->kind->resumed) {
        from->kind->resumed(from);
    }
}

static bool from_card(const NetClient *to)
{
    return to->peer && to->peer->kind == &net_nic_kind;
}

/* Cards put frames into the queue of a back end as they are; others have passed its filters before. */
static bool kept_by_filters(NetClient *to, const NetFrame *f)
{
    if (!to->filters || !from_card(to) || to->filtered) {
        return false;
    }
    to->filtered = true;
    return net_filters_keep(to, NET_TO_BACKEND, f);
}

static void client_flush(void *opaque)
{
    NetClient *to = opaque;
    size_t done = 0, len;
    bool tell = false;
    NetHdr hdr;
    uint8_t *data;
    while ((data = net_queue_peek(&to->rx, &hdr, &len)) != NULL) {
        NetFrame f = { .hdr = hdr, .data = data, .len = len };
        if (!net_client_link(to)) {
            net_client_count_drop(to);
        } else if (!kept_by_filters(to, &f) && !deliver(to, &f, data)) {
            break;
        }
        to->segment = 0;
        to->filtered = false;
        tell |= net_queue_drop(&to->rx);
        done += len;
        if (done > NET_TURN_BYTES) {
            loop_post(to->machine->loop, &to->flush);
            break;
        }
    }
    /* A back end may have stopped by itself since something waited here; a card only when there was no room.
     */
    if (tell || (done && !from_card(to) && net_queue_empty(&to->rx))) {
        sender_resumed(to);
    }
}

void net_client_resume(NetClient *c)
{
    loop_post(c->machine->loop, &c->flush);
}

bool net_client_may_send(const NetClient *c)
{
    return !c->peer || net_queue_empty(&c->peer->rx);
}

/* At once, or into the queue when the receiver is busy; which is a card, or a back end without one. */
static bool hand_over(NetClient *to, const NetFrame *f)
{
    if (net_queue_empty(&to->rx) && deliver(to, f, NULL)) {
        return true;
    }
    uint8_t *room = net_queue_reserve(&to->rx, f->len);
    if (!room) {
        to->segment = net_queue_empty(&to->rx) ? 0 : to->segment;
        return false;
    }
    memcpy(room, f->data, f->len);
    net_queue_commit(&to->rx, &f->hdr, f->len);
    return true;
}

bool net_client_send(NetClient *c, const NetFrame *f)
{
    NetClient *to = c->peer;
    g_assert(c->kind != &net_nic_kind); /* its peer's queue is the domain's to fill: net_port_send() */
    if (!to) {
        return true;
    }
    if (!net_client_link(c) || !net_hdr_good(&f->hdr, f->data, f->len)) {
        net_client_count_drop(to);
        return true;
    }
    if (c->filters && net_filters_keep(c, NET_FROM_BACKEND, f)) {
        return true;
    }
    if (to->filters && net_filters_keep(to, NET_TO_BACKEND, f)) {
        return true;
    }
    bool taken = hand_over(to, f);
    if (!taken) {
        net_client_count_drop(to);
    }
    return taken;
}

bool net_client_pass_on(NetClient *backend, NetWay way, const NetFrame *f)
{
    NetClient *peer = backend->peer;
    if (!net_client_link(backend) || !net_hdr_good(&f->hdr, f->data, f->len)) {
        net_client_count_drop(way == NET_TO_BACKEND || !peer ? backend : peer);
        return true;
    }
    if (way == NET_FROM_BACKEND) {
        return (peer->filters && net_filters_keep(peer, NET_TO_BACKEND, f)) || hand_over(peer, f);
    }
    /* Its queue is the card's to fill: not through that. Half a frame that waits there keeps its place. */
    unsigned segment = backend->segment;
    backend->segment = 0;
    bool taken = deliver(backend, f, NULL);
    backend->segment = segment;
    return taken;
}

/* ---- cables ---- */

bool net_client_link(const NetClient *c)
{
    return c->peer && !c->link_down && !c->peer->link_down;
}

static void tell_link(NetClient *c)
{
    bool up = net_client_link(c);
    if (c->was_up != up) {
        c->was_up = up;
        if (c->kind->link_changed) {
            c->kind->link_changed(c, up);
        }
    }
}

void net_links_changed(NetClient *c)
{
    NetClient *peer = c->peer;
    tell_link(c);
    if (peer) {
        tell_link(peer);
    }
}

/* A card looks at its peer in its domain. */
static void set_peer(NetClient *c, NetClient *peer)
{
    Domain *d = c->kind == &net_nic_kind ? net_nic_device(c)->domain : NULL;
    bool lock = d && !domain_held(d);
    if (lock) {
        domain_lock(d);
    }
    c->peer = peer;
    if (lock) {
        domain_unlock(d);
    }
}

void net_client_pair(NetClient *a, NetClient *b)
{
    set_peer(a, b);
    set_peer(b, a);
    net_links_changed(a);
}

static void back_end_may_send(NetClient *c)
{
    if (c->kind != &net_nic_kind && c->kind->resumed) {
        c->kind->resumed(c);
    }
}

void net_client_unpair(NetClient *c)
{
    NetClient *peer = c->peer;
    if (!peer) {
        return;
    }
    set_peer(c, NULL);
    set_peer(peer, NULL);
    c->filtered = peer->filtered = false;
    net_queue_clear(&c->rx);
    net_queue_clear(&peer->rx);
    c->segment = peer->segment = 0;
    tell_link(c);
    tell_link(peer);
    back_end_may_send(c); /* what it waited for is gone, and may not come again with its next peer */
    back_end_may_send(peer);
}

/* ---- life ---- */

static void machine_state_changed(void *opaque, RunState was, RunState now)
{
    MachineNet *n = opaque;
    for (guint i = 0; now == RUN_RUNNING && i < n->clients->len; i++) {
        NetClient *c = n->clients->pdata[i];
        net_client_resume(c);
        if (c->kind == &net_nic_kind) { /* it sends nothing while the machine stands */
            c->kind->resumed(c);
        }
    }
}

MachineNet *machine_net(Machine *m)
{
    role_assert_main();
    if (!m->net) {
        MachineNet *n = g_new0(MachineNet, 1);
        n->machine = m;
        n->clients = g_ptr_array_new();
        n->announcements = g_ptr_array_new();
        n->scratch = g_malloc(NET_SCRATCH);
        n->listener = (MachineListener){ .state = machine_state_changed, .opaque = n };
        machine_add_listener(m, &n->listener);
        m->net = n;
    }
    return m->net;
}

NetClient *net_client_new(Machine *m, const NetKind *kind, const char *name)
{
    MachineNet *n = machine_net(m);
    NetClient *c = g_new0(NetClient, 1);
    c->kind = kind;
    c->machine = m;
    c->name = g_strdup(name);
    c->can = kind->can;
    c->n_queues = 1;
    c->state = g_malloc0(MAX(kind->state_size, 1));
    c->flush = (Task){ .run = client_flush, .opaque = c };
    net_queue_init(&c->rx, NET_QUEUE_BYTES);
    g_ptr_array_add(n->clients, c);
    return c;
}

/* With the last client. */
static void machine_net_free(MachineNet *n)
{
    net_announce_stop(n);
    machine_remove_listener(n->machine, &n->listener);
    g_ptr_array_free(n->clients, TRUE);
    g_ptr_array_free(n->announcements, TRUE);
    g_free(n->scratch);
    n->machine->net = NULL;
    g_free(n);
}

void net_client_free(NetClient *c)
{
    MachineNet *n = c->machine->net;
    net_filters_free(c);
    net_client_unpair(c);
    if (c->kind->close) {
        c->kind->close(c);
    }
    loop_unpost(c->machine->loop, &c->flush);
    g_ptr_array_remove(n->clients, c);
    net_queue_fini(&c->rx);
    g_free(c->state);
    g_free(c->name);
    g_free(c);
    if (!n->clients->len) {
        machine_net_free(n);
    }
}

NetClient *net_client_find(Machine *m, const char *name)
{
    for (guint i = 0; m->net && i < m->net->clients->len; i++) {
        NetClient *c = m->net->clients->pdata[i];
        if (g_str_equal(c->name, name)) {
            return c;
        }
    }
    return NULL;
}

void net_remove_all(Machine *m)
{
    role_assert_main();
    MachineNet *n = m->net;
    if (!n) {
        return;
    }
    net_announce_stop(n);
    for (guint i = n->clients->len; i-- > 0;) { /* cards go with their devices; with the last one n goes */
        NetClient *c = n->clients->pdata[i];
        if (c->kind != &net_nic_kind) {
            net_client_free(c);
        }
    }
}

bool net_counters(Machine *m, const char *name, NetCounters *out)
{
    const NetClient *c = net_client_find(m, name);
    if (c) {
        *out = c->count;
        out->dropped = __atomic_load_n(&c->count.dropped, __ATOMIC_RELAXED);
    }
    return c != NULL;
}

/* ---- for users ---- */

bool net_set_link(Machine *m, const char *name, bool up, Error **errp)
{
    role_assert_main();
    NetClient *c = net_client_find(m, name);
    if (!c) {
        error_fail(errp, "not-found", "name", "x-rhea-query-net lists them",
                   "there is no network card or back end '%s'", name);
        error_set_class(errp, ERROR_DEVICE_NOT_FOUND);
        return false;
    }
    c->link_down = !up;
    net_links_changed(c);
    return true;
}

void net_foreach_name(Machine *m, bool cards, void (*fn)(const char *name, void *opaque), void *opaque)
{
    for (guint i = 0; m->net && i < m->net->clients->len; i++) {
        const NetClient *c = m->net->clients->pdata[i];
        if (cards || c->kind != &net_nic_kind) {
            fn(c->name, opaque);
        }
    }
}

static void print_client(const NetClient *c, const char *prefix, GString *out)
{
    g_string_append_printf(out, "%s%s: index=0,type=%s,", prefix, c->name, c->kind->name);
    if (c->kind->describe) {
        c->kind->describe(c, out);
    }
    g_string_append_printf(out,
                           "%s rx %" G_GUINT64_FORMAT " frames, %" G_GUINT64_FORMAT
                           " bytes, %" G_GUINT64_FORMAT " dropped\n",
                           c->link_down ? ",link=down;" : ";", c->count.frames, c->count.bytes,
                           __atomic_load_n(&c->count.dropped, __ATOMIC_RELAXED));
    net_filters_print(c, out);
}

void net_print(Machine *m, GString *out)
{
    for (guint i = 0; m->net && i < m->net->clients->len; i++) {
        const NetClient *c = m->net->clients->pdata[i];
        bool card = c->kind == &net_nic_kind, beside_card = c->peer && c->peer->kind == &net_nic_kind;
        if (!card && beside_card) {
            continue; /* below its card */
        }
        print_client(c, "", out);
        if (card && c->peer) {
            print_client(c->peer, " \\ ", out);
        }
    }
}
