/* SPDX-License-Identifier: MIT
 * tests/cpu/gdbclient.c - see gdbclient.h.
 * Threads: main.
 */
#include "tests/cpu/gdbclient.h"
#include "monitor/gdb_packet.h"
#include <errno.h>
#include <glib/gstdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum { LIMIT_S = 60 };

static void pump(GdbClient *c)
{
    char buf[4096];
    loop_turn(c->m->loop, false);
    if (c->fd < 0) {
        return;
    }
    ssize_t n = recv(c->fd, buf, sizeof(buf), MSG_DONTWAIT);
    if (n > 0) {
        g_string_append_len(c->in, buf, n);
    } else {
        g_usleep(100);
    }
}

void gc_turns(GdbClient *c)
{
    for (unsigned i = 0; i < 50; i++) {
        pump(c);
    }
}

void gc_connect(GdbClient *c)
{
    struct sockaddr_un un = { .sun_family = AF_UNIX };
    g_strlcpy(un.sun_path, c->path, sizeof(un.sun_path));
    c->fd = socket(AF_UNIX, SOCK_STREAM, 0);
    g_assert_cmpint(connect(c->fd, (struct sockaddr *)&un, sizeof(un)), ==, 0);
    g_string_truncate(c->in, 0);
    c->acks = true;
    gc_turns(c);
}

void gc_disconnect(GdbClient *c)
{
    close(c->fd);
    c->fd = -1;
    gc_turns(c);
}

GdbClient *gc_new(Machine *m)
{
    GdbClient *c = g_new0(GdbClient, 1);
    c->m = m;
    c->dir = g_dir_make_tmp("rhea-gdb-XXXXXX", NULL);
    c->path = g_build_filename(c->dir, "s", NULL);
    c->in = g_string_new(NULL);
    c->reply = g_string_new(NULL);
    g_autofree char *dev = g_strdup_printf("unix:%s,server=on,wait=off", c->path);
    gdb_server_start(m, dev, &error_abort_slot);
    gc_connect(c);
    return c;
}

void gc_free(GdbClient *c)
{
    if (c->fd >= 0) {
        gc_disconnect(c);
    }
    gdb_server_stop(c->m);
    g_unlink(c->path);
    g_rmdir(c->dir);
    g_string_free(c->in, TRUE);
    g_string_free(c->reply, TRUE);
    g_free(c->path);
    g_free(c->dir);
    g_free(c);
}

void gc_raw(GdbClient *c, const char *bytes, size_t len)
{
    while (len) {
        ssize_t n = send(c->fd, bytes, len, MSG_DONTWAIT | MSG_NOSIGNAL);
        g_assert_true(n > 0 || errno == EAGAIN);
        bytes += MAX(n, 0);
        len -= (size_t)MAX(n, 0);
        pump(c);
    }
}

/* A whole packet at the start of `in`, after acknowledgments; checks its sum. */
static bool take(GdbClient *c)
{
    while (c->in->len && (c->in->str[0] == '+' || c->in->str[0] == '-')) {
        g_assert_true(c->acks);
        g_string_erase(c->in, 0, 1);
    }
    const char *hash = c->in->len ? memchr(c->in->str, '#', c->in->len) : NULL;
    if (!hash || c->in->len < (size_t)(hash - c->in->str) + 3) {
        return false;
    }
    size_t len = (size_t)(hash - c->in->str) - 1;
    g_autoptr(GString) again = g_string_new(NULL);
    gdb_put_packet(again, c->in->str + 1, len);
    g_assert_cmpint(memcmp(again->str, c->in->str, again->len), ==, 0);
    g_string_truncate(c->reply, 0);
    g_string_append_len(c->reply, c->in->str + 1, (gssize)len);
    g_string_erase(c->in, 0, (gssize)again->len);
    if (c->acks) {
        gc_raw(c, "+", 1);
    }
    return true;
}

const char *gc_wait(GdbClient *c)
{
    gint64 until = g_get_monotonic_time() + LIMIT_S * G_USEC_PER_SEC;
    while (!take(c)) {
        pump(c);
        if (g_get_monotonic_time() > until) {
            g_error("no packet in %d s; '%s'", LIMIT_S, c->in->str);
        }
    }
    return c->reply->str;
}

bool gc_quiet(GdbClient *c)
{
    for (unsigned i = 0; i < 100; i++) {
        pump(c);
        if (take(c)) {
            return false;
        }
    }
    return true;
}

void gc_send(GdbClient *c, const char *fmt, ...)
{
    g_autoptr(GString) out = g_string_new(NULL);
    va_list ap;
    va_start(ap, fmt);
    g_autofree char *text = g_strdup_vprintf(fmt, ap);
    va_end(ap);
    gdb_put_packet(out, text, strlen(text));
    gc_raw(c, out->str, out->len);
}

const char *gc_ask(GdbClient *c, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    g_autofree char *text = g_strdup_vprintf(fmt, ap);
    va_end(ap);
    gc_send(c, "%s", text);
    return gc_wait(c);
}

void gc_expect_at(const char *file, int line, GdbClient *c, const char *packet, const char *reply)
{
    const char *got = gc_ask(c, "%s", packet);
    if (!g_pattern_match_simple(reply, got)) {
        g_error("%s:%d: '%s' gave '%s', not '%s'", file, line, packet, got, reply);
    }
}

static uint64_t little_endian(const char *p, unsigned max)
{
    uint8_t buf[8] = { 0 };
    uint64_t v = 0;
    size_t n = gdb_get_hex(&p, buf, max);
    g_assert_cmpuint(n, >, 0);
    for (unsigned i = 0; i < n; i++) {
        v |= (uint64_t)buf[i] << 8 * i;
    }
    return v;
}

uint64_t gc_reg(GdbClient *c, unsigned n)
{
    return little_endian(gc_ask(c, "p%x", n), 8);
}

bool gc_set_reg(GdbClient *c, unsigned n, uint64_t val, unsigned size)
{
    g_autoptr(GString) t = g_string_new(NULL);
    g_string_printf(t, "P%x=", n);
    for (unsigned i = 0; i < size; i++) {
        g_string_append_printf(t, "%02x", i < 8 ? (unsigned)(val >> 8 * i) & 0xff : 0);
    }
    return g_str_equal(gc_ask(c, "%s", t->str), "OK");
}

uint64_t gc_mem(GdbClient *c, uint64_t at, unsigned n)
{
    return little_endian(gc_ask(c, "m%" PRIx64 ",%x", at, n), n);
}
