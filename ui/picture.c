/* SPDX-License-Identifier: MIT
 * ui/picture.c - a surface as a file: PPM (netpbm's "P6") and PNG.
 * Models: ISO/IEC 15948 (PNG): one IDAT stream of 8-bit RGB, the filter "up" in each line, which suits
 *         screens: most lines are like the one above.
 * Threads: any.
 */
#include "rhea/ui/console.h"

#include <string.h>
#include <unistd.h>
#include <zlib.h>

static bool write_all(int fd, const void *data, size_t len, Error **errp)
{
    const uint8_t *p = data;
    while (len) {
        ssize_t n = write(fd, p, len);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n < 0) {
            return error_set_errno(errp, errno, "writing the picture failed");
        }
        p += n;
        len -= (size_t)n;
    }
    return true;
}

/* One line of any format as bytes R, G, B. */
typedef struct RgbLines {
    pixman_image_t *from, *line;
    int width;
    uint8_t *rgb;
} RgbLines;

static void rgb_open(RgbLines *r, Surface *s)
{
    r->from = s->image;
    r->width = surface_width(s);
    r->line = pixman_image_create_bits(PIXMAN_x8r8g8b8, r->width, 1, NULL, 0);
    r->rgb = g_malloc((size_t)r->width * 3);
}

static void rgb_close(RgbLines *r)
{
    pixman_image_unref(r->line);
    g_free(r->rgb);
}

static const uint8_t *rgb_line(RgbLines *r, int y)
{
    pixman_image_composite32(PIXMAN_OP_SRC, r->from, NULL, r->line, 0, y, 0, 0, 0, 0, r->width, 1);
    const uint32_t *p = pixman_image_get_data(r->line);
    for (int x = 0; x < r->width; x++) {
        r->rgb[3 * x] = p[x] >> 16;
        r->rgb[3 * x + 1] = p[x] >> 8;
        r->rgb[3 * x + 2] = p[x];
    }
    return r->rgb;
}

bool surface_write_ppm(Surface *s, int fd, Error **errp)
{
    g_autofree char *head = g_strdup_printf("P6\n%d %d\n255\n", surface_width(s), surface_height(s));
    RgbLines r;
    rgb_open(&r, s);
    bool ok = write_all(fd, head, strlen(head), errp);
    for (int y = 0; ok && y < surface_height(s); y++) {
        ok = write_all(fd, rgb_line(&r, y), (size_t)r.width * 3, errp);
    }
    rgb_close(&r);
    return ok;
}

static bool write_chunk(int fd, const char *type, const void *data, size_t len, Error **errp)
{
    uint32_t n = GUINT32_TO_BE((uint32_t)len);
    uLong crc = crc32(crc32(0, NULL, 0), (const Bytef *)type, 4);
    crc = len ? crc32(crc, data, (uInt)len) : crc;
    uint32_t sum = GUINT32_TO_BE((uint32_t)crc);
    return write_all(fd, &n, 4, errp) && write_all(fd, type, 4, errp) && write_all(fd, data, len, errp) &&
           write_all(fd, &sum, 4, errp);
}

/* Feeds the stream; each full piece becomes an IDAT chunk, at the end (flush) the rest. */
static bool put_idat(z_stream *z, uint8_t *piece, size_t size, int flush, int fd, Error **errp)
{
    for (;;) {
        int r = deflate(z, flush);
        size_t have = size - z->avail_out;
        if (have && (!z->avail_out || flush == Z_FINISH)) {
            if (!write_chunk(fd, "IDAT", piece, have, errp)) {
                return false;
            }
            z->next_out = piece;
            z->avail_out = (uInt)size;
        } else if (flush != Z_FINISH || r == Z_STREAM_END) {
            return true;
        }
        if (flush == Z_FINISH && r == Z_STREAM_END) {
            return true;
        }
    }
}

static bool write_lines(RgbLines *r, int height, int fd, Error **errp)
{
    enum { PIECE = 64 << 10, FILTER_UP = 2 };
    z_stream z = { 0 };
    if (deflateInit(&z, Z_DEFAULT_COMPRESSION) != Z_OK) {
        return error_set(errp, "no memory to compress a picture");
    }
    size_t n = (size_t)r->width * 3;
    g_autofree uint8_t *piece = g_malloc(PIECE), *above = g_malloc0(n), *line = g_malloc(n + 1);
    bool ok = true;
    z.next_out = piece;
    z.avail_out = PIECE;
    for (int y = 0; ok && y < height; y++) {
        const uint8_t *now = rgb_line(r, y);
        line[0] = FILTER_UP;
        for (size_t i = 0; i < n; i++) {
            line[i + 1] = (uint8_t)(now[i] - above[i]);
        }
        memcpy(above, now, n);
        z.next_in = line;
        z.avail_in = (uInt)n + 1;
        ok = put_idat(&z, piece, PIECE, y == height - 1 ? Z_FINISH : Z_NO_FLUSH, fd, errp);
    }
    deflateEnd(&z);
    return ok;
}

bool surface_write_png(Surface *s, int fd, Error **errp)
{
    static const uint8_t signature[8] = { 0x89, 'P', 'N', 'G', '\r', '\n', 0x1a, '\n' };
    struct {
        uint32_t width, height;
        uint8_t depth, colour, compression, filter, interlace;
    } __attribute__((packed)) head = {
        GUINT32_TO_BE(surface_width(s)), GUINT32_TO_BE(surface_height(s)), 8, 2, 0, 0, 0
    };
    RgbLines r;
    rgb_open(&r, s);
    bool ok = write_all(fd, signature, sizeof(signature), errp) &&
              write_chunk(fd, "IHDR", &head, sizeof(head), errp) &&
              write_lines(&r, surface_height(s), fd, errp) && write_chunk(fd, "IEND", NULL, 0, errp);
    rgb_close(&r);
    return ok;
}
