/* SPDX-License-Identifier: MIT
 * backends/hostmem/map.c - the host's memory: files, huge pages, nodes, merging, core dumps.
 *
 * Models: mmap(2), memfd_create(2) with huge pages and seals, hugetlbfs, mbind(2), madvise(2).
 * Threads: main loop.
 */
#include "hostmem_internal.h"
#include "rhea/util/errorcode.h"
#include "rhea/util/text.h"
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <linux/memfd.h>
#include <linux/mempolicy.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <unistd.h>

#ifndef MPOL_PREFERRED_MANY
#define MPOL_PREFERRED_MANY 5 /* Linux 5.15 */
#endif

enum { MAX_NODES = 1024, LONG_BITS = 8 * sizeof(unsigned long), BIG_PAGE = 2 << 20 };
#define HUGE_DIR "/sys/kernel/mm/hugepages"

/* ---- huge pages ---- */

static char *huge_sizes(void)
{
    g_autoptr(GDir) dir = g_dir_open(HUGE_DIR, 0, NULL);
    GString *s = g_string_new(NULL);
    for (const char *name; dir && (name = g_dir_read_name(dir));) {
        uint64_t kib = 0;
        if (sscanf(name, "hugepages-%" G_GINT64_MODIFIER "ukB", &kib) == 1) {
            g_autofree char *text = text_from_size(kib << 10);
            g_string_append_printf(s, "%s%s", s->len ? ", " : "", text);
        }
    }
    return g_string_free(s, FALSE);
}

void hostmem_room_hint(uint64_t page, Error **errp)
{
    if (page <= RAM_PAGE_SIZE) {
        error_hint(errp, "free memory of the host, or space where the file is, or give the guest less (-m)");
        return;
    }
    g_autofree char *dir = g_strdup_printf(HUGE_DIR "/hugepages-%" G_GUINT64_FORMAT "kB", page >> 10);
    g_autofree char *path = g_build_filename(dir, "free_hugepages", NULL);
    g_autofree char *text = NULL;
    g_autofree char *size = text_from_size(page);
    if (!g_file_get_contents(path, &text, NULL, NULL)) {
        text = g_strdup("?");
    }
    error_hint(errp, "the host has %s free pages of %s; more: write their number to %s/nr_hugepages",
               g_strstrip(text), size, dir);
}

/* ---- files ---- */

static bool file_error(Error **errp, int err, const char *path)
{
    error_set_errno(errp, err, "could not open '%s'", path);
    error_hint(errp, "%s",
               err == ENOENT   ? "the folder must exist"
               : err == EACCES ? "this user must be able to read and write it; readonly=on only reads"
               : err == EROFS  ? "the file system is read-only; readonly=on does not write to it"
                               : "mem-path is a file, or a folder");
    return false;
}

/* A file in the folder, without a name as soon as it is open. */
static int open_in_folder(const HostMemOptions *o, const char *path)
{
    g_autofree char *name = g_strdup_printf("%s/rhea-%s-XXXXXX", path, o->id);
    int fd = g_mkstemp_full(name, O_RDWR | O_CLOEXEC, 0600);
    if (fd >= 0) {
        unlink(name);
    }
    return fd;
}

static bool open_file(const HostMemOptions *o, HostMemMapping *map, Error **errp)
{
    const HostMemFile *f = &o->u.memory_backend_file;
    const char *path = f->mem_path;
    struct stat st;
    if (stat(path, &st) == 0 && S_ISDIR(st.st_mode)) {
        if (f->readonly) {
            return error_fail(errp, "conflict", "readonly", "name a file, or leave readonly out",
                              "readonly=on needs a file, and '%s' is a folder", path);
        }
        map->ram.fd = open_in_folder(o, path);
        return map->ram.fd >= 0 || file_error(errp, errno, path);
    }
    map->ram.fd = open(path, (f->readonly ? O_RDONLY : O_RDWR) | O_CLOEXEC);
    if (map->ram.fd < 0 && errno == ENOENT && !f->readonly) {
        map->ram.fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
        map->created = map->ram.fd >= 0;
    }
    if (map->ram.fd < 0) {
        return file_error(errp, errno, path);
    }
    if (fstat(map->ram.fd, &st) < 0 || !S_ISREG(st.st_mode)) {
        error_fail(errp, "invalid-value", "mem-path", "name a file, or a folder for a temporary one",
                   "'%s' is neither a file nor a folder", path);
        return false;
    }
    return true;
}

/* A file that holds something keeps its size. */
static bool size_file(const HostMemOptions *o, HostMemMapping *map, const char *name, Error **errp)
{
    struct stat st;
    if (fstat(map->ram.fd, &st) < 0) {
        return error_set_errno(errp, errno, "'%s'", name);
    }
    map->holes = st.st_size == 0;
    if ((uint64_t)st.st_size >= o->size) {
        return true;
    }
    bool readonly = o->qom_type == HOST_MEM_KIND_MEMORY_BACKEND_FILE && o->u.memory_backend_file.readonly;
    if (st.st_size || readonly) {
        g_autofree char *has = text_from_size(st.st_size), *wanted = text_from_size(o->size);
        error_fail(errp, "conflict", "size", NULL, "'%s' has %s, and 'size' is %s", name, has, wanted);
        error_hint(errp, "use size=%" G_GUINT64_FORMAT "b, or another file", (uint64_t)st.st_size);
        return false;
    }
    if (ftruncate(map->ram.fd, (off_t)o->size) < 0) {
        return error_set_errno(errp, errno, "making '%s' %" G_GUINT64_FORMAT " bytes long failed", name,
                               o->size);
    }
    return true;
}

static bool open_memfd(const HostMemOptions *o, HostMemMapping *map, Error **errp)
{
    bool typed = o->qom_type == HOST_MEM_KIND_MEMORY_BACKEND_MEMFD;
    const HostMemMemfd *v = &o->u.memory_backend_memfd;
    unsigned flags = MFD_CLOEXEC;
    if (typed && v->hugetlb) {
        flags |= MFD_HUGETLB;
        if (v->has_hugetlbsize) {
            if (v->hugetlbsize & (v->hugetlbsize - 1) || v->hugetlbsize < RAM_PAGE_SIZE) {
                return error_fail(errp, "invalid-value", "hugetlbsize", "such as 2M",
                                  "'hugetlbsize' must be a power of two, not %" G_GUINT64_FORMAT,
                                  v->hugetlbsize);
            }
            flags |= (unsigned)__builtin_ctzll(v->hugetlbsize) << MFD_HUGE_SHIFT;
        }
    }
    map->ram.fd = memfd_create(o->id, flags | (typed && v->seal ? MFD_ALLOW_SEALING : 0));
    if (map->ram.fd < 0) {
        error_set_errno(errp, errno, "the host's kernel made no memory file%s",
                        flags & MFD_HUGETLB ? " of huge pages" : "");
        g_autofree char *sizes = huge_sizes();
        if (flags & MFD_HUGETLB) {
            error_hint(errp, "huge pages of this host: %s", *sizes ? sizes : "none");
        }
        return false;
    }
    return true;
}

static bool seal_memfd(const HostMemOptions *o, HostMemMapping *map, Error **errp)
{
    bool seal = o->qom_type == HOST_MEM_KIND_MEMORY_BACKEND_MEMFD && o->u.memory_backend_memfd.seal;
    if (seal && fcntl(map->ram.fd, F_ADD_SEALS, F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL) < 0) {
        error_set_errno(errp, errno, "sealing the memory file failed");
        error_hint(errp, "seal=off does without");
        return false;
    }
    return true;
}

static bool open_backing(const HostMemOptions *o, HostMemMapping *map, Error **errp)
{
    bool file = o->qom_type == HOST_MEM_KIND_MEMORY_BACKEND_FILE;
    map->ram.page = sysconf(_SC_PAGESIZE);
    if (o->qom_type == HOST_MEM_KIND_MEMORY_BACKEND_RAM && !hostmem_shared(o)) {
        return true;
    }
    if (!(file ? open_file(o, map, errp) : open_memfd(o, map, errp))) {
        return false;
    }
    struct statfs fs;
    if (fstatfs(map->ram.fd, &fs) == 0 && fs.f_type == HUGETLBFS_MAGIC) {
        map->ram.page = fs.f_bsize;
    }
    if (o->size % map->ram.page) {
        g_autofree char *page = text_from_size(map->ram.page);
        return error_fail(errp, "invalid-value", "size", "round it up",
                          "'size' must be a multiple of the huge pages' %s, not %" G_GUINT64_FORMAT " bytes",
                          page, o->size);
    }
    return size_file(o, map, file ? o->u.memory_backend_file.mem_path : o->id, errp) &&
           seal_memfd(o, map, errp);
}

/* ---- nodes ---- */

static bool add_range(uint64_t first, uint64_t last, unsigned long *nodes, Error **errp)
{
    if (first > last || last >= MAX_NODES) {
        return error_fail(errp, "out-of-range", "host-nodes", "'numactl -H' on the host shows its nodes",
                          "'host-nodes': %" G_GUINT64_FORMAT "-%" G_GUINT64_FORMAT " is not within 0-%d",
                          first, last, MAX_NODES - 1);
    }
    for (uint64_t i = first; i <= last; i++) {
        nodes[i / LONG_BITS] |= 1ul << i % LONG_BITS;
    }
    return true;
}

static bool add_nodes(const Json *j, unsigned long *nodes, Error **errp)
{
    const char *text = json_get_string(j);
    uint64_t first, last;
    if (json_get_uint(j, &first)) {
        return add_range(first, first, nodes, errp);
    }
    if (json_kind(j) == JSON_ARRAY) {
        for (size_t i = 0; i < json_length(j); i++) {
            if (!add_nodes(json_at(j, i), nodes, errp)) {
                return false;
            }
        }
        return json_length(j) || error_fail(errp, "invalid-value", "host-nodes",
                                            "leave it out, or name nodes",
                                            "'host-nodes' is empty");
    }
    g_auto(GStrv) part = g_strsplit(text ? text : "", "-", 2);
    if (!part[0] || !text_to_u64(part[0], &first, NULL) ||
        (part[1] ? !text_to_u64(part[1], &last, NULL) : (last = first, false))) {
        error_fail(errp, "invalid-value", "host-nodes", NULL, "'host-nodes' is neither a node nor a range");
        error_hint(errp, "host-nodes=0 or host-nodes=0-3, several times if need be");
        return false;
    }
    return add_range(first, last, nodes, errp);
}

GArray *hostmem_nodes(const Json *host_nodes)
{
    unsigned long nodes[MAX_NODES / LONG_BITS] = { 0 };
    g_autoptr(Error) err = NULL;
    GArray *list = g_array_new(FALSE, FALSE, sizeof(unsigned));
    for (unsigned i = 0; host_nodes && add_nodes(host_nodes, nodes, &err) && i < MAX_NODES; i++) {
        if (nodes[i / LONG_BITS] >> i % LONG_BITS & 1) {
            g_array_append_val(list, i);
        }
    }
    return list;
}

/* File pages belong to the page cache, which heeds policies on tmpfs and hugetlbfs only. */
static bool heeds_policy(const HostMemMapping *map)
{
    struct statfs fs;
    return map->ram.fd < 0 || fstatfs(map->ram.fd, &fs) < 0 || fs.f_type == HUGETLBFS_MAGIC ||
           fs.f_type == TMPFS_MAGIC;
}

static bool set_policy(const HostMemOptions *o, const HostMemMapping *map, Error **errp)
{
    static const int modes[] = { MPOL_DEFAULT, MPOL_PREFERRED_MANY, MPOL_BIND, MPOL_INTERLEAVE };
    unsigned long nodes[MAX_NODES / LONG_BITS] = { 0 };
    if (o->policy == HOST_MEM_POLICY_DEFAULT) {
        return true;
    }
    if (!add_nodes(o->host_nodes, nodes, errp)) {
        return false;
    }
    const char *name = host_mem_policy_names[o->policy];
    if (!heeds_policy(map)) {
        error_fail(errp, "not-supported", "policy", NULL,
                   "policy=%s has no effect on the pages of a shared file here", name);
        error_hint(errp, "put it on hugetlbfs or tmpfs (/dev/shm), use memory-backend-memfd, or share=off");
        return false;
    }
    unsigned n = 0;
    for (unsigned i = 0; i < G_N_ELEMENTS(nodes); i++) {
        n += __builtin_popcountl(nodes[i]);
    }
    int mode = o->policy == HOST_MEM_POLICY_PREFERRED && n == 1 ? MPOL_PREFERRED : modes[o->policy];
    if (syscall(SYS_mbind, map->ram.host, map->ram.size, mode, nodes, (unsigned long)MAX_NODES + 1,
                MPOL_MF_STRICT | MPOL_MF_MOVE) < 0) {
        int err = errno;
        g_autofree char *online = NULL;
        if (!g_file_get_contents("/sys/devices/system/node/online", &online, NULL, NULL)) {
            online = g_strdup("0");
        }
        error_set_errno(errp, err, "policy=%s could not be set", name);
        if (err == ENOSYS) {
            error_hint(errp, "the host's kernel has no NUMA policies: leave policy and host-nodes out");
        } else {
            error_hint(errp, "nodes of this host: %s", g_strstrip(online));
        }
        return false;
    }
    return true;
}

/* ---- the mapping ---- */

static bool place(const HostMemOptions *o, HostMemMapping *map, Error **errp)
{
    uint64_t align = o->qom_type == HOST_MEM_KIND_MEMORY_BACKEND_FILE ? o->u.memory_backend_file.align : 0;
    align = MAX(align, o->size >= BIG_PAGE ? MAX(map->ram.page, BIG_PAGE) : map->ram.page);
    int flags = (hostmem_shared(o) ? MAP_SHARED : MAP_PRIVATE) | (map->ram.fd < 0 ? MAP_ANONYMOUS : 0) |
                (o->reserve ? 0 : MAP_NORESERVE);
    uint64_t room = o->size + align;
    uint8_t *at = MAP_FAILED;
    if (room > o->size && room <= SSIZE_MAX) {
        at = mmap(NULL, room, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    } else {
        errno = ENOMEM;
    }
    if (at == MAP_FAILED) {
        error_set_errno(errp, errno, "the address space has no room for %" G_GUINT64_FORMAT " bytes",
                        o->size);
        error_hint(errp, "give the guest less memory (-m), or raise the limit (ulimit -v)");
        return false;
    }
    uint8_t *host = (uint8_t *)(((uintptr_t)at + align - 1) & ~(uintptr_t)(align - 1));
    if (mmap(host, o->size, PROT_READ | PROT_WRITE, flags | MAP_FIXED, map->ram.fd, 0) == MAP_FAILED) {
        error_set_errno(errp, errno, "mapping %" G_GUINT64_FORMAT " bytes failed", o->size);
        hostmem_room_hint(map->ram.page, errp);
        munmap(at, room);
        return false;
    }
    if (host > at) {
        munmap(at, host - at);
    }
    uint8_t *end = host + o->size;
    if (end < at + room) {
        munmap(end, at + room - end);
    }
    map->ram.host = host;
    map->ram.size = o->size;
    map->ram.drop = hostmem_shared(o)                  ? RAM_DROP_SHARED
                    : map->ram.fd >= 0 && !map->holes ? RAM_DROP_NEVER
                                                       : RAM_DROP_PRIVATE;
    if (map->ram.fd >= 0 && !hostmem_shared(o)) { /* what the guest writes is not in the file */
        close(map->ram.fd);
        map->ram.fd = -1;
    }
    return true;
}

static bool advise(const HostMemOptions *o, HostMemMapping *map, Error **errp)
{
    RamMapping *r = &map->ram;
    bool huge = map->ram.page > RAM_PAGE_SIZE;
    if (!huge && r->size >= BIG_PAGE) {
        madvise(r->host, r->size, MADV_HUGEPAGE); /* only a hint; a kernel without it changes nothing */
    }
    if (o->has_merge && o->merge && huge) {
        error_fail(errp, "not-supported", "merge", NULL, "merge=on: the host does not merge huge pages");
        error_hint(errp, "leave merge out");
        return false;
    }
    int merging = o->merge ? MADV_MERGEABLE : MADV_UNMERGEABLE;
    if (o->has_merge && madvise(r->host, r->size, merging) < 0 && o->merge) {
        error_set_errno(errp, errno, "merge=on: the host's kernel does not merge pages");
        error_hint(errp, "it needs KSM (CONFIG_KSM); leave merge out");
        return false;
    }
    if (o->has_dump && madvise(r->host, r->size, o->dump ? MADV_DODUMP : MADV_DONTDUMP) < 0) {
        return error_set_errno(errp, errno, "dump=%s could not be set", o->dump ? "on" : "off");
    }
    r->merge_given = o->has_merge;
    r->dump_given = o->has_dump;
    r->discard = o->qom_type == HOST_MEM_KIND_MEMORY_BACKEND_FILE && o->u.memory_backend_file.discard_data;
    return true;
}

bool hostmem_map(const HostMemOptions *o, HostMemMapping *map, Error **errp)
{
    *map = (HostMemMapping){ .ram.fd = -1 };
    if (open_backing(o, map, errp) && place(o, map, errp) && set_policy(o, map, errp) &&
        advise(o, map, errp)) {
        return true;
    }
    hostmem_unmap(o, map);
    return false;
}

void hostmem_unmap(const HostMemOptions *o, HostMemMapping *map)
{
    if (map->ram.host) {
        munmap(map->ram.host, map->ram.size);
    }
    if (map->ram.fd >= 0) {
        close(map->ram.fd);
    }
    if (map->created) {
        unlink(o->u.memory_backend_file.mem_path);
    }
    *map = (HostMemMapping){ .ram.fd = -1 };
}
