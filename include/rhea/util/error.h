/* SPDX-License-Identifier: MIT
 * rhea/util/error.h - what failed, why, and what to do about it.
 *
 * A function that can fail returns false (or NULL) and takes `Error **errp` last. It never reads
 * *errp; a caller that needs to know looks at the return value. errp may be NULL (ignore).
 * Text: lower case, what failed, with which value; the cure goes into the hint. No final period.
 * Any thread; an Error belongs to one thread at a time.
 */
#ifndef RHEA_UTIL_ERROR_H
#define RHEA_UTIL_ERROR_H

#include <glib.h>
#include <stdbool.h>

typedef struct Error Error;

/* Classes that QMP clients can see (QEMU's names). */
typedef enum ErrorClass {
    ERROR_GENERIC,
    ERROR_COMMAND_NOT_FOUND,
    ERROR_DEVICE_NOT_ACTIVE,
    ERROR_DEVICE_NOT_FOUND,
    ERROR_KVM_MISSING_CAP,
} ErrorClass;

/* Sets *errp (which must be NULL before) and returns false, so that a failing function ends with
 * `return error_set(errp, ...)`. The _errno form appends ": strerror(e)". */
#define error_set(errp, ...)          error_set_at((errp), __FILE__, __LINE__, 0, __VA_ARGS__)
#define error_set_errno(errp, e, ...) error_set_at((errp), __FILE__, __LINE__, (e), __VA_ARGS__)
bool error_set_at(Error **errp, const char *file, int line, int err, const char *fmt, ...)
    G_GNUC_PRINTF(5, 6);

/* Change an error that is set; no effect when errp or *errp is NULL. A prefix is followed by ": ". */
void error_prefix(Error **errp, const char *fmt, ...) G_GNUC_PRINTF(2, 3);
void error_hint(Error **errp, const char *fmt, ...) G_GNUC_PRINTF(2, 3);
void error_set_class(Error **errp, ErrorClass cls);

/* Passes `err` (owned; may be NULL) to *dst, frees it when dst is NULL or already set.
 * Returns false so it can end a function. */
bool error_propagate(Error **dst, Error *err);

const char *error_text(const Error *err);       /* message alone, borrowed */
const char *error_hint_text(const Error *err);  /* NULL when there is none, borrowed */
int error_errno(const Error *err);              /* 0 when there is none */
ErrorClass error_class(const Error *err);
Error *error_copy(const Error *err);
void error_free(Error *err);                    /* NULL is fine */
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Error, error_free)

/* Prints "PROGRAM: message" and the hint on a second line to stderr, frees err. */
void error_report(Error *err);

/* errp == &error_abort_slot: "cannot fail here"; the process ends with the message if it does.
 * Allowed in tests and for the fixed devices of a board. */
extern Error *error_abort_slot;

#endif
