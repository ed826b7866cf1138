/* SPDX-License-Identifier: MIT
 * tools/system/drives.c - -blockdev, -drive and its short forms, and the devices that if= asks for.
 *
 * Threads: main thread.
 */
#include "cli.h"
#include <string.h>

static bool fail_at(Error **errp, Error *err, const Item *item)
{
    error_prefix(&err, "%s", item->where);
    return error_propagate(errp, err);
}

OPTION_RUN(opt_blockdev)
{
    bool from_text;
    Json *j = keyval_parse(arg, "driver", &from_text, errp);
    if (!j) {
        return false;
    }
    cli_record(cli, "blockdev", json_ref(j));
    g_ptr_array_add(cli->blockdevs, item_new(o, arg, j, from_text));
    return true;
}

OPTION_RUN(opt_drive)
{
    bool from_text;
    Json *j = keyval_parse(arg, "file", &from_text, errp);
    if (!j) {
        return false;
    }
    cli_record(cli, "drive", json_ref(j));
    g_ptr_array_add(cli->drives, item_new(o, arg, j, from_text));
    return true;
}

/* -hda FILE and so on: the name is taken as it is, commas too. */
OPTION_RUN(opt_disk_file)
{
    static const struct { const char *name, *index;
    } places[] = { { "hda", "0" }, { "hdb", "1" }, { "hdc", "2" }, { "hdd", "3" }, { "cdrom", "2" } };
    Json *j = json_put(json_new_object(), "file", json_new_string(arg));
    for (size_t i = 0; i < G_N_ELEMENTS(places); i++) {
        if (g_str_equal(places[i].name, o->name)) {
            json_put(j, "index", json_new_string(places[i].index));
        }
    }
    if (g_str_equal(o->name, "cdrom")) {
        json_put(j, "media", json_new_string("cdrom"));
    }
    cli_record(cli, "drive", json_ref(j));
    g_ptr_array_add(cli->drives, item_new(o, arg, j, true));
    return true;
}

bool cli_make_drives(Cli *cli, Error **errp)
{
    Error *err = NULL;
    for (guint i = 0; i < cli->blockdevs->len; i++) {
        Item *item = cli->blockdevs->pdata[i];
        if (!blockdev_add_json(cli->m, item->opts, item->from_text, &err)) {
            return fail_at(errp, err, item);
        }
    }
    for (guint i = 0; i < cli->drives->len; i++) {
        Item *item = cli->drives->pdata[i];
        if (!drive_add_json(cli->m, item->opts, item->from_text, cli->snapshot, &err)) {
            return fail_at(errp, err, item);
        }
    }
    return true;
}

/* What the board would plug in. */
static bool make_device(Cli *cli, const Drive *d, Error **errp)
{
    bool ide = d->iface == DRIVE_INTERFACE_IDE;
    const char *driver = !ide ? "virtio-blk-pci" : d->cdrom ? "ide-cd" : "ide-hd";
    if (!device_type_find(driver)) {
        error_set(errp, "if=%s needs the device '%s', which this emulator does not have",
                  drive_interface_names[d->iface], driver);
        error_hint(errp, d->cdrom ? "give the image to the guest as a disk: format=raw,snapshot=on"
                                  : "use if=none and a -device that takes drive=");
        return false;
    }
    g_autoptr(Json) opts = json_put(json_new_object(), "driver", json_new_string(driver));
    json_put(opts, "drive", json_new_string(d->id));
    if (ide) {
        g_autofree char *bus = g_strdup_printf("ide.%u", d->bus), *unit = g_strdup_printf("%u", d->unit);
        json_put(opts, "bus", json_new_string(bus));
        json_put(opts, "unit", json_new_string(unit));
    }
    if (d->serial) {
        json_put(opts, "serial", json_new_string(d->serial));
    }
    return device_add_json(cli->m, opts, errp);
}

bool cli_make_drive_devices(Cli *cli, Error **errp)
{
    for (guint i = 0; i < cli->drives->len; i++) {
        const Drive *d = drive_at(cli->m, i);
        Error *err = NULL;
        if (d->iface != DRIVE_INTERFACE_NONE && !make_device(cli, d, &err)) {
            return fail_at(errp, err, cli->drives->pdata[i]);
        }
    }
    return true;
}
