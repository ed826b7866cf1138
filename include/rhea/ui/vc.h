/* SPDX-License-Identifier: MIT
 * rhea/ui/vc.h - text consoles: terminals that front ends show beside graphics cards, for monitors and serial
 * lines. MAIN_LOOP.
 */
#ifndef RHEA_UI_VC_H
#define RHEA_UI_VC_H

#include "rhea/ui/console.h"

/* From now on the character device `vc` makes them. layout: asked when keys are first typed, for -k's name
 * (NULL: en-us). Once per process. */
void vc_register(const char *(*layout)(void));
/* Bytes for the program behind a terminal, as its keys would send; what has no room is lost. False: the
 * console is no terminal of ours. For front ends that read a terminal themselves. */
bool vc_feed(Console *c, const char *text, size_t len);

#endif
