/* SPDX-License-Identifier: MIT
 * target/x86/kvm-msrs.c - model-specific registers between X86Cpu and KVM, the TSC among them.
 * Models: Linux Documentation/virt/kvm/api.rst, 4.18-4.19 (MSRS), 4.55-4.56 (TSC_KHZ), 4.104
 *   (SETUP_MCE). Each register of the table travels when this KVM has it: it is asked for each one
 *   once.
 * Does not model: performance counters, last-branch records (not offered to guests). The TSC is written
 *   only when the CPU struct's was (reset, load, a WRMSR run in software): it goes on while a machine
 *   is stopped, as other programs on KVM let it.
 * Threads: the vCPU's own, or any while it is parked.
 */
#include "kvm.h"
#include "rhea/util/log.h"

#include <errno.h>
#include <string.h>

enum { MSR_TSC = 0x10, MSR_MC0 = 0x400, MC_BANKS = 10, MTRR_BASE0 = 0x200, MTRR_COUNT = 8 };
#define AT(field) TYPED_OFFSET(X86Cpu, field, uint64_t)

static const struct {
    uint32_t index;
    size_t off;
    uint16_t feat;
} table[] = {
    { 0x174, AT(sysenter_cs), X86_FEAT_SEP },
    { 0x175, AT(sysenter_esp), X86_FEAT_SEP },
    { 0x176, AT(sysenter_eip), X86_FEAT_SEP },
    { 0xc0000081, AT(star), 0 },
    { 0xc0000082, AT(lstar), X86_FEAT_LM },
    { 0xc0000083, AT(cstar), X86_FEAT_LM },
    { 0xc0000084, AT(fmask), X86_FEAT_LM },
    { 0xc0000102, AT(kernel_gs_base), X86_FEAT_LM },
    { 0xc0000103, AT(tsc_aux), X86_FEAT_RDTSCP },
    { 0x277, AT(pat), X86_FEAT_PAT },
    { 0x3b, AT(tsc_adjust), X86_FEAT_TSC_ADJUST },
    { 0x48, AT(spec_ctrl), X86_FEAT_SPEC_CTRL },
    { 0x1a0, AT(misc_enable), 0 },
    { 0x17a, AT(mcg_status), X86_FEAT_MCA },
    { 0x17b, AT(mcg_ctl), X86_FEAT_MCA },
    { 0x2ff, AT(mtrr_def), X86_FEAT_MTRR },
    { 0x8b, AT(bios_sign_id), 0 },
    { 0xda0, AT(xss), X86_FEAT_XSAVES },
    { X86_MSR_KVM_WALL_CLOCK, AT(pv_wall), X86_FEAT_KVMCLOCK },
    { X86_MSR_KVM_SYSTEM_TIME, AT(pv_time), X86_FEAT_KVMCLOCK },
    { X86_MSR_KVM_STEAL_TIME, AT(pv_steal), X86_FEAT_KVM_STEAL_TIME },
};

static bool kvm_has(X86Cpu *cpu, uint32_t index)
{
    KvmOneMsr one = kvm_x86_one_msr(index);
    return kvm_vcpu_ioctl(&cpu->vcpu, KVM_GET_MSRS, &one) == 1;
}

static void add(X86Cpu *cpu, GArray *list, uint32_t index, size_t off)
{
    KvmMsr msr = { .index = index, .off = (uint32_t)off };
    if (kvm_has(cpu, index)) {
        g_array_append_val(list, msr);
    }
}

static void add_hyperv(X86Cpu *cpu, GArray *list)
{
    const X86HvMsr *hv;
    for (unsigned i = 0; (hv = x86_hyperv_msr(i)); i++) {
        unsigned n = list->len;
        if (x86_hyperv_msr_there(&cpu->model->hv, hv)) {
            add(cpu, list, hv->index, offsetof(X86Cpu, hv) + 8 * i);
        }
        if (list->len != n) {
            g_array_index(list, KvmMsr, n).wide = hv->wide;
        }
    }
}

static void add_arrays(X86Cpu *cpu, GArray *list)
{
    static const uint32_t fixed[11] = { 0x250, 0x258, 0x259, 0x268, 0x269, 0x26a,
                                        0x26b, 0x26c, 0x26d, 0x26e, 0x26f };
    if (x86_has_bit(cpu, X86_FEAT_MTRR)) {
        for (unsigned i = 0; i < G_N_ELEMENTS(fixed); i++) {
            add(cpu, list, fixed[i], offsetof(X86Cpu, mtrr_fixed) + 8 * i);
        }
        for (unsigned i = 0; i < MTRR_COUNT; i++) {
            add(cpu, list, MTRR_BASE0 + 2 * i, offsetof(X86Cpu, mtrr_base) + 8 * i);
            add(cpu, list, MTRR_BASE0 + 2 * i + 1, offsetof(X86Cpu, mtrr_mask) + 8 * i);
        }
    }
    if (x86_has_bit(cpu, X86_FEAT_MCA)) {
        for (unsigned i = 0; i < 4 * MC_BANKS; i++) {
            add(cpu, list, MSR_MC0 + i, offsetof(X86Cpu, mc_bank) + 8 * i);
        }
    }
}

static bool setup_tsc(X86Cpu *cpu, Error **errp)
{
    int khz = kvm_vcpu_ioctl(&cpu->vcpu, KVM_GET_TSC_KHZ, NULL);
    if (khz <= 0) {
        error_set(errp, "vCPU %u: KVM does not tell the frequency of the TSC", cpu->vcpu.index);
        error_hint(errp, "this host's TSC is not stable: use -accel tcg");
        return false;
    }
    bool known = cpu->vcpu.machine->moving; /* the guest counts on it */
    uint64_t want = (known ? cpu->tsc_hz : cpu->model->tsc_hz) / 1000;
    if ((cpu->model->tsc_hz_set || known) && want != (uint64_t)khz) {
        int r = want <= UINT32_MAX ? kvm_vcpu_ioctl(&cpu->vcpu, KVM_SET_TSC_KHZ, (void *)(uintptr_t)want)
                                   : -EINVAL;
        if (r < 0 && known) {
            error_set(errp, "the guest's TSC runs at %" PRIu64 " kHz, and this host's KVM cannot run it but at %d", want, khz);
            error_hint(errp, "start the machine with -cpu MODEL,tsc-frequency=%d000 (or with -accel kvm), then it can move", khz);
            return false;
        }
        if (r < 0) {
            error_set(errp,
                      "-cpu tsc-frequency: this host's KVM cannot run the TSC at %" PRIu64
                      " kHz instead of %d",
                      want, khz);
            error_hint(errp, "leave it out; it needs a CPU that scales the TSC, or -accel tcg");
            return false;
        }
        return true;
    }
    cpu->tsc_hz = known ? cpu->tsc_hz : (uint64_t)khz * 1000;
    return true;
}

bool kvm_x86_msrs_init(X86Cpu *cpu, Error **errp)
{
    uint64_t mce = 0;
    if (!setup_tsc(cpu, errp)) {
        return false;
    }
    if (x86_has_bit(cpu, X86_FEAT_MCA) && kvm_cap(cpu->vcpu.machine, KVM_CAP_MCE) >= MC_BANKS &&
        kvm_sys_ioctl(cpu->vcpu.machine, KVM_X86_GET_MCE_CAP_SUPPORTED, &mce) >= 0) {
        mce = (mce & cpu->mcg_cap & ~UINT64_C(0xff)) | MC_BANKS;
        kvm_vcpu_ioctl(&cpu->vcpu, KVM_X86_SETUP_MCE, &mce); /* without: those registers do not travel */
    }
    g_autoptr(GArray) list = g_array_new(FALSE, FALSE, sizeof(KvmMsr));
    for (unsigned i = 0; i < G_N_ELEMENTS(table); i++) {
        if (!table[i].feat || x86_has_bit(cpu, table[i].feat)) {
            add(cpu, list, table[i].index, table[i].off);
        }
    }
    add_arrays(cpu, list);
    add_hyperv(cpu, list);
    X86Kvm *k = cpu->kvm;
    k->n_msrs = list->len;
    k->msrs = (KvmMsr *)g_array_steal(list, NULL);
    k->msr_buffer = g_malloc0(sizeof(struct kvm_msrs) + (k->n_msrs + 1) * sizeof(struct kvm_msr_entry));
    return true;
}

static uint64_t *slot_of(X86Cpu *cpu, const KvmMsr *msr)
{
    return (uint64_t *)((char *)cpu + msr->off);
}

static int64_t offset_of(X86Cpu *cpu, uint64_t tsc)
{
    return (int64_t)(tsc - (x86_read_tsc(cpu) - cpu->tsc_offset));
}

bool kvm_x86_pull_msrs(X86Cpu *cpu, Error **errp)
{
    X86Kvm *k = cpu->kvm;
    struct kvm_msrs *b = k->msr_buffer;
    b->nmsrs = k->n_msrs + 1;
    for (unsigned i = 0; i < k->n_msrs; i++) {
        b->entries[i] = (struct kvm_msr_entry){ .index = k->msrs[i].index };
    }
    b->entries[k->n_msrs] = (struct kvm_msr_entry){ .index = MSR_TSC };
    int r = kvm_vcpu_ioctl(&cpu->vcpu, KVM_GET_MSRS, b);
    if (r != (int)b->nmsrs) {
        return error_set(errp, "vCPU %u: KVM_GET_MSRS failed at register 0x%x", cpu->vcpu.index,
                         b->entries[MAX(r, 0)].index);
    }
    for (unsigned i = 0; i < k->n_msrs; i++) {
        *slot_of(cpu, &k->msrs[i]) = k->msrs[i].seen = b->entries[i].data;
        k->msrs[i].known = true;
    }
    cpu->tsc_offset = (uint64_t)offset_of(cpu, b->entries[k->n_msrs].data);
    k->tsc_seen = (int64_t)cpu->tsc_offset;
    return true;
}

static bool tsc_attr(X86Cpu *cpu, uint64_t *off)
{
    struct kvm_device_attr attr = {
        .group = KVM_VCPU_TSC_CTRL, .attr = KVM_VCPU_TSC_OFFSET, .addr = (uintptr_t)off
    };
    return cpu->kvm && cpu->kvm->tsc_known && kvm_vcpu_ioctl(&cpu->vcpu, KVM_GET_DEVICE_ATTR, &attr) == 0;
}

/* Offsets are measured CPU by CPU, each a little too small by the time that took. Where KVM has the same for
 * all, so have we: guests notice microseconds. */
void kvm_x86_align_tsc(Machine *m)
{
    uint64_t first, here;
    int64_t most = INT64_MIN;
    for (unsigned i = 0; i < m->n_cpus; i++) {
        X86Cpu *cpu = x86_cpu(m->cpus[i]);
        if (!tsc_attr(cpu, &here) || (i && here != first)) {
            return;
        }
        first = here;
        most = MAX(most, (int64_t)cpu->tsc_offset);
    }
    for (unsigned i = 0; i < m->n_cpus; i++) {
        X86Cpu *cpu = x86_cpu(m->cpus[i]);
        cpu->tsc_offset = (uint64_t)(cpu->kvm->tsc_seen = most);
    }
}

/* Virtual time is about to jump by so much; the TSC is not. */
void kvm_x86_tsc_stays(Machine *m, int64_t ns)
{
    for (unsigned i = 0; i < m->n_cpus; i++) {
        X86Cpu *cpu = x86_cpu(m->cpus[i]);
        cpu->tsc_offset -= (uint64_t)((__int128)ns * (__int128)cpu->tsc_hz / 1000000000);
    }
}

/* KVM stops at the first register it does not take: that one is told once, the others go on. */
static bool write_from(X86Cpu *cpu, unsigned n)
{
    static bool said;
    X86Kvm *k = cpu->kvm;
    struct kvm_msrs *b = k->msr_buffer;
    unsigned done = 0;
    while (done < n) {
        b->nmsrs = n - done;
        int r = kvm_vcpu_ioctl(&cpu->vcpu, KVM_SET_MSRS, b);
        if (r < 0) {
            return false;
        }
        if ((unsigned)r == b->nmsrs) {
            return true;
        }
        log_warn_once(&said, "vCPU %u: KVM does not take 0x%llx for register 0x%x", cpu->vcpu.index,
                      (unsigned long long)b->entries[r].data, b->entries[r].index);
        done += (unsigned)r + 1;
        memmove(b->entries, b->entries + r + 1, (n - done) * sizeof(b->entries[0]));
    }
    return true;
}

bool kvm_x86_push_msrs(X86Cpu *cpu, Error **errp)
{
    X86Kvm *k = cpu->kvm;
    struct kvm_msrs *b = k->msr_buffer;
    unsigned n = 0;
    for (unsigned i = 0; i < k->n_msrs; i++) {
        KvmMsr *msr = &k->msrs[i];
        uint64_t val = *slot_of(cpu, msr);
        if (msr->known && msr->seen == val) {
            continue; /* for most it would only cost; a write of the paravirtual clock's has effects */
        }
        bool others = msr->wide && !msr->known && cpu->vcpu.index;
        msr->seen = val;
        msr->known = true;
        if (others) {
            continue;
        }
        b->entries[n++] = (struct kvm_msr_entry){ .index = msr->index, .data = val };
    }
    if ((int64_t)cpu->tsc_offset != k->tsc_seen || !k->tsc_known) {
        b->entries[n++] = (struct kvm_msr_entry){ .index = MSR_TSC, .data = x86_read_tsc(cpu) };
    }
    k->tsc_seen = (int64_t)cpu->tsc_offset;
    k->tsc_known = true;
    return write_from(cpu, n) || error_set(errp, "vCPU %u: KVM_SET_MSRS failed", cpu->vcpu.index);
}
