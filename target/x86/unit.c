/* SPDX-License-Identifier: MIT
 * target/x86/unit.c - decoded units: building, finding, and dropping them when their bytes change.
 * Models: SDM vol. 3 8.1.3 (self-modifying code: the next instruction sees the change), 5.3 (CS limit), 4.10.
 * Does not model: stale prefetch of 486 and older.
 * Threads: the vCPU's thread. Each vCPU has units of its own; writes by others arrive through T0State.inbox.
 */
#include "t1.h"
#include "rhea/util/log.h"

/* Bytes of tier 0's units; all of them are dropped when they are more. A Linux boot makes 18 MiB. Where tier 1 runs,
 * they are the code that ran a few times only, most of it never again. They lie in pieces of UNIT_PIECE bytes. */
enum { UNIT_MEMORY_MAX = 26 << 20, COLD_MEMORY_MAX = 5 << 19, UNIT_PIECE = 256 << 10 };

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
    if (!p->units[0] && !p->units[1] && !p->hold) {
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

/* --- memory of tier 0's units: filled piece by piece, free all at once; those that die before lie in lists by size --- */

struct UnitPiece {
    UnitPiece *next;
    uint8_t bytes[UNIT_PIECE - sizeof(UnitPiece *)];
};

static X86Unit *unit_alloc(T0State *t, unsigned n)
{
    X86Unit *u = t->unit_free[n];
    size_t size = sizeof(*u) + (n + 1u) * sizeof(X86Insn);
    if (u) {
        t->unit_free[n] = u->hash_next;
    } else {
        if (t->piece_left < size) {
            UnitPiece **next = t->piece ? &t->piece->next : &t->pieces;
            if (!*next) {
                *next = g_malloc(sizeof(UnitPiece));
                (*next)->next = NULL;
            }
            t->piece = *next;
            t->piece_left = sizeof(t->piece->bytes);
        }
        u = (X86Unit *)(void *)(t->piece->bytes + sizeof(t->piece->bytes) - t->piece_left);
        t->piece_left -= size;
        t->unit_memory += size;
    }
    memset(u, 0, sizeof(*u));
    return u;
}

/* No unit of tier 0 is anywhere any more. */
static void unit_memory_reset(T0State *t)
{
    memset(t->unit_free, 0, sizeof(t->unit_free));
    t->piece = NULL;
    t->piece_left = 0;
    t->unit_memory = 0;
}

static void unit_memory_free(T0State *t)
{
    for (UnitPiece *p = t->pieces, *next; p; p = next) {
        next = p->next;
        g_free(p);
    }
    t->pieces = NULL;
    unit_memory_reset(t);
}

/* --- life of a unit --- */

static X86Unit **unit_bucket(T0State *t, uintptr_t key, uint32_t mode)
{
    uint32_t m = mode & ~MODE_T1;
    uint64_t h = (key ^ (uint64_t)(m ^ m >> 26) << 12) * 0x9e3779b97f4a7c15u;
    return mode & MODE_T1 ? &t->hash[(unsigned)(h >> 40) & (UNIT_HASH - 1)] : &t->cold_hash[(unsigned)(h >> 40) & (COLD_HASH - 1)];
}

static unsigned unit_tier(const X86Unit *u) { return (u->mode & MODE_T1) != 0; }

static void unit_attach(X86Unit *u, unsigned which, CodePage *p)
{
    unsigned from, to;
    u->page[which] = p;
    u->page_next[which] = p->units[unit_tier(u)];
    p->units[unit_tier(u)] = u;
    unit_span(u, p, &from, &to);
    p->granules |= granule_mask(from, to);
}

static void unit_detach(X86Unit *u, CodePage *p)
{
    X86Unit **at = &p->units[unit_tier(u)];
    while (*at != u) {
        at = page_link(*at, p);
    }
    *at = *page_link(u, p);
}

static void unit_kill(X86Cpu *cpu, X86Unit *u)
{
    T0State *t = cpu->t0;
    X86Unit **at = unit_bucket(t, u->key, u->mode);
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
        for (X86Unit *o = u->linked ? p->units[0] : NULL; o; o = *page_link(o, p)) {
            o->link[0] = o->link[0] == u ? NULL : o->link[0];
            o->link[1] = o->link[1] == u ? NULL : o->link[1];
        }
    }
    u->dead = true;
    t->link_from = t->link_from == u ? NULL : t->link_from;
    if (!unit_tier(u)) { /* tier 1's lie in the code cache, until their segment is emptied */
        u->link[0] = u->link[1] = NULL;
        u->hash_next = t->grave;
        t->grave = u;
    }
    t->stats.units_live--;
    t->n_cold -= !unit_tier(u);
    if (u->t1) {
        t1_unit_killed(cpu, u);
    } else if (u->cold_at) {
        t1_cold_gone(cpu->t1, u);
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
        if (u->loose) {
            g_free(u);
        } else {
            u->hash_next = t->unit_free[u->n];
            t->unit_free[u->n] = u;
        }
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

/* Buried, not freed: one of them may be running. */
void units_drop_all(X86Cpu *cpu)
{
    T0State *t = cpu->t0;
    for (unsigned i = 0; i < PAGE_HASH; i++) { /* by pages: each is at the head of its page's list */
        for (CodePage *p = t->pages[i], *next_page; p; p = next_page) {
            bool crossing = false;
            next_page = p->next;
            X86Unit *first[2] = { p->units[0], p->units[1] }; /* with the last one p goes, too */
            for (unsigned tier = 0; tier < 2; tier++) {
                for (X86Unit *u = first[tier], *next; u; u = next) {
                    next = *page_link(u, p);
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

/* Between units, and nobody holds one of tier 0: their memory is used again at once. */
static void units_drop_cold(X86Cpu *cpu)
{
    T0State *t = cpu->t0;
    for (X86Unit **at = &t->grave; *at; ) {
        X86Unit *u = *at;
        if (u->loose) {
            at = &u->hash_next;
        } else {
            *at = u->hash_next;
        }
    }
    memset(t->cold_hash, 0, sizeof(t->cold_hash));
    for (unsigned i = 0; i < PAGE_HASH; i++) {
        for (CodePage *p = t->pages[i], *next; p; p = next) {
            next = p->next;
            p->units[0] = NULL;
            page_drop_if_empty(cpu, p);
        }
    }
    t->stats.units_live -= t->n_cold;
    t->n_cold = 0;
    t->link_from = NULL;
    unit_memory_reset(t);
    if (cpu->t1) {
        t1_cold_forget(cpu->t1, true);
    }
    t->stats.unit_flushes++;
    if (t->jc_used) {
        tlb_new_generation(cpu);
    }
}

/* The caller begins a new generation of jump caches. */
void units_drop_offset(X86Cpu *cpu, unsigned off)
{
    T0State *t = cpu->t0;
    for (unsigned i = 0; i < UNIT_HASH + COLD_HASH; i++) {
        for (X86Unit *u = i < UNIT_HASH ? t->hash[i] : t->cold_hash[i - UNIT_HASH], *next; u; u = next) {
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
            u->t1->unit = NULL;
        }
    }
    unit_memory_free(t);
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
        p->hold -= !p->units[0] && !p->units[1] && p->hold;
        page_drop_if_empty(cpu, p); /* a fault may have come between watching the page and decoding it */
        return;
    }
    bool any = false, in_jc = false;
    uint64_t left = 0;
    X86Unit *second = p->units[1]; /* tier 0's list goes on in tier 1's */
    for (X86Unit *u = p->units[0] ? p->units[0] : second, *next; u; u = next) {
        unsigned a, b;
        next = *page_link(u, p);
        next = !next && !unit_tier(u) ? second : next;
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
    bool empty = !p->units[0] && !p->units[1];
    if (empty && *emptied < EMPTIED_OFTEN) { /* let go of at once, the first times */
        ++*emptied;
    } else if (empty) {
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

/* home: the page it begins in; NULL: not RAM. */
static X86Unit *unit_build(X86Cpu *cpu, Fetch *f, uint32_t mode, uint64_t left, const CodePage *home)
{
    T0State *t = cpu->t0;
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
    bool loose = f->io || f->page2 == home; /* one physical page behind two linear ones: too rare to cache */
    X86Unit *u = loose ? g_malloc0(sizeof(*u) + (n + 1) * sizeof(X86Insn)) : unit_alloc(t, n);
    memcpy(u->insn, buf, n * sizeof(X86Insn));
    u->insn[n] = (X86Insn){ .op = max == 1 ? op_unit_stop : op_unit_end, .off = (uint16_t)off, .base = R_NONE,
                            .index = R_NONE, .seg = SEG_FLAT };
    u->mode = mode;
    u->n = (uint16_t)n;
    u->bytes = (uint16_t)off;
    t->stats.units_made++;
    if (loose) { /* runs once and is never found again */
        u->loose = u->dead = true;
        u->hash_next = t->grave;
        t->grave = u;
    }
    return u;
}

static X86Unit *unit_new(X86Cpu *cpu, Fetch *f, uint32_t mode, uint64_t left, unsigned cs_off, const FlatRange *range)
{
    T0State *t = cpu->t0;
    if (t->unit_memory > (cpu->t1 && !cpu->t1->off ? COLD_MEMORY_MAX : UNIT_MEMORY_MAX)) {
        units_drop_cold(cpu);
    }
    uintptr_t key = (uintptr_t)f->bytes;
    CodePage *p = page_get(cpu, key & ~(uintptr_t)4095, range); /* watched before its bytes are read */
    X86Unit *u = unit_build(cpu, f, mode, left, p);
    if (u->loose) {
        page_drop_if_empty(cpu, p);
        return u;
    }
    u->key = key;
    u->key2 = f->key2;
    u->cs_off = (uint16_t)cs_off;
    X86Unit **slot = unit_bucket(t, key, mode);
    u->hash_next = *slot;
    *slot = u;
    unit_attach(u, 0, p);
    if (f->page2) {
        unit_attach(u, 1, f->page2);
    }
    t->n_cold++;
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
    for (X86Unit *u = *unit_bucket(cpu->t0, at->key, mode); u; u = u->hash_next) {
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

X86Unit *unit_add(X86Cpu *cpu, const UnitPlace *at, uint32_t mode, unsigned span, void *memory)
{
    T0State *t = cpu->t0;
    X86Unit *u = memset(memory, 0, UNIT_T1_BYTES);
    u->mode = mode;
    u->key = at->key;
    u->cs_off = (uint16_t)at->cs_off;
    u->bytes = (uint16_t)span;
    u->rip = t1_key_rip(mode, cpu->rip);
    X86Unit **slot = unit_bucket(t, u->key, mode);
    u->hash_next = *slot;
    *slot = u;
    unit_attach(u, 0, page_get(cpu, at->key & ~(uintptr_t)4095, at->range));
    u->key2 = at->key2;
    if (u->key2) {
        unit_attach(u, 1, page_get(cpu, u->key2, at->range2));
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
        return unit_build(cpu, &f, mode | MODE_ONE, at.left, NULL);
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
