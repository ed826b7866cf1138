/* SPDX-License-Identifier: MIT
 * tools/img/main.c - rhea-img: makes, shows, converts and checks disk images. Commands, options and exit
 * codes are those of qemu-img.
 *
 * Threads: the main thread runs the loop; the block layer brings its workers.
 */
#include "img.h"
#include "config.h"
#include "rhea/util/log.h"

#include <stdio.h>
#include <string.h>

const ImgCommand img_commands[] = {
    { "amend", img_cmd_amend, "[-p] [-q] [-f FMT] [-t CACHE] -o OPTIONS [--image-opts] FILE",
      "Changes options that an image was made with: -o help lists them." },
    { "bench", img_cmd_bench,
      "[-c COUNT] [-d DEPTH] [-f FMT] [--flush-interval=N [--no-drain]] [-i AIO] [-n] [-o OFFSET] "
      "[--pattern=N] [-q] [-s SIZE] [-S STEP] [-t CACHE] [-w] [-U] [--image-opts] FILE",
      "Measures COUNT requests, DEPTH at a time; -w writes, which destroys what the image holds." },
    { "bitmap", img_cmd_bitmap,
      "(--merge SOURCE | --add | --remove | --clear | --enable | --disable)... [-b FILE [-F FMT]] "
      "[-g SIZE] [-f FMT] [--image-opts] FILE BITMAP",
      "Changes a persistent dirty bitmap, in the order given. -g: how many bytes a bit of a new one stands "
      "for; -b: the file of --merge's source." },
    { "check", img_cmd_check,
      "[-q] [-f FMT] [--output=human|json] [-r leaks|all] [-T CACHE] [-U] [--image-opts] FILE",
      "Looks for leaked clusters and errors; -r repairs. Exit status: 0 sound, 1 the check failed, 2 errors, "
      "3 leaks, 63 "
      "the format has nothing to check." },
    { "commit", img_cmd_commit, "[-q] [-p] [-d] [-f FMT] [-t CACHE] [-b BASE] [-r RATE] [--image-opts] FILE",
      "Writes what the image holds to its backing file and empties the image. -b: to that layer of its chain "
      "instead; -d and -b leave the image as it is. -r: bytes a second at most." },
    { "compare", img_cmd_compare,
      "[-f FMT] [-F FMT] [-T CACHE] [-p] [-q] [-s] [-U] [--image-opts] FILE1 FILE2",
      "Compares what guests see. -s: sizes and allocation, too. Exit status: 0 identical, 1 different, 2 and "
      "above: "
      "an error." },
    { "convert", img_cmd_convert,
      "[-c] [-C] [-p] [-q] [-n] [-U] [-W] [-f FMT] [-t CACHE] [-T CACHE] [-O FMT] [-B BACKING [-F FMT]] [-o "
      "OPTIONS] "
      "[-l SNAPSHOT] [-S SIZE] [-m N] [-r RATE] [--salvage] [--target-is-zero] [--bitmaps "
      "[--skip-broken-bitmaps]] "
      "[--image-opts] [--target-image-opts] "
      "FILE... OUTPUT",
      "Copies one image, or several one behind the other, to a new one. -c compresses, -n writes into an "
      "image that "
      "exists, -l takes an internal snapshot, -m sets the number of parallel requests (8), -W lets them "
      "write in any "
      "order, -S how many zeros make a gap (4k, 0: none), -r bytes a second at most, --salvage goes on "
      "behind "
      "read errors, -C lets the kernel copy from file to file. With -B only what the topmost layer of the "
      "source "
      "holds is copied." },
    { "create", img_cmd_create, "[-q] [-f FMT] [-b BACKING [-F FMT]] [-u] [-o OPTIONS] FILE [SIZE]",
      "Makes an image. -o help lists the format's options; -u does not look at the backing file." },
    { "dd", img_cmd_dd,
      "[-U] [-f FMT] [-O FMT] [--image-opts] [bs=SIZE] [count=N] [skip=N] if=INPUT of=OUTPUT",
      "Copies a part of an image to a new one." },
    { "info", img_cmd_info, "[-f FMT] [--output=human|json] [--backing-chain] [-U] [--image-opts] FILE",
      "Shows what an image is." },
    { "map", img_cmd_map,
      "[-f FMT] [--start-offset=OFF] [--max-length=LEN] [--output=human|json] [-U] [--image-opts] FILE",
      "Shows where the data lies." },
    { "measure", img_cmd_measure,
      "[--output=human|json] [-O FMT] [-o OPTIONS] [--size SIZE | [-f FMT] [-l SNAPSHOT] [-U] [--image-opts] "
      "FILE]",
      "Shows how much space a new image would take." },
    { "rebase", img_cmd_rebase,
      "[-q] [-p] [-u] [-f FMT] [-t CACHE] [-T CACHE] [-U] -b BACKING [-F FMT] [--image-opts] FILE",
      "Gives the image another backing file (\"\": none) and copies what that lacks, so that guests see the "
      "same as before. -u copies nothing: the new one must hold the same data." },
    { "resize", img_cmd_resize,
      "[-f FMT] [--preallocation=MODE] [-q] [--shrink] [--image-opts] FILE [+|-]SIZE",
      "Changes the size the guest sees; a smaller one needs --shrink." },
    { "snapshot", img_cmd_snapshot,
      "[-q] [-U] [-f FMT] [--image-opts] [-l | -a NAME | -c NAME | -d NAME] FILE",
      "Lists, applies, creates and deletes internal snapshots." },
    { NULL },
};

static void help(void)
{
    printf("rhea-img version " RHEA_VERSION
           "\nusage: rhea-img COMMAND [OPTIONS]\nDisk image utility\n\nCommands:\n");
    for (const ImgCommand *c = img_commands; c->name; c++) {
        printf("  %s %s\n      %s\n", c->name, c->usage, c->help);
    }
    printf("\nFMT is one of:");
    for (unsigned i = 0; block_driver_name_names[i]; i++) {
        printf(" %s", block_driver_name_names[i]);
    }
    printf(
        "; it is found out when not given.\n"
        "CACHE is none, writeback, writethrough, directsync or unsafe.\n"
        "SIZE is in bytes, or with a suffix k, M, G, T, P, E (powers of 1024).\n"
        "FILE may be json:{...}; with --image-opts it is key=value text as -blockdev takes it.\n"
        "-p shows progress, -q says nothing but errors, -U (--force-share) opens an image that is in use.\n"
        "-T (--trace) in front of the command switches trace events on ('help' lists them):\n"
        "[[enable=]PATTERN][,events=FILE][,file=LOG].\n"
        "Refused, each with its reason: --object, amend --force.\n");
}

/* -T stands in front of the command; takes it off. -1: go on; else the exit status. */
static int take_trace(int *argc, char ***argv)
{
    const char *arg = *argc > 1 ? (*argv)[1] : "", *value = NULL;
    bool apart = g_str_equal(arg, "-T") || g_str_equal(arg, "--trace");
    if (!apart && g_str_has_prefix(arg, "--trace=")) {
        value = arg + strlen("--trace=");
    } else if (!apart && g_str_has_prefix(arg, "-T")) {
        value = arg + strlen("-T");
    } else if (!apart) {
        return -1;
    } else if (*argc < 3) {
        return tool_complain("option '%s' needs an argument", arg);
    }
    int status = tool_trace(value ? value : (*argv)[2]);
    *argc -= 1 + apart;
    *argv += 1 + apart;
    return status < 0 ? take_trace(argc, argv) : status;
}

int main(int argc, char **argv)
{
    log_set_program("rhea-img");
    int traced = take_trace(&argc, &argv);
    if (traced >= 0) {
        return fflush(stdout) ? 1 : traced;
    }
    if (argc < 2) {
        fprintf(stderr, "rhea-img: no command given\nTry 'rhea-img --help' for more information\n");
        return 1;
    }
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0) {
        help();
        return 0;
    }
    if (strcmp(argv[1], "--version") == 0 || strcmp(argv[1], "-V") == 0) {
        printf("rhea-img version " RHEA_VERSION "\n");
        return 0;
    }
    const ImgCommand *c = img_commands;
    const char *names[32];
    unsigned n = 0;
    for (; c->name && strcmp(c->name, argv[1]) != 0; c++) {
        names[n++] = c->name;
    }
    if (!c->name) {
        Error *err = NULL;
        names[n] = NULL;
        error_set(&err, "there is no command '%s'", argv[1]);
        error_hint_nearest(&err, argv[1], names);
        error_hint(&err, "try 'rhea-img --help'");
        return tool_fail(err);
    }
    role_become_main();
    img_progress_init();
    Img m = { .command = c->name };
    m.loop = loop_new("img");
    m.graph = block_graph_new(m.loop);
    optind = 1;
    int status = c->run(&m, argc - 1, argv + 1);
    fflush(stdout);
    block_graph_free(m.graph);
    loop_free(m.loop);
    return status;
}
