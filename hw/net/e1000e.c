/* SPDX-License-Identifier: MIT
 * hw/net/e1000e.c - Intel's 82574L network card: `-device e1000e`, what q35 has without other wishes.
 *
 * Models: 82574 datasheet: 7.4 (interrupts by pin, MSI and five MSI-X vectors, their moderation, auto-clear
 *         and auto-mask), 10.2 (registers), the EEPROM by EERD, PHY and semaphores as far as drivers look.
 *         Sending is the 82540EM's (e1000-tx.c), twice; receiving: e1000e-rx.c.
 * Does not model: flash, wake-up, management, flow control, loopback, time stamps, low-latency interrupts.
 * Threads: the device's domain.
 */
#include "e1000e.h"

#include <string.h>

enum { CTRL_MASTER_DISABLE = 1 << 2, STATUS_MASTER = 1 << 19, CTRL_EXT_EIAME = 1 << 24,
       CTRL_EXT_IAME = 1 << 27, EECD_AUTO_RD = 1 << 9, EECD_SIZE_256 = 2 << 11, EEMNGCTL_DONE = 1 << 18 };
enum { SWSM_SMBI = 1, IVAR_VALID = 8, EERD_DONE = 1, MSIX_BAR = 3 };
#define INT_ASSERTED (1u << 31)
/* 10.2.4.1: what makes INT_OTHER: the link, overruns, the PHY, small frames, acknowledgements, management */
#define INT_OTHERS (INT_LSC | INT_RXO | INT_MDAC | 1u << 16 | 1u << 17 | 1u << 18)

/* ---- 7.4: interrupts ---- */

static void send_message(E1000 *s, unsigned vector, uint32_t cause)
{
    E1000e *d = e1000e_of(s);
    uint32_t interval = *e1000_reg(s, E_EITR + 4 * vector) & 0xffff;
    if (interval) {
        timer_arm(&d->moderate[vector], clock_now(s->dev.machine->clock) + interval * INT64_C(256));
    }
    *e1000_reg(s, E_ICR) &= ~(*e1000_reg(s, E_EIAC) & cause);
    if (*e1000_reg(s, E_CTRL_EXT) & CTRL_EXT_EIAME) {
        *e1000_reg(s, E_IMS) &= ~(*e1000_reg(s, E_IAM) & cause);
    }
    pci_msix_notify(&d->msix, vector);
}

/* `fresh`: causes that arose, or were unmasked. */
static void update_vectors(E1000 *s, uint32_t fresh)
{
    E1000e *d = e1000e_of(s);
    uint32_t ivar = *e1000_reg(s, E_IVAR);
    d->waiting |= fresh;
    d->waiting &= *e1000_reg(s, E_ICR) & *e1000_reg(s, E_IMS);
    for (unsigned i = 0; i < E_VECTORS; i++) {
        uint32_t cause = 1u << (INT_FIRST_VECTOR + i), entry = ivar >> 4 * i & 15;
        unsigned vector = entry & 7;
        if (!(d->waiting & cause) || !(entry & IVAR_VALID) || vector >= E_VECTORS ||
            timer_armed(&d->moderate[vector])) {
            continue;
        }
        d->waiting &= ~cause;
        send_message(s, vector, cause);
    }
}

static void update_interrupts(E1000 *s, uint32_t fresh)
{
    E1000e *d = e1000e_of(s);
    if (pci_msix_enabled(&d->msix)) {
        s->line = false;
        irq_set(&s->irq, false);
        update_vectors(s, fresh);
        return;
    }
    uint32_t pending = *e1000_reg(s, E_ICR) & *e1000_reg(s, E_IMS);
    bool level = pending != 0, edge = level && (!s->line || (pending & fresh));
    if (edge && (!s->line || pci_msi_enabled(&d->msi)) && e1000_throttled(s)) {
        return; /* the timer looks again */
    }
    s->line = level;
    irq_set(&s->irq, level && !pci_msi_enabled(&d->msi));
    if (edge) {
        pci_msi_notify(&d->msi, 0);
    }
}

static void throttle_fired(void *opaque)
{
    E1000 *s = dev_as(E1000, (Device *)opaque);
    update_interrupts(s, *e1000_reg(s, E_ICR) & *e1000_reg(s, E_IMS));
}

static void moderate_fired(void *opaque)
{
    E1000 *s = dev_as(E1000, (Device *)opaque);
    update_interrupts(s, 0);
}

static void interrupt(E1000 *s, uint32_t cause)
{
    if ((cause & INT_OTHERS) && pci_msix_enabled(&e1000e_of(s)->msix)) {
        cause |= INT_OTHER;
    }
    *e1000_reg(s, E_ICR) |= cause & ~INT_ASSERTED;
    update_interrupts(s, cause);
}

/* Reading clears when nothing is enabled, or something enabled is asserted. */
static uint32_t read_cause(E1000 *s)
{
    uint32_t v = *e1000_reg(s, E_ICR), mask = *e1000_reg(s, E_IMS);
    if (!mask || (v & mask)) {
        *e1000_reg(s, E_ICR) = 0;
        if ((v & mask) && (*e1000_reg(s, E_CTRL_EXT) & CTRL_EXT_IAME)) {
            *e1000_reg(s, E_IMS) &= ~*e1000_reg(s, E_IAM);
        }
        update_interrupts(s, 0);
    }
    return v | (v & mask ? INT_ASSERTED : 0);
}

/* ---- 10.2: registers ---- */

static void reset_registers(E1000 *s)
{
    E1000e *d = e1000e_of(s);
    memset(s->reg, 0, sizeof(s->reg));
    *e1000_reg(s, E_CTRL) = 0x00000201 | CTRL_SLU;
    *e1000_reg(s, E_PBA) = 0x00140014;
    *e1000_reg(s, E_VET) = 0x8100;
    *e1000_reg(s, E_LEDCTL) = 0x07061302;
    *e1000_reg(s, E_PSRCTL) = 0x00040402;
    for (unsigned q = 0; q < E_QUEUES; q++) {
        *e1000_queue_reg(s, E_TARC, q) = 0x403;
        *e1000_queue_reg(s, E_RXDCTL, q) = 0x10000;
    }
    e1000_reset_address(s);
    s->io_addr = 0;
    microwire_reset(&s->eeprom);
    e1000_tx_reset(&s->tx);
    e1000_tx_reset(&d->tx1);
    s->line = false;
    d->waiting = 0;
    timer_cancel(&s->throttle);
    for (unsigned i = 0; i < E_VECTORS; i++) {
        timer_cancel(&d->moderate[i]);
    }
    e1000_phy_reset(s);
}

static uint32_t read_register(E1000 *s, unsigned at)
{
    uint32_t v;
    switch (at) {
    case E_STATUS:
        return e1000_read(s, at) | (*e1000_reg(s, E_CTRL) & CTRL_MASTER_DISABLE ? 0 : STATUS_MASTER);
    case E_EECD: return e1000_eecd_read(s) | EECD_AUTO_RD | EECD_SIZE_256;
    case E_ICR: return read_cause(s);
    case E_EEMNGCTL: return EEMNGCTL_DONE; /* the manageability engine, which is not there, has begun */
    case E_FWSM:
    case E_FACTPS: return 0;
    case E_SWSM: /* whoever reads it has it */
        v = *e1000_reg(s, at);
        *e1000_reg(s, at) |= SWSM_SMBI;
        return v;
    default: return e1000_read(s, at);
    }
}

static void write_register(E1000 *s, unsigned at, uint32_t val)
{
    uint32_t fresh;
    switch (at) {
    case E_CTRL:
        if (val & CTRL_RST) {
            reset_registers(s);
            irq_set(&s->irq, false);
            return;
        }
        if (val & 1u << 31) { /* PHY_RST */
            e1000_phy_reset(s);
        }
        *e1000_reg(s, E_CTRL) = val & ~(1u << 31);
        break;
    case E_EERD: e1000_eerd_write(s, val, EERD_DONE); break;
    case E_ICR: /* OTHER stands for those that made it */
        *e1000_reg(s, E_ICR) &= ~(val | (val & INT_OTHER ? INT_OTHERS : 0));
        update_interrupts(s, 0);
        break;
    case E_IMS:
        fresh = val & ~*e1000_reg(s, E_IMS);
        *e1000_reg(s, E_IMS) |= val & ~INT_ASSERTED;
        update_interrupts(s, fresh);
        break;
    case E_IMC:
        *e1000_reg(s, E_IMS) &= ~val;
        update_interrupts(s, 0);
        break;
    case E_IVAR:
        *e1000_reg(s, at) = val;
        update_interrupts(s, 0);
        break;
    default: e1000_write(s, at, val); break;
    }
}

/* Software may have switched between pin and messages. */
static void config_written(Device *dev, unsigned off G_GNUC_UNUSED, unsigned len G_GNUC_UNUSED)
{
    E1000 *s = dev_as(E1000, dev);
    update_interrupts(s, 0);
}

/* ---- the network's side ---- */

static void go_on(void *opaque)
{
    E1000 *s = opaque;
    e1000_transmit(s, &s->tx);
    e1000_transmit(s, &e1000e_of(s)->tx1);
}

static void writable(Device *dev)
{
    go_on(dev_as(E1000, dev));
}

/* ---- life ---- */

static void queues(Device *dev, GArray *out)
{
    const E1000 *s = dev_as(E1000, dev);
    g_array_append_vals(out, s->count, G_N_ELEMENTS(s->count));
}

static const NicOps nic_ops = {
    .receive = e1000e_receive,
    .writable = writable,
    .link_changed = e1000_link_changed,
    .queues = queues,
};
/* 6.1: words that matter; the address comes before, a sum behind. No management (word 0fh). */
static const uint16_t eeprom[NIC_MICROWIRE_WORDS] = {
    [0x03] = 0x0420, [0x04] = 0xf746, [0x05] = 0x2010, [0x08] = 0xffff, [0x09] = 0xffff, [0x0a] = 0x026b,
    [0x0c] = 0x8086, [0x0d] = 0x10d3, [0x0e] = 0x8086, [0x10] = 0xffff, [0x12] = 0xffff, [0x1b] = 0x8b01,
    [0x20] = 0xffff, [0x21] = 0xffff,
};
/* IEEE 802.3, 22.2.4, and the 82574's own PHY: 1000 Mbit/s, full duplex, agreed on. */
static const uint16_t phy[PHY_REGS] = {
    0x1140,        0x7949,        0x0141,        0x0cb1,        0x0de1,        0x45e1,
    [9] = 0x0e00,  [10] = 0x3c00, [15] = 0x3000, [16] = 0x0360, [17] = 0xa800, [20] = 0x0d60,
};

static const PciOps pci_ops = {
    .vendor = 0x8086,
    .device = 0x10d3,
    .subvendor = 0x8086,
    .class_code = 0x020000,
    .intx_pin = 1,
    .express = true,
    .romfile = "efi-e1000e.rom",
    .config_written = config_written,
    .bar = { [0] = { PCI_BAR_MEM32 }, [2] = { PCI_BAR_IO }, [MSIX_BAR] = { PCI_BAR_MEM32 } },
};

static bool e1000e_realize(Device *dev, Error **errp)
{
    static const E1000Kind kind = {
        .name = "e1000e", .eeprom = eeprom, .phy = phy, .nic = &nic_ops, .read = read_register,
        .write = write_register, .interrupt = interrupt, .throttled = throttle_fired, .go_on = go_on,
    };
    E1000 *s = dev_as(E1000, dev);
    E1000e *d = e1000e_of(s);
    d->ops = pci_ops;
    d->ops.subvendor = d->subsys_ven;
    d->ops.subdevice = d->subsys;
    pci_choose_ops(dev, &d->ops);
    if (!e1000_setup(s, &kind, errp) || !pci_msi_init(&d->msi, dev, 1, errp) ||
        !pci_msix_init(&d->msix, dev, E_VECTORS, MSIX_BAR, errp)) {
        return false;
    }
    device_add_region(dev, &d->msix.bar);
    s->tx.cause = INT_TXDW | INT_TXQ0;
    d->tx1.queue = 1;
    d->tx1.cause = INT_TXDW | INT_TXQ0 << 1;
    for (unsigned i = 0; i < E_VECTORS; i++) {
        device_add_timer(dev, &d->moderate[i], moderate_fired);
    }
    reset_registers(s);
    return true;
}

static void e1000e_reset(Device *dev, ResetKind kind G_GNUC_UNUSED)
{
    reset_registers(dev_as(E1000, dev));
}

static void e1000e_reset_done(Device *dev)
{
    irq_set(&dev_as(E1000, dev)->irq, false);
}

static bool e1000e_post_load(void *opaque, Error **errp)
{
    E1000e *d = opaque;
    if (!e1000_tx_loaded(&d->tx1, errp) || !e1000_loaded(&d->e, errp)) {
        return false;
    }
    irq_set(&d->e.irq, d->e.line && !pci_msi_enabled(&d->msi) && !pci_msix_enabled(&d->msix));
    return true;
}

static const VmField moderate_fields[] = {
    { .name = "timer", .kind = VM_TIMER_, .offset = 0 },
    { 0 },
};
static const VmState moderate_state = {
    .name = "e1000e-moderation", .version = 1, .oldest = 1, .fields = moderate_fields
};
static const VmField e1000e_fields[] = {
    VM_STRUCT(E1000e, e, e1000_common_state),
    VM_STRUCT(E1000e, tx1, e1000_tx_state),
    VM_STRUCT(E1000e, msix, pci_msix_state),
    VM_STRUCT_ARRAY(E1000e, moderate, moderate_state),
    VM_U32(E1000e, waiting),
    { 0 },
};
static const VmState e1000e_state = {
    .name = "e1000e", .version = 1, .oldest = 1, .fields = e1000e_fields, .post_load = e1000e_post_load,
};

static const Prop e1000e_props[] = {
    NIC_PROPS(E1000),
    PROP_ONLY_BOOL("init-vet", true, PROP_OLD_MACHINES),
    PROP_U16(E1000e, subsys_ven, "subsys_ven", 0x8086, 1, UINT16_MAX, "PCI subsystem vendor"),
    PROP_U16(E1000e, subsys, "subsys", 0, 0, UINT16_MAX, "PCI subsystem"),
    PROP_ONLY_UINT("disable_vnet_hdr", 0, "unfinished frames go to back ends that take them", "leave it out"),
    { 0 },
};

const DeviceType e1000e_type = {
    .name = "e1000e",
    .desc = "Intel 82574L gigabit network card",
    .size = sizeof(E1000e),
    .bus_type = &pci_bus_type,
    .bus_ops = &pci_ops,
    .category = "Network",
    .props = e1000e_props,
    .vmstate = &e1000e_state,
    .realize = e1000e_realize,
    .reset = e1000e_reset,
    .reset_done = e1000e_reset_done,
};
