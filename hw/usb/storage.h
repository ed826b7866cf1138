/* SPDX-License-Identifier: MIT
 * hw/usb/storage.h - usb-storage: storage.c moves commands and data over USB, storage-scsi.c carries commands
 * out.
 */
#ifndef HW_USB_STORAGE_H
#define HW_USB_STORAGE_H

#include "rhea/backends/drive.h"
#include "rhea/hw/diskshape.h"
#include "rhea/hw/usb.h"

typedef enum StoragePhase { STORE_COMMAND, STORE_OUT, STORE_IN, STORE_STATUS, STORE_PHASES } StoragePhase;
typedef enum StorageKind { STORE_REPLY, STORE_READ, STORE_WRITE, STORE_KINDS } StorageKind;
enum { STORE_CDB = 16, STORE_REPLY_SIZE = 256, STORE_GATHER = 4096 };

typedef struct StorageRequest { /* to the disk; outlives a packet that is cancelled */
    DriveRequest r;
    struct UsbStorage *s; /* forgotten: s->request is another one, or none */
    uint8_t *data;
    uint64_t at;
    uint32_t len, taken; /* taken: of the packet */
} StorageRequest;

typedef struct UsbStorage {
    UsbDevice u;
    DrivePort drive;
    DiskShape shape;
    int32_t bootindex;
    int write_cache;
    bool removable;
    char *own_serial;
    CoMutex order;
    uint64_t blocks;
    StorageRequest *request; /* under way */
    unsigned forgotten;      /* others: nothing begins before they end, so there is one at most */
    UsbPacket *packet;       /* what waits for it */
    DomainTask wake;
    bool waited;    /* a packet was sent away */
    uint8_t *cache; /* what was read last, of the medium from cache_at on */
    uint64_t cache_at;
    uint32_t cache_len;
    /* guest-visible state */
    uint8_t phase, kind, status;
    bool broken;        /* until the reset of the transport (5.3.4 of it) */
    bool flush;         /* before the status */
    uint32_t tag, left; /* left: of the data that the host announced */
    uint32_t padded;    /* of these, filled up behind what the command had */
    uint64_t avail;     /* of what the command itself moves */
    uint64_t pos;       /* on the medium, or in the reply; bytes */
    uint8_t cdb[STORE_CDB], reply[STORE_REPLY_SIZE];
    uint8_t sense[3]; /* key, code, qualifier */
    uint32_t gathered;
    uint8_t gather[STORE_GATHER]; /* written data that is no whole piece yet */
} UsbStorage;
#define storage_of(D) usb_device_of(UsbStorage, D)

/* Decodes s->cdb: kind, avail, pos, reply, status, flush. to_host: what the transport says of the direction.
 */
void storage_execute(UsbStorage *s);
void storage_sense(UsbStorage *s, uint8_t key, uint8_t code,
                   uint8_t qualifier); /* and the command has failed */

#endif
