/* SPDX-License-Identifier: MIT
 * rhea/backends/audio.h - where sound goes, by name: -audiodev. MAIN_LOOP.
 */
#ifndef RHEA_BACKENDS_AUDIO_H
#define RHEA_BACKENDS_AUDIO_H

#include "rhea/system/machine.h"

/* Of -audiodev. False: *errp says why; drivers of QEMU's that are not here are named with the reason. */
bool audiodev_new_json(Machine *m, const Json *opts, bool from_text, Error **errp);
bool audiodev_exists(Machine *m, const char *id);
void audiodev_remove_all(Machine *m);
void audiodev_help(GString *out); /* the drivers */

#endif
