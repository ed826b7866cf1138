/* SPDX-License-Identifier: MIT
 * rhea/util/fdset.h - sets of descriptors that others handed to this process, by number: where a file is
 * named, /dev/fdset/N means a copy of the descriptor of set N whose access fits.
 * MAIN_LOOP. Process-wide by design, as descriptors are.
 */
#ifndef RHEA_UTIL_FDSET_H
#define RHEA_UTIL_FDSET_H

#include "rhea/util/error.h"
#include <stdint.h>
#include <sys/types.h>

typedef struct FdsetEntry {
    uint64_t set;
    int fd;
    char *opaque; /* the giver's text, may be NULL */
} FdsetEntry;

bool fdset_add(uint64_t set, int fd, const char *opaque, Error **errp); /* takes fd, in any case */
uint64_t fdset_unused(void);                                            /* the lowest free number */
/* fd: -1: all of the set. What was opened before stays open. */
bool fdset_remove(uint64_t set, int fd, Error **errp);
void fdset_foreach(void (*fn)(const FdsetEntry *e, void *opaque), void *opaque); /* by set */
void fdset_clear(void);                                                          /* all sets, at the end */

bool fdset_is_path(const char *path); /* /dev/fdset/... */
/* open(2), for which /dev/fdset/N is the set: a copy of the first descriptor whose access is that of `flags`.
 * O_APPEND and O_DIRECT become what `flags` say (for the giver, too), O_TRUNC of a file is obeyed.
 * ENOENT: there is no such set; EACCES: none of its descriptors has the access. */
int fdset_open(const char *path, int flags, mode_t mode);
int fdset_close(int fd); /* close(2), for what fdset_open() gave */
/* After fdset_open() failed with `err`: a hint that says what the set lacks, if `path` is one's. */
void fdset_hint(const char *path, int flags, int err, Error **errp);

/* Clients that can refer to sets: monitors with somebody at the far end. When the last one goes while the
 * machine runs, sets that nobody has open go as well; those that are open do when the last copy is closed. */
void fdset_client_came(void);
void fdset_client_gone(bool running);

#endif
