/* SPDX-License-Identifier: MIT
 * ui/consoles.h - the list of a machine's consoles: what ui/console.c and ui/consoles.c tell each other.
 */
#ifndef UI_CONSOLES_H
#define UI_CONSOLES_H

#include "rhea/ui/console.h"

void consoles_add(Machine *m, Console *c);
void consoles_remove(Machine *m, Console *c);
Machine *console_machine(const Console *c);

#endif
