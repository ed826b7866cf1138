/* SPDX-License-Identifier: MIT
 * target/x86/model-table.c - names of CPU models: versions, other names, types of CPU objects; what a row of model-list.c
 *   means with the rows that it builds on.
 * Models:  names as QEMU 7.2's: "Haswell-v2" and its other name "Haswell-noTSX", "Haswell" for "Haswell-v1".
 * Does not model: names that mean another version on another machine type: each means the first.
 * Threads: any: constant.
 */
#include "model-parts.h"
#include <stdio.h>
#include <string.h>

/* Names in the order of lists: of each model its own, then those of its versions, each behind the other name it has. */
typedef struct ModelName {
    char *name, *alias_of; /* alias_of: NULL: none */
    const X86ModelDef *def;
} ModelName;

static bool has_versions(const X86ModelDef *d)
{
    return d->version != 0;
}

static void add_name(GArray *all, const char *name, const char *alias_of, const X86ModelDef *d)
{
    ModelName n = { .name = g_strdup(name), .alias_of = g_strdup(alias_of), .def = d };
    g_array_append_val(all, n);
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const ModelName *)a)->name, ((const ModelName *)b)->name);
}

static const GArray *model_names(void)
{
    static GArray *names;
    if (g_once_init_enter(&names)) {
        GArray *all = g_array_new(FALSE, FALSE, sizeof(ModelName));
        for (const X86ModelDef *d = x86_model_defs; d->name; d++) {
            g_autofree char *versioned = g_strdup_printf("%s-v%u", d->name, d->version);
            if (!has_versions(d)) {
                add_name(all, d->name, NULL, d);
                continue;
            }
            if (d->version == 1) {
                add_name(all, d->name, versioned, d);
            }
            if (d->alias) {
                add_name(all, d->alias, versioned, d);
            }
            add_name(all, versioned, NULL, d);
        }
        g_array_sort(all, by_name);
        g_once_init_leave(&names, all);
    }
    return names;
}

static const ModelName *find_name(const char *name)
{
    static const char suffix[] = X86_CPU_TYPE_SUFFIX;
    size_t n = strlen(name), s = sizeof(suffix) - 1;
    n -= n > s && !strcmp(name + n - s, suffix) ? s : 0;
    const GArray *all = model_names();
    for (guint i = 0; i < all->len; i++) {
        const ModelName *m = &g_array_index(all, ModelName, i);
        if (strlen(m->name) == n && !g_ascii_strncasecmp(m->name, name, n)) {
            return m;
        }
    }
    return NULL;
}

static void def_expand(const X86ModelDef *d, X86CpuModel *m)
{
    if (d->base) {
        def_expand(find_name(d->base)->def, m);
    }
    if (d->vendor) {
        g_strlcpy(m->vendor, d->vendor, sizeof(m->vendor));
    }
    if (d->family) {
        m->family = d->family;
        m->model = d->model;
        m->stepping = d->stepping;
    }
    m->level = d->level ? d->level : m->level;
    m->xlevel = d->xlevel ? d->xlevel : m->xlevel;
    if (d->brand) {
        g_strlcpy(m->model_id, d->brand, sizeof(m->model_id));
    }
    x86_features_set(m->words, d->add, true);
    x86_features_set(m->words, d->drop, false);
}

bool x86_model_look_up(const char *name, X86CpuModel *m)
{
    const ModelName *found = find_name(name);
    if (found) {
        def_expand(found->def, m);
        m->name = found->name;
    }
    return found != NULL;
}

const char *x86_model_name(unsigned i, const char **brand, const char **alias_of)
{
    const GArray *all = model_names();
    if (i >= all->len) {
        return NULL;
    }
    const ModelName *m = &g_array_index(all, ModelName, i);
    *alias_of = m->alias_of;
    *brand = "";
    for (const X86ModelDef *d = m->def; d; d = d->base ? find_name(d->base)->def : NULL) {
        if (d->brand) {
            *brand = d->brand;
            break;
        }
    }
    return m->name;
}
