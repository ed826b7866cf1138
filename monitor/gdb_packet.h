/* SPDX-License-Identifier: MIT
 * monitor/gdb_packet.h - the framing and the numbers of GDB's remote serial protocol; knows no machine.
 */
#ifndef MONITOR_GDB_PACKET_H
#define MONITOR_GDB_PACKET_H

#include <glib.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { GDB_PACKET_MAX = 16384 }; /* bytes between '$' and '#', after unescaping; told as PacketSize */

typedef enum GdbInput {
    GDB_NOTHING,   /* more bytes are needed, or this one means nothing */
    GDB_PACKET,    /* data[0..len) is one, and data[len] is 0 */
    GDB_DAMAGED,   /* a packet with a wrong checksum, or one that is too long */
    GDB_ACK, GDB_NAK,
    GDB_INTERRUPT, /* Ctrl-C between packets */
} GdbInput;
typedef struct GdbParser { /* zero: before the first byte */
    enum { GDB_IDLE, GDB_DATA, GDB_ESCAPE, GDB_SUM1, GDB_SUM2 } state;
    uint8_t sum, given;
    bool damaged;
    size_t len;
    char data[GDB_PACKET_MAX + 1];
} GdbParser;
GdbInput gdb_parser_byte(GdbParser *p, uint8_t byte);

/* Appends '$', the payload and its checksum. The payload is escaped already where it is binary. */
void gdb_put_packet(GString *out, const char *payload, size_t len);
void gdb_put_binary(GString *out, const void *data, size_t len); /* with escapes; for inside a payload */
void gdb_put_hex(GString *out, const void *data, size_t len);

/* Readers go on at *p and move it behind what they took; false: *p is where it was. */
bool gdb_get_number(const char **p, uint64_t *val);              /* 1 to 16 hexadecimal digits */
bool gdb_get_char(const char **p, char c);
/* Pairs of digits up to something else; at most max bytes. */
size_t gdb_get_hex(const char **p, uint8_t *buf, size_t max);
/* "ADDR,LENGTH" */
bool gdb_get_range(const char **p, uint64_t *addr, uint64_t *len);

enum { GDB_ALL_IDS = -1, GDB_ANY_ID = 0 };
typedef struct GdbThread { /* GDB_ALL_IDS, GDB_ANY_ID, or from 1 on */
    int64_t process, thread;
} GdbThread;
/* "1", "-1", "0", "pPROCESS" (all its threads), "pPROCESS.THREAD". process is GDB_ANY_ID when none
 * is given. */
bool gdb_get_thread(const char **p, GdbThread *id);

#endif
