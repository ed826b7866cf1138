/* SPDX-License-Identifier: MIT
 * tests/unit/block/test-powercut.c - qcow2 after power cuts: every write to the file is logged; the image is
 * rebuilt from all that was synced and a random choice of what was not, of some writes only a part, then
 * checked and compared with what the guest flushed. An external data file has a log of its own. Commands
 * (snapshots, resize, amend, emptying after a commit) leave the content from before or the one from after.
 * blklogwrites' logs are replayed likewise, as the kernel's documentation of log-writes describes them.
 * Covers: block/qcow2-io.c, qcow2-map.c, qcow2-ref.c, qcow2-cache.c, qcow2-snapshot.c,
 * qcow2-bitmap.c, qcow2-header.c, qcow2-amend.c, qcow2-create.c, blklogwrites.c.
 */
#include "blocktest.h"
#include "rhea/block/bitmap.h"
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef struct Op {
    enum { OP_WRITE, OP_ZERO, OP_TRUNCATE, OP_SYNC, OP_FLUSHED } kind;
    unsigned file; /* 1: the data file */
    int64_t off, len;
    uint8_t *data;    /* write: the bytes; flushed: the guest's content */
    uint8_t *touched; /* flushed: what the next batch will touch is filled in later */
    uint8_t *other;   /* flushed: what a command that follows makes of it; NULL: the same */
} Op;

static GArray *log_ops;

static const BlockNode *data_node;

static void op_add(const BlockNode *n, Op op)
{
    op.file = n && n == data_node;
    g_array_append_val(log_ops, op);
}

static int logging_pwritev(BlockNode *n, int64_t off, IoVec *v, unsigned flags)
{
    int r = block_file_driver.pwritev(n, off, v, flags);
    Op op = { .kind = OP_WRITE, .off = off, .len = (int64_t)v->bytes, .data = g_malloc(v->bytes) };
    g_assert_cmpint(r, ==, 0);
    iov_to_buf(v, 0, op.data, v->bytes);
    op_add(n, op);
    return r;
}

static int logging_write_zeroes(BlockNode *n, int64_t off, int64_t bytes, unsigned flags)
{
    int r = block_file_driver.write_zeroes(n, off, bytes, flags);
    if (r == 0) {
        op_add(n, (Op){ .kind = OP_ZERO, .off = off, .len = bytes });
    }
    return r;
}

static int logging_discard(BlockNode *n, int64_t off, int64_t bytes)
{
    int r = block_file_driver.discard(n, off, bytes);
    if (r == 0) {
        op_add(n, (Op){ .kind = OP_ZERO, .off = off, .len = bytes });
    }
    return r;
}

static int logging_flush(BlockNode *n)
{
    /* What was logged before this call is synced; what comes during it is not. */
    unsigned at = log_ops->len;
    int r = block_file_driver.flush(n);
    Op op = { .kind = OP_SYNC, .file = n == data_node };
    g_assert_cmpint(r, ==, 0);
    g_array_insert_val(log_ops, at, op);
    return r;
}

static bool logging_truncate(BlockNode *n, int64_t size, int prealloc, Error **errp)
{
    op_add(n, (Op){ .kind = OP_TRUNCATE, .off = size });
    return block_file_driver.truncate(n, size, prealloc, errp);
}

/* ---- blklogwrites ---- */

static const char *log_path; /* NULL: no such log is written */

static uint64_t le64(const char *p)
{
    uint64_t v;
    memcpy(&v, p, 8);
    return GUINT64_FROM_LE(v);
}

/* How many entries the log has; the super block is written with each. */
static int64_t log_entries(void)
{
    char super[32];
    int fd = log_path ? open(log_path, O_RDONLY | O_CLOEXEC) : -1;
    if (fd < 0) {
        return 0;
    }
    g_assert_cmpint(pread(fd, super, sizeof(super), 0), ==, sizeof(super));
    close(fd);
    return (int64_t)le64(super + 16);
}

/* The log's entries as operations, with what was flushed between them. */
static void log_load(void)
{
    enum { SECTOR = 512, FLUSH = 1, DISCARD = 4 };
    g_autofree char *text = NULL;
    gsize len;
    GArray *flushed = log_ops;
    g_assert_true(g_file_get_contents(log_path, &text, &len, NULL));
    g_assert_cmphex(le64(text), ==, 0x6a736677736872);
    log_ops = g_array_new(FALSE, FALSE, sizeof(Op));
    int64_t entries = (int64_t)le64(text + 16);
    const char *at = text + SECTOR;
    unsigned next = 0;
    for (int64_t i = 0; i <= entries; i++) {
        for (; next < flushed->len && g_array_index(flushed, Op, next).off <= i; next++) {
            g_array_append_val(log_ops, g_array_index(flushed, Op, next));
        }
        if (i == entries) {
            break;
        }
        g_assert_true(at + SECTOR <= text + len);
        Op op = { .off = (int64_t)le64(at) * SECTOR, .len = (int64_t)le64(at + 8) * SECTOR };
        uint64_t flags = le64(at + 16);
        at += SECTOR;
        op.kind = flags & FLUSH ? OP_SYNC : flags & DISCARD ? OP_ZERO : OP_WRITE;
        if (op.kind == OP_WRITE) {
            g_assert_true(op.len <= text + len - at);
            op.data = g_memdup2(at, (gsize)op.len);
            at += op.len;
        }
        op_add(NULL, op);
    }
    g_assert_cmpuint(next, ==, flushed->len);
    g_array_free(flushed, TRUE);
}

/* The load: batches of parallel requests, a flush behind each. */
enum { SIZE = 512 * 1024, BATCH = 12 };

typedef struct Load {
    BlockClient *c;
    uint8_t *data;    /* the guest's view */
    uint8_t *touched; /* by the batch that runs */
    unsigned left, running;
    bool snapshots, commands;
    int64_t compress; /* cluster size; 0: no compressed writes */
    unsigned taken, done[6];
} Load;

static void load_body(void *opaque)
{
    Load *l = opaque;
    static CoRangeLock ranges;
    static bool ready;
    if (!ready) {
        co_range_init(&ranges);
        ready = true;
    }
    while (l->left) {
        l->left--;
        int64_t len = g_random_int_range(1, 40) * 512,
                off = g_random_int_range(0, (SIZE - (int)len) / 512 + 1) * 512;
        int kind = g_random_int_range(0, 10), r;
        CoRange range;
        unsigned flags = l->compress && kind < 3 ? BLK_COMPRESSED : 0;
        if (flags) {
            off -= off % l->compress;
            len = l->compress;
        }
        co_range_claim(&ranges, &range, off, off + len, true);
        memset(l->touched + off, 1, (size_t)len);
        if (kind < 7) {
            g_autofree uint8_t *buf = g_malloc((size_t)len);
            memset(buf, g_random_int_range(1, 256), (size_t)len);
            IoVec v;
            iov_init_buf(&v, buf, (size_t)len);
            r = block_pwritev(l->c, off, &v, flags);
            memcpy(l->data + off, buf, (size_t)len);
        } else if (kind < 8) {
            r = block_write_zeroes(l->c, off, len, g_random_boolean() ? BLK_MAY_UNMAP : 0);
            memset(l->data + off, 0, (size_t)len);
        } else {
            r = block_discard(l->c, off, len);
        }
        g_assert_cmpint(r, ==, 0);
        co_range_release(&ranges, &range);
    }
    l->running--;
}

static void snapshot_some(Load *l)
{
    BlockNode *n = block_client_node(l->c);
    const BlockFormatOps *f = n->driver->format;
    g_autofree char *name = g_strdup_printf("s%u", l->taken);
    if (l->taken % 3 != 2) {
        g_assert_true(f->snapshot_create(n, name, &error_abort_slot));
        l->taken++;
    } else {
        GArray *list = f->snapshots(n);
        g_autofree char *id = g_strdup(g_array_index(list, BlockSnapshot, 0).id);
        g_array_unref(list);
        g_assert_true(f->snapshot_delete(n, id, &error_abort_slot));
        l->taken++;
    }
}

static void amend_some(BlockNode *n)
{
    static const char *const changes[] = { "refcount_bits=8", "refcount_bits=16", "refcount_bits=64",
                                           "lazy_refcounts=on", "lazy_refcounts=off" };
    const BlockFormatOps *f = n->driver->format;
    const char *text = changes[g_random_int_range(0, G_N_ELEMENTS(changes))];
    bool from_text;
    g_autoptr(Json) o = keyval_parse(text, NULL, &from_text, &error_abort_slot);
    g_autofree void *decoded = g_malloc0(f->amend_type->size);
    type_decode(f->amend_type, o, from_text, decoded, &error_abort_slot);
    f->amend(n, decoded, &error_abort_slot);
    type_clear(f->amend_type, decoded);
}

static void command_some(Load *l)
{
    BlockNode *n = block_client_node(l->c);
    const BlockFormatOps *f = n->driver->format;
    GArray *list = f->snapshots(n);
    g_autofree char *id = list->len ? g_strdup(g_array_index(list, BlockSnapshot, 0).id) : NULL,
                    *name = g_strdup_printf("c%u", l->taken++);
    unsigned kind = (unsigned)g_random_int_range(0, G_N_ELEMENTS(l->done));
    switch (list->len < 3 && kind == 1 ? 0 : !id && kind == 2 ? 3 : kind) {
    case 0: g_assert_true(f->snapshot_create(n, name, &error_abort_slot)); break;
    case 1: g_assert_true(f->snapshot_delete(n, id, &error_abort_slot)); break;
    case 2: g_assert_true(f->snapshot_apply(n, id, &error_abort_slot)); break;
    case 3: amend_some(n); break;
    case 4:
        g_assert_true(block_truncate(l->c, SIZE + g_random_int_range(0, 200) * 65536, BLOCK_PREALLOC_OFF,
                                     &error_abort_slot));
        break;
    default: g_assert_true(f->make_empty(n, &error_abort_slot)); break;
    }
    l->done[kind]++;
    g_array_unref(list);
}

/* What the guest has now, flushed. Discards may leave anything: what is there is what counts. */
static void note_flushed(Load *l)
{
    IoVec v;
    iov_init_buf(&v, l->data, SIZE);
    g_assert_cmpint(block_flush(l->c), ==, 0);
    g_assert_cmpint(block_preadv(l->c, 0, &v, 0), ==, 0);
    Op op = { .kind = OP_FLUSHED, .data = g_memdup2(l->data, SIZE), .off = log_entries() };
    op_add(NULL, op);
}

static void flush_body(void *opaque)
{
    Load *l = opaque;
    note_flushed(l);
    if (l->snapshots && g_random_int_range(0, 3) == 0) {
        snapshot_some(l);
    } else if (l->commands && g_random_boolean()) {
        unsigned before = log_ops->len - 1;
        command_some(l);
        note_flushed(l);
        g_array_index(log_ops, Op, before).other = g_memdup2(l->data, SIZE);
    }
}

static void run_load(BlockTest *t, Load *l, int batches)
{
    for (int i = 0; i < batches; i++) {
        memset(l->touched, 0, SIZE);
        unsigned mark = log_ops->len;
        l->left = BATCH;
        l->running = 4;
        for (int k = 0; k < 4; k++) {
            co_start(t->loop, load_body, l);
        }
        while (l->running) {
            loop_turn(t->loop, true);
        }
        /* The state flushed before this batch must survive, but for what the batch touched. */
        for (unsigned k = mark; k-- > 0;) {
            Op *op = &g_array_index(log_ops, Op, k);
            if (op->kind == OP_FLUSHED) {
                op->touched = g_memdup2(l->touched, SIZE);
                break;
            }
        }
        bt_run(t, flush_body, l);
    }
}

/* Rebuilding */

typedef struct Disk {
    uint8_t *data;
    int64_t size, room;
} Disk;

/* Of a write that was under way each sector may have arrived, or not. */
static void disk_tear(Disk *d, const Op *op)
{
    for (int64_t at = 0; at < op->len; at += 512) {
        if (g_random_boolean() && op->off + at + 512 <= d->room) {
            memcpy(d->data + op->off + at, op->data + at, (size_t)MIN(512, op->len - at));
            d->size = MAX(d->size, op->off + MIN(at + 512, op->len));
        }
    }
}

static void disk_apply(Disk *d, const Op *op)
{
    int64_t end = op->kind == OP_TRUNCATE ? op->off : op->off + op->len;
    if (end > d->room) {
        d->data = g_realloc(d->data, (size_t)end * 2);
        memset(d->data + d->room, 0, (size_t)(end * 2 - d->room));
        d->room = end * 2;
    }
    if (op->kind == OP_TRUNCATE) {
        d->size = op->off;
    } else if (op->kind == OP_WRITE) {
        memcpy(d->data + op->off, op->data, (size_t)op->len);
        d->size = MAX(d->size, end);
    } else if (op->kind == OP_ZERO) {
        memset(d->data + op->off, 0, (size_t)op->len);
    }
}

static unsigned leaks_seen, void_seen, sound_seen;

/* A bitmap that the image calls sound has all of what was written since the image was made. */
static void verify_bitmap(BlockClient *c)
{
    BlockBitmap *b = block_bitmap_find(block_client_node(c), "all");
    g_autofree uint8_t *now = g_malloc(SIZE);
    if (!b || b->inconsistent) {
        void_seen += b != NULL;
        return;
    }
    sound_seen++;
    g_assert_cmpint(bt_read(c, 0, now, SIZE), ==, 0);
    for (int64_t at = 0; at < SIZE; at += 512) {
        int64_t start, bytes;
        if (!buf_is_zero(now + at, 512)) {
            g_assert_true(block_bitmap_next(b, at, at + 512, &start, &bytes));
        }
    }
}

static char *disk_file(BlockTest *t, const char *name, const Disk *d)
{
    char *path = bt_path(t, name);
    int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    g_assert_cmpint(fd, >=, 0);
    g_assert_cmpint(write(fd, d->data, (size_t)d->size), ==, d->size);
    close(fd);
    return path;
}

static void verify(BlockTest *t, const Disk *d, const Op *flushed, bool lazy, unsigned cut)
{
    g_autofree char *path = disk_file(t, "cut", d),
                    *data_path = data_node ? disk_file(t, "cutdata", d + 1) : NULL,
                    *more = data_path
                                ? g_strdup_printf(",data-file.driver=file,data-file.filename=%s", data_path)
                                : g_strdup("");
    BlockClient *c = bt_client(bt_open(t, "qcow2,file.driver=file,file.filename=%s%s", path, more));
    BlockCheck res;
    int r = bt_check(t, block_client_node(c), lazy ? BLOCK_FIX_LEAKS | BLOCK_FIX_ERRORS : 0, &res);
    if (r < 0 || res.corruptions || res.check_errors) {
        g_error("cut %u: %" PRId64 " corruptions", cut, res.corruptions);
    }
    leaks_seen += res.leaks > 0;
    if (flushed) {
        g_autofree uint8_t *now = g_malloc(SIZE);
        g_assert_cmpint(bt_read(c, 0, now, SIZE), ==, 0);
        /* A command may be done or not, all of it; what comes behind it was flushed before. */
        bool after = flushed->other && memcmp(now, flushed->other, SIZE) == 0;
        for (int i = 0; i < SIZE && !after; i++) {
            if (now[i] != flushed->data[i] && !(flushed->touched && flushed->touched[i])) {
                g_error("cut %u: flushed byte %d is %02x, not %02x", cut, i, now[i], flushed->data[i]);
            }
        }
    }
    verify_bitmap(c);
    block_client_free(c);
}

/* A cut in front of op `cut`: all before the last sync, and each later write with even odds, or all of them.
 */
static void do_cut(BlockTest *t, const Disk *base, unsigned cut, bool lazy)
{
    unsigned synced[2] = { 0 };
    const Op *flushed = NULL;
    for (unsigned i = 0; i < cut; i++) {
        const Op *op = &g_array_index(log_ops, Op, i);
        synced[op->file] = op->kind == OP_SYNC ? i : synced[op->file];
        flushed = op->kind == OP_FLUSHED ? op : flushed;
    }
    Disk d[2];
    for (unsigned i = 0; i < 2; i++) {
        d[i] = (Disk){ g_memdup2(base[i].data, (size_t)base[i].room), base[i].size, base[i].room };
    }
    int mode = g_random_int_range(0, 5);
    for (unsigned i = 0; i < cut; i++) {
        const Op *op = &g_array_index(log_ops, Op, i);
        bool arrived = i < synced[op->file] || mode == 0 || (mode < 4 && g_random_boolean());
        if (arrived && mode == 3 && i >= synced[op->file] && op->kind == OP_WRITE && g_random_boolean()) {
            disk_tear(&d[op->file], op);
        } else if (arrived) {
            disk_apply(&d[op->file], op);
        }
    }
    verify(t, d, flushed, lazy, cut);
    g_free(d[0].data);
    g_free(d[1].data);
}

typedef struct Case {
    const char *name, *create;
    bool snapshots, lazy;
    unsigned cuts;
    const char *open;
    int64_t compress;
    bool bitmaps, commands, logged;
} Case;

static void test_cuts(BlockTest *t, gconstpointer data)
{
    const Case *k = data;
    g_autofree char *path = bt_path(t, "img"), *data_path = bt_path(t, "data"), *below = bt_path(t, "base");
    g_autoptr(GString) create = g_string_new(k->create);
    g_string_append_printf(create, ",size=%d", SIZE);
    g_autofree uint8_t *backing = g_malloc0(SIZE);
    if (g_string_replace(create, "@BASE@", below, 0)) {
        memset(backing, 0x5a, SIZE);
        g_assert_true(g_file_set_contents(below, (char *)backing, SIZE, NULL));
    }
    bool external = g_string_replace(create, "@DATA@", data_path, 0);
    bt_create(t, "qcow2", path, create->str);
    if (k->bitmaps) {
        BlockClient *maker = bt_client(bt_open(t, "qcow2,file.driver=file,file.filename=%s", path));
        BlockNode *n = block_client_node(maker);
        block_bitmap_cmd_add(n, "all", 4096, true, true, &error_abort_slot);
        block_bitmap_cmd_add(n, "idle", 512, true, false, &error_abort_slot);
        block_client_free(maker);
    }
    Disk base[2] = { 0 };
    for (unsigned i = 0; i <= external; i++) {
        char *content;
        gsize len;
        g_assert_true(g_file_get_contents(i ? data_path : path, &content, &len, NULL));
        base[i] = (Disk){ (uint8_t *)content, (int64_t)len, (int64_t)len };
    }
    log_ops = g_array_new(FALSE, FALSE, sizeof(Op));

    g_autofree char *log = k->logged ? bt_file(t, "log", 0) : NULL,
                    *below_it = log ? g_strdup_printf("blklogwrites,file.log-super-update-interval=1,"
                                                      "file.log.driver=file,file.log.filename=%s,"
                                                      "file.file.driver=file,file.file",
                                                      log)
                                    : g_strdup("file,file");
    log_path = log;
    BlockDriver logging = block_file_driver;
    logging.pwritev = logging_pwritev;
    logging.write_zeroes = logging_write_zeroes;
    logging.discard = logging_discard;
    logging.flush = logging_flush;
    logging.truncate = logging_truncate;
    BlockClient *c =
        bt_client(bt_open(t, "qcow2,%sfile.driver=%s.filename=%s", k->open ? k->open : "", below_it, path));
    BlockNode *data_file = block_data_file(block_client_node(c));
    if (!log) {
        block_file(block_client_node(c))->driver = &logging;
    }
    if (data_file) {
        data_file->driver = &logging;
    }
    data_node = data_file;
    Load l = { .c = c,
               .data = g_memdup2(backing, SIZE),
               .touched = g_malloc0(SIZE),
               .snapshots = k->snapshots,
               .commands = k->commands,
               .compress = k->compress };
    run_load(t, &l, k->bitmaps ? 5 : 40);
    for (int part = 1; part < (k->bitmaps ? 8 : 1); part++) { /* bitmaps are stored at each close */
        block_client_free(c);
        l.c = c = bt_client(bt_open(t, "qcow2,file.driver=file,file.filename=%s", path));
        block_file(block_client_node(c))->driver = &logging;
        run_load(t, &l, 5);
    }
    if (k->bitmaps) {
        block_client_free(c);
        c = NULL;
        do_cut(t, base, log_ops->len, k->lazy); /* closed: they are sound here at least */
    }
    if (log) {
        block_client_free(c);
        c = NULL;
        log_load();
    }
    unsigned cuts = bt_cuts(k->cuts);
    for (unsigned i = 0; i < cuts; i++) {
        unsigned cut = (unsigned)g_random_int_range(0, (int)log_ops->len + 1);
        if (i % 4) { /* in front of a sync most can be lost */
            while (cut < log_ops->len && g_array_index(log_ops, Op, cut).kind != OP_SYNC) {
                cut++;
            }
        }
        do_cut(t, base, cut, k->lazy);
    }
    g_test_message("%u operations, %u cuts, %u left leaked clusters", log_ops->len, cuts, leaks_seen);
    leaks_seen = 0;
    if (k->commands) {
        g_test_message("snapshots made %u, deleted %u, applied %u; amended %u, resized %u, emptied %u",
                       l.done[0], l.done[1], l.done[2], l.done[3], l.done[4], l.done[5]);
    }
    if (k->bitmaps) {
        g_test_message("bitmaps: %u sound, %u not", sound_seen, void_seen);
        g_assert_cmpuint(sound_seen, >, 0);
        g_assert_cmpuint(void_seen, >, 0);
    }
    block_client_free(c);
    for (unsigned i = 0; i < log_ops->len; i++) {
        g_free(g_array_index(log_ops, Op, i).data);
        g_free(g_array_index(log_ops, Op, i).touched);
        g_free(g_array_index(log_ops, Op, i).other);
    }
    g_array_free(log_ops, TRUE);
    g_free(l.data);
    g_free(l.touched);
    g_free(base[0].data);
    g_free(base[1].data);
}

int main(int argc, char **argv)
{
    static const Case cases[] = {
        { "v3", "cluster_size=4k", false, false, 30 },
        { "v2", "compat=0.10,cluster_size=4k", false, false, 20 },
        { "cluster-512", "cluster_size=512,refcount_bits=64", false, false, 20 },
        { "extended", "extended_l2=on,cluster_size=16k", false, false, 30 },
        { "snapshots", "cluster_size=4k", true, false, 30 },
        { "lazy", "cluster_size=4k,lazy_refcounts=on", false, true, 20 },
        { "refcount-1", "cluster_size=1k,refcount_bits=1", false, false, 20 },
        { "refcount-4", "cluster_size=2k,refcount_bits=4", true, false, 20 },
        { "small-cache", "cluster_size=512,refcount_bits=64", true, false, 20,
          "l2-cache-size=4k,refcount-cache-size=2k," },
        { "zlib", "cluster_size=4k", true, false, 20, NULL, 4096 },
        { "zstd", "cluster_size=16k,compression_type=zstd,extended_l2=on", false, false, 20, NULL, 16384 },
        { "backing", "cluster_size=16k,backing_file=@BASE@,backing_fmt=raw", false, false, 20 },
        { "data-file", "cluster_size=4k,data_file=@DATA@", false, false, 30 },
        { "data-file-raw", "cluster_size=4k,data_file=@DATA@,data_file_raw=on", false, false, 20 },
        { "cluster-64k", "cluster_size=64k", true, false, 20 },
        { "commands", "cluster_size=4k", false, false, 60, .commands = true },
        { "commands-512", "cluster_size=512,refcount_bits=64", false, false, 60,
          "l2-cache-size=4k,refcount-cache-size=4k,", .commands = true },
        { "commands-extended", "extended_l2=on,cluster_size=16k", false, false, 40, .commands = true },
        { "commands-backing", "cluster_size=4k,backing_file=@BASE@,backing_fmt=raw", false, false, 40,
          .commands = true },
        { "commands-lazy", "cluster_size=4k,lazy_refcounts=on", false, true, 40, .commands = true },
        { "log", "cluster_size=4k", true, false, 40, .logged = true },
        { "log-commands", "cluster_size=512", false, false, 60, .commands = true, .logged = true },
        { "log-compressed", "cluster_size=4k", false, false, 30, NULL, 4096, .logged = true },
        { "bitmaps", "cluster_size=4k", false, false, 120, .bitmaps = true },
        { "bitmaps-snapshots", "cluster_size=512", true, false, 60, .bitmaps = true },
    };
    bt_init(&argc, &argv);
    for (unsigned i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_autofree char *path = g_strdup_printf("/block/powercut/%s", cases[i].name);
        g_test_add(path, BlockTest, &cases[i], bt_setup, test_cuts, bt_teardown);
    }
    return g_test_run();
}
