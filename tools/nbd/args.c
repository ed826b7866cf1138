/* SPDX-License-Identifier: MIT
 * tools/nbd/args.c - rhea-nbd: the command line. Options are those of qemu-nbd; what cannot be done is
 * refused by name.
 *
 * Threads: the main thread.
 */
#include "nbd.h"
#include "config.h"
#include "rhea/util/text.h"

#include <getopt.h>
#include <stdio.h>
#include <string.h>

enum {
    OPT_CACHE = TOOL_LONG,
    OPT_AIO,
    OPT_DISCARD,
    OPT_DETECT_ZEROES,
    OPT_IMAGE_OPTS,
    OPT_FORK,
    OPT_PID_FILE,
    OPT_OBJECT,
    OPT_TLS_CREDS,
    OPT_TLS_AUTHZ,
    OPT_TLS_HOSTNAME,
    OPT_SELINUX,
};

#define NO_DEVICE "kernel devices are not attached here"
#define NO_TLS    "there is no TLS", "use a unix socket, or a tunnel such as ssh -L"
static const ToolOption options[] = {
    { "help", 'h' },
    { "version", 'V' },
    { "port", 'p', true },
    { "bind", 'b', true },
    { "socket", 'k', true },
    { "shared", 'e', true },
    { "persistent", 't' },
    { "verbose", 'v' },
    { "export-name", 'x', true },
    { "description", 'D', true },
    { "offset", 'o', true },
    { "allocation-depth", 'A' },
    { "bitmap", 'B', true },
    { "list", 'L' },
    { "fork", OPT_FORK },
    { "pid-file", OPT_PID_FILE, true },
    { "format", 'f', true },
    { "read-only", 'r' },
    { "snapshot", 's' },
    { "load-snapshot", 'l', true },
    { "nocache", 'n' },
    { "cache", OPT_CACHE, true },
    { "aio", OPT_AIO, true },
    { "discard", OPT_DISCARD, true },
    { "detect-zeroes", OPT_DETECT_ZEROES, true },
    { "image-opts", OPT_IMAGE_OPTS },
    { "trace", 'T', true },
    { "connect", 'c', true, NO_DEVICE,
      "serve a socket with -k PATH and run 'nbd-client -unix PATH /dev/nbd0'" },
    { "disconnect", 'd', false, NO_DEVICE, "run 'nbd-client -d /dev/nbd0'" },
    { "partition", 'P', true, "partitions are not looked for",
      "use -o OFFSET, or --image-opts driver=raw,offset=OFFSET,size=SIZE,file.filename=FILE" },
    { "object", OPT_OBJECT, true, TOOL_NO_OBJECT },
    { "tls-creds", OPT_TLS_CREDS, true, NO_TLS },
    { "tls-authz", OPT_TLS_AUTHZ, true, NO_TLS },
    { "tls-hostname", OPT_TLS_HOSTNAME, true, NO_TLS },
    { "selinux-label", OPT_SELINUX, true, "sockets get the label that the policy gives them",
      "run the program under 'runcon'" },
    TOOL_OPTIONS_END,
};

static void help(void)
{
    printf("Usage: rhea-nbd [OPTIONS] FILE\n"
           "  or:  rhea-nbd -L [OPTIONS]\n"
           "Serves a disk image as a network block device\n\n"
           "  -h, --help                this text\n"
           "  -V, --version             the version\n\n"
           "Connections:\n"
           "  -p, --port=PORT           the TCP port (10809)\n"
           "  -b, --bind=ADDRESS        the address of the host's at which it listens (0.0.0.0)\n"
           "  -k, --socket=PATH         a unix socket instead\n"
           "  -e, --shared=NUM          so many clients at once, 0: any number (1)\n"
           "  -t, --persistent          stay when the last client has gone\n"
           "  -v, --verbose             tell of clients that come and go\n"
           "  -x, --export-name=NAME    the export's name (the default export, \"\")\n"
           "  -D, --description=TEXT    what it is, for lists\n"
           "A socket that systemd hands over (LISTEN_FDS) takes the place of -p, -b and -k.\n\n"
           "What is exported:\n"
           "  -o, --offset=OFFSET       FILE from there on\n"
           "  -A, --allocation-depth    also the meta context qemu:allocation-depth\n"
           "  -B, --bitmap=NAME         also the dirty bitmap, as meta context qemu:dirty-bitmap:NAME\n\n"
           "General:\n"
           "  -L, --list                show the exports of the server at -k, or at -b and -p\n"
           "  --fork                    go to the background as soon as clients can connect\n"
           "  --pid-file=PATH           write the process's number there\n"
           "  -T, --trace=OPTION        switch trace events on: [[enable=]PATTERN][,events=FILE]\n"
           "                            [,file=LOG]\n\n"
           "The image:\n"
           "  -f, --format=FORMAT       its format; it is found out when not given\n"
           "  -r, --read-only           never write\n"
           "  -s, --snapshot            writes go to a temporary file\n"
           "  -l, --load-snapshot=NAME  an internal snapshot, for reading: ID or name, snapshot.id=ID or\n"
           "                            snapshot.name=NAME\n"
           "  -n, --nocache             as --cache=none\n"
           "      --cache=MODE          none, writeback (default), writethrough, directsync or unsafe\n"
           "      --aio=MODE            threads, native or io_uring\n"
           "      --discard=MODE        ignore or unmap (default)\n"
           "      --detect-zeroes=MODE  off, on or unmap\n"
           "      --image-opts          FILE is option text: driver=qcow2,file.filename=...\n\n"
           "Refused, each with its reason: -c (--connect), -d (--disconnect), -P (--partition),\n"
           "--object, --tls-creds, --tls-authz, --tls-hostname, --selinux-label.\n");
}

static int parse_number(const char *option, const char *text, uint64_t max, uint64_t *out)
{
    Error *err = NULL;
    if (!text_to_size(text, 'b', out, &err) || *out > max) {
        if (!err) {
            error_set(&err, "%s is too large, the most is %" PRIu64, text, max);
        }
        error_prefix(&err, "%s", option);
        return tool_fail(err);
    }
    return -1;
}

static int parse_choice(const char *option, const char *text, const char *const *names, const char **out)
{
    for (unsigned i = 0; names[i]; i++) {
        if (strcmp(names[i], text) == 0) {
            *out = names[i];
            return -1;
        }
    }
    Error *err = NULL;
    g_autofree char *all = g_strjoinv(", ", (char **)names);
    error_set(&err, "%s: '%s' is not one of %s", option, text, all);
    error_hint_nearest(&err, text, names);
    return tool_fail(err);
}

static int parse_value(NbdArgs *a, int c, const char **cache)
{
    static const char *const aio[] = { "threads", "native", "io_uring", NULL };
    static const char *const discard[] = { "ignore", "unmap", "off", "on", NULL };
    static const char *const zeroes[] = { "off", "on", "unmap", NULL };
    switch (c) {
    case 'p': {
        uint64_t port;
        a->port = optarg;
        return parse_number("--port", optarg, 65535, &port);
    }
    case 'e': return parse_number("--shared", optarg, INT32_MAX, &a->shared);
    case 'o': a->has_offset = true; return parse_number("--offset", optarg, INT64_MAX, &a->offset);
    case OPT_AIO: return parse_choice("--aio", optarg, aio, &a->image.aio);
    case OPT_DISCARD: {
        int r = parse_choice("--discard", optarg, discard, &a->image.discard);
        if (r < 0) {
            a->image.discard = strcmp(a->image.discard, "on") == 0    ? "unmap"
                               : strcmp(a->image.discard, "off") == 0 ? "ignore"
                                                                      : a->image.discard;
        }
        return r;
    }
    case OPT_DETECT_ZEROES: return parse_choice("--detect-zeroes", optarg, zeroes, &a->detect_zeroes);
    case 'n':
    case OPT_CACHE:
        if (*cache) {
            return tool_complain("-n and --cache can be given once");
        }
        *cache = c == 'n' ? "none" : optarg;
        return -1;
    default: return 1; /* it was told */
    }
}

static int parse_option(NbdArgs *a, int c, const char **cache)
{
    switch (c) {
    case 'b': a->bind = optarg; break;
    case 'k': a->socket_path = optarg; break;
    case 't': a->persistent = true; break;
    case 'v': a->verbose = true; break;
    case 'x': a->export_name = optarg; break;
    case 'D': a->description = optarg; break;
    case 'A': a->allocation_depth = true; break;
    case 'B': a->bitmap = optarg; break;
    case 'L': a->list = true; break;
    case OPT_FORK: a->fork = true; break;
    case OPT_PID_FILE: a->pid_file = optarg; break;
    case 'f': a->image.format = optarg; break;
    case 'r': a->read_only = true; break;
    case 's': a->snapshot = true; break;
    case 'l': a->snapshot_view = optarg; break;
    case OPT_IMAGE_OPTS: a->image.image_opts = true; break;
    case 'T': return tool_trace(optarg);
    case 'h': help(); return 0;
    case 'V': printf("rhea-nbd version " RHEA_VERSION "\n"); return 0;
    default: return parse_value(a, c, cache);
    }
    return -1;
}

static int check_args(NbdArgs *a, int argc, char **argv, const char *cache)
{
    Error *err = NULL;
    if (a->socket_path && (a->port || a->bind)) {
        return tool_complain("-k goes with neither -p nor -b: a unix socket has no port");
    }
    if (a->list) {
        return optind < argc ? tool_complain("-L goes with no image ('%s')", argv[optind]) : -1;
    }
    if (argc - optind != 1) {
        return argc == optind ? tool_complain("no image is given; try 'rhea-nbd --help'")
                              : tool_complain("there is more than one image: '%s' and '%s'", argv[optind],
                                              argv[optind + 1]);
    }
    if (cache && !tool_parse_cache(cache, &a->cache, &err)) {
        return tool_fail(err);
    }
    if (a->snapshot && (a->read_only || a->snapshot_view)) {
        return tool_complain("-s goes with neither -r nor -l: nothing would be written");
    }
    a->read_only = a->read_only || a->snapshot_view;
    a->image.name = argv[optind];
    a->image.writable = !a->read_only && !a->snapshot;
    a->image.cache = &a->cache;
    return -1;
}

int nbd_parse_args(NbdArgs *a, int argc, char **argv)
{
    const char *cache = NULL;
    for (int c; (c = tool_getopt(argc, argv, options)) != -1;) {
        int status = parse_option(a, c, &cache);
        if (status >= 0) {
            return status;
        }
    }
    return check_args(a, argc, argv, cache);
}
