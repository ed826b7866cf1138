/* SPDX-License-Identifier: MIT
 * hw/i386/ich9-smbus.c - the ICH9's SMBus host controller at 00:1f.3, with nobody on the bus.
 *
 * Models: Intel ICH9 data sheet (316972), 18.1 (configuration) and 18.2 (host registers): a transaction ends
 *         with DEV_ERR, as when no slave acknowledges, and interrupts by INTB# when asked to.
 * Does not model: slaves, the slave interface, SMI# instead of the interrupt, the memory-mapped alias (BAR
 * 0). Threads: the device's domain.
 */
#include "ich9.h"
#include "pm1.h"
#include <string.h>

enum { CFG_HOSTC = 0x40, HOSTC_WRITABLE = 0x0e | 1, HOSTC_ENABLE = 1 };
enum { STS_IN_USE = 0x40, STS_W1C = 0xfe, STS_CAUSES = 0x1e };

typedef struct Ich9Smbus {
    Device dev;
    MemRegion io;
    IrqLine irq;
    uint8_t regs[SMB_SIZE]; /* guest-visible state */
} Ich9Smbus;

static void smbus_update(Ich9Smbus *s)
{
    irq_set(&s->irq, (s->regs[SMB_CNT] & SMB_CNT_INTREN) && (s->regs[SMB_STS] & STS_CAUSES));
}

/* 18.2.1: a read of INUSE_STS takes the semaphore, a one gives it back. */
static uint64_t smbus_read(void *opaque, MemAccess *a)
{
    Ich9Smbus *s = opaque;
    if (!(pci_get(&s->dev, CFG_HOSTC, 1) & HOSTC_ENABLE) || a->off >= SMB_SIZE) {
        return 0;
    }
    uint8_t v = s->regs[a->off];
    if (a->off == SMB_STS) {
        s->regs[SMB_STS] |= STS_IN_USE;
    }
    return v;
}

static void smbus_write(void *opaque, MemAccess *a, uint64_t val)
{
    Ich9Smbus *s = opaque;
    if ((pci_get(&s->dev, CFG_HOSTC, 1) & HOSTC_ENABLE) && a->off < SMB_SIZE) {
        smb_host_write(s->regs, a->off, val, STS_W1C);
        smbus_update(s);
    }
}

static bool smbus_realize(Device *dev, Error **errp G_GNUC_UNUSED)
{
    static const MemOps ops = { .read = smbus_read, .write = smbus_write, .min = 1, .max = 1 };
    Ich9Smbus *s = dev_as(Ich9Smbus, dev);
    region_init_io(&s->io, dev, "ich9-smbus", &ops, s, 32);
    device_add_region(dev, &s->io);
    device_add_irq(dev, &s->irq);
    pci_set_wmask(dev, CFG_HOSTC, HOSTC_WRITABLE, 1);
    return true;
}

static void smbus_reset(Device *dev, ResetKind kind G_GNUC_UNUSED)
{
    Ich9Smbus *s = dev_as(Ich9Smbus, dev);
    memset(s->regs, 0, sizeof(s->regs));
    pci_set_byte(dev, CFG_HOSTC, 0);
    pci_set_word(dev, 0x06, 0x0280);
}

static void smbus_reset_done(Device *dev)
{
    smbus_update(dev_as(Ich9Smbus, dev));
}

static bool smbus_post_load(void *opaque, Error **errp G_GNUC_UNUSED)
{
    smbus_update(opaque);
    return true;
}

static const VmField smbus_fields[] = { VM_U8_ARRAY(Ich9Smbus, regs), { 0 } };
static const VmState smbus_state = {
    .name = "ICH9-SMB", .version = 1, .oldest = 1, .fields = smbus_fields, .post_load = smbus_post_load,
};

static const PciOps smbus_ops = {
    .vendor = 0x8086,
    .device = 0x2930,
    .class_code = 0x0c0500,
    .revision = 2,
    .intx_pin = 2,
    .no_hotplug = true,
    .bar = { [4] = { .kind = PCI_BAR_IO, .size = 32 } },
};

const DeviceType ich9_smbus_type = {
    .name = "ICH9-SMB", .desc = "ICH9 SMBus controller", .size = sizeof(Ich9Smbus), .category = "Misc",
    .internal = true, .bus_type = &pci_bus_type, .bus_ops = &smbus_ops, .vmstate = &smbus_state,
    .realize = smbus_realize, .reset = smbus_reset, .reset_done = smbus_reset_done,
};
