/* SPDX-License-Identifier: MIT
 * hw/pci/msix.c - MSI-X: the vector table, masks and pending bits.
 *
 * Models: PCI Local Bus Specification 3.0, 6.8.2 (capability and table), 6.8.3.4 and 6.8.3.5 (per-vector and
 *         function masking, pending bits).
 * Does not model: a table and a PBA in different BARs, accesses narrower than a doubleword (6.8.2 leaves
 *         them undefined; they are refused), steering tags.
 * Threads: the device's domain.
 */
#include "rhea/hw/msix.h"
#include "pci_internal.h"
#include "rhea/system/machine.h"

enum {
    MSIX_CAP_ID = 0x11,
    MSIX_CAP_SIZE = 12,
    MSIX_CONTROL = 2, /* offsets in the capability */
    MSIX_TABLE = 4,
    MSIX_PBA = 8,
    MSIX_ENTRY = 16,
    MSIX_FUNCTION_MASK = 1 << 14,
    MSIX_ENABLE = 1 << 15,
    MSIX_VECTOR_MASKED = 1,
};

static unsigned msix_control(const PciMsix *x)
{
    return pci_le16(pci_func(x->dev)->config + x->cap + MSIX_CONTROL);
}

bool pci_msix_enabled(const PciMsix *x)
{
    return x->n && (msix_control(x) & MSIX_ENABLE);
}

static bool msix_masked(const PciMsix *x, unsigned vector)
{
    return (msix_control(x) & MSIX_FUNCTION_MASK) || (x->table[vector][3] & MSIX_VECTOR_MASKED);
}

static bool msix_is_pending(const PciMsix *x, unsigned vector)
{
    return x->pending[vector / 32] >> (vector % 32) & 1;
}

/* The message is a memory write by the function: without bus mastering there is none (6.2.2). */
static void msix_send(PciMsix *x, unsigned vector)
{
    if (pci_func(x->dev)->bus_master) {
        const uint32_t *e = x->table[vector];
        msi_route_send(x->dev->machine, &x->routes[vector],
                       (MsiMessage){ .addr = (uint64_t)e[1] << 32 | e[0], .data = e[2] });
    }
}

void pci_msix_drop(PciMsix *x, unsigned vector)
{
    if (vector < x->n) {
        x->pending[vector / 32] &= ~(UINT32_C(1) << (vector % 32));
    }
}

void pci_msix_notify(PciMsix *x, unsigned vector)
{
    if (vector >= x->n || !pci_msix_enabled(x)) {
        return;
    }
    if (msix_masked(x, vector)) {
        x->pending[vector / 32] |= UINT32_C(1) << (vector % 32);
    } else {
        msix_send(x, vector);
    }
}

/* 6.8.3.5: what became pending under a mask is sent when the mask goes. */
static void msix_deliver_pending(PciMsix *x, unsigned first, unsigned end)
{
    for (unsigned v = first; v < end && pci_msix_enabled(x); v++) {
        if (msix_is_pending(x, v) && !msix_masked(x, v)) {
            pci_msix_drop(x, v);
            msix_send(x, v);
        }
    }
}

void pci_msix_control_written(PciFunc *f, unsigned off, unsigned len)
{
    PciMsix *x = f->msix;
    if (x && off < x->cap + MSIX_CONTROL + 2u && off + len > x->cap + (unsigned)MSIX_CONTROL) {
        msix_deliver_pending(x, 0, x->n);
    }
}

/* 6.8.2.3, 6.8.2.9: disabled, unmasked as a function, every vector masked. Messages are undefined: zero. */
void pci_msix_reset(PciFunc *f)
{
    PciMsix *x = f->msix;
    if (!x) {
        return;
    }
    pci_put16(f->config + x->cap + MSIX_CONTROL, x->n - 1);
    memset(x->pending, 0, sizeof(x->pending));
    memset(x->table, 0, sizeof(x->table));
    for (unsigned v = 0; v < x->n; v++) {
        x->table[v][3] = MSIX_VECTOR_MASKED;
    }
}

static uint64_t msix_read(void *opaque, MemAccess *a)
{
    PciMsix *x = opaque;
    if (a->off < x->n * (hwaddr)MSIX_ENTRY) {
        return x->table[a->off / MSIX_ENTRY][a->off / 4 % 4];
    }
    hwaddr word = (a->off - x->pba_at) / 4;
    return a->off >= x->pba_at && word < G_N_ELEMENTS(x->pending) ? x->pending[word] : 0;
}

static void msix_write(void *opaque, MemAccess *a, uint64_t val)
{
    static const uint32_t writable[4] = { ~UINT32_C(3), UINT32_MAX, UINT32_MAX, MSIX_VECTOR_MASKED };
    PciMsix *x = opaque;
    if (a->off < x->n * (hwaddr)MSIX_ENTRY) { /* the pending bits are read-only */
        unsigned v = a->off / MSIX_ENTRY, k = a->off / 4 % 4;
        x->table[v][k] = val & writable[k];
        msix_deliver_pending(x, v, v + 1);
    }
}

static void msix_gone(void *opaque)
{
    PciMsix *x = opaque;
    for (unsigned v = 0; v < x->n; v++) {
        msi_route_drop(x->dev->machine, &x->routes[v]);
    }
    g_clear_pointer(&x->routes, g_free);
}

bool pci_msix_init(PciMsix *x, Device *dev, unsigned n, unsigned bar_no, Error **errp)
{
    static const MemOps ops = {
        .read = msix_read, .write = msix_write, .min = 4, .max = 8, .impl_min = 4, .impl_max = 4
    };
    PciFunc *f = pci_func(dev);
    if (n == 0 || n > PCI_MSIX_VECTORS) {
        return error_set(errp, "'%s' asks for %u MSI-X vectors; 1 to %u are possible", device_name(dev), n,
                         PCI_MSIX_VECTORS);
    }
    uint8_t cap = pci_add_capability(dev, MSIX_CAP_ID, MSIX_CAP_SIZE);
    if (!cap) {
        return error_set(errp, "'%s': no room for the MSI-X capability", device_name(dev));
    }
    uint32_t size = 4096;
    x->dev = dev;
    x->n = n;
    x->cap = cap;
    x->pba_at = size / 2;
    pci_put32(f->config + cap + MSIX_TABLE, bar_no);
    pci_put32(f->config + cap + MSIX_PBA, x->pba_at | bar_no);
    pci_put16(f->wmask + cap + MSIX_CONTROL, MSIX_ENABLE | MSIX_FUNCTION_MASK);
    f->msix = x;
    x->routes = g_new0(MsiRoute, n);
    device_add_cleanup(dev, msix_gone, x);
    region_init_io(&x->bar, dev, "msix", &ops, x, size);
    pci_msix_reset(f);
    return true;
}

static const VmField msix_fields[] = {
    { .name = "table", .kind = VM_U32_, .offset = offsetof(PciMsix, table),
      .count = sizeof(((PciMsix *)0)->table) / 4, .max = UINT32_MAX },
    VM_U32_ARRAY(PciMsix, pending),
    { 0 },
};
const VmState pci_msix_state = {
    .name = "pci-msix", .version = 1, .oldest = 1, .fields = msix_fields,
};
