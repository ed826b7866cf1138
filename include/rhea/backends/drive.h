/* SPDX-License-Identifier: MIT
 * rhea/backends/drive.h - the disks of a machine: its block graph, -blockdev and -drive, and the property
 * through which a device uses one.
 *
 * A device declares PROP_DRIVE(T, port, "drive", ...), calls drive_open() in realize and then hands in
 * requests from its domain; each completes there, by a callback on the domain's home loop.
 */
#ifndef RHEA_BACKENDS_DRIVE_H
#define RHEA_BACKENDS_DRIVE_H

#include "rhea/block/block.h"
#include "rhea/block/throttle.h"
#include "rhea/system/device.h"
#include "schema/drive.h"

typedef struct MachineBlock MachineBlock;
typedef BlockThrottle DriveThrottle;

/* What -drive made: an image, or none (an empty CD drive), and how a device uses it. */
typedef struct Drive {
    char *id;
    DriveInterface iface;
    bool cdrom, write_through;
    bool account_invalid, account_failed; /* see DriveStats */
    uint32_t *intervals;                  /* of statistics, seconds */
    unsigned n_intervals;
    DriveError rerror, werror; /* what becomes of failed requests */
    unsigned bus, unit, index; /* not for DRIVE_INTERFACE_NONE */
    char *serial;              /* for the device that the board makes, NULL: its default */
    BlockNode *node;           /* NULL: no medium */
    struct DrivePort *port;    /* who uses it, NULL: nobody */
    DriveThrottle *throttle;   /* private, atomic */
} Drive;

/* A device whose medium comes and goes. In its domain. All but changed are NULL where it is taken out by
 * hand: then it is as if a tray were always open. */
typedef struct DriveMediaOps {
    bool (*tray_open)(Device *dev);
    bool (*locked)(Device *dev); /* the guest keeps the tray shut */
    void (*ask)(Device *dev);    /* the button is pressed: the guest may open it */
    void (*set_tray)(Device *dev, bool open);
    void (*changed)(Device *dev); /* the port's medium is another one, or none */
} DriveMediaOps;

/* What became of a device's requests, by kind. */
typedef enum DriveStatKind {
    DRIVE_STAT_READ, DRIVE_STAT_WRITE, DRIVE_STAT_FLUSH, DRIVE_STAT_UNMAP, DRIVE_STATS
} DriveStatKind;
enum { DRIVE_HISTOGRAM_MAX = 1000 };
typedef struct DriveHistogram {
    unsigned n;       /* boundaries; 0: there is no histogram */
    uint64_t *bounds; /* nanoseconds, rising */
    uint64_t *bins;   /* n + 1 */
} DriveHistogram;
/* What they took during the last so many seconds; depth: how many there were at a time, on average. */
typedef struct DriveTimed {
    uint32_t seconds;
    uint64_t min_ns[DRIVE_STATS], max_ns[DRIVE_STATS], mean_ns[DRIVE_STATS];
    double depth[DRIVE_STATS];
} DriveTimed;
typedef struct DriveInterval DriveInterval;
enum { DRIVE_INTERVALS_MAX = 64 };
typedef struct DriveStats {
    uint64_t bytes[DRIVE_STATS], ops[DRIVE_STATS], failed[DRIVE_STATS];
    uint64_t invalid[DRIVE_STATS];  /* that the device refused by itself */
    uint64_t total_ns[DRIVE_STATS]; /* also of failed ones */
    int64_t last;                   /* the host's monotonic time of the last one's end; 0: none yet */
    bool account_invalid;           /* refused ones move `last` */
    bool account_failed;            /* failed ones do, and their time counts */
    DriveHistogram histogram[DRIVE_STATS];
    unsigned n_intervals;
    DriveInterval *intervals; /* private; NULL in a copy */
    DriveTimed *timed;        /* of a copy: one for each interval */
} DriveStats;

/* The device's side: zero means that nothing is bound. */
typedef struct DrivePort {
    MachineBlock *block; /* NULL: not bound */
    Drive *drive;        /* NULL: a node of -blockdev was named */
    BlockNode *node;     /* held; NULL: no medium */
    BlockClient *client; /* from drive_open() on; NULL: no medium */
    Device *dev;         /* from drive_open() on */
    const DriveMediaOps *media; /* NULL: the medium stays */
    void (*resized)(Device *dev); /* the device's, or NULL; in its domain: drive_size() may be another one */
    bool read_only;
    bool may_write;      /* of removable media: read_only is the medium's */
    int rerror, werror;  /* properties: 0: the drive's; else DriveError + 1 */
    bool share_rw;       /* property */
    int account_invalid, account_failed; /* properties: AUTO: as the drive */
    DriveThrottle *throttle; /* private, atomic; with a drive: that one's counts */
    unsigned in_flight;  /* private, atomic */
    bool ends;           /* private: the device is being unplugged, and its -drive goes with it */
    bool cancels;        /* private: requests that wait for the machine end; so do those that follow them */
    uint8_t io_status;   /* DriveIoStatus of what stopped the machine last, until cont; atomic */
    GQueue held;         /* DriveRequest * that wait for the machine to go on; the device's domain */
    unsigned n_held;     /* private, atomic: their number */
    DriveStats stats;    /* private: the device's domain */
} DrivePort;
#define PROP_DRIVE(T, f, n, text) \
    { .name = (n), .doc = (text), .kind = PROP_BLOCK_, .offset = TYPED_OFFSET(T, f, DrivePort) }

typedef enum DriveIoStatus { DRIVE_IO_OK, DRIVE_IO_FAILED, DRIVE_IO_NOSPACE } DriveIoStatus;
extern const char *const drive_read_error_choices[], *const drive_write_error_choices[];
/* What becomes of failed requests, of the port `f`: for the devices' tables. */
#define PROP_DRIVE_ERRORS(T, f) \
    PROP_ENUM(T, f.rerror, "rerror", 0, drive_read_error_choices, \
              "What becomes of a failed read: report, ignore, stop; auto: as the drive"), \
    PROP_ENUM(T, f.werror, "werror", 0, drive_write_error_choices, \
              "What becomes of a failed write: report, ignore, stop, enospc; auto: as the drive")
/* That, who else may have the image, and what is counted. */
#define PROP_DRIVE_USE(T, f)                                                                                 \
    PROP_DRIVE_ERRORS(T, f),                                                                                 \
        PROP_BOOL(T, f.share_rw, "share-rw", false, "Others may write the image meanwhile"),                 \
        PROP_ONOFFAUTO(T, f.account_invalid, "account-invalid", AUTO,                                        \
                       "Requests that the device refuses count as its last use; auto: as the drive"),        \
        PROP_ONOFFAUTO(T, f.account_failed, "account-failed", AUTO,                                          \
                       "The time of failed requests counts; auto: as the drive")

/* Opens the bound disk for `dev`, in its realize: exclusively for writing, unless read_only. A port without a
 * medium, or with nothing bound, succeeds: client stays NULL. Undone with the device. */
bool drive_open(DrivePort *p, Device *dev, bool read_only, Error **errp) MAIN_LOOP;
/* The same for a drive whose medium can be taken out; with nothing bound it is empty. may_write: media are
 * written unless they are read-only; else never. */
bool drive_open_removable(DrivePort *p, Device *dev, const DriveMediaOps *media, bool may_write,
                          Error **errp) MAIN_LOOP;
/* The guest has opened or closed the tray: the event DEVICE_TRAY_MOVED. In the device's domain. */
void drive_tray_moved(DrivePort *p, bool open);
/* The medium cannot be written: asked before drive_open(), by devices that can tell their guest so. */
bool drive_medium_read_only(const DrivePort *p);
/* Reads a piece of the medium and waits for it: in realize, after drive_open(). */
bool drive_read_now(DrivePort *p, int64_t off, void *buf, size_t len, Error **errp) MAIN_LOOP;
static inline int64_t drive_size(const DrivePort *p) { return p->client ? block_size(p->node) : 0; }

typedef enum DriveOp { DRIVE_READ, DRIVE_WRITE, DRIVE_WRITE_ZEROES, DRIVE_DISCARD, DRIVE_FLUSH } DriveOp;
typedef struct DriveRequest {
    DriveOp op;
    unsigned flags;       /* BlockFlags */
    int64_t off, bytes;   /* bytes: DRIVE_WRITE_ZEROES, DRIVE_DISCARD */
    IoVec v;              /* DRIVE_READ, DRIVE_WRITE: borrowed memory; freed by who filled it in */
    CoMutex *order;       /* NULL, or: requests with the same one run one after the other */
    void (*done)(struct DriveRequest *r); /* in the device's domain; may submit again, must not block */
    void *opaque;
    int result;           /* 0 or -errno */
    int64_t start;        /* private: the host's monotonic time of drive_submit() */
    DrivePort *port;      /* private */
    BlockClient *client;  /* private */
} DriveRequest;
/* In the device's domain; the request is the caller's and stays until done() was called. done() never runs
 * inside. Only while p->client is not NULL. */
void drive_submit(DrivePort *p, DriveRequest *r);
/* The same, but on a machine that stands: from when it goes on. */
void drive_hold(DrivePort *p, DriveRequest *r);

/* A request that the device itself refuses: beyond the end, not whole sectors. In its domain. */
void drive_account_invalid(DrivePort *p, DriveStatKind kind);
/* A copy: drive_stats_clear() frees what it holds. MAIN_LOOP, no domain held. So is the next: n 0: none. */
void drive_get_stats(const DrivePort *p, DriveStats *out);
void drive_stats_clear(DriveStats *s);
bool drive_set_histogram(DrivePort *p, DriveStatKind kind, const uint64_t *bounds, unsigned n, Error **errp);

/* I/O limits: of bytes and of requests a second. */
enum {
    DRIVE_BPS = BLOCK_BPS, DRIVE_BPS_READ, DRIVE_BPS_WRITE, DRIVE_IOPS, DRIVE_IOPS_READ, DRIVE_IOPS_WRITE,
    DRIVE_LIMITS
};
typedef BlockLimit DriveLimit;
typedef BlockLimits DriveLimits;
/* From the members of -drive's throttling, or of block_set_io_throttle (qmp). */
bool drive_limits_read(const Json *o, bool qmp, DriveLimits *out, Error **errp);
/* group: NULL: the disk's own; limits without any: it joins a group that has some, or has none any more. */
bool drive_set_limits(DrivePort *p, const DriveLimits *l, const char *group, Error **errp) MAIN_LOOP;
/* False: there are none. *group is borrowed, NULL: the disk's own. */
bool drive_get_limits(const DrivePort *p, DriveLimits *out, const char **group) MAIN_LOOP;

/* -object throttle-group: limits that drives share. Removing: of one that exists. MAIN_LOOP. */
bool drive_throttle_group_new(Machine *m, const Json *opts, bool from_text, Error **errp);
bool drive_throttle_group_exists(Machine *m, const char *id);
bool drive_throttle_group_remove(Machine *m, const char *id, Error **errp); /* not while a drive is in it */

/* Media from outside. MAIN_LOOP, no domain held. When the guest has locked the tray, it is asked: *asked says
 * that the event DEVICE_TRAY_MOVED is to be waited for. `force` opens all the same. Removing and inserting
 * want an open tray. An inserted node is held. */
DrivePort *drive_port_find(Machine *m, const char *name,
                           Error **errp); /* id of a drive; id or path of a device */
bool drive_open_tray(DrivePort *p, bool force, bool *asked, Error **errp);
bool drive_close_tray(DrivePort *p, Error **errp);
bool drive_remove_medium(DrivePort *p, Error **errp);
bool drive_insert_medium(DrivePort *p, BlockNode *n, Error **errp);
/* What a user at the monitor means: the medium goes, or is exchanged and the tray closed. format: NULL: what
 * the content says. */
bool drive_eject(Machine *m, const char *name, bool force, Error **errp);
bool drive_change(Machine *m, const char *name, const char *file, const char *format, bool force,
                  OnOffAuto read_only, Error **errp);
/* Gives a disk another size: that of a drive or device, or a node's (the other name is NULL). */
bool drive_resize(Machine *m, const char *device, const char *node_name, int64_t size, Error **errp);
/* `info block`: of one drive, or of all with name NULL; false: there is none of that name. */
bool drive_print(Machine *m, const char *name, bool verbose, GString *out);

/* Options. MAIN_LOOP. */
BlockGraph *machine_block_graph(Machine *m);
bool blockdev_add_json(Machine *m, const Json *opts, bool from_text, Error **errp);
/* A node that the function above made and that nobody uses. */
bool blockdev_del(Machine *m, const char *node_name, Error **errp);
/* All disks: drives, each with its user (NULL: no device has it), then nodes that devices use (d: NULL). */
void drive_foreach_disk(Machine *m, void (*fn)(const Drive *d, const DrivePort *p, void *opaque),
                        void *opaque);
/* snapshot: the default of snapshot=. */
Drive *drive_add_json(Machine *m, const Json *opts, bool from_text, bool snapshot, Error **errp);
Drive *drive_find(Machine *m, const char *id);
unsigned drive_count(Machine *m);
Drive *drive_at(Machine *m, unsigned i); /* in order of creation */
void drive_drain(Machine *m);      /* waits until no request is in flight, turning the main loop */
void drive_drain_cancel(Machine *m); /* and those that wait for the machine to go on end with their errors */
/* vCPUs are parked: completes what is in flight, flushes and closes all. Devices find no medium then. */
void drive_remove_all(Machine *m);
void drive_register(void); /* the PROP_BLOCK_ binder. Once per process. */

#endif
