/* SPDX-License-Identifier: MIT
 * backends/object.c - -object: the kinds of objects that users make, one name for each object.
 *
 * Threads: main loop.
 */
#include "rhea/backends/object.h"
#include "rhea/backends/drive.h"
#include "rhea/backends/hostmem.h"
#include "rhea/backends/rng.h"
#include "rhea/backends/secret.h"
#include "rhea/backends/tls.h"
#include "rhea/system/iothread.h"
#include "rhea/util/errorcode.h"
#include "rhea/util/text.h"
#include "schema/hostmem.h"
#include "schema/iothread.h"
#include "schema/rng.h"
#include "schema/secret.h"
#include "schema/tls.h"

#include <string.h>

static bool hostmem_exists(Machine *m, const char *id)
{
    return hostmem_find(m, id) != NULL;
}

static bool hostmem_make(Machine *m, const Json *opts, bool from_text, bool prealloc, Error **errp)
{
    return hostmem_new_json(m, opts, from_text, prealloc, errp) != NULL;
}

static bool group_make(Machine *m, const Json *opts, bool from_text, bool prealloc G_GNUC_UNUSED,
                       Error **errp)
{
    return drive_throttle_group_new(m, opts, from_text, errp);
}

static bool iothread_exists(Machine *m, const char *id)
{
    return iothread_find(m, id) != NULL;
}

static bool iothread_make(Machine *m, const Json *opts, bool from_text, bool prealloc G_GNUC_UNUSED,
                          Error **errp)
{
    IothreadOptions o;
    if (!type_decode(&iothread_options_type, opts, from_text, &o, errp)) {
        return false;
    }
    const IothreadProperties *p = &o.u.iothread;
    IoThreadPoll poll = { p->has_poll_max_ns ? p->poll_max_ns : IOTHREAD_POLL_NS, p->poll_grow,
                          p->poll_shrink };
    bool ok = iothread_new(m, o.id, poll, errp);
    type_clear(&iothread_options_type, &o);
    return ok;
}

static bool rng_make(Machine *m, const Json *opts, bool from_text, bool prealloc G_GNUC_UNUSED, Error **errp)
{
    return rng_new_json(m, opts, from_text, errp);
}

static bool secret_make(Machine *m, const Json *opts, bool from_text, bool prealloc G_GNUC_UNUSED,
                        Error **errp)
{
    return secret_new_json(m, opts, from_text, errp);
}

static bool tls_make(Machine *m, const Json *opts, bool from_text, bool prealloc G_GNUC_UNUSED, Error **errp)
{
    return tls_creds_new_json(m, opts, from_text, errp);
}

static const ObjectFamily families[] = {
    { iothread_kind_names, &iothread_options_type, false, iothread_exists, iothread_make, iothread_remove },
    { host_mem_kind_names, &host_mem_options_type, false, hostmem_exists, hostmem_make, hostmem_remove },
    { rng_kind_names, &rng_options_type, false, rng_exists, rng_make, rng_remove },
    { secret_kind_names, &secret_options_type, true, secret_exists, secret_make, secret_remove },
    { tls_creds_kind_names, &tls_creds_options_type, true, tls_creds_exists, tls_make, tls_creds_remove },
    { throttle_group_kind_names, &throttle_group_options_type, true, drive_throttle_group_exists, group_make,
      drive_throttle_group_remove },
};
/* The one that also takes what no family knows: its errors say so. */
static const ObjectFamily *const memory_family = &families[1];

static const ObjectFamily *registered[8];
static unsigned n_registered;

void object_register(const ObjectFamily *f)
{
    g_assert(n_registered < G_N_ELEMENTS(registered));
    registered[n_registered++] = f;
}

/* NULL behind the last one. */
static const ObjectFamily *family_at(unsigned i)
{
    unsigned n = G_N_ELEMENTS(families);
    return i < n ? &families[i] : i < n + n_registered ? registered[i - n] : NULL;
}

static const ObjectFamily *family_of(const char *qom_type)
{
    const ObjectFamily *f;
    for (unsigned i = 0; qom_type && (f = family_at(i)); i++) {
        if (type_enum_value(f->names, qom_type) >= 0) {
            return f;
        }
    }
    return NULL;
}

static const ObjectFamily *family_that_has(Machine *m, const char *id)
{
    const ObjectFamily *f;
    for (unsigned i = 0; (f = family_at(i)); i++) {
        if (f->exists(m, id)) {
            return f;
        }
    }
    return NULL;
}

bool object_is_for_drives(const char *qom_type)
{
    const ObjectFamily *f = family_of(qom_type);
    return f && f->for_drives;
}

bool object_is_for_nets(const char *qom_type)
{
    const ObjectFamily *f = family_of(qom_type);
    return f && f->for_nets;
}

bool object_is_kind(const char *qom_type)
{
    return family_of(qom_type) != NULL;
}

bool object_new_json(Machine *m, const Json *opts, bool from_text, bool prealloc, Error **errp)
{
    const ObjectFamily *f = family_of(json_get_string(json_member(opts, "qom-type", NULL)));
    const char *id = json_get_string(json_member(opts, "id", NULL));
    if (f && id && !text_check_id(id, "obj0", errp)) { /* without them, make() says what is missing */
        return false;
    }
    if (f && id && family_that_has(m, id)) {
        return error_fail(errp, "already-exists", "id", "give another id, or remove that one: object-del",
                          "there is already an object with id '%s'", id);
    }
    return (f ? f : memory_family)->make(m, opts, from_text, prealloc, errp);
}

bool object_remove(Machine *m, const char *id, Error **errp)
{
    const ObjectFamily *f = family_that_has(m, id);
    return (f ? f : memory_family)->remove(m, id, errp);
}

/* ---- properties ---- */

Json *object_get(Machine *m, const char *id, const char *name)
{
    const ObjectFamily *f = family_that_has(m, id);
    return f && f->get ? f->get(m, id, name) : NULL;
}

bool object_set(Machine *m, const char *id, const char *name, const Json *value, Error **errp)
{
    const ObjectFamily *f = family_that_has(m, id);
    return f && f->set ? f->set(m, id, name, value, errp)
                       : error_set(errp, "there is no object '%s' whose properties can change", id);
}

void object_foreach_registered(void (*fn)(const char *name, const ObjectFamily *f, void *opaque),
                               void *opaque)
{
    for (unsigned i = 0; i < n_registered; i++) {
        for (const char *const *k = registered[i]->names; *k; k++) {
            fn(*k, registered[i], opaque);
        }
    }
}

/* ---- help ---- */

void object_help(GString *out)
{
    g_string_append(out, "List of user creatable objects:\n");
    const ObjectFamily *f;
    for (unsigned i = 0; (f = family_at(i)); i++) {
        for (const char *const *k = f->names; *k; k++) {
            g_string_append_printf(out, "  %s\n", *k);
        }
    }
}

static void help_fields(const TypeDesc *t, GString *out)
{
    for (unsigned i = 0; t && i < t->n; i++) {
        const FieldDesc *f = &t->fields[i];
        if (f->refused || g_str_equal(f->name, "qom-type")) {
            continue;
        }
        g_autofree char *names = f->type->kind == TYPE_ENUM ? g_strjoinv("|", (char **)f->type->names) : NULL;
        const char *type = f->type->kind == TYPE_ANY ? "nodes" : names ? names : f->type->name;
        g_string_append_printf(out, "  %s=<%s>%*s - %s%s%s%s\n", f->name, type,
                               (int)MAX(0, 32 - (int)strlen(f->name) - (int)strlen(type)), "",
                               f->doc ? f->doc : "", f->def ? " (default: " : "", f->def ? f->def : "",
                               f->def ? ")" : "");
    }
}

void object_help_kind(const char *qom_type, GString *out)
{
    const ObjectFamily *f = family_of(qom_type);
    int kind = type_enum_value(f->names, qom_type);
    g_string_append_printf(out, "%s options:\n", qom_type);
    help_fields(f->options, out);
    help_fields(f->options->branch[kind], out);
}
