/* SPDX-License-Identifier: MIT
 * tests/device/dut.c - see dut.h.
 */
#include "tests/device/dut.h"

#include "net/net_internal.h"
#include "rhea/backends/audio.h"
#include "rhea/backends/drive.h"
#include "rhea/net/net.h"

void dut_host_open(DutHost *h, Machine *m)
{
    h->chardev = chardev_new_buffer(m, "dut-chardev");
    g_autoptr(Json) disk = json_parse("{\"driver\": \"null-co\", \"node-name\": \"dut-disk\", "
                                      "\"size\": 1048576, \"read-zeroes\": true}",
                                      -1, &error_abort_slot);
    blockdev_add_json(m, disk, false, &error_abort_slot);
    netdev_hub_port(m, 0, NULL, &h->netdev, &error_abort_slot);
}

void dut_host_close(DutHost *h, Machine *m)
{
    audiodev_remove_all(m);
    net_remove_all(m);
    g_clear_pointer(&h->netdev, g_free);
    drive_remove_all(m);
    chardev_remove_all(m);
}

bool dut_connect(const DutHost *h, Device *dev, Error **errp)
{
    const struct {
        const char *prop;
        PropKind kind;
        const char *value;
    } rows[] = { { "chardev", PROP_CHARDEV_, "dut-chardev" },
                 { "drive", PROP_BLOCK_, "dut-disk" },
                 { "netdev", PROP_NETDEV_, h->netdev } };
    for (unsigned i = 0; i < G_N_ELEMENTS(rows); i++) {
        void *base;
        const Prop *p = device_find_prop(dev, rows[i].prop, &base);
        if (p && p->kind == rows[i].kind && !device_set(dev, rows[i].prop, rows[i].value, errp)) {
            return false;
        }
    }
    return true;
}
