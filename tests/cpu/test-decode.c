/* SPDX-License-Identifier: MIT
 * tests/cpu/test-decode.c - the decoder against capstone: lengths and legality of random bytes in 16-, 32- and 64-bit mode.
 * Where they disagree about legality (--verbose lists it), capstone 4 is laxer about LOCK and about prefixes that the SDM marks NP or
 * NFx, knows instructions no model here has (AVX, VMX, SVM, 3DNow!, TSX, VIA), and is stricter about ModRM.rm of fences,
 * ModRM.mod of MOV CR, hint NOPs with registers, and SSE3 to SSE4.2 forms behind an address-size prefix. Lengths must agree.
 * Plus the decoder's own edges: truncated input, 15 bytes.
 * Threads: main.
 */
#include "config.h"
#include "target/x86/debug.h"
#include "target/x86/decode.h"

#include <stdio.h>
#include <string.h>

#ifdef HAVE_CAPSTONE
#include <capstone/capstone.h>
#endif

static const uint32_t modes[3] = { MODE_PE | MODE_FLAT, MODE_PE | MODE_FLAT | MODE_CODE32,
                                   MODE_PE | MODE_FLAT | MODE_LMA | MODE_CODE64 };

/* Every prefix of an instruction asks for more, and the whole does not. */
static void test_truncated(void)
{
    X86Features all = x86_all_features();
    for (unsigned i = 0; i < 200000; i++) {
        uint8_t b[16];
        for (unsigned k = 0; k < sizeof(b); k++) {
            b[k] = (uint8_t)g_test_rand_int();
        }
        uint32_t mode = modes[i % 3] | MODE_AVX_OK;
        X86Insn d, t;
        if (x86_decode(mode, &all, b, sizeof(b), 0, &d) != DEC_OK) {
            continue;
        }
        g_assert_cmpuint(d.len, >, 0);
        g_assert_cmpuint(d.len, <=, X86_MAX_INSN);
        for (unsigned n = 0; n < d.len; n++) {
            g_assert_cmpint(x86_decode(mode, &all, b, n, 0, &t), ==, DEC_MORE);
        }
        g_assert_cmpint(x86_decode(mode, &all, b, d.len, 0, &t), ==, DEC_OK);
        g_assert_cmpmem(&t, sizeof(t), &d, sizeof(d));
    }
}

static void test_limit(void)
{
    X86Features all = x86_all_features();
    uint8_t b[32];
    X86Insn d;
    memset(b, 0x66, sizeof(b));
    b[14] = 0x90;
    g_assert_cmpint(x86_decode(modes[2], &all, b, 32, 0, &d), ==, DEC_OK);
    g_assert_cmpuint(d.len, ==, 15);
    b[14] = 0x66;
    b[15] = 0x90;
    g_assert_cmpint(x86_decode(modes[2], &all, b, 32, 0, &d), ==, DEC_LONG);
    g_assert_cmpint(x86_decode(modes[2], &all, b, 14, 0, &d), ==, DEC_MORE); /* the page fault comes first */
    g_assert_cmpint(x86_decode(modes[2], &all, b, 15, 0, &d), ==, DEC_LONG);
}

/* A feature the model lacks: its row is not there, and the next one matches (TZCNT is BSF). */
static void test_features(void)
{
    static const uint8_t tzcnt[] = { 0xf3, 0x0f, 0xbc, 0xc1 };
    X86Features all = x86_all_features(), none = { { 0, 0 } };
    X86Insn d;
    x86_decode(modes[2], &all, tzcnt, 4, 0, &d);
    g_assert_cmpstr(x86_rows[d.row].name, ==, "TZCNT");
    x86_decode(modes[2], &none, tzcnt, 4, 0, &d);
    g_assert_cmpstr(x86_rows[d.row].name, ==, "BSF");
    static const uint8_t popcnt[] = { 0xf3, 0x0f, 0xb8, 0xc1 };
    g_assert_cmpint(x86_decode(modes[2], &none, popcnt, 4, 0, &d), ==, DEC_UD);
}

#ifdef HAVE_CAPSTONE

static bool is_prefix(uint8_t b, unsigned m)
{
    return b == 0x66 || b == 0x67 || b == 0xf0 || b == 0xf2 || b == 0xf3 || b == 0x26 || b == 0x2e || b == 0x36 || b == 0x3e ||
           b == 0x64 || b == 0x65 || (m == 2 && (b & 0xf0) == 0x40);
}

/* Random opcode, ModRM and the rest behind at most one legacy prefix and one REX: what both decoders define. */
static void random_insn(uint8_t *b, unsigned m)
{
    static const uint8_t pfx[] = { 0x66, 0x67, 0xf2, 0xf3, 0x64 };
    unsigned n = 0;
    if (g_test_rand_int_range(0, 3) == 0) {
        b[n++] = pfx[g_test_rand_int_range(0, sizeof(pfx))];
    }
    if (m == 2 && g_test_rand_bit()) {
        b[n++] = (uint8_t)(0x40 | g_test_rand_int_range(0, 16));
    }
    if (g_test_rand_int_range(0, 3) == 0) {
        b[n++] = 0x0f;
        if (g_test_rand_int_range(0, 4) == 0) {
            b[n++] = g_test_rand_bit() ? 0x38 : 0x3a;
        }
    }
    while (n < 16) {
        b[n++] = (uint8_t)g_test_rand_int();
    }
}

static void test_capstone(void)
{
    static const cs_mode cm[3] = { CS_MODE_16, CS_MODE_32, CS_MODE_64 };
    X86Features all = x86_all_features();
    unsigned agree = 0, wrong = 0, only_ours = 0, only_theirs = 0;
    GHashTable *seen = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
    for (unsigned m = 0; m < 3; m++) {
        csh cs;
        g_assert_cmpint(cs_open(CS_ARCH_X86, cm[m], &cs), ==, CS_ERR_OK);
        cs_insn *ci = cs_malloc(cs);
        for (unsigned i = 0; i < 100000; i++) {
            uint8_t b[16];
            random_insn(b, m);
            const uint8_t *p = b;
            size_t size = 15;
            uint64_t at = 0;
            X86Insn d;
            bool theirs = cs_disasm_iter(cs, &p, &size, &at, ci);
            X86DecodeResult r = x86_decode(modes[m] | MODE_AVX_OK, &all, b, 16, 0, &d);
            if (!theirs || r != DEC_OK) {
                only_ours += !theirs && r == DEC_OK;
                only_theirs += theirs && r != DEC_OK;
                if (g_test_verbose() && theirs != (r == DEC_OK)) {
                    g_autofree char *what = g_strdup_printf("mode %u: only %s", m, theirs ? ci->mnemonic : x86_rows[d.row].name);
                    if (!g_hash_table_contains(seen, what)) {
                        g_test_message("%s: %02x %02x %02x %02x %02x", what, b[0], b[1], b[2], b[3], b[4]);
                        g_hash_table_add(seen, g_steal_pointer(&what));
                    }
                }
                continue;
            }
            if (ci->size == d.len) {
                agree++;
                continue;
            }
            /* UD0 and UD1 have ModRM (SDM vol. 2, UD), which capstone 4 does not know; nor does it know SSE4a, nor that RET Iw stays 16 bits with REX.W. Intel ignores 66 on near branches in 64-bit mode (SDM vol. 2, Jcc, CALL); capstone 4 shortens the displacement
             * for some. Capstone also stops in front of a prefix that is not the last of its kind. */
            const X86Row *row = &x86_rows[d.row];
            /* Before an immediate of operand size capstone forgets 66 when F2 or F3 stands there too. */
            bool hidden = (row->imm == IMM_JZ || row->imm == IMM_IZ || row->imm == IMM_IV) && memchr(b, 0x66, 6) &&
                          (memchr(b, 0xf2, 6) || memchr(b, 0xf3, 6));
            if (hidden || (row->imm == IMM_JZ && m == 2) || g_str_has_prefix(row->name, "UD") || !strcmp(row->name, "INSERTQ") || !strcmp(row->operands, "Iw") ||
                !strcmp(row->name, "EXTRQ") || is_prefix(b[ci->size - 1], m)) {
                continue;
            }
            char *key = g_strdup_printf("mode %u: %s (map %u opcode %02x) %u bytes, capstone %s %s %u bytes: %02x %02x %02x %02x %02x",
                                        m, row->name, row->map, row->opcode, d.len, ci->mnemonic, ci->op_str, ci->size, b[0],
                                        b[1], b[2], b[3], b[4]);
            wrong++;
            if (g_hash_table_size(seen) < 40 && g_hash_table_add(seen, key)) {
                g_test_message("%s", key);
            }
        }
        cs_free(ci, 1);
        cs_close(&cs);
    }
    g_hash_table_destroy(seen);
    g_test_message("%u agree, %u lengths differ, %u legal only here, %u legal only in capstone", agree, wrong, only_ours, only_theirs);
    g_assert_cmpuint(agree, >, 100000);
    g_assert_cmpuint(wrong, ==, 0);
    g_assert_cmpuint(only_ours + only_theirs, <, agree / 20);
}

/* What the monitor and -d in_asm print. */
static void test_text(void)
{
    static const uint8_t code[] = { 0x48, 0x01, 0xd8, 0x0f, 0xff };
    g_autoptr(GString) s = g_string_new(NULL);
    g_assert_true(x86_disas_works());
    g_assert_cmpuint(x86_disas(MODE_CODE64, 0x1000, code, sizeof(code), s), ==, 3);
    g_assert_cmpstr(s->str, ==, "add rax, rbx");
    g_string_truncate(s, 0);
    g_assert_cmpuint(x86_disas(0, 0x1000, code + 1, 2, s), ==, 2); /* 16-bit: no REX */
    g_assert_cmpstr(s->str, ==, "add ax, bx");
    g_string_truncate(s, 0);
    g_assert_cmpuint(x86_disas(MODE_CODE64, 0x1000, code, 2, s), ==, 0); /* cut off */
    g_assert_cmpuint(s->len, ==, 0);
}
#endif

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/decode/truncated", test_truncated);
    g_test_add_func("/decode/limit", test_limit);
    g_test_add_func("/decode/features", test_features);
#ifdef HAVE_CAPSTONE
    g_test_add_func("/decode/capstone", test_capstone);
    g_test_add_func("/decode/text", test_text);
#endif
    return g_test_run();
}
