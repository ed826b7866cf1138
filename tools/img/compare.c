/* SPDX-License-Identifier: MIT
 * tools/img/compare.c - rhea-img compare: do two images show guests the same?
 *
 * Threads: the main thread.
 */
#include "img.h"

#include <stdio.h>
#include <string.h>

enum { PIECE = 1024 * 1024, UNIT = 512 };

/* What one image holds up to `end`. */
typedef struct Seen {
    BlockExtent e;
    int64_t end;
} Seen;

typedef struct Compare {
    Img *m;
    BlockClient *a, *b;
    const char *name_a, *name_b;
    bool strict;
    int status; /* 0 same, 1 different, above: error */
    int64_t where;
    uint8_t *buf_a, *buf_b;
    Seen seen_a, seen_b;
} Compare;

static int report(Compare *k, int status, const char *fmt, ...) G_GNUC_PRINTF(3, 4);
static int report(Compare *k, int status, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    g_autofree char *text = g_strdup_vprintf(fmt, ap);
    va_end(ap);
    k->status = status;
    if (status > 1) {
        tool_complain("%s", text);
    } else if (!k->m->quiet) {
        printf("%s\n", text);
    }
    return -1;
}

static int read_one(Compare *k, BlockClient *c, const char *name, uint8_t *buf, int64_t at, int64_t len)
{
    IoVec v;
    iov_init_buf(&v, buf, (size_t)len);
    int r = block_preadv(c, at, &v, 0);
    return r < 0 ? report(k, 4, "cannot read '%s' at offset %" PRId64 ": %s", name, at, g_strerror(-r)) : 0;
}

static int must_be_zero(Compare *k, BlockClient *c, const char *name, uint8_t *buf, int64_t at, int64_t len)
{
    for (int64_t done = 0; done < len;) {
        int64_t n = MIN(len - done, PIECE);
        if (read_one(k, c, name, buf, at + done, n) < 0) {
            return -1;
        }
        for (int64_t p = 0; p < n; p += UNIT) {
            if (!buf_is_zero(buf + p, (size_t)MIN(UNIT, n - p))) {
                return report(k, 1, "Content mismatch at offset %" PRId64 "!", at + done + p);
            }
        }
        done += n;
    }
    return 0;
}

static int both_data(Compare *k, int64_t at, int64_t len)
{
    if (read_one(k, k->a, k->name_a, k->buf_a, at, len) < 0 ||
        read_one(k, k->b, k->name_b, k->buf_b, at, len) < 0) {
        return -1;
    }
    if (memcmp(k->buf_a, k->buf_b, (size_t)len) == 0) {
        return 0;
    }
    int64_t p = 0;
    while (memcmp(k->buf_a + p, k->buf_b + p, (size_t)MIN(UNIT, len - p)) == 0) {
        p += UNIT;
    }
    return report(k, 1, "Content mismatch at offset %" PRId64 "!", at + p);
}

/* Asks anew only behind what is known. */
static int look(Seen *s, BlockClient *c, int64_t at, int64_t end)
{
    if (at < s->end) {
        return 0;
    }
    int r = block_extent_above(c, NULL, at, end - at, &s->e);
    s->end = r < 0 ? at : at + s->e.bytes;
    return r;
}

/* One step from `at` on; the number of bytes it covered, or -1. */
static int64_t step(Compare *k, int64_t at, int64_t end)
{
    int r = look(&k->seen_a, k->a, at, end);
    r = r < 0 ? r : look(&k->seen_b, k->b, at, end);
    if (r < 0) {
        return report(k, 3, "cannot tell what lies at offset %" PRId64 ": %s", at, g_strerror(-r));
    }
    BlockExtent a = k->seen_a.e, b = k->seen_b.e;
    int64_t len = MIN(k->seen_a.end, k->seen_b.end) - at;
    if (k->strict && a.allocated != b.allocated) {
        return report(k, 1, "Strict mode: Offset %" PRId64 " block status mismatch!", at);
    }
    if (a.zero && b.zero) {
        return len;
    }
    if (a.zero || b.zero) {
        len = MIN(len, PIECE);
        return (a.zero ? must_be_zero(k, k->b, k->name_b, k->buf_b, at, len)
                       : must_be_zero(k, k->a, k->name_a, k->buf_a, at, len)) < 0
                   ? -1
                   : len;
    }
    len = MIN(len, PIECE);
    return both_data(k, at, len) < 0 ? -1 : len;
}

static void compare_body(void *opaque)
{
    Compare *k = opaque;
    int64_t size_a = block_size(block_client_node(k->a)), size_b = block_size(block_client_node(k->b));
    int64_t both = MIN(size_a, size_b), all = MAX(size_a, size_b);
    if (size_a != size_b && k->strict) {
        report(k, 1, "Strict mode: Image size mismatch!");
        return;
    }
    for (int64_t at = 0; at < both;) {
        int64_t n = step(k, at, both);
        if (n < 0) {
            return;
        }
        at += n;
        img_progress(k->m, at, all);
    }
    if (size_a != size_b) {
        BlockClient *longer = size_a > size_b ? k->a : k->b;
        const char *name = size_a > size_b ? k->name_a : k->name_b;
        if (!k->m->quiet) {
            printf("Warning: Image size mismatch!\n");
        }
        for (int64_t at = both; at < all;) {
            BlockExtent e;
            int r = block_extent_above(longer, NULL, at, all - at, &e);
            if (r < 0) {
                report(k, 3, "cannot tell what '%s' holds at offset %" PRId64 ": %s", name, at,
                       g_strerror(-r));
                return;
            }
            if (!e.zero && must_be_zero(k, longer, name, k->buf_a, at, e.bytes) < 0) {
                return;
            }
            at += e.bytes;
            img_progress(k->m, at, all);
        }
    }
    img_progress_end(k->m);
    report(k, 0, "Images are identical.");
}

int img_cmd_compare(Img *m, int argc, char **argv)
{
    const char *format1 = NULL, *format2 = NULL;
    ToolCache cache = { 0 };
    Error *err = NULL;
    Compare k = { .m = m };
    for (int c; (c = img_getopt(m, argc, argv, "f:F:T:pqsU", NULL)) != -1;) {
        switch (c) {
        case 'f': format1 = optarg; break;
        case 'F': format2 = optarg; break;
        case 's': k.strict = true; break;
        case 'T':
            if (!tool_parse_cache(optarg, &cache, &err)) {
                tool_fail(err);
                return 2;
            }
            break;
        default: return 1;
        }
    }
    if (optind != argc - 2) {
        return tool_complain("compare needs two files' names");
    }
    k.name_a = argv[optind];
    k.name_b = argv[optind + 1];
    k.a = img_open_client(m, k.name_a, format1, IMG_READ, &cache, &err);
    k.b = k.a ? img_open_client(m, k.name_b, format2, IMG_READ, &cache, &err) : NULL;
    if (!k.b) {
        tool_fail(err);
        k.status = 2;
    } else {
        k.buf_a = g_aligned_alloc(1, PIECE, 4096);
        k.buf_b = g_aligned_alloc(1, PIECE, 4096);
        img_co(m, compare_body, &k);
        g_aligned_free(k.buf_a);
        g_aligned_free(k.buf_b);
    }
    block_client_free(k.b);
    block_client_free(k.a);
    return k.status;
}
