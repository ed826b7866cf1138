/* SPDX-License-Identifier: MIT
 * tests/cpu/blocks.h - random sequences of instructions in tier 0 and in tier 1: shared types.
 *
 * blocks-gen.c makes a block from a seed, blocks-run.c runs it in a small machine, blocks.c compares and reports.
 * Threads: main.
 */
#ifndef TESTS_CPU_BLOCKS_H
#define TESTS_CPU_BLOCKS_H

#include "diff.h"

/* The address space, page by page; B_LO to B_HI is reset before each run and compared after it. Nothing else but the two
 * pages of code is mapped. */
enum {
    B_CODE = 0x200000, B_CODE_SIZE = 0x2000,
    B_LO = 0x301000,
    B_RW = 0x301000,      /* two pages */
    B_RO = 0x303000,      /* writable pages around it */
    B_SUPER = 0x305000,   /* not for user code */
    B_MMIO = 0x307000,
    B_HOLE = 0x309000,
    B_COUNTERS = 0x30c000, /* of loops: no operand of another instruction is placed there */
    B_HOLE2 = 0x30d000,   /* two pages */
    B_STACK = 0x30f000,   /* two pages with a 64-KiB border between them, none beside them */
    B_HI = 0x311000,
    B_ALIAS = 0x313000,   /* the first page of code again */
    B_MAX = 48, B_BYTES = 640,
};
#define B_HIGH 0xffffffff80000000ull /* all of it is there, too, for 64-bit code */
/* And there, where user code is translated independent of its position; 32-bit code uses the last two. */
#define B_BASES 0x550000000000ull, 0x7f1200000000ull, 0x40000000, 0xc0000000

typedef struct BlockInsn {
    uint16_t off, len;
    uint32_t undef; /* flags that are undefined in front of it on some path */
    uint32_t clear, set; /* flags that it defines; leaves undefined */
    int16_t to;     /* the instruction that it may jump forwards to; 0: none */
    bool ends;      /* never goes on behind itself */
    bool keep;      /* belongs to others: not to be dropped alone */
} BlockInsn;
typedef struct Block {
    uint64_t seed;
    bool code64, user, smap;
    uint32_t at;     /* linear address of the first instruction, less base */
    uint64_t base, other; /* where it runs: 0 or of B_BASES; another one */
    uint8_t code[B_BYTES];
    unsigned len, n; /* bytes; instructions, the last one (UD2) included */
    BlockInsn insn[B_MAX + 1];
    DiffState in;
    uint64_t fs_base, gs_base;
    unsigned noise;  /* where in the noise the memory's contents begin */
    uint32_t counter[8];
    bool patches;    /* has stores into its own code */
} Block;

typedef struct BlockResult {
    int trap;        /* exception vector; -2: halted */
    uint32_t err;
    uint64_t cr2;
    DiffState out;
    uint32_t io_n;
    uint64_t io_hash; /* of device accesses, in order */
    uint8_t data[B_HI - B_LO], code[B_CODE_SIZE];
} BlockResult;

/* blocks-gen.c. False: this seed makes no block. */
bool block_generate(uint64_t seed, Block *b);
void block_drop(Block *b, unsigned i); /* instruction i becomes NOPs */
uint32_t block_undef_after(const X86Insn *d, uint32_t undef); /* undefined flags behind d, when `undef` were before it */

/* blocks-run.c */
typedef enum BlockHow {
    BLOCK_T0,
    BLOCK_T1,
    BLOCK_T1_MOVED,    /* after a run at the other base, whose translations are still there */
    BLOCK_T1_PIECES,   /* units of a few instructions each, not linked */
    BLOCK_T0_STEPS,    /* one instruction a unit */
    BLOCK_T0_INVERTED, /* the same, and the undefined flags of each are inverted behind it */
    BLOCK_HOWS
} BlockHow;
void block_init(void);
void block_fini(void);
uint64_t block_joins(void); /* places in units of tier 1 that jumps of the unit lead to, so far */
void block_run(const Block *b, BlockHow how, BlockResult *r);
void block_disassemble(const Block *b, uint64_t stop, GString *out);

#endif
