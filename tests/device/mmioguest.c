/* SPDX-License-Identifier: MIT
 * tests/device/mmioguest.c - see mmioguest.h.
 */
#include "tests/device/mmioguest.h"
#include "rhea/hw/virtio-mmio.h"

#include <string.h>

enum { AVAIL = 0x2000, USED = 0x3000 };

void mg_open(MmioGuest *g, uint64_t ram_size, unsigned queue_size)
{
    mg_open_ram(g, ram_size, queue_size, NULL);
}

void mg_open_ram(MmioGuest *g, uint64_t ram_size, unsigned queue_size, RamBlock *(*make)(Machine *m))
{
    memset(g, 0, sizeof(*g));
    g->tm = tm_prepare(&board_none);
    g->size = queue_size;
    Machine *m = g->tm->m;
    m->ram_size = ram_size;
    m->ram_given = make ? make(m) : NULL;
    tm_build(g->tm);
    g->transport = device_create(m, &virtio_mmio_type, m->unattached, NULL, NULL, &error_abort_slot,
                                 "force-legacy", "off", NULL);
    device_map_mem(g->transport, device_region(g->transport, 0), MG_BASE, 1);
    tm_connect(g->tm, g->transport, 0, MG_PIN);
}

void mg_plug(MmioGuest *g, const char *type, ...)
{
    Machine *m = g->tm->m;
    va_list ap;
    g->dev = device_new(m, device_type_find(type), m->peripheral, "dut");
    va_start(ap, type);
    for (const char *prop; (prop = va_arg(ap, const char *)) != NULL;) {
        device_set(g->dev, prop, va_arg(ap, const char *), &error_abort_slot);
    }
    va_end(ap);
    device_realize(g->dev, virtio_mmio_bus(g->transport), &error_abort_slot);
}

void mg_close(MmioGuest *g)
{
    tm_free(g->tm);
}

uint32_t mg_rd(MmioGuest *g, unsigned off)
{
    return (uint32_t)tm_read(g->tm, MG_BASE + off, 4);
}

void mg_wr(MmioGuest *g, unsigned off, uint32_t v)
{
    tm_write(g->tm, MG_BASE + off, 4, v);
}

uint64_t mg_features(MmioGuest *g)
{
    mg_wr(g, 0x14, 0);
    uint64_t low = mg_rd(g, 0x10);
    mg_wr(g, 0x14, 1);
    return low | (uint64_t)mg_rd(g, 0x10) << 32;
}

void mg_start(MmioGuest *g, uint64_t features, unsigned n_queues)
{
    features |= MG_BIT(32);
    mg_wr(g, MG_STATUS, 0);
    g_assert_cmphex(mg_rd(g, MG_STATUS), ==, 0);
    memset(g->tm->m->ram->host, 0, MG_QUEUES * MG_RINGS);
    memset(g->avail, 0, sizeof(g->avail));
    mg_wr(g, MG_STATUS, 3);
    for (unsigned i = 0; i < 2; i++) {
        mg_wr(g, 0x24, i);
        mg_wr(g, 0x20, (uint32_t)(features >> (32 * i)));
    }
    mg_wr(g, MG_STATUS, 11);
    g_assert_cmphex(mg_rd(g, MG_STATUS), ==, 11);
    for (unsigned q = 0; q < n_queues; q++) {
        mg_wr(g, 0x30, q);
        mg_wr(g, 0x38, g->size);
        mg_wr(g, 0x80, q * MG_RINGS);
        mg_wr(g, 0x90, q * MG_RINGS + AVAIL);
        mg_wr(g, 0xa0, q * MG_RINGS + USED);
        mg_wr(g, 0x44, 1);
        g_assert_cmpuint(mg_rd(g, 0x44), ==, 1);
    }
    mg_wr(g, MG_STATUS, MG_STATUS_OK);
}

void mg_desc(MmioGuest *g, unsigned q, unsigned i, uint64_t addr, uint32_t len, unsigned flags, unsigned next)
{
    hwaddr at = q * MG_RINGS + 16 * i;
    tm_write(g->tm, at, 8, addr);
    tm_write(g->tm, at + 8, 4, len);
    tm_write(g->tm, at + 12, 2, flags);
    tm_write(g->tm, at + 14, 2, next);
}

void mg_offer(MmioGuest *g, unsigned q, unsigned head)
{
    tm_write(g->tm, q * MG_RINGS + AVAIL + 4 + 2 * (g->avail[q] % g->size), 2, head);
    tm_write(g->tm, q * MG_RINGS + AVAIL + 2, 2, ++g->avail[q]);
}

void mg_kick(MmioGuest *g, unsigned q)
{
    mg_wr(g, 0x50, q);
}

void mg_put(MmioGuest *g, unsigned q, uint64_t addr, uint32_t len, unsigned flags)
{
    mg_desc(g, q, 0, addr, len, flags, 0);
    mg_offer(g, q, 0);
    mg_kick(g, q);
}

unsigned mg_used(MmioGuest *g, unsigned q)
{
    return (unsigned)tm_read(g->tm, q * MG_RINGS + USED + 2, 2);
}

unsigned mg_used_len(MmioGuest *g, unsigned q, unsigned i)
{
    return (unsigned)tm_read(g->tm, q * MG_RINGS + USED + 8 + 8 * (i % g->size), 4);
}
