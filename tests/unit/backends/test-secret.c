/* SPDX-License-Identifier: MIT
 * tests/unit/backends/test-secret.c - passwords and keys by name: backends/secret.c. The encrypted texts are
 * OpenSSL's (enc -aes-256-cbc) with the key and the vector of NIST SP 800-38A, F.2.5.
 */
#include "chartest.h"
#include "config.h"
#include "rhea/backends/object.h"
#include "rhea/backends/secret.h"
#include "rhea/schema/type.h"
#include "rhea/util/fdset.h"
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#define KEY "YD3rEBXKcb4rc67whX13gR81LAc7YQjXLZgQowkU3/Q="
#define IV  "AAECAwQFBgcICQoLDA0ODw=="

static bool make(Fixture *f, const char *text, Error **errp)
{
    bool from_text;
    g_autoptr(Json) j = keyval_parse(text, "qom-type", &from_text, &error_abort_slot);
    return object_new_json(f->m, j, from_text, false, errp);
}

/* The secret a of these options is that text; then it is no more. */
static void is(Fixture *f, const char *options, const void *text, size_t len)
{
    g_autofree char *all = g_strconcat("secret,id=a,", options, NULL);
    make(f, all, &error_abort_slot);
    g_autoptr(GBytes) b = secret_lookup(f->m, "a", &error_abort_slot);
    g_assert_true(secret_remove(f->m, "a", &error_abort_slot));
    size_t n;
    const void *data = g_bytes_get_data(b, &n); /* after its name is gone */
    g_assert_cmpmem(data, n, text, len);
}

static void fails(Fixture *f, const char *options, const char *says)
{
    g_autofree char *all = g_strconcat("secret,id=a,", options, NULL);
    Error *err = NULL;
    g_assert_false(make(f, all, &err));
    if (!g_pattern_match_simple(says, error_text(err))) {
        g_error("%s: '%s' is not '%s'", all, error_text(err), says);
    }
    g_assert_false(secret_exists(f->m, "a"));
    error_free(err);
}

static void test_forms(Fixture *f, gconstpointer data)
{
    static const char all[] = "\0\1\xff\xfe binary\n\n";
    g_autofree char *path = fixture_path(f, "secret");
    g_autofree char *file = g_strconcat("file=", path, NULL);
    g_autofree char *file64 = g_strconcat("format=base64,file=", path, NULL);
    is(f, "data=letmein", "letmein", 7);
    is(f, "format=raw,data=a,,b", "a,b", 3);
    is(f, "data=", "", 0);
    is(f, "data=,format=base64", "", 0);
    is(f, "data=bGV0bWVpbg==,format=base64", "letmein", 7);
    is(f, "data=bGV0bWVp,format=base64", "letmei", 6);
    is(f, "data=bGV0\r\nbWVp\n,format=base64", "letmei", 6);
    g_assert_true(g_file_set_contents(path, all, sizeof(all), NULL));
    is(f, file, all, sizeof(all)); /* all of it, NULs and line ends */
    fails(f, file64, "secret 'a': the file's content is not base64");
    g_assert_true(g_file_set_contents(path, "/+8=\n", -1, NULL));
    is(f, file64, "\xff\xef", 2);
    g_autofree char *much = g_malloc0((1 << 20) + 1);
    g_assert_true(g_file_set_contents(path, much, 1 << 20, NULL));
    is(f, file, much, 1 << 20);
    g_assert_true(g_file_set_contents(path, much, (1 << 20) + 1, NULL));
    fails(f, file, "*more than 1048576 bytes, the most a secret can have");
    fails(f, "file=/dev/zero", "*more than 1048576 bytes, the most a secret can have");
    fails(f, "file=/nonexistent", "secret 'a': could not open '/nonexistent': No such file or directory");
    fails(f, "file=/", "secret 'a': could not read '/': Is a directory");
    static const char *const bad[] = { "x", "abc", "ab=c", "a===", "====", "YWJj=", "YW*j" };
    for (unsigned i = 0; i < G_N_ELEMENTS(bad); i++) {
        g_autofree char *o = g_strconcat("format=base64,data=", bad[i], NULL);
        fails(f, o, "secret 'a': 'data' is not base64");
    }
}

/* A pipe, and a descriptor that was passed. */
static void test_pipes(Fixture *f, gconstpointer data)
{
    int fds[2];
    g_assert_cmpint(pipe(fds), ==, 0);
    g_assert_cmpint(write(fds[1], "from a pipe", 11), ==, 11);
    close(fds[1]);
    g_autofree char *pipe_path = g_strdup_printf("file=/dev/fd/%d", fds[0]);
    is(f, pipe_path, "from a pipe", 11);
    close(fds[0]);
    g_autofree char *path = fixture_path(f, "passed");
    g_assert_true(g_file_set_contents(path, "passed", -1, NULL));
    g_assert_true(fdset_add(7, open(path, O_RDONLY | O_CLOEXEC), NULL, &error_abort_slot));
    is(f, "file=/dev/fdset/7", "passed", 6);
    fails(f, "file=/dev/fdset/8", "*could not open '/dev/fdset/8': No such file or directory");
    fdset_clear();
}

static void test_encrypted(Fixture *f, gconstpointer data)
{
#define WITH_KEY "format=base64,keyid=master,iv=" IV ",data="
#if !HAVE_NETTLE
    g_test_skip("this build has no nettle");
    return;
#endif
    static const struct { const char *options, *says; } bad[] = {
        { "format=base64,keyid=nobody,iv=" IV ",data=SDQhrLA5RKTVgaYxB8guMA==",
          "secret 'a': 'keyid': there is no secret 'nobody'" },
        { "format=base64,keyid=short,iv=" IV ",data=SDQhrLA5RKTVgaYxB8guMA==",
          "secret 'a': 'keyid': secret 'short' has 3 bytes, and a key has 32" },
        { "format=base64,keyid=master,data=SDQhrLA5RKTVgaYxB8guMA==", "secret 'a': 'keyid' needs 'iv'" },
        { "iv=" IV ",data=x", "secret 'a': 'iv' goes with 'keyid' only" },
        { "keyid=master,iv=AAAA,data=x", "secret 'a': 'iv' is not 16 bytes in base64" },
        { "keyid=master,iv=nonsense!,data=x", "secret 'a': 'iv' is not 16 bytes in base64" },
        { "keyid=master,iv=" IV ",data=SDQhrLA5RKTVgaYxB8guMA==", "*has 24 bytes, not a multiple of 16" },
        { "keyid=master,iv=" IV ",data=", "*has 0 bytes, not a multiple of 16" },
        { WITH_KEY "r3mC9nj0mL4FPw7Aa8VHyg==", "*decryption gives no padded text" }, /* no padding */
        { WITH_KEY "zBterdygbSpbg6+ThHiXsA==", "*decryption gives no padded text" }, /* ends with 0 3 3 */
        { WITH_KEY "5JE7wP1WTr5k5yKk41FDLg==", "*decryption gives no padded text" }, /* 0 */
        { WITH_KEY "iBsj+m+e8Jzsy97sq+yeqg==", "*decryption gives no padded text" }, /* 17 */
    };
    g_autofree char *path = fixture_path(f, "coded");
    make(f, "secret,id=master,format=base64,data=" KEY, &error_abort_slot);
    make(f, "secret,id=short,data=key", &error_abort_slot);
    is(f, WITH_KEY "SDQhrLA5RKTVgaYxB8guMA==", "letmein", 7);
    is(f, WITH_KEY "r3mC9nj0mL4FPw7Aa8VHyvgdq5Ai8QCZkc31oCqGSl0=\n", "0123456789abcdef", 16); /* two blocks */
    is(f, WITH_KEY "fpJI5dgpynWT8MVJ2y9bjA==", "", 0);
    gsize len;
    g_autofree guchar *raw = g_base64_decode("SDQhrLA5RKTVgaYxB8guMA==", &len);
    g_assert_true(g_file_set_contents(path, (char *)raw, len, NULL));
    g_autofree char *from_file = g_strconcat("keyid=master,iv=" IV ",file=", path, NULL);
    is(f, from_file, "letmein", 7);
    for (unsigned i = 0; i < G_N_ELEMENTS(bad); i++) {
        fails(f, bad[i].options, bad[i].says);
    }
    g_assert_true(secret_remove(f->m, "master", &error_abort_slot));
    fails(f, WITH_KEY "SDQhrLA5RKTVgaYxB8guMA==", "*there is no secret 'master'");
    secret_remove_all(f->m);
}

static void test_names(Fixture *f, gconstpointer data)
{
    Error *err = NULL;
    fails(f, "data=a,file=b", "secret 'a': 'data' and 'file' exclude each other");
    fails(f, "format=raw", "secret 'a': 'data' or 'file' is needed");
    fails(f, "data=a,format=hex", "*'format'*");
    fails(f, "data=a,loaded=on", "*'loaded' is not supported: the secret is read when the object is made*");
    g_assert_false(make(f, "secret,id=1,data=a", &err));
    g_assert_cmpstr(error_text(err), ==,
                    "id '1' is not a name: a letter, then letters, digits, '-', '.', '_'");
    g_clear_pointer(&err, error_free);
    make(f, "secret,id=b,data=x", &error_abort_slot);
    g_assert_false(make(f, "secret,id=b,data=y", &err));
    g_assert_cmpstr(error_text(err), ==, "there is already an object with id 'b'");
    g_clear_pointer(&err, error_free);
    g_assert_null(secret_lookup(f->m, "c", &err));
    g_clear_pointer(&err, error_free);
    g_assert_false(secret_remove(f->m, "c", &err));
    g_clear_pointer(&err, error_free);
    secret_remove_all(f->m);
    g_assert_false(secret_exists(f->m, "b"));
    g_assert_false(secret_remove(f->m, "b", &err));
    error_free(err);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    role_become_main();
    static const struct { const char *name; void (*fn)(Fixture *, gconstpointer); } tests[] = {
        { "forms", test_forms }, { "pipes", test_pipes }, { "encrypted", test_encrypted },
        { "names", test_names },
    };
    for (unsigned i = 0; i < G_N_ELEMENTS(tests); i++) {
        g_autofree char *path = g_strconcat("/secret/", tests[i].name, NULL);
        g_test_add(path, Fixture, NULL, fixture_up, tests[i].fn, fixture_down);
    }
    return g_test_run();
}
