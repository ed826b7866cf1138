/* SPDX-License-Identifier: MIT
 * tests/cpu/test-kvm-hyperv.c - Hyper-V enlightenments (target/x86/hyperv.c, kvm-hyperv.c): properties of -cpu and what
 * they need, what a guest reads by CPUID, synthetic registers to KVM and back and in saved state, the exits. A KVM
 * that has them stands between (ioctl() of this program): where tests run, KVM may have none. What is asked of the real
 * one comes last, and is skipped where it has none.
 * Threads: main, and vCPU threads.
 */
#include "rhea/accel/tcg.h"
#include "rhea/system/vmstate.h"
#include "target/x86/kvm.h"
#include "tests/cpu/kvmguest.h"
#include "tests/lib/ramboard.h"

#include <errno.h>
#include <stdarg.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

/* ---- the KVM that has them ---- */

enum { HV_FIRST = 0x40000000, HV_COUNT = 0x200, CPUS = 2 };
static struct {
    bool on, no_cpuid, no_synic;
    uint32_t features_eax, features_edx, advice;
    unsigned synic, enforce, sets;    /* how often asked for */
    int fd[CPUS];                     /* by number of the vCPU: whose registers */
    uint64_t wide[HV_COUNT], own[CPUS][HV_COUNT];
    uint32_t refuse;                  /* this register is not written */
} fake;

static bool is_wide(uint32_t index)
{
    const X86HvMsr *m;
    for (unsigned i = 0; (m = x86_hyperv_msr(i)); i++) {
        if (m->index == index) {
            return m->wide;
        }
    }
    return false;
}

static uint64_t *fake_msr(int fd, uint32_t index)
{
    unsigned n = index - HV_FIRST;
    return is_wide(index) ? &fake.wide[n] : &fake.own[fd == fake.fd[1]][n];
}

static long real(int fd, unsigned long request, unsigned long arg)
{
    return syscall(SYS_ioctl, fd, request, arg);
}

/* One by one, so that those of the real KVM are the real one's. */
static int msrs(int fd, unsigned long request, struct kvm_msrs *b)
{
    for (unsigned i = 0; i < b->nmsrs; i++) {
        struct kvm_msr_entry *e = &b->entries[i];
        if (e->index - HV_FIRST < HV_COUNT) {
            if (request == KVM_SET_MSRS && e->index == fake.refuse) {
                return (int)i;
            }
            uint64_t *at = fake_msr(fd, e->index);
            if (request == KVM_SET_MSRS) {
                *at = e->data;
                fake.sets++;
            }
            e->data = *at;
            continue;
        }
        KvmOneMsr one = { .n = 1, .e = *e };
        if (real(fd, request, (unsigned long)&one) != 1) {
            return (int)i;
        }
        *e = one.e;
    }
    return (int)b->nmsrs;
}

static int supported(struct kvm_cpuid2 *c)
{
    const struct kvm_cpuid_entry2 e[] = {
        { .function = 0x40000000, .eax = 0x40000006 },
        { .function = 0x40000003, .eax = fake.features_eax, .edx = fake.features_edx },
        { .function = 0x40000004, .eax = fake.advice, .ebx = 0xfff },
        { .function = 0x40000082, .eax = 1 },
    };
    if (c->nent < G_N_ELEMENTS(e)) {
        errno = E2BIG;
        return -1;
    }
    memcpy(c->entries, e, sizeof(e));
    c->nent = G_N_ELEMENTS(e);
    return 0;
}

static bool hv_cap(unsigned long cap)
{
    return cap == KVM_CAP_HYPERV || (!fake.no_cpuid && (cap == KVM_CAP_HYPERV_CPUID || cap == KVM_CAP_SYS_HYPERV_CPUID));
}

static int enable(const struct kvm_enable_cap *c)
{
    fake.synic += c->cap == KVM_CAP_HYPERV_SYNIC;
    fake.enforce += c->cap == KVM_CAP_HYPERV_ENFORCE_CPUID;
    errno = EINVAL;
    return fake.no_synic ? -1 : 0;
}

int ioctl(int fd, unsigned long request, ...)
{
    va_list ap;
    va_start(ap, request);
    unsigned long arg = va_arg(ap, unsigned long);
    va_end(ap);
    if (!fake.on) {
        return (int)real(fd, request, arg);
    }
    struct kvm_enable_cap *cap = (void *)arg;
    switch (request) {
    case KVM_CHECK_EXTENSION:
        if (hv_cap(arg)) {
            return 1;
        }
        break;
    case KVM_CREATE_VCPU: {
        int r = (int)real(fd, request, arg);
        fake.fd[arg & 1] = r;
        return r;
    }
    case KVM_GET_SUPPORTED_HV_CPUID: return supported((void *)arg);
    case KVM_ENABLE_CAP:
        if (cap->cap == KVM_CAP_HYPERV_SYNIC || cap->cap == KVM_CAP_HYPERV_ENFORCE_CPUID) {
            return enable(cap);
        }
        break;
    case KVM_GET_MSRS:
    case KVM_SET_MSRS:
        if (((struct kvm_msrs *)arg)->nmsrs && fake.fd[0] >= 0) {
            return msrs(fd, request, (void *)arg);
        }
        break;
    }
    return (int)real(fd, request, arg);
}

/* Everything Linux 6.1 has on a host without SMT. */
static void fake_begin(void)
{
    memset(&fake, 0, sizeof(fake));
    fake.on = true;
    fake.fd[0] = fake.fd[1] = -1;
    fake.features_eax = 0x2eff;
    fake.features_edx = 1 << 4 | 1 << 8 | 1 << 10 | 1 << 14 | 1 << 19;
    fake.advice = 1 << 2 | 1 << 3 | 1 << 5 | 1 << 9 | 1 << 10 | 1 << 11 | 1 << 18;
}

/* ---- properties ---- */

static const BoardType board = {
    .name = "x86-test", .target = &x86_64_target_ops, .max_cpus = 4, .max_ram = 1 << 30, .init = ram_board_init
};

/* NULL: it is made; g_free. */
static char *make(const char *chip, const char *cpu, X86Hyperv *hv)
{
    role_become_main();
    Error *err = NULL;
    Loop *loop = loop_new("main");
    Machine *m = machine_new(loop);
    m->board = &board;
    m->accel = chip ? &accel_kvm_ops : &accel_tcg_ops;
    m->n_cpus = m->max_cpus = m->sockets = 1;
    m->ram_size = G_RAM;
    m->cpu_text = g_strdup(cpu);
    m->serial_mode = true;
    if (chip) {
        m->accel_state = g_malloc0(m->accel->state_size);
        props_init(m->accel->props, m->accel_state);
        prop_set_text(m, prop_find(m->accel->props, "kernel-irqchip"), m->accel_state, chip, &error_abort_slot);
    }
    char *said = NULL;
    if (!machine_build(m, &err)) {
        said = g_strdup_printf("%s | %s", error_text(err), error_hint_text(err) ? error_hint_text(err) : "");
        error_free(err);
    } else if (hv) {
        *hv = ((X86CpuModel *)m->cpu_model)->hv;
    }
    machine_free(m);
    loop_free(loop);
    return said;
}

static const struct { const char *chip, *cpu, *said;
} refused[] = {
    { NULL, "max,hv-relaxed", "*'hv-relaxed' is not there: Hyper-V enlightenments are KVM's*|*leave them out*-accel kvm*" },
    { NULL, "max,hv_spinlocks=0x1fff", "*'hv_spinlocks' is not there*" },
    { NULL, "max,hv-passthrough", "*'hv-passthrough' is not there*" },
    { NULL, "max,hv-vendor-id=other", "*'hv-vendor-id' is not there*" },
    { "split", "max,hv-synic", "*'hv-synic' needs hv-vpindex | add it*" },
    { "split", "max,hv-synic,hv-vpindex,hv-stimer", "*'hv-stimer' needs hv-time |*" },
    { "split", "max,hv-stimer", "*'hv-stimer' needs hv-time hv-synic |*" },
    { "split", "max,hv-stimer-direct", "*'hv-stimer-direct' needs hv-stimer |*" },
    { "split", "max,hv-tlbflush", "*'hv-tlbflush' needs hv-vpindex |*" },
    { "split", "max,hv-ipi", "*'hv-ipi' needs hv-vpindex |*" },
    { "split", "max,hv-vpindex,hv-tlbflush-ext", "*'hv-tlbflush-ext' needs hv-tlbflush |*" },
    { "off", "max,hv-vapic", "*'hv-vapic' needs local APICs in the kernel*kernel-irqchip=split*" },
    { "off", "max,hv-vpindex,hv-synic", "*'hv-synic' needs local APICs in the kernel*" },
    { "off", "max,hv-vpindex,hv-ipi", "*'hv-ipi' needs local APICs in the kernel*" },
    { "off", "max,hv-evmcs", "*'hv-evmcs' is not there: guests have no VMX*" },
    { "off", "max,hv-syndbg", "*'hv-syndbg' is not there: there is no synthetic debugger |*" },
    { "off", "max,hv-relaxd", "*unknown feature or property 'hv-relaxd'*hv-relaxed*" },
    { "off", "max,hv-spinlocks=100", "*'hv-spinlocks': 100 is not from 4095 to*" },
    { "off", "max,hv-spinlocks", "*'hv-spinlocks'*" },
    { "off", "max,hv-relaxed,hv-vendor-id=longer than that", "*longer than 12 characters*" },
    { "off", "max,hv-relaxed,hv-version-id-major=65536", "*65536 is not from 0 to 65535*" },
    { "off", "max,hv-relaxed,hv-no-nonarch-coresharing=maybe", "*none of on, off, auto*" },
    { "off", "max,hv-relaxed=maybe", "*'hv-relaxed'*maybe*" },
    { "off", "max,hv-vendor-id=other", "*'hv-vendor-id' means nothing*add hv-relaxed*" },
    { "off", "max,hv-version-id-build=1", "*'hv-version-id-build' means nothing*" },
    { "off", "max,-hypervisor,hv-relaxed", "*need the feature 'hypervisor'*" },
};

static void test_refused(void)
{
    if (kvm_skipped()) {
        return;
    }
    for (unsigned i = 0; i < G_N_ELEMENTS(refused); i++) {
        fake_begin();
        g_autofree char *said = make(refused[i].chip, refused[i].cpu, NULL);
        if (!said || !g_pattern_match_simple(refused[i].said, said)) {
            g_error("%s: '%s' does not match '%s'", refused[i].cpu, said ? said : "nothing", refused[i].said);
        }
    }
}

/* What this host's KVM lacks is said, one by one. */
static void test_host_lacks(void)
{
    static const struct { const char *cpu; uint32_t eax, edx, advice;
    } each[] = {
        { "hv-time", 1 << 9, 0, 0 },       { "hv-reset", 1 << 7, 0, 0 },  { "hv-runtime", 1, 0, 0 },
        { "hv-frequencies", 0, 1 << 8, 0 }, { "hv-crash", 0, 1 << 10, 0 }, { "hv-reenlightenment", 1 << 13, 0, 0 },
        { "hv-vpindex", 1 << 6, 0, 0 },    { "hv-relaxed", 0, 0, 1 << 5 }, { "hv-vapic", 0, 0, 1 << 3 },
        { "hv-avic", 0, 0, 1 << 9 },       { "hv-xmm-input", 0, 1 << 4, 0 },
    };
    if (kvm_skipped()) {
        return;
    }
    for (unsigned i = 0; i < G_N_ELEMENTS(each); i++) {
        g_autofree char *cpu = g_strdup_printf("max,%s", each[i].cpu);
        g_autofree char *want = g_strdup_printf("*'%s' is not there: this host's KVM does not have it*", each[i].cpu);
        fake_begin();
        g_assert_null(make("split", cpu, NULL));
        fake.features_eax &= ~each[i].eax;
        fake.features_edx &= ~each[i].edx;
        fake.advice &= ~each[i].advice;
        g_autofree char *said = make("split", cpu, NULL);
        g_assert_nonnull(said);
        g_assert_true(g_pattern_match_simple(want, said));
    }
    fake_begin();
    fake.no_cpuid = true;
    g_autofree char *old = make("split", "max,hv-relaxed", NULL);
    g_assert_true(old && g_pattern_match_simple("*does not tell which it has*Linux 4.20*", old));
    fake_begin();
    fake.no_synic = true;
    g_autofree char *synic = make("split", "max,hv-vpindex,hv-synic", NULL);
    g_assert_true(synic && g_pattern_match_simple("*-cpu hv-synic: KVM_CAP_HYPERV_SYNIC failed*", synic));
    fake_begin();
    fake.refuse = 0x40000002;
    fake.own[0][2] = 7;
    g_autofree char *vp = make("split", "max,hv-vpindex", NULL);
    g_assert_true(vp && g_pattern_match_simple("*hv-vpindex: KVM does not take 0*", vp));
}

/* All that the host has; less what the interrupt controllers here cannot carry, what was switched off, and what needs
 * one of these. */
static void test_passthrough(void)
{
    X86Hyperv hv;
    if (kvm_skipped()) {
        return;
    }
    fake_begin();
    g_assert_null(make("split", "host,hv-passthrough", &hv));
    g_assert_cmphex(hv.on, ==, (1u << HV_FEATURES) - 1);
    g_assert_cmphex(hv.spinlocks, ==, 0xfff);
    g_assert_cmpint(hv.cores, ==, HV_CORES_ON);
    g_assert_cmpuint(fake.synic, ==, 1);
    g_assert_null(make("off", "host,hv-passthrough,hv-spinlocks=0x2000", &hv));
    g_assert_cmphex(hv.on, ==, 1 << HV_RELAXED | 1 << HV_TIME | 1 << HV_CRASH | 1 << HV_RESET | 1 << HV_VPINDEX |
                                   1 << HV_RUNTIME | 1 << HV_FREQUENCIES | 1 << HV_REENLIGHTENMENT | 1 << HV_TLBFLUSH |
                                   1 << HV_AVIC | 1 << HV_XMM_INPUT | 1 << HV_TLBFLUSH_EXT);
    g_assert_cmphex(hv.spinlocks, ==, 0x2000);
    g_assert_null(make("split", "host,hv-passthrough,hv-vpindex=off", &hv));
    g_assert_false(hv.on & (1 << HV_VPINDEX | 1 << HV_SYNIC | 1 << HV_STIMER | 1 << HV_STIMER_DIRECT | 1 << HV_IPI |
                            1 << HV_TLBFLUSH | 1 << HV_TLBFLUSH_EXT));
    fake.advice = fake.features_eax = fake.features_edx = 0;
    g_assert_null(make("split", "host,hv-passthrough", &hv));
    g_assert_cmphex(hv.on, ==, 0);
    g_assert_cmpint(hv.cores, ==, HV_CORES_OFF);
}

/* ---- what the guest sees ---- */

static Guest *guest(const char *cpu, const char *chip, unsigned n)
{
    g_setenv("RHEA_TEST_ACCEL", "kvm", true);
    guest_accel_props = chip;
    Guest *g = guest_new_smp(cpu, n, n == 1);
    guest_accel_props = NULL;
    return g;
}

/* Leaves 40000000H to 40000005H, 10H, 100H, 101H, sixteen bytes each at G_DATA (0x18000). */
GUEST_CODE(h_cpuid, 32,
           "mov $0x18000, %edi\n mov $0x40000000, %esi\n call 1f\n"
           "mov $0x40000001, %esi\n call 1f\n mov $0x40000002, %esi\n call 1f\n"
           "mov $0x40000003, %esi\n call 1f\n mov $0x40000004, %esi\n call 1f\n"
           "mov $0x40000005, %esi\n call 1f\n mov $0x40000010, %esi\n call 1f\n"
           "mov $0x40000100, %esi\n call 1f\n mov $0x40000101, %esi\n call 1f\n"
           "jmp 2f\n"
           "1: mov %esi, %eax\n cpuid\n mov %eax, (%edi)\n mov %ebx, 4(%edi)\n"
           "mov %ecx, 8(%edi)\n mov %edx, 12(%edi)\n add $16, %edi\n ret\n"
           "2:\n");

static uint32_t leaf(Guest *g, unsigned i, unsigned reg)
{
    return (uint32_t)guest_ld(g, G_DATA + 16 * i + 4 * reg, 4);
}

static void test_cpuid(void)
{
    if (kvm_skipped()) {
        return;
    }
    fake_begin();
    Guest *g = guest("max,hv-relaxed,hv_time,hv-vpindex,hv-tlbflush,hv-crash,hv-spinlocks=0x1fff,hv-vendor-id=Somebody,"
                     "hv-version-id-build=7,hv-version-id-major=6,hv-version-id-minor=3,hv-version-id-spack=2,"
                     "hv-version-id-sbranch=5,hv-version-id-snumber=9,hv-no-nonarch-coresharing=auto,hv-enforce-cpuid",
                     "off", 1);
    guest_pm32(g);
    guest_run(g, h_cpuid);
    g_assert_cmphex(leaf(g, 0, 0), ==, 0x40000005);
    char name[13] = { 0 };
    for (unsigned i = 0; i < 12; i++) {
        name[i] = (char)guest_ld(g, G_DATA + 4 + i, 1);
    }
    g_assert_cmpstr(name, ==, "Somebody");
    g_assert_cmphex(leaf(g, 1, 0), ==, 0x31237648);
    g_assert_cmphex(leaf(g, 2, 0), ==, 7);
    g_assert_cmphex(leaf(g, 2, 1), ==, 6 << 16 | 3);
    g_assert_cmphex(leaf(g, 2, 2), ==, 2);
    g_assert_cmphex(leaf(g, 2, 3), ==, 5 << 24 | 9);
    g_assert_cmphex(leaf(g, 3, 0), ==, 1 << 1 | 1 << 5 | 1 << 6 | 1 << 9);
    g_assert_cmphex(leaf(g, 3, 1), ==, 0);
    g_assert_cmphex(leaf(g, 3, 3), ==, 1 << 10);
    g_assert_cmphex(leaf(g, 4, 0), ==, 1 << 2 | 1 << 5 | 1 << 11 | 1 << 18);
    g_assert_cmphex(leaf(g, 4, 1), ==, 0x1fff);
    g_assert_cmphex(leaf(g, 5, 0), ==, 1);
    g_assert_cmphex(leaf(g, 6, 0), ==, 0); /* the timing leaf is no leaf of Hyper-V's */
    g_assert_cmphex(leaf(g, 7, 0), ==, 0x40000101);
    g_assert_cmphex(leaf(g, 7, 1), ==, 0x4b4d564b); /* KVM's own interfaces are found behind */
    g_assert_cmphex(leaf(g, 8, 0), !=, 0);
    g_assert_cmpuint(fake.enforce, ==, 1);
    g_assert_cmpuint(fake.synic, ==, 0);
    g_assert_cmphex(fake.own[0][2], ==, 0);                    /* the vCPU's number */
    g_assert_cmphex(fake.own[0][0x105], ==, UINT64_C(1) << 63); /* a crash can be told */
    /* What a program that asks is told. */
    g_autoptr(Json) on = NULL, retries = NULL;
    bool yes = false;
    uint64_t n = 0;
    g_autoptr(Json) synic = x86_hyperv_value(&g->cpu->model->hv, "hv-synic");
    g_assert_true(x86_64_target_ops.kvm && synic);
    on = x86_hyperv_value(&g->cpu->model->hv, "hv-time");
    retries = x86_hyperv_value(&g->cpu->model->hv, "hv-spinlocks");
    g_assert_true(json_get_bool(on, &yes) && yes);
    g_assert_true(json_get_uint(retries, &n) && n == 0x1fff);
    guest_free(g);
    fake_begin(); /* none is on: nothing of it */
    g = guest("max", "off", 1);
    guest_pm32(g);
    guest_run(g, h_cpuid);
    g_assert_cmphex(leaf(g, 0, 1), ==, 0x4b4d564b);
    g_assert_cmphex(leaf(g, 3, 0), ==, 0);
    g_assert_cmpuint(fake.sets, ==, 0);
    guest_free(g);
}

/* ---- registers ---- */

static void fill(X86Cpu *cpu, uint64_t seed)
{
    for (unsigned i = 0; i < G_N_ELEMENTS(cpu->hv); i++) {
        cpu->hv[i] = x86_hyperv_msr(i)->wide ? 0x1000 + i : seed + i;
    }
}

static void test_registers(void)
{
    if (kvm_skipped()) {
        return;
    }
    fake_begin();
    Guest *g = guest("max,hv-passthrough", "split", 2);
    X86Cpu *cpu[2] = { x86_cpu(g->m->cpus[0]), x86_cpu(g->m->cpus[1]) };
    const X86HvMsr *m;
    g_assert_cmphex(fake.own[1][2], ==, 1);
    for (unsigned c = 0; c < 2; c++) {
        fill(cpu[c], 0x2000 * (c + 1));
    }
    /* What is one for the whole machine comes with the first vCPU; another's that is new says nothing. */
    x86_kvm_ops.push(&cpu[1]->vcpu, true, &error_abort_slot);
    g_assert_cmphex(fake.wide[0], ==, 0);
    x86_kvm_ops.push(&cpu[0]->vcpu, true, &error_abort_slot);
    for (unsigned c = 0; c < 2; c++) {
        for (unsigned i = 0; (m = x86_hyperv_msr(i)); i++) {
            uint64_t has = m->wide ? fake.wide[m->index - HV_FIRST] : fake.own[c][m->index - HV_FIRST];
            g_assert_cmphex(has, ==, m->wide ? 0x1000 + i : 0x2000 * (c + 1) + i);
        }
        uint64_t was[G_N_ELEMENTS(cpu[c]->hv)];
        memcpy(was, cpu[c]->hv, sizeof(was));
        memset(cpu[c]->hv, 0x5a, sizeof(was));
        x86_kvm_ops.pull(&cpu[c]->vcpu, &error_abort_slot);
        g_assert_cmpmem(was, sizeof(was), cpu[c]->hv, sizeof(was));
    }
    unsigned sets = fake.sets; /* what KVM has is not written again */
    x86_kvm_ops.push(&cpu[0]->vcpu, false, &error_abort_slot);
    g_assert_cmpuint(fake.sets, ==, sets);
    /* The interpreter sees the same, and what it writes reaches KVM. */
    uint64_t val = 0;
    g_assert_true(x86_msr_read(cpu[0], 0x40000073, &val));
    g_assert_cmphex(val, ==, *x86_hyperv_slot(cpu[0], 0x40000073));
    g_assert_true(x86_msr_write(cpu[0], 0x40000073, 0x77001));
    x86_kvm_ops.push(&cpu[0]->vcpu, false, &error_abort_slot);
    g_assert_cmphex(fake.own[0][0x73], ==, 0x77001);
    /* Saved state, and a CPU that has fewer of them. */
    g_autoptr(GByteArray) saved = g_byte_array_new();
    vmstate_save(x86_64_target_ops.vmstate, cpu[0], saved);
    memset(cpu[0]->hv, 0, sizeof(cpu[0]->hv));
    const uint8_t *at = saved->data, *end = saved->data + saved->len;
    g_assert_true(vmstate_load(x86_64_target_ops.vmstate, cpu[0], &at, end, &error_abort_slot));
    g_assert_cmphex(*x86_hyperv_slot(cpu[0], 0x40000073), ==, 0x77001);
    guest_free(g);
    fake_begin();
    Error *err = NULL;
    g = guest("max,hv-relaxed", "split", 1);
    g_assert_null(x86_hyperv_slot(g->cpu, 0x40000073));
    g_assert_nonnull(x86_hyperv_slot(g->cpu, 0x40000000));
    at = saved->data;
    g_assert_false(vmstate_load(x86_64_target_ops.vmstate, g->cpu, &at, end, &err));
    g_assert_nonnull(strstr(error_text(err), "needs an enlightenment that is off"));
    error_free(err);
    guest_free(g);
}

/* The software engine cannot go on with such a guest. */
static void test_stays(void)
{
    if (kvm_skipped()) {
        return;
    }
    fake_begin();
    Guest *g = guest("qemu64,-x2apic,-kvm-steal-time,hv-time,hv-spinlocks=0x1fff", "off", 2); /* with threads: it could move */
    Error *err = NULL;
    void *state = g_malloc0(accel_tcg_ops.state_size);
    props_init(accel_tcg_ops.props, state);
    g_assert_false(machine_move(g->m, &accel_tcg_ops, state, &err));
    if (!g_pattern_match_simple("*accelerator 'tcg' lacks here:*hv-time hv-spinlocks*", error_text(err))) {
        g_error("%s", error_text(err));
    }
    error_free(err);
    guest_free(g);
}

/* ---- exits ---- */

static void test_exits(void)
{
    static const struct { uint64_t input; uint16_t status; } calls[] = {
        { 0x5c, 0x12 }, { 0x1005d, 0x12 }, { 0x69, 2 }
    };
    if (kvm_skipped()) {
        return;
    }
    fake_begin();
    Guest *g = guest("max,hv-crash", "off", 1);
    struct kvm_run *run = kvm_of(&g->cpu->vcpu)->run;
    VcpuExit out;
    run->exit_reason = KVM_EXIT_HYPERV;
    run->hyperv.type = KVM_EXIT_HYPERV_HCALL;
    for (unsigned i = 0; i < G_N_ELEMENTS(calls); i++) {
        kvm_of(&g->cpu->vcpu)->io_pending = false;
        run->hyperv.u.hcall.input = calls[i].input;
        run->hyperv.u.hcall.result = 0xffff;
        g_assert_cmpint(kvm_exit(&g->cpu->vcpu, &out), ==, KVM_NEXT_AGAIN);
        g_assert_cmphex(run->hyperv.u.hcall.result, ==, calls[i].status);
        g_assert_true(kvm_of(&g->cpu->vcpu)->io_pending);
    }
    run->hyperv.type = KVM_EXIT_HYPERV_SYNIC;
    g_assert_cmpint(kvm_exit(&g->cpu->vcpu, &out), ==, KVM_NEXT_AGAIN);
    kvm_of(&g->cpu->vcpu)->io_pending = false;
    for (unsigned i = 0; i < 5; i++) {
        fake.wide[0x100 + i] = 0xf000000000000000ull + i;
    }
    g_autoptr(Json) info = kvm_x86_crash_info(&g->cpu->vcpu);
    g_autofree char *text = json_format(info, false);
    g_assert_nonnull(strstr(text, "hyper-v"));
    g_assert_nonnull(strstr(text, "17293822569102704644")); /* arg5 */
    guest_free(g);
}

static Json *panic;

static void on_event(void *opaque G_GNUC_UNUSED, const char *name, const Json *data)
{
    if (g_str_equal(name, "GUEST_PANICKED")) {
        json_unref(panic);
        panic = json_ref((Json *)data);
    }
}

/* A crash that the guest tells reaches whoever listens, with the guest's numbers. */
static void test_crash(void)
{
    if (kvm_skipped()) {
        return;
    }
    fake_begin();
    Guest *g = guest("max,hv-crash", "off", 1);
    MachineListener l = { .event = on_event };
    VcpuExit out;
    machine_add_listener(g->m, &l);
    fake.wide[0x100] = 0xc5;
    struct kvm_run *run = kvm_of(&g->cpu->vcpu)->run;
    run->exit_reason = KVM_EXIT_SYSTEM_EVENT;
    run->system_event.type = KVM_SYSTEM_EVENT_CRASH;
    g_assert_cmpint(kvm_exit(&g->cpu->vcpu, &out), ==, KVM_NEXT_AGAIN);
    for (unsigned i = 0; i < 1000 && !panic; i++) {
        loop_turn(g->loop, false);
    }
    g_assert_nonnull(panic);
    const Json *info = json_member(panic, "info", NULL);
    uint64_t first = 0;
    g_assert_true(info && json_get_uint(json_member(info, "arg1", NULL), &first));
    g_assert_cmphex(first, ==, 0xc5);
    machine_remove_listener(g->m, &l);
    json_unref(g_steal_pointer(&panic));
    guest_free(g);
}

/* ---- the real one ---- */

GUEST_CODE(h_time, 32,
           "mov $0x40000000, %ecx\n mov $1, %eax\n xor %edx, %edx\n wrmsr\n"
           "mov $0x40000020, %ecx\n rdmsr\n mov %eax, %ebx\n mov %edx, %esi\n"
           "mov $100000, %edi\n 1: dec %edi\n jnz 1b\n rdmsr\n sub %ebx, %eax\n sbb %esi, %edx\n"
           "mov %eax, %ebx\n mov $0x40000002, %ecx\n rdmsr\n");

static void test_real(void)
{
    X86Hyperv hv;
    if (kvm_skipped()) {
        return;
    }
    memset(&fake, 0, sizeof(fake));
    g_autofree char *why = make("off", "max,hv-time,hv-vpindex", &hv);
    if (why) {
        g_test_skip(why);
        return;
    }
    Guest *g = guest("max,hv-time,hv-vpindex", "off", 1);
    guest_pm32(g);
    guest_run(g, h_time);
    g_assert_cmpuint((uint32_t)g->cpu->gpr[R_RBX], >, 0); /* 100 ns each */
    g_assert_cmphex(g->cpu->gpr[R_RAX], ==, 0);
    g_assert_cmphex(*x86_hyperv_slot(g->cpu, 0x40000000), ==, 1);
    guest_free(g);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/cpu/kvm-hyperv/refused", test_refused);
    g_test_add_func("/cpu/kvm-hyperv/host-lacks", test_host_lacks);
    g_test_add_func("/cpu/kvm-hyperv/passthrough", test_passthrough);
    g_test_add_func("/cpu/kvm-hyperv/cpuid", test_cpuid);
    g_test_add_func("/cpu/kvm-hyperv/registers", test_registers);
    g_test_add_func("/cpu/kvm-hyperv/stays", test_stays);
    g_test_add_func("/cpu/kvm-hyperv/exits", test_exits);
    g_test_add_func("/cpu/kvm-hyperv/crash", test_crash);
    g_test_add_func("/cpu/kvm-hyperv/real", test_real);
    return g_test_run();
}
