/* SPDX-License-Identifier: MIT
 * hw/usb/storage.c - usb-storage: a disk on USB.
 *
 * Models: USB Mass Storage Class, Bulk-Only Transport 1.0: 3 (reset, number of units), 5 (command and status
 *         wrappers), 6.4 to 6.7 (hosts and devices that do not agree on the data).
 * Does not model: several units; CDs (ide-cd is one), UAS.
 * Threads: the platform domain; drive_submit() carries requests to the block layer. A packet that waits for
 *          the disk changes nothing until it is done, so that a loaded device can be given it again.
 */
#include "storage.h"
#include "rhea/system/machine.h"
#include "rhea/util/errorcode.h"

#include <string.h>

enum {
    EP_IN = 1,
    EP_OUT = 2,
    CBW_SIZE = 31,
    CSW_SIZE = 13,
    CBW_SIGNATURE = 0x43425355,
    CSW_SIGNATURE = 0x53425355,
    READ_AHEAD = 64 << 10,
    BLOCK_MAX = 4096
};
enum { CSW_OK, CSW_FAILED, CSW_PHASE };
enum { SENSE_MEDIUM = 3, ASC_WRITE = 0x0c, ASC_READ = 0x11 };

static uint32_t le32(const uint8_t *p)
{
    return p[0] | p[1] << 8 | p[2] << 16 | (uint32_t)p[3] << 24;
}

static void put_le32(uint8_t *p, uint32_t v)
{
    for (unsigned i = 0; i < 4; i++) {
        p[i] = v >> 8 * i;
    }
}

/* ---- requests to the disk ---- */

static void drop_cache(UsbStorage *s)
{
    g_clear_pointer(&s->cache, g_free);
    s->cache_len = 0;
}

static void request_free(StorageRequest *q)
{
    iov_fini(&q->r.v);
    g_free(q->data);
    g_free(q);
}

/* Nobody waits any more; it ends by itself, and until then the host is told to ask again. */
static void forget_request(UsbStorage *s)
{
    s->forgotten += s->request != NULL;
    s->request = NULL;
    s->packet = NULL;
}

static UsbResult submit(UsbStorage *s, UsbPacket *p, StorageRequest *q, DriveOp op,
                        void (*done)(DriveRequest *r))
{
    if (!s->drive.client) { /* the machine is about to end */
        request_free(q);
        return USB_ERROR;
    }
    q->s = s;
    q->r = (DriveRequest){ .op = op,
                           .off = (int64_t)q->at,
                           .order = &s->order,
                           .done = done,
                           .opaque = q,
                           .flags = op == DRIVE_WRITE && s->write_cache != ON ? BLK_FUA : 0 };
    iov_init_buf(&q->r.v, q->data, q->len);
    s->request = q;
    s->packet = p;
    drive_submit(&s->drive, &q->r);
    return USB_ASYNC;
}

/* The packet that waited for the request, NULL: nobody. */
static UsbPacket *request_ended(StorageRequest *q)
{
    UsbStorage *s = q->s;
    if (s->request != q) {
        if (--s->forgotten == 0 && s->waited) {
            domain_post(&s->wake);
        }
        return NULL;
    }
    UsbPacket *p = s->packet;
    s->request = NULL;
    s->packet = NULL;
    return p;
}

static void storage_done(UsbStorage *s, UsbPacket *p, UsbResult r)
{
    if (s->waited) {
        domain_post(&s->wake);
    }
    usb_packet_done(p, r);
}

/* ---- from the disk ---- */

/* 6.7.2: the rest is filled up. A halt or a short packet would do as well, but SeaBIOS gets over neither. */
static UsbResult no_more_data(UsbStorage *s, UsbPacket *p)
{
    p->actual = MIN(p->len, s->left);
    memset(p->data, 0, p->actual);
    s->padded += p->actual;
    s->left -= p->actual;
    if (!s->left || p->actual < p->len) {
        s->phase = STORE_STATUS;
    }
    return USB_OK;
}

/* n bytes go to the host. Fewer than it wanted end the data. */
static UsbResult give(UsbStorage *s, UsbPacket *p, const uint8_t *from, uint32_t n)
{
    memcpy(p->data, from, n);
    p->actual = n;
    s->pos += n;
    s->avail -= n;
    s->left -= n;
    if (!s->left || n < p->len) {
        s->phase = STORE_STATUS;
    }
    return USB_OK;
}

static bool cached(const UsbStorage *s, uint32_t n)
{
    return s->cache && s->pos >= s->cache_at && s->pos - s->cache_at <= s->cache_len &&
           n <= s->cache_len - (s->pos - s->cache_at);
}

static void read_done(DriveRequest *r)
{
    StorageRequest *q = r->opaque;
    UsbStorage *s = q->s;
    UsbPacket *p = request_ended(q);
    if (!p) {
        request_free(q);
        return;
    }
    UsbResult result;
    if (r->result == 0) {
        drop_cache(s);
        s->cache = q->data;
        s->cache_at = q->at;
        s->cache_len = q->len;
        q->data = NULL;
        result = give(s, p, s->cache + (s->pos - s->cache_at), q->taken);
    } else {
        storage_sense(s, SENSE_MEDIUM, ASC_READ, 0);
        result = no_more_data(s, p);
    }
    request_free(q);
    storage_done(s, p, result);
}

static UsbResult data_in(UsbStorage *s, UsbPacket *p)
{
    uint32_t n = (uint32_t)MIN(MIN(p->len, s->left), s->avail);
    if (!n && p->len) { /* the command has less than the host expects */
        return no_more_data(s, p);
    }
    if (s->kind == STORE_REPLY) {
        return give(s, p, s->reply + s->pos, n);
    }
    if (cached(s, n)) {
        return give(s, p, s->cache + (s->pos - s->cache_at), n);
    }
    uint64_t block = s->shape.logical, at = s->pos / block * block, end = s->pos + n;
    uint64_t want = MAX(end, MIN(at + READ_AHEAD, s->pos + s->avail));
    StorageRequest *q = g_new0(StorageRequest, 1);
    q->at = at;
    q->len = (uint32_t)((want + block - 1) / block * block - at);
    q->taken = n;
    q->data = g_malloc(q->len);
    return submit(s, p, q, DRIVE_READ, read_done);
}

/* ---- to the disk ---- */

/* The packet's data are taken; what is no whole block stays for the next one. */
static void accept(UsbStorage *s, UsbPacket *p, const uint8_t *rest, uint32_t n_rest, uint64_t written)
{
    memmove(s->gather, rest, n_rest);
    s->gathered = n_rest;
    s->pos += written;
    s->avail -= MIN(p->len, s->avail);
    s->left -= p->len;
    p->actual = p->len;
    if (!s->left) {
        s->phase = STORE_STATUS;
        s->gathered = 0;
    }
}

static void write_done(DriveRequest *r)
{
    StorageRequest *q = r->opaque;
    UsbStorage *s = q->s;
    UsbPacket *p = request_ended(q);
    if (p) {
        uint32_t n_rest = q->taken;
        drop_cache(s);
        accept(s, p, q->data + q->len, n_rest, q->len);
        if (r->result < 0) {
            s->gathered = 0;
            storage_sense(s, SENSE_MEDIUM, ASC_WRITE, 0);
        }
    }
    request_free(q);
    if (p) {
        storage_done(s, p, USB_OK);
    }
}

static UsbResult data_out(UsbStorage *s, UsbPacket *p)
{
    if (p->len > s->left) {
        s->status = CSW_PHASE;
        s->phase = STORE_STATUS;
        usb_halt_endpoint(&s->u, EP_OUT, false);
        return USB_STALL;
    }
    uint32_t n = s->kind == STORE_WRITE ? (uint32_t)MIN(p->len, s->avail) : 0;
    uint32_t have = s->gathered + n, block = (uint32_t)s->shape.logical;
    bool last = p->len == s->left || n == s->avail;
    if (!n || (have < STORE_GATHER && !last)) {
        memcpy(s->gather + s->gathered, p->data, n);
        accept(s, p, s->gather, have, 0);
        return USB_OK;
    }
    StorageRequest *q = g_new0(StorageRequest, 1);
    q->at = s->pos;
    q->len = have / block * block;
    q->taken = have - q->len;
    q->data = g_malloc(have + 1);
    memcpy(q->data, s->gather, s->gathered);
    memcpy(q->data + s->gathered, p->data, n);
    if (!q->len) { /* the host ends within a block, which stays as it was */
        accept(s, p, q->data, q->taken, 0);
        request_free(q);
        return USB_OK;
    }
    return submit(s, p, q, DRIVE_WRITE, write_done);
}

/* ---- wrappers ---- */

static UsbResult take_command(UsbStorage *s, UsbPacket *p)
{
    const uint8_t *b = p->data;
    unsigned n = p->len == CBW_SIZE ? b[14] & 31 : 0;
    if (p->len != CBW_SIZE || le32(b) != CBW_SIGNATURE || (b[13] & 15) || n < 1 || n > STORE_CDB) {
        guest_error(&s->u.dev, "usb-storage: no command wrapper, %u bytes", p->len);
        s->broken = true; /* 6.6.1 */
        usb_halt_endpoint(&s->u, EP_IN, true);
        usb_halt_endpoint(&s->u, EP_OUT, false);
        return USB_STALL;
    }
    bool to_host = b[12] & 0x80;
    drop_cache(s);
    s->tag = le32(b + 4);
    s->left = le32(b + 8);
    s->gathered = s->padded = 0;
    memset(s->cdb, 0, sizeof(s->cdb));
    memcpy(s->cdb, b + 15, n);
    storage_execute(s);
    if (s->avail && s->left && to_host == (s->kind == STORE_WRITE)) { /* 6.7, cases 8 and 10 */
        s->status = CSW_PHASE;
        s->avail = 0;
    } else if (s->avail && !s->left) { /* cases 2 and 3 */
        s->status = CSW_PHASE;
    }
    s->phase = !s->left ? STORE_STATUS : to_host ? STORE_IN : STORE_OUT;
    p->actual = p->len;
    return USB_OK;
}

static UsbResult give_status(UsbStorage *s, UsbPacket *p);

static void flush_done(DriveRequest *r)
{
    StorageRequest *q = r->opaque;
    UsbStorage *s = q->s;
    UsbPacket *p = request_ended(q);
    if (p) {
        s->flush = false;
        if (r->result < 0) {
            storage_sense(s, SENSE_MEDIUM, ASC_WRITE, 0);
        }
    }
    request_free(q);
    if (p) {
        storage_done(s, p, give_status(s, p));
    }
}

static UsbResult give_status(UsbStorage *s, UsbPacket *p)
{
    if (s->flush) {
        return submit(s, p, g_new0(StorageRequest, 1), DRIVE_FLUSH, flush_done);
    }
    if (p->len < CSW_SIZE) {
        return USB_BABBLE;
    }
    put_le32(p->data, CSW_SIGNATURE);
    put_le32(p->data + 4, s->tag);
    put_le32(p->data + 8, s->left + s->padded);
    p->data[12] = s->status;
    p->actual = CSW_SIZE;
    s->phase = STORE_COMMAND;
    drop_cache(s);
    return USB_OK;
}

static UsbResult move_data(UsbStorage *s, UsbPacket *p)
{
    bool in = p->pid == USB_IN;
    if (s->packet || s->forgotten) { /* one after the other */
        return USB_NAK;
    }
    switch (s->phase) {
    case STORE_COMMAND: return in ? USB_NAK : take_command(s, p);
    case STORE_IN: return in ? data_in(s, p) : USB_STALL;
    case STORE_OUT: return in ? USB_NAK : data_out(s, p);
    default: return in ? give_status(s, p) : USB_NAK;
    }
}

/* Whoever had to wait tries again once anything has happened, when nobody is inside. */
static void wake(void *opaque)
{
    UsbStorage *s = opaque;
    s->waited = false;
    usb_wakeup(&s->u, EP_IN, true);
    usb_wakeup(&s->u, EP_OUT, false);
}

static UsbResult storage_data(UsbDevice *d, UsbPacket *p)
{
    UsbStorage *s = storage_of(d);
    UsbResult r = move_data(s, p);
    if (r == USB_NAK) {
        s->waited = true;
    } else if (s->waited) {
        domain_post(&s->wake);
    }
    return r;
}

static void storage_cancel(UsbDevice *d, UsbPacket *p)
{
    UsbStorage *s = storage_of(d);
    if (s->packet == p) {
        forget_request(s);
    }
}

/* ---- 3: requests ---- */

static void storage_reset(UsbDevice *d)
{
    UsbStorage *s = storage_of(d);
    UsbPacket *p = s->packet;
    forget_request(s);
    drop_cache(s);
    s->phase = STORE_COMMAND;
    s->broken = s->flush = false;
    s->tag = s->left = s->padded = s->gathered = 0;
    s->avail = s->pos = 0;
    memset(s->cdb, 0, sizeof(s->cdb));
    memset(s->reply, 0, sizeof(s->reply));
    memset(s->sense, 0, sizeof(s->sense));
    memset(s->gather, 0, sizeof(s->gather));
    s->kind = STORE_REPLY;
    s->status = CSW_OK;
    if (p) { /* its controller goes on asking, and gets what comes next */
        s->waited = true;
        usb_packet_done(p, USB_NAK);
    }
}

static bool storage_control(UsbDevice *d, const UsbSetup *r, uint8_t *data, unsigned *len)
{
    switch (r->type << 8 | r->request) {
    case 0xa1fe: /* Get Max LUN */
        data[0] = 0;
        *len = 1;
        return r->index == 0;
    case 0x21ff:
        *len = 0;
        storage_reset(d);
        return r->index == 0;
    default: return false;
    }
}

static void halt_cleared(UsbDevice *d, unsigned ep, bool in)
{
    UsbStorage *s = storage_of(d);
    if (s->broken) { /* first the transport wants its reset */
        usb_halt_endpoint(d, ep, in);
    }
    domain_post(&s->wake);
}

/* ---- life ---- */

#define STORAGE_CONFIG(LEN)                                                                                  \
    9, USB_DT_CONFIG, (LEN), 0, 1, 1, 0, 0xc0, 0, 9, USB_DT_INTERFACE, 0, 0, 2, 8, 6, 0x50, 0
#define STORAGE_EP(ADDR, PACKET) 7, USB_DT_ENDPOINT, (ADDR), 2, (PACKET)&0xff, (PACKET) >> 8, 0
#define STORAGE_COMPANION        6, USB_DT_COMPANION, 15, 0, 0, 0
static const uint8_t full_config[] = { STORAGE_CONFIG(32), STORAGE_EP(0x81, 64), STORAGE_EP(0x02, 64) };
static const uint8_t high_config[] = { STORAGE_CONFIG(32), STORAGE_EP(0x81, 512), STORAGE_EP(0x02, 512) };
static const uint8_t super_config[] = { STORAGE_CONFIG(44), STORAGE_EP(0x81, 1024), STORAGE_COMPANION,
                                        STORAGE_EP(0x02, 1024), STORAGE_COMPANION };
static const UsbDesc storage_desc = {
    .vendor = 0x46f4,
    .product = 0x0001,
    .strings = { NULL, "QEMU", "QEMU USB HARDDRIVE" },
    .config = { [USB_FULL] = { full_config, sizeof(full_config) },
                [USB_HIGH] = { high_config, sizeof(high_config) },
                [USB_SUPER] = { super_config, sizeof(super_config) } },
};

static void storage_fini(void *opaque)
{
    UsbStorage *s = opaque;
    drop_cache(s);
    g_free(s->own_serial);
    co_mutex_fini(&s->order);
}

static bool check_drive(UsbStorage *s, Error **errp)
{
    if (!s->drive.block || !s->drive.node) {
        error_fail(errp, "missing-member", "drive", NULL,
                   "a disk needs an image: 'drive' is missing or empty");
        error_hint(errp, "drive=ID of a -drive if=none,id=ID,file=... or of a -blockdev node");
        return false;
    }
    if (s->drive.drive && s->drive.drive->cdrom) {
        return error_fail(errp, "not-supported", "drive", "use -device ide-cd for it",
                          "drive '%s' is a CD, and there is no CD drive on USB", s->drive.drive->id);
    }
    return true;
}

static bool storage_realize(Device *dev, Error **errp)
{
    UsbStorage *s = storage_of(dev);
    co_mutex_init(&s->order); /* until the drive is closed: requests hold it */
    device_add_cleanup(dev, storage_fini, s);
    device_add_task(dev, &s->wake, wake); /* likewise: their end posts it */
    if (!check_drive(s, errp) || !drive_open(&s->drive, dev, drive_medium_read_only(&s->drive), errp)) {
        return false;
    }
    uint64_t size = (uint64_t)drive_size(&s->drive);
    if (!disk_shape_check(&s->shape, size / DISK_SECTOR, DISK_CYLS_MAX, 255, 255, errp)) {
        return false;
    }
    if (s->shape.logical > BLOCK_MAX || size < s->shape.logical) {
        return error_fail(errp, "not-supported", "logical_block_size", "use 512 or 4096",
                          "logical_block_size=%u with an image of %" G_GUINT64_FORMAT " bytes",
                          (unsigned)s->shape.logical, size);
    }
    if (s->shape.granularity && s->shape.granularity != DISK_GRANULARITY_AUTO) {
        return error_fail(errp, "not-supported", "discard_granularity",
                          "leave it out; virtio-blk-pci discards",
                          "discard_granularity=%" G_GUINT64_FORMAT ": a USB disk does not discard",
                          (uint64_t)s->shape.granularity);
    }
    s->blocks = size / s->shape.logical;
    if (s->write_cache == AUTO) {
        s->write_cache = s->drive.drive && s->drive.drive->write_through ? OFF : ON;
    }
    usb_device_init(&s->u, &storage_desc);
    if (!s->u.serial) {
        const char *of_drive = s->drive.drive ? s->drive.drive->serial : NULL;
        s->own_serial =
            of_drive ? g_strdup(of_drive) : g_strdup_printf("1-%s-%s", dev->bus->name, s->u.port->path);
        s->u.serial = s->own_serial;
    }
    return machine_add_boot_device(dev, s->bootindex, "/channel@0/disk@0,0", errp);
}

static bool storage_post_load(void *opaque, Error **errp)
{
    UsbStorage *s = opaque;
    drop_cache(s); /* of what the disk had before */
    uint64_t size = s->blocks * s->shape.logical;
    bool reply = s->kind == STORE_REPLY;
    if ((reply && (s->pos > STORE_REPLY_SIZE || s->avail > STORE_REPLY_SIZE - s->pos)) ||
        (!reply && (s->pos > size || s->avail > size - s->pos)) ||
        s->gathered > s->shape.logical + STORE_GATHER || s->gathered >= STORE_GATHER) {
        return error_set(errp, "the saved command of a USB disk contradicts itself");
    }
    return true;
}

static const VmField storage_fields[] = {
    VM_U8_MAX(UsbStorage, phase, STORE_PHASES - 1),
    VM_U8_MAX(UsbStorage, kind, STORE_KINDS - 1),
    VM_U8_MAX(UsbStorage, status, CSW_PHASE),
    VM_BOOL(UsbStorage, broken),
    VM_BOOL(UsbStorage, flush),
    VM_U32(UsbStorage, tag),
    VM_U32(UsbStorage, left),
    VM_U32(UsbStorage, padded),
    VM_U64(UsbStorage, avail),
    VM_U64(UsbStorage, pos),
    VM_U8_ARRAY(UsbStorage, cdb),
    VM_U8_ARRAY(UsbStorage, reply),
    VM_U8_ARRAY(UsbStorage, sense),
    VM_U32(UsbStorage, gathered),
    VM_U8_ARRAY(UsbStorage, gather),
    { 0 },
};
static const VmState storage_state = {
    .name = "usb-storage",
    .version = 1,
    .oldest = 1,
    .fields = storage_fields,
    .post_load = storage_post_load,
};

static const Prop storage_props[] = {
    PROP_DRIVE(UsbStorage, drive, "drive", "The image: a drive's id or a block node's name"),
    PROP_DRIVE_USE(UsbStorage, drive),
    PROP_BOOTINDEX(UsbStorage, bootindex),
    PROP_DISK_SIZES(UsbStorage, shape),
    PROP_SIZE(UsbStorage, shape.min_io, "min_io_size", 0, 0, UINT32_MAX,
              "Smallest good transfer, bytes; 0: not told"),
    PROP_SIZE(UsbStorage, shape.opt_io, "opt_io_size", 0, 0, UINT32_MAX, "Best transfer, bytes; 0: not told"),
    PROP_ONOFFAUTO(UsbStorage, write_cache, "write-cache", AUTO,
                   "Writes may be cached until a flush; auto: as the drive"),
    PROP_BOOL(UsbStorage, removable, "removable", false, "The guest is told that the medium is removable"),
    PROP_ONLY_BOOL("commandlog", false, "commands are not recorded", "leave it out; the guest's usbmon can"),
    { 0 },
};

static const UsbClass storage_class = {
    .control = storage_control,
    .data = storage_data,
    .cancel = storage_cancel,
    .reset = storage_reset,
    .halt_cleared = halt_cleared,
};

const DeviceType usb_storage_type = {
    .name = "usb-storage",
    .desc = "USB disk",
    .size = sizeof(UsbStorage),
    .base = &usb_device_type,
    .bus_type = &usb_bus_type,
    .bus_ops = &storage_class,
    .category = "Storage",
    .props = storage_props,
    .vmstate = &storage_state,
    .realize = storage_realize,
};
