/* SPDX-License-Identifier: MIT
 * hw/input/ps2kbd.c - PS/2 keyboard with 102 keys and the usual multimedia keys.
 * Models:         IBM PS/2 Technical Reference, "Keyboard (101- and 102-Key)": scan code sets 1, 2 and 3
 *                 with the key types of set 3, typematic rate and delay, indicators, all commands, the
 *                 16-byte buffer and its overrun.
 * Does not model: the shift and num-lock prefixes around cursor keys of the 101-key layout (drivers ignore
 *                 them), serial timing, parity errors.
 * Threads:        the device's domain.
 */
#include "rhea/hw/ps2.h"
#include "rhea/system/machine.h"

enum { KBD_ACK = 0xfa, KBD_RESEND = 0xfe, KBD_ECHO = 0xee, KBD_BAT_OK = 0xaa, KBD_RELEASE = 0xf0 };
enum { KBD_BUFFER = 16, KBD_REPLIES = 16, KBD_DEFAULT_RATE = 0x2b }; /* 500 ms, 10.9 per second */
enum { KEY_TYPEMATIC = 1, KEY_BREAK = 2 };                           /* set 3: what a key does */

typedef struct Ps2Code {
    uint16_t set1, set2;
    uint8_t set3;
} Ps2Code;
static const Ps2Code codes[INPUT_KEYS] = {
#define INPUT_KEY(id, name, set1, set2, set3, usage, evdev) [INPUT_KEY_##id] = { set1, set2, set3 },
#include "rhea/ui/keys.h"
#undef INPUT_KEY
};

typedef struct Ps2Kbd {
    Device dev;
    Ps2Link link; /* wiring */
    InputHandler *input;
    Timer repeat;
    /* guest-visible state */
    Fifo8 keys;      /* scan codes */
    Fifo8 replies;   /* to commands; overtake scan codes */
    uint8_t last;    /* for Resend */
    uint8_t command; /* waits for its data byte; 0: none */
    uint8_t set, leds, rate;
    bool enabled, overrun;
    uint8_t types[256]; /* set 3: KEY_* by scan code */
    uint8_t down[INPUT_KEYS];
    uint8_t repeating; /* the key that repeats; INPUT_KEYS: none */
} Ps2Kbd;

static void kbd_ready(Ps2Kbd *k)
{
    if (k->link.host.data_ready) {
        k->link.host.data_ready(k->link.host.opaque);
    }
}

/* A whole sequence or nothing: half a sequence would be another key. */
static void kbd_emit(Ps2Kbd *k, const uint8_t *bytes, unsigned n)
{
    if (fifo8_room(&k->keys) < n + !k->overrun) {
        if (!k->overrun && fifo8_room(&k->keys)) {
            fifo8_push(&k->keys, k->set == 1 ? 0xff : 0x00); /* "buffer overrun", in the last place */
            k->overrun = true;
        }
        return;
    }
    for (unsigned i = 0; i < n; i++) {
        fifo8_push(&k->keys, bytes[i]);
    }
}

static unsigned kbd_put_code(uint8_t *out, unsigned set, uint16_t code, bool down)
{
    unsigned n = 0;
    if (code >> 8) {
        out[n++] = code >> 8;
    }
    if (set == 1) {
        out[n++] = (code & 0xff) | (down ? 0 : 0x80);
        return n;
    }
    if (!down) {
        out[n++] = KBD_RELEASE;
    }
    out[n++] = code & 0xff;
    return n;
}

static bool kbd_is_down(const Ps2Kbd *k, InputKey a, InputKey b)
{
    return k->down[a] || k->down[b];
}

/* Pause has no break code; with Ctrl it is Break. */
static void kbd_emit_pause(Ps2Kbd *k, bool down)
{
    static const uint8_t pause1[] = { 0xe1, 0x1d, 0x45, 0xe1, 0x9d, 0xc5 };
    static const uint8_t pause2[] = { 0xe1, 0x14, 0x77, 0xe1, 0xf0, 0x14, 0xf0, 0x77 };
    static const uint8_t break1[] = { 0xe0, 0x46, 0xe0, 0xc6 };
    static const uint8_t break2[] = { 0xe0, 0x7e, 0xe0, 0xf0, 0x7e };
    if (!down) {
        return;
    }
    bool ctrl = kbd_is_down(k, INPUT_KEY_CTRL, INPUT_KEY_CTRL_R);
    if (k->set == 1) {
        kbd_emit(k, ctrl ? break1 : pause1, ctrl ? sizeof(break1) : sizeof(pause1));
    } else {
        kbd_emit(k, ctrl ? break2 : pause2, ctrl ? sizeof(break2) : sizeof(pause2));
    }
}

/* Print Screen comes with a shift of its own; with Alt it is SysRq, a key without prefix. */
static void kbd_emit_print(Ps2Kbd *k, bool down)
{
    uint16_t shift = k->set == 1 ? 0xe02a : 0xe012,
             print = k->set == 1 ? codes[INPUT_KEY_PRINT].set1 : codes[INPUT_KEY_PRINT].set2;
    uint8_t out[8];
    unsigned n = 0;
    if (kbd_is_down(k, INPUT_KEY_ALT, INPUT_KEY_ALT_R)) {
        n = kbd_put_code(out, k->set, k->set == 1 ? 0x54 : 0x84, down);
    } else if (kbd_is_down(k, INPUT_KEY_CTRL, INPUT_KEY_CTRL_R) ||
               kbd_is_down(k, INPUT_KEY_SHIFT, INPUT_KEY_SHIFT_R)) {
        n = kbd_put_code(out, k->set, print, down);
    } else if (down) {
        n = kbd_put_code(out, k->set, shift, true);
        n += kbd_put_code(out + n, k->set, print, true);
    } else {
        n = kbd_put_code(out, k->set, print, false);
        n += kbd_put_code(out + n, k->set, shift, false);
    }
    kbd_emit(k, out, n);
}

static void kbd_send_key(Ps2Kbd *k, unsigned key, bool down)
{
    const Ps2Code *c = &codes[key];
    uint16_t code = k->set == 3 ? c->set3 : k->set == 2 ? c->set2 : c->set1;
    if (k->set != 3 && key == INPUT_KEY_PAUSE) {
        kbd_emit_pause(k, down);
    } else if (k->set != 3 && key == INPUT_KEY_PRINT) {
        kbd_emit_print(k, down);
    } else if (!down && (key == INPUT_KEY_LANG1 || key == INPUT_KEY_LANG2)) {
        return;
    } else if (code && (k->set != 3 || down || k->types[code & 0xff] & KEY_BREAK)) {
        uint8_t out[4];
        kbd_emit(k, out, kbd_put_code(out, k->set, code, down));
    }
    kbd_ready(k);
}

/* Command F3h: delay (bits 6:5) in quarter seconds, then a period of (8 + A) * 2^B * 4.17 ms. */
static int64_t kbd_delay_ns(const Ps2Kbd *k)
{
    return (1 + (k->rate >> 5 & 3)) * INT64_C(250000000);
}

static int64_t kbd_period_ns(const Ps2Kbd *k)
{
    return (8 + (k->rate & 7)) * (INT64_C(1) << (k->rate >> 3 & 3)) * 4170000;
}

static void kbd_stop_repeat(Ps2Kbd *k)
{
    k->repeating = INPUT_KEYS;
    timer_cancel(&k->repeat);
}

static void kbd_repeat(void *opaque)
{
    Ps2Kbd *k = opaque;
    if (k->repeating >= INPUT_KEYS || !k->enabled) {
        return;
    }
    kbd_send_key(k, k->repeating, true);
    timer_arm(&k->repeat, clock_now(k->dev.machine->clock) + kbd_period_ns(k));
}

static bool kbd_repeats(const Ps2Kbd *k, unsigned key)
{
    return k->set == 3 ? k->types[codes[key].set3] & KEY_TYPEMATIC : key != INPUT_KEY_PAUSE;
}

void ps2_kbd_key(Device *dev, unsigned key, bool down)
{
    Ps2Kbd *k = dev_as(Ps2Kbd, dev);
    if (key >= INPUT_KEYS || k->down[key] == down) {
        return;
    }
    k->down[key] = down;
    if (!k->enabled) {
        return;
    }
    kbd_send_key(k, key, down);
    if (down && kbd_repeats(k, key)) {
        k->repeating = key; /* "only the last key held down repeats" */
        timer_arm(&k->repeat, clock_now(dev->machine->clock) + kbd_delay_ns(k));
    } else if (!down && k->repeating == key) {
        kbd_stop_repeat(k);
    }
}

unsigned ps2_kbd_leds(Device *dev)
{
    return dev_as(Ps2Kbd, dev)->leds;
}

static void kbd_set_leds(Ps2Kbd *k, uint8_t leds)
{
    k->leds = leds;
    input_handler_leds(k->input, leds);
}

static void kbd_input(void *opaque, const UiEvent *e)
{
    ps2_kbd_key(opaque, e->code, e->down);
}

/* Keys have three bytes at most in any set; the buffer's last place is for its overrun. While the guest has
 * it off, or asks for something, nothing would arrive, or late. */
static unsigned kbd_room(void *opaque)
{
    const Ps2Kbd *k = dev_as(Ps2Kbd, (Device *)opaque);
    unsigned room = fifo8_room(&k->keys);
    return !k->enabled || k->command || room == 0 ? 0 : (room - 1) / 3;
}

static void kbd_clear(Ps2Kbd *k)
{
    fifo8_clear(&k->keys);
    k->overrun = false;
    kbd_stop_repeat(k);
}

/* Power-on defaults, table "Set 3": typematic, but make/break for shifts and make only for the rest. */
static void kbd_defaults(Ps2Kbd *k)
{
    static const uint8_t make_break[] = { 0x12, 0x59, 0x11, 0x14, 0x19, 0x39, 0x58 };
    static const uint8_t make_only[] = { 0x07, 0x08, 0x0f, 0x17, 0x1f, 0x27, 0x2f, 0x37, 0x3f, 0x47,
                                         0x4f, 0x56, 0x57, 0x5e, 0x5f, 0x62, 0x65, 0x67, 0x6c, 0x6d,
                                         0x6e, 0x6f, 0x76, 0x77, 0x79, 0x7e, 0x8b, 0x8c, 0x8d };
    memset(k->types, KEY_TYPEMATIC, sizeof(k->types));
    for (unsigned i = 0; i < G_N_ELEMENTS(make_break); i++) {
        k->types[make_break[i]] = KEY_BREAK;
    }
    for (unsigned i = 0; i < G_N_ELEMENTS(make_only); i++) {
        k->types[make_only[i]] = 0;
    }
    k->rate = KBD_DEFAULT_RATE;
    k->set = 2;
    kbd_clear(k);
}

static void kbd_reply(Ps2Kbd *k, uint8_t byte)
{
    fifo8_push(&k->replies, byte);
}

/* FCh, FBh, FDh: the codes that follow get a type, until a byte that is a command. */
static uint8_t kbd_type_of(uint8_t command)
{
    switch (command &
            3) { /* F7h/FBh typematic, F8h/FCh make and break, F9h/FDh make, FAh typematic and break */
    case 3: return KEY_TYPEMATIC;
    case 0: return KEY_BREAK;
    case 1: return 0;
    default: return KEY_TYPEMATIC | KEY_BREAK;
    }
}

static void kbd_start_command(Ps2Kbd *k, uint8_t val)
{
    switch (val) {
    case 0xed: /* indicators */
    case 0xf0: /* scan code set */
    case 0xf3: /* typematic rate and delay */
    case 0xfb: /* set key type */
    case 0xfc:
    case 0xfd:
        k->command = val;
        kbd_reply(k, KBD_ACK);
        break;
    case KBD_ECHO: kbd_reply(k, KBD_ECHO); break;
    case 0xf2: /* read id */
        kbd_reply(k, KBD_ACK);
        kbd_reply(k, 0xab);
        kbd_reply(k, 0x83);
        break;
    case 0xf4: /* enable */
        kbd_clear(k);
        k->enabled = true;
        kbd_reply(k, KBD_ACK);
        break;
    case 0xf5: /* default disable */
    case 0xf6: /* set default */
        kbd_defaults(k);
        k->enabled = val == 0xf6;
        kbd_reply(k, KBD_ACK);
        break;
    case 0xf7 ... 0xfa: /* set all keys' type */
        memset(k->types, kbd_type_of(val), sizeof(k->types));
        kbd_clear(k);
        kbd_reply(k, KBD_ACK);
        break;
    case KBD_RESEND: kbd_reply(k, k->last); break;
    case 0xff: /* reset */
        kbd_defaults(k);
        kbd_set_leds(k, 0);
        k->enabled = true;
        fifo8_clear(&k->replies);
        kbd_reply(k, KBD_ACK);
        kbd_reply(k, KBD_BAT_OK);
        break;
    default:
        kbd_reply(k, KBD_RESEND); /* "invalid input" */
        break;
    }
}

static void kbd_finish_command(Ps2Kbd *k, uint8_t command, uint8_t val)
{
    switch (command) {
    case 0xed: kbd_set_leds(k, val & 7); break;
    case 0xf0:
        if (val > 3) {
            kbd_reply(k, KBD_RESEND);
            return;
        }
        kbd_reply(k, KBD_ACK);
        if (val) {
            kbd_clear(k);
            k->set = val;
        } else {
            kbd_reply(k, k->set);
        }
        return;
    case 0xf3: k->rate = val & 0x7f; break;
    default:
        k->types[val] = kbd_type_of(command);
        k->command = command; /* more codes may follow */
        break;
    }
    kbd_reply(k, KBD_ACK);
}

static void kbd_write(Device *dev, uint8_t val)
{
    Ps2Kbd *k = dev_as(Ps2Kbd, dev);
    uint8_t command = k->command;
    k->command = 0;
    if (command && val < 0xed) {
        kbd_finish_command(k, command, val);
    } else {
        kbd_start_command(k, val); /* a command in place of data takes over */
    }
    kbd_ready(k);
}

static bool kbd_pending(Device *dev)
{
    Ps2Kbd *k = dev_as(Ps2Kbd, dev);
    /* While data of a command is awaited, scanning waits. */
    return fifo8_used(&k->replies) || (!k->command && fifo8_used(&k->keys));
}

static uint8_t kbd_take(Device *dev)
{
    Ps2Kbd *k = dev_as(Ps2Kbd, dev);
    uint8_t byte;
    if (fifo8_used(&k->replies)) {
        byte = fifo8_pop_or(&k->replies, 0);
    } else {
        byte = fifo8_pop_or(&k->keys, 0);
        k->overrun = k->overrun && fifo8_used(&k->keys);
    }
    if (byte != KBD_RESEND) {
        k->last = byte;
    }
    return byte;
}

Ps2Link *ps2_kbd_link(Device *dev)
{
    return &dev_as(Ps2Kbd, dev)->link;
}

static bool kbd_realize(Device *dev, Error **errp G_GNUC_UNUSED)
{
    static const InputHandlerOps input = {
        .name = "PS/2 keyboard", .kinds = 1 << INPUT_KIND_KEY, .event = kbd_input, .room = kbd_room
    };
    Ps2Kbd *k = dev_as(Ps2Kbd, dev);
    device_add_fifo8(dev, &k->keys, KBD_BUFFER);
    device_add_fifo8(dev, &k->replies, KBD_REPLIES);
    device_add_timer(dev, &k->repeat, kbd_repeat);
    k->link.pending = kbd_pending;
    k->link.take = kbd_take;
    k->link.write = kbd_write;
    k->input = input_handler_new(dev->machine, dev, &input, dev);
    return true;
}

static void kbd_reset(Device *dev, ResetKind kind G_GNUC_UNUSED)
{
    Ps2Kbd *k = dev_as(Ps2Kbd, dev);
    kbd_defaults(k);
    fifo8_clear(&k->replies);
    memset(k->down, 0, sizeof(k->down));
    k->last = k->command = 0;
    kbd_set_leds(k, 0);
    k->enabled = true;
}

static bool kbd_post_load(void *opaque, Error **errp)
{
    Ps2Kbd *k = opaque;
    if (k->set < 1 || k->set > 3) {
        return error_set(errp, "keyboard uses scan code set %u, there are 1 to 3", k->set);
    }
    kbd_set_leds(k, k->leds);
    return true;
}

static const VmField kbd_fields[] = {
    VM_FIFO8(Ps2Kbd, keys),        VM_FIFO8(Ps2Kbd, replies),
    VM_U8(Ps2Kbd, last),           VM_U8(Ps2Kbd, command),
    VM_U8_MAX(Ps2Kbd, set, 3),     VM_U8_MAX(Ps2Kbd, leds, 7),
    VM_U8_MAX(Ps2Kbd, rate, 0x7f), VM_BOOL(Ps2Kbd, enabled),
    VM_BOOL(Ps2Kbd, overrun),      VM_U8_ARRAY(Ps2Kbd, types),
    VM_U8_ARRAY(Ps2Kbd, down),     VM_U8_MAX(Ps2Kbd, repeating, INPUT_KEYS),
    VM_TIMER(Ps2Kbd, repeat),      { 0 },
};
static const VmState kbd_state = {
    .name = "ps2-kbd", .version = 1, .oldest = 1, .fields = kbd_fields, .post_load = kbd_post_load
};

const DeviceType ps2_kbd_type = {
    .name = "ps2-kbd",
    .desc = "PS/2 keyboard",
    .size = sizeof(Ps2Kbd),
    .internal = true,
    .vmstate = &kbd_state,
    .realize = kbd_realize,
    .reset = kbd_reset,
};
