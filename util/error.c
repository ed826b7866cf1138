/* SPDX-License-Identifier: MIT
 * util/error.c - what failed, why, and what to do about it.
 *
 * Models: a message, optional errno, QMP class, hint, and the place in the source (shown only when the
 *         process dies on error_abort_slot). The hint grows by whole sentences, one per line.
 * Threads: any; an Error belongs to one thread at a time.
 */
#include "rhea/util/error.h"
#include "rhea/util/errorcode.h"
#include "rhea/util/log.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

struct Error {
    char *text;
    char *hint;       /* NULL: none */
    const char *file; /* static: __FILE__ */
    int line;
    int err;
    ErrorClass cls;
    const char *code; /* static; NULL: none */
    char *member;     /* NULL: none */
};

Error *error_abort_slot;

static G_GNUC_NORETURN void error_die(const Error *err)
{
    fprintf(stderr, "%s: unexpected error at %s:%d: %s\n", log_program(), err->file, err->line, err->text);
    abort();
}

static bool G_GNUC_PRINTF(5, 0)
    error_set_va(Error **errp, const char *file, int line, int err, const char *fmt, va_list ap)
{
    if (!errp) {
        return false;
    }
    g_assert(*errp == NULL); /* an error would be lost: the caller went on after a failure */

    int saved_errno = errno;
    Error *e = g_new0(Error, 1);
    e->text = g_strdup_vprintf(fmt, ap);
    if (err) {
        char *full = g_strdup_printf("%s: %s", e->text, g_strerror(err));
        g_free(e->text);
        e->text = full;
    }
    e->file = file;
    e->line = line;
    e->err = err;
    if (errp == &error_abort_slot) {
        error_die(e);
    }
    *errp = e;
    errno = saved_errno;
    return false;
}

bool error_set_at(Error **errp, const char *file, int line, int err, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    error_set_va(errp, file, line, err, fmt, ap);
    va_end(ap);
    return false;
}

bool error_fail_at(Error **errp, const char *file, int line, const char *code, const char *member,
                   const char *cure, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    error_set_va(errp, file, line, 0, fmt, ap);
    va_end(ap);
    error_set_code(errp, code, member);
    if (cure) {
        error_hint(errp, "%s", cure);
    }
    return false;
}

void error_prefix(Error **errp, const char *fmt, ...)
{
    if (!errp || !*errp) {
        return;
    }
    va_list ap;
    va_start(ap, fmt);
    g_autofree char *prefix = g_strdup_vprintf(fmt, ap);
    va_end(ap);
    char *full = g_strdup_printf("%s: %s", prefix, (*errp)->text);
    g_free((*errp)->text);
    (*errp)->text = full;
}

void error_hint(Error **errp, const char *fmt, ...)
{
    if (!errp || !*errp) {
        return;
    }
    va_list ap;
    va_start(ap, fmt);
    char *more = g_strdup_vprintf(fmt, ap);
    va_end(ap);
    if ((*errp)->hint) {
        char *both = g_strdup_printf("%s\n%s", (*errp)->hint, more);
        g_free((*errp)->hint);
        g_free(more);
        more = both;
    }
    (*errp)->hint = more;
}

void error_set_class(Error **errp, ErrorClass cls)
{
    if (errp && *errp) {
        (*errp)->cls = cls;
    }
}

void error_set_code(Error **errp, const char *code, const char *member)
{
    if (!errp || !*errp) {
        return;
    }
    (*errp)->code = code;
    if (member) {
        g_free((*errp)->member);
        (*errp)->member = g_strdup(member);
    }
}

void error_member_default(Error **errp, const char *member)
{
    if (errp && *errp && !member) {
        g_clear_pointer(&(*errp)->member, g_free);
    } else if (errp && *errp && !(*errp)->member) {
        (*errp)->member = g_strdup(member);
    }
}

const char *error_code(const Error *err)
{
    return err->code ? err->code : error_code_default(err);
}

const char *error_member(const Error *err)
{
    return err->member;
}

bool error_propagate(Error **dst, Error *err)
{
    if (!err) {
        return false;
    }
    if (dst == &error_abort_slot) {
        error_die(err);
    }
    if (dst && !*dst) {
        *dst = err;
    } else {
        error_free(err);
    }
    return false;
}

const char *error_text(const Error *err)
{
    return err->text;
}

const char *error_hint_text(const Error *err)
{
    return err->hint;
}

int error_errno(const Error *err)
{
    return err->err;
}

ErrorClass error_class(const Error *err)
{
    return err->cls;
}

Error *error_copy(const Error *err)
{
    Error *e = g_new(Error, 1);
    *e = *err;
    e->text = g_strdup(err->text);
    e->hint = g_strdup(err->hint);
    e->member = g_strdup(err->member);
    return e;
}

void error_free(Error *err)
{
    if (err) {
        g_free(err->text);
        g_free(err->hint);
        g_free(err->member);
        g_free(err);
    }
}

void error_report(Error *err)
{
    if (!err) {
        return;
    }
    /* One write, so that lines of several threads do not mix. */
    g_autofree char *prefix = log_prefix();
    g_autofree char *out = err->hint ? g_strdup_printf("%s%s\n%s\n", prefix, err->text, err->hint)
                                     : g_strdup_printf("%s%s\n", prefix, err->text);
    fputs(out, stderr);
    fflush(stderr);
    error_free(err);
}
