/* SPDX-License-Identifier: MIT
 * tests/device/isatest.h - the test machine with an ISA bus whose lines are counted: line k of tm is IRQ k.
 */
#ifndef TESTS_DEVICE_ISATEST_H
#define TESTS_DEVICE_ISATEST_H

#include "rhea/hw/isa.h"
#include "tests/lib/testmachine.h"

typedef struct IsaTest {
    TestMachine *tm;
    IsaBus *isa;
    Bus *bus;
} IsaTest;

IsaTest *isatest_new(void);
IsaTest *isatest_new_with(void (*options)(Machine *m)); /* before the machine is built */
void isatest_free(IsaTest *t);
/* Plugs in a device that must come up; connects nothing beyond what the bus does. */
#define isatest_add(t, type, ...) tm_device_type((t)->tm, (type), (t)->bus, ##__VA_ARGS__, NULL)
/* True if the device is refused with a message that contains text; prop may be NULL. */
bool isatest_refuses(IsaTest *t, const DeviceType *type, const char *prop, const char *value,
                     const char *text);

static inline uint8_t inb(IsaTest *t, uint16_t port)
{
    return tm_in(t->tm, port, 1);
}
static inline void outb(IsaTest *t, uint16_t port, uint8_t val)
{
    tm_out(t->tm, port, 1, val);
}

#endif
