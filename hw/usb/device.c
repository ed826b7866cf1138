/* SPDX-License-Identifier: MIT
 * hw/usb/device.c - what all USB devices have in common: control transfers, chapter 9's requests and
 * descriptors, halted endpoints.
 *
 * Models: USB 2.0, chapter 9 and 8.5.3 (control transfers); USB 3.0, 9.4 and 9.6.2 as far as there are
 * devices for it (BOS, SET_SEL, SET_ISOCH_DELAY). One configuration, interfaces without other settings.
 * Threads: the platform domain.
 */
#include "rhea/hw/usb.h"

#include <string.h>

enum { STAGE_IDLE, STAGE_IN, STAGE_OUT, STAGE_STALLED, STAGES };
enum {
    GET_STATUS,
    CLEAR_FEATURE,
    SET_FEATURE = 3,
    SET_ADDRESS = 5,
    GET_DESCRIPTOR,
    SET_DESCRIPTOR,
    GET_CONFIGURATION,
    SET_CONFIGURATION,
    GET_INTERFACE,
    SET_INTERFACE,
    SYNCH_FRAME,
    SET_SEL = 48,
    SET_ISOCH_DELAY = 49
};
enum { FEATURE_HALT = 0, FEATURE_REMOTE_WAKEUP = 1, FEATURE_U1 = 48, FEATURE_LTM = 50 };
enum { CONFIG_HEAD = 9, CONFIG_ATTRIBUTES = 7, SELF_POWERED = 0x40, CAN_WAKE = 0x20, STRING_SERIAL = 3 };

static uint32_t ep_bit(unsigned ep, bool in)
{
    return 1u << ((ep & 15) + (in ? 16 : 0));
}

bool usb_endpoint_halted(const UsbDevice *d, unsigned ep, bool in)
{
    return d->halted & ep_bit(ep, in);
}

void usb_halt_endpoint(UsbDevice *d, unsigned ep, bool in)
{
    d->halted |= ep_bit(ep, in);
}

/* ---- descriptors (9.6) ---- */

static const uint8_t *config_bytes(const UsbDevice *d)
{
    return d->desc->config[d->speed].bytes;
}

/* Does the configuration have that endpoint? */
static bool has_endpoint(const UsbDevice *d, unsigned ep, bool in)
{
    const uint8_t *b = config_bytes(d);
    size_t len = d->desc->config[d->speed].len;
    for (size_t i = 0; i + 2 < len && b[i]; i += b[i]) {
        if (b[i + 1] == USB_DT_ENDPOINT && b[i + 2] == (ep | (in ? 0x80 : 0))) {
            return true;
        }
    }
    return false;
}

static unsigned interfaces(const UsbDevice *d)
{
    return config_bytes(d)[4];
}

static unsigned put_device(const UsbDevice *d, uint8_t *out)
{
    const UsbDesc *desc = d->desc;
    static const uint16_t versions[USB_SPEEDS] = { 0x0110, 0x0200, 0x0200, 0x0300 };
    static const uint8_t packet[USB_SPEEDS] = { 8, 64, 64, 9 };
    uint16_t v = versions[d->speed];
    uint8_t bytes[18] = { 18,
                          USB_DT_DEVICE,
                          (uint8_t)v,
                          v >> 8,
                          desc->device_class,
                          desc->subclass,
                          desc->protocol,
                          packet[d->speed],
                          (uint8_t)desc->vendor,
                          desc->vendor >> 8,
                          (uint8_t)desc->product,
                          desc->product >> 8,
                          (uint8_t)desc->release,
                          desc->release >> 8,
                          1,
                          2,
                          d->serial ? STRING_SERIAL : 0,
                          1 };
    memcpy(out, bytes, sizeof(bytes));
    return sizeof(bytes);
}

static unsigned put_config(const UsbDevice *d, UsbSpeed speed, uint8_t type, uint8_t *out)
{
    size_t len = d->desc->config[speed].len;
    memcpy(out, d->desc->config[speed].bytes, len);
    out[1] = type;
    out[2] = (uint8_t)len;
    out[3] = (uint8_t)(len >> 8);
    return (unsigned)len;
}

/* String 0: the languages, U.S. English is the one. */
static unsigned put_string(const UsbDevice *d, unsigned n, uint8_t *out)
{
    static const uint8_t languages[] = { 4, USB_DT_STRING, 0x09, 0x04 };
    const char *s = n == STRING_SERIAL ? d->serial : n && n < USB_STRINGS ? d->desc->strings[n] : NULL;
    if (n == 0) {
        memcpy(out, languages, sizeof(languages));
        return sizeof(languages);
    }
    unsigned len = s ? (unsigned)MIN(strlen(s), 126) : 0;
    for (unsigned i = 0; i < len; i++) {
        out[2 + 2 * i] = (uint8_t)s[i];
        out[3 + 2 * i] = 0;
    }
    out[0] = (uint8_t)(2 + 2 * len);
    out[1] = USB_DT_STRING;
    return s ? 2 + 2 * len : 0;
}

/* 9.6.2: what the device would be at its other speed. */
static unsigned put_qualifier(const UsbDevice *d, uint8_t *out)
{
    const UsbDesc *desc = d->desc;
    uint8_t bytes[10] = { 10, USB_DT_QUALIFIER, 0, 2, desc->device_class, desc->subclass, desc->protocol, 64,
                          1 };
    memcpy(out, bytes, sizeof(bytes));
    return sizeof(bytes);
}

/* USB 3.0, 9.6.2: a USB 2.0 extension, and SuperSpeed: full speed is the lowest that all functions have. */
static unsigned put_bos(const UsbDevice *d, uint8_t *out)
{
    static const uint8_t bytes[] = { 5, USB_DT_BOS, 22, 0, 2, 7,    16, 2, 0,  0,    0,
                                     0, 10,         16, 3, 0, 0x0e, 0,  1, 10, 0xff, 0x07 };
    if (d->speed != USB_SUPER) {
        return 0;
    }
    memcpy(out, bytes, sizeof(bytes));
    return sizeof(bytes);
}

/* 0: there is none. */
static unsigned put_descriptor(const UsbDevice *d, unsigned type, unsigned n, uint8_t *out)
{
    bool both = d->desc->config[USB_FULL].bytes && d->desc->config[USB_HIGH].bytes && d->speed != USB_SUPER;
    switch (type) {
    case USB_DT_DEVICE: return put_device(d, out);
    case USB_DT_CONFIG: return n == 0 ? put_config(d, d->speed, USB_DT_CONFIG, out) : 0;
    case USB_DT_STRING: return put_string(d, n, out);
    case USB_DT_QUALIFIER: return both ? put_qualifier(d, out) : 0;
    case USB_DT_OTHER_SPEED:
        return both && n == 0
                   ? put_config(d, d->speed == USB_FULL ? USB_HIGH : USB_FULL, USB_DT_OTHER_SPEED, out)
                   : 0;
    case USB_DT_BOS: return put_bos(d, out);
    default: return 0;
    }
}

/* ---- requests (9.4) ---- */

static bool set_config(UsbDevice *d, unsigned n)
{
    if (n > 1) {
        return false;
    }
    d->config = (uint8_t)n;
    d->halted = 0;
    d->class->reset(d);
    return true;
}

static bool endpoint_known(const UsbDevice *d, unsigned index)
{
    return !(index & 0xff70) &&
           ((index & 15) == 0 || (d->config && has_endpoint(d, index & 15, index & 0x80)));
}

static bool get_status(const UsbDevice *d, const UsbSetup *s, uint8_t *data, unsigned *len)
{
    data[0] = data[1] = 0;
    *len = 2;
    switch (s->type & USB_RECIPIENT) {
    case USB_TO_DEVICE:
        data[0] = (config_bytes(d)[CONFIG_ATTRIBUTES] & SELF_POWERED ? 1 : 0) | (d->remote_wakeup ? 2 : 0);
        return true;
    case USB_TO_INTERFACE: return d->config && s->index < interfaces(d);
    case USB_TO_ENDPOINT:
        data[0] = usb_endpoint_halted(d, s->index & 15, s->index & 0x80);
        return endpoint_known(d, s->index);
    default: return false;
    }
}

static bool set_feature(UsbDevice *d, const UsbSetup *s, bool on)
{
    unsigned to = s->type & USB_RECIPIENT;
    if (to == USB_TO_DEVICE && s->value == FEATURE_REMOTE_WAKEUP) {
        d->remote_wakeup = on;
        return config_bytes(d)[CONFIG_ATTRIBUTES] & CAN_WAKE;
    }
    if (d->speed == USB_SUPER && to != USB_TO_ENDPOINT) { /* link states, function suspend: nothing to do */
        return (to == USB_TO_DEVICE && s->value >= FEATURE_U1 && s->value <= FEATURE_LTM) ||
               (to == USB_TO_INTERFACE && s->value == 0);
    }
    if (to != USB_TO_ENDPOINT || s->value != FEATURE_HALT || !endpoint_known(d, s->index)) {
        return false;
    }
    unsigned ep = s->index & 15;
    bool in = s->index & 0x80;
    if (ep == 0) {
        return true;
    }
    d->halted = on ? d->halted | ep_bit(ep, in) : d->halted & ~ep_bit(ep, in);
    if (!on && d->class->halt_cleared) {
        d->class->halt_cleared(d, ep, in);
    }
    return true;
}

static bool standard_request(UsbDevice *d, const UsbSetup *s, uint8_t *data, unsigned *len)
{
    unsigned n = *len;
    *len = 0;
    switch (s->type << 8 | s->request) {
    case 0x8000 | GET_STATUS:
    case 0x8100 | GET_STATUS:
    case 0x8200 | GET_STATUS: return get_status(d, s, data, len);
    case CLEAR_FEATURE:
    case 0x100 | CLEAR_FEATURE:
    case 0x200 | CLEAR_FEATURE: return set_feature(d, s, false);
    case SET_FEATURE:
    case 0x100 | SET_FEATURE:
    case 0x200 | SET_FEATURE: return set_feature(d, s, true);
    case SET_ADDRESS:
        if (s->value > 127) {
            return false;
        }
        d->addr = (uint8_t)s->value; /* the request is executed when its status stage ends */
        return true;
    case 0x8000 | GET_DESCRIPTOR:
        *len = put_descriptor(d, s->value >> 8, s->value & 0xff, data);
        if (*len) {
            return true;
        }
        break;
    case 0x8000 | GET_CONFIGURATION:
        data[0] = d->config;
        *len = 1;
        return true;
    case SET_CONFIGURATION: return set_config(d, s->value & 0xff);
    case 0x8100 | GET_INTERFACE:
        data[0] = 0;
        *len = 1;
        return d->config && s->index < interfaces(d);
    case 0x100 | SET_INTERFACE: return d->config && s->index < interfaces(d) && s->value == 0;
    case SET_SEL: return d->speed == USB_SUPER;
    case SET_ISOCH_DELAY: return d->speed == USB_SUPER;
    default: break;
    }
    *len = n;
    return d->class->control && d->class->control(d, s, data, len);
}

/* ---- control transfers (8.5.3) ---- */

static UsbSetup parse_setup(const uint8_t *b)
{
    return (UsbSetup){ b[0], b[1], (uint16_t)(b[2] | b[3] << 8), (uint16_t)(b[4] | b[5] << 8),
                       (uint16_t)(b[6] | b[7] << 8) };
}

/* The request itself. */
static bool execute(UsbDevice *d)
{
    UsbSetup s = parse_setup(d->setup);
    unsigned len = d->setup_pos;
    bool ok = s.type & USB_TYPE_MASK ? d->class->control && d->class->control(d, &s, d->control, &len)
                                     : standard_request(d, &s, d->control, &len);
    if (s.type & USB_TO_HOST) {
        d->setup_len = (uint16_t)MIN(ok ? MIN(len, USB_CONTROL_MAX) : 0, s.length);
    }
    return ok;
}

static UsbResult setup_stage(UsbDevice *d, UsbPacket *p)
{
    if (p->len != sizeof(d->setup)) {
        return USB_STALL;
    }
    memcpy(d->setup, p->data, sizeof(d->setup));
    UsbSetup s = parse_setup(d->setup);
    p->actual = p->len;
    d->setup_len = s.length;
    d->setup_pos = 0;
    if (s.type & USB_TO_HOST) {
        d->stage = execute(d) ? STAGE_IN : STAGE_STALLED;
    } else {
        d->stage = s.length > USB_CONTROL_MAX ? STAGE_STALLED : STAGE_OUT;
    }
    return USB_OK;
}

static UsbResult data_in(UsbDevice *d, UsbPacket *p)
{
    unsigned n = MIN(p->len, (unsigned)(d->setup_len - d->setup_pos));
    memcpy(p->data, d->control + d->setup_pos, n);
    d->setup_pos += n;
    p->actual = n;
    return USB_OK;
}

static UsbResult data_out(UsbDevice *d, UsbPacket *p)
{
    if (p->len > (unsigned)(d->setup_len - d->setup_pos)) {
        d->stage = STAGE_STALLED;
        return USB_STALL;
    }
    memcpy(d->control + d->setup_pos, p->data, p->len);
    d->setup_pos += p->len;
    p->actual = p->len;
    return USB_OK;
}

static UsbResult control_packet(UsbDevice *d, UsbPacket *p)
{
    if (p->pid == USB_SETUP) {
        return setup_stage(d, p);
    }
    bool in = p->pid == USB_IN;
    if (d->stage == STAGE_IN && in) {
        return data_in(d, p);
    }
    if (d->stage == STAGE_OUT && !in && d->setup_len) {
        return data_out(d, p);
    }
    bool ok = d->stage == STAGE_IN; /* OUT: the status, and may come early */
    if (d->stage == STAGE_OUT && in) {
        ok = d->setup_pos == d->setup_len && execute(d);
    }
    d->stage = ok ? STAGE_IDLE : STAGE_STALLED;
    return ok ? USB_OK : USB_STALL;
}

/* ---- packets ---- */

/* So do all hubs between it and the controller. */
static bool answers(const UsbDevice *d)
{
    while (d->port && d->ready && d->port->hub) {
        d = d->port->hub;
    }
    return d->port && d->ready;
}

static UsbResult route_packet(UsbDevice *d, UsbPacket *p)
{
    bool in = p->pid == USB_IN;
    if (!answers(d)) {
        return USB_ERROR;
    }
    if (p->ep == 0) {
        return control_packet(d, p);
    }
    if (p->pid == USB_SETUP || !d->config || !has_endpoint(d, p->ep, in)) {
        return USB_ERROR;
    }
    return usb_endpoint_halted(d, p->ep, in) ? USB_STALL : d->class->data(d, p);
}

UsbResult usb_handle_packet(UsbDevice *d, UsbPacket *p)
{
    p->actual = 0;
    p->dev = NULL;
    p->result = route_packet(d, p);
    if (p->result == USB_ASYNC) {
        p->dev = d;
    }
    return p->result;
}

void usb_packet_done(UsbPacket *p, UsbResult r)
{
    p->result = r;
    p->dev = NULL;
    p->done(p);
}

void usb_cancel_packet(UsbPacket *p)
{
    if (p->dev) {
        p->dev->class->cancel(p->dev, p);
        p->dev = NULL;
    }
}

void usb_wakeup(UsbDevice *d, unsigned ep, bool in)
{
    if (d->port && d->port->dev == d) {
        d->port->bus->ops->wakeup(d->port->bus, d, ep, in);
    }
}

void usb_device_set_address(UsbDevice *d, uint8_t addr)
{
    d->addr = addr;
}

static void forget(UsbDevice *d)
{
    d->addr = d->config = d->stage = 0;
    d->setup_len = d->setup_pos = 0;
    d->remote_wakeup = false;
    d->halted = 0;
    memset(d->setup, 0, sizeof(d->setup));
    memset(d->control, 0, sizeof(d->control));
}

void usb_device_reset(UsbDevice *d)
{
    forget(d);
    d->ready = true;
    d->class->reset(d);
}

void usb_device_disable(UsbDevice *d)
{
    d->ready = false;
}

/* ---- life ---- */

void usb_device_init(UsbDevice *d, const UsbDesc *desc)
{
    const UsbChild *c = d->dev.bus_data;
    d->desc = desc;
    d->class = d->dev.type->bus_ops;
    d->serial = c->serial ? c->serial : (char *)desc->strings[STRING_SERIAL];
}

static void device_reset_(Device *dev, ResetKind kind G_GNUC_UNUSED)
{
    UsbDevice *d = usb_device_of(UsbDevice, dev);
    forget(d);
    d->ready = d->speed == USB_SUPER; /* whose link needs no reset signal */
    d->class->reset(d);
}

static bool device_post_load(void *opaque, Error **errp)
{
    const UsbDevice *d = opaque;
    if (d->setup_pos > d->setup_len || d->setup_len > USB_CONTROL_MAX) {
        bool out_of_in = d->stage == STAGE_STALLED && d->setup_pos <= d->setup_len;
        if (!out_of_in) {
            return error_set(errp, "the saved control transfer of a USB device contradicts itself");
        }
    }
    return true;
}

static const VmField device_fields[] = {
    VM_U8_MAX(UsbDevice, addr, 127),
    VM_U8_MAX(UsbDevice, config, 1),
    VM_BOOL(UsbDevice, remote_wakeup),
    VM_BOOL(UsbDevice, ready),
    VM_U32(UsbDevice, halted),
    VM_U8_ARRAY(UsbDevice, setup),
    VM_U8_MAX(UsbDevice, stage, STAGES - 1),
    VM_U16(UsbDevice, setup_len),
    VM_U16(UsbDevice, setup_pos),
    VM_U8_ARRAY(UsbDevice, control),
    { 0 },
};
static const VmState device_state = {
    .name = "usb-device",
    .version = 1,
    .oldest = 1,
    .fields = device_fields,
    .post_load = device_post_load,
};

const DeviceType usb_device_type = {
    .name = "usb-device",
    .size = sizeof(UsbDevice),
    .internal = true,
    .bus_type = &usb_bus_type,
    .category = "USB",
    .vmstate = &device_state,
    .reset = device_reset_,
};
