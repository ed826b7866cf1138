/* SPDX-License-Identifier: MIT
 * hw/audio/hda-stream.c - the DMA engines of a High Definition Audio controller.
 *
 * Models: HDA 3.3.35 to 3.3.42 (stream descriptors), 3.6.2 and 3.6.3 (buffer descriptor list), 3.3.30 and
 *         3.6.4 (position buffer). Bytes move when a codec's converter asks for them, with its voice, and
 *         positions advance with that.
 * Does not model: the FIFO (buffers are read when their sound is due); two converters that listen to one
 *         stream: the first one to ask gets the data.
 * Bounds: for one call ENTRIES_MOST buffers at most are looked at, and the rest is lost as if the FIFO
 *         had run empty; the specification's buffers have at least 128 bytes, with which nobody gets there.
 * Threads: the controller's domain.
 */
#include "hda.h"
#include "rhea/system/machine.h"

enum { ENTRIES_MOST = 512, ENTRY_SIZE = 16, ENTRY_IOC = 1 };

static unsigned stream_number(const IntelHda *h, const HdaStream *s)
{
    return (unsigned)(s - h->streams);
}

static bool is_moving(const IntelHda *h, const HdaStream *s)
{
    return (s->ctl & SD_CTL_RUN) && !(h->ssync >> stream_number(h, s) & 1);
}

static const HdaStream *stream_find(const IntelHda *h, unsigned tag, bool output)
{
    unsigned first = output ? HDA_INPUTS : 0, n = output ? HDA_OUTPUTS : HDA_INPUTS;
    for (unsigned i = first; tag && i < first + n; i++) {
        const HdaStream *s = &h->streams[i];
        if (s->ctl >> SD_CTL_TAG_SHIFT == tag && is_moving(h, s)) {
            return s;
        }
    }
    return NULL;
}

bool hda_stream_runs(const HdaBus *b, unsigned tag, bool output)
{
    return stream_find(b->controller, tag, output);
}

void hda_stream_reset(HdaStream *s)
{
    *s = (HdaStream){ 0 };
}

/* HDA 3.3.35: a stream in reset has the values of a fresh one, and runs when that is over. */
void hda_stream_write_ctl(IntelHda *h, HdaStream *s, uint32_t ctl)
{
    if (ctl & SD_CTL_SRST) {
        hda_stream_reset(s);
        s->ctl = SD_CTL_SRST;
    } else {
        s->ctl = ctl & SD_CTL_BITS;
    }
    for (unsigned i = 0; i < HDA_CODECS; i++) {
        if (h->bus.codecs[i]) {
            hda_codec_streams_changed(h->bus.codecs[i]);
        }
    }
}

/* HDA 3.3.36: what makes a list useless ends the stream. */
static void stream_failed(IntelHda *h, HdaStream *s, uint64_t at)
{
    guest_error(&h->dev, "hda: stream %u: nothing can be moved at 0x%" PRIx64 "; it stops",
                stream_number(h, s), at);
    s->sts |= SD_STS_DESE;
    hda_stream_write_ctl(h, s, s->ctl & ~(uint32_t)SD_CTL_RUN);
}

static bool fetch(IntelHda *h, HdaStream *s)
{
    struct {
        uint64_t addr;
        uint32_t len, flags;
    } le;
    uint64_t at = s->bdl + (uint64_t)s->entry * ENTRY_SIZE;
    if (dma_read(&pci_func(&h->dev)->dma, at, &le, ENTRY_SIZE) != MEM_OK) {
        stream_failed(h, s, at);
        return false;
    }
    s->addr = GUINT64_FROM_LE(le.addr);
    s->len = GUINT32_FROM_LE(le.len);
    s->ioc = GUINT32_FROM_LE(le.flags) & ENTRY_IOC;
    s->at = 0;
    s->fetched = true;
    return true;
}

static void entry_done(HdaStream *s)
{
    s->sts |= s->ioc ? SD_STS_BCIS : 0;
    s->entry = s->entry >= s->lvi ? 0 : s->entry + 1;
    s->fetched = false;
}

/* HDA 3.3.38: the position begins again where the cyclic buffer ends, which need not be the list's end. */
static void advance(HdaStream *s, uint32_t n)
{
    uint64_t pos = (uint64_t)s->lpib + n;
    s->at += n;
    s->lpib = (uint32_t)(s->cbl ? pos % s->cbl : pos);
}

static void tell_position(IntelHda *h, const HdaStream *s)
{
    uint32_t le = GUINT32_TO_LE(s->lpib);
    if (h->dplbase & 1) {
        dma_write(&pci_func(&h->dev)->dma, (h->dplbase & ~UINT64_C(1)) + 8u * stream_number(h, s), &le,
                  sizeof(le));
    }
}

size_t hda_stream_transfer(HdaBus *b, unsigned tag, bool output, uint8_t *buf, size_t len)
{
    IntelHda *h = b->controller;
    HdaStream *s = (HdaStream *)stream_find(h, tag, output);
    size_t done = 0;
    if (!s) {
        return 0;
    }
    for (unsigned entries = 0; done < len && is_moving(h, s);) {
        if (!s->fetched && (++entries > ENTRIES_MOST || !fetch(h, s))) {
            s->sts |= entries > ENTRIES_MOST ? SD_STS_FIFOE : 0;
            break;
        }
        uint32_t n = (uint32_t)MIN(len - done, s->len - s->at);
        if (n && dma_copy(&pci_func(&h->dev)->dma, s->addr + s->at, buf + done, n, !output) != MEM_OK) {
            stream_failed(h, s, s->addr + s->at);
            break;
        }
        advance(s, n);
        done += n;
        if (s->at >= s->len) {
            entry_done(s);
        }
    }
    tell_position(h, s);
    hda_update_irq(h);
    return done;
}

static bool stream_post_load(void *opaque, Error **errp)
{
    const HdaStream *s = opaque;
    if (s->fetched && s->at > s->len) {
        return error_set(errp, "a saved stream is at byte %u of a buffer that has %u", s->at, s->len);
    }
    return true;
}

static const VmField stream_fields[] = {
    VM_U32_MAX(HdaStream, ctl, SD_CTL_BITS),
    VM_U32(HdaStream, lpib),
    VM_U32(HdaStream, cbl),
    VM_U64(HdaStream, bdl),
    VM_U16_MAX(HdaStream, lvi, 0xff),
    VM_U16(HdaStream, fmt),
    VM_U8_MAX(HdaStream, sts, SD_STS_BCIS | SD_STS_FIFOE | SD_STS_DESE),
    VM_U8(HdaStream, entry),
    VM_BOOL(HdaStream, fetched),
    VM_BOOL(HdaStream, ioc),
    VM_U64(HdaStream, addr),
    VM_U32(HdaStream, len),
    VM_U32(HdaStream, at),
    { 0 },
};
const VmState hda_stream_state = { .name = "hda-stream",
                                   .version = 1,
                                   .oldest = 1,
                                   .fields = stream_fields,
                                   .post_load = stream_post_load };
