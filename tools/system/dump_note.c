/* SPDX-License-Identifier: MIT
 * tools/system/dump_note.c - the note by which a guest's kernel describes itself (VMCOREINFO), for dumps.
 *
 * Models: ELF notes (System V ABI, chapter 5); Linux, Documentation/admin-guide/kdump/vmcoreinfo.rst. Where
 * it lies the guest says (-device vmcoreinfo), so neither place nor content is to be trusted: a note that is
 * none is left out, with a warning. Threads: main loop; the machine stands.
 */
#include "dump.h"
#include "rhea/hw/guestinfo.h"
#include "rhea/system/machine.h"
#include "rhea/util/log.h"

#include <string.h>

enum { NOTE_HEAD = 12 };
#define NOTE_NAME "VMCOREINFO"
#define PHYS_BASE "\nNUMBER(phys_base)="

/* Out of the ranges of RAM: registers are not read. */
static bool read_memory(const DumpPlan *p, uint64_t paddr, uint8_t *to, size_t len)
{
    for (unsigned i = 0; i < p->ranges->len && len; i++) {
        const DumpRange *r = &g_array_index(p->ranges, DumpRange, i);
        if (paddr >= r->start && paddr - r->start < r->size) {
            size_t n = (size_t)MIN((uint64_t)len, r->start + r->size - paddr);
            memcpy(to, r->host + (paddr - r->start), n);
            paddr += n;
            to += n;
            len -= n;
        }
    }
    return !len;
}

static uint64_t padded(uint32_t n)
{
    return ((uint64_t)n + 3) & ~(uint64_t)3;
}

/* How long the note is that `raw` begins with, and where its text is; 0: it is none of a kernel's. */
static size_t check_note(const uint8_t *raw, size_t size, size_t *text, size_t *text_len)
{
    uint32_t head[NOTE_HEAD / 4] = { 0 };
    if (size < NOTE_HEAD) {
        return 0;
    }
    memcpy(head, raw, NOTE_HEAD);
    uint32_t name = GUINT32_FROM_LE(head[0]), desc = GUINT32_FROM_LE(head[1]);
    uint64_t total = NOTE_HEAD + padded(name) + padded(desc);
    if (total > size || !desc || (name != sizeof(NOTE_NAME) && name != sizeof(NOTE_NAME) - 1) ||
        memcmp(raw + NOTE_HEAD, NOTE_NAME, sizeof(NOTE_NAME) - 1)) {
        return 0;
    }
    *text = NOTE_HEAD + padded(name);
    *text_len = desc;
    return total;
}

/* What a kernel that was moved says of its place: programs want it in the compressed format's header. */
static uint64_t find_phys_base(const uint8_t *text, size_t len)
{
    g_autofree char *copy = g_strndup((const char *)text, len);
    const char *at = strstr(copy, PHYS_BASE);
    return at ? (uint64_t)g_ascii_strtoll(at + strlen(PHYS_BASE), NULL, 10) : 0;
}

void dump_add_vmcoreinfo(Machine *m, DumpPlan *p)
{
    uint64_t paddr;
    uint32_t size;
    if (!vmcoreinfo_get(m, &paddr, &size)) {
        return;
    }
    g_autofree uint8_t *raw = g_malloc(size); /* 1 MiB at most */
    size_t text, text_len, total = 0;
    bool there = read_memory(p, paddr, raw, size);
    if (there) {
        total = check_note(raw, size, &text, &text_len);
    }
    if (!total) {
        log_warn("the dump has no VMCOREINFO: what the guest says lies at 0x%" G_GINT64_MODIFIER
                 "x, %u bytes, %s",
                 paddr, (unsigned)size, there ? "is no such note" : "is not in the dumped memory");
        return;
    }
    p->info_at = p->notes->len + text;
    p->info_len = text_len;
    p->phys_base = find_phys_base(raw + text, text_len);
    g_byte_array_append(p->notes, raw, (guint)total);
}
