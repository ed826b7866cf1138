/* SPDX-License-Identifier: MIT
 * tests/unit/block/test-file.c - file: modes, engines, O_DIRECT, holes, resizing, errors.
 * Covers: block/file.c, file-io.c, engine-aio.c, engine-uring.c.
 */
#include "blocktest.h"
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static void test_errors(BlockTest *t, gconstpointer data)
{
    g_autofree char *path = bt_file(t, "img", 4096);
    bt_open_fails(t, "No such file", "file,filename=/nonexistent");
    bt_open_fails(t, "not a regular file", "file,filename=/dev/null");
    bt_open_fails(t, "not a regular file", "file,filename=%s", t->dir);
    bt_open_fails(t, "not a device", "host_device,filename=%s", path);
    bt_open_fails(t, "cache.direct=on", "file,filename=%s,aio=native", path);
    bt_open_fails(t, "aio", "file,filename=%s,aio=what", path);
    g_assert_cmpint(chmod(path, 0444), ==, 0);
    if (geteuid() != 0) {
        bt_open_fails(t, "Permission denied", "file,filename=%s", path);
        BlockNode *n = bt_open(t, "file,filename=%s,auto-read-only=on", path);
        g_assert_true(block_is_read_only(n));
        block_unref(n);
    }
}

static void test_unaligned_end(BlockTest *t, gconstpointer data)
{
    g_autofree char *path = bt_file(t, "img", 1000);
    BlockClient *c = bt_client(bt_open(t, "file,filename=%s,%s", path, (const char *)data));
    uint8_t buf[3000];
    memset(buf, 7, sizeof(buf));
    g_assert_cmpint(bt_write(c, 0, buf, 1000, 0), ==, 0);
    bt_check_bytes(c, 0, 1000, 7);
    g_assert_cmpint(block_size(block_client_node(c)), ==, 1000);
    g_assert_true(bt_truncate(c, 3000, &error_abort_slot));
    bt_check_bytes(c, 1000, 2000, 0);
    g_assert_cmpint(bt_write(c, 999, buf, 3, 0), ==, 0);
    bt_check_bytes(c, 990, 12, 7);
    bt_check_bytes(c, 1002, 1998, 0);
    g_assert_true(bt_truncate(c, 5, &error_abort_slot));
    bt_check_bytes(c, 0, 5, 7);
    block_client_free(c);
    struct stat st;
    g_assert_cmpint(stat(path, &st), ==, 0);
    g_assert_cmpint(st.st_size, ==, 5);
}

static void test_holes(BlockTest *t, gconstpointer data)
{
    enum { MB = 1 << 20 };
    g_autofree char *path = bt_file(t, "img", 4 * MB);
    BlockClient *c = bt_client(bt_open(t, "file,filename=%s", path));
    g_autofree uint8_t *buf = g_malloc(MB);
    memset(buf, 1, MB);
    BlockExtent e;
    g_assert_cmpint(bt_write(c, MB, buf, MB, 0), ==, 0);
    g_assert_cmpint(bt_extent(c, 0, 4 * MB, &e), ==, 0);
    if (e.zero) { /* the file system tells */
        g_assert_cmpint(e.bytes, ==, MB);
        g_assert_cmpint(bt_extent(c, MB, 3 * MB, &e), ==, 0);
        g_assert_true(e.data && e.bytes == MB && e.host == block_client_node(c) && e.host_off == MB);
        int64_t used = block_allocated_bytes(block_client_node(c));
        g_assert_cmpint(bt_discard(c, MB, MB), ==, 0);
        g_assert_cmpint(block_allocated_bytes(block_client_node(c)), <, used);
    } else {
        g_test_message("the file system shows no holes");
    }
    g_assert_cmpint(bt_zero(c, MB + 3, 1000, 0), ==, 0);
    bt_check_bytes(c, MB + 3, 1000, 0);
    block_client_free(c);
}

typedef struct Piece {
    BlockClient *client;
    unsigned number, *left;
    int result;
} Piece;

static void write_piece(void *opaque)
{
    Piece *p = opaque;
    uint8_t buf[3000];
    IoVec v;
    memset(buf, (int)(p->number + 1), sizeof(buf));
    iov_init_buf(&v, buf, sizeof(buf));
    p->result = block_pwritev(p->client, (int64_t)p->number * (int64_t)sizeof(buf), &v, 0);
    iov_fini(&v);
    --*p->left;
}

/* More writes than the file's one writer takes at once, again and again; the file is closed behind the last
 * one. */
static void test_many_writes(BlockTest *t, gconstpointer data)
{
    enum { N = 100, ROUNDS = 20 };
    g_autofree char *path = bt_file(t, "img", N * 3000);
    for (int round = 0; round < ROUNDS; round++) {
        BlockClient *c = bt_client(bt_open(t, "file,filename=%s", path));
        Piece pieces[N];
        unsigned left = N;
        for (unsigned i = 0; i < N; i++) {
            unsigned number = (i + (unsigned)round) % N;
            pieces[i] = (Piece){ .client = c, .number = number, .left = &left, .result = -1 };
            co_start(t->loop, write_piece, &pieces[i]);
        }
        while (left) {
            loop_turn(t->loop, true);
        }
        for (unsigned i = 0; i < N; i++) {
            g_assert_cmpint(pieces[i].result, ==, 0);
        }
        if (round == ROUNDS - 1) {
            for (unsigned i = 0; i < N; i++) {
                bt_check_bytes(c, i * 3000, 3000, (uint8_t)(i + 1));
            }
        }
        block_client_free(c);
    }
}

static void test_discard_off(BlockTest *t, gconstpointer data)
{
    g_autofree char *path = bt_file(t, "img", 8192);
    BlockClient *c = bt_client(bt_open(t, "file,filename=%s,discard=ignore", path));
    g_assert_cmpint(bt_write(c, 0, "abcd", 4, 0), ==, 0);
    g_assert_cmpint(bt_discard(c, 0, 8192), ==, 0);
    bt_check_bytes(c, 0, 1, 'a');
    block_client_free(c);
}

static void test_detect_zeroes(BlockTest *t, gconstpointer data)
{
    enum { MB = 1 << 20 };
    g_autofree char *path = bt_file(t, "img", MB);
    BlockClient *c = bt_client(bt_open(t, "file,filename=%s,detect-zeroes=unmap", path));
    g_autofree uint8_t *buf = g_malloc(MB);
    memset(buf, 5, MB);
    g_assert_cmpint(bt_write(c, 0, buf, MB, BLK_FUA), ==, 0);
    int64_t used = block_allocated_bytes(block_client_node(c));
    memset(buf, 0, MB);
    g_assert_cmpint(bt_write(c, 0, buf, MB, BLK_FUA), ==, 0);
    g_assert_cmpint(block_allocated_bytes(block_client_node(c)), <, used);
    bt_check_bytes(c, 0, MB, 0);
    block_client_free(c);
}

static void test_prealloc(BlockTest *t, gconstpointer data)
{
    g_autofree char *path = bt_path(t, "img");
    struct stat st;
    bt_create(t, "raw", path, "size=1M,preallocation=full");
    g_assert_cmpint(stat(path, &st), ==, 0);
    g_assert_cmpint(st.st_size, ==, 1 << 20);
    g_assert_cmpint(st.st_blocks * 512, >=, 1 << 20);
    bt_create(t, "raw", path, "size=3000");
    g_assert_cmpint(stat(path, &st), ==, 0);
    g_assert_cmpint(st.st_size, ==, 3000);
    g_assert_cmpint(st.st_blocks, ==, 0);
}

/* A file that is closed while its writer still looks out for more. */
static void test_bulk(BlockTest *t, gconstpointer data)
{
    block_set_bulk(true);
    for (unsigned i = 0; i < 20; i++) {
        test_many_writes(t, data);
    }
    block_set_bulk(false);
    g_autofree char *path = bt_file(t, "buffered", 4096);
    BlockNode *buffered = bt_open(t, "raw,file.driver=file,file.filename=%s", path);
    BlockNode *null = bt_open(t, "null-co,size=4096");
    g_assert_true(block_is_buffered(buffered));
    g_assert_false(block_is_buffered(null));
    block_unref(buffered);
    block_unref(null);
}

/* A request to a full device says so. */
static void test_enospc(BlockTest *t, gconstpointer data)
{
    BlockNode *n = bt_open(t, "host_device,filename=/dev/full");
    BlockClient *c = bt_client(n);
    node_set_size(block_client_node(c), 4096);
    g_assert_cmpint(bt_write(c, 0, "x", 1, 0), ==, -ENOSPC);
    block_client_free(c);
}

#define ADD(name, arg) g_test_add("/block/file/" #name, BlockTest, arg, bt_setup, test_##name, bt_teardown)

int main(int argc, char **argv)
{
    bt_init(&argc, &argv);
    ADD(errors, NULL);
    ADD(unaligned_end, "aio=threads");
    g_test_add("/block/file/unaligned_end_direct", BlockTest, "cache.direct=on", bt_setup, test_unaligned_end,
               bt_teardown);
    g_test_add("/block/file/unaligned_end_uring", BlockTest, "aio=io_uring", bt_setup, test_unaligned_end,
               bt_teardown);
    ADD(many_writes, NULL);
    ADD(bulk, NULL);
    ADD(holes, NULL);
    ADD(discard_off, NULL);
    ADD(detect_zeroes, NULL);
    ADD(prealloc, NULL);
    ADD(enospc, NULL);
    return g_test_run();
}
