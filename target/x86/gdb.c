/* SPDX-License-Identifier: MIT
 * target/x86/gdb.c - the registers of an x86-64 CPU as GDB numbers and describes them.
 * Models: GDB manual, appendix G.5.5 "i386 Features": core (with x87), sse, avx, segments; and a feature of our own with the
 *   control registers under the names that debuggers of kernels ask for.
 * Does not model: AVX-512, protection keys, bounds; a description for 16- and 32-bit code (`set architecture` does it).
 * Threads: the vCPU's thread, between instructions.
 */
#include "gdb.h"
#include "sysint.h"
#include "x87.h"

enum { /* register numbers */
    N_GPR = 0, N_RIP = 16, N_EFLAGS, N_SEG, N_ST = 24, N_FPU = 32, N_XMM = 40, N_MXCSR = 56, N_FS_BASE, N_GS_BASE, N_KGS_BASE,
    N_CR0, N_CR2, N_CR3, N_CR4, N_CR8, N_EFER, N_YMMH, N_END = N_YMMH + 16,
};
static const uint8_t gpr_order[16] = { R_RAX, R_RBX, R_RCX, R_RDX, R_RSI, R_RDI, R_RBP, R_RSP, 8, 9, 10, 11, 12, 13, 14, 15 };
static const uint8_t seg_order[6] = { SEG_CS, SEG_SS, SEG_DS, SEG_ES, SEG_FS, SEG_GS };

static unsigned gdb_n_regs(const Vcpu *v)
{
    return x86_has_feature((const X86Cpu *)v, "avx") ? N_END : N_YMMH;
}

/* --- reading --- */

static unsigned put(uint8_t *buf, uint64_t val, unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        buf[i] = (uint8_t)(val >> 8 * i);
    }
    return n;
}

static uint32_t fpu_control(const X86Cpu *cpu, unsigned i)
{
    const X86Fpu *f = &cpu->fpu;
    const uint32_t val[8] = { f->cw, x87_status(cpu), x87_full_tags(cpu), f->fcs, (uint32_t)f->fip, f->fds, (uint32_t)f->fdp, f->fop };
    return val[i];
}

static uint64_t system_reg(X86Cpu *cpu, unsigned n)
{
    switch (n) {
    case N_FS_BASE: return cpu->seg[SEG_FS].base;
    case N_GS_BASE: return cpu->seg[SEG_GS].base;
    case N_KGS_BASE: return cpu->kernel_gs_base;
    case N_CR0: return cpu->cr0;
    case N_CR2: return cpu->cr2;
    case N_CR3: return cpu->cr3;
    case N_CR4: return cpu->cr4;
    case N_CR8: return cpu->apic_ops ? cpu->apic_ops->get_tpr(cpu->apic) >> 4 : cpu->cr8_shadow;
    default: return cpu->efer;
    }
}

static unsigned gdb_read(Vcpu *v, unsigned n, uint8_t buf[GDB_REG_MAX])
{
    X86Cpu *cpu = x86_cpu(v);
    if (n >= gdb_n_regs(v)) {
        return 0;
    }
    if (n < N_RIP) {
        return put(buf, cpu->gpr[gpr_order[n]], 8);
    } else if (n == N_RIP) {
        return put(buf, cpu->rip, 8);
    } else if (n == N_EFLAGS) {
        return put(buf, x86_get_eflags(cpu), 4);
    } else if (n < N_ST) {
        return put(buf, cpu->seg[seg_order[n - N_SEG]].sel, 4);
    } else if (n < N_FPU) {
        const X86F80 *r = &cpu->fpu.r[(cpu->fpu.top + n - N_ST) & 7];
        return put(buf, r->sig, 8) + put(buf + 8, r->se, 2);
    } else if (n < N_XMM) {
        return put(buf, fpu_control(cpu, n - N_FPU), 4);
    } else if (n < N_MXCSR || n >= N_YMMH) {
        memcpy(buf, n < N_MXCSR ? &cpu->xmm[n - N_XMM].q[0] : &cpu->xmm[n - N_YMMH].q[2], 16);
        return 16;
    } else if (n == N_MXCSR) {
        return put(buf, cpu->mxcsr, 4);
    }
    return put(buf, system_reg(cpu, n), 8);
}

/* --- writing --- */

static uint64_t get(const uint8_t *buf, unsigned n)
{
    uint64_t val = 0;
    for (unsigned i = 0; i < n; i++) {
        val |= (uint64_t)buf[i] << 8 * i;
    }
    return val;
}

static bool peek(X86Cpu *cpu, uint64_t lin, uint8_t *buf, unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        hwaddr pa;
        if (!x86_translate_debug(cpu, lin + i, &pa) ||
            as_access(x86_memory(cpu), pa, buf + i, 1, false, (MemAttrs){ .debug = true }) != MEM_OK) {
            return false;
        }
    }
    return true;
}

static bool find_descriptor(X86Cpu *cpu, uint16_t sel, X86Desc *d)
{
    uint64_t table = sel & 4 ? cpu->ldt.base : cpu->gdt.base;
    uint32_t limit = sel & 4 ? cpu->ldt.attr & SA_UNUSABLE ? 0 : cpu->ldt.limit : cpu->gdt.limit;
    uint8_t raw[8];
    if ((sel | 7u) > limit || !peek(cpu, table + (sel & ~7u), raw, 8)) {
        return false;
    }
    *d = (X86Desc){ .lo = (uint32_t)get(raw, 4), .hi = (uint32_t)get(raw + 4, 4), .addr = table + (sel & ~7u) };
    return true;
}

/* As MOV and far JMP would load it, but for the checks of privilege. */
static bool write_segment(X86Cpu *cpu, unsigned seg, uint16_t sel)
{
    X86Desc d;
    X86Seg s;
    if (sel == cpu->seg[seg].sel) {
        return true;
    }
    if (in_real(cpu) || in_vm86(cpu)) {
        x86_set_seg_real(cpu, seg, sel);
        return true;
    }
    if (sel_null(sel)) {
        if (seg == SEG_CS || (seg == SEG_SS && !in_code64(cpu))) {
            return false;
        }
        s = (X86Seg){ .sel = sel, .attr = SA_UNUSABLE };
    } else {
        bool code = find_descriptor(cpu, sel, &d) && desc_is_code(&d);
        if (!find_descriptor(cpu, sel, &d) || !desc_s(&d) || !desc_present(&d) || code != (seg == SEG_CS)) {
            return false;
        }
        s = x86_seg_from_desc(sel, &d);
    }
    x86_seg_commit(cpu, seg, &s);
    if (seg == SEG_CS) {
        cpu->cpl = sel & 3;
    }
    return true;
}

static bool write_base(X86Cpu *cpu, unsigned n, uint64_t val)
{
    if (!x86_canonical_base(cpu, val)) {
        return false;
    }
    if (n == N_KGS_BASE) {
        cpu->kernel_gs_base = val;
    } else {
        unsigned seg = n == N_FS_BASE ? SEG_FS : SEG_GS;
        cpu->seg[seg].base = cpu->seg_base[seg] = val;
    }
    return true;
}

static bool write_cr8(X86Cpu *cpu, uint64_t val)
{
    if (val > 15) {
        return false;
    }
    if (cpu->apic_ops) {
        cpu->apic_ops->set_tpr(cpu->apic, (uint8_t)(val << 4));
    } else {
        cpu->cr8_shadow = val;
    }
    return true;
}

static bool write_system(X86Cpu *cpu, unsigned n, uint64_t val)
{
    switch (n) {
    case N_FS_BASE: case N_GS_BASE: case N_KGS_BASE: return write_base(cpu, n, val);
    case N_CR0: return x86_set_cr0(cpu, val);
    case N_CR2: cpu->cr2 = val; return true;
    case N_CR3: return val == cpu->cr3 || x86_set_cr3(cpu, val);
    case N_CR4: return x86_set_cr4(cpu, val);
    case N_CR8: return write_cr8(cpu, val);
    default: return val == cpu->efer || x86_set_efer(cpu, val);
    }
}

static void write_fpu_control(X86Cpu *cpu, unsigned i, uint32_t val)
{
    X86Fpu *f = &cpu->fpu;
    switch (i) {
    case 0: x87_load_control(cpu, (uint16_t)val); break;
    case 1: x87_load_status(cpu, (uint16_t)val); break;
    case 2: x87_load_full_tags(cpu, (uint16_t)val); break;
    case 3: f->fcs = (uint16_t)val; break;
    case 4: f->fip = (f->fip & ~(uint64_t)UINT32_MAX) | val; break;
    case 5: f->fds = (uint16_t)val; break;
    case 6: f->fdp = (f->fdp & ~(uint64_t)UINT32_MAX) | val; break;
    default: f->fop = val & 0x7ff; break;
    }
}

/* A debugger that sets RIP (jump, call) wants it to run: a halted CPU wakes, one that awaits its start-up IPI does not. */
static void write_rip(X86Cpu *cpu, uint64_t val)
{
    val = in_code64(cpu) ? val : (uint32_t)val;
    if (val != cpu->rip) {
        cpu->rip = val;
        cpu->irq_shadow = false;
        cpu->vcpu.halted &= cpu->wait_sipi;
    }
}

static unsigned size_of(unsigned n)
{
    return n <= N_RIP ? 8 : n < N_ST ? 4 : n < N_FPU ? 10 : n < N_XMM ? 4 : n < N_MXCSR ? 16 : n == N_MXCSR ? 4 : n < N_YMMH ? 8 : 16;
}

static unsigned gdb_write(Vcpu *v, unsigned n, const uint8_t *buf, size_t len)
{
    const uint32_t flags = FL_ARITH | FL_TF | FL_IF | FL_DF | FL_IOPL | FL_NT | FL_RF | FL_AC | FL_VIF | FL_VIP | FL_ID;
    X86Cpu *cpu = x86_cpu(v);
    if (n >= gdb_n_regs(v) || len < size_of(n)) {
        return 0;
    }
    bool ok = true;
    uint64_t val = get(buf, MIN(size_of(n), 8));
    if (n < N_RIP) {
        cpu->gpr[gpr_order[n]] = val;
    } else if (n == N_RIP) {
        write_rip(cpu, val);
    } else if (n == N_EFLAGS) {
        x86_set_eflags(cpu, (uint32_t)val, flags | (in_long(cpu) || in_real(cpu) ? 0 : FL_VM));
    } else if (n < N_ST) {
        ok = write_segment(cpu, seg_order[n - N_SEG], (uint16_t)val);
    } else if (n < N_FPU) {
        X86F80 *r = &cpu->fpu.r[(cpu->fpu.top + n - N_ST) & 7];
        r->sig = val;
        r->se = (uint16_t)get(buf + 8, 2);
    } else if (n < N_XMM) {
        write_fpu_control(cpu, n - N_FPU, (uint32_t)val);
    } else if (n < N_MXCSR || n >= N_YMMH) {
        memcpy(n < N_MXCSR ? &cpu->xmm[n - N_XMM].q[0] : &cpu->xmm[n - N_YMMH].q[2], buf, 16);
    } else if (n == N_MXCSR) {
        cpu->mxcsr = val & 0xffff;
    } else {
        ok = write_system(cpu, n, val);
    }
    x86_update_mode(cpu);
    return ok ? size_of(n) : 0;
}

/* --- the description --- */

/* By bit; GDB shows no field without a name. */
static const char *const flag_names[] = { "CF", "", "PF", NULL, "AF", NULL, "ZF", "SF", "TF", "IF", "DF", "OF", NULL, NULL, "NT", NULL,
                                          "RF", "VM", "AC", "VIF", "VIP", "ID" };

static void put_flags_type(GString *out)
{
    g_string_append(out, "<flags id=\"i386_eflags\" size=\"4\">\n");
    for (unsigned i = 0; i < G_N_ELEMENTS(flag_names); i++) {
        if (flag_names[i]) {
            g_string_append_printf(out, "<field name=\"%s\" start=\"%u\" end=\"%u\"/>\n", flag_names[i], i, i);
        }
    }
    g_string_append(out, "</flags>\n");
}

static void put_vector_type(GString *out)
{
    static const struct { const char *id, *field, *type; unsigned n; } views[] = {
        { "v4f", "v4_float", "ieee_single", 4 }, { "v2d", "v2_double", "ieee_double", 2 }, { "v16b", "v16_int8", "int8", 16 },
        { "v8w", "v8_int16", "int16", 8 }, { "v4d", "v4_int32", "int32", 4 }, { "v2q", "v2_int64", "int64", 2 },
    };
    for (unsigned i = 0; i < G_N_ELEMENTS(views); i++) {
        g_string_append_printf(out, "<vector id=\"%s\" type=\"%s\" count=\"%u\"/>\n", views[i].id, views[i].type, views[i].n);
    }
    g_string_append(out, "<union id=\"vec128\">\n");
    for (unsigned i = 0; i < G_N_ELEMENTS(views); i++) {
        g_string_append_printf(out, "<field name=\"%s\" type=\"%s\"/>\n", views[i].field, views[i].id);
    }
    g_string_append(out, "<field name=\"uint128\" type=\"uint128\"/>\n</union>\n");
}

static void put_reg(GString *out, unsigned n, const char *name, const char *type, const char *group)
{
    g_string_append_printf(out, "<reg name=\"%s\" bitsize=\"%u\" type=\"%s\" regnum=\"%u\"", name, 8 * size_of(n), type, n);
    if (group) {
        g_string_append_printf(out, " group=\"%s\"", group);
    }
    g_string_append(out, "/>\n");
}

static void put_numbered(GString *out, unsigned first, unsigned n, const char *prefix, const char *suffix, const char *type,
                         const char *group)
{
    for (unsigned i = 0; i < n; i++) {
        char name[16];
        g_snprintf(name, sizeof(name), "%s%u%s", prefix, i, suffix);
        put_reg(out, first + i, name, type, group);
    }
}

static void put_core(GString *out)
{
    static const char *const gprs[] = { "rax", "rbx", "rcx", "rdx", "rsi", "rdi", "rbp", "rsp", "r8", "r9", "r10", "r11", "r12", "r13",
                                        "r14", "r15" };
    static const char *const segs[] = { "cs", "ss", "ds", "es", "fs", "gs" };
    static const char *const fpu[] = { "fctrl", "fstat", "ftag", "fiseg", "fioff", "foseg", "fooff", "fop" };
    g_string_append(out, "<feature name=\"org.gnu.gdb.i386.core\">\n");
    put_flags_type(out);
    for (unsigned i = 0; i < 16; i++) {
        put_reg(out, N_GPR + i, gprs[i], i == 6 || i == 7 ? "data_ptr" : "int64", NULL);
    }
    put_reg(out, N_RIP, "rip", "code_ptr", NULL);
    put_reg(out, N_EFLAGS, "eflags", "i386_eflags", NULL);
    for (unsigned i = 0; i < 6; i++) {
        put_reg(out, N_SEG + i, segs[i], "int32", NULL);
    }
    put_numbered(out, N_ST, 8, "st", "", "i387_ext", NULL);
    for (unsigned i = 0; i < 8; i++) {
        put_reg(out, N_FPU + i, fpu[i], "int", "float");
    }
    g_string_append(out, "</feature>\n");
}

static bool gdb_description(const Vcpu *v, const char *annex, GString *out)
{
    static const char *const system[] = { "k_gs_base", "cr0", "cr2", "cr3", "cr4", "cr8", "efer" };
    if (strcmp(annex, "target.xml")) {
        return false;
    }
    g_string_append(out, "<?xml version=\"1.0\"?>\n<!DOCTYPE target SYSTEM \"gdb-target.dtd\">\n<target version=\"1.0\">\n"
                         "<architecture>i386:x86-64</architecture>\n");
    put_core(out);
    g_string_append(out, "<feature name=\"org.gnu.gdb.i386.sse\">\n");
    put_vector_type(out);
    put_numbered(out, N_XMM, 16, "xmm", "", "vec128", NULL);
    put_reg(out, N_MXCSR, "mxcsr", "int", "vector");
    g_string_append(out, "</feature>\n<feature name=\"org.gnu.gdb.i386.segments\">\n");
    put_reg(out, N_FS_BASE, "fs_base", "data_ptr", NULL);
    put_reg(out, N_GS_BASE, "gs_base", "data_ptr", NULL);
    g_string_append(out, "</feature>\n<feature name=\"org.rhea.x86.system\">\n");
    for (unsigned i = 0; i < G_N_ELEMENTS(system); i++) {
        put_reg(out, N_KGS_BASE + i, system[i], "uint64", "system");
    }
    g_string_append(out, "</feature>\n");
    if (gdb_n_regs(v) == N_END) {
        g_string_append(out, "<feature name=\"org.gnu.gdb.i386.avx\">\n");
        put_numbered(out, N_YMMH, 16, "ymm", "h", "uint128", NULL);
        g_string_append(out, "</feature>\n");
    }
    g_string_append(out, "</target>\n");
    return true;
}

static AddressSpace *gdb_memory(Vcpu *v)
{
    return x86_memory(x86_cpu(v));
}

const GdbArchOps x86_gdb_ops = {
    .pc = N_RIP,
    .memory = gdb_memory,
    .n_regs = gdb_n_regs,
    .read = gdb_read,
    .write = gdb_write,
    .description = gdb_description,
};
