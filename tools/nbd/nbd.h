/* SPDX-License-Identifier: MIT
 * tools/nbd/nbd.h - rhea-nbd: what the command line said.
 */
#ifndef TOOLS_NBD_H
#define TOOLS_NBD_H

#include "rhea/block/nbd.h"
#include "rhea/tools/image.h"

typedef struct NbdArgs {
    ToolImage image;
    ToolCache cache;
    const char *detect_zeroes, *snapshot_view;
    bool read_only, snapshot;
    bool has_offset;
    uint64_t offset;
    const char *export_name, *description, *bitmap;
    bool allocation_depth;
    const char *socket_path, *port, *bind;
    uint64_t shared;
    bool persistent, verbose, fork, list;
    const char *pid_file;
} NbdArgs;

/* -1: go on; else the exit status. */
int nbd_parse_args(NbdArgs *a, int argc, char **argv);
int nbd_print_list(BlockGraph *g, Loop *loop, const SockSpec *where);

#endif
