/* SPDX-License-Identifier: MIT
 * system/device_type.c - device types by name.
 * Threads: any; constant data.
 */
#include "rhea/system/device.h"

#include <string.h>

bool device_type_is_called(const DeviceType *type, const char *name)
{
    return !strcmp(type->name, name) || !g_strcmp0(type->alias, name);
}

const DeviceType *device_type_find(const char *name)
{
    for (unsigned i = 0; device_table[i]; i++) {
        if (device_type_is_called(device_table[i], name)) {
            return device_table[i];
        }
    }
    return NULL;
}
