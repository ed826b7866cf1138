/* SPDX-License-Identifier: MIT
 * monitor/gdb_server.c - connections of debuggers: bytes in and out, acknowledgment, stopping and resuming.
 * Models: GDB manual, appendix E "GDB Remote Serial Protocol", all-stop mode; docs/devel/gdbstub.md.
 * Does not model: non-stop mode, several debuggers at once.
 * Threads: main loop, no domain held.
 */
#include "gdb_internal.h"
#include "rhea/util/errorcode.h"
#include "rhea/util/log.h"
#include <string.h>

enum { PENDING_LIMIT = 1 << 20 };

/* ---- bytes out ---- */

static void gdb_writable(void *opaque);

static void flush_out(GdbServer *s)
{
    size_t n = char_write(&s->port, (const uint8_t *)s->out->str, s->out->len);
    g_string_erase(s->out, 0, (gssize)n);
    if (s->out->len) {
        char_notify_writable(&s->port, gdb_writable);
    }
}

static void gdb_writable(void *opaque)
{
    GdbServer *s = opaque;
    flush_out(s);
    char_accept_input(&s->port);
}

void gdb_send(GdbServer *s, const char *payload, size_t len)
{
    g_string_truncate(s->last, 0);
    gdb_put_packet(s->last, payload, len);
    g_string_append_len(s->out, s->last->str, (gssize)s->last->len);
    flush_out(s);
}

void gdb_error(GdbServer *s, unsigned code)
{
    g_string_printf(s->reply, "E%02x", code);
}

/* ---- stopping ---- */

/* Stopping waits for disks, which turns the main loop: others may end this connection there, ask for another
 * server, or start the machine again. False: there is nobody to answer any more. */
static bool stop_machine(GdbServer *s)
{
    unsigned session = s->session;
    bool was_busy = s->busy;
    if (machine_running(s->m)) {
        s->busy = true;
        machine_stop(s->m, RUN_PAUSED);
        s->busy = was_busy;
    }
    return s->session == session;
}

/* GDB's numbers of signals (include/gdb/signals.def in its manual's words: "as on most systems" up to 15). */
static unsigned signal_of(RunState state)
{
    switch (state) {
    case RUN_PAUSED: return 2;           /* SIGINT: somebody asked for it */
    case RUN_SHUTDOWN: return 3;         /* SIGQUIT */
    case RUN_GUEST_PANICKED:
    case RUN_INTERNAL_ERROR: return 6;   /* SIGABRT */
    default: return 5;                   /* SIGTRAP */
    }
}

static void put_reason(GdbServer *s, GString *t, DebugKind kind, uint64_t addr)
{
    switch (kind) {
    case DEBUG_WATCH_WRITE: g_string_append_printf(t, "watch:%" PRIx64 ";", addr); break;
    case DEBUG_WATCH_READ: g_string_append_printf(t, "rwatch:%" PRIx64 ";", addr); break;
    case DEBUG_WATCH_ACCESS: g_string_append_printf(t, "awatch:%" PRIx64 ";", addr); break;
    case DEBUG_BREAK_SOFT: g_string_append(t, s->tells_breaks ? "swbreak:;" : ""); break;
    case DEBUG_BREAK_HARD: g_string_append(t, s->tells_breaks ? "hwbreak:;" : ""); break;
    default: break;
    }
}

void gdb_send_stop(GdbServer *s, bool find_hit)
{
    g_autoptr(GString) t = g_string_new(NULL);
    DebugKind kind = DEBUG_STEP;
    uint64_t addr = 0;
    Vcpu *cpu = find_hit ? debug_take_hit(s->m, &kind, &addr) : NULL;
    if (cpu) {
        s->cpu = s->resume_cpu = cpu->index;
        s->signal = 5;
    }
    g_string_printf(t, "T%02x", s->signal);
    put_reason(s, t, kind, addr);
    g_string_append(t, "thread:");
    g_string_append_printf(t, s->multiprocess ? "p1.%x;" : "%x;", s->cpu + 1);
    gdb_send(s, t->str, t->len);
}

static void machine_state(void *opaque, RunState was, RunState now)
{
    GdbServer *s = opaque;
    if (now == RUN_RUNNING || !s->open) {
        return;
    }
    s->signal = signal_of(now);
    if (now == RUN_FINISHED) {
        g_autofree char *end = g_strdup_printf("W%02x", machine_exit_status(s->m) & 0xff);
        s->waiting = false;
        gdb_send(s, end, strlen(end));
    } else if (s->waiting) {
        s->waiting = false;
        gdb_send_stop(s, now == RUN_DEBUG);
    }
}

static bool must_be_reset(const Machine *m)
{
    return m->state == RUN_SHUTDOWN || m->state == RUN_INTERNAL_ERROR || m->state == RUN_GUEST_PANICKED ||
           m->state == RUN_FINISHED;
}

/* A watchpoint that a second vCPU hit while the first one's was told is told now: its instruction is done, it
 * will not come again. */
void gdb_resume(GdbServer *s, const DebugAction *action)
{
    bool late = false;
    debug_drop_repeatable(s->m);
    for (unsigned i = 0; i < s->m->n_cpus; i++) {
        late |= s->m->cpus[i]->debug.hit;
    }
    if (late || must_be_reset(s->m)) {
        s->signal = signal_of(s->m->state);
        gdb_send_stop(s, late);
        return;
    }
    s->waiting = true;
    debug_resume(s->m, action, s->sstep);
}

/* ---- bytes in ---- */

static void put_ack(GdbServer *s, char c)
{
    if (!s->no_ack) {
        g_string_append_c(s->out, c);
        flush_out(s);
    }
}

/* While the machine runs the debugger waits, or somebody else started it: then its packet, which asks of a
 * stopped machine, stops it. */
static void take_packet(GdbServer *s)
{
    unsigned session = s->session;
    bool answer = true;
    put_ack(s, '+');
    if (!stop_machine(s)) {
        return;
    }
    g_string_truncate(s->reply, 0);
    if (machine_running(s->m)) { /* again: somebody wants it to */
        gdb_error(s, GDB_EBUSY);
    } else {
        s->busy = true;
        answer = gdb_handle_packet(s, s->in.data, s->in.len) && s->session == session;
        s->busy = false;
    }
    if (answer) {
        gdb_send(s, s->reply->str, s->reply->len);
    }
}

static void gdb_receive(void *opaque, const uint8_t *buf, size_t len)
{
    GdbServer *s = opaque;
    unsigned session = s->session;
    for (size_t i = 0; i < len && s->session == session; i++) {
        switch (gdb_parser_byte(&s->in, buf[i])) {
        case GDB_PACKET: take_packet(s); break;
        case GDB_DAMAGED: put_ack(s, '-'); break;
        case GDB_NAK:
            if (!s->no_ack) {
                g_string_append_len(s->out, s->last->str, (gssize)s->last->len);
                flush_out(s);
            }
            break;
        case GDB_INTERRUPT: stop_machine(s); break;
        default: break;
        }
    }
}

/* What comes while the server is busy waits: the delivery that it is busy in goes on with it. */
static size_t gdb_room(void *opaque)
{
    GdbServer *s = opaque;
    return !s->busy && s->out->len < PENDING_LIMIT ? 4096 : 0;
}

static void session_reset(GdbServer *s)
{
    s->session++;
    s->no_ack = s->multiprocess = s->tells_breaks = s->physical = s->waiting = false;
    s->sstep = DEBUG_STEP_ON | DEBUG_STEP_NO_IRQ | DEBUG_STEP_NO_TIMER;
    s->cpu = s->resume_cpu = 0;
    s->signal = 5;
    s->in.state = GDB_IDLE;
    g_string_truncate(s->out, 0);
    g_string_truncate(s->last, 0);
}

static void gdb_event(void *opaque, CharEvent event)
{
    GdbServer *s = opaque;
    if (event == CHAR_OPENED && !s->open) {
        session_reset(s);
        s->open = true;
        if (machine_running(s->m) && stop_machine(s)) {
            s->signal = 5;
        }
    } else if (event == CHAR_CLOSED && s->open) {
        s->open = s->waiting = false;
        debug_end(s->m);
        session_reset(s);
    }
}

/* ---- the server ---- */

static bool has_option(const char *text, const char *name)
{
    g_auto(GStrv) parts = g_strsplit(text, ",", -1);
    for (char **p = parts + 1; parts[0] && *p; p++) {
        size_t n = strlen(name);
        if (!strncmp(*p, name, n) && (!(*p)[n] || (*p)[n] == '=')) {
            return true;
        }
    }
    return false;
}

/* "tcp:" alone is a server, as everybody writes it. */
static char *complete_device(const char *dev)
{
    GString *t = g_string_new(dev);
    if (g_str_has_prefix(dev, "tcp:") && !strstr(dev, ",server=off")) {
        g_string_append(t, has_option(dev, "server") ? "" : ",server=on");
        g_string_append(t, has_option(dev, "wait") || has_option(dev, "nowait") ? "" : ",wait=off");
        g_string_append(t, has_option(dev, "nodelay") || has_option(dev, "delay") ? "" : ",nodelay=on");
    }
    return g_string_free(t, FALSE);
}

static void server_free(GdbServer *s)
{
    debug_end(s->m);
    machine_remove_listener(s->m, &s->listener);
    char_detach(&s->port);
    if (s->chardev_id && chardev_find(s->m, s->chardev_id)) {
        chardev_remove(s->m, s->chardev_id, NULL);
    }
    g_free(s->chardev_id);
    g_free(s->device);
    g_string_free(s->out, TRUE);
    g_string_free(s->last, TRUE);
    g_string_free(s->reply, TRUE);
    g_free(s);
}

void gdb_server_stop(Machine *m)
{
    role_assert_main();
    if (m->gdb) {
        server_free(g_steal_pointer(&m->gdb));
    }
}

const char *gdb_server_device(const Machine *m)
{
    return m->gdb ? m->gdb->device : NULL;
}

static GdbServer *server_new(Machine *m, const char *dev, Error **errp)
{
    static const CharHandler handler = { .room = gdb_room, .receive = gdb_receive, .event = gdb_event,
                                         .answers = true };
    bool own = !g_str_has_prefix(dev, "chardev:");
    g_autofree char *text = complete_device(dev);
    Chardev *c = chardev_new_legacy(m, "gdb", text, errp);
    if (!c) {
        return NULL;
    }
    GdbServer *s = g_new0(GdbServer, 1);
    s->m = m;
    if (!chardev_connect(c, &s->port, errp)) {
        g_free(s);
        if (own) {
            chardev_remove(m, "gdb", NULL);
        }
        return NULL;
    }
    char_port_set_holder(&s->port, "the GDB server");
    s->device = g_strdup(dev);
    s->chardev_id = own ? g_strdup("gdb") : NULL;
    s->out = g_string_new(NULL);
    s->last = g_string_new(NULL);
    s->reply = g_string_new(NULL);
    s->console = (Monitor){ .machine = m, .dump_format = 'x', .dump_size = 4 };
    s->listener = (MachineListener){ .state = machine_state, .opaque = s };
    session_reset(s);
    machine_add_listener(m, &s->listener);
    char_attach(&s->port, &handler, s, NULL);
    return s;
}

bool gdb_server_start(Machine *m, const char *dev, Error **errp)
{
    role_assert_main();
    if (m->gdb && m->gdb->busy) {
        return error_fail(errp, "in-use", NULL, "use another monitor, when it has done that",
                          "the GDB server cannot be changed while it does what its debugger asked for");
    }
    if (!g_str_equal(dev, "none") && !debug_supported(m, errp)) {
        return false;
    }
    gdb_server_stop(m);
    if (g_str_equal(dev, "none")) {
        return true;
    }
    m->gdb = server_new(m, dev, errp);
    return m->gdb != NULL;
}
