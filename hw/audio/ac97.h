/* SPDX-License-Identifier: MIT
 * hw/audio/ac97.h - between the controller (ac97.c) and the codec on its link (ac97-codec.c). In the device's
 * domain.
 */
#ifndef HW_AUDIO_AC97_H
#define HW_AUDIO_AC97_H

#include "rhea/backends/audio.h"

typedef enum Ac97Stream { AC97_PCM_IN, AC97_PCM_OUT, AC97_MIC_IN, AC97_STREAMS } Ac97Stream;
enum { AC97_CODEC_REGS = 64 };

typedef struct Ac97Codec {
    uint16_t reg[AC97_CODEC_REGS]; /* by offset / 2 */
} Ac97Codec;
void ac97_codec_reset(Ac97Codec *c);
uint16_t ac97_codec_read(const Ac97Codec *c, unsigned off);
void ac97_codec_write(Ac97Codec *c, unsigned off, uint16_t val);
bool ac97_codec_loaded(Ac97Codec *c); /* after a load; false: no guest can have brought it there */
uint32_t ac97_codec_rate(const Ac97Codec *c, Ac97Stream s);
/* As voice_volume() wants it. True: muted. */
bool ac97_codec_volume(const Ac97Codec *c, Ac97Stream s, uint8_t volume[2]);

#endif
