/* SPDX-License-Identifier: MIT
 * tools/system/hmp.c - what monitor commands share: arguments, errors; and those about PC hardware:
 * interrupt controllers, PCI, NMI, nodes, vmgenid.
 *
 * Models: QEMU's commands of these names; the texts come from the devices.
 * Threads: main loop; a device is described with its domain held.
 */
#include "cli.h"
#include "rhea/hw/apic.h"
#include "rhea/hw/intc.h"
#include "rhea/hw/pc.h"
#include "rhea/hw/pci.h"
#include "rhea/hw/usb.h"
#include "schema/qmp-machine.h"
#include <string.h>

bool hmp_take_flag(int *argc, char ***argv, const char *flag)
{
    if (*argc < 2 || !g_str_equal((*argv)[1], flag)) {
        return false;
    }
    (*argc)--;
    (*argv)++;
    return true;
}

bool hmp_take_value(int *argc, char **argv, const char *flag, const char **value)
{
    int at = 1;
    *value = NULL;
    while (at < *argc && !g_str_equal(argv[at], flag)) {
        at++;
    }
    if (at + 1 >= *argc) {
        return at == *argc;
    }
    char *word = argv[at];
    *value = argv[at + 1];
    memmove(&argv[at], &argv[at + 2], (size_t)(*argc - at - 2) * sizeof(*argv));
    *argc -= 2;
    argv[*argc] = word; /* their owner frees all of them */
    argv[*argc + 1] = (char *)*value;
    return true;
}

void hmp_say_error(GString *out, Error *err)
{
    const char *hint = error_hint_text(err);
    g_string_append_printf(out, "Error: %s\n", error_text(err));
    if (hint) {
        g_string_append_printf(out, "%s\n", hint);
    }
    error_free(err);
}

/* Describes every device whose type name is in the list. */
static unsigned describe_types(Device *dev, const char *const *types, GString *out)
{
    unsigned n = 0;
    if (g_strv_contains(types, dev->type->name) && dev->type->describe) {
        g_string_append_printf(out, "%s\n", device_name(dev));
        domain_lock(dev->domain);
        dev->type->describe(dev, out, 2);
        domain_unlock(dev->domain);
        n++;
    }
    for (guint i = 0; dev->children && i < dev->children->len; i++) {
        n += describe_types(dev->children->pdata[i], types, out);
    }
    return n;
}

static void info_pic(Monitor *mon, Machine *m, int argc, char **argv, GString *out)
{
    static const char *const types[] = { "isa-i8259", "i8259", "isa-pic", "ioapic", NULL };
    if (!describe_types(m->root, types, out)) {
        g_string_append(out, "this machine has no interrupt controllers\n");
    }
}

static void print_counts(Device *dev, GString *out)
{
    uint64_t n[IOAPIC_PINS] = { 0 };
    bool pic = dev->type == &i8259_type, ioapic = dev->type == &ioapic_type;
    if (pic) {
        i8259_counts(dev, n);
    } else if (ioapic) {
        ioapic_counts(dev, n);
    }
    if (pic || ioapic) {
        g_string_append_printf(out, "IRQ statistics for %s:\n", dev->type->name);
    }
    for (unsigned i = 0; i < IOAPIC_PINS; i++) {
        if (n[i]) {
            g_string_append_printf(out, "%2u: %" G_GUINT64_FORMAT "\n", i, n[i]);
        }
    }
    for (guint i = 0; dev->children && i < dev->children->len; i++) {
        print_counts(dev->children->pdata[i], out);
    }
}

static void info_irq(Monitor *mon, Machine *m, int argc, char **argv, GString *out)
{
    print_counts(m->root, out);
}

static void info_lapic(Monitor *mon, Machine *m, int argc, char **argv, GString *out)
{
    int cpu = monitor_get_cpu(mon);
    if (!m->cpus || cpu < 0 || (unsigned)cpu >= m->n_cpus) {
        g_string_append(out, "this machine has no such CPU\n");
        return;
    }
    apic_print(m->cpus[cpu], out);
}

static void print_pci(Device *dev, GString *out, bool *found)
{
    for (guint i = 0; dev->buses && i < dev->buses->len; i++) {
        Bus *b = dev->buses->pdata[i];
        if (b->type == &pci_bus_type) {
            pci_print(b->impl, out);
            *found = true;
        }
    }
    for (guint i = 0; dev->children && i < dev->children->len; i++) {
        print_pci(dev->children->pdata[i], out, found);
    }
}

static void info_usb(Monitor *mon, Machine *m, int argc, char **argv, GString *out)
{
    usb_print(m, out);
}

static void info_pci(Monitor *mon, Machine *m, int argc, char **argv, GString *out)
{
    bool found = false;
    print_pci(m->root, out, &found);
    if (!found) {
        g_string_append(out, "PCI devices not supported\n");
    }
}

static void info_numa(Monitor *mon, Machine *m, int argc, char **argv, GString *out)
{
    const MachineNuma *numa = m->numa;
    g_string_append_printf(out, "%u nodes\n", numa ? numa->n : 0);
    for (unsigned i = 0; numa && i < numa->n; i++) {
        g_string_append_printf(out, "node %u cpus:", i);
        for (unsigned c = 0; c < m->n_cpus; c++) {
            if (numa->cpu_node[c] == (int)i) {
                g_string_append_printf(out, " %u", c);
            }
        }
        g_string_append_printf(out, "\nnode %u size: %" G_GUINT64_FORMAT " MB\nnode %u plugged: 0 MB\n", i,
                               numa_node_size(&numa->node[i]) >> 20, i);
    }
}

static void info_vm_generation_id(Monitor *mon, Machine *m, int argc, char **argv, GString *out)
{
    GuidInfo i = { 0 };
    Error *err = NULL;
    if (qmp_query_vm_generation_id(&(QmpCall){ .machine = m }, &i, &err)) {
        g_string_append_printf(out, "%s\n", i.guid);
        type_clear(&guid_info_type, &i);
    } else {
        hmp_say_error(out, err);
    }
}

static void hmp_nmi(Monitor *mon, Machine *m, int argc, char **argv, GString *out)
{
    g_autoptr(Error) err = NULL;
    if (!qmp_inject_nmi(&(QmpCall){ .machine = m }, &err)) {
        g_string_append_printf(out, "%s\n", error_text(err));
    }
}

static void info_qdm(Monitor *mon, Machine *m, int argc, char **argv, GString *out)
{
    cli_device_help(out);
}

static void hmp_boot_set(Monitor *mon, Machine *m, int argc, char **argv, GString *out)
{
    Error *err = NULL;
    if (argc != 2) {
        g_string_append(out, "boot_set: letters of drives are expected (a, c, d, n)\n");
    } else if (!pc_boot_set(m, argv[1], &err)) {
        hmp_say_error(out, err);
    } else {
        g_string_append_printf(out, "boot device list now set to %s\n", argv[1]);
    }
}

static const HmpCommand board_info[] = {
    { "irq", "", "show how often each input of the interrupt controllers was raised", info_irq },
    { "lapic", "", "show the local APIC of the current CPU", info_lapic },
    { "mice", "", "show the guest's mice", hmp_info_mice },
    { "numa", "", "show the guest's NUMA nodes", info_numa },
    { "pci", "", "show the PCI functions", info_pci },
    { "usb", "", "show USB devices, and where they are plugged in", info_usb },
    { "pic", "", "show the interrupt controllers", info_pic },
    { "qdm", "", "show the devices that device_add takes", info_qdm },
    { "vnc", "", "show the VNC servers and their clients", hmp_info_vnc },
    { "web", "", "show the web console's address, with its token", hmp_info_web },
    { "vm-generation-id", "", "show the GUID of -device vmgenid", info_vm_generation_id },
    { 0 },
};

const HmpCommand hmp_board_commands[] = {
    { "info", "[SUBCOMMAND]", "show the state of the machine", NULL, board_info },
    { "boot_set", "DRIVES", "choose what firmware boots from now on (letters as of -boot order=)",
      hmp_boot_set },
    { "expire_password", "vnc TIME [-d DISPLAY]",
      "until when the VNC password is good: now, never, +SECONDS, seconds since 1970", hmp_expire_password },
    { "mouse_button", "STATE", "press and release the mouse's buttons: the sum of 1 left, 2 middle, 4 right",
      hmp_mouse_button },
    { "mouse_move", "DX DY [DZ]", "move the mouse, and turn its wheel", hmp_mouse_move },
    { "mouse_set", "INDEX", "choose the mouse that gets events ('info mice' lists them)", hmp_mouse_set },
    { "nmi", "", "send all CPUs a non-maskable interrupt", hmp_nmi },
    { "sendkey", "KEY[-KEY]... [MS]", "press keys together (ctrl-alt-delete, 0x1e), MS milliseconds long",
      hmp_sendkey, NULL, complete_sendkey },
    { "set_password", "vnc PASSWORD [-d DISPLAY] [keep|fail|disconnect]",
      "set the VNC password; what becomes of clients", hmp_set_password },
    { "type_text", "\"TEXT\" [MS]", "type a text on the guest's keyboard, with MS milliseconds between keys",
      hmp_type_text },
    { 0 },
};
