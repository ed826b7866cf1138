/* SPDX-License-Identifier: MIT
 * net/filter-flows.c - -object x-rhea-filter-flows: what the guest may reach, and how much goes where.
 *
 * Models: a table of flows (protocol, addresses, ports); the least recently used one leaves when it is full.
 *         Who sent a flow's first packet began it; others' SYN-ACKs answer the guest. With allow= the guest
 *         may only begin what a rule fits; answers to what others began pass. A refused TCP connection is
 *         reset, the rest dropped. ARP, neighbour discovery, what goes to groups and to the server that
 *         DHCP's answers come from are the network's own business and pass, as later fragments do: without
 *         their first one they are nothing.
 * Threads: main loop.
 */
#include "filter_internal.h"
#include "flow-rules.h"

#include <arpa/inet.h>
#include <string.h>

enum { FLOWS = 1024, DHCP_SERVER = 67, DHCP6_SERVER = 547, ROUTER_SOLICIT = 133, NEIGHBOUR_ADVERT = 136 };

typedef struct FlowKey {
    uint8_t guest[16], other[16];
    uint16_t guest_port, other_port;
    uint8_t proto, v6, zero[2]; /* no padding: keys are compared as bytes */
} FlowKey;

typedef struct Flow {
    FlowKey key;
    GList link; /* in Flows.used */
    bool by_guest, allowed;
    unsigned generation;         /* of the rules that decided */
    uint64_t frames[2], bytes[2]; /* NetWay */
} Flow;

typedef struct Flows {
    GHashTable *table; /* the Flow's key -> Flow */
    GQueue used;       /* the last one that was used is the first */
    unsigned most, generation;
    char *allow;
    GArray *rules;     /* NULL: everything is allowed */
    uint64_t refused, evicted; /* flows */
    uint8_t dhcp[2][16];       /* IPv4's and IPv6's server that answered last */
} Flows;

/* ---- the table ---- */

static guint key_hash(gconstpointer key)
{
    const uint8_t *p = key;
    uint32_t h = 2166136261u; /* FNV-1a */
    for (size_t i = 0; i < sizeof(FlowKey); i++) {
        h = (h ^ p[i]) * 16777619u;
    }
    return h;
}

static gboolean key_equal(gconstpointer a, gconstpointer b)
{
    return !memcmp(a, b, sizeof(FlowKey));
}

static void drop_oldest(Flows *s)
{
    Flow *old = s->used.tail->data;
    g_queue_unlink(&s->used, &old->link);
    g_hash_table_remove(s->table, &old->key);
    g_free(old);
    s->evicted++;
}

static Flow *find_flow(Flows *s, const NetPacket *p, NetWay way)
{
    bool out = way == NET_TO_BACKEND;
    FlowKey key = { .proto = p->proto, .v6 = p->v6 };
    memcpy(key.guest, out ? p->src : p->dst, 16);
    memcpy(key.other, out ? p->dst : p->src, 16);
    key.guest_port = out ? p->sport : p->dport;
    key.other_port = out ? p->dport : p->sport;
    Flow *flow = g_hash_table_lookup(s->table, &key);
    if (flow) {
        g_queue_unlink(&s->used, &flow->link);
        g_queue_push_head_link(&s->used, &flow->link);
        return flow;
    }
    if (g_hash_table_size(s->table) >= s->most) {
        drop_oldest(s);
    }
    bool answer = (p->flags & (NET_TCP_SYN | NET_TCP_ACK)) == (NET_TCP_SYN | NET_TCP_ACK);
    flow = g_new0(Flow, 1);
    flow->key = key;
    flow->by_guest = out || answer; /* the guest's own flags prove nothing */
    flow->generation = s->generation - 1;
    flow->link.data = flow;
    g_queue_push_head_link(&s->used, &flow->link);
    g_hash_table_insert(s->table, &flow->key, flow);
    return flow;
}

/* ---- what is allowed ---- */

static void decide(Flows *s, Flow *flow)
{
    const FlowKey *k = &flow->key;
    FlowRule *rule =
        s->rules ? flow_rules_find(s->rules, k->v6, k->proto, k->other, k->other_port) : NULL;
    flow->generation = s->generation;
    flow->allowed = !flow->by_guest || !s->rules || rule;
    if (rule && flow->by_guest) {
        rule->flows++;
    }
    s->refused += !flow->allowed;
}

/* A frame to a group may carry a packet to anybody. */
static bool is_for_group(const NetFrame *frame, const NetPacket *p)
{
    bool group = p->v6 ? p->dst[0] == 0xff
                       : p->dst[0] >> 4 == 0xe || !memcmp(p->dst, "\xff\xff\xff\xff", 4);
    return group && (frame->data[0] & 1);
}

static bool is_dhcp(Flows *s, const NetPacket *p, NetWay way)
{
    unsigned server = p->v6 ? DHCP6_SERVER : DHCP_SERVER, client = p->v6 ? server - 1 : server + 1;
    bool out = way == NET_TO_BACKEND;
    if (p->proto != IPPROTO_UDP || p->sport != (out ? client : server) ||
        p->dport != (out ? server : client)) {
        return false;
    }
    if (!out) {
        memcpy(s->dhcp[p->v6], p->src, sizeof(s->dhcp[0]));
    }
    return !out || !memcmp(s->dhcp[p->v6], p->dst, sizeof(s->dhcp[0]));
}

static bool is_housekeeping(Flows *s, const NetFrame *frame, const NetPacket *p, NetWay way)
{
    bool neighbours = p->v6 && p->proto == IPPROTO_ICMP && p->icmp >= ROUTER_SOLICIT &&
                      p->icmp <= NEIGHBOUR_ADVERT;
    return neighbours || is_for_group(frame, p) || is_dhcp(s, p, way);
}

static void refuse(NetFilter *f, const NetFrame *frame, const NetPacket *p)
{
    uint8_t reset[NET_PACKET_RESET];
    bool tcp = p->proto == IPPROTO_TCP && !(p->flags & NET_TCP_RST);
    size_t len = tcp ? net_packet_reset(frame->data, frame->len, p, reset) : 0;
    if (len) {
        net_filter_pass(f, NET_FROM_BACKEND, &(NetFrame){ .data = reset, .len = len });
    }
}

static bool flows_frame(NetFilter *f, NetWay way, const NetFrame *frame)
{
    Flows *s = f->state;
    NetPacket p;
    NetPacketKind kind = net_packet_parse(frame->data, frame->len, &p);
    if (kind == NET_PACKET_BROKEN && s->rules) {
        f->lost++;
        return true;
    }
    if (kind != NET_PACKET_IP || is_housekeeping(s, frame, &p, way)) {
        return false;
    }
    Flow *flow = find_flow(s, &p, way);
    flow->frames[way]++;
    flow->bytes[way] += frame->len;
    if (flow->generation != s->generation) {
        decide(s, flow);
    }
    if (!flow->allowed && way == NET_TO_BACKEND) {
        refuse(f, frame, &p);
    }
    return !flow->allowed;
}

/* ---- properties ---- */

static bool set_allow(Flows *s, const char *text, Error **errp)
{
    GArray *rules = flow_rules_parse(text, errp);
    if (!rules) {
        error_prefix(errp, "'allow'");
        return false;
    }
    g_clear_pointer(&s->rules, g_array_unref);
    g_free(s->allow);
    s->rules = rules;
    s->allow = g_strdup(text);
    s->generation++; /* what is there is judged anew with its next frame */
    return true;
}

static void put_place(Json *j, const char *addr_name, const char *port_name, const FlowKey *k, bool guest)
{
    char text[INET6_ADDRSTRLEN];
    inet_ntop(k->v6 ? AF_INET6 : AF_INET, guest ? k->guest : k->other, text, sizeof(text));
    json_put(j, addr_name, json_new_string(text));
    if (k->proto == IPPROTO_TCP || k->proto == IPPROTO_UDP) {
        json_put(j, port_name, json_new_uint(guest ? k->guest_port : k->other_port));
    }
}

static Json *flow_json(const Flow *flow)
{
    const FlowKey *k = &flow->key;
    Json *j = json_new_object();
    g_autofree char *number = g_strdup_printf("%u", k->proto);
    json_put(j, "protocol", json_new_string(k->proto == IPPROTO_TCP    ? "tcp"
                                            : k->proto == IPPROTO_UDP  ? "udp"
                                            : k->proto == IPPROTO_ICMP ? "icmp"
                                                                       : number));
    put_place(j, "guest-addr", "guest-port", k, true);
    put_place(j, "addr", "port", k, false);
    json_put(j, "by-guest", json_new_bool(flow->by_guest));
    json_put(j, "allowed", json_new_bool(flow->allowed));
    json_put(j, "sent-frames", json_new_uint(flow->frames[NET_TO_BACKEND]));
    json_put(j, "sent-bytes", json_new_uint(flow->bytes[NET_TO_BACKEND]));
    json_put(j, "got-frames", json_new_uint(flow->frames[NET_FROM_BACKEND]));
    return json_put(j, "got-bytes", json_new_uint(flow->bytes[NET_FROM_BACKEND]));
}

static Json *flows_get(const NetFilter *f, const char *name)
{
    const Flows *s = f->state;
    Json *list = NULL;
    if (g_str_equal(name, "flows")) {
        list = json_new_array();
        for (const GList *l = s->used.head; l; l = l->next) {
            json_append(list, flow_json(l->data));
        }
    } else if (g_str_equal(name, "rules")) {
        list = json_new_array();
        for (guint i = 0; s->rules && i < s->rules->len; i++) {
            const FlowRule *r = &g_array_index(s->rules, FlowRule, i);
            Json *j = json_put(json_new_object(), "rule", json_new_string(r->text));
            json_append(list, json_put(j, "flows", json_new_uint(r->flows)));
        }
    }
    return list                              ? list
           : g_str_equal(name, "refused")    ? json_new_uint(s->refused)
           : g_str_equal(name, "forgotten")  ? json_new_uint(s->evicted)
           : g_str_equal(name, "max-flows")  ? json_new_uint(s->most)
           : g_str_equal(name, "allow") && s->allow ? json_new_string(s->allow)
                                                    : NULL;
}

static bool flows_set(NetFilter *f, const char *name, const Json *value, Error **errp)
{
    if (strcmp(name, "allow")) {
        return error_set(errp, "property '%s' of filter '%s' is only read", name, f->id);
    }
    if (json_kind(value) != JSON_STRING) {
        return error_set(errp, "'allow' is a text: rules with ';' between");
    }
    return set_allow(f->state, json_get_string(value), errp);
}

/* ---- life ---- */

static bool flows_open(NetFilter *f, const NetFilterOptions *o, Error **errp)
{
    Flows *s = f->state;
    const FilterFlowsProperties *p = &o->u.x_rhea_filter_flows;
    s->table = g_hash_table_new_full(key_hash, key_equal, NULL, NULL);
    g_queue_init(&s->used);
    s->most = p->has_max_flows ? (unsigned)p->max_flows : FLOWS;
    return !p->allow || set_allow(s, p->allow, errp);
}

static void flows_close(NetFilter *f)
{
    Flows *s = f->state;
    if (!s->table) {
        return;
    }
    g_hash_table_destroy(s->table);
    for (GList *l = s->used.head; l;) {
        Flow *flow = l->data;
        l = l->next;
        g_free(flow);
    }
    g_clear_pointer(&s->rules, g_array_unref);
    g_free(s->allow);
}

const NetFilterType filter_flows_type = {
    .state_size = sizeof(Flows),
    .open = flows_open,
    .close = flows_close,
    .frame = flows_frame,
    .get = flows_get,
    .set = flows_set,
};
