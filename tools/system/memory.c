/* SPDX-License-Identifier: MIT
 * tools/system/memory.c - options about guest memory: -m, -object, -mem-path, -mem-prealloc.
 *
 * Does not model: memory that is plugged in later, most objects that are no memory.
 * Threads: main thread; options before anything else runs, cli_make_memory() on the main loop.
 */
#include "cli.h"
#include "rhea/backends/hostmem.h"
#include "rhea/backends/object.h"
#include "rhea/util/errorcode.h"
#include "rhea/util/text.h"
#include "schema/options.h"
#include <stdio.h>
#include <string.h>

static void replace(char **slot, char *value)
{
    g_free(*slot);
    *slot = value;
}

/* ---- options ---- */

OPTION_RUN(opt_memory)
{
    MemoryOptions v;
    if (!cli_decode(cli, o, &memory_options_type, "size", arg, &v, errp)) {
        return false;
    }
    if (v.has_slots && !v.has_maxmem) {
        error_fail(errp, "missing-member", "maxmem", NULL, "'slots' needs 'maxmem'");
        error_hint(errp, "leave out slots=");
        return false;
    }
    if (v.has_size) {
        cli->m->ram_size = (v.size + RAM_PAGE_SIZE - 1) & ~(uint64_t)(RAM_PAGE_SIZE - 1);
        cli->memory_size_given = true;
    }
    cli->max_ram = v.has_maxmem ? v.maxmem : cli->max_ram;
    cli->ram_slots = v.has_slots ? v.slots : cli->ram_slots;
    replace(&cli->memory_where, g_strdup_printf("-m %s", arg));
    return true;
}

OPTION_RUN(opt_mem_path)
{
    replace(&cli->mem_path, g_strdup(arg));
    cli_record(cli, "mem-path", json_new_string(arg));
    return true;
}

OPTION_RUN(opt_mem_prealloc)
{
    cli->mem_prealloc = true;
    cli_record(cli, "mem-prealloc", json_new_bool(true));
    return true;
}

static const struct { const char *prefix, *reason, *cure;
} other_objects[] = {
    { "memory-backend-epc", "there are no SGX enclaves", "memory-backend-ram" },
    { "memory-backend", "there is no such memory backend", "memory-backend-ram, -file or -memfd" },
    { "rng-", "there is no such source", "rng-builtin, or rng-random,filename=FILE" },
    { "secret_keyring", "the kernel's keyring is not asked", "secret,id=ID,file=FILE" },
    { "tls-", "there is no such kind of TLS", "tls-creds-x509 or tls-creds-anon" },
    { "sev-guest", "encrypted guest memory is not available", NULL },
    { "filter-", "there is no such filter", "filter-buffer, -dump, -mirror or -redirector" },
    { "can-", "there is no CAN bus", NULL },
    { "cryptodev-", "there is no crypto device yet", NULL },
    { "thread-context", "there are no thread contexts", "taskset or numactl on the program" },
    { "input-", "input comes from -display, -vnc and monitors", NULL },
    { "authz-", "there is no access control", NULL },
    { NULL },
};

static bool check_kind(const char *kind, Error **errp)
{
    if (!kind) {
        error_fail(errp, "missing-member", "qom-type", NULL, "'qom-type' is missing");
        error_hint(errp, "-object help lists the types");
        return false;
    }
    if (object_is_kind(kind)) {
        return true;
    }
    for (unsigned i = 0; other_objects[i].prefix; i++) {
        if (g_str_has_prefix(kind, other_objects[i].prefix)) {
            error_fail(errp, "not-supported", "qom-type", NULL,
                       "object '%s' is not supported: %s", kind, other_objects[i].reason);
            error_hint(errp, "%s%s", other_objects[i].cure ? "use " : "leave it out",
                       other_objects[i].cure ? other_objects[i].cure : "");
            return false;
        }
    }
    error_fail(errp, "not-found", "qom-type", NULL, "unknown object type '%s'", kind);
    error_hint(errp, "-object help lists the types");
    return false;
}

static bool show(Cli *cli, GString *text)
{
    fputs(text->str, stdout);
    g_string_free(text, TRUE);
    cli->done = true;
    return true;
}

OPTION_RUN(opt_object)
{
    static const char *const repeated[] = { "host-nodes", NULL };
    bool from_text;
    GString *help = g_string_new(NULL);
    if (cli_is_help(arg)) {
        object_help(help);
        return show(cli, help);
    }
    g_autofree char *text = cli_number_repeats(arg, repeated);
    g_autoptr(Json) j = keyval_parse(text, "qom-type", &from_text, errp);
    const char *kind = json_get_string(json_member(j, "qom-type", NULL));
    if (!j || !check_kind(kind, errp)) {
        g_string_free(help, TRUE);
        return false;
    }
    if (json_member(j, "help", NULL) || json_member(j, "?", NULL)) {
        object_help_kind(kind, help);
        return show(cli, help);
    }
    g_string_free(help, TRUE);
    cli_record(cli, "object", json_ref(j));
    g_ptr_array_add(cli->objects, item_new(o, arg, json_ref(j), from_text));
    return true;
}

/* ---- memory ---- */

/* Some must be there before others, and some after. */
static ObjectTime object_time(const char *kind)
{
    return object_is_for_drives(kind) ? OBJECT_FOR_DRIVES
           : object_is_for_nets(kind) ? OBJECT_FOR_NETS
                                      : OBJECT_FOR_DEVICES;
}

bool cli_make_objects(Cli *cli, ObjectTime time, Error **errp)
{
    for (guint i = 0; i < cli->objects->len; i++) {
        Item *item = cli->objects->pdata[i];
        const char *kind = json_get_string(json_member(item->opts, "qom-type", NULL));
        if (object_time(kind) == time &&
            !object_new_json(cli->m, item->opts, item->from_text, cli->mem_prealloc, errp)) {
            error_prefix(errp, "%s", item->where);
            return false;
        }
    }
    return true;
}

/* Slots are for memory that is plugged in, which no machine can. */
static bool check_slots(const Cli *cli, uint64_t size, Error **errp)
{
    g_autofree char *max = text_from_size(cli->max_ram), *now = text_from_size(size);
    if (!cli->max_ram) {
        return true;
    }
    if (cli->max_ram < size) {
        error_fail(errp, "conflict", "maxmem", NULL,
                   "%s: maxmem=%s is below the size, %s", cli->memory_where, max, now);
    } else if (cli->max_ram > size && !cli->ram_slots) {
        error_fail(errp, "conflict", "slots", NULL,
                   "%s: maxmem=%s is above the size, %s, and there are no slots", cli->memory_where, max,
                   now);
    } else if (cli->max_ram == size && cli->ram_slots) {
        error_fail(errp, "conflict", "slots", NULL,
                   "%s: slots=%" G_GUINT64_FORMAT " and maxmem=%s, which is the size, leave them empty",
                   cli->memory_where, cli->ram_slots, max);
    } else if (cli->max_ram > size) {
        error_fail(errp, "not-supported", "maxmem", NULL,
                   "%s: memory cannot be plugged in yet", cli->memory_where);
    } else {
        return true;
    }
    error_hint(errp, "leave out slots= and maxmem=");
    return false;
}

static bool take_backend(Cli *cli, Error **errp)
{
    Machine *m = cli->m;
    if (cli->mem_path) {
        error_fail(errp, "conflict", "mem-path", NULL,
                   "-mem-path %s does not go with -machine memory-backend=%s", cli->mem_path,
                   cli->memory_backend);
        error_hint(errp, "a memory-backend-file has mem-path=");
        return false;
    }
    m->ram_given = hostmem_claim(m, cli->memory_backend, "-machine memory-backend", errp);
    if (!m->ram_given) {
        error_prefix(errp, "-machine memory-backend=%s", cli->memory_backend);
        return false;
    }
    if (cli->memory_size_given && m->ram_size != m->ram_given->size) {
        g_autofree char *has = text_from_size(m->ram_given->size);
        error_fail(errp, "conflict", "size", NULL,
                   "%s: memory backend '%s' has %s", cli->memory_where, cli->memory_backend, has);
        error_hint(errp, "both sizes must be the same; without -m the backend's counts");
        return false;
    }
    m->ram_size = m->ram_given->size;
    return true;
}

/* -mem-path and -mem-prealloc are an -object that nobody named. */
static bool make_default(Cli *cli, uint64_t size, Error **errp)
{
    const char *kind = cli->mem_path ? "memory-backend-file" : "memory-backend-ram", *id = "pc.ram";
    const char *option = cli->mem_path ? "-mem-path" : "-mem-prealloc";
    if (!size) {
        error_fail(errp, "no-place", NULL, NULL,
                   "%s: machine type '%s' has no memory", option, cli->m->board->name);
        error_hint(errp, "use -m");
        return false;
    }
    g_autoptr(Json) j = json_put(json_new_object(), "qom-type", json_new_string(kind));
    json_put(json_put(j, "id", json_new_string(id)), "size", json_new_uint(size));
    if (cli->mem_path) {
        json_put(j, "mem-path", json_new_string(cli->mem_path));
    }
    if (object_new_json(cli->m, j, false, cli->mem_prealloc, errp)) {
        cli->m->ram_given = hostmem_claim(cli->m, id, option, errp);
    }
    if (!cli->m->ram_given) {
        error_prefix(errp, "%s%s%s", option, cli->mem_path ? " " : "", cli->mem_path ? cli->mem_path : "");
        return false;
    }
    cli->m->ram_size = size;
    return true;
}

bool cli_make_memory(Cli *cli, Error **errp)
{
    Machine *m = cli->m;
    uint64_t size = m->ram_size ? m->ram_size : m->board->default_ram;
    if (!cli_make_objects(cli, OBJECT_FOR_DEVICES, errp)) {
        return false;
    }
    bool ok = cli->numa->len          ? cli_make_numa(cli, errp)
              : cli->memory_backend   ? take_backend(cli, errp)
              : !cli->mem_path && !cli->mem_prealloc ? true : make_default(cli, size, errp);
    if (!ok) {
        return false;
    }
    hostmem_check_used(m);
    return check_slots(cli, m->ram_size ? m->ram_size : size, errp);
}
