/* SPDX-License-Identifier: MIT
 * ui/surface.c - pictures: pixels of ours, or the guest's own memory.
 * Models: rhea/ui/console.h, "Pixels".
 * Threads: any; the count of references is atomic.
 */
#include "rhea/ui/console.h"
#include "rhea/util/errorcode.h"

#include <inttypes.h>

bool surface_format_good(pixman_format_code_t format)
{
    switch (format) {
    case PIXMAN_x8r8g8b8:
    case PIXMAN_a8r8g8b8:
    case PIXMAN_b8g8r8x8: /* x8r8g8b8 of a big-endian frame buffer */
    case PIXMAN_r8g8b8:
    case PIXMAN_r5g6b5:
    case PIXMAN_x1r5g5b5: return true;
    default: return false;
    }
}

static bool sides_good(int width, int height, Error **errp)
{
    if (width <= 0 || height <= 0 || width > SURFACE_MAX_SIDE || height > SURFACE_MAX_SIDE ||
        (int64_t)width * height * 4 > SURFACE_MAX_BYTES) {
        return error_fail(errp, "out-of-range", NULL, NULL, "a picture of %d x %d pixels", width, height);
    }
    return true;
}

static Surface *surface_wrap(pixman_image_t *image, RamBlock *ram)
{
    if (!image) {
        return NULL; /* the host has no memory */
    }
    Surface *s = g_new(Surface, 1);
    *s = (Surface){ .image = image, .refs = 1, .ram = ram ? ram_ref(ram) : NULL };
    return s;
}

static Surface *surface_of(pixman_format_code_t format, int width, int height, Error **errp)
{
    if (!sides_good(width, height, errp)) {
        return NULL;
    }
    Surface *s = surface_wrap(pixman_image_create_bits(format, width, height, NULL, 0), NULL);
    if (!s) {
        error_set(errp, "no memory for a picture of %d x %d pixels", width, height);
    }
    return s;
}

Surface *surface_new(int width, int height, Error **errp)
{
    return surface_of(PIXMAN_x8r8g8b8, width, height, errp);
}

Surface *surface_new_alpha(int width, int height, Error **errp)
{
    return surface_of(PIXMAN_a8r8g8b8, width, height, errp);
}

Surface *surface_new_ram(RamBlock *ram, uint64_t off, pixman_format_code_t format, int width, int height,
                         int stride, Error **errp)
{
    if (!surface_format_good(format)) {
        error_fail(errp, "not-supported", NULL, NULL, "a picture of format 0x%x", (unsigned)format);
        return NULL;
    }
    if (!sides_good(width, height, errp)) {
        return NULL;
    }
    uint64_t line = ((uint64_t)width * PIXMAN_FORMAT_BPP(format) + 7) / 8;
    if (stride < 0 || off % 4 || stride % 4 || (uint64_t)stride < line || off > ram->size ||
        (uint64_t)stride * (height - 1) + line > ram->size - off) {
        error_fail(errp, "out-of-range", NULL, NULL,
                   "a picture of %d x %d pixels in lines of %d bytes at 0x%" PRIx64 " of 0x%" PRIx64, width,
                   height, stride, off, ram->size);
        return NULL;
    }
    Surface *s = surface_wrap(
        pixman_image_create_bits(format, width, height, (uint32_t *)(ram->host + off), stride), ram);
    if (!s) {
        error_set(errp, "no memory for a picture");
    }
    return s;
}

Surface *surface_new_part(Surface *of, int x, int y, int width, int height, Error **errp)
{
    if (x < 0 || y < 0 || width <= 0 || height <= 0 || x > surface_width(of) - width ||
        y > surface_height(of) - height || PIXMAN_FORMAT_BPP(pixman_image_get_format(of->image)) != 32) {
        error_fail(errp, "out-of-range", NULL, NULL, "a picture of %d x %d pixels at %d, %d of %d x %d",
                   width, height, x, y, surface_width(of), surface_height(of));
        return NULL;
    }
    uint32_t *bits = (uint32_t *)(surface_row(of, y) + 4 * (size_t)x);
    Surface *s = surface_wrap(
        pixman_image_create_bits(PIXMAN_x8r8g8b8, width, height, bits, surface_stride(of)), NULL);
    if (s) {
        s->of = surface_ref(of);
    } else {
        error_set(errp, "no memory for a picture");
    }
    return s;
}

Surface *surface_ref(Surface *s)
{
    __atomic_fetch_add(&s->refs, 1, __ATOMIC_RELAXED);
    return s;
}

void surface_unref(Surface *s)
{
    if (s && __atomic_fetch_sub(&s->refs, 1, __ATOMIC_ACQ_REL) == 1) {
        pixman_image_unref(s->image);
        if (s->ram) {
            ram_unref(s->ram);
        }
        surface_unref(s->of);
        g_free(s);
    }
}
