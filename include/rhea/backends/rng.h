/* SPDX-License-Identifier: MIT
 * rhea/backends/rng.h - sources of random numbers for guests: -object rng-builtin and rng-random. MAIN_LOOP
 * unless said otherwise.
 */
#ifndef RHEA_BACKENDS_RNG_H
#define RHEA_BACKENDS_RNG_H

#include "rhea/system/machine.h"

typedef struct Rng Rng;

/* Of -object or object-add. False: *errp says why. */
bool rng_new_json(Machine *m, const Json *opts, bool from_text, Error **errp);
bool rng_exists(Machine *m, const char *id);
bool rng_remove(Machine *m, const char *id, Error **errp); /* not while a device uses it */
void rng_remove_all(Machine *m); /* those that devices claimed stay until these go */

/* In a device's realize: the source with this id, the device's until it goes; NULL: there is none, *errp. */
Rng *rng_claim(Device *dev, const char *id, Error **errp);
/* Bytes read into buf, fewer than len or none when the source has no more now; never waits. r == NULL: what
 * rng-builtin gives. Any thread. */
size_t rng_read(Machine *m, Rng *r, void *buf, size_t len);

#endif
