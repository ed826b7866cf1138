/* SPDX-License-Identifier: MIT
 * hw/input/vmmouse.c - vmmouse: VMware's pointer, behind the port of hw/misc/vmport.c.
 *
 * Models: VMware's virtual mouse protocol (vmmouse_defs.h of xf86-input-vmmouse): commands 39 (data), 40
 *         (status: words that wait, or an error), 41 (read id, disable, absolute, relative). A packet has
 *         four words: buttons, x, y (0 to 65535 from edge to edge, or travel to the right and up), wheel. The
 * PS/2 mouse's interrupt tells of it. The machine's pointers come here between the guest's request for a mode
 * and its disabling or reset. Does not model: restricting the port to the kernel (command 86). Threads: the
 * platform domain. Of a full queue the last packet takes up what is new.
 */
#include "rhea/hw/isa.h"
#include "rhea/hw/ps2.h"
#include "rhea/hw/vmport.h"
#include "rhea/ui/input.h"

#include <string.h>

enum { CMD_DATA = 39, CMD_STATUS = 40, CMD_COMMAND = 41 };
#define DO_READ_ID  0x45414552u
#define DO_DISABLE  0x000000f5u
#define DO_RELATIVE 0x4c455252u
#define DO_ABSOLUTE 0x53424152u
#define VERSION_ID  0x3442554au
enum { QUEUE = 256, PACKET = 4, FAILED = 0xffff, RELATIVE = 0x10000, DATA_MOST = 6, TRAVEL_MAX = 1 << 20 };
enum { LEFT = 0x20, RIGHT = 0x10, MIDDLE = 0x08 };
typedef enum VmmouseMode { MODE_OFF, MODE_ABSOLUTE, MODE_RELATIVE, MODES } VmmouseMode;

typedef struct Vmmouse {
    Device dev;
    Device *ps2; /* wiring; or NULL */
    InputHandler *absolute, *relative;
    /* guest-visible state */
    bool failed; /* disabled, or the driver asked for what there is not */
    uint8_t mode;
    uint16_t n;
    bool last_is_packet; /* of the queue's words */
    uint32_t queue[QUEUE];
    /* what will be the next packet, as its words are */
    uint32_t buttons, x, y, z;
    bool moved;
} Vmmouse;

/* ---- the queue ---- */

static uint32_t add(uint32_t a, uint32_t b, int most)
{
    return (uint32_t)CLAMP((int64_t)(int32_t)a + (int32_t)b, -most, most);
}

static void queue_packet(Vmmouse *s)
{
    bool relative = s->mode == MODE_RELATIVE;
    uint32_t words[PACKET] = { s->buttons | (relative ? RELATIVE : 0), s->x, s->y, s->z };
    uint32_t *last = s->last_is_packet && s->n >= PACKET ? &s->queue[s->n - PACKET] : NULL;
    if (last && (s->n > QUEUE - PACKET || (last[0] == words[0] && !last[3] && !s->z))) {
        last[0] = words[0];
        last[1] = relative ? add(last[1], s->x, TRAVEL_MAX) : s->x;
        last[2] = relative ? add(last[2], s->y, TRAVEL_MAX) : s->y;
        last[3] = add(last[3], s->z, 127);
    } else if (s->n <= QUEUE - PACKET) {
        memcpy(&s->queue[s->n], words, sizeof(words));
        s->n += PACKET;
        s->last_is_packet = true;
    }
    s->z = 0;
    if (relative) {
        s->x = s->y = 0;
    }
    s->moved = false;
}

static void set_mode(Vmmouse *s, VmmouseMode mode)
{
    if (s->mode != mode) {
        s->mode = mode;
        s->x = s->y = s->z = s->buttons = 0;
        s->moved = false;
    }
    input_handler_activate(s->absolute, mode == MODE_ABSOLUTE);
    input_handler_activate(s->relative, mode == MODE_RELATIVE);
}

static void disable(Vmmouse *s)
{
    s->failed = true;
    s->n = 0;
    s->last_is_packet = false;
    set_mode(s, MODE_OFF);
}

/* ---- input ---- */

static void pointer_event(void *opaque, const UiEvent *e)
{
    static const uint8_t bits[POINTER_BUTTONS] = {
        [POINTER_LEFT] = LEFT, [POINTER_RIGHT] = RIGHT, [POINTER_MIDDLE] = MIDDLE
    };
    Vmmouse *s = opaque;
    if (e->kind == INPUT_KIND_ABS) {
        *(e->code ? &s->y : &s->x) = (uint32_t)CLAMP(e->value, 0, INPUT_ABS_MAX) * 2;
    } else if (e->kind == INPUT_KIND_REL && e->code) {
        s->y = add(s->y, (uint32_t)-CLAMP(e->value, -TRAVEL_MAX, TRAVEL_MAX), TRAVEL_MAX);
    } else if (e->kind == INPUT_KIND_REL) {
        s->x = add(s->x, (uint32_t)e->value, TRAVEL_MAX);
    } else if (e->code == POINTER_WHEEL_UP || e->code == POINTER_WHEEL_DOWN) {
        s->z = add(s->z, e->down ? (e->code == POINTER_WHEEL_UP ? UINT32_MAX : 1) : 0, 127);
    } else if (e->code < POINTER_BUTTONS) {
        s->buttons = e->down ? s->buttons | bits[e->code] : s->buttons & ~(uint32_t)bits[e->code];
    }
    s->moved = true;
}

static void pointer_sync(void *opaque)
{
    Vmmouse *s = opaque;
    if (s->moved && s->mode != MODE_OFF && !s->failed) {
        queue_packet(s);
        if (s->ps2) {
            ps2_mouse_nudge(s->ps2);
        }
    }
}

/* ---- commands ---- */

/* EBX words of the queue, into EAX and the others. */
static void get_data(void *opaque, VmportRegs *r)
{
    Vmmouse *s = opaque;
    uint32_t *to[DATA_MOST] = { &r->eax, &r->ebx, &r->ecx, &r->edx, &r->esi, &r->edi };
    uint32_t n = r->ebx;
    if (!n || n > DATA_MOST || n > s->n) {
        guest_error(&s->dev, "vmmouse: %u words of %u are asked for", n, s->n);
        s->failed = true;
        return;
    }
    for (uint32_t i = 0; i < n; i++) {
        *to[i] = s->queue[i];
    }
    s->n -= n;
    memmove(s->queue, s->queue + n, s->n * sizeof(s->queue[0]));
}

static void get_status(void *opaque, VmportRegs *r)
{
    const Vmmouse *s = opaque;
    r->eax = (s->failed ? (uint32_t)FAILED << 16 : 0) | s->n;
}

static void do_command(void *opaque, VmportRegs *r)
{
    Vmmouse *s = opaque;
    uint32_t what = r->ebx;
    r->eax = 0;
    switch (what) {
    case DO_READ_ID:
        s->failed = false;
        s->n = 1;
        s->queue[0] = VERSION_ID;
        s->last_is_packet = false;
        break;
    case DO_DISABLE: disable(s); break;
    case DO_ABSOLUTE: set_mode(s, MODE_ABSOLUTE); break;
    case DO_RELATIVE: set_mode(s, MODE_RELATIVE); break;
    default: guest_unimp(&s->dev, "vmmouse: command 0x%x", what); break;
    }
}

void vmmouse_execute(Device *dev, unsigned command, VmportRegs *r)
{
    static void (*const run[])(void *opaque, VmportRegs *r) = { get_data, get_status, do_command };
    if (command >= CMD_DATA && command <= CMD_COMMAND) {
        run[command - CMD_DATA](dev_as(Vmmouse, dev), r);
    }
}

void vmmouse_wire(Device *dev, Device *vmport, Device *mouse)
{
    Vmmouse *s = dev_as(Vmmouse, dev);
    s->ps2 = mouse;
    vmport_register(vmport, CMD_DATA, get_data, s);
    vmport_register(vmport, CMD_STATUS, get_status, s);
    vmport_register(vmport, CMD_COMMAND, do_command, s);
}

/* ---- life ---- */

static bool vmmouse_realize(Device *dev, Error **errp G_GNUC_UNUSED)
{
    static const InputHandlerOps absolute = { .name = "vmmouse",
                                              .kinds = 1 << INPUT_KIND_ABS | 1 << INPUT_KIND_BUTTON,
                                              .event = pointer_event,
                                              .sync = pointer_sync,
                                              .quiet = true };
    static const InputHandlerOps relative = { .name = "vmmouse",
                                              .kinds = 1 << INPUT_KIND_REL | 1 << INPUT_KIND_BUTTON,
                                              .event = pointer_event,
                                              .sync = pointer_sync,
                                              .quiet = true };
    Vmmouse *s = dev_as(Vmmouse, dev);
    s->absolute = input_handler_new(dev->machine, dev, &absolute, s);
    s->relative = input_handler_new(dev->machine, dev, &relative, s);
    set_mode(s, MODE_OFF);
    return true;
}

static void vmmouse_reset(Device *dev, ResetKind kind G_GNUC_UNUSED)
{
    Vmmouse *s = dev_as(Vmmouse, dev);
    disable(s);
    memset(s->queue, 0, sizeof(s->queue));
    s->x = s->y = s->z = s->buttons = 0;
    s->moved = false;
}

static bool vmmouse_post_load(void *opaque, Error **errp G_GNUC_UNUSED)
{
    Vmmouse *s = opaque;
    set_mode(s, s->mode);
    return true;
}

static const VmField vmmouse_fields[] = {
    VM_BOOL(Vmmouse, failed),
    VM_U8_MAX(Vmmouse, mode, MODES - 1),
    VM_U16_MAX(Vmmouse, n, QUEUE),
    VM_BOOL(Vmmouse, last_is_packet),
    VM_U32_ARRAY(Vmmouse, queue),
    VM_U32(Vmmouse, buttons),
    VM_U32(Vmmouse, x),
    VM_U32(Vmmouse, y),
    VM_U32(Vmmouse, z),
    VM_BOOL(Vmmouse, moved),
    { 0 },
};
static const VmState vmmouse_state = {
    .name = "vmmouse",
    .version = 1,
    .oldest = 1,
    .fields = vmmouse_fields,
    .post_load = vmmouse_post_load,
};
static const IsaOps vmmouse_isa = { .irq = -1 };

const DeviceType vmmouse_type = {
    .name = "vmmouse",
    .desc = "VMware's pointer",
    .size = sizeof(Vmmouse),
    .bus_type = &isa_bus_type,
    .bus_ops = &vmmouse_isa,
    .category = "Input",
    .internal = true,
    .vmstate = &vmmouse_state,
    .realize = vmmouse_realize,
    .reset = vmmouse_reset,
};
