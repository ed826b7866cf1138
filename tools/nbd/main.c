/* SPDX-License-Identifier: MIT
 * tools/nbd/main.c - rhea-nbd: serves a disk image as a network block device.
 *
 * Models: qemu-nbd's options and exit codes; systemd's socket activation (sd_listen_fds(3)).
 * Does not model: kernel devices, TLS.
 * Threads: the main thread runs the loop; the block layer brings its workers.
 */
#include "nbd.h"
#include "rhea/util/log.h"
#include "rhea/util/text.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#define NBD_PORT "10809"
enum { FIRST_LISTEN_FD = 3 }; /* sd_listen_fds(3): SD_LISTEN_FDS_START */

typedef struct Nbd {
    const NbdArgs *a;
    Loop *loop;
    BlockGraph *graph;
    NbdServer *server;
    int ready_fd; /* --fork: the parent waits for a byte */
    FdWatch signals;
    bool done;
} Nbd;

/* ---- the image ---- */

/* Takes the reference to `n`, gives one to what lies above it. */
static BlockNode *offset_above(BlockGraph *g, BlockNode *n, uint64_t offset, Error **errp)
{
    g_autoptr(Json) o = json_put(json_new_object(), "driver", json_new_string("raw"));
    json_put(o, "file", json_new_string(block_name(n)));
    json_put(o, "offset", json_new_uint(offset));
    json_put(o, "read-only", json_new_bool(block_is_read_only(n)));
    BlockNode *top = block_open(g, o, false, errp);
    block_unref(n);
    return top;
}

static BlockNode *open_image(BlockGraph *g, const NbdArgs *a, Error **errp)
{
    bool from_text, found;
    g_autoptr(Json) o = tool_image_options(&a->image, &from_text, errp);
    if (!o) {
        return NULL;
    }
    json_member(o, "detect-zeroes", &found);
    if (a->detect_zeroes && !found) {
        json_put(o, "detect-zeroes", json_new_string(a->detect_zeroes));
    }
    bool guessed = !a->image.format && !a->image.image_opts;
    BlockNode *n = block_open(g, o, from_text, errp);
    if (n && guessed && !block_is_read_only(n) && strcmp(block_driver_name(n), "raw") == 0) {
        log_warn("the format of '%s' is not given and looks raw; writes that would make its beginning look "
                 "like another format are refused (-f raw permits them)",
                 a->image.name);
        block_guard_format(n);
    }
    if (n && a->snapshot_view && !tool_view_snapshot(n, a->snapshot_view, errp)) {
        block_unref(n);
        return NULL;
    }
    if (n && a->snapshot) {
        BlockNode *base = n;
        n = block_open_temporary(base, NULL, errp);
        block_unref(base);
    }
    return n && a->has_offset ? offset_above(g, n, a->offset, errp) : n;
}

/* ---- listening ---- */

static void client_gone(void *opaque, bool had_export, unsigned left)
{
    Nbd *m = opaque;
    if (m->a->verbose) {
        log_info("a client has gone; %u left", left);
    }
    m->done = m->done || (had_export && left == 0 && !m->a->persistent);
}

/* How many descriptors systemd has handed over; they are ours only if they were meant for this process. */
static unsigned handed_over(void)
{
    const char *pid = getenv("LISTEN_PID"), *fds = getenv("LISTEN_FDS");
    uint64_t p, n;
    bool ours = pid && fds && text_to_u64(pid, &p, NULL) && p == (uint64_t)getpid() &&
                text_to_u64(fds, &n, NULL) && n <= 64;
    return ours ? (unsigned)n : 0;
}

static bool listen_all(Nbd *m, unsigned handed, Error **errp)
{
    const NbdArgs *a = m->a;
    if (handed && (a->socket_path || a->port || a->bind)) {
        return error_set(errp, "-p, -b and -k do not go with a socket that is handed over (LISTEN_FDS)");
    }
    for (unsigned i = 0; i < handed; i++) {
        if (!nbd_server_listen_fd(m->server, FIRST_LISTEN_FD + (int)i, errp)) {
            return false;
        }
    }
    SockSpec where = { .kind = a->socket_path ? SOCK_KIND_UNIX : SOCK_KIND_INET,
                       .path = a->socket_path,
                       .host = a->bind ? a->bind : "0.0.0.0",
                       .port = a->port ? a->port : NBD_PORT };
    return handed || nbd_server_listen(m->server, &where, errp);
}

static bool start(Nbd *m, unsigned handed, Error **errp)
{
    const NbdArgs *a = m->a;
    NbdServerConfig config = {
        .max_connections = (unsigned)a->shared, .gone = client_gone, .opaque = m
    };
    BlockNode *n = open_image(m->graph, a, errp);
    if (!n) {
        return false;
    }
    m->server = nbd_server_new(m->graph, &config);
    NbdExportConfig e = { .name = a->export_name,
                          .description = a->description,
                          .node = n,
                          .writable = !a->read_only,
                          .write_through = a->cache.write_through,
                          .allocation_depth = a->allocation_depth,
                          .shared = BLOCK_PERM_READ | BLOCK_PERM_WRITE_UNCHANGED };
    NbdExport *export = nbd_export_add(m->server, &e, errp);
    BlockBitmap *b = export && a->bitmap ? nbd_find_bitmap(n, a->bitmap, errp) : NULL;
    bool ok = export && (!a->bitmap || (b && nbd_export_add_bitmap(export, b, errp))) &&
              listen_all(m, handed, errp);
    block_unref(n);
    return ok;
}

/* ---- the process ---- */

static bool write_pid(const char *path, Error **errp)
{
    char text[32];
    int n = g_snprintf(text, sizeof(text), "%ld\n", (long)getpid());
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    bool ok = fd >= 0 && write(fd, text, (size_t)n) == n;
    int err = errno;
    if (fd >= 0) {
        close(fd);
    }
    return ok || error_set_errno(errp, err, "--pid-file: cannot write '%s'", path);
}

static void signal_came(void *opaque, unsigned revents)
{
    Nbd *m = opaque;
    struct signalfd_siginfo info;
    m->done = m->done || read(m->signals.fd, &info, sizeof(info)) == sizeof(info);
}

static void signals_begin(Nbd *m)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGHUP);
    pthread_sigmask(SIG_BLOCK, &set, NULL);
    signal(SIGPIPE, SIG_IGN);
    m->signals = (FdWatch){ .fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK),
                            .events = LOOP_IN,
                            .ready = signal_came,
                            .opaque = m };
    fd_watch_add(m->loop, &m->signals, &error_abort_slot);
}

/* Clients can connect: the parent may go. */
static void tell_ready(Nbd *m)
{
    if (m->ready_fd < 0) {
        return;
    }
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    dup2(null, STDIN_FILENO);
    dup2(null, STDOUT_FILENO);
    if (!m->a->verbose) {
        dup2(null, STDERR_FILENO); /* else who waits for its end would wait for ours */
    }
    close(null);
    while (write(m->ready_fd, "", 1) < 0 && errno == EINTR) {
    }
    close(m->ready_fd);
}

static int serve(Nbd *m, unsigned handed)
{
    Error *err = NULL;
    bool ok = start(m, handed, &err) && (!m->a->pid_file || write_pid(m->a->pid_file, &err));
    if (ok) {
        tell_ready(m);
    }
    while (ok && !m->done) {
        loop_turn(m->loop, true);
    }
    nbd_server_free(m->server);
    if (ok && m->a->pid_file) {
        unlink(m->a->pid_file);
    }
    return ok ? 0 : tool_fail(err);
}

static int list(Nbd *m)
{
    const NbdArgs *a = m->a;
    SockSpec where = { .kind = a->socket_path ? SOCK_KIND_UNIX : SOCK_KIND_INET,
                       .path = a->socket_path,
                       .host = a->bind ? a->bind : "localhost",
                       .port = a->port ? a->port : NBD_PORT };
    return nbd_print_list(m->graph, m->loop, &where);
}

/* In the parent: its exit status. In the child -1. */
static int fork_off(Nbd *m)
{
    int fds[2];
    pid_t child = pipe2(fds, O_CLOEXEC) < 0 ? -1 : fork();
    if (child < 0) {
        return tool_complain("--fork: %s", g_strerror(errno));
    }
    if (child == 0) {
        close(fds[0]);
        m->ready_fd = fds[1];
        setsid();
        return -1;
    }
    char ready;
    ssize_t n;
    close(fds[1]);
    while ((n = read(fds[0], &ready, 1)) < 0 && errno == EINTR) {
    }
    return n == 1 ? 0 : 1; /* the child has said why */
}

int main(int argc, char **argv)
{
    log_set_program("rhea-nbd");
    NbdArgs a = { .export_name = "", .shared = 1 };
    Nbd m = { .a = &a, .ready_fd = -1 };
    int status = nbd_parse_args(&a, argc, argv);
    unsigned handed = handed_over(); /* --fork changes the process's number */
    if (status < 0 && a.fork && !a.list) {
        status = fork_off(&m);
    }
    if (status < 0) {
        role_become_main();
        m.loop = loop_new("nbd");
        signals_begin(&m);
        m.graph = block_graph_new(m.loop);
        status = a.list ? list(&m) : serve(&m, handed);
        block_graph_free(m.graph);
        fd_watch_remove(&m.signals);
        close(m.signals.fd);
        loop_free(m.loop);
    }
    return fflush(stdout) ? 1 : status;
}
