/* SPDX-License-Identifier: MIT
 * tools/img/img.h - what rhea-img's commands share.
 */
#ifndef TOOLS_IMG_H
#define TOOLS_IMG_H

#include "rhea/tools/image.h"
#include "rhea/util/text.h"

#include <getopt.h>

/* The program: one loop, one graph, the command's common options. */
typedef struct Img {
    Loop *loop;
    BlockGraph *graph;
    bool quiet, progress, image_opts, json, share;
    const char *command;
} Img;

typedef struct ImgCommand {
    const char *name;
    int (*run)(Img *m, int argc, char **argv);
    const char *usage, *help;
} ImgCommand;
extern const ImgCommand img_commands[]; /* ends with a NULL name */

/* Each command lists the single letters it takes, getopt's way, and its long options with numbers from
 * IMG_LONG on, or a letter's. Those that many understand are handled here: -h, -q, -p, --image-opts; -U and
 * --force-share when U is among the letters, --output and --format when J is. Returns as tool_getopt(). */
enum { IMG_LONG = TOOL_LONG, IMG_OPT_IMAGE_OPTS = 1000, IMG_OPT_OUTPUT, IMG_OPT_OBJECT };
int img_getopt(Img *m, int argc, char **argv, const char *letters, const ToolOption *more);

typedef enum { IMG_READ, IMG_WRITE } ImgMode;
/* Opens an image by name, or by option text with --image-opts. `cache` may be NULL (writeback). */
BlockNode *img_open(Img *m, const char *name, const char *format, ImgMode mode, const ToolCache *cache,
                    Error **errp);
char *img_beside(const char *image, const char *name); /* a path relative to the image's folder; g_free */
BlockClient *img_open_client(Img *m, const char *name, const char *format, ImgMode mode,
                             const ToolCache *cache, Error **errp);
/* A size with suffix; relative ones are the caller's business. */
bool img_size(const char *text, int64_t *out, Error **errp);
void img_print_json(const Json *j);
char *img_text_size(uint64_t bytes); /* "3.5 MiB", three digits; g_free */
void img_progress_init(void);        /* SIGUSR1 asks how far the command is */
void img_progress(Img *m, int64_t done, int64_t total);
void img_progress_end(Img *m);
void img_co(Img *m, void (*fn)(void *opaque), void *opaque);

/* Creates an image. `options` is "a=b,c=d" or NULL; size < 0: not given. backing may be NULL. */
bool img_create(Img *m, const char *format, const char *name, const char *options, int64_t size,
                const char *backing, const char *backing_format, bool say, Error **errp);
/* The backing file as seen from the new image's folder: its size, and that it can be opened. */
bool img_backing_size(Img *m, const char *image, const char *backing, const char *format, int64_t *size,
                      Error **errp);
/* The decoded creation options of a format, g_free after type_clear; NULL on failure. */
void *img_create_options(const BlockFormatOps *f, const char *format, const char *options, int64_t size,
                         const char *backing, const char *backing_format, Error **errp);
const BlockDriver *img_format(const char *name, Error **errp);
/* -o may be given several times, and ask for help among other things. */
void img_join_options(char **all, const char *more);
bool img_asks_help(const char *options);
int img_print_options(const char *format);

/* convert --bitmaps: can they be copied? Copies them into an image of the same size. */
bool img_bitmaps_check(BlockNode *n, bool skip_broken, Error **errp);
bool img_bitmaps_copy(BlockNode *from, BlockNode *to, Error **errp);

int img_cmd_amend(Img *m, int argc, char **argv);
int img_cmd_bench(Img *m, int argc, char **argv);
int img_cmd_bitmap(Img *m, int argc, char **argv);
int img_cmd_commit(Img *m, int argc, char **argv);
int img_cmd_rebase(Img *m, int argc, char **argv);
int img_cmd_create(Img *m, int argc, char **argv);
int img_cmd_resize(Img *m, int argc, char **argv);
int img_cmd_info(Img *m, int argc, char **argv);
int img_cmd_snapshot(Img *m, int argc, char **argv);
int img_cmd_check(Img *m, int argc, char **argv);
int img_cmd_map(Img *m, int argc, char **argv);
int img_cmd_convert(Img *m, int argc, char **argv);
int img_cmd_compare(Img *m, int argc, char **argv);
int img_cmd_measure(Img *m, int argc, char **argv);
int img_cmd_dd(Img *m, int argc, char **argv);

#endif
