/* SPDX-License-Identifier: MIT
 * backends/hostmem/core.c - memory backends by name: from -object to memory that a board takes.
 *
 * Models: the names of QEMU's objects; the typed form is schema/hostmem.idl.
 * Does not model: persistent memory, read-only memory, parts of files.
 * Threads: main loop.
 */
#include "hostmem_internal.h"
#include "rhea/util/log.h"
#include "rhea/util/errorcode.h"
#include "rhea/util/text.h"
#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { PROGRESS_MS = 500, MAX_DEFAULT_THREADS = 16 };

struct HostMem {
    HostMemOptions o;
    RamBlock *ram;
    char *user; /* NULL: nobody */
    bool filled; /* all of it was allocated at once */
};

/* ---- what the options mean together ---- */

static bool clash(Error **errp, const char *hint, const char *what)
{
    error_fail(errp, "conflict", NULL, NULL, "%s", what);
    error_hint(errp, "%s", hint);
    return false;
}

static bool check_file(const HostMemOptions *o, bool share, Error **errp)
{
    const HostMemFile *f = &o->u.memory_backend_file;
    if (f->align & (f->align - 1)) {
        return error_fail(errp, "invalid-value", "align", "such as 2M",
                          "'align' must be a power of two, not %" G_GUINT64_FORMAT, f->align);
    }
    if (f->readonly && share) {
        return clash(errp, "use share=off: the guest's writes go to private memory",
                     "readonly=on with share=on: guest memory is written");
    }
    if (f->discard_data && !share) {
        return clash(errp, "use share=on, or leave discard-data out",
                     "discard-data=on with share=off: nothing is written to the file");
    }
    return true;
}

static bool check_options(const HostMemOptions *o, Error **errp)
{
    bool memfd = o->qom_type == HOST_MEM_KIND_MEMORY_BACKEND_MEMFD;
    bool share = hostmem_shared(o);
    if (o->size % RAM_PAGE_SIZE) {
        return error_fail(errp, "invalid-value", "size", "round it up",
                          "'size' must be a multiple of 4 KiB, not %" G_GUINT64_FORMAT " bytes", o->size);
    }
    if (memfd && o->u.memory_backend_memfd.has_hugetlbsize && !o->u.memory_backend_memfd.hugetlb) {
        return clash(errp, "add hugetlb=on", "'hugetlbsize' goes with hugetlb=on only");
    }
    if (o->has_prealloc_threads && o->has_prealloc && !o->prealloc) {
        return clash(errp, "leave it out", "'prealloc-threads' does not go with prealloc=off");
    }
    if (o->has_merge && o->merge && share) {
        return clash(errp, "use share=off, or leave merge out",
                     "merge=on with share=on: the host merges pages of private memory only");
    }
    if (o->policy == HOST_MEM_POLICY_DEFAULT && o->host_nodes) {
        return clash(errp, "policy=bind, preferred or interleave says what they are for",
                     "'host-nodes' does not go with policy=default");
    }
    if (o->policy != HOST_MEM_POLICY_DEFAULT && !o->host_nodes) {
        const char *name = host_mem_policy_names[o->policy];
        g_autofree char *text = g_strdup_printf("policy=%s needs 'host-nodes'", name);
        return clash(errp, "host-nodes=0, or another of the host's nodes", text);
    }
    return o->qom_type != HOST_MEM_KIND_MEMORY_BACKEND_FILE || check_file(o, share, errp);
}

/* ---- allocation ---- */

typedef struct Progress {
    const HostMemOptions *o;
    bool shown;
} Progress;

static void show_progress(void *opaque, uint64_t done)
{
    Progress *p = opaque;
    g_autofree char *size = text_from_size(p->o->size);
    fprintf(stderr, "\r%s: allocating memory '%s': %3u%% of %s", log_program(), p->o->id,
            (unsigned)(done * 100.0 / p->o->size), size);
    fflush(stderr);
    p->shown = true;
}

static unsigned host_cpus(void)
{
    long n = sysconf(_SC_NPROCESSORS_ONLN);
    return n > 0 ? (unsigned)MIN(n, MAX_DEFAULT_THREADS) : 1;
}

static bool allocate(const HostMemOptions *o, const HostMemMapping *map, Error **errp)
{
    Progress p = { .o = o };
    HostMemFill fill = {
        .host = map->ram.host, .size = map->ram.size, .page = map->ram.page,
        .threads = o->has_prealloc_threads ? o->prealloc_threads : host_cpus(),
        .progress = isatty(STDERR_FILENO) ? show_progress : NULL, .opaque = &p, .progress_ms = PROGRESS_MS,
    };
    bool ok = hostmem_fill(&fill, errp);
    if (p.shown) {
        fputs("\r\033[K", stderr);
    }
    if (!ok) {
        hostmem_room_hint(map->ram.page, errp);
    }
    return ok;
}

/* ---- life ---- */

static HostMem *add(Machine *m, HostMemOptions *o, bool prealloc, Error **errp)
{
    HostMemMapping map = { .ram.fd = -1 };
    if (!check_options(o, errp) || !hostmem_map(o, &map, errp)) {
        return NULL;
    }
    bool fill = o->has_prealloc ? o->prealloc : prealloc || o->has_prealloc_threads;
    if (fill && !allocate(o, &map, errp)) {
        hostmem_unmap(o, &map);
        return NULL;
    }
    HostMem *h = g_new0(HostMem, 1);
    h->ram = ram_new_mapped(m, o->id, &map.ram);
    h->o = *o;
    h->filled = fill;
    *o = (HostMemOptions){ 0 };
    m->hostmems = m->hostmems ? m->hostmems : g_ptr_array_new();
    g_ptr_array_add(m->hostmems, h);
    return h;
}

HostMem *hostmem_new_json(Machine *m, const Json *opts, bool from_text, bool prealloc, Error **errp)
{
    HostMemOptions o;
    if (!type_decode(&host_mem_options_type, opts, from_text, &o, errp)) {
        return NULL;
    }
    HostMem *h = add(m, &o, prealloc, errp);
    type_clear(&host_mem_options_type, &o);
    return h;
}

HostMem *hostmem_find(Machine *m, const char *id)
{
    for (guint i = 0; m->hostmems && i < m->hostmems->len; i++) {
        HostMem *h = m->hostmems->pdata[i];
        if (g_str_equal(h->o.id, id)) {
            return h;
        }
    }
    return NULL;
}

RamBlock *hostmem_claim(Machine *m, const char *id, const char *user, Error **errp)
{
    HostMem *h = hostmem_find(m, id);
    if (!h) {
        error_fail(errp, "not-found", NULL, NULL, "there is no memory backend with id '%s'", id);
        guint n = m->hostmems ? m->hostmems->len : 0;
        g_autofree const char **names = g_new0(const char *, n + 1);
        for (guint i = 0; i < n; i++) {
            names[i] = ((HostMem *)m->hostmems->pdata[i])->o.id;
        }
        if (n) {
            error_hint_nearest(errp, id, names);
        } else {
            error_hint(errp, "-object memory-backend-ram,id=%s,size=SIZE makes one", id);
        }
        return NULL;
    }
    if (h->user) {
        error_fail(errp, "in-use", NULL, NULL, "memory backend '%s' is used already, by %s", id, h->user);
        error_hint(errp, "each use needs a backend of its own");
        return NULL;
    }
    h->user = g_strdup(user);
    return ram_ref(h->ram);
}

/* What -machine says where the backend does not; on, where the board knows no such property. */
static bool board_flag(Machine *m, const char *name)
{
    bool on = true;
    for (const Prop *p = m->board && m->board_state ? m->board->props : NULL; p && p->name; p++) {
        if (g_str_equal(p->name, name)) {
            g_autoptr(Json) v = prop_get(p, m->board_state);
            json_get_bool(v, &on);
        }
    }
    return on;
}

void hostmem_foreach(Machine *m, void (*fn)(const HostMemInfo *info, void *opaque), void *opaque)
{
    for (guint i = 0; m->hostmems && i < m->hostmems->len; i++) {
        const HostMem *h = m->hostmems->pdata[i];
        const HostMemOptions *o = &h->o;
        g_autoptr(GArray) nodes = hostmem_nodes(o->host_nodes);
        HostMemInfo info = {
            .id = o->id, .policy = host_mem_policy_names[o->policy], .size = o->size,
            .merge = o->has_merge ? o->merge : board_flag(m, "mem-merge"),
            .dump = o->has_dump ? o->dump : board_flag(m, "dump-guest-core"),
            .prealloc = h->filled, .share = hostmem_shared(o), .reserve = o->reserve,
            .nodes = (const unsigned *)(void *)nodes->data, .n_nodes = nodes->len,
        };
        fn(&info, opaque);
    }
}

void hostmem_check_used(Machine *m)
{
    for (guint i = 0; m->hostmems && i < m->hostmems->len; i++) {
        HostMem *h = m->hostmems->pdata[i];
        if (!h->user) {
            log_warn("memory backend '%s' is used by nothing", h->o.id);
        }
    }
}

static void free_hostmem(HostMem *h)
{
    ram_unref(h->ram);
    type_clear(&host_mem_options_type, &h->o);
    g_free(h->user);
    g_free(h);
}

bool hostmem_remove(Machine *m, const char *id, Error **errp)
{
    HostMem *h = hostmem_find(m, id);
    if (!h) {
        return error_fail(errp, "not-found", "id", "qom-list /objects lists them",
                          "there is no object with id '%s'", id);
    }
    if (h->user) {
        return error_fail(errp, "in-use", "id", "it stays as long as what uses it",
                          "object '%s' is in use, by %s", id, h->user);
    }
    g_ptr_array_remove(m->hostmems, h);
    free_hostmem(h);
    return true;
}

void hostmem_remove_all(Machine *m)
{
    for (guint i = 0; m->hostmems && i < m->hostmems->len; i++) {
        free_hostmem(m->hostmems->pdata[i]);
    }
    g_clear_pointer(&m->hostmems, g_ptr_array_unref);
}

bool hostmem_is_kind(const char *qom_type)
{
    return type_enum_value(host_mem_kind_names, qom_type) >= 0;
}
