/* SPDX-License-Identifier: MIT
 * backends/audio/wav.c - the driver that writes a WAV file.
 *
 * Models: RIFF WAVE, "Multimedia Programming Interface and Data Specifications 1.0": PCM of 8 bits
 * (unsigned), 16 and 32 bits (signed), and IEEE floats (format 3). Formats that it does not have become the
 * nearest. As QEMU, what is written is the time in which a device plays; the sizes in the header follow each
 *         write, so that the file is one at any moment, also of a program that was killed.
 * Does not model: recording (silence comes); files beyond 4 GiB, which the sizes cannot say.
 * Threads: main loop.
 */
#include "backends/audio/audio_internal.h"
#include "rhea/util/errorcode.h"
#include "rhea/util/fdset.h"
#include "rhea/util/log.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/*
 *  0 "RIFF"  4 bytes behind here   8 "WAVE"
 * 12 "fmt "  16: 16                20: format 1 PCM, 3 float; 22: channels; 24: frames a second
 *                                  28: bytes a second; 32: bytes a frame; 34: bits a sample
 * 36 "data"  40: bytes behind here 44: frames
 */
enum { HEADER = 44, RIFF_SIZE = 4, DATA_SIZE = 40, WAVE_PCM = 1, WAVE_FLOAT = 3 };

typedef struct Wav {
    int fd;
    uint64_t bytes; /* of frames */
    bool full;      /* no more can be written; this was said */
} Wav;

static bool wav_init(Audiodev *a, Error **errp)
{
    const char *path = a->options.u.wav.path;
    const int flags = O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOCTTY | O_NONBLOCK;
    int fd = fdset_open(path, flags, 0666);
    struct stat st;
    if (fd < 0) {
        int err = errno;
        error_set_errno(errp, err, "cannot write '%s'", path);
        error_hint(errp, "path= names the WAV file");
        fdset_hint(path, flags, err, errp);
        return false;
    }
    if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode)) {
        fdset_close(fd);
        return error_fail(errp, "invalid-value", "path", "name a regular file",
                          "'%s' is not a file: the sizes in its header are written later", path);
    }
    Wav *w = g_new0(Wav, 1);
    w->fd = fd;
    a->state = w;
    return true;
}

static void wav_fini(Audiodev *a)
{
    Wav *w = a->state;
    fdset_close(w->fd);
    g_free(w);
}

/* False: it was said why not, and nothing is written any more. */
static bool wav_put(Audiodev *a, const void *buf, size_t len, uint64_t at)
{
    Wav *w = a->state;
    for (size_t done = 0; done < len && !w->full;) {
        ssize_t n = pwrite(w->fd, (const char *)buf + done, len - done, at + done);
        if (n == 0 || (n < 0 && errno != EINTR)) {
            log_warn("audiodev '%s': cannot write '%s': %s; the rest is not recorded", a->id,
                     a->options.u.wav.path, g_strerror(n ? errno : ENOSPC));
            w->full = true;
        }
        done += MAX(n, 0);
    }
    return !w->full;
}

static void put_le(uint8_t *p, unsigned bytes, uint32_t v)
{
    for (unsigned i = 0; i < bytes; i++) {
        p[i] = v >> 8 * i;
    }
}

static void wav_put_sizes(Audiodev *a)
{
    const Wav *w = a->state;
    uint8_t size[4];
    put_le(size, 4, w->bytes);
    if (wav_put(a, size, 4, DATA_SIZE)) {
        put_le(size, 4, HEADER - 8 + w->bytes);
        wav_put(a, size, 4, RIFF_SIZE);
    }
}

static bool wav_open(AudioStream *s, Error **errp)
{
    static const AudioFormat nearest[] = {
        [AUDIO_FORMAT_U8] = AUDIO_FORMAT_U8,   [AUDIO_FORMAT_S8] = AUDIO_FORMAT_U8,
        [AUDIO_FORMAT_U16] = AUDIO_FORMAT_S16, [AUDIO_FORMAT_S16] = AUDIO_FORMAT_S16,
        [AUDIO_FORMAT_U32] = AUDIO_FORMAT_S32, [AUDIO_FORMAT_S32] = AUDIO_FORMAT_S32,
        [AUDIO_FORMAT_F32] = AUDIO_FORMAT_F32,
    };
    AudioSettings *set = &s->settings;
    set->format = nearest[set->format];
    unsigned size = audio_frame_size(set);
    uint8_t h[HEADER] = "RIFF....WAVEfmt ";
    put_le(h + RIFF_SIZE, 4, HEADER - 8);
    put_le(h + 16, 4, 16);
    put_le(h + 20, 2, set->format == AUDIO_FORMAT_F32 ? WAVE_FLOAT : WAVE_PCM);
    put_le(h + 22, 2, set->channels);
    put_le(h + 24, 4, set->frequency);
    put_le(h + 28, 4, set->frequency * size);
    put_le(h + 32, 2, size);
    put_le(h + 34, 2, 8 * audio_sample_size(set->format));
    memcpy(h + 36, "data", 4);
    put_le(h + DATA_SIZE, 4, 0);
    return wav_put(s->a, h, HEADER, 0) || error_set(errp, "cannot write '%s'", s->a->options.u.wav.path);
}

static void wav_close(AudioStream *s G_GNUC_UNUSED) {}

static void wav_write(AudioStream *s, const void *frames, unsigned n)
{
    Audiodev *a = s->a;
    Wav *w = a->state;
    size_t len = (size_t)n * audio_frame_size(&s->settings);
    if (!w->full && w->bytes + len > UINT32_MAX - HEADER) {
        log_warn("audiodev '%s': '%s' is as long as a WAV file can be; the rest is not recorded", a->id,
                 a->options.u.wav.path);
        w->full = true;
    }
    if (!w->full && wav_put(a, frames, len, HEADER + w->bytes)) {
        w->bytes += len;
        wav_put_sizes(a);
    }
}

const AudioDriver audio_wav = {
    .name = "wav",
    .out_only = true,
    .init = wav_init,
    .fini = wav_fini,
    .open = wav_open,
    .close = wav_close,
    .write = wav_write,
};
