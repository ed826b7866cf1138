/* SPDX-License-Identifier: MIT
 * backends/block/intervals.c - what a disk's requests took during the last so many seconds: stats-intervals
 * of -drive.
 *
 * Models: QEMU's timed_stats. Nothing is kept for each request: there are two windows as long as the
 * interval, half of it apart, each request counts in both, and the older one is told. So what is told is of
 * the last half to whole interval. Threads: the device's domain.
 */
#include "drive_internal.h"

typedef struct Window {
    int64_t begin, end;        /* host's monotonic time */
    uint64_t n, min, max, sum; /* nanoseconds */
} Window;

struct DriveInterval {
    uint32_t seconds;
    Window window[DRIVE_STATS][2];
};

static int64_t length(const DriveInterval *i)
{
    return (int64_t)i->seconds * G_TIME_SPAN_SECOND * 1000;
}

/* Windows that have ended begin again, in their step. */
static void turn(DriveInterval *i, Window *w, int64_t now)
{
    if (now >= w->end) {
        int64_t len = length(i), steps = (now - w->end) / len + 1;
        *w = (Window){ .begin = w->end + (steps - 1) * len, .end = w->end + steps * len };
    }
}

DriveInterval *drive_intervals_new(const uint32_t *seconds, unsigned n, int64_t now)
{
    DriveInterval *all = g_new0(DriveInterval, n);
    for (unsigned k = 0; k < n; k++) {
        all[k].seconds = seconds[k];
        for (unsigned kind = 0; kind < DRIVE_STATS; kind++) {
            all[k].window[kind][0] = (Window){ .begin = now, .end = now + length(&all[k]) / 2 };
            all[k].window[kind][1] = (Window){ .begin = now, .end = now + length(&all[k]) };
        }
    }
    return all;
}

void drive_intervals_add(DriveInterval *all, unsigned n, DriveStatKind kind, uint64_t ns, int64_t now)
{
    for (unsigned k = 0; k < n; k++) {
        for (unsigned i = 0; i < 2; i++) {
            Window *w = &all[k].window[kind][i];
            turn(&all[k], w, now);
            w->min = w->n ? MIN(w->min, ns) : ns;
            w->max = MAX(w->max, ns);
            w->sum += ns;
            w->n++;
        }
    }
}

DriveTimed *drive_intervals_read(DriveInterval *all, unsigned n, int64_t now)
{
    DriveTimed *out = g_new0(DriveTimed, n);
    for (unsigned k = 0; k < n; k++) {
        out[k].seconds = all[k].seconds;
        for (unsigned kind = 0; kind < DRIVE_STATS; kind++) {
            Window *pair = all[k].window[kind];
            turn(&all[k], &pair[0], now);
            turn(&all[k], &pair[1], now);
            const Window *w = pair[0].end < pair[1].end ? &pair[0] : &pair[1];
            out[k].min_ns[kind] = w->min;
            out[k].max_ns[kind] = w->max;
            out[k].mean_ns[kind] = w->n ? w->sum / w->n : 0;
            out[k].depth[kind] = now > w->begin ? (double)w->sum / (double)(now - w->begin) : 0;
        }
    }
    return out;
}
