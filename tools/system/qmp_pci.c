/* SPDX-License-Identifier: MIT
 * tools/system/qmp_pci.c - query-pci: functions, their windows, and what is behind bridges.
 *
 * Models: QEMU 7.2's command of this name; offsets are those of PCI Local Bus 3.0, figure 6-1, and PCI-to-PCI
 *         Bridge 1.2, figure 3-1.
 * Threads: main loop; each function is read with its domain held, one at a time.
 */
#include "cli.h"
#include "rhea/hw/pcie.h"
#include "schema/qmp-pci.h"

enum { UNMAPPED = -1, BAR_ROM = 6 };

static void describe_range(const PciFunc *f, unsigned window, PciMemoryRange *r)
{
    pci_bridge_window(f->bridge, window, &r->base, &r->limit);
}

static void describe_regions(const PciFunc *f, PciDeviceInfo *i)
{
    PciMemoryRegion *r = g_new0(PciMemoryRegion, PCI_BARS + 1);
    i->regions.items = r;
    for (unsigned k = 0; k < PCI_BARS; k++) {
        const PciBarDesc *d = &f->bar[k].desc;
        bool memory = d->kind != PCI_BAR_IO;
        if (f->bar[k].region) {
            r[i->regions.n++] = (PciMemoryRegion){
                .bar = k, .type = g_strdup(memory ? "memory" : "io"), .size = f->bar[k].size,
                .address = f->bar[k].mapped ? (int64_t)f->bar[k].at : UNMAPPED,
                .has_prefetch = memory, .prefetch = d->prefetch,
                .has_mem_type_64 = memory, .mem_type_64 = d->kind == PCI_BAR_MEM64,
            };
        }
    }
    if (f->rom_ram) {
        r[i->regions.n++] = (PciMemoryRegion){
            .bar = BAR_ROM, .type = g_strdup("memory"), .size = f->rom_ram->size,
            .address = f->rom_mapped ? (int64_t)f->rom_at : UNMAPPED,
            .has_prefetch = true, .has_mem_type_64 = true,
        };
    }
}

static void describe_function(Device *d, PciDeviceInfo *i)
{
    const PciFunc *f = pci_func(d);
    unsigned class = pci_get(d, 0x0a, 2);
    i->bus = f->bus->number;
    i->slot = f->devfn >> 3;
    i->function = f->devfn & 7;
    i->class_info = (PciDeviceClass){ .desc = g_strdup(pci_class_name(class)), .class = class };
    i->id = (PciDeviceId){ .vendor = pci_get(d, 0x00, 2), .device = pci_get(d, 0x02, 2) };
    if (!f->bridge) {
        i->id.has_subsystem = i->id.has_subsystem_vendor = true;
        i->id.subsystem_vendor = pci_get(d, 0x2c, 2);
        i->id.subsystem = pci_get(d, 0x2e, 2);
    } else {
        PciBusInfo *b = &i->pci_bridge.bus;
        i->has_pci_bridge = true;
        b->number = pci_get(d, 0x18, 1);
        b->secondary = pci_get(d, 0x19, 1);
        b->subordinate = pci_get(d, 0x1a, 1);
        describe_range(f, PCI_BRIDGE_IO, &b->io_range);
        describe_range(f, PCI_BRIDGE_MEM, &b->memory_range);
        describe_range(f, PCI_BRIDGE_PREF, &b->prefetchable_range);
    }
    i->irq_pin = pci_get(d, 0x3d, 1);
    i->has_irq = i->irq_pin != 0;
    i->irq = i->has_irq ? pci_get(d, 0x3c, 1) : 0;
    i->qdev_id = g_strdup(d->id ? d->id : "");
    describe_regions(f, i);
}

/* The functions of a bus; depth ends with the device tree, which bridges make and no guest can. */
static PciDeviceInfo *describe_bus(PciBus *bus, size_t *n)
{
    GArray *all = g_array_new(FALSE, TRUE, sizeof(PciDeviceInfo));
    for (guint k = 0; k < G_N_ELEMENTS(bus->slot); k++) {
        Device *d = rcu_get(&bus->slot[k]);
        if (!d) {
            continue;
        }
        PciDeviceInfo i = { 0 };
        domain_lock(d->domain);
        describe_function(d, &i);
        domain_unlock(d->domain);
        if (i.has_pci_bridge) {
            PciBus *behind = pci_func(d)->bridge->secondary;
            i.pci_bridge.devices.items = describe_bus(behind, &i.pci_bridge.devices.n);
            i.pci_bridge.has_devices = i.pci_bridge.devices.n != 0;
        }
        g_array_append_val(all, i);
    }
    *n = all->len;
    return (PciDeviceInfo *)(void *)g_array_free(all, FALSE);
}

static void find_roots(Device *dev, QueryPciResult *ret)
{
    for (guint i = 0; dev->buses && i < dev->buses->len; i++) {
        Bus *b = dev->buses->pdata[i];
        PciBus *bus = b->type == &pci_bus_type ? b->impl : NULL;
        if (bus && !bus->bridge) {
            ret->items = g_renew(PciInfo, ret->items, ret->n + 1);
            PciInfo *info = &ret->items[ret->n++];
            *info = (PciInfo){ .bus = bus->number };
            info->devices.items = describe_bus(bus, &info->devices.n);
        }
    }
    for (guint i = 0; dev->children && i < dev->children->len; i++) {
        find_roots(dev->children->pdata[i], ret);
    }
}

bool qmp_query_pci(QmpCall *call, QueryPciResult *ret, Error **errp)
{
    rcu_read_lock(); /* a guest can have a device removed meanwhile */
    find_roots(call->machine->root, ret);
    rcu_read_unlock();
    return true;
}
