/* SPDX-License-Identifier: MIT
 * tests/device/soundhost.h - an audio back end of the test's: it keeps what devices play, 16 bits, two
 * channels, and they record a ramp.
 */
#ifndef TESTS_DEVICE_SOUNDHOST_H
#define TESTS_DEVICE_SOUNDHOST_H

#include "backends/audio/audio_internal.h"

typedef struct SoundHost {
    GArray *heard;   /* int16_t, left and right */
    uint32_t sent;   /* frames that were recorded: the n-th is n + 1 left, and its complement right */
} SoundHost;

/* The machine's first -audiodev, "host". */
void soundhost_open(SoundHost *h, Machine *m, uint32_t rate);
void soundhost_close(SoundHost *h, Machine *m); /* before the machine goes */
/* Frames of heard from the first one that is not silent on, which are taken out; g_array_unref(). */
GArray *soundhost_take(SoundHost *h);
unsigned soundhost_cases(unsigned usual); /* RHEA_SOUND_CASES */

#endif
