/* SPDX-License-Identifier: MIT
 * tools/img/compare.c - rhea-img compare: do two images show guests the same?
 *
 * Models: several coroutines take the next piece in turn and have a worker look at it, at memory that shows
 * the files where that can be had, at copies otherwise. Of what they find the first by offset counts.
 * Threads: the main thread; the looking is done by the block layer's workers.
 */
#include "img.h"

#include <stdio.h>
#include <string.h>

enum { PIECE = 1024 * 1024, UNIT = 512, LOOKERS = 3 };

/* One image, and what it is known to hold up to `end`. */
typedef struct Side {
    BlockClient *c;
    const char *name;
    int64_t size;
    BlockExtent e;
    int64_t end;
} Side;

typedef struct Compare {
    Img *m;
    Side a, b;
    bool strict, stop;
    int64_t at, all; /* where the next piece begins; the larger size */
    int64_t end;     /* of what is compared now */
    CoMutex lock;    /* taking a piece may yield */
    unsigned running;
    int status;    /* 0 same, 1 different, above: error */
    int64_t where; /* of what `text` is about */
    char *text;
} Compare;

/* What is found first, by offset, is what will be told. */
static void found(Compare *k, int64_t where, int status, const char *fmt, ...) G_GNUC_PRINTF(4, 5);
static void found(Compare *k, int64_t where, int status, const char *fmt, ...)
{
    va_list ap;
    k->stop = true;
    if (k->text && where >= k->where) {
        return;
    }
    g_free(k->text);
    va_start(ap, fmt);
    k->text = g_strdup_vprintf(fmt, ap);
    va_end(ap);
    k->where = where;
    k->status = status;
}

/* Bytes of one side: mapped, or read into `buf`, which is made when it is first needed. */
typedef struct View {
    const uint8_t *data; /* NULL: zeros */
    BlockMap map;
    uint8_t *buf;
} View;

static bool view_read(Compare *k, const Side *s, View *v, int64_t at, int64_t len)
{
    IoVec io;
    v->buf = v->buf ? v->buf : g_aligned_alloc(1, PIECE, 4096);
    v->data = v->buf;
    iov_init_buf(&io, v->buf, (size_t)len);
    int r = block_preadv(s->c, at, &io, 0);
    if (r < 0) {
        found(k, at, 4, "cannot read '%s' at offset %" PRId64 ": %s", s->name, at, g_strerror(-r));
    }
    return r == 0;
}

static bool view_get(Compare *k, const Side *s, bool zero, View *v, int64_t at, int64_t len)
{
    v->data = NULL;
    v->map = (BlockMap){ 0 };
    if (zero) {
        return true;
    }
    if (block_map(s->c, at, len, &v->map) == 0) {
        v->data = v->map.data;
        return true;
    }
    return view_read(k, s, v, at, len);
}

/* Gives the mapping back. False: it could not show everything. */
static bool view_drop(View *v)
{
    bool ok = !v->map.data || block_map_ok(&v->map);
    if (v->map.data) {
        block_unmap(&v->map);
    }
    return ok;
}

typedef struct Look {
    const uint8_t *a, *b;
    int64_t len, differs; /* result: the first unit that does, or -1 */
} Look;

static bool same(const uint8_t *a, const uint8_t *b, int64_t len)
{
    return a && b ? memcmp(a, b, (size_t)len) == 0 : buf_is_zero(a ? a : b, (size_t)len);
}

static int look_job(void *opaque)
{
    Look *l = opaque;
    l->differs = -1;
    if (same(l->a, l->b, l->len)) {
        return 0;
    }
    for (int64_t p = 0; p < l->len; p += UNIT) {
        if (!same(l->a ? l->a + p : NULL, l->b ? l->b + p : NULL, MIN(UNIT, l->len - p))) {
            l->differs = p;
            return 0;
        }
    }
    return 0; /* a file that others write */
}

static void look(Compare *k, View *a, View *b, int64_t at, int64_t len)
{
    Look l = { .a = a->data, .b = b->data, .len = len };
    worker_run(block_graph_workers(k->m->graph), look_job, &l);
    bool ok_a = view_drop(a), ok_b = view_drop(b);
    if (!ok_a || !ok_b) {
        if ((l.a && !view_read(k, &k->a, a, at, len)) || (l.b && !view_read(k, &k->b, b, at, len))) {
            return;
        }
        l.a = a->data;
        l.b = b->data;
        look_job(&l);
    }
    if (l.differs >= 0) {
        found(k, at + l.differs, 1, "Content mismatch at offset %" PRId64 "!", at + l.differs);
    }
}

/* Asks anew only behind what is known. Behind its end an image is as good as zeros. */
static bool ask(Compare *k, Side *s)
{
    if (k->at >= s->size) {
        s->e = (BlockExtent){ .zero = true };
        s->end = k->end;
    } else if (k->at >= s->end) {
        int r = block_extent_above(s->c, NULL, k->at, MIN(k->end, s->size) - k->at, &s->e);
        if (r < 0) {
            found(k, k->at, 3, "cannot tell what '%s' holds at offset %" PRId64 ": %s", s->name, k->at,
                  g_strerror(-r));
            return false;
        }
        s->end = k->at + s->e.bytes;
    }
    return true;
}

/* With the lock: the next piece that has to be looked at, or false. */
static bool take(Compare *k, int64_t *at, int64_t *len, bool *zero_a, bool *zero_b)
{
    while (!k->stop && k->at < k->end) {
        if (!ask(k, &k->a) || !ask(k, &k->b)) {
            return false;
        }
        *at = k->at;
        *len = MIN(k->a.end, k->b.end) - *at;
        *zero_a = k->a.e.zero;
        *zero_b = k->b.e.zero;
        if (k->strict && k->a.e.allocated != k->b.e.allocated) {
            found(k, *at, 1, "Strict mode: Offset %" PRId64 " block status mismatch!", *at);
            return false;
        }
        bool skip = *zero_a && *zero_b;
        *len = skip ? *len : MIN(*len, PIECE);
        k->at += *len;
        img_progress(k->m, k->at, k->all);
        if (!skip) {
            return true;
        }
    }
    return false;
}

static void look_body(void *opaque)
{
    Compare *k = opaque;
    View a = { 0 }, b = { 0 };
    for (;;) {
        int64_t at, len;
        bool zero_a, zero_b;
        co_mutex_lock(&k->lock);
        bool more = take(k, &at, &len, &zero_a, &zero_b);
        co_mutex_unlock(&k->lock);
        if (!more) {
            break;
        }
        if (view_get(k, &k->a, zero_a, &a, at, len) && view_get(k, &k->b, zero_b, &b, at, len)) {
            look(k, &a, &b, at, len);
        } else {
            view_drop(&a);
        }
    }
    g_aligned_free(a.buf);
    g_aligned_free(b.buf);
    k->running--;
}

static void compare_to(Compare *k, int64_t end)
{
    k->end = end;
    k->running = LOOKERS;
    for (unsigned i = 0; i < LOOKERS; i++) {
        co_start(k->m->loop, look_body, k);
    }
    while (k->running) {
        loop_turn(k->m->loop, true);
    }
}

static void compare(Compare *k)
{
    k->a.size = block_size(block_client_node(k->a.c));
    k->b.size = block_size(block_client_node(k->b.c));
    k->all = MAX(k->a.size, k->b.size);
    if (k->a.size != k->b.size && k->strict) {
        found(k, 0, 1, "Strict mode: Image size mismatch!");
    }
    compare_to(k, MIN(k->a.size, k->b.size));
    if (!k->stop && k->a.size != k->b.size) {
        if (!k->m->quiet) {
            printf("Warning: Image size mismatch!\n");
        }
        compare_to(k, k->all);
    }
    if (k->status == 0) {
        img_progress_end(k->m);
    }
    if (k->status > 1) {
        tool_complain("%s", k->text);
    } else if (!k->m->quiet) {
        printf("%s\n", k->text ? k->text : "Images are identical.");
    }
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
    k.a.name = argv[optind];
    k.b.name = argv[optind + 1];
    k.a.c = img_open_client(m, k.a.name, format1, IMG_READ, &cache, &err);
    k.b.c = k.a.c ? img_open_client(m, k.b.name, format2, IMG_READ, &cache, &err) : NULL;
    if (!k.b.c) {
        tool_fail(err);
        k.status = 2;
    } else {
        co_mutex_init(&k.lock);
        compare(&k);
        co_mutex_fini(&k.lock);
        g_free(k.text);
    }
    block_client_free(k.b.c);
    block_client_free(k.a.c);
    return k.status;
}
