/* SPDX-License-Identifier: MIT
 * target/x86/t1-rows.c - what tier 1 makes of each row of insn.def: its class, the roles of its operands, the flag recipe it
 * leaves. Derived from the row's operand letters and opcode (SDM vol. 2 appendix A); a row that nothing here
 * claims runs as its T0 function.
 * Threads: made once, read by any.
 */
#include "t1.h"
#include <cpuid.h>
#include <pthread.h>

static T1Row *table;

static bool is_alu(unsigned op) { return op < 0x40 && (op & 7) < 6; }

/* Operand letters: the first is the destination unless the opcode says otherwise. */
static void roles_of(T1Row *r, const X86Row *x)
{
    const char *p = x->operands;
    unsigned k = 0;
    for (; *p && *p != '-'; k++) {
        unsigned dst = k == 0;
        switch (*p) {
        case 'E': case 'M': case 'R': case 'W': case 'U': case 'Q': case 'N':
            r->roles |= T1R_RM_SRC | (dst ? T1R_RM_DST | T1R_STORE : 0);
            if (x->rm == RK_GPR) {
                r->roles |= T1R_RM_GPR;
            } else if (x->rm == RK_BYTE) {
                r->roles |= T1R_RM_BYTE;
            }
            break;
        case 'G': case 'V': case 'P':
            r->roles |= T1R_REG_SRC | (dst ? T1R_REG_DST | T1R_REG_FIRST : 0);
            if (x->reg == RK_GPR) {
                r->roles |= T1R_REG_GPR;
            } else if (x->reg == RK_BYTE) {
                r->roles |= T1R_REG_BYTE;
            }
            break;
        case 'B':
            r->roles |= T1R_V_GPR | T1R_V_SRC | (dst ? T1R_V_DST : 0);
            break;
        default:
            if (dst && (!strncmp(p, "AL", 2) || !strncmp(p, "rAX", 3))) {
                r->implicit |= 1u << R_RAX;
            }
            break;
        }
        p = strchr(p, ',');
        if (!p) {
            break;
        }
        p++;
    }
}

static void no_dst(T1Row *r)
{
    r->roles &= (uint16_t)~(T1R_REG_DST | T1R_RM_DST | T1R_STORE);
    r->implicit = 0;
}

static void one_byte(T1Row *r, const X86Row *x, unsigned digit)
{
    static const uint8_t alu_recipe[8] = { CC_T1_ADD, CC_T1_LOGIC, 0, 0, CC_T1_LOGIC, CC_T1_SUB, CC_T1_LOGIC, CC_T1_CMP };
    unsigned op = x->opcode;
    if (is_alu(op) || op == 0x80 || op == 0x81 || op == 0x83) {
        unsigned n = op < 0x40 ? op >> 3 : digit;
        r->cls = T1C_NATIVE;
        r->recipe = alu_recipe[n];
        if (n == 7) {
            no_dst(r);
        }
        return;
    }
    switch (op) {
    case 0x84: case 0x85: case 0xa8: case 0xa9:
        r->cls = T1C_NATIVE;
        r->recipe = CC_T1_TEST;
        no_dst(r);
        break;
    case 0x88: case 0x89: case 0xc6: case 0xc7:
        r->cls = T1C_NATIVE;
        r->roles &= (uint16_t)~T1R_RM_SRC;
        break;
    case 0x8a: case 0x8b: case 0x69: case 0x6b:
        r->cls = T1C_NATIVE;
        r->roles &= (uint16_t)~T1R_REG_SRC;
        break;
    case 0x63:
        if (x->attrs & RA_O64) {
            r->cls = T1C_NATIVE;
            r->roles &= (uint16_t)~T1R_REG_SRC;
        }
        break;
    case 0x86: case 0x87:
        r->cls = T1C_NATIVE;
        r->roles |= T1R_REG_DST | T1R_LOCKED;
        break;
    case 0x98:
        r->cls = T1C_NATIVE;
        r->implicit = 1u << R_RAX;
        break;
    case 0x99:
        r->cls = T1C_NATIVE;
        r->implicit = 1u << R_RDX;
        break;
    case 0x9e: r->cls = T1C_NATIVE; break;
    case 0x9f: r->cls = T1C_NATIVE; r->implicit = 1u << R_RAX; break;
    case 0xf5: case 0xf8: case 0xf9: r->cls = T1C_NATIVE; break;
    case 0xc0: case 0xc1: case 0xd0: case 0xd1: r->cls = digit == 6 ? T1C_T0 : T1C_NATIVE; break;
    case 0xd2: case 0xd3:
        r->cls = digit == 6 ? T1C_T0 : T1C_NATIVE;
        r->roles |= T1R_CONDFL;
        break;
    case 0xf6: case 0xf7:
        r->cls = digit == 1 ? T1C_T0 : digit == 6 ? T1C_DIV : digit == 7 ? T1C_IDIV : T1C_NATIVE;
        if (digit == 0) {
            r->recipe = CC_T1_TEST;
            no_dst(r);
        } else if (digit >= 4) {
            no_dst(r);
            r->implicit = 1u << R_RAX | 1u << R_RDX;
        }
        break;
    case 0xfe: r->cls = digit < 2 ? T1C_NATIVE : T1C_T0; break;
    case 0xff:
        switch (digit) {
        case 0: case 1: r->cls = T1C_NATIVE; break;
        case 2: r->cls = T1C_CALL_E; break;
        case 4: r->cls = T1C_JMP_E; break;
        case 6: r->cls = T1C_PUSH_E; break;
        default: break;
        }
        break;
    case 0x8c: r->cls = T1C_MOV_RS; break;
    case 0x8d: r->cls = T1C_LEA; break;
    case 0xa4: case 0xa5: case 0xaa: case 0xab: r->cls = !strncmp(x->name, "REP", 3) ? T1C_REP : T1C_T0; break;
    case 0xfc: case 0xfd: r->cls = T1C_DF; break;
    case 0x9c: r->cls = T1C_PUSHF; break;
    case 0xfa: r->cls = T1C_CLI; break;
    case 0xfb: r->cls = T1C_STI; break;
    case 0x68: case 0x6a: r->cls = T1C_PUSH_I; break;
    case 0xc9: r->cls = T1C_LEAVE; break;
    case 0xeb: case 0xe9: r->cls = T1C_JMP; break;
    case 0xe8: r->cls = T1C_CALL; break;
    case 0xc3: r->cls = T1C_RET; break;
    case 0xc2: r->cls = T1C_RET_I; break;
    case 0xa0: case 0xa1: r->cls = T1C_MOV_AO; break;
    case 0xa2: case 0xa3: r->cls = T1C_MOV_OA; break;
    default:
        if (op >= 0x70 && op < 0x80) {
            r->cls = T1C_JCC;
        } else if (op >= 0x50 && op < 0x58) {
            r->cls = T1C_PUSH_R;
        } else if (op >= 0x58 && op < 0x60) {
            r->cls = T1C_POP_R;
        } else if (op >= 0xb0 && op < 0xc0) {
            r->cls = T1C_MOV_ZI;
        } else if (op >= 0x40 && op < 0x50) {
            r->cls = T1C_INCDEC_R;
        } else if (op == 0x90) {
            r->cls = !strcmp(x->name, "NOP") ? T1C_NOP : !strcmp(x->name, "XCHG") ? T1C_XCHG_ZA : T1C_T0;
        }
        break;
    }
}

static void two_byte(T1Row *r, const X86Row *x, unsigned digit, bool reg_only)
{
    unsigned op = x->opcode;
    if ((op & 0xf0) == 0x40 || (op & 0xf0) == 0x90) {
        r->cls = T1C_NATIVE;
        if ((op & 0xf0) == 0x90) {
            r->roles &= (uint16_t)~T1R_RM_SRC;
        }
        return;
    }
    if ((op & 0xf0) == 0x80) {
        r->cls = T1C_JCC;
        return;
    }
    switch (op) {
    case 0x05: r->cls = T1C_SYSCALL; break;
    case 0x07: r->cls = T1C_SYSRET; break;
    case 0x01:
        r->cls = !strcmp(x->name, "SWAPGS")   ? T1C_SWAPGS
                 : !strcmp(x->name, "RDTSCP") ? T1C_RDTSC
                 : !strcmp(x->name, "RDPKRU") ? T1C_RDPKRU
                 : !strcmp(x->name, "STAC") || !strcmp(x->name, "CLAC") ? T1C_AC : T1C_T0;
        break;
    case 0x20: r->cls = T1C_MOV_RC; break;
    case 0x31: r->cls = T1C_RDTSC; break;
    case 0xa4: case 0xac: case 0xaf: case 0xbc: case 0xbd: r->cls = T1C_NATIVE; break;
    case 0xa5: case 0xad:
        r->cls = T1C_NATIVE;
        r->roles |= T1R_CONDFL;
        break;
    case 0xa3:
        r->cls = T1C_NATIVE;
        no_dst(r);
        break;
    case 0xab: case 0xb3: case 0xbb: r->cls = T1C_NATIVE; break;
    case 0xba:
        r->cls = T1C_NATIVE;
        if (digit == 4) {
            no_dst(r);
        }
        break;
    case 0xb0: case 0xb1:
        r->cls = T1C_NATIVE;
        r->implicit = 1u << R_RAX;
        break;
    case 0xb6: case 0xb7: case 0xbe: case 0xbf: case 0xb8:
        r->cls = T1C_NATIVE;
        r->roles &= (uint16_t)~T1R_REG_SRC;
        break;
    case 0xc0: case 0xc1:
        r->cls = T1C_NATIVE;
        r->roles |= T1R_REG_DST;
        break;
    case 0xc3: r->cls = T1C_NATIVE; break;
    case 0xc7:
        if (digit == 1) {
            r->cls = T1C_NATIVE;
            r->implicit = 1u << R_RAX | 1u << R_RDX;
            r->roles |= x->memsize == 16 ? T1R_ALIGN : 0;
        }
        break;
    case 0x0d: case 0x18: case 0x19: case 0x1a: case 0x1b: case 0x1c: case 0x1d: case 0x1e: case 0x1f:
        r->cls = T1C_NOP;
        break;
    case 0xae:
        if (reg_only && digit >= 5) {
            r->cls = T1C_NATIVE; /* fences */
        } else if (reg_only && strlen(x->name) == 8 && !strcmp(x->name + 3, "SBASE")) {
            r->cls = T1C_FSGS;
        }
        break;
    default:
        if (op >= 0xc8 && op < 0xd0) {
            r->cls = T1C_NATIVE;
            r->roles |= T1R_REG_GPR | T1R_REG_SRC | T1R_REG_DST;
        }
        break;
    }
}

/* Features that the host's instruction must have for us to use it; SDM vol. 2 CPUID, APM vol. 3 appendix E. */
static bool host_has(const char *feat)
{
    static const struct { const char *name; uint32_t leaf; uint8_t reg, bit; bool avx; } table_[] = {
        { "pni", 1, 2, 0, false },          { "pclmulqdq", 1, 2, 1, false },   { "ssse3", 1, 2, 9, false },
        { "fma", 1, 2, 12, true },          { "sse4.1", 1, 2, 19, false },     { "sse4.2", 1, 2, 20, false },
        { "movbe", 1, 2, 22, false },       { "popcnt", 1, 2, 23, false },     { "aes", 1, 2, 25, false },
        { "avx", 1, 2, 28, true },          { "f16c", 1, 2, 29, true },        { "bmi1", 7, 1, 3, false },
        { "avx2", 7, 1, 5, true },          { "bmi2", 7, 1, 8, false },        { "adx", 7, 1, 19, false },
        { "sha-ni", 7, 1, 29, false },      { "vaes", 7, 2, 9, true },         { "vpclmulqdq", 7, 2, 10, true },
        { "abm", 0x80000001, 2, 5, false }, { "sse4a", 0x80000001, 2, 6, false },
    };
    for (unsigned i = 0; i < G_N_ELEMENTS(table_); i++) {
        if (!strcmp(feat, table_[i].name)) {
            uint32_t r[4] = { 0 };
#ifdef __x86_64__
            __get_cpuid_count(table_[i].leaf, 0, &r[0], &r[1], &r[2], &r[3]);
            if (table_[i].avx && !__builtin_cpu_supports("avx")) { /* the system must save its state, too */
                return false;
            }
#endif
            return r[table_[i].reg] >> table_[i].bit & 1;
        }
    }
    return true;
}

/* A VEX row's operands say what they are and what is done to them. */
static void vex_roles(T1Row *r, const X86Row *x)
{
    r->roles = 0;
    for (unsigned i = 0; i < G_N_ELEMENTS(x->opnd) && x->opnd[i].role; i++) {
        const X86Operand *o = &x->opnd[i];
        bool read = o->access != OPA_W, written = o->access == OPA_W || o->access == OPA_X;
        if (o->role == OPR_REG) {
            r->roles |= (read ? T1R_REG_SRC : 0) | (written ? T1R_REG_DST : 0) | (x->reg == RK_GPR ? T1R_REG_GPR : 0);
        } else if (o->role == OPR_RM) {
            r->roles |= (read ? T1R_RM_SRC : 0) | (written ? T1R_RM_DST | T1R_STORE : 0) | (x->rm == RK_GPR ? T1R_RM_GPR : 0);
        }
    }
}

/* Vector instructions whose operands are all explicit, in vector or general registers or in memory. */
static void vector(T1Row *r, const X86Row *x)
{
    static const char *const implicit_mem[] = { "MASKMOVDQU", "MASKMOVQ", "VMASKMOVDQU" };
    for (unsigned i = 0; i < G_N_ELEMENTS(implicit_mem); i++) {
        if (!strcmp(x->name, implicit_mem[i])) {
            return;
        }
    }
    if (x->attrs & (RA_X87 | RA_END | RA_CPL0 | RA_VSIB)) {
        return;
    }
    r->cls = x->attrs & RA_MMX ? T1C_MMX : T1C_VEC;
    r->state = (x->attrs & RA_MMX ? T1S_FPU : 0) | (x->attrs & (RA_SSE | RA_AVX) ? T1S_VEC : 0);
    if (!strncmp(x->name, "PCMPESTRI", 9) || !strncmp(x->name, "PCMPISTRI", 9)) {
        r->implicit = 1u << R_RCX;
    }
    if (x->attrs & RA_AVX) { /* masked moves, too: where the look-up hits, no element can fault */
        r->cls = host_has("avx") ? T1C_VEC : T1C_T0;
        vex_roles(r, x);
        r->implicit = g_str_has_suffix(x->name, "STRI") ? 1u << R_RCX : 0;
    } else if (!strcmp(x->name, "COMISS") || !strcmp(x->name, "COMISD") || !strcmp(x->name, "UCOMISS") || !strcmp(x->name, "UCOMISD") ||
        !strcmp(x->name, "PTEST") || !strncmp(x->name, "PCMPISTR", 8) || !strncmp(x->name, "PCMPESTR", 8)) {
        no_dst(r);
        r->implicit |= !strncmp(x->name, "PCMP", 4) && x->name[8] == 'I' ? 1u << R_RCX : 0;
    }
    if (strstr(x->name, "LDMXCSR")) {
        r->cls = T1C_LDMXCSR;
        r->roles = 0;
    }
    if (x->attrs & RA_ALIGN) {
        r->roles |= T1R_ALIGN;
    }
}

static void three_byte(T1Row *r, const X86Row *x)
{
    static const char *const native[] = { "MOVBE", "CRC32", "ADCX", "ADOX", "ANDN", "BLSR", "BLSMSK", "BLSI", "BEXTR", "BZHI", "PEXT",
                                          "PDEP", "MULX", "SARX", "SHLX", "SHRX", "RORX" };
    for (unsigned i = 0; i < G_N_ELEMENTS(native); i++) {
        if (!strcmp(x->name, native[i])) {
            r->cls = T1C_NATIVE;
            if (!strcmp(x->name, "MULX")) {
                r->roles |= T1R_V_DST;
            }
            return;
        }
    }
}

static unsigned digit_of(const X86Row *x)
{
    const char *p = strchr(x->enc, '/');
    return p ? (unsigned)(p[1] - '0') : 8;
}

static void make_table(void)
{
    T1Row *t = g_new0(T1Row, x86_n_rows);
    for (unsigned i = 1; i < x86_n_rows; i++) {
        const X86Row *x = &x86_rows[i];
        T1Row *r = &t[i];
        unsigned digit = digit_of(x);
        bool reg_only = strstr(x->enc, ":r") != NULL;
        r->fl_read = x->fl_read;
        r->fl_def = x->fl_written | x->fl_undef;
        roles_of(r, x);
        if (x->attrs & RA_X87 || !strcmp(x->name, "FWAIT")) {
            t1_fpu_row(r, x);
        } else if (x->attrs & (RA_SSE | RA_AVX | RA_MMX)) {
            vector(r, x);
        } else if (x->map == 0) {
            one_byte(r, x, digit);
        } else if (x->map == 1) {
            two_byte(r, x, digit, reg_only);
        } else {
            three_byte(r, x);
        }
        if (x->feat && !host_has(x86_feature_names[x->feat])) {
            r->cls = T1C_T0;
        }
    }
    table = t;
}

const T1Row *t1_rows(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, make_table);
    return table;
}
