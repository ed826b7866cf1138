/* SPDX-License-Identifier: MIT
 * util/text.c - numbers, sizes and names in option text.
 *
 * Models: what users write after '=' on a command line. Whole strings only: "12x" is an error, never 12.
 * Threads: any; no state.
 */
#include "rhea/util/errorcode.h"
#include "rhea/util/text.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

bool text_to_u64(const char *s, uint64_t *out, Error **errp)
{
    if (!g_ascii_isdigit(s[0])) {
        return error_fail(errp, "invalid-value", NULL, "give a number from 0 on, decimal or with 0x",
                          "'%s' is not a non-negative number", s);
    }
    char *end;
    errno = 0;
    unsigned long long v = g_ascii_strtoull(s, &end, 0);
    if (*end) {
        return error_fail(errp, "invalid-value", NULL, "give a number, decimal or with 0x",
                          "'%s' is not a number", s);
    }
    if (errno == ERANGE) {
        return error_fail(errp, "out-of-range", NULL, "give a smaller number",
                          "'%s' does not fit in 64 bits", s);
    }
    *out = v;
    return true;
}

bool text_to_i64(const char *s, int64_t *out, Error **errp)
{
    const char *digits = s + (*s == '-' || *s == '+');
    if (!g_ascii_isdigit(digits[0])) {
        return error_fail(errp, "invalid-value", NULL, "give a number, decimal or with 0x",
                          "'%s' is not a number", s);
    }
    char *end;
    errno = 0;
    long long v = g_ascii_strtoll(s, &end, 0);
    if (*end) {
        return error_fail(errp, "invalid-value", NULL, "give a number, decimal or with 0x",
                          "'%s' is not a number", s);
    }
    if (errno == ERANGE) {
        return error_fail(errp, "out-of-range", NULL, "give a smaller number",
                          "'%s' does not fit in 64 bits", s);
    }
    *out = v;
    return true;
}

static bool text_size_shift(char suffix, unsigned *shift)
{
    static const char letters[] = "bkmgtpe";
    const char *at = suffix ? strchr(letters, g_ascii_tolower(suffix)) : NULL;
    if (!at) {
        return false;
    }
    *shift = 10 * (at - letters);
    return true;
}

/* The digits behind the point, as a multiple of 2^-shift, rounded down. Digit by digit in 128 bits:
 * a double would lose the low bits of large units. */
static uint64_t text_fraction(const char *digits, size_t n, unsigned shift)
{
    unsigned __int128 num = 0, den = 1;
    for (size_t i = 0; i < n && i < 18; i++) {
        num = num * 10 + (digits[i] - '0');
        den *= 10;
    }
    return (uint64_t)((num << shift) / den);
}

bool text_to_size(const char *s, char unit, uint64_t *out, Error **errp)
{
    if (!g_ascii_isdigit(s[0])) {
        error_fail(errp, "invalid-value", NULL, NULL, "'%s' is not a size", s);
        error_hint(errp, "a size is a number with an optional suffix k, M, G, T, P or E");
        return false;
    }
    bool hex = s[0] == '0' && (s[1] == 'x' || s[1] == 'X');
    char *end;
    errno = 0;
    uint64_t whole = g_ascii_strtoull(s, &end, hex ? 16 : 10);
    bool overflow = errno == ERANGE;

    const char *frac = NULL;
    size_t n_frac = 0;
    if (*end == '.' && !hex) {
        frac = ++end;
        n_frac = strspn(frac, "0123456789");
        end += n_frac;
        if (!n_frac) {
            return error_fail(errp, "invalid-value", NULL, "write 1.5G, or 1G",
                              "'%s' is not a size: digits are missing behind the point", s);
        }
    }
    unsigned shift;
    if (!*end) {
        bool known = text_size_shift(unit, &shift);
        g_assert(known);
    } else if (!text_size_shift(*end, &shift) || end[1]) {
        error_fail(errp, "invalid-value", NULL, NULL, "'%s' is not a size: unknown suffix '%s'", s, end);
        error_hint(errp, "suffixes are k, M, G, T, P and E, powers of 1024");
        return false;
    }
    if (frac && !shift && strspn(frac, "0") < n_frac) {
        return error_fail(errp, "invalid-value", NULL, "add a suffix, such as k, M or G",
                          "'%s' is not a size: a byte has no fractions", s);
    }
    if (overflow || (whole << shift) >> shift != whole) {
        return error_fail(errp, "out-of-range", NULL, "give a smaller number",
                          "size '%s' does not fit in 64 bits", s);
    }
    *out = (whole << shift) + text_fraction(frac ? frac : "", n_frac, shift);
    return true;
}

char *text_from_size(uint64_t bytes)
{
    static const char *const units[] = { "bytes", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB" };
    unsigned u = 0;
    while (u + 1 < G_N_ELEMENTS(units) && bytes >> (10 * (u + 1))) {
        u++;
    }
    uint64_t whole = bytes >> (10 * u);
    uint64_t rest = bytes - (whole << (10 * u));
    if (!rest) {
        return g_strdup_printf("%" G_GUINT64_FORMAT " %s", whole, units[u]);
    }
    unsigned milli = (unsigned)(((unsigned __int128)rest * 1000) >> (10 * u));
    char digits[8];
    g_snprintf(digits, sizeof(digits), "%03u", milli % 1000);
    for (int i = 2; i > 0 && digits[i] == '0'; i--) {
        digits[i] = 0;
    }
    return g_strdup_printf("%" G_GUINT64_FORMAT ".%s %s", whole, digits, units[u]);
}

bool text_to_bool(const char *s, bool *out, Error **errp)
{
    static const struct {
        const char *name;
        bool value;
    } names[] = { { "on", true }, { "yes", true }, { "true", true },
                  { "off", false }, { "no", false }, { "false", false } };
    for (size_t i = 0; i < G_N_ELEMENTS(names); i++) {
        if (!strcmp(s, names[i].name)) {
            *out = names[i].value;
            return true;
        }
    }
    error_fail(errp, "invalid-value", NULL, NULL, "'%s' is not a switch", s);
    error_hint(errp, "use 'on' or 'off'");
    return false;
}

/* Optimal string alignment distance, case ignored: insert, delete, replace, swap neighbours cost 1. */
static size_t text_distance(const char *a, const char *b)
{
    size_t n = strlen(a), m = strlen(b);
    if (n > 63 || m > 63) {
        return SIZE_MAX;
    }
    uint8_t d[3][64];
    for (size_t j = 0; j <= m; j++) {
        d[0][j] = j;
    }
    for (size_t i = 1; i <= n; i++) {
        uint8_t *row = d[i % 3], *up = d[(i + 2) % 3], *up2 = d[(i + 1) % 3];
        row[0] = i;
        for (size_t j = 1; j <= m; j++) {
            char x = g_ascii_tolower(a[i - 1]), y = g_ascii_tolower(b[j - 1]);
            unsigned best = up[j - 1] + (x != y);
            best = MIN(best, up[j] + 1u);
            best = MIN(best, row[j - 1] + 1u);
            if (i > 1 && j > 1 && x == g_ascii_tolower(b[j - 2]) && g_ascii_tolower(a[i - 2]) == y) {
                best = MIN(best, up2[j - 2] + 1u);
            }
            row[j] = best;
        }
    }
    return d[n % 3][m];
}

bool text_to_uuid(const char *text, uint8_t out[16])
{
    if (strlen(text) != 36) {
        return false;
    }
    unsigned n = 0;
    for (unsigned i = 0; i < 36; i++) {
        bool dash = i == 8 || i == 13 || i == 18 || i == 23;
        if (dash) {
            if (text[i] != '-') {
                return false;
            }
            continue;
        }
        int hi = g_ascii_xdigit_value(text[i]), lo = g_ascii_xdigit_value(text[i + 1]);
        if (hi < 0 || lo < 0) {
            return false;
        }
        out[n++] = hi << 4 | lo;
        i++;
    }
    return n == 16;
}

bool text_is_id(const char *s)
{
    if (!g_ascii_isalpha(*s)) {
        return false;
    }
    for (; *s; s++) {
        if (!g_ascii_isalnum(*s) && !strchr("-._", *s)) {
            return false;
        }
    }
    return true;
}

bool text_check_id(const char *id, const char *example, Error **errp)
{
    if (text_is_id(id)) {
        return true;
    }
    error_fail(errp, "invalid-value", "id", NULL,
               "id '%s' is not a name: a letter, then letters, digits, '-', '.', '_'", id);
    error_hint(errp, "such as %s", example);
    return false;
}

const char *text_nearest(const char *word, const char *const *names)
{
    const char *best = NULL;
    size_t best_distance = (strlen(word) + 2) / 3 + 1; /* one slip in each three letters */
    for (; *names; names++) {
        size_t distance = text_distance(word, *names);
        if (distance < best_distance && distance < strlen(*names)) {
            best = *names;
            best_distance = distance;
        }
    }
    return best;
}

void error_hint_nearest(Error **errp, const char *word, const char *const *names)
{
    const char *name = text_nearest(word, names);
    if (name) {
        error_hint(errp, "did you mean '%s'?", name);
    }
}
