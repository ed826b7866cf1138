/* SPDX-License-Identifier: MIT
 * monitor/gdb_cmd.c - what debuggers ask of a stopped machine: registers, memory, points, threads, resuming.
 * Models: GDB manual, appendix E.2 "Packets"; vCPU n is thread n + 1 of process 1.
 * Does not model: file, tracepoint and flash packets.
 * Threads: main loop; registers and address translation on the vCPU, between instructions.
 */
#include "gdb_internal.h"
#include "rhea/util/log.h"
#include <string.h>

/* ---- threads ---- */

void gdb_put_thread(GdbServer *s, unsigned cpu)
{
    g_string_append_printf(s->reply, s->multiprocess ? "p1.%x" : "%x", cpu + 1);
}

static bool thread_matches(GdbThread id, unsigned cpu)
{
    return id.process <= 1 && (id.thread <= 0 || id.thread == (int64_t)cpu + 1);
}

bool gdb_thread_cpu(const GdbServer *s, GdbThread id, unsigned *cpu)
{
    for (unsigned i = 0; i < s->m->n_cpus; i++) {
        if (thread_matches(id, i)) {
            *cpu = i;
            return true;
        }
    }
    return false;
}

/* ---- on the vCPU ---- */

typedef struct Job {
    GdbServer *s;
    Vcpu *cpu;
    void (*run)(struct Job *job);
    uint64_t addr;  /* or the number of a register */
    uint8_t *buf;
    size_t len, done;
    bool write;
} Job;

static void job_run(void *opaque)
{
    Job *j = opaque;
    const AccelOps *a = j->s->m->accel;
    if (a->regs_pull) {
        a->regs_pull(j->cpu);
    }
    j->run(j);
    if (j->write && a->regs_push) {
        a->regs_push(j->cpu);
    }
}

static void on_cpu(GdbServer *s, unsigned cpu, Job *j)
{
    j->s = s;
    j->cpu = s->m->cpus[cpu];
    vcpu_run_on_wait(j->cpu, job_run, j);
}

/* ---- registers ---- */

static void read_all(Job *j)
{
    const GdbArchOps *ops = j->cpu->target->gdb;
    uint8_t buf[GDB_REG_MAX];
    for (unsigned n = 0; n < ops->n_regs(j->cpu); n++) {
        gdb_put_hex(j->s->reply, buf, ops->read(j->cpu, n, buf));
    }
}

static void write_all(Job *j)
{
    const GdbArchOps *ops = j->cpu->target->gdb;
    for (unsigned n = 0; n < ops->n_regs(j->cpu) && j->done < j->len; n++) {
        uint8_t now[GDB_REG_MAX];
        unsigned size = ops->read(j->cpu, n, now);
        if (j->len - j->done < size) {
            return;
        }
        const uint8_t *val = j->buf + j->done;
        /* What did not change is not written: some values are refused, and some writes have effects. */
        if (memcmp(now, val, size) && !ops->write(j->cpu, n, val, size)) {
            return;
        }
        j->done += size;
    }
}

static void read_one(Job *j)
{
    j->len = j->addr <= UINT32_MAX ? j->cpu->target->gdb->read(j->cpu, (unsigned)j->addr, j->buf) : 0;
}

static void write_one(Job *j)
{
    const GdbArchOps *ops = j->cpu->target->gdb;
    j->done = j->addr <= UINT32_MAX ? ops->write(j->cpu, (unsigned)j->addr, j->buf, j->len) : 0;
}

static bool reply_ok(GdbServer *s, bool ok, unsigned code)
{
    if (ok) {
        g_string_append(s->reply, "OK");
    } else {
        gdb_error(s, code);
    }
    return true;
}

static bool cmd_read_all(GdbServer *s, const char *p)
{
    Job j = { .run = read_all };
    on_cpu(s, s->cpu, &j);
    return true;
}

static bool cmd_write_all(GdbServer *s, const char *p)
{
    uint8_t buf[GDB_PACKET_MAX / 2];
    Job j = { .run = write_all, .buf = buf, .len = gdb_get_hex(&p, buf, sizeof(buf)), .write = true };
    on_cpu(s, s->cpu, &j);
    return reply_ok(s, j.len && j.done == j.len && !*p, GDB_EINVAL);
}

static bool cmd_read_reg(GdbServer *s, const char *p)
{
    uint8_t buf[GDB_REG_MAX];
    Job j = { .run = read_one, .buf = buf };
    if (gdb_get_number(&p, &j.addr) && !*p) {
        on_cpu(s, s->cpu, &j);
    }
    if (j.len) {
        gdb_put_hex(s->reply, buf, j.len);
    } else {
        gdb_error(s, GDB_EINVAL);
    }
    return true;
}

static bool write_reg(GdbServer *s, unsigned cpu, uint64_t n, uint8_t *buf, size_t len)
{
    Job j = { .run = write_one, .addr = n, .buf = buf, .len = len, .write = true };
    on_cpu(s, cpu, &j);
    return j.done && j.done == len;
}

static bool cmd_write_reg(GdbServer *s, const char *p)
{
    uint8_t buf[GDB_REG_MAX];
    uint64_t n;
    bool ok = gdb_get_number(&p, &n) && gdb_get_char(&p, '=');
    size_t len = ok ? gdb_get_hex(&p, buf, sizeof(buf)) : 0;
    return reply_ok(s, len && !*p && write_reg(s, s->cpu, n, buf, len), GDB_EINVAL);
}

static bool set_pc(GdbServer *s, unsigned cpu, uint64_t pc)
{
    uint8_t buf[8];
    for (unsigned i = 0; i < 8; i++) {
        buf[i] = (uint8_t)(pc >> 8 * i);
    }
    return write_reg(s, cpu, s->m->cpus[cpu]->target->gdb->pc, buf, sizeof(buf));
}

/* ---- memory ---- */

static void access_memory(Job *j)
{
    AddressSpace *as = j->cpu->target->gdb->memory(j->cpu);
    while (j->done < j->len) {
        uint64_t at = j->addr + j->done;
        hwaddr pa = at;
        size_t n = MIN(j->len - j->done, RAM_PAGE_SIZE - (at & (RAM_PAGE_SIZE - 1)));
        if (!j->s->physical && !j->cpu->target->debug_translate(j->cpu, at, &pa)) {
            return;
        }
        if (as_access(as, pa, j->buf + j->done, n, j->write, (MemAttrs){ .debug = true }) != MEM_OK) {
            return;
        }
        j->done += n;
    }
}

static bool cmd_read_mem(GdbServer *s, const char *p)
{
    uint8_t buf[GDB_PACKET_MAX / 2];
    uint64_t addr, len;
    if (!gdb_get_range(&p, &addr, &len) || *p || len > sizeof(buf)) {
        gdb_error(s, GDB_EINVAL);
        return true;
    }
    Job j = { .run = access_memory, .addr = addr, .buf = buf, .len = len };
    on_cpu(s, s->cpu, &j);
    if (j.done || !len) {
        gdb_put_hex(s->reply, buf, j.done); /* less than was asked for: the rest is not there */
    } else {
        gdb_error(s, GDB_EFAULT);
    }
    return true;
}

static bool write_mem(GdbServer *s, uint64_t addr, uint8_t *buf, size_t len)
{
    Job j = { .run = access_memory, .addr = addr, .buf = buf, .len = len, .write = true };
    on_cpu(s, s->cpu, &j);
    return reply_ok(s, j.done == len, GDB_EFAULT);
}

static bool cmd_write_mem(GdbServer *s, const char *p)
{
    uint8_t buf[GDB_PACKET_MAX / 2];
    uint64_t addr, len;
    if (!gdb_get_range(&p, &addr, &len) || !gdb_get_char(&p, ':') || len > sizeof(buf) ||
        gdb_get_hex(&p, buf, len) != len || *p) {
        gdb_error(s, GDB_EINVAL);
        return true;
    }
    return write_mem(s, addr, buf, len);
}

static bool cmd_write_binary(GdbServer *s, const char *p)
{
    uint64_t addr, len;
    if (!gdb_get_range(&p, &addr, &len) || !gdb_get_char(&p, ':') ||
        len != s->in.len - (size_t)(p - s->in.data)) {
        gdb_error(s, GDB_EINVAL);
        return true;
    }
    return write_mem(s, addr, (uint8_t *)s->in.data + (p - s->in.data), len);
}

/* ---- points ---- */

static bool change_point(GdbServer *s, const char *p, bool add)
{
    uint64_t kind;
    DebugPoint point;
    Error *err = NULL;
    if (!gdb_get_number(&p, &kind) || !gdb_get_char(&p, ',') || !gdb_get_range(&p, &point.addr, &point.len) ||
        (*p && *p != ';')) {
        gdb_error(s, GDB_EINVAL);
        return true;
    }
    if (kind >= DEBUG_POINT_KINDS) {
        return true; /* "": not known */
    }
    point.kind = (DebugKind)kind;
    if (add ? debug_point_add(s->m, point, &err) : debug_point_remove(s->m, point, &err)) {
        g_string_append(s->reply, "OK");
        return true;
    }
    log_info("gdb: %s", error_text(err));
    error_free(err);
    gdb_error(s, GDB_EINVAL);
    return true;
}

static bool cmd_insert(GdbServer *s, const char *p) { return change_point(s, p, true); }
static bool cmd_remove(GdbServer *s, const char *p) { return change_point(s, p, false); }

/* ---- resuming ---- */

static DebugAction *new_actions(const GdbServer *s, DebugAction all)
{
    DebugAction *a = g_new(DebugAction, s->m->n_cpus);
    for (unsigned i = 0; i < s->m->n_cpus; i++) {
        a[i] = all;
    }
    return a;
}

/* c, s, C, S: everybody runs, and the chosen one steps. */
static bool resume_simply(GdbServer *s, const char *p, bool with_signal, bool step)
{
    uint64_t number, pc;
    bool ok = !with_signal || gdb_get_number(&p, &number);
    bool has_pc = ok && *p && (!with_signal || gdb_get_char(&p, ';'));
    ok = ok && (!has_pc || gdb_get_number(&p, &pc)) && !*p;
    ok = ok && (!has_pc || set_pc(s, s->resume_cpu, pc));
    if (!ok) {
        gdb_error(s, GDB_EINVAL);
        return true;
    }
    g_autofree DebugAction *a = new_actions(s, DEBUG_RUN);
    if (step) {
        a[s->resume_cpu] = DEBUG_RUN_ONE;
    }
    gdb_resume(s, a);
    return false;
}

static bool cmd_continue(GdbServer *s, const char *p) { return resume_simply(s, p, false, false); }
static bool cmd_continue_signal(GdbServer *s, const char *p) { return resume_simply(s, p, true, false); }
static bool cmd_step(GdbServer *s, const char *p) { return resume_simply(s, p, false, true); }
static bool cmd_step_signal(GdbServer *s, const char *p) { return resume_simply(s, p, true, true); }

/* ";ACTION[:THREAD]" any number of times: the leftmost that fits a thread counts. Others stay. */
static bool vcont_actions(GdbServer *s, const char *p, DebugAction *a)
{
    g_autofree bool *decided = g_new0(bool, s->m->n_cpus);
    bool any = false;
    while (gdb_get_char(&p, ';')) {
        GdbThread id = { GDB_ANY_ID, GDB_ALL_IDS };
        uint64_t number;
        char kind = *p;
        if (!kind || !strchr("cCsS", kind)) {
            return false;
        }
        p++;
        if ((kind == 'C' || kind == 'S') && !gdb_get_number(&p, &number)) {
            return false;
        }
        if (gdb_get_char(&p, ':') && !gdb_get_thread(&p, &id)) {
            return false;
        }
        for (unsigned i = 0; i < s->m->n_cpus; i++) {
            if (!decided[i] && thread_matches(id, i)) {
                decided[i] = any = true;
                a[i] = g_ascii_tolower(kind) == 's' ? DEBUG_RUN_ONE : DEBUG_RUN;
            }
        }
    }
    return any && !*p;
}

static bool cmd_vcont(GdbServer *s, const char *p)
{
    g_autofree DebugAction *a = new_actions(s, DEBUG_HOLD);
    if (!vcont_actions(s, p, a)) {
        gdb_error(s, GDB_EINVAL);
        return true;
    }
    gdb_resume(s, a);
    return false;
}

/* ---- the session ---- */

static void end_machine(GdbServer *s)
{
    log_info("ended by the debugger");
    machine_request_shutdown(s->m, SHUTDOWN_HOST_QUIT, 0);
}

static bool our_process(const char *p, bool optional)
{
    uint64_t pid;
    if (!*p && optional) {
        return true;
    }
    return gdb_get_char(&p, ';') && gdb_get_number(&p, &pid) && pid == 1 && !*p;
}

static bool cmd_v(GdbServer *s, const char *p)
{
    if (g_str_equal(p, "Cont?")) {
        g_string_append(s->reply, "vCont;c;C;s;S");
    } else if (g_str_has_prefix(p, "Cont;")) {
        return cmd_vcont(s, p + 4);
    } else if (g_str_has_prefix(p, "Attach;")) {
        if (our_process(p + 6, false)) {
            gdb_send_stop(s, false);
            return false;
        }
        gdb_error(s, GDB_ESRCH);
    } else if (g_str_has_prefix(p, "Kill;")) {
        bool ours = our_process(p + 4, false);
        reply_ok(s, ours, GDB_ESRCH);
        if (ours) {
            end_machine(s);
        }
    }
    return true; /* "" for all others, vMustReplyEmpty among them */
}

static bool cmd_kill(GdbServer *s, const char *p)
{
    end_machine(s);
    return false;
}

static bool cmd_detach(GdbServer *s, const char *p)
{
    if (!our_process(p, true)) {
        gdb_error(s, GDB_ESRCH);
        return true;
    }
    debug_end(s->m);
    gdb_send(s, "OK", 2);
    if (s->m->state == RUN_PRELAUNCH || s->m->state == RUN_PAUSED || s->m->state == RUN_DEBUG) {
        machine_start(s->m);
    }
    return false;
}

/* A debugger that has just come: nothing of one before is left. */
static bool cmd_why(GdbServer *s, const char *p)
{
    debug_points_clear(s->m);
    gdb_send_stop(s, false);
    return false;
}

static bool cmd_thread(GdbServer *s, const char *p)
{
    GdbThread id;
    unsigned cpu = 0;
    char what = *p;
    bool ok = what == 'g' || what == 'c';
    p += ok;
    ok = ok && gdb_get_thread(&p, &id) && !*p && gdb_thread_cpu(s, id, &cpu);
    if (ok && id.thread > 0) {
        *(what == 'g' ? &s->cpu : &s->resume_cpu) = cpu;
    }
    return reply_ok(s, ok, GDB_EINVAL);
}

static bool cmd_alive(GdbServer *s, const char *p)
{
    GdbThread id;
    unsigned cpu;
    bool ok = gdb_get_thread(&p, &id) && !*p && id.thread > 0;
    return reply_ok(s, ok && gdb_thread_cpu(s, id, &cpu), GDB_EINVAL);
}

static bool cmd_extended(GdbServer *s, const char *p)
{
    return reply_ok(s, true, 0);
}

bool gdb_handle_packet(GdbServer *s, const char *data, size_t len)
{
    static const struct {
        char name;
        bool alone; /* nothing follows */
        bool (*run)(GdbServer *s, const char *p); /* true: s->reply is the reply */
    } commands[] = {
        { '!', true, cmd_extended }, { '?', true, cmd_why },
        { 'C', false, cmd_continue_signal }, { 'D', false, cmd_detach },
        { 'G', false, cmd_write_all }, { 'H', false, cmd_thread },
        { 'M', false, cmd_write_mem }, { 'P', false, cmd_write_reg },
        { 'S', false, cmd_step_signal }, { 'T', false, cmd_alive },
        { 'X', false, cmd_write_binary }, { 'Z', false, cmd_insert },
        { 'c', false, cmd_continue }, { 'g', true, cmd_read_all },
        { 'k', true, cmd_kill }, { 'm', false, cmd_read_mem },
        { 'p', false, cmd_read_reg }, { 's', false, cmd_step },
        { 'v', false, cmd_v }, { 'z', false, cmd_remove },
    };
    /* Only the data of X is binary. */
    if (len && data[0] != 'X' && strlen(data) != len) {
        gdb_error(s, GDB_EINVAL);
        return true;
    }
    if (data[0] == 'q' || data[0] == 'Q') {
        return gdb_handle_query(s, data);
    }
    for (size_t i = 0; i < G_N_ELEMENTS(commands); i++) {
        if (len && commands[i].name == data[0] && (!commands[i].alone || len == 1)) {
            return commands[i].run(s, data + 1);
        }
    }
    return true; /* "": not known */
}
