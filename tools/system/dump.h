/* SPDX-License-Identifier: MIT
 * tools/system/dump.h - dump-guest-memory: what is to be written, and the formats' writers.
 *
 * The plan is made on the main loop while the machine stands; then it is a thread's, which reads guest memory
 * and writes.
 */
#ifndef TOOLS_SYSTEM_DUMP_H
#define TOOLS_SYSTEM_DUMP_H

#include "rhea/system/memory.h"

typedef struct DumpRange { /* guest memory at physical addresses [start, start + size) */
    uint64_t start, size;
    const uint8_t *host;
    RamBlock *ram; /* a reference */
} DumpRange;

typedef struct DumpMapping {
    uint64_t lin, phys, size;
} DumpMapping;

typedef struct DumpPlan {
    bool wide;    /* the file has 64-bit headers */
    bool is_long; /* the CPUs' registers are those of EM_X86_64, not EM_386 */
    unsigned n_cpus;
    GArray *ranges;    /* DumpRange, by address, disjoint */
    GArray *mappings;  /* DumpMapping, each inside one range */
    GByteArray *notes; /* ELF notes: of all CPUs, then perhaps the kernel's */
    size_t info_at, info_len; /* the text of the kernel's note VMCOREINFO inside notes; info_len 0: none */
    uint64_t phys_base;       /* how far the kernel was moved, as that says; 0: not at all, or not known */
    int fd;
    bool regular;   /* a file: writing does not wait for a reader */
    uint64_t total; /* bytes of memory */
    uint64_t done;  /* atomic: of them, what was written */
    bool cancel;    /* atomic: end soon, with an error */
} DumpPlan;

/* The whole file, one byte after the other: a pipe will do. On the dump's thread. */
bool dump_write_elf(DumpPlan *p, Error **errp);
bool dump_write_kdump(DumpPlan *p, Error **errp);

/* Appends the note VMCOREINFO to p->notes, if the guest has told where it is. The ranges and the CPUs' notes
 * are there. MAIN_LOOP. */
void dump_add_vmcoreinfo(Machine *m, DumpPlan *p);

/* For them. Writes all of it, or fails; looks at p->cancel. */
bool dump_put(DumpPlan *p, const void *data, size_t len, Error **errp);
void dump_progress(DumpPlan *p, uint64_t bytes);
/* Appends a number of `width` bytes, least significant first. */
void dump_number(GByteArray *out, uint64_t val, unsigned width);
void dump_zeros(GByteArray *out, size_t n);

#endif
