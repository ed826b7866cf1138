/* SPDX-License-Identifier: MIT
 * backends/secret.c - passwords and keys by name: from -object secret to whoever needs them.
 *
 * Models: QEMU's object secret: given as text or in a file, raw or in base64, encrypted or not. The cipher is
 *         AES-256 (FIPS 197) in CBC mode (NIST SP 800-38A), padded as RFC 5652, 6.3 says, by nettle.
 * Does not model: secret_keyring, which asks the kernel's keyring.
 * Memory of a secret is overwritten before it is freed; copies in JSON trees and argv are not ours to erase.
 * Threads: main loop.
 */
#include "rhea/backends/secret.h"
#include "config.h"
#include "rhea/schema/type.h"
#include "rhea/util/errorcode.h"
#include "rhea/util/fdset.h"
#include "schema/secret.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#if HAVE_NETTLE
#include <nettle/aes.h>
#include <nettle/cbc.h>
#endif

enum { SECRET_MAX = 1 << 20 }; /* bytes of a file: keys and passwords have a few, key files of LUKS more */
enum { KEY_SIZE = 32, BLOCK_SIZE = 16, PIPE_WAIT_MS = 5000 };

typedef struct Secret {
    const Machine *m;
    char *id;
    GBytes *bytes;
} Secret;
static GPtrArray *secrets; /* Secret *, of all machines; NULL: none */

/* ---- bytes that are overwritten when they go ---- */

typedef struct Wiped {
    size_t len;
    uint8_t data[];
} Wiped;

static void wiped_free(void *opaque)
{
    Wiped *w = opaque;
    explicit_bzero(w->data, w->len);
    g_free(w);
}

static GBytes *bytes_of(Wiped *w, size_t len)
{
    return g_bytes_new_with_free_func(w->data, len, wiped_free, w);
}

static Wiped *wiped_new(size_t len)
{
    Wiped *w = g_malloc(sizeof(Wiped) + len);
    w->len = len;
    return w;
}

/* ---- where it comes from ---- */

/* A pipe may not have been written yet: the shell's <(command). It must not hold the main loop for long. */
static ssize_t read_some(int fd, uint8_t *buf, size_t len)
{
    for (;;) {
        ssize_t n = read(fd, buf, len);
        if (n >= 0 || (errno != EINTR && errno != EAGAIN)) {
            return n;
        }
        struct pollfd p = { .fd = fd, .events = POLLIN };
        if (errno == EAGAIN && poll(&p, 1, PIPE_WAIT_MS) == 0) {
            errno = ETIMEDOUT;
            return -1;
        }
    }
}

/* Room for the file and a byte more, which shows that it has grown. */
static size_t room_for(int fd)
{
    struct stat st;
    bool regular = fstat(fd, &st) == 0 && S_ISREG(st.st_mode);
    return regular ? MIN((uint64_t)st.st_size, SECRET_MAX) + 1 : SECRET_MAX + 1;
}

static GBytes *read_file(const char *path, Error **errp)
{
    const int flags = O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK;
    int fd = fdset_open(path, flags, 0);
    if (fd < 0) {
        int err = errno;
        error_set_errno(errp, err, "could not open '%s'", path);
        fdset_hint(path, flags, err, errp);
        return NULL;
    }
    size_t room = room_for(fd), len = 0;
    Wiped *w = wiped_new(room);
    ssize_t n = 1;
    while (n > 0 && len < room) {
        n = read_some(fd, w->data + len, room - len);
        len += MAX(n, 0);
    }
    int e = errno;
    fdset_close(fd);
    w->len = len; /* no more was touched */
    if (n == 0) {
        return bytes_of(w, len);
    }
    wiped_free(w);
    if (n < 0) {
        error_set_errno(errp, e, "could not read '%s'", path);
    } else {
        error_fail(errp, "too-large", "file", "a key of 32 bytes, or a password, is enough",
                   "'%s' grows, or has more than %d bytes, the most a secret can have", path, SECRET_MAX);
    }
    return NULL;
}

/* ---- base64 (RFC 4648) ---- */

/* What g_base64_decode() skips is an error here, but for white space between. NULL: it is not base64. */
static GBytes *from_base64(const char *text, size_t len)
{
    size_t digits = 0, pads = 0;
    for (size_t i = 0; i < len; i++) {
        if (strchr(" \t\r\n", text[i]) && text[i]) {
            continue;
        }
        bool digit = g_ascii_isalnum(text[i]) || text[i] == '+' || text[i] == '/';
        if (!digit && text[i] != '=') {
            return NULL;
        }
        if (digit && pads) {
            return NULL;
        }
        digits += digit;
        pads += !digit;
    }
    if ((digits + pads) % 4 || pads > 2) {
        return NULL;
    }
    Wiped *w = wiped_new(len / 4 * 3 + 3);
    int state = 0;
    unsigned save = 0;
    return bytes_of(w, g_base64_decode_step(text, len, w->data, &state, &save));
}

/* ---- encrypted ones ---- */

#if HAVE_NETTLE
/* The padding is 1 to 16 bytes, each of which is their number; all are looked at, so that the time it takes
 * says nothing about them. */
static size_t padding(const uint8_t *last_block)
{
    uint8_t n = last_block[BLOCK_SIZE - 1], wrong = n == 0 || n > BLOCK_SIZE;
    for (unsigned i = 0; i < BLOCK_SIZE; i++) {
        wrong |= i < n ? last_block[BLOCK_SIZE - 1 - i] ^ n : 0;
    }
    return wrong ? 0 : n;
}

static GBytes *decrypt(GBytes *key, GBytes *iv, GBytes *coded, Error **errp)
{
    struct CBC_CTX(struct aes256_ctx, AES_BLOCK_SIZE) c;
    size_t len;
    const uint8_t *in = g_bytes_get_data(coded, &len);
    if (!len || len % BLOCK_SIZE) {
        error_fail(errp, "invalid-value", NULL, NULL,
                   "encrypted data has %zu bytes, not a multiple of %d", len, BLOCK_SIZE);
        error_hint(errp, "data from 'openssl enc -aes-256-cbc -a' needs format=base64");
        return NULL;
    }
    Wiped *w = wiped_new(len);
    aes256_set_decrypt_key(&c.ctx, g_bytes_get_data(key, NULL));
    CBC_SET_IV(&c, g_bytes_get_data(iv, NULL));
    CBC_DECRYPT(&c, aes256_decrypt, len, w->data, in);
    explicit_bzero(&c, sizeof(c));
    size_t pad = padding(w->data + len - BLOCK_SIZE);
    if (!pad) {
        wiped_free(w);
        error_fail(errp, "invalid-value", NULL, NULL, "decryption gives no padded text");
        error_hint(errp, "it was encrypted with another key or iv");
        return NULL;
    }
    return bytes_of(w, len - pad);
}
#else
static GBytes *decrypt(GBytes *key, GBytes *iv, GBytes *coded, Error **errp)
{
    error_fail(errp, "not-supported", "keyid", NULL, "'keyid' is not available: this build has no nettle");
    error_hint(errp, "give the secret unencrypted, in a file that only this program can read");
    return NULL;
}
#endif

static GBytes *decrypt_with(Machine *m, const SecretProperties *p, GBytes *coded, Error **errp)
{
    g_autoptr(GBytes) key = secret_lookup(m, p->keyid, errp);
    if (!key) {
        error_prefix(errp, "'keyid'");
        error_member_default(errp, "keyid");
        return NULL;
    }
    if (g_bytes_get_size(key) != KEY_SIZE) {
        error_fail(errp, "invalid-value", "keyid", NULL,
                   "'keyid': secret '%s' has %zu bytes, and a key has %d", p->keyid, g_bytes_get_size(key),
                   KEY_SIZE);
        error_hint(errp, "'openssl rand -base64 %d' makes one, for format=base64", KEY_SIZE);
        return NULL;
    }
    g_autoptr(GBytes) iv = from_base64(p->iv, strlen(p->iv));
    if (!iv || g_bytes_get_size(iv) != BLOCK_SIZE) {
        error_fail(errp, "invalid-value", "iv", NULL, "'iv' is not %d bytes in base64", BLOCK_SIZE);
        error_hint(errp, "'openssl rand -base64 %d' makes such a text", BLOCK_SIZE);
        return NULL;
    }
    return decrypt(key, iv, coded, errp);
}

/* ---- objects ---- */

static bool check(const SecretProperties *p, Error **errp)
{
    if (!p->data == !p->file) {
        error_fail(errp, p->data ? "conflict" : "missing-member", "data", NULL,
                   p->data ? "'data' and 'file' exclude each other" : "'data' or 'file' is needed");
        error_hint(errp, "file= keeps the secret out of the list of processes");
        return false;
    }
    if (!p->keyid != !p->iv) {
        error_fail(errp, "missing-member", p->iv ? "keyid" : "iv", NULL,
                   p->iv ? "'iv' goes with 'keyid' only" : "'keyid' needs 'iv'");
        error_hint(errp, "an encrypted secret has both, one that is not has neither");
        return false;
    }
    return true;
}

/* What the options say, decoded and decrypted; NULL: *errp. */
static GBytes *load(Machine *m, const SecretProperties *p, Error **errp)
{
    if (!check(p, errp)) {
        return NULL;
    }
    g_autoptr(GBytes) given = p->file ? read_file(p->file, errp) : NULL;
    if (p->data) {
        Wiped *w = wiped_new(strlen(p->data));
        memcpy(w->data, p->data, w->len);
        given = bytes_of(w, w->len);
    }
    if (given && p->has_format && p->format == SECRET_FORMAT_BASE64) {
        GBytes *plain = from_base64(g_bytes_get_data(given, NULL), g_bytes_get_size(given));
        g_bytes_unref(given);
        given = plain;
        if (!given) {
            error_fail(errp, "invalid-value", p->file ? "file" : "data", NULL,
                       "%s is not base64", p->file ? "the file's content" : "'data'");
            error_hint(errp, "format=raw takes the bytes as they are");
        }
    }
    return !given ? NULL : p->keyid ? decrypt_with(m, p, given, errp) : g_steal_pointer(&given);
}

static Secret *secret_find(const Machine *m, const char *id)
{
    for (guint i = 0; secrets && i < secrets->len; i++) {
        Secret *s = secrets->pdata[i];
        if (s->m == m && !strcmp(s->id, id)) {
            return s;
        }
    }
    return NULL;
}

bool secret_exists(Machine *m, const char *id)
{
    return secret_find(m, id) != NULL;
}

static void secret_free(void *opaque)
{
    Secret *s = opaque;
    g_bytes_unref(s->bytes);
    g_free(s->id);
    g_free(s);
}

static bool secret_new(Machine *m, const SecretOptions *o, Error **errp)
{
    GBytes *bytes = load(m, &o->u.secret, errp);
    if (!bytes) {
        error_prefix(errp, "secret '%s'", o->id);
        return false;
    }
    Secret *s = g_new0(Secret, 1);
    *s = (Secret){ .m = m, .id = g_strdup(o->id), .bytes = bytes };
    secrets = secrets ? secrets : g_ptr_array_new_with_free_func(secret_free);
    g_ptr_array_add(secrets, s);
    return true;
}

bool secret_new_json(Machine *m, const Json *opts, bool from_text, Error **errp)
{
    SecretOptions o;
    role_assert_main();
    if (!type_decode(&secret_options_type, opts, from_text, &o, errp)) {
        return false;
    }
    bool ok = secret_new(m, &o, errp);
    if (o.u.secret.data) {
        explicit_bzero(o.u.secret.data, strlen(o.u.secret.data));
    }
    type_clear(&secret_options_type, &o);
    return ok;
}

static void drop(guint i)
{
    g_ptr_array_remove_index(secrets, i);
    if (secrets->len == 0) {
        g_clear_pointer(&secrets, g_ptr_array_unref);
    }
}

bool secret_remove(Machine *m, const char *id, Error **errp)
{
    guint i;
    if (!secrets || !g_ptr_array_find(secrets, secret_find(m, id), &i)) {
        return error_fail(errp, "not-found", NULL, NULL, "there is no secret '%s'", id);
    }
    drop(i);
    return true;
}

void secret_remove_all(Machine *m)
{
    for (guint i = secrets ? secrets->len : 0; i > 0; i--) {
        if (((Secret *)secrets->pdata[i - 1])->m == m) {
            drop(i - 1);
        }
    }
}

GBytes *secret_lookup(Machine *m, const char *id, Error **errp)
{
    Secret *s = secret_find(m, id);
    role_assert_main();
    if (!s) {
        error_fail(errp, "not-found", NULL, NULL, "there is no secret '%s'", id);
        error_hint(errp, "make it before, with -object secret,id=%s,file=FILE", id);
        return NULL;
    }
    return g_bytes_ref(s->bytes);
}
