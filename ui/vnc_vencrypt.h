/* SPDX-License-Identifier: MIT
 * ui/vnc_vencrypt.h - what is said before TLS: RFB's version, security type 19 (VeNCrypt 0.2), its subtype.
 * No sockets in here: bytes of the client in, answers out. One thread at a time.
 */
#ifndef UI_VNC_VENCRYPT_H
#define UI_VNC_VENCRYPT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef enum VencryptSubtype {
    VENCRYPT_TLS_NONE = 257,
    VENCRYPT_TLS_VNC = 258,
    VENCRYPT_X509_NONE = 260,
    VENCRYPT_X509_VNC = 261,
} VencryptSubtype;

#define VENCRYPT_VERSION "RFB 003.008\n"
enum { VENCRYPT_IN_MAX = 12, VENCRYPT_OUT_MAX = 64 };

typedef enum VencryptNext { VENCRYPT_MORE, VENCRYPT_START_TLS, VENCRYPT_REFUSED } VencryptNext;
typedef struct Vencrypt {
    VencryptSubtype offered; /* the only one */
    unsigned step;           /* private: 0 at the beginning, when the server has said VENCRYPT_VERSION */
} Vencrypt;

/* How many bytes the client says next, 1 to VENCRYPT_IN_MAX. */
size_t vencrypt_wants(const Vencrypt *v);
/* They came. What goes to the client, in any case: *n bytes. */
VencryptNext vencrypt_take(Vencrypt *v, const uint8_t *in, uint8_t out[VENCRYPT_OUT_MAX], size_t *n);

#endif
