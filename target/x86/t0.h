/* SPDX-License-Identifier: MIT
 * target/x86/t0.h - the interpreter's private state: decoded units, how they are found and chained.
 *
 * A unit is a run of decoded instructions inside one page, keyed by the host address of its first byte, the mode word and
 * the page offset of the code segment's base (so that physical aliases and processes share it). A virtual RIP
 * finds it through the jump cache, whose entries hold for one generation: TLB flushes begin a new one. Links between units
 * of the same page need no check: the page that holds one holds the other.
 * Threads: the vCPU's thread, but for `inbox`.
 */
#ifndef TARGET_X86_T0_H
#define TARGET_X86_T0_H

#include "decode.h"
#include "rhea/accel/tcg.h"
#include "sys.h"
#include "tlbstate.h"
#include <pthread.h>

enum {
    UNIT_MAX = 64,
    UNIT_HASH = 1 << 16, COLD_HASH = 1 << 15,
    JC_BITS = 12, JC_SIZE = 1 << JC_BITS,
    PAGE_HASH = 1 << 12,
    GRANULE_BITS = 6,
    INBOX_MAX = 64,
    EXIT_CORE = 1, EXIT_SELF = 2, /* bits of Vcpu.exit_request: from the core; from this thread, to leave the unit */
};
#define GEN_NEVER UINT64_MAX /* jump-cache generation that no entry has */
/* Bits of a unit's key above the mode word's own. */
#define MODE_ONE (1u << 31)  /* decode one instruction only */

typedef struct X86Unit X86Unit;
typedef struct CodePage CodePage;
typedef struct UnitPiece UnitPiece;
struct X86Unit {
    X86Unit *hash_next;   /* with what follows, all that a look-up reads */
    uintptr_t key, key2;  /* host address of the first byte; of the second page */
    uint64_t rip;         /* tier 1: translated for this address, 0: for any (t1_pic()); tier 0: 0 */
    uint32_t mode;
    uint16_t cs_off, bytes, n;
    bool dead, loose;     /* loose: never cached (code in MMIO) */
    uint16_t cold_at;     /* its place in T1State.cold, from 1 on; 0: none */
    bool linked, in_jc;   /* some link[], some entry of T0State.jc may lead here */
    uint32_t work;        /* what it has cost while it was cold, in instructions; see t1-cold.c */
    struct T1Code *t1;    /* units of tier 1 have no insn[], but this */
    CodePage *page[2];    /* [1]: of the second page, when an instruction crosses */
    X86Unit *page_next[2];
    /* Tier 0; units of tier 1 end here */
    X86Unit *link[2];     /* next unit when the branch at the end is not taken / taken */
    X86Insn insn[];       /* n, then one that leads to the next unit */
};

enum { UNIT_T1_BYTES = offsetof(X86Unit, link) };
struct CodePage { /* a page of RAM that units were decoded from */
    CodePage *next;
    uintptr_t host;
    RamBlock *ram;
    uint64_t ram_off;
    uint64_t granules;    /* bit g: bytes g*64.. belong to some unit */
    X86Unit *units[2];    /* by tier: all of tier 0's are dropped at once now and then */
    uint8_t hold;         /* stores to go until the page is let go of, once no unit is left */
    uint8_t changed[4096 >> GRANULE_BITS]; /* times that units which begin in the granule were overwritten; see t1.c */
};

typedef struct JumpEntry {
    uint64_t rip, gen;
    X86Unit *unit;
    uint64_t pad;
} JumpEntry;

/* What another thread tells this vCPU: bytes that were written, or (len 0) a page whose writes are watched from now on. */
typedef struct CodeWrite { RamBlock *ram; uint64_t off, len; } CodeWrite;
typedef struct Await { uint32_t ticket; bool open; } Await; /* an answer this vCPU waits for, by the index of who owes it */

enum { ROW_ENTERED = 1, ROW_RETIRED = 2 }; /* in T0State.rows_run */

typedef struct T0State {
    JumpEntry jc[JC_SIZE];
    bool jc_used;         /* something is in jc */
    uint64_t gen;         /* what jump-cache entries of now carry: generation << 32 | mode */
    uint32_t generation;
    X86Unit *hash[UNIT_HASH], *cold_hash[COLD_HASH]; /* tier 1's, tier 0's */
    CodePage *pages[PAGE_HASH];
    uint8_t emptied[4096]; /* by page: how often its last unit was overwritten */
    X86Unit *grave;       /* dead; freed when none can be running. Linked by hash_next */
    X86Unit *link_from;   /* the run loop may link it to what it finds next */
    unsigned link_slot;
    uint64_t link_rip;
    uint64_t cs_base;     /* what the jump cache of this generation assumes */
    uint32_t cs_limit;
    X86Insn *patched;     /* x86_unit_leave() replaced its op */
    X86Op patched_op;
    X86Features feat;
    const FlatView *view; /* the TLB was filled from */
    uint32_t view_generation;
    const FlatRange *hint;
    uint8_t dbg;          /* DBG_*; 0: no debugger */
    bool dbg_ends_on;     /* some bit of dbg_ends is set */
    uint32_t dbg_serial;  /* of the points it knows */
    uint64_t dbg_ends[64]; /* offsets in a page at which units end: those of breakpoints */
    bool ac_on;           /* #AC is possible: user entries take the slow path */
    uint8_t *rows_run;    /* tests: set to ROW_* for the row each unit of one instruction begins with; NULL: nobody asks */
    bool log_stores;      /* lockstep: stores go to t1_log_store() first, device accesses to t1_log_io() */
    bool running;         /* inside run(): the thread holds a read section, view is current */
    bool in_unit;         /* between entering a unit and leaving it: insn_count is ahead */
    size_t unit_memory;   /* bytes, of tier 0's units */
    size_t n_cold;        /* such units alive */
    UnitPiece *pieces, *piece; /* where they lie; the last one in use */
    size_t piece_left;    /* bytes in it */
    X86Unit *unit_free[UNIT_MAX + 1]; /* room of dead ones, by instructions */
    TlbState tlb;         /* all of the TLB but the first level itself */
    TcgStats stats;
    pthread_mutex_t lock; /* inbox, and changes of `running` */
    CodeWrite inbox[INBOX_MAX];
    unsigned n_inbox;
    uint32_t wanted;      /* atomic: TCG_FLUSH_*, WANT_* */
    uint32_t asked, done; /* atomic: requests to watch a page, and how many of them took effect */
    bool awaiting;        /* own thread: some await[i].open */
    bool stopped_others;  /* own thread: in a locked access that no host instruction can do */
    Await *await;         /* own thread: n_cpus */
    uint64_t spin_at;     /* insn_count of the last PAUSE */
    uint32_t spins;       /* PAUSEs that followed each other closely */
    int64_t spin_ns, spin_seen; /* a single vCPU: how long there have been many PAUSEs; when that was looked at */
} T0State;
enum { WANT_INBOX = 1 << 8 };
enum { DBG_BREAK = 1, DBG_WATCH = 2, DBG_STEP = 4, DBG_NO_IRQ = 8, DBG_HIT = 16 /* stop behind this instruction */ };

/* int-branch.c: a handler that does a and the Jcc behind it at once, or NULL */
X86Op t0_fuse(const X86Insn *a, const X86Insn *jcc);

extern const TcgTargetOps x86_tcg_ops;
OP(unit_end);
OP(unit_stop);

void t0_run_unit(X86Cpu *cpu, X86Unit *u); /* t0.c */
void t0_features(X86Cpu *cpu);             /* the model got more of them */

/* unit.c */
X86Unit *unit_find(X86Cpu *cpu, uint32_t mode);    /* at cpu->rip; decodes when needed; may raise */
/* Where cpu->rip lies in memory; false: in MMIO. May raise. */
typedef struct UnitPlace {
    uint64_t lin, left;    /* linear address; bytes before the code segment ends */
    uintptr_t key;         /* host address */
    unsigned room, cs_off; /* bytes up to the end of page or segment */
    const FlatRange *range;
    uintptr_t key2;        /* host address of the second page, when one instruction crosses into it; else 0 */
    const FlatRange *range2;
} UnitPlace;
/* The instruction that crosses out of at's page; its bytes (X86_MAX_INSN). False: not to be cached. May raise. */
bool unit_decode_crossing(X86Cpu *cpu, UnitPlace *at, uint32_t mode, uint8_t *bytes, X86Insn *insn);
bool unit_locate(X86Cpu *cpu, UnitPlace *at);
X86Unit *unit_lookup(X86Cpu *cpu, const UnitPlace *at, uint32_t mode); /* NULL: none */
X86Unit *unit_find_at(X86Cpu *cpu, const UnitPlace *at, uint32_t mode); /* decodes it when there is none */
void unit_watch(X86Cpu *cpu, const UnitPlace *at); /* before its bytes are read for unit_add() */
/* One of tier 1, into UNIT_T1_BYTES that stay where they are for as long as anybody may run it. */
X86Unit *unit_add(X86Cpu *cpu, const UnitPlace *at, uint32_t mode, unsigned span, void *memory);
void unit_kill_one(X86Cpu *cpu, X86Unit *u);
void unit_reap(T0State *t);                        /* frees what is in the grave */
void unit_code_written(X86Cpu *cpu, RamBlock *ram, uint64_t off, uint64_t len);
unsigned unit_changes(const X86Cpu *cpu, uintptr_t key); /* times that units which begin near there were overwritten */
bool unit_page_has_code(const X86Cpu *cpu, uintptr_t host);
void units_drop_all(X86Cpu *cpu);
void units_drop_offset(X86Cpu *cpu, unsigned off); /* those that begin at or reach over this offset of a page */
void units_free_all(X86Cpu *cpu);                  /* at the end of the vCPU's life */

/* tlb.c */
void tlb_init(X86Cpu *cpu);
void tlb_mode_changed(X86Cpu *cpu); /* CPL: selects the generation */
void tlb_new_generation(X86Cpu *cpu);
void tlb_note_fetch(X86Cpu *cpu, uint64_t lin, const TlbAux *aux, unsigned mmu);
void tlb_note_writable(X86Cpu *cpu, uint64_t host); /* an entry lets stores to this host page pass unseen */
void tlb_drop_l1(X86Cpu *cpu, bool keep_global);
/* Stores there take the slow path from now on. True: not all did before. */
bool tlb_unmap_writes(X86Cpu *cpu, uintptr_t host_page);
void tlb_recheck_writes(X86Cpu *cpu);

void t1_forget_page(X86Cpu *cpu, uint64_t lin, uint64_t mask); /* t1.c: jump-cache entries of code there */
void t1_salts_drop(X86Cpu *cpu); /* t1.c: all of them: generations begin anew */

/* tlbwin.c */
void tlb_windows_drop(X86Cpu *cpu);
void tlb_windows_drop_page(X86Cpu *cpu, uint64_t lin, unsigned shift);
bool tlb_windows_drop_host(X86Cpu *cpu, uintptr_t host_page);
void tlb_windows_recheck(X86Cpu *cpu);

void t1_log_store(X86Cpu *cpu, uint8_t *host, unsigned n);
void t1_log_io(X86Cpu *cpu);

/* mem.c */
/* The entry for fetching from lin; raises. */
const TlbEntry *tlb_fetch(X86Cpu *cpu, uint64_t lin);
unsigned tlb_fetch_io(X86Cpu *cpu, uint64_t lin, uint8_t *buf, unsigned n);
void mem_begin_run(X86Cpu *cpu);
void mem_mode_changed(X86Cpu *cpu);
void t0_take_requests(X86Cpu *cpu);
/* The current instruction's linear memory fault beyond the canonical range: #SS or #GP. */
bool x86_stack_fault(const X86Cpu *cpu, uint64_t lin);

/* smp.c: see docs/devel/threads.md, "Code and other vCPUs" */
void x86_spin(X86Cpu *cpu); /* after a PAUSE */
void smp_request_flush(Vcpu *v, unsigned what);
void smp_code_written(Vcpu *v, RamBlock *ram, uint64_t off, uint64_t len);
void smp_watch_page(X86Cpu *cpu, CodePage *p); /* before the page's first byte is decoded */
/* Between units: did every vCPU that was asked answer? If not, waits a little; look at requests and come again. */
bool smp_settled(X86Cpu *cpu);
void smp_run_begin(X86Cpu *cpu);
void smp_run_end(X86Cpu *cpu);

/* dbg.c */
void dbg_begin_run(X86Cpu *cpu);
bool dbg_at_break(X86Cpu *cpu);  /* a breakpoint at cpu->rip: it is noted */
void dbg_stepped(X86Cpu *cpu);   /* the step is done */
void dbg_fault(X86Cpu *cpu);     /* an exception is about to be delivered */
static inline bool dbg_ends_at(const T0State *t, uint64_t lin)
{
    return G_UNLIKELY(t->dbg_ends_on) && (t->dbg_ends[lin >> 6 & 63] >> (lin & 63) & 1);
}

/* log.c */
void t0_log_unit(X86Cpu *cpu, const X86Unit *u, uint64_t rip);
void t0_log_enter(X86Cpu *cpu, const X86Unit *u, uint64_t rip);

static inline unsigned jc_index(uint64_t rip) { return (unsigned)(rip ^ rip >> JC_BITS) & (JC_SIZE - 1); }

#if defined(RHEA_TAIL_CALLS) && defined(T0_TAIL_NEXT)
#define ENTER_UNIT(u) return (u)->insn[0].op(cpu, (u)->insn)
#else
#define ENTER_UNIT(u) return (u)->insn
#endif

/* Continues at rip, which is in range and canonical: `JUMP(rip, slot)`; slot 0 for the fall-through, 1 for the target of a direct
 * branch. Leaves to the run loop when somebody asked for it or nothing is cached. */
#define JUMP(where, slot)                                                                                   \
    do {                                                                                                    \
        uint64_t to_ = (where);                                                                             \
        X86Unit *next_ = cpu->unit->link[slot];                                                             \
        if (G_LIKELY(!__atomic_load_n(&cpu->vcpu.exit_request, __ATOMIC_RELAXED))) {                        \
            if (G_UNLIKELY(!next_)) {                                                                       \
                const JumpEntry *e_ = &cpu->t0->jc[jc_index(to_)];                                          \
                if (e_->rip == to_ && e_->gen == cpu->t0->gen) {                                            \
                    next_ = e_->unit;                                                                       \
                }                                                                                           \
            }                                                                                               \
            if (G_LIKELY(next_)) {                                                                          \
                cpu->unit = next_;                                                                          \
                cpu->gpr[R_UNIT] = to_;                                                                     \
                cpu->insn_count += next_->n;                                                                \
                ENTER_UNIT(next_);                                                                          \
            }                                                                                               \
            cpu->t0->link_from = cpu->unit;                                                                 \
            cpu->t0->link_slot = (slot), cpu->t0->link_rip = to_;                                                                    \
        }                                                                                                   \
        cpu->rip = to_;                                                                                     \
        END_UNIT;                                                                                           \
    } while (0)
/* The same for computed targets: no link. True in the jump cache means canonical and inside the limit. */
#define JC_FIND(where)                                                                                      \
    ({                                                                                                      \
        const JumpEntry *e_ = &cpu->t0->jc[jc_index(where)];                                                \
        e_->rip == (where) && e_->gen == cpu->t0->gen &&                                                    \
            !__atomic_load_n(&cpu->vcpu.exit_request, __ATOMIC_RELAXED) ? e_->unit : NULL;                  \
    })
#define JUMP_UNIT(u, where)                                                                                 \
    do {                                                                                                    \
        X86Unit *next_ = (u);                                                                               \
        cpu->unit = next_;                                                                                  \
        cpu->gpr[R_UNIT] = (where);                                                                         \
        cpu->insn_count += next_->n;                                                                        \
        ENTER_UNIT(next_);                                                                                  \
    } while (0)

#endif
