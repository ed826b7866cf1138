/* SPDX-License-Identifier: MIT
 * hw/pci/bridge.c - what all PCI-to-PCI bridges do: bus numbers, windows, interrupt pins, secondary reset.
 *
 * Models: PCI-to-PCI Bridge Architecture Specification 1.2: 3.2.5 (type 01h header), chapter 4 (16-bit I/O,
 *         32-bit memory and 64-bit prefetchable windows), 9.1 (pins rotate by slot), 3.2.5.17 (secondary
 *         bus reset).
 * Does not model: the bridge's bus master bit, which SeaBIOS leaves off on root ports whose devices it
 *         boots from: requests from behind always pass; VGA and ISA modes of bridge control, subtractive
 *         decoding, discard timers, delayed transactions, requests from one device behind to another.
 * Threads: registers in the bridge's domain; those behind are reset by the main loop, each in its own domain;
 *         pins come from any domain and are kept under a leaf lock, which is held while the bus above is
 *         told.
 */
#include "rhea/hw/pcie.h"
#include "pci_internal.h"
#include "rhea/system/machine.h"

void pci_bridge_window(const PciBridge *b, unsigned k, hwaddr *base, hwaddr *limit)
{
    const uint8_t *c = pci_func(b->dev)->config;
    const uint8_t *r = c + (k == PCI_BRIDGE_MEM ? PCI_MEM_BASE : PCI_PREF_BASE);
    if (k == PCI_BRIDGE_IO) { /* 4 KiB units */
        *base = (c[PCI_IO_BASE] & 0xf0) << 8;
        *limit = (c[PCI_IO_BASE + 1] & 0xf0) << 8 | 0xfff;
        return;
    }
    *base = (hwaddr)(pci_le16(r) & 0xfff0) << 16; /* 1 MiB units */
    *limit = (hwaddr)(pci_le16(r + 2) & 0xfff0) << 16 | 0xfffff;
    if (k == PCI_BRIDGE_PREF) {
        *base |= (hwaddr)pci_le32(c + PCI_PREF_BASE_HI) << 32;
        *limit |= (hwaddr)pci_le32(c + PCI_PREF_LIMIT_HI) << 32;
    }
}

static void bridge_update_windows(PciBridge *b)
{
    PciFunc *f = pci_func(b->dev);
    unsigned cmd = pci_le16(f->config + PCI_COMMAND);
    mem_begin(b->dev->machine);
    for (unsigned k = 0; k < PCI_BRIDGE_WINDOWS; k++) {
        MemRegion *w = &b->window[k];
        hwaddr base, limit;
        pci_bridge_window(b, k, &base, &limit);
        unsigned enable = k == PCI_BRIDGE_IO ? PCI_CMD_IO : PCI_CMD_MEM;
        bool want = !b->shut && (cmd & enable) && base <= limit;
        if (region_mapped(w) && (!want || w->at != base || w->size != limit - base + 1)) {
            region_unmap(w);
        }
        if (want && !region_mapped(w)) {
            region_set_alias_off(w, base);
            region_set_size(w, limit - base == UINT64_MAX ? UINT64_MAX : limit - base + 1);
            region_map(k == PCI_BRIDGE_IO ? f->bus->io : f->bus->mem, base, w, 1);
        }
    }
    mem_commit(b->dev->machine);
}

static void bridge_update_numbers(PciBridge *b)
{
    const uint8_t *c = pci_func(b->dev)->config;
    PciBus *s = b->secondary;
    __atomic_store_n(&s->subordinate, c[PCI_SUBORDINATE], __ATOMIC_RELAXED);
    __atomic_store_n(&s->number, c[PCI_SECONDARY], __ATOMIC_RELAXED);
    for (unsigned devfn = 0; devfn < 8u * s->n_slots; devfn++) {
        Device *d = rcu_get(&s->slot[devfn]);
        if (d) {
            pci_func(d)->dma.requester = c[PCI_SECONDARY] << 8 | devfn;
        }
    }
}

/* ---- pins ---- */

static void bridge_tell_pin(PciBridge *b, unsigned pin)
{
    const PciFunc *f = pci_func(b->dev);
    const uint64_t *w = b->behind[pin];
    if (f->bus && f->bus->host_ops) {
        f->bus->host_ops->set_intx(f->bus->host, f->devfn, pin, b->own[pin] || w[0] || w[1] || w[2] || w[3]);
    }
}

/* 9.1: INTA of device 1 arrives as INTB, and so on. */
static void bridge_set_intx(void *host, unsigned devfn, unsigned pin, bool level)
{
    PciBridge *b = host;
    unsigned up = (pin + (devfn >> 3)) & 3;
    uint64_t bit = UINT64_C(1) << (devfn & 63), *w = &b->behind[up][devfn / 64];
    pthread_mutex_lock(&b->lock);
    *w = level ? *w | bit : *w & ~bit;
    bridge_tell_pin(b, up);
    pthread_mutex_unlock(&b->lock);
}

void pci_bridge_own_pin(PciFunc *f, unsigned pin, bool level)
{
    PciBridge *b = f->bridge;
    pthread_mutex_lock(&b->lock);
    b->own[pin] = level;
    bridge_tell_pin(b, pin);
    pthread_mutex_unlock(&b->lock);
}

/* ---- secondary bus reset ----
 *
 * 3.2.5.17: RST# is asserted behind the bridge as long as the bit is set, and software waits before it looks
 * (PCI 3.0, 4.3.2). The write shuts the bus at once. What is plugged into those behind comes and goes, so the
 * main loop alone may walk it: it resets them. The bus opens when the bit is clear and they are reset. */

bool pci_bus_is_shut(const PciBus *bus)
{
    for (; bus->bridge; bus = pci_func(bus->bridge->dev)->bus) {
        if (__atomic_load_n(&bus->bridge->shut, __ATOMIC_RELAXED)) {
            return true;
        }
    }
    return false;
}

static void bridge_update_shut(PciBridge *b)
{
    __atomic_store_n(&b->shut, b->in_reset || b->reset_wanted, __ATOMIC_RELAXED);
    bridge_update_windows(b);
}

/* Before the main loop comes to them, nobody behind writes memory or sends messages. Their command registers
 * belong to their own domains; nobody reads them before the reset clears them. */
static void bridge_stop_masters(const PciBus *bus)
{
    for (unsigned devfn = 0; devfn < 8u * bus->n_slots; devfn++) {
        Device *d = rcu_get(&bus->slot[devfn]);
        if (d) {
            __atomic_store_n(&pci_func(d)->bus_master, false, __ATOMIC_RELAXED);
        }
        if (d && pci_func(d)->bridge) {
            bridge_stop_masters(pci_func(d)->bridge->secondary);
        }
    }
}

/* Entered in the bridge's domain, as every task; those behind may have others, and a thread holds one at a
 * time. A reset wanted again meanwhile is done by this one: nobody reaches them, so they stay as they are. */
static TSA_NO_ANALYSIS void bridge_reset_secondary(void *opaque)
{
    Device *dev = opaque;
    PciBridge *b = pci_func(dev)->bridge;
    if (!b->reset_wanted) { /* a reset of the whole machine came first */
        return;
    }
    domain_unlock(dev->domain);
    for (unsigned devfn = 0; devfn < 8u * b->secondary->n_slots; devfn++) {
        Device *d = b->secondary->slot[devfn];
        if (d) {
            device_reset(d, RESET_WARM);
        }
    }
    domain_lock(dev->domain);
    b->reset_wanted = false;
    bridge_update_shut(b);
}

static void bridge_control_written(PciBridge *b)
{
    bool was = b->in_reset;
    b->in_reset = pci_func(b->dev)->config[PCI_BRIDGE_CTL] & PCI_BRIDGE_RESET;
    if (b->in_reset == was) {
        return;
    }
    b->reset_wanted |= b->in_reset;
    bridge_update_shut(b);
    if (b->in_reset) {
        bridge_stop_masters(b->secondary);
        domain_post(&b->reset);
    }
}

/* ---- what the bus calls ---- */

void pci_bridge_written(PciFunc *f, unsigned off, unsigned len)
{
    PciBridge *b = f->bridge;
    if (off < PCI_COMMAND + 2 || (off < PCI_INT_LINE && off + len > PCI_PRIMARY)) {
        bridge_update_windows(b);
        bridge_update_numbers(b);
    }
    if (off <= PCI_BRIDGE_CTL && off + len > PCI_BRIDGE_CTL) {
        bridge_control_written(b);
    }
}

void pci_bridge_reset(PciFunc *f)
{
    PciBridge *b = f->bridge;
    pthread_mutex_lock(&b->lock);
    memset(b->behind, 0, sizeof(b->behind)); /* the functions' own reset_done says who still asks */
    memset(b->own, 0, sizeof(b->own));
    pthread_mutex_unlock(&b->lock);
}

void pci_bridge_sync(PciFunc *f)
{
    PciBridge *b = f->bridge;
    b->in_reset = f->config[PCI_BRIDGE_CTL] & PCI_BRIDGE_RESET;
    b->reset_wanted = false; /* those behind have been reset with it, or are loaded */
    bridge_update_shut(b);
    bridge_update_numbers(b);
    pthread_mutex_lock(&b->lock);
    for (unsigned pin = 0; pin < 4; pin++) {
        bridge_tell_pin(b, pin);
    }
    pthread_mutex_unlock(&b->lock);
}

static void bridge_cleanup(void *opaque)
{
    PciBridge *b = opaque;
    pcie_slot_fini(pci_func(b->dev));
    for (unsigned k = 0; k < PCI_BRIDGE_WINDOWS; k++) {
        if (region_mapped(&b->window[k])) {
            region_unmap(&b->window[k]);
        }
        region_fini(&b->window[k]);
    }
    region_fini(&b->mem);
    region_fini(&b->io);
    pthread_mutex_destroy(&b->lock);
}

bool pci_bridge_init(PciBridge *b, Device *dev, const char *name, bool express, Error **errp G_GNUC_UNUSED)
{
    static const PciHostOps ops = { .set_intx = bridge_set_intx };
    static const char *const names[] = { "bridge-mem", "bridge-pref", "bridge-io" };
    PciFunc *f = pci_func(dev);
    b->dev = dev;
    pthread_mutex_init(&b->lock, NULL);
    region_init(&b->mem, dev, "pci-behind", UINT64_MAX);
    region_init(&b->io, dev, "pci-behind-io", 0x10000);
    for (unsigned k = 0; k < PCI_BRIDGE_WINDOWS; k++) {
        region_init_alias(&b->window[k], dev, names[k], k == PCI_BRIDGE_IO ? &b->io : &b->mem, 0, 0x1000);
    }
    device_add_cleanup(dev, bridge_cleanup, b);
    device_add_task(dev, &b->reset, bridge_reset_secondary);
    b->secondary = pci_bus_new(dev, dev->id ? dev->id : name, &b->mem, &b->io, &ops, b);
    b->secondary->bridge = b;
    b->secondary->express = express;
    b->secondary->n_slots = express ? 1 : 32;
    b->secondary->subordinate = 0;
    f->bridge = b;
    pci_set_wmask(dev, PCI_PRIMARY, 0xffffff, 3);
    pci_set_wmask(dev, PCI_IO_BASE, 0xf0f0, 2);
    pci_put16(f->w1cmask + PCI_SEC_STATUS, PCI_STATUS_W1C);
    pci_set_wmask(dev, PCI_MEM_BASE, 0xfff0fff0, 4);
    pci_set_wmask(dev, PCI_PREF_BASE, 0xfff0fff0, 4);
    pci_set_long(dev, PCI_PREF_BASE, 0x00010001); /* 64 bits */
    pci_set_wmask(dev, PCI_PREF_BASE_HI, UINT32_MAX, 4);
    pci_set_wmask(dev, PCI_PREF_LIMIT_HI, UINT32_MAX, 4);
    pci_set_wmask(dev, PCI_BRIDGE_CTL, PCI_BRIDGE_RESET | 3, 2);
    return true;
}
