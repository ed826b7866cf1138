/* SPDX-License-Identifier: MIT
 * target/x86/unit.c - decoded units: building, finding, and dropping them when their bytes change.
 * Models: SDM vol. 3 8.1.3 (self-modifying code: the next instruction sees the change), 5.3 (CS limit), 4.10.
 * Does not model: stale prefetch of 486 and older.
 * Threads: the vCPU's thread. Each vCPU has units of its own; writes by others arrive through T0State.inbox.
 */
#include "t1.h"
#include "rhea/util/log.h"

/* Bytes of tier 0's units; all of them are dropped when they are more. A Linux boot makes 18 MiB. Where tier 1 runs,
 * they are the code that ran a few times only, most of it never again. */
enum { UNIT_MEMORY_MAX = 26 << 20, COLD_MEMORY_MAX = 5 << 19 };

/* Stores to a page whose last unit is overwritten often: to watch it anew costs as much as ten of them. */
enum { PAGE_HOLD = 16, EMPTIED_OFTEN = 8 };

/* --- pages --- */

static CodePage **page_slot(T0State *t, uintptr_t host)
{
    CodePage **p = &t->pages[(host >> 12) % PAGE_HASH];
    while (*p && (*p)->host != host) {
        p = &(*p)->next;
    }
    return p;
}

bool unit_page_has_code(const X86Cpu *cpu, uintptr_t host)
{
    return *page_slot(cpu->t0, host & ~(uintptr_t)4095) != NULL;
}

unsigned unit_changes(const X86Cpu *cpu, uintptr_t key)
{
    const CodePage *p = *page_slot(cpu->t0, key & ~(uintptr_t)4095);
    return p ? p->changed[(key & 4095) >> GRANULE_BITS] : 0;
}

/* From now on stores to the page are heard; those of other vCPUs once they answered (smp.c). */
static void watch_page(X86Cpu *cpu, CodePage *p)
{
    tlb_unmap_writes(cpu, p->host);
    smp_watch_page(cpu, p);
}

static CodePage *page_get(X86Cpu *cpu, uintptr_t host, const FlatRange *r)
{
    CodePage **slot = page_slot(cpu->t0, host);
    if (!*slot) {
        CodePage *p = g_new0(CodePage, 1);
        p->host = host;
        p->ram = ram_ref(r->ram);
        p->ram_off = r->ram_off + (host - (uintptr_t)r->host);
        *slot = p;
        watch_page(cpu, p);
    }
    return *slot;
}

static void page_drop(X86Cpu *cpu, CodePage *p)
{
    *page_slot(cpu->t0, p->host) = p->next;
    ram_code_leave(p->ram, p->ram_off >> RAM_PAGE_BITS);
    ram_unref(p->ram);
    g_free(p);
}

static void page_drop_if_empty(X86Cpu *cpu, CodePage *p)
{
    if (!p->units && !p->hold) {
        page_drop(cpu, p);
    }
}

static X86Unit **page_link(X86Unit *u, const CodePage *p)
{
    return &u->page_next[u->page[0] != p];
}

/* Bytes [from, to) of the page that the unit was decoded from. */
static void unit_span(const X86Unit *u, const CodePage *p, unsigned *from, unsigned *to)
{
    unsigned start = u->key & 4095;
    *from = u->page[0] == p ? start : 0;
    *to = u->page[0] == p ? MIN(start + u->bytes, 4096u) : start + u->bytes - 4096;
}

static uint64_t granule_mask(unsigned from, unsigned to)
{
    unsigned a = from >> GRANULE_BITS, b = (to - 1) >> GRANULE_BITS;
    return (UINT64_MAX << a) & (UINT64_MAX >> (63 - b));
}

/* --- life of a unit --- */

/* The same for both tiers: who finds none of tier 1 looks for one of tier 0 next, and each place costs a miss of the host's
 * cache. */
static unsigned unit_hash(uintptr_t key, uint32_t mode)
{
    mode &= ~MODE_T1;
    uint64_t h = (key ^ (uint64_t)(mode ^ mode >> 26) << 12) * 0x9e3779b97f4a7c15u;
    return (unsigned)(h >> 40) & (UNIT_HASH - 1);
}

static void unit_attach(X86Cpu *cpu, X86Unit *u, unsigned which, CodePage *p)
{
    unsigned from, to;
    (void)cpu;
    u->page[which] = p;
    u->page_next[which] = p->units;
    p->units = u;
    unit_span(u, p, &from, &to);
    p->granules |= granule_mask(from, to);
}

static void unit_detach(X86Unit *u, CodePage *p)
{
    X86Unit **at = &p->units;
    while (*at != u) {
        at = page_link(*at, p);
    }
    *at = *page_link(u, p);
}

static void unit_kill(X86Cpu *cpu, X86Unit *u)
{
    T0State *t = cpu->t0;
    X86Unit **at = &t->hash[unit_hash(u->key, u->mode)];
    while (*at != u) {
        at = &(*at)->hash_next;
    }
    *at = u->hash_next;
    for (unsigned i = 0; i < 2; i++) {
        CodePage *p = u->page[i];
        if (!p) {
            continue;
        }
        unit_detach(u, p);
        for (X86Unit *o = u->linked ? p->units : NULL; o; o = *page_link(o, p)) {
            o->link[0] = o->link[0] == u ? NULL : o->link[0];
            o->link[1] = o->link[1] == u ? NULL : o->link[1];
        }
    }
    u->dead = true;
    u->link[0] = u->link[1] = NULL;
    t->link_from = t->link_from == u ? NULL : t->link_from;
    u->hash_next = t->grave;
    t->grave = u;
    t->stats.units_live--;
    if (u->t1) {
        t1_unit_killed(cpu, u);
    }
    if (t->in_unit && cpu->unit == u) {
        x86_unit_leave(cpu);
    }
}

void unit_reap(T0State *t)
{
    while (t->grave) {
        X86Unit *u = t->grave;
        t->grave = u->hash_next;
        t->unit_memory -= u->mode & MODE_T1 ? 0 : sizeof(*u) + (u->n + 1u) * sizeof(X86Insn);
        g_free(u);
    }
}

void unit_kill_one(X86Cpu *cpu, X86Unit *u)
{
    CodePage *a = u->page[0], *b = u->page[1];
    unit_kill(cpu, u);
    page_drop_if_empty(cpu, a);
    if (b) {
        page_drop_if_empty(cpu, b);
    }
}

/* Buried, not freed: the unit we come from is still looked at. */
static void units_drop(X86Cpu *cpu, bool cold_only)
{
    T0State *t = cpu->t0;
    for (unsigned i = 0; i < PAGE_HASH; i++) { /* by pages: each is at the head of its page's list, or near */
        for (CodePage *p = t->pages[i], *next_page; p; p = next_page) {
            bool crossing = false;
            next_page = p->next;
            for (X86Unit *u = p->units, *next; u; u = next) {
                next = *page_link(u, p);
                if (!cold_only || !u->t1) {
                    crossing |= u->page[1] != NULL;
                    unit_kill_one(cpu, u);
                }
            }
            next_page = crossing ? t->pages[i] : next_page; /* with its other page, perhaps the next one */
        }
    }
    t->stats.unit_flushes++;
    tlb_new_generation(cpu);
}

void units_drop_all(X86Cpu *cpu)
{
    units_drop(cpu, false);
}

/* The caller begins a new generation of jump caches. */
void units_drop_offset(X86Cpu *cpu, unsigned off)
{
    T0State *t = cpu->t0;
    for (unsigned i = 0; i < UNIT_HASH; i++) {
        for (X86Unit *u = t->hash[i], *next; u; u = next) {
            unsigned start = u->key & 4095;
            next = u->hash_next;
            if (off - start < u->bytes || off + 4096 - start < u->bytes) { /* the second page's, too */
                unit_kill_one(cpu, u);
            }
        }
    }
}

void units_free_all(X86Cpu *cpu)
{
    T0State *t = cpu->t0;
    unit_reap(t);
    for (unsigned i = 0; i < UNIT_HASH; i++) {
        for (X86Unit *u = t->hash[i], *next; u; u = next) {
            next = u->hash_next;
            if (u->t1) {
                u->t1->unit = NULL;
            }
            g_free(u);
        }
    }
    for (unsigned i = 0; i < PAGE_HASH; i++) {
        while (t->pages[i]) {
            page_drop(cpu, t->pages[i]);
        }
    }
}

void x86_units_flush(X86Cpu *cpu)
{
    if (cpu->t0) {
        units_drop_all(cpu);
    }
}

static void page_code_written(X86Cpu *cpu, CodePage *p, unsigned from, unsigned to)
{
    if (!(p->granules & granule_mask(from, to))) {
        p->hold -= !p->units && p->hold;
        page_drop_if_empty(cpu, p); /* a fault may have come between watching the page and decoding it */
        return;
    }
    bool any = false, in_jc = false;
    uint64_t left = 0;
    for (X86Unit *u = p->units, *next; u; u = next) {
        unsigned a, b;
        next = *page_link(u, p);
        unit_span(u, p, &a, &b);
        if (a >= to || from >= b) {
            left |= granule_mask(a, b);
            continue;
        }
        CodePage *other = u->page[0] == p ? u->page[1] : u->page[0];
        in_jc |= u->in_jc;
        if (u->page[0] == p && p->changed[a >> GRANULE_BITS] < UINT8_MAX) {
            p->changed[a >> GRANULE_BITS]++;
        }
        unit_kill(cpu, u);
        if (other) {
            page_drop_if_empty(cpu, other);
        }
        any = true;
    }
    if (!any) {
        return;
    }
    cpu->t0->stats.invalidations++;
    uint8_t *emptied = &cpu->t0->emptied[p->host >> 12 & 4095];
    if (!p->units && *emptied < EMPTIED_OFTEN) { /* let go of at once, the first times */
        ++*emptied;
    } else if (!p->units) {
        p->hold = PAGE_HOLD;
    }
    p->granules = left;
    if (in_jc) { /* tier 1 clears its entries one by one: guests write beside code thousands of times in a boot */
        tlb_new_generation(cpu);
    }
    page_drop_if_empty(cpu, p);
}

void unit_code_written(X86Cpu *cpu, RamBlock *ram, uint64_t off, uint64_t len)
{
    uint64_t end = off + len;
    while (off < end) {
        uint64_t page = off & ~(uint64_t)4095, stop = MIN(end, page + 4096);
        CodePage *p = *page_slot(cpu->t0, (uintptr_t)ram->host + page);
        if (p) {
            page_code_written(cpu, p, (unsigned)(off - page), (unsigned)(stop - page));
        }
        off = stop;
    }
}

/* --- building --- */

typedef struct Fetch {
    uint64_t lin;          /* of the first byte */
    const uint8_t *bytes;  /* room of them, up to the end of page or CS limit */
    unsigned room;
    bool limited;          /* room ends at the CS limit, not at the page's end */
    bool io;
    uintptr_t key2;
    const FlatRange *range2;
    CodePage *page2;
    uint8_t copy[X86_MAX_INSN + 1]; /* of code in MMIO */
} Fetch;

/* Linear address of cpu->rip after the checks of a fetch; *left: bytes before the code segment ends. */
static uint64_t code_linear(X86Cpu *cpu, uint64_t *left)
{
    uint64_t rip = cpu->rip;
    if (cpu->mode & MODE_CODE64) {
        if (!x86_canonical(cpu, rip)) {
            x86_raise_err(cpu, EXC_GP, 0);
        }
        *left = UINT64_MAX;
        return rip;
    }
    uint64_t limit = cpu->mode & MODE_FLAT ? UINT32_MAX : cpu->seg[SEG_CS].limit;
    if (rip > limit) {
        x86_raise_err(cpu, EXC_GP, 0);
    }
    *left = limit - rip + 1;
    return (uint32_t)(rip + cpu->seg_base[SEG_CS]);
}

/* The instruction at the end of the first page goes on in the next. buf: X86_MAX_INSN bytes. */
static X86DecodeResult decode_crossing(X86Cpu *cpu, Fetch *f, uint32_t mode, uint64_t left, uint8_t *buf, X86Insn *insn)
{
    unsigned n = f->room;
    if (f->limited) {
        x86_raise_err(cpu, EXC_GP, 0);
    }
    memcpy(buf, f->bytes, n);
    uint64_t lin2 = f->lin + n;
    if (!(cpu->mode & MODE_CODE64)) {
        lin2 = (uint32_t)lin2;
    } else if (!x86_canonical(cpu, lin2)) {
        x86_raise_err(cpu, EXC_GP, 0);
    }
    const TlbEntry *e = tlb_fetch(cpu, lin2);
    unsigned want = X86_MAX_INSN - n;
    if (left - n < want) {
        want = (unsigned)(left - n);
    }
    if (e->xtag & TLB_SLOW_IO) {
        tlb_fetch_io(cpu, lin2, buf + n, want);
        f->io = true; /* not cached */
    } else {
        f->key2 = (uintptr_t)(lin2 + e->delta);
        const TlbAux *a = &cpu->tlb->aux[cpu->mmu][tlb_index(lin2)];
        f->range2 = a->range;
        f->page2 = page_get(cpu, f->key2, a->range);
        memcpy(buf + n, (const void *)f->key2, want);
    }
    X86DecodeResult r = x86_decode(mode, &cpu->t0->feat, buf, n + want, 0, insn);
    if (r == DEC_MORE) {
        if (f->page2) {
            page_drop_if_empty(cpu, f->page2);
        }
        x86_raise_err(cpu, EXC_GP, 0);
    }
    return r;
}

static void fuse_last(X86Insn *insn, unsigned n)
{
    if (n >= 2) {
        X86Op op = t0_fuse(&insn[n - 2], &insn[n - 1]);
        if (op) {
            insn[n - 2].op = op;
        }
    }
}

static X86Unit *unit_build(X86Cpu *cpu, Fetch *f, uint32_t mode, uint64_t left)
{
    X86Insn buf[UNIT_MAX + 1];
    unsigned n = 0, off = 0, max = mode & (MODE_TF | MODE_DEBUG | MODE_ONE) ? 1 : UNIT_MAX;
    while (n < max) {
        if (n && dbg_ends_at(cpu->t0, f->lin + off)) {
            break;
        }
        X86DecodeResult r = x86_decode(mode, &cpu->t0->feat, f->bytes + off, f->room - off, off, &buf[n]);
        if (r == DEC_MORE) {
            if (n) {
                break;
            }
            uint8_t bytes[X86_MAX_INSN];
            r = decode_crossing(cpu, f, mode, left, bytes, &buf[0]);
            off = buf[0].len;
            n = 1;
            break;
        }
        off += buf[n].len;
        n++;
        if (r != DEC_OK || x86_insn_ends(&buf[n - 1])) {
            break;
        }
    }
    fuse_last(buf, n);
    X86Unit *u = g_malloc0(sizeof(*u) + (n + 1) * sizeof(X86Insn));
    memcpy(u->insn, buf, n * sizeof(X86Insn));
    u->insn[n] = (X86Insn){ .op = max == 1 ? op_unit_stop : op_unit_end, .off = (uint16_t)off, .base = R_NONE,
                            .index = R_NONE, .seg = SEG_FLAT };
    u->mode = mode;
    u->n = (uint16_t)n;
    u->bytes = (uint16_t)off;
    cpu->t0->unit_memory += sizeof(*u) + (n + 1) * sizeof(X86Insn);
    cpu->t0->stats.units_made++;
    return u;
}

/* Runs once and is never found again: code in MMIO. */
static void unit_make_loose(T0State *t, X86Unit *u)
{
    u->loose = u->dead = true;
    u->hash_next = t->grave;
    t->grave = u;
}

static X86Unit *unit_new(X86Cpu *cpu, Fetch *f, uint32_t mode, uint64_t left, unsigned cs_off, const FlatRange *range)
{
    T0State *t = cpu->t0;
    if (t->unit_memory > (cpu->t1 && !cpu->t1->off ? COLD_MEMORY_MAX : UNIT_MEMORY_MAX)) {
        units_drop(cpu, true);
    }
    uintptr_t key = (uintptr_t)f->bytes;
    CodePage *p = page_get(cpu, key & ~(uintptr_t)4095, range); /* watched before its bytes are read */
    X86Unit *u = unit_build(cpu, f, mode, left);
    if (f->io || f->page2 == p) { /* one physical page behind two linear ones: too rare to cache */
        unit_make_loose(t, u);
        page_drop_if_empty(cpu, p);
        return u;
    }
    u->key = key;
    u->key2 = f->key2;
    u->cs_off = (uint16_t)cs_off;
    X86Unit **slot = &t->hash[unit_hash(key, mode)];
    u->hash_next = *slot;
    *slot = u;
    unit_attach(cpu, u, 0, p);
    if (f->page2) {
        unit_attach(cpu, u, 1, f->page2);
    }
    t->stats.units_live++;
    return u;
}

/* The second page of a crossing unit may have been remapped. */
static bool second_page_same(X86Cpu *cpu, const X86Unit *u, uint64_t lin)
{
    uint64_t lin2 = (lin & TLB_PAGE_MASK) + 4096;
    if (!(cpu->mode & MODE_CODE64)) {
        lin2 = (uint32_t)lin2;
    } else if (!x86_canonical(cpu, lin2)) {
        return false;
    }
    const TlbEntry *e = tlb_fetch(cpu, lin2);
    return !(e->xtag & TLB_SLOW_IO) && (uintptr_t)(lin2 + e->delta) == u->key2;
}

bool unit_locate(X86Cpu *cpu, UnitPlace *at)
{
    at->lin = code_linear(cpu, &at->left);
    const TlbEntry *e = tlb_fetch(cpu, at->lin);
    unsigned page_left = 4096 - (unsigned)(at->lin & 4095);
    at->room = at->left <= page_left ? (unsigned)at->left : page_left;
    at->cs_off = (unsigned)(at->lin - cpu->rip) & 4095;
    if (G_UNLIKELY(e->xtag & TLB_SLOW_IO)) {
        return false;
    }
    at->key = (uintptr_t)(at->lin + e->delta);
    at->range = cpu->tlb->aux[cpu->mmu][tlb_index(at->lin)].range;
    at->key2 = 0;
    return true;
}

X86Unit *unit_lookup(X86Cpu *cpu, const UnitPlace *at, uint32_t mode)
{
    uint64_t rip = mode & MODE_T1 ? t1_key_rip(mode, cpu->rip) : 0;
    for (X86Unit *u = cpu->t0->hash[unit_hash(at->key, mode)]; u; u = u->hash_next) {
        if (u->key == at->key && u->mode == mode && u->cs_off == at->cs_off && u->bytes <= at->left &&
            (!(mode & MODE_T1) || u->rip == rip) && (!u->key2 || second_page_same(cpu, u, at->lin))) {
            return u;
        }
    }
    return NULL;
}

bool unit_decode_crossing(X86Cpu *cpu, UnitPlace *at, uint32_t mode, uint8_t *bytes, X86Insn *insn)
{
    Fetch f = { .lin = at->lin, .bytes = (const uint8_t *)at->key, .room = at->room };
    f.limited = at->left <= 4096 - (at->lin & 4095);
    decode_crossing(cpu, &f, mode, at->left, bytes, insn);
    if (f.io || (f.key2 ^ at->key) < 4096) { /* too rare, see unit_new() */
        return false;
    }
    at->key2 = f.key2;
    at->range2 = f.range2;
    return true;
}

void unit_watch(X86Cpu *cpu, const UnitPlace *at)
{
    page_get(cpu, at->key & ~(uintptr_t)4095, at->range);
}

X86Unit *unit_add(X86Cpu *cpu, const UnitPlace *at, uint32_t mode, unsigned span)
{
    T0State *t = cpu->t0;
    X86Unit *u = g_malloc0(sizeof(*u));
    u->mode = mode;
    u->key = at->key;
    u->cs_off = (uint16_t)at->cs_off;
    u->bytes = (uint16_t)span;
    u->rip = t1_key_rip(mode, cpu->rip);
    X86Unit **slot = &t->hash[unit_hash(u->key, mode)];
    u->hash_next = *slot;
    *slot = u;
    unit_attach(cpu, u, 0, page_get(cpu, at->key & ~(uintptr_t)4095, at->range));
    u->key2 = at->key2;
    if (u->key2) {
        unit_attach(cpu, u, 1, page_get(cpu, u->key2, at->range2));
    }
    t->stats.units_live++;
    return u;
}

X86Unit *unit_find(X86Cpu *cpu, uint32_t mode)
{
    UnitPlace at;
    cpu->t0->stats.units_entered_slow++;
    if (G_UNLIKELY(!unit_locate(cpu, &at))) {
        Fetch f = { .lin = at.lin, .io = true };
        unsigned n = MIN((unsigned)X86_MAX_INSN, at.room);
        f.room = tlb_fetch_io(cpu, at.lin, f.copy, n);
        f.bytes = f.copy;
        f.limited = at.left <= 4096 - (at.lin & 4095);
        X86Unit *u = unit_build(cpu, &f, mode | MODE_ONE, at.left);
        unit_make_loose(cpu->t0, u);
        return u;
    }
    return unit_find_at(cpu, &at, mode);
}

X86Unit *unit_find_at(X86Cpu *cpu, const UnitPlace *at, uint32_t mode)
{
    X86Unit *u = unit_lookup(cpu, at, mode);
    if (u) {
        return u;
    }
    Fetch f;
    f.lin = at->lin;
    f.bytes = (const uint8_t *)at->key;
    f.limited = at->left <= 4096 - (at->lin & 4095);
    f.room = at->room;
    f.io = false;
    f.key2 = 0;
    f.page2 = NULL;
    u = unit_new(cpu, &f, mode, at->left, at->cs_off, at->range);
    if (log_on(LOG_IN_ASM)) {
        t0_log_unit(cpu, u, cpu->rip);
    }
    return u;
}
