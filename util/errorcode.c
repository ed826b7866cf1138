/* SPDX-License-Identifier: MIT
 * util/errorcode.c - the catalogue of error codes, and which member of the input an error is about.
 *
 * Models: what docs/devel/qmp.md says of errors. A code is stable: programs compare it, so a row is never
 *         renamed. Where nothing gave a code, the class or the errno does.
 * Threads: any; constant tables.
 */
#include "rhea/util/errorcode.h"
#include "rhea/util/json.h"

#include <errno.h>
#include <string.h>

/* By name; tests/style/error-codes.py compares with the sources and with docs/devel/qmp.md. */
static const struct {
    const char *code, *meaning;
} catalogue[] = {
    { "already-exists", "there is one of this name or at this place already" },
    { "already-running", "it runs already" },
    { "busy", "something that is under way must end first" },
    { "cannot-connect", "nobody answers at that address" },
    { "command-not-found", "there is no such command, or it is not its time" },
    { "conflict", "two members exclude each other, or do not go with each other's values" },
    { "device-not-active", "no driver in the guest has begun to use the device" },
    { "failed", "none of the others" },
    { "file-not-found", "the host has no such file, folder or device" },
    { "in-use", "somebody else has it" },
    { "inconsistent", "what is stored contradicts itself" },
    { "interrupted", "it was ended before it was complete" },
    { "invalid-json", "the text is not JSON" },
    { "invalid-syntax", "the text is not built as it must be" },
    { "invalid-value", "the member cannot have this value" },
    { "io-error", "the host failed to read or write" },
    { "kvm-missing-cap", "the host's KVM lacks what is needed" },
    { "locked", "the guest holds it" },
    { "missing-argument", "the option needs an argument" },
    { "missing-features", "the accelerator lacks features that were asked for" },
    { "missing-member", "a member that is needed is not there" },
    { "no-cpu", "there is no processor that could do it" },
    { "no-descriptor", "no file descriptor came with the command" },
    { "no-medium", "there is no medium in the drive" },
    { "no-memory", "the host has no memory for it" },
    { "no-place", "the machine has no bus, slot or place for it" },
    { "no-space", "the host's file system or disk is full" },
    { "not-changeable", "it was settled when the object was made" },
    { "not-found", "there is nothing of this name" },
    { "not-hotpluggable", "it comes and goes with the machine only" },
    { "not-now", "the session is not so far" },
    { "not-removable", "the drive has no removable medium" },
    { "not-running", "it does not run" },
    { "not-supported", "it exists elsewhere, and not here" },
    { "not-suspended", "the guest does not sleep" },
    { "out-of-range", "the value is beyond what is possible" },
    { "permission-denied", "the host does not allow it" },
    { "read-only", "it cannot be written" },
    { "reset-required", "the machine must be reset first" },
    { "running", "the machine must be stopped first" },
    { "too-large", "it has more bytes than are possible" },
    { "too-many", "there are as many as there can be" },
    { "tray-closed", "the tray must be open" },
    { "unknown-member", "there is no such member or property" },
    { "unknown-option", "the command line has no such option" },
    { "wrong-state", "it is not at a point where this could be done" },
    { "wrong-type", "the value is of another kind" },
};

const char *error_code_row(unsigned i, const char **meaning)
{
    if (i >= G_N_ELEMENTS(catalogue)) {
        return NULL;
    }
    *meaning = catalogue[i].meaning;
    return catalogue[i].code;
}

static const char *code_of_errno(int err)
{
    switch (err) {
    case ENOENT:
    case ENOTDIR:
    case ENODEV:
    case ENXIO: return "file-not-found";
    case EACCES:
    case EPERM:
    case EROFS: return "permission-denied";
    case EEXIST: return "already-exists";
    case EADDRINUSE:
    case EBUSY:
    case ETXTBSY:
    case EAGAIN: return "in-use";
    case ENOSPC:
    case EDQUOT:
    case EFBIG: return "no-space";
    case ENOMEM: return "no-memory";
    case EMFILE:
    case ENFILE: return "too-many";
    case EINVAL:
    case EISDIR:
    case ELOOP:
    case ENAMETOOLONG: return "invalid-value";
    case ENOSYS:
    case ENOTSUP: return "not-supported";
    case EADDRNOTAVAIL:
    case ECONNREFUSED:
    case ECONNRESET:
    case EHOSTUNREACH:
    case ENETUNREACH:
    case EPIPE:
    case ETIMEDOUT: return "cannot-connect";
    case EINTR: return "interrupted";
    default: return "io-error";
    }
}

const char *error_code_default(const Error *err)
{
    switch (error_class(err)) {
    case ERROR_COMMAND_NOT_FOUND: return "command-not-found";
    case ERROR_DEVICE_NOT_ACTIVE: return "device-not-active";
    case ERROR_DEVICE_NOT_FOUND: return "not-found";
    case ERROR_KVM_MISSING_CAP: return "kvm-missing-cap";
    case ERROR_GENERIC: break;
    }
    return error_errno(err) ? code_of_errno(error_errno(err)) : "failed";
}

void error_hint_else(Error **errp, const char *cure)
{
    if (errp && *errp && !error_hint_text(*errp)) {
        error_hint(errp, "%s", cure);
    }
}

void error_add_cure(Error **errp)
{
    static const struct {
        const char *code, *cure;
    } cures[] = {
        { "file-not-found", "see whether the name is right: its folder must exist" },
        { "permission-denied", "see who may use it, and as whom this program runs" },
        { "already-exists", "use another name, or remove what is there" },
        { "in-use", "end what uses it, or use another one" },
        { "no-space", "make room there, or use another place" },
        { "no-memory", "give the guest less, or end other programs" },
        { "too-many", "raise the limit (ulimit -n), or use fewer" },
        { "cannot-connect", "see whether somebody listens there" },
        { "io-error", "the host's kernel log may tell more" },
    };
    if (!errp || !*errp || !error_errno(*errp) || error_hint_text(*errp)) {
        return;
    }
    const char *code = error_code(*errp);
    for (size_t i = 0; i < G_N_ELEMENTS(cures); i++) {
        if (!strcmp(code, cures[i].code)) {
            error_hint(errp, "%s", cures[i].cure);
            return;
        }
    }
}

/* ---- the member ---- */

enum { VALUES_MAX = 1024, VALUE_MAX = 255 }; /* what is looked at of hostile input */

typedef struct Search {
    const char *text;
    unsigned values;
    const char *at;  /* where the sentence quotes the best value so far */
    size_t length;
    char *path;
    bool twice;      /* two members have that value */
} Search;

static bool is_id(const char *path)
{
    return path && !strcmp(path, "id");
}

static void search_value(Search *s, const char *value, const char *path)
{
    size_t n = strlen(value);
    if (!n || n > VALUE_MAX || ++s->values > VALUES_MAX) {
        return;
    }
    g_autofree char *quoted = g_strdup_printf("'%s'", value);
    const char *at = strstr(s->text, quoted);
    bool better = !s->at || (is_id(s->path) == is_id(path) ? at <= s->at : is_id(s->path));
    if (!at || !better) {
        return;
    }
    s->twice = at == s->at && n == s->length;
    g_free(s->path);
    s->path = g_strdup(path);
    s->at = at;
    s->length = n;
}

/* Depth is bounded by the parser's. */
static void search(Search *s, const Json *in, const char *path)
{
    if (json_kind(in) == JSON_OBJECT) {
        json_object_object_foreach((Json *)in, key, value) {
            g_autofree char *sub = *path ? g_strdup_printf("%s.%s", path, key) : g_strdup(key);
            search(s, value, sub);
        }
    } else if (json_kind(in) == JSON_ARRAY) {
        for (size_t i = 0; i < json_length(in) && s->values < VALUES_MAX; i++) {
            g_autofree char *sub = g_strdup_printf("%s%s%zu", path, *path ? "." : "", i);
            search(s, json_at(in, i), sub);
        }
    } else if (json_get_string(in)) {
        search_value(s, json_get_string(in), path);
    }
}

/* The path of a member with that name; NULL: there is none. g_free. */
static char *path_of(const Json *in, const char *name, const char *path)
{
    char *found = NULL;
    if (json_kind(in) != JSON_OBJECT) {
        return NULL;
    }
    json_object_object_foreach((Json *)in, key, value) {
        g_autofree char *sub = *path ? g_strdup_printf("%s.%s", path, key) : g_strdup(key);
        found = found ? found : g_str_equal(key, name) ? g_strdup(sub) : path_of(value, name, sub);
    }
    return found;
}

void error_place_member(Error **errp, const Json *in)
{
    if (errp && *errp && error_member(*errp)) {
        g_autofree char *path = path_of(in, error_member(*errp), "");
        error_member_default(errp, NULL);
        if (path) {
            error_member_default(errp, path);
        }
    }
}

void error_find_member(Error **errp, const Json *in)
{
    if (!errp || !*errp || error_member(*errp)) {
        return;
    }
    Search s = { .text = error_text(*errp) };
    search(&s, in, "");
    if (s.path && *s.path && !s.twice) {
        error_member_default(errp, s.path);
    }
    g_free(s.path);
}
