/* SPDX-License-Identifier: MIT
 * hw/virtio/virtio-serial.c - serial ports and consoles for guests: `-device virtio-serial-pci`, in memory
 * virtio-serial-device; what plugs into it, virtserialport and virtconsole, is in virtio-serial-port.c.
 *
 * Models: virtio 1.2, 5.3 (console device): several ports (5.3.6), emergency write (5.3.4). Names of ports
 *         end with a NUL, against 5.3.6.2: drivers know it so from QEMU.
 * Does not model: the size of a console, which nobody here knows.
 * Threads: the platform domain.
 */
#include "virtio-serial.h"
#include "rhea/hw/virtio-types.h"
#include "rhea/util/errorcode.h"

#include <string.h>

enum {
    SERIAL_CLASS = 3,
    SERIAL_QUEUE = 128,
    SERIAL_TURN = 256, /* messages until others have their turn */
    CONFIG_MAX_PORTS = 4,
    CONFIG_EMERGENCY = 8,
    CONFIG_SIZE = 12,
    MESSAGE = 8, /* bytes; a name follows */
    CLASS_COMMUNICATION = 0x0780, /* PCI classes */
    CLASS_DISPLAY = 0x0380,
    CLASS_OTHERS = 0x00ff,
    PCI_CLASS_WORD = 0x0a, /* PCI's, class and subclass */
};
#define SERIAL_F_MULTIPORT       (UINT64_C(1) << 1)
#define SERIAL_F_EMERGENCY_WRITE (UINT64_C(1) << 2)

/* ---- to the driver ---- */

/* Whether a message about port nr is due, and which. */
static SerialMessage serial_due(const VirtioSerial *s, unsigned nr)
{
    const SerialPort *p = s->ports[nr];
    uint8_t f = s->slot[nr];
    if (f & SLOT_GONE) {
        return SERIAL_DEVICE_REMOVE;
    }
    if (!p || !(f & SLOT_TOLD)) {
        return p ? SERIAL_DEVICE_ADD : SERIAL_NOTHING;
    }
    return f & SLOT_CONSOLE_DUE                                         ? SERIAL_CONSOLE_PORT
           : f & SLOT_NAME_DUE                                          ? SERIAL_PORT_NAME
           : (f & SLOT_READY) && p->host_open != !!(f & SLOT_HOST_OPEN) ? SERIAL_PORT_OPEN
                                                                        : SERIAL_NOTHING;
}

/* It is sent now; returns its value. */
static uint16_t serial_sent(VirtioSerial *s, unsigned nr, SerialMessage m)
{
    uint8_t *f = &s->slot[nr];
    switch (m) {
    case SERIAL_DEVICE_REMOVE: *f = 0; break;
    case SERIAL_DEVICE_ADD: *f |= SLOT_TOLD; break;
    case SERIAL_CONSOLE_PORT: *f &= (uint8_t)~SLOT_CONSOLE_DUE; break;
    case SERIAL_PORT_NAME: *f &= (uint8_t)~SLOT_NAME_DUE; break;
    default:
        *f ^= SLOT_HOST_OPEN;
        return s->ports[nr]->host_open;
    }
    return 1;
}

static bool serial_send_message(VirtioSerial *s, unsigned nr, SerialMessage m)
{
    VirtioDevice *v = &s->v;
    VirtQueue *q = &v->q[SERIAL_CONTROL_IN];
    VirtElem *e = virtq_pop(v, q);
    if (!e && virtq_rearm(v, q)) {
        e = virtq_pop(v, q);
    }
    if (!e) {
        return false;
    }
    if (e->in.bytes < MESSAGE) {
        virtio_error(v, "a buffer of %zu bytes for control messages", e->in.bytes);
        virtq_push(v, e, 0);
        return false;
    }
    const char *name = m == SERIAL_PORT_NAME ? s->ports[nr]->name : NULL;
    size_t tail = name ? MIN(strlen(name) + 1, e->in.bytes - MESSAGE) : 0;
    uint16_t value = serial_sent(s, nr, m);
    uint8_t msg[MESSAGE] = { (uint8_t)nr, 0, 0, 0, (uint8_t)m, 0, (uint8_t)value };
    iov_from_buf(&e->in, 0, msg, MESSAGE);
    iov_from_buf(&e->in, MESSAGE, name, tail);
    virtq_push(v, e, (uint32_t)(MESSAGE + tail));
    return true;
}

void serial_tell(VirtioSerial *s)
{
    for (unsigned nr = 0; s->ready && nr < s->max_ports; nr++) {
        SerialMessage m;
        while ((m = serial_due(s, nr)) != SERIAL_NOTHING) {
            if (!serial_send_message(s, nr, m)) {
                return;
            }
        }
    }
}

void serial_tell_later(VirtioSerial *s)
{
    if (machine_running(s->v.dev.machine)) { /* else it is told when the machine goes on */
        serial_tell(s);
    }
}

/* ---- from the driver ---- */

static void serial_port_ready(VirtioSerial *s, unsigned nr)
{
    const SerialPort *p = s->ports[nr];
    uint8_t *f = &s->slot[nr];
    *f = (*f & (uint8_t)~SLOT_HOST_OPEN) | SLOT_READY | (p->console ? SLOT_CONSOLE_DUE : 0) |
         (p->name ? SLOT_NAME_DUE : 0);
    serial_tell(s);
}

void serial_message(VirtioSerial *s, uint32_t nr, unsigned event, unsigned value)
{
    if (event == SERIAL_DEVICE_READY && value) {
        s->ready = true;
        for (unsigned i = 0; i < s->max_ports; i++) {
            s->slot[i] &= (uint8_t)~SLOT_TOLD;
        }
        serial_tell(s);
    } else if (!s->ready || nr >= s->max_ports || !s->ports[nr] || !(s->slot[nr] & SLOT_TOLD)) {
        guest_error(&s->v.dev, "virtio-serial: message %u about port %u, which there is not", event, nr);
    } else if (event == SERIAL_PORT_READY && value) {
        serial_port_ready(s, nr);
    } else if (event == SERIAL_PORT_OPEN) {
        serial_set_guest_open(s, nr, value != 0);
    } else {
        guest_error(&s->v.dev, "virtio-serial: message %u about port %u with value %u", event, nr, value);
    }
}

static void serial_control(VirtioSerial *s)
{
    VirtioDevice *v = &s->v;
    VirtQueue *q = &v->q[SERIAL_CONTROL_OUT];
    VirtElem *e;
    unsigned n = 0;
    do {
        while ((e = virtq_pop(v, q)) != NULL) {
            uint8_t m[MESSAGE];
            bool whole = e->out.bytes >= MESSAGE;
            if (whole) {
                iov_to_buf(&e->out, 0, m, MESSAGE);
            } else {
                guest_error(&v->dev, "virtio-serial: a control message of %zu bytes", e->out.bytes);
            }
            virtq_push(v, e, 0);
            if (whole) {
                serial_message(s, (uint32_t)m[0] | (uint32_t)m[1] << 8 | (uint32_t)m[2] << 16 |
                                  (uint32_t)m[3] << 24,
                               m[4] | m[5] << 8, m[6] | m[7] << 8);
            }
            if (++n == SERIAL_TURN) {
                serial_go_on(s);
                return;
            }
        }
    } while (virtq_rearm(v, q));
}

static void serial_kick(VirtioDevice *v, VirtQueue *q)
{
    VirtioSerial *s = serial_of(v);
    unsigned i = (unsigned)(q - v->q), nr = i < 2 ? 0 : (i - 2) / 2;
    if (i == SERIAL_CONTROL_IN) {
        serial_tell(s);
    } else if (i == SERIAL_CONTROL_OUT) {
        serial_control(s);
    } else if (i & 1) {
        serial_send(s, nr);
    } else {
        serial_accept(s, nr);
    }
}

void serial_go_on(VirtioSerial *s)
{
    s->goes_on = true;
    domain_post(&s->more);
}

/* Goes on where something was left: by a turn's end, a full character device, or a machine that stood. */
static void serial_more(void *opaque)
{
    VirtioSerial *s = serial_of(dev_as(VirtioDevice, (Device *)opaque));
    bool all = s->goes_on;
    if (!machine_running(s->v.dev.machine)) {
        return;
    }
    s->goes_on = false;
    serial_tell(s);
    if (all) {
        serial_control(s);
    }
    for (unsigned nr = 0; nr < s->max_ports; nr++) {
        if (all || (s->slot[nr] & SLOT_STALLED)) {
            s->slot[nr] &= (uint8_t)~SLOT_STALLED;
            serial_send(s, nr);
        }
        serial_accept(s, nr);
    }
}

static void serial_runs(void *opaque, RunState was G_GNUC_UNUSED, RunState now)
{
    if (now == RUN_RUNNING) {
        domain_post(&serial_of(opaque)->more);
    }
}

/* ---- configuration, and the device's life ---- */

static void serial_get_config(VirtioDevice *v, uint8_t *config)
{
    config[CONFIG_MAX_PORTS] = (uint8_t)serial_of(v)->max_ports;
}

/* 5.3.4: a character for the console, before anything is set up, and whatever waits in queues. */
static void serial_config_written(VirtioDevice *v, unsigned off, unsigned len G_GNUC_UNUSED, uint32_t val)
{
    VirtioSerial *s = serial_of(v);
    for (unsigned nr = 0; off == CONFIG_EMERGENCY && s->emergency_write && nr < s->max_ports; nr++) {
        if (s->ports[nr] && s->ports[nr]->console) {
            serial_port_emergency(s->ports[nr], (uint8_t)val);
            return;
        }
    }
}

static void serial_driver_reset(VirtioDevice *v)
{
    VirtioSerial *s = serial_of(v);
    for (unsigned nr = 0; nr < SERIAL_PORTS; nr++) {
        if (s->ports[nr]) {
            serial_set_guest_open(s, nr, false);
            serial_port_reset(s->ports[nr]);
        }
        s->slot[nr] = 0;
        s->out_done[nr] = 0;
    }
    s->ready = s->goes_on = false;
}

/* A driver that knows one port only does not say when it has it open. */
static void serial_started(VirtioDevice *v)
{
    VirtioSerial *s = serial_of(v);
    bool one = !virtio_has(v, SERIAL_F_MULTIPORT);
    s->slot[0] = (s->slot[0] & (uint8_t)~SLOT_GUEST_OPEN) | (one ? SLOT_GUEST_OPEN : 0);
}

static const PciOps serial_pci_ops[VIRTIO_PCI_VARIANTS] = VIRTIO_PCI_OPS(SERIAL_CLASS, 0x1003, 0x078000);

static const VirtioClass serial_class = {
    .id = SERIAL_CLASS,
    .pci = serial_pci_ops,
    .kick = serial_kick,
    .get_config = serial_get_config,
    .config_written = serial_config_written,
    .reset = serial_driver_reset,
    .started = serial_started,
    .config_size = CONFIG_SIZE,
    .elem_size = sizeof(VirtElem),
};

static unsigned count_unnamed(const Device *dev)
{
    unsigned n = 0;
    for (guint i = 0; i < dev->buses->len; i++) {
        const Bus *b = dev->buses->pdata[i];
        n += b->type == &virtio_serial_bus_type && !dev->id;
    }
    for (guint i = 0; i < dev->children->len; i++) {
        n += count_unnamed(dev->children->pdata[i]);
    }
    return n;
}

static bool serial_check(VirtioSerial *s, Error **errp)
{
    if (s->max_ports == 0 || s->max_ports > SERIAL_PORTS) {
        error_fail(errp, "out-of-range", "max_ports", NULL,
                   "max_ports=%u: 1 to %d are possible", s->max_ports, SERIAL_PORTS);
        error_hint(errp, "a device has %d queues; use several of them for more ports", VIRTIO_QUEUES);
        return false;
    }
    if (s->pci_class && s->pci_class != CLASS_COMMUNICATION && s->pci_class != CLASS_DISPLAY &&
        s->pci_class != CLASS_OTHERS) {
        error_fail(errp, "invalid-value", "class", NULL,
                   "class=0x%x is no PCI class of a virtio serial device", s->pci_class);
        error_hint(errp, "0x%x (communication), 0x%x (display), 0x%x (others) and 0 are possible",
                   CLASS_COMMUNICATION, CLASS_DISPLAY, CLASS_OTHERS);
        return false;
    }
    return true;
}

static void serial_remove_listener(void *opaque)
{
    VirtioSerial *s = opaque;
    machine_remove_listener(s->v.dev.machine, &s->listener);
}

static bool serial_realize(Device *dev, Error **errp)
{
    VirtioSerial *s = serial_of(dev_as(VirtioDevice, dev));
    if (!serial_check(s, errp)) {
        return false;
    }
    unsigned unnamed = count_unnamed(dev->machine->root);
    g_autofree char *name = dev->id ? g_strdup_printf("%s.0", dev->id)
                                    : g_strdup_printf("virtio-serial-bus.%u", unnamed);
    s->bus = bus_new(&virtio_serial_bus_type, dev, name, s);
    s->listener = (MachineListener){ .state = serial_runs, .opaque = s };
    machine_add_listener(dev->machine, &s->listener);
    device_add_cleanup(dev, serial_remove_listener, s);
    device_add_task(dev, &s->more, serial_more);
    s->v.features = (s->max_ports > 1 ? SERIAL_F_MULTIPORT : 0) |
                    (s->emergency_write ? SERIAL_F_EMERGENCY_WRITE : 0);
    if (s->v.vectors == VIRTIO_VECTORS_AUTO) { /* as QEMU has it: drivers share one among the queues */
        s->v.vectors = s->max_ports + 1;
    }
    if (!virtio_start(&s->v, &serial_class, 2 * s->max_ports + 2, SERIAL_QUEUE, errp)) {
        return false;
    }
    if (s->pci_class) { /* a property of the PCI types */
        pci_set_word(dev, PCI_CLASS_WORD, (uint16_t)s->pci_class);
    }
    return true;
}

static bool serial_post_load(void *opaque, Error **errp)
{
    VirtioSerial *s = opaque;
    if (!virtio_post_load(&s->v, errp)) {
        return false;
    }
    bool post = s->goes_on;
    for (unsigned nr = 0; nr < SERIAL_PORTS; nr++) {
        if (nr >= s->max_ports && s->slot[nr]) {
            return error_set(errp, "saved state of port %u; there are %u", nr, s->max_ports);
        }
        if (s->ports[nr]) {
            s->out_generation[nr] = serial_queue(s, nr, true)->generation;
            serial_port_reset(s->ports[nr]);
            post |= (s->slot[nr] & SLOT_STALLED) || (s->ready && serial_due(s, nr) != SERIAL_NOTHING);
        } else { /* there was one */
            s->slot[nr] = serial_slot_left(s->slot[nr]);
        }
    }
    if (post) {
        domain_post(&s->more);
    }
    return true;
}

#define SERIAL_FIELDS \
    VM_BOOL(VirtioSerial, ready), VM_BOOL(VirtioSerial, goes_on), VM_U8_ARRAY(VirtioSerial, slot), \
        VM_U64_ARRAY(VirtioSerial, out_done)

VIRTIO_STATES(serial, VirtioSerial, "virtio-serial", 3, 3, 4, 4, SERIAL_FIELDS,
              .post_load = serial_post_load);

#define SERIAL_PROPS \
    PROP_U32(VirtioSerial, max_ports, "max_ports", SERIAL_PORTS, 0, UINT32_MAX, \
             "Ports there may be, 1 to 31"), \
    PROP_BOOL(VirtioSerial, emergency_write, "emergency-write", true, \
              "The guest may write characters to its console before the device is set up")

static const Prop serial_mmio_props[] = { SERIAL_PROPS, { 0 } };
static const Prop serial_pci_props[] = {
    SERIAL_PROPS,
    PROP_U32(VirtioSerial, pci_class, "class", 0, 0, UINT16_MAX,
             "PCI class: 0x0780, 0x0380 or 0x00ff; 0: 0x0780"),
    VIRTIO_PROP_IOEVENTFD(VirtioSerial),
    { 0 },
};
VIRTIO_TYPES(virtio_serial, serial, VirtioSerial, "virtio-serial", "Virtio serial ports", serial_pci_props,
             serial_mmio_props, .category = "Input", .realize = serial_realize);
