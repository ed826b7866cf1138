/* SPDX-License-Identifier: MIT
 * tests/fuzz/nbd-server.c - any bytes as what a client says to the NBD server: two exports of null-co, one of
 * them for reading.
 *
 * What must hold: the connection ends when the client has, with no request left, and the exports with it.
 * Covers: block/nbd-server.c, nbd-negotiate.c, nbd-serve.c, nbd-stream.c.
 */
#include "rhea/block/nbd.h"

#include <stdlib.h>

#include "feed.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static Loop *loop;
static BlockGraph *graph;

static void add(NbdServer *s, const char *name, const char *options, bool writable)
{
    g_autoptr(Json) o = json_parse(options, -1, &error_abort_slot);
    BlockNode *n = block_open(graph, o, false, &error_abort_slot);
    NbdExportConfig e = { .name = name,
                          .description = "fuzz",
                          .node = n,
                          .writable = writable,
                          .allocation_depth = true,
                          .shared = BLOCK_PERM_ALL };
    nbd_export_add(s, &e, &error_abort_slot);
    block_unref(n);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (!loop) {
        role_become_main();
        loop = loop_new("fuzz");
        graph = block_graph_new(loop);
    }
    Feed f;
    NbdServerConfig config = { .max_connections = 2 };
    NbdServer *s = nbd_server_new(graph, &config);
    add(s, "x", "{'driver': 'null-co', 'size': 1048576}", true);
    add(s, "", "{'driver': 'null-co', 'size': 1000000, 'read-zeroes': false, 'read-only': true}", false);
    nbd_server_serve(s, feed_start(&f, loop, data, size), &error_abort_slot);
    while (nbd_server_connections(s)) {
        loop_turn(loop, true);
    }
    feed_end(&f);
    nbd_server_free(s);
    return 0;
}
