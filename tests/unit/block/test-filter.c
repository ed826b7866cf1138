/* SPDX-License-Identifier: MIT
 * tests/unit/block/test-filter.c - filters: what they change, and that the rest passes as it came.
 * Covers: block/filter.c, copy-on-read.c, blkdebug.c, blklogwrites.c, throttle.c.
 */
#include "blocktest.h"
#include "rhea/block/throttle.h"
#include <errno.h>
#include <string.h>
#include <unistd.h>

enum { SIZE = 1024 * 1024, CLUSTER = 65536 };

/* ---- copy-on-read ---- */

/* base.raw of 1s, mid.qcow2 above it with a cluster of 2s, top.qcow2 above that. */
static void make_chain(BlockTest *t)
{
    g_autofree char *base = bt_file(t, "base.raw", SIZE), *mid = bt_path(t, "mid"), *top = bt_path(t, "top"),
                    *above_base = g_strdup_printf("size=%d,backing_file=%s,backing_fmt=raw", SIZE, base),
                    *above_mid = g_strdup_printf("size=%d,backing_file=%s,backing_fmt=qcow2", SIZE, mid);
    g_autofree uint8_t *buf = g_malloc(SIZE);
    memset(buf, 1, SIZE);
    g_assert_true(g_file_set_contents(base, (char *)buf, SIZE, NULL));
    bt_create(t, "qcow2", mid, above_base);
    BlockClient *c = bt_client(bt_open(t, "qcow2,file.driver=file,file.filename=%s", mid));
    memset(buf, 2, CLUSTER);
    g_assert_cmpint(bt_write(c, 2 * CLUSTER, buf, CLUSTER, 0), ==, 0);
    block_client_free(c);
    bt_create(t, "qcow2", top, above_mid);
}

static bool has(BlockNode *n, int64_t off)
{
    BlockExtent e;
    BlockClient *c = block_client_new(n, "look", 0, BLOCK_PERM_ALL, &error_abort_slot);
    g_assert_cmpint(bt_extent(c, off, 1, &e), ==, 0);
    block_client_free(c);
    return e.allocated;
}

static void test_cor(BlockTest *t, gconstpointer data)
{
    make_chain(t);
    g_autofree char *top = bt_path(t, "top");
    BlockNode *n = bt_open(
        t, "copy-on-read,file.driver=qcow2,file.node-name=top,file.file.driver=file,file.file.filename=%s",
        top);
    g_assert_cmpint(block_size(n), ==, SIZE);
    g_assert_cmpstr(block_filename(block_backing(n)), ==, block_filename(block_backing(block_file(n))));
    BlockClient *c = block_client_new(n, "reader", BLOCK_PERM_READ, BLOCK_PERM_ALL, &error_abort_slot);
    bt_check_bytes(c, 5000, 10, 1);
    g_assert_true(has(n, 0) && has(n, CLUSTER - 1)); /* whole clusters */
    g_assert_false(has(n, CLUSTER));
    bt_check_bytes(c, 2 * CLUSTER, CLUSTER, 2);
    g_assert_true(has(n, 2 * CLUSTER));
    g_assert_false(has(n, 3 * CLUSTER));
    bt_check_bytes(c, SIZE - 1, 1, 1);
    g_assert_true(has(n, SIZE - 1));
    bt_check_bytes(c, CLUSTER, CLUSTER, 1);
    block_client_free(c);
    block_unref(n);
    /* The image alone has it now. */
    n = bt_open(t, "{'driver': 'qcow2', 'backing': null, 'file': {'driver': 'file', 'filename': '%s'}}", top);
    c = bt_client(n);
    bt_check_bytes(c, 0, 2 * CLUSTER, 1);
    bt_check_bytes(c, 2 * CLUSTER, CLUSTER, 2);
    bt_check_bytes(c, 3 * CLUSTER, CLUSTER, 0);
    block_client_free(c);
}

static void test_cor_bottom(BlockTest *t, gconstpointer data)
{
    make_chain(t);
    g_autofree char *top = bt_path(t, "top"), *mid = bt_path(t, "mid");
    BlockNode *low = bt_open(t, "qcow2,node-name=low,read-only=on,file.driver=file,file.filename=%s", mid);
    BlockNode *n = bt_open(t,
                           "copy-on-read,bottom=low,file.driver=qcow2,file.backing=low,"
                           "file.file.driver=file,file.file.filename=%s",
                           top);
    BlockClient *c = block_client_new(n, "reader", BLOCK_PERM_READ, BLOCK_PERM_ALL, &error_abort_slot);
    bt_check_bytes(c, 0, 2 * CLUSTER, 1);
    bt_check_bytes(c, 2 * CLUSTER, CLUSTER, 2);
    g_assert_false(has(n, 0));
    g_assert_true(has(n, 2 * CLUSTER));
    block_client_free(c);
    block_unref(n);
    block_unref(low);
    bt_open_fails(t, "no node 'nobody'",
                  "copy-on-read,bottom=nobody,file.driver=qcow2,file.file.driver=file,file.file.filename=%s",
                  top);
    bt_open_fails(
        t, "read-only",
        "copy-on-read,file.read-only=on,file.driver=qcow2,file.file.driver=file,file.file.filename=%s", top);
}

/* Reads that copy beside writes: no old bytes over new ones. */
static void test_cor_model(BlockTest *t, gconstpointer data)
{
    make_chain(t);
    g_autofree char *top = bt_path(t, "top");
    BlockModel m;
    BlockClient *c = bt_client(
        bt_open(t, "copy-on-read,file.driver=qcow2,file.file.driver=file,file.file.filename=%s", top));
    bt_model_init(&m, SIZE, 800);
    memset(m.data, 1, SIZE);
    memset(m.data + 2 * CLUSTER, 2, CLUSTER);
    bt_model_run(t, c, &m);
    g_assert_true(has(block_client_node(c), 0) && has(block_client_node(c), SIZE - 1));
    BlockCheck res;
    g_assert_cmpint(bt_check(t, block_file(block_client_node(c)), 0, &res), ==, 0);
    g_assert_cmpint(res.corruptions + res.leaks, ==, 0);
    block_client_free(c);
    bt_model_fini(&m);
}

/* ---- blkdebug ---- */

static BlockClient *debug_raw(BlockTest *t, const char *rules)
{
    g_autofree char *path = bt_file(t, "img", SIZE);
    return bt_client(
        bt_open(t, "raw,file.driver=blkdebug,%s,file.image.driver=file,file.image.filename=%s", rules, path));
}

static void test_debug_rules(BlockTest *t, gconstpointer data)
{
    uint8_t buf[1024] = { 1 };
    BlockClient *c = debug_raw(t, "file.inject-error.0.event=write_aio,file.inject-error.0.errno=28,"
                                  "file.inject-error.0.once=on");
    g_assert_cmpint(bt_write(c, 0, buf, 512, 0), ==, -ENOSPC);
    g_assert_cmpint(bt_write(c, 0, buf, 512, 0), ==, 0);
    block_client_free(c);

    /* An event activates its rules until another one activates others. */
    c = debug_raw(t, "file.inject-error.0.event=write_aio,file.inject-error.0.sector=3");
    g_assert_cmpint(bt_read(c, 1536, buf, 512), ==, 0);
    g_assert_cmpint(bt_write(c, 0, buf, 1024, 0), ==, 0);
    g_assert_cmpint(bt_read(c, 1024, buf, 512), ==, 0);
    g_assert_cmpint(bt_read(c, 1536, buf, 512), ==, -EIO);
    g_assert_cmpint(bt_write(c, 1025, buf, 1024, 0), ==, -EIO);
    g_assert_cmpint(bt_flush(c), ==, 0); /* has no sectors */
    block_client_free(c);

    /* States: the third write fails. */
    c = debug_raw(t, "file.set-state.0.event=write_aio,file.set-state.0.state=1,file.set-state.0.new_state=2,"
                     "file.set-state.1.event=write_aio,file.set-state.1.state=2,file.set-state.1.new_state=3,"
                     "file.inject-error.0.event=write_aio,file.inject-error.0.state=3,"
                     "file.inject-error.0.immediately=on");
    g_assert_cmpint(bt_write(c, 0, buf, 512, 0), ==, 0);
    g_assert_cmpint(bt_write(c, 0, buf, 512, 0), ==, 0);
    g_assert_cmpint(bt_write(c, 0, buf, 512, 0), ==, -EIO);
    block_client_free(c);

    static const char *const types[] = {
        "read", "write", "write-zeroes", "discard", "flush", "block-status"
    };
    for (unsigned i = 0; i < G_N_ELEMENTS(types); i++) {
        g_autofree char *rule =
            g_strdup_printf("file.inject-error.0.event=none,file.inject-error.0.iotype=%s", types[i]);
        BlockExtent e;
        c = debug_raw(t, rule);
        g_assert_cmpint(bt_read(c, 0, buf, 512), ==, i == 0 ? -EIO : 0);
        g_assert_cmpint(bt_write(c, 0, buf, 512, 0), ==, i == 1 ? -EIO : 0);
        g_assert_cmpint(bt_zero(c, 0, 65536, 0), ==, i == 2 ? -EIO : 0);
        g_assert_cmpint(bt_discard(c, 0, 65536), ==, i == 3 ? -EIO : 0);
        g_assert_cmpint(bt_flush(c), ==, i == 4 ? -EIO : 0);
        g_assert_cmpint(bt_extent(c, 0, 512, &e), ==, i == 5 ? -EIO : 0);
        block_client_free(c);
    }
}

static void test_debug_config(BlockTest *t, gconstpointer data)
{
    static const struct {
        const char *text, *error; /* NULL: the first write fails */
    } files[] = {
        { "# a comment\n\n[inject-error]\n  event = \"write_aio\"\nerrno = \"28\"\n\n[set-state]\nevent = "
          "\"l1_update\"\nnew_state = \"2\"\n",
          NULL },
        { "[inject-error]\nerrno = \"5\"\n", "'event' is missing" },
        { "[inject-error]\nevent = \"frob\"\n", "'frob'" },
        { "[inject-error]\nevent = write_aio\n", "line 2: not understood" },
        { "event = \"write_aio\"\n", "line 1: not understood" },
        { "[frob]\n", "no group 'frob'" },
        { "[set-state]\nevent = \"l1_update\"\n\n[inject-error]\n", "before line 4" },
    };
    g_autofree char *conf = bt_path(t, "conf"), *rule = g_strdup_printf("file.config=%s", conf);
    uint8_t buf[512] = { 0 };
    for (unsigned i = 0; i < G_N_ELEMENTS(files); i++) {
        g_assert_true(g_file_set_contents(conf, files[i].text, -1, NULL));
        if (files[i].error) {
            bt_open_fails(t, files[i].error, "blkdebug,config=%s,image.driver=null-co", conf);
            continue;
        }
        BlockClient *c = debug_raw(t, rule);
        g_assert_cmpint(bt_write(c, 0, buf, 512, 0), ==, -ENOSPC);
        block_client_free(c);
    }
    bt_open_fails(t, "No such file", "blkdebug,config=/nonexistent,image.driver=null-co");
    bt_open_fails(t, "power of two", "blkdebug,align=3,image.driver=null-co");
    bt_open_fails(t, "not a multiple of 512", "blkdebug,align=512,max-transfer=700,image.driver=null-co");
    bt_open_fails(t, "l2_update_compressed",
                  "blkdebug,inject-error.0.event=l2_update_compressed,image.driver=null-co");
    /* "blkdebug:CONFIG:IMAGE" */
    g_autofree char *path = bt_file(t, "img", SIZE), *name = g_strdup_printf("blkdebug:%s:%s", conf, path);
    g_assert_true(g_file_set_contents(conf, files[0].text, -1, NULL));
    g_autoptr(Json) o = block_image_options(name, "raw", &error_abort_slot);
    BlockClient *c = bt_client(block_open(t->graph, o, false, &error_abort_slot));
    g_assert_cmpint(bt_write(c, 0, buf, 512, 0), ==, -ENOSPC);
    block_client_free(c);
}

static void test_debug_perms(BlockTest *t, gconstpointer data)
{
    g_autofree char *path = bt_file(t, "img", SIZE);
    BlockNode *below = bt_open(t, "file,node-name=f,filename=%s", path);
    BlockNode *n =
        bt_open(t, "blkdebug,image=f,take-child-perms.0=write,unshare-child-perms.0=consistent-read");
    g_autoptr(Error) err = NULL;
    g_assert_null(block_client_new(below, "reader", BLOCK_PERM_READ, BLOCK_PERM_ALL, &err));
    g_assert_nonnull(strstr(error_text(err), "does not share read access"));
    block_unref(n);
    block_client_free(block_client_new(below, "reader", BLOCK_PERM_READ, BLOCK_PERM_ALL, &error_abort_slot));
    block_unref(below);
}

/* Below align=4096,max-transfer=8192,max-discard=64k all requests fit. */
static BlockDriver strict;

static void strict_check(int64_t off, int64_t bytes)
{
    g_assert_cmpint(off % 4096, ==, 0);
    g_assert_true(bytes % 4096 == 0 || off + bytes == SIZE + 512);
    g_assert_cmpint(bytes, <=, 8192);
}

static int strict_preadv(BlockNode *n, int64_t off, IoVec *v, unsigned flags)
{
    strict_check(off, (int64_t)v->bytes);
    return block_file_driver.preadv(n, off, v, flags);
}

static int strict_pwritev(BlockNode *n, int64_t off, IoVec *v, unsigned flags)
{
    strict_check(off, (int64_t)v->bytes);
    return block_file_driver.pwritev(n, off, v, flags);
}

static int strict_write_zeroes(BlockNode *n, int64_t off, int64_t bytes, unsigned flags)
{
    g_assert_cmpint(off % 16384, ==, 0);
    g_assert_cmpint(bytes, <=, 32768);
    int r = block_file_driver.write_zeroes(n, off, bytes, flags);
    if (r == -ENOTSUP) { /* tmpfs: the node below would write buffers of its own, which have no limit */
        g_autofree uint8_t *zeros = g_malloc0((size_t)bytes);
        IoVec v;
        iov_init_buf(&v, zeros, (size_t)bytes);
        r = block_file_driver.pwritev(n, off, &v, 0);
    }
    return r;
}

static int strict_discard(BlockNode *n, int64_t off, int64_t bytes)
{
    g_assert_cmpint(off % 32768, ==, 0);
    g_assert_cmpint(bytes, <=, 65536);
    return block_file_driver.discard(n, off, bytes);
}

static void test_debug_align(BlockTest *t, gconstpointer data)
{
    g_autofree char *path = bt_file(t, "img", SIZE + 512);
    BlockModel m;
    BlockClient *c = bt_client(bt_open(t,
                                       "blkdebug,align=4096,max-transfer=8192,opt-write-zero=16384,"
                                       "max-write-zero=32768,opt-discard=32768,max-discard=65536,"
                                       "image.driver=file,image.filename=%s",
                                       path));
    strict = block_file_driver;
    strict.preadv = strict_preadv;
    strict.pwritev = strict_pwritev;
    strict.write_zeroes = strict_write_zeroes;
    strict.discard = strict_discard;
    block_file(block_client_node(c))->driver = &strict;
    bt_model_init(&m, SIZE + 512, 400);
    m.max_len = 40000;
    bt_model_run(t, c, &m);
    block_client_free(c);
    bt_model_fini(&m);
}

typedef struct Job {
    BlockClient *c;
    uint8_t buf[512];
    int r;
    bool done;
} Job;

static void job_body(void *opaque)
{
    Job *j = opaque;
    IoVec v;
    iov_init_buf(&v, j->buf, sizeof(j->buf));
    j->r = block_preadv(j->c, 0, &v, 0);
    j->done = true;
}

static void hear(void *opaque, const char *tag, bool stopped)
{
    g_string_append_printf(opaque, "%s%c", tag, stopped ? '-' : '+');
}

static void test_debug_break(BlockTest *t, gconstpointer data)
{
    Job j = { .c = debug_raw(t, "file.align=512") };
    BlockNode *n = block_client_node(j.c);
    g_autoptr(GString) heard = g_string_new(NULL);
    block_debug_set_say(t->graph, hear, heard);
    g_assert_cmpint(block_debug_break(n, "frob", "a"), ==, -ENOENT);
    g_assert_cmpint(block_debug_break(n, "read_aio", "a"), ==, 0);
    g_assert_cmpint(block_debug_resume(n, "a"), ==, -ENOENT);
    co_start(t->loop, job_body, &j);
    while (!block_debug_is_suspended(n, "a")) {
        loop_turn(t->loop, true);
    }
    bt_check_bytes(j.c, 0, 512, 0); /* it stopped one request, no more */
    g_assert_false(j.done);
    g_assert_cmpint(block_debug_resume(n, "b"), ==, -ENOENT);
    g_assert_cmpint(block_debug_resume(n, "a"), ==, 0);
    while (!j.done) {
        loop_turn(t->loop, true);
    }
    g_assert_cmpint(j.r, ==, 0);
    g_assert_cmpstr(heard->str, ==, "a-a+");
    block_debug_set_say(t->graph, NULL, NULL);
    g_assert_cmpint(block_debug_break(n, "read_aio", "c"), ==, 0);
    g_assert_cmpint(block_debug_remove_break(n, "c"), ==, 0);
    g_assert_cmpint(block_debug_remove_break(n, "c"), ==, -ENOENT);
    bt_check_bytes(j.c, 0, 512, 0);
    g_assert_cmpint(block_debug_break(block_file(block_file(n)), "read_aio", "c"), ==, -ENOTSUP);
    block_client_free(j.c);
}

/* Each event of qcow2 in turn: from there on all fails. What was flushed before stays, and nothing is
 * corrupt. */
static void debug_qcow2(BlockTest *t, const char *path, const char *event, unsigned *failed)
{
    uint8_t *buf = g_malloc(3 * CLUSTER);
    BlockNode *n =
        bt_open(t,
                "qcow2,file.driver=blkdebug,file.inject-error.0.event=%s,file.inject-error.0.state=2,"
                "file.set-state.0.event=pwritev,file.set-state.0.new_state=2,"
                "file.image.driver=file,file.image.filename=%s",
                event, path);
    BlockClient *c = bt_client(block_ref(n));
    bool bad = false;
    for (unsigned i = 0; i < 40; i++) {
        memset(buf, (int)i + 1, 3 * CLUSTER);
        int64_t off = 512 * (i * 37 % 1500) + SIZE / 4;
        bad |= bt_read(c, off, buf, 5000) < 0;
        bad |= bt_write(c, off, buf, i % 3 ? 700 : 5000, 0) < 0;
        bad |= i % 5 == 0 && bt_discard(c, SIZE - 65536, 65536) < 0;
        bad |= i % 9 == 8 && bt_flush(c) < 0;
    }
    bad |= !bt_truncate(c, 300 * (int64_t)SIZE, NULL);
    bad |= bt_flush(c) < 0;
    *failed += bad;
    block_client_free(c);
    block_unref(n);
    g_free(buf);
}

static void test_debug_qcow2(BlockTest *t, gconstpointer data)
{
    g_autofree char *path = bt_path(t, "q"), *good = NULL;
    gsize len;
    unsigned failed = 0, events = 0;
    g_autofree uint8_t *old = g_malloc(SIZE / 4);
    memset(old, 0x77, SIZE / 4);
    bt_create(t, "qcow2", path, "size=1M,cluster_size=512,refcount_bits=64");
    BlockClient *c = bt_client(bt_open(t, "qcow2,file.driver=file,file.filename=%s", path));
    g_assert_cmpint(bt_write(c, 0, old, SIZE / 4, 0), ==, 0);
    block_client_free(c);
    g_assert_true(g_file_get_contents(path, &good, &len, NULL));
    for (unsigned e = 1; blkdebug_event_names[e]; e++, events++) {
        g_assert_true(g_file_set_contents(path, good, (gssize)len, NULL));
        debug_qcow2(t, path, blkdebug_event_names[e], &failed);
        c = bt_client(bt_open(t, "qcow2,file.driver=file,file.filename=%s", path));
        BlockCheck res;
        g_assert_cmpint(bt_check(t, block_client_node(c), 0, &res), ==, 0);
        if (res.corruptions || res.check_errors) {
            g_error("errors from '%s' on left %" PRId64 " corruptions", blkdebug_event_names[e],
                    res.corruptions);
        }
        bt_check_bytes(c, 0, SIZE / 4, 0x77);
        block_client_free(c);
    }
    g_test_message("%u of %u events made requests fail", failed, events);
    g_assert_cmpuint(failed, >=, 15); /* the others happen below compressed data, say */
}

/* ---- blklogwrites ---- */

static uint64_t le(const char *p, unsigned bytes)
{
    uint64_t v = 0;
    for (unsigned i = bytes; i-- > 0;) {
        v = v << 8 | (uint8_t)p[i];
    }
    return v;
}

/* Plays a log onto a copy of what the file was. Returns the number of flushes. */
static unsigned replay(const char *log, gsize len, char *disk, int64_t unit)
{
    unsigned flushes = 0;
    g_assert_cmphex(le(log, 8), ==, 0x6a736677736872);
    g_assert_cmpuint(le(log + 8, 8), ==, 1);
    g_assert_cmpint((int64_t)le(log + 24, 4), ==, unit);
    const char *at = log + unit;
    for (uint64_t i = 0; i < le(log + 16, 8); i++) {
        g_assert_true(at + unit <= log + len);
        size_t off = le(at, 8) * (size_t)unit, bytes = le(at + 8, 8) * (size_t)unit;
        uint64_t flags = le(at + 16, 8);
        at += unit;
        flushes += flags == 1;
        if (flags == 4) {
            memset(disk + off, 0, bytes);
        } else if (flags == 0) {
            g_assert_true(off + bytes <= SIZE && at + bytes <= log + len);
            memcpy(disk + off, at, bytes);
            at += bytes;
        }
    }
    g_assert_true(at == log + len);
    return flushes;
}

static void log_round(BlockTest *t, const char *img, const char *log, const char *more, int64_t unit,
                      unsigned at_least)
{
    BlockModel m;
    BlockClient *c = bt_client(
        bt_open(t, "blklogwrites,%s,file.driver=file,file.filename=%s,log.driver=file,log.filename=%s", more,
                img, log));
    bt_model_init(&m, SIZE, 200);
    g_assert_cmpint(bt_read(c, 0, m.data, SIZE), ==, 0);
    bt_model_run(t, c, &m);
    g_assert_cmpint(bt_flush(c), ==, 0);
    block_client_free(c);
    bt_model_fini(&m);
    g_autofree char *disk = g_malloc0(SIZE), *text = NULL, *now = NULL;
    gsize len, n;
    g_assert_true(g_file_get_contents(log, &text, &len, NULL));
    g_assert_true(g_file_get_contents(img, &now, &n, NULL));
    g_assert_cmpuint(replay(text, len, disk, unit), >=, at_least);
    g_assert_cmpmem(disk, SIZE, now, n); /* a discarded file reads as zeros */
}

static void test_log(BlockTest *t, gconstpointer data)
{
    g_autofree char *img = bt_file(t, "img", SIZE), *log = bt_file(t, "log", 0);
    log_round(t, img, log, "log-super-update-interval=7", 512, 1);
    log_round(t, img, log, "log-append=on", 512, 2); /* what is there, and more */
    g_assert_cmpint(truncate(log, 0), ==, 0);
    g_assert_cmpint(truncate(img, 0), ==, 0);
    g_assert_cmpint(truncate(img, SIZE), ==, 0);
    log_round(t, img, log, "log-sector-size=4096", 4096, 1);
    log_round(t, img, log, "log-append=on", 4096, 2);
}

static void test_log_refusals(BlockTest *t, gconstpointer data)
{
    g_autofree char *img = bt_file(t, "img", SIZE), *log = bt_file(t, "log", 8192);
    static const struct {
        const char *options, *error;
    } bad[] = {
        { "log-append=on", "does not begin as a log" },
        { "log-sector-size=1000", "power of two" },
        { "log-append=on,log-sector-size=512", "exclude each other" },
        { "read-only=on", "read-only" },
    };
    for (unsigned i = 0; i < G_N_ELEMENTS(bad); i++) {
        bt_open_fails(t, bad[i].error,
                      "blklogwrites,%s,file.driver=file,file.filename=%s,log.driver=file,log.filename=%s",
                      bad[i].options, img, log);
    }
    uint8_t head[32] = { 0x72, 0x68, 0x73, 0x77, 0x66, 0x73, 0x6a, 0, 1 };
    head[16] = 1; /* one entry, of absurd length */
    head[25] = 2;
    uint8_t entry[32] = { 0 };
    memset(entry + 8, 0x7f, 8);
    BlockClient *c = bt_client(bt_open(t, "file,filename=%s", log));
    g_assert_cmpint(bt_write(c, 0, head, 32, 0), ==, 0);
    g_assert_cmpint(bt_write(c, 512, entry, 32, 0), ==, 0);
    block_client_free(c);
    bt_open_fails(
        t, "is absurd",
        "blklogwrites,log-append=on,file.driver=file,file.filename=%s,log.driver=file,log.filename=%s", img,
        log);
}

/* ---- throttle ---- */

typedef struct Slow {
    BlockClient *c;
    unsigned *left, *running;
    bool write;
} Slow;

static void slow_body(void *opaque)
{
    Slow *s = opaque;
    uint8_t buf[4096] = { 0 };
    IoVec v;
    while (*s->left) {
        --*s->left;
        iov_init_buf(&v, buf, sizeof(buf));
        int r = s->write ? block_pwritev(s->c, 0, &v, 0) : block_preadv(s->c, 0, &v, 0);
        g_assert_cmpint(r, ==, 0);
    }
    --*s->running;
}

/* By a clock of its own: 500 requests of 4 KiB through two nodes of one group take what its limit says. */
static void test_throttle(BlockTest *t, gconstpointer data)
{
    ManualClock clock;
    unsigned hurry = 0;
    clock_manual_init(&clock, 0);
    BlockThrottle *group = block_throttle_new(t->graph, "g", &clock.clock, &hurry);
    BlockLimits l = { .limit[BLOCK_BPS] = { .avg = 409600, .length = 1 } };
    block_throttle_set(group, &l);
    bt_open_fails(t, "no throttle group 'h'", "throttle,throttle-group=h,file.driver=null-co");
    unsigned left = 500, running = 4;
    Slow s[4];
    BlockClient *c[2];
    for (unsigned i = 0; i < 2; i++) {
        c[i] = bt_client(bt_open(t, "throttle,throttle-group=g,file.driver=null-co"));
    }
    g_assert_cmpuint(group->nodes, ==, 2);
    for (unsigned i = 0; i < 4; i++) {
        s[i] = (Slow){ c[i & 1], &left, &running, i & 2 };
        co_start(t->loop, slow_body, &s[i]);
    }
    int64_t now = 0;
    while (running) {
        if (!loop_turn(t->loop, false)) {
            clock_manual_set(&clock, now += 1000000);
        }
    }
    g_test_message("500 requests took %.3f s", (double)now / 1e9);
    g_assert_cmpint(now, >, 4650000000); /* 5 s, less what fits in the bucket */
    g_assert_cmpint(now, <, 5100000000);
    /* Nobody waits for a limit while gates close: time stands still here. */
    left = 200;
    running = 1;
    co_start(t->loop, slow_body, &s[0]);
    while (left == 200) {
        loop_turn(t->loop, true);
    }
    hurry = 1;
    while (running) {
        clock_manual_set(&clock, now += 20000000);
        while (loop_turn(t->loop, false)) {
        }
    }
    g_assert_cmpuint(left, ==, 0);
    block_client_free(c[0]);
    block_client_free(c[1]);
    g_assert_cmpuint(group->nodes, ==, 0);
    block_throttle_free(group);
}

#define ADD(name) g_test_add("/block/filter/" #name, BlockTest, NULL, bt_setup, test_##name, bt_teardown)

int main(int argc, char **argv)
{
    bt_init(&argc, &argv);
    ADD(cor);
    ADD(cor_bottom);
    ADD(cor_model);
    ADD(debug_rules);
    ADD(debug_config);
    ADD(debug_perms);
    ADD(debug_align);
    ADD(debug_break);
    ADD(debug_qcow2);
    ADD(log);
    ADD(log_refusals);
    ADD(throttle);
    return g_test_run();
}
