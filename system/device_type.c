/* SPDX-License-Identifier: MIT
 * system/device_type.c - device types by name.
 * Threads: any; constant data.
 */
#include "rhea/system/device.h"

#include <string.h>

const DeviceType *device_type_find(const char *name)
{
    for (unsigned i = 0; device_table[i]; i++) {
        if (!strcmp(device_table[i]->name, name)) {
            return device_table[i];
        }
    }
    return NULL;
}
