/* SPDX-License-Identifier: MIT
 * rhea/hw/diskshape.h - what a disk tells its guest of block sizes and geometry: the properties that disks of
 * any kind have in common, and how they go together.
 */
#ifndef RHEA_HW_DISKSHAPE_H
#define RHEA_HW_DISKSHAPE_H

#include "rhea/system/prop.h"

enum { DISK_SECTOR = 512, DISK_BLOCK_MAX = 2 << 20, DISK_CYLS_MAX = 65535, DISK_HEADS = 16, DISK_SECS = 63 };
#define DISK_GRANULARITY_AUTO UINT32_MAX

typedef struct DiskShape { /* sizes in bytes; 0: not given, until disk_shape_check() */
    uint64_t logical, physical, min_io, opt_io;
    uint64_t
        granularity; /* of discards; DISK_GRANULARITY_AUTO: the logical block's; 0: the device's to say */
    uint32_t cyls, heads, secs;
    int backend_defaults;
} DiskShape;

#define PROP_DISK_SIZES(T, f)                                                                                \
    PROP_SIZE(T, f.logical, "logical_block_size", 0, 0, DISK_BLOCK_MAX,                                      \
              "Smallest unit of transfer, bytes; 0: 512"),                                                   \
        PROP_SIZE(T, f.physical, "physical_block_size", 0, 0, DISK_BLOCK_MAX,                                \
                  "Best unit of writing, bytes; 0: the logical block"),                                      \
        PROP_SIZE(T, f.granularity, "discard_granularity", DISK_GRANULARITY_AUTO, 0, UINT32_MAX,             \
                  "Unit of discards, bytes; 4294967295: the logical block"),                                 \
        PROP_ONOFFAUTO(T, f.backend_defaults, "backend_defaults", AUTO,                                      \
                       "Block sizes follow from the host's disk: off")
/* Disks that have a geometry, too. */
#define PROP_DISK_SHAPE(T, f)                                                                                \
    PROP_DISK_SIZES(T, f),                                                                                   \
        PROP_U32(T, f.cyls, "cyls", 0, 0, DISK_CYLS_MAX, "Cylinders; 0: they follow from the size"),         \
        PROP_U32(T, f.heads, "heads", 0, 0, 255, "Heads; 0: 16"),                                            \
        PROP_U32(T, f.secs, "secs", 0, 0, 255, "Sectors of a track; 0: 63"),                                 \
        PROP_ONLY_UINT("lcyls", 0, DISK_NO_LOGICAL_CHS), PROP_ONLY_UINT("lheads", 0, DISK_NO_LOGICAL_CHS),   \
        PROP_ONLY_UINT("lsecs", 0, DISK_NO_LOGICAL_CHS)
#define DISK_NO_LOGICAL_CHS                                                                                  \
    "the firmware is not told how to count cylinders, it chooses by itself",                                 \
        "leave it out; cyls=, heads= and secs= are what the disk itself says"

/* What the properties of `s` make of a disk of `sectors` sectors of 512 bytes: defaults are filled in. The
 * device can tell of so many cylinders by default, and of so many heads and sectors. */
bool disk_shape_check(DiskShape *s, uint64_t sectors, unsigned cyls, unsigned heads, unsigned secs,
                      Error **errp);

#endif
