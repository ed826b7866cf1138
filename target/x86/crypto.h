/* SPDX-License-Identifier: MIT
 * target/x86/crypto.h - the primitives behind AES-NI and PCLMULQDQ: the host's and portable ones.
 * Models: see crypto.c.
 * Does not model: -
 * Threads: read-only after program start.
 */
#ifndef TARGET_X86_CRYPTO_H
#define TARGET_X86_CRYPTO_H

#include "rhea/target/x86/cpu.h"

typedef struct X86CryptoFns {
    void (*aesenc)(X86Vec *v, const X86Vec *key);
    void (*aesenclast)(X86Vec *v, const X86Vec *key);
    void (*aesdec)(X86Vec *v, const X86Vec *key);
    void (*aesdeclast)(X86Vec *v, const X86Vec *key);
    void (*clmul)(X86Vec *v, uint64_t a, uint64_t b);
} X86CryptoFns;
extern X86CryptoFns x86_crypto;
extern const X86CryptoFns x86_crypto_portable;

#endif
