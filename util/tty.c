/* SPDX-License-Identifier: MIT
 * util/tty.c - who has the program's terminal, and putting it back.
 *
 * Threads: main thread; restoring runs on any, from atexit() and from handlers of the signals that mean a
 * fault of the program itself. Tests: tests/func/chardevs.py, tests/func/curses.py.
 */
#include "rhea/util/tty.h"
#include "rhea/util/errorcode.h"

#include <signal.h>
#include <stdlib.h>

enum { RESTORES = 4 };

static char *holder;
static void (*restores[RESTORES])(void);
static volatile sig_atomic_t n_restores;
static const int fatal_signals[] = { SIGSEGV, SIGBUS, SIGABRT, SIGILL, SIGFPE };
static struct sigaction was[G_N_ELEMENTS(fatal_signals)];

bool tty_claim(const char *who, Error **errp)
{
    if (holder) {
        return error_fail(errp, "in-use", NULL, NULL, "stdio is already used by %s", holder);
    }
    holder = g_strdup(who);
    return true;
}

void tty_release(void)
{
    g_clear_pointer(&holder, g_free);
}

void tty_restore(void)
{
    for (int i = n_restores; i > 0; i--) {
        restores[i - 1]();
    }
}

/* Puts the terminal back, then hands over to who handled the signal before: a sanitizer, with the context its
 * report is made of, or the kernel's default action. */
static void on_fatal(int sig, siginfo_t *info, void *context)
{
    tty_restore();
    for (size_t i = 0; i < G_N_ELEMENTS(fatal_signals); i++) {
        if (fatal_signals[i] == sig && was[i].sa_flags & SA_SIGINFO) {
            sigaction(sig, &was[i], NULL);
            was[i].sa_sigaction(sig, info, context);
            return;
        }
    }
    signal(sig, SIG_DFL);
    raise(sig);
}

static void hook(void)
{
    struct sigaction fatal = { .sa_sigaction = on_fatal, .sa_flags = SA_NODEFER | SA_SIGINFO | SA_ONSTACK };
    atexit(tty_restore);
    for (size_t i = 0; i < G_N_ELEMENTS(fatal_signals); i++) {
        sigaction(fatal_signals[i], &fatal, &was[i]);
    }
}

void tty_restore_at_end(void (*restore)(void))
{
    for (int i = 0; i < n_restores; i++) {
        if (restores[i] == restore) {
            return;
        }
    }
    g_assert(n_restores < RESTORES);
    restores[n_restores] = restore;
    if (!n_restores++) {
        hook();
    }
}
