/* SPDX-License-Identifier: MIT
 * tests/device/gpuguest.h - a driver of a virtio graphics card: its commands, one at a time. How a buffer
 * gets to the device is each test's.
 */
#ifndef TESTS_DEVICE_GPUGUEST_H
#define TESTS_DEVICE_GPUGUEST_H

#include "rhea/system/machine.h"

#include <linux/virtio_gpu.h>

enum { /* where the driver has things */
       GG_COMMAND = 0x100000,
       GG_ANSWER = 0x180000,
       GG_PIXELS = 0x200000,
       GG_ANSWER_SIZE = 2048,
};

typedef struct GpuGuest GpuGuest;
struct GpuGuest {
    Machine *m;
    /* One buffer: `out` bytes at GG_COMMAND and room for `in` at GG_ANSWER, done when it returns; so many
     * bytes were written. */
    unsigned (*send)(GpuGuest *g, unsigned queue, unsigned out, unsigned in);
};

/* Puts a command there and sends it; the answer's type, 0: there was none. It must be as long as it should.
 */
uint32_t gg_command(GpuGuest *g, const void *command, unsigned len);
const void *gg_answer(GpuGuest *g);
uint32_t gg_simple(GpuGuest *g, uint32_t type);
uint32_t gg_create(GpuGuest *g, uint32_t id, uint32_t format, uint32_t w, uint32_t h);
uint32_t gg_unref(GpuGuest *g, uint32_t id);
uint32_t gg_attach(GpuGuest *g, uint32_t id, const struct virtio_gpu_mem_entry *e, unsigned n);
/* All of it in one piece at `at`. */
uint32_t gg_attach_at(GpuGuest *g, uint32_t id, uint64_t at, uint32_t len);
uint32_t gg_detach(GpuGuest *g, uint32_t id);
uint32_t gg_transfer(GpuGuest *g, uint32_t id, uint32_t x, uint32_t y, uint32_t w, uint32_t h, uint64_t off);
uint32_t gg_scanout(GpuGuest *g, uint32_t output, uint32_t id, uint32_t x, uint32_t y, uint32_t w,
                    uint32_t h);
uint32_t gg_flush(GpuGuest *g, uint32_t id, uint32_t x, uint32_t y, uint32_t w, uint32_t h);
void gg_cursor(GpuGuest *g, bool update, uint32_t output, uint32_t id, uint32_t x, uint32_t y, uint32_t hot);
/* A resource of w x h pixels, each its own number with `seed`, on an output. All must succeed. */
void gg_picture(GpuGuest *g, uint32_t id, uint32_t output, uint32_t w, uint32_t h, uint32_t seed);
uint32_t gg_colour(uint32_t seed, uint32_t x, uint32_t y); /* of that one: 00RRGGBB */

#endif
