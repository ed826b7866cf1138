/* SPDX-License-Identifier: MIT
 * tools/system/build.c - from the collected options to a machine that is ready to run, and back.
 *
 * Order: accelerator and board, disks, chardevs, monitors, memory, the machine, its devices. Images and
 * chardevs come first so that a path that cannot be opened is told before anything is built.
 * Threads: main loop.
 */
#include "cli.h"
#include "rhea/ui/vnc.h"
#include "config.h"
#include "rhea/backends/audio.h"
#include "rhea/backends/hostmem.h"
#include "rhea/backends/rng.h"
#include "rhea/backends/secret.h"
#include "rhea/backends/tls.h"
#include "rhea/accel/kvm.h"
#include "qtest.h"
#include "rhea/net/net.h"
#include "rhea/system/job.h"
#include "rhea/system/ramdiscard.h"
#include "rhea/ui/display.h"
#include "rhea/ui/record.h"
#include "rhea/ui/screen.h"
#include "rhea/util/errorcode.h"
#include "rhea/util/fdset.h"
#include "rhea/util/log.h"
#include "rhea/util/text.h"
#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* ---- board and accelerator ---- */

static bool choose_board(Cli *cli, Error **errp)
{
    if (cli->machine_type) {
        cli->m->board = board_find(cli->machine_type);
        return true; /* checked when it was parsed */
    }
    for (const BoardType *const *b = board_table; *b; b++) {
        if ((*b)->is_default) {
            cli->m->board = *b;
            return true;
        }
    }
    error_fail(errp, "missing-member", "machine", NULL, "no machine type is given, and there is no default");
    error_hint(errp, "-machine help lists the types");
    return false;
}

static bool set_props(Machine *m, const Prop *table, void *state, const Json *props, const char *owner,
                      Error **errp)
{
    if (!props) {
        return true;
    }
    json_object_object_foreach((Json *)props, key, value)
    {
        const Prop *p = prop_find(table, key);
        if (!p) {
            error_fail(errp, "unknown-member", key, NULL, "%s has no property '%s'", owner, key);
            g_autoptr(GPtrArray) names = g_ptr_array_new();
            for (p = table; p && p->name; p++) {
                g_ptr_array_add(names, (gpointer)p->name);
            }
            g_ptr_array_add(names, NULL);
            error_hint_nearest(errp, key, (const char *const *)names->pdata);
            return false;
        }
        if (!prop_set_json(m, p, state, value, errp)) {
            return false;
        }
    }
    return true;
}

static void *new_state(const Prop *props, size_t size)
{
    void *s = g_malloc0(size ? size : 1);
    props_init(props, s);
    return s;
}

/* QEMU's spellings that libvirt always gives and that mean "as it is" are taken by every board. */
static bool set_machine_props(Cli *cli, Error **errp)
{
    Machine *m = cli->m;
    Error *err = NULL;
    g_autofree char *owner = g_strdup_printf("machine type '%s'", m->board->name);
    if (cli->nographic && prop_find(m->board->props, "graphics") &&
        !json_member(cli->machine_props, "graphics", NULL)) {
        json_put(cli->machine_props, "graphics",
                 json_new_bool(false)); /* firmware talks to the serial port */
    }
    m->board_state = new_state(m->board->props, m->board->state_size);
    if (!set_props(m, m->board->props, m->board_state, cli->machine_props, owner, &err)) {
        error_prefix(&err, "-machine");
        return error_propagate(errp, err);
    }
    return true;
}

static const struct { const char *name, *reason;
} known_accels[] = {
    { "kvm", "this build has no KVM (it needs Linux on x86-64 and its header linux/kvm.h)" },
    { "xen", "there is no Xen support" },
    { "hax", "it needs macOS or Windows" },
    { "hvf", "it needs macOS" },
    { "nvmm", "it needs NetBSD" },
    { "whpx", "it needs Windows" },
    { "mshv", "Hyper-V is not supported as a host" },
    { NULL, NULL },
};

static const AccelOps *try_accel(const char *name, Error **errp)
{
    const AccelOps *a = accel_find(name);
    if (a) {
        return !a->available || a->available(errp) ? a : NULL;
    }
    for (size_t i = 0; known_accels[i].name; i++) {
        if (g_str_equal(known_accels[i].name, name)) {
            error_fail(errp, "not-supported", "accel", NULL,
                       "accelerator '%s' is not available: %s", name, known_accels[i].reason);
            error_hint(errp, "use -accel tcg");
            return NULL;
        }
    }
    error_fail(errp, "not-found", "accel", NULL, "unknown accelerator '%s'", name);
    g_autoptr(GPtrArray) names = g_ptr_array_new();
    for (const AccelOps *const *t = accel_table; *t; t++) {
        g_ptr_array_add(names, (gpointer)(*t)->name);
    }
    g_ptr_array_add(names, NULL);
    if (text_nearest(name, (const char *const *)names->pdata)) {
        error_hint_nearest(errp, name, (const char *const *)names->pdata);
    } else {
        error_hint(errp, "-accel help lists them");
    }
    return NULL;
}

/* -machine kernel-irqchip=; the accelerator's own option counts more. */
static bool take_irqchip(Cli *cli, const AccelOps *a, const Json *props, Error **errp)
{
    const Prop *p = prop_find(a->props, "kernel-irqchip");
    const char *text = cli->kernel_irqchip;
    if (!p && strcmp(text, "off") && strcmp(text, "auto")) {
        error_fail(errp, "not-supported", "kernel-irqchip", NULL,
                   "-machine kernel-irqchip=%s: accelerator '%s' has no interrupt controllers in the kernel",
                   text, a->name);
        error_hint(errp, "leave it out, or use -accel kvm");
        return false;
    }
    if (p && !json_member(props, "kernel-irqchip", NULL) &&
        !prop_set_text(cli->m, p, cli->m->accel_state, text, errp)) {
        error_prefix(errp, "-machine");
        return false;
    }
    return true;
}

static bool take_accel(Cli *cli, const AccelOps *a, const Item *item, Error **errp)
{
    Machine *m = cli->m;
    Error *err = NULL;
    g_autofree char *owner = g_strdup_printf("accelerator '%s'", a->name);
    m->accel = a;
    m->accel_state = new_state(a->props, a->state_size);
    Json *props = item ? json_member(item->opts, "props", NULL) : NULL;
    g_autoptr(Json) own = NULL;
    if (item && !props) { /* @rest members stand beside "accel" once encoded */
        own = json_new_object();
        json_object_object_foreach(item->opts, key, value)
        {
            if (strcmp(key, "accel")) {
                json_put(own, key, json_ref(value));
            }
        }
        props = own;
    }
    if (!set_props(m, a->props, m->accel_state, props, owner, &err)) {
        return cli_fail_at(errp, err, item);
    }
    if (m->cpu_pm && strcmp(a->name, "kvm")) {
        error_fail(errp, "not-supported", "cpu-pm", NULL,
                   "-overcommit cpu-pm=on: accelerator '%s' has no idle states to hand to the guest",
                   a->name);
        error_hint(errp, "use -accel kvm, or cpu-pm=off");
        return false;
    }
    return !cli->kernel_irqchip || take_irqchip(cli, a, props, errp);
}

/* KVM where the processor virtualizes and nothing was asked for that needs software. */
static const char *default_accel(const Cli *cli)
{
#ifdef HAVE_KVM
    const Machine *m = cli->m;
    if (m->board->target && m->board->target->kvm && !m->icount.on && !m->seeded &&
        kvm_host_class(NULL) == KVM_HOST_HARDWARE) {
        return "kvm";
    }
#endif
    (void)cli;
    return "tcg";
}

/* The first that works; what did not is told in one line when another one follows. */
static bool choose_accel(Cli *cli, Error **errp)
{
    for (guint i = 0; i < cli->accels->len; i++) {
        Item *item = cli->accels->pdata[i];
        Error *err = NULL;
        const AccelOps *a = try_accel(json_get_string(json_member(item->opts, "accel", NULL)), &err);
        if (a) {
            return take_accel(cli, a, item, errp);
        }
        if (i + 1 == cli->accels->len) {
            return cli_fail_at(errp, err, item);
        }
        Item *next = cli->accels->pdata[i + 1];
        const char *name = json_get_string(json_member(item->opts, "accel", NULL));
        const char *cure = accel_find(name) ? error_hint_text(err) : NULL;
        log_info("%s%s%s; trying '%s'", error_text(err), cure ? ": " : "", cure ? cure : "",
                 json_get_string(json_member(next->opts, "accel", NULL)));
        error_free(err);
    }
    const AccelOps *a = accel_find(cli->qtests->len ? "test" : default_accel(cli));
    a = a ? a : accel_table[0];
    return a ? take_accel(cli, a, NULL, errp) : error_fail(errp, "not-supported", "accel", NULL,
                                                           "this program has no accelerator");
}

/* ---- chardevs ---- */

static bool make_chardevs(Cli *cli, Error **errp)
{
    for (guint i = 0; i < cli->chardevs->len; i++) {
        Item *item = cli->chardevs->pdata[i];
        Error *err = NULL;
        if (!chardev_new_json(cli->m, item->opts, item->from_text, &err)) {
            return cli_fail_at(errp, err, item);
        }
    }
    return true;
}

/* opts: of -qmp and -mon; NULL, or "mode" and "pretty". */
static bool add_monitor(Cli *cli, Chardev *c, const Json *opts, Error **errp)
{
    bool pretty = false;
    if (!g_strcmp0(json_get_string(json_member(opts, "mode", NULL)), "control")) {
        json_get_bool(json_member(opts, "pretty", NULL), &pretty);
        QmpSession *s = qmp_session_new(cli->m, c, pretty, errp);
        if (s) {
            g_ptr_array_add(cli->qmp_list, s);
        }
        return s != NULL;
    }
    Monitor *mon = monitor_new(cli->m, c, errp);
    if (mon) {
        g_ptr_array_add(cli->monitor_list, mon);
    }
    return mon != NULL;
}

static bool uses_stdio(const char *text)
{
    return g_str_has_prefix(text, "stdio") || g_str_has_prefix(text, "mon:stdio");
}

static bool daemon_check(const Cli *cli, const char *where, const char *text, Error **errp)
{
    if (cli->daemonize && uses_stdio(text)) {
        error_fail(errp, "conflict", "daemonize", NULL, "%s: -daemonize leaves no terminal for stdio", where);
        error_hint(errp, "use a pty, file or socket");
        return false;
    }
    return true;
}

/* NULL with *errp unset: "none". */
static Chardev *legacy_chardev(Cli *cli, const Item *item, const char *id, Error **errp)
{
    Error *err = NULL;
    if (!daemon_check(cli, item->where, item->text, errp)) {
        return NULL;
    }
    Chardev *c = chardev_new_legacy(cli->m, id, item->text, &err);
    if (err) {
        cli_fail_at(errp, err, item);
    }
    return c;
}

static bool make_serials(Cli *cli, Error **errp)
{
    for (guint i = 0; i < cli->serials->len; i++) {
        Item *item = cli->serials->pdata[i];
        Error *err = NULL;
        g_autofree char *id = g_strdup_printf("serial%u", i);
        Chardev *c = legacy_chardev(cli, item, id, &err);
        if (err) {
            return error_propagate(errp, err);
        }
        g_ptr_array_add(cli->m->serial_chardevs, c);
        if (c && g_str_has_prefix(item->text, "mon:")) {
            cli->serial_is_monitor = true;
            if (!add_monitor(cli, c, NULL, &err)) {
                return cli_fail_at(errp, err, item);
            }
        }
    }
    return true;
}

static bool make_monitors(Cli *cli, Error **errp)
{
    for (guint i = 0; i < cli->monitors->len; i++) {
        Item *item = cli->monitors->pdata[i];
        Error *err = NULL;
        g_autofree char *id = g_strdup_printf("compat_monitor%u", i);
        Chardev *c = legacy_chardev(cli, item, id, &err);
        if (err) {
            return error_propagate(errp, err);
        }
        if (c && !add_monitor(cli, c, item->opts, &err)) {
            return cli_fail_at(errp, err, item);
        }
    }
    for (guint i = 0; i < cli->mons->len; i++) {
        Item *item = cli->mons->pdata[i];
        Error *err = NULL;
        Chardev *c = chardev_find(cli->m, item->text);
        if (!c) {
            error_fail(&err, "not-found", "chardev", "-chardev makes it",
                       "there is no chardev with id '%s'", item->text);
        }
        if (!c || !add_monitor(cli, c, item->opts, &err)) {
            return cli_fail_at(errp, err, item);
        }
    }
    return true;
}

static void add_default(GPtrArray *list, const char *option, const char *text)
{
    g_ptr_array_add(list, item_new(option_find(option), text, NULL, true));
}

/* What -nographic and the absence of -nodefaults add. A PC has a serial port; its default place
 * is a terminal that a display shows, else nowhere. */
static void add_defaults(Cli *cli)
{
    bool mon_prefix = false;
    for (guint i = 0; i < cli->serials->len; i++) {
        mon_prefix |= g_str_has_prefix(((Item *)cli->serials->pdata[i])->text, "mon:");
    }
    bool serial = !cli->serials->len && !cli->m->no_defaults;
    bool monitor = !cli->monitors->len && !cli->mons->len && !mon_prefix && !cli->m->no_defaults;
    for (guint i = 0; i < cli->devices->len; i++) { /* a serial device of the user's replaces the default */
        const Json *opts = ((Item *)cli->devices->pdata[i])->opts;
        serial = serial && g_strcmp0(json_get_string(json_member(opts, "driver", NULL)), "isa-serial") != 0;
    }
    if (cli->nographic && cli->daemonize) {
        return; /* nothing to show it on */
    }
    if (cli->nographic && serial && monitor) {
        add_default(cli->serials, "serial", "mon:stdio");
    } else if (cli->nographic && serial) {
        add_default(cli->serials, "serial", "stdio");
    } else if (cli->nographic && monitor) {
        add_default(cli->monitors, "monitor", "stdio");
    } else if (cli_has_viewer(cli)) { /* terminals beside the guest's screen, the monitor's first */
        if (monitor) {
            add_default(cli->monitors, "monitor", "vc:80Cx24C");
        }
        if (serial) {
            add_default(cli->serials, "serial", "vc:80Cx24C");
        }
    } else if (serial) {
        add_default(cli->serials, "serial", "null");
    }
    bool any_vc = false, shares = mon_prefix || cli->mons->len;
    for (guint i = 0; i < cli->monitors->len; i++) { /* -qmp's are among them */
        const char *text = ((Item *)cli->monitors->pdata[i])->text;
        any_vc |= g_str_has_prefix(text, "vc");
        shares |= g_str_has_prefix(text, "chardev:");
    }
    cli->monitors_first = any_vc && !shares;
}

/* The order of their terminals. Monitors of the user's may share what serial ports have made. */
static bool make_lines(Cli *cli, Error **errp)
{
    return cli->monitors_first ? make_monitors(cli, errp) && make_serials(cli, errp)
                               : make_serials(cli, errp) && make_monitors(cli, errp);
}

static bool make_debugcons(Cli *cli, Error **errp)
{
    for (guint i = 0; i < cli->debugcons->len; i++) {
        Item *item = cli->debugcons->pdata[i];
        Error *err = NULL;
        g_autofree char *id = g_strdup_printf("debugcon%u", i);
        Chardev *c = legacy_chardev(cli, item, id, &err);
        if (err) {
            return error_propagate(errp, err);
        }
        if (c) {
            g_autofree char *text = g_strdup_printf("isa-debugcon,iobase=0xe9,chardev=%s", chardev_id(c));
            bool from_text;
            Json *opts = keyval_parse(text, "driver", &from_text, NULL);
            Item *dev = item_new(option_find("device"), text, opts, true);
            g_free(dev->where);
            dev->where = g_strdup(item->where);
            g_ptr_array_add(cli->devices, dev);
        }
    }
    return true;
}

static bool make_qtests(Cli *cli, Error **errp)
{
    for (guint i = 0; i < cli->qtests->len; i++) {
        Item *item = cli->qtests->pdata[i];
        Error *err = NULL;
        if (cli->m->accel != accel_find("test")) {
            error_fail(&err, "conflict", "qtest", "use -accel test, or leave -qtest out",
                       "the qtest protocol drives -accel test only, not '%s'", cli->m->accel->name);
            return cli_fail_at(errp, err, item);
        }
        g_autofree char *id = g_strdup_printf("qtest%u", i);
        Chardev *c = legacy_chardev(cli, item, id, &err);
        if (err) {
            return error_propagate(errp, err);
        }
        QtestServer *s = c ? qtest_server_new(cli->m, c, &err) : NULL;
        if (c && !s) {
            return cli_fail_at(errp, err, item);
        }
        if (s) {
            g_ptr_array_add(cli->qtest_list, s);
        }
    }
    return true;
}

/* ---- devices ---- */

static bool make_devices(Cli *cli, Error **errp)
{
    for (guint i = 0; i < cli->devices->len; i++) {
        Item *item = cli->devices->pdata[i];
        Error *err = NULL;
        if (!device_add_json(cli->m, item->opts, &err)) {
            return cli_fail_at(errp, err, item);
        }
    }
    return true;
}

static bool check_kernel_options(const Machine *m, Error **errp)
{
    const char *lone = m->kernel ? NULL : m->initrd ? "-initrd" : m->append ? "-append" : NULL;
    return !lone || error_fail(errp, "missing-member", "kernel", "add -kernel FILE, or leave it out",
                               "%s goes with -kernel only", lone);
}

/* Errors of the board about these would not name the option. */
static bool check_board_options(Cli *cli, Error **errp)
{
    Machine *m = cli->m;
    const BoardType *b = m->board;
    Error *err = NULL;
    if (m->ram_size && (m->ram_size < b->min_ram || (b->max_ram && m->ram_size > b->max_ram))) {
        return error_fail(errp, "out-of-range", "size", "use another -m",
                          "%s: machine type '%s' takes %" G_GUINT64_FORMAT " MiB to %" G_GUINT64_FORMAT
                          " MiB",
                          cli->memory_where, b->name, b->min_ram >> 20, b->max_ram >> 20);
    }
    if (m->bios) {
        g_autofree char *found = machine_find_firmware(m, m->bios, &err);
        if (!found) {
            error_prefix(&err, "-bios %s", m->bios);
            return error_propagate(errp, err);
        }
    }
    return true;
}

static bool make_gdb(Cli *cli, Error **errp)
{
    Error *err = NULL;
    if (!cli->gdb) {
        return true;
    }
    return daemon_check(cli, cli->gdb->where, cli->gdb->text, errp) &&
           (gdb_server_start(cli->m, cli->gdb->text, &err) || cli_fail_at(errp, err, cli->gdb));
}

static bool lock_memory(const Cli *cli, Error **errp)
{
    if (cli->mem_lock && mlockall(MCL_CURRENT | MCL_FUTURE | cli->mem_lock) < 0) {
        error_set_errno(errp, errno, "-overcommit mem-lock=%s: could not lock memory",
                        cli->mem_lock == MCL_ONFAULT ? "on-fault" : "on");
        error_hint(errp, "raise the limit (ulimit -l) above the guest's memory");
        return false;
    }
    return true;
}

/* -add-fd works with copies: what was inherited ends here, so that remove-fd is the end of a file. */
static void close_added(const Cli *cli)
{
    for (guint i = 0; cli->added_fds && i < cli->added_fds->len; i++) {
        close(g_array_index(cli->added_fds, int, i));
    }
}

bool cli_build(Cli *cli, Error **errp)
{
    Machine *m = cli->m;
    close_added(cli);
    if (!check_kernel_options(m, errp) || !cli_check_display(cli, errp) || !choose_board(cli, errp) ||
        !set_machine_props(cli, errp) || !choose_accel(cli, errp) || !check_board_options(cli, errp) ||
        !cli_choose_vga(cli, errp)) {
        return false;
    }
    add_defaults(cli);
    if (cli->mem_lock) { /* devices are told before it happens */
        ram_discard_forbid(m, RAM_KEEP_LOCKED);
    }
    return cli_make_objects(cli, OBJECT_FOR_DRIVES, errp) && cli_make_drives(cli, errp) &&
           make_chardevs(cli, errp) && make_lines(cli, errp) &&
           make_debugcons(cli, errp) && make_qtests(cli, errp) && cli_make_memory(cli, errp) &&
           machine_build(m, errp) && cli_make_drive_devices(cli, errp) && cli_make_nets(cli, errp) &&
           cli_make_objects(cli, OBJECT_FOR_NETS, errp) && make_devices(cli, errp) &&
           machine_ready(m, errp) && cli_make_vncs(cli, errp) && make_gdb(cli, errp) &&
           lock_memory(cli, errp) && cli_start_display(cli, errp);
}

void cli_teardown(Cli *cli)
{
    Machine *m = cli->m;
    if (m->board && m->root) {
        machine_stop(m, RUN_FINISHED);
    }
    vnc_stop_all(m);
    display_stop(m);
    input_forget(m);
    screen_wait_forget();
    record_stop_all();
    type_text_forget(m);
    dump_end(m);
    jobs_end(m); /* before the disks that they work on */
    g_ptr_array_free(cli->qtest_list, TRUE);
    net_remove_all(m);   /* before the character devices that forwarded ports lead to */
    drive_remove_all(m); /* vCPUs are parked: nobody writes any more */
    chardev_remove_all(m);
    gdb_server_stop(m);
    g_ptr_array_free(cli->monitor_list, TRUE);
    g_ptr_array_free(cli->qmp_list, TRUE);
    hostmem_remove_all(m);
    rng_remove_all(m);
    secret_remove_all(m);
    tls_creds_remove_all(m);
    audiodev_remove_all(m);
    machine_free(m);
    fdset_clear();
    GPtrArray *lists[] = { cli->accels, cli->chardevs, cli->mons, cli->serials, cli->monitors, cli->debugcons,
                           cli->devices, cli->qtests, cli->blockdevs, cli->drives, cli->objects, cli->numa,
                           cli->netdevs, cli->nics, cli->nets };
    for (size_t i = 0; i < G_N_ELEMENTS(lists); i++) {
        g_ptr_array_free(lists[i], TRUE);
    }
    if (cli->gdb) {
        item_free(cli->gdb);
    }
    json_unref(cli->config);
    json_unref(cli->machine_props);
    g_free(cli->machine_type);
    g_free(cli->kernel_irqchip);
    if (cli->added_fds) {
        g_array_free(cli->added_fds, TRUE);
    }
    g_free(cli->pidfile);
    g_free(cli->chroot_dir);
    g_free(cli->run_as);
    g_free(cli->memory_where);
    g_free(cli->memory_backend);
    g_free(cli->mem_path);
    if (cli->vncs) {
        g_ptr_array_free(cli->vncs, TRUE);
    }
}
