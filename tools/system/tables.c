/* SPDX-License-Identifier: MIT
 * tools/system/tables.c - what this program links: accelerators, boards, monitor commands.
 *
 * The device table is written by the build from hw/meson.build.
 */
#include "cli.h"
#include "tables.h"

const AccelOps *const accel_table[] = { ACCELERATORS &accel_test_ops, NULL };
const BoardType *const board_table[] = { BOARDS &board_none, NULL };
