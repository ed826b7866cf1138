/* SPDX-License-Identifier: MIT
 * rhea/backends/secret.h - passwords and keys by name: -object secret. MAIN_LOOP.
 */
#ifndef RHEA_BACKENDS_SECRET_H
#define RHEA_BACKENDS_SECRET_H

#include "rhea/system/machine.h"

/* Of -object or object-add. Reads the file at once. False: *errp says why, and never what the secret is. */
bool secret_new_json(Machine *m, const Json *opts, bool from_text, Error **errp);
bool secret_exists(Machine *m, const char *id);
bool secret_remove(Machine *m, const char *id, Error **errp); /* whoever used it has a copy */
void secret_remove_all(Machine *m);

/* The bytes behind an id; NULL: there is no such secret, *errp. Theirs is the caller's reference, with which
 * they go (and are overwritten). */
GBytes *secret_lookup(Machine *m, const char *id, Error **errp);

#endif
