/* SPDX-License-Identifier: MIT
 * backends/char/stdio.c - the program's own terminal (or pipes) as a chardev.
 *
 * Models: termios(3) raw input: no echo, no line editing; with signal=off the interrupt, quit and suspend
 * keys go to the guest. Output processing stays on, as users of a terminal expect. Does not model: several
 * stdio chardevs; there is one terminal. Threads: main loop. The terminal is put back from atexit() and from
 * signal handlers (rhea/util/tty.h), which use nothing but async-signal-safe calls; the state is process-wide
 * because the terminal is.
 */
#include "char_internal.h"
#include "rhea/util/errorcode.h"
#include "rhea/util/tty.h"
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <termios.h>
#include <unistd.h>

typedef struct StdioState {
    int in_fd, out_fd;
    bool own_in, own_out;
} StdioState;

static struct {
    Chardev *user;
    volatile sig_atomic_t changed; /* the terminal is in raw mode */
    struct termios normal, raw;
    bool hooked;
} tty;

static void put_back(void)
{
    if (tty.changed) {
        tty.changed = 0;
        tcsetattr(STDIN_FILENO, TCSANOW, &tty.normal);
    }
    char_fd_restore();
}

static void tty_raw_again(void)
{
    if (tty.changed && tcgetpgrp(STDIN_FILENO) == getpgrp()) {
        tcsetattr(STDIN_FILENO, TCSANOW, &tty.raw);
    }
}

/* kill -TSTP, or the suspend key with signal=on: stop with a usable terminal. */
static void on_suspend(int sig)
{
    int saved = errno;
    bool raw = tty.changed;
    if (raw) {
        tcsetattr(STDIN_FILENO, TCSANOW, &tty.normal);
    }
    struct sigaction dfl = { .sa_handler = SIG_DFL }, was;
    sigset_t set, old;
    sigaction(sig, &dfl, &was);
    sigemptyset(&set);
    sigaddset(&set, sig);
    raise(sig);
    pthread_sigmask(SIG_UNBLOCK, &set, &old); /* stops here */
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    sigaction(sig, &was, NULL);
    tty_raw_again(); /* also when the kernel ignored the stop, as it does for an orphaned process group */
    errno = saved;
}

static void on_continue(int sig G_GNUC_UNUSED)
{
    int saved = errno;
    tty_raw_again();
    errno = saved;
}

static void tty_hook(void)
{
    if (tty.hooked) {
        return;
    }
    tty.hooked = true;
    tty_restore_at_end(put_back);
    struct sigaction stop = { .sa_handler = on_suspend, .sa_flags = SA_RESTART };
    struct sigaction cont = { .sa_handler = on_continue, .sa_flags = SA_RESTART };
    sigaction(SIGTSTP, &stop, NULL);
    sigaction(SIGCONT, &cont, NULL);
}

static bool tty_make_raw(bool signals, Error **errp)
{
    if (tcgetattr(STDIN_FILENO, &tty.normal) < 0) {
        return error_set_errno(errp, errno, "could not read the terminal's settings");
    }
    tty.raw = tty.normal;
    tty.raw.c_iflag &= ~(IGNBRK | BRKINT | PARMRK | ISTRIP | INLCR | IGNCR | ICRNL | IXON);
    tty.raw.c_oflag |= OPOST;
    tty.raw.c_lflag &= ~(ECHO | ECHONL | ICANON | IEXTEN);
    if (!signals) {
        tty.raw.c_lflag &= ~ISIG;
    }
    tty.raw.c_cflag = (tty.raw.c_cflag & ~(CSIZE | PARENB)) | CS8;
    tty.raw.c_cc[VMIN] = 1;
    tty.raw.c_cc[VTIME] = 0;
    tty_hook();
    /* In the background a change would stop us; SIGCONT does it when we come to the foreground. */
    tty.changed = 1;
    if (tcgetpgrp(STDIN_FILENO) == getpgrp()) {
        tcsetattr(STDIN_FILENO, TCSANOW, &tty.raw);
    }
    return true;
}

static bool stdio_open(Chardev *c, const CharConfig *cfg, Error **errp)
{
    StdioState *s = c->state;
    if (tty.user) {
        error_fail(errp, "in-use", NULL, NULL, "stdio is already used by chardev '%s'", chardev_id(tty.user));
        error_hint(errp, "share it: -chardev stdio,id=ID,mux=on and chardev:ID, or mon:stdio");
        return false;
    }
    g_autofree char *who = g_strdup_printf("chardev '%s'", chardev_id(c));
    if (!tty_claim(who, errp)) {
        error_hint(errp, "use vc, which is a text console, or a pty, file or socket");
        return false;
    }
    if (isatty(STDIN_FILENO) && !tty_make_raw(cfg->signal, errp)) {
        tty_release();
        return false;
    }
    tty.user = c;
    s->in_fd = char_fd_nonblock(STDIN_FILENO, false, &s->own_in);
    s->out_fd = char_fd_nonblock(STDOUT_FILENO, true, &s->own_out);
    chardev_set_open(c, true);
    chardev_set_fds(c, s->in_fd, s->out_fd);
    return true;
}

static void stdio_close(Chardev *c)
{
    StdioState *s = c->state;
    put_back();
    tty_release();
    if (s->own_in) {
        close(s->in_fd);
    }
    if (s->own_out) {
        close(s->out_fd);
    }
    tty.user = NULL;
}

const CharBackend char_stdio_backend = {
    .name = "stdio", .state_size = sizeof(StdioState), .open = stdio_open, .close = stdio_close,
};
