/* SPDX-License-Identifier: MIT
 * tools/system/qmp_input.c - keys and mouse events from monitors: send-key, sendkey, input-send-event,
 * query-mice.
 *
 * Models: QEMU 7.2's commands of these names: keys go down one after the other, hold-time apart (100 ms), and
 *         come up in the opposite order. Its limit of 1024 changes that wait.
 * Does not model: events that vanish while the machine is stopped: here they wait for the guest.
 * Threads: main loop.
 */
#include "cli.h"
#include "rhea/ui/input.h"
#include "rhea/util/errorcode.h"
#include "rhea/util/text.h"
#include "schema/qmp-input.h"
#include <string.h>

enum { QUEUE_MAX = 1024, HOLD_MS = 100, HOLD_MAX_MS = 3600 * 1000, MAX_TURNS = 64 };

typedef struct KeyChange {
    uint8_t key; /* InputKey */
    bool down;
    uint32_t hold_ms; /* until the next change */
} KeyChange;

/* The process has one machine. */
static struct InputQueue {
    Machine *machine; /* NULL: the queue was never used */
    Timer timer;      /* armed: the time of the last change is not over */
    GArray *changes;  /* KeyChange, from `next` on */
    guint next;
} queue;

static bool need_from(Machine *m, Console *from, InputKind kind, const char *what, Error **errp)
{
    if (input_has(m, from, kind)) {
        return true;
    }
    if (input_is_there(m, kind)) {
        error_fail(errp, "device-not-active", NULL, NULL, "no driver in the guest has begun to use the %s",
                   what);
        error_hint(errp, "wait until the guest's system runs");
    } else {
        error_fail(errp, "not-supported", NULL, NULL, "this machine has no %s", what);
        error_hint(errp,
                   kind == INPUT_KIND_ABS ? "-device virtio-tablet-pci is one" : "-M pc and -M q35 have one");
    }
    return false;
}

bool input_need(Machine *m, InputKind kind, const char *what, Error **errp)
{
    return need_from(m, NULL, kind, what, errp);
}

/* ---- changes that wait ---- */

static void run_queue(void *opaque)
{
    if (queue.next >= queue.changes->len) {
        g_array_set_size(queue.changes, 0);
        queue.next = 0;
        return;
    }
    KeyChange c = g_array_index(queue.changes, KeyChange, queue.next++);
    input_send_key(queue.machine, NULL, c.key, c.down);
    timer_arm(&queue.timer, clock_now(queue.machine->clock) + c.hold_ms * INT64_C(1000000));
}

static bool queue_keys(Machine *m, const uint8_t *keys, size_t n, uint32_t hold_ms, Error **errp)
{
    if (!input_need(m, INPUT_KIND_KEY, "keyboard", errp)) {
        return false;
    }
    if (!queue.machine) {
        queue.machine = m;
        queue.changes = g_array_new(FALSE, FALSE, sizeof(KeyChange));
        timer_init(&queue.timer, m->loop, m->clock, run_queue, NULL);
    }
    size_t waiting = queue.changes->len - queue.next;
    if (n > QUEUE_MAX / 2 || waiting + 2 * n > QUEUE_MAX) {
        error_fail(errp, "too-many", "keys", NULL,
                   "%zu keys are too many: %zu changes wait already, of %d at most", n, waiting, QUEUE_MAX);
        error_hint(errp, machine_running(m) ? "send fewer, or wait until these are over"
                                            : "the machine is stopped: they wait for 'cont'");
        return false;
    }
    if (queue.next) { /* drop what is over, so that the array stays bounded */
        g_array_remove_range(queue.changes, 0, queue.next);
        queue.next = 0;
    }
    for (size_t i = 0; i < 2 * n; i++) {
        KeyChange c = { .key = keys[i < n ? i : 2 * n - 1 - i], .down = i < n, .hold_ms = hold_ms };
        g_array_append_val(queue.changes, c);
    }
    if (n && !timer_armed(&queue.timer)) {
        run_queue(NULL);
    }
    return true;
}

void input_forget(Machine *m)
{
    if (queue.machine == m) {
        timer_cancel(&queue.timer);
        g_array_free(queue.changes, TRUE);
        memset(&queue, 0, sizeof(queue));
    }
}

/* ---- keys ---- */

static int find_name(const char *name)
{
    static const struct {
        const char *name, *key;
    } same[] = {
        { "asterisk", "kp_multiply" },
        { "sysrq", "print" },
        { "menu", "compose" },
        { "stop", "ac_stop" },
        { "<", "less" },
    };
    for (size_t i = 0; i < G_N_ELEMENTS(same); i++) {
        name = g_str_equal(name, same[i].name) ? same[i].key : name;
    }
    return input_key_find(name);
}

static bool find_key(const KeyValue *v, const char *member, uint8_t *key, Error **errp)
{
    bool number = v->type == KEY_VALUE_KIND_NUMBER;
    int64_t code = number ? v->u.number.data : 0;
    int k = !number                    ? find_name(qkey_code_names[v->u.qcode.data])
            : code > 0 && code < 0x100 ? input_key_find_code(code)
                                       : -1;
    if (k < 0 && !number) {
        return error_fail(errp, "invalid-value", member, "leave it out", "key '%s' is none",
                          qkey_code_names[v->u.qcode.data]);
    }
    if (k < 0) {
        error_set(errp, "the keyboard has no key with scan code %" G_GINT64_FORMAT, code);
        error_hint(errp, "codes of set 1 are meant, with 128 added where they begin with e0h: 30 is 'a'");
        error_set_code(errp, "invalid-value", member);
        return false;
    }
    *key = k;
    return true;
}

bool qmp_send_key(QmpCall *call, const SendKeyArgs *args, Error **errp)
{
    size_t n = args->keys.n;
    g_autofree uint8_t *keys = g_malloc(n + 1);
    for (size_t i = 0; i < n; i++) {
        g_autofree char *member = g_strdup_printf("keys.%zu.data", i);
        if (!find_key(&args->keys.items[i], member, &keys[i], errp)) {
            return false;
        }
    }
    return queue_keys(call->machine, keys, n, args->has_hold_time ? args->hold_time : HOLD_MS, errp);
}

static void say_no_key(const char *name, GString *out)
{
    const char *all[INPUT_KEYS + 1] = { NULL };
    Error *err = NULL;
    for (unsigned k = 0; k < INPUT_KEYS; k++) {
        all[k] = input_key_name(k);
    }
    error_set(&err, "there is no key '%s'", name);
    error_hint_nearest(&err, name, all);
    error_hint_else(&err, "for example ctrl-alt-delete, spc, 0x1e");
    hmp_say_error(out, err);
}

static bool take_hold(const char *text, uint64_t *ms, GString *out)
{
    if (text && (!text_to_u64(text, ms, NULL) || *ms > HOLD_MAX_MS)) {
        g_string_append_printf(out, "the time is a number of milliseconds up to %d, not '%s'\n", HOLD_MAX_MS,
                               text);
        return false;
    }
    return true;
}

void hmp_sendkey(Monitor *mon, Machine *m, int argc, char **argv, GString *out)
{
    uint64_t ms = HOLD_MS, code;
    Error *err = NULL;
    if (argc < 2 || argc > 3) {
        g_string_append(out, "sendkey: KEY[-KEY]... [MS] is expected\n");
        return;
    }
    g_auto(GStrv) names = g_strsplit(argv[1], "-", QUEUE_MAX);
    guint n = g_strv_length(names);
    g_autofree uint8_t *keys = g_malloc(n + 1);
    for (guint i = 0; i < n; i++) {
        bool hex = g_str_has_prefix(names[i], "0x") && text_to_u64(names[i], &code, NULL) && code < 0x100;
        int k = hex ? input_key_find_code(code) : find_name(names[i]);
        if (k < 0) {
            say_no_key(names[i], out);
            return;
        }
        keys[i] = k;
    }
    if (take_hold(argc > 2 ? argv[2] : NULL, &ms, out) && !queue_keys(m, keys, n, ms, &err)) {
        hmp_say_error(out, err);
    }
}

void complete_sendkey(Machine *m, unsigned arg, GPtrArray *out)
{
    for (unsigned k = 0; arg == 1 && k < INPUT_KEYS; k++) {
        g_ptr_array_add(out, g_strdup(input_key_name(k)));
    }
}

/* ---- mice, single events ---- */

bool qmp_query_mice(QmpCall *call, QueryMiceResult *ret, Error **errp)
{
    g_autoptr(GArray) mice = input_mice(call->machine);
    ret->items = g_new0(MouseInfo, mice->len);
    for (guint i = 0; i < mice->len; i++) {
        const InputMouse *m = &g_array_index(mice, InputMouse, i);
        ret->items[ret->n++] = (MouseInfo){
            .name = g_strdup(m->name), .index = m->index, .current = m->current, .absolute = m->absolute
        };
    }
    return true;
}

void hmp_info_mice(Monitor *mon, Machine *m, int argc, char **argv, GString *out)
{
    QueryMiceResult r = { 0 };
    qmp_query_mice(&(QmpCall){ .machine = m }, &r, NULL);
    for (size_t i = 0; i < r.n; i++) {
        g_string_append_printf(out, "%c Mouse #%" G_GINT64_FORMAT ": %s%s\n", r.items[i].current ? '*' : ' ',
                               r.items[i].index, r.items[i].name, r.items[i].absolute ? " (absolute)" : "");
        type_clear(&mouse_info_type, &r.items[i]);
    }
    if (!r.n) {
        g_string_append(out, "No mouse devices connected\n");
    }
    g_free(r.items);
}

static const struct {
    InputKind kind;
    const char *what;
} kinds[] = {
    [INPUT_EVENT_KIND_KEY] = { INPUT_KIND_KEY, "keyboard" },
    [INPUT_EVENT_KIND_BTN] = { INPUT_KIND_BUTTON, "mouse" },
    [INPUT_EVENT_KIND_REL] = { INPUT_KIND_REL, "mouse" },
    [INPUT_EVENT_KIND_ABS] = { INPUT_KIND_ABS, "pointing device that tells places" },
};
static const uint8_t buttons[] = {
    [INPUT_BUTTON_LEFT] = POINTER_LEFT,
    [INPUT_BUTTON_MIDDLE] = POINTER_MIDDLE,
    [INPUT_BUTTON_RIGHT] = POINTER_RIGHT,
    [INPUT_BUTTON_WHEEL_UP] = POINTER_WHEEL_UP,
    [INPUT_BUTTON_WHEEL_DOWN] = POINTER_WHEEL_DOWN,
    [INPUT_BUTTON_SIDE] = POINTER_SIDE,
    [INPUT_BUTTON_EXTRA] = POINTER_EXTRA,
    [INPUT_BUTTON_WHEEL_LEFT] = POINTER_WHEEL_LEFT,
    [INPUT_BUTTON_WHEEL_RIGHT] = POINTER_WHEEL_RIGHT,
};

static UiEvent button_event(PointerButton button, bool down)
{
    return (UiEvent){ .kind = INPUT_KIND_BUTTON, .code = button, .down = down };
}

static UiEvent move_event(InputKind kind, unsigned axis, int value)
{
    return (UiEvent){ .kind = kind, .code = axis, .value = value };
}

/* False: the machine has no such device, or it is no event. */
static bool take_event(Machine *m, Console *from, const InputEvent *e, size_t i, UiEvent *out, Error **errp)
{
    g_autofree char *key = g_strdup_printf("events.%zu.data.key.data", i);
    if (!need_from(m, from, kinds[e->type].kind, kinds[e->type].what, errp)) {
        return false;
    }
    *out = (UiEvent){ .kind = kinds[e->type].kind };
    switch (e->type) {
    case INPUT_EVENT_KIND_KEY:
        out->down = e->u.key.data.down;
        return find_key(&e->u.key.data.key, key, &out->code, errp);
    case INPUT_EVENT_KIND_BTN:
        *out = button_event(buttons[e->u.btn.data.button], e->u.btn.data.down);
        return true;
    case INPUT_EVENT_KIND_REL:
        *out = move_event(INPUT_KIND_REL, e->u.rel.data.axis == INPUT_AXIS_Y, e->u.rel.data.value);
        return true;
    case INPUT_EVENT_KIND_ABS:
        *out = move_event(INPUT_KIND_ABS, e->u.abs.data.axis == INPUT_AXIS_Y,
                          CLAMP(e->u.abs.data.value, 0, INPUT_ABS_MAX));
        return true;
    }
    g_assert_not_reached();
}

bool qmp_input_send_event(QmpCall *call, const InputSendEventArgs *args, Error **errp)
{
    g_autofree UiEvent *events = g_new0(UiEvent, args->events.n + 1);
    Console *from = NULL;
    if (args->device && !(from = console_by_device(call->machine, args->device,
                                                   args->has_head ? (unsigned)args->head : 0, errp))) {
        return false;
    }
    for (size_t i = 0; i < args->events.n; i++) { /* all are checked before the first is sent */
        if (!take_event(call->machine, from, &args->events.items[i], i, &events[i], errp)) {
            return false;
        }
    }
    input_send(call->machine, from, events, args->events.n);
    return true;
}

static bool hmp_need_mouse(Machine *m, InputKind kind, GString *out)
{
    Error *err = NULL;
    if (!input_need(m, kind, "mouse", &err)) {
        hmp_say_error(out, err);
        return false;
    }
    return true;
}

static bool take_step(const char *text, int *by, GString *out)
{
    char *end;
    gint64 v = g_ascii_strtoll(text, &end, 0);
    if (end == text || *end || v < -INT16_MAX || v > INT16_MAX) {
        g_string_append_printf(out, "mouse_move: '%s' is no number of steps up to %d\n", text, INT16_MAX);
        return false;
    }
    *by = (int)v;
    return true;
}

void hmp_mouse_move(Monitor *mon, Machine *m, int argc, char **argv, GString *out)
{
    int by[3] = { 0 };
    if (argc != 3 && argc != 4) {
        g_string_append(out, "mouse_move: DX DY [DZ] is expected\n");
        return;
    }
    for (int i = 1; i < argc; i++) {
        if (!take_step(argv[i], &by[i - 1], out)) {
            return;
        }
    }
    if (!hmp_need_mouse(m, INPUT_KIND_REL, out)) {
        return;
    }
    UiEvent events[2 + 2 * MAX_TURNS] = { move_event(INPUT_KIND_REL, 0, by[0]),
                                          move_event(INPUT_KIND_REL, 1, by[1]) };
    unsigned n = 2;
    for (int i = 0; i < MIN(ABS(by[2]), MAX_TURNS); i++) { /* of the wheel: each is a press and a release */
        PointerButton wheel = by[2] < 0 ? POINTER_WHEEL_UP : POINTER_WHEEL_DOWN;
        events[n++] = button_event(wheel, true);
        events[n++] = button_event(wheel, false);
    }
    input_send(m, NULL, events, n);
}

void hmp_mouse_button(Monitor *mon, Machine *m, int argc, char **argv, GString *out)
{
    uint64_t state;
    if (argc != 2 || !text_to_u64(argv[1], &state, NULL) || state > 7) {
        g_string_append(out, "mouse_button: the sum of 1 (left), 2 (middle) and 4 (right) is expected\n");
        return;
    }
    if (!hmp_need_mouse(m, INPUT_KIND_BUTTON, out)) {
        return;
    }
    static const PointerButton order[] = { POINTER_LEFT, POINTER_MIDDLE, POINTER_RIGHT };
    UiEvent events[G_N_ELEMENTS(order)];
    for (unsigned i = 0; i < G_N_ELEMENTS(order); i++) {
        events[i] = button_event(order[i], state >> i & 1);
    }
    input_send(m, NULL, events, G_N_ELEMENTS(order));
}

void hmp_mouse_set(Monitor *mon, Machine *m, int argc, char **argv, GString *out)
{
    uint64_t index;
    Error *err = NULL;
    if (argc != 2 || !text_to_u64(argv[1], &index, NULL) || index > UINT_MAX) {
        g_string_append(out, "mouse_set: the number of a mouse is expected ('info mice')\n");
    } else if (!input_mouse_set(m, (unsigned)index, &err)) {
        hmp_say_error(out, err);
    }
}
