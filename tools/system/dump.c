/* SPDX-License-Identifier: MIT
 * tools/system/dump.c - guest memory in a file: dump-guest-memory, query-dump, info dump.
 *
 * Models: QEMU 7.2's commands of these names. The machine stands while a thread writes; the main loop turns,
 * also when the client waits for the result. The end of the program ends the dump, with an error. Does not
 * model: kdump with LZO or snappy, Windows' dumps; the machine is "paused" meanwhile, not "save-vm". Threads:
 * main loop; dump_thread() reads guest memory, which nobody takes away meanwhile, and writes.
 */
#include "dump.h"
#include "cli.h"
#include "rhea/system/busy.h"
#include "rhea/system/host.h"
#include "rhea/target/x86/coredump.h"
#include "rhea/util/errorcode.h"
#include "rhea/util/fdset.h"
#include "rhea/util/text.h"
#include "schema/qmp-dump.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Guests can make page tables that map more than any machine has. */
enum { MAPPINGS_MAX = 1 << 20, POLL_MS = 200 };

typedef struct DumpJob {
    Machine *m;
    DumpPlan plan;
    DumpGuestMemoryFormat format;
    GThread *thread;
    Task ended;
    Error *err;
    bool resume; /* the machine ran */
    MachineListener listener;
} DumpJob;

static DumpJob *active;      /* NULL: none is being written */
static DumpQueryResult last; /* of the one that was */

/* ---- for the writers ---- */

void dump_number(GByteArray *out, uint64_t val, unsigned width)
{
    val = GUINT64_TO_LE(val);
    g_byte_array_append(out, (const uint8_t *)&val, width);
}

void dump_zeros(GByteArray *out, size_t n)
{
    guint at = out->len;
    g_byte_array_set_size(out, (guint)(at + n));
    memset(out->data + at, 0, n);
}

void dump_progress(DumpPlan *p, uint64_t bytes)
{
    __atomic_add_fetch(&p->done, bytes, __ATOMIC_RELAXED);
}

static bool cancelled(const DumpPlan *p)
{
    return __atomic_load_n(&p->cancel, __ATOMIC_RELAXED);
}

/* Nobody may be reading a pipe: so that a dump can be ended, no more is written than there is room for. */
static bool has_room(const DumpPlan *p)
{
    struct pollfd f = { .fd = p->fd, .events = POLLOUT };
    return p->regular || poll(&f, 1, POLL_MS) > 0;
}

bool dump_put(DumpPlan *p, const void *data, size_t len, Error **errp)
{
    const uint8_t *at = data;
    while (len) {
        if (cancelled(p)) {
            return error_fail(errp, "interrupted", NULL, "dump again",
                              "the program ended before the dump was complete");
        }
        if (!has_room(p)) {
            continue;
        }
        ssize_t n = write(p->fd, at, p->regular ? len : MIN(len, (size_t)PIPE_BUF));
        if (n < 0 && errno != EINTR && errno != EAGAIN) {
            return error_set_errno(errp, errno, "could not write the dump");
        }
        at += MAX(n, 0);
        len -= (size_t)MAX(n, 0);
    }
    return true;
}

/* ---- what is to be written ---- */

static void drop_range(void *range)
{
    ram_unref(((DumpRange *)range)->ram);
}

static void plan_fini(DumpPlan *p)
{
    g_array_free(p->ranges, TRUE);
    g_array_free(p->mappings, TRUE);
    g_byte_array_free(p->notes, TRUE);
    if (p->fd >= 0) {
        fdset_close(p->fd);
    }
}

static void add_range(DumpPlan *p, const FlatRange *f, uint64_t begin, uint64_t end)
{
    uint64_t from = MAX(f->start, begin), to = MIN(f->start + f->size, end);
    if (!f->host || !f->ram || from >= to) {
        return;
    }
    DumpRange r = { .start = from, .size = to - from, .host = f->host + (from - f->start), .ram = f->ram };
    DumpRange *before = p->ranges->len ? &g_array_index(p->ranges, DumpRange, p->ranges->len - 1) : NULL;
    p->total += r.size;
    if (before && before->ram == r.ram && before->start + before->size == r.start &&
        before->host + before->size == r.host) {
        before->size += r.size;
    } else {
        ram_ref(r.ram);
        g_array_append_val(p->ranges, r);
    }
}

static void find_memory(Machine *m, DumpPlan *p, uint64_t begin, uint64_t end)
{
    rcu_read_lock();
    const FlatView *v = as_view(&m->as_mem);
    for (uint32_t i = 0; i < v->n; i++) {
        add_range(p, &v->r[i], begin, end);
    }
    rcu_read_unlock();
}

typedef struct Collect {
    Vcpu *cpu;
    GArray *mappings; /* DumpMapping */
    bool ok;
} Collect;

static bool collect_leaf(void *opaque, const X86Leaf *leaf)
{
    GArray *a = ((Collect *)opaque)->mappings;
    DumpMapping *before = a->len ? &g_array_index(a, DumpMapping, a->len - 1) : NULL;
    if (!leaf->size) {
        return true;
    }
    if (before && before->lin + before->size == leaf->lin && before->phys + before->size == leaf->frame) {
        before->size += leaf->size;
        return true;
    }
    DumpMapping more = { leaf->lin, leaf->frame, leaf->size };
    g_array_append_val(a, more);
    return a->len < MAPPINGS_MAX;
}

static void collect(void *opaque)
{
    Collect *c = opaque;
    c->ok = x86_each_leaf(c->cpu, collect_leaf, c);
}

static int by_address(gconstpointer a, gconstpointer b)
{
    const DumpMapping *x = a, *y = b;
    return x->lin != y->lin ? (x->lin > y->lin) - (x->lin < y->lin)
                            : (x->phys > y->phys) - (x->phys < y->phys);
}

/* The parts of a mapping that are memory, and in the dump. */
static bool clip(DumpPlan *p, const DumpMapping *m)
{
    for (unsigned i = 0; i < p->ranges->len && p->mappings->len < MAPPINGS_MAX; i++) {
        const DumpRange *r = &g_array_index(p->ranges, DumpRange, i);
        uint64_t from = MAX(r->start, m->phys), to = MIN(r->start + r->size, m->phys + m->size);
        if (from < to) {
            DumpMapping part = { m->lin + (from - m->phys), from, to - from };
            g_array_append_val(p->mappings, part);
        }
    }
    return p->mappings->len < MAPPINGS_MAX;
}

/* CPUs share most of what they map. */
static bool add_clipped(DumpPlan *p, GArray *found)
{
    const DumpMapping *before = NULL;
    g_array_sort(found, by_address);
    for (unsigned i = 0; i < found->len; i++) {
        const DumpMapping *m = &g_array_index(found, DumpMapping, i);
        if ((!before || memcmp(before, m, sizeof(*m))) && !clip(p, m)) {
            return false;
        }
        before = m;
    }
    return true;
}

static bool find_mappings(Machine *m, DumpPlan *p, Error **errp)
{
    g_autoptr(GArray) found = g_array_new(FALSE, FALSE, sizeof(DumpMapping));
    Collect c = { .mappings = found, .ok = true };
    for (unsigned i = 0; i < m->n_cpus && c.ok; i++) {
        c.cpu = m->cpus[i];
        vcpu_run_on_wait(c.cpu, collect, &c);
    }
    if (!c.ok || !add_clipped(p, found)) {
        error_fail(errp, "too-many", "paging", NULL,
                   "the guest's page tables map more than %d ranges", MAPPINGS_MAX);
        error_hint(errp, "use paging=false");
        return false;
    }
    return true;
}

/* Each range once, under its physical address. */
static void add_plain(DumpPlan *p)
{
    for (unsigned i = 0; i < p->ranges->len; i++) {
        const DumpRange *r = &g_array_index(p->ranges, DumpRange, i);
        DumpMapping plain = { r->start, r->start, r->size };
        g_array_append_val(p->mappings, plain);
    }
}

typedef struct Describe {
    Vcpu *cpu;
    DumpPlan *plan;
    bool state; /* the note that debuggers of kernels read, or the one for all */
} Describe;

static void describe(void *opaque)
{
    Describe *d = opaque;
    if (d->state) {
        x86_dump_state(d->cpu, d->plan->notes);
    } else {
        x86_dump_prstatus(d->cpu, d->cpu->index + 1, d->plan->is_long, d->plan->notes);
    }
}

static void ask_long(void *opaque)
{
    Describe *d = opaque;
    d->plan->is_long = x86_dump_is_long(d->cpu);
}

static void find_registers(Machine *m, DumpPlan *p)
{
    Describe d = { .plan = p, .cpu = m->cpus[0] };
    vcpu_run_on_wait(d.cpu, ask_long, &d);
    for (unsigned pass = 0; pass < 2; pass++) {
        d.state = pass;
        for (unsigned i = 0; i < m->n_cpus; i++) {
            d.cpu = m->cpus[i];
            vcpu_run_on_wait(d.cpu, describe, &d);
        }
    }
    const DumpRange *top = &g_array_index(p->ranges, DumpRange, p->ranges->len - 1);
    p->wide = p->is_long || top->start + top->size > UINT32_MAX;
    p->n_cpus = m->n_cpus;
}

/* The machine stands. */
static bool make_plan(Machine *m, DumpPlan *p, const DumpGuestMemoryArgs *a, Error **errp)
{
    uint64_t begin = a->has_begin ? (uint64_t)a->begin : 0;
    uint64_t end = a->has_begin ? begin + (uint64_t)a->length : UINT64_MAX;
    find_memory(m, p, begin, end);
    if (!p->ranges->len) {
        error_set(errp, "there is no memory at [0x%" G_GINT64_MODIFIER "x, 0x%" G_GINT64_MODIFIER "x)", begin,
                  end);
        error_hint(errp, "'info mtree -f' shows where memory is");
        error_set_code(errp, "out-of-range", "begin");
        return false;
    }
    find_registers(m, p);
    dump_add_vmcoreinfo(m, p);
    if (a->paging && !find_mappings(m, p, errp)) {
        return false;
    }
    if (!p->mappings->len) {
        add_plain(p);
    }
    return true;
}

/* ---- one dump ---- */

static void *dump_thread(void *opaque)
{
    DumpJob *j = opaque;
    if (j->format == DUMP_GUEST_MEMORY_FORMAT_ELF) {
        dump_write_elf(&j->plan, &j->err);
    } else {
        dump_write_kdump(&j->plan, &j->err);
    }
    loop_post(j->m->loop, &j->ended);
    return NULL;
}

static DumpQueryResult progress(const DumpJob *j)
{
    return (DumpQueryResult){ .status = DUMP_STATUS_ACTIVE,
                              .completed = (int64_t)__atomic_load_n(&j->plan.done, __ATOMIC_RELAXED),
                              .total = (int64_t)__atomic_load_n(&j->plan.total, __ATOMIC_RELAXED) };
}

static void tell_end(DumpJob *j)
{
    Json *data = json_put(json_new_object(), "result", type_encode(&dump_query_result_type, &last));
    if (j->err) {
        json_put(data, "error", json_new_string(error_text(j->err)));
    }
    machine_event(j->m, "DUMP_COMPLETED", data);
}

/* j->err stays for who waits; the job is the caller's. */
static void finish(DumpJob *j)
{
    Machine *m = j->m;
    g_thread_join(j->thread);
    last = progress(j);
    last.status = j->err ? DUMP_STATUS_FAILED : DUMP_STATUS_COMPLETED;
    active = NULL;
    machine_remove_listener(m, &j->listener);
    machine_set_busy(m, NULL);
    plan_fini(&j->plan);
    tell_end(j);
    if (j->resume && m->state == RUN_PAUSED) {
        machine_start(m);
    }
}

static void job_free(DumpJob *j)
{
    error_free(j->err);
    g_free(j);
}

/* Nobody waits: with `detach`. */
static void finish_detached(void *opaque)
{
    finish(opaque);
    job_free(opaque);
}

static void finish_waited(void *opaque)
{
    finish(opaque);
}

static void on_event(void *opaque, const char *name, const Json *data)
{
    DumpJob *j = opaque;
    if (g_str_equal(name, "SHUTDOWN")) { /* the program ends: who waits for a reader would keep it */
        __atomic_store_n(&j->plan.cancel, true, __ATOMIC_RELAXED);
    }
}

void dump_end(Machine *m)
{
    if (active && active->m == m) {
        DumpJob *j = active;
        __atomic_store_n(&j->plan.cancel, true, __ATOMIC_RELAXED);
        while (active == j) {
            loop_turn(m->loop, true);
        }
    }
}

static int open_target(Machine *m, const char *protocol, Error **errp)
{
    const int flags = O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC;
    if (g_str_has_prefix(protocol, "fd:")) {
        int fd = machine_fd_take(m, protocol + 3, errp);
        error_set_code(errp, "not-found", "protocol");
        return fd;
    }
    if (!g_str_has_prefix(protocol, "file:")) {
        error_fail(errp, "invalid-value", "protocol", "for example file:guest.core",
                   "'protocol' must be file:PATH or fd:NAME, not '%s'", protocol);
        return -1;
    }
    int fd = fdset_open(protocol + 5, flags, 0600); /* a guest's memory has its secrets */
    if (fd < 0) {
        int err = errno;
        error_set_errno(errp, err, "could not open '%s'", protocol + 5);
        fdset_hint(protocol + 5, flags, err, errp);
        error_member_default(errp, "protocol");
    }
    return fd;
}

static bool check_format(const DumpGuestMemoryArgs *a, Error **errp)
{
    static const char *const missing[] = {
        [DUMP_GUEST_MEMORY_FORMAT_KDUMP_LZO] = "format=kdump-lzo is not there: this program has no LZO",
        [DUMP_GUEST_MEMORY_FORMAT_KDUMP_SNAPPY] =
            "format=kdump-snappy is not there: this program has no snappy",
        [DUMP_GUEST_MEMORY_FORMAT_WIN_DMP] = "format=win-dmp is not there: Windows' structures are not known",
    };
    DumpGuestMemoryFormat f = a->has_format ? a->format : DUMP_GUEST_MEMORY_FORMAT_ELF;
    if (f < G_N_ELEMENTS(missing) && missing[f]) {
        return error_fail(errp, "not-supported", "format", "use elf or kdump-zlib", "%s", missing[f]);
    }
    if (f != DUMP_GUEST_MEMORY_FORMAT_ELF && (a->paging || a->has_begin || a->has_length)) {
        return error_fail(errp, "not-supported", a->paging ? "paging" : "begin",
                          "use format=elf, or leave out paging, begin and length",
                          "compressed dumps have all of the memory, by physical addresses");
    }
    return true;
}

static bool check(Machine *m, const DumpGuestMemoryArgs *a, Error **errp)
{
    if (active) {
        error_fail(errp, "busy", NULL, NULL, "a dump is being written already");
        error_hint(errp, "wait for DUMP_COMPLETED; query-dump tells how far it is");
        return false;
    }
    if (!m->cpus || !m->n_cpus) {
        return error_fail(errp, "no-cpu", NULL, "use a machine type that has one, such as pc",
                          "this machine has no CPU");
    }
    if (a->has_begin != a->has_length) {
        return error_fail(errp, "missing-member", a->has_begin ? "length" : "begin",
                          "give both, or neither for all memory", "'begin' and 'length' go together");
    }
    if (a->has_begin && (a->begin < 0 || a->length <= 0)) {
        return error_fail(errp, "out-of-range", a->begin < 0 ? "begin" : "length",
                          "give both, or neither for all memory",
                          "'begin' must not be negative, and 'length' must be positive");
    }
    return check_format(a, errp);
}

/* The job has what `plan` says, or the machine goes on as if nothing had been. */
static DumpJob *start(Machine *m, const DumpGuestMemoryArgs *a, int fd, Error **errp)
{
    struct stat st;
    DumpJob *j = g_new0(DumpJob, 1);
    *j = (DumpJob){ .m = m, .resume = machine_running(m) };
    j->format = a->has_format ? a->format : DUMP_GUEST_MEMORY_FORMAT_ELF;
    j->plan.fd = fd;
    j->plan.regular = fstat(fd, &st) == 0 && S_ISREG(st.st_mode);
    j->plan.ranges = g_array_new(FALSE, FALSE, sizeof(DumpRange));
    g_array_set_clear_func(j->plan.ranges, drop_range);
    j->plan.mappings = g_array_new(FALSE, FALSE, sizeof(DumpMapping));
    j->plan.notes = g_byte_array_new();
    j->ended = (Task){ .run = a->has_detach && a->detach ? finish_detached : finish_waited, .opaque = j };
    if (j->resume) {
        machine_stop(m, RUN_PAUSED);
    }
    if (!make_plan(m, &j->plan, a, errp)) {
        plan_fini(&j->plan);
        if (j->resume) {
            machine_start(m);
        }
        job_free(j);
        return NULL;
    }
    j->listener = (MachineListener){ .event = on_event, .opaque = j };
    machine_add_listener(m, &j->listener);
    machine_set_busy(m, "a dump of guest memory is being written");
    active = j;
    j->thread = g_thread_new("dump", dump_thread, j);
    return j;
}

bool qmp_dump_guest_memory(QmpCall *call, const DumpGuestMemoryArgs *args, Error **errp)
{
    Machine *m = call->machine;
    int fd = check(m, args, errp) ? open_target(m, args->protocol, errp) : -1;
    DumpJob *j = fd >= 0 ? start(m, args, fd, errp) : NULL;
    if (!j || (args->has_detach && args->detach)) {
        return j != NULL;
    }
    while (active == j) {
        loop_turn(m->loop, true);
    }
    bool ok = !j->err || error_propagate(errp, g_steal_pointer(&j->err));
    job_free(j);
    return ok;
}

bool qmp_query_dump(QmpCall *call, DumpQueryResult *ret, Error **errp)
{
    *ret = active ? progress(active) : last;
    return true;
}

bool qmp_query_dump_guest_memory_capability(QmpCall *call, DumpGuestMemoryCapability *ret, Error **errp)
{
    ret->formats.n = 2;
    ret->formats.items = g_malloc0_n(2, sizeof(*ret->formats.items));
    ret->formats.items[0] = DUMP_GUEST_MEMORY_FORMAT_ELF;
    ret->formats.items[1] = DUMP_GUEST_MEMORY_FORMAT_KDUMP_ZLIB;
    return true;
}

/* ---- the human monitor ---- */

static bool take_format(int *argc, char ***argv, DumpGuestMemoryArgs *a)
{
    static const struct {
        const char *flag;
        DumpGuestMemoryFormat format;
    } formats[] = {
        { "-z", DUMP_GUEST_MEMORY_FORMAT_KDUMP_ZLIB },
        { "-l", DUMP_GUEST_MEMORY_FORMAT_KDUMP_LZO },
        { "-s", DUMP_GUEST_MEMORY_FORMAT_KDUMP_SNAPPY },
        { "-w", DUMP_GUEST_MEMORY_FORMAT_WIN_DMP },
    };
    for (size_t i = 0; i < G_N_ELEMENTS(formats); i++) {
        if (hmp_take_flag(argc, argv, formats[i].flag)) {
            a->has_format = true;
            a->format = formats[i].format;
            return true;
        }
    }
    return false;
}

static void hmp_dump(Monitor *mon, Machine *m, int argc, char **argv, GString *out)
{
    DumpGuestMemoryArgs a = { .has_detach = true };
    Error *err = NULL;
    uint64_t begin = 0, length = 0;
    for (bool any = true; any;) {
        bool paging = hmp_take_flag(&argc, &argv, "-p"), detach = hmp_take_flag(&argc, &argv, "-d");
        a.paging |= paging;
        a.detach |= detach;
        any = take_format(&argc, &argv, &a) || paging || detach;
    }
    bool part = argc == 4;
    if ((argc != 2 && !part) ||
        (part && (!text_to_u64(argv[2], &begin, NULL) || !text_to_u64(argv[3], &length, NULL)))) {
        g_string_append(
            out, "dump-guest-memory: [-p] [-d] [-z], a file and perhaps the first physical address and a "
                 "number of bytes are expected\n");
        return;
    }
    g_autofree char *protocol = g_strdup_printf("file:%s", argv[1]);
    a.protocol = protocol;
    a.has_begin = a.has_length = part;
    a.begin = (int64_t)MIN(begin, (uint64_t)INT64_MAX);
    a.length = (int64_t)MIN(length, (uint64_t)INT64_MAX);
    if (!qmp_dump_guest_memory(&(QmpCall){ .machine = m }, &a, &err)) {
        hmp_say_error(out, err);
    }
}

static void info_dump(Monitor *mon, Machine *m, int argc, char **argv, GString *out)
{
    DumpQueryResult r = active ? progress(active) : last;
    g_string_append_printf(out, "Status: %s\n", dump_status_names[r.status]);
    if (r.status == DUMP_STATUS_ACTIVE) {
        g_string_append_printf(out, "Finished: %.2f %%\n",
                               100.0 * (double)r.completed / (double)MAX(r.total, 1));
    }
}

static const HmpCommand dump_info[] = {
    { "dump", "", "show how far the last dump of guest memory is", info_dump },
    { 0 },
};

const HmpCommand hmp_dump_commands[] = {
    { "dump-guest-memory", "[-p] [-d] [-z] FILE [BEGIN LENGTH]",
      "write guest memory to a core file (-p: with virtual addresses; -d: in the background; -z: compressed)",
      hmp_dump },
    { "info", "[SUBCOMMAND]", "show the state of the machine", NULL, dump_info },
    { 0 },
};
