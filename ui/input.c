/* SPDX-License-Identifier: MIT
 * ui/input.c - events from viewers to the guest's keyboards and pointers.
 *
 * Who gets an event is decided when it comes: of the handlers that are active, take its kind, and belong to
 * the console it comes from (or, when there is none of those, to no console) the one with the youngest stamp.
 * A release goes to whoever got the press, whatever has become active meanwhile: no device is left with a key
 * that is down for ever.
 *
 * Machine.input lives as long as the machine has handlers or watchers.
 * Threads: main loop; stamps and LEDs are atomics, which devices set on any thread and a task looks at.
 */
#include "rhea/ui/input.h"
#include "rhea/system/machine.h"
#include "rhea/util/errorcode.h"

#include <string.h>

typedef struct MachineInput InputState;
struct InputHandler {
    InputState *state;
    Device *dev;
    const InputHandlerOps *ops;
    void *opaque;
    const Console *bound;  /* only compared */
    unsigned stamp;        /* atomic: when it became active; 0: it is not */
    unsigned leds;         /* atomic */
    unsigned index;        /* of pointers: their number for monitors */
    bool touched;          /* it got events that it was not told the end of */
    bool keys[INPUT_KEYS]; /* what it got a press of, and no release */
    unsigned buttons;
};

/* What is held down by one console's viewers. */
typedef struct InputSource {
    const Console *from;
    bool keys[INPUT_KEYS];
    unsigned buttons; /* bits 1 << PointerButton */
} InputSource;

struct MachineInput {
    Machine *machine;
    GPtrArray *handlers;       /* InputHandler * */
    GPtrArray *sources;        /* InputSource * */
    GSList *watchers;          /* InputWatcher * */
    Task changed;              /* LEDs or stamps did */
    unsigned stamps, pointers; /* atomic: given so far; the next pointer's number */
    unsigned leds;             /* as watchers were told */
    bool absolute;
};

enum { POINTER_KINDS = 1 << INPUT_KIND_REL | 1 << INPUT_KIND_ABS };
enum {
    WHEEL =
        1 << POINTER_WHEEL_UP | 1 << POINTER_WHEEL_DOWN | 1 << POINTER_WHEEL_LEFT | 1 << POINTER_WHEEL_RIGHT
};

/* ---- state ---- */

static void tell_watchers(void *opaque)
{
    InputState *s = opaque;
    unsigned leds = input_leds(s->machine);
    bool absolute = input_pointer_is_absolute(s->machine, NULL);
    if (leds == s->leds && absolute == s->absolute) {
        return;
    }
    s->leds = leds;
    s->absolute = absolute;
    g_autoptr(GSList) all = g_slist_copy(s->watchers); /* one that is told may leave */
    for (GSList *l = all; l; l = l->next) {
        if (g_slist_find(s->watchers, l->data)) {
            InputWatcher *w = l->data;
            w->changed(w);
        }
    }
}

static InputState *need_state(Machine *m)
{
    InputState *s = m->input;
    if (!s) {
        s = g_new0(InputState, 1);
        s->machine = m;
        s->handlers = g_ptr_array_new_with_free_func(g_free);
        s->sources = g_ptr_array_new_with_free_func(g_free);
        s->changed = (Task){ .run = tell_watchers, .opaque = s };
        m->input = s;
    }
    return s;
}

static void drop_unused(InputState *s)
{
    if (s->handlers->len || s->watchers) {
        return;
    }
    loop_unpost(s->machine->loop, &s->changed);
    s->machine->input = NULL;
    g_ptr_array_free(s->handlers, TRUE);
    g_ptr_array_free(s->sources, TRUE);
    g_free(s);
}

/* ---- handlers ---- */

static void forget_handler(void *opaque)
{
    input_handler_free(opaque);
}

InputHandler *input_handler_new(Machine *m, Device *dev, const InputHandlerOps *ops, void *opaque)
{
    InputState *s = need_state(m);
    InputHandler *h = g_new0(InputHandler, 1);
    *h = (InputHandler){ .state = s, .dev = dev, .ops = ops, .opaque = opaque };
    if (ops->kinds & POINTER_KINDS && ops->name) {
        h->index = s->pointers++;
    }
    g_ptr_array_add(s->handlers, h);
    if (dev) {
        device_add_cleanup(dev, forget_handler, h);
    }
    input_handler_activate(h, true);
    return h;
}

void input_handler_free(InputHandler *h)
{
    InputState *s = h->state;
    g_ptr_array_remove(s->handlers, h);
    loop_post(s->machine->loop, &s->changed);
    drop_unused(s);
}

void input_handler_activate(InputHandler *h, bool on)
{
    InputState *s = h->state;
    unsigned stamp = on ? __atomic_add_fetch(&s->stamps, 1, __ATOMIC_RELAXED) : 0;
    __atomic_store_n(&h->stamp, stamp, __ATOMIC_RELEASE);
    loop_post(s->machine->loop, &s->changed);
}

void input_handler_bind(InputHandler *h, Console *c)
{
    h->bound = c;
}

bool input_handler_bind_display(InputHandler *h, const char *display, unsigned head, Error **errp)
{
    const Console *c = display ? console_by_device(h->state->machine, display, head, errp) : NULL;
    h->bound = c;
    return c || !display;
}

void input_handler_leds(InputHandler *h, unsigned leds)
{
    if (__atomic_exchange_n(&h->leds, leds, __ATOMIC_RELAXED) != leds) {
        loop_post(h->state->machine->loop, &h->state->changed);
    }
}

static unsigned stamp_of(const InputHandler *h)
{
    return __atomic_load_n(&h->stamp, __ATOMIC_ACQUIRE);
}

static bool is_shown(const InputHandler *h)
{
    return h->ops->name && (!h->ops->quiet || stamp_of(h));
}

static InputHandler *find_bound(const InputState *s, const Console *bound, unsigned kinds)
{
    InputHandler *best = NULL;
    for (guint i = 0; i < s->handlers->len; i++) {
        InputHandler *h = s->handlers->pdata[i];
        if (h->bound == bound && h->ops->kinds & kinds && stamp_of(h) > (best ? stamp_of(best) : 0)) {
            best = h;
        }
    }
    return best;
}

static InputHandler *route(const InputState *s, const Console *from, unsigned kinds)
{
    InputHandler *h = s && from ? find_bound(s, from, kinds) : NULL;
    return h || !s ? h : find_bound(s, NULL, kinds);
}

/* ---- events ---- */

static Domain *domain_of(const InputHandler *h)
{
    return h->dev ? h->dev->domain : NULL;
}

/* The one domain that is held, or NULL: neighbouring events mostly go to one device. */
static Domain *switch_domain(Domain *held, Domain *to)
{
    if (held != to) {
        if (held) {
            domain_unlock(held);
        }
        if (to) {
            domain_lock(to);
        }
    }
    return to;
}

static bool holds(const InputHandler *h, const UiEvent *e)
{
    return e->kind == INPUT_KIND_KEY ? h->keys[e->code]
                                     : e->kind == INPUT_KIND_BUTTON && h->buttons & 1u << e->code;
}

static void mark(bool *keys, unsigned *buttons, const UiEvent *e)
{
    if (e->kind == INPUT_KIND_KEY) {
        keys[e->code] = e->down;
    } else if (e->kind == INPUT_KIND_BUTTON && !(WHEEL & 1u << e->code)) {
        *buttons = e->down ? *buttons | 1u << e->code : *buttons & ~(1u << e->code);
    }
}

static Domain *deliver(InputHandler *h, const UiEvent *e, Domain *held)
{
    held = switch_domain(held, domain_of(h));
    h->ops->event(h->opaque, e);
    h->touched = true;
    mark(h->keys, &h->buttons, e);
    return held;
}

static InputSource *find_source(InputState *s, const Console *from)
{
    for (guint i = 0; i < s->sources->len; i++) {
        InputSource *src = s->sources->pdata[i];
        if (src->from == from) {
            return src;
        }
    }
    InputSource *src = g_new0(InputSource, 1);
    src->from = from;
    g_ptr_array_add(s->sources, src);
    return src;
}

static bool is_event(const UiEvent *e)
{
    static const unsigned codes[INPUT_KINDS] = { INPUT_KEYS, POINTER_BUTTONS, 2, 2 };
    return (unsigned)e->kind < INPUT_KINDS && e->code < codes[e->kind];
}

static bool send_one(InputState *s, const Console *from, const UiEvent *e, Domain **held)
{
    bool release = (e->kind == INPUT_KIND_KEY || e->kind == INPUT_KIND_BUTTON) && !e->down, sent = false;
    for (guint i = 0; release && i < s->handlers->len; i++) {
        InputHandler *h = s->handlers->pdata[i];
        if (holds(h, e)) {
            *held = deliver(h, e, *held);
            sent = true;
        }
    }
    InputHandler *h = sent ? NULL : route(s, from, 1u << e->kind);
    if (h) {
        *held = deliver(h, e, *held);
    }
    return sent || h;
}

bool input_send(Machine *m, Console *from, const UiEvent *events, unsigned n)
{
    InputState *s = m->input;
    Domain *held = NULL;
    bool all = true;
    if (!s) {
        return n == 0;
    }
    InputSource *src = find_source(s, from);
    for (unsigned i = 0; i < n; i++) {
        g_assert(is_event(&events[i]));
        all = send_one(s, from, &events[i], &held) && all;
        mark(src->keys, &src->buttons, &events[i]);
    }
    for (guint i = 0; i < s->handlers->len; i++) {
        InputHandler *h = s->handlers->pdata[i];
        if (h->touched) {
            h->touched = false;
            held = h->ops->sync ? switch_domain(held, domain_of(h)) : held;
            if (h->ops->sync) {
                h->ops->sync(h->opaque);
            }
        }
    }
    switch_domain(held, NULL);
    console_hurry_all(m); /* what is typed is soon seen */
    return all;
}

bool input_send_key(Machine *m, Console *from, InputKey key, bool down)
{
    return input_send(m, from, &(UiEvent){ .kind = INPUT_KIND_KEY, .code = key, .down = down }, 1);
}

static bool held_elsewhere(const InputState *s, const InputSource *but, const UiEvent *e)
{
    for (guint i = 0; i < s->sources->len; i++) {
        const InputSource *src = s->sources->pdata[i];
        if (src != but && (e->kind == INPUT_KIND_KEY ? src->keys[e->code] : src->buttons >> e->code & 1)) {
            return true;
        }
    }
    return false;
}

void input_release_all(Machine *m, Console *from)
{
    InputState *s = m->input;
    UiEvent ups[INPUT_KEYS + POINTER_BUTTONS];
    unsigned n = 0;
    if (!s) {
        return;
    }
    InputSource *src = find_source(s, from);
    for (unsigned k = 0; k < INPUT_KEYS; k++) {
        ups[n] = (UiEvent){ .kind = INPUT_KIND_KEY, .code = k };
        n += src->keys[k] && !held_elsewhere(s, src, &ups[n]);
    }
    for (unsigned b = 0; b < POINTER_BUTTONS; b++) {
        ups[n] = (UiEvent){ .kind = INPUT_KIND_BUTTON, .code = b };
        n += src->buttons >> b & 1 && !held_elsewhere(s, src, &ups[n]);
    }
    input_send(m, from, ups, n);
    g_ptr_array_remove_fast(s->sources, src); /* its console may be gone: nothing stays of it */
}

/* ---- questions ---- */

bool input_has(Machine *m, Console *from, InputKind kind)
{
    return route(m->input, from, 1u << kind) != NULL;
}

bool input_is_there(Machine *m, InputKind kind)
{
    const InputState *s = m->input;
    for (guint i = 0; s && i < s->handlers->len; i++) {
        const InputHandler *h = s->handlers->pdata[i];
        if (h->ops->kinds & 1u << kind && is_shown(h)) {
            return true;
        }
    }
    return false;
}

bool input_pointer_is_absolute(Machine *m, Console *from)
{
    const InputHandler *h = route(m->input, from, POINTER_KINDS);
    return h && h->ops->kinds & 1u << INPUT_KIND_ABS;
}

unsigned input_leds(Machine *m)
{
    const InputHandler *h = route(m->input, NULL, 1u << INPUT_KIND_KEY);
    return h ? __atomic_load_n(&h->leds, __ATOMIC_RELAXED) : 0;
}

unsigned input_key_room(Machine *m, Console *from)
{
    InputHandler *h = route(m->input, from, 1u << INPUT_KIND_KEY);
    if (!h || !h->ops->room) {
        return h ? UINT_MAX : 0;
    }
    switch_domain(NULL, domain_of(h));
    unsigned room = h->ops->room(h->opaque);
    switch_domain(domain_of(h), NULL);
    return room;
}

void input_watch(Machine *m, InputWatcher *w)
{
    InputState *s = need_state(m);
    w->machine = m;
    s->watchers = g_slist_append(s->watchers, w);
    s->leds = input_leds(m);
    s->absolute = input_pointer_is_absolute(m, NULL);
}

void input_unwatch(InputWatcher *w)
{
    InputState *s = w->machine ? w->machine->input : NULL;
    if (s) {
        s->watchers = g_slist_remove(s->watchers, w);
        drop_unused(s);
    }
    w->machine = NULL;
}

/* ---- mice ---- */

static int younger_first(gconstpointer a, gconstpointer b)
{
    unsigned x = stamp_of(*(InputHandler *const *)a), y = stamp_of(*(InputHandler *const *)b);
    return x < y ? 1 : x > y ? -1 : 0;
}

GArray *input_mice(Machine *m)
{
    const InputState *s = m->input;
    GArray *mice = g_array_new(FALSE, TRUE, sizeof(InputMouse));
    g_autoptr(GPtrArray) pointers = g_ptr_array_new();
    for (guint i = 0; s && i < s->handlers->len; i++) {
        InputHandler *h = s->handlers->pdata[i];
        if (h->ops->kinds & POINTER_KINDS && is_shown(h)) {
            g_ptr_array_add(pointers, h);
        }
    }
    g_ptr_array_sort(pointers, younger_first);
    for (guint i = 0; i < pointers->len; i++) {
        const InputHandler *h = pointers->pdata[i];
        InputMouse mouse = { .name = h->ops->name,
                             .index = h->index,
                             .current = h == route(s, NULL, POINTER_KINDS),
                             .absolute = h->ops->kinds & 1u << INPUT_KIND_ABS };
        g_array_append_val(mice, mouse);
    }
    return mice;
}

bool input_mouse_set(Machine *m, unsigned index, Error **errp)
{
    const InputState *s = m->input;
    for (guint i = 0; s && i < s->handlers->len; i++) {
        InputHandler *h = s->handlers->pdata[i];
        if (h->ops->kinds & POINTER_KINDS && h->index == index && is_shown(h)) {
            if (!stamp_of(h)) {
                error_fail(errp, "device-not-active", "index", NULL,
                           "mouse %u, %s, is not used by the guest at present", index, h->ops->name);
                error_hint(errp, "wait until the guest's driver has begun to use it");
                return false;
            }
            input_handler_activate(h, true);
            return true;
        }
    }
    error_fail(errp, "not-found", "index", NULL, "mouse %u was not found", index);
    error_hint(errp, "'info mice' lists them");
    return false;
}
