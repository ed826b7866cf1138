/* SPDX-License-Identifier: MIT
 * net/user-options.c - the addresses and names of a user-mode network.
 *
 * Models: QEMU's -netdev user: 10.0.2.0/24 with the host as .2, the name server as .3, DHCP from .15 on;
 *         the file server (smb=) as .4; fec0::/64 with ::2 and ::3.
 * Threads: main loop.
 */
#include "user_internal.h"
#include "rhea/util/errorcode.h"
#include "rhea/util/text.h"

#include <arpa/inet.h>
#include <string.h>

static bool parse_ip4(const char *key, const char *text, struct in_addr *out, Error **errp)
{
    return inet_pton(AF_INET, text, out) == 1 ||
           error_fail(errp, "invalid-value", key, "it looks like 10.0.2.2",
                      "'%s' does not take '%s': it is no IPv4 address", key, text);
}

static bool parse_ip6(const char *key, const char *text, struct in6_addr *out, Error **errp)
{
    return inet_pton(AF_INET6, text, out) == 1 ||
           error_fail(errp, "invalid-value", key, "it looks like fec0::2",
                      "'%s' does not take '%s': it is no IPv6 address", key, text);
}

/* address[/bits] or address/mask; without either by the class of the address. */
static bool parse_net(const char *text, struct in_addr *net, struct in_addr *mask, Error **errp)
{
    g_auto(GStrv) part = g_strsplit(text, "/", 2);
    uint64_t bits;
    if (!parse_ip4("net", part[0], net, errp)) {
        return false;
    }
    uint32_t addr = ntohl(net->s_addr), m;
    if (!part[1]) {
        m = addr >> 31 == 0   ? 0xff000000
            : addr >> 30 == 2 ? 0xfff00000
            : addr >> 29 == 6 ? 0xffffff00
                              : 0xfffffff0;
    } else if (strchr(part[1], '.')) {
        if (!parse_ip4("net", part[1], mask, errp)) {
            return false;
        }
        m = ntohl(mask->s_addr);
        if (~m & (~m + 1)) {
            return error_fail(errp, "invalid-value", "net", "it looks like 10.0.2.0/24",
                              "'net' does not take '%s': its mask is not a prefix", text);
        }
    } else {
        if (!text_to_u64(part[1], &bits, NULL) || bits < 1 || bits > 30) {
            return error_fail(errp, "out-of-range", "net", "it looks like 10.0.2.0/24",
                              "'net' does not take '%s': a prefix has 1 to 30 bits", text);
        }
        m = UINT32_MAX << (32 - bits);
    }
    mask->s_addr = htonl(m);
    net->s_addr = htonl(addr & m);
    return true;
}

static bool place_ip4(const char *key, const char *text, uint32_t low, const SlirpConfig *c,
                      struct in_addr *out, Error **errp)
{
    uint32_t net = ntohl(c->vnetwork.s_addr), mask = ntohl(c->vnetmask.s_addr);
    if (!text) {
        out->s_addr = htonl(net | (low & ~mask));
        return true;
    }
    if (!parse_ip4(key, text, out, errp)) {
        return false;
    }
    uint32_t addr = ntohl(out->s_addr);
    if ((addr & mask) != net || addr == net || (addr | mask) == UINT32_MAX) {
        return error_fail(errp, "invalid-value", key,
                          "choose one in the network that is neither its first nor its last",
                          "'%s' is %s, which is no address of a computer in the network", key, text);
    }
    return true;
}

static bool config_ip4(const NetdevUserOptions *o, SlirpConfig *c, Error **errp)
{
    const char *net = o->net ? o->net : o->ip ? o->ip : "10.0.2.0/24";
    if (o->net && o->ip) {
        return error_fail(errp, "conflict", "net", "leave out 'ip'",
                          "'net' and 'ip', which is its older name, exclude each other");
    }
    if (!parse_net(net, &c->vnetwork, &c->vnetmask, errp) ||
        !place_ip4("host", o->host, 2, c, &c->vhost, errp) ||
        !place_ip4("dns", o->dns, 3, c, &c->vnameserver, errp) ||
        !place_ip4("dhcpstart", o->dhcpstart, 15, c, &c->vdhcp_start, errp)) {
        return false;
    }
    if (c->vhost.s_addr == c->vnameserver.s_addr) {
        return error_fail(errp, "conflict", "dns", "give them two addresses",
                          "'host' and 'dns' must not be the same address");
    }
    if (c->vdhcp_start.s_addr == c->vhost.s_addr || c->vdhcp_start.s_addr == c->vnameserver.s_addr) {
        return error_fail(errp, "conflict", "dhcpstart", "give an address of its own",
                          "'dhcpstart' must not be the address of 'host' or 'dns'");
    }
    return true;
}

/* The fourth address, which smallest networks have not. */
static bool config_smb(const NetdevUserOptions *o, const SlirpConfig *c, UserConfig *out, Error **errp)
{
    if (o->smbserver && !o->smb) {
        return error_fail(errp, "conflict", "smbserver", "give smb=FOLDER, too",
                          "'smbserver' is the address of a server that 'smb' would make");
    }
    if (!o->smb) {
        return true;
    }
    if (!c->in_enabled) {
        return error_fail(errp, "conflict", "smb", "leave out one of the two",
                          "'smb' is reached by IPv4, and IPv4 is off");
    }
    if (!place_ip4("smbserver", o->smbserver, 4, c, &out->smb, errp)) {
        return false;
    }
    uint32_t addr = out->smb.s_addr;
    if (addr == c->vhost.s_addr || addr == c->vnameserver.s_addr || addr == c->vdhcp_start.s_addr ||
        addr == c->vnetwork.s_addr || addr == (c->vnetwork.s_addr | ~c->vnetmask.s_addr)) {
        char text[INET_ADDRSTRLEN];
        inet_ntop(AF_INET, &out->smb, text, sizeof(text));
        return error_fail(errp, "conflict", "smbserver", "give an address of its own by smbserver=",
                          "the file server's address %s is another one's in the network", text);
    }
    return true;
}

static bool place_ip6(const char *key, const char *text, uint8_t low, const SlirpConfig *c,
                      struct in6_addr *out, Error **errp)
{
    if (!text) {
        *out = c->vprefix_addr6;
        out->s6_addr[15] |= low;
        return true;
    }
    if (!parse_ip6(key, text, out, errp)) {
        return false;
    }
    for (unsigned bit = 0; bit < c->vprefix_len; bit++) {
        if ((out->s6_addr[bit / 8] ^ c->vprefix_addr6.s6_addr[bit / 8]) & (0x80 >> bit % 8)) {
            return error_fail(errp, "invalid-value", key, "give one in the network, or change the network",
                              "'%s' is %s, which is not in the network", key, text);
        }
    }
    return true;
}

static bool config_ip6(const NetdevUserOptions *o, SlirpConfig *c, Error **errp)
{
    c->vprefix_len = o->has_ipv6_prefixlen ? (uint8_t)o->ipv6_prefixlen : 64;
    return parse_ip6("ipv6-prefix", o->ipv6_prefix ? o->ipv6_prefix : "fec0::", &c->vprefix_addr6, errp) &&
           place_ip6("ipv6-host", o->ipv6_host, 2, c, &c->vhost6, errp) &&
           place_ip6("ipv6-dns", o->ipv6_dns, 3, c, &c->vnameserver6, errp);
}

/* Lengths that the fields of DHCP and TFTP have. */
static bool config_names(const NetdevUserOptions *o, UserConfig *out, Error **errp)
{
    const struct {
        const char *key, *text;
        size_t max;
    } limits[] = { { "hostname", o->hostname, 255 },
                   { "domainname", o->domainname, 255 },
                   { "tftp-server-name", o->tftp_server_name, 255 },
                   { "bootfile", o->bootfile, 127 } };
    for (size_t i = 0; i < G_N_ELEMENTS(limits); i++) {
        if (limits[i].text && strlen(limits[i].text) > limits[i].max) {
            return error_fail(errp, "too-large", limits[i].key, "shorten it",
                              "'%s' is longer than %zu characters", limits[i].key, limits[i].max);
        }
    }
    if (o->tftp && !g_file_test(o->tftp, G_FILE_TEST_IS_DIR)) {
        return error_fail(errp, "file-not-found", "tftp", "create it first",
                          "'tftp' does not take '%s': there is no such folder", o->tftp);
    }
    out->c.vhostname = o->hostname;
    out->c.vdomainname = o->domainname;
    out->c.tftp_path = o->tftp;
    out->c.tftp_server_name = o->tftp_server_name;
    out->c.bootfile = o->bootfile;
    out->search = g_new0(char *, o->dnssearch.n + 1);
    for (size_t i = 0; i < o->dnssearch.n; i++) {
        out->search[i] = g_strdup(o->dnssearch.items[i].str);
    }
    out->c.vdnssearch = o->dnssearch.n ? (const char **)out->search : NULL;
    return true;
}

bool user_config(const NetdevUserOptions *o, UserConfig *out, Error **errp)
{
    *out = (UserConfig){ .c.version = 4 };
    SlirpConfig *c = &out->c;
    bool any4 = o->net || o->ip || o->host || o->dhcpstart || o->dns;
    bool any6 = o->ipv6_prefix || o->has_ipv6_prefixlen || o->ipv6_host || o->ipv6_dns;
    c->in_enabled = o->has_ipv4 ? o->ipv4 : !(o->has_ipv6 && o->ipv6);
    c->in6_enabled = o->has_ipv6 ? o->ipv6 : !(o->has_ipv4 && o->ipv4);
    c->restricted = o->has_restrict && o->restrict_;
    if (!c->in_enabled && !c->in6_enabled) {
        return error_fail(errp, "conflict", "ipv4", "leave one of them on",
                          "'ipv4' and 'ipv6' are both off: nothing is left");
    }
    if ((any4 && !c->in_enabled) || (any6 && !c->in6_enabled)) {
        return error_fail(errp, "conflict", any4 && !c->in_enabled ? "ipv4" : "ipv6",
                          "leave out one of the two",
                          "an IPv%d address is given, and IPv%d is off", any4 && !c->in_enabled ? 4 : 6,
                          any4 && !c->in_enabled ? 4 : 6);
    }
    bool ok = config_ip4(o, c, errp) && config_smb(o, c, out, errp) && config_ip6(o, c, errp) &&
              config_names(o, out, errp);
    char text[INET_ADDRSTRLEN];
    inet_ntop(AF_INET, &c->vnetwork, text, sizeof(text));
    out->network = g_strdup_printf("%s/%d", text, __builtin_popcount(c->vnetmask.s_addr));
    if (!ok) {
        user_config_clear(out);
    }
    return ok;
}

void user_config_clear(UserConfig *c)
{
    g_clear_pointer(&c->search, g_strfreev);
    g_clear_pointer(&c->network, g_free);
}
