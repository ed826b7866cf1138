/* SPDX-License-Identifier: MIT
 * tests/unit/ui/test-vdagent.c - the desktop agent's other end (ui/vdagent.c) and what was copied
 * (ui/clipboard.c), by a chardev whose host side is in a layer above (backends/char/upper.c). The test is the
 * agent in the guest. RHEA_AGENT_CASES: pieces of nonsense. Threads: main.
 */
#include "rhea/backends/char.h"
#include "rhea/ui/clipboard.h"
#include "rhea/ui/input.h"
#include "rhea/ui/vdagent.h"
#include "tests/lib/testmachine.h"

#include <string.h>

enum { MOUSE_STATE = 1, CLIPBOARD = 4, ANNOUNCE = 6, GRAB = 7, REQUEST = 8, RELEASE = 9 };
enum { CAP_MOUSE = 1, CAP_DEMAND = 1 << 5, CAP_SELECTION = 1 << 6, CAP_CRLF = 1 << 9, TEXT = 1 };

typedef struct Agent {
    TestMachine *tm;
    CharPort port;
    GByteArray *got;    /* as it came */
    ClipboardPeer user; /* a viewer */
    unsigned changes;
} Agent;

static void receive(void *opaque, const uint8_t *buf, size_t len)
{
    g_byte_array_append(((Agent *)opaque)->got, buf, (guint)len);
}

static size_t room(void *opaque)
{
    return SIZE_MAX;
}

static void changed(ClipboardPeer *p)
{
    ((Agent *)((char *)p - offsetof(Agent, user)))->changes++;
}

static Agent *agent_new(const char *options)
{
    static const CharHandler handler = { .room = room, .receive = receive };
    static bool once;
    Agent *a = g_new0(Agent, 1);
    if (!once) {
        vdagent_register();
        once = true;
    }
    a->tm = tm_new(1 << 20);
    a->got = g_byte_array_new();
    a->user.changed = changed;
    g_autofree char *text = g_strdup_printf("qemu-vdagent,id=a%s", options);
    Chardev *c = chardev_new_option(a->tm->m, text, &error_abort_slot);
    g_autofree char *name = chardev_filename(c);
    g_assert_cmpstr(name, ==, "qemu-vdagent");
    clipboard_join(a->tm->m, &a->user);
    chardev_connect(c, &a->port, &error_abort_slot);
    char_attach(&a->port, &handler, a, NULL);
    tm_turns(a->tm);
    return a;
}

static void agent_free(Agent *a)
{
    clipboard_leave(&a->user);
    char_detach(&a->port);
    chardev_remove_all(a->tm->m);
    tm_free(a->tm);
    g_byte_array_unref(a->got);
    g_free(a);
}

static void put32(GByteArray *a, uint32_t v)
{
    v = GUINT32_TO_LE(v);
    g_byte_array_append(a, (uint8_t *)&v, 4);
}

static uint32_t get32(const uint8_t *p)
{
    uint32_t v;
    memcpy(&v, p, 4);
    return GUINT32_FROM_LE(v);
}

static void write_all(Agent *a, const uint8_t *data, size_t len)
{
    for (size_t at = 0; at < len;) {
        at += char_write(&a->port, data + at, len - at);
        tm_turns(a->tm);
    }
}

/* In chunks of `piece` bytes. */
static void say(Agent *a, uint32_t type, const void *body, size_t len, size_t piece)
{
    g_autoptr(GByteArray) m = g_byte_array_new(), out = g_byte_array_new();
    const uint32_t head[] = { 1, type, 0, 0, (uint32_t)len };
    for (unsigned i = 0; i < 5; i++) {
        put32(m, head[i]);
    }
    g_byte_array_append(m, body, (guint)len);
    for (guint at = 0, n; at < m->len; at += n) {
        n = (guint)MIN(piece, m->len - at);
        put32(out, 1);
        put32(out, n);
        g_byte_array_append(out, m->data + at, n);
    }
    write_all(a, out->data, out->len);
}

/* The next message that came: its type; 0: none. Chunks are put together. */
static uint32_t next(Agent *a, GByteArray *body)
{
    uint32_t type = 0, want = 20;
    g_byte_array_set_size(body, 0);
    tm_turns(a->tm);
    while (body->len < want && a->got->len >= 8) {
        uint32_t n = get32(a->got->data + 4);
        g_assert_cmpuint(get32(a->got->data), ==, 1);
        g_assert_cmpuint(n, <=, 2048);
        g_assert_cmpuint(a->got->len, >=, 8 + n);
        g_byte_array_append(body, a->got->data + 8, n);
        g_byte_array_remove_range(a->got, 0, 8 + n);
        want = body->len >= 20 ? 20 + get32(body->data + 16) : want;
    }
    if (body->len) {
        g_assert_cmpuint(body->len, ==, want);
        g_assert_cmpuint(get32(body->data), ==, 1);
        type = get32(body->data + 4);
        g_byte_array_remove_range(body, 0, 20);
    }
    return type;
}

static void hello(Agent *a, uint32_t caps)
{
    g_autoptr(GByteArray) body = g_byte_array_new();
    const uint32_t mine[] = { GUINT32_TO_LE(1), GUINT32_TO_LE(caps) };
    g_assert_cmpuint(next(a, body), ==, ANNOUNCE);
    g_assert_cmpuint(get32(body->data), ==, 1); /* it wants to know ours, too */
    say(a, ANNOUNCE, mine, sizeof(mine), 2048);
    g_assert_cmpuint(next(a, body), ==, ANNOUNCE);
    g_assert_cmpuint(get32(body->data), ==, 0);
}

static void test_capabilities(void)
{
    static const struct { const char *options; uint32_t caps; } want[] = {
        { "", CAP_MOUSE },
        { ",mouse=off", 0 },
        { ",clipboard=on", CAP_MOUSE | CAP_DEMAND | CAP_SELECTION },
        { ",clipboard=on,mouse=off", CAP_DEMAND | CAP_SELECTION },
    };
    g_autoptr(GByteArray) body = g_byte_array_new();
    for (unsigned i = 0; i < G_N_ELEMENTS(want); i++) {
        Agent *a = agent_new(want[i].options);
        g_assert_cmpuint(next(a, body), ==, ANNOUNCE);
        g_assert_cmpuint(body->len, ==, 8);
        g_assert_cmphex(get32(body->data + 4), ==, want[i].caps);
        agent_free(a);
    }
}

/* A message about the clipboard, with the selection. */
static void say_clip(Agent *a, uint32_t type, unsigned selection, uint32_t kind, const char *text, size_t len)
{
    g_autoptr(GByteArray) body = g_byte_array_new();
    put32(body, selection);
    put32(body, kind);
    g_byte_array_append(body, (const uint8_t *)text, (guint)len);
    say(a, type, body->data, body->len, 1500);
}

static void check_text(Agent *a, const char *text)
{
    size_t len;
    const char *now = clipboard_text(a->tm->m, &len);
    g_assert_cmpmem(now, len, text, strlen(text));
}

static void test_from_guest(void)
{
    g_autoptr(GByteArray) body = g_byte_array_new();
    Agent *a = agent_new(",clipboard=on");
    hello(a, CAP_DEMAND | CAP_SELECTION);
    say_clip(a, GRAB, 1, TEXT, NULL, 0); /* only marked */
    say_clip(a, GRAB, 0, 2, NULL, 0);    /* a picture */
    g_assert_cmpuint(next(a, body), ==, 0);
    say_clip(a, GRAB, 0, TEXT, NULL, 0);
    g_assert_cmpuint(next(a, body), ==, REQUEST);
    g_assert_cmpuint(body->len, ==, 8);
    g_assert_cmpuint(get32(body->data), ==, 0);
    g_assert_cmpuint(get32(body->data + 4), ==, TEXT);
    say_clip(a, CLIPBOARD, 0, TEXT, "h\xc3\xa9llo", 6);
    check_text(a, "h\xc3\xa9llo");
    g_assert_cmpuint(a->changes, ==, 1);
    say_clip(a, CLIPBOARD, 0, TEXT, "no \xff text", 9);
    check_text(a, "h\xc3\xa9llo");
    g_autofree char *much = g_strnfill(CLIPBOARD_MAX + 1, 'm');
    say_clip(a, CLIPBOARD, 0, TEXT, much, CLIPBOARD_MAX + 1);
    check_text(a, "h\xc3\xa9llo");
    say_clip(a, CLIPBOARD, 0, TEXT, much, CLIPBOARD_MAX);
    much[CLIPBOARD_MAX] = 0;
    check_text(a, much);
    g_assert_cmpuint(a->changes, ==, 2);
    agent_free(a);
}

static void test_to_guest(void)
{
    g_autoptr(GByteArray) body = g_byte_array_new();
    Agent *a = agent_new(",clipboard=on,mouse=off");
    g_assert_true(clipboard_put(&a->user, "early", 5));
    hello(a, CAP_DEMAND | CAP_SELECTION);
    g_assert_cmpuint(next(a, body), ==, GRAB);
    g_assert_cmpuint(get32(body->data + 4), ==, TEXT);
    say_clip(a, REQUEST, 0, TEXT, NULL, 0);
    g_assert_cmpuint(next(a, body), ==, CLIPBOARD);
    g_assert_cmpmem(body->data + 8, body->len - 8, "early", 5);
    g_assert_false(clipboard_put(&a->user, "early", 5)); /* nothing new: it does not go round for ever */
    g_autofree char *much = g_strnfill(300000, 'm');
    g_assert_true(clipboard_put(&a->user, much, 300000));
    g_assert_cmpuint(next(a, body), ==, GRAB);
    say_clip(a, REQUEST, 0, TEXT, NULL, 0);
    g_assert_cmpuint(next(a, body), ==, CLIPBOARD);
    g_assert_cmpmem(body->data + 8, body->len - 8, much, 300000);
    say_clip(a, REQUEST, 0, 2, NULL, 0); /* as a picture */
    g_assert_cmpuint(next(a, body), ==, CLIPBOARD);
    g_assert_cmpuint(get32(body->data + 4), ==, 0);
    say_clip(a, GRAB, 0, TEXT, NULL, 0); /* it has its own now, which nobody but it knows */
    g_assert_cmpuint(next(a, body), ==, REQUEST);
    say_clip(a, REQUEST, 0, TEXT, NULL, 0);
    g_assert_cmpuint(next(a, body), ==, CLIPBOARD);
    g_assert_cmpuint(get32(body->data + 4), ==, 0);
    agent_free(a);
}

/* Windows: lines end in CR LF there. And an agent without selections. */
static void test_lines(void)
{
    g_autoptr(GByteArray) body = g_byte_array_new();
    Agent *a = agent_new(",clipboard=on");
    hello(a, CAP_DEMAND | CAP_CRLF);
    const uint32_t text = GUINT32_TO_LE(TEXT);
    say(a, GRAB, &text, 4, 2048);
    g_assert_cmpuint(next(a, body), ==, REQUEST);
    g_assert_cmpuint(body->len, ==, 4);
    say(a, CLIPBOARD, "\1\0\0\0a\r\nb\rc\r\n", 4 + 8, 2048);
    check_text(a, "a\nb\rc\n");
    clipboard_put(&a->user, "x\ny\r\n", 5);
    g_assert_cmpuint(next(a, body), ==, GRAB);
    say(a, REQUEST, &text, 4, 2048);
    g_assert_cmpuint(next(a, body), ==, CLIPBOARD);
    g_assert_cmpmem(body->data + 4, body->len - 4, "x\r\ny\r\n", 6);
    agent_free(a);
}

/* Nobody asked for the clipboard to be shared: it is not, not even between viewers. */
static void test_off(void)
{
    g_autoptr(GByteArray) body = g_byte_array_new();
    Agent *a = agent_new("");
    hello(a, CAP_DEMAND | CAP_SELECTION);
    g_assert_false(clipboard_is_shared(&a->user));
    g_assert_false(clipboard_put(&a->user, "mine", 4));
    say_clip(a, GRAB, 0, TEXT, NULL, 0);
    say_clip(a, CLIPBOARD, 0, TEXT, "theirs", 6);
    say_clip(a, REQUEST, 0, TEXT, NULL, 0);
    g_assert_cmpuint(next(a, body), ==, 0);
    g_assert_cmpuint(a->changes, ==, 0);
    agent_free(a);
}

static void test_pointer(void)
{
    g_autoptr(GByteArray) body = g_byte_array_new();
    Agent *a = agent_new("");
    Machine *m = a->tm->m;
    Console *c = console_new(m, NULL, 0, NULL, NULL);
    console_set_surface(c, surface_new(801, 601, &error_abort_slot));
    g_assert_false(input_has(m, NULL, INPUT_KIND_ABS));
    hello(a, CAP_MOUSE);
    g_assert_true(input_has(m, NULL, INPUT_KIND_ABS));
    const UiEvent events[] = { { .kind = INPUT_KIND_ABS, .code = 0, .value = INPUT_ABS_MAX },
                               { .kind = INPUT_KIND_ABS, .code = 1, .value = INPUT_ABS_MAX / 2 + 1 },
                               { .kind = INPUT_KIND_BUTTON, .code = POINTER_RIGHT, .down = true } };
    g_assert_true(input_send(m, NULL, events, 3));
    g_assert_cmpuint(next(a, body), ==, MOUSE_STATE);
    g_assert_cmpuint(body->len, ==, 13);
    g_assert_cmpuint(get32(body->data), ==, 800);
    g_assert_cmpuint(get32(body->data + 4), ==, 300);
    g_assert_cmpuint(get32(body->data + 8), ==, 1 << 3);
    g_assert_cmpuint(next(a, body), ==, 0);
    char_port_set_open(&a->port, false);
    tm_turns(a->tm);
    g_assert_false(input_has(m, NULL, INPUT_KIND_ABS)); /* the agent has ended */
    char_port_set_open(&a->port, true);
    hello(a, CAP_MOUSE);
    g_assert_true(input_has(m, NULL, INPUT_KIND_ABS));
    console_free(c);
    agent_free(a);
}

/* An agent that ended in the middle of a message is followed by one that is understood. */
static void test_anew(void)
{
    Agent *a = agent_new(",clipboard=on");
    hello(a, CAP_DEMAND | CAP_SELECTION);
    write_all(a, (const uint8_t *)"\1\0\0\0\xff\0\0\0\1\0\0\0\4\0\0\0", 16);
    char_port_set_open(&a->port, false);
    tm_turns(a->tm);
    char_port_set_open(&a->port, true);
    hello(a, CAP_DEMAND | CAP_SELECTION);
    say_clip(a, CLIPBOARD, 0, TEXT, "anew", 4);
    check_text(a, "anew");
    const uint32_t huge[] = { 1, 2048, 1, CLIPBOARD, 0, 0, 0x7fffffff };
    write_all(a, (const uint8_t *)huge, sizeof(huge));
    say_clip(a, CLIPBOARD, 0, TEXT, "unheard", 7); /* nothing of it is kept */
    check_text(a, "anew");
    agent_free(a);
}

static void test_nonsense(void)
{
    const char *text = g_getenv("RHEA_AGENT_CASES");
    unsigned cases = text ? (unsigned)strtoul(text, NULL, 10) : 3000;
    g_autoptr(GRand) r = g_rand_new_with_seed(5);
    Agent *a = agent_new(",clipboard=on");
    hello(a, CAP_DEMAND | CAP_SELECTION | CAP_MOUSE);
    for (unsigned i = 0; i < cases; i++) {
        uint8_t body[64];
        for (unsigned k = 0; k < sizeof(body); k++) {
            body[k] = (uint8_t)(g_rand_int(r) & (g_rand_boolean(r) ? 0xff : 1));
        }
        switch (g_rand_int_range(r, 0, 12)) {
        case 0: write_all(a, body, (size_t)g_rand_int_range(r, 0, 64)); break;
        case 1:
            char_port_set_open(&a->port, g_rand_boolean(r));
            tm_turns(a->tm);
            break;
        case 2: clipboard_put(&a->user, (const char *)body, (size_t)g_rand_int_range(r, 0, 3)); break;
        default:
            say(a, (uint32_t)g_rand_int_range(r, 0, 14), body, (size_t)g_rand_int_range(r, 0, 64),
                (size_t)g_rand_int_range(r, 1, 100));
        }
        g_byte_array_set_size(a->got, 0);
    }
    agent_free(a);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    role_become_main();
    g_test_add_func("/vdagent/capabilities", test_capabilities);
    g_test_add_func("/vdagent/from-guest", test_from_guest);
    g_test_add_func("/vdagent/to-guest", test_to_guest);
    g_test_add_func("/vdagent/lines", test_lines);
    g_test_add_func("/vdagent/off", test_off);
    g_test_add_func("/vdagent/pointer", test_pointer);
    g_test_add_func("/vdagent/anew", test_anew);
    g_test_add_func("/vdagent/nonsense", test_nonsense);
    return g_test_run();
}
