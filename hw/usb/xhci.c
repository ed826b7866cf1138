/* SPDX-License-Identifier: MIT
 * hw/usb/xhci.c - the xHCI controllers qemu-xhci and nec-usb-xhci: registers, ports, life.
 *
 * Models: xHCI 1.1, chapter 5 (registers), 4.3 and 4.19 (ports), 7.2 (which ports are of which USB). Every
 * place for a device is two ports of the root hub, one for USB 2 and one for USB 3. Does not model: save and
 * restore (the driver starts anew), power switching, debug capability, virtualization. Threads: the platform
 * domain.
 */
#include "xhci.h"
#include "rhea/util/errorcode.h"

#include <string.h>

enum {
    BAR_SIZE = 0x4000,
    CAP_SIZE = 0x40,
    OPER_AT = 0x40,
    OPER_SIZE = 0x400 + 0x10 * 2 * XHCI_PORTS,
    RUN_AT = 0x1000,
    RUN_SIZE = 0x20 + 0x20 * XHCI_INTRS,
    BELL_AT = 0x2000,
    BELL_SIZE = 4 * (XHCI_SLOTS + 1),
    MSIX_BAR = 2,
    XECP_AT = 0x20
};
enum {
    PORT_CCS = 1,
    PORT_PED = 2,
    PORT_PR = 1 << 4,
    PORT_PLS_SHIFT = 5,
    PORT_PP = 1 << 9,
    PORT_SPEED_SHIFT = 10,
    PORT_LWS = 1 << 16,
    PORT_CSC = 1 << 17,
    PORT_PEC = 1 << 18,
    PORT_WRC = 1 << 19,
    PORT_PRC = 1 << 21,
    PORT_PLC = 1 << 22,
    PORT_CEC = 1 << 23,
    PORT_WAKE = 7 << 25
};
#define PORT_PLS     ((uint32_t)15 << PORT_PLS_SHIFT)
#define PORT_WPR     (UINT32_C(1) << 31)
#define PORT_CHANGES ((uint32_t)(PORT_CSC | PORT_PEC | PORT_WRC | PORT_PRC | PORT_PLC | PORT_CEC | 1 << 20))
enum { PLS_U0 = 0, PLS_U3 = 3, PLS_RX_DETECT = 5, PLS_POLLING = 7, PLS_RESUME = 15 };
enum { CRCR_RCS = 1, CRCR_CS = 2, CRCR_CA = 4, CRCR_CRR = 8, NEC_VENDOR = 0x1033, NEC_DEVICE = 0x0194 };

/* ---- ports (4.19) ---- */

static void port_event(Xhci *x, XhciPort *p, uint32_t changes)
{
    bool fresh = changes & ~p->portsc;
    p->portsc |= changes;
    if (!fresh) {
        return;
    }
    x->usbsts |= STS_PCD;
    if (x->usbcmd & CMD_RUN) {
        xhci_event(x, 0, TRB_PORT_EVENT, CC_SUCCESS, (uint64_t)(p - x->ports + 1) << 24, 0, 0);
    }
}

static void set_link(XhciPort *p, unsigned pls)
{
    p->portsc = (p->portsc & ~PORT_PLS) | pls << PORT_PLS_SHIFT;
}

static bool port_has_device(const XhciPort *p)
{
    const UsbDevice *d = p->port->dev;
    return d && (d->speed == USB_SUPER) == p->super;
}

/* What the port shows of its device. */
static void port_state(XhciPort *p)
{
    static const uint8_t speeds[USB_SPEEDS] = { 2, 1, 3, 4 };
    const UsbDevice *d = p->port->dev;
    bool here = port_has_device(p);
    p->portsc &= PORT_CHANGES | PORT_WAKE;
    p->portsc |= PORT_PP;
    set_link(p, !here ? PLS_RX_DETECT : p->super ? PLS_U0 : PLS_POLLING);
    if (here) {
        p->portsc |= PORT_CCS | (p->super ? PORT_PED : 0) | (uint32_t)speeds[d->speed] << PORT_SPEED_SHIFT;
    }
}

static void port_changed(UsbPort *port)
{
    Xhci *x = port->opaque;
    for (unsigned i = 0; i < x->n_ports; i++) {
        XhciPort *p = &x->ports[i];
        bool was = p->portsc & PORT_CCS;
        if (p->port != port) {
            continue;
        }
        port_state(p);
        if (was != !!(p->portsc & PORT_CCS)) {
            if (port->dev && p->super) { /* USB 3 trains its link by itself, which resets the device */
                usb_device_reset(port->dev);
            }
            port_event(x, p, PORT_CSC);
        }
    }
}

static void port_reset(Xhci *x, XhciPort *p, bool warm)
{
    if (!(p->portsc & PORT_CCS)) {
        return;
    }
    for (unsigned n = 1; n <= x->slots; n++) { /* what is under way on its device ends */
        for (unsigned dci = 1; x->slot[n].dev == p->port->dev && dci <= XHCI_EPS; dci++) {
            xhci_stop_ep(x, n, dci, false);
        }
    }
    usb_device_reset(p->port->dev);
    p->portsc |= PORT_PED;
    set_link(p, PLS_U0);
    port_event(x, p, PORT_PRC | (warm ? PORT_WRC : 0));
}

static void port_set_link(Xhci *x, XhciPort *p, unsigned to)
{
    unsigned is = (p->portsc & PORT_PLS) >> PORT_PLS_SHIFT;
    if (!(p->portsc & PORT_PED) || is == to) {
        return;
    }
    if (to == PLS_U0 || to == PLS_U3 || to == PLS_RESUME) {
        set_link(p, to);
        if (to == PLS_U0) {
            port_event(x, p, PORT_PLC);
        }
    }
}

static void write_portsc(Xhci *x, XhciPort *p, uint32_t val)
{
    p->portsc &= ~(val & PORT_CHANGES);
    if (val & PORT_PED) { /* 5.4.8: writing 1 disables */
        p->portsc &= ~(uint32_t)PORT_PED;
    }
    p->portsc = (p->portsc & ~(uint32_t)PORT_WAKE) | (val & PORT_WAKE);
    if (val & (p->super ? PORT_PR | PORT_WPR : PORT_PR)) {
        port_reset(x, p, val & PORT_WPR);
    } else if (val & PORT_LWS) {
        port_set_link(x, p, (val & PORT_PLS) >> PORT_PLS_SHIFT);
    }
}

/* ---- the bus's side ---- */

static void bus_wakeup(UsbBus *b, UsbDevice *d, unsigned ep, bool in)
{
    Xhci *x = b->host;
    UsbPort *root = usb_root_port(d);
    for (unsigned i = 0; d->remote_wakeup && i < x->n_ports; i++) { /* 4.15.2: it resumes a suspended port */
        XhciPort *p = &x->ports[i];
        if (p->port == root && (p->portsc & PORT_PED) && (p->portsc & PORT_PLS) == PLS_U3 << PORT_PLS_SHIFT) {
            set_link(p, PLS_RESUME);
            port_event(x, p, PORT_PLC);
        }
    }
    for (unsigned n = 1; n <= x->slots; n++) {
        if (x->slot[n].dev == d) {
            xhci_kick(x, n, ep ? 2 * ep + in : 1);
        }
    }
}

static void bus_gone(UsbBus *b, UsbDevice *d)
{
    Xhci *x = b->host;
    for (unsigned n = 1; n <= x->slots; n++) {
        for (unsigned dci = 1; x->slot[n].dev == d && dci <= XHCI_EPS; dci++) {
            xhci_stop_ep(x, n, dci, false);
        }
        if (x->slot[n].dev == d) {
            x->slot[n].dev = NULL;
        }
    }
}

/* Goes on with rings that were left for others' turn, or that a load found. */
static void more(void *opaque)
{
    Xhci *x = opaque;
    xhci_find_loaded(x);
    if (x->command_more) {
        xhci_run_commands(x);
    }
    for (unsigned n = 1; n <= x->slots; n++) {
        for (unsigned dci = 1; x->slot[n].enabled && dci <= XHCI_EPS; dci++) {
            if (x->slot[n].ep[dci].again) {
                xhci_kick(x, n, dci);
            }
        }
    }
}

/* Rings that had to wait for it are looked at again. */
static void machine_changed(void *opaque, RunState was, RunState now)
{
    Xhci *x = opaque;
    if (now == RUN_RUNNING) {
        domain_post(&x->more);
    }
}

static void forget_machine(void *opaque)
{
    Xhci *x = opaque;
    machine_remove_listener(x->dev.machine, &x->listener);
}

/* ---- registers (5.3 to 5.6) ---- */

static void reset_registers(Xhci *x)
{
    for (unsigned n = 1; n <= XHCI_SLOTS; n++) {
        xhci_drop_slot(x, n);
    }
    memset(x->intr, 0, sizeof(x->intr));
    for (unsigned i = 0; i < XHCI_INTRS; i++) {
        x->intr[i].imod = 4000;
    }
    x->usbcmd = x->dnctrl = x->config = 0;
    x->usbsts = STS_HALTED;
    x->dcbaap = 0;
    x->command = (XhciRing){ 0 };
    x->command_runs = x->command_more = false;
    x->started = 0;
    x->loaded = false;
    for (unsigned i = 0; i < x->n_ports; i++) {
        x->ports[i].portsc = 0;
        port_state(&x->ports[i]);
        x->ports[i].portsc |= x->ports[i].portsc & PORT_CCS ? PORT_CSC : 0;
    }
}

static uint64_t cap_read(void *opaque, MemAccess *a)
{
    const Xhci *x = opaque;
    unsigned first2 = x->super_first ? x->p3 + 1 : 1, first3 = x->super_first ? 1 : x->p2 + 1;
    switch (a->off) {
    case 0x00: return 0x01000000 | OPER_AT;
    case 0x04: return (uint32_t)x->n_ports << 24 | x->intrs << 8 | x->slots;
    case 0x08: return 0x0000000f; /* IST 7 frames; an event ring has one segment */
    case 0x0c: return 0;
    case 0x10: return 0x00000001 | XECP_AT << 14; /* 64-bit addresses; no streams */
    case 0x14: return BELL_AT;
    case 0x18: return RUN_AT;
    case 0x20: return 0x02000002 | (x->p3 ? 4 << 8 : 0); /* 7.2: USB 2.0 */
    case 0x24:
    case 0x34: return 0x20425355; /* "USB " */
    case 0x28: return x->p2 << 8 | first2;
    case 0x30: return x->p3 ? 0x03000002 : 0; /* USB 3.0 */
    case 0x38: return x->p3 << 8 | first3;
    default: return 0;
    }
}

static void cap_write(void *opaque G_GNUC_UNUSED, MemAccess *a G_GNUC_UNUSED, uint64_t val G_GNUC_UNUSED) {}

static void write_command(Xhci *x, uint32_t val)
{
    if (val & CMD_RESET) {
        reset_registers(x);
        xhci_update_interrupt(x);
        return;
    }
    bool was = x->usbcmd & CMD_RUN, now = (val & CMD_RUN) && !(x->usbsts & STS_HSE);
    x->usbcmd = (val & 0xc0c & ~(uint32_t)CMD_RESET) | (now ? CMD_RUN : 0);
    if (val & CMD_CRS) { /* nothing is kept: the driver is to start anew */
        x->usbsts |= STS_SRE;
    }
    if (now && !was) {
        x->usbsts &= ~(uint32_t)STS_HALTED;
        x->started = clock_now(x->dev.machine->clock);
    } else if (!now && was) {
        x->usbsts |= STS_HALTED;
        x->command_runs = false;
    }
    xhci_update_interrupt(x);
}

static uint64_t join(uint64_t was, uint64_t val, bool upper, uint32_t mask)
{
    return upper ? (was & UINT32_MAX) | val << 32 : (was & ~(uint64_t)UINT32_MAX) | (val & mask);
}

static void write_crcr(Xhci *x, uint32_t val, bool upper)
{
    if (x->command_runs && !upper &&
        (val & (CRCR_CS | CRCR_CA))) { /* commands end at once: none is under way */
        x->command_runs = x->command_more = false;
        xhci_event(x, 0, TRB_COMMAND_EVENT, CC_RING_STOPPED, x->command.dequeue, 0, 0);
        return;
    }
    if (!x->command_runs) {
        x->command.dequeue = join(x->command.dequeue, val, upper, ~UINT32_C(63));
        x->command.ccs = upper ? x->command.ccs : val & CRCR_RCS;
    }
}

static uint64_t oper_read(void *opaque, MemAccess *a)
{
    const Xhci *x = opaque;
    if (a->off >= 0x400) {
        unsigned n = (unsigned)(a->off - 0x400) / 16;
        return n < x->n_ports && !(a->off & 15) ? x->ports[n].portsc : 0;
    }
    switch (a->off) {
    case 0x00: return x->usbcmd;
    case 0x04: return x->usbsts;
    case 0x08: return 1; /* pages of 4 KiB */
    case 0x14: return x->dnctrl;
    case 0x18: return x->command_runs ? CRCR_CRR : 0;
    case 0x30: return (uint32_t)x->dcbaap;
    case 0x34: return x->dcbaap >> 32;
    case 0x38: return x->config;
    default: return 0;
    }
}

static void oper_write(void *opaque, MemAccess *a, uint64_t val)
{
    Xhci *x = opaque;
    if (a->off >= 0x400) {
        unsigned n = (unsigned)(a->off - 0x400) / 16;
        if (n < x->n_ports && !(a->off & 15)) {
            write_portsc(x, &x->ports[n], (uint32_t)val);
        }
        return;
    }
    switch (a->off) {
    case 0x00: write_command(x, (uint32_t)val); break;
    case 0x04: x->usbsts &= ~((uint32_t)val & (STS_HSE | STS_EINT | STS_PCD | STS_SRE)); break;
    case 0x14: x->dnctrl = val & 0xffff; break;
    case 0x18:
    case 0x1c: write_crcr(x, (uint32_t)val, a->off == 0x1c); break;
    case 0x30:
    case 0x34: x->dcbaap = join(x->dcbaap, val, a->off == 0x34, ~UINT32_C(63)); break;
    case 0x38: x->config = val & 0xff; break;
    default: break;
    }
}

static uint64_t run_read(void *opaque, MemAccess *a)
{
    const Xhci *x = opaque;
    if (a->off < 0x20) { /* MFINDEX, in 125 us */
        bool runs = x->usbcmd & CMD_RUN;
        return a->off || !runs ? 0 : (clock_now(x->dev.machine->clock) - x->started) / 125000 & 0x3fff;
    }
    unsigned n = (unsigned)(a->off - 0x20) / 0x20;
    if (n >= x->intrs) {
        return 0;
    }
    const XhciIntr *i = &x->intr[n];
    switch (a->off & 0x1f) {
    case 0x00: return i->iman;
    case 0x04: return i->imod;
    case 0x08: return i->erstsz;
    case 0x10: return (uint32_t)i->erstba;
    case 0x14: return i->erstba >> 32;
    case 0x18: return (uint32_t)i->erdp;
    case 0x1c: return i->erdp >> 32;
    default: return 0;
    }
}

static void run_write(void *opaque, MemAccess *a, uint64_t val)
{
    Xhci *x = opaque;
    unsigned n = a->off < 0x20 ? XHCI_INTRS : (unsigned)(a->off - 0x20) / 0x20;
    if (n >= x->intrs) {
        return;
    }
    XhciIntr *i = &x->intr[n];
    switch (a->off & 0x1f) {
    case 0x00:
        i->iman = (i->iman & ~(uint32_t)val & 1) | (val & 2);
        xhci_update_interrupt(x);
        break;
    case 0x04: i->imod = (uint32_t)val; break;
    case 0x08: i->erstsz = val & 0xffff; break;
    case 0x10:
    case 0x14:
        i->erstba = join(i->erstba, val, (a->off & 4) != 0, ~UINT32_C(63));
        i->fresh = true;
        break;
    case 0x18: xhci_write_erdp(x, i, join(i->erdp, val, false, UINT32_MAX)); break;
    case 0x1c: /* the lower half has told what was taken; only the place changes */
        i->erdp = join(i->erdp, val, true, UINT32_MAX);
        break;
    default: break;
    }
}

static uint64_t bell_read(void *opaque G_GNUC_UNUSED, MemAccess *a G_GNUC_UNUSED)
{
    return 0;
}

static void bell_write(void *opaque, MemAccess *a, uint64_t val)
{
    Xhci *x = opaque;
    unsigned n = (unsigned)a->off / 4, dci = val & 0xff;
    if (!(x->usbcmd & CMD_RUN) || n > x->slots) {
        return;
    }
    if (n == 0) {
        if (dci == 0) {
            x->command_runs = true;
            xhci_run_commands(x);
        }
        return;
    }
    if (dci < 1 || dci > XHCI_EPS || !x->slot[n].enabled) {
        guest_error(&x->dev, "xhci: doorbell %u of slot %u, which there is not", dci, n);
        return;
    }
    if (x->slot[n].ep[dci].state == EP_STOPPED) { /* 4.8.3: the doorbell starts it */
        xhci_set_ep_state(x, n, dci, EP_RUNNING);
    }
    xhci_kick(x, n, dci);
}

#define XHCI_REGION(NAME)                                                                                    \
    {                                                                                                        \
        .read = NAME##_read, .write = NAME##_write, .impl_min = 4, .impl_max = 4                             \
    }
static const MemOps cap_ops = XHCI_REGION(cap), oper_ops = XHCI_REGION(oper), run_ops = XHCI_REGION(run),
                    bell_ops = XHCI_REGION(bell);

/* ---- life ---- */

static void make_ports(Xhci *x)
{
    unsigned places = MAX(x->p2, x->p3), at2 = x->super_first ? x->p3 : 0, at3 = x->super_first ? 0 : x->p2;
    x->n_ports = x->p2 + x->p3;
    for (unsigned i = 0; i < places; i++) {
        unsigned speeds =
            (i < x->p2 ? 1 << USB_LOW | 1 << USB_FULL | 1 << USB_HIGH : 0) | (i < x->p3 ? 1 << USB_SUPER : 0);
        usb_port_add(&x->bus, &x->uport[i], NULL, i, speeds, port_changed, x);
        if (i < x->p2) {
            x->ports[at2 + i] = (XhciPort){ .port = &x->uport[i] };
        }
        if (i < x->p3) {
            x->ports[at3 + i] = (XhciPort){ .port = &x->uport[i], .super = true };
        }
    }
}

static void map_registers(Xhci *x)
{
    Device *dev = &x->dev;
    const struct {
        MemRegion *r;
        const char *name;
        const MemOps *ops;
        unsigned at, size;
    } parts[] = {
        { &x->cap, "capabilities", &cap_ops, 0, CAP_SIZE },
        { &x->oper, "operational", &oper_ops, OPER_AT, OPER_SIZE },
        { &x->run, "runtime", &run_ops, RUN_AT, RUN_SIZE },
        { &x->bell, "doorbell", &bell_ops, BELL_AT, BELL_SIZE },
    };
    region_init(&x->bar, dev, "xhci", BAR_SIZE);
    for (unsigned i = 0; i < G_N_ELEMENTS(parts); i++) {
        region_init_io(parts[i].r, dev, parts[i].name, parts[i].ops, x, parts[i].size);
        region_map(&x->bar, parts[i].at, parts[i].r, 0);
    }
    device_add_region(dev, &x->bar);
}

#define XHCI_OPS(VENDOR, DEVICE, REVISION, MSIX)                                                             \
    {                                                                                                        \
        .vendor = (VENDOR), .device = (DEVICE), .revision = (REVISION), .class_code = 0x0c0330,              \
        .intx_pin = 1, .express = true, .bar = { [0] = { PCI_BAR_MEM64 }, [MSIX_BAR] = { MSIX } },           \
    }

static bool check_props(const Xhci *x, Error **errp)
{
    const struct {
        const char *name;
        uint32_t is, lo, hi;
    } limits[] = {
        { "p2", x->p2, 0, XHCI_PORTS },
        { "p3", x->p3, 0, XHCI_PORTS },
        { "slots", x->slots, 1, XHCI_SLOTS },
        { "intrs", x->intrs, 1, XHCI_INTRS },
    };
    for (unsigned i = 0; i < G_N_ELEMENTS(limits); i++) {
        if (limits[i].is < limits[i].lo || limits[i].is > limits[i].hi) {
            return error_fail(errp, "out-of-range", limits[i].name, "leave it out for the usual number",
                              "%s=%u: %u to %u are possible", limits[i].name, limits[i].is, limits[i].lo,
                              limits[i].hi);
        }
    }
    if (!(x->p2 + x->p3)) {
        return error_fail(errp, "conflict", "p2", "leave both out: there are four of each",
                          "p2=0 and p3=0: a controller without ports");
    }
    return true;
}

static void unmap_parts(void *opaque)
{
    Xhci *x = opaque;
    MemRegion *const parts[] = { &x->bell, &x->run, &x->oper, &x->cap };
    for (unsigned i = 0; i < G_N_ELEMENTS(parts); i++) {
        region_unmap(parts[i]);
        region_fini(parts[i]);
    }
}

static bool xhci_realize(Device *dev, Error **errp)
{
    static const UsbBusOps bus_ops = { .wakeup = bus_wakeup, .gone = bus_gone };
    Xhci *x = dev_as(Xhci, dev);
    if (!check_props(x, errp)) {
        return false;
    }
    x->nec = dev->type == &nec_usb_xhci_type;
    if (x->use_msix == OFF) {
        static const PciOps without = XHCI_OPS(NEC_VENDOR, NEC_DEVICE, 3, PCI_BAR_NONE);
        pci_choose_ops(dev, &without);
    }
    pci_set_byte(dev, 0x60, 0x30); /* 5.2.3: USB 3.0; then frame length */
    pci_set_byte(dev, 0x61, 0x20);
    map_registers(x);
    device_add_cleanup(dev, unmap_parts, x);
    device_add_irq(dev, &x->intx);
    device_add_task(dev, &x->more, more);
    x->listener = (MachineListener){ .state = machine_changed, .opaque = x };
    machine_add_listener(dev->machine, &x->listener);
    device_add_cleanup(dev, forget_machine, x);
    usb_bus_init(&x->bus, dev, &bus_ops, x);
    make_ports(x);
    unsigned messages = 1;
    while (messages * 2 <= x->intrs) {
        messages *= 2;
    }
    if (x->use_msix == OFF) {
        return x->use_msi == OFF || (x->use_msi == AUTO && !x->nec) ||
               pci_msi_init(&x->msi, dev, messages, errp);
    }
    if (!pci_msix_init(&x->msix, dev, x->intrs, MSIX_BAR, errp)) {
        return false;
    }
    device_add_region(dev, &x->msix.bar);
    return x->use_msi == OFF || (x->use_msi == AUTO && !x->nec) || pci_msi_init(&x->msi, dev, messages, errp);
}

static void xhci_unrealize(Device *dev)
{
    Xhci *x = dev_as(Xhci, dev);
    for (unsigned n = 1; n <= XHCI_SLOTS; n++) {
        for (unsigned dci = 1; dci <= XHCI_EPS; dci++) {
            xhci_stop_ep(x, n, dci, false);
        }
    }
}

static void xhci_reset(Device *dev, ResetKind kind G_GNUC_UNUSED)
{
    reset_registers(dev_as(Xhci, dev));
}

static void xhci_reset_done(Device *dev)
{
    xhci_update_interrupt(dev_as(Xhci, dev));
}

/* ---- saved state ---- */

/* Where endpoints run, rings are looked at again: what was under way is still there. */
static bool xhci_post_load(void *opaque, Error **errp)
{
    Xhci *x = opaque;
    for (unsigned n = 1; n <= XHCI_SLOTS; n++) {
        XhciSlot *s = &x->slot[n];
        if (s->port > x->n_ports || (s->enabled && n > x->slots)) {
            return error_set(errp, "saved slot %u of an xHCI controller is of port %u; there are %u", n,
                             s->port, x->n_ports);
        }
        for (unsigned dci = 1; dci <= XHCI_EPS; dci++) {
            s->ep[dci].again = s->enabled && s->ep[dci].state == EP_RUNNING;
        }
        s->dev = NULL;
    }
    for (unsigned i = 0; i < XHCI_INTRS; i++) {
        XhciIntr *r = &x->intr[i];
        if (r->size > 4096 || (r->size && r->at >= r->size)) {
            return error_set(errp, "saved event ring %u of an xHCI controller contradicts itself", i);
        }
    }
    for (unsigned i = 0; i < x->n_ports; i++) {
        if ((x->ports[i].portsc & PORT_CCS) && !port_has_device(&x->ports[i])) {
            return error_set(errp, "port %u of a saved xHCI controller has what is not there", i + 1);
        }
    }
    x->command_more = x->command_runs;
    x->loaded = true;
    xhci_update_interrupt(x);
    domain_post(&x->more);
    return true;
}

static const VmField ring_fields[] = { VM_U64(XhciRing, dequeue), VM_BOOL(XhciRing, ccs), { 0 } };
static const VmState ring_state = { .name = "xhci-ring", .version = 1, .oldest = 1, .fields = ring_fields };
static const VmField ep_fields[] = {
    VM_STRUCT(XhciEp, ring, ring_state),
    VM_U8_MAX(XhciEp, state, EP_STATES - 1),
    VM_U8_MAX(XhciEp, type, 7),
    { 0 },
};
static const VmState ep_state = { .name = "xhci-ep", .version = 1, .oldest = 1, .fields = ep_fields };
static const VmField slot_fields[] = {
    VM_U64(XhciSlot, context),
    VM_U8_MAX(XhciSlot, state, SLOT_STATES - 1),
    VM_U8(XhciSlot, port),
    VM_U16(XhciSlot, intr),
    VM_U32(XhciSlot, route),
    VM_BOOL(XhciSlot, enabled),
    VM_STRUCT_ARRAY(XhciSlot, ep, ep_state),
    { 0 },
};
static const VmState slot_state = { .name = "xhci-slot", .version = 1, .oldest = 1, .fields = slot_fields };
static const VmField intr_fields[] = {
    VM_U32(XhciIntr, iman),
    VM_U32(XhciIntr, imod),
    VM_U32(XhciIntr, erstsz),
    VM_U64(XhciIntr, erstba),
    VM_U64(XhciIntr, erdp),
    VM_U64(XhciIntr, base),
    VM_U32(XhciIntr, size),
    VM_U32(XhciIntr, at),
    VM_BOOL(XhciIntr, fresh),
    VM_BOOL(XhciIntr, pcs),
    { 0 },
};
static const VmState intr_state = { .name = "xhci-intr", .version = 1, .oldest = 1, .fields = intr_fields };
static const VmField port_fields[] = { VM_U32(XhciPort, portsc), { 0 } };
static const VmState port_state_table = {
    .name = "xhci-port", .version = 1, .oldest = 1, .fields = port_fields
};
static const VmField xhci_fields[] = {
    VM_STRUCT(Xhci, msix, pci_msix_state),
    VM_STRUCT_ARRAY(Xhci, ports, port_state_table),
    VM_U32(Xhci, usbcmd),
    VM_U32(Xhci, usbsts),
    VM_U32(Xhci, dnctrl),
    VM_U32(Xhci, config),
    VM_U64(Xhci, dcbaap),
    VM_STRUCT(Xhci, command, ring_state),
    VM_BOOL(Xhci, command_runs),
    VM_I64(Xhci, started),
    VM_STRUCT_ARRAY(Xhci, intr, intr_state),
    VM_STRUCT_ARRAY(Xhci, slot, slot_state),
    { 0 },
};
static const VmState xhci_state = {
    .name = "xhci",
    .version = 1,
    .oldest = 1,
    .fields = xhci_fields,
    .post_load = xhci_post_load,
};

/* ---- types ---- */

#define XHCI_PORT_PROPS                                                                                      \
    PROP_U32(Xhci, p2, "p2", 4, 0, UINT32_MAX, "Ports of USB 2"),                                            \
        PROP_U32(Xhci, p3, "p3", 4, 0, UINT32_MAX, "Ports of USB 3"),                                        \
        PROP_ONLY_BOOL("streams", false, "bulk streams are for UAS disks, which there are none of",          \
                       "leave it out")
static const Prop qemu_props[] = {
    XHCI_PORT_PROPS,
    { 0 },
};
static const Prop nec_props[] = {
    XHCI_PORT_PROPS,
    PROP_U32(Xhci, slots, "slots", XHCI_SLOTS, 0, UINT32_MAX, "Devices there may be, 1 to 64"),
    PROP_U32(Xhci, intrs, "intrs", XHCI_INTRS, 0, UINT32_MAX, "Interrupters, 1 to 16"),
    PROP_ONOFFAUTO(Xhci, use_msi, "msi", AUTO, "Interrupts by MSI; auto: on"),
    PROP_ONOFFAUTO(Xhci, use_msix, "msix", AUTO, "Interrupts by MSI-X; auto: on"),
    PROP_BOOL(Xhci, super_first, "superspeed-ports-first", true, "Ports of USB 3 have the first numbers"),
    PROP_ONLY_BOOL("force-pcie-endcap", false, "the slot decides whether it is a PCI Express function",
                   "leave it out"),
    { 0 },
};

static bool qemu_realize(Device *dev, Error **errp)
{
    Xhci *x = dev_as(Xhci, dev);
    x->slots = XHCI_SLOTS;
    x->intrs = XHCI_INTRS;
    x->super_first = true;
    return xhci_realize(dev, errp);
}

static const PciOps qemu_ops = XHCI_OPS(0x1b36, 0x000d, 1, PCI_BAR_MEM32);
static const PciOps nec_ops = XHCI_OPS(NEC_VENDOR, NEC_DEVICE, 3, PCI_BAR_MEM32);

#define XHCI_TYPE(NAME, DESC, OPS, PROPS, REALIZE)                                                           \
    {                                                                                                        \
        .name = (NAME), .desc = (DESC), .size = sizeof(Xhci), .bus_type = &pci_bus_type, .bus_ops = &(OPS),  \
        .category = "USB", .props = (PROPS), .vmstate = &xhci_state, .realize = (REALIZE),                   \
        .unrealize = xhci_unrealize, .reset = xhci_reset, .reset_done = xhci_reset_done,                     \
    }
const DeviceType qemu_xhci_type =
    XHCI_TYPE("qemu-xhci", "USB 3 controller (xHCI)", qemu_ops, qemu_props, qemu_realize);
const DeviceType nec_usb_xhci_type =
    XHCI_TYPE("nec-usb-xhci", "USB 3 controller (xHCI) of NEC's", nec_ops, nec_props, xhci_realize);
