/* SPDX-License-Identifier: MIT
 * hw/usb/hid.c - usb-kbd, usb-mouse, usb-tablet.
 *
 * Models: HID 1.11, 7.2 (requests: reports, idle rate, protocol), appendix B (boot protocol), C (rollover).
 *         The keys and pointers of the machine come here once the guest's driver asks for reports, until the
 *         device is reset or loses its configuration.
 * Does not model: feature reports; the reset's idle rate is "infinite" (QEMU's), not 500 ms (7.2.4).
 * Threads: the platform domain.
 */
#include "hid.h"
#include "rhea/system/machine.h"
#include "rhea/ui/input.h"
#include "rhea/util/errorcode.h"

#include <string.h>

enum { HID_QUEUE = 16, KEY_QUEUE = 64, KEYS = 16, REPORT_KEYS = 6, USAGE_MODIFIERS = 0xe0, ROLLOVER = 1 };
enum { GET_REPORT = 1, GET_IDLE, GET_PROTOCOL, SET_REPORT = 9, SET_IDLE, SET_PROTOCOL };
enum { REPORT_INPUT = 1, REPORT_OUTPUT = 2, TRAVEL_MAX = 1 << 20, IDLE_NS = 4000000 };

typedef struct HidPointer { /* two's complement */
    uint32_t x, y, z;
    uint8_t buttons;
} HidPointer;

typedef struct UsbHid {
    UsbDevice u;
    HidKind kind;
    InputHandler *handler;
    uint32_t usb_version, display_head; /* properties */
    char *display;
    Timer idle_timer;
    bool active; /* input comes here */
    /* guest-visible state */
    uint8_t idle, protocol, leds;
    bool idle_due;  /* the last report is to come again */
    HidPointer now; /* buttons and place as they are, travel that is not queued */
    HidPointer queue[HID_QUEUE], told;
    uint8_t head, n;
    bool moved; /* `now` is not queued yet */
    /* keyboard: changes that were not told, bit 8: down; what is down after them, and as the guest knows */
    uint16_t keys[KEY_QUEUE];
    uint8_t down[32], pressed[KEYS], modifiers, n_pressed;
} UsbHid;
#define hid_of(D) usb_device_of(UsbHid, D)

/* ---- pointers ---- */

static uint32_t add_travel(uint32_t a, uint32_t b)
{
    return (uint32_t)CLAMP((int64_t)(int32_t)a + (int32_t)b, -TRAVEL_MAX, TRAVEL_MAX);
}

static void join_pointer(const UsbHid *s, HidPointer *to, const HidPointer *p)
{
    bool absolute = s->kind == HID_TABLET;
    to->x = absolute ? p->x : add_travel(to->x, p->x);
    to->y = absolute ? p->y : add_travel(to->y, p->y);
    to->z = add_travel(to->z, p->z);
    to->buttons = p->buttons;
}

/* Movements with the same buttons are one report, but none joins the report of a button: a click stays where
 * it was made. A full queue forgets clicks, not where things are. */
static void queue_pointer(UsbHid *s)
{
    HidPointer *last = s->n ? &s->queue[(s->head + s->n - 1) % HID_QUEUE] : NULL;
    const HidPointer *before = s->n > 1 ? &s->queue[(s->head + s->n - 2) % HID_QUEUE] : &s->told;
    bool movement = last && last->buttons == s->now.buttons && last->buttons == before->buttons;
    if (movement || s->n == HID_QUEUE) {
        join_pointer(s, last, &s->now);
    } else {
        s->queue[(s->head + s->n++) % HID_QUEUE] = s->now;
    }
    if (s->kind == HID_MOUSE) {
        s->now.x = s->now.y = 0;
    }
    s->now.z = 0;
    s->moved = false;
}

static void press_button(UsbHid *s, unsigned button, bool down)
{
    static const uint8_t bits[POINTER_BUTTONS] = {
        [POINTER_LEFT] = 1, [POINTER_RIGHT] = 2,  [POINTER_MIDDLE] = 4,
        [POINTER_SIDE] = 8, [POINTER_EXTRA] = 16,
    };
    if (button == POINTER_WHEEL_UP || button == POINTER_WHEEL_DOWN) {
        s->now.z = add_travel(s->now.z, down ? (button == POINTER_WHEEL_UP ? 1 : UINT32_MAX) : 0);
    } else if (down) {
        s->now.buttons |= bits[button];
    } else {
        s->now.buttons &= ~bits[button];
    }
}

static void pointer_event(void *opaque, const UiEvent *e)
{
    UsbHid *s = opaque;
    uint32_t *axis = e->code ? &s->now.y : &s->now.x;
    if (e->kind == INPUT_KIND_BUTTON && e->code < POINTER_BUTTONS) {
        press_button(s, e->code, e->down);
    } else if (e->kind == INPUT_KIND_REL) {
        *axis = add_travel(*axis, (uint32_t)e->value);
    } else if (e->kind == INPUT_KIND_ABS) {
        *axis = (uint32_t)CLAMP(e->value, 0, INPUT_ABS_MAX);
    }
    s->moved = true;
}

static void pointer_sync(void *opaque)
{
    UsbHid *s = opaque;
    if (s->moved) {
        queue_pointer(s);
        usb_wakeup(&s->u, 1, true);
    }
}

static int8_t take(uint32_t *travel)
{
    int d = CLAMP((int32_t)*travel, -127, 127);
    *travel -= (uint32_t)d;
    return (int8_t)d;
}

static unsigned put_pointer(const UsbHid *s, const HidPointer *p, uint8_t *out)
{
    out[0] = p->buttons;
    if (s->kind == HID_MOUSE) {
        out[1] = (uint8_t)p->x;
        out[2] = (uint8_t)p->y;
        out[3] = (uint8_t)p->z;
        return s->protocol ? 4 : 3;
    }
    out[1] = (uint8_t)p->x;
    out[2] = (uint8_t)(p->x >> 8);
    out[3] = (uint8_t)p->y;
    out[4] = (uint8_t)(p->y >> 8);
    out[5] = (uint8_t)p->z;
    return 6;
}

/* The next report becomes `told`: as much of the first entry as it has room for. */
static void next_pointer(UsbHid *s)
{
    HidPointer *p = &s->queue[s->head];
    s->told = *p;
    s->told.z = (uint32_t)(int32_t)take(&p->z);
    if (s->kind == HID_MOUSE) {
        s->told.x = (uint32_t)(int32_t)take(&p->x);
        s->told.y = (uint32_t)(int32_t)take(&p->y);
    }
    if (!p->z && (s->kind == HID_TABLET || (!p->x && !p->y))) {
        s->head = (s->head + 1) % HID_QUEUE;
        s->n--;
    }
}

/* ---- keyboard ---- */

static unsigned keys_down(const UsbHid *s)
{
    unsigned n = 0;
    for (unsigned i = 0; i < sizeof(s->down); i++) {
        n += (unsigned)__builtin_popcount(s->down[i]);
    }
    return n;
}

/* A press leaves room for the releases of all that is down, so that none of them is lost. */
static unsigned key_room(void *opaque)
{
    const UsbHid *s = opaque;
    unsigned used = s->n + keys_down(s);
    return used + 1 < KEY_QUEUE ? (KEY_QUEUE - used) / 2 : 0;
}

static void key_event(void *opaque, const UiEvent *e)
{
    UsbHid *s = opaque;
    unsigned usage = e->kind == INPUT_KIND_KEY ? input_key_usage(e->code) : 0;
    if (!usage || usage > 0xff || (s->down[usage / 8] >> usage % 8 & 1) == e->down ||
        (e->down && !key_room(s)) || s->n == KEY_QUEUE) {
        return; /* also repetitions: the guest repeats by itself */
    }
    s->down[usage / 8] ^= (uint8_t)(1 << usage % 8);
    s->keys[(s->head + s->n++) % KEY_QUEUE] = (uint16_t)(usage | (e->down ? 0x100 : 0));
    usb_wakeup(&s->u, 1, true);
}

static void apply_key(UsbHid *s, unsigned usage, bool down)
{
    unsigned i = 0;
    if (usage >= USAGE_MODIFIERS) {
        uint8_t bit = (uint8_t)(1 << (usage & 7));
        s->modifiers = down ? s->modifiers | bit : s->modifiers & ~bit;
        return;
    }
    while (i < s->n_pressed && s->pressed[i] != usage) {
        i++;
    }
    if (down && i == s->n_pressed && s->n_pressed < KEYS) {
        s->pressed[s->n_pressed++] = (uint8_t)usage;
    } else if (!down && i < s->n_pressed) {
        memmove(s->pressed + i, s->pressed + i + 1, --s->n_pressed - i);
    }
}

static void next_key(UsbHid *s)
{
    uint16_t k = s->keys[s->head];
    apply_key(s, k & 0xff, k & 0x100);
    s->head = (s->head + 1) % KEY_QUEUE;
    s->n--;
}

/* Appendix C: too many keys for the array are told as such. */
static unsigned put_keys(const UsbHid *s, uint8_t *out)
{
    memset(out, 0, 8);
    out[0] = s->modifiers;
    if (s->n_pressed > REPORT_KEYS) {
        memset(out + 2, ROLLOVER, REPORT_KEYS);
    } else {
        memcpy(out + 2, s->pressed, s->n_pressed);
    }
    return 8;
}

/* HID's bits: num, caps, scroll lock. */
static void set_leds(UsbHid *s, uint8_t leds)
{
    s->leds = leds;
    input_handler_leds(s->handler, (leds >> 2 & 1) | (leds & 1) << 1 | (leds >> 1 & 1) << 2);
}

/* ---- reports ---- */

static unsigned put_report(const UsbHid *s, uint8_t *out)
{
    return s->kind == HID_KEYBOARD ? put_keys(s, out) : put_pointer(s, &s->told, out);
}

static void arm_idle(UsbHid *s)
{
    if (s->idle) {
        timer_arm(&s->idle_timer, clock_now(s->u.dev.machine->clock) + s->idle * (int64_t)IDLE_NS);
    } else {
        timer_cancel(&s->idle_timer);
    }
}

static void idle_passed(void *opaque)
{
    UsbHid *s = opaque;
    s->idle_due = true;
    usb_wakeup(&s->u, 1, true);
}

static void set_active(UsbHid *s, bool on)
{
    if (s->active != on) {
        s->active = on;
        input_handler_activate(s->handler, on);
    }
}

static UsbResult hid_data(UsbDevice *d, UsbPacket *p)
{
    UsbHid *s = hid_of(d);
    uint8_t report[8];
    set_active(s, true);
    if (!s->n && !s->idle_due) {
        return USB_NAK;
    }
    if (s->n && s->kind == HID_KEYBOARD) {
        next_key(s);
    } else if (s->n) {
        next_pointer(s);
    } else if (s->kind == HID_MOUSE) { /* nothing has moved since */
        s->told.x = s->told.y = 0;
    }
    if (!s->n && s->idle_due) {
        s->told.z = 0;
    }
    s->idle_due = false;
    arm_idle(s);
    unsigned n = put_report(s, report);
    p->actual = MIN(n, p->len);
    memcpy(p->data, report, p->actual);
    return n > p->len ? USB_BABBLE : USB_OK;
}

/* ---- requests (7.1, 7.2) ---- */

static bool get_descriptor(const UsbHid *s, unsigned type, uint8_t *data, unsigned *len)
{
    const uint8_t *from = s->u.desc->config[s->u.speed].bytes + HID_CLASS_DESC;
    *len = HID_CLASS_LEN;
    if (type == USB_DT_REPORT) {
        from = hid_report_desc(s->kind, len);
    } else if (type != USB_DT_HID) {
        return false;
    }
    memcpy(data, from, *len);
    return true;
}

static bool hid_control(UsbDevice *d, const UsbSetup *r, uint8_t *data, unsigned *len)
{
    UsbHid *s = hid_of(d);
    unsigned n = *len;
    *len = 0;
    switch (r->type << 8 | r->request) {
    case 0x8106: return get_descriptor(s, r->value >> 8, data, len);
    case 0xa100 | GET_REPORT: *len = put_report(s, data); return r->value >> 8 == REPORT_INPUT;
    case 0xa100 | GET_IDLE:
        data[0] = s->idle;
        *len = 1;
        return true;
    case 0xa100 | GET_PROTOCOL:
        data[0] = s->protocol;
        *len = 1;
        return s->kind != HID_TABLET;
    case 0x2100 | SET_REPORT:
        if (s->kind != HID_KEYBOARD || r->value >> 8 != REPORT_OUTPUT || !n) {
            return false;
        }
        set_leds(s, data[0]);
        return true;
    case 0x2100 | SET_IDLE:
        s->idle = r->value >> 8;
        arm_idle(s);
        return true;
    case 0x2100 | SET_PROTOCOL: s->protocol = r->value & 1; return s->kind != HID_TABLET;
    default: return false;
    }
}

static void hid_reset(UsbDevice *d)
{
    UsbHid *s = hid_of(d);
    set_active(s, false);
    timer_cancel(&s->idle_timer);
    s->idle = 0;
    s->protocol = 1;
    s->idle_due = s->moved = false;
    s->head = s->n = 0;
    s->modifiers = s->n_pressed = 0;
    s->now = s->told = (HidPointer){ 0 };
    memset(s->down, 0, sizeof(s->down));
    memset(s->queue, 0, sizeof(s->queue));
    memset(s->keys, 0, sizeof(s->keys));
    memset(s->pressed, 0, sizeof(s->pressed));
    s->leds = 0;
    if (s->kind == HID_KEYBOARD) {
        set_leds(s, 0);
    }
}

/* ---- life ---- */

static const UsbClass hid_class = { .control = hid_control, .data = hid_data, .reset = hid_reset };

static bool hid_realize(Device *dev, HidKind kind, const InputHandlerOps *ops, Error **errp)
{
    UsbHid *s = hid_of(dev);
    if (s->usb_version != 1 && s->usb_version != 2) {
        return error_fail(errp, "out-of-range", "usb_version", "1: full speed only; 2: high speed as well",
                          "usb_version=%u: there are versions 1 and 2", s->usb_version);
    }
    s->kind = kind;
    usb_device_init(&s->u, hid_desc(kind, s->usb_version));
    s->handler = input_handler_new(dev->machine, dev, ops, s);
    input_handler_activate(s->handler, false);
    if (!input_handler_bind_display(s->handler, s->display, s->display_head, errp)) {
        return false;
    }
    device_add_timer(dev, &s->idle_timer, idle_passed);
    return true;
}

static bool keyboard_realize(Device *dev, Error **errp)
{
    static const InputHandlerOps ops = {
        .name = "QEMU USB Keyboard", .kinds = 1 << INPUT_KIND_KEY, .event = key_event, .room = key_room
    };
    return hid_realize(dev, HID_KEYBOARD, &ops, errp);
}

static bool mouse_realize(Device *dev, Error **errp)
{
    static const InputHandlerOps ops = { .name = "QEMU USB Mouse",
                                         .kinds = 1 << INPUT_KIND_REL | 1 << INPUT_KIND_BUTTON,
                                         .event = pointer_event,
                                         .sync = pointer_sync };
    return hid_realize(dev, HID_MOUSE, &ops, errp);
}

static bool tablet_realize(Device *dev, Error **errp)
{
    static const InputHandlerOps ops = { .name = "QEMU USB Tablet",
                                         .kinds = 1 << INPUT_KIND_ABS | 1 << INPUT_KIND_BUTTON,
                                         .event = pointer_event,
                                         .sync = pointer_sync };
    return hid_realize(dev, HID_TABLET, &ops, errp);
}

static bool hid_post_load(void *opaque, Error **errp)
{
    UsbHid *s = opaque;
    unsigned room = s->kind == HID_KEYBOARD ? KEY_QUEUE : HID_QUEUE;
    if (s->head >= room || s->n > room) {
        return error_set(errp, "a USB input device has %u of %u reports waiting", s->n, room);
    }
    bool on = s->active;
    s->active = !on;
    set_active(s, on);
    if (s->kind == HID_KEYBOARD) {
        set_leds(s, s->leds);
    }
    return true;
}

static const VmField pointer_fields[] = {
    VM_U32(HidPointer, x), VM_U32(HidPointer, y), VM_U32(HidPointer, z), VM_U8(HidPointer, buttons), { 0 },
};
static const VmState pointer_state = {
    .name = "usb-pointer", .version = 1, .oldest = 1, .fields = pointer_fields
};
static const VmField hid_fields[] = {
    VM_BOOL(UsbHid, active),
    VM_U8(UsbHid, idle),
    VM_U8_MAX(UsbHid, protocol, 1),
    VM_U8(UsbHid, leds),
    VM_BOOL(UsbHid, idle_due),
    VM_TIMER(UsbHid, idle_timer),
    VM_STRUCT(UsbHid, now, pointer_state),
    VM_STRUCT_ARRAY(UsbHid, queue, pointer_state),
    VM_STRUCT(UsbHid, told, pointer_state),
    VM_U8(UsbHid, head),
    VM_U8(UsbHid, n),
    VM_BOOL(UsbHid, moved),
    VM_U16_ARRAY(UsbHid, keys),
    VM_U8_ARRAY(UsbHid, down),
    VM_U8_ARRAY(UsbHid, pressed),
    VM_U8(UsbHid, modifiers),
    VM_U8_MAX(UsbHid, n_pressed, KEYS),
    { 0 },
};
static const VmState hid_state = {
    .name = "usb-hid",
    .version = 1,
    .oldest = 1,
    .fields = hid_fields,
    .post_load = hid_post_load,
};

#define HID_PROPS                                                                                            \
    PROP_U32(UsbHid, usb_version, "usb_version", 2, 0, UINT32_MAX,                                           \
             "1: full speed only; 2: high speed as well")
#define HID_PROP_DISPLAY                                                                                     \
    PROP_STR(UsbHid, display, "display", NULL, "Only input of this display device; default: of all")
static const Prop mouse_props[] = { HID_PROPS, { 0 } };
static const Prop keyboard_props[] = { HID_PROPS, HID_PROP_DISPLAY, { 0 } };
static const Prop tablet_props[] = {
    HID_PROPS,
    HID_PROP_DISPLAY,
    PROP_U32(UsbHid, display_head, "head", 0, 0, UINT32_MAX, "With display: which of its heads"),
    { 0 },
};

#define HID_TYPE(NAME, DESC, KIND)                                                                           \
    {                                                                                                        \
        .name = (NAME), .desc = (DESC), .size = sizeof(UsbHid), .base = &usb_device_type,                    \
        .bus_type = &usb_bus_type, .bus_ops = &hid_class, .category = "Input", .props = KIND##_props,        \
        .vmstate = &hid_state, .realize = KIND##_realize,                                                    \
    }
const DeviceType usb_kbd_type = HID_TYPE("usb-kbd", "USB keyboard", keyboard);
const DeviceType usb_mouse_type = HID_TYPE("usb-mouse", "USB mouse", mouse);
const DeviceType usb_tablet_type = HID_TYPE("usb-tablet", "USB tablet: a pointer by its place", tablet);
