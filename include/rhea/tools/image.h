/* SPDX-License-Identifier: MIT
 * rhea/tools/image.h - what the tools for disk images share: how an image is named, opened and described.
 *
 * Threads: the main thread.
 */
#ifndef RHEA_TOOLS_IMAGE_H
#define RHEA_TOOLS_IMAGE_H

#include "rhea/block/driver.h"

typedef struct ToolCache {
    bool direct, no_flush, write_through;
} ToolCache;
bool tool_parse_cache(const char *text, ToolCache *out, Error **errp);

/* An image as a command line names it. */
typedef struct ToolImage {
    const char *name, *format;
    bool image_opts; /* `name` is option text */
    bool writable;
    bool share;                /* let others write meanwhile; only without `writable` */
    const ToolCache *cache;    /* NULL: writeback; what the options say counts more */
    const char *aio, *discard; /* NULL: the defaults */
} ToolImage;
/* The options of its nodes, a new object; values are text when *from_text. */
Json *tool_image_options(const ToolImage *i, bool *from_text, Error **errp);
/* Adds to options that a user wrote what `i` says besides. */
void tool_complete_options(const ToolImage *i, Json *o, bool from_text);
BlockNode *tool_open(BlockGraph *g, const ToolImage *i, Error **errp);

/* From now on the node shows an internal snapshot: "ID or name", or "snapshot.id=ID,snapshot.name=NAME", of
 * which one may be missing. */
bool tool_view_snapshot(BlockNode *n, const char *snapshot, Error **errp);

/* "program: message" and hint; frees. Returns 1. */
int tool_fail(Error *err);
int tool_complain(const char *fmt, ...) G_GNUC_PRINTF(1, 2);

/* One option of a program or command: a long name, a letter, or both. */
typedef struct ToolOption {
    const char *name; /* NULL: it has a letter only */
    int c;            /* the letter, or a number from TOOL_LONG on */
    bool arg;         /* an argument follows */
    /* It is refused, for this reason; what does it instead. */
    const char *why, *cure;
} ToolOption;
enum { TOOL_LONG = 256, TOOL_BAD = '?' };
#define TOOL_OPTIONS_END                                                                                     \
    {                                                                                                        \
        NULL, 0, false, NULL, NULL                                                                           \
    }
#define TOOL_NO_OBJECT "no object here is of use to an image: there are neither keys nor TLS", "leave it out"
/* The next option of argv as getopt_long() gives it: its `c`, with optarg and optind; -1 behind the last.
 * TOOL_BAD after a message about one that is unknown (which one is near), lacks its argument, or is refused.
 * optind = 0 begins anew. */
int tool_getopt(int argc, char **argv, const ToolOption *all);

/* Bytes in units of 512, rounded up: images of any length are shown so, as QEMU's tools do. */
static inline int64_t tool_whole_sectors(int64_t bytes)
{
    return (bytes + 511) & ~(int64_t)511;
}
/* -T, --trace. -1: go on; else the exit status, after a message or the list of events. */
int tool_trace(const char *arg);
/* What a format says of an image, in lines, if it says anything. */
void tool_print_specific(BlockNode *n);

#endif
