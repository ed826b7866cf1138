/* SPDX-License-Identifier: MIT
 * block/bitmap.c - dirty bitmaps of nodes.
 *
 * Models: bits in chunks of 4 KiB; a chunk that is all zeros or all ones costs no memory, so it grows with
 * what is written, not with the node's size. Threads: the list and the bits are guarded by the node's
 * bitmap_lock; who marks looks first whether anybody records.
 */
#include "rhea/block/bitmap.h"
#include "rhea/util/errorcode.h"
#include "internal.h"

#include <string.h>

enum { CHUNK_BYTES = 4096, CHUNK_BITS = CHUNK_BYTES * 8, WORDS = CHUNK_BYTES / 8 };

static uint64_t all_ones[WORDS] = { 1 }; /* only its address says something */

static int64_t chunks_of(int64_t bits)
{
    return (bits + CHUNK_BITS - 1) / CHUNK_BITS;
}

static int64_t bits_of(int64_t size, unsigned granularity_bits)
{
    return (int64_t)(((uint64_t)size + ((uint64_t)1 << granularity_bits) - 1) >> granularity_bits);
}

int64_t block_bitmap_bytes(const BlockBitmap *b)
{
    return (b->n_bits + 7) / 8;
}

static void chunk_drop(BlockBitmap *b, int64_t i)
{
    if (b->chunks[i] != all_ones) {
        g_free(b->chunks[i]);
    }
    b->chunks[i] = NULL;
}

/* A chunk that bits can be changed in. */
static uint64_t *chunk_own(BlockBitmap *b, int64_t i)
{
    if (!b->chunks[i]) {
        b->chunks[i] = g_new0(uint64_t, WORDS);
    } else if (b->chunks[i] == all_ones) {
        b->chunks[i] = g_new(uint64_t, WORDS);
        memset(b->chunks[i], 0xff, CHUNK_BYTES);
    }
    return b->chunks[i];
}

/* With the lock: bits [a, z). */
static void set_bits(BlockBitmap *b, int64_t a, int64_t z)
{
    while (a < z) {
        int64_t i = a / CHUNK_BITS, from = a % CHUNK_BITS, to = MIN(z - i * CHUNK_BITS, (int64_t)CHUNK_BITS);
        if (from == 0 && to == CHUNK_BITS) {
            chunk_drop(b, i);
            b->chunks[i] = all_ones;
        } else if (b->chunks[i] != all_ones) {
            uint64_t *w = chunk_own(b, i);
            for (int64_t k = from; k < to;) {
                int64_t end = MIN((k | 63) + 1, to);
                uint64_t high = end % 64 ? ((uint64_t)1 << end % 64) - 1 : UINT64_MAX;
                w[k / 64] |= high & ~(((uint64_t)1 << k % 64) - 1);
                k = end;
            }
        }
        a = i * CHUNK_BITS + to;
    }
    b->changed = true;
}

/* With the lock: the first bit at or behind `from` that is `value`; n_bits: none. */
static int64_t find_bit(const BlockBitmap *b, int64_t from, bool value)
{
    while (from < b->n_bits) {
        const uint64_t *w = b->chunks[from / CHUNK_BITS];
        if (!w || w == all_ones) {
            if (!!w == value) {
                return from;
            }
            from = (from / CHUNK_BITS + 1) * CHUNK_BITS;
            continue;
        }
        int64_t k = from % CHUNK_BITS;
        uint64_t word = (value ? w[k / 64] : ~w[k / 64]) >> k % 64;
        if (word) {
            return MIN(from + __builtin_ctzll(word), b->n_bits);
        }
        from = (from | 63) + 1;
    }
    return b->n_bits;
}

/* The list */

static void lock(const BlockNode *n)
{
    pthread_mutex_lock(&((BlockNode *)n)->bitmap_lock);
}

static void unlock(const BlockNode *n)
{
    pthread_mutex_unlock(&((BlockNode *)n)->bitmap_lock);
}

static void count_recording(BlockNode *n)
{
    unsigned count = 0;
    for (unsigned i = 0; n->bitmaps && i < n->bitmaps->len; i++) {
        const BlockBitmap *b = g_ptr_array_index(n->bitmaps, i);
        count += b->recording && !b->inconsistent;
    }
    __atomic_store_n(&n->bitmaps_recording, count, __ATOMIC_RELEASE);
}

static uint64_t default_granularity(const BlockNode *n)
{
    const BlockFormatOps *f = n->driver->format;
    int64_t cluster = f && f->cluster_size ? f->cluster_size(n) : 0;
    return cluster ? (uint64_t)CLAMP(cluster, 4096, 65536) : 65536;
}

/* Bytes of the bits of all bitmaps when the node has that size; more than the limit when they are too many.
 */
static int64_t bytes_at(const BlockNode *n, int64_t size)
{
    int64_t sum = 0;
    for (unsigned i = 0; n->bitmaps && i < n->bitmaps->len && sum <= BLOCK_BITMAP_MAX_BYTES; i++) {
        const BlockBitmap *b = g_ptr_array_index(n->bitmaps, i);
        sum += (bits_of(size, b->granularity_bits) + 7) / 8;
    }
    return sum;
}

static bool room_for(const BlockNode *n, int64_t bits, Error **errp)
{
    int64_t sum = bytes_at(n, block_size(n)) + (bits + 7) / 8;
    if (sum <= BLOCK_BITMAP_MAX_BYTES && block_bitmap_count(n) < BLOCK_BITMAP_MAX_PER_NODE) {
        return true;
    }
    error_fail(errp, "too-many", "granularity", NULL,
               "the bitmaps of node '%s' would have more than %" PRId64 " bytes, or be more than %d", n->name,
               BLOCK_BITMAP_MAX_BYTES, BLOCK_BITMAP_MAX_PER_NODE);
    error_hint(errp, "a larger granularity makes them smaller");
    return false;
}

BlockBitmap *block_bitmap_add(BlockNode *n, const char *name, uint64_t granularity, Error **errp)
{
    granularity = granularity ? granularity : default_granularity(n);
    if (!*name || strlen(name) > BLOCK_BITMAP_MAX_NAME) {
        error_fail(errp, "invalid-value", "name", "give a shorter one that is not empty",
                   "a bitmap's name has 1 to %d bytes", BLOCK_BITMAP_MAX_NAME);
        return NULL;
    }
    if (block_bitmap_find(n, name)) {
        error_fail(errp, "already-exists", "name",
                   "give another name, or remove that one: block-dirty-bitmap-remove",
                   "Bitmap already exists: %s", name);
        return NULL;
    }
    if (granularity & (granularity - 1) || granularity < (uint64_t)1 << BLOCK_BITMAP_MIN_BITS ||
        granularity > (uint64_t)1 << BLOCK_BITMAP_MAX_BITS) {
        error_fail(errp, "invalid-value", "granularity", "leave it out: then it follows the image's clusters",
                   "Granularity must be power of 2 and at least 512 (and at most 2G), not %" PRIu64,
                   granularity);
        return NULL;
    }
    unsigned bits = (unsigned)__builtin_ctzll(granularity);
    if (!room_for(n, bits_of(block_size(n), bits), errp)) {
        return NULL;
    }
    BlockBitmap *b = g_new0(BlockBitmap, 1);
    *b = (BlockBitmap){ .node = n, .name = g_strdup(name), .granularity_bits = bits, .changed = true };
    b->n_bits = bits_of(block_size(n), bits);
    b->chunks = g_new0(uint64_t *, (size_t)chunks_of(b->n_bits) + 1);
    lock(n);
    n->bitmaps = n->bitmaps ? n->bitmaps : g_ptr_array_new();
    g_ptr_array_add(n->bitmaps, b);
    unlock(n);
    return b;
}

static void drop_all(BlockBitmap *b)
{
    for (int64_t i = 0; i < chunks_of(b->n_bits); i++) {
        chunk_drop(b, i);
    }
}

void block_bitmap_remove(BlockBitmap *b)
{
    BlockNode *n = b->node;
    lock(n);
    g_ptr_array_remove(n->bitmaps, b);
    count_recording(n);
    unlock(n);
    drop_all(b);
    g_free(b->chunks);
    g_free(b->name);
    g_free(b);
}

void block_bitmaps_free(BlockNode *n)
{
    while (block_bitmap_count(n)) {
        block_bitmap_remove(block_bitmap_at(n, 0));
    }
    g_clear_pointer(&n->bitmaps, g_ptr_array_unref);
}

unsigned block_bitmap_count(const BlockNode *n)
{
    return n->bitmaps ? n->bitmaps->len : 0;
}

BlockBitmap *block_bitmap_at(const BlockNode *n, unsigned i)
{
    return g_ptr_array_index(n->bitmaps, i);
}

BlockBitmap *block_bitmap_find(const BlockNode *n, const char *name)
{
    for (unsigned i = 0; i < block_bitmap_count(n); i++) {
        BlockBitmap *b = block_bitmap_at(n, i);
        if (strcmp(b->name, name) == 0) {
            return b;
        }
    }
    return NULL;
}

bool block_bitmap_usable(const BlockBitmap *b, Error **errp)
{
    if (b->inconsistent) {
        error_fail(errp, "inconsistent", "name", NULL, "Bitmap '%s' is inconsistent and cannot be used",
                   b->name);
        error_hint(errp, "it was not stored when the image was last written; remove it");
        return false;
    }
    return !b->busy || error_fail(errp, "in-use", "name", "wait for the operation to end",
                                  "Bitmap '%s' is currently in use by another operation", b->name);
}

/* Bits */

void block_bitmap_set_recording(BlockBitmap *b, bool on)
{
    lock(b->node);
    b->changed |= b->recording != on;
    b->recording = on;
    count_recording(b->node);
    unlock(b->node);
}

void block_bitmap_clear(BlockBitmap *b)
{
    lock(b->node);
    drop_all(b);
    b->changed = true;
    unlock(b->node);
}

static void mark_one(BlockBitmap *b, int64_t off, int64_t bytes)
{
    int64_t end = MIN(bits_of(off + bytes, b->granularity_bits), b->n_bits);
    set_bits(b, off >> b->granularity_bits, end);
}

void block_bitmap_set(BlockBitmap *b, int64_t off, int64_t bytes)
{
    lock(b->node);
    mark_one(b, off, bytes);
    unlock(b->node);
}

void block_bitmaps_mark(BlockNode *n, int64_t off, int64_t bytes)
{
    if (G_LIKELY(!__atomic_load_n(&n->bitmaps_recording, __ATOMIC_ACQUIRE))) {
        return;
    }
    lock(n);
    for (unsigned i = 0; n->bitmaps && i < n->bitmaps->len; i++) {
        BlockBitmap *b = g_ptr_array_index(n->bitmaps, i);
        if (b->recording && !b->inconsistent) {
            mark_one(b, off, bytes);
        }
    }
    unlock(n);
}

bool block_bitmap_next(BlockBitmap *b, int64_t off, int64_t end, int64_t *start, int64_t *bytes)
{
    int64_t unit = (int64_t)1 << b->granularity_bits, size = block_size(b->node);
    end = MIN(end, size);
    lock(b->node);
    int64_t a = find_bit(b, off >> b->granularity_bits, true);
    int64_t z = a < b->n_bits ? find_bit(b, a, false) : a;
    bool found = a < b->n_bits;
    unlock(b->node);
    *start = found ? MAX(a * unit, off) : end;
    *bytes = found ? MIN(z < b->n_bits ? z * unit : size, end) - *start : 0;
    return found && *start < end;
}

int64_t block_bitmap_dirty_bytes(BlockBitmap *b)
{
    uint64_t sum = 0;
    lock(b->node);
    for (int64_t a = find_bit(b, 0, true), z; a < b->n_bits; a = find_bit(b, z, true)) {
        z = find_bit(b, a, false);
        sum += (uint64_t)(z - a) << b->granularity_bits;
    }
    unlock(b->node);
    return (int64_t)MIN(sum, (uint64_t)INT64_MAX);
}

void block_bitmap_merge(BlockBitmap *b, BlockBitmap *from)
{
    int64_t size = block_size(from->node), start, bytes;
    for (int64_t at = 0; block_bitmap_next(from, at, size, &start, &bytes); at = start + bytes) {
        block_bitmap_set(b, start, bytes);
    }
    b->changed = true;
}

/* With the lock. What a shorter node had behind its end is forgotten. */
static void resize_one(BlockBitmap *b, int64_t size)
{
    int64_t bits = bits_of(size, b->granularity_bits), was = chunks_of(b->n_bits), now = chunks_of(bits);
    for (int64_t i = now; i < was; i++) {
        chunk_drop(b, i);
    }
    b->chunks = g_renew(uint64_t *, b->chunks, (size_t)now + 1);
    for (int64_t i = was; i <= now; i++) {
        b->chunks[i] = NULL;
    }
    int64_t last = MIN(bits, b->n_bits);
    if (last % CHUNK_BITS && b->chunks[last / CHUNK_BITS]) {
        uint64_t *w = chunk_own(b, last / CHUNK_BITS);
        for (int64_t k = last % CHUNK_BITS; k < CHUNK_BITS; k++) {
            w[k / 64] &= ~((uint64_t)1 << k % 64);
        }
    }
    b->n_bits = bits;
    b->changed = true;
}

bool block_bitmaps_fit(BlockNode *n, int64_t size, Error **errp)
{
    lock(n);
    bool fit = bytes_at(n, size) <= BLOCK_BITMAP_MAX_BYTES;
    unlock(n);
    if (!fit) {
        error_fail(errp, "too-many", "size",
                   "remove bitmaps (block-dirty-bitmap-remove), or make them again with a larger granularity",
                   "with %" PRId64 " bytes the bitmaps of node '%s' would need more than %" PRId64 " bytes",
                   size, block_label(n), BLOCK_BITMAP_MAX_BYTES);
    }
    return fit;
}

void block_bitmaps_resize(BlockNode *n, int64_t size)
{
    lock(n);
    for (unsigned i = 0; n->bitmaps && i < n->bitmaps->len; i++) {
        resize_one(g_ptr_array_index(n->bitmaps, i), size);
    }
    unlock(n);
}

/* As formats store them */

BlockBits block_bitmap_get_bits(BlockBitmap *b, int64_t at, uint8_t *out, int64_t bytes)
{
    int64_t first = at * 8, last = MIN(first + bytes * 8, b->n_bits);
    lock(b->node);
    bool zero = find_bit(b, first, true) >= last, one = !zero && find_bit(b, first, false) >= last;
    memset(out, one ? 0xff : 0, (size_t)bytes);
    for (int64_t done = 0; !zero && !one && done < bytes;) {
        int64_t byte = at + done, n = MIN(CHUNK_BYTES - byte % CHUNK_BYTES, bytes - done);
        const uint64_t *w = byte * 8 < b->n_bits ? b->chunks[byte / CHUNK_BYTES] : NULL;
        for (int64_t i = 0; w && i < n; i++) {
            int64_t k = byte % CHUNK_BYTES + i;
            out[done + i] = w == all_ones ? 0xff : (uint8_t)(w[k / 8] >> k % 8 * 8);
        }
        done += n;
    }
    unlock(b->node);
    return zero ? BLOCK_BITS_ZERO : one ? BLOCK_BITS_ONE : BLOCK_BITS_MIXED;
}

void block_bitmap_put_bits(BlockBitmap *b, int64_t at, const uint8_t *in, int64_t bytes)
{
    lock(b->node);
    if (!in) {
        set_bits(b, MIN(at * 8, b->n_bits), MIN((at + bytes) * 8, b->n_bits));
    }
    for (int64_t i = 0; in && i < bytes; i++) {
        for (unsigned bit = 0; in[i] && bit < 8; bit++) {
            int64_t k = (at + i) * 8 + bit;
            if (in[i] >> bit & 1 && k < b->n_bits) {
                set_bits(b, k, k + 1);
            }
        }
    }
    unlock(b->node);
}
