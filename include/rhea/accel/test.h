/* SPDX-License-Identifier: MIT
 * rhea/accel/test.h - the accelerator without a CPU, and the line protocol that drives it from outside.
 *
 * Virtual time is a manual clock. Whoever tests is the CPU: it calls as_load() and friends, or speaks the
 * qtest protocol. Main loop.
 */
#ifndef RHEA_ACCEL_TEST_H
#define RHEA_ACCEL_TEST_H

#include "rhea/system/machine.h"

extern const AccelOps accel_test_ops;
ManualClock *accel_test_clock(Machine *m); /* NULL: the machine has another accelerator */
/* The next expiry on virtual time in (now, limit], or limit. The caller sets the clock, then lets the loop
 * turn. */
int64_t accel_test_next(Machine *m, int64_t limit);
void accel_test_set_clock(Machine *m, int64_t ns);

/* The protocol: one command a line in, replies ("OK ...", "FAIL ...") and events ("IRQ raise N") out. */
typedef struct Qtest Qtest;
Qtest *qtest_new(Machine *m, void (*send)(void *opaque, const char *line), void *opaque);
/* One line without its newline; answered at once, clock_step when its time has passed. */
void qtest_line(Qtest *q, const char *line);
/* Bytes as they come, in any pieces; a line longer than QTEST_LINE_MAX is refused. */
enum { QTEST_LINE_MAX = 64 << 20 };
void qtest_input(Qtest *q, const uint8_t *buf, size_t len);
void qtest_free(Qtest *q);

#endif
