/* SPDX-License-Identifier: MIT
 * rhea/hw/loader.h - kernel images and other files a board reads at start.
 */
#ifndef RHEA_HW_LOADER_H
#define RHEA_HW_LOADER_H

#include "rhea/util/error.h"
#include <stdint.h>

/* The whole file; `what` is the option it came with ("-kernel"). Refuses directories, empty files and more
 * than `max` bytes. NULL on failure. The bytes are a private mapping of a file that nobody changes: pages dropped with
 * MADV_DONTNEED come back from it. */
GBytes *loader_read_file(const char *what, const char *path, uint64_t max, Error **errp);

/* An ELF executable flattened to one piece of physical memory. */
typedef struct LoaderElf {
    GBytes *image;        /* segments from `low` on, gaps and BSS zero; owned */
    uint64_t low, high;   /* physical addresses [low, high) */
    uint64_t entry;       /* e_entry, converted to a physical address if a segment holds it */
    bool is_64;
    bool has_pvh;
    uint32_t pvh_entry;   /* the note XEN_ELFNOTE_PHYS32_ENTRY */
} LoaderElf;
bool loader_is_elf(GBytes *file);
/* Only i386 and x86-64 executables below 4 GiB; at most `max` bytes of memory. `name` is for messages. */
bool loader_load_elf(GBytes *file, const char *name, uint64_t max, LoaderElf *out, Error **errp);
void loader_elf_clear(LoaderElf *e);

#endif
