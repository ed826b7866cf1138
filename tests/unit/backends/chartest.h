/* SPDX-License-Identifier: MIT
 * tests/unit/backends/chartest.h - a machine with chardevs and a front end that records what it gets.
 */
#ifndef TESTS_UNIT_BACKENDS_CHARTEST_H
#define TESTS_UNIT_BACKENDS_CHARTEST_H

#include "rhea/backends/char.h"
#include "tests/lib/testmachine.h"

typedef struct Front {
    CharPort port;
    GString *got;
    size_t room;      /* SIZE_MAX: no limit */
    char events[32];  /* O opened, C closed, B break, I mux in, U mux out */
    unsigned writable;
} Front;

typedef struct Fixture {
    TestMachine *tm;
    Machine *m;
    char *dir;
} Fixture;

void fixture_up(Fixture *f, gconstpointer data);
void fixture_down(Fixture *f, gconstpointer data);
char *fixture_path(Fixture *f, const char *name); /* g_free */
Chardev *fixture_option(Fixture *f, const char *format, ...) G_GNUC_PRINTF(2, 3); /* must succeed */
/* Attached in the platform domain. */
Front *front_new(Fixture *f, Chardev *c);
void front_free(Front *front);
void front_say(Fixture *f, Front *front, const char *text);
/* Turns the loop until the condition holds; fails after two seconds. */
#define turn_until(f, condition)                                                                             \
    do {                                                                                                     \
        gint64 until_ = g_get_monotonic_time() + 2 * G_TIME_SPAN_SECOND;                                     \
        while (!(condition)) {                                                                               \
            g_assert_cmpint(g_get_monotonic_time(), <, until_);                                              \
            if (!loop_turn((f)->tm->loop, false)) {                                                          \
                g_usleep(500);                                                                               \
            }                                                                                                \
        }                                                                                                    \
    } while (0)
void expect_error(Fixture *f, const char *option, const char *pattern); /* glob over message and hint */

#endif
