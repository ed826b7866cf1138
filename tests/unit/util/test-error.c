/* SPDX-License-Identifier: MIT
 * tests/unit/util/test-error.c - errors: setting, changing, passing on, dying.
 */
#include "rhea/util/error.h"

#include <errno.h>
#include <stdlib.h>

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

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/error/set", test_set);
    g_test_add_func("/error/change", test_change);
    g_test_add_func("/error/propagate", test_propagate);
    g_test_add_func("/error/report", test_report);
    g_test_add_func("/error/abort-slot", test_abort_slot);
    return g_test_run();
}
