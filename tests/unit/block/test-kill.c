/* SPDX-License-Identifier: MIT
 * tests/unit/block/test-kill.c - qcow2 and kill -9: a process writes and flushes, is killed somewhere, and
 * what it had flushed is there.
 *
 * The process is this program again, with --worker. It says through a pipe when a batch begins and when it is
 * flushed; what a batch does follows from its number, so its parent knows what must be in the image without
 * asking it. Each round goes on with the image that the last one left.
 * Covers: block/qcow2-ref.c, qcow2-map.c, qcow2-io.c, qcow2-compress.c, qcow2-snapshot.c, qcow2-amend.c,
 * qcow2-create.c, qcow2.c.
 */
#include "blocktest.h"
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { SLOT = 16384, SLOTS = 64, SIZE = SLOT * SLOTS, BATCH = 12 };

typedef struct Op {
    enum { WRITE, ZEROES, UNMAP, DISCARD, COMPRESS } kind;
    int64_t off, len;
    uint8_t byte;
} Op;

typedef struct Batch {
    Op op[BATCH]; /* in slots of their own, so that their order does not matter */
    enum { NOTHING, SNAPSHOT, OLDEST_GOES, AMEND, RESIZE } then; /* afterwards; the content stays */
} Batch;

static void batch_make(Batch *b, uint32_t seed, unsigned number, bool compress)
{
    GRand *r = g_rand_new_with_seed(seed + number * 7919);
    unsigned first = (unsigned)g_rand_int_range(r, 0, SLOTS),
             step = 2 * (unsigned)g_rand_int_range(r, 0, SLOTS / 2) + 1;
    for (unsigned i = 0; i < BATCH; i++) {
        Op *o = &b->op[i];
        int kind = g_rand_int_range(r, 0, 12);
        o->kind = kind < 8 ? WRITE : kind < 9 ? ZEROES : kind < 10 ? UNMAP : DISCARD;
        o->off = (int64_t)((first + i * step) % SLOTS) * SLOT;
        o->len = g_rand_int_range(r, 1, SLOT / 512 + 1) * 512;
        o->off += g_rand_int_range(r, 0, (int)(SLOT - o->len) / 512 + 1) * 512;
        o->byte = (uint8_t)g_rand_int_range(r, 1, 256);
        if (compress && g_rand_int_range(r, 0, 3) == 0) {
            *o = (Op){ COMPRESS, o->off - o->off % SLOT, SLOT, o->byte };
        }
    }
    int what = g_rand_int_range(r, 0, 12);
    b->then = what <= RESIZE ? what : NOTHING;
    g_rand_free(r);
}

/* ---- the process that is killed ---- */

typedef struct Worker {
    BlockClient *c;
    const Op *op;
    unsigned *running;
} Worker;

static void op_body(void *opaque)
{
    Worker *w = opaque;
    const Op *o = w->op;
    g_autofree uint8_t *buf = g_malloc((size_t)o->len);
    memset(buf, o->byte, (size_t)o->len);
    IoVec v;
    iov_init_buf(&v, buf, (size_t)o->len);
    int r = o->kind == DISCARD    ? block_discard(w->c, o->off, o->len)
            : o->kind == ZEROES   ? block_write_zeroes(w->c, o->off, o->len, 0)
            : o->kind == UNMAP    ? block_write_zeroes(w->c, o->off, o->len, BLK_MAY_UNMAP)
            : o->kind == COMPRESS ? block_pwritev(w->c, o->off, &v, BLK_COMPRESSED)
                                  : block_pwritev(w->c, o->off, &v, 0);
    g_assert_cmpint(r, ==, 0);
    --*w->running;
}

typedef struct End {
    BlockClient *c;
    int then;
    unsigned number;
} End;

/* Version 2 has no choice of widths. */
static void amend(BlockNode *n, unsigned number)
{
    const BlockFormatOps *f = n->driver->format;
    bool from_text;
    g_autoptr(Json) o = keyval_parse(number & 1 ? "refcount_bits=32" : "refcount_bits=16", NULL, &from_text,
                                     &error_abort_slot);
    g_autofree void *decoded = g_malloc0(f->amend_type->size);
    type_decode(f->amend_type, o, from_text, decoded, &error_abort_slot);
    f->amend(n, decoded, NULL);
    type_clear(f->amend_type, decoded);
}

static void end_body(void *opaque)
{
    End *e = opaque;
    BlockNode *n = block_client_node(e->c);
    const BlockFormatOps *f = n->driver->format;
    g_assert_cmpint(block_flush(e->c), ==, 0);
    GArray *list = f->snapshots(n);
    if (e->then == SNAPSHOT && list->len < 2 && !block_data_file(n)) {
        g_autofree char *name = g_strdup_printf("s%u", e->number);
        f->snapshot_create(n, name, &error_abort_slot);
    } else if (e->then == OLDEST_GOES && list->len) {
        g_autofree char *id = g_strdup(g_array_index(list, BlockSnapshot, 0).id);
        f->snapshot_delete(n, id, &error_abort_slot);
    } else if (e->then == AMEND) {
        amend(n, e->number);
    } else if (e->then == RESIZE) {
        block_truncate(e->c, SIZE + e->number % 64 * 65536, BLOCK_PREALLOC_OFF, NULL); /* v2: no snapshots */
    }
    g_array_unref(list);
}

static void say(char c)
{
    if (write(STDOUT_FILENO, &c, 1) != 1) {
        exit(1); /* the parent is gone */
    }
}

G_GNUC_NORETURN static void worker(const char *options, uint32_t seed, bool compress)
{
    role_become_main();
    Loop *loop = loop_new("worker");
    BlockGraph *g = block_graph_new(loop);
    bool from_text;
    g_autoptr(Json) o = keyval_parse(options, "driver", &from_text, &error_abort_slot);
    BlockNode *n = block_open(g, o, from_text, &error_abort_slot);
    BlockClient *c =
        block_client_new(n, "worker", BLOCK_PERM_READ | BLOCK_PERM_WRITE | BLOCK_PERM_RESIZE, BLOCK_PERM_READ,
                         &error_abort_slot);
    for (unsigned number = 0;; number++) {
        Batch b;
        Worker w[BATCH];
        unsigned running = BATCH;
        batch_make(&b, seed, number, compress);
        say('b');
        for (unsigned i = 0; i < BATCH; i++) {
            w[i] = (Worker){ c, &b.op[i], &running };
            co_start(loop, op_body, &w[i]);
        }
        while (running) {
            loop_turn(loop, true);
        }
        End e = { c, b.then, number };
        co_run_sync(loop, end_body, &e);
        say('f');
    }
}

/* ---- its parent ---- */

typedef struct Flavour {
    const char *name, *create, *open;
    bool compress, lazy;
} Flavour;

typedef struct Disk {
    uint8_t data[SIZE];
    bool unknown[SIZE]; /* discarded, or in a batch that was not flushed */
} Disk;

static void apply(Disk *d, const Batch *b, bool flushed)
{
    for (unsigned i = 0; i < BATCH; i++) {
        const Op *o = &b->op[i];
        memset(d->data + o->off, o->kind == WRITE || o->kind == COMPRESS ? o->byte : 0, (size_t)o->len);
        memset(d->unknown + o->off, !flushed || o->kind == DISCARD, (size_t)o->len);
    }
}

/* Lets it do so many batches, and kills it. Returns how many it has flushed; *begun: how many it began. */
static unsigned run_and_kill(const char *self, const char *options, uint32_t seed, bool compress,
                             unsigned batches, unsigned *begun)
{
    int fds[2];
    g_autofree char *seed_text = g_strdup_printf("%u", seed);
    g_assert_cmpint(pipe(fds), ==, 0);
    pid_t pid = fork();
    if (pid == 0) {
        dup2(fds[1], STDOUT_FILENO);
        close(fds[0]);
        close(fds[1]);
        execl(self, self, "--worker", options, seed_text, compress ? "1" : "0", NULL);
        _exit(127);
    }
    close(fds[1]);
    unsigned flushed = 0;
    *begun = 0;
    bool killed = false;
    for (char c; read(fds[0], &c, 1) == 1;) {
        *begun += c == 'b';
        flushed += c == 'f';
        if (!killed && *begun >= batches) {
            struct timespec pause = { 0, g_random_int_range(
                                             0, 3000000) }; /* somewhere in the batch, or behind it */
            nanosleep(&pause, NULL);
            kill(pid, SIGKILL);
            killed = true;
        }
    }
    close(fds[0]);
    int status;
    g_assert_cmpint(waitpid(pid, &status, 0), ==, pid);
    g_assert_true(killed && WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    return flushed;
}

static void verify(BlockTest *t, const Flavour *f, const char *options, Disk *d, unsigned *leaks)
{
    BlockCheck res;
    BlockClient *c = bt_client(bt_open(t, "%s", options));
    BlockNode *n = block_client_node(c);
    g_assert_cmpint(bt_check(t, n, f->lazy ? BLOCK_FIX_LEAKS | BLOCK_FIX_ERRORS : 0, &res), ==, 0);
    g_assert_cmpint(res.corruptions, ==, 0);
    g_assert_cmpint(res.check_errors, ==, 0);
    *leaks += res.leaks > 0;
    if (res.leaks) {
        g_assert_cmpint(bt_check(t, n, BLOCK_FIX_LEAKS, &res), ==, 0);
    }
    g_autofree uint8_t *now = g_malloc(SIZE);
    g_assert_cmpint(bt_read(c, 0, now, SIZE), ==, 0);
    for (unsigned i = 0; i < SIZE; i++) {
        if (now[i] != d->data[i] && !d->unknown[i]) {
            g_error("flushed byte %u is %02x, not %02x", i, now[i], d->data[i]);
        }
    }
    memcpy(d->data, now, SIZE); /* what there is now stays */
    memset(d->unknown, 0, SIZE);
    block_client_free(c);
}

static char *self_path;

static void test_kill(BlockTest *t, gconstpointer data)
{
    const Flavour *f = data;
    g_autofree char *path = bt_path(t, "img"), *data_file = bt_path(t, "data"), *base = bt_path(t, "base");
    g_autoptr(GString) create = g_string_new(f->create);
    Disk *d = g_new0(Disk, 1);
    if (g_string_replace(create, "@BASE@", base, 0)) {
        memset(d->data, 0x5a, SIZE);
        g_assert_true(g_file_set_contents(base, (char *)d->data, SIZE, NULL));
    }
    g_string_replace(create, "@DATA@", data_file, 0);
    g_string_append_printf(create, ",size=%d", SIZE);
    bt_create(t, "qcow2", path, create->str);
    g_autofree char *options = g_strdup_printf("qcow2,%sfile.driver=file,file.filename=%s", f->open, path);
    unsigned cuts = bt_cuts(6), leaks = 0, batches = 0, begun;
    for (unsigned i = 0; i < cuts; i++) {
        uint32_t seed = g_random_int();
        unsigned flushed =
            run_and_kill(self_path, options, seed, f->compress, (unsigned)g_random_int_range(1, 8), &begun);
        for (unsigned k = 0; k < begun; k++) {
            Batch b;
            batch_make(&b, seed, k, f->compress);
            apply(d, &b, k < flushed);
        }
        batches += flushed;
        verify(t, f, options, d, &leaks);
    }
    g_test_message("%u cuts behind %u flushed batches, %u left leaked clusters", cuts, batches, leaks);
    g_free(d);
}

int main(int argc, char **argv)
{
    static const Flavour flavours[] = {
        { "v3", "cluster_size=4k", "" },
        { "v2", "compat=0.10,cluster_size=4k", "" },
        { "cluster-512", "cluster_size=512,refcount_bits=64", "l2-cache-size=4k,refcount-cache-size=2k," },
        { "refcount-1", "cluster_size=1k,refcount_bits=2", "" },
        { "extended", "extended_l2=on,cluster_size=16k", "" },
        { "lazy", "cluster_size=4k,lazy_refcounts=on", "", false, true },
        { "compressed", "cluster_size=16k", "", true },
        { "zstd-backing", "cluster_size=16k,compression_type=zstd,backing_file=@BASE@,backing_fmt=raw", "",
          true },
        { "data-file", "cluster_size=4k,data_file=@DATA@", "" },
        { "direct", "cluster_size=64k", "cache.direct=on," },
    };
    if (argc == 5 && strcmp(argv[1], "--worker") == 0) {
        worker(argv[2], (uint32_t)strtoul(argv[3], NULL, 10), argv[4][0] == '1');
    }
    self_path = g_file_read_link("/proc/self/exe", NULL);
    bt_init(&argc, &argv);
    for (unsigned i = 0; i < G_N_ELEMENTS(flavours); i++) {
        g_autofree char *path = g_strdup_printf("/block/kill/%s", flavours[i].name);
        g_test_add(path, BlockTest, &flavours[i], bt_setup, test_kill, bt_teardown);
    }
    return g_test_run();
}
