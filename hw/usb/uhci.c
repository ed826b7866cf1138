/* SPDX-License-Identifier: MIT
 * hw/usb/uhci.c - UHCI controllers: piix3-usb-uhci, piix4-usb-uhci, ich9-usb-uhci1 to 6.
 *
 * Models: Universal Host Controller Interface 1.1: 2 (registers), 3 (frame list, queues, transfer
 * descriptors), without data toggles, which a lossless wire does not need. With masterbus= it is an EHCI
 * controller's companion: its devices are those that EHCI leaves to it. Does not model: legacy support (an
 * 8042 by SMI), bandwidth of isochronous transfers. Threads: the platform domain. A frame is
 * a millisecond of virtual time. While nothing but NAK comes of the schedule, frames are done in bundles
 * every 10 ms, unless a device or register wakes the controller; a stopped one has no timer. Of a frame
 * FRAME_STEPS structures are looked at, so loops end.
 */
#include "rhea/hw/pci.h"
#include "rhea/hw/usb.h"
#include "rhea/system/machine.h"

#include <string.h>

enum {
    UHCI_PORTS = 2,
    UHCI_ASYNC = 16,
    FRAME_STEPS = 256,
    FRAME_BYTES = 1280,
    FRAMES_MOST = 128,
    FRAME_NS = 1000000
};
enum { QUIET_FRAMES = 32, QUIET_NS = 10 * FRAME_NS, ASYNC_PATIENCE = 64, PACKET_MAX = 1280 };
enum { CMD_RS = 1, CMD_HCRESET = 2, CMD_GRESET = 4, CMD_EGSM = 8, CMD_BITS = 0xff };
enum { STS_INT = 1, STS_ERROR = 2, STS_RD = 4, STS_HSE = 8, STS_HCPE = 16, STS_HALTED = 32 };
enum { INTR_ERROR = 1, INTR_RESUME = 2, INTR_IOC = 4, INTR_SPD = 8, WHY_IOC = 1, WHY_SPD = 2 };
enum {
    PORT_CCS = 1,
    PORT_CSC = 2,
    PORT_PE = 4,
    PORT_PEC = 8,
    PORT_ONE = 0x80,
    PORT_RD = 0x40,
    PORT_LS = 0x100,
    PORT_PR = 0x200,
    PORT_SUSP = 0x1000,
    PORT_DMINUS = 0x20,
    PORT_DPLUS = 0x10
};
enum { LINK_END = 1, LINK_QUEUE = 2, LINK_DEPTH = 4 };
enum {
    TD_TIMEOUT = 1 << 18,
    TD_NAK = 1 << 19,
    TD_BABBLE = 1 << 20,
    TD_STALLED = 1 << 22,
    TD_ACTIVE = 1 << 23,
    TD_IOC = 1 << 24,
    TD_SPD = 1 << 29,
    TD_ERRORS = 0x7e << 16,
    TD_COUNTER = 3 << 27,
    TD_LENGTH = 0x7ff
};

typedef struct UhciAsync { /* a packet that a device has */
    UsbPacket p;
    struct Uhci *u;
    uint32_t td, token;
    uint8_t data[PACKET_MAX];
    bool used, ended;
    unsigned unseen; /* frames since its descriptor was met */
} UhciAsync;

typedef struct UhciPort {
    UsbPort port;
    uint16_t ctrl;
} UhciPort;

typedef struct Uhci {
    Device dev;
    MemRegion io;
    IrqLine intx;
    UsbBus bus;
    Timer frame;
    UhciPort ports[UHCI_PORTS];
    UhciAsync async[UHCI_ASYNC];
    uint32_t bandwidth, maxframes; /* properties */
    char *masterbus;
    uint32_t firstport;
    /* guest-visible state */
    uint16_t cmd, status, intr, frnum;
    uint8_t sofmod, why;
    uint32_t base;
    uint32_t quiet; /* frames in which nothing happened: it decides when the next one is done */
    int64_t last;   /* when frnum began */
} Uhci;

typedef struct Td {
    uint32_t link, ctrl, token, buffer;
} Td;
typedef enum TdEnd { TD_DONE, TD_SHORT, TD_WAIT, TD_FAILED } TdEnd;

/* ---- interrupts, memory ---- */

static void update(Uhci *u)
{
    bool level = ((u->why & WHY_IOC) && (u->intr & INTR_IOC)) ||
                 ((u->why & WHY_SPD) && (u->intr & INTR_SPD)) ||
                 ((u->status & STS_ERROR) && (u->intr & INTR_ERROR)) ||
                 ((u->status & STS_RD) && (u->intr & INTR_RESUME)) || (u->status & (STS_HSE | STS_HCPE));
    irq_set(&u->intx, level);
}

static void died(Uhci *u, uint16_t why)
{
    guest_error(&u->dev, "uhci: the schedule makes no sense; the controller stops");
    u->status |= why | STS_HALTED;
    u->cmd &= ~CMD_RS;
}

static bool load(Uhci *u, uint32_t at, uint32_t *v, unsigned n)
{
    if (dma_read(&pci_func(&u->dev)->dma, at, v, 4 * (size_t)n) != MEM_OK) {
        died(u, STS_HSE);
        return false;
    }
    for (unsigned i = 0; i < n; i++) {
        v[i] = GUINT32_FROM_LE(v[i]);
    }
    return true;
}

static void store(Uhci *u, uint32_t at, uint32_t v)
{
    uint32_t le = GUINT32_TO_LE(v);
    if (dma_write(&pci_func(&u->dev)->dma, at, &le, 4) != MEM_OK) {
        died(u, STS_HSE);
    }
}

/* ---- packets that take longer ---- */

static void async_drop(UhciAsync *a)
{
    if (a->used && !a->ended) {
        usb_cancel_packet(&a->p);
    }
    a->used = false;
}

static void async_drop_all(Uhci *u)
{
    for (unsigned i = 0; i < UHCI_ASYNC; i++) {
        async_drop(&u->async[i]);
    }
}

static void soon(Uhci *u)
{
    u->quiet = 0;
    if (u->cmd & CMD_RS) {
        int64_t at = clock_now(u->dev.machine->clock) + FRAME_NS;
        if (!timer_armed(&u->frame) || timer_expires(&u->frame) > at) {
            timer_arm(&u->frame, at);
        }
    }
}

static void packet_done(UsbPacket *p)
{
    UhciAsync *a = p->opaque;
    a->ended = true;
    soon(a->u);
}

static UhciAsync *async_find(Uhci *u, uint32_t td, uint32_t token)
{
    for (unsigned i = 0; i < UHCI_ASYNC; i++) {
        if (u->async[i].used && u->async[i].td == td && u->async[i].token == token) {
            return &u->async[i];
        }
    }
    return NULL;
}

static UhciAsync *async_new(Uhci *u)
{
    for (unsigned i = 0; i < UHCI_ASYNC; i++) {
        if (!u->async[i].used) {
            return &u->async[i];
        }
    }
    return NULL;
}

/* Descriptors that the driver took out of the schedule. */
static void async_forget_old(Uhci *u)
{
    for (unsigned i = 0; i < UHCI_ASYNC; i++) {
        if (u->async[i].used && ++u->async[i].unseen > ASYNC_PATIENCE) {
            async_drop(&u->async[i]);
        }
    }
}

/* ---- transfer descriptors (3.2) ---- */

static UsbDevice *find_device(Uhci *u, unsigned addr)
{
    for (unsigned i = 0; i < UHCI_PORTS; i++) {
        UhciPort *p = &u->ports[i];
        UsbDevice *d =
            (p->ctrl & PORT_PE) && !(p->ctrl & PORT_SUSP) ? usb_find_address(&p->port, (uint8_t)addr) : NULL;
        if (d) {
            return d;
        }
    }
    return NULL;
}

/* What became of the packet goes into the descriptor. */
static TdEnd finish(Uhci *u, uint32_t at, const Td *td, UsbPacket *p, unsigned *bytes)
{
    uint32_t ctrl = td->ctrl & ~(uint32_t)(TD_ERRORS | TD_LENGTH);
    TdEnd end = TD_DONE;
    if (p->result == USB_NAK) {
        store(u, at + 4, (td->ctrl & ~(uint32_t)TD_ERRORS) | TD_ACTIVE | TD_NAK);
        return TD_WAIT;
    }
    if (p->result == USB_OK && p->pid == USB_IN && p->actual &&
        dma_write(&pci_func(&u->dev)->dma, td->buffer, p->data, p->actual) != MEM_OK) {
        died(u, STS_HSE);
        return TD_FAILED;
    }
    ctrl &= ~(uint32_t)TD_ACTIVE;
    if (p->result != USB_OK) {
        ctrl |= TD_STALLED | (p->result == USB_BABBLE ? TD_BABBLE : p->result == USB_ERROR ? TD_TIMEOUT : 0);
        ctrl &= p->result == USB_STALL ? ctrl : ~(uint32_t)TD_COUNTER;
        u->status |= STS_ERROR;
        end = TD_FAILED;
    } else if (p->pid == USB_IN && p->actual < p->len && (ctrl & TD_SPD)) {
        u->why |= WHY_SPD;
        u->status |= STS_INT;
        end = TD_SHORT;
    }
    store(u, at + 4, ctrl | ((p->actual - 1) & TD_LENGTH));
    if (ctrl & TD_IOC) {
        u->why |= WHY_IOC;
        u->status |= STS_INT;
    }
    *bytes += p->len;
    return end;
}

static TdEnd execute(Uhci *u, uint32_t at, const Td *td, unsigned *bytes)
{
    uint8_t pid = td->token & 0xff;
    UhciAsync *a = async_find(u, at, td->token);
    if (!(td->ctrl & TD_ACTIVE)) {
        return TD_WAIT;
    }
    if (a) {
        a->unseen = 0;
        if (!a->ended) {
            return TD_WAIT;
        }
        a->used = false;
        return finish(u, at, td, &a->p, bytes);
    }
    uint32_t len = ((td->token >> 21) + 1) & TD_LENGTH;
    if ((pid != USB_IN && pid != USB_OUT && pid != USB_SETUP) || len > PACKET_MAX) {
        died(u, STS_HCPE);
        return TD_FAILED;
    }
    a = async_new(u);
    if (!a) {
        return TD_WAIT;
    }
    a->u = u;
    a->td = at;
    a->token = td->token;
    a->ended = false;
    a->unseen = 0;
    a->p = (UsbPacket){ .pid = pid,
                        .ep = td->token >> 15 & 15,
                        .data = a->data,
                        .len = len,
                        .done = packet_done,
                        .opaque = a,
                        .result = USB_ERROR };
    if (pid != USB_IN && dma_read(&pci_func(&u->dev)->dma, td->buffer, a->data, len) != MEM_OK) {
        died(u, STS_HSE);
        return TD_FAILED;
    }
    UsbDevice *d = find_device(u, td->token >> 8 & 0x7f);
    if (d && usb_handle_packet(d, &a->p) == USB_ASYNC) {
        a->used = true;
        return TD_WAIT;
    }
    return finish(u, at, td, &a->p, bytes);
}

/* ---- frames (3.4) ---- */

typedef struct Walk {
    uint32_t met[64]; /* queues since something was done */
    unsigned n_met, bytes;
    bool done_any;
} Walk;

/* A queue that is met again without anything having been done since ends the frame: that is a ring for
 * reclaiming bandwidth. */
static bool met_before(Walk *w, uint32_t qh)
{
    for (unsigned i = 0; i < w->n_met; i++) {
        if (w->met[i] == qh) {
            return true;
        }
    }
    w->met[w->n_met] = qh;
    w->n_met = (w->n_met + 1) % G_N_ELEMENTS(w->met);
    return false;
}

/* The first descriptor of a queue, and those behind it that are to be done first. Returns where to go on. */
static uint32_t run_queue(Uhci *u, uint32_t at, Walk *w, unsigned *steps)
{
    uint32_t qh[2];
    Td td;
    if (!load(u, at, qh, 2)) {
        return LINK_END;
    }
    while (!(qh[1] & LINK_END) && *steps < FRAME_STEPS && w->bytes < u->bandwidth) {
        if (qh[1] & LINK_QUEUE) {
            return qh[1];
        }
        ++*steps;
        uint32_t where = qh[1] & ~15u;
        if (!load(u, where, &td.link, 4)) {
            return LINK_END;
        }
        TdEnd end = execute(u, where, &td, &w->bytes);
        if (!(u->cmd & CMD_RS)) {
            return LINK_END;
        }
        w->done_any |= end != TD_WAIT;
        w->n_met = end != TD_WAIT ? 0 : w->n_met;
        if (end != TD_DONE) {
            break;
        }
        qh[1] = td.link;
        store(u, at + 4, td.link);
        if (!(td.link & LINK_DEPTH)) {
            break;
        }
    }
    return qh[0];
}

/* True: something was done. */
static bool run_frame(Uhci *u)
{
    Walk w = { .n_met = 0 };
    uint32_t link;
    Td td;
    if (!load(u, u->base + 4 * (u->frnum & 1023u), &link, 1)) {
        return true;
    }
    for (unsigned steps = 0; !(link & LINK_END) && steps < FRAME_STEPS && w.bytes < u->bandwidth; steps++) {
        uint32_t at = link & ~15u;
        if (link & LINK_QUEUE) {
            if (met_before(&w, at)) {
                break;
            }
            link = run_queue(u, at, &w, &steps);
        } else {
            if (!load(u, at, &td.link, 4)) {
                break;
            }
            w.done_any |= execute(u, at, &td, &w.bytes) != TD_WAIT;
            link = td.link;
        }
        if (!(u->cmd & CMD_RS)) {
            break;
        }
    }
    async_forget_old(u);
    return w.done_any;
}

static void frames(void *opaque)
{
    Uhci *u = opaque;
    int64_t now = clock_now(u->dev.machine->clock), n = (now - u->last) / FRAME_NS;
    if (n > u->maxframes) { /* the host was late: these never were */
        u->last += (n - u->maxframes) * FRAME_NS;
        n = u->maxframes;
    }
    for (; n > 0 && (u->cmd & CMD_RS); n--) {
        bool any = run_frame(u);
        u->quiet = any ? 0 : MIN(u->quiet + 1, QUIET_FRAMES);
        u->frnum = (u->frnum + 1) & 0x7ff;
        u->last += FRAME_NS;
    }
    update(u);
    if (u->cmd & CMD_RS) {
        timer_arm(&u->frame, u->quiet < QUIET_FRAMES ? u->last + FRAME_NS : now + QUIET_NS);
    }
}

/* ---- ports (2.1.7) ---- */

static void port_changed(UsbPort *port)
{
    Uhci *u = port->opaque;
    UhciPort *p = &u->ports[port->index];
    if (!port->dev && (p->ctrl & PORT_PE)) {
        p->ctrl |= PORT_PEC;
    }
    p->ctrl &= ~(PORT_PE | PORT_CCS | PORT_LS | PORT_SUSP);
    p->ctrl |= PORT_CSC;
    if (port->dev) {
        p->ctrl |= PORT_CCS | (port->dev->speed == USB_LOW ? PORT_LS : 0);
    }
    if (u->cmd & CMD_EGSM) { /* suspended: it wakes up */
        u->status |= STS_RD;
        update(u);
    }
}

static uint16_t read_port(const UhciPort *p)
{
    const UsbDevice *d = p->port.dev;
    return p->ctrl | PORT_ONE |
           (d && !(p->ctrl & PORT_PE) ? (d->speed == USB_LOW ? PORT_DMINUS : PORT_DPLUS) : 0);
}

static void write_port(UhciPort *p, uint16_t val)
{
    UsbDevice *d = p->port.dev;
    if (d && (val & PORT_PR) && !(p->ctrl & PORT_PR)) {
        usb_device_reset(d);
    }
    p->ctrl &= ~(val & (PORT_CSC | PORT_PEC));
    p->ctrl = (p->ctrl & ~(PORT_PE | PORT_PR | PORT_SUSP | PORT_RD)) |
              (val & (PORT_PR | PORT_SUSP | PORT_RD)) | (d ? val & PORT_PE : 0);
}

/* A device behind a suspended port resumes it, if its driver allowed that (2.1.7). */
static void bus_wakeup(UsbBus *b, UsbDevice *d, unsigned ep G_GNUC_UNUSED, bool in G_GNUC_UNUSED)
{
    Uhci *u = b->host;
    const UsbPort *root = usb_root_port(d); /* perhaps EHCI's */
    for (unsigned i = 0; d->remote_wakeup && root && i < UHCI_PORTS; i++) {
        if (u->ports[i].port.dev == root->dev && (u->ports[i].ctrl & PORT_SUSP)) {
            u->ports[i].ctrl |= PORT_RD;
            u->status |= STS_RD;
            update(u);
        }
    }
    soon(u);
}

static void bus_gone(UsbBus *b, UsbDevice *d)
{
    Uhci *u = b->host;
    for (unsigned i = 0; i < UHCI_ASYNC; i++) {
        if (u->async[i].used && u->async[i].p.dev == d) {
            async_drop(&u->async[i]);
        }
    }
}

/* ---- registers (2.1) ---- */

static void reset_registers(Uhci *u)
{
    async_drop_all(u);
    timer_cancel(&u->frame);
    u->cmd = u->intr = u->frnum = u->why = 0;
    u->status = STS_HALTED;
    u->base = 0;
    u->sofmod = 64;
    u->last = 0;
    u->quiet = 0;
    for (unsigned i = 0; i < UHCI_PORTS; i++) {
        const UsbDevice *d = u->ports[i].port.dev;
        u->ports[i].ctrl = d ? PORT_CCS | PORT_CSC | (d->speed == USB_LOW ? PORT_LS : 0) : 0;
    }
}

static void write_command(Uhci *u, uint16_t val)
{
    if (val & CMD_HCRESET) {
        reset_registers(u);
        return;
    }
    if ((val & CMD_GRESET) && !(u->cmd & CMD_GRESET)) {
        reset_registers(u);
        for (unsigned i = 0; i < UHCI_PORTS; i++) {
            if (u->ports[i].port.dev) {
                usb_device_reset(u->ports[i].port.dev);
            }
        }
    }
    bool was = u->cmd & CMD_RS, now = val & CMD_RS;
    u->cmd = val & CMD_BITS;
    if (now && !was) {
        u->status &= ~STS_HALTED;
        u->last = clock_now(u->dev.machine->clock);
        soon(u);
    } else if (!now) {
        u->status |= STS_HALTED;
        timer_cancel(&u->frame);
        async_drop_all(u);
    }
}

/* Frames that are due but lie in a bundle have a number, too. */
static uint16_t read_frnum(const Uhci *u)
{
    int64_t late = u->cmd & CMD_RS ? (clock_now(u->dev.machine->clock) - u->last) / FRAME_NS : 0;
    return (u->frnum + CLAMP(late, 0, 1 << 20)) & 0x7ff;
}

static uint64_t io_read(void *opaque, MemAccess *a)
{
    const Uhci *u = opaque;
    switch (a->off) {
    case 0x00: return u->cmd;
    case 0x02: return u->status;
    case 0x04: return u->intr;
    case 0x06: return read_frnum(u);
    case 0x08: return u->base & 0xffff;
    case 0x0a: return u->base >> 16;
    case 0x0c: return u->sofmod;
    case 0x10:
    case 0x12: return read_port(&u->ports[(a->off - 0x10) / 2]);
    default: return 0xff7f; /* no port */
    }
}

static void io_write(void *opaque, MemAccess *a, uint64_t v)
{
    Uhci *u = opaque;
    uint16_t val = (uint16_t)v;
    switch (a->off) {
    case 0x00: write_command(u, val); break;
    case 0x02:
        u->status &= ~(val & ~STS_HALTED);
        u->why = val & STS_INT ? 0 : u->why;
        break;
    case 0x04: u->intr = val & 15; break;
    case 0x06: u->frnum = u->cmd & CMD_RS ? u->frnum : val & 0x7ff; break;
    case 0x08: u->base = (u->base & 0xffff0000) | (val & 0xf000); break;
    case 0x0a: u->base = (u->base & 0xffff) | (uint32_t)val << 16; break;
    case 0x0c: u->sofmod = val & 0x7f; break;
    case 0x10:
    case 0x12: write_port(&u->ports[(a->off - 0x10) / 2], val); break;
    default: break;
    }
    update(u);
    soon(u);
}

static const MemOps io_ops = { .read = io_read, .write = io_write, .impl_min = 2, .impl_max = 2 };

/* ---- life ---- */

static void uhci_fini(void *opaque)
{
    async_drop_all(opaque);
}

static bool make_ports(Uhci *u, Error **errp)
{
    static const UsbBusOps bus_ops = { .wakeup = bus_wakeup, .gone = bus_gone };
    UsbPort *ports[UHCI_PORTS];
    if (!u->masterbus) {
        usb_bus_init(&u->bus, &u->dev, &bus_ops, u);
    }
    for (unsigned i = 0; i < UHCI_PORTS; i++) {
        ports[i] = &u->ports[i].port;
        if (u->masterbus) {
            *ports[i] = (UsbPort){ .changed = port_changed, .opaque = u };
        } else {
            usb_port_add(&u->bus, ports[i], NULL, i, 1 << USB_LOW | 1 << USB_FULL, port_changed, u);
        }
    }
    return !u->masterbus || usb_companion_init(&u->bus, &u->dev, &bus_ops, u, u->masterbus, ports, UHCI_PORTS,
                                               u->firstport, errp);
}

static bool uhci_realize(Device *dev, Error **errp)
{
    Uhci *u = dev_as(Uhci, dev);
    pci_set_byte(dev, 0x60, 0x10); /* USB 1.0 */
    pci_set_wmask(dev, 0xc0, 0x2f00, 2);
    region_init_io(&u->io, dev, "uhci", &io_ops, u, 0x20);
    device_add_region(dev, &u->io);
    device_add_irq(dev, &u->intx);
    device_add_timer(dev, &u->frame, frames);
    device_add_cleanup(dev, uhci_fini, u);
    return make_ports(u, errp);
}

static void uhci_reset(Device *dev, ResetKind kind G_GNUC_UNUSED)
{
    reset_registers(dev_as(Uhci, dev));
    pci_set_word(dev, 0xc0, 0x2000); /* legacy support: an interrupt, no SMI */
}

static void uhci_reset_done(Device *dev)
{
    update(dev_as(Uhci, dev));
}

/* Descriptors under way are still active: the schedule finds them. */
static bool uhci_post_load(void *opaque, Error **errp)
{
    Uhci *u = opaque;
    int64_t now = clock_now(u->dev.machine->clock);
    async_drop_all(u);
    if (u->last > now || u->last < 0) {
        return error_set(errp, "a saved UHCI controller is in a frame that is yet to come");
    }
    if (!(u->cmd & CMD_RS)) {
        timer_cancel(&u->frame);
    } else if (!timer_armed(&u->frame)) {
        timer_arm(&u->frame, now + FRAME_NS);
    }
    update(u);
    return true;
}

static const VmField port_fields[] = { VM_U16(UhciPort, ctrl), { 0 } };
static const VmState port_state = { .name = "uhci-port", .version = 1, .oldest = 1, .fields = port_fields };
static const VmField uhci_fields[] = {
    VM_STRUCT_ARRAY(Uhci, ports, port_state),
    VM_U16(Uhci, cmd),
    VM_U16(Uhci, status),
    VM_U16(Uhci, intr),
    VM_U16_MAX(Uhci, frnum, 0x7ff),
    VM_U8(Uhci, sofmod),
    VM_U8(Uhci, why),
    VM_U32(Uhci, base),
    VM_I64(Uhci, last),
    VM_U32_MAX(Uhci, quiet, QUIET_FRAMES),
    VM_TIMER(Uhci, frame),
    { 0 },
};
static const VmState uhci_state = {
    .name = "uhci",
    .version = 1,
    .oldest = 1,
    .fields = uhci_fields,
    .post_load = uhci_post_load,
};

static const Prop piix_props[] = {
    PROP_U32(Uhci, bandwidth, "bandwidth", FRAME_BYTES, 1, 1 << 20, "Bytes of a frame"),
    PROP_U32(Uhci, maxframes, "maxframes", FRAMES_MOST, 1, 1024, "Frames that are caught up with at most"),
    { 0 },
};
static const Prop ich9_props[] = {
    PROP_U32(Uhci, bandwidth, "bandwidth", FRAME_BYTES, 1, 1 << 20, "Bytes of a frame"),
    PROP_U32(Uhci, maxframes, "maxframes", FRAMES_MOST, 1, 1024, "Frames that are caught up with at most"),
    PROP_STR(Uhci, masterbus, "masterbus", NULL, "Bus of the EHCI controller whose companion it is"),
    PROP_U32(Uhci, firstport, "firstport", 0, 0, UINT32_MAX, "First of the two ports there, from 0"),
    { 0 },
};

#define UHCI_TYPE(VAR, NAME, ID, REVISION, PIN, PROPS, FIXED)                                                \
    static const PciOps VAR##_ops = {                                                                        \
        .vendor = 0x8086,                                                                                    \
        .device = (ID),                                                                                      \
        .revision = (REVISION),                                                                              \
        .class_code = 0x0c0300,                                                                              \
        .intx_pin = (PIN),                                                                                   \
        .bar = { [4] = { PCI_BAR_IO } },                                                                     \
        .no_hotplug = (FIXED),                                                                               \
    };                                                                                                       \
    const DeviceType VAR##_type = {                                                                          \
        .name = (NAME),                                                                                      \
        .desc = "USB 1 controller (UHCI)",                                                                   \
        .size = sizeof(Uhci),                                                                                \
        .bus_type = &pci_bus_type,                                                                           \
        .bus_ops = &VAR##_ops,                                                                               \
        .category = "USB",                                                                                   \
        .props = (PROPS),                                                                                    \
        .vmstate = &uhci_state,                                                                              \
        .realize = uhci_realize,                                                                             \
        .reset = uhci_reset,                                                                                 \
        .reset_done = uhci_reset_done,                                                                       \
    }
UHCI_TYPE(piix3_usb_uhci, "piix3-usb-uhci", 0x7020, 1, 4, piix_props, false);
UHCI_TYPE(piix4_usb_uhci, "piix4-usb-uhci", 0x7112, 1, 4, piix_props, false);
UHCI_TYPE(ich9_usb_uhci1, "ich9-usb-uhci1", 0x2934, 3, 1, ich9_props, true);
UHCI_TYPE(ich9_usb_uhci2, "ich9-usb-uhci2", 0x2935, 3, 2, ich9_props, true);
UHCI_TYPE(ich9_usb_uhci3, "ich9-usb-uhci3", 0x2936, 3, 3, ich9_props, true);
UHCI_TYPE(ich9_usb_uhci4, "ich9-usb-uhci4", 0x2937, 3, 1, ich9_props, true);
UHCI_TYPE(ich9_usb_uhci5, "ich9-usb-uhci5", 0x2938, 3, 2, ich9_props, true);
UHCI_TYPE(ich9_usb_uhci6, "ich9-usb-uhci6", 0x2939, 3, 3, ich9_props, true);
