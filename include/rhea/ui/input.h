/* SPDX-License-Identifier: MIT
 * rhea/ui/input.h - keys and pointers: from windows, VNC clients and monitors to the guest's devices.
 *
 * A device that takes input is an InputHandler with the kinds of event it understands. Events go to the
 * handler that was activated last among those that take the kind and belong to the console (or to all of
 * them). So a USB tablet takes the pointer from the PS/2 mouse once its driver asks for reports, and gives
 * it back.
 */
#ifndef RHEA_UI_INPUT_H
#define RHEA_UI_INPUT_H

#include "rhea/ui/console.h"

/* Keys by place, with the names that QEMU's sendkey and input events use. */
typedef enum InputKey {
#define INPUT_KEY(id, name, set1, set2, set3, usage, evdev) INPUT_KEY_##id,
#include "rhea/ui/keys.h"
#undef INPUT_KEY
    INPUT_KEYS
} InputKey;
int input_key_find(const char *name);          /* -1: no such key */
/* By scan code of set 1, with 80h added where that begins with E0h; Pause is C6h. -1: no such key. */
int input_key_find_code(unsigned code);
int input_key_find_evdev(unsigned code);       /* Linux's KEY_* (evdev), -1 */
const char *input_key_name(InputKey key);
unsigned input_key_usage(InputKey key);        /* page 7 of the USB HID usage tables; 0: none */
unsigned input_key_evdev(InputKey key);        /* 0: none */

typedef enum PointerButton {
    POINTER_LEFT, POINTER_MIDDLE, POINTER_RIGHT, POINTER_WHEEL_UP, POINTER_WHEEL_DOWN, POINTER_SIDE,
    POINTER_EXTRA, POINTER_WHEEL_LEFT, POINTER_WHEEL_RIGHT, POINTER_BUTTONS
} PointerButton;
enum { INPUT_ABS_MAX = 0x7fff }; /* the console's right and bottom edge */

typedef enum InputKind {
    INPUT_KIND_KEY, INPUT_KIND_BUTTON, INPUT_KIND_REL, INPUT_KIND_ABS, INPUT_KINDS
} InputKind;
typedef struct UiEvent {
    InputKind kind;
    uint8_t code;      /* InputKey, PointerButton, or the axis: 0 x (to the right), 1 y (down) */
    bool down;         /* keys and buttons */
    int32_t value;     /* REL: how far; ABS: 0..INPUT_ABS_MAX */
} UiEvent;

typedef struct InputHandlerOps { /* in the device's domain */
    /* query-mice's: "QEMU PS/2 Mouse"-like name of the model. NULL: none of the guest's, and not listed */
    const char *name;
    unsigned kinds;              /* bits 1 << InputKind */
    void (*event)(void *opaque, const UiEvent *e);
    void (*sync)(void *opaque);  /* events so far belong together; may be NULL */
    /* How many key events can come now without one being lost; NULL: any number. For type-text: Pause and
     * Print Screen, which are longer, do not count. */
    unsigned (*room)(void *opaque);
    /* Boards have it whether or not guests know of it: nobody hears of it while it is not active. */
    bool quiet;
} InputHandlerOps;
typedef struct InputHandler InputHandler;
/* In realize; active at once, as the one activated last: who waits for a driver says
 * input_handler_activate(h, false) then. It goes with the device. dev NULL: none, and no domain is held; then
 * input_handler_free(). MAIN_LOOP. */
InputHandler *input_handler_new(Machine *m, Device *dev, const InputHandlerOps *ops, void *opaque);
void input_handler_free(InputHandler *h);      /* MAIN_LOOP */
/* The guest's driver asks for reports, or has stopped to. Any thread, also with the domain held: takes
 * effect at the next event. */
void input_handler_activate(InputHandler *h, bool on);
/* Only events from this console (property display=). NULL: from all. MAIN_LOOP. */
void input_handler_bind(InputHandler *h, Console *c);
/* The properties display= (id or path of a device that is there already; NULL: all consoles) and head=. */
bool input_handler_bind_display(InputHandler *h, const char *display, unsigned head, Error **errp);
/* LEDs of the keyboard: bit 0 scroll lock, 1 num lock, 2 caps lock. Device's domain; listeners hear of it
 * on the main loop. */
void input_handler_leds(InputHandler *h, unsigned leds);

/* ---- senders: MAIN_LOOP, no domain held ---- */
/* All events, then sync. from: where they happened, NULL: no console. Downs are remembered, for
 * input_release_all(). A key goes down twice without harm (a repetition); false: no device takes one of
 * the kinds (the rest is delivered). */
bool input_send(Machine *m, Console *from, const UiEvent *events, unsigned n);
bool input_send_key(Machine *m, Console *from, InputKey key, bool down);
/* What came from there and from nowhere else: a window lost the focus, the console goes. */
void input_release_all(Machine *m, Console *from);
bool input_has(Machine *m, Console *from, InputKind kind); /* somebody takes it at present */
bool input_is_there(Machine *m, InputKind kind);           /* some device would, once its driver works */
bool input_pointer_is_absolute(Machine *m, Console *from);
unsigned input_leds(Machine *m);
unsigned input_key_room(Machine *m, Console *from); /* see InputHandlerOps.room; UINT_MAX: any number */
typedef struct InputWatcher { /* LEDs or the kind of the pointer have changed; main loop */
    void (*changed)(struct InputWatcher *w);
    Machine *machine;
} InputWatcher;
void input_watch(Machine *m, InputWatcher *w);
void input_unwatch(InputWatcher *w);

/* For query-mice, mouse_set: handlers of pointers, the one activated last first. index: counted as they are
 * made. */
typedef struct InputMouse { const char *name; unsigned index; bool current, absolute; } InputMouse;
GArray *input_mice(Machine *m);                /* InputMouse; g_array_unref */
bool input_mouse_set(Machine *m, unsigned index, Error **errp);

#endif
