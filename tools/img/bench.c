/* SPDX-License-Identifier: MIT
 * tools/img/bench.c - rhea-img bench: how fast are requests of one size, so many at a time?
 *
 * Models: with --flush-interval, so many requests, then (when all of them are done, unless --no-drain) a
 * flush. Threads: the main thread.
 */
#include "img.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct Bench {
    BlockClient *c;
    Loop *loop;
    int64_t count, depth, size, step, offset, interval;
    bool write, drain;
    int pattern;
    int64_t left, done; /* requests to start, of this round; all that are finished */
    unsigned running;
    int error;
} Bench;

static int64_t next_offset(Bench *b)
{
    int64_t at = b->offset, room = block_size(block_client_node(b->c)) - b->size;
    b->offset += b->step;
    if (b->offset > room) {
        b->offset = room > 0 ? b->offset % room : 0;
    }
    return at;
}

static void bench_body(void *opaque)
{
    Bench *b = opaque;
    uint8_t *buf = g_aligned_alloc(1, (gsize)MAX(b->size, 1), 4096);
    memset(buf, b->pattern, (size_t)b->size);
    while (b->left > 0 && !b->error) {
        IoVec v;
        b->left--;
        iov_init_buf(&v, buf, (size_t)b->size);
        int64_t at = next_offset(b);
        int r = b->write ? block_pwritev(b->c, at, &v, 0) : block_preadv(b->c, at, &v, 0);
        b->done++;
        if (r == 0 && b->interval && !b->drain && b->done % b->interval == 0) {
            r = block_flush(b->c);
        }
        b->error = b->error ? b->error : r;
    }
    g_aligned_free(buf);
    b->running--;
}

static void flush_body(void *opaque)
{
    Bench *b = opaque;
    int r = block_flush(b->c);
    b->error = b->error ? b->error : r;
}

static void bench_run(Bench *b)
{
    int64_t round = b->interval && b->drain ? b->interval : b->count;
    while (b->done < b->count && !b->error) {
        b->left = MIN(round, b->count - b->done);
        b->running = (unsigned)MIN(b->depth, b->left);
        for (unsigned i = b->running; i > 0; i--) {
            co_start(b->loop, bench_body, b);
        }
        while (b->running) {
            loop_turn(b->loop, true);
        }
        if (b->interval && b->drain && !b->error) {
            co_run_sync(b->loop, flush_body, b);
        }
    }
}

static int bench(Img *m, Bench *b, const ToolImage *image, bool write_through)
{
    Error *err = NULL;
    BlockNode *n = tool_open(m->graph, image, &err);
    unsigned perm = BLOCK_PERM_READ | (b->write ? BLOCK_PERM_WRITE : 0);
    unsigned shared = image->share ? BLOCK_PERM_ALL : BLOCK_PERM_READ | BLOCK_PERM_WRITE_UNCHANGED;
    b->c = n ? block_client_new(n, "rhea-img", perm, shared, &err) : NULL;
    block_unref(n);
    if (!b->c) {
        return tool_fail(err);
    }
    block_client_set_write_through(b->c, write_through);
    b->loop = m->loop;
    printf("Sending %" PRId64 " %s requests, %" PRId64 " bytes each, %" PRId64
           " in parallel (starting at offset %" PRId64 ", step size %" PRId64 ")\n",
           b->count, b->write ? "write" : "read", b->size, b->depth, b->offset, b->step);
    if (b->interval) {
        printf("Sending flush every %" PRId64 " requests\n", b->interval);
    }
    fflush(stdout);
    int64_t start = clock_now(&clock_host_monotonic);
    bench_run(b);
    double seconds = (double)(clock_now(&clock_host_monotonic) - start) / 1e9;
    block_client_free(b->c);
    if (b->error) {
        error_set_errno(&err, -b->error, "a request failed");
        return tool_fail(err);
    }
    printf("Run completed in %3.3f seconds.\n", seconds);
    return 0;
}

static bool number(const char *name, const char *text, int64_t min, int64_t max, int64_t *out)
{
    Error *err = NULL;
    if (!img_size(text, out, &err)) {
        tool_fail(err);
        return false;
    }
    if (*out < min || *out > max) {
        tool_complain("%s must be from %" PRId64 " to %" PRId64 ", not %s", name, min, max, text);
        return false;
    }
    return true;
}

enum { FLUSH_INTERVAL = IMG_LONG, PATTERN, NO_DRAIN };

/* False: an error was told. */
static bool take_option(Bench *b, ToolImage *i, ToolCache *cache, int c)
{
    Error *err = NULL;
    int64_t v = 0;
    switch (c) {
    case 'c': return number("-c", optarg, 0, INT32_MAX, &b->count);
    case 'd': return number("-d", optarg, 1, 65536, &b->depth);
    case 's': return number("-s", optarg, 0, 256 * 1024 * 1024, &b->size);
    case 'S': return number("-S", optarg, 0, INT32_MAX, &b->step);
    case 'o': return number("-o", optarg, 0, INT64_MAX, &b->offset);
    case 'f': i->format = optarg; return true;
    case 'i':
        i->aio = optarg;
        if (type_enum_value(block_aio_names, optarg) < 0) {
            tool_complain("-i takes threads, native or io_uring, not '%s'", optarg);
            return false;
        }
        return true;
    case 'n': i->aio = "native"; return true;
    case 'w': b->write = true; return true;
    case 't':
        if (!tool_parse_cache(optarg, cache, &err)) {
            tool_fail(err);
            return false;
        }
        return true;
    case FLUSH_INTERVAL: return number("--flush-interval", optarg, 0, INT32_MAX, &b->interval);
    case PATTERN:
        if (!number("--pattern", optarg, 0, 255, &v)) {
            return false;
        }
        b->pattern = (int)v;
        return true;
    case NO_DRAIN: b->drain = false; return true;
    default: return false;
    }
}

int img_cmd_bench(Img *m, int argc, char **argv)
{
    static const ToolOption more[] = { { "flush-interval", FLUSH_INTERVAL, true },
                                       { "pattern", PATTERN, true },
                                       { "no-drain", NO_DRAIN },
                                       TOOL_OPTIONS_END };
    Bench b = { .count = 75000, .depth = 64, .size = 4096, .drain = true };
    ToolCache cache = { 0 };
    ToolImage i = { .cache = &cache };
    for (int c; (c = img_getopt(m, argc, argv, "c:d:f:ni:o:qs:S:t:wU", more)) != -1;) {
        if (!take_option(&b, &i, &cache, c)) {
            return 1;
        }
    }
    if (optind != argc - 1) {
        return tool_complain("bench needs one file's name");
    }
    if (b.interval && !b.write) {
        return tool_complain("--flush-interval is only available in write tests");
    }
    if (b.interval && b.interval < b.depth) {
        return tool_complain("Flush interval can't be smaller than depth");
    }
    if (b.write && m->share) {
        return tool_complain("-U: a write test needs the image for itself");
    }
    b.step = b.step ? b.step : b.size;
    i.name = argv[optind];
    i.image_opts = m->image_opts;
    i.writable = b.write;
    i.share = m->share;
    return bench(m, &b, &i, cache.write_through);
}
