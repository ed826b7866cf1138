/* SPDX-License-Identifier: MIT
 * backends/block/throttle.c - I/O limits of drives, alone or in groups: bytes and requests a second, bursts.
 *
 * Models: throttling.* of QEMU's -drive, and block_set_io_throttle. Each limit is a bucket that leaks at its
 *         rate: a request goes when the bucket has room and then fills it by what it is, so that a large one
 *         is paid for afterwards. A bucket holds a tenth of a second of the rate; with -max it holds that
 *         rate for -max-length seconds, and a second bucket keeps the burst itself at it.
 * Threads: groups are made on the main loop; requests wait as coroutines on any. Of a group one request in
 *         each direction waits for its time, the others in the order of coming wait for that. Nobody waits
 *         while the machine drains.
 */
#include "drive_internal.h"

#include <string.h>

enum { LIMIT_BPS = 3, SLICE_NS = 10 * 1000 * 1000 };
#define RATE_MAX UINT64_C(1000000000000000)

typedef struct Bucket {
    double level, burst;
} Bucket;
struct DriveThrottle {
    char *name; /* NULL: a drive's own */
    unsigned users;
    pthread_mutex_t lock; /* what follows */
    DriveLimits limits;
    Bucket bucket[DRIVE_LIMITS];
    int64_t at; /* when they last leaked */
    CoMutex turn[2];
};

/* ---- options ---- */

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
        error_set(errp, "%s: a burst of %" G_GUINT64_FORMAT " is below the limit, %" G_GUINT64_FORMAT, name,
                  l->max, l->avg);
        return false;
    }
    if (l->max && !l->avg) {
        error_set(errp, "%s: a burst needs the limit that it exceeds", name);
        return false;
    }
    if (!l->length || (l->length > 1 && !l->max)) {
        error_set(errp, "%s: a burst of %" G_GUINT64_FORMAT " seconds %s", name, l->length,
                  l->length ? "has no rate" : "is none");
        return false;
    }
    if (l->avg > RATE_MAX || l->max > RATE_MAX / l->length) {
        return error_set(errp, "%s: more than 10^15 is no limit", name);
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
            return error_set(errp, "%s and %s exclude each other", names[i - i % LIMIT_BPS][qmp], name);
        }
    }
    out->iops_size = number(o, qmp ? "iops_size" : "iops-size", "", 0);
    if (out->iops_size && !out->limit[DRIVE_IOPS].avg && !out->limit[DRIVE_IOPS_READ].avg &&
        !out->limit[DRIVE_IOPS_WRITE].avg) {
        return error_set(errp, "%s goes with a limit of requests (iops)", qmp ? "iops_size" : "iops-size");
    }
    return true;
}

static bool any_limit(const DriveLimits *l)
{
    bool any = false;
    for (unsigned i = 0; i < DRIVE_LIMITS; i++) {
        any = any || l->limit[i].avg;
    }
    return any;
}

/* ---- groups ---- */

static DriveThrottle *throttle_get(MachineBlock *b, const char *name)
{
    for (guint i = 0; name && i < b->throttles->len; i++) {
        DriveThrottle *t = b->throttles->pdata[i];
        if (!g_strcmp0(t->name, name)) {
            return t;
        }
    }
    DriveThrottle *t = g_new0(DriveThrottle, 1);
    t->name = g_strdup(name);
    t->at = clock_now(&clock_host_monotonic);
    pthread_mutex_init(&t->lock, NULL);
    co_mutex_init(&t->turn[0]);
    co_mutex_init(&t->turn[1]);
    g_ptr_array_add(b->throttles, t);
    return t;
}

void drive_throttle_free(void *opaque)
{
    DriveThrottle *t = opaque;
    co_mutex_fini(&t->turn[0]);
    co_mutex_fini(&t->turn[1]);
    pthread_mutex_destroy(&t->lock);
    g_free(t->name);
    g_free(t);
}

static void throttle_set(DriveThrottle *t, const DriveLimits *l)
{
    pthread_mutex_lock(&t->lock);
    t->limits = *l;
    memset(t->bucket, 0, sizeof(t->bucket));
    pthread_mutex_unlock(&t->lock);
}

/* A group's limits are those that were given last; a drive may join without any. */
static bool throttle_apply(MachineBlock *b, DriveThrottle **slot, const DriveLimits *l, const char *group,
                           Error **errp)
{
    bool own = !group && *slot && !(*slot)->name;
    DriveThrottle *t = own ? *slot : throttle_get(b, group);
    if (any_limit(l) || !group) {
        throttle_set(t, l);
    } else if (!any_limit(&t->limits)) {
        error_set(errp, "the group '%s' has no limits", group);
        error_hint(errp, "give some: throttling.bps-total=N, throttling.iops-total=N, ...");
        return false;
    }
    __atomic_store_n(slot, t, __ATOMIC_RELEASE);
    return true;
}

bool drive_throttle_options(MachineBlock *b, Drive *d, const Json *o, Error **errp)
{
    DriveLimits l;
    const char *group = json_get_string(json_member(o, "group", NULL));
    if (!drive_limits_read(o, false, &l, errp)) {
        return false;
    }
    return (!any_limit(&l) && !group) || throttle_apply(b, &d->throttle, &l, group, errp);
}

bool drive_set_limits(DrivePort *p, const DriveLimits *l, const char *group, Error **errp)
{
    DriveThrottle **slot = p->drive ? &p->drive->throttle : &p->throttle;
    if (!any_limit(l) && !group) { /* it leaves its group */
        __atomic_store_n(slot, NULL, __ATOMIC_RELEASE);
        return true;
    }
    return throttle_apply(p->block, slot, l, group, errp);
}

static DriveThrottle *throttle_of(const DrivePort *p)
{
    return __atomic_load_n(p->drive ? &p->drive->throttle : &p->throttle, __ATOMIC_ACQUIRE);
}

bool drive_get_limits(const DrivePort *p, DriveLimits *out, const char **group)
{
    DriveThrottle *t = throttle_of(p);
    *out = t ? t->limits : (DriveLimits){ 0 };
    *group = t ? t->name : NULL;
    return t != NULL;
}

/* ---- requests ---- */

static bool counts(unsigned i, bool write)
{
    return i % LIMIT_BPS == 0 || (i % LIMIT_BPS == 2) == write;
}

static void leak(DriveThrottle *t)
{
    int64_t now = clock_now(&clock_host_monotonic);
    double s = (double)(now - t->at) / 1e9;
    t->at = now;
    for (unsigned i = 0; i < DRIVE_LIMITS; i++) {
        const DriveLimit *l = &t->limits.limit[i];
        t->bucket[i].level = MAX(0, t->bucket[i].level - s * (double)l->avg);
        t->bucket[i].burst = MAX(0, t->bucket[i].burst - s * (double)l->max);
    }
}

/* Nanoseconds until a request in this direction may go; 0: now, and it is accounted. */
static int64_t take(DriveThrottle *t, const DriveRequest *r, bool write, int64_t bytes)
{
    double wait = 0;
    pthread_mutex_lock(&t->lock);
    leak(t);
    for (unsigned i = 0; i < DRIVE_LIMITS; i++) {
        const DriveLimit *l = &t->limits.limit[i];
        if (l->avg && counts(i, write)) {
            double room = l->max ? (double)l->max * (double)l->length : (double)l->avg / 10;
            wait = MAX(wait, (t->bucket[i].level - room) / (double)l->avg);
            wait = l->max ? MAX(wait, (t->bucket[i].burst - (double)l->max / 10) / (double)l->max) : wait;
        }
    }
    bool go = wait <= 0 || __atomic_load_n(&r->port->block->waiting, __ATOMIC_SEQ_CST);
    uint64_t size = t->limits.iops_size;
    double requests = size && (uint64_t)bytes > size ? (double)bytes / (double)size : 1;
    for (unsigned i = 0; go && i < DRIVE_LIMITS; i++) {
        double units = i < LIMIT_BPS ? (double)bytes : requests;
        t->bucket[i].level += counts(i, write) ? units : 0;
        t->bucket[i].burst += counts(i, write) ? units : 0;
    }
    pthread_mutex_unlock(&t->lock);
    return go ? 0 : MAX((int64_t)(wait * 1e9), 1);
}

static void wake(void *co)
{
    co_wake(co);
}

/* In slices: who drains the machine does not wait for the limit. */
static void sleep_for(int64_t ns)
{
    Timer t;
    timer_init(&t, co_loop(), &clock_host_monotonic, wake, co_self());
    timer_arm(&t, clock_now(&clock_host_monotonic) + MIN(ns, (int64_t)SLICE_NS));
    co_yield();
}

void drive_throttle(const DriveRequest *r)
{
    DriveThrottle *t = throttle_of(r->port);
    bool write = r->op != DRIVE_READ;
    if (!t || r->op == DRIVE_FLUSH || r->op == DRIVE_DISCARD) {
        return;
    }
    int64_t ns, bytes = r->op == DRIVE_WRITE_ZEROES ? r->bytes : (int64_t)r->v.bytes;
    co_mutex_lock(&t->turn[write]);
    while ((ns = take(t, r, write, bytes)) > 0) {
        sleep_for(ns);
    }
    co_mutex_unlock(&t->turn[write]);
}
