/* SPDX-License-Identifier: MIT
 * target/x86/tables.c - everything that the CPU's page tables map, for printing and dumps.
 *
 * Models: Intel SDM volume 3, 4.3 to 4.5: 32-bit, PAE, 4- and 5-level paging, as they are in memory now.
 * Does not model: reserved bits (an entry with some is taken as it is), protection keys.
 * Threads: the vCPU's thread, or anybody while it is parked.
 */
#include "sysint.h"
#include "rhea/target/x86/coredump.h"

enum { P_PS = 0x80 };
/* A guest can have one table stand for 2^36 others. So many map 512 GiB by small pages. */
enum { TABLES_MAX = 1 << 18 };

typedef struct TableWalk {
    X86Cpu *cpu;
    X86LeafFn *fn;
    void *opaque;
    unsigned width, tables; /* of an entry; that may still be read */
} TableWalk;

static bool is_large(const TableWalk *w, uint64_t e, unsigned shift, unsigned n)
{
    return (e & P_PS) &&
           (shift == 21 || (shift == 22 && (w->cpu->cr4 & CR4_PSE)) || (shift == 30 && n == 512));
}

/* Its top levels' addresses are sign-extended. */
static uint64_t linear(const TableWalk *w, uint64_t lin, unsigned shift, unsigned i)
{
    unsigned top = w->cpu->cr4 & CR4_LA57 ? 48 : 39;
    uint64_t at = lin | (uint64_t)i << shift;
    return shift == top && i >= 256 ? at | UINT64_MAX << (shift + 9) : at;
}

/* One table: shift is the number of address bits below its entries' index. */
static bool walk_table(TableWalk *w, hwaddr table, uint64_t lin, unsigned shift, unsigned n, unsigned rights)
{
    const uint64_t frame = w->width == 8 ? 0x000ffffffffff000ull : 0xfffff000;
    if (!w->tables--) {
        return false;
    }
    for (unsigned i = 0; i < n; i++) {
        uint64_t e = x86_phys_ld(w->cpu, table + (hwaddr)i * w->width, w->width);
        X86Leaf leaf = { .lin = linear(w, lin, shift, i), .entry = e };
        bool pdpte = w->width == 8 && shift == 30 && n == 4; /* PAE's have no rights */
        leaf.rights = pdpte ? rights : rights & (unsigned)e & (X86_LEAF_P | X86_LEAF_W | X86_LEAF_U);
        if (!(e & X86_LEAF_P)) {
            if (!w->fn(w->opaque, &leaf)) {
                return false;
            }
        } else if (shift == 12 || is_large(w, e, shift, n)) {
            leaf.size = 1ull << shift;
            leaf.frame = e & frame & ~(leaf.size - 1);
            if (w->width == 4 && shift == 22) {
                leaf.frame |= (e & 0x1fe000) << 19;
            }
            if (!w->fn(w->opaque, &leaf)) {
                return false;
            }
        } else if (!walk_table(w, e & frame, leaf.lin, shift - (w->width == 8 ? 9 : 10),
                               w->width == 8 ? 512 : 1024, leaf.rights)) {
            return false;
        }
    }
    return true;
}

bool x86_each_leaf(Vcpu *v, X86LeafFn *fn, void *opaque)
{
    X86Cpu *cpu = x86_cpu(v);
    TableWalk w = { .cpu = cpu, .fn = fn, .opaque = opaque, .width = 8, .tables = TABLES_MAX };
    const unsigned all = X86_LEAF_P | X86_LEAF_W | X86_LEAF_U;
    if (!(cpu->cr0 & CR0_PG)) {
        return true;
    }
    if (in_long(cpu)) {
        return walk_table(&w, cpu->cr3 & 0x000ffffffffff000ull, 0, cpu->cr4 & CR4_LA57 ? 48 : 39, 512, all);
    }
    if (cpu->cr4 & CR4_PAE) {
        return walk_table(&w, cpu->cr3 & 0xffffffe0, 0, 30, 4, all);
    }
    w.width = 4;
    return walk_table(&w, cpu->cr3 & 0xfffff000, 0, 22, 1024, all);
}
