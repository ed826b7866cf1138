/* SPDX-License-Identifier: MIT
 * tests/device/virtguest.c - a machine with a virtio disk on PCI.
 */
#include "tests/device/virtguest.h"
#include "rhea/backends/drive.h"
#include "tests/device/virtring.h"

#include <glib/gstdio.h>
#include <string.h>

void guest_place(Guest *g)
{
    pctest_config_write(g->t, FN, 0x10, PORT, 4);
    pctest_config_write(g->t, FN, 0x14, MSIX_BAR, 4);
    pctest_config_write(g->t, FN, 0x20, BAR, 4);
    pctest_config_write(g->t, FN, 0x24, 0, 4);
    pctest_config_write(g->t, FN, 4, 7, 2);
}

void guest_begin(Guest *g, uint64_t features)
{
    wr(g, BAR + 0x14, 3, 1);
    for (unsigned i = 0; i < 2; i++) {
        wr(g, BAR + 8, i, 4);
        wr(g, BAR + 12, features >> (32 * i), 4);
    }
    wr(g, BAR + 0x14, 11, 1);
    g_assert_cmphex(rd(g, BAR + 0x14, 1), ==, 11);
    g->avail = 0;
    memset(ram(g, DESC), 0, 0x4000);
    wr(g, BAR + 0x16, 0, 2);
    g_assert_cmpuint(rd(g, BAR + 0x18, 2), ==, SIZE);
    wr(g, BAR + 0x20, DESC, 4);
    wr(g, BAR + 0x28, AVAIL, 4);
    wr(g, BAR + 0x30, USED, 4);
    wr(g, BAR + 0x1c, 1, 2);
    g_assert_cmpuint(rd(g, BAR + 0x1c, 2), ==, 1);
    wr(g, BAR + 0x14, 15, 1);
}

void guest_start(Guest *g, uint64_t features)
{
    wr(g, BAR + 0x14, 0, 1);
    g_assert_cmphex(rd(g, BAR + 0x14, 1), ==, 0);
    guest_begin(g, features);
}

void guest_open_with(Guest *g, const char *type, const char *prop, const char *val, const char *prop2,
                     const char *val2)
{
    memset(g, 0, sizeof(*g));
    g->dir = g_dir_make_tmp("rhea-virtio-XXXXXX", NULL);
    g->path = g_build_filename(g->dir, "disk", NULL);
    g_autofree char *zeros = g_malloc0(DISK);
    g_file_set_contents(g->path, zeros, DISK, NULL);
    g->t = pctest_new(16 * MIB, NULL);
    Machine *m = g->t->m;
    g_autoptr(Json) o = json_put(json_new_object(), "file", json_new_string(g->path));
    json_put(o, "format", json_new_string("raw"));
    json_put(o, "if", json_new_string("none"));
    json_put(o, "id", json_new_string("d0"));
    g_assert_nonnull(drive_add_json(m, o, true, false, &error_abort_slot));
    g->dev = device_create(m, device_type_find(type), m->peripheral, NULL, g->t->pci->bus,
                           &error_abort_slot, "addr", "4", "drive", "d0", "num-queues", "2", "queue-size",
                           "16", prop, val, prop2, val2, NULL);
    guest_place(g);
}

void guest_close(Guest *g)
{
    machine_stop(g->t->m, RUN_PAUSED);
    drive_remove_all(g->t->m);
    pctest_free(g->t);
    g_unlink(g->path);
    g_rmdir(g->dir);
    g_free(g->path);
    g_free(g->dir);
}

void guest_turns(Guest *g, unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        loop_turn(g->t->loop, false);
    }
}

GByteArray *guest_saved(Guest *g)
{
    GByteArray *a = g_byte_array_new();
    machine_save(g->t->m, a, true);
    return a;
}

void limit_files(rlim_t bytes)
{
    struct rlimit l;
    getrlimit(RLIMIT_FSIZE, &l);
    l.rlim_cur = bytes;
    g_assert_cmpint(setrlimit(RLIMIT_FSIZE, &l), ==, 0);
}
