/* SPDX-License-Identifier: MIT
 * backends/block/account.c - what a device's requests amount to: counts, bytes, times, histograms of latency.
 *
 * Models: the statistics of QEMU's query-blockstats and block-latency-histogram-set. A request counts by its
 *         end: failed ones apart, with their time unless account-failed=off. Times are the host's, from where
 *         the device handed it in; what it waited for because of I/O limits or others of its order is in.
 *         Of intervals: intervals.c. Does not model: merged requests, there are none.
 * Threads: the device's domain; the main loop takes it to look.
 */
#include "drive_internal.h"
#include "rhea/util/errorcode.h"

#include <string.h>

static DriveStatKind kind_of(DriveOp op)
{
    switch (op) {
    case DRIVE_READ: return DRIVE_STAT_READ;
    case DRIVE_FLUSH: return DRIVE_STAT_FLUSH;
    case DRIVE_DISCARD: return DRIVE_STAT_UNMAP;
    case DRIVE_WRITE:
    case DRIVE_WRITE_ZEROES: break;
    }
    return DRIVE_STAT_WRITE;
}

static uint64_t bytes_of(const DriveRequest *r)
{
    return r->op == DRIVE_READ || r->op == DRIVE_WRITE ? r->v.bytes : (uint64_t)r->bytes;
}

static void histogram_add(DriveHistogram *h, uint64_t ns)
{
    unsigned at = 0, end = h->n; /* boundaries rise: how many are not above ns */
    while (at < end) {
        unsigned mid = (at + end) / 2;
        if (ns >= h->bounds[mid]) {
            at = mid + 1;
        } else {
            end = mid;
        }
    }
    h->bins[at]++;
}

void drive_account(DriveRequest *r)
{
    DriveStats *s = &r->port->stats;
    DriveStatKind k = kind_of(r->op);
    int64_t now = clock_now(&clock_host_monotonic);
    uint64_t ns = (uint64_t)(now - r->start);
    if (r->result < 0) {
        s->failed[k]++;
    } else {
        s->ops[k]++;
        s->bytes[k] += k == DRIVE_STAT_FLUSH ? 0 : bytes_of(r);
    }
    if (r->result >= 0 || s->account_failed) {
        s->total_ns[k] += ns;
        s->last = now;
        drive_intervals_add(s->intervals, s->n_intervals, k, ns, now);
    }
    if (s->histogram[k].n) {
        histogram_add(&s->histogram[k], ns);
    }
}

void drive_account_invalid(DrivePort *p, DriveStatKind kind)
{
    p->stats.invalid[kind]++;
    if (p->stats.account_invalid) {
        p->stats.last = clock_now(&clock_host_monotonic);
    }
}

static bool choice(int given, bool otherwise)
{
    return given == AUTO ? otherwise : given == ON;
}

void drive_account_init(DrivePort *p)
{
    p->stats.account_invalid = choice(p->account_invalid, !p->drive || p->drive->account_invalid);
    p->stats.account_failed = choice(p->account_failed, !p->drive || p->drive->account_failed);
    if (p->drive && p->drive->n_intervals && !p->stats.intervals) {
        p->stats.n_intervals = p->drive->n_intervals;
        p->stats.intervals =
            drive_intervals_new(p->drive->intervals, p->drive->n_intervals, clock_now(&clock_host_monotonic));
    }
}

static void histogram_free(DriveHistogram *h)
{
    g_free(h->bounds);
    g_free(h->bins);
    *h = (DriveHistogram){ 0 };
}

void drive_account_fini(DrivePort *p)
{
    for (unsigned k = 0; k < DRIVE_STATS; k++) {
        histogram_free(&p->stats.histogram[k]);
    }
    g_free(p->stats.intervals);
    p->stats = (DriveStats){ 0 };
}

bool drive_set_histogram(DrivePort *p, DriveStatKind kind, const uint64_t *bounds, unsigned n, Error **errp)
{
    role_assert_main();
    if (n > DRIVE_HISTOGRAM_MAX) {
        return error_fail(errp, "too-many", NULL, "leave some out",
                          "%u boundaries: %d are possible", n, DRIVE_HISTOGRAM_MAX);
    }
    for (unsigned i = 0; i < n; i++) {
        if (i ? bounds[i] <= bounds[i - 1] : !bounds[i]) {
            error_fail(errp, "invalid-value", NULL, NULL,
                       "the boundary %" G_GUINT64_FORMAT " is not above the one before", bounds[i]);
            error_hint(errp, "give nanoseconds above 0 that rise");
            return false;
        }
    }
    DriveHistogram h = { .n = n }, old;
    if (n) {
        h.bounds = g_memdup2(bounds, n * sizeof(*bounds));
        h.bins = g_new0(uint64_t, n + 1);
    }
    domain_lock(p->dev->domain);
    old = p->stats.histogram[kind];
    p->stats.histogram[kind] = h;
    domain_unlock(p->dev->domain);
    histogram_free(&old);
    return true;
}

void drive_get_stats(const DrivePort *p, DriveStats *out)
{
    role_assert_main();
    domain_lock(p->dev->domain);
    *out = p->stats;
    for (unsigned k = 0; k < DRIVE_STATS; k++) {
        DriveHistogram *h = &out->histogram[k];
        h->bounds = h->n ? g_memdup2(h->bounds, h->n * sizeof(*h->bounds)) : NULL;
        h->bins = h->n ? g_memdup2(h->bins, (h->n + 1) * sizeof(*h->bins)) : NULL;
    }
    out->timed = drive_intervals_read(out->intervals, out->n_intervals, clock_now(&clock_host_monotonic));
    out->intervals = NULL;
    domain_unlock(p->dev->domain);
}

void drive_stats_clear(DriveStats *s)
{
    g_clear_pointer(&s->timed, g_free);
    s->n_intervals = 0;
    for (unsigned k = 0; k < DRIVE_STATS; k++) {
        histogram_free(&s->histogram[k]);
    }
}
