/* SPDX-License-Identifier: MIT
 * system/accel.c - the accelerators a program links, by name.
 * Threads: any; constant data.
 */
#include "rhea/system/accel.h"

#include <string.h>

static void stat_clear(gpointer opaque)
{
    AccelStat *s = opaque;
    g_free(s->name);
    g_free(s->values);
}

GArray *accel_stats_new(void)
{
    GArray *a = g_array_new(FALSE, TRUE, sizeof(AccelStat));
    g_array_set_clear_func(a, stat_clear);
    return a;
}

const AccelOps *accel_find(const char *name)
{
    for (unsigned i = 0; accel_table[i]; i++) {
        if (!strcmp(accel_table[i]->name, name) || !g_strcmp0(accel_table[i]->alias, name)) {
            return accel_table[i];
        }
    }
    return NULL;
}
