/* SPDX-License-Identifier: MIT
 * rhea/util/rcu.h - publication of immutable data to lock-free readers.
 *
 * A reader brackets its use of published pointers with rcu_read_lock/unlock (nestable, wait-free).
 * A writer replaces the pointer with rcu_publish() and hands the old object to rcu_defer(), which frees
 * it when every reader that could have seen it has left. Threads register once (rcu_register_thread);
 * vCPU threads stay inside a read section while they run guest code and leave it at every exit.
 */
#ifndef RHEA_UTIL_RCU_H
#define RHEA_UTIL_RCU_H

#include <glib.h>

void rcu_register_thread(void);   /* idempotent */
void rcu_unregister_thread(void);
void rcu_read_lock(void);
void rcu_read_unlock(void);
/* Announces a quiescent state inside a read section: like unlock+lock at nesting depth one. */
void rcu_quiescent(void);

#define rcu_publish(ptr, val) __atomic_store_n((ptr), (val), __ATOMIC_RELEASE)
#define rcu_get(ptr)          __atomic_load_n((ptr), __ATOMIC_ACQUIRE)

/* Calls fn(opaque) on the reclaiming thread (any one) after a grace period. Any thread, never blocks. */
void rcu_defer(void (*fn)(void *opaque), void *opaque);
/* Waits until everything deferred so far has been called. Not inside a read section, no locks held. */
void rcu_barrier(void);

#endif
