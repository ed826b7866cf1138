/* SPDX-License-Identifier: MIT
 * tests/unit/util/test-library.c - util/library.c: a library that is there, one that is not, one that lacks a
 * function: then nothing of the table changes, and it can be tried again.
 */
#include "rhea/util/library.h"

#include <glib.h>
#include <string.h>

typedef struct Table {
    double (*cosine)(double);
    int before;
    double (*root)(double);
    void (*other)(void);
} Table;

static void test_load(void)
{
    static const LibraryCall calls[] = { { "cos", offsetof(Table, cosine) },
                                         { "sqrt", offsetof(Table, root) },
                                         { "no_function", offsetof(Table, before) },
                                         { "no_other", offsetof(Table, other), .optional = true } };
    Library m = { "libm.so.6", "sums need libm", "sum", "install libc6", calls, 3 },
            no = { "libthere-is-none.so.1", "sums need none", "sum", "leave it out", calls, 2 };
    Table t = { .before = 42 }, was = t;
    for (unsigned again = 0; again < 2; again++) {
        g_autoptr(Error) missing = NULL, none = NULL;
        g_assert_false(library_load(&m, &t, &missing));
        g_assert_nonnull(strstr(error_text(missing), "sums need libm: libm.so.6 has no no_function"));
        g_assert_false(library_load(&no, &t, &none));
        g_assert_true(g_str_has_prefix(error_text(none), "sums need none: libthere-is-none.so.1"));
        g_assert_cmpmem(&t, sizeof(t), &was, sizeof(was));
    }
    m.n = 2;
    g_assert_true(library_load(&m, &t, &error_abort_slot));
    g_assert_cmpfloat(t.cosine(0), ==, 1);
    g_assert_cmpfloat(t.root(4), ==, 2);
    g_assert_cmpint(t.before, ==, 42);
    t.other = test_load;
    m.calls = calls + 3;
    m.n = 1;
    g_assert_true(library_load(&m, &t, &error_abort_slot));
    g_assert_null(t.other);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/library/load", test_load);
    return g_test_run();
}
