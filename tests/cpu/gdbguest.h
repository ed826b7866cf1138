/* SPDX-License-Identifier: MIT
 * tests/cpu/gdbguest.h - a ring-0 guest on vCPU threads with a debugger connected: on the engine that RHEA_TEST_TIER,
 * RHEA_TEST_ACCEL and RHEA_TEST_CHIP name.
 */
#ifndef TESTS_CPU_GDBGUEST_H
#define TESTS_CPU_GDBGUEST_H

#include "tests/cpu/gdbclient.h"
#include "tests/cpu/sysguest.h"

/* RDI: the data. F is called in a loop; counters in memory are written, read and changed at places of their own. */
extern const uint8_t gdb_start[], gdb_loop[], gdb_after_call[], gdb_after_store[], gdb_after_load[], gdb_after_rmw[], gdb_after_lock[],
    gdb_after_cross[], gdb_after_far[], gdb_f[], gdb_f2[],
    code_loop[], code_loop_end[];
#define AT(label) ((uint64_t)G_CODE + (uint64_t)((label) - code_loop))

enum { DATA = 0x200000, DATA_OTHER = 0x300000 };

typedef struct GdbGuest {
    Guest *g;
    GdbClient *c;
    Machine *m;
} GdbGuest;

/* Each vCPU in code_loop, with data of its own; stopped. */
GdbGuest gdb_guest_new(unsigned cpus, bool connect);
void gdb_guest_free(GdbGuest *f);
X86Cpu *gdb_put_cpu(Guest *g, unsigned i, const uint8_t *code, size_t n, uint64_t data);
#define put_code(f, i, name, data) gdb_put_cpu((f)->g, (i), name, (size_t)(name##_end - name), (data))

void gdb_stop(GdbGuest *f, const char *reply); /* Ctrl-C, and what the server then says */
/* Continues to a stop at rip, for that reason. */
#define go(f, packet, why, rip) gdb_go_at(__LINE__, (f), (packet), (why), (rip))
void gdb_go_at(int line, GdbGuest *f, const char *packet, const char *why, uint64_t rip);
void gdb_point(GdbGuest *f, char what, unsigned kind, uint64_t at, unsigned len);

/* This host has no watchpoints; skip: the test says so. */
bool gdb_no_watch(bool skip);
/* There is no KVM, and the program has said that it is skipped. */
bool gdb_skipped(void);

#endif
