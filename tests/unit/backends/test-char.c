/* SPDX-License-Identifier: MIT
 * tests/unit/backends/test-char.c - the chardev core, memory and file backends, pty, mux.
 */
#include "backends/char/char_internal.h"
#include "chartest.h"
#include "rhea/util/log.h"
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static void feed(Fixture *f, Chardev *c, const char *text)
{
    chardev_buffer_feed(c, (const uint8_t *)text, strlen(text));
    tm_turns(f->tm);
}

static char *take(Chardev *c)
{
    char buf[4096];
    size_t n = chardev_buffer_take(c, (uint8_t *)buf, sizeof(buf));
    return g_strndup(buf, n);
}

static void check_take(Chardev *c, const char *expected)
{
    g_autofree char *got = take(c);
    g_assert_cmpstr(got, ==, expected);
}

static void test_buffer(Fixture *f, gconstpointer data)
{
    Chardev *c = chardev_new_buffer(f->m, "b");
    Front *front = front_new(f, c);
    g_assert_cmpstr(front->events, ==, "O");
    g_assert_true(char_is_open(&front->port));
    front_say(f, front, "hello");
    check_take(c, "hello");
    feed(f, c, "abc");
    g_assert_cmpstr(front->got->str, ==, "abc");
    front_free(front);
    feed(f, c, "nobody listens");
}

static void test_unconnected(Fixture *f, gconstpointer data)
{
    CharPort none = { 0 };
    char_attach(&none, NULL, NULL, f->m->platform);
    g_assert_cmpuint(char_write(&none, (const uint8_t *)"xyz", 3), ==, 3);
    g_assert_false(char_is_open(&none));
    char_accept_input(&none);
    char_detach(&none);
}

static void test_room(Fixture *f, gconstpointer data)
{
    Chardev *c = chardev_new_buffer(f->m, "b");
    Front *front = front_new(f, c);
    front->room = 2;
    feed(f, c, "abcdef");
    g_assert_cmpstr(front->got->str, ==, "ab");
    front->room = 3;
    domain_lock(f->m->platform);
    char_accept_input(&front->port);
    domain_unlock(f->m->platform);
    tm_turns(f->tm);
    g_assert_cmpstr(front->got->str, ==, "abcde");
    front_free(front);
}

static void on_writable(void *opaque)
{
    ((Front *)opaque)->writable++;
}

/* The ring and the buffer hold 64 KiB each: then the writer is told "no", and told when there is room. */
static void test_backpressure(Fixture *f, gconstpointer data)
{
    Chardev *c = chardev_new_buffer(f->m, "b");
    Front *front = front_new(f, c);
    uint8_t block[4096], out[4096];
    size_t total = 0, back = 0;
    memset(block, 'x', sizeof(block));
    for (size_t n = 1; n && total < 1 << 20; tm_turns(f->tm)) {
        n = char_write(&front->port, block, sizeof(block));
        total += n;
    }
    g_assert_cmpuint(total, ==, 128 * 1024);
    char_notify_writable(&front->port, on_writable);
    tm_turns(f->tm);
    g_assert_cmpuint(front->writable, ==, 0);
    for (size_t n; (n = chardev_buffer_take(c, out, sizeof(out)));) {
        back += n;
        tm_turns(f->tm);
    }
    g_assert_cmpuint(back, ==, total);
    g_assert_cmpuint(front->writable, ==, 1);
    front_free(front);
}

static void test_in_use(Fixture *f, gconstpointer data)
{
    Chardev *c = fixture_option(f, "null,id=n");
    Front *front = front_new(f, c);
    CharPort second = { 0 };
    Error *err = NULL;
    char_port_set_holder(&front->port, "device 'uart7'");
    g_assert_false(chardev_connect(c, &second, &err));
    g_assert_cmpstr(error_text(err), ==, "chardev 'n' is already in use by device 'uart7'");
    g_assert_nonnull(strstr(error_hint_text(err), "mux=on"));
    error_free(err);
    err = NULL;
    g_assert_false(chardev_remove(f->m, "n", &err));
    g_assert_cmpstr(error_text(err), ==, "chardev 'n' is in use by device 'uart7'");
    error_free(err);
    front_free(front);
    g_assert_true(chardev_remove(f->m, "n", NULL));
    g_assert_null(chardev_find(f->m, "n"));
    expect_error(f, "null,id=1x", "id '1x' is not a name*");
    fixture_option(f, "null,id=n");
    expect_error(f, "null,id=n", "there is already a chardev with id 'n'*");
}

static void test_refused(Fixture *f, gconstpointer data)
{
    expect_error(f, "vc,id=a", "*vc*is not here*socket*");
    expect_error(f, "udp,id=a", "*'udp' is not supported*use socket*");
    expect_error(f, "parallel,id=a,path=/dev/lp0", "*'parallel' is not supported*");
    expect_error(f, "spicevmc,id=a,name=x", "*'spicevmc' is not supported*");
    expect_error(f, "stdoi,id=a", "*stdoi*did you mean 'stdio'*");
    expect_error(f, "null", "*id*");
    expect_error(f, "file,id=a", "*path*");
    expect_error(f, "file,id=a,path=/,pth=1", "*pth*");
    expect_error(f, "socket,id=a", "*'path' (unix), 'port' (TCP) or 'fd' is missing*");
    expect_error(f, "socket,id=a,path=/x,port=1", "only one of*");
    expect_error(f, "socket,id=a,path=/x,wait=off", "'wait' goes with server=on only*");
    expect_error(f, "socket,id=a,path=/x,server=on,reconnect=1", "'reconnect' goes with a client*");
    expect_error(f, "socket,id=a,port=1,to=3", "'to' goes with a TCP server only*");
    expect_error(f, "socket,id=a,port=1,telnet=on", "*telnet*");
    expect_error(f, "ringbuf,id=a,size=1000", "*1000 is not a power of two*");
    expect_error(f, "ringbuf,id=a,size=1T", "*size*");
}

static void check_file(const char *path, const char *expected)
{
    g_autofree char *text = NULL;
    g_assert_true(g_file_get_contents(path, &text, NULL, NULL));
    g_assert_cmpstr(text, ==, expected);
}

static void test_file(Fixture *f, gconstpointer data)
{
    g_autofree char *out = fixture_path(f, "out"), *in = fixture_path(f, "in"), *log = fixture_path(f, "log");
    g_file_set_contents(in, "typed", -1, NULL);
    g_file_set_contents(log, "old\n", -1, NULL);
    Chardev *c = fixture_option(f, "file,id=f,path=%s,input-path=%s,logfile=%s,logappend=on", out, in, log);
    Front *front = front_new(f, c);
    turn_until(f, front->got->len == 5);
    g_assert_cmpstr(front->got->str, ==, "typed");
    front_say(f, front, "one");
    check_file(out, "one");
    check_file(log, "old\none");
    g_autofree char *name = chardev_filename(c);
    g_assert_true(g_str_has_suffix(name, "/out"));
    front_free(front);
    g_assert_true(chardev_remove(f->m, "f", NULL));
    front = front_new(f, fixture_option(f, "file,id=f,path=%s,append=on", out));
    front_say(f, front, "two");
    check_file(out, "onetwo");
    front_free(front);
    g_assert_true(chardev_remove(f->m, "f", NULL));
    fixture_option(f, "file,id=f,path=%s", out);
    check_file(out, "");
    expect_error(f, "file,id=g,path=/nonexistent/x",
                 "could not open '/nonexistent/x' for writing: No such file*");
    expect_error(f, "null,id=g,logfile=/nonexistent/x", "could not open logfile '/nonexistent/x'*");
}

/* A full disk is told once, with the path, and the front end never notices. */
static void test_full_disk_child(void)
{
    Fixture f;
    fixture_up(&f, NULL);
    Front *front = front_new(&f, fixture_option(&f, "file,id=f,path=/dev/full"));
    for (int i = 0; i < 5; i++) {
        front_say(&f, front, "some output");
    }
    front_free(front);
    fixture_down(&f, NULL);
}

static void test_full_disk(void)
{
    if (g_test_subprocess()) {
        test_full_disk_child();
        return;
    }
    g_test_trap_subprocess(NULL, 0, 0);
    g_test_trap_assert_passed();
    g_test_trap_assert_stderr("*writing to file:/dev/full failed: No space left on device*");
    g_test_trap_assert_stderr_unmatched("*No space left*No space left*");
}

static void test_ringbuf(Fixture *f, gconstpointer data)
{
    Chardev *c = fixture_option(f, "ringbuf,id=r,size=8");
    Front *front = front_new(f, c);
    front_say(f, front, "abcdef");
    front_say(f, front, "ghij");
    check_take(c, "cdefghij");
    front_say(f, front, "0123456789abcdef");
    check_take(c, "89abcdef");
    g_assert_true(chardev_is_ringbuf(c));
    front_free(front);
}

static void test_pipe(Fixture *f, gconstpointer data)
{
    g_autofree char *base = fixture_path(f, "p"), *in = fixture_path(f, "p.in"),
                    *out = fixture_path(f, "p.out");
    g_autofree char *bad = g_strdup_printf("pipe,id=p,path=%s", base);
    expect_error(f, bad, "could not open pipes*mkfifo*");
    g_assert_cmpint(mkfifo(in, 0600), ==, 0);
    g_assert_cmpint(mkfifo(out, 0600), ==, 0);
    Front *front = front_new(f, fixture_option(f, "pipe,id=p,path=%s", base));
    int wr = open(in, O_WRONLY | O_NONBLOCK), rd = open(out, O_RDONLY | O_NONBLOCK);
    char buf[16] = "";
    g_assert_cmpint(write(wr, "in", 2), ==, 2);
    turn_until(f, front->got->len == 2);
    front_say(f, front, "out");
    g_assert_cmpint(read(rd, buf, sizeof(buf)), ==, 3);
    g_assert_cmpstr(buf, ==, "out");
    close(wr);
    close(rd);
    front_free(front);
}

static void test_pty(Fixture *f, gconstpointer data)
{
    g_autofree char *link = fixture_path(f, "tty");
    Chardev *c = fixture_option(f, "pty,id=t,path=%s", link);
    Front *front = front_new(f, c);
    g_autofree char *name = chardev_filename(c);
    g_assert_true(g_str_has_prefix(name, "pty:/dev/pts/"));
    g_assert_cmpstr(front->events, ==, "");
    front_say(f, front, "lost");
    int fd = open(link, O_RDWR | O_NOCTTY | O_NONBLOCK);
    g_assert_cmpint(fd, >=, 0);
    turn_until(f, front->events[0] == 'O');
    front_say(f, front, "seen");
    char buf[16] = "";
    turn_until(f, read(fd, buf, sizeof(buf)) == 4);
    g_assert_cmpstr(buf, ==, "seen");
    g_assert_cmpint(write(fd, "key", 3), ==, 3);
    turn_until(f, front->got->len == 3);
    close(fd);
    turn_until(f, !strcmp(front->events, "OC"));
    fd = open(link, O_RDWR | O_NOCTTY | O_NONBLOCK);
    turn_until(f, !strcmp(front->events, "OCO"));
    close(fd);
    front_free(front);
    g_assert_true(chardev_remove(f->m, "t", NULL));
    g_assert_false(g_file_test(link, G_FILE_TEST_IS_SYMLINK));
}

/* ---- mux ---- */

typedef struct MuxEnds {
    int host; /* the test's end of the pipes */
    int from;
    Chardev *c;
} MuxEnds;

/* A mux over a pair of FIFOs. */
static void mux_open(Fixture *f, MuxEnds *e)
{
    g_autofree char *base = fixture_path(f, "m"), *in = fixture_path(f, "m.in"),
                    *out = fixture_path(f, "m.out");
    g_assert_cmpint(mkfifo(in, 0600), ==, 0);
    g_assert_cmpint(mkfifo(out, 0600), ==, 0);
    e->c = fixture_option(f, "pipe,id=m,path=%s,mux=on", base);
    e->host = open(in, O_WRONLY | O_NONBLOCK);
    e->from = open(out, O_RDONLY | O_NONBLOCK);
}

static void mux_close(MuxEnds *e)
{
    close(e->host);
    close(e->from);
}

static void type_in(MuxEnds *e, const char *text)
{
    g_assert_cmpint(write(e->host, text, strlen(text)), ==, strlen(text));
}

static void test_mux_focus(Fixture *f, gconstpointer data)
{
    MuxEnds e;
    mux_open(f, &e);
    g_assert_true(chardev_is_mux(e.c));
    Front *a = front_new(f, e.c), *b = front_new(f, e.c);
    g_assert_cmpstr(a->events, ==, "IOU");
    g_assert_cmpstr(b->events, ==, "IO");
    type_in(&e, "to b");
    turn_until(f, b->got->len == 4);
    type_in(&e, "\001cto a\001");
    turn_until(f, a->got->len == 4);
    g_assert_cmpstr(b->got->str, ==, "to b");
    g_assert_cmpstr(b->events, ==, "IOU");
    type_in(&e, "\001!"); /* the escape key twice sends itself, also in two pieces */
    turn_until(f, a->got->len == 6);
    g_assert_cmpstr(a->got->str, ==, "to a\001!");
    type_in(&e, "\001b");
    turn_until(f, strchr(a->events, 'B'));
    front_say(f, a, "A");
    front_say(f, b, "B");
    char buf[16] = "";
    turn_until(f, read(e.from, buf, sizeof(buf)) == 2);
    g_assert_cmpstr(buf, ==, "AB");
    front_free(a);
    type_in(&e, "!"); /* the other one has the focus now */
    turn_until(f, b->got->len == 5);
    front_free(b);
    mux_close(&e);
}

static void test_mux_limit(Fixture *f, gconstpointer data)
{
    MuxEnds e;
    mux_open(f, &e);
    Front *fronts[4];
    for (int i = 0; i < 4; i++) {
        fronts[i] = front_new(f, e.c);
    }
    CharPort fifth = { 0 };
    Error *err = NULL;
    g_assert_false(chardev_connect(e.c, &fifth, &err));
    g_assert_nonnull(strstr(error_text(err), "4 front ends already"));
    error_free(err);
    for (int i = 0; i < 4; i++) {
        front_free(fronts[i]);
    }
    mux_close(&e);
}

static void expect_ring(Chardev *c, size_t size, const char *text)
{
    char buf[64];
    size_t n = chardev_ringbuf_read_text(c, (uint8_t *)buf, size);
    g_assert_cmpmem(buf, n, text, strlen(text));
}

/* Characters are not cut, unless there is no other way. */
static void test_ring_text(Fixture *f, gconstpointer data)
{
    static const char text[] = "a\xc3\xbc\xe2\x98\x83\xf0\x9f\x98\x80z";
    Chardev *c = fixture_option(f, "ringbuf,id=r,size=16");
    chardev_ringbuf_write(c, (const uint8_t *)text, strlen(text));
    expect_ring(c, 2, "a");
    expect_ring(c, 4, "\xc3\xbc");
    expect_ring(c, 1, "\xe2");
    expect_ring(c, 3, "\x98\x83");
    expect_ring(c, 16, "\xf0\x9f\x98\x80z");
    expect_ring(c, 16, "");
}

/* The front end stays, with what it has got; it sees the other end go and come. */
static void test_change(Fixture *f, gconstpointer data)
{
    Error *err = NULL;
    Chardev *c = fixture_option(f, "null,id=a");
    Front *front = front_new(f, c);
    Chardev *ring = chardev_change_option(f->m, "a", "ringbuf,size=16", &error_abort_slot);
    g_assert_true(chardev_find(f->m, "a") == ring && front->port.be == ring);
    tm_turns(f->tm);
    g_assert_cmpstr(front->events, ==, "OCO");
    g_assert_true(chardev_frontend_open(ring));
    front_say(f, front, "text");
    expect_ring(ring, 16, "text");
    g_assert_true(chardev_send_break(f->m, "a", &error_abort_slot));
    tm_turns(f->tm);
    g_assert_cmpstr(front->events, ==, "OCOB");
    static const char *const wrong[] = { "file,path=/nowhere/to/be/found", "null,mux=on", "null,id=b",
                                         "nope" };
    for (unsigned i = 0; i < G_N_ELEMENTS(wrong); i++) {
        g_assert_null(chardev_change_option(f->m, "a", wrong[i], &err));
        g_clear_pointer(&err, error_free);
    }
    g_assert_null(chardev_change_option(f->m, "b", "null", &err));
    g_clear_pointer(&err, error_free);
    g_assert_false(chardev_send_break(f->m, "b", &err));
    g_clear_pointer(&err, error_free);
    front_say(f, front, "stays");
    expect_ring(ring, 16, "stays");
    g_autofree char *path = fixture_path(f, "s");
    g_autofree char *socket = g_strdup_printf("socket,path=%s,server=on,wait=off", path);
    chardev_change_option(f->m, "a", socket, &error_abort_slot); /* nobody is there */
    tm_turns(f->tm);
    g_assert_cmpstr(front->events, ==, "OCOBC");
    front_free(front);
    g_assert_nonnull(chardev_change_option(f->m, "a", "null", &error_abort_slot)); /* of nobody's */
    g_assert_true(chardev_remove(f->m, "a", &error_abort_slot));
}

/* A writer that waits for a full one goes on with the new one; a monitor stays where it is. */
static void test_change_waiting(Fixture *f, gconstpointer data)
{
    Chardev *c = chardev_new_buffer(f->m, "b");
    Front *front = front_new(f, c);
    uint8_t block[4096] = { 0 };
    domain_lock(f->m->platform);
    for (unsigned i = 0; i < 64; i++) {
        char_write(&front->port, block, sizeof(block));
    }
    char_notify_writable(&front->port, on_writable);
    domain_unlock(f->m->platform);
    tm_turns(f->tm);
    front->writable = 0;
    domain_lock(f->m->platform);
    while (char_write(&front->port, block, sizeof(block))) {
    }
    char_notify_writable(&front->port, on_writable);
    domain_unlock(f->m->platform);
    tm_turns(f->tm);
    g_assert_cmpuint(front->writable, ==, 0);
    chardev_change_option(f->m, "b", "null", &error_abort_slot);
    tm_turns(f->tm);
    g_assert_cmpuint(front->writable, ==, 1);
    front_free(front);
    CharPort loop_port = { 0 };
    Error *err = NULL;
    chardev_connect(chardev_find(f->m, "b"), &loop_port, &error_abort_slot);
    char_port_set_holder(&loop_port, "a monitor");
    g_assert_null(chardev_change_option(f->m, "b", "null", &err));
    g_assert_nonnull(strstr(error_text(err), "in use by a monitor"));
    error_free(err);
    char_detach(&loop_port);
}

/* More events than wait for a front end that does not look: it learns how it ended. */
static void test_many_events(Fixture *f, gconstpointer data)
{
    Chardev *c = chardev_new_buffer(f->m, "b");
    Front *front = front_new(f, c);
    for (unsigned i = 0; i < 99; i++) {
        chardev_set_open(c, i & 1);
    }
    memset(front->events, 0, sizeof(front->events));
    tm_turns(f->tm);
    g_assert_cmpuint(strlen(front->events), ==, 16);
    g_assert_cmpint(front->events[15], ==, 'C');
    front_free(front);
}

static void greet(void *opaque, CharEvent event)
{
    Front *front = opaque;
    if (event == CHAR_OPENED) {
        g_assert_cmpuint(char_write(&front->port, (const uint8_t *)"hello", 5), ==, 5);
    }
}

/* Who comes before the front end has heard that another one left gets nothing that was for that one. */
static void test_answers(Fixture *f, gconstpointer data)
{
    static const CharHandler handler = { .event = greet, .answers = true };
    Chardev *c = chardev_new_buffer(f->m, "b");
    Front front = { 0 };
    chardev_set_open(c, false);
    chardev_connect(c, &front.port, &error_abort_slot);
    char_attach(&front.port, &handler, &front, f->m->platform);
    tm_turns(f->tm);
    check_take(c, "");
    chardev_set_open(c, true);
    chardev_set_open(c, false);
    chardev_set_open(c, true);
    tm_turns(f->tm);
    check_take(c, "hello");
    chardev_set_open(c, false);
    chardev_set_open(c, true);
    tm_turns(f->tm);
    check_take(c, "hello");
    char_detach(&front.port);
}

typedef struct Nested {
    CharPort port;
    Fixture *f;
    Chardev *c;
    GString *got;
} Nested;

/* A command that waits, turning the main loop, while more comes; then the front end goes away. */
static void nested_receive(void *opaque, const uint8_t *buf, size_t len)
{
    Nested *n = opaque;
    g_string_append_len(n->got, (const char *)buf, (gssize)len);
    if (n->got->len == len) {
        feed(n->f, n->c, "inner");
        g_string_append_c(n->got, '.');
        char_detach(&n->port);
    }
}

static void test_nested_detach(Fixture *f, gconstpointer data)
{
    static const CharHandler handler = { .receive = nested_receive };
    Nested n = { .f = f, .c = chardev_new_buffer(f->m, "b"), .got = g_string_new(NULL) };
    chardev_connect(n.c, &n.port, &error_abort_slot);
    char_attach(&n.port, &handler, &n, NULL);
    feed(f, n.c, "outer ");
    g_assert_cmpstr(n.got->str, ==, "outer inner.");
    feed(f, n.c, "nobody listens");
    g_string_free(n.got, TRUE);
}

static void read_all(Fixture *f, MuxEnds *e, GString *into, const char *last)
{
    turn_until(f, ({
        char buf[512];
        ssize_t n = read(e->from, buf, sizeof(buf));
        g_string_append_len(into, buf, n > 0 ? n : 0);
        strstr(into->str, last) != NULL;
    }));
}

static void test_mux_keys(Fixture *f, gconstpointer data)
{
    MuxEnds e;
    mux_open(f, &e);
    Front *a = front_new(f, e.c);
    g_autoptr(GString) out = g_string_new(NULL);
    type_in(&e, "\001h");
    read_all(f, &e, out, "send C-a itself\r\n");
    g_assert_nonnull(strstr(out->str, "C-a x    end the emulator"));
    g_string_truncate(out, 0);
    type_in(&e, "\001s");
    read_all(f, &e, out, "no disks");
    type_in(&e, "\001t");
    turn_until(f, ({ front_say(f, a, "\n"); read_all(f, &e, out, "\n"); strstr(out->str, "[00:00:0"); }));
    g_string_truncate(out, 0);
    front_say(f, a, "x\ny");
    read_all(f, &e, out, "y");
    g_assert_true(g_regex_match_simple("^\\[00:00:\\d\\d\\.\\d{3}\\] x\n\\[00:00:\\d\\d\\.\\d{3}\\] y$",
                                       out->str, 0, 0));
    type_in(&e, "\001q");   /* unknown: dropped with the escape */
    type_in(&e, "z");
    turn_until(f, a->got->len == 1);
    type_in(&e, "\001x");
    turn_until(f, f->m->state == RUN_FINISHED);
    g_assert_cmpint(machine_exit_status(f->m), ==, 0);
    char_set_escape(20);
    type_in(&e, "\001\024\024");
    turn_until(f, a->got->len == 3);
    g_assert_cmpstr(a->got->str, ==, "z\001\024");
    char_set_escape(1);
    front_free(a);
    mux_close(&e);
}

#define ADD(name, fn) g_test_add("/backends/char/" name, Fixture, NULL, fixture_up, fn, fixture_down)

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    chardev_register();
    ADD("buffer", test_buffer);
    ADD("unconnected", test_unconnected);
    ADD("room", test_room);
    ADD("backpressure", test_backpressure);
    ADD("in-use", test_in_use);
    ADD("refused", test_refused);
    ADD("file", test_file);
    g_test_add_func("/backends/char/full-disk", test_full_disk);
    ADD("ringbuf", test_ringbuf);
    ADD("pipe", test_pipe);
    ADD("pty", test_pty);
    ADD("mux-focus", test_mux_focus);
    ADD("mux-limit", test_mux_limit);
    ADD("mux-keys", test_mux_keys);
    ADD("ring-text", test_ring_text);
    ADD("change", test_change);
    ADD("change-waiting", test_change_waiting);
    ADD("many-events", test_many_events);
    ADD("nested-detach", test_nested_detach);
    ADD("answers", test_answers);
    return g_test_run();
}
