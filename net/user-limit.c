/* SPDX-License-Identifier: MIT
 * net/user-limit.c - how many sockets a guest gets of this process.
 *
 * libslirp opens one for each connection, each port that sends UDP and each number of echo requests, until
 * the process has no descriptors left for disks, monitors and viewers. Half of them are the guest's at most:
 * then it makes no new connections, as with a router whose table is full, until some have ended. Which UDP
 * ports have their sockets already is remembered for the last ones only, so that those go on; an entry may be
 * older than its socket, which costs KNOWN sockets more at worst. Threads: main loop.
 */
#include "user_internal.h"
#include "rhea/util/log.h"

#include <netinet/in.h>
#include <string.h>
#include <sys/resource.h>

enum { KNOWN = 128, IP4_HEAD = 20, IP6_HEAD = 40, LEAST = 16 };
enum { TCP_FLAGS = 13, TCP_SYN = 2, TCP_ACK = 16 };

struct UserFlows {
    uint64_t known[KNOWN]; /* of what sends; 0: none */
    unsigned limit;
    bool told;
};

UserFlows *user_flows_new(void)
{
    UserFlows *f = g_new0(UserFlows, 1);
    struct rlimit r = { .rlim_cur = RLIM_INFINITY };
    getrlimit(RLIMIT_NOFILE, &r);
    f->limit = (unsigned)CLAMP(r.rlim_cur / 2, (rlim_t)LEAST, (rlim_t)G_MAXINT);
    return f;
}

/* Address and port (or echo's number) of the sender as one number that is not 0. */
static uint64_t sender(const uint8_t *addr, unsigned n, unsigned protocol, const uint8_t *port)
{
    uint64_t h = protocol << 16 | (uint64_t)port[0] << 8 | port[1];
    for (unsigned i = 0; i < n; i += 4) {
        uint32_t word;
        memcpy(&word, addr + i, sizeof(word));
        h = (h ^ word) * UINT64_C(0x9e3779b97f4a7c15);
        h ^= h >> 29;
    }
    return h | 1;
}

static bool refuse(UserNet *u)
{
    if (!u->flows->told) {
        u->flows->told = true;
        log_warn("network '%s': the guest has %u sockets of this process; it gets new ones when others end "
                 "(a higher limit of open files, ulimit -n, gives it more)",
                 u->client->name, u->flows->limit);
    }
    return false;
}

bool user_flow_allowed(UserNet *u, const NetFrame *f)
{
    UserFlows *flows = u->flows;
    bool full = g_hash_table_size(u->fds) + u->fresh >= flows->limit;
    const uint8_t *ip = f->data + NET_ETH, *addr;
    unsigned protocol, head, size;
    if (f->len < NET_ETH + IP4_HEAD) {
        return true;
    }
    if (f->data[12] == 0x08 && f->data[13] == 0x00) {
        protocol = ip[9];
        head = (ip[0] & 15u) * 4;
        addr = ip + 12;
        size = 4;
    } else if (f->data[12] == 0x86 && f->data[13] == 0xdd && f->len >= NET_ETH + IP6_HEAD) {
        protocol = ip[6];
        head = IP6_HEAD;
        addr = ip + 8;
        size = 16;
    } else {
        return true;
    }
    const uint8_t *l4 = ip + head;
    if ((!full && protocol == IPPROTO_TCP) || f->len < NET_ETH + head + 8u) {
        return true;
    }
    if (protocol == IPPROTO_TCP) {
        bool opens = f->len > NET_ETH + head + TCP_FLAGS && (l4[TCP_FLAGS] & (TCP_SYN | TCP_ACK)) == TCP_SYN;
        return !opens || refuse(u);
    }
    if (protocol != IPPROTO_UDP && (protocol != IPPROTO_ICMP || l4[0] != 8)) {
        return true; /* libslirp answers it itself */
    }
    uint64_t key = sender(addr, size, protocol, protocol == IPPROTO_UDP ? l4 : l4 + 4);
    uint64_t *slot = &flows->known[(key >> 32) % KNOWN];
    if (full && *slot != key) {
        return refuse(u);
    }
    *slot = key;
    return true;
}
