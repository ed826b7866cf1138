/* SPDX-License-Identifier: MIT
 * rhea/hw/ps2.h - PS/2 keyboard and mouse, and the 8042 they plug into. Platform domain.
 */
#ifndef RHEA_HW_PS2_H
#define RHEA_HW_PS2_H

#include "rhea/system/device.h"
#include "rhea/ui/input.h"

/* "i8042": ISA device at 60h and 64h; properties kbd-irq, mouse-irq, kbd-throttle. Makes its keyboard and
 * mouse. Exported line I8042_LINE_A20 is the A20 gate (high: not masked); the two interrupt lines are
 * connected by the device itself. */
extern const DeviceType i8042_type;
enum { I8042_LINE_KBD, I8042_LINE_MOUSE, I8042_LINE_A20 };
Device *i8042_keyboard(Device *kbc);
Device *i8042_mouse(Device *kbc);

extern const DeviceType ps2_kbd_type, ps2_mouse_type; /* "ps2-kbd", "ps2-mouse" */

/* The serial link, as its host (a controller) sees it. */
typedef struct Ps2Host {
    void (*data_ready)(void *opaque); /* the device has (more) bytes; in the domain, may call ps2_take() */
    void *opaque;
} Ps2Host;
typedef struct Ps2Link {
    Ps2Host host;
    bool (*pending)(Device *dev);
    uint8_t (*take)(Device *dev);            /* only when pending */
    void (*write)(Device *dev, uint8_t byte);
} Ps2Link;
Ps2Link *ps2_kbd_link(Device *kbd);
Ps2Link *ps2_mouse_link(Device *mouse);

/* Input entry points; hold the platform domain. A repeated `down` is ignored: the keyboard repeats by
 * itself. */
void ps2_kbd_key(Device *kbd, unsigned key, bool down); /* InputKey */
unsigned ps2_kbd_leds(Device *kbd);     /* bit 0 scroll lock, 1 num lock, 2 caps lock */
void ps2_mouse_move(Device *mouse, int dx, int dy, int dz); /* +x right, +y down, +z wheel towards the user */
/* A packet as if it had been touched, without any news: its interrupt is what counts. */
void ps2_mouse_nudge(Device *mouse);
void ps2_mouse_buttons(Device *mouse, unsigned mask); /* bit 0 left, 1 right, 2 middle, 3 and 4 side */

#endif
