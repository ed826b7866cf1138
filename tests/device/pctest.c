/* SPDX-License-Identifier: MIT
 * tests/device/pctest.c - see pctest.h.
 */
#include "pctest.h"
#include "rhea/backends/drive.h"

typedef struct TestBoard { PcTest *t; } TestBoard;
static PcTest *building;

static bool test_board_init(Machine *m, Error **errp)
{
    PcTest *t = building;
    ((TestBoard *)m->board_state)->t = t;
    if (!pc_layout(m->ram_size, 0, &pc_layout_limits, &t->layout, errp)) {
        return false;
    }
    m->ram = ram_new(m, "pc.ram", m->ram_size, errp);
    if (!m->ram) {
        return false;
    }
    region_init_ram(&m->ram_region, NULL, "ram", m->ram);
    region_map(&m->sysmem, 0, &m->ram_region, 0);
    t->host = device_create(m, &i440fx_host_type, m->unattached, NULL, NULL, errp, NULL);
    t->pci = t->host ? i440fx_host_bus(t->host) : NULL;
    t->i440fx =
        t->pci ? device_create(m, &i440fx_type, m->unattached, NULL, t->pci->bus, errp, "addr", "0", NULL)
               : NULL;
    t->piix3 = t->i440fx ? device_create(m, &piix3_type, m->unattached, NULL, t->pci->bus, errp, "addr",
                                         "1.0", "multifunction", "on", NULL)
                         : NULL;
    t->pm = t->piix3 ? device_create(m, &piix4_pm_type, m->unattached, NULL, t->pci->bus, errp, "addr", "1.3",
                                     NULL)
                     : NULL;
    t->fw = t->pm ? device_create(m, &fw_cfg_type, m->unattached, NULL, NULL, errp, NULL) : NULL;
    return t->fw != NULL;
}

static const BoardType test_board = {
    .name = "test-pc", .max_cpus = 1, .default_ram = 16 * MIB, .min_ram = MIB, .max_ram = UINT64_C(1) << 40,
    .state_size = sizeof(TestBoard), .init = test_board_init,
};

static const AccelOps no_accel = { .name = "none" };

PcTest *pctest_new(uint64_t ram_size, void (*options)(Machine *m))
{
    PcTest *t = g_new0(PcTest, 1);
    t->loop = loop_new("test");
    t->m = machine_new(t->loop);
    t->m->board = &test_board;
    t->m->accel = &no_accel;
    t->m->ram_size = ram_size;
    if (options) {
        options(t->m);
    }
    building = t;
    machine_build(t->m, &error_abort_slot);
    machine_ready(t->m, &error_abort_slot);
    return t;
}

void pctest_free(PcTest *t)
{
    machine_free(t->m);
    loop_free(t->loop);
    g_free(t);
}

void pctest_settle(PcTest *t)
{
    drive_drain(t->m);
    for (unsigned i = 0; i < 100 && loop_turn(t->loop, false); i++) {
    }
}

uint32_t pctest_in(PcTest *t, uint16_t port, unsigned n)
{
    uint64_t v = 0;
    as_load(&t->m->as_io, port, n, &v, MEM_ATTRS_NONE);
    return v;
}

void pctest_out(PcTest *t, uint16_t port, uint32_t v, unsigned n)
{
    as_store(&t->m->as_io, port, n, v, MEM_ATTRS_NONE);
}

uint64_t pctest_read(PcTest *t, hwaddr at, unsigned n)
{
    uint64_t v = 0;
    as_load(&t->m->as_mem, at, n, &v, MEM_ATTRS_NONE);
    return v;
}

void pctest_write(PcTest *t, hwaddr at, uint64_t v, unsigned n)
{
    as_store(&t->m->as_mem, at, n, v, MEM_ATTRS_NONE);
}

void pctest_prd(PcTest *t, hwaddr table, unsigned n, uint32_t addr, uint32_t len)
{
    pctest_write(t, table + 8 * n, addr, 4);
    pctest_write(t, table + 8 * n + 4, len, 4);
}

uint32_t pctest_config_read(PcTest *t, unsigned devfn, unsigned off, unsigned n)
{
    pctest_out(t, 0xcf8, 0x80000000 | devfn << 8 | (off & 0xfc), 4);
    return pctest_in(t, 0xcfc + (off & 3), n);
}

void pctest_config_write(PcTest *t, unsigned devfn, unsigned off, uint32_t v, unsigned n)
{
    pctest_out(t, 0xcf8, 0x80000000 | devfn << 8 | (off & 0xfc), 4);
    pctest_out(t, 0xcfc + (off & 3), v, n);
}

GBytes *pctest_item(PcTest *t, uint16_t key, gsize len)
{
    uint8_t *p = g_malloc(len);
    pctest_out(t, 0x510, key, 2);
    for (gsize i = 0; i < len; i++) {
        p[i] = pctest_in(t, 0x511, 1);
    }
    return g_bytes_new_take(p, len);
}

static uint32_t be32(const uint8_t *p)
{
    return (uint32_t)p[0] << 24 | p[1] << 16 | p[2] << 8 | p[3];
}

GBytes *pctest_file(PcTest *t, const char *name)
{
    g_autoptr(GBytes) head = pctest_item(t, FW_CFG_FILE_DIR, 4);
    uint32_t n = be32(g_bytes_get_data(head, NULL));
    g_assert_cmpuint(n, <=, FW_CFG_FILE_SLOTS);
    g_autoptr(GBytes) dir = pctest_item(t, FW_CFG_FILE_DIR, 4 + 64 * n);
    const uint8_t *p = (const uint8_t *)g_bytes_get_data(dir, NULL) + 4;
    for (uint32_t i = 0; i < n; i++, p += 64) {
        if (!strcmp((const char *)p + 8, name)) {
            return pctest_item(t, p[4] << 8 | p[5], be32(p));
        }
    }
    return NULL;
}
