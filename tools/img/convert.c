/* SPDX-License-Identifier: MIT
 * tools/img/convert.c - rhea-img convert: options, sources and target.
 *
 * Threads: the main thread.
 */
#include "convert.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct Options {
    const char *format, *snapshot, *source_cache;
    ConvertTarget to;
    int64_t sparse, rate;
    unsigned requests;
    bool salvage, any_order, compressed, offload, skip_broken, out_format, has_sparse;
} Options;

static bool open_sources(Img *m, Convert *k, const Options *o, char **names, int n, Error **errp)
{
    ToolCache cache = { 0 };
    if (o->source_cache && !tool_parse_cache(o->source_cache, &cache, errp)) {
        return false;
    }
    for (int i = 0; i < n; i++) {
        ConvertSource s = { .start = k->total,
                            .c = img_open_client(m, names[i], o->format, IMG_READ, &cache, errp) };
        if (!s.c) {
            return false;
        }
        g_array_append_val(k->sources, s);
        BlockNode *node = block_client_node(s.c);
        if ((o->snapshot && !tool_view_snapshot(node, o->snapshot, errp)) ||
            (o->to.bitmaps && !img_bitmaps_check(node, o->skip_broken, errp))) {
            return false;
        }
        g_array_index(k->sources, ConvertSource, i).size = block_size(node);
        k->total += tool_whole_sectors(block_size(node));
    }
    return true;
}

/* What the target's options say of a backing file; g_free. */
static char *option_text(const ConvertTarget *t, const char *key)
{
    bool from_text;
    g_autoptr(Json) o = keyval_parse(t->create ? t->create : "", NULL, &from_text, NULL);
    return g_strdup(o ? json_get_string(json_member(o, key, NULL)) : NULL);
}

/* How far the target's backing file decides what is not written. */
static bool find_base(Convert *k, const ConvertTarget *t, Error **errp)
{
    g_autofree char *opt_base = option_text(t, "backing_file"), *opt_format = option_text(t, "backing_fmt");
    const char *base = t->backing ? t->backing : opt_base,
               *format = t->backing_format ? t->backing_format : opt_format;
    k->base_size = -1;
    if (!base) {
        return true;
    }
    if (!format) {
        error_set(errp, "the backing file's format is not given");
        error_hint(errp, "name it with -F, as in -F raw or -F qcow2");
        return false;
    }
    k->base_size = INT64_MAX;
    return t->no_create || img_backing_size(k->m, t->name, base, format, &k->base_size, errp);
}

/* A new image of ours reads as zeros; so does a new file. Devices and what existed before may hold anything.
 */
static bool reads_zero(const BlockNode *n)
{
    bool device = block_file(n) && strcmp(block_driver_name(block_file(n)), "host_device") == 0;
    return strcmp(block_driver_name(n), "raw") != 0 || !device;
}

static bool judge_target(Convert *k, const ConvertTarget *t, BlockNode *n, Error **errp)
{
    const BlockFormatOps *f = n->driver->format;
    if (tool_whole_sectors(block_size(n)) < k->total) {
        return error_set(errp, "the output '%s' is smaller than the input: %" PRId64 " of %" PRId64 " bytes",
                         t->name, block_size(n), k->total);
    }
    if (t->is_zero && (block_backing(n) || k->base_size >= 0)) {
        return error_set(errp, "--target-is-zero: '%s' has a backing file, which shows through", t->name);
    }
    if (t->bitmaps && (!f || !f->bitmap_fits || !f->bitmap_fits(n, "", 0, errp))) {
        return *errp ? false : error_set(errp, "Format driver '%s' does not support bitmaps", t->format);
    }
    if (k->compressed && (!f || !f->cluster_size)) {
        return error_set(errp, "-c: images of format '%s' hold no compressed data", block_driver_name(n));
    }
    k->cluster = f && f->cluster_size ? f->cluster_size(n) : 0;
    return true;
}

/* Compressed clusters take as many bytes as they need: nothing can be reserved for them. */
static bool compression_fits(const Convert *k, const ConvertTarget *t, Error **errp)
{
    g_autofree char *reserve = option_text(t, "preallocation"), *data_file = option_text(t, "data_file");
    if (k->compressed && reserve && strcmp(reserve, "off") != 0) {
        return error_set(errp, "-c and preallocation=%s exclude each other", reserve);
    }
    return !k->compressed || !data_file || error_set(errp, "-c and data_file exclude each other");
}

bool convert_open_target(Convert *k, const ConvertTarget *t, Error **errp)
{
    Img *m = k->m;
    ToolCache cache = { .no_flush = true };
    if ((t->cache && !tool_parse_cache(t->cache, &cache, errp)) || !find_base(k, t, errp) ||
        !compression_fits(k, t, errp)) {
        return false;
    }
    if (!t->no_create &&
        !img_create(m, t->format, t->name, t->create, k->total, t->backing, t->backing_format, false, errp)) {
        return false;
    }
    bool opts = m->image_opts, share = m->share;
    m->image_opts = t->image_opts;
    m->share = false;
    k->target = img_open_client(m, t->name, t->image_opts ? NULL : t->format, IMG_WRITE, &cache, errp);
    m->image_opts = opts;
    m->share = share;
    BlockNode *n = k->target ? block_client_node(k->target) : NULL;
    if (!n || !judge_target(k, t, n, errp)) {
        return false;
    }
    k->target_zero = t->is_zero || (!t->no_create && k->base_size < 0 && reads_zero(n));
    k->total = t->no_create ? MIN(k->total, block_size(n)) : block_size(n);
    return true;
}

static int convert(Img *m, const Options *o, char **names, int n)
{
    Error *err = NULL;
    Convert k = { .m = m,
                  .sparse = o->sparse,
                  .rate = (uint64_t)o->rate,
                  .compressed = o->compressed,
                  .any_order = o->any_order || o->compressed,
                  .salvage = o->salvage,
                  .offload = o->offload,
                  .sources = g_array_new(FALSE, TRUE, sizeof(ConvertSource)) };
    int status = 1;
    if (!open_sources(m, &k, o, names, n, &err) || !convert_open_target(&k, &o->to, &err)) {
        tool_fail(err);
    } else {
        status = convert_run(&k, o->requests);
    }
    if (status == 0 && o->to.bitmaps &&
        !img_bitmaps_copy(block_client_node(g_array_index(k.sources, ConvertSource, 0).c),
                          block_client_node(k.target), &err)) {
        status = tool_fail(err);
    }
    block_client_free(k.target);
    for (unsigned i = 0; i < k.sources->len; i++) {
        block_client_free(g_array_index(k.sources, ConvertSource, i).c);
    }
    g_array_free(k.sources, TRUE);
    return status;
}

enum { SALVAGE = IMG_LONG, TARGET_IS_ZERO, TARGET_OPTS, BITMAPS, SKIP_BROKEN };

static bool take_size(const char *option, int64_t *out)
{
    Error *err = NULL;
    if (!img_size(optarg, out, &err)) {
        error_prefix(&err, "%s", option);
        tool_fail(err);
        return false;
    }
    return true;
}

/* Options with a number. False: an error was told. */
static bool take_number(Options *o, int c)
{
    enum { MAX_SPARSE = 16 * 1024 * 1024 };
    char *end;
    switch (c) {
    case 'S':
        o->has_sparse = true;
        if (!take_size("-S", &o->sparse)) {
            return false;
        }
        if (o->sparse % 512 || o->sparse > MAX_SPARSE) {
            tool_complain("-S must be a multiple of 512 up to 16M, which '%s' is not; 0: no gaps", optarg);
            return false;
        }
        return true;
    case 'm':
        o->requests = (unsigned)strtoul(optarg, &end, 10);
        if (*end || o->requests < 1 || o->requests > CONVERT_MAX_REQUESTS) {
            tool_complain("-m takes a number from 1 to %d, not '%s'", CONVERT_MAX_REQUESTS, optarg);
            return false;
        }
        return true;
    case 'r': return take_size("-r", &o->rate);
    default: return false;
    }
}

/* False: an error was told. */
static bool take_option(Options *o, int c)
{
    switch (c) {
    case 'c': o->compressed = true; break;
    case 'C': o->offload = true; break;
    case 'n': o->to.no_create = true; break;
    case 'W': o->any_order = true; break;
    case 'f': o->format = optarg; break;
    case 't': o->to.cache = optarg; break;
    case 'T': o->source_cache = optarg; break;
    case 'O':
        o->to.format = optarg;
        o->out_format = true;
        break;
    case 'B': o->to.backing = optarg; break;
    case 'F': o->to.backing_format = optarg; break;
    case 'l': o->snapshot = optarg; break;
    case 'o': img_join_options(&o->to.create, optarg); break;
    case SALVAGE: o->salvage = true; break;
    case TARGET_IS_ZERO: o->to.is_zero = true; break;
    case TARGET_OPTS: o->to.image_opts = true; break;
    case BITMAPS: o->to.bitmaps = true; break;
    case SKIP_BROKEN: o->skip_broken = true; break;
    default: return take_number(o, c);
    }
    return true;
}

/* What is wrong with the options together; NULL: nothing. */
static const char *contradiction(const Options *o, int sources)
{
    const ConvertTarget *t = &o->to;
    return t->no_create && t->create        ? "-n takes an image as it is: -o makes no sense with it"
           : o->skip_broken && !t->bitmaps  ? "Use of --skip-broken-bitmaps requires --bitmaps"
           : t->bitmaps && sources > 1      ? "Copying bitmaps only possible with single source"
           : t->image_opts && !t->no_create ? "--target-image-opts needs -n"
           : t->image_opts && o->out_format ? "--target-image-opts and -O exclude each other"
           : t->is_zero && !t->no_create    ? "--target-is-zero needs -n"
           : o->snapshot && sources > 1     ? "-l goes with one input"
           : o->offload && o->compressed    ? "-C copies bytes as they are: -c makes no sense with it"
           : o->offload && o->has_sparse    ? "-C copies zeros as well: -S makes no sense with it"
           : o->offload && o->salvage ? "-C cannot tell which sectors are unreadable, as --salvage wants"
                                      : NULL;
}

int img_cmd_convert(Img *m, int argc, char **argv)
{
    static const ToolOption more[] = {
        { "salvage", SALVAGE }, { "target-is-zero", TARGET_IS_ZERO },   { "target-image-opts", TARGET_OPTS },
        { "bitmaps", BITMAPS }, { "skip-broken-bitmaps", SKIP_BROKEN }, TOOL_OPTIONS_END
    };
    Options o = { .to.format = "raw", .sparse = 4096, .requests = 8 };
    int status = 1;
    for (int c; (c = img_getopt(m, argc, argv, "CcpqnUWf:t:T:O:B:F:o:l:S:m:r:", more)) != -1;) {
        if (!take_option(&o, c)) {
            g_free(o.to.create);
            return 1;
        }
    }
    const char *wrong = contradiction(&o, argc - optind - 1);
    if (img_asks_help(o.to.create)) {
        status = img_print_options(o.to.format);
    } else if (argc - optind < 2) {
        tool_complain("convert needs at least one input and an output");
    } else if (wrong) {
        tool_complain("%s", wrong);
    } else {
        o.to.name = argv[argc - 1];
        status = convert(m, &o, argv + optind, argc - optind - 1);
    }
    g_free(o.to.create);
    return status;
}
