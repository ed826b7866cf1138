/* SPDX-License-Identifier: MIT
 * tests/cpu/diff.c - every user-mode row of insn.def, with random operands, on the host CPU and in the interpreter.
 *
 *   cpu-diff                 a short run over all rows (RHEA_DIFF_CASES sets the number of cases)
 *   cpu-diff --row NAME      only rows of that name; --group NAME: of that group (the names are in the last
 *                            line), or vex: only which VEX encodings exist
 *   cpu-diff --replay ROW 64|32 SEED   one case, in full
 *
 * A difference is printed as a line that --replay takes. Prints the cases per group at the end.
 *
 * Tests: the handlers of all rows but the excluded ones, with what they are made of; 40,000 cases execute every line of avx-fma.c,
 * avx-fp.c, avx-mask.c, avx-move.c, avx-perm.c and hostfp-fma.c. With --tier1: t1-insn.c, t1-move.c, t1-native.c, t1-mem.c, t1-flags.c, t1-fpu.c, t1-side.c, t1-exec.c.
 */
#include "diff.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

static const char *const reg_names[16] = { "rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi",
                                           "r8",  "r9",  "r10", "r11", "r12", "r13", "r14", "r15" };

static bool has_error_code(int trap)
{
    return trap == EXC_PF || trap == EXC_GP || trap == EXC_SS || trap == EXC_AC;
}

static bool st_is_empty(const DiffFx *fx, unsigned i)
{
    return !(fx->ftw >> ((i + (fx->fsw >> 11)) & 7) & 1);
}

/* Appends what differs; empty when nothing does. */
static void compare(const DiffCase *c, const DiffResult *h, const DiffResult *t, GString *out)
{
    const X86Row *row = &x86_rows[c->row];
    if (h->trap != t->trap) {
        g_string_append_printf(out, " trap %d/%d", h->trap, t->trap);
        return;
    }
    if (has_error_code(h->trap) && h->err != t->err) {
        g_string_append_printf(out, " err %x/%x", h->err, t->err);
    }
    if (h->trap == EXC_PF && h->cr2 != t->cr2) {
        g_string_append_printf(out, " cr2 %lx/%lx", (long)h->cr2, (long)t->cr2);
    }
    for (int i = 0; i < (c->code64 ? 16 : 8); i++) {
        if (h->out.gpr[i] != t->out.gpr[i]) {
            g_string_append_printf(out, " %s %lx/%lx", reg_names[i], (long)h->out.gpr[i], (long)t->out.gpr[i]);
        }
    }
    if (h->out.rip != t->out.rip) {
        g_string_append_printf(out, " rip %lx/%lx", (long)h->out.rip, (long)t->out.rip);
    }
    uint32_t ignore = h->trap < 0 ? c->rflags_ignore : 0;
    uint32_t mask = (FL_ARITH | FL_DF) & ~ignore;
    if ((h->out.rflags ^ t->out.rflags) & mask) {
        g_string_append_printf(out, " flags %x/%x mask %x", h->out.rflags & mask, t->out.rflags & mask, mask);
    }
    const DiffFx *a = &h->out.fx, *b = &t->out.fx;
    if (a->mxcsr != b->mxcsr) {
        g_string_append_printf(out, " mxcsr %x/%x", a->mxcsr, b->mxcsr);
    }
    for (int i = 0; i < (c->code64 ? 16 : 8); i++) {
        if (memcmp(a->xmm[i], b->xmm[i], 16)) {
            const uint64_t *x = (const void *)a->xmm[i], *y = (const void *)b->xmm[i];
            g_string_append_printf(out, " xmm%d %016lx_%016lx/%016lx_%016lx", i, (long)x[1], (long)x[0], (long)y[1], (long)y[0]);
        }
    }
    for (int i = 0; i < (c->code64 ? 16 : 8) && diff_native_has_ymm(); i++) {
        if (memcmp(h->out.ymmh[i], t->out.ymmh[i], 16)) {
            const uint64_t *x = (const void *)h->out.ymmh[i], *y = (const void *)t->out.ymmh[i];
            g_string_append_printf(out, " ymmh%d %016lx_%016lx/%016lx_%016lx", i, (long)x[1], (long)x[0], (long)y[1], (long)y[0]);
        }
    }
    if (a->fcw != b->fcw || a->fsw != b->fsw || a->ftw != b->ftw) {
        g_string_append_printf(out, " fcw %x/%x fsw %x/%x ftw %x/%x", a->fcw, b->fcw, a->fsw, b->fsw, a->ftw, b->ftw);
    }
    if (a->fop && a->fop != b->fop && (row->attrs & RA_X87)) {
        g_string_append_printf(out, " fop %x/%x", a->fop, b->fop);
    }
    for (unsigned i = 0; i < 8; i++) {
        if (memcmp(a->st[i], b->st[i], 10)) {
            const uint64_t *x = (const void *)a->st[i], *y = (const void *)b->st[i];
            g_string_append_printf(out, " st%u%s %04x:%016lx/%04x:%016lx", i, st_is_empty(a, i) ? "(empty)" : "",
                                   (unsigned)(x[1] & 0xffff), (long)x[0], (unsigned)(y[1] & 0xffff), (long)y[0]);
        }
    }
    for (unsigned i = 0; i < DIFF_DATA_SIZE; i++) {
        if (h->data[i] != t->data[i]) {
            g_string_append_printf(out, " mem[%x] %02x/%02x", DIFF_DATA + i, h->data[i], t->data[i]);
            break;
        }
    }
}

/* What hardware is known to do otherwise, each with its reason; the case does not count. */
static void settle_known(const DiffCase *c, const DiffResult *h, DiffResult *t)
{
    const X86Row *row = &x86_rows[c->row];
    if (!strcmp(row->name, "PUSHF") && h->trap < 0) { /* the host's copy has TF, the test's own single step */
        unsigned at = (unsigned)(t->out.gpr[R_RSP] - DIFF_DATA) + 1;
        if (at < DIFF_DATA_SIZE) {
            t->data[at] |= FL_TF >> 8;
        }
    }
    if (!strcmp(row->name, "FXSAVE") && h->trap < 0) { /* AMD leaves the error pointers' place alone without a pending error */
        for (unsigned i = 0; i + 512 <= DIFF_DATA_SIZE; i += 16) {
            if (!memcmp(h->data + i, t->data + i, 6) && !memcmp(h->data + i + 32, t->data + i + 32, 256) &&
                memcmp(h->data + i + 24, c->data + i + 24, 8)) {
                memcpy(t->data + i + 6, h->data + i + 6, 18);
                memcpy(t->data + i + 28, h->data + i + 28, 4); /* MXCSR_MASK: AMD has the MM bit, 17 */
            }
        }
    }
    if (c->area && h->trap < 0) { /* the same of XSAVE */
        memcpy(t->data + c->area + 6, h->data + c->area + 6, 18);
        memcpy(t->data + c->area + 28, h->data + c->area + 28, 4);
    }
    if (row->memsize > 16 && (row->memsize < MS_V || row->memsize >= 512)) {
        t->cr2 = h->cr2; /* which of several pages is looked at first is the CPU's business */
    }
    if (h->trap == EXC_XM && t->trap == EXC_XM) { /* with an unmasked exception AMD leaves PE as it was */
        t->out.fx.mxcsr = (t->out.fx.mxcsr & ~0x20u) | (h->out.fx.mxcsr & 0x20);
        if (row->attrs & RA_MMX || row->reg == RK_MMX || row->rm == RK_MMX) { /* and has left x87 mode already */
            t->out.fx.fsw = h->out.fx.fsw;
            t->out.fx.ftw = h->out.fx.ftw;
            memcpy(t->out.fx.st, h->out.fx.st, sizeof(t->out.fx.st));
        }
    }
    if (!strcmp(row->name, "CALL") && h->trap >= 0 && t->trap >= 0) { /* a bad target and a bad stack: the order is open */
        *t = *h;
    }
    bool loads_mxcsr = strstr(row->name, "LDMXCSR") || !strcmp(row->name, "FXRSTOR");
    if (loads_mxcsr && h->trap < 0 && t->trap == EXC_GP && h->out.fx.mxcsr & 0x20000) { /* MM again */
        *t = *h;
    }
    if (g_str_has_suffix(row->name, "CMPS") && h->trap == EXC_PF && t->trap == EXC_PF &&
        h->out.gpr[R_RSI] == t->out.gpr[R_RSI] && h->out.gpr[R_RDI] == t->out.gpr[R_RDI]) {
        /* Both loads of one element fault: the order is open, AMD reports one that crosses a page last. */
        uint64_t hs = h->cr2 - h->out.gpr[R_RSI], hd = h->cr2 - h->out.gpr[R_RDI], ts = t->cr2 - t->out.gpr[R_RSI],
                 td = t->cr2 - t->out.gpr[R_RDI];
        if ((hs < 8 && td < 8) || (hd < 8 && ts < 8)) {
            t->cr2 = h->cr2;
        }
    }
    if (!strcmp(row->name, "POPA") && h->trap >= 0) { /* a fault half way: the SDM does not say what is already popped */
        memcpy(t->out.gpr, h->out.gpr, sizeof(t->out.gpr));
    }
    if (h->trap == EXC_PF && t->trap == EXC_PF && h->cr2 - 0x200000 >= 0x200000) {
        t->err = (t->err & ~1u) | (h->err & 1); /* somewhere in the test's own process or the kernel: present there */
    }
}

/* The result of a 16-bit SHLD, SHRD with a count above 16, and its flags, are undefined (SDM vol. 2B). */
static bool is_undefined_shift(const DiffCase *c, const X86Row *row)
{
    if (row->name[0] != 'S' || (strcmp(row->name, "SHLD") && strcmp(row->name, "SHRD"))) {
        return false;
    }
    bool half = false, wide = false;
    for (unsigned i = 0; c->bytes[i] != 0x0f; i++) {
        half |= c->bytes[i] == 0x66;
        wide = c->code64 && (c->bytes[i] & 0xf8) == 0x48; /* REX.W, when it comes last */
    }
    return half && !wide && (c->in.gpr[R_RCX] & 31) > 16;
}

/*
 * Where Intel's processors do otherwise than AMD's and both are right, or the SDM leaves it open: tier 0 is one of the
 * two, and the case does not count.
 */
static void settle_vendor(const DiffCase *c, const DiffResult *h, DiffResult *t)
{
    const X86Row *row = &x86_rows[c->row];
    bool same_trap = h->trap == t->trap, both_fault = h->trap == EXC_PF && t->trap == EXC_PF;
    if (same_trap && is_undefined_shift(c, row)) {
        *t = *h;
    }
    if (both_fault && (g_str_has_suffix(row->name, "CMPS") || g_str_has_suffix(row->name, "SCAS"))) {
        /* A repeated comparison that faults: "may not be restored" (SDM vol. 2B, REP), nor is it input when resumed. */
        t->out.rflags = (t->out.rflags & ~(uint32_t)FL_ARITH) | (h->out.rflags & FL_ARITH);
    }
    if (!strcmp(row->name, "BOUND") && h->trap == 5 && t->trap == EXC_PF) { /* the lower bound said it all */
        *t = *h;
    }
    if (!strcmp(row->name, "MOVSXD") && (h->trap == EXC_PF) != (t->trap == EXC_PF) && memchr(c->bytes, 0x66, c->len)) {
        *t = *h; /* MOVSXD r16: Intel reads 16 bits, AMD 32 */
    }
    if (g_str_has_prefix(row->name, "SHA") && h->trap == EXC_GP && t->trap < 0) { /* AMD: needs no alignment */
        *t = *h;
    }
    if ((row->attrs & RA_X87) && h->trap < 0 && t->trap == EXC_PF && h->out.fx.fsw & 0x80) {
        *t = *h; /* an unmasked exception, nothing to store: whether the place is looked at is open */
    }
    if ((row->attrs & RA_X87) && both_fault && row->memsize == 10) {
        memcpy(t->data, h->data, sizeof(t->data)); /* ten bytes across the end: Intel stores those that can be */
    }
    if (both_fault && (row->attrs & RA_MMX)) { /* Intel has left x87 mode before the store */
        t->out.fx.fsw = h->out.fx.fsw;
        t->out.fx.ftw = h->out.fx.ftw;
        memcpy(t->out.fx.st, h->out.fx.st, sizeof(t->out.fx.st));
    }
    if (both_fault && !strcmp(row->name, "VCVTPS2PH")) { /* and has set the sticky flags */
        t->out.fx.mxcsr |= h->out.fx.mxcsr & 0x3f;
    }
    if (h->trap == EXC_XM && t->trap == EXC_PF && !strcmp(row->name, "VCVTPS2PH")) {
        *t = *h;
    }
    if (both_fault && strstr(row->name, "MASKMOV") && h->cr2 - t->cr2 + 32 < 64) {
        t->cr2 = h->cr2; /* of the operand, or of its first selected element */
    }
    if (same_trap && h->trap >= 0 && strstr(row->name, "GATHER")) { /* elements behind the one that faults may be there already */
        memcpy(t->out.fx.xmm, h->out.fx.xmm, sizeof(t->out.fx.xmm));
        memcpy(t->out.ymmh, h->out.ymmh, sizeof(t->out.ymmh));
    }
    if (h->trap == EXC_GP && t->trap == EXC_GP && g_str_has_prefix(row->name, "XRSTOR")) { /* loaded up to the bad field */
        memcpy(&t->out.fx, &h->out.fx, sizeof(t->out.fx));
        memcpy(t->out.ymmh, h->out.ymmh, sizeof(t->out.ymmh));
    }
    if (c->area && h->trap < 0 && g_str_has_prefix(row->name, "XSAVE")) {
        /* XINUSE may be 1 for a component in its initial state (SDM vol. 1, 13.6): then its zeros are written. */
        unsigned bv = c->area + 512;
        if ((h->data[bv] & t->data[bv]) == t->data[bv] && h->data[bv] != t->data[bv]) {
            memcpy(t->data, h->data, sizeof(t->data));
        }
    }
}

typedef struct Progress { /* shared with the child that runs the cases */
    unsigned vex_differences;
    uint64_t cases, differences, groups[16], faults;
    unsigned row;
    bool code64;
    uint64_t seed;
    uint8_t reached[4096];
} Progress;
static Progress *progress;

static const char *const group_names[] = { "integer", "branch", "string", "bmi", "x87", "mmx", "sse", "avx", "system" };

static unsigned group_of(unsigned row)
{
    const char *g = diff_row_group(row);
    for (unsigned i = 0; i < G_N_ELEMENTS(group_names); i++) {
        if (!strcmp(g, group_names[i])) {
            return i;
        }
    }
    return 0;
}

static void print_case(const DiffCase *c, const DiffResult *h, const DiffResult *t)
{
    printf("# in:");
    for (int i = 0; i < 16; i++) {
        printf(" %s=%lx", reg_names[i], (long)c->in.gpr[i]);
    }
    printf(" flags=%x fcw=%x fsw=%x ftw=%x mxcsr=%x\n", c->in.rflags, c->in.fx.fcw, c->in.fx.fsw, c->in.fx.ftw, c->in.fx.mxcsr);
    for (int i = 0; i < 16; i++) {
        const uint64_t *x = (const void *)c->in.fx.xmm[i];
        const uint64_t *hi = (const void *)c->in.ymmh[i];
        printf("# ymm%d=%016lx_%016lx_%016lx_%016lx", i, (long)hi[1], (long)hi[0], (long)x[1], (long)x[0]);
        if (i < 8) {
            const uint64_t *st = (const void *)c->in.fx.st[i];
            printf("  st%d=%04x:%016lx", i, (unsigned)(st[1] & 0xffff), (long)st[0]);
        }
        printf("\n");
    }
    printf("# host: trap %d err %x cr2 %lx rip %lx flags %x; t0: trap %d err %x cr2 %lx rip %lx flags %x\n", h->trap, h->err,
           (long)h->cr2, (long)h->out.rip, h->out.rflags, t->trap, t->err, (long)t->cr2, (long)t->out.rip, t->out.rflags);
}

/* The last-instruction pointers: the host shows them only with an error pending, so that tier 1 is held against tier 0. */
static void compare_pointers(const DiffCase *c, const DiffResult *t1, GString *out)
{
    static DiffResult t;
    diff_t0_run(c, &t);
    const DiffFx *a = &t.out.fx, *b = &t1->out.fx;
    if (t.trap < 0 && t1->trap < 0 && (a->fop != b->fop || a->fip != b->fip || a->fdp != b->fdp)) {
        g_string_append_printf(out, " (t0) fop %x/%x fip %lx/%lx fdp %lx/%lx", a->fop, b->fop, (long)a->fip, (long)b->fip,
                               (long)a->fdp, (long)b->fdp);
    }
}

static bool tier1; /* compare the host with tier 1, not with the interpreter */

static bool one_case(unsigned row, bool code64, uint64_t seed, bool verbose)
{
    static DiffCase c;
    static DiffResult h, t;
    const char *why = NULL;
    progress->row = row;
    progress->code64 = code64;
    progress->seed = seed;
    if (!diff_generate(row, code64, seed, &c, &why)) {
        return true;
    }
    diff_native_run(&c, &h);
    unsigned tier = tier1 ? 1 : 0;
    if (!tier1) {
        diff_t0_run(&c, &t);
    } else if (!diff_t1_run(&c, &t)) {
        return true;
    }
    settle_known(&c, &h, &t);
    settle_vendor(&c, &h, &t);
    g_autoptr(GString) text = g_string_new(NULL);
    compare(&c, &h, &t, text);
    if (tier1) {
        compare_pointers(&c, &t, text);
    }
    progress->cases++;
    progress->groups[group_of(row)]++;
    progress->faults += h.trap >= 0;
    progress->reached[row & 4095] |= h.trap < 0 ? 2 : 1;
    if (text->len || verbose) {
        printf("# %s %s: --replay %u %d %lu bytes", x86_rows[row].name, x86_rows[row].operands, row, code64 ? 64 : 32, (long)seed);
        for (unsigned i = 0; i < c.len; i++) {
            printf(" %02x", c.bytes[i]);
        }
        printf(" host/t%u:%s\n", tier, text->str);
    }
    if (verbose) {
        print_case(&c, &h, &t);
    }
    progress->differences += text->len != 0;
    return text->len == 0;
}

static bool row_runs(unsigned row, const char *only)
{
    const X86Row *r = &x86_rows[row];
    if (only && strcmp(r->name, only) && strcmp(diff_row_group(row), only)) {
        return false;
    }
    return !diff_row_excluded(row) && (!r->feat || diff_native_has_feature(x86_feature_names[r->feat]));
}

/* In a child: a case that kills the process is reported by the parent. */
static void run_cases(uint64_t total, const char *only, uint64_t seed)
{
    unsigned rows = 0, per_row_shown[4096] = { 0 };
    for (unsigned i = 1; i < x86_n_rows; i++) {
        rows += row_runs(i, only);
    }
    uint64_t each = MAX(1, total / (MAX(rows, 1) * 2));
    for (unsigned i = 1; i < x86_n_rows; i++) {
        if (!row_runs(i, only)) {
            continue;
        }
        for (uint64_t k = 0; k < 2 * each; k++) {
            if (!one_case(i, k & 1, seed + k / 2, false) && ++per_row_shown[i & 4095] >= 3) {
                break; /* three examples of a row are enough */
            }
        }
    }
    fflush(stdout);
}

int main(int argc, char **argv)
{
    const char *env = getenv("RHEA_DIFF_CASES"), *only = NULL;
    uint64_t total = env ? strtoull(env, NULL, 0) : 20000, seed = 1;
    diff_gen_init();
    progress = mmap(NULL, sizeof(*progress), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    g_autoptr(GString) why = g_string_new(NULL);
    setvbuf(stdout, NULL, _IOLBF, 0);
    if (!diff_native_init(why)) {
        printf("1..0 # SKIP %s\n", why->str);
        return 0;
    }
    if (argc > 1 && !strcmp(argv[1], "--tier1")) {
        tier1 = true;
        argc--;
        argv++;
    }
    if (argc == 5 && !strcmp(argv[1], "--replay")) {
        diff_t0_init();
        return one_case((unsigned)atoi(argv[2]), atoi(argv[3]) == 64, strtoull(argv[4], NULL, 0), true) ? 0 : 1;
    }
    for (int i = 1; i + 1 < argc; i += 2) {
        if (!strcmp(argv[i], "--row") || !strcmp(argv[i], "--group")) {
            only = argv[i + 1];
        } else if (!strcmp(argv[i], "--seed")) {
            seed = strtoull(argv[i + 1], NULL, 0);
        }
    }
    printf("1..3\n");
    fflush(stdout);
    pid_t pid = fork();
    if (pid == 0) {
        diff_t0_init(); /* here: it starts a thread, and a fork beside one that allocates can leave malloc locked for ever */
        run_cases(total, only, seed);
        if ((!only || !strcmp(only, "vex")) && diff_native_has_ymm()) {
            progress->vex_differences = diff_vex_run(total / 4, seed);
        }
        exit(0); /* not _exit(): a build for coverage writes its counters then */
    }
    int status = 0;
    waitpid(pid, &status, 0);
    bool ok = WIFEXITED(status) && WEXITSTATUS(status) == 0;
    if (!ok) {
        printf("# the child died (status %x) in %s: --replay %u %d %lu\n", status, x86_rows[progress->row].name, progress->row,
               progress->code64 ? 64 : 32, (long)progress->seed);
    }
    printf("%sok 1 - no unexplained difference\n", ok && progress->differences == 0 ? "" : "not ");
    unsigned missed = 0, left_out = 0;
    for (unsigned i = 1; i < x86_n_rows; i++) {
        if (!row_runs(i, only)) {
            const char *reason = diff_row_excluded(i);
            left_out++;
            if (!only) {
                printf("# not run: %s %s (%s): %s\n", x86_rows[i].name, x86_rows[i].operands, x86_rows[i].enc,
                       reason ? reason : "the host lacks its feature");
            }
        } else if (!progress->reached[i & 4095]) {
            missed++;
            printf("# row never reached: %u %s %s (%s)\n", i, x86_rows[i].name, x86_rows[i].operands, x86_rows[i].enc);
        }
    }
    printf("%sok 2 - every row was reached\n", missed ? "not " : "");
    printf("%sok 3 - the same VEX encodings exist\n", progress->vex_differences ? "not " : "");
    printf("# %lu cases (%lu faults), %lu differences; rows left to other tests: %u\n#", (long)progress->cases,
           (long)progress->faults, (long)progress->differences, left_out);
    for (unsigned i = 0; i < G_N_ELEMENTS(group_names); i++) {
        printf(" %s %lu", group_names[i], (long)progress->groups[i]);
    }
    printf("\n");
    return 0;
}
