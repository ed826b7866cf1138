/* SPDX-License-Identifier: MIT
 * tests/device/statedump.h - reads saved device trees without a machine, from what they say of themselves.
 * Threads: any.
 */
#ifndef TESTS_DEVICE_STATEDUMP_H
#define TESTS_DEVICE_STATEDUMP_H

#include <glib.h>

/* NULL when equal, else the first difference: "DEVICE: section/field[3] is 5, not 0". Fields named
 * ("section/field") in except (may be NULL; ends with NULL) are passed over. g_free. */
char *statedump_diff(const GByteArray *was, const GByteArray *now, const char *const *except);
/* Recomputes the checksums of all sections that can still be found, innermost first. */
void statedump_fix_checksums(GByteArray *tree);

#endif
