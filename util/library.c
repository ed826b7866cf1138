/* SPDX-License-Identifier: MIT
 * util/library.c - see rhea/util/library.h.
 * Threads: any.
 */
#include "rhea/util/errorcode.h"
#include "rhea/util/library.h"

#include <gmodule.h>
#include <string.h>

bool library_load(const Library *lib, void *table, Error **errp)
{
    GModule *m = g_module_open(lib->file, G_MODULE_BIND_LAZY | G_MODULE_BIND_LOCAL);
    if (!m) {
        return error_fail(errp, "file-not-found", lib->member, lib->cure, "%s: %s", lib->what,
                          g_module_error());
    }
    g_autofree gpointer *found = g_new0(gpointer, lib->n);
    for (size_t i = 0; i < lib->n; i++) {
        const LibraryCall *c = &lib->calls[i];
        if (!g_module_symbol(m, c->name, &found[i]) && !c->optional) {
            g_module_close(m);
            return error_fail(errp, "file-not-found", lib->member, lib->cure,
                              "%s: %s has no %s: it is too old", lib->what, lib->file, c->name);
        }
    }
    for (size_t i = 0; i < lib->n; i++) {
        memcpy((char *)table + lib->calls[i].at, &found[i], sizeof(found[i]));
    }
    g_module_make_resident(m);
    return true;
}
