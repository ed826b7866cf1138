/* SPDX-License-Identifier: MIT
 * tools/system/display.c - the board's graphics card, -vga, and what shows its picture, -display.
 * Models: QEMU 7.2's -vga and the devices that replace its default; -display, -full-screen, query-display-
 *          options.
 * Threads: main loop. */
#include "cli.h"
#include "rhea/hw/isa.h"
#include "rhea/hw/pci.h"
#include "rhea/ui/display.h"
#include "rhea/util/errorcode.h"
#include "rhea/util/log.h"
#include "rhea/util/text.h"
#include "schema/qmp-ui.h"

#include <unistd.h>

typedef struct VgaName {
    const char *name, *text, *driver; /* of -vga; driver NULL: none */
    const char *why;                  /* not there: the reason; NULL: not yet */
} VgaName;
static const VgaName names[] = {
    { "none", "no graphics card", NULL, NULL },
    { "std", "standard VGA (default)", "VGA", NULL },
    { "cirrus", "Cirrus Logic GD 5446", "cirrus-vga", NULL },
    { "virtio", "virtio graphics card with a VGA", "virtio-vga", NULL },
    { "vmware", NULL, "vmware-svga", "VMware's card is not emulated" },
    { "qxl", NULL, "qxl-vga", "it needs SPICE, which is not supported" },
    { "xenfb", NULL, "xenfb", "it needs Xen" },
    { "tcx", NULL, "SUNW,tcx", "it is a Sparc station's" },
    { "cg3", NULL, "cgthree", "it is a Sparc station's" },
};
/* Any of these on the command line is the machine's VGA, so there is no default one. */
static const char *const replaces[] = { "VGA",        "isa-vga",     "cirrus-vga",    "isa-cirrus-vga",
                                        "virtio-vga", "vmware-svga", "virtio-vga-gl", "qxl-vga",
                                        "ati-vga",    NULL };

static bool is_there(const VgaName *n)
{
    return !n->driver || device_type_find(n->driver);
}

OPTION_RUN(opt_vga)
{
    if (cli_is_help(arg)) {
        GString *s = g_string_new(NULL);
        for (size_t i = 0; i < G_N_ELEMENTS(names); i++) {
            if (names[i].text && is_there(&names[i])) {
                g_string_append_printf(s, "%-20s %s\n", names[i].name, names[i].text);
            }
        }
        cli->done = true;
        g_print("%s", s->str);
        g_string_free(s, TRUE);
        return true;
    }
    const char *all[G_N_ELEMENTS(names) + 1] = { NULL };
    unsigned n = 0;
    for (size_t i = 0; i < G_N_ELEMENTS(names); i++) {
        bool there = is_there(&names[i]);
        if (g_str_equal(arg, names[i].name) && there) {
            cli->vga = names[i].name;
            cli_record(cli, "vga", json_new_string(arg));
            return true;
        }
        if (g_str_equal(arg, names[i].name)) {
            return error_fail(errp, "not-supported", "vga", "use -vga std",
                              "graphics card '%s' is not supported: %s", arg,
                              names[i].why ? names[i].why : "it does not exist yet");
        }
        if (there) {
            all[n++] = names[i].name;
        }
    }
    error_fail(errp, "not-found", "vga", NULL, "unknown graphics card '%s'", arg);
    error_hint_nearest(errp, arg, all);
    error_hint_else(errp, "use -vga std, or -vga none");
    return false;
}

static const VgaName *find(const char *name)
{
    for (size_t i = 0; i < G_N_ELEMENTS(names); i++) {
        if (!g_strcmp0(names[i].name, name)) {
            return &names[i];
        }
    }
    return NULL;
}

bool cli_choose_vga(Cli *cli, Error **errp)
{
    const char *name = cli->vga, *board = cli->m->board->name;
    bool usual = cli->m->board->default_vga && !cli->m->no_defaults;
    for (guint i = 0; i < cli->devices->len; i++) {
        const Json *opts = ((Item *)cli->devices->pdata[i])->opts;
        const char *driver = json_get_string(json_member(opts, "driver", NULL));
        usual = usual && !(driver && g_strv_contains(replaces, driver));
    }
    if (!name) {
        cli->m->vga = usual ? device_type_find(cli->m->board->default_vga) : NULL;
        return true;
    }
    const VgaName *n = find(name);
    if (n->driver && !cli->m->board->default_vga) {
        return error_fail(errp, "no-place", "vga", "use -machine pc or q35, or -vga none",
                          "-vga %s: machine type '%s' has no place for a graphics card", name, board);
    }
    cli->m->vga = n->driver ? device_type_find(n->driver) : NULL;
    return true;
}

/* ---- who shows it ---- */

OPTION_RUN(opt_display)
{
    if (cli_is_help(arg)) {
        g_autoptr(GString) s = g_string_new("Available display backend types:\n");
        display_help(s);
        cli->done = true;
        g_print("%s", s->str);
        return true;
    }
    if (g_str_has_prefix(arg, "vnc=")) { /* a server beside what is shown here */
        return opt_vnc(cli, option_find("vnc"), arg + 4, errp);
    }
    g_autofree char *web = NULL;
    if (g_str_has_prefix(arg, "web=")) { /* web=ADDRESS */
        arg = web = g_strdup_printf("web,address=%s", arg + 4);
    }
    bool from_text;
    DisplayOptions parsed;
    g_autoptr(Json) j = keyval_parse(arg, "type", &from_text, errp);
    if (!j || !display_parse(j, from_text, &parsed, errp)) {
        return false;
    }
    if (cli->display_given) {
        display_options_clear(&cli->display);
    }
    cli->display = parsed; /* the last one counts */
    cli->display_given = true;
    cli_record(cli, "display", json_ref(j));
    return true;
}

/* A terminal that has one user. Serial ports and monitors on stdio are found when it is opened. */
bool cli_check_display(const Cli *cli, Error **errp)
{
    bool curses = cli->display_given && cli->display.type == DISPLAY_TYPE_CURSES;
    if (curses && cli->nographic) {
        return error_fail(errp, "conflict", "nographic", "leave one out",
                          "-display curses: -nographic has the serial port and the monitor on this terminal");
    }
    if (curses && cli->daemonize) {
        return error_fail(errp, "conflict", "daemonize", "leave it out, or use -vnc",
                          "-display curses: -daemonize leaves no terminal to show anything on");
    }
    return true;
}

static bool wants_window(const Cli *cli)
{
    return !cli->nographic && !cli->daemonize && !cli->vncs && !cli->m->no_defaults && cli->m->vga;
}

bool cli_has_viewer(const Cli *cli)
{
    return !cli->nographic &&
           (cli->vncs || (cli->display_given && cli->display.type != DISPLAY_TYPE_NONE) ||
            (!cli->display_given && wants_window(cli) && display_default() != DISPLAY_TYPE_NONE));
}

/* Without -display: a window where there is a desktop, unless the output was sent elsewhere. */
bool cli_start_display(Cli *cli, Error **errp)
{
    DisplayOptions *o = &cli->display;
    if (!cli->display_given && wants_window(cli)) {
        o->type = display_default();
        if (o->type == DISPLAY_TYPE_NONE && isatty(STDERR_FILENO)) {
            log_info("there is no desktop to open a window on: -nographic shows the serial port here");
        }
    }
    if (cli->full_screen && !o->has_full_screen) {
        o->has_full_screen = o->full_screen = true;
    }
    return display_start(cli->m, o, errp);
}

void hmp_info_web(Monitor *mon, Machine *m, int argc, char **argv, GString *out)
{
    g_autofree char *url = display_web_url();
    g_string_append(out, url ? url : "there is no web console: start the program with -display web");
    g_string_append_c(out, '\n');
}

bool qmp_query_display_options(QmpCall *call, DisplayOptions *ret, Error **errp)
{
    DisplayOptions now = display_current();
    g_autoptr(Json) j = type_encode(&display_options_type, &now);
    return type_decode(&display_options_type, j, false, ret, errp); /* a copy of the texts, too */
}
