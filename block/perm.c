/* SPDX-License-Identifier: MIT
 * block/perm.c - what each user of a node does, and what it tolerates of the others.
 *
 * Models: every edge has two sets: permissions it uses, and permissions it lets others use meanwhile. A
 *         node sums up the edges above it, passes on what it needs of the nodes below, and the leaves turn
 * the sums into locks that other processes see (lock.c). Threads: all of it on the main loop's thread.
 */
#include "internal.h"
#include "rhea/util/errorcode.h"

#include <string.h>

static const char *perm_name(unsigned perm)
{
    return perm & BLOCK_PERM_WRITE    ? "write"
           : perm & BLOCK_PERM_RESIZE ? "resize"
           : perm & BLOCK_PERM_READ   ? "read"
                                      : "write-unchanged";
}

static const char *edge_user(const BlockEdge *e)
{
    return e->parent ? e->parent->name : e->role;
}

/* A format writes metadata whenever it is open for writing, and nobody may change what it has cached. */
void block_child_perm(const BlockNode *n, const BlockEdge *e, unsigned *perm, unsigned *shared)
{
    if (n->driver->filter && e != n->file && strcmp(e->role, "log") == 0) { /* blklogwrites, by itself */
        *perm = BLOCK_PERM_READ | BLOCK_PERM_WRITE | BLOCK_PERM_RESIZE;
        *shared = BLOCK_PERM_READ | BLOCK_PERM_WRITE_UNCHANGED;
        return;
    }
    if (n->driver->filter) {
        *perm = n->perm | n->child_perm;
        *shared = n->shared & ~n->child_unshared;
        return;
    }
    *perm = BLOCK_PERM_READ;
    *shared = BLOCK_PERM_READ | BLOCK_PERM_WRITE_UNCHANGED;
    if (n->force_share) {
        *shared = BLOCK_PERM_ALL;
    } else if (strcmp(e->role, "backing") != 0 && !n->read_only) {
        *perm |= BLOCK_PERM_WRITE | BLOCK_PERM_RESIZE;
    }
}

static bool perm_conflict(const BlockNode *n, Error **errp)
{
    for (unsigned i = 0; i < n->edges_up->len; i++) {
        const BlockEdge *a = g_ptr_array_index(n->edges_up, i);
        for (unsigned k = 0; k < n->edges_up->len; k++) {
            const BlockEdge *b = g_ptr_array_index(n->edges_up, k);
            unsigned bad = a->perm & ~b->shared;
            if (a != b && bad) {
                return error_fail(errp, "in-use", NULL,
                                  "query-named-block-nodes shows what uses it; share-rw=on shares a disk",
                                  "node '%s' is used by '%s', which does not share %s access with '%s'",
                                  n->name, edge_user(b), perm_name(bad), edge_user(a));
            }
        }
    }
    return true;
}

/* Gives back what was granted to the first `count` children: less than before cannot fail. */
static void perm_undo(BlockNode *n, unsigned was, unsigned was_shared, unsigned count)
{
    n->perm = was;
    n->shared = was_shared;
    for (unsigned k = 0; k < count; k++) {
        BlockEdge *done = g_ptr_array_index(n->edges_down, k);
        block_child_perm(n, done, &done->perm, &done->shared);
        block_update_perm(done->node, NULL);
    }
    if (n->driver->set_perm) {
        n->driver->set_perm(n, was, was_shared, NULL);
    }
}

bool block_update_perm(BlockNode *n, Error **errp)
{
    if (!perm_conflict(n, errp)) {
        return false;
    }
    unsigned was = n->perm, was_shared = n->shared, perm = 0, shared = BLOCK_PERM_ALL;
    for (unsigned i = 0; i < n->edges_up->len; i++) {
        const BlockEdge *e = g_ptr_array_index(n->edges_up, i);
        perm |= e->perm;
        shared &= e->shared;
    }
    if (n->read_only && (perm & (BLOCK_PERM_WRITE | BLOCK_PERM_RESIZE))) {
        return error_fail(errp, "read-only", NULL, "open it with read-only=off",
                          "block node '%s' is read-only", n->name);
    }
    if (perm == was && shared == was_shared) {
        return true;
    }
    if (n->driver->set_perm && !n->driver->set_perm(n, perm, shared, errp)) {
        return false;
    }
    n->perm = perm;
    n->shared = shared;
    for (unsigned i = 0; i < n->edges_down->len; i++) {
        BlockEdge *e = g_ptr_array_index(n->edges_down, i);
        unsigned e_perm = e->perm, e_shared = e->shared;
        block_child_perm(n, e, &e->perm, &e->shared);
        if (!block_update_perm(e->node, errp)) {
            e->perm = e_perm;
            e->shared = e_shared;
            perm_undo(n, was, was_shared, i);
            return false;
        }
    }
    return true;
}

bool block_edge_add(BlockEdge *e, Error **errp)
{
    g_ptr_array_add(e->node->edges_up, e);
    if (!block_update_perm(e->node, errp)) {
        g_ptr_array_remove(e->node->edges_up, e);
        return false;
    }
    block_ref(e->node);
    return true;
}

void block_edge_remove(BlockEdge *e)
{
    g_ptr_array_remove(e->node->edges_up, e);
    block_update_perm(e->node, NULL);
    block_unref(e->node);
}
