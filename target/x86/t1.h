/* SPDX-License-Identifier: MIT
 * target/x86/t1.h - the re-emitter (tier 1): guest x86 code to host x86-64 code, one pass, no intermediate form.
 *
 * A T1 unit is a superblock inside one page: it follows the fall-through of Jcc and forward jumps. A Jcc forwards to one of its
 * own instructions stays in it (t1-join.c). It lives in the same hash
 * and page lists as T0's units (MODE_T1 in its key); its code lies in the vCPU's code cache.
 *
 * Registers in translated code. Guest RAX RCX RDX RBX RBP RSI RDI R8-R11 are the host's own; guest RSP is host R15;
 * guest R12-R15 stay in X86Cpu.gpr[]; host R12, R13, R14 are temporaries; host RSP is the shadow return stack; GS
 * is the X86Cpu. Vector registers are the guest's while tr1.vec_live is set, the x87 registers while tr1.fpu_live is; otherwise
 * they are C's. Both are loaded in front of code that needs them and saved when C code is called.
 *
 * Position. Libraries and PIE executables lie elsewhere in each process. Their units ("pic", t1_pic()) hold no linear address: the
 * low twelve bits of RIP follow from the physical page, the rest is tr1.pcbase. Jumps through the jump cache, returns and the
 * run loop enter with the address in T1_, and the unit's head sets pcbase from it; links lead behind that, because both ends
 * lie in one page. All other units are constants throughout, and keyed by their address. A link to an instruction that crosses into
 * another page leads to code that looks the jump cache up: the other page may have been mapped anew.
 *
 * Shadow return stack: a call leaves the return address and the host address of a pad; a return that finds the address it
 * goes to there takes the host's RET, which the host predicts. Entering translated code empties it, and everything
 * that changes mappings or the mode leaves translated code, so what is on it is true. But STAC and CLAC do not leave it: code
 * with AC set has a stack of its own, so that no return leads to code that was translated for the other MMU index.
 *
 * Flags. At unit boundaries and whenever C code runs the arithmetic flags are in cc_op, cc_dst, cc_src ("state"); cc_op may
 * then also be one of CC_T1_*, which t1_flags_normal() turns into T0's. Inside a unit they may be in the host's EFLAGS, or
 * a recipe may tell how to compute them from registers. At each instruction that may fault or leave at least
 * one of these holds, so that exceptions see exact flags.
 *
 * Every instruction that is not re-emitted, and every memory access that the TLB does not hit, runs the instruction's T0
 * function through t1-exec.c: no instruction has a second implementation.
 *
 * Threads: the vCPU's thread.
 */
#ifndef TARGET_X86_T1_H
#define TARGET_X86_T1_H

#include "rhea/accel/codecache.h"
#include "t0.h"
#include "t1-asm.h"

enum { T0_ = 12, T1_ = 13, T2_ = 14, G_RSP = 15 }; /* host registers: temporaries, guest RSP */
enum { T1_THUNK_BYTES = 64 << 10, T1_MAX_INSNS = 64, T1_MAX_SIDES = 3 * T1_MAX_INSNS, T1_MAX_LINKS = T1_MAX_INSNS + 2 };
#define MODE_T1 (1u << 30) /* in a unit's key */

/* cc_op of translated code, low two bits: log2 of the size. */
enum {
    CC_T1 = 64,
    CC_T1_ADD = 64,   /* dst = result, src = second operand; upper bits are garbage, here and below */
    CC_T1_SUB = 68,
    CC_T1_LOGIC = 72, /* dst = result */
    CC_T1_CMP = 76,   /* dst, src = operands */
    CC_T1_TEST = 80,
    CC_T1_LAHF = 84,  /* tr1.lahf: AH after LAHF in bits 15..8, OF in bit 0 */
    CC_T1_OVF = 85,   /* CF and OF: src is not 0; the others are undefined (multiplication) */
    CC_T1_END = 86,
    /* In the second byte of cc_op: newer values of some flags lie in tr1.part[], in the form of tr1.lahf. */
    CC_PART_CO = 1,   /* part[0]: CF, OF (rotates, BT) */
    CC_PART_NC = 2,   /* part[1]: all but CF (INC, DEC) */
    CC_PART_NC_LAST = 4, /* OF is that of part[1] */
};

typedef struct T1Link T1Link;
typedef struct T1Code T1Code;
struct T1Link {          /* a direct jump that can be patched to another unit; there are 50,000 after a boot */
    X86Unit *to;         /* NULL: not linked: it leads to its exit, T1_EXIT_BYTES of code for each link in front of T1Code */
    T1Link *next_in;     /* of those that lead to `to` */
    uint32_t at;         /* of the displacement: from the cache's start */
    uint16_t rip;        /* where to: the low twelve bits, the others are the unit's */
    uint8_t n;           /* of T1Code.links[] */
    bool pad : 1;        /* a return pad: T1_ holds the address, leads to `pad` */
    bool ac : 1;         /* STAC or CLAC came before it: the mode is the other one */
};
struct T1Code {          /* in the cold area, behind the unit's side paths; freed with its segment */
    X86Unit *unit;       /* NULL: dead */
    T1Link *incoming;
    T1Code *seg_next;    /* units of the same segment */
    const uint8_t *entry; /* executable address: T1_ holds its RIP */
    uint64_t rip;        /* pic: where it was when it was translated */
    int8_t linked, pad;  /* from `entry`: where links, return pads lead */
    uint8_t poll_bytes;  /* from `linked` to behind the poll */
    uint8_t uses;        /* T1S_*: runs only while their exceptions are masked */
    uint8_t n_links, n_insns;
    bool pic;
    uint64_t memory[UNIT_T1_BYTES / 8]; /* of `unit` */
    T1Link links[];      /* lockstep: behind them the superblock's X86Insn[] */
};
enum { T1_EXIT_BYTES = 8 };
static inline T1Code *t1_link_code(T1Link *l) { return (T1Code *)((uint8_t *)(l - l->n) - offsetof(T1Code, links)); }
static inline const X86Insn *t1_code_insns(const T1Code *c) { return (const X86Insn *)(c->links + c->n_links); } /* lockstep */
typedef struct T1Rec { /* an instruction that always runs by its T0 function; in the cold area, 8-byte aligned */
    X86Insn insn;
    uint32_t head; /* bytes back to the unit's RIP, a uint64_t; pic: less pcbase */
    bool pic;
} T1Rec;
/* The instruction of a side path (t1-side.c), decoded from its record when it was first needed. */
enum { T1_DECODED = 256 };
typedef struct T1Decoded { const uint8_t *at; X86Insn insn; } T1Decoded;

/* What a native instruction may do besides its operands. */
typedef enum T1Class {
    T1C_T0,      /* the T0 function */
    T1C_NOP,
    T1C_NATIVE,  /* re-encoded with other registers and addresses */
    T1C_VEC,     /* the same, on vector registers */
    T1C_MMX,     /* the same, on MMX registers and perhaps others */
    T1C_X87, T1C_LDMXCSR,
    T1C_LEA, T1C_PUSH_R, T1C_PUSH_I, T1C_PUSH_E, T1C_POP_R, T1C_LEAVE,
    T1C_JCC, T1C_JMP, T1C_CALL, T1C_JMP_E, T1C_CALL_E, T1C_RET, T1C_RET_I,
    T1C_MOV_AO, T1C_MOV_OA, T1C_INCDEC_R, T1C_MOV_ZI, T1C_DIV, T1C_IDIV, T1C_XCHG_ZA,
    /* t1_emit_system() */
    T1C_CLI, T1C_STI, T1C_PUSHF, T1C_MOV_RS, T1C_SWAPGS, T1C_AC, T1C_DF, T1C_RDPKRU, T1C_MOV_RC, T1C_FSGS, T1C_RDTSC, T1C_REP,
    T1C_SYSCALL, T1C_SYSRET,
} T1Class;
enum { T1S_VEC = 1, T1S_FPU = 2 }; /* state that must be in the host's registers */
/* Roles of operands */
enum {
    T1R_REG_DST = 1, T1R_REG_SRC = 2, T1R_RM_DST = 4, T1R_RM_SRC = 8, T1R_V_DST = 16, T1R_V_SRC = 32,
    T1R_REG_GPR = 64, T1R_REG_BYTE = 128, T1R_RM_GPR = 256, T1R_RM_BYTE = 512, T1R_V_GPR = 1024,
    T1R_LOCKED = 2048,  /* memory form is atomic by itself (XCHG) */
    T1R_CONDFL = 4096,  /* writes its flags only sometimes (shift by CL) */
    T1R_ALIGN = 8192,   /* memory operand must be aligned to its size */
    T1R_STORE = 16384,  /* memory operand is written */
    T1R_REG_FIRST = 32768, /* ModRM.reg is the first operand */
};
typedef struct T1Row {
    uint8_t cls;
    uint8_t memsize;    /* bytes; 0: operand size; 0xf2 z, 0xf3 y as the row says */
    uint8_t recipe;     /* CC_T1_* that the instruction leaves behind, or 0 */
    uint8_t state;      /* T1S_* */
    uint16_t roles;
    uint16_t implicit;  /* guest registers written besides */
    uint16_t fl_read, fl_def; /* FL_*: read; written or undefined */
} T1Row;
const T1Row *t1_rows(void); /* by row number; made at first use */

enum { R_KEPT_DST = 20, R_KEPT_SRC = 21 };
/* Where the guest's flags are while a unit is being emitted. */
typedef struct T1Flags {
    bool host;           /* in EFLAGS */
    bool state;          /* in cc_* */
    bool state_lahf;     /* ... and known to be CC_T1_LAHF */
    uint16_t part;       /* FL_*: these are newer in EFLAGS, the others are in the state; 0: none */
    uint8_t op;          /* recipe: CC_T1_* + size, 0: none */
    uint8_t a, b;        /* guest registers; R_KEPT_*: lies in cc_dst, cc_src already; b = R_NONE: imm */
    int32_t imm;
} T1Flags;

/* Accesses that one check covers, see t1-group.c. */
enum { T1_STASH = 8, T1_HOISTED = 8, T1_MAX_GROUPS = 100 };
typedef struct T1Group {
    int16_t lo;          /* where the bytes begin, from the first access's own address */
    uint16_t n;          /* how many; all in one page when the check hits */
    uint8_t align;       /* as the first access's */
    uint8_t begin, which; /* the first access; instruction */
    uint8_t end;         /* the last instruction that counts on the check */
    uint8_t hoisted;     /* the instruction whose check was moved to `begin`; 0: none */
    uint8_t members;
    uint8_t stash, slot; /* where the delta is: tr1.stash[], or the window */
    bool write, stashed;
    bool checked;        /* here */
    bool used;           /* members without a check of their own were emitted */
} T1Group;

typedef struct T1Side {
    enum { SIDE_NONE, SIDE_EXEC, SIDE_EXIT, SIDE_POLL, SIDE_INDIRECT, SIDE_VEC, SIDE_FPU, SIDE_COUNT0, SIDE_SHADOW, SIDE_RET, SIDE_JOIN } kind;
    uint8_t *from, *from2; /* displacements of the jumps to it */
    uint8_t *back;       /* EXEC: where to go on; NULL: the unit's end */
    uint16_t insn;
    uint8_t join;        /* EXIT: the instruction of the unit that it leads to; 0: of none */
    uint32_t mode;       /* of T1, here */
    bool window, write;  /* EXEC: first look the TLB up and fill the window; go on at win_back */
    uint8_t slot, n;
    HOp at;
    uint8_t *win_back;
    uint8_t *again;      /* EXEC: not a window: the beginning of the look-up; NULL: of none */
    bool ahead;          /* EXEC: a hoisted check, in front of the instruction */
    bool reload_flags;   /* EXEC: EFLAGS must be right on return */
    uint64_t rip;        /* EXIT, POLL: where to */
    uint32_t note;       /* of the last x87 instruction before it, where that is not noted yet */
    const uint8_t *copy; /* COUNT0: the instruction, n_copy bytes */
    uint8_t n_copy;
    int32_t undo;        /* INDIRECT: to RSP, when the target is not canonical */
    T1Flags fl;
} T1Side;

typedef struct T1NewLink {
    uint64_t rip;        /* where to */
    uint8_t *at;         /* writable address of the displacement */
    uint32_t mode;       /* here */
    bool pad;
} T1NewLink;

typedef struct T1 { /* one translation */
    X86Cpu *cpu;
    Asm hot, cold;
    uint32_t mode, head_mode; /* here (STAC and CLAC change it), at the unit's head */
    bool code64;
    bool pic;
    bool crossing;       /* one instruction that reaches into the next page */
    uint64_t rip;        /* of the unit */
    uintptr_t key;       /* host address of the unit's code */
    unsigned mmu;
    X86Insn insn[T1_MAX_INSNS + 1];
    uint8_t bytes[T1_MAX_INSNS + 1][16]; /* of each instruction: a copy, others may write there */
    unsigned n, i, max;
    uint64_t by_tlb;     /* by instruction: looks its operand up in the TLB; see t1-site.c */
    uint64_t apart;      /* by instruction: its accesses belong to no group */
    uint32_t bases_by_tlb; /* by register that an operand is addressed through */
    unsigned span;       /* bytes of guest code from the unit's start */
    uint8_t uses;        /* T1S_* */
    uint8_t fpu_seg;     /* as tr1.fpu_seg, if that is known here */
    uint32_t fpu_note;   /* what tr1.fpu_note must become before anybody looks; 0: nothing */
    T1Flags fl;
    bool kept;           /* t1_fl_after(): this instruction left an operand from memory in cc_src, or its result in cc_dst */
    T1Side side[T1_MAX_SIDES];
    unsigned n_sides;
    uint8_t member[T1_MAX_INSNS + 1][2]; /* number of the group of its memory operand, of its access to the stack; 0: none */
    T1Group group[T1_MAX_GROUPS + 1];
    uint8_t join[T1_MAX_INSNS + 1]; /* of a conditional jump: the instruction that it goes on at in the unit; 0: it leaves */
    uint64_t joins;      /* by instruction: such jumps lead to it */
    unsigned first_side; /* of the copy that is being emitted */
    bool hoists[T1_MAX_INSNS + 1]; /* checks of later instructions come before this one */
    unsigned n_groups;
    const T1Group *delta; /* the group whose distance to host memory is in T0_, unless hot.r12_used; NULL: none */
    T1NewLink link[T1_MAX_LINKS];
    unsigned n_links;
    uint8_t *rec_head;   /* the unit's RIP for its records; NULL: none yet */
    const struct T1Thunks *thunk;
    ptrdiff_t rx_off;
    bool loops;          /* a loop of the unit may have a copy of its own, see t1-build.c */
    bool in_loop;        /* emitting that copy */
    T1Side *loop_side;   /* the last jump to the unit's head; NULL: none */
    uint8_t *loop_next, *loop_head; /* behind that jump; the copy's head */
    T1Flags loop_fl;     /* at that jump */
    bool full;           /* more side paths or links than there is room for: the unit must be shorter */
    bool no_room;        /* the segment is full */
    uint8_t *hot_end, *cold_end; /* of the segment */
} T1;

typedef struct T1Thunks { /* executable addresses */
    const uint8_t *window[TLB_MMUS][2][TLB_WINDOWS]; /* see t1_make_window() */
    const uint8_t *fill[TLB_MMUS][2]; /* see make_fill() */
    const uint8_t *rep[TLB_MMUS][2][4]; /* see t1_make_rep() */
    void (*enter)(X86Cpu *cpu, const void *code);
    const uint8_t *exit, *exit_link, *load_flags, *indirect, *jump, *stale, *no_return, *lookup, *rdtsc, *transition[2];
    const uint8_t *exec[3][2]; /* vector registers on return: none, low halves, all; x87 */
    /* For side paths: the record follows the call; the call and a jump for a hit; T0_ is its address */
    const uint8_t *side, *fill_side[TLB_MMUS][2], *indirect_side[2];
    const uint8_t *resume[2][3]; /* to tr1.next; flags; vectors */
    const uint8_t *load_vec[3], *load_fpu;
} T1Thunks;

typedef struct T1Stats {
    uint64_t units, insns, bytes_guest, bytes_hot, bytes_cold; /* translated */
    unsigned hot_step, cold_step; /* bytes: the greatest that one step of a translation made, see t1-build.c */
    uint64_t exits, exits_poll, exits_link, exits_indirect, leaves, faults; /* why translated code was left */
    uint64_t flushes, cold_runs;
    uint64_t loops; /* units with a copy of their loop */
    uint64_t joins; /* instructions that jumps of their unit lead to */
    uint64_t tlb_sites; /* instructions that went over from a window to the TLB */
} T1Stats;
typedef struct T1RowCount { uint64_t slow, whole; } T1RowCount; /* executions by the T0 function, by row of insn.def */

/* A unit by its place: what unit_lookup() needs of the unit, in half a cache line. */
enum { T1_PLACES = 1 << 14 };
typedef struct T1Place { uintptr_t key; uint64_t rip; const void *entry; uint32_t mode; uint8_t uses; } T1Place;

/* Where cold code goes on: see t1-cold.c. */
typedef struct T1Cold { uint64_t tag; X86Unit *unit; } T1Cold;

typedef struct T1State {
    CodeCache cache;
    T1Thunks thunk;
    int32_t low;         /* the X86Cpu, when it lies in the lowest 2 GiB; else 0 */
    T1Code *segment[CODE_SEGMENTS];
    X86Unit *none;       /* a unit without links, for T0 functions that jump */
    X86Insn scratch[2];
    T1Decoded decoded[T1_DECODED]; /* by hash of `at`, an executable address */
    bool reused;         /* other records may lie at these addresses */
    T1Stats stats;
    T1RowCount *rows;
    uint64_t chaos;      /* state of the random numbers; 0: off */
    int perf_fd;         /* -1: none */
    T1Link *pending;     /* the jump that led out last */
    uint64_t pending_rip;
    bool running;        /* in translated code */
    bool evicting;       /* a segment and all jump caches are being emptied */
    bool once;           /* t1_run_once(): every end of a unit leads out */
    bool off;
    unsigned after;      /* runs in tier 0 before code is translated */
    T1Place *place;      /* T1_PLACES, by a hash of the members that tell it; entry: NULL: free */
    T1Cold *cold;        /* COLD_SIZE, by address: jump cache of units of tier 0 */
    uint8_t *heat;       /* HEAT_SIZE: such runs, by a hash of where the code is: outlives tier 0's units */
    uint32_t salt_next;
    struct { uint32_t generation, mode, salt; } salts[256]; /* by a hash of the first two */
    unsigned salt_shift; /* where salts begin, by the width of addresses */
    uint64_t tlb_sites[4096]; /* by hash of an instruction's host address: it goes by the TLB, see t1-site.c */
    uint64_t apart[1024];     /* likewise: a group on the stack that it leads crosses a page too often */
    uint8_t crossed[1024];    /* by the same hash: how often it did */
    bool users;          /* there has been user code */
    uint32_t site_last;  /* us: when an instruction went over */
    uint32_t win_since[TLB_MMUS * 2 * TLB_WINDOWS]; /* us: when its misses began to be counted */
    uint8_t *shadow;     /* the shadow return stack */
    struct T1Lockstep *lockstep; /* NULL: off */
    T1 work;
} T1State;

/* t1.c */
static inline bool t1_simd_masked(const X86Cpu *cpu) { return (cpu->mxcsr & 0x1f80) == 0x1f80; }
static inline bool t1_fpu_masked(const X86Cpu *cpu) { return (cpu->fpu.cw & 0x3f) == 0x3f && !(cpu->fpu.sw & 0x80); }
bool t1_init(X86Cpu *cpu, size_t size, Error **errp);
void t1_fini(X86Cpu *cpu);
/* Tests: tier 1 on or off, and after how many runs in tier 0 a unit is translated. */
void t1_tune(X86Cpu *cpu, bool on, unsigned after);
void t1_resize(X86Cpu *cpu, size_t size); /* tests: a code cache of that size, empty; while it does not run */
/* Does code at rip move from process to process? Debian's executables that do not lie below these limits. 64-bit code so far
 * below the end of the lower half that no direct branch reaches a non-canonical address. The same for the same rip and mode. */
static inline bool t1_pic(uint32_t mode, uint64_t rip)
{
    if ((mode & MODE_CPL3) != MODE_CPL3) {
        return false;
    }
    return mode & MODE_CODE64 ? rip >> 32 && rip < (1ull << 47) - (1ull << 31) - 8192 : rip >> 28;
}
/* RIP in the key of a unit of tier 1. */
static inline uint64_t t1_key_rip(uint32_t mode, uint64_t rip) { return t1_pic(mode, rip) ? 0 : rip; }
/* A number that no other address space, mode or generation of translations has, where canonical addresses have none. */
uint64_t t1_salt_for(X86Cpu *cpu, uint32_t mode);
/* The code for cpu->rip after an instruction that changed the mode or rip, if the run loop would enter just that; else
 * the loop must see what there is to do. */
const void *t1_next_code(X86Cpu *cpu);
/* Runs translated code from cpu->rip on, or T0 while it is cold. */
void t1_run_unit(X86Cpu *cpu, uint32_t mode);
void t1_begin_run(X86Cpu *cpu);                /* on the thread that runs it */
void t1_left(X86Cpu *cpu);                     /* an exception left translated code by a long jump */
void t1_unit_killed(X86Cpu *cpu, X86Unit *u);  /* unit.c: no jump leads to it afterwards */
void t1_flags_normal(X86Cpu *cpu);             /* cc_op becomes one of T0's */
static inline bool t1_mode_ok(uint32_t mode)
{
    if (mode & (MODE_TF | MODE_DEBUG | MODE_ONE | MODE_VM86) || !(mode & MODE_PE)) {
        return false;
    }
    return mode & MODE_CODE64 || (mode & (MODE_CODE32 | MODE_FLAT | MODE_SS32)) == (MODE_CODE32 | MODE_FLAT | MODE_SS32);
}

/* Tests: translates at most `max` instructions at cpu->rip, runs them once, forgets them. False: not for tier 1. May raise. */
bool t1_run_once(X86Cpu *cpu, uint32_t mode, unsigned max);

/* t1-cold.c */
enum { T1_CHANGES_OFTEN = 3 }; /* times that code was overwritten */
void t1_cold_init(T1State *s);
void t1_cold_fini(T1State *s);
bool t1_heat_up(X86Cpu *cpu, uintptr_t key, uint32_t mode); /* code at rip is about to run: is it worth translating? */
void t1_heat_prefetch(X86Cpu *cpu, uintptr_t key, uint32_t mode);
bool t1_changes_worked(const X86Unit *u); /* it ran for as long as a translation takes */
/* Runs cold code from cpu->rip on as long as it is known and the run loop is not needed. False: it is not known there. */
bool t1_cold_run(X86Cpu *cpu, uint32_t mode);
/* Runs a unit of tier 0. keep: t1_cold_run() finds it next time. */
void t1_cold_unit(X86Cpu *cpu, X86Unit *u, bool keep);
void t1_cold_gone(T1State *s, X86Unit *u); /* a unit of tier 0 dies */
void t1_cold_forget_page(T1State *s, uint64_t page);
void t1_cold_forget(T1State *s, bool gone); /* gone: so are all units of tier 0 */

/* t1-chaos.c: `-accel tcg,chaos=SEED` */
bool t1_chaos_step(X86Cpu *cpu);     /* before a unit: true: it shall run in tier 0 */
bool t1_chaos_leave(X86Cpu *cpu);    /* after an instruction by its T0 function: leave translated code */
unsigned t1_chaos_insns(T1State *s); /* the longest unit */

/* t1-stats.c */
void t1_describe(Vcpu *v, GString *out);
bool t1_failed(Vcpu *v);
bool t1_perf_open(X86Cpu *cpu, Error **errp);
void t1_perf_thunk(X86Cpu *cpu, const char *name, const uint8_t *from, const uint8_t *to); /* writable addresses */
void t1_perf_unit(X86Cpu *cpu, const T1 *t, const uint8_t *hot, size_t n_hot, const uint8_t *cold, size_t n_cold);

/* t1-lockstep.c */
typedef struct T1Lockstep T1Lockstep;
bool t1_lockstep_init(X86Cpu *cpu);
void t1_lockstep_unit(X86Cpu *cpu, X86Unit *u, void (*enter)(X86Cpu *, const void *));
void t1_lockstep_describe(const X86Cpu *cpu, GString *out);
void t1_lockstep_raised(X86Cpu *cpu); /* translated code raised an exception */
bool t1_lockstep_repeatable(const X86Insn *d);
bool t1_lockstep_failed(const X86Cpu *cpu);
void t1_lockstep_end(X86Cpu *cpu);    /* says how it went */

/* t1-thunk.c */
void t1_make_thunks(X86Cpu *cpu);

/* t1-build.c: decodes the superblock at cpu->rip (n = 0: not for tier 1); translates it: NULL: no room. */
void t1_decode(T1 *t, X86Cpu *cpu, const UnitPlace *at, uint32_t mode, unsigned max);
bool t1_same_flags(const T1Flags *a, const T1Flags *b);
/* The same for one instruction that reaches into the next page, where t1_decode() found nothing. May raise. */
void t1_decode_crossing(T1 *t, X86Cpu *cpu, UnitPlace *at, uint32_t mode);
/* NULL: no room in this segment of the cache (t->no_room), or the unit needs too many side paths: fewer
 * instructions (t->full). */
T1Code *t1_translate(T1 *t, CodeCache *cache);
unsigned t1_flags_dead(const T1 *t, unsigned from); /* FL_* overwritten before anything can see them */

/* t1-flags.c */
enum { FL_ALL_ = 0x8d5 /* FL_ARITH */, FL_PART_CO = 0x801, FL_PART_NC = 0x8d4 };
void t1_fl_to_state(T1 *t, Asm *a, T1Flags *f); /* emits the stores when they are needed; T0_ is lost */
/* Before an instruction that writes these guest registers; check: EFLAGS will be lost to a check while it may still fault. */
void t1_fl_before(T1 *t, uint32_t regs, bool check, bool writes_all);
void t1_fl_need_host(T1 *t, unsigned mask); /* these FL_* are about to be read from EFLAGS; T1_ is lost */
unsigned t1_fl_partial(const X86Insn *d, const T1Row *r); /* FL_PART_CO, FL_PART_NC when it writes just these, else 0 */
void t1_fl_after(T1 *t, const X86Insn *d, const T1Row *r, uint32_t regs); /* natively executed */
bool t1_fl_dead(const T1 *t, unsigned from); /* overwritten before anything can see them */

/* t1-mem.c: the check of a memory operand; t->fl.host is lost unless t1_checked(): then there is no side path (NULL). The result addresses the operand; T0_ and T2_ are in
 * use until the instruction is done, T1_ is free. The side path is the caller's to finish (reload_flags, back). */
HOp t1_mem_check(T1 *t, const X86Insn *d, unsigned n, bool write, unsigned align, T1Side **side); /* align: 0 or bytes */
void t1_hoisted_checks(T1 *t); /* before the current instruction; EFLAGS are lost */
HOp t1_bit_check(T1 *t, const X86Insn *d, unsigned n, bool write, T1Side **side);
HOp t1_stack_check(T1 *t, int32_t disp, unsigned n, bool write, T1Side **side); /* [RSP + disp]; in 64-bit code T2_ is kept */
/* The beginning of such a side path. back: goes on at win_back when the window is filled; else the result is the jump if not. */
uint8_t *t1_put_window(T1 *t, T1Side *s, bool back);
/* A subroutine. T0_: the first byte's address, T1_: the last one's. ZF = 1: it is in the TLB, its page (or the region around it
 * when it is read) is the window now, T0_ is the delta. T1_ is lost. */
void t1_make_window(Asm *a, unsigned mmu, bool write, unsigned slot, const uint8_t *fill);
void t1_address(T1 *t, const X86Insn *d, int to, bool linear); /* the effective or linear address into T2_; T1_ is lost */
bool t1_mem_ok(const X86Insn *d); /* an operand that t1_mem_check() knows */

bool t1_const_address(const T1 *t, const X86Insn *d, uint64_t *k); /* the operand's address is known now */

/* t1-group.c; which: 0: the current instruction's memory operand, 1: its access to the stack */
void t1_plan(T1 *t);          /* once the unit is decoded */
void t1_groups_forget(T1 *t); /* what was checked is not true any more */
T1Group *t1_group_led(T1 *t, unsigned which); /* the group that it is to check, NULL: none */
T1Group *t1_checked(T1 *t, unsigned which);   /* the group that it needs no check for: no EFLAGS are lost, nothing can fault. NULL: none */
/* Behind this instruction somebody counts on a check at or before it. */
bool t1_group_open(const T1 *t, unsigned insn);
/* The same of a check by this window; ahead: at or behind this instruction. */
bool t1_group_leads_stack(const T1 *t, unsigned insn); /* one that others count on */
bool t1_group_in_window(const T1 *t, unsigned insn, bool ahead, unsigned slot, bool write);

/* t1-join.c */
void t1_joins_plan(T1 *t); /* for t1_plan() */
void t1_join_here(T1 *t);  /* in front of the current instruction: jumps that lead to it meet the code here */

/* t1-site.c: which instructions look in the TLB, because their window misses too often */
void t1_sites_init(X86Cpu *cpu);
void t1_site_missed(X86Cpu *cpu, const X86Insn *d, uint64_t unit_rip); /* win_thrash is set */
void t1_site_crossed(X86Cpu *cpu, const X86Insn *d, uint64_t unit_rip); /* T1Rec.leads; it has been done by its T0 function */
void t1_sites_users(X86Cpu *cpu);                   /* the first user code is about to run */
void t1_sites_look(T1 *t);                          /* before its first instruction is emitted */
bool t1_site_by_tlb(const T1 *t);                   /* the current instruction */
enum { T1_STACK_WINDOW = 0 };

/* t1-native.c */
bool t1_emit_native(T1 *t, const X86Insn *d, const T1Row *r); /* false: nothing was emitted */
/* t1-move.c: MOV_AO, MOV_OA, MOV_ZI, XCHG_ZA, INCDEC_R, DIV, IDIV */
void t1_emit_move(T1 *t, const X86Insn *d, const T1Row *r);
/* t1-fpu.c */
void t1_fpu_save(X86Cpu *cpu); /* only while tr1.fpu_live is set */
void t1_fpu_load(X86Cpu *cpu); /* only while all exceptions are masked; C code that uses x87 may not run until t1_fpu_save() */
void t1_fpu_row(T1Row *r, const X86Row *x);
bool t1_emit_x87(T1 *t, const X86Insn *d, const T1Row *r);
bool t1_emit_ldmxcsr(T1 *t, const X86Insn *d, const T1Row *r);
/* Notes which x87 instruction was the last: in front of everything that leaves or ends straight code. Keeps EFLAGS. */
void t1_fpu_flush(T1 *t);
void t1_fpu_note(const T1 *t, Asm *a, uint32_t note);
/* T1S_* that the code from this instruction on, up to the next call of C code, must find in the host's registers. */
unsigned t1_state_needed(const T1 *t, unsigned from);
/* A subroutine: REP STOS (0) or REP MOVS (1) of elements of 1 << size bytes. ZF = 0: nothing happened. T0_ to T2_ are lost. */
void t1_make_rep(Asm *a, unsigned mmu, bool movs, unsigned size);
/* t1-sys.c: system instructions; false: nothing was emitted */
bool t1_ac_inline(const T1 *t); /* STAC and CLAC do not end the unit */
void t1_set_mmu(T1 *t, uint32_t mode); /* code emitted from now on runs in that mode */
bool t1_emit_system(T1 *t, const X86Insn *d, const T1Row *r);
/* t1-insn.c */
void t1_emit_insn(T1 *t);
/* Into a register: an address that is known relative to the unit: v, as it is while this unit is translated. wide: else 32 bits.
 * Keeps EFLAGS. */
void t1_emit_near(const T1 *t, Asm *a, int to, uint64_t v, bool wide);
static inline void t1_emit_rip(const T1 *t, Asm *a, int to, uint64_t rip) { t1_emit_near(t, a, to, rip, t->code64); }
void t1_emit_exit(T1 *t, uint64_t rip);       /* the end of the unit: on to rip; flags are in the state */
void t1_emit_exec(T1 *t);                     /* the current instruction by its T0 function */
T1Side *t1_side(T1 *t, int kind, uint8_t *from); /* never NULL; see T1.full */
T1NewLink *t1_new_link(T1 *t, uint64_t rip); /* likewise */
void t1_leave_to(T1 *t, Asm *a, uint64_t rip); /* the end of a unit: flags are in the state, T0_..T2_ are free */
static inline bool t1_same_page(const T1 *t, uint64_t rip) { return ((rip ^ t->rip) & TLB_PAGE_MASK) == 0; }
bool t1_hot_full(T1 *t);   /* asked before each instruction and side path */
bool t1_cold_full(T1 *t);  /* asked before each side path and link */
/* t1-side.c */
void t1_put_sides(T1 *t);
T1Code *t1_put_code(T1 *t, CodeCache *c); /* behind all else; NULL: no room */
uint8_t *t1_emit_rec_address(Asm *a); /* into T0_; the result is for e_patch() */
uint8_t *t1_put_rec(T1 *t); /* of the current instruction */
/* state: T1S_* that the code to return to needs. */
static inline unsigned t1_vec_needed(const T1 *t, unsigned state) { return !(state & T1S_VEC) ? 0 : t->mode & MODE_AVX_OK ? 2 : 1; }
bool t1_traps(const X86Insn *d); /* raises here, whatever it would do */
static inline bool t1_mem_lea_ok(const X86Insn *d) { return (d->flags & I_ASIZE) >= 2; }
uint32_t t1_regs_written(const X86Insn *d, const T1Row *r);
static inline void t1_side_done(T1 *t, T1Side *s) /* NULL: a member of a group */
{
    if (s) {
        s->back = t->hot.p;
        s->reload_flags = t->fl.host || t->fl.part;
    }
}

/* Guest register n as a host register; H_NONE: it lives in gpr[]. */
static inline unsigned t1_shadow(unsigned mmu) { return mmu != 0; } /* which of the shadow stacks */
static inline int t1_hreg(unsigned n) { return n == R_RSP ? G_RSP : n < 12 ? (int)n : H_NONE; }
enum { T1_JC_HASH = 0x3c6ef36f };
static inline unsigned t1_jc_index(uint64_t rip) { return (uint32_t)rip * T1_JC_HASH >> (32 - T1_JC_BITS); }
/* The jump-cache entry of the address in T1_: its place comes into T0_; is it its own? T2_ is lost, the result is the jump if not. */
void t1_emit_jc_slot(Asm *a);
uint8_t *t1_emit_jc_find(Asm *a);
#define T1_JC2_FACTOR 0x2f0b4c47u
static inline unsigned t1_jc2_set(uint64_t rip)
{
    unsigned page = (uint32_t)(rip >> 12) * T1_JC2_FACTOR >> (32 - T1_JC2_PAGE_BITS);
    return page << T1_JC2_NEAR_BITS | ((unsigned)(rip ^ rip >> 6) & (T1_JC2_NEAR - 1));
}
static inline HOp t1_gpr_mem(unsigned n) { return h_gs(offsetof(X86Cpu, gpr) + 8 * n); }
static inline unsigned t1_osize(const X86Insn *d) { return 1u << insn_osize(d); }

#endif
