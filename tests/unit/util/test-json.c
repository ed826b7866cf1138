/* SPDX-License-Identifier: MIT
 * tests/unit/util/test-json.c - reading, printing and comparing JSON.
 */
#include "rhea/util/json.h"

#include <math.h>
#include <string.h>

static void round_trip(const char *text, const char *expected)
{
    g_autoptr(Json) j = json_parse(text, -1, &error_abort_slot);
    g_autofree char *out = json_format(j, false);
    g_assert_cmpstr(out, ==, expected ? expected : text);
    g_autoptr(Json) again = json_parse(out, -1, &error_abort_slot);
    g_assert_true(json_equal(j, again));
}

static void test_round_trip(void)
{
    round_trip("{}", NULL);
    round_trip("[]", NULL);
    round_trip(" [ 1 ,\t2,\n3 ]\r\n", "[1, 2, 3]");
    round_trip("{\"b\": 1, \"a\": [null, true, false, {\"x\": []}]}", NULL);
    round_trip("'it\\'s \"x\"'", "\"it's \\\"x\\\"\"");
    round_trip("{'a': 'b'}", "{\"a\": \"b\"}");
    round_trip("\"\\u0041\\/\\b\\f\\n\\r\\t\\\\\"", "\"A/\\b\\f\\n\\r\\t\\\\\"");
    round_trip("\"\xc3\xa9\xe2\x82\xac\"", "\"\\u00e9\\u20ac\"");
    round_trip("\"\\ud83d\\ude00\x7f\"", "\"\\ud83d\\ude00\\u007f\"");
    round_trip("9223372036854775807", NULL);
    round_trip("-9223372036854775808", NULL);
    round_trip("18446744073709551615", NULL);
    round_trip("18446744073709551616", "1.8446744073709552e+19");
    round_trip("-0", "0");
    round_trip("0.1", NULL);
    round_trip("1.0", NULL);
    round_trip("1e2", "100.0");
    round_trip("-1.5E-3", "-0.0015");
    round_trip("0.30000000000000004", NULL);
}

static void fails(const char *text, ssize_t len, const char *message)
{
    Error *err = NULL;
    g_assert_null(json_parse(text, len, &err));
    g_assert_nonnull(err);
    g_assert_cmpstr(error_text(err), ==, message);
    error_free(err);
    g_assert_null(json_parse(text, len, NULL));
}

static void test_errors(void)
{
    fails("", -1, "invalid JSON at line 1 column 1: value expected, found the end");
    fails("{\n  \"a\": ?\n}", -1, "invalid JSON at line 2 column 8: value expected");
    fails("'\xc3\xa9' x", -1, "invalid JSON at line 1 column 5: text behind the value");
    fails("[1,]", -1, "invalid JSON at line 1 column 4: value expected");
    fails("[1 2]", -1, "invalid JSON at line 1 column 4: ',' or ']' expected");
    fails("{\"a\": 1,}", -1, "invalid JSON at line 1 column 9: member name expected");
    fails("{a: 1}", -1, "invalid JSON at line 1 column 2: member name expected");
    fails("{\"a\" 1}", -1, "invalid JSON at line 1 column 6: ':' expected");
    fails("{\"a\": 1 \"b\"", -1, "invalid JSON at line 1 column 9: ',' or '}' expected");
    fails("{\"a\": 1, 'a': 2}", -1, "invalid JSON at line 1 column 10: member name given twice");
    fails("01", -1, "invalid JSON at line 1 column 1: a number must not start with 0");
    fails("-", -1, "invalid JSON at line 1 column 1: digits expected behind '-'");
    fails("+1", -1, "invalid JSON at line 1 column 1: value expected");
    fails("1.", -1, "invalid JSON at line 1 column 3: digits expected behind the point");
    fails("1e+", -1, "invalid JSON at line 1 column 4: digits expected in the exponent");
    fails("1e999", -1, "invalid JSON at line 1 column 1: number is too large");
    fails("NaN", -1, "invalid JSON at line 1 column 1: value expected");
    fails("truex", -1, "invalid JSON at line 1 column 1: value expected");
    fails("null", -1, "invalid JSON at line 1 column 1: null is not accepted here");
    fails("\"abc", -1, "invalid JSON at line 1 column 1: string without an end");
    fails("\"a\nb\"", -1, "invalid JSON at line 1 column 3: control character in a string");
    fails("\"\\x\"", -1, "invalid JSON at line 1 column 2: unknown escape in a string");
    fails("\"\\u12g4\"", -1, "invalid JSON at line 1 column 6: four hexadecimal digits expected behind \\u");
    fails("\"\\u0000\"", -1, "invalid JSON at line 1 column 2: \\u0000 is not accepted in strings");
    fails("\"\\udc00\"", -1, "invalid JSON at line 1 column 2: a low surrogate stands alone");
    fails("\"\\ud800\"", -1, "invalid JSON at line 1 column 2: a high surrogate needs a low one behind it");
    fails("\"\\ud800\\u0041\"", -1,
          "invalid JSON at line 1 column 2: a high surrogate needs a low one behind it");
    fails("\"\xff\"", -1, "invalid JSON at line 1 column 2: text is not UTF-8");
    fails("\"\xc0\x80\"", -1, "invalid JSON at line 1 column 2: text is not UTF-8");
    fails("\"\xed\xa0\x80\"", -1, "invalid JSON at line 1 column 2: text is not UTF-8");
    fails("[1]", 2, "invalid JSON at line 1 column 3: ',' or ']' expected");
    fails("1\0" "2", 3, "invalid JSON at line 1 column 2: text behind the value");
}

static void test_depth(void)
{
    char text[200];
    memset(text, '[', 64);
    memset(text + 64, ']', 64);
    g_autoptr(Json) j = json_parse(text, 128, &error_abort_slot);
    g_assert_nonnull(j);
    memset(text, '[', 65);
    fails(text, 65, "invalid JSON at line 1 column 65: nested deeper than 64 levels");
    g_autofree char *deep = g_malloc(1000000);
    memset(deep, '[', 1000000);
    fails(deep, 1000000, "invalid JSON at line 1 column 65: nested deeper than 64 levels");
}

static void test_numbers(void)
{
    int64_t i = 5;
    uint64_t u = 5;
    double d = 5;
    g_autoptr(Json) big = json_new_uint(UINT64_MAX);
    g_autoptr(Json) edge = json_new_uint((uint64_t)INT64_MAX + 1);
    g_autoptr(Json) max = json_new_int(INT64_MAX);
    g_autoptr(Json) neg = json_new_int(-1);
    g_autoptr(Json) frac = json_new_double(1.5);
    g_autoptr(Json) inf = json_new_double(INFINITY);
    g_assert_false(json_get_int(big, &i) || json_get_int(edge, &i) || json_get_int(frac, &i));
    g_assert_cmpint(i, ==, 5);
    g_assert_true(json_get_int(max, &i) && i == INT64_MAX);
    g_assert_false(json_get_uint(neg, &u));
    g_assert_cmpuint(u, ==, 5);
    g_assert_true(json_get_uint(big, &u) && u == UINT64_MAX);
    g_assert_true(json_get_double(neg, &d) && d == -1);
    g_assert_true(json_get_double(frac, &d) && d == 1.5);
    g_assert_false(json_get_double(NULL, &d));
    g_assert_false(json_equal(big, neg));
    g_assert_false(json_equal(edge, max));
    g_autofree char *text = json_format(inf, false);
    g_assert_cmpstr(text, ==, "null");
}

static void test_tree(void)
{
    bool found, b;
    g_autoptr(Json) j = json_put(json_put(json_new_object(), "list", json_append(json_new_array(), NULL)),
                                 "s", json_new_string("x"));
    g_assert_cmpint(json_kind(NULL), ==, JSON_NULL);
    g_assert_cmpstr(json_kind_name(json_kind(j)), ==, "object");
    g_assert_cmpuint(json_length(j), ==, 2);
    g_assert_cmpuint(json_length(NULL), ==, 0);
    g_assert_null(json_member(j, "none", &found));
    g_assert_false(found);
    Json *list = json_member(j, "list", &found);
    g_assert_true(found);
    g_assert_null(json_at(list, 0));
    g_assert_null(json_at(list, 1));
    g_assert_null(json_at(j, 0));
    g_assert_null(json_member(list, "x", NULL));
    g_assert_cmpstr(json_get_string(json_member(j, "s", NULL)), ==, "x");
    g_assert_null(json_get_string(j));
    g_assert_false(json_get_bool(j, &b));
    g_autofree char *pretty = json_format(j, true);
    g_assert_cmpstr(pretty, ==, "{\n    \"list\": [\n        null\n    ],\n    \"s\": \"x\"\n}");

    g_autoptr(Json) other = json_parse("{'s': 'x', 'list': [null]}", -1, &error_abort_slot);
    g_autoptr(Json) less = json_parse("{'s': 'x', 'lost': [null]}", -1, &error_abort_slot);
    g_assert_true(json_equal(j, other)); /* order of members does not matter */
    g_assert_false(json_equal(j, less));
    g_autoptr(Json) raw = json_new_string("a\xff");
    g_autofree char *text = json_format(raw, false);
    g_assert_cmpstr(text, ==, "\"a\\ufffd\"");
}

/* Any bytes: no crash, no leak, and what is accepted prints to something equal. */
static void test_random(void)
{
    static const char alphabet[] = "{}[]\"':,\\u0019.-eEtrufalsn \n\xc3\xa9";
    GRand *rand = g_rand_new_with_seed(3);
    unsigned accepted = 0;
    for (int i = 0; i < 50000; i++) {
        char text[24];
        unsigned n = g_rand_int_range(rand, 1, sizeof(text));
        for (unsigned k = 0; k < n; k++) {
            text[k] = alphabet[g_rand_int_range(rand, 0, sizeof(alphabet) - 1)];
        }
        g_autoptr(Json) j = json_parse(text, n, NULL);
        if (j) {
            g_autofree char *out = json_format(j, i & 1);
            g_autoptr(Json) again = json_parse(out, -1, &error_abort_slot);
            g_assert_true(json_equal(j, again));
            accepted++;
        }
    }
    g_assert_cmpuint(accepted, >, 50);
    g_rand_free(rand);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/json/round-trip", test_round_trip);
    g_test_add_func("/json/errors", test_errors);
    g_test_add_func("/json/depth", test_depth);
    g_test_add_func("/json/numbers", test_numbers);
    g_test_add_func("/json/tree", test_tree);
    g_test_add_func("/json/random", test_random);
    return g_test_run();
}
