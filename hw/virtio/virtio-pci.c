/* SPDX-License-Identifier: MIT
 * hw/virtio/virtio-pci.c - the PCI transport of virtio devices: registers and interrupts.
 *
 * Models: virtio 1.2, 4.1 (virtio over PCI): all five capabilities, MSI-X and the interrupt pin, resets of
 * single queues; the legacy interface is virtio-pci-legacy.c's. Does not model: shared memory regions,
 * NOTIFICATION_DATA. Threads: the device's domain.
 */
#include "rhea/system/machine.h"
#include "rhea/hw/virtio.h"
#include <inttypes.h>
#include <string.h>

enum { /* the BAR, 4.1.4: where all devices have these two */
       AT_DEVICE = 0x2000,
       AT_NOTIFY = 0x3000,
       COMMON_SIZE = 0x3c,
       NOTIFY_STEP = 4,
       NOTIFY_PAGE = 0x1000,
};
enum { CAP_COMMON = 1, CAP_NOTIFY, CAP_ISR, CAP_DEVICE, CAP_PCI }; /* 4.1.4: cfg_type */
enum {                                                             /* 4.1.4.3 */
       C_DFSELECT = 0x00,
       C_DF = 0x04,
       C_GFSELECT = 0x08,
       C_GF = 0x0c,
       C_CONFIG_VECTOR = 0x10,
       C_NUM_QUEUES = 0x12,
       C_STATUS = 0x14,
       C_GENERATION = 0x15,
       C_Q_SELECT = 0x16,
       C_Q_SIZE = 0x18,
       C_Q_VECTOR = 0x1a,
       C_Q_ENABLE = 0x1c,
       C_Q_NOTIFY_OFF = 0x1e,
       C_Q_DESC = 0x20,
       C_Q_AVAIL = 0x28,
       C_Q_USED = 0x30,
       C_Q_NOTIFY_DATA = 0x38, /* without NOTIFICATION_DATA: 0 */
       C_Q_RESET = 0x3a,
};

/* One page for each structure. */
static const VirtioPciPlaces usual_places = { .msix_bar = 1, .modern_bar = 4, .common = 0, .isr = 0x1000 };

static const VirtioPciPlaces *places_of(const VirtioDevice *v)
{
    return v->class->places ? v->class->places : &usual_places;
}

static void put(uint8_t *p, unsigned n, uint64_t v)
{
    for (unsigned i = 0; i < n; i++) {
        p[i] = v >> (8 * i);
    }
}

static uint32_t get(const uint8_t *p, unsigned n)
{
    uint32_t v = 0;
    for (unsigned i = 0; i < n; i++) {
        v |= (uint32_t)p[i] << (8 * i);
    }
    return v;
}

/* ---- interrupts ---- */

void virtio_pin_update(VirtioDevice *v)
{
    irq_set(&v->intx, v->isr && !pci_msix_enabled(&v->msix));
}

/* 4.1.4.5: the ISR byte tells why, when there is only the pin. */
static void virtio_pci_interrupt(VirtioDevice *v, unsigned vector, uint8_t isr_bit)
{
    if (pci_msix_enabled(&v->msix)) {
        pci_msix_notify(&v->msix, vector);
    } else {
        v->isr |= isr_bit;
        virtio_pin_update(v);
    }
}

/* The window of 4.1.4.9: BAR, offset, length, data. */
static void virtio_pci_reset(VirtioDevice *v)
{
    if (v->pci_cfg_cap) {
        PciFunc *f = pci_func(&v->dev);
        f->config[v->pci_cfg_cap + 4] = 0;
        memset(f->config + v->pci_cfg_cap + 8, 0, 12);
    }
}

static const VirtioTransport virtio_pci = {
    .interrupt = virtio_pci_interrupt,
    .update = virtio_pin_update,
    .reset = virtio_pci_reset,
};

/* ---- registers ---- */

static void virtio_common_fill(VirtioDevice *v, uint8_t *c)
{
    const VirtQueue *q = virtio_selected(v);
    put(c + C_DFSELECT, 4, v->device_feature_select);
    put(c + C_DF, 4, virtio_offered(v));
    put(c + C_GFSELECT, 4, v->driver_feature_select);
    put(c + C_GF, 4,
        v->driver_feature_select < 2 ? v->driver_features >> (32 * v->driver_feature_select) : 0);
    put(c + C_CONFIG_VECTOR, 2, v->config_vector);
    put(c + C_NUM_QUEUES, 2, v->n_queues);
    c[C_STATUS] = virtio_status(v);
    c[C_GENERATION] = v->config_generation;
    put(c + C_Q_SELECT, 2, v->queue_select);
    if (q) {
        put(c + C_Q_SIZE, 2, q->size);
        put(c + C_Q_VECTOR, 2, q->vector);
        put(c + C_Q_ENABLE, 2, q->enabled);
        put(c + C_Q_NOTIFY_OFF, 2, v->queue_select);
        put(c + C_Q_DESC, 8, q->desc);
        put(c + C_Q_AVAIL, 8, q->avail);
        put(c + C_Q_USED, 8, q->used);
        put(c + C_Q_RESET, 2, virtio_queue_resetting(v, q));
    } else {
        put(c + C_Q_VECTOR, 2, VIRTIO_NO_VECTOR);
    }
}

static void virtio_queue_written(VirtioDevice *v, VirtQueue *q, unsigned off, uint32_t val)
{
    if (off == C_Q_VECTOR) {
        q->vector = virtio_vector(v, val);
        return;
    }
    if (off == C_Q_RESET) { /* 2.6.1.1 */
        virtio_queue_reset_asked(v, q, val);
        return;
    }
    if (q->enabled) { /* 4.1.4.3.2: nothing of an enabled queue changes, and it cannot be disabled */
        guest_error(&v->dev, "virtio: register 0x%x of enabled queue %u written", off, v->queue_select);
        return;
    }
    uint64_t *addr = off < C_Q_AVAIL ? &q->desc : off < C_Q_USED ? &q->avail : &q->used;
    switch (off) {
    case C_Q_SIZE: virtio_queue_set_size(v, q, val); break;
    case C_Q_ENABLE: virtio_queue_enable(v, q, val); break;
    case C_Q_DESC:
    case C_Q_AVAIL:
    case C_Q_USED: *addr = (*addr & ~(uint64_t)UINT32_MAX) | val; break;
    default: /* the upper halves */ *addr = (uint32_t)*addr | (uint64_t)val << 32; break;
    }
}

static void virtio_common_written(VirtioDevice *v, unsigned off, unsigned size, uint32_t val)
{
    bool is_short = (off >= C_CONFIG_VECTOR && off < C_Q_DESC) || off >= C_Q_NOTIFY_DATA;
    unsigned want = off == C_STATUS ? 1 : is_short ? 2 : 4;
    if (size != want || off % want) {
        guest_error(&v->dev, "virtio: %u-byte write of common register 0x%x", size, off);
        return;
    }
    switch (off) {
    case C_DFSELECT: v->device_feature_select = val; break;
    case C_GFSELECT: v->driver_feature_select = val; break;
    case C_GF: virtio_choose(v, val); break;
    case C_CONFIG_VECTOR: v->config_vector = virtio_vector(v, val); break;
    case C_STATUS: virtio_set_status(v, val); break;
    case C_Q_SELECT: v->queue_select = val; break;
    case C_Q_SIZE:
    case C_Q_VECTOR:
    case C_Q_ENABLE:
    case C_Q_DESC:
    case C_Q_DESC + 4:
    case C_Q_AVAIL:
    case C_Q_AVAIL + 4:
    case C_Q_USED:
    case C_Q_USED + 4:
    case C_Q_RESET:
        if (virtio_selected(v)) {
            virtio_queue_written(v, virtio_selected(v), off, val);
        }
        break;
    default: break; /* read-only */
    }
}

static uint64_t virtio_bar_read(void *opaque, MemAccess *a)
{
    VirtioDevice *v = opaque;
    const VirtioPciPlaces *at = places_of(v);
    uint8_t buf[VIRTIO_CONFIG_MAX] = { 0 };
    if (a->off >= at->common && a->off - at->common < COMMON_SIZE) {
        unsigned off = (unsigned)a->off - at->common;
        virtio_common_fill(v, buf);
        return get(buf + off, MIN(a->size, COMMON_SIZE - off));
    }
    if (a->off == at->isr) {
        uint8_t isr = v->isr;
        v->isr = 0;
        virtio_pin_update(v);
        return isr;
    }
    if (a->off >= AT_DEVICE && a->off - AT_DEVICE < v->class->config_size) {
        unsigned off = a->off - AT_DEVICE;
        v->class->get_config(v, buf);
        return get(buf + off, MIN(a->size, v->class->config_size - off));
    }
    return 0;
}

static void virtio_bar_write(void *opaque, MemAccess *a, uint64_t val)
{
    VirtioDevice *v = opaque;
    unsigned common = places_of(v)->common;
    if (a->off >= common && a->off - common < COMMON_SIZE) {
        virtio_common_written(v, (unsigned)a->off - common, a->size, val);
    } else if (a->off >= AT_NOTIFY && a->off < AT_NOTIFY + (hwaddr)v->notify_step * v->n_queues) {
        virtio_kick(v, (unsigned)(a->off - AT_NOTIFY) / v->notify_step);
    } else if (a->off >= AT_DEVICE && a->off - AT_DEVICE < v->class->config_size) {
        v->class->config_written(v, a->off - AT_DEVICE, a->size, val);
    }
}

/* ---- configuration space ---- */

/* 4.1.4.9: a window to the BAR through configuration space. */
static bool virtio_window(VirtioDevice *v, unsigned off, unsigned len, MemAccess *a, uint8_t **data)
{
    uint8_t *c = pci_func(&v->dev)->config + v->pci_cfg_cap;
    if (!v->pci_cfg_cap || off >= v->pci_cfg_cap + 20u || off + len <= v->pci_cfg_cap + 16u) {
        return false;
    }
    uint32_t at = get(c + 8, 4), size = get(c + 12, 4);
    *a = (MemAccess){ .off = at, .size = size };
    *data = c + 16;
    return c[4] == places_of(v)->modern_bar && (size == 1 || size == 2 || size == 4) && at < v->bar.size &&
           at % size == 0;
}

void virtio_pci_config_read(Device *dev, unsigned off, unsigned len)
{
    VirtioDevice *v = dev_as(VirtioDevice, dev);
    MemAccess a;
    uint8_t *data;
    if (virtio_window(v, off, len, &a, &data)) {
        put(data, a.size, virtio_bar_read(v, &a));
    }
}

void virtio_pci_config_written(Device *dev, unsigned off, unsigned len)
{
    VirtioDevice *v = dev_as(VirtioDevice, dev);
    MemAccess a;
    uint8_t *data;
    virtio_pin_update(v); /* MSI-X may have been switched */
    if (virtio_window(v, off, len, &a, &data)) {
        virtio_bar_write(v, &a, get(data, a.size));
    }
}

static bool virtio_add_cap(VirtioDevice *v, uint8_t type, uint32_t at, uint32_t size, unsigned len,
                           Error **errp)
{
    Device *dev = &v->dev;
    uint8_t cap = pci_add_capability(dev, 0x09, len);
    if (!cap) {
        return error_set(errp, "'%s': no room for a virtio capability", device_name(dev));
    }
    pci_set_byte(dev, cap + 2, len);
    pci_set_byte(dev, cap + 3, type);
    pci_set_byte(dev, cap + 4, type == CAP_PCI ? 0 : places_of(v)->modern_bar);
    pci_set_long(dev, cap + 8, at);
    pci_set_long(dev, cap + 12, size);
    if (type == CAP_NOTIFY) {
        pci_set_long(dev, cap + 16, v->notify_step);
    }
    if (type == CAP_PCI) {
        v->pci_cfg_cap = cap;
        pci_set_wmask(dev, cap + 4, 0xff, 1);
        for (unsigned i = 8; i < 20; i += 4) {
            pci_set_wmask(dev, cap + i, UINT32_MAX, 4);
        }
    }
    return true;
}

/* ---- notifications that leave no guest ---- */

/* A register for each queue in memory, and the legacy interface's one for all. */
static void virtio_bells_add(VirtioDevice *v)
{
    virtio_bells_init(v, 2 * v->n_queues);
    for (unsigned i = 0; i < v->n_queues; i++) {
        if (!v->disable_modern) {
            hwaddr off = AT_NOTIFY + (hwaddr)v->notify_step * i;
            virtio_bell_add(v, i, &(Doorbell){ .region = &v->bar, .off = off });
        }
        if (v->has_legacy) {
            virtio_bell_add(v, i, &(Doorbell){ .region = &v->legacy_bar, .off = VIRTIO_LEGACY_NOTIFY,
                                               .io = true, .len = 2, .value = i });
        }
    }
}

static bool virtio_modern_init(VirtioDevice *v, unsigned n_queues, Error **errp)
{
    static const MemOps ops = {
        .read = virtio_bar_read, .write = virtio_bar_write, .min = 1, .max = 8, .impl_min = 1, .impl_max = 4
    };
    const VirtioPciPlaces *at = places_of(v);
    uint32_t notify = v->notify_step * n_queues, size = 0x4000;
    while (size < AT_NOTIFY + notify) {
        size *= 2;
    }
    region_init_io(&v->bar, &v->dev, "virtio-pci", &ops, v, size);
    return virtio_add_cap(v, CAP_COMMON, at->common, COMMON_SIZE, 16, errp) &&
           virtio_add_cap(v, CAP_ISR, at->isr, 1, 16, errp) &&
           (!v->class->config_size || /* 4.1.4.6: of devices that have one */
            virtio_add_cap(v, CAP_DEVICE, AT_DEVICE, v->class->config_size, 16, errp)) &&
           virtio_add_cap(v, CAP_NOTIFY, AT_NOTIFY, notify, 20, errp) &&
           virtio_add_cap(v, CAP_PCI, 0, 0, 20, errp);
}

/* In the order of their numbers. */
static void virtio_bars_add(VirtioDevice *v, bool msix)
{
    const VirtioPciPlaces *at = places_of(v);
    if (msix && at->msix_bar < at->modern_bar) {
        device_add_region(&v->dev, &v->msix.bar);
    }
    if (!v->disable_modern) {
        device_add_region(&v->dev, at->bar ? at->bar(v) : &v->bar);
    }
    if (msix && at->msix_bar > at->modern_bar) {
        device_add_region(&v->dev, &v->msix.bar);
    }
}

bool virtio_pci_init(VirtioDevice *v, const VirtioClass *class, unsigned n_queues, unsigned queue_size,
                     Error **errp)
{
    unsigned vectors = v->vectors == VIRTIO_VECTORS_AUTO ? n_queues + 1 : v->vectors;
    v->class = class;
    const VirtioPciPlaces *at = places_of(v);
    v->notify_step = v->page_per_vq ? NOTIFY_PAGE : NOTIFY_STEP;
    v->pci_ops = class->pci[!v->has_legacy      ? VIRTIO_PCI_MODERN
                            : v->disable_modern ? VIRTIO_PCI_LEGACY
                                                : VIRTIO_PCI_TRANSITIONAL];
    if (!vectors) { /* nor the BAR for them */
        v->pci_ops.bar[at->msix_bar] = (PciBarDesc){ PCI_BAR_NONE };
    }
    pci_choose_ops(&v->dev, &v->pci_ops);
    if ((class->boot_path && !machine_add_boot_device(&v->dev, v->bootindex, class->boot_path, errp)) ||
        (vectors && !pci_msix_init(&v->msix, &v->dev, vectors, at->msix_bar, errp))) {
        return false;
    }
    if (v->has_legacy) {
        virtio_pci_legacy_init(v);
        device_add_region(&v->dev, &v->legacy_bar);
    }
    if (!v->disable_modern && !virtio_modern_init(v, n_queues, errp)) {
        return false;
    }
    virtio_bars_add(v, vectors != 0);
    device_add_irq(&v->dev, &v->intx);
    virtio_init(v, class, &virtio_pci, &pci_func(&v->dev)->dma, n_queues, queue_size);
    if (v->ioeventfd) {
        virtio_bells_add(v);
    }
    return true;
}

/* ---- saved state ---- */

static const VmField virtio_fields[] = {
    VM_STRUCT(VirtioDevice, msix, pci_msix_state),
    VM_U64(VirtioDevice, driver_features),
    VM_U32(VirtioDevice, device_feature_select),
    VM_U32(VirtioDevice, driver_feature_select),
    VM_U16(VirtioDevice, config_vector),
    VM_U16(VirtioDevice, queue_select),
    VM_U8(VirtioDevice, status),
    VM_U8(VirtioDevice, isr),
    VIRTIO_SINCE(3),
    VM_STRUCT_ARRAY(VirtioDevice, q, virtio_queue_state),
    { 0 },
};
const VmState virtio_pci_state = {
    .name = "virtio-pci",
    .version = 1,
    .oldest = 1,
    .fields = virtio_fields,
};
