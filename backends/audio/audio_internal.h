/* SPDX-License-Identifier: MIT
 * backends/audio/audio_internal.h - between options.c (which back ends there are), voice.c (time, mixing),
 * convert.c and resample.c (samples) and the drivers. MAIN_LOOP but for the members of Voice that say
 * otherwise.
 */
#ifndef AUDIO_INTERNAL_H
#define AUDIO_INTERNAL_H

#include "rhea/backends/audio.h"

typedef struct Audiodev Audiodev;
typedef struct AudioStream AudioStream;

/* A driver has a stream for each direction. Samples are interleaved frames of AudioStream.settings. */
typedef struct AudioDriver {
    const char *name;
    bool out_only;                           /* nothing can be recorded: silence comes */
    bool (*init)(Audiodev *a, Error **errp); /* once, when the first device uses it; NULL: nothing to do */
    void (*fini)(Audiodev *a);
    /* settings, target: what is asked for; the driver may change both to what it has. */
    bool (*open)(AudioStream *s, Error **errp);
    void (*close)(AudioStream *s);
    /* It runs while a voice does and the machine runs. Off: what waits to be played stays, and goes on with
     * the next on; what was recorded is dropped. NULL: no matter. */
    void (*run)(AudioStream *s, bool on);
    /* Of a driver with a clock of its own: frames that were written and not played yet, or recorded and not
     * read. NULL: the machine's virtual time is its clock. */
    unsigned (*level)(AudioStream *s);
    void (*write)(AudioStream *s, const void *frames, unsigned n);
    unsigned (*read)(AudioStream *s, void *frames, unsigned n); /* how many there were */
} AudioDriver;
extern const AudioDriver audio_none, audio_wav, audio_sdl, audio_pa;

struct AudioStream {
    Audiodev *a;
    bool out;
    bool mixing, fixed; /* mixing-engine=, fixed-settings= */
    bool is_open, failed, told; /* failed: for `asked`; told: that it did */
    bool runs, ending;          /* a voice is active; none is any more, but what they played waits */
    bool moves;                 /* the driver was told to run */
    AudioSettings settings;     /* of the driver; not fixed: the voice's that ran first */
    AudioSettings asked;        /* not fixed: what the driver was asked for */
    unsigned target;        /* frames that are to wait in a driver with a clock of its own */
    uint64_t latency_us;    /* of the options, where target comes from */
    int64_t last_ns;        /* the last look */
    uint64_t part;                /* by the driver's clock: of a frame, in 1e-15 */
    bool primed;                  /* as much as `target` waited there once */
    Voice *only;                  /* without mixing: the one that is heard */
    uint64_t underruns, overruns; /* how often; the driver's side */
    uint64_t late_frames;         /* that were not asked for since the main loop came too late */
    void *state;                  /* the driver's */
};

struct Audiodev {
    Machine *m;
    char *id; /* "": what there is when no -audiodev is given */
    const AudioDriver *driver;
    AudiodevOptions options; /* undefined for drivers of tests */
    bool has_options;
    AudioStream out, in;
    GPtrArray *voices; /* Voice * */
    unsigned active;   /* atomic: voices that run or end */
    unsigned refs;     /* the list's, and the voices' */
    bool ready, closed;
    int64_t period_ns;
    Timer timer;
    MachineListener listener; /* while it is ready */
    uint8_t *raw; /* scratch, AUDIO_CHUNK of the largest frames each */
    float *wide, *narrow, *mix;
    void *state; /* the driver's */
};
enum { AUDIO_CHUNK = 2048 }; /* frames that are worked on at once */

/* For drivers of tests; id is copied. latency_us: of both directions. */
Audiodev *audiodev_new_driver(Machine *m, const char *id, const AudioDriver *driver, void *state,
                              const AudioSettings *s, uint64_t latency_us);
/* NULL or "": the first one, or one of driver none. NULL: *errp. The caller's reference. */
Audiodev *audiodev_get(Machine *m, const char *id, Error **errp);
void audiodev_unref(Audiodev *a);
void audio_stop(Audiodev *a);    /* voice.c: closes the streams; voices fall silent */
void audio_tick(void *audiodev); /* the timer's */

/* ---- convert.c ---- */
/* Of full scale 1. Numbers beyond and what is no number (f32) are brought into -1..1. */
void audio_to_float(float *to, const void *from, AudioFormat f, size_t samples);
void audio_from_float(void *to, const float *from, AudioFormat f, size_t samples);
/* More channels: mono goes to the first two, others have silence. Fewer: those that share one are averaged.
 */
void audio_map_channels(float *to, unsigned to_channels, const float *from, unsigned from_channels,
                        size_t frames);

/* ---- resample.c ---- */
/* Output frame n is at input time n * in / out exactly, however the frames were cut into pieces. */
typedef struct Resampler Resampler;
Resampler *resampler_new(uint32_t in_rate, uint32_t out_rate, unsigned channels);
void resampler_free(Resampler *r);                         /* NULL: no effect */
unsigned resampler_need(const Resampler *r, unsigned out); /* input frames that are missing for so many */
unsigned resampler_can(const Resampler *r, unsigned in);   /* output frames that `in` more would make */
void resampler_push(Resampler *r, const float *in, unsigned n); /* up to AUDIO_CHUNK; NULL: silence */
/* No more than there are (need is 0); NULL: nobody wants them. */
void resampler_pull(Resampler *r, float *out, unsigned n);
unsigned resampler_tail(const Resampler *r); /* input frames of silence until all that came in is out */

#endif
