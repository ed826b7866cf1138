/* SPDX-License-Identifier: MIT
 * hw/virtio/virtio-net-queues.c - frames on their way out of and into a virtio network card's rings.
 *
 * Models: virtio 1.2, 5.1.6.2 (transmission), 5.1.6.3 and 5.1.6.4 (receive buffers, merging, header). A frame
 * that has to wait for a buffer keeps those behind it waiting, whatever their queue: the card has one way in.
 * Threads: the device's domain.
 */
#include "virtio-net.h"

#include <string.h>

enum { /* 5.1.6: the header in front of each frame */
       HDR_NEEDS_CSUM = 1,
       HDR_DATA_VALID = 2,
       HDR_GSO_ECN = 0x80,
};
enum { TX_TURN = 256 };

/* ---- out ---- */

/* 5.1.6.2. False: it asks for what was not agreed on. */
static bool net_read_header(const VirtioNet *s, const uint8_t *h, NetHdr *out)
{
    unsigned type = h[1] & ~HDR_GSO_ECN;
    *out = (NetHdr){ .needs_csum = h[0] & HDR_NEEDS_CSUM,
                     .csum_start = nic_le16(h + 6),
                     .csum_offset = nic_le16(h + 8) };
    if (out->needs_csum && !net_has(s, NET_F_CSUM)) {
        return false;
    }
    if (type == 0) {
        return h[1] == 0;
    }
    static const uint8_t need[] = { [NET_GSO_TCP4] = NET_F_HOST_TSO4,
                                    [NET_GSO_TCP6] = NET_F_HOST_TSO6,
                                    [NET_GSO_UDP] = NET_F_HOST_UFO,
                                    [NET_GSO_UDP_L4] = NET_F_HOST_USO };
    out->gso = (uint8_t)net_gso_from_virtio(type);
    out->ecn = (h[1] & HDR_GSO_ECN) != 0;
    out->hdr_len = nic_le16(h + 2);
    out->gso_size = nic_le16(h + 4);
    return out->gso && net_has(s, need[out->gso]) && (!out->ecn || net_has(s, NET_F_HOST_ECN));
}

typedef enum Sent { SENT, SENT_FULL, SENT_BROKEN } Sent;

static Sent net_send(VirtioNet *s, VirtElem *e, unsigned pair)
{
    VirtioDevice *v = &s->v;
    uint8_t h[NET_HEADER_MAX] = { 0 };
    NetHdr hdr;
    size_t bytes = e->out.bytes;
    if (bytes < s->header) {
        virtio_error(v, "a frame of %zu bytes, its header included", bytes);
        virtq_push(v, e, 0);
        return SENT_BROKEN;
    }
    iov_to_buf(&e->out, 0, h, s->header);
    if (!net_read_header(s, h, &hdr)) {
        guest_error(&v->dev, "virtio-net: a frame with flags 0x%x, segmentation %u: not negotiated", h[0],
                    h[1]);
        virtq_push(v, e, 0);
        return SENT;
    }
    hdr.queue = s->active > 1 ? (uint16_t)(pair + 1) : 0;
    if (!net_port_send(&s->port, &hdr, &e->out, s->header)) {
        virtq_unpop(v, e);
        return SENT_FULL;
    }
    s->count[pair].sent_frames++;
    s->count[pair].sent_bytes += (int64_t)(bytes - s->header);
    virtq_push(v, e, 0);
    return SENT;
}

/* False: the others have to wait, too. */
static bool net_tx(VirtioNet *s, unsigned pair)
{
    VirtioDevice *v = &s->v;
    VirtQueue *q = &v->q[NET_TXQ(pair)];
    VirtElem *e;
    unsigned taken = 0;
    do {
        while ((e = virtq_pop(v, q)) != NULL) {
            Sent r = net_send(s, e, pair);
            s->full = r == SENT_FULL;
            if (r != SENT) {
                s->turn = pair;
                return false; /* net_writable() goes on, unless it is broken */
            }
            if (++taken == TX_TURN) { /* others want the domain too, and the next pair its turn */
                s->turn = pair + 1;
                domain_post(&s->more);
                return false;
            }
        }
    } while (virtq_rearm(v, q));
    return true;
}

void net_go_on(VirtioNet *s)
{
    bool more = true;
    s->full = false;
    for (unsigned i = 0, first = s->turn; more && i < s->active; i++) {
        unsigned pair = (first + i) % s->active;
        if (virtio_queue_live(&s->v, &s->v.q[NET_TXQ(pair)])) {
            more = net_tx(s, pair);
        }
    }
}

void net_tx_kick(VirtioNet *s, unsigned pair)
{
    if (!s->full && pair < s->active) { /* 5.1.6.5.6.1: the driver sends on no more */
        net_tx(s, pair);
    }
}

/* ---- in ---- */

static void net_write_header(const VirtioNet *s, const NetHdr *f, const NetHash *hash, unsigned buffers,
                             uint8_t *h)
{
    memset(h, 0, NET_HEADER_MAX);
    if (f->needs_csum) {
        h[0] = HDR_NEEDS_CSUM;
        nic_put_le(h + 6, 2, f->csum_start);
        nic_put_le(h + 8, 2, f->csum_offset);
    } else if (f->csum_valid && (s->guest_offloads & NETF(NET_F_GUEST_CSUM))) {
        h[0] = HDR_DATA_VALID;
    }
    if (f->gso) {
        h[1] = net_gso_to_virtio(f->gso) | (f->ecn ? HDR_GSO_ECN : 0);
        nic_put_le(h + 2, 2, f->hdr_len);
        nic_put_le(h + 4, 2, f->gso_size);
    }
    nic_put_le(h + 10, 2, buffers);
    nic_put_le(h + 12, 4, hash->value); /* not copied where the header is shorter */
    nic_put_le(h + 16, 2, hash->report);
}

/* The driver may just have switched it off. */
static bool net_agreed(const VirtioNet *s, const NetHdr *h)
{
    static const uint64_t need[] = { [NET_GSO_TCP4] = NETF(NET_F_GUEST_TSO4),
                                     [NET_GSO_TCP6] = NETF(NET_F_GUEST_TSO6),
                                     [NET_GSO_UDP] = NETF(NET_F_GUEST_UFO),
                                     [NET_GSO_UDP_L4] = NETF(NET_F_GUEST_USO4) | NETF(NET_F_GUEST_USO6) };
    uint64_t o = s->guest_offloads;
    return (!h->needs_csum || (o & NETF(NET_F_GUEST_CSUM))) && !(need[h->gso] & ~o) &&
           (!h->gso || !h->ecn || (o & NETF(NET_F_GUEST_ECN)));
}

static VirtElem *net_pop_in(VirtioDevice *v, VirtQueue *q)
{
    VirtElem *e = virtq_pop(v, q);
    return e || !virtq_rearm(v, q) ? e : virtq_pop(v, q);
}

/* Buffers for so many bytes: how many; 0: there are not enough, *wait: but may be later. */
static unsigned net_collect(VirtioNet *s, VirtQueue *q, size_t total, bool *wait)
{
    VirtioDevice *v = &s->v;
    size_t room = 0;
    unsigned n = 0;
    bool whole = !net_has(s, NET_F_MRG_RXBUF), bad = false;
    while (room < total && !bad) {
        VirtElem *e = n < q->size ? net_pop_in(v, q) : NULL;
        if (!e) {
            break;
        }
        s->got[n++] = e;
        room += e->in.bytes;
        bad = e->in.bytes < s->header || (whole && room < total);
    }
    if (room >= total && !bad) {
        return n;
    }
    *wait = !bad && n < q->size && virtio_queue_live(v, q);
    if (bad && s->got[n - 1]->in.bytes < s->header) {
        virtio_error(v, "a buffer of %zu bytes for frames", s->got[n - 1]->in.bytes);
    }
    while (n) {
        virtq_unpop(v, s->got[--n]);
    }
    return 0;
}

/* Copies what lies at `done` of header and frame; false: the queue is gone. */
static bool net_fill(VirtioNet *s, const NetFrame *f, const uint8_t *header, unsigned i, size_t *done)
{
    VirtElem *e = s->got[i];
    size_t before = s->header, total = before + f->len, n = MIN(e->in.bytes, total - *done), at = 0;
    if (i == 0) {
        iov_from_buf(&e->in, 0, header, before);
        at = before;
    }
    iov_from_buf(&e->in, at, f->data + *done + at - before, n - at);
    *done += n;
    return virtq_fill(&s->v, e, (uint32_t)n, i);
}

bool net_receive(Device *dev, const NetFrame *f)
{
    VirtioNet *s = net_of(dev_as(VirtioDevice, dev));
    NetHash hash = { 0 };
    unsigned pair = net_steers(s) ? net_steer(s, f, &hash) : 0;
    VirtQueue *q = &s->v.q[NET_RXQ(pair)];
    uint8_t header[NET_HEADER_MAX];
    bool wait = false, alive = true;
    if (!virtio_queue_live(&s->v, q) || !net_filter(s, f->data, f->len) || !net_agreed(s, &f->hdr)) {
        return true;
    }
    unsigned n = net_collect(s, q, s->header + f->len, &wait);
    if (!n) {
        return !wait;
    }
    size_t done = 0;
    net_write_header(s, &f->hdr, &hash, n, header);
    for (unsigned i = 0; i < n; i++) {
        alive &= net_fill(s, f, header, i, &done);
    }
    if (alive) { /* 5.1.6.4.2: all of them become visible together */
        virtq_flush(&s->v, q, n);
    }
    s->count[pair].got_frames++;
    s->count[pair].got_bytes += (int64_t)f->len;
    virtio_reset_continue(&s->v);
    return true;
}
