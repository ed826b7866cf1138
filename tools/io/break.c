/* SPDX-License-Identifier: MIT
 * tools/io/break.c - breakpoints of a blkdebug node.
 *
 * Models: qemu-io's commands. Threads: the main thread.
 */
#include "io.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

/* qemu-io's scripts wait for these lines. */
void io_break_say(void *opaque, const char *tag, bool stopped)
{
    printf("blkdebug: %s request '%s'\n", stopped ? "Suspended" : "Resuming", tag);
}

static int said(int r, const char *what, const char *tag)
{
    if (r < 0) {
        printf("Could not %s%s: %s\n", what, tag, strerror(-r));
    }
    return r < 0;
}

int io_cmd_break(Io *io, int argc, char **argv)
{
    int r = block_debug_break(block_client_node(io->client), argv[1], argv[2]);
    if (r == -ENOENT) {
        printf("Could not set breakpoint: there is no event '%s'\n", argv[1]);
        return 1;
    }
    return said(r, "set breakpoint", "");
}

int io_cmd_remove_break(Io *io, int argc, char **argv)
{
    return said(block_debug_remove_break(block_client_node(io->client), argv[1]), "remove breakpoint ",
                argv[1]);
}

int io_cmd_resume(Io *io, int argc, char **argv)
{
    return said(block_debug_resume(block_client_node(io->client), argv[1]), "resume request", "");
}

int io_cmd_wait_break(Io *io, int argc, char **argv)
{
    BlockNode *n = block_client_node(io->client);
    if (!block_debug_there(n)) {
        printf("Could not wait for a request: there is no blkdebug node\n");
        return 1;
    }
    while (!block_debug_is_suspended(n, argv[1])) {
        loop_turn(io->loop, true);
    }
    return 0;
}
