/* SPDX-License-Identifier: MIT
 * hw/pci/msi.c - MSI: one capability with address, data, mask and pending bits.
 *
 * Models: PCI Local Bus Specification 3.0, 6.8.1 (capability of functions with 64-bit addresses and
 *         per-vector masks), 6.8.3.4 and 6.8.3.5 (several messages, masking).
 * Does not model: functions that have only 32-bit addresses or no masks: every one here has both.
 * Threads: the device's domain.
 */
#include "rhea/hw/msi.h"
#include "pci_internal.h"
#include "rhea/system/machine.h"

enum {
    MSI_CAP_ID = 0x05,
    MSI_CAP_SIZE = 24,
    MSI_CONTROL = 2, /* offsets in the capability */
    MSI_ADDRESS = 4,
    MSI_ADDRESS_HI = 8,
    MSI_DATA = 12,
    MSI_MASK = 16,
    MSI_PENDING = 20,
    MSI_ENABLE = 1 << 0,
    MSI_CAPABLE_SHIFT = 1,
    MSI_GRANTED_SHIFT = 4,
    MSI_64BIT = 1 << 7,
    MSI_MASKABLE = 1 << 8,
};

static uint8_t *msi_config(const PciMsi *x)
{
    return pci_func(x->dev)->config + x->cap;
}

bool pci_msi_enabled(const PciMsi *x)
{
    return x->n && (pci_le16(msi_config(x) + MSI_CONTROL) & MSI_ENABLE);
}

/* Software may write a larger number than was offered; what it gets is what there is. */
static unsigned msi_granted(const PciMsi *x)
{
    unsigned n = 1u << (pci_le16(msi_config(x) + MSI_CONTROL) >> MSI_GRANTED_SHIFT & 7);
    return MIN(n, x->n);
}

/* The low bits of the data tell the messages apart (6.8.1.6). Without bus mastering no memory write goes out.
 */
static void msi_deliver(PciMsi *x, unsigned vector)
{
    const uint8_t *c = msi_config(x);
    if (pci_func(x->dev)->bus_master) {
        unsigned low = msi_granted(x) - 1;
        msi_route_send(x->dev->machine, &x->routes[vector],
                       (MsiMessage){ .addr = (uint64_t)pci_le32(c + MSI_ADDRESS_HI) << 32 |
                                             pci_le32(c + MSI_ADDRESS),
                                     .data = (pci_le16(c + MSI_DATA) & ~low) | (vector & low) });
    }
}

void pci_msi_notify(PciMsi *x, unsigned vector)
{
    if (!pci_msi_enabled(x)) {
        return;
    }
    uint8_t *c = msi_config(x);
    vector = MIN(vector, msi_granted(x) - 1);
    if (pci_le32(c + MSI_MASK) >> vector & 1) {
        pci_put32(c + MSI_PENDING, pci_le32(c + MSI_PENDING) | UINT32_C(1) << vector);
    } else {
        msi_deliver(x, vector);
    }
}

/* What became pending under a mask is sent when the mask goes. */
void pci_msi_written(PciFunc *f, unsigned off, unsigned len)
{
    PciMsi *x = f->msi;
    if (!x || off >= x->cap + (unsigned)MSI_CAP_SIZE || off + len <= x->cap || !pci_msi_enabled(x)) {
        return;
    }
    uint8_t *c = msi_config(x);
    uint32_t ready = pci_le32(c + MSI_PENDING) & ~pci_le32(c + MSI_MASK);
    for (unsigned v = 0; v < msi_granted(x); v++) {
        if (ready >> v & 1) {
            pci_put32(c + MSI_PENDING, pci_le32(c + MSI_PENDING) & ~(UINT32_C(1) << v));
            msi_deliver(x, v);
        }
    }
}

void pci_msi_reset(PciFunc *f)
{
    PciMsi *x = f->msi;
    if (x) {
        uint8_t *c = msi_config(x);
        memset(c + MSI_CONTROL, 0, MSI_CAP_SIZE - MSI_CONTROL);
        pci_put16(c + MSI_CONTROL,
                  MSI_64BIT | MSI_MASKABLE | (unsigned)__builtin_ctz(x->n) << MSI_CAPABLE_SHIFT);
    }
}

static void msi_gone(void *opaque)
{
    PciMsi *x = opaque;
    for (unsigned v = 0; v < x->n; v++) {
        msi_route_drop(x->dev->machine, &x->routes[v]);
    }
    g_clear_pointer(&x->routes, g_free);
}

bool pci_msi_init(PciMsi *x, Device *dev, unsigned n, Error **errp)
{
    PciFunc *f = pci_func(dev);
    uint8_t cap = pci_add_capability(dev, MSI_CAP_ID, MSI_CAP_SIZE);
    if (!cap) {
        return error_set(errp, "'%s': no room for the MSI capability", device_name(dev));
    }
    x->dev = dev;
    x->cap = cap;
    x->n = n;
    x->routes = g_new0(MsiRoute, n);
    device_add_cleanup(dev, msi_gone, x);
    pci_set_wmask(dev, cap + MSI_CONTROL, MSI_ENABLE | 7 << MSI_GRANTED_SHIFT, 2);
    pci_set_wmask(dev, cap + MSI_ADDRESS, ~UINT32_C(3), 4);
    pci_set_wmask(dev, cap + MSI_ADDRESS_HI, UINT32_MAX, 4);
    pci_set_wmask(dev, cap + MSI_DATA, UINT16_MAX, 2);
    pci_set_wmask(dev, cap + MSI_MASK, UINT32_MAX >> (32 - n), 4);
    f->msi = x;
    pci_msi_reset(f);
    return true;
}
