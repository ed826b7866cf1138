/* SPDX-License-Identifier: MIT
 * util/library.c - see rhea/util/library.h.
 * Threads: any.
 */
#include "rhea/util/library.h"

#include <gmodule.h>
#include <string.h>

bool library_load(const char *file, const LibraryCall *calls, size_t n, void *table, Error **errp)
{
    GModule *m = g_module_open(file, G_MODULE_BIND_LAZY | G_MODULE_BIND_LOCAL);
    if (!m) {
        return error_set(errp, "%s", g_module_error());
    }
    g_autofree gpointer *found = g_new0(gpointer, n);
    for (size_t i = 0; i < n; i++) {
        if (!g_module_symbol(m, calls[i].name, &found[i]) && !calls[i].optional) {
            g_module_close(m);
            return error_set(errp, "%s has no %s: it is too old", file, calls[i].name);
        }
    }
    for (size_t i = 0; i < n; i++) {
        memcpy((char *)table + calls[i].at, &found[i], sizeof(found[i]));
    }
    g_module_make_resident(m);
    return true;
}
