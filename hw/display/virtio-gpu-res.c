/* SPDX-License-Identifier: MIT
 * hw/display/virtio-gpu-res.c - a virtio graphics card's resources: pictures, and where the guest draws them.
 * Models: virtio 1.2, 5.7.6.8: RESOURCE_CREATE_2D, RESOURCE_ATTACH_BACKING, RESOURCE_DETACH_BACKING,
 *         TRANSFER_TO_HOST_2D; all formats. Where a piece of backing lies is looked at in each transfer, so
 * that no memory is held for the guest, and a piece outside of RAM fails there. Threads: the device's domain.
 * Front ends read pixels meanwhile: they may see a line half drawn.
 */
#include "virtio-gpu.h"

#include <string.h>

/* pixman names a word's bits from the highest on, virtio bytes from the first on. What has no alpha channel
 * is taken as if it had: Linux makes cursors out of such resources and means their fourth byte; a head's
 * picture is opaque anyway. 0: there is none. */
static pixman_format_code_t format_of(uint32_t format)
{
    switch (format) {
    case VIRTIO_GPU_FORMAT_B8G8R8A8_UNORM:
    case VIRTIO_GPU_FORMAT_B8G8R8X8_UNORM: return PIXMAN_a8r8g8b8;
    case VIRTIO_GPU_FORMAT_A8R8G8B8_UNORM:
    case VIRTIO_GPU_FORMAT_X8R8G8B8_UNORM: return PIXMAN_b8g8r8a8;
    case VIRTIO_GPU_FORMAT_R8G8B8A8_UNORM:
    case VIRTIO_GPU_FORMAT_R8G8B8X8_UNORM: return PIXMAN_a8b8g8r8;
    case VIRTIO_GPU_FORMAT_A8B8G8R8_UNORM:
    case VIRTIO_GPU_FORMAT_X8B8G8R8_UNORM: return PIXMAN_r8g8b8a8;
    default: return 0;
    }
}

static uint64_t pixels_cost(uint32_t width, uint32_t height)
{
    return (uint64_t)width * height * 4 + GPU_RESOURCE_COST;
}

void gpu_resource_free(void *resource)
{
    GpuResource *r = resource;
    surface_unref(r->pixels);
    g_free(r->piece);
    g_free(r);
}

uint32_t gpu_resource_create(VirtioGpu *s, uint32_t id, uint32_t format, uint32_t width, uint32_t height)
{
    pixman_format_code_t f = format_of(format);
    if (id == 0 || gpu_resource(s, id)) {
        guest_error(&s->v.dev, "virtio-gpu: resource %u %s", id, id ? "exists" : "cannot be made");
        return VIRTIO_GPU_RESP_ERR_INVALID_RESOURCE_ID;
    }
    if (!f || !width || !height || width > SURFACE_MAX_SIDE || height > SURFACE_MAX_SIDE) {
        guest_error(&s->v.dev, "virtio-gpu: a resource of %u x %u pixels in format %u", width, height,
                    format);
        return VIRTIO_GPU_RESP_ERR_INVALID_PARAMETER;
    }
    uint64_t cost = pixels_cost(width, height);
    if (cost > s->max_hostmem - s->hostmem) {
        guest_error(&s->v.dev, "virtio-gpu: %" G_GUINT64_FORMAT " bytes more than max_hostmem",
                    cost - (s->max_hostmem - s->hostmem));
        return VIRTIO_GPU_RESP_ERR_OUT_OF_MEMORY;
    }
    Surface *pixels = surface_new_alpha((int)width, (int)height, NULL);
    if (!pixels) { /* larger than any picture may be, or the host has no memory */
        return VIRTIO_GPU_RESP_ERR_OUT_OF_MEMORY;
    }
    GpuResource *r = g_new(GpuResource, 1);
    *r = (GpuResource){ .id = id, .format = format, .pixels = pixels };
    s->hostmem += cost;
    g_hash_table_insert(s->resources, GUINT_TO_POINTER(id), r);
    return VIRTIO_GPU_RESP_OK_NODATA;
}

void gpu_resource_drop(VirtioGpu *s, GpuResource *r)
{
    gpu_resource_detach(s, r);
    s->hostmem -= pixels_cost((uint32_t)surface_width(r->pixels), (uint32_t)surface_height(r->pixels));
    g_hash_table_remove(s->resources, GUINT_TO_POINTER(r->id));
}

void gpu_resource_detach(VirtioGpu *s, GpuResource *r)
{
    s->hostmem -= (uint64_t)r->n_pieces * sizeof(GpuPiece);
    g_clear_pointer(&r->piece, g_free);
    r->n_pieces = 0;
    r->backing = 0;
    r->backed = false;
}

uint32_t gpu_resource_attach(VirtioGpu *s, GpuResource *r, const IoVec *from, size_t off, uint32_t n)
{
    uint64_t cost = (uint64_t)n * sizeof(GpuPiece);
    if (r->backed) {
        guest_error(&s->v.dev, "virtio-gpu: resource %u has memory", r->id);
        return VIRTIO_GPU_RESP_ERR_UNSPEC;
    }
    if (n > GPU_PIECES || off > from->bytes ||
        (from->bytes - off) / sizeof(struct virtio_gpu_mem_entry) < n) {
        guest_error(&s->v.dev, "virtio-gpu: memory in %u parts, in %zu bytes", n, from->bytes);
        return VIRTIO_GPU_RESP_ERR_INVALID_PARAMETER;
    }
    if (cost > s->max_hostmem - s->hostmem) {
        return VIRTIO_GPU_RESP_ERR_OUT_OF_MEMORY;
    }
    r->piece = g_new(GpuPiece, n);
    for (uint32_t i = 0; i < n; i++) {
        struct virtio_gpu_mem_entry e;
        iov_to_buf(from, off + i * sizeof(e), &e, sizeof(e));
        r->piece[i] =
            (GpuPiece){ .at = GUINT64_FROM_LE(e.addr), .off = r->backing, .len = GUINT32_FROM_LE(e.length) };
        r->backing += r->piece[i].len;
    }
    s->hostmem += cost;
    r->n_pieces = n;
    r->backed = true;
    return VIRTIO_GPU_RESP_OK_NODATA;
}

/* The last piece that begins at or before `off`, which lies in the backing. */
static uint32_t piece_at(const GpuResource *r, uint64_t off)
{
    uint32_t low = 0, high = r->n_pieces;
    while (high - low > 1) {
        uint32_t mid = low + (high - low) / 2;
        if (r->piece[mid].off <= off) {
            low = mid;
        } else {
            high = mid;
        }
    }
    return low;
}

static bool backing_read(VirtioGpu *s, const GpuResource *r, uint64_t off, void *to, uint64_t len)
{
    uint8_t *out = to;
    for (uint32_t i = len ? piece_at(r, off) : 0; len; i++) {
        const GpuPiece *p = &r->piece[i];
        uint64_t skip = off - p->off, n = MIN(p->len - skip, len);
        if (n && dma_read(s->v.dma, p->at + skip, out, n) != MEM_OK) {
            return false;
        }
        out += n;
        off += n;
        len -= n;
    }
    return true;
}

bool gpu_rect_inside(const GpuRect *r, const Surface *s)
{
    uint32_t w = (uint32_t)surface_width(s), h = (uint32_t)surface_height(s);
    return r->w <= w && r->x <= w - r->w && r->h <= h && r->y <= h - r->h;
}

/* A line in the driver's format, made ours. */
static bool line_convert(VirtioGpu *s, const GpuResource *r, const GpuRect *rect, uint32_t y, uint64_t off)
{
    if (!backing_read(s, r, off, s->line, 4 * (uint64_t)rect->w)) {
        return false;
    }
    pixman_image_t *line =
        pixman_image_create_bits(format_of(r->format), (int)rect->w, 1, s->line, (int)rect->w * 4);
    if (line) {
        pixman_image_composite32(PIXMAN_OP_SRC, line, NULL, r->pixels->image, 0, 0, 0, 0, (int)rect->x,
                                 (int)y, (int)rect->w, 1);
        pixman_image_unref(line);
    }
    return line != NULL;
}

uint32_t gpu_resource_transfer(VirtioGpu *s, GpuResource *r, const GpuRect *rect, uint64_t off)
{
    uint64_t pitch = (uint64_t)surface_width(r->pixels) * 4, bytes = (uint64_t)rect->w * 4;
    if (!gpu_rect_inside(rect, r->pixels)) {
        guest_error(&s->v.dev, "virtio-gpu: %u x %u pixels at %u, %u of a resource of %d x %d", rect->w,
                    rect->h, rect->x, rect->y, surface_width(r->pixels), surface_height(r->pixels));
        return VIRTIO_GPU_RESP_ERR_INVALID_PARAMETER;
    }
    if (!rect->w || !rect->h) {
        return VIRTIO_GPU_RESP_OK_NODATA;
    }
    uint64_t need = pitch * (rect->h - 1) + bytes;
    if (need > r->backing || off > r->backing - need) {
        guest_error(&s->v.dev, "virtio-gpu: resource %u has %" G_GUINT64_FORMAT " bytes of memory", r->id,
                    r->backing);
        return r->backed ? VIRTIO_GPU_RESP_ERR_INVALID_PARAMETER : VIRTIO_GPU_RESP_ERR_UNSPEC;
    }
    bool ours = format_of(r->format) == PIXMAN_a8r8g8b8, ok = true;
    if (ours && bytes == pitch) { /* whole lines are one piece of memory on both sides */
        ok = backing_read(s, r, off, surface_row(r->pixels, (int)rect->y), bytes * rect->h);
    } else {
        for (uint32_t y = 0; ok && y < rect->h; y++, off += pitch) {
            uint8_t *row = surface_row(r->pixels, (int)(rect->y + y)) + 4 * (size_t)rect->x;
            ok = ours ? backing_read(s, r, off, row, bytes) : line_convert(s, r, rect, rect->y + y, off);
        }
    }
    if (!ok) {
        guest_error(&s->v.dev, "virtio-gpu: memory of resource %u cannot be read", r->id);
    }
    return ok ? VIRTIO_GPU_RESP_OK_NODATA : VIRTIO_GPU_RESP_ERR_UNSPEC;
}

Surface *gpu_resource_cursor(const GpuResource *r)
{
    if (surface_width(r->pixels) != GPU_CURSOR_SIDE || surface_height(r->pixels) != GPU_CURSOR_SIDE) {
        return NULL;
    }
    Surface *c = surface_new_alpha(GPU_CURSOR_SIDE, GPU_CURSOR_SIDE, NULL);
    if (c) {
        pixman_image_composite32(PIXMAN_OP_SRC, r->pixels->image, NULL, c->image, 0, 0, 0, 0, 0, 0,
                                 GPU_CURSOR_SIDE, GPU_CURSOR_SIDE);
    }
    return c;
}
