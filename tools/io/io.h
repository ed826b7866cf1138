/* SPDX-License-Identifier: MIT
 * tools/io/io.h - what rhea-io's parts share: the program, its commands, texts.
 */
#ifndef TOOLS_IO_H
#define TOOLS_IO_H

#include "rhea/tools/image.h"

#include <getopt.h>

/* Lengths of one request end here, as in qemu-io: what fits an int, in sectors. */
#define IO_MAX_BYTES INT64_C(2147483136)

/* How an image is opened: the program's options, or those of `open`. */
typedef struct IoOpen {
    const char *format;  /* -f */
    const char *options; /* -o of `open`; NULL: none */
    bool image_opts;     /* the name is options */
    bool read_only, snapshot, share, copy_on_read;
    ToolCache cache;
    const char *aio, *discard;
} IoOpen;

typedef struct Io {
    Loop *loop;
    BlockGraph *graph;
    BlockClient *client; /* NULL: nothing is open */
    bool misalign;       /* -m */
    bool quit;
    unsigned in_flight; /* requests of aio_read and aio_write */
    /* What reopen starts from. */
    Json *options; /* the image's, values are text when from_text */
    bool from_text, read_only, write_through, snapshot;
} Io;

/* 0, or 1: it failed. */
typedef int IoRun(Io *io, int argc, char **argv);
typedef struct IoCommand {
    const char *name, *alias;
    IoRun *run;
    int min, max; /* arguments; max -1: any number */
    unsigned flags;
    const char *args, *what;
    const char *help; /* further lines; NULL: none */
} IoCommand;
extern const IoCommand io_commands[]; /* by name; ends with a NULL name */

/* Runs one line. */
int io_command(Io *io, const char *line);
/* "name args -- what"; returns 1. */
int io_usage(const char *name);
/* The next letter, -1 at the end; '?' after a message and the usage. */
int io_getopt(int argc, char **argv, const char *letters);

/* open.c */
bool io_open(Io *io, const char *name, const IoOpen *how, Error **errp);
void io_close(Io *io);

/* Numbers and texts: text.c. */
bool io_size(const char *text, int64_t *out); /* a size with suffix; says what is wrong */
bool io_number(const char *text, int64_t *out);
bool io_pattern(const char *text, uint8_t *out);
char *io_size_text(double bytes); /* "1.500 MiB"; g_free */
typedef struct IoStats {
    const char *did; /* "read", "wrote" */
    int64_t off, bytes, wanted, start_ns;
    bool machine; /* -C */
} IoStats;
int64_t io_now(void);
void io_report(const IoStats *s, int64_t end_ns);
void io_dump(const uint8_t *bytes, size_t len, int64_t off);
void io_failed(const char *what, int r); /* "WHAT failed: REASON" */

IoRun io_cmd_open, io_cmd_close, io_cmd_reopen;
IoRun io_cmd_read, io_cmd_readv, io_cmd_write, io_cmd_writev, io_cmd_discard, io_cmd_flush;
IoRun io_cmd_aio_read, io_cmd_aio_write, io_cmd_aio_flush;
IoRun io_cmd_alloc, io_cmd_map, io_cmd_length, io_cmd_truncate, io_cmd_info;
IoRun io_cmd_break, io_cmd_remove_break, io_cmd_resume, io_cmd_wait_break;
BlockDebugSay io_break_say;
IoRun io_cmd_sleep, io_cmd_sigraise, io_cmd_abort, io_cmd_quit, io_cmd_help;

#endif
