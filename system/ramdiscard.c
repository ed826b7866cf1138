/* SPDX-License-Identifier: MIT
 * system/ramdiscard.c - guest memory goes back to the host.
 * Models: madvise(2): MADV_DONTNEED for private memory, MADV_REMOVE (a hole in the file) for shared.
 * Threads: any. KVM's own tables follow the host's, and host addresses in software TLBs stay what they are:
 *   only code that was decoded from the pages must go, and dirty clients hear of it, as with any write.
 */
#include "internal.h"
#include "rhea/system/ramdiscard.h"
#include "rhea/system/ramlist.h"
#include "rhea/util/log.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>

static const char *refused_because(const RamBlock *ram, int err)
{
    if (ram->drop == RAM_DROP_SHARED && (err == EOPNOTSUPP || err == ENOSYS)) {
        return "the file system of its file makes no holes";
    }
    return err == EINVAL && ram->page > RAM_PAGE_SIZE && ram->drop == RAM_DROP_PRIVATE
               ? "the host's kernel takes no private huge pages back; Linux does since 5.18"
               : strerror(err);
}

static int refused(RamBlock *ram, int err)
{
    log_warn_once(&ram->drop_failed, "memory '%s': what the guest gives away cannot go back to the host: %s",
                  ram->name, refused_because(ram, err));
    return -err;
}

int ram_discard(RamBlock *ram, uint64_t off, uint64_t len)
{
    g_assert(off <= ram->size && len <= ram->size - off && !((off | len) & (ram->page - 1)));
    if (ram_discard_forbidden(ram->machine)) {
        return -EPERM;
    }
    if (ram->drop == RAM_DROP_NEVER) {
        return -EOPNOTSUPP;
    }
    int how = ram->drop == RAM_DROP_SHARED ? MADV_REMOVE : MADV_DONTNEED;
    if (len && madvise(ram->host + off, len, how) < 0) {
        return refused(ram, errno);
    }
    ram_written(ram, off, len);
    return 0;
}

void ram_discard_forbid(Machine *m, unsigned why)
{
    __atomic_or_fetch(&m->priv->ram_keep, why, __ATOMIC_RELAXED);
}

unsigned ram_discard_forbidden(const Machine *m)
{
    return m ? __atomic_load_n(&m->priv->ram_keep, __ATOMIC_RELAXED) : 0;
}

static void take_larger(RamBlock *ram, void *opaque)
{
    uint64_t *page = opaque;
    *page = MAX(*page, ram->page);
}

uint64_t ram_largest_page(Machine *m)
{
    uint64_t page = 0;
    ram_foreach(m, take_larger, &page);
    return page;
}
