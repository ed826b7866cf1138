/* SPDX-License-Identifier: MIT
 * tests/device/test-virtio-gpu.c - hw/display/virtio-gpu.c, virtio-gpu-cmd.c, virtio-gpu-res.c and
 * virtio-gpu-state.c: a driver in the test draws in each format, from memory in pieces, on several heads,
 * with cursors and fences, is told what a viewer would like, and breaks the rules (RHEA_GPU_CASES=N: random
 * commands, 20000 unless told). Threads: main.
 */
#include "hw/display/edid.h"
#include "rhea/hw/virtio-mmio.h"
#include "rhea/util/error.h"
#include "tests/device/gpuguest.h"
#include "tests/device/mmioguest.h"
#include "tests/device/statedump.h"
#include "tests/device/vgaguest.h"

#include <stdlib.h>
#include <string.h>

enum { SIZE = 16, RAM = 32 << 20, CONFIG = 0x100, OK = VIRTIO_GPU_RESP_OK_NODATA };
enum {
    E_UNSPEC = VIRTIO_GPU_RESP_ERR_UNSPEC,
    E_MEMORY = VIRTIO_GPU_RESP_ERR_OUT_OF_MEMORY,
    E_OUTPUT = VIRTIO_GPU_RESP_ERR_INVALID_SCANOUT_ID,
    E_ID = VIRTIO_GPU_RESP_ERR_INVALID_RESOURCE_ID,
    E_PARAM = VIRTIO_GPU_RESP_ERR_INVALID_PARAMETER,
};
enum { BGRX = VIRTIO_GPU_FORMAT_B8G8R8X8_UNORM, BGRA = VIRTIO_GPU_FORMAT_B8G8R8A8_UNORM };

typedef struct Driver {
    GpuGuest gpu;
    MmioGuest g;
} Driver;

static unsigned send_buffer(GpuGuest *gpu, unsigned q, unsigned out, unsigned in)
{
    MmioGuest *g = &((Driver *)gpu)->g;
    unsigned before = mg_used(g, q);
    mg_desc(g, q, 0, GG_COMMAND, out, in ? MG_NEXT : 0, 1);
    mg_desc(g, q, 1, GG_ANSWER, in, MG_WRITE, 0);
    mg_offer(g, q, 0);
    mg_kick(g, q);
    if (mg_used(g, q) == before) {
        tm_turns(g->tm);
    }
    g_assert_cmpuint(mg_used(g, q), ==, (before + 1) & 0xffff);
    return mg_used_len(g, q, before);
}

static void open_card(Driver *d, const char *prop, const char *value)
{
    *d = (Driver){ .gpu.send = send_buffer };
    mg_open(&d->g, RAM, SIZE);
    mg_plug(&d->g, "virtio-gpu-device", prop, value, NULL);
    d->gpu.m = d->g.tm->m;
    g_assert_cmpuint(mg_rd(&d->g, 8), ==, 16);
    mg_start(&d->g, mg_features(&d->g) & MG_BIT(VIRTIO_GPU_F_EDID), 2);
}

static Console *head(Driver *d, unsigned n)
{
    return console_by_device(d->gpu.m, "dut", n, &error_abort_slot);
}

static uint32_t pixel(Driver *d, unsigned n, int x, int y)
{
    VgaGuest g = { d->gpu.m, head(d, n) };
    return vga_pixel(&g, x, y);
}

static void expect_size(Driver *d, unsigned n, int w, int h)
{
    Surface *s = console_surface(head(d, n));
    g_assert_cmpint(s ? surface_width(s) : 0, ==, w);
    g_assert_cmpint(s ? surface_height(s) : 0, ==, h);
    surface_unref(s);
}

/* ---- what heads are there ---- */

static void expect_head(Driver *d, unsigned n, uint32_t enabled, uint32_t w, uint32_t h)
{
    g_assert_cmphex(gg_simple(&d->gpu, VIRTIO_GPU_CMD_GET_DISPLAY_INFO), ==, VIRTIO_GPU_RESP_OK_DISPLAY_INFO);
    const struct virtio_gpu_resp_display_info *info = gg_answer(&d->gpu);
    g_assert_cmpuint(info->pmodes[n].enabled, ==, enabled);
    g_assert_cmpuint(info->pmodes[n].r.width, ==, w);
    g_assert_cmpuint(info->pmodes[n].r.height, ==, h);
}

static uint32_t ask_edid(Driver *d, uint32_t head_no)
{
    struct virtio_gpu_cmd_get_edid c = { .hdr.type = VIRTIO_GPU_CMD_GET_EDID, .scanout = head_no };
    return gg_command(&d->gpu, &c, sizeof(c));
}

static void expect_edid(Driver *d, uint32_t head_no, unsigned w, unsigned h)
{
    g_assert_cmphex(ask_edid(d, head_no), ==, VIRTIO_GPU_RESP_OK_EDID);
    const struct virtio_gpu_resp_edid *e = gg_answer(&d->gpu);
    g_assert_cmpuint(e->size, ==, EDID_SIZE);
    g_assert_cmphex(e->edid[1], ==, 0xff);
    g_assert_cmpuint(e->edid[56] | (e->edid[58] & 0xf0) << 4, ==, w);
    g_assert_cmpuint(e->edid[59] | (e->edid[61] & 0xf0) << 4, ==, h);
}

static void test_heads(void)
{
    Driver d;
    open_card(&d, "max_outputs", "3");
    g_assert_cmpuint(mg_rd(&d.g, CONFIG + 8), ==, 3);
    g_assert_cmpuint(mg_rd(&d.g, CONFIG + 12), ==, 0);
    g_assert_cmphex(mg_features(&d.g) & 31, ==, 1 << VIRTIO_GPU_F_EDID);
    expect_head(&d, 0, 1, 1280, 800);
    expect_head(&d, 1, 0, 1280, 800);
    expect_head(&d, 3, 0, 0, 0);
    expect_edid(&d, 0, 1280, 800);
    g_assert_cmphex(ask_edid(&d, 3), ==, E_OUTPUT);
    g_assert_cmphex(gg_simple(&d.gpu, VIRTIO_GPU_CMD_GET_CAPSET_INFO), ==, E_UNSPEC); /* too short */
    struct virtio_gpu_get_capset_info c = { .hdr.type = VIRTIO_GPU_CMD_GET_CAPSET_INFO };
    g_assert_cmphex(gg_command(&d.gpu, &c, sizeof(c)), ==, E_PARAM);
    mg_close(&d.g);
    open_card(&d, "edid", "off");
    g_assert_cmphex(mg_features(&d.g) & 31, ==, 0);
    g_assert_cmphex(ask_edid(&d, 0), ==, E_UNSPEC);
    mg_close(&d.g);
}

static void test_wish(void)
{
    Driver d;
    open_card(&d, "max_outputs", "2");
    Console *second = head(&d, 1);
    uint32_t generation = mg_rd(&d.g, 0xfc);
    mg_wr(&d.g, 0x64, mg_rd(&d.g, 0x60));
    console_wish(
        second, &(ConsoleWish){ .width = 1111, .height = 777, .x = 1280, .width_mm = 300, .height_mm = 200 });
    g_assert_true(d.g.tm->level[MG_PIN]);
    g_assert_cmphex(mg_rd(&d.g, 0x60), ==, 2);
    mg_wr(&d.g, 0x64, 2);
    g_assert_cmpuint(mg_rd(&d.g, CONFIG), ==, VIRTIO_GPU_EVENT_DISPLAY);
    g_assert_cmpuint(mg_rd(&d.g, 0xfc), !=, generation);
    mg_wr(&d.g, CONFIG + 4, 1);
    g_assert_cmpuint(mg_rd(&d.g, CONFIG), ==, 0);
    expect_head(&d, 1, 1, 1111, 777);
    g_assert_cmpuint(((const struct virtio_gpu_resp_display_info *)gg_answer(&d.gpu))->pmodes[1].r.x, ==,
                     1280);
    expect_head(&d, 0, 1, 1280, 800);
    expect_edid(&d, 1, 1111, 777);
    g_assert_cmpuint(((const struct virtio_gpu_resp_edid *)gg_answer(&d.gpu))->edid[66], ==, 300 & 255);
    console_wish(second, &(ConsoleWish){ .off = true });
    g_assert_cmpuint(mg_rd(&d.g, CONFIG), ==, VIRTIO_GPU_EVENT_DISPLAY);
    expect_head(&d, 1, 0, 1111, 777);
    console_wish(second, &(ConsoleWish){ .width = INT_MAX, .height = INT_MAX, .x = INT_MIN, .y = INT_MAX });
    expect_head(&d, 1, 1, SURFACE_MAX_SIDE, SURFACE_MAX_SIDE);
    expect_edid(&d, 1, EDID_MAX_SIDE, EDID_MAX_SIDE);
    mg_wr(&d.g, MG_STATUS, 0); /* nobody to tell: no interrupt, and the size is known later */
    mg_wr(&d.g, 0x64, 3);
    console_wish(head(&d, 0), &(ConsoleWish){ .width = 640, .height = 480 });
    g_assert_false(d.g.tm->level[MG_PIN]);
    mg_start(&d.g, 0, 2);
    expect_head(&d, 0, 1, 640, 480);
    mg_close(&d.g);
}

/* ---- pictures ---- */

static void test_formats(void)
{
    static const struct {
        uint32_t format;
        uint8_t bytes[4]; /* of red 11h, green 22h, blue 33h */
    } list[] = { { VIRTIO_GPU_FORMAT_B8G8R8A8_UNORM, { 0x33, 0x22, 0x11, 0xff } },
                 { VIRTIO_GPU_FORMAT_B8G8R8X8_UNORM, { 0x33, 0x22, 0x11, 0 } },
                 { VIRTIO_GPU_FORMAT_A8R8G8B8_UNORM, { 0xff, 0x11, 0x22, 0x33 } },
                 { VIRTIO_GPU_FORMAT_X8R8G8B8_UNORM, { 0, 0x11, 0x22, 0x33 } },
                 { VIRTIO_GPU_FORMAT_R8G8B8A8_UNORM, { 0x11, 0x22, 0x33, 0xff } },
                 { VIRTIO_GPU_FORMAT_X8B8G8R8_UNORM, { 0, 0x33, 0x22, 0x11 } },
                 { VIRTIO_GPU_FORMAT_A8B8G8R8_UNORM, { 0xff, 0x33, 0x22, 0x11 } },
                 { VIRTIO_GPU_FORMAT_R8G8B8X8_UNORM, { 0x11, 0x22, 0x33, 0 } } };
    Driver d;
    open_card(&d, NULL, NULL);
    expect_size(&d, 0, 0, 0);
    for (unsigned i = 0; i < G_N_ELEMENTS(list); i++) {
        uint32_t id = i + 1;
        memset(d.gpu.m->ram->host + GG_PIXELS, 0, 64 * 48 * 4);
        memcpy(d.gpu.m->ram->host + GG_PIXELS + 4 * (64 * 47 + 63), list[i].bytes, 4);
        g_assert_cmphex(gg_create(&d.gpu, id, list[i].format, 64, 48), ==, OK);
        g_assert_cmphex(gg_attach_at(&d.gpu, id, GG_PIXELS, 64 * 48 * 4), ==, OK);
        g_assert_cmphex(gg_scanout(&d.gpu, 0, id, 0, 0, 64, 48), ==, OK);
        expect_size(&d, 0, 64, 48);
        g_assert_cmphex(pixel(&d, 0, 63, 47), ==, 0);
        g_assert_cmphex(gg_transfer(&d.gpu, id, 0, 0, 64, 48, 0), ==, OK);
        g_assert_cmphex(pixel(&d, 0, 63, 47), ==, 0x112233);
        g_assert_cmphex(pixel(&d, 0, 62, 47), ==, 0);
    }
    for (uint32_t f = 0; f < 256; f++) {
        bool there = false;
        for (unsigned i = 0; i < G_N_ELEMENTS(list); i++) {
            there = there || list[i].format == f;
        }
        g_assert_cmphex(gg_create(&d.gpu, 100 + f, f, 1, 1), ==, there ? OK : E_PARAM);
    }
    mg_close(&d.g);
}

/* Memory in pieces of odd lengths, one of them empty; a rectangle out of the middle. */
static void test_pieces(void)
{
    Driver d;
    enum { W = 50, H = 20, STEP = 1000 };
    struct virtio_gpu_mem_entry e[6] = { { GG_PIXELS + 3 * STEP, 999, 0 },
                                         { GG_PIXELS, 1, 0 },
                                         { 0, 0, 0 },
                                         { GG_PIXELS + 8 * STEP, 1500, 0 },
                                         { GG_PIXELS + 6 * STEP, 500, 0 },
                                         { GG_PIXELS + 12 * STEP, 1000, 0 } };
    open_card(&d, NULL, NULL);
    unsigned at = 0;
    for (unsigned i = 0; i < G_N_ELEMENTS(e); i++) {
        for (unsigned k = 0; k < e[i].length; k++, at++) {
            uint32_t colour = 0xff000000 | gg_colour(1, at / 4 % W, at / 4 / W);
            d.gpu.m->ram->host[e[i].addr + k] = (uint8_t)(colour >> 8 * (at % 4));
        }
    }
    g_assert_cmphex(gg_create(&d.gpu, 7, BGRX, W, H), ==, OK);
    g_assert_cmphex(gg_transfer(&d.gpu, 7, 0, 0, W, H, 0), ==, E_UNSPEC); /* no memory yet */
    g_assert_cmphex(gg_attach(&d.gpu, 7, e, G_N_ELEMENTS(e)), ==, OK);
    g_assert_cmphex(gg_attach(&d.gpu, 7, e, G_N_ELEMENTS(e)), ==, E_UNSPEC);
    g_assert_cmphex(gg_scanout(&d.gpu, 0, 7, 0, 0, W, H), ==, OK);
    g_assert_cmphex(gg_transfer(&d.gpu, 7, 10, 5, 20, 8, 4 * (5 * W + 10)), ==, OK);
    for (uint32_t i = 0; i < W * H; i++) {
        uint32_t x = i % W, y = i / W;
        bool inside = x >= 10 && x < 30 && y >= 5 && y < 13;
        g_assert_cmphex(pixel(&d, 0, (int)x, (int)y), ==, inside ? gg_colour(1, x, y) : 0);
    }
    g_assert_cmphex(gg_transfer(&d.gpu, 7, 0, 0, W, H, 0), ==, OK);
    g_assert_cmphex(pixel(&d, 0, W - 1, H - 1), ==, gg_colour(1, W - 1, H - 1));
    g_assert_cmphex(gg_transfer(&d.gpu, 7, 0, 0, W, H, 4), ==, E_PARAM); /* beyond its end */
    g_assert_cmphex(gg_transfer(&d.gpu, 7, 0, 0, W, H, UINT64_MAX), ==, E_PARAM);
    g_assert_cmphex(gg_transfer(&d.gpu, 7, 1, 0, W, H, 0), ==, E_PARAM);
    g_assert_cmphex(gg_transfer(&d.gpu, 7, UINT32_MAX, UINT32_MAX, 2, 2, 0), ==, E_PARAM);
    g_assert_cmphex(gg_transfer(&d.gpu, 7, 0, 0, 0, 0, UINT64_MAX), ==, OK);
    g_assert_cmphex(gg_detach(&d.gpu, 7), ==, OK);
    g_assert_cmphex(gg_detach(&d.gpu, 7), ==, E_UNSPEC);
    g_assert_cmphex(gg_attach_at(&d.gpu, 7, RAM - 2000, 4000), ==, OK); /* half of it is no memory */
    g_assert_cmphex(gg_transfer(&d.gpu, 7, 0, 0, W, 10, 0), ==, OK);
    g_assert_cmphex(gg_transfer(&d.gpu, 7, 0, 0, W, H, 0), ==, E_UNSPEC);
    g_assert_cmphex(gg_attach(&d.gpu, 8, e, 1), ==, E_ID);
    mg_close(&d.g);
}

typedef struct Watcher {
    ConsoleListener l;
    unsigned surfaces, damages;
    int x1, y1, x2, y2;
} Watcher;

static void watcher_surface(ConsoleListener *l, Surface *s G_GNUC_UNUSED)
{
    ((Watcher *)l)->surfaces++;
}

static void watcher_damage(ConsoleListener *l, int x, int y, int w, int h)
{
    Watcher *v = (Watcher *)l;
    v->damages++;
    v->x1 = MIN(v->x1, x);
    v->y1 = MIN(v->y1, y);
    v->x2 = MAX(v->x2, x + w);
    v->y2 = MAX(v->y2, y + h);
}

static void expect_damage(Driver *d, unsigned n, Watcher *v, int x1, int y1, int x2, int y2)
{
    console_refresh(head(d, n));
    if (x1 == x2) {
        g_assert_cmpuint(v->damages, ==, 0);
    } else {
        g_assert_cmpint(v->x1, ==, x1);
        g_assert_cmpint(v->y1, ==, y1);
        g_assert_cmpint(v->x2, ==, x2);
        g_assert_cmpint(v->y2, ==, y2);
    }
    *v = (Watcher){ .l = v->l, .surfaces = v->surfaces, .x1 = INT_MAX, .y1 = INT_MAX };
}

/* Two heads show parts of one resource: each hears of what is flushed of its own. */
static void test_outputs(void)
{
    static const ConsoleListenerOps ops = { .surface = watcher_surface, .damage = watcher_damage };
    Driver d;
    open_card(&d, "max_outputs", "2");
    gg_picture(&d.gpu, 5, 0, 200, 100, 3);
    g_assert_cmphex(gg_scanout(&d.gpu, 0, 5, 0, 0, 120, 100), ==, OK);
    g_assert_cmphex(gg_scanout(&d.gpu, 1, 5, 100, 10, 100, 80), ==, OK);
    expect_size(&d, 0, 120, 100);
    expect_size(&d, 1, 100, 80);
    g_assert_cmphex(pixel(&d, 0, 119, 99), ==, gg_colour(3, 119, 99));
    g_assert_cmphex(pixel(&d, 1, 99, 79), ==, gg_colour(3, 199, 89));
    Watcher one = { .l = { .ops = &ops } }, two = { .l = { .ops = &ops } };
    console_add_listener(head(&d, 0), &one.l);
    console_add_listener(head(&d, 1), &two.l);
    expect_damage(&d, 0, &one, 0, 0, 120, 100);
    expect_damage(&d, 1, &two, 0, 0, 100, 80);
    g_assert_cmphex(gg_transfer(&d.gpu, 5, 0, 0, 200, 100, 0), ==, OK); /* not flushed yet */
    expect_damage(&d, 0, &one, 0, 0, 0, 0);
    g_assert_cmphex(gg_flush(&d.gpu, 5, 90, 5, 20, 10), ==, OK);
    expect_damage(&d, 0, &one, 90, 5, 110, 15);
    expect_damage(&d, 1, &two, 0, 0, 10, 5);
    g_assert_cmphex(gg_flush(&d.gpu, 5, 0, 0, 50, 100), ==, OK);
    expect_damage(&d, 0, &one, 0, 0, 50, 100);
    expect_damage(&d, 1, &two, 0, 0, 0, 0);
    g_assert_cmphex(gg_flush(&d.gpu, 5, 1, 0, 200, 100), ==, E_PARAM);
    g_assert_cmphex(gg_flush(&d.gpu, 6, 0, 0, 1, 1), ==, E_ID);
    g_assert_cmphex(gg_scanout(&d.gpu, 2, 5, 0, 0, 1, 1), ==, E_OUTPUT);
    g_assert_cmphex(gg_scanout(&d.gpu, 1, 6, 0, 0, 1, 1), ==, E_ID);
    g_assert_cmphex(gg_scanout(&d.gpu, 1, 5, 0, 0, 0, 1), ==, E_PARAM);
    g_assert_cmphex(gg_scanout(&d.gpu, 1, 5, 101, 0, 100, 1), ==, E_PARAM);
    g_assert_cmphex(gg_scanout(&d.gpu, 1, 5, UINT32_MAX, 0, 2, 1), ==, E_PARAM);
    expect_size(&d, 1, 100, 80);
    g_assert_cmphex(gg_scanout(&d.gpu, 1, 0, 0, 0, 0, 0), ==, OK);
    expect_size(&d, 1, 0, 0);
    Surface *kept = console_surface(head(&d, 0)); /* a viewer's, which outlives the resource */
    g_assert_cmphex(gg_unref(&d.gpu, 5), ==, OK);
    expect_size(&d, 0, 0, 0);
    g_assert_cmphex(*(uint32_t *)surface_row(kept, 0) & 0xffffff, ==, gg_colour(3, 0, 0));
    surface_unref(kept);
    g_assert_cmphex(gg_unref(&d.gpu, 5), ==, E_ID);
    console_remove_listener(&one.l);
    console_remove_listener(&two.l);
    mg_close(&d.g);
}

static void test_memory(void)
{
    Driver d;
    open_card(&d, "max_hostmem", "1M");
    g_assert_cmphex(gg_create(&d.gpu, 1, BGRX, 512, 513), ==, E_MEMORY);
    g_assert_cmphex(gg_create(&d.gpu, 1, BGRX, 512, 400), ==, OK);
    g_assert_cmphex(gg_create(&d.gpu, 2, BGRX, 512, 400), ==, E_MEMORY);
    g_assert_cmphex(gg_create(&d.gpu, 1, BGRX, 4, 4), ==, E_ID);
    g_assert_cmphex(gg_create(&d.gpu, 0, BGRX, 4, 4), ==, E_ID);
    g_assert_cmphex(gg_create(&d.gpu, 2, BGRX, 0, 4), ==, E_PARAM);
    g_assert_cmphex(gg_create(&d.gpu, 2, BGRX, 4, UINT32_MAX), ==, E_PARAM);
    g_assert_cmphex(gg_create(&d.gpu, 2, BGRX, SURFACE_MAX_SIDE, SURFACE_MAX_SIDE), ==, E_MEMORY);
    g_assert_cmphex(gg_unref(&d.gpu, 1), ==, OK);
    unsigned n = 0;
    while (gg_create(&d.gpu, n + 10, BGRX, 1, 1) == OK) { /* small ones are not free */
        n++;
    }
    g_assert_cmpuint(n, <=, 1 << 10);
    struct virtio_gpu_mem_entry one = { GG_PIXELS, 4, 0 };
    g_autofree struct virtio_gpu_mem_entry *many = g_new(struct virtio_gpu_mem_entry, 16385);
    for (unsigned i = 0; i < 16385; i++) {
        many[i] = one;
    }
    g_assert_cmphex(gg_attach(&d.gpu, 10, many, 16384), ==, E_MEMORY);
    for (unsigned i = 0; i < n; i++) {
        g_assert_cmphex(gg_unref(&d.gpu, i + 10), ==, OK);
    }
    g_assert_cmphex(gg_create(&d.gpu, 1, BGRX, 100, 100), ==, OK);
    g_assert_cmphex(gg_attach(&d.gpu, 1, many, 16385), ==, E_PARAM);
    g_assert_cmphex(gg_attach(&d.gpu, 1, many, 16384), ==, OK);
    g_assert_cmphex(gg_transfer(&d.gpu, 1, 0, 0, 100, 100, 0), ==, OK);
    mg_wr(&d.g, MG_STATUS, 0);
    mg_start(&d.g, 0, 2);
    g_assert_cmphex(gg_create(&d.gpu, 1, BGRX, 500, 500), ==, OK);
    mg_close(&d.g);
}

static void test_fences(void)
{
    Driver d;
    open_card(&d, NULL, NULL);
    struct virtio_gpu_ctrl_hdr h = { .type = VIRTIO_GPU_CMD_GET_DISPLAY_INFO,
                                     .flags = VIRTIO_GPU_FLAG_FENCE,
                                     .fence_id = 0x123456789abcdef,
                                     .ctx_id = 77 };
    g_assert_cmphex(gg_command(&d.gpu, &h, sizeof(h)), ==, VIRTIO_GPU_RESP_OK_DISPLAY_INFO);
    const struct virtio_gpu_ctrl_hdr *a = gg_answer(&d.gpu);
    g_assert_cmphex(a->flags, ==, VIRTIO_GPU_FLAG_FENCE);
    g_assert_cmphex(a->fence_id, ==, 0x123456789abcdef);
    g_assert_cmphex(a->ctx_id, ==, 77);
    h.flags = 0;
    gg_command(&d.gpu, &h, sizeof(h));
    g_assert_cmphex(a->flags, ==, 0);
    g_assert_cmphex(a->fence_id, ==, 0);
    h.type = VIRTIO_GPU_CMD_RESOURCE_CREATE_BLOB;
    h.flags = VIRTIO_GPU_FLAG_FENCE;
    g_assert_cmphex(gg_command(&d.gpu, &h, sizeof(h)), ==, E_UNSPEC);
    g_assert_cmphex(a->flags, ==, VIRTIO_GPU_FLAG_FENCE);
    g_assert_cmpuint(send_buffer(&d.gpu, 0, sizeof(h) - 1, GG_ANSWER_SIZE), ==, 0);
    g_assert_cmpuint(send_buffer(&d.gpu, 0, sizeof(h), 5), ==, 5); /* an answer that is cut off */
    g_assert_cmpuint(send_buffer(&d.gpu, 0, sizeof(h), 0), ==, 0);
    mg_close(&d.g);
}

/* ---- cursors ---- */

typedef struct CursorSeen {
    ConsoleListener l;
    uint32_t colour; /* of its first pixel, with alpha; 0: hidden */
    int hot_x, x, y;
    bool on;
} CursorSeen;

static void seen_shape(ConsoleListener *l, const CursorShape *shape)
{
    CursorSeen *v = (CursorSeen *)l;
    v->colour = shape ? *(uint32_t *)surface_row(shape->image, 0) : 0;
    v->hot_x = shape ? shape->hot_x : 0;
}

static void seen_place(ConsoleListener *l, int x, int y, bool on)
{
    CursorSeen *v = (CursorSeen *)l;
    v->x = x;
    v->y = y;
    v->on = on;
}

static void seen_damage(ConsoleListener *l G_GNUC_UNUSED, int x G_GNUC_UNUSED, int y G_GNUC_UNUSED,
                        int w G_GNUC_UNUSED, int h G_GNUC_UNUSED)
{
}

static void expect_cursor(Driver *d, CursorSeen *v, uint32_t colour, int hot, int x, int y)
{
    console_refresh(head(d, 0));
    g_assert_cmphex(v->colour, ==, colour);
    g_assert_cmpint(v->hot_x, ==, hot);
    g_assert_cmpint(v->x, ==, x);
    g_assert_cmpint(v->y, ==, y);
    g_assert_true(v->on == (colour != 0));
}

static void make_cursor(Driver *d, uint32_t id, uint32_t format, uint32_t side, uint32_t value)
{
    memcpy(d->gpu.m->ram->host + GG_PIXELS, &value, 4);
    g_assert_cmphex(gg_create(&d->gpu, id, format, side, 64), ==, OK);
    g_assert_cmphex(gg_attach_at(&d->gpu, id, GG_PIXELS, side * 256), ==, OK);
    g_assert_cmphex(gg_transfer(&d->gpu, id, 0, 0, side, 64, 0), ==, OK);
}

static void test_cursor(void)
{
    static const ConsoleListenerOps ops = { .damage = seen_damage,
                                            .cursor = seen_shape,
                                            .cursor_at = seen_place };
    Driver d;
    CursorSeen v = { .l = { .ops = &ops } };
    open_card(&d, NULL, NULL);
    console_add_listener(head(&d, 0), &v.l);
    make_cursor(&d, 1, BGRA, 64, 0x80112233);
    make_cursor(&d, 2, BGRX, 64, 0x00445566);
    make_cursor(&d, 3, BGRA, 32, 0x80112233);
    gg_cursor(&d.gpu, true, 0, 1, 100, 200, 5);
    expect_cursor(&d, &v, 0x80112233, 5, 100, 200);
    gg_cursor(&d.gpu, false, 0, 0, (uint32_t)-7, 201, 9);
    expect_cursor(&d, &v, 0x80112233, 5, -7, 201);
    gg_cursor(&d.gpu, true, 0, 2, 1, 2, 63);
    expect_cursor(&d, &v, 0x00445566, 63, 1, 2);
    gg_cursor(&d.gpu, true, 1, 1, 1, 2, 0); /* no such output */
    expect_cursor(&d, &v, 0x00445566, 63, 1, 2);
    gg_cursor(&d.gpu, true, 0, 2, 1, 2, 64);
    expect_cursor(&d, &v, 0, 0, 1, 2);
    gg_cursor(&d.gpu, true, 0, 1, 1, 2, 1);
    gg_cursor(&d.gpu, true, 0, 3, 1, 2, 1); /* too small */
    expect_cursor(&d, &v, 0, 0, 1, 2);
    gg_cursor(&d.gpu, true, 0, 1, 1, 2, 1);
    gg_cursor(&d.gpu, true, 0, 0, 3, 2, 1);
    expect_cursor(&d, &v, 0, 0, 3, 2);
    gg_cursor(&d.gpu, true, 0, 1, 1, 2, 1);
    g_assert_cmphex(gg_unref(&d.gpu, 1), ==, OK); /* its picture was taken */
    expect_cursor(&d, &v, 0x80112233, 1, 1, 2);
    mg_wr(&d.g, MG_STATUS, 0);
    expect_cursor(&d, &v, 0, 0, 0, 0);
    console_remove_listener(&v.l);
    mg_close(&d.g);
}

/* ---- its life ---- */

static void test_reset(void)
{
    Driver d;
    open_card(&d, NULL, NULL);
    gg_picture(&d.gpu, 1, 0, 320, 200, 9);
    mg_wr(&d.g, MG_STATUS, 0);
    expect_size(&d, 0, 0, 0);
    mg_start(&d.g, 0, 2);
    g_assert_cmphex(gg_flush(&d.gpu, 1, 0, 0, 1, 1), ==, E_ID);
    gg_picture(&d.gpu, 1, 0, 320, 200, 9);
    tm_reset(d.g.tm);
    expect_size(&d, 0, 0, 0);
    mg_close(&d.g);
}

/* More than one turn is given: the rest waits for the loop. */
static void test_turns(void)
{
    Driver d;
    open_card(&d, NULL, NULL);
    gg_picture(&d.gpu, 1, 0, 1024, 1024, 2);
    struct virtio_gpu_transfer_to_host_2d c = { .hdr.type = VIRTIO_GPU_CMD_TRANSFER_TO_HOST_2D,
                                                .r = { 0, 0, 1024, 1024 },
                                                .resource_id = 1 };
    tm_copy_in(d.g.tm, GG_COMMAND, &c, sizeof(c));
    unsigned before = mg_used(&d.g, 0);
    for (unsigned i = 0; i < SIZE; i++) {
        mg_desc(&d.g, 0, i, GG_COMMAND, sizeof(c), 0, 0);
        mg_offer(&d.g, 0, i);
    }
    mg_kick(&d.g, 0);
    unsigned first = mg_used(&d.g, 0) - before;
    g_assert_cmpuint(first, >, 0);
    g_assert_cmpuint(first, <, SIZE);
    g_autoptr(GByteArray) state = tm_save(d.g.tm); /* in between */
    tm_turns(d.g.tm);
    g_assert_cmpuint(mg_used(&d.g, 0) - before, ==, SIZE);
    g_assert_true(tm_load(d.g.tm, state, &error_abort_slot));
    tm_turns(d.g.tm);
    g_assert_cmpuint(mg_used(&d.g, 0) - before, ==, SIZE);
    mg_close(&d.g);
}

static void test_state(void)
{
    Driver d, copy;
    static const ConsoleListenerOps ops = { .damage = seen_damage,
                                            .cursor = seen_shape,
                                            .cursor_at = seen_place };
    CursorSeen v = { .l = { .ops = &ops } };
    open_card(&d, "max_outputs", "2");
    make_cursor(&d, 9, BGRA, 64, 0x80112233);
    gg_picture(&d.gpu, 1, 0, 200, 100, 4);
    gg_picture(&d.gpu, UINT32_MAX, 1, 64, 32, 5);
    g_assert_cmphex(gg_create(&d.gpu, 3, BGRX, 10, 10), ==, OK);
    g_assert_cmphex(gg_scanout(&d.gpu, 0, 1, 50, 20, 100, 60), ==, OK);
    gg_cursor(&d.gpu, true, 0, 9, 33, 44, 3);
    console_wish(head(&d, 1), &(ConsoleWish){ .width = 700, .height = 500 });
    g_autoptr(GByteArray) state = tm_save(d.g.tm);

    open_card(&copy, "max_outputs", "2");
    gg_picture(&copy.gpu, 77, 0, 20, 20, 1); /* what goes */
    console_add_listener(head(&copy, 0), &v.l);
    g_assert_true(tm_load(copy.g.tm, state, &error_abort_slot));
    expect_size(&copy, 0, 100, 60);
    g_assert_cmphex(pixel(&copy, 0, 99, 59), ==, gg_colour(4, 149, 79));
    g_assert_cmphex(pixel(&copy, 1, 63, 31), ==, gg_colour(5, 63, 31));
    expect_cursor(&copy, &v, 0x80112233, 3, 33, 44);
    g_assert_cmpuint(mg_rd(&copy.g, CONFIG), ==, VIRTIO_GPU_EVENT_DISPLAY);
    memcpy(copy.g.avail, d.g.avail, sizeof(d.g.avail));
    g_assert_cmphex(gg_transfer(&copy.gpu, 1, 0, 0, 200, 100, 0), ==, OK); /* with its memory */
    g_assert_cmphex(gg_transfer(&copy.gpu, 3, 0, 0, 1, 1, 0), ==, E_UNSPEC);
    g_assert_cmphex(gg_unref(&copy.gpu, 77), ==, E_ID);
    g_assert_cmphex(gg_unref(&copy.gpu, 1), ==, OK);
    console_remove_listener(&v.l);
    mg_close(&copy.g);

    /* Cards that cannot have it; each goes on. */
    Error *err = NULL;
    open_card(&copy, "max_hostmem", "60K");
    g_assert_false(tm_load(copy.g.tm, state, &err));
    g_clear_pointer(&err, error_free);
    mg_start(&copy.g, 0, 2);
    g_assert_cmphex(gg_create(&copy.gpu, 1, BGRX, 100, 100), ==, OK);
    mg_close(&copy.g);
    open_card(&copy, NULL, NULL); /* one head only */
    g_assert_false(tm_load(copy.g.tm, state, &err));
    g_clear_pointer(&err, error_free);
    mg_start(&copy.g, 0, 2);
    gg_picture(&copy.gpu, 1, 0, 20, 20, 1);
    mg_close(&copy.g);
    mg_close(&d.g);
}

/* ---- hostile ---- */

static uint32_t pick(GRand *r)
{
    static const uint32_t odd[] = { 0, 1, 2, 3, 63, 64, 65, 100, 4096, 16384, 16385, 0x7fffffff, 0x80000000 };
    switch (g_rand_int_range(r, 0, 8)) {
    case 0: return g_rand_int(r);
    case 1: return odd[g_rand_int_range(r, 0, G_N_ELEMENTS(odd))];
    default: return g_rand_int(r) & (g_rand_boolean(r) ? 7 : 63);
    }
}

static void one_command(Driver *d, GRand *r)
{
    static const uint32_t types[] = { 0x100, 0x101, 0x101, 0x102, 0x103, 0x103, 0x104,
                                      0x105, 0x105, 0x106, 0x106, 0x107, 0x108, 0x109,
                                      0x10a, 0x10b, 0x10c, 0x10d, 0x200, 0x300, 0x301 };
    static const uint32_t formats[] = { 1, 2, 3, 4, 67, 68, 121, 134 };
    uint32_t w[64];
    for (unsigned i = 0; i < G_N_ELEMENTS(w); i++) {
        w[i] = pick(r);
    }
    w[0] = types[g_rand_int_range(r, 0, G_N_ELEMENTS(types))];
    if (w[0] == VIRTIO_GPU_CMD_RESOURCE_CREATE_2D && g_rand_int_range(r, 0, 8)) {
        w[7] = formats[g_rand_int_range(r, 0, G_N_ELEMENTS(formats))];
        w[8] = g_rand_boolean(r) ? 64 : w[8];
        w[9] = g_rand_boolean(r) ? 64 : w[9];
    } else if (w[0] == VIRTIO_GPU_CMD_RESOURCE_ATTACH_BACKING) {
        w[8] = GG_PIXELS + pick(r);
        w[9] = g_rand_int_range(r, 0, 4) ? 0 : w[9];
        w[10] = g_rand_boolean(r) ? 64 * 64 * 4 : w[10];
    } else if (w[0] == VIRTIO_GPU_CMD_TRANSFER_TO_HOST_2D) {
        w[10] = w[10] & 1 ? 0 : w[10];
        w[11] = g_rand_int_range(r, 0, 8) ? 0 : w[11];
    }
    memcpy(d->gpu.m->ram->host + GG_COMMAND, w, sizeof(w));
    unsigned q = w[0] >= 0x300 ? g_rand_int_range(r, 0, 8) != 0 : g_rand_int_range(r, 0, 8) == 0;
    unsigned out = g_rand_int_range(r, 0, 8) ? sizeof(w) : (unsigned)g_rand_int_range(r, 1, sizeof(w));
    send_buffer(&d->gpu, q, out,
                g_rand_int_range(r, 0, 8) ? GG_ANSWER_SIZE : (unsigned)g_rand_int_range(r, 0, 64));
}

static void test_storm(void)
{
    static const ConsoleListenerOps ops = { .surface = watcher_surface, .damage = watcher_damage };
    const char *env = g_getenv("RHEA_GPU_CASES");
    unsigned cases = env ? (unsigned)atoi(env) : 20000;
    GRand *r = g_rand_new_with_seed((guint32)g_test_rand_int());
    Driver d;
    open_card(&d, "max_outputs", "4");
    Watcher v = { .l = { .ops = &ops } };
    console_add_listener(head(&d, 1), &v.l);
    for (unsigned i = 0; i < cases; i++) {
        one_command(&d, r);
        if (i % 16 == 15) {
            console_refresh(head(&d, (unsigned)g_rand_int_range(r, 0, 4)));
        }
        if (i % 64 == 63) {
            console_wish(head(&d, (unsigned)g_rand_int_range(r, 0, 4)),
                         &(ConsoleWish){ .width = (int)pick(r),
                                         .height = (int)pick(r),
                                         .x = (int)pick(r),
                                         .off = g_rand_boolean(r) });
        }
        if (i % 512 == 511) {
            GByteArray *state = tm_save(d.g.tm);
            Error *err = NULL;
            if (g_rand_boolean(r)) { /* a byte of it is another one: its checksum tells */
                state->data[g_rand_int_range(r, 0, (int)state->len)] ^= (uint8_t)g_rand_int(r) | 1;
                if (!tm_load(d.g.tm, state, &err)) {
                    g_clear_pointer(&err, error_free);
                    mg_start(&d.g, 0, 2);
                }
            } else {
                g_assert_true(tm_load(d.g.tm, state, &error_abort_slot));
            }
            g_byte_array_free(state, TRUE);
        }
        if (i % 4096 == 4095) {
            mg_start(&d.g, 0, 2);
        }
    }
    mg_start(&d.g, 0, 2); /* then it does what it is told */
    gg_picture(&d.gpu, 1, 1, 320, 200, 6);
    g_assert_cmphex(pixel(&d, 1, 319, 199), ==, gg_colour(6, 319, 199));
    console_remove_listener(&v.l);
    mg_close(&d.g);
    g_rand_free(r);
}

/* Saved pictures with wrong numbers in them, checksums made right: refused, or drawn and saved again. */
static void test_hostile_state(void)
{
    enum { HEAD = 512, CASES = 2000 }; /* bytes before the pictures, about: most of what decides is there */
    GRand *r = g_rand_new_with_seed((guint32)g_test_rand_int());
    g_autoptr(GByteArray) good = g_byte_array_new();
    unsigned taken = 0;
    Driver d;
    open_card(&d, "max_outputs", "2");
    Device *dev = console_device(head(&d, 0));
    gg_picture(&d.gpu, 1, 0, 8, 8, 4);
    gg_picture(&d.gpu, 2, 1, 8, 8, 5);
    device_tree_save(dev, good);
    for (unsigned i = 0; i < CASES; i++) {
        GByteArray *bad = g_byte_array_new(), *again = g_byte_array_new();
        g_byte_array_append(bad, good->data, good->len);
        for (int k = g_rand_int_range(r, 1, 5); k; k--) {
            guint from = g_rand_int_range(r, 0, 4) ? 0 : good->len - HEAD;
            guint at = from + (guint)g_rand_int_range(r, 0, MIN(3 * HEAD, (int)(good->len - from)));
            bad->data[at] = g_rand_boolean(r) ? (uint8_t)g_rand_int(r) : bad->data[at] ^ 1;
        }
        statedump_fix_checksums(bad);
        const uint8_t *at = bad->data;
        Error *err = NULL;
        taken += device_tree_load(dev, &at, bad->data + bad->len, &err);
        g_clear_pointer(&err, error_free);
        console_refresh(head(&d, 0));
        console_refresh(head(&d, 1));
        device_tree_save(dev, again);
        mg_start(&d.g, 0, 2);
        g_assert_cmphex(gg_create(&d.gpu, 1, BGRX, 4, 4), ==, OK);
        g_byte_array_unref(bad);
        g_byte_array_unref(again);
    }
    g_test_message("%u of %u were taken", taken, CASES);
    g_assert_cmpuint(taken, >, CASES / 100); /* else nothing came as far as the pictures */
    g_assert_cmpuint(taken, <, CASES);
    mg_close(&d.g);
    g_rand_free(r);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    role_become_main();
    g_test_add_func("/virtio-gpu/heads", test_heads);
    g_test_add_func("/virtio-gpu/wish", test_wish);
    g_test_add_func("/virtio-gpu/formats", test_formats);
    g_test_add_func("/virtio-gpu/pieces", test_pieces);
    g_test_add_func("/virtio-gpu/outputs", test_outputs);
    g_test_add_func("/virtio-gpu/memory", test_memory);
    g_test_add_func("/virtio-gpu/fences", test_fences);
    g_test_add_func("/virtio-gpu/cursor", test_cursor);
    g_test_add_func("/virtio-gpu/reset", test_reset);
    g_test_add_func("/virtio-gpu/turns", test_turns);
    g_test_add_func("/virtio-gpu/state", test_state);
    g_test_add_func("/virtio-gpu/hostile", test_storm);
    g_test_add_func("/virtio-gpu/hostile-state", test_hostile_state);
    return g_test_run();
}
