/* SPDX-License-Identifier: MIT
 * tools/img/common.c - rhea-img: options, opening, messages, progress.
 *
 * Threads: the main thread.
 */
#include "img.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static void usage(const Img *m)
{
    for (const ImgCommand *c = img_commands; c->name; c++) {
        if (strcmp(c->name, m->command) == 0) {
            printf("usage: rhea-img %s %s\n%s\n", c->name, c->usage, c->help);
        }
    }
}

/* SIGUSR1: how far is it? */
static volatile sig_atomic_t asked;

static void take_usr1(int sig)
{
    asked = 1;
}

void img_progress_init(void)
{
    signal(SIGUSR1, take_usr1);
}

char *img_beside(const char *image, const char *name)
{
    if (g_path_is_absolute(name) || g_str_has_prefix(name, "json:")) {
        return g_strdup(name);
    }
    g_autofree char *folder = g_path_get_dirname(image);
    return strcmp(folder, ".") == 0 ? g_strdup(name) : g_build_filename(folder, name, NULL);
}

void img_join_options(char **all, const char *more)
{
    char *joined = *all ? g_strdup_printf("%s,%s", *all, more) : g_strdup(more);
    g_free(*all);
    *all = joined;
}

bool img_asks_help(const char *options)
{
    g_auto(GStrv) words = g_strsplit(options ? options : "", ",", -1);
    return g_strv_contains((const char *const *)words, "help") ||
           g_strv_contains((const char *const *)words, "?");
}

static int parse_output(Img *m, const char *text)
{
    m->json = strcmp(text, "json") == 0;
    if (!m->json && strcmp(text, "human") != 0) {
        tool_complain("--output must be used with human or json as argument, not '%s'", text);
        return '?';
    }
    return 0;
}

/* What every command takes or refuses; with the letter that must be among the command's for it to. */
static const struct {
    ToolOption o;
    char with;
} common[] = {
    { { "help", 'h' } },
    { { "image-opts", IMG_OPT_IMAGE_OPTS } },
    { { "object", IMG_OPT_OBJECT, true, TOOL_NO_OBJECT } },
    { { "output", IMG_OPT_OUTPUT, true }, 'J' },
    { { "format", 'f', true }, 'J' },
    { { "force-share", 'U' }, 'U' },
};

/* A command's options as one table: its letters, its own long ones, the common ones. */
static void make_options(const char *letters, const ToolOption *more, ToolOption *out, unsigned room)
{
    unsigned n = 0;
    for (; more && more->c; more++) {
        out[n++] = *more;
    }
    for (unsigned i = 0; i < G_N_ELEMENTS(common); i++) {
        if (!common[i].with || strchr(letters, common[i].with)) {
            out[n++] = common[i].o;
        }
    }
    for (const char *p = letters; *p; p++) {
        if (*p != ':' && *p != 'J') {
            out[n++] = (ToolOption){ NULL, *p, p[1] == ':' };
        }
    }
    g_assert(n < room);
    out[n] = (ToolOption)TOOL_OPTIONS_END;
}

int img_getopt(Img *m, int argc, char **argv, const char *letters, const ToolOption *more)
{
    ToolOption all[64];
    make_options(letters, more, all, G_N_ELEMENTS(all));
    for (;;) {
        int c = tool_getopt(argc, argv, all);
        switch (c) {
        case 'h': usage(m); exit(0);
        case 'q': m->quiet = true; break;
        case 'p': m->progress = true; break;
        case 'U': m->share = true; break;
        case IMG_OPT_IMAGE_OPTS: m->image_opts = true; break;
        case IMG_OPT_OUTPUT:
            if (parse_output(m, optarg)) {
                return '?';
            }
            break;
        default: return c;
        }
    }
}

BlockNode *img_open(Img *m, const char *name, const char *format, ImgMode mode, const ToolCache *cache,
                    Error **errp)
{
    ToolImage i = { .name = name,
                    .format = format,
                    .image_opts = m->image_opts,
                    .writable = mode == IMG_WRITE,
                    .share = m->share,
                    .cache = cache };
    return tool_open(m->graph, &i, errp);
}

BlockClient *img_open_client(Img *m, const char *name, const char *format, ImgMode mode,
                             const ToolCache *cache, Error **errp)
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
    } else if (asked) {
        asked = 0;
        fprintf(stderr, "    (%d.%02d/100%%)\n", now / 100, now % 100);
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
