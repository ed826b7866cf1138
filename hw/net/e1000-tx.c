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

static void tx_clear(E1000Tx *t)
{
    t->len = 0;
    t->skip = t->tse = false;
    t->popts = t->css = t->cso = t->cmd = 0;
    t->special = 0;
}

/* 3.3.7.1: the header's checksum, put where the context says. */
static void insert_ip_csum(E1000Tx *t, const E1000Context *c)
{
    size_t end = c->ipcse && c->ipcse < t->len ? c->ipcse + 1u : t->len;
    if (c->ipcss < end && c->ipcso + 2u <= t->len) {
        nic_put_be16(t->data + c->ipcso, 0);
        nic_put_be16(t->data + c->ipcso, (uint16_t)~net_checksum(t->data + c->ipcss, end - c->ipcss));
    }
}

/* 3.5: the headers have neither lengths nor the checksum's share of them. */
static bool prepare_tso(E1000 *s, E1000Tx *t, NetHdr *h)
{
    const E1000Context *c = &t->tso;
    bool v6 = !(c->cmd & TU_IP);
    size_t ip = c->ipcss, tcp = c->tucss;
    if (!(c->cmd & TU_TCP) || ip < NET_ETH || tcp < ip + 20u || tcp + 20u > t->len || !c->mss ||
        c->tucso != tcp + 16u) {
        guest_error(&s->dev, "e1000: segmentation with headers at %zu and %zu, %u bytes each", ip, tcp,
                    c->mss);
        return false;
    }
    nic_put_be16(t->data + ip + (v6 ? 4 : 2), (unsigned)(t->len - ip - (v6 ? 40 : 0)));
    unsigned sum = nic_be16(t->data + c->tucso) + (unsigned)(t->len - tcp);
    nic_put_be16(t->data + c->tucso, (sum & 0xffff) + (sum >> 16));
    if (!v6) {
        insert_ip_csum(t, c);
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

static void prepare_csum(E1000Tx *t, NetHdr *h)
{
    const E1000Context *c = &t->ctx;
    unsigned start = t->cmd & CMD_DEXT ? c->tucss : t->css, at = t->cmd & CMD_DEXT ? c->tucso : t->cso;
    if (t->popts & POPTS_IXSM) {
        insert_ip_csum(t, c);
    }
    if ((t->popts & POPTS_TXSM) && start >= NET_ETH && at >= start && at + 2 <= t->len) {
        h->needs_csum = true;
        h->csum_start = (uint16_t)start;
        h->csum_offset = (uint16_t)(at - start);
    }
}

static void insert_vlan(E1000 *s, E1000Tx *t)
{
    memmove(t->data + 16, t->data + 12, t->len - 12);
    nic_put_be16(t->data + 12, *e1000_reg(s, E_VET) & 0xffff);
    nic_put_be16(t->data + 14, t->special);
    t->len += 4;
}

static void count_sent(E1000 *s, const E1000Tx *t)
{
    e1000_count(s, E_GPTC, 1);
    e1000_count(s, E_TPT, 1);
    e1000_count64(s, E_GOTCL, t->len + 4);
    e1000_count64(s, E_TOTL, t->len + 4);
    if (t->data[0] & 1) {
        e1000_count(s, nic_is_broadcast(t->data) ? E_BPTC : E_MPTC, 1);
    }
}

/* Everything that changes the frame, once. False: it is none. */
static bool finish_frame(E1000 *s, E1000Tx *t)
{
    if (t->skip || t->len < NET_ETH) {
        guest_error(&s->dev, "e1000: a frame of %s bytes", t->skip ? "too many" : "too few");
        return false;
    }
    if ((*e1000_reg(s, E_TCTL) & TCTL_PSP) && t->len < 60) {
        memset(t->data + t->len, 0, 60 - t->len);
        t->len = 60;
    }
    return true;
}

/* False: no room, it stays. */
static bool send_frame(E1000 *s, E1000Tx *t)
{
    NetHdr h = { 0 };
    if (!t->stalled) {
        if (!finish_frame(s, t)) {
            return true;
        }
        if (!t->tse) {
            prepare_csum(t, &h);
        } else if (!prepare_tso(s, t, &h)) {
            return true;
        }
        t->hdr = h;
        if (t->cmd & CMD_VLE && *e1000_reg(s, E_CTRL) & CTRL_VME) {
            insert_vlan(s, t);
            t->hdr.csum_start += t->hdr.needs_csum ? 4 : 0;
            t->hdr.hdr_len += t->hdr.gso ? 4 : 0;
        }
    }
    IoVec v;
    iov_init_buf(&v, t->data, t->len);
    if (!net_port_send(&s->port, &t->hdr, &v, 0)) {
        return false;
    }
    s->count[t->queue].sent_frames++;
    s->count[t->queue].sent_bytes += t->len;
    count_sent(s, t);
    return true;
}

/* 3.3.6: one of each kind is kept, and only another one of its kind takes its place. */
static void take_context(E1000Tx *t, const uint8_t *d)
{
    uint32_t low = nic_le32(d + 8);
    E1000Context *c = d[11] & TU_TSE ? &t->tso : &t->ctx;
    *c = (E1000Context){ .ipcss = d[0],
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

static void take_data(E1000 *s, E1000Tx *t, const uint8_t *d)
{
    uint64_t addr = nic_le32(d) | (uint64_t)nic_le32(d + 4) << 32;
    uint8_t cmd = d[11];
    bool extended = cmd & CMD_DEXT;
    uint32_t len = extended ? nic_le32(d + 8) & 0xfffff : (uint32_t)(d[8] | d[9] << 8);
    if (t->len == 0 && !t->skip) { /* of the first descriptor: 3.3.7 */
        t->cmd = cmd;
        t->popts = extended ? d[13] : cmd & CMD_IC ? POPTS_TXSM : 0;
        t->css = d[13];
        t->cso = d[10];
        t->tse = extended && (cmd & CMD_TSE);
    }
    t->special = (uint16_t)(d[14] | d[15] << 8);
    t->cmd |= cmd & CMD_VLE;
    if (len > TX_MAX - 8 - t->len) {
        t->skip = true;
    } else if (len && !t->skip) {
        dma_read(&pci_func(&s->dev)->dma, addr, t->data + t->len, len);
        t->len += len;
    }
}

/* One descriptor; false: the network is full, it stays where it is. */
static bool take_descriptor(E1000 *s, E1000Tx *t, uint64_t at, uint32_t *cause)
{
    DmaContext *dma = &pci_func(&s->dev)->dma;
    uint8_t d[DESC_BYTES];
    dma_read(dma, at, d, sizeof(d));
    bool extended = d[11] & CMD_DEXT, context = extended && (d[10] >> 4) == 0;
    if (context) {
        take_context(t, d);
    } else {
        if (!t->stalled) {
            take_data(s, t, d);
        }
        if (d[11] & CMD_EOP) {
            t->stalled = !send_frame(s, t);
            if (t->stalled) {
                return false;
            }
            tx_clear(t);
        }
    }
    if (d[11] & CMD_RS) { /* 3.3.3.2 */
        uint8_t status = (uint8_t)((d[12] & 0xf0) | 1);
        dma_write(dma, at + 12, &status, 1);
        *cause |= t->cause;
    }
    return true;
}

void e1000_transmit(E1000 *s, E1000Tx *t)
{
    unsigned q = t->queue;
    uint32_t n = *e1000_queue_reg(s, E_TDLEN, q) / DESC_BYTES, *head = e1000_queue_reg(s, E_TDH, q),
             tail = *e1000_queue_reg(s, E_TDT, q);
    uint64_t base = *e1000_queue_reg(s, E_TDBAL, q) | (uint64_t)*e1000_queue_reg(s, E_TDBAH, q) << 32;
    uint32_t cause = 0;
    if (!(*e1000_reg(s, E_TCTL) & TCTL_EN) || n == 0 || *head >= n || tail >= n || *head == tail) {
        return;
    }
    unsigned taken = 0;
    while (*head != tail && taken++ < TX_TURN &&
           take_descriptor(s, t, base + (uint64_t)*head * DESC_BYTES, &cause)) {
        *head = (*head + 1) % n;
    }
    if (*head == tail) {
        cause |= INT_TXQE;
    } else if (!t->stalled) {
        domain_post(&s->more); /* others want the domain too */
    }
    if (cause) {
        s->kind->interrupt(s, cause);
    }
}

/* ---- what a queue keeps ---- */

void e1000_tx_reset(E1000Tx *t)
{
    t->ctx = t->tso = (E1000Context){ 0 };
    t->hdr = (NetHdr){ 0 };
    t->stalled = false;
    tx_clear(t);
    memset(t->data, 0, sizeof(t->data));
}

bool e1000_tx_loaded(E1000Tx *t, Error **errp)
{
    if (t->len > TX_MAX - 8) {
        return error_set(errp, "saved e1000: a frame of %u bytes", t->len);
    }
    if (!(t->tso.cmd & CMD_DEXT)) { /* an older state has one for both */
        t->tso = t->ctx;
    }
    if (t->stalled) { /* the frame is lost, its last descriptor is done again */
        t->stalled = false;
        t->skip = true;
    }
    return true;
}

static const VmField context_fields[] = {
    VM_U8(E1000Context, ipcss),
    VM_U8(E1000Context, ipcso),
    VM_U8(E1000Context, tucss),
    VM_U8(E1000Context, tucso),
    VM_U8(E1000Context, hdrlen),
    VM_U8(E1000Context, cmd),
    VM_U16(E1000Context, ipcse),
    VM_U16(E1000Context, tucse),
    VM_U16(E1000Context, mss),
    VM_U32(E1000Context, paylen),
    { 0 },
};
static const VmState context_state = {
    .name = "e1000-context", .version = 1, .oldest = 1, .fields = context_fields
};
static const VmField tx_fields[] = {
    VM_STRUCT(E1000Tx, ctx, context_state),
    VM_BOOL(E1000Tx, stalled),
    VM_BOOL(E1000Tx, skip),
    VM_BOOL(E1000Tx, tse),
    VM_U8(E1000Tx, popts),
    VM_U8(E1000Tx, css),
    VM_U8(E1000Tx, cso),
    VM_U8(E1000Tx, cmd),
    VM_U16(E1000Tx, special),
    VM_U32(E1000Tx, len),
    VM_U8_ARRAY(E1000Tx, data),
    { .name = "tso",
      .kind = VM_STRUCT_,
      .since = 2,
      .sub = &context_state,
      .offset = offsetof(E1000Tx, tso) },
    { 0 },
};
const VmState e1000_tx_state = { .name = "e1000-tx", .version = 2, .oldest = 1, .fields = tx_fields };
