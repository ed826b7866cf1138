/* SPDX-License-Identifier: MIT
 * backends/rng.c - sources of random numbers by name: from -object to the device that reads them.
 *
 * Models: QEMU's objects rng-builtin and rng-random. Does not model: rng-egd, which asks a daemon.
 *         A file is opened once and read without waiting; what blocks (a FIFO, a slow generator) has nothing
 *         for the moment.
 * Threads: main loop; rng_read() any.
 */
#include "rhea/backends/rng.h"
#include "rhea/schema/type.h"
#include "rhea/util/errorcode.h"
#include "rhea/util/log.h"
#include "schema/rng.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#define DEFAULT_FILE "/dev/urandom"

struct Rng {
    const Machine *m;
    char *id, *file; /* file: NULL for the program's own */
    int fd;
    unsigned refs;   /* the list below, and devices */
    bool told;       /* atomic: that the file fails */
};
static GPtrArray *rngs; /* Rng *, of all machines; NULL: none */

/* ---- reading ---- */

/* With -seed, so that runs are repeated. */
static size_t read_sequence(Machine *m, uint8_t *buf, size_t len)
{
    for (size_t at = 0; at < len; at += 8) {
        uint64_t v;
        if (!machine_random(m, &v)) {
            return at;
        }
        v = GUINT64_TO_LE(v);
        memcpy(buf + at, &v, MIN(len - at, 8));
    }
    return len;
}

/* Signals can cut it short, and the first seconds of a host may have none. */
static size_t read_kernel(uint8_t *buf, size_t len)
{
    ssize_t n;
    do {
        n = getrandom(buf, len, GRND_NONBLOCK);
    } while (n < 0 && errno == EINTR);
    return n > 0 ? (size_t)n : 0;
}

static size_t read_file(Rng *r, uint8_t *buf, size_t len)
{
    ssize_t n;
    do {
        n = read(r->fd, buf, len);
    } while (n < 0 && errno == EINTR);
    if (n < 0 && errno != EAGAIN && !__atomic_exchange_n(&r->told, true, __ATOMIC_RELAXED)) {
        log_warn("rng '%s': cannot read '%s': %s; the guest waits for random numbers", r->id, r->file,
                 g_strerror(errno));
    }
    return n > 0 ? (size_t)n : 0;
}

size_t rng_read(Machine *m, Rng *r, void *buf, size_t len)
{
    return r && r->file ? read_file(r, buf, len)
           : m->seeded  ? read_sequence(m, buf, len)
                        : read_kernel(buf, len);
}

/* ---- objects ---- */

static Rng *rng_find(const Machine *m, const char *id)
{
    for (guint i = 0; rngs && i < rngs->len; i++) {
        Rng *r = rngs->pdata[i];
        if (r->m == m && !strcmp(r->id, id)) {
            return r;
        }
    }
    return NULL;
}

bool rng_exists(Machine *m, const char *id)
{
    return rng_find(m, id) != NULL;
}

static void rng_unref(void *opaque)
{
    Rng *r = opaque;
    if (--r->refs == 0) {
        if (r->fd >= 0) {
            close(r->fd);
        }
        g_free(r->id);
        g_free(r->file);
        g_free(r);
    }
}

static void rng_drop(Rng *r)
{
    g_ptr_array_remove(rngs, r);
    if (rngs->len == 0) {
        g_clear_pointer(&rngs, g_ptr_array_unref);
    }
    rng_unref(r);
}

/* `file`: NULL, or what rng-random reads. */
static bool rng_new(Machine *m, const char *id, const char *file, Error **errp)
{
    int fd = file ? open(file, O_RDONLY | O_NONBLOCK | O_CLOEXEC | O_NOCTTY) : -1;
    if (file && fd < 0) {
        error_set_errno(errp, errno, "'%s': cannot open '%s'", id, file);
        error_hint(errp, "filename= names a file of random bytes; without it " DEFAULT_FILE " is read");
        return false;
    }
    Rng *r = g_new0(Rng, 1);
    *r = (Rng){ .m = m, .id = g_strdup(id), .file = g_strdup(file), .fd = fd, .refs = 1 };
    rngs = rngs ? rngs : g_ptr_array_new();
    g_ptr_array_add(rngs, r);
    return true;
}

bool rng_new_json(Machine *m, const Json *opts, bool from_text, Error **errp)
{
    RngOptions o;
    role_assert_main();
    if (!type_decode(&rng_options_type, opts, from_text, &o, errp)) {
        return false;
    }
    const char *given = o.qom_type == RNG_KIND_RNG_RANDOM ? o.u.rng_random.filename : NULL;
    const char *file = o.qom_type != RNG_KIND_RNG_RANDOM ? NULL : given ? given : DEFAULT_FILE;
    bool ok = rng_new(m, o.id, file, errp);
    type_clear(&rng_options_type, &o);
    return ok;
}

bool rng_remove(Machine *m, const char *id, Error **errp)
{
    Rng *r = rng_find(m, id);
    if (!r) {
        return error_fail(errp, "not-found", NULL, NULL, "there is no rng '%s'", id);
    }
    if (r->refs > 1) {
        error_fail(errp, "in-use", "id", NULL,
                   "object '%s' is in use by %u device%s", id, r->refs - 1, r->refs > 2 ? "s" : "");
        error_hint(errp, "remove the device first: device_del");
        return false;
    }
    rng_drop(r);
    return true;
}

void rng_remove_all(Machine *m)
{
    for (guint i = rngs ? rngs->len : 0; i > 0; i--) {
        Rng *r = rngs->pdata[i - 1];
        if (r->m == m) {
            rng_drop(r);
        }
    }
}

Rng *rng_claim(Device *dev, const char *id, Error **errp)
{
    Rng *r = rng_find(dev->machine, id);
    role_assert_main();
    if (!r) {
        error_fail(errp, "not-found", NULL, NULL, "there is no rng '%s'", id);
        error_hint(errp, "make it with -object rng-random,id=%s,filename=FILE, or leave rng= out", id);
        return NULL;
    }
    r->refs++;
    device_add_cleanup(dev, rng_unref, r);
    return r;
}
