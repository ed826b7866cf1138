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
    bool share;             /* let others write meanwhile; only without `writable` */
    const ToolCache *cache; /* NULL: writeback; what the options say counts more */
    const char *aio, *discard; /* NULL: the defaults */
} ToolImage;
/* The options of its nodes, a new object; values are text when *from_text. */
Json *tool_image_options(const ToolImage *i, bool *from_text, Error **errp);
/* Adds to options that a user wrote what `i` says besides. */
void tool_complete_options(const ToolImage *i, Json *o, bool from_text);
BlockNode *tool_open(BlockGraph *g, const ToolImage *i, Error **errp);

/* From now on the node shows an internal snapshot: "ID or name", "snapshot.id=ID" or "snapshot.name=NAME". */
bool tool_view_snapshot(BlockNode *n, const char *snapshot, Error **errp);

/* "program: message" and hint; frees. Returns 1. */
int tool_fail(Error *err);
int tool_complain(const char *fmt, ...) G_GNUC_PRINTF(1, 2);
/* After getopt_long() with opterr = 0 and ':' first among the letters: says what is wrong with the option
 * that it did not take (c is '?' or ':'), and which one is near. Returns 1. */
struct option;
int tool_bad_option(int c, char **argv, const struct option *all);
/* What a format says of an image, a line each, if it says anything. */
void tool_print_specific(BlockNode *n);

#endif
