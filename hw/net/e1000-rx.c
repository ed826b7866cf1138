/* SPDX-License-Identifier: MIT
 * hw/net/e1000-rx.c - the 82540EM receives.
 *
 * Models: SDM 3.2: filters (exact, hashed, VLAN), buffers and frames over several of them, the descriptor's
 *         status, checksums that the network has vouched for, stripping of VLAN tags and of the frame's CRC.
 *         Does not model: split headers, delayed interrupts (RDTR, RADV: at once). Threads: the device's
 * domain.
 */
#include "e1000.h"

#include <string.h>

enum {
    RCTL_UPE = 1 << 3,
    RCTL_MPE = 1 << 4,
    RCTL_LPE = 1 << 5,
    RCTL_BAM = 1 << 15,
    RCTL_VFE = 1 << 18,
    RCTL_BSEX = 1 << 25,
    RCTL_SECRC = 1 << 26
};
enum { RXCSUM_IPOFLD = 1 << 8, RXCSUM_TUOFLD = 1 << 9, RAH_AV = 1u << 31, LONGEST = 1522, RX_ADDRESSES = 16 };

static bool is_vlan(E1000 *s, const NetFrame *f)
{
    return f->len >= NET_ETH + 4 && nic_be16(f->data + 12) == (*e1000_reg(s, E_VET) & 0xffff);
}

static bool exact(E1000 *s, const uint8_t *d)
{
    for (unsigned i = 0; i < RX_ADDRESSES; i++) {
        uint32_t low = *e1000_reg(s, E_RA + 8 * i), high = *e1000_reg(s, E_RA + 8 * i + 4);
        uint8_t a[NET_MAC] = { (uint8_t)low,         (uint8_t)(low >> 8), (uint8_t)(low >> 16),
                               (uint8_t)(low >> 24), (uint8_t)high,       (uint8_t)(high >> 8) };
        if ((high & RAH_AV) && net_mac_is(d, a)) {
            return true;
        }
    }
    return false;
}

/* 13.5.1: 12 bits of the last two bytes, which ones says RCTL.MO. */
static bool hashed(E1000 *s, const uint8_t *d)
{
    static const uint8_t shift[] = { 4, 3, 2, 0 };
    unsigned h = (unsigned)(d[5] << 8 | d[4]) >> shift[*e1000_reg(s, E_RCTL) >> 12 & 3] & 0xfff;
    return *e1000_reg(s, E_MTA + 4 * (h >> 5)) >> (h & 31) & 1;
}

bool e1000_accepts(E1000 *s, const NetFrame *f)
{
    uint32_t rctl = *e1000_reg(s, E_RCTL);
    const uint8_t *d = f->data;
    if ((rctl & RCTL_VFE) && is_vlan(s, f)) {
        unsigned vid = nic_be16(d + 14) & 0xfff;
        if (!(*e1000_reg(s, E_VFTA + 4 * (vid >> 5)) >> (vid & 31) & 1)) {
            return false;
        }
    }
    if (f->len + 4 > LONGEST && !(rctl & RCTL_LPE)) {
        return false;
    }
    bool group = d[0] & 1;
    if (rctl & (group ? RCTL_MPE : RCTL_UPE) || exact(s, d)) {
        return true;
    }
    return nic_is_broadcast(d) ? (rctl & RCTL_BAM) != 0 : hashed(s, d);
}

uint32_t e1000_buffer_bytes(uint32_t rctl)
{
    unsigned size = rctl >> 16 & 3;
    return rctl & RCTL_BSEX && size ? 32768u >> size : 2048u >> size;
}

uint8_t e1000_csum_status(E1000 *s, const NetFrame *f)
{
    uint32_t on = *e1000_reg(s, E_RXCSUM);
    bool v4 = f->len >= NET_ETH + 20 && nic_be16(f->data + 12) == 0x0800 && f->data[NET_ETH] >> 4 == 4;
    bool tcp = v4 && (f->data[NET_ETH + 9] == 6 || f->data[NET_ETH + 9] == 17);
    if (!v4 || !f->hdr.csum_valid || !(on & (RXCSUM_IPOFLD | RXCSUM_TUOFLD))) {
        return RXD_IXSM;
    }
    return (on & RXCSUM_IPOFLD ? RXD_IPCS : 0) | (tcp && on & RXCSUM_TUOFLD ? RXD_TCPCS : 0);
}

void e1000_count_received(E1000 *s, const NetFrame *f)
{
    e1000_count(s, E_GPRC, 1);
    e1000_count(s, E_TPR, 1);
    e1000_count64(s, E_GORCL, (uint32_t)f->len + 4);
    e1000_count64(s, E_TORL, (uint32_t)f->len + 4);
    if (f->data[0] & 1) {
        e1000_count(s, nic_is_broadcast(f->data) ? E_BPRC : E_MPRC, 1);
    }
}

size_t e1000_lay_out(E1000 *s, const NetFrame *f, uint8_t *out, uint8_t *status, uint16_t *tag)
{
    size_t len = f->len, pad;
    if ((*e1000_reg(s, E_CTRL) & CTRL_VME) && is_vlan(s, f)) {
        memcpy(out, f->data, 12);
        memcpy(out + 12, f->data + 16, len - 16);
        *tag = (uint16_t)nic_be16(f->data + 14);
        *status |= RXD_VP;
        len -= 4;
    } else {
        memcpy(out, f->data, len);
    }
    pad = len < 60 ? 60 - len : 0;
    memset(out + len, 0, pad);
    len += pad;
    if (!(*e1000_reg(s, E_RCTL) & RCTL_SECRC)) {
        nic_put_le(out + len, NIC_CRC, nic_crc(out, len));
        len += NIC_CRC;
    }
    return len;
}

/* 3.2.5: the smaller the part that is left, the more urgent. */
static bool few_left(E1000 *s, uint32_t left, uint32_t n)
{
    return left == n >> ((*e1000_reg(s, E_RCTL) >> 8 & 3) + 1);
}

static void write_buffer(E1000 *s, uint64_t at, const uint8_t *data, size_t len, const uint8_t *tail)
{
    DmaContext *dma = &pci_func(&s->dev)->dma;
    uint8_t d[DESC_BYTES];
    uint64_t addr;
    dma_read(dma, at, d, sizeof(d));
    memcpy(&addr, d, 8);
    if (addr) { /* 3.2.3: a null descriptor is only marked */
        dma_write(dma, GUINT64_FROM_LE(addr), data, len);
    }
    d[8] = (uint8_t)len;
    d[9] = (uint8_t)(len >> 8);
    memcpy(d + 10, tail, 6);
    dma_write(dma, at + 8, d + 8, 4);
    dma_write(dma, at + 13, d + 13, 3);
    dma_write(dma, at + 12, d + 12, 1); /* the status is last: then it is done */
}

bool e1000_receive(Device *dev, const NetFrame *f)
{
    E1000 *s = dev_as(E1000, dev);
    uint32_t rctl = *e1000_reg(s, E_RCTL), n = *e1000_reg(s, E_RDLEN) / DESC_BYTES;
    uint32_t *head = e1000_reg(s, E_RDH), tail = *e1000_reg(s, E_RDT), each = e1000_buffer_bytes(rctl);
    if (!(rctl & RCTL_EN) || n == 0 || *head >= n || tail >= n || f->len > RX_LONGEST ||
        !e1000_accepts(s, f)) {
        return true;
    }
    uint8_t frame[RX_LONGEST + 64], status = 0;
    uint16_t tag = 0;
    size_t len = e1000_lay_out(s, f, frame, &status, &tag);
    uint32_t need = (uint32_t)((len + each - 1) / each), left = (tail + n - *head) % n;
    if (need > left) {
        if (need < n) { /* 13.7.4 */
            e1000_count(s, E_RNBC, 1);
        }
        s->kind->interrupt(s, need < n ? INT_RXO | INT_RXDMT0 : INT_RXO);
        return need >= n;
    }
    uint64_t base = *e1000_reg(s, E_RDBAL) | (uint64_t)*e1000_reg(s, E_RDBAH) << 32;
    uint32_t cause = INT_RXT0;
    uint16_t sum = GUINT16_TO_LE((uint16_t)~net_checksum(frame, len));
    for (size_t at = 0; at < len; at += each) {
        bool last = len - at <= each;
        uint8_t csum = e1000_csum_status(s, f);
        uint8_t end[6] = { [2] = (uint8_t)(RXD_DD | (last ? RXD_EOP | status | csum : 0)),
                           [4] = (uint8_t)tag,
                           [5] = (uint8_t)(tag >> 8) };
        memcpy(end, &sum, 2);
        write_buffer(s, base + (uint64_t)*head * DESC_BYTES, frame + at, MIN(each, len - at), end);
        *head = (*head + 1) % n;
        cause |= few_left(s, --left, n) ? INT_RXDMT0 : 0;
    }
    e1000_count_received(s, f);
    s->kind->interrupt(s, cause);
    return true;
}
