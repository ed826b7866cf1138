/* SPDX-License-Identifier: MIT
 * tools/io/command.c - rhea-io's command language: the table, lines and their words, help.
 *
 * Models: qemu-io's commands; words are separated by blanks and nothing quotes. Threads: the main thread.
 */
#include "io.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { CLOSED = 1, /* can run while nothing is open */ WRITES = 2 };

#define READ_HELP                                                                                            \
    " -C  results as comma-separated numbers\n -P  all bytes must be this one\n -q  no results\n"            \
    " -v  show the bytes\n"
#define WRITE_HELP                                                                                           \
    " -C  results as comma-separated numbers\n -f  on stable storage when it returns\n"                      \
    " -P  the byte that is written, 0xcd otherwise\n -q  no results\n"
#define ZERO_HELP " -u  with -z: the space may be given back\n -z  zeros, without a buffer of them\n"
#define ASYNC_HELP                                                                                           \
    " The command ends when the request is on its way; results and errors come when it is done,\n"           \
    " aio_flush at the latest.\n -i  no request, just the message that qemu-io prints\n"

const IoCommand io_commands[] = {
    { "abort", NULL, io_cmd_abort, 0, 0, CLOSED, NULL, "ends the program by abort(3), as a crash does",
      NULL },
    { "aio_flush", NULL, io_cmd_aio_flush, 0, 0, 0, NULL, "waits for all aio_read and aio_write", NULL },
    { "aio_read", NULL, io_cmd_aio_read, 2, -1, 0, "[-Ciqv] [-P pattern] off len [len..]",
      "reads in the background", ASYNC_HELP READ_HELP },
    { "aio_write", NULL, io_cmd_aio_write, 2, -1, WRITES, "[-Cfiquz] [-P pattern] off len [len..]",
      "writes in the background", ASYNC_HELP WRITE_HELP ZERO_HELP },
    { "alloc", NULL, io_cmd_alloc, 1, 2, 0, "offset [count]", "counts the bytes that the topmost layer holds",
      NULL },
    { "break", NULL, io_cmd_break, 2, 2, 0, "event tag",
      "the next request that raises the event stops there, below blkdebug", NULL },
    { "close", "c", io_cmd_close, 0, 0, 0, NULL, "closes the image", NULL },
    { "discard", "d", io_cmd_discard, 2, -1, WRITES, "[-Cq] off len", "gives back the space of a range",
      " -C  results as comma-separated numbers\n -q  no results\n" },
    { "flush", "f", io_cmd_flush, 0, 0, 0, NULL, "brings all that was written to stable storage", NULL },
    { "help", "?", io_cmd_help, 0, 1, CLOSED, "[command]", "help for one or all commands", NULL },
    { "info", "i", io_cmd_info, 0, 0, 0, NULL, "tells what the open image is", NULL },
    { "length", "l", io_cmd_length, 0, 0, 0, NULL, "tells the image's length", NULL },
    { "map", NULL, io_cmd_map, 0, 0, 0, NULL, "tells which ranges the topmost layer holds", NULL },
    { "open", "o", io_cmd_open, 1, -1, true, "[-rsCnkU] [-t cache] [-d discard] [-i aio] [-o options] [path]",
      "opens an image",
      " -r  only for reading\n -s  writes go to a temporary file\n -C  what is read from a backing file is "
      "written to the image\n"
      " -n  as -t none\n -k  as -i native\n -U  while others write to it, with -r\n"
      " -t  none, writeback, writethrough, directsync or unsafe\n -d  ignore or unmap\n"
      " -i  threads, native or io_uring\n -o  as -blockdev takes them: driver=qcow2,lazy-refcounts=on\n" },
    { "quit", "q", io_cmd_quit, 0, -1, CLOSED, NULL, "ends the program", NULL },
    { "read", "r", io_cmd_read, 2, -1, 0, "[-Cqv] [-P pattern [-s off] [-l len]] off len", "reads a range",
      READ_HELP " -l  with -P: only so many bytes count\n -s  with -P: only from this byte on\n" },
    { "readv", "rv", io_cmd_readv, 2, -1, 0, "[-Cqv] [-P pattern] off len [len..]",
      "reads a range into several buffers", READ_HELP },
    { "remove_break", NULL, io_cmd_remove_break, 1, 1, 0, "tag",
      "takes a breakpoint away; what it has stopped goes on", NULL },
    { "reopen", NULL, io_cmd_reopen, 0, -1, 0, "[(-r|-w)] [-c cache] [-o options]",
      "opens the image anew, with other options",
      " -r  only for reading\n -w  for writing\n -c  with another cache mode\n -o  with these options\n" },
    { "resume", NULL, io_cmd_resume, 1, 1, 0, "tag", "lets a stopped request go on", NULL },
    { "sigraise", NULL, io_cmd_sigraise, 1, 1, CLOSED, "signal", "sends itself a signal", NULL },
    { "sleep", NULL, io_cmd_sleep, 1, 1, CLOSED, "ms", "waits for so many milliseconds", NULL },
    { "truncate", "t", io_cmd_truncate, 1, 3, WRITES, "[-m prealloc_mode] off",
      "gives the image another length", " -m  off, metadata, falloc or full\n" },
    { "wait_break", NULL, io_cmd_wait_break, 1, 1, 0, "tag", "waits until a request has stopped", NULL },
    { "write", "w", io_cmd_write, 2, -1, WRITES, "[-cCfnquz] [-P pattern | -s source_file] off len",
      "writes a range",
      WRITE_HELP " -c  whole clusters, compressed\n -n  with -z: fail rather than write buffers of zeros\n"
                 " -s  the bytes are this file's, over and over\n" ZERO_HELP },
    { "writev", "wv", io_cmd_writev, 2, -1, WRITES, "[-Cfq] [-P pattern] off len [len..]",
      "writes a range from several buffers", WRITE_HELP },
    { NULL },
};

static const IoCommand *find(const char *name)
{
    for (const IoCommand *c = io_commands; c->name; c++) {
        if (strcmp(c->name, name) == 0 || (c->alias && strcmp(c->alias, name) == 0)) {
            return c;
        }
    }
    return NULL;
}

static void one_line(const IoCommand *c)
{
    printf("%s %s%s-- %s\n", c->name, c->args ? c->args : "", c->args ? " " : "", c->what);
}

int io_usage(const char *name)
{
    one_line(find(name));
    return 1;
}

int io_getopt(int argc, char **argv, const char *letters)
{
    int c = getopt(argc, argv, letters);
    if (c == '?') {
        io_usage(argv[0]);
    }
    return c;
}

int io_cmd_help(Io *io, int argc, char **argv)
{
    const IoCommand *c = argc == 2 ? find(argv[1]) : NULL;
    if (argc == 2 && !c) {
        printf("command %s not found\n", argv[1]);
        return 0;
    }
    for (const IoCommand *all = io_commands; argc == 1 && all->name; all++) {
        one_line(all);
    }
    if (c) {
        one_line(c);
        printf("%s", c->help ? c->help : "");
    } else {
        printf("\nUse 'help commandname' for extended help.\n");
    }
    return 0;
}

int io_cmd_quit(Io *io, int argc, char **argv)
{
    io->quit = true;
    return 0;
}

int io_cmd_abort(Io *io, int argc, char **argv)
{
    abort();
}

int io_cmd_sigraise(Io *io, int argc, char **argv)
{
    int64_t signal;
    if (!io_size(argv[1], &signal)) {
        return 1;
    }
    fflush(stdout); /* the signal may end the program */
    raise((int)MIN(signal, INT32_MAX));
    return 0;
}

static void waited(void *opaque)
{
    *(bool *)opaque = true;
}

int io_cmd_sleep(Io *io, int argc, char **argv)
{
    int64_t ms;
    bool done = false;
    if (!io_number(argv[1], &ms)) {
        return 1;
    }
    Timer t;
    timer_init(&t, io->loop, &clock_host_monotonic, waited, &done);
    timer_arm(&t, clock_now(&clock_host_monotonic) + MIN(ms, INT64_MAX / 2000000) * 1000000);
    while (!done) {
        loop_turn(io->loop, true);
    }
    return 0;
}

static bool count_fits(const IoCommand *c, int n)
{
    if (n >= c->min && (c->max < 0 || n <= c->max)) {
        return true;
    }
    fprintf(stderr, "bad argument count %d to %s, expected ", n, c->name);
    if (c->max < 0) {
        fprintf(stderr, "at least %d arguments\n", c->min);
    } else if (c->min == c->max) {
        fprintf(stderr, "%d arguments\n", c->min);
    } else {
        fprintf(stderr, "between %d and %d arguments\n", c->min, c->max);
    }
    return false;
}

static int run_words(Io *io, int argc, char **argv)
{
    const IoCommand *c = find(argv[0]);
    if (!c) {
        fprintf(stderr, "command \"%s\" not found\n", argv[0]);
        return 1;
    }
    if (!(c->flags & CLOSED) && !io->client) {
        fprintf(stderr, "no file open, try 'help open'\n");
        return 1;
    }
    if (!count_fits(c, argc - 1)) {
        return 1;
    }
    if ((c->flags & WRITES) && block_is_read_only(block_client_node(io->client))) {
        return tool_complain("block node is read-only");
    }
    optind = 0; /* getopt begins anew */
    return c->run(io, argc, argv);
}

int io_command(Io *io, const char *line)
{
    g_auto(GStrv) all = g_strsplit(line, " ", -1);
    g_autoptr(GPtrArray) words = g_ptr_array_new();
    for (char **w = all; *w; w++) {
        if (**w) {
            g_ptr_array_add(words, *w);
        }
    }
    if (!words->len) {
        return 0;
    }
    g_ptr_array_add(words, NULL);
    return run_words(io, (int)words->len - 1, (char **)words->pdata);
}
