/* SPDX-License-Identifier: MIT
 * hw/net/e1000.c - Intel's 82540EM network card: `-device e1000`, what a PC has without other wishes.
 *
 * Models: SDM (317453) chapters 3 (descriptors: e1000-tx.c, e1000-rx.c), 5 and 8 (EEPROM and PHY:
 * e1000-phy.c), 13 (registers), 13.4.18 (interrupt throttling); access by memory and by I/O ports (13.2.1).
 * Does not model: wake-up, management, flow control, loopback, MSI. Threads: the device's domain.
 */
#include "e1000.h"

#include <inttypes.h>
#include <string.h>

enum { STATUS_FD = 1, STATUS_LU = 2, STATUS_1000 = 0x80, STATS = 64, IO_BYTES = 0x40 };

/* ---- interrupts ---- */

static void update_line(E1000 *s)
{
    bool level = (*e1000_reg(s, E_ICR) & *e1000_reg(s, E_IMS)) != 0;
    if (level && !s->line) {
        if (timer_armed(&s->throttle)) {
            return; /* the timer looks again */
        }
        uint32_t itr = *e1000_reg(s, E_ITR) & 0xffff;
        if (itr) {
            timer_arm(&s->throttle, clock_now(s->dev.machine->clock) + itr * INT64_C(256));
        }
    }
    s->line = level;
    irq_set(&s->irq, level);
}

static void throttle_fired(void *opaque)
{
    update_line(dev_as(E1000, (Device *)opaque));
}

void e1000_interrupt(E1000 *s, uint32_t cause)
{
    *e1000_reg(s, E_ICR) |= cause;
    update_line(s);
}

/* ---- statistics ---- */

void e1000_count(E1000 *s, unsigned at, uint32_t n)
{
    uint32_t *r = e1000_reg(s, at);
    *r = *r > UINT32_MAX - n ? UINT32_MAX : *r + n;
}

void e1000_count64(E1000 *s, unsigned at, uint32_t n)
{
    uint32_t *low = e1000_reg(s, at), *high = e1000_reg(s, at + 4);
    uint64_t v = (*low | (uint64_t)*high << 32), sum = v > UINT64_MAX - n ? UINT64_MAX : v + n;
    *low = (uint32_t)sum;
    *high = (uint32_t)(sum >> 32);
}

/* ---- reset ---- */

static void reset_registers(E1000 *s)
{
    memset(s->reg, 0, sizeof(s->reg));
    *e1000_reg(s, E_CTRL) = 0x00000a09 | CTRL_SLU;
    *e1000_reg(s, E_PBA) = 0x00100030;
    *e1000_reg(s, E_VET) = 0x8100;
    *e1000_reg(s, E_LEDCTL) = 0x07068302;
    *e1000_reg(s, E_MANC) = 0;
    memcpy(e1000_reg(s, E_RA), s->mac.b, 4);
    s->reg[E_RA / 4] = GUINT32_FROM_LE(s->reg[E_RA / 4]);
    s->reg[E_RA / 4 + 1] = s->mac.b[4] | s->mac.b[5] << 8 | 1u << 31;
    s->io_addr = 0;
    s->ee_count = 0;
    s->ee_shift = s->ee_out = 0;
    s->ee_bit = 0;
    s->ctx = (E1000Context){ 0 };
    s->tx_hdr = (NetHdr){ 0 };
    s->tx_stalled = s->tx_skip = s->tx_tse = false;
    s->tx_popts = s->tx_css = s->tx_cso = s->tx_cmd = 0;
    s->tx_special = 0;
    s->tx_len = 0;
    s->line = false;
    timer_cancel(&s->throttle);
    e1000_phy_reset(s);
}

/* ---- registers ---- */

static uint32_t read_register(E1000 *s, unsigned at)
{
    uint32_t v = at / 4 < E_REGS ? s->reg[at / 4] : 0;
    if (at >= E_STATS && at < E_STATS + 4 * STATS) { /* 13.7: cleared by reading */
        s->reg[at / 4] = 0;
        return v;
    }
    switch (at) {
    case E_STATUS: return STATUS_FD | STATUS_1000 | (net_port_link_up(&s->port) ? STATUS_LU : 0);
    case E_EECD: return e1000_eecd_read(s);
    case E_ICR: /* 13.4.17 */
        s->reg[at / 4] = 0;
        update_line(s);
        return v;
    case E_ICS:
    case E_IMC: return 0; /* write-only */
    default: return v;
    }
}

static void write_control(E1000 *s, uint32_t val)
{
    if (val & CTRL_RST) {
        reset_registers(s);
        irq_set(&s->irq, false);
    } else {
        *e1000_reg(s, E_CTRL) = val;
    }
}

/* Bits that are there, for registers of which it matters. */
static uint32_t writable(unsigned at)
{
    switch (at) {
    case E_RDBAL:
    case E_TDBAL: return 0xfffffff0;
    case E_RDLEN:
    case E_TDLEN: return 0xfff80;
    case E_RDH:
    case E_RDT:
    case E_TDH:
    case E_TDT:
    case E_ITR:
    case E_VET: return 0xffff;
    case E_STATUS: return 0;
    default: return UINT32_MAX;
    }
}

static void write_register(E1000 *s, unsigned at, uint32_t val)
{
    if (at / 4 >= E_REGS || (at >= E_STATS && at < E_STATS + 4 * STATS)) {
        return;
    }
    switch (at) {
    case E_CTRL: write_control(s, val); return;
    case E_EECD: e1000_eecd_write(s, val); return;
    case E_EERD: e1000_eerd_write(s, val); return;
    case E_MDIC: e1000_mdic_write(s, val); return;
    case E_ICR:
        s->reg[at / 4] &= ~val;
        update_line(s);
        return;
    case E_ICS: e1000_interrupt(s, val); return;
    case E_IMS:
        s->reg[at / 4] |= val;
        update_line(s);
        return;
    case E_IMC:
        *e1000_reg(s, E_IMS) &= ~val;
        update_line(s);
        return;
    default: break;
    }
    s->reg[at / 4] = val & writable(at);
    switch (at) {
    case E_RDT:
    case E_RCTL: net_port_resume(&s->port); break;
    case E_TDT:
    case E_TCTL:
        if (!s->tx_stalled) {
            e1000_transmit(s);
        }
        break;
    default: break;
    }
}

static uint64_t mem_read(void *opaque, MemAccess *a)
{
    return read_register(opaque, (unsigned)a->off);
}

static void mem_write(void *opaque, MemAccess *a, uint64_t val)
{
    write_register(opaque, (unsigned)a->off, (uint32_t)val);
}

/* 13.2.1.3: address and data. */
static uint64_t io_read(void *opaque, MemAccess *a)
{
    E1000 *s = opaque;
    return a->off == 0                          ? s->io_addr
           : a->off == 4 && s->io_addr < E_SIZE ? read_register(s, s->io_addr & ~3u)
                                                : 0;
}

static void io_write(void *opaque, MemAccess *a, uint64_t val)
{
    E1000 *s = opaque;
    if (a->off == 0) {
        s->io_addr = (uint32_t)val;
    } else if (a->off == 4 && s->io_addr < E_SIZE) {
        write_register(s, s->io_addr & ~3u, (uint32_t)val);
    }
}

/* ---- the network's side ---- */

static void e1000_go_on(void *opaque)
{
    e1000_transmit(opaque);
}

static void e1000_writable(Device *dev)
{
    e1000_transmit(dev_as(E1000, dev));
}

static void e1000_link_changed(Device *dev, bool up)
{
    E1000 *s = dev_as(E1000, dev);
    e1000_phy_link(s, up);
    e1000_interrupt(s, INT_LSC);
    domain_post(&s->more); /* into an open end there is room */
}

static const NicOps nic_ops = {
    .receive = e1000_receive,
    .writable = e1000_writable,
    .link_changed = e1000_link_changed,
};

/* ---- life ---- */

static void stop_more(void *opaque)
{
    E1000 *s = opaque;
    loop_unpost(domain_loop(s->dev.domain), &s->more.task);
}

static bool e1000_realize(Device *dev, Error **errp)
{
    static const MemOps mem = {
        .read = mem_read, .write = mem_write, .min = 1, .max = 8, .impl_min = 4, .impl_max = 4
    };
    static const MemOps io = {
        .read = io_read, .write = io_write, .min = 1, .max = 4, .impl_min = 4, .impl_max = 4
    };
    E1000 *s = dev_as(E1000, dev);
    domain_task_init(&s->more, dev->domain, e1000_go_on, s);
    device_add_cleanup(dev, stop_more, s);
    if (!net_port_open(&s->port, dev, &nic_ops, &s->mac, errp) ||
        !machine_add_boot_device(dev, s->bootindex, "/ethernet-phy@0", errp)) {
        return false;
    }
    e1000_make_eeprom(s);
    region_init_io(&s->mem, dev, "e1000-mem", &mem, s, E_SIZE);
    region_init_io(&s->io, dev, "e1000-io", &io, s, IO_BYTES);
    device_add_region(dev, &s->mem);
    device_add_region(dev, &s->io);
    device_add_irq(dev, &s->irq);
    device_add_timer(dev, &s->throttle, throttle_fired);
    reset_registers(s);
    return true;
}

static void e1000_reset(Device *dev, ResetKind kind G_GNUC_UNUSED)
{
    E1000 *s = dev_as(E1000, dev);
    reset_registers(s);
    memset(s->tx, 0, sizeof(s->tx));
}

static void e1000_reset_done(Device *dev)
{
    irq_set(&dev_as(E1000, dev)->irq, false);
}

static bool e1000_post_load(void *opaque, Error **errp)
{
    E1000 *s = opaque;
    if (s->tx_len > TX_MAX - 8 || s->ee_count > 25) {
        return error_set(errp, "saved e1000: a frame of %u bytes, %u bits to the EEPROM", s->tx_len,
                         s->ee_count);
    }
    if (s->tx_stalled) { /* the frame is lost, its last descriptor is done again */
        s->tx_stalled = false;
        s->tx_skip = true;
    }
    irq_set(&s->irq, s->line);
    e1000_phy_link(s, net_port_link_up(&s->port));
    domain_post(&s->more);
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

static const VmField e1000_fields[] = {
    VM_U32_ARRAY(E1000, reg),
    VM_U32(E1000, io_addr),
    VM_U16_ARRAY(E1000, phy),
    VM_BOOL(E1000, line),
    VM_TIMER(E1000, throttle),
    VM_U8(E1000, ee_count),
    VM_U8_MAX(E1000, ee_bit, 1),
    VM_U16(E1000, ee_shift),
    VM_U16(E1000, ee_out),
    VM_STRUCT(E1000, ctx, context_state),
    VM_BOOL(E1000, tx_stalled),
    VM_BOOL(E1000, tx_skip),
    VM_BOOL(E1000, tx_tse),
    VM_U8(E1000, tx_popts),
    VM_U8(E1000, tx_css),
    VM_U8(E1000, tx_cso),
    VM_U8(E1000, tx_cmd),
    VM_U16(E1000, tx_special),
    VM_U32(E1000, tx_len),
    VM_U8_ARRAY(E1000, tx),
    { 0 },
};
static const VmState e1000_state = {
    .name = "e1000",
    .version = 1,
    .oldest = 1,
    .fields = e1000_fields,
    .post_load = e1000_post_load,
};

static const Prop e1000_props[] = {
    PROP_NETDEV(E1000, port, "netdev", "The back end: id of a -netdev"),
    PROP_MAC(E1000, mac, "mac", "The card's address; default: the next of 52:54:00:12:34:56"),
    PROP_BOOTINDEX(E1000, bootindex),
    { 0 },
};

static const PciOps e1000_pci_ops = {
    .vendor = 0x8086,
    .device = 0x100e,
    .class_code = 0x020000,
    .revision = 3,
    .intx_pin = 1,
    .bar = { [0] = { PCI_BAR_MEM32 }, [1] = { PCI_BAR_IO } },
};

const DeviceType e1000_type = {
    .name = "e1000",
    .desc = "Intel 82540EM gigabit network card",
    .size = sizeof(E1000),
    .bus_type = &pci_bus_type,
    .bus_ops = &e1000_pci_ops,
    .category = "Network",
    .props = e1000_props,
    .vmstate = &e1000_state,
    .realize = e1000_realize,
    .reset = e1000_reset,
    .reset_done = e1000_reset_done,
};
