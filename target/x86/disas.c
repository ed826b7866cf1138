/* SPDX-License-Identifier: MIT
 * target/x86/disas.c - disassembly by capstone, for the monitor's x /i and -d in_asm.
 * Models: nothing; the library is loaded when it is first asked for, as its tables (3 MiB resident) are of no use to
 * a guest that runs undisturbed.
 * Threads: any. Tests: tests/cpu/test-decode.c.
 */
#include "config.h"
#include "debug.h"
#include "decode.h"
#include "rhea/util/library.h"

#ifdef HAVE_CAPSTONE
#include <capstone/capstone.h>

static struct Lib {
    bool there;
    __typeof__(cs_open) *open;
    __typeof__(cs_close) *close;
    __typeof__(cs_disasm) *disasm;
    __typeof__(cs_free) *free;
} lib;

static bool load(void)
{
    static const LibraryCall calls[] = {
        { "cs_open", offsetof(struct Lib, open), false },
        { "cs_close", offsetof(struct Lib, close), false },
        { "cs_disasm", offsetof(struct Lib, disasm), false },
        { "cs_free", offsetof(struct Lib, free), false },
    };
    static const Library capstone = {
        .file = "libcapstone.so." G_STRINGIFY(CS_API_MAJOR),
        .what = "disassembly needs capstone",
        .cure = "install libcapstone" G_STRINGIFY(CS_API_MAJOR),
        .calls = calls,
        .n = G_N_ELEMENTS(calls),
    };
    static gsize once;
    if (g_once_init_enter(&once)) {
        lib.there = library_load(&capstone, &lib, NULL);
        g_once_init_leave(&once, 1);
    }
    return lib.there;
}

size_t x86_disas(uint32_t mode, uint64_t va, const uint8_t *code, size_t len, GString *out)
{
    cs_mode bits = mode & MODE_CODE64 ? CS_MODE_64 : mode & MODE_CODE32 ? CS_MODE_32 : CS_MODE_16;
    csh cs;
    cs_insn *insn;
    size_t bytes = 0;
    if (!load() || lib.open(CS_ARCH_X86, bits, &cs) != CS_ERR_OK) {
        return 0;
    }
    if (lib.disasm(cs, code, len, va, 1, &insn) == 1) {
        bytes = insn->size;
        g_string_append_printf(out, "%s%s%s", insn->mnemonic, *insn->op_str ? " " : "", insn->op_str);
        lib.free(insn, 1);
    }
    lib.close(&cs);
    return bytes;
}

bool x86_disas_works(void)
{
    return load();
}
#else
size_t x86_disas(uint32_t mode, uint64_t va, const uint8_t *code, size_t len, GString *out)
{
    (void)mode, (void)va, (void)code, (void)len, (void)out;
    return 0;
}

bool x86_disas_works(void)
{
    return false;
}
#endif

size_t x86_disassemble(Vcpu *v, uint64_t va, const uint8_t *code, size_t len, GString *out)
{
    return x86_disas(x86_cpu(v)->mode, va, code, len, out);
}
