/* SPDX-License-Identifier: MIT
 * rhea/target/x86/coredump.h - what a dump of guest memory tells of a CPU, and what its page tables map.
 * Threads: the vCPU's thread, or anybody while it is parked.
 */
#ifndef RHEA_TARGET_X86_COREDUMP_H
#define RHEA_TARGET_X86_COREDUMP_H

#include "rhea/system/target.h"

bool x86_dump_is_long(const Vcpu *v); /* in long mode: its registers are those of EM_X86_64 */
/* An ELF note NT_PRSTATUS of "CORE", as Linux writes it for a process whose number is `id`, with 64-bit
 * registers if `wide`; appended. */
void x86_dump_prstatus(Vcpu *v, unsigned id, bool wide, GByteArray *out);
/* A note of "QEMU", type 0: segments and control registers, by which debuggers of kernels find their way. */
void x86_dump_state(Vcpu *v, GByteArray *out);

enum { X86_LEAF_P = 1, X86_LEAF_W = 2, X86_LEAF_U = 4 };
typedef struct X86Leaf {
    uint64_t lin, size; /* size 0: nothing is mapped from there on */
    uint64_t entry, frame;
    unsigned rights; /* X86_LEAF_ bits, of all levels */
} X86Leaf;
typedef bool X86LeafFn(void *opaque, const X86Leaf *leaf); /* false: enough */
/* Every page, by address; without paging none. False: fn had enough, or there are more tables than a machine
 * has a use for. */
bool x86_each_leaf(Vcpu *v, X86LeafFn *fn, void *opaque);

#endif
