/* SPDX-License-Identifier: MIT
 * target/x86/t1-stats.c - what `info jit` says of tier 1, and the map of translated code for perf.
 * Models: perf's map of generated code, perf-PID.map in the directory for temporary files: "START SIZE NAME" in hexadecimal, one symbol a line.
 * Threads: describe on any thread, the numbers are approximate then; the rest on the vCPU's.
 */
#include "t1.h"
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <unistd.h>

enum { TOP_ROWS = 20 };

static double per(uint64_t a, uint64_t b)
{
    return b ? (double)a / (double)b : 0;
}

typedef struct RowRank {
    unsigned row;
    uint64_t n;
} RowRank;

static int by_count(const void *a, const void *b)
{
    uint64_t x = ((const RowRank *)a)->n, y = ((const RowRank *)b)->n;
    return x < y ? 1 : x > y ? -1 : 0;
}

static void describe_rows(const T1State *s, GString *out)
{
    g_autofree RowRank *rank = g_new0(RowRank, x86_n_rows);
    uint64_t slow = 0, whole = 0;
    for (unsigned i = 0; i < x86_n_rows; i++) {
        rank[i] = (RowRank){ i, s->rows[i].slow + s->rows[i].whole };
        slow += s->rows[i].slow;
        whole += s->rows[i].whole;
    }
    qsort(rank, x86_n_rows, sizeof(*rank), by_count);
    g_string_append_printf(out,
                           "  by tier 0's function %" PRIu64 " for a slow memory access, %" PRIu64
                           " instructions as a whole\n",
                           slow, whole);
    for (unsigned i = 0; i < TOP_ROWS && i < x86_n_rows && rank[i].n; i++) {
        const X86Row *x = &x86_rows[rank[i].row];
        const T1RowCount *c = &s->rows[rank[i].row];
        g_string_append_printf(out, "    %-10s %-12s %12" PRIu64 " slow %12" PRIu64 " whole\n",
                               rank[i].row ? x->name : "(invalid)", rank[i].row ? x->operands : "", c->slow,
                               c->whole);
    }
}

void t1_describe(Vcpu *v, GString *out)
{
    const X86Cpu *cpu = x86_cpu(v);
    const T1State *s = cpu->t1;
    if (!s || s->off) {
        return;
    }
    const T1Stats *t = &s->stats;
    size_t hot = (size_t)(s->cache.hot_end - s->cache.hot),
           cold = (size_t)(s->cache.cold_end - s->cache.cold);
    g_string_append_printf(
        out, "  units translated     %" PRIu64 " of %.1f instructions, after %" PRIu64 " runs in tier 0\n",
        t->units, per(t->insns, t->units), t->cold_runs);
    g_string_append_printf(
        out,
        "  host bytes           %" PRIu64 " hot, %" PRIu64 " cold: %.1f and %.1f for one of the guest's, at most %u and %u in a step\n",
        t->bytes_hot, t->bytes_cold, per(t->bytes_hot, t->bytes_guest), per(t->bytes_cold, t->bytes_guest),
        t->hot_step, t->cold_step);
    g_string_append_printf(
        out, "  code cache           %zu KiB, filling segment %u of %d (%zu KiB free), %" PRIu64 " evicted\n",
        s->cache.size >> 10, s->cache.segment + 1, CODE_SEGMENTS, (hot + cold) >> 10, t->flushes);
    g_string_append_printf(out, "  loops with a copy    %" PRIu64 ", joins %" PRIu64 ", sites that went over to the TLB %" PRIu64 "\n",
                           t->loops, t->joins, t->tlb_sites);
    g_string_append_printf(out,
                           "  translated code left %" PRIu64 " times: %" PRIu64 " polls, %" PRIu64
                           " jumps not linked yet, %" PRIu64
                           " jump-cache misses,\n                       %" PRIu64
                           " instructions that left; and %" PRIu64 " faults\n",
                           t->exits, t->exits_poll, t->exits_link, t->exits_indirect, t->leaves, t->faults);
    describe_rows(s, out);
    if (s->lockstep) {
        t1_lockstep_describe(cpu, out);
    }
}

bool t1_failed(Vcpu *v)
{
    const X86Cpu *cpu = x86_cpu(v);
    return cpu->t1 && cpu->t1->lockstep && t1_lockstep_failed(cpu);
}

/* --- perf --- */

bool t1_perf_open(X86Cpu *cpu, Error **errp)
{
    char path[PATH_MAX];
    bool first = cpu->vcpu.index == 0; /* vCPUs are made one after the other, the others append */
    int n = snprintf(path, sizeof(path), "%s/perf-%d.map", g_get_tmp_dir(), (int)getpid());
    if (n >= (int)sizeof(path)) {
        error_set(errp, "-accel tcg,perf-map=on: TMPDIR is too long for a file name");
        return false;
    }
    if (first) {
        unlink(path); /* of a process that had this number before */
    }
    int fd = open(path, O_WRONLY | O_APPEND | O_CLOEXEC | O_NOFOLLOW | (first ? O_CREAT | O_EXCL : 0), 0600);
    if (fd < 0) {
        error_set_errno(errp, errno, "-accel tcg,perf-map=on: cannot write %s", path);
        error_hint(errp, "leave out perf-map=on");
        return false;
    }
    cpu->t1->perf_fd = fd;
    return true;
}

void t1_perf_thunk(X86Cpu *cpu, const char *name, const uint8_t *from, const uint8_t *to)
{
    if (cpu->t1->perf_fd >= 0) {
        dprintf(cpu->t1->perf_fd, "%lx %zx thunk %s\n", (unsigned long)(uintptr_t)(from + cpu->t1->cache.rx_off), (size_t)(to - from), name);
    }
}

void t1_perf_unit(X86Cpu *cpu, const T1 *t, const uint8_t *hot, size_t n_hot, const uint8_t *cold,
                  size_t n_cold)
{
    int fd = cpu->t1->perf_fd;
    if (G_LIKELY(fd < 0)) {
        return;
    }
    char text[256];
    uintptr_t h = (uintptr_t)(hot + t->rx_off), c = (uintptr_t)(cold + t->rx_off);
    const char *bits = t->code64 ? "64" : "32";
    unsigned cpl = t->mode >> MODE_CPL_SHIFT & 3;
    int n = snprintf(text, sizeof(text),
                     "%lx %zx guest%s:%u:0x%" PRIx64 "\n%lx %zx guest%s:%u:0x%" PRIx64 " (cold)\n",
                     (unsigned long)h, n_hot, bits, cpl, t->rip, (unsigned long)c, n_cold, bits, cpl, t->rip);
    if (write(fd, text, (size_t)n) != n) { /* a full disk: the map ends here */
        close(fd);
        cpu->t1->perf_fd = -1;
    }
}
