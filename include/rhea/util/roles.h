/* SPDX-License-Identifier: MIT
 * rhea/util/roles.h - thread-safety annotations and thread roles.
 *
 * A lock belongs to data, a role belongs to a thread. Locks are checked by clang's thread-safety
 * analysis (TSA_* below). Roles are checked at run time: the analysis cannot see through function
 * pointers, and nearly all role-bound functions are reached through one (docs/devel/threads.md).
 */
#ifndef RHEA_UTIL_ROLES_H
#define RHEA_UTIL_ROLES_H

#include <glib.h>
#include <stdbool.h>

#if defined(__clang__)
#define TSA(x) __attribute__((x))
#else
#define TSA(x)
#endif
#define TSA_CAPABILITY(name) TSA(capability(name))
#define TSA_ACQUIRE(...)     TSA(acquire_capability(__VA_ARGS__))
#define TSA_RELEASE(...)     TSA(release_capability(__VA_ARGS__))
#define TSA_REQUIRES(...)    TSA(requires_capability(__VA_ARGS__))
#define TSA_EXCLUDES(...)    TSA(locks_excluded(__VA_ARGS__))
#define TSA_NO_ANALYSIS      TSA(no_thread_safety_analysis)

/* Written behind a prototype: may be called only on the main-loop thread, the one thread that edits
 * configuration, the device tree and graphs. The function asserts it with role_assert_main(). */
#define MAIN_LOOP

/* Makes the calling thread the holder of the main role (main(), and each test's main()). */
void role_become_main(void);
bool role_is_main(void);
#define role_assert_main() g_assert(role_is_main())

#endif
