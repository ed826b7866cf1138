/* SPDX-License-Identifier: MIT
 * hw/net/e1000-tx.c - the 82540EM sends.
 *
 * Models: SDM 3.3 to 3.5: legacy, context and data descriptors, checksums, TCP segmentation (handed on to the
 *         network layer as one frame), VLAN tags, write-back and its interrupts. Does not model: delayed
 *         interrupts (TIDV, TADV: at once), TXDCTL's thresholds. Threads: the device's domain.
 */
#include "e1000.h"

#include <string.h>

enum {
    CMD_EOP = 1,
    CMD_IC = 4,
    CMD_TSE = 4,
    CMD_RS = 8,
    CMD_DEXT = 0x20,
    CMD_VLE = 0x40
};                                          /* of a descriptor */
enum { TU_TCP = 1, TU_IP = 2, TU_TSE = 4 }; /* of a context */
enum { POPTS_IXSM = 1, POPTS_TXSM = 2 };
enum { TCTL_EN = 2, TCTL_PSP = 8, TX_TURN = 512 };

static void put16(uint8_t *p, unsigned v)
{
    p[0] = (uint8_t)(v >> 8);
    p[1] = (uint8_t)v;
}

static unsigned be16(const uint8_t *p)
{
    return (unsigned)(p[0] << 8 | p[1]);
}

static uint32_t le32(const uint8_t *p)
{
    return p[0] | p[1] << 8 | p[2] << 16 | (uint32_t)p[3] << 24;
}

static void tx_clear(E1000 *s)
{
    s->tx_len = 0;
    s->tx_skip = s->tx_tse = false;
    s->tx_popts = s->tx_css = s->tx_cso = s->tx_cmd = 0;
    s->tx_special = 0;
}

/* 3.3.7.1: the header's checksum, put where the context says. */
static void insert_ip_csum(E1000 *s, const E1000Context *c)
{
    size_t end = c->ipcse && c->ipcse < s->tx_len ? c->ipcse + 1u : s->tx_len;
    if (c->ipcss < end && c->ipcso + 2u <= s->tx_len) {
        put16(s->tx + c->ipcso, 0);
        put16(s->tx + c->ipcso, (uint16_t)~net_checksum(s->tx + c->ipcss, end - c->ipcss));
    }
}

/* 3.5: the headers have neither lengths nor the checksum's share of them. */
static bool prepare_tso(E1000 *s, NetHdr *h)
{
    const E1000Context *c = &s->ctx;
    bool v6 = !(c->cmd & TU_IP);
    size_t ip = c->ipcss, tcp = c->tucss;
    if (!(c->cmd & TU_TCP) || ip < NET_ETH || tcp < ip + 20u || tcp + 20u > s->tx_len || !c->mss ||
        c->tucso != tcp + 16u) {
        guest_error(&s->dev, "e1000: segmentation with headers at %zu and %zu, %u bytes each", ip, tcp,
                    c->mss);
        return false;
    }
    put16(s->tx + ip + (v6 ? 4 : 2), (unsigned)(s->tx_len - ip - (v6 ? 40 : 0)));
    unsigned sum = be16(s->tx + c->tucso) + (unsigned)(s->tx_len - tcp);
    put16(s->tx + c->tucso, (sum & 0xffff) + (sum >> 16));
    if (!v6) {
        insert_ip_csum(s, c);
    }
    *h = (NetHdr){ .needs_csum = true,
                   .csum_start = (uint16_t)tcp,
                   .csum_offset = 16,
                   .gso = v6 ? NET_GSO_TCP6 : NET_GSO_TCP4,
                   .gso_size = c->mss,
                   .hdr_len = c->hdrlen };
    e1000_count(s, E_TSCTC, 1);
    return true;
}

static void prepare_csum(E1000 *s, NetHdr *h)
{
    const E1000Context *c = &s->ctx;
    unsigned start = s->tx_cmd & CMD_DEXT ? c->tucss : s->tx_css,
             at = s->tx_cmd & CMD_DEXT ? c->tucso : s->tx_cso;
    if (s->tx_popts & POPTS_IXSM) {
        insert_ip_csum(s, c);
    }
    if ((s->tx_popts & POPTS_TXSM) && start >= NET_ETH && at >= start && at + 2 <= s->tx_len) {
        h->needs_csum = true;
        h->csum_start = (uint16_t)start;
        h->csum_offset = (uint16_t)(at - start);
    }
}

static void insert_vlan(E1000 *s)
{
    memmove(s->tx + 16, s->tx + 12, s->tx_len - 12);
    put16(s->tx + 12, *e1000_reg(s, E_VET) & 0xffff);
    put16(s->tx + 14, s->tx_special);
    s->tx_len += 4;
}

static void count_sent(E1000 *s)
{
    static const uint8_t all[NET_MAC] = { 0xff, 0xff, 0xff, 0xff, 0xff, 0xff };
    e1000_count(s, E_GPTC, 1);
    e1000_count(s, E_TPT, 1);
    e1000_count64(s, E_GOTCL, s->tx_len + 4);
    e1000_count64(s, E_TOTL, s->tx_len + 4);
    if (s->tx[0] & 1) {
        e1000_count(s, net_mac_is(s->tx, all) ? E_BPTC : E_MPTC, 1);
    }
}

/* Everything that changes the frame, once. False: it is none. */
static bool finish_frame(E1000 *s)
{
    if (s->tx_skip || s->tx_len < NET_ETH) {
        guest_error(&s->dev, "e1000: a frame of %s bytes", s->tx_skip ? "too many" : "too few");
        return false;
    }
    if ((*e1000_reg(s, E_TCTL) & TCTL_PSP) && s->tx_len < 60) {
        memset(s->tx + s->tx_len, 0, 60 - s->tx_len);
        s->tx_len = 60;
    }
    return true;
}

/* False: no room, it stays. */
static bool send_frame(E1000 *s)
{
    NetHdr h = { 0 };
    if (!s->tx_stalled) {
        if (!finish_frame(s)) {
            return true;
        }
        if (!s->tx_tse) {
            prepare_csum(s, &h);
        } else if (!prepare_tso(s, &h)) {
            return true;
        }
        s->tx_hdr = h;
        if (s->tx_cmd & CMD_VLE && *e1000_reg(s, E_CTRL) & CTRL_VME) {
            insert_vlan(s);
            s->tx_hdr.csum_start += s->tx_hdr.needs_csum ? 4 : 0;
        }
    }
    IoVec v;
    iov_init_buf(&v, s->tx, s->tx_len);
    if (!net_port_send(&s->port, &s->tx_hdr, &v, 0)) {
        return false;
    }
    count_sent(s);
    return true;
}

static void take_context(E1000 *s, const uint8_t *d)
{
    uint32_t low = le32(d + 8);
    s->ctx = (E1000Context){ .ipcss = d[0],
                             .ipcso = d[1],
                             .ipcse = (uint16_t)(d[2] | d[3] << 8),
                             .tucss = d[4],
                             .tucso = d[5],
                             .tucse = (uint16_t)(d[6] | d[7] << 8),
                             .paylen = low & 0xfffff,
                             .cmd = d[11],
                             .hdrlen = d[13],
                             .mss = (uint16_t)(d[14] | d[15] << 8) };
}

static void take_data(E1000 *s, const uint8_t *d)
{
    uint64_t addr = le32(d) | (uint64_t)le32(d + 4) << 32;
    uint8_t cmd = d[11];
    bool extended = cmd & CMD_DEXT;
    uint32_t len = extended ? le32(d + 8) & 0xfffff : (uint32_t)(d[8] | d[9] << 8);
    if (s->tx_len == 0 && !s->tx_skip) { /* of the first descriptor: 3.3.7 */
        s->tx_cmd = cmd;
        s->tx_popts = extended ? d[13] : cmd & CMD_IC ? POPTS_TXSM : 0;
        s->tx_css = d[13];
        s->tx_cso = d[10];
        s->tx_tse = extended && (cmd & CMD_TSE);
    }
    s->tx_special = (uint16_t)(d[14] | d[15] << 8);
    s->tx_cmd |= cmd & CMD_VLE;
    if (len > TX_MAX - 8 - s->tx_len) {
        s->tx_skip = true;
    } else if (len && !s->tx_skip) {
        dma_read(&pci_func(&s->dev)->dma, addr, s->tx + s->tx_len, len);
        s->tx_len += len;
    }
}

/* One descriptor; false: the network is full, it stays where it is. */
static bool take_descriptor(E1000 *s, uint64_t at, uint32_t *cause)
{
    DmaContext *dma = &pci_func(&s->dev)->dma;
    uint8_t d[DESC_BYTES];
    dma_read(dma, at, d, sizeof(d));
    bool extended = d[11] & CMD_DEXT, context = extended && (d[10] >> 4) == 0;
    if (context) {
        take_context(s, d);
    } else {
        if (!s->tx_stalled) {
            take_data(s, d);
        }
        if (d[11] & CMD_EOP) {
            s->tx_stalled = !send_frame(s);
            if (s->tx_stalled) {
                return false;
            }
            tx_clear(s);
        }
    }
    if (d[11] & CMD_RS) { /* 3.3.3.2 */
        uint8_t status = (uint8_t)((d[12] & 0xf0) | 1);
        dma_write(dma, at + 12, &status, 1);
        *cause |= INT_TXDW;
    }
    return true;
}

void e1000_transmit(E1000 *s)
{
    uint32_t n = *e1000_reg(s, E_TDLEN) / DESC_BYTES, *head = e1000_reg(s, E_TDH),
             tail = *e1000_reg(s, E_TDT);
    uint64_t base = *e1000_reg(s, E_TDBAL) | (uint64_t)*e1000_reg(s, E_TDBAH) << 32;
    uint32_t cause = 0;
    if (!(*e1000_reg(s, E_TCTL) & TCTL_EN) || n == 0 || *head >= n || tail >= n || *head == tail) {
        return;
    }
    unsigned taken = 0;
    while (*head != tail && taken++ < TX_TURN &&
           take_descriptor(s, base + (uint64_t)*head * DESC_BYTES, &cause)) {
        *head = (*head + 1) % n;
    }
    if (*head == tail) {
        cause |= INT_TXQE;
    } else if (!s->tx_stalled) {
        domain_post(&s->more); /* others want the domain too */
    }
    if (cause) {
        e1000_interrupt(s, cause);
    }
}
