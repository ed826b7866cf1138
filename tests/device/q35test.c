/* SPDX-License-Identifier: MIT
 * tests/device/q35test.c - see q35test.h.
 * Threads: main.
 */
#include "tests/device/q35test.h"

#include <glib/gstdio.h>
#include <string.h>
#include <unistd.h>

TestMachine *board_new_with(const BoardType *board, uint64_t ram, void (*options)(Machine *m),
                            void (*devices)(TestMachine *tm))
{
    enum { FIRMWARE = 65536 };
    g_autofree char *path = NULL, *code = g_malloc(FIRMWARE);
    int fd = g_file_open_tmp("rhea-q35-XXXXXX", &path, NULL);
    g_assert_cmpint(fd, >=, 0);
    close(fd);
    memset(code, 0xf4, FIRMWARE);
    g_assert_true(g_file_set_contents(path, code, FIRMWARE, NULL));
    TestMachine *tm = tm_prepare(board);
    tm->m->ram_size = ram;
    tm->m->bios = g_strdup(path);
    tm->m->action.no_shutdown = true;
    if (options) {
        options(tm->m);
    }
    machine_build(tm->m, &error_abort_slot);
    if (devices) {
        devices(tm);
    }
    machine_ready(tm->m, &error_abort_slot);
    machine_start(tm->m);
    g_unlink(path);
    return tm;
}

TestMachine *q35_new_with(uint64_t ram, void (*options)(Machine *m), void (*devices)(TestMachine *tm))
{
    return board_new_with(&q35_board, ram, options, devices);
}

TestMachine *q35_new(uint64_t ram)
{
    return q35_new_with(ram, NULL, NULL);
}

uint32_t q35_in(TestMachine *tm, uint16_t port, unsigned n)
{
    uint64_t v = 0;
    as_load(&tm->m->as_io, port, n, &v, MEM_ATTRS_NONE);
    return (uint32_t)v;
}

void q35_out(TestMachine *tm, uint16_t port, uint32_t v, unsigned n)
{
    as_store(&tm->m->as_io, port, n, v, MEM_ATTRS_NONE);
}

uint64_t q35_mem(AddressSpace *as, hwaddr at, unsigned n)
{
    uint64_t v = 0;
    as_load(as, at, n, &v, MEM_ATTRS_NONE);
    return v;
}

uint32_t q35_get(TestMachine *tm, unsigned fn, unsigned off, unsigned n)
{
    q35_out(tm, 0xcf8, 0x80000000 | fn << 8 | (off & 0xfc), 4);
    return q35_in(tm, 0xcfc + (off & 3), n);
}

void q35_set(TestMachine *tm, unsigned fn, unsigned off, uint32_t v, unsigned n)
{
    q35_out(tm, 0xcf8, 0x80000000 | fn << 8 | (off & 0xfc), 4);
    q35_out(tm, 0xcfc + (off & 3), v, n);
}

static Device *find_below(Device *dev, const DeviceType *type)
{
    for (guint i = 0; i < dev->children->len; i++) {
        Device *d = dev->children->pdata[i], *found = d->type == type ? d : find_below(d, type);
        if (found) {
            return found;
        }
    }
    return NULL;
}

Device *q35_find(TestMachine *tm, const DeviceType *type)
{
    return find_below(tm->m->root, type);
}
