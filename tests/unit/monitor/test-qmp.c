/* SPDX-License-Identifier: MIT
 * tests/unit/monitor/test-qmp.c - QMP sessions over a chardev in memory: every rule of the protocol, limits,
 * clients that send nonsense, do not read, or go away; commands that need no guest. Covers monitor/qmp.c,
 * qmp_frame.c, qmp_rate.c, qmp_schema.c, qmp_core.c, qmp_qom.c, qmp_balloon.c.
 */
#include "backends/char/char_internal.h"
#include "monitor/qmp_internal.h"
#include "rhea/backends/drive.h"
#include "rhea/backends/hostmem.h"
#include "rhea/monitor/monitor.h"
#include "rhea/util/errorcode.h"
#include "schema/qmp.h"
#include "tests/lib/answers.h"
#include <glib/gstdio.h>
#include <string.h>

const AccelOps *const accel_table[] = { &accel_test_ops, NULL };
const BoardType *const board_table[] = { &board_none, NULL };

typedef struct Fixture {
    TestMachine *tm;
    Machine *m;
    Chardev *c;
    QmpSession *s;
} Fixture;

/* ---- commands of the test's own ---- */

static bool oob_came, slow_failed;
static Loop *test_loop;
static Chardev *test_chardev;

/* Turns the loop until something out of band came: as commands do that wait for the host. */
static bool run_slow(QmpCall *call, const void *args, void *ret, Error **errp)
{
    for (unsigned i = 0; i < 1000 && !oob_came; i++) {
        loop_turn(test_loop, false);
    }
    slow_failed = !oob_came;
    return true;
}

static bool run_oob(QmpCall *call, const void *args, void *ret, Error **errp)
{
    oob_came = true;
    return true;
}

static bool run_code(QmpCall *call, const void *args, void *ret, Error **errp)
{
    error_set(errp, "it broke");
    error_hint(errp, "mend it");
    error_set_code(errp, "broken", "some.where");
    return false;
}

/* The client goes and another one comes meanwhile. */
static bool run_vanish(QmpCall *call, const void *args, void *ret, Error **errp)
{
    chardev_set_open(test_chardev, false);
    chardev_set_open(test_chardev, true);
    for (unsigned i = 0; i < 10; i++) {
        loop_turn(test_loop, false);
    }
    return true;
}

static bool run_null(QmpCall *call, const void *args, void *ret, Error **errp)
{
    return true;
}

static const QmpCommand test_commands[] = {
    { .name = "test-slow", .run = run_slow },
    { .name = "test-oob", .run = run_oob, .flags = QMP_ALLOW_OOB },
    { .name = "test-code", .run = run_code },
    { .name = "test-vanish", .run = run_vanish },
    { .name = "test-null", .run = run_null, .ret = &type_any, .flags = QMP_RAW_RESULT },
    { 0 },
};

/* ---- fixture ---- */

static void fixture_up(Fixture *f, gconstpointer data)
{
    f->tm = tm_new(1 << 20);
    f->m = f->tm->m;
    test_loop = f->m->loop;
    f->c = chardev_new_buffer(f->m, "mon");
    f->s = qmp_session_new(f->m, f->c, false, &error_abort_slot);
    tm_turns(f->tm);
}

static void fixture_down(Fixture *f, gconstpointer data)
{
    chardev_remove_all(f->m);
    qmp_session_free(f->s);
    hostmem_remove_all(f->m);
    drive_remove_all(f->m);
    tm_free(f->tm);
}

static void feed(Fixture *f, const char *text, size_t len)
{
    while (len) { /* the port's ring has 4 KiB */
        size_t n = MIN(MIN(len, 1024), chardev_input_room(f->c));
        if (!n) {
            return;
        }
        chardev_buffer_feed(f->c, (const uint8_t *)text, n);
        tm_turns(f->tm);
        text += n;
        len -= n;
    }
}

/* What comes back for this text. */
static char *say(Fixture *f, const char *text)
{
    feed(f, text, strlen(text));
    return answers_take(f->tm, f->c);
}

static void expect(Fixture *f, const char *text, const char *expected)
{
    answers_expect(text, say(f, text), expected);
}

static void expect_match(Fixture *f, const char *text, const char *pattern)
{
    answers_expect_match(text, say(f, text), pattern);
}

static void begin(Fixture *f)
{
    g_free(answers_take(f->tm, f->c)); /* the greeting */
    expect(f, "{'execute': 'qmp_capabilities'}", "{\"return\": {}}\r\n");
}

static void begin_oob(Fixture *f)
{
    g_free(answers_take(f->tm, f->c));
    expect(f, "{'execute': 'qmp_capabilities', 'arguments': {'enable': ['oob']}}", "{\"return\": {}}\r\n");
}

static void still_works(Fixture *f)
{
    expect(f, "{'execute': 'query-name', 'id': 'w'}", "{\"return\": {}, \"id\": \"w\"}\r\n");
}

static void reconnect(Fixture *f)
{
    chardev_set_open(f->c, false);
    tm_turns(f->tm);
    g_free(answers_take(f->tm, f->c));
    chardev_set_open(f->c, true);
    tm_turns(f->tm);
}

/* ---- the protocol ---- */

static void test_greeting(Fixture *f, gconstpointer data)
{
    expect_match(f, "", "{\"QMP\": {\"version\": {\"qemu\": {\"micro\": *, \"minor\": 2, \"major\": 7}, "
                        "\"package\": \"Rhea *\"}, \"capabilities\": [\"oob\"]}}\r\n");
    expect_match(f, "{'execute': 'query-name', 'id': 1}",
                 "{\"error\": {\"class\": \"CommandNotFound\", \"desc\": \"*qmp_capabilities*\", *}, \"id\": "
                 "1}\r\n");
    expect_match(f, "{'execute': 'qmp_capabilities', 'arguments': {'enable': ['bob']}}",
                 "*'enable.0' must be one of 'oob', not 'bob'*\"member\": \"enable.0\"*");
    expect_match(f, "{'execute': 'query-name'}", "*CommandNotFound*"); /* a failed negotiation is none */
    expect(f, "{'execute': 'qmp_capabilities'}", "{\"return\": {}}\r\n");
    expect_match(f, "{'execute': 'qmp_capabilities'}", "{\"error\": {\"class\": \"CommandNotFound\"*\r\n");
    still_works(f);
}

static void test_ids(Fixture *f, gconstpointer data)
{
    static const char *const ids[] = { "null", "true", "17", "-1", "18446744073709551615", "\"x\"",
                                       "\"\\u00e9\"",
                                       "[1, {\"a\": null}]", "{\"deep\": [[]]}" };
    begin(f);
    for (size_t i = 0; i < G_N_ELEMENTS(ids); i++) {
        g_autofree char *good = g_strdup_printf("{'id': %s, 'execute': 'stop'}", ids[i]);
        g_autofree char *bad = g_strdup_printf("{'execute': 'nonsense', 'id': %s}", ids[i]);
        g_autofree char *tail = g_strdup_printf(", \"id\": %s}\r\n", ids[i]);
        g_autofree char *got = say(f, good), *err = say(f, bad);
        g_assert_true(g_str_has_suffix(got, tail));
        g_assert_true(g_str_has_suffix(err, tail));
    }
}

static void test_errors(Fixture *f, gconstpointer data)
{
    static const struct { const char *text, *pattern; } wrong[] = {
        { "[]", "{\"error\": {\"class\": \"GenericError\", \"desc\": \"a command is an object, not array*" },
        { "'x'", "*not string*" },
        { "17 ", "*not integer*" },
        { "true\n", "*not boolean*" },
        { "null\n", "*invalid-json*" },
        { "{}", "*'execute' is missing*\"code\": \"missing-member\", \"member\": \"execute\"*" },
        { "{'execute': 5}", "*'execute' must be a string*wrong-type*" },
        { "{'execute': 'stop', 'arguments': []}", "*'arguments' must be an object*" },
        { "{'execute': 'stop', 'arguments': {'a': 1}}", "*'a' is unknown*\"member\": \"a\"*" },
        { "{'execute': 'stop', 'bogus': 1, 'id': 9}", "*'bogus' is unknown*\"id\": 9}*" },
        { "{'exec-oob': 'stop'}", "*'exec-oob' is unknown*qmp_capabilities*" },
        { "{'execute': 'qury-name'}", "*CommandNotFound*no command 'qury-name' (did you mean 'query-name'?)*"
                                      "\"hint\": \"did you mean 'query-name'?\"*" },
        { "{'execute': 'getfd', 'arguments': {}}",
          "*'fdname' is missing*missing-member*\"member\": \"fdname\"*" },
        { "{'execute': 'getfd', 'arguments': {'fdname': 1}}", "*wrong-type*" },
        { "{'execute': 'getfd', 'arguments': {'fdname': 'a', 'x': 1}}", "*unknown-member*" },
        { "{'execute': 'getfd', 'arguments': {'fdname': 'a'}}", "*no descriptor came along*SCM_RIGHTS*" },
        { "{'execute': 'closefd', 'arguments': {'fdname': 'a'}}", "*no descriptor with the name 'a'*" },
        { "{'execute': 'test-code'}",
          "{\"error\": {\"class\": \"GenericError\", \"desc\": \"it broke (mend it)\", \"data\": "
          "{\"code\": \"broken\", \"member\": \"some.where\", \"hint\": \"mend it\"}}}\r\n" },
    };
    begin(f);
    for (size_t i = 0; i < G_N_ELEMENTS(wrong); i++) {
        expect_match(f, wrong[i].text, wrong[i].pattern);
        still_works(f);
    }
    expect(f, "{'execute': 'test-null'}", "{\"return\": null}\r\n");
}

/* ---- the stream ---- */

static void test_split(Fixture *f, gconstpointer data)
{
    static const char text[] = " {\"execute\": \"query-name\", \"id\": \"}{][\\\"\\\\\"}";
    begin(f);
    for (size_t cut = 0; cut < sizeof(text); cut++) {
        feed(f, text, cut);
        g_autofree char *none = answers_take(f->tm, f->c);
        g_assert_cmpstr(cut == sizeof(text) - 1 ? "" : none, ==, "");
        if (cut < sizeof(text) - 1) {
            expect(f, text + cut, "{\"return\": {}, \"id\": \"}{][\\\"\\\\\"}\r\n");
        }
    }
    for (size_t i = 0; i < sizeof(text) - 1; i++) {
        feed(f, text + i, 1);
    }
    expect(f, "{'execute':'query-name','id':1}{'execute':'query-name','id':2}\n\n[]"
              "{'execute':'query-name','id':3}",
           "{\"return\": {}, \"id\": \"}{][\\\"\\\\\"}\r\n"
           "{\"return\": {}, \"id\": 1}\r\n{\"return\": {}, \"id\": 2}\r\n{\"error\": {\"class\": "
           "\"GenericError\", "
           "\"desc\": \"a command is an object, not array (for example {\\\"execute\\\": "
           "\\\"query-status\\\"})\", "
           "\"data\": {\"code\": \"wrong-type\", \"hint\": \"for example {\\\"execute\\\": "
           "\\\"query-status\\\"}\"}}}\r\n"
           "{\"return\": {}, \"id\": 3}\r\n");
}

static unsigned count(const char *text, const char *what)
{
    unsigned n = 0;
    for (; (text = strstr(text, what)); text++) {
        n++;
    }
    return n;
}

/* After nonsense the next command works, and there are few errors. */
static void test_resync(Fixture *f, gconstpointer data)
{
#define S(text) text, sizeof(text) - 1
    static const struct { const char *text; unsigned len, errors; } bad[] = {
        { S("}"), 1 },
        { S("]\n"), 1 },
        { S("{]\n"), 1 },
        { S("[}\n"), 1 },
        { S("{'a': }"), 1 },
        { S("{'execute': 'stop',}"), 1 },
        { S("{'a': 1, 'a': 2}"), 1 },
        { S("garbage\n"), 1 },
        { S("garbage"), 1 },           /* ends where the next command begins */
        { S("{\"unfinished\n"), 1 },
        { S("{\"bad \x01 byte\"}\n"), 1 },
        { S("\x01\n"), 1 },
        { S("\0\n"), 1 },
        { S("{'a': [1, {\xff"), 1 },  /* 0xff drops what was begun */
        { S("\xff\xff"), 0 },
        { S("'\xc3\x28'"), 1 },        /* not UTF-8 */
        { S("'\xed\xa0\x80'"), 1 },    /* half of a pair */
        { S("{'execute': 'stop', 'id': 1e999}"), 1 },
        { S("'\\u0000'"), 1 },
        { S("// comment\n"), 2 },
    };
    begin(f);
    for (size_t i = 0; i < G_N_ELEMENTS(bad); i++) {
        feed(f, bad[i].text, bad[i].len);
        g_autofree char *got = say(f, "{'execute': 'query-name', 'id': 'next'}");
        if (count(got, "\"error\"") != bad[i].errors || count(got,
                                                              "{\"return\": {}, \"id\": \"next\"}") != 1) {
            g_error("nonsense %zu gave '%s'", i, got);
        }
        g_assert_cmpuint(count(got, "invalid-json"), ==, bad[i].errors);
    }
}

/* Feeds what a generator makes, in pieces, so that no buffer of the test limits it. */
static void feed_many(Fixture *f, const char *piece, size_t times)
{
    for (size_t i = 0; i < times; i++) {
        feed(f, piece, strlen(piece));
    }
}

static void test_limits(Fixture *f, gconstpointer data)
{
    g_autofree char *block = g_strnfill(1000, 'a'), *deep = g_strnfill(1000, '['), *up = g_strnfill(1000,
                                                                                                    ']');
    g_autofree char *commas = g_malloc0(1001);
    for (int i = 0; i < 1000; i += 2) {
        memcpy(commas + i, "1,", 2);
    }
    begin(f);
    feed(f, "{'execute': '", 13);
    feed_many(f, block, QMP_TEXT_MAX / 1000 + 1);
    expect_match(f, block, "*more than 16777216 bytes*");
    g_assert_cmpuint(f->s->framer.text->allocated_len, <, 64 << 10); /* given back at once */
    expect(f, "'}", "");
    still_works(f);
    expect_match(f, deep, "*more than 64 levels of nesting*");
    feed_many(f, deep, 20);
    expect(f, block, "");
    feed_many(f, up, 20);
    expect(f, up, "");
    still_works(f);
    feed(f, "[", 1);
    feed_many(f, commas, QMP_TOKENS_MAX / 500 + 1);
    expect_match(f, "1", "*more than 262144 tokens*");
    expect(f, "]", "");
    still_works(f);
    feed_many(f, deep, 1); /* and 0xff gets out of it */
    expect_match(f, "\xff", "*levels of nesting*");
    still_works(f);
}

/* ---- out of band ---- */

static void test_oob(Fixture *f, gconstpointer data)
{
    begin_oob(f);
    expect_match(f, "{'exec-oob': 'query-name', 'id': 1}",
                 "*cannot run out of band (use 'execute'*\"id\": 1}*");
    expect_match(f, "{'exec-oob': 'query-name', 'execute': 'stop'}", "*exclude each other*");
    expect(f, "{'execute': 'test-oob', 'id': 2}", "{\"return\": {}, \"id\": 2}\r\n");
    /* It overtakes a command that runs, and those that wait. */
    oob_came = false;
    expect(f, "{'execute': 'test-slow', 'id': 3} {'execute': 'query-name', 'id': 4} {'exec-oob': 'test-oob', "
              "'id': 5}",
           "{\"return\": {}, \"id\": 5}\r\n{\"return\": {}, \"id\": 3}\r\n{\"return\": {}, \"id\": 4}\r\n");
    g_assert_false(slow_failed);
    /* In band nothing does. */
    oob_came = false;
    expect(f, "{'execute': 'test-slow', 'id': 6} {'execute': 'test-oob', 'id': 7}",
           "{\"return\": {}, \"id\": 6}\r\n{\"return\": {}, \"id\": 7}\r\n");
    g_assert_true(slow_failed);
}

/* Who asks and goes away gets no answer, nor does the next client. */
static void test_gone_while_running(Fixture *f, gconstpointer data)
{
    begin(f);
    test_chardev = f->c;
    g_autofree char *got = say(f, "{'execute': 'test-vanish', 'id': 'old'}");
    g_assert_null(strstr(got, "old"));
    g_assert_cmpuint(count(got, "\"QMP\""), ==, 1);
}

static void test_queue(Fixture *f, gconstpointer data)
{
    GString *many = g_string_new(NULL);
    for (unsigned i = 0; i < 100; i++) {
        g_string_append_printf(many, "{'execute':'query-name','id':%u}", i);
    }
    begin_oob(f);
    g_autofree char *got = say(f, many->str);
    const char *at = got;
    for (unsigned i = 0; i < 100; i++) {
        g_autofree char *line = g_strdup_printf("{\"return\": {}, \"id\": %u}\r\n", i);
        g_assert_true(g_str_has_prefix(at, line));
        at += strlen(line);
    }
    g_assert_cmpstr(at, ==, "");
    g_string_free(many, TRUE);
}

/* ---- events, several sessions ---- */

static void test_events(Fixture *f, gconstpointer data)
{
    Chardev *c2 = chardev_new_buffer(f->m, "mon2");
    QmpSession *s2 = qmp_session_new(f->m, c2, true, &error_abort_slot);
    g_free(answers_take(f->tm, c2));
    begin(f);
    expect_match(f, "{'execute': 'stop'}",
                 "{\"timestamp\": {\"seconds\": ?*, \"microseconds\": *}, \"event\": \"STOP\"}"
                                           "\r\n{\"return\": {}}\r\n");
    g_autofree char *none = answers_take(f->tm, c2); /* it has not begun */
    g_assert_cmpstr(none, ==, "");
    chardev_buffer_feed(c2, (const uint8_t *)"{'execute':'qmp_capabilities'}", 30);
    g_autofree char *pretty = answers_take(f->tm, c2);
    g_assert_cmpstr(pretty, ==, "{\n    \"return\": {}\n}\r\n");
    expect_match(f, "{'execute': 'cont'}", "*\"event\": \"RESUME\"}\r\n{\"return\": {}}\r\n");
    expect_match(f, "{'execute': 'system_reset'}",
                 "{\"return\": {}}\r\n*\"event\": \"RESET\", \"data\": {\"guest\": false, \"reason\": "
                 "\"host-qmp-system-reset\"}}\r\n");
    expect_match(f, "{'execute': 'system_powerdown'}", "{\"return\": {}}\r\n*\"event\": \"POWERDOWN\"}\r\n");
    g_autofree char *both = answers_take(f->tm, c2);
    g_assert_cmpuint(count(both, "\"RESUME\""), ==, 1);
    g_assert_cmpuint(count(both, "\"RESET\""), ==, 1);
    expect_match(f, "{'execute': 'quit'}", "{\"return\": {}}\r\n*\"SHUTDOWN\"*\"host-qmp-quit\"*\"STOP\"*");
    chardev_set_open(c2, false);
    tm_turns(f->tm);
    qmp_session_free(s2);
}

static ManualClock rate_clock; /* timers of a session end with it */

static void raise_event(Fixture *f, const char *name, const char *args)
{
    machine_event(f->m, name, args ? json_parse(args, -1, &error_abort_slot) : NULL);
}

static void rate_step(Fixture *f, int64_t ns)
{
    clock_manual_set(&rate_clock, ns);
    loop_clock_changed(f->m->loop, &rate_clock.clock);
    tm_turns(f->tm);
}

/* Events that guests cause at will: the first at once, then the last of each second. */
static void test_rate(Fixture *f, gconstpointer data)
{
    clock_manual_init(&rate_clock, 0);
    f->s->rate.clock = &rate_clock.clock;
    begin(f);
    raise_event(f, "BALLOON_CHANGE", "{'actual': 1}");
    expect_match(f, "", "*BALLOON_CHANGE*\"actual\": 1}}\r\n");
    for (unsigned i = 2; i < 100; i++) {
        g_autofree char *args = g_strdup_printf("{'actual': %u}", i);
        raise_event(f, "BALLOON_CHANGE", args);
        raise_event(f, "POWERDOWN", NULL);
    }
    g_autofree char *others = answers_take(f->tm, f->c);
    g_assert_cmpuint(count(others, "POWERDOWN"), ==, 98);
    g_assert_cmpuint(count(others, "BALLOON_CHANGE"), ==, 0);
    rate_step(f, 999999999);
    expect(f, "", "");
    rate_step(f, 1000000000);
    expect_match(f, "", "{*\"BALLOON_CHANGE\", \"data\": {\"actual\": 99}}\r\n");
    raise_event(f, "BALLOON_CHANGE", "{'actual': 100}");
    expect(f, "", "");
    rate_step(f, 2000000000);
    expect_match(f, "", "*\"actual\": 100}}\r\n");
    rate_step(f, 3000000000);
    raise_event(f, "BALLOON_CHANGE", "{'actual': 101}"); /* a second went by without any */
    expect_match(f, "", "*\"actual\": 101}}\r\n");
    raise_event(f, "BALLOON_CHANGE", "{'actual': 102}");
    reconnect(f);
    begin(f);
    rate_step(f, 9000000000);
    expect(f, "", ""); /* it was for the client that is gone */
}

static void test_slow_reader(Fixture *f, gconstpointer data)
{
    begin(f);
    for (unsigned i = 0; i < 40000; i++) { /* 4 MB of events */
        machine_event(f->m, "POWERDOWN", NULL);
    }
    g_assert_cmpuint(f->s->out->len, <, QMP_OUT_EVENTS + 1000);
    g_assert_cmpuint(f->s->events_lost, >, 10000);
    g_autofree char *all = answers_take(f->tm, f->c);
    g_assert_cmpuint(count(all, "POWERDOWN"), >, 1000);
    g_assert_true(g_str_has_suffix(all, "\"POWERDOWN\"}\r\n")); /* whole ones only */
    still_works(f);
}

static void test_slow_reader_commands(Fixture *f, gconstpointer data)
{
    begin(f);
    size_t fed = 0;
    for (unsigned i = 0; i < 2000; i++) { /* replies of about 30 KB each, none of which is read */
        static const char ask[] = "{'execute': 'query-qmp-schema'}";
        if (chardev_input_room(f->c) < sizeof(ask)) {
            break;
        }
        chardev_buffer_feed(f->c, (const uint8_t *)ask, sizeof(ask) - 1);
        tm_turns(f->tm);
        fed++;
    }
    g_assert_cmpuint(fed, <, 500); /* then no more was taken */
    g_assert_cmpuint(f->s->out->len, <, 1 << 20);
    g_autofree char *all = answers_take(f->tm, f->c);
    g_assert_cmpuint(count(all, "{\"return\": ["), ==, fed);
    still_works(f);
}

/* ---- clients that go ---- */

static void test_disconnects(Fixture *f, gconstpointer data)
{
    static const char *const texts[] = {
        "{'execute': 'qmp_capabilities', 'arguments': {'enable': ['oob']}}{'exec-oob': 'test-oob'}",
        "{'execute': 'qmp_capabilities'} garbage {'execute': 'stop'}", "{\"a\\u00", "[[[[[", "\xff{'\xc3",
    };
    for (size_t t = 0; t < G_N_ELEMENTS(texts); t++) {
        for (size_t cut = 0; cut <= strlen(texts[t]); cut++) {
            feed(f, texts[t], cut);
            reconnect(f);
            g_autofree char *greeting = answers_take(f->tm, f->c);
            g_assert_cmpuint(count(greeting, "\r\n"), ==, 1);
            g_assert_true(g_str_has_prefix(greeting, "{\"QMP\": "));
            expect_match(f, "{'execute': 'stop'}", "*CommandNotFound*"); /* each client begins anew */
        }
    }
    begin(f);
    still_works(f);
}

static void test_mux(Fixture *f, gconstpointer data)
{
    Error *err = NULL;
    Chardev *c = chardev_new_option(f->m, "null,id=shared,mux=on", &error_abort_slot);
    g_assert_null(qmp_session_new(f->m, c, false, &err));
    g_assert_cmpstr(error_text(err), ==, "chardev 'shared' is shared (mux=on), which QMP cannot be");
    error_free(err);
    err = NULL;
    g_assert_null(qmp_session_new(f->m, f->c, false, &err));
    g_assert_cmpstr(error_text(err), ==, "chardev 'mon' is already in use by a QMP monitor");
    error_free(err);
}

/* ---- the schema ---- */

static void check_name(GHashTable *types, const Json *entry, const char *key)
{
    const char *name = json_get_string(json_member(entry, key, NULL));
    if (name && !g_hash_table_contains(types, name)) {
        g_error("type '%s' is not in the schema", name);
    }
}

static void check_members(GHashTable *types, const Json *entry, const char *key)
{
    const Json *list = json_member(entry, key, NULL);
    for (size_t i = 0; list && i < json_length(list); i++) {
        check_name(types, json_at(list, i), "type");
    }
}

static void test_schema(Fixture *f, gconstpointer data)
{
    g_autoptr(Json) all = qmp_schema_json(), again = qmp_schema_json();
    g_assert_true(json_equal(all, again));
    g_autoptr(GHashTable) types = g_hash_table_new(g_str_hash, g_str_equal);
    for (size_t i = 0; i < json_length(all); i++) {
        const char *name = json_get_string(json_member(json_at(all, i), "name", NULL));
        g_assert_true(g_hash_table_add(types, (gpointer)name)); /* each once */
    }
    for (size_t i = 0; i < json_length(all); i++) {
        const Json *e = json_at(all, i);
        check_name(types, e, "arg-type");
        check_name(types, e, "ret-type");
        check_name(types, e, "element-type");
        check_members(types, e, "members");
        check_members(types, e, "variants");
        const char *name = json_get_string(json_member(e, "name", NULL));
        bool is_command = g_str_equal(json_get_string(json_member(e, "meta-type", NULL)), "command");
        const QmpCommand *c = is_command ? qmp_find(name) : NULL;
        g_assert_true(!is_command == !c);
        g_assert_true((c && c->flags & QMP_ALLOW_OOB) == (json_member(e, "allow-oob", NULL) != NULL));
    }
    g_assert_true(g_hash_table_contains(types, "SHUTDOWN"));
    g_assert_true(g_hash_table_contains(types, "[int]"));
}

/* ---- commands about the machine and its objects ---- */

/* args: "'name': value, ..." */
static void expect_command(Fixture *f, const char *name, const char *args, const char *pattern)
{
    g_autofree char *text = g_strdup_printf("{'execute': '%s', 'arguments': {%s}}", name, args);
    expect_match(f, text, pattern);
}

static void test_core(Fixture *f, gconstpointer data)
{
    begin(f);
    g_autofree char *text = say(f, "{'execute': 'query-commands'}");
    for (const QmpCommand *const *t = qmp_tables()->commands; *t; t++) {
        for (const QmpCommand *c = *t; c->name; c++) {
            g_autofree char *entry = g_strdup_printf("{\"name\": \"%s\"}", c->name);
            g_assert_nonnull(strstr(text, entry));
        }
    }
    expect(f, "{'execute': 'query-iothreads'}", "{\"return\": []}\r\n");
    expect(f, "{'execute': 'query-cpus-fast'}", "{\"return\": []}\r\n");
    expect_match(f, "{'execute': 'query-memory-size-summary'}", "*\"base-memory\": 1048576*");
    expect_command(f, "set-action", "'reboot': 'shutdown', 'shutdown': 'pause', 'panic': 'exit-failure'",
                   "{\"return\": {}}\r\n");
    g_assert_true(f->m->action.reboot_is_shutdown && f->m->action.no_shutdown);
    g_assert_true(f->m->action.panic_exit_failure);
    g_assert_false(f->m->action.panic_pause || f->m->action.panic_none);
    expect_command(f, "set-action", "'reboot': 'reset', 'watchdog': 'nine'", "*\"error\"*'none'*");
    g_assert_true(f->m->action.reboot_is_shutdown); /* nothing of a refused command */
    expect_command(f, "set-action", "'watchdog': 'none'", "{\"return\": {}}\r\n");
    g_assert_cmpuint(f->m->action.watchdog, ==, WATCHDOG_ACTION_NONE);
    expect_command(f, "watchdog-set-action", "'action': 'inject-nmi'", "{\"return\": {}}\r\n");
    g_assert_cmpuint(f->m->action.watchdog, ==, WATCHDOG_ACTION_INJECT_NMI);
    expect_command(f, "human-monitor-command", "'command-line': 'info name', 'cpu-index': 1",
                   "*'cpu-index' is 1: there is no such CPU*");
    expect_command(f, "closefd", "'fdname': 'nothing'", "*\"error\"*nothing*");
    expect_command(f, "add-fd", "", "*no descriptor came along*");
    expect_command(f, "remove-fd", "'fdset-id': 0, 'fd': -1", "*'fd' is -1*");
    expect_match(f, "{'execute': 'stop'}", "*\"event\": \"STOP\"*");
    expect_match(f, "{'execute': 'query-status'}", "*\"paused\"*");
    expect(f, "{'execute': 'stop'}", "{\"return\": {}}\r\n"); /* no second event */
    f->m->state = RUN_INTERNAL_ERROR;
    expect_match(f, "{'execute': 'cont'}", "*must be reset first*");
}

/* A piece of memory that ends where memory does, and sizes that are none. */
static void test_memory(Fixture *f, gconstpointer data)
{
    enum { SIZE = 5000, AT = (1 << 20) - SIZE };
    g_autofree char *dir = g_dir_make_tmp("rhea-qmp-XXXXXX", NULL);
    g_autofree char *path = g_build_filename(dir, "memory", NULL), *got = NULL;
    g_autofree char *good = g_strdup_printf("'val': %d, 'size': %d, 'filename': '%s'", AT, SIZE, path);
    g_autofree char *bad = g_strdup_printf("'val': 0, 'size': -1, 'filename': '%s'", path);
    uint8_t bytes[SIZE];
    for (unsigned i = 0; i < SIZE; i++) {
        bytes[i] = (uint8_t)(i * 7);
    }
    tm_copy_in(f->tm, AT, bytes, SIZE);
    begin(f);
    expect_command(f, "pmemsave", good, "{\"return\": {}}\r\n");
    gsize len;
    g_assert_true(g_file_get_contents(path, &got, &len, NULL));
    g_assert_cmpmem(got, len, bytes, SIZE);
    expect_command(f, "pmemsave", bad, "*'size' must not be negative*");
    g_unlink(path);
    g_rmdir(dir);
}

static void test_qom(Fixture *f, gconstpointer data)
{
    static const struct {
        const char *command, *args, *answer;
    } rows[] = {
        { "qom-get", "'path': '/machine', 'property': 'type'", "*\"return\": \"none-machine\"*" },
        { "qom-get", "'path': '/machine', 'property': 'colour'", "*\"error\"*colour*" },
        { "qom-get", "'path': '/nowhere', 'property': 'type'", "*\"error\"*/nowhere*" },
        { "qom-set", "'path': '/machine', 'property': 'type', 'value': 'pc'", "*'type' of '/machine' can*" },
        { "qom-set", "'path': '/machine', 'property': 'colour', 'value': 1", "*\"error\"*colour*" },
        { "qom-list", "'path': '/machine'", "*\"name\": \"peripheral\"*" },
        { "qom-list", "'path': '/nowhere'", "*\"error\"*/nowhere*" },
        { "qom-list-types", "'implements': 'nothing'", "*\"return\": []*" },
        { "qom-list-types", "'implements': 'device'", "*\"name\": \"isa-serial\"*" },
        { "device-list-properties", "'typename': 'isa-serial'", "*\"name\": \"chardev\"*" },
        { "device_add", "'driver': 'nothing'", "*\"error\"*'nothing'*" },
        { "device_del", "'id': 'nothing'", "*\"error\"*'nothing'*" },
        { "balloon", "'value': 1048576", "*\"class\": \"DeviceNotActive\"*" },
        { "balloon", "'value': 0", "*\"code\": \"out-of-range\", \"member\": \"value\"*" },
        { "balloon", "'value': -5", "*\"GenericError\"*'value' is -5*" },
        { "query-balloon", "", "*\"class\": \"DeviceNotActive\"*" },
        { "qom-list-properties", "'typename': 'virtio-balloon-pci'", "*\"guest-stats-polling-interval\"*" },
        { "object-add", "'qom-type': 'memory-backend-ram', 'id': 'm0', 'size': 4096", "{\"return\": {}}*" },
        { "object-add", "'qom-type': 'memory-backend-ram', 'id': 'm0', 'size': 4096", "*\"error\"*m0*" },
        { "object-del", "'id': 'm0'", "{\"return\": {}}*" },
        { "object-del", "'id': 'm0'", "*\"error\"*m0*" },
        { "object-add",
          "'qom-type': 'throttle-group', 'id': 't0', 'limits': {'iops-total': 9}, 'x-bps-read': 5",
          "{\"return\": {}}*" },
        { "object-add", "'qom-type': 'memory-backend-ram', 'id': 't0', 'size': 4096", "*\"error\"*t0*" },
        { "object-add", "'qom-type': 'throttle-group', 'id': 't1', 'x-bps-read': -5",
          "*\"error\"*x-bps-read*" },
        { "object-del", "'id': 't0'", "{\"return\": {}}*" },
        { "object-del", "'id': 't0'", "*\"error\"*t0*" },
        { "qom-list-types", "'implements': 'throttle-group'", "*\"name\": \"throttle-group\"*" },
        { "qom-list-properties", "'typename': 'throttle-group'", "*\"name\": \"x-iops-size\"*" },
    };
    begin(f);
    for (unsigned i = 0; i < G_N_ELEMENTS(rows); i++) {
        expect_command(f, rows[i].command, rows[i].args, rows[i].answer);
    }
}

/* ---- anything at all ---- */

static const char *const seeds[] = {
    "{\"execute\": \"query-name\", \"id\": 1}",
    "{'execute': 'qmp_capabilities', 'arguments': {'enable': ['oob']}}",
    "{'exec-oob': 'test-oob', 'id': [null, -0.5e3, \"\\ud83d\\ude00\"]}",
    "{'execute': 'human-monitor-command', 'arguments': {'command-line': 'info status', 'cpu-index': 0}}",
    "{'execute': 'qom-list', 'arguments': {'path': '/machine/unattached/device[0]'}}",
    "{'execute': 'qom-get', 'arguments': {'path': '/machine', 'property': 'type'}}",
    ("{'execute': 'device_add', 'arguments': {'driver': 'isa-serial', 'id': 'x', 'index': "
     "99999999999999999999}}"),
    "{'execute': 'qom-list-types', 'arguments': {'implements': 'device', 'abstract': true}}",
    "{'execute': 'chardev-remove', 'arguments': {'id': 'mon'}}",
    "{'execute': 'set-action', 'arguments': {'reboot': 'reset', 'panic': 'none'}}",
    "{'execute': 'getfd', 'arguments': {'fdname': 'x'}} {'execute': 'stop'} {'execute': 'cont'}",
    "[1, 2, {\"a\": {\"b\": [[[[[{}]]]]]}}]\n",
};

static void mutate(GRand *r, GByteArray *b)
{
    static const char tokens[] = "{}[]:,\"'\\ \n\x01\xff\xc3\x80""0123456789eE+-.tfnu";
    for (unsigned n = g_rand_int_range(r, 1, 8); n && b->len; n--) {
        guint at = g_rand_int_range(r, 0, b->len);
        uint8_t byte = g_rand_boolean(r) ? tokens[g_rand_int_range(r, 0, sizeof(tokens) - 1)]
                                         : g_rand_int_range(r, 0, 256);
        guint len = g_rand_int_range(r, 1, MIN(b->len - at, 16) + 1);
        switch (g_rand_int_range(r, 0, 4)) {
        case 0: b->data[at] = byte; break;
        case 1: g_byte_array_remove_range(b, at, len); break;
        case 2: {
            uint8_t again[16];
            memcpy(again, b->data + at, len); /* appending may move it */
            g_byte_array_append(b, again, len);
            break;
        }
        default:
            g_byte_array_append(b, &byte, 1);
            memmove(b->data + at + 1, b->data + at, b->len - 1 - at);
            b->data[at] = byte;
        }
    }
}

/* Mutated messages: no crash, bounded memory, and the next valid command works. RHEA_TEST_LONG: 100,000 of
 * them. */
static void test_random(Fixture *f, gconstpointer data)
{
    unsigned rounds = g_getenv("RHEA_TEST_LONG") ? 100000 : 2000;
    g_autoptr(GRand) r = g_rand_new_with_seed(g_test_rand_int());
    begin_oob(f);
    for (unsigned i = 0; i < rounds; i++) {
        const char *seed = seeds[g_rand_int_range(r, 0, G_N_ELEMENTS(seeds))];
        g_autoptr(GByteArray) b = g_byte_array_new();
        g_byte_array_append(b, (const uint8_t *)seed, strlen(seed));
        mutate(r, b);
        feed(f, (const char *)b->data, b->len);
        if (g_rand_int_range(r, 0, 20) == 0) {
            reconnect(f);
            begin_oob(f);
        }
        feed(f, "\xff", 1);
        g_free(answers_take(f->tm, f->c));
        g_assert_cmpuint(f->s->waiting.length, ==, 0);
        g_assert_cmpuint(f->s->out->len, ==, 0);
        g_assert_cmpuint(f->s->framer.text->allocated_len, <=, 64 << 10);
        still_works(f);
    }
}

#define ADD(name, fn) g_test_add("/qmp/" name, Fixture, NULL, fixture_up, fn, fixture_down)

int main(int argc, char **argv)
{
    static const QmpCommand *const commands[] = { qmp_commands, test_commands, NULL };
    static const QmpEvent *const events[] = { qmp_events, NULL };
    static const QmpTables tables = { .commands = commands, .events = events };
    g_test_init(&argc, &argv, NULL);
    chardev_register();
    qmp_set_tables(&tables);
    ADD("greeting", test_greeting);
    ADD("ids", test_ids);
    ADD("errors", test_errors);
    ADD("split", test_split);
    ADD("resync", test_resync);
    ADD("limits", test_limits);
    ADD("oob", test_oob);
    ADD("gone-while-running", test_gone_while_running);
    ADD("queue", test_queue);
    ADD("events", test_events);
    ADD("rate", test_rate);
    ADD("slow-reader", test_slow_reader);
    ADD("slow-reader-commands", test_slow_reader_commands);
    ADD("disconnects", test_disconnects);
    ADD("mux", test_mux);
    ADD("schema", test_schema);
    ADD("core", test_core);
    ADD("memory", test_memory);
    ADD("qom", test_qom);
    ADD("random", test_random);
    return g_test_run();
}
