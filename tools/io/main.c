/* SPDX-License-Identifier: MIT
 * tools/io/main.c - rhea-io: reads and writes an image by commands. Options, commands and exit codes are
 * those of qemu-io.
 *
 * Threads: the main thread runs the loop; the block layer brings its workers.
 */
#include "io.h"
#include "config.h"
#include "rhea/util/log.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void help(FILE *f)
{
    fputs("Usage: rhea-io [OPTIONS]... [-c STRING]... [file]\n"
          "Reads and writes disk images by commands\n\n"
          "  --image-opts         file is option text: driver=qcow2,file.filename=...\n"
          "  -c, --cmd STRING     run a command; without -c they are read from the standard input\n"
          "  -f, --format FMT     the image's format\n"
          "  -r, --read-only      only for reading\n"
          "  -s, --snapshot       writes go to a temporary file\n"
          "  -n, --nocache        as -t none\n"
          "  -C, --copy-on-read   what is read from a backing file is written to the image\n"
          "  -m, --misalign       buffers that are not aligned for O_DIRECT\n"
          "  -k, --native-aio     as -i native\n"
          "  -i, --aio=MODE       threads, native or io_uring\n"
          "  -t, --cache=MODE     none, writeback, writethrough, directsync or unsafe\n"
          "  -d, --discard=MODE   ignore (off) or unmap (on)\n"
          "  -U, --force-share    while others write to it, with -r\n"
          "  -h, --help           this text\n"
          "  -V, --version        the version\n\n"
          "'rhea-io -c help' lists the commands.\n",
          f);
}

/* ---- the prompt ---- */

typedef struct Input {
    Io *io;
    GString *text; /* read, not yet run */
    bool end;
    FdWatch watch;
} Input;

static void input_read(void *opaque, unsigned revents)
{
    Input *in = opaque;
    char buf[4096];
    ssize_t n = read(STDIN_FILENO, buf, sizeof(buf));
    if (n > 0) {
        g_string_append_len(in->text, buf, n);
    } else if (n == 0 || (errno != EINTR && errno != EAGAIN)) {
        in->end = true;
    }
}

/* A line without its end; NULL at the end. Requests in the background go on meanwhile. */
static char *input_line(Input *in)
{
    for (;;) {
        char *end = memchr(in->text->str, '\n', in->text->len);
        size_t len = end ? (size_t)(end - in->text->str) : in->text->len;
        if (end || (in->end && len)) {
            char *line = g_strndup(in->text->str, len);
            g_string_erase(in->text, 0, (gssize)MIN(len + 1, in->text->len));
            return line;
        }
        if (in->end) {
            return NULL;
        }
        loop_turn(in->io->loop, true);
    }
}

static int prompt(Io *io)
{
    Input in = { .io = io, .text = g_string_new(NULL) };
    in.watch = (FdWatch){ .fd = STDIN_FILENO, .events = POLLIN, .ready = input_read, .opaque = &in };
    Error *err = NULL;
    if (!fd_watch_add(io->loop, &in.watch, &err)) {
        g_string_free(in.text, TRUE);
        return tool_fail(err);
    }
    int status = 0;
    while (!io->quit) {
        printf("rhea-io> ");
        fflush(stdout);
        g_autofree char *line = input_line(&in);
        if (!line) {
            break;
        }
        status |= io_command(io, line);
    }
    fd_watch_remove(&in.watch);
    g_string_free(in.text, TRUE);
    return status;
}

/* ---- arguments ---- */

typedef struct Args {
    IoOpen how;
    GPtrArray *commands;
    bool misalign;
} Args;

enum { OPT_IMAGE_OPTS = TOOL_LONG, OPT_OBJECT };

static const ToolOption options[] = {
    { "help", 'h' },
    { "version", 'V' },
    { "cmd", 'c', true },
    { "format", 'f', true },
    { "read-only", 'r' },
    { "snapshot", 's' },
    { "nocache", 'n' },
    { "copy-on-read", 'C' },
    { "misalign", 'm' },
    { "native-aio", 'k' },
    { "aio", 'i', true },
    { "cache", 't', true },
    { "discard", 'd', true },
    { "force-share", 'U' },
    { "image-opts", OPT_IMAGE_OPTS },
    { "trace", 'T', true },
    { "object", OPT_OBJECT, true, TOOL_NO_OBJECT },
    TOOL_OPTIONS_END,
};

/* -1: go on; else the exit status. */
static int parse_option(Args *a, int c, const char **cache)
{
    switch (c) {
    case 'c': g_ptr_array_add(a->commands, optarg); break;
    case 'f': a->how.format = optarg; break;
    case 'r': a->how.read_only = true; break;
    case 's': a->how.snapshot = true; break;
    case 'n': *cache = "none"; break;
    case 'C': a->how.copy_on_read = true; break;
    case 'm': a->misalign = true; break;
    case 'k': a->how.aio = "native"; break;
    case 'i': a->how.aio = optarg; break;
    case 't': *cache = optarg; break;
    case 'd': a->how.discard = optarg; break;
    case 'U': a->how.share = true; break;
    case OPT_IMAGE_OPTS: a->how.image_opts = true; break;
    case 'T': return tool_trace(optarg);
    case 'h': help(stdout); return 0;
    case 'V': printf("rhea-io version " RHEA_VERSION "\n"); return 0;
    default: return 1; /* it was told */
    }
    return -1;
}

static int parse_args(Args *a, int argc, char **argv)
{
    const char *cache = NULL;
    Error *err = NULL;
    for (int c; (c = tool_getopt(argc, argv, options)) != -1;) {
        int status = parse_option(a, c, &cache);
        if (status >= 0) {
            return status;
        }
    }
    if (argc - optind > 1) {
        help(stderr);
        return 1;
    }
    if (a->how.format && a->how.image_opts) {
        return tool_complain("--image-opts and -f are mutually exclusive");
    }
    return cache && !tool_parse_cache(cache, &a->how.cache, &err) ? tool_fail(err) : -1;
}

static int run(Io *io, const Args *a, const char *name)
{
    Error *err = NULL;
    int status = 0;
    if (name && !io_open(io, name, &a->how, &err)) {
        return tool_fail(err);
    }
    for (unsigned i = 0; i < a->commands->len && !io->quit; i++) {
        status |= io_command(io, a->commands->pdata[i]);
    }
    if (!a->commands->len) {
        status = prompt(io);
    }
    if (io->client) {
        io_close(io);
    }
    return status;
}

int main(int argc, char **argv)
{
    log_set_program("rhea-io");
    Args a = { .commands = g_ptr_array_new() };
    int status = parse_args(&a, argc, argv);
    if (status < 0) {
        role_become_main();
        Io io = { .loop = loop_new("io"), .misalign = a.misalign };
        io.graph = block_graph_new(io.loop);
        block_debug_set_say(io.graph, io_break_say, NULL);
        status = run(&io, &a, argv[optind]);
        block_graph_free(io.graph);
        loop_free(io.loop);
    }
    g_ptr_array_free(a.commands, TRUE);
    return fflush(stdout) ? 1 : status;
}
