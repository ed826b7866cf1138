/* SPDX-License-Identifier: MIT
 * hw/display/edid.c - what a monitor says about itself.
 * Models: VESA E-EDID 1.4 (release A, revision 2): the base block with a detailed timing for the preferred
 * mode, established and standard timings, limits and name; and a CTA-861 block with nothing but its head,
 * which says that there are no further ones. Does not model: DisplayID: the preferred mode has at most 4095 x
 * 4095 pixels, as 12 bits say. Threads: any; no state.
 */
#include "edid.h"

#include <string.h>

static void put16(uint8_t *p, unsigned v)
{
    p[0] = v;
    p[1] = v >> 8;
}

static void checksum(uint8_t *block)
{
    unsigned sum = 0;
    for (unsigned i = 0; i < EDID_BLOCK - 1; i++) {
        sum += block[i];
    }
    block[EDID_BLOCK - 1] = -sum;
}

/* 3.8: a bit for each mode of this list; 3.9: two bytes for each of up to eight others, widths of 256 to
 * 2288. */
typedef struct Mode {
    uint16_t width, height;
    uint8_t byte, bit; /* of the established timings; byte 0: a standard timing of aspect `bit` */
} Mode;
enum { ASPECT_16_10, ASPECT_4_3, ASPECT_5_4, ASPECT_16_9 };
static const Mode modes[] = {
    { 640, 480, 35, 5 },
    { 800, 600, 35, 0 },
    { 1024, 768, 36, 3 },
    { 2048, 1152, 0, ASPECT_16_9 },
    { 1920, 1200, 0, ASPECT_16_10 },
    { 1920, 1080, 0, ASPECT_16_9 },
    { 1600, 1200, 0, ASPECT_4_3 },
    { 1680, 1050, 0, ASPECT_16_10 },
    { 1440, 900, 0, ASPECT_16_10 },
    { 1280, 1024, 0, ASPECT_5_4 },
    { 1280, 960, 0, ASPECT_4_3 },
};

static void put_modes(uint8_t *d, const EdidInfo *info)
{
    unsigned at = 38;
    for (unsigned i = 0; i < G_N_ELEMENTS(modes); i++) {
        const Mode *m = &modes[i];
        if ((info->xmax && m->width > info->xmax) || (info->ymax && m->height > info->ymax)) {
            continue;
        }
        if (m->byte) {
            d[m->byte] |= 1 << m->bit;
        } else if (at < 54) {
            d[at++] = m->width / 8 - 31;
            d[at++] = (uint8_t)(m->bit << 6); /* at 60 Hz */
        }
    }
    while (at < 54) {
        d[at++] = 1; /* unused */
    }
}

/* 3.10.2. Blanking as of CVT's reduced blanking, wide enough for any width. */
static void put_timing(uint8_t *d, unsigned x, unsigned y, unsigned refresh, unsigned mm_x, unsigned mm_y)
{
    unsigned hblank = 160, vblank = 35, front = 48, sync = 32, vfront = 3, vsync = 6;
    uint64_t clock = (uint64_t)(x + hblank) * (y + vblank) * refresh / 1000 / 10000; /* units of 10 kHz */
    put16(d, (unsigned)MIN(clock, 0xffff));
    d[2] = x;
    d[3] = hblank;
    d[4] = x >> 8 << 4 | hblank >> 8;
    d[5] = y;
    d[6] = vblank;
    d[7] = y >> 8 << 4 | vblank >> 8;
    d[8] = front;
    d[9] = sync;
    d[10] = (vfront & 15) << 4 | (vsync & 15);
    d[11] = 0;
    d[12] = mm_x;
    d[13] = mm_y;
    d[14] = mm_x >> 8 << 4 | mm_y >> 8;
    d[17] = 0x18; /* digital, separate syncs */
}

/* 3.10.3: a descriptor of text or limits. */
static void put_text(uint8_t *d, uint8_t tag, const char *text)
{
    d[3] = tag;
    size_t n = strlen(text);
    for (unsigned i = 0; i < 13; i++) {
        d[5 + i] = i < n ? (uint8_t)text[i] : i == n ? '\n' : ' ';
    }
}

static void put_limits(uint8_t *d)
{
    static const uint8_t limits[] = { 0,   0, 0,    0xfd, 0,   50,  125, 30,  160,
                                      255, 1, '\n', ' ',  ' ', ' ', ' ', ' ', ' ' };
    memcpy(d, limits, sizeof(limits));
}

void edid_make(const EdidInfo *info, uint8_t out[EDID_SIZE])
{
    static const uint8_t head[8] = { 0, 255, 255, 255, 255, 255, 255, 0 };
    /* 3.7: sRGB's primaries and white point, ten bits each */
    static const uint8_t srgb[10] = { 0xee, 0x91, 0xa3, 0x54, 0x4c, 0x99, 0x26, 0x0f, 0x50, 0x54 };
    unsigned x = info->xres ? info->xres : 1280, y = info->yres ? info->yres : 800;
    unsigned refresh = info->refresh_rate ? info->refresh_rate : 75000;
    bool measured = info->width_mm && info->height_mm;
    unsigned mm_x = measured ? info->width_mm : x * 254 / 1000; /* else at 100 dots per inch */
    unsigned mm_y = measured ? info->height_mm : y * 254 / 1000;
    uint8_t *d = out;
    memset(out, 0, EDID_SIZE);
    memcpy(d, head, sizeof(head));
    unsigned vendor = ('R' - '@') << 10 | ('H' - '@') << 5 | ('E' - '@');
    d[8] = vendor >> 8;
    d[9] = vendor;
    put16(d + 10, 0x1234);
    d[16] = 42; /* week and year of manufacture */
    d[17] = 2014 - 1990;
    d[18] = 1; /* EDID 1.4 */
    d[19] = 4;
    d[20] = 0xa5; /* digital, 8 bits a colour, DisplayPort */
    d[21] = MIN(mm_x / 10, 255);
    d[22] = MIN(mm_y / 10, 255);
    d[23] = 220 - 100; /* gamma */
    d[24] = 0x06;      /* sRGB, the first detailed timing is preferred and native */
    memcpy(d + 25, srgb, sizeof(srgb));
    put_modes(d, info);
    put_timing(d + 54, x, y, refresh, mm_x, mm_y);
    put_limits(d + 72);
    put_text(d + 90, 0xfc, "Rhea Monitor");
    put_text(d + 108, 0xff, "0");
    d[126] = 1;
    checksum(d);
    uint8_t *cta = out + EDID_BLOCK;
    cta[0] = 2;
    cta[1] = 3;
    cta[2] = 4; /* detailed timings would begin here: none, no data blocks */
    checksum(cta);
}
