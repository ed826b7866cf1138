/* SPDX-License-Identifier: MIT
 * tools/system/tables.h - accelerators and boards besides the test ones, each with a trailing comma.
 */
#ifndef TOOLS_SYSTEM_TABLES_H
#define TOOLS_SYSTEM_TABLES_H

#include "rhea/accel/tcg.h"
#include "rhea/hw/pc.h"

#define ACCELERATORS &accel_tcg_ops,
#define BOARDS &pc_board,

#endif
