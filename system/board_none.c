/* SPDX-License-Identifier: MIT
 * system/board_none.c - the board "none": address spaces, RAM at 0 when asked for, and nothing else.
 * Models: nothing; a place for devices under test.
 * Threads: main loop.
 */
#include "rhea/system/machine.h"

static bool none_init(Machine *m, Error **errp)
{
    if (!m->ram_size) {
        return true;
    }
    if (!machine_init_ram(m, "ram", errp)) {
        return false;
    }
    region_map(&m->sysmem, 0, &m->ram_region, 0);
    return true;
}

const BoardType board_none = {
    .name = "none", .desc = "empty machine", .max_cpus = 1, .max_ram = UINT64_C(1) << 40, .init = none_init,
};
