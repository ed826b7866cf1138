/* SPDX-License-Identifier: MIT
 * tools/system/tables.h - accelerators and boards besides the test ones, each with a trailing comma.
 */
#ifndef TOOLS_SYSTEM_TABLES_H
#define TOOLS_SYSTEM_TABLES_H

#include "config.h"
#include "rhea/accel/kvm.h"
#include "rhea/accel/tcg.h"
#include "rhea/hw/pc.h"

#ifdef HAVE_KVM
#define ACCELERATORS &accel_tcg_ops, &accel_kvm_ops,
#else
#define ACCELERATORS &accel_tcg_ops,
#endif
#define BOARDS &microvm_board, &pc_board, &q35_board,

#endif
