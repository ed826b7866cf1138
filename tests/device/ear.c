/* SPDX-License-Identifier: MIT
 * tests/device/ear.c - see ear.h.
 */
#include "tests/device/ear.h"

static bool ear_open(AudioStream *s G_GNUC_UNUSED, Error **errp G_GNUC_UNUSED)
{
    return true;
}

static void ear_close(AudioStream *s G_GNUC_UNUSED) {}

static void ear_write(AudioStream *s, const void *frames, unsigned n)
{
    Ear *e = s->a->state;
    g_array_append_vals(e->heard, frames, n * e->channels);
}

static unsigned ear_read(AudioStream *s, void *frames, unsigned n)
{
    Ear *e = s->a->state;
    int16_t *f = frames;
    for (unsigned i = 0; i < n; i++) {
        int16_t v = (int16_t)++e->next;
        for (unsigned c = 0; c < e->channels; c++) {
            *f++ = c & 1 ? -v : v;
        }
    }
    return n;
}

static const AudioDriver ear_driver = {
    .name = "ear",
    .open = ear_open,
    .close = ear_close,
    .write = ear_write,
    .read = ear_read,
};

Ear *ear_new(Machine *m, const char *id, uint32_t rate, unsigned channels)
{
    Ear *e = g_new0(Ear, 1);
    *e = (Ear){ .heard = g_array_new(FALSE, FALSE, sizeof(int16_t)), .channels = channels };
    AudioSettings s = { rate, channels, AUDIO_FORMAT_S16 };
    audiodev_new_driver(m, id, &ear_driver, e, &s, 0);
    return e;
}

void ear_free(Ear *e)
{
    g_array_free(e->heard, TRUE);
    g_free(e);
}
