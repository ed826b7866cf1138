/* SPDX-License-Identifier: MIT
 * hw/usb/hub.c - usb-hub: more ports, full speed.
 *
 * Models: USB 2.0, chapter 11: hub descriptor, requests (11.24), the status change endpoint (11.12.4), ports
 *         that are reset, enabled, disabled, suspended. All ports are powered together.
 * Does not model: high speed (there is no transaction translator), overcurrent, indicators.
 * Threads: the platform domain.
 */
#include "rhea/hw/usb.h"
#include "rhea/util/errorcode.h"

#include <string.h>

enum { HUB_PORTS = 8, CHANGE_EP = 1 };
enum { /* 11.24.2.7 */
       STAT_CONNECTION = 1 << 0,
       STAT_ENABLE = 1 << 1,
       STAT_SUSPEND = 1 << 2,
       STAT_RESET = 1 << 4,
       STAT_POWER = 1 << 8,
       STAT_LOW_SPEED = 1 << 9
};
enum { /* 11.24.2, table 11-17 */
       PORT_CONNECTION,
       PORT_ENABLE,
       PORT_SUSPEND,
       PORT_RESET = 4,
       PORT_POWER = 8,
       C_PORT_CONNECTION = 16,
       C_PORT_RESET = 20
};
enum { CLEAR_FEATURE = 1, SET_FEATURE = 3, GET_STATUS = 0, GET_DESCRIPTOR = 6 };

typedef struct HubPort {
    UsbPort port;
    uint16_t status, change;
} HubPort;

typedef struct UsbHub {
    UsbDevice u;
    uint32_t n; /* property */
    HubPort ports[HUB_PORTS];
} UsbHub;
#define hub_of(D) usb_device_of(UsbHub, D)

static void set_change(UsbHub *s, HubPort *p, uint16_t bits)
{
    p->change |= bits;
    usb_wakeup(&s->u, CHANGE_EP, true);
}

/* The port is not enabled: what is plugged in waits for a reset. */
static void show_device(HubPort *p)
{
    UsbDevice *d = p->port.dev;
    p->status = STAT_POWER | (d ? STAT_CONNECTION : 0) | (d && d->speed == USB_LOW ? STAT_LOW_SPEED : 0);
    if (d) {
        usb_device_disable(d);
    }
}

static void port_changed(UsbPort *port)
{
    UsbHub *s = port->opaque;
    HubPort *p = &s->ports[port->index];
    bool was = p->status & STAT_ENABLE;
    show_device(p);
    set_change(s, p, STAT_CONNECTION | (was ? STAT_ENABLE : 0));
}

/* ---- requests (11.24) ---- */

static bool hub_descriptor(const UsbHub *s, uint8_t *data, unsigned *len)
{
    uint8_t b[9] = {
        9, USB_DT_HUB, (uint8_t)s->n, 0x0a, 0, 1, 0, 0, 0xff
    }; /* no power switching, no overcurrent */
    memcpy(data, b, sizeof(b));
    *len = sizeof(b);
    return true;
}

static void reset_port(UsbHub *s, HubPort *p)
{
    if (p->port.dev) {
        usb_device_reset(p->port.dev);
        p->status |= STAT_ENABLE;
        p->status &= ~STAT_SUSPEND;
        set_change(s, p, STAT_RESET);
    }
}

static bool port_feature(UsbHub *s, HubPort *p, unsigned feature, bool set)
{
    switch (feature) {
    case PORT_RESET:
        if (set) {
            reset_port(s, p);
        }
        return set;
    case PORT_SUSPEND:
        p->status = set ? p->status | STAT_SUSPEND : p->status & ~STAT_SUSPEND;
        if (!set) {
            set_change(s, p, STAT_SUSPEND);
        }
        return true;
    case PORT_ENABLE:
        if (!set && (p->status & STAT_ENABLE)) {
            show_device(p);
        }
        return !set;
    case PORT_POWER: return true;
    default:
        if (set || feature < C_PORT_CONNECTION || feature > C_PORT_RESET) {
            return false;
        }
        p->change &= ~(1u << (feature - C_PORT_CONNECTION));
        return true;
    }
}

static bool hub_control(UsbDevice *d, const UsbSetup *r, uint8_t *data, unsigned *len)
{
    UsbHub *s = hub_of(d);
    unsigned nr = r->index & 0xff;
    HubPort *p = nr >= 1 && nr <= s->n ? &s->ports[nr - 1] : NULL;
    *len = 0;
    switch (r->type << 8 | r->request) {
    case 0xa000 | GET_DESCRIPTOR: return r->value >> 8 == USB_DT_HUB && hub_descriptor(s, data, len);
    case 0xa000 | GET_STATUS:
        memset(data, 0, 4);
        *len = 4;
        return true;
    case 0x2000 | SET_FEATURE:
    case 0x2000 | CLEAR_FEATURE: return r->value <= 1;
    case 0xa300 | GET_STATUS:
        if (!p) {
            return false;
        }
        data[0] = (uint8_t)p->status;
        data[1] = p->status >> 8;
        data[2] = (uint8_t)p->change;
        data[3] = p->change >> 8;
        *len = 4;
        return true;
    case 0x2300 | SET_FEATURE:
    case 0x2300 | CLEAR_FEATURE: return p && port_feature(s, p, r->value, r->request == SET_FEATURE);
    default: return false;
    }
}

/* 11.12.4: a bit for each port, from 1. */
static UsbResult hub_data(UsbDevice *d, UsbPacket *p)
{
    UsbHub *s = hub_of(d);
    unsigned bits = 0, n = (s->n + 8) / 8;
    for (unsigned i = 0; i < s->n; i++) {
        bits |= s->ports[i].change ? 2u << i : 0;
    }
    if (!bits) {
        return USB_NAK;
    }
    p->actual = MIN(n, p->len);
    for (unsigned i = 0; i < p->actual; i++) {
        p->data[i] = (uint8_t)(bits >> 8 * i);
    }
    return n > p->len ? USB_BABBLE : USB_OK;
}

static void hub_reset(UsbDevice *d)
{
    UsbHub *s = hub_of(d);
    for (unsigned i = 0; i < s->n; i++) {
        show_device(&s->ports[i]);
        s->ports[i].change = s->ports[i].port.dev ? STAT_CONNECTION : 0;
    }
}

/* ---- life ---- */

static const uint8_t full_config[] = {
    9,
    USB_DT_CONFIG,
    25,
    0,
    1,
    1,
    0,
    0xe0,
    0,
    9,
    USB_DT_INTERFACE,
    0,
    0,
    1,
    9,
    0,
    0,
    0,
    7,
    USB_DT_ENDPOINT,
    0x80 | CHANGE_EP,
    3,
    2,
    0,
    0xff,
};
static const UsbDesc hub_desc = {
    .vendor = 0x0409,
    .product = 0x55aa,
    .release = 0x0101,
    .device_class = 9,
    .strings = { NULL, "QEMU", "QEMU USB Hub", "314159" },
    .config = { [USB_FULL] = { full_config, sizeof(full_config) } },
};

static void hub_fini(void *opaque)
{
    UsbHub *s = opaque;
    for (unsigned i = s->n; i; i--) {
        usb_port_remove(&s->ports[i - 1].port);
    }
}

static bool hub_realize(Device *dev, Error **errp)
{
    UsbHub *s = hub_of(dev);
    if (s->n < 1 || s->n > HUB_PORTS) {
        return error_fail(errp, "out-of-range", "ports", "use several hubs", "ports=%u: 1 to %d are possible",
                          s->n, HUB_PORTS);
    }
    if (usb_port_tier(s->u.port) >= USB_HUBS) {
        return error_fail(errp, "out-of-range", "port", "plug it in nearer to the controller",
                          "a hub at port %s: there are %d in a row at most", s->u.port->path, USB_HUBS);
    }
    s->u.is_hub = true;
    usb_device_init(&s->u, &hub_desc);
    for (unsigned i = 0; i < s->n; i++) {
        usb_port_add(s->u.port->bus, &s->ports[i].port, &s->u, i, 1 << USB_LOW | 1 << USB_FULL, port_changed,
                     s);
    }
    device_add_cleanup(dev, hub_fini, s);
    return true;
}

static const UsbClass hub_class = { .control = hub_control, .data = hub_data, .reset = hub_reset };

static const VmField port_fields[] = { VM_U16(HubPort, status), VM_U16(HubPort, change), { 0 } };
static const VmState port_state = {
    .name = "usb-hub-port", .version = 1, .oldest = 1, .fields = port_fields
};
static const VmField hub_fields[] = { VM_STRUCT_ARRAY(UsbHub, ports, port_state), { 0 } };
static const VmState hub_state = { .name = "usb-hub", .version = 1, .oldest = 1, .fields = hub_fields };

static const Prop hub_props[] = {
    PROP_U32(UsbHub, n, "ports", HUB_PORTS, 0, UINT32_MAX, "Ports, 1 to 8"),
    PROP_ONLY_BOOL("port-power", false, "the ports have power always", "leave it out"),
    { 0 },
};

const DeviceType usb_hub_type = {
    .name = "usb-hub",
    .desc = "USB hub, full speed",
    .size = sizeof(UsbHub),
    .base = &usb_device_type,
    .bus_type = &usb_bus_type,
    .bus_ops = &hub_class,
    .category = "Bridge",
    .props = hub_props,
    .vmstate = &hub_state,
    .realize = hub_realize,
};
