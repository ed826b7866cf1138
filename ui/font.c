/* SPDX-License-Identifier: MIT
 * ui/font.c - the font of PCs, out of the video BIOS's file.
 *
 * Models: code page 437. The font is where some glyphs are what their characters are by definition: blanks,
 * blocks, and halves of blocks. Threads: font_find() is the main loop's. Tests: tests/unit/ui/test-screen.c.
 */
#include "rhea/ui/font.h"
#include "rhea/util/errorcode.h"

#include <string.h>

/* Code page 437, the pictures of control characters too. */
const uint16_t font_cp437[256] = {
    0x0020, 0x263a, 0x263b, 0x2665, 0x2666, 0x2663, 0x2660, 0x2022, 0x25d8, 0x25cb, 0x25d9, 0x2642, 0x2640,
    0x266a, 0x266b, 0x263c, 0x25ba, 0x25c4, 0x2195, 0x203c, 0x00b6, 0x00a7, 0x25ac, 0x21a8, 0x2191, 0x2193,
    0x2192, 0x2190, 0x221f, 0x2194, 0x25b2, 0x25bc, 0x0020, 0x0021, 0x0022, 0x0023, 0x0024, 0x0025, 0x0026,
    0x0027, 0x0028, 0x0029, 0x002a, 0x002b, 0x002c, 0x002d, 0x002e, 0x002f, 0x0030, 0x0031, 0x0032, 0x0033,
    0x0034, 0x0035, 0x0036, 0x0037, 0x0038, 0x0039, 0x003a, 0x003b, 0x003c, 0x003d, 0x003e, 0x003f, 0x0040,
    0x0041, 0x0042, 0x0043, 0x0044, 0x0045, 0x0046, 0x0047, 0x0048, 0x0049, 0x004a, 0x004b, 0x004c, 0x004d,
    0x004e, 0x004f, 0x0050, 0x0051, 0x0052, 0x0053, 0x0054, 0x0055, 0x0056, 0x0057, 0x0058, 0x0059, 0x005a,
    0x005b, 0x005c, 0x005d, 0x005e, 0x005f, 0x0060, 0x0061, 0x0062, 0x0063, 0x0064, 0x0065, 0x0066, 0x0067,
    0x0068, 0x0069, 0x006a, 0x006b, 0x006c, 0x006d, 0x006e, 0x006f, 0x0070, 0x0071, 0x0072, 0x0073, 0x0074,
    0x0075, 0x0076, 0x0077, 0x0078, 0x0079, 0x007a, 0x007b, 0x007c, 0x007d, 0x007e, 0x2302, 0x00c7, 0x00fc,
    0x00e9, 0x00e2, 0x00e4, 0x00e0, 0x00e5, 0x00e7, 0x00ea, 0x00eb, 0x00e8, 0x00ef, 0x00ee, 0x00ec, 0x00c4,
    0x00c5, 0x00c9, 0x00e6, 0x00c6, 0x00f4, 0x00f6, 0x00f2, 0x00fb, 0x00f9, 0x00ff, 0x00d6, 0x00dc, 0x00a2,
    0x00a3, 0x00a5, 0x20a7, 0x0192, 0x00e1, 0x00ed, 0x00f3, 0x00fa, 0x00f1, 0x00d1, 0x00aa, 0x00ba, 0x00bf,
    0x2310, 0x00ac, 0x00bd, 0x00bc, 0x00a1, 0x00ab, 0x00bb, 0x2591, 0x2592, 0x2593, 0x2502, 0x2524, 0x2561,
    0x2562, 0x2556, 0x2555, 0x2563, 0x2551, 0x2557, 0x255d, 0x255c, 0x255b, 0x2510, 0x2514, 0x2534, 0x252c,
    0x251c, 0x2500, 0x253c, 0x255e, 0x255f, 0x255a, 0x2554, 0x2569, 0x2566, 0x2560, 0x2550, 0x256c, 0x2567,
    0x2568, 0x2564, 0x2565, 0x2559, 0x2558, 0x2552, 0x2553, 0x256b, 0x256a, 0x2518, 0x250c, 0x2588, 0x2584,
    0x258c, 0x2590, 0x2580, 0x03b1, 0x00df, 0x0393, 0x03c0, 0x03a3, 0x03c3, 0x00b5, 0x03c4, 0x03a6, 0x0398,
    0x03a9, 0x03b4, 0x221e, 0x03c6, 0x03b5, 0x2229, 0x2261, 0x00b1, 0x2265, 0x2264, 0x2320, 0x2321, 0x00f7,
    0x2248, 0x00b0, 0x2219, 0x00b7, 0x221a, 0x207f, 0x00b2, 0x25a0, 0x00a0,
};

static bool filled(const uint8_t *glyph, unsigned from, unsigned to, uint8_t with)
{
    for (unsigned i = from; i < to; i++) {
        if (glyph[i] != with) {
            return false;
        }
    }
    return true;
}

static bool is_font(const uint8_t *f)
{
    enum { BLANK = 0x20, BLOCK = 0xdb, LEFT = 0xdd, RIGHT = 0xde };
    return filled(f, 0, FONT_HEIGHT, 0) && filled(f + BLANK * FONT_HEIGHT, 0, FONT_HEIGHT, 0) &&
           filled(f + BLOCK * FONT_HEIGHT, 0, FONT_HEIGHT, 0xff) &&
           filled(f + LEFT * FONT_HEIGHT, 0, FONT_HEIGHT, 0xf0) &&
           filled(f + RIGHT * FONT_HEIGHT, 0, FONT_HEIGHT, 0x0f) &&
           filled(f + (size_t)255 * FONT_HEIGHT, 0, FONT_HEIGHT, 0);
}

bool font_search(const uint8_t *data, size_t len, Font *out)
{
    for (size_t i = 0; i + sizeof(*out) <= len; i++) {
        if (is_font(data + i)) {
            memcpy(out, data + i, sizeof(*out));
            return true;
        }
    }
    return false;
}

const Font *font_find(Machine *m, Error **errp)
{
    enum { LARGEST = 1 << 20 };
    static Font font;
    static bool found;
    role_assert_main();
    if (found) {
        return &font;
    }
    g_autofree char *path = machine_find_firmware(m, "vgabios-stdvga.bin", errp), *data = NULL;
    gsize len = 0;
    g_autoptr(GError) why = NULL;
    if (!path) {
        return NULL;
    }
    if (!g_file_get_contents(path, &data, &len, &why)) {
        error_fail(errp, "io-error", NULL, NULL, "the font of '%s' cannot be read: %s", path, why->message);
        return NULL;
    }
    found = font_search((const uint8_t *)data, MIN(len, (gsize)LARGEST), &font);
    if (!found) {
        error_fail(errp, "invalid-value", NULL, "take the one of Debian's package 'seabios'",
                   "there is no font of 8 x 16 dots in '%s'", path);
        return NULL;
    }
    return &font;
}

/* The glyph of exactly this character, or -1. */
static int exact(uint32_t unicode)
{
    static uint8_t latin[256]; /* what U+0080 to U+00FF are, 0: nothing; filled once, always with the same */
    static gsize once;
    if (unicode >= 0x20 && unicode < 0x7f) {
        return (int)unicode;
    }
    if (g_once_init_enter(&once)) {
        for (unsigned i = 0x80; i < FONT_GLYPHS; i++) {
            if (font_cp437[i] < 256) {
                latin[font_cp437[i]] = (uint8_t)i;
            }
        }
        g_once_init_leave(&once, 1);
    }
    if (unicode < 256 && latin[unicode]) {
        return latin[unicode];
    }
    for (unsigned i = 1; unicode >= 0xa0 && i < FONT_GLYPHS; i++) {
        if (font_cp437[i] == unicode) {
            return (int)i;
        }
    }
    return -1;
}

uint8_t font_glyph(uint32_t unicode)
{
    enum { DOTS = 0xb1 };
    static const struct {
        uint16_t unicode;
        char as;
    } like[] = { { 0x2018, '\'' }, { 0x2019, '\'' }, { 0x201c, '"' }, { 0x201d, '"' }, { 0x2010, '-' },
                 { 0x2011, '-' },  { 0x2012, '-' },  { 0x2013, '-' }, { 0x2014, '-' }, { 0x2212, '-' },
                 { 0x2026, '.' },  { 0x250f, '+' },  { 0x2513, '+' }, { 0x2517, '+' }, { 0x251b, '+' },
                 { 0x00d7, 'x' },  { 0x00b4, '\'' } };
    int glyph = exact(unicode);
    for (size_t i = 0; glyph < 0 && i < G_N_ELEMENTS(like); i++) {
        glyph = like[i].unicode == unicode ? like[i].as : -1;
    }
    gunichar base, mark;
    for (gunichar c = unicode; glyph < 0 && g_unichar_decompose(c, &base, &mark); c = base) {
        glyph = exact(base); /* without its accents */
    }
    return glyph < 0 ? DOTS : (uint8_t)glyph;
}
