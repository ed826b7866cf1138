/* SPDX-License-Identifier: MIT
 * hw/net/e1000e-rx.c - the 82574L receives.
 *
 * Models: 82574 datasheet 7.1: legacy, extended and packet-split descriptors (7.1.4, 7.1.5, 7.1.10), two
 *         queues by receive-side scaling (7.1.9), what the network has checked; filters are the 82540EM's.
 * Does not model: packet types and IP identification in descriptors, delayed interrupts (at once). Threads:
 *         the device's domain.
 */
#include "e1000e.h"

#include <string.h>

enum { RCTL_DTYP_SPLIT = 1 << 10, RFCTL_EXTEN = 1 << 15, RXCSUM_PCSD = 1 << 13, HDRSTAT_SPH = 1 << 15 };
enum { SPLIT_BUFFERS = 4, SPLIT_BYTES = 32 };
enum { MRQC_TCP4 = 1 << 16, MRQC_IP4 = 1 << 17, MRQC_TCP6 = 1 << 18, MRQC_IP6EX = 1 << 19,
       MRQC_IP6 = 1 << 20 };
enum { RSS_NONE, RSS_TCP4, RSS_IP4, RSS_TCP6, RSS_IP6EX, RSS_IP6 }; /* 7.1.9.2: types, as told */

typedef struct Rx { /* a frame on its way into descriptors */
    const uint8_t *data;
    size_t len, done;
    size_t header;   /* bytes that may be split off; 0: none */
    uint8_t status;
    uint16_t tag;
    unsigned queue, type;
    uint32_t hash;
} Rx;

/* ---- 7.1.9: which queue ---- */

static unsigned hash_type(uint32_t mrqc, const NicFlow *flow)
{
    bool tcp = flow->protocol == 6;
    if (flow->ip == 4) {
        return tcp && (mrqc & MRQC_TCP4) ? RSS_TCP4 : mrqc & MRQC_IP4 ? RSS_IP4 : RSS_NONE;
    }
    if (flow->ip == 6) {
        return tcp && (mrqc & MRQC_TCP6)                ? RSS_TCP6
               : flow->extended && (mrqc & MRQC_IP6EX) ? RSS_IP6EX
               : mrqc & MRQC_IP6                       ? RSS_IP6
                                                       : RSS_NONE;
    }
    return RSS_NONE;
}

static void choose_queue(E1000 *s, const NetFrame *f, const NicFlow *flow, Rx *rx)
{
    uint32_t mrqc = *e1000_reg(s, E_MRQC);
    if ((mrqc & 3) != 1) {
        return;
    }
    rx->type = hash_type(mrqc, flow);
    if (rx->type != RSS_NONE) {
        uint8_t key[NIC_RSS_KEY];
        for (unsigned i = 0; i < NIC_RSS_KEY; i++) {
            key[i] = (uint8_t)(*e1000_reg(s, E_RSSRK + (i & ~3u)) >> 8 * (i & 3));
        }
        rx->hash = nic_toeplitz(key, f->data, flow, rx->type == RSS_TCP4 || rx->type == RSS_TCP6);
    }
    unsigned at = rx->hash & 127;
    rx->queue = *e1000_reg(s, E_RETA + (at & ~3u)) >> (8 * (at & 3) + 7) & 1;
}

/* ---- 7.1.4, 7.1.5, 7.1.10: descriptors ---- */

static uint32_t flexible_bytes(uint32_t rctl)
{
    unsigned kib = rctl >> 27 & 15; /* 10.2.5.1: FLXBUF */
    return kib ? kib * 1024 : e1000_buffer_bytes(rctl);
}

static void fill(E1000 *s, Rx *rx, uint64_t at, size_t n)
{
    if (at && n) { /* a null descriptor is only marked */
        dma_write(&pci_func(&s->dev)->dma, at, rx->data + rx->done, n);
    }
    rx->done += n;
}

static void write_legacy(E1000 *s, Rx *rx, uint64_t at)
{
    DmaContext *dma = &pci_func(&s->dev)->dma;
    size_t n = MIN(flexible_bytes(*e1000_reg(s, E_RCTL)), rx->len - rx->done);
    uint8_t d[DESC_BYTES];
    dma_read(dma, at, d, sizeof(d));
    fill(s, rx, nic_le64(d), n);
    nic_put_le(d + 8, 2, n);
    nic_put_le(d + 10, 2, (uint16_t)~net_checksum(rx->data, rx->len));
    nic_put_le(d + 13, 1, 0);
    nic_put_le(d + 14, 2, rx->tag);
    d[12] = (uint8_t)(RXD_DD | (rx->done == rx->len ? RXD_EOP | rx->status : 0));
    dma_write(dma, at + 8, d + 8, 4);
    dma_write(dma, at + 13, d + 13, 3);
    dma_write(dma, at + 12, d + 12, 1); /* the status is last: then it is done */
}

/* The part that both other kinds have in common: 16 bytes; the word with DD goes last. */
static void write_back(E1000 *s, const Rx *rx, uint64_t at, size_t length)
{
    DmaContext *dma = &pci_func(&s->dev)->dma;
    bool hashed = *e1000_reg(s, E_RXCSUM) & RXCSUM_PCSD;
    uint32_t sum = (uint32_t)(uint16_t)~net_checksum(rx->data, rx->len) << 16;
    uint8_t d[DESC_BYTES];
    nic_put_le(d, 4, rx->type | rx->queue << 8);
    nic_put_le(d + 4, 4, hashed ? rx->hash : sum);
    nic_put_le(d + 8, 4, RXD_DD | (rx->done == rx->len ? RXD_EOP | rx->status : 0u));
    nic_put_le(d + 12, 2, length);
    nic_put_le(d + 14, 2, rx->tag);
    dma_write(dma, at, d, 8);
    dma_write(dma, at + 12, d + 12, 4);
    dma_write(dma, at + 8, d + 8, 4);
}

static void write_extended(E1000 *s, Rx *rx, uint64_t at)
{
    uint8_t d[DESC_BYTES];
    size_t n = MIN(flexible_bytes(*e1000_reg(s, E_RCTL)), rx->len - rx->done);
    dma_read(&pci_func(&s->dev)->dma, at, d, sizeof(d));
    fill(s, rx, nic_le64(d), n);
    write_back(s, rx, at, n);
}

/* 10.2.5.3: sizes of the four buffers. */
static size_t split_bytes(uint32_t psrctl, unsigned i)
{
    return i ? (psrctl >> 8 * i & 63) * 1024u : (psrctl & 127) * 128u;
}

static void write_split(E1000 *s, Rx *rx, uint64_t at)
{
    DmaContext *dma = &pci_func(&s->dev)->dma;
    uint32_t psrctl = *e1000_reg(s, E_PSRCTL);
    uint8_t d[SPLIT_BYTES], rest[DESC_BYTES] = { 0 };
    size_t n[SPLIT_BUFFERS];
    bool split = rx->done == 0 && rx->header && rx->header <= split_bytes(psrctl, 0);
    dma_read(dma, at, d, sizeof(d));
    for (unsigned i = 0; i < SPLIT_BUFFERS; i++) {
        size_t room = i == 0 && split ? rx->header : split_bytes(psrctl, i);
        n[i] = MIN(room, rx->len - rx->done);
        fill(s, rx, nic_le64(d + 8 * i), n[i]);
    }
    nic_put_le(rest, 2, (split ? HDRSTAT_SPH : 0) | (rx->header & 0x3ff));
    for (unsigned i = 1; i < SPLIT_BUFFERS; i++) {
        nic_put_le(rest + 2 * i, 2, n[i]);
    }
    dma_write(dma, at + DESC_BYTES, rest, sizeof(rest));
    write_back(s, rx, at, n[0]);
}

/* ---- a frame ---- */

static size_t room_of_one(E1000 *s, bool split)
{
    size_t room = 0;
    for (unsigned i = 0; split && i < SPLIT_BUFFERS; i++) {
        room += split_bytes(*e1000_reg(s, E_PSRCTL), i);
    }
    return split ? room : flexible_bytes(*e1000_reg(s, E_RCTL));
}

/* With the header in a buffer of its own the first descriptor may hold less than the others. */
static uint32_t descriptors_for(E1000 *s, const Rx *rx, bool split)
{
    size_t each = room_of_one(s, split), extra = 0;
    if (!each) {
        return UINT32_MAX;
    }
    if (split && rx->header && rx->header <= split_bytes(*e1000_reg(s, E_PSRCTL), 0)) {
        extra = split_bytes(*e1000_reg(s, E_PSRCTL), 0) - rx->header;
    }
    return (uint32_t)((rx->len + extra + each - 1) / each);
}

static void hand_over(E1000 *s, Rx *rx, bool split, bool extended, uint32_t n)
{
    uint32_t *head = e1000_queue_reg(s, E_RDH, rx->queue), left = *e1000_queue_reg(s, E_RDT, rx->queue);
    uint64_t base = *e1000_queue_reg(s, E_RDBAL, rx->queue) |
                    (uint64_t)*e1000_queue_reg(s, E_RDBAH, rx->queue) << 32;
    uint32_t cause = INT_RXT0 | INT_RXQ0 << rx->queue;
    left = (left + n - *head) % n;
    while (rx->done < rx->len) {
        uint64_t at = base + (uint64_t)*head * (split ? SPLIT_BYTES : DESC_BYTES);
        split ? write_split(s, rx, at) : extended ? write_extended(s, rx, at) : write_legacy(s, rx, at);
        *head = (*head + 1) % n;
        left--;
        cause |= left == n >> ((*e1000_reg(s, E_RCTL) >> 8 & 3) + 1) ? INT_RXDMT0 : 0;
    }
    s->kind->interrupt(s, cause);
}

bool e1000e_receive(Device *dev, const NetFrame *f)
{
    E1000 *s = dev_as(E1000, dev);
    bool extended = *e1000_reg(s, E_RFCTL) & RFCTL_EXTEN;
    bool split = extended && (*e1000_reg(s, E_RCTL) & RCTL_DTYP_SPLIT);
    uint8_t frame[RX_LONGEST + 64];
    Rx rx = { .data = frame };
    NicFlow flow;
    if (!(*e1000_reg(s, E_RCTL) & RCTL_EN) || f->len > RX_LONGEST || !e1000_accepts(s, f)) {
        return true;
    }
    nic_flow(f->data, f->len, &flow);
    choose_queue(s, f, &flow, &rx);
    uint32_t n = *e1000_queue_reg(s, E_RDLEN, rx.queue) / (split ? SPLIT_BYTES : DESC_BYTES),
             head = *e1000_queue_reg(s, E_RDH, rx.queue), tail = *e1000_queue_reg(s, E_RDT, rx.queue);
    if (n == 0 || head >= n || tail >= n) {
        return true;
    }
    rx.len = e1000_lay_out(s, f, frame, &rx.status, &rx.tag);
    rx.status |= e1000_csum_status(s, f);
    if (flow.protocol) { /* without the tag that was taken off */
        rx.header = flow.payload - (rx.status & RXD_VP ? 4 : 0);
    }
    uint32_t need = descriptors_for(s, &rx, split);
    if (need > (tail + n - head) % n) {
        if (need < n) {
            e1000_count(s, E_RNBC, 1);
        }
        s->kind->interrupt(s, INT_RXO | (need < n ? INT_RXDMT0 : 0));
        return need >= n;
    }
    hand_over(s, &rx, split, extended, n);
    s->count[rx.queue].got_frames++;
    s->count[rx.queue].got_bytes += (int64_t)f->len;
    e1000_count_received(s, f);
    return true;
}
