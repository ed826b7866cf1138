/* SPDX-License-Identifier: MIT
 * tools/system/sugar.c - options about the machine: from text to typed values to fields of the Machine.
 *
 * Threads: main thread, before anything else runs.
 */
#include "config.h"
#include "cli.h"
#include "rhea/util/errorcode.h"
#include "rhea/util/log.h"
#include "rhea/util/text.h"
#include "schema/options.h"
#include "schema/qmp.h"
#include <string.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

/* ---- shared ---- */

bool cli_is_help(const char *arg)
{
    return g_str_equal(arg, "help") || g_str_equal(arg, "?");
}

bool cli_refuse(Error **errp, const char *what, const char *reason, const char *instead)
{
    return error_fail(errp, "not-supported", what + strspn(what, "-"), NULL,
                      "option '%s' is not supported yet: %s; %s%s", what, reason,
                      instead ? "use " : "leave it out", instead ? instead : "");
}

static const char *main_name(const Option *o, char *buf, size_t size)
{
    g_strlcpy(buf, o->name, size);
    buf[strcspn(buf, "|")] = 0;
    return buf;
}

/* Options that may be given several times become a list. */
void cli_record(Cli *cli, const char *option, Json *value)
{
    static const char *const lists[] = { "accel",      "chardev", "device",   "serial", "monitor",  "mon",
                                         "global",     "set",     "fw_cfg",   "smbios", "debugcon", "qtest",
                                         "L",          "drive",   "blockdev", "object", "numa",     "qmp",
                                         "qmp-pretty", "add-fd",  "netdev",   "nic",    "net",      "trace",
                                         "vnc",        "audiodev", NULL };
    if (!g_strv_contains(lists, option)) {
        json_put(cli->config, option, value);
        return;
    }
    Json *list = json_member(cli->config, option, NULL);
    if (!list) {
        list = json_new_array();
        json_put(cli->config, option, list);
    }
    json_append(list, value);
}

bool cli_decode(Cli *cli, const Option *o, const TypeDesc *t, const char *implied, const char *arg, void *out,
                Error **errp)
{
    bool from_text;
    char name[32];
    g_autoptr(Json) j = keyval_parse(arg, implied, &from_text, errp);
    if (!j || !type_decode(t, j, from_text, out, errp)) {
        return false;
    }
    cli_record(cli, main_name(o, name, sizeof(name)), type_encode(t, out));
    return true;
}

Item *item_new(const Option *o, const char *arg, Json *opts, bool from_text)
{
    Item *i = g_new0(Item, 1);
    char name[32];
    i->where = g_strdup_printf("-%s %s", main_name(o, name, sizeof(name)), arg);
    i->text = g_strdup(arg);
    i->opts = opts;
    i->from_text = from_text;
    return i;
}

void item_free(void *opaque)
{
    Item *i = opaque;
    g_free(i->where);
    g_free(i->text);
    json_unref(i->opts);
    g_free(i);
}

static void replace(char **slot, char *value)
{
    g_free(*slot);
    *slot = value;
}

static bool print_help(Cli *cli, GString *text)
{
    fputs(text->str, stdout);
    g_string_free(text, TRUE);
    cli->done = true;
    return true;
}

/* ---- help and version ---- */

OPTION_RUN(opt_help)
{
    GString *s = g_string_new(NULL);
    cli_help(s);
    return print_help(cli, s);
}

OPTION_RUN(opt_version)
{
    puts("Rhea emulator version " RHEA_VERSION);
    cli->done = true;
    return true;
}

/* ---- -machine ---- */

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

static bool machine_help(Cli *cli)
{
    GString *s = g_string_new("Supported machines are:\n");
    for (const BoardType *const *b = board_table; *b; b++) {
        if ((*b)->alias) {
            g_string_append_printf(s, "%-20s %s (alias of %s)\n", (*b)->alias, (*b)->desc, (*b)->name);
        }
        g_string_append_printf(s, "%-20s %s%s%s\n", (*b)->name, (*b)->desc,
                               (*b)->is_default ? " (default)" : "", (*b)->deprecated ? " (deprecated)" : "");
    }
    return print_help(cli, s);
}

static bool board_unknown(const char *name, Error **errp)
{
    g_autoptr(GPtrArray) names = g_ptr_array_new();
    for (const BoardType *const *b = board_table; *b; b++) {
        g_ptr_array_add(names, (gpointer)(*b)->name);
        if ((*b)->alias) {
            g_ptr_array_add(names, (gpointer)(*b)->alias);
        }
    }
    g_ptr_array_add(names, NULL);
    static const struct { const char *name, *reason; } later[] = {
        { "q35", "the Q35 chipset comes later" },
        { "isapc", "a PC without PCI comes later" }, { NULL } };
    for (size_t i = 0; later[i].name; i++) {
        if (g_str_has_prefix(name, later[i].name) || g_str_has_prefix(name, "pc-q35")) {
            error_fail(errp, "not-supported", "type", NULL,
                       "machine type '%s' is not supported yet: %s", name, later[i].reason);
            error_hint(errp, "use -machine pc");
            return false;
        }
    }
    error_fail(errp, "not-found", "type", NULL, "unknown machine type '%s'", name);
    if (g_str_has_prefix(name, "pc-i440fx-")) { /* another program's versions promise its own details */
        error_hint(errp, "QEMU's versioned machines do not exist here; use 'pc'");
    } else if (text_nearest(name, (const char *const *)names->pdata)) {
        error_hint_nearest(errp, name, (const char *const *)names->pdata);
    } else {
        error_hint(errp, "-machine help lists the types");
    }
    return false;
}

static void split_accels(Cli *cli, const Option *o, const char *list)
{
    g_auto(GStrv) names = g_strsplit(list, ":", -1);
    for (char **n = names; *n; n++) {
        Json *j = json_put(json_new_object(), "accel", json_new_string(*n));
        g_ptr_array_add(cli->accels, item_new(o, list, j, true));
    }
}

static void take_machine(Cli *cli, const Option *o, MachineOptions *v)
{
    char **slots[] = { &cli->m->bios, &cli->m->kernel, &cli->m->initrd, &cli->m->append };
    char *given[] = { v->firmware, v->kernel, v->initrd, v->append };
    for (size_t i = 0; i < G_N_ELEMENTS(slots); i++) {
        if (given[i]) {
            replace(slots[i], g_strdup(given[i]));
        }
    }
    if (v->accel) {
        split_accels(cli, o, v->accel);
    }
    if (v->kernel_irqchip) {
        replace(&cli->kernel_irqchip, g_strdup(v->kernel_irqchip));
    }
    if (v->memory_backend) {
        replace(&cli->memory_backend, g_strdup(v->memory_backend));
    }
    if (v->type) {
        replace(&cli->machine_type, g_strdup(v->type));
    }
    if (v->props) {
        json_object_object_foreach(v->props, key, value)
        {
            if (g_str_equal(key, "kernel_irqchip")) { /* the usual spelling */
                replace(&cli->kernel_irqchip, g_strdup(json_get_string(value)));
                continue;
            }
            json_put(cli->machine_props, key, json_ref(value));
        }
    }
}

OPTION_RUN(opt_machine)
{
    if (cli_is_help(arg)) {
        return machine_help(cli);
    }
    MachineOptions v;
    if (!cli_decode(cli, o, &machine_options_type, "type", arg, &v, errp)) {
        return false;
    }
    bool wants_help = v.props && json_member(v.props, "help", NULL);
    const BoardType *b = v.type ? board_find(v.type) : NULL;
    bool ok = !v.type || b || board_unknown(v.type, errp);
    if (ok && wants_help) {
        GString *s = g_string_new(NULL);
        props_help(s, b ? b->props : NULL);
        print_help(cli, s);
    } else if (ok) {
        take_machine(cli, o, &v);
    }
    type_clear(&machine_options_type, &v);
    return ok;
}

/* -no-acpi is -machine acpi=off, and so on. */
OPTION_RUN(opt_machine_flag)
{
    json_put(cli->machine_props, o->name + strlen("no-"), json_new_string("off"));
    Json *machine = json_member(cli->config, "machine", NULL);
    if (!machine) {
        machine = json_new_object();
        json_put(cli->config, "machine", machine);
    }
    json_put(machine, o->name + strlen("no-"), json_new_bool(false));
    return true;
}

/* ---- -accel, -cpu ---- */

OPTION_RUN(opt_accel)
{
    if (cli_is_help(arg)) {
        GString *s = g_string_new("Accelerators supported in this program:\n");
        for (const AccelOps *const *a = accel_table; *a; a++) {
            g_string_append_printf(s, "%-8s %s\n", (*a)->name, (*a)->desc ? (*a)->desc : "");
        }
        return print_help(cli, s);
    }
    AccelOptions v;
    if (!cli_decode(cli, o, &accel_options_type, "accel", arg, &v, errp)) {
        return false;
    }
    const AccelOps *a = accel_find(v.accel);
    if (a && v.props && json_member(v.props, "help", NULL)) {
        GString *s = g_string_new(NULL);
        props_help(s, a->props);
        print_help(cli, s);
    } else if (strchr(v.accel, ':') && !v.props) {
        split_accels(cli, o, v.accel);
    } else {
        g_ptr_array_add(cli->accels, item_new(o, arg, type_encode(&accel_options_type, &v), true));
    }
    type_clear(&accel_options_type, &v);
    return true;
}

static const TargetOps *default_target(void)
{
    for (const BoardType *const *b = board_table; *b; b++) {
        if ((*b)->is_default) {
            return (*b)->target;
        }
    }
    return NULL;
}

OPTION_RUN(opt_cpu)
{
    if (cli_is_help(arg)) {
        const TargetOps *t = default_target();
        GString *s = g_string_new(NULL);
        if (t && t->model_help) {
            t->model_help(s);
        }
        return print_help(cli, s);
    }
    if (g_str_has_suffix(arg, ",help") || g_str_has_suffix(arg, ",?")) {
        const TargetOps *t = default_target();
        g_autoptr(GString) s = g_string_new(NULL);
        if (t && t->model_describe) {
            if (!t->model_describe(arg, s, errp)) {
                return false;
            }
            return print_help(cli, g_steal_pointer(&s));
        }
    }
    replace(&cli->m->cpu_text, g_strdup(arg));
    cli_record(cli, "cpu", json_new_string(arg));
    return true;
}

/* ---- -smp ---- */

/* What is given decides; what is missing is 1, and sockets fill up to the number of CPUs. Room for more
 * CPUs than there are is announced to the guest, and stays empty: CPUs cannot be plugged in. */
static bool take_smp(Machine *m, const SmpOptions *v, Error **errp)
{
    uint64_t dies = v->has_dies ? v->dies : 1, cores = v->has_cores ? v->cores : 1;
    uint64_t threads = v->has_threads ? v->threads : 1, sockets = v->has_sockets ? v->sockets : 1;
    uint64_t inner = dies * cores * threads;
    uint64_t max = v->has_maxcpus ? v->maxcpus : v->has_cpus ? v->cpus : sockets * inner;
    uint64_t cpus = v->has_cpus ? v->cpus : max;
    if (!v->has_sockets) {
        sockets = MAX(1, max / inner);
    } else if (!v->has_cores) {
        cores = MAX(1, max / (sockets * dies * threads));
    }
    uint64_t product = sockets * dies * cores * threads;
    if (product != max) {
        return error_fail(errp, "conflict", "sockets", "leave some of them out: they follow from the others",
                          "%" G_GUINT64_FORMAT " sockets * %" G_GUINT64_FORMAT " dies * %" G_GUINT64_FORMAT
                          " cores * %" G_GUINT64_FORMAT
                          " threads is not the number of CPUs, %" G_GUINT64_FORMAT,
                          sockets, dies, cores, threads, max);
    }
    if (cpus > max) {
        return error_fail(errp, "conflict", "maxcpus", "leave maxcpus out, or make it as large",
                          "cpus=%" G_GUINT64_FORMAT " is above maxcpus=%" G_GUINT64_FORMAT, cpus, max);
    }
    m->n_cpus = cpus;
    m->max_cpus = max;
    m->sockets = sockets;
    m->dies = dies;
    m->cores = cores;
    m->threads = threads;
    return true;
}

OPTION_RUN(opt_smp)
{
    SmpOptions v;
    return cli_decode(cli, o, &smp_options_type, "cpus", arg, &v, errp) && take_smp(cli->m, &v, errp);
}

/* ---- kernels and firmware ---- */

OPTION_RUN(opt_kernel)
{
    Machine *m = cli->m;
    char **slot = g_str_equal(o->name, "kernel") ? &m->kernel : g_str_equal(o->name, "initrd") ? &m->initrd
                  : g_str_equal(o->name, "append") ? &m->append : &m->bios;
    replace(slot, g_strdup(arg));
    cli_record(cli, o->name, json_new_string(arg));
    return true;
}

OPTION_RUN(opt_firmware_dir)
{
    GPtrArray *path = cli->m->firmware_path;
    if (cli_is_help(arg)) {
        GString *s = g_string_new(NULL);
        for (guint i = 0; i < path->len; i++) {
            g_string_append_printf(s, "%s\n", (char *)path->pdata[i]);
        }
        return print_help(cli, s);
    }
    Json *given = json_member(cli->config, "L", NULL);
    g_ptr_array_insert(path, given ? (int)json_length(given) : 0,
                       g_strdup(arg)); /* before the built-in ones */
    cli_record(cli, "L", json_new_string(arg));
    return true;
}

/* ---- -boot ---- */

static bool check_drives(const char *drives, Error **errp)
{
    for (const char *d = drives; d && *d; d++) {
        if (*d < 'a' || *d > 'p') {
            return error_fail(errp, "invalid-value", "order",
                              "a: floppy, c: hard disk, d: CD-ROM, n: network",
                              "'%c' is not a boot drive (a to p)", *d);
        }
        if (strchr(d + 1, *d)) {
            return error_fail(errp, "conflict", "order", "name each once",
                              "boot drive '%c' is given twice", *d);
        }
    }
    return true;
}

OPTION_RUN(opt_boot)
{
    BootOptions v;
    Machine *m = cli->m;
    if (!cli_decode(cli, o, &boot_options_type, "order", arg, &v, errp)) {
        return false;
    }
    bool ok = check_drives(v.order, errp) && check_drives(v.once, errp);
    if (ok) {
        if (v.order) {
            replace(&m->boot_order, g_strdup(v.order));
        }
        if (v.once) {
            replace(&m->boot_once, g_strdup(v.once));
        }
        if (v.splash) {
            replace(&m->boot_splash, g_strdup(v.splash));
        }
        m->boot_menu = v.has_menu ? v.menu : m->boot_menu;
        m->boot_strict = v.strict || m->boot_strict;
        m->boot_menu_timeout_ms = v.has_splash_time ? (int)v.splash_time : m->boot_menu_timeout_ms;
        m->boot_reboot_timeout_ms = v.has_reboot_timeout ? (int)v.reboot_timeout : m->boot_reboot_timeout_ms;
    }
    type_clear(&boot_options_type, &v);
    return ok;
}

/* ---- names and ids ---- */

OPTION_RUN(opt_name)
{
    NameOptions v;
    if (!cli_decode(cli, o, &name_options_type, "guest", arg, &v, errp)) {
        return false;
    }
    if (v.guest) {
        replace(&cli->m->name, g_strdup(v.guest));
    }
    if (v.process) {
        prctl(PR_SET_NAME, v.process); /* the kernel keeps 15 bytes */
    }
    type_clear(&name_options_type, &v);
    return true;
}

OPTION_RUN(opt_uuid)
{
    if (!g_uuid_string_is_valid(arg)) {
        error_fail(errp, "invalid-value", "uuid", NULL, "'%s' is not a UUID", arg);
        error_hint(errp, "it looks like 12345678-1234-1234-1234-123456789abc");
        return false;
    }
    replace(&cli->m->uuid, g_ascii_strdown(arg, -1));
    cli_record(cli, "uuid", json_new_string(cli->m->uuid));
    return true;
}

/* ---- -rtc ---- */

static bool parse_date(const char *text, int64_t *out)
{
    struct tm tm = { 0 };
    const char *end = strptime(text, "%Y-%m-%d", &tm);
    if (end && *end == 'T') {
        end = strptime(end + 1, "%H:%M:%S", &tm);
    }
    if (!end || *end) {
        return false;
    }
    *out = timegm(&tm);
    return true;
}

OPTION_RUN(opt_rtc)
{
    RtcOptions v;
    Machine *m = cli->m;
    if (!cli_decode(cli, o, &rtc_options_type, NULL, arg, &v, errp)) {
        return false;
    }
    bool ok = true;
    m->rtc.utc = g_str_equal(v.base, "utc");
    m->rtc.localtime = g_str_equal(v.base, "localtime");
    m->rtc.start_s = INT64_MIN;
    m->rtc.clock = v.clock;
    m->rtc.slew = v.driftfix == RTC_DRIFTFIX_SLEW;
    if (!m->rtc.utc && !m->rtc.localtime && !parse_date(v.base, &m->rtc.start_s)) {
        ok = error_fail(errp, "invalid-value", "base", NULL, "'base' does not take '%s'", v.base);
        error_hint(errp, "utc, localtime, 2006-06-17T16:01:21 or 2006-06-17");
    }
    type_clear(&rtc_options_type, &v);
    return ok;
}

/* ---- -icount ---- */

static bool take_icount(Machine *m, const IcountOptions *v, Error **errp)
{
    if (v->rr || v->rrfile || v->rrsnapshot) {
        error_fail(errp, "not-supported", "rr", NULL,
                   "'%s' is not possible: input is neither recorded nor replayed",
                   v->rr ? "rr" : v->rrfile ? "rrfile" : "rrsnapshot");
        error_hint(errp, "a run without input repeats itself with "
                         "-icount shift=N -seed N -rtc base=DATE,clock=vm");
        return false;
    }
    bool automatic = v->shift && g_str_equal(v->shift, "auto");
    uint64_t shift = 0;
    if (!v->shift) {
        error_fail(errp, "missing-member", "shift", NULL, "'shift' is missing");
        error_hint(errp, "shift=N: an instruction takes 2^N ns; shift=auto adapts N to the host's speed");
        return false;
    }
    if (!automatic && (!text_to_u64(v->shift, &shift, NULL) || shift > 10)) {
        return error_fail(errp, "invalid-value", "shift", NULL,
                          "'shift' must be 'auto' or between 0 and 10, not '%s'", v->shift);
    }
    if (v->align && (automatic || !v->sleep)) {
        error_fail(errp, "conflict", "align", NULL,
                   "align=on is not possible with %s", automatic ? "shift=auto" : "sleep=off");
        error_hint(errp, "%s", automatic ? "give shift a number" : "leave out sleep=off");
        return false;
    }
    if (automatic && !v->sleep) {
        error_fail(errp, "conflict", "sleep", NULL,
                   "sleep=off is not possible with shift=auto, which follows the host's time");
        error_hint(errp, "give shift a number");
        return false;
    }
    m->icount.on = true;
    m->icount.automatic = automatic;
    m->icount.shift = (unsigned)shift;
    m->icount.align = v->align;
    m->icount.no_sleep = !v->sleep;
    return true;
}

OPTION_RUN(opt_icount)
{
    IcountOptions v;
    if (!cli_decode(cli, o, &icount_options_type, "shift", arg, &v, errp)) {
        return false;
    }
    bool ok = take_icount(cli->m, &v, errp);
    type_clear(&icount_options_type, &v);
    return ok;
}

/* ---- -action and its short forms ---- */

OPTION_RUN(opt_action)
{
    ActionOptions v;
    if (!cli_decode(cli, o, &action_options_type, NULL, arg, &v, errp)) {
        return false;
    }
    return qmp_set_action(&(QmpCall){ .machine = cli->m }, &v, errp);
}

/* -watchdog-action A is -action watchdog=A. */
OPTION_RUN(opt_watchdog_action)
{
    g_auto(GStrv) parts = g_strsplit(arg, ",", -1);
    g_autofree char *plain = g_strjoinv(",,", parts), *text = g_strconcat("watchdog=", plain, NULL);
    const Option *action = option_find("action");
    return action->run(cli, action, text, errp);
}

OPTION_RUN(opt_flag)
{
    Machine *m = cli->m;
    const struct { const char *name; bool *flag;
    } flags[] = {
        { "nographic", &cli->nographic },
        { "full-screen", &cli->full_screen },
        { "S", &m->debugger_waits },
        { "no-reboot", &m->action.reboot_is_shutdown },
        { "no-shutdown", &m->action.no_shutdown },
        { "daemonize", &cli->daemonize },
        { "nodefaults", &m->no_defaults },
        { "no-user-config", &cli->no_user_config },
        { "dump-config", &cli->dump_config },
        { "snapshot", &cli->snapshot },
    };
    for (size_t i = 0; i < G_N_ELEMENTS(flags); i++) {
        if (g_str_equal(flags[i].name, o->name)) {
            *flags[i].flag = true;
        }
    }
    if (g_str_equal(o->name, "enable-kvm")) { /* as -accel kvm, but the flag is what was written */
        Json *j = json_put(json_new_object(), "accel", json_new_string("kvm"));
        g_ptr_array_add(cli->accels, item_new(o, NULL, j, true));
    }
    if (!cli->dump_config || !g_str_equal(o->name, "dump-config")) {
        cli_record(cli, o->name, json_new_bool(true));
    }
    return true;
}
