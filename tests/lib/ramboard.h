/* SPDX-License-Identifier: MIT
 * tests/lib/ramboard.h - the board of tests that need RAM at address 0 and nothing else (BoardType.init).
 */
#ifndef TESTS_LIB_RAMBOARD_H
#define TESTS_LIB_RAMBOARD_H

#include "rhea/system/machine.h"

static inline bool ram_board_init(Machine *m, Error **errp)
{
    m->ram = ram_new(m, "ram", m->ram_size, errp);
    if (!m->ram) {
        return false;
    }
    region_init_ram(&m->ram_region, NULL, "ram", m->ram);
    region_map(&m->sysmem, 0, &m->ram_region, 0);
    return true;
}

#endif
