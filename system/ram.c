/* SPDX-License-Identifier: MIT
 * system/ram.c - host memory of the guest, and who hears of writes to it.
 * Models: pages of 4 KiB, one flag byte and one dirty bit per client each.
 * Threads: any. Flags and bits are atomics; creation and release take the machine's leaf lock.
 */
#include "internal.h"
#include "rhea/system/ramlist.h"
#include "rhea/util/log.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { WORD_BITS = 8 * sizeof(unsigned long) };

static RamBlock *ram_map(Machine *m, const char *name, uint64_t size, bool shared, Error **errp)
{
    uint64_t bytes = (size + RAM_PAGE_SIZE - 1) & ~(uint64_t)(RAM_PAGE_SIZE - 1);
    if (!size || bytes < size || bytes > (uint64_t)SSIZE_MAX) {
        error_set(errp, "memory block '%s' of %" G_GUINT64_FORMAT " bytes cannot be mapped", name, size);
        return NULL;
    }
    int fd = -1;
    if (shared) {
        fd = memfd_create(name, MFD_CLOEXEC);
        if (fd < 0 || ftruncate(fd, (off_t)bytes) < 0) {
            error_set_errno(errp, errno, "shared memory of %" G_GUINT64_FORMAT " bytes for '%s' failed",
                            bytes, name);
            if (fd >= 0) {
                close(fd);
            }
            return NULL;
        }
    }
    int flags = MAP_NORESERVE | (shared ? MAP_SHARED : MAP_PRIVATE | MAP_ANONYMOUS);
    void *host = mmap(NULL, bytes, PROT_READ | PROT_WRITE, flags, fd, 0);
    if (host == MAP_FAILED) {
        error_set_errno(errp, errno, "mapping %" G_GUINT64_FORMAT " bytes for '%s' failed", bytes, name);
        error_hint(errp, "give the guest less memory (-m), or raise the address space limit (ulimit -v)");
        if (fd >= 0) {
            close(fd);
        }
        return NULL;
    }
    if (!shared && bytes >= 2 << 20) {
        madvise(host, bytes, MADV_HUGEPAGE); /* only a hint; a kernel without it changes nothing */
    }
    return ram_new_mapped(m, name,
                          &(RamMapping){ .host = host, .size = bytes, .fd = fd,
                                         .drop = shared ? RAM_DROP_SHARED : RAM_DROP_PRIVATE });
}

RamBlock *ram_new_mapped(Machine *m, const char *name, const RamMapping *map)
{
    g_assert(map->size && map->size % RAM_PAGE_SIZE == 0);
    RamBlock *ram = g_new0(RamBlock, 1);
    ram->name = g_strdup(name);
    ram->host = map->host;
    ram->size = map->size;
    ram->refs = 1;
    ram->machine = m;
    ram->fd = map->fd;
    ram->page = map->page ? map->page : (uint64_t)sysconf(_SC_PAGESIZE);
    ram->drop = map->drop;
    ram->merge_given = map->merge_given;
    ram->dump_given = map->dump_given;
    ram->discard = map->discard;
    ram->page_flags = g_malloc0(map->size >> RAM_PAGE_BITS);
    ram->code_users = g_malloc0(map->size >> RAM_PAGE_BITS);
    pthread_mutex_init(&ram->code_lock, NULL);
    if (m) {
        pthread_mutex_lock(&m->priv->lock);
        m->priv->ram_blocks = g_list_append(m->priv->ram_blocks, ram);
        pthread_mutex_unlock(&m->priv->lock);
    }
    return ram;
}

RamBlock *ram_new(Machine *m, const char *name, uint64_t size, Error **errp)
{
    return ram_map(m, name, size, false, errp);
}

RamBlock *ram_new_shared(Machine *m, const char *name, uint64_t size, Error **errp)
{
    return ram_map(m, name, size, true, errp);
}

RamBlock *ram_ref(RamBlock *ram)
{
    if (ram) {
        __atomic_add_fetch(&ram->refs, 1, __ATOMIC_RELAXED);
    }
    return ram;
}

static void ram_release(void *opaque)
{
    RamBlock *ram = opaque;
    if (ram->discard && madvise(ram->host, ram->size, MADV_REMOVE) < 0) {
        log_warn("memory '%s': its file keeps its contents: %s", ram->name, strerror(errno));
    }
    munmap(ram->host, ram->size);
    if (ram->fd >= 0) {
        close(ram->fd);
    }
    for (unsigned c = 0; c < DIRTY_CLIENTS; c++) {
        g_free(ram->dirty[c]);
    }
    g_free(ram->page_flags);
    g_free(ram->code_users);
    pthread_mutex_destroy(&ram->code_lock);
    g_free(ram->name);
    g_free(ram);
}

void ram_unref(RamBlock *ram)
{
    if (!ram || __atomic_sub_fetch(&ram->refs, 1, __ATOMIC_ACQ_REL)) {
        return;
    }
    Machine *m = ram->machine;
    if (m) {
        pthread_mutex_lock(&m->priv->lock);
        m->priv->ram_blocks = g_list_remove(m->priv->ram_blocks, ram);
        pthread_mutex_unlock(&m->priv->lock);
    }
    rcu_defer(ram_release, ram);
}

void ram_foreach(Machine *m, void (*fn)(RamBlock *ram, void *opaque), void *opaque)
{
    pthread_mutex_lock(&m->priv->lock);
    for (GList *l = m->priv->ram_blocks; l; l = l->next) {
        fn(l->data, opaque);
    }
    pthread_mutex_unlock(&m->priv->lock);
}

/* Slow half of ram_written(): some client listens to the page. The writer clears the flag, then sets the
 * bit; the taker clears the bit, then sets the flag. So "flag clear and bit clear", the state in which a
 * later write would go unheard, lasts only inside a take, and that take reports the page anyway. */
static void ram_page_written(RamBlock *ram, uint64_t page, uint8_t flags)
{
    /* Threads that do I/O come here outside any read section; dirty_enable() may be giving the map up. */
    rcu_read_lock();
    for (unsigned c = 0; c < DIRTY_CLIENTS; c++) {
        if (c == DIRTY_CODE || !(flags & (1u << c))) {
            continue;
        }
        __atomic_and_fetch(&ram->page_flags[page], (uint8_t)~(1u << c), __ATOMIC_ACQ_REL);
        unsigned long *map = rcu_get(&ram->dirty[c]);
        if (map) {
            __atomic_or_fetch(&map[page / WORD_BITS], 1ul << (page % WORD_BITS), __ATOMIC_ACQ_REL);
        }
    }
    rcu_read_unlock();
}

void ram_written(RamBlock *ram, uint64_t off, uint64_t len)
{
    if (!len) {
        return;
    }
    uint64_t last = (off + len - 1) >> RAM_PAGE_BITS;
    bool code = false;
    for (uint64_t page = off >> RAM_PAGE_BITS; page <= last; page++) {
        /* A locked read: it orders the caller's write of the data before the look at the flag. */
        uint8_t flags = __atomic_fetch_or(&ram->page_flags[page], 0, __ATOMIC_SEQ_CST);
        if (G_UNLIKELY(flags)) {
            code |= flags & (1u << DIRTY_CODE);
            ram_page_written(ram, page, flags);
        }
    }
    if (G_UNLIKELY(code)) {
        Machine *m = ram->machine;
        if (m && m->accel && m->accel->code_written) {
            m->accel->code_written(m, ram, off, len);
        }
    }
}

void ram_code_join(RamBlock *ram, uint64_t page, void (*first)(void *opaque), void *opaque)
{
    pthread_mutex_lock(&ram->code_lock);
    if (ram->code_users[page]++ == 0) {
        __atomic_fetch_or(&ram->page_flags[page], 1u << DIRTY_CODE, __ATOMIC_SEQ_CST);
        first(opaque);
    }
    pthread_mutex_unlock(&ram->code_lock);
}

void ram_code_leave(RamBlock *ram, uint64_t page)
{
    pthread_mutex_lock(&ram->code_lock);
    g_assert(ram->code_users[page] > 0);
    if (--ram->code_users[page] == 0) {
        __atomic_and_fetch(&ram->page_flags[page], (uint8_t)~(1u << DIRTY_CODE), __ATOMIC_SEQ_CST);
    }
    pthread_mutex_unlock(&ram->code_lock);
}

static void ram_tell_watch(RamBlock *ram)
{
    Machine *m = ram->machine;
    if (m && m->accel && m->accel->ram_watched && m->priv->vcpus_made) {
        m->accel->ram_watched(m, ram);
    }
}

static void ram_tell_log(RamBlock *ram, bool on)
{
    Machine *m = ram->machine;
    if (m && m->accel && m->accel->dirty_log && m->priv->vcpus_made) {
        m->accel->dirty_log(m, ram, on);
    }
}

void dirty_enable(RamBlock *ram, DirtyClient client, bool on)
{
    g_assert(client < DIRTY_CLIENTS && client != DIRTY_CODE);
    uint64_t pages = ram->size >> RAM_PAGE_BITS;
    size_t words = (pages + WORD_BITS - 1) / WORD_BITS;
    if (!on) {
        for (uint64_t p = 0; p < pages; p++) {
            __atomic_and_fetch(&ram->page_flags[p], (uint8_t)~(1u << client), __ATOMIC_ACQ_REL);
        }
        unsigned long *old = __atomic_exchange_n(&ram->dirty[client], NULL, __ATOMIC_ACQ_REL);
        if (old) {
            rcu_defer(g_free, old);
            ram_tell_log(ram, false);
        }
        return;
    }
    if (ram->dirty[client]) {
        return;
    }
    unsigned long *map = g_new(unsigned long, words);
    memset(map, 0xff, words * sizeof(*map));
    if (pages % WORD_BITS) {
        map[words - 1] = (1ul << (pages % WORD_BITS)) - 1;
    }
    rcu_publish(&ram->dirty[client], map);
    ram_tell_log(ram, true);
}

size_t dirty_take(RamBlock *ram, DirtyClient client, size_t page, size_t n, unsigned long *bits)
{
    Machine *m = ram->machine;
    memset(bits, 0, (n + WORD_BITS - 1) / WORD_BITS * sizeof(*bits));
    if (m && m->accel && m->accel->dirty_pull && m->priv->vcpus_made) {
        m->accel->dirty_pull(m, ram);
    }
    rcu_read_lock();
    unsigned long *map = rcu_get(&ram->dirty[client]);
    uint64_t pages = ram->size >> RAM_PAGE_BITS;
    size_t count = 0;
    for (size_t i = 0; map && i < n && page + i < pages; i++) {
        uint64_t p = page + i;
        unsigned long bit = 1ul << (p % WORD_BITS);
        if (!(p % WORD_BITS) && !__atomic_load_n(&map[p / WORD_BITS], __ATOMIC_ACQUIRE)) {
            i += WORD_BITS - 1; /* a clean word: skip it whole */
            continue;
        }
        if (!(__atomic_load_n(&map[p / WORD_BITS], __ATOMIC_ACQUIRE) & bit)) {
            continue;
        }
        __atomic_and_fetch(&map[p / WORD_BITS], ~bit, __ATOMIC_SEQ_CST);
        __atomic_or_fetch(&ram->page_flags[p], (uint8_t)(1u << client), __ATOMIC_SEQ_CST);
        bits[i / WORD_BITS] |= 1ul << (i % WORD_BITS);
        count++;
    }
    rcu_read_unlock();
    if (count) {
        ram_tell_watch(ram);
    }
    return count;
}

/* memcpy() may take even two bytes in pieces: of an index that the guest is writing, half the old one and
 * half the new one. */
void ram_load_bytes(void *buf, const uint8_t *host, size_t len)
{
    bool whole = (len == 2 || len == 4 || len == 8) && !((uintptr_t)host & (len - 1));
    if (whole && len == 2) {
        uint16_t v = __atomic_load_n((const uint16_t *)host, __ATOMIC_RELAXED);
        memcpy(buf, &v, sizeof(v));
    } else if (whole && len == 4) {
        uint32_t v = __atomic_load_n((const uint32_t *)host, __ATOMIC_RELAXED);
        memcpy(buf, &v, sizeof(v));
    } else if (whole) {
        uint64_t v = __atomic_load_n((const uint64_t *)host, __ATOMIC_RELAXED);
        memcpy(buf, &v, sizeof(v));
    } else {
        memcpy(buf, host, len);
    }
}

void ram_store_bytes(RamBlock *ram, uint8_t *host, uint64_t ram_off, const void *buf, size_t len)
{
    bool whole = (len == 2 || len == 4 || len == 8) && !((uintptr_t)host & (len - 1));
    if (whole && len == 2) {
        uint16_t v;
        memcpy(&v, buf, sizeof(v));
        __atomic_store_n((uint16_t *)host, v, __ATOMIC_RELAXED);
    } else if (whole && len == 4) {
        uint32_t v;
        memcpy(&v, buf, sizeof(v));
        __atomic_store_n((uint32_t *)host, v, __ATOMIC_RELAXED);
    } else if (whole) {
        uint64_t v;
        memcpy(&v, buf, sizeof(v));
        __atomic_store_n((uint64_t *)host, v, __ATOMIC_RELAXED);
    } else {
        memcpy(host, buf, len);
    }
    ram_written(ram, ram_off, len);
}
