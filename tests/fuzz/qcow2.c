/* SPDX-License-Identifier: MIT
 * tests/fuzz/qcow2.c - any bytes as a qcow2 image: described, read, checked, then written, with snapshots.
 *
 * What must hold whatever the bytes are: nothing but a write changes the image, what was written is read
 * back, and an image that the check called sound stays so. The image is a memfd; backing files it names are
 * not opened, a data file is null-co.
 * Covers: block/qcow2*.c.
 */
#include "rhea/block/driver.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { PIECE = 65536, PIECES = 48, HEADER = 80, DATA_FILE_BYTE = 79, DATA_FILE = 4 };

typedef struct Fuzz {
    Loop *loop;
    BlockGraph *graph;
    int fd;
    const uint8_t *data;
    size_t size;
    BlockNode *n;
    BlockClient *c;
    uint8_t buf[PIECE];
    bool sound; /* the check found nothing */
} Fuzz;

static Fuzz *f;

static void fail(const char *what)
{
    fprintf(stderr, "fuzz: %s\n", what);
    abort();
}

static void image_reset(void)
{
    if (ftruncate(f->fd, 0) || ftruncate(f->fd, (off_t)f->size) ||
        pwrite(f->fd, f->data, f->size, 0) != (ssize_t)f->size) {
        fail("the memfd cannot be written");
    }
}

static bool image_unchanged(void)
{
    g_autofree uint8_t *now = g_malloc(f->size + 1);
    return pread(f->fd, now, f->size + 1, 0) == (ssize_t)f->size && memcmp(now, f->data, f->size) == 0;
}

static bool image_open(bool writable)
{
    bool external = f->size >= HEADER && (f->data[DATA_FILE_BYTE] & DATA_FILE);
    g_autofree char *text = g_strdup_printf(
        "{'driver': 'qcow2', 'backing': null, 'read-only': %s, %s"
        "'file': {'driver': 'file', 'locking': 'off', 'filename': '/proc/self/fd/%d'}}",
        writable ? "false" : "true", external ? "'data-file': {'driver': 'null-co'}, " : "", f->fd);
    g_strdelimit(text, "'", '"');
    g_autoptr(Json) o = json_parse(text, -1, &error_abort_slot);
    f->n = block_open(f->graph, o, false, NULL);
    unsigned perm = BLOCK_PERM_READ | (writable ? BLOCK_PERM_WRITE | BLOCK_PERM_RESIZE : 0);
    f->c = f->n ? block_client_new(f->n, "fuzz", perm, BLOCK_PERM_READ, NULL) : NULL;
    if (f->n && !f->c) {
        block_unref(f->n);
    }
    return f->c != NULL;
}

static void image_close(void)
{
    block_client_free(f->c);
    block_unref(f->n);
}

/* ---- in a coroutine ---- */

static int rw(bool write, int64_t off, size_t len)
{
    IoVec v;
    iov_init_buf(&v, f->buf, len);
    return write ? block_pwritev(f->c, off, &v, 0) : block_preadv(f->c, off, &v, 0);
}

/* Some of each extent, so many extents. */
static void read_some(void)
{
    int64_t size = block_size(f->n);
    for (int64_t i = 0, at = 0; i < PIECES && at < size; i++) {
        BlockExtent e;
        if (block_extent(f->c, at, size - at, &e) < 0) {
            e = (BlockExtent){ .bytes = MIN(PIECE, size - at) };
        }
        bool bad = rw(false, at, (size_t)MIN(e.bytes, PIECE)) == 0 && e.zero &&
                   !buf_is_zero(f->buf, (size_t)MIN(e.bytes, PIECE));
        if (bad) {
            fail("what is said to be zeros is not");
        }
        at += e.bytes;
    }
    if (size) {
        rw(false, size - 1, 1);
    }
}

static bool check(unsigned fix)
{
    BlockCheck res = { 0 };
    int r = f->n->driver->format->check(f->n, &res, fix, NULL);
    return r == 0 && !res.corruptions && !res.check_errors && !res.leaks;
}

static void look(void *opaque)
{
    const BlockFormatOps *ops = f->n->driver->format;
    const char *format;
    json_unref(ops->info(f->n));
    ops->backing_name(f->n, &format);
    g_array_unref(ops->snapshots(f->n));
    read_some();
    f->sound = check(0);
}

static void write_pattern(int64_t off, size_t len, uint8_t byte)
{
    memset(f->buf, byte, len);
    if (rw(true, off, len) < 0) {
        return;
    }
    memset(f->buf, ~byte, len);
    int r = rw(false, off, len);
    for (size_t i = 0; r == 0 && i < len; i++) {
        if (f->buf[i] != byte && f->sound && !block_data_file(f->n)) { /* null-co forgets */
            fail("what was written is not read back");
        }
    }
}

static void change(void *opaque)
{
    const BlockFormatOps *ops = f->n->driver->format;
    int64_t size = block_size(f->n), places[] = { 0, size / 2, size - 1, 4096 - 7 };
    for (unsigned i = 0; i < G_N_ELEMENTS(places); i++) {
        int64_t off = CLAMP(places[i], 0, MAX(size - 1, 0));
        size_t len = (size_t)MIN((int64_t)1000 << (4 * (i & 1)), size - off);
        write_pattern(off, len, (uint8_t)(i + 1));
        switch (i) {
        case 0: ops->snapshot_create(f->n, "a", NULL); break;
        case 1: block_write_zeroes(f->c, off, (int64_t)len, BLK_MAY_UNMAP); break;
        case 2: ops->snapshot_apply(f->n, "1", NULL); break;
        case 3: ops->snapshot_delete(f->n, "1", NULL); break;
        }
        block_discard(f->c, off / 2, (int64_t)len);
    }
    block_truncate(f->c, MIN(size, INT64_MAX / 4) + 70000, BLOCK_PREALLOC_OFF, NULL);
    block_flush(f->c);
    if (f->sound && !check(0)) {
        fail("a sound image is not any more");
    }
}

static void repair(void *opaque)
{
    check(BLOCK_FIX_LEAKS | BLOCK_FIX_ERRORS);
    f->sound = check(0);
    read_some();
    write_pattern(0, (size_t)MIN(block_size(f->n), 3000), 9);
}

static void run(bool writable, void (*fn)(void *opaque))
{
    if (image_open(writable)) {
        co_run_sync(f->loop, fn, NULL);
        image_close();
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (!f) {
        role_become_main();
        f = g_new0(Fuzz, 1);
        f->loop = loop_new("fuzz");
        f->graph = block_graph_new(f->loop);
        f->fd = memfd_create("image", MFD_CLOEXEC);
    }
    f->data = data;
    f->size = size;
    f->sound = false;
    image_reset();
    run(false, look);
    if (!image_unchanged()) {
        fail("reading has changed the image");
    }
    run(true, change);
    image_reset();
    run(true, repair);
    return 0;
}
