/* SPDX-License-Identifier: MIT
 * backends/char/mux.c - several front ends on one chardev: escape keys, focus, time stamps.
 *
 * Models: the escape keys users know: Ctrl-A, then h x s b t c or Ctrl-A again.
 * Does not model: replay of earlier output to a front end that comes later.
 * Threads: main loop; mux_push_locked() runs in the writer's domain with the chardev's lock held.
 */
#include "char_internal.h"
#include <string.h>

int char_escape_byte = 1;

void char_set_escape(int byte)
{
    char_escape_byte = byte;
}

static void mux_say(Chardev *c, const char *text)
{
    pthread_mutex_lock(&c->lock);
    ring_push(&c->out, (const uint8_t *)text, strlen(text));
    pthread_mutex_unlock(&c->lock);
    chardev_flush_now(c);
}

static void mux_help(Chardev *c)
{
    g_autofree char *key = char_escape_byte < 32 ? g_strdup_printf("C-%c", char_escape_byte + '@' + 32)
                                                 : g_strdup_printf("%c", char_escape_byte);
    g_autofree char *text = g_strdup_printf("\r\n"
                                            "%s h    this list\r\n"
                                            "%s x    end the emulator\r\n"
                                            "%s s    write disk data to its files\r\n"
                                            "%s t    time stamps at line starts, on or off\r\n"
                                            "%s b    send a break\r\n"
                                            "%s c    next front end: serial line, monitor\r\n"
                                            "%s %s  send %s itself\r\n",
                                            key, key, key, key, key, key, key, key, key);
    mux_say(c, text);
}

void mux_set_focus(Chardev *c, unsigned tag)
{
    CharPortPrivate *was = c->fe[c->focus], *now = c->fe[tag];
    if (was && was != now && was->ready) {
        char_port_event(was, CHAR_MUX_OUT);
    }
    c->focus = tag;
    if (now && now->ready) {
        char_port_event(now, CHAR_MUX_IN);
    }
    chardev_update_watch(c);
}

static void mux_next(Chardev *c)
{
    for (unsigned i = 1; i <= CHAR_MUX_PORTS; i++) {
        unsigned tag = (c->focus + i) % CHAR_MUX_PORTS;
        if (c->fe[tag] && c->fe[tag]->ready) {
            mux_set_focus(c, tag);
            return;
        }
    }
}

static void mux_toggle_stamps(Chardev *c)
{
    pthread_mutex_lock(&c->lock);
    c->m.stamps = !c->m.stamps;
    c->m.line_start = true;
    c->m.stamp_base = g_get_monotonic_time();
    pthread_mutex_unlock(&c->lock);
}

/* The key after the escape key. */
static void mux_command(Chardev *c, uint8_t key)
{
    CharPortPrivate *p = c->fe[c->focus];
    if (key == char_escape_byte) {
        if (p) {
            char_port_push(p, &key, 1);
        }
        return;
    }
    switch (key) {
    case 'h':
    case '?':
        mux_help(c);
        break;
    case 'x':
        mux_say(c, "Rhea: terminated\r\n");
        machine_request_shutdown(c->machine, SHUTDOWN_HOST_QUIT, 0);
        break;
    case 's': /* no disks exist yet that could hold unwritten data */
        mux_say(c, "\r\nno disks: nothing to write\r\n");
        break;
    case 't':
        mux_toggle_stamps(c);
        break;
    case 'b':
        if (p) {
            char_port_event(p, CHAR_BREAK);
        }
        break;
    case 'c':
        mux_next(c);
        break;
    default: /* any other key is dropped with the escape */
        break;
    }
}

void mux_input(Chardev *c, const uint8_t *buf, size_t len)
{
    size_t from = 0;
    for (size_t i = 0; i < len; i++) {
        if (!c->m.escaped && buf[i] != char_escape_byte) {
            continue;
        }
        if (i > from && c->fe[c->focus]) {
            char_port_push(c->fe[c->focus], buf + from, i - from);
        }
        from = i + 1;
        if (c->m.escaped) {
            c->m.escaped = false;
            mux_command(c, buf[i]);
        } else {
            c->m.escaped = true;
        }
    }
    if (len > from && c->fe[c->focus]) {
        char_port_push(c->fe[c->focus], buf + from, len - from);
    }
}

size_t mux_push_locked(Chardev *c, const uint8_t *buf, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        if (c->m.line_start) {
            int64_t ms = (g_get_monotonic_time() - c->m.stamp_base) / 1000;
            char stamp[40];
            int n = g_snprintf(stamp, sizeof(stamp), "[%02d:%02d:%02d.%03d] ", (int)(ms / 3600000),
                               (int)(ms / 60000 % 60), (int)(ms / 1000 % 60), (int)(ms % 1000));
            if (ring_room(&c->out) < (size_t)n + 1) {
                return i;
            }
            ring_push(&c->out, (const uint8_t *)stamp, n);
            c->m.line_start = false;
        }
        if (!ring_push(&c->out, &buf[i], 1)) {
            return i;
        }
        c->m.line_start = buf[i] == '\n';
    }
    return len;
}
