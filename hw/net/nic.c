/* SPDX-License-Identifier: MIT
 * hw/net/nic.c - what network cards of different makers have in common.
 *
 * Models: IEEE 802.3, 3.2.9 (frame check sequence), 4.2.3.3 (padding); RFC 791 and 8200 as far as
 *         receive-side scaling needs them, and its Toeplitz hash; the 93C46's read command.
 * Does not model: writing and erasing of the EEPROM. Threads: see nic.h.
 */
#include "nic.h"

#include <string.h>
#include <zlib.h>

uint32_t nic_crc(const uint8_t *data, size_t len)
{
    return (uint32_t)crc32(0, data, (unsigned)len);
}

uint32_t nic_hash(const uint8_t *mac)
{
    uint32_t crc = ~nic_crc(mac, NET_MAC), out = 0;
    for (unsigned i = 0; i < 32; i++) {
        out |= (crc >> i & 1) << (31 - i);
    }
    return out;
}

size_t nic_lay_out(const uint8_t *data, size_t len, uint8_t *out)
{
    memcpy(out, data, len);
    if (len < NIC_SHORTEST) {
        memset(out + len, 0, NIC_SHORTEST - len);
        len = NIC_SHORTEST;
    }
    nic_put_le(out + len, NIC_CRC, nic_crc(out, len));
    return len + NIC_CRC;
}

/* ---- receive-side scaling ---- */

enum { IP4 = 20, IP6 = 40, TCP = 20, UDP = 8, EXTENSIONS = 8 };

static void flow_transport(const uint8_t *frame, size_t len, size_t at, uint8_t protocol, NicFlow *out)
{
    size_t need = protocol == 6 ? TCP : protocol == 17 ? UDP : 0;
    if (need && at + need <= len) {
        out->protocol = protocol;
        out->ports = at;
        out->payload = at + (protocol == 6 ? (frame[at + 12] >> 4) * 4u : UDP);
        if (out->payload < at + need || out->payload > len) {
            out->payload = at;
            out->protocol = 0;
        }
    }
}

/* The option with the home address in destination options, and the one address of a routing header type 2. */
static void flow_mobile(const uint8_t *frame, size_t len, size_t at, uint8_t header, NicFlow *out)
{
    enum { ROUTING = 43, OPTIONS = 60, PAD1 = 0, HOME_ADDRESS = 201 };
    size_t end = at + 8 + frame[at + 1] * 8u;
    if (end > len) {
        return;
    }
    if (header == ROUTING && frame[at + 2] == 2 && end - at >= 24) {
        out->route = at + 8;
    }
    for (size_t i = at + 2; header == OPTIONS && i + 2 <= end; i += frame[i] == PAD1 ? 1 : 2 + frame[i + 1]) {
        if (frame[i] == HOME_ADDRESS && frame[i + 1] == 16 && i + 18 <= end) {
            out->home = i + 2;
        }
    }
}

static void flow_ip6(const uint8_t *frame, size_t len, size_t at, NicFlow *out)
{
    uint8_t next = frame[at + 6];
    out->ip = 6;
    out->addresses = out->source = at + 8;
    out->target = at + 24;
    at += IP6;
    for (unsigned i = 0; i < EXTENSIONS && at + 8 <= len; i++) {
        bool fragment = next == 44;
        if (next != 0 && next != 43 && next != 60 && !fragment) { /* hop by hop, routing, destination */
            break;
        }
        out->extended = true;
        flow_mobile(frame, len, at, next, out);
        if (fragment) {
            out->payload = at;
            return;
        }
        next = frame[at];
        at += 8 + frame[at + 1] * 8u;
    }
    out->payload = MIN(at, len);
    flow_transport(frame, len, at, next, out);
}

void nic_flow(const uint8_t *frame, size_t len, NicFlow *out)
{
    size_t at = NET_ETH;
    *out = (NicFlow){ .payload = MIN(at, len) };
    if (len >= NET_ETH + 4 && nic_be16(frame + 12) == 0x8100) {
        at += 4;
    }
    if (len < at + IP4) {
        return;
    }
    unsigned type = nic_be16(frame + at - 2);
    size_t header = (frame[at] & 15) * 4u;
    if (type == 0x0800 && frame[at] >> 4 == 4 && header >= IP4 && at + header <= len) {
        out->ip = 4;
        out->addresses = out->source = at + 12;
        out->target = at + 16;
        out->payload = at + header;
        if (!(nic_be16(frame + at + 6) & 0x3fff)) { /* whole */
            flow_transport(frame, len, at + header, frame[at + 9], out);
        }
    } else if (type == 0x86dd && frame[at] >> 4 == 6 && at + IP6 <= len) {
        flow_ip6(frame, len, at, out);
    }
}

/* One bit of the input after the other: where it is set, the 32 bits of the key from there on are added. */
uint32_t nic_toeplitz(const uint8_t *key, const uint8_t *frame, const NicFlow *flow, bool with_ports)
{
    uint8_t in[2 * 16 + 4];
    size_t n = flow->ip == 4 ? 8 : 32;
    memcpy(in, frame + flow->source, n / 2);
    memcpy(in + n / 2, frame + flow->target, n / 2);
    if (with_ports) {
        memcpy(in + n, frame + flow->ports, 4);
        n += 4;
    }
    uint32_t hash = 0, window = (uint32_t)key[0] << 24 | key[1] << 16 | key[2] << 8 | key[3];
    for (size_t i = 0; i < n; i++) {
        for (int bit = 7; bit >= 0; bit--) {
            hash ^= in[i] >> bit & 1 ? window : 0;
            window = window << 1 | (key[i + 4] >> bit & 1);
        }
    }
    return hash;
}

/* ---- the EEPROM ---- */

enum { COMMAND = 9, READ = 6, WORD = 16 };

void microwire_reset(Microwire *w)
{
    w->count = w->out = 0;
    w->shift = w->data = 0;
    w->select = w->clock = false;
}

/* After the command come a zero and the bits of the word and of those that follow it. */
static bool microwire_clock(Microwire *w, bool in)
{
    if (w->count < COMMAND) {
        if (w->count == 0 && !in) {
            return true; /* not begun */
        }
        w->shift = (uint16_t)(w->shift << 1 | in);
        if (++w->count < COMMAND) {
            return true;
        }
        bool read = w->shift >> 6 == READ;
        w->data = w->word[w->shift % NIC_MICROWIRE_WORDS];
        w->out = !read;
        return read;
    }
    if (w->shift >> 6 != READ) {
        return true; /* it was told already */
    }
    w->out = w->data >> 15;
    w->data = (uint16_t)(w->data << 1);
    if (++w->count == COMMAND + WORD) {
        w->shift = (uint16_t)(READ << 6 | ((w->shift + 1) % NIC_MICROWIRE_WORDS));
        w->data = w->word[w->shift % NIC_MICROWIRE_WORDS];
        w->count = COMMAND;
    }
    return true;
}

bool microwire_set(Microwire *w, bool select, bool clock, bool in)
{
    bool edge = clock && !w->clock, ok = true;
    if (!select || !w->select) {
        w->count = 0;
        w->shift = 0;
        w->out = 1; /* ready */
    }
    if (select && edge) {
        ok = microwire_clock(w, in);
    }
    w->select = select;
    w->clock = clock;
    return ok;
}

static const VmField microwire_fields[] = {
    VM_U8_MAX(Microwire, count, COMMAND + WORD - 1),
    VM_U8_MAX(Microwire, out, 1),
    VM_U16(Microwire, shift),
    VM_U16(Microwire, data),
    VM_BOOL(Microwire, select),
    VM_BOOL(Microwire, clock),
    { 0 },
};
const VmState microwire_state = {
    .name = "microwire", .version = 1, .oldest = 1, .fields = microwire_fields,
};
