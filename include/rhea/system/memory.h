/* SPDX-License-Identifier: MIT
 * rhea/system/memory.h - guest memory: regions, address spaces, flat views, RAM with dirty tracking.
 *
 * Regions nest and overlap (priority decides; equal: the one mapped later wins). A commit renders each
 * address space into an immutable FlatView, published by RCU. Region edits: topology lock, taken by
 * mem_begin(); allowed from the main loop and from a device's register handler (BAR, PAM writes).
 */
#ifndef RHEA_SYSTEM_MEMORY_H
#define RHEA_SYSTEM_MEMORY_H

#include "rhea/util/error.h"
#include "rhea/util/rcu.h"
#include <stdint.h>
#include <sys/types.h>

typedef uint64_t hwaddr;
#define HWADDR_FMT "0x%016" PRIx64
typedef struct Device Device;
typedef struct Machine Machine;
typedef struct MemRegion MemRegion;
typedef struct AddressSpace AddressSpace;
typedef struct RamBlock RamBlock;

typedef enum { MEM_OK, MEM_DECODE_ERROR, MEM_DEVICE_ERROR } MemResult;

typedef struct MemAttrs {
    uint16_t requester; /* PCI requester id of a DMA; vCPU index of a CPU access */
    bool cpu : 1;       /* from a vCPU */
    bool user : 1;
    bool smm : 1;
    bool debug : 1;     /* monitor, debugger: may write ROM, must have no side effects it can avoid */
} MemAttrs;
#define MEM_ATTRS_NONE ((MemAttrs){ 0 })

typedef struct MemAccess {
    hwaddr off;    /* into the region */
    unsigned size; /* 1, 2, 4 or 8 */
    MemAttrs attrs;
    MemResult result; /* MEM_OK on entry; the callback may change it */
} MemAccess;

/* One callback form. The core splits or widens what the guest did to [impl_min, impl_max]; accesses
 * outside [min, max] or (unless `unaligned`) misaligned are refused with MEM_DECODE_ERROR... except that
 * max is enforced by splitting: a guest may always access wider than a register. Zero sizes mean
 * min 1, max 8, impl_min 1, impl_max 8 (that is: as the guest did it). Values are host-endian. Called with
 * the owner's domain held, unless `lockless` or the region has no owner. */
typedef struct MemOps {
    uint64_t (*read)(void *opaque, MemAccess *a);
    void (*write)(void *opaque, MemAccess *a, uint64_t val);
    uint8_t min, max;           /* sizes the guest may use */
    uint8_t impl_min, impl_max; /* sizes the callbacks want to see; a narrower write below impl_min is
                                   zero-extended, a narrower read takes the addressed bytes */
    bool big_endian, unaligned, lockless;
} MemOps;

/* RAM of the host: pages plus one dirty bitmap per client; reference-counted. */
typedef enum { DIRTY_DISPLAY, DIRTY_MIGRATION, DIRTY_CODE, DIRTY_CLIENTS } DirtyClient;
enum { RAM_PAGE_BITS = 12, RAM_PAGE_SIZE = 1 << RAM_PAGE_BITS };
/* How the host gets pages back so that they read as zeros (rhea/system/ramdiscard.h). */
typedef enum RamDrop {
    RAM_DROP_PRIVATE, /* by forgetting what was written: below there is nothing, or a file of holes */
    RAM_DROP_SHARED,  /* by holes in the file */
    RAM_DROP_NEVER,   /* a private copy of a file, whose contents would be seen again */
} RamDrop;
struct RamBlock {
    char *name;
    uint8_t *host;       /* page-aligned */
    uint64_t size;       /* multiple of the page size */
    unsigned refs;
    Machine *machine;
    int fd;              /* of a file that others can map, else -1 */
    uint64_t page;       /* bytes of a page of the host's, huge or not */
    RamDrop drop;
    bool drop_failed;    /* atomic: the host refused once, which was told */
    bool merge_given, dump_given, discard; /* as in RamMapping */
    uint8_t *page_flags; /* atomic, per page: bit c set = client c wants to hear of the next write */
    uint8_t *code_users; /* per page: vCPUs that hold code of it; code_lock */
    pthread_mutex_t code_lock; /* leaf, also around the flag DIRTY_CODE */
    unsigned long *dirty[DIRTY_CLIENTS]; /* allocated on dirty_enable(); NULL: not tracked */
};
/* Anonymous zeroed memory, overcommitted. The name is for info and state ("pc.ram"). */
RamBlock *ram_new(Machine *m, const char *name, uint64_t size, Error **errp);
/* The same on a memfd (RamBlock.fd), for other processes to map. */
RamBlock *ram_new_shared(Machine *m, const char *name, uint64_t size, Error **errp);
/* Memory that somebody else mapped, readable and writable; all of it belongs to the block from now on. */
typedef struct RamMapping {
    void *host;
    uint64_t size;    /* a multiple of the page size, and of the size of huge pages */
    int fd;           /* -1: none */
    uint64_t page;    /* of the host's, bytes; 0: of the usual size */
    RamDrop drop;
    bool merge_given; /* -machine mem-merge= and dump-guest-core= do not count: the option said otherwise */
    bool dump_given;
    bool discard;     /* the file's contents are given back at the end */
} RamMapping;
RamBlock *ram_new_mapped(Machine *m, const char *name, const RamMapping *map);
RamBlock *ram_ref(RamBlock *ram);
void ram_unref(RamBlock *ram); /* the last one unmaps after a grace period */

/* Tells dirty clients of a write of [off, off+len). Every writer of RAM other than translated code's own
 * fast path calls it after the write: DMA, loaders, debuggers, MMIO-side copies. Any thread, lock-free;
 * one flag test per page when nobody listens. DIRTY_CODE goes to AccelOps.code_written. */
void ram_written(RamBlock *ram, uint64_t off, uint64_t len);
/* One more, one less vCPU holds code decoded from a page (a vCPU counts once for each page): the flag DIRTY_CODE is set
 * as long as there is any. first(): called when it gets set, before anybody else can join. Any thread. */
void ram_code_join(RamBlock *ram, uint64_t page, void (*first)(void *opaque), void *opaque);
void ram_code_leave(RamBlock *ram, uint64_t page);
void dirty_enable(RamBlock *ram, DirtyClient client, bool on); /* all pages become dirty for a new client */
/* Fetches and clears n bits from `page` on into bits (LSB first). Returns how many were set. */
size_t dirty_take(RamBlock *ram, DirtyClient client, size_t page, size_t n, unsigned long *bits);

struct MemRegion { /* embedded in its device; fields private to memory.c */
    Device *owner;
    const char *name;
    const MemOps *ops;
    void *opaque;
    uint64_t size; /* UINT64_MAX stands for 2^64 */
    RamBlock *ram;
    uint64_t ram_off;
    MemRegion *alias, *parent;
    hwaddr at, alias_off;
    int priority;
    bool enabled, readonly, container, rom_device;
    GList *children; /* highest priority first */
    Machine *machine; /* whose topology lock guards it; NULL until it has an owner or a rooted parent */
};
void region_init(MemRegion *r, Device *owner, const char *name, uint64_t size); /* pure container */
void region_init_io(MemRegion *r, Device *owner, const char *name, const MemOps *ops, void *opaque,
                    uint64_t size);
void region_init_ram(MemRegion *r, Device *owner, const char *name, RamBlock *ram); /* takes a reference */
void region_init_rom(MemRegion *r, Device *owner, const char *name, RamBlock *ram); /* guest writes are dropped */
/* Reads as RAM, writes go to ops (flash in array mode). */
void region_init_rom_device(MemRegion *r, Device *owner, const char *name, const MemOps *ops, void *opaque,
                            RamBlock *ram);
void region_init_alias(MemRegion *r, Device *owner, const char *name, MemRegion *of, hwaddr off,
                       uint64_t size);
void region_fini(MemRegion *r); /* must be unmapped */
void region_map(MemRegion *parent, hwaddr at, MemRegion *child, int priority);
void region_unmap(MemRegion *child);
void region_set_enabled(MemRegion *r, bool enabled);
void region_set_readonly(MemRegion *r, bool readonly); /* RAM regions */
void region_set_addr(MemRegion *r, hwaddr at);
void region_set_size(MemRegion *r, uint64_t size);
void region_set_alias_off(MemRegion *r, hwaddr off);
static inline bool region_mapped(const MemRegion *r) { return r->parent != NULL; }

/* Edits between begin and commit (nestable) become visible together at the outermost commit, which
 * publishes one new FlatView per changed address space and tells listeners and the accelerator.
 * Each edit function outside such a pair is a pair of its own. */
void mem_begin(Machine *m);
void mem_commit(Machine *m);

typedef struct FlatRange {
    hwaddr start;
    uint64_t size;   /* never 0; start + size may be 2^64 */
    uint64_t off;    /* of `start` into region */
    MemRegion *region;
    RamBlock *ram;   /* NULL: MMIO */
    uint64_t ram_off;
    uint8_t *host;   /* host address of `start` when RAM, else NULL */
    bool readonly;   /* writes do not go to host: dropped (ROM) or sent to region->ops (rom_device) */
} FlatRange;
typedef struct FlatView {
    uint32_t generation;
    uint32_t n;
    FlatRange r[]; /* sorted by start, disjoint */
} FlatView;
/* The range that holds addr, or NULL. O(log n); *hint (may be NULL) is a one-entry cache. */
const FlatRange *flatview_find(const FlatView *v, hwaddr addr, const FlatRange **hint);

typedef struct MemListener {
    void (*update)(struct MemListener *l, const FlatView *was, const FlatView *now);
    void *opaque;
} MemListener;

struct AddressSpace {
    const char *name;
    Machine *machine;
    MemRegion *root;
    FlatView *view; /* RCU */
    GSList *listeners;
    bool is_io;
};
void as_init(AddressSpace *as, Machine *m, const char *name, MemRegion *root);
void as_fini(AddressSpace *as);
void as_add_listener(AddressSpace *as, MemListener *l); /* called at once with was = NULL */
void as_remove_listener(AddressSpace *as, MemListener *l);
const FlatView *as_view(AddressSpace *as); /* inside rcu_read_lock */

/* Any length, any alignment; splits over ranges. Unassigned: reads give all-ones, writes vanish,
 * MEM_DECODE_ERROR. Takes the target device's domain around each MMIO callback if this thread does not
 * hold it. Any thread that may take a domain, or holds the one it needs. */
MemResult as_access(AddressSpace *as, hwaddr addr, void *buf, size_t len, bool write, MemAttrs attrs);
/* One access of 1, 2, 4 or 8 bytes inside one page, for vCPU slow paths and port I/O. */
MemResult as_load(AddressSpace *as, hwaddr addr, unsigned size, uint64_t *val, MemAttrs attrs);
MemResult as_store(AddressSpace *as, hwaddr addr, unsigned size, uint64_t val, MemAttrs attrs);
/* The same on a range already found (a TLB entry): addr must lie inside r, size must fit it. */
MemResult range_load(const FlatRange *r, hwaddr addr, unsigned size, uint64_t *val, MemAttrs attrs);
MemResult range_store(const FlatRange *r, hwaddr addr, unsigned size, uint64_t val, MemAttrs attrs);
/* For `info mtree`: text to append to. */
void as_print(AddressSpace *as, GString *out, bool flat);

#endif
