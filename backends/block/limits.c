/* SPDX-License-Identifier: MIT
 * backends/block/limits.c - I/O limits as options name them: -drive, QMP and -object throttle-group.
 *
 * Models: throttling.* of QEMU's -drive, block_set_io_throttle, limits.* and x-* of throttle-group.
 * Threads: any; no state.
 */
#include "drive_internal.h"
#include "rhea/util/errorcode.h"

#include <string.h>

enum { LIMIT_BPS = 3 };
#define RATE_MAX UINT64_C(1000000000000000)

/* -drive's names, and those of QMP. */
static const char *const names[DRIVE_LIMITS][2] = {
    [DRIVE_BPS] = { "bps-total", "bps" },
    [DRIVE_BPS_READ] = { "bps-read", "bps_rd" },
    [DRIVE_BPS_WRITE] = { "bps-write", "bps_wr" },
    [DRIVE_IOPS] = { "iops-total", "iops" },
    [DRIVE_IOPS_READ] = { "iops-read", "iops_rd" },
    [DRIVE_IOPS_WRITE] = { "iops-write", "iops_wr" },
};

static uint64_t number(const Json *o, const char *name, const char *suffix, uint64_t otherwise)
{
    g_autofree char *key = g_strconcat(name, suffix, NULL);
    Json *v = json_member(o, key, NULL);
    uint64_t n;
    return v && json_get_uint(v, &n) ? n : otherwise;
}

static bool check_limit(const DriveLimit *l, const char *name, Error **errp)
{
    if (l->max && l->max < l->avg) {
        error_fail(errp, "out-of-range", NULL, "give a burst above the limit, or none",
                   "%s: a burst of %" G_GUINT64_FORMAT " is below the limit, %" G_GUINT64_FORMAT, name,
                   l->max, l->avg);
        return false;
    }
    if (l->max && !l->avg) {
        error_fail(errp, "missing-member", NULL, "give the limit as well, or leave out the burst",
                   "%s: a burst needs the limit that it exceeds", name);
        return false;
    }
    if (!l->length || (l->length > 1 && !l->max)) {
        error_fail(errp, "invalid-value", NULL, NULL,
                   "%s: a burst of %" G_GUINT64_FORMAT " seconds %s", name, l->length,
                   l->length ? "has no rate" : "is none");
        return false;
    }
    if (l->avg > RATE_MAX || l->max > RATE_MAX / l->length) {
        return error_fail(errp, "out-of-range", NULL, "leave it out",
                          "%s: more than 10^15 is no limit", name);
    }
    return true;
}

bool drive_limits_read(const Json *o, bool qmp, DriveLimits *out, Error **errp)
{
    *out = (DriveLimits){ 0 };
    for (unsigned i = 0; i < DRIVE_LIMITS; i++) {
        const char *name = names[i][qmp];
        DriveLimit *l = &out->limit[i];
        l->avg = number(o, name, "", 0);
        l->max = number(o, name, qmp ? "_max" : "-max", 0);
        l->length = number(o, name, qmp ? "_max_length" : "-max-length", 1);
        if (!check_limit(l, name, errp)) {
            return false;
        }
        if (i % LIMIT_BPS && out->limit[i - i % LIMIT_BPS].avg && l->avg) {
            return error_fail(errp, "conflict", name, "give the sum alone, or reading and writing",
                              "%s and %s exclude each other", names[i - i % LIMIT_BPS][qmp], name);
        }
    }
    out->iops_size = number(o, qmp ? "iops_size" : "iops-size", "", 0);
    if (out->iops_size && !out->limit[DRIVE_IOPS].avg && !out->limit[DRIVE_IOPS_READ].avg &&
        !out->limit[DRIVE_IOPS_WRITE].avg) {
        return error_fail(errp, "missing-member", "iops", "give a limit of requests as well",
                          "%s goes with a limit of requests (iops)", qmp ? "iops_size" : "iops-size");
    }
    return true;
}

bool drive_limits_of_object(const Json *o, DriveLimits *out, Error **errp)
{
    g_autoptr(Json) all = json_new_object(), nothing = json_new_object();
    Json *limits = json_member(o, "limits", NULL);
    limits = limits ? limits : nothing;
    json_object_object_foreach((Json *)o, key, value)
    {
        if (g_str_has_prefix(key, "x-")) {
            if (json_member(limits, key + 2, NULL)) {
                return error_fail(errp, "conflict", NULL, "leave out one of them",
                                  "%s and limits.%s are the same", key, key + 2);
            }
            json_put(all, key + 2, json_ref(value));
        }
    }
    json_object_object_foreach(limits, name, limit)
    {
        json_put(all, name, json_ref(limit));
    }
    return drive_limits_read(all, false, out, errp);
}
