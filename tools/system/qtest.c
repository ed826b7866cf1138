/* SPDX-License-Identifier: MIT
 * tools/system/qtest.c - `-qtest DEV`: the test accelerator's line protocol over a character device.
 *
 * Threads: main loop.
 */
#include "qtest.h"
#include <string.h>

enum { PENDING_LIMIT = 1 << 20 };

struct QtestServer {
    CharPort port;
    Qtest *protocol;
    GString *pending; /* what the host did not take yet */
};

static void qtest_writable(void *opaque);

static void qtest_flush(QtestServer *s)
{
    size_t n = char_write(&s->port, (const uint8_t *)s->pending->str, s->pending->len);
    g_string_erase(s->pending, 0, n);
    if (s->pending->len) {
        char_notify_writable(&s->port, qtest_writable);
    }
}

static void qtest_writable(void *opaque)
{
    QtestServer *s = opaque;
    qtest_flush(s);
    char_accept_input(&s->port);
}

static void qtest_send(void *opaque, const char *line)
{
    QtestServer *s = opaque;
    g_string_append(s->pending, line);
    if (!g_str_has_suffix(line, "\n")) {
        g_string_append_c(s->pending, '\n');
    }
    qtest_flush(s);
}

static size_t qtest_room(void *opaque)
{
    const QtestServer *s = opaque;
    return s->pending->len < PENDING_LIMIT ? 4096 : 0; /* a client that does not read gets no more answers */
}

static void qtest_receive(void *opaque, const uint8_t *buf, size_t len)
{
    QtestServer *s = opaque;
    qtest_input(s->protocol, buf, len);
}

static void qtest_event(void *opaque, CharEvent event)
{
    QtestServer *s = opaque;
    if (event == CHAR_CLOSED) {
        g_string_truncate(s->pending, 0);
    }
}

QtestServer *qtest_server_new(Machine *m, Chardev *c, Error **errp)
{
    static const CharHandler handler = { .room = qtest_room, .receive = qtest_receive, .event = qtest_event };
    QtestServer *s = g_new0(QtestServer, 1);
    if (!chardev_connect(c, &s->port, errp)) {
        g_free(s);
        return NULL;
    }
    char_port_set_holder(&s->port, "the qtest protocol");
    s->pending = g_string_new(NULL);
    s->protocol = qtest_new(m, qtest_send, s);
    char_attach(&s->port, &handler, s, NULL);
    return s;
}

void qtest_server_free(QtestServer *s)
{
    char_detach(&s->port);
    qtest_free(s->protocol);
    g_string_free(s->pending, TRUE);
    g_free(s);
}
