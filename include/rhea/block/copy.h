/* SPDX-License-Identifier: MIT
 * rhea/block/copy.h - what moves data between layers of a backing chain: commit, rebase.
 *
 * Coroutines; they return 0 or -errno. Nobody else writes to the nodes meanwhile.
 */
#ifndef RHEA_BLOCK_COPY_H
#define RHEA_BLOCK_COPY_H

#include "rhea/block/block.h"

typedef struct BlockCopy {
    uint64_t rate; /* bytes a second at most; 0: no limit */
    void (*progress)(void *opaque, int64_t done, int64_t total); /* may be NULL */
    void *opaque;
} BlockCopy;

/* Waits until `done` bytes since `start` (clock_host_monotonic) are within `rate` bytes a second. */
void block_copy_pace(uint64_t rate, int64_t start, int64_t done) CO_FN;

/* From one image to another within the host's kernel: data of a file that becomes data of a file. -ENOTSUP:
 * something is not of that kind, or the kernel does not; then a part may have been copied. */
int block_copy_range(BlockClient *from, int64_t off, BlockClient *to, int64_t to_off, int64_t bytes) CO_FN;

/* What `top` and the layers below it decide goes to `base`, which is at least as large and is not in their
 * chain: the lowest of them was opened with "backing": null. */
int block_commit(BlockClient *top, BlockClient *base, const BlockCopy *how) CO_FN;

/* What `top` leaves to its backing file is copied into it where `was` and `now` differ. NULL: zeros. `was` is
 * what lies below `top` while this runs. */
int block_keep_content(BlockClient *top, BlockClient *was, BlockClient *now, const BlockCopy *how) CO_FN;

#endif
