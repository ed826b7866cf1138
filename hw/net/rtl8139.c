/* SPDX-License-Identifier: MIT
 * hw/net/rtl8139.c - Realtek's RTL8139C+ network card: `-device rtl8139`.
 *
 * Models: the RTL8139C(L)+ data sheet (rev. 1.6): both ways of moving frames. In the older one the driver has
 *         four transmit buffers (TSD, TSAD) and one receive ring of bytes (RBSTART, CAPR, CBR); in the newer
 *         one (CPCR) rings of descriptors, checksums and TCP segmentation left to the card, VLAN tags. Then
 *         filters, the tally counters, the timer, the 93C46, the PHY's registers.
 * Does not model: wake-up, flash, early interrupts (frames are whole), flow control; loopback (what goes into
 *         it is gone).
 * One file: both ways share most registers, and a driver may use one for each direction.
 * Threads: the device's domain.
 */
#include "nic.h"
#include "rhea/hw/pci.h"
#include "rhea/system/machine.h"

#include <string.h>

enum { /* 5, 6.1: registers */
       R_IDR = 0x00,
       R_MAR = 0x08,
       R_TSD = 0x10,   /* four; in C+ mode the address of the tally counters */
       R_TSAD = 0x20,  /* four; in C+ mode the normal transmit ring */
       R_THPDS = 0x28, /* C+: the other one */
       R_RBSTART = 0x30,
       R_CR = 0x37,
       R_CAPR = 0x38,
       R_CBR = 0x3a,
       R_IMR = 0x3c,
       R_ISR = 0x3e,
       R_TCR = 0x40,
       R_RCR = 0x44,
       R_TCTR = 0x48,
       R_MPC = 0x4c,
       R_9346CR = 0x50,
       R_CONFIG0 = 0x51,
       R_CONFIG1 = 0x52,
       R_TIMERINT = 0x54,
       R_MSR = 0x58,
       R_CONFIG3 = 0x59,
       R_CONFIG4 = 0x5a,
       R_MULINT = 0x5c,
       R_RERID = 0x5e,
       R_TSAD_ALL = 0x60, /* TSAD: all four transmit states */
       R_BMCR = 0x62,
       R_BMSR = 0x64,
       R_ANAR = 0x66,
       R_ANLPAR = 0x68,
       R_ANER = 0x6a,
       R_CONFIG5 = 0xd8,
       R_TPPOLL = 0xd9,
       R_CPCR = 0xe0,
       R_RDSAR = 0xe4,
       R_SIZE = 0x100,
};
enum { CR_BUFE = 1, CR_TE = 4, CR_RE = 8, CR_RST = 0x10 };
enum { /* ISR, IMR */
       INT_ROK = 1,
       INT_TOK = 4,
       INT_RXOVW = 0x10, /* C+: no descriptor */
       INT_LINK = 0x20,
       INT_TDU = 0x80,
       INT_SW = 0x100,
       INT_TIMEOUT = 0x4000
};
enum { TSD_OWN = 1 << 13, TSD_TOK = 1 << 15, TSD_SIZE = 0x1fff, SLOTS = 4 };
enum { TCR_LBK = 3 << 17, TCR_CRC = 1 << 16, TCR_WRITABLE = 0x03070700 | TCR_LBK | TCR_CRC };
#define TCR_VERSION 0x74800000u /* of the C+ */
enum { RCR_AAP = 1, RCR_APM = 2, RCR_AM = 4, RCR_AB = 8, RCR_WRAP = 0x80 };
enum { RX_OK = 1, RX_BAR = 1 << 13, RX_PAM = 1 << 14, RX_MAR = 1 << 15, RX_HEADER = 4 };
enum { CPCR_TX = 1, CPCR_RX = 2, CPCR_CHECK = 0x20, CPCR_VLAN = 0x40 };
enum { POLL_SW = 1, POLL_NORMAL = 0x40, POLL_HIGH = 0x80 };
#define D_OWN (1u << 31) /* descriptors: 6.3 */
#define D_EOR (1u << 30)
enum { D_FS = 1 << 29, D_LS = 1 << 28, D_LGSEN = 1 << 27, D_IPCS = 1 << 18, D_UDPCS = 1 << 17,
       D_TCPCS = 1 << 16, D_TAG = 1 << 17, MSS = 0x7ff << 16 };
enum { RD_MAR = 1 << 26, RD_PAM = 1 << 25, RD_BAR = 1 << 24, RD_TAVA = 1 << 16, RD_SIZE = 0x1fff };
enum { DESC = 16, RING = 64, TX_TURN = 128, RX_LONGEST = 4096, TALLY = 64 };
enum { TX_MAX = 65536, TX_FRAME = TX_MAX - 8, TAG = 4 };
enum { UNLOCKED = 0xc0, EE_PROGRAM = 0x80, EE_CS = 8, EE_SK = 4, EE_DI = 2, EE_DO = 1 };
enum { BMSR = 0x7809, BMSR_LINK = 4, BMSR_DONE = 0x20, BMCR_RESET = 0x8000, BMCR_RESTART = 0x200 };
enum { AGAIN_NS = 1000000, TICK_NS = 30 }; /* 33 MHz */

typedef struct Rtl8139 {
    Device dev;
    NetPort port;
    NetMac mac;
    int32_t bootindex;
    MemRegion mem, io;
    IrqLine irq;
    DomainTask more;
    Microwire eeprom;
    /* guest-visible state */
    uint8_t id[NET_MAC], mar[8];
    uint32_t tsd[SLOTS], tsad[SLOTS]; /* C+: by their second names */
    uint32_t rbstart, tcr, rcr, mpc, timer_int;
    uint16_t capr, cbr, imr, isr, mulint, cpcr, bmcr, anar;
    uint8_t cr, eecr, config1, config3, config4, config5;
    uint32_t rdsar[2];
    uint8_t tx_next; /* the older way: which buffer is looked at */
    uint8_t tx_at[2], rx_at; /* C+: places in the rings, below RING */
    bool tx_wanted[2];       /* polled for */
    int64_t timer_base;      /* virtual time at which TCTR was zero */
    Timer timeout;           /* TIMERINT */
    Timer again;             /* a frame waits for a descriptor: no register tells that there is one */
    uint64_t tally[4];       /* frames sent, received, to all, to groups */
    /* the frame that goes out */
    bool stalled;
    bool tx_busy;            /* there is one, of this ring: */
    uint8_t tx_ring;
    uint32_t tx_first;       /* the first word of its first descriptor */
    uint32_t tx_tag;
    uint32_t tx_len;
    bool tx_skip;
    uint8_t tx[TX_MAX];
} Rtl8139;

/* ---- interrupts ---- */

static void update_line(Rtl8139 *s)
{
    irq_set(&s->irq, s->isr & s->imr);
}

static void interrupt(Rtl8139 *s, uint16_t cause)
{
    s->isr |= cause;
    update_line(s);
}

static uint32_t ticks(const Rtl8139 *s)
{
    return (uint32_t)(((uint64_t)clock_now(s->dev.machine->clock) - (uint64_t)s->timer_base) / TICK_NS);
}

/* TCTR counts from zero to 2^32 and on; at TIMERINT it interrupts. */
static void arm_timeout(Rtl8139 *s)
{
    if (!s->timer_int) {
        timer_cancel(&s->timeout);
        return;
    }
    uint64_t wait = (uint32_t)(s->timer_int - ticks(s));
    wait = wait ? wait : UINT64_C(1) << 32;
    timer_arm(&s->timeout, clock_now(s->dev.machine->clock) + (int64_t)wait * TICK_NS);
}

static void timeout_fired(void *opaque)
{
    Rtl8139 *s = dev_as(Rtl8139, (Device *)opaque);
    interrupt(s, INT_TIMEOUT);
    arm_timeout(s);
}

static void again_fired(void *opaque)
{
    net_port_resume(&dev_as(Rtl8139, (Device *)opaque)->port);
}

/* ---- out ---- */

static bool send_frame(Rtl8139 *s, const NetHdr *h, size_t len)
{
    IoVec v;
    iov_init_buf(&v, s->tx, len);
    if (!net_port_send(&s->port, h, &v, 0)) {
        return false;
    }
    s->tally[0]++;
    return true;
}

static uint32_t tsd_size(const Rtl8139 *s)
{
    return s->tsd[s->tx_next] & TSD_SIZE;
}

/* 6.1.3: the four buffers go out one after the other. */
static void transmit_slots(Rtl8139 *s)
{
    for (unsigned i = 0; i < SLOTS && (s->cr & CR_TE) && !(s->tsd[s->tx_next] & TSD_OWN); i++) {
        uint32_t len = tsd_size(s);
        NetHdr h = { 0 };
        dma_read(&pci_func(&s->dev)->dma, s->tsad[s->tx_next], s->tx, len);
        if (!(s->tcr & TCR_LBK) && !send_frame(s, &h, len)) {
            s->stalled = true;
            return;
        }
        s->tsd[s->tx_next] |= TSD_OWN | TSD_TOK;
        s->tx_next = (s->tx_next + 1) % SLOTS;
        interrupt(s, INT_TOK);
    }
}

static uint64_t ring_base(const Rtl8139 *s, unsigned ring)
{
    return (s->tsad[2 * ring] & ~UINT32_C(255)) | (uint64_t)s->tsad[2 * ring + 1] << 32;
}

/* What the descriptor asks for (6.3.1), for IPv4: the header's checksum is made here, the others' share of
 * the pseudo header too, the rest is left to the network. */
static void prepare_offload(Rtl8139 *s, NetHdr *h)
{
    uint8_t *f = s->tx;
    NicFlow flow;
    nic_flow(f, s->tx_len, &flow);
    if (flow.ip != 4) {
        return;
    }
    size_t ip = flow.addresses - 12, header = (f[ip] & 15) * 4u;
    bool large = (s->tx_first & D_LGSEN) && flow.protocol == 6 && (s->tx_first & MSS);
    uint32_t want = s->tx_first & D_LGSEN ? D_IPCS | D_TCPCS : s->tx_first;
    if (large) {
        nic_put_be16(f + ip + 2, (unsigned)(s->tx_len - ip));
        h->gso = NET_GSO_TCP4;
        h->gso_size = (uint16_t)((s->tx_first & MSS) >> 16);
        h->hdr_len = (uint16_t)flow.payload;
    }
    if (want & D_IPCS) {
        nic_put_be16(f + ip + 10, 0);
        nic_put_be16(f + ip + 10, (uint16_t)~net_checksum(f + ip, header));
    }
    if ((want & D_TCPCS && flow.protocol == 6) || (want & D_UDPCS && flow.protocol == 17)) {
        unsigned offset = flow.protocol == 6 ? 16 : 6;
        uint32_t length = (uint32_t)(uint16_t)(nic_be16(f + ip + 2) - header);
        uint32_t sum = net_checksum(f + flow.addresses, 8) + flow.protocol + length;
        nic_put_be16(f + flow.ports + offset, (sum & 0xffff) + (sum >> 16));
        h->needs_csum = true;
        h->csum_start = (uint16_t)flow.ports;
        h->csum_offset = (uint16_t)offset;
    }
}

static void insert_tag(Rtl8139 *s)
{
    memmove(s->tx + 16, s->tx + 12, s->tx_len - 12);
    nic_put_be16(s->tx + 12, 0x8100);
    nic_put_be16(s->tx + 14, GUINT16_SWAP_LE_BE((uint16_t)s->tx_tag)); /* VIDH is the lower byte */
    s->tx_len += TAG;
}

/* False: no room, it stays, and its last descriptor is looked at again. */
static bool finish_frame(Rtl8139 *s)
{
    NetHdr h = { 0 };
    if (s->tx_skip || s->tx_len < NET_ETH) {
        guest_error(&s->dev, "rtl8139: a frame of %s bytes", s->tx_skip ? "too many" : "too few");
        return true;
    }
    if ((s->tx_tag & D_TAG) && !s->stalled) {
        insert_tag(s);
    }
    prepare_offload(s, &h);
    s->stalled = !(s->tcr & TCR_LBK) && !send_frame(s, &h, s->tx_len);
    return !s->stalled;
}

static void drop_frame(Rtl8139 *s)
{
    s->tx_len = 0;
    s->tx_skip = s->tx_busy = false;
}

/* One descriptor; false: it is the driver's, or the network is full. */
static bool take_descriptor(Rtl8139 *s, unsigned ring)
{
    DmaContext *dma = &pci_func(&s->dev)->dma;
    uint64_t at = ring_base(s, ring) + s->tx_at[ring] * (uint64_t)DESC;
    uint8_t d[DESC];
    bool there = dma_read(dma, at, d, sizeof(d)) == MEM_OK; /* where nothing is, all bits are ones */
    uint32_t first = nic_le32(d), len = first & 0xffff;
    if (!there || !(first & D_OWN)) {
        return false;
    }
    if (!s->stalled) {
        s->tx_busy = true;
        s->tx_ring = (uint8_t)ring;
        if (first & D_FS) {
            s->tx_len = 0;
            s->tx_skip = false;
            s->tx_first = first;
            s->tx_tag = nic_le32(d + 4);
        }
        if (s->tx_len + len > TX_FRAME) {
            s->tx_skip = true;
        } else if (!s->tx_skip) {
            dma_read(dma, nic_le64(d + 8), s->tx + s->tx_len, len);
            s->tx_len += len;
        }
    }
    if ((first & D_LS) && !finish_frame(s)) {
        return false;
    }
    if (first & D_LS) {
        drop_frame(s);
    }
    nic_put_le(d, 4, first & ~D_OWN & ~UINT32_C(0x00ff0000)); /* no errors, no collisions */
    dma_write(dma, at, d, 4);
    s->tx_at[ring] = first & D_EOR ? 0 : (s->tx_at[ring] + 1) % RING;
    return true;
}

/* The ring of high priority goes first, but not into the middle of the other one's frame. */
static void transmit_rings(Rtl8139 *s)
{
    bool sent = false;
    unsigned taken = 0, ring;
    while (ring = s->tx_busy ? s->tx_ring : s->tx_wanted[1], s->tx_wanted[ring] && (s->cr & CR_TE)) {
        if (taken++ == TX_TURN) { /* others want the domain too */
            domain_post(&s->more);
            break;
        }
        if (!take_descriptor(s, ring)) {
            s->tx_wanted[ring] = s->stalled;
            if (s->stalled) {
                break;
            }
            continue; /* the other ring's turn */
        }
        sent = true;
    }
    if (sent) {
        interrupt(s, INT_TOK | (s->tx_wanted[0] || s->tx_wanted[1] ? 0 : INT_TDU));
    }
}

static void transmit(Rtl8139 *s)
{
    if (s->cpcr & CPCR_TX) {
        transmit_rings(s);
    } else {
        if (s->tx_busy) { /* of the other way: it is gone */
            drop_frame(s);
        }
        s->stalled = false;
        transmit_slots(s);
    }
}

/* ---- in ---- */

/* Why the frame is for us, in the bits of RX_*; 0: it is not. */
static unsigned accepted(const Rtl8139 *s, const uint8_t *f)
{
    if (nic_is_broadcast(f)) {
        return s->rcr & (RCR_AB | RCR_AAP) ? RX_BAR : 0;
    }
    if (f[0] & 1) {
        unsigned h = nic_hash(f) >> 26;
        return (s->rcr & RCR_AAP) || ((s->rcr & RCR_AM) && (s->mar[h / 8] >> h % 8 & 1)) ? RX_MAR : 0;
    }
    return (s->rcr & RCR_APM) && net_mac_is(f, s->id) ? RX_PAM : s->rcr & RCR_AAP ? RX_OK : 0;
}

static size_t ring_bytes(const Rtl8139 *s)
{
    return (size_t)8192 << (s->rcr >> 11 & 3);
}

/* 6.1.12: a header, the frame with its CRC, filled up to four bytes; behind the end it begins anew, or with
 * WRAP runs on into 1.5 KB that the driver has there. */
static bool ring_receive(Rtl8139 *s, const uint8_t *frame, size_t len, unsigned why)
{
    DmaContext *dma = &pci_func(&s->dev)->dma;
    size_t size = ring_bytes(s), need = (RX_HEADER + len + 3) & ~(size_t)3;
    size_t read = (size_t)(uint16_t)(s->capr + 16) % size, at = s->cbr % size;
    size_t used = (at + size - read) % size;
    if (used + need >= size) {
        interrupt(s, INT_RXOVW);
        return false;
    }
    uint8_t buf[RX_LONGEST + RX_HEADER + 8];
    nic_put_le(buf, 2, RX_OK | why);
    nic_put_le(buf + 2, 2, len);
    memcpy(buf + RX_HEADER, frame, len);
    memset(buf + RX_HEADER + len, 0, 4);
    size_t straight = (s->rcr & RCR_WRAP) && (s->rcr >> 11 & 3) != 3 ? need : MIN(need, size - at);
    dma_write(dma, s->rbstart + at, buf, straight);
    if (straight < need) {
        dma_write(dma, s->rbstart, buf + straight, need - straight);
    }
    s->cbr = (uint16_t)((at + need) % size);
    interrupt(s, INT_ROK);
    return true;
}

/* 6.3.2: what the card found out about IP, TCP and UDP, in bits 17 and 16. */
static uint32_t protocol_bits(const Rtl8139 *s, const NetFrame *f)
{
    NicFlow flow;
    if (!(s->cpcr & CPCR_CHECK) || !f->hdr.csum_valid) {
        return 0;
    }
    nic_flow(f->data, f->len, &flow);
    return flow.ip != 4 ? 0 : flow.protocol == 6 ? 1 << 16 : flow.protocol == 17 ? 2 << 16 : 3 << 16;
}

static bool descriptor_receive(Rtl8139 *s, const NetFrame *f, const uint8_t *frame, size_t len, unsigned why,
                               uint32_t tag)
{
    DmaContext *dma = &pci_func(&s->dev)->dma;
    uint64_t base = (s->rdsar[0] & ~UINT32_C(255)) | (uint64_t)s->rdsar[1] << 32;
    uint64_t at[RING];
    uint32_t word[RING];
    size_t room = 0;
    unsigned n = 0, place = s->rx_at;
    while (room < len) { /* are there enough? */
        uint8_t d[4];
        at[n] = base + place * (uint64_t)DESC;
        bool there = dma_read(dma, at[n], d, sizeof(d)) == MEM_OK;
        word[n] = nic_le32(d);
        if (!there || !(word[n] & D_OWN) || !(word[n] & RD_SIZE)) {
            interrupt(s, INT_RXOVW);
            return false;
        }
        place = word[n] & D_EOR ? 0 : (place + 1) % RING;
        room += word[n++] & RD_SIZE;
        if (n == RING && room < len) { /* all of them together are too small */
            return true;
        }
    }
    size_t done = 0;
    for (unsigned i = 0; i < n; i++) {
        uint8_t d[DESC];
        dma_read(dma, at[i], d, sizeof(d));
        size_t part = MIN(word[i] & RD_SIZE, len - done);
        dma_write(dma, nic_le64(d + 8), frame + done, part);
        done += part;
        uint32_t out = (word[i] & D_EOR) | (i == 0 ? D_FS : 0) | (i == n - 1 ? D_LS : 0) | (uint32_t)len;
        out |= why & RX_BAR ? RD_BAR : why & RX_MAR ? RD_MAR : why & RX_PAM ? RD_PAM : 0;
        nic_put_le(d + 4, 4, tag);
        dma_write(dma, at[i] + 4, d + 4, 4);
        nic_put_le(d, 4, out | protocol_bits(s, f));
        dma_write(dma, at[i], d, 4); /* OWN goes last */
    }
    s->rx_at = (uint8_t)place;
    interrupt(s, INT_ROK);
    return true;
}

static bool receive(Device *dev, const NetFrame *f)
{
    Rtl8139 *s = dev_as(Rtl8139, dev);
    unsigned why = accepted(s, f->data);
    if (!(s->cr & CR_RE) || !why || f->len + 8 > RX_LONGEST) {
        return true;
    }
    uint8_t frame[RX_LONGEST + 64], plain[RX_LONGEST];
    const uint8_t *data = f->data;
    size_t len = f->len;
    uint32_t tag = 0;
    bool rings = s->cpcr & CPCR_RX;
    if (rings && (s->cpcr & CPCR_VLAN) && len >= NET_ETH + 4 && nic_be16(data + 12) == 0x8100) {
        tag = RD_TAVA | GUINT16_SWAP_LE_BE(nic_be16(data + 14));
        memcpy(plain, data, 12);
        memcpy(plain + 12, data + 16, len - 16);
        data = plain;
        len -= 4;
    }
    len = nic_lay_out(data, len, frame);
    why &= ~(unsigned)RX_OK;
    if (!(rings ? descriptor_receive(s, f, frame, len, why, tag) : ring_receive(s, frame, len, why))) {
        timer_arm(&s->again, clock_now(dev->machine->clock) + AGAIN_NS);
        return false;
    }
    s->tally[1]++;
    s->tally[2] += why == RX_BAR;
    s->tally[3] += why == RX_MAR;
    return true;
}

/* ---- registers ---- */

static void reset_transfer(Rtl8139 *s)
{
    for (unsigned i = 0; i < SLOTS; i++) {
        s->tsd[i] = TSD_OWN;
    }
    s->cr = 0;
    s->isr = s->imr = 0;
    s->capr = 0xfff0;
    s->cbr = 0;
    s->tcr = 0;
    s->rcr = 0;
    s->cpcr = 0;
    s->mpc = 0;
    s->mulint = 0;
    s->tx_next = s->tx_at[0] = s->tx_at[1] = s->rx_at = 0;
    s->tx_wanted[0] = s->tx_wanted[1] = false;
    s->stalled = false;
    drop_frame(s);
    s->tx_ring = 0;
    s->tx_first = s->tx_tag = 0;
    timer_cancel(&s->again);
}

static void reset_all(Rtl8139 *s)
{
    reset_transfer(s);
    memcpy(s->id, s->mac.b, NET_MAC);
    memset(s->mar, 0xff, sizeof(s->mar));
    memset(s->tsad, 0, sizeof(s->tsad));
    memset(s->rdsar, 0, sizeof(s->rdsar));
    memset(s->tally, 0, sizeof(s->tally));
    memset(s->tx, 0, sizeof(s->tx));
    s->rbstart = s->timer_int = 0;
    s->eecr = 0;
    s->config1 = 0x0c; /* memory and I/O are mapped */
    s->config3 = 0x01;
    s->config4 = s->config5 = 0;
    s->bmcr = 0x3000; /* 100 Mbit/s, by agreement */
    s->anar = 0x05e1;
    s->timer_base = 0;
    timer_cancel(&s->timeout);
    microwire_reset(&s->eeprom);
}

static void dump_tally(Rtl8139 *s, uint32_t low)
{
    uint8_t t[TALLY] = { 0 };
    nic_put_le(t, 8, s->tally[0]);
    nic_put_le(t + 8, 8, s->tally[1]);
    nic_put_le(t + 40, 8, s->tally[1] - s->tally[2] - s->tally[3]);
    nic_put_le(t + 48, 8, s->tally[2]);
    nic_put_le(t + 56, 4, s->tally[3]);
    dma_write(&pci_func(&s->dev)->dma, (low & ~UINT32_C(63)) | (uint64_t)s->tsd[1] << 32, t, sizeof(t));
}

static uint8_t config_lock(const Rtl8139 *s)
{
    return (s->eecr & UNLOCKED) == UNLOCKED;
}

static uint8_t read_eecr(const Rtl8139 *s)
{
    bool program = (s->eecr & UNLOCKED) == EE_PROGRAM;
    return (uint8_t)((s->eecr & ~EE_DO) | (program && s->eeprom.out ? EE_DO : 0));
}

static uint16_t all_states(const Rtl8139 *s)
{
    unsigned v = 0;
    for (unsigned i = 0; i < SLOTS; i++) {
        v |= (s->tsd[i] & TSD_OWN ? 1u : 0) << i | (s->tsd[i] & TSD_TOK ? 1u : 0) << (12 + i);
    }
    return (uint16_t)v;
}

static uint16_t bmsr(const Rtl8139 *s)
{
    return BMSR | (net_port_link_up(&s->port) ? BMSR_LINK | BMSR_DONE : 0);
}

static uint8_t read_byte_register(const Rtl8139 *s, unsigned at)
{
    bool link = net_port_link_up(&s->port), empty = (uint16_t)(s->capr + 16) % ring_bytes(s) == s->cbr;
    switch (at) {
    case R_CR: return (uint8_t)(s->cr | (empty || (s->cpcr & CPCR_RX) ? CR_BUFE : 0));
    case R_9346CR: return read_eecr(s);
    case R_CONFIG1: return s->config1;
    case R_MSR: return link ? 0 : 4; /* LINKB */
    case R_CONFIG3: return s->config3;
    case R_CONFIG4: return s->config4;
    case R_RERID: return 0x10;
    case R_CONFIG5: return s->config5;
    default: return 0;
    }
}

/* The 32-bit word that a register lies in; byte and word accesses take their part of it. */
static uint32_t read_word(Rtl8139 *s, unsigned at)
{
    uint32_t v = 0;
    if (at >= R_TSD && at < R_TSD + 4 * SLOTS) {
        return s->tsd[(at - R_TSD) / 4];
    }
    if (at >= R_TSAD && at < R_TSAD + 4 * SLOTS) {
        return s->tsad[(at - R_TSAD) / 4];
    }
    switch (at) {
    case R_IDR: return nic_le32(s->id);
    case R_IDR + 4: return nic_le16(s->id + 4);
    case R_MAR: return nic_le32(s->mar);
    case R_MAR + 4: return nic_le32(s->mar + 4);
    case R_RBSTART: return s->rbstart;
    case R_CAPR: return s->capr | (uint32_t)s->cbr << 16;
    case R_IMR: return s->imr | (uint32_t)s->isr << 16;
    case R_TCR: return s->tcr | TCR_VERSION;
    case R_RCR: return s->rcr;
    case R_TCTR: return ticks(s);
    case R_MPC: return s->mpc;
    case R_TIMERINT: return s->timer_int;
    case R_TSAD_ALL: return all_states(s) | (uint32_t)s->bmcr << 16;
    case R_BMSR: return bmsr(s) | (uint32_t)s->anar << 16;
    case R_ANLPAR: return 0x45e1 | 1u << 16; /* the partner can do all of it; ANER: it agrees */
    case R_CPCR: return s->cpcr;
    case R_RDSAR: return s->rdsar[0];
    case R_RDSAR + 4: return s->rdsar[1];
    default: break;
    }
    for (unsigned i = 0; i < 4; i++) {
        v |= (uint32_t)read_byte_register(s, at + i) << 8 * i;
    }
    return at == R_MULINT ? v | s->mulint : v;
}

static uint64_t rtl_read(void *opaque, MemAccess *a)
{
    unsigned at = (unsigned)a->off;
    return read_word(opaque, at & ~3u) >> 8 * (at & 3);
}

static void write_cr(Rtl8139 *s, uint8_t val)
{
    if (val & CR_RST) {
        reset_transfer(s);
        update_line(s);
        return;
    }
    s->cr = val & (CR_TE | CR_RE);
    net_port_resume(&s->port);
    transmit(s);
}

static void write_eecr(Rtl8139 *s, uint8_t val)
{
    s->eecr = val & ~EE_DO;
    if ((val & UNLOCKED) == EE_PROGRAM) {
        if (!microwire_set(&s->eeprom, val & EE_CS, val & EE_SK, val & EE_DI)) {
            guest_error(&s->dev, "rtl8139: command 0x%x of the EEPROM, which is only read",
                        s->eeprom.shift >> 6);
        }
    } else if ((val & UNLOCKED) == 0x40) { /* auto-load */
        memcpy(s->id, s->mac.b, NET_MAC);
        s->eecr = 0;
    }
}

static void write_tppoll(Rtl8139 *s, uint8_t val)
{
    if (val & POLL_SW) {
        interrupt(s, INT_SW);
    }
    if (s->cpcr & CPCR_TX) {
        s->tx_wanted[0] |= (val & POLL_NORMAL) != 0;
        s->tx_wanted[1] |= (val & POLL_HIGH) != 0;
        if (!s->stalled) {
            transmit(s);
        }
    }
}

static void write_byte(Rtl8139 *s, unsigned at, uint8_t val)
{
    switch (at) {
    case R_CR: write_cr(s, val); break;
    case R_9346CR: write_eecr(s, val); break;
    case R_CONFIG1: s->config1 = config_lock(s) ? (val & 0xf3) | 0x0c : s->config1; break;
    case R_CONFIG3: s->config3 = config_lock(s) ? (val & 0x30) | 1 : s->config3; break;
    case R_CONFIG4: s->config4 = config_lock(s) ? val : s->config4; break;
    case R_CONFIG5: s->config5 = config_lock(s) ? val & 0x7f : s->config5; break;
    case R_TPPOLL: write_tppoll(s, val); break;
    default:
        if (at < R_IDR + NET_MAC) {
            if (config_lock(s)) {
                s->id[at] = val;
                net_port_set_info(&s->port, NULL, s->id);
            }
        } else if (at >= R_MAR && at < R_MAR + 8) {
            s->mar[at - R_MAR] = val;
        }
    }
}

/* Registers of 16 bits; false: it is none. */
static bool write_half(Rtl8139 *s, unsigned at, uint16_t val)
{
    switch (at) {
    case R_CAPR:
        s->capr = val;
        net_port_resume(&s->port);
        return true;
    case R_IMR:
        s->imr = val & 0xe1ff;
        update_line(s);
        net_port_resume(&s->port);
        return true;
    case R_ISR:
        s->isr &= ~val;
        update_line(s);
        net_port_resume(&s->port); /* a moment at which descriptors may have come back */
        return true;
    case R_MULINT: s->mulint = val & 0xfff; return true;
    case R_BMCR:
        s->bmcr = val & BMCR_RESET ? 0x3000 : val & ~BMCR_RESTART & 0x3300;
        if (val & (BMCR_RESET | BMCR_RESTART)) {
            interrupt(s, INT_LINK);
        }
        return true;
    case R_ANAR: s->anar = val; return true;
    case R_CPCR:
        s->cpcr = val & 0x7b;
        s->tx_wanted[0] &= (val & CPCR_TX) != 0;
        s->tx_wanted[1] &= (val & CPCR_TX) != 0;
        if (!s->stalled) {
            transmit(s);
        }
        return true;
    case R_CBR:
    case R_BMSR:
    case R_TSAD_ALL:
    case R_ANLPAR:
    case R_ANER: return true; /* read-only */
    default: return false;
    }
}

static void write_tsd(Rtl8139 *s, unsigned i, uint32_t val)
{
    if (i == 0 && (val & 8) && (s->cpcr & (CPCR_TX | CPCR_RX))) { /* C+: the tally counters' address */
        dump_tally(s, val);
        s->tsd[0] = val & ~UINT32_C(63); /* done at once */
        return;
    }
    if (s->cpcr & CPCR_TX) {
        s->tsd[i] = val;
        return;
    }
    s->tsd[i] = val & 0x003fffff & ~(uint32_t)TSD_TOK;
    if (!s->stalled) {
        transmit(s);
    }
}

static bool write_whole(Rtl8139 *s, unsigned at, uint32_t val)
{
    if (at >= R_TSD && at < R_TSD + 4 * SLOTS) {
        write_tsd(s, (at - R_TSD) / 4, val);
        return true;
    }
    if (at >= R_TSAD && at < R_TSAD + 4 * SLOTS) {
        s->tsad[(at - R_TSAD) / 4] = val;
        s->tx_at[0] = at < R_THPDS ? 0 : s->tx_at[0]; /* C+: the ring begins again */
        s->tx_at[1] = at < R_THPDS ? s->tx_at[1] : 0;
        return true;
    }
    switch (at) {
    case R_RBSTART:
        s->rbstart = val;
        s->cbr = 0;
        return true;
    case R_TCR: s->tcr = val & TCR_WRITABLE; return true;
    case R_RCR: s->rcr = val; return true;
    case R_TCTR:
        s->timer_base = clock_now(s->dev.machine->clock);
        arm_timeout(s);
        return true;
    case R_MPC: s->mpc = 0; return true;
    case R_TIMERINT:
        s->timer_int = val;
        arm_timeout(s);
        return true;
    case R_RDSAR:
    case R_RDSAR + 4:
        s->rdsar[(at - R_RDSAR) / 4] = val;
        s->rx_at = 0;
        return true;
    default: return false;
    }
}

/* An access is that of a register, or of several smaller ones. */
static void write_any(Rtl8139 *s, unsigned at, unsigned size, uint32_t val)
{
    if (size == 4 && write_whole(s, at, val)) {
        return;
    }
    if (size >= 2 && write_half(s, at, (uint16_t)val)) {
        if (size == 4) {
            write_any(s, at + 2, 2, val >> 16);
        }
        return;
    }
    if (size > 1) {
        write_any(s, at, size / 2, val & (size == 4 ? 0xffff : 0xff));
        write_any(s, at + size / 2, size / 2, val >> 4 * size);
        return;
    }
    write_byte(s, at, (uint8_t)val);
}

static void rtl_write(void *opaque, MemAccess *a, uint64_t val)
{
    write_any(opaque, (unsigned)a->off, a->size, (uint32_t)val);
}

/* ---- the network's side ---- */

static void more(void *dev)
{
    Rtl8139 *s = dev_as(Rtl8139, (Device *)dev);
    if (machine_running(s->dev.machine)) { /* else writable() comes when it does */
        transmit(s);
    }
}

static void writable(Device *dev)
{
    transmit(dev_as(Rtl8139, dev));
}

static void link_changed(Device *dev, bool up G_GNUC_UNUSED)
{
    Rtl8139 *s = dev_as(Rtl8139, dev);
    interrupt(s, INT_LINK);
    domain_post(&s->more); /* into an open end there is room */
}

static const NicOps nic_ops = { .receive = receive, .writable = writable, .link_changed = link_changed };

/* ---- life ---- */

static void make_eeprom(Rtl8139 *s)
{
    uint16_t *w = s->eeprom.word;
    w[0] = 0x8129;
    w[1] = 0x10ec;
    w[2] = 0x8139;
    w[3] = 0x1100;
    w[4] = 0x1af4;
    for (unsigned i = 0; i < NET_MAC / 2; i++) {
        w[7 + i] = nic_le16(s->mac.b + 2 * i);
    }
}

static bool rtl8139_realize(Device *dev, Error **errp)
{
    static const MemOps ops = { .read = rtl_read, .write = rtl_write, .min = 1, .max = 4, .impl_max = 4 };
    Rtl8139 *s = dev_as(Rtl8139, dev);
    device_add_task(dev, &s->more, more);
    if (!net_port_open(&s->port, dev, &nic_ops, &s->mac, errp) ||
        !machine_add_boot_device(dev, s->bootindex, "/ethernet-phy@0", errp)) {
        return false;
    }
    make_eeprom(s);
    region_init_io(&s->io, dev, "rtl8139-io", &ops, s, R_SIZE);
    region_init_io(&s->mem, dev, "rtl8139-mem", &ops, s, R_SIZE);
    device_add_region(dev, &s->io);
    device_add_region(dev, &s->mem);
    device_add_irq(dev, &s->irq);
    device_add_timer(dev, &s->timeout, timeout_fired);
    device_add_timer(dev, &s->again, again_fired);
    reset_all(s);
    return true;
}

static void rtl8139_reset(Device *dev, ResetKind kind G_GNUC_UNUSED)
{
    reset_all(dev_as(Rtl8139, dev));
}

static void rtl8139_reset_done(Device *dev)
{
    Rtl8139 *s = dev_as(Rtl8139, dev);
    irq_set(&s->irq, false);
    net_port_set_info(&s->port, NULL, s->id);
}

static bool rtl8139_post_load(void *opaque, Error **errp)
{
    Rtl8139 *s = opaque;
    if (s->tx_len > TX_FRAME + TAG) {
        return error_set(errp, "saved rtl8139: a frame of %u bytes", s->tx_len);
    }
    if (s->stalled) { /* a frame from descriptors is lost, its last one is done again */
        s->stalled = false;
        s->tx_skip = s->cpcr & CPCR_TX;
    }
    update_line(s);
    net_port_set_info(&s->port, NULL, s->id);
    domain_post(&s->more);
    return true;
}

static const VmField rtl8139_fields[] = {
    VM_STRUCT(Rtl8139, eeprom, microwire_state),
    VM_U8_ARRAY(Rtl8139, id),
    VM_U8_ARRAY(Rtl8139, mar),
    VM_U32_ARRAY(Rtl8139, tsd),
    VM_U32_ARRAY(Rtl8139, tsad),
    VM_U32(Rtl8139, rbstart),
    VM_U32(Rtl8139, tcr),
    VM_U32(Rtl8139, rcr),
    VM_U32(Rtl8139, mpc),
    VM_U32(Rtl8139, timer_int),
    VM_U16(Rtl8139, capr),
    VM_U16(Rtl8139, cbr),
    VM_U16(Rtl8139, imr),
    VM_U16(Rtl8139, isr),
    VM_U16(Rtl8139, mulint),
    VM_U16(Rtl8139, cpcr),
    VM_U16(Rtl8139, bmcr),
    VM_U16(Rtl8139, anar),
    VM_U8(Rtl8139, cr),
    VM_U8(Rtl8139, eecr),
    VM_U8(Rtl8139, config1),
    VM_U8(Rtl8139, config3),
    VM_U8(Rtl8139, config4),
    VM_U8(Rtl8139, config5),
    VM_U32_ARRAY(Rtl8139, rdsar),
    VM_U8_MAX(Rtl8139, tx_next, SLOTS - 1),
    VM_U8_ARRAY(Rtl8139, tx_at),
    VM_U8_MAX(Rtl8139, rx_at, RING - 1),
    { .name = "tx_wanted", .kind = VM_BOOL_, .offset = offsetof(Rtl8139, tx_wanted), .count = 2, .max = 1 },
    VM_I64(Rtl8139, timer_base),
    VM_TIMER(Rtl8139, timeout),
    VM_TIMER(Rtl8139, again),
    VM_U64_ARRAY(Rtl8139, tally),
    VM_BOOL(Rtl8139, stalled),
    VM_BOOL(Rtl8139, tx_busy),
    VM_U8_MAX(Rtl8139, tx_ring, 1),
    VM_U32(Rtl8139, tx_first),
    VM_U32(Rtl8139, tx_tag),
    VM_U32(Rtl8139, tx_len),
    VM_BOOL(Rtl8139, tx_skip),
    VM_U8_ARRAY(Rtl8139, tx),
    { 0 },
};
static const VmState rtl8139_state = {
    .name = "rtl8139", .version = 1, .oldest = 1, .fields = rtl8139_fields, .post_load = rtl8139_post_load,
};

static const Prop rtl8139_props[] = {
    NIC_PROPS(Rtl8139),
    { 0 },
};

static const PciOps rtl8139_pci_ops = {
    .vendor = 0x10ec,
    .device = 0x8139,
    .class_code = 0x020000,
    .revision = 0x20, /* the C+ */
    .intx_pin = 1,
    .romfile = "efi-rtl8139.rom",
    .bar = { [0] = { PCI_BAR_IO }, [1] = { PCI_BAR_MEM32 } },
};

const DeviceType rtl8139_type = {
    .name = "rtl8139",
    .desc = "Realtek RTL8139C+ fast Ethernet card",
    .size = sizeof(Rtl8139),
    .bus_type = &pci_bus_type,
    .bus_ops = &rtl8139_pci_ops,
    .category = "Network",
    .props = rtl8139_props,
    .vmstate = &rtl8139_state,
    .realize = rtl8139_realize,
    .reset = rtl8139_reset,
    .reset_done = rtl8139_reset_done,
};
