/* SPDX-License-Identifier: MIT
 * hw/audio/ac97-codec.c - the codec of an AC'97 link: mixer, rates, power.
 * Models:         Audio Codec '97 component specification 2.2, 6.3 (registers of a codec with variable rates
 * and a microphone of its own, five bits of volume); gains of master and PCM out; mutes. Does not model:
 * analogue inputs (their volumes are kept), amplification above 0 dB, tone, 3D, modem. Threads:        the
 * controller's domain.
 */
#include "hw/audio/ac97.h"

#include <math.h>
#include <string.h>

enum {
    R_RESET = 0x00,
    R_MASTER = 0x02,
    R_HEADPHONE = 0x04,
    R_MONO = 0x06,
    R_BEEP = 0x0a,
    R_PHONE = 0x0c,
    R_MIC = 0x0e,
    R_LINE = 0x10,
    R_CD = 0x12,
    R_VIDEO = 0x14,
    R_AUX = 0x16,
    R_PCM = 0x18,
    R_SELECT = 0x1a,
    R_GAIN = 0x1c,
    R_GAIN_MIC = 0x1e,
    R_POWER = 0x26,
    R_EXT_ID = 0x28,
    R_EXT = 0x2a,
    R_RATE_OUT = 0x2c,
    R_RATE_IN = 0x32,
    R_RATE_MIC = 0x34,
    R_VENDOR1 = 0x7c,
    R_VENDOR2 = 0x7e
};
enum { MUTE = 0x8000, EXT_VRA = 1, EXT_VRM = 8, EXT_REV_22 = 0x400, RATE_FIXED = 48000, RATE_LEAST = 8000 };
enum {
    POWER_READY = 0x0f,
    POWER_ADC = 0x0100,
    POWER_DAC = 0x0200,
    POWER_MIXER = 0x0400,
    POWER_ANALOG = 0x0800
};
#define VENDOR 0x83847600 /* SigmaTel STAC9700, as QEMU's: guests' drivers look for it */

/* What a register is after a reset, and the bits that can be written. */
static const struct {
    uint8_t off;
    uint16_t value, mask;
} codec_regs[] = {
    { R_MASTER, MUTE, 0x9f1f },
    { R_HEADPHONE, MUTE, 0x9f1f },
    { R_MONO, MUTE, 0x801f },
    { R_BEEP, 0, 0x801e },
    { R_PHONE, MUTE | 8, 0x801f },
    { R_MIC, MUTE | 8, 0x805f },
    { R_LINE, MUTE | 0x808, 0x9f1f },
    { R_CD, MUTE | 0x808, 0x9f1f },
    { R_VIDEO, MUTE | 0x808, 0x9f1f },
    { R_AUX, MUTE | 0x808, 0x9f1f },
    { R_PCM, MUTE | 0x808, 0x9f1f },
    { R_SELECT, 0, 0x0707 },
    { R_GAIN, MUTE, 0x8f0f },
    { R_GAIN_MIC, MUTE, 0x800f },
    { 0x20, 0, 0x0380 },
    { R_POWER, POWER_READY, 0xff00 },
    { R_EXT_ID, EXT_REV_22 | EXT_VRM | EXT_VRA, 0 },
    { R_EXT, 0, EXT_VRM | EXT_VRA },
    { R_RATE_OUT, RATE_FIXED, 0xffff },
    { R_RATE_IN, RATE_FIXED, 0xffff },
    { R_RATE_MIC, RATE_FIXED, 0xffff },
    { R_VENDOR1, VENDOR >> 16, 0 },
    { R_VENDOR2, VENDOR & 0xffff, 0 },
};

static uint16_t mask_of(unsigned off)
{
    for (unsigned i = 0; i < G_N_ELEMENTS(codec_regs); i++) {
        if (codec_regs[i].off == off) {
            return codec_regs[i].mask;
        }
    }
    return 0;
}

void ac97_codec_reset(Ac97Codec *c)
{
    memset(c, 0, sizeof(*c));
    for (unsigned i = 0; i < G_N_ELEMENTS(codec_regs); i++) {
        c->reg[codec_regs[i].off / 2] = codec_regs[i].value;
    }
}

uint16_t ac97_codec_read(const Ac97Codec *c, unsigned off)
{
    return off < 2 * AC97_CODEC_REGS ? c->reg[off / 2] : 0;
}

/* Power-down bits take what they name away from the ready bits below: ADC, DAC, mixer, reference. */
static uint16_t power(uint16_t val)
{
    uint16_t gone = (val & POWER_ADC ? 1 : 0) | (val & POWER_DAC ? 2 : 0) | (val & POWER_MIXER ? 4 : 0) |
                    (val & POWER_ANALOG ? 12 : 0);
    return (val & 0xff00) | (POWER_READY & ~gone);
}

/* 6.3.3: with five bits of volume the sixth means the lowest level. */
static uint16_t five_bits(uint16_t val)
{
    return val | (val & 0x20 ? 0x1f : 0) | (val & 0x2000 ? 0x1f00 : 0);
}

void ac97_codec_write(Ac97Codec *c, unsigned off, uint16_t val)
{
    uint16_t mask = mask_of(off), *r = &c->reg[off / 2 % AC97_CODEC_REGS];
    switch (off) {
    case R_RESET: ac97_codec_reset(c); break;
    case R_MASTER:
    case R_HEADPHONE:
    case R_MONO: *r = five_bits(val) & mask; break;
    case R_POWER: *r = power(val); break;
    case R_RATE_OUT:
    case R_RATE_IN:
    case R_RATE_MIC: /* "if a rate is not supported, the nearest is read back"; fixed until VRA or VRM */
        if (c->reg[R_EXT / 2] & (off == R_RATE_MIC ? EXT_VRM : EXT_VRA)) {
            *r = CLAMP(val, RATE_LEAST, RATE_FIXED);
        }
        break;
    case R_EXT:
        *r = val & mask;
        if (!(val & EXT_VRA)) {
            c->reg[R_RATE_OUT / 2] = c->reg[R_RATE_IN / 2] = RATE_FIXED;
        }
        if (!(val & EXT_VRM)) {
            c->reg[R_RATE_MIC / 2] = RATE_FIXED;
        }
        break;
    default:
        if (mask) {
            *r = val & mask;
        }
        break;
    }
}

bool ac97_codec_loaded(Ac97Codec *c)
{
    static const uint8_t rates[] = { R_RATE_OUT, R_RATE_IN, R_RATE_MIC };
    for (unsigned i = 0; i < G_N_ELEMENTS(rates); i++) {
        if (c->reg[rates[i] / 2] < RATE_LEAST || c->reg[rates[i] / 2] > RATE_FIXED) {
            return false;
        }
    }
    return true;
}

uint32_t ac97_codec_rate(const Ac97Codec *c, Ac97Stream s)
{
    return c->reg[(s == AC97_PCM_OUT ? R_RATE_OUT : s == AC97_PCM_IN ? R_RATE_IN : R_RATE_MIC) / 2];
}

/* Steps of 1.5 dB: master from 0 dB down, PCM from +12 dB down. */
static uint8_t level(unsigned master, unsigned pcm)
{
    double db = 12 - 1.5 * (master + pcm);
    return db >= 0 ? 255 : lrint(255 * pow(10, db / 20));
}

bool ac97_codec_volume(const Ac97Codec *c, Ac97Stream s, uint8_t volume[2])
{
    uint16_t master = c->reg[R_MASTER / 2], pcm = c->reg[R_PCM / 2], on = c->reg[R_POWER / 2];
    volume[0] = volume[1] = 255;
    if (s != AC97_PCM_OUT) {
        return (on & POWER_ADC) || (c->reg[(s == AC97_PCM_IN ? R_GAIN : R_GAIN_MIC) / 2] & MUTE);
    }
    volume[0] = level(master >> 8 & 0x1f, pcm >> 8 & 0x1f);
    volume[1] = level(master & 0x1f, pcm & 0x1f);
    return (on & (POWER_DAC | POWER_MIXER | POWER_ANALOG)) || ((master | pcm) & MUTE);
}
