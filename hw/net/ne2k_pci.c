/* SPDX-License-Identifier: MIT
 * hw/net/ne2k_pci.c - an NE2000 in the shape of Realtek's RTL8029AS: `-device ne2k_pci`.
 *
 * Models: National's DP8390D/NS32490D data sheet, chapter 10 (registers in pages, remote and local DMA, the
 *         receive ring), the NE2000's map around it (16 KiB of memory at 4000h, an address PROM at 0, data
 *         port at 10h, reset port at 18h), the RTL8029AS's fourth page and its PCI function.
 * Does not model: collisions and other errors of the wire, DMA timing, send-packet commands, writing of the
 *         configuration. Loopback is taken for a wire that leads nowhere.
 * Threads: the device's domain.
 */
#include "nic.h"
#include "rhea/hw/pci.h"
#include "rhea/system/machine.h"

#include <string.h>

enum { /* 10.2: registers, by page and direction */
       CR = 0x00,
       P0_BNRY = 0x03,
       P0_TSR_TPSR = 0x04,
       P0_NCR_TBCR0 = 0x05,
       P0_TBCR1 = 0x06,
       P0_ISR = 0x07,
       P0_CRDA0_RSAR0 = 0x08,
       P0_CRDA1_RSAR1 = 0x09,
       P0_RBCR0 = 0x0a, /* read: RTL8029's ID, "P" */
       P0_RBCR1 = 0x0b, /* "C" */
       P0_RSR_RCR = 0x0c,
       P0_CNTR0_TCR = 0x0d,
       P0_CNTR1_DCR = 0x0e,
       P0_CNTR2_IMR = 0x0f,
       P0_CLDA0_PSTART = 0x01,
       P0_CLDA1_PSTOP = 0x02,
       P1_PAR = 0x01,
       P1_CURR = 0x07,
       P1_MAR = 0x08,
       DATA_PORT = 0x10,
       RESET_PORT = 0x18,
       IO_SIZE = 0x20,
       BAR_SIZE = 0x100
};
enum { CR_STP = 1, CR_STA = 2, CR_TXP = 4, CR_RD_READ = 8, CR_RD_WRITE = 0x10, CR_RD_ABORT = 0x20 };
enum { ISR_PRX = 1, ISR_PTX = 2, ISR_OVW = 0x10, ISR_RDC = 0x40, ISR_RST = 0x80 };
enum { RCR_AR = 2, RCR_AB = 4, RCR_AM = 8, RCR_PRO = 0x10, RCR_MON = 0x20 };
enum { RSR_PRX = 1, RSR_PHY = 0x20, TSR_PTX = 1, TCR_LB = 6, DCR_WTS = 1 };
enum { RAM_AT = 0x4000, RAM_END = 0x8000, PAGE = 256, PROM = 32, HEADER = 4, RX_LONGEST = 2048 };

typedef struct Ne2k {
    Device dev;
    NetPort port;
    NetMac mac;
    int32_t bootindex;
    MemRegion io;
    IrqLine irq;
    DomainTask more; /* tries again to send */
    uint8_t prom[PROM]; /* made at set-up */
    /* guest-visible state */
    uint8_t cr, pstart, pstop, bnry, tpsr, tsr, isr, rcr, rsr, tcr, dcr, imr, curr;
    uint8_t par[NET_MAC], mar[8];
    uint16_t tbcr, rsar, rbcr;
    bool stalled; /* the network had no room for the frame */
    bool waits;   /* the ring had no room for one that came */
    uint8_t ram[RAM_END - RAM_AT];
} Ne2k;

static void update_line(Ne2k *s)
{
    irq_set(&s->irq, s->isr & s->imr & 0x7f);
}

static void interrupt(Ne2k *s, uint8_t cause)
{
    s->isr |= cause;
    update_line(s);
}

/* ---- out ---- */

static void transmit(Ne2k *s)
{
    unsigned at = s->tpsr * PAGE;
    NetHdr h = { 0 };
    IoVec v;
    s->stalled = false;
    if (!(s->cr & CR_TXP)) {
        return;
    }
    if (at < RAM_AT || at + s->tbcr > RAM_END) {
        guest_error(&s->dev, "ne2k_pci: a frame of %u bytes at 0x%x, which is not in memory", s->tbcr, at);
    } else if (!(s->tcr & TCR_LB)) {
        iov_init_buf(&v, s->ram + at - RAM_AT, s->tbcr);
        if (!net_port_send(&s->port, &h, &v, 0)) {
            s->stalled = true;
            return;
        }
    }
    s->tsr = TSR_PTX;
    s->cr &= ~CR_TXP;
    interrupt(s, ISR_PTX);
}

/* ---- in: 7.0 and 11.0, the ring of pages ---- */

static bool ring_good(const Ne2k *s)
{
    return s->pstart * PAGE >= RAM_AT && s->pstop * PAGE <= RAM_END && s->pstart < s->pstop &&
           s->curr >= s->pstart && s->curr < s->pstop;
}

static bool accepted(const Ne2k *s, const uint8_t *f)
{
    if (nic_is_broadcast(f)) {
        return s->rcr & RCR_AB;
    }
    if (f[0] & 1) {
        unsigned h = nic_hash(f) >> 26;
        return (s->rcr & RCR_AM) && (s->mar[h / 8] >> h % 8 & 1);
    }
    return (s->rcr & RCR_PRO) || net_mac_is(f, s->par);
}

/* A frame that finds the ring full waits, so nothing is lost, and there is no overflow to tell of: drivers
 * answer one by stopping the chip for 10 ms. Instead the ring's frames are told of until there is room: a
 * driver that acknowledges after it took a few of them would hear of the rest with the next frame, which
 * cannot come. */
static bool receive(Device *dev, const NetFrame *f)
{
    Ne2k *s = dev_as(Ne2k, dev);
    s->waits = false;
    if (!(s->cr & CR_STA) || (s->cr & CR_STP) || (s->rcr & RCR_MON) || (s->tcr & TCR_LB) || !ring_good(s) ||
        f->len + HEADER + NIC_CRC + NIC_SHORTEST > RX_LONGEST || !accepted(s, f->data)) {
        return true;
    }
    uint8_t buf[HEADER + RX_LONGEST];
    size_t len = nic_lay_out(f->data, f->len, buf + HEADER), total = len + HEADER;
    unsigned pages = (unsigned)((total + PAGE - 1) / PAGE), all = s->pstop - s->pstart;
    /* Drivers keep the boundary a page behind what they read next: at the ring's start that is before it. */
    unsigned bnry = s->bnry + 1u == s->pstart ? s->pstop - 1u : s->bnry;
    unsigned used = bnry >= s->pstart && bnry < s->pstop ? (s->curr + all - bnry) % all : 0;
    if (pages >= all) { /* it would never find room */
        interrupt(s, ISR_OVW);
        return true;
    }
    if (used + pages >= all) {
        s->waits = true;
        interrupt(s, ISR_PRX);
        return false; /* it waits until the boundary moves */
    }
    unsigned at = s->curr, next = s->pstart + (at - s->pstart + pages) % all;
    s->rsr = RSR_PRX | (f->data[0] & 1 ? RSR_PHY : 0);
    buf[0] = s->rsr;
    buf[1] = (uint8_t)next;
    nic_put_le(buf + 2, 2, total);
    size_t straight = MIN(total, (size_t)(s->pstop - at) * PAGE);
    memcpy(s->ram + at * PAGE - RAM_AT, buf, straight);
    memcpy(s->ram + s->pstart * PAGE - RAM_AT, buf + straight, total - straight);
    s->curr = (uint8_t)next;
    interrupt(s, ISR_PRX);
    return true;
}

/* ---- 8.0: remote DMA ---- */

static uint8_t memory_byte(const Ne2k *s, unsigned at)
{
    return at < PROM ? s->prom[at] : at >= RAM_AT && at < RAM_END ? s->ram[at - RAM_AT] : 0xff;
}

static void remote_step(Ne2k *s, unsigned n)
{
    s->rsar = (uint16_t)(s->rsar + n);
    if (s->rsar == s->pstop * PAGE) {
        s->rsar = (uint16_t)(s->pstart * PAGE);
    }
    s->rbcr = (uint16_t)(s->rbcr > n ? s->rbcr - n : 0);
    if (!s->rbcr) {
        interrupt(s, ISR_RDC);
    }
}

/* As wide as the access, in units that DCR says: a word at a time with WTS, else a byte. */
static uint32_t data_read(Ne2k *s, unsigned size)
{
    uint32_t v = 0;
    unsigned unit = s->dcr & DCR_WTS ? 2 : 1;
    for (unsigned i = 0; i < size && s->rbcr; i += unit) {
        for (unsigned k = 0; k < unit && i + k < size; k++) {
            v |= (uint32_t)memory_byte(s, (uint16_t)(s->rsar + k)) << 8 * (i + k);
        }
        remote_step(s, unit);
    }
    return v;
}

static void data_write(Ne2k *s, unsigned size, uint32_t val)
{
    unsigned unit = s->dcr & DCR_WTS ? 2 : 1;
    for (unsigned i = 0; i < size && s->rbcr; i += unit) {
        for (unsigned k = 0; k < unit && i + k < size; k++) {
            unsigned at = (uint16_t)(s->rsar + k);
            if (at >= RAM_AT && at < RAM_END) {
                s->ram[at - RAM_AT] = (uint8_t)(val >> 8 * (i + k));
            }
        }
        remote_step(s, unit);
    }
}

/* ---- registers ---- */

static void chip_reset(Ne2k *s)
{
    s->cr = CR_STP | CR_RD_ABORT;
    s->isr = ISR_RST;
    s->imr = 0;
    s->stalled = s->waits = false;
    update_line(s);
}

static void write_cr(Ne2k *s, uint8_t val)
{
    bool go = (val & CR_TXP) && !(s->cr & CR_TXP);
    /* Only the chip ends a transmission, and only STP stops it (10.3): drivers change pages with neither. */
    s->cr = (uint8_t)(val | (s->cr & (CR_TXP | CR_STA)));
    if (val & CR_STP) {
        s->cr &= ~(CR_TXP | CR_STA);
        s->stalled = s->waits = false;
        s->isr |= ISR_RST;
        return;
    }
    if (s->cr & CR_STA) {
        s->isr &= ~ISR_RST;
    }
    if ((val & (CR_RD_READ | CR_RD_WRITE)) && !(val & CR_RD_ABORT) && !s->rbcr) {
        interrupt(s, ISR_RDC);
    }
    if (go && !s->stalled) {
        transmit(s);
    }
    net_port_resume(&s->port);
}

static void write_page0(Ne2k *s, unsigned at, uint8_t val)
{
    switch (at) {
    case P0_CLDA0_PSTART: s->pstart = val; break;
    case P0_CLDA1_PSTOP: s->pstop = val; break;
    case P0_BNRY:
        s->bnry = val;
        s->waits = false; /* there may be room: it is tried again */
        net_port_resume(&s->port);
        break;
    case P0_TSR_TPSR: s->tpsr = val; break;
    case P0_NCR_TBCR0: s->tbcr = (uint16_t)((s->tbcr & 0xff00) | val); break;
    case P0_TBCR1: s->tbcr = (uint16_t)((s->tbcr & 0xff) | val << 8); break;
    case P0_ISR:
        s->isr &= ~(val & 0x7f);
        s->isr |= s->waits ? ISR_PRX : 0;
        update_line(s);
        break;
    case P0_CRDA0_RSAR0: s->rsar = (uint16_t)((s->rsar & 0xff00) | val); break;
    case P0_CRDA1_RSAR1: s->rsar = (uint16_t)((s->rsar & 0xff) | val << 8); break;
    case P0_RBCR0: s->rbcr = (uint16_t)((s->rbcr & 0xff00) | val); break;
    case P0_RBCR1: s->rbcr = (uint16_t)((s->rbcr & 0xff) | val << 8); break;
    case P0_RSR_RCR: s->rcr = val & 0x3f; break;
    case P0_CNTR0_TCR: s->tcr = val & 0x1f; break;
    case P0_CNTR1_DCR: s->dcr = val & 0x7f; break;
    default: /* IMR */
        s->imr = val & 0x7f;
        update_line(s);
        break;
    }
}

static void write_register(Ne2k *s, unsigned at, uint8_t val)
{
    if (at == CR) {
        write_cr(s, val);
        return;
    }
    switch (s->cr >> 6) {
    case 0: write_page0(s, at, val); break;
    case 1:
        if (at < P1_CURR) {
            s->par[at - P1_PAR] = val;
            net_port_set_info(&s->port, NULL, s->par);
        } else if (at == P1_CURR) {
            s->curr = val;
        } else {
            s->mar[at - P1_MAR] = val;
        }
        break;
    default: break; /* 2: for tests of the chip; 3: the configuration, which is locked */
    }
}

static uint8_t read_page0(Ne2k *s, unsigned at)
{
    switch (at) {
    case P0_CLDA0_PSTART: return 0;
    case P0_CLDA1_PSTOP: return s->curr;
    case P0_BNRY: return s->bnry;
    case P0_TSR_TPSR: return s->tsr;
    case P0_ISR: return s->isr;
    case P0_CRDA0_RSAR0: return (uint8_t)s->rsar;
    case P0_CRDA1_RSAR1: return (uint8_t)(s->rsar >> 8);
    case P0_RBCR0: return 'P';
    case P0_RBCR1: return 'C';
    case P0_RSR_RCR: return s->rsr;
    default: return 0; /* no collisions, nothing counted */
    }
}

static uint8_t read_register(Ne2k *s, unsigned at)
{
    if (at == CR) {
        return s->cr;
    }
    switch (s->cr >> 6) {
    case 0: return read_page0(s, at);
    case 1: return at < P1_CURR ? s->par[at - P1_PAR] : at == P1_CURR ? s->curr : s->mar[at - P1_MAR];
    case 2:
        return at == P0_CLDA0_PSTART  ? s->pstart
               : at == P0_CLDA1_PSTOP ? s->pstop
               : at == P0_TSR_TPSR    ? s->tpsr
               : at == P0_RSR_RCR     ? s->rcr
               : at == P0_CNTR0_TCR   ? s->tcr
               : at == P0_CNTR1_DCR   ? s->dcr
               : at == P0_CNTR2_IMR   ? s->imr
                                      : 0;
    default: /* RTL8029: CONFIG2 (full duplex by agreement), CONFIG3 */
        return at == 5 ? 0x40 : at == 6 ? 0x40 : 0;
    }
}

static uint64_t ne2k_read(void *opaque, MemAccess *a)
{
    Ne2k *s = opaque;
    unsigned at = (unsigned)a->off;
    uint32_t v = 0;
    if (at >= RESET_PORT) {
        if (at < IO_SIZE) {
            chip_reset(s);
        }
        return 0;
    }
    if (at >= DATA_PORT) {
        return data_read(s, a->size);
    }
    for (unsigned i = 0; i < a->size; i++) {
        v |= (uint32_t)read_register(s, at + i) << 8 * i;
    }
    return v;
}

static void ne2k_write(void *opaque, MemAccess *a, uint64_t val)
{
    Ne2k *s = opaque;
    unsigned at = (unsigned)a->off;
    if (at >= RESET_PORT) {
        return; /* the strobe is over: reading began it */
    }
    if (at >= DATA_PORT) {
        data_write(s, a->size, (uint32_t)val);
        return;
    }
    for (unsigned i = 0; i < a->size; i++) {
        write_register(s, at + i, (uint8_t)(val >> 8 * i));
    }
}

/* ---- the network's side ---- */

static void more(void *dev)
{
    Ne2k *s = dev_as(Ne2k, (Device *)dev);
    if (machine_running(s->dev.machine)) { /* else writable() comes when it does */
        transmit(s);
    }
}

static void writable(Device *dev)
{
    transmit(dev_as(Ne2k, dev));
}

static void link_changed(Device *dev, bool up G_GNUC_UNUSED)
{
    domain_post(&dev_as(Ne2k, dev)->more); /* into an open end there is room */
}

static const NicOps nic_ops = { .receive = receive, .writable = writable, .link_changed = link_changed };

/* ---- life ---- */

static void reset_all(Ne2k *s)
{
    s->pstart = s->pstop = s->bnry = s->tpsr = s->tsr = s->rcr = s->rsr = s->tcr = s->dcr = s->curr = 0;
    s->imr = 0;
    s->cr = CR_STP | CR_RD_ABORT;
    s->isr = ISR_RST;
    s->tbcr = s->rsar = s->rbcr = 0;
    s->stalled = s->waits = false;
    memcpy(s->par, s->mac.b, NET_MAC);
    memset(s->mar, 0, sizeof(s->mar));
    memset(s->ram, 0, sizeof(s->ram));
}

static bool ne2k_realize(Device *dev, Error **errp)
{
    static const MemOps ops = { .read = ne2k_read, .write = ne2k_write, .min = 1, .max = 4, .impl_max = 4 };
    Ne2k *s = dev_as(Ne2k, dev);
    device_add_task(dev, &s->more, more);
    if (!net_port_open(&s->port, dev, &nic_ops, &s->mac, errp) ||
        !machine_add_boot_device(dev, s->bootindex, "/ethernet-phy@0", errp)) {
        return false;
    }
    for (unsigned i = 0; i < PROM / 2; i++) { /* each byte twice, as a 16-bit bus sees it; "W" marks that */
        s->prom[2 * i] = s->prom[2 * i + 1] = i < NET_MAC ? s->mac.b[i] : i >= 14 ? 'W' : 0;
    }
    region_init_io(&s->io, dev, "ne2000", &ops, s, BAR_SIZE);
    device_add_region(dev, &s->io);
    device_add_irq(dev, &s->irq);
    reset_all(s);
    return true;
}

static void ne2k_reset(Device *dev, ResetKind kind G_GNUC_UNUSED)
{
    reset_all(dev_as(Ne2k, dev));
}

static void ne2k_reset_done(Device *dev)
{
    Ne2k *s = dev_as(Ne2k, dev);
    irq_set(&s->irq, false);
    net_port_set_info(&s->port, NULL, s->par);
}

static bool ne2k_post_load(void *opaque, Error **errp G_GNUC_UNUSED)
{
    Ne2k *s = opaque;
    update_line(s);
    net_port_set_info(&s->port, NULL, s->par);
    s->stalled = s->waits = false;
    domain_post(&s->more);
    return true;
}

static const VmField ne2k_fields[] = {
    VM_U8(Ne2k, cr),
    VM_U8(Ne2k, pstart),
    VM_U8(Ne2k, pstop),
    VM_U8(Ne2k, bnry),
    VM_U8(Ne2k, tpsr),
    VM_U8(Ne2k, tsr),
    VM_U8(Ne2k, isr),
    VM_U8(Ne2k, rcr),
    VM_U8(Ne2k, rsr),
    VM_U8(Ne2k, tcr),
    VM_U8(Ne2k, dcr),
    VM_U8(Ne2k, imr),
    VM_U8(Ne2k, curr),
    VM_U8_ARRAY(Ne2k, par),
    VM_U8_ARRAY(Ne2k, mar),
    VM_U16(Ne2k, tbcr),
    VM_U16(Ne2k, rsar),
    VM_U16(Ne2k, rbcr),
    VM_U8_ARRAY(Ne2k, ram),
    { 0 },
};
static const VmState ne2k_state = {
    .name = "ne2k_pci", .version = 1, .oldest = 1, .fields = ne2k_fields, .post_load = ne2k_post_load,
};

static const Prop ne2k_props[] = {
    NIC_PROPS(Ne2k),
    { 0 },
};

static const PciOps ne2k_pci_ops = {
    .vendor = 0x10ec,
    .device = 0x8029,
    .class_code = 0x020000,
    .intx_pin = 1,
    .romfile = "efi-ne2k_pci.rom",
    .bar = { [0] = { PCI_BAR_IO } },
};

const DeviceType ne2k_pci_type = {
    .name = "ne2k_pci",
    .desc = "NE2000 network card (Realtek RTL8029)",
    .size = sizeof(Ne2k),
    .bus_type = &pci_bus_type,
    .bus_ops = &ne2k_pci_ops,
    .category = "Network",
    .props = ne2k_props,
    .vmstate = &ne2k_state,
    .realize = ne2k_realize,
    .reset = ne2k_reset,
    .reset_done = ne2k_reset_done,
};
