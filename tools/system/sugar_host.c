/* SPDX-License-Identifier: MIT
 * tools/system/sugar_host.c - options about devices, host resources, logs and the process.
 *
 * Threads: main thread, before anything else runs.
 */
#include "cli.h"
#include "rhea/tools/trace.h"
#include "rhea/util/errorcode.h"
#include "rhea/util/fdset.h"
#include "rhea/util/log.h"
#include "rhea/util/text.h"
#include "schema/options.h"
#include "schema/smbios.h"
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static bool help_done(Cli *cli, GString *text)
{
    fputs(text->str, stdout);
    g_string_free(text, TRUE);
    cli->done = true;
    return true;
}

/* ---- devices and chardevs ---- */

/* QEMU's headings, in its order. */
static const struct {
    const char *category, *heading;
} headings[] = {
    { "Bridge", "Controller/Bridge/Hub" }, { "USB", "USB" },     { "Storage", "Storage" },
    { "Network", "Network" },              { "Input", "Input" }, { "Display", "Display" },
    { "Sound", "Sound" },                  { "Misc", "Misc" },   { "Watchdog", "Watchdog" },
};

static unsigned heading_of(const DeviceType *t)
{
    const char *category = t->category ? t->category : "Misc";
    unsigned i = 0;
    while (i < G_N_ELEMENTS(headings) - 1 && !g_str_equal(headings[i].category, category)) {
        i++;
    }
    return i;
}

static int by_category(gconstpointer a, gconstpointer b)
{
    const DeviceType *x = *(const DeviceType *const *)a, *y = *(const DeviceType *const *)b;
    int c = (int)heading_of(x) - (int)heading_of(y);
    return c ? c : strcmp(x->name, y->name);
}

void cli_device_help(GString *s)
{
    g_autoptr(GPtrArray) list = g_ptr_array_new();
    for (const DeviceType *const *t = device_table; *t; t++) {
        if (!(*t)->internal && (*t)->bus_type) {
            g_ptr_array_add(list, (gpointer)*t);
        }
    }
    g_ptr_array_sort(list, by_category);
    unsigned last = G_N_ELEMENTS(headings);
    for (guint i = 0; i < list->len; i++) {
        const DeviceType *t = list->pdata[i];
        if (heading_of(t) != last) {
            last = heading_of(t);
            g_string_append_printf(s, "%s%s devices:\n", i ? "\n" : "", headings[last].heading);
        }
        g_string_append_printf(s, "name \"%s\", bus %s%s%s%s, desc \"%s\"\n", t->name, t->bus_type->name,
                               t->alias ? ", alias \"" : "", t->alias ? t->alias : "", t->alias ? "\"" : "",
                               t->desc);
    }
}

static void props_help(GString *s, const Prop *p)
{
    for (; p && p->name; p++) {
        if (!prop_is_listed(p)) {
            continue;
        }
        g_autofree char *type = prop_type_name(p);
        g_string_append_printf(s, "  %s=<%s>%*s - %s\n", p->name, type,
                               (int)MAX(0, 24 - (int)strlen(p->name) - (int)strlen(type)), "",
                               p->doc ? p->doc : "");
    }
}

static bool device_props_help(Cli *cli, const char *driver, Error **errp)
{
    const DeviceType *type = device_type_find(driver);
    if (!type) {
        return error_fail(errp, "not-found", "driver", "-device help lists the devices",
                          "'%s' is not a device this emulator has", driver);
    }
    GString *s = g_string_new(NULL);
    g_string_append_printf(s, "%s options:\n", type->name);
    for (const DeviceType *t = type; t; t = t->base) {
        props_help(s, t->props);
    }
    if (type->bus_type) {
        props_help(s, type->bus_type->child_props);
    }
    return help_done(cli, s);
}

OPTION_RUN(opt_device)
{
    if (cli_is_help(arg)) {
        GString *s = g_string_new(NULL);
        cli_device_help(s);
        return help_done(cli, s);
    }
    bool from_text;
    Json *j = keyval_parse(arg, "driver", &from_text, errp);
    if (!j) {
        return false;
    }
    const char *driver = json_get_string(json_member(j, "driver", NULL));
    if (driver && (json_member(j, "help", NULL) || json_member(j, "?", NULL))) {
        bool ok = device_props_help(cli, driver, errp);
        json_unref(j);
        return ok;
    }
    cli_record(cli, "device", json_ref(j));
    g_ptr_array_add(cli->devices, item_new(o, arg, j, from_text));
    return true;
}

/* -usb is -machine usb=on. */
static void want_usb(Cli *cli)
{
    json_put(cli->machine_props, "usb", json_new_string("on"));
    Json *machine = json_member(cli->config, "machine", NULL);
    if (!machine) {
        machine = json_new_object();
        json_put(cli->config, "machine", machine);
    }
    json_put(machine, "usb", json_new_bool(true));
}

OPTION_RUN(opt_usb)
{
    want_usb(cli);
    return true;
}

OPTION_RUN(opt_usbdevice)
{
    static const struct {
        const char *name, *driver;
    } all[] = { { "keyboard", "usb-kbd" }, { "mouse", "usb-mouse" }, { "tablet", "usb-tablet" } };
    for (unsigned i = 0; i < G_N_ELEMENTS(all); i++) {
        if (g_str_equal(arg, all[i].name)) {
            want_usb(cli);
            return opt_device(cli, o, all[i].driver, errp);
        }
    }
    error_fail(errp, "not-supported", "usbdevice", NULL, "there is no USB device '%s'", arg);
    error_hint(errp, "keyboard, mouse and tablet are possible; -device help lists all");
    return false;
}

OPTION_RUN(opt_chardev)
{
    if (cli_is_help(arg)) {
        GString *s = g_string_new(NULL);
        chardev_help(s);
        return help_done(cli, s);
    }
    bool from_text;
    Json *j = keyval_parse(arg, "backend", &from_text, errp);
    if (!j) {
        return false;
    }
    cli_record(cli, "chardev", json_ref(j));
    g_ptr_array_add(cli->chardevs, item_new(o, arg, j, from_text));
    return true;
}

OPTION_RUN(opt_mon)
{
    MonOptions v;
    bool ok = true;
    if (!cli_decode(cli, o, &mon_options_type, "chardev", arg, &v, errp)) {
        return false;
    }
    if (v.pretty && v.mode != MONITOR_MODE_CONTROL) {
        ok = error_fail(errp, "conflict", "pretty", "leave it out, or use mode=control",
                        "'pretty' goes with mode=control only");
    } else {
        Json *opts = json_put(json_new_object(), "mode", json_new_string(monitor_mode_names[v.mode]));
        json_put(opts, "pretty", json_new_bool(v.pretty));
        g_ptr_array_add(cli->mons, item_new(o, v.chardev, opts, false));
    }
    type_clear(&mon_options_type, &v);
    return ok;
}

/* Checks GROUP.ID.ARG=VALUE and applies it at once: -set follows what it changes. */
static bool apply_set(Cli *cli, const char *arg, Error **errp)
{
    const char *dot1 = strchr(arg, '.'), *equal = strchr(arg, '=');
    const char *dot2 = dot1 ? strchr(dot1 + 1, '.') : NULL;
    if (!dot2 || !equal || dot2 > equal || dot2 == dot1 + 1 || equal == dot2 + 1) {
        error_fail(errp, "invalid-syntax", "set", "such as device.net0.mac=52:54:00:12:34:56",
                   "'%s' is not GROUP.ID.ARG=VALUE", arg);
        return false;
    }
    g_autofree char *group = g_strndup(arg, dot1 - arg);
    g_autofree char *id = g_strndup(dot1 + 1, dot2 - dot1 - 1);
    g_autofree char *key = g_strndup(dot2 + 1, equal - dot2 - 1);
    GPtrArray *list = g_str_equal(group, "device")    ? cli->devices
                      : g_str_equal(group, "chardev") ? cli->chardevs
                      : g_str_equal(group, "drive")   ? cli->drives
                      : g_str_equal(group, "object")  ? cli->objects
                      : g_str_equal(group, "netdev")  ? cli->netdevs
                                                      : NULL;
    if (!list) {
        error_fail(errp, "not-supported", "set", NULL, "group '%s' is not one that -set can change", group);
        error_hint(errp, "the groups are device, chardev, drive, netdev and object");
        return false;
    }
    for (guint i = 0; i < list->len; i++) {
        Item *item = list->pdata[i];
        if (!g_strcmp0(json_get_string(json_member(item->opts, "id", NULL)), id)) {
            json_put(item->opts, key, json_new_string(equal + 1));
            item->from_text = true;
            return true;
        }
    }
    return error_fail(errp, "not-found", "set", "write the option that makes it before -set",
                      "there is no -%s with id '%s' before it", group, id);
}

OPTION_RUN(opt_add_fd)
{
    AddFdOptions v;
    if (!cli_decode(cli, o, &add_fd_options_type, NULL, arg, &v, errp)) {
        return false;
    }
    int fd = fcntl(v.fd, F_DUPFD_CLOEXEC, 0), flags = fcntl(v.fd, F_GETFD);
    bool ok = fd >= 0 || error_fail(errp, "not-found", "fd", "open it in the parent, without close-on-exec",
                                    "descriptor %u is not open", (unsigned)v.fd);
    if (ok && flags & FD_CLOEXEC) { /* nothing that came through exec */
        ok = error_fail(errp, "in-use", "fd", "pass one of the parent's",
                        "descriptor %u is this program's own", (unsigned)v.fd);
        close(fd);
    } else if (ok) {
        ok = fdset_add(v.set, fd, v.opaque, errp);
        cli->added_fds = cli->added_fds ? cli->added_fds : g_array_new(FALSE, FALSE, sizeof(int));
        int inherited = (int)v.fd;
        g_array_append_val(cli->added_fds, inherited); /* it may be named again */
    }
    type_clear(&add_fd_options_type, &v);
    return ok;
}

/* A monitor as -monitor makes it, for programs. */
OPTION_RUN(opt_qmp)
{
    Json *opts = json_put(json_new_object(), "mode", json_new_string("control"));
    json_put(opts, "pretty", json_new_bool(g_str_equal(o->name, "qmp-pretty")));
    g_ptr_array_add(cli->monitors, item_new(o, arg, opts, true));
    cli_record(cli, o->name, json_new_string(arg));
    return true;
}

OPTION_RUN(opt_later)
{
    if (g_str_equal(o->name, "set")) {
        return apply_set(cli, arg, errp);
    }
    const struct { const char *name; GPtrArray *list;
    } lists[] = {
        { "serial", cli->serials },
        { "monitor", cli->monitors },
        { "debugcon", cli->debugcons },
        { "qtest", cli->qtests },
    };
    for (size_t i = 0; i < G_N_ELEMENTS(lists); i++) {
        if (g_str_equal(lists[i].name, o->name)) {
            g_ptr_array_add(lists[i].list, item_new(o, arg, NULL, true));
        }
    }
    cli_record(cli, o->name, json_new_string(arg));
    return true;
}

OPTION_RUN(opt_gdb)
{
    const char *dev = arg ? arg : GDB_DEFAULT_DEVICE;
    if (cli->gdb) {
        item_free(cli->gdb); /* there is one server: the last option counts */
    }
    cli->gdb = item_new(o, arg ? arg : "", NULL, true);
    g_free(cli->gdb->text);
    cli->gdb->text = g_strdup(dev);
    cli_record(cli, "gdb", json_new_string(dev));
    return true;
}

OPTION_RUN(opt_parallel)
{
    if (g_str_equal(arg, "none")) {
        cli_record(cli, "parallel", json_new_string("none"));
        return true; /* the board has no parallel port */
    }
    error_fail(errp, "not-supported", "parallel", NULL,
               "parallel port '%s' is not supported yet: there is no parallel port", arg);
    error_hint(errp, "use -parallel none, or -serial");
    return false;
}

/* ---- logs and messages ---- */

OPTION_RUN(opt_log)
{
    if (cli_is_help(arg)) {
        GString *s = g_string_new("Log items (comma separated):\n");
        for (const LogItem *i = log_items; i->name; i++) {
            g_string_append_printf(s, "%-15s %s\n", i->name, i->help);
        }
        g_string_append(s, "trace:PATTERN   trace events ('-trace help' lists them)\n");
        return help_done(cli, s);
    }
    cli_record(cli, "d", json_new_string(arg));
    return log_set_items(arg, errp);
}

OPTION_RUN(opt_trace)
{
    bool help;
    Json *record = NULL;
    if (!trace_option(arg, &help, &record, errp)) {
        return false;
    }
    cli->done = cli->done || help;
    if (record) {
        cli_record(cli, "trace", record);
    }
    return true;
}

OPTION_RUN(opt_logfile)
{
    cli_record(cli, "D", json_new_string(arg));
    return log_set_file(arg, errp);
}

OPTION_RUN(opt_qtest_log)
{
    if (g_str_equal(arg, "none") || g_str_equal(arg, "/dev/null")) {
        cli_record(cli, "qtest-log", json_new_string("none"));
        return true;
    }
    error_fail(errp, "not-supported", "qtest-log", NULL, "the qtest protocol is not logged");
    error_hint(errp, "use none, and log at the client");
    return false;
}

OPTION_RUN(opt_msg)
{
    bool from_text;
    g_autoptr(Json) j = keyval_parse(arg, NULL, &from_text, errp);
    if (!j) {
        return false;
    }
    static const char *const keys[] = { "timestamp", "guest-name", "x-rhea-code", NULL };
    json_object_object_foreach(j, key, value)
    {
        bool on;
        const char *text = json_get_string(value);
        if (!g_strv_contains(keys, key)) {
            error_fail(errp, "unknown-member", key, NULL, "'%s' is not a member of -msg", key);
            error_hint_nearest(errp, key, keys);
            return false;
        }
        if (!(text ? text_to_bool(text, &on, errp) : json_get_bool(value, &on))) {
            error_prefix(errp, "'%s'", key);
            return false;
        }
        if (g_str_equal(key, "timestamp")) {
            log_set_timestamps(on);
        } else if (g_str_equal(key, "x-rhea-code")) {
            cli->msg_code = on;
        } else {
            cli->msg_guest_name = on;
        }
    }
    cli_record(cli, "msg", json_ref(j));
    return true;
}

OPTION_RUN(opt_echr)
{
    uint64_t code;
    if (!text_to_u64(arg, &code, NULL) || code > 255) {
        error_fail(errp, "out-of-range", "echr", NULL, "'%s' is not the code of a byte (0 to 255)", arg);
        error_hint(errp, "1 is Ctrl-A, 20 is Ctrl-T");
        return false;
    }
    char_set_escape(code);
    cli_record(cli, "echr", json_new_uint(code));
    return true;
}

OPTION_RUN(opt_seed)
{
    uint64_t seed;
    if (!text_to_u64(arg, &seed, errp)) {
        return false;
    }
    cli->m->seeded = true;
    cli->m->seed = seed;
    cli_record(cli, "seed", json_new_uint(seed));
    return true;
}

/* ---- -global, -fw_cfg, -smbios ---- */

OPTION_RUN(opt_global)
{
    GlobalProp *g = g_new0(GlobalProp, 1);
    const char *dot = strchr(arg, '.'), *equal = strchr(arg, '=');
    bool json = arg[0] == '{';
    if (!json && dot && equal && dot < equal && dot > arg && !g_str_has_prefix(arg, "driver=")) {
        g->driver = g_strndup(arg, dot - arg);
        g->prop = g_strndup(dot + 1, equal - dot - 1);
        g->value = g_strdup(equal + 1);
        Json *j = json_put(json_new_object(), "driver", json_new_string(g->driver));
        json_put(j, "property", json_new_string(g->prop));
        cli_record(cli, "global", json_put(j, "value", json_new_string(g->value)));
    } else if (!json && (!strchr(arg, ',') || !equal)) {
        error_fail(errp, "invalid-syntax", "global", "such as isa-serial.iobase=0x2f8",
                   "'%s' is not DRIVER.PROPERTY=VALUE", arg);
        g_free(g);
        return false;
    } else {
        GlobalOptions v;
        if (!cli_decode(cli, o, &global_options_type, NULL, arg, &v, errp)) {
            g_free(g);
            return false;
        }
        g->driver = g_steal_pointer(&v.driver);
        g->prop = g_steal_pointer(&v.property);
        g->value = g_steal_pointer(&v.value);
        type_clear(&global_options_type, &v);
    }
    g_ptr_array_add(cli->m->globals, g);
    return true;
}

OPTION_RUN(opt_fw_cfg)
{
    FwCfgOptions v;
    if (!cli_decode(cli, o, &fw_cfg_options_type, "name", arg, &v, errp)) {
        return false;
    }
    bool ok = true;
    if (!v.file == !v.string) {
        ok = error_fail(errp, v.file ? "conflict" : "missing-member", "file",
                        "file=FILE takes a file's content, string=TEXT the text itself",
                        "exactly one of file= and string= is needed");
    } else if (strlen(v.name) > 55) {
        ok = error_fail(errp, "too-large", "name", "shorten it", "name '%s' is longer than 55 bytes", v.name);
    } else if (v.file && access(v.file, R_OK) < 0) {
        ok = error_set_errno(errp, errno, "could not read '%s'", v.file);
    } else {
        if (!g_str_has_prefix(v.name, "opt/")) {
            log_warn("-fw_cfg %s: names by users begin with \"opt/\"; others belong to the machine", v.name);
        }
        FwCfgFileOption *f = g_new0(FwCfgFileOption, 1);
        f->name = g_steal_pointer(&v.name);
        f->file = g_steal_pointer(&v.file);
        f->string = g_steal_pointer(&v.string);
        g_ptr_array_add(cli->m->fw_cfg_files, f);
    }
    type_clear(&fw_cfg_options_type, &v);
    return ok;
}

/* "key=a,key=b" becomes "key.0=a,key.1=b" for the keys that may be repeated, eight at most. ",," is a comma
 * inside a value. JSON stays as it is. */
char *cli_number_repeats(const char *arg, const char *const *keys)
{
    GString *out = g_string_new(NULL);
    unsigned count[8] = { 0 };
    if (*arg == '{') {
        g_string_append(out, arg);
        return g_string_free(out, FALSE);
    }
    while (*arg) {
        const char *end = arg;
        while (*end && (*end != ',' || end[1] == ',')) {
            end += *end == ',' ? 2 : 1;
        }
        for (unsigned k = 0; keys[k]; k++) {
            size_t len = strlen(keys[k]);
            if (g_str_has_prefix(arg, keys[k]) && arg[len] == '=') {
                g_string_append_printf(out, "%s.%u", keys[k], count[k]++);
                arg += len;
                break;
            }
        }
        g_string_append_len(out, arg, end - arg);
        if (*end) {
            g_string_append_c(out, ',');
            end++;
        }
        arg = end;
    }
    return g_string_free(out, FALSE);
}

OPTION_RUN(opt_smbios)
{
    Machine *m = cli->m;
    static const char *const repeated[] = { "value", "path", NULL };
    g_autofree char *text = cli_number_repeats(arg, repeated);
    union { SmbiosOptions fields; SmbiosFile file; } v;
    bool from_text, whole = false;
    g_autoptr(Json) given = keyval_parse(text, NULL, &from_text, errp);
    if (!given) {
        return false;
    }
    json_member(given, "file", &whole);
    const TypeDesc *t = whole ? &smbios_file_type : &smbios_options_type;
    if (!cli_decode(cli, o, t, NULL, text, &v, errp)) {
        return false;
    }
    m->smbios = m->smbios ? m->smbios : json_new_array();
    json_append(m->smbios, type_encode(t, &v));
    type_clear(t, &v);
    return true;
}

/* ---- the process ---- */

OPTION_RUN(opt_path)
{
    char **slot = g_str_equal(o->name, "pidfile")  ? &cli->pidfile
                  : g_str_equal(o->name, "chroot") ? &cli->chroot_dir
                                                   : &cli->run_as;
    g_free(*slot);
    *slot = g_strdup(arg);
    cli_record(cli, o->name, json_new_string(arg));
    return true;
}

OPTION_RUN(opt_sandbox)
{
    SandboxOptions v;
    if (!cli_decode(cli, o, &sandbox_options_type, "enable", arg, &v, errp)) {
        return false;
    }
    bool children = v.elevateprivileges == SANDBOX_PRIVILEGES_CHILDREN; /* they exist, without privileges */
    cli->sandbox = (Sandbox){
        .on = v.enable,
        .obsolete = v.obsolete == SANDBOX_CHOICE_ALLOW,
        .privileges = v.elevateprivileges == SANDBOX_PRIVILEGES_ALLOW,
        .spawn = v.has_spawn ? v.spawn == SANDBOX_CHOICE_ALLOW : children,
        .resources = v.resourcecontrol == SANDBOX_CHOICE_ALLOW,
    };
    type_clear(&sandbox_options_type, &v);
    return !cli->sandbox.on || sandbox_available(errp);
}

OPTION_RUN(opt_overcommit)
{
    bool from_text;
    g_autoptr(Json) j = keyval_parse(arg, NULL, &from_text, errp);
    if (!j) {
        return false;
    }
    static const char *const keys[] = { "mem-lock", "cpu-pm", NULL };
    json_object_object_foreach(j, key, value)
    {
        bool on;
        const char *text = json_get_string(value);
        if (!g_strv_contains(keys, key)) {
            error_fail(errp, "unknown-member", key, NULL, "'%s' is not a member of -overcommit", key);
            error_hint_nearest(errp, key, keys);
            return false;
        }
        if (text && g_str_equal(key, "mem-lock") && g_str_equal(text, "on-fault")) {
            cli->mem_lock = MCL_ONFAULT;
            continue;
        }
        if (!(text ? text_to_bool(text, &on, errp) : json_get_bool(value, &on))) {
            error_prefix(errp, "'%s'", key);
            return false;
        }
        if (g_str_equal(key, "mem-lock")) {
            cli->mem_lock = on ? MCL_CURRENT : 0;
        } else {
            cli->m->cpu_pm = on;
        }
    }
    cli_record(cli, "overcommit", json_ref(j));
    return true;
}
