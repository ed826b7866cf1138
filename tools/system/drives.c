/* SPDX-License-Identifier: MIT
 * tools/system/drives.c - -blockdev, -drive and its short forms, and the devices that if= asks for.
 *
 * Threads: main thread.
 */
#include "cli.h"
#include "rhea/hw/ide.h"
#include "rhea/util/errorcode.h"
#include <string.h>

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
    static const struct {
        const char *name, *index;
    } places[] = { { "fda", "0" }, { "fdb", "1" }, { "hda", "0" },  { "hdb", "1" },
                   { "hdc", "2" }, { "hdd", "3" }, { "cdrom", "2" } };
    Json *j = json_put(json_new_object(), "file", json_new_string(arg));
    for (size_t i = 0; i < G_N_ELEMENTS(places); i++) {
        if (g_str_equal(places[i].name, o->name)) {
            json_put(j, "index", json_new_string(places[i].index));
        }
    }
    if (g_str_has_prefix(o->name, "fd")) {
        json_put(j, "if", json_new_string("floppy"));
    }
    if (g_str_equal(o->name, "pflash")) {
        json_put(j, "if", json_new_string("pflash"));
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
            return cli_fail_at(errp, err, item);
        }
    }
    for (guint i = 0; i < cli->drives->len; i++) {
        Item *item = cli->drives->pdata[i];
        if (!drive_add_json(cli->m, item->opts, item->from_text, cli->snapshot, &err)) {
            return cli_fail_at(errp, err, item);
        }
    }
    return true;
}

/* What the board would plug in. */
static bool make_device(Cli *cli, const Drive *d, Error **errp)
{
    bool ide = d->iface == DRIVE_INTERFACE_IDE, floppy = d->iface == DRIVE_INTERFACE_FLOPPY;
    const char *driver = floppy ? "floppy" : !ide ? "virtio-blk-pci" : d->cdrom ? "ide-cd" : "ide-hd";
    g_autoptr(Json) opts = json_put(json_new_object(), "driver", json_new_string(driver));
    json_put(opts, "drive", json_new_string(d->id));
    if (floppy) {
        g_autofree char *unit = g_strdup_printf("%u", d->unit);
        json_put(opts, "unit", json_new_string(unit));
    }
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

/* A PC has a CD drive, the secondary channel's first: without -nodefaults, unless the place is taken or
 * -device says what IDE drives there are. */
static bool make_default_cdrom(Cli *cli, Error **errp)
{
    Machine *m = cli->m;
    if (m->no_defaults || !m->board->default_bus || !m->board->default_bus(m, &ide_bus_type)) {
        return true;
    }
    for (guint i = 0; i < cli->devices->len; i++) {
        const Json *opts = ((Item *)cli->devices->pdata[i])->opts;
        const char *driver = json_get_string(json_member(opts, "driver", NULL));
        if (!g_strcmp0(driver, "ide-cd") || !g_strcmp0(driver, "ide-hd")) {
            return true;
        }
    }
    for (unsigned i = 0; i < drive_count(m); i++) {
        const Drive *d = drive_at(m, i);
        if ((d->iface == DRIVE_INTERFACE_IDE && d->index == 2) || g_str_equal(d->id, "ide1-cd0")) {
            return true;
        }
    }
    g_autoptr(Json) opts = json_put(json_put(json_new_object(), "index", json_new_string("2")), "media",
                                    json_new_string("cdrom"));
    Drive *d = drive_add_json(m, opts, true, false, errp);
    return d && make_device(cli, d, errp);
}

bool cli_make_drive_devices(Cli *cli, Error **errp)
{
    for (guint i = 0; i < cli->drives->len; i++) {
        const Drive *d = drive_at(cli->m, i);
        Error *err = NULL;
        if (d->iface == DRIVE_INTERFACE_PFLASH) { /* the board takes it, when it is built */
            if (!d->port) {
                error_fail(&err, "no-place", "if", NULL,
                           "machine '%s' has no place for flash", cli->m->board->name);
                error_hint(&err, "machine types pc and q35 have two");
                return cli_fail_at(errp, err, cli->drives->pdata[i]);
            }
            continue;
        }
        if (d->iface != DRIVE_INTERFACE_NONE && !make_device(cli, d, &err)) {
            return cli_fail_at(errp, err, cli->drives->pdata[i]);
        }
    }
    return make_default_cdrom(cli, errp);
}
