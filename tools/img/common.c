/* SPDX-License-Identifier: MIT
 * tools/img/common.c - rhea-img: options, opening, messages, progress.
 *
 * Threads: the main thread.
 */
#include "img.h"
#include "rhea/util/log.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

int img_fail(Error *err)
{
    error_report(err);
    return 1;
}

int img_complain(const char *fmt, ...)
{
    Error *err = NULL;
    va_list ap;
    va_start(ap, fmt);
    g_autofree char *text = g_strdup_vprintf(fmt, ap);
    va_end(ap);
    error_set(&err, "%s", text);
    return img_fail(err);
}

static void usage(const Img *m)
{
    for (const ImgCommand *c = img_commands; c->name; c++) {
        if (strcmp(c->name, m->command) == 0) {
            printf("usage: rhea-img %s %s\n%s\n", c->name, c->usage, c->help);
        }
    }
}

static int parse_output(Img *m, const char *text)
{
    m->json = strcmp(text, "json") == 0;
    if (!m->json && strcmp(text, "human") != 0) {
        img_complain("--output must be used with human or json as argument, not '%s'", text);
        return '?';
    }
    return 0;
}

int img_getopt(Img *m, int argc, char **argv, const char *letters, const struct option *more)
{
    struct option all[16] = { { "help", no_argument, NULL, IMG_OPT_HELP },
                              { "image-opts", no_argument, NULL, IMG_OPT_IMAGE_OPTS },
                              { "output", required_argument, NULL, IMG_OPT_OUTPUT } };
    g_autofree char *text = g_strdup_printf(":h%s", letters);
    unsigned n = strstr(letters, "J") ? 3 : 2; /* "J": the command has --output */
    for (unsigned i = 0; more && more[i].name; i++) {
        all[n] = more[i];
        all[n++].val = IMG_LONG + (int)i;
    }
    all[n] = (struct option){ NULL, 0, NULL, 0 };
    for (;;) {
        int c = getopt_long(argc, argv, text, all, NULL);
        switch (c) {
        case 'h':
        case IMG_OPT_HELP: usage(m); exit(0);
        case 'q': m->quiet = true; break;
        case 'p': m->progress = true; break;
        case 'U': m->share = true; break;
        case IMG_OPT_IMAGE_OPTS: m->image_opts = true; break;
        case IMG_OPT_OUTPUT:
            if (parse_output(m, optarg)) {
                return '?';
            }
            break;
        case ':': img_complain("option '%s' needs an argument", argv[optind - 1]); return '?';
        case '?':
        case 'J':
            img_complain("option '%s' is not known to '%s'; try 'rhea-img %s --help'", argv[optind - 1],
                         m->command, m->command);
            return '?';
        default: return c;
        }
    }
}

bool img_parse_cache(const char *text, ImgCache *out, Error **errp)
{
    static const struct {
        const char *name;
        ImgCache cache;
    } modes[] = {
        { "none", { .direct = true } },
        { "off", { .direct = true } },
        { "writeback", { 0 } },
        { "writethrough", { .write_through = true } },
        { "directsync", { .direct = true, .write_through = true } },
        { "unsafe", { .no_flush = true } },
    };
    for (unsigned i = 0; i < G_N_ELEMENTS(modes); i++) {
        if (strcmp(modes[i].name, text) == 0) {
            *out = modes[i].cache;
            return true;
        }
    }
    error_set(errp, "cache mode '%s' is not known", text);
    error_hint(errp, "it is one of none, writeback, writethrough, directsync, unsafe");
    return false;
}

static void put_flag(Json *o, const char *key, bool on, bool from_text)
{
    json_put(o, key, from_text ? json_new_string(on ? "on" : "off") : json_new_bool(on));
}

/* What the options of an image need besides what the user wrote. */
static void complete(const Img *m, Json *o, ImgMode mode, const ImgCache *cache, bool from_text)
{
    bool found;
    put_flag(o, "read-only", mode == IMG_READ, from_text);
    if (m->share && mode == IMG_READ) {
        put_flag(o, "force-share", true, from_text);
    }
    json_member(o, "cache", &found);
    if (cache && !found) {
        Json *c = json_new_object();
        put_flag(c, "direct", cache->direct, from_text);
        put_flag(c, "no-flush", cache->no_flush, from_text);
        json_put(o, "cache", c);
    }
    Json *file = json_member(o, "file", &found);
    if (found && json_kind(file) == JSON_OBJECT) {
        json_member(file, "driver", &found);
        if (!found) {
            json_put(file, "driver", json_new_string("file"));
        }
    }
}

BlockNode *img_open(Img *m, const char *name, const char *format, ImgMode mode, const ImgCache *cache,
                    Error **errp)
{
    bool from_text = false;
    g_autoptr(Json) o =
        m->image_opts ? keyval_parse(name, NULL, &from_text, errp) : block_image_options(name, format, errp);
    if (m->image_opts && format) {
        error_set(errp, "--image-opts and a format exclude each other; write driver=%s", format);
        return NULL;
    }
    if (!o) {
        return NULL;
    }
    complete(m, o, mode, cache, from_text);
    return block_open(m->graph, o, from_text, errp);
}

BlockClient *img_open_client(Img *m, const char *name, const char *format, ImgMode mode,
                             const ImgCache *cache, Error **errp)
{
    BlockNode *n = img_open(m, name, format, mode, cache, errp);
    if (!n) {
        return NULL;
    }
    unsigned perm = BLOCK_PERM_READ | (mode == IMG_WRITE ? BLOCK_PERM_WRITE | BLOCK_PERM_RESIZE : 0);
    /* As qemu-img: others may read meanwhile, and not write. */
    unsigned shared =
        m->share && mode == IMG_READ ? BLOCK_PERM_ALL : BLOCK_PERM_READ | BLOCK_PERM_WRITE_UNCHANGED;
    BlockClient *c = block_client_new(n, "rhea-img", perm, shared, errp);
    if (c && cache) {
        block_client_set_write_through(c, cache->write_through);
    }
    block_unref(n);
    return c;
}

bool img_size(const char *text, int64_t *out, Error **errp)
{
    uint64_t v;
    if (!text_to_size(text, 'b', &v, errp)) {
        return false;
    }
    if (v > INT64_MAX - 511) {
        return error_set(errp, "'%s' is more than an image can have", text);
    }
    *out = (int64_t)v;
    return true;
}

void img_print_json(const Json *j)
{
    printf("%s\n",
           json_object_to_json_string_ext((Json *)j, JSON_C_TO_STRING_PRETTY | JSON_C_TO_STRING_SPACED |
                                                         JSON_C_TO_STRING_NOSLASHESCAPE));
}

char *img_text_size(uint64_t bytes)
{
    static const char *const units[] = { "B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB" };
    double v = (double)bytes;
    unsigned u = 0;
    while (v >= 1000 && u + 1 < G_N_ELEMENTS(units)) { /* at most three digits in front */
        v /= 1024;
        u++;
    }
    return g_strdup_printf("%.3g %s", v, units[u]);
}

void img_progress(Img *m, int64_t done, int64_t total)
{
    static int last = -1;
    int now = total ? (int)((double)done * 10000 / (double)total) : 10000;
    if (m->progress && !m->quiet && now != last) {
        printf("    (%d.%02d/100%%)\r", now / 100, now % 100);
        fflush(stdout);
        last = now;
    }
}

void img_progress_end(Img *m)
{
    if (m->progress && !m->quiet) {
        img_progress(m, 1, 1);
        printf("\n");
    }
}

void img_co(Img *m, void (*fn)(void *opaque), void *opaque)
{
    co_run_sync(m->loop, fn, opaque);
}

typedef struct View {
    BlockNode *n;
    const char *name;
    Error *err;
    bool ok;
} View;

static void view_body(void *opaque)
{
    View *v = opaque;
    const BlockFormatOps *f = v->n->driver->format;
    v->ok = f && f->snapshot_view ? f->snapshot_view(v->n, v->name, &v->err)
                                  : error_set(&v->err, "'%s' cannot hold snapshots", block_filename(v->n));
}

bool img_view_snapshot(Img *m, BlockNode *n, const char *snapshot, Error **errp)
{
    View v = { .n = n,
               .name = g_str_has_prefix(snapshot, "snapshot.id=")     ? snapshot + 12
                       : g_str_has_prefix(snapshot, "snapshot.name=") ? snapshot + 14
                                                                      : snapshot };
    img_co(m, view_body, &v);
    return v.ok || error_propagate(errp, v.err);
}
