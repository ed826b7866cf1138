/* SPDX-License-Identifier: MIT
 * ui/vnc_vencrypt.c - what a VNC client and a server with TLS say to one another before it begins.
 *
 * Models: RFC 6143, 7.1.1 and 7.1.2, of versions 3.7 and 3.8, with security type 19 alone; VeNCrypt 0.2 with
 * one subtype, as the community's description of RFB has them. Does not model: VeNCrypt 0.1, which is
 * obsolete; RFB 3.3, whose server chooses, and whose clients know no TLS. Threads: one at a time. Tests:
 * tests/unit/ui/test-vnctls.c.
 */
#include "vnc_vencrypt.h"

#include <ctype.h>
#include <string.h>

enum { STEP_VERSION, STEP_TYPE, STEP_VENCRYPT, STEP_SUBTYPE, STEP_OVER };
enum { SECURITY_VENCRYPT = 19, MAJOR = 0, MINOR = 2 };

size_t vencrypt_wants(const Vencrypt *v)
{
    static const uint8_t sizes[] = {
        [STEP_VERSION] = 12, [STEP_TYPE] = 1, [STEP_VENCRYPT] = 2, [STEP_SUBTYPE] = 4, [STEP_OVER] = 1
    };
    return sizes[v->step];
}

static size_t put_u32(uint8_t *out, uint32_t value)
{
    for (unsigned i = 0; i < 4; i++) {
        out[i] = (uint8_t)(value >> (24 - 8 * i));
    }
    return 4;
}

/* A reason is a number of bytes, and they. */
static size_t put_reason(uint8_t *out, const char *text)
{
    size_t n = strlen(text);
    memcpy(out + put_u32(out, (uint32_t)n), text, n);
    return 4 + n;
}

static VencryptNext take_version(Vencrypt *v, const uint8_t *in, uint8_t *out, size_t *n)
{
    bool good =
        !memcmp(in, "RFB 003.", 8) && isdigit(in[8]) && isdigit(in[9]) && isdigit(in[10]) && in[11] == '\n';
    unsigned minor = good ? (in[8] - '0') * 100u + (in[9] - '0') * 10u + (in[10] - '0') : 0;
    if (!good) {
        return VENCRYPT_REFUSED;
    }
    if (minor < 7) { /* such a client expects a type of four bytes; 0: none, and a reason */
        *n = put_u32(out, 0);
        *n += put_reason(out + *n, "RFB 3.7 with VeNCrypt is needed");
        return VENCRYPT_REFUSED;
    }
    out[0] = 1;
    out[1] = SECURITY_VENCRYPT;
    *n = 2;
    v->step = STEP_TYPE;
    return VENCRYPT_MORE;
}

static VencryptNext take_type(Vencrypt *v, const uint8_t *in, uint8_t *out, size_t *n)
{
    if (in[0] != SECURITY_VENCRYPT) { /* 7.1.3: failed */
        *n = put_u32(out, 1);
        *n += put_reason(out + *n, "VeNCrypt is needed");
        return VENCRYPT_REFUSED;
    }
    out[0] = MAJOR;
    out[1] = MINOR;
    *n = 2;
    v->step = STEP_VENCRYPT;
    return VENCRYPT_MORE;
}

static VencryptNext take_vencrypt(Vencrypt *v, const uint8_t *in, uint8_t *out, size_t *n)
{
    if (in[0] != MAJOR || in[1] != MINOR) {
        out[0] = 255;
        *n = 1;
        return VENCRYPT_REFUSED;
    }
    out[0] = 0; /* this version it is */
    out[1] = 1; /* one subtype */
    *n = 2 + put_u32(out + 2, v->offered);
    v->step = STEP_SUBTYPE;
    return VENCRYPT_MORE;
}

VencryptNext vencrypt_take(Vencrypt *v, const uint8_t *in, uint8_t out[VENCRYPT_OUT_MAX], size_t *n)
{
    uint8_t want[4];
    *n = 0;
    switch (v->step) {
    case STEP_VERSION: return take_version(v, in, out, n);
    case STEP_TYPE: return take_type(v, in, out, n);
    case STEP_VENCRYPT: return take_vencrypt(v, in, out, n);
    case STEP_SUBTYPE:
        put_u32(want, v->offered);
        out[0] = !memcmp(in, want, sizeof(want)); /* 1: TLS begins */
        *n = 1;
        v->step = STEP_OVER;
        return out[0] ? VENCRYPT_START_TLS : VENCRYPT_REFUSED;
    default: return VENCRYPT_REFUSED;
    }
}
