/* SPDX-License-Identifier: MIT
 * hw/net/pcnet.c - AMD's PCnet-PCI II network card: `-device pcnet`.
 *
 * Models: the Am79C970A data sheet (19436E): the registers behind RAP (CSR, BCR) in word and double-word
 *         mode, the initialization block and the descriptor rings in the shapes of SWSTYLE 0 to 3, chained
 *         buffers, filters, padding and stripping, the interrupt causes of CSR0, CSR3, CSR4, CSR5, internal
 *         and external loopback, suspend. One file: rings, filters and registers look at the same few CSRs.
 * Does not model: look-ahead (LAPP), collisions and other errors of the wire, the jabber and magic-packet
 *         machinery, byte swapping (BSWP, which a PCI card does not need), the EEPROM's wires.
 * Threads: the device's domain.
 */
#include "nic.h"
#include "rhea/hw/pci.h"
#include "rhea/system/machine.h"

#include <string.h>

enum { /* the I/O map: word mode, double-word mode */
       APROM = 0x00,
       WIO_RDP = 0x10,
       WIO_RAP = 0x12,
       WIO_RESET = 0x14,
       WIO_BDP = 0x16,
       DWIO_RAP = 0x14,
       DWIO_RESET = 0x18,
       DWIO_BDP = 0x1c,
       IO_SIZE = 0x20
};
enum { /* CSR0 */
       C0_INIT = 1,
       C0_STRT = 2,
       C0_STOP = 4,
       C0_TDMD = 8,
       C0_TXON = 0x10,
       C0_RXON = 0x20,
       C0_IENA = 0x40,
       C0_INTR = 0x80,
       C0_IDON = 0x100,
       C0_TINT = 0x200,
       C0_RINT = 0x400,
       C0_MERR = 0x800,
       C0_MISS = 0x1000,
       C0_BABL = 0x4000,
       C0_ERR = 0x8000,
       C0_CLEARED = 0x7f00, /* by writing ones */
       C0_CAUSES = C0_IDON | C0_TINT | C0_RINT | C0_MERR | C0_MISS | C0_BABL
};
enum { C3_WRITABLE = 0x5f7c };
enum { /* CSR4; the mask of each cause is the bit below it */
       C4_UINT = 0x40, C4_UINTCMD = 0x80, C4_ASTRP = 0x400, C4_APAD = 0x800,
       C4_TXDPOLL = 0x1000, C4_CAUSES = 0x22a, C4_WRITABLE = 0x5d15 };
enum { C5_SPND = 1, C5_SINT = 0x800, C5_SINTE = 0x400, C5_TOKINTD = 0x8000, C5_WRITABLE = 0xc577,
       C5_CLEARED = 0x0a90 };
enum { MODE_DRX = 1, MODE_DTX = 2, MODE_LOOP = 4, MODE_DXMTFCS = 8, MODE_DRCVPA = 0x2000,
       MODE_DRCVBC = 0x4000, MODE_PROM = 0x8000 };
/* Numbers of the registers that are more than storage. */
enum { CSR_MODE = 15, CSR_LADRF = 8, CSR_PADR = 12, CSR_BADR = 24, CSR_BADX = 30, CSR_POLLINT = 47,
       CSR_STYLE = 58, CSR_RCVRC = 72, CSR_XMTRC = 74, CSR_RCVRL = 76, CSR_XMTRL = 78, CSR_ID = 88,
       CSR_MFC = 112, CSRS = 128 };
enum { BCR_LNKST = 4, BCR_BSBC = 18, BCR_SWS = 20, BCRS = 32, BCR_DWIO = 0x80, SSIZE32 = 0x100 };
/* Descriptors, as style 2 has them in its second word. */
#define D_OWN (1u << 31)
#define D_ERR (1u << 30)
enum { D_ADD_FCS = 1 << 29, D_STP = 1 << 25, D_ENP = 1 << 24, D_PAM = 1 << 22, D_LAFM = 1 << 21,
       D_BAM = 1 << 20, D_STATUS = 0x7f << 24, D_BCNT = 0xfff };
enum { TX_MAX = 4096, TX_TURN = 128, RX_LONGEST = 4096, LINK_LED = 0x8000 };
enum { AGAIN_NS = 1000000, CLOCK_NS = 30 };

typedef struct Pcnet {
    Device dev;
    NetPort port;
    NetMac mac;
    int32_t bootindex;
    MemRegion mem, io;
    IrqLine irq;
    DomainTask more;
    /* guest-visible state */
    uint8_t aprom[16];
    uint16_t rap;
    uint16_t csr[CSRS], bcr[BCRS];
    bool dwio;
    uint32_t rdra, tdra;  /* where the rings are */
    Timer poll;           /* looks for descriptors that nobody told of */
    Timer again;          /* a frame waits for a receive descriptor */
    bool tx_stalled;      /* a complete frame found no room in the network */
    bool tx_begun, tx_skip, tx_fcs;
    uint32_t tx_len;
    uint8_t tx[TX_MAX + 8];
} Pcnet;

typedef struct Desc { /* in the shape of style 2 */
    uint64_t at;
    uint32_t addr, flags, misc;
} Desc;

/* ---- interrupts ---- */

static void update_line(Pcnet *s)
{
    uint16_t *c = s->csr;
    bool first = c[0] & C0_CAUSES & ~c[3];
    bool fourth = c[4] & C4_CAUSES & ~(c[4] << 1);
    bool on = first || fourth || (c[4] & C4_UINT) || ((c[5] & C5_SINT) && (c[5] & C5_SINTE));
    c[0] = (uint16_t)((c[0] & ~(C0_INTR | C0_ERR)) | (on ? C0_INTR : 0) |
                      (c[0] & (C0_BABL | C0_MISS | C0_MERR) ? C0_ERR : 0));
    irq_set(&s->irq, on && (c[0] & C0_IENA));
}

static void interrupt(Pcnet *s, uint16_t cause)
{
    s->csr[0] |= cause;
    update_line(s);
}

/* ---- descriptors: appendix of the data sheet, "Software access" ---- */

static unsigned style(const Pcnet *s)
{
    return s->bcr[BCR_SWS] & 3;
}

static unsigned desc_bytes(const Pcnet *s)
{
    return style(s) ? 16 : 8;
}

/* 16-bit structures have 24 bits of address; the rest is in CSR2. */
static uint32_t upper(const Pcnet *s)
{
    return s->bcr[BCR_SWS] & SSIZE32 ? 0 : (uint32_t)(s->csr[2] & 0xff00) << 16;
}

static void read_desc(Pcnet *s, uint64_t at, bool receive, Desc *d)
{
    uint8_t b[16] = { 0 };
    *d = (Desc){ .at = at };
    if (dma_read(&pci_func(&s->dev)->dma, at, b, desc_bytes(s)) != MEM_OK) {
        return; /* where nothing is, all bits are ones: it is not the card's */
    }
    switch (style(s)) {
    case 0:
        d->addr = nic_le16(b) | (uint32_t)b[2] << 16 | upper(s);
        d->flags = (uint32_t)b[3] << 24 | nic_le16(b + 4);
        break;
    case 3:
        d->addr = nic_le32(b + 8);
        d->flags = nic_le32(b + 4);
        d->misc = nic_le32(b);
        break;
    default:
        d->addr = nic_le32(b);
        d->flags = nic_le32(b + 4);
        d->misc = nic_le32(b + 8);
        break;
    }
    d->misc = receive ? 0 : d->misc;
}

/* OWN goes back last. */
static void write_desc(Pcnet *s, const Desc *d)
{
    DmaContext *dma = &pci_func(&s->dev)->dma;
    uint8_t b[4];
    if (style(s) == 0) {
        nic_put_le(b, 2, d->misc);
        dma_write(dma, d->at + 6, b, 2);
        b[0] = (uint8_t)(d->flags >> 24);
        dma_write(dma, d->at + 3, b, 1);
        return;
    }
    nic_put_le(b, 4, d->misc);
    dma_write(dma, d->at + (style(s) == 3 ? 0 : 8), b, 4);
    nic_put_le(b, 4, d->flags);
    dma_write(dma, d->at + 4, b, 4);
}

static unsigned buffer_bytes(const Desc *d)
{
    unsigned n = -d->flags & D_BCNT; /* two's complement */
    return n ? n : 4096;
}

/* Counters run from the ring's length down to 1; both are in two's complement and may be anything. */
static unsigned ring_length(const Pcnet *s, unsigned length_csr)
{
    return (unsigned)(uint16_t)-s->csr[length_csr] ? (uint16_t)-s->csr[length_csr] : 65536u;
}

static uint64_t ring_at(const Pcnet *s, uint32_t base, unsigned count_csr, unsigned length_csr)
{
    unsigned n = ring_length(s, length_csr), left = (uint16_t)-s->csr[count_csr];
    unsigned place = left && left <= n ? n - left : 0;
    return base + (uint64_t)place * desc_bytes(s);
}

static void ring_step(Pcnet *s, unsigned count_csr, unsigned length_csr)
{
    unsigned left = (uint16_t)-s->csr[count_csr];
    left = left > 1 && left <= ring_length(s, length_csr) ? left - 1 : ring_length(s, length_csr);
    s->csr[count_csr] = (uint16_t)-left;
}

/* ---- in ---- */

/* Which filter lets it in, as D_*; 0: none. */
static uint32_t accepted(const Pcnet *s, const uint8_t *f)
{
    uint16_t mode = s->csr[CSR_MODE];
    uint8_t own[NET_MAC];
    if (nic_is_broadcast(f)) {
        return !(mode & MODE_DRCVBC) || (mode & MODE_PROM) ? D_BAM : 0;
    }
    if (f[0] & 1) {
        unsigned h = ~nic_crc(f, NET_MAC) >> 26;
        return s->csr[CSR_LADRF + h / 16] >> h % 16 & 1 ? D_LAFM : mode & MODE_PROM ? D_STP : 0;
    }
    for (unsigned i = 0; i < NET_MAC; i++) {
        own[i] = (uint8_t)(s->csr[CSR_PADR + i / 2] >> 8 * (i & 1));
    }
    return !(mode & MODE_DRCVPA) && net_mac_is(f, own) ? D_PAM : mode & MODE_PROM ? D_STP : 0;
}

/* Into one buffer after the other. False: the next descriptor is the driver's. */
static bool fill_buffers(Pcnet *s, const uint8_t *frame, size_t len, uint32_t why)
{
    Desc d;
    size_t done = 0, room = 0;
    unsigned count = s->csr[CSR_RCVRC], n = 0;
    do { /* are there enough? */
        read_desc(s, ring_at(s, s->rdra, CSR_RCVRC, CSR_RCVRL), true, &d);
        room += buffer_bytes(&d);
        ring_step(s, CSR_RCVRC, CSR_RCVRL);
        n++;
    } while ((d.flags & D_OWN) && room < len && n < 64);
    s->csr[CSR_RCVRC] = (uint16_t)count;
    if (!(d.flags & D_OWN)) {
        return false;
    }
    do {
        read_desc(s, ring_at(s, s->rdra, CSR_RCVRC, CSR_RCVRL), true, &d);
        size_t part = MIN(buffer_bytes(&d), len - done);
        dma_write(&pci_func(&s->dev)->dma, d.addr, frame + done, part);
        d.flags = (d.flags & ~(D_OWN | D_STATUS | 0x00f00000u)) | (done ? 0 : D_STP);
        done += part;
        if (done == len) {
            d.flags |= D_ENP | (style(s) ? why & (D_PAM | D_LAFM | D_BAM) : 0);
            d.misc = (uint32_t)len;
        }
        write_desc(s, &d);
        ring_step(s, CSR_RCVRC, CSR_RCVRL);
    } while (done < len && --n);
    return true;
}

static bool take_in(Pcnet *s, const uint8_t *data, size_t len)
{
    uint8_t frame[RX_LONGEST + 64];
    uint32_t why = accepted(s, data);
    if (!why || len + NIC_CRC > RX_LONGEST) {
        return true;
    }
    size_t total = nic_lay_out(data, len, frame);
    unsigned length = nic_be16(data + 12);
    if ((s->csr[4] & C4_ASTRP) && length < NIC_SHORTEST - NET_ETH && len >= NET_ETH) { /* IEEE 802.3 frames */
        total = MIN(total, NET_ETH + length); /* without padding and CRC */
    }
    if (!fill_buffers(s, frame, total, why)) {
        return false;
    }
    interrupt(s, C0_RINT);
    return true;
}

static bool receive(Device *dev, const NetFrame *f)
{
    Pcnet *s = dev_as(Pcnet, dev);
    if (!(s->csr[0] & C0_RXON) || (s->csr[CSR_MODE] & (MODE_DRX | MODE_LOOP)) || (s->csr[5] & C5_SPND)) {
        return true;
    }
    if (take_in(s, f->data, f->len)) {
        return true;
    }
    timer_arm(&s->again, clock_now(dev->machine->clock) + AGAIN_NS);
    return false;
}

/* No register tells that a receive buffer is there again. */
static void again_fired(void *opaque)
{
    net_port_resume(&dev_as(Pcnet, (Device *)opaque)->port);
}

/* ---- out ---- */

/* False: no room, it stays. */
static bool send_frame(Pcnet *s)
{
    NetHdr h = { 0 };
    IoVec v;
    bool fcs = s->tx_fcs || !(s->csr[CSR_MODE] & MODE_DXMTFCS);
    if (!s->tx_stalled && (s->csr[4] & C4_APAD) && s->tx_len < NIC_SHORTEST) {
        memset(s->tx + s->tx_len, 0, NIC_SHORTEST - s->tx_len);
        s->tx_len = NIC_SHORTEST;
        fcs = true;
    }
    if (!s->tx_stalled && !fcs && s->tx_len > NET_ETH + NIC_CRC) {
        s->tx_len -= NIC_CRC; /* the driver's own; nobody behind looks at it */
    }
    if (s->tx_skip || s->tx_len < NET_ETH) {
        guest_error(&s->dev, "pcnet: a frame of %s bytes", s->tx_skip ? "too many" : "too few");
        return true;
    }
    if (s->csr[CSR_MODE] & MODE_LOOP) {
        if (s->csr[0] & C0_RXON && !take_in(s, s->tx, s->tx_len)) {
            interrupt(s, C0_MISS);
            s->csr[CSR_MFC]++;
        }
        return true;
    }
    iov_init_buf(&v, s->tx, s->tx_len);
    return net_port_send(&s->port, &h, &v, 0);
}

/* False: it is the driver's, or the network is full. */
static bool take_descriptor(Pcnet *s)
{
    Desc d;
    read_desc(s, ring_at(s, s->tdra, CSR_XMTRC, CSR_XMTRL), false, &d);
    if (!(d.flags & D_OWN)) {
        return false;
    }
    if (!s->tx_stalled) {
        unsigned n = buffer_bytes(&d);
        if (d.flags & D_STP) {
            s->tx_begun = true;
            s->tx_skip = false;
            s->tx_len = 0;
            s->tx_fcs = d.flags & D_ADD_FCS;
        }
        if (s->tx_begun && n <= TX_MAX - s->tx_len) {
            dma_read(&pci_func(&s->dev)->dma, d.addr, s->tx + s->tx_len, n);
            s->tx_len += n;
        } else {
            s->tx_skip = true;
        }
    }
    if (d.flags & D_ENP) {
        s->tx_stalled = s->tx_begun && !send_frame(s);
        if (s->tx_stalled) {
            return false;
        }
        s->tx_begun = s->tx_skip = false;
        s->tx_len = 0;
    }
    bool last = d.flags & D_ENP;
    d.flags &= ~(D_OWN | D_ERR);
    d.misc = 0;
    write_desc(s, &d);
    ring_step(s, CSR_XMTRC, CSR_XMTRL);
    if (last && !(s->csr[5] & C5_TOKINTD)) {
        interrupt(s, C0_TINT);
    }
    return true;
}

/* While a driver may put frames into the ring without a word. */
static void poll(Pcnet *s)
{
    bool on = (s->csr[0] & C0_TXON) && !(s->csr[4] & C4_TXDPOLL) && !(s->csr[5] & C5_SPND);
    if (!on) {
        timer_cancel(&s->poll);
    } else if (!timer_armed(&s->poll)) {
        unsigned clocks = (uint16_t)-s->csr[CSR_POLLINT];
        timer_arm(&s->poll, clock_now(s->dev.machine->clock) + (clocks ? clocks : 65536) * (int64_t)CLOCK_NS);
    }
}

static void transmit(Pcnet *s)
{
    unsigned taken = 0;
    if (!(s->csr[0] & C0_TXON) || (s->csr[CSR_MODE] & MODE_DTX) || (s->csr[5] & C5_SPND)) {
        return;
    }
    s->csr[0] &= ~C0_TDMD;
    while (take_descriptor(s)) {
        if (++taken == TX_TURN) { /* others want the domain too */
            s->csr[0] |= C0_TDMD;
            domain_post(&s->more);
            break;
        }
    }
}

/* ---- registers ---- */

static void stop(Pcnet *s)
{
    s->csr[0] = C0_STOP;
    s->csr[4] &= ~(C4_CAUSES | C4_UINT);
    s->csr[5] &= ~(C5_SPND | C5_CLEARED);
    s->tx_stalled = s->tx_begun = s->tx_skip = false;
    s->tx_len = 0;
    timer_cancel(&s->poll);
    timer_cancel(&s->again);
    update_line(s);
}

/* S_RESET: what reading the reset register does. */
static void soft_reset(Pcnet *s)
{
    memset(s->csr + 3, 0, 4 * sizeof(s->csr[0]));
    s->csr[4] = 0x0115;
    s->csr[CSR_MODE] = 0;
    s->csr[CSR_POLLINT] = 0;
    s->csr[80] = 0x1410;
    s->csr[CSR_ID] = 0x1003;
    s->csr[CSR_ID + 1] = 0x0262;
    s->csr[94] = 0;
    s->csr[CSR_MFC] = s->csr[114] = 0;
    s->rap = 0;
    stop(s);
}

static void hard_reset(Pcnet *s)
{
    static const uint16_t bcr[BCRS] = {
        0x0005, 0x0005, 0x0002, 0, 0x00c0, 0x0084, 0x0088, 0x0090, [18] = 0x9001, [19] = 0x0002,
        [20] = 0x0200, [22] = 0xff06,
    };
    memset(s->csr, 0, sizeof(s->csr));
    memcpy(s->bcr, bcr, sizeof(bcr));
    memset(s->tx, 0, sizeof(s->tx));
    memset(s->aprom, 0, sizeof(s->aprom));
    memcpy(s->aprom, s->mac.b, NET_MAC);
    s->aprom[14] = s->aprom[15] = 'W';
    for (unsigned i = 0; i < NET_MAC / 2; i++) {
        s->csr[CSR_PADR + i] = nic_le16(s->mac.b + 2 * i);
    }
    unsigned sum = 0;
    for (unsigned i = 0; i < sizeof(s->aprom); i++) {
        sum += s->aprom[i];
    }
    nic_put_le(s->aprom + 12, 2, sum);
    s->dwio = false;
    s->rdra = s->tdra = 0;
    s->tx_fcs = false;
    soft_reset(s);
}

/* RLEN, TLEN: a power of two, 512 at most; the 16-bit block has seven of them. */
static uint16_t encoded_length(unsigned code, unsigned most)
{
    return (uint16_t)-(1 << MIN(code, most));
}

static void initialize(Pcnet *s)
{
    uint8_t b[28] = { 0 };
    uint32_t at = s->csr[1] | (uint32_t)s->csr[2] << 16;
    bool wide = s->bcr[BCR_SWS] & SSIZE32;
    dma_read(&pci_func(&s->dev)->dma, at, b, wide ? 28 : 24);
    const uint8_t *padr = b + (wide ? 4 : 2), *ladrf = b + (wide ? 12 : 8);
    s->csr[CSR_MODE] = nic_le16(b);
    for (unsigned i = 0; i < 3; i++) {
        s->csr[CSR_PADR + i] = nic_le16(padr + 2 * i);
    }
    for (unsigned i = 0; i < 4; i++) {
        s->csr[CSR_LADRF + i] = nic_le16(ladrf + 2 * i);
    }
    if (wide) {
        s->csr[CSR_RCVRL] = encoded_length(b[2] >> 4, 9);
        s->csr[CSR_XMTRL] = encoded_length(b[3] >> 4, 9);
        s->rdra = nic_le32(b + 20) & ~15u;
        s->tdra = nic_le32(b + 24) & ~15u;
    } else {
        s->csr[CSR_RCVRL] = encoded_length(b[19] >> 5, 7);
        s->csr[CSR_XMTRL] = encoded_length(b[23] >> 5, 7);
        s->rdra = ((nic_le32(b + 16) & 0x00ffffff) | upper(s)) & ~7u;
        s->tdra = ((nic_le32(b + 20) & 0x00ffffff) | upper(s)) & ~7u;
    }
    s->csr[CSR_RCVRC] = s->csr[CSR_RCVRL];
    s->csr[CSR_XMTRC] = s->csr[CSR_XMTRL];
    s->csr[6] = (uint16_t)(wide ? b[3] >> 4 << 12 | b[2] >> 4 << 8 : b[23] >> 5 << 12 | b[19] >> 5 << 8);
    uint8_t mac[NET_MAC];
    memcpy(mac, padr, NET_MAC);
    net_port_set_info(&s->port, NULL, mac);
    interrupt(s, C0_IDON);
}

static void write_csr0(Pcnet *s, uint16_t val)
{
    s->csr[0] &= ~(val & C0_CLEARED);
    s->csr[0] = (uint16_t)((s->csr[0] & ~C0_IENA) | (val & C0_IENA));
    if (val & C0_STOP) {
        stop(s);
        return;
    }
    if ((val & C0_INIT) && !(s->csr[0] & C0_INIT)) {
        s->csr[0] = (uint16_t)((s->csr[0] & ~C0_STOP) | C0_INIT);
        initialize(s);
    }
    if ((val & C0_STRT) && !(s->csr[0] & C0_STRT)) {
        s->csr[0] = (uint16_t)((s->csr[0] & ~C0_STOP) | C0_STRT);
        s->csr[0] |= s->csr[CSR_MODE] & MODE_DTX ? 0 : C0_TXON;
        s->csr[0] |= s->csr[CSR_MODE] & MODE_DRX ? 0 : C0_RXON;
    }
    update_line(s);
    if (!s->tx_stalled && (s->csr[0] & C0_TXON) && (val & (C0_TDMD | C0_STRT))) {
        transmit(s);
    }
    poll(s);
    net_port_resume(&s->port); /* a moment at which buffers may have come back */
}

static void write_csr4(Pcnet *s, uint16_t val)
{
    uint16_t kept = s->csr[4] & ~val & (C4_CAUSES | C4_UINT);
    s->csr[4] = (uint16_t)((val & C4_WRITABLE) | kept | (val & C4_UINTCMD ? C4_UINT : 0));
    update_line(s);
    poll(s);
}

static void write_csr5(Pcnet *s, uint16_t val)
{
    s->csr[5] = (uint16_t)((val & C5_WRITABLE) | (s->csr[5] & ~val & C5_CLEARED));
    update_line(s);
    poll(s);
    if (!(val & C5_SPND)) {
        domain_post(&s->more);
        net_port_resume(&s->port);
    }
}

static uint32_t *ring_base_of(Pcnet *s, unsigned n)
{
    return n == CSR_BADR || n == CSR_BADR + 1 ? &s->rdra : &s->tdra;
}

static void write_style(Pcnet *s, uint16_t val)
{
    unsigned style = val & 0xff;
    s->bcr[BCR_SWS] = (uint16_t)(style <= 3 ? style | (style ? SSIZE32 : 0) | (style < 2 ? 0x200 : 0)
                                            : s->bcr[BCR_SWS]);
    if (style > 3) {
        guest_error(&s->dev, "pcnet: software style %u", style);
    }
}

/* Registers whose contents the chip works with: only while it stands. */
static bool stands(const Pcnet *s)
{
    return (s->csr[0] & C0_STOP) || (s->csr[5] & C5_SPND);
}

static void write_csr(Pcnet *s, unsigned n, uint16_t val)
{
    switch (n) {
    case 0: write_csr0(s, val); return;
    case 3:
        s->csr[3] = val & C3_WRITABLE;
        update_line(s);
        return;
    case 4: write_csr4(s, val); return;
    case 5: write_csr5(s, val); return;
    case CSR_BADR:
    case CSR_BADR + 1:
    case CSR_BADX:
    case CSR_BADX + 1:
        if (stands(s)) {
            uint32_t *base = ring_base_of(s, n);
            *base = n & 1 ? (*base & 0xffff) | (uint32_t)val << 16 : (*base & 0xffff0000) | val;
        }
        return;
    case 1:
    case 2:
    case 8: case 9: case 10: case 11:
    case 12: case 13: case 14:
    case CSR_MODE:
    case CSR_RCVRC:
    case CSR_XMTRC:
    case CSR_RCVRL:
    case CSR_XMTRL:
        s->csr[n] = stands(s) ? val : s->csr[n];
        return;
    case CSR_STYLE:
        if (stands(s)) {
            write_style(s, val);
        }
        return;
    case 16: case 17: s->csr[n - 15] = stands(s) ? val : s->csr[n - 15]; return; /* the same as 1 and 2 */
    case 18: case 19: case 20: case 21: case 22: case 23:
    case 26: case 27: case 28: case 29:
    case 32: case 33: case 34: case 35: case 36: case 37: case 38: case 39: case 40: case 41:
    case CSR_POLLINT:
    case 80: case 82: case CSR_MFC: case 114: s->csr[n] = val; return;
    default: return; /* read-only, reserved */
    }
}

static uint16_t read_csr(Pcnet *s, unsigned n)
{
    switch (n) {
    case CSR_BADR:
    case CSR_BADX: return (uint16_t)*ring_base_of(s, n);
    case CSR_BADR + 1:
    case CSR_BADX + 1: return (uint16_t)(*ring_base_of(s, n) >> 16);
    case 16:
    case 17: return s->csr[n - 15];
    case CSR_STYLE: return s->bcr[BCR_SWS];
    default: return n < CSRS ? s->csr[n] : 0;
    }
}

static void write_bcr(Pcnet *s, unsigned n, uint16_t val)
{
    switch (n) {
    case BCR_SWS:
        if (stands(s)) {
            write_style(s, val);
        }
        return;
    case 2: case BCR_LNKST: case 5: case 6: case 7: case 9: case 16: case 17: case BCR_BSBC: case 19: case 21:
    case 22: s->bcr[n] = val; return;
    default: return;
    }
}

static uint16_t read_bcr(Pcnet *s, unsigned n)
{
    switch (n) {
    case BCR_LNKST: return (uint16_t)((s->bcr[n] & ~LINK_LED) | (net_port_link_up(&s->port) ? LINK_LED : 0));
    case BCR_BSBC: return (uint16_t)((s->bcr[n] & ~BCR_DWIO) | (s->dwio ? BCR_DWIO : 0));
    case 19: return s->bcr[n] & 0x1fff; /* no EEPROM: PVALID is clear */
    default: return n < BCRS ? s->bcr[n] : 0;
    }
}

static uint64_t pcnet_read(void *opaque, MemAccess *a)
{
    Pcnet *s = opaque;
    unsigned at = (unsigned)a->off;
    if (at < WIO_RDP) {
        uint32_t v = 0;
        for (unsigned i = 0; i < a->size; i++) {
            v |= (uint32_t)s->aprom[(at + i) % 16] << 8 * i;
        }
        return v;
    }
    if (a->size != (s->dwio ? 4 : 2)) {
        return UINT32_MAX;
    }
    if (at == WIO_RDP) {
        return read_csr(s, s->rap);
    }
    if (at == (s->dwio ? DWIO_RAP : WIO_RAP)) {
        return s->rap;
    }
    if (at == (s->dwio ? DWIO_RESET : WIO_RESET)) {
        soft_reset(s);
        return 0;
    }
    return at == (s->dwio ? DWIO_BDP : WIO_BDP) ? read_bcr(s, s->rap) : 0;
}

static void pcnet_write(void *opaque, MemAccess *a, uint64_t val)
{
    Pcnet *s = opaque;
    unsigned at = (unsigned)a->off;
    if (at < WIO_RDP) {
        for (unsigned i = 0; i < a->size && (s->bcr[2] & 0x100); i++) { /* APROMWE */
            s->aprom[(at + i) % 16] = (uint8_t)(val >> 8 * i);
        }
        return;
    }
    if (at == WIO_RDP && a->size == 4 && !s->dwio) { /* until the next hardware reset */
        s->dwio = true;
    }
    if (a->size != (s->dwio ? 4 : 2)) {
        return;
    }
    if (at == WIO_RDP) {
        write_csr(s, s->rap, (uint16_t)val);
    } else if (at == (s->dwio ? DWIO_RAP : WIO_RAP)) {
        s->rap = val & 0x7f;
    } else if (at == (s->dwio ? DWIO_BDP : WIO_BDP)) {
        write_bcr(s, s->rap, (uint16_t)val);
    }
}

/* ---- the network's side ---- */

static void more(void *dev)
{
    Pcnet *s = dev_as(Pcnet, (Device *)dev);
    if (machine_running(s->dev.machine)) { /* else writable() comes when it does */
        transmit(s);
    }
}

static void writable(Device *dev)
{
    transmit(dev_as(Pcnet, dev));
}

static void poll_fired(void *opaque)
{
    Pcnet *s = dev_as(Pcnet, (Device *)opaque);
    if (!s->tx_stalled) {
        transmit(s);
    }
    poll(s);
}

static void link_changed(Device *dev, bool up G_GNUC_UNUSED)
{
    domain_post(&dev_as(Pcnet, dev)->more); /* into an open end there is room */
}

static const NicOps nic_ops = { .receive = receive, .writable = writable, .link_changed = link_changed };

/* ---- life ---- */

static bool pcnet_realize(Device *dev, Error **errp)
{
    static const MemOps ops = { .read = pcnet_read, .write = pcnet_write, .min = 1, .max = 4, .impl_max = 4 };
    Pcnet *s = dev_as(Pcnet, dev);
    device_add_task(dev, &s->more, more);
    if (!net_port_open(&s->port, dev, &nic_ops, &s->mac, errp) ||
        !machine_add_boot_device(dev, s->bootindex, "/ethernet-phy@0", errp)) {
        return false;
    }
    region_init_io(&s->io, dev, "pcnet-io", &ops, s, IO_SIZE);
    region_init_io(&s->mem, dev, "pcnet-mem", &ops, s, IO_SIZE);
    device_add_region(dev, &s->io);
    device_add_region(dev, &s->mem);
    device_add_irq(dev, &s->irq);
    device_add_timer(dev, &s->poll, poll_fired);
    device_add_timer(dev, &s->again, again_fired);
    hard_reset(s);
    return true;
}

static void pcnet_reset(Device *dev, ResetKind kind G_GNUC_UNUSED)
{
    hard_reset(dev_as(Pcnet, dev));
}

static void pcnet_reset_done(Device *dev)
{
    Pcnet *s = dev_as(Pcnet, dev);
    update_line(s);
    net_port_set_info(&s->port, NULL, s->mac.b);
}

static bool pcnet_post_load(void *opaque, Error **errp)
{
    Pcnet *s = opaque;
    if (s->tx_len > TX_MAX) {
        return error_set(errp, "saved pcnet: a frame of %u bytes", s->tx_len);
    }
    if (s->tx_stalled || (s->csr[0] & C0_TDMD)) {
        domain_post(&s->more);
    }
    s->tx_skip |= s->tx_stalled; /* the frame is lost, its last descriptor is done again */
    s->tx_stalled = false;
    s->bcr[BCR_SWS] &= 0x303;
    update_line(s);
    return true;
}

static const VmField pcnet_fields[] = {
    VM_U8_ARRAY(Pcnet, aprom),
    VM_U16_MAX(Pcnet, rap, 0x7f),
    VM_U16_ARRAY(Pcnet, csr),
    VM_U16_ARRAY(Pcnet, bcr),
    VM_BOOL(Pcnet, dwio),
    VM_U32(Pcnet, rdra),
    VM_U32(Pcnet, tdra),
    VM_TIMER(Pcnet, poll),
    VM_TIMER(Pcnet, again),
    VM_BOOL(Pcnet, tx_stalled),
    VM_BOOL(Pcnet, tx_begun),
    VM_BOOL(Pcnet, tx_skip),
    VM_BOOL(Pcnet, tx_fcs),
    VM_U32(Pcnet, tx_len),
    VM_U8_ARRAY(Pcnet, tx),
    { 0 },
};
static const VmState pcnet_state = {
    .name = "pcnet", .version = 1, .oldest = 1, .fields = pcnet_fields, .post_load = pcnet_post_load,
};

static const Prop pcnet_props[] = {
    NIC_PROPS(Pcnet),
    { 0 },
};

static const PciOps pcnet_pci_ops = {
    .vendor = 0x1022,
    .device = 0x2000,
    .class_code = 0x020000,
    .revision = 0x10,
    .intx_pin = 1,
    .romfile = "efi-pcnet.rom",
    .bar = { [0] = { PCI_BAR_IO }, [1] = { PCI_BAR_MEM32 } },
};

const DeviceType pcnet_type = {
    .name = "pcnet",
    .desc = "AMD PCnet-PCI II network card (Am79C970A)",
    .size = sizeof(Pcnet),
    .bus_type = &pci_bus_type,
    .bus_ops = &pcnet_pci_ops,
    .category = "Network",
    .props = pcnet_props,
    .vmstate = &pcnet_state,
    .realize = pcnet_realize,
    .reset = pcnet_reset,
    .reset_done = pcnet_reset_done,
};
