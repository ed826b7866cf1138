/* SPDX-License-Identifier: MIT
 * tools/io/info.c - what is known of the open image: length, info, alloc, map; truncate.
 *
 * Models: qemu-io's commands. Threads: the main thread.
 */
#include "io.h"

#include <stdio.h>
#include <string.h>

int io_cmd_length(Io *io, int argc, char **argv)
{
    g_autofree char *size = io_size_text((double)block_size(block_client_node(io->client)));
    printf("%s\n", size);
    return 0;
}

/* ---- extents of the topmost layer ---- */

typedef struct Extent {
    BlockClient *c;
    int64_t off, bytes;
    BlockExtent e;
    int r;
} Extent;

static void extent_body(void *opaque)
{
    Extent *x = opaque;
    x->r = block_extent(x->c, x->off, x->bytes, &x->e);
}

/* How far what lies at `off` is, or is not, allocated; 0 after a message. */
static int64_t extent_run(Io *io, int64_t off, int64_t end, bool *allocated)
{
    int64_t at = off;
    while (at < end) {
        Extent x = { .c = io->client, .off = at, .bytes = end - at };
        co_run_sync(io->loop, extent_body, &x);
        if (x.r < 0) {
            printf("is_allocated failed: %s\n", strerror(-x.r));
            return 0;
        }
        if (at > off && x.e.allocated != *allocated) {
            break;
        }
        *allocated = x.e.allocated;
        at += x.e.bytes;
    }
    return at - off;
}

int io_cmd_alloc(Io *io, int argc, char **argv)
{
    int64_t off, count = 512, sum = 0;
    if (!io_size(argv[1], &off) || (argc == 3 && !io_size(argv[2], &count))) {
        return 1;
    }
    int64_t size = block_size(block_client_node(io->client));
    count = MIN(count, MAX(size - off, 0));
    for (int64_t at = off, n; at < off + count; at += n) {
        bool allocated;
        n = extent_run(io, at, off + count, &allocated);
        if (!n) {
            return 1;
        }
        sum += allocated ? n : 0;
    }
    g_autofree char *where = io_size_text((double)off);
    printf("%" PRId64 "/%" PRId64 " bytes allocated at offset %s\n", sum, count, where);
    return 0;
}

int io_cmd_map(Io *io, int argc, char **argv)
{
    int64_t size = block_size(block_client_node(io->client));
    for (int64_t at = 0, n; at < size; at += n) {
        bool allocated;
        n = extent_run(io, at, size, &allocated);
        if (!n) {
            return 1;
        }
        g_autofree char *len = io_size_text((double)n), *where = io_size_text((double)at);
        printf("%s (0x%" PRIx64 ") bytes %s allocated at offset %s (0x%" PRIx64 ")\n", len, n,
               allocated ? "   " : "not", where, at);
    }
    return 0;
}

/* ---- info ---- */

/* Where a qcow2 image keeps what a snapshot has beside the disk: behind all that L1 entries of the disk
 * cover. */
static int64_t vm_state_offset(BlockNode *n, int64_t cluster)
{
    const BlockFormatOps *f = n->driver->format;
    g_autoptr(Json) data = f->info ? f->info(n) : NULL;
    bool wide = false;
    if (!f->snapshots || !data) {
        return 0;
    }
    json_get_bool(json_member(data, "extended-l2", NULL), &wide);
    int64_t covered = cluster / (wide ? 16 : 8) * cluster;
    return (block_size(n) + covered - 1) / covered * covered;
}

int io_cmd_info(Io *io, int argc, char **argv)
{
    BlockNode *n = block_client_node(io->client);
    const BlockFormatOps *f = n->driver->format;
    int64_t cluster = f && f->cluster_size ? f->cluster_size(n) : 0;
    g_autofree char *unit = io_size_text((double)cluster),
                    *state = io_size_text((double)(cluster ? vm_state_offset(n, cluster) : 0));
    printf("format name: %s\ncluster size: %s\nvm state offset: %s\n", block_driver_name(n), unit, state);
    tool_print_specific(n);
    return 0;
}

/* ---- truncate ---- */

typedef struct Truncate {
    BlockClient *c;
    int64_t size;
    int prealloc;
    Error *err;
    bool ok;
} Truncate;

static void truncate_body(void *opaque)
{
    Truncate *t = opaque;
    t->ok = block_truncate(t->c, t->size, t->prealloc, &t->err);
}

int io_cmd_truncate(Io *io, int argc, char **argv)
{
    Truncate t = { .c = io->client, .prealloc = BLOCK_PREALLOC_OFF };
    for (int c; (c = io_getopt(argc, argv, "m:")) != -1;) {
        if (c != 'm') {
            return 1;
        }
        t.prealloc = type_enum_value(block_prealloc_names, optarg);
        if (t.prealloc < 0) {
            return tool_complain("Invalid preallocation mode '%s'", optarg);
        }
    }
    if (optind != argc - 1) {
        return io_usage(argv[0]);
    }
    if (!io_size(argv[optind], &t.size)) {
        return 1;
    }
    co_run_sync(io->loop, truncate_body, &t);
    return t.ok ? 0 : tool_fail(t.err);
}
