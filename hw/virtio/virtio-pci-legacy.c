/* SPDX-License-Identifier: MIT
 * hw/virtio/virtio-pci-legacy.c - the registers in I/O space by which drivers from before virtio 1.0 reach a
 * PCI device.
 *
 * Models: virtio 1.2, 4.1.4.10 (common configuration, legacy interface), 4.1.5.1.3.1 (queues by page number),
 *         2.5 (the device's own part behind the common one). All values are little-endian, as an x86 guest's.
 * Threads: the device's domain.
 */
#include "rhea/hw/virtio.h"

#include <string.h>

enum {
    L_DF = 0x00,
    L_GF = 0x04,
    L_Q_PAGE = 0x08,
    L_Q_SIZE = 0x0c,
    L_Q_SELECT = 0x0e,
    L_Q_NOTIFY = VIRTIO_LEGACY_NOTIFY,
    L_STATUS = 0x12,
    L_ISR = 0x13,
    L_CONFIG_VECTOR = 0x14, /* these two only while MSI-X is enabled */
    L_Q_VECTOR = 0x16,
    L_SIZE = 0x14,
    L_SIZE_MSIX = 0x18,
    PAGE = 4096,
};

static void put(uint8_t *p, unsigned n, uint64_t v)
{
    for (unsigned i = 0; i < n; i++) {
        p[i] = v >> (8 * i);
    }
}

static unsigned legacy_size(const VirtioDevice *v)
{
    return pci_msix_enabled(&v->msix) ? L_SIZE_MSIX : L_SIZE;
}

static void legacy_fill(VirtioDevice *v, uint8_t *c)
{
    const VirtQueue *q = virtio_selected(v);
    put(c + L_DF, 4, virtio_legacy_offered(v));
    put(c + L_GF, 4, v->driver_features);
    put(c + L_Q_SELECT, 2, v->queue_select);
    c[L_STATUS] = virtio_status(v) & ~VIRTIO_NEEDS_RESET; /* no such bit here */
    c[L_ISR] = v->isr;
    put(c + L_CONFIG_VECTOR, 2, v->config_vector);
    put(c + L_Q_VECTOR, 2, q ? q->vector : VIRTIO_NO_VECTOR);
    if (q) {
        put(c + L_Q_PAGE, 4, q->enabled ? q->desc / PAGE : 0);
        put(c + L_Q_SIZE, 2, q->size);
    }
    v->class->get_config(v, c + legacy_size(v));
}

static uint64_t legacy_read(void *opaque, MemAccess *a)
{
    VirtioDevice *v = opaque;
    uint8_t buf[L_SIZE_MSIX + VIRTIO_CONFIG_MAX] = { 0 };
    uint64_t val = 0;
    legacy_fill(v, buf);
    for (unsigned i = 0; i < a->size && a->off + i < sizeof(buf); i++) {
        val |= (uint64_t)buf[a->off + i] << (8 * i);
    }
    if (a->off == L_ISR) { /* reading acknowledges */
        v->isr = 0;
        virtio_pin_update(v);
    }
    return val;
}

/* A driver of that time may forget bus mastering, which nobody looked at. */
static void legacy_status_written(VirtioDevice *v, uint8_t val)
{
    if (val & VIRTIO_DRIVER) {
        pci_enable_bus_master(&v->dev);
    }
    virtio_legacy_set_status(v, val);
}

static void legacy_register_written(VirtioDevice *v, unsigned off, unsigned size, uint32_t val)
{
    unsigned want = off == L_STATUS ? 1 : off < L_Q_SIZE ? 4 : 2;
    VirtQueue *q = virtio_selected(v);
    if (size != want || off % want) {
        guest_error(&v->dev, "virtio: %u-byte write of legacy register 0x%x", size, off);
        return;
    }
    switch (off) {
    case L_GF: virtio_legacy_choose(v, val); break;
    case L_Q_PAGE:
        if (q) {
            virtio_legacy_set_queue(v, q, (uint64_t)val * PAGE, PAGE);
        }
        break;
    case L_Q_SELECT: v->queue_select = (uint16_t)val; break;
    case L_Q_NOTIFY: virtio_kick(v, val); break;
    case L_STATUS: legacy_status_written(v, (uint8_t)val); break;
    case L_CONFIG_VECTOR: v->config_vector = virtio_vector(v, val); break;
    case L_Q_VECTOR:
        if (q) {
            q->vector = virtio_vector(v, val);
        }
        break;
    default: break; /* read-only */
    }
}

static void legacy_write(void *opaque, MemAccess *a, uint64_t val)
{
    VirtioDevice *v = opaque;
    unsigned size = legacy_size(v), off = (unsigned)a->off;
    if (off < size) {
        legacy_register_written(v, off, a->size, (uint32_t)val);
    } else if (off - size < v->class->config_size) {
        v->class->config_written(v, off - size, a->size, (uint32_t)val);
    }
}

void virtio_pci_legacy_init(VirtioDevice *v)
{
    static const MemOps ops = {
        .read = legacy_read, .write = legacy_write, .min = 1, .max = 4, .impl_min = 1, .impl_max = 4
    };
    unsigned size = 32;
    while (size < L_SIZE_MSIX + v->class->config_size) {
        size *= 2;
    }
    region_init_io(&v->legacy_bar, &v->dev, "virtio-pci-legacy", &ops, v, size);
}
