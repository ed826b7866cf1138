/* SPDX-License-Identifier: MIT
 * hw/audio/intel-hda.c - High Definition Audio controllers: `-device intel-hda` (ICH6), `ich9-intel-hda`.
 *
 * Models: Intel's High Definition Audio Specification 1.0a: 3.3 (registers), 4.4 (command and response
 *         rings), 3.4.3 (immediate commands), 4.2.2 (reset), 4.3 (codecs are found by STATESTS); four input
 *         and four output streams (hda-stream.c). SSYNC is at 34h as in the ICH's data sheets, and at 38h.
 * Does not model: unsolicited responses (no codec here has one), several SDO lines, rings of 2 and 16
 *         entries, traffic classes. Commands are answered at once, so a ring is empty when the write that
 *         filled it returns: 255 commands at most.
 * Threads: the device's domain.
 */
#include "hda.h"
#include "rhea/system/machine.h"
#include "rhea/system/qompath.h"

enum {
    HDA_BAR = 0x4000,
    HDA_ALIASES = 0x2000, /* 3.3.45, 3.3.46 */
    STREAM_REGS = 0x80,
    STREAM_SIZE = 0x20,
    RING_MASK = 255,
    RING_SIZE_REG = 0x42, /* 256 entries, and nothing else */
    GCAP = HDA_OUTPUTS << 12 | HDA_INPUTS << 8 | 1,
    OUTPAY = 0x3c,
    INPAY = 0x1d,
    FIFO_IN = 0x77, /* bytes less 1: the ICH's */
    FIFO_OUT = 0xbf,
    WALL_HZ_M = 24,
};
enum { GCTL_CRST = 1, GCTL_FCNTRL = 2, GCTL_UNSOL = 1 << 8, GSTS_FSTS = 2 };
enum { CORB_MEIE = 1, CORB_RUN = 2, CORB_MEI = 1, CORBRP_RST = 1 << 15 };
enum { RIRB_INT = 1, RIRB_RUN = 2, RIRB_OIC = 4, RIRB_INTFL = 1, RIRB_OIS = 4, RIRBWP_RST = 1 << 15 };
enum { ICIS_ICB = 1, ICIS_IRV = 2, ICIS_ADDR_SHIFT = 4 };
#define INTCTL_GIE  (UINT32_C(1) << 31)
#define INTCTL_CIE  (UINT32_C(1) << 30)
#define INT_STREAMS ((UINT32_C(1) << HDA_STREAMS) - 1)
/* IntelHda.raised: bits of streams, and one for each cause within the controller. */
enum { CAUSE_RIRB = 1 << 8, CAUSE_OVERRUN = 1 << 9, CAUSE_CORB = 1 << 10, CAUSE_WAKE = 1 << 11 };

/* ---- interrupts (3.3.14, 3.3.15) ---- */

static uint32_t causes(const IntelHda *h)
{
    uint32_t c = 0;
    for (unsigned i = 0; i < HDA_STREAMS; i++) {
        c |= h->streams[i].sts & h->streams[i].ctl & SD_CTL_ENABLES ? 1u << i : 0;
    }
    return c | ((h->rirbsts & RIRB_INTFL) && (h->rirbctl & RIRB_INT) ? CAUSE_RIRB : 0) |
           ((h->rirbsts & RIRB_OIS) && (h->rirbctl & RIRB_OIC) ? CAUSE_OVERRUN : 0) |
           ((h->corbsts & CORB_MEI) && (h->corbctl & CORB_MEIE) ? CAUSE_CORB : 0) |
           (h->statests & h->wakeen ? CAUSE_WAKE : 0);
}

static uint32_t read_intsts(const IntelHda *h)
{
    uint32_t c = causes(h), sts = (c & INT_STREAMS) | (c & ~INT_STREAMS ? INTCTL_CIE : 0);
    return sts ? sts | INTCTL_GIE : 0;
}

/* A message for each cause that comes new: none is lost that comes while the driver looks at others. */
void hda_update_irq(IntelHda *h)
{
    uint32_t on = (h->intctl & INT_STREAMS) | (h->intctl & INTCTL_CIE ? ~(uint32_t)INT_STREAMS : 0);
    uint32_t now = h->intctl & INTCTL_GIE ? causes(h) & on : 0, fresh = now & ~h->raised;
    bool messages = h->msi.n && pci_msi_enabled(&h->msi);
    h->raised = now;
    irq_set(&h->intx, now && !messages);
    if (fresh && messages) {
        pci_msi_notify(&h->msi, 0);
    }
}

/* ---- commands (4.4) ---- */

/* False: no codec has this address, and nobody answers. */
static bool codec_command(IntelHda *h, uint32_t cmd, uint32_t *response)
{
    unsigned cad = cmd >> 28;
    HdaCodec *c = cad < HDA_CODECS ? h->bus.codecs[cad] : NULL;
    if (!c) {
        guest_error(&h->dev, "hda: command 0x%08x is for codec %u, which is not there", cmd, cad);
        return false;
    }
    *response = hda_codec_command(c, cmd & 0xfffffff);
    return true;
}

/* 4.4.2.1: the response, and who it comes from. */
static void respond(IntelHda *h, unsigned cad, uint32_t response)
{
    uint32_t le[2] = { GUINT32_TO_LE(response), GUINT32_TO_LE(cad) };
    if (!(h->rirbctl & RIRB_RUN)) {
        h->rirbsts |= RIRB_OIS; /* it stays in the FIFO, where the next one comes upon it */
        return;
    }
    h->rirbwp = (h->rirbwp + 1) & RING_MASK;
    if (dma_write(&pci_func(&h->dev)->dma, h->rirbbase + 8u * h->rirbwp, le, sizeof(le)) != MEM_OK) {
        guest_error(&h->dev, "hda: the response ring cannot be written");
    }
    if (++h->responses >= (h->rintcnt ? h->rintcnt : 256u)) {
        h->rirbsts |= RIRB_INTFL;
        h->responses = 0;
    }
}

static void run_corb(IntelHda *h)
{
    while ((h->corbctl & CORB_RUN) && (h->corbrp & RING_MASK) != h->corbwp && !(h->corbrp & CORBRP_RST)) {
        uint32_t le, response;
        uint8_t next = (h->corbrp + 1) & RING_MASK;
        if (dma_read(&pci_func(&h->dev)->dma, h->corbbase + 4u * next, &le, sizeof(le)) != MEM_OK) {
            guest_error(&h->dev, "hda: the command ring cannot be read");
            h->corbsts |= CORB_MEI;
            h->corbctl &= ~CORB_RUN;
            break;
        }
        h->corbrp = next;
        uint32_t cmd = GUINT32_FROM_LE(le);
        if (codec_command(h, cmd, &response)) {
            respond(h, cmd >> 28, response);
        }
    }
    if (h->responses) { /* 3.3.26: the link has an empty response slot now */
        h->rirbsts |= RIRB_INTFL;
        h->responses = 0;
    }
}

static void write_icis(IntelHda *h, uint32_t val)
{
    h->icis &= ~(val & ICIS_IRV);
    if (!(val & ICIS_ICB)) {
        return;
    }
    h->icis &= ~ICIS_IRV;
    if (codec_command(h, h->icoi, &h->icii)) {
        h->icis = ICIS_IRV | h->icoi >> 28 << ICIS_ADDR_SHIFT;
    }
}

/* ---- reset (3.3.7, 4.2.2) ---- */

static void tell_codecs(IntelHda *h, void (*tell)(HdaCodec *c))
{
    for (unsigned i = 0; i < HDA_CODECS; i++) {
        if (h->bus.codecs[i]) {
            tell(h->bus.codecs[i]);
        }
    }
}

/* All but what wakes a machine up, which has a power supply of its own. */
static void reset_registers(IntelHda *h)
{
    h->gctl = h->intctl = h->ssync = h->icoi = h->icii = 0;
    h->icis = h->gsts = h->corbrp = 0;
    h->corbbase = h->rirbbase = h->dplbase = 0;
    h->corbwp = h->corbctl = h->corbsts = 0;
    h->rirbwp = h->rintcnt = h->rirbctl = h->rirbsts = 0;
    h->responses = h->raised = 0;
    h->wall_start = 0;
    for (unsigned i = 0; i < HDA_STREAMS; i++) {
        hda_stream_reset(&h->streams[i]);
    }
}

static void write_gctl(IntelHda *h, uint32_t val)
{
    if (!(val & GCTL_CRST)) {
        reset_registers(h);
        tell_codecs(h, hda_codec_link_reset);
        return;
    }
    if (!(h->gctl & GCTL_CRST)) { /* the codecs ask for their addresses (4.3) */
        h->wall_start = clock_now(h->dev.machine->clock);
        for (unsigned i = 0; i < HDA_CODECS; i++) {
            h->statests |= h->bus.codecs[i] ? 1u << i : 0;
        }
    }
    h->gctl = val & (GCTL_CRST | GCTL_UNSOL);
    h->gsts |= val & GCTL_FCNTRL ? GSTS_FSTS : 0; /* nothing is kept that would have to be flushed */
}

/* ---- registers: doublewords, whatever the guest's accesses are ---- */

static HdaStream *stream_at(IntelHda *h, unsigned off, unsigned *reg)
{
    unsigned n = (off - STREAM_REGS) / STREAM_SIZE;
    *reg = (off - STREAM_REGS) % STREAM_SIZE;
    return off >= STREAM_REGS && n < HDA_STREAMS ? &h->streams[n] : NULL;
}

static uint32_t read_stream(const IntelHda *h, const HdaStream *s, unsigned reg)
{
    bool output = s - h->streams >= HDA_INPUTS;
    switch (reg) {
    case 0x00: return s->ctl | (uint32_t)(s->sts | (s->ctl & SD_CTL_RUN ? SD_STS_FIFORDY : 0)) << 24;
    case 0x04: return s->lpib;
    case 0x08: return s->cbl;
    case 0x0c: return s->lvi;
    case 0x10: return (output ? FIFO_OUT : FIFO_IN) | (uint32_t)s->fmt << 16;
    case 0x18: return (uint32_t)s->bdl;
    case 0x1c: return s->bdl >> 32;
    default: return 0;
    }
}

static uint32_t wall_clock(const IntelHda *h)
{
    uint64_t ns = (uint64_t)(clock_now(h->dev.machine->clock) - h->wall_start);
    return h->gctl & GCTL_CRST ? (uint32_t)(ns / 1000 * WALL_HZ_M + ns % 1000 * WALL_HZ_M / 1000) : 0;
}

static uint32_t read_reg(IntelHda *h, unsigned off)
{
    unsigned reg;
    const HdaStream *s = stream_at(h, off, &reg);
    if (s) {
        return read_stream(h, s, reg);
    }
    switch (off) {
    case 0x00: return GCAP | 1u << 24; /* version 1.0 */
    case 0x04: return OUTPAY | INPAY << 16;
    case 0x08: return h->gctl;
    case 0x0c: return h->wakeen | (uint32_t)h->statests << 16;
    case 0x10: return h->gsts;
    case 0x18: return OUTPAY | INPAY << 16;
    case 0x20: return h->intctl;
    case 0x24: return read_intsts(h);
    case 0x30: return wall_clock(h);
    case 0x34:
    case 0x38: return h->ssync;
    case 0x40: return (uint32_t)h->corbbase;
    case 0x44: return h->corbbase >> 32;
    case 0x48: return h->corbwp | (uint32_t)h->corbrp << 16;
    case 0x4c: return h->corbctl | h->corbsts << 8 | RING_SIZE_REG << 16;
    case 0x50: return (uint32_t)h->rirbbase;
    case 0x54: return h->rirbbase >> 32;
    case 0x58: return h->rirbwp | (uint32_t)h->rintcnt << 16;
    case 0x5c: return h->rirbctl | h->rirbsts << 8 | RING_SIZE_REG << 16;
    case 0x60: return h->icoi;
    case 0x64: return h->icii;
    case 0x68: return h->icis;
    case 0x70: return (uint32_t)h->dplbase;
    case 0x74: return h->dplbase >> 32;
    default: return 0;
    }
}

/* Replaces the bits of mask in a half of a 64-bit register, or in a smaller one. */
static void put_half(uint64_t *r, bool high, uint32_t val, uint32_t mask)
{
    unsigned shift = high ? 32 : 0;
    *r = (*r & ~((uint64_t)mask << shift)) | (uint64_t)(val & mask) << shift;
}
#define PUT(r, val, mask) ((r) = ((r) & ~(mask)) | ((val) & (mask)))

static void write_stream(IntelHda *h, HdaStream *s, unsigned reg, uint32_t val, uint32_t mask)
{
    uint32_t ctl = s->ctl;
    switch (reg) {
    case 0x00:
        s->sts &= ~((val & mask) >> 24);
        PUT(ctl, val, mask & 0xffffff);
        if (ctl != s->ctl) {
            hda_stream_write_ctl(h, s, ctl);
        }
        break;
    case 0x08: PUT(s->cbl, val, mask); break;
    case 0x0c: PUT(s->lvi, val, mask & 0xff); break;
    case 0x10: PUT(s->fmt, val >> 16, mask >> 16 & 0x7f7f); break;
    case 0x18: put_half(&s->bdl, false, val, mask & ~127u); break;
    case 0x1c: put_half(&s->bdl, true, val, mask); break;
    default: break;
    }
}

static void write_corb(IntelHda *h, unsigned off, uint32_t val, uint32_t mask)
{
    if (off == 0x48) {
        PUT(h->corbwp, val, mask & RING_MASK);
        if (mask >> 16 & CORBRP_RST) {
            h->corbrp = val >> 16 & CORBRP_RST ? CORBRP_RST : h->corbrp & RING_MASK;
        }
    } else {
        PUT(h->corbctl, val, mask & (CORB_MEIE | CORB_RUN));
        h->corbsts &= ~((val & mask) >> 8 & CORB_MEI);
    }
    run_corb(h);
}

static void write_rirb(IntelHda *h, unsigned off, uint32_t val, uint32_t mask)
{
    if (off == 0x58) {
        h->rirbwp = val & mask & RIRBWP_RST ? 0 : h->rirbwp;
        PUT(h->rintcnt, val >> 16, mask >> 16 & 0xff);
    } else {
        PUT(h->rirbctl, val, mask & (RIRB_INT | RIRB_RUN | RIRB_OIC));
        h->rirbsts &= ~((val & mask) >> 8);
    }
}

static void write_reg(IntelHda *h, unsigned off, uint32_t val, uint32_t mask)
{
    unsigned reg;
    HdaStream *s = stream_at(h, off, &reg);
    if (off == 0x0c) {
        PUT(h->wakeen, val, mask & 0x7fff);
        h->statests &= ~((val & mask) >> 16);
        return;
    }
    if (!(h->gctl & GCTL_CRST) && off != 0x08) {
        guest_error(&h->dev, "hda: register 0x%x is written while the controller is in reset", off);
        return;
    }
    if (s) {
        write_stream(h, s, reg, val, mask);
        return;
    }
    switch (off) {
    case 0x08: write_gctl(h, (h->gctl & ~mask) | (val & mask)); break;
    case 0x10: h->gsts &= ~(val & mask); break;
    case 0x20: PUT(h->intctl, val, mask & (INTCTL_GIE | INTCTL_CIE | INT_STREAMS)); break;
    case 0x34:
    case 0x38:
        PUT(h->ssync, val, mask & INT_STREAMS);
        tell_codecs(h, hda_codec_streams_changed);
        break;
    case 0x40: put_half(&h->corbbase, false, val, mask & ~127u); break;
    case 0x44: put_half(&h->corbbase, true, val, mask); break;
    case 0x48:
    case 0x4c: write_corb(h, off, val, mask); break;
    case 0x50: put_half(&h->rirbbase, false, val, mask & ~127u); break;
    case 0x54: put_half(&h->rirbbase, true, val, mask); break;
    case 0x58:
    case 0x5c: write_rirb(h, off, val, mask); break;
    case 0x60: PUT(h->icoi, val, mask); break;
    case 0x64: PUT(h->icii, val, mask); break;
    case 0x68: write_icis(h, val & mask); break;
    case 0x70: put_half(&h->dplbase, false, val, mask & (~127u | 1)); break;
    case 0x74: put_half(&h->dplbase, true, val, mask); break;
    default: break;
    }
}

static uint64_t regs_read(void *opaque, MemAccess *a)
{
    unsigned off = (unsigned)a->off & ~3u, reg;
    if (off >= HDA_ALIASES) { /* the wall clock and positions, again, for pages that programs may see */
        off -= HDA_ALIASES;
        if (off != 0x30 && (!stream_at(opaque, off, &reg) || reg != 4)) {
            return 0;
        }
    }
    return read_reg(opaque, off) >> 8 * (a->off & 3);
}

static void regs_write(void *opaque, MemAccess *a, uint64_t val)
{
    IntelHda *h = opaque;
    unsigned shift = 8 * (a->off & 3);
    uint32_t mask = UINT32_MAX >> (32 - 8 * a->size) << shift;
    write_reg(h, (unsigned)a->off & ~3u, (uint32_t)val << shift, mask);
    hda_update_irq(h);
}

static const MemOps regs_ops = { .read = regs_read, .write = regs_write, .impl_min = 1, .impl_max = 4 };

/* ---- life ---- */

static void hda_config_written(Device *dev, unsigned off G_GNUC_UNUSED, unsigned len G_GNUC_UNUSED)
{
    hda_update_irq(dev_as(IntelHda, dev)); /* MSI may be on now, or off */
}

static bool hda_realize(Device *dev, Error **errp)
{
    IntelHda *h = dev_as(IntelHda, dev);
    g_autofree char *name =
        dev->id ? g_strdup_printf("%s.0", dev->id)
                : g_strdup_printf("hda.%u", qom_count_buses(dev->machine->root, &hda_bus_type));
    pci_set_byte(dev, 0x40, 1); /* the link is HD Audio, not AC '97 */
    pci_func(dev)->cap_next = h->old_msi_addr ? 0x50 : 0x60;
    if (h->msi_prop != OFF && !pci_msi_init(&h->msi, dev, 1, errp)) {
        return false;
    }
    region_init_io(&h->regs, dev, "intel-hda", &regs_ops, h, HDA_BAR);
    device_add_region(dev, &h->regs);
    device_add_irq(dev, &h->intx);
    h->bus.controller = h;
    h->bus.bus = bus_new(&hda_bus_type, dev, name, &h->bus);
    return true;
}

static void hda_reset(Device *dev, ResetKind kind G_GNUC_UNUSED)
{
    IntelHda *h = dev_as(IntelHda, dev);
    reset_registers(h);
    h->wakeen = h->statests = 0;
}

static void hda_reset_done(Device *dev)
{
    hda_update_irq(dev_as(IntelHda, dev));
}

static bool hda_post_load(void *opaque, Error **errp)
{
    IntelHda *h = opaque;
    if (h->wall_start < 0 || h->wall_start > clock_now(h->dev.machine->clock)) {
        return error_set(errp, "a saved HDA controller has a wall clock that is yet to begin");
    }
    tell_codecs(h, hda_codec_streams_changed);
    irq_set(&h->intx, h->raised && !(h->msi.n && pci_msi_enabled(&h->msi)));
    return true;
}

static const VmField hda_fields[] = {
    VM_U32_MAX(IntelHda, gctl, GCTL_CRST | GCTL_UNSOL),
    VM_U32(IntelHda, intctl),
    VM_U32(IntelHda, ssync),
    VM_U32(IntelHda, icoi),
    VM_U32(IntelHda, icii),
    VM_U16(IntelHda, wakeen),
    VM_U16(IntelHda, statests),
    VM_U16(IntelHda, icis),
    VM_U16(IntelHda, gsts),
    VM_U64(IntelHda, corbbase),
    VM_U64(IntelHda, rirbbase),
    VM_U64(IntelHda, dplbase),
    VM_U16(IntelHda, corbrp),
    VM_U8(IntelHda, corbwp),
    VM_U8(IntelHda, corbctl),
    VM_U8(IntelHda, corbsts),
    VM_U8(IntelHda, rirbwp),
    VM_U8(IntelHda, rintcnt),
    VM_U8(IntelHda, rirbctl),
    VM_U8(IntelHda, rirbsts),
    VM_U32_MAX(IntelHda, responses, 255),
    VM_U32(IntelHda, raised),
    VM_I64(IntelHda, wall_start),
    VM_STRUCT_ARRAY(IntelHda, streams, hda_stream_state),
    { 0 },
};
static const VmState hda_state = {
    .name = "intel-hda",
    .version = 1,
    .oldest = 1,
    .fields = hda_fields,
    .post_load = hda_post_load,
};

static const Prop hda_props[] = {
    PROP_ONLY_UINT("debug", 0, "the controller prints nothing of its own", "use -d guest_errors"),
    PROP_ONOFFAUTO(IntelHda, msi_prop, "msi", AUTO, "It can interrupt by messages"),
    PROP_BOOL(IntelHda, old_msi_addr, "old_msi_addr", false,
              "The MSI capability is where old versions of QEMU had it: at 50h, not 60h"),
    { 0 },
};

#define HDA_TYPE(VAR, NAME, DESC, ID, REVISION)                                                              \
    static const PciOps VAR##_ops = {                                                                        \
        .vendor = 0x8086,                                                                                    \
        .device = (ID),                                                                                      \
        .revision = (REVISION),                                                                              \
        .class_code = 0x040300,                                                                              \
        .intx_pin = 1,                                                                                       \
        .config_written = hda_config_written,                                                                \
        .bar = { { PCI_BAR_MEM32 } },                                                                        \
    };                                                                                                       \
    const DeviceType VAR##_type = {                                                                          \
        .name = (NAME),                                                                                      \
        .desc = (DESC),                                                                                      \
        .size = sizeof(IntelHda),                                                                            \
        .bus_type = &pci_bus_type,                                                                           \
        .bus_ops = &VAR##_ops,                                                                               \
        .category = "Sound",                                                                                 \
        .props = hda_props,                                                                                  \
        .vmstate = &hda_state,                                                                               \
        .realize = hda_realize,                                                                              \
        .reset = hda_reset,                                                                                  \
        .reset_done = hda_reset_done,                                                                        \
    }
HDA_TYPE(intel_hda, "intel-hda", "Intel HD Audio controller (ICH6)", 0x2668, 1);
HDA_TYPE(ich9_intel_hda, "ich9-intel-hda", "Intel HD Audio controller (ICH9)", 0x293e, 3);
