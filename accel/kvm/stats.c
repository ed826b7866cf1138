/* SPDX-License-Identifier: MIT
 * accel/kvm/stats.c - the kernel's statistics of the VM and of each vCPU.
 * Models: Linux Documentation/virt/kvm/api.rst, 4.133 (GET_STATS_FD): header, descriptors, values.
 * Does not model: the program's own counters (kvm.c, `info jit`).
 * Threads: opened on the main loop; a descriptor of statistics is read by any thread, also while its vCPU
 *          runs.
 */
#include "kvm_internal.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

enum { DESCS_MAX = 4096, NAME_MAX_BYTES = 256, VALUES_MAX = 1024, DATA_MAX = 1 << 20 };

int kvm_stats_open_vm(const Machine *m)
{
    return kvm_cap(m, KVM_CAP_BINARY_STATS_FD) ? MAX(kvm_vm_ioctl(m, KVM_GET_STATS_FD, NULL), -1) : -1;
}

/* While the vCPU does not run yet: afterwards the ioctl would wait for it. */
int kvm_stats_open_vcpu(const Vcpu *cpu)
{
    return kvm_cap(cpu->machine, KVM_CAP_BINARY_STATS_FD)
               ? MAX(kvm_vcpu_ioctl(cpu, KVM_GET_STATS_FD, NULL), -1)
               : -1;
}

static bool read_at(int fd, uint64_t off, void *buf, size_t n)
{
    return pread(fd, buf, n, (off_t)off) == (ssize_t)n;
}

static AccelStat describe(const struct kvm_stats_desc *d, const char *name)
{
    static const AccelStatKind kinds[] = { STAT_CUMULATIVE, STAT_INSTANT, STAT_PEAK, STAT_LINEAR_HISTOGRAM,
                                           STAT_LOG2_HISTOGRAM };
    static const AccelStatUnit units[] = { STAT_PLAIN, STAT_BYTES, STAT_SECONDS, STAT_CYCLES, STAT_BOOLEAN };
    unsigned kind = d->flags >> KVM_STATS_TYPE_SHIFT & 0xf, unit = d->flags >> KVM_STATS_UNIT_SHIFT & 0xf;
    return (AccelStat){
        .name = g_strdup(name),
        .kind = kinds[MIN(kind, (unsigned)G_N_ELEMENTS(kinds) - 1)],
        .unit = unit < G_N_ELEMENTS(units) ? units[unit] : STAT_PLAIN,
        .base = (d->flags & KVM_STATS_BASE_MASK) == KVM_STATS_BASE_POW2 ? 2 : 10,
        .exponent = d->exponent,
        .bucket_size = kind == 3 ? d->bucket_size : 0,
        .n = d->size,
    };
}

/* What a later kernel counts in a way that is not known here is left out. */
static bool known(const struct kvm_stats_desc *d)
{
    return (d->flags & KVM_STATS_TYPE_MASK) <= KVM_STATS_TYPE_MAX &&
           (d->flags & KVM_STATS_BASE_MASK) <= KVM_STATS_BASE_MAX && d->size && d->size <= VALUES_MAX &&
           d->offset <= DATA_MAX;
}

/* Descriptors into out, values not yet; *bytes: how far they go. */
static bool read_descs(int fd, const struct kvm_stats_header *h, GArray *out, GArray *offsets, size_t *bytes)
{
    size_t stride = sizeof(struct kvm_stats_desc) + h->name_size;
    g_autofree uint8_t *raw = g_malloc(stride * h->num_desc + 1);
    *bytes = 0;
    if (!read_at(fd, h->desc_offset, raw, stride * h->num_desc)) {
        return false;
    }
    for (uint32_t i = 0; i < h->num_desc; i++) {
        struct kvm_stats_desc d;
        memcpy(&d, raw + i * stride, sizeof(d));
        if (known(&d)) {
            g_autofree char *name = g_strndup((const char *)raw + i * stride + sizeof(d), h->name_size);
            AccelStat s = describe(&d, name);
            g_array_append_val(out, s);
            g_array_append_val(offsets, d.offset);
            *bytes = MAX(*bytes, d.offset + 8 * (size_t)d.size);
        }
    }
    return true;
}

/* All values at one time. */
static bool read_values(int fd, const struct kvm_stats_header *h, GArray *out, const GArray *offsets,
                        size_t bytes)
{
    g_autofree uint8_t *raw = g_malloc(bytes + 1);
    if (!read_at(fd, h->data_offset, raw, bytes)) {
        return false;
    }
    for (guint i = 0; i < out->len; i++) {
        AccelStat *s = &g_array_index(out, AccelStat, i);
        s->values = g_memdup2(raw + g_array_index(offsets, uint32_t, i), 8 * (size_t)s->n);
    }
    return true;
}

bool kvm_stats(Machine *m, const Vcpu *cpu, GArray *out, Error **errp)
{
    int fd = !cpu ? kvm_vm(m)->stats_fd : kvm_of(cpu) ? kvm_of(cpu)->stats_fd : -1;
    struct kvm_stats_header h;
    size_t bytes;
    if (fd < 0) {
        error_set(errp, "this host's KVM has no statistics to read (KVM_CAP_BINARY_STATS_FD)");
        error_hint(errp, "use Linux 5.14 or later; 'info jit' has the program's own counters");
        return false;
    }
    g_autoptr(GArray) offsets = g_array_new(FALSE, FALSE, sizeof(uint32_t));
    if (!read_at(fd, 0, &h, sizeof(h)) || h.name_size > NAME_MAX_BYTES || h.num_desc > DESCS_MAX ||
        !read_descs(fd, &h, out, offsets, &bytes) || !read_values(fd, &h, out, offsets, bytes)) {
        return error_set(errp, "the statistics of KVM cannot be read: %s",
                         errno ? g_strerror(errno) : "too short");
    }
    return true;
}
