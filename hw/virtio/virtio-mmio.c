/* SPDX-License-Identifier: MIT
 * hw/virtio/virtio-mmio.c - the memory-mapped transport of virtio devices.
 *
 * Models: virtio 1.2, 4.2 (virtio over MMIO): all registers of 4.2.2, or with force-legacy=on those of the
 * legacy interface (4.2.4): the driver has no choice; a place without a device has id 0. Does not model:
 * shared memory regions (none: length -1).
 * Threads: the device's domain, the platform's while there is none.
 */
#include "rhea/system/machine.h"
#include "rhea/util/errorcode.h"
#include "rhea/hw/virtio.h"

#include <inttypes.h>

enum { /* 4.2.2 */
       M_MAGIC = 0x000,
       M_VERSION = 0x004,
       M_DEVICE_ID = 0x008,
       M_VENDOR_ID = 0x00c,
       M_DF = 0x010,
       M_DF_SELECT = 0x014,
       M_GF = 0x020,
       M_GF_SELECT = 0x024,
       M_Q_SELECT = 0x030,
       M_Q_SIZE_MAX = 0x034,
       M_Q_SIZE = 0x038,
       M_Q_READY = 0x044, /* 4.2.4 has the next three instead of this, and what follows M_STATUS */
       M_PAGE_SIZE = 0x028,
       M_Q_ALIGN = 0x03c,
       M_Q_PFN = 0x040,
       M_NOTIFY = 0x050,
       M_ISR = 0x060,
       M_ISR_ACK = 0x064,
       M_STATUS = 0x070,
       M_Q_DESC = 0x080,
       M_Q_DRIVER = 0x090,
       M_Q_DEVICE = 0x0a0,
       M_SHM_LEN = 0x0b0,
       M_SHM_BASE = 0x0b8,
       M_Q_RESET = 0x0c0,
       M_GENERATION = 0x0fc,
       M_CONFIG = 0x100,
       MAGIC = 0x74726976,
       VERSION = 2,
       VERSION_LEGACY = 1,
       LEGACY_ALIGN = 4096,
       VENDOR = 0x61656852, /* "Rhea" */
};

typedef struct VirtioMmio {
    Device dev;
    MemRegion regs;
    IrqLine irq;
    DmaContext dma;
    Bus *bus;
    VirtioDevice *child; /* NULL: nobody sits here. No saved state: the device's own table has it all */
    bool force_legacy, ioeventfd;
    uint32_t index;
    uint64_t address; /* properties, these three */
} VirtioMmio;

/* ---- interrupts ---- */

static void mmio_update(VirtioDevice *v)
{
    irq_set(&v->mmio->irq, v->isr != 0);
}

static void mmio_interrupt(VirtioDevice *v, unsigned vector G_GNUC_UNUSED, uint8_t isr_bit)
{
    v->isr |= isr_bit;
    mmio_update(v);
}

/* A legacy driver says once how large its pages are, before its first reset. */
static void mmio_reset(VirtioDevice *v)
{
    v->guest_page = 0;
}

static const VirtioTransport virtio_mmio = { .interrupt = mmio_interrupt,
                                             .update = mmio_update,
                                             .reset = mmio_reset };

/* ---- registers ---- */

static uint64_t mmio_read_config(VirtioDevice *v, const MemAccess *a)
{
    uint8_t buf[VIRTIO_CONFIG_MAX] = { 0 };
    uint64_t val = 0;
    unsigned off = (unsigned)a->off - M_CONFIG;
    if (off < v->class->config_size) {
        v->class->get_config(v, buf);
        for (unsigned i = 0; i < a->size && off + i < v->class->config_size; i++) {
            val |= (uint64_t)buf[off + i] << (8 * i);
        }
    }
    return val;
}

static uint64_t mmio_read_queue(const VirtioDevice *v, const VirtQueue *q, unsigned off)
{
    switch (off) {
    case M_Q_SIZE_MAX: return q ? virtio_queue_max(v, q) : 0;
    case M_Q_READY: return q && q->enabled;
    case M_Q_RESET: return q && virtio_queue_resetting(v, q);
    default: return 0; /* the others are write-only */
    }
}

static uint64_t mmio_read_legacy(const VirtioDevice *v, const VirtQueue *q, unsigned off)
{
    switch (off) {
    case M_DEVICE_ID: return v->class->id;
    case M_DF: return v->device_feature_select ? 0 : virtio_legacy_offered(v);
    case M_Q_SIZE_MAX: return q && !q->enabled ? virtio_queue_max(v, q) : 0;
    case M_Q_PFN: return q && q->enabled && v->guest_page ? q->desc / v->guest_page : 0;
    case M_ISR: return v->isr;
    case M_STATUS: return (virtio_status(v) & (uint8_t)~VIRTIO_NEEDS_RESET) | v->legacy_echo;
    default: return 0;
    }
}

static uint64_t mmio_read(void *opaque, MemAccess *a)
{
    VirtioMmio *t = opaque;
    VirtioDevice *v = t->child;
    if (a->off >= M_CONFIG) {
        return v ? mmio_read_config(v, a) : 0;
    }
    if (a->size != 4) {
        guest_error(&t->dev, "virtio: %u-byte read of register 0x%x", a->size, (unsigned)a->off);
        return 0;
    }
    switch (a->off) {
    case M_MAGIC: return MAGIC;
    case M_VERSION: return t->force_legacy ? VERSION_LEGACY : VERSION;
    case M_VENDOR_ID: return VENDOR;
    default: break;
    }
    if (!v) {
        return 0; /* 4.2.2.1: id 0, all else is of no meaning */
    }
    if (t->force_legacy) {
        return mmio_read_legacy(v, virtio_selected(v), (unsigned)a->off);
    }
    switch (a->off) {
    case M_DEVICE_ID: return v->class->id;
    case M_DF: return virtio_offered(v);
    case M_ISR: return v->isr;
    case M_STATUS: return virtio_status(v);
    case M_SHM_LEN:
    case M_SHM_LEN + 4:
    case M_SHM_BASE:
    case M_SHM_BASE + 4: return UINT32_MAX;
    case M_GENERATION: return v->config_generation;
    default: return mmio_read_queue(v, virtio_selected(v), (unsigned)a->off);
    }
}

static void mmio_set_ready(VirtioDevice *v, VirtQueue *q, uint32_t val)
{
    if (val || !q->enabled) {
        virtio_queue_enable(v, q, val);
    } else if (q->in_use) {
        guest_error(&v->dev, "virtio: queue %u stopped with %u buffers in use", v->queue_select, q->in_use);
    } else { /* it may start again, from the beginning */
        *q = (VirtQueue){ .size = (uint16_t)virtio_queue_max(v, q), .vector = VIRTIO_NO_VECTOR };
    }
}

static void mmio_write_queue(VirtioDevice *v, VirtQueue *q, unsigned off, uint32_t val)
{
    if (off == M_Q_READY) {
        mmio_set_ready(v, q, val);
        return;
    }
    if (off == M_Q_RESET) { /* 2.6.1.1 */
        virtio_queue_reset_asked(v, q, val);
        return;
    }
    if (q->enabled) {
        guest_error(&v->dev, "virtio: register 0x%x of ready queue %u written", off, v->queue_select);
        return;
    }
    uint64_t *addr = off < M_Q_DRIVER ? &q->desc : off < M_Q_DEVICE ? &q->avail : &q->used;
    switch (off) {
    case M_Q_SIZE: virtio_queue_set_size(v, q, val); break;
    case M_Q_DESC:
    case M_Q_DRIVER:
    case M_Q_DEVICE: *addr = (*addr & ~(uint64_t)UINT32_MAX) | val; break;
    default: /* the upper halves */ *addr = (uint32_t)*addr | (uint64_t)val << 32; break;
    }
}

static void mmio_write_register(VirtioDevice *v, unsigned off, uint32_t val)
{
    switch (off) {
    case M_DF_SELECT: v->device_feature_select = val; break;
    case M_GF_SELECT: v->driver_feature_select = val; break;
    case M_GF: virtio_choose(v, val); break;
    case M_Q_SELECT: v->queue_select = MIN(val, UINT16_MAX); break;
    case M_NOTIFY: virtio_kick(v, val); break;
    case M_STATUS: virtio_set_status(v, val); break;
    case M_ISR_ACK:
        v->isr &= ~val;
        mmio_update(v);
        break;
    case M_Q_SIZE:
    case M_Q_READY:
    case M_Q_DESC:
    case M_Q_DESC + 4:
    case M_Q_DRIVER:
    case M_Q_DRIVER + 4:
    case M_Q_DEVICE:
    case M_Q_DEVICE + 4:
    case M_Q_RESET:
        if (virtio_selected(v)) {
            mmio_write_queue(v, virtio_selected(v), off, val);
        }
        break;
    default: break; /* read-only */
    }
}

/* QueuePFN: where the three parts begin, in the driver's pages; 0: nowhere. */
static void mmio_place_legacy(VirtioDevice *v, VirtQueue *q, uint32_t pfn)
{
    uint32_t align = v->legacy_align[q - v->q]; /* some drivers never say: that of PCI's legacy interface */
    if (pfn && !v->guest_page) {
        guest_error(&v->dev, "virtio: queue %u placed before GuestPageSize is there", v->queue_select);
    } else if (!pfn && q->in_use) {
        guest_error(&v->dev, "virtio: queue %u stopped with %u buffers in use", v->queue_select, q->in_use);
    } else {
        virtio_legacy_set_queue(v, q, (uint64_t)pfn * v->guest_page, align ? align : LEGACY_ALIGN);
    }
}

static bool mmio_power_of_two(VirtioDevice *v, unsigned off, uint32_t val)
{
    bool good = val && !(val & (val - 1));
    if (!good) {
        guest_error(&v->dev, "virtio: register 0x%x: %u is no power of two", off, val);
    }
    return good;
}

static void mmio_write_legacy_queue(VirtioDevice *v, VirtQueue *q, unsigned off, uint32_t val)
{
    if (off == M_Q_PFN) {
        mmio_place_legacy(v, q, val);
    } else if (q->enabled) {
        guest_error(&v->dev, "virtio: register 0x%x of queue %u written, which has its place", off,
                    v->queue_select);
    } else if (off == M_Q_SIZE) {
        virtio_queue_set_size(v, q, val);
    } else if (mmio_power_of_two(v, off, val)) {
        v->legacy_align[q - v->q] = val;
    }
}

static void mmio_write_legacy(VirtioDevice *v, unsigned off, uint32_t val)
{
    switch (off) {
    case M_DF_SELECT: v->device_feature_select = val; break;
    case M_GF_SELECT: v->driver_feature_select = val; break;
    case M_GF:
        if (v->driver_feature_select == 0) { /* there are 32 of them */
            virtio_legacy_choose(v, val);
        }
        break;
    case M_PAGE_SIZE:
        if (mmio_power_of_two(v, off, val)) {
            v->guest_page = val;
        }
        break;
    case M_Q_SELECT: v->queue_select = MIN(val, UINT16_MAX); break;
    case M_NOTIFY: virtio_kick(v, val); break;
    case M_STATUS:
        virtio_legacy_set_status(v, (uint8_t)val);
        v->legacy_echo =
            (uint8_t)val & VIRTIO_FEATURES_OK; /* no such bit here, but SeaBIOS wants to read it back */
        break;
    case M_ISR_ACK:
        v->isr &= ~val;
        mmio_update(v);
        break;
    case M_Q_SIZE:
    case M_Q_ALIGN:
    case M_Q_PFN:
        if (virtio_selected(v)) {
            mmio_write_legacy_queue(v, virtio_selected(v), off, val);
        }
        break;
    default: break; /* read-only */
    }
}

static void mmio_write(void *opaque, MemAccess *a, uint64_t val)
{
    VirtioMmio *t = opaque;
    VirtioDevice *v = t->child;
    if (!v) {
        return;
    }
    if (a->off >= M_CONFIG) {
        if (a->off - M_CONFIG < v->class->config_size) {
            v->class->config_written(v, (unsigned)a->off - M_CONFIG, a->size, (uint32_t)val);
        }
    } else if (a->size != 4) {
        guest_error(&t->dev, "virtio: %u-byte write of register 0x%x", a->size, (unsigned)a->off);
    } else if (t->force_legacy) {
        mmio_write_legacy(v, (unsigned)a->off, (uint32_t)val);
    } else {
        mmio_write_register(v, (unsigned)a->off, (uint32_t)val);
    }
}

/* ---- the bus ---- */

static bool mmio_bus_prepare(Bus *bus, Device *dev G_GNUC_UNUSED, Error **errp)
{
    if (bus->children->len) {
        error_fail(errp, "no-place", "bus", NULL,
                   "bus '%s' has one place, and device '%s' is there", bus->name,
                   device_name(bus->children->pdata[0]));
        error_hint(errp, "leave bus= out: each board has several of them");
        return false;
    }
    return true;
}

static bool mmio_bus_attach(Bus *bus, Device *dev, Error **errp G_GNUC_UNUSED)
{
    VirtioMmio *t = bus->impl;
    t->dev.domain = dev->domain; /* the registers are the device's */
    t->child = dev_as(VirtioDevice, dev);
    return true;
}

static void mmio_bus_detach(Bus *bus, Device *dev G_GNUC_UNUSED)
{
    VirtioMmio *t = bus->impl;
    t->child = NULL;
    t->dev.domain = t->dev.machine->platform;
    irq_set(&t->irq, false);
}

static void mmio_firmware_name(Device *dev, GString *out)
{
    const VirtioMmio *t = dev->bus->impl;
    g_string_append_printf(out, "/virtio-mmio@%016" PRIx64, t->address);
}

const BusType virtio_mmio_bus_type = {
    .name = "virtio-mmio-bus",
    .prepare = mmio_bus_prepare,
    .attach = mmio_bus_attach,
    .detach = mmio_bus_detach,
    .firmware_name = mmio_firmware_name,
};

bool virtio_mmio_init(VirtioDevice *v, const VirtioClass *class, unsigned n_queues, unsigned queue_size,
                      Error **errp)
{
    if (class->boot_path && !machine_add_boot_device(&v->dev, v->bootindex, class->boot_path, errp)) {
        return false;
    }
    v->mmio = v->dev.bus->impl;
    virtio_init(v, class, &virtio_mmio, &v->mmio->dma, n_queues, queue_size);
    if (v->mmio->ioeventfd) { /* one register for all queues, told apart by what is written */
        virtio_bells_init(v, n_queues);
        for (unsigned i = 0; i < n_queues; i++) {
            virtio_bell_add(v, i, &(Doorbell){ .region = &v->mmio->regs, .off = M_NOTIFY,
                                               .len = 4, .value = i });
        }
    }
    return true;
}

/* ---- the transport's device ---- */

static bool mmio_realize(Device *dev, Error **errp G_GNUC_UNUSED)
{
    static const MemOps ops = { .read = mmio_read, .write = mmio_write, .min = 1, .max = 4 };
    VirtioMmio *t = dev_as(VirtioMmio, dev);
    t->dma = (DmaContext){ .as = &dev->machine->as_mem };
    region_init_io(&t->regs, dev, "virtio-mmio", &ops, t, VIRTIO_MMIO_SIZE);
    device_add_region(dev, &t->regs);
    device_add_irq(dev, &t->irq);
    g_autofree char *name = g_strdup_printf("virtio-mmio-bus.%u", t->index);
    t->bus = bus_new(&virtio_mmio_bus_type, dev, name, t);
    return true;
}

Bus *virtio_mmio_bus(Device *transport)
{
    return dev_as(VirtioMmio, transport)->bus;
}

bool virtio_mmio_is_legacy(const Bus *bus)
{
    return ((const VirtioMmio *)bus->impl)->force_legacy;
}

bool virtio_mmio_used(Device *transport)
{
    return dev_as(VirtioMmio, transport)->child != NULL;
}

static const Prop mmio_props[] = {
    PROP_U32(VirtioMmio, index, "index", 0, 0, UINT32_MAX, "Number of its bus"),
    PROP_U64(VirtioMmio, address, "address", 0, 0, UINT64_MAX,
             "Where the board puts it, for the firmware's names"),
    PROP_BOOL(VirtioMmio, force_legacy, "force-legacy", true,
              "The registers are those of before virtio 1.0, and nothing that came with it is offered"),
    PROP_BOOL(VirtioMmio, ioeventfd, "ioeventfd", true,
              "Where KVM has local APICs in the kernel, it hears notifications without leaving the guest"),
    { 0 },
};

const DeviceType virtio_mmio_type = {
    .name = "virtio-mmio",
    .desc = "Virtio transport in memory",
    .size = sizeof(VirtioMmio),
    .category = "Misc",
    .internal = true,
    .props = mmio_props,
    .realize = mmio_realize,
};

/* ---- saved state of the device on it ---- */

static const VmField mmio_fields[] = {
    VM_U64(VirtioDevice, driver_features),
    VM_U32(VirtioDevice, device_feature_select),
    VM_U32(VirtioDevice, driver_feature_select),
    VM_U16(VirtioDevice, queue_select),
    VM_U8(VirtioDevice, status),
    VM_U8(VirtioDevice, isr),
    VIRTIO_SINCE(4),
    { .name = "legacy_echo",
      .kind = VM_U8_,
      .max = VIRTIO_FEATURES_OK,
      .since = 4,
      .offset = TYPED_OFFSET(VirtioDevice, legacy_echo, uint8_t) },
    { .name = "legacy_align",
      .kind = VM_U32_,
      .count = VIRTIO_QUEUES,
      .max = UINT32_MAX,
      .since = 4,
      .offset = offsetof(VirtioDevice, legacy_align) },
    VM_STRUCT_ARRAY(VirtioDevice, q, virtio_queue_state),
    { 0 },
};
const VmState virtio_mmio_state = {
    .name = "virtio-mmio",
    .version = 1,
    .oldest = 1,
    .fields = mmio_fields,
};
