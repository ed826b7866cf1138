/* SPDX-License-Identifier: MIT
 * hw/virtio/virtio-serial-port.c - ports of virtio-serial devices: `-device virtserialport,chardev=ID,
 * name=NAME`, a channel for programs, and `-device virtconsole,chardev=ID`, a console.
 *
 * Models: virtio 1.2, 5.3.6 (device operation). Bytes wait where they are, in the guest's buffers or at the
 *         other end, until both sides have the port open and the receiver has room; what the guest writes
 *         while nobody is at the other end is dropped. A console's guest waits without doing anything else
 *         (Linux holds a lock), so its output is dropped, too, when the other end took nothing for a while.
 * Threads: the platform domain, which main loop and vCPUs hold in turn.
 */
#include "virtio-serial.h"
#include "rhea/util/errorcode.h"

enum {
    SEND_TURN = 256 << 10, /* bytes until others have their turn */
    SEND_COST = 256,       /* what a buffer counts there, beside its bytes */
    PATIENCE_NS = 250 * 1000 * 1000, /* of virtual time */
};

VirtQueue *serial_queue(VirtioSerial *s, unsigned nr, bool out)
{
    return &s->v.q[(nr ? 2 * nr + 2 : 0) + out];
}

static SerialPort *port_of(Device *dev)
{
    return dev_as(SerialPort, dev);
}

/* ---- out: what the guest writes ---- */

/* From byte *done of the buffer on; false: the character device has no more room. */
static bool port_write(SerialPort *p, const IoVec *out, size_t *done)
{
    size_t at = 0;
    for (unsigned i = 0; i < out->n; i++) {
        size_t len = out->iov[i].iov_len;
        if (*done < at + len) {
            size_t from = *done - at;
            size_t took = char_write(&p->chr, (const uint8_t *)out->iov[i].iov_base + from, len - from);
            *done += took;
            if (took < len - from) {
                return false;
            }
        }
        at += len;
    }
    return true;
}

static void port_writable(void *opaque)
{
    SerialPort *p = opaque;
    VirtioSerial *s = p->ctl;
    p->gave_up = false;
    timer_cancel(&p->patience);
    if (machine_running(p->dev.machine)) { /* else the controller goes on with it */
        s->slot[p->nr] &= (uint8_t)~SLOT_STALLED;
        serial_send(s, p->nr);
    }
}

static void port_stall(SerialPort *p)
{
    p->ctl->slot[p->nr] |= SLOT_STALLED;
    char_notify_writable(&p->chr, port_writable);
    if (p->console && !p->gave_up && !timer_armed(&p->patience)) {
        timer_arm(&p->patience, clock_now(p->dev.machine->clock) + PATIENCE_NS);
    }
}

static void port_give_up(void *opaque)
{
    SerialPort *p = port_of(opaque);
    p->gave_up = true;
    serial_send(p->ctl, p->nr);
}

/* True: it is done with. False: it goes back to the queue, for later. */
static bool port_send_buffer(VirtioSerial *s, unsigned nr, const VirtElem *e, size_t *sent)
{
    SerialPort *p = s->ports[nr];
    bool begun = s->out_generation[nr] == e->q->generation;
    size_t from = begun ? MIN(s->out_done[nr], e->out.bytes) : 0, done = from;
    bool all = !p || !(p->console || p->host_open) || port_write(p, &e->out, &done);
    *sent = done - from;
    if (!all) {
        port_stall(p);
        all = p->gave_up;
    }
    s->out_done[nr] = all ? 0 : done;
    s->out_generation[nr] = e->q->generation;
    return all;
}

void serial_send(VirtioSerial *s, unsigned nr)
{
    VirtioDevice *v = &s->v;
    VirtQueue *q = serial_queue(s, nr, true);
    VirtElem *e;
    size_t turn = 0, sent;
    if ((s->slot[nr] & SLOT_STALLED) && !s->ports[nr]->gave_up) {
        return;
    }
    do {
        while ((e = virtq_pop(v, q)) != NULL) {
            if (!port_send_buffer(s, nr, e, &sent)) {
                virtq_unpop(v, e);
                return;
            }
            virtq_push(v, e, 0);
            turn += sent + SEND_COST;
            if (turn >= SEND_TURN) {
                serial_go_on(s);
                return;
            }
        }
    } while (virtq_rearm(v, q));
}

/* 5.3.4: at once, past what waits. */
void serial_port_emergency(SerialPort *p, uint8_t byte)
{
    char_write(&p->chr, &byte, 1);
}

/* ---- in: what it reads ---- */

/* A buffer is taken, which port_receive() fills at once: nothing is in between, and nothing is kept. */
static size_t port_room(void *opaque)
{
    SerialPort *p = opaque;
    VirtioSerial *s = p->ctl;
    VirtioDevice *v = &s->v;
    VirtQueue *q = serial_queue(s, p->nr, false);
    if (!machine_running(p->dev.machine) || s->ports[p->nr] != p || !(s->slot[p->nr] & SLOT_GUEST_OPEN)) {
        return 0;
    }
    p->taken = virtq_pop(v, q);
    if (!p->taken && virtq_rearm(v, q)) {
        p->taken = virtq_pop(v, q);
    }
    if (p->taken && !p->taken->in.bytes) {
        virtio_error(v, "a buffer for input that cannot be written");
        virtq_push(v, p->taken, 0);
        p->taken = NULL;
    }
    return p->taken ? p->taken->in.bytes : 0;
}

static void port_receive(void *opaque, const uint8_t *buf, size_t len)
{
    SerialPort *p = opaque;
    VirtElem *e = p->taken;
    p->taken = NULL;
    iov_from_buf(&e->in, 0, buf, len);
    virtq_push(&p->ctl->v, e, (uint32_t)len);
}

static void port_event(void *opaque, CharEvent event)
{
    SerialPort *p = opaque;
    if (!p->console && (event == CHAR_OPENED || event == CHAR_CLOSED)) {
        p->host_open = event == CHAR_OPENED;
        serial_tell_later(p->ctl);
    }
}

void serial_accept(VirtioSerial *s, unsigned nr)
{
    if (s->ports[nr]) {
        char_accept_input(&s->ports[nr]->chr);
    }
}

/* ---- open and closed ---- */

static bool port_is_open(const SerialPort *p)
{
    return p->console || (p->ctl->slot[p->nr] & SLOT_GUEST_OPEN);
}

void serial_set_guest_open(VirtioSerial *s, unsigned nr, bool open)
{
    SerialPort *p = s->ports[nr];
    bool was = s->slot[nr] & SLOT_GUEST_OPEN;
    s->slot[nr] = (s->slot[nr] & (uint8_t)~SLOT_GUEST_OPEN) | (open ? SLOT_GUEST_OPEN : 0);
    if (was == open) {
        return;
    }
    char_port_set_open(&p->chr, port_is_open(p));
    if (p->dev.id && s->ready) {
        Json *data = json_put(json_new_object(), "id", json_new_string(p->dev.id));
        machine_event(p->dev.machine, "VSERPORT_CHANGE", json_put(data, "open", json_new_bool(open)));
    }
    serial_accept(s, nr);
}

void serial_port_reset(SerialPort *p)
{
    p->gave_up = false;
    timer_cancel(&p->patience);
    char_port_set_open(&p->chr, port_is_open(p));
}

/* ---- the bus ---- */

static const SerialPort *port_named(const Device *dev, const char *name)
{
    for (guint b = 0; b < dev->buses->len; b++) {
        const Bus *bus = dev->buses->pdata[b];
        for (guint i = 0; bus->type == &virtio_serial_bus_type && i < bus->children->len; i++) {
            const SerialPort *p = port_of(bus->children->pdata[i]);
            if (p->name && !strcmp(p->name, name)) {
                return p;
            }
        }
    }
    for (guint i = 0; i < dev->children->len; i++) {
        const SerialPort *p = port_named(dev->children->pdata[i], name);
        if (p) {
            return p;
        }
    }
    return NULL;
}

static bool bus_check_number(const Bus *bus, const SerialPort *p, Error **errp)
{
    const VirtioSerial *s = p->ctl;
    if (p->nr >= s->max_ports) {
        error_fail(errp, "out-of-range", "nr", NULL,
                   "nr=%u: bus '%s' has ports 0 to %u", p->nr, bus->name, s->max_ports - 1);
        error_hint(errp, "use a smaller one, leave nr= out, or give the controller a larger max_ports=");
        return false;
    }
    if (s->ports[p->nr]) {
        error_fail(errp, "in-use", "nr", NULL,
                   "nr=%u of bus '%s' is taken by '%s'", p->nr, bus->name,
                   device_name(&s->ports[p->nr]->dev));
        error_hint(errp, "leave nr= out: the next free one is used");
        return false;
    }
    if (p->nr == 0 && !p->console) {
        error_fail(errp, "conflict", "nr", NULL,
                   "nr=0 is kept for a virtconsole: old drivers take port 0 for one");
        error_hint(errp, "leave nr= out: the next free one is used");
        return false;
    }
    return true;
}

static bool bus_prepare(Bus *bus, Device *dev, Error **errp)
{
    SerialPort *p = port_of(dev);
    VirtioSerial *s = bus->impl;
    p->ctl = s;
    p->console = dev->type == &virtconsole_type;
    const SerialPort *other = p->name ? port_named(dev->machine->root, p->name) : NULL;
    if (other) {
        error_fail(errp, "already-exists", "name", NULL,
                   "port '%s' has the name '%s' already", device_name(&other->dev), p->name);
        error_hint(errp, "guests find ports by their names: use another one");
        return false;
    }
    if (p->nr == SERIAL_NR_AUTO) {
        unsigned nr = !p->console;
        while (nr < s->max_ports && s->ports[nr]) {
            nr++;
        }
        if (nr >= s->max_ports) {
            error_fail(errp, "no-place", "bus", NULL,
                       "bus '%s' has no free port: max_ports=%u", bus->name, s->max_ports);
            error_hint(errp, "use another controller, or give this one a larger max_ports=");
            return false;
        }
        p->nr = nr;
    }
    return bus_check_number(bus, p, errp);
}

static bool bus_attach(Bus *bus, Device *dev, Error **errp G_GNUC_UNUSED)
{
    VirtioSerial *s = bus->impl;
    SerialPort *p = port_of(dev);
    domain_lock(dev->domain);
    s->ports[p->nr] = p;
    char_port_set_open(&p->chr, port_is_open(p));
    serial_tell_later(s);
    domain_unlock(dev->domain);
    return true;
}

static void bus_describe_port(Device *dev, GString *out, int indent)
{
    const SerialPort *p = port_of(dev);
    uint8_t f = p->ctl->slot[p->nr];
    g_string_append_printf(out, "%*sport %u, guest %s, host %s, throttle %s\n", indent, "", p->nr,
                           f & SLOT_GUEST_OPEN ? "on" : "off", p->host_open ? "on" : "off",
                           f & SLOT_STALLED ? "on" : "off");
}

const BusType virtio_serial_bus_type = {
    .name = "virtio-serial-bus",
    .prepare = bus_prepare,
    .attach = bus_attach,
    .describe_child = bus_describe_port,
    .hotplug = true,
};

/* ---- the devices ---- */

static bool port_realize(Device *dev, Error **errp G_GNUC_UNUSED)
{
    static const CharHandler handler = { .room = port_room, .receive = port_receive, .event = port_event };
    SerialPort *p = port_of(dev);
    p->host_open = p->console && p->chr.be;
    device_add_timer(dev, &p->patience, port_give_up);
    char_attach(&p->chr, &handler, p, dev->domain);
    return true;
}

/* A vCPU may be at work with it until it is out of the table. The driver is told, unless the controller goes
 * as well. */
static void port_unrealize(Device *dev)
{
    SerialPort *p = port_of(dev);
    VirtioSerial *s = p->ctl;
    domain_lock(dev->domain);
    s->ports[p->nr] = NULL;
    s->slot[p->nr] = serial_slot_left(s->slot[p->nr]);
    s->out_done[p->nr] = 0;
    if (!s->v.dev.retracted) {
        serial_tell_later(s);
    }
    domain_unlock(dev->domain);
    char_detach(&p->chr);
}

static const Prop port_props[] = {
    PROP_CHARDEV(SerialPort, chr, "chardev", "The other end"),
    PROP_U32(SerialPort, nr, "nr", SERIAL_NR_AUTO, 0, UINT32_MAX,
             "Number of the port; 4294967295: the next free one"),
    PROP_STR(SerialPort, name, "name", NULL, "What the guest finds it by: /dev/virtio-ports/NAME"),
    { 0 },
};

#define PORT_TYPE(NAME, DESC) \
    { \
        .name = (NAME), .desc = (DESC), .size = sizeof(SerialPort), .bus_type = &virtio_serial_bus_type, \
        .category = "Input", .props = port_props, .realize = port_realize, .unrealize = port_unrealize, \
    }
const DeviceType virtserialport_type = PORT_TYPE("virtserialport", "Port of a virtio serial device");
const DeviceType virtconsole_type = PORT_TYPE("virtconsole", "Console on a virtio serial device");
