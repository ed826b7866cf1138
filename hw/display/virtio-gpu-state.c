/* SPDX-License-Identifier: MIT
 * hw/display/virtio-gpu-state.c - a virtio graphics card's saved state.
 * Models: what is of a fixed size is fields as usual. Resources and cursors are a stream of little-endian
 * words behind them: a count; of each resource, by id: id, format, width, height, whether it has memory, the
 *         number of pieces, each piece's address (two words) and length, pixels; then each cursor's pixels.
 * Threads: the device's domain. What is loaded is hostile.
 */
#include "virtio-gpu.h"

#include "rhea/util/errorcode.h"

#include <string.h>

enum { CURSOR_BYTES = GPU_CURSOR_SIDE * GPU_CURSOR_SIDE * 4, RESOURCE_WORDS = 6, PIECE_WORDS = 3 };

/* ---- saving ---- */

static void put32(GByteArray *out, uint32_t v)
{
    v = GUINT32_TO_LE(v);
    g_byte_array_append(out, (const uint8_t *)&v, sizeof(v));
}

static void put_pixels(GByteArray *out, const Surface *s)
{
    for (int y = 0; y < surface_height(s); y++) {
        const uint32_t *row = (const uint32_t *)surface_row(s, y);
        for (int x = 0; x < surface_width(s); x++) {
            put32(out, row[x]);
        }
    }
}

static void put_resource(GByteArray *out, const GpuResource *r)
{
    put32(out, r->id);
    put32(out, r->format);
    put32(out, (uint32_t)surface_width(r->pixels));
    put32(out, (uint32_t)surface_height(r->pixels));
    put32(out, r->backed);
    put32(out, r->n_pieces);
    for (uint32_t i = 0; i < r->n_pieces; i++) {
        put32(out, (uint32_t)r->piece[i].at);
        put32(out, (uint32_t)(r->piece[i].at >> 32));
        put32(out, r->piece[i].len);
    }
    put_pixels(out, r->pixels);
}

static int by_id(const void *a, const void *b)
{
    const GpuResource *const *one = a, *const *two = b;
    return (*one)->id < (*two)->id ? -1 : (*one)->id > (*two)->id;
}

void gpu_saved_drop(VirtioGpu *s)
{
    if (s->saved.data) {
        fifo8_fini(&s->saved);
    }
    s->saved_bytes = 0;
}

void gpu_pre_save(void *opaque)
{
    VirtioGpu *s = opaque;
    GByteArray *out = g_byte_array_new();
    guint n = 0;
    g_autofree gpointer *ids = g_hash_table_get_keys_as_array(s->resources, &n);
    g_autofree const GpuResource **all = g_new(const GpuResource *, n + 1);
    bool any = n != 0;
    for (guint i = 0; i < n; i++) {
        all[i] = gpu_resource(s, GPOINTER_TO_UINT(ids[i]));
    }
    qsort(all, n, sizeof(*all), by_id);
    put32(out, n);
    for (guint i = 0; i < n; i++) {
        put_resource(out, all[i]);
    }
    for (unsigned i = 0; i < s->max_outputs; i++) {
        s->out[i].has_cursor = s->out[i].cursor != NULL;
        any |= s->out[i].has_cursor;
        if (s->out[i].cursor) {
            put_pixels(out, s->out[i].cursor);
        }
    }
    gpu_saved_drop(s); /* of an earlier one */
    s->saved_bytes = any ? out->len : 0;
    s->saved = (Fifo8){ .capacity = s->saved_bytes, .used = s->saved_bytes };
    s->saved.data = g_byte_array_free(out, !any);
}

/* ---- loading ---- */

/* How long the stream is comes before it: so much room is made. */
static bool saved_bytes_loaded(void *opaque, Error **errp)
{
    VirtioGpu *s = opaque;
    uint32_t bytes = s->saved_bytes;
    uint64_t most = s->max_hostmem + GPU_OUTPUTS * (uint64_t)CURSOR_BYTES + sizeof(uint32_t);
    gpu_saved_drop(s);
    if (bytes > most || bytes % sizeof(uint32_t)) {
        return error_set(errp, "%u bytes of pictures, max_hostmem is %" G_GUINT64_FORMAT, bytes,
                         s->max_hostmem);
    }
    s->saved_bytes = bytes;
    fifo8_init(&s->saved, MAX(bytes, 1));
    return true;
}

static const VmField saved_fields[] = { VM_U32(VirtioGpu, saved_bytes), { 0 } };
const VmState gpu_saved_state = {
    .name = "virtio-gpu-saved",
    .version = 1,
    .oldest = 1,
    .fields = saved_fields,
    .post_load = saved_bytes_loaded,
};

static const VmField output_fields[] = {
    VM_U32(GpuOutput, resource),
    VM_U32(GpuOutput, r.x),
    VM_U32(GpuOutput, r.y),
    VM_U32(GpuOutput, r.w),
    VM_U32(GpuOutput, r.h),
    VM_BOOL(GpuOutput, has_cursor),
    VM_U32(GpuOutput, hot_x),
    VM_U32(GpuOutput, hot_y),
    VM_U32(GpuOutput, cursor_x),
    VM_U32(GpuOutput, cursor_y),
    { 0 },
};
const VmState gpu_output_state = {
    .name = "virtio-gpu-output", .version = 1, .oldest = 1, .fields = output_fields
};

typedef struct Words {
    const uint8_t *at, *end;
} Words;

static bool get32(Words *w, uint32_t *v)
{
    if (w->end - w->at < 4) {
        return false;
    }
    memcpy(v, w->at, 4);
    *v = GUINT32_FROM_LE(*v);
    w->at += 4;
    return true;
}

static bool get_pixels(Words *w, const Surface *s)
{
    uint64_t n = (uint64_t)surface_width(s) * (uint64_t)surface_height(s);
    if ((uint64_t)(w->end - w->at) / 4 < n) {
        return false;
    }
    for (int y = 0; y < surface_height(s); y++) {
        uint32_t *row = (uint32_t *)surface_row(s, y);
        for (int x = 0; x < surface_width(s); x++) {
            get32(w, &row[x]);
        }
    }
    return true;
}

/* As the driver's commands would make it. */
static bool get_resource(VirtioGpu *s, Words *w)
{
    uint32_t head[RESOURCE_WORDS];
    for (unsigned i = 0; i < RESOURCE_WORDS; i++) {
        if (!get32(w, &head[i])) {
            return false;
        }
    }
    uint32_t id = head[0], n = head[5];
    uint64_t pixels = (uint64_t)head[2] * head[3];
    if ((uint64_t)(w->end - w->at) / 4 < pixels || n > GPU_PIECES || head[4] > 1 || (n && !head[4]) ||
        gpu_resource_create(s, id, head[1], head[2], head[3]) != VIRTIO_GPU_RESP_OK_NODATA) {
        return false;
    }
    g_autofree struct virtio_gpu_mem_entry *list = g_new0(struct virtio_gpu_mem_entry, n + 1);
    for (uint32_t i = 0; i < n; i++) {
        uint32_t low, high, len;
        if (!get32(w, &low) || !get32(w, &high) || !get32(w, &len)) {
            return false;
        }
        list[i].addr = GUINT64_TO_LE((uint64_t)high << 32 | low);
        list[i].length = GUINT32_TO_LE(len);
    }
    GpuResource *r = gpu_resource(s, id);
    IoVec v;
    iov_init_buf(&v, list, n * sizeof(*list));
    bool ok = !head[4] || gpu_resource_attach(s, r, &v, 0, n) == VIRTIO_GPU_RESP_OK_NODATA;
    iov_fini(&v);
    return ok && get_pixels(w, r->pixels);
}

static bool get_all(VirtioGpu *s, Words *w)
{
    uint32_t n;
    bool ok = get32(w, &n);
    for (uint32_t i = 0; ok && i < n; i++) {
        ok = get_resource(s, w);
    }
    for (unsigned i = 0; ok && i < s->max_outputs; i++) {
        GpuOutput *o = &s->out[i];
        if (o->has_cursor) {
            o->cursor = surface_new_alpha(GPU_CURSOR_SIDE, GPU_CURSOR_SIDE, NULL);
            ok = o->cursor && get_pixels(w, o->cursor);
        }
    }
    return ok && w->at == w->end;
}

static bool output_good(const VirtioGpu *s, unsigned i)
{
    const GpuOutput *o = &s->out[i];
    const GpuResource *r = gpu_resource(s, o->resource);
    bool shows = r && o->r.w && o->r.h && gpu_rect_inside(&o->r, r->pixels);
    return o->hot_x < GPU_CURSOR_SIDE && o->hot_y < GPU_CURSOR_SIDE && (o->resource ? shows : !o->r.w) &&
           (i < s->max_outputs || (!o->resource && !o->has_cursor)) && (!o->resource || s->drawing);
}

static bool load_all(VirtioGpu *s, Error **errp)
{
    Words w = { s->saved.data, s->saved.data + fifo8_used(&s->saved) };
    bool any = fifo8_used(&s->saved) != 0, good = true;
    for (unsigned i = 0; i < GPU_OUTPUTS; i++) {
        good = good && (any || !s->out[i].has_cursor);
    }
    good = good && fifo8_used(&s->saved) == s->saved_bytes && (!any || get_all(s, &w));
    for (unsigned i = 0; i < GPU_OUTPUTS; i++) {
        good = good && output_good(s, i);
    }
    return good || error_set(errp, "saved pictures of a virtio graphics card are damaged");
}

bool gpu_post_load(void *opaque, Error **errp)
{
    VirtioGpu *s = opaque;
    GpuOutput saved[GPU_OUTPUTS];
    bool drawing = s->drawing;
    memcpy(saved, s->out, sizeof(saved));
    gpu_forget(s); /* what was there before */
    for (unsigned i = 0; i < GPU_OUTPUTS; i++) {
        saved[i].cursor = NULL;
        s->out[i] = saved[i];
    }
    s->drawing = drawing;
    bool ok = virtio_post_load(&s->v, errp) && load_all(s, errp);
    gpu_saved_drop(s);
    if (!ok) {
        gpu_forget(s);
        return false;
    }
    if (s->leave_vga) { /* back, too: `drawing` before the load is not known any more */
        s->leave_vga(s, drawing);
    }
    for (unsigned i = 0; i < s->max_outputs; i++) {
        gpu_show(s, i);
        gpu_show_cursor(s, i);
    }
    domain_post(&s->more); /* it may have been about to run */
    return true;
}
