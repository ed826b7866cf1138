/* SPDX-License-Identifier: MIT
 * ui/font-set.c - glyphs by which text in pictures is recognised.
 *
 * Models: PSF versions 1 and 2 (glyphs, then for each the characters that it shows), the video BIOS's font.
 * A pattern that is no glyph is taken for the one that it is most like, of those that differ in at most NEAR
 * dots. The BIOS's font was made for cells of nine dots; Linux's, of the same family, for eight: many of its
 * letters are the BIOS's without one of their columns, or moved by one. So these, too, are compared. Threads:
 * one at a time for a set. Tests: tests/unit/ui/test-screen.c. */
#include "rhea/ui/font.h"
#include "rhea/util/errorcode.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

enum { NEAR = 12, UNKNOWN = 0xfffd, MAX_GLYPHS = 4096, FILE_MAX = 1 << 20, MEMORY = 16384 };

typedef struct Shape {
    uint64_t half[2];
} Shape;

typedef struct Known {
    Shape shape;
    uint32_t unicode;
    unsigned far; /* counts as so many dots */
} Known;

struct FontSet {
    GArray *known;      /* Known, in the order of preference */
    GHashTable *shapes; /* Shape -> character; keys are its own */
    GHashTable *past;   /* the same of what was found to be nearest, MEMORY at most */
};

static guint shape_hash(gconstpointer p)
{
    const Shape *s = p;
    uint64_t h = (s->half[0] ^ (s->half[1] * UINT64_C(0x9e3779b97f4a7c15))) * UINT64_C(0xff51afd7ed558ccd);
    return (guint)(h >> 32);
}

static gboolean shape_equal(gconstpointer a, gconstpointer b)
{
    return memcmp(a, b, sizeof(Shape)) == 0;
}

FontSet *font_set_new_empty(void)
{
    FontSet *s = g_new0(FontSet, 1);
    s->known = g_array_new(FALSE, FALSE, sizeof(Known));
    s->shapes = g_hash_table_new_full(shape_hash, shape_equal, g_free, NULL);
    s->past = g_hash_table_new_full(shape_hash, shape_equal, g_free, NULL);
    return s;
}

void font_set_free(FontSet *s)
{
    if (s) {
        g_array_free(s->known, TRUE);
        g_hash_table_unref(s->shapes);
        g_hash_table_unref(s->past);
        g_free(s);
    }
}

static void add_near(FontSet *s, const uint8_t *bits, uint32_t unicode, unsigned far)
{
    Known k = { .unicode = unicode, .far = far };
    memcpy(&k.shape, bits, sizeof(k.shape));
    g_array_append_val(s->known, k);
}

/* Moved by a dot in any direction, and without each of its columns. */
static void add_like(FontSet *s, const uint8_t *bits, uint32_t unicode)
{
    uint8_t other[FONT_HEIGHT] = { 0 };
    memcpy(other, bits + 1, FONT_HEIGHT - 1);
    add_near(s, other, unicode, 2);
    other[0] = 0;
    memcpy(other + 1, bits, FONT_HEIGHT - 1);
    add_near(s, other, unicode, 2);
    for (int k = -1; k < FONT_WIDTH; k++) {
        unsigned left = k < 0 ? 0 : 0xff00u >> k & 0xff, right = k < 0 ? 0xff : 0x7fu >> k;
        for (unsigned i = 0; i < FONT_HEIGHT; i++) {
            other[i] = (uint8_t)(k < 0 ? bits[i] >> 1 : (bits[i] & left) | (bits[i] & right) << 1);
        }
        add_near(s, other, unicode, 1);
    }
}

static uint32_t add(FontSet *s, const uint8_t *bits, uint32_t unicode)
{
    unicode = unicode == 0xa0 ? ' ' : unicode;
    Shape shape;
    memcpy(&shape, bits, sizeof(shape));
    if (!g_hash_table_contains(s->shapes, &shape)) {
        g_hash_table_insert(s->shapes, g_memdup2(&shape, sizeof(shape)), GUINT_TO_POINTER(unicode));
    }
    if (unicode != ' ') {
        add_near(s, bits, unicode, 0);
    }
    return unicode;
}

/* ASCII first: of two that look the same texts mean that one. */
void font_set_add(FontSet *s, const Font *font)
{
    for (unsigned i = 0; i < FONT_GLYPHS; i++) {
        unsigned g = (i + ' ') % FONT_GLYPHS;
        uint32_t unicode = add(s, font->glyph[g], font_cp437[g]);
        if (unicode > ' ' && unicode < 0x2500) { /* lines and blocks are what they are */
            add_like(s, font->glyph[g], unicode);
        }
    }
}

/* ---- PSF ---- */

typedef struct Psf {
    const uint8_t *glyphs, *table, *end; /* table NULL: the glyphs are in no known order */
    unsigned n;
    bool utf8;
} Psf;

static uint32_t le32(const uint8_t *p)
{
    return p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

static bool psf_open(const uint8_t *data, size_t len, Psf *out, Error **errp)
{
    enum { PSF1_512 = 1, PSF1_TABLE = 2, PSF2_TABLE = 1 };
    size_t head = 0, n = 0, width = 8, height = 0, size = 0;
    bool table = false, two = false;
    if (len >= 4 && data[0] == 0x36 && data[1] == 0x04) {
        head = 4;
        n = data[2] & PSF1_512 ? 512 : 256;
        height = size = data[3];
        table = data[2] & PSF1_TABLE;
    } else if (len >= 32 && le32(data) == 0x864ab572) {
        two = true;
        head = le32(data + 8);
        table = le32(data + 12) & PSF2_TABLE;
        n = le32(data + 16);
        size = le32(data + 20);
        height = le32(data + 24);
        width = le32(data + 28);
    } else {
        return error_fail(errp, "invalid-value", "font", "take one that setfont takes",
                          "it is not a PSF file");
    }
    if (width != FONT_WIDTH || height != FONT_HEIGHT || size != FONT_HEIGHT) {
        return error_fail(errp, "not-supported", "font", "take one of 8 x 16",
                          "its glyphs have %zu x %zu dots", width, height);
    }
    if (!table || n > MAX_GLYPHS || head > len || n * size > len - head) {
        return error_fail(errp, "invalid-value", "font", NULL, "%s",
                          table ? "it ends too early" : "it does not say what its glyphs mean");
    }
    *out = (Psf){ data + head, data + head + n * size, data + len, (unsigned)n, two };
    return true;
}

/* The next number of the table: a character, or one of the two below. */
enum { TABLE_NEXT = -1, TABLE_SERIES = -2, TABLE_END = -3 };
static int64_t psf_next(Psf *p)
{
    if (!p->utf8) {
        if (p->end - p->table < 2) {
            return TABLE_END;
        }
        unsigned v = p->table[0] | p->table[1] << 8;
        p->table += 2;
        return v == 0xffff ? TABLE_NEXT : v == 0xfffe ? TABLE_SERIES : (int64_t)v;
    }
    if (p->table >= p->end) {
        return TABLE_END;
    }
    if (*p->table >= 0xfe) {
        return *p->table++ == 0xff ? TABLE_NEXT : TABLE_SERIES;
    }
    gunichar c = g_utf8_get_char_validated((const char *)p->table, p->end - p->table);
    p->table += c < 0x110000 ? g_unichar_to_utf8(c, NULL) : 1;
    return c < 0x110000 ? (int64_t)c : UNKNOWN;
}

/* One character for a glyph: the one of ASCII if there is, else the first. Series are of combined ones. */
bool font_set_add_psf(FontSet *s, const uint8_t *data, size_t len, Error **errp)
{
    Psf p = { 0 };
    if (!psf_open(data, len, &p, errp)) {
        return false;
    }
    for (unsigned i = 0; i < p.n; i++) {
        int64_t c, best = TABLE_NEXT;
        bool series = false;
        while ((c = psf_next(&p)) >= 0 || c == TABLE_SERIES) {
            series |= c == TABLE_SERIES;
            if (!series && (best < 0 || (c < 0x7f && best > 0x7f))) {
                best = c;
            }
        }
        if (best >= 0) {
            add(s, p.glyphs + (size_t)i * FONT_HEIGHT, (uint32_t)best);
        }
    }
    return true;
}

static bool add_file(FontSet *s, const char *path, Error **errp)
{
    g_autofree uint8_t *data = g_malloc(FILE_MAX);
    struct stat st;
    int fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0) {
        error_set_errno(errp, errno, "font '%s' cannot be opened", path);
        return false;
    }
    if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode)) { /* a pipe would make everybody wait */
        close(fd);
        return error_fail(errp, "invalid-value", "font", NULL, "font '%s' is not a file", path);
    }
    gzFile f = gzdopen(fd, "rb");
    int n = f ? gzread(f, data, FILE_MAX) : -1;
    if (f) {
        gzclose(f);
    } else {
        close(fd);
    }
    if (n < 0) {
        return error_fail(errp, "io-error", "font", NULL, "font '%s' cannot be read", path);
    }
    if (!font_set_add_psf(s, data, (size_t)n, errp)) {
        error_prefix(errp, "font '%s': ", path);
        return false;
    }
    return true;
}

FontSet *font_set_new(Machine *m, const char *file, Error **errp)
{
    const Font *bios = font_find(m, errp);
    FontSet *s = bios ? font_set_new_empty() : NULL;
    if (s && file && !add_file(s, file, errp)) {
        g_clear_pointer(&s, font_set_free);
    }
    if (s) {
        font_set_add(s, bios);
    }
    return s;
}

/* ---- finding ---- */

static unsigned differ(Shape a, Shape b, uint64_t invert)
{
    return (unsigned)(__builtin_popcountll(a.half[0] ^ b.half[0] ^ invert) +
                      __builtin_popcountll(a.half[1] ^ b.half[1] ^ invert));
}

static uint32_t nearest(const FontSet *s, Shape want)
{
    unsigned best = NEAR + 1;
    uint32_t found = UNKNOWN;
    for (guint i = 0; i < s->known->len; i++) {
        const Known *k = &g_array_index(s->known, Known, i);
        unsigned d = MIN(differ(want, k->shape, 0), differ(want, k->shape, UINT64_MAX)) + k->far;
        if (d < best) {
            best = d;
            found = k->unicode;
        }
    }
    return found;
}

static uint32_t remembered(FontSet *s, const Shape *want)
{
    gpointer c;
    if (g_hash_table_lookup_extended(s->past, want, NULL, &c)) {
        return GPOINTER_TO_UINT(c);
    }
    uint32_t found = nearest(s, *want);
    if (g_hash_table_size(s->past) >= MEMORY) {
        g_hash_table_remove_all(s->past);
    }
    g_hash_table_insert(s->past, g_memdup2(want, sizeof(*want)), GUINT_TO_POINTER(found));
    return found;
}

uint32_t font_set_find(FontSet *s, const uint8_t bits[FONT_HEIGHT])
{
    gpointer c;
    Shape want;
    memcpy(&want, bits, sizeof(want));
    Shape inverse = { { ~want.half[0], ~want.half[1] } };
    if (!(want.half[0] | want.half[1])) {
        return ' ';
    }
    if (g_hash_table_lookup_extended(s->shapes, &want, NULL, &c) ||
        g_hash_table_lookup_extended(s->shapes, &inverse, NULL, &c)) {
        return GPOINTER_TO_UINT(c);
    }
    return remembered(s, &want);
}
