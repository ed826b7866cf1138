/* SPDX-License-Identifier: MIT
 * monitor/memory.c - commands that look at memory, ports and expressions: x, xp, sum, print, i, o,
 * gva2gpa, gpa2hva.
 *
 * Models: the /COUNT FORMAT SIZE letters of QEMU's monitor (x d u o c i; b h w g) and its line layout.
 * Does not model: writes to memory.
 * Threads: main loop; translations run on the vCPU between instructions.
 */
#include "monitor_internal.h"
#include "rhea/system/memory.h"
#include <ctype.h>
#include <inttypes.h>
#include <string.h>

enum { DUMP_MAX = 1 << 20, INSN_MAX = 15, SUM_MAX = 1 << 30 };

typedef struct Format {
    unsigned count, size; /* size 0: not given */
    char letter;          /* 0: not given */
} Format;

static bool parse_format(const char *text, const char *letters, Format *f, GString *out)
{
    *f = (Format){ .count = 1 };
    if (!text) {
        return true;
    }
    const char *p = text + 1;
    if (isdigit((unsigned char)*p)) {
        f->count = 0;
        while (isdigit((unsigned char)*p)) {
            f->count = MIN(f->count * 10 + (*p - '0'), DUMP_MAX);
            p++;
        }
    }
    for (; *p; p++) {
        const char *sizes = "bhwg", *at = strchr(sizes, *p);
        if (at) {
            f->size = 1u << (at - sizes);
        } else if (strchr(letters, *p)) {
            f->letter = *p;
        } else {
            g_string_append_printf(out, "invalid char in format: '%c'\n", *p);
            return false;
        }
    }
    return true;
}

/* "/fmt" is argv[1] when given; the rest, joined by blanks, is the expression. */
static bool parse_args(Monitor *mon, Machine *m, int argc, char **argv, const char *letters, Format *f,
                       uint64_t *value, GString *out)
{
    bool has_format = argc > 1 && argv[1][0] == '/';
    int first = has_format ? 2 : 1;
    if (!parse_format(has_format ? argv[1] : NULL, letters, f, out)) {
        return false;
    }
    if (argc <= first) {
        g_string_append_printf(out, "%s: an expression is expected\n", argv[0]);
        return false;
    }
    Error *err = NULL;
    g_autofree char *text = g_strjoinv(" ", argv + first);
    if (!monitor_eval(monitor_cpu(mon, m), text, value, &err)) {
        monitor_say_error(out, err);
        return false;
    }
    return true;
}

static void append_char(GString *out, unsigned char c)
{
    static const char escapes[] = "\\'\n\r";
    static const char letters[] = "\\'nr";
    const char *e = c ? strchr(escapes, c) : NULL;
    if (e) {
        g_string_append_printf(out, "'\\%c'", letters[e - escapes]);
    } else if (c >= 32 && c < 127) {
        g_string_append_printf(out, "'%c'", c);
    } else {
        g_string_append_printf(out, "'\\x%02x'", c);
    }
}

/* ---- print ---- */

void hmp_print(Monitor *mon, Machine *m, int argc, char **argv, GString *out)
{
    Format f;
    uint64_t v;
    if (!parse_args(mon, m, argc, argv, "xduoc", &f, &v, out)) {
        return;
    }
    switch (f.letter) {
    case 'd': g_string_append_printf(out, "%" PRId64, (int64_t)v); break;
    case 'u': g_string_append_printf(out, "%" PRIu64, v); break;
    case 'o': g_string_append_printf(out, "%#" PRIo64, v); break;
    case 'c': append_char(out, v); break;
    default: g_string_append_printf(out, "%#" PRIx64, v); break;
    }
    g_string_append_c(out, '\n');
}

/* ---- memory dumps ---- */

typedef struct Reader { /* runs on the vCPU, between instructions, for virtual addresses */
    Vcpu *cpu;
    Machine *machine;
    uint64_t addr;
    uint8_t *buf;
    size_t len;
    bool physical, ok;
} Reader;

static void read_memory(void *opaque)
{
    Reader *r = opaque;
    uint64_t at = r->addr;
    size_t done = 0;
    r->ok = true;
    while (r->ok && done < r->len) {
        size_t n = MIN(r->len - done, RAM_PAGE_SIZE - (at & (RAM_PAGE_SIZE - 1)));
        hwaddr pa = at;
        MemAttrs attrs = { .debug = true };
        r->ok = r->physical || r->cpu->target->debug_translate(r->cpu, at, &pa);
        r->ok = r->ok && as_access(&r->machine->as_mem, pa, r->buf + done, n, false, attrs) == MEM_OK;
        done += n;
        at += n;
    }
}

static bool read_guest(Vcpu *cpu, Machine *m, uint64_t addr, void *buf, size_t len, bool physical)
{
    Reader r = { .cpu = cpu, .machine = m, .addr = addr, .buf = buf, .len = len,
                 .physical = physical || !cpu || !cpu->target->debug_translate };
    if (r.physical) {
        read_memory(&r);
    } else {
        vcpu_run_on_wait(cpu, read_memory, &r);
    }
    return r.ok;
}

static void append_item(GString *out, const uint8_t *p, unsigned size, char letter)
{
    static const int width_u[] = { [1] = 3, [2] = 5, [4] = 10, [8] = 20 };
    static const int width_d[] = { [1] = 4, [2] = 6, [4] = 11, [8] = 20 };
    static const int width_o[] = { [1] = 4, [2] = 7, [4] = 12, [8] = 23 };
    uint64_t v = 0;
    memcpy(&v, p, size); /* guests are little-endian */
    int64_t sv = (int64_t)(v << (64 - 8 * size)) >> (64 - 8 * size);
    g_string_append_c(out, ' ');
    switch (letter) {
    case 'd': g_string_append_printf(out, "%*" PRId64, width_d[size], sv); break;
    case 'u': g_string_append_printf(out, "%*" PRIu64, width_u[size], v); break;
    case 'o': g_string_append_printf(out, "%#*" PRIo64, width_o[size], v); break;
    case 'c': append_char(out, v); break;
    default: g_string_append_printf(out, "0x%0*" PRIx64, (int)(2 * size), v); break;
    }
}

static void dump_data(Vcpu *cpu, Machine *m, uint64_t addr, const Format *f, bool physical, GString *out)
{
    unsigned per_line = (f->size == 1 ? 8 : 16) / f->size;
    uint64_t left = f->count;
    while (left) {
        uint8_t buf[16];
        unsigned n = MIN(left, per_line);
        g_string_append_printf(out, "%016" PRIx64 ":", addr);
        if (!read_guest(cpu, m, addr, buf, n * f->size, physical)) {
            g_string_append(out, " Cannot access memory\n");
            return;
        }
        for (unsigned i = 0; i < n; i++) {
            append_item(out, buf + i * f->size, f->size, f->letter);
        }
        g_string_append_c(out, '\n');
        addr += n * f->size;
        left -= n;
    }
}

static void dump_code(Vcpu *cpu, Machine *m, uint64_t addr, unsigned count, bool physical, GString *out)
{
    if (!cpu || !cpu->target->disassemble || !cpu->target->disassembler_there()) {
        g_string_append(out, "no disassembler: the capstone library is missing, or was at build time\n");
        return;
    }
    for (unsigned i = 0; i < count; i++) {
        uint8_t code[INSN_MAX];
        size_t len = INSN_MAX;
        while (len && !read_guest(cpu, m, addr, code, len, physical)) {
            len--; /* the page after this one may be missing */
        }
        g_autoptr(GString) text = g_string_new(NULL);
        size_t n = len ? cpu->target->disassemble(cpu, addr, code, len, text) : 0;
        if (!n) {
            g_string_append_printf(out, len ? "0x%08" PRIx64 ":  not an instruction\n"
                                            : "0x%08" PRIx64 ":  Cannot access memory\n", addr);
            return;
        }
        g_autoptr(GString) bytes = g_string_new(NULL);
        for (size_t k = 0; k < n; k++) {
            g_string_append_printf(bytes, "%02x ", code[k]);
        }
        g_string_append_printf(out, "0x%08" PRIx64 ":  %-24s %s\n", addr, bytes->str, text->str);
        addr += n;
    }
}

static void dump(Monitor *mon, Machine *m, int argc, char **argv, GString *out, bool physical)
{
    Format f;
    uint64_t addr;
    if (!parse_args(mon, m, argc, argv, "xduoci", &f, &addr, out)) {
        return;
    }
    f.letter = f.letter ? f.letter : mon ? mon->dump_format : 'x';
    if (!f.size) {
        f.size = f.letter == 'c' ? 1 : mon ? mon->dump_size : 4;
    }
    if (mon) {
        mon->dump_format = f.letter;
        mon->dump_size = f.size;
    }
    Vcpu *cpu = monitor_cpu(mon, m);
    if (f.letter == 'i') {
        dump_code(cpu, m, addr, MIN(f.count, DUMP_MAX / 64), physical, out);
    } else {
        f.count = MIN(f.count, DUMP_MAX / f.size);
        dump_data(cpu, m, addr, &f, physical, out);
    }
}

void hmp_x(Monitor *mon, Machine *m, int argc, char **argv, GString *out)
{
    dump(mon, m, argc, argv, out, false);
}

void hmp_xp(Monitor *mon, Machine *m, int argc, char **argv, GString *out)
{
    dump(mon, m, argc, argv, out, true);
}

/* The checksum of sum(1), BSD's: 16 bits that are rotated before each byte is added. */
void hmp_sum(Monitor *mon, Machine *m, int argc, char **argv, GString *out)
{
    uint64_t at, left;
    Error *err = NULL;
    uint16_t sum = 0;
    if (argc != 3) {
        g_string_append(out, "sum: an address and a size are expected\n");
        return;
    }
    if (!monitor_eval(monitor_cpu(mon, m), argv[1], &at, &err) ||
        !monitor_eval(monitor_cpu(mon, m), argv[2], &left, &err)) {
        monitor_say_error(out, err);
        return;
    }
    if (left > SUM_MAX) {
        g_string_append_printf(out, "sum: %d bytes are possible at a time\n", SUM_MAX);
        return;
    }
    while (left) {
        uint8_t buf[RAM_PAGE_SIZE];
        size_t n = MIN(left, sizeof(buf));
        if (!read_guest(NULL, m, at, buf, n, true)) {
            g_string_append_printf(out, "Cannot access memory at 0x%" PRIx64 "\n", at);
            return;
        }
        for (size_t i = 0; i < n; i++) {
            sum = (uint16_t)((sum >> 1 | sum << 15) + buf[i]);
        }
        at += n;
        left -= n;
    }
    g_string_append_printf(out, "%05d\n", sum);
}

/* ---- addresses and ports ---- */

typedef struct Translate {
    Vcpu *cpu;
    uint64_t va;
    hwaddr pa;
    bool ok;
} Translate;

static void translate(void *opaque)
{
    Translate *t = opaque;
    t->ok = t->cpu->target->debug_translate(t->cpu, t->va, &t->pa);
}

void hmp_gva2gpa(Monitor *mon, Machine *m, int argc, char **argv, GString *out)
{
    Format f;
    Translate t = { .cpu = monitor_cpu(mon, m) };
    if (!parse_args(mon, m, argc, argv, "", &f, &t.va, out)) {
        return;
    }
    if (!t.cpu || !t.cpu->target->debug_translate) {
        g_string_append(out, "this machine has no CPU\n");
        return;
    }
    vcpu_run_on_wait(t.cpu, translate, &t);
    if (t.ok) {
        g_string_append_printf(out, "gpa: %#" PRIx64 "\n", t.pa);
    } else {
        g_string_append(out, "Unmapped\n");
    }
}

void hmp_gpa2hva(Monitor *mon, Machine *m, int argc, char **argv, GString *out)
{
    Format f;
    uint64_t at;
    if (!parse_args(mon, m, argc, argv, "", &f, &at, out)) {
        return;
    }
    rcu_read_lock();
    const FlatRange *r = flatview_find(as_view(&m->as_mem), at, NULL);
    if (!r) {
        g_string_append_printf(out, "No memory is mapped at address 0x%" PRIx64 "\n", at);
    } else if (!r->host) {
        g_string_append_printf(out, "Memory at address 0x%" PRIx64 " is not RAM\n", at);
    } else {
        g_string_append_printf(out, "Host virtual address for 0x%" PRIx64 " (%s) is %p\n", at,
                               r->region->name, (void *)(r->host + (at - r->start)));
    }
    rcu_read_unlock();
}

static const char *port_suffix(unsigned size)
{
    return size == 1 ? "b" : size == 2 ? "w" : "l";
}

#define PORT_LETTERS "xduoci" /* taken; values are told in hexadecimal all the same */

static bool port_size(Format *f, uint64_t port, GString *out)
{
    f->size = f->size ? f->size : 4;
    if (f->size > 4 || port + f->size > 0x10000) {
        g_string_append(out, "a port access has 1, 2 or 4 bytes (/b, /h, /w) below port 0x10000\n");
        return false;
    }
    return true;
}

void hmp_in(Monitor *mon, Machine *m, int argc, char **argv, GString *out)
{
    Format f;
    uint64_t port, val = 0;
    if (!parse_args(mon, m, argc, argv, PORT_LETTERS, &f, &port, out) || !port_size(&f, port, out)) {
        return;
    }
    as_load(&m->as_io, port, f.size, &val, MEM_ATTRS_NONE);
    g_string_append_printf(out, "port%s[0x%04x] = 0x%0*" PRIx64 "\n", port_suffix(f.size), (unsigned)port,
                           (int)(2 * f.size), val);
}

void hmp_out(Monitor *mon, Machine *m, int argc, char **argv, GString *out)
{
    Format f;
    uint64_t port, val;
    Error *err = NULL;
    if (argc < 3) {
        g_string_append(out, "o: a port and a value are expected\n");
        return;
    }
    char *value = argv[argc - 1];
    g_autofree char **head = g_memdup2(argv, argc * sizeof(char *));
    head[argc - 1] = NULL;
    if (!parse_args(mon, m, argc - 1, head, PORT_LETTERS, &f, &port, out) || !port_size(&f, port, out)) {
        return;
    }
    if (!monitor_eval(monitor_cpu(mon, m), value, &val, &err)) {
        monitor_say_error(out, err);
        return;
    }
    as_store(&m->as_io, port, f.size, val, MEM_ATTRS_NONE);
}
