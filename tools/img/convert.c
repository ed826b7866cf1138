/* SPDX-License-Identifier: MIT
 * tools/img/convert.c - rhea-img convert and dd.
 *
 * Models: several coroutines take the next piece of the source in turn, read it, and write what is not zero;
 * without -W they write in the order of the pieces, so that the target's clusters lie in order. Compressed
 *         clusters are packed anyway and written as they get ready.
 * Threads: the main thread; compression is done by the block layer's workers.
 */
#include "img.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { PIECE = 2 * 1024 * 1024, MAX_REQUESTS = 16 };

typedef struct Source {
    BlockClient *c;
    int64_t start, size; /* its place in the whole */
} Source;

typedef struct Convert {
    Img *m;
    GArray *sources; /* Source */
    BlockClient *target;
    int64_t total, at; /* bytes; the next piece */
    int64_t seen_end;  /* what lies in front of it is known: zeros or not */
    bool seen_zero;
    int64_t cluster;   /* with -c */
    int64_t sparse;    /* -S; 0: everything is written */
    unsigned running;
    uint64_t next_piece, next_write; /* order of pieces; whose turn it is to write */
    CoMutex order_lock;              /* protects nothing but the hand-over of turns */
    GQueue waiting;                  /* Co * in order of pieces */
    bool compressed, any_order, target_zero, salvage;
    int64_t done;
    int error;
    int64_t error_at;
    bool error_read;
} Convert;

static Source *source_at(Convert *k, int64_t at)
{
    for (unsigned i = 0; i < k->sources->len; i++) {
        Source *s = &g_array_index(k->sources, Source, i);
        if (at >= s->start && at < s->start + s->size) {
            return s;
        }
    }
    return NULL;
}

static void fail(Convert *k, int r, int64_t at, bool reading)
{
    if (!k->error) {
        k->error = r;
        k->error_at = at;
        k->error_read = reading;
    }
}

/* Turns: a piece is written when all before it have been. */
typedef struct Turn {
    uint64_t piece;
    Co *co;
} Turn;

static void turn_wait(Convert *k, uint64_t piece)
{
    while (!k->any_order && k->next_write != piece) {
        Turn t = { piece, co_self() };
        g_queue_push_tail(&k->waiting, &t);
        co_yield ();
    }
}

static void turn_done(Convert *k)
{
    k->next_write++;
    for (GList *l = k->waiting.head; l; l = l->next) {
        Turn *t = l->data;
        if (t->piece == k->next_write) {
            g_queue_delete_link(&k->waiting, l);
            co_wake(t->co);
            return;
        }
    }
}

static int write_zero_run(Convert *k, int64_t at, int64_t len)
{
    return k->target_zero ? 0 : block_write_zeroes(k->target, at, len, k->sparse ? BLK_MAY_UNMAP : 0);
}

static int write_run(Convert *k, uint8_t *buf, int64_t at, int64_t len)
{
    IoVec v;
    iov_init_buf(&v, buf, (size_t)len);
    return block_pwritev(k->target, at, &v, k->compressed ? BLK_COMPRESSED : 0);
}

/* Zeros of at least `sparse` bytes become gaps; shorter ones are written with their neighbours. */
static int write_data(Convert *k, uint8_t *buf, int64_t at, int64_t len)
{
    if (k->compressed) {
        return buf_is_zero(buf, (size_t)len) ? write_zero_run(k, at, len) : write_run(k, buf, at, len);
    }
    if (!k->sparse) {
        return write_run(k, buf, at, len);
    }
    int64_t unit = k->sparse, from = 0;
    int r = 0;
    while (from < len && r == 0) {
        int64_t to = from + MIN(unit, len - from);
        bool zero = buf_is_zero(buf + from, (size_t)(to - from));
        while (to < len) {
            int64_t next = MIN(unit, len - to);
            if (buf_is_zero(buf + to, (size_t)next) != zero) {
                break;
            }
            to += next;
        }
        r = zero ? write_zero_run(k, at + from, to - from) : write_run(k, buf + from, at + from, to - from);
        from = to;
    }
    return r;
}

static int read_piece(Convert *k, const Source *s, uint8_t *buf, int64_t at, int64_t len)
{
    IoVec v;
    iov_init_buf(&v, buf, (size_t)len);
    int r = block_preadv(s->c, at - s->start, &v, 0);
    if (r == 0 || !k->salvage) {
        return r;
    }
    for (int64_t p = 0; p < len; p += 512) { /* what cannot be read becomes zeros */
        int64_t n = MIN(len - p, 512);
        iov_init_buf(&v, buf + p, (size_t)n);
        if (block_preadv(s->c, at + p - s->start, &v, 0) < 0) {
            fprintf(stderr,
                    "rhea-img: warning: cannot read the sector at offset %" PRId64 "; it becomes zeros\n",
                    at + p);
            memset(buf + p, 0, (size_t)n);
        }
    }
    return 0;
}

/* The next piece: within one source, of one kind, at most PIECE bytes of data; any length of zeros. */
static int next_piece(Convert *k, Source **s, int64_t *at, int64_t *len, bool *zero)
{
    *at = k->at;
    *s = source_at(k, *at);
    if (!*s) { /* behind the last source */
        *len = k->total - *at;
        *zero = true;
        return 0;
    }
    int64_t room = (*s)->start + (*s)->size - *at;
    BlockExtent e = { .bytes = MIN(room, PIECE) };
    int r = 0;
    if (*at < k->seen_end) { /* within what the last question told */
        e = (BlockExtent){ .bytes = MIN(k->seen_end - *at, room), .zero = k->seen_zero };
    } else if (k->sparse || k->compressed) {
        r = block_extent_above((*s)->c, NULL, *at - (*s)->start, room, &e);
        k->seen_end = r < 0 ? *at : *at + e.bytes;
        k->seen_zero = e.zero;
    }
    if (r < 0 && k->salvage) {
        e = (BlockExtent){ .bytes = MIN(room, 512) };
        r = 0;
    }
    *zero = e.zero;
    *len = e.zero ? e.bytes : MIN(e.bytes, PIECE);
    if (k->compressed) { /* whole clusters, each by itself */
        int64_t end = MIN((*at + k->cluster) / k->cluster * k->cluster, k->total);
        bool whole = *zero && *len >= k->cluster && *at % k->cluster == 0;
        *len = whole ? MIN(*len / k->cluster * k->cluster, k->total - *at) : end - *at;
        *zero = whole || (*zero && *at + *len == k->total && e.bytes >= *len);
    }
    return r;
}

/* A compressed cluster may reach over the border of two sources, or behind the last. */
static int read_across(Convert *k, uint8_t *buf, int64_t at, int64_t len)
{
    int r = 0;
    while (len > 0 && r == 0) {
        Source *s = source_at(k, at);
        int64_t n = s ? MIN(len, s->start + s->size - at) : len;
        if (s) {
            r = read_piece(k, s, buf, at, n);
        } else {
            memset(buf, 0, (size_t)n);
        }
        buf += n;
        at += n;
        len -= n;
    }
    return r;
}

static void convert_body(void *opaque)
{
    Convert *k = opaque;
    g_autofree uint8_t *mem = g_malloc(PIECE + 4096);
    uint8_t *buf = (uint8_t *)(((uintptr_t)mem + 4095) & ~(uintptr_t)4095); /* fits cache=none */
    for (;;) {
        Source *s;
        int64_t at, len;
        bool zero;
        co_mutex_lock(&k->order_lock); /* looking for the next piece may yield */
        if (k->at >= k->total || k->error) {
            co_mutex_unlock(&k->order_lock);
            break;
        }
        int r = next_piece(k, &s, &at, &len, &zero);
        uint64_t piece = k->next_piece++;
        k->at += r < 0 ? 0 : len;
        co_mutex_unlock(&k->order_lock);
        if (r == 0 && !zero) {
            r = read_across(k, buf, at, len);
        }
        if (r < 0) {
            fail(k, r, at, true);
        }
        turn_wait(k, piece);
        if (!k->error) {
            r = zero ? write_zero_run(k, at, len) : write_data(k, buf, at, len);
            if (r < 0) {
                fail(k, r, at, false);
            }
        }
        k->done += len;
        img_progress(k->m, k->done, k->total);
        turn_done(k);
    }
    k->running--;
}

typedef struct Flush {
    BlockClient *c;
    int r;
} Flush;

static void flush_body(void *opaque)
{
    Flush *f = opaque;
    f->r = block_flush(f->c);
}

static int convert_run(Convert *k, unsigned requests)
{
    co_mutex_init(&k->order_lock);
    g_queue_init(&k->waiting);
    k->running = requests;
    for (unsigned i = 0; i < requests; i++) {
        co_start(k->m->loop, convert_body, k);
    }
    while (k->running) {
        loop_turn(k->m->loop, true);
    }
    co_mutex_fini(&k->order_lock);
    Error *err = NULL;
    if (!k->error) {
        Flush f = { .c = k->target };
        img_co(k->m, flush_body, &f);
        if (f.r == 0) {
            img_progress_end(k->m);
            return 0;
        }
        error_set_errno(&err, -f.r, "cannot bring the output to the disk");
    } else {
        error_set_errno(&err, -k->error, "error while %s at byte %" PRId64,
                        k->error_read ? "reading" : "writing", k->error_at);
    }
    return tool_fail(err);
}

/* Options */

typedef struct Options {
    const char *format, *out_format, *backing, *backing_format, *snapshot, *cache, *source_cache;
    char *create;
    int64_t sparse;
    unsigned requests;
    bool no_create, target_opts, target_is_zero, salvage, any_order, compressed, bitmaps, skip_broken;
} Options;

static bool open_sources(Img *m, Convert *k, const Options *o, char **names, int n, Error **errp)
{
    ToolCache cache = { 0 };
    if (o->source_cache && !tool_parse_cache(o->source_cache, &cache, errp)) {
        return false;
    }
    for (int i = 0; i < n; i++) {
        Source s = { .start = k->total,
                     .c = img_open_client(m, names[i], o->format, IMG_READ, &cache, errp) };
        if (!s.c) {
            return false;
        }
        g_array_append_val(k->sources, s);
        if (o->snapshot && !img_view_snapshot(m, block_client_node(s.c), o->snapshot, errp)) {
            return false;
        }
        if (o->bitmaps && !img_bitmaps_check(block_client_node(s.c), o->skip_broken, errp)) {
            return false;
        }
        int64_t size = block_size(block_client_node(s.c));
        g_array_index(k->sources, Source, i).size = size;
        k->total += size;
    }
    return true;
}

static bool open_target(Img *m, Convert *k, const Options *o, const char *name, Error **errp)
{
    ToolCache cache = { .no_flush = true };
    if (o->cache && !tool_parse_cache(o->cache, &cache, errp)) {
        return false;
    }
    int64_t size = (k->total + 511) & ~(int64_t)511;
    if (strcmp(o->out_format, "raw") == 0) {
        size = k->total;
    }
    if (!o->no_create &&
        !img_create(m, o->out_format, name, o->create, size, o->backing, o->backing_format, false, errp)) {
        return false;
    }
    bool opts = m->image_opts, share = m->share;
    m->image_opts = o->target_opts;
    m->share = false;
    k->target = img_open_client(m, name, o->target_opts ? NULL : o->out_format, IMG_WRITE, &cache, errp);
    m->image_opts = opts;
    m->share = share;
    if (!k->target) {
        return false;
    }
    BlockNode *n = block_client_node(k->target);
    if (block_size(n) < k->total) {
        return error_set(errp, "the output '%s' is smaller than the input: %" PRId64 " of %" PRId64 " bytes",
                         name, block_size(n), k->total);
    }
    /* A new image of ours reads as zeros; so does a new file. Devices and what existed before may hold
     * anything. */
    bool device = block_file(n) && strcmp(block_driver_name(block_file(n)), "host_device") == 0;
    bool formatted = strcmp(block_driver_name(n), "raw") != 0;
    const BlockFormatOps *ops = n->driver->format;
    if (o->bitmaps && (!ops || !ops->bitmap_fits || !ops->bitmap_fits(n, "", 0, errp))) {
        if (!*errp) {
            error_set(errp, "Format driver '%s' does not support bitmaps", o->out_format);
        }
        return false;
    }
    k->target_zero = o->target_is_zero || (!o->no_create && (formatted || !device) && !o->backing);
    k->total = MAX(k->total, o->no_create ? k->total : block_size(n));
    if (k->compressed) {
        const BlockFormatOps *f = n->driver->format;
        if (!f || !f->cluster_size) {
            return error_set(errp, "-c: images of format '%s' hold no compressed data", block_driver_name(n));
        }
        k->cluster = f->cluster_size(n);
    }
    return true;
}

static int convert(Img *m, const Options *o, char **names, int n)
{
    Error *err = NULL;
    Convert k = { .m = m, .sparse = o->sparse, .compressed = o->compressed, .salvage = o->salvage };
    k.any_order = o->any_order || o->compressed;
    k.sources = g_array_new(FALSE, TRUE, sizeof(Source));
    int status = 1;
    if (!open_sources(m, &k, o, names, n - 1, &err) || !open_target(m, &k, o, names[n - 1], &err)) {
        tool_fail(err);
    } else {
        status = convert_run(&k, o->requests);
    }
    if (status == 0 && o->bitmaps &&
        !img_bitmaps_copy(block_client_node(g_array_index(k.sources, Source, 0).c),
                          block_client_node(k.target), &err)) {
        status = tool_fail(err);
    }
    block_client_free(k.target);
    for (unsigned i = 0; i < k.sources->len; i++) {
        block_client_free(g_array_index(k.sources, Source, i).c);
    }
    g_array_free(k.sources, TRUE);
    return status;
}

static bool option_size(const char *text, int64_t *out)
{
    Error *err = NULL;
    if (!img_size(text, out, &err)) {
        tool_fail(err);
        return false;
    }
    return true;
}

/* False: an error was told. */
static bool take_option(Options *o, int c)
{
    char *end;
    switch (c) {
    case 'c': o->compressed = true; break;
    case 'n': o->no_create = true; break;
    case 'W': o->any_order = true; break;
    case 'f': o->format = optarg; break;
    case 't': o->cache = optarg; break;
    case 'T': o->source_cache = optarg; break;
    case 'O': o->out_format = optarg; break;
    case 'B': o->backing = optarg; break;
    case 'F': o->backing_format = optarg; break;
    case 'l': o->snapshot = optarg; break;
    case 'o': {
        char *joined = o->create ? g_strdup_printf("%s,%s", o->create, optarg) : g_strdup(optarg);
        g_free(o->create);
        o->create = joined;
        break;
    }
    case 'S':
        if (!option_size(optarg, &o->sparse)) {
            return false;
        }
        if (o->sparse % 512 || o->sparse > PIECE) {
            tool_complain("-S must be a multiple of 512 up to 2M, which '%s' is not", optarg);
            return false;
        }
        break;
    case 'm':
        o->requests = (unsigned)strtoul(optarg, &end, 10);
        if (*end || o->requests < 1 || o->requests > MAX_REQUESTS) {
            tool_complain("-m takes a number from 1 to %d, not '%s'", MAX_REQUESTS, optarg);
            return false;
        }
        break;
    case IMG_LONG: o->salvage = true; break;
    case IMG_LONG + 1: o->target_is_zero = true; break;
    case IMG_LONG + 2: o->target_opts = true; break;
    case IMG_LONG + 3: o->bitmaps = true; break;
    case IMG_LONG + 4: o->skip_broken = true; break;
    default: return false;
    }
    return true;
}

int img_cmd_convert(Img *m, int argc, char **argv)
{
    static const struct option more[] = { { "salvage", no_argument, NULL, 0 },
                                          { "target-is-zero", no_argument, NULL, 0 },
                                          { "target-image-opts", no_argument, NULL, 0 },
                                          { "bitmaps", no_argument, NULL, 0 },
                                          { "skip-broken-bitmaps", no_argument, NULL, 0 },
                                          { NULL, 0, NULL, 0 } };
    Options o = { .out_format = "raw", .sparse = 4096, .requests = 8 };
    int status = 1;
    for (int c; (c = img_getopt(m, argc, argv, "cpqnUWf:t:T:O:B:F:o:l:S:m:", more)) != -1;) {
        if (!take_option(&o, c)) {
            g_free(o.create);
            return 1;
        }
    }
    if (o.create && strcmp(o.create, "help") == 0) {
        status = img_print_options(o.out_format);
    } else if (argc - optind < 2) {
        tool_complain("convert needs at least one input and an output");
    } else if (o.no_create && (o.create || o.backing)) {
        tool_complain("-n takes an image as it is: -o and -B make no sense with it");
    } else if (o.skip_broken && !o.bitmaps) {
        tool_complain("Use of --skip-broken-bitmaps requires --bitmaps");
    } else if (o.bitmaps && argc - optind > 2) {
        tool_complain("Copying bitmaps only possible with single source");
    } else if (o.target_opts && !o.no_create) {
        tool_complain("--target-image-opts needs -n");
    } else if (o.target_is_zero && !o.no_create) {
        tool_complain("--target-is-zero needs -n");
    } else if (o.snapshot && argc - optind > 2) {
        tool_complain("-l goes with one input");
    } else if (o.backing && !o.backing_format) {
        tool_complain("-B needs the backing file's format: -F raw or -F qcow2");
    } else {
        status = convert(m, &o, argv + optind, argc - optind);
    }
    g_free(o.create);
    return status;
}

/* dd */

int img_cmd_dd(Img *m, int argc, char **argv)
{
    const char *format = NULL, *in = NULL, *out = NULL;
    int64_t bs = 512, count = -1, skip = 0;
    Options o = { .out_format = "raw", .sparse = 4096, .requests = 8 };
    for (int c; (c = img_getopt(m, argc, argv, "Uf:O:", NULL)) != -1;) {
        switch (c) {
        case 'f': format = optarg; break;
        case 'O': o.out_format = optarg; break;
        default: return 1;
        }
    }
    for (; optind < argc; optind++) {
        const char *arg = argv[optind], *value = strchr(arg, '=');
        int64_t *number = !value                            ? NULL
                          : g_str_has_prefix(arg, "bs=")    ? &bs
                          : g_str_has_prefix(arg, "count=") ? &count
                          : g_str_has_prefix(arg, "skip=")  ? &skip
                                                            : NULL;
        if (number) {
            if (!option_size(value + 1, number)) {
                return 1;
            }
        } else if (value && g_str_has_prefix(arg, "if=")) {
            in = value + 1;
        } else if (value && g_str_has_prefix(arg, "of=")) {
            out = value + 1;
        } else {
            return tool_complain("dd does not know '%s' (bs=, count=, skip=, if=, of=)", arg);
        }
    }
    if (!in || !out || bs <= 0 || bs > INT32_MAX) {
        return tool_complain(in && out ? "bs must be from 1 to 2147483647" : "dd needs if= and of=");
    }
    Error *err = NULL;
    BlockClient *c = img_open_client(m, in, format, IMG_READ, NULL, &err);
    if (!c) {
        return tool_fail(err);
    }
    int64_t size = block_size(block_client_node(c)), from = skip > size / bs ? size : skip * bs;
    int64_t len = count >= 0 && count < (size - from + bs - 1) / bs ? count * bs : size - from;
    if (skip > 0 && from >= size) {
        fprintf(stderr, "rhea-img: warning: skip=%" PRId64 " lies behind the end of '%s'\n", skip, in);
    }
    /* The part as a source of its own, by its offset. */
    Convert k = { .m = m, .sparse = o.sparse, .sources = g_array_new(FALSE, TRUE, sizeof(Source)) };
    Source s = { .c = c, .start = -from, .size = from + len };
    g_array_append_val(k.sources, s);
    k.total = len;
    int status = open_target(m, &k, &o, out, &err) ? convert_run(&k, o.requests) : tool_fail(err);
    block_client_free(k.target);
    block_client_free(c);
    g_array_free(k.sources, TRUE);
    return status;
}
