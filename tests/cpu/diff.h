/* SPDX-License-Identifier: MIT
 * tests/cpu/diff.h - random instructions on the host CPU and in the interpreter: shared types.
 *
 * diff-gen.c makes a case from a row of insn.def, diff-native.c runs it on the host, diff-t0.c in the
 * interpreter, diff.c compares and reports. Both sides see the same linear addresses.
 */
#ifndef TESTS_CPU_DIFF_H
#define TESTS_CPU_DIFF_H

#include "target/x86/decode.h"

#define DIFF_CODE  0x00200800u /* the instruction under test; its page is mapped, the next one too */
#define DIFF_DATA  0x00302000u /* DIFF_PAGES pages of data; the pages around them are not mapped */
enum { DIFF_PAGES = 2, DIFF_DATA_SIZE = DIFF_PAGES * 4096 };

typedef struct DiffFx { /* the 512 bytes of FXSAVE64, SDM vol. 1 10.5.1 */
    uint16_t fcw, fsw;
    uint8_t ftw, pad0;
    uint16_t fop;
    uint64_t fip, fdp;
    uint32_t mxcsr, mxcsr_mask;
    uint8_t st[8][16];
    uint8_t xmm[16][16];
    uint8_t pad1[96];
} DiffFx;

typedef struct DiffState {
    uint64_t gpr[16], rip;
    uint32_t rflags;
    DiffFx fx;
    uint8_t ymmh[16][16]; /* upper halves of the vector registers */
} DiffState;

typedef struct DiffCase {
    bool code64; /* else 32-bit compatibility mode */
    unsigned row;
    uint8_t bytes[16];
    unsigned len;
    DiffState in;
    uint8_t data[DIFF_DATA_SIZE];
    uint32_t rflags_ignore; /* undefined after this instruction */
    unsigned area;          /* XSAVE and XRSTOR: where in the data the area is; 0: none, or not aligned */
} DiffCase;

typedef struct DiffResult {
    int trap;     /* exception vector, -1: none */
    uint32_t err; /* error code, of vectors that have one */
    uint64_t cr2; /* page faults */
    DiffState out;
    uint8_t data[DIFF_DATA_SIZE];
} DiffResult;

/* diff-gen.c. False: this row cannot be generated for the mode (the reason is in *why). */
void diff_gen_init(void);
bool diff_generate(unsigned row, bool code64, uint64_t seed, DiffCase *c, const char **why);
uint64_t diff_random(uint64_t *s);
uint64_t diff_edge(uint64_t *s); /* a number, mostly one at some edge */
void diff_fill_vector(uint64_t *s, uint8_t v[16]);
void diff_fill_fx(uint64_t *s, DiffFx *fx);
/* An encoding of the row with this operand in ModRM.rm. Result: its length, 0: there is none. */
typedef struct DiffMem {
    bool memory;       /* else a register */
    bool wide;         /* a displacement of 32 bits even when 8 do */
    bool rip_relative; /* no base, no index; else absolute */
    int base, index;   /* -1: none */
    unsigned scale, seg; /* seg 4, 5: a prefix FS, GS; 0: none */
    int32_t disp;
} DiffMem;
unsigned diff_encode(uint64_t *s, unsigned row, bool code64, uint32_t mode, const DiffMem *m, uint8_t bytes[16], X86Insn *d,
                     unsigned *disp_at);
/* Why the host cannot judge the row; NULL when it can. */
const char *diff_row_excluded(unsigned row);
const char *diff_row_group(unsigned row);

/* diff-native.c */
bool diff_native_init(GString *why);
bool diff_native_has_feature(const char *name);
bool diff_native_has_ymm(void); /* AVX is on: ymmh is loaded and read */
void diff_native_run(const DiffCase *c, DiffResult *r);

/* diff-vex.c: which VEX encodings exist. Returns the number of differences. */
unsigned diff_vex_run(uint64_t n, uint64_t seed);

/* diff-t0.c */
void diff_t0_init(void);
struct X86Cpu;
void diff_load_state(struct X86Cpu *cpu, const DiffState *s);
void diff_save_state(struct X86Cpu *cpu, const DiffState *in, DiffState *s); /* in: for what the CPU does not hold */
void diff_t0_run(const DiffCase *c, DiffResult *r);
/* The same through tier 1, a unit of this one instruction. False: tier 1 does not take it. */
bool diff_t1_run(const DiffCase *c, DiffResult *r);

#endif
