/* SPDX-License-Identifier: MIT
 * hw/block/fdc.h - the floppy controller's registers and its drives, as the files of this folder share them.
 */
#ifndef HW_BLOCK_FDC_H
#define HW_BLOCK_FDC_H

#include "rhea/backends/drive.h"
#include "rhea/hw/fdc.h"
#include "rhea/hw/isadma.h"

enum { FLOPPY_SECTOR = 512, FLOPPY_TRACKS = 84 /* steps before the end stop */ };

typedef struct FloppyFormat {
    uint16_t kib;
    uint8_t cylinders, heads, sectors, rate /* as in CCR */, kind /* of the drive it is made in */;
} FloppyFormat;

typedef struct Floppy {
    Device dev;
    DrivePort port;
    int drive_type;             /* property: index into floppy_types */
    uint8_t kind;               /* as CMOS has it */
    const FloppyFormat *format; /* of the medium; NULL: there is none that could be read */
    /* state */
    uint8_t track;
    bool changed; /* the disk change line: until the head is moved with a medium in the drive */
    uint8_t id;   /* the sector whose ID passed last */
} Floppy;
typedef struct FloppyChild { /* bus_data */
    uint32_t unit;
} FloppyChild;

void floppy_step(Floppy *d, unsigned track);

/* Phases (82078, 6.0) and, of the execution phase, what is waited for. */
enum {
    FDC_COMMAND,
    FDC_RESULT,
    FDC_READ, /* the medium */
    FDC_WRITE,
    FDC_TO_HOST,
    FDC_FROM_HOST,
    FDC_PHASES
};
enum { FDC_FIFO = 16 };
enum { CMD_MT = 0x80, CMD_MFM = 0x40, CMD_SK = 0x20, CMD_OP = 0x1f };
enum {
    OP_READ_TRACK = 0x02,
    OP_WRITE = 0x05,
    OP_READ = 0x06,
    OP_WRITE_DELETED = 0x09,
    OP_READ_DELETED = 0x0c,
    OP_FORMAT = 0x0d,
    OP_VERIFY = 0x16
};
/* 82078, 6.1 to 6.4: status registers 0 to 3. */
enum { ST0_ABNORMAL = 0x40, ST0_INVALID = 0x80, ST0_POLL = 0xc0, ST0_SEEK_END = 0x20, ST0_EQUIPMENT = 0x10 };
enum { ST1_END = 0x80, ST1_DATA = 0x20, ST1_NO_DATA = 0x04, ST1_PROTECTED = 0x02, ST1_NO_ID = 0x01 };
enum { ST2_DELETED = 0x40, ST2_DATA = 0x20, ST2_CYLINDER = 0x10, ST2_BAD_CYLINDER = 0x02 };

typedef struct FdcRequest FdcRequest;
typedef struct Fdc {
    Device dev;
    MemRegion ports, dir;
    IrqLine irq;
    Bus *bus;
    Floppy *drive[FDC_UNITS];
    CoMutex order;
    FdcRequest *request; /* the one in flight that counts, or NULL */
    unsigned forgotten;  /* others in flight: nothing starts before they end, so there is one at most */
    DomainTask resume;
    /* registers */
    uint8_t dor, tdr, rate;
    uint8_t specify[2], config, pretrk, perpendicular, spec[4];
    bool lock, irq_latched, dreq;
    uint8_t pcn[4];
    uint8_t sense[4], senses; /* status 0 that SENSE INTERRUPT has to tell; a bit for each */
    /* the command */
    uint8_t phase;
    uint8_t fifo[FDC_FIFO], pos, len; /* its bytes, then its results */
    /* the transfer: the sector it is at, as its ID has it, and the side that the head is on */
    uint8_t c, h, r, n, head, eot;
    uint8_t left; /* FORMAT, VERIFY: sectors; less one */
    bool tc;
    uint8_t buf[FLOPPY_SECTOR];
    uint16_t buf_pos, buf_len;
} Fdc;

/* fdc.c */
Floppy *fdc_drive(const Fdc *s); /* the one the command is for; NULL: there is none */
static inline bool fdc_dma(const Fdc *s) { return !(s->specify[1] & 1); }
static inline bool fdc_executes(const Fdc *s) { return s->phase >= FDC_READ; }
static inline bool fdc_host_turn(const Fdc *s) { return s->phase >= FDC_TO_HOST; }
void fdc_update(Fdc *s);                                 /* the interrupt line */
void fdc_results(Fdc *s, const uint8_t *bytes, unsigned n, bool irq);
void fdc_implied_seek(Fdc *s, unsigned track);

/* fdc-data.c */
void fdc_transfer(Fdc *s);  /* the command that is complete in the FIFO */
void fdc_format(Fdc *s);
void fdc_read_id(Fdc *s);
void fdc_pump(Fdc *s);      /* the host may be ready to take or give bytes */
void fdc_host_moved(Fdc *s); /* buf_pos has gone on, or the terminal count came */
void fdc_dma_off(Fdc *s);
void fdc_forget(Fdc *s);    /* what is in flight does not count any more */
void fdc_resume(void *opaque);

#endif
