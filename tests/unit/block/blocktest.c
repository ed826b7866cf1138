/* SPDX-License-Identifier: MIT
 * tests/unit/block/blocktest.c - helpers of the block tests and the flat-file model.
 */
#include "blocktest.h"
#include <fcntl.h>
#include <ftw.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static BlockTest *current;

/* Seeds */

static uint32_t seed;
static char seed_text[64];

static void say_seed(void)
{
    if (write(STDERR_FILENO, seed_text, strlen(seed_text)) < 0) {
        return; /* nobody hears it */
    }
}

static void on_failure(int sig)
{
    say_seed();
    raise(sig); /* comes when this has returned, with its own effect */
}

void bt_init(int *argc, char ***argv)
{
    const char *text = g_getenv("RHEA_TEST_SEED");
    struct sigaction act = { .sa_handler = on_failure, .sa_flags = (int)SA_RESETHAND };
    g_test_init(argc, argv, NULL);
    seed = text ? (uint32_t)strtoul(text, NULL, 0) : g_random_int();
    g_snprintf(seed_text, sizeof(seed_text), "random tests ran with RHEA_TEST_SEED=%u\n", seed);
    sigaction(SIGABRT, &act, NULL);
    sigaction(SIGTRAP, &act, NULL); /* a warning that is fatal */
}

void bt_setup(BlockTest *t, gconstpointer data G_GNUC_UNUSED)
{
    g_random_set_seed(seed ^ g_str_hash(g_test_get_path()));
    role_become_main();
    t->loop = loop_new("test");
    t->graph = block_graph_new(t->loop);
    t->dir = g_dir_make_tmp("rhea-block-XXXXXX", NULL);
    g_assert_nonnull(t->dir);
    current = t;
}

static int remove_one(const char *path, const struct stat *st, int kind, struct FTW *ftw)
{
    return remove(path);
}

void bt_teardown(BlockTest *t, gconstpointer data G_GNUC_UNUSED)
{
    block_graph_free(t->graph);
    loop_free(t->loop);
    nftw(t->dir, remove_one, 8, FTW_DEPTH | FTW_PHYS);
    g_free(t->dir);
    if (g_test_failed()) {
        say_seed();
    }
}

char *bt_path(BlockTest *t, const char *name)
{
    return g_build_filename(t->dir, name, NULL);
}

char *bt_file(BlockTest *t, const char *name, int64_t size)
{
    char *path = bt_path(t, name);
    int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    g_assert_cmpint(fd, >=, 0);
    g_assert_cmpint(ftruncate(fd, size), ==, 0);
    close(fd);
    return path;
}

static BlockNode *open_text(BlockTest *t, const char *text, Error **errp)
{
    bool from_text;
    g_autoptr(Json) o = keyval_parse(text, "driver", &from_text, errp);
    return o ? block_open(t->graph, o, from_text, errp) : NULL;
}

BlockNode *bt_open(BlockTest *t, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    g_autofree char *text = g_strdup_vprintf(fmt, ap);
    va_end(ap);
    return open_text(t, text, &error_abort_slot);
}

void bt_open_fails(BlockTest *t, const char *expect, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    g_autofree char *text = g_strdup_vprintf(fmt, ap);
    va_end(ap);
    g_autoptr(Error) err = NULL;
    g_assert_null(open_text(t, text, &err));
    g_assert_nonnull(err);
    if (!strstr(error_text(err), expect)) {
        g_test_message("'%s' is not in '%s'", expect, error_text(err));
        g_test_fail();
    }
}

BlockClient *bt_client(BlockNode *n)
{
    unsigned perm = n->read_only ? BLOCK_PERM_READ : BLOCK_PERM_READ | BLOCK_PERM_WRITE | BLOCK_PERM_RESIZE;
    BlockClient *c =
        block_client_new(n, "test", perm, n->read_only ? BLOCK_PERM_ALL : BLOCK_PERM_READ, &error_abort_slot);
    block_unref(n);
    return c;
}

void bt_create(BlockTest *t, const char *driver, const char *path, const char *options)
{
    int kind = type_enum_value(block_driver_name_names, driver);
    const BlockFormatOps *f = block_drivers[kind]->format;
    bool from_text;
    g_autoptr(Json) o = keyval_parse(options, NULL, &from_text, &error_abort_slot);
    g_autofree void *decoded = g_malloc0(f->create_type->size);
    type_decode(f->create_type, o, from_text, decoded, &error_abort_slot);
    f->create(t->graph, path, decoded, &error_abort_slot);
    type_clear(f->create_type, decoded);
}

/* Requests that wait */

typedef struct Call {
    enum { READ, WRITE, ZERO, DISCARD, FLUSH, EXTENT, TRUNCATE } kind;
    BlockClient *c;
    int64_t off, len;
    void *buf;
    unsigned flags;
    BlockExtent *extent;
    Error **errp;
    int r;
} Call;

static void call_body(void *opaque)
{
    Call *k = opaque;
    IoVec v;
    iov_init_buf(&v, k->buf, (size_t)k->len);
    switch (k->kind) {
    case READ: k->r = block_preadv(k->c, k->off, &v, k->flags); break;
    case WRITE: k->r = block_pwritev(k->c, k->off, &v, k->flags); break;
    case ZERO: k->r = block_write_zeroes(k->c, k->off, k->len, k->flags); break;
    case DISCARD: k->r = block_discard(k->c, k->off, k->len); break;
    case FLUSH: k->r = block_flush(k->c); break;
    case EXTENT: k->r = block_extent(k->c, k->off, k->len, k->extent); break;
    case TRUNCATE: k->r = block_truncate(k->c, k->off, BLOCK_PREALLOC_OFF, k->errp); break;
    }
}

static int call(Call k)
{
    co_run_sync(current->loop, call_body, &k);
    return k.r;
}

void bt_run(BlockTest *t, void (*fn)(void *opaque), void *opaque)
{
    co_run_sync(t->loop, fn, opaque);
}

typedef struct CheckCall {
    BlockNode *n;
    BlockCheck *res;
    unsigned fix;
    int r;
} CheckCall;

static void check_say(void *opaque, const char *text)
{
    unsigned *said = opaque;
    if ((*said)++ < 20) {
        g_test_message("%s", text);
    }
}

static void check_body(void *opaque)
{
    CheckCall *k = opaque;
    k->r = k->n->driver->format->check(k->n, k->res, k->fix, NULL);
}

int bt_check(BlockTest *t, BlockNode *n, unsigned fix, BlockCheck *res)
{
    unsigned said = 0;
    *res = (BlockCheck){ .say = check_say, .opaque = &said };
    CheckCall k = { .n = n, .res = res, .fix = fix };
    bt_run(t, check_body, &k);
    res->opaque = NULL;
    return k.r;
}

int bt_read(BlockClient *c, int64_t off, void *buf, size_t len)
{
    return call((Call){ .kind = READ, .c = c, .off = off, .buf = buf, .len = (int64_t)len });
}

int bt_write(BlockClient *c, int64_t off, const void *buf, size_t len, unsigned flags)
{
    return call(
        (Call){ .kind = WRITE, .c = c, .off = off, .buf = (void *)buf, .len = (int64_t)len, .flags = flags });
}

int bt_zero(BlockClient *c, int64_t off, int64_t len, unsigned flags)
{
    return call((Call){ .kind = ZERO, .c = c, .off = off, .len = len, .flags = flags });
}

int bt_discard(BlockClient *c, int64_t off, int64_t len)
{
    return call((Call){ .kind = DISCARD, .c = c, .off = off, .len = len });
}

int bt_flush(BlockClient *c)
{
    return call((Call){ .kind = FLUSH, .c = c });
}

int bt_extent(BlockClient *c, int64_t off, int64_t len, BlockExtent *e)
{
    return call((Call){ .kind = EXTENT, .c = c, .off = off, .len = len, .extent = e });
}

bool bt_truncate(BlockClient *c, int64_t size, Error **errp)
{
    return call((Call){ .kind = TRUNCATE, .c = c, .off = size, .errp = errp });
}

void bt_check_bytes(BlockClient *c, int64_t off, size_t len, uint8_t byte)
{
    g_autofree uint8_t *buf = g_malloc(len);
    memset(buf, ~byte, len);
    g_assert_cmpint(bt_read(c, off, buf, len), ==, 0);
    for (size_t i = 0; i < len; i++) {
        if (buf[i] != byte) {
            g_error("byte %" PRId64 " is %02x, not %02x", off + (int64_t)i, buf[i], byte);
        }
    }
}

/* Requests in any order */

static BlockDriver shuffled;

static void some_turns(void)
{
    int n = g_random_int_range(0, 16) ? g_random_int_range(0, 3) : g_random_int_range(0, 60);
    for (; n > 0; n--) {
        co_wake(co_self());
        co_yield();
    }
}

static int shuffled_preadv(BlockNode *n, int64_t off, IoVec *v, unsigned flags)
{
    some_turns();
    int r = block_file_driver.preadv(n, off, v, flags);
    some_turns();
    return r;
}

static int shuffled_pwritev(BlockNode *n, int64_t off, IoVec *v, unsigned flags)
{
    some_turns();
    int r = block_file_driver.pwritev(n, off, v, flags);
    some_turns();
    return r;
}

static int shuffled_write_zeroes(BlockNode *n, int64_t off, int64_t bytes, unsigned flags)
{
    some_turns();
    int r = block_file_driver.write_zeroes(n, off, bytes, flags);
    some_turns();
    return r;
}

static int shuffled_discard(BlockNode *n, int64_t off, int64_t bytes)
{
    some_turns();
    int r = block_file_driver.discard(n, off, bytes);
    some_turns();
    return r;
}

static int shuffled_flush(BlockNode *n)
{
    some_turns();
    int r = block_file_driver.flush(n);
    some_turns();
    return r;
}

void bt_shuffle(BlockNode *n)
{
    if (!shuffled.name) {
        shuffled = block_file_driver;
        shuffled.preadv = shuffled_preadv;
        shuffled.pwritev = shuffled_pwritev;
        shuffled.write_zeroes = shuffled_write_zeroes;
        shuffled.discard = shuffled_discard;
        shuffled.flush = shuffled_flush;
    }
    for (unsigned i = 0; i < n->edges_down->len; i++) {
        bt_shuffle(((BlockEdge *)g_ptr_array_index(n->edges_down, i))->node);
    }
    if (n->driver == &block_file_driver) {
        n->driver = &shuffled;
    }
}

void bt_without_threads(BlockTest *t)
{
    worker_pool_set_max(block_graph_workers(t->graph), 0);
}

/* The model */

unsigned bt_ops(unsigned def)
{
    const char *text = g_getenv("RHEA_BLOCK_OPS");
    return text ? (unsigned)strtoul(text, NULL, 10) : def;
}

BlockThrottle *bt_throttle(BlockTest *t, const char *name)
{
    static const unsigned hurry;
    BlockThrottle *group = block_throttle_new(t->graph, name, &clock_host_monotonic, &hurry);
    BlockLimits l = { .limit[BLOCK_IOPS] = { .avg = 100000, .length = 1 } };
    block_throttle_set(group, &l);
    return group;
}

unsigned bt_cuts(unsigned def)
{
    const char *text = g_getenv("RHEA_POWER_CUTS");
    return text ? (unsigned)strtoul(text, NULL, 10) : def;
}

void bt_model_init(BlockModel *m, int64_t size, unsigned ops)
{
    *m = (BlockModel){ .data = g_malloc0((size_t)size),
                       .unknown = g_malloc0((size_t)size),
                       .size = size,
                       .ops = bt_ops(ops),
                       .max_len = 200000,
                       .discard_zeroes = false,
                       .granularity = 1 };
}

void bt_model_fini(BlockModel *m)
{
    g_free(m->data);
    g_free(m->unknown);
}

static void check_read(const BlockModel *m, int64_t off, const uint8_t *got, int64_t len)
{
    if (memcmp(got, m->data + off, (size_t)len) == 0) { /* the sanitizers make loops over bytes slow */
        return;
    }
    for (int64_t i = 0; i < len; i++) {
        if (got[i] != m->data[off + i] && !m->unknown[off + i]) {
            g_error("byte %" PRId64 " is %02x, not %02x (a request of %" PRId64 " bytes at %" PRId64 ")",
                    off + i, got[i], m->data[off + i], len, off);
        }
    }
}

typedef struct ModelRun {
    BlockModel *m;
    BlockClient *c;
    CoRangeLock ranges;
    unsigned left, running;
} ModelRun;

static void random_buf(uint8_t *buf, int64_t len)
{
    uint64_t x = (uint64_t)g_random_int() << 32 | g_random_int();
    for (int64_t i = 0; i < len; i += 8) {
        uint64_t some = (x ^ x >> 29) | UINT64_C(0x0101010101010101);
        if (len - i >= 8) {
            memcpy(buf + i, &some, 8); /* of constant size: one store, for sanitizers too */
        } else {
            memcpy(buf + i, &some, (size_t)(len - i));
        }
        x = x * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    }
}

static void random_range(const BlockModel *m, int64_t *off, int64_t *len)
{
    int64_t g = m->granularity, units = m->size / g, max = MAX((int64_t)m->max_len / g, 1);
    int kind = g_random_int_range(0, 16); /* a few are long; copying them is what a run takes its time for */
    int64_t most = kind == 0 ? m->max_len : kind < 4 ? 32768 : 4096;
    *len = g_random_int_range(1, (int)MIN(max, MAX(most / g, 1)) + 1);
    *len = MIN(*len, units);
    *off = g_random_int_range(0, 16) ? g_random_int_range(0, (int)(units - *len + 1)) : units - *len;
    *off *= g;
    *len *= g;
}

static void do_write(ModelRun *run, int64_t off, uint8_t *buf, int64_t len)
{
    BlockModel *m = run->m;
    IoVec v;
    iov_init(&v);
    for (int64_t at = 0; at < len;) { /* scattered */
        int64_t n = g_random_int_range(1, 40000);
        n = MIN(n, len - at);
        iov_add(&v, buf + at, (size_t)n);
        at += n;
    }
    random_buf(buf, len);
    if (g_random_int_range(0, 20) == 0) {
        memset(buf, 0, (size_t)len);
    }
    int r = block_pwritev(run->c, off, &v, g_random_int_range(0, 50) == 0 ? BLK_FUA : 0);
    g_assert_cmpint(r, ==, 0);
    memcpy(m->data + off, buf, (size_t)len);
    memset(m->unknown + off, 0, (size_t)len);
    iov_fini(&v);
}

/* Bytes that get smaller, most of the time. */
static void do_compressed(ModelRun *run, int64_t off, int64_t len)
{
    g_autofree uint8_t *buf = g_malloc((size_t)len);
    uint8_t byte = (uint8_t)g_random_int();
    for (int64_t i = 0; i < len; i++) {
        buf[i] = (uint8_t)(byte + i / 64);
    }
    if (g_random_int_range(0, 8) == 0) {
        random_buf(buf, len);
    }
    IoVec v;
    iov_init_buf(&v, buf, (size_t)len);
    int r = block_pwritev(run->c, off, &v, BLK_COMPRESSED);
    g_assert_cmpint(r, ==, 0);
    memcpy(run->m->data + off, buf, (size_t)len);
    memset(run->m->unknown + off, 0, (size_t)len);
}

static void do_op(ModelRun *run, int64_t off, int64_t len)
{
    BlockModel *m = run->m;
    g_autofree uint8_t *buf = g_malloc((size_t)len);
    int kind = g_random_int_range(0, 100), r;
    IoVec v;
    if (kind < 40) {
        iov_init_buf(&v, buf, (size_t)len);
        r = block_preadv(run->c, off, &v, 0);
        g_assert_cmpint(r, ==, 0);
        check_read(m, off, buf, len);
    } else if (kind < 75) {
        do_write(run, off, buf, len);
    } else if (kind < 88) {
        r = block_write_zeroes(run->c, off, len, g_random_boolean() ? BLK_MAY_UNMAP : 0);
        g_assert_cmpint(r, ==, 0);
        memset(m->data + off, 0, (size_t)len);
        memset(m->unknown + off, 0, (size_t)len);
    } else if (kind < 96) {
        r = block_discard(run->c, off, len);
        g_assert_cmpint(r, ==, 0);
        memset(m->unknown + off, 1, (size_t)len);
    } else if (kind < 98) {
        BlockExtent e;
        r = block_extent_above(run->c, NULL, off, len, &e);
        g_assert_cmpint(r, ==, 0);
        if (e.zero && !buf_is_zero(m->data + off, (size_t)e.bytes)) {
            for (int64_t i = 0; i < e.bytes; i++) {
                g_assert_true(m->data[off + i] == 0 || m->unknown[off + i]);
            }
        }
    } else {
        r = block_flush(run->c);
        g_assert_cmpint(r, ==, 0);
    }
}

static void model_body(void *opaque)
{
    ModelRun *run = opaque;
    while (run->left > 0) {
        CoRange range;
        int64_t off, len;
        run->left--;
        random_range(run->m, &off, &len);
        bool compress = run->m->compress && g_random_int_range(0, 12) == 0;
        if (compress) {
            off -= off % run->m->compress;
            len = MIN(run->m->compress, run->m->size - off);
        }
        co_range_claim(&run->ranges, &range, off, off + len, true);
        if (compress) {
            do_compressed(run, off, len);
        } else {
            do_op(run, off, len);
        }
        co_range_release(&run->ranges, &range);
    }
    run->running--;
}

void bt_model_run(BlockTest *t, BlockClient *c, BlockModel *m)
{
    ModelRun run = { .m = m, .c = c, .left = m->ops, .running = 8 };
    co_range_init(&run.ranges);
    for (int i = 0; i < 8; i++) {
        co_start(t->loop, model_body, &run);
    }
    while (run.running) {
        loop_turn(t->loop, true);
    }
    co_range_fini(&run.ranges);
    bt_model_compare(c, m);
}

void bt_model_compare(BlockClient *c, BlockModel *m)
{
    g_autofree uint8_t *buf = g_malloc((size_t)m->size);
    g_assert_cmpint(bt_read(c, 0, buf, (size_t)m->size), ==, 0);
    check_read(m, 0, buf, m->size);
    memcpy(m->data, buf, (size_t)m->size); /* what was discarded is known from here on */
    memset(m->unknown, 0, (size_t)m->size);
}
