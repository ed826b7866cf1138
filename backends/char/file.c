/* SPDX-License-Identifier: MIT
 * backends/char/file.c - output to a file, input from another one; and a pair of FIFOs.
 *
 * Models: `file` (path=, append=, input-path=), `pipe` (PATH.in and PATH.out, or one FIFO both ways).
 * Does not model: Windows pipes.
 * Threads: main loop.
 */
#include "char_internal.h"
#include "rhea/util/fdset.h"
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

typedef struct FileState {
    int in_fd, out_fd;
} FileState;

/* A pipe or terminal of a set is shared with who gave it: opened anew it does not block, and theirs does. */
static int open_file(Chardev *c, const char *path, int flags)
{
    bool owned = false;
    int fd = fdset_open(path, flags, 0666);
    struct stat st;
    if (fd < 0 || !fdset_is_path(path) || fstat(fd, &st) < 0 ||
        !(S_ISFIFO(st.st_mode) || isatty(fd))) {
        return fd;
    }
    int own = char_fd_nonblock(fd, (flags & O_ACCMODE) != O_RDONLY, &owned);
    if (owned) {
        fdset_close(fd);
    }
    return own;
}

static bool file_open(Chardev *c, const CharConfig *cfg, Error **errp)
{
    FileState *s = c->state;
    int flags = O_WRONLY | O_CREAT | O_CLOEXEC | O_NONBLOCK | O_NOCTTY | (cfg->append ? O_APPEND : O_TRUNC);
    s->in_fd = -1;
    s->out_fd = open_file(c, cfg->path, flags);
    if (s->out_fd < 0 && errno == ENXIO) { /* a FIFO nobody reads yet */
        s->out_fd = open(cfg->path, O_RDWR | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    }
    if (s->out_fd < 0) {
        int err = errno;
        error_set_errno(errp, err, "could not open '%s' for writing", cfg->path);
        fdset_hint(cfg->path, flags, err, errp);
        return false;
    }
    if (cfg->input_path) {
        flags = O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY;
        s->in_fd = open_file(c, cfg->input_path, flags);
        if (s->in_fd < 0) {
            int err = errno;
            error_set_errno(errp, err, "could not open '%s' for reading", cfg->input_path);
            fdset_hint(cfg->input_path, flags, err, errp);
            fdset_close(s->out_fd);
            return false;
        }
    }
    g_free(c->filename);
    c->filename = g_strdup_printf("file:%s", cfg->path);
    chardev_set_open(c, true);
    chardev_set_fds(c, s->in_fd, s->out_fd);
    return true;
}

static void file_close(Chardev *c)
{
    FileState *s = c->state;
    if (s->in_fd >= 0 && s->in_fd != s->out_fd) {
        fdset_close(s->in_fd);
    }
    if (s->out_fd >= 0) {
        fdset_close(s->out_fd);
    }
}

const CharBackend char_file_backend = {
    .name = "file", .state_size = sizeof(FileState), .open = file_open, .close = file_close,
};

/* FIFOs are opened for both directions, so that neither end has to be there first and none sees an end of
 * file when the other side is opened anew. */
static bool pipe_open(Chardev *c, const CharConfig *cfg, Error **errp)
{
    FileState *s = c->state;
    g_autofree char *in = g_strdup_printf("%s.in", cfg->path);
    g_autofree char *out = g_strdup_printf("%s.out", cfg->path);
    int flags = O_RDWR | O_CLOEXEC | O_NONBLOCK | O_NOCTTY;
    s->in_fd = open(in, flags);
    s->out_fd = open(out, flags);
    if (s->in_fd < 0 || s->out_fd < 0) {
        file_close(c);
        s->in_fd = s->out_fd = open(cfg->path, flags);
        if (s->in_fd < 0) {
            error_set_errno(errp, errno, "could not open pipes '%s' and '%s', nor '%s'", in, out, cfg->path);
            error_hint(errp, "create them first: mkfifo %s %s", in, out);
            return false;
        }
    }
    g_free(c->filename);
    c->filename = g_strdup_printf("pipe:%s", cfg->path);
    chardev_set_open(c, true);
    chardev_set_fds(c, s->in_fd, s->out_fd);
    return true;
}

const CharBackend char_pipe_backend = {
    .name = "pipe", .state_size = sizeof(FileState), .open = pipe_open, .close = file_close,
};
