/* SPDX-License-Identifier: MIT
 * ui/curses-term.c - the program's terminal for -display curses, by ncurses: cells, keys, its messages.
 *
 * Models: 16 colours where the terminal has them, else 8 and bold, else none; characters as the locale's
 *         encoding has them, else line graphics, else '?'. What the program itself says would fall into the
 *         picture: it goes through a pipe to the front end, and to the terminal at the end.
 * The library is loaded when it is wanted, like SDL. Keys come from a watched descriptor; SIGWINCH, SIGTSTP
 * and SIGCONT set flags and wake the loop. Threads: main loop; handlers and put_back() run on any.
 * Tests: tests/func/curses.py. */
#define NCURSES_NOMACROS 1
#define NCURSES_WIDECHAR 1
#define _XOPEN_SOURCE_EXTENDED 1
#include "curses_internal.h"
#include "rhea/ui/console.h"
#include "rhea/util/errorcode.h"
#include "rhea/util/library.h"
#include "rhea/util/tty.h"

#include <errno.h>
#include <fcntl.h>
#include <langinfo.h>
#include <locale.h>
#include <ncursesw/curses.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <termios.h>
#include <unistd.h>

enum { ESC_WAIT_MS = 25, KEPT_BYTES = 32768, LINE_BYTES = 512, KEYS_AT_ONCE = 256, ESC = 27 };
/* So many cells of a terminal are used; more would be a lie of its. */
enum { MAX_SIDE = 1000 };

#define CURSES_CALLS(X)                                                                                \
    X(newterm) X(delscreen) X(endwin) X(raw) X(noecho) X(nonl) X(keypad) X(nodelay) X(set_escdelay)    \
    X(start_color) X(has_colors) X(assume_default_colors) X(init_pair) X(wget_wch) X(wadd_wch)         \
    X(waddch) X(setcchar) X(wmove) X(wrefresh) X(werase) X(clearok) X(curs_set) X(resize_term)         \
    X(reset_prog_mode) X(getmaxx) X(getmaxy) X(tigetstr) X(keyname)

static struct CursesLib {
#define CALL(name) __typeof__(name) *name;
    CURSES_CALLS(CALL)
#undef CALL
    WINDOW **stdscr;
    int *colours, *pairs;
} lib;

static struct Term {
    const CursesEvents *events;
    SCREEN *screen;
    WINDOW *win;
    FILE *in, *out;
    FdWatch keys, wakes, messages;
    char line[LINE_BYTES]; /* of a message that has not ended */
    size_t line_len;
    int colours;           /* 16, 8, 0 */
    bool utf8, cursor;
    bool made[256];        /* colour pairs */
} term;

/* What handlers of signals touch. */
static struct {
    volatile sig_atomic_t open, resized, stop;
    struct termios normal;
    char bytes[256];       /* what puts the terminal back */
    size_t n_bytes;
    int fd, wake;          /* the terminal; an eventfd */
    int was[2];            /* stdout and stderr; -1: they are what they were */
    int pipe;              /* its reading end, or -1 */
    char kept[KEPT_BYTES]; /* the last messages */
    size_t n_kept;
} back = { .was = { -1, -1 }, .pipe = -1, .wake = -1 };

static bool load(Error **errp)
{
    static const LibraryCall calls[] = {
#define CALL(name) { #name, offsetof(struct CursesLib, name), false },
        CURSES_CALLS(CALL)
#undef CALL
        { "stdscr", offsetof(struct CursesLib, stdscr), false },
        { "COLORS", offsetof(struct CursesLib, colours), false },
        { "COLOR_PAIRS", offsetof(struct CursesLib, pairs), false },
    };
    static const Library ncurses = {
        .file = "libncursesw.so.6",
        .what = "-display curses needs ncurses",
        .member = "type",
        .cure = "install it (Debian: libncursesw6), or use -nographic",
        .calls = calls,
        .n = G_N_ELEMENTS(calls),
    };
    return library_load(&ncurses, &lib, errp);
}

/* ---- putting it back ---- */

static void write_all(int fd, const char *p, size_t n)
{
    while (n) {
        ssize_t done = write(fd, p, n);
        if (done < 0 && errno == EINTR) {
            continue;
        }
        if (done <= 0) {
            return;
        }
        p += done;
        n -= (size_t)done;
    }
}

/* Messages that wait in the pipe come after those that were read. */
static void show_messages(int fd)
{
    char buf[512];
    ssize_t n;
    write_all(fd, back.kept, back.n_kept);
    while ((n = read(back.pipe, buf, sizeof(buf))) > 0) {
        write_all(fd, buf, (size_t)n);
    }
}

/* Async-signal-safe. */
static void put_back(void)
{
    if (!back.open) {
        return;
    }
    back.open = 0;
    write_all(back.fd, back.bytes, back.n_bytes);
    tcsetattr(back.fd, TCSANOW, &back.normal);
    for (int i = 0; i < 2; i++) {
        if (back.was[i] >= 0) {
            dup2(back.was[i], STDOUT_FILENO + i);
        }
    }
    if (back.pipe >= 0) {
        show_messages(STDERR_FILENO);
    }
}

/* terminfo's strings have $<delays> for terminals of paper. */
static void add_bytes(const char *capability)
{
    const char *s = lib.tigetstr(capability);
    if (!s || s == (const char *)-1) {
        return;
    }
    while (*s && back.n_bytes < sizeof(back.bytes)) {
        const char *end = s[0] == '$' && s[1] == '<' ? strchr(s, '>') : NULL;
        if (end) {
            s = end + 1;
        } else {
            back.bytes[back.n_bytes++] = *s++;
        }
    }
}

/* ---- messages ---- */

static void keep(const char *p, size_t n)
{
    if (n > sizeof(back.kept) - back.n_kept) { /* the older half goes */
        size_t half = back.n_kept / 2;
        memmove(back.kept, back.kept + half, back.n_kept - half);
        back.n_kept -= half;
    }
    memcpy(back.kept + back.n_kept, p, n);
    back.n_kept += n;
}

static void end_line(void)
{
    g_autofree char *s = g_utf8_make_valid(term.line, (gssize)term.line_len);
    for (char *p = s; *p; p++) {
        *p = (unsigned char)*p < ' ' || *p == 0x7f ? ' ' : *p;
    }
    if (*g_strstrip(s)) {
        term.events->said(term.events->opaque, s);
    }
    term.line_len = 0;
}

static void read_messages(void *opaque G_GNUC_UNUSED, unsigned revents G_GNUC_UNUSED)
{
    char buf[4096];
    ssize_t n = read(back.pipe, buf, sizeof(buf));
    if (n <= 0) {
        return;
    }
    keep(buf, (size_t)n);
    for (ssize_t i = 0; i < n; i++) {
        if (buf[i] == '\n') {
            end_line();
        } else if (term.line_len < sizeof(term.line)) {
            term.line[term.line_len++] = buf[i];
        }
    }
}

static bool is_terminal(int fd)
{
    struct stat a, b;
    return isatty(fd) && fstat(fd, &a) == 0 && fstat(back.fd, &b) == 0 && a.st_rdev == b.st_rdev;
}

/* Standard output and error, where they are this terminal. Nobody who writes is held up: what the pipe has no
 * room for is lost. */
static bool divert(Loop *loop, Error **errp)
{
    int fds[2];
    if (pipe2(fds, O_CLOEXEC | O_NONBLOCK) < 0) {
        return error_set_errno(errp, errno, "-display curses: cannot create a pipe");
    }
    fflush(stdout);
    back.pipe = fds[0];
    back.n_kept = 0;
    for (int i = 0; i < 2; i++) {
        if (is_terminal(STDOUT_FILENO + i)) {
            back.was[i] = fcntl(STDOUT_FILENO + i, F_DUPFD_CLOEXEC, 3);
            dup2(fds[1], STDOUT_FILENO + i);
        }
    }
    close(fds[1]);
    term.messages = (FdWatch){ .fd = fds[0], .events = LOOP_IN, .ready = read_messages };
    return fd_watch_add(loop, &term.messages, errp);
}

/* ---- keys ---- */

static void typed(wint_t c, bool is_key, bool alt)
{
    const CursesEvents *e = term.events;
    CursesStroke s = is_key ? curses_stroke_key((int)c, lib.keyname((int)c), alt)
                            : curses_stroke_char(e->layout, c, alt);
    if (s.known || s.ch) {
        e->typed(e->opaque, &s);
    }
}

static void read_keys(void *opaque G_GNUC_UNUSED, unsigned revents)
{
    int there = 0;
    if (revents & LOOP_HUP || ioctl(term.keys.fd, FIONREAD, &there) < 0 || !there) {
        fd_watch_remove(&term.keys);
        term.events->hung_up(term.events->opaque);
        return;
    }
    for (int i = 0; i < KEYS_AT_ONCE && term.keys.loop; i++) {
        wint_t c, next;
        int kind = lib.wget_wch(term.win, &c);
        if (kind == ERR) {
            return;
        }
        if (kind == KEY_CODE_YES && c == KEY_RESIZE) {
            continue; /* it was the signal that told */
        }
        bool esc = kind == OK && c == ESC;
        int more = esc ? lib.wget_wch(term.win, &next) : ERR;
        if (more == ERR) {
            typed(c, kind == KEY_CODE_YES, false);
        } else {
            typed(next, more == KEY_CODE_YES, true); /* Alt and a key are ESC and that */
        }
    }
}

/* ---- signals ---- */

static void on_signal(int sig)
{
    int saved = errno;
    uint64_t one = 1;
    if (sig == SIGTSTP) {
        back.stop = 1;
    } else {
        back.resized = 1;
    }
    if (write(back.wake, &one, sizeof(one)) < 0) {
        /* it is awake then */
    }
    errno = saved;
}

static void take_size(void)
{
    struct winsize w;
    if (ioctl(back.fd, TIOCGWINSZ, &w) == 0 && w.ws_row && w.ws_col) {
        lib.resize_term(MIN(w.ws_row, MAX_SIDE), MIN(w.ws_col, MAX_SIDE));
    }
}

static void woken(void *opaque G_GNUC_UNUSED, unsigned revents G_GNUC_UNUSED)
{
    uint64_t n;
    if (read(back.wake, &n, sizeof(n)) < 0) {
        return;
    }
    if (back.stop) { /* not in the handler: curses may be at work there */
        back.stop = 0;
        lib.endwin();
        raise(SIGSTOP);
        back.resized = 1;
    }
    if (back.resized) {
        back.resized = 0;
        lib.reset_prog_mode();
        take_size();
        lib.clearok(term.win, TRUE);
        term.events->resized(term.events->opaque);
    }
}

static void set_signals(void (*handler)(int))
{
    static const int signals[] = { SIGWINCH, SIGTSTP, SIGCONT };
    struct sigaction a = { .sa_handler = handler, .sa_flags = SA_RESTART };
    for (size_t i = 0; i < G_N_ELEMENTS(signals); i++) {
        sigaction(signals[i], &a, NULL);
    }
}

/* ---- cells ---- */

void cterm_size(int *columns, int *rows)
{
    *columns = CLAMP(lib.getmaxx(term.win), 1, MAX_SIDE);
    *rows = CLAMP(lib.getmaxy(term.win), 1, MAX_SIDE);
}

void cterm_erase(void)
{
    lib.werase(term.win);
}

/* Pair 0 is grey on black, as it is by itself. */
static short pair_of(unsigned fg, unsigned bg)
{
    unsigned n = (unsigned)term.colours, pair = (bg * n + fg) ^ CELL_NORMAL;
    if (pair && !term.made[pair]) {
        lib.init_pair((short)pair, (short)fg, (short)bg);
        term.made[pair] = true;
    }
    return (short)pair;
}

static attr_t look(unsigned attr, short *pair)
{
    unsigned fg = attr & 15, bg = attr >> CELL_BACKGROUND & 15;
    attr_t a = (attr & CELL_BLINK ? A_BLINK : 0) | (attr & CELL_UNDERLINE ? A_UNDERLINE : 0);
    *pair = 0;
    if (term.colours == 16) {
        *pair = pair_of(fg, bg);
    } else if (term.colours) {
        a |= fg & 8 ? A_BOLD : 0;
        *pair = pair_of(fg & 7, bg & 7);
    } else {
        a |= (fg & 8 ? A_BOLD : 0) | ((bg & 7) > (fg & 7) ? A_REVERSE : 0);
    }
    return a;
}

/* The letter of DEC's line graphics for what an encoding has not. */
static char line_graphic(uint32_t c)
{
    static const struct {
        uint16_t from;
        char as;
    } like[] = { { 0x2500, 'q' }, { 0x2502, 'x' }, { 0x250c, 'l' }, { 0x2510, 'k' }, { 0x2514, 'm' },
                 { 0x2518, 'j' }, { 0x251c, 't' }, { 0x2524, 'u' }, { 0x252c, 'w' }, { 0x2534, 'v' },
                 { 0x253c, 'n' }, { 0x2550, 'q' }, { 0x2551, 'x' }, { 0x2554, 'l' }, { 0x2557, 'k' },
                 { 0x255a, 'm' }, { 0x255d, 'j' }, { 0x2560, 't' }, { 0x2563, 'u' }, { 0x2566, 'w' },
                 { 0x2569, 'v' }, { 0x256c, 'n' }, { 0x2591, 'a' }, { 0x2592, 'a' }, { 0x2593, 'a' },
                 { 0x2588, '0' }, { 0x2190, ',' }, { 0x2191, '-' }, { 0x2192, '+' }, { 0x2193, '.' },
                 { 0x00b0, 'f' }, { 0x00b1, 'g' }, { 0x00b7, '~' }, { 0x2022, '~' }, { 0x25c6, '`' } };
    for (size_t i = 0; i < G_N_ELEMENTS(like); i++) {
        if (like[i].from == c) {
            return like[i].as;
        }
    }
    return 0;
}

/* What may be sent: nothing that controls, combines with its neighbour or has another width. */
static uint32_t harmless(uint32_t c, bool blank_next)
{
    if (c == 0 || c == 0xa0) {
        return ' ';
    }
    if (c < ' ' || (c >= 0x7f && c < 0xa0) || !g_unichar_validate(c) || !g_unichar_isprint(c) ||
        g_unichar_iszerowidth(c)) {
        return '?';
    }
    int width = c < 0x7f || !term.utf8 ? 1 : wcwidth((wchar_t)c);
    return width == 1 || (width == 2 && blank_next) ? c : '?';
}

int cterm_put(int x, int y, uint32_t unicode, unsigned attr, bool blank_next)
{
    uint32_t c = harmless(unicode, blank_next);
    char bytes[MB_LEN_MAX];
    short pair;
    attr_t a = look(attr, &pair);
    lib.wmove(term.win, y, x);
    if (!term.utf8 && c >= 0x7f && wctomb(bytes, (wchar_t)c) <= 0) {
        char graphic = line_graphic(c);
        a |= graphic ? A_ALTCHARSET : 0;
        a |= (attr_t)pair << NCURSES_ATTR_SHIFT & A_COLOR;
        lib.waddch(term.win, (chtype)(graphic ? graphic : '?') | a);
        return 1;
    }
    cchar_t cell;
    wchar_t text[2] = { (wchar_t)c, 0 };
    if (lib.setcchar(&cell, text, a, pair, NULL) == OK) {
        lib.wadd_wch(term.win, &cell);
    }
    return c >= 0x7f && term.utf8 && wcwidth((wchar_t)c) == 2 ? 2 : 1;
}

void cterm_cursor(int x, int y, bool visible)
{
    if (visible) {
        lib.wmove(term.win, y, x);
    }
    if (visible != term.cursor) {
        lib.curs_set(visible);
        term.cursor = visible;
    }
}

bool cterm_flush(void)
{
    struct pollfd p = { .fd = back.fd, .events = POLLOUT };
    if (poll(&p, 1, 0) != 1 || !(p.revents & POLLOUT)) {
        return false;
    }
    lib.wrefresh(term.win);
    return true;
}

/* ---- life ---- */

static bool start_library(Error **errp)
{
    const char *type = g_getenv("TERM");
    term.in = fdopen(fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 3), "r");
    back.fd = fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 3);
    term.out = fdopen(back.fd, "w");
    if (!term.in || !term.out || tcgetattr(back.fd, &back.normal) < 0) {
        return error_set_errno(errp, errno, "-display curses: cannot open the terminal");
    }
    setlocale(LC_CTYPE, "");
    term.utf8 = g_str_equal(nl_langinfo(CODESET), "UTF-8");
    term.screen = lib.newterm(NULL, term.out, term.in);
    const char *cup = term.screen ? lib.tigetstr("cup") : NULL;
    if (!cup || cup == (const char *)-1) {
        error_fail(errp, "not-supported", "type", NULL,
                   term.screen ? "-display curses: a terminal of type '%s' cannot show a screen"
                               : "-display curses: the terminal's type '%s' is not known to ncurses",
                   type ? type : "");
        error_hint(errp, "set TERM, as in TERM=xterm or TERM=linux, or install ncurses-term");
        return false;
    }
    term.win = *lib.stdscr;
    return true;
}

static void set_modes(void)
{
    static const char *const ends[] = { "sgr0", "op", "rmkx", "cnorm", "rmcup" };
    lib.raw();
    lib.noecho();
    lib.nonl();
    lib.set_escdelay(ESC_WAIT_MS);
    lib.keypad(term.win, TRUE);
    lib.nodelay(term.win, TRUE);
    term.cursor = true;
    if (lib.has_colors() && lib.start_color() == OK) {
        term.colours = *lib.colours >= 16 && *lib.pairs >= 256 ? 16
                       : *lib.colours >= 8 && *lib.pairs >= 64 ? 8
                                                               : 0;
    }
    if (term.colours) {
        lib.assume_default_colors(COLOR_WHITE, COLOR_BLACK);
    }
    back.n_bytes = 0;
    for (size_t i = 0; i < G_N_ELEMENTS(ends); i++) {
        add_bytes(ends[i]);
    }
    take_size();
}

static bool watch(Loop *loop, Error **errp)
{
    back.wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (back.wake < 0) {
        return error_set_errno(errp, errno, "-display curses: cannot create an eventfd");
    }
    term.wakes = (FdWatch){ .fd = back.wake, .events = LOOP_IN, .ready = woken };
    term.keys = (FdWatch){ .fd = fileno(term.in), .events = LOOP_IN, .ready = read_keys };
    return fd_watch_add(loop, &term.wakes, errp) && fd_watch_add(loop, &term.keys, errp);
}

bool cterm_open(Loop *loop, const CursesEvents *events, Error **errp)
{
    bool in = isatty(STDIN_FILENO), out = isatty(STDOUT_FILENO);
    if (!in || !out) {
        error_fail(errp, "invalid-value", "type", NULL, "-display curses: standard %s is no terminal",
                   in ? "output" : "input");
        error_hint(errp, "start it in a terminal without redirection, or use -nographic, or -vnc");
        return false;
    }
    if (!load(errp)) {
        return false;
    }
    if (!tty_claim("-display curses", errp)) {
        error_prefix(errp, "-display curses");
        error_hint(errp, "leave stdio out: the monitor and the serial port are text consoles (Alt-2, Alt-3)");
        return false;
    }
    term = (struct Term){ .events = events };
    back.was[0] = back.was[1] = back.pipe = back.wake = back.fd = -1;
    tty_restore_at_end(put_back);
    if (start_library(errp)) {
        set_modes();
        back.open = 1;
        if (watch(loop, errp) && divert(loop, errp)) {
            set_signals(on_signal);
            return true;
        }
    }
    cterm_close();
    return false;
}

static void close_fd(int *fd)
{
    if (*fd >= 0) {
        close(*fd);
        *fd = -1;
    }
}

void cterm_close(void)
{
    FdWatch *watches[] = { &term.keys, &term.wakes, &term.messages };
    if (!term.events) {
        return;
    }
    for (size_t i = 0; i < G_N_ELEMENTS(watches); i++) {
        if (watches[i]->loop) {
            fd_watch_remove(watches[i]);
        }
    }
    if (term.screen) {
        lib.endwin();
    }
    if (back.open) {
        set_signals(SIG_DFL);
        back.n_bytes = 0; /* that has sent them */
        fflush(stdout);
        put_back();
    }
    if (term.screen) {
        lib.delscreen(term.screen);
    }
    if (term.in) {
        fclose(term.in);
    }
    if (term.out) {
        fclose(term.out);
    }
    close_fd(&back.was[0]);
    close_fd(&back.was[1]);
    close_fd(&back.pipe);
    close_fd(&back.wake);
    term = (struct Term){ 0 };
    tty_release();
}
