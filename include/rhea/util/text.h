/* SPDX-License-Identifier: MIT
 * rhea/util/text.h - numbers, sizes and names in option text.
 */
#ifndef RHEA_UTIL_TEXT_H
#define RHEA_UTIL_TEXT_H

#include "rhea/util/error.h"
#include <stdint.h>

/* Whole-string unsigned number (decimal, 0x hex, 0 octal); refuses sign, overflow and trailing text. */
bool text_to_u64(const char *s, uint64_t *out, Error **errp);
bool text_to_i64(const char *s, int64_t *out, Error **errp);
/* A size: digits with an optional fraction and suffix b, k, M, G, T, P, E (powers of 1024, either
 * case). `unit` is what a bare number counts ('M' for -m, 'b' for most). */
bool text_to_size(const char *s, char unit, uint64_t *out, Error **errp);
char *text_from_size(uint64_t bytes); /* "2 GiB"; g_free */
/* on/yes/true, off/no/false. */
bool text_to_bool(const char *s, bool *out, Error **errp);

/* "01234567-89ab-...": sixteen bytes in the order of the text. */
bool text_to_uuid(const char *text, uint8_t out[static 16]);

/* What names a thing in options, messages and paths: a letter, then letters, digits, '-', '.', '_'. */
bool text_is_id(const char *s);
/* That one, or an error of its member "id"; example: one that is right, for the hint. */
bool text_check_id(const char *id, const char *example, Error **errp);

/* The name in the NULL-terminated list nearest to `word` by edit distance, NULL if none is near. */
const char *text_nearest(const char *word, const char *const *names);
/* Adds the hint "did you mean 'NAME'?" to *errp when there is a near one. */
void error_hint_nearest(Error **errp, const char *word, const char *const *names);

#endif
