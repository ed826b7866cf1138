/* SPDX-License-Identifier: MIT
 * tools/system/hmp_block.c - monitor commands about disks: block_resize, block_set_io_throttle, change,
 * drive_add, eject, info block, info block-jobs.
 *
 * Models: QEMU's commands of these names. Threads: main loop, no domain held.
 */
#include "cli.h"
#include "rhea/util/text.h"
#include "schema/qmp-block.h"
#include <string.h>

static void hmp_eject(Monitor *mon, Machine *m, int argc, char **argv, GString *out)
{
    Error *err = NULL;
    bool force = hmp_take_flag(&argc, &argv, "-f");
    if (argc != 2) {
        g_string_append(out, "eject: [-f] and a drive are expected ('info block' lists them)\n");
    } else if (!drive_eject(m, argv[1], force, &err)) {
        hmp_say_error(out, err);
    }
}

static void hmp_block_resize(Monitor *mon, Machine *m, int argc, char **argv, GString *out)
{
    Error *err = NULL;
    uint64_t size;
    if (argc != 3) {
        g_string_append(out, "block_resize: a drive and its new size are expected ('info block')\n");
    } else if (!text_to_size(argv[2], 'M', &size, &err) ||
               !drive_resize(m, argv[1], NULL, (int64_t)MIN(size, (uint64_t)INT64_MAX), &err)) {
        hmp_say_error(out, err);
    }
}

static int find_name(const char *const *names, const char *name)
{
    for (int i = 0; names[i]; i++) {
        if (g_str_equal(names[i], name)) {
            return i;
        }
    }
    return -1;
}

static void hmp_change(Monitor *mon, Machine *m, int argc, char **argv, GString *out)
{
    static const char *const modes[] = { [AUTO] = "retain", [ON] = "read-only", [OFF] = "read-write", NULL };
    Error *err = NULL;
    bool force = hmp_take_flag(&argc, &argv, "-f");
    if (hmp_change_vnc(m, argc, argv, out)) {
        return;
    }
    if (argc < 3 || argc > 5) {
        g_string_append(out, "change: [-f], a drive, a file and perhaps its format are expected\n");
        return;
    }
    int mode = argc == 5 ? find_name(modes, argv[4]) : AUTO;
    if (mode < 0) {
        g_string_append_printf(out, "change: '%s' is not possible (retain, read-only or read-write are)\n",
                               argv[4]);
    } else if (!drive_change(m, argv[1], argv[2], argc > 3 ? argv[3] : NULL, force, (OnOffAuto)mode, &err)) {
        hmp_say_error(out, err);
    }
}

static void hmp_block_set_io_throttle(Monitor *mon, Machine *m, int argc, char **argv, GString *out)
{
    BlockSetIoThrottleArgs a = { 0 };
    int64_t *const limits[] = { &a.bps, &a.bps_rd, &a.bps_wr, &a.iops, &a.iops_rd, &a.iops_wr };
    Error *err = NULL;
    if (argc != 8) {
        g_string_append(out, "block_set_io_throttle: a drive and six limits are expected: bytes a second, "
                             "bytes read, bytes written, requests, reads, writes (0: none)\n");
        return;
    }
    for (unsigned i = 0; i < G_N_ELEMENTS(limits); i++) {
        uint64_t n;
        if (!text_to_size(argv[2 + i], 'b', &n, &err)) {
            hmp_say_error(out, err);
            return;
        }
        *limits[i] = (int64_t)MIN(n, (uint64_t)INT64_MAX);
    }
    a.device = argv[1];
    if (!qmp_block_set_io_throttle(&(QmpCall){ .machine = m }, &a, &err)) {
        hmp_say_error(out, err);
    }
}

/* The first argument, a place for the device, means nothing: if=none leaves that to device_add. */
static void hmp_drive_add(Monitor *mon, Machine *m, int argc, char **argv, GString *out)
{
    Error *err = NULL;
    bool node = hmp_take_flag(&argc, &argv, "-n"), from_text, ok = false;
    if (argc != 3) {
        g_string_append(out, "drive_add: [-n], a place (0) and KEY=VALUE,... are expected\n");
        return;
    }
    g_autoptr(Json) o = keyval_parse(argv[2], node ? "driver" : "file", &from_text, &err);
    if (o && node) {
        ok = blockdev_add_json(m, o, from_text, &err);
    } else if (o && g_strcmp0(json_get_string(json_member(o, "if", NULL)), "none") != 0) {
        error_set(&err, "drive_add makes drives for device_add only");
        error_hint(&err, "say if=none");
    } else if (o) {
        ok = drive_add_json(m, o, from_text, false, &err) != NULL;
    }
    if (ok) {
        g_string_append(out, "OK\n");
    } else {
        hmp_say_error(out, err);
    }
}

/* No command begins one yet. */
static void info_block_jobs(Monitor *mon, Machine *m, int argc, char **argv, GString *out)
{
    g_string_append(out, "No active jobs\n");
}

static void info_block(Monitor *mon, Machine *m, int argc, char **argv, GString *out)
{
    bool verbose = hmp_take_flag(&argc, &argv, "-v");
    if (argc > 2) {
        g_string_append(out, "info block takes -v and one drive\n");
    } else if (!drive_print(m, argc > 1 ? argv[1] : NULL, verbose, out) && argc > 1) {
        g_string_append_printf(out, "Error: there is no drive '%s'\n", argv[1]);
    }
}

static void complete_drive(Machine *m, unsigned arg, GPtrArray *out)
{
    for (unsigned i = 0; arg == 1 && i < drive_count(m); i++) {
        g_ptr_array_add(out, g_strdup(drive_at(m, i)->id));
    }
}

static const HmpCommand block_info[] = {
    { "block", "[-v] [DRIVE]", "show the disks and their images", info_block, NULL, complete_drive },
    { "block-jobs", "", "show the jobs of disks", info_block_jobs },
    { "blockstats", "", "show what the disks did", hmp_info_blockstats, NULL, NULL },
    { 0 },
};

const HmpCommand hmp_block_commands[] = {
    { "block_resize", "DRIVE SIZE", "give a disk another size, in MiB or with a suffix", hmp_block_resize,
      NULL, complete_drive },
    { "block_set_io_throttle", "DRIVE BPS BPS_RD BPS_WR IOPS IOPS_RD IOPS_WR",
      "limit a disk: bytes and requests a second, of all, of reads and of writes (0: no limit)",
      hmp_block_set_io_throttle, NULL, complete_drive },
    { "change", "[-f] DRIVE FILE [FORMAT] | vnc ADDRESS | vnc password PASSWORD",
      "put another medium into a drive; another address or password of the VNC server", hmp_change, NULL,
      complete_drive },
    { "drive_add", "[-n] 0 if=none,KEY=VALUE,...", "make a drive for device_add (-n: a block node)",
      hmp_drive_add },
    { "eject", "[-f] DRIVE", "take the medium out of a drive (-f: although the guest has locked it)",
      hmp_eject, NULL, complete_drive },
    { "info", "[SUBCOMMAND]", "show the state of the machine", NULL, block_info },
    { 0 },
};
