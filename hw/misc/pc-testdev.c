/* SPDX-License-Identifier: MIT
 * hw/misc/pc-testdev.c - the device that kvm-unit-tests drives interrupts and I/O emulation with.
 * Models:         the interface its tests document: E0h-E3h four bytes of I/O RAM in accesses of 1, 2 or 4
 *                 bytes, E8h-EBh the same bytes one at a time, E4h-E7h flush of a page's mapping,
 *                 2000h-2017h levels of interrupt inputs 0-23, FF000000h 64 KiB of memory that is
 *                 dispatched like registers.
 * Does not model: an effect of the flush: no engine keeps a page's mapping longer than its translation.
 * Threads:        the device's domain.
 */
#include "rhea/hw/isa.h"
#include "rhea/hw/pcmisc.h"

enum { TESTDEV_IRQS = 24, TESTDEV_MEM = 0x10000, TESTDEV_SOURCE = ISA_SOURCE_BOARD + 30 };

typedef struct TestDev {
    Device dev;
    MemRegion io, flush, io_bytes, irq_ports, mem; /* wiring */
    IrqLine irq[TESTDEV_IRQS];
    uint8_t data[4]; /* guest-visible state */
    uint32_t levels;
    uint8_t ram[TESTDEV_MEM];
} TestDev;

static uint64_t bytes_get(const uint8_t *p, unsigned size)
{
    uint64_t val = 0;
    for (unsigned i = 0; i < size; i++) {
        val |= (uint64_t)p[i] << i * 8;
    }
    return val;
}

static void bytes_put(uint8_t *p, unsigned size, uint64_t val)
{
    for (unsigned i = 0; i < size; i++) {
        p[i] = val >> i * 8;
    }
}

static uint64_t testdev_io_read(void *opaque, MemAccess *a)
{
    TestDev *t = opaque;
    return bytes_get(t->data + a->off, MIN(a->size, 4 - a->off));
}

static void testdev_io_write(void *opaque, MemAccess *a, uint64_t val)
{
    TestDev *t = opaque;
    bytes_put(t->data + a->off, MIN(a->size, 4 - a->off), val);
}

static uint64_t testdev_flush_read(void *opaque G_GNUC_UNUSED, MemAccess *a G_GNUC_UNUSED)
{
    return 0;
}

static void testdev_flush_write(void *opaque G_GNUC_UNUSED, MemAccess *a G_GNUC_UNUSED,
                                uint64_t val G_GNUC_UNUSED)
{
}

static uint64_t testdev_irq_read(void *opaque, MemAccess *a)
{
    TestDev *t = opaque;
    return t->levels >> a->off & 1;
}

static void testdev_irq_write(void *opaque, MemAccess *a, uint64_t val)
{
    TestDev *t = opaque;
    t->levels = (t->levels & ~(1u << a->off)) | (uint32_t)(val != 0) << a->off;
    irq_set(&t->irq[a->off], val != 0);
}

static uint64_t testdev_mem_read(void *opaque, MemAccess *a)
{
    TestDev *t = opaque;
    return bytes_get(t->ram + a->off, MIN(a->size, TESTDEV_MEM - a->off));
}

static void testdev_mem_write(void *opaque, MemAccess *a, uint64_t val)
{
    TestDev *t = opaque;
    bytes_put(t->ram + a->off, MIN(a->size, TESTDEV_MEM - a->off), val);
}

static bool testdev_realize(Device *dev, Error **errp)
{
    static const MemOps io = { .read = testdev_io_read,
                               .write = testdev_io_write,
                               .min = 1,
                               .max = 4,
                               .impl_min = 1,
                               .impl_max = 4,
                               .unaligned = true };
    static const MemOps io_bytes = {
        .read = testdev_io_read, .write = testdev_io_write, .min = 1, .max = 1, .impl_min = 1, .impl_max = 1
    };
    static const MemOps flush = { .read = testdev_flush_read,
                                  .write = testdev_flush_write,
                                  .min = 1,
                                  .max = 4,
                                  .impl_min = 4,
                                  .impl_max = 4 };
    static const MemOps irq_ports = {
        .read = testdev_irq_read, .write = testdev_irq_write, .min = 1, .max = 1, .impl_min = 1, .impl_max = 1
    };
    static const MemOps mem = { .read = testdev_mem_read,
                                .write = testdev_mem_write,
                                .min = 1,
                                .max = 8,
                                .impl_min = 1,
                                .impl_max = 8,
                                .unaligned = true };
    TestDev *t = dev_as(TestDev, dev);
    IsaBus *isa = isa_bus_of(dev);
    region_init_io(&t->io, dev, "pc-testdev-ioport", &io, t, 4);
    region_init_io(&t->flush, dev, "pc-testdev-flush-page", &flush, t, 4);
    region_init_io(&t->io_bytes, dev, "pc-testdev-ioport-byte", &io_bytes, t, 4);
    region_init_io(&t->irq_ports, dev, "pc-testdev-irq-line", &irq_ports, t, TESTDEV_IRQS);
    region_init_io(&t->mem, dev, "pc-testdev-iomem", &mem, t, TESTDEV_MEM);
    for (unsigned k = 0; k < TESTDEV_IRQS; k++) {
        irq_connect(&t->irq[k], &irq_or_sink, k < ISA_IRQS ? &isa->irq_or[k] : &isa->gsi_or[k - ISA_IRQS],
                    TESTDEV_SOURCE);
    }
    device_map_mem(dev, &t->mem, 0xff000000, 0);
    return device_map_io(dev, &t->io, 0xe0, errp) && device_map_io(dev, &t->flush, 0xe4, errp) &&
           device_map_io(dev, &t->io_bytes, 0xe8, errp) && device_map_io(dev, &t->irq_ports, 0x2000, errp);
}

static void testdev_drive(Device *dev)
{
    TestDev *t = dev_as(TestDev, dev);
    for (unsigned k = 0; k < TESTDEV_IRQS; k++) {
        irq_set(&t->irq[k], t->levels >> k & 1);
    }
}

static void testdev_unrealize(Device *dev)
{
    dev_as(TestDev, dev)->levels = 0;
    testdev_drive(dev);
}

static void testdev_reset(Device *dev, ResetKind kind G_GNUC_UNUSED)
{
    TestDev *t = dev_as(TestDev, dev);
    memset(t->data, 0, sizeof(t->data));
    memset(t->ram, 0, sizeof(t->ram));
    t->levels = 0;
}

static bool testdev_post_load(void *opaque, Error **errp G_GNUC_UNUSED)
{
    testdev_drive(opaque);
    return true;
}

static const VmField testdev_fields[] = {
    VM_U8_ARRAY(TestDev, data),
    VM_U32_MAX(TestDev, levels, 0xffffff),
    VM_U8_ARRAY(TestDev, ram),
    { 0 },
};
static const VmState testdev_state = {
    .name = "pc-testdev", .version = 1, .oldest = 1, .fields = testdev_fields, .post_load = testdev_post_load
};
static const IsaOps testdev_isa = { .irq = -1 };

const DeviceType pc_testdev_type = {
    .name = "pc-testdev",
    .desc = "Test device of kvm-unit-tests",
    .size = sizeof(TestDev),
    .bus_type = &isa_bus_type,
    .bus_ops = &testdev_isa,
    .category = "Misc",
    .vmstate = &testdev_state,
    .realize = testdev_realize,
    .unrealize = testdev_unrealize,
    .reset = testdev_reset,
    .reset_done = testdev_drive,
};
