/* SPDX-License-Identifier: MIT
 * tests/lib/testmachine_table.c - creating devices by name: links the build's device table, and with it
 * every device; tests that bring their own types do without.
 * Threads: main.
 */
#include "tests/lib/testmachine.h"


Device *tm_device(TestMachine *tm, const char *type, Bus *bus, ...)
{
    const DeviceType *t = device_type_find(type);
    if (!t) {
        g_error("no device type '%s'", type);
    }
    Device *dev = device_new(tm->m, t, tm->m->peripheral, NULL);
    va_list ap;
    va_start(ap, bus);
    for (const char *name; (name = va_arg(ap, const char *));) {
        device_set(dev, name, va_arg(ap, const char *), &error_abort_slot);
    }
    va_end(ap);
    device_realize(dev, bus, &error_abort_slot);
    return dev;
}
