/* SPDX-License-Identifier: MIT
 * accel/test/test.c - the accelerator without a CPU.
 * Models: nothing; virtual time is set by hand, vCPUs (when the board has any) are outlines that take
 *   interrupts and never run.
 * Threads: main loop.
 */
#include "rhea/accel/test.h"

typedef struct TestAccel {
    ManualClock clock;
} TestAccel;

static bool test_machine_init(Machine *m, Error **errp G_GNUC_UNUSED)
{
    TestAccel *t = m->accel_state;
    clock_manual_init(&t->clock, 0);
    return true;
}

static const Clock *test_clock(Machine *m)
{
    TestAccel *t = m->accel_state;
    return &t->clock.clock;
}

const AccelOps accel_test_ops = {
    .name = "test", .alias = "qtest", .desc = "no CPU; driven by a test",
    .state_size = sizeof(TestAccel), .machine_init = test_machine_init, .clock = test_clock,
};

ManualClock *accel_test_clock(Machine *m)
{
    TestAccel *t = m->accel_state;
    return m->accel == &accel_test_ops && m->clock == &t->clock.clock ? &t->clock : NULL;
}

int64_t accel_test_next(Machine *m, int64_t limit)
{
    int64_t due = loop_deadline(m->loop, m->clock), now = clock_now(m->clock);
    return due <= now ? now : MIN(due, limit);
}

void accel_test_set_clock(Machine *m, int64_t ns)
{
    clock_manual_set(accel_test_clock(m), ns);
    loop_clock_changed(m->loop, m->clock);
}
