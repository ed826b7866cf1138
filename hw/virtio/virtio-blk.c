/* SPDX-License-Identifier: MIT
 * hw/virtio/virtio-blk.c - a virtio disk: `-device virtio-blk-pci,drive=ID`, `-drive if=virtio`; on boards
 * with transports in memory virtio-blk-device.
 *
 * Models: virtio 1.2, 5.2 (block device): read, write, flush, device id, discard, write zeroes; topology,
 * write cache and its switch, several queues. Does not model: secure erase, zones, lifetime; what only legacy
 * drivers know, barriers and SCSI commands. Threads: the device's domain; drive_submit() carries requests to
 * the block layer.
 */
#include "rhea/backends/drive.h"
#include "rhea/hw/diskshape.h"
#include "rhea/system/iothread.h"
#include "rhea/system/machine.h"
#include "rhea/util/errorcode.h"
#include "rhea/hw/virtio-types.h"
#include <inttypes.h>
#include <string.h>

enum { /* 5.2.3: feature bits */
       BLK_F_SEG_MAX = 1 << 2,
       BLK_F_GEOMETRY = 1 << 4,
       BLK_F_RO = 1 << 5,
       BLK_F_BLK_SIZE = 1 << 6,
       BLK_F_FLUSH = 1 << 9,
       BLK_F_TOPOLOGY = 1 << 10,
       BLK_F_CONFIG_WCE = 1 << 11,
       BLK_F_MQ = 1 << 12,
       BLK_F_DISCARD = 1 << 13,
       BLK_F_WRITE_ZEROES = 1 << 14,
};
enum {
    BLK_T_IN = 0,
    BLK_T_OUT = 1,
    BLK_T_FLUSH = 4,
    BLK_T_GET_ID = 8,
    BLK_T_DISCARD = 11,
    BLK_T_WRITE_ZEROES = 13
};
enum { BLK_S_OK = 0, BLK_S_IOERR = 1, BLK_S_UNSUPP = 2 };
enum { BLK_HEADER = 16, BLK_RANGE = 16, BLK_ID = 20, BLK_SECTOR = 512, BLK_CONFIG = 60, BLK_CONFIG_WCE = 32 };
enum { CLASS_SCSI = 0x0100, CLASS_OTHER = 0x0180, PCI_CLASS_WORD = 0x0a }; /* PCI's, class and subclass */
enum { BLK_CLASS = 2, HELD_WORDS = VIRTIO_QUEUE_MAX / 64 };
enum { QUEUES_AUTO = 0xffff, SEG_MAX_QUEUE = 128, MAX_SECTORS = INT32_MAX / BLK_SECTOR };

typedef struct VirtioBlk {
    VirtioDevice v;
    DrivePort drive;
    IoThread *iothread; /* NULL: served by the main loop */
    char *serial;
    DiskShape shape;
    uint32_t max_discard, max_zeroes, pci_class;
    uint16_t num_queues, queue_size;
    bool config_wce, discard, write_zeroes, report_granularity, seg_max_adjust;
    int write_cache;
    bool cache_default;
    int64_t told;      /* the size in the configuration as the driver was last told, no saved state */
    uint8_t writeback; /* the configuration field: the driver's choice */
    /* Saved state of requests that failed and wait for the machine to go on (werror=stop): a bit for each
     * chain's head, by queue. */
    uint64_t held[VIRTIO_QUEUES * HELD_WORDS];
    Fifo8 held_ring;  /* instead of these bits, with packed rings */
    uint32_t n_held;  /* bits in there, or buffers */
    bool held_reset;  /* a driver's reset waits for them */
    bool resuming;    /* loaded, not yet taken from the rings again */
    DomainTask resume;
} VirtioBlk;

typedef struct BlkRequest {
    VirtElem e;
    VirtioBlk *s;
    DriveRequest r;
} BlkRequest;

#define blk_of(V) ((VirtioBlk *)(V))

static void blk_finish(BlkRequest *b, uint8_t status)
{
    VirtioDevice *v = &b->s->v;
    size_t len = b->e.in.bytes;
    iov_from_buf(&b->e.in, len - 1, &status, 1);
    /* The status lies behind the data, whether all of that was written or not: all counts as touched. */
    virtq_push(v, &b->e, (uint32_t)len);
}

static void blk_elem_fini(VirtElem *e)
{
    iov_fini(&((BlkRequest *)e)->r.v);
}

static void blk_done(DriveRequest *r)
{
    BlkRequest *b = r->opaque;
    blk_finish(b, r->result == 0 ? BLK_S_OK : r->result == -ENOTSUP ? BLK_S_UNSUPP : BLK_S_IOERR);
}

/* Without a cache that the driver knows how to flush, a write is done when it is on stable storage (5.2.6.2).
 */
static unsigned blk_write_flags(const VirtioBlk *s)
{
    bool may_cache = virtio_has(&s->v, BLK_F_FLUSH) || virtio_has(&s->v, BLK_F_CONFIG_WCE);
    return may_cache && s->writeback ? 0 : BLK_FUA;
}

static bool blk_in_range(const VirtioBlk *s, uint64_t sector, uint64_t bytes)
{
    uint64_t size = (uint64_t)drive_size(&s->drive);
    return sector <= size / BLK_SECTOR && bytes <= size - sector * BLK_SECTOR &&
           (sector * BLK_SECTOR) % s->shape.logical == 0 && bytes % s->shape.logical == 0 &&
           bytes <= INT32_MAX;
}

static void blk_submit(BlkRequest *b, DriveOp op, uint64_t sector)
{
    if (!b->s->drive.client) { /* the machine is about to end */
        blk_finish(b, BLK_S_IOERR);
        return;
    }
    b->r.op = op;
    b->r.off = (int64_t)(sector * BLK_SECTOR);
    b->r.done = blk_done;
    b->r.opaque = b;
    (b->s->resuming ? drive_hold : drive_submit)(&b->s->drive, &b->r);
}

static void blk_read_write(BlkRequest *b, bool write, uint64_t sector)
{
    VirtioBlk *s = b->s;
    const IoVec *from = write ? &b->e.out : &b->e.in;
    size_t skip = write ? BLK_HEADER : 0, len = write ? from->bytes - skip : from->bytes - 1;
    if (!blk_in_range(s, sector, len) || (write && s->drive.read_only)) {
        drive_account_invalid(&s->drive, write ? DRIVE_STAT_WRITE : DRIVE_STAT_READ);
        blk_finish(b, BLK_S_IOERR);
        return;
    }
    iov_add_slice(&b->r.v, from, skip, len);
    b->r.flags = write ? blk_write_flags(s) : 0;
    blk_submit(b, write ? DRIVE_WRITE : DRIVE_READ, sector);
}

/* 5.2.6: one range of sectors and flags; bit 0: the sectors may be unmapped. */
static void blk_range(BlkRequest *b, bool zeroes)
{
    VirtioBlk *s = b->s;
    struct {
        uint64_t sector;
        uint32_t n, flags;
    } le;
    if (!virtio_has(&s->v, zeroes ? BLK_F_WRITE_ZEROES : BLK_F_DISCARD)) {
        blk_finish(b, BLK_S_UNSUPP);
        return;
    }
    if (b->e.out.bytes != BLK_HEADER + BLK_RANGE) { /* more ranges than max_discard_seg says */
        blk_finish(b, BLK_S_IOERR);
        return;
    }
    iov_to_buf(&b->e.out, BLK_HEADER, &le, BLK_RANGE);
    uint64_t sector = GUINT64_FROM_LE(le.sector);
    uint32_t n = GUINT32_FROM_LE(le.n), flags = GUINT32_FROM_LE(le.flags);
    if (flags & ~(zeroes ? 1u : 0u)) { /* unknown flags are UNSUPP, unmap in a discard as well */
        blk_finish(b, BLK_S_UNSUPP);
        return;
    }
    if (n > (zeroes ? s->max_zeroes : s->max_discard) || s->drive.read_only ||
        !blk_in_range(s, sector, (uint64_t)n * BLK_SECTOR)) {
        drive_account_invalid(&s->drive, zeroes ? DRIVE_STAT_WRITE : DRIVE_STAT_UNMAP);
        blk_finish(b, BLK_S_IOERR);
        return;
    }
    b->r.bytes = (int64_t)n * BLK_SECTOR;
    b->r.flags = zeroes ? blk_write_flags(s) | (flags & 1 ? BLK_MAY_UNMAP : 0) : 0;
    blk_submit(b, zeroes ? DRIVE_WRITE_ZEROES : DRIVE_DISCARD, sector);
}

static void blk_get_id(BlkRequest *b)
{
    char id[BLK_ID] = "";
    strncpy(id, b->s->serial ? b->s->serial : "", sizeof(id)); /* 5.2.6: no NUL when all 20 are used */
    iov_from_buf(&b->e.in, 0, id, MIN(b->e.in.bytes - 1, sizeof(id)));
    blk_finish(b, BLK_S_OK);
}

/* False: the ring is broken. */
static bool blk_handle(VirtioBlk *s, VirtElem *e)
{
    struct {
        uint32_t type, reserved;
        uint64_t sector;
    } le;
    if (e->out.bytes < BLK_HEADER || e->in.bytes < 1) {
        virtio_error(&s->v, "a disk request with %zu bytes of header and %zu for its answer", e->out.bytes,
                     e->in.bytes);
        virtq_push(&s->v, e, 0);
        return false;
    }
    iov_to_buf(&e->out, 0, &le, BLK_HEADER);
    BlkRequest *b = (BlkRequest *)e;
    iov_clear(&b->r.v);
    b->s = s;
    b->r = (DriveRequest){ .v = b->r.v };
    uint64_t sector = GUINT64_FROM_LE(le.sector);
    switch (GUINT32_FROM_LE(le.type)) {
    case BLK_T_IN: blk_read_write(b, false, sector); break;
    case BLK_T_OUT: blk_read_write(b, true, sector); break;
    case BLK_T_FLUSH: blk_submit(b, DRIVE_FLUSH, 0); break;
    case BLK_T_GET_ID: blk_get_id(b); break;
    case BLK_T_DISCARD: blk_range(b, false); break;
    case BLK_T_WRITE_ZEROES: blk_range(b, true); break;
    default: blk_finish(b, BLK_S_UNSUPP); break;
    }
    return true;
}

static void blk_kick(VirtioDevice *v, VirtQueue *q)
{
    VirtElem *e;
    unsigned taken = 0;
    do {
        while (taken++ < 4 * VIRTIO_QUEUE_MAX && (e = virtq_pop(v, q)) != NULL) {
            if (!blk_handle(blk_of(v), e)) {
                return;
            }
        }
    } while (virtq_rearm(v, q) && taken < 4 * VIRTIO_QUEUE_MAX);
}

/* ---- configuration (5.2.4) ---- */

static void put(uint8_t *p, unsigned n, uint64_t v)
{
    for (unsigned i = 0; i < n; i++) {
        p[i] = v >> (8 * i);
    }
}

static void blk_get_config(VirtioDevice *v, uint8_t *c)
{
    const VirtioBlk *s = blk_of(v);
    uint64_t sectors = (uint64_t)drive_size(&s->drive) / BLK_SECTOR;
    const DiskShape *d = &s->shape;
    bool granular = s->report_granularity && d->granularity != DISK_GRANULARITY_AUTO;
    put(c + 0, 8, sectors);
    /* segments: header and status take two descriptors, of a queue of 128 when it is not to follow */
    put(c + 12, 4, (s->seg_max_adjust ? v->queue_size : SEG_MAX_QUEUE) - 2);
    put(c + 16, 2, d->cyls);
    c[18] = (uint8_t)d->heads;
    c[19] = (uint8_t)d->secs;
    put(c + 20, 4, d->logical);
    c[24] = (uint8_t)g_bit_nth_lsf(d->physical / d->logical, -1);
    put(c + 26, 2, d->min_io / d->logical);
    put(c + 28, 4, d->opt_io / d->logical);
    c[BLK_CONFIG_WCE] = s->writeback;
    put(c + 34, 2, v->n_queues);
    put(c + 36, 4, s->discard ? s->max_discard : 0);
    put(c + 40, 4, s->discard);
    put(c + 44, 4, s->discard ? (granular ? d->granularity : d->logical) / BLK_SECTOR : 0);
    put(c + 48, 4, s->write_zeroes ? s->max_zeroes : 0);
    put(c + 52, 4, s->write_zeroes);
    c[56] = s->write_zeroes;
}

/* 5.2.5: the capacity has changed. */
static void blk_resized(Device *dev)
{
    VirtioBlk *s = blk_of(dev_as(VirtioDevice, dev));
    if (drive_size(&s->drive) != s->told) {
        s->told = drive_size(&s->drive);
        virtio_config_changed(&s->v);
    }
}

static void blk_config_written(VirtioDevice *v, unsigned off, unsigned len, uint32_t val)
{
    if (off == BLK_CONFIG_WCE && len == 1 && virtio_has(v, BLK_F_CONFIG_WCE)) {
        blk_of(v)->writeback = val & 1;
    } else {
        guest_error(&v->dev, "virtio-blk: %u-byte write of configuration field 0x%x", len, off);
    }
}

static void blk_driver_reset(VirtioDevice *v)
{
    blk_of(v)->writeback = blk_of(v)->cache_default;
}

/* ---- requests that are held back, in saved state ---- */

static void blk_pre_save(void *opaque)
{
    VirtioBlk *s = opaque;
    if (s->resuming) { /* nothing has happened since the load */
        return;
    }
    memset(s->held, 0, sizeof(s->held));
    fifo8_clear(&s->held_ring);
    s->n_held = 0;
    s->held_reset = s->v.reset_waits;
    for (GList *l = s->drive.held.head; l; l = l->next) {
        const VirtElem *e = &((BlkRequest *)((DriveRequest *)l->data)->opaque)->e;
        if (virtq_is_current(e) && s->v.packed) {
            virtq_save_elem(&s->v, e, &s->held_ring);
            s->n_held++;
        } else if (virtq_is_current(e)) {
            s->held[(size_t)(e->q - s->v.q) * HELD_WORDS + e->head / 64] |= UINT64_C(1) << (e->head % 64);
            s->n_held++;
        }
    }
}

static bool blk_held_needed(const void *opaque)
{
    return ((const VirtioBlk *)opaque)->n_held;
}

static bool blk_held_packed(const void *opaque)
{
    return fifo8_used(&((const VirtioBlk *)opaque)->held_ring);
}

/* After a load, when all of the machine is there: the rings still have the chains. */
static void blk_resume(void *opaque)
{
    VirtioBlk *s = opaque;
    VirtioDevice *v = &s->v;
    if (!s->resuming) { /* a reset came first */
        return;
    }
    unsigned n = s->held_reset ? 0 : G_N_ELEMENTS(s->held) * 64; /* the driver has given them up */
    for (unsigned i = 0; i < n; i++) {
        VirtQueue *q = &v->q[i / VIRTIO_QUEUE_MAX];
        if (s->held[i / 64] >> (i % 64) & 1) {
            VirtElem *e = virtq_retake(v, q, i % VIRTIO_QUEUE_MAX);
            if (!e || !blk_handle(s, e)) {
                break;
            }
        }
    }
    while (!s->held_reset && fifo8_used(&s->held_ring)) {
        VirtElem *e = virtq_load_elem(v, &s->held_ring);
        if (!e || !blk_handle(s, e)) {
            break;
        }
    }
    fifo8_clear(&s->held_ring);
    s->resuming = false;
    if (s->held_reset) {
        v->reset_waits = true;
        virtio_reset_continue(v);
    }
}

/* ---- life ---- */

static bool blk_check(VirtioBlk *s, Error **errp)
{
    if (!s->drive.block) {
        error_fail(errp, "missing-member", "drive", NULL, "drive property not set");
        error_hint(errp, "name a disk: drive=ID, of -drive if=none,id=ID,... or -blockdev node-name=ID,...");
        return false;
    }
    if (s->serial && strlen(s->serial) > BLK_ID) {
        return error_fail(errp, "too-large", "serial", "shorten it",
                          "serial '%s' has more than %d characters", s->serial, BLK_ID);
    }
    if (s->queue_size & (s->queue_size - 1)) {
        return error_fail(errp, "invalid-value", "queue-size", "such as 128 or 256",
                          "queue-size %u is not a power of two", s->queue_size);
    }
    if (s->num_queues != QUEUES_AUTO && (s->num_queues < 1 || s->num_queues > VIRTIO_QUEUES)) {
        return error_fail(errp, "out-of-range", "num-queues", "leave it out: one for each CPU",
                          "num-queues %u: 1 to %d are possible", s->num_queues, VIRTIO_QUEUES);
    }
    if (!s->seg_max_adjust && s->queue_size < SEG_MAX_QUEUE) {
        error_fail(errp, "conflict", "seg-max-adjust", NULL,
                   "seg-max-adjust=off: requests have up to %d parts, and queue-size is %u",
                   SEG_MAX_QUEUE - 2, s->queue_size);
        error_hint(errp, "leave it out, or use queue-size=%d or more", SEG_MAX_QUEUE);
        return false;
    }
    if (s->pci_class && s->pci_class != CLASS_SCSI && s->pci_class != CLASS_OTHER) {
        error_fail(errp, "invalid-value", "class", NULL,
                   "class=0x%x is no PCI class of a virtio disk", s->pci_class);
        error_hint(errp, "0x%x (SCSI), 0x%x (other storage) and 0 are possible", CLASS_SCSI, CLASS_OTHER);
        return false;
    }
    return true;
}

static const PciOps blk_pci_ops[VIRTIO_PCI_VARIANTS] = VIRTIO_PCI_OPS(BLK_CLASS, 0x1001, 0x010000);

static const VirtioClass blk_class = {
    .id = BLK_CLASS,
    .pci = blk_pci_ops,
    .boot_path = "/disk@0,0",
    .kick = blk_kick,
    .get_config = blk_get_config,
    .config_written = blk_config_written,
    .reset = blk_driver_reset,
    .config_size = BLK_CONFIG,
    .elem_size = sizeof(BlkRequest),
    .elem_fini = blk_elem_fini,
};

/* The number of queues, 0: failed. */
static unsigned blk_prepare(VirtioBlk *s, Error **errp)
{
    Device *dev = &s->v.dev;
    if (!blk_check(s, errp)) {
        return 0;
    }
    device_add_task(dev, &s->resume, blk_resume);
    if (!s->drive.node) {
        error_fail(errp, "no-medium", "drive", NULL,
                   "drive '%s' has no medium, and a virtio disk cannot do without", s->drive.drive->id);
        error_hint(errp, "give it an image: file=...");
        return 0;
    }
    if (!drive_open(&s->drive, dev, drive_medium_read_only(&s->drive), errp)) {
        return 0;
    }
    if (!disk_shape_check(&s->shape, (uint64_t)drive_size(&s->drive) / BLK_SECTOR, DISK_CYLS_MAX, 255, 255,
                          errp)) {
        return 0;
    }
    s->drive.resized = blk_resized;
    s->told = drive_size(&s->drive);
    if (!s->serial && s->drive.drive && s->drive.drive->serial) {
        s->serial = g_strdup(s->drive.drive->serial);
    }
    /* In memory there is one interrupt for all queues: several would gain nothing. */
    unsigned own = device_is_a(dev, &virtio_pci_type) ? CLAMP(dev->machine->n_cpus, 1, VIRTIO_QUEUES) : 1;
    unsigned queues = s->num_queues == QUEUES_AUTO ? own : s->num_queues;
    s->cache_default =
        s->write_cache == AUTO ? !(s->drive.drive && s->drive.drive->write_through) : s->write_cache == ON;
    s->v.features = BLK_F_SEG_MAX | BLK_F_GEOMETRY | BLK_F_BLK_SIZE | BLK_F_FLUSH | BLK_F_TOPOLOGY |
                    (s->drive.read_only ? BLK_F_RO : 0) | (s->config_wce ? BLK_F_CONFIG_WCE : 0) |
                    (queues > 1 ? BLK_F_MQ : 0) | (s->discard ? BLK_F_DISCARD : 0) |
                    (s->write_zeroes ? BLK_F_WRITE_ZEROES : 0);
    device_add_fifo8(dev, &s->held_ring, s->v.may_pack ? queues * s->queue_size * VIRTIO_SAVED_DESC : 1);
    return queues;
}

static bool blk_realize(Device *dev, Error **errp)
{
    VirtioBlk *s = blk_of(dev_as(VirtioDevice, dev));
    unsigned queues = blk_prepare(s, errp);
    if (!queues || !virtio_start(&s->v, &blk_class, queues, s->queue_size, errp)) {
        return false;
    }
    if (s->pci_class) { /* a property of the PCI types */
        pci_set_word(dev, PCI_CLASS_WORD, (uint16_t)s->pci_class);
    }
    return true;
}

static void blk_reset(Device *dev, ResetKind kind G_GNUC_UNUSED)
{
    VirtioBlk *s = blk_of(dev_as(VirtioDevice, dev));
    s->n_held = 0;
    fifo8_clear(&s->held_ring);
    s->resuming = false;
}

static bool blk_post_load(void *opaque, Error **errp)
{
    VirtioBlk *s = opaque;
    s->resuming = s->n_held;
    if (s->resuming) {
        domain_post(&s->resume);
    }
    return virtio_post_load(&s->v, errp);
}

static const VmField blk_held_fields[] = {
    VM_U64_ARRAY(VirtioBlk, held),
    VM_BOOL(VirtioBlk, held_reset),
    { 0 },
};
static const VmState blk_held_state = {
    .name = "virtio-blk/held",
    .version = 1,
    .oldest = 1,
    .fields = blk_held_fields,
    .needed = blk_held_needed,
};
static const VmField blk_held_packed_fields[] = { VM_FIFO8(VirtioBlk, held_ring), { 0 } };
static const VmState blk_held_packed_state = {
    .name = "virtio-blk/held-packed",
    .version = 1,
    .oldest = 1,
    .fields = blk_held_packed_fields,
    .needed = blk_held_packed,
};
static const VmState *const blk_optional[] = { &blk_held_state, &blk_held_packed_state, NULL };

#define BLK_FIELDS                                                                                           \
    VM_U8_MAX(VirtioBlk, writeback, 1),                                                                      \
        { .name = "n_held", .kind = VM_U32_, .offset = TYPED_OFFSET(VirtioBlk, n_held, uint32_t),            \
          .max = VIRTIO_QUEUES * VIRTIO_QUEUE_MAX, .since = 2 }

VIRTIO_STATES(blk, VirtioBlk, "virtio-blk", 3, 1, 4, 1, BLK_FIELDS, .optional = blk_optional,
              .pre_save = blk_pre_save, .post_load = blk_post_load);

/* Both types'. */
#define BLK_PROPS                                                                                            \
    PROP_DRIVE(VirtioBlk, drive, "drive", "The disk: id of a -drive, or node-name of a -blockdev"),          \
        PROP_DRIVE_USE(VirtioBlk, drive),                                                                    \
        PROP_STR(VirtioBlk, serial, "serial", NULL, "Serial number, up to 20 characters"),                   \
        PROP_DISK_SHAPE(VirtioBlk, shape),                                                                   \
        PROP_SIZE(VirtioBlk, shape.min_io, "min_io_size", 0, 0, UINT32_MAX,                                  \
                  "Smallest good transfer, bytes; 0: not told"),                                             \
        PROP_SIZE(VirtioBlk, shape.opt_io, "opt_io_size", 0, 0, UINT32_MAX,                                  \
                  "Best transfer, bytes; 0: not told"),                                                      \
        PROP_BOOL(VirtioBlk, report_granularity, "report-discard-granularity", true,                         \
                  "The guest is told discard_granularity; off: the logical block"),                          \
        PROP_BOOL(VirtioBlk, seg_max_adjust, "seg-max-adjust", true,                                         \
                  "Parts of a request follow queue-size; off: 126"),                                         \
        PROP_ONLY_BOOL("request-merging", false, "each request goes to the image as the guest made it",      \
                       "leave it out: the guest's own scheduler merges neighbours"),                         \
        PROP_ONLY_BOOL("scsi", false, "virtio 1.0 and later have no SCSI commands on a disk",                \
                       "leave it out"),                                                                      \
        PROP_ONLY_BOOL("x-enable-wce-if-config-wce", true, "a switch for QEMU's older machine types",        \
                       "leave it out; config-wce=off offers no switch of the cache"),                        \
        PROP_ONOFFAUTO(VirtioBlk, write_cache, "write-cache", AUTO,                                          \
                       "Writes may be cached until a flush; auto: as the drive"),                            \
        PROP_BOOL(VirtioBlk, config_wce, "config-wce", true, "The guest may switch the write cache"),        \
        PROP_BOOL(VirtioBlk, discard, "discard", true, "Offer discard"),                                     \
        PROP_BOOL(VirtioBlk, write_zeroes, "write-zeroes", true, "Offer write zeroes"),                      \
        PROP_U32(VirtioBlk, max_discard, "max-discard-sectors", MAX_SECTORS, 1, MAX_SECTORS,                 \
                 "Sectors of one discard"),                                                                  \
        PROP_U32(VirtioBlk, max_zeroes, "max-write-zeroes-sectors", MAX_SECTORS, 1, MAX_SECTORS,             \
                 "Sectors of one write zeroes"),                                                             \
        PROP_U16(VirtioBlk, num_queues, "num-queues", QUEUES_AUTO, 1, QUEUES_AUTO,                           \
                 "Queues; 65535: one for each vCPU on PCI, else one"),                                       \
        PROP_U16(VirtioBlk, queue_size, "queue-size", 256, 4, VIRTIO_QUEUE_MAX,                              \
                 "Entries of a queue, a power of two"),                                                      \
        PROP_IOTHREAD(VirtioBlk, iothread, "iothread", "The -object iothread that serves this disk")

static const Prop blk_mmio_props[] = { BLK_PROPS, { 0 } };
static const Prop blk_pci_props[] = {
    BLK_PROPS,
    PROP_U32(VirtioBlk, pci_class, "class", 0, 0, UINT16_MAX, "PCI class: 0x0100 or 0x0180; 0: 0x0100"),
    VIRTIO_PROP_IOEVENTFD(VirtioBlk),
    { 0 },
};

static Domain *blk_choose_domain(Device *dev)
{
    VirtioBlk *s = blk_of(dev_as(VirtioDevice, dev));
    return s->iothread ? iothread_domain(s->iothread) : dev->machine->platform;
}

VIRTIO_TYPES(virtio_blk, blk, VirtioBlk, "virtio-blk", "Virtio disk", blk_pci_props, blk_mmio_props,
             .category = "Storage", .choose_domain = blk_choose_domain, .realize = blk_realize,
             .reset = blk_reset);
