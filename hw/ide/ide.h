/* SPDX-License-Identifier: MIT
 * hw/ide/ide.h - an ATA channel: what the host adapter, the channel's registers and the drives on its cable
 * share.
 */
#ifndef HW_IDE_H
#define HW_IDE_H

#include "rhea/backends/drive.h"
#include "rhea/hw/diskshape.h"
#include "rhea/hw/ide.h"

enum { IDE_MAX_CYLS = 16383 }; /* of the default translation */
#define IDE_LBA28_MAX ((uint64_t)0x0fffffff)
enum { IDE_UNITS = 2, IDE_SECTOR = 512, IDE_MULTIPLE = 16, IDE_BUF = IDE_MULTIPLE * IDE_SECTOR,
       IDE_DMA_BYTES = 128 << 10, IDE_TRIM_BLOCKS = 8 };

enum { ST_ERR = 0x01, ST_DRQ = 0x08, ST_DSC = 0x10, ST_DRDY = 0x40, ST_BSY = 0x80 };
enum { ER_ABRT = 0x04, ER_IDNF = 0x10, ER_UNC = 0x40 };
enum { REG_DATA, REG_FEATURE, REG_COUNT, REG_LBA0, REG_LBA1, REG_LBA2, REG_DEVICE, REG_COMMAND };
enum { DEV_UNIT = 0x10, DEV_LBA = 0x40, CTL_NIEN = 0x02, CTL_SRST = 0x04, CTL_HOB = 0x80 };
enum { IDE_DEVICE_RESET = 0x08 };

typedef struct IdeDrive IdeDrive;
typedef struct IdeChannel IdeChannel;

typedef enum IdePhase { /* what a drive is doing; saved */
    IDE_IDLE,
    IDE_PIO_IN,     /* the host reads buf[pos..len) */
    IDE_PIO_OUT,    /* the host fills buf[pos..len) */
    IDE_LOAD,       /* buf is being read from the medium */
    IDE_STORE,      /* buf[0..len) is being written to it */
    IDE_FLUSH,
    IDE_DMA_IN,     /* medium to memory, when the bus master runs */
    IDE_DMA_OUT,
    IDE_DMA_REPLY,  /* buf[pos..len) to memory, when the bus master runs */
    IDE_TRIM_DATA,  /* memory to buf[0..len), when the bus master runs: entries of what is to be discarded */
    IDE_TRIM,       /* buf[pos..len) are those that are left */
    IDE_PHASES,
} IdePhase;

typedef struct IdeOps { /* the host adapter; in its domain */
    void (*irq)(void *host, IdeChannel *c, bool level);
    bool (*dma_ready)(void *host, IdeChannel *c);
    /* Moves len bytes of the current transfer; false: the descriptors ended. */
    bool (*dma_copy)(void *host, IdeChannel *c, uint8_t *buf, size_t len, bool to_guest);
    void (*dma_done)(void *host, IdeChannel *c);
    /* The last forgotten request has ended: the adapter's own commands go on. May be NULL. */
    void (*resume)(void *host, IdeChannel *c);
} IdeOps;

struct IdeChannel {
    Bus *bus;
    IdeDrive *drive[IDE_UNITS];
    const IdeOps *ops;
    void *host;
    unsigned units;          /* places: 2, or 1 on a serial link */
    bool sata;
    uint8_t select, control; /* guest-visible: device and device control registers */
};

typedef struct IdeRequest {
    DriveRequest r;
    IdeDrive *d; /* forgotten: d->request is another one, or none */
    unsigned blocks; /* of the medium; for the drive's own use */
    int64_t range;   /* bytes of a discard, which has no data */
    size_t bytes;
    uint8_t *data;
} IdeRequest;

/* What kind of drive it is. In the adapter's domain. */
typedef struct IdeKind {
    uint8_t signature[4]; /* registers REG_COUNT to REG_LBA2 after a reset (ATA/ATAPI-6 9.12) */
    uint8_t idle;         /* status when a command has ended */
    uint8_t after_reset;  /* status then */
    bool packet;          /* takes DEVICE RESET at any time */
    bool queued;          /* an IdeDisk; on a serial link the adapter carries out its queued commands */
    void (*command)(IdeDrive *d, uint8_t cmd);
    void (*block_end)(IdeDrive *d); /* the host has read or filled buf[pos..len) */
    /* Goes on with a phase that needs the medium or the bus master: after a load, or when that starts. */
    void (*start)(IdeDrive *d);
    void (*done)(IdeDrive *d, IdeRequest *q); /* q->r.result */
    void (*reset)(IdeDrive *d); /* with the registers; may be NULL */
} IdeKind;

struct IdeDrive {
    Device dev;
    DrivePort port;
    char *serial, *ver, *model; /* properties: */
    int32_t bootindex;
    uint64_t wwn;
    int write_cache; /* the disk's when it is switched on */
    const IdeKind *kind;
    IdeChannel *channel;
    CoMutex order;
    IdeRequest *request;
    /* Requests in flight that do not count any more, an adapter's too: nothing starts before they end. So a
     * guest cannot make more and more of them, and none comes after what was written later. */
    unsigned forgotten;
    DomainTask resume;
    /* guest-visible state */
    uint8_t reg[8], hob[8]; /* [REG_DEVICE], [REG_COMMAND] unused; hob: what was there before */
    uint8_t status, error, phase, dma_mode;
    bool intrq;
    uint64_t lba;
    uint32_t left;            /* blocks of the medium still to move */
    uint32_t pos, len, block; /* buf; block: bytes of one DRQ block, at most */
    uint8_t buf[IDE_BUF];
};

typedef struct IdeDisk {
    IdeDrive d;
    DiskShape shape; /* properties */
    uint16_t rotation_rate;
    uint64_t sectors;
    /* guest-visible state */
    uint8_t multiple, heads, spt;
    bool lba48, fua, write_cache;
} IdeDisk;

typedef struct IdeChild { /* Device.bus_data of drives */
    uint32_t unit; /* property; UINT32_MAX: what is free */
} IdeChild;
extern const VmState ide_channel_state;

/* identify.c; ide_identify_disk fills IDE_SECTOR bytes. */
void ide_put_word(uint8_t *buf, unsigned word, unsigned v);
void ide_put_text(uint8_t *buf, unsigned word, unsigned words, const char *s);
void ide_identify_disk(const IdeDisk *k, uint8_t *b);
void ide_put_wwn(uint8_t *b, uint64_t wwn); /* 0: none; after words 84 and 87 are there */

/* trim.c: of an IdeDisk. DATA SET MANAGEMENT, its two phases, and whether a loaded one can be. */
void ide_trim_command(IdeDrive *d);
void ide_trim_start(IdeDrive *d);
void ide_trim_done(IdeDrive *d, const IdeRequest *q);
bool ide_trim_loaded(const IdeDisk *k);
static inline bool ide_can_trim(const IdeDisk *k)
{
    return k->shape.granularity;
}

/* cable.c, channel.c: for adapters */
void ide_channel_init(IdeChannel *c, Device *host_dev, const char *name, const IdeOps *ops, void *host);
void ide_channel_reset(IdeChannel *c);      /* registers only */
void ide_channel_update(IdeChannel *c);     /* tells the adapter the line's level */
uint32_t ide_command_read(IdeChannel *c, unsigned reg, unsigned size);
void ide_command_write(IdeChannel *c, unsigned reg, uint32_t val, unsigned size);
uint8_t ide_alt_status(IdeChannel *c);
void ide_control_write(IdeChannel *c, uint8_t val);
void ide_dma_kick(IdeChannel *c);           /* the bus master was started */
void ide_dma_cancel(IdeChannel *c);         /* or stopped */

/* drive.c: what drives have in common. ide_drive_type is the base of their types. */
extern const DeviceType ide_drive_type;
bool ide_drive_check_texts(const IdeDrive *d, Error **errp);
void ide_drive_default_serial(IdeDrive *d);
void ide_drive_interrupt(IdeDrive *d);
/* The host's turn with buf[pos..len). */
void ide_drive_drq(IdeDrive *d, IdePhase phase, uint32_t pos, uint32_t len);
void ide_drive_finish(IdeDrive *d, uint8_t error); /* the command has ended: status, interrupt */
void ide_drive_busy(IdeDrive *d, IdePhase phase);  /* and starts it */
void ide_drive_reset_registers(IdeDrive *d);
void ide_drive_forget(IdeDrive *d);                /* the request in flight */
void ide_drive_forgotten_ended(IdeDrive *d);       /* after the last one: what had to wait starts */
void ide_drive_diagnostic(IdeChannel *c);          /* EXECUTE DEVICE DIAGNOSTIC: both drives */
bool ide_drive_set_mode(IdeDrive *d);              /* SET FEATURES 03h; false: not possible */
static inline bool ide_phase_dma(const IdeDrive *d)
{
    return d->phase == IDE_DMA_IN || d->phase == IDE_DMA_OUT || d->phase >= IDE_DMA_REPLY;
}
IdeRequest *ide_request_new(size_t bytes);
void ide_request_free(IdeRequest *q);
void ide_request_submit(IdeDrive *d, IdeRequest *q, DriveOp op, uint64_t off, unsigned flags);

#endif
