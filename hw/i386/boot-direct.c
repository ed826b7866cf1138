/* SPDX-License-Identifier: MIT
 * hw/i386/boot-direct.c - boots without firmware: what a loader leaves in memory and in the first CPU's
 * registers.
 *
 * Models: the Linux/x86 boot protocol's 32- and 64-bit entries, the PVH start-info ABI.
 * Does not model: Multiboot (the option ROM of -machine pc does).
 * Threads: loaded on the main loop; entered at reset, while the CPUs are parked.
 */
#include "boot.h"
#include "rhea/target/x86/cpu.h"
#include <sys/mman.h>
#include <unistd.h>

typedef struct DirectBlob {
    uint64_t at;
    GBytes *data;
    bool file_backed;
} DirectBlob;

static void blob_clear(void *opaque)
{
    g_bytes_unref(((DirectBlob *)opaque)->data);
}

void direct_boot_init(DirectBoot *d)
{
    d->blobs = g_array_new(FALSE, FALSE, sizeof(DirectBlob));
    g_array_set_clear_func(d->blobs, blob_clear);
}

void direct_boot_fini(DirectBoot *d)
{
    g_clear_pointer(&d->blobs, g_array_unref);
}

void direct_boot_add(DirectBoot *d, uint64_t at, GBytes *data, bool file_backed)
{
    DirectBlob b = { .at = at, .data = g_bytes_ref(data), .file_backed = file_backed };
    g_array_append_val(d->blobs, b);
}

void direct_boot_add_take(DirectBoot *d, uint64_t at, GByteArray *data)
{
    g_autoptr(GBytes) bytes = g_byte_array_free_to_bytes(data);
    direct_boot_add(d, at, bytes, false);
}

/* Descriptors (SDM volume 3, figure 3-8): null, null, flat code, flat data. */
static void add_gdt(DirectBoot *d)
{
    static const uint64_t code32 = UINT64_C(0x00cf9b000000ffff), code64 = UINT64_C(0x00af9b000000ffff),
                          data = UINT64_C(0x00cf93000000ffff);
    GByteArray *t = g_byte_array_new();
    const uint64_t gdt[4] = { 0, 0, d->kind == DIRECT_LINUX64 ? code64 : code32, data };
    for (unsigned i = 0; i < G_N_ELEMENTS(gdt); i++) {
        uint64_t le = GUINT64_TO_LE(gdt[i]);
        g_byte_array_append(t, (uint8_t *)&le, sizeof(le));
    }
    direct_boot_add_take(d, DIRECT_GDT, t);
}

/* 4-level paging (4.5): the first 4 GiB as they are, in pages of 2 MiB. */
static void add_pages(DirectBoot *d)
{
    enum { PRESENT_RW = 3, LARGE = 0x80, PAGE = 0x1000, DIRECTORIES = 4 };
    uint64_t *t = g_new0(uint64_t, (2 + DIRECTORIES) * PAGE / 8);
    t[0] = GUINT64_TO_LE((DIRECT_PAGES + PAGE) | PRESENT_RW);
    for (unsigned i = 0; i < DIRECTORIES; i++) {
        t[PAGE / 8 + i] = GUINT64_TO_LE((DIRECT_PAGES + (2 + i) * PAGE) | PRESENT_RW);
    }
    for (uint64_t i = 0; i < DIRECTORIES * 512; i++) {
        t[2 * PAGE / 8 + i] = GUINT64_TO_LE(i << 21 | LARGE | PRESENT_RW);
    }
    g_autoptr(GBytes) pages = g_bytes_new_take(t, (2 + DIRECTORIES) * PAGE);
    direct_boot_add(d, DIRECT_PAGES, pages, false);
}

/* Kernels that know no better way restart by a jump to where firmware would begin (Linux under
 * hardware-reduced ACPI does). There it writes the board's reset register, in protected mode, since that lies
 * in memory; or without one runs into a triple fault, which resets the machine as well. */
static void add_reset_vector(DirectBoot *d)
{
    enum { CODE = 0xfff00, RESET_VECTOR = 0xf0, REGISTER = 0x17, VALUE = 0x1b, FAULT = 0x40 };
    uint8_t code[256] = {
        0xfa, /* cli */
        0x2e,
        0x0f,
        0x01,
        0x16,
        0x20,
        0xff, /* lgdt %cs:0xff20 */
        0x0f,
        0x20,
        0xc0, /* mov %cr0, %eax */
        0x0c,
        0x01, /* or $1, %al */
        0x0f,
        0x22,
        0xc0, /* mov %eax, %cr0 */
        0xb8,
        0x08,
        0x00,
        0x8e,
        0xd8, /* mov $8, %ax; mov %ax, %ds */
        0x67,
        0xc6,
        0x05,
        0,
        0,
        0,
        0,
        0, /* movb $VALUE, REGISTER */
        0xf4,
        0xeb,
        0xfd, /* 1: hlt; jmp 1b */
        [0x20] = 0x0f,
        0,
        0x28,
        0xff,
        0x0f,
        0, /* GDTR: 16 bytes at FFF28h */
        [0x30] = 0xff,
        0xff,
        0,
        0,
        0,
        0x93,
        0xcf,
        0, /* selector 8: flat data */
        [FAULT] = 0x2e,
        0x0f,
        0x01,
        0x1e,
        0x50,
        0xff, /* lidt %cs:0xff50: limit 0 */
        0xcc, /* int3 */
        [RESET_VECTOR] = 0xe9,
        0,
        0, /* jmp */
    };
    int target = d->reset_register ? 0 : FAULT;
    code[RESET_VECTOR + 1] = (target - RESET_VECTOR - 3) & 0xff;
    code[RESET_VECTOR + 2] = (target - RESET_VECTOR - 3) >> 8 & 0xff;
    boot_set32(code + REGISTER, d->reset_register);
    code[VALUE] = d->reset_value;
    g_autoptr(GBytes) data = g_bytes_new(code, sizeof(code));
    direct_boot_add(d, CODE, data, false);
}

bool direct_boot_load(DirectBoot *d, BootRequest *r, Error **errp)
{
    g_autoptr(GBytes) file = loader_read_file("-kernel", r->kernel, UINT32_MAX, errp);
    if (!file) {
        return false;
    }
    r->file = file;
    bool ok;
    if (boot_linux_probe(file)) {
        ok = boot_linux_direct(r, d, errp);
    } else if (loader_is_elf(file) && !boot_multiboot_probe(file)) {
        ok = boot_pvh_direct(r, d, errp);
    } else if (boot_multiboot_probe(file)) {
        ok = error_set(errp, "-kernel file '%s' is a Multiboot kernel, which needs firmware", r->kernel);
        error_hint(errp, "use -machine pc");
    } else {
        ok = boot_refuse(r, errp);
    }
    if (!ok) {
        return false;
    }
    if (d->kind != DIRECT_PVH) {
        add_gdt(d);
    }
    if (d->kind == DIRECT_LINUX64) {
        add_pages(d);
    }
    add_reset_vector(d);
    g_autoptr(GBytes) text = g_bytes_new(r->append, strlen(r->append) + 1);
    direct_boot_add(d, DIRECT_CMDLINE, text, false);
    return true;
}

/* ---- at reset ---- */

static void drop_pages(const DirectBlob *b)
{
    gsize len;
    uintptr_t start = (uintptr_t)g_bytes_get_data(b->data, &len), page = (uintptr_t)getpagesize();
    uintptr_t first = (start + page - 1) & -page, end = (start + len) & -page;
    if (b->file_backed && end > first) {
        madvise((void *)first, end - first, MADV_DONTNEED);
    }
}

void direct_boot_enter(const DirectBoot *d, Machine *m)
{
    for (guint i = 0; i < d->blobs->len; i++) {
        const DirectBlob *b = &g_array_index(d->blobs, DirectBlob, i);
        gsize len;
        const void *data = g_bytes_get_data(b->data, &len);
        as_access(&m->as_mem, b->at, (void *)data, len, true, (MemAttrs){ 0 });
        drop_pages(b);
    }
    X86Cpu *cpu = m->cpus ? x86_cpu(m->cpus[0]) : NULL;
    if (!cpu) {
        return;
    }
    x86_set_memory_cached(cpu);
    if (d->kind == DIRECT_PVH) {
        x86_enter_flat32(cpu, (uint32_t)d->entry, DIRECT_INFO, 0);
    } else {
        X86LinuxEntry e = { .entry = d->entry,
                            .boot_params = DIRECT_INFO,
                            .gdt = DIRECT_GDT,
                            .gdt_limit = 31,
                            .cr3 = d->kind == DIRECT_LINUX64 ? DIRECT_PAGES : 0 };
        x86_enter_linux(cpu, &e);
    }
}
