/* SPDX-License-Identifier: MIT
 * tests/bench/bench-t0.c - million guest instructions per second of the interpreter on small loops.
 * Prints one line a loop; CPU time of this thread, best of five.
 * Threads: main.
 */
#include "tests/cpu/cpuharness.h"

#include <stdio.h>
#include <time.h>

static double cpu_seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

typedef struct Bench {
    const char *name;
    uint8_t code[64];
    size_t n;
} Bench;
#define BYTES(...) { __VA_ARGS__ }, sizeof((const uint8_t[]){ __VA_ARGS__ })

static const Bench benches[] = {
    /* mov ecx, 5000000; 1: mov rdx, rax; shl rdx, 13; xor rax, rdx; mov rdx, rax; shr rdx, 7; xor rax, rdx; dec ecx; jnz 1b; hlt */
    { "xorshift (ALU)", BYTES(0xb9, 0x40, 0x4b, 0x4c, 0, 0x48, 0x89, 0xc2, 0x48, 0xc1, 0xe2, 0x0d, 0x48, 0x31, 0xd0, 0x48, 0x89,
                              0xc2, 0x48, 0xc1, 0xea, 0x07, 0x48, 0x31, 0xd0, 0xff, 0xc9, 0x75, 0xe8, 0xf4) },
    /* mov ecx, 5000000; mov edi, 0x20000; 1: mov eax, [rdi]; add eax, 3; mov [rdi], eax; add [rdi+8], rcx; cmp ecx, 1;
     * lea ecx, [rcx-1]; jne 1b; hlt */
    { "loads and stores", BYTES(0xb9, 0x40, 0x4b, 0x4c, 0, 0xbf, 0, 0, 2, 0, 0x8b, 0x07, 0x83, 0xc0, 0x03, 0x89, 0x07, 0x48, 0x01,
                                0x4f, 0x08, 0x83, 0xf9, 0x01, 0x8d, 0x49, 0xff, 0x75, 0xed, 0xf4) },
    /* mov ecx, 3000000; 1: call f; dec ecx; jnz 1b; hlt; f: push rbx; add eax, 1; pop rbx; ret */
    { "call and return", BYTES(0xb9, 0xc0, 0xc6, 0x2d, 0, 0xe8, 5, 0, 0, 0, 0xff, 0xc9, 0x75, 0xf7, 0xf4, 0x53, 0x83, 0xc0, 1,
                               0x5b, 0xc3) },
    /* mov ecx, 3000000; 1: movzx eax, byte [rdi+rcx]... byte loop: test al, al; je; inc rdi; cmp; jb */
    { "compare and branch", BYTES(0xb9, 0x40, 0x4b, 0x4c, 0, 0xbf, 0, 0, 2, 0, 0x0f, 0xb6, 0x07, 0x84, 0xc0, 0x75, 0x04, 0x83,
                                  0xf9, 0x00, 0x90, 0xff, 0xc9, 0x75, 0xf1, 0xf4) },
};

int main(void)
{
    CpuHarness *h = ch_new(8 << 20, NULL);
    for (unsigned i = 0; i < G_N_ELEMENTS(benches); i++) {
        const Bench *b = &benches[i];
        double best = 1e9;
        uint64_t insns = 0;
        for (int k = 0; k < 5; k++) {
            ch_mode(h, CH_LONG64);
            ch_load(h, h->cpu->rip, b->code, b->n);
            double t = cpu_seconds();
            insns = ch_go(h, false).insns;
            best = MIN(best, cpu_seconds() - t);
        }
        printf("%-20s %6.1f million instructions/s\n", b->name, (double)insns / best * 1e-6);
    }
    ch_free(h);
    return 0;
}
