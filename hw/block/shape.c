/* SPDX-License-Identifier: MIT
 * hw/block/shape.c - block sizes and geometry of disks: which go together, and what stands in for those that
 * are not given.
 *
 * Models: QEMU's properties of disks. Does not model: sizes taken from the host's disk. Threads: main loop.
 */
#include "rhea/hw/diskshape.h"
#include "rhea/util/errorcode.h"

#include <inttypes.h>

static bool power_of_two(uint64_t v)
{
    return v >= DISK_SECTOR && !(v & (v - 1));
}

static bool check_sizes(DiskShape *s, Error **errp)
{
    s->logical = s->logical ? s->logical : DISK_SECTOR;
    s->physical = s->physical ? s->physical : s->logical;
    if (!power_of_two(s->logical) || !power_of_two(s->physical) || s->physical < s->logical) {
        return error_set(errp,
                         "logical_block_size %" PRIu64 " and physical_block_size %" PRIu64
                         ": powers of two from 512 on, the physical one not smaller, are possible",
                         s->logical, s->physical);
    }
    if (s->min_io % s->logical || s->opt_io % s->logical || s->min_io / s->logical > UINT16_MAX) {
        return error_set(errp,
                         "min_io_size %" PRIu64 " and opt_io_size %" PRIu64
                         " must be multiples of logical_block_size %" PRIu64
                         ", the first at most 65535 of them",
                         s->min_io, s->opt_io, s->logical);
    }
    if (s->granularity != DISK_GRANULARITY_AUTO && s->granularity % s->logical) {
        return error_set(errp,
                         "discard_granularity %" PRIu64 " must be a multiple of logical_block_size %" PRIu64,
                         s->granularity, s->logical);
    }
    return true;
}

bool disk_shape_check(DiskShape *s, uint64_t sectors, unsigned cyls, unsigned heads, unsigned secs,
                      Error **errp)
{
    if (s->backend_defaults == ON) {
        error_fail(errp, "not-supported", "backend_defaults", NULL,
                   "backend_defaults=on: block sizes are not taken from the host's disk");
        error_hint(errp, "give logical_block_size= and physical_block_size=");
        return false;
    }
    if (!check_sizes(s, errp)) {
        return false;
    }
    if (!s->cyls && !s->heads && !s->secs) {
        s->heads = DISK_HEADS;
        s->secs = DISK_SECS;
        s->cyls = (uint32_t)MIN(sectors / (DISK_HEADS * DISK_SECS), (uint64_t)cyls);
        return true;
    }
    if (!s->cyls || !s->heads || s->heads > heads || !s->secs || s->secs > secs) {
        error_fail(errp, "out-of-range", "cyls", NULL,
                   "cyls=%u, heads=%u, secs=%u is no geometry of a disk", s->cyls, s->heads, s->secs);
        error_hint(errp, "give all three: 1 to %d, 1 to %u and 1 to %u, or none", DISK_CYLS_MAX, heads, secs);
        return false;
    }
    return true;
}
