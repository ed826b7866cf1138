/* SPDX-License-Identifier: MIT
 * hw/display/vga-rom.c - the video BIOS of cards that are not on PCI: a file of fw_cfg, from where SeaBIOS
 * takes it. Threads: main loop.
 */
#include "rhea/hw/fw_cfg.h"
#include "rhea/system/machine.h"
#include "rhea/util/log.h"
#include "vga.h"

bool vga_publish_rom(Machine *m, const char *name, Error **errp)
{
    Device *fw = fw_cfg_of_machine(m);
    Error *missing = NULL;
    g_autofree char *path = fw ? machine_find_firmware(m, name, &missing) : NULL, *data = NULL;
    gsize len;
    if (!path) {
        if (missing && m->firmware_path->len) {
            log_info("%s: firmware shows nothing", error_text(missing));
        }
        error_free(missing);
        return true;
    }
    g_autoptr(GError) gerr = NULL;
    if (!g_file_get_contents(path, &data, &len, &gerr)) {
        return error_set(errp, "video BIOS: %s", gerr->message);
    }
    g_autofree char *file = g_strdup_printf("vgaroms/%s", name);
    return fw_cfg_add_file_bytes(fw, file, data, len, errp);
}
