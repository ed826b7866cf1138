/* SPDX-License-Identifier: MIT
 * tests/cpu/test-int-native.c - integer instructions on random operands, compared with the host CPU running the same bytes.
 * Every row of insn.def that is user-level, not a branch and not SIMD is encoded in random forms from the table alone.
 * Registers, defined flags, memory and #DE / #UD are compared. Skips on hosts that are not x86-64.
 * Threads: main; host faults come back through signals.
 */
#include "target/x86/decode.h"
#include "tests/cpu/cpuharness.h"

#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#if defined(__x86_64__)

enum { DATA_AT = 0x400000, DATA_SIZE = 0x4000, CODE_AT = 0x10000 };

typedef struct Regs {
    uint64_t gpr[16], flags;
} Regs;
typedef struct NativePage {
    uint8_t code[2048];
    Regs in, out;
    uint64_t host_sp;
} NativePage;

static CpuHarness *h;
static NativePage *np;
static uint8_t *data;
static sigjmp_buf fault;
static volatile int fault_vector;
static unsigned cases;

static void on_signal(int sig)
{
    fault_vector = sig == SIGFPE ? EXC_DE : sig == SIGILL ? EXC_UD : EXC_GP;
    siglongjmp(fault, 1);
}

static uint8_t *put_rip(uint8_t *p, const void *target)
{
    int32_t rel = (int32_t)((const uint8_t *)target - (p + 4));
    memcpy(p, &rel, 4);
    return p + 4;
}
#define PUT(...) do { static const uint8_t b_[] = { __VA_ARGS__ }; memcpy(p, b_, sizeof(b_)); p += sizeof(b_); } while (0)

/* push callee-saved; load flags and registers; the instruction; store everything; pop; ret. RSP is the host's. */
static void native_build(const uint8_t *insn, unsigned n)
{
    uint8_t *p = np->code;
    PUT(0x53, 0x55, 0x41, 0x54, 0x41, 0x55, 0x41, 0x56, 0x41, 0x57);
    PUT(0xff, 0x35);
    p = put_rip(p, &np->in.flags);
    PUT(0x9d);
    for (unsigned r = 0; r < 16; r++) {
        if (r != R_RSP) {
            *p++ = (uint8_t)(0x48 | (r >> 3) << 2);
            *p++ = 0x8b;
            *p++ = (uint8_t)(5 | (r & 7) << 3);
            p = put_rip(p, &np->in.gpr[r]);
        }
    }
    memcpy(p, insn, n);
    p += n;
    for (unsigned r = 0; r < 16; r++) {
        if (r != R_RSP) {
            *p++ = (uint8_t)(0x48 | (r >> 3) << 2);
            *p++ = 0x89;
            *p++ = (uint8_t)(5 | (r & 7) << 3);
            p = put_rip(p, &np->out.gpr[r]);
        }
    }
    PUT(0x9c, 0x8f, 0x05);
    p = put_rip(p, &np->out.flags);
    PUT(0x6a, 0x02, 0x9d); /* push 2; popf: clears DF and TF */
    PUT(0x41, 0x5f, 0x41, 0x5e, 0x41, 0x5d, 0x41, 0x5c, 0x5d, 0x5b, 0xc3);
}

static int native_run(void)
{
    fault_vector = -1;
    if (sigsetjmp(fault, 1) == 0) {
        ((void (*)(void))(uintptr_t)np->code)();
    }
    __asm__ volatile("cld");
    return fault_vector;
}

static uint64_t rnd64(void)
{
    static const uint64_t edge[] = { 0, 1, 2, 0x7f, 0x80, 0xff, 0x7fff, 0x8000, 0xffff, 0x7fffffff, 0x80000000, 0xffffffff,
                                     0x7fffffffffffffff, 0x8000000000000000, UINT64_MAX, 0xffffffff80000000 };
    uint64_t r = (uint64_t)g_test_rand_int() << 32 | (uint32_t)g_test_rand_int();
    switch (g_test_rand_int_range(0, 4)) {
    case 0: return edge[g_test_rand_int_range(0, G_N_ELEMENTS(edge))];
    case 1: return r & 0x3f;
    default: return r;
    }
}

static bool row_usable(const X86Row *r)
{
    const uint32_t no = RA_NOFUZZ | RA_CPL0 | RA_X87 | RA_MMX | RA_SSE | RA_AVX | RA_END | RA_I64 | RA_D64 | RA_F64;
    if (r->attrs & no || r->reg >= RK_SEG || r->rm >= RK_SEG) {
        return false;
    }
    static const char *const skip[] = { "LAHF", "MONITOR", "CPUID", "RDTSC", "CLFLUSH", "RDPID", "UD", "XGETBV", "RDRAND",
                                        "RDSEED", "VERR", "VERW", "LAR", "LSL", "STR", "SLDT", "SMSW", "SGDT", "SIDT", "RDFS",
                                        "RDGS", "WRFS", "WRGS", "MOV S", "XBEGIN", "CLWB", "ENTER", "RDPMC", "HLT", "CLI",
                                        "STI", "INVD", "CLAC", "STAC", "SWAPGS", "CLTS", "WAIT", "FX", "XSAVE", "XRSTOR",
                                        "LDMXCSR", "STMXCSR", "LFS", "LGS", "LSS", "PUSH", "POP" };
    for (unsigned i = 0; i < G_N_ELEMENTS(skip); i++) {
        if (g_str_has_prefix(r->name, skip[i])) {
            return false;
        }
    }
    /* implied memory: strings, XLAT and moffs have tests of their own */
    return !strstr(r->operands, "Xb") && !strstr(r->operands, "Yb") && !strstr(r->operands, "Xv") &&
           !strstr(r->operands, "Yv") && strcmp(r->name, "XLAT") && !strstr(r->operands, "Ob") && !strstr(r->operands, "Ov");
}

/* Random bytes of the row in 64-bit mode from its ENC text. Registers but RSP; memory through RBX, which points into the data. */
static unsigned encode(const X86Row *r, uint8_t *out, bool *mem)
{
    g_auto(GStrv) tok = g_strsplit(r->enc, " ", -1);
    unsigned n = 0, digit = 8, mod = 9, rm = 8, w = 2, pp = 0;
    bool vex = false, plus = false, b0 = false, seen_op = false;
    unsigned map = 0, op = 0;
    for (char **t = tok; *t; t++) {
        if (!strcmp(*t, "vex")) { vex = true;
        } else if (!strcmp(*t, "np") || !strcmp(*t, "nf") || (*t)[0] == 'l') {
        } else if ((*t)[0] == 'w') { w = (unsigned)((*t)[1] - '0');
        } else if ((*t)[0] == '/') { digit = (unsigned)((*t)[1] - '0');
        } else if (!strcmp(*t, ":m")) { mod = 0;
        } else if (!strcmp(*t, ":r")) { mod = 3;
        } else if (g_str_has_prefix(*t, "rm=")) { rm = (unsigned)((*t)[3] - '0');
        } else if (!strcmp(*t, "+r")) { plus = true;
        } else if (!strcmp(*t, "b0")) { b0 = true;
        } else {
            unsigned v = (unsigned)strtoul(*t, NULL, 16);
            bool last = true;
            for (char **u = t + 1; *u; u++) {
                last &= !(strlen(*u) == 2 && g_ascii_isxdigit((*u)[0]) && g_ascii_isxdigit((*u)[1]));
            }
            if (!last && !seen_op && map == 0 && (v == 0x66 || v == 0xf3 || v == 0xf2)) { pp = v;
            } else if (!last && v == 0x0f && map == 0) { map = 1;
            } else if (!last && map == 1 && (v == 0x38 || v == 0x3a)) { map = v == 0x38 ? 2 : 3;
            } else { op = v; seen_op = true; }
        }
    }
    bool has_modrm = x86_has_modrm[r->map][r->opcode];
    *mem = has_modrm && mod != 3 && (mod == 0 || g_test_rand_bit()) && r->rm != RK_NONE;
    *mem |= has_modrm && mod == 0;
    bool only_mem = strchr(r->operands, 'M') && r->rm != RK_NONE;
    *mem |= only_mem;
    unsigned rex = (unsigned)g_test_rand_int_range(0, 16);
    if (w < 2) { rex = (rex & 7) | w << 3; }
    if (b0) { rex &= ~1u; }
    unsigned reg = digit < 8 ? digit : (unsigned)g_test_rand_int_range(0, 8);
    unsigned rmreg = rm < 8 ? rm : (unsigned)g_test_rand_int_range(0, 8);
    bool use_rex = g_test_rand_bit() || w < 2 || vex;
    if (!use_rex) { rex = 0; }
    if (*mem) { rex &= ~3u; rmreg = R_RBX; }
    /* keep RSP out of it: as a byte register without REX number 4 is AH */
    if (r->rm != RK_NONE && !*mem && rmreg == 4 && !(rex & 1)) { rmreg = 5; }
    if (r->reg != RK_NONE && !plus && digit == 8 && reg == 4 && !(rex & 4)) { reg = 5; }
    unsigned vvvv = (unsigned)g_test_rand_int_range(0, 16);
    if (vvvv == 4) { vvvv = 3; }
    if (!vex) {
        bool can66 = pp == 0 && r->osz != OSZ_B && strncmp(r->enc, "np", 2);
        if ((can66 && g_test_rand_int_range(0, 4) == 0) || pp == 0x66) { out[n++] = 0x66; }
        if (pp && pp != 0x66) {
            if (r->osz == OSZ_V && g_test_rand_int_range(0, 4) == 0) { out[n++] = 0x66; }
            out[n++] = (uint8_t)pp;
        }
        if (r->attrs & RA_LOCK && *mem && g_test_rand_bit()) { out[n++] = 0xf0; }
        if (use_rex) { out[n++] = (uint8_t)(0x40 | rex); }
        if (map) { out[n++] = 0x0f; }
        if (map >= 2) { out[n++] = map == 2 ? 0x38 : 0x3a; }
    } else {
        unsigned vpp = pp == 0x66 ? 1 : pp == 0xf3 ? 2 : pp == 0xf2 ? 3 : 0;
        if (!(r->attrs & RA_VVVV)) { vvvv = 0; }
        out[n++] = 0xc4;
        out[n++] = (uint8_t)((~rex & 4) << 5 | (~rex & 2) << 5 | (~rex & 1) << 5 | (map ? map : 1));
        out[n++] = (uint8_t)((rex & 8) << 4 | (~vvvv & 15) << 3 | vpp);
    }
    unsigned lowreg = (unsigned)g_test_rand_int_range(0, 8);
    if (plus && lowreg == 4 && !(rex & 1)) { lowreg = 6; }
    out[n++] = (uint8_t)(plus ? op | lowreg : op);
    if (has_modrm) {
        if (*mem) {
            out[n++] = (uint8_t)(0x40 | reg << 3 | rmreg);
            out[n++] = (uint8_t)(g_test_rand_int_range(-8, 8) * 16);
        } else {
            out[n++] = (uint8_t)(0xc0 | reg << 3 | rmreg);
        }
    }
    for (unsigned i = 0; i < 8; i++) {
        out[n + i] = (uint8_t)g_test_rand_int();
    }
    return n + 8;
}

static void explain(const X86Row *r, const uint8_t *b, unsigned n, const char *what, uint64_t host, uint64_t ours)
{
    g_autoptr(GString) s = g_string_new(NULL);
    for (unsigned i = 0; i < n; i++) {
        g_string_append_printf(s, " %02x", b[i]);
    }
    g_test_message("%s %s [%s ]: %s host 0x%" PRIx64 " rhea 0x%" PRIx64 " (rax %" PRIx64 " rbx %" PRIx64 " rcx %" PRIx64
                   " rdx %" PRIx64 " flags %" PRIx64 ")", r->name, r->operands, s->str, what, host, ours, np->in.gpr[0],
                   np->in.gpr[3], np->in.gpr[1], np->in.gpr[2], np->in.flags);
    g_test_fail();
}

/* Shifts by zero leave flags alone, by more than one leave OF undefined: the row of the form says the latter. */
static bool compare_case(const X86Row *r, const uint8_t *b, unsigned n, int host_vec, CpuResult res, const uint8_t *data_out)
{
    if (host_vec != res.vector) {
        explain(r, b, n, "exception", (uint64_t)(int64_t)host_vec, (uint64_t)(int64_t)res.vector);
        return false;
    }
    if (host_vec >= 0) {
        return true;
    }
    for (unsigned i = 0; i < 16; i++) {
        if (i != R_RSP && np->out.gpr[i] != h->cpu->gpr[i]) {
            g_autofree char *what = g_strdup_printf("register %u", i);
            explain(r, b, n, what, np->out.gpr[i], h->cpu->gpr[i]);
            return false;
        }
    }
    uint32_t mask = (FL_ARITH | FL_DF) & ~(uint32_t)r->fl_undef, ours = x86_get_eflags(h->cpu);
    if (r->name[0] == 'S' && r->name[1] == 'H' && r->name[3] == 'D' && b[0] == 0x66) {
        mask = 0; /* 16-bit double shifts by more than 16: all undefined; the result is compared */
    }
    if ((np->out.flags ^ ours) & mask) {
        explain(r, b, n, "flags", np->out.flags & mask, ours & mask);
        return false;
    }
    if (memcmp(data_out, h->ram + DATA_AT, DATA_SIZE)) {
        explain(r, b, n, "memory", 0, 0);
        return false;
    }
    return true;
}

static bool one_case(const X86Row *r, unsigned row)
{
    uint8_t b[32];
    bool mem;
    unsigned n = encode(r, b, &mem);
    X86Insn d;
    X86Features f = h->cpu ? x86_all_features() : (X86Features){ { 0 } };
    if (x86_decode(MODE_CODE64 | MODE_PE | MODE_LMA | MODE_FLAT, &f, b, n, 0, &d) != DEC_OK || d.row != row) {
        return true; /* the random form was another row's or illegal */
    }
    n = d.len;
    for (unsigned i = 0; i < 16; i++) {
        np->in.gpr[i] = h->cpu->gpr[i] = rnd64();
    }
    np->in.flags = ((uint64_t)g_test_rand_int() & (FL_ARITH | FL_DF)) | 2 | FL_IF;
    uint64_t rbx = DATA_AT + DATA_SIZE / 2 + (strstr(r->name, "16B") ? 0 : (unsigned)g_test_rand_int_range(0, 16));
    if (mem) {
        np->in.gpr[R_RBX] = h->cpu->gpr[R_RBX] = rbx;
        if (g_str_has_prefix(r->name, "BT") && d.reg != R_RBX) { /* a bit offset inside the data */
            np->in.gpr[d.reg] = h->cpu->gpr[d.reg] = (uint64_t)(int64_t)g_test_rand_int_range(-20000, 20000);
        }
        if (d.index != R_NONE || (g_str_has_prefix(r->name, "BT") && d.reg == R_RBX && r->imm == IMM_NONE)) {
            return true;
        }
    }
    if (!strcmp(r->name, "CMPXCHG8B") && g_test_rand_bit()) {
        memcpy(&np->in.gpr[R_RAX], data + (rbx + (uint64_t)(int64_t)d.disp - DATA_AT), 4);
        memcpy(&np->in.gpr[R_RDX], data + (rbx + (uint64_t)(int64_t)d.disp - DATA_AT) + 4, 4);
        h->cpu->gpr[R_RAX] = np->in.gpr[R_RAX];
        h->cpu->gpr[R_RDX] = np->in.gpr[R_RDX];
    }
    h->cpu->gpr[R_RSP] = 0x8000;
    h->cpu->rip = CODE_AT;
    x86_set_eflags(h->cpu, (uint32_t)np->in.flags, FL_ARITH | FL_DF);
    for (unsigned i = 0; i < DATA_SIZE; i += 4) {
        uint32_t v = i % 64 ? i * 0x9e3779b9u : (uint32_t)g_test_rand_int();
        memcpy(data + i, &v, 4);
    }
    memcpy(h->ram + DATA_AT, data, DATA_SIZE);
    ch_load(h, CODE_AT, b, n);
    cases++;
    native_build(b, n);
    int host = native_run();
    CpuResult res = ch_run(h, 1);
    return compare_case(r, b, n, host, res, data);
}

static void test_rows(void)
{
    unsigned rows = 0, rounds = g_test_slow() ? 3000 : 60;
    ch_mode(h, CH_LONG64);
    for (unsigned i = 1; i < x86_n_rows; i++) {
        const X86Row *r = &x86_rows[i];
        if (!row_usable(r)) {
            continue;
        }
        rows++;
        for (unsigned k = 0; k < rounds; k++) {
            if (!one_case(r, i)) {
                break;
            }
        }
    }
    g_test_message("%u rows, %u cases", rows, cases);
    g_assert_cmpuint(cases, >, rows * rounds / 2); /* most random forms must be the row's own */
    g_assert_cmpuint(rows, >, 200);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    np = mmap((void *)0x20000000, sizeof(*np) + 4096, PROT_READ | PROT_WRITE | PROT_EXEC,
              MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
    data = mmap((void *)DATA_AT, DATA_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
    if (np == MAP_FAILED || data == MAP_FAILED || data != (void *)DATA_AT) {
        puts("1..0 # SKIP the low addresses that host and guest share are taken");
        return 0;
    }
    struct sigaction sa = { .sa_handler = on_signal, .sa_flags = SA_NODEFER };
    int sigs[] = { SIGFPE, SIGILL, SIGSEGV, SIGBUS, SIGTRAP };
    for (unsigned i = 0; i < G_N_ELEMENTS(sigs); i++) {
        sigaction(sigs[i], &sa, NULL);
    }
    h = ch_new(8 << 20, NULL);
    g_test_add_func("/int-native/rows", test_rows);
    int r = g_test_run();
    ch_free(h);
    return r;
}

#else
int main(void)
{
    puts("1..0 # SKIP the host is not an x86-64 CPU");
    return 0;
}
#endif
