/* SPDX-License-Identifier: MIT
 * rhea/ui/font.h - the font of PCs: 256 characters of 8 x 16 dots in the order of code page 437.
 *
 * The glyphs are those of the video BIOS's file (SeaBIOS's package), found there by what code page 437 says
 * of some of them: nothing of them is written here. Terminals of ours are drawn with them. Text in guests'
 * graphics is recognised by them (Linux's own font is of the same family), and by fonts that guests load
 * themselves (PSF).
 */
#ifndef RHEA_UI_FONT_H
#define RHEA_UI_FONT_H

#include "rhea/system/machine.h"

enum { FONT_WIDTH = 8, FONT_HEIGHT = 16, FONT_GLYPHS = 256 };
typedef struct Font {
    uint8_t glyph[FONT_GLYPHS][FONT_HEIGHT]; /* a byte a line; its highest bit is the leftmost dot */
} Font;

/* What each glyph means, the pictures of control characters too. */
extern const uint16_t font_cp437[FONT_GLYPHS];
/* Loaded once in a process, which keeps it. NULL: no file, or no font in it; *errp. MAIN_LOOP. */
const Font *font_find(Machine *m, Error **errp);
/* In the contents of a file; false: none is there. Any thread. */
bool font_search(const uint8_t *data, size_t len, Font *out);
/* The glyph that shows a character; one that looks alike where there is none (e for U+00EA's relatives), a
 * block of dots for what nothing looks like. Any thread. */
uint8_t font_glyph(uint32_t unicode);

/* Glyphs by which text is recognised. */
typedef struct FontSet FontSet;
/* Those of the PSF file (perhaps compressed by gzip), of 8 x 16 dots, before the BIOS's. file NULL: only
 * these. NULL: *errp. MAIN_LOOP. */
FontSet *font_set_new(Machine *m, const char *file, Error **errp);
void font_set_free(FontSet *s);
FontSet *font_set_new_empty(void);
/* PSF 1 or 2 in memory. */
bool font_set_add_psf(FontSet *s, const uint8_t *data, size_t len, Error **errp);
void font_set_add(FontSet *s, const Font *font);
/* What 8 x 16 dots or their inverse mean: one of the glyphs, or one that is very like it. U+FFFD: nothing. */
uint32_t font_set_find(FontSet *s, const uint8_t bits[FONT_HEIGHT]);

#endif
