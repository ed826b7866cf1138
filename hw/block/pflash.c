/* SPDX-License-Identifier: MIT
 * hw/block/pflash.c - a flash memory chip with eight data lines, whose contents are an image.
 *
 * Models: Common Flash Interface (JESD68.01): query; the Intel basic command set (28F128J3 data sheet,
 *         290667, chapter 4): array, status, identifier and query reads, programming by bytes and by a
 *         buffer of 256, erasing blocks of 4 KiB, clearing lock bits. Programming only clears bits.
 *         `secure`: only CPUs in system management mode give commands.
 * Does not model: setting lock bits, protection registers, suspended operations, STS, the time that
 *         operations take: a chip is ready when the command was given.
 * Differs: CLEAR STATUS REGISTER clears bit 7 as well, until the next operation. OVMF takes the status 00h
 *         for the sign that there is a flash chip, and uses no other.
 * Threads: the device's domain. What changed follows on the image, a request at a time.
 */
#include "rhea/hw/pflash.h"
#include "rhea/backends/drive.h"
#include "rhea/system/machine.h"
#include "rhea/util/errorcode.h"
#include "rhea/util/log.h"

#include <inttypes.h>
#include <string.h>

enum { FLASH_BUFFER = 256, FLASH_RUN = 64 /* blocks written to the image at once */ };
/* What the next write means, and what reads give. From FLASH_STATUS on reads give the status. */
enum {
    FLASH_ARRAY,
    FLASH_ID,
    FLASH_QUERY,
    FLASH_STATUS,
    FLASH_PROGRAM, /* a byte comes */
    FLASH_ERASE,   /* the confirmation comes */
    FLASH_LOCK,    /* which kind comes */
    FLASH_COUNT,   /* of bytes for the buffer, less one, comes */
    FLASH_LOAD,    /* bytes for the buffer come */
    FLASH_CONFIRM, /* to program the buffer, comes */
    FLASH_MODES
};
enum { SR_READY = 0x80, SR_ERASE = 0x20, SR_PROGRAM = 0x10, SR_SEQUENCE = SR_ERASE | SR_PROGRAM };
enum { ID_INTEL = 0x89, ID_28F128J3 = 0x18 };

typedef struct Pflash {
    Device dev;
    DrivePort drive;
    bool secure;
    MemRegion io, array; /* the latter hides the former while reads give the contents */
    RamBlock *ram;
    uint32_t size;
    uint8_t query[0x40];
    /* state; the contents are a RamBlock of the machine's */
    uint8_t mode, status;
    uint8_t buffer[FLASH_BUFFER];
    uint32_t buffer_at;                /* where the first byte goes */
    uint16_t buffer_len, buffer_left;
    /* the image */
    DomainTask resume;
    unsigned long *dirty; /* a bit for each block that differs from the image */
    bool writing;
    uint32_t writing_at, writing_len;
    uint8_t *copy;
    DriveRequest r;
} Pflash;

/* ---- the image ---- */

static bool take_bit(unsigned long *bits, unsigned i)
{
    unsigned long *w = &bits[i / (8 * sizeof(*w))], bit = 1ul << (i % (8 * sizeof(*w)));
    bool was = *w & bit;
    *w &= ~bit;
    return was;
}

static void mark_dirty(Pflash *s, uint32_t at, uint32_t len)
{
    for (uint32_t i = at / PFLASH_BLOCK; len && i <= (at + len - 1) / PFLASH_BLOCK; i++) {
        s->dirty[i / (8 * sizeof(*s->dirty))] |= 1ul << (i % (8 * sizeof(*s->dirty)));
    }
}

/* Hands in the next run of changed blocks, as they are now. */
static void flash_write_back(Pflash *s, bool hold)
{
    unsigned blocks = s->size / PFLASH_BLOCK, first = 0, n = 0;
    if (s->writing || s->drive.read_only || !s->drive.client) {
        return;
    }
    while (first < blocks && !take_bit(s->dirty, first)) {
        first++;
    }
    if (first == blocks) {
        return;
    }
    do {
        n++;
    } while (n < FLASH_RUN && first + n < blocks && take_bit(s->dirty, first + n));
    s->writing = true;
    s->writing_at = first * PFLASH_BLOCK;
    s->writing_len = n * PFLASH_BLOCK;
    memcpy(s->copy, s->ram->host + s->writing_at, s->writing_len);
    iov_init_buf(&s->r.v, s->copy, s->writing_len);
    s->r.off = s->writing_at;
    (hold ? drive_hold : drive_submit)(&s->drive, &s->r);
}

static void flash_written(DriveRequest *r)
{
    Pflash *s = r->opaque;
    iov_fini(&r->v);
    s->writing = false;
    if (r->result == 0) {
        flash_write_back(s, false);
        return;
    }
    mark_dirty(s, s->writing_at, s->writing_len); /* again with the next change, or at a reset */
    s->status |= SR_PROGRAM;
    log_warn("flash '%s': %" PRIu32 " bytes at 0x%" PRIx32 " could not be written to the image: %s",
             device_name(&s->dev), s->writing_len, s->writing_at, g_strerror(-r->result));
}

static void flash_changed(Pflash *s, uint32_t at, uint32_t len)
{
    ram_written(s->ram, at, len);
    mark_dirty(s, at, len);
    flash_write_back(s, false);
}

/* After a load: the contents came with the machine's memory, and the image may be of another time. */
static void flash_resume(void *opaque)
{
    Pflash *s = opaque;
    mark_dirty(s, 0, s->size);
    flash_write_back(s, true);
}

/* ---- commands ---- */

static void set_mode(Pflash *s, uint8_t mode)
{
    if ((mode == FLASH_ARRAY) != (s->mode == FLASH_ARRAY)) {
        region_set_enabled(&s->array, mode == FLASH_ARRAY);
    }
    s->mode = mode;
}

static void operation_done(Pflash *s, uint8_t errors)
{
    s->status |= SR_READY | errors;
    set_mode(s, FLASH_STATUS);
}

static void program(Pflash *s, uint32_t at, const uint8_t *data, uint32_t len)
{
    if (s->drive.read_only) {
        operation_done(s, SR_PROGRAM);
        return;
    }
    for (uint32_t i = 0; i < len; i++) {
        s->ram->host[at + i] &= data[i];
    }
    operation_done(s, 0);
    flash_changed(s, at, len);
}

static void erase(Pflash *s, uint32_t at)
{
    if (s->drive.read_only) {
        operation_done(s, SR_ERASE);
        return;
    }
    at &= ~(uint32_t)(PFLASH_BLOCK - 1);
    memset(s->ram->host + at, 0xff, PFLASH_BLOCK);
    operation_done(s, 0);
    flash_changed(s, at, PFLASH_BLOCK);
}

static void load_buffer(Pflash *s, uint32_t at, uint8_t val)
{
    if (s->buffer_left == s->buffer_len) {
        s->buffer_at = at;
        memset(s->buffer, 0xff, sizeof(s->buffer));
    }
    uint32_t k = at - s->buffer_at;
    if (at < s->buffer_at || k >= s->buffer_len || s->buffer_len > s->size - s->buffer_at) {
        operation_done(s, SR_SEQUENCE);
        return;
    }
    s->buffer[k] = val;
    if (--s->buffer_left == 0) {
        set_mode(s, FLASH_CONFIRM);
    }
}

static void command(Pflash *s, uint8_t val)
{
    switch (val) {
    case 0xff:
    case 0xf0: /* the AMD set's: drivers that probe for both leave the query so */
    case 0x00: set_mode(s, FLASH_ARRAY); return;
    case 0x10:
    case 0x40: set_mode(s, FLASH_PROGRAM); return;
    case 0x20: set_mode(s, FLASH_ERASE); return;
    case 0x50:
        s->status = 0;
        set_mode(s, FLASH_ARRAY);
        return;
    case 0x60: set_mode(s, FLASH_LOCK); return;
    case 0x70: set_mode(s, FLASH_STATUS); return;
    case 0x90: set_mode(s, FLASH_ID); return;
    case 0x98: set_mode(s, FLASH_QUERY); return;
    case 0xe8:
        s->status |= SR_READY; /* the extended status: there is room in the buffer */
        set_mode(s, FLASH_COUNT);
        return;
    case 0xb0: /* nothing is under way that could be suspended or resumed */
    case 0xd0: set_mode(s, FLASH_STATUS); return;
    default:
        guest_error(&s->dev, "flash: command 0x%02x is unknown", val);
        set_mode(s, FLASH_ARRAY);
    }
}

static void flash_cycle(Pflash *s, uint32_t at, uint8_t val)
{
    switch (s->mode) {
    case FLASH_PROGRAM: program(s, at, &val, 1); return;
    case FLASH_ERASE:
        if (val == 0xd0) {
            erase(s, at);
        } else {
            operation_done(s, SR_SEQUENCE);
        }
        return;
    case FLASH_LOCK: operation_done(s, val == 0xd0 ? 0 : val == 1 ? SR_PROGRAM : SR_SEQUENCE); return;
    case FLASH_COUNT:
        s->buffer_len = s->buffer_left = val + 1;
        set_mode(s, FLASH_LOAD);
        return;
    case FLASH_LOAD: load_buffer(s, at, val); return;
    case FLASH_CONFIRM:
        if (val == 0xd0) {
            program(s, s->buffer_at, s->buffer, s->buffer_len);
        } else {
            operation_done(s, SR_SEQUENCE);
        }
        return;
    default: command(s, val);
    }
}

/* ---- the bus ---- */

static bool locked_out(const Pflash *s, const MemAccess *a)
{
    return s->secure && !a->attrs.smm;
}

static uint64_t flash_read(void *opaque, MemAccess *a)
{
    const Pflash *s = opaque;
    unsigned mode = locked_out(s, a) ? FLASH_ARRAY : s->mode;
    switch (mode) {
    case FLASH_ARRAY: return s->ram->host[a->off];
    case FLASH_ID: /* by the lowest address lines; the third is the block's lock bit */
        return (a->off & 0xff) == 0 ? ID_INTEL : (a->off & 0xff) == 1 ? ID_28F128J3 : 0;
    case FLASH_QUERY: return (a->off & 0xff) < sizeof(s->query) ? s->query[a->off & 0xff] : 0;
    default: return s->status;
    }
}

static void flash_write(void *opaque, MemAccess *a, uint64_t val)
{
    Pflash *s = opaque;
    if (locked_out(s, a)) {
        a->result = MEM_DEVICE_ERROR;
    } else {
        flash_cycle(s, (uint32_t)a->off, (uint8_t)val);
    }
}

/* JESD68.01, tables 2 to 5; the Intel extended table at 31h. */
static void fill_query(Pflash *s)
{
    uint8_t *q = s->query;
    unsigned blocks = s->size / PFLASH_BLOCK - 1, log2 = 0;
    while ((UINT64_C(1) << log2) < s->size) {
        log2++;
    }
    memcpy(q + 0x10, "QRY\1\0\x31", 6);                    /* command set 1, its table */
    memcpy(q + 0x1b, "\x45\x55\0\0\1\1\1\0\1\1\1\0", 12); /* voltages, times in powers of two */
    q[0x27] = (uint8_t)log2;
    q[0x2a] = 8; /* 256 bytes in the buffer */
    q[0x2c] = 1; /* region of equal blocks */
    q[0x2d] = (uint8_t)blocks;
    q[0x2e] = (uint8_t)(blocks >> 8);
    q[0x2f] = (uint8_t)(PFLASH_BLOCK / 256);
    q[0x30] = PFLASH_BLOCK / 256 >> 8;
    memcpy(q + 0x31, "PRI10", 5);
}

/* ---- life ---- */

RamBlock *pflash_ram(Device *dev)
{
    return dev_as(Pflash, dev)->ram;
}

static void flash_free(void *opaque)
{
    Pflash *s = opaque;
    MemRegion *own[] = { &s->array, &s->io };
    for (unsigned i = 0; i < G_N_ELEMENTS(own); i++) {
        if (region_mapped(own[i])) {
            region_unmap(own[i]);
        }
        region_fini(own[i]);
    }
    ram_unref(s->ram);
    g_free(s->dirty);
    g_free(s->copy);
}

static bool flash_check(Pflash *s, Error **errp)
{
    if (!s->drive.block) {
        error_fail(errp, "missing-member", "drive", NULL, "drive property not set");
        error_hint(errp, "name an image: drive=ID");
        return false;
    }
    if (!s->drive.node) {
        return error_fail(errp, "no-medium", "drive", "give the drive a file=",
                          "drive '%s' has no medium, and a flash chip cannot do without", s->drive.drive->id);
    }
    int64_t size = block_size(s->drive.node);
    if (size <= 0 || size % PFLASH_BLOCK || size > 64 << 20) {
        error_fail(errp, "too-large", "drive", NULL, "the image of a flash chip has %" PRId64 " bytes", size);
        error_hint(errp, "64 MiB at most, in multiples of 4 KiB");
        return false;
    }
    s->size = (uint32_t)size;
    return true;
}

static bool flash_realize(Device *dev, Error **errp)
{
    static const MemOps ops = { .read = flash_read, .write = flash_write, .impl_max = 1, .unaligned = true };
    Pflash *s = dev_as(Pflash, dev);
    if (!flash_check(s, errp) || !drive_open(&s->drive, dev, drive_medium_read_only(&s->drive), errp)) {
        return false;
    }
    s->ram = ram_new(dev->machine, "pflash", s->size, errp);
    if (!s->ram) {
        return false;
    }
    unsigned words = s->size / PFLASH_BLOCK / (8 * sizeof(*s->dirty)) + 1;
    s->dirty = g_new0(unsigned long, words);
    s->copy = g_malloc(FLASH_RUN * PFLASH_BLOCK);
    s->r = (DriveRequest){ .op = DRIVE_WRITE, .flags = BLK_FUA, .done = flash_written, .opaque = s };
    region_init_io(&s->io, dev, "pflash", &ops, s, s->size);
    region_init_rom_device(&s->array, dev, "pflash-array", &ops, s, s->ram);
    region_map(&s->io, 0, &s->array, 0);
    device_add_cleanup(dev, flash_free, s);
    device_add_task(dev, &s->resume, flash_resume);
    device_add_region(dev, &s->io);
    device_add_region(dev, &s->array);
    fill_query(s);
    return drive_read_now(&s->drive, 0, s->ram->host, s->size, errp);
}

static void flash_reset(Device *dev, ResetKind kind G_GNUC_UNUSED)
{
    Pflash *s = dev_as(Pflash, dev);
    s->mode = FLASH_ARRAY;
    s->status = SR_READY;
    memset(s->buffer, 0, sizeof(s->buffer));
    s->buffer_at = 0;
    s->buffer_len = s->buffer_left = 0;
}

static void flash_reset_done(Device *dev)
{
    Pflash *s = dev_as(Pflash, dev);
    region_set_enabled(&s->array, true);
    flash_write_back(s, false);
}

static bool flash_post_load(void *opaque, Error **errp)
{
    Pflash *s = opaque;
    bool filling = s->mode == FLASH_LOAD || s->mode == FLASH_CONFIRM;
    if (s->buffer_left > s->buffer_len || s->buffer_at >= s->size ||
        (filling && s->buffer_left != s->buffer_len && s->buffer_len > s->size - s->buffer_at) ||
        (filling && (s->buffer_left == 0) != (s->mode == FLASH_CONFIRM))) {
        return error_set(errp, "the saved buffer of a flash chip contradicts itself");
    }
    region_set_enabled(&s->array, s->mode == FLASH_ARRAY);
    domain_post(&s->resume);
    return true;
}

static const VmField flash_fields[] = {
    VM_U8_MAX(Pflash, mode, FLASH_MODES - 1),
    VM_U8(Pflash, status),
    VM_U8_ARRAY(Pflash, buffer),
    VM_U32(Pflash, buffer_at),
    VM_U16_MAX(Pflash, buffer_len, FLASH_BUFFER),
    VM_U16_MAX(Pflash, buffer_left, FLASH_BUFFER),
    { 0 },
};
static const VmState flash_state = {
    .name = "cfi.pflash01",
    .version = 1,
    .oldest = 1,
    .fields = flash_fields,
    .post_load = flash_post_load,
};

static const Prop flash_props[] = {
    PROP_DRIVE(Pflash, drive, "drive", "The image: a drive's id or a block node's name"),
    PROP_DRIVE_ERRORS(Pflash, drive),
    PROP_BOOL(Pflash, secure, "secure", false, "Commands come from system management mode only"),
    { 0 },
};

const DeviceType pflash_type = {
    .name = "cfi.pflash01",
    .desc = "flash memory with the Intel command set",
    .size = sizeof(Pflash),
    .internal = true,
    .props = flash_props,
    .vmstate = &flash_state,
    .realize = flash_realize,
    .reset = flash_reset,
    .reset_done = flash_reset_done,
};
