/* SPDX-License-Identifier: MIT
 * tests/unit/block/test-bitmap.c - dirty bitmaps against a flat copy; storing, loading, damaged directories.
 * Covers: block/bitmap.c, bitmap-cmd.c, qcow2-bitmap.c, qcow2-header.c.
 */
#include "blocktest.h"
#include "rhea/block/bitmap.h"
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

enum { SIZE = 24 * 1024 * 1024 + 1536, UNIT = 512 };

/* dirty[i]: UNIT bytes were touched. */
typedef struct Model {
    uint8_t *dirty;
    int64_t size;
} Model;

static void touch(Model *m, int64_t off, int64_t len)
{
    for (int64_t i = off / UNIT; len && i <= (off + len - 1) / UNIT; i++) {
        m->dirty[i] = 1;
    }
}

static void random_io(BlockClient *c, Model *m, unsigned n)
{
    static uint8_t buf[400000];
    while (n--) {
        int64_t off = g_random_int_range(0, (int)m->size - 1);
        int64_t len = g_random_int_range(1, g_random_boolean() ? 3000 : (int)sizeof(buf));
        len = MIN(len, m->size - off);
        int kind = g_random_int_range(0, 4);
        int r = kind < 2    ? bt_write(c, off, buf, (size_t)len, 0)
                : kind == 2 ? bt_zero(c, off, len, BLK_MAY_UNMAP)
                            : bt_discard(c, off, len);
        g_assert_cmpint(r, ==, 0);
        touch(m, off, len);
    }
}

/* Exactly the units that hold something touched are dirty. */
static void compare(BlockBitmap *b, const Model *m)
{
    int64_t unit = (int64_t)1 << b->granularity_bits, want = 0, at = 0, start, bytes;
    for (int64_t off = 0; off < m->size; off += unit) {
        bool dirty = false;
        for (int64_t i = off / UNIT; i * UNIT < MIN(off + unit, m->size); i++) {
            dirty |= m->dirty[i];
        }
        bool is = block_bitmap_next(b, off, MIN(off + unit, m->size), &start, &bytes);
        g_assert_cmpint(is, ==, dirty);
        want += dirty ? unit : 0;
    }
    g_assert_cmpint(block_bitmap_dirty_bytes(b), ==, want);
    while (block_bitmap_next(b, at, m->size, &start, &bytes)) {
        g_assert_cmpint(start, >=, at);
        g_assert_cmpint(bytes, >, 0);
        at = start + bytes;
    }
}

static const struct {
    const char *name;
    uint64_t granularity;
} bitmaps[] = { { "fine", 512 }, { "middle", 65536 }, { "coarse", 4 << 20 }, { "one bit", 1 << 30 } };

static BlockClient *open_image(BlockTest *t, const char *path)
{
    return bt_client(bt_open(t, "qcow2,file.driver=file,file.filename=%s", path));
}

static BlockBitmap *get(BlockClient *c, const char *name)
{
    return block_bitmap_get(block_client_node(c), name, &error_abort_slot);
}

typedef struct Snap {
    BlockNode *n;
    bool del;
} Snap;

static void snap_body(void *opaque)
{
    Snap *s = opaque;
    const BlockFormatOps *f = s->n->driver->format;
    (s->del ? f->snapshot_delete : f->snapshot_create)(s->n, "s", &error_abort_slot);
}

static void test_model(BlockTest *t, gconstpointer data)
{
    g_autofree char *path = bt_path(t, "img"),
                    *options = g_strdup_printf("size=%d,%s", SIZE, (const char *)data);
    Model m = { g_malloc0(SIZE), SIZE };
    bt_create(t, "qcow2", path, options);
    BlockClient *c = open_image(t, path);
    BlockNode *n = block_client_node(c);
    for (unsigned i = 0; i < G_N_ELEMENTS(bitmaps); i++) {
        block_bitmap_cmd_add(n, bitmaps[i].name, bitmaps[i].granularity, true, true, &error_abort_slot);
    }
    block_bitmap_cmd_add(n, "volatile", 0, false, true, &error_abort_slot);
    for (unsigned round = 0; round < 6; round++) {
        random_io(c, &m, round == 3 ? 0 : 30);
        if (round == 2 || round == 4) {
            Snap s = { block_client_node(c), round == 4 };
            bt_run(t, snap_body, &s);
        }
        if (round == 1) { /* shorter, then longer again: what was behind the end is forgotten */
            m.size = SIZE - 5 * 1024 * 1024 - 1536;
            g_assert_true(bt_truncate(c, m.size, &error_abort_slot));
            g_assert_true(bt_truncate(c, SIZE, &error_abort_slot));
            memset(m.dirty + m.size / UNIT, 0, (size_t)(SIZE - m.size) / UNIT);
            m.size = SIZE;
        }
        for (unsigned i = 0; round != 1 && i < G_N_ELEMENTS(bitmaps); i++) {
            compare(get(c, bitmaps[i].name), &m);
        }
        block_client_free(c);
        c = open_image(t, path);
        g_assert_null(block_bitmap_find(block_client_node(c), "volatile"));
        for (unsigned i = 0; i < 2; i++) { /* whose units end where the shorter image did */
            g_assert_true(get(c, bitmaps[i].name)->recording);
            compare(get(c, bitmaps[i].name), &m);
        }
        if (round == 1) { /* the coarser ones kept a bit that reaches over it */
            for (unsigned i = 2; i < G_N_ELEMENTS(bitmaps); i++) {
                block_bitmap_cmd_clear(block_client_node(c), bitmaps[i].name, &error_abort_slot);
                BlockBitmap *from = get(c, "fine");
                block_bitmap_cmd_merge(block_client_node(c), bitmaps[i].name, &from, 1, &error_abort_slot);
            }
        }
        BlockCheck res;
        g_assert_cmpint(bt_check(t, block_client_node(c), 0, &res), ==, 0);
        g_assert_cmpint(res.corruptions + res.leaks, ==, 0);
    }
    for (unsigned i = 0; i < G_N_ELEMENTS(bitmaps); i++) {
        compare(get(c, bitmaps[i].name), &m);
        block_bitmap_cmd_remove(block_client_node(c), bitmaps[i].name, &error_abort_slot);
    }
    block_client_free(c);
    c = open_image(t, path);
    g_assert_cmpuint(block_bitmap_count(block_client_node(c)), ==, 0);
    BlockCheck res;
    g_assert_cmpint(bt_check(t, block_client_node(c), 0, &res), ==, 0);
    g_assert_cmpint(res.corruptions + res.leaks, ==, 0);
    block_client_free(c);
    g_free(m.dirty);
}

/* What is on disk while an image is being written says that its bitmaps are old. */
static void test_open(BlockTest *t, gconstpointer data)
{
    g_autofree char *path = bt_path(t, "img"), *copy = bt_path(t, "copy");
    char *content;
    gsize len;
    Error *err = NULL;
    bt_create(t, "qcow2", path, "size=1M");
    BlockClient *c = open_image(t, path);
    block_bitmap_cmd_add(block_client_node(c), "b", 0, true, true, &error_abort_slot);
    block_client_free(c);
    for (int how = 0; how < 3; how++) { /* opened; a write; a bitmap that changes */
        c = open_image(t, path);
        g_assert_false(get(c, "b")->inconsistent);
        if (how == 1) {
            g_assert_cmpint(bt_zero(c, 0, 512, 0), ==, 0);
        } else if (how == 2) {
            block_bitmap_cmd_clear(block_client_node(c), "b", &error_abort_slot);
        }
        g_assert_true(g_file_get_contents(path, &content, &len, NULL));
        g_assert_true(g_file_set_contents(copy, content, (gssize)len, NULL));
        g_free(content);
        block_client_free(c);
        c = open_image(t, copy);
        g_assert_cmpint(get(c, "b")->inconsistent, ==, how > 0);
        if (how) {
            g_assert_false(block_bitmap_cmd_clear(block_client_node(c), "b", &err));
            g_clear_pointer(&err, error_free);
            g_assert_false(bt_truncate(c, 2 << 20, &err));
            g_clear_pointer(&err, error_free);
            block_bitmap_cmd_remove(block_client_node(c), "b", &error_abort_slot);
            g_assert_true(bt_truncate(c, 2 << 20, &error_abort_slot));
        }
        block_client_free(c);
        c = open_image(t, copy);
        BlockCheck res;
        g_assert_cmpint(bt_check(t, block_client_node(c), 0, &res), ==, 0);
        g_assert_cmpint(res.corruptions + res.leaks, ==, 0);
        block_client_free(c);
    }
    c = open_image(t, path);
    get(c, "b")->busy = 1;
    g_assert_false(block_bitmap_cmd_remove(block_client_node(c), "b", &err));
    g_clear_pointer(&err, error_free);
    get(c, "b")->busy = 0;
    block_client_free(c);
}

/* Commands of another session, in the turns of the loop in which one of ours marks the image. */
typedef struct Meddle {
    Task task;
    BlockNode *n;
    const char *name; /* the bitmap they are about */
    bool ran;
} Meddle;

static void refused(bool done, Error **err, const char *text)
{
    g_assert_false(done);
    g_assert_nonnull(strstr(error_text(*err), text));
    g_clear_pointer(err, error_free);
}

static void meddle(void *opaque)
{
    Meddle *k = opaque;
    Error *err = NULL;
    k->ran = true;
    g_assert_cmpuint(k->n->refs, >, 2); /* blockdev-del is refused */
    refused(block_bitmap_cmd_remove(k->n, k->name, &err), &err, "in use by another operation");
    refused(block_bitmap_cmd_clear(k->n, k->name, &err), &err, "in use by another operation");
    refused(block_bitmap_cmd_record(k->n, k->name, true, &err), &err, "in use by another operation");
    refused(block_bitmap_cmd_add(k->n, k->name, 0, false, true, &err), &err, "already exists");
}

enum { CMD_ADD, CMD_REMOVE, CMD_CLEAR, CMD_RECORD, CMD_MERGE_TO, CMD_MERGE_FROM, CMD_MERGE_SELF, CMDS };

static void test_meddle(BlockTest *t, gconstpointer data)
{
    g_autofree char *path = bt_path(t, "img");
    for (int cmd = 0; cmd < CMDS; cmd++) {
        bt_create(t, "qcow2", path, "size=1M");
        BlockClient *c = open_image(t, path);
        BlockNode *n = block_client_node(c);
        block_bitmap_cmd_add(n, "a", 0, true, true, &error_abort_slot);
        block_bitmap_cmd_add(n, "b", 0, true, true, &error_abort_slot);
        g_assert_cmpint(bt_zero(c, 65536, 512, 0), ==, 0);
        block_client_free(c);
        c = open_image(t, path); /* the first change marks the image, which waits for the file */
        n = block_client_node(c);
        block_ref(n);
        BlockBitmap *a = get(c, "a"), *b = get(c, "b");
        block_bitmap_clear(b);
        Meddle k = { .n = n, .name = cmd == CMD_ADD ? "new" : cmd == CMD_MERGE_TO ? "b" : "a" };
        k.task = (Task){ .run = meddle, .opaque = &k };
        loop_post(t->loop, &k.task);
        switch (cmd) {
        case CMD_ADD: block_bitmap_cmd_add(n, "new", 0, true, false, &error_abort_slot); break;
        case CMD_REMOVE: block_bitmap_cmd_remove(n, "a", &error_abort_slot); break;
        case CMD_CLEAR: block_bitmap_cmd_clear(n, "a", &error_abort_slot); break;
        case CMD_RECORD: block_bitmap_cmd_record(n, "a", false, &error_abort_slot); break;
        case CMD_MERGE_TO:
        case CMD_MERGE_FROM: block_bitmap_cmd_merge(n, "b", &a, 1, &error_abort_slot); break;
        case CMD_MERGE_SELF: block_bitmap_cmd_merge(n, "a", &a, 1, &error_abort_slot); break;
        }
        g_assert_true(k.ran);
        g_assert_cmpuint(n->refs, ==, 2);
        block_client_free(c);
        block_unref(n);
        c = open_image(t, path);
        n = block_client_node(c);
        a = block_bitmap_find(n, "a");
        b = get(c, "b");
        g_assert_cmpint(a != NULL, ==, cmd != CMD_REMOVE);
        g_assert_cmpint(block_bitmap_find(n, "new") != NULL, ==, cmd == CMD_ADD);
        g_assert_true(!a || block_bitmap_dirty_bytes(a) == (cmd == CMD_CLEAR ? 0 : 65536));
        g_assert_true(!a || a->recording == (cmd != CMD_RECORD));
        g_assert_cmpint(block_bitmap_dirty_bytes(b), ==,
                        cmd == CMD_MERGE_TO || cmd == CMD_MERGE_FROM ? 65536 : 0);
        for (unsigned i = 0; i < block_bitmap_count(n); i++) { /* nothing is held any more */
            g_assert_true(block_bitmap_usable(block_bitmap_at(n, i), &error_abort_slot));
        }
        block_bitmap_cmd_remove(n, "b", &error_abort_slot);
        block_client_free(c);
    }
}

/* A size with which the bits would take more than the limit is refused before anything is changed. What just
 * fits can be stored and loaded. */
static void test_limit(BlockTest *t, gconstpointer data)
{
    const int64_t most = BLOCK_BITMAP_MAX_BYTES * 8 * 512;
    const int64_t sizes[] = { most + 512, (int64_t)1 << 51, (int64_t)1 << 52 };
    g_autofree char *path = bt_path(t, "img"), *before = NULL, *after = NULL;
    gsize len, len2;
    bool persistent = GPOINTER_TO_INT(data);
    bt_create(t, "qcow2", path, "size=1M,cluster_size=2M");
    BlockClient *c = open_image(t, path);
    BlockNode *n = block_client_node(c);
    block_bitmap_cmd_add(n, "fine", 512, persistent, true, &error_abort_slot);
    g_assert_cmpint(bt_write(c, 0, "x", 1, 0), ==, 0);
    g_assert_true(g_file_get_contents(path, &before, &len, NULL));
    for (unsigned i = 0; i < G_N_ELEMENTS(sizes); i++) {
        g_autoptr(Error) err = NULL;
        g_assert_false(bt_truncate(c, sizes[i], &err));
        g_assert_nonnull(strstr(error_text(err), "the bitmaps of"));
        g_assert_cmpint(block_size(n), ==, 1 << 20);
    }
    g_assert_true(g_file_get_contents(path, &after, &len2, NULL));
    g_assert_cmpmem(before, len, after, len2);
    g_assert_true(bt_truncate(c, most, &error_abort_slot));
    g_assert_cmpint(bt_write(c, most - 512, "x", 1, 0), ==, 0);
    g_assert_cmpint(block_bitmap_dirty_bytes(get(c, "fine")), ==, 1024);
    block_client_free(c);
    c = open_image(t, path);
    BlockBitmap *b = block_bitmap_find(block_client_node(c), "fine");
    g_assert_true(persistent ? b && !b->inconsistent && block_bitmap_dirty_bytes(b) == 1024 : !b);
    block_client_free(c);
}

/* Damage: bytes at an offset of the directory (or of a table, or the extension), and what becomes of it. */
static const struct {
    enum { IN_DIR, IN_TABLE, IN_EXT } where;
    unsigned at, len;
    uint64_t value;
    enum { BAD, USELESS, KEPT } what; /* none can be used; this one is inconsistent; it is left alone */
} damage[] = {
    { IN_EXT, 0, 4, 0, BAD },
    { IN_EXT, 0, 4, 3, BAD },
    { IN_EXT, 0, 4, UINT32_MAX, BAD },
    { IN_EXT, 8, 8, 1, BAD },
    { IN_EXT, 8, 8, UINT64_MAX, BAD },
    { IN_EXT, 8, 8, 64 << 20, BAD },
    { IN_EXT, 16, 8, 0, BAD },
    { IN_EXT, 16, 8, 513, BAD },
    { IN_EXT, 16, 8, (uint64_t)1 << 62, BAD },
    { IN_DIR, 0, 8, 0x7777, BAD },
    { IN_DIR, 0, 8, (uint64_t)1 << 55, BAD },
    { IN_DIR, 8, 4, UINT32_MAX, BAD },
    { IN_DIR, 8, 4, 2, USELESS },
    { IN_DIR, 8, 4, 0, USELESS },
    { IN_DIR, 12, 4, 1, USELESS },
    { IN_DIR, 12, 4, 8, KEPT },
    { IN_DIR, 16, 1, 2, KEPT },
    { IN_DIR, 17, 1, 8, KEPT },
    { IN_DIR, 17, 1, 63, KEPT },
    { IN_DIR, 18, 2, 0, BAD },
    { IN_DIR, 18, 2, 1024, BAD },
    { IN_DIR, 20, 4, UINT32_MAX, BAD },
    { IN_DIR, 56, 1, 'a', BAD }, /* the name of the other one */
    { IN_TABLE, 0, 8, 2, USELESS },
    { IN_TABLE, 0, 8, (uint64_t)1 << 60, USELESS },
    { IN_TABLE, 0, 8, 0x10200, USELESS },
    { IN_TABLE, 0, 8, (uint64_t)1 << 50, USELESS },
};

static void patch(const char *path, int64_t off, unsigned len, uint64_t value)
{
    uint8_t be[8];
    uint64_t v = GUINT64_TO_BE(value);
    memcpy(be, &v, 8);
    int fd = open(path, O_RDWR | O_CLOEXEC);
    g_assert_cmpint(pwrite(fd, be + 8 - len, len, off), ==, (ssize_t)len);
    close(fd);
}

static int64_t get64(const char *p)
{
    uint64_t v;
    memcpy(&v, p, 8);
    return (int64_t)GUINT64_FROM_BE(v);
}

static void test_damage(BlockTest *t, gconstpointer data)
{
    g_autofree char *path = bt_path(t, "img"), *bad = bt_path(t, "bad"), *content = NULL;
    gsize len, ext = 112;
    bt_create(t, "qcow2", path, "size=1M");
    BlockClient *c = open_image(t, path);
    block_bitmap_cmd_add(block_client_node(c), "a", 512, true, true, &error_abort_slot);
    block_bitmap_cmd_add(block_client_node(c), "b", 512, true, true, &error_abort_slot);
    bt_write(c, 70000, "x", 1, 0);
    block_client_free(c);
    g_assert_true(g_file_get_contents(path, &content, &len, NULL));
    while (memcmp(content + ext, "\x23\x85\x28\x75", 4) != 0) {
        ext += 8;
    }
    int64_t dir = get64(content + ext + 24), table = get64(content + dir);
    for (unsigned i = 0; i < G_N_ELEMENTS(damage); i++) {
        g_assert_true(g_file_set_contents(bad, content, (gssize)len, NULL));
        int64_t base = damage[i].where == IN_DIR     ? dir
                       : damage[i].where == IN_TABLE ? table
                                                     : (int64_t)ext + 8;
        patch(bad, base + damage[i].at, damage[i].len, damage[i].value);
        c = open_image(t, bad);
        BlockNode *n = block_client_node(c);
        const BlockBitmap *a = block_bitmap_find(n, "a"), *b = block_bitmap_find(n, "b");
        g_test_message("damage %u", i);
        g_assert_true(damage[i].what == BAD ? !a && !b : b && !b->inconsistent);
        g_assert_true(damage[i].what != USELESS || (a && a->inconsistent));
        g_assert_true(damage[i].what != KEPT || !a);
        BlockCheck res;
        uint8_t byte;
        g_assert_cmpint(bt_check(t, n, 0, &res), ==, 0);
        g_assert_true(damage[i].what != BAD || res.corruptions > 0);
        g_assert_cmpint(bt_read(c, 70000, &byte, 1), ==, 0);
        g_assert_cmpint(byte, ==, 'x');
        g_assert_cmpint(bt_write(c, 0, "y", 1, 0), ==, 0);
        block_client_free(c);
        c = open_image(t, bad);
        n = block_client_node(c);
        g_assert_true(damage[i].what == BAD ? block_bitmap_count(n) == 0 : block_bitmap_find(n, "b") != NULL);
        g_assert_cmpint(bt_check(t, n, BLOCK_FIX_LEAKS | BLOCK_FIX_ERRORS, &res), ==, 0);
        g_assert_cmpint(bt_check(t, n, 0, &res), ==, 0);
        g_assert_true(damage[i].what == USELESS || damage[i].what == KEPT || res.corruptions == 0);
        block_client_free(c);
    }
}

int main(int argc, char **argv)
{
    static const char *const cases[] = { "cluster_size=4k", "cluster_size=512",
                                         "cluster_size=64k,lazy_refcounts=on", "extended_l2=on" };
    bt_init(&argc, &argv);
    for (unsigned i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_autofree char *path = g_strdup_printf("/block/bitmap/model/%s", cases[i]);
        g_test_add(path, BlockTest, cases[i], bt_setup, test_model, bt_teardown);
    }
    g_test_add("/block/bitmap/open", BlockTest, NULL, bt_setup, test_open, bt_teardown);
    g_test_add("/block/bitmap/meddle", BlockTest, NULL, bt_setup, test_meddle, bt_teardown);
    g_test_add("/block/bitmap/limit/volatile", BlockTest, NULL, bt_setup, test_limit, bt_teardown);
    g_test_add("/block/bitmap/limit/persistent", BlockTest, GINT_TO_POINTER(1), bt_setup, test_limit,
               bt_teardown);
    g_test_add("/block/bitmap/damage", BlockTest, NULL, bt_setup, test_damage, bt_teardown);
    return g_test_run();
}
