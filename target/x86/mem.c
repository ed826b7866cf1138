/* SPDX-License-Identifier: MIT
 * target/x86/mem.c - guest memory: TLB fills, and every access the TLB does not hit.
 * Models: SDM vol. 3 6.15 #AC, 8.1.2 (locked accesses to RAM), vol. 1 3.3.7.1.
 * Does not model: memory types.
 * Threads: the vCPU's thread.
 */
#include "t0.h"
#include "t1-exec.h"
#include "rhea/util/log.h"

static inline bool tag_is(uint64_t tag, uint64_t page) { return ((tag ^ page) & ~(uint64_t)TLB_SLOW) == 0; }

static MemAttrs cpu_attrs(const X86Cpu *cpu)
{
    return (MemAttrs){ .requester = (uint16_t)cpu->vcpu.index, .cpu = true, .user = cpu->cpl == 3, .smm = cpu->in_smm };
}

/* --- what the TLB depends on --- */

/* The memory map the TLB was filled from must be the current one before anything runs. */
void mem_begin_run(X86Cpu *cpu)
{
    T0State *t = cpu->t0;
    const FlatView *v = as_view(x86_memory(cpu));
    if (v != t->view || v->generation != t->view_generation) {
        t->view = v;
        t->view_generation = v->generation;
        t->hint = NULL;
        x86_tlb_flush(cpu, false);
    }
}

static bool ac_checked(const X86Cpu *cpu)
{
    return (cpu->cr0 & CR0_AM) && (cpu->eflags & FL_AC) && cpu->cpl == 3;
}

/* Alignment checks need every access of user mode to come here: entries of the two kinds do not mix. */
void mem_mode_changed(X86Cpu *cpu)
{
    bool on = ac_checked(cpu);
    if (on != cpu->t0->ac_on) {
        cpu->t0->ac_on = on;
        x86_tlb_rights_changed(cpu);
    }
}

/* --- fills --- */

static const FlatRange *find_range(X86Cpu *cpu, hwaddr pa)
{
    return flatview_find(cpu->t0->view, pa, &cpu->t0->hint);
}

static bool range_covers_page(const FlatRange *r, hwaddr page)
{
    return r && page >= r->start && page - r->start + 4096 <= r->size && page - r->start + 4096 >= 4096;
}

/* See Tlb.span. The guest's mapping is of `page_size`, phys lies in it and in r, which is RAM. */
static uint64_t span_of(const X86Cpu *cpu, const FlatRange *r, hwaddr phys, uint64_t page_size)
{
    uint64_t size = 4096;
    if (!cpu->a20_gate || x86_data_bp_on(cpu)) { /* A20 tears large pages; data breakpoints make pages special */
        return -size;
    }
    while (size < page_size) {
        hwaddr lo = phys & ~(2 * size - 1);
        if (lo < r->start || lo - r->start + 2 * size > r->size) {
            break;
        }
        size *= 2;
    }
    return -size;
}

static void tlb_put(X86Cpu *cpu, uint64_t lin, unsigned mmu, const X86Xlat *x)
{
    uint64_t page = lin & TLB_PAGE_MASK;
    unsigned i = tlb_index(lin);
    hwaddr phys = x->phys & TLB_PAGE_MASK;
    const FlatRange *r = find_range(cpu, phys);
    bool whole = range_covers_page(r, phys);
    uint64_t slow_r = TLB_SLOW_IO, slow_w = TLB_SLOW_IO;
    uintptr_t delta = 0;
    if (whole && r->host) {
        uint64_t ram_page = (r->ram_off + (phys - r->start)) >> RAM_PAGE_BITS;
        bool aligned = ((uintptr_t)(r->host + (phys - r->start)) & 4095) == 0;
        if (aligned) {
            delta = (uintptr_t)(r->host + (phys - r->start)) - page;
            slow_r = 0;
            slow_w = r->readonly ? TLB_SLOW_IO
                     : __atomic_load_n(&r->ram->page_flags[ram_page], __ATOMIC_ACQUIRE) ? TLB_SLOW_WATCH : 0;
        }
    }
    if (G_UNLIKELY(cpu->t0->log_stores)) {
        slow_w |= TLB_SLOW_WATCH;
    } else if (!slow_w && x->write_ok) {
        tlb_note_writable(cpu, page + delta);
    }
    uint64_t check = x86_page_has_data_bp(cpu, page) || (cpu->t0->ac_on && mmu == 1) ? TLB_SLOW_CHECK : 0;
    cpu->tlb->e[mmu][i] = (TlbEntry){
        .rtag = x->read_ok ? page | slow_r | check : TLB_NO_TAG,
        .wtag = x->write_ok ? page | slow_w | check : TLB_NO_TAG,
        .xtag = x->exec_ok ? page | slow_r : TLB_NO_TAG,
        .delta = delta,
    };
    cpu->tlb->aux[mmu][i] = (TlbAux){ phys, whole ? r : NULL, x->page_size, x->global };
    cpu->tlb->span[mmu][i] = x->page_size > 4096 && slow_r == 0 ? span_of(cpu, r, phys, x->page_size) : -4096ull;
    if (G_UNLIKELY(cpu->t0->log_stores)) {
        return; /* the flush of this table is its owner's business */
    }
    TlbState *s = &cpu->t0->tlb;
    uint64_t bit = 1ull << (i % 64);
    s->some[mmu] |= 1ull << i / 64;
    s->used[mmu][i / 64] |= bit;
    s->global[mmu][i / 64] = (s->global[mmu][i / 64] & ~bit) | (x->global ? bit : 0);
    cpu->t0->stats.tlb_fills++;
}

/* A fill of a page not seen for long misses the host's caches at each step: what tlb_put() writes comes meanwhile. */
static inline void tlb_put_soon(const Tlb *tlb, uint64_t lin, unsigned mmu)
{
    __builtin_prefetch(&tlb->aux[mmu][tlb_index(lin)], 1);
    __builtin_prefetch(&tlb->span[mmu][tlb_index(lin)], 1);
}

static void tlb_fill(X86Cpu *cpu, uint64_t lin, X86Access acc, unsigned mmu)
{
    X86Xlat x;
    uint32_t err;
    tlb_put_soon(cpu->tlb, lin, mmu);
    if (!x86_translate(cpu, lin, acc, mmu, &x, &err)) {
        x86_raise_pf(cpu, lin, err);
    }
    tlb_put(cpu, lin, mmu, &x);
}

/* For translated code, which then has its access without leaving. Not for what sets a dirty flag: the instruction might fault
 * after all. */
bool tlb_fill_quietly(X86Cpu *cpu, uint64_t lin, unsigned write, unsigned mmu)
{
    const TlbEntry *e = &cpu->tlb->e[mmu][tlb_index(lin)];
    uint64_t page = lin & TLB_PAGE_MASK;
    X86Xlat x;
    uint32_t err;
    if (tag_is(write ? e->wtag : e->rtag, page) || !x86_canonical(cpu, lin)) {
        return false;
    }
    tlb_put_soon(cpu->tlb, lin, mmu);
    if (!(write ? x86_translate_known(cpu, lin, mmu, &x) && x.write_ok : x86_translate(cpu, lin, ACC_READ, mmu, &x, &err))) {
        return false;
    }
    tlb_put(cpu, lin, mmu, &x);
    return (write ? e->wtag : e->rtag) == page;
}

static TlbEntry *entry_for(X86Cpu *cpu, uint64_t lin, X86Access acc, unsigned mmu)
{
    TlbEntry *e = &cpu->tlb->e[mmu][tlb_index(lin)];
    uint64_t page = lin & TLB_PAGE_MASK;
    uint64_t tag = acc == ACC_READ ? e->rtag : acc == ACC_WRITE ? e->wtag : e->xtag;
    if (!tag_is(tag, page)) {
        tlb_fill(cpu, lin, acc, mmu);
    }
    return e;
}

const TlbEntry *tlb_fetch(X86Cpu *cpu, uint64_t lin)
{
    const TlbEntry *e = entry_for(cpu, lin, ACC_EXEC, cpu->mmu);
    tlb_note_fetch(cpu, lin, &cpu->tlb->aux[cpu->mmu][tlb_index(lin)], cpu->mmu);
    return e;
}

/* --- physical --- */

static void io_read(X86Cpu *cpu, hwaddr pa, const FlatRange *r, uint8_t *buf, unsigned n)
{
    if (G_UNLIKELY(cpu->t0->log_stores)) {
        t1_log_io(cpu);
    }
    while (n) {
        unsigned step = n >= 8 ? 8 : n >= 4 ? 4 : n >= 2 ? 2 : 1;
        uint64_t v = UINT64_MAX;
        if (r) {
            range_load(r, pa, step, &v, cpu_attrs(cpu));
        } else {
            as_load(x86_memory(cpu), pa, step, &v, cpu_attrs(cpu));
        }
        memcpy(buf, &v, step);
        buf += step;
        pa += step;
        n -= step;
    }
}

static void io_write(X86Cpu *cpu, hwaddr pa, const FlatRange *r, const uint8_t *buf, unsigned n)
{
    if (G_UNLIKELY(cpu->t0->log_stores)) {
        t1_log_io(cpu);
    }
    while (n) {
        unsigned step = n >= 8 ? 8 : n >= 4 ? 4 : n >= 2 ? 2 : 1;
        uint64_t v = 0;
        memcpy(&v, buf, step);
        if (r) {
            range_store(r, pa, step, v, cpu_attrs(cpu));
        } else {
            as_store(x86_memory(cpu), pa, step, v, cpu_attrs(cpu));
        }
        buf += step;
        pa += step;
        n -= step;
    }
}

/* The view of a run, or the newest one when the caller is the monitor. Inside a read section. */
static const FlatRange *phys_range(X86Cpu *cpu, hwaddr pa)
{
    if (cpu->t0 && cpu->t0->running) {
        return find_range(cpu, pa);
    }
    return flatview_find(as_view(x86_memory(cpu)), pa, NULL);
}

/* Naturally aligned accesses of up to 8 bytes are one host access (SDM 8.1.1); a memcpy() of unknown length is not. */
static inline void copy_once(void *to, const void *from, unsigned n)
{
    switch (n) {
    case 1: memcpy(to, from, 1); break;
    case 2: memcpy(to, from, 2); break;
    case 4: memcpy(to, from, 4); break;
    case 8: memcpy(to, from, 8); break;
    default: memcpy(to, from, n);
    }
}

uint64_t x86_phys_ld(X86Cpu *cpu, hwaddr pa, unsigned n)
{
    uint64_t v = 0;
    rcu_read_lock();
    const FlatRange *r = phys_range(cpu, pa);
    if (G_LIKELY(r && r->host && pa - r->start + n <= r->size)) {
        copy_once(&v, r->host + (pa - r->start), n);
    } else {
        as_load(x86_memory(cpu), pa, n, &v, cpu_attrs(cpu));
    }
    rcu_read_unlock();
    return v;
}

void x86_phys_st(X86Cpu *cpu, hwaddr pa, unsigned n, uint64_t v)
{
    as_store(x86_memory(cpu), pa, n, v, cpu_attrs(cpu));
}

bool x86_phys_cas(X86Cpu *cpu, hwaddr pa, unsigned n, uint64_t was, uint64_t now)
{
    bool ok = true;
    rcu_read_lock();
    const FlatRange *r = phys_range(cpu, pa);
    if (r && r->host && !r->readonly && pa - r->start + n <= r->size) {
        uint8_t *p = r->host + (pa - r->start);
        if (n == 8) {
            ok = __atomic_compare_exchange_n((uint64_t *)p, &was, now, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
        } else {
            uint32_t w = (uint32_t)was;
            ok = __atomic_compare_exchange_n((uint32_t *)p, &w, (uint32_t)now, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
        }
        if (ok) {
            ram_written(r->ram, r->ram_off + (pa - r->start), n);
        }
    }
    rcu_read_unlock();
    return ok;
}

/* --- slow accesses --- */

/* SDM vol. 3 6.15: a non-canonical stack reference is #SS. Through SS: a base of RSP or RBP without FS or GS, or
 * an implied stack access. */
bool x86_stack_fault(const X86Cpu *cpu, uint64_t lin)
{
    const X86Insn *d = cpu->cur;
    if (!d || !(cpu->mode & MODE_CODE64) || d->row == 0) {
        return false;
    }
    bool stack_op = x86_rows[d->row].attrs & (RA_D64 | RA_F64);
    if (d->flags & I_MEM) {
        if (d->seg == SEG_FLAT && (d->base == R_RSP || d->base == R_RBP)) {
            return true;
        }
        return stack_op && lin - (cpu->gpr[R_RSP] - 8) <= 8;
    }
    return stack_op;
}

/* SDM vol. 3 table 6-7: the 80-bit format counts as 8 bytes, a table register as 4; 16 bytes and more check themselves
 * (#GP) or need no alignment. */
static unsigned ac_alignment(unsigned n)
{
    return n == 10 ? 8 : n == 6 ? 4 : n <= 8 && (n & (n - 1)) == 0 ? n : 1;
}

/* First byte, last byte and alignment; returns the address cut to 32 bits outside long mode. */
static uint64_t check_linear(X86Cpu *cpu, uint64_t lin, unsigned n, unsigned mmu)
{
    if (!(cpu->mode & MODE_LMA)) {
        lin = (uint32_t)lin;
    } else if (!x86_canonical(cpu, lin) || !x86_canonical(cpu, lin + n - 1)) {
        x86_raise_err(cpu, x86_stack_fault(cpu, lin) ? EXC_SS : EXC_GP, 0);
    }
    if (G_UNLIKELY(cpu->t0->ac_on) && mmu == 1 && (lin & (ac_alignment(n) - 1))) {
        x86_raise_err(cpu, EXC_AC, 0);
    }
    return lin;
}

static uint64_t next_page(const X86Cpu *cpu, uint64_t lin)
{
    uint64_t p = (lin & TLB_PAGE_MASK) + 4096;
    return cpu->mode & MODE_LMA ? p : (uint32_t)p;
}

static void page_read(X86Cpu *cpu, uint64_t lin, uint8_t *buf, unsigned n, unsigned mmu)
{
    const TlbEntry *e = entry_for(cpu, lin, ACC_READ, mmu);
    if (G_LIKELY(!(e->rtag & TLB_SLOW_IO))) {
        copy_once(buf, (const void *)(lin + e->delta), n);
        return;
    }
    const TlbAux *a = &cpu->tlb->aux[mmu][tlb_index(lin)];
    io_read(cpu, a->phys | (lin & 4095), a->range, buf, n);
}

static void page_write(X86Cpu *cpu, uint64_t lin, const uint8_t *buf, unsigned n, unsigned mmu)
{
    TlbEntry *e = entry_for(cpu, lin, ACC_WRITE, mmu);
    const TlbAux *a = &cpu->tlb->aux[mmu][tlb_index(lin)];
    if (G_UNLIKELY(e->wtag & TLB_SLOW_IO)) {
        io_write(cpu, a->phys | (lin & 4095), a->range, buf, n);
        return;
    }
    if (G_UNLIKELY(cpu->t0->log_stores)) {
        t1_log_store(cpu, (void *)(lin + e->delta), n);
    }
    copy_once((void *)(lin + e->delta), buf, n);
    if (e->wtag & TLB_SLOW_WATCH) {
        x86_ram_stored(cpu, lin, n, mmu);
    }
}

/* After a store of n bytes to RAM through the entry of lin, which watches its page. */
void x86_ram_stored(X86Cpu *cpu, uint64_t lin, unsigned n, unsigned mmu)
{
    TlbEntry *e = &cpu->tlb->e[mmu][tlb_index(lin)];
    const TlbAux *a = &cpu->tlb->aux[mmu][tlb_index(lin)];
    const FlatRange *r = a->range;
    uint64_t off = r->ram_off + ((a->phys | (lin & 4095)) - r->start);
    RamBlock *ram = r->ram;
    cpu->t0->stats.write_checks++;
    ram_written(ram, off, n);
    if (!cpu->t0->log_stores && !__atomic_load_n(&ram->page_flags[off >> RAM_PAGE_BITS], __ATOMIC_ACQUIRE) && tag_is(e->wtag, lin & TLB_PAGE_MASK)) {
        e->wtag &= ~(uint64_t)TLB_SLOW_WATCH;
        tlb_note_writable(cpu, (lin & TLB_PAGE_MASK) + e->delta);
    }
}

static bool page_checked(const X86Cpu *cpu, uint64_t lin, unsigned mmu)
{
    const TlbEntry *e = &cpu->tlb->e[mmu][tlb_index(lin)];
    uint64_t page = lin & TLB_PAGE_MASK;
    return (tag_is(e->rtag, page) && e->rtag & TLB_SLOW_CHECK) || (tag_is(e->wtag, page) && e->wtag & TLB_SLOW_CHECK);
}

/* Is one of the one or two pages of an access watched by a breakpoint register? */
static bool access_checked(const X86Cpu *cpu, uint64_t lin, unsigned n, unsigned mmu)
{
    return page_checked(cpu, lin, mmu) || ((lin & 4095) + n > 4096 && page_checked(cpu, next_page(cpu, lin), mmu));
}

/* The host address of an access that stays inside a page of plain RAM, after a fill when the TLB does not know the page:
 * most slow accesses are that. NULL: anything else, or not allowed. */
static void *plain_ptr(X86Cpu *cpu, uint64_t lin, unsigned n, bool write, unsigned mmu)
{
    if (!(cpu->mode & MODE_LMA)) {
        lin = (uint32_t)lin;
    }
    const TlbEntry *e = &cpu->tlb->e[mmu][tlb_index(lin)];
    const uint64_t *tag = write ? &e->wtag : &e->rtag, page = lin & TLB_PAGE_MASK;
    if ((lin & 4095) + n > 4096 || G_UNLIKELY(cpu->t0->ac_on)) {
        return NULL;
    }
    if (!tag_is(*tag, page)) {
        if (!x86_canonical(cpu, lin)) {
            return NULL;
        }
        tlb_fill(cpu, lin, write ? ACC_WRITE : ACC_READ, mmu);
    }
    return *tag == page ? (void *)(lin + e->delta) : NULL;
}

void x86_ld_slow_n(X86Cpu *cpu, uint64_t lin, unsigned n, void *buf, unsigned mmu)
{
    lin = check_linear(cpu, lin, n, mmu);
    unsigned first = 4096 - (unsigned)(lin & 4095);
    cpu->t0->stats.slow_loads++;
    if (G_LIKELY(n <= first)) {
        page_read(cpu, lin, buf, n, mmu);
    } else {
        uint64_t next = next_page(cpu, lin);
        const TlbEntry *a = entry_for(cpu, lin, ACC_READ, mmu), *b = entry_for(cpu, next, ACC_READ, mmu);
        if (G_LIKELY(a->rtag == (lin & TLB_PAGE_MASK) && b->rtag == next)) {
            memcpy(buf, (const void *)(lin + a->delta), first);
            memcpy((uint8_t *)buf + first, (const void *)(next + b->delta), n - first);
            return;
        }
        page_read(cpu, lin, buf, first, mmu);
        page_read(cpu, next, (uint8_t *)buf + first, n - first, mmu);
    }
    if (G_UNLIKELY(access_checked(cpu, lin, n, mmu))) {
        x86_check_data_bp(cpu, lin, n, false);
    }
}

void x86_st_slow_n(X86Cpu *cpu, uint64_t lin, unsigned n, const void *buf, unsigned mmu)
{
    lin = check_linear(cpu, lin, n, mmu);
    unsigned first = 4096 - (unsigned)(lin & 4095);
    cpu->t0->stats.slow_stores++;
    if (G_LIKELY(n <= first)) {
        page_write(cpu, lin, buf, n, mmu);
    } else {
        uint64_t next = next_page(cpu, lin);
        const TlbEntry *a = entry_for(cpu, lin, ACC_WRITE, mmu), *b = entry_for(cpu, next, ACC_WRITE, mmu);
        if (G_LIKELY(a->wtag == (lin & TLB_PAGE_MASK) && b->wtag == next)) {
            memcpy((void *)(lin + a->delta), buf, first);
            memcpy((void *)(next + b->delta), (const uint8_t *)buf + first, n - first);
            return;
        }
        page_write(cpu, lin, buf, first, mmu);
        page_write(cpu, next, (const uint8_t *)buf + first, n - first, mmu);
    }
    if (G_UNLIKELY(access_checked(cpu, lin, n, mmu))) {
        x86_check_data_bp(cpu, lin, n, true);
    }
}

uint64_t x86_ld_slow(X86Cpu *cpu, uint64_t lin, unsigned n, unsigned mmu)
{
    uint64_t v = 0;
    const void *p = plain_ptr(cpu, lin, n, false, mmu);
    if (G_UNLIKELY(!p)) {
        x86_ld_slow_n(cpu, lin, n, &v, mmu);
        return v;
    }
    cpu->t0->stats.slow_loads++;
    switch (n) {
    case 8: memcpy(&v, p, 8); break;
    case 4: memcpy(&v, p, 4); break;
    case 2: memcpy(&v, p, 2); break;
    case 1: memcpy(&v, p, 1); break;
    default: memcpy(&v, p, n);
    }
    return v;
}

void x86_st_slow(X86Cpu *cpu, uint64_t lin, unsigned n, uint64_t val, unsigned mmu)
{
    void *p = plain_ptr(cpu, lin, n, true, mmu);
    if (G_UNLIKELY(!p)) {
        x86_st_slow_n(cpu, lin, n, &val, mmu);
        return;
    }
    cpu->t0->stats.slow_stores++;
    switch (n) {
    case 8: memcpy(p, &val, 8); break;
    case 4: memcpy(p, &val, 4); break;
    case 2: memcpy(p, &val, 2); break;
    case 1: memcpy(p, &val, 1); break;
    default: memcpy(p, &val, n);
    }
}

/* --- probes and pointers --- */

static void probe(X86Cpu *cpu, uint64_t lin, unsigned n, unsigned mmu, X86Access acc)
{
    if (!n) {
        return;
    }
    lin = check_linear(cpu, lin, n, mmu);
    uint64_t last = lin + n - 1;
    for (;;) {
        entry_for(cpu, lin, acc, mmu);
        if (((lin ^ last) & TLB_PAGE_MASK) == 0) {
            return;
        }
        uint64_t p = next_page(cpu, lin);
        last = p < lin ? (uint32_t)last : last;
        lin = p;
    }
}

void x86_probe_write(X86Cpu *cpu, uint64_t lin, unsigned n, unsigned mmu)
{
    probe(cpu, lin, n, mmu, ACC_WRITE);
}

void x86_probe_read(X86Cpu *cpu, uint64_t lin, unsigned n, unsigned mmu)
{
    probe(cpu, lin, n, mmu, ACC_READ);
}

void *x86_rmw_ptr(X86Cpu *cpu, uint64_t lin, unsigned n)
{
    probe(cpu, lin, n, cpu->mmu, ACC_WRITE);
    if (!(cpu->mode & MODE_LMA)) {
        lin = (uint32_t)lin;
    }
    const TlbEntry *e = &cpu->tlb->e[cpu->mmu][tlb_index(lin)];
    return tlb_hit(e->wtag, lin, n) ? (void *)(lin + e->delta) : NULL;
}

void *x86_lock_ptr(X86Cpu *cpu, uint64_t lin, unsigned n)
{
    probe(cpu, lin, n, cpu->mmu, ACC_WRITE);
    if (!(cpu->mode & MODE_LMA)) {
        lin = (uint32_t)lin;
    }
    if (G_UNLIKELY((lin & 63) + n > 64)) {
        return NULL; /* hosts may trap locked accesses that cross a cache line */
    }
    const TlbEntry *e = &cpu->tlb->e[cpu->mmu][tlb_index(lin)];
    bool ok = tlb_hit(e->wtag & ~(uint64_t)(TLB_SLOW_WATCH | TLB_SLOW_CHECK), lin, n);
    if (ok && G_UNLIKELY(cpu->t0->log_stores)) {
        t1_log_store(cpu, (void *)(lin + e->delta), n);
    }
    return ok ? (void *)(lin + e->delta) : NULL;
}

void x86_lock_done(X86Cpu *cpu, uint64_t lin, unsigned n)
{
    if (!(cpu->mode & MODE_LMA)) {
        lin = (uint32_t)lin;
    }
    const TlbEntry *e = &cpu->tlb->e[cpu->mmu][tlb_index(lin)];
    bool check = e->wtag & TLB_SLOW_CHECK;
    if (e->wtag & TLB_SLOW_WATCH) {
        x86_ram_stored(cpu, lin, n, cpu->mmu);
    }
    if (check) {
        x86_check_data_bp(cpu, lin, n, false);
        x86_check_data_bp(cpu, lin, n, true);
    }
}

/* Host pointer to [lin, end of its page) for block operations, when all of it is plain RAM; *room: bytes. NULL:
 * go element by element. Raises when the first byte is not accessible. */
void *x86_block_ptr(X86Cpu *cpu, uint64_t lin, X86Access acc, unsigned *room)
{
    if (cpu->mode & MODE_LMA && !x86_canonical(cpu, lin)) {
        return NULL;
    }
    const TlbEntry *e = entry_for(cpu, lin, acc, cpu->mmu);
    uint64_t tag = acc == ACC_READ ? e->rtag : e->wtag;
    *room = 4096 - (unsigned)(lin & 4095);
    return tag == (lin & TLB_PAGE_MASK) ? (void *)(lin + e->delta) : NULL;
}

/* Up to n bytes of code from a page that is not RAM; stays inside the page. */
unsigned tlb_fetch_io(X86Cpu *cpu, uint64_t lin, uint8_t *buf, unsigned n)
{
    entry_for(cpu, lin, ACC_EXEC, cpu->mmu);
    const TlbAux *a = &cpu->tlb->aux[cpu->mmu][tlb_index(lin)];
    n = MIN(n, 4096 - (unsigned)(lin & 4095));
    for (unsigned i = 0; i < n; i++) {
        io_read(cpu, (a->phys | (lin & 4095)) + i, a->range, buf + i, 1);
    }
    return n;
}
