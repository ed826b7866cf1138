/* SPDX-License-Identifier: MIT
 * monitor/core.c - commands about running, logging, devices and chardevs.
 *
 * Models: QEMU's monitor commands of the same names.
 * Threads: main loop, no domain held.
 */
#include "monitor_internal.h"
#include "rhea/backends/object.h"
#include "rhea/monitor/gdb.h"
#include "rhea/monitor/qmp.h"
#include "rhea/schema/type.h"
#include "rhea/util/log.h"
#include "rhea/util/text.h"
#include "schema/qmp-state.h"
#include "schema/qmp.h"
#include <string.h>

static bool want_args(GString *out, int argc, char **argv, int n, const char *what)
{
    if (argc == n + 1) {
        return true;
    }
    g_string_append_printf(out, "%s: %s expected\n", argv[0], what);
    return false;
}

/* ---- running ---- */

static void hmp_help(Monitor *mon, Machine *m, int argc, char **argv, GString *out)
{
    monitor_help(out, argc > 1 ? argv[1] : NULL, argc > 2 ? argv[2] : NULL);
}

/* Commands that programs have as well do the same thing: both call one function. */
static void say_result(GString *out, bool ok, Error *err)
{
    if (!ok) {
        monitor_say_error(out, err);
    }
}
#define QMP_CALL(out, m, fn, ...) \
    do { \
        QmpCall call_ = { .machine = (m) }; \
        Error *err_ = NULL; \
        bool ok_ = fn(&call_, ##__VA_ARGS__, &err_); \
        say_result((out), ok_, err_); \
    } while (0)

static void hmp_quit(Monitor *mon, Machine *m, int argc, char **argv, GString *out)
{
    QMP_CALL(out, m, qmp_quit);
    if (mon) {
        mon->ending = true; /* no further prompt */
    }
}

static void hmp_stop(Monitor *mon, Machine *m, int argc, char **argv, GString *out)
{
    QMP_CALL(out, m, qmp_stop);
}

static void hmp_cont(Monitor *mon, Machine *m, int argc, char **argv, GString *out)
{
    QMP_CALL(out, m, qmp_cont);
}

static void hmp_gdbserver(Monitor *mon, Machine *m, int argc, char **argv, GString *out)
{
    const char *dev = argc > 1 ? argv[1] : GDB_DEFAULT_DEVICE;
    Error *err = NULL;
    if (argc > 2) {
        g_string_append(out, "gdbserver: one device or 'none' is expected\n");
    } else if (!gdb_server_start(m, dev, &err)) {
        monitor_say_error(out, err);
    } else if (g_str_equal(dev, "none")) {
        g_string_append(out, "Disabled gdbserver\n");
    } else {
        g_string_append_printf(out, "Waiting for gdb connection on device '%s'\n", dev);
    }
}

static void hmp_system_reset(Monitor *mon, Machine *m, int argc, char **argv, GString *out)
{
    QMP_CALL(out, m, qmp_system_reset);
}

static void hmp_system_powerdown(Monitor *mon, Machine *m, int argc, char **argv, GString *out)
{
    QMP_CALL(out, m, qmp_system_powerdown);
}

static void hmp_system_wakeup(Monitor *mon, Machine *m, int argc, char **argv, GString *out)
{
    QMP_CALL(out, m, qmp_system_wakeup);
}

static void hmp_cpu(Monitor *mon, Machine *m, int argc, char **argv, GString *out)
{
    uint64_t i;
    if (!want_args(out, argc, argv, 1, "a CPU number is")) {
        return;
    }
    if (!text_to_u64(argv[1], &i, NULL) || !m->cpus || i >= m->n_cpus) {
        g_string_append(out, "invalid CPU index\n");
    } else if (mon) {
        mon->cpu = i;
    }
}

static void hmp_object_del(Monitor *mon, Machine *m, int argc, char **argv, GString *out)
{
    if (want_args(out, argc, argv, 1, "an object's id is")) {
        QMP_CALL(out, m, qmp_object_del, &(ObjectDelArgs){ .id = argv[1] });
    }
}

static void hmp_object_add(Monitor *mon, Machine *m, int argc, char **argv, GString *out)
{
    Error *err = NULL;
    bool from_text;
    if (!want_args(out, argc, argv, 1, "TYPE,id=ID,... is")) {
        return;
    }
    g_autoptr(Json) opts = keyval_parse(argv[1], "qom-type", &from_text, &err);
    if (!opts || !object_new_json(m, opts, from_text, false, &err)) {
        monitor_say_error(out, err);
    }
}

static bool take_range(int argc, char **argv, GString *out, int64_t *val, int64_t *size)
{
    uint64_t v, n;
    if (!want_args(out, argc, argv, 3, "an address, a size and a file name are")) {
        return false;
    }
    if (!text_to_u64(argv[1], &v, NULL) || !text_to_u64(argv[2], &n, NULL) || n > INT64_MAX) {
        g_string_append_printf(out, "%s: address and size are numbers\n", argv[0]);
        return false;
    }
    *val = v;
    *size = n;
    return true;
}

static void hmp_memsave(Monitor *mon, Machine *m, int argc, char **argv, GString *out)
{
    MemsaveArgs a = { .has_cpu_index = true, .cpu_index = monitor_get_cpu(mon) };
    if (take_range(argc, argv, out, &a.val, &a.size)) {
        a.filename = argv[3];
        QMP_CALL(out, m, qmp_memsave, &a);
    }
}

static void hmp_pmemsave(Monitor *mon, Machine *m, int argc, char **argv, GString *out)
{
    PmemsaveArgs a;
    if (take_range(argc, argv, out, &a.val, &a.size)) {
        a.filename = argv[3];
        QMP_CALL(out, m, qmp_pmemsave, &a);
    }
}

static void hmp_watchdog_action(Monitor *mon, Machine *m, int argc, char **argv, GString *out)
{
    if (!want_args(out, argc, argv, 1, "what follows when a watchdog expires is")) {
        return;
    }
    int action = type_enum_value(watchdog_action_names, argv[1]);
    if (action < 0) {
        g_autofree char *all = g_strjoinv(", ", (char **)watchdog_action_names);
        g_string_append_printf(out, "Error: '%s' is no action; there are %s\n", argv[1], all);
        return;
    }
    QMP_CALL(out, m, qmp_watchdog_set_action, &(WatchdogSetActionArgs){ .action = action });
}

static void complete_watchdog(Machine *m, unsigned arg, GPtrArray *out)
{
    for (unsigned i = 0; arg == 1 && watchdog_action_names[i]; i++) {
        g_ptr_array_add(out, g_strdup(watchdog_action_names[i]));
    }
}

/* ---- logging ---- */

static void log_help(GString *out)
{
    g_string_append(out, "Log items (comma separated):\nnone            no logs\n");
    for (const LogItem *i = log_items; i->name; i++) {
        g_string_append_printf(out, "%-15s %s\n", i->name, i->help);
    }
    g_string_append(out, "trace:PATTERN   trace events ('info trace-events' lists them)\n");
}

static void hmp_log(Monitor *mon, Machine *m, int argc, char **argv, GString *out)
{
    Error *err = NULL;
    if (!want_args(out, argc, argv, 1, "a list of items (or 'none', 'help') is")) {
        return;
    }
    if (g_str_equal(argv[1], "help") || g_str_equal(argv[1], "?")) {
        log_help(out);
    } else if (!log_set_items(argv[1], &err)) {
        monitor_say_error(out, err);
    }
}

static void complete_log(Machine *m, unsigned arg, GPtrArray *out)
{
    for (const LogItem *i = log_items; arg == 1 && i->name; i++) {
        g_ptr_array_add(out, g_strdup(i->name));
    }
}

static void hmp_logfile(Monitor *mon, Machine *m, int argc, char **argv, GString *out)
{
    Error *err = NULL;
    if (want_args(out, argc, argv, 1, "a file name is") && !log_set_file(argv[1], &err)) {
        monitor_say_error(out, err);
    }
}

/* ---- devices and chardevs ---- */

static void hmp_chardev_add(Monitor *mon, Machine *m, int argc, char **argv, GString *out)
{
    Error *err = NULL;
    if (want_args(out, argc, argv, 1, "BACKEND,id=ID,... is") && !chardev_new_option(m, argv[1], &err)) {
        monitor_say_error(out, err);
    }
}

static void hmp_chardev_remove(Monitor *mon, Machine *m, int argc, char **argv, GString *out)
{
    if (want_args(out, argc, argv, 1, "an id is")) {
        QMP_CALL(out, m, qmp_chardev_remove, &(ChardevRemoveArgs){ .id = argv[1] });
    }
}

static void hmp_chardev_change(Monitor *mon, Machine *m, int argc, char **argv, GString *out)
{
    Error *err = NULL;
    if (want_args(out, argc, argv, 2, "an id and BACKEND,... are") &&
        !chardev_change_option(m, argv[1], argv[2], &err)) {
        monitor_say_error(out, err);
    }
}

static void hmp_chardev_send_break(Monitor *mon, Machine *m, int argc, char **argv, GString *out)
{
    if (want_args(out, argc, argv, 1, "an id is")) {
        QMP_CALL(out, m, qmp_chardev_send_break, &(ChardevSendBreakArgs){ .id = argv[1] });
    }
}

static void hmp_ringbuf_write(Monitor *mon, Machine *m, int argc, char **argv, GString *out)
{
    if (want_args(out, argc, argv, 2, "a ringbuf chardev and a text are")) {
        QMP_CALL(out, m, qmp_ringbuf_write, &(RingbufWriteArgs){ .device = argv[1], .data = argv[2] });
    }
}

static void add_chardev_id(Chardev *c, void *opaque)
{
    g_ptr_array_add(opaque, g_strdup(chardev_id(c)));
}

static void complete_chardev(Machine *m, unsigned arg, GPtrArray *out)
{
    if (arg == 1) {
        chardev_foreach(m, add_chardev_id, out);
    }
}

static void hmp_ringbuf_read(Monitor *mon, Machine *m, int argc, char **argv, GString *out)
{
    uint64_t size;
    if (!want_args(out, argc, argv, 2, "a ringbuf chardev and a size are")) {
        return;
    }
    Chardev *c = chardev_find(m, argv[1]);
    if (!c || !chardev_is_ringbuf(c)) {
        g_string_append_printf(out, "Error: '%s' is not a ringbuf chardev\n", argv[1]);
        return;
    }
    if (!text_to_u64(argv[2], &size, NULL) || size > 1 << 20) {
        g_string_append(out, "Error: the size is a number up to 1048576\n");
        return;
    }
    g_autofree uint8_t *buf = g_malloc(size + 1);
    size_t n = chardev_ringbuf_read(c, buf, size);
    for (size_t i = 0; i < n; i++) {
        if (buf[i] == '\\') {
            g_string_append(out, "\\\\");
        } else if ((buf[i] < 32 && buf[i] != '\n' && buf[i] != '\t') || buf[i] == 127) {
            g_string_append_printf(out, "\\u%04X", buf[i]);
        } else {
            g_string_append_c(out, buf[i]);
        }
    }
    g_string_append_c(out, '\n');
}

static void hmp_device_add(Monitor *mon, Machine *m, int argc, char **argv, GString *out)
{
    Error *err = NULL;
    if (!want_args(out, argc, argv, 1, "DRIVER,PROP=VALUE,... is")) {
        return;
    }
    if (!device_add_option(m, argv[1], &err)) {
        monitor_say_error(out, err);
    }
}

static void hmp_device_del(Monitor *mon, Machine *m, int argc, char **argv, GString *out)
{
    if (want_args(out, argc, argv, 1, "a device id is")) {
        QMP_CALL(out, m, qmp_device_del, &(DeviceDelArgs){ .id = argv[1] });
    }
}

static void complete_device_type(Machine *m, unsigned arg, GPtrArray *out)
{
    for (const DeviceType *const *t = device_table; arg == 1 && *t; t++) {
        if (!(*t)->internal) {
            g_ptr_array_add(out, g_strdup((*t)->name));
        }
    }
}

static void complete_device_id(Machine *m, unsigned arg, GPtrArray *out)
{
    for (guint i = 0; arg == 1 && m->peripheral && i < m->peripheral->children->len; i++) {
        Device *d = m->peripheral->children->pdata[i];
        if (d->id) {
            g_ptr_array_add(out, g_strdup(d->id));
        }
    }
}

static void hmp_balloon(Monitor *mon, Machine *m, int argc, char **argv, GString *out)
{
    uint64_t mib;
    if (!want_args(out, argc, argv, 1, "the guest's memory in MiB is")) {
        return;
    }
    if (!text_to_u64(argv[1], &mib, NULL) || mib > INT64_MAX >> 20) {
        g_string_append_printf(out, "balloon: '%s' is no number of MiB\n", argv[1]);
        return;
    }
    QMP_CALL(out, m, qmp_balloon, &(BalloonArgs){ .value = (int64_t)(mib << 20) });
}

const HmpCommand monitor_core_commands[] = {
    { "accel", "[NAME,PROP=VALUE,...]", "move the stopped machine to another accelerator; or show it",
      hmp_accel, NULL, complete_accel },
    { "balloon", "MIB", "ask the guest to keep so much memory and give back the rest", hmp_balloon },
    { "chardev-add", "BACKEND,id=ID,...", "add a character device", hmp_chardev_add },
    { "chardev-change", "ID BACKEND,...", "make a character device another one", hmp_chardev_change, NULL,
      complete_chardev },
    { "chardev-remove", "ID", "remove a character device", hmp_chardev_remove, NULL, complete_chardev },
    { "chardev-send-break", "ID", "send a break to the guest", hmp_chardev_send_break, NULL,
      complete_chardev },
    { "cont|c", "", "let the machine run", hmp_cont },
    { "cpu", "N", "make CPU N the one other commands look at", hmp_cpu },
    { "device_add", "DRIVER,PROP=VALUE,...", "add a device", hmp_device_add, NULL, complete_device_type },
    { "device_del", "ID", "remove a device", hmp_device_del, NULL, complete_device_id },
    { "gpa2hva", "ADDR", "show the host's address of guest memory at a physical one", hmp_gpa2hva },
    { "gva2gpa", "ADDR", "show the physical address of a virtual one", hmp_gva2gpa },
    { "gdbserver", "[DEV|none]", "serve GDB on a device (tcp::1234), or no longer", hmp_gdbserver },
    { "help|?", "[COMMAND]", "show the commands, or one of them", hmp_help },
    { "i", "/fmt ADDR", "read an I/O port", hmp_in },
    { "info", "[SUBCOMMAND]", "show the state of the machine", NULL, monitor_info_commands },
    { "log", "ITEM[,...]", "write these items to the log ('none': nothing, 'help': list)", hmp_log, NULL,
      complete_log },
    { "logfile", "FILE", "write the log to this file", hmp_logfile },
    { "memsave", "ADDR SIZE FILE", "write virtual memory of the current CPU to a file", hmp_memsave },
    { "o", "/fmt ADDR VALUE", "write an I/O port", hmp_out },
    { "object_add", "TYPE,id=ID,...", "make an object (memory-backend-..., throttle-group)", hmp_object_add },
    { "object_del", "ID", "remove an object that nothing uses", hmp_object_del },
    { "pmemsave", "ADDR SIZE FILE", "write physical memory to a file", hmp_pmemsave },
    { "print|p", "/fmt EXPR", "show the value of an expression ($reg is a register)", hmp_print },
    { "qom-get", "PATH PROPERTY", "show a property of an object of the machine", hmp_qom_get },
    { "qom-list", "[PATH]", "show the properties and children of an object", hmp_qom_list },
    { "qom-set", "[-j] PATH PROPERTY VALUE", "change a property that can change (-j: the value is JSON)",
      hmp_qom_set },
    { "quit|q", "", "end the emulator", hmp_quit },
    { "ringbuf_read", "ID SIZE", "take bytes from a ringbuf character device", hmp_ringbuf_read, NULL,
      complete_chardev },
    { "ringbuf_write", "ID TEXT", "write a text to a ringbuf character device", hmp_ringbuf_write, NULL,
      complete_chardev },
    { "stop|s", "", "stop the machine", hmp_stop },
    { "sum", "ADDR SIZE", "show the checksum of physical memory, as sum(1) has it", hmp_sum },
    { "system_powerdown", "", "press the power button", hmp_system_powerdown },
    { "system_reset", "", "reset the machine", hmp_system_reset },
    { "system_wakeup", "", "wake the guest from sleep", hmp_system_wakeup },
    { "trace-event", "NAME on|off", "switch a trace event, or all that match a pattern; they go to the log",
      hmp_trace_event, NULL, complete_trace_event },
    { "watchdog_action", "ACTION", "choose what follows when a watchdog expires (reset, none, ...)",
      hmp_watchdog_action, NULL, complete_watchdog },
    { "x", "/fmt ADDR", "dump virtual memory", hmp_x },
    { "xp", "/fmt ADDR", "dump physical memory", hmp_xp },
    { 0 },
};
