/* SPDX-License-Identifier: MIT
 * tests/unit/util/test-trace.c - trace events (util/trace.c), as tracegen makes them from trace.def: lines,
 * choice by name, pattern and file; -d trace:PATTERN (util/log.c).
 */
#include "tests/unit/util/trace.h"
#include "rhea/util/log.h"

#include <glib/gstdio.h>
#include <string.h>
#include <unistd.h>

static char *log_name; /* each test begins with an empty log */

static char *take_log(void)
{
    char *text = NULL;
    g_assert_true(log_set_file(NULL, &error_abort_slot));
    g_assert_true(g_file_get_contents(log_name, &text, NULL, NULL));
    g_assert_true(log_set_file(log_name, &error_abort_slot));
    return text;
}

static void all_off(void)
{
    g_assert_true(trace_set("*", false, &error_abort_slot));
    g_free(take_log());
}

static void test_lines(void)
{
    all_off();
    trace_test_none();
    trace_other_one(1);
    g_autofree char *nothing = take_log();
    g_assert_cmpstr(nothing, ==, "");
    g_assert_false(trace_test_none_on());
    g_assert_true(trace_set("test_*", true, &error_abort_slot));
    g_assert_true(trace_test_none_on());
    trace_test_none();
    trace_test_all("x", true, 255, 0xbeef, UINT32_MAX, UINT64_MAX, INT32_MIN, INT64_MIN, UINT64_MAX);
    trace_test_all(NULL, false, 0, 0, 0, 0, 0, 0, 0);
    /* What a guest says makes no lines, and no commands for a terminal. */
    trace_test_text("a\nb\033[2Jc\x7f%s", NULL);
    trace_other_one(1);
    g_autofree char *text = take_log();
    g_assert_cmpstr(text, ==,
                    "test_none nothing\n"
                    "test_all s x b yes u 255 x 0xbeef w 4294967295 q 0xffffffffffffffff i -2147483648 "
                    "l -9223372036854775808 n 18446744073709551615 100%\n"
                    "test_all s - b no u 0 x 0x0 w 0 q 0x0 i 0 l 0 n 0 100%\n"
                    "test_text a?b?[2Jc?%s at (nil)\n");
    log_set_timestamps(true);
    trace_test_none();
    log_set_timestamps(false);
    g_autofree char *stamped = take_log();
    g_autofree char *want = g_strdup_printf("^%d@[0-9]+\\.[0-9]{6}:test_none nothing\n$", (int)getpid());
    g_assert_true(g_regex_match_simple(want, stamped, 0, 0));
}

static void add_name(TraceEvent *e, void *opaque)
{
    g_string_append_printf(opaque, "%s%s ", trace_on(e) ? "+" : "", e->name);
}

static char *state(void)
{
    GString *s = g_string_new(NULL);
    trace_foreach("test_*", add_name, s);
    trace_foreach("other_*", add_name, s);
    return g_string_free(s, FALSE);
}

static void expect_state(const char *want)
{
    g_autofree char *now = state();
    g_assert_cmpstr(now, ==, want);
}

static void expect_error(bool ok, Error **err, const char *text)
{
    g_assert_false(ok);
    g_assert_cmpstr(error_text(*err), ==, text);
    g_assert_nonnull(strstr(error_hint_text(*err), "'-trace help' lists them"));
    g_clear_pointer(err, error_free);
}

static void test_choice(void)
{
    Error *err = NULL;
    all_off();
    expect_state("test_all test_none test_text other_one ");
    g_assert_true(trace_choose("test_?o*", &error_abort_slot));
    expect_state("test_all +test_none test_text other_one ");
    g_assert_true(trace_choose("*", &error_abort_slot));
    g_assert_true(trace_choose("-test_*", &error_abort_slot));
    expect_state("test_all test_none test_text +other_one ");
    g_assert_true(log_set_items("trace:test_all,trace:-other_one,unimp", &error_abort_slot));
    expect_state("+test_all test_none test_text other_one ");
    g_assert_cmpuint(log_mask, ==, LOG_UNIMP);
    g_assert_true(log_set_items("none", &error_abort_slot));
    expect_state("+test_all test_none test_text other_one ");
    expect_error(trace_choose("test_al", &err), &err, "there is no trace event 'test_al'");
    expect_error(trace_choose("-tset*", &err), &err, "no trace event matches 'tset*'");
    expect_error(trace_choose("", &err), &err, "there is no trace event ''");
    expect_error(log_set_items("trace:", &err), &err, "there is no trace event ''");
    expect_state("+test_all test_none test_text other_one ");
    g_assert_false(trace_is_pattern("test_all"));
    g_autoptr(GString) help = g_string_new(NULL);
    trace_help(help);
    g_assert_nonnull(strstr(help->str, "test_text(text: str, p: ptr)\n    A text and its place.\n"));
}

static bool choose_file(const char *text, Error **errp)
{
    g_autofree char *path = g_strdup_printf("%s.events", log_name);
    g_assert_true(g_file_set_contents(path, text, -1, NULL));
    bool ok = trace_choose_file(path, errp);
    g_unlink(path);
    return ok;
}

static void test_file(void)
{
    Error *err = NULL;
    all_off();
    g_assert_true(choose_file("# a comment\n\n  test_*  \r\n-test_all\nother_one", &error_abort_slot));
    expect_state("test_all +test_none +test_text +other_one ");
    g_assert_false(choose_file("test_all\n\nnope\n", &err));
    g_assert_nonnull(strstr(error_text(err), ".events', line 3: there is no trace event 'nope'"));
    g_clear_pointer(&err, error_free);
    g_assert_true(choose_file("", &error_abort_slot));
    g_assert_false(trace_choose_file("/dev/zero", &err));
    g_assert_nonnull(strstr(error_text(err), "is not a file of at most 1 MiB"));
    g_clear_pointer(&err, error_free);
    g_assert_false(trace_choose_file("/nowhere/at/all", &err));
    g_assert_nonnull(strstr(error_text(err), "could not read '/nowhere/at/all'"));
    error_free(err);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_autofree char *dir = g_dir_make_tmp("rhea-XXXXXX", NULL);
    log_name = g_strdup_printf("%s/log", dir);
    g_assert_true(log_set_file(log_name, &error_abort_slot));
    g_test_add_func("/trace/lines", test_lines);
    g_test_add_func("/trace/choice", test_choice);
    g_test_add_func("/trace/file", test_file);
    int status = g_test_run();
    g_assert_true(log_set_file(NULL, &error_abort_slot));
    g_unlink(log_name);
    g_rmdir(dir);
    g_free(log_name);
    return status;
}
