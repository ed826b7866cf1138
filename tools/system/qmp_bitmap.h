/* SPDX-License-Identifier: MIT
 * tools/system/qmp_bitmap.h - what queries about disks tell of dirty bitmaps.
 */
#ifndef TOOLS_SYSTEM_QMP_BITMAP_H
#define TOOLS_SYSTEM_QMP_BITMAP_H

#include "rhea/block/block.h"
#include "schema/qmp-block.h"

void qmp_describe_bitmaps(const BlockNode *n, BlockDeviceInfo *i);

#endif
