/* SPDX-License-Identifier: MIT
 * tools/system/tables.h - accelerators and boards besides the test ones, each with a trailing comma.
 */
#ifndef TOOLS_SYSTEM_TABLES_H
#define TOOLS_SYSTEM_TABLES_H

#define ACCELERATORS
#define BOARDS
#define HAVE_QTEST 0

#endif
