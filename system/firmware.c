/* SPDX-License-Identifier: MIT
 * system/firmware.c - finds firmware and option ROM files.
 * Models: -L directories first, then where distributions put such files.
 * Threads: main loop.
 */
#include "rhea/system/machine.h"
#include "rhea/util/errorcode.h"

#include <string.h>

static const struct {
    const char *prefix, *package;
} packages[] = { /* Debian's */
    { "bios", "seabios" },         { "vgabios", "seabios" },      { "OVMF", "ovmf" },
    { "efi-", "ipxe-qemu" },       { "pxe-", "ipxe-qemu" },       { "1af4", "ipxe-qemu" },
    { "8086", "ipxe-qemu" },       { "10ec", "ipxe-qemu" },       { "1022", "ipxe-qemu" },
    { "linuxboot", "qemu-system-data" }, { "multiboot", "qemu-system-data" },
    { "pvh.bin", "qemu-system-data" },   { "kvmvapic", "qemu-system-data" },
};

char *machine_find_firmware(Machine *m, const char *name, Error **errp)
{
    if (strchr(name, '/') && g_file_test(name, G_FILE_TEST_IS_REGULAR)) {
        return g_strdup(name);
    }
    if (g_file_test(name, G_FILE_TEST_IS_REGULAR)) { /* as for QEMU: a file right here wins */
        return g_strdup(name);
    }
    g_autoptr(GString) places = g_string_new(NULL);
    for (guint i = 0; i < m->firmware_path->len && !strchr(name, '/'); i++) {
        g_autofree char *path = g_build_filename(m->firmware_path->pdata[i], name, NULL);
        if (g_file_test(path, G_FILE_TEST_IS_REGULAR)) {
            return g_steal_pointer(&path);
        }
        g_string_append_printf(places, "%s%s", places->len ? ", " : "", (char *)m->firmware_path->pdata[i]);
    }
    error_fail(errp, "file-not-found", NULL, NULL,
               "firmware file '%s' not found%s%s", name, places->len ? " in " : "", places->str);
    for (unsigned i = 0; i < G_N_ELEMENTS(packages); i++) {
        if (g_str_has_prefix(name, packages[i].prefix)) {
            error_hint(errp, "Debian's package '%s' has it; -L DIR names another directory",
                       packages[i].package);
            return NULL;
        }
    }
    error_hint(errp, "-L DIR names another directory to look in");
    return NULL;
}
