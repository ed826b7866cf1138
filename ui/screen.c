/* SPDX-License-Identifier: MIT
 * ui/screen.c - what is on a screen: characters, and sums over pixels.
 *
 * In graphics a cell of 8 x 16 pixels with two colours is a glyph of a font or its inverse (ui/font-set.c),
 * and others are no characters. Threads: main loop. Tests: tests/unit/ui/test-screen.c,
 * tests/func/installer_screens.py. */
#include "rhea/ui/screen.h"

#include <string.h>

enum { UNKNOWN = 0xfffd, MAX_COLUMNS = 2048, MAX_ROWS = 1024 };

/* False: more than two colours. One colour is a blank. */
static bool cell_pattern(const uint32_t *rows, int stride, int x, uint8_t bits[FONT_HEIGHT])
{
    uint32_t one = rows[x] & 0xffffff, two = one;
    for (int y = 0; y < FONT_HEIGHT; y++) {
        const uint32_t *p = rows + (size_t)y * (size_t)stride + x;
        bits[y] = 0;
        for (int k = 0; k < FONT_WIDTH; k++) {
            uint32_t c = p[k] & 0xffffff;
            if (c != one && two == one) {
                two = c;
            }
            if (c != one && c != two) {
                return false;
            }
            bits[y] |= (uint8_t)(c != one ? 0x80 >> k : 0);
        }
    }
    return true;
}

/* One row of characters, with the last one that was looked for: many neighbours are the same. */
static void read_row(FontSet *font, const uint32_t *rows, int stride, int columns, uint32_t *out)
{
    uint8_t last[FONT_HEIGHT] = { 0 };
    uint32_t meant = ' ';
    for (int x = 0; x < columns; x++) {
        uint8_t bits[FONT_HEIGHT];
        if (!cell_pattern(rows, stride, x * FONT_WIDTH, bits)) {
            out[x] = UNKNOWN;
            continue;
        }
        if (memcmp(bits, last, sizeof(last)) != 0) {
            memcpy(last, bits, sizeof(last));
            meant = font_set_find(font, bits);
        }
        out[x] = meant;
    }
}

bool screen_read_pixels(Surface *s, FontSet *font, ConsoleText *out)
{
    int columns = MIN(surface_width(s) / FONT_WIDTH, MAX_COLUMNS);
    int rows = MIN(surface_height(s) / FONT_HEIGHT, MAX_ROWS), width = columns * FONT_WIDTH;
    if (!columns || !rows) {
        return false;
    }
    pixman_image_t *strip = pixman_image_create_bits(PIXMAN_x8r8g8b8, width, FONT_HEIGHT, NULL, 0);
    if (!strip) {
        return false; /* the host has no memory */
    }
    *out = (ConsoleText){ .columns = columns, .rows = rows, .cursor_x = -1, .cursor_y = -1 };
    out->cells = g_new(uint32_t, (size_t)columns * (size_t)rows);
    for (int y = 0; y < rows; y++) {
        pixman_image_composite32(PIXMAN_OP_SRC, s->image, NULL, strip, 0, y * FONT_HEIGHT, 0, 0, 0, 0, width,
                                 FONT_HEIGHT);
        read_row(font, pixman_image_get_data(strip), pixman_image_get_stride(strip) / 4, columns,
                 out->cells + (size_t)y * (size_t)columns);
    }
    pixman_image_unref(strip);
    return true;
}

bool screen_read(Console *c, FontSet *font, ConsoleText *out, bool *by_font)
{
    *by_font = false;
    if (console_text(c, out)) {
        return true;
    }
    Surface *s = font ? console_surface(c) : NULL;
    bool ok = s && screen_read_pixels(s, font, out);
    surface_unref(s);
    *by_font = ok;
    return ok;
}

char *screen_line(const ConsoleText *t, int y)
{
    const uint32_t *cells = t->cells + (size_t)y * (size_t)t->columns;
    GString *line = g_string_sized_new((gsize)t->columns + 1);
    int n = t->columns;
    while (n && (cells[n - 1] == ' ' || cells[n - 1] == 0xa0)) {
        n--;
    }
    for (int x = 0; x < n; x++) {
        bool good = cells[x] >= ' ' && g_unichar_validate(cells[x]);
        g_string_append_unichar(line, cells[x] == 0xa0 ? ' ' : good ? cells[x] : UNKNOWN);
    }
    return g_string_free(line, FALSE);
}

bool screen_has(const ConsoleText *t, const char *text)
{
    bool found = false;
    for (int y = 0; !found && y < t->rows; y++) {
        g_autofree char *line = screen_line(t, y);
        found = strstr(line, text) != NULL;
    }
    return found;
}

bool screen_sum(Surface *s, const ScreenRegion *r, uint64_t *out)
{
    const uint64_t start = UINT64_C(0xcbf29ce484222325), prime = UINT64_C(0x100000001b3);
    ScreenRegion all = { 0, 0, surface_width(s), surface_height(s) };
    r = r->width ? r : &all;
    if (r->x < 0 || r->y < 0 || r->width < 0 || r->height <= 0 || r->width > all.width - r->x ||
        r->height > all.height - r->y) {
        return false;
    }
    pixman_image_t *line = pixman_image_create_bits(PIXMAN_x8r8g8b8, r->width, 1, NULL, 0);
    if (!line) {
        return false;
    }
    uint64_t sum = ((start ^ (uint64_t)r->width) * prime ^ (uint64_t)r->height) * prime;
    const uint32_t *p = pixman_image_get_data(line);
    for (int y = 0; y < r->height; y++) {
        pixman_image_composite32(PIXMAN_OP_SRC, s->image, NULL, line, r->x, r->y + y, 0, 0, 0, 0, r->width,
                                 1);
        for (int x = 0; x < r->width; x++) {
            sum = (sum ^ (p[x] & 0xffffff)) * prime;
        }
    }
    pixman_image_unref(line);
    *out = sum;
    return true;
}
