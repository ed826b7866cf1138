/* SPDX-License-Identifier: MIT
 * tools/nbd/list.c - rhea-nbd -L: the exports of a server, in qemu-nbd's words.
 *
 * Threads: the main thread.
 */
#include "nbd.h"

#include <stdio.h>

typedef struct ListCall {
    BlockGraph *graph;
    const SockSpec *where;
    GPtrArray *out;
    Error *err;
} ListCall;

static void list_body(void *opaque)
{
    ListCall *c = opaque;
    c->out = nbd_list(c->graph, c->where, &c->err);
}

static void print_flags(unsigned flags)
{
    static const char *const names[] = {
        [1] = "readonly", [2] = "flush",  [3] = "fua",    [4] = "rotational",  [5] = "trim", [6] = "zeroes",
        [7] = "df",       [8] = "multi", [9] = "resize", [10] = "cache",     [11] = "fast-zero",
    };
    printf("  flags: 0x%x (", flags);
    for (unsigned i = 0; i < G_N_ELEMENTS(names); i++) {
        if (names[i] && flags >> i & 1) {
            printf(" %s", names[i]);
        }
    }
    printf(" )\n");
}

static void print_export(const NbdListed *l)
{
    printf(" export: '%s'\n", l->name);
    if (l->info.description && *l->info.description) {
        printf("  description: %s\n", l->info.description);
    }
    if (!l->has_info) {
        return;
    }
    printf("  size:  %" PRIu64 "\n", l->info.size);
    print_flags(l->info.flags);
    if (l->info.has_blocks) {
        printf("  min block: %u\n  opt block: %u\n  max block: %u\n", l->info.min_block,
               l->info.preferred_block, l->info.max_block);
    }
    if (l->contexts && l->contexts->len) {
        printf("  available meta contexts: %u\n", l->contexts->len);
        for (guint i = 0; i < l->contexts->len; i++) {
            printf("   %s\n", (const char *)l->contexts->pdata[i]);
        }
    }
}

int nbd_print_list(BlockGraph *g, Loop *loop, const SockSpec *where)
{
    ListCall c = { .graph = g, .where = where };
    co_run_sync(loop, list_body, &c);
    if (!c.out) {
        return tool_fail(c.err);
    }
    printf("exports available: %u\n", c.out->len);
    for (guint i = 0; i < c.out->len; i++) {
        print_export(c.out->pdata[i]);
    }
    g_ptr_array_free(c.out, TRUE);
    return 0;
}
