/* SPDX-License-Identifier: MIT
 * hw/dma/i8237.c - the PC's pair of 8237A DMA controllers with page registers.
 * Models:         Intel 8237A data sheet (231466): address and count registers with their flip-flop, modes,
 *                 masks, requests, status, master clear, autoinitialize, terminal count; the AT's 74LS612
 *                 page registers 80h-8Fh.
 * Does not model: bus timing (compressed, extended write, priorities: each transfer is done when its device
 *                 asks), memory-to-memory transfers, which the AT cannot do.
 * Threads:        the device's domain, which is that of the devices it serves.
 */
#include "rhea/hw/isadma.h"
#include "rhea/system/dma.h"
#include "rhea/system/machine.h"

enum {
    R_STATUS_COMMAND = 8,
    R_REQUEST,
    R_MASK_BIT,
    R_MODE,
    R_CLEAR_FLIP,
    R_TEMP_CLEAR,
    R_CLEAR_MASK,
    R_MASK_ALL
};
enum { CMD_MEM_TO_MEM = 0x01, CMD_DISABLE = 0x04 };
enum { MODE_VERIFY, MODE_TO_MEMORY, MODE_FROM_MEMORY };
enum { MODE_AUTO = 0x10, MODE_DOWN = 0x20, MODE_CASCADE = 0xc0, PAGE_PORT = 0x80 };

typedef struct DmaChannel {
    uint16_t base_addr, base_count, addr, count;
    uint8_t mode;
} DmaChannel;

typedef struct I8237 {
    Device dev;
    uint32_t dshift;       /* configuration: 1 moves words */
    MemRegion regs, pages; /* wiring */
    /* guest-visible state */
    DmaChannel c[4];
    uint8_t page[8];
    uint8_t command, status, mask, soft_request, dreq;
    bool flip; /* the high byte comes next */
} I8237;

/* Which page register belongs to which channel (AT technical reference, "I/O address map"). */
static const uint8_t dma_page_of[4] = { 7, 3, 1, 2 };

static I8237 *dma_chip(IsaBus *isa, unsigned channel)
{
    Device *dev = channel < 8 ? isa->dma[channel / 4] : NULL;
    return dev ? dev_as(I8237, dev) : NULL;
}

static bool dma_is_open(const I8237 *d, unsigned k)
{
    return !(d->command & CMD_DISABLE) && !(d->mask >> k & 1) && (d->dreq | d->soft_request) >> k & 1;
}

/* Tells the devices whose channel has become able to transfer. */
static void dma_kick(I8237 *d, unsigned k)
{
    IsaBus *isa = isa_bus_of(&d->dev);
    IsaDmaUser *user = &isa->dma_user[k + (d->dshift ? 4 : 0)];
    if (user->ops && user->ops->ready && dma_is_open(d, k)) {
        user->ops->ready(user->dev, k + (d->dshift ? 4 : 0));
    }
}

static void dma_kick_all(I8237 *d)
{
    for (unsigned k = 0; k < 4; k++) {
        dma_kick(d, k);
    }
}

static uint8_t dma_flip_get(I8237 *d, uint16_t val, bool debug)
{
    bool high = d->flip;
    d->flip = debug ? high : !high;
    return high ? val >> 8 : val & 0xff;
}

static uint64_t i8237_read(void *opaque, MemAccess *a)
{
    I8237 *d = opaque;
    unsigned reg = a->off >> d->dshift;
    if (reg < 8) {
        DmaChannel *c = &d->c[reg / 2];
        return dma_flip_get(d, reg & 1 ? c->count : c->addr, a->attrs.debug);
    }
    uint8_t val;
    switch (reg) {
    case R_STATUS_COMMAND:
        val = d->status | (d->dreq | d->soft_request) << 4;
        d->status = a->attrs.debug ? d->status : 0; /* terminal counts are cleared by the read */
        return val;
    case R_MASK_ALL: return d->mask | 0xf0;
    case R_TEMP_CLEAR: return 0; /* the temporary register holds memory-to-memory data only */
    default: return 0xff;
    }
}

static void dma_master_clear(I8237 *d)
{
    d->command = d->status = d->soft_request = 0;
    d->flip = false;
    d->mask = 0x0f;
}

static void dma_write_address(I8237 *d, unsigned reg, uint8_t val)
{
    DmaChannel *c = &d->c[reg / 2];
    uint16_t *base = reg & 1 ? &c->base_count : &c->base_addr;
    *base = d->flip ? (*base & 0x00ff) | val << 8 : (*base & 0xff00) | val;
    *(reg & 1 ? &c->count : &c->addr) = *base;
    d->flip = !d->flip;
}

static void i8237_write(void *opaque, MemAccess *a, uint64_t val)
{
    I8237 *d = opaque;
    unsigned reg = a->off >> d->dshift, k = val & 3;
    if (reg < 8) {
        dma_write_address(d, reg, val);
        return;
    }
    switch (reg) {
    case R_STATUS_COMMAND:
        d->command = val;
        if (val & CMD_MEM_TO_MEM) {
            guest_unimp(&d->dev, "memory-to-memory DMA, which the AT's wiring does not allow");
        }
        break;
    case R_REQUEST: d->soft_request = val & 4 ? d->soft_request | 1 << k : d->soft_request & ~(1 << k); break;
    case R_MASK_BIT: d->mask = val & 4 ? d->mask | 1 << k : d->mask & ~(1 << k); break;
    case R_MODE: d->c[k].mode = val & 0xfc; break;
    case R_CLEAR_FLIP: d->flip = false; break;
    case R_TEMP_CLEAR: dma_master_clear(d); break;
    case R_CLEAR_MASK: d->mask = 0; break;
    case R_MASK_ALL: d->mask = val & 0x0f; break;
    }
    dma_kick_all(d);
}

static uint64_t dma_page_read(void *opaque, MemAccess *a)
{
    I8237 *d = opaque;
    return d->page[a->off];
}

static void dma_page_write(void *opaque, MemAccess *a, uint64_t val)
{
    I8237 *d = opaque;
    d->page[a->off] = val;
}

/* One piece that does not wrap in the 16-bit address counter. */
static size_t dma_piece(I8237 *d, DmaChannel *c, unsigned k, uint8_t *buf, size_t units)
{
    DmaContext ctx = { .as = &d->dev.machine->as_mem };
    unsigned kind = c->mode >> 2 & 3;
    bool down = c->mode & MODE_DOWN;
    size_t left = (size_t)c->count + 1, wrap = down ? (size_t)c->addr + 1 : 0x10000u - c->addr;
    size_t n = MIN(MIN(units, left), wrap), bytes = n << d->dshift;
    uint8_t page = d->page[dma_page_of[k]];
    hwaddr high = (hwaddr)(d->dshift ? page & 0xfe : page) << 16;
    hwaddr at = high | (hwaddr)c->addr << d->dshift;
    if (kind != MODE_VERIFY && !down) {
        dma_copy(&ctx, at, buf, bytes, kind == MODE_TO_MEMORY);
    } else if (kind != MODE_VERIFY) {
        for (size_t i = 0; i < n; i++) {
            dma_copy(&ctx, at - (i << d->dshift), buf + (i << d->dshift), 1u << d->dshift,
                     kind == MODE_TO_MEMORY);
        }
    }
    c->addr += down ? -n : n;
    c->count -= n; /* goes to FFFFh at the end: "one less than the number of transfers" */
    return n;
}

size_t isa_dma_transfer(IsaBus *isa, unsigned channel, void *buf, size_t len, bool to_memory, bool *tc)
{
    I8237 *d = dma_chip(isa, channel);
    unsigned k = channel & 3;
    size_t done = 0, units = d ? len >> d->dshift : 0;
    *tc = false;
    if (!d || !dma_is_open(d, k)) {
        return 0;
    }
    DmaChannel *c = &d->c[k];
    unsigned kind = c->mode >> 2 & 3;
    if ((c->mode & MODE_CASCADE) == MODE_CASCADE || kind == 3 ||
        (kind != MODE_VERIFY && (kind == MODE_TO_MEMORY) != to_memory)) {
        guest_error(&d->dev, "channel %u has mode %02x, its device wants to %s memory", channel, c->mode,
                    to_memory ? "write" : "read");
        return 0;
    }
    while (done < units && !*tc) {
        size_t left = (size_t)c->count + 1;
        size_t n = dma_piece(d, c, k, (uint8_t *)buf + (done << d->dshift), units - done);
        done += n;
        *tc = n == left;
    }
    if (*tc) {
        d->status |= 1 << k;
        d->soft_request &= ~(1 << k);
        if (c->mode & MODE_AUTO) {
            c->addr = c->base_addr;
            c->count = c->base_count;
        } else {
            d->mask |= 1 << k;
        }
    }
    return done << d->dshift;
}

void isa_dma_request(IsaBus *isa, unsigned channel, bool level)
{
    I8237 *d = dma_chip(isa, channel);
    if (!d) {
        return;
    }
    uint8_t bit = 1 << (channel & 3);
    bool rise = level && !(d->dreq & bit);
    d->dreq = level ? d->dreq | bit : d->dreq & ~bit;
    if (rise) {
        dma_kick(d, channel & 3);
    }
}

static void dma_release(void *opaque)
{
    *(IsaDmaUser *)opaque = (IsaDmaUser){ 0 };
}

bool isa_dma_claim(Device *dev, unsigned channel, const IsaDmaOps *ops, Error **errp)
{
    IsaBus *isa = isa_bus_of(dev);
    if (channel > 7 || channel == 4) {
        return error_set(errp, "DMA channel %u of %s does not exist, devices use 0-3 and 5-7", channel,
                         device_name(dev));
    }
    if (!dma_chip(isa, channel)) {
        return error_set(errp, "%s needs DMA channel %u, and this machine has no DMA controller",
                         device_name(dev), channel);
    }
    IsaDmaUser *user = &isa->dma_user[channel];
    if (user->ops) {
        return error_set(errp, "DMA channel %u of %s is taken by %s", channel, device_name(dev),
                         device_name(user->dev));
    }
    *user = (IsaDmaUser){ .ops = ops, .dev = dev };
    device_add_cleanup(dev, dma_release, user);
    return true;
}

static bool dma_realize(Device *dev, Error **errp)
{
    static const MemOps ops = {
        .read = i8237_read, .write = i8237_write, .min = 1, .max = 1, .impl_min = 1, .impl_max = 1
    };
    static const MemOps page_ops = {
        .read = dma_page_read, .write = dma_page_write, .min = 1, .max = 1, .impl_min = 1, .impl_max = 1
    };
    I8237 *d = dev_as(I8237, dev);
    region_init_io(&d->regs, dev, "dma", &ops, d, 16 << d->dshift);
    region_init_io(&d->pages, dev, "dma-page", &page_ops, d, 8);
    device_add_region(dev, &d->regs);
    return device_map_io(dev, &d->regs, d->dshift ? 0xc0 : 0, errp) &&
           device_map_io(dev, &d->pages, PAGE_PORT + (d->dshift ? 8 : 0), errp);
}

static void dma_reset(Device *dev, ResetKind kind G_GNUC_UNUSED)
{
    I8237 *d = dev_as(I8237, dev);
    memset(d->c, 0, sizeof(d->c));
    memset(d->page, 0, sizeof(d->page));
    d->dreq = 0; /* devices raise theirs again */
    dma_master_clear(d);
}

bool isa_dma_create_pair(Bus *bus, Device *parent, Error **errp)
{
    IsaBus *isa = bus->impl;
    for (unsigned i = 0; i < 2; i++) {
        isa->dma[i] = device_create(bus->owner->machine, &i8237_type, parent, NULL, bus, errp, "dshift",
                                    i ? "1" : "0", NULL);
        if (!isa->dma[i]) {
            return false;
        }
    }
    return true;
}

static const Prop dma_props[] = {
    PROP_U32(I8237, dshift, "dshift", 0, 0, 1,
             "0: channels 0-3, bytes, port 0; 1: channels 4-7, words, port 0xc0"),
    { 0 },
};
static const VmField dma_channel_fields[] = {
    VM_U16(DmaChannel, base_addr), VM_U16(DmaChannel, base_count), VM_U16(DmaChannel, addr),
    VM_U16(DmaChannel, count),     VM_U8(DmaChannel, mode),        { 0 },
};
static const VmState dma_channel_state = {
    .name = "dma-channel", .version = 1, .oldest = 1, .fields = dma_channel_fields
};
static const VmField dma_fields[] = {
    VM_STRUCT_ARRAY(I8237, c, dma_channel_state),
    VM_U8_ARRAY(I8237, page),
    VM_U8(I8237, command),
    VM_U8_MAX(I8237, status, 15),
    VM_U8_MAX(I8237, mask, 15),
    VM_U8_MAX(I8237, soft_request, 15),
    VM_U8_MAX(I8237, dreq, 15),
    VM_BOOL(I8237, flip),
    { 0 },
};
static const VmState dma_state = { .name = "i8257", .version = 1, .oldest = 1, .fields = dma_fields };
static const IsaOps dma_isa = { .irq = -1 };

const DeviceType i8237_type = {
    .name = "i8257",
    .desc = "8237A DMA controller",
    .size = sizeof(I8237),
    .bus_type = &isa_bus_type,
    .bus_ops = &dma_isa,
    .internal = true,
    .props = dma_props,
    .vmstate = &dma_state,
    .realize = dma_realize,
    .reset = dma_reset,
};
