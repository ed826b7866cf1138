/* SPDX-License-Identifier: MIT
 * hw/display/virtio-gpu-cmd.c - a virtio graphics card's commands: the control queue and the cursor queue.
 * Models: virtio 1.2, 5.7.6.7 and 5.7.6.8: all 2D commands; fences (5.7.6.7): a command is complete when its
 *         buffer goes back, so an answer carries its fence. Does not model: 3D, blobs, UUIDs, none of which
 * is offered. Threads: the device's domain.
 */
#include "edid.h"
#include "virtio-gpu.h"

#include <string.h>

enum { COST_EACH = 4096 }; /* a command takes as long as it takes to move so many bytes, or longer */

typedef struct GpuCall {
    VirtioGpu *s;
    const VirtElem *e;
    union {
        struct virtio_gpu_ctrl_hdr hdr;
        struct virtio_gpu_resource_create_2d create;
        struct virtio_gpu_resource_unref unref;
        struct virtio_gpu_set_scanout scanout;
        struct virtio_gpu_resource_flush flush;
        struct virtio_gpu_transfer_to_host_2d transfer;
        struct virtio_gpu_resource_attach_backing attach;
        struct virtio_gpu_resource_detach_backing detach;
        struct virtio_gpu_cmd_get_edid edid;
    } in;
    union {
        struct virtio_gpu_ctrl_hdr hdr;
        struct virtio_gpu_resp_display_info info;
        struct virtio_gpu_resp_edid edid;
    } out;
    size_t out_size;
    uint64_t moved; /* bytes */
} GpuCall;

static GpuRect rect_of(const struct virtio_gpu_rect *r)
{
    return (GpuRect){ GUINT32_FROM_LE(r->x), GUINT32_FROM_LE(r->y), GUINT32_FROM_LE(r->width),
                      GUINT32_FROM_LE(r->height) };
}

static GpuResource *resource_of(const GpuCall *c, uint32_t le)
{
    uint32_t id = GUINT32_FROM_LE(le);
    GpuResource *r = gpu_resource(c->s, id);
    if (!r) {
        guest_error(&c->s->v.dev, "virtio-gpu: command 0x%x: there is no resource %u",
                    GUINT32_FROM_LE(c->in.hdr.type), id);
    }
    return r;
}

/* ---- what heads are there ---- */

static uint32_t cmd_display_info(GpuCall *c)
{
    for (unsigned i = 0; i < c->s->max_outputs; i++) {
        const ConsoleWish *w = &c->s->out[i].wish;
        struct virtio_gpu_display_one *d = &c->out.info.pmodes[i];
        d->enabled = GUINT32_TO_LE(!w->off);
        d->r.x = GUINT32_TO_LE((uint32_t)w->x);
        d->r.y = GUINT32_TO_LE((uint32_t)w->y);
        d->r.width = GUINT32_TO_LE((uint32_t)w->width);
        d->r.height = GUINT32_TO_LE((uint32_t)w->height);
    }
    c->out_size = sizeof(c->out.info);
    return VIRTIO_GPU_RESP_OK_DISPLAY_INFO;
}

static uint32_t cmd_edid(GpuCall *c)
{
    uint32_t i = GUINT32_FROM_LE(c->in.edid.scanout);
    if (!c->s->edid) {
        return VIRTIO_GPU_RESP_ERR_UNSPEC;
    }
    if (i >= c->s->max_outputs) {
        return VIRTIO_GPU_RESP_ERR_INVALID_SCANOUT_ID;
    }
    const ConsoleWish *w = &c->s->out[i].wish;
    EdidInfo info = { .on = true,
                      .xres = MIN((uint32_t)w->width, EDID_MAX_SIDE),
                      .yres = MIN((uint32_t)w->height, EDID_MAX_SIDE),
                      .width_mm = (uint32_t)w->width_mm,
                      .height_mm = (uint32_t)w->height_mm };
    edid_make(&info, c->out.edid.edid);
    c->out.edid.size = GUINT32_TO_LE(EDID_SIZE);
    c->out_size = sizeof(c->out.edid);
    return VIRTIO_GPU_RESP_OK_EDID;
}

/* num_capsets is 0. */
static uint32_t cmd_capset(GpuCall *c G_GNUC_UNUSED)
{
    return VIRTIO_GPU_RESP_ERR_INVALID_PARAMETER;
}

/* ---- resources ---- */

static uint32_t cmd_create(GpuCall *c)
{
    const struct virtio_gpu_resource_create_2d *q = &c->in.create;
    c->moved = 4 * (uint64_t)GUINT32_FROM_LE(q->width) * GUINT32_FROM_LE(q->height); /* they are cleared */
    return gpu_resource_create(c->s, GUINT32_FROM_LE(q->resource_id), GUINT32_FROM_LE(q->format),
                               GUINT32_FROM_LE(q->width), GUINT32_FROM_LE(q->height));
}

static uint32_t cmd_unref(GpuCall *c)
{
    GpuResource *r = resource_of(c, c->in.unref.resource_id);
    if (!r) {
        return VIRTIO_GPU_RESP_ERR_INVALID_RESOURCE_ID;
    }
    for (unsigned i = 0; i < c->s->max_outputs; i++) {
        if (c->s->out[i].resource == r->id) {
            c->s->out[i].resource = 0;
            gpu_show(c->s, i);
        }
    }
    gpu_resource_drop(c->s, r);
    return VIRTIO_GPU_RESP_OK_NODATA;
}

static uint32_t cmd_attach(GpuCall *c)
{
    GpuResource *r = resource_of(c, c->in.attach.resource_id);
    uint32_t n = GUINT32_FROM_LE(c->in.attach.nr_entries);
    c->moved = MIN(n, GPU_PIECES) * (uint64_t)sizeof(GpuPiece);
    return r ? gpu_resource_attach(c->s, r, &c->e->out, sizeof(c->in.attach), n)
             : VIRTIO_GPU_RESP_ERR_INVALID_RESOURCE_ID;
}

static uint32_t cmd_detach(GpuCall *c)
{
    GpuResource *r = resource_of(c, c->in.detach.resource_id);
    if (!r) {
        return VIRTIO_GPU_RESP_ERR_INVALID_RESOURCE_ID;
    }
    if (!r->backed) {
        return VIRTIO_GPU_RESP_ERR_UNSPEC;
    }
    gpu_resource_detach(c->s, r);
    return VIRTIO_GPU_RESP_OK_NODATA;
}

static uint32_t cmd_transfer(GpuCall *c)
{
    GpuResource *r = resource_of(c, c->in.transfer.resource_id);
    GpuRect rect = rect_of(&c->in.transfer.r);
    if (!r) {
        return VIRTIO_GPU_RESP_ERR_INVALID_RESOURCE_ID;
    }
    uint32_t answer = gpu_resource_transfer(c->s, r, &rect, GUINT64_FROM_LE(c->in.transfer.offset));
    c->moved = answer == VIRTIO_GPU_RESP_OK_NODATA ? 4 * (uint64_t)rect.w * rect.h : 0;
    return answer;
}

/* ---- pictures ---- */

static uint32_t cmd_scanout(GpuCall *c)
{
    uint32_t i = GUINT32_FROM_LE(c->in.scanout.scanout_id);
    GpuRect rect = rect_of(&c->in.scanout.r);
    if (i >= c->s->max_outputs) {
        guest_error(&c->s->v.dev, "virtio-gpu: output %u of %u", i, c->s->max_outputs);
        return VIRTIO_GPU_RESP_ERR_INVALID_SCANOUT_ID;
    }
    GpuOutput *out = &c->s->out[i];
    if (c->in.scanout.resource_id == 0) {
        out->resource = 0;
        gpu_show(c->s, i);
        return VIRTIO_GPU_RESP_OK_NODATA;
    }
    GpuResource *r = resource_of(c, c->in.scanout.resource_id);
    if (!r) {
        return VIRTIO_GPU_RESP_ERR_INVALID_RESOURCE_ID;
    }
    if (!rect.w || !rect.h || !gpu_rect_inside(&rect, r->pixels)) {
        guest_error(&c->s->v.dev, "virtio-gpu: output of %u x %u pixels at %u, %u of %d x %d", rect.w, rect.h,
                    rect.x, rect.y, surface_width(r->pixels), surface_height(r->pixels));
        return VIRTIO_GPU_RESP_ERR_INVALID_PARAMETER;
    }
    out->resource = r->id;
    out->r = rect;
    gpu_show(c->s, i);
    return VIRTIO_GPU_RESP_OK_NODATA;
}

static void flush_output(const GpuOutput *o, const GpuRect *r)
{
    uint32_t x1 = MAX(r->x, o->r.x), y1 = MAX(r->y, o->r.y); /* inside of the resource: no sum wraps */
    uint32_t x2 = MIN(r->x + r->w, o->r.x + o->r.w), y2 = MIN(r->y + r->h, o->r.y + o->r.h);
    if (x1 < x2 && y1 < y2) {
        console_damage(o->console, (int)(x1 - o->r.x), (int)(y1 - o->r.y), (int)(x2 - x1), (int)(y2 - y1));
    }
}

static uint32_t cmd_flush(GpuCall *c)
{
    GpuResource *r = resource_of(c, c->in.flush.resource_id);
    GpuRect rect = rect_of(&c->in.flush.r);
    if (!r) {
        return VIRTIO_GPU_RESP_ERR_INVALID_RESOURCE_ID;
    }
    if (!gpu_rect_inside(&rect, r->pixels)) {
        return VIRTIO_GPU_RESP_ERR_INVALID_PARAMETER;
    }
    for (unsigned i = 0; i < c->s->max_outputs; i++) {
        if (c->s->out[i].resource == r->id) {
            flush_output(&c->s->out[i], &rect);
        }
    }
    return VIRTIO_GPU_RESP_OK_NODATA;
}

/* ---- the queues ---- */

static const struct {
    uint32_t type;
    uint32_t size; /* of the command's struct */
    uint32_t (*run)(GpuCall *c);
} commands[] = {
    { VIRTIO_GPU_CMD_GET_DISPLAY_INFO, sizeof(struct virtio_gpu_ctrl_hdr), cmd_display_info },
    { VIRTIO_GPU_CMD_RESOURCE_CREATE_2D, sizeof(struct virtio_gpu_resource_create_2d), cmd_create },
    { VIRTIO_GPU_CMD_RESOURCE_UNREF, sizeof(struct virtio_gpu_resource_unref), cmd_unref },
    { VIRTIO_GPU_CMD_SET_SCANOUT, sizeof(struct virtio_gpu_set_scanout), cmd_scanout },
    { VIRTIO_GPU_CMD_RESOURCE_FLUSH, sizeof(struct virtio_gpu_resource_flush), cmd_flush },
    { VIRTIO_GPU_CMD_TRANSFER_TO_HOST_2D, sizeof(struct virtio_gpu_transfer_to_host_2d), cmd_transfer },
    { VIRTIO_GPU_CMD_RESOURCE_ATTACH_BACKING, sizeof(struct virtio_gpu_resource_attach_backing), cmd_attach },
    { VIRTIO_GPU_CMD_RESOURCE_DETACH_BACKING, sizeof(struct virtio_gpu_resource_detach_backing), cmd_detach },
    { VIRTIO_GPU_CMD_GET_CAPSET_INFO, sizeof(struct virtio_gpu_get_capset_info), cmd_capset },
    { VIRTIO_GPU_CMD_GET_CAPSET, sizeof(struct virtio_gpu_get_capset), cmd_capset },
    { VIRTIO_GPU_CMD_GET_EDID, sizeof(struct virtio_gpu_cmd_get_edid), cmd_edid },
};

static uint32_t call_run(GpuCall *c)
{
    uint32_t type = GUINT32_FROM_LE(c->in.hdr.type);
    for (unsigned i = 0; i < G_N_ELEMENTS(commands); i++) {
        if (commands[i].type == type && c->e->out.bytes >= commands[i].size) {
            return commands[i].run(c);
        }
    }
    guest_error(&c->s->v.dev, "virtio-gpu: command 0x%x of %zu bytes", type, c->e->out.bytes);
    return VIRTIO_GPU_RESP_ERR_UNSPEC;
}

uint64_t gpu_control(VirtioGpu *s, VirtElem *e, uint32_t *written)
{
    GpuCall c = { .s = s, .e = e, .out_size = sizeof(struct virtio_gpu_ctrl_hdr) };
    *written = 0;
    if (e->out.bytes < sizeof(c.in.hdr)) {
        guest_error(&s->v.dev, "virtio-gpu: a command of %zu bytes", e->out.bytes);
        return COST_EACH;
    }
    iov_to_buf(&e->out, 0, &c.in, MIN(e->out.bytes, sizeof(c.in)));
    c.out.hdr.type = GUINT32_TO_LE(call_run(&c));
    if (c.in.hdr.flags & GUINT32_TO_LE(VIRTIO_GPU_FLAG_FENCE)) {
        c.out.hdr.flags = GUINT32_TO_LE(VIRTIO_GPU_FLAG_FENCE);
        c.out.hdr.fence_id = c.in.hdr.fence_id;
        c.out.hdr.ctx_id = c.in.hdr.ctx_id;
    }
    if (e->in.bytes < c.out_size) {
        guest_error(&s->v.dev, "virtio-gpu: %zu bytes for an answer of %zu", e->in.bytes, c.out_size);
    }
    *written = (uint32_t)MIN(e->in.bytes, c.out_size);
    iov_from_buf(&e->in, 0, &c.out, *written);
    return COST_EACH + c.moved;
}

void gpu_cursor(VirtioGpu *s, const VirtElem *e)
{
    struct virtio_gpu_update_cursor c = { 0 };
    iov_to_buf(&e->out, 0, &c, MIN(e->out.bytes, sizeof(c)));
    uint32_t type = GUINT32_FROM_LE(c.hdr.type), i = GUINT32_FROM_LE(c.pos.scanout_id);
    uint32_t hot_x = GUINT32_FROM_LE(c.hot_x), hot_y = GUINT32_FROM_LE(c.hot_y);
    bool update = type == VIRTIO_GPU_CMD_UPDATE_CURSOR;
    if (e->out.bytes < sizeof(c) || (!update && type != VIRTIO_GPU_CMD_MOVE_CURSOR) || i >= s->max_outputs) {
        guest_error(&s->v.dev, "virtio-gpu: cursor command 0x%x of %zu bytes for output %u", type,
                    e->out.bytes, i);
        return;
    }
    GpuOutput *out = &s->out[i];
    out->cursor_x = GUINT32_FROM_LE(c.pos.x);
    out->cursor_y = GUINT32_FROM_LE(c.pos.y);
    if (update) {
        uint32_t id = GUINT32_FROM_LE(c.resource_id);
        const GpuResource *r = gpu_resource(s, id);
        bool hot = hot_x < GPU_CURSOR_SIDE && hot_y < GPU_CURSOR_SIDE;
        Surface *shape = r && hot ? gpu_resource_cursor(r) : NULL;
        if (id && !shape) {
            guest_error(&s->v.dev, "virtio-gpu: cursor of resource %u, hot spot %u, %u", id, hot_x, hot_y);
        }
        surface_unref(out->cursor);
        out->cursor = shape;
        out->hot_x = shape ? hot_x : 0;
        out->hot_y = shape ? hot_y : 0;
        gpu_show_cursor(s, i);
    } else {
        console_move_cursor(out->console, (int32_t)out->cursor_x, (int32_t)out->cursor_y,
                            out->cursor != NULL);
    }
}
