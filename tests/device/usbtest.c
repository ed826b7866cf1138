/* SPDX-License-Identifier: MIT
 * tests/device/usbtest.c - see usbtest.h. Threads: main.
 */
#include "tests/device/usbtest.h"
#include "rhea/backends/drive.h"
#include "rhea/block/driver.h"
#include "rhea/schema/type.h"
#include "rhea/system/hotplug.h"
#include "rhea/ui/input.h"
#include "rhea/util/co.h"

#include <stdlib.h>

enum { FRAME_NS = 1000000, DISK_SIZE = 1 << 20, SECTOR = 512, TURNS = 100 };

unsigned usbtest_cases(unsigned usual)
{
    const char *text = getenv("RHEA_USB_CASES");
    return text ? (unsigned)strtoul(text, NULL, 10) : usual;
}

void usbtest_storm(TestMachine *tm, unsigned usual, void (*one)(TestMachine *tm, unsigned c))
{
    unsigned cases = usbtest_cases(usual);
    for (unsigned c = 0; c < cases; c++) {
        one(tm, c);
        input_send_key(tm->m, NULL, INPUT_KEY_A, c & 1);
        tm_step(tm, 3 * FRAME_NS);
    }
}

/* ---- the disk ---- */

static struct {
    bool keep;
    Co *kept;
} medium;

static int medium_preadv(BlockNode *n G_GNUC_UNUSED, int64_t off, IoVec *v, unsigned flags G_GNUC_UNUSED)
{
    if (medium.keep) {
        medium.keep = false;
        medium.kept = co_self();
        co_yield();
        medium.kept = NULL;
    }
    for (size_t i = 0; i < v->bytes; i++) {
        uint8_t b = (uint8_t)((off + (int64_t)i) / SECTOR + 1);
        iov_from_buf(v, i, &b, 1);
    }
    return 0;
}

Device *usbdisk_plug(TestMachine *tm, Bus *usb, const char *port)
{
    static BlockDriver driver;
    Machine *m = tm->m;
    g_autoptr(Json) o = json_put(json_put(json_put(json_new_object(), "driver", json_new_string("null-co")),
                                          "node-name", json_new_string("n")),
                                 "size", json_new_int(DISK_SIZE));
    blockdev_add_json(m, o, false, &error_abort_slot);
    BlockNode *n = block_find(machine_block_graph(m), "n");
    driver = *n->driver;
    driver.preadv = medium_preadv;
    n->driver = &driver;
    medium.keep = false;
    medium.kept = NULL;
    return device_create(m, device_type_find("usb-storage"), m->peripheral, "disk", usb, &error_abort_slot,
                         "drive", "n", "port", port, NULL);
}

void usbdisk_free(TestMachine *tm)
{
    drive_remove_all(tm->m);
    tm_free(tm);
}

void usbdisk_read_command(TestMachine *tm, hwaddr at, uint8_t sector)
{
    const uint32_t words[8] = { 0x43425355, 1, SECTOR, 0x28u << 24 | 10 << 16 | 0x80, 0, 1u << 24 | sector };
    for (unsigned i = 0; i < G_N_ELEMENTS(words); i++) {
        tm_write(tm, at + 4 * i, 4, words[i]);
    }
}

void usbdisk_keep_read(void)
{
    medium.keep = true;
}

bool usbdisk_read_is_kept(void)
{
    return medium.kept;
}

static void end_read(void *opaque G_GNUC_UNUSED)
{
    g_assert_nonnull(medium.kept);
    co_wake(medium.kept);
}

void usbdisk_end_read(TestMachine *tm)
{
    end_read(NULL);
    for (unsigned i = 0; i < TURNS && loop_turn(tm->loop, false); i++) {
    }
    g_assert_null(medium.kept);
}

void usbdisk_stop_reading(TestMachine *tm)
{
    Task task = { .run = end_read };
    loop_post(tm->loop, &task);
    machine_stop(tm->m, RUN_PAUSED);
    while (medium.kept) {
        loop_turn(tm->loop, false);
    }
}

void usbdisk_remove_reading(TestMachine *tm, Device *dev)
{
    Task task = { .run = end_read };
    loop_post(tm->loop, &task);
    device_unplugged(dev);
    g_assert_null(medium.kept);
}
