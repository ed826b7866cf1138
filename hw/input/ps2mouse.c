/* SPDX-License-Identifier: MIT
 * hw/input/ps2mouse.c - PS/2 mouse: standard, with wheel (IntelliMouse), with five buttons (Explorer).
 * Models:         IBM PS/2 Technical Reference, "Mouse": stream, remote and wrap modes, resolution, 2:1
 *                 scaling, sample rate, status, all commands; Microsoft's id switching by the sample rates
 *                 200-100-80 and 200-200-80.
 * Does not model: serial timing; a sample rate only bounds how often packets are made.
 * Threads:        the device's domain.
 */
#include "rhea/hw/ps2.h"
#include "rhea/system/machine.h"

enum { M_ACK = 0xfa, M_RESEND = 0xfe, M_ERROR = 0xfc, M_BAT_OK = 0xaa };
enum { M_REPLIES = 16, M_PACKETS = 64 };
enum { ID_STANDARD = 0, ID_WHEEL = 3, ID_EXPLORER = 4 };
enum { STATUS_REMOTE = 0x40, STATUS_ENABLED = 0x20, STATUS_SCALE = 0x10 };
enum { P_SYNC = 0x08, P_X_SIGN = 0x10, P_Y_SIGN = 0x20 };
enum { M_MAX_TRAVEL = 1 << 20 };

typedef struct Ps2Mouse {
    Device dev;
    Ps2Link link; /* wiring */
    Timer sample;
    /* guest-visible state */
    Fifo8 replies, packets;
    uint8_t last, command;
    uint8_t id, rate, resolution, buttons;
    uint8_t rates[2]; /* the two sample rates set before, for the id switch */
    bool enabled, remote, wrap, scale;
    uint8_t told;        /* the buttons as in the last packet; no part of the state */
    bool changed;        /* moved or clicked since the last packet */
    uint32_t dx, dy, dz; /* two's complement: travel since the last packet; y grows upwards */
} Ps2Mouse;

static void mouse_ready(Ps2Mouse *s)
{
    if (s->link.host.data_ready) {
        s->link.host.data_ready(s->link.host.opaque);
    }
}

/* Takes what fits the nine bits of a packet; the rest goes into the next one. */
static int mouse_take_axis(uint32_t *travel, int lo, int hi)
{
    int d = CLAMP((int32_t)*travel, lo, hi);
    *travel -= (uint32_t)d;
    return d;
}

/* "Scaling 2:1": 0 1 1 3 6 9, then doubled; applies to stream mode. */
static int mouse_scale(const Ps2Mouse *s, int d, bool stream)
{
    static const uint8_t small[] = { 0, 1, 1, 3, 6, 9 };
    int n = ABS(d);
    if (!s->scale || !stream) {
        return d;
    }
    n = MIN(n < (int)sizeof(small) ? small[n] : 2 * n, 255);
    return d < 0 ? -n : n;
}

static unsigned mouse_packet(Ps2Mouse *s, uint8_t *out, bool stream)
{
    int dx = mouse_scale(s, mouse_take_axis(&s->dx, -255, 255), stream);
    int dy = mouse_scale(s, mouse_take_axis(&s->dy, -255, 255), stream);
    out[0] = P_SYNC | (s->buttons & 7) | (dx < 0 ? P_X_SIGN : 0) | (dy < 0 ? P_Y_SIGN : 0);
    out[1] = dx;
    out[2] = dy;
    s->told = s->buttons;
    s->changed = s->dx || s->dy;
    if (s->id == ID_STANDARD) {
        s->dz = 0;
        return 3;
    }
    int dz = mouse_take_axis(&s->dz, -8, 7);
    out[3] = s->id == ID_WHEEL ? dz : (dz & 0x0f) | (s->buttons & 0x18) << 1;
    s->changed |= s->dz != 0;
    return 4;
}

static bool mouse_streams(const Ps2Mouse *s)
{
    return s->enabled && !s->remote && !s->wrap && s->changed;
}

static void mouse_report(Ps2Mouse *s)
{
    if (fifo8_room(&s->packets) >= 4) {
        uint8_t packet[4];
        unsigned n = mouse_packet(s, packet, true);
        for (unsigned i = 0; i < n; i++) {
            fifo8_push(&s->packets, packet[i]);
        }
    }
}

/* Stream mode: one packet per sample period while there is something to tell and room for it. */
static void mouse_stream(Ps2Mouse *s)
{
    if (!mouse_streams(s) || timer_armed(&s->sample)) {
        return;
    }
    mouse_report(s);
    timer_arm(&s->sample, clock_now(s->dev.machine->clock) + INT64_C(1000000000) / s->rate);
    mouse_ready(s);
}

static void mouse_sampled(void *opaque)
{
    mouse_stream(opaque);
}

static uint32_t mouse_add(uint32_t travel, int d)
{
    return (uint32_t)CLAMP((int64_t)(int32_t)travel + d, -M_MAX_TRAVEL, M_MAX_TRAVEL);
}

static void mouse_travel(Ps2Mouse *s, int dx, int dy, int dz)
{
    s->dx = mouse_add(s->dx, dx);
    s->dy = mouse_add(s->dy, dy == INT_MIN ? INT_MAX : -dy);
    s->dz = mouse_add(s->dz, dz);
    s->changed |= dx || dy || (dz && s->id != ID_STANDARD);
}

/* A click shorter than a sample period is one: what was pressed is told before it is released. */
static void mouse_press(Ps2Mouse *s, unsigned mask)
{
    mask &= 0x1f;
    if (mask != s->buttons && s->buttons != s->told && mouse_streams(s)) {
        mouse_report(s);
    }
    s->changed |= mask != s->buttons;
    s->buttons = mask;
}

void ps2_mouse_move(Device *dev, int dx, int dy, int dz)
{
    mouse_travel(dev_as(Ps2Mouse, dev), dx, dy, dz);
    mouse_stream(dev_as(Ps2Mouse, dev));
}

void ps2_mouse_nudge(Device *dev)
{
    Ps2Mouse *s = dev_as(Ps2Mouse, dev);
    if (s->enabled && !s->remote && !s->wrap) {
        s->changed = true;
        mouse_stream(s);
    }
}

void ps2_mouse_buttons(Device *dev, unsigned mask)
{
    mouse_press(dev_as(Ps2Mouse, dev), mask);
    mouse_stream(dev_as(Ps2Mouse, dev));
}

/* Movements and buttons that belong together make one packet: mouse_sync() sends. */
static void mouse_input(void *opaque, const UiEvent *e)
{
    static const uint8_t bits[POINTER_BUTTONS] = { [POINTER_LEFT] = 1,
                                                   [POINTER_RIGHT] = 2,
                                                   [POINTER_MIDDLE] = 4,
                                                   [POINTER_SIDE] = 8,
                                                   [POINTER_EXTRA] = 16 };
    Ps2Mouse *s = dev_as(Ps2Mouse, (Device *)opaque);
    if (e->kind == INPUT_KIND_REL) {
        mouse_travel(s, e->code == 0 ? e->value : 0, e->code == 1 ? e->value : 0, 0);
    } else if (e->code == POINTER_WHEEL_UP || e->code == POINTER_WHEEL_DOWN) {
        mouse_travel(s, 0, 0, !e->down ? 0 : e->code == POINTER_WHEEL_UP ? -1 : 1);
    } else {
        mouse_press(s, e->down ? s->buttons | bits[e->code] : s->buttons & ~bits[e->code]);
    }
}

static void mouse_sync(void *opaque)
{
    mouse_stream(dev_as(Ps2Mouse, (Device *)opaque));
}

static void mouse_reply(Ps2Mouse *s, uint8_t byte)
{
    fifo8_push(&s->replies, byte);
}

static void mouse_clear(Ps2Mouse *s)
{
    fifo8_clear(&s->packets);
    s->dx = s->dy = s->dz = 0;
    s->changed = false;
}

static void mouse_defaults(Ps2Mouse *s)
{
    s->rate = 100;
    s->resolution = 2;
    s->scale = s->remote = s->enabled = false;
    mouse_clear(s);
}

static void mouse_set_rate(Ps2Mouse *s, uint8_t rate)
{
    if (!rate) {
        mouse_reply(s, M_ERROR);
        return;
    }
    if (s->rates[0] == 200 && rate == 80) {
        if (s->rates[1] == 100) {
            s->id = ID_WHEEL;
        } else if (s->rates[1] == 200 && s->id == ID_WHEEL) {
            s->id = ID_EXPLORER;
        }
    }
    s->rates[0] = s->rates[1];
    s->rates[1] = rate;
    s->rate = rate;
    mouse_reply(s, M_ACK);
}

static void mouse_command(Ps2Mouse *s, uint8_t val)
{
    uint8_t packet[4];
    mouse_reply(s, M_ACK);
    switch (val) {
    case 0xe6: /* scaling 1:1, 2:1 */
    case 0xe7: s->scale = val & 1; break;
    case 0xe8: /* resolution */
    case 0xf3: /* sample rate */ s->command = val; break;
    case 0xe9: /* status request */
        mouse_reply(s, (s->remote ? STATUS_REMOTE : 0) | (s->enabled ? STATUS_ENABLED : 0) |
                           (s->scale ? STATUS_SCALE : 0) | (s->buttons & 1) << 2 | (s->buttons & 4) >> 1 |
                           (s->buttons & 2) >> 1);
        mouse_reply(s, s->resolution);
        mouse_reply(s, s->rate);
        break;
    case 0xea: /* stream mode, remote mode */
    case 0xf0:
        s->remote = val == 0xf0;
        mouse_clear(s);
        break;
    case 0xeb: /* read data */
        for (unsigned i = 0, n = mouse_packet(s, packet, false); i < n; i++) {
            mouse_reply(s, packet[i]);
        }
        break;
    case 0xec: /* reset wrap mode */ break;
    case 0xee: /* wrap mode */
        s->wrap = true;
        mouse_clear(s);
        break;
    case 0xf2: /* read id */ mouse_reply(s, s->id); break;
    case 0xf4: s->enabled = true; break;
    case 0xf5: s->enabled = false; break;
    case 0xf6: mouse_defaults(s); break;
    case 0xff:
        mouse_defaults(s);
        s->id = ID_STANDARD;
        s->rates[0] = s->rates[1] = 0;
        fifo8_clear(&s->replies);
        mouse_reply(s, M_ACK);
        mouse_reply(s, M_BAT_OK);
        mouse_reply(s, ID_STANDARD);
        break;
    }
}

/* Bytes the mouse does not know: first "resend", which tells the host of an error. */
static bool mouse_knows(uint8_t val)
{
    return (val >= 0xe6 && val <= 0xec) || val == 0xee || (val >= 0xf0 && val <= 0xf6 && val != 0xf1) ||
           val == 0xff;
}

static void mouse_write(Device *dev, uint8_t val)
{
    Ps2Mouse *s = dev_as(Ps2Mouse, dev);
    uint8_t command = s->command;
    s->command = 0;
    if (s->wrap && val != 0xff && val != 0xec) {
        mouse_reply(s, val); /* "wrap mode": everything but Reset and Reset Wrap Mode comes back */
        mouse_ready(s);
        return;
    }
    s->wrap = false;
    if (val == M_RESEND) {
        mouse_reply(s, s->last);
    } else if (command == 0xe8 && val <= 3) {
        s->resolution = val;
        mouse_reply(s, M_ACK);
    } else if (command == 0xf3 && val <= 200) {
        mouse_set_rate(s, val);
    } else if (!mouse_knows(val)) {
        mouse_reply(s, command ? M_ERROR : M_RESEND);
    } else {
        mouse_command(s, val);
    }
    mouse_ready(s);
    mouse_stream(s);
}

static bool mouse_pending(Device *dev)
{
    Ps2Mouse *s = dev_as(Ps2Mouse, dev);
    return fifo8_used(&s->replies) || fifo8_used(&s->packets);
}

static uint8_t mouse_take(Device *dev)
{
    Ps2Mouse *s = dev_as(Ps2Mouse, dev);
    bool reply = fifo8_used(&s->replies);
    uint8_t byte = fifo8_pop_or(reply ? &s->replies : &s->packets, 0);
    s->last = byte != M_RESEND ? byte : s->last;
    return byte;
}

Ps2Link *ps2_mouse_link(Device *dev)
{
    return &dev_as(Ps2Mouse, dev)->link;
}

static bool mouse_realize(Device *dev, Error **errp G_GNUC_UNUSED)
{
    static const InputHandlerOps input = { .name = "PS/2 mouse",
                                           .kinds = 1 << INPUT_KIND_REL | 1 << INPUT_KIND_BUTTON,
                                           .event = mouse_input,
                                           .sync = mouse_sync };
    Ps2Mouse *s = dev_as(Ps2Mouse, dev);
    device_add_fifo8(dev, &s->replies, M_REPLIES);
    device_add_fifo8(dev, &s->packets, M_PACKETS);
    device_add_timer(dev, &s->sample, mouse_sampled);
    s->link.pending = mouse_pending;
    s->link.take = mouse_take;
    s->link.write = mouse_write;
    input_handler_new(dev->machine, dev, &input, dev);
    return true;
}

static void mouse_reset(Device *dev, ResetKind kind G_GNUC_UNUSED)
{
    Ps2Mouse *s = dev_as(Ps2Mouse, dev);
    mouse_defaults(s);
    fifo8_clear(&s->replies);
    s->last = s->command = s->id = s->buttons = s->told = 0;
    s->rates[0] = s->rates[1] = 0;
    s->wrap = false;
    timer_cancel(&s->sample);
}

static bool mouse_post_load(void *opaque, Error **errp)
{
    Ps2Mouse *s = opaque;
    if (!s->rate || (s->id != ID_STANDARD && s->id != ID_WHEEL && s->id != ID_EXPLORER)) {
        return error_set(errp, "mouse has sample rate %u and id %u, no mouse has", s->rate, s->id);
    }
    return true;
}

static const VmField mouse_fields[] = {
    VM_FIFO8(Ps2Mouse, replies),
    VM_FIFO8(Ps2Mouse, packets),
    VM_U8(Ps2Mouse, last),
    VM_U8(Ps2Mouse, command),
    VM_U8(Ps2Mouse, id),
    VM_U8_MAX(Ps2Mouse, rate, 200),
    VM_U8_MAX(Ps2Mouse, resolution, 3),
    VM_U8_MAX(Ps2Mouse, buttons, 0x1f),
    VM_U8_ARRAY(Ps2Mouse, rates),
    VM_BOOL(Ps2Mouse, enabled),
    VM_BOOL(Ps2Mouse, remote),
    VM_BOOL(Ps2Mouse, wrap),
    VM_BOOL(Ps2Mouse, scale),
    VM_BOOL(Ps2Mouse, changed),
    VM_U32(Ps2Mouse, dx),
    VM_U32(Ps2Mouse, dy),
    VM_U32(Ps2Mouse, dz),
    VM_TIMER(Ps2Mouse, sample),
    { 0 },
};
static const VmState mouse_state = {
    .name = "ps2-mouse", .version = 1, .oldest = 1, .fields = mouse_fields, .post_load = mouse_post_load
};

const DeviceType ps2_mouse_type = {
    .name = "ps2-mouse",
    .desc = "PS/2 mouse",
    .size = sizeof(Ps2Mouse),
    .internal = true,
    .vmstate = &mouse_state,
    .realize = mouse_realize,
    .reset = mouse_reset,
};
