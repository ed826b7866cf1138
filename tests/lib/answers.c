/* SPDX-License-Identifier: MIT
 * tests/lib/answers.c - see answers.h.
 */
#include "tests/lib/answers.h"
#include <string.h>

char *answers_take(TestMachine *tm, Chardev *c)
{
    GString *s = g_string_new(NULL);
    char buf[4096];
    tm_turns(tm);
    for (size_t n; (n = chardev_buffer_take(c, (uint8_t *)buf, sizeof(buf)));) {
        g_string_append_len(s, buf, n);
        tm_turns(tm);
    }
    return g_string_free(s, FALSE);
}

void answers_expect(const char *said, char *got, const char *expected)
{
    if (strcmp(got, expected)) {
        g_error("'%s' gave '%s', not '%s'", said, got, expected);
    }
    g_free(got);
}

void answers_expect_match(const char *said, char *got, const char *pattern)
{
    if (!g_pattern_match_simple(pattern, got)) {
        g_error("'%s' gave '%s', which does not match '%s'", said, got, pattern);
    }
    g_free(got);
}
