/* SPDX-License-Identifier: MIT
 * tests/unit/block/test-qcow2.c - qcow2 flavours against the flat-file model, each checked, and by qemu-img
 * too.
 * Covers: block/qcow2.c, qcow2-cache, qcow2-check, qcow2-compress, qcow2-create, qcow2-io, qcow2-map,
 * qcow2-ref, qcow2-snapshot.
 */
#include "blocktest.h"
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static BlockCheck check(BlockTest *t, BlockNode *n, unsigned fix)
{
    BlockCheck res;
    g_assert_cmpint(bt_check(t, n, fix, &res), ==, 0);
    return res;
}

static void check_clean(BlockTest *t, BlockNode *n)
{
    BlockCheck res = check(t, n, 0);
    g_assert_cmpint(res.corruptions, ==, 0);
    g_assert_cmpint(res.leaks, ==, 0);
    g_assert_cmpint(res.check_errors, ==, 0);
}

/* What the installed qemu-img says; true when there is none. */
static void check_by_qemu(const char *path)
{
    g_autofree char *tool = g_find_program_in_path("qemu-img"), *out = NULL, *err = NULL;
    if (!tool) {
        g_test_message("qemu-img is not installed (qemu-utils): no second opinion");
        return;
    }
    const char *argv[] = { tool, "check", "-f", "qcow2", path, NULL };
    int status;
    g_assert_true(g_spawn_sync(NULL, (char **)argv, NULL, 0, NULL, NULL, &out, &err, &status, NULL));
    if (status != 0) {
        g_error("qemu-img check: %s%s", out, err);
    }
}

/* The last cluster is used in part, and of large clusters with subclusters some of them. */
enum { SIZE = 3 * 1024 * 1024 + 37 * 512 };

typedef struct Flavour {
    const char *name, *create, *open; /* open: more options, or all of them, with @PATH@ */
    bool backing, compress, chain;
} Flavour;

static BlockClient *open_image(BlockTest *t, const char *path, const char *options)
{
    return bt_client(
        bt_open(t, "qcow2,file.driver=file,file.filename=%s%s%s", path, *options ? "," : "", options));
}

static BlockClient *open_flavour(BlockTest *t, const Flavour *f, const char *path, bool shuffle)
{
    BlockClient *c;
    if (!strstr(f->open, "@PATH@")) {
        c = open_image(t, path, f->open);
    } else {
        g_autoptr(GString) all = g_string_new(f->open);
        g_string_replace(all, "@PATH@", path, 0);
        c = bt_client(bt_open(t, "%s", all->str));
    }
    if (shuffle) {
        bt_shuffle(block_client_node(c));
    }
    return c;
}

static void run_model(BlockTest *t, const Flavour *f, bool shuffle)
{
    g_autofree char *path = bt_path(t, "img"), *base = bt_path(t, "base"), *data_file = bt_path(t, "data");
    BlockModel m;
    unsigned ops = bt_ops(800), rounds = MAX(4, ops / 10000);
    BlockThrottle *throttle = bt_throttle(t, "g");
    bt_model_init(&m, SIZE, 0);
    m.ops = (ops + rounds - 1) / rounds;
    GString *create = g_string_new(f->create);
    if (f->backing) { /* shorter than the image, full of ones */
        g_autofree uint8_t *ones = g_malloc(2000000);
        memset(ones, 0x11, 2000000);
        bt_create(t, "raw", base, "size=2000000");
        BlockClient *b = bt_client(bt_open(t, "file,filename=%s", base));
        g_assert_cmpint(bt_write(b, 0, ones, 2000000, 0), ==, 0);
        block_client_free(b);
        memset(m.data, 0x11, 2000000);
        if (f->chain) {
            g_autofree char *mid = bt_path(t, "mid"),
                            *options = g_strdup_printf("backing_file=%s,backing_fmt=raw,size=%d", base,
                                                       SIZE - 999936);
            bt_create(t, "qcow2", mid, options);
            b = open_image(t, mid, "");
            g_assert_cmpint(bt_write(b, 500000, m.data + SIZE - 300000, 300000, 0), ==, 0);
            block_client_free(b);
            memset(m.data + 500000, 0, 300000);
            g_string_append_printf(create, ",backing_file=%s,backing_fmt=qcow2", mid);
        } else {
            g_string_append_printf(create, ",backing_file=%s,backing_fmt=raw", base);
        }
    }
    if (strstr(f->create, "@DATA@")) {
        g_string_replace(create, "@DATA@", data_file, 0);
    }
    g_string_append_printf(create, ",size=%d", SIZE);
    bt_create(t, "qcow2", path, create->str);
    g_string_free(create, TRUE);
    BlockClient *c = open_flavour(t, f, path, shuffle);
    BlockNode *image = block_skip_filters(block_client_node(c));
    m.compress = f->compress ? image->driver->format->cluster_size(image) : 0;
    for (unsigned round = 0; round < rounds; round++) {
        bt_model_run(t, c, &m);
        check_clean(t, image);
        if (round % 4 == 2) {
            block_client_free(c);
            check_by_qemu(path);
            c = open_flavour(t, f, path, shuffle);
            image = block_skip_filters(block_client_node(c));
            bt_model_compare(c, &m);
        }
    }
    block_client_free(c);
    g_test_message("%s: %u operations", f->name, m.ops * rounds);
    block_throttle_free(throttle);
    c = open_image(t, path, "read-only=on");
    check_clean(t, block_client_node(c));
    bt_model_compare(c, &m);
    block_client_free(c);
    bt_model_fini(&m);
}

static void test_model(BlockTest *t, gconstpointer data)
{
    run_model(t, data, false);
}

/* The same, repeatable, with requests below that end in any order. */
static void test_shuffled(BlockTest *t, gconstpointer data)
{
    bt_without_threads(t);
    run_model(t, data, true);
}

static void test_compressed(BlockTest *t, gconstpointer options)
{
    enum { CLUSTERS = 48 };
    g_autofree char *path = bt_path(t, "img"),
                    *create = g_strdup_printf("size=%d,%s", SIZE, (const char *)options);
    bt_create(t, "qcow2", path, create);
    BlockClient *c = open_image(t, path, "");
    BlockModel m;
    bt_model_init(&m, SIZE, 150);
    int64_t cluster = block_client_node(c)->driver->format->cluster_size(block_client_node(c));
    for (int64_t at = 0; at < SIZE; at += cluster) { /* compressible, the last one short; some are random */
        size_t len = (size_t)MIN(cluster, SIZE - at);
        for (size_t i = 0; i < len; i++) {
            m.data[at + (int64_t)i] =
                (at / cluster) % 5 == 4 ? (uint8_t)g_random_int() : (uint8_t)((at / cluster) + i / 64);
        }
        g_assert_cmpint(bt_write(c, at, m.data + at, len, BLK_COMPRESSED), ==, 0);
    }
    BlockExtent e;
    g_assert_cmpint(bt_extent(c, 0, cluster, &e), ==, 0);
    g_assert_true(e.compressed && e.data && !e.zero);
    bt_model_compare(c, &m);
    check_clean(t, block_client_node(c));
    block_client_free(c);
    check_by_qemu(path);
    c = open_image(t, path, "");
    bt_model_compare(c, &m);
    bt_model_run(t, c, &m);
    check_clean(t, block_client_node(c));
    block_client_free(c);
    check_by_qemu(path);
    bt_model_fini(&m);
}

typedef struct SnapCall {
    BlockNode *n;
    char op;
    const char *name;
    Error **errp;
    bool ok;
} SnapCall;

static void snap_body(void *opaque)
{
    SnapCall *k = opaque;
    const BlockFormatOps *f = k->n->driver->format;
    k->ok = (k->op == 'c'   ? f->snapshot_create
             : k->op == 'a' ? f->snapshot_apply
                            : f->snapshot_delete)(k->n, k->name, k->errp);
}

static bool snap(BlockTest *t, BlockClient *c, char op, const char *name, Error **errp)
{
    SnapCall k = { .n = block_client_node(c), .op = op, .name = name, .errp = errp };
    bt_run(t, snap_body, &k);
    return k.ok;
}

static void test_snapshots(BlockTest *t, gconstpointer options)
{
    g_autofree char *path = bt_path(t, "img"),
                    *create = g_strdup_printf("size=%d,%s", SIZE, (const char *)options);
    bt_create(t, "qcow2", path, create);
    BlockClient *c = open_image(t, path, "");
    BlockModel m;
    bt_model_init(&m, SIZE, 60);
    uint8_t *saved[3];
    for (int i = 0; i < 3; i++) {
        char name[2] = { (char)('x' + i), 0 };
        bt_model_run(t, c, &m);
        saved[i] = g_memdup2(m.data, SIZE);
        g_assert_true(snap(t, c, 'c', name, &error_abort_slot));
        check_clean(t, block_client_node(c));
    }
    GArray *list = block_client_node(c)->driver->format->snapshots(block_client_node(c));
    g_assert_cmpuint(list->len, ==, 3);
    g_assert_cmpstr(g_array_index(list, BlockSnapshot, 1).name, ==, "y");
    g_array_unref(list);
    bt_model_run(t, c, &m);
    for (int i = 2; i >= 0; i--) {
        char name[2] = { (char)('x' + i), 0 };
        g_assert_true(snap(t, c, 'a', name, &error_abort_slot));
        memcpy(m.data, saved[i], SIZE);
        bt_model_compare(c, &m);
        check_clean(t, block_client_node(c));
        bt_model_run(t, c, &m);
    }
    block_client_free(c);
    check_by_qemu(path);
    c = open_image(t, path, "");
    g_autoptr(Error) err = NULL;
    g_assert_false(snap(t, c, 'd', "nosuch", &err));
    g_assert_nonnull(strstr(error_text(err), "has no snapshot 'nosuch'"));
    for (int i = 0; i < 3; i++) {
        char id[2] = { (char)('1' + i), 0 };
        bt_model_run(t, c, &m);
        g_assert_true(snap(t, c, 'd', id, &error_abort_slot));
        bt_model_compare(c, &m);
        check_clean(t, block_client_node(c));
        g_free(saved[i]);
    }
    block_client_free(c);
    check_by_qemu(path);
    bt_model_fini(&m);
}

static void test_resize(BlockTest *t, gconstpointer options)
{
    g_autofree char *path = bt_path(t, "img"),
                    *create = g_strdup_printf("size=100k,%s", (const char *)options);
    bt_create(t, "qcow2", path, create);
    BlockClient *c = open_image(t, path, "");
    g_autofree uint8_t *buf = g_malloc(102400);
    memset(buf, 9, 102400);
    g_assert_cmpint(bt_write(c, 0, buf, 102400, 0), ==, 0);
    g_assert_true(bt_truncate(c, 51200, &error_abort_slot));
    g_assert_true(bt_truncate(c, 40 << 20, &error_abort_slot));
    bt_check_bytes(c, 0, 51200, 9);
    bt_check_bytes(c, 51200, 200000, 0); /* what was cut off does not come back */
    g_assert_cmpint(bt_write(c, (40 << 20) - 512, buf, 512, 0), ==, 0);
    check_clean(t, block_client_node(c));
    g_autoptr(Error) err = NULL;
    g_assert_false(bt_truncate(c, 1000, &err));
    g_assert_nonnull(strstr(error_text(err), "multiple of 512"));
    block_client_free(c);
    check_by_qemu(path);
    c = open_image(t, path, "");
    bt_check_bytes(c, (40 << 20) - 512, 512, 9);
    bt_check_bytes(c, 51200, 200000, 0);
    block_client_free(c);
}

/* What lies behind the new end goes, whether a backing file lies below its first part or not: version 2 has
 * no other way to say that than no mapping. */
static void test_cut(BlockTest *t, gconstpointer options)
{
    enum { BELOW = 1 << 20, DATA = 9 << 20, WHOLE = 10 << 20, SHORT = 512 << 10 };
    g_autofree char *path = bt_path(t, "img"), *base = bt_path(t, "base"), *create = NULL;
    g_autofree uint8_t *buf = g_malloc(BELOW);
    memset(buf, 0x11, BELOW);
    bt_create(t, "raw", base, "size=1M");
    BlockClient *c = bt_client(bt_open(t, "file,filename=%s", base));
    g_assert_cmpint(bt_write(c, 0, buf, BELOW, 0), ==, 0);
    block_client_free(c);
    create = g_strdup_printf("size=10M,backing_file=%s,backing_fmt=raw,%s", base, (const char *)options);
    bt_create(t, "qcow2", path, create);
    c = open_image(t, path, "");
    memset(buf, 0x22, BELOW);
    g_assert_cmpint(bt_write(c, SHORT + 65536, buf, 65536, 0), ==, 0); /* over the backing file */
    g_assert_cmpint(bt_write(c, DATA, buf, 65536, 0), ==, 0);
    g_assert_true(bt_truncate(c, SHORT - 512, &error_abort_slot));
    check_clean(t, block_client_node(c));
    g_assert_true(bt_truncate(c, WHOLE, &error_abort_slot));
    bt_check_bytes(c, 0, SHORT - 512, 0x11);
    bt_check_bytes(c, SHORT - 512, WHOLE - SHORT + 512, 0);
    check_clean(t, block_client_node(c));
    block_client_free(c);
    check_by_qemu(path);
    c = open_image(t, path, "");
    bt_check_bytes(c, SHORT - 512, WHOLE - SHORT + 512, 0);
    block_client_free(c);
}

static void test_prealloc(BlockTest *t, gconstpointer options)
{
    g_autofree char *path = bt_path(t, "img"), *create = g_strdup_printf("size=1M,%s", (const char *)options);
    bt_create(t, "qcow2", path, create);
    BlockClient *c = open_image(t, path, "");
    bt_check_bytes(c, 0, 1 << 20, 0);
    check_clean(t, block_client_node(c));
    int64_t size = block_size(block_file(block_client_node(c)));
    g_assert_cmpint(bt_write(c, 12345, "abc", 3, 0), ==, 0);
    g_assert_cmpint(block_size(block_file(block_client_node(c))), ==, size); /* nothing was allocated */
    g_assert_true(bt_truncate(c, 2 << 20, &error_abort_slot));
    bt_check_bytes(c, 1 << 20, 1 << 20, 0);
    block_client_free(c);
    check_by_qemu(path);
}

/* The guest cluster behind `from` whose host cluster refcount block `block` counts. */
static int64_t counted_by(BlockClient *c, int64_t block, int64_t from)
{
    BlockExtent e;
    do {
        from += 512;
        g_assert_cmpint(bt_extent(c, from, 512, &e), ==, 0);
    } while (e.host_off / 512 / 64 != block);
    return from;
}

/* Discards of one cluster that each of these blocks counts. */
static void discard_in(BlockClient *c, int64_t block, int64_t end)
{
    for (; block < end; block++) {
        g_assert_cmpint(bt_discard(c, counted_by(c, block, 0), 512), ==, 0);
    }
}

/* An allocation wants a block that is not in memory; to make room for it a commit is needed, which counts
 * down a cluster of the same block. The cache must not hold it twice then: one of the two would take the
 * other with it when it goes, and a third would come from the disk without what was changed. */
static void test_nested_commit(BlockTest *t, gconstpointer data)
{
    enum { FULL = 1024 * 1024, WANTED = 6, TABLES = 8 };
    g_autofree char *path = bt_path(t, "img");
    bt_create(t, "qcow2", path, "size=3M,cluster_size=512,refcount_bits=64");
    BlockClient *c = open_image(t, path, "refcount-cache-size=4k"); /* TABLES of them */
    g_autofree uint8_t *buf = g_malloc(FULL);
    int64_t in[4], at = 0;
    memset(buf, 5, FULL);
    g_assert_cmpint(bt_write(c, 0, buf, FULL, 0), ==, 0);
    for (unsigned i = 0; i < G_N_ELEMENTS(in); i++) {
        at = in[i] = counted_by(c, WANTED, at);
    }
    g_assert_cmpint(bt_discard(c, in[0], 512), ==, 0);
    g_assert_cmpint(bt_flush(c), ==, 0); /* the next allocation is here */
    discard_in(c, WANTED + 2, WANTED + 2 + TABLES);
    g_assert_cmpint(bt_flush(c), ==, 0); /* other blocks are in memory, and differ from the disk's */
    g_assert_cmpint(bt_discard(c, in[1], 512), ==, 0);
    g_assert_cmpint(bt_write(c, FULL, buf, 512, 0), ==, 0);
    discard_in(c, WANTED + TABLES, WANTED + TABLES + 2); /* some that are in order lie behind it */
    g_assert_cmpint(bt_flush(c), ==, 0);
    g_assert_cmpint(bt_flush(c), ==, 0);
    g_assert_cmpint(bt_discard(c, in[2], 512), ==, 0);
    discard_in(c, WANTED + 2 * TABLES, WANTED + 3 * TABLES - 2);
    g_assert_cmpint(bt_discard(c, in[3], 512), ==, 0);
    g_assert_cmpint(bt_flush(c), ==, 0);
    check_clean(t, block_client_node(c));
    block_client_free(c);
    c = open_image(t, path, "read-only=on");
    check_clean(t, block_client_node(c));
    block_client_free(c);
}

static uint64_t entry_at(int fd, int64_t at)
{
    uint64_t v;
    g_assert_cmpint(pread(fd, &v, 8, at), ==, 8);
    return GUINT64_FROM_BE(v);
}

/* Clears the marks of clusters that have one user, as an older program or a cut may leave them. */
static void clear_marks(const char *path)
{
    enum { CLUSTER = 65536 };
    const uint64_t offset = 0x00fffffffffffe00;
    int fd = open(path, O_RDWR | O_CLOEXEC);
    int64_t l1 = (int64_t)entry_at(fd, 40), l2 = (int64_t)(entry_at(fd, l1) & offset);
    for (int64_t i = 0; i < CLUSTER; i += 8) {
        uint64_t e = GUINT64_TO_BE(entry_at(fd, l2 + i) & offset);
        g_assert_cmpint(pwrite(fd, &e, 8, l2 + i), ==, 8);
    }
    uint64_t e = GUINT64_TO_BE((uint64_t)l2);
    g_assert_cmpint(pwrite(fd, &e, 8, l1), ==, 8);
    close(fd);
}

typedef struct Move {
    BlockClient *c;
    uint8_t buf[512];
    bool done;
} Move;

static void move_read(void *opaque)
{
    Move *m = opaque;
    IoVec v;
    iov_init_buf(&v, m->buf, sizeof(m->buf));
    g_assert_cmpint(block_preadv(m->c, 0, &v, 0), ==, 0);
    m->done = true;
}

static void move_write(void *opaque)
{
    Move *m = opaque;
    IoVec v;
    iov_init_buf(&v, m->buf, sizeof(m->buf));
    g_assert_cmpint(block_pwritev(m->c, 4096, &v, 0), ==, 0);
    g_assert_cmpint(block_flush(m->c), ==, 0);
    m->done = true;
}

/* A write moves a cluster that is not marked as its own, and the next flush gives the old place away: who
 * reads the rest of the cluster meanwhile must be done there first. */
static void test_unmarked(BlockTest *t, gconstpointer data)
{
    enum { ROUNDS = 5 };
    g_autofree char *path = bt_path(t, "img"), *create = g_strdup_printf("size=%d", SIZE);
    BlockModel m;
    bt_without_threads(t);
    bt_create(t, "qcow2", path, create);
    bt_model_init(&m, SIZE, 150);
    for (unsigned round = 0;; round++) {
        BlockClient *c = open_image(t, path, "");
        memset(m.data, (int)round + 1, SIZE);
        g_assert_cmpint(bt_write(c, 0, m.data, SIZE, 0), ==, 0);
        block_client_free(c);
        clear_marks(path);
        if (round == ROUNDS) {
            break;
        }
        c = open_image(t, path, ""); /* in any order */
        bt_shuffle(block_client_node(c));
        bt_model_run(t, c, &m);
        check_clean(t, block_client_node(c));
        block_client_free(c);
    }
    /* In the one order that matters. */
    BlockClient *c = bt_client(
        bt_open(t, "qcow2,file.driver=blkdebug,file.image.driver=file,file.image.filename=%s", path));
    Move reads = { .c = c }, writes = { .c = c };
    g_assert_cmpint(block_debug_break(block_client_node(c), "read_aio", "r"), ==, 0);
    co_start(t->loop, move_read, &reads);
    while (!block_debug_is_suspended(block_client_node(c), "r")) {
        loop_turn(t->loop, true);
    }
    co_start(t->loop, move_write, &writes);
    for (unsigned i = 0; i < 1000; i++) { /* without threads: all it can do before the read goes on */
        loop_turn(t->loop, false);
    }
    g_assert_cmpint(block_debug_resume(block_client_node(c), "r"), ==, 0);
    while (!reads.done || !writes.done) {
        loop_turn(t->loop, true);
    }
    g_assert_cmpmem(reads.buf, sizeof(reads.buf), m.data, sizeof(reads.buf));
    block_client_free(c);
    bt_model_fini(&m);
}

#define ADD(kind, label, arg)                                                                                \
    g_test_add("/block/qcow2/" #kind "/" label, BlockTest, arg, bt_setup, test_##kind, bt_teardown)

static const Flavour flavours[] = {
    { "v3", "compat=1.1", "", false },
    { "v2", "compat=0.10", "", false },
    { "v2-backing", "compat=0.10,cluster_size=4k", "", true },
    { "backing", "cluster_size=16k", "", true },
    { "cluster-512", "cluster_size=512", "", false },
    { "cluster-512-refcount-64", "cluster_size=512,refcount_bits=64",
      "l2-cache-size=16k,refcount-cache-size=8k", false },
    { "cluster-2M", "cluster_size=2M", "", false },
    { "refcount-1", "cluster_size=4k,refcount_bits=1", "", false },
    { "refcount-4", "cluster_size=1k,refcount_bits=4", "", false },
    { "refcount-32", "cluster_size=8k,refcount_bits=32", "", false },
    { "lazy", "lazy_refcounts=on,cluster_size=4k", "", false },
    { "small-cache", "cluster_size=4k", "l2-cache-size=4k,refcount-cache-size=2k", true },
    { "extended", "extended_l2=on", "", false },
    { "extended-backing", "extended_l2=on,cluster_size=128k", "", true },
    { "data-file", "data_file=@DATA@", "", false },
    { "data-file-raw", "data_file=@DATA@,data_file_raw=on", "", false },
    { "data-file-extended", "data_file=@DATA@,extended_l2=on", "", false },
    { "direct", "cluster_size=4k", "cache.direct=on", false },
    { "uring", "cluster_size=4k", "file.aio=io_uring", true },
    { "preallocated", "preallocation=metadata", "", false },
    { "detect-zeroes", "cluster_size=4k", "detect-zeroes=unmap", true },
    { "zlib", "cluster_size=4k", "", false, true },
    { "zlib-v2", "compat=0.10,cluster_size=2k", "", false, true },
    { "zlib-extended", "extended_l2=on,cluster_size=16k", "", true, true },
    { "zstd", "compression_type=zstd,cluster_size=32k", "", true, true },
    { "cluster-1M-refcount-8", "cluster_size=1M,refcount_bits=8", "", true },
    { "refcount-2", "cluster_size=2k,refcount_bits=2,lazy_refcounts=on", "", true },
    { "chain", "cluster_size=16k", "", true, false, true },
    { "copy-on-read", "cluster_size=4k",
      "copy-on-read,file.driver=qcow2,file.file.driver=file,file.file.filename=@PATH@", true, true, true },
    { "above-blkdebug", "cluster_size=4k",
      "qcow2,file.driver=blkdebug,file.align=4096,file.max-transfer=16384,file.image.driver=file,"
      "file.image.filename=@PATH@",
      true },
    { "above-raw", "cluster_size=4k", "qcow2,file.driver=raw,file.file.driver=file,file.file.filename=@PATH@",
      true },
    { "above-throttle", "cluster_size=4k",
      "qcow2,file.driver=throttle,file.throttle-group=g,file.file.driver=file,"
      "file.file.filename=@PATH@",
      true },
    { "above-log", "cluster_size=16k",
      "qcow2,file.driver=blklogwrites,file.log.driver=null-co,file.log.size=1T,file.file.driver=file,"
      "file.file.filename=@PATH@" },
    { "below-throttle", "cluster_size=4k,lazy_refcounts=on",
      "throttle,throttle-group=g,file.driver=qcow2,file.file.driver=file,file.file.filename=@PATH@" },
    { "below-log", "cluster_size=4k",
      "blklogwrites,log.driver=null-co,log.size=1T,file.driver=qcow2,file.file.driver=file,"
      "file.file.filename=@PATH@" },
    { "below-filters", "extended_l2=on,cluster_size=16k",
      "copy-on-read,file.driver=blkdebug,file.align=512,file.image.driver=qcow2,file.image.file.driver=file,"
      "file.image.file.filename=@PATH@",
      true },
};

int main(int argc, char **argv)
{
    bt_init(&argc, &argv);
    for (unsigned i = 0; i < G_N_ELEMENTS(flavours); i++) {
        g_autofree char *path = g_strdup_printf("/block/qcow2/model/%s", flavours[i].name),
                        *other = g_strdup_printf("/block/qcow2/shuffled/%s", flavours[i].name);
        g_test_add(path, BlockTest, &flavours[i], bt_setup, test_model, bt_teardown);
        g_test_add(other, BlockTest, &flavours[i], bt_setup, test_shuffled, bt_teardown);
    }
    ADD(compressed, "zlib", "cluster_size=64k");
    ADD(compressed, "zstd", "compression_type=zstd,cluster_size=16k");
    ADD(compressed, "small", "cluster_size=4k,refcount_bits=2");
    ADD(compressed, "extended", "extended_l2=on");
    ADD(compressed, "v2", "compat=0.10");
    ADD(snapshots, "v3", "cluster_size=4k");
    ADD(snapshots, "v2", "compat=0.10");
    ADD(snapshots, "extended", "extended_l2=on");
    ADD(snapshots, "lazy", "lazy_refcounts=on,cluster_size=16k");
    ADD(resize, "v3", "cluster_size=64k");
    ADD(resize, "small", "cluster_size=512");
    ADD(resize, "v2", "compat=0.10,cluster_size=4k");
    ADD(resize, "extended", "extended_l2=on");
    ADD(cut, "v3", "cluster_size=64k");
    ADD(cut, "v2", "compat=0.10");
    ADD(cut, "extended", "extended_l2=on");
    ADD(nested_commit, "small-cache", NULL);
    ADD(unmarked, "shuffled", NULL);
    ADD(prealloc, "metadata", "preallocation=metadata");
    ADD(prealloc, "falloc", "preallocation=falloc,cluster_size=4k");
    ADD(prealloc, "full", "preallocation=full,extended_l2=on");
    return g_test_run();
}
