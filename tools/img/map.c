/* SPDX-License-Identifier: MIT
 * tools/img/map.c - rhea-img map: where an image's data lies.
 *
 * Threads: the main thread.
 */
#include "img.h"

#include <stdio.h>
#include <string.h>

typedef struct Map {
    Img *m;
    BlockClient *c;
    int64_t from, to;
    BlockExtent run; /* printed when something else follows; bytes == 0: nothing */
    int64_t start;
    GHashTable *judged; /* BlockNode -> was it preallocated? */
    Error *err;
    const char *filename;
} Map;

static void map_print(Map *k)
{
    const BlockExtent *e = &k->run;
    if (!e->bytes) {
        return;
    }
    if (k->m->json) {
        printf("%s{ \"start\": %" PRId64 ", \"length\": %" PRId64
               ", \"depth\": %u, \"present\": %s, \"zero\": %s, "
               "\"data\": %s",
               k->start == k->from ? "[" : ",\n", k->start, e->bytes, e->depth,
               e->allocated ? "true" : "false", e->zero ? "true" : "false", e->data ? "true" : "false");
        if (e->host) {
            printf(", \"offset\": %" PRId64, e->host_off);
        }
        printf("}");
    } else if (e->data && !e->zero) {
        if (!e->host) {
            error_set(&k->err,
                      "'%s' holds compressed clusters, which --output=human cannot show; use --output=json",
                      k->filename);
            return;
        }
        printf("%#-16" PRIx64 "%#-16" PRIx64 "%#-16" PRIx64 "%s\n", k->start, e->bytes, e->host_off,
               block_filename(e->host));
    }
}

/* Holes below a format say something only when the image was preallocated: it uses more clusters than the
 * host has allocated for its file. Else they are clusters whose data has not reached the disk yet. */
static bool is_preallocated(BlockNode *top, const BlockNode *file)
{
    const BlockFormatOps *f = top->driver->format;
    int64_t bytes = block_allocated_bytes(file), have = bytes / f->cluster_size(top);
    return bytes >= 0 && f->used_clusters(top) >= MAX(have * 10 / 9, have + 2);
}

/* A hole of the file below reads as zeros. */
static int look_below(Map *k, BlockNode *top, BlockExtent *e)
{
    if (!e->data || e->zero || !e->host || !e->host->driver->extent || e->host->driver->format) {
        return 0;
    }
    for (unsigned i = 0; i < e->depth; i++) {
        top = block_backing(top); /* the layer that the data belongs to */
    }
    const BlockFormatOps *f = top->driver->format;
    if (f && f->used_clusters) {
        gpointer yes;
        if (!g_hash_table_lookup_extended(k->judged, top, NULL, &yes)) {
            yes = GINT_TO_POINTER(is_preallocated(top, e->host));
            g_hash_table_insert(k->judged, top, yes);
        }
        if (!yes) {
            return 0;
        }
    }
    BlockExtent low;
    int64_t left = block_size(e->host) - e->host_off;
    if (left <= 0) {
        e->zero = true;
        return 0;
    }
    int r = node_extent(e->host, e->host_off, MIN(e->bytes, left), &low);
    if (r == 0) {
        e->bytes = low.bytes;
        e->zero = low.zero;
    }
    return r;
}

static int map_look(Map *k, int64_t at, BlockExtent *e)
{
    BlockNode *n = block_client_node(k->c);
    int64_t end = block_size(n);
    if (at >= end) { /* the rest of the last sector */
        *e = (BlockExtent){ .bytes = k->to - at, .zero = true, .allocated = true, .host = n, .host_off = at };
        return 0;
    }
    int r = block_extent_above(k->c, NULL, at, MIN(k->to, end) - at, e);
    return r < 0 ? r : look_below(k, n, e);
}

static void map_body(void *opaque)
{
    Map *k = opaque;
    for (int64_t at = k->from; at < k->to && !k->err;) {
        BlockExtent e;
        int r = map_look(k, at, &e);
        if (r < 0) {
            error_set_errno(&k->err, -r, "cannot tell what lies at offset %" PRId64, at);
            return;
        }
        BlockExtent *p = &k->run;
        bool joins = p->bytes && p->data == e.data && p->zero == e.zero && p->depth == e.depth &&
                     p->allocated == e.allocated && p->host == e.host && p->compressed == e.compressed &&
                     (!e.host || e.host_off == p->host_off + p->bytes);
        if (joins) {
            p->bytes += e.bytes;
        } else {
            map_print(k);
            *p = e;
            k->start = at;
        }
        at += e.bytes;
    }
    if (!k->err) {
        map_print(k);
    }
}

int img_cmd_map(Img *m, int argc, char **argv)
{
    static const ToolOption more[] = { { "start-offset", 's', true },
                                       { "max-length", 'l', true },
                                       TOOL_OPTIONS_END };
    const char *format = NULL;
    int64_t start = 0, length = -1;
    Error *err = NULL;
    for (int c; (c = img_getopt(m, argc, argv, "JUf:s:l:", more)) != -1;) {
        switch (c) {
        case 'f': format = optarg; break;
        case 's':
        case 'l':
            if (!img_size(optarg, c == 's' ? &start : &length, &err)) {
                return tool_fail(err);
            }
            break;
        default: return 1;
        }
    }
    if (optind != argc - 1) {
        return tool_complain("map needs one file's name");
    }
    BlockClient *c = img_open_client(m, argv[optind], format, IMG_READ, NULL, &err);
    if (!c) {
        return tool_fail(err);
    }
    int64_t size = tool_whole_sectors(block_size(block_client_node(c)));
    Map k = { .m = m, .c = c, .from = start, .to = MAX(size, start), .filename = argv[optind] };
    if (length >= 0 && length < k.to - k.from) {
        k.to = k.from + length;
    }
    if (!m->json) {
        printf("%-16s%-16s%-16s%s\n", "Offset", "Length", "Mapped to", "File");
    }
    k.judged = g_hash_table_new(NULL, NULL);
    img_co(m, map_body, &k);
    g_hash_table_destroy(k.judged);
    if (m->json && k.from == k.to) { /* as qemu-img */
        printf("[{ \"start\": %" PRId64 ", \"length\": 0, \"depth\": 0, \"present\": false, \"zero\": false, "
               "\"data\": false}]\n",
               k.from);
    } else if (m->json) {
        printf("]\n");
    }
    block_client_free(c);
    return k.err ? tool_fail(k.err) : 0;
}
