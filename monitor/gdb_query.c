/* SPDX-License-Identifier: MIT
 * monitor/gdb_query.c - the q and Q packets: features, target description, threads, monitor commands, and
 *   what QEMU adds.
 * Models: GDB manual, appendix E.4 "General Query Packets"; qqemu.sstepbits, qqemu.sstep, qqemu.PhyMemMode as
 *   QEMU's users know them.
 * Does not model: non-stop mode, symbols, tracepoints.
 * Threads: main loop.
 */
#include "gdb_internal.h"
#include "rhea/util/text.h"
#include <string.h>

static bool query_supported(GdbServer *s, const char *p)
{
    g_auto(GStrv) offers = g_strsplit(p, ";", -1);
    bool soft = false, hard = false;
    for (char **o = offers; *o; o++) {
        s->multiprocess |= g_str_equal(*o, "multiprocess+");
        soft |= g_str_equal(*o, "swbreak+");
        hard |= g_str_equal(*o, "hwbreak+");
    }
    s->tells_breaks = soft && hard;
    g_string_append_printf(s->reply, "PacketSize=%x;QStartNoAckMode+;qXfer:features:read+;vContSupported+;"
                                     "multiprocess+;swbreak+;hwbreak+", GDB_PACKET_MAX);
    return true;
}

/* ANNEX:OFFSET,LENGTH */
static bool query_features(GdbServer *s, const char *p)
{
    const char *colon = strchr(p, ':');
    const Vcpu *cpu = s->m->cpus[s->cpu];
    uint64_t off, len;
    if (!colon) {
        gdb_error(s, 0);
        return true;
    }
    g_autofree char *annex = g_strndup(p, (gsize)(colon - p));
    g_autoptr(GString) text = g_string_new(NULL);
    p = colon + 1;
    if (!gdb_get_range(&p, &off, &len) || *p || !cpu->target->gdb->description(cpu, annex, text) ||
        off > text->len) {
        gdb_error(s, 0); /* E00: a request that cannot be understood, or no such annex */
        return true;
    }
    uint64_t left = text->len - off, n = MIN(left, MIN(len, GDB_PACKET_MAX / 2 - 8));
    g_string_append_c(s->reply, n < left ? 'm' : 'l');
    gdb_put_binary(s->reply, text->str + off, n);
    return true;
}

static bool query_threads(GdbServer *s, const char *p)
{
    for (unsigned i = 0; i < s->m->n_cpus; i++) {
        g_string_append_c(s->reply, i ? ',' : 'm');
        gdb_put_thread(s, i);
    }
    return true;
}

static bool query_more_threads(GdbServer *s, const char *p)
{
    g_string_append_c(s->reply, 'l'); /* the first reply held all */
    return true;
}

static bool query_thread_info(GdbServer *s, const char *p)
{
    GdbThread id;
    unsigned cpu;
    if (!gdb_get_thread(&p, &id) || *p || id.thread <= 0 || !gdb_thread_cpu(s, id, &cpu)) {
        gdb_error(s, GDB_EINVAL);
        return true;
    }
    char text[64];
    const char *state = s->m->cpus[cpu]->halted ? "halted" : "running";
    int n = g_snprintf(text, sizeof(text), "CPU#%u [%s]", cpu, state);
    gdb_put_hex(s->reply, text, (size_t)n);
    return true;
}

static bool query_current(GdbServer *s, const char *p)
{
    g_string_append(s->reply, "QC");
    gdb_put_thread(s, s->cpu);
    return true;
}

/* Attached to, not started: `quit` detaches, the machine goes on. */
static bool query_attached(GdbServer *s, const char *p)
{
    g_string_append_c(s->reply, '1');
    return true;
}

/* A command of the human monitor, in hexadecimal. */
static bool query_command(GdbServer *s, const char *p)
{
    enum { PIECE = GDB_PACKET_MAX / 2 - 8, LINE = 4096 };
    uint8_t line[LINE + 1];
    size_t n = gdb_get_hex(&p, line, LINE);
    line[n] = 0;
    if (*p || !n || memchr(line, 0, n)) {
        gdb_error(s, GDB_EINVAL);
        return true;
    }
    g_autoptr(GString) text = g_string_new(NULL), packet = g_string_new(NULL);
    monitor_run_line(&s->console, s->m, (char *)line, text);
    for (size_t at = 0; at < text->len; at += PIECE) {
        g_string_assign(packet, "O");
        gdb_put_hex(packet, text->str + at, MIN(text->len - at, (size_t)PIECE));
        gdb_send(s, packet->str, packet->len);
    }
    g_string_append(s->reply, "OK");
    return true;
}

static bool query_no_ack(GdbServer *s, const char *p)
{
    s->no_ack = true;
    g_string_append(s->reply, "OK");
    return true;
}

/* ---- what QEMU has beyond GDB's manual ---- */

static bool query_extensions(GdbServer *s, const char *p)
{
    g_string_append(s->reply, "sstepbits;sstep;PhyMemMode");
    return true;
}

static bool query_step_bits(GdbServer *s, const char *p)
{
    g_string_append_printf(s->reply, "ENABLE=%x,NOIRQ=%x,NOTIMER=%x", DEBUG_STEP_ON, DEBUG_STEP_NO_IRQ,
                           DEBUG_STEP_NO_TIMER);
    return true;
}

static bool query_step(GdbServer *s, const char *p)
{
    g_string_append_printf(s->reply, "0x%x", s->sstep);
    return true;
}

static bool set_step(GdbServer *s, const char *p)
{
    uint64_t v;
    if (p[0] == '0' && p[1] == 'x') {
        p += 2;
    }
    const uint64_t known = DEBUG_STEP_ON | DEBUG_STEP_NO_IRQ | DEBUG_STEP_NO_TIMER;
    if (!gdb_get_number(&p, &v) || *p || v & ~known) {
        gdb_error(s, GDB_EINVAL);
        return true;
    }
    s->sstep = (unsigned)v;
    g_string_append(s->reply, "OK");
    return true;
}

static bool query_physical(GdbServer *s, const char *p)
{
    g_string_append_c(s->reply, s->physical ? '1' : '0');
    return true;
}

static bool set_physical(GdbServer *s, const char *p)
{
    if (!g_str_equal(p, "0") && !g_str_equal(p, "1")) {
        gdb_error(s, GDB_EINVAL);
        return true;
    }
    s->physical = *p == '1';
    g_string_append(s->reply, "OK");
    return true;
}

bool gdb_handle_query(GdbServer *s, const char *data)
{
    static const struct {
        const char *name; /* a last ':' or ',' may have something behind it */
        bool (*run)(GdbServer *s, const char *p);
    } queries[] = {
        { "qSupported", query_supported }, { "qSupported:", query_supported },
        { "qXfer:features:read:", query_features }, { "qfThreadInfo", query_threads },
        { "qsThreadInfo", query_more_threads }, { "qThreadExtraInfo,", query_thread_info },
        { "qC", query_current }, { "qAttached", query_attached },
        { "qAttached:", query_attached }, { "qRcmd,", query_command },
        { "QStartNoAckMode", query_no_ack }, { "qqemu.Supported", query_extensions },
        { "qqemu.sstepbits", query_step_bits }, { "qqemu.sstep", query_step },
        { "Qqemu.sstep=", set_step }, { "Qqemu.sstep:", set_step },
        { "qqemu.PhyMemMode", query_physical }, { "Qqemu.PhyMemMode:", set_physical },
    };
    for (size_t i = 0; i < G_N_ELEMENTS(queries); i++) {
        size_t n = strlen(queries[i].name);
        char last = queries[i].name[n - 1];
        if (!strncmp(data, queries[i].name, n) && (!data[n] || last == ':' || last == ',' || last == '=')) {
            return queries[i].run(s, data + n);
        }
    }
    return true; /* "": not known */
}
