/* SPDX-License-Identifier: MIT
 * tests/unit/block/test-hostile.c - qcow2 images that lie: one clear error each, no write on open, bounded
 * memory.
 * Covers: block/qcow2.c, qcow2-cache.c, qcow2-check.c, qcow2-io.c, qcow2-map.c, qcow2-ref.c.
 */
#include "blocktest.h"
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

enum { IMG = 1024 * 1024 };

static char *make(BlockTest *t)
{
    char *path = bt_path(t, "img");
    bt_create(t, "qcow2", path, "size=1M");
    BlockClient *c = bt_client(bt_open(t, "qcow2,file.driver=file,file.filename=%s", path));
    g_assert_cmpint(bt_write(c, 0, "hello", 5, 0), ==, 0);
    block_client_free(c);
    return path;
}

static void poke(const char *path, int64_t at, const void *bytes, size_t n)
{
    int fd = open(path, O_RDWR | O_CLOEXEC);
    g_assert_cmpint(pwrite(fd, bytes, n, at), ==, (ssize_t)n);
    close(fd);
}

static void poke32(const char *path, int64_t at, uint32_t v)
{
    v = GUINT32_TO_BE(v);
    poke(path, at, &v, 4);
}

static void poke64(const char *path, int64_t at, uint64_t v)
{
    v = GUINT64_TO_BE(v);
    poke(path, at, &v, 8);
}

static const struct {
    unsigned at, bytes;
    uint64_t value;
    const char *expect;
} headers[] = {
    { 0, 4, 0x514649fa, "not a qcow2 image" },
    { 4, 4, 1, "version 1" },
    { 4, 4, 4, "version 4" },
    { 8, 8, UINT64_MAX, "backing file's name" },
    { 8, 8, 64, "backing file's name" },
    { 20, 4, 8, "2^8" },
    { 20, 4, 22, "2^22" },
    { 20, 4, 63, "2^63" },
    { 24, 8, UINT64_MAX, "size of" },
    { 24, 8, (uint64_t)1 << 60, "too small" },
    { 32, 4, 1, "encrypted" },
    { 36, 4, UINT32_MAX, "larger than" },
    { 36, 4, 0, "too small" },
    { 36, 4, 1000000, "within the file" },
    { 40, 8, 3, "within the file" },
    { 40, 8, (uint64_t)1 << 62, "within the file" },
    { 48, 8, 1, "within the file" },
    { 48, 8, (uint64_t)1 << 50, "within the file" },
    { 56, 4, 0, "no refcount table" },
    { 56, 4, UINT32_MAX, "larger than" },
    { 60, 4, UINT32_MAX, "snapshot table" },
    { 60, 4, 1, "snapshot table" },
    { 72, 8, 32, "unknown incompatible features" },
    { 72, 8, (uint64_t)1 << 63, "unknown incompatible features" },
    { 72, 8, 4, "does not name its data file" },
    { 72, 8, 8, "contradict" },
    { 88, 8, 1, "bitmaps" },
    { 96, 4, 7, "2^7" },
    { 100, 4, 96, "header's length" },
    { 100, 4, 105, "header's length" },
    { 100, 4, 0x7ffffff8, "header's length" },
    { 104, 1, 2, "compression type 2" },
    { 116, 4, 0x40000000, "longer than" }, /* the first extension's length */
};

static void test_headers(BlockTest *t, gconstpointer data)
{
    g_autofree char *good = NULL;
    gsize len;
    g_autofree char *path = make(t);
    g_assert_true(g_file_get_contents(path, &good, &len, NULL));
    for (unsigned i = 0; i < G_N_ELEMENTS(headers); i++) {
        g_assert_true(g_file_set_contents(path, good, (gssize)len, NULL));
        if (headers[i].at == 8 && headers[i].value == 64) {
            poke32(path, 16, 10);
        }
        if (headers[i].bytes == 8) {
            poke64(path, headers[i].at, headers[i].value);
        } else if (headers[i].bytes == 4) {
            poke32(path, headers[i].at, (uint32_t)headers[i].value);
        } else {
            poke(path, headers[i].at, &(uint8_t){ (uint8_t)headers[i].value }, 1);
        }
        g_autofree char *before = NULL, *after = NULL;
        gsize n, n2;
        g_assert_true(g_file_get_contents(path, &before, &n, NULL));
        bt_open_fails(t, headers[i].expect, "qcow2,file.driver=file,file.filename=%s", path);
        g_assert_true(g_file_get_contents(path, &after, &n2, NULL));
        g_assert_cmpmem(before, n, after, n2);
    }
    for (unsigned cut = 0; cut < 200; cut += 7) { /* truncated files */
        g_assert_true(g_file_set_contents(path, good, cut, NULL));
        bt_open_fails(t, "", "qcow2,file.driver=file,file.filename=%s", path);
    }
}

static void test_loop(BlockTest *t, gconstpointer data)
{
    g_autofree char *path = bt_path(t, "img");
    const char *create = "size=1M,backing_file=img,backing_fmt=qcow2";
    bt_create(t, "qcow2", path, create);
    bt_open_fails(t, "on top of each other", "qcow2,read-only=on,file.driver=file,file.filename=%s", path);
    bt_create(t, "qcow2", path, "size=1M,backing_file=missing,backing_fmt=raw");
    bt_open_fails(t, "backing file of", "qcow2,file.driver=file,file.filename=%s", path);
    block_unref(bt_open(
        t, "{'driver': 'qcow2', 'backing': null, 'file': {'driver': 'file', 'filename': '%s'}}", path));
}

/* Random damage anywhere: opening, reading, writing, checking and repairing never crash; a repaired image is
 * clean. */
static void test_damage(BlockTest *t, gconstpointer data)
{
    g_autofree char *path = bt_path(t, "img"), *good = NULL;
    gsize len;
    bt_create(t, "qcow2", path, data);
    BlockClient *c = bt_client(bt_open(t, "qcow2,file.driver=file,file.filename=%s", path));
    g_autofree uint8_t *buf = g_malloc0(IMG);
    memset(buf, 3, IMG / 2);
    g_assert_cmpint(bt_write(c, 4096, buf, IMG / 2, 0), ==, 0);
    block_client_free(c);
    g_assert_true(g_file_get_contents(path, &good, &len, NULL));
    unsigned opened = 0, repaired = 0;
    for (unsigned i = 0; i < bt_ops(100); i++) {
        g_assert_true(g_file_set_contents(path, good, (gssize)len, NULL));
        for (int n = g_random_int_range(1, 6); n > 0; n--) {
            static const uint64_t values[] = { 0,
                                               1,
                                               UINT64_MAX,
                                               0x10000,
                                               0x8000000000010000,
                                               0x4000000000000000,
                                               0x30000,
                                               0x00ff000000000000,
                                               0x8000000000000000 };
            int64_t cluster = g_random_int_range(0, (int)(len / 4096)) * 4096;
            uint64_t v = g_random_boolean() ? values[g_random_int_range(0, G_N_ELEMENTS(values))]
                                            : (uint64_t)g_random_int() << (g_random_int() & 31);
            poke64(path, cluster + g_random_int_range(0, g_random_boolean() ? 16 : 512) * 8, v);
        }
        bool from_text;
        g_autofree char *text = g_strdup_printf("qcow2,file.driver=file,file.filename=%s", path);
        g_autoptr(Json) o = keyval_parse(text, "driver", &from_text, &error_abort_slot);
        BlockNode *n = block_open(t->graph, o, from_text, NULL);
        c = n ? block_client_new(n, "test", BLOCK_PERM_READ | BLOCK_PERM_WRITE, BLOCK_PERM_READ, NULL) : NULL;
        if (!c) {
            block_unref(n);
            continue;
        }
        opened++;
        size_t some = (size_t)MIN(block_size(n), (int64_t)IMG);
        bt_read(c, 0, buf, some);
        unsigned fix = 0;
        if (i & 1) {
            bt_write(c, 0, buf, some / 2, 0);
            bt_discard(c, 0, (int64_t)some / 4);
            bt_flush(c);
        } else {
            fix = BLOCK_FIX_LEAKS | BLOCK_FIX_ERRORS;
        }
        BlockCheck res;
        bt_check(t, n, fix, &res);
        block_client_free(c);
        block_unref(n);
        repaired += fix && !res.corruptions && !res.check_errors;
    }
    g_test_message("%u could be opened, %u were repaired", opened, repaired);
    g_assert_cmpuint(opened, >, 0);
}

/* An image made by hand, of clusters of 2 MiB: header, refcount table and block, L1 table, L2 table, data. */
enum { BIG = 2 * 1024 * 1024, REFTABLE_AT = BIG, BLOCK_AT = 2 * BIG, L1_AT = 3 * BIG, L2_AT = 4 * BIG };

static char *big_image(BlockTest *t, uint32_t l1_entries, uint64_t reftable_entry, unsigned reftable_used)
{
    char *path = bt_file(t, "big", 6 * BIG);
    poke32(path, 0, 0x514649fb);
    poke32(path, 4, 3);
    poke32(path, 20, 21);
    poke64(path, 24, 1 << 30);
    poke32(path, 36, l1_entries);
    poke64(path, 40, L1_AT);
    poke64(path, 48, REFTABLE_AT);
    poke32(path, 56, 1);
    poke32(path, 96, 4);
    poke32(path, 100, 104);
    for (unsigned i = 0; i < 6; i++) {
        poke(path, BLOCK_AT + 2 * i, "\0\1", 2);
    }
    g_autofree uint64_t *l1 = g_new(uint64_t, l1_entries), *refs = g_new(uint64_t, reftable_used);
    for (unsigned i = 0; i < l1_entries; i++) {
        l1[i] = GUINT64_TO_BE(L2_AT);
    }
    for (unsigned i = 0; i < reftable_used; i++) {
        refs[i] = GUINT64_TO_BE(i ? reftable_entry : BLOCK_AT);
    }
    poke(path, L1_AT, l1, l1_entries * 8);
    poke(path, REFTABLE_AT, refs, reftable_used * 8);
    poke64(path, L2_AT, 5 * BIG);
    return path;
}

typedef struct SnapshotCall {
    BlockNode *n;
    bool ok;
} SnapshotCall;

static void snapshot_body(void *opaque)
{
    SnapshotCall *k = opaque;
    k->ok = k->n->driver->format->snapshot_create(k->n, "x", NULL);
}

/* A small file whose tables name each other over and over: no command takes longer than the file is long. As
 * many steps as the tables promise would be 10^11. */
static void test_repetition(BlockTest *t, gconstpointer data)
{
    BlockCheck res;
    g_autofree char *path = big_image(t, BIG / 8, 0, 1);
    BlockNode *n = bt_open(t, "qcow2,file.driver=file,file.filename=%s", path);
    g_assert_cmpint(bt_check(t, n, 0, &res), ==, 0);
    g_assert_cmpint(res.corruptions, >, 0);
    SnapshotCall k = { n };
    bt_run(t, snapshot_body, &k);
    g_assert_false(k.ok);
    block_unref(n);
    /* The same with snapshots, which all have one L1 table. */
    g_autofree uint8_t *table = g_malloc0(65536 * 48);
    for (unsigned i = 0; i < 40000; i++) { /* 40 bytes, and an id; no name */
        uint32_t size = GUINT32_TO_BE(BIG / 8);
        uint64_t at = GUINT64_TO_BE(L1_AT);
        memcpy(table + 48 * i, &at, 8);
        memcpy(table + 48 * i + 8, &size, 4);
        table[48 * i + 13] = 5;
        g_snprintf((char *)table + 48 * i + 40, 8, "%05u", i);
    }
    poke(path, 5 * BIG, table, 40000 * 48);
    poke32(path, 60, 40000);
    poke64(path, 64, 5 * BIG);
    n = bt_open(t, "qcow2,file.driver=file,file.filename=%s", path);
    g_assert_cmpint(bt_check(t, n, 0, &res), ==, 0);
    g_assert_cmpint(res.corruptions, >=, 40000);
    block_unref(n);
}

/* Refcount blocks that are one block, or behind the end of the file: found before anything is written. */
static void test_refcount_blocks(BlockTest *t, gconstpointer data)
{
    static const uint64_t places[] = { BLOCK_AT, L1_AT, L2_AT, (uint64_t)1 << 40 };
    for (unsigned i = 0; i < G_N_ELEMENTS(places); i++) {
        BlockCheck res;
        g_autofree char *path = big_image(t, 1, places[i], BIG / 8);
        BlockClient *c = bt_client(bt_open(t, "qcow2,file.driver=file,file.filename=%s", path));
        g_assert_cmpint(bt_check(t, block_client_node(c), 0, &res), ==, 0);
        g_assert_cmpint(res.corruptions, >, 0);
        bool found = bt_write(c, 512 << 20, "abc", 3, 0) < 0;
        g_assert_true(found || places[i] > BIG * 10);
        block_client_free(c);
    }
}

static uint64_t peek64(const char *path, int64_t at)
{
    uint64_t v;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    g_assert_cmpint(pread(fd, &v, 8, at), ==, 8);
    close(fd);
    return GUINT64_FROM_BE(v);
}

/* Where the tables of an image of 4 KiB clusters are that has data at guest offset 0. */
enum { SMALL = 4096 };
typedef struct Places {
    char *path;
    uint64_t l1, l2, data, reftable, block;
} Places;

static void places_find(BlockTest *t, Places *p)
{
    static const uint64_t mask = 0x00fffffffffffe00;
    p->path = bt_path(t, "small");
    bt_create(t, "qcow2", p->path, "size=64M,cluster_size=4k");
    BlockClient *c = bt_client(bt_open(t, "qcow2,file.driver=file,file.filename=%s", p->path));
    g_assert_cmpint(bt_write(c, 0, "hello", 5, 0), ==, 0);
    block_client_free(c);
    p->l1 = peek64(p->path, 40);
    p->l2 = peek64(p->path, (int64_t)p->l1) & mask;
    p->data = peek64(p->path, (int64_t)p->l2) & mask;
    p->reftable = peek64(p->path, 48);
    p->block = peek64(p->path, (int64_t)p->reftable);
}

/* A cluster in use is counted as free. The guest gives it up, and the next tables want one: it is not taken
 * while it waits to be counted down, when it would become free with a table in it. */
static void test_waiting(BlockTest *t, gconstpointer data)
{
    Places p;
    int r = 0;
    places_find(t, &p);
    poke(p.path, (int64_t)(p.block + 2 * (p.data / SMALL)), "\0\0", 2);
    BlockClient *c = bt_client(bt_open(t, "qcow2,file.driver=file,file.filename=%s", p.path));
    g_assert_cmpint(bt_discard(c, 0, SMALL), ==, 0);
    for (int64_t off = 2 << 20; r == 0 && off < 32 << 20; off += 2 << 20) { /* an L2 table for each */
        r = bt_write(c, off, "abc", 3, 0);
    }
    g_assert_cmpint(r, ==, -EIO);
    block_client_free(c);
    g_free(p.path);
}

/* An entry names a table as the guest's data: giving that up does not free the table. */
static void test_discard_table(BlockTest *t, gconstpointer data)
{
    Places p;
    places_find(t, &p);
    const uint64_t tables[] = { p.l1, p.l2, p.reftable, p.block };
    for (unsigned i = 0; i < G_N_ELEMENTS(tables); i++) {
        poke64(p.path, (int64_t)p.l2 + 8, (uint64_t)1 << 63 | tables[i]);
        poke64(p.path, 72, 0); /* the mark of the last time */
        BlockClient *c = bt_client(bt_open(t, "qcow2,file.driver=file,file.filename=%s", p.path));
        bt_discard(c, SMALL, SMALL);
        g_assert_cmpint(bt_flush(c), ==, -EIO);
        g_assert_cmpint(bt_write(c, 4 << 20, "abc", 3, 0), ==, -EIO);
        block_client_free(c);
        g_assert_cmpuint(peek64(p.path, 72), ==, 2);
    }
    g_free(p.path);
}

/* An entry that reads as zeros, or that compressed data replaces, has a place that data would go to: not when
 * that is a table, or in the middle of clusters. */
static void test_write_table(BlockTest *t, gconstpointer data)
{
    static const uint64_t zero = (uint64_t)1 << 63 | 1, normal = (uint64_t)1 << 63;
    Places p;
    places_find(t, &p);
    const struct {
        uint64_t entry;
        unsigned flags;
    } cases[] = { { zero | p.l1, 0 },
                  { zero | p.l2, 0 },
                  { zero | p.reftable, 0 },
                  { zero | p.block, 0 },
                  { normal | p.l1, BLK_COMPRESSED },
                  { normal | p.block, BLK_COMPRESSED },
                  { normal | (p.data + 512), BLK_COMPRESSED } };
    for (unsigned i = 0; i < G_N_ELEMENTS(cases); i++) {
        uint8_t buf[SMALL];
        g_autofree char *before = NULL, *after = NULL;
        gsize len, len2;
        for (unsigned k = 0; k < SMALL; k++) { /* does not get smaller */
            buf[k] = (uint8_t)g_random_int();
        }
        poke64(p.path, (int64_t)p.l2 + 8, cases[i].entry);
        poke64(p.path, 72, 0); /* the mark of the last time */
        g_assert_true(g_file_get_contents(p.path, &before, &len, NULL));
        BlockClient *c = bt_client(bt_open(t, "qcow2,file.driver=file,file.filename=%s", p.path));
        g_assert_cmpint(bt_write(c, SMALL, buf, SMALL, cases[i].flags), ==, -EIO);
        block_client_free(c);
        g_assert_cmpuint(peek64(p.path, 72), ==, 2);
        poke64(p.path, 72, 0);
        g_assert_true(g_file_get_contents(p.path, &after, &len2, NULL));
        g_assert_cmpmem(before, len, after, len2);
    }
    g_free(p.path);
}

static void test_corrupt_bit(BlockTest *t, gconstpointer data)
{
    g_autofree char *path = make(t);
    poke64(path, 72, 2);
    BlockNode *n = bt_open(t, "qcow2,file.driver=file,file.filename=%s", path);
    g_autoptr(Error) err = NULL;
    g_assert_null(block_client_new(n, "x", BLOCK_PERM_WRITE, BLOCK_PERM_READ, &err));
    g_assert_nonnull(strstr(error_text(err), "marked as corrupt"));
    BlockCheck res;
    g_assert_cmpint(bt_check(t, n, BLOCK_FIX_ERRORS, &res), ==, 0);
    BlockClient *c = block_client_new(n, "x", BLOCK_PERM_WRITE, BLOCK_PERM_READ, &error_abort_slot);
    block_client_free(c);
    block_unref(n);
}

#define ADD(name, label, arg)                                                                                \
    g_test_add("/block/hostile/" #name label, BlockTest, arg, bt_setup, test_##name, bt_teardown)

int main(int argc, char **argv)
{
    bt_init(&argc, &argv);
    g_log_set_always_fatal(G_LOG_FATAL_MASK);
    ADD(headers, "", NULL);
    ADD(loop, "", NULL);
    ADD(corrupt_bit, "", NULL);
    ADD(repetition, "", NULL);
    ADD(refcount_blocks, "", NULL);
    ADD(waiting, "", NULL);
    ADD(discard_table, "", NULL);
    ADD(write_table, "", NULL);
    ADD(damage, "/small", "size=1M,cluster_size=4k");
    ADD(damage, "/extended", "size=1M,cluster_size=16k,extended_l2=on");
    ADD(damage, "/v2", "size=1M,cluster_size=4k,compat=0.10");
    return g_test_run();
}
