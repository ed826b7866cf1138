/* SPDX-License-Identifier: MIT
 * system/machine_state.c - the whole machine as bytes, and back.
 * Models: stream, little-endian:
 *     8 bytes "RHEAVM\1\n", u16 n, board name[n], u32 vCPUs, u64 virtual time, u8 has RAM,
 *     a section per vCPU (vmstate.c), the device tree (device_state.c),
 *     RAM when present: u32 blocks, each: u16 n, name[n], u64 size, then runs: u64 first page, u32 pages,
 *       bytes; a run of 0 pages ends the block; pages not named are zero
 *     u32 CRC-32 of all before
 * Threads: main loop, vCPUs parked. The stream is hostile.
 */
#include "internal.h"

#include <string.h>

static const uint8_t magic[8] = { 'R', 'H', 'E', 'A', 'V', 'M', 1, '\n' };
enum { RUN_PAGES_MAX = 1024 };

static void put(GByteArray *out, uint64_t v, unsigned size)
{
    v = GUINT64_TO_LE(v);
    g_byte_array_append(out, (const uint8_t *)&v, size);
}

static void put_text(GByteArray *out, const char *s)
{
    put(out, strlen(s), 2);
    g_byte_array_append(out, (const uint8_t *)s, (guint)strlen(s));
}

/* ---- RAM ---- */

static bool page_is_zero(const uint8_t *p)
{
    const uint64_t *w = (const uint64_t *)p;
    for (unsigned i = 0; i < RAM_PAGE_SIZE / 8; i++) {
        if (w[i]) {
            return false;
        }
    }
    return true;
}

static void save_block(const RamBlock *ram, GByteArray *out)
{
    put_text(out, ram->name);
    put(out, ram->size, 8);
    uint64_t pages = ram->size >> RAM_PAGE_BITS;
    for (uint64_t p = 0; p < pages;) {
        if (page_is_zero(ram->host + (p << RAM_PAGE_BITS))) {
            p++;
            continue;
        }
        uint64_t first = p;
        while (p < pages && p - first < RUN_PAGES_MAX && !page_is_zero(ram->host + (p << RAM_PAGE_BITS))) {
            p++;
        }
        put(out, first, 8);
        put(out, p - first, 4);
        g_byte_array_append(out, ram->host + (first << RAM_PAGE_BITS), (guint)((p - first) << RAM_PAGE_BITS));
    }
    put(out, 0, 8);
    put(out, 0, 4);
}

typedef struct In {
    const uint8_t *p, *end;
    Error **errp;
} In;

static bool get(In *in, unsigned size, uint64_t *v)
{
    *v = 0;
    if ((size_t)(in->end - in->p) < size) {
        return error_set(in->errp, "the machine state ends too early");
    }
    memcpy(v, in->p, size);
    *v = GUINT64_FROM_LE(*v);
    in->p += size;
    return true;
}

static bool get_text_is(In *in, const char *want, const char *what)
{
    uint64_t n;
    if (!get(in, 2, &n)) {
        return false;
    }
    if ((uint64_t)(in->end - in->p) < n || n != strlen(want) || memcmp(in->p, want, n)) {
        return error_set(in->errp, "the state is of another %s than '%s'", what, want);
    }
    in->p += n;
    return true;
}

static bool load_block(In *in, RamBlock *ram)
{
    uint64_t size = 0, pages = ram->size >> RAM_PAGE_BITS, next = 0;
    if (!get_text_is(in, ram->name, "memory block") || !get(in, 8, &size)) {
        return false;
    }
    if (size != ram->size) {
        return error_set(in->errp, "memory block '%s' has another size in the saved state", ram->name);
    }
    for (;;) {
        uint64_t first = 0, n = 0;
        if (!get(in, 8, &first) || !get(in, 4, &n)) {
            return false;
        }
        bool last = !n;
        first = last ? pages : first;
        if (first < next || first > pages || n > pages - first || n > RUN_PAGES_MAX ||
            (uint64_t)(in->end - in->p) >> RAM_PAGE_BITS < n) {
            return error_set(in->errp, "memory block '%s' has impossible pages in the saved state",
                             ram->name);
        }
        for (uint64_t p = next; p < first; p++) { /* do not touch what is zero already */
            uint8_t *host = ram->host + (p << RAM_PAGE_BITS);
            if (!page_is_zero(host)) {
                memset(host, 0, RAM_PAGE_SIZE);
            }
        }
        memcpy(ram->host + (first << RAM_PAGE_BITS), in->p, n << RAM_PAGE_BITS);
        in->p += n << RAM_PAGE_BITS;
        next = first + n;
        if (last) {
            break;
        }
    }
    ram_written(ram, 0, ram->size);
    return true;
}

/* ---- whole ---- */

static GPtrArray *blocks_of(Machine *m)
{
    GPtrArray *a = g_ptr_array_new();
    pthread_mutex_lock(&m->priv->lock);
    for (GList *l = m->priv->ram_blocks; l; l = l->next) {
        g_ptr_array_add(a, l->data);
    }
    pthread_mutex_unlock(&m->priv->lock);
    return a;
}

static void pull_regs(void *opaque)
{
    Vcpu *cpu = opaque;
    cpu->machine->accel->regs_pull(cpu);
    if (cpu->machine->accel->regs_settle) {
        cpu->machine->accel->regs_settle(cpu);
    }
}

static void push_regs(void *opaque)
{
    Vcpu *cpu = opaque;
    cpu->machine->accel->regs_push(cpu);
}

void machine_save(Machine *m, GByteArray *out, bool with_ram)
{
    role_assert_main();
    guint start = out->len;
    g_byte_array_append(out, magic, sizeof(magic));
    put_text(out, m->board->name);
    put(out, m->cpus ? m->n_cpus : 0, 4);
    put(out, (uint64_t)clock_now(m->clock), 8);
    put(out, with_ram, 1);
    for (unsigned i = 0; m->cpus && i < m->n_cpus; i++) {
        Vcpu *cpu = m->cpus[i];
        if (m->accel->regs_pull) {
            vcpu_run_on_wait(cpu, pull_regs, cpu);
        }
        put(out, __atomic_load_n(&cpu->irq_pending, __ATOMIC_ACQUIRE), 4);
        put(out, cpu->halted, 1);
        if (cpu->target->vmstate) {
            vmstate_save(cpu->target->vmstate, cpu, out);
        }
    }
    device_tree_save(m->root, out);
    if (with_ram) {
        g_autoptr(GPtrArray) blocks = blocks_of(m);
        put(out, blocks->len, 4);
        for (guint i = 0; i < blocks->len; i++) {
            save_block(blocks->pdata[i], out);
        }
    }
    put(out, vmstate_crc32(0, out->data + start, out->len - start), 4);
}

static bool load_vcpus(Machine *m, In *in)
{
    for (unsigned i = 0; m->cpus && i < m->n_cpus; i++) {
        Vcpu *cpu = m->cpus[i];
        uint64_t pending, halted;
        if (!get(in, 4, &pending) || !get(in, 1, &halted)) {
            return false;
        }
        if (halted > 1) {
            return error_set(in->errp, "vCPU %u is neither halted nor not in the saved state", i);
        }
        if (cpu->target->vmstate && !vmstate_load(cpu->target->vmstate, cpu, &in->p, in->end, in->errp)) {
            return false;
        }
        cpu->halted = halted;
        __atomic_store_n(&cpu->irq_pending, (uint32_t)pending, __ATOMIC_RELEASE);
        if (m->accel->regs_push) {
            vcpu_run_on_wait(cpu, push_regs, cpu);
        }
    }
    return true;
}

static bool load_ram(Machine *m, In *in)
{
    uint64_t n;
    if (!get(in, 4, &n)) {
        return false;
    }
    g_autoptr(GPtrArray) blocks = blocks_of(m);
    if (n != blocks->len) {
        return error_set(in->errp, "the state has %" G_GUINT64_FORMAT " memory blocks, this machine has %u",
                         n, blocks->len);
    }
    for (guint i = 0; i < blocks->len; i++) {
        if (!load_block(in, blocks->pdata[i])) {
            return false;
        }
    }
    return true;
}

static bool load_all(Machine *m, In *in)
{
    uint64_t n, now = 0, with_ram;
    if (!get_text_is(in, m->board->name, "machine type") || !get(in, 4, &n) || !get(in, 8, &now) ||
        !get(in, 1, &with_ram)) {
        return false;
    }
    if (n != (m->cpus ? m->n_cpus : 0)) {
        return error_set(in->errp, "the state is of a machine with another number of vCPUs");
    }
    if (m->clock == &m->stop_clock.clock) {
        clock_stop_set(&m->stop_clock, (int64_t)now);
    } else if (m->priv->icount) {
        icount_set(m, (int64_t)now);
    }
    if (!load_vcpus(m, in) || !device_tree_load(m->root, &in->p, in->end, in->errp) ||
        (with_ram && !load_ram(m, in))) {
        return false;
    }
    return in->p == in->end || error_set(in->errp, "the machine state has bytes left over");
}

bool machine_load(Machine *m, const uint8_t *data, size_t len, Error **errp)
{
    role_assert_main();
    g_assert(!machine_running(m));
    if (len < sizeof(magic) + 4 || memcmp(data, magic, sizeof(magic))) {
        return error_set(errp, "this is not the state of a machine");
    }
    uint32_t crc;
    memcpy(&crc, data + len - 4, 4);
    if (GUINT32_FROM_LE(crc) != vmstate_crc32(0, data, len - 4)) {
        return error_set(errp, "the machine state is damaged: its checksum is wrong");
    }
    if (m->drain_backends) { /* what the machine had asked for so far is no part of the state */
        m->drain_backends(m, true);
    }
    In in = { .p = data + sizeof(magic), .end = data + len - 4, .errp = errp };
    bool ok = load_all(m, &in);
    if (!ok) { /* nothing half loaded is left to run */
        machine_reset(m, RESET_SNAPSHOT);
    }
    machine_clock_pause(m, true);
    return ok;
}
