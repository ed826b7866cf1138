/* SPDX-License-Identifier: MIT
 * system/board_none.c - the board "none": address spaces, RAM at 0 when asked for, and nothing else.
 * Models: nothing; a place for devices under test, and what management programs start to ask questions.
 * Threads: main loop.
 */
#include "rhea/system/machine.h"
#include "rhea/system/ramprops.h"
#include "rhea/util/errorcode.h"

typedef struct NoneBoard { /* Machine.board_state */
    bool dump_guest_core, mem_merge, usb;
} NoneBoard;

/* Nothing here could heed these. */
static bool none_check(const Machine *m, const NoneBoard *s, Error **errp)
{
    const char *option = m->kernel && m->kernel[0] ? "-kernel"
                         : m->bios && m->bios[0]   ? "-bios"
                         : m->smbios               ? "-smbios"
                         : s->usb                  ? "-machine usb=on"
                         : m->boot_order || m->boot_once || m->boot_menu || m->boot_splash ||
                                 m->boot_menu_timeout_ms >= 0 || m->boot_reboot_timeout_ms >= 0
                             ? "-boot"
                             : NULL;
    if (option) {
        error_fail(errp, "not-supported", NULL, NULL,
                   "%s: machine type 'none' has nothing that could use it", option);
        error_hint(errp, "leave it out, or use -machine pc");
    }
    return !option;
}

static bool none_init(Machine *m, Error **errp)
{
    const NoneBoard *s = m->board_state;
    if (!none_check(m, s, errp)) {
        return false;
    }
    if (!m->ram_size) {
        return true;
    }
    if (!machine_init_ram(m, "ram", errp)) {
        return false;
    }
    machine_advise_ram(m, s->mem_merge, s->dump_guest_core);
    region_map(&m->sysmem, 0, &m->ram_region, 0);
    return true;
}

static const Prop none_props[] = {
    MACHINE_RAM_PROPS(NoneBoard),
    PROP_BOOL(NoneBoard, usb, "usb", false, "USB controller (off)"),
    { 0 },
};

const BoardType board_none = {
    .name = "none", .desc = "empty machine", .max_cpus = 1, .max_ram = UINT64_C(1) << 40,
    .state_size = sizeof(NoneBoard), .props = none_props, .init = none_init,
};
