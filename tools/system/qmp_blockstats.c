/* SPDX-License-Identifier: MIT
 * tools/system/qmp_blockstats.c - what disks did: statistics and histograms of latency.
 *
 * Models: QEMU 7.2's query-blockstats, block-latency-histogram-set, info blockstats.
 * Threads: main loop, no domain held.
 */
#include "cli.h"
#include "rhea/block/driver.h"
#include "rhea/system/qompath.h"
#include "rhea/util/errorcode.h"
#include "schema/qmp-block.h"
#include <inttypes.h>

static int64_t highest(const BlockNode *n)
{
    return n ? __atomic_load_n(&n->highest, __ATOMIC_RELAXED) : 0;
}

static void describe_histogram(const DriveHistogram *h, bool *has, BlockLatencyHistogramInfo *out)
{
    *has = h->n != 0;
    if (h->n) {
        out->boundaries.n = h->n;
        out->boundaries.items = g_memdup2(h->bounds, h->n * sizeof(*h->bounds));
        out->bins.n = h->n + 1;
        out->bins.items = g_memdup2(h->bins, (h->n + 1) * sizeof(*h->bins));
    }
}

static void describe_timed(const DriveStats *s, BlockDeviceStats *o)
{
    o->timed_stats.n = s->n_intervals;
    o->timed_stats.items = g_new0(BlockDeviceTimedStats, s->n_intervals);
    for (unsigned i = 0; i < s->n_intervals; i++) {
        const DriveTimed *t = &s->timed[i];
        BlockDeviceTimedStats *b = &o->timed_stats.items[i];
        b->interval_length = t->seconds;
#define KIND(K, F)                                                                                           \
    do {                                                                                                     \
        b->min_##F##_latency_ns = (int64_t)t->min_ns[K];                                                     \
        b->max_##F##_latency_ns = (int64_t)t->max_ns[K];                                                     \
        b->avg_##F##_latency_ns = (int64_t)t->mean_ns[K];                                                    \
    } while (0)
        KIND(DRIVE_STAT_READ, rd);
        KIND(DRIVE_STAT_WRITE, wr);
        KIND(DRIVE_STAT_FLUSH, flush);
#undef KIND
        b->avg_rd_queue_depth = t->depth[DRIVE_STAT_READ];
        b->avg_wr_queue_depth = t->depth[DRIVE_STAT_WRITE];
    }
}

static void describe_disk(const DriveStats *s, BlockDeviceStats *o)
{
#define KIND(K, F)                                                                                           \
    do {                                                                                                     \
        o->F##_operations = (int64_t)s->ops[K];                                                              \
        o->F##_total_time_ns = (int64_t)s->total_ns[K];                                                      \
        o->failed_##F##_operations = (int64_t)s->failed[K];                                                  \
        o->invalid_##F##_operations = (int64_t)s->invalid[K];                                                \
    } while (0)
    KIND(DRIVE_STAT_READ, rd);
    KIND(DRIVE_STAT_WRITE, wr);
    KIND(DRIVE_STAT_FLUSH, flush);
    KIND(DRIVE_STAT_UNMAP, unmap);
#undef KIND
    o->rd_bytes = (int64_t)s->bytes[DRIVE_STAT_READ];
    o->wr_bytes = (int64_t)s->bytes[DRIVE_STAT_WRITE];
    o->unmap_bytes = (int64_t)s->bytes[DRIVE_STAT_UNMAP];
    o->has_idle_time_ns = s->last != 0;
    o->idle_time_ns = s->last ? MAX(clock_now(&clock_host_monotonic) - s->last, 0) : 0;
    o->account_invalid = s->account_invalid;
    o->account_failed = s->account_failed;
    describe_timed(s, o);
    describe_histogram(&s->histogram[DRIVE_STAT_READ], &o->has_rd_latency_histogram,
                       &o->rd_latency_histogram);
    describe_histogram(&s->histogram[DRIVE_STAT_WRITE], &o->has_wr_latency_histogram,
                       &o->wr_latency_histogram);
    describe_histogram(&s->histogram[DRIVE_STAT_FLUSH], &o->has_flush_latency_histogram,
                       &o->flush_latency_histogram);
}

static Json *node_json(const BlockNode *n, bool deep);

static void describe_driver(const BlockNode *n, BlockStats *b)
{
    BlockDiscards d;
    b->has_driver_specific = n->driver->discards != NULL;
    if (!b->has_driver_specific) {
        return;
    }
    n->driver->discards(n, &d);
    BlockStatsSpecificFile *o = &b->driver_specific.u.file; /* host_device has the same */
    *o = (BlockStatsSpecificFile){ (int64_t)d.done, (int64_t)d.failed, (int64_t)d.bytes };
    bool device = g_str_equal(n->driver->name, "host_device");
    b->driver_specific.driver = device ? BLOCK_DRIVER_NAME_HOST_DEVICE : BLOCK_DRIVER_NAME_FILE;
}

/* The node's own members, and with `deep` those below it. */
static void describe_node(const BlockNode *n, bool deep, BlockStats *b)
{
    if (!n) {
        return;
    }
    b->node_name = g_strdup(block_name(n));
    b->stats.wr_highest_offset = highest(n);
    describe_driver(n, b);
    b->parent = n->file ? node_json(n->file->node, deep) : NULL;
    b->backing = deep && n->backing ? node_json(n->backing->node, deep) : NULL;
}

static Json *node_json(const BlockNode *n, bool deep)
{
    BlockStats b = { .stats = { .account_invalid = true, .account_failed = true } };
    describe_node(n, deep, &b);
    Json *j = type_encode(&block_stats_type, &b);
    type_clear(&block_stats_type, &b);
    return j;
}

/* port: NULL: no device has the drive. */
static void add_disk(const Drive *d, const DrivePort *p, void *opaque)
{
    BlockStats b = { .device = g_strdup(d ? d->id : ""), .qdev = p ? qom_device_name(p->dev) : NULL };
    DriveStats s = { .account_invalid = !d || d->account_invalid, .account_failed = !d || d->account_failed };
    if (p) {
        drive_get_stats(p, &s);
    }
    describe_node(p ? p->node : d->node, true, &b);
    describe_disk(&s, &b.stats);
    drive_stats_clear(&s);
    g_array_append_val((GArray *)opaque, b);
}

static void add_node(BlockNode *n, void *opaque)
{
    BlockStats b = { .stats = { .account_invalid = true, .account_failed = true } };
    describe_node(n, false, &b);
    g_array_append_val((GArray *)opaque, b);
}

bool qmp_query_blockstats(QmpCall *call, const QueryBlockstatsArgs *args, QueryBlockstatsResult *ret,
                          Error **errp)
{
    Machine *m = call->machine;
    GArray *a = g_array_new(FALSE, TRUE, sizeof(BlockStats));
    if (args->has_query_nodes && args->query_nodes) {
        block_foreach(machine_block_graph(m), add_node, a);
    } else {
        drive_foreach_disk(m, add_disk, a);
    }
    ret->n = a->len;
    ret->items = (void *)g_array_free(a, FALSE);
    return true;
}

bool qmp_block_latency_histogram_set(QmpCall *call, const BlockLatencyHistogramSetArgs *args, Error **errp)
{
    const struct {
        bool given;
        const uint64_t *bounds;
        size_t n;
        DriveStatKind kind;
        const char *name;
    } kinds[] = {
        { args->has_boundaries_read, args->boundaries_read.items, args->boundaries_read.n, DRIVE_STAT_READ,
          "boundaries-read" },
        { args->has_boundaries_write, args->boundaries_write.items, args->boundaries_write.n,
          DRIVE_STAT_WRITE, "boundaries-write" },
        { args->has_boundaries_flush, args->boundaries_flush.items, args->boundaries_flush.n,
          DRIVE_STAT_FLUSH, "boundaries-flush" },
    };
    DrivePort *p = drive_port_find(call->machine, args->id, errp);
    bool none = !args->has_boundaries;
    for (unsigned i = 0; i < G_N_ELEMENTS(kinds); i++) {
        none &= !kinds[i].given;
    }
    for (unsigned i = 0; p && i < G_N_ELEMENTS(kinds); i++) {
        bool own = kinds[i].given;
        size_t n = own ? kinds[i].n : args->boundaries.n;
        if (!own && !args->has_boundaries && !none) {
            continue; /* that one stays */
        }
        if (!drive_set_histogram(p, kinds[i].kind, own ? kinds[i].bounds : args->boundaries.items,
                                 (unsigned)MIN(n, UINT_MAX), errp)) {
            error_set_code(errp, "invalid-value", own ? kinds[i].name : "boundaries");
            return false;
        }
    }
    return p != NULL;
}

/* ---- the human monitor ---- */

static void print_disk(const Drive *d, const DrivePort *p, void *opaque)
{
    GString *out = opaque;
    DriveStats s = { 0 };
    if (p) {
        drive_get_stats(p, &s);
    }
    g_string_append_printf(out, "%s:", d && *d->id ? d->id : p ? device_name(p->dev) : "");
    g_string_append_printf(out, " rd_bytes=%" PRIu64 " wr_bytes=%" PRIu64 " rd_operations=%" PRIu64,
                           s.bytes[DRIVE_STAT_READ], s.bytes[DRIVE_STAT_WRITE], s.ops[DRIVE_STAT_READ]);
    g_string_append_printf(out, " wr_operations=%" PRIu64 " flush_operations=%" PRIu64
                           " wr_total_time_ns=%" PRIu64,
                           s.ops[DRIVE_STAT_WRITE], s.ops[DRIVE_STAT_FLUSH], s.total_ns[DRIVE_STAT_WRITE]);
    g_string_append_printf(out, " rd_total_time_ns=%" PRIu64 " flush_total_time_ns=%" PRIu64,
                           s.total_ns[DRIVE_STAT_READ], s.total_ns[DRIVE_STAT_FLUSH]);
    g_string_append(out, " rd_merged=0 wr_merged=0");
    if (s.last) {
        g_string_append_printf(out, " idle_time_ns=%" PRId64,
                               MAX(clock_now(&clock_host_monotonic) - s.last, INT64_C(0)));
    }
    g_string_append_c(out, '\n');
    drive_stats_clear(&s);
}

void hmp_info_blockstats(Monitor *mon, Machine *m, int argc, char **argv, GString *out)
{
    if (argc > 1) {
        g_string_append(out, "info blockstats takes no argument\n");
        return;
    }
    drive_foreach_disk(m, print_disk, out);
}
