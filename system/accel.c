/* SPDX-License-Identifier: MIT
 * system/accel.c - the accelerators a program links, by name.
 * Threads: any; constant data.
 */
#include "rhea/system/accel.h"

#include <string.h>

const AccelOps *accel_find(const char *name)
{
    for (unsigned i = 0; accel_table[i]; i++) {
        if (!strcmp(accel_table[i]->name, name) || !g_strcmp0(accel_table[i]->alias, name)) {
            return accel_table[i];
        }
    }
    return NULL;
}
