/* SPDX-License-Identifier: MIT
 * net/flow-rules.c - lists of what a guest may reach: text, and which rule fits a connection.
 *
 * Threads: main loop.
 */
#include "flow-rules.h"
#include "rhea/util/text.h"

#include <arpa/inet.h>
#include <string.h>

static void rule_clear(void *rule)
{
    g_free(((FlowRule *)rule)->text);
}

static bool parse_proto(const char *text, FlowRule *r)
{
    static const struct {
        const char *name;
        uint8_t proto;
    } all[] = { { "tcp", IPPROTO_TCP }, { "udp", IPPROTO_UDP }, { "icmp", IPPROTO_ICMP }, { "any", 0 } };
    for (size_t i = 0; i < G_N_ELEMENTS(all); i++) {
        if (g_str_equal(text, all[i].name)) {
            r->proto = all[i].proto;
            return true;
        }
    }
    return false;
}

/* ADDR[/BITS]; it is changed. */
static bool parse_addr(char *text, FlowRule *r)
{
    char *slash = strchr(text, '/');
    uint64_t bits;
    if (slash) {
        *slash = 0;
    }
    r->any_addr = g_str_equal(text, "*");
    r->v6 = strchr(text, ':') != NULL;
    if (!r->any_addr && inet_pton(r->v6 ? AF_INET6 : AF_INET, text, r->addr) != 1) {
        return false;
    }
    r->bits = r->v6 ? 128 : 32;
    if (slash && (r->any_addr || !text_to_u64(slash + 1, &bits, NULL) || bits > r->bits)) {
        return false;
    }
    r->bits = slash ? (uint8_t)bits : r->bits;
    return true;
}

static bool parse_ports(const char *text, FlowRule *r)
{
    g_auto(GStrv) part = g_strsplit(text, "-", 2);
    uint64_t low, high;
    if (!part[0] || !text_to_u64(part[0], &low, NULL) ||
        !text_to_u64(part[1] ? part[1] : part[0], &high, NULL) || low > high || high > 65535 ||
        (r->proto != IPPROTO_TCP && r->proto != IPPROTO_UDP)) {
        return false;
    }
    r->low = (uint16_t)low;
    r->high = (uint16_t)high;
    return true;
}

static bool parse_rule(const char *text, FlowRule *r)
{
    const char *colon = strchr(text, ':');
    g_autofree char *proto = colon ? g_strndup(text, (gsize)(colon - text)) : NULL;
    if (!colon || !parse_proto(proto, r)) {
        return false;
    }
    const char *at = colon + 1, *end;
    bool brackets = *at == '[';
    if (brackets) {
        end = strchr(++at, ']');
        if (!end) {
            return false;
        }
        g_autofree char *inner = g_strndup(at, (gsize)(end - at));
        const char *rest = end + 1;
        gsize bits = strcspn(rest, ":");
        g_autofree char *addr = g_strdup_printf("%s%.*s", inner, (int)bits, rest);
        return parse_addr(addr, r) && r->v6 && (!rest[bits] || parse_ports(rest + bits + 1, r));
    }
    end = at + strcspn(at, ":");
    g_autofree char *addr = g_strndup(at, (gsize)(end - at));
    return parse_addr(addr, r) && (!*end || parse_ports(end + 1, r));
}

GArray *flow_rules_parse(const char *text, Error **errp)
{
    g_auto(GStrv) part = g_strsplit(text, ";", -1);
    GArray *rules = g_array_new(FALSE, TRUE, sizeof(FlowRule));
    g_array_set_clear_func(rules, rule_clear);
    for (char **p = part; *p; p++) {
        FlowRule r = { .high = 65535 };
        if (!**p) {
            continue; /* an empty list, or one that ends with ';' */
        }
        if (rules->len == FLOW_RULES || !parse_rule(*p, &r)) {
            if (rules->len == FLOW_RULES) {
                error_set(errp, "there are more than %d rules", FLOW_RULES);
            } else {
                error_set(errp, "'%s' is not PROTO:ADDR[/BITS][:PORT[-PORT]]", *p);
                error_hint(errp, "such as tcp:10.0.0.0/8:443, udp:10.0.2.3:53, icmp:*, any:[fd00::]/8; "
                                 "only tcp and udp have ports");
            }
            g_array_unref(rules);
            return NULL;
        }
        r.text = g_strdup(*p);
        g_array_append_val(rules, r);
    }
    return rules;
}

static bool prefix_fits(const uint8_t *a, const uint8_t *b, unsigned bits)
{
    unsigned whole = bits / 8, rest = bits % 8;
    return !memcmp(a, b, whole) && (!rest || !((a[whole] ^ b[whole]) >> (8 - rest)));
}

FlowRule *flow_rules_find(GArray *rules, bool v6, uint8_t proto, const uint8_t *addr, uint16_t port)
{
    for (guint i = 0; i < rules->len; i++) {
        FlowRule *r = &g_array_index(rules, FlowRule, i);
        bool at = r->any_addr || (r->v6 == v6 && prefix_fits(addr, r->addr, r->bits));
        if (at && (!r->proto || r->proto == proto) && port >= r->low && port <= r->high) {
            return r;
        }
    }
    return NULL;
}
