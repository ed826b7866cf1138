/* SPDX-License-Identifier: MIT
 * monitor/stats.c - statistics of the accelerator: query-stats, query-stats-schemas, `info stats`.
 * Models: QEMU 7.2's schema. Its only provider is KVM: the others have counters of their own (`info jit`).
 * Does not model: -
 * Threads: main loop.
 */
#include "monitor_internal.h"
#include "rhea/monitor/qmp.h"
#include "schema/qmp.h"
#include <string.h>

static bool provided(const Machine *m)
{
    return m->accel && m->accel->stats;
}

static GArray *stats_of(Machine *m, const Vcpu *cpu, Error **errp)
{
    g_autoptr(GArray) stats = accel_stats_new();
    return m->accel->stats(m, cpu, stats, errp) ? g_steal_pointer(&stats) : NULL;
}

/* names: NULL is all. */
static bool name_wanted(const StatsRequest *r, const char *name)
{
    for (size_t i = 0; r && r->has_names && i < r->names.n; i++) {
        if (g_str_equal(r->names.items[i], name)) {
            return true;
        }
    }
    return !r || !r->has_names;
}

static Json *value_of(const AccelStat *s)
{
    if (s->n == 1) {
        return s->unit == STAT_BOOLEAN ? json_new_bool(s->values[0] != 0) : json_new_uint(s->values[0]);
    }
    Json *list = json_new_array();
    for (unsigned i = 0; i < s->n; i++) {
        json_append(list, json_new_uint(s->values[i]));
    }
    return list;
}

/* One object's, unless none of its statistics is asked for. */
static bool add_result(Machine *m, const Vcpu *cpu, const StatsRequest *r, GArray *out, Error **errp)
{
    g_autoptr(GArray) stats = stats_of(m, cpu, errp);
    if (!stats) {
        return false;
    }
    StatsResult one = { .provider = STATS_PROVIDER_KVM };
    one.stats.items = g_new0(Stats, stats->len + 1);
    for (guint i = 0; i < stats->len; i++) {
        const AccelStat *s = &g_array_index(stats, AccelStat, i);
        if (name_wanted(r, s->name)) {
            one.stats.items[one.stats.n++] = (Stats){ .name = g_strdup(s->name), .value = value_of(s) };
        }
    }
    if (!one.stats.n) {
        g_free(one.stats.items);
        return true;
    }
    one.qom_path = cpu ? g_strdup_printf("/machine/unattached/cpu[%u]", cpu->index) : NULL;
    g_array_append_val(out, one);
    return true;
}

static bool cpu_wanted(const StatsFilter *f, unsigned index)
{
    g_autofree char *path = g_strdup_printf("/machine/unattached/cpu[%u]", index);
    for (size_t i = 0; f->u.vcpu.has_vcpus && i < f->u.vcpu.vcpus.n; i++) {
        if (g_str_equal(f->u.vcpu.vcpus.items[i], path)) {
            return true;
        }
    }
    return !f->u.vcpu.has_vcpus;
}

static bool add_request(Machine *m, const StatsFilter *f, const StatsRequest *r, GArray *out, Error **errp)
{
    if (f->target == STATS_TARGET_VM) {
        return add_result(m, NULL, r, out, errp);
    }
    for (unsigned i = 0; m->cpus && i < m->n_cpus; i++) {
        if (cpu_wanted(f, i) && !add_result(m, m->cpus[i], r, out, errp)) {
            return false;
        }
    }
    return true;
}

bool qmp_query_stats(QmpCall *call, const StatsFilter *args, QueryStatsResult *ret, Error **errp)
{
    Machine *m = call->machine;
    g_autoptr(GArray) out = g_array_new(FALSE, TRUE, sizeof(StatsResult));
    bool ok = true;
    if (provided(m)) {
        for (size_t i = 0; ok && args->has_providers && i < args->providers.n; i++) {
            ok = add_request(m, args, &args->providers.items[i], out, errp);
        }
        ok = ok && (args->has_providers || add_request(m, args, NULL, out, errp));
    }
    ret->n = out->len;
    ret->items = (StatsResult *)g_array_steal(out, NULL); /* cleared by whoever called, as it is */
    return ok;
}

static const StatsType types[] = { [STAT_CUMULATIVE] = STATS_TYPE_CUMULATIVE,
                                   [STAT_INSTANT] = STATS_TYPE_INSTANT,
                                   [STAT_PEAK] = STATS_TYPE_PEAK,
                                   [STAT_LINEAR_HISTOGRAM] = STATS_TYPE_LINEAR_HISTOGRAM,
                                   [STAT_LOG2_HISTOGRAM] = STATS_TYPE_LOG2_HISTOGRAM };
static const StatsUnit units[] = { [STAT_BYTES] = STATS_UNIT_BYTES,
                                   [STAT_SECONDS] = STATS_UNIT_SECONDS,
                                   [STAT_CYCLES] = STATS_UNIT_CYCLES,
                                   [STAT_BOOLEAN] = STATS_UNIT_BOOLEAN };

static StatsSchemaValue schema_of(const AccelStat *s)
{
    StatsSchemaValue v = { .name = g_strdup(s->name), .type = types[s->kind], .exponent = s->exponent };
    v.has_unit = s->unit != STAT_PLAIN;
    v.unit = v.has_unit ? units[s->unit] : 0;
    v.has_base = s->exponent != 0;
    v.base = s->base;
    v.has_bucket_size = s->kind == STAT_LINEAR_HISTOGRAM;
    v.bucket_size = s->bucket_size;
    return v;
}

static bool fill_schema(Machine *m, const Vcpu *cpu, StatsTarget target, StatsSchema *out, Error **errp)
{
    g_autoptr(GArray) stats = stats_of(m, cpu, errp);
    *out = (StatsSchema){ .provider = STATS_PROVIDER_KVM, .target = target };
    if (!stats) {
        return false;
    }
    out->stats.items = g_new0(StatsSchemaValue, stats->len + 1);
    out->stats.n = stats->len;
    for (guint i = 0; i < stats->len; i++) {
        out->stats.items[i] = schema_of(&g_array_index(stats, AccelStat, i));
    }
    return true;
}

bool qmp_query_stats_schemas(QmpCall *call, const QueryStatsSchemasArgs *args G_GNUC_UNUSED,
                             QueryStatsSchemasResult *ret, Error **errp)
{
    Machine *m = call->machine;
    if (!provided(m)) {
        return true;
    }
    ret->items = g_new0(StatsSchema, 2);
    if (m->cpus && !fill_schema(m, m->cpus[0], STATS_TARGET_VCPU, &ret->items[ret->n++], errp)) {
        return false;
    }
    return fill_schema(m, NULL, STATS_TARGET_VM, &ret->items[ret->n++], errp);
}

/* ---- info stats ---- */

static void append_unit(const AccelStat *s, GString *out)
{
    static const char *const names[] = { "", "bytes", "seconds", "cycles", "" };
    if (!*names[s->unit] && !s->exponent) {
        return;
    }
    if (s->unit == STAT_SECONDS && s->base == 10 && s->exponent == -9) {
        g_string_append(out, ", ns");
    } else if (s->exponent) {
        g_string_append_printf(out, ", %u^%d %s", s->base, s->exponent, names[s->unit]);
    } else {
        g_string_append_printf(out, ", %s", names[s->unit]);
    }
}

/* Histograms: the first of each bucket's values, for those that have some. */
static void append_stat(const AccelStat *s, GString *out)
{
    g_string_append_printf(out, "    %s (%s", s->name, stats_type_names[types[s->kind]]);
    append_unit(s, out);
    g_string_append(out, "):");
    for (unsigned i = 0; i < s->n; i++) {
        if (s->n == 1) {
            g_string_append_printf(out, " %" PRIu64, s->values[0]);
        } else if (s->values[i]) {
            uint64_t from = s->kind == STAT_LINEAR_HISTOGRAM ? (uint64_t)i * s->bucket_size
                            : i                              ? UINT64_C(1) << MIN(i - 1, 63u)
                                                             : 0;
            g_string_append_printf(out, " [%" PRIu64 "]=%" PRIu64, from, s->values[i]);
        }
    }
    g_string_append_c(out, '\n');
}

static bool text_wanted(const char *names, const char *name)
{
    g_auto(GStrv) list = g_strsplit(names, ",", -1);
    return g_str_equal(names, "*") || g_strv_contains((const char *const *)list, name);
}

void hmp_info_stats(Monitor *mon, Machine *m, int argc, char **argv, GString *out)
{
    Error *err = NULL;
    bool vcpu = argc > 1 && g_str_equal(argv[1], "vcpu");
    if (argc < 2 || argc > 4 || (!vcpu && !g_str_equal(argv[1], "vm"))) {
        g_string_append(out, "info stats: vm or vcpu is expected, then names (a,b or *), then a provider\n");
        return;
    }
    if (argc > 3 && !g_str_equal(argv[3], "kvm")) {
        g_string_append_printf(out, "info stats: no provider '%s': there is kvm\n", argv[3]);
        return;
    }
    if (!provided(m)) {
        g_string_append_printf(out, "accelerator %s provides none: 'info jit' has its counters\n",
                               m->accel ? m->accel->name : "(none)");
        return;
    }
    const Vcpu *cpu = vcpu ? monitor_cpu(mon, m) : NULL;
    if (vcpu && !cpu) {
        g_string_append(out, "this machine has no CPU\n");
        return;
    }
    g_autoptr(GArray) stats = stats_of(m, cpu, &err);
    if (!stats) {
        monitor_say_error(out, err);
        return;
    }
    g_string_append(out, "provider: kvm\n");
    for (guint i = 0; i < stats->len; i++) {
        const AccelStat *s = &g_array_index(stats, AccelStat, i);
        if (argc < 3 || text_wanted(argv[2], s->name)) {
            append_stat(s, out);
        }
    }
}
