/* SPDX-License-Identifier: MIT
 * tests/cpu/diff-native.c - runs one instruction on the host CPU.
 *
 * The caller traps into a signal handler with INT3. The handler keeps the caller's context, puts the case's
 * registers (vectors and x87 included) with TF set into the signal frame and returns into the instruction;
 * the single-step trap, or the fault it raises, enters the handler again, which copies the outcome
 * and brings the caller back. CS selects 64-bit or compatibility mode.
 */
#include "diff.h"

#include <cpuid.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mman.h>
#include <ucontext.h>
#include <unistd.h>

enum { USER32_CS = 0x23, USER64_CS = 0x33, AT_BV = 512, AT_YMMH = 576 /* standard format, SDM vol. 1 13.4 */ };

static struct {
    const DiffCase *c;
    DiffResult *r;
    bool inside;
    gregset_t caller; /* the frame of the kernel is shorter than a ucontext_t: no copies of that */
    uint8_t caller_fp[8192] __attribute__((aligned(64)));
    size_t fp_size;
    uint8_t *code, *data;
} nat;

static const int greg_of[16] = { REG_RAX, REG_RCX, REG_RDX, REG_RBX, REG_RSP, REG_RBP, REG_RSI, REG_RDI,
                                 REG_R8,  REG_R9,  REG_R10, REG_R11, REG_R12, REG_R13, REG_R14, REG_R15 };

/* The kernel's frame: FXSAVE area, whose reserved bytes tell the size of the XSAVE area behind it. */
static size_t frame_fp_size(const void *fp)
{
    const uint32_t *sw = (const uint32_t *)((const uint8_t *)fp + 464);
    return sw[0] == 0x46505853u /* FP_XSTATE_MAGIC1 */ ? MIN(sw[1], sizeof(nat.caller_fp)) : 512;
}

static void enter_case(ucontext_t *uc)
{
    const DiffCase *c = nat.c;
    greg_t *g = uc->uc_mcontext.gregs;
    memcpy(nat.caller, g, sizeof(nat.caller));
    nat.fp_size = frame_fp_size(uc->uc_mcontext.fpregs);
    memcpy(nat.caller_fp, uc->uc_mcontext.fpregs, nat.fp_size);
    for (int i = 0; i < 16; i++) {
        g[greg_of[i]] = (greg_t)c->in.gpr[i];
    }
    g[REG_RIP] = DIFF_CODE;
    g[REG_EFL] = c->in.rflags | FL_TF | FL_IF | 2;
    uint64_t sel = (uint64_t)g[REG_CSGSFS];
    g[REG_CSGSFS] = (greg_t)((sel & ~0xffffull) | (c->code64 ? USER64_CS : USER32_CS));
    uint8_t *fp = (uint8_t *)uc->uc_mcontext.fpregs;
    memcpy(fp, &c->in.fx, 416);
    if (nat.fp_size > 512) {
        uint64_t *bv = (uint64_t *)(fp + AT_BV);
        *bv |= 3; /* XSTATE_BV: x87 and SSE come from memory, not from their initial state */
        if (diff_native_has_ymm()) {
            *bv |= 4;
            memcpy(fp + AT_YMMH, c->in.ymmh, sizeof(c->in.ymmh));
        }
    }
    nat.inside = true;
}

static void leave_case(ucontext_t *uc, int signo)
{
    greg_t *g = uc->uc_mcontext.gregs;
    DiffResult *r = nat.r;
    for (int i = 0; i < 16; i++) {
        r->out.gpr[i] = (uint64_t)g[greg_of[i]];
    }
    r->out.rip = (uint64_t)g[REG_RIP];
    r->out.rflags = (uint32_t)g[REG_EFL] & ~FL_TF;
    memcpy(&r->out.fx, uc->uc_mcontext.fpregs, 512);
    if (nat.fp_size > 512) { /* a component in its initial state is not written */
        const uint8_t *fp = (const uint8_t *)uc->uc_mcontext.fpregs;
        uint64_t bv = *(const uint64_t *)(fp + AT_BV);
        if (!(bv & 1)) {
            r->out.fx.fcw = 0x37f;
            r->out.fx.fsw = r->out.fx.ftw = 0;
            r->out.fx.fop = 0;
            r->out.fx.fip = r->out.fx.fdp = 0;
            memset(r->out.fx.st, 0, sizeof(r->out.fx.st));
        }
        if (!(bv & 2)) {
            memset(r->out.fx.xmm, 0, sizeof(r->out.fx.xmm));
        }
        if (bv & 4 && diff_native_has_ymm()) {
            memcpy(r->out.ymmh, fp + AT_YMMH, sizeof(r->out.ymmh));
        } else {
            memset(r->out.ymmh, 0, sizeof(r->out.ymmh));
        }
    }
    r->trap = (int)g[REG_TRAPNO];
    r->err = (uint32_t)g[REG_ERR];
    r->cr2 = (uint64_t)g[REG_CR2];
    if (signo == SIGTRAP && r->trap == EXC_DB) {
        r->trap = -1;
    }
    memcpy(g, nat.caller, sizeof(nat.caller));
    memcpy(uc->uc_mcontext.fpregs, nat.caller_fp, nat.fp_size);
    nat.inside = false;
}

__attribute__((no_sanitize("address", "undefined"))) static void on_signal(int signo, siginfo_t *si, void *ctx)
{
    ucontext_t *uc = ctx;
    if (!nat.inside && signo == SIGTRAP && nat.c) {
        enter_case(uc);
    } else if (nat.inside && signo == SIGTRAP && uc->uc_mcontext.gregs[REG_TRAPNO] == EXC_DB &&
               uc->uc_mcontext.gregs[REG_RIP] == DIFF_CODE &&
               (!strncmp(x86_rows[nat.c->row].name, "REP", 3) || x86_rows[nat.c->row].vsib)) {
        return; /* one repetition is done, or a gather was about to fault after some elements (SDM: the trap wins): go on */
    } else if (nat.inside) {
        leave_case(uc, signo);
        nat.c = NULL;
    } else {
        dprintf(2, "signal %d in the test itself: rip %llx address %p\n", signo, (long long)uc->uc_mcontext.gregs[REG_RIP], si->si_addr);
        signal(signo, SIG_DFL);
    }
}

bool diff_native_init(GString *why)
{
    nat.code = mmap((void *)(uintptr_t)(DIFF_CODE & ~4095u), 8192, PROT_READ | PROT_WRITE | PROT_EXEC,
                    MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
    nat.data = mmap((void *)(uintptr_t)DIFF_DATA, DIFF_DATA_SIZE, PROT_READ | PROT_WRITE,
                    MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
    if (nat.code == MAP_FAILED || nat.data == MAP_FAILED) {
        g_string_printf(why, "the host does not let us map the test's fixed addresses");
        return false;
    }
    /* 64-bit processes run with null DS and ES, which compatibility mode cannot use. */
    __asm__ volatile("movl $0x2b, %%eax; movl %%eax, %%ds; movl %%eax, %%es" ::: "eax");
    size_t size = 256 << 10; /* AVX-512 frames are large */
    stack_t ss = { .ss_sp = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0), .ss_size = size };
    sigaltstack(&ss, NULL);
    struct sigaction sa = { .sa_sigaction = on_signal, .sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER };
    static const int signals[] = { SIGTRAP, SIGSEGV, SIGILL, SIGFPE, SIGBUS };
    for (unsigned i = 0; i < G_N_ELEMENTS(signals); i++) {
        sigaction(signals[i], &sa, NULL);
    }
    return true;
}

void diff_native_run(const DiffCase *c, DiffResult *r)
{
    memcpy(nat.code + (DIFF_CODE & 4095), c->bytes, 16);
    memcpy(nat.data, c->data, DIFF_DATA_SIZE);
    nat.r = r;
    nat.c = c;
    __asm__ volatile("int3" ::: "memory");
    memcpy(r->data, nat.data, DIFF_DATA_SIZE);
}

bool diff_native_has_ymm(void)
{
    static int has = -1;
    if (has < 0) {
        has = diff_native_has_feature("avx");
    }
    return has;
}

/* insn.def's feature names that the host has, as /proc/cpuinfo spells them. */
bool diff_native_has_feature(const char *name)
{
    static char *flags;
    if (!flags) {
        char *text = NULL;
        if (!g_file_get_contents("/proc/cpuinfo", &text, NULL, NULL)) {
            return false;
        }
        char *line = strstr(text, "\nflags");
        char *end = line ? strchr(line + 1, '\n') : NULL;
        flags = line ? g_strdup_printf("%.*s ", (int)(end - line - 1), line + 1) : g_strdup("");
        g_free(text);
    }
    static const char *const other[][2] = { { "sse3", "pni" }, { "sse4.1", "sse4_1" }, { "sse4.2", "sse4_2" },
        { "lahf-lm", "lahf_lm" }, { "sha-ni", "sha_ni" }, { "lzcnt", "abm" }, { "pclmulqdq", "pclmulqdq" },
        { "mmxext", "mmxext" }, { "clflush", "clflush" }, { "nopl", "nopl" } };
    for (unsigned i = 0; i < G_N_ELEMENTS(other); i++) {
        if (!strcmp(name, other[i][0])) {
            name = other[i][1];
        }
    }
    g_autofree char *word = g_strdup_printf(" %s ", name);
    return strstr(flags, word) != NULL;
}
