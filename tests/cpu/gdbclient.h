/* SPDX-License-Identifier: MIT
 * tests/cpu/gdbclient.h - a debugger's side of GDB's remote protocol, over a socket, in the thread that is the main loop.
 * Threads: main.
 */
#ifndef TESTS_CPU_GDBCLIENT_H
#define TESTS_CPU_GDBCLIENT_H

#include "rhea/monitor/gdb.h"

typedef struct GdbClient {
    Machine *m;
    char *dir, *path;
    int fd;
    GString *in;    /* bytes not looked at yet */
    GString *reply; /* payload of the last packet */
    bool acks;      /* waits for '+' and gives it */
} GdbClient;

GdbClient *gc_new(Machine *m);      /* a server on a socket of its own, and a connection */
void gc_connect(GdbClient *c);
void gc_disconnect(GdbClient *c);   /* until the server knows */
void gc_free(GdbClient *c);
void gc_raw(GdbClient *c, const char *bytes, size_t len);
void gc_turns(GdbClient *c);        /* a few turns of the main loop */
const char *gc_wait(GdbClient *c);  /* the next packet */
bool gc_quiet(GdbClient *c);        /* nothing comes for a while */
void gc_send(GdbClient *c, const char *fmt, ...) G_GNUC_PRINTF(2, 3);
const char *gc_ask(GdbClient *c, const char *fmt, ...) G_GNUC_PRINTF(2, 3); /* sends, waits */
/* Sends and compares the reply; `reply` may hold a '*' at its end. */
#define gc_expect(c, packet, reply_) gc_expect_at(__FILE__, __LINE__, (c), (packet), (reply_))
void gc_expect_at(const char *file, int line, GdbClient *c, const char *packet, const char *reply);
uint64_t gc_reg(GdbClient *c, unsigned n);                 /* of 8 bytes or less */
bool gc_set_reg(GdbClient *c, unsigned n, uint64_t val, unsigned size);
uint64_t gc_mem(GdbClient *c, uint64_t at, unsigned n);

enum { GC_RAX, GC_RBX, GC_RCX, GC_RDX, GC_RSI, GC_RDI, GC_RBP, GC_RSP, GC_RIP = 16, GC_EFLAGS = 17, GC_CS = 18, GC_SS, GC_DS, GC_ES,
       GC_ST0 = 24, GC_FCTRL = 32, GC_FSTAT, GC_FTAG, GC_XMM0 = 40, GC_MXCSR = 56, GC_FS_BASE, GC_GS_BASE, GC_KGS_BASE, GC_CR0,
       GC_CR2, GC_CR3, GC_CR4, GC_CR8, GC_EFER, GC_YMM0H };

#endif
