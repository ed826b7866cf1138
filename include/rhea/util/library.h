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

typedef struct Library {
    const char *file;          /* "libpulse.so.0" */
    const char *what;          /* who needs it, an error's first words: "driver 'pa' needs libpulse" */
    const char *member, *cure; /* the error's member, or NULL, and its hint */
    const LibraryCall *calls;  /* n of them */
    size_t n;
} Library;

/* Any thread; the caller sees to it that nobody uses the table meanwhile. True: the calls are in the table,
 * and the library stays for good. False: the table is as it was; *errp, file-not-found, says what is not
 * there. */
bool library_load(const Library *lib, void *table, Error **errp);

#endif
