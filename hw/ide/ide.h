/* SPDX-License-Identifier: MIT
 * hw/ide/ide.h - an ATA channel: what the host adapter and the drives on its cable share.
 */
#ifndef HW_IDE_H
#define HW_IDE_H

#include "rhea/backends/drive.h"
#include "rhea/hw/ide.h"

enum { IDE_HEADS = 16, IDE_SPT = 63, IDE_MAX_CYLS = 16383 }; /* the default translation */
#define IDE_LBA28_MAX ((uint64_t)0x0fffffff)
enum { IDE_UNITS = 2, IDE_SECTOR = 512, IDE_MULTIPLE = 16, IDE_BUF = IDE_MULTIPLE * IDE_SECTOR,
       IDE_DMA_SECTORS = 256 };

typedef struct IdeDrive IdeDrive;
typedef struct IdeChannel IdeChannel;

typedef enum IdePhase { /* what a drive is doing; saved */
    IDE_IDLE,
    IDE_PIO_IN,     /* the host reads buf[pos..len) */
    IDE_PIO_OUT,    /* the host fills buf[pos..len) */
    IDE_LOAD,       /* buf[0..len) is being read from the medium */
    IDE_STORE,      /* buf[0..len) is being written to it */
    IDE_FLUSH,
    IDE_DMA_IN,     /* medium to memory, when the bus master runs */
    IDE_DMA_OUT,
    IDE_PHASES,
} IdePhase;

typedef struct IdeOps { /* the host adapter; in its domain */
    void (*irq)(void *host, IdeChannel *c, bool level);
    bool (*dma_ready)(void *host, IdeChannel *c);
    /* Moves len bytes of the current transfer; false: the descriptors ended. */
    bool (*dma_copy)(void *host, IdeChannel *c, uint8_t *buf, size_t len, bool to_guest);
    void (*dma_done)(void *host, IdeChannel *c);
} IdeOps;

struct IdeChannel {
    Bus *bus;
    IdeDrive *drive[IDE_UNITS];
    const IdeOps *ops;
    void *host;
    uint8_t select, control; /* guest-visible: device and device control registers */
};

struct IdeDrive {
    Device dev;
    DrivePort port;
    char *serial, *ver, *model;
    uint32_t physical_block, logical_block; /* properties */
    IdeChannel *channel;
    uint64_t sectors;
    CoMutex order;
    struct IdeRequest *request;
    DomainTask resume;
    /* guest-visible state */
    uint8_t reg[8], hob[8]; /* [REG_DEVICE], [REG_COMMAND] unused; hob: what was there before */
    uint8_t status, error, phase, multiple, heads, spt, dma_mode;
    bool intrq, lba48, fua, write_cache;
    uint64_t lba;
    uint32_t left;            /* sectors still to move, those in buf too when writing */
    uint32_t pos, len, block; /* buf; block: bytes of one DRQ block */
    uint8_t buf[IDE_BUF];
};

typedef struct IdeChild { /* Device.bus_data of drives */
    uint32_t unit; /* property; UINT32_MAX: what is free */
} IdeChild;
extern const VmState ide_channel_state;

/* Fills b, IDE_SECTOR bytes. */
void ide_identify_disk(const IdeDrive *d, uint8_t *b);
void ide_channel_init(IdeChannel *c, Device *host_dev, const char *name, const IdeOps *ops, void *host);
void ide_channel_reset(IdeChannel *c);      /* registers only */
void ide_channel_update(IdeChannel *c);     /* tells the adapter the line's level */
uint32_t ide_command_read(IdeChannel *c, unsigned reg, unsigned size);
void ide_command_write(IdeChannel *c, unsigned reg, uint32_t val, unsigned size);
uint8_t ide_alt_status(IdeChannel *c);
void ide_control_write(IdeChannel *c, uint8_t val);
void ide_dma_kick(IdeChannel *c);           /* the bus master was started */
void ide_dma_cancel(IdeChannel *c);         /* or stopped */

#endif
