/* SPDX-License-Identifier: MIT
 * ui/vdagent.c - -chardev qemu-vdagent: speaks with the desktop agent in the guest (spice-vdagent), which
 * knows what was copied there and can place the pointer.
 *
 * Models:         the SPICE project's agent protocol (spice-space.org/agent-protocol.html), as a client:
 *                 chunks, capabilities, clipboard on demand with selections, the pointer's state.
 * Does not model: pictures on the clipboard, files, monitor layouts; those messages are passed over.
 * Threads:        main loop. What the guest says is hostile: a message longer than a text may be ends the
 *                 conversation until the agent opens its port anew.
 */
#include "rhea/ui/vdagent.h"
#include "rhea/backends/char.h"
#include "rhea/ui/clipboard.h"
#include "rhea/ui/input.h"
#include "rhea/util/log.h"
#include "schema/chardev.h"

#include <string.h>

enum { CLIENT_PORT = 1, PROTOCOL = 1, CHUNK_HEAD = 8, CHUNK_MOST = 2048, HEAD = 20 };
enum { /* VDAgentMessage.type */
    MOUSE_STATE = 1, CLIPBOARD = 4, ANNOUNCE_CAPABILITIES = 6, CLIPBOARD_GRAB = 7, CLIPBOARD_REQUEST = 8,
    CLIPBOARD_RELEASE = 9
};
enum { /* bits of the capabilities */
    CAP_MOUSE_STATE = 1 << 0, CAP_CLIPBOARD_BY_DEMAND = 1 << 5, CAP_CLIPBOARD_SELECTION = 1 << 6,
    CAP_GUEST_LINEEND_CRLF = 1 << 9
};
enum { TYPE_NONE = 0, TYPE_UTF8_TEXT = 1, SELECTION_CLIPBOARD = 0, SELECTION_SIZE = 4 };
enum { OUT_MOST = 4 * CLIPBOARD_MAX, MOVES_MOST = 4096, BODY_MOST = 2 * CLIPBOARD_MAX + 64 };

typedef struct VdAgent {
    Machine *m;
    Chardev *chr;
    bool mouse, clipboard; /* configuration */
    ClipboardPeer peer;
    InputHandler *input;
    uint32_t caps;         /* the agent's; 0: it has not said so yet */
    bool lost;             /* it talks nonsense */
    bool owns;             /* what was copied last was copied by us: the guest may ask for it */
    GByteArray *in, *out;  /* the message so far; what the port had no room for, from `gone` on */
    guint gone;
    uint32_t chunk_left;   /* of the current chunk's contents */
    unsigned head_have;    /* of its header */
    uint8_t chunk_head[CHUNK_HEAD];
    uint32_t buttons, x, y;
    bool moved;
} VdAgent;

static uint32_t get32(const uint8_t *p)
{
    uint32_t v;
    memcpy(&v, p, sizeof(v));
    return GUINT32_FROM_LE(v);
}

static void add32(GByteArray *a, uint32_t v)
{
    v = GUINT32_TO_LE(v);
    g_byte_array_append(a, (const uint8_t *)&v, sizeof(v));
}

/* ---- to the agent ---- */

static void pointer_sync(void *opaque);

static void flush(void *opaque)
{
    VdAgent *s = opaque;
    s->gone += (guint)chardev_upper_input(s->chr, s->out->data + s->gone, s->out->len - s->gone);
    if (s->gone == s->out->len) {
        g_byte_array_set_size(s->out, s->gone = 0);
        if (s->moved) {
            pointer_sync(s); /* there was no room for it */
        }
    } else if (s->gone > s->out->len / 2) {
        g_byte_array_remove_range(s->out, 0, s->gone);
        s->gone = 0;
    }
}

/* The message's head and those of its chunks are small beside what is left. */
static bool has_room(const VdAgent *s, size_t len)
{
    return s->out->len + len <= OUT_MOST;
}

/* Header and body in chunks. Nothing is kept for an agent that does not read: what it misses is not said. */
static void say(VdAgent *s, uint32_t type, const uint8_t *body, size_t len)
{
    g_autoptr(GByteArray) message = g_byte_array_sized_new((guint)(HEAD + len));
    if (!has_room(s, len)) {
        return;
    }
    add32(message, PROTOCOL);
    add32(message, type);
    add32(message, 0);
    add32(message, 0);
    add32(message, (uint32_t)len);
    g_byte_array_append(message, body, (guint)len);
    for (guint at = 0, n; at < message->len; at += n) {
        n = MIN(message->len - at, CHUNK_MOST);
        add32(s->out, CLIENT_PORT);
        add32(s->out, n);
        g_byte_array_append(s->out, message->data + at, n);
    }
    flush(s);
}

static void say_capabilities(VdAgent *s, bool request)
{
    g_autoptr(GByteArray) body = g_byte_array_new();
    add32(body, request);
    add32(body, (s->mouse ? CAP_MOUSE_STATE : 0u) |
                    (s->clipboard ? CAP_CLIPBOARD_BY_DEMAND | CAP_CLIPBOARD_SELECTION : 0u));
    say(s, ANNOUNCE_CAPABILITIES, body->data, body->len);
}

static void say_clipboard(VdAgent *s, uint32_t type, uint32_t kind, const char *text, size_t len)
{
    g_autoptr(GByteArray) body = g_byte_array_new();
    if (s->caps & CAP_CLIPBOARD_SELECTION) {
        add32(body, SELECTION_CLIPBOARD);
    }
    add32(body, kind);
    g_byte_array_append(body, (const uint8_t *)text, (guint)len);
    say(s, type, body->data, body->len);
}

static bool shares(const VdAgent *s)
{
    return s->clipboard && s->caps & CAP_CLIPBOARD_BY_DEMAND;
}

static void clipboard_changed(ClipboardPeer *p)
{
    VdAgent *s = (VdAgent *)((char *)p - offsetof(VdAgent, peer));
    if (shares(s)) {
        s->owns = true;
        say_clipboard(s, CLIPBOARD_GRAB, TYPE_UTF8_TEXT, NULL, 0);
    }
}

/* CR LF where LF stood alone. */
static GString *with_crlf(const char *text, size_t len)
{
    GString *out = g_string_sized_new(len + len / 16);
    for (size_t i = 0; i < len; i++) {
        if (text[i] == '\n' && (i == 0 || text[i - 1] != '\r')) {
            g_string_append_c(out, '\r');
        }
        g_string_append_c(out, text[i]);
    }
    return out;
}

static void give_text(VdAgent *s, uint32_t kind)
{
    size_t len;
    const char *text = clipboard_text(s->m, &len);
    if (!has_room(s, 2 * len)) {
        return; /* a question costs the guest 28 bytes: no work is done for what is not said */
    }
    if (!s->owns || !text || kind != TYPE_UTF8_TEXT) { /* an answer is due in any case */
        say_clipboard(s, CLIPBOARD, TYPE_NONE, NULL, 0);
        return;
    }
    if (s->caps & CAP_GUEST_LINEEND_CRLF) {
        GString *lines = with_crlf(text, len);
        say_clipboard(s, CLIPBOARD, kind, lines->str, lines->len);
        g_string_free(lines, TRUE);
    } else {
        say_clipboard(s, CLIPBOARD, kind, text, len);
    }
}

/* ---- the pointer ---- */

static void pointer_event(void *opaque, const UiEvent *e)
{
    /* left, middle, right, wheel up and down, side, extra: the protocol's bits by PointerButton */
    static const uint32_t bits[POINTER_BUTTONS] = {
        [POINTER_LEFT] = 1 << 1, [POINTER_MIDDLE] = 1 << 2, [POINTER_RIGHT] = 1 << 3,
        [POINTER_WHEEL_UP] = 1 << 4, [POINTER_WHEEL_DOWN] = 1 << 5, [POINTER_SIDE] = 1 << 6,
        [POINTER_EXTRA] = 1 << 7,
    };
    VdAgent *s = opaque;
    if (e->kind == INPUT_KIND_ABS) {
        *(e->code ? &s->y : &s->x) = (uint32_t)CLAMP(e->value, 0, INPUT_ABS_MAX);
        s->moved = true;
    } else if (e->kind == INPUT_KIND_BUTTON && e->code < POINTER_BUTTONS) {
        uint32_t now = e->down ? s->buttons | bits[e->code] : s->buttons & ~bits[e->code];
        s->moved |= now != s->buttons;
        s->buttons = now;
    }
}

static void pointer_sync(void *opaque)
{
    VdAgent *s = opaque;
    Console *c = console_by_index(s->m, 0);
    Surface *shown = c ? console_surface(c) : NULL;
    if (s->moved && shown && s->caps & CAP_MOUSE_STATE && s->out->len < MOVES_MOST) {
        g_autoptr(GByteArray) body = g_byte_array_new();
        const uint8_t display = 0;
        add32(body, (uint32_t)((uint64_t)s->x * (uint32_t)(surface_width(shown) - 1) / INPUT_ABS_MAX));
        add32(body, (uint32_t)((uint64_t)s->y * (uint32_t)(surface_height(shown) - 1) / INPUT_ABS_MAX));
        add32(body, s->buttons);
        g_byte_array_append(body, &display, 1);
        s->moved = false;
        say(s, MOUSE_STATE, body->data, body->len);
    }
    surface_unref(shown);
}

static const InputHandlerOps pointer_ops = {
    .name = "agent's pointer",
    .kinds = 1 << INPUT_KIND_ABS | 1 << INPUT_KIND_BUTTON,
    .event = pointer_event,
    .sync = pointer_sync,
};

/* ---- from the agent ---- */

static void capabilities(VdAgent *s, const uint8_t *body, size_t len)
{
    if (len < 8) {
        return;
    }
    uint32_t before = s->caps;
    s->caps = get32(body + 4);
    if (get32(body)) {
        say_capabilities(s, false);
    }
    if (s->input) {
        input_handler_activate(s->input, s->caps & CAP_MOUSE_STATE);
    }
    size_t n;
    if (!before && clipboard_text(s->m, &n)) {
        clipboard_changed(&s->peer); /* it was copied before there was an agent */
    }
}

/* The guest's text, with lines that end in LF. */
static void take_text(VdAgent *s, const char *text, size_t len)
{
    if (!(s->caps & CAP_GUEST_LINEEND_CRLF)) {
        clipboard_put(&s->peer, text, len);
        return;
    }
    GString *lines = g_string_sized_new(len);
    for (size_t i = 0; i < len; i++) {
        if (text[i] != '\r' || i + 1 == len || text[i + 1] != '\n') {
            g_string_append_c(lines, text[i]);
        }
    }
    clipboard_put(&s->peer, lines->str, lines->len);
    g_string_free(lines, TRUE);
}

static void clipboard_message(VdAgent *s, uint32_t type, const uint8_t *body, size_t len)
{
    if (s->caps & CAP_CLIPBOARD_SELECTION) {
        if (len < SELECTION_SIZE || body[0] != SELECTION_CLIPBOARD) {
            return; /* what was only marked stays in the guest */
        }
        body += SELECTION_SIZE;
        len -= SELECTION_SIZE;
    }
    if (!shares(s)) {
        return;
    }
    switch (type) {
    case CLIPBOARD_GRAB:
        s->owns = false;
        for (size_t at = 0; at + 4 <= len; at += 4) {
            if (get32(body + at) == TYPE_UTF8_TEXT) {
                say_clipboard(s, CLIPBOARD_REQUEST, TYPE_UTF8_TEXT, NULL, 0);
                break;
            }
        }
        break;
    case CLIPBOARD_REQUEST:
        give_text(s, len >= 4 ? get32(body) : TYPE_NONE);
        break;
    case CLIPBOARD:
        if (len >= 4 && get32(body) == TYPE_UTF8_TEXT && !s->owns) {
            take_text(s, (const char *)body + 4, len - 4);
        }
        break;
    }
}

static void message(VdAgent *s, const uint8_t *data)
{
    uint32_t type = get32(data + 4), len = get32(data + 16);
    if (type == ANNOUNCE_CAPABILITIES) {
        capabilities(s, data + HEAD, len);
    } else if (type == CLIPBOARD_GRAB || type == CLIPBOARD_REQUEST || type == CLIPBOARD ||
               type == CLIPBOARD_RELEASE) {
        clipboard_message(s, type, data + HEAD, len);
    }
}

static void give_up(VdAgent *s, const char *what, uint32_t value)
{
    s->lost = true;
    if (log_on(LOG_GUEST_ERRORS)) {
        log_printf("chardev '%s': the agent's %s is %u: nothing more is read until it opens its port anew\n",
                   chardev_id(s->chr), what, value);
    }
}

/* The contents of chunks follow each other; a message may be in several. */
static void take_contents(VdAgent *s, const uint8_t *buf, size_t len)
{
    g_byte_array_append(s->in, buf, (guint)len);
    while (s->in->len >= HEAD && !s->lost) {
        uint32_t body = get32(s->in->data + 16);
        if (get32(s->in->data) != PROTOCOL || body > BODY_MOST) {
            give_up(s, body > BODY_MOST ? "message's length" : "protocol",
                    body > BODY_MOST ? body : get32(s->in->data));
            return;
        }
        if (s->in->len < HEAD + body) {
            return;
        }
        message(s, s->in->data);
        g_byte_array_remove_range(s->in, 0, HEAD + body);
    }
}

static void agent_write(void *opaque, const uint8_t *buf, size_t len)
{
    VdAgent *s = opaque;
    while (len && !s->lost) {
        if (!s->chunk_left) {
            s->chunk_head[s->head_have++] = *buf++;
            len--;
            if (s->head_have == CHUNK_HEAD) {
                s->head_have = 0;
                s->chunk_left = get32(s->chunk_head + 4);
            }
            continue;
        }
        size_t n = MIN(len, s->chunk_left);
        take_contents(s, buf, n);
        s->chunk_left -= (uint32_t)n;
        buf += n;
        len -= n;
    }
}

/* Another agent, or the same one from the beginning. */
static void agent_front(void *opaque, bool open)
{
    VdAgent *s = opaque;
    g_byte_array_set_size(s->in, 0);
    g_byte_array_set_size(s->out, s->gone = 0);
    s->moved = false;
    s->chunk_left = s->head_have = 0;
    s->caps = s->buttons = 0;
    s->lost = s->owns = false;
    if (s->input) {
        input_handler_activate(s->input, false);
    }
    if (open) {
        say_capabilities(s, true);
    }
}

/* ---- life ---- */

static void *agent_open(Machine *m, Chardev *c, const ChardevOptions *o, Error **errp G_GNUC_UNUSED)
{
    VdAgent *s = g_new0(VdAgent, 1);
    s->m = m;
    s->chr = c;
    s->mouse = o->u.qemu_vdagent.mouse;
    s->clipboard = o->u.qemu_vdagent.clipboard;
    s->in = g_byte_array_new();
    s->out = g_byte_array_new();
    s->peer.changed = clipboard_changed;
    s->peer.guest = true;
    if (s->clipboard) {
        clipboard_join(m, &s->peer);
    }
    if (s->mouse) {
        s->input = input_handler_new(m, NULL, &pointer_ops, s);
        input_handler_activate(s->input, false);
    }
    return s;
}

static void agent_close(void *opaque)
{
    VdAgent *s = opaque;
    clipboard_leave(&s->peer);
    if (s->input) {
        input_handler_free(s->input);
    }
    g_byte_array_unref(s->in);
    g_byte_array_unref(s->out);
    g_free(s);
}

void vdagent_register(void)
{
    static const CharUpper upper = {
        .open = agent_open, .close = agent_close, .write = agent_write, .resume = flush, .front = agent_front,
    };
    chardev_upper_register("qemu-vdagent", &upper);
}
