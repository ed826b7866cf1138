/* SPDX-License-Identifier: MIT
 * tests/unit/block/blocktest.h - a graph of its own, requests that wait, and the flat-file model.
 */
#ifndef BLOCKTEST_H
#define BLOCKTEST_H

#include "rhea/block/driver.h"
#include "rhea/block/throttle.h"

typedef struct BlockTest {
    Loop *loop;
    BlockGraph *graph;
    char *dir; /* removed at the end, with what is in it */
} BlockTest;

/* Instead of g_test_init(). Random numbers follow from a seed, which is said on stderr when a test fails, and
 * from the test's path: RHEA_TEST_SEED=N PROGRAM -p PATH repeats it, as far as threads of the host do not
 * decide (see bt_shuffle()). */
void bt_init(int *argc, char ***argv);
/* The fixture's, for g_test_add(). */
void bt_setup(BlockTest *t, gconstpointer data);
void bt_teardown(BlockTest *t, gconstpointer data);
char *bt_path(BlockTest *t, const char *name);               /* g_free */
char *bt_file(BlockTest *t, const char *name, int64_t size); /* a new sparse file; its path, g_free */
/* Opens key=value text ("%s" allowed); must succeed, or fail with `text` in the message. */
BlockNode *bt_open(BlockTest *t, const char *fmt, ...) G_GNUC_PRINTF(2, 3);
void bt_open_fails(BlockTest *t, const char *text, const char *fmt, ...) G_GNUC_PRINTF(3, 4);
BlockClient *bt_client(BlockNode *n); /* all permissions; drops the node's reference */
/* A new image by option text; "size=1M,cluster_size=4k". */
void bt_create(BlockTest *t, const char *driver, const char *path, const char *options);

int bt_read(BlockClient *c, int64_t off, void *buf, size_t len);
int bt_write(BlockClient *c, int64_t off, const void *buf, size_t len, unsigned flags);
int bt_zero(BlockClient *c, int64_t off, int64_t len, unsigned flags);
int bt_discard(BlockClient *c, int64_t off, int64_t len);
int bt_flush(BlockClient *c);
int bt_extent(BlockClient *c, int64_t off, int64_t len, BlockExtent *e);
bool bt_truncate(BlockClient *c, int64_t size, Error **errp);
void bt_check_bytes(BlockClient *c, int64_t off, size_t len, uint8_t byte);
/* Runs fn as a coroutine and waits for it. */
void bt_run(BlockTest *t, void (*fn)(void *opaque), void *opaque);

/* The image's check as `rhea-img check` runs it; what it says becomes test messages. fix: BLOCK_FIX_*.
 * < 0: -errno. */
int bt_check(BlockTest *t, BlockNode *n, unsigned fix, BlockCheck *res);

/* Requests to the files below `n` take any number of turns of the loop before they are begun and after they
 * are done, by the random numbers, so that they end in any order. Before a node is opened,
 * bt_without_threads() makes sure that nothing else decides. */
void bt_shuffle(BlockNode *n);
void bt_without_threads(BlockTest *t);

/* Random reads, writes, zeroes, discards and flushes, up to 8 at a time on ranges that do not overlap,
 * against a flat copy. `before` is what the disk held (its size long), or NULL for zeros. A discarded range
 * may hold anything afterwards when !discard_zeroes. The final content is compared; the caller may go on
 * comparing `model`. */
typedef struct BlockModel {
    uint8_t *data, *unknown; /* unknown[i]: byte i was discarded */
    int64_t size;
    unsigned ops; /* how many */
    unsigned max_len;
    bool discard_zeroes;
    unsigned granularity; /* of offsets and lengths */
    int64_t compress;     /* some writes are compressed clusters of this size; 0: none */
} BlockModel;
void bt_model_init(BlockModel *m, int64_t size, unsigned ops);
void bt_model_run(BlockTest *t, BlockClient *c, BlockModel *m);
void bt_model_compare(BlockClient *c, BlockModel *m);
void bt_model_fini(BlockModel *m);
/* A throttle group whose limit is met, but seldom for long. Free with block_throttle_free(). */
BlockThrottle *bt_throttle(BlockTest *t, const char *name);
/* How many operations a model test does: RHEA_BLOCK_OPS, or `def`. */
unsigned bt_ops(unsigned def);
/* Power cuts of each flavour: RHEA_POWER_CUTS, or `def`. */
unsigned bt_cuts(unsigned def);

#endif
