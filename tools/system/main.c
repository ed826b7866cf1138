/* SPDX-License-Identifier: MIT
 * tools/system/main.c - rhea-system: one machine from the command line.
 *
 * Life: options, background, machine, loop, end. Status 0: the guest or the operator ended it; 1: an error,
 * told in one line; isa-debug-exit gives its own. Threads: this is the main loop's thread.
 */
#include "cli.h"
#include "rhea/ui/vc.h"
#include "qtest.h"
#include "rhea/net/net.h"
#include "rhea/system/iothread.h"
#include "rhea/ui/vdagent.h"
#include "rhea/util/errorcode.h"
#include "rhea/util/log.h"
#include "schema/qmp-block.h"
#include "schema/qmp-dump.h"
#include "schema/qmp-ui.h"
#include "schema/qmp-export.h"
#include "schema/qmp-input.h"
#include "schema/qmp-vnc.h"
#include "schema/qmp-job.h"
#include "schema/qmp-machine.h"
#include "schema/qmp-net.h"
#include "schema/qmp-pci.h"
#include "schema/qmp-state.h"
#include "schema/qmp-trace.h"
#include <stdlib.h>
#include <string.h>

static GPtrArray *items(void)
{
    return g_ptr_array_new_with_free_func(item_free);
}

static void free_monitor(void *mon)
{
    monitor_free(mon);
}

static void free_qmp(void *session)
{
    qmp_session_free(session);
}

static void free_qtest(void *server)
{
    qtest_server_free(server);
}

static void cli_init(Cli *cli, Machine *m)
{
    *cli = (Cli){ .m = m, .config = json_new_object(), .machine_props = json_new_object() };
    cli->accels = items();
    cli->chardevs = items();
    cli->mons = items();
    cli->serials = items();
    cli->monitors = items();
    cli->debugcons = items();
    cli->devices = items();
    cli->qtests = items();
    cli->blockdevs = items();
    cli->drives = items();
    cli->objects = items();
    cli->numa = items();
    cli->netdevs = items();
    cli->nics = items();
    cli->nets = items();
    cli->monitor_list = g_ptr_array_new_with_free_func(free_monitor);
    cli->qmp_list = g_ptr_array_new_with_free_func(free_qmp);
    cli->qtest_list = g_ptr_array_new_with_free_func(free_qtest);
}

static void dump_config(const Cli *cli)
{
    g_autofree char *text = json_format(cli->config, true);
    puts(text);
}

/* Unknown types are no error: management programs set them for hardware that is not there. */
static void check_globals(const Machine *m)
{
    for (guint i = 0; i < m->globals->len; i++) {
        const GlobalProp *g = m->globals->pdata[i];
        if (!device_type_find(g->driver)) {
            log_warn("-global %s.%s: this emulator has no device '%s'", g->driver, g->prop, g->driver);
        }
    }
}

/* Without it the kernel's rings, which are easy to attack, stay closed; images that ask for one later make do
 * with threads. */
static bool asks_for_uring(const Cli *cli)
{
    const GPtrArray *lists[] = { cli->blockdevs, cli->drives };
    for (size_t l = 0; l < G_N_ELEMENTS(lists); l++) {
        for (guint i = 0; i < lists[l]->len; i++) {
            const Item *item = lists[l]->pdata[i];
            if (strstr(item->text, "io_uring")) {
                return true;
            }
        }
    }
    return false;
}

static bool run(Cli *cli, Error **errp)
{
    Machine *m = cli->m;
    if (cli->daemonize && !process_daemonize(errp)) {
        return false;
    }
    if (cli->pidfile && !process_pidfile(cli->pidfile, errp)) {
        return false;
    }
    check_globals(m);
    bool drops = cli->chroot_dir || cli->run_as;
    cli->sandbox.uring = asks_for_uring(cli);
    if (cli->sandbox.on) {
        net_limit_programs(!cli->sandbox.spawn);
    }
    if (drops) {
        net_expect_drop(cli->chroot_dir ? "-chroot" : "-runas");
    }
    /* Before images are opened: what they say is not to be trusted. */
    if ((cli->sandbox.on && !sandbox_enter(&cli->sandbox, drops, errp)) || !cli_build(cli, errp) ||
        !process_watch_signals(m, errp) || !process_drop(cli->chroot_dir, cli->run_as, errp) ||
        (cli->sandbox.on && drops && !sandbox_enter(&cli->sandbox, false, errp)) ||
        !process_daemon_ready(errp)) {
        return false;
    }
    if (!m->debugger_waits) {
        machine_start(m);
    }
    loop_run(m->loop);
    return true;
}

/* Programs read the last line: what QMP has in an error's "data". */
static void report(const Cli *cli, Error *err)
{
    const char *text = error_text(err), *option = *text == '-' ? text : strstr(text, " -");
    if (option) { /* that is looked at late, and names itself */
        cli_blame(&err, option + (*option == ' '), NULL);
    }
    error_add_cure(&err);
    const char *member = error_member(err);
    g_autofree char *line = g_strdup_printf("code=%s%s%s\n", error_code(err), member ? " member=" : "",
                                            member ? member : "");
    error_report(err);
    if (cli->msg_code) {
        fputs(line, stderr);
    }
}

int main(int argc, char **argv)
{
    static const HmpCommand *const commands[] = { monitor_core_commands, hmp_board_commands,
                                                  hmp_block_commands, hmp_dump_commands,
                                                  hmp_export_commands, hmp_net_commands,
                                                  hmp_ui_commands, NULL };
    static const QmpCommand *const qmp[] = { qmp_commands,         qmp_block_commands,
                                             qmp_dump_commands,    qmp_export_commands,
                                             qmp_input_commands,   qmp_job_commands,
                                             qmp_machine_commands, qmp_net_commands,
                                             qmp_pci_commands,     qmp_state_commands,
                                             qmp_trace_commands,   qmp_ui_commands,
                                             qmp_vnc_commands,     NULL };
    static const QmpEvent *const events[] = { qmp_events,        qmp_block_events, qmp_dump_events,
                                              qmp_export_events, qmp_job_events,   qmp_net_events,
                                              qmp_input_events,  qmp_vnc_events,   NULL };
    static const QmpTables tables = { .commands = qmp, .events = events, .each_type = qmp_cpu_each_type,
                                      .type_props = qmp_cpu_type_props, .cpu_props = qmp_cpu_props,
                                      .cpu_value = qmp_cpu_value };
    Error *err = NULL;
    Cli cli;
    g_autofree char *name = g_path_get_basename(argv[0]);
    log_set_program(name);
    role_become_main();
    rcu_register_thread();
    process_block_signals();
    chardev_register();
    vdagent_register();
    vc_register(cli_layout);
    drive_register();
    iothread_register();
    net_register();
    monitor_set_commands(commands);
    qmp_set_tables(&tables);
    Loop *loop = loop_new("main");
    loop_host_glib(loop);
    cli_init(&cli, machine_new(loop));

    bool ok = cli_parse(&cli, argc, argv, &err);
    if (ok && cli.msg_guest_name) {
        log_set_guest_name(cli.m->name);
    }
    if (ok && !cli.done && cli.dump_config) {
        dump_config(&cli);
        cli.done = true;
    }
    bool ran = ok && !cli.done && run(&cli, &err);
    int status = ok && (cli.done || ran) ? (ran ? machine_exit_status(cli.m) : 0) : 1;
    if (err) {
        report(&cli, err);
    }
    process_unwatch_signals();
    cli_teardown(&cli);
    process_cleanup();
    loop_free(loop);
    return fflush(stdout) == 0 ? status : 1;
}
