/* SPDX-License-Identifier: MIT
 * tests/lib/answers.h - what a monitor answered, taken from a chardev in memory, against what
 * was expected.
 */
#ifndef TESTS_LIB_ANSWERS_H
#define TESTS_LIB_ANSWERS_H

#include "rhea/backends/char.h"
#include "tests/lib/testmachine.h"

/* All that the chardev (chardev_new_buffer()) got until the machine's loop has nothing left to do; g_free. */
char *answers_take(TestMachine *tm, Chardev *c);
/* The test fails when the answer to `said` is another, or does not match the pattern. Both free `got`. */
void answers_expect(const char *said, char *got, const char *expected);
void answers_expect_match(const char *said, char *got, const char *pattern);

#endif
