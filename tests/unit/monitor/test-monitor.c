/* SPDX-License-Identifier: MIT
 * tests/unit/monitor/test-monitor.c - the monitor: commands, expressions, dumps, line editing over a chardev.
 */
#include "rhea/monitor/monitor.h"
#include "monitor/monitor_internal.h"
#include "tests/lib/answers.h"
#include <string.h>

const AccelOps *const accel_table[] = { &accel_test_ops, NULL };
const BoardType *const board_table[] = { &board_none, NULL };

typedef struct Fixture {
    TestMachine *tm;
    Machine *m;
    Chardev *c;
    Monitor *mon;
} Fixture;

static void fixture_up(Fixture *f, gconstpointer data)
{
    f->tm = tm_new(1 << 20);
    f->m = f->tm->m;
    f->c = chardev_new_buffer(f->m, "mon");
    f->mon = monitor_new(f->m, f->c, &error_abort_slot);
    tm_turns(f->tm);
}

static void fixture_down(Fixture *f, gconstpointer data)
{
    chardev_remove_all(f->m);
    monitor_free(f->mon);
    tm_free(f->tm);
}

static char *run(Fixture *f, const char *line)
{
    GString *out = g_string_new(NULL);
    monitor_run_line(f->mon, f->m, line, out);
    return g_string_free(out, FALSE);
}

static void expect(Fixture *f, const char *line, const char *expected)
{
    answers_expect(line, run(f, line), expected);
}

static void expect_match(Fixture *f, const char *line, const char *pattern)
{
    answers_expect_match(line, run(f, line), pattern);
}

static void type_in(Fixture *f, const char *text)
{
    chardev_buffer_feed(f->c, (const uint8_t *)text, strlen(text));
    tm_turns(f->tm);
}

static void expect_screen(Fixture *f, const char *expected)
{
    g_autofree char *got = answers_take(f->tm, f->c);
    g_assert_cmpstr(got, ==, expected);
}

static void test_expressions(Fixture *f, gconstpointer data)
{
    static const struct { const char *line, *out; } good[] = {
        { "print 10", "0xa\n" },        { "p/d -5", "-5\n" },           { "p/d 7+5*2", "17\n" },
        { "p/d 1+6&3", "3\n" },         { "p/d (1+6)&3", "3\n" },       { "p/d 2*3|1", "7\n" },
        { "p/d 2 * 3 - 1", "5\n" },     { "p/u -1", "18446744073709551615\n" }, { "p/o 8", "010\n" },
        { "p/c 65", "'A'\n" },          { "p/c 10", "'\\n'\n" },        { "p/c 0", "'\\x00'\n" },
        { "p 'a'", "0x61\n" },          { "p ~0xff", "0xffffffffffffff00\n" }, { "p/d 17%5/1", "2\n" },
        { "p 0", "0\n" },               { "p 1^3", "0x2\n" },           { "p/d 010", "8\n" },
    };
    static const struct { const char *line, *pattern;
    } bad[] = {
        { "print", "print: an expression is expected\n" },
        { "p (1", "Error: ')' expected\nclose what was opened\n" },
        { "p 1/0", "Error: division by zero\n*" },
        { "p 1%0", "Error: division by zero\n*" },
        { "p 1 2", "Error: '2' is left over*" },
        { "p $eax", "Error: $eax: this machine has no CPU*" },
        { "p 99999999999999999999", "Error: number*64 bits\n*" },
        { "p/z 1", "invalid char in format: 'z'\n" },
        { "p 1+", "Error: expression ends*" },
        { "p @", "Error: unexpected '@'*" },
        { "p 'ab'", "Error: a character is written like 'a'\n*" },
    };
    for (size_t i = 0; i < G_N_ELEMENTS(good); i++) {
        expect(f, good[i].line, good[i].out);
    }
    for (size_t i = 0; i < G_N_ELEMENTS(bad); i++) {
        expect_match(f, bad[i].line, bad[i].pattern);
    }
    char deep[400];
    memset(deep, '(', sizeof(deep));
    memcpy(deep, "p ", 2);
    deep[sizeof(deep) - 1] = 0;
    expect(f, deep, "Error: expression is nested too deeply\nuse fewer brackets\n");
}

static void test_dumps(Fixture *f, gconstpointer data)
{
    for (int i = 0; i < 64; i++) {
        tm_write(f->tm, 0x1000 + i, 1, i + 0xf0);
    }
    expect(f, "xp/3xb 0x1000", "0000000000001000: 0xf0 0xf1 0xf2\n");
    expect(f, "xp 0x1000", "0000000000001000: 0xf0\n"); /* format and size are remembered */
    expect(f, "xp/9xb 0x1000", "0000000000001000: 0xf0 0xf1 0xf2 0xf3 0xf4 0xf5 0xf6 0xf7\n"
                               "0000000000001008: 0xf8\n");
    expect(f, "xp/2xw 0x1000", "0000000000001000: 0xf3f2f1f0 0xf7f6f5f4\n");
    expect(f, "xp/1gx 4096+8", "0000000000001008: 0xfffefdfcfbfaf9f8\n");
    expect(f, "xp/2db 0x100f", "000000000000100f:   -1    0\n");
    expect(f, "xp/2uh 0x100e", "000000000000100e: 65534   256\n");
    expect(f, "xp/3oh 0x1000", "0000000000001000: 0170760 0171762 0172764\n");
    expect(f, "x/2cb 0x1010", "0000000000001010: '\\x00' '\\x01'\n");
    expect(f, "xp/4xb 0xffffe", "00000000000ffffe: Cannot access memory\n");
    expect_match(f, "x/2i 0", "no disassembler*");
    expect(f, "i/b 0x80", "portb[0x0080] = 0xff\n");
    expect(f, "i/w 0x10", "portl[0x0010] = 0xffffffff\n");
    expect_match(f, "i/g 0x10", "a port access has*");
    expect_match(f, "i/h 0xffff", "a port access has*");
    expect(f, "o/b 0x80 1", "");
    expect_match(f, "o 0x80", "o: a port and a value are expected\n");
    expect_match(f, "gva2gpa 1", "this machine has no CPU\n");
}

static void test_info(Fixture *f, gconstpointer data)
{
    expect(f, "info status", "VM status: running\n");
    expect(f, "stop", "");
    expect(f, "info status", "VM status: paused\n");
    expect(f, "c", "");
    g_assert_true(machine_running(f->m));
    expect(f, "info uuid", "00000000-0000-0000-0000-000000000000\n");
    expect(f, "info name", "");
    expect(f, "info chardev", "mon: filename=buffer\n");
    expect_match(f, "info mtree", "*memory*ram*I/O*");
    expect_match(f, "info mtree -f", "*ram*");
    expect_match(f, "info mtree -x", "info mtree takes -f*");
    expect_match(f, "info qtree", "bus: main-system-bus\n*");
    expect_match(f, "info qom-tree", "/machine (container)\n*/peripheral*");
    expect_match(f, "info registers", "this machine has no CPU\n");
    expect(f, "info roms", "");
    expect_match(f, "info version", "?*.?*.?*\n");
    expect_match(f, "info", "info balloon*info version*");
}

static void test_unknown(Fixture *f, gconstpointer data)
{
    expect(f, "", "");
    expect(f, "# a comment", "");
    expect_match(f, "qiut", "unknown command: 'qiut'\n*did you mean 'quit'?\n");
    expect_match(f, "info regsters", "unknown command: 'info regsters'\n*did you mean 'registers'?\n");
    expect(f, "zzzzzzzz", "unknown command: 'zzzzzzzz'\n");
    expect(f, "help quit", "quit|q -- end the emulator\n");
    expect(f, "help info status", "info status -- show whether the machine runs\n");
    expect(f, "help nope", "unknown command: 'nope'\n");
    expect_match(f, "?", "*system_reset*");
    expect_match(f, "log \"a", "a '\"' is not closed\n");
    expect_match(f, "log bogus", "Error: unknown log item 'bogus'\n*");
    expect_match(f, "log help", "*guest_errors*");
    expect(f, "cpu 0", "invalid CPU index\n");
    expect_match(f, "device_add nothing", "Error: 'nothing' is not a device*");
    expect_match(f, "device_del nothing", "Error: there is no device with id 'nothing'\n*");
    expect_match(f, "chardev-remove nothing", "Error: there is no chardev with id 'nothing'\n*");
    expect_match(f, "chardev-remove mon", "Error: chardev 'mon' is in use by a monitor\n*");
}

static void test_chardevs(Fixture *f, gconstpointer data)
{
    CharPort port = { 0 };
    expect(f, "chardev-add ringbuf,id=r", "");
    expect_match(f, "chardev-add ringbuf,id=r", "Error: there is already a chardev with id 'r'\n*");
    chardev_connect(chardev_find(f->m, "r"), &port, &error_abort_slot);
    char_attach(&port, NULL, NULL, f->m->platform);
    char_write(&port, (const uint8_t *)"hi\\\x01\n", 5);
    tm_turns(f->tm);
    expect(f, "ringbuf_read r 100", "hi\\\\\\u0001\n\n");
    expect_match(f, "ringbuf_read mon 100", "Error: 'mon' is not a ringbuf*");
    char_detach(&port);
    expect(f, "chardev-remove r", "");
    expect(f, "info chardev", "mon: filename=buffer\n");
}

static void test_quit(Fixture *f, gconstpointer data)
{
    expect(f, "quit", "");
    tm_turns(f->tm);
    g_assert_cmpint(f->m->state, ==, RUN_FINISHED);
    g_assert_cmpint(machine_exit_status(f->m), ==, 0);
}

static void test_session(Fixture *f, gconstpointer data)
{
    g_autofree char *greeting = answers_take(f->tm, f->c);
    g_assert_true(
        g_pattern_match_simple("Rhea * monitor - type 'help' for more information\r\n(qemu) ", greeting));
    type_in(f, "print 1\n");
    expect_screen(f, "print 1\r\n0x1\r\n(qemu) ");
    type_in(f, "print 2\r\n"); /* both ends of line are one */
    expect_screen(f, "print 2\r\n0x2\r\n(qemu) ");
    type_in(f, "prnit 3\003"); /* Ctrl-C drops the line */
    expect_screen(f, "prnit 3\r\n(qemu) ");
    type_in(f, "info history\n");
    expect_screen(f, "info history\r\n0: 'print 1'\r\n1: 'print 2'\r\n2: 'info history'\r\n(qemu) ");
}

/* What the line is after editing shows in the command it runs. */
static void edits_to(Fixture *f, const char *keys, const char *answer)
{
    g_free(answers_take(f->tm, f->c)); /* what was there before */
    type_in(f, keys);
    type_in(f, "\n");
    g_autofree char *got = answers_take(f->tm, f->c);
    g_autofree char *expected = g_strdup_printf("\r\n%s\r\n(qemu) ", answer);
    if (!g_str_has_suffix(got, expected)) {
        g_error("keys '%s' gave '%s', which does not end with '%s'", g_strescape(keys, NULL), got, expected);
    }
}

static void test_editing(Fixture *f, gconstpointer data)
{
    edits_to(f, "print 12\b3", "0xd");              /* backspace */
    edits_to(f, "rint 5\001p", "0x5");              /* Ctrl-A */
    edits_to(f, "print 6\033[Hx\b\033[F1", "0x3d"); /* Home, End */
    edits_to(f, "print 79\033[D\033[3~", "0x7");    /* Left, Delete */
    edits_to(f, "garbage\025print 8", "0x8");       /* Ctrl-U */
    edits_to(f, "print 9 junk\027", "0x9");         /* Ctrl-W */
    edits_to(f, "print 10 junk\001\006\006\006\006\006\006\006\006\013", "0xa"); /* Ctrl-A, Ctrl-F, Ctrl-K */
    edits_to(f, "\033[A", "0xa");                   /* Up */
    edits_to(f, "\020\020\016", "0xa");             /* Ctrl-P, Ctrl-P, Ctrl-N */
    edits_to(f, "print 1\033[A\033[B1", "0xb");     /* what was being typed comes back */
    edits_to(f, "print 12\033[D\033[D\033[C\0041", "0xb"); /* Ctrl-D */
    edits_to(f, "\033OH\033[99~\033[200;3mprint 13", "0xd"); /* unknown sequences vanish */
}

static void test_completion(Fixture *f, gconstpointer data)
{
    g_free(answers_take(f->tm, f->c)); /* what was there before */
    type_in(f, "pri\t");
    expect_screen(f, "print ");
    type_in(f, "14\n");
    expect_screen(f, "14\r\n0xe\r\n(qemu) ");
    type_in(f, "info ver\t\n");
    g_autofree char *version = answers_take(f->tm, f->c);
    g_assert_true(g_pattern_match_simple("info version \r\n*\r\n(qemu) ", version));
    type_in(f, "sys\t");
    expect_screen(f, "system_");
    type_in(f, "\t");
    g_autofree char *list = answers_take(f->tm, f->c);
    g_assert_nonnull(strstr(list, "system_powerdown"));
    g_assert_nonnull(strstr(list, "system_reset"));
    type_in(f, "\025chardev-remove m\t\n");
    g_autofree char *ids = answers_take(f->tm, f->c);
    g_assert_nonnull(strstr(ids, "chardev 'mon' is in use by a monitor"));
}

/* A line that never ends is cut, not stored. */
static void test_long_line(Fixture *f, gconstpointer data)
{
    char block[1024];
    memset(block, 'a', sizeof(block) - 1);
    block[sizeof(block) - 1] = 0;
    for (int i = 0; i < 64; i++) {
        type_in(f, block);
        g_free(answers_take(f->tm, f->c));
    }
    type_in(f, "\n");
    g_autofree char *got = answers_take(f->tm, f->c);
    g_autofree char *unknown =
        strstr(got, "unknown command: '") ? g_strdup(strstr(got, "unknown command: '")) : NULL;
    g_assert_nonnull(unknown);
    g_assert_cmpuint(strspn(unknown + strlen("unknown command: '"), "a"), ==, READLINE_MAX);
}

#define ADD(name, fn) g_test_add("/monitor/" name, Fixture, NULL, fixture_up, fn, fixture_down)

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    chardev_register();
    ADD("expressions", test_expressions);
    ADD("dumps", test_dumps);
    ADD("info", test_info);
    ADD("unknown", test_unknown);
    ADD("chardevs", test_chardevs);
    ADD("quit", test_quit);
    ADD("session", test_session);
    ADD("editing", test_editing);
    ADD("completion", test_completion);
    ADD("long-line", test_long_line);
    return g_test_run();
}
