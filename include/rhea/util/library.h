/* SPDX-License-Identifier: MIT
 * rhea/util/library.h - shared libraries that are loaded when something first needs them: an option that few
 * use costs the others neither a dependency nor the time to start.
 */
#ifndef RHEA_UTIL_LIBRARY_H
#define RHEA_UTIL_LIBRARY_H

#include "rhea/util/error.h"

typedef struct LibraryCall {
    const char *name; /* the library's */
    size_t at;        /* where the table has a pointer to it */
    bool optional;    /* one that is not there is NULL there */
} LibraryCall;

/* Any thread; the caller sees to it that nobody uses the table meanwhile. True: the n calls are in the table,
 * and the library stays for good. False: the table is as it was, and *errp says what is not there; the caller
 * adds what it is for (error_prefix()) and how it is installed. */
bool library_load(const char *file, const LibraryCall *calls, size_t n, void *table, Error **errp);

#endif
