/* SPDX-License-Identifier: MIT
 * tools/img/info.c - rhea-img info, snapshot, check and map.
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

static char *full_backing_name(const BlockNode *n, const char *name)
{
    if (g_path_is_absolute(name) || g_str_has_prefix(name, "json:")) {
        return g_strdup(name);
    }
    g_autofree char *folder = g_path_get_dirname(block_filename(n));
    return strcmp(folder, ".") == 0 ? g_strdup(name) : g_build_filename(folder, name, NULL);
}

static Json *info_json(BlockNode *n)
{
    const BlockFormatOps *f = n->driver->format;
    Json *j = json_new_object();
    json_put(j, "virtual-size", json_new_int(block_size(n)));
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
        g_autofree char *full = full_backing_name(n, backing);
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
    int64_t used = block_allocated_bytes(n);
    g_autofree char *size = img_text_size((uint64_t)block_size(n));
    g_autofree char *disk = used < 0 ? g_strdup("unavailable") : img_text_size((uint64_t)used);
    printf("image: %s\nfile format: %s\nvirtual size: %s (%" PRId64 " bytes)\ndisk size: %s\n",
           block_filename(n), block_driver_name(n), size, block_size(n), disk);
    if (f && f->is_dirty && f->is_dirty(n)) {
        printf("cleanly shut down: no\n");
    }
    if (f && f->cluster_size) {
        printf("cluster_size: %" PRId64 "\n", f->cluster_size(n));
    }
    const char *format = NULL, *backing = f && f->backing_name ? f->backing_name(n, &format) : NULL;
    if (backing) {
        g_autofree char *full = full_backing_name(n, backing);
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

static bool seen_before(GPtrArray *names, const char *name)
{
    for (unsigned i = 0; i < names->len; i++) {
        if (strcmp(g_ptr_array_index(names, i), name) == 0) {
            return true;
        }
    }
    g_ptr_array_add(names, g_strdup(name));
    return false;
}

static int info_chain(Img *m, const char *first, const char *format, bool chain)
{
    g_autoptr(GPtrArray) names = g_ptr_array_new_with_free_func(g_free);
    g_autofree char *name = g_strdup(first), *fmt = g_strdup(format);
    Json *out = json_new_array();
    Error *err = NULL;
    for (bool more = true; more;) {
        if (seen_before(names, name)) {
            error_set(&err, "'%s' is its own backing file", name);
            break;
        }
        BlockNode *n = open_alone(m, name, fmt, &err);
        /* Holding the locks of a reader for the moment. */
        BlockClient *c =
            n ? block_client_new(n, "info", BLOCK_PERM_READ,
                                 m->share ? BLOCK_PERM_ALL : BLOCK_PERM_READ | BLOCK_PERM_WRITE_UNCHANGED,
                                 &err)
              : NULL;
        if (!c) {
            block_unref(n);
            break;
        }
        if (m->json) {
            json_append(out, info_json(n));
        } else {
            printf("%s", names->len > 1 ? "\n" : "");
            info_human(n);
        }
        const BlockFormatOps *f = n->driver->format;
        const char *next_format = NULL,
                   *next = f && f->backing_name ? f->backing_name(n, &next_format) : NULL;
        more = chain && next;
        if (more) {
            char *full = full_backing_name(n, next);
            g_free(name);
            name = full;
            g_free(fmt);
            fmt = g_strdup(next_format);
        }
        block_client_free(c);
        block_unref(n);
    }
    if (!err && m->json) {
        img_print_json(chain ? out : json_at(out, 0));
    }
    json_unref(out);
    return err ? tool_fail(err) : 0;
}

int img_cmd_info(Img *m, int argc, char **argv)
{
    static const struct option more[] = { { "backing-chain", no_argument, NULL, 0 }, { NULL, 0, NULL, 0 } };
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
    op = op ? op : 'l';
    BlockClient *c = img_open_client(m, argv[optind], format, op == 'l' ? IMG_READ : IMG_WRITE, NULL, &err);
    if (!c) {
        return tool_fail(err);
    }
    Snap s = { .n = block_client_node(c), .op = op, .name = name, .ok = true };
    const BlockFormatOps *f = s.n->driver->format;
    if (!f || !f->snapshots) {
        error_set(&s.err, "images of format '%s' cannot hold snapshots", block_driver_name(s.n));
    } else if (op == 'l') {
        GArray *list = f->snapshots(s.n);
        if (list->len) {
            print_snapshots(list);
        }
        g_array_unref(list);
    } else {
        img_co(m, snap_body, &s);
    }
    block_client_free(c);
    return s.err ? tool_fail(s.err) : 0;
}

/* check */

typedef struct Check {
    BlockNode *n;
    BlockCheck res;
    unsigned fix;
    Error *err;
} Check;

static void check_body(void *opaque)
{
    Check *k = opaque;
    k->n->driver->format->check(k->n, &k->res, k->fix, &k->err);
}

static void check_say(void *opaque, const char *text)
{
    const Img *m = opaque;
    if (!m->quiet) {
        fprintf(m->json ? stderr : stdout, "%s\n", text);
    }
}

static void check_print_json(const Check *k)
{
    const BlockCheck *r = &k->res;
    const struct {
        const char *name;
        int64_t value;
        bool always;
    } rows[] = {
        { "image-end-offset", r->image_end, false },
        { "total-clusters", r->total_clusters, false },
        { "check-errors", r->check_errors, true },
        { "allocated-clusters", r->allocated_clusters, false },
        { "fragmented-clusters", r->fragmented_clusters, false },
        { "compressed-clusters", r->compressed_clusters, false },
        { "leaks", r->leaks, false },
        { "leaks-fixed", r->leaks_fixed, false },
        { "corruptions", r->corruptions, false },
        { "corruptions-fixed", r->corruptions_fixed, false },
    };
    Json *j = json_new_object();
    for (unsigned i = 0; i < G_N_ELEMENTS(rows); i++) {
        if (rows[i].value || rows[i].always) {
            json_put(j, rows[i].name, json_new_int(rows[i].value));
        }
    }
    json_put(j, "filename", json_new_string(block_filename(k->n)));
    json_put(j, "format", json_new_string(block_driver_name(k->n)));
    img_print_json(j);
    json_unref(j);
}

static void check_print(const Check *k)
{
    const BlockCheck *r = &k->res;
    if (!r->corruptions && !r->leaks && !r->check_errors) {
        printf("No errors were found on the image.\n");
    }
    if (r->corruptions) {
        printf("\n%" PRId64 " errors were found on the image.\n"
               "Data may be corrupted, or further writes to the image may corrupt it.\n",
               r->corruptions);
    }
    if (r->leaks) {
        printf("\n%" PRId64 " leaked clusters were found on the image.\n"
               "This means waste of disk space, but no harm to data.\n",
               r->leaks);
    }
    if (r->check_errors) {
        printf("\n%" PRId64 " internal errors have occurred during the check.\n", r->check_errors);
    }
    if (r->total_clusters && r->allocated_clusters) {
        printf("%" PRId64 "/%" PRId64
               " = %0.2f%% allocated, %0.2f%% fragmented, %0.2f%% compressed clusters\n",
               r->allocated_clusters, r->total_clusters,
               (double)r->allocated_clusters * 100 / (double)r->total_clusters,
               (double)r->fragmented_clusters * 100 / (double)r->allocated_clusters,
               (double)r->compressed_clusters * 100 / (double)r->allocated_clusters);
    }
    if (r->image_end) {
        printf("Image end offset: %" PRId64 "\n", r->image_end);
    }
}

int img_cmd_check(Img *m, int argc, char **argv)
{
    const char *format = NULL;
    ToolCache cache = { 0 };
    Check k = { .fix = 0 };
    Error *err = NULL;
    for (int c; (c = img_getopt(m, argc, argv, "Jqf:r:T:U", NULL)) != -1;) {
        switch (c) {
        case 'f': format = optarg; break;
        case 'r':
            k.fix = strcmp(optarg, "leaks") == 0 ? BLOCK_FIX_LEAKS
                    : strcmp(optarg, "all") == 0 ? BLOCK_FIX_LEAKS | BLOCK_FIX_ERRORS
                                                 : 0;
            if (!k.fix) {
                return tool_complain("-r takes leaks or all, not '%s'", optarg);
            }
            break;
        case 'T':
            if (!tool_parse_cache(optarg, &cache, &err)) {
                return tool_fail(err);
            }
            break;
        default: return 1;
        }
    }
    if (optind != argc - 1) {
        return tool_complain("check needs one file's name");
    }
    k.n = img_open(m, argv[optind], format, k.fix ? IMG_WRITE : IMG_READ, &cache, &err);
    if (!k.n) {
        return tool_fail(err);
    }
    if (!k.n->driver->format || !k.n->driver->format->check) {
        tool_complain("images of format '%s' have nothing to check", block_driver_name(k.n));
        block_unref(k.n);
        return 63;
    }
    k.res.say = check_say;
    k.res.opaque = m;
    img_co(m, check_body, &k);
    if ((k.res.leaks_fixed || k.res.corruptions_fixed) && !k.err) {
        int64_t leaks = k.res.leaks_fixed, errors = k.res.corruptions_fixed;
        if (!m->json && !m->quiet) {
            printf("The following inconsistencies were found and repaired:\n\n    %" PRId64
                   " leaked clusters\n    %" PRId64
                   " corruptions\n\nDouble checking the fixed image now...\n",
                   leaks, errors);
        }
        k.res = (BlockCheck){ .say = check_say, .opaque = m };
        k.fix = 0;
        img_co(m, check_body, &k);
        k.res.leaks_fixed = leaks;
        k.res.corruptions_fixed = errors;
    }
    if (m->json) {
        check_print_json(&k);
    } else if (!m->quiet) {
        check_print(&k);
    }
    int status = k.err || k.res.check_errors ? 1 : k.res.corruptions ? 2 : k.res.leaks ? 3 : 0;
    block_unref(k.n);
    if (k.err) {
        tool_fail(k.err);
    }
    return status;
}

/* map */

typedef struct Map {
    Img *m;
    BlockClient *c;
    int64_t from, to;
    BlockExtent run; /* printed when something else follows; bytes == 0: nothing */
    int64_t start;
    GHashTable *judged; /* BlockNode -> was it preallocated? */
    Error *err;
    const char *filename;
} Map;

static void map_print(Map *k)
{
    const BlockExtent *e = &k->run;
    if (!e->bytes) {
        return;
    }
    if (k->m->json) {
        printf("%s{ \"start\": %" PRId64 ", \"length\": %" PRId64
               ", \"depth\": %u, \"present\": %s, \"zero\": %s, "
               "\"data\": %s",
               k->start == k->from ? "[" : ",\n", k->start, e->bytes, e->depth,
               e->allocated ? "true" : "false", e->zero ? "true" : "false", e->data ? "true" : "false");
        if (e->host) {
            printf(", \"offset\": %" PRId64, e->host_off);
        }
        printf("}");
    } else if (e->data && !e->zero) {
        if (!e->host) {
            error_set(&k->err,
                      "'%s' holds compressed clusters, which --output=human cannot show; use --output=json",
                      k->filename);
            return;
        }
        printf("%#-16" PRIx64 "%#-16" PRIx64 "%#-16" PRIx64 "%s\n", k->start, e->bytes, e->host_off,
               block_filename(e->host));
    }
}

/* Holes below a format say something only when the image was preallocated: it uses more clusters than the
 * host has allocated for its file. Else they are clusters whose data has not reached the disk yet. */
static bool is_preallocated(BlockNode *top, const BlockNode *file)
{
    const BlockFormatOps *f = top->driver->format;
    int64_t bytes = block_allocated_bytes(file), have = bytes / f->cluster_size(top);
    return bytes >= 0 && f->used_clusters(top) >= MAX(have * 10 / 9, have + 2);
}

/* A hole of the file below reads as zeros. */
static int look_below(Map *k, BlockNode *top, BlockExtent *e)
{
    if (!e->data || e->zero || !e->host || !e->host->driver->extent || e->host->driver->format) {
        return 0;
    }
    for (unsigned i = 0; i < e->depth; i++) {
        top = block_backing(top); /* the layer that the data belongs to */
    }
    const BlockFormatOps *f = top->driver->format;
    if (f && f->used_clusters) {
        gpointer yes;
        if (!g_hash_table_lookup_extended(k->judged, top, NULL, &yes)) {
            yes = GINT_TO_POINTER(is_preallocated(top, e->host));
            g_hash_table_insert(k->judged, top, yes);
        }
        if (!yes) {
            return 0;
        }
    }
    BlockExtent low;
    int64_t left = block_size(e->host) - e->host_off;
    if (left <= 0) {
        e->zero = true;
        return 0;
    }
    int r = node_extent(e->host, e->host_off, MIN(e->bytes, left), &low);
    if (r == 0) {
        e->bytes = low.bytes;
        e->zero = low.zero;
    }
    return r;
}

static void map_body(void *opaque)
{
    Map *k = opaque;
    for (int64_t at = k->from; at < k->to && !k->err;) {
        BlockExtent e;
        int r = block_extent_above(k->c, NULL, at, k->to - at, &e);
        r = r < 0 ? r : look_below(k, block_client_node(k->c), &e);
        if (r < 0) {
            error_set_errno(&k->err, -r, "cannot tell what lies at offset %" PRId64, at);
            return;
        }
        BlockExtent *p = &k->run;
        bool joins = p->bytes && p->data == e.data && p->zero == e.zero && p->depth == e.depth &&
                     p->allocated == e.allocated && p->host == e.host && p->compressed == e.compressed &&
                     (!e.host || e.host_off == p->host_off + p->bytes);
        if (joins) {
            p->bytes += e.bytes;
        } else {
            map_print(k);
            *p = e;
            k->start = at;
        }
        at += e.bytes;
    }
    if (!k->err) {
        map_print(k);
    }
}

int img_cmd_map(Img *m, int argc, char **argv)
{
    static const struct option more[] = { { "start-offset", required_argument, NULL, 0 },
                                          { "max-length", required_argument, NULL, 0 },
                                          { NULL, 0, NULL, 0 } };
    const char *format = NULL;
    int64_t start = 0, length = -1;
    Error *err = NULL;
    for (int c; (c = img_getopt(m, argc, argv, "JUf:", more)) != -1;) {
        switch (c) {
        case 'f': format = optarg; break;
        case IMG_LONG:
        case IMG_LONG + 1:
            if (!img_size(optarg, c == IMG_LONG ? &start : &length, &err)) {
                return tool_fail(err);
            }
            break;
        default: return 1;
        }
    }
    if (optind != argc - 1) {
        return tool_complain("map needs one file's name");
    }
    BlockClient *c = img_open_client(m, argv[optind], format, IMG_READ, NULL, &err);
    if (!c) {
        return tool_fail(err);
    }
    int64_t size = block_size(block_client_node(c));
    Map k = { .m = m, .c = c, .from = MIN(start, size), .to = size, .filename = argv[optind] };
    if (length >= 0 && length < size - k.from) {
        k.to = k.from + length;
    }
    if (!m->json) {
        printf("%-16s%-16s%-16s%s\n", "Offset", "Length", "Mapped to", "File");
    }
    k.judged = g_hash_table_new(NULL, NULL);
    img_co(m, map_body, &k);
    g_hash_table_destroy(k.judged);
    if (m->json) {
        printf("%s]\n", k.from < k.to ? "" : "[");
    }
    block_client_free(c);
    return k.err ? tool_fail(k.err) : 0;
}
