/* SPDX-License-Identifier: MIT
 * hw/usb/ehci.c - EHCI controllers: usb-ehci, ich9-usb-ehci1, ich9-usb-ehci2.
 *
 * Models: Enhanced Host Controller Interface 1.0: 2 (registers), 4.1 to 4.3 (start, port routing and
 *         companions, suspended ports). Schedules: ehci-sched.c. IDs and registers' first values are QEMU's.
 * Does not model: 64-bit addresses, frame lists of other sizes than 1024, parking, port power, test modes,
 *         SMIs of legacy support, the interrupt threshold (interrupts come at once).
 * Threads: the platform domain. A frame is a millisecond of virtual time, and done when it is over: then, or
 *          when a register is read that shows it. The asynchronous ring is gone round when a packet has
 * ended, a device or register wakes the controller, and for a while after that every 125 us; where nothing
 *          happens any more, every 10 ms, in which drivers notice that they can stop it.
 */
#include "ehci.h"
#include "rhea/system/machine.h"
#include "rhea/util/errorcode.h"

#include <string.h>

enum { BAR_SIZE = 0x1000, CAP_LENGTH = 0x20, EECP = 0x68, COMPANION_PORTS = 2 };
enum { BUSY_TICKS = 32, FRAME_TICKS = BUSY_TICKS + 64, QUIET_NS = 10 * EHCI_FRAME_NS, FRAMES_MOST = 128 };
enum {
    HCSPARAMS = EHCI_PORTS,
    HCCPARAMS = EECP << 8 | 0x80, /* a whole frame may be cached */
    CMD_FIRST = 0x80000,
    CMD_WRITABLE = 0xff0000 | EHCI_RS | EHCI_PSE | EHCI_ASE
};
enum { /* offsets of operational registers */
       OP_CMD = 0,
       OP_STS = 4,
       OP_INTR = 8,
       OP_FRINDEX = 12,
       OP_PERIODIC = 0x14,
       OP_ASYNC = 0x18,
       OP_CONFIGFLAG = 0x40,
       OP_PORTSC = 0x44
};
enum {
    PORT_CCS = 1,
    PORT_CSC = 2,
    PORT_PED = 4,
    PORT_PEDC = 8,
    PORT_OCC = 0x20,
    PORT_FPR = 0x40,
    PORT_SUSPEND = 0x80,
    PORT_PR = 0x100,
    PORT_K = 0x400, /* low speed */
    PORT_J = 0x800,
    PORT_PP = 0x1000,
    PORT_PO = 0x2000,
    PORT_TEST = 0xf0000,
    PORT_WAKE = 0x700000
};

void ehci_update(Ehci *e)
{
    irq_set(&e->intx, e->usbsts & e->usbintr & EHCI_STATUS);
}

void ehci_died(Ehci *e, const char *why)
{
    guest_error(&e->dev, "ehci: %s; the controller stops", why);
    e->usbsts |= EHCI_HSE | EHCI_HALTED;
    e->usbcmd &= ~(uint32_t)EHCI_RS;
}

/* ---- time ---- */

static bool schedule_on(const Ehci *e, uint32_t which)
{
    return (e->usbcmd & EHCI_RS) && (e->usbcmd & which);
}

static void pass_frames(Ehci *e, int64_t n)
{
    if (e->frame % EHCI_LIST + n >= EHCI_LIST) {
        e->usbsts |= EHCI_FLR;
    }
    e->frame = (uint32_t)((e->frame + n) % (2 * EHCI_LIST));
    e->last += n * EHCI_FRAME_NS;
}

/* The frames that are over. True: something was done in them. */
static bool catch_up(Ehci *e)
{
    int64_t n = e->usbcmd & EHCI_RS ? (clock_now(e->dev.machine->clock) - e->last) / EHCI_FRAME_NS : 0;
    int64_t most = schedule_on(e, EHCI_PSE) ? e->maxframes : 0;
    bool any = false;
    if (n > most) { /* the host was late: these never were */
        pass_frames(e, n - most);
        n = most;
    }
    for (; n > 0 && schedule_on(e, EHCI_PSE); n--) {
        any |= ehci_run_frame(e);
        pass_frames(e, 1);
    }
    return any;
}

static int64_t next_tick(const Ehci *e, int64_t now)
{
    if (e->quiet < BUSY_TICKS && schedule_on(e, EHCI_ASE)) {
        return now + EHCI_UFRAME_NS;
    }
    return e->quiet < FRAME_TICKS ? e->last + EHCI_FRAME_NS : now + QUIET_NS;
}

static void arm(Ehci *e)
{
    int64_t now = clock_now(e->dev.machine->clock), at = INT64_MAX;
    if (schedule_on(e, EHCI_ASE | EHCI_PSE)) {
        at = next_tick(e, now);
    }
    if ((e->usbcmd & EHCI_RS) && (e->usbintr & EHCI_FLR)) {
        at = MIN(at, e->last + (EHCI_LIST - e->frame % EHCI_LIST) * (int64_t)EHCI_FRAME_NS);
    }
    if (at == INT64_MAX) {
        timer_cancel(&e->tick);
    } else {
        timer_arm(&e->tick, at);
    }
}

static void tick(void *opaque)
{
    Ehci *e = opaque;
    bool any = catch_up(e);
    if (schedule_on(e, EHCI_ASE)) {
        any |= ehci_run_async(e);
    }
    e->quiet = any ? 0 : MIN(e->quiet + 1, FRAME_TICKS);
    ehci_update(e);
    arm(e);
}

void ehci_soon(Ehci *e)
{
    e->quiet = 0;
    if (schedule_on(e, EHCI_ASE | EHCI_PSE)) {
        int64_t at = clock_now(e->dev.machine->clock) + EHCI_UFRAME_NS;
        if (!timer_armed(&e->tick) || timer_expires(&e->tick) > at) {
            timer_arm(&e->tick, at);
        }
    }
}

/* A packet has ended: where it came from goes on. */
static void kick(void *opaque)
{
    Ehci *e = opaque;
    if (schedule_on(e, EHCI_ASE)) {
        ehci_run_async(e);
        ehci_update(e);
    }
    ehci_soon(e);
}

/* ---- ports (2.3.9, 4.2, 4.3) ---- */

/* Whose the device is, once PORT_PO or the device has changed. */
static void route(EhciPort *p)
{
    UsbDevice *d = p->port.dev;
    bool away = p->portsc & PORT_PO;
    if (d && !away) {
        usb_choose_speed(d, p->port.speeds);
    }
    if (p->theirs) {
        UsbDevice *now = d && away && usb_choose_speed(d, p->theirs->speeds) ? d : NULL;
        if (p->theirs->dev != now) {
            p->theirs->dev = now;
            p->theirs->changed(p->theirs);
        }
    }
}

/* The port, while it is EHCI's, has something else plugged in than before. */
static void connection_changed(Ehci *e, EhciPort *p)
{
    bool here = p->port.dev && !(p->portsc & PORT_PO);
    p->portsc &= ~(PORT_CCS | PORT_PED | PORT_FPR | PORT_SUSPEND | PORT_PR);
    p->portsc |= (here ? PORT_CCS : 0) | PORT_CSC;
    e->usbsts |= EHCI_PCD;
    ehci_update(e);
}

static void port_changed(UsbPort *port)
{
    Ehci *e = port->opaque;
    EhciPort *p = &e->ports[port->index];
    bool theirs = p->portsc & PORT_PO;
    route(p);
    if (!theirs) {
        connection_changed(e, p);
    } else if (!port->dev && e->configflag) { /* 4.2.2: the port returns */
        p->portsc &= ~PORT_PO;
    }
}

static void set_owner(Ehci *e, EhciPort *p, bool away)
{
    if (!p->theirs || away == !!(p->portsc & PORT_PO)) {
        return;
    }
    if (p->port.dev) {
        ehci_drop_packets_of(e, p->port.dev);
    }
    p->portsc ^= PORT_PO;
    route(p);
    if (p->port.dev) {
        connection_changed(e, p);
    }
}

static uint32_t read_port(const EhciPort *p)
{
    bool idle = p->port.dev && (p->portsc & (PORT_CCS | PORT_PED | PORT_PR)) == PORT_CCS;
    return p->portsc | (!idle ? 0 : p->port.dev->speed == USB_LOW ? PORT_K : PORT_J);
}

/* The end of the reset signal: a high-speed device has answered it, any other stays disabled. */
static void port_reset(Ehci *e, EhciPort *p)
{
    UsbDevice *d = p->portsc & PORT_CCS ? p->port.dev : NULL;
    if (d) {
        ehci_drop_packets_of(e, d);
        usb_device_reset(d);
        p->portsc |= d->speed == USB_HIGH ? PORT_PED : 0;
    }
}

static void write_port(Ehci *e, EhciPort *p, uint32_t val)
{
    bool was_reset = p->portsc & PORT_PR;
    p->portsc &= ~(val & (PORT_CSC | PORT_PEDC | PORT_OCC));
    if (e->configflag) {
        set_owner(e, p, val & PORT_PO);
    }
    p->portsc = (p->portsc & ~(uint32_t)(PORT_TEST | PORT_WAKE)) | (val & (PORT_TEST | PORT_WAKE));
    if (p->portsc & PORT_PO) {
        return;
    }
    p->portsc &= val & PORT_PED ? UINT32_MAX : ~(uint32_t)PORT_PED;
    if ((p->portsc & PORT_FPR) && !(val & PORT_FPR)) {
        p->portsc &= ~(PORT_FPR | PORT_SUSPEND);
    } else if (p->portsc & PORT_PED) {
        p->portsc |= val & PORT_SUSPEND;
        p->portsc |= p->portsc & PORT_SUSPEND ? val & PORT_FPR : 0;
    }
    if (val & PORT_PR) {
        p->portsc &= ~(PORT_PED | PORT_SUSPEND | PORT_FPR);
        p->portsc |= PORT_PR;
    } else if (was_reset) {
        p->portsc &= ~PORT_PR;
        port_reset(e, p);
    }
}

static void write_configflag(Ehci *e, uint32_t val)
{
    e->configflag = val & 1;
    for (unsigned i = 0; i < EHCI_PORTS; i++) {
        set_owner(e, &e->ports[i], !e->configflag);
    }
}

/* ---- the bus ---- */

static void bus_wakeup(UsbBus *b, UsbDevice *d, unsigned ep, bool in)
{
    Ehci *e = b->host;
    const UsbPort *root = usb_root_port(d);
    EhciPort *p = root ? &e->ports[root->index] : NULL;
    if (p && p->companion && (p->portsc & PORT_PO)) {
        p->companion->ops->wakeup(p->companion, d, ep, in);
        return;
    }
    if (p && d->remote_wakeup && (p->portsc & (PORT_SUSPEND | PORT_FPR)) == PORT_SUSPEND) {
        p->portsc |= PORT_FPR;
        e->usbsts |= EHCI_PCD;
        ehci_update(e);
    }
    ehci_soon(e);
}

static void bus_gone(UsbBus *b, UsbDevice *d)
{
    Ehci *e = b->host;
    ehci_drop_packets_of(e, d);
    for (unsigned i = 0; i < EHCI_PORTS; i++) {
        UsbBus *of = e->ports[i].companion;
        if (of) {
            of->ops->gone(of, d);
        }
    }
}

static bool bus_companion(UsbBus *b, UsbBus *of, UsbPort *const *ports, unsigned n, unsigned first,
                          Error **errp)
{
    Ehci *e = b->host;
    if (first > EHCI_PORTS - n) {
        return error_fail(errp, "out-of-range", "firstport",
                          "companions of two ports each begin at ports 0, 2 and 4",
                          "firstport=%u: it must be between 0 and %u", first, EHCI_PORTS - n);
    }
    for (unsigned i = first; i < first + n; i++) {
        if (e->ports[i].theirs) {
            return error_fail(
                errp, "in-use", "firstport", "companions of two ports each begin at ports 0, 2 and 4",
                "firstport=%u: port %u of bus '%s' has a companion already", first, i, b->bus->name);
        }
    }
    for (unsigned i = 0; i < n; i++) {
        EhciPort *p = &e->ports[first + i];
        p->theirs = ports[i];
        p->companion = of;
        p->port.speeds |= ports[i]->speeds;
        p->portsc |= e->configflag ? 0 : PORT_PO;
        route(p);
    }
    e->companions++;
    return true;
}

static void bus_companion_gone(UsbBus *b, UsbBus *of)
{
    Ehci *e = b->host;
    for (unsigned i = 0; i < EHCI_PORTS; i++) {
        EhciPort *p = &e->ports[i];
        if (p->companion == of) {
            p->companion = NULL;
            p->theirs = NULL;
        }
    }
}

/* ---- registers (2.2, 2.3) ---- */

static void reset_registers(Ehci *e)
{
    ehci_drop_packets(e, true, true);
    timer_cancel(&e->tick);
    e->usbcmd = CMD_FIRST;
    e->usbsts = EHCI_HALTED;
    e->usbintr = e->frame = e->periodic = e->async = e->configflag = 0;
    e->last = 0;
    e->quiet = 0;
    for (unsigned i = 0; i < EHCI_PORTS; i++) {
        EhciPort *p = &e->ports[i];
        p->portsc = PORT_PP | (p->theirs ? PORT_PO : p->port.dev ? PORT_CCS | PORT_CSC : 0);
    }
}

static void route_all(Ehci *e)
{
    for (unsigned i = 0; i < EHCI_PORTS; i++) {
        route(&e->ports[i]);
    }
}

static void write_command(Ehci *e, uint32_t val)
{
    if (val & EHCI_HCRESET) {
        reset_registers(e);
        route_all(e);
        return;
    }
    bool was = e->usbcmd & EHCI_RS, now = val & EHCI_RS;
    catch_up(e);
    e->usbcmd = (val & CMD_WRITABLE) | (e->usbcmd & EHCI_IAAD);
    if (now && !was) {
        e->usbsts &= ~(uint32_t)EHCI_HALTED;
        e->last = clock_now(e->dev.machine->clock);
    } else if (!now) {
        e->usbsts |= EHCI_HALTED;
    }
    /* What is under way for a schedule that stands still never was: its memory is the driver's again. */
    ehci_drop_packets(e, !schedule_on(e, EHCI_ASE), !schedule_on(e, EHCI_PSE));
    if (val & EHCI_IAAD) {
        ehci_doorbell(e);
    }
    e->quiet = 0;
    arm(e);
    ehci_soon(e);
}

static uint32_t read_frindex(const Ehci *e)
{
    int64_t in = e->usbcmd & EHCI_RS ? clock_now(e->dev.machine->clock) - e->last : 0;
    return e->frame << 3 | (uint32_t)CLAMP(in / EHCI_UFRAME_NS, 0, 7);
}

static uint32_t read_operational(Ehci *e, unsigned at)
{
    switch (at) {
    case OP_CMD: return e->usbcmd;
    case OP_STS:
        return e->usbsts | (schedule_on(e, EHCI_PSE) ? EHCI_PSS : 0) |
               (schedule_on(e, EHCI_ASE) ? EHCI_ASS : 0);
    case OP_INTR: return e->usbintr;
    case OP_FRINDEX: return read_frindex(e);
    case OP_PERIODIC: return e->periodic;
    case OP_ASYNC: return e->async;
    case OP_CONFIGFLAG: return e->configflag;
    default:
        return at >= OP_PORTSC && at < OP_PORTSC + 4 * EHCI_PORTS ? read_port(&e->ports[(at - OP_PORTSC) / 4])
                                                                  : 0;
    }
}

static uint64_t bar_read(void *opaque, MemAccess *a)
{
    Ehci *e = opaque;
    switch (a->off) {
    case 0: return CAP_LENGTH | 0x0100 << 16;
    case 4: return HCSPARAMS | (e->companions ? e->companions << 12 | COMPANION_PORTS << 8 : 0);
    case 8: return HCCPARAMS;
    default: break;
    }
    if (a->off < CAP_LENGTH) {
        return 0;
    }
    catch_up(e);
    ehci_update(e);
    return read_operational(e, (unsigned)a->off - CAP_LENGTH);
}

static void bar_write(void *opaque, MemAccess *a, uint64_t v)
{
    Ehci *e = opaque;
    uint32_t val = (uint32_t)v;
    if (a->off < CAP_LENGTH) {
        return;
    }
    unsigned at = (unsigned)a->off - CAP_LENGTH;
    switch (at) {
    case OP_CMD: write_command(e, val); break;
    case OP_STS:
        e->usbsts &= ~(val & EHCI_STATUS);
        ehci_soon(e); /* the driver is at it */
        break;
    case OP_INTR:
        e->usbintr = val & EHCI_STATUS;
        arm(e);
        break;
    case OP_FRINDEX: e->frame = e->usbcmd & EHCI_RS ? e->frame : val >> 3 & (2 * EHCI_LIST - 1); break;
    case OP_PERIODIC: e->periodic = val & ~0xfffu; break;
    case OP_ASYNC:
        e->async = val & ~31u;
        ehci_soon(e);
        break;
    case OP_CONFIGFLAG: write_configflag(e, val); break;
    default:
        if (at >= OP_PORTSC && at < OP_PORTSC + 4 * EHCI_PORTS) {
            write_port(e, &e->ports[(at - OP_PORTSC) / 4], val);
        }
        break;
    }
    ehci_update(e);
}

static const MemOps bar_ops = { .read = bar_read, .write = bar_write, .impl_min = 4, .impl_max = 4 };

/* ---- life ---- */

static void ehci_fini(void *opaque)
{
    Ehci *e = opaque;
    ehci_drop_packets(e, true, true);
    for (unsigned i = 0; i < EHCI_PORTS; i++) { /* companions that outlive it see their ports empty */
        EhciPort *p = &e->ports[i];
        if (p->theirs) {
            p->theirs->dev = NULL;
            p->companion->master = NULL;
        }
    }
}

static bool ehci_realize(Device *dev, Error **errp G_GNUC_UNUSED)
{
    static const UsbBusOps bus_ops = { .wakeup = bus_wakeup,
                                       .gone = bus_gone,
                                       .companion = bus_companion,
                                       .companion_gone = bus_companion_gone };
    Ehci *e = dev_as(Ehci, dev);
    pci_set_byte(dev, 0x60, 0x20); /* USB 2.0 */
    pci_set_wmask(dev, 0x61, 0x3f, 1);
    pci_set_wmask(dev, 0x62, 0x7f, 2);
    pci_set_wmask(dev, EECP + 2, 0x0101, 2); /* 2.1.7: semaphores of firmware and system */
    pci_set_wmask(dev, EECP + 4, 0xe03f, 4);
    pci_func(dev)->w1cmask[EECP + 7] = 0xe0;
    region_init_io(&e->bar, dev, "ehci", &bar_ops, e, BAR_SIZE);
    device_add_region(dev, &e->bar);
    device_add_irq(dev, &e->intx);
    device_add_timer(dev, &e->tick, tick);
    device_add_task(dev, &e->kick, kick);
    device_add_cleanup(dev, ehci_fini, e);
    usb_bus_init(&e->bus, dev, &bus_ops, e);
    for (unsigned i = 0; i < EHCI_PORTS; i++) {
        usb_port_add(&e->bus, &e->ports[i].port, NULL, i, 1 << USB_HIGH, port_changed, e);
    }
    return true;
}

static void ehci_reset(Device *dev, ResetKind kind G_GNUC_UNUSED)
{
    reset_registers(dev_as(Ehci, dev));
    pci_set_byte(dev, 0x61, 0x20);
    pci_set_word(dev, 0x62, 0);
    pci_set_long(dev, EECP, 1);
    pci_set_long(dev, EECP + 4, 0xc0000000);
}

static void ehci_reset_done(Device *dev)
{
    Ehci *e = dev_as(Ehci, dev);
    route_all(e);
    ehci_update(e);
}

/* Packets under way are still active transfers: the schedules find them. */
static bool ehci_post_load(void *opaque, Error **errp)
{
    Ehci *e = opaque;
    int64_t now = clock_now(e->dev.machine->clock);
    ehci_drop_packets(e, true, true);
    if (e->last > now || e->last < 0) {
        return error_set(errp, "a saved EHCI controller is in a frame that is yet to come");
    }
    for (unsigned i = 0; i < EHCI_PORTS; i++) {
        EhciPort *p = &e->ports[i];
        bool away = p->portsc & PORT_PO;
        if ((away && !p->theirs) || ((p->portsc & PORT_CCS) && (away || !p->port.dev))) {
            return error_set(errp, "port %u of a saved EHCI controller has what is not there", i + 1);
        }
        if (p->theirs) { /* the companion's registers know already */
            p->theirs->dev = NULL;
        }
        if (p->port.dev) {
            bool fits = usb_choose_speed(p->port.dev, away ? p->theirs->speeds : p->port.speeds);
            if (away) {
                p->theirs->dev = fits ? p->port.dev : NULL;
            }
        }
    }
    if (!(e->usbcmd & EHCI_RS)) {
        timer_cancel(&e->tick);
    } else if (!timer_armed(&e->tick)) {
        arm(e);
    }
    ehci_update(e);
    return true;
}

static const VmField port_fields[] = { VM_U32(EhciPort, portsc), { 0 } };
static const VmState port_state = { .name = "ehci-port", .version = 1, .oldest = 1, .fields = port_fields };
static const VmField ehci_fields[] = {
    VM_STRUCT_ARRAY(Ehci, ports, port_state),
    VM_U32(Ehci, usbcmd),
    VM_U32(Ehci, usbsts),
    VM_U32(Ehci, usbintr),
    VM_U32_MAX(Ehci, frame, 2 * EHCI_LIST - 1),
    VM_U32(Ehci, periodic),
    VM_U32(Ehci, async),
    VM_U32_MAX(Ehci, configflag, 1),
    VM_I64(Ehci, last),
    VM_U32_MAX(Ehci, quiet, FRAME_TICKS),
    VM_TIMER(Ehci, tick),
    { 0 },
};
static const VmState ehci_state = {
    .name = "ehci",
    .version = 1,
    .oldest = 1,
    .fields = ehci_fields,
    .post_load = ehci_post_load,
};

static const Prop ehci_props[] = {
    PROP_U32(Ehci, maxframes, "maxframes", FRAMES_MOST, 1, 1024, "Frames that are caught up with at most"),
    { 0 },
};

#define EHCI_TYPE_(VAR, NAME, ID, REVISION, FIXED)                                                           \
    static const PciOps VAR##_ops = {                                                                        \
        .vendor = 0x8086,                                                                                    \
        .device = (ID),                                                                                      \
        .revision = (REVISION),                                                                              \
        .class_code = 0x0c0320,                                                                              \
        .intx_pin = 4,                                                                                       \
        .bar = { [0] = { PCI_BAR_MEM32 } },                                                                  \
        .no_hotplug = (FIXED),                                                                               \
    };                                                                                                       \
    const DeviceType VAR##_type = {                                                                          \
        .name = (NAME),                                                                                      \
        .desc = "USB 2 controller (EHCI)",                                                                   \
        .size = sizeof(Ehci),                                                                                \
        .bus_type = &pci_bus_type,                                                                           \
        .bus_ops = &VAR##_ops,                                                                               \
        .category = "USB",                                                                                   \
        .props = ehci_props,                                                                                 \
        .vmstate = &ehci_state,                                                                              \
        .realize = ehci_realize,                                                                             \
        .reset = ehci_reset,                                                                                 \
        .reset_done = ehci_reset_done,                                                                       \
    }
EHCI_TYPE_(usb_ehci, "usb-ehci", 0x24cd, 0x10, false);
EHCI_TYPE_(ich9_usb_ehci1, "ich9-usb-ehci1", 0x293a, 3, true);
EHCI_TYPE_(ich9_usb_ehci2, "ich9-usb-ehci2", 0x293c, 3, true);
