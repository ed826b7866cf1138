/* SPDX-License-Identifier: MIT
 * util/roles.c - which thread is the main-loop thread.
 */
#include "rhea/util/roles.h"

static __thread bool is_main;

void role_become_main(void)
{
    is_main = true;
}

bool role_is_main(void)
{
    return is_main;
}
