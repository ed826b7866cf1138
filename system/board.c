/* SPDX-License-Identifier: MIT
 * system/board.c - the boards a program links, by name.
 * Threads: main loop.
 */
#include "rhea/system/machine.h"

#include <string.h>

const BoardType *board_find(const char *name)
{
    for (unsigned i = 0; board_table[i]; i++) {
        if (!strcmp(board_table[i]->name, name) || !g_strcmp0(board_table[i]->alias, name)) {
            return board_table[i];
        }
    }
    return NULL;
}
