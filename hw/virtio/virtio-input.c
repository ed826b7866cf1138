/* SPDX-License-Identifier: MIT
 * hw/virtio/virtio-input.c - keyboard, mouse and tablet: `-device virtio-keyboard-pci`, virtio-mouse-pci,
 *   virtio-tablet-pci; on boards with transports in memory virtio-keyboard-device and so on.
 *
 * Models: virtio 1.2, 5.8 (input device): events and their codes are Linux's (evdev). The guest's input comes
 *         here while a driver works, and goes back when it ends. Events that find no buffer wait,
 * INPUT_WAITING of them; further ones are dropped in whole groups (5.8.6.2), but no key stays down for it.
 * Does not model: several fingers, force feedback.
 * Threads: the device's domain.
 */
#include "rhea/system/machine.h"
#include "rhea/ui/input.h"
#include "rhea/util/errorcode.h"
#include "rhea/hw/virtio-types.h"

#include <linux/input-event-codes.h>
#include <string.h>

enum {
    INPUT_CLASS = 18,
    INPUT_QUEUE = 64,
    INPUT_WAITING = 256,
    INPUT_EVENT = 8,
    INPUT_GROUP = 16,
    INPUT_TURN = 256
};
enum {
    INPUT_CONFIG_HEAD = 8,
    INPUT_CONFIG = INPUT_CONFIG_HEAD + 128,
    INPUT_VENDOR = 0x0627,
    BUS_VIRTUAL_ID = 6
};
enum { EVENTQ, STATUSQ, INPUT_QUEUES };
/* 5.8.4 */
enum { CFG_NAME = 0x01, CFG_SERIAL = 0x02, CFG_IDS = 0x03, CFG_EV_BITS = 0x11, CFG_ABS = 0x12 };

/* What kind of device a type is; product is its number for drivers. */
typedef struct InputModel {
    const char *name;
    uint16_t product;
    InputHandlerOps handler;
} InputModel;

typedef struct VirtioInput {
    VirtioDevice v;
    char *serial, *display; /* properties */
    uint32_t head;
    int legacy;
    bool no_modern, wheel_axis;
    InputHandler *handler;
    const InputModel *model;
    DomainTask more;
    uint8_t select, subsel;
    Fifo8 waiting;             /* events, 8 bytes each as the driver gets them */
    bool group;                /* one is being made */
    bool dropping;             /* no room for this group, which goes */
    uint8_t down[KEY_CNT / 8]; /* what is pressed */
    uint8_t told[KEY_CNT / 8]; /* as the driver will know once it has all that waits */
    uint8_t leds;              /* bits 1 << LED_* */
} VirtioInput;
#define input_of(V) ((VirtioInput *)(V))

static bool bit_test(const uint8_t *bits, unsigned n)
{
    return bits[n / 8] >> (n % 8) & 1;
}

static void bit_set(uint8_t *bits, unsigned n, bool on)
{
    bits[n / 8] = (bits[n / 8] & ~(1 << n % 8)) | (unsigned)on << n % 8;
}

/* ---- events ---- */

static void input_push(VirtioInput *s, uint16_t type, uint16_t code, int32_t value)
{
    struct {
        uint16_t type, code;
        uint32_t value;
    } e = { GUINT16_TO_LE(type), GUINT16_TO_LE(code), GUINT32_TO_LE((uint32_t)value) };
    const uint8_t *bytes = (const uint8_t *)&e;
    for (unsigned i = 0; i < INPUT_EVENT; i++) {
        fifo8_push(&s->waiting, bytes[i]);
    }
    if (type == EV_KEY) {
        bit_set(s->told, code, value);
    }
}

/* One of a group: at its beginning there is room for a usual one, later at least for what ends it. */
static void input_add(VirtioInput *s, uint16_t type, uint16_t code, int32_t value)
{
    unsigned need = s->group ? 2 : INPUT_GROUP;
    if (s->dropping || fifo8_room(&s->waiting) < need * INPUT_EVENT) {
        s->dropping = true;
        return;
    }
    input_push(s, type, code, value);
    s->group = true;
}

/* Keys whose release was dropped come up as soon as there is room; presses that were dropped stay so. */
static void input_catch_up(VirtioInput *s)
{
    if (memcmp(s->told, s->down, sizeof(s->told)) == 0) {
        return;
    }
    bool any = false;
    for (unsigned k = 0; k < KEY_CNT && fifo8_room(&s->waiting) >= 2 * INPUT_EVENT; k++) {
        if (bit_test(s->told, k) && !bit_test(s->down, k)) {
            input_push(s, EV_KEY, (uint16_t)k, 0);
            any = true;
        }
    }
    if (any) {
        input_push(s, EV_SYN, SYN_REPORT, 0);
    }
}

/* An event for each buffer, while there are both. */
static void input_deliver(void *opaque)
{
    VirtioInput *s = opaque;
    VirtQueue *q = &s->v.q[EVENTQ];
    VirtElem *e = NULL;
    unsigned turn = 0;
    do {
        while (fifo8_used(&s->waiting) >= INPUT_EVENT && (e = virtq_pop(&s->v, q)) != NULL) {
            uint8_t event[INPUT_EVENT];
            bool fits = e->in.bytes >= INPUT_EVENT; /* 5.8.6.1 wants that; another one comes back empty */
            for (unsigned i = 0; fits && i < INPUT_EVENT; i++) {
                event[i] = fifo8_pop_or(&s->waiting, 0);
            }
            if (fits) {
                iov_from_buf(&e->in, 0, event, INPUT_EVENT);
            }
            virtq_push(&s->v, e, fits ? INPUT_EVENT : 0);
            if (++turn >= INPUT_TURN) {
                domain_post(&s->more);
                return;
            }
        }
        if (!fifo8_used(&s->waiting)) {
            input_catch_up(s);
        }
    } while (fifo8_used(&s->waiting) && virtq_rearm(&s->v, q));
}

static void input_key(VirtioInput *s, unsigned code, bool down)
{
    if (bit_test(s->down, code) == down) {
        return; /* a repetition: the guest repeats by itself */
    }
    bit_set(s->down, code, down);
    if (bit_test(s->told, code) != down) {
        input_add(s, EV_KEY, (uint16_t)code, down);
    }
}

static void input_button(VirtioInput *s, unsigned button, bool down)
{
    static const uint16_t codes[POINTER_BUTTONS] = {
        [POINTER_LEFT] = BTN_LEFT,
        [POINTER_MIDDLE] = BTN_MIDDLE,
        [POINTER_RIGHT] = BTN_RIGHT,
        [POINTER_SIDE] = BTN_SIDE,
        [POINTER_EXTRA] = BTN_EXTRA,
        [POINTER_WHEEL_UP] = BTN_GEAR_UP,
        [POINTER_WHEEL_DOWN] = BTN_GEAR_DOWN,
    };
    static const struct {
        uint16_t axis;
        int8_t step;
    } wheel[POINTER_BUTTONS] = {
        [POINTER_WHEEL_UP] = { REL_WHEEL, 1 },
        [POINTER_WHEEL_DOWN] = { REL_WHEEL, -1 },
        [POINTER_WHEEL_LEFT] = { REL_HWHEEL, -1 },
        [POINTER_WHEEL_RIGHT] = { REL_HWHEEL, 1 },
    };
    if (s->wheel_axis && wheel[button].step) {
        if (down) {
            input_add(s, EV_REL, wheel[button].axis, wheel[button].step);
        }
    } else if (codes[button]) {
        input_key(s, codes[button], down);
    }
}

static void input_event(void *opaque, const UiEvent *e)
{
    VirtioInput *s = opaque;
    switch (e->kind) {
    case INPUT_KIND_KEY:
        if (input_key_evdev(e->code)) {
            input_key(s, input_key_evdev(e->code), e->down);
        }
        break;
    case INPUT_KIND_BUTTON: input_button(s, e->code, e->down); break;
    case INPUT_KIND_REL: input_add(s, EV_REL, e->code ? REL_Y : REL_X, e->value); break;
    default: input_add(s, EV_ABS, e->code ? ABS_Y : ABS_X, e->value); break;
    }
}

static void input_sync(void *opaque)
{
    VirtioInput *s = opaque;
    if (s->group) {
        input_push(s, EV_SYN, SYN_REPORT, 0);
    }
    s->group = s->dropping = false;
    input_deliver(s);
}

/* A key is an event and the end of a group. */
static unsigned input_room(void *opaque)
{
    const VirtioInput *s = opaque;
    unsigned room = fifo8_room(&s->waiting) / INPUT_EVENT;
    return room < INPUT_GROUP ? 0 : (room - INPUT_GROUP) / 2 + 1;
}

/* ---- what the driver says ---- */

static void input_set_leds(VirtioInput *s, uint8_t leds)
{
    s->leds = leds;
    input_handler_leds(s->handler, (leds >> LED_SCROLLL & 1) | (leds >> LED_NUML & 1) << 1 |
                                       (leds >> LED_CAPSL & 1) << 2);
}

static void input_status(VirtioInput *s)
{
    VirtQueue *q = &s->v.q[STATUSQ];
    VirtElem *e;
    unsigned turn = 0;
    do {
        while ((e = virtq_pop(&s->v, q)) != NULL) {
            struct {
                uint16_t type, code;
                uint32_t value;
            } event = { 0 };
            if (e->out.bytes >= sizeof(event)) {
                iov_to_buf(&e->out, 0, &event, sizeof(event));
            }
            if (GUINT16_FROM_LE(event.type) == EV_LED && GUINT16_FROM_LE(event.code) <= LED_SCROLLL) {
                unsigned bit = 1u << GUINT16_FROM_LE(event.code);
                input_set_leds(s, (uint8_t)(event.value ? s->leds | bit : s->leds & ~bit));
            }
            virtq_push(&s->v, e, 0);
            if (++turn >= INPUT_TURN) {
                domain_post(&s->more);
                return;
            }
        }
    } while (virtq_rearm(&s->v, q));
}

static void input_more(void *opaque)
{
    input_deliver(opaque);
    input_status(opaque);
}

static void input_kick(VirtioDevice *v, VirtQueue *q)
{
    if (q == &v->q[EVENTQ]) {
        input_deliver(input_of(v));
    } else {
        input_status(input_of(v));
    }
}

static void input_started(VirtioDevice *v)
{
    input_handler_activate(input_of(v)->handler, true);
}

static void input_driver_reset(VirtioDevice *v)
{
    VirtioInput *s = input_of(v);
    input_handler_activate(s->handler, false);
    input_set_leds(s, 0);
    fifo8_clear(&s->waiting);
    s->select = s->subsel = 0;
    s->group = s->dropping = false;
    memset(s->down, 0, sizeof(s->down));
    memset(s->told, 0, sizeof(s->told));
}

/* ---- configuration (5.8.5) ---- */

static size_t config_text(uint8_t *out, const char *text)
{
    size_t n = text ? MIN(strlen(text), INPUT_CONFIG - INPUT_CONFIG_HEAD) : 0;
    memcpy(out, text ? text : "", n);
    return n;
}

/* The bits' length: up to the last byte that is not 0. */
static size_t bits_size(const uint8_t *bits)
{
    size_t n = INPUT_CONFIG - INPUT_CONFIG_HEAD;
    while (n && !bits[n - 1]) {
        n--;
    }
    return n;
}

static void pointer_buttons(const VirtioInput *s, uint8_t *out)
{
    static const uint16_t buttons[] = { BTN_LEFT, BTN_RIGHT, BTN_MIDDLE, BTN_SIDE, BTN_EXTRA };
    for (unsigned i = 0; i < G_N_ELEMENTS(buttons); i++) {
        bit_set(out, buttons[i], true);
    }
    if (!s->wheel_axis) {
        bit_set(out, BTN_GEAR_UP, true);
        bit_set(out, BTN_GEAR_DOWN, true);
    }
}

/* Which events of a type there are. */
static size_t config_events(const VirtioInput *s, uint8_t *out)
{
    unsigned kinds = s->model->handler.kinds;
    bool keys = kinds & 1 << INPUT_KIND_KEY;
    switch (s->subsel) {
    case EV_KEY:
        for (unsigned k = 0; keys && k < INPUT_KEYS; k++) {
            bit_set(out, input_key_evdev(k), input_key_evdev(k) != 0);
        }
        if (!keys) {
            pointer_buttons(s, out);
        }
        break;
    case EV_REL:
        if (kinds & 1 << INPUT_KIND_REL) {
            bit_set(out, REL_X, true);
            bit_set(out, REL_Y, true);
        }
        if (!keys && s->wheel_axis) {
            bit_set(out, REL_WHEEL, true);
            bit_set(out, REL_HWHEEL, true);
        }
        break;
    case EV_ABS:
        if (kinds & 1 << INPUT_KIND_ABS) {
            bit_set(out, ABS_X, true);
            bit_set(out, ABS_Y, true);
        }
        break;
    case EV_LED: *out = keys ? 1 << LED_NUML | 1 << LED_CAPSL | 1 << LED_SCROLLL : 0; break;
    case EV_REP: return keys ? 1 : 0; /* the guest repeats, with delays of its own */
    }
    return bits_size(out);
}

static size_t config_ids(const VirtioInput *s, uint8_t *out)
{
    uint16_t ids[4] = { GUINT16_TO_LE(BUS_VIRTUAL_ID), GUINT16_TO_LE(INPUT_VENDOR),
                        GUINT16_TO_LE(s->model->product), GUINT16_TO_LE(1) };
    memcpy(out, ids, sizeof(ids));
    return sizeof(ids);
}

static size_t config_axis(const VirtioInput *s, uint8_t *out)
{
    uint32_t info[5] = { 0, GUINT32_TO_LE(INPUT_ABS_MAX) }; /* smallest, largest, fuzz, flat, resolution */
    if (!(s->model->handler.kinds & 1 << INPUT_KIND_ABS) || s->subsel > ABS_Y) {
        return 0;
    }
    memcpy(out, info, sizeof(info));
    return sizeof(info);
}

static void input_get_config(VirtioDevice *v, uint8_t *config)
{
    const VirtioInput *s = input_of(v);
    uint8_t *out = config + INPUT_CONFIG_HEAD;
    size_t n = 0;
    memset(config, 0, INPUT_CONFIG);
    switch (s->select) {
    case CFG_NAME: n = s->subsel ? 0 : config_text(out, s->model->name); break;
    case CFG_SERIAL: n = s->subsel ? 0 : config_text(out, s->serial); break;
    case CFG_IDS: n = s->subsel ? 0 : config_ids(s, out); break;
    case CFG_EV_BITS: n = config_events(s, out); break;
    case CFG_ABS: n = config_axis(s, out); break;
    }
    config[0] = s->select;
    config[1] = s->subsel;
    config[2] = (uint8_t)n;
}

static void input_config_written(VirtioDevice *v, unsigned off, unsigned len, uint32_t val)
{
    VirtioInput *s = input_of(v);
    for (unsigned i = off; i < off + len; i++, val >>= 8) {
        if (i == 0) {
            s->select = (uint8_t)val;
        } else if (i == 1) {
            s->subsel = (uint8_t)val;
        }
    }
}

/* ---- types ---- */

#define INPUT_POINTER(KIND, NAME)                                                                            \
    {                                                                                                        \
        .name = NAME, .kinds = 1 << (KIND) | 1 << INPUT_KIND_BUTTON, .event = input_event,                   \
        .sync = input_sync                                                                                   \
    }
static const InputModel keyboard_model = { "QEMU Virtio Keyboard",
                                           1,
                                           { .name = "virtio keyboard",
                                             .kinds = 1 << INPUT_KIND_KEY,
                                             .event = input_event,
                                             .sync = input_sync,
                                             .room = input_room } };
static const InputModel mouse_model = { "QEMU Virtio Mouse", 2,
                                        INPUT_POINTER(INPUT_KIND_REL, "virtio mouse") };
static const InputModel tablet_model = { "QEMU Virtio Tablet", 3,
                                         INPUT_POINTER(INPUT_KIND_ABS, "virtio tablet") };

static const PciOps keyboard_pci_ops[VIRTIO_PCI_VARIANTS] = VIRTIO_PCI_OPS(INPUT_CLASS, 0, 0x090000);
static const PciOps mouse_pci_ops[VIRTIO_PCI_VARIANTS] = VIRTIO_PCI_OPS(INPUT_CLASS, 0, 0x090200);
static const PciOps tablet_pci_ops[VIRTIO_PCI_VARIANTS] = VIRTIO_PCI_OPS(INPUT_CLASS, 0, 0x098000);

#define INPUT_CLASS_OF(PCI)                                                                                  \
    {                                                                                                        \
        .id = INPUT_CLASS, .pci = (PCI), .kick = input_kick, .get_config = input_get_config,                 \
        .config_written = input_config_written, .reset = input_driver_reset, .started = input_started,       \
        .config_size = INPUT_CONFIG, .elem_size = sizeof(VirtElem)                                           \
    }
static const VirtioClass keyboard_class = INPUT_CLASS_OF(keyboard_pci_ops);
static const VirtioClass mouse_class = INPUT_CLASS_OF(mouse_pci_ops);
static const VirtioClass tablet_class = INPUT_CLASS_OF(tablet_pci_ops);

static bool input_check(const VirtioInput *s, Error **errp)
{
    if (!virtio_modern_only(s->legacy, s->no_modern, "input", errp)) {
        return false;
    }
    if (s->serial && strlen(s->serial) > INPUT_CONFIG - INPUT_CONFIG_HEAD) {
        error_set(errp, "the serial number has %zu characters, %d are possible", strlen(s->serial),
                  INPUT_CONFIG - INPUT_CONFIG_HEAD);
        error_set_code(errp, "too-large", "serial");
        return false;
    }
    return true;
}

static bool input_start(Device *dev, const InputModel *model, const VirtioClass *class, Error **errp)
{
    VirtioInput *s = input_of(dev_as(VirtioDevice, dev));
    if (!input_check(s, errp)) {
        return false;
    }
    s->model = model;
    s->handler = input_handler_new(dev->machine, dev, &model->handler, s);
    input_handler_activate(s->handler, false);
    if (!input_handler_bind_display(s->handler, s->display, s->head, errp)) {
        return false;
    }
    device_add_task(dev, &s->more, input_more);
    device_add_fifo8(dev, &s->waiting, INPUT_WAITING * INPUT_EVENT);
    return virtio_start(&s->v, class, INPUT_QUEUES, INPUT_QUEUE, errp);
}

static bool keyboard_realize(Device *dev, Error **errp)
{
    return input_start(dev, &keyboard_model, &keyboard_class, errp);
}

static bool mouse_realize(Device *dev, Error **errp)
{
    return input_start(dev, &mouse_model, &mouse_class, errp);
}

static bool tablet_realize(Device *dev, Error **errp)
{
    return input_start(dev, &tablet_model, &tablet_class, errp);
}

static bool input_post_load(void *opaque, Error **errp)
{
    VirtioInput *s = opaque;
    if (fifo8_used(&s->waiting) % INPUT_EVENT) {
        return error_set(errp, "input device has %u bytes of events, which have %d", fifo8_used(&s->waiting),
                         INPUT_EVENT);
    }
    if (!virtio_post_load(&s->v, errp)) {
        return false;
    }
    s->group = s->dropping = false;
    input_handler_activate(s->handler, s->v.status & VIRTIO_DRIVER_OK);
    input_set_leds(s, s->leds);
    domain_post(&s->more); /* it may have been about to run */
    return true;
}

#define INPUT_FIELDS                                                                                         \
    VM_U8(VirtioInput, select), VM_U8(VirtioInput, subsel), VM_FIFO8(VirtioInput, waiting),                  \
        VM_U8_ARRAY(VirtioInput, down), VM_U8_ARRAY(VirtioInput, told), VM_U8(VirtioInput, leds)
VIRTIO_STATES(input, VirtioInput, "virtio-input", 3, 3, 4, 4, INPUT_FIELDS, .post_load = input_post_load);

#define INPUT_PROPS_ALL                                                                                      \
    PROP_STR(VirtioInput, serial, "serial", NULL, "Serial number that the guest reads"),                     \
        PROP_STR(VirtioInput, display, "display", NULL, "Only input of this display device; default: all"),  \
        PROP_U32(VirtioInput, head, "head", 0, 0, UINT32_MAX, "With display: which of its heads")
#define INPUT_PROP_WHEEL                                                                                     \
    PROP_BOOL(VirtioInput, wheel_axis, "wheel-axis", true, "The wheel is an axis; off: its turns are buttons")
#define INPUT_PROPS_PCI                                                                                      \
    PROP_ONOFFAUTO(VirtioInput, legacy, "disable-legacy", AUTO, "There is no legacy interface: not off"),    \
        PROP_BOOL(VirtioInput, no_modern, "disable-modern", false, "There is only the modern one: not on"),  \
        VIRTIO_PROP_IOEVENTFD(VirtioInput)
static const Prop keyboard_pci_props[] = { INPUT_PROPS_ALL, INPUT_PROPS_PCI, { 0 } };
static const Prop keyboard_mmio_props[] = { INPUT_PROPS_ALL, { 0 } };
static const Prop pointer_pci_props[] = { INPUT_PROPS_ALL, INPUT_PROP_WHEEL, INPUT_PROPS_PCI, { 0 } };
static const Prop pointer_mmio_props[] = { INPUT_PROPS_ALL, INPUT_PROP_WHEEL, { 0 } };

/* There is no legacy interface, so a PCI device has one type and not three. */
#define INPUT_TYPES(SYM, P, NAME, DESC, PROPS)                                                               \
    const DeviceType SYM##_pci_type = {                                                                      \
        .name = NAME "-pci",                                                                                 \
        .alias = NAME,                                                                                       \
        .desc = DESC " (PCI)",                                                                               \
        .size = sizeof(VirtioInput),                                                                         \
        .base = &virtio_pci_modern_type,                                                                     \
        .bus_type = &pci_bus_type,                                                                           \
        .bus_ops = &P##_pci_ops[VIRTIO_PCI_MODERN],                                                          \
        .props = PROPS##_pci_props,                                                                          \
        .vmstate = &input_pci_state,                                                                         \
        .category = "Input",                                                                                 \
        .realize = P##_realize,                                                                              \
    };                                                                                                       \
    const DeviceType SYM##_device_type = {                                                                   \
        .name = NAME "-device",                                                                              \
        .desc = DESC " (in memory)",                                                                         \
        .size = sizeof(VirtioInput),                                                                         \
        .base = &virtio_mmio_device_type,                                                                    \
        .bus_type = &virtio_mmio_bus_type,                                                                   \
        .props = PROPS##_mmio_props,                                                                         \
        .vmstate = &input_mmio_state,                                                                        \
        .category = "Input",                                                                                 \
        .realize = P##_realize,                                                                              \
    }
INPUT_TYPES(virtio_keyboard, keyboard, "virtio-keyboard", "Virtio keyboard", keyboard);
INPUT_TYPES(virtio_mouse, mouse, "virtio-mouse", "Virtio mouse", pointer);
INPUT_TYPES(virtio_tablet, tablet, "virtio-tablet", "Virtio tablet", pointer);
