/* SPDX-License-Identifier: MIT
 * hw/audio/hda.h - High Definition Audio: the controller, its link, and the codecs on it.
 *
 * "HDA n" names a section of Intel's High Definition Audio Specification, revision 1.0a. The codecs share the
 * controller's domain; all calls are made there unless said otherwise.
 */
#ifndef HW_AUDIO_HDA_H
#define HW_AUDIO_HDA_H

#include "rhea/backends/audio.h"
#include "rhea/hw/msi.h"

enum { HDA_CODECS = 15, HDA_INPUTS = 4, HDA_OUTPUTS = 4, HDA_STREAMS = HDA_INPUTS + HDA_OUTPUTS };
/* HDA 3.3.35, 3.3.36: SDnCTL and SDnSTS. */
enum {
    SD_CTL_SRST = 1 << 0,
    SD_CTL_RUN = 1 << 1,
    SD_CTL_ENABLES = 0x1c, /* where SDnSTS has what they enable */
    SD_CTL_TAG_SHIFT = 20,
    SD_CTL_BITS = 0xf7001f,
    SD_STS_BCIS = 1 << 2,
    SD_STS_FIFOE = 1 << 3,
    SD_STS_DESE = 1 << 4,
    SD_STS_FIFORDY = 1 << 5,
};

typedef struct HdaCodec HdaCodec;
typedef struct IntelHda IntelHda;
typedef struct HdaBus { /* Bus.impl */
    Bus *bus;
    IntelHda *controller;
    HdaCodec *codecs[HDA_CODECS]; /* by address; NULL: nobody answers there */
} HdaBus;
extern const BusType hda_bus_type;

typedef struct HdaStream { /* one DMA engine: HDA 3.3.35 to 3.3.42, 3.6 */
    uint32_t ctl, lpib, cbl;
    uint64_t bdl;
    uint16_t lvi, fmt;
    uint8_t sts;
    /* The buffer that it is in: entry of the list, bytes that are done; as the list had it when it began. */
    uint8_t entry;
    bool fetched, ioc;
    uint64_t addr;
    uint32_t len, at;
} HdaStream;

struct IntelHda {
    Device dev;
    MemRegion regs;
    IrqLine intx;
    PciMsi msi;
    HdaBus bus;
    int msi_prop; /* properties */
    bool old_msi_addr;
    /* guest-visible state; names are the registers' */
    uint32_t gctl, intctl, ssync, icoi, icii;
    uint16_t wakeen, statests, icis, gsts;
    uint64_t corbbase, rirbbase, dplbase;
    uint16_t corbrp;
    uint8_t corbwp, corbctl, corbsts;
    uint8_t rirbwp, rintcnt, rirbctl, rirbsts;
    uint32_t responses; /* since the last response interrupt */
    uint32_t raised;    /* causes of interrupts when they were last looked at */
    int64_t wall_start; /* virtual time at which the wall clock was 0 */
    HdaStream streams[HDA_STREAMS]; /* the inputs first */
};

/* intel-hda.c */
void hda_update_irq(IntelHda *h);
/* hda-stream.c: SDnCTL is written, or the stream is no longer kept by SSYNC; interrupts are the caller's. */
void hda_stream_write_ctl(IntelHda *h, HdaStream *s, uint32_t ctl);
void hda_stream_reset(HdaStream *s);
/* For codecs. Does a stream with this tag, 1 to 15, run in this direction? */
bool hda_stream_runs(const HdaBus *b, unsigned tag, bool output);
/* Moves len bytes from the stream's buffers to buf (output), or to them. Fewer: the stream has stopped, or
 * its list of buffers has too many pieces. */
size_t hda_stream_transfer(HdaBus *b, unsigned tag, bool output, uint8_t *buf, size_t len);
extern const VmState hda_stream_state;

extern const DeviceType hda_output_type, hda_duplex_type, hda_micro_type;

/* hda-codec.c. cmd: HDA 7.1, 28 bits: node, verb, payload. */
uint32_t hda_codec_command(HdaCodec *c, uint32_t cmd);
void hda_codec_link_reset(HdaCodec *c);
void hda_codec_streams_changed(HdaCodec *c); /* one began to run, or no longer does */

#endif
