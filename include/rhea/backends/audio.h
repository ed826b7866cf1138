/* SPDX-License-Identifier: MIT
 * rhea/backends/audio.h - where sound goes and comes from: -audiodev, and the streams of devices. MAIN_LOOP
 * where nothing else is said.
 *
 * A device has a Voice for each stream. While it runs, the back end asks the device for frames (or gives it
 * some) in the device's domain, from the main loop, every timer-period of the machine's virtual time and as
 * many as that time takes at the stream's frequency: so no guest can make it wait, buffer or allocate, and a
 * guest that is stopped is silent. What several voices play is converted, mixed and handed to the driver.
 * Positions that a guest sees advance in the device's callback and nowhere else.
 */
#ifndef RHEA_BACKENDS_AUDIO_H
#define RHEA_BACKENDS_AUDIO_H

#include "rhea/system/machine.h"
#include "schema/audio.h"

/* Of -audiodev. False: *errp says why; drivers of QEMU's that are not here are named with the reason. */
bool audiodev_new_json(Machine *m, const Json *opts, bool from_text, Error **errp);
bool audiodev_exists(Machine *m, const char *id);
void audiodev_remove_all(Machine *m);
void audiodev_help(GString *out); /* the drivers */
/* The property of a device that plays or records. */
#define PROP_AUDIODEV(T, f) PROP_STR(T, f, "audiodev", NULL, "Audio back end; default: the first -audiodev")

/* ---- the device's side ---- */
enum { AUDIO_MAX_CHANNELS = 8, AUDIO_MIN_RATE = 1000, AUDIO_MAX_RATE = 384000 };
typedef struct AudioSettings { /* of a frame: one sample for each channel, interleaved, little-endian */
    uint32_t frequency;        /* frames a second */
    uint8_t channels;
    AudioFormat format;
} AudioSettings;
static inline unsigned audio_sample_size(AudioFormat f)
{
    return f == AUDIO_FORMAT_U8 || f == AUDIO_FORMAT_S8 ? 1
        : f == AUDIO_FORMAT_U16 || f == AUDIO_FORMAT_S16 ? 2 : 4;
}
static inline unsigned audio_frame_size(const AudioSettings *s)
{
    return s->channels * audio_sample_size(s->format);
}

typedef struct Voice Voice;
/* In the device's domain, on the main loop; NULL is the one of the other direction. Neither may free the
 * voice; both may set, run and stop it. */
typedef struct VoiceOps {
    /* Writes up to `frames` frames to buf and says how many; fewer: silence follows, and this is counted. */
    unsigned (*play)(void *opaque, void *buf, unsigned frames);
    /* `frames` frames were recorded. It says how many it took; the rest is dropped and counted. */
    unsigned (*record)(void *opaque, const void *buf, unsigned frames);
} VoiceOps;
/* In realize. audiodev: its property; NULL or "": the machine's first -audiodev, or one of driver none if
 * there is none. The direction is the op's that is there. NULL: *errp says that there is no such audiodev. */
Voice *voice_new(Device *dev, const char *audiodev, const char *name, const VoiceOps *ops, void *opaque,
                 Error **errp);
void voice_free(Voice *v); /* MAIN_LOOP, no domain held; NULL: no effect */
/* The rest is called in the device's domain, on any thread. */
/* A stopped voice's settings; false: out of range (see above), and they stay as they were. A voice that has
 * no settings cannot run. */
bool voice_set(Voice *v, const AudioSettings *s);
const AudioSettings *voice_settings(const Voice *v); /* frequency 0: none yet */
void voice_run(Voice *v, bool on);             /* repeated: no effect */
bool voice_runs(const Voice *v);
/* 0..255 for each of the first two channels (further ones: the louder one), linear in amplitude. */
void voice_volume(Voice *v, bool mute, uint8_t left, uint8_t right);
/* Virtual time up to which the device was asked (0: it is stopped): saved state. After a load
 * voice_run_from() takes the place of voice_run(v, true): a loaded copy goes on like the original. */
int64_t voice_time(const Voice *v);
void voice_run_from(Voice *v, int64_t ns);
/* A line for DeviceType.describe: settings, and counters of frames that were missing, dropped or late. */
void voice_describe(const Voice *v, GString *out, int indent);

#endif
