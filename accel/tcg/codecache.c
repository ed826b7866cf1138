/* SPDX-License-Identifier: MIT
 * accel/tcg/codecache.c - doubly mapped memory for translated code.
 * Models: W^X: no address is ever writable and executable; the writable view lies at an unrelated address.
 * Threads: the owner's.
 */
#include "rhea/accel/codecache.h"
#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { COLD_FROM = 51 }; /* per cent of a segment: where its cold area begins */

bool codecache_init(CodeCache *c, size_t size, size_t reserve, Error **errp)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    *c = (CodeCache){ .rw = MAP_FAILED, .rx = MAP_FAILED };
    c->segment_size = (size / CODE_SEGMENTS + page - 1) / page * page;
    c->reserve = (reserve + page - 1) / page * page;
    c->size = c->segment_size * CODE_SEGMENTS + c->reserve;
    int fd = memfd_create("rhea-code", MFD_CLOEXEC);
    if (fd < 0 || ftruncate(fd, (off_t)c->size) < 0) {
        error_set_errno(errp, errno, "no memory for %zu KiB of translated code", c->size >> 10);
    } else {
        c->rw = mmap(NULL, c->size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
        c->rx = mmap(NULL, c->size, PROT_READ | PROT_EXEC, MAP_SHARED, fd, 0);
        if (c->rw == MAP_FAILED || c->rx == MAP_FAILED) {
            error_set_errno(errp, errno, "%zu KiB of translated code cannot be mapped", c->size >> 10);
            error_hint(errp, "this system forbids executable memory, or memory is short: use -accel tcg,tier=0 (slow) or a smaller tb-size");
        }
    }
    if (fd >= 0) {
        close(fd);
    }
    if (c->rw == MAP_FAILED || c->rx == MAP_FAILED) {
        codecache_fini(c);
        return false;
    }
    c->rx_off = c->rx - c->rw;
    c->fixed = c->rw + c->segment_size * CODE_SEGMENTS;
    codecache_start_segment(c, 0);
    return true;
}

void codecache_fini(CodeCache *c)
{
    if (c->rw && c->rw != MAP_FAILED) {
        munmap(c->rw, c->size);
    }
    if (c->rx && c->rx != MAP_FAILED) {
        munmap(c->rx, c->size);
    }
    c->rw = c->rx = NULL;
}

void codecache_start_segment(CodeCache *c, unsigned n)
{
    c->segment = n;
    c->hot = c->rw + n * c->segment_size;
    c->hot_end = c->cold = c->hot + c->segment_size / 100 * COLD_FROM;
    c->cold_end = c->hot + c->segment_size;
}
