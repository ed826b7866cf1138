/* SPDX-License-Identifier: MIT
 * rhea/block/throttle.h - I/O limits: bytes and requests a second, with bursts, of one disk or of several.
 *
 * A throttle is used by a machine's disks (backends/block) and, when it has a name, by nodes of the driver
 * "throttle" that name it. Made, changed and freed by the main loop; requests wait on any loop.
 */
#ifndef RHEA_BLOCK_THROTTLE_H
#define RHEA_BLOCK_THROTTLE_H

#include "rhea/block/block.h"

enum {
    BLOCK_BPS, BLOCK_BPS_READ, BLOCK_BPS_WRITE, BLOCK_IOPS, BLOCK_IOPS_READ, BLOCK_IOPS_WRITE, BLOCK_LIMITS
};
typedef struct BlockLimit {
    uint64_t avg, max, length; /* 0: none; in bursts of so many seconds, 0: no bursts */
} BlockLimit;
typedef struct BlockLimits {
    BlockLimit limit[BLOCK_LIMITS];
    uint64_t iops_size; /* a request of more bytes counts as several; 0: one is one */
} BlockLimits;
bool block_limits_any(const BlockLimits *l);

typedef struct BlockBucket {
    double level;    /* below 0: what may pass besides, since a request was woken late */
    uint8_t awaited; /* a bit for each direction: the request that waits does so for this one */
} BlockBucket;
typedef struct BlockThrottle {
    BlockGraph *graph;
    char *name;     /* NULL: nobody else can use it */
    bool object;    /* -object made it; else it was there when the first drive named it */
    unsigned nodes; /* that use it */
    const unsigned *hurry; /* atomic: while it is not 0 nobody waits */
    pthread_mutex_t lock; /* what follows */
    BlockLimits limits;
    BlockBucket bucket[BLOCK_LIMITS][2];
    const Clock *clock;
    int64_t at; /* when they last leaked */
    CoMutex turn[2];
} BlockThrottle;

BlockThrottle *block_throttle_new(BlockGraph *g, const char *name, const Clock *clock,
                                  const unsigned *hurry) MAIN_LOOP;
void block_throttle_free(BlockThrottle *t) MAIN_LOOP; /* no node uses it */
BlockThrottle *block_throttle_find(const BlockGraph *g, const char *name) MAIN_LOOP; /* NULL: there is none */
void block_throttle_set(BlockThrottle *t, const BlockLimits *l); /* all buckets are empty */
/* Returns when a request of so many bytes may go. */
void block_throttle_wait(BlockThrottle *t, bool write, int64_t bytes) CO_FN;

#endif
