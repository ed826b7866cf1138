/* SPDX-License-Identifier: MIT
 * system/coalesce.c - the list of registers whose writes may come late.
 * Models: a register that the flat views have as a whole, in one place.
 * Does not model: registers that views show twice: the first place counts.
 * Threads: the list is guarded by the topology lock.
 */
#include "internal.h"

#include "rhea/system/coalesce.h"

typedef struct Entry {
    Machine *machine;
    Coalesced *c;
} Entry;

static void coalesced_gone(void *opaque)
{
    Entry *e = opaque;
    mem_begin(e->machine);
    for (Coalesced **at = &e->machine->priv->coalesced; *at; at = &(*at)->next) {
        if (*at == e->c) {
            *at = e->c->next;
            break;
        }
    }
    mem_commit(e->machine);
    g_free(e);
}

void coalesced_add(Coalesced *c, Device *owner)
{
    Machine *m = owner->machine;
    Entry *e = g_new0(Entry, 1);
    *e = (Entry){ m, c };
    mem_begin(m);
    c->next = m->priv->coalesced;
    m->priv->coalesced = c;
    mem_commit(m);
    device_add_cleanup(owner, coalesced_gone, e);
}

Coalesced *coalesced_first(Machine *m)
{
    return m->priv->coalesced;
}

bool coalesced_place(Machine *m, const Coalesced *c, hwaddr *at, bool *io)
{
    AddressSpace *const spaces[] = { &m->as_mem, &m->as_io };
    for (unsigned k = 0; k < G_N_ELEMENTS(spaces); k++) {
        const FlatView *v = as_view(spaces[k]);
        for (uint32_t i = 0; v && i < v->n; i++) {
            const FlatRange *r = &v->r[i];
            if (r->region == c->region && c->off >= r->off && c->off - r->off < r->size &&
                c->size <= r->size - (c->off - r->off)) {
                *at = r->start + (c->off - r->off);
                *io = k == 1;
                return true;
            }
        }
    }
    return false;
}
