/* SPDX-License-Identifier: MIT
 * tools/system/dump_elf.c - guest memory as an ELF core file.
 *
 * Models: System V ABI, chapter 4 and 5 (ET_CORE, PT_NOTE, PT_LOAD), ELF32 and ELF64; from 65535 program
 * headers on their number is in the first section header (sh_info). Order: ELF header, program headers, the
 * section header if there is one, notes, memory by physical address. Two segments may show the same memory.
 * Threads: the dump's.
 */
#include "dump.h"

#include <elf.h>
#include <string.h>

enum { PIECE = 1 << 20 };

typedef struct ElfLayout {
    unsigned phnum, ehsize, phsize, shsize;
    bool extended;          /* more segments than e_phnum can say */
    uint64_t notes, memory; /* where they begin in the file */
} ElfLayout;

static ElfLayout lay_out(const DumpPlan *p)
{
    ElfLayout l = { .phnum = p->mappings->len + 1 };
    l.extended = l.phnum >= PN_XNUM;
    l.ehsize = p->wide ? sizeof(Elf64_Ehdr) : sizeof(Elf32_Ehdr);
    l.phsize = p->wide ? sizeof(Elf64_Phdr) : sizeof(Elf32_Phdr);
    l.shsize = p->wide ? sizeof(Elf64_Shdr) : sizeof(Elf32_Shdr);
    l.notes = l.ehsize + (uint64_t)l.phnum * l.phsize + (l.extended ? l.shsize : 0);
    l.memory = l.notes + p->notes->len;
    return l;
}

static void put_header(const DumpPlan *p, const ElfLayout *l, GByteArray *out)
{
    const unsigned char ident[EI_NIDENT] = {
        ELFMAG0, ELFMAG1, ELFMAG2, ELFMAG3, p->wide ? ELFCLASS64 : ELFCLASS32, ELFDATA2LSB, EV_CURRENT
    };
    unsigned word = p->wide ? 8 : 4;
    uint64_t sections = l->extended ? l->ehsize + (uint64_t)l->phnum * l->phsize : 0;
    g_byte_array_append(out, ident, sizeof(ident));
    dump_number(out, ET_CORE, 2);
    dump_number(out, p->is_long ? EM_X86_64 : EM_386, 2);
    dump_number(out, EV_CURRENT, 4);
    dump_number(out, 0, word);
    dump_number(out, l->ehsize, word);
    dump_number(out, sections, word);
    dump_number(out, 0, 4);
    dump_number(out, l->ehsize, 2);
    dump_number(out, l->phsize, 2);
    dump_number(out, l->extended ? PN_XNUM : l->phnum, 2);
    dump_number(out, l->extended ? l->shsize : 0, 2);
    dump_number(out, l->extended, 2);
    dump_number(out, 0, 2);
}

static void put_segment(const DumpPlan *p, GByteArray *out, unsigned type, uint64_t off, const DumpMapping *m)
{
    unsigned word = p->wide ? 8 : 4, flags = type == PT_LOAD ? PF_R | PF_W | PF_X : 0;
    dump_number(out, type, 4);
    if (p->wide) {
        dump_number(out, flags, 4);
    }
    dump_number(out, off, word);
    dump_number(out, m->lin, word);
    dump_number(out, m->phys, word);
    dump_number(out, m->size, word);
    dump_number(out, m->size, word);
    if (!p->wide) {
        dump_number(out, flags, 4);
    }
    dump_number(out, 0, word);
}

/* Section 0, of which nothing but sh_info counts. */
static void put_section(const DumpPlan *p, const ElfLayout *l, GByteArray *out)
{
    size_t before = p->wide ? offsetof(Elf64_Shdr, sh_info) : offsetof(Elf32_Shdr, sh_info);
    dump_zeros(out, before);
    dump_number(out, l->phnum, 4);
    dump_zeros(out, l->shsize - before - 4);
}

/* Where in the file the memory at a physical address lies. */
static uint64_t place(const DumpPlan *p, const ElfLayout *l, const uint64_t *before, uint64_t phys)
{
    unsigned lo = 0, hi = p->ranges->len;
    while (lo + 1 < hi) {
        unsigned mid = (lo + hi) / 2;
        if (g_array_index(p->ranges, DumpRange, mid).start <= phys) {
            lo = mid;
        } else {
            hi = mid;
        }
    }
    return l->memory + before[lo] + (phys - g_array_index(p->ranges, DumpRange, lo).start);
}

static void put_segments(const DumpPlan *p, const ElfLayout *l, GByteArray *out)
{
    const DumpMapping notes = { 0, 0, p->notes->len };
    g_autofree uint64_t *before =
        g_new0(uint64_t, p->ranges->len + 1); /* bytes of memory in front of a range */
    for (unsigned i = 0; i < p->ranges->len; i++) {
        before[i + 1] = before[i] + g_array_index(p->ranges, DumpRange, i).size;
    }
    put_segment(p, out, PT_NOTE, l->notes, &notes);
    for (unsigned i = 0; i < p->mappings->len; i++) {
        const DumpMapping *m = &g_array_index(p->mappings, DumpMapping, i);
        put_segment(p, out, PT_LOAD, place(p, l, before, m->phys), m);
    }
}

static bool put_memory(DumpPlan *p, Error **errp)
{
    for (unsigned i = 0; i < p->ranges->len; i++) {
        const DumpRange *r = &g_array_index(p->ranges, DumpRange, i);
        for (uint64_t off = 0; off < r->size; off += PIECE) {
            size_t n = (size_t)MIN(r->size - off, (uint64_t)PIECE);
            if (!dump_put(p, r->host + off, n, errp)) {
                return false;
            }
            dump_progress(p, n);
        }
    }
    return true;
}

bool dump_write_elf(DumpPlan *p, Error **errp)
{
    ElfLayout l = lay_out(p);
    g_autoptr(GByteArray) head = g_byte_array_new();
    put_header(p, &l, head);
    put_segments(p, &l, head);
    if (l.extended) {
        put_section(p, &l, head);
    }
    return dump_put(p, head->data, head->len, errp) && dump_put(p, p->notes->data, p->notes->len, errp) &&
           put_memory(p, errp);
}
