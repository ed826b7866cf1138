/* SPDX-License-Identifier: MIT
 * hw/core/loader.c - reads image files; flattens ELF executables.
 *
 * Models: System V ABI, "Object Files" (ELF header, program headers, notes) for ELFCLASS32 and
 *         ELFCLASS64, little-endian; the Xen note PHYS32_ENTRY (type 18).
 * Does not model: relocation, symbols, sections (only program headers count), other architectures.
 * Threads: none; files are read at set-up.
 */
#include "rhea/hw/loader.h"
#include "rhea/util/errorcode.h"
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/mman.h>
#include <unistd.h>

enum { XEN_ELFNOTE_PHYS32_ENTRY = 18, LOADER_MAX_SEGMENTS = 64 };

static bool loader_check_file(int fd, const char *what, const char *path, uint64_t max, bool *regular,
                              Error **errp)
{
    struct stat st;
    if (fstat(fd, &st) < 0) {
        return error_set_errno(errp, errno, "could not examine %s file '%s'", what, path);
    }
    if (S_ISDIR(st.st_mode)) {
        return error_fail(errp, "invalid-value", NULL, "name a file",
                          "%s file '%s' is a directory", what, path);
    }
    *regular = S_ISREG(st.st_mode);
    if (*regular && st.st_size == 0) {
        return error_fail(errp, "invalid-value", NULL, "name a file that has something in it",
                          "%s file '%s' is empty", what, path);
    }
    if (*regular && (uint64_t)st.st_size > max) {
        return error_fail(errp, "too-large", NULL, "name a smaller file",
                          "%s file '%s' has %" PRIu64 " bytes, more than the %" PRIu64 " that are possible",
                          what, path, (uint64_t)st.st_size, max);
    }
    return true;
}

static bool loader_write_all(int fd, const uint8_t *data, size_t len)
{
    while (len) {
        ssize_t n = write(fd, data, len);
        if (n < 0 && errno != EINTR) {
            return false;
        }
        data += MAX(n, 0);
        len -= (size_t)MAX(n, 0);
    }
    return true;
}

/* Pipes and devices: read until the end, within the limit. */
static GBytes *loader_read_stream(int fd, const char *what, const char *path, uint64_t max, Error **errp)
{
    g_autoptr(GByteArray) all = g_byte_array_new();
    uint8_t buf[65536];
    for (;;) {
        ssize_t n = read(fd, buf, sizeof(buf));
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n < 0) {
            error_set_errno(errp, errno, "could not read %s file '%s'", what, path);
            return NULL;
        }
        if (n == 0) {
            break;
        }
        if (all->len + (uint64_t)n > max) {
            error_fail(errp, "too-large", NULL, "name a smaller file",
                       "%s file '%s' has more than the %" PRIu64 " bytes that are possible", what, path, max);
            return NULL;
        }
        g_byte_array_append(all, buf, n);
    }
    if (all->len == 0) {
        error_fail(errp, "invalid-value", NULL, "name a file that has something in it",
                   "%s file '%s' is empty", what, path);
        return NULL;
    }
    /* A mapping like that of a regular file, so that its users can drop its pages (loader.h). */
    int mem = memfd_create("rhea-load", MFD_CLOEXEC);
    GMappedFile *map = NULL;
    if (mem >= 0 && loader_write_all(mem, all->data, all->len)) {
        map = g_mapped_file_new_from_fd(mem, FALSE, NULL);
    }
    if (mem >= 0) {
        close(mem);
    }
    if (!map) {
        error_set(errp, "%s file '%s': no memory to hold its %u bytes", what, path, all->len);
        return NULL;
    }
    GBytes *out = g_mapped_file_get_bytes(map);
    g_mapped_file_unref(map);
    return out;
}

GBytes *loader_read_file(const char *what, const char *path, uint64_t max, Error **errp)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        error_set_errno(errp, errno, "could not open %s file '%s'", what, path);
        return NULL;
    }
    GBytes *out = NULL;
    bool regular;
    if (loader_check_file(fd, what, path, max, &regular, errp)) {
        g_autoptr(GMappedFile) map = regular ? g_mapped_file_new_from_fd(fd, FALSE, NULL) : NULL;
        out = map       ? g_mapped_file_get_bytes(map)
              : regular ? NULL
                        : loader_read_stream(fd, what, path, max, errp);
        if (regular && !out) {
            error_set(errp, "could not map %s file '%s'", what, path);
        }
    }
    close(fd);
    return out;
}

bool loader_is_elf(GBytes *file)
{
    gsize n;
    const uint8_t *p = g_bytes_get_data(file, &n);
    return n >= EI_NIDENT && !memcmp(p, ELFMAG, SELFMAG);
}

/* Program headers in one form for both classes. */
typedef struct ElfSegment { uint32_t type; uint64_t off, vaddr, paddr, filesz, memsz; } ElfSegment;

static const char *elf_machine_name(unsigned machine)
{
    switch (machine) {
    case EM_386: return "i386";
    case EM_X86_64: return "x86-64";
    case EM_AARCH64: return "AArch64";
    case EM_ARM: return "ARM";
    case EM_RISCV: return "RISC-V";
    case EM_PPC: return "PowerPC";
    case EM_PPC64: return "PowerPC 64";
    case EM_S390: return "s390";
    case EM_MIPS: return "MIPS";
    case EM_SPARC: return "SPARC";
    case EM_68K: return "m68k";
    case EM_LOONGARCH: return "LoongArch";
    default: return "another architecture";
    }
}

/* The file is the user's, but may come from anywhere: every offset is checked before it is used. */
static bool elf_header(const uint8_t *p, size_t n, const char *name, bool *is_64, uint64_t *entry,
                       uint64_t *phoff, unsigned *phnum, Error **errp)
{
    if (p[EI_DATA] != ELFDATA2LSB || (p[EI_CLASS] != ELFCLASS32 && p[EI_CLASS] != ELFCLASS64) ||
        n < sizeof(Elf32_Ehdr)) {
        return error_set(errp, "'%s' is not a little-endian 32- or 64-bit ELF file", name);
    }
    Elf32_Ehdr e32;
    Elf64_Ehdr e64;
    memcpy(&e32, p, sizeof(e32));
    unsigned machine = GUINT16_FROM_LE(e32.e_machine), type = GUINT16_FROM_LE(e32.e_type);
    if (machine != EM_386 && machine != EM_X86_64) {
        error_set(errp, "'%s' is an ELF file for %s (machine %u), not for x86", name,
                  elf_machine_name(machine), machine);
        error_hint(errp, "use an x86 kernel; this program emulates PCs only");
        return false;
    }
    if (type != ET_EXEC && type != ET_DYN) {
        return error_set(errp, "'%s' is an ELF file of type %u, not an executable", name, type);
    }
    *is_64 = p[EI_CLASS] == ELFCLASS64;
    unsigned phentsize;
    if (*is_64) {
        if (n < sizeof(e64)) {
            return error_set(errp, "'%s': the ELF header is cut off", name);
        }
        memcpy(&e64, p, sizeof(e64));
        *entry = GUINT64_FROM_LE(e64.e_entry);
        *phoff = GUINT64_FROM_LE(e64.e_phoff);
        *phnum = GUINT16_FROM_LE(e64.e_phnum);
        phentsize = GUINT16_FROM_LE(e64.e_phentsize);
    } else {
        *entry = GUINT32_FROM_LE(e32.e_entry);
        *phoff = GUINT32_FROM_LE(e32.e_phoff);
        *phnum = GUINT16_FROM_LE(e32.e_phnum);
        phentsize = GUINT16_FROM_LE(e32.e_phentsize);
    }
    size_t want = *is_64 ? sizeof(Elf64_Phdr) : sizeof(Elf32_Phdr);
    if (*phnum == 0 || *phnum > LOADER_MAX_SEGMENTS || phentsize != want || *phoff > n ||
        *phnum * want > n - *phoff) {
        return error_set(errp, "'%s': the ELF file has no usable program headers", name);
    }
    return true;
}

static ElfSegment elf_segment(const uint8_t *p, bool is_64)
{
    ElfSegment s;
    if (is_64) {
        Elf64_Phdr h;
        memcpy(&h, p, sizeof(h));
        s = (ElfSegment){
            GUINT32_FROM_LE(h.p_type),  GUINT64_FROM_LE(h.p_offset), GUINT64_FROM_LE(h.p_vaddr),
            GUINT64_FROM_LE(h.p_paddr), GUINT64_FROM_LE(h.p_filesz), GUINT64_FROM_LE(h.p_memsz)
        };
    } else {
        Elf32_Phdr h;
        memcpy(&h, p, sizeof(h));
        s = (ElfSegment){
            GUINT32_FROM_LE(h.p_type),  GUINT32_FROM_LE(h.p_offset), GUINT32_FROM_LE(h.p_vaddr),
            GUINT32_FROM_LE(h.p_paddr), GUINT32_FROM_LE(h.p_filesz), GUINT32_FROM_LE(h.p_memsz)
        };
    }
    return s;
}

/* Notes: name size, descriptor size, type, then name and descriptor, each padded to four bytes. */
static void elf_find_pvh(const uint8_t *p, size_t n, LoaderElf *out)
{
    while (n >= 12) {
        uint32_t h[3];
        memcpy(h, p, sizeof(h));
        uint64_t namesz = GUINT32_FROM_LE(h[0]), descsz = GUINT32_FROM_LE(h[1]);
        uint64_t desc = 12 + ((namesz + 3) & ~UINT64_C(3)), next = desc + ((descsz + 3) & ~UINT64_C(3));
        if (desc + descsz > n) {
            return;
        }
        if (GUINT32_FROM_LE(h[2]) == XEN_ELFNOTE_PHYS32_ENTRY && namesz == 4 && !memcmp(p + 12, "Xen", 4) &&
            descsz >= 4) {
            memcpy(&out->pvh_entry, p + desc, 4);
            out->pvh_entry = GUINT32_FROM_LE(out->pvh_entry);
            out->has_pvh = true;
            return;
        }
        if (next >= n) {
            return;
        }
        p += next;
        n -= next;
    }
}

/* First look at all segments: where the image begins and ends. */
static bool elf_measure(const uint8_t *p, size_t n, const char *name, uint64_t phoff, unsigned phnum,
                        uint64_t max, LoaderElf *out, Error **errp)
{
    size_t step = out->is_64 ? sizeof(Elf64_Phdr) : sizeof(Elf32_Phdr);
    out->low = UINT64_MAX;
    out->high = 0;
    for (unsigned i = 0; i < phnum; i++) {
        ElfSegment s = elf_segment(p + phoff + i * step, out->is_64);
        if (s.off > n || s.filesz > n - s.off) {
            return error_set(errp, "'%s': segment %u lies beyond the end of the file", name, i);
        }
        if (s.type == PT_NOTE && !out->has_pvh) {
            elf_find_pvh(p + s.off, s.filesz, out);
        }
        if (s.type != PT_LOAD || s.memsz == 0) {
            continue;
        }
        if (s.filesz > s.memsz || s.paddr > UINT32_MAX || s.memsz > UINT32_MAX - s.paddr) {
            return error_set(errp,
                             "'%s': segment %u (0x%" PRIx64 " bytes at 0x%" PRIx64
                             ") is malformed or not below 4 GiB",
                             name, i, s.memsz, s.paddr);
        }
        out->low = MIN(out->low, s.paddr);
        out->high = MAX(out->high, s.paddr + s.memsz);
    }
    if (out->high == 0) {
        return error_set(errp, "'%s': the ELF file has nothing to load", name);
    }
    if (out->high - out->low > max) {
        return error_set(errp, "'%s' spreads over %" PRIu64 " bytes of memory; %" PRIu64 " are possible",
                         name, out->high - out->low, max);
    }
    return true;
}

bool loader_load_elf(GBytes *file, const char *name, uint64_t max, LoaderElf *out, Error **errp)
{
    gsize n;
    const uint8_t *p = g_bytes_get_data(file, &n);
    uint64_t phoff = 0;
    unsigned phnum = 0;
    *out = (LoaderElf){ 0 };
    if (!elf_header(p, n, name, &out->is_64, &out->entry, &phoff, &phnum, errp) ||
        !elf_measure(p, n, name, phoff, phnum, max, out, errp)) {
        return false;
    }
    uint64_t len = out->high - out->low, entry = out->entry;
    uint8_t *image = g_try_malloc0(len);
    if (!image) {
        return error_set(errp, "'%s': no host memory for %" PRIu64 " bytes", name, len);
    }
    size_t step = out->is_64 ? sizeof(Elf64_Phdr) : sizeof(Elf32_Phdr);
    for (unsigned i = 0; i < phnum; i++) {
        ElfSegment s = elf_segment(p + phoff + i * step, out->is_64);
        if (s.type != PT_LOAD || s.memsz == 0) {
            continue;
        }
        memcpy(image + (s.paddr - out->low), p + s.off, s.filesz);
        if (entry >= s.vaddr && entry - s.vaddr < s.memsz) {
            out->entry = entry - s.vaddr + s.paddr;
        }
    }
    out->image = g_bytes_new_take(image, len);
    return true;
}

void loader_elf_clear(LoaderElf *e)
{
    g_clear_pointer(&e->image, g_bytes_unref);
}
