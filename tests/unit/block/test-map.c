/* SPDX-License-Identifier: MIT
 * tests/unit/block/test-map.c - images as memory: what can be mapped and what it shows, files that get
 * shorter under a mapping, whose SIGBUS it is. Covers: block/file-map.c and the map() of file.c, raw.c,
 * qcow2-io.c.
 */
#include "blocktest.h"
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { MB = 1 << 20, CLUSTER = 65536 };

typedef struct Mapping {
    BlockClient *c;
    int64_t off, len;
    BlockMap map;
    int r;
} Mapping;

static void map_body(void *opaque)
{
    Mapping *m = opaque;
    m->r = block_map(m->c, m->off, m->len, &m->map);
}

static BlockMap map_it(BlockTest *t, BlockClient *c, int64_t off, int64_t len, int expect)
{
    Mapping m = { .c = c, .off = off, .len = len };
    bt_run(t, map_body, &m);
    g_assert_cmpint(m.r, ==, expect);
    g_assert_true((m.map.data != NULL) == (expect == 0));
    return m.map;
}

static void fill(BlockClient *c, int64_t off, int64_t len, uint8_t byte)
{
    g_autofree uint8_t *buf = g_malloc((size_t)len);
    memset(buf, byte, (size_t)len);
    g_assert_cmpint(bt_write(c, off, buf, (size_t)len, 0), ==, 0);
}

/* What the mapping shows is what a read gives. */
static void expect_mapped(BlockTest *t, BlockClient *c, int64_t off, int64_t len)
{
    g_autofree uint8_t *buf = g_malloc((size_t)len);
    BlockMap m = map_it(t, c, off, len, 0);
    g_assert_cmpint(bt_read(c, off, buf, (size_t)len), ==, 0);
    g_assert_true(memcmp(m.data, buf, (size_t)len) == 0);
    g_assert_true(block_map_ok(&m));
    block_unmap(&m);
    g_assert_null(m.data);
}

static void expect_read(BlockTest *t, BlockClient *c, int64_t off, int64_t len)
{
    map_it(t, c, off, len, -ENOTSUP);
}

static char *two_bytes(BlockTest *t)
{
    char *path = bt_file(t, "img", 4 * MB + 100);
    BlockClient *c = bt_client(bt_open(t, "file,filename=%s", path));
    fill(c, 0, MB, 1);
    fill(c, MB, MB, 2);
    fill(c, 4 * MB, 100, 3);
    block_client_free(c);
    return path;
}

static void test_raw(BlockTest *t, gconstpointer data)
{
    g_autofree char *path = two_bytes(t);
    BlockClient *c = bt_client(bt_open(t, "file,filename=%s", path));
    expect_read(t, c, 0, MB); /* who writes reads */
    block_client_free(c);
    c = bt_client(bt_open(t, "file,filename=%s,read-only=on", path));
    expect_mapped(t, c, 0, 2 * MB);
    expect_mapped(t, c, 12345, MB);
    expect_mapped(t, c, 2 * MB, 2 * MB + 100); /* a hole, and an end that is no page's */
    expect_read(t, c, 0, 4096);
    expect_read(t, c, 0, 0);
    map_it(t, c, 3 * MB, 2 * MB, -EIO);
    block_client_free(c);
    c = bt_client(
        bt_open(t, "raw,file.driver=file,file.filename=%s,offset=512,size=2097152,read-only=on", path));
    expect_mapped(t, c, MB - 1000, MB);
    block_client_free(c);
    c = bt_client(bt_open(t, "blkdebug,image.driver=file,image.filename=%s,read-only=on", path));
    expect_read(t, c, 0, MB); /* who counts requests wants to see them */
    block_client_free(c);
    c = bt_client(bt_open(t, "null-co,size=4M,read-only=on"));
    expect_read(t, c, 0, MB);
    block_client_free(c);
}

static void test_direct(BlockTest *t, gconstpointer data)
{
    g_autofree char *path = two_bytes(t);
    int fd = open(path, O_RDONLY | O_DIRECT | O_CLOEXEC);
    if (fd < 0) {
        g_test_skip("the file system has no O_DIRECT");
        return;
    }
    close(fd);
    BlockClient *c = bt_client(bt_open(t, "file,filename=%s,cache.direct=on,read-only=on", path));
    expect_read(t, c, 0, MB);
    block_client_free(c);
}

static void test_qcow2(BlockTest *t, gconstpointer data)
{
    g_autofree char *base = bt_path(t, "base"), *top = bt_path(t, "top");
    bt_create(t, "qcow2", base, "size=4M");
    BlockClient *c = bt_client(bt_open(t, "qcow2,file.driver=file,file.filename=%s", base));
    fill(c, 0, MB, 1);
    g_autofree char *options = g_strdup_printf("size=8M,backing_file=%s,backing_fmt=qcow2", base);
    block_client_free(c);
    bt_create(t, "qcow2", top, options);
    c = bt_client(bt_open(t, "qcow2,file.driver=file,file.filename=%s", top));
    fill(c, 2 * MB, MB, 2);
    fill(c, 6 * MB, MB, 3);
    fill(c, 5 * MB, MB, 4); /* behind it in the file */
    g_autofree uint8_t *text = g_malloc(2 * MB);
    memset(text, 5, 2 * MB);
    for (int64_t at = 3 * MB; at < 4 * MB; at += CLUSTER) {
        g_assert_cmpint(bt_write(c, at, text, CLUSTER, BLK_COMPRESSED), ==, 0);
    }
    block_client_free(c);
    c = bt_client(bt_open(t, "qcow2,file.driver=file,file.filename=%s,read-only=on", top));
    expect_mapped(t, c, 0, MB); /* below */
    expect_mapped(t, c, 2 * MB, MB);
    expect_mapped(t, c, 6 * MB + 4000, MB - 4000);
    expect_read(t, c, 3 * MB, MB);     /* compressed */
    expect_read(t, c, MB, MB);         /* nowhere */
    expect_read(t, c, MB / 2, MB);     /* in part */
    expect_read(t, c, 7 * MB, MB);     /* behind the base's end */
    expect_read(t, c, 5 * MB, 2 * MB); /* not together */
    block_client_free(c);
}

static void test_shorter(BlockTest *t, gconstpointer data)
{
    g_autofree char *path = two_bytes(t), *out = bt_file(t, "out", 0);
    BlockClient *c = bt_client(bt_open(t, "file,filename=%s,read-only=on", path));
    BlockMap m = map_it(t, c, 0, 2 * MB, 0), other = map_it(t, c, 0, MB, 0);
    g_assert_cmpint(truncate(path, MB), ==, 0);
    int fd = open(out, O_WRONLY | O_CLOEXEC);
    g_assert_cmpint(fd, >=, 0);
    g_assert_cmpint(write(fd, m.data + MB, 4096), ==, -1);
    g_assert_cmpint(errno, ==, EFAULT);
    close(fd);
    g_assert_true(block_map_ok(&m));
    g_assert_cmpint(m.data[MB - 1], ==, 1);
    g_assert_cmpint(m.data[MB + 5000], ==, 0);
    g_assert_false(block_map_ok(&m));
    g_assert_true(block_map_ok(&other));
    block_unmap(&m);
    block_unmap(&other);
    expect_read(t, c, 0, 2 * MB); /* cannot be mapped from the start */
    expect_mapped(t, c, 0, MB);   /* and the window's next user starts anew */
    block_client_free(c);
}

static void test_many(BlockTest *t, gconstpointer data)
{
    g_autofree char *path = two_bytes(t);
    BlockClient *c = bt_client(bt_open(t, "file,filename=%s,read-only=on", path));
    BlockMap m[100];
    unsigned n = 0;
    for (; n < G_N_ELEMENTS(m); n++) {
        Mapping one = { .c = c, .len = MB };
        bt_run(t, map_body, &one);
        if (one.r < 0) {
            g_assert_cmpint(one.r, ==, -ENOTSUP);
            break;
        }
        m[n] = one.map;
    }
    g_assert_cmpuint(n, >=, 32);
    g_assert_cmpuint(n, <, G_N_ELEMENTS(m));
    while (n > 0) {
        block_unmap(&m[--n]);
    }
    expect_mapped(t, c, 0, MB);
    block_client_free(c);
}

static sigjmp_buf back;

static void jump(int sig)
{
    siglongjmp(back, 1);
}

/* Somebody's handler from before the first mapping goes on getting what is not ours. The first test, in a
 * process of its own. */
static void test_others(void)
{
    if (!g_test_subprocess()) {
        g_test_trap_subprocess(NULL, 0, G_TEST_SUBPROCESS_DEFAULT);
        g_test_trap_assert_passed();
        return;
    }
    BlockTest t;
    bt_setup(&t, NULL);
    struct sigaction act = { .sa_handler = jump };
    g_assert_cmpint(sigaction(SIGBUS, &act, NULL), ==, 0);
    g_autofree char *path = two_bytes(&t), *mine = bt_file(&t, "mine", 4096);
    BlockClient *c = bt_client(bt_open(&t, "file,filename=%s,read-only=on", path));
    BlockMap m = map_it(&t, c, 0, MB, 0);
    int fd = open(mine, O_RDWR | O_CLOEXEC);
    volatile uint8_t *p = mmap(NULL, 4096, PROT_READ, MAP_SHARED, fd, 0);
    g_assert_cmpint(ftruncate(fd, 0), ==, 0);
    if (!sigsetjmp(back, 1)) {
        g_assert_cmpint(p[0], ==, 0);
        g_assert_not_reached();
    }
    if (!sigsetjmp(back, 1)) {
        raise(SIGBUS);
        g_assert_not_reached();
    }
    g_assert_true(block_map_ok(&m));
    g_assert_cmpint(truncate(path, 0), ==, 0);
    g_assert_cmpint(m.data[0], ==, 0); /* and ours goes on getting what is */
    g_assert_false(block_map_ok(&m));
    block_unmap(&m);
    munmap((void *)p, 4096);
    close(fd);
    block_client_free(c);
    bt_teardown(&t, NULL);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/block/map/others", test_others);
#define ADD(name) g_test_add("/block/map/" #name, BlockTest, NULL, bt_setup, test_##name, bt_teardown)
    ADD(raw);
    ADD(direct);
    ADD(qcow2);
    ADD(shorter);
    ADD(many);
    return g_test_run();
}
