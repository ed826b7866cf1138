/* SPDX-License-Identifier: MIT
 * tools/system/cli.h - the command line of rhea-system: its table, what it collects, how it acts.
 *
 * Every option goes: text -> keyval or JSON -> type_decode -> typed struct -> action. Options are read in
 * order; what needs other objects (chardevs, monitors, devices) waits in lists until all are read.
 */
#ifndef TOOLS_SYSTEM_CLI_H
#define TOOLS_SYSTEM_CLI_H

#include "rhea/accel/test.h"
#include "rhea/backends/drive.h"
#include "rhea/monitor/gdb.h"
#include "rhea/monitor/monitor.h"
#include "rhea/monitor/qmp.h"
#include "rhea/schema/type.h"
#include "rhea/ui/display.h"
#include "rhea/ui/input.h"
#include "rhea/util/sock.h"
#include "sandbox.h"
#include "schema/qmp.h"

typedef struct Cli Cli;
typedef struct Option Option;

typedef enum OptionGroup {
    GROUP_STANDARD, GROUP_BLOCK, GROUP_USB, GROUP_DISPLAY, GROUP_I386, GROUP_NETWORK,
    GROUP_CHARDEV, GROUP_TPM, GROUP_BOOT, GROUP_DEBUG, GROUP_OBJECT, GROUP_COUNT
} OptionGroup;

struct Option {
    const char *name; /* without dashes; aliases by '|': "h|help" */
    const char *args; /* for help; NULL: takes no argument */
    OptionGroup group;
    const char *help; /* lines by '\n' */
    bool (*run)(Cli *cli, const Option *o, const char *arg, Error **errp);
    const char *reason, *instead; /* run == NULL: known, but refused; why and what to use */
};
extern const Option option_table[]; /* ends with a NULL name */
extern const char *const option_group_titles[GROUP_COUNT];

/* An option kept for later: acted on when everything it may refer to exists. */
typedef struct Item {
    char *where;    /* "-device isa-serial,...": the prefix of its errors */
    char *text;
    Json *opts;     /* parsed, so that -set can change it; or NULL */
    bool from_text;
} Item;

struct Cli {
    Machine *m;
    Json *config;       /* canonical form of all options, for -dump-config */
    bool done;          /* help or version was printed: end with status 0 */

    Json *machine_props; /* -machine, and sugar such as -no-hpet */
    char *machine_type;
    char *kernel_irqchip; /* -machine kernel-irqchip=: for the accelerator */
    GPtrArray *accels;  /* Item *; in order of priority */
    GPtrArray *chardevs, *mons, *serials, *monitors, *debugcons, *devices, *sets, *qtests, *blockdevs,
        *drives; /* Item * */
    GPtrArray *objects, *numa; /* Item * */
    GPtrArray *netdevs, *nics, *nets; /* Item *: -netdev, -nic, -net */
    bool no_nic;        /* -nic none or -net none */
    const char *vga;    /* the last -vga, a constant; NULL: none was given */
    Item *gdb;          /* the last -gdb or -s */
    bool snapshot; /* -snapshot: of all drives that do not say otherwise */
    DisplayOptions display; /* the last -display, or the default */
    bool display_given, full_screen, monitors_first;
    bool nographic, dump_config, daemonize, no_user_config, msg_guest_name, msg_code;
    GPtrArray *vncs;    /* Item *: -vnc; or NULL */
    int mem_lock; /* 0, MCL_CURRENT, MCL_ONFAULT: what is used only */
    char *pidfile, *chroot_dir, *run_as;
    Sandbox sandbox;
    GArray *added_fds; /* int: what -add-fd has copied; NULL: none */
    char *memory_where;  /* the last -m; NULL: none */
    bool memory_size_given, mem_prealloc;
    char *memory_backend, *mem_path;
    uint64_t max_ram, ram_slots; /* of -m maxmem=,slots= */

    GPtrArray *monitor_list; /* Monitor * */
    GPtrArray *qmp_list;     /* QmpSession * */
    GPtrArray *qtest_list;   /* QtestServer * */
    bool serial_is_monitor;  /* mon: was used, or -nographic muxes */
};

/* options.c */
bool cli_parse(Cli *cli, int argc, char **argv, Error **errp);
void cli_help(GString *out);
/* The member that an error is about: the one of arg (NULL: none) whose value the sentence quotes, or the
 * option itself, as dashed has it at its beginning. No effect when a member is known. */
void cli_blame(Error **errp, const char *dashed, const char *arg);
bool cli_fail_at(Error **errp, Error *err, const Item *item); /* takes err; false; says which option */
const Option *option_find(const char *name);
/* As if it stood on the command line, where it is written `dashed`; arg: NULL when it takes none. */
bool cli_run_option(Cli *cli, const Option *o, const char *dashed, const char *arg, Error **errp);

/* sugar*.c: the run functions of the table */
#define OPTION_RUN(name) bool name(Cli *cli, const Option *o, const char *arg, Error **errp)
OPTION_RUN(opt_help); OPTION_RUN(opt_version); OPTION_RUN(opt_machine); OPTION_RUN(opt_accel);
OPTION_RUN(opt_cpu); OPTION_RUN(opt_smp); OPTION_RUN(opt_memory); OPTION_RUN(opt_kernel);
OPTION_RUN(opt_firmware_dir); OPTION_RUN(opt_boot); OPTION_RUN(opt_name); OPTION_RUN(opt_uuid);
OPTION_RUN(opt_rtc);
OPTION_RUN(opt_icount); OPTION_RUN(opt_action); OPTION_RUN(opt_watchdog_action);
OPTION_RUN(opt_flag); OPTION_RUN(opt_path);
OPTION_RUN(opt_machine_flag); OPTION_RUN(opt_later); OPTION_RUN(opt_chardev); OPTION_RUN(opt_device);
OPTION_RUN(opt_mon); OPTION_RUN(opt_display); OPTION_RUN(opt_vga); OPTION_RUN(opt_nic);
OPTION_RUN(opt_parallel); OPTION_RUN(opt_log); OPTION_RUN(opt_logfile); OPTION_RUN(opt_global);
OPTION_RUN(opt_fw_cfg); OPTION_RUN(opt_smbios); OPTION_RUN(opt_overcommit); OPTION_RUN(opt_msg);
OPTION_RUN(opt_object); OPTION_RUN(opt_mem_path); OPTION_RUN(opt_mem_prealloc);
OPTION_RUN(opt_gdb); OPTION_RUN(opt_echr); OPTION_RUN(opt_qtest_log); OPTION_RUN(opt_seed);
OPTION_RUN(opt_numa); OPTION_RUN(opt_qmp); OPTION_RUN(opt_add_fd); OPTION_RUN(opt_audiodev);
OPTION_RUN(opt_audio); OPTION_RUN(opt_audio_help);
OPTION_RUN(opt_sandbox); OPTION_RUN(opt_trace); OPTION_RUN(opt_readconfig);
OPTION_RUN(opt_netdev); OPTION_RUN(opt_net); OPTION_RUN(opt_vnc); OPTION_RUN(opt_layout);
OPTION_RUN(opt_usb); OPTION_RUN(opt_usbdevice);
OPTION_RUN(opt_blockdev); OPTION_RUN(opt_drive); OPTION_RUN(opt_disk_file);

/* sugar.c: shared by them */
bool cli_decode(Cli *cli, const Option *o, const TypeDesc *t, const char *implied, const char *arg, void *out,
                Error **errp);               /* parses, decodes, records the canonical form */
void cli_record(Cli *cli, const char *option, Json *value); /* takes value */
Item *item_new(const Option *o, const char *arg, Json *opts, bool from_text); /* takes opts */
void item_free(void *item);
bool cli_is_help(const char *arg);
char *cli_number_repeats(const char *arg, const char *const *keys); /* g_free */
bool cli_refuse(Error **errp, const char *what, const char *reason, const char *instead);

/* sugar_host.c */
void cli_device_help(GString *out); /* -device help */

/* drives.c */
bool cli_make_drives(Cli *cli, Error **errp);        /* nodes and drives: before the machine is built */
bool cli_make_drive_devices(Cli *cli, Error **errp); /* the devices that if= asks for: on the board's buses */

/* net.c */
bool cli_make_nets(Cli *cli, Error **errp); /* back ends and cards: the machine is built */
/* display.c */
bool cli_choose_vga(Cli *cli, Error **errp);    /* Machine.vga; the board and -device are known */
bool cli_has_viewer(const Cli *cli); /* somebody will be able to see terminals of ours */
bool cli_check_display(const Cli *cli, Error **errp); /* -display against other options */
bool cli_start_display(Cli *cli, Error **errp); /* the machine is ready; display_stop() ends it */

/* build.c: from collected options to a machine that is ready to run */
bool cli_build(Cli *cli, Error **errp);
void cli_teardown(Cli *cli);

/* memory.c */
/* -object: those that drives need, or the others */
typedef enum ObjectTime { OBJECT_FOR_DRIVES, OBJECT_FOR_DEVICES, OBJECT_FOR_NETS } ObjectTime;
bool cli_make_objects(Cli *cli, ObjectTime time, Error **errp);
bool cli_make_memory(Cli *cli, Error **errp); /* memory backends, Machine.ram_given; the board is chosen */

/* numa.c */
bool cli_make_numa(Cli *cli, Error **errp); /* Machine.numa; the memory backends are there */

/* process.c: daemon, pid file, signals, users */
bool process_daemonize(Error **errp);        /* the parent waits here and never returns on success */
bool process_daemon_ready(Error **errp);     /* tells the parent, lets go of the terminal */
bool process_pidfile(const char *path, Error **errp);
void process_cleanup(void);                  /* removes the pid file */
void process_block_signals(void);
bool process_watch_signals(Machine *m, Error **errp);
void process_unwatch_signals(void);
bool process_drop(const char *chroot_dir, const char *user, Error **errp);

/* qmp_export.c: QMP's socket addresses, whose texts the specs borrow. */
SockSpec qmp_inet_spec(const QmpInetAddress *i);
SockSpec qmp_unix_spec(const QmpUnixAddress *u);
int qmp_socket_fd(Machine *m, const char *name, Error **errp); /* a number or getfd's name; the caller's */
/* qmp_vnc.c */
const char *cli_layout(void); /* -k; NULL: not given */
bool cli_make_vncs(Cli *cli, Error **errp); /* -vnc: the machine is ready */
void hmp_info_vnc(Monitor *mon, Machine *m, int argc, char **argv, GString *out);
void hmp_info_web(Monitor *mon, Machine *m, int argc, char **argv, GString *out); /* display.c */
bool hmp_change_vnc(Machine *m, int argc, char **argv, GString *out); /* `change vnc`; false: it is not */
void hmp_set_password(Monitor *mon, Machine *m, int argc, char **argv, GString *out);
void hmp_expire_password(Monitor *mon, Machine *m, int argc, char **argv, GString *out);

/* typetext.c */
void type_text_forget(Machine *m); /* a text that is being typed; before the machine goes */
void hmp_type_text(Monitor *mon, Machine *m, int argc, char **argv, GString *out);

/* qmp_input.c */
/* False: no device takes such events at present; what: "keyboard" */
bool input_need(Machine *m, InputKind kind, const char *what, Error **errp);
void input_forget(Machine *m); /* keys that wait; before the machine goes */
void hmp_sendkey(Monitor *mon, Machine *m, int argc, char **argv, GString *out);
void hmp_mouse_move(Monitor *mon, Machine *m, int argc, char **argv, GString *out);
void hmp_mouse_button(Monitor *mon, Machine *m, int argc, char **argv, GString *out);
void hmp_mouse_set(Monitor *mon, Machine *m, int argc, char **argv, GString *out);
void hmp_info_mice(Monitor *mon, Machine *m, int argc, char **argv, GString *out);
void complete_sendkey(Machine *m, unsigned arg, GPtrArray *out);

void hmp_info_blockstats(Monitor *mon, Machine *m, int argc, char **argv, GString *out);
void hmp_say_error(GString *out, Error *err); /* with its hint; frees err */
bool hmp_take_flag(int *argc, char ***argv, const char *flag); /* takes "-f" off the front of the arguments */
/* "-f VALUE", anywhere behind the command, goes to the end and is counted no more. *value NULL: it is not
 * there. False: the value is missing. */
bool hmp_take_value(int *argc, char **argv, const char *flag, const char **value);
/* screendump.c. NULL: *errp. head goes with device only. */
Console *screen_find(Machine *m, const char *device, bool has_head, int64_t head, Error **errp);
Surface *screen_picture(Console *c, Error **errp); /* what it shows now; the caller's */
/* dump.c */
void dump_end(Machine *m); /* one that is being written fails; before the machine goes */

extern const HmpCommand hmp_board_commands[], hmp_block_commands[], hmp_dump_commands[],
    hmp_export_commands[],
    hmp_net_commands[], hmp_ui_commands[];

/* qmp_machine.c: CPU models among the object types, for QmpTables */
void qmp_cpu_each_type(void (*fn)(void *opaque, const char *name, const char *parent, bool abstract),
                       void *opaque);
bool qmp_cpu_type_props(const char *type, GArray *out);
void qmp_cpu_props(Vcpu *cpu, GArray *out);
bool qmp_cpu_value(Vcpu *cpu, const char *name, Json **out);

#endif
