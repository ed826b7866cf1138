/* SPDX-License-Identifier: MIT
 * hw/ide/piix.c - the PIIX3's IDE function (00:01.1): two channels at the legacy ports, bus master DMA.
 *
 * Models: Intel 82371SB (PIIX3) data sheet (290550), 2.3 (configuration registers), 2.7 (bus master
 * registers) and 3.5 (bus master function); physical region descriptors of SFF-8038i. Does not model: timing:
 * IDETIM and SIDETIM are storage, but for the decode enable bit. Differs: that bit is set from reset on,
 * since OVMF never does it and would wait half a minute for each drive. Threads: its domain (platform).
 */
#include "ide.h"
#include "rhea/hw/pci.h"

#include <string.h>

enum {
    CHANNELS = 2,
    REG_IDETIM = 0x40,
    REG_SIDETIM = 0x44,
    BM_START = 1,
    BM_READ = 8,
    BM_ACTIVE = 1,
    BM_ERROR = 2,
    BM_INTR = 4,
    BM_CAPABLE = 0x60,
    PRD_EOT = 0x80
};

typedef struct PiixIde PiixIde;
typedef struct PiixChannel {
    IdeChannel ide;
    PiixIde *owner;
    MemRegion command_ports, control_port;
    IrqLine irq;
    /* guest-visible state */
    uint8_t bm_command, bm_status;
    uint32_t bm_table;
    uint32_t prd_next, prd_addr, prd_left; /* next descriptor; what is left of the current one */
    bool prd_last;
} PiixChannel;

struct PiixIde {
    Device dev;
    PiixChannel channel[CHANNELS];
    MemRegion bm_ports;
};

static PiixChannel *of_ide(IdeChannel *c)
{
    return (PiixChannel *)((char *)c - offsetof(PiixChannel, ide));
}

/* ---- what the drives ask for ---- */

static void piix_irq(void *host G_GNUC_UNUSED, IdeChannel *c, bool level)
{
    PiixChannel *p = of_ide(c);
    if (level && !p->irq.level) {
        p->bm_status |= BM_INTR;
    }
    irq_set(&p->irq, level);
}

static bool piix_dma_ready(void *host, IdeChannel *c)
{
    const PiixChannel *p = of_ide(c);
    return p->bm_status & BM_ACTIVE && pci_func(&((PiixIde *)host)->dev)->bus_master;
}

/* 2.7.3: eight bytes each: address (even), byte count (0: 64 KiB), end mark. The table does not cross 64 KiB.
 */
static bool next_prd(PiixIde *s, PiixChannel *p)
{
    uint8_t prd[8];
    if (p->prd_last || dma_read(&pci_func(&s->dev)->dma, p->prd_next, prd, sizeof(prd)) != MEM_OK) {
        return false;
    }
    p->prd_addr = (uint32_t)prd[0] | (uint32_t)prd[1] << 8 | (uint32_t)prd[2] << 16 | (uint32_t)prd[3] << 24;
    p->prd_addr &= ~1u;
    p->prd_left = (prd[4] | (uint32_t)prd[5] << 8) & ~1u;
    p->prd_left = p->prd_left ? p->prd_left : 65536;
    p->prd_last = prd[7] & PRD_EOT;
    p->prd_next = (p->prd_next & 0xffff0000) | ((p->prd_next + 8) & 0xffff);
    return true;
}

static bool piix_dma_copy(void *host, IdeChannel *c, uint8_t *buf, size_t len, bool to_guest)
{
    PiixIde *s = host;
    PiixChannel *p = of_ide(c);
    if (!(p->bm_command & BM_READ) == to_guest) {
        guest_error(&s->dev, "the bus master runs in the wrong direction");
        p->bm_status &= (uint8_t)~BM_ACTIVE;
        return false;
    }
    while (len) {
        if (!p->prd_left && !next_prd(s, p)) {
            guest_error(&s->dev, "the descriptor table is shorter than the transfer");
            p->bm_status &= (uint8_t)~BM_ACTIVE; /* 3.5: without an interrupt */
            return false;
        }
        size_t n = MIN(len, p->prd_left);
        if (dma_copy(&pci_func(&s->dev)->dma, p->prd_addr, buf, n, to_guest) != MEM_OK) {
            p->bm_status |= BM_ERROR;
        }
        p->prd_addr += (uint32_t)n;
        p->prd_left -= (uint32_t)n;
        buf += n;
        len -= n;
    }
    return true;
}

static void piix_dma_done(void *host G_GNUC_UNUSED, IdeChannel *c)
{
    PiixChannel *p = of_ide(c);
    if (p->prd_last && !p->prd_left) { /* else it stays active: the table had more room than was needed */
        p->bm_status &= (uint8_t)~BM_ACTIVE;
    }
}

static const IdeOps piix_ops = {
    .irq = piix_irq,
    .dma_ready = piix_dma_ready,
    .dma_copy = piix_dma_copy,
    .dma_done = piix_dma_done,
};

/* ---- ports ---- */

static bool decoded(PiixChannel *p)
{
    return pci_get(&p->owner->dev, REG_IDETIM + 2 * (unsigned)(p - p->owner->channel) + 1, 1) & 0x80;
}

static uint64_t command_read(void *opaque, MemAccess *a)
{
    PiixChannel *p = opaque;
    return decoded(p) ? ide_command_read(&p->ide, (unsigned)a->off, a->size) : UINT64_MAX;
}

static void command_write(void *opaque, MemAccess *a, uint64_t val)
{
    PiixChannel *p = opaque;
    if (decoded(p)) {
        ide_command_write(&p->ide, (unsigned)a->off, (uint32_t)val, a->size);
    }
}

static uint64_t control_read(void *opaque, MemAccess *a G_GNUC_UNUSED)
{
    PiixChannel *p = opaque;
    return decoded(p) ? ide_alt_status(&p->ide) : UINT64_MAX;
}

static void control_write(void *opaque, MemAccess *a G_GNUC_UNUSED, uint64_t val)
{
    PiixChannel *p = opaque;
    if (decoded(p)) {
        ide_control_write(&p->ide, (uint8_t)val);
    }
}

static uint64_t bm_read(void *opaque, MemAccess *a)
{
    PiixIde *s = opaque;
    const PiixChannel *p = &s->channel[a->off >> 3];
    switch (a->off & 7) {
    case 0: return p->bm_command;
    case 2: return p->bm_status;
    case 4:
    case 5:
    case 6:
    case 7: return p->bm_table >> (8 * (a->off & 3)) & 0xff;
    default: return 0;
    }
}

static void bm_command(PiixChannel *p, uint8_t val)
{
    bool start = val & BM_START, was = p->bm_command & BM_START;
    p->bm_command = val & (BM_START | BM_READ);
    if (start && !was) {
        p->prd_next = p->bm_table;
        p->prd_left = 0;
        p->prd_last = false;
        p->bm_status |= BM_ACTIVE;
        ide_dma_kick(&p->ide);
    } else if (!start && was) {
        p->bm_status &= (uint8_t)~BM_ACTIVE;
        ide_dma_cancel(&p->ide);
    }
}

static void bm_write(void *opaque, MemAccess *a, uint64_t val)
{
    PiixIde *s = opaque;
    PiixChannel *p = &s->channel[a->off >> 3];
    unsigned shift = 8 * (a->off & 3);
    switch (a->off & 7) {
    case 0: bm_command(p, (uint8_t)val); break;
    case 2: /* interrupt and error are cleared by ones; the capability bits are the software's */
        p->bm_status = (uint8_t)((p->bm_status & ~(val & (BM_INTR | BM_ERROR)) & ~(uint64_t)BM_CAPABLE) |
                                 (val & BM_CAPABLE));
        break;
    case 4:
    case 5:
    case 6:
    case 7: p->bm_table = ((p->bm_table & ~(0xffu << shift)) | (uint32_t)(val & 0xff) << shift) & ~3u; break;
    default: break;
    }
}

static const MemOps command_ops = {
    .read = command_read,
    .write = command_write,
    .min = 1,
    .max = 4,
    .impl_min = 1,
    .impl_max = 4,
};
static const MemOps control_ops = {
    .read = control_read,
    .write = control_write,
    .min = 1,
    .max = 1,
    .impl_min = 1,
    .impl_max = 1,
};
static const MemOps bm_ops = {
    .read = bm_read,
    .write = bm_write,
    .min = 1,
    .max = 4,
    .impl_min = 1,
    .impl_max = 1,
};

/* ---- the function ---- */

static bool piix_realize(Device *dev, Error **errp)
{
    static const uint16_t ports[CHANNELS][2] = { { 0x1f0, 0x3f6 }, { 0x170, 0x376 } };
    PiixIde *s = dev_as(PiixIde, dev);
    for (unsigned i = 0; i < CHANNELS; i++) {
        PiixChannel *p = &s->channel[i];
        g_autofree char *name = g_strdup_printf("ide.%u", i);
        p->owner = s;
        ide_channel_init(&p->ide, dev, name, &piix_ops, s);
        region_init_io(&p->command_ports, dev, "ide-command", &command_ops, p, 8);
        region_init_io(&p->control_port, dev, "ide-control", &control_ops, p, 1);
        if (!device_map_io(dev, &p->command_ports, ports[i][0], errp) ||
            !device_map_io(dev, &p->control_port, ports[i][1], errp)) {
            return false;
        }
        device_add_irq(dev, &p->irq);
    }
    region_init_io(&s->bm_ports, dev, "ide-bus-master", &bm_ops, s, 16);
    device_add_region(dev, &s->bm_ports);
    pci_set_wmask(dev, REG_IDETIM, 0xf3fff3ff, 4);
    pci_set_wmask(dev, REG_SIDETIM, 0xff, 1);
    return true;
}

static void piix_reset(Device *dev, ResetKind kind G_GNUC_UNUSED)
{
    PiixIde *s = dev_as(PiixIde, dev);
    pci_set_long(dev, REG_IDETIM, 0x80008000);
    pci_set_byte(dev, REG_SIDETIM, 0);
    pci_set_word(dev, 0x06, 0x0280); /* 2.3.4: medium DEVSEL, fast back-to-back */
    for (unsigned i = 0; i < CHANNELS; i++) {
        PiixChannel *p = &s->channel[i];
        ide_channel_reset(&p->ide);
        p->bm_command = p->bm_status = 0;
        p->bm_table = p->prd_next = p->prd_addr = p->prd_left = 0;
        p->prd_last = false;
    }
}

static void piix_reset_done(Device *dev)
{
    PiixIde *s = dev_as(PiixIde, dev);
    for (unsigned i = 0; i < CHANNELS; i++) {
        ide_channel_update(&s->channel[i].ide);
    }
}

static const VmField piix_channel_fields[] = {
    VM_STRUCT(PiixChannel, ide, ide_channel_state),
    VM_U8_MAX(PiixChannel, bm_command, 9),
    VM_U8_MAX(PiixChannel, bm_status, 0x67),
    VM_U32(PiixChannel, bm_table),
    VM_U32(PiixChannel, prd_next),
    VM_U32(PiixChannel, prd_addr),
    VM_U32_MAX(PiixChannel, prd_left, 65536),
    VM_BOOL(PiixChannel, prd_last),
    { 0 },
};
static const VmState piix_channel_state = {
    .name = "piix-ide-channel",
    .version = 1,
    .oldest = 1,
    .fields = piix_channel_fields,
};
static const VmField piix_fields[] = { VM_STRUCT_ARRAY(PiixIde, channel, piix_channel_state), { 0 } };
static const VmState piix_state = { .name = "piix3-ide", .version = 1, .oldest = 1, .fields = piix_fields };

static const PciOps piix_pci_ops = {
    .vendor = 0x8086,
    .device = 0x7010,
    .class_code = 0x010180,
    .no_hotplug = true,
    .bar = { [4] = { .kind = PCI_BAR_IO, .size = 16 } },
};

const DeviceType piix3_ide_type = {
    .name = "piix3-ide",
    .desc = "PIIX3 IDE controller",
    .size = sizeof(PiixIde),
    .category = "Storage",
    .internal = true,
    .bus_type = &pci_bus_type,
    .bus_ops = &piix_pci_ops,
    .vmstate = &piix_state,
    .realize = piix_realize,
    .reset = piix_reset,
    .reset_done = piix_reset_done,
};
