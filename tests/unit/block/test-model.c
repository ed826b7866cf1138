/* SPDX-License-Identifier: MIT
 * tests/unit/block/test-model.c - random operations against a flat copy, for each driver and mode.
 * Covers: block/io.c, raw.c, file-io.c, engine-aio.c, engine-uring.c.
 */
#include "blocktest.h"
#include <stdlib.h>
#include <string.h>

enum { SIZE = 3 * 1024 * 1024 + 512 };

/* The options follow the file's name. */
static void run_model(BlockTest *t, const char *options, bool shuffle)
{
    g_autofree char *path = bt_file(t, "img", SIZE);
    BlockModel m;
    BlockThrottle *throttle = bt_throttle(t, "g");
    g_autoptr(GString) all = g_string_new("raw,");
    g_string_append(all, options);
    if (!g_string_replace(all, "@PATH@", path, 0)) {
        g_string_append_printf(all, ",file.driver=file,file.filename=%s", path);
    }
    BlockClient *c = bt_client(bt_open(t, "%s", all->str));
    if (shuffle) {
        bt_shuffle(block_client_node(c));
    }
    bt_model_init(&m, block_size(block_client_node(c)), 500);
    bt_model_run(t, c, &m);
    block_client_free(c);
    /* What another opening sees. Some filters have nothing to do when nothing is written. */
    bool writes = strstr(options, "blklogwrites") || strstr(options, "copy-on-read");
    c = bt_client(bt_open(t, "%s%s", all->str, writes ? "" : ",read-only=on"));
    bt_model_compare(c, &m);
    block_client_free(c);
    g_test_message("%u operations", m.ops);
    bt_model_fini(&m);
    block_throttle_free(throttle);
}

static void test_options(BlockTest *t, gconstpointer options)
{
    run_model(t, options, false);
}

/* Repeatable, with requests below that end in any order; and a run of many takes less time. */
static void test_shuffled(BlockTest *t, gconstpointer options)
{
    bt_without_threads(t);
    run_model(t, options, true);
}

int main(int argc, char **argv)
{
    static const struct {
        const char *name, *options;
    } cases[] = {
        { "threads", "file.aio=threads" },
        { "uring", "file.aio=io_uring" },
        { "direct", "cache.direct=on" },
        { "native", "cache.direct=on,file.aio=native" },
        { "uring-direct", "cache.direct=on,file.aio=io_uring" },
        { "offset", "offset=12345,size=2000000" },
        { "offset-direct", "offset=4096,size=2000000,cache.direct=on" },
        { "detect-zeroes", "detect-zeroes=unmap" },
        { "no-flush", "cache.no-flush=on" },
        { "throttle", "file.driver=throttle,file.throttle-group=g,file.file.driver=file,"
                      "file.file.filename=@PATH@" },
        { "log", "file.driver=blklogwrites,file.log.driver=null-co,file.log.size=1T,file.file.driver=file,"
                 "file.file.filename=@PATH@" },
        { "copy-on-read", "file.driver=copy-on-read,file.file.driver=file,file.file.filename=@PATH@" },
        { "blkdebug", "file.driver=blkdebug,file.align=1024,file.max-transfer=32768,"
                      "file.image.driver=file,file.image.filename=@PATH@" },
    };
    bt_init(&argc, &argv);
    for (unsigned i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_autofree char *path = g_strdup_printf("/block/model/%s", cases[i].name),
                        *other = g_strdup_printf("/block/shuffled/%s", cases[i].name);
        g_test_add(path, BlockTest, cases[i].options, bt_setup, test_options, bt_teardown);
        g_test_add(other, BlockTest, cases[i].options, bt_setup, test_shuffled, bt_teardown);
    }
    return g_test_run();
}
