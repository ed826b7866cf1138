/* SPDX-License-Identifier: MIT
 * tests/unit/backends/chartest.c - a machine with chardevs and a front end that records what it gets.
 * Threads: the test's main thread.
 */
#include "chartest.h"
#include <glib/gstdio.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

void fixture_up(Fixture *f, gconstpointer data)
{
    f->tm = tm_new(0);
    f->m = f->tm->m;
    f->dir = g_dir_make_tmp("rhea-char-XXXXXX", NULL);
    signal(SIGPIPE, SIG_IGN);
}

void fixture_down(Fixture *f, gconstpointer data)
{
    chardev_remove_all(f->m);
    tm_free(f->tm);
    g_autoptr(GDir) dir = g_dir_open(f->dir, 0, NULL);
    const char *name;
    while ((name = g_dir_read_name(dir))) {
        g_autofree char *path = g_build_filename(f->dir, name, NULL);
        unlink(path);
    }
    g_rmdir(f->dir);
    g_free(f->dir);
}

char *fixture_path(Fixture *f, const char *name)
{
    return g_build_filename(f->dir, name, NULL);
}

Chardev *fixture_option(Fixture *f, const char *format, ...)
{
    va_list ap;
    va_start(ap, format);
    g_autofree char *text = g_strdup_vprintf(format, ap);
    va_end(ap);
    return chardev_new_option(f->m, text, &error_abort_slot);
}

static size_t front_room(void *opaque)
{
    return ((Front *)opaque)->room;
}

static void front_receive(void *opaque, const uint8_t *buf, size_t len)
{
    Front *front = opaque;
    g_assert_cmpuint(len, <=, front->room);
    g_assert_nonnull(domain_current());
    g_string_append_len(front->got, (const char *)buf, len);
    front->room -= front->room == SIZE_MAX ? 0 : len;
}

static void front_event(void *opaque, CharEvent event)
{
    static const char letters[] = { [CHAR_OPENED] = 'O', [CHAR_CLOSED] = 'C', [CHAR_BREAK] = 'B',
                                    [CHAR_MUX_IN] = 'I', [CHAR_MUX_OUT] = 'U' };
    Front *front = opaque;
    size_t n = strlen(front->events);
    g_assert_cmpuint(n, <, sizeof(front->events) - 1);
    front->events[n] = letters[event];
}

Front *front_new(Fixture *f, Chardev *c)
{
    static const CharHandler handler = { .room = front_room, .receive = front_receive, .event = front_event };
    Front *front = g_new0(Front, 1);
    front->got = g_string_new(NULL);
    front->room = SIZE_MAX;
    chardev_connect(c, &front->port, &error_abort_slot);
    char_attach(&front->port, &handler, front, f->m->platform);
    tm_turns(f->tm);
    return front;
}

void front_free(Front *front)
{
    char_detach(&front->port);
    g_string_free(front->got, TRUE);
    g_free(front);
}

void front_say(Fixture *f, Front *front, const char *text)
{
    domain_lock(f->m->platform);
    g_assert_cmpuint(char_write(&front->port, (const uint8_t *)text, strlen(text)), ==, strlen(text));
    domain_unlock(f->m->platform);
    tm_turns(f->tm);
}

void expect_error(Fixture *f, const char *option, const char *pattern)
{
    Error *err = NULL;
    g_assert_null(chardev_new_option(f->m, option, &err));
    g_assert_nonnull(err);
    g_autofree char *text =
        g_strdup_printf("%s | %s", error_text(err), error_hint_text(err) ? error_hint_text(err) : "");
    if (!g_pattern_match_simple(pattern, text)) {
        g_error("option %s: '%s' does not match '%s'", option, text, pattern);
    }
    error_free(err);
}
