/* SPDX-License-Identifier: MIT
 * hw/virtio/virtio-balloon.c - the balloon: a guest gives memory back, and tells how much it has:
 *   `-device virtio-balloon-pci`; on boards with transports in memory virtio-balloon-device.
 *
 * Models: virtio 1.2, 5.5 (traditional memory balloon): inflating and deflating (balloon-pages.c),
 *         statistics, page poison, free page reporting. Offers MUST_TELL_HOST where host pages are larger.
 *         Reports are taken on queue 3 as well as on 4, where 5.5.2 has them: Linux (6.1 at least) and QEMU
 *         leave the queue of free page hinting out when they count.
 * Does not model: free page hinting, which is for migration.
 * Threads: the device's domain; live properties and what monitors ask, the main loop.
 */
#include "balloon-pages.h"
#include "rhea/system/balloon.h"
#include "rhea/system/liveprop.h"
#include "rhea/system/ramdiscard.h"
#include "rhea/util/log.h"
#include "rhea/hw/virtio-types.h"

#include <string.h>

enum {
    BALLOON_CLASS = 5,
    BALLOON_QUEUE = 128,
    BALLOON_BATCH = 1024,           /* pages that are dealt with at once, and until others have their turn */
    BALLOON_COST = 64,              /* what a buffer counts there, beside its pages */
    BALLOON_REPORT_MAX = 256 << 20, /* bytes of one report that count; Linux sends half of it at most */
    BALLOON_STATS = 10,
    BALLOON_STAT_SIZE = 10,         /* bytes: le16 tag, le64 value */
    BALLOON_STATS_READ = 64,        /* so many are looked at */
    BALLOON_CONFIG_SHORT = 8,       /* bytes: without poison_val */
    BALLOON_CONFIG = 16,
};
enum { INFLATEQ, DEFLATEQ, STATSQ, FREEPAGEQ, REPORTQ, BALLOON_QUEUES };
/* 5.5.3 */
#define BALLOON_F_MUST_TELL (UINT64_C(1) << 0)
#define BALLOON_F_STATS     (UINT64_C(1) << 1)
#define BALLOON_F_OOM       (UINT64_C(1) << 2)
#define BALLOON_F_POISON    (UINT64_C(1) << 4)
#define BALLOON_F_REPORTING (UINT64_C(1) << 5)

typedef struct VirtioBalloon {
    VirtioDevice v;
    bool deflate_on_oom, page_poison, reporting; /* properties */
    BalloonPages pages;
    DomainTask more, tell;
    Timer poll;
    uint32_t interval;    /* property: seconds between polls of the statistics; 0: none */
    uint32_t num_pages;   /* 5.5.4: what the host wants, what the driver says */
    uint32_t actual, poison;
    uint8_t written[BALLOON_CONFIG]; /* by the driver: a value counts with its last byte */
    uint64_t done[2];     /* bytes of the first buffer in INFLATEQ, DEFLATEQ that were dealt with */
    bool stats_ready;     /* a buffer whose statistics were read waits in the ring until the next poll */
    bool stats_garbage;   /* a legacy driver's first buffer may hold anything (5.5.6.3.3) */
    bool goes_on;         /* `more` is about to run */
    uint64_t stats[BALLOON_STATS];
    int64_t last_update;  /* host's seconds since 1970; 0: never */
} VirtioBalloon;
#define balloon_of(V) ((VirtioBalloon *)(V))

static const char *const stat_names[BALLOON_STATS] = {
    "stat-swap-in", "stat-swap-out", "stat-major-faults", "stat-minor-faults", "stat-free-memory",
    "stat-total-memory", "stat-available-memory", "stat-disk-caches", "stat-htlb-pgalloc", "stat-htlb-pgfail",
};

/* ---- inflate, deflate ---- */

static void balloon_go_on_later(VirtioBalloon *s)
{
    s->goes_on = true;
    domain_post(&s->more);
}

/* Some of a buffer's page numbers, from s->done on. False: it is done with. */
static bool balloon_pages(VirtioBalloon *s, unsigned n, const VirtElem *e, unsigned *turn)
{
    uint32_t pages[BALLOON_BATCH];
    uint64_t all = e->out.bytes & ~(size_t)3, left = all - MIN(all, s->done[n]);
    size_t count = MIN(left / 4, BALLOON_BATCH);
    iov_to_buf(&e->out, all - left, pages, 4 * count);
    for (size_t i = 0; i < count; i++) {
        pages[i] = GUINT32_FROM_LE(pages[i]);
    }
    (n == INFLATEQ ? balloon_pages_give : balloon_pages_take)(&s->pages, &s->v.dev, pages, count);
    *turn += (unsigned)count + BALLOON_COST;
    s->done[n] = all - left + 4 * count;
    return s->done[n] < all;
}

static void balloon_serve_pages(VirtioBalloon *s, unsigned n)
{
    VirtQueue *q = &s->v.q[n];
    VirtElem *e;
    unsigned turn = 0;
    s->pages.collect = virtio_has(&s->v, BALLOON_F_MUST_TELL);
    do {
        while ((e = virtq_pop(&s->v, q)) != NULL) {
            if (balloon_pages(s, n, e, &turn)) {
                virtq_unpop(&s->v, e);
            } else {
                s->done[n] = 0;
                virtq_push(&s->v, e, 0);
            }
            if (turn >= BALLOON_BATCH) {
                balloon_go_on_later(s);
                return;
            }
        }
    } while (virtq_rearm(&s->v, q));
}

/* ---- free page reporting ---- */

/* Free memory may be given back when it may come back as zeros. */
static bool balloon_reports_count(const VirtioBalloon *s)
{
    return virtio_has(&s->v, BALLOON_F_REPORTING) && !(virtio_has(&s->v, BALLOON_F_POISON) && s->poison);
}

static void balloon_report(const VirtElem *e)
{
    uint64_t room = BALLOON_REPORT_MAX;
    for (unsigned i = e->n_out; room && i < e->n; i++) {
        const DmaMap *map = &e->maps[i];
        for (unsigned k = 0; room && k < map->n; k++) {
            uint64_t len = MIN(map->iov[k].iov_len, room);
            balloon_pages_free(map->ram[k], map->ram_off[k], len);
            room -= len;
        }
    }
}

static void balloon_serve_reports(VirtioBalloon *s, unsigned n)
{
    VirtQueue *q = &s->v.q[n];
    VirtElem *e;
    bool count = balloon_reports_count(s);
    do {
        if ((e = virtq_pop(&s->v, q)) != NULL) {
            if (count) {
                balloon_report(e);
            }
            virtq_push(&s->v, e, 0);
            balloon_go_on_later(s); /* one at a time: a large one takes its time */
            return;
        }
    } while (virtq_rearm(&s->v, q));
}

/* ---- statistics ---- */

static void balloon_stats_clear(VirtioBalloon *s)
{
    memset(s->stats, 0xff, sizeof(s->stats)); /* what a guest does not tell is -1 */
}

static void balloon_stats_read(VirtioBalloon *s, const VirtElem *e)
{
    uint8_t buf[BALLOON_STATS_READ * BALLOON_STAT_SIZE];
    size_t n = MIN(e->out.bytes / BALLOON_STAT_SIZE, BALLOON_STATS_READ);
    iov_to_buf(&e->out, 0, buf, n * BALLOON_STAT_SIZE);
    balloon_stats_clear(s);
    for (size_t i = 0; i < n; i++) {
        uint16_t tag;
        uint64_t val;
        memcpy(&tag, buf + i * BALLOON_STAT_SIZE, sizeof(tag));
        memcpy(&val, buf + i * BALLOON_STAT_SIZE + sizeof(tag), sizeof(val));
        tag = GUINT16_FROM_LE(tag);
        if (tag < BALLOON_STATS) {
            s->stats[tag] = GUINT64_FROM_LE(val);
        }
    }
    s->last_update = g_get_real_time() / G_USEC_PER_SEC;
}

static void balloon_poll_in(VirtioBalloon *s, uint64_t seconds)
{
    if (s->interval) {
        timer_arm(&s->poll, clock_now(s->v.dev.machine->clock) + (int64_t)seconds * 1000000000);
    }
}

/* The buffer stays in the ring, where it is found again after whatever comes between. */
static void balloon_stats_take(VirtioBalloon *s)
{
    VirtElem *e = s->stats_ready ? NULL : virtq_pop(&s->v, &s->v.q[STATSQ]);
    if (e) {
        if (!s->stats_garbage) {
            balloon_stats_read(s, e);
        }
        s->stats_garbage = false;
        s->stats_ready = true;
        virtq_unpop(&s->v, e);
        balloon_poll_in(s, s->interval);
    }
}

/* The driver gets its buffer back, which asks it for new statistics; its answer sets the next time. */
static void balloon_poll(void *opaque)
{
    VirtioBalloon *s = opaque;
    VirtQueue *q = &s->v.q[STATSQ];
    VirtElem *e = s->stats_ready ? virtq_pop(&s->v, q) : NULL;
    s->stats_ready = false;
    if (!e) { /* there is no driver, or it has not answered */
        balloon_poll_in(s, s->interval);
        return;
    }
    virtq_push(&s->v, e, 0);
    if (virtq_rearm(&s->v, q)) {
        balloon_stats_take(s);
    }
}

/* ---- configuration ---- */

static uint64_t balloon_bytes(const VirtioBalloon *s)
{
    uint64_t all = s->v.dev.machine->ram_size, held = (uint64_t)s->actual * BALLOON_PAGE;
    return all - MIN(all, held);
}

/* Once for all writes until the main loop gets there: a guest cannot flood it. */
static void balloon_tell(void *opaque)
{
    VirtioBalloon *s = opaque;
    Json *data = json_put(json_new_object(), "actual", json_new_uint(balloon_bytes(s)));
    machine_event(s->v.dev.machine, "BALLOON_CHANGE", data);
}

static void balloon_set_actual(VirtioBalloon *s, uint32_t pages)
{
    if (s->actual != pages) {
        s->actual = pages;
        domain_post(&s->tell);
    }
}

static void put_le32(uint8_t *p, uint32_t v)
{
    v = GUINT32_TO_LE(v);
    memcpy(p, &v, sizeof(v));
}

static uint32_t get_le32(const uint8_t *p)
{
    uint32_t v;
    memcpy(&v, p, sizeof(v));
    return GUINT32_FROM_LE(v);
}

static void balloon_get_config(VirtioDevice *v, uint8_t *config)
{
    const VirtioBalloon *s = balloon_of(v);
    put_le32(config, s->num_pages);
    put_le32(config + 4, s->actual);
    if (v->class->config_size == BALLOON_CONFIG) {
        put_le32(config + 8, 0); /* of free page hinting */
        put_le32(config + 12, s->poison);
    }
}

/* 5.5.6: drivers may write byte by byte. */
static void balloon_config_written(VirtioDevice *v, unsigned off, unsigned len, uint32_t val)
{
    VirtioBalloon *s = balloon_of(v);
    for (unsigned i = 0; i < len && off + i < BALLOON_CONFIG; i++) {
        s->written[off + i] = (uint8_t)(val >> 8 * i);
    }
    if (off <= 7 && off + len > 7) {
        balloon_set_actual(s, get_le32(s->written + 4));
    }
    if (off <= 15 && off + len > 15 && virtio_has(v, BALLOON_F_POISON)) {
        s->poison = get_le32(s->written + 12);
    }
}

/* ---- what monitors ask ---- */

static void balloon_want(Device *dev, uint64_t bytes)
{
    VirtioBalloon *s = balloon_of(dev_as(VirtioDevice, dev));
    uint64_t pages = (dev->machine->ram_size - bytes) / BALLOON_PAGE;
    domain_lock(dev->domain);
    s->num_pages = (uint32_t)MIN(pages, UINT32_MAX);
    virtio_config_changed(&s->v);
    domain_unlock(dev->domain);
}

static uint64_t balloon_actual_bytes(Device *dev)
{
    domain_lock(dev->domain);
    uint64_t bytes = balloon_bytes(balloon_of(dev_as(VirtioDevice, dev)));
    domain_unlock(dev->domain);
    return bytes;
}

static const BalloonOps balloon_ops = { .set = balloon_want, .actual = balloon_actual_bytes };

static Json *balloon_get_stats(Device *dev)
{
    const VirtioBalloon *s = balloon_of(dev_as(VirtioDevice, dev));
    Json *stats = json_new_object();
    domain_lock(dev->domain);
    for (unsigned i = 0; i < BALLOON_STATS; i++) {
        json_put(stats, stat_names[i], json_new_uint(s->stats[i]));
    }
    Json *all = json_put(json_new_object(), "stats", stats);
    json_put(all, "last-update", json_new_int(s->last_update));
    domain_unlock(dev->domain);
    return all;
}

static Json *balloon_get_interval(Device *dev)
{
    return json_new_int(balloon_of(dev_as(VirtioDevice, dev))->interval); /* the main loop's */
}

static bool balloon_set_interval(Device *dev, const Json *value, Error **errp)
{
    VirtioBalloon *s = balloon_of(dev_as(VirtioDevice, dev));
    uint64_t seconds;
    if (!json_get_uint(value, &seconds) || seconds > UINT32_MAX) {
        g_autofree char *text = json_format(value, false);
        error_set(errp, "property 'guest-stats-polling-interval' does not accept %.40s", text);
        error_hint(errp, "seconds from 1 to %u; 0 ends polling", UINT32_MAX);
        return false;
    }
    domain_lock(dev->domain);
    bool began = !s->interval;
    if (s->interval != seconds) {
        s->interval = (uint32_t)seconds;
        timer_cancel(&s->poll);
        balloon_poll_in(s, began ? 0 : seconds);
    }
    domain_unlock(dev->domain);
    return true;
}

static const LiveProp balloon_live[] = {
    { "guest-stats", "guest statistics", "What the guest told of its memory, and when", balloon_get_stats,
      NULL },
    { "guest-stats-polling-interval", "int", "Seconds between questions for that; 0: none is asked",
      balloon_get_interval, balloon_set_interval },
    { 0 },
};

/* ---- life ---- */

static void balloon_serve(VirtioBalloon *s, unsigned n)
{
    if (n == STATSQ) {
        balloon_stats_take(s);
    } else if (s->goes_on) {
        return; /* its turn comes */
    } else if (n <= DEFLATEQ) {
        balloon_serve_pages(s, n);
    } else {
        balloon_serve_reports(s, n);
    }
}

static void balloon_go_on(void *opaque)
{
    VirtioBalloon *s = opaque;
    s->goes_on = false;
    for (unsigned n = 0; n < s->v.n_queues; n++) {
        bool posted = s->goes_on;
        s->goes_on = false; /* each queue has its turn */
        balloon_serve(s, n);
        s->goes_on |= posted;
    }
}

static void balloon_kick(VirtioDevice *v, VirtQueue *q)
{
    balloon_serve(balloon_of(v), (unsigned)(q - v->q));
}

/* The driver's reset: its memory is its own again. What it told stays, and what the host wants. */
static void balloon_driver_reset(VirtioDevice *v)
{
    VirtioBalloon *s = balloon_of(v);
    balloon_pages_forget(&s->pages);
    balloon_set_actual(s, 0);
    memset(s->written, 0, sizeof(s->written));
    memset(s->done, 0, sizeof(s->done));
    s->poison = 0;
    s->stats_ready = false;
    s->stats_garbage = false;
}

static void balloon_started(VirtioDevice *v)
{
    balloon_of(v)->stats_garbage = v->legacy && !balloon_of(v)->stats_ready;
}

static const PciOps balloon_pci_ops[VIRTIO_PCI_VARIANTS] = VIRTIO_PCI_OPS(BALLOON_CLASS, 0x1002, 0x00ff00);

#define BALLOON_CLASS_OF(CONFIG_SIZE)                                                                        \
    {                                                                                                        \
        .id = BALLOON_CLASS, .pci = balloon_pci_ops, .kick = balloon_kick, .get_config = balloon_get_config, \
        .config_written = balloon_config_written, .reset = balloon_driver_reset, .started = balloon_started, \
        .config_size = (CONFIG_SIZE), .elem_size = sizeof(VirtElem),                                         \
    }
static const VirtioClass balloon_class = BALLOON_CLASS_OF(BALLOON_CONFIG),
                         balloon_short_class = BALLOON_CLASS_OF(BALLOON_CONFIG_SHORT);

static void balloon_fini(void *opaque)
{
    VirtioBalloon *s = opaque;
    balloon_pages_fini(&s->pages);
}

static bool balloon_realize(Device *dev, Error **errp)
{
    VirtioBalloon *s = balloon_of(dev_as(VirtioDevice, dev));
    Machine *m = dev->machine;
    if (!balloon_register(dev, &balloon_ops, errp)) {
        return false;
    }
    if (ram_discard_forbidden(m) & RAM_KEEP_LOCKED) {
        log_warn("device '%s': what the guest gives away stays with this process (-overcommit mem-lock=)",
                 device_name(dev));
    }
    balloon_pages_init(&s->pages, m);
    device_add_cleanup(dev, balloon_fini, s);
    device_add_task(dev, &s->more, balloon_go_on);
    device_add_task(dev, &s->tell, balloon_tell);
    device_add_timer(dev, &s->poll, balloon_poll);
    balloon_stats_clear(s);
    balloon_poll_in(s, s->interval);
    s->v.features = BALLOON_F_STATS | (ram_largest_page(m) > BALLOON_PAGE ? BALLOON_F_MUST_TELL : 0) |
                    (s->deflate_on_oom ? BALLOON_F_OOM : 0) | (s->page_poison ? BALLOON_F_POISON : 0) |
                    (s->reporting ? BALLOON_F_REPORTING : 0);
    return virtio_start(&s->v, s->page_poison ? &balloon_class : &balloon_short_class,
                        s->reporting ? BALLOON_QUEUES : FREEPAGEQ, BALLOON_QUEUE, errp);
}

static void balloon_reset(Device *dev, ResetKind kind G_GNUC_UNUSED)
{
    balloon_of(dev_as(VirtioDevice, dev))->goes_on = false;
}

/* Which parts of the host's large pages the guest had given away is not saved: those stay with it. */
static bool balloon_post_load(void *opaque, Error **errp)
{
    VirtioBalloon *s = opaque;
    balloon_pages_forget(&s->pages);
    if (!virtio_post_load(&s->v, errp)) {
        return false;
    }
    timer_cancel(&s->poll);
    balloon_poll_in(s, s->interval);
    if (s->goes_on) {
        domain_post(&s->more);
    }
    return true;
}

#define BALLOON_FIELDS                                                                                       \
    VM_U32(VirtioBalloon, num_pages), VM_U32(VirtioBalloon, actual), VM_U32(VirtioBalloon, poison),          \
        VM_U8_ARRAY(VirtioBalloon, written), VM_U64_ARRAY(VirtioBalloon, done),                              \
        VM_BOOL(VirtioBalloon, stats_ready), VM_BOOL(VirtioBalloon, stats_garbage),                          \
        VM_BOOL(VirtioBalloon, goes_on)

VIRTIO_STATES(balloon, VirtioBalloon, "virtio-balloon", 3, 3, 4, 4, BALLOON_FIELDS,
              .post_load = balloon_post_load);

#define BALLOON_PROPS                                                                                        \
    PROP_BOOL(VirtioBalloon, deflate_on_oom, "deflate-on-oom", false,                                        \
              "The guest may take memory back before it ends programs for the lack of it"),                  \
        PROP_BOOL(VirtioBalloon, page_poison, "page-poison", true,                                           \
                  "The guest may tell that its free memory has a certain contents"),                         \
        PROP_BOOL(VirtioBalloon, reporting, "free-page-reporting", false,                                    \
                  "The guest gives free memory back by itself"),                                             \
        PROP_U32(VirtioBalloon, interval, "guest-stats-polling-interval", 0, 0, UINT32_MAX,                  \
                 "Seconds between questions for the guest's statistics; 0: none is asked"),                  \
        PROP_NEVER("guest-stats", "the guest tells them", "leave it out; QMP's qom-get reads them"),         \
        PROP_ONLY_BOOL("free-page-hint", false, "it leaves free memory out of a migration, and machines "    \
                       "cannot migrate yet", "leave it out; free-page-reporting=on gives free memory back"), \
        PROP_ONLY_BOOL("qemu-4-0-config-size", false, "a switch for QEMU's older machine types",             \
                       "leave it out"),                                                                      \
        PROP_NEVER("iothread", "it serves free page hinting, which there is not", "leave it out")

VIRTIO_PROPS(balloon, VirtioBalloon, BALLOON_PROPS);
VIRTIO_TYPES(virtio_balloon, balloon, VirtioBalloon, "virtio-balloon", "Virtio memory balloon",
             balloon_pci_props, balloon_mmio_props, .live = balloon_live, .category = "Misc",
             .realize = balloon_realize, .reset = balloon_reset);
