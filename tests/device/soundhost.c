/* SPDX-License-Identifier: MIT
 * tests/device/soundhost.c - see soundhost.h.
 */
#include "tests/device/soundhost.h"

#include <stdlib.h>

static bool host_stream_open(AudioStream *s G_GNUC_UNUSED, Error **errp G_GNUC_UNUSED)
{
    return true;
}

static void host_stream_close(AudioStream *s G_GNUC_UNUSED)
{
}

static void host_write(AudioStream *s, const void *frames, unsigned n)
{
    SoundHost *h = s->a->state;
    if (h->heard->len < 1 << 20) { /* a storm plays for a long time */
        g_array_append_vals(h->heard, frames, 2 * n);
    }
}

static unsigned host_read(AudioStream *s, void *frames, unsigned n)
{
    SoundHost *h = s->a->state;
    int16_t *p = frames;
    for (unsigned i = 0; i < n; i++) {
        h->sent++;
        p[2 * i] = (int16_t)h->sent;
        p[2 * i + 1] = (int16_t)~h->sent;
    }
    return n;
}

void soundhost_open(SoundHost *h, Machine *m, uint32_t rate)
{
    static const AudioDriver driver = { .name = "test",
                                        .open = host_stream_open,
                                        .close = host_stream_close,
                                        .write = host_write,
                                        .read = host_read };
    AudioSettings s = { .frequency = rate, .channels = 2, .format = AUDIO_FORMAT_S16 };
    *h = (SoundHost){ .heard = g_array_new(FALSE, FALSE, sizeof(int16_t)) };
    audiodev_new_driver(m, "host", &driver, h, &s, 0);
}

void soundhost_close(SoundHost *h, Machine *m)
{
    audiodev_remove_all(m);
    g_array_unref(h->heard);
}

GArray *soundhost_take(SoundHost *h)
{
    const int16_t *p = (const int16_t *)h->heard->data;
    unsigned i = 0;
    while (i + 1 < h->heard->len && !p[i] && !p[i + 1]) {
        i += 2;
    }
    GArray *out = g_array_new(FALSE, FALSE, sizeof(int16_t));
    g_array_append_vals(out, p + i, h->heard->len - i);
    g_array_set_size(h->heard, 0);
    return out;
}

unsigned soundhost_cases(unsigned usual)
{
    const char *text = getenv("RHEA_SOUND_CASES");
    return text ? (unsigned)strtoul(text, NULL, 10) : usual;
}
