/* SPDX-License-Identifier: MIT
 * hw/ide/ahci.c - the ICH9's AHCI controller, "ich9-ahci": registers, resets, interrupts.
 *
 * Models: AHCI 1.3.1: chapter 3 (HBA and port registers), 10.4 (HBA reset, COMRESET by PxSCTL), 10.6 and 10.7
 *         (interrupts by pin and by one MSI); ICH9 data sheet (316972), 15.1 for the configuration registers.
 *         Six ports, 32 commands each, queued ones too. What ports do: ahci-port.c.
 * Does not model: command completion coalescing, enclosure management, staggered spin-up, the index and data
 *         ports (BAR 4), IDE mode.
 * Threads: the domain of the function.
 */
#include "ahci.h"
#include "rhea/hw/pci.h"
#include "rhea/system/machine.h"

#include <string.h>

enum {
    HOST_CAP,
    HOST_GHC,
    HOST_IS,
    HOST_PI,
    HOST_VS,
    PORT_BASE = 0x100,
    PORT_SIZE = 0x80,
    ABAR_SIZE = 0x800
};
enum { /* port registers, in doublewords */
       PX_CLB,
       PX_CLBU,
       PX_FB,
       PX_FBU,
       PX_IS,
       PX_IE,
       PX_CMD,
       PX_TFD = 8,
       PX_SIG,
       PX_SSTS,
       PX_SCTL,
       PX_SERR,
       PX_SACT,
       PX_CI,
};
enum { GHC_HR = 1 << 0, GHC_IE = 1 << 1 };
#define GHC_AE (UINT32_C(1) << 31)
/* 3.1.1: 64-bit addresses, queued commands, command list override, 1.5 Gbit/s, AHCI only, 32 slots, 6 ports
 */
#define CAP_VALUE (UINT32_C(0xc1040000) | 1 << 20 | (AHCI_SLOTS - 1) << 8 | (AHCI_PORTS - 1))
enum { IE_BITS = (int)0xfdc000ff, SCTL_BITS = 0xfff, CMD_BITS = CMD_ST | CMD_FRE | CMD_ATAPI | CMD_DLAE };
enum { CFG_MAP = 0x90, CFG_PCS = 0x92, MAP_AHCI = 0x40 };

/* ---- interrupts ---- */

/* again: something was cleared or enabled, and what is left must be told by another message. */
static void ahci_update(Ahci *s, bool again)
{
    uint32_t was = s->is;
    for (unsigned i = 0; i < AHCI_PORTS; i++) {
        if (s->port[i].is & s->port[i].ie) {
            s->is |= 1u << i;
        }
    }
    bool asks = (s->ghc & GHC_IE) && s->is;
    if (!pci_msi_enabled(&s->msi)) {
        irq_set(&s->intx, asks);
        return;
    }
    irq_set(&s->intx, false);
    if (asks && (again || s->is & ~was)) {
        pci_msi_notify(&s->msi, 0);
    }
}

void ahci_port_event(AhciPort *p, uint32_t bits)
{
    p->is |= bits;
    ahci_update(p->hba, false);
}

/* ---- registers of a port ---- */

/* 3.3.5: these show bits of PxSERR and are cleared there. */
static uint32_t port_status(const AhciPort *p)
{
    return (p->is & ~(uint32_t)PORT_PCS) | (p->serr & SERR_X ? PORT_PCS : 0);
}

static uint32_t port_command(const AhciPort *p)
{
    unsigned slot = p->last_slot;
    return p->cmd | (p->cmd & CMD_ST ? CMD_CR | slot << CMD_CCS_SHIFT : 0) | (p->cmd & CMD_FRE ? CMD_FR : 0);
}

static uint32_t port_read(const AhciPort *p, unsigned reg)
{
    switch (reg) {
    case PX_CLB: return (uint32_t)p->clb;
    case PX_CLBU: return (uint32_t)(p->clb >> 32);
    case PX_FB: return (uint32_t)p->fb;
    case PX_FBU: return (uint32_t)(p->fb >> 32);
    case PX_IS: return port_status(p);
    case PX_IE: return p->ie;
    case PX_CMD: return port_command(p);
    case PX_TFD: return p->tfd;
    case PX_SIG: return p->sig;
    case PX_SSTS: return p->ssts;
    case PX_SCTL: return p->sctl;
    case PX_SERR: return p->serr;
    case PX_SACT: return p->sact;
    case PX_CI: return p->ci;
    default: return 0;
    }
}

static void port_set_command(AhciPort *p, uint32_t val)
{
    bool was = p->cmd & CMD_ST, now = val & CMD_ST;
    p->cmd = (val & CMD_BITS) | CMD_SUD | CMD_POD;
    if (val & CMD_CLO) { /* 3.3.7: busy and data request are overridden, done at once */
        p->tfd &= ~(uint32_t)(ST_BSY | ST_DRQ);
    }
    if (was && !now) {
        ahci_port_stop(p);
    } else if (now) {
        ahci_port_run(p);
    }
}

/* 3.3.11: COMRESET while DET is 1; the device is found again when it goes to 0. 4: switched off. */
static void port_set_control(AhciPort *p, uint32_t val)
{
    unsigned was = p->sctl & 0xf, now = val & 0xf;
    IdeDrive *d = p->ide.drive[0];
    p->sctl = val & SCTL_BITS;
    if (was == now) {
        return;
    }
    p->ssts = now == 4 ? 4 : 0;
    if (now == 1 || now == 4) {
        ahci_port_stop(p);
        p->soft_reset = false;
        p->tfd = 0x7f;
        p->sig = UINT32_MAX;
    } else if (d) {
        ide_drive_reset_registers(d);
        p->ssts = 0x113;
        p->serr |= SERR_X;
        ahci_port_signature(p);
        ahci_port_event(p, PORT_PCS);
    }
}

static uint64_t join(uint64_t was, uint32_t val, bool upper, uint32_t align)
{
    return upper ? (was & UINT32_MAX) | (uint64_t)val << 32
                 : (was & ~(uint64_t)UINT32_MAX) | (val & ~(align - 1));
}

static void port_write(AhciPort *p, unsigned reg, uint32_t val)
{
    switch (reg) {
    case PX_CLB:
    case PX_CLBU: p->clb = join(p->clb, val, reg == PX_CLBU, 1024); break;
    case PX_FB:
    case PX_FBU: p->fb = join(p->fb, val, reg == PX_FBU, 256); break;
    case PX_IS: p->is &= ~(val & ~(uint32_t)PORT_PCS); break;
    case PX_IE: p->ie = val & (uint32_t)IE_BITS; break;
    case PX_CMD: port_set_command(p, val); break;
    case PX_SCTL: port_set_control(p, val); break;
    case PX_SERR:
        p->serr &= ~val;
        p->is &= ~(val & SERR_X ? (uint32_t)PORT_PCS : 0);
        break;
    case PX_SACT: p->sact |= p->cmd & CMD_ST ? val : 0; break;
    case PX_CI:
        if (p->cmd & CMD_ST) {
            p->ci |= val;
            ahci_port_run(p);
        }
        break;
    default: break; /* read-only */
    }
}

/* ---- the HBA ---- */

/* 10.4.3: the registers are as after power-on, and the links come up anew. */
static void ahci_hba_reset(Ahci *s)
{
    s->ghc = GHC_AE;
    s->is = 0;
    for (unsigned i = 0; i < AHCI_PORTS; i++) {
        AhciPort *p = &s->port[i];
        ahci_port_stop(p);
        if (p->ide.drive[0]) {
            ide_drive_reset_registers(p->ide.drive[0]);
        }
        ahci_port_defaults(p);
    }
}

static uint64_t ahci_read(void *opaque, MemAccess *a)
{
    const Ahci *s = opaque;
    if (a->off >= PORT_BASE) {
        unsigned port = (unsigned)((a->off - PORT_BASE) / PORT_SIZE);
        return port < AHCI_PORTS ? port_read(&s->port[port], (a->off % PORT_SIZE) / 4) : 0;
    }
    switch (a->off / 4) {
    case HOST_CAP: return CAP_VALUE;
    case HOST_GHC: return s->ghc;
    case HOST_IS: return s->is;
    case HOST_PI: return (1u << AHCI_PORTS) - 1;
    case HOST_VS: return 0x00010301;
    default: return 0;
    }
}

static void ahci_write(void *opaque, MemAccess *a, uint64_t val)
{
    Ahci *s = opaque;
    if (a->off >= PORT_BASE) {
        unsigned port = (unsigned)((a->off - PORT_BASE) / PORT_SIZE), reg = (a->off % PORT_SIZE) / 4;
        if (port < AHCI_PORTS) {
            port_write(&s->port[port], reg, (uint32_t)val);
            ahci_update(s, reg == PX_IE); /* PxIS is cleared before IS: what is left shows there */
        }
        return;
    }
    if (a->off / 4 == HOST_GHC) {
        s->ghc = GHC_AE | (val & GHC_IE);
        if (val & GHC_HR) {
            ahci_hba_reset(s);
        }
        ahci_update(s, true);
    } else if (a->off / 4 == HOST_IS) {
        s->is &= ~(uint32_t)val;
        ahci_update(s, true);
    }
}

/* ---- the function ---- */

static void ahci_resume(void *opaque)
{
    Ahci *s = opaque;
    for (unsigned i = 0; i < AHCI_PORTS; i++) {
        ahci_port_resume(&s->port[i]);
    }
}

static void ahci_config_written(Device *dev, unsigned off G_GNUC_UNUSED, unsigned len G_GNUC_UNUSED)
{
    Ahci *s = dev_as(Ahci, dev);
    ahci_update(s, false); /* MSI may have been switched */
    for (unsigned i = 0; i < AHCI_PORTS && pci_func(dev)->bus_master; i++) {
        ide_dma_kick(&s->port[i].ide); /* a transfer may have waited for the bus master */
    }
}

static bool ahci_realize(Device *dev, Error **errp)
{
    static const MemOps ops = {
        .read = ahci_read, .write = ahci_write, .min = 1, .max = 8, .impl_min = 4, .impl_max = 4
    };
    Ahci *s = dev_as(Ahci, dev);
    for (unsigned i = 0; i < AHCI_PORTS; i++) {
        AhciPort *p = &s->port[i];
        g_autofree char *name = g_strdup_printf("%s.%u", dev->id ? dev->id : "ide", i);
        p->hba = s;
        for (unsigned k = 0; k < AHCI_SLOTS; k++) {
            p->tag[k].port = p;
        }
        ide_channel_init(&p->ide, dev, name, &ahci_ide_ops, s);
        p->ide.units = 1;
        p->ide.sata = true;
    }
    region_init_io(&s->abar, dev, "ahci", &ops, s, ABAR_SIZE);
    device_add_region(dev, &s->abar);
    device_add_irq(dev, &s->intx);
    device_add_task(dev, &s->resume, ahci_resume);
    pci_set_wmask(dev, CFG_PCS, 0x3f, 1);
    return pci_msi_init(&s->msi, dev, 1, errp);
}

static void ahci_reset(Device *dev, ResetKind kind G_GNUC_UNUSED)
{
    Ahci *s = dev_as(Ahci, dev);
    s->ghc = GHC_AE;
    s->is = 0;
    for (unsigned i = 0; i < AHCI_PORTS; i++) {
        ide_channel_reset(&s->port[i].ide);
        ahci_port_defaults(&s->port[i]);
    }
    pci_set_byte(dev, CFG_MAP, MAP_AHCI);
    pci_set_byte(dev, CFG_PCS, 0);
    pci_set_word(dev, 0x06, 0x02b0);
}

static void ahci_reset_done(Device *dev)
{
    ahci_update(dev_as(Ahci, dev), false);
}

static bool ahci_post_load(void *opaque, Error **errp)
{
    Ahci *s = opaque;
    for (unsigned i = 0; i < AHCI_PORTS; i++) {
        AhciPort *p = &s->port[i];
        if ((p->slot >= AHCI_SLOTS && p->slot != AHCI_NO_SLOT) ||
            (p->slot != AHCI_NO_SLOT && !p->ide.drive[0])) {
            return error_set(errp, "saved AHCI port %u: slot %u runs", i, p->slot);
        }
        ahci_port_forget(p);
        p->clb &= ~UINT64_C(1023);
        p->fb &= ~UINT64_C(255);
        p->cmd = (p->cmd & CMD_BITS) | CMD_SUD | CMD_POD;
        p->ide.select &= (uint8_t)~DEV_UNIT;
    }
    s->ghc = GHC_AE | (s->ghc & GHC_IE);
    irq_set(&s->intx, !pci_msi_enabled(&s->msi) && (s->ghc & GHC_IE) && s->is);
    domain_post(&s->resume);
    return true;
}

static const VmField port_fields[] = {
    VM_STRUCT(AhciPort, ide, ide_channel_state),
    VM_STRUCT_ARRAY(AhciPort, tag, ahci_tag_state),
    VM_U64(AhciPort, clb),
    VM_U64(AhciPort, fb),
    VM_U32(AhciPort, is),
    VM_U32(AhciPort, ie),
    VM_U32(AhciPort, cmd),
    VM_U32(AhciPort, tfd),
    VM_U32(AhciPort, sig),
    VM_U32(AhciPort, ssts),
    VM_U32_MAX(AhciPort, sctl, SCTL_BITS),
    VM_U32(AhciPort, serr),
    VM_U32(AhciPort, sact),
    VM_U32(AhciPort, ci),
    VM_U8(AhciPort, slot),
    VM_U8_MAX(AhciPort, last_slot, AHCI_SLOTS - 1),
    VM_BOOL(AhciPort, halted),
    VM_BOOL(AhciPort, soft_reset),
    VM_BOOL(AhciPort, packet),
    VM_BOOL(AhciPort, pio_in),
    VM_U8_ARRAY(AhciPort, acmd),
    VM_U32(AhciPort, moved),
    VM_STRUCT(AhciPort, sg, ahci_sg_state),
    { 0 },
};
static const VmState port_state = { .name = "ahci-port", .version = 1, .oldest = 1, .fields = port_fields };
static const VmField ahci_fields[] = {
    VM_STRUCT_ARRAY(Ahci, port, port_state),
    VM_U32(Ahci, ghc),
    VM_U32_MAX(Ahci, is, (1u << AHCI_PORTS) - 1),
    { 0 },
};
static const VmState ahci_state = {
    .name = "ich9-ahci",
    .version = 1,
    .oldest = 1,
    .fields = ahci_fields,
    .post_load = ahci_post_load,
};

static const PciOps ahci_pci_ops = {
    .vendor = 0x8086,
    .device = 0x2922,
    .class_code = 0x010601,
    .revision = 2,
    .intx_pin = 1,
    .config_written = ahci_config_written,
    .bar = { [5] = { .kind = PCI_BAR_MEM32, .size = 4096 } },
};

const DeviceType ich9_ahci_type = {
    .name = "ich9-ahci",
    .alias = "ahci",
    .desc = "ICH9 AHCI controller",
    .size = sizeof(Ahci),
    .category = "Storage",
    .bus_type = &pci_bus_type,
    .bus_ops = &ahci_pci_ops,
    .vmstate = &ahci_state,
    .realize = ahci_realize,
    .reset = ahci_reset,
    .reset_done = ahci_reset_done,
};
