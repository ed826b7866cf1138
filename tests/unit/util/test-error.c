/* SPDX-License-Identifier: MIT
 * tests/unit/util/test-error.c - errors: setting, changing, passing on, dying; codes and members.
 * Tests: util/error.c, errorcode.c.
 */
#include "rhea/util/errorcode.h"
#include "rhea/util/json.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static void test_set(void)
{
    Error *err = NULL;
    errno = EBUSY;
    g_assert_false(error_set(&err, "port %d is taken", 5));
    g_assert_cmpint(errno, ==, EBUSY);
    g_assert_cmpstr(error_text(err), ==, "port 5 is taken");
    g_assert_null(error_hint_text(err));
    g_assert_cmpint(error_errno(err), ==, 0);
    g_assert_cmpint(error_class(err), ==, ERROR_GENERIC);
    error_free(err);

    err = NULL;
    g_assert_false(error_set_errno(&err, ENOENT, "cannot open '%s'", "x"));
    g_assert_cmpstr(error_text(err), ==, "cannot open 'x': No such file or directory");
    g_assert_cmpint(error_errno(err), ==, ENOENT);
    error_free(err);

    g_assert_false(error_set(NULL, "nobody listens"));
}

static void test_change(void)
{
    Error *err = NULL;
    error_prefix(&err, "no effect");
    error_hint(&err, "no effect");
    error_prefix(NULL, "no effect");
    g_assert_null(err);
    error_set(&err, "inner");
    error_prefix(&err, "outer %d", 1);
    error_hint(&err, "first");
    error_hint(&err, "second");
    error_set_class(&err, ERROR_DEVICE_NOT_FOUND);
    g_assert_cmpstr(error_text(err), ==, "outer 1: inner");
    g_assert_cmpstr(error_hint_text(err), ==, "first\nsecond");
    Error *copy = error_copy(err);
    error_free(err);
    g_assert_cmpstr(error_text(copy), ==, "outer 1: inner");
    g_assert_cmpstr(error_hint_text(copy), ==, "first\nsecond");
    g_assert_cmpint(error_class(copy), ==, ERROR_DEVICE_NOT_FOUND);
    error_free(copy);
}

static void test_propagate(void)
{
    Error *a = NULL, *b = NULL, *dst = NULL;
    error_set(&a, "a");
    error_set(&b, "b");
    g_assert_false(error_propagate(&dst, NULL));
    g_assert_null(dst);
    g_assert_false(error_propagate(&dst, a));
    g_assert_true(dst == a);
    g_assert_false(error_propagate(&dst, b)); /* the first one wins, b is freed */
    g_assert_true(dst == a);
    g_assert_false(error_propagate(NULL, dst));
}

static void test_report(void)
{
    if (g_test_subprocess()) {
        Error *err = NULL;
        g_set_prgname("prog");
        error_set(&err, "it broke");
        error_hint(&err, "mend it");
        error_report(err);
        exit(3);
    }
    g_test_trap_subprocess(NULL, 0, 0);
    g_test_trap_assert_failed();
    g_test_trap_assert_stderr("prog: it broke\nmend it\n");
}

static void test_abort_slot(void)
{
    if (g_test_subprocess()) {
        error_set(&error_abort_slot, "cannot be");
        exit(0);
    }
    g_test_trap_subprocess(NULL, 0, 0);
    g_test_trap_assert_failed();
    g_test_trap_assert_stderr("*unexpected error at *test-error.c:*: cannot be*");
}

static void test_codes(void)
{
    static const struct {
        int err;
        ErrorClass cls;
        const char *code;
        bool cure;
    } rows[] = {
        { 0, ERROR_GENERIC, "failed", false },         { ENOENT, ERROR_GENERIC, "file-not-found", true },
        { EACCES, ERROR_GENERIC, "permission-denied", true }, { EIO, ERROR_GENERIC, "io-error", true },
        { EADDRINUSE, ERROR_GENERIC, "in-use", true }, { ENOENT, ERROR_DEVICE_NOT_FOUND, "not-found", false },
        { 0, ERROR_COMMAND_NOT_FOUND, "command-not-found", false },
    };
    for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
        g_autoptr(Error) err = NULL;
        error_set_errno(&err, rows[i].err, "no");
        error_set_class(&err, rows[i].cls);
        g_assert_cmpstr(error_code(err), ==, rows[i].code);
        error_add_cure(&err);
        g_assert_true((error_hint_text(err) != NULL) == rows[i].cure);
    }
    g_autoptr(Error) err = NULL;
    g_assert_false(error_fail(&err, "in-use", "id", "take another", "'%s' is taken", "a"));
    g_assert_cmpstr(error_code(err), ==, "in-use");
    g_assert_cmpstr(error_member(err), ==, "id");
    g_assert_cmpstr(error_hint_text(err), ==, "take another");
    error_hint_else(&err, "not this");
    error_member_default(&err, "other");
    g_assert_cmpstr(error_hint_text(err), ==, "take another");
    g_assert_cmpstr(error_member(err), ==, "id");
    g_assert_false(error_fail(NULL, "in-use", "id", "x", "nobody listens"));
    const char *meaning;
    unsigned n = 0;
    for (const char *code, *was = ""; (code = error_code_row(n, &meaning)); was = code, n++) {
        g_assert_cmpint(strcmp(was, code), <, 0);
        g_assert_cmpuint(strlen(meaning), >, 5);
    }
    g_assert_cmpuint(n, >, 40);
}

/* The member is the one whose value the sentence quotes, or the one of that name further down. */
static void test_members(void)
{
    static const struct {
        const char *text, *member, *in, *found;
    } rows[] = {
        { "there is no 'b'", NULL, "{'a': 'x', 'c': {'d': ['y', 'b']}}", "c.d.1" },
        { "there is no 'b'", NULL, "{'a': 'b', 'c': 'b'}", NULL }, /* which of the two? */
        { "'x' has no 'b'", NULL, "{'c': 'b', 'a': 'x'}", "a" },   /* the first that is quoted */
        { "'x': there is no 'b'", NULL, "{'id': 'x', 'file': 'b'}", "file" },
        { "there is no b", NULL, "{'a': 'b'}", NULL },
        { "there is no ''", NULL, "{'a': ''}", NULL },
        { "there is no 'b'", "a", "{'c': 'b'}", "a" },
    };
    for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
        g_autoptr(Error) err = NULL;
        g_autoptr(Json) in = json_parse(rows[i].in, -1, &error_abort_slot);
        error_fail(&err, "not-found", rows[i].member, NULL, "%s", rows[i].text);
        error_find_member(&err, in);
        g_assert_cmpstr(error_member(err), ==, rows[i].found);
    }
    g_autoptr(Json) in = json_parse("{'a': {'b': {'c': 1}}, 'd': 2}", -1, &error_abort_slot);
    g_autoptr(Error) deep = NULL, gone = NULL;
    error_fail(&deep, "invalid-value", "c", NULL, "no");
    error_place_member(&deep, in);
    g_assert_cmpstr(error_member(deep), ==, "a.b.c");
    error_fail(&gone, "invalid-value", "z", NULL, "no");
    error_place_member(&gone, in);
    g_assert_null(error_member(gone));
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/error/set", test_set);
    g_test_add_func("/error/change", test_change);
    g_test_add_func("/error/propagate", test_propagate);
    g_test_add_func("/error/codes", test_codes);
    g_test_add_func("/error/members", test_members);
    g_test_add_func("/error/report", test_report);
    g_test_add_func("/error/abort-slot", test_abort_slot);
    return g_test_run();
}
