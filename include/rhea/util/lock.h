/* SPDX-License-Identifier: MIT
 * rhea/util/lock.h - locks for what is held for less than a wake-up takes.
 */
#ifndef RHEA_UTIL_LOCK_H
#define RHEA_UTIL_LOCK_H

#include <pthread.h>

/* Who finds it taken looks again for some microseconds before it sleeps: for locks that one thread holds for
 * a moment while it wakes another one that needs them at once (an interrupt to a sleeping vCPU). */
static inline void lock_init_adaptive(pthread_mutex_t *lock)
{
    pthread_mutexattr_t attr;
    pthread_mutexattr_init(&attr);
    pthread_mutexattr_settype(&attr, PTHREAD_MUTEX_ADAPTIVE_NP);
    pthread_mutex_init(lock, &attr);
    pthread_mutexattr_destroy(&attr);
}

#endif
