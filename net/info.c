/* SPDX-License-Identifier: MIT
 * net/info.c - what cards, back ends and their queues have counted, for programs.
 *
 * Threads: main loop.
 */
#include "net_internal.h"

static NetClientInfo describe(const NetClient *c)
{
    NetClientInfo i = { .name = g_strdup(c->name), .type = g_strdup(c->kind->name) };
    i.link = net_client_link(c);
    i.peer = c->peer ? g_strdup(c->peer->name) : NULL;
    i.frames = (int64_t)c->count.frames;
    i.bytes = (int64_t)c->count.bytes;
    i.dropped = (int64_t)__atomic_load_n(&c->count.dropped, __ATOMIC_RELAXED);
    GArray *queues = g_array_new(FALSE, TRUE, sizeof(NetQueueInfo));
    if (c->kind->queues) {
        c->kind->queues(c, queues);
    }
    i.queues.n = queues->len;
    i.queues.items = (void *)g_array_free(queues, FALSE);
    return i;
}

void net_infos(Machine *m, GArray *out)
{
    role_assert_main();
    for (guint i = 0; m->net && i < m->net->clients->len; i++) {
        NetClientInfo info = describe(m->net->clients->pdata[i]);
        g_array_append_val(out, info);
    }
}
