/* SPDX-License-Identifier: MIT
 * tests/device/gpuguest.c - see gpuguest.h.
 */
#include "tests/device/gpuguest.h"

#include <string.h>

enum { OK = VIRTIO_GPU_RESP_OK_NODATA };

const void *gg_answer(GpuGuest *g)
{
    return g->m->ram->host + GG_ANSWER;
}

static unsigned answer_size(uint32_t type)
{
    return type == VIRTIO_GPU_RESP_OK_DISPLAY_INFO ? sizeof(struct virtio_gpu_resp_display_info)
           : type == VIRTIO_GPU_RESP_OK_EDID       ? sizeof(struct virtio_gpu_resp_edid)
                                                   : sizeof(struct virtio_gpu_ctrl_hdr);
}

static uint32_t send_command(GpuGuest *g, unsigned len)
{
    struct virtio_gpu_ctrl_hdr h = { 0 };
    unsigned n = g->send(g, 0, len, GG_ANSWER_SIZE);
    if (n) {
        memcpy(&h, gg_answer(g), sizeof(h));
        g_assert_cmpuint(n, ==, answer_size(h.type));
    }
    return h.type;
}

uint32_t gg_command(GpuGuest *g, const void *command, unsigned len)
{
    memcpy(g->m->ram->host + GG_COMMAND, command, len);
    return send_command(g, len);
}

uint32_t gg_simple(GpuGuest *g, uint32_t type)
{
    struct virtio_gpu_ctrl_hdr h = { .type = type };
    return gg_command(g, &h, sizeof(h));
}

uint32_t gg_create(GpuGuest *g, uint32_t id, uint32_t format, uint32_t w, uint32_t h)
{
    struct virtio_gpu_resource_create_2d c = { .hdr.type = VIRTIO_GPU_CMD_RESOURCE_CREATE_2D,
                                               .resource_id = id,
                                               .format = format,
                                               .width = w,
                                               .height = h };
    return gg_command(g, &c, sizeof(c));
}

uint32_t gg_unref(GpuGuest *g, uint32_t id)
{
    struct virtio_gpu_resource_unref c = { .hdr.type = VIRTIO_GPU_CMD_RESOURCE_UNREF, .resource_id = id };
    return gg_command(g, &c, sizeof(c));
}

uint32_t gg_attach(GpuGuest *g, uint32_t id, const struct virtio_gpu_mem_entry *e, unsigned n)
{
    struct virtio_gpu_resource_attach_backing c = { .hdr.type = VIRTIO_GPU_CMD_RESOURCE_ATTACH_BACKING,
                                                    .resource_id = id,
                                                    .nr_entries = n };
    memcpy(g->m->ram->host + GG_COMMAND, &c, sizeof(c));
    memcpy(g->m->ram->host + GG_COMMAND + sizeof(c), e, n * sizeof(*e));
    return send_command(g, (unsigned)(sizeof(c) + n * sizeof(*e)));
}

uint32_t gg_attach_at(GpuGuest *g, uint32_t id, uint64_t at, uint32_t len)
{
    struct virtio_gpu_mem_entry e = { .addr = at, .length = len };
    return gg_attach(g, id, &e, 1);
}

uint32_t gg_detach(GpuGuest *g, uint32_t id)
{
    struct virtio_gpu_resource_detach_backing c = { .hdr.type = VIRTIO_GPU_CMD_RESOURCE_DETACH_BACKING,
                                                    .resource_id = id };
    return gg_command(g, &c, sizeof(c));
}

uint32_t gg_transfer(GpuGuest *g, uint32_t id, uint32_t x, uint32_t y, uint32_t w, uint32_t h, uint64_t off)
{
    struct virtio_gpu_transfer_to_host_2d c = {
        .hdr.type = VIRTIO_GPU_CMD_TRANSFER_TO_HOST_2D, .r = { x, y, w, h }, .offset = off, .resource_id = id
    };
    return gg_command(g, &c, sizeof(c));
}

uint32_t gg_scanout(GpuGuest *g, uint32_t output, uint32_t id, uint32_t x, uint32_t y, uint32_t w, uint32_t h)
{
    struct virtio_gpu_set_scanout c = {
        .hdr.type = VIRTIO_GPU_CMD_SET_SCANOUT, .r = { x, y, w, h }, .scanout_id = output, .resource_id = id
    };
    return gg_command(g, &c, sizeof(c));
}

uint32_t gg_flush(GpuGuest *g, uint32_t id, uint32_t x, uint32_t y, uint32_t w, uint32_t h)
{
    struct virtio_gpu_resource_flush c = { .hdr.type = VIRTIO_GPU_CMD_RESOURCE_FLUSH,
                                           .r = { x, y, w, h },
                                           .resource_id = id };
    return gg_command(g, &c, sizeof(c));
}

void gg_cursor(GpuGuest *g, bool update, uint32_t output, uint32_t id, uint32_t x, uint32_t y, uint32_t hot)
{
    struct virtio_gpu_update_cursor c = { .hdr.type = update ? VIRTIO_GPU_CMD_UPDATE_CURSOR
                                                             : VIRTIO_GPU_CMD_MOVE_CURSOR,
                                          .pos = { output, x, y, 0 },
                                          .resource_id = id,
                                          .hot_x = hot,
                                          .hot_y = hot };
    memcpy(g->m->ram->host + GG_COMMAND, &c, sizeof(c));
    g->send(g, 1, sizeof(c), 0);
}

uint32_t gg_colour(uint32_t seed, uint32_t x, uint32_t y)
{
    return (seed + x * 65539 + y * 257) & 0xffffff;
}

void gg_picture(GpuGuest *g, uint32_t id, uint32_t output, uint32_t w, uint32_t h, uint32_t seed)
{
    for (uint32_t i = 0; i < w * h; i++) {
        uint32_t v = 0xff000000 | gg_colour(seed, i % w, i / w);
        memcpy(g->m->ram->host + GG_PIXELS + 4 * (size_t)i, &v, 4);
    }
    g_assert_cmphex(gg_create(g, id, VIRTIO_GPU_FORMAT_B8G8R8X8_UNORM, w, h), ==, OK);
    g_assert_cmphex(gg_attach_at(g, id, GG_PIXELS, 4 * w * h), ==, OK);
    g_assert_cmphex(gg_transfer(g, id, 0, 0, w, h, 0), ==, OK);
    g_assert_cmphex(gg_scanout(g, output, id, 0, 0, w, h), ==, OK);
    g_assert_cmphex(gg_flush(g, id, 0, 0, w, h), ==, OK);
}
