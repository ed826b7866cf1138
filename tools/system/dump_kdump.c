/* SPDX-License-Identifier: MIT
 * tools/system/dump_kdump.c - guest memory as a kdump-compressed file (pages by zlib), flattened.
 *
 * Models: makedumpfile's IMPLEMENTATION and diskdump header, version 6: header, sub-header with the ELF
 * notes, two bitmaps of page frames, page descriptors, pages. Flattened: a stream of pieces, each with its
 * place in the file that `makedumpfile -R` makes; crash reads it as it is. Does not model: the split format.
 * Threads: the dump's.
 */
#include "dump.h"
#include "rhea/util/errorcode.h"

#include <string.h>
#include <zlib.h>

enum {
    PAGE = 4096,
    FLAT_HEAD = 4096,
    HEADER_VERSION = 6,
    ZLIB = 1,
    DUMP_LEVEL = 1,
    DESC = 24,
    BATCH = 1 << 20,
    MAP_MAX = 1 << 16 /* blocks: frames of 8 TiB */
};

typedef struct Kdump {
    DumpPlan *p;
    uint64_t max_pfn, pages;         /* page frames: one more than the last; how many there are */
    unsigned sub_blocks, map_blocks; /* of PAGE bytes; of both bitmaps */
    uint64_t desc_at, data_at;       /* places in the file */
    GByteArray *desc, *data;         /* what comes there next */
    uint8_t *packed;                 /* room for a page that does not become smaller */
    unsigned packed_size;
} Kdump;

/* ---- the stream ---- */

static void put_be64(uint8_t *to, uint64_t val)
{
    val = GUINT64_TO_BE(val);
    memcpy(to, &val, 8);
}

static bool put_start(Kdump *k, Error **errp)
{
    uint8_t head[FLAT_HEAD] = "makedumpfile";
    put_be64(head + 16, 1); /* type: flattened */
    put_be64(head + 24, 1); /* version */
    return dump_put(k->p, head, sizeof(head), errp);
}

/* What lies at `at` of the file. */
static bool put_piece(Kdump *k, uint64_t at, const void *data, size_t len, Error **errp)
{
    uint8_t head[16];
    put_be64(head, at);
    put_be64(head + 8, len);
    return dump_put(k->p, head, sizeof(head), errp) && dump_put(k->p, data, len, errp);
}

static bool put_end(Kdump *k, Error **errp)
{
    uint8_t head[16];
    put_be64(head, UINT64_MAX);
    put_be64(head + 8, UINT64_MAX);
    return dump_put(k->p, head, sizeof(head), errp);
}

/* ---- headers ---- */

static void pad_to(GByteArray *out, size_t len)
{
    dump_zeros(out, len - out->len);
}

static bool put_header(Kdump *k, Error **errp)
{
    const bool wide = k->p->wide;
    g_autoptr(GByteArray) h = g_byte_array_new();
    g_byte_array_append(h, (const uint8_t *)"KDUMP   ", 8);
    dump_number(h, HEADER_VERSION, 4);
    dump_zeros(h, 4 * 65); /* utsname: system, node, release, version */
    const char *machine = wide ? "x86_64" : "i686";
    g_byte_array_append(h, (const uint8_t *)machine, (guint)strlen(machine));
    pad_to(h, wide ? 408 : 404);  /* the rest of utsname, aligned */
    dump_zeros(h, wide ? 16 : 8); /* when */
    dump_number(h, ZLIB, 4);      /* status */
    dump_number(h, PAGE, 4);
    dump_number(h, k->sub_blocks, 4);
    dump_number(h, k->map_blocks, 4);
    dump_number(h, MIN(k->max_pfn, UINT32_MAX), 4);
    dump_zeros(h, 3 * 4); /* blocks of RAM, of devices, written */
    dump_zeros(h, 4);     /* the CPU that crashed */
    dump_number(h, k->p->n_cpus, 4);
    pad_to(h, PAGE);
    return put_piece(k, 0, h->data, h->len, errp);
}

static unsigned sub_header_size(const Kdump *k)
{
    return k->p->wide ? 104 : 80;
}

static bool put_sub_header(Kdump *k, Error **errp)
{
    const unsigned word = k->p->wide ? 8 : 4;
    const uint64_t notes_at = PAGE + sub_header_size(k);
    g_autoptr(GByteArray) h = g_byte_array_new();
    dump_number(h, k->p->phys_base, word);
    dump_number(h, DUMP_LEVEL, 4);
    dump_number(h, 0, 4);    /* split */
    dump_number(h, 0, word); /* first and last frame of a split file */
    dump_number(h, 0, word);
    dump_number(h, k->p->info_len ? notes_at + k->p->info_at : 0, 8); /* vmcoreinfo */
    dump_number(h, k->p->info_len, word);
    dump_number(h, notes_at, 8); /* notes */
    dump_number(h, k->p->notes->len, word);
    dump_number(h, 0, 8); /* eraseinfo */
    dump_number(h, 0, word);
    dump_number(h, 0, 8); /* the frames again, in 64 bits */
    dump_number(h, 0, 8);
    dump_number(h, k->max_pfn, 8);
    pad_to(h, sub_header_size(k));
    g_byte_array_append(h, k->p->notes->data, k->p->notes->len);
    pad_to(h, (size_t)k->sub_blocks * PAGE);
    return put_piece(k, PAGE, h->data, h->len, errp);
}

/* ---- page frames ---- */

static const DumpRange *range_at(const Kdump *k, unsigned i)
{
    return &g_array_index(k->p->ranges, DumpRange, i);
}

static uint64_t first_frame(const DumpRange *r)
{
    return r->start / PAGE;
}

static uint64_t last_frame(const DumpRange *r)
{
    return (r->start + r->size - 1) / PAGE;
}

/* Frames in which a range ends and the next one begins are counted once. */
static void count_frames(Kdump *k)
{
    uint64_t next = 0;
    for (unsigned i = 0; i < k->p->ranges->len; i++) {
        uint64_t from = MAX(first_frame(range_at(k, i)), next);
        next = last_frame(range_at(k, i)) + 1;
        k->pages += next - from;
    }
    k->max_pfn = next;
}

/* The bitmap, twice: frames that are memory, frames that are in the file. Most of it is the hole below 4 GiB.
 */
static bool put_bitmaps(Kdump *k, Error **errp)
{
    const size_t half = (size_t)k->map_blocks / 2 * PAGE;
    g_autofree uint8_t *map = g_malloc0(half);
    for (unsigned i = 0; i < k->p->ranges->len; i++) {
        for (uint64_t f = first_frame(range_at(k, i)); f <= last_frame(range_at(k, i)); f++) {
            map[f / 8] |= (uint8_t)(1u << f % 8);
        }
    }
    const uint64_t at = (1 + (uint64_t)k->sub_blocks) * PAGE;
    return put_piece(k, at, map, half, errp) && put_piece(k, at + half, map, half, errp);
}

/* ---- pages ---- */

static bool flush(Kdump *k, GByteArray *what, uint64_t *at, Error **errp)
{
    if (what->len && !put_piece(k, *at, what->data, what->len, errp)) {
        return false;
    }
    *at += what->len;
    g_byte_array_set_size(what, 0);
    return true;
}

static bool is_zero(const uint8_t *page)
{
    return page[0] == 0 && !memcmp(page, page + 1, PAGE - 1);
}

static bool describe(Kdump *k, uint64_t at, unsigned size, unsigned flags, Error **errp)
{
    dump_number(k->desc, at, 8);
    dump_number(k->desc, size, 4);
    dump_number(k->desc, flags, 4);
    dump_number(k->desc, 0, 8); /* the guest's page flags are not known */
    return k->desc->len < BATCH || flush(k, k->desc, &k->desc_at, errp);
}

/* The guest's CPUs stand, but a device of another process may write: what is compressed is a copy. */
static bool put_page(Kdump *k, const uint8_t *page, uint64_t zero_at, Error **errp)
{
    if (is_zero(page)) {
        return describe(k, zero_at, PAGE, 0, errp);
    }
    uLongf size = k->packed_size;
    bool packed = compress2(k->packed, &size, page, PAGE, Z_BEST_SPEED) == Z_OK && size < PAGE;
    uint64_t at = k->data_at + k->data->len;
    g_byte_array_append(k->data, packed ? k->packed : page, packed ? (guint)size : PAGE);
    return (k->data->len < BATCH || flush(k, k->data, &k->data_at, errp)) &&
           describe(k, at, packed ? (unsigned)size : PAGE, packed ? ZLIB : 0, errp);
}

/* A frame's bytes of one range; what it does not have stays as it is. */
static void copy_frame(const DumpRange *r, uint64_t frame, uint8_t *page)
{
    uint64_t from = MAX(r->start, frame * PAGE), to = MIN(r->start + r->size, (frame + 1) * PAGE);
    memcpy(page + from % PAGE, r->host + (from - r->start), (size_t)(to - from));
}

static bool put_pages(Kdump *k, Error **errp)
{
    uint8_t page[PAGE] = { 0 };
    uint64_t zero_at = k->data_at, next = 0;
    g_byte_array_append(k->data, page, PAGE); /* all zero pages are this one */
    for (unsigned i = 0; i < k->p->ranges->len; i++) {
        const DumpRange *r = range_at(k, i);
        for (uint64_t f = MAX(first_frame(r), next); f <= last_frame(r); f++) {
            bool whole = f * PAGE >= r->start && r->start + r->size - f * PAGE >= PAGE;
            if (!whole) {
                memset(page, 0, PAGE);
            }
            for (unsigned j = i; j < k->p->ranges->len && first_frame(range_at(k, j)) <= f; j++) {
                copy_frame(range_at(k, j), f, page);
            }
            if (!put_page(k, page, zero_at, errp)) {
                return false;
            }
            dump_progress(k->p, PAGE);
        }
        next = last_frame(r) + 1;
    }
    return flush(k, k->desc, &k->desc_at, errp) && flush(k, k->data, &k->data_at, errp);
}

bool dump_write_kdump(DumpPlan *p, Error **errp)
{
    Kdump k = { .p = p };
    count_frames(&k);
    uint64_t map = (k.max_pfn + 8 * PAGE - 1) / (8 * PAGE); /* blocks of one bitmap */
    if (map > MAP_MAX) {
        return error_fail(errp, "not-supported", "format", NULL,
                          "memory at so high addresses does not fit in this format; use format=elf");
    }
    k.sub_blocks = (sub_header_size(&k) + p->notes->len + PAGE - 1) / PAGE;
    k.map_blocks = (unsigned)map * 2;
    k.desc_at = (1 + (uint64_t)k.sub_blocks + k.map_blocks) * PAGE;
    k.data_at = k.desc_at + k.pages * DESC;
    k.desc = g_byte_array_new();
    k.data = g_byte_array_new();
    k.packed_size = (unsigned)compressBound(PAGE);
    k.packed = g_malloc(k.packed_size);
    __atomic_store_n(&p->total, k.pages * PAGE, __ATOMIC_RELAXED);
    bool ok = put_start(&k, errp) && put_header(&k, errp) && put_sub_header(&k, errp) &&
              put_bitmaps(&k, errp) && put_pages(&k, errp) && put_end(&k, errp);
    g_byte_array_free(k.desc, TRUE);
    g_byte_array_free(k.data, TRUE);
    g_free(k.packed);
    return ok;
}
