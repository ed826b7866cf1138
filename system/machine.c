/* SPDX-License-Identifier: MIT
 * system/machine.c - the life of a machine: creation, building, starting, stopping, reset, end.
 * Models: docs/devel/machine-core.md, "life of a machine".
 * Threads: main loop.
 */
#include "internal.h"
#include "system/trace.h"

#include "rhea/system/iothread.h"
#include "rhea/system/job.h"
#include "rhea/system/doorbell.h"
#include "rhea/util/errorcode.h"
#include "config.h"

#include <string.h>
#include <sys/mman.h>

static const DeviceType container_type = {
    .name = "container", .desc = "node of the device tree", .size = sizeof(Device), .internal = true
};

static Device *add_container(Machine *m, Device *parent, const char *id)
{
    Device *d = device_new(m, &container_type, parent, id);
    device_realize(d, NULL, &error_abort_slot);
    return d;
}

static void add_firmware_path(Machine *m)
{
    g_auto(GStrv) dirs = g_strsplit(RHEA_FIRMWARE_PATH, ":", -1);
    for (char **d = dirs; *d; d++) {
        if (**d) {
            g_ptr_array_add(m->firmware_path, g_strdup(*d));
        }
    }
}

static void free_global(void *opaque)
{
    GlobalProp *g = opaque;
    g_free(g->driver);
    g_free(g->prop);
    g_free(g->value);
    g_free(g);
}

static void free_fw_cfg_file(void *opaque)
{
    FwCfgFileOption *f = opaque;
    g_free(f->name);
    g_free(f->file);
    g_free(f->string);
    g_free(f);
}

static void set_defaults(Machine *m)
{
    m->name = g_strdup("");
    m->uuid = g_strdup("");
    m->n_cpus = m->max_cpus = m->sockets = m->dies = m->cores = m->threads = 1;
    m->boot_menu_timeout_ms = m->boot_reboot_timeout_ms = -1;
    m->firmware_path = g_ptr_array_new_with_free_func(g_free);
    m->fw_cfg_files = g_ptr_array_new_with_free_func(free_fw_cfg_file);
    m->globals = g_ptr_array_new_with_free_func(free_global);
    m->serial_chardevs = g_ptr_array_new();
    m->rtc.utc = true;
    m->rtc.start_s = INT64_MIN;
    add_firmware_path(m);
}

Machine *machine_new(Loop *loop)
{
    role_assert_main();
    Machine *m = g_new0(Machine, 1);
    struct MachinePrivate *p = m->priv = g_new0(struct MachinePrivate, 1);
    pthread_mutexattr_t recursive;
    pthread_mutexattr_init(&recursive);
    pthread_mutexattr_settype(&recursive, PTHREAD_MUTEX_RECURSIVE);
    pthread_mutex_init(&p->topology, &recursive);
    pthread_mutexattr_destroy(&recursive);
    pthread_mutex_init(&p->lock, NULL);
    pthread_mutex_init(&p->park_lock, NULL);
    pthread_cond_init(&p->parked, NULL);
    pthread_mutex_init(&p->stop_lock, NULL);
    pthread_cond_init(&p->stop_changed, NULL);
    g_queue_init(&p->posted);
    g_queue_init(&p->events);
    p->loops = g_ptr_array_new();
    m->loop = loop;
    set_defaults(m);
    m->platform = domain_new("platform", loop);
    clock_stop_init(&m->stop_clock);
    m->clock = &m->stop_clock.clock;
    machine_requests_init(m);
    region_init(&m->sysmem, NULL, "system", UINT64_MAX);
    region_init(&m->sysio, NULL, "io", 0x10000);
    as_init(&m->as_mem, m, "memory", &m->sysmem);
    m->as_io.is_io = true;
    as_init(&m->as_io, m, "I/O", &m->sysio);
    m->root = device_new(m, &container_type, NULL, "machine");
    device_realize(m->root, NULL, &error_abort_slot);
    m->peripheral = add_container(m, m->root, "peripheral");
    m->unattached = add_container(m, m->root, "unattached");
    return m;
}

/* ---- building ---- */

bool machine_init_ram(Machine *m, const char *name, Error **errp)
{
    if (m->numa) {
        numa_map_ram(m, name);
        return true;
    }
    if (m->ram_given && m->ram_given->size != m->ram_size) {
        return error_set(errp,
                         "memory '%s' has %" G_GUINT64_FORMAT " bytes, and the machine %" G_GUINT64_FORMAT,
                         m->ram_given->name, m->ram_given->size, m->ram_size);
    }
    m->ram = m->ram_given ? ram_ref(m->ram_given) : ram_new(m, name, m->ram_size, errp);
    if (!m->ram) {
        return false;
    }
    region_init_ram(&m->ram_region, NULL, name, m->ram);
    return true;
}

static void advise_block(const RamBlock *ram, bool merge, bool dump)
{
    if (!dump && !ram->dump_given) {
        madvise(ram->host, ram->size, MADV_DONTDUMP);
    }
    if (merge && !ram->merge_given) {
        madvise(ram->host, ram->size, MADV_MERGEABLE); /* a host without KSM refuses: nothing is lost */
    }
}

void machine_advise_ram(Machine *m, bool merge, bool dump)
{
    if (!m->numa) {
        advise_block(m->ram, merge, dump);
    }
    for (unsigned i = 0; m->numa && i < m->numa->n; i++) {
        if (m->numa->node[i].ram) {
            advise_block(m->numa->node[i].ram, merge, dump);
        }
    }
}

static bool check_options(Machine *m, Error **errp)
{
    const BoardType *b = m->board;
    if (!b || !m->accel) {
        return error_fail(errp, "missing-member", NULL, "-machine and -accel name them",
                          "a machine needs a board and an accelerator");
    }
    unsigned cpus = MAX(m->n_cpus, m->max_cpus);
    if (b->max_cpus && cpus > b->max_cpus) {
        return error_fail(errp, "out-of-range", "cpus", "use a smaller -smp, or another machine type",
                          "machine '%s' takes at most %u CPUs, %u are asked for", b->name, b->max_cpus, cpus);
    }
    if (!m->ram_size) {
        m->ram_size = b->default_ram;
    }
    if (m->numa && !b->numa) {
        error_fail(errp, "not-supported", "numa", NULL, "machine '%s' has no NUMA nodes", b->name);
        error_hint(errp, "leave out -numa, or use another machine type");
        return false;
    }
    if (m->ram_size < b->min_ram || (b->max_ram && m->ram_size > b->max_ram)) {
        return error_fail(errp, "out-of-range", "size", "use another -m",
                          "machine '%s' takes %" G_GUINT64_FORMAT " to %" G_GUINT64_FORMAT
                          " MiB of memory, not %" G_GUINT64_FORMAT " bytes",
                          b->name, b->min_ram >> 20, b->max_ram >> 20, m->ram_size);
    }
    return true;
}

static void *new_state(const Prop *props, size_t size)
{
    void *s = size ? g_malloc0(size) : NULL;
    if (s) {
        props_init(props, s);
    }
    return s;
}

static void pick_clock(Machine *m)
{
    const Clock *c = m->clock_override;
    if (!c && m->icount.on) {
        c = icount_new(m);
    } else if (!c && m->accel->clock) {
        c = m->accel->clock(m);
    }
    m->clock = c ? c : &m->stop_clock.clock;
    machine_watch_loop(m, m->loop);
}

bool machine_build(Machine *m, Error **errp)
{
    role_assert_main();
    struct MachinePrivate *p = m->priv;
    g_assert(!p->built);
    if (!check_options(m, errp)) {
        return false;
    }
    p->built = true;
    /* -machine and -accel properties may have been set before: then the states exist. */
    m->board_state = m->board_state ? m->board_state : new_state(m->board->props, m->board->state_size);
    m->accel_state = m->accel_state ? m->accel_state : new_state(m->accel->props, m->accel->state_size);
    if (!icount_check(m, errp)) {
        return false;
    }
    if (m->accel->machine_init && !m->accel->machine_init(m, errp)) {
        return false;
    }
    p->accel_up = true;
    pick_clock(m);
    const TargetOps *t = m->board->target;
    const char *cpu = m->cpu_text ? m->cpu_text : t ? t->default_cpu : NULL;
    if (!t && m->cpu_text) {
        return error_fail(errp, "no-cpu", "cpu", "leave it out, or use -machine pc",
                          "machine '%s' has no CPU, so -cpu %s has no meaning", m->board->name, m->cpu_text);
    }
    if (t && t->model_parse && !t->model_parse(m, cpu, errp)) {
        error_member_default(errp, "cpu");
        return false;
    }
    return vcpus_create(m, errp) && (!m->board->init || m->board->init(m, errp));
}

static void reset_now(Machine *m, ResetKind kind)
{
    device_reset(m->root, kind);
    vcpus_reset(m, kind);
    if (m->board->reset) {
        m->board->reset(m, kind);
    }
}

bool machine_ready(Machine *m, Error **errp)
{
    role_assert_main();
    if (m->board->ready && !m->board->ready(m, errp)) {
        return false;
    }
    reset_now(m, RESET_COLD);
    m->priv->ready = true;
    return true;
}

void machine_free(Machine *m)
{
    role_assert_main();
    struct MachinePrivate *p = m->priv;
    p->quitting = true;
    jobs_end(m);
    vcpus_destroy(m);
    machine_clock_pause(m, true);
    iothreads_settle(m);
    mmio_posted_withdraw(m, NULL);
    p->ready = false;
    p->vcpus_made = false; /* no more calls into the accelerator */
    device_cut_lines(m->root);
    device_free_tree(m->root);
    m->root = m->peripheral = m->unattached = NULL;
    if (m->board && p->built && m->board->fini) {
        m->board->fini(m);
    }
    if (region_mapped(&m->ram_region)) {
        region_unmap(&m->ram_region);
    }
    numa_unmap_ram(m);
    region_fini(&m->ram_region);
    as_fini(&m->as_mem);
    as_fini(&m->as_io);
    region_fini(&m->sysmem);
    region_fini(&m->sysio);
    ram_unref(m->ram);
    ram_unref(m->ram_given);
    numa_free(m);
    icount_free(m);
    g_free(m->debug.points);
    vcpus_free(m);
    if (p->accel_up && m->accel->machine_fini) {
        m->accel->machine_fini(m);
    }
    if (m->cpu_model && m->board->target->model_free) {
        m->board->target->model_free(m);
    }
    rcu_barrier(); /* views and RAM blocks name the machine */
    rcu_barrier(); /* a freed view lets go of RAM, which is a second step */
    machine_requests_fini(m);
    if (m->board_state) {
        props_fini(m->board->props, m->board_state);
    }
    if (m->accel_state) {
        props_fini(m->accel->props, m->accel_state);
    }
    g_free(m->board_state);
    g_free(m->accel_state);
    iothreads_free(m);
    domain_free(m->platform);
    machine_free_options(m);
    g_list_free(p->ram_blocks);
    g_clear_pointer(&p->fds, g_hash_table_destroy);
    g_free(p->vcpu_threads);
    g_ptr_array_free(p->loops, TRUE);
    pthread_cond_destroy(&p->parked);
    pthread_mutex_destroy(&p->stop_lock);
    pthread_cond_destroy(&p->stop_changed);
    pthread_mutex_destroy(&p->park_lock);
    pthread_mutex_destroy(&p->lock);
    pthread_mutex_destroy(&p->topology);
    g_free(p);
    g_free(m);
}

void machine_free_options(Machine *m)
{
    char **texts[] = { &m->name,   &m->uuid, &m->cpu_text,   &m->kernel,    &m->initrd,
                       &m->append, &m->bios, &m->boot_order, &m->boot_once, &m->boot_splash };
    for (unsigned i = 0; i < G_N_ELEMENTS(texts); i++) {
        g_free(*texts[i]);
    }
    g_ptr_array_free(m->firmware_path, TRUE);
    g_ptr_array_free(m->fw_cfg_files, TRUE);
    g_ptr_array_free(m->globals, TRUE);
    g_ptr_array_free(m->serial_chardevs, TRUE);
    json_unref(m->smbios);
    g_slist_free(m->listeners);
}

/* ---- running ---- */

void machine_watch_loop(Machine *m, Loop *loop)
{
    GPtrArray *loops = m->priv->loops;
    for (guint i = 0; i < loops->len; i++) {
        if (loops->pdata[i] == loop) {
            return;
        }
    }
    g_ptr_array_add(loops, loop);
    loop_clock_pause(loop, m->clock, !machine_running(m) || m->priv->timers_held);
}

void machine_unwatch_loop(Machine *m, Loop *loop)
{
    g_ptr_array_remove(m->priv->loops, loop);
}

/* The virtual clock stops with the machine; every loop with timers on it hears so. */
void machine_clock_pause(Machine *m, bool paused)
{
    if (m->clock == &m->stop_clock.clock) {
        if (paused) {
            clock_stop_stop(&m->stop_clock);
        } else {
            clock_stop_start(&m->stop_clock);
        }
    }
    if (m->priv->icount) {
        icount_paused(m, paused);
    }
    for (guint i = 0; i < m->priv->loops->len; i++) {
        loop_clock_pause(m->priv->loops->pdata[i], m->clock, paused || m->priv->timers_held);
        loop_clock_changed(m->priv->loops->pdata[i], m->clock);
    }
}

void machine_set_state(Machine *m, RunState now)
{
    RunState was = m->state;
    if (was == now) {
        return;
    }
    trace_run_state(run_state_name(was), run_state_name(now));
    m->state = now;
    for (GSList *l = m->listeners, *next; l; l = next) {
        next = l->next;
        MachineListener *lis = l->data;
        if (lis->state) {
            lis->state(lis->opaque, was, now);
        }
    }
}

void machine_start(Machine *m)
{
    if (!machine_running(m)) {
        debug_release(m);
        machine_start_held(m);
    }
}

void machine_start_held(Machine *m)
{
    role_assert_main();
    if (machine_running(m) || m->priv->quitting) {
        return;
    }
    machine_set_state(m, RUN_RUNNING);
    machine_event(m, "RESUME", NULL);
    machine_clock_pause(m, false);
    vcpus_resume(m);
}

/* Posted work is no part of saved state: it is done before the machine counts as stopped. Devices that post
 * to each other without end are cut off; time stands still, so nothing they wait for can come. */
static void drain(Machine *m)
{
    for (unsigned i = 0; i < 1000; i++) {
        iothreads_settle(m); /* what had been posted there is done */
        bool writes = mmio_posted_flush(m);
        if (!device_run_tasks(m->root) && !writes) {
            return;
        }
    }
}

void machine_stop(Machine *m, RunState why)
{
    role_assert_main();
    bool was_running = machine_running(m);
    if (was_running) {
        vcpus_pause(m);
        machine_clock_pause(m, true);
        doorbells_flush(m);
        drain(m);
    }
    machine_set_state(m, why);
    if (was_running) {
        machine_event(m, "STOP", NULL);
    }
    /* Last, since waiting turns the main loop, on which others may ask for things. A completion may post
     * work, and ask for more: a disk's long transfer goes piece by piece. */
    for (unsigned i = 0; was_running && m->drain_backends && i < 2; i++) {
        m->drain_backends(m, false);
        drain(m);
    }
}

void machine_reset(Machine *m, ResetKind kind)
{
    static const char *const kinds[] = { "cold", "warm", "snapshot" };
    role_assert_main();
    bool running = machine_running(m);
    trace_machine_reset(kinds[kind], running);
    if (running) {
        vcpus_pause(m);
        doorbells_flush(m);
    }
    if (m->drain_backends) { /* what is in flight ends before the reset: it would write to memory after it */
        m->drain_backends(m, true);
        if (running) { /* waiting turned the main loop, where others may have started them again */
            vcpus_pause(m);
        }
    }
    reset_now(m, kind);
    if (running && machine_running(m)) {
        vcpus_resume(m);
    }
}

const char *run_state_name(RunState s)
{
    static const char *const names[] = { "prelaunch", "running", "paused", "shutdown", "guest-panicked",
                                         "internal-error", "io-error", "debug", "watchdog",
                                         "finish-migrate" };
    return s < G_N_ELEMENTS(names) ? names[s] : "unknown";
}
