/* SPDX-License-Identifier: MIT
 * tools/io/transfer.c - read, write, their vectored and asynchronous forms, discard and flush.
 *
 * Models: qemu-io's commands. Threads: the main thread; each request is a coroutine of its loop.
 */
#include "io.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { DEFAULT_PATTERN = 0xcd, UNREAD = 0xab, PAGE = 4096, MISALIGN = 16 };

typedef struct Request {
    Io *io;
    enum { READ, WRITE, ZEROES, DISCARD, FLUSH } op;
    const char *name; /* in "NAME failed" */
    bool async, quiet, machine, verbose, check, compressed, has_pattern, invalid;
    uint8_t pattern;
    const char *source; /* -s of write */
    int64_t off, bytes, check_off, check_len;
    unsigned flags;
    uint8_t *room, *buf; /* what was allocated, and what is used of it */
    IoVec v;
    int64_t start_ns;
    int r;
} Request;

/* ---- buffers ---- */

static bool request_buffer(Request *q)
{
    size_t extra = q->io->misalign ? MISALIGN : 0;
    void *room;
    if (posix_memalign(&room, PAGE, (size_t)q->bytes + extra + 1)) {
        printf("cannot allocate %" PRId64 " bytes\n", q->bytes);
        return false;
    }
    q->room = room;
    q->buf = q->room + extra;
    memset(q->buf, q->op == READ ? UNREAD : q->pattern, (size_t)q->bytes);
    return true;
}

static void request_fini(Request *q)
{
    iov_fini(&q->v);
    free(q->room);
}

/* The buffer's content repeats the file's. */
static bool fill_from_file(Request *q)
{
    FILE *f = fopen(q->source, "rb");
    if (!f) {
        fprintf(stderr, "%s: %s\n", q->source, strerror(errno));
        return false;
    }
    size_t got = fread(q->buf, 1, (size_t)q->bytes, f);
    bool bad = ferror(f) != 0;
    fclose(f);
    if (bad || (got == 0 && q->bytes)) {
        fprintf(stderr, "%s: file %s\n", q->source, bad ? "cannot be read" : "is empty");
        return false;
    }
    for (size_t at = got; at < (size_t)q->bytes; at++) {
        q->buf[at] = q->buf[at - got];
    }
    return true;
}

/* ---- running ---- */

static void request_body(void *opaque)
{
    Request *q = opaque;
    BlockClient *c = q->io->client;
    q->start_ns = io_now();
    switch (q->op) {
    case READ: q->r = block_preadv(c, q->off, &q->v, 0); break;
    case WRITE: q->r = block_pwritev(c, q->off, &q->v, q->flags); break;
    case ZEROES: q->r = block_write_zeroes(c, q->off, q->bytes, q->flags); break;
    case DISCARD: q->r = block_discard(c, q->off, q->bytes); break;
    case FLUSH: q->r = block_flush(c); break;
    }
}

static bool as_expected(const Request *q)
{
    for (int64_t i = q->check_off; i < q->check_off + q->check_len; i++) {
        if (q->buf[i] != q->pattern) {
            printf("Pattern verification failed at offset %" PRId64 ", %" PRId64 " bytes\n",
                   q->off + q->check_off, q->check_len);
            return false;
        }
    }
    return true;
}

static int request_end(Request *q)
{
    int64_t end_ns = io_now();
    if (q->r < 0) {
        io_failed(q->name, q->r);
        return 1;
    }
    int status = q->check && !as_expected(q);
    if (!q->quiet) {
        if (q->verbose) {
            io_dump(q->buf, (size_t)q->bytes, q->off);
        }
        IoStats s = { .did = q->op == READ      ? "read"
                             : q->op == DISCARD ? "discard"
                                                : "wrote",
                      .off = q->off,
                      .bytes = q->bytes,
                      .wanted = q->bytes,
                      .start_ns = q->start_ns,
                      .machine = q->machine };
        io_report(&s, end_ns);
    }
    return status;
}

static void async_body(void *opaque)
{
    Request *q = opaque;
    request_body(q);
    request_end(q); /* how it ended is no failure of the command */
    q->io->in_flight--;
    request_fini(q);
    g_free(q);
}

/* Takes what the request owns. */
static int request_run(Request *q)
{
    if (q->async) {
        Request *own = g_memdup2(q, sizeof(*q));
        if (own->v.bytes) { /* a vector of one element points into the vector itself */
            iov_init(&own->v);
            iov_add_slice(&own->v, &q->v, 0, q->v.bytes);
            iov_fini(&q->v);
        }
        own->io->in_flight++;
        co_enter(own->io->loop, async_body, own);
        return 0;
    }
    co_run_sync(q->io->loop, request_body, q);
    int status = request_end(q);
    request_fini(q);
    return status;
}

/* ---- arguments ---- */

static bool too_long(const char *text, const char *unless)
{
    printf("length cannot exceed %" PRId64 "%s, given %s\n", IO_MAX_BYTES, unless, text);
    return false;
}

/* OFFSET LENGTH [LENGTH...] */
static bool parse_place(Request *q, int argc, char **argv, int64_t max, const char *unless)
{
    int64_t len;
    if (!io_size(argv[0], &q->off)) {
        return false;
    }
    for (int i = 1; i < argc; i++) {
        if (!io_size(argv[i], &len)) {
            return false;
        }
        if (len > max - q->bytes) {
            return too_long(argv[i], unless);
        }
        q->bytes += len;
    }
    return true;
}

static bool sector_aligned(int64_t v, const char *what)
{
    if (v % 512) {
        printf("%" PRId64 " is not a sector-aligned value for '%s'\n", v, what);
    }
    return v % 512 == 0;
}

/* The elements of the vector are as long as the arguments say. */
static bool parse_vector(Request *q, int argc, char **argv)
{
    int64_t at = 0, len;
    iov_init(&q->v);
    for (int i = 1; i < argc && io_size(argv[i], &len); i++) {
        iov_add(&q->v, q->buf + at, (size_t)len);
        at += len;
    }
    return true;
}

static bool parse_letter(Request *q, int letter)
{
    switch (letter) {
    case 'C': q->machine = true; break;
    case 'q': q->quiet = true; break;
    case 'v': q->verbose = true; break;
    case 'i': q->invalid = true; break;
    case 'p': break; /* qemu-io: once another path into the block layer; there is one */
    case 'c': q->compressed = true; break;
    case 'f': q->flags |= BLK_FUA; break;
    case 'n': q->flags |= BLK_NO_FALLBACK; break;
    case 'u': q->flags |= BLK_MAY_UNMAP; break;
    case 'z': q->op = ZEROES; break;
    case 'P': q->has_pattern = true; return io_pattern(optarg, &q->pattern);
    case 'b':
        printf("-b: images hold no VM state outside of their snapshots; a snapshot's is not shown\n");
        return false;
    default: return false;
    }
    return true;
}

/* ---- reads ---- */

static int read_any(Request *q, int argc, char **argv, const char *letters, bool vector)
{
    bool window = false;
    int64_t len = -1;
    for (int c; (c = io_getopt(argc, argv, letters)) != -1;) {
        if (c == 's' || c == 'l') {
            window = true;
            if (!io_size(optarg, c == 's' ? &q->check_off : &len)) {
                return 1;
            }
        } else if (!parse_letter(q, c)) {
            return 1;
        }
    }
    if (vector ? optind > argc - 2 : optind != argc - 2) {
        return io_usage(argv[0]);
    }
    if (q->invalid) {
        printf("injecting invalid read request\n");
        return 0;
    }
    if (!parse_place(q, argc - optind, argv + optind, IO_MAX_BYTES, "")) {
        return 1;
    }
    q->check = q->has_pattern;
    if (window && !q->check) {
        return io_usage(argv[0]);
    }
    q->check_len = len < 0 ? q->bytes - q->check_off : len;
    if (q->check_len < 0 || q->check_len > q->bytes - q->check_off) {
        printf("pattern verification range exceeds end of read data\n");
        return 1;
    }
    if (!request_buffer(q) || !parse_vector(q, argc - optind, argv + optind)) {
        return 1;
    }
    return request_run(q);
}

int io_cmd_read(Io *io, int argc, char **argv)
{
    Request q = { .io = io, .op = READ, .name = "read" };
    return read_any(&q, argc, argv, "bCl:pP:qs:v", false);
}

int io_cmd_readv(Io *io, int argc, char **argv)
{
    Request q = { .io = io, .op = READ, .name = "readv" };
    return read_any(&q, argc, argv, "CP:qv", true);
}

int io_cmd_aio_read(Io *io, int argc, char **argv)
{
    Request q = { .io = io, .op = READ, .name = "readv", .async = true };
    return read_any(&q, argc, argv, "CP:iqv", true);
}

/* ---- writes ---- */

static bool write_options(const Request *q)
{
    const char *wrong = q->op != ZEROES && (q->flags & BLK_NO_FALLBACK) ? "-n requires -z to be specified"
                        : q->op != ZEROES && (q->flags & BLK_MAY_UNMAP) ? "-u requires -z to be specified"
                        : (q->op == ZEROES) + q->has_pattern + (q->source != NULL) > 1
                            ? "Only one of -z, -P, and -s can be specified at the same time"
                        : q->op == ZEROES && q->compressed
                            ? "-c and -z exclude each other: zeros need no room that could be saved"
                            : NULL;
    if (wrong) {
        printf("%s\n", wrong);
    }
    return !wrong;
}

static int write_any(Request *q, int argc, char **argv, const char *letters, bool vector)
{
    q->pattern = DEFAULT_PATTERN;
    for (int c; (c = io_getopt(argc, argv, letters)) != -1;) {
        if (c == 's') {
            q->source = optarg;
        } else if (!parse_letter(q, c)) {
            return 1;
        }
    }
    if (vector ? optind > argc - 2 : optind != argc - 2) {
        return io_usage(argv[0]);
    }
    if (vector && q->op == ZEROES && optind != argc - 2) {
        printf("-z supports only a single length parameter\n");
        return 1;
    }
    if (!write_options(q)) {
        return 1;
    }
    if (q->invalid) {
        printf("injecting invalid write request\n");
        return 0;
    }
    bool any_length = q->op == ZEROES && (q->flags & BLK_NO_FALLBACK);
    if (!parse_place(q, argc - optind, argv + optind, any_length ? INT64_MAX : IO_MAX_BYTES,
                     q->op == ZEROES ? " without -n" : "")) {
        return 1;
    }
    if (q->compressed) {
        if (!sector_aligned(q->off, "offset") || !sector_aligned(q->bytes, "count")) {
            return 1;
        }
        q->flags |= BLK_COMPRESSED;
    }
    if (q->op == ZEROES) {
        return request_run(q);
    }
    bool ok = request_buffer(q) && (!q->source || fill_from_file(q)) &&
              parse_vector(q, argc - optind, argv + optind);
    if (!ok) {
        request_fini(q);
        return 1;
    }
    return request_run(q);
}

int io_cmd_write(Io *io, int argc, char **argv)
{
    Request q = { .io = io, .op = WRITE, .name = "write" };
    return write_any(&q, argc, argv, "bcCfnpP:qs:uz", false);
}

int io_cmd_writev(Io *io, int argc, char **argv)
{
    Request q = { .io = io, .op = WRITE, .name = "writev" };
    return write_any(&q, argc, argv, "CfqP:", true);
}

int io_cmd_aio_write(Io *io, int argc, char **argv)
{
    Request q = { .io = io, .op = WRITE, .name = "aio_write", .async = true };
    return write_any(&q, argc, argv, "CfiP:quz", true);
}

int io_cmd_aio_flush(Io *io, int argc, char **argv)
{
    while (io->in_flight) {
        loop_turn(io->loop, true);
    }
    return 0;
}

/* ---- discard, flush ---- */

int io_cmd_discard(Io *io, int argc, char **argv)
{
    Request q = { .io = io, .op = DISCARD, .name = "discard" };
    for (int c; (c = io_getopt(argc, argv, "Cq")) != -1;) {
        if (!parse_letter(&q, c)) {
            return 1;
        }
    }
    if (optind != argc - 2) {
        return io_usage(argv[0]);
    }
    return parse_place(&q, 2, argv + optind, IO_MAX_BYTES, "") ? request_run(&q) : 1;
}

int io_cmd_flush(Io *io, int argc, char **argv)
{
    Request q = { .io = io, .op = FLUSH, .name = "flush" };
    co_run_sync(io->loop, request_body, &q);
    if (q.r < 0) {
        io_failed(q.name, q.r);
    }
    return q.r < 0;
}
