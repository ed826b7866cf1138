/* SPDX-License-Identifier: MIT
 * monitor/qmp_state.c - commands whose answer is short on these machines (sleep, migration, TPM), which
 * management programs need all the same; memory backends; texts of the human monitor.
 *
 * Models: QEMU 7.2's commands of these names. libvirt starts no domain without query-migrate-capabilities and
 *         migrate-set-capabilities.
 * Does not model: what they are about, which these machines do not have yet: lists are empty, and what
 *         would need it is refused.
 * Threads: main loop, no domain held.
 */
#include "monitor_internal.h"
#include "rhea/backends/hostmem.h"
#include "rhea/monitor/qmp.h"
#include "rhea/util/errorcode.h"
#include "schema/qmp-state.h"

bool qmp_query_current_machine(QmpCall *call, CurrentMachineParams *ret, Error **errp)
{
    return true; /* boards describe no S3 to their guests */
}

bool qmp_system_wakeup(QmpCall *call, Error **errp)
{
    error_set(errp, "Unable to wake up: guest is not in suspended state"); /* clients know this text */
    error_hint(errp, "a machine that 'stop' has paused goes on with 'cont'");
    error_set_code(errp, "not-suspended", NULL);
    return false;
}

/* ---- what there is none of ---- */

/* The one capability that holds without migration: an event would be sent for each change of its state.
 * libvirt turns it on in every machine it starts, whatever the list says. The process has one machine. */
static bool migration_events;

bool qmp_query_migrate_capabilities(QmpCall *call, QueryMigrateCapabilitiesResult *ret, Error **errp)
{
    ret->items = g_new0(MigrationCapabilityStatus, 1);
    ret->items[ret->n++] = (MigrationCapabilityStatus){ .capability = MIGRATION_CAPABILITY_EVENTS,
                                                        .state = migration_events };
    return true;
}

bool qmp_migrate_set_capabilities(QmpCall *call, const MigrateSetCapabilitiesArgs *args, Error **errp)
{
    for (size_t i = 0; i < args->capabilities.n; i++) {
        const MigrationCapabilityStatus *s = &args->capabilities.items[i];
        if (s->state && s->capability != MIGRATION_CAPABILITY_EVENTS) {
            g_autofree char *member = g_strdup_printf("capabilities.%zu", i);
            return error_fail(errp, "not-supported", member,
                              "query-migrate-capabilities lists what can be on",
                              "capability '%s' cannot be on: this machine cannot migrate",
                              migration_capability_names[s->capability]);
        }
    }
    for (size_t i = 0; i < args->capabilities.n; i++) {
        const MigrationCapabilityStatus *s = &args->capabilities.items[i];
        if (s->capability == MIGRATION_CAPABILITY_EVENTS) {
            migration_events = s->state;
        }
    }
    return true;
}

bool qmp_query_tpm_models(QmpCall *call, QueryTpmModelsResult *ret, Error **errp)
{
    return true;
}

bool qmp_query_tpm_types(QmpCall *call, QueryTpmTypesResult *ret, Error **errp)
{
    return true;
}

bool qmp_query_memory_devices(QmpCall *call, QueryMemoryDevicesResult *ret, Error **errp)
{
    return true;
}

/* ---- memory backends ---- */

static void describe_memdev(const HostMemInfo *info, void *opaque)
{
    Memdev d = {
        .id = g_strdup(info->id), .size = info->size, .merge = info->merge, .dump = info->dump,
        .prealloc = info->prealloc, .share = info->share, .has_reserve = true, .reserve = info->reserve,
        .policy = MAX(type_enum_value(host_mem_policy_names, info->policy), 0),
        .host_nodes.n = info->n_nodes,
    };
    d.host_nodes.items = g_new0(int64_t, info->n_nodes);
    for (size_t i = 0; i < info->n_nodes; i++) {
        d.host_nodes.items[i] = info->nodes[i];
    }
    g_array_append_val((GArray *)opaque, d);
}

bool qmp_query_memdev(QmpCall *call, QueryMemdevResult *ret, Error **errp)
{
    GArray *all = g_array_new(FALSE, TRUE, sizeof(Memdev));
    hostmem_foreach(call->machine, describe_memdev, all);
    ret->n = all->len;
    ret->items = (Memdev *)(void *)g_array_free(all, FALSE);
    return true;
}

/* ---- texts ---- */

static bool text_of(QmpCall *call, const char *line, HumanReadableText *ret)
{
    GString *out = g_string_new(NULL);
    monitor_run_line(NULL, call->machine, line, out);
    ret->human_readable_text = g_utf8_make_valid(out->str, out->len);
    g_string_free(out, TRUE);
    return true;
}

bool qmp_x_query_roms(QmpCall *call, HumanReadableText *ret, Error **errp)
{
    return text_of(call, "info roms", ret);
}

bool qmp_x_query_numa(QmpCall *call, HumanReadableText *ret, Error **errp)
{
    return text_of(call, "info numa", ret);
}

bool qmp_x_query_irq(QmpCall *call, HumanReadableText *ret, Error **errp)
{
    return text_of(call, "info irq", ret);
}

bool qmp_x_query_jit(QmpCall *call, HumanReadableText *ret, Error **errp)
{
    return text_of(call, "info jit", ret);
}

bool qmp_x_query_ramblock(QmpCall *call, HumanReadableText *ret, Error **errp)
{
    return text_of(call, "info ramblock", ret);
}
