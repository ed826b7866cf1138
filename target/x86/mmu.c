/* SPDX-License-Identifier: MIT
 * target/x86/mmu.c - linear to physical: the guest's page tables.
 * Models:  Intel SDM volume 3 chapter 4: no paging, 32-bit (PSE, PSE-36), PAE, 4-level and 5-level with 2 MiB and
 *          1 GiB pages; NX, WP, SMEP, SMAP, protection keys of user and supervisor pages (4.6.2), reserved bits,
 *          accessed and dirty flags (4.8), error codes (4.7).
 * Does not model: memory types.
 * Threads: the vCPU's thread; entries are updated with compare-and-swap because other vCPUs walk
 * them too.
 */
#include "sysint.h"
#include "cpuid.h"
#include "t0.h"
#include "rhea/util/log.h"

enum {
    PTE_P = 1, PTE_W = 2, PTE_U = 4, PTE_A = 0x20, PTE_D = 0x40, PTE_PS = 0x80, PTE_G = 0x100,
};
#define PTE_NX (1ull << 63)
enum { PF_P = 1, PF_W = 2, PF_U = 4, PF_RSVD = 8, PF_I = 16, PF_PK = 32 };

/* One walk: what was read on the way down, and the rights that remained. */
typedef struct Walk {
    X86Cpu *cpu;
    unsigned width;   /* bytes of an entry */
    unsigned n;
    hwaddr pa[5];
    uint64_t e[5];
    uint64_t size;    /* of the page found */
    hwaddr frame;
    bool w, u, nx;    /* combined rights */
    bool rsvd;
    uint8_t key;      /* protection key */
    uint8_t rights[5]; /* MAP_* down to each entry */
} Walk;

static hwaddr mmu_a20(const X86Cpu *cpu, hwaddr pa)
{
    return G_LIKELY(cpu->a20_gate) ? pa : pa & ~(hwaddr)(1u << 20);
}

static uint64_t mmu_reserved_phys(const X86Cpu *cpu)
{
    /* Bits 51 down to MAXPHYADDR. */
    return ((1ull << 52) - 1) & ~((1ull << cpu->phys_bits) - 1);
}

/* Reads one entry. False: not present or reserved bits set (w->rsvd). rsvd: bits that must be zero here. */
static bool walk_step(Walk *w, hwaddr pa, uint64_t rsvd, bool rights)
{
    pa = mmu_a20(w->cpu, pa);
    uint64_t e = x86_phys_ld(w->cpu, pa, w->width);
    w->pa[w->n] = pa;
    w->e[w->n++] = e;
    if (!(e & PTE_P)) {
        return false;
    }
    if (e & rsvd) {
        w->rsvd = true;
        return false;
    }
    if (rights) {
        w->w &= (e & PTE_W) != 0;
        w->u &= (e & PTE_U) != 0;
        w->nx |= w->width == 8 && (e & PTE_NX);
    }
    w->rights[w->n - 1] = (uint8_t)((w->w ? MAP_W : 0) | (w->u ? MAP_U : 0) | (w->nx ? MAP_NX : 0));
    return true;
}

static void walk_leaf(Walk *w, uint64_t size, hwaddr frame)
{
    w->size = size;
    w->frame = frame;
    w->key = (uint8_t)(w->width == 8 ? w->e[w->n - 1] >> 59 & 15 : 0);
}

/* SDM 4.3. */
static bool walk_32(Walk *w, uint64_t lin)
{
    X86Cpu *cpu = w->cpu;
    w->width = 4;
    if (!walk_step(w, (cpu->cr3 & 0xfffff000) | ((lin >> 20) & 0xffc), 0, true)) {
        return false;
    }
    uint64_t pde = w->e[0];
    if ((pde & PTE_PS) && (cpu->cr4 & CR4_PSE)) {
        /* Table 4-4: bits 20..13 hold address bits 39..32 as far as MAXPHYADDR goes; bit 21 is reserved. */
        unsigned m = x86_has_bit(cpu, X86_FEAT_PSE36) ? MIN(cpu->phys_bits, 40u) : 32;
        uint64_t rsvd = 0x3fe000 & ~((1ull << (m - 32 + 13)) - 1);
        if (pde & rsvd) {
            w->rsvd = true;
            return false;
        }
        walk_leaf(w, 4u << 20, (pde & 0xffc00000) | ((pde & 0x1fe000) << 19));
        return true;
    }
    if (!walk_step(w, (pde & 0xfffff000) | ((lin >> 10) & 0xffc), 0, true)) {
        return false;
    }
    walk_leaf(w, 4096, w->e[1] & 0xfffff000);
    return true;
}

/* The last two levels, common to PAE and 4-level paging. */
static bool walk_low(Walk *w, uint64_t lin, hwaddr table, uint64_t rsvd)
{
    const uint64_t frame = 0x000ffffffffff000ull;
    if (!walk_step(w, table + ((lin >> 18) & 0xff8), rsvd, true)) {
        return false;
    }
    uint64_t pde = w->e[w->n - 1];
    if (pde & PTE_PS) {
        if (pde & 0x1fe000) {
            w->rsvd = true;
            return false;
        }
        walk_leaf(w, 2u << 20, pde & frame & ~0x1fffffull);
        return true;
    }
    if (!walk_step(w, (pde & frame) + ((lin >> 9) & 0xff8), rsvd, true)) {
        return false;
    }
    walk_leaf(w, 4096, w->e[w->n - 1] & frame);
    return true;
}

/* SDM 4.4: the four PDPTEs are registers, loaded with CR3 and checked then. */
static bool walk_pae(Walk *w, uint64_t lin)
{
    X86Cpu *cpu = w->cpu;
    uint64_t rsvd = mmu_reserved_phys(cpu) | (cpu->efer & EFER_NXE ? 0 : PTE_NX) | (0x7ffull << 52);
    w->width = 8;
    uint64_t pdpte = cpu->pdpte[(lin >> 30) & 3];
    return (pdpte & PTE_P) && walk_low(w, lin, pdpte & 0x000ffffffffff000ull, rsvd);
}

/* SDM 4.5. */
static bool walk_long(Walk *w, uint64_t lin)
{
    X86Cpu *cpu = w->cpu;
    const uint64_t frame = 0x000ffffffffff000ull;
    uint64_t rsvd = mmu_reserved_phys(cpu) | (cpu->efer & EFER_NXE ? 0 : PTE_NX);
    w->width = 8;
    hwaddr top = cpu->cr3 & frame;
    if (cpu->cr4 & CR4_LA57) {
        if (!walk_step(w, top + ((lin >> 45) & 0xff8), rsvd | PTE_PS, true)) {
            return false;
        }
        top = w->e[0] & frame;
    }
    if (!walk_step(w, top + ((lin >> 36) & 0xff8), rsvd | PTE_PS, true)) {
        return false;
    }
    if (!walk_step(w, (w->e[w->n - 1] & frame) + ((lin >> 27) & 0xff8), rsvd, true)) {
        return false;
    }
    uint64_t pdpte = w->e[w->n - 1];
    if (pdpte & PTE_PS) {
        if (!x86_has_bit(cpu, X86_FEAT_PDPE1GB) || (pdpte & 0x3fffe000)) {
            w->rsvd = true;
            return false;
        }
        walk_leaf(w, 1u << 30, pdpte & frame & ~0x3fffffffull);
        return true;
    }
    return walk_low(w, lin, pdpte & frame, rsvd);
}

static bool walk_any(Walk *w, uint64_t lin)
{
    X86Cpu *cpu = w->cpu;
    w->n = 0;
    w->w = w->u = true;
    w->nx = w->rsvd = false;
    if (cpu->efer & EFER_LMA) {
        return walk_long(w, lin);
    }
    return cpu->cr4 & CR4_PAE ? walk_pae(w, (uint32_t)lin) : walk_32(w, (uint32_t)lin);
}

/* SDM 4.6.2: the key of the page, bits 62..59 of the entry that maps it, says no. */
static inline bool walk_key_denies(const Walk *w, X86Access acc, unsigned mmu)
{
    const X86Cpu *cpu = w->cpu;
    if (!(cpu->cr4 & (CR4_PKE | CR4_PKS)) || !(cpu->efer & EFER_LMA) || acc == ACC_EXEC) {
        return false;
    }
    unsigned key = w->key;
    if (!(cpu->cr4 & (w->u ? CR4_PKE : CR4_PKS))) {
        return false;
    }
    *(w->u ? &cpu->sys->pk_user : &cpu->sys->pk_super) |= (uint16_t)(1u << key);
    unsigned rights = (w->u ? cpu->pkru : cpu->pkrs) >> (2 * key) & 3; /* 1: no data access, 2: no writes */
    return rights & 1 || (rights & 2 && acc == ACC_WRITE && (mmu == 1 || cpu->cr0 & CR0_WP));
}

static void set_keys(X86Cpu *cpu, uint32_t *reg, uint16_t seen, uint32_t val)
{
    uint32_t diff = *reg ^ val;
    *reg = val;
    for (unsigned key = 0; seen && diff; key++, diff >>= 2, seen >>= 1) {
        if ((diff & 3) && (seen & 1)) {
            x86_tlb_rights_changed(cpu);
            cpu->sys->pk_user = cpu->sys->pk_super = 0;
            return;
        }
    }
}

void x86_set_pkru(X86Cpu *cpu, uint32_t val)
{
    set_keys(cpu, &cpu->pkru, cpu->sys->pk_user, val);
}

void x86_set_pkrs(X86Cpu *cpu, uint32_t val)
{
    set_keys(cpu, &cpu->pkrs, cpu->sys->pk_super, val);
}

/* SDM 4.6.1. user: mmu index 1; index 2 is the kernel while SMAP forbids user pages. */
static bool walk_allows(const Walk *w, X86Access acc, unsigned mmu)
{
    const X86Cpu *cpu = w->cpu;
    if (walk_key_denies(w, acc, mmu)) {
        return false;
    }
    if (mmu == 1) {
        return w->u && (acc != ACC_WRITE || w->w) && (acc != ACC_EXEC || !w->nx);
    }
    if (acc == ACC_EXEC) {
        return !w->nx && !(w->u && (cpu->cr4 & CR4_SMEP));
    }
    if (mmu == 2 && w->u) {
        return false;
    }
    return acc == ACC_READ || w->w || !(cpu->cr0 & CR0_WP);
}

/* SDM 4.8: accessed in every entry used, dirty in the last one. False: an entry changed meanwhile. */
static bool walk_set_ad(Walk *w, bool dirty)
{
    for (unsigned i = 0; i < w->n; i++) {
        uint64_t now = w->e[i] | PTE_A | (dirty && i == w->n - 1 ? PTE_D : 0);
        if (now != w->e[i]) {
            if (!x86_phys_cas(w->cpu, w->pa[i], w->width, w->e[i], now)) {
                return false;
            }
            w->e[i] = now;
        }
    }
    return true;
}

static uint32_t walk_error(const Walk *w, bool present, X86Access acc, unsigned mmu)
{
    const X86Cpu *cpu = w->cpu;
    uint32_t err = (present || w->rsvd ? PF_P : 0) | (acc == ACC_WRITE ? PF_W : 0) | (mmu == 1 ? PF_U : 0) |
                   (w->rsvd ? PF_RSVD : 0) | (present && walk_key_denies(w, acc, mmu) ? PF_PK : 0);
    /* SDM 4.7: the I/D flag only where fetches are told from reads at all. */
    bool nx = (cpu->cr4 & CR4_PAE) && (cpu->efer & EFER_NXE);
    return acc == ACC_EXEC && (nx || (cpu->cr4 & CR4_SMEP)) ? err | PF_I : err;
}

static void walk_remember(const Walk *w, uint64_t lin, uint32_t err)
{
    static const char *const names[] = { "PML5E", "PML4E", "PDPTE", "PDE", "PTE" };
    const char *const *long_names = names + (w->cpu->cr4 & CR4_LA57 && w->cpu->efer & EFER_LMA ? 0 : 1);
    X86Walk *r = &w->cpu->sys->scratch;
    *r = (X86Walk){ .valid = true, .lin = lin, .err = err };
    if (w->cpu->efer & EFER_LMA) {
        for (unsigned i = 0; i < w->n; i++) {
            r->e[r->n].name = long_names[i];
            r->e[r->n].pa = w->pa[i];
            r->e[r->n++].entry = w->e[i];
        }
        return;
    }
    if (w->cpu->cr4 & CR4_PAE) {
        r->e[r->n].name = "PDPTE";
        r->e[r->n].pa = (w->cpu->cr3 & 0xffffffe0) + ((lin >> 27) & 0x18);
        r->e[r->n++].entry = w->cpu->pdpte[(lin >> 30) & 3];
    }
    for (unsigned i = 0; i < w->n; i++) {
        r->e[r->n].name = long_names[2 + i];
        r->e[r->n].pa = w->pa[i];
        r->e[r->n++].entry = w->e[i];
    }
}

/* --- between the walker and what it knows from before (tlbstate.h) --- */

static uint64_t walk_val(const Walk *w)
{
    uint64_t leaf = w->e[w->n - 1];
    unsigned size = w->size == 4096 ? 0 : w->size == 2 << 20 ? 1 : w->size == 4 << 20 ? 2 : 3;
    return w->frame | (uint64_t)w->key << MAP_KEY_SHIFT | size << MAP_SIZE_SHIFT | (w->w ? MAP_W : 0) |
           (w->u ? MAP_U : 0) | (w->nx ? MAP_NX : 0) | (leaf & PTE_D ? MAP_D : 0) |
           ((leaf & PTE_G) && (w->cpu->cr4 & CR4_PGE) ? MAP_G : 0);
}

/* A walk that begins at a table known from an earlier one. False: none is. w->size is 0 when it ends in a fault. */
static bool walk_cached(Walk *w, const TlbState *s, uint64_t lin)
{
    const X86Cpu *cpu = w->cpu;
    uint64_t val;
    bool pde = psc_find(s, lin, false, &val);
    if (!(cpu->cr4 & CR4_PAE) || (!pde && !psc_find(s, lin, true, &val))) {
        return false;
    }
    bool lma = cpu->efer & EFER_LMA;
    uint64_t rsvd = mmu_reserved_phys(cpu) | (cpu->efer & EFER_NXE ? 0 : PTE_NX) | (lma ? 0 : 0x7ffull << 52);
    w->n = 0;
    w->width = 8;
    w->w = val & MAP_W;
    w->u = val & MAP_U;
    w->nx = val & MAP_NX;
    w->rsvd = false;
    w->size = 0;
    hwaddr table = val & MAP_FRAME;
    if (!pde) {
        w->size = walk_low(w, lin, table, rsvd) ? w->size : 0;
    } else if (walk_step(w, table + ((lin >> 9) & 0xff8), rsvd, true)) {
        walk_leaf(w, 4096, w->e[0] & MAP_FRAME);
    }
    return true;
}

/* Keeps the tables a successful walk went through; their accessed flags are set (4.10.3.1). */
static void walk_keep(const Walk *w, TlbState *s, uint64_t lin)
{
    if (w->width != 8 || w->size > 2 << 20) {
        return;
    }
    unsigned i = w->n - 1; /* the leaf */
    if (w->size == 4096 && i-- > 0) {
        psc_add(s, lin, false, (w->e[i] & MAP_FRAME) | w->rights[i]);
    }
    if (w->cpu->efer & EFER_LMA && i < w->n && i-- > 0) {
        psc_add(s, lin, true, (w->e[i] & MAP_FRAME) | w->rights[i]);
    }
}

static void translate_done(X86Cpu *cpu, uint64_t lin, uint64_t val, unsigned mmu, X86Xlat *out)
{
    uint64_t size = map_size(val);
    bool user = val & MAP_U, write = val & MAP_W, exec = !(val & MAP_NX);
    out->phys = mmu_a20(cpu, (val & MAP_FRAME) | (lin & (size - 1)));
    out->page_size = size;
    out->global = val & MAP_G;
    if (mmu == 1) { /* walk_allows() for all three at once */
        out->read_ok = user;
        out->write_ok = user && write;
        out->exec_ok = user && exec;
    } else {
        out->read_ok = mmu == 0 || !user;
        out->write_ok = out->read_ok && (write || !(cpu->cr0 & CR0_WP));
        out->exec_ok = exec && !(user && (cpu->cr4 & CR4_SMEP));
    }
    out->write_ok &= (val & MAP_D) != 0;
    if (G_UNLIKELY(cpu->cr4 & (CR4_PKE | CR4_PKS))) {
        Walk w = { .cpu = cpu, .u = user, .key = val >> MAP_KEY_SHIFT & 15 };
        out->read_ok &= !walk_key_denies(&w, ACC_READ, mmu);
        out->write_ok &= !walk_key_denies(&w, ACC_WRITE, mmu);
    }
}

bool x86_translate_known(X86Cpu *cpu, uint64_t lin, unsigned mmu, X86Xlat *out)
{
    uint64_t val;
    if (!(cpu->cr0 & CR0_PG) || !l2_find(&cpu->t0->tlb, lin, &val)) {
        return false;
    }
    cpu->t0->stats.l2_hits++;
    translate_done(cpu, lin, val, mmu, out);
    return true;
}

bool x86_translate(X86Cpu *cpu, uint64_t lin, X86Access acc, unsigned mmu, X86Xlat *out, uint32_t *pf_err)
{
    if (!(cpu->cr0 & CR0_PG)) {
        *out = (X86Xlat){ .phys = mmu_a20(cpu, (uint32_t)lin), .page_size = 4096,
                          .write_ok = true, .exec_ok = true, .read_ok = true };
        return true;
    }
    TlbState *s = &cpu->t0->tlb;
    uint64_t val;
    Walk w;
    w.cpu = cpu;
    if (l2_find(s, lin, &val)) {
        translate_done(cpu, lin, val, mmu, out);
        if (acc == ACC_READ ? out->read_ok : acc == ACC_WRITE ? out->write_ok : out->exec_ok) {
            cpu->t0->stats.l2_hits++;
            return true;
        }
    }
    cpu->t0->stats.walks++;
    for (bool cached = true;;) {
        cached = cached && walk_cached(&w, s, lin);
        bool present = cached ? w.size != 0 : walk_any(&w, lin);
        if (!present || !walk_allows(&w, acc, mmu)) {
            if (cached) { /* a fault is not decided from memory of the upper tables (4.10.4.2, 4.10.4.3) */
                cached = false;
                continue;
            }
            *pf_err = walk_error(&w, present, acc, mmu);
            walk_remember(&w, lin, *pf_err);
            return false;
        }
        if (walk_set_ad(&w, acc == ACC_WRITE)) {
            cpu->t0->stats.walk_hits += cached;
            break;
        }
    }
    walk_keep(&w, s, lin);
    val = walk_val(&w);
    l2_add(s, lin, val);
    translate_done(cpu, lin, val, mmu, out);
    return true;
}

bool x86_translate_debug(X86Cpu *cpu, uint64_t lin, hwaddr *phys)
{
    if (!(cpu->cr0 & CR0_PG)) {
        *phys = mmu_a20(cpu, (uint32_t)lin);
        return true;
    }
    Walk w = { .cpu = cpu };
    if (!x86_canonical(cpu, lin) || !walk_any(&w, lin)) {
        return false;
    }
    *phys = mmu_a20(cpu, w.frame | (lin & (w.size - 1)));
    return true;
}

bool x86_canonical(const X86Cpu *cpu, uint64_t lin)
{
    return !(cpu->efer & EFER_LMA) || x86_lin_ok(cpu, lin);
}

bool x86_canonical_base(const X86Cpu *cpu, uint64_t lin)
{
    unsigned shift = x86_has_bit(cpu, X86_FEAT_LA57) ? 7 : 16;
    return !x86_has_bit(cpu, X86_FEAT_LM) || (uint64_t)((int64_t)(lin << shift) >> shift) == lin;
}

void x86_mmu_name_walk(const X86Walk *w, GString *out)
{
    if (!w->valid) {
        return;
    }
    g_string_append_printf(
        out, "last page walk: linear 0x%" PRIx64 ", #PF error code 0x%x (%s%s%s, %s, %s%s)\n", w->lin, w->err,
        w->err & PF_P ? "protection" : "not present", w->err & PF_RSVD ? ", reserved bit set" : "",
        w->err & PF_PK ? ", protection key" : "",
        w->err & PF_I   ? "fetch"
        : w->err & PF_W ? "write"
                        : "read",
        w->err & PF_U ? "user" : "supervisor", w->n ? "" : ", no entry read");
    for (unsigned i = 0; i < w->n; i++) {
        uint64_t e = w->e[i].entry;
        g_string_append_printf(out, "  %-5s at 0x%09" PRIx64 ": 0x%016" PRIx64 " %s%s%s%s%s\n", w->e[i].name,
                               w->e[i].pa, e, e & PTE_P ? "P" : "-", e & PTE_W ? "W" : "-",
                               e & PTE_U ? "U" : "-", e & PTE_PS ? "S" : "-", e & PTE_NX ? "X" : "-");
    }
}

void x86_raise_pf(X86Cpu *cpu, uint64_t lin, uint32_t err)
{
    X86SysState *s = cpu->sys;
    s->walk = s->scratch;
    cpu->cr2 = lin;
    if (log_on(LOG_MMU)) {
        g_autoptr(GString) text = g_string_new(NULL);
        x86_mmu_name_walk(&s->walk, text);
        log_printf("mmu: cpu %u rip 0x%" PRIx64 ": %s", cpu->vcpu.index, cpu->rip, text->str);
    }
    x86_raise_err(cpu, EXC_PF, err);
}

/* The index of supervisor data accesses while SMAP is on and AC is clear is 2 (SDM 4.6.1). */
unsigned x86_mmu_for(const X86Cpu *cpu, unsigned cpl)
{
    if (cpl == 3) {
        return 1;
    }
    return (cpu->cr4 & CR4_SMAP) && !(cpu->eflags & FL_AC) ? 2 : 0;
}

static bool seg_is_flat(const X86Seg *s)
{
    /* Writable (or, for CS, anything): reads and writes through it never fault. Expand-down has an inner
     * limit. */
    return s->base == 0 && s->limit == 0xffffffff && !(s->attr & SA_UNUSABLE) &&
           !(!(s->attr & SA_CODE) && (s->attr & SA_CE));
}

static bool mode_flat(const X86Cpu *cpu)
{
    static const unsigned data[] = { SEG_ES, SEG_SS, SEG_DS };
    if (!seg_is_flat(&cpu->seg[SEG_CS]) || !(cpu->seg[SEG_CS].attr & SA_RW)) {
        return false;
    }
    for (unsigned i = 0; i < G_N_ELEMENTS(data); i++) {
        const X86Seg *s = &cpu->seg[data[i]];
        if (!seg_is_flat(s) || (s->attr & SA_CODE) || !(s->attr & SA_RW)) {
            return false;
        }
    }
    return true;
}

void x86_update_mode(X86Cpu *cpu)
{
    uint32_t m = 0;
    bool pe = cpu->cr0 & CR0_PE, vm = in_vm86(cpu);
    if (vm) {
        cpu->cpl = 3;
    } else if (!pe) {
        cpu->cpl = 0;
    }
    bool code64 = in_code64(cpu);
    if (code64) {
        m |= MODE_CODE64 | MODE_FLAT;
    } else {
        m |= cpu->seg[SEG_CS].attr & SA_DB ? MODE_CODE32 : 0;
        m |= mode_flat(cpu) ? MODE_FLAT : 0;
    }
    m |= in_long(cpu) ? MODE_LMA : 0;
    m |= pe ? MODE_PE : 0;
    m |= vm ? MODE_VM86 : 0;
    m |= cpu->seg[SEG_SS].attr & SA_DB ? MODE_SS32 : 0;
    m |= (uint32_t)cpu->cpl << MODE_CPL_SHIFT;
    m |= cpu->eflags & FL_TF ? MODE_TF : 0;
    m |= cpu->cr0 & (CR0_EM | CR0_TS) ? MODE_FPU_TRAP : 0;
    m |= (cpu->cr0 & (CR0_EM | CR0_TS)) || !(cpu->cr4 & CR4_OSFXSR) ? MODE_SSE_TRAP : 0;
    m |= pe && !vm && (cpu->cr4 & CR4_OSXSAVE) && (cpu->xcr0 & 6) == 6 && !(cpu->cr0 & CR0_TS) ? MODE_AVX_OK : 0;
    m |= x86_code_bp_enabled(cpu) ? MODE_DEBUG : 0;
    m |= iopl(cpu) << MODE_IOPL_SHIFT;
    m |= cpu->in_smm ? MODE_SMM : 0;
    if (cpu->lin_shift != (cpu->cr4 & CR4_LA57 ? 7 : 16)) {
        cpu->lin_shift = cpu->cr4 & CR4_LA57 ? 7 : 16;
        cpu->tr1.canonical = 1ull << (63 - cpu->lin_shift);
        x86_units_flush(cpu); /* translated code knows the width of addresses */
    }
    cpu->mmu = x86_mmu_for(cpu, cpu->cpl);
    m |= (uint32_t)cpu->mmu << MODE_USER_MMU_SHIFT;
    cpu->mode = m;
    for (unsigned i = 0; i < SEG_COUNT; i++) {
        /* SDM 3.4.4: in 64-bit mode the bases of ES, CS, SS, DS are taken as zero. */
        cpu->seg_base[i] = code64 && i < SEG_FS ? 0 : cpu->seg[i].base;
    }
    cpu->seg_base[SEG_FLAT] = 0;
    if (cpu->t0) {
        tlb_mode_changed(cpu);
    }
}

void x86_set_a20(X86Cpu *cpu, bool enabled)
{
    if (__atomic_exchange_n(&cpu->a20_gate, enabled, __ATOMIC_ACQ_REL) != enabled) {
        vcpu_interrupt(&cpu->vcpu, X86_IRQ_TLB);
    }
}
