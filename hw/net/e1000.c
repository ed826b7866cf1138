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

bool e1000_throttled(E1000 *s)
{
    if (timer_armed(&s->throttle)) {
        return true;
    }
    uint32_t itr = *e1000_reg(s, E_ITR) & 0xffff;
    if (itr) {
        timer_arm(&s->throttle, clock_now(s->dev.machine->clock) + itr * INT64_C(256));
    }
    return false;
}

static void update_line(E1000 *s)
{
    bool level = (*e1000_reg(s, E_ICR) & *e1000_reg(s, E_IMS)) != 0;
    if (level && !s->line && e1000_throttled(s)) {
        return;
    }
    s->line = level;
    irq_set(&s->irq, level);
}

static void throttle_fired(void *opaque)
{
    update_line(dev_as(E1000, (Device *)opaque));
}

static void interrupt(E1000 *s, uint32_t cause)
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

void e1000_reset_address(E1000 *s)
{
    *e1000_reg(s, E_RA) = nic_le32(s->mac.b);
    *e1000_reg(s, E_RA + 4) = nic_le16(s->mac.b + 4) | 1u << 31;
}

static void reset_registers(E1000 *s)
{
    memset(s->reg, 0, sizeof(s->reg));
    *e1000_reg(s, E_CTRL) = 0x00000a09 | CTRL_SLU;
    *e1000_reg(s, E_PBA) = 0x00100030;
    *e1000_reg(s, E_VET) = 0x8100;
    *e1000_reg(s, E_LEDCTL) = 0x07068302;
    *e1000_reg(s, E_MANC) = 0;
    e1000_reset_address(s);
    s->io_addr = 0;
    microwire_reset(&s->eeprom);
    e1000_tx_reset(&s->tx);
    s->line = false;
    timer_cancel(&s->throttle);
    e1000_phy_reset(s);
}

/* ---- registers ---- */

uint32_t e1000_read(E1000 *s, unsigned at)
{
    uint32_t v = at / 4 < E_REGS ? s->reg[at / 4] : 0;
    if (at >= E_STATS && at < E_STATS + 4 * STATS) { /* 13.7: cleared by reading */
        s->reg[at / 4] = 0;
        return v;
    }
    switch (at) {
    case E_STATUS: return STATUS_FD | STATUS_1000 | (net_port_link_up(&s->port) ? STATUS_LU : 0);
    case E_EECD: return e1000_eecd_read(s);
    case E_ICS:
    case E_IMC: return 0; /* write-only */
    default: return v;
    }
}

static uint32_t read_register(E1000 *s, unsigned at)
{
    uint32_t v = e1000_read(s, at);
    if (at == E_ICR) { /* 13.4.17 */
        s->reg[at / 4] = 0;
        update_line(s);
    }
    return v;
}

/* Bits that are there, for registers of which it matters. */
static uint32_t writable(unsigned at)
{
    switch (at >= E_RDBAL ? at & ~(unsigned)QUEUE_STEP : at) { /* a second queue's are as the first one's */
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

void e1000_write(E1000 *s, unsigned at, uint32_t val)
{
    if (at / 4 >= E_REGS || (at >= E_STATS && at < E_STATS + 4 * STATS)) {
        return;
    }
    switch (at) {
    case E_EECD: e1000_eecd_write(s, val); return;
    case E_MDIC: e1000_mdic_write(s, val); return;
    case E_ICS: s->kind->interrupt(s, val); return;
    default: break;
    }
    s->reg[at / 4] = val & writable(at);
    switch (at) {
    case E_RDT:
    case E_RDT + QUEUE_STEP:
    case E_RCTL: net_port_resume(&s->port); break;
    case E_TDT:
    case E_TDT + QUEUE_STEP:
    case E_TCTL: s->kind->go_on(s); break;
    default: break;
    }
}

static void write_register(E1000 *s, unsigned at, uint32_t val)
{
    switch (at) {
    case E_CTRL:
        if (val & CTRL_RST) {
            reset_registers(s);
            irq_set(&s->irq, false);
        } else {
            *e1000_reg(s, E_CTRL) = val;
        }
        break;
    case E_EERD: e1000_eerd_write(s, val, 4); break; /* 13.4.4: bit 4 says that it is done */
    case E_ICR:
        s->reg[at / 4] &= ~val;
        update_line(s);
        break;
    case E_IMS:
        s->reg[at / 4] |= val;
        update_line(s);
        break;
    case E_IMC:
        *e1000_reg(s, E_IMS) &= ~val;
        update_line(s);
        break;
    default: e1000_write(s, at, val); break;
    }
}

static uint64_t mem_read(void *opaque, MemAccess *a)
{
    E1000 *s = opaque;
    return s->kind->read(s, (unsigned)a->off);
}

static void mem_write(void *opaque, MemAccess *a, uint64_t val)
{
    E1000 *s = opaque;
    s->kind->write(s, (unsigned)a->off, (uint32_t)val);
}

/* 13.2.1.3: address and data. */
static uint64_t io_read(void *opaque, MemAccess *a)
{
    E1000 *s = opaque;
    return a->off == 0                          ? s->io_addr
           : a->off == 4 && s->io_addr < E_SIZE ? s->kind->read(s, s->io_addr & ~3u)
                                                : 0;
}

static void io_write(void *opaque, MemAccess *a, uint64_t val)
{
    E1000 *s = opaque;
    if (a->off == 0) {
        s->io_addr = (uint32_t)val;
    } else if (a->off == 4 && s->io_addr < E_SIZE) {
        s->kind->write(s, s->io_addr & ~3u, (uint32_t)val);
    }
}

/* ---- the network's side ---- */

/* What the network had no room for is tried again when it has some, not at every doorbell. */
static void e1000_go_on(void *opaque)
{
    E1000 *s = opaque;
    e1000_transmit(s, &s->tx);
}

static void e1000_writable(Device *dev)
{
    E1000 *s = dev_as(E1000, dev);
    e1000_transmit(s, &s->tx);
}

void e1000_link_changed(Device *dev, bool up)
{
    E1000 *s = dev_as(E1000, dev);
    e1000_phy_link(s, up);
    s->kind->interrupt(s, INT_LSC);
    s->kind->nic->writable(dev); /* into an open end there is room */
}

static const NicOps nic_ops = {
    .receive = e1000_receive,
    .writable = e1000_writable,
    .link_changed = e1000_link_changed,
};

/* ---- life ---- */

static void more(void *dev)
{
    E1000 *s = dev_as(E1000, (Device *)dev);
    if (machine_running(s->dev.machine)) { /* else writable() comes when it does */
        s->kind->go_on(s);
    }
}

bool e1000_setup(E1000 *s, const E1000Kind *kind, Error **errp)
{
    static const MemOps mem = {
        .read = mem_read, .write = mem_write, .min = 1, .max = 8, .impl_min = 4, .impl_max = 4
    };
    static const MemOps io = {
        .read = io_read, .write = io_write, .min = 1, .max = 4, .impl_min = 4, .impl_max = 4
    };
    Device *dev = &s->dev;
    s->kind = kind;
    s->tx.cause = INT_TXDW;
    device_add_task(dev, &s->more, more);
    if (!net_port_open(&s->port, dev, kind->nic, &s->mac, errp) ||
        !machine_add_boot_device(dev, s->bootindex, "/ethernet-phy@0", errp)) {
        return false;
    }
    e1000_make_eeprom(s);
    region_init_io(&s->mem, dev, "e1000-mem", &mem, s, E_SIZE);
    region_init_io(&s->io, dev, "e1000-io", &io, s, IO_BYTES);
    device_add_region(dev, &s->mem);
    device_add_region(dev, &s->io);
    device_add_irq(dev, &s->irq);
    device_add_timer(dev, &s->throttle, kind->throttled);
    return true;
}

/* 5.6: words that matter; the address comes before, a sum behind. */
static const uint16_t eeprom[NIC_MICROWIRE_WORDS] = {
    [0x03] = 0x0400, [0x05] = 0xffff, [0x08] = 0xffff, [0x09] = 0xffff, [0x0a] = 0x4408, [0x0b] = 0x1100,
    [0x0c] = 0x1af4, [0x0d] = 0x100e, [0x0e] = 0x8086, [0x0f] = 0x3040, [0x21] = 0x7863, [0x2f] = 0xffff,
};
/* IEEE 802.3, 22.2.4, and from 16 on the M88E1011's: 1000 Mbit/s, full duplex, agreed on. */
static const uint16_t phy[PHY_REGS] = {
    0x1140,        0x7949,        0x0141,        0x0c20,        0x0de1,        0x45e1,
    [9] = 0x0e00,  [10] = 0x3c00, [15] = 0x3000, [16] = 0x0360, [17] = 0xa800, [20] = 0x0d60,
};

static bool e1000_realize(Device *dev, Error **errp)
{
    static const E1000Kind kind = {
        .name = "e1000", .eeprom = eeprom, .phy = phy, .nic = &nic_ops, .read = read_register,
        .write = write_register, .interrupt = interrupt, .throttled = throttle_fired, .go_on = e1000_go_on,
    };
    E1000 *s = dev_as(E1000, dev);
    if (!e1000_setup(s, &kind, errp)) {
        return false;
    }
    reset_registers(s);
    return true;
}

static void e1000_reset(Device *dev, ResetKind kind G_GNUC_UNUSED)
{
    reset_registers(dev_as(E1000, dev));
}

static void e1000_reset_done(Device *dev)
{
    irq_set(&dev_as(E1000, dev)->irq, false);
}

bool e1000_loaded(E1000 *s, Error **errp)
{
    if (!e1000_tx_loaded(&s->tx, errp)) {
        return false;
    }
    e1000_phy_link(s, net_port_link_up(&s->port));
    domain_post(&s->more);
    return true;
}

static bool e1000_post_load(void *opaque, Error **errp)
{
    E1000 *s = opaque;
    if (!e1000_loaded(s, errp)) {
        return false;
    }
    irq_set(&s->irq, s->line);
    return true;
}

static const VmField common_fields[] = {
    VM_U32_ARRAY(E1000, reg),
    VM_U32(E1000, io_addr),
    VM_U16_ARRAY(E1000, phy),
    VM_BOOL(E1000, line),
    VM_TIMER(E1000, throttle),
    VM_STRUCT(E1000, eeprom, microwire_state),
    VM_STRUCT(E1000, tx, e1000_tx_state),
    { 0 },
};
const VmState e1000_common_state = {
    .name = "e1000-common", .version = 1, .oldest = 1, .fields = common_fields
};
static const VmState e1000_state = {
    .name = "e1000",
    .version = 2,
    .oldest = 2,
    .fields = common_fields,
    .post_load = e1000_post_load,
};

static const Prop e1000_props[] = {
    NIC_PROPS(E1000),
    PROP_ONLY_BOOL("autonegotiation", true, "agreement is over as soon as it begins", "leave it out"),
    PROP_ONLY_BOOL("mitigation", true, "the driver's ITR is heeded", "leave it out"),
    PROP_ONLY_BOOL("extra_mac_registers", true, PROP_OLD_MACHINES),
    PROP_ONLY_BOOL("migrate_tso_props", true, PROP_OLD_MACHINES),
    PROP_ONLY_BOOL("init-vet", true, PROP_OLD_MACHINES),
    { 0 },
};

static const PciOps e1000_pci_ops = {
    .vendor = 0x8086,
    .device = 0x100e,
    .class_code = 0x020000,
    .revision = 3,
    .intx_pin = 1,
    .romfile = "efi-e1000.rom",
    .bar = { [0] = { PCI_BAR_MEM32 }, [1] = { PCI_BAR_IO } },
};

const DeviceType e1000_type = {
    .name = "e1000",
    .alias = "e1000-82540em",
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
