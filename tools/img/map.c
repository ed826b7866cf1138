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

static int map_look(Map *k, int64_t at, BlockExtent *e)
{
    BlockNode *n = block_client_node(k->c);
    int64_t end = block_size(n);
    if (at >= end) { /* the rest of the last sector */
        *e = (BlockExtent){ .bytes = k->to - at, .zero = true, .allocated = true, .host = n, .host_off = at };
        return 0;
    }
    return block_extent_deep(k->c, at, MIN(k->to, end) - at, e);
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
    img_co(m, map_body, &k);
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
