/* SPDX-License-Identifier: MIT
 * tests/unit/block/test-errors.c - what can go wrong with an image that nobody made wrong on purpose, and
 * what an image of absurd tables does to those who only look: one error that names the file, and not a byte
 * changed.
 * Covers: block/qcow2.c, qcow2-ref.c, qcow2-map.c, qcow2-snapshot.c, qcow2-bitmap.c, qcow2-compress.c,
 * file.c, raw.c.
 */
#include "blocktest.h"
#include "rhea/block/bitmap.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { SIZE = 1024 * 1024, CLUSTER = 4096 };

static BlockClient *open_image(BlockTest *t, const char *path, const char *options)
{
    return bt_client(bt_open(t, "qcow2,%sfile.driver=file,file.filename=%s", options, path));
}

/* ---- an image with one of everything ---- */

static void snapshot_body(void *opaque)
{
    BlockNode *n = opaque;
    g_assert_true(n->driver->format->snapshot_create(n, "first", &error_abort_slot));
}

static void make_image(BlockTest *t, const char *path, const char *options)
{
    g_autofree char *create = g_strdup_printf("size=%d,%s", SIZE, options);
    g_autofree uint8_t *buf = g_malloc(SIZE);
    bt_create(t, "qcow2", path, create);
    BlockClient *c = open_image(t, path, "");
    BlockNode *n = block_client_node(c);
    int64_t cluster = n->driver->format->cluster_size(n);
    for (int i = 0; i < SIZE; i++) {
        buf[i] = (uint8_t)(i / 97 + 1);
    }
    block_bitmap_cmd_add(n, "map", 4096, true, false, &error_abort_slot);
    g_assert_cmpint(bt_write(c, 0, buf, SIZE / 2, 0), ==, 0);
    g_assert_cmpint(bt_write(c, SIZE / 2, buf, (size_t)cluster, BLK_COMPRESSED), ==, 0);
    bt_run(t, snapshot_body, n);
    g_assert_cmpint(bt_write(c, 1000, buf, 20000, 0), ==, 0);
    block_client_free(c);
}

typedef struct Seen {
    char *content;
    gsize len;
    struct stat st;
} Seen;

static Seen see(const char *path)
{
    Seen s;
    g_assert_true(g_file_get_contents(path, &s.content, &s.len, NULL));
    g_assert_cmpint(stat(path, &s.st), ==, 0);
    return s;
}

static void unchanged(const char *path, Seen *was)
{
    Seen now = see(path);
    g_assert_cmpmem(now.content, now.len, was->content, was->len);
    g_assert_true(now.st.st_mtim.tv_sec == was->st.st_mtim.tv_sec &&
                  now.st.st_mtim.tv_nsec == was->st.st_mtim.tv_nsec);
    g_free(now.content);
    g_free(was->content);
}

/* Opens, describes, reads and checks; nothing of that may change the file. True: something was found. */
static bool look(BlockTest *t, const char *path, bool read_only)
{
    Seen was = see(path);
    bool from_text, found;
    g_autofree char *text = g_strdup_printf("qcow2,read-only=%s,file.driver=file,file.filename=%s",
                                            read_only ? "on" : "off", path);
    g_autoptr(Json) o = keyval_parse(text, "driver", &from_text, &error_abort_slot);
    g_autoptr(Error) err = NULL;
    BlockNode *n = block_open(t->graph, o, from_text, &err);
    if (n) {
        BlockCheck res;
        BlockClient *c = block_client_new(n, "look", BLOCK_PERM_READ, BLOCK_PERM_ALL, &error_abort_slot);
        g_autofree uint8_t *buf = g_malloc(CLUSTER);
        int r = 0;
        json_unref(n->driver->format->info(n));
        for (int64_t at = 0; at + CLUSTER <= MIN(block_size(n), (int64_t)SIZE); at += CLUSTER) {
            int one = bt_read(c, at, buf, CLUSTER);
            r = one < 0 ? one : r;
        }
        found = bt_check(t, n, 0, &res) < 0 || r < 0 || res.corruptions || res.leaks;
        block_client_free(c);
        block_unref(n);
    } else {
        g_assert_nonnull(strstr(error_text(err), path));
        found = true;
    }
    unchanged(path, &was);
    return found;
}

/* ---- tables ---- */

static uint64_t peek(const char *path, int64_t at)
{
    uint64_t v = 0;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    g_assert_cmpint(pread(fd, &v, 8, at), ==, 8);
    close(fd);
    return GUINT64_FROM_BE(v);
}

static void poke(const char *path, int64_t at, uint64_t v)
{
    v = GUINT64_TO_BE(v);
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    g_assert_cmpint(pwrite(fd, &v, 8, at), ==, 8);
    close(fd);
}

/* Each table's first entries become each absurd value in turn. */
static void test_tables(BlockTest *t, gconstpointer options)
{
    enum { OFFSET = 0xfffffffffe00 };
    g_autofree char *path = bt_path(t, "img");
    make_image(t, path, options);
    int64_t l1 = (int64_t)peek(path, 40), refs = (int64_t)peek(path, 48), snaps = (int64_t)peek(path, 64);
    int64_t snap_l1 = (int64_t)peek(path, snaps), l2 = (int64_t)peek(path, l1) & OFFSET;
    int64_t dir = 0, entry = strstr(options, "extended") ? 16 : 8;
    for (int64_t at = 104; at < 1024; at += 8) { /* the bitmaps' extension: count, bytes, directory */
        dir = peek(path, at) == (UINT64_C(0x23852875) << 32 | 24) ? (int64_t)peek(path, at + 24) : dir;
    }
    g_assert_cmpint(dir, >, 0);
    const struct {
        const char *name;
        int64_t at;
        unsigned words;
    } tables[] = {
        { "L1", l1, 1 },
        { "L2", l2, 4 },
        { "compressed", l2 + (SIZE / 2 >> (peek(path, 16) & 31)) * entry, 1 },
        { "refcount table", refs, 2 },
        { "refcount block", (int64_t)peek(path, refs), 4 },
        { "snapshots", snaps, 5 },
        { "snapshot's L1", snap_l1, 1 },
        { "snapshot's L2", (int64_t)peek(path, snap_l1) & OFFSET, 2 },
        { "bitmaps", dir, 3 },
        { "bitmap's table", (int64_t)peek(path, dir), 1 },
    };
    unsigned found = 0, tried = 0;
    for (unsigned i = 0; i < G_N_ELEMENTS(tables); i++) {
        const uint64_t values[] = {
            UINT64_MAX, 1, 0x8000000000000000, 0x4000000000000000, 0x7fffffffffffffff,
            (uint64_t)tables[i].at, /* itself */
            (uint64_t)l1, (uint64_t)l1 | 0x8000000000000000, (uint64_t)refs, (uint64_t)l2,
            0x8000000000000000 | 200, /* not aligned */
            0x80ff000000000000, (uint64_t)1 << 40, 0xffffffff00000001, 0x00000001ffffffff,
        };
        for (unsigned w = 0; w < tables[i].words * G_N_ELEMENTS(values); w++) {
            int64_t at = tables[i].at + (int64_t)(w / G_N_ELEMENTS(values)) * 8;
            uint64_t was = peek(path, at);
            poke(path, at, values[w % G_N_ELEMENTS(values)]);
            found += look(t, path, w & 1);
            tried++;
            poke(path, at, was);
        }
    }
    g_assert_false(look(t, path, false));
    g_test_message("%u of %u changes were found", found, tried);
    g_assert_cmpuint(found, >, tried / 2); /* some make sense: other counts, another date */
}

/* Cut off anywhere: what is missing reads as an error or as nothing, never as other data. */
static void test_truncated(BlockTest *t, gconstpointer options)
{
    g_autofree char *path = bt_path(t, "img"), *whole = NULL;
    gsize len;
    make_image(t, path, options);
    g_assert_true(g_file_get_contents(path, &whole, &len, NULL));
    unsigned found = 0;
    gsize step = MAX(len / 150, 1) | 1;
    for (gsize cut = 0; cut < len - CLUSTER; cut += step) {
        g_assert_true(g_file_set_contents(path, whole, (gssize)cut, NULL));
        found += look(t, path, cut & 1);
    }
    g_assert_cmpuint(found, ==, (len - CLUSTER + step - 1) / step);
}

/* Compressed data that is none: an I/O error, and its neighbours stay. */
static void test_garbage(BlockTest *t, gconstpointer options)
{
    g_autofree char *path = bt_path(t, "img"), *create = g_strdup_printf("size=1M,%s", (const char *)options);
    g_autofree uint8_t *buf = g_malloc0(65536);
    BlockExtent e;
    bt_create(t, "qcow2", path, create);
    BlockClient *c = open_image(t, path, "");
    for (unsigned i = 0; i < 65536; i++) {
        buf[i] = (uint8_t)(i / 50);
    }
    g_assert_cmpint(bt_write(c, 0, buf, 65536, BLK_COMPRESSED), ==, 0);
    g_assert_cmpint(bt_write(c, 65536, buf, 65536, 0), ==, 0);
    g_assert_cmpint(bt_extent(c, 0, 65536, &e), ==, 0);
    g_assert_true(e.compressed);
    block_client_free(c);
    int64_t l2 = (int64_t)(peek(path, (int64_t)peek(path, 40)) & 0xfffffffffe00);
    int64_t data = (int64_t)(peek(path, l2) & (((uint64_t)1 << (62 - (16 - 8))) - 1));
    for (int i = 0; i < 16; i++) {
        poke(path, data + i * 8, 0xffffffffffffffff);
    }
    Seen was = see(path);
    c = open_image(t, path, "");
    g_assert_cmpint(bt_read(c, 100, buf, 100), ==, -EIO);
    g_assert_cmpint(bt_read(c, 65536, buf, 65536), ==, 0);
    g_assert_cmpint(buf[51], ==, 1);
    block_client_free(c);
    unchanged(path, &was);
}

/* ---- what lies below ---- */

static void test_backing(BlockTest *t, gconstpointer data)
{
    g_autofree char *path = bt_path(t, "img"), *base = bt_path(t, "base"), *other = bt_path(t, "other");
    g_autofree char *named = g_strdup_printf("backing file of '%s'", path);
    bt_create(t, "qcow2", base, "size=1M");
    bt_create(t, "qcow2", path, "size=1M,backing_file=base,backing_fmt=qcow2");
    block_client_free(open_image(t, path, ""));
    Seen was = see(path);
    g_assert_cmpint(rename(base, other), ==, 0); /* gone */
    bt_open_fails(t, named, "qcow2,file.driver=file,file.filename=%s", path);
    bt_open_fails(t, base, "qcow2,file.driver=file,file.filename=%s", path);
    g_assert_cmpint(mkdir(base, 0755), ==, 0); /* something else */
    bt_open_fails(t, "not a regular file", "qcow2,file.driver=file,file.filename=%s", path);
    rmdir(base);
    g_assert_true(g_file_set_contents(base, "raw", 3, NULL)); /* of another format */
    bt_open_fails(t, named, "qcow2,file.driver=file,file.filename=%s", path);
    bt_create(t, "qcow2", base, "size=1M,backing_file=img,backing_fmt=qcow2"); /* below itself */
    bt_open_fails(t, "on top of each other", "qcow2,read-only=on,file.driver=file,file.filename=%s", path);
    unchanged(path, &was);
    bt_create(t, "qcow2", base, "size=64k"); /* smaller than it was: zeros behind its end */
    BlockClient *c = open_image(t, path, "");
    bt_check_bytes(c, 0, SIZE, 0);
    block_client_free(c);
}

/* A file that may be read only: refused for writing with the cure, and opened with it. */
static void test_permission(BlockTest *t, gconstpointer data)
{
    g_autofree char *path = bt_path(t, "img");
    uid_t uid = geteuid();
    bt_create(t, "qcow2", path, "size=1M");
    g_assert_cmpint(chmod(path, 0444), ==, 0);
    g_assert_cmpint(chmod(t->dir, 0755), ==, 0);
    if (uid == 0 && seteuid(65534) < 0) {
        g_test_skip("root may write everything, and cannot become somebody else here");
        return;
    }
    if (access(t->dir, X_OK) < 0) {
        g_test_skip("nobody else may look into the folder for temporary files");
    } else {
        bt_open_fails(t, path, "qcow2,file.driver=file,file.filename=%s", path);
        bt_open_fails(t, "Permission denied", "qcow2,file.driver=file,file.filename=%s", path);
        block_client_free(open_image(t, path, "read-only=on,"));
        BlockNode *n = bt_open(t, "raw,file.driver=file,file.auto-read-only=on,file.filename=%s", path);
        g_assert_true(block_is_read_only(n));
        block_unref(n);
    }
    g_assert_cmpint(seteuid(uid), ==, 0);
}

/* ---- no space, errors of the medium ---- */

/* Each event of an allocation fails once: the request hears of it, the next one goes on, nothing is lost. */
static void test_once(BlockTest *t, gconstpointer error)
{
    static const char *const events[] = { "cow_read", "cow_write", "write_aio", "l2_alloc_write", "l2_update",
                                          "l1_update", "refblock_alloc_write", "refblock_update",
                                          "reftable_update", "l2_load", "refblock_load", "flush_to_disk" };
    int err = GPOINTER_TO_INT(error);
    g_autofree uint8_t *buf = g_malloc(SIZE);
    unsigned failed = 0;
    for (unsigned i = 0; i < G_N_ELEMENTS(events); i++) {
        g_autofree char *path = bt_path(t, "img");
        bool heard = false;
        bt_create(t, "qcow2", path, "size=1M,cluster_size=512,refcount_bits=64");
        BlockClient *c =
            bt_client(bt_open(t,
                              "qcow2,l2-cache-size=4k,refcount-cache-size=4k,file.driver=blkdebug,"
                              "file.inject-error.0.event=%s,file.inject-error.0.errno=%d,"
                              "file.inject-error.0.once=on,file.image.driver=file,file.image.filename=%s",
                              events[i], err, path));
        for (int64_t at = 0, n = 0; at < SIZE - 70000; at += 9001, n++) {
            int r;
            memset(buf + at, (int)n + 1, 5000);
            r = bt_write(c, at, buf + at, 5000, 0);
            if (r < 0) { /* as a guest that was stopped does when there is space again */
                g_assert_true(r == -err && !heard);
                heard = true;
                r = bt_write(c, at, buf + at, 5000, 0);
            }
            g_assert_cmpint(r, ==, 0);
            memset(buf + at + 5000, 0, 4001);
        }
        int r = bt_flush(c);
        g_assert_true(r == 0 || (r == -err && !heard));
        heard = heard || r < 0;
        g_assert_cmpint(bt_flush(c), ==, 0);
        block_client_free(c);
        c = open_image(t, path, "");
        BlockCheck res;
        g_assert_cmpint(bt_check(t, block_client_node(c), 0, &res), ==, 0);
        g_assert_cmpint(res.corruptions + res.check_errors, ==, 0);
        for (int64_t at = 0, n = 0; at < SIZE - 70000; at += 9001, n++) {
            bt_check_bytes(c, at, 5000, (uint8_t)(n + 1));
        }
        block_client_free(c);
        failed += heard;
    }
    g_test_message("%u of %zu events failed a request", failed, G_N_ELEMENTS(events));
    g_assert_cmpuint(failed, >=, 8);
}

/* ---- sizes ---- */

static void test_sizes(BlockTest *t, gconstpointer data)
{
    g_autofree char *path = bt_path(t, "img"), *raw = bt_file(t, "raw", SIZE);
    g_autoptr(Error) err = NULL, err2 = NULL, err3 = NULL;
    make_image(t, path, "compat=1.1,cluster_size=4k");
    BlockClient *c = open_image(t, path, "");
    g_assert_false(bt_truncate(c, INT64_MAX - 511, &err)); /* more than the tables can map */
    g_assert_nonnull(strstr(error_text(err), "9223372036854775"));
    g_assert_true(bt_truncate(c, SIZE / 4, &error_abort_slot)); /* the snapshot keeps all of it */
    BlockCheck res;
    g_assert_cmpint(bt_check(t, block_client_node(c), 0, &res), ==, 0);
    g_assert_cmpint(res.corruptions + res.leaks, ==, 0);
    g_assert_cmpint(bt_read(c, SIZE / 2, &res, 1), ==, -EIO); /* behind the end */
    block_client_free(c);
    BlockNode *n = bt_open(t, "qcow2,file.driver=file,file.filename=%s,read-only=on", path);
    c = bt_client(n);
    g_assert_false(bt_truncate(c, SIZE, &err2)); /* not its right */
    block_client_free(c);
    bt_create(t, "qcow2", path, "compat=0.10,size=1M");
    c = open_image(t, path, "");
    bt_run(t, snapshot_body, block_client_node(c));
    g_assert_false(bt_truncate(c, SIZE / 2, &err3));
    g_assert_nonnull(strstr(error_text(err3), "version 2"));
    block_client_free(c);
    bt_open_fails(t, "ends behind", "raw,size=2M,file.driver=file,file.filename=%s", raw);
}

int main(int argc, char **argv)
{
    bt_init(&argc, &argv);
    g_log_set_always_fatal(G_LOG_FATAL_MASK); /* images that are damaged are warned of */
#define ADD(name, label, arg)                                                                                \
    g_test_add("/block/errors/" #name label, BlockTest, arg, bt_setup, test_##name, bt_teardown)
    ADD(tables, "/v3", "cluster_size=4k");
    ADD(tables, "/extended", "cluster_size=16k,extended_l2=on");
    ADD(tables, "/zstd", "cluster_size=4k,compression_type=zstd");
    ADD(truncated, "/v3", "cluster_size=4k");
    ADD(truncated, "/extended", "cluster_size=16k,extended_l2=on");
    ADD(garbage, "/zlib", "cluster_size=64k");
    ADD(garbage, "/zstd", "cluster_size=64k,compression_type=zstd");
    ADD(backing, "", NULL);
    ADD(permission, "", NULL);
    ADD(once, "/ENOSPC", GINT_TO_POINTER(ENOSPC));
    ADD(once, "/EIO", GINT_TO_POINTER(EIO));
    ADD(sizes, "", NULL);
    return g_test_run();
}
