/* SPDX-License-Identifier: MIT
 * hw/input/i8042.c - PS/2 keyboard and mouse controller.
 * Models:         IBM PS/2 Technical Reference, "Keyboard and Auxiliary Device Controller": status
 *                 register, command byte, input and output ports, all documented commands, scan code
 *                 translation, A20 and reset outputs.
 * Does not model: serial timing (bytes move at once; kbd-throttle=on spaces them by 1 ms for software that
 *                 reads port 60h twice), passwords (none is installed), keylock.
 * Threads:        the device's domain; keyboard and mouse, its children, share it.
 */
#include "rhea/hw/isa.h"
#include "rhea/hw/ps2.h"
#include "rhea/system/machine.h"

enum { ST_OBF = 0x01, ST_SYS = 0x04, ST_CMD = 0x08, ST_UNLOCKED = 0x10, ST_AUX = 0x20 };
enum {
    CB_KBD_INT = 0x01,
    CB_AUX_INT = 0x02,
    CB_SYS = 0x04,
    CB_KBD_OFF = 0x10,
    CB_AUX_OFF = 0x20,
    CB_XLATE = 0x40,
    CB_MASK = 0x77
};
enum { OUT_RESET = 0x01, OUT_A20 = 0x02, OUT_OBF = 0x10, OUT_AUX_OBF = 0x20, OUT_WRITABLE = 0xcf };
enum { IN_UNLOCKED = 0x80, IN_COLOR = 0x40 }; /* input port: keylock open, jumper at colour (P1.6) */
enum { KBC_REPLIES = 16, KBC_BYTE_NS = 1000000 };

typedef struct Kbc {
    Device dev;
    uint32_t kbd_irq, mouse_irq; /* configuration */
    bool throttle;
    MemRegion data, cmd; /* wiring */
    IrqLine kbd_line, mouse_line, a20;
    Device *kbd, *mouse;
    Timer pace;
    /* guest-visible state */
    uint8_t ram[32]; /* byte 0 is the command byte */
    uint8_t outport; /* OUT_RESET, OUT_A20 and spare bits */
    uint8_t obuf;    /* the output buffer; keeps its value after it was read */
    bool full, from_aux, last_was_command;
    bool release;    /* translation: F0h was swallowed, the next code is a break code */
    uint8_t command; /* waits for its data byte on port 60h; 0: none */
    Fifo8 replies;   /* of the controller itself */
} Kbc;

/* Set 2 to set 1, as the controller's ROM has it (PS/2 Technical Reference, "Scan Code Translation"). */
static const uint8_t kbc_set1[0x88] = {
    0xff, 0x43, 0x41, 0x3f, 0x3d, 0x3b, 0x3c, 0x58, 0x64, 0x44, 0x42, 0x40, 0x3e, 0x0f, 0x29, 0x59, 0x65,
    0x38, 0x2a, 0x70, 0x1d, 0x10, 0x02, 0x5a, 0x66, 0x71, 0x2c, 0x1f, 0x1e, 0x11, 0x03, 0x5b, 0x67, 0x2e,
    0x2d, 0x20, 0x12, 0x05, 0x04, 0x5c, 0x68, 0x39, 0x2f, 0x21, 0x14, 0x13, 0x06, 0x5d, 0x69, 0x31, 0x30,
    0x23, 0x22, 0x15, 0x07, 0x5e, 0x6a, 0x72, 0x32, 0x24, 0x16, 0x08, 0x09, 0x5f, 0x6b, 0x33, 0x25, 0x17,
    0x18, 0x0b, 0x0a, 0x60, 0x6c, 0x34, 0x35, 0x26, 0x27, 0x19, 0x0c, 0x61, 0x6d, 0x73, 0x28, 0x74, 0x1a,
    0x0d, 0x62, 0x6e, 0x3a, 0x36, 0x1c, 0x1b, 0x75, 0x2b, 0x63, 0x76, 0x55, 0x56, 0x77, 0x78, 0x79, 0x7a,
    0x0e, 0x7b, 0x7c, 0x4f, 0x7d, 0x4b, 0x47, 0x7e, 0x7f, 0x6f, 0x52, 0x53, 0x50, 0x4c, 0x4d, 0x48, 0x01,
    0x45, 0x57, 0x4e, 0x51, 0x4a, 0x37, 0x49, 0x46, 0x54, 0x80, 0x81, 0x82, 0x41, 0x54, 0x85, 0x86, 0x87,
};

static uint8_t *kbc_cb(Kbc *k)
{
    return &k->ram[0];
}

static void kbc_update(Kbc *k)
{
    irq_set(&k->kbd_line, k->full && !k->from_aux && *kbc_cb(k) & CB_KBD_INT);
    irq_set(&k->mouse_line, k->full && k->from_aux && *kbc_cb(k) & CB_AUX_INT);
}

static void kbc_put(Kbc *k, uint8_t byte, bool aux)
{
    k->obuf = byte;
    k->full = true;
    k->from_aux = aux;
}

/* One byte of the keyboard through the translator; false: it was a prefix and is swallowed. */
static bool kbc_translate(Kbc *k, uint8_t *byte)
{
    if (!(*kbc_cb(k) & CB_XLATE)) {
        return true;
    }
    if (*byte == 0xf0) {
        k->release = true;
        return false;
    }
    uint8_t code = *byte < sizeof(kbc_set1) ? kbc_set1[*byte] : *byte;
    *byte = k->release && code < 0x80 ? code | 0x80 : code;
    k->release = false;
    return true;
}

/* Fills the output buffer if it is empty: own replies first, then keyboard, then mouse. */
static void kbc_pump(Kbc *k)
{
    Ps2Link *kbd = ps2_kbd_link(k->kbd), *mouse = ps2_mouse_link(k->mouse);
    if (!k->full && fifo8_used(&k->replies)) {
        kbc_put(k, fifo8_pop_or(&k->replies, 0), false);
    }
    while (!k->full && !timer_armed(&k->pace)) {
        if (!(*kbc_cb(k) & CB_KBD_OFF) && kbd->pending(k->kbd)) {
            uint8_t byte = kbd->take(k->kbd);
            if (kbc_translate(k, &byte)) {
                kbc_put(k, byte, false);
            }
        } else if (!(*kbc_cb(k) & CB_AUX_OFF) && mouse->pending(k->mouse)) {
            kbc_put(k, mouse->take(k->mouse), true);
        } else {
            break;
        }
    }
    kbc_update(k);
}

static void kbc_device_ready(void *opaque)
{
    kbc_pump(opaque);
}

static void kbc_pace_over(void *opaque)
{
    kbc_pump(opaque);
}

static void kbc_reply(Kbc *k, uint8_t byte)
{
    fifo8_push(&k->replies, byte);
}

static void kbc_write_outport(Kbc *k, uint8_t val)
{
    k->outport = val & OUT_WRITABLE;
    irq_set(&k->a20, k->outport & OUT_A20);
    if (!(val & OUT_RESET)) {
        k->outport |= OUT_RESET; /* the line is pulled low, and the reset ends that */
        machine_request_reset(k->dev.machine, SHUTDOWN_GUEST_RESET);
    }
}

static uint8_t kbc_outport(const Kbc *k)
{
    return k->outport | (k->full && !k->from_aux ? OUT_OBF : 0) | (k->full && k->from_aux ? OUT_AUX_OBF : 0);
}

static void kbc_command(Kbc *k, uint8_t val)
{
    k->command = 0;
    switch (val) {
    case 0x20 ... 0x3f: kbc_reply(k, k->ram[val & 0x1f]); break;
    case 0x60 ... 0x7f: /* write RAM */
    case 0xd1:          /* write output port */
    case 0xd2:          /* write keyboard output buffer */
    case 0xd3:          /* write auxiliary output buffer */
    case 0xd4: /* write to auxiliary device */ k->command = val; break;
    case 0xa4: /* is a password installed? */ kbc_reply(k, 0xf1); break;
    case 0xa7: *kbc_cb(k) |= CB_AUX_OFF; break;
    case 0xa8: *kbc_cb(k) &= ~CB_AUX_OFF; break;
    case 0xa9: /* interface tests: no error detected */
    case 0xab: kbc_reply(k, 0x00); break;
    case 0xaa: /* self test: passed */
        *kbc_cb(k) |= CB_SYS;
        kbc_reply(k, 0x55);
        break;
    case 0xad: *kbc_cb(k) |= CB_KBD_OFF; break;
    case 0xae: *kbc_cb(k) &= ~CB_KBD_OFF; break;
    case 0xc0: kbc_reply(k, IN_UNLOCKED | IN_COLOR); break;
    case 0xd0: kbc_reply(k, kbc_outport(k)); break;
    case 0xdd: /* A20 off, on: AT controllers */ kbc_write_outport(k, k->outport & ~OUT_A20); break;
    case 0xdf: kbc_write_outport(k, k->outport | OUT_A20); break;
    case 0xe0: /* test inputs: clock lines idle */ kbc_reply(k, 0x00); break;
    case 0xf0 ... 0xff: /* pulse the output bits whose place is 0 */
        if (!(val & 1)) {
            machine_request_reset(k->dev.machine, SHUTDOWN_GUEST_RESET);
        }
        break;
    default: guest_error(&k->dev, "keyboard controller command %02x does not exist", val); break;
    }
}

/* A byte on port 60h: data of a command, or for the keyboard. */
static void kbc_data(Kbc *k, uint8_t val)
{
    uint8_t command = k->command;
    k->command = 0;
    switch (command) {
    case 0:
        *kbc_cb(k) &= ~CB_KBD_OFF; /* sending to the keyboard releases its clock */
        ps2_kbd_link(k->kbd)->write(k->kbd, val);
        break;
    case 0x60:
        *kbc_cb(k) = val & CB_MASK;
        k->release = k->release && val & CB_XLATE;
        break;
    case 0xd1: kbc_write_outport(k, val); break;
    case 0xd2: kbc_put(k, val, false); break;
    case 0xd3: kbc_put(k, val, true); break;
    case 0xd4:
        *kbc_cb(k) &= ~CB_AUX_OFF;
        ps2_mouse_link(k->mouse)->write(k->mouse, val);
        break;
    default: k->ram[command & 0x1f] = val; break;
    }
}

static uint64_t kbc_read_data(void *opaque, MemAccess *a)
{
    Kbc *k = opaque;
    uint8_t val = k->obuf;
    if (k->full && !a->attrs.debug) {
        k->full = false;
        kbc_update(k); /* the line falls between two bytes: edge-triggered inputs need that */
        if (k->throttle) {
            timer_arm(&k->pace, clock_now(k->dev.machine->clock) + KBC_BYTE_NS);
        }
        kbc_pump(k);
    }
    return val;
}

static void kbc_write_data(void *opaque, MemAccess *a G_GNUC_UNUSED, uint64_t val)
{
    Kbc *k = opaque;
    k->last_was_command = false;
    kbc_data(k, val);
    kbc_pump(k);
}

static uint64_t kbc_read_status(void *opaque, MemAccess *a G_GNUC_UNUSED)
{
    Kbc *k = opaque;
    return ST_UNLOCKED | (*kbc_cb(k) & CB_SYS ? ST_SYS : 0) | (k->last_was_command ? ST_CMD : 0) |
           (k->full ? ST_OBF | (k->from_aux ? ST_AUX : 0) : 0);
}

static void kbc_write_command(void *opaque, MemAccess *a G_GNUC_UNUSED, uint64_t val)
{
    Kbc *k = opaque;
    k->last_was_command = true;
    kbc_command(k, val);
    kbc_pump(k);
}

Device *i8042_keyboard(Device *kbc)
{
    return dev_as(Kbc, kbc)->kbd;
}

Device *i8042_mouse(Device *kbc)
{
    return dev_as(Kbc, kbc)->mouse;
}

static bool kbc_realize(Device *dev, Error **errp)
{
    static const MemOps data_ops = {
        .read = kbc_read_data, .write = kbc_write_data, .min = 1, .max = 1, .impl_min = 1, .impl_max = 1
    };
    static const MemOps cmd_ops = {
        .read = kbc_read_status, .write = kbc_write_command, .min = 1, .max = 1, .impl_min = 1, .impl_max = 1
    };
    Kbc *k = dev_as(Kbc, dev);
    device_add_fifo8(dev, &k->replies, KBC_REPLIES);
    region_init_io(&k->data, dev, "i8042-data", &data_ops, k, 1);
    region_init_io(&k->cmd, dev, "i8042-cmd", &cmd_ops, k, 1);
    device_add_region(dev, &k->data);
    device_add_region(dev, &k->cmd);
    device_add_irq(dev, &k->kbd_line);
    device_add_irq(dev, &k->mouse_line);
    device_add_irq(dev, &k->a20);
    device_add_timer(dev, &k->pace, kbc_pace_over);
    k->kbd = device_create(dev->machine, &ps2_kbd_type, dev, NULL, NULL, errp, NULL);
    k->mouse = k->kbd ? device_create(dev->machine, &ps2_mouse_type, dev, NULL, NULL, errp, NULL) : NULL;
    if (!k->mouse) {
        return false;
    }
    ps2_kbd_link(k->kbd)->host = (Ps2Host){ .data_ready = kbc_device_ready, .opaque = k };
    ps2_mouse_link(k->mouse)->host = (Ps2Host){ .data_ready = kbc_device_ready, .opaque = k };
    return isa_connect_irq(dev, &k->kbd_line, k->kbd_irq, false, errp) &&
           isa_connect_irq(dev, &k->mouse_line, k->mouse_irq, false, errp);
}

/* After reset both ports are open and interrupt, translation is off, and A20 is not masked: the CPU must be
 * able to fetch from the reset vector whatever the other A20 source says. */
static void kbc_reset(Device *dev, ResetKind kind G_GNUC_UNUSED)
{
    Kbc *k = dev_as(Kbc, dev);
    memset(k->ram, 0, sizeof(k->ram));
    *kbc_cb(k) = CB_KBD_INT | CB_AUX_INT;
    k->outport = OUT_RESET | OUT_A20;
    k->obuf = k->command = 0;
    k->full = k->from_aux = k->last_was_command = k->release = false;
    fifo8_clear(&k->replies);
    timer_cancel(&k->pace);
}

static void kbc_reset_done(Device *dev)
{
    Kbc *k = dev_as(Kbc, dev);
    irq_set(&k->a20, k->outport & OUT_A20);
    kbc_update(k);
}

static bool kbc_post_load(void *opaque, Error **errp G_GNUC_UNUSED)
{
    kbc_reset_done(&((Kbc *)opaque)->dev);
    return true;
}

static const Prop kbc_props[] = {
    PROP_U32(Kbc, kbd_irq, "kbd-irq", 1, 0, 15, "Interrupt of the keyboard"),
    PROP_U32(Kbc, mouse_irq, "mouse-irq", 12, 0, 15, "Interrupt of the mouse"),
    PROP_BOOL(Kbc, throttle, "kbd-throttle", false, "Space bytes by 1 ms, as the serial line would"),
    { 0 },
};
static const VmField kbc_fields[] = {
    VM_U8_ARRAY(Kbc, ram),
    VM_U8(Kbc, outport),
    VM_U8(Kbc, obuf),
    VM_BOOL(Kbc, full),
    VM_BOOL(Kbc, from_aux),
    VM_BOOL(Kbc, last_was_command),
    VM_BOOL(Kbc, release),
    VM_U8(Kbc, command),
    VM_FIFO8(Kbc, replies),
    VM_TIMER(Kbc, pace),
    { 0 },
};
static const VmState kbc_state = {
    .name = "i8042", .version = 1, .oldest = 1, .fields = kbc_fields, .post_load = kbc_post_load
};
static const IsaOps kbc_isa = { .iobase = { 0x60, 0x64 }, .irq = -1 };

const DeviceType i8042_type = {
    .name = "i8042",
    .desc = "PS/2 keyboard and mouse controller",
    .size = sizeof(Kbc),
    .bus_type = &isa_bus_type,
    .bus_ops = &kbc_isa,
    .category = "Input",
    .props = kbc_props,
    .vmstate = &kbc_state,
    .realize = kbc_realize,
    .reset = kbc_reset,
    .reset_done = kbc_reset_done,
};
