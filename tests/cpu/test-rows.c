/* SPDX-License-Identifier: MIT
 * tests/cpu/test-rows.c - no row of insn.def is without a test: those that cpu-diff cannot judge on the host
 * (diff_row_excluded()) must be executed by one of the small guests, whose programs are the arguments.
 * Models: nothing; the guests are run one instruction a unit (RHEA_TEST_ROWS, sysguest.c), which is a second way
 * through the engine for each of their checks.
 * Threads: main.
 */
#include "diff.h"
#include "target/x86/t0.h"

static char **programs;
static uint8_t seen[4096];

/* Rows that raise an exception whatever the operands are: to have been entered is all there is. */
static bool row_always_faults(const X86Row *r)
{
    return !strcmp(r->name, "RDPMC");
}

static void run_guests(const char *program)
{
    g_autofree char *file = NULL, *text = NULL, *out = NULL;
    gsize n = 0;
    int status = 0, fd = g_file_open_tmp("rhea-rows-XXXXXX", &file, NULL);
    g_assert_cmpint(fd, >=, 0);
    close(fd);
    g_auto(GStrv) env = g_environ_setenv(g_get_environ(), "RHEA_TEST_ROWS", file, true);
    const char *argv[] = { program, "--tap", NULL };
    g_assert_true(g_spawn_sync(NULL, (char **)argv, env, G_SPAWN_DEFAULT, NULL, NULL, &out, NULL, &status, NULL));
    if (status) {
        g_test_message("%s, one instruction a unit:\n%s", program, out);
    }
    g_assert_cmpint(status, ==, 0);
    g_assert_true(g_file_get_contents(file, &text, &n, NULL));
    g_assert_cmpuint(n, ==, x86_n_rows);
    for (gsize i = 0; i < n; i++) {
        seen[i] |= (uint8_t)text[i];
    }
    unlink(file);
}

static void test_rows(void)
{
    unsigned by_diff = 0, by_guests = 0, missed = 0;
    diff_gen_init();
    g_assert_cmpuint(x86_n_rows, <=, sizeof(seen));
    for (char **p = programs; *p; p++) {
        run_guests(*p);
    }
    for (unsigned i = 1; i < x86_n_rows; i++) {
        const X86Row *r = &x86_rows[i];
        const char *why = diff_row_excluded(i);
        if (!why) {
            by_diff++; /* its own second check: every row was reached. AVX rows too, where the host has AVX */
        } else if (seen[i] & ROW_RETIRED || (seen[i] && row_always_faults(r))) {
            by_guests++;
        } else {
            missed++;
            g_test_message("row %u %s %s (%s) is executed by no guest, and cpu-diff leaves it out: %s", i, r->name,
                           r->operands, r->enc, why);
        }
    }
    g_test_message("rows: %u by cpu-diff, %u by guests, %u by nobody", by_diff, by_guests, missed);
    g_assert_cmpuint(missed, ==, 0);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    programs = argv + 1;
    if (!*programs) {
        g_printerr("usage: %s guest-program...\n", argv[0]);
        return 2;
    }
    g_test_add_func("/cpu/rows/executed", test_rows);
    return g_test_run();
}
