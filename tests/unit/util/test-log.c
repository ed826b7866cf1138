/* SPDX-License-Identifier: MIT
 * tests/unit/util/test-log.c - log items, the log file, whole lines from several threads.
 */
#include "rhea/util/log.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void test_items(void)
{
    g_assert_true(log_set_items("int,mmu", &error_abort_slot));
    g_assert_cmpuint(log_mask, ==, LOG_INT | LOG_MMU);
    g_assert_true(log_on(LOG_INT | LOG_EXEC));
    g_assert_false(log_on(LOG_EXEC));
    unsigned all = 0;
    for (const LogItem *i = log_items; i->name; i++) {
        g_assert_true(i->help && !(all & i->mask));
        all |= i->mask;
    }
    g_assert_true(log_set_items("all", &error_abort_slot));
    g_assert_cmpuint(log_mask, ==, all);
    Error *err = NULL;
    g_assert_false(log_set_items("int,guest_eror", &err));
    g_assert_cmpstr(error_text(err), ==, "unknown log item 'guest_eror'");
    g_assert_cmpstr(error_hint_text(err), ==, "did you mean 'guest_errors'?\n'-d help' lists the log items");
    g_assert_cmpuint(log_mask, ==, all); /* unchanged */
    error_free(err);
    g_assert_true(log_set_items("none", &error_abort_slot));
    g_assert_cmpuint(log_mask, ==, 0);
}

static gpointer writer(gpointer opaque)
{
    char line[700];
    memset(line, 'a' + GPOINTER_TO_INT(opaque), sizeof(line) - 1);
    line[sizeof(line) - 1] = 0;
    for (int i = 0; i < 100; i++) {
        log_printf("%s\n", line);
        log_printf("%d\n", i);
    }
    return NULL;
}

static void test_file(void)
{
    g_autofree char *dir = g_dir_make_tmp("rhea-XXXXXX", NULL);
    g_autofree char *pattern = g_strdup_printf("%s/log-%%d", dir);
    g_autofree char *name = g_strdup_printf("%s/log-%d", dir, (int)getpid());
    g_assert_true(log_set_file(pattern, &error_abort_slot));
    GThread *t[3];
    for (int i = 0; i < 3; i++) {
        t[i] = g_thread_new("writer", writer, GINT_TO_POINTER(i));
    }
    for (int i = 0; i < 3; i++) {
        g_thread_join(t[i]);
    }
    g_assert_true(log_set_file(NULL, &error_abort_slot));
    g_autofree char *text = NULL;
    g_assert_true(g_file_get_contents(name, &text, NULL, NULL));
    g_auto(GStrv) lines = g_strsplit(text, "\n", 0);
    unsigned longs = 0;
    for (char **l = lines; *l; l++) {
        size_t n = strlen(*l);
        if (n > 2) {
            longs++;
            g_assert_cmpuint(n, ==, 699);
            g_assert_cmpuint(strspn(*l, (char[]){ **l, 0 }), ==, n); /* no mixing */
        }
    }
    g_assert_cmpuint(longs, ==, 300);
    unlink(name);
    rmdir(dir);

    Error *err = NULL;
    g_assert_false(log_set_file("/nonexistent/x", &err));
    g_assert_nonnull(strstr(error_text(err), "cannot open log file '/nonexistent/x'"));
    error_free(err);
    err = NULL;
    g_assert_false(log_set_file("a%s", &err));
    g_assert_nonnull(strstr(error_text(err), "'a%s'"));
    error_free(err);
}

static void test_warnings(void)
{
    if (g_test_subprocess()) {
        bool said = false;
        log_set_program("prog");
        log_warn("low on %s", "tea");
        log_info("fyi");
        log_warn_once(&said, "once");
        log_warn_once(&said, "once");
        exit(3);
    }
    g_test_trap_subprocess(NULL, 0, 0);
    g_test_trap_assert_stderr("prog: warning: low on tea\nprog: info: fyi\nprog: warning: once\n");
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/log/items", test_items);
    g_test_add_func("/log/file", test_file);
    g_test_add_func("/log/warnings", test_warnings);
    return g_test_run();
}
