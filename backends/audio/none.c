/* SPDX-License-Identifier: MIT
 * backends/audio/none.c - the driver of no sound: what is played is consumed in time, what is recorded is
 * silence. Threads: main loop.
 */
#include "backends/audio/audio_internal.h"

static bool none_open(AudioStream *s G_GNUC_UNUSED, Error **errp G_GNUC_UNUSED)
{
    return true;
}

static void none_close(AudioStream *s G_GNUC_UNUSED) {}

const AudioDriver audio_none = { .name = "none", .out_only = true, .open = none_open, .close = none_close };
