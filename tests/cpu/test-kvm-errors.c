/* SPDX-License-Identifier: MIT
 * tests/cpu/test-kvm-errors.c - what can go wrong with KVM (accel/kvm/open.c, kvm.c, vcpu.c, exits.c): a device that
 * is missing, unreadable or too old, ioctls that fail, KVM_RUN in each documented way, a vCPU thread that ends. Each
 * has its message, and the machine stops instead of hanging. open() and ioctl() of this program stand between.
 * Threads: main, and vCPU threads, in which the injected failures happen.
 */
#include "target/x86/kvm.h"
#include "tests/cpu/kvmguest.h"
#include "tests/lib/ramboard.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

/* ---- what stands between ---- */

typedef struct Inject {
    int open_errno;               /* of KVM_DEVICE */
    unsigned long request;        /* this ioctl ... */
    unsigned long arg;            /* with this argument, unless it is 0 */
    int error;                    /* fails with errno, or */
    int value;                    /* (error 0) returns that */
    void (*run)(struct kvm_run *r); /* KVM_RUN: returns 0 with what this fills in */
} Inject;

static Inject inject;      /* written while no vCPU runs */
static struct kvm_run *run_of; /* of vCPU 0 */
static int run_fd = -1;

int open(const char *path, int flags, ...)
{
    va_list ap;
    va_start(ap, flags);
    int mode = flags & O_CREAT ? va_arg(ap, int) : 0;
    va_end(ap);
    if (inject.open_errno && !strcmp(path, KVM_DEVICE)) {
        errno = inject.open_errno;
        return -1;
    }
    return (int)syscall(SYS_openat, AT_FDCWD, path, flags, mode);
}

int ioctl(int fd, unsigned long request, ...)
{
    va_list ap;
    va_start(ap, request);
    unsigned long arg = va_arg(ap, unsigned long);
    va_end(ap);
    bool this = inject.request == request && (!inject.arg || inject.arg == arg);
    if (this && request == KVM_RUN && (fd != run_fd || run_of->immediate_exit)) {
        this = false;
    }
    if (this && inject.run) {
        inject.run(run_of);
        return 0;
    }
    if (this && inject.error) {
        errno = inject.error;
        return -1;
    }
    return this ? inject.value : (int)syscall(SYS_ioctl, fd, request, arg);
}

/* ---- what is said ---- */

static FILE *said;
static int real_stderr;

static void listen_begin(void)
{
    said = tmpfile();
    g_assert_nonnull(said);
    fflush(stderr);
    real_stderr = dup(2);
    dup2(fileno(said), 2);
}

static char *listen_end(void)
{
    fflush(stderr);
    dup2(real_stderr, 2);
    close(real_stderr);
    long n = ftell(said);
    fseek(said, 0, SEEK_END);
    n = ftell(said);
    char *text = g_malloc0((size_t)n + 1);
    rewind(said);
    size_t got = fread(text, 1, (size_t)n, said);
    text[got] = 0;
    fclose(said);
    return text;
}

static bool no_kvm(void)
{
    inject = (Inject){ 0 };
    return kvm_skipped();
}

/* ---- before there is a machine ---- */

typedef struct Refusal {
    Inject inject;
    const char *text, *hint;
} Refusal;

static const Refusal device[] = {
    { { .open_errno = ENOENT }, "/dev/kvm does not exist", "-accel tcg" },
    { { .open_errno = ENODEV }, "no driver is behind it", "-accel tcg" },
    { { .open_errno = ENXIO }, "no driver is behind it", "-accel tcg" },
    { { .open_errno = EACCES }, "permission denied", "usermod -aG kvm" },
    { { .open_errno = EPERM }, "permission denied", "usermod -aG kvm" },
    { { .open_errno = EMFILE }, "cannot be opened", "ulimit -n" },
    { { .open_errno = EBUSY }, "cannot be opened", "-accel tcg" },
    { { .request = KVM_GET_API_VERSION, .error = ENOTTY }, "is no KVM device", "-accel tcg" },
    { { .request = KVM_GET_API_VERSION, .value = 11 }, "API version 11, not 12", "2.6.22" },
    { { .request = KVM_GET_API_VERSION, .value = 13 }, "API version 13, not 12", "later version of this program" },
    { { .request = KVM_CHECK_EXTENSION, .arg = KVM_CAP_USER_MEMORY }, "KVM_CAP_USER_MEMORY", "2.6.25" },
    { { .request = KVM_CHECK_EXTENSION, .arg = KVM_CAP_XSAVE }, "KVM_CAP_XSAVE", "2.6.37" },
    { { .request = KVM_CHECK_EXTENSION, .arg = KVM_CAP_IMMEDIATE_EXIT }, "KVM_CAP_IMMEDIATE_EXIT", "4.13" },
    { { .request = KVM_CREATE_VM, .error = EBUSY }, "cannot create a virtual machine", "another hypervisor" },
    { { .request = KVM_CREATE_VM, .error = ENOMEM }, "cannot create a virtual machine", "no memory" },
    { { .request = KVM_CREATE_VM, .error = EMFILE }, "cannot create a virtual machine", "ulimit -n" },
};

static void check_error(Error *err, const Refusal *r)
{
    if (!err || !strstr(error_text(err), r->text) || !error_hint_text(err) || !strstr(error_hint_text(err), r->hint)) {
        g_error("'%s' (%s) does not say '%s' (%s)", err ? error_text(err) : "nothing",
                err && error_hint_text(err) ? error_hint_text(err) : "", r->text, r->hint);
    }
    error_free(err);
}

static void test_device(void)
{
    if (no_kvm()) {
        return;
    }
    for (unsigned i = 0; i < G_N_ELEMENTS(device); i++) {
        Error *err = NULL;
        inject = device[i].inject;
        g_assert_false(kvm_available(&err));
        check_error(err, &device[i]);
    }
    inject = (Inject){ 0 };
}

/* ---- while it is built ---- */

static const BoardType board = {
    .name = "x86-test", .target = &x86_64_target_ops, .max_cpus = 4, .max_ram = 1 << 30, .init = ram_board_init
};

static const Refusal building[] = {
    { { .request = KVM_GET_VCPU_MMAP_SIZE, .value = 16 }, "run structure has 16 bytes", "" },
    { { .request = KVM_CREATE_VCPU, .error = ENOMEM }, "vCPU 0 cannot be created", "no memory" },
    { { .request = KVM_CREATE_VCPU, .error = EEXIST }, "vCPU 0 cannot be created", "fewer CPUs" },
    { { .request = KVM_SET_TSS_ADDR, .error = EINVAL }, "KVM_SET_TSS_ADDR failed", "" },
    { { .request = KVM_GET_TSC_KHZ, .error = EIO }, "frequency of the TSC", "not stable" },
    { { .request = KVM_CHECK_EXTENSION, .arg = KVM_CAP_READONLY_MEM }, "KVM_CAP_READONLY_MEM", "3.7" },
    { { .request = KVM_CHECK_EXTENSION, .arg = KVM_CAP_MAX_VCPUS, .value = 1 }, "takes 1 CPUs, 2 are asked for", "" },
};

static void test_building(void)
{
    if (no_kvm()) {
        return;
    }
    for (unsigned i = 0; i < G_N_ELEMENTS(building); i++) {
        Error *err = NULL;
        role_become_main();
        Loop *loop = loop_new("main");
        Machine *m = machine_new(loop);
        m->board = &board;
        m->accel = &accel_kvm_ops;
        m->n_cpus = m->max_cpus = m->sockets = 2;
        m->ram_size = G_RAM;
        m->cpu_text = g_strdup("qemu64");
        inject = building[i].inject;
        listen_begin();
        g_assert_false(machine_build(m, &err));
        g_free(listen_end());
        Refusal r = building[i];
        if (!*r.hint && err && !error_hint_text(err)) {
            error_hint(&err, "-");
        }
        check_error(err, &r);
        inject = (Inject){ 0 };
        machine_free(m);
        loop_free(loop);
    }
}

/* Rings of dirty pages: whatever this kernel has. The capability is asked for by two names. */
static const struct {
    const char *size;
    Inject inject;
    const char *text, *hint;
} rings[] = {
    { "1000", { 0 }, "dirty-ring-size=1000: the entries of a ring are a power of two", "4096" },
    { "4096", { .request = KVM_CHECK_EXTENSION }, "KVM_CAP_DIRTY_LOG_RING", "Linux has them since 5.11" },
    { "4096", { .request = KVM_CHECK_EXTENSION, .value = 32768 }, "takes 2048 entries at most", "use fewer" },
    { "512", { .request = KVM_ENABLE_CAP, .error = EINVAL }, "does not take it: Invalid argument", "1024 entries or more" },
};

static void test_rings(void)
{
    if (no_kvm()) {
        return;
    }
    for (unsigned i = 0; i < G_N_ELEMENTS(rings); i++) {
        Error *err = NULL;
        KvmVm vm = { .sys_fd = kvm_open(KVM_DEVICE, &error_abort_slot) };
        vm.vm_fd = kvm_create_vm(vm.sys_fd, &error_abort_slot);
        Machine m = { .accel_state = &vm, .accel = &accel_kvm_ops };
        prop_set_text(&m, prop_find(accel_kvm_ops.props, "dirty-ring-size"), &vm, rings[i].size, &error_abort_slot);
        inject = rings[i].inject;
        if (inject.error && !kvm_cap(&m, KVM_CAP_DIRTY_LOG_RING)) {
            g_test_message("enabling is left out: this KVM lacks KVM_CAP_DIRTY_LOG_RING");
        } else {
            g_assert_false(kvm_rings_init(&m, &err));
            check_error(err, &(Refusal){ .text = rings[i].text, .hint = rings[i].hint });
        }
        inject = (Inject){ 0 };
        g_assert_null(vm.harvested);
        close(vm.vm_fd);
        close(vm.sys_fd);
    }
}

/* ---- while it runs ---- */

static void exit_full(struct kvm_run *r) { r->exit_reason = KVM_EXIT_DIRTY_RING_FULL; }
static void exit_io(struct kvm_run *r) { r->exit_reason = KVM_EXIT_IO; r->io.size = 3; r->io.count = 1; }
static void exit_io_far(struct kvm_run *r)
{
    r->exit_reason = KVM_EXIT_IO;
    r->io.size = 4;
    r->io.count = UINT32_MAX;
    r->io.data_offset = 4096;
}
static void exit_mmio(struct kvm_run *r) { r->exit_reason = KVM_EXIT_MMIO; r->mmio.len = 9; }
static void exit_entry(struct kvm_run *r)
{
    r->exit_reason = KVM_EXIT_FAIL_ENTRY;
    r->fail_entry.hardware_entry_failure_reason = 0x80000021;
    r->fail_entry.cpu = 3;
}
static void exit_unknown(struct kvm_run *r) { r->exit_reason = KVM_EXIT_UNKNOWN; r->hw.hardware_exit_reason = 77; }
static void exit_exception(struct kvm_run *r) { r->exit_reason = KVM_EXIT_EXCEPTION; r->ex.exception = 18; r->ex.error_code = 5; }
static void exit_new(struct kvm_run *r) { r->exit_reason = 12345; }
static void exit_internal(struct kvm_run *r, unsigned sub)
{
    r->exit_reason = KVM_EXIT_INTERNAL_ERROR;
    r->internal.suberror = sub;
    r->internal.ndata = 2;
    r->internal.data[0] = 0xabcd;
    r->internal.data[1] = 0x1234;
}
static void exit_internal2(struct kvm_run *r) { exit_internal(r, 2); }
static void exit_internal3(struct kvm_run *r) { exit_internal(r, 3); r->internal.ndata = 99999; }
static void exit_internal4(struct kvm_run *r) { exit_internal(r, 4); }
static void exit_internal9(struct kvm_run *r) { exit_internal(r, 9); }
static void exit_event(struct kvm_run *r) { r->exit_reason = KVM_EXIT_SYSTEM_EVENT; r->system_event.type = 99; }

typedef struct Failure {
    Inject inject;
    const char *text;
} Failure;
#define RUN_ERROR(e, text) { { .request = KVM_RUN, .error = (e) }, (text) }
#define RUN_EXIT(fn, text) { { .request = KVM_RUN, .run = (fn) }, (text) }

static const Failure running[] = {
    RUN_ERROR(EFAULT, "memory that the host cannot provide"),
    RUN_ERROR(ENOEXEC, "not initialized completely"),
    RUN_ERROR(ENOSYS, "does not have a feature"),
    RUN_ERROR(EPERM, "was not completed"),
    RUN_ERROR(ENOMEM, "no memory left"),
    RUN_ERROR(EIO, "the virtual machine is dead"),
    RUN_ERROR(EINVAL, "does not take this state"),
    RUN_ERROR(EBADF, "Bad file descriptor"),
    RUN_EXIT(exit_io, "an access that cannot be"),
    RUN_EXIT(exit_io_far, "an access that cannot be"),
    RUN_EXIT(exit_mmio, "an access that cannot be"),
    RUN_EXIT(exit_entry, "hardware reason 0x80000021, on host CPU 3"),
    RUN_EXIT(exit_unknown, "hardware reason 0x4d"),
    RUN_EXIT(exit_exception, "exception 18 (error code 0x5)"),
    RUN_EXIT(exit_full, "its ring of dirty pages is full, and there is none"),
    RUN_EXIT(exit_new, "exit reason 12345"),
    RUN_EXIT(exit_internal2, "exits that came together (internal error 2, data 0xabcd 0x1234)"),
    RUN_EXIT(exit_internal3, "in the middle of an event's delivery (internal error 3"),
    RUN_EXIT(exit_internal4, "an exit it does not know (internal error 4"),
    RUN_EXIT(exit_internal9, "a new kind of error (internal error 9"),
    RUN_EXIT(exit_event, "system event of type 99"),
    { { .request = KVM_SET_SREGS2, .error = EINVAL }, "KVM_SET_SREGS failed" },
    { { .request = KVM_SET_REGS, .error = EIO }, "KVM_SET_REGS failed" },
    { { .request = KVM_SET_MSRS, .error = EFAULT }, "KVM_SET_MSRS failed" },
    { { .request = KVM_SET_VCPU_EVENTS, .error = EINVAL }, "KVM_SET_VCPU_EVENTS failed" },
    { { .request = KVM_SET_XSAVE, .error = EINVAL }, "KVM_SET_XSAVE failed" },
};

GUEST_CODE(e_spin, 32, "1: inc %eax\n jmp 1b\n");

static Guest *spinning(void)
{
    g_setenv("RHEA_TEST_ACCEL", "kvm", true);
    Guest *g = guest_new_smp("qemu64", 1, false);
    guest_pm32(g);
    guest_put(g, G_CODE, e_spin, (size_t)(e_spin_end - e_spin));
    g->cpu->rip = G_CODE;
    run_of = kvm_of(&g->cpu->vcpu)->run;
    run_fd = kvm_of(&g->cpu->vcpu)->fd;
    return g;
}

/* The guest counts on; a busy host may let it wait. */
static void runs(Guest *g)
{
    uint64_t was = g->cpu->gpr[R_RAX];
    for (unsigned i = 0; i < 200 && g->cpu->gpr[R_RAX] == was; i++) {
        machine_start(g->m);
        g_usleep(5000);
        machine_stop(g->m, RUN_PAUSED);
        g_assert_cmpint(g->m->state, ==, RUN_PAUSED);
    }
    g_assert_cmpuint(g->cpu->gpr[R_RAX], !=, was);
}

static void await_state(Guest *g, RunState want)
{
    for (unsigned i = 0; i < 20000 && g->m->state != want; i++) {
        loop_turn(g->loop, false);
        g_usleep(500);
    }
    g_assert_cmpstr(run_state_name(g->m->state), ==, run_state_name(want));
}

static void test_running(gconstpointer data)
{
    const Failure *f = data;
    if (no_kvm()) {
        return;
    }
    listen_begin();
    Guest *g = spinning();
    if (f->inject.request == KVM_SET_SREGS2 && !g->cpu->kvm->sregs2) {
        g_free(listen_end());
        guest_free(g);
        g_test_skip("this KVM has no KVM_SET_SREGS2");
        return;
    }
    inject = f->inject;
    machine_start(g->m);
    await_state(g, RUN_INTERNAL_ERROR);
    inject = (Inject){ 0 };
    g_autofree char *text = listen_end();
    if (!strstr(text, f->text) || !strstr(text, "vCPU 0")) {
        g_error("'%s' does not say '%s'", text, f->text);
    }
    /* Its state can be looked at, and a reset gives a machine that runs. */
    g_autoptr(GString) regs = g_string_new(NULL);
    x86_64_target_ops.print_regs(&g->cpu->vcpu, regs);
    g_assert_nonnull(strstr(regs->str, "IP="));
    machine_reset(g->m, RESET_COLD);
    guest_pm32(g);
    g->cpu->rip = G_CODE;
    g->cpu->wait_sipi = g->cpu->vcpu.halted = false;
    runs(g);
    run_fd = -1;
    guest_free(g);
}

/* What looks like an error and is none: the guest goes on. */
static void test_transient(void)
{
    static const int errors[] = { EINTR, EAGAIN };
    if (no_kvm()) {
        return;
    }
    for (unsigned i = 0; i < G_N_ELEMENTS(errors); i++) {
        Guest *g = spinning();
        inject = (Inject){ .request = KVM_RUN, .error = errors[i] };
        machine_start(g->m);
        g_usleep(10000);
        machine_stop(g->m, RUN_PAUSED);
        inject = (Inject){ 0 };
        runs(g);
        run_fd = -1;
        guest_free(g);
    }
}

/* ---- a vCPU thread that ends ---- */

static void die(int sig G_GNUC_UNUSED)
{
    pthread_exit(NULL);
}

static void die_in_run(struct kvm_run *r G_GNUC_UNUSED)
{
    pthread_exit(NULL);
}

static void test_killed(gconstpointer in_run)
{
    if (no_kvm()) {
        return;
    }
    signal(SIGUSR2, die);
    listen_begin();
    Guest *g = spinning();
    inject = in_run ? (Inject){ .request = KVM_RUN, .run = die_in_run } : (Inject){ 0 };
    machine_start(g->m);
    if (!in_run) {
        g_usleep(5000);
        pthread_kill(kvm_of(&g->cpu->vcpu)->thread, SIGUSR2);
    }
    await_state(g, RUN_INTERNAL_ERROR);
    inject = (Inject){ 0 };
    /* Nothing waits for it: registers, memory, a reset, another start. */
    g_autoptr(GByteArray) state = g_byte_array_new();
    machine_save(g->m, state, false);
    machine_reset(g->m, RESET_COLD);
    region_set_enabled(&g->m->ram_region, false);
    region_set_enabled(&g->m->ram_region, true);
    machine_start(g->m);
    await_state(g, RUN_INTERNAL_ERROR);
    g_autofree char *text = listen_end();
    if (!strstr(text, "vCPU 0: its thread has ended")) {
        g_error("'%s' does not tell of the thread", text);
    }
    run_fd = -1;
    guest_free(g);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/cpu/kvm-errors/device", test_device);
    g_test_add_func("/cpu/kvm-errors/building", test_building);
    g_test_add_func("/cpu/kvm-errors/rings", test_rings);
    for (unsigned i = 0; i < G_N_ELEMENTS(running); i++) {
        g_autofree char *path = g_strdup_printf("/cpu/kvm-errors/running/%u", i);
        g_test_add_data_func(path, &running[i], test_running);
    }
    g_test_add_func("/cpu/kvm-errors/transient", test_transient);
    g_test_add_data_func("/cpu/kvm-errors/killed/outside", NULL, test_killed);
    g_test_add_data_func("/cpu/kvm-errors/killed/inside", GINT_TO_POINTER(1), test_killed);
    return g_test_run();
}
