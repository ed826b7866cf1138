/* SPDX-License-Identifier: MIT
 * rhea/system/target.h - what the machine core asks of a guest architecture.
 */
#ifndef RHEA_SYSTEM_TARGET_H
#define RHEA_SYSTEM_TARGET_H

#include "rhea/system/device.h"
#include "rhea/system/vcpu.h"

/* Registers as GDB numbers them, by target description. On the vCPU's thread between instructions. */
enum { GDB_REG_MAX = 64 };
typedef struct GdbArchOps {
    unsigned pc; /* the register that says where execution goes on; 8 bytes */
    AddressSpace *(*memory)(Vcpu *cpu); /* physical memory as it sees it now */
    unsigned (*n_regs)(const Vcpu *cpu);
    /* Bytes of register n, in the target's byte order, into buf; 0: there is no such register. */
    unsigned (*read)(Vcpu *cpu, unsigned n, uint8_t buf[GDB_REG_MAX]);
    /* len bytes are there; how many were taken. 0: no such register, too few bytes, or a value it cannot have. */
    unsigned (*write)(Vcpu *cpu, unsigned n, const uint8_t *buf, size_t len);
    /* The description `annex` ("target.xml"); false: there is none. */
    bool (*description)(const Vcpu *cpu, const char *annex, GString *out);
} GdbArchOps;

struct TargetOps {
    const char *name;      /* "x86_64" */
    size_t state_size;     /* of the CPU struct whose first member is Vcpu */
    const VmState *vmstate;
    const char *default_cpu;
    /* `-cpu` text ("max,+avx2,check") into a model the machine keeps in m->cpu_model; freed by model_free.
     * `-cpu help` goes through model_help. */
    bool (*model_parse)(Machine *m, const char *text, Error **errp);
    void (*model_free)(Machine *m);
    void (*model_help)(GString *out);
    bool (*model_describe)(const char *text, GString *out, Error **errp); /* "MODEL,...,help"; may be NULL */
    bool (*vcpu_init)(Vcpu *cpu, Error **errp);  /* applies m->cpu_model */
    void (*vcpu_fini)(Vcpu *cpu);
    void (*reset)(Vcpu *cpu, ResetKind kind);    /* on its thread, or while it is not running */
    bool (*irq_ready)(const Vcpu *cpu);          /* would a pending interrupt wake or interrupt it now? */
    void (*print_regs)(Vcpu *cpu, GString *out); /* `info registers` */
    void (*print_mem)(Vcpu *cpu, GString *out);  /* `info mem` */
    void (*print_tlb)(Vcpu *cpu, GString *out);  /* `info tlb` */
    /* Debug translation without side effects: false when unmapped. */
    bool (*debug_translate)(Vcpu *cpu, uint64_t va, hwaddr *pa);
    uint64_t (*pc)(const Vcpu *cpu);             /* linear address of the next instruction */
    /* A register by lower-case name ("eip", "rax", "cr3"), for monitor expressions. May be NULL. */
    bool (*get_reg)(Vcpu *cpu, const char *name, uint64_t *val);
    /* One instruction as text in the CPU's current mode; its length, 0: cannot. May be NULL. disassembler_there: could
     * it ever? */
    size_t (*disassemble)(Vcpu *cpu, uint64_t va, const uint8_t *code, size_t len, GString *out);
    bool (*disassembler_there)(void);
    /* Another accelerator (machine_move): can Machine.accel show the guest the CPU it knows? And, on the vCPU's thread, once
     * it has taken over. Both may be NULL. */
    bool (*accel_fits)(Machine *m, Error **errp);
    void (*accel_changed)(Vcpu *cpu);
    const GdbArchOps *gdb;                       /* NULL: no debugger for this guest */
    const struct TcgTargetOps *tcg;              /* accel/tcg.h; NULL: no software acceleration for this guest */
    const struct KvmTargetOps *kvm;              /* accel/kvm.h; NULL: KVM cannot run this guest */
};

#endif
