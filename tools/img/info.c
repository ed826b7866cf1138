/* SPDX-License-Identifier: MIT
 * tools/img/info.c - rhea-img info and snapshot.
 *
 * Threads: the main thread.
 */
#include "img.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

/* info */

static Json *snapshots_json(GArray *list)
{
    Json *out = json_new_array();
    for (unsigned i = 0; i < list->len; i++) {
        const BlockSnapshot *s = &g_array_index(list, BlockSnapshot, i);
        Json *j = json_new_object();
        json_put(j, "id", json_new_string(s->id));
        json_put(j, "name", json_new_string(s->name));
        json_put(j, "vm-state-size", json_new_uint(s->vm_state_size));
        json_put(j, "date-sec", json_new_uint(s->date_sec));
        json_put(j, "date-nsec", json_new_uint(s->date_nsec));
        json_put(j, "vm-clock-sec", json_new_uint(s->vm_clock_nsec / 1000000000));
        json_put(j, "vm-clock-nsec", json_new_uint(s->vm_clock_nsec % 1000000000));
        if (s->icount != UINT64_MAX) {
            json_put(j, "icount", json_new_uint(s->icount));
        }
        json_append(out, j);
    }
    return out;
}

static void print_snapshots(GArray *list)
{
    printf("Snapshot list:\n%-10s%-17s%8s%20s%13s%11s\n", "ID", "TAG", "VM SIZE", "DATE", "VM CLOCK",
           "ICOUNT");
    for (unsigned i = 0; i < list->len; i++) {
        const BlockSnapshot *s = &g_array_index(list, BlockSnapshot, i);
        char date[64] = "", icount[32] = "";
        time_t when = (time_t)s->date_sec;
        struct tm tm;
        if (localtime_r(&when, &tm)) {
            strftime(date, sizeof(date), "%Y-%m-%d %H:%M:%S", &tm);
        }
        if (s->icount != UINT64_MAX) {
            g_snprintf(icount, sizeof(icount), "%" PRIu64, s->icount);
        }
        uint64_t sec = s->vm_clock_nsec / 1000000000;
        g_autofree char *size = img_text_size(s->vm_state_size);
        g_autofree char *clock =
            g_strdup_printf("%02u:%02u:%02u.%03u", (unsigned)(sec / 3600), (unsigned)(sec / 60 % 60),
                            (unsigned)(sec % 60), (unsigned)(s->vm_clock_nsec / 1000000 % 1000));
        printf("%-9s %-16s %8s%20s%13s%11s\n", s->id, s->name, size, date, clock, icount);
    }
}

static Json *info_json(BlockNode *n)
{
    const BlockFormatOps *f = n->driver->format;
    Json *j = json_new_object();
    json_put(j, "virtual-size", json_new_int(tool_whole_sectors(block_size(n))));
    json_put(j, "filename", json_new_string(block_filename(n)));
    json_put(j, "format", json_new_string(block_driver_name(n)));
    if (f && f->cluster_size) {
        json_put(j, "cluster-size", json_new_int(f->cluster_size(n)));
    }
    int64_t used = block_allocated_bytes(n);
    if (used >= 0) {
        json_put(j, "actual-size", json_new_int(used));
    }
    const char *format = NULL, *backing = f && f->backing_name ? f->backing_name(n, &format) : NULL;
    if (backing) {
        g_autofree char *full = img_beside(block_filename(n), backing);
        json_put(j, "backing-filename", json_new_string(backing));
        json_put(j, "full-backing-filename", json_new_string(full));
        if (format) {
            json_put(j, "backing-filename-format", json_new_string(format));
        }
    }
    GArray *list = f && f->snapshots ? f->snapshots(n) : NULL;
    if (list) {
        if (list->len) {
            json_put(j, "snapshots", snapshots_json(list));
        }
        g_array_unref(list);
    }
    Json *data = f && f->info ? f->info(n) : NULL;
    if (data) {
        Json *s = json_new_object();
        json_put(s, "type", json_new_string(block_driver_name(n)));
        json_put(s, "data", data);
        json_put(j, "format-specific", s);
    }
    json_put(j, "dirty-flag", json_new_bool(f && f->is_dirty && f->is_dirty(n)));
    return j;
}

static void info_human(BlockNode *n)
{
    const BlockFormatOps *f = n->driver->format;
    int64_t used = block_allocated_bytes(n), bytes = tool_whole_sectors(block_size(n));
    g_autofree char *size = img_text_size((uint64_t)bytes);
    g_autofree char *disk = used < 0 ? g_strdup("unavailable") : img_text_size((uint64_t)used);
    printf("image: %s\nfile format: %s\nvirtual size: %s (%" PRId64 " bytes)\ndisk size: %s\n",
           block_filename(n), block_driver_name(n), size, bytes, disk);
    if (f && f->cluster_size) {
        printf("cluster_size: %" PRId64 "\n", f->cluster_size(n));
    }
    if (f && f->is_dirty && f->is_dirty(n)) {
        printf("cleanly shut down: no\n");
    }
    const char *format = NULL, *backing = f && f->backing_name ? f->backing_name(n, &format) : NULL;
    if (backing) {
        g_autofree char *full = img_beside(block_filename(n), backing);
        printf("backing file: %s", backing);
        printf(strcmp(full, backing) ? " (actual path: %s)\n" : "\n", full);
        if (format) {
            printf("backing file format: %s\n", format);
        }
    }
    GArray *list = f && f->snapshots ? f->snapshots(n) : NULL;
    if (list) {
        if (list->len) {
            print_snapshots(list);
        }
        g_array_unref(list);
    }
    tool_print_specific(n);
}

/* Only what is looked at is opened: an image whose backing file is gone can still be described. */
static BlockNode *open_alone(Img *m, const char *name, const char *format, Error **errp)
{
    if (m->image_opts) {
        return img_open(m, name, format, IMG_READ, NULL, errp);
    }
    g_autoptr(Json) o = block_image_options(name, format, errp);
    if (!o) {
        return NULL;
    }
    bool found;
    json_member(o, "backing", &found);
    const char *driver = json_get_string(json_member(o, "driver", NULL));
    if (!found && driver && strcmp(driver, "qcow2") == 0) {
        json_put(o, "backing", NULL);
    }
    json_put(o, "read-only", json_new_bool(true));
    json_put(o, "force-share", json_new_bool(m->share));
    return block_open(m->graph, o, false, errp);
}

static bool seen_before(const GPtrArray *chain, const char *name)
{
    for (unsigned i = 0; i < chain->len; i++) {
        if (strcmp(block_filename(block_client_node(g_ptr_array_index(chain, i))), name) == 0) {
            return true;
        }
    }
    return false;
}

/* The image and, if wanted, all below it, with the locks of a reader. */
static bool open_chain(Img *m, const char *first, const char *format, bool all, GPtrArray *chain,
                       Error **errp)
{
    g_autofree char *name = g_strdup(first), *fmt = g_strdup(format);
    while (name) {
        BlockNode *n = open_alone(m, name, fmt, errp);
        unsigned shared = m->share ? BLOCK_PERM_ALL : BLOCK_PERM_READ | BLOCK_PERM_WRITE_UNCHANGED;
        BlockClient *c = n ? block_client_new(n, "info", BLOCK_PERM_READ, shared, errp) : NULL;
        block_unref(n);
        if (!c) {
            return false;
        }
        m->image_opts = false; /* those below have names */
        g_ptr_array_add(chain, c);
        const BlockFormatOps *f = n->driver->format;
        const char *next_format = NULL,
                   *next = all && f && f->backing_name ? f->backing_name(n, &next_format) : NULL;
        g_free(name);
        g_free(fmt);
        name = next ? img_beside(block_filename(n), next) : NULL;
        fmt = g_strdup(next_format);
        if (name && seen_before(chain, name)) {
            return error_set(errp, "'%s' is its own backing file", name);
        }
    }
    return true;
}

static void free_client(gpointer p)
{
    block_client_free(p);
}

static int info_chain(Img *m, const char *first, const char *format, bool all)
{
    g_autoptr(GPtrArray) chain = g_ptr_array_new_with_free_func(free_client);
    Error *err = NULL;
    if (!open_chain(m, first, format, all, chain, &err)) {
        return tool_fail(err);
    }
    g_autoptr(Json) out = json_new_array();
    for (unsigned i = 0; i < chain->len; i++) {
        BlockNode *n = block_client_node(g_ptr_array_index(chain, i));
        if (m->json) {
            json_append(out, info_json(n));
        } else {
            printf("%s", i ? "\n" : "");
            info_human(n);
        }
    }
    if (m->json) {
        img_print_json(all ? out : json_at(out, 0));
    }
    return 0;
}

int img_cmd_info(Img *m, int argc, char **argv)
{
    static const ToolOption more[] = { { "backing-chain", IMG_LONG }, TOOL_OPTIONS_END };
    const char *format = NULL;
    bool chain = false;
    for (int c; (c = img_getopt(m, argc, argv, "Jf:U", more)) != -1;) {
        switch (c) {
        case 'f': format = optarg; break;
        case IMG_LONG: chain = true; break;
        default: return 1;
        }
    }
    if (optind != argc - 1) {
        return tool_complain("info needs one file's name");
    }
    return info_chain(m, argv[optind], format, chain);
}

/* snapshot */

typedef struct Snap {
    BlockNode *n;
    int op;
    const char *name;
    Error *err;
    bool ok;
} Snap;

static void snap_body(void *opaque)
{
    Snap *s = opaque;
    const BlockFormatOps *f = s->n->driver->format;
    s->ok = s->op == 'c'   ? f->snapshot_create(s->n, s->name, &s->err)
            : s->op == 'a' ? f->snapshot_apply(s->n, s->name, &s->err)
                           : f->snapshot_delete(s->n, s->name, &s->err);
}

/* Snapshots are deleted by name only, as by qemu-img: a number could be meant as either. */
static bool has_name(BlockNode *n, const char *name)
{
    g_autoptr(GArray) list = n->driver->format->snapshots(n);
    for (unsigned i = 0; i < list->len; i++) {
        if (strcmp(g_array_index(list, BlockSnapshot, i).name, name) == 0) {
            return true;
        }
    }
    return false;
}

int img_cmd_snapshot(Img *m, int argc, char **argv)
{
    const char *format = NULL, *name = NULL;
    int op = 0;
    Error *err = NULL;
    for (int c; (c = img_getopt(m, argc, argv, "qUf:la:c:d:", NULL)) != -1;) {
        switch (c) {
        case 'f': format = optarg; break;
        case 'l':
        case 'a':
        case 'c':
        case 'd':
            if (op) {
                return tool_complain("only one of -l, -a, -c and -d can be given");
            }
            op = c;
            name = optarg;
            break;
        default: return 1;
        }
    }
    if (optind != argc - 1) {
        return tool_complain("snapshot needs one file's name");
    }
    if (!op) {
        return 0; /* as qemu-img */
    }
    BlockClient *c = img_open_client(m, argv[optind], format, op == 'l' ? IMG_READ : IMG_WRITE, NULL, &err);
    if (!c) {
        return tool_fail(err);
    }
    Snap s = { .n = block_client_node(c), .op = op, .name = name, .ok = true };
    const BlockFormatOps *f = s.n->driver->format;
    if (op == 'l' && (!f || !f->snapshots)) {
        /* There are none. */
    } else if (!f || !f->snapshots) {
        error_set(&s.err, "images of format '%s' cannot hold snapshots", block_driver_name(s.n));
    } else if (op == 'l') {
        GArray *list = f->snapshots(s.n);
        if (list->len) {
            print_snapshots(list);
        }
        g_array_unref(list);
    } else if (op == 'd' && !has_name(s.n, name)) {
        error_set(&s.err, "Could not delete snapshot '%s': '%s' has no snapshot of that name", name,
                  argv[optind]);
    } else {
        img_co(m, snap_body, &s);
    }
    block_client_free(c);
    return s.err ? tool_fail(s.err) : 0;
}
