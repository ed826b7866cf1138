/* SPDX-License-Identifier: MIT
 * target/x86/trap.c - what x87, MMX, SSE and AVX instructions do while CR0, CR4 or XCR0 forbid them. The decoder
 *   puts these in the place of the handler, so that the handlers need not look.
 * Models: Intel SDM volume 3, 2.5, tables 12-1 and 13-1; volume 2A, 2.4.
 * Does not model: -
 * Threads: the vCPU's.
 */
#include "decode.h"

OP(trap_x87)
{
    RAISE(EXC_NM);
}

/* EM beats TS. */
OP(trap_mmx)
{
    if (cpu->cr0 & CR0_EM) {
        RAISE(EXC_UD);
    }
    RAISE(EXC_NM);
}

OP(trap_sse)
{
    if ((cpu->cr0 & CR0_EM) || !(cpu->cr4 & CR4_OSFXSR)) {
        RAISE(EXC_UD);
    }
    RAISE(EXC_NM);
}

OP(trap_avx)
{
    if (!(cpu->cr4 & CR4_OSXSAVE) || (cpu->xcr0 & 6) != 6) {
        RAISE(EXC_UD);
    }
    RAISE(EXC_NM);
}
