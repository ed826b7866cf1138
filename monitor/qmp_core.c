/* SPDX-License-Identifier: MIT
 * monitor/qmp_core.c - commands about the protocol, the run state, and what the machine is.
 *
 * Models: QEMU 7.2's commands of these names. The human monitor calls the same functions.
 * Threads: main loop, no domain held; CPU state is read on the vCPU between instructions.
 */
#include "config.h"
#include "monitor_internal.h"
#include "qmp_internal.h"
#include "rhea/system/busy.h"
#include "rhea/system/host.h"
#include "rhea/system/iothread.h"
#include "rhea/util/errorcode.h"
#include "rhea/util/fdset.h"
#include "schema/chardev.h"
#include "schema/qmp.h"
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

/* ---- the protocol ---- */

bool qmp_qmp_capabilities(QmpCall *call, const QmpCapabilitiesArgs *args, Error **errp)
{
    if (!call->session) {
        return error_fail(errp, "not-now", NULL, "only a session of QMP has one",
                          "there is no session to begin");
    }
    if (call->session->negotiated) {
        error_fail(errp, "command-not-found", "execute", "connect anew to choose others",
                   "the session has begun already: capabilities are chosen once");
        error_set_class(errp, ERROR_COMMAND_NOT_FOUND);
        return false;
    }
    qmp_accept_capabilities(call->session, args->enable.n > 0);
    return true;
}

bool qmp_query_version(QmpCall *call, VersionInfo *ret, Error **errp)
{
    g_autoptr(Json) v = qmp_version_json();
    return type_decode(&version_info_type, v, false, ret, errp);
}

bool qmp_query_commands(QmpCall *call, QueryCommandsResult *ret, Error **errp)
{
    for (const QmpCommand *const *t = qmp_tables()->commands; *t; t++) {
        for (const QmpCommand *c = *t; c->name; c++) {
            ret->n++;
        }
    }
    ret->items = g_new0(CommandInfo, ret->n);
    size_t i = 0;
    for (const QmpCommand *const *t = qmp_tables()->commands; *t; t++) {
        for (const QmpCommand *c = *t; c->name; c++) {
            ret->items[i++].name = g_strdup(c->name);
        }
    }
    return true;
}

bool qmp_query_qmp_schema(QmpCall *call, Json **ret, Error **errp)
{
    *ret = qmp_schema_json();
    return true;
}

static int take_fd(QmpCall *call, Error **errp)
{
    int fd = call->session ? qmp_session_take_fd(call->session) : -1;
    if (fd < 0) {
        error_fail(errp, "no-descriptor", NULL, NULL, "no descriptor came along with the command");
        error_hint(errp, "send one over a unix socket, as SCM_RIGHTS with the bytes of the command");
    }
    return fd;
}

bool qmp_add_fd(QmpCall *call, const AddFdArgs *args, AddfdInfo *ret, Error **errp)
{
    int fd = take_fd(call, errp);
    ret->fd = fd;
    ret->fdset_id = args->has_fdset_id ? args->fdset_id : (int64_t)fdset_unused();
    return fd >= 0 && fdset_add(ret->fdset_id, fd, args->opaque, errp);
}

bool qmp_remove_fd(QmpCall *call, const RemoveFdArgs *args, Error **errp)
{
    if (args->has_fd && (args->fd < 0 || args->fd > INT_MAX)) {
        return error_fail(errp, "out-of-range", "fd", "query-fdsets lists the descriptors",
                          "'fd' is %" G_GINT64_FORMAT ", which is no descriptor", args->fd);
    }
    return fdset_remove(args->fdset_id, args->has_fd ? args->fd : -1, errp);
}

static void describe_fd(const FdsetEntry *e, void *opaque)
{
    QueryFdsetsResult *ret = opaque;
    FdsetInfo *i = ret->n ? &ret->items[ret->n - 1] : NULL;
    if (!i || i->fdset_id != (int64_t)e->set) {
        ret->items = g_renew(FdsetInfo, ret->items, ret->n + 1);
        i = &ret->items[ret->n++];
        *i = (FdsetInfo){ .fdset_id = e->set };
    }
    i->fds.items = g_realloc_n(i->fds.items, i->fds.n + 1, sizeof(FdsetFdInfo));
    i->fds.items[i->fds.n++] = (FdsetFdInfo){ .fd = e->fd, .opaque = g_strdup(e->opaque) };
}

bool qmp_query_fdsets(QmpCall *call, QueryFdsetsResult *ret, Error **errp)
{
    fdset_foreach(describe_fd, ret);
    return true;
}

bool qmp_getfd(QmpCall *call, const GetfdArgs *args, Error **errp)
{
    int fd = take_fd(call, errp);
    return fd >= 0 && machine_fd_put(call->machine, args->fdname, fd, errp);
}

bool qmp_closefd(QmpCall *call, const ClosefdArgs *args, Error **errp)
{
    int fd = machine_fd_take(call->machine, args->fdname, errp);
    if (fd >= 0) {
        close(fd);
    }
    return fd >= 0;
}

bool qmp_human_monitor_command(QmpCall *call, const HumanMonitorCommandArgs *args, char **ret, Error **errp)
{
    Machine *m = call->machine;
    Monitor mon = { .machine = m, .dump_format = 'x', .dump_size = 4 };
    if (args->has_cpu_index && (args->cpu_index < 0 || !m->cpus || args->cpu_index >= (int64_t)m->n_cpus)) {
        return error_fail(errp, "out-of-range", "cpu-index", "query-cpus-fast lists them",
                          "'cpu-index' is %" G_GINT64_FORMAT ": there is no such CPU", args->cpu_index);
    }
    mon.cpu = args->has_cpu_index ? args->cpu_index : 0;
    GString *out = g_string_new(NULL);
    monitor_run_line(&mon, m, args->command_line, out);
    char *valid = g_utf8_make_valid(out->str, out->len);
    g_string_free(out, TRUE);
    g_auto(GStrv) lines = g_strsplit(valid, "\n", -1);
    *ret = g_strjoinv("\r\n", lines);
    g_free(valid);
    return true;
}

/* ---- running ---- */

bool qmp_query_status(QmpCall *call, StatusInfo *ret, Error **errp)
{
    ret->running = machine_running(call->machine);
    ret->status = type_enum_value(qmp_run_state_names, run_state_name(call->machine->state));
    return true;
}

bool qmp_stop(QmpCall *call, Error **errp)
{
    if (machine_running(call->machine)) {
        machine_stop(call->machine, RUN_PAUSED);
    }
    return true;
}

bool qmp_cont(QmpCall *call, Error **errp)
{
    Machine *m = call->machine;
    if (m->state == RUN_SHUTDOWN || m->state == RUN_INTERNAL_ERROR || m->state == RUN_GUEST_PANICKED) {
        return error_fail(errp, "reset-required", NULL, "send system_reset, then cont",
                          "the machine must be reset first (system_reset)");
    }
    if (machine_busy(m)) {
        return error_fail(errp, "busy", NULL, "try again when that has ended", "the machine must stand: %s",
                          machine_busy(m));
    }
    machine_start(m); /* no effect when it runs */
    return true;
}

bool qmp_quit(QmpCall *call, Error **errp)
{
    machine_request_shutdown(call->machine, SHUTDOWN_HOST_QUIT, 0);
    return true;
}

bool qmp_system_reset(QmpCall *call, Error **errp)
{
    machine_request_reset(call->machine, SHUTDOWN_HOST_RESET);
    return true;
}

bool qmp_system_powerdown(QmpCall *call, Error **errp)
{
    machine_request_powerdown(call->machine);
    return true;
}

bool qmp_set_action(QmpCall *call, const ActionOptions *v, Error **errp)
{
    Machine *m = call->machine;
    if (v->has_watchdog) {
        m->action.watchdog = v->watchdog;
    }
    if (v->has_reboot) {
        m->action.reboot_is_shutdown = v->reboot == REBOOT_ACTION_SHUTDOWN;
    }
    if (v->has_shutdown) {
        m->action.no_shutdown = v->shutdown == SHUTDOWN_ACTION_PAUSE;
    }
    if (v->has_panic) {
        m->action.panic_pause = v->panic == PANIC_ACTION_PAUSE;
        m->action.panic_exit_failure = v->panic == PANIC_ACTION_EXIT_FAILURE;
        m->action.panic_none = v->panic == PANIC_ACTION_NONE;
    }
    return true;
}

bool qmp_watchdog_set_action(QmpCall *call, const WatchdogSetActionArgs *args, Error **errp)
{
    call->machine->action.watchdog = args->action;
    return true;
}

/* ---- what the machine is ---- */

bool qmp_query_name(QmpCall *call, NameInfo *ret, Error **errp)
{
    const char *name = call->machine->name;
    ret->name = name && *name ? g_strdup(name) : NULL;
    return true;
}

bool qmp_query_uuid(QmpCall *call, UuidInfo *ret, Error **errp)
{
    const char *uuid = call->machine->uuid;
    ret->UUID = g_strdup(uuid && *uuid ? uuid : "00000000-0000-0000-0000-000000000000");
    return true;
}

bool qmp_query_kvm(QmpCall *call, KvmInfo *ret, Error **errp)
{
    const AccelOps *a = call->machine->accel;
    ret->enabled = a && g_str_equal(a->name, "kvm");
    ret->present = accel_find("kvm") != NULL;
    return true;
}

/* The target of the machine, or of the program when this machine has no CPU. */
static const TargetOps *find_target(Machine *m)
{
    const TargetOps *t = m->board ? m->board->target : NULL;
    for (const BoardType *const *b = board_table; !t && *b; b++) {
        t = (*b)->target;
    }
    return t;
}

bool qmp_query_target(QmpCall *call, TargetInfo *ret, Error **errp)
{
    const TargetOps *t = find_target(call->machine);
    int arch = t ? type_enum_value(sys_emu_target_names, t->name) : -1;
    if (arch < 0) {
        return error_fail(errp, "no-cpu", NULL, "use a machine type that has one, such as pc",
                          "this program has no machine with a CPU");
    }
    ret->arch = arch;
    return true;
}

static void describe_board(const BoardType *b, MachineInfo *i)
{
    i->name = g_strdup(b->name);
    i->alias = g_strdup(b->alias);
    i->has_is_default = i->is_default = b->is_default;
    i->cpu_max = MAX(b->max_cpus, 1);
    i->deprecated = b->deprecated;
    if (b->target && b->target->default_cpu) {
        i->default_cpu_type = g_strdup_printf("%s-%s-cpu", b->target->default_cpu, b->target->name);
        i->default_ram_id = g_strdup("pc.ram");
    }
}

bool qmp_query_machines(QmpCall *call, QueryMachinesResult *ret, Error **errp)
{
    while (board_table[ret->n]) {
        ret->n++;
    }
    ret->items = g_new0(MachineInfo, ret->n);
    for (size_t i = 0; i < ret->n; i++) {
        describe_board(board_table[i], &ret->items[i]);
    }
    return true;
}

bool qmp_query_memory_size_summary(QmpCall *call, MemoryInfo *ret, Error **errp)
{
    ret->base_memory = call->machine->ram_size;
    ret->has_plugged_memory = true; /* none: memory cannot be plugged yet */
    return true;
}

static void describe_place(const Machine *m, unsigned n, CpuInstanceProperties *p)
{
    p->has_socket_id = p->has_core_id = p->has_thread_id = true;
    p->thread_id = n % m->threads;
    p->core_id = n / m->threads % m->cores;
    p->has_die_id = m->dies > 1;
    p->die_id = n / m->threads / m->cores % m->dies;
    p->socket_id = n / m->threads / m->cores / m->dies;
    p->has_node_id = m->numa && m->numa->cpu_node && m->numa->cpu_node[n] >= 0;
    p->node_id = p->has_node_id ? m->numa->cpu_node[n] : 0;
}

static void describe_cpu(const Vcpu *cpu, CpuInfoFast *i)
{
    const Machine *m = cpu->machine;
    unsigned n = cpu->index;
    i->cpu_index = n;
    i->qom_path = g_strdup_printf("/machine/unattached/cpu[%u]", n);
    i->thread_id = vcpu_host_thread(cpu);
    i->target = MAX(type_enum_value(sys_emu_target_names, cpu->target->name), 0);
    i->has_props = true;
    describe_place(m, n, &i->props);
}

bool qmp_query_cpus_fast(QmpCall *call, QueryCpusFastResult *ret, Error **errp)
{
    Machine *m = call->machine;
    ret->n = m->cpus ? m->n_cpus : 0;
    ret->items = g_new0(CpuInfoFast, ret->n);
    for (size_t i = 0; i < ret->n; i++) {
        describe_cpu(m->cpus[i], &ret->items[i]);
    }
    return true;
}

bool qmp_query_hotpluggable_cpus(QmpCall *call, QueryHotpluggableCpusResult *ret, Error **errp)
{
    Machine *m = call->machine;
    ret->n = m->cpus ? MAX(m->n_cpus, m->max_cpus) : 0;
    ret->items = g_new0(HotpluggableCPU, ret->n);
    for (unsigned i = 0; i < ret->n; i++) { /* the last place first, as QEMU's */
        HotpluggableCPU *h = &ret->items[ret->n - 1 - i];
        h->type = qmp_cpu_type(m);
        h->vcpus_count = 1;
        describe_place(m, i, &h->props);
        h->qom_path = i < m->n_cpus ? g_strdup_printf("/machine/unattached/cpu[%u]", i) : NULL;
    }
    return true;
}

static void describe_iothread(const IoThread *t, void *opaque)
{
    IoThreadPoll poll = iothread_poll(t);
    IOThreadInfo i = {
        .id = g_strdup(iothread_id(t)),
        .thread_id = iothread_tid(t),
        .poll_max_ns = poll.max_ns,
        .poll_grow = poll.grow,
        .poll_shrink = poll.shrink,
    };
    g_array_append_val((GArray *)opaque, i);
}

bool qmp_query_iothreads(QmpCall *call, QueryIothreadsResult *ret, Error **errp)
{
    GArray *all = g_array_new(FALSE, TRUE, sizeof(IOThreadInfo));
    iothread_foreach(call->machine, describe_iothread, all);
    ret->n = all->len;
    ret->items = (IOThreadInfo *)(void *)g_array_free(all, FALSE);
    return true;
}

/* ---- memory to a file ---- */

typedef struct MemPiece {
    Machine *machine;
    Vcpu *cpu; /* NULL: physical */
    uint64_t addr;
    uint8_t buf[4096];
    size_t len;
    bool ok;
} MemPiece;

/* A piece lies in one page. */
static void read_piece(void *opaque)
{
    MemPiece *r = opaque;
    hwaddr pa = r->addr;
    r->ok = (!r->cpu || r->cpu->target->debug_translate(r->cpu, r->addr, &pa)) &&
            as_access(&r->machine->as_mem, pa, r->buf, r->len, false, MEM_ATTRS_NONE) == MEM_OK;
}

static bool save_pieces(MemPiece *r, uint64_t size, int fd, const char *filename, Error **errp)
{
    while (size) {
        r->len = MIN(size, sizeof(r->buf) - r->addr % sizeof(r->buf));
        if (r->cpu) {
            vcpu_run_on_wait(r->cpu, read_piece, r);
        } else {
            read_piece(r);
        }
        if (!r->ok) {
            return error_fail(errp, "out-of-range", "val", r->cpu ? "'info mem' shows what is mapped"
                                                                  : "'info mtree -f' shows where memory is",
                              "there is no memory at %s address 0x%" G_GINT64_MODIFIER "x",
                              r->cpu ? "virtual" : "physical", r->addr);
        }
        ssize_t n = write(fd, r->buf, r->len);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n <= 0) {
            return error_set_errno(errp, n ? errno : ENOSPC, "could not write '%s'", filename);
        }
        r->addr += n;
        size -= n;
    }
    return true;
}

static bool save_memory(Machine *m, Vcpu *cpu, int64_t val, int64_t size, const char *filename, Error **errp)
{
    if (size < 0) {
        return error_fail(errp, "out-of-range", "size", "give bytes, 0 or more",
                          "'size' must not be negative");
    }
    int fd = open(filename, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    if (fd < 0) {
        return error_set_errno(errp, errno, "could not open '%s'", filename);
    }
    MemPiece r = { .machine = m, .cpu = cpu, .addr = val };
    bool ok = save_pieces(&r, size, fd, filename, errp);
    if (close(fd) < 0 && ok) {
        return error_set_errno(errp, errno, "could not write '%s'", filename);
    }
    return ok;
}

bool qmp_memsave(QmpCall *call, const MemsaveArgs *args, Error **errp)
{
    Machine *m = call->machine;
    int64_t i = args->has_cpu_index ? args->cpu_index : 0;
    Vcpu *cpu = m->cpus && i >= 0 && i < (int64_t)m->n_cpus ? m->cpus[i] : NULL;
    if (!cpu || !cpu->target->debug_translate) {
        return error_fail(errp, "out-of-range", "cpu-index", "query-cpus-fast lists them",
                          "'cpu-index' is %" G_GINT64_FORMAT ": there is no such CPU", i);
    }
    return save_memory(m, cpu, args->val, args->size, args->filename, errp);
}

bool qmp_pmemsave(QmpCall *call, const PmemsaveArgs *args, Error **errp)
{
    return save_memory(call->machine, NULL, args->val, args->size, args->filename, errp);
}

/* ---- character devices ---- */

static void count_chardev(Chardev *c, void *opaque)
{
    ++*(size_t *)opaque;
}

static void describe_chardev(Chardev *c, void *opaque)
{
    QueryChardevResult *ret = opaque;
    ChardevInfo *i = &ret->items[ret->n++];
    i->label = g_strdup(chardev_id(c));
    i->filename = chardev_filename(c);
    i->frontend_open = chardev_frontend_open(c);
}

bool qmp_query_chardev(QmpCall *call, QueryChardevResult *ret, Error **errp)
{
    size_t n = 0;
    chardev_foreach(call->machine, count_chardev, &n);
    ret->items = g_new0(ChardevInfo, n);
    chardev_foreach(call->machine, describe_chardev, ret);
    return true;
}

bool qmp_query_chardev_backends(QmpCall *call, QueryChardevBackendsResult *ret, Error **errp)
{
    ret->n = g_strv_length((char **)chardev_kind_names);
    ret->items = g_new0(ChardevBackendInfo, ret->n);
    for (size_t i = 0; i < ret->n; i++) {
        ret->items[i].name = g_strdup(chardev_kind_names[i]);
    }
    return true;
}

bool qmp_chardev_remove(QmpCall *call, const ChardevRemoveArgs *args, Error **errp)
{
    return chardev_remove(call->machine, args->id, errp);
}
