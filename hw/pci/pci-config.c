/* SPDX-License-Identifier: MIT
 * hw/pci/pci-config.c - configuration cycles, base address registers and INTx.
 *
 * Models: PCI Local Bus Specification 3.0: 6.2 (register access rules), 6.2.5 (base addresses and their
 *         sizing), 2.2.6 and 6.2.4 (interrupt pins), 6.2.2 (INTx disable, interrupt status).
 *         Configuration cycles find their bus by the numbers in bridges (PCI-to-PCI Bridge 1.2, 3.1.2.1).
 * Does not model: parity and master-abort status of CPU accesses.
 * Threads: a cycle runs in the domain of the function it names; remapping a BAR takes the topology lock.
 */
#include "hw/trace.h"
#include "pci_internal.h"
#include "rhea/hw/pcie.h"
#include "rhea/system/machine.h"

static uint32_t pci_bar_flags(const PciBarDesc *d)
{
    return d->kind == PCI_BAR_IO
               ? PCI_BAR_IS_IO
               : (d->kind == PCI_BAR_MEM64 ? PCI_BAR_IS_64 : 0) | (d->prefetch ? PCI_BAR_IS_PREFETCH : 0);
}

bool pci_bars_setup(PciFunc *f, Error **errp)
{
    unsigned exported = 0;
    for (unsigned k = 0; k < PCI_BARS; k++) {
        const PciBarDesc *d = &f->ops->bar[k];
        if (d->kind == PCI_BAR_NONE) {
            continue;
        }
        MemRegion *r = device_region(f->dev, exported++);
        if (!r) {
            return error_set(errp, "'%s' has a base address register %u but no region for it",
                             f->dev->type->name, k);
        }
        uint64_t want = d->size ? d->size : r->size, size = d->kind == PCI_BAR_IO ? 4 : 16;
        while (size < want) {
            size <<= 1;
        }
        f->bar[k].region = r;
        f->bar[k].desc = *d;
        f->bar[k].size = size;
        region_init(&f->bar[k].window, f->dev, r->name, size);
        region_map(&f->bar[k].window, 0, r, 0);
        pci_put32(f->config + PCI_BAR0 + 4 * k, pci_bar_flags(d));
        pci_put32(f->wmask + PCI_BAR0 + 4 * k, ~(size - 1));
        if (d->kind == PCI_BAR_MEM64) {
            pci_put32(f->wmask + PCI_BAR0 + 4 * (k + 1), ~(size - 1) >> 32);
        }
    }
    return true;
}

void pci_bars_fini(PciFunc *f)
{
    for (unsigned k = 0; k < PCI_BARS; k++) {
        if (f->bar[k].region) {
            if (region_mapped(&f->bar[k].window)) {
                region_unmap(&f->bar[k].window);
            }
            if (f->bar[k].region->parent == &f->bar[k].window) {
                region_unmap(f->bar[k].region);
            }
            region_fini(&f->bar[k].window);
            f->bar[k].region = NULL;
        }
    }
    if (f->rom_ram) {
        if (region_mapped(&f->rom_window)) {
            region_unmap(&f->rom_window);
        }
        region_fini(&f->rom_window);
        ram_unref(f->rom_ram);
        f->rom_ram = NULL;
    }
}

/* What the register says, without its flag bits. */
hwaddr pci_bar_addr(const PciFunc *f, unsigned k)
{
    const uint8_t *reg = f->config + PCI_BAR0 + 4 * k;
    uint64_t v = pci_le32(reg);
    if (f->bar[k].desc.kind == PCI_BAR_MEM64) {
        v |= (uint64_t)pci_le32(reg + 4) << 32;
    }
    return v & ~(f->bar[k].size - 1);
}

/* An address of zero means "not set"; one that ends at the very top is what sizing leaves behind. */
static bool pci_range_usable(hwaddr at, uint64_t size, uint64_t top)
{
    return at != 0 && at <= top && size - 1 < top - at;
}

/* True: something has changed. */
static bool pci_place(MemRegion *parent, MemRegion *r, hwaddr at, bool want, hwaddr *was, bool *mapped)
{
    bool changes = *mapped != want || (want && *was != at);
    if (*mapped && (!want || *was != at)) {
        region_unmap(r);
        *mapped = false;
    }
    if (want && !*mapped) {
        region_map(parent, at, r, 1);
        *mapped = true;
    }
    *was = want ? at : 0;
    return changes;
}

void pci_bars_update(PciFunc *f)
{
    unsigned cmd = pci_le16(f->config + PCI_COMMAND);
    mem_begin(f->bus->machine);
    for (unsigned k = 0; k < PCI_BARS; k++) {
        if (!f->bar[k].region) {
            continue;
        }
        bool io = f->bar[k].desc.kind == PCI_BAR_IO;
        uint64_t top = io ? 0xffff : f->bar[k].desc.kind == PCI_BAR_MEM64 ? UINT64_MAX : UINT32_MAX;
        hwaddr at = pci_bar_addr(f, k);
        bool want = (cmd & (io ? PCI_CMD_IO : PCI_CMD_MEM)) && pci_range_usable(at, f->bar[k].size, top);
        if (pci_place(io ? f->bus->io : f->bus->mem, &f->bar[k].window, at, want, &f->bar[k].at,
                      &f->bar[k].mapped)) {
            trace_pci_bar(device_name(f->dev), k, at, f->bar[k].size, want);
        }
    }
    if (f->rom_ram) {
        uint32_t reg = pci_le32(f->config + PCI_ROM);
        hwaddr at = reg & ~(uint32_t)(f->rom_ram->size - 1);
        bool want = (cmd & PCI_CMD_MEM) && (reg & PCI_ROM_ENABLE) &&
                    pci_range_usable(at, f->rom_ram->size, UINT32_MAX);
        pci_place(f->bus->mem, &f->rom_window, at, want, &f->rom_at, &f->rom_mapped);
    }
    mem_commit(f->bus->machine);
}

/* The pin as the outside sees it: the device's request unless the command register masks it. Hosts keep
 * one bit per function, so telling them twice is harmless. */
void pci_intx_update(PciFunc *f)
{
    if (!f->ops || !f->ops->intx_pin || !f->bus) {
        return;
    }
    f->config[PCI_STATUS] =
        (f->config[PCI_STATUS] & ~PCI_STATUS_INTX) | (f->intx_level ? PCI_STATUS_INTX : 0);
    bool out = f->intx_level && !(pci_le16(f->config + PCI_COMMAND) & PCI_CMD_INTX_OFF);
    if (f->bridge) {
        pci_bridge_own_pin(f, f->ops->intx_pin - 1, out);
    } else if (f->bus->host_ops) {
        f->bus->host_ops->set_intx(f->bus->host, f->devfn, f->ops->intx_pin - 1, out);
    }
}

static void pci_intx_set(void *sink, unsigned pin G_GNUC_UNUSED, bool level)
{
    PciFunc *f = sink;
    f->intx_level = level && !f->gone;
    pci_intx_update(f);
}

const IrqSinkOps pci_intx_sink = { .set = pci_intx_set };

static void pci_header_written(PciFunc *f, unsigned off, unsigned len)
{
    unsigned end = off + len;
    bool cmd = off < PCI_COMMAND + 2 && end > PCI_COMMAND;
    bool bar = off < PCI_BAR0 + 4 * PCI_BARS && end > PCI_BAR0;
    bool rom = off < PCI_ROM + 4 && end > PCI_ROM;
    if (cmd) {
        f->bus_master = f->config[PCI_COMMAND] & PCI_CMD_MASTER;
        pci_intx_update(f);
    }
    if (cmd || bar || rom) {
        pci_bars_update(f);
    }
}

static uint32_t pci_func_read(PciFunc *f, unsigned off, unsigned len)
{
    if (f->gone || pci_bus_is_shut(f->bus)) {
        return UINT32_MAX >> (32 - 8 * len);
    }
    if (f->ops->config_read) {
        f->ops->config_read(f->dev, off, len);
    }
    return pci_get(f->dev, off, len);
}

static void pci_func_write(PciFunc *f, unsigned off, uint32_t val, unsigned len)
{
    if (f->gone || pci_bus_is_shut(f->bus)) {
        return;
    }
    for (unsigned i = 0; i < len; i++) {
        uint8_t b = val >> (8 * i), *c = &f->config[off + i], w = f->wmask[off + i];
        *c = (*c & ~w) | (b & w);
        *c &= ~(b & f->w1cmask[off + i]);
    }
    pci_header_written(f, off, len);
    pci_msix_control_written(f, off, len);
    pci_msi_written(f, off, len);
    if (f->bridge) {
        pci_bridge_written(f, off, len);
        pcie_slot_written(f);
    }
    if (f->ops->config_written) {
        f->ops->config_written(f->dev, off, len);
    }
}

/* The bus of that number at or behind b; each step goes behind the bridge whose range holds it. */
static PciBus *pci_bus_numbered(PciBus *b, unsigned number)
{
    while (b && __atomic_load_n(&b->number, __ATOMIC_RELAXED) != number) {
        PciBus *next = NULL;
        for (unsigned devfn = 0; devfn < 8u * b->n_slots && !next; devfn++) {
            Device *d = rcu_get(&b->slot[devfn]);
            PciBus *s = d && pci_func(d)->bridge ? pci_func(d)->bridge->secondary : NULL;
            unsigned first = s ? __atomic_load_n(&s->number, __ATOMIC_RELAXED) : 0;
            if (first && number >= first && number <= __atomic_load_n(&s->subordinate, __ATOMIC_RELAXED)) {
                next = s;
            }
        }
        b = next;
    }
    return b;
}

static Device *pci_resolve(PciBus *b, unsigned bdf, unsigned off, unsigned len)
{
    bool ok = (len == 1 || len == 2 || len == 4) && off < PCIE_CONFIG_SIZE && len <= PCIE_CONFIG_SIZE - off;
    b = ok ? pci_bus_numbered(b, bdf >> 8) : NULL;
    Device *d = b ? rcu_get(&b->slot[bdf & 0xff]) : NULL;
    return d && off + len > PCI_CONFIG_SIZE && !pci_func(d)->express_cap ? NULL : d;
}

/* Holds the function's domain unless this thread does already. */
static bool pci_enter(Device *d)
{
    if (domain_held(d->domain)) {
        return false;
    }
    domain_lock(d->domain);
    return true;
}

uint32_t pci_config_read(PciBus *bus, unsigned bdf, unsigned off, unsigned len)
{
    uint32_t v = UINT32_MAX >> (len < 4 ? 32 - 8 * len : 0);
    rcu_read_lock();
    Device *d = pci_resolve(bus, bdf, off, len);
    if (d) {
        bool locked = pci_enter(d);
        v = pci_func_read(pci_func(d), off, len);
        if (locked) {
            domain_unlock(d->domain);
        }
    }
    if (trace_pci_config_read_on()) {
        trace_pci_config_read(d ? device_name(d) : NULL, bdf, off, len, v);
    }
    rcu_read_unlock();
    return v;
}

void pci_config_write(PciBus *bus, unsigned bdf, unsigned off, uint32_t val, unsigned len)
{
    rcu_read_lock();
    Device *d = pci_resolve(bus, bdf, off, len);
    if (trace_pci_config_write_on()) {
        trace_pci_config_write(d ? device_name(d) : NULL, bdf, off, len, val);
    }
    if (d) {
        bool locked = pci_enter(d);
        pci_func_write(pci_func(d), off, val, len);
        if (locked) {
            domain_unlock(d->domain);
        }
    }
    rcu_read_unlock();
}
