/* SPDX-License-Identifier: MIT
 * tests/lib/testmachine.h - a machine inside the test process: RAM, clock by hand, interrupt lines that
 * are counted. The test is the CPU. Main loop; any number of machines at once.
 */
#ifndef TESTS_LIB_TESTMACHINE_H
#define TESTS_LIB_TESTMACHINE_H

#include "rhea/accel/test.h"
#include "rhea/system/dma.h"
#include "rhea/system/machine.h"

enum { TM_LINES = 64 };
typedef struct TestMachine {
    Loop *loop;
    Machine *m;
    bool level[TM_LINES];      /* of line k of the sink */
    unsigned rises[TM_LINES];
} TestMachine;

/* Board "none" with so much RAM at 0, accelerator "test", started. tm_build: fill in options between. */
TestMachine *tm_new(uint64_t ram_size);
TestMachine *tm_prepare(const BoardType *board); /* machine_new and options only */
void tm_build(TestMachine *tm);                  /* build, ready, start */
void tm_free(TestMachine *tm);

/* Creates and realizes below /machine/peripheral; pairs of property, text; ends with NULL; must succeed. */
Device *tm_device(TestMachine *tm, const char *type, Bus *bus, ...) G_GNUC_NULL_TERMINATED;
Device *tm_device_type(TestMachine *tm, const DeviceType *type, Bus *bus, ...) G_GNUC_NULL_TERMINATED;
/* Connects exported line k of the device to line `pin` of the counting sink. */
void tm_connect(TestMachine *tm, Device *dev, unsigned k, unsigned pin);
extern const IrqSinkOps tm_irq_sink; /* sink = TestMachine * */

uint32_t tm_in(TestMachine *tm, uint16_t port, unsigned size);
void tm_out(TestMachine *tm, uint16_t port, unsigned size, uint32_t val);
uint64_t tm_read(TestMachine *tm, hwaddr addr, unsigned size);
void tm_write(TestMachine *tm, hwaddr addr, unsigned size, uint64_t val);
void tm_copy_in(TestMachine *tm, hwaddr addr, const void *buf, size_t len);
void tm_copy_out(TestMachine *tm, hwaddr addr, void *buf, size_t len);

/* Lets time pass; each timer on the way fires at its own time. */
void tm_step(TestMachine *tm, int64_t ns);
void tm_turns(TestMachine *tm); /* loop turns until nothing is left to do (bounded) */
int64_t tm_now(TestMachine *tm);

GByteArray *tm_save(TestMachine *tm); /* the whole machine with RAM; stops and restarts it */
bool tm_load(TestMachine *tm, GByteArray *state, Error **errp);
void tm_reset(TestMachine *tm);

#endif
