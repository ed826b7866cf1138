/* SPDX-License-Identifier: MIT
 * monitor/info.c - `info` subcommands about the machine core: run state, CPUs, memory, devices, chardevs.
 *
 * Models: the texts of QEMU's monitor where scripts read them (status, name, uuid, cpus, chardev, registers).
 * Does not model: what belongs to boards; programs add those (`info pci`, `info pic`).
 * Threads: main loop; CPU state is read on the vCPU between instructions.
 */
#include "config.h"
#include "monitor_internal.h"
#include "rhea/monitor/qmp.h"
#include "rhea/system/ramlist.h"
#include "rhea/util/text.h"
#include "schema/qmp-state.h"
#include "schema/qmp.h"
#include <inttypes.h>
#include <string.h>

static void info_status(Monitor *mon, Machine *m, int argc, char **argv, GString *out)
{
    StatusInfo s = { 0 };
    qmp_query_status(&(QmpCall){ .machine = m }, &s, NULL);
    g_string_append_printf(out, "VM status: %s", s.running ? "running" : "paused");
    if (!s.running && s.status != QMP_RUN_STATE_PAUSED) {
        g_string_append_printf(out, " (%s)", qmp_run_state_names[s.status]);
    }
    g_string_append_c(out, '\n');
}

static void info_version(Monitor *mon, Machine *m, int argc, char **argv, GString *out)
{
    g_string_append(out, RHEA_VERSION "\n");
}

static void info_name(Monitor *mon, Machine *m, int argc, char **argv, GString *out)
{
    NameInfo i = { 0 };
    qmp_query_name(&(QmpCall){ .machine = m }, &i, NULL);
    if (i.name) {
        g_string_append_printf(out, "%s\n", i.name);
    }
    type_clear(&name_info_type, &i);
}

static void info_uuid(Monitor *mon, Machine *m, int argc, char **argv, GString *out)
{
    UuidInfo i = { 0 };
    qmp_query_uuid(&(QmpCall){ .machine = m }, &i, NULL);
    g_string_append_printf(out, "%s\n", i.UUID);
    type_clear(&uuid_info_type, &i);
}

/* ---- CPUs ---- */

typedef struct CpuRead {
    Vcpu *cpu;
    GString *out;
    void (*print)(Vcpu *cpu, GString *out);
    uint64_t pc;
    bool halted;
} CpuRead;

static void read_pc(void *opaque)
{
    CpuRead *r = opaque;
    r->pc = r->cpu->target->pc ? r->cpu->target->pc(r->cpu) : 0;
    r->halted = r->cpu->halted;
}

static void info_cpus(Monitor *mon, Machine *m, int argc, char **argv, GString *out)
{
    for (unsigned i = 0; m->cpus && i < m->n_cpus; i++) {
        CpuRead r = { .cpu = m->cpus[i] };
        vcpu_run_on_wait(r.cpu, read_pc, &r);
        g_string_append_printf(out, "%c CPU #%u: pc=0x%016" PRIx64 "%s\n",
                               (int)i == monitor_get_cpu(mon) ? '*' : ' ', i, r.pc,
                               r.halted ? " (halted)" : "");
    }
}

static void print_on_cpu(void *opaque)
{
    CpuRead *r = opaque;
    r->print(r->cpu, r->out);
}

static void on_cpu(Vcpu *cpu, void (*print)(Vcpu *, GString *), GString *out)
{
    CpuRead r = { .cpu = cpu, .out = out, .print = print };
    if (!cpu || !print) {
        g_string_append(out, cpu ? "this CPU has nothing to show here\n" : "this machine has no CPU\n");
        return;
    }
    vcpu_run_on_wait(cpu, print_on_cpu, &r);
}

static void info_registers(Monitor *mon, Machine *m, int argc, char **argv, GString *out)
{
    bool all = argc > 1 && g_str_equal(argv[1], "-a");
    if (argc > (all ? 2 : 1)) {
        g_string_append(out, "info registers takes -a (all CPUs) only\n");
        return;
    }
    for (unsigned i = 0; m->cpus && i < m->n_cpus; i++) {
        if (all || (int)i == monitor_get_cpu(mon)) {
            g_string_append_printf(out, "\nCPU#%u\n", i);
            on_cpu(m->cpus[i], m->cpus[i]->target->print_regs, out);
        }
    }
    if (!m->cpus) {
        on_cpu(NULL, NULL, out);
    }
}

static void info_mem(Monitor *mon, Machine *m, int argc, char **argv, GString *out)
{
    Vcpu *cpu = monitor_cpu(mon, m);
    on_cpu(cpu, cpu ? cpu->target->print_mem : NULL, out);
}

static void info_tlb(Monitor *mon, Machine *m, int argc, char **argv, GString *out)
{
    Vcpu *cpu = monitor_cpu(mon, m);
    on_cpu(cpu, cpu ? cpu->target->print_tlb : NULL, out);
}

static void info_jit(Monitor *mon, Machine *m, int argc, char **argv, GString *out)
{
    if (m->accel && m->accel->describe) {
        m->accel->describe(m, out);
    } else {
        g_string_append_printf(out, "accelerator %s translates no code\n",
                               m->accel ? m->accel->name : "(none)");
    }
}

static void info_kvm(Monitor *mon, Machine *m, int argc, char **argv, GString *out)
{
    KvmInfo i = { 0 };
    qmp_query_kvm(&(QmpCall){ .machine = m }, &i, NULL);
    g_string_append_printf(out, "kvm support: %s\n", i.enabled   ? "enabled"
                                                      : i.present ? "disabled"
                                                                  : "not compiled");
    if (i.enabled && m->accel->describe) {
        m->accel->describe(m, out);
    }
}

/* ---- memory ---- */

static void info_mtree(Monitor *mon, Machine *m, int argc, char **argv, GString *out)
{
    bool flat = argc > 1 && g_str_equal(argv[1], "-f");
    if (argc > (flat ? 2 : 1)) {
        g_string_append(out, "info mtree takes -f (as the CPU sees it) only\n");
        return;
    }
    as_print(&m->as_mem, out, flat);
    g_string_append_c(out, '\n');
    as_print(&m->as_io, out, flat);
}

static void describe_ramblock(RamBlock *ram, void *opaque)
{
    const char *name = ram->name ? ram->name : "";
    g_autofree char *page = text_from_size(ram->page);
    g_string_append_printf(opaque, "%24s %9s  0x%016" PRIx64 "\n", name, page, ram->size);
}

static void info_ramblock(Monitor *mon, Machine *m, int argc, char **argv, GString *out)
{
    g_string_append_printf(out, "%24s %9s  %18s\n", "Block Name", "PSize", "Total");
    ram_foreach(m, describe_ramblock, out);
}

static const char *yes_no(bool v)
{
    return v ? "true" : "false";
}

static void info_memdev(Monitor *mon, Machine *m, int argc, char **argv, GString *out)
{
    QueryMemdevResult r = { 0 };
    qmp_query_memdev(&(QmpCall){ .machine = m }, &r, NULL);
    for (size_t i = 0; i < r.n; i++) {
        const Memdev *d = &r.items[i];
        g_string_append_printf(out, "memory backend: %s\n  size:  %" PRIu64 "\n  merge: %s\n  dump: %s\n"
                               "  prealloc: %s\n  share: %s\n  reserve: %s\n  policy: %s\n  host nodes:",
                               d->id, d->size, yes_no(d->merge), yes_no(d->dump), yes_no(d->prealloc),
                               yes_no(d->share), yes_no(d->reserve), host_mem_policy_names[d->policy]);
        for (size_t k = 0; k < d->host_nodes.n; k++) {
            g_string_append_printf(out, " %" PRId64, d->host_nodes.items[k]);
        }
        g_string_append_c(out, '\n');
        type_clear(&memdev_type, &r.items[i]);
    }
    g_free(r.items);
}

static void info_balloon(Monitor *mon, Machine *m, int argc, char **argv, GString *out)
{
    BalloonInfo i = { 0 };
    Error *err = NULL;
    if (qmp_query_balloon(&(QmpCall){ .machine = m }, &i, &err)) {
        g_string_append_printf(out, "balloon: actual=%" PRId64 "\n", i.actual >> 20);
    } else {
        monitor_say_error(out, err);
    }
}

/* What the CPU sees as read-only memory: firmware and option ROMs. */
static void info_roms(Monitor *mon, Machine *m, int argc, char **argv, GString *out)
{
    rcu_read_lock();
    const FlatView *v = as_view(&m->as_mem);
    for (uint32_t i = 0; v && i < v->n; i++) {
        const FlatRange *r = &v->r[i];
        if (r->host && r->readonly) {
            g_string_append_printf(out, "addr=%016" PRIx64 " size=0x%06" PRIx64 " mem=%s name=\"%s\"\n",
                                   r->start, r->size, r->region->rom_device ? "flash" : "rom",
                                   r->ram && r->ram->name ? r->ram->name : r->region->name);
        }
    }
    rcu_read_unlock();
}

/* ---- devices ---- */

static void append_props(const Prop *table, const void *base, int indent, GString *out)
{
    for (const Prop *p = table; p && p->name; p++) {
        if (!prop_is_listed(p)) {
            continue;
        }
        g_autoptr(Json) v = prop_get(p, base);
        g_autofree char *text = json_format(v, false);
        g_string_append_printf(out, "%*s%s = %s\n", indent, "", p->name, text);
    }
}

static void tree_bus(Bus *bus, int indent, GString *out);

static void tree_device(Device *dev, int indent, GString *out)
{
    g_string_append_printf(out, "%*sdev: %s, id \"%s\"\n", indent, "", dev->type->name,
                           dev->id ? dev->id : "");
    for (const DeviceType *t = dev->type; t; t = t->base) {
        append_props(t->props, dev, indent + 2, out);
    }
    if (dev->bus && dev->bus->type->child_props && dev->bus_data) {
        append_props(dev->bus->type->child_props, dev->bus_data, indent + 2, out);
    }
    if (dev->bus && dev->bus->type->describe_child) {
        dev->bus->type->describe_child(dev, out, indent + 2);
    }
    if (dev->type->describe) {
        dev->type->describe(dev, out, indent + 2);
    }
    for (guint i = 0; dev->buses && i < dev->buses->len; i++) {
        tree_bus(dev->buses->pdata[i], indent + 2, out);
    }
}

static void tree_bus(Bus *bus, int indent, GString *out)
{
    g_string_append_printf(out, "%*sbus: %s\n%*stype %s\n", indent, "", bus->name, indent + 2, "",
                           bus->type->name);
    for (guint i = 0; bus->children && i < bus->children->len; i++) {
        tree_device(bus->children->pdata[i], indent + 2, out);
    }
}

/* Devices without a bus stand at the top; the others below their bus. */
static void tree_walk(Device *dev, GString *out)
{
    bool container = !dev->type->realize && !dev->type->props;
    if (!dev->bus && !container) {
        tree_device(dev, 2, out);
    }
    for (guint i = 0; dev->children && i < dev->children->len; i++) {
        tree_walk(dev->children->pdata[i], out);
    }
}

static void info_qtree(Monitor *mon, Machine *m, int argc, char **argv, GString *out)
{
    g_string_append(out, "bus: main-system-bus\n  type System\n");
    if (m->root) {
        tree_walk(m->root, out);
    }
}

static void qom_walk(Device *dev, int indent, GString *out)
{
    const char *slash = dev->path ? strrchr(dev->path, '/') : NULL;
    g_string_append_printf(out, "%*s/%s (%s)\n", indent, "", slash ? slash + 1 : device_name(dev),
                           dev->type->name);
    for (guint i = 0; dev->children && i < dev->children->len; i++) {
        qom_walk(dev->children->pdata[i], indent + 2, out);
    }
}

static void info_qom_tree(Monitor *mon, Machine *m, int argc, char **argv, GString *out)
{
    if (m->root) {
        qom_walk(m->root, 0, out);
    }
}

static void info_chardev(Monitor *mon, Machine *m, int argc, char **argv, GString *out)
{
    QueryChardevResult r = { 0 };
    qmp_query_chardev(&(QmpCall){ .machine = m }, &r, NULL);
    for (size_t i = 0; i < r.n; i++) {
        g_string_append_printf(out, "%s: filename=%s\n", r.items[i].label, r.items[i].filename);
        type_clear(&chardev_info_type, &r.items[i]);
    }
    g_free(r.items);
}

void hmp_info_history(Monitor *mon, Machine *m, int argc, char **argv, GString *out)
{
    const char *line;
    for (unsigned i = 0; (line = monitor_history(mon, i)); i++) {
        g_string_append_printf(out, "%u: '%s'\n", i, line);
    }
}

const HmpCommand monitor_info_commands[] = {
    { "balloon", "", "show how much memory the guest keeps (MiB)", info_balloon },
    { "chardev", "", "show the character devices", info_chardev },
    { "cpus", "", "show each CPU: where it is, whether it is halted", info_cpus },
    { "history", "", "show the command line history", hmp_info_history },
    { "hotpluggable-cpus", "", "show the places of CPUs", hmp_info_hotpluggable_cpus },
    { "iothreads", "", "show the threads of devices' I/O", hmp_info_iothreads },
    { "jit", "", "show what the code translator has done", info_jit },
    { "kvm", "", "show whether KVM is used, and what it and the program did for the guest", info_kvm },
    { "mem", "", "show the virtual memory mappings of the current CPU", info_mem },
    { "memdev", "", "show the memory backends", info_memdev },
    { "memory_size_summary", "", "show how much memory the machine has", hmp_info_memory_size },
    { "mtree", "[-f]", "show the memory tree (-f: flat, as the CPU sees it)", info_mtree },
    { "name", "", "show the guest's name", info_name },
    { "qom-tree", "", "show the objects of the machine", info_qom_tree },
    { "qtree", "", "show the device tree with properties", info_qtree },
    { "ramblock", "", "show the blocks of guest memory on the host", info_ramblock },
    { "registers", "[-a]", "show the registers of the current CPU (-a: all CPUs)", info_registers },
    { "roms", "", "show firmware and option ROMs in guest memory", info_roms },
    { "stats", "vm|vcpu [NAMES [PROVIDER]]",
      "show what the accelerator counted of the machine or the current CPU",
      hmp_info_stats },
    { "status", "", "show whether the machine runs", info_status },
    { "tlb", "", "show the page translations of the current CPU", info_tlb },
    { "trace-events", "[NAME]", "show the trace events (a name or pattern), and whether they are on",
      hmp_info_trace_events, NULL, complete_trace_event },
    { "uuid", "", "show the machine's UUID", info_uuid },
    { "version", "", "show the version of the emulator", info_version },
    { 0 },
};
