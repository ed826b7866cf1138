/* SPDX-License-Identifier: MIT
 * rhea/block/bitmap.h - dirty bitmaps: which parts of a node have been written since.
 *
 * A bitmap belongs to a node and has a bit for each 2^n bytes. Writes, zeros and discards set bits, by whom
 * and on whatever loop, once they are done. Persistent ones are loaded and stored by the node's driver.
 * Everything but marking is for the main loop's thread; results copy what they tell, so that a bitmap may
 * change meanwhile.
 */
#ifndef RHEA_BLOCK_BITMAP_H
#define RHEA_BLOCK_BITMAP_H

#include "rhea/block/driver.h"

enum {
    BLOCK_BITMAP_MIN_BITS = 9, /* of the granularity */
    BLOCK_BITMAP_MAX_BITS = 31,
    BLOCK_BITMAP_MAX_NAME = 1023,
    BLOCK_BITMAP_MAX_PER_NODE = 65535,
};
/* Bytes of bits that all bitmaps of a node have at most; formats may count on it for what they store. */
#define BLOCK_BITMAP_MAX_BYTES ((int64_t)1 << 30)

typedef struct BlockBitmap BlockBitmap;
struct BlockBitmap {
    BlockNode *node;
    char *name;
    unsigned granularity_bits;
    bool persistent;
    bool recording;    /* writes set bits */
    bool inconsistent; /* its content is not to be trusted; it can only be removed */
    bool changed;      /* differs from what the image has */
    unsigned busy;     /* users that read it: it can be neither removed nor changed but by writes */
    int64_t n_bits;
    uint64_t **chunks; /* private: NULL: zeros */
};

/* granularity 0: the node's cluster size, within 4 to 64 KiB; 64 KiB when it has none. Not yet recording. */
BlockBitmap *block_bitmap_add(BlockNode *n, const char *name, uint64_t granularity, Error **errp) MAIN_LOOP;
void block_bitmap_remove(BlockBitmap *b) MAIN_LOOP;
BlockBitmap *block_bitmap_find(const BlockNode *n, const char *name) MAIN_LOOP; /* NULL: none */
unsigned block_bitmap_count(const BlockNode *n) MAIN_LOOP;
BlockBitmap *block_bitmap_at(const BlockNode *n, unsigned i) MAIN_LOOP;

/* May it be used (changed)? Sets an error when it is busy or inconsistent. */
bool block_bitmap_usable(const BlockBitmap *b, Error **errp) MAIN_LOOP;
void block_bitmap_set_recording(BlockBitmap *b, bool on) MAIN_LOOP;
void block_bitmap_clear(BlockBitmap *b) MAIN_LOOP;
void block_bitmap_set(BlockBitmap *b, int64_t off, int64_t bytes) MAIN_LOOP;
/* What is set in `from` becomes set in `b`; they may have different granularities. */
void block_bitmap_merge(BlockBitmap *b, BlockBitmap *from) MAIN_LOOP;
int64_t block_bitmap_dirty_bytes(BlockBitmap *b) MAIN_LOOP;
/* The next dirty range in [off, end). False: there is none. */
bool block_bitmap_next(BlockBitmap *b, int64_t off, int64_t end, int64_t *start, int64_t *bytes) MAIN_LOOP;

/* Commands, as QMP and rhea-img have them. Whatever changes a persistent bitmap first marks what the image
 * has. */
bool block_bitmap_cmd_add(BlockNode *n, const char *name, uint64_t granularity, bool persistent,
                          bool recording, Error **errp) MAIN_LOOP;
bool block_bitmap_cmd_remove(BlockNode *n, const char *name, Error **errp) MAIN_LOOP;
bool block_bitmap_cmd_clear(BlockNode *n, const char *name, Error **errp) MAIN_LOOP;
bool block_bitmap_cmd_record(BlockNode *n, const char *name, bool on, Error **errp) MAIN_LOOP;
bool block_bitmap_cmd_merge(BlockNode *n, const char *name, BlockBitmap *const *from, unsigned count,
                            Error **errp) MAIN_LOOP;
BlockBitmap *block_bitmap_get(const BlockNode *n, const char *name, Error **errp) MAIN_LOOP; /* must exist */

/* For drivers: bits [8 * at, 8 * (at + bytes)) as the format stores them, least significant bit first. */
typedef enum { BLOCK_BITS_ZERO, BLOCK_BITS_ONE, BLOCK_BITS_MIXED } BlockBits;
int64_t block_bitmap_bytes(const BlockBitmap *b); /* of all bits */
BlockBits block_bitmap_get_bits(BlockBitmap *b, int64_t at, uint8_t *out, int64_t bytes);
void block_bitmap_put_bits(BlockBitmap *b, int64_t at, const uint8_t *in, int64_t bytes); /* NULL: ones */

/* For the core. */
void block_bitmaps_mark(BlockNode *n, int64_t off, int64_t bytes);
bool block_bitmaps_fit(BlockNode *n, int64_t size, Error **errp); /* may the node get that size? */
void block_bitmaps_resize(BlockNode *n, int64_t size);
void block_bitmaps_free(BlockNode *n) MAIN_LOOP;

#endif
