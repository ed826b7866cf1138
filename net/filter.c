/* SPDX-License-Identifier: MIT
 * net/filter.c - -object filter-*: what happens to the frames of a back end on their way.
 *
 * Models: QEMU's filters: those of one back end are passed in their order by what it sends, in the opposite
 *         order by what it receives; position= and insert= say where a new one is put; status= can change.
 * Threads: main loop.
 */
#include "filter_internal.h"
#include "rhea/backends/object.h"
#include "rhea/schema/type.h"
#include "rhea/util/errorcode.h"

#include <string.h>

static const NetFilterType *const types[NET_FILTER_KIND__COUNT] = {
    [NET_FILTER_KIND_FILTER_BUFFER] = &filter_buffer_type,
    [NET_FILTER_KIND_FILTER_DUMP] = &filter_dump_type,
    [NET_FILTER_KIND_FILTER_MIRROR] = &filter_mirror_type,
    [NET_FILTER_KIND_FILTER_REDIRECTOR] = &filter_redirector_type,
    [NET_FILTER_KIND_X_RHEA_FILTER_FLOWS] = &filter_flows_type,
};

/* ---- frames ---- */

static bool goes_through(const NetFilter *f, NetWay way)
{
    return f->on && (f->queue == NET_FILTER_DIRECTION_ALL ||
                     (f->queue == NET_FILTER_DIRECTION_TX) == (way == NET_FROM_BACKEND));
}

/* Those behind the n-th in the frame's order. */
static bool run_from(NetClient *c, guint n, NetWay way, const NetFrame *frame)
{
    guint len = c->filters->len;
    for (; n < len; n++) {
        NetFilter *f = c->filters->pdata[way == NET_FROM_BACKEND ? n : len - 1 - n];
        if (goes_through(f, way)) {
            f->seen++;
            if (f->type->frame(f, way, frame)) {
                return true;
            }
        }
    }
    return false;
}

bool net_filters_keep(NetClient *c, NetWay way, const NetFrame *frame)
{
    return run_from(c, 0, way, frame);
}

bool net_filter_pass(NetFilter *f, NetWay way, const NetFrame *frame)
{
    guint at = 0;
    NetClient *c = f->client;
    g_ptr_array_find(c->filters, f, &at);
    guint n = way == NET_FROM_BACKEND ? at : c->filters->len - 1 - at;
    return run_from(c, n + 1, way, frame) || net_client_pass_on(c, way, frame);
}

/* ---- places ---- */

static NetFilter *find(Machine *m, const char *id)
{
    for (guint i = 0; m->net && i < m->net->clients->len; i++) {
        const NetClient *c = m->net->clients->pdata[i];
        for (guint k = 0; c->filters && k < c->filters->len; k++) {
            NetFilter *f = c->filters->pdata[k];
            if (g_str_equal(f->id, id)) {
                return f;
            }
        }
    }
    return NULL;
}

/* Where it is put among those of its back end; -1: an error. */
static int find_place(const NetFilter *f, Error **errp)
{
    GPtrArray *all = f->client->filters;
    guint at = 0;
    if (g_str_equal(f->position, "tail")) {
        return (int)all->len;
    }
    if (g_str_equal(f->position, "head")) {
        return 0;
    }
    if (!g_str_has_prefix(f->position, "id=")) {
        error_fail(errp, "invalid-value", "position", NULL, "'position' does not take '%s'", f->position);
        error_hint(errp, "it is head, tail, or id=FILTER");
        return -1;
    }
    NetFilter *other = find(f->client->machine, f->position + 3);
    if (!other || !g_ptr_array_find(all, other, &at)) {
        error_fail(errp, "not-found", "position", NULL,
                   "back end '%s' has no filter '%s'", f->client->name, f->position + 3);
        return -1;
    }
    return (int)at + (f->insert == NETFILTER_INSERT_BEHIND);
}

/* ---- life ---- */

static void filter_free(NetFilter *f)
{
    if (f->client->filters) {
        g_ptr_array_remove(f->client->filters, f);
        if (!f->client->filters->len) {
            g_clear_pointer(&f->client->filters, g_ptr_array_unref);
        }
    }
    f->type->close(f);
    g_free(f->state);
    g_free(f->position);
    g_free(f->id);
    g_free(f);
}

void net_filters_free(NetClient *c)
{
    while (c->filters) {
        filter_free(c->filters->pdata[0]);
    }
}

static bool parse_status(const char *text, bool *on, Error **errp)
{
    *on = !text || g_str_equal(text, "on");
    return *on || g_str_equal(text, "off") ||
           error_fail(errp, "invalid-value", "status", NULL,
                      "'status' does not take '%s': it is on or off", text);
}

static NetClient *find_back_end(Machine *m, const char *id, Error **errp)
{
    NetClient *c = net_client_find(m, id);
    if (!c || c->kind == &net_nic_kind) {
        error_fail(errp, c ? "invalid-value" : "not-found", "netdev", NULL,
                   c ? "'%s' is a network card, not a back end" : "there is no network back end '%s'", id);
        error_set_class(errp, c ? ERROR_GENERIC : ERROR_DEVICE_NOT_FOUND);
        return NULL;
    }
    return c;
}

static bool filter_new(Machine *m, const NetFilterOptions *o, Error **errp)
{
    const NetfilterProperties *p = (const NetfilterProperties *)&o->u; /* all kinds begin with them */
    bool on;
    NetClient *c = parse_status(p->status, &on, errp) ? find_back_end(m, p->netdev, errp) : NULL;
    if (!c) {
        return false;
    }
    NetFilter *f = g_new0(NetFilter, 1);
    f->type = types[o->qom_type];
    f->kind = o->qom_type;
    f->client = c;
    f->id = g_strdup(o->id);
    f->position = g_strdup(p->position ? p->position : "tail");
    f->queue = p->has_queue ? p->queue : NET_FILTER_DIRECTION_ALL;
    f->insert = p->has_insert ? p->insert : NETFILTER_INSERT_BEHIND;
    f->on = on;
    f->state = g_malloc0(f->type->state_size);
    if (!c->filters) {
        c->filters = g_ptr_array_new();
    }
    int place = find_place(f, errp);
    if (place < 0 || !f->type->open(f, o, errp)) {
        g_ptr_array_insert(c->filters, -1, f); /* undone with the rest */
        filter_free(f);
        return false;
    }
    g_ptr_array_insert(c->filters, place, f);
    return true;
}

/* ---- as objects ---- */

static bool filter_exists(Machine *m, const char *id)
{
    return find(m, id) != NULL;
}

static bool filter_make(Machine *m, const Json *opts, bool from_text, bool prealloc, Error **errp)
{
    NetFilterOptions o;
    if (!type_decode(&net_filter_options_type, opts, from_text, &o, errp)) {
        return false;
    }
    bool ok = filter_new(m, &o, errp);
    type_clear(&net_filter_options_type, &o);
    return ok;
}

static bool filter_remove(Machine *m, const char *id, Error **errp)
{
    filter_free(find(m, id));
    return true;
}

static Json *filter_get(Machine *m, const char *id, const char *name)
{
    const NetFilter *f = find(m, id);
    const char *text = g_str_equal(name, "type")       ? net_filter_kind_names[f->kind]
                       : g_str_equal(name, "status")   ? f->on ? "on" : "off"
                       : g_str_equal(name, "netdev")   ? f->client->name
                       : g_str_equal(name, "queue")    ? net_filter_direction_names[f->queue]
                       : g_str_equal(name, "position") ? f->position
                       : g_str_equal(name, "insert")   ? netfilter_insert_names[f->insert]
                                                       : NULL;
    return text ? json_new_string(text) : f->type->get ? f->type->get(f, name) : NULL;
}

static bool filter_set(Machine *m, const char *id, const char *name, const Json *value, Error **errp)
{
    NetFilter *f = find(m, id);
    bool on;
    if (strcmp(name, "status") && f->type->set) {
        return f->type->set(f, name, value, errp);
    }
    if (strcmp(name, "status")) {
        error_fail(errp, "not-changeable", "property", NULL,
                   "property '%s' of filter '%s' cannot change any more", name, id);
        error_hint(errp, "status can; for the others make another filter");
        return false;
    }
    if (json_kind(value) != JSON_STRING) {
        return error_fail(errp, "wrong-type", "value", "for example \"off\"",
                          "'status' is the text on or off");
    }
    if (!parse_status(json_get_string(value), &on, errp)) {
        return false;
    }
    if (f->on && !on && f->type->turned_off) {
        f->type->turned_off(f);
    }
    f->on = on;
    return true;
}

void net_filter_register(void)
{
    static const ObjectFamily family = {
        .names = net_filter_kind_names,
        .options = &net_filter_options_type,
        .exists = filter_exists,
        .make = filter_make,
        .remove = filter_remove,
        .parent = "netfilter",
        .for_nets = true,
        .get = filter_get,
        .set = filter_set,
    };
    object_register(&family);
}

void net_filters_print(const NetClient *c, GString *out)
{
    for (guint i = 0; c->filters && i < c->filters->len; i++) {
        const NetFilter *f = c->filters->pdata[i];
        g_string_append_printf(out,
                               "    %s: type=%s,queue=%s,status=%s; %" G_GUINT64_FORMAT
                               " frames, %" G_GUINT64_FORMAT " lost\n",
                               f->id, net_filter_kind_names[f->kind], net_filter_direction_names[f->queue],
                               f->on ? "on" : "off", f->seen, f->lost);
    }
}
