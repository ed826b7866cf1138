/* SPDX-License-Identifier: MIT
 * monitor/gdb_packet.c - the framing and the numbers of GDB's remote serial protocol.
 * Models: GDB manual, appendix E.1 "Overview" (packets, acknowledgment, escapes, checksum) and E.2
 *   (thread-id).
 * Does not model: run-length encoding, which servers may use in replies and debuggers do not use.
 * Threads: any; there is no state but the caller's.
 */
#include "gdb_packet.h"

static void data_byte(GdbParser *p, uint8_t byte)
{
    if (p->len < GDB_PACKET_MAX) {
        p->data[p->len++] = (char)byte;
    } else {
        p->damaged = true; /* too long: read on to its end */
    }
}

static GdbInput idle_byte(GdbParser *p, uint8_t byte)
{
    switch (byte) {
    case '$':
        p->state = GDB_DATA;
        p->sum = 0;
        p->len = 0;
        p->damaged = false;
        return GDB_NOTHING;
    case '+': return GDB_ACK;
    case '-': return GDB_NAK;
    case 3: return GDB_INTERRUPT;
    default: return GDB_NOTHING;
    }
}

static GdbInput packet_end(GdbParser *p, int low)
{
    p->state = GDB_IDLE;
    p->data[p->len] = 0;
    if (p->damaged || low < 0 || (p->given << 4 | low) != p->sum) {
        return GDB_DAMAGED;
    }
    return GDB_PACKET;
}

GdbInput gdb_parser_byte(GdbParser *p, uint8_t byte)
{
    int digit = g_ascii_xdigit_value((char)byte);
    switch (p->state) {
    case GDB_IDLE: return idle_byte(p, byte);
    case GDB_DATA:
        if (byte == '#') {
            p->state = GDB_SUM1;
            return GDB_NOTHING;
        }
        if (byte == '$') { /* never inside a packet: the end of the one before got lost */
            return idle_byte(p, byte);
        }
        p->sum = (uint8_t)(p->sum + byte);
        if (byte == '}') {
            p->state = GDB_ESCAPE;
        } else {
            data_byte(p, byte);
        }
        return GDB_NOTHING;
    case GDB_ESCAPE:
        p->sum = (uint8_t)(p->sum + byte);
        p->state = GDB_DATA;
        data_byte(p, byte ^ 0x20);
        return GDB_NOTHING;
    case GDB_SUM1:
        p->damaged |= digit < 0;
        p->given = (uint8_t)(digit & 15);
        p->state = GDB_SUM2;
        return GDB_NOTHING;
    default: return packet_end(p, digit);
    }
}

/* ---- writing ---- */

void gdb_put_packet(GString *out, const char *payload, size_t len)
{
    uint8_t sum = 0;
    for (size_t i = 0; i < len; i++) {
        sum = (uint8_t)(sum + (uint8_t)payload[i]);
    }
    g_string_append_c(out, '$');
    g_string_append_len(out, payload, (gssize)len);
    g_string_append_printf(out, "#%02x", sum);
}

void gdb_put_binary(GString *out, const void *data, size_t len)
{
    const uint8_t *p = data;
    for (size_t i = 0; i < len; i++) {
        bool special = p[i] == '#' || p[i] == '$' || p[i] == '}' || p[i] == '*';
        if (special) {
            g_string_append_c(out, '}');
        }
        g_string_append_c(out, (char)(special ? p[i] ^ 0x20 : p[i]));
    }
}

void gdb_put_hex(GString *out, const void *data, size_t len)
{
    static const char digits[] = "0123456789abcdef";
    const uint8_t *p = data;
    for (size_t i = 0; i < len; i++) {
        g_string_append_c(out, digits[p[i] >> 4]);
        g_string_append_c(out, digits[p[i] & 15]);
    }
}

/* ---- reading ---- */

bool gdb_get_number(const char **p, uint64_t *val)
{
    uint64_t v = 0;
    unsigned n = 0;
    const char *q = *p;
    for (; g_ascii_isxdigit(*q); q++) {
        if (++n > 16) {
            return false;
        }
        v = v << 4 | (unsigned)g_ascii_xdigit_value(*q);
    }
    if (!n) {
        return false;
    }
    *val = v;
    *p = q;
    return true;
}

bool gdb_get_char(const char **p, char c)
{
    if (**p != c) {
        return false;
    }
    ++*p;
    return true;
}

size_t gdb_get_hex(const char **p, uint8_t *buf, size_t max)
{
    size_t n = 0;
    while (n < max && g_ascii_isxdigit((*p)[0]) && g_ascii_isxdigit((*p)[1])) {
        buf[n++] = (uint8_t)(g_ascii_xdigit_value((*p)[0]) << 4 | g_ascii_xdigit_value((*p)[1]));
        *p += 2;
    }
    return n;
}

bool gdb_get_range(const char **p, uint64_t *addr, uint64_t *len)
{
    const char *q = *p;
    if (!gdb_get_number(&q, addr) || !gdb_get_char(&q, ',') || !gdb_get_number(&q, len)) {
        return false;
    }
    *p = q;
    return true;
}

static bool get_id(const char **p, int64_t *id)
{
    uint64_t v;
    if ((*p)[0] == '-' && (*p)[1] == '1' && !g_ascii_isxdigit((*p)[2])) {
        *p += 2;
        *id = GDB_ALL_IDS;
        return true;
    }
    const char *q = *p;
    if (!gdb_get_number(&q, &v) || v > INT32_MAX) {
        return false;
    }
    *p = q;
    *id = (int64_t)v;
    return true;
}

bool gdb_get_thread(const char **p, GdbThread *id)
{
    const char *q = *p;
    *id = (GdbThread){ GDB_ANY_ID, GDB_ALL_IDS };
    if (gdb_get_char(&q, 'p')) {
        if (!get_id(&q, &id->process)) {
            return false;
        }
        if (gdb_get_char(&q, '.') && !get_id(&q, &id->thread)) {
            return false;
        }
        if (id->process == GDB_ALL_IDS && id->thread != GDB_ALL_IDS) {
            return false; /* one thread of all processes */
        }
    } else if (!get_id(&q, &id->thread)) {
        return false;
    }
    *p = q;
    return true;
}
