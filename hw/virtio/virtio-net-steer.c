/* SPDX-License-Identifier: MIT
 * hw/virtio/virtio-net-steer.c - which of a virtio network card's receive queues a frame goes to, and hashes.
 *
 * Models: virtio 1.2, 5.1.6.4.3 (hash calculation: all nine types, Toeplitz), 5.1.6.5.6 (automatic receive
 *         steering: a back end with several queues knows the flows, by what each of them sent), 5.1.6.5.7
 *         (RSS).
 * Threads: the device's domain.
 */
#include "virtio-net.h"

#include <string.h>

/* 5.1.6.4.3.1: hash types by the number of their bit; each group is IP, TCP, UDP. */
enum { HASH_IP4, HASH_IP6 = 3, HASH_IP6_EX = 6, HASH_NONE = 9 };
enum { PROTO_TCP = 6, PROTO_UDP = 17 };

/* ---- hashes ---- */

static unsigned hash_in_group(uint32_t types, unsigned group, const NicFlow *flow)
{
    unsigned own = group + (flow->protocol == PROTO_TCP ? 1 : flow->protocol == PROTO_UDP ? 2 : 0);
    return types >> own & 1 ? own : types >> group & 1 ? group : (unsigned)HASH_NONE;
}

static unsigned hash_type(uint32_t types, const NicFlow *flow)
{
    unsigned type = flow->extended ? hash_in_group(types, HASH_IP6_EX, flow) : (unsigned)HASH_NONE;
    return type != HASH_NONE || !flow->ip ? type
                                          : hash_in_group(types, flow->ip == 4 ? HASH_IP4 : HASH_IP6, flow);
}

/* False: the driver wants none for such a frame. */
static bool net_hash(const NetSteering *t, const NetFrame *f, NetHash *out)
{
    NicFlow flow;
    nic_flow(f->data, f->len, &flow);
    unsigned type = hash_type(t->types, &flow);
    if (type == HASH_NONE) {
        return false;
    }
    if (type >= HASH_IP6_EX) { /* 5.1.6.4.3.4: where it has come from, and where it goes to in the end */
        flow.source = flow.home ? flow.home : flow.source;
        flow.target = flow.route ? flow.route : flow.target;
    }
    out->value = nic_toeplitz(t->key, f->data, &flow, type % 3 != 0);
    out->report = (uint16_t)(type + 1);
    return true;
}

/* ---- queues ---- */

unsigned net_steer(VirtioNet *s, const NetFrame *f, NetHash *hash)
{
    const NetSteering *t = &s->steering;
    bool hashed = t->types && net_hash(t, f, hash);
    if (t->by_hash) {
        return hashed ? t->table[hash->value & t->mask] : t->other;
    }
    unsigned pair = f->hdr.queue ? (f->hdr.queue - 1u) % s->active : 0;
    /* 5.1.6.5.6.2: another one while the driver resets it */
    return virtio_queue_live(&s->v, &s->v.q[NET_RXQ(pair)]) ? pair : 0;
}

/* ---- commands. False: refused, nothing has changed ---- */

bool net_steer_by_flow(VirtioNet *s, unsigned pairs)
{
    if (pairs < 1 || pairs > s->lanes) {
        return false;
    }
    if (s->steering.by_hash) { /* 5.1.6.5.5: the last command counts, with all that belonged to the other */
        s->steering = (NetSteering){ 0 };
    }
    s->active = (uint16_t)pairs;
    return true;
}

/* The key's length, and the key. */
static bool read_key(NetSteering *t, const uint8_t *data, size_t len)
{
    if (len < 1 || data[0] > NET_KEY || data[0] > len - 1 || (t->types && !data[0])) {
        return false;
    }
    memcpy(t->key, data + 1, data[0]); /* shorter ones end in zeros */
    return true;
}

bool net_steer_hashes(VirtioNet *s, const uint8_t *data, size_t len)
{
    enum { KEY_AT = 12 };
    NetSteering t = { .types = len < KEY_AT ? 0 : nic_le32(data) };
    if (len < KEY_AT || (t.types & ~NET_HASH_TYPES) || !read_key(&t, data + KEY_AT, len - KEY_AT)) {
        return false;
    }
    s->steering = t;
    return true;
}

bool net_steer_by_hash(VirtioNet *s, const uint8_t *data, size_t len)
{
    enum { TABLE_AT = 8 };
    NetSteering t = { .by_hash = true };
    if (len < TABLE_AT) {
        return false;
    }
    t.types = nic_le32(data);
    t.mask = nic_le16(data + 4);
    t.other = nic_le16(data + 6);
    size_t entries = t.mask + 1u, after = TABLE_AT + 2 * entries;
    if ((t.types & ~NET_HASH_TYPES) || entries > NET_TABLE || (entries & t.mask) || t.other >= s->lanes ||
        len < after + 2) {
        return false;
    }
    for (size_t i = 0; i < entries; i++) {
        t.table[i] = nic_le16(data + TABLE_AT + 2 * i);
        if (t.table[i] >= s->lanes) {
            return false;
        }
    }
    unsigned senders = nic_le16(data + after);
    if (senders < 1 || senders > s->lanes || !read_key(&t, data + after + 2, len - after - 2)) {
        return false;
    }
    s->steering = t;
    s->active = (uint16_t)senders;
    return true;
}

/* ---- saved state ---- */

static const VmField fields[] = {
    VM_BOOL(NetSteering, by_hash),
    VM_U32(NetSteering, types),
    VM_U16_MAX(NetSteering, mask, NET_TABLE - 1),
    VM_U16_MAX(NetSteering, other, NET_PAIRS - 1),
    VM_U16_ARRAY(NetSteering, table),
    VM_U8_ARRAY(NetSteering, key),
    { 0 },
};
const VmState net_steering_state = {
    .name = "virtio-net-steering", .version = 1, .oldest = 1, .fields = fields,
};

bool net_steering_good(const VirtioNet *s)
{
    const NetSteering *t = &s->steering;
    bool may_hash = net_has(s, NET_F_HASH_REPORT) || net_has(s, NET_F_RSS);
    bool good = s->active >= 1 && s->active <= s->lanes && (!t->by_hash || net_has(s, NET_F_RSS)) &&
                !(t->types & (may_hash ? ~NET_HASH_TYPES : UINT32_MAX)) && !(t->mask & (t->mask + 1u)) &&
                t->other < s->lanes;
    for (unsigned i = 0; good && i <= t->mask; i++) {
        good = t->table[i] < s->lanes;
    }
    return good;
}
