/* SPDX-License-Identifier: MIT
 * system/random.c - random numbers that guests see: the host's, or a repeatable sequence from -seed.
 * Models: nothing; the generator is SplitMix64, which passes statistical tests but is no secret.
 * Threads: any.
 */
#include "rhea/system/machine.h"
#include <sys/random.h>

/* One step of SplitMix64: the state moves by a constant, atomically, so that no lock is needed. */
static uint64_t random_next(uint64_t *state)
{
    uint64_t z = __atomic_add_fetch(state, UINT64_C(0x9e3779b97f4a7c15), __ATOMIC_RELAXED);
    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return z ^ z >> 31;
}

bool machine_random(Machine *m, uint64_t *out)
{
    if (m->seeded) {
        *out = random_next(&m->seed);
        return true;
    }
    return getrandom(out, sizeof(*out), GRND_NONBLOCK) == sizeof(*out);
}
