/* SPDX-License-Identifier: MIT
 * tests/cpu/test-calibrate.c - a guest measures its TSC on a loaded host.
 * Models: PIT, PM timer and TSC are one clock, read at the moment of the access, so that what the host takes
 *   from the guest cancels out.
 * Threads: main is the main loop; the vCPU has its own; twice as many as the host has CPUs only burn time.
 *
 * The guest does what a careful kernel does: it brackets each look at the other clock with two looks at the
 * TSC. The narrowest bracket of a group saw no delay. Why an unguarded measurement cannot be exact is told in
 * docs/devel/machine-core.md.
 */
#include "tests/cpu/sysguest.h"

#include "rhea/hw/pc.h"
#include "rhea/hw/timer.h"

#include <glib/gstdio.h>
#include <unistd.h>

extern const AccelOps accel_tcg_ops;

enum { ROM_SIZE = 0x10000, GROUPS = 2, LOOKS = 200, OUT_AT = 0x1000, DONE_AT = 0x0ff0, PM_HZ = 3579545 };
typedef struct Look {
    uint64_t before, after; /* TSC */
    uint32_t pm, pit;       /* what was read in between: one of them */
} Look;
typedef struct Results {
    Look pm[LOOKS], pit[LOOKS];
} Results;

/* Real mode, in ROM at F000:0000. PIIX4 function 3 (devfn 0Bh) gets its ports at 600h. */
GUEST_CODE(calibrate, 16,
           "xor %ax, %ax; mov %ax, %ds; mov %ax, %ss; mov $0x7000, %sp; cld\n"
           "mov $0xcf8, %dx; mov $0x80000b40, %eax; out %eax, %dx\n"
           "mov $0xcfc, %dx; mov $0x601, %eax; out %eax, %dx\n"
           "mov $0xcf8, %dx; mov $0x80000b04, %eax; out %eax, %dx\n"
           "mov $0xcfc, %dx; mov $1, %eax; out %eax, %dx\n"
           "mov $0xcf8, %dx; mov $0x80000b80, %eax; out %eax, %dx\n"
           "mov $0xcfc, %dx; mov $1, %al; out %al, %dx\n"
           /* counter 0 as firmware leaves it; counter 2: 65536, for ever */
           "mov $0x34, %al; out %al, $0x43; xor %al, %al; out %al, $0x40; out %al, $0x40\n"
           "in $0x61, %al; and $0xfc, %al; or $1, %al; out %al, $0x61\n"
           "mov $0xb4, %al; out %al, $0x43; xor %al, %al; out %al, $0x42; out %al, $0x42\n"
           "mov $0x1000, %di; mov $2, %bp\n"
           "group: mov $200, %si\n"
           "pm_look: rdtsc; mov %eax, (%di); mov %edx, 4(%di)\n"
           "mov $0x608, %dx; in %dx, %eax; mov %eax, 16(%di)\n"
           "rdtsc; mov %eax, 8(%di); mov %edx, 12(%di)\n"
           "add $24, %di; dec %si; jnz pm_look\n"
           "mov $200, %si\n"
           "pit_look: rdtsc; mov %eax, (%di); mov %edx, 4(%di)\n"
           "mov $0x80, %al; out %al, $0x43\n"
           "rdtsc; mov %eax, 8(%di); mov %edx, 12(%di)\n"
           "xor %eax, %eax; in $0x42, %al; mov %al, %bl; in $0x42, %al; mov %al, %bh; mov %bx, 20(%di)\n"
           "add $24, %di; dec %si; jnz pit_look\n"
           "dec %bp; jz done\n"
           "mov $0x608, %dx; in %dx, %eax; mov %eax, %ebx\n" /* 0.3 s by the PM timer */
           "wait: in %dx, %eax; sub %ebx, %eax; and $0xffffff, %eax; cmp $1073863, %eax; jb wait\n"
           "jmp group\n"
           "done: movb $1, 0x0ff0; cli\n");
G_STATIC_ASSERT(sizeof(Look) == 24 && LOOKS == 200 && OUT_AT == 0x1000 && DONE_AT == 0xff0);

static int stop_burning;

static void *burn(void *opaque G_GNUC_UNUSED)
{
    while (!__atomic_load_n(&stop_burning, __ATOMIC_RELAXED)) {
    }
    return NULL;
}

typedef struct Watch {
    Machine *m;
    Loop *loop;
    Timer timer;
    unsigned left;
    bool done;
} Watch;

static void watch_fire(void *opaque)
{
    Watch *w = opaque;
    uint8_t done = 0;
    as_access(&w->m->as_mem, DONE_AT, &done, 1, false, MEM_ATTRS_NONE);
    w->done = done == 1;
    if (w->done || !--w->left) {
        loop_quit(w->loop);
        return;
    }
    timer_arm(&w->timer, clock_now(&clock_host_monotonic) + 20000000);
}

static void rom_write(const char *path)
{
    static const uint8_t reset[] = { 0xe9, 0x0d, 0x00 }; /* jmp near to offset 0 */
    g_autofree char *rom = g_malloc0(ROM_SIZE);
    g_assert_cmpuint((size_t)(calibrate_end - calibrate), <, ROM_SIZE - 16);
    memcpy(rom, calibrate, (size_t)(calibrate_end - calibrate));
    memcpy(rom + ROM_SIZE - 16, reset, sizeof(reset));
    g_assert_true(g_file_set_contents(path, rom, ROM_SIZE, NULL));
}

static void run_guest(Results *out, uint64_t *tsc_hz)
{
    g_autofree char *dir = g_dir_make_tmp("rhea-calibrate-XXXXXX", NULL);
    g_autofree char *path = g_build_filename(dir, "rom", NULL);
    rom_write(path);
    role_become_main();
    Watch w = { .loop = loop_new("main"), .left = 3000 };
    Machine *m = w.m = machine_new(w.loop);
    m->board = &pc_board;
    m->accel = &accel_tcg_ops;
    m->n_cpus = m->max_cpus = m->sockets = m->cores = m->threads = m->dies = 1;
    m->ram_size = 64 << 20;
    m->bios = g_strdup(path);
    m->board_state = g_malloc0(pc_board.state_size);
    props_init(pc_board.props, m->board_state);
    machine_build(m, &error_abort_slot);
    machine_ready(m, &error_abort_slot);
    *tsc_hz = x86_cpu(m->cpus[0])->tsc_hz;
    unsigned n = MIN(g_get_num_processors() * 2, 32);
    GThread *burners[32];
    for (unsigned i = 0; i < n; i++) {
        burners[i] = g_thread_new("burn", burn, NULL);
    }
    timer_init(&w.timer, w.loop, &clock_host_monotonic, watch_fire, &w);
    timer_arm(&w.timer, 0);
    machine_start(m);
    loop_run(w.loop);
    __atomic_store_n(&stop_burning, 1, __ATOMIC_RELAXED);
    for (unsigned i = 0; i < n; i++) {
        g_thread_join(burners[i]);
    }
    g_assert_true(w.done);
    machine_stop(m, RUN_PAUSED);
    as_access(&m->as_mem, OUT_AT, out, GROUPS * sizeof(*out), false, MEM_ATTRS_NONE);
    machine_free(m);
    loop_free(w.loop);
    g_unlink(path);
    g_rmdir(dir);
}

static const Look *narrowest(const Look *looks)
{
    const Look *best = looks;
    for (unsigned i = 1; i < LOOKS; i++) {
        best = looks[i].after - looks[i].before < best->after - best->before ? &looks[i] : best;
    }
    return best;
}

/* What the TSC advanced against `ticks` of a counter of `wrap` states between two looks must be what they say
 * of each other, within the two brackets and a tick of the counter. */
static void check(const char *what, const Look *a, const Look *b, uint32_t ticks, uint32_t wrap, double hz,
                  double tsc_hz)
{
    double tsc = ((double)b->before + b->after - a->before - a->after) / 2;
    double slack = (double)(a->after - a->before + b->after - b->before) / 2 + tsc_hz / hz;
    double rounds = (double)(int64_t)((tsc / tsc_hz * hz - ticks) / wrap + 0.5); /* while nobody looked */
    double measured = tsc / ((ticks + rounds * wrap) / hz);
    g_test_message("%s: %.6f MHz, brackets of %" PRIu64 " and %" PRIu64 " cycles, %.1f ms apart", what,
                   measured / 1e6, a->after - a->before, b->after - b->before, tsc / tsc_hz * 1e3);
    g_assert_cmpfloat(tsc / tsc_hz, >, 0.29);
    g_assert_cmpfloat(ABS(measured / tsc_hz - 1) * tsc, <=, slack);
    g_assert_cmpfloat(ABS(measured / tsc_hz - 1), <, 0.001); /* and that says something */
}

static void test_calibrate(void)
{
    g_autofree Results *r = g_new0(Results, GROUPS);
    uint64_t tsc_hz;
    run_guest(r, &tsc_hz);
    const Look *a = narrowest(r[0].pm), *b = narrowest(r[1].pm);
    check("PM timer", a, b, (b->pm - a->pm) & 0xffffff, 1 << 24, PM_HZ, (double)tsc_hz);
    a = narrowest(r[0].pit);
    b = narrowest(r[1].pit);
    check("PIT", a, b, (a->pit - b->pit) & 0xffff, 1 << 16, PIT_HZ, (double)tsc_hz); /* counts down */
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/cpu/calibrate", test_calibrate);
    return g_test_run();
}
