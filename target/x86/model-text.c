/* SPDX-License-Identifier: MIT
 * target/x86/model-text.c - the text of -cpu behind the model's name: items, which are properties (model-props.c), Hyper-V
 *   enlightenments (hyperv.c) or features.
 * Threads: main loop, before the machine runs.
 */
#include "model-parts.h"
#include "rhea/util/errorcode.h"
#include "rhea/util/text.h"
#include <string.h>

static void all_names(const X86CpuModel *m, GPtrArray *names)
{
    const char *name, *type;
    for (unsigned w = 0; w < FW_COUNT; w++) {
        for (unsigned b = 0; b < 32; b++) {
            if (x86_feature_name(w, b)) {
                g_ptr_array_add(names, (void *)x86_feature_name(w, b));
            }
        }
    }
    for (unsigned i = 0; (name = x86_model_property(m, i, &type)); i++) {
        g_ptr_array_add(names, (void *)name);
    }
    for (unsigned i = 0; (name = x86_hyperv_property(i, &type)); i++) {
        g_ptr_array_add(names, (void *)name);
    }
    g_ptr_array_add(names, NULL);
}

static bool option_unknown(const X86CpuModel *m, const char *name, Error **errp)
{
    g_autoptr(GPtrArray) names = g_ptr_array_new();
    all_names(m, names);
    error_fail(errp, "unknown-member", name, NULL, "-cpu: unknown feature or property '%s'", name);
    error_hint_nearest(errp, name, (const char *const *)names->pdata);
    error_hint_else(errp, "'-cpu help' lists the feature names");
    return false;
}

/* Off is what such a name is anyway. */
static bool option_refused(const char *name, const char *why, const char *hint, bool on, Error **errp)
{
    return !on || error_fail(errp, "not-supported", name, hint, "-cpu: '%s' is not there: %s", name, why);
}

bool x86_model_option(X86ModelParse *p, char *item, Error **errp)
{
    bool on = true, known = false, sign = *item == '+' || *item == '-';
    char *eq = sign ? NULL : strchr(item, '=');
    if (sign) {
        on = *item++ == '+';
    } else if (eq) {
        *eq++ = 0;
    }
    const char *val = eq ? eq : on ? "on" : "off", *hint;
    bool ok = x86_model_property_set(p, item, val, &known, errp);
    if (ok && !known) {
        ok = x86_hyperv_option(p, item, val, &known, errp);
    }
    if (!ok || known) {
        return ok;
    }
    const char *why = x86_model_refused(item, &hint);
    unsigned f = x86_feature_number(item);
    if (!f && !why) {
        return option_unknown(p->m, item, errp);
    }
    if (eq && !text_to_bool(eq, &on, errp)) {
        error_prefix(errp, "-cpu feature '%s'", item);
        error_member_default(errp, item);
        return false;
    }
    if (why) {
        return option_refused(item, why, hint, on || !strncmp(item, "x-", 2), errp);
    }
    x86_feature_set(p->m->words, f, on);
    x86_feature_set(p->asked, f, on);
    return true;
}
