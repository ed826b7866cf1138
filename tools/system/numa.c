/* SPDX-License-Identifier: MIT
 * tools/system/numa.c - the option -numa: nodes, their CPUs and memory, distances.
 *
 * Models: QEMU's -numa node, cpu and dist; the order of the options does not matter, but for numbers that
 *         nodeid= leaves out.
 * Does not model: mem=, HMAT.
 * Threads: main thread; options before anything else runs, cli_make_numa() on the main loop.
 */
#include "cli.h"
#include "rhea/backends/hostmem.h"
#include "rhea/util/errorcode.h"
#include "rhea/util/text.h"
#include "schema/options.h"
#include <string.h>

OPTION_RUN(opt_numa)
{
    static const char *const repeated[] = { "cpus", NULL };
    bool from_text;
    g_autofree char *text = cli_number_repeats(arg, repeated);
    g_autoptr(Json) j = keyval_parse(text, "type", &from_text, errp);
    const char *kind = json_get_string(json_member(j, "type", NULL));
    if (!j) {
        return false;
    }
    if (kind && g_str_has_prefix(kind, "hmat-")) {
        error_fail(errp, "not-supported", "type", NULL,
                   "'%s' is not supported: there is no table of memory attributes (HMAT)", kind);
        error_hint(errp, "-numa dist tells the guest how far nodes are from each other");
        return false;
    }
    NumaOptions v;
    if (!type_decode(&numa_options_type, j, from_text, &v, errp)) {
        return false;
    }
    type_clear(&numa_options_type, &v);
    cli_record(cli, "numa", json_ref(j));
    g_ptr_array_add(cli->numa, item_new(o, arg, json_ref(j), from_text));
    return true;
}

/* A number, "2", "0-3", or a list of these. */
static bool add_cpus(Machine *m, unsigned node, const Json *j, Error **errp)
{
    const char *text = json_get_string(j);
    uint64_t first, last;
    if (json_get_uint(j, &first)) {
        return numa_add_cpus(m, node, first, first, errp);
    }
    if (json_kind(j) == JSON_ARRAY) {
        for (size_t i = 0; i < json_length(j); i++) {
            if (!add_cpus(m, node, json_at(j, i), errp)) {
                return false;
            }
        }
        return true;
    }
    g_auto(GStrv) part = g_strsplit(text ? text : "", "-", 2);
    if (!part[0] || !text_to_u64(part[0], &first, NULL) || (part[1] && !text_to_u64(part[1], &last, NULL))) {
        error_fail(errp, "invalid-value", "cpus", NULL, "'cpus' is neither a number nor a range");
        error_hint(errp, "cpus=0 or cpus=0-3, several times if need be");
        return false;
    }
    return numa_add_cpus(m, node, first, part[1] ? last : first, errp);
}

static bool add_node(Machine *m, const NumaNodeOptions *v, Error **errp)
{
    RamBlock *ram = NULL;
    if (v->memdev && !(ram = hostmem_claim(m, v->memdev, "a -numa node", errp))) {
        return false;
    }
    int node = numa_add_node(m, v->has_nodeid ? (int64_t)v->nodeid : -1, ram, errp);
    if (node < 0) {
        ram_unref(ram);
        return false;
    }
    return !v->cpus || add_cpus(m, (unsigned)node, v->cpus, errp);
}

static bool add_cpu(Machine *m, const NumaCpuOptions *v, Error **errp)
{
    NumaCpu where = { v->has_socket_id ? (int64_t)v->socket_id : -1, v->has_die_id ? (int64_t)v->die_id : -1,
                      v->has_core_id ? (int64_t)v->core_id : -1,
                      v->has_thread_id ? (int64_t)v->thread_id : -1 };
    return numa_add_cpu(m, v->node_id, &where, errp);
}

static bool add_item(Machine *m, const NumaOptions *v, bool nodes, Error **errp)
{
    switch (v->type) {
    case NUMA_KIND_NODE: return !nodes || add_node(m, &v->u.node, errp);
    case NUMA_KIND_CPU: return nodes || add_cpu(m, &v->u.cpu, errp);
    case NUMA_KIND_DIST:
        return nodes || numa_set_distance(m, v->u.dist.src, v->u.dist.dst, v->u.dist.val, errp);
    default: return true; /* refused when it was read */
    }
}

static bool add_items(Cli *cli, bool nodes, Error **errp)
{
    for (guint i = 0; i < cli->numa->len; i++) {
        Item *item = cli->numa->pdata[i];
        NumaOptions v;
        if (!type_decode(&numa_options_type, item->opts, item->from_text, &v, errp)) {
            return false;
        }
        bool ok = add_item(cli->m, &v, nodes, errp);
        type_clear(&numa_options_type, &v);
        if (!ok) {
            error_prefix(errp, "%s", item->where);
            return false;
        }
    }
    return true;
}

static bool check_others(const Cli *cli, Error **errp)
{
    const char *id = cli->memory_backend;
    if (cli->m->board->numa && !id && !cli->mem_path) {
        return true;
    }
    if (!cli->m->board->numa) {
        error_fail(errp, "not-supported", "numa", NULL,
                   "-numa: machine type '%s' has no NUMA nodes", cli->m->board->name);
        error_hint(errp, "leave it out, or use -machine pc");
    } else {
        error_fail(errp, "conflict", NULL, NULL,
                   "%s %s does not go with -numa", id ? "-machine memory-backend" : "-mem-path",
                   id ? id : cli->mem_path);
        error_hint(errp, "memory is given to nodes: -numa node,memdev=ID");
    }
    return false;
}

bool cli_make_numa(Cli *cli, Error **errp)
{
    Machine *m = cli->m;
    if (!check_others(cli, errp) || !add_items(cli, true, errp) || !add_items(cli, false, errp)) {
        return false;
    }
    if (!m->numa) {
        error_fail(errp, "missing-member", "node", NULL, "-numa: there is no node");
        error_hint(errp, "-numa node,memdev=ID makes one");
        return false;
    }
    if (!cli->memory_size_given && numa_ram_size(m->numa)) {
        m->ram_size = numa_ram_size(m->numa);
    } else if (!m->ram_size) {
        m->ram_size = m->board->default_ram;
    }
    if (!numa_complete(m, errp)) {
        error_prefix(errp, "-numa");
        return false;
    }
    return true;
}
