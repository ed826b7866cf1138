/* SPDX-License-Identifier: MIT
 * tests/device/ear.h - a sound card of the test's, on the machine's time: what devices play is kept, and
 * they record a ramp. The samples are s16. Main loop.
 */
#ifndef TESTS_DEVICE_EAR_H
#define TESTS_DEVICE_EAR_H

#include "backends/audio/audio_internal.h"

typedef struct Ear {
    GArray *heard; /* int16_t, interleaved */
    unsigned channels;
    uint16_t next; /* recorded: 1, -1 (on two channels), 2, -2 ... */
} Ear;

/* An audiodev with this id; audiodev_remove_all() ends it, then ear_free(). */
Ear *ear_new(Machine *m, const char *id, uint32_t rate, unsigned channels);
void ear_free(Ear *e);

#endif
