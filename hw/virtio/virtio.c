/* SPDX-License-Identifier: MIT
 * hw/virtio/virtio.c - what a virtio device is whatever carries it: status, features, queues, saved state.
 *
 * Models: virtio 1.2, 2.1 (status), 2.2 (feature bits), 2.4 (reset), 2.6.1 (reset of a queue), 2.7 (layout of
 *         queues), and what the sections "Legacy Interface" there say.
 * Threads: the device's domain.
 */
#include "hw/trace.h"
#include "rhea/hw/virtio.h"
#include "rhea/system/machine.h"
#include "rhea/util/errorcode.h"

#include <inttypes.h>
#include <string.h>

void virtio_init(VirtioDevice *v, const VirtioClass *class, const VirtioTransport *transport, DmaContext *dma,
                 unsigned n_queues, unsigned queue_size)
{
    v->class = class;
    v->transport = transport;
    v->dma = dma;
    v->n_queues = n_queues;
    v->queue_size = queue_size;
    v->features |= VIRTIO_F_VERSION_1 | (v->indirect ? VIRTIO_F_INDIRECT_DESC : 0) |
                   (v->event_idx ? VIRTIO_F_EVENT_IDX : 0) | (v->may_pack ? VIRTIO_F_RING_PACKED : 0) |
                   (v->queue_reset ? VIRTIO_F_RING_RESET : 0) |
                   (v->access_platform ? VIRTIO_F_ACCESS_PLATFORM : 0);
    virtio_pools_init(v);
    virtio_reset(v);
}

void virtio_interrupt(VirtioDevice *v, unsigned vector, uint8_t isr_bit)
{
    if (trace_virtio_interrupt_on()) {
        trace_virtio_interrupt(device_name(&v->dev), vector, isr_bit);
    }
    v->transport->interrupt(v, vector, isr_bit);
}

/* 2.7, 2.8.10.1: alignment of the three parts. */
static bool virtio_queue_good(const VirtioDevice *v, const VirtQueue *q)
{
    if (v->packed) {
        return q->size && !(q->desc & 15) && !(q->avail & 3) && !(q->used & 3);
    }
    return q->size && !(q->size & (q->size - 1)) && !(q->desc & 15) && !(q->avail & 1) && !(q->used & 3);
}

void virtio_config_changed(VirtioDevice *v)
{
    v->config_generation++;
    if (v->status & VIRTIO_DRIVER_OK) {
        virtio_interrupt(v, v->config_vector, 2);
    }
}

/* ---- reset and status ---- */

/* 4.1.4.3.2: defaults, as after a reset of the device. */
static void queue_clear(const VirtioDevice *v, VirtQueue *q)
{
    *q = (VirtQueue){ .size = (uint16_t)virtio_queue_max(v, q), .vector = VIRTIO_NO_VECTOR,
                      .generation = q->generation + 1 };
}

static void virtio_driver_reset(VirtioDevice *v)
{
    trace_virtio_status(device_name(&v->dev), v->status, 0);
    v->reset_waits = v->legacy = v->packed = false;
    v->legacy_echo = 0;
    memset(v->legacy_align, 0, sizeof(v->legacy_align));
    v->config_generation = 0;
    v->driver_features = 0;
    v->device_feature_select = v->driver_feature_select = 0;
    v->config_vector = VIRTIO_NO_VECTOR;
    v->queue_select = 0;
    v->status = v->isr = 0;
    for (unsigned i = 0; i < VIRTIO_QUEUES; i++) {
        queue_clear(v, &v->q[i]);
    }
    if (v->class->reset) {
        v->class->reset(v);
    }
}

void virtio_reset(VirtioDevice *v)
{
    virtio_driver_reset(v);
    if (v->transport->reset) {
        v->transport->reset(v);
    }
}

static void reset_asked(VirtioDevice *v)
{
    v->reset_waits = true;
    if (v->class->forget) {
        v->class->forget(v, NULL);
    }
    virtio_reset_continue(v);
}

void virtio_reset_continue(VirtioDevice *v)
{
    if (v->reset_waits && v->in_flight == 0) {
        virtio_driver_reset(v);
        v->transport->update(v);
    }
}

/* 2.2.2: the driver's choice must be a subset, and it must know that it drives a modern device. 6.2: one that
 * ignores ACCESS_PLATFORM would be given addresses that it did not mean. */
static bool virtio_features_good(VirtioDevice *v)
{
    return !(v->driver_features & ~v->features) && virtio_has(v, VIRTIO_F_VERSION_1) &&
           (!v->access_platform || virtio_has(v, VIRTIO_F_ACCESS_PLATFORM));
}

uint32_t virtio_offered(const VirtioDevice *v)
{
    return v->device_feature_select < 2 ? v->features >> (32 * v->device_feature_select) : 0;
}

void virtio_choose(VirtioDevice *v, uint32_t val)
{
    if (v->driver_feature_select < 2 && !(v->status & VIRTIO_FEATURES_OK) && !v->legacy) {
        unsigned shift = 32 * v->driver_feature_select;
        v->driver_features &= ~((uint64_t)UINT32_MAX << shift);
        v->driver_features |= (uint64_t)val << shift;
    }
}

static void status_written(VirtioDevice *v, uint8_t val)
{
    bool starts = val & ~v->status & VIRTIO_DRIVER_OK;
    trace_virtio_status(device_name(&v->dev), v->status, val);
    if (starts) {
        trace_virtio_features(device_name(&v->dev), v->driver_features, v->features);
    }
    v->status = val;
    v->packed = (val & VIRTIO_FEATURES_OK) && virtio_has(v, VIRTIO_F_RING_PACKED);
    if (starts && v->class->started) {
        v->class->started(v);
    }
    for (unsigned i = 0; starts && i < v->n_queues; i++) {
        virtio_kick(v, i);
    }
}

static void legacy_status(VirtioDevice *v, uint8_t val)
{
    val &= ~(VIRTIO_NEEDS_RESET | VIRTIO_FEATURES_OK);
    status_written(v, val | (v->status & VIRTIO_NEEDS_RESET));
}

void virtio_set_status(VirtioDevice *v, uint8_t val)
{
    if (val == 0) { /* 4.1.4.3.2: the register reads zero once no buffer is in use any more */
        reset_asked(v);
        return;
    }
    if (v->reset_waits) {
        return;
    }
    if (v->legacy) { /* there is no way back but a reset */
        legacy_status(v, val);
        return;
    }
    uint8_t was = v->status;
    if ((val & ~was & VIRTIO_FEATURES_OK) && !virtio_features_good(v)) {
        guest_error(&v->dev, "virtio: features 0x%" PRIx64 " chosen of 0x%" PRIx64 " offered",
                    v->driver_features, v->features);
        val &= ~VIRTIO_FEATURES_OK;
    }
    if ((val & VIRTIO_DRIVER_OK) && !(val & VIRTIO_FEATURES_OK)) {
        guest_error(&v->dev, "virtio: DRIVER_OK without FEATURES_OK");
        val &= ~VIRTIO_DRIVER_OK;
    }
    status_written(v, (val & ~VIRTIO_NEEDS_RESET) | (was & (VIRTIO_NEEDS_RESET | VIRTIO_FEATURES_OK)));
}

/* ---- legacy interfaces (2.2.3, 3.1.2) ---- */

uint32_t virtio_legacy_offered(const VirtioDevice *v)
{
    return (uint32_t)(v->features | (v->notify_on_empty ? VIRTIO_F_NOTIFY_ON_EMPTY : 0) |
                      (v->any_layout ? VIRTIO_F_ANY_LAYOUT : 0));
}

/* From now until its reset; what was chosen by the other interface counts no more than it could here. */
static void legacy_enter(VirtioDevice *v)
{
    v->legacy = true;
    v->driver_features &= virtio_legacy_offered(v);
}

/* There is no FEATURES_OK: what was not offered is not there. The other interface chooses no more: the device
 * has been told. */
void virtio_legacy_choose(VirtioDevice *v, uint32_t val)
{
    uint32_t offered = virtio_legacy_offered(v);
    if (val & ~offered) {
        guest_error(&v->dev, "virtio: features 0x%x chosen of 0x%x offered", val, offered);
    }
    if (!(v->status & VIRTIO_FEATURES_OK)) {
        legacy_enter(v);
        v->driver_features = val & offered;
        if (v->class->started) {
            v->class->started(v);
        }
    }
}

/* A legacy driver does not ask whether its reset is done, and takes its memory back at once: its vCPU waits
 * here for the disk, unless somebody waits for the vCPU. Where one thread runs everything, or when it may not
 * wait, the buffers that are out are forgotten. */
static TSA_NO_ANALYSIS void legacy_finish_reset(VirtioDevice *v, bool now)
{
    Vcpu *cpu = v->dev.machine->serial_mode ? NULL : vcpu_current();
    while (v->reset_waits && cpu && !vcpu_is_wanted(cpu)) {
        domain_unlock(v->dev.domain);
        g_usleep(50);
        domain_lock(v->dev.domain);
    }
    if (v->reset_waits && (now || !cpu)) {
        virtio_driver_reset(v);
        v->transport->update(v);
    }
}

void virtio_legacy_set_status(VirtioDevice *v, uint8_t val)
{
    if (val == 0) {
        reset_asked(v);
    }
    legacy_finish_reset(v, val != 0);
    if (val != 0 && !(v->status & VIRTIO_FEATURES_OK)) {
        legacy_enter(v);
        legacy_status(v, val);
    }
}

void virtio_legacy_set_queue(VirtioDevice *v, VirtQueue *q, uint64_t at, uint32_t align)
{
    uint16_t size = q->size, vector = q->vector;
    if (v->status & VIRTIO_FEATURES_OK) {
        guest_error(&v->dev, "virtio: queue %u placed by the legacy interface, after FEATURES_OK",
                    v->queue_select);
        return;
    }
    queue_clear(v, q);
    q->vector = vector;
    if (at == 0) {
        return;
    }
    q->size = size;
    q->desc = at;
    q->avail = at + 16 * (uint64_t)size;
    q->used = (q->avail + 2 * (3 + (uint64_t)size) + align - 1) & ~(uint64_t)(align - 1);
    if (virtio_queue_good(v, q)) {
        legacy_enter(v);
        q->enabled = true;
    } else {
        guest_error(&v->dev, "virtio: queue %u at 0x%" PRIx64 ", aligned to %u", v->queue_select, at, align);
    }
}

/* ---- queues ---- */

void virtio_kick(VirtioDevice *v, unsigned n)
{
    if (n < v->n_queues && virtio_queue_live(v, &v->q[n])) {
        if (trace_virtio_kick_on()) {
            trace_virtio_kick(device_name(&v->dev), n);
        }
        v->class->kick(v, &v->q[n]);
    }
}

VirtQueue *virtio_selected(VirtioDevice *v)
{
    return v->queue_select < v->n_queues ? &v->q[v->queue_select] : NULL;
}

uint16_t virtio_vector(const VirtioDevice *v, uint32_t val)
{
    return val < v->msix.n ? val : VIRTIO_NO_VECTOR; /* 4.1.5.1.2.1: reads back as "none" */
}

void virtio_queue_set_size(VirtioDevice *v, VirtQueue *q, uint32_t val)
{
    unsigned most = virtio_queue_max(v, q);
    if (val == 0 || val > most || (!v->packed && (val & (val - 1)))) {
        guest_error(&v->dev, "virtio: %u is no size for a queue of up to %u", val, most);
    } else {
        q->size = val;
    }
}

void virtio_queue_enable(VirtioDevice *v, VirtQueue *q, uint32_t val)
{
    bool resetting = virtio_queue_resetting(v, q);
    if (val == 1 && virtio_queue_good(v, q) && !resetting) {
        if (v->packed && !q->enabled) { /* 2.8.1: both counters begin with 1 */
            q->last_avail = q->used_idx = q->signalled = VIRTIO_PACKED_WRAP;
        }
        q->enabled = true;
        q->resetting = false;
    } else {
        guest_error(&v->dev, "virtio: queue %u cannot be enabled: %s", v->queue_select,
                    resetting  ? "its reset is not complete"
                    : val == 1 ? "its parts are not aligned"
                               : "the value must be 1");
    }
}

bool virtio_queue_resetting(const VirtioDevice *v, const VirtQueue *q)
{
    return q->resetting && v->pool[q - v->q].out;
}

void virtio_queue_reset_asked(VirtioDevice *v, VirtQueue *q, uint32_t val)
{
    if (val == 1 && q->enabled && virtio_has(v, VIRTIO_F_RING_RESET)) {
        queue_clear(v, q);
        q->resetting = true;
        if (v->class->forget) {
            v->class->forget(v, q);
        }
    } else {
        guest_error(&v->dev, "virtio: reset %u of queue %u, which is %s", val, (unsigned)(q - v->q),
                    q->enabled ? "not negotiated" : "not enabled");
    }
}

/* ---- saved state ---- */

static const VmField queue_fields[] = {
    VM_U64(VirtQueue, desc),
    VM_U64(VirtQueue, avail),
    VM_U64(VirtQueue, used),
    VM_U16(VirtQueue, size),
    VM_U16(VirtQueue, vector),
    VM_U16(VirtQueue, last_avail),
    VM_U16(VirtQueue, used_idx),
    VM_U16(VirtQueue, signalled),
    VM_BOOL(VirtQueue, signalled_valid),
    VM_BOOL(VirtQueue, enabled),
    { 0 },
};
const VmState virtio_queue_state = { .name = "virtqueue", .version = 1, .oldest = 1, .fields = queue_fields };

/* As a packed ring's: inside it. */
static bool queue_places_good(const VirtQueue *q)
{
    const unsigned mask = VIRTIO_PACKED_WRAP - 1;
    return (q->last_avail & mask) < q->size && (q->used_idx & mask) < q->size &&
           (q->signalled & mask) < q->size;
}

static bool legacy_units_good(const VirtioDevice *v)
{
    bool good = !(v->guest_page & (v->guest_page - 1));
    for (unsigned i = 0; i < VIRTIO_QUEUES; i++) {
        good &= !(v->legacy_align[i] & (v->legacy_align[i] - 1));
    }
    return good;
}

bool virtio_post_load(VirtioDevice *v, Error **errp)
{
    v->packed = (v->status & VIRTIO_FEATURES_OK) && virtio_has(v, VIRTIO_F_RING_PACKED);
    for (unsigned i = 0; i < VIRTIO_QUEUES; i++) {
        VirtQueue *q = &v->q[i];
        if (q->size > virtio_queue_max(v, q) || !virtio_queue_good(v, &(VirtQueue){ .size = q->size }) ||
            (q->enabled && (i >= v->n_queues || !virtio_queue_good(v, q))) ||
            (v->packed && !queue_places_good(q))) {
            return error_set(errp, "saved virtqueue %u: %u entries at 0x%" PRIx64, i, q->size, q->desc);
        }
        q->vector = virtio_vector(v, q->vector);
        q->in_use = 0;
        q->resetting = false;
        q->generation++;
    }
    v->config_vector = virtio_vector(v, v->config_vector);
    v->reset_waits = false;
    if (!legacy_units_good(v)) {
        return error_set(errp, "saved virtio state with pages of %u bytes", v->guest_page);
    }
    if (v->legacy && (!v->has_legacy || (v->status & VIRTIO_FEATURES_OK) ||
                      (v->driver_features & ~(uint64_t)virtio_legacy_offered(v)))) {
        return error_set(errp, "saved virtio state with a legacy driver, features 0x%" PRIx64 "; this has %s",
                         v->driver_features, v->has_legacy ? "other ones" : "no legacy interface");
    }
    if ((v->status & VIRTIO_FEATURES_OK) && !virtio_features_good(v)) {
        return error_set(errp,
                         "saved virtio features 0x%" PRIx64 " are not among those of this device, 0x%" PRIx64,
                         v->driver_features, v->features);
    }
    v->transport->update(v);
    return true;
}

/* ---- what devices derive from ---- */

/* Before what the device does in realize, such as drive_open(): what requests live in goes when nothing is
 * under way any more. */
static bool base_realize(Device *dev, Error **errp G_GNUC_UNUSED)
{
    VirtioDevice *v = dev_as(VirtioDevice, dev);
    device_add_cleanup(dev, virtio_pools_fini, v);
    return true;
}

bool virtio_modern_only(int disable_legacy, bool disable_modern, const char *what, Error **errp)
{
    const char *wrong = disable_modern          ? "disable-modern=on"
                        : disable_legacy == OFF ? "disable-legacy=off"
                                                : NULL;
    if (wrong) {
        error_set(errp, "%s: virtio has %s devices since version 1.0 only", wrong, what);
        error_hint(errp, "leave it out");
        error_set_code(errp, "not-supported", disable_modern ? "disable-modern" : "disable-legacy");
    }
    return !wrong;
}

bool virtio_start(VirtioDevice *v, const VirtioClass *class, unsigned n_queues, unsigned queue_size,
                  Error **errp)
{
    bool pci = device_is_a(&v->dev, &virtio_pci_type);
    v->has_legacy = pci ? v->disable_legacy == OFF : virtio_mmio_is_legacy(v->dev.bus);
    if (v->has_legacy && (v->access_platform || (v->may_pack && !pci))) {
        error_fail(errp, "conflict", v->access_platform ? "iommu_platform" : "packed", NULL,
                   "%s=on: drivers of the legacy interface know nothing of it",
                   v->access_platform ? "iommu_platform" : "packed");
        error_hint(errp, pci ? "use disable-legacy=on, or a place behind a pcie-root-port"
                             : "-global virtio-mmio.force-legacy=off gives the interface of virtio 1.0");
        return false;
    }
    if (device_is_a(&v->dev, &virtio_pci_type)) {
        return virtio_pci_init(v, class, n_queues, queue_size, errp);
    }
    return virtio_mmio_init(v, class, n_queues, queue_size, errp);
}

static void base_reset(Device *dev, ResetKind kind G_GNUC_UNUSED)
{
    virtio_reset(dev_as(VirtioDevice, dev));
}

static void base_reset_done(Device *dev)
{
    VirtioDevice *v = dev_as(VirtioDevice, dev);
    v->transport->update(v);
}

#define COMMON_PROPS                                                                                         \
    PROP_BOOTINDEX(VirtioDevice, bootindex),                                                                 \
        PROP_BOOL(VirtioDevice, indirect, "indirect_desc", true, "Offer indirect descriptors"),              \
        PROP_BOOL(VirtioDevice, event_idx, "event_idx", true, "Offer the event index"),                      \
        PROP_BOOL(VirtioDevice, may_pack, "packed", false, "Offer packed rings"),                            \
        PROP_BOOL(VirtioDevice, queue_reset, "queue_reset", true, "Offer resets of single queues"),          \
        PROP_BOOL(                                                                                           \
            VirtioDevice, notify_on_empty, "notify_on_empty", true,                                          \
            "Legacy: offer an interrupt when the last buffer is used, also where others are suppressed"),    \
        PROP_BOOL(VirtioDevice, any_layout, "any_layout", true,                                              \
                  "Legacy: say that descriptors may be cut anywhere"),                                       \
        PROP_BOOL(VirtioDevice, access_platform, "iommu_platform", false,                                    \
                  "The driver must use the platform's addresses, as for other devices (it has no IOMMU)"),   \
        PROP_ONLY_BOOL("use-started", true, PROP_OLD_MACHINES),                                              \
        PROP_ONLY_BOOL("use-disabled-flag", true, PROP_OLD_MACHINES),                                        \
        PROP_ONLY_BOOL("x-disable-legacy-check", false, PROP_OLD_MACHINES)

#define NO_IOMMU "there is no IOMMU whose translations could be kept", "leave it out"

static const Prop base_mmio_props[] = { COMMON_PROPS, { 0 } };
static const Prop base_pci_props[] = {
    COMMON_PROPS,
    PROP_U32(VirtioDevice, vectors, "vectors", VIRTIO_VECTORS_AUTO, 0, UINT32_MAX,
             "MSI-X vectors; 0: the interrupt pin only; 4294967295: one for each queue, and one"),
    PROP_BOOL(VirtioDevice, page_per_vq, "page-per-vq", false,
              "Each queue's notification register lies in a page of its own"),
    PROP_ONLY_BOOL("ats", false, NO_IOMMU),
    PROP_ONLY_BOOL("x-ats-page-aligned", true, NO_IOMMU),
    PROP_ONLY_BOOL("aer", false, "there is no advanced error reporting: nothing on these links can fail",
                   "leave it out"),
    PROP_ONLY_BOOL("modern-pio-notify", false, "notification registers are in memory only",
                   "leave it out; disable-legacy=off has a notification port"),
    PROP_ONLY_BOOL("x-disable-pcie", false, "behind a PCI Express port it is a PCI Express device",
                   "leave it out; on a conventional bus it has no such capability"),
    PROP_ONLY_BOOL("migrate-extra", true, PROP_OLD_MACHINES),
    PROP_ONLY_BOOL("virtio-pci-bus-master-bug-migration", false, PROP_OLD_MACHINES),
    PROP_ONLY_BOOL("x-ignore-backend-features", false, PROP_OLD_MACHINES),
    PROP_NEVER("x-pcie-deverr-init", PROP_OLD_MACHINES),
    PROP_NEVER("x-pcie-flr-init", PROP_OLD_MACHINES),
    PROP_NEVER("x-pcie-lnkctl-init", PROP_OLD_MACHINES),
    PROP_NEVER("x-pcie-pm-init", PROP_OLD_MACHINES),
    PROP_NEVER("virtio-backend", "transport and device are one", "set its properties on the device itself"),
    { 0 },
};
static const Prop base_any_props[] = {
    PROP_ONOFFAUTO(VirtioDevice, disable_legacy, "disable-legacy", AUTO,
                   "No legacy interface; auto: none behind a PCI Express port"),
    PROP_BOOL(VirtioDevice, disable_modern, "disable-modern", false, "No interface of virtio 1.0 and later"),
    { 0 },
};

static bool any_realize(Device *dev, Error **errp)
{
    VirtioDevice *v = dev_as(VirtioDevice, dev);
    if (v->disable_legacy == AUTO) {
        v->disable_legacy = pci_behind_port(dev) && !v->disable_modern ? ON : OFF;
    }
    if (v->disable_legacy == ON && v->disable_modern) {
        error_fail(errp, "conflict", "disable-legacy", NULL,
                   "disable-legacy=on and disable-modern=on: no interface is left");
        error_hint(errp, "leave one of them out");
        return false;
    }
    if (v->may_pack && v->disable_modern) {
        error_fail(errp, "conflict", "packed", NULL,
                   "packed=on and disable-modern=on: the legacy interface has no packed rings");
        error_hint(errp, "leave one of them out");
        return false;
    }
    return true;
}

static bool transitional_realize(Device *dev, Error **errp G_GNUC_UNUSED)
{
    dev_as(VirtioDevice, dev)->disable_legacy = OFF;
    return true;
}

static bool modern_realize(Device *dev, Error **errp G_GNUC_UNUSED)
{
    dev_as(VirtioDevice, dev)->disable_legacy = ON;
    return true;
}

const DeviceType virtio_pci_type = {
    .name = "virtio-pci",
    .size = sizeof(VirtioDevice),
    .internal = true,
    .bus_type = &pci_bus_type,
    .props = base_pci_props,
    .realize = base_realize,
    .reset = base_reset,
    .reset_done = base_reset_done,
};

#define VARIANT(NAME, PROPS, REALIZE) \
    { \
        .name = (NAME), .size = sizeof(VirtioDevice), .base = &virtio_pci_type, .internal = true, \
        .bus_type = &pci_bus_type, .props = (PROPS), .realize = (REALIZE), \
    }

const DeviceType virtio_pci_any_type = VARIANT("virtio-pci-any", base_any_props, any_realize);
const DeviceType virtio_pci_transitional_type =
    VARIANT("virtio-pci-transitional", NULL, transitional_realize);
const DeviceType virtio_pci_modern_type = VARIANT("virtio-pci-non-transitional", NULL, modern_realize);

const DeviceType virtio_mmio_device_type = {
    .name = "virtio-device",
    .size = sizeof(VirtioDevice),
    .internal = true,
    .bus_type = &virtio_mmio_bus_type,
    .props = base_mmio_props,
    .realize = base_realize,
    .reset = base_reset,
    .reset_done = base_reset_done,
};
