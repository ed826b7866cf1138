/* SPDX-License-Identifier: MIT
 * tests/unit/util/test-text.c - numbers, sizes, switches and near names in option text.
 */
#include "rhea/util/text.h"

#include <string.h>

static void test_integers(void)
{
    uint64_t u = 9;
    int64_t i = 9;
    g_assert_true(text_to_u64("0", &u, NULL) && u == 0);
    g_assert_true(text_to_u64("0x1F", &u, NULL) && u == 31);
    g_assert_true(text_to_u64("017", &u, NULL) && u == 15);
    g_assert_true(text_to_u64("18446744073709551615", &u, NULL) && u == UINT64_MAX);
    u = 9;
    static const char *const bad[] = { "",   " 1", "-1", "+1", "1x",
                                       "1 ", "0x", "08", "x",  "18446744073709551616",
                                       NULL };
    for (int k = 0; bad[k]; k++) {
        Error *err = NULL;
        g_assert_false(text_to_u64(bad[k], &u, &err));
        g_assert_nonnull(strstr(error_text(err), bad[k]));
        error_free(err);
    }
    g_assert_cmpuint(u, ==, 9);
    g_assert_true(text_to_i64("-9223372036854775808", &i, NULL) && i == INT64_MIN);
    g_assert_true(text_to_i64("+0x10", &i, NULL) && i == 16);
    g_assert_false(text_to_i64("9223372036854775808", &i, NULL) || text_to_i64("--1", &i, NULL) ||
                   text_to_i64("- 1", &i, NULL) || text_to_i64("", &i, NULL));
}

static void size_is(const char *text, char unit, uint64_t expected)
{
    uint64_t v = 0;
    g_assert_true(text_to_size(text, unit, &v, &error_abort_slot));
    g_assert_cmpuint(v, ==, expected);
}

static void test_sizes(void)
{
    size_is("0", 'b', 0);
    size_is("512", 'b', 512);
    size_is("512", 'M', UINT64_C(512) << 20);
    size_is("010", 'b', 10); /* sizes have no octal */
    size_is("1k", 'M', 1024);
    size_is("1K", 'M', 1024);
    size_is("1.5G", 'b', UINT64_C(3) << 29);
    size_is("0.5", 'M', 512 << 10);
    size_is("1.0b", 'M', 1);
    size_is("15E", 'b', UINT64_C(15) << 60);
    size_is("0x100000", 'b', 1 << 20);
    size_is("0x10M", 'b', 16 << 20);
    size_is("0.000000000000000001E", 'b', 1);
    static const char *const bad[] = { "",    "-1",     "x",      "1x",
                                       "1kb", "1.5",    "1.",     "1..5k",
                                       "16E", "k",      "0x",     " 1",
                                       "1 k", "0x1.8G", "1.5.5G", "99999999999999999999",
                                       NULL };
    for (int k = 0; bad[k]; k++) {
        Error *err = NULL;
        uint64_t v = 3;
        g_test_message("'%s'", bad[k]);
        g_assert_false(text_to_size(bad[k], 'b', &v, &err));
        g_assert_cmpuint(v, ==, 3);
        error_free(err);
    }
}

static void test_from_size(void)
{
    static const struct {
        uint64_t bytes;
        const char *text;
    } cases[] = { { 0, "0 bytes" }, { 1023, "1023 bytes" }, { 1024, "1 KiB" }, { UINT64_C(2) << 30, "2 GiB" },
                  { 1536, "1.5 KiB" }, { UINT64_C(5) << 38, "1.25 TiB" }, { UINT64_MAX, "15.999 EiB" },
                  { 1025, "1.0 KiB" } };
    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_autofree char *text = text_from_size(cases[i].bytes);
        g_assert_cmpstr(text, ==, cases[i].text);
    }
}

static void test_bool(void)
{
    bool b = false;
    g_assert_true(text_to_bool("on", &b, NULL) && b);
    g_assert_true(text_to_bool("no", &b, NULL) && !b);
    g_assert_true(text_to_bool("true", &b, NULL) && b);
    Error *err = NULL;
    g_assert_false(text_to_bool("ON", &b, &err));
    g_assert_cmpstr(error_text(err), ==, "'ON' is not a switch");
    g_assert_cmpstr(error_hint_text(err), ==, "use 'on' or 'off'");
    error_free(err);
}

static void test_id(void)
{
    static const char *const good[] = { "a", "Z", "disk0", "a-b.c_d", "v9-" };
    static const char *const bad[] = { "", "0", "9a", "-a", "_a", ".", "a b", "a/b", "a,b", "a=b",
                                       "\303\244", "a\303\244", "#block000" };
    for (unsigned i = 0; i < G_N_ELEMENTS(good); i++) {
        g_assert_true(text_is_id(good[i]) && text_check_id(good[i], "net0", &error_abort_slot));
    }
    for (unsigned i = 0; i < G_N_ELEMENTS(bad); i++) {
        Error *err = NULL;
        g_assert_false(text_is_id(bad[i]) || text_check_id(bad[i], "net0", &err));
        g_assert_cmpstr(error_hint_text(err), ==, "such as net0");
        error_free(err);
    }
}

static void test_nearest(void)
{
    static const char *const names[] = { "chardev", "drive", "driver", "netdev", "bus", NULL };
    static const char *const none[] = { NULL };
    g_assert_cmpstr(text_nearest("chadrev", names), ==, "chardev");
    g_assert_cmpstr(text_nearest("Driver", names), ==, "driver");
    g_assert_cmpstr(text_nearest("drivr", names), ==, "drive");
    g_assert_cmpstr(text_nearest("bsu", names), ==, "bus");
    g_assert_null(text_nearest("keyboard", names));
    g_assert_null(text_nearest("", names));
    g_assert_null(text_nearest("x", none));
    char longest[300];
    memset(longest, 'a', sizeof(longest) - 1);
    longest[sizeof(longest) - 1] = 0;
    g_assert_null(text_nearest(longest, names));
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/text/integers", test_integers);
    g_test_add_func("/text/sizes", test_sizes);
    g_test_add_func("/text/from-size", test_from_size);
    g_test_add_func("/text/bool", test_bool);
    g_test_add_func("/text/id", test_id);
    g_test_add_func("/text/nearest", test_nearest);
    return g_test_run();
}
