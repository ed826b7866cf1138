/* SPDX-License-Identifier: MIT
 * tests/unit/schema/test-type.c - key=value text and JSON into typed structs, and every way to fail.
 */
#include "schema/chardev.h"
#include "schema/options.h"
#include "schema/sample.h"

#include <string.h>

static void decode_ok(const TypeDesc *t, const char *text, const char *implied, void *out)
{
    Error *err = NULL;
    bool from_text;
    g_autoptr(Json) j = keyval_parse(text, implied, &from_text, &err);
    if (!j || !type_decode(t, j, from_text, out, &err)) {
        g_error("'%s': %s", text, error_text(err));
    }
}

static void decode_fails(const TypeDesc *t, const char *text, const char *message, const char *hint)
{
    char out[512];
    char zero[512] = { 0 };
    Error *err = NULL;
    bool from_text;
    g_assert_cmpuint(t->size, <=, sizeof(out));
    memset(out, 0xaa, sizeof(out));
    g_autoptr(Json) j = keyval_parse(text, "type", &from_text, &err);
    g_assert_nonnull(j);
    g_assert_false(type_decode(t, j, from_text, out, &err));
    g_assert_cmpstr(error_text(err), ==, message);
    if (hint) {
        g_assert_cmpstr(error_hint_text(err), ==, hint);
    }
    g_assert_cmpmem(out, t->size, zero, t->size);
    error_free(err);
    g_assert_false(type_decode(t, j, from_text, out, NULL));
}

static void test_chardev(void)
{
    ChardevOptions o;
    decode_ok(&chardev_options_type, "socket,id=mon0,path=run/a,,b,server,nowait,telnet=off", "backend", &o);
    g_assert_cmpint(o.backend, ==, CHARDEV_KIND_SOCKET);
    g_assert_cmpstr(o.id, ==, "mon0");
    g_assert_cmpstr(o.u.socket.path, ==, "run/a,b");
    g_assert_true(o.u.socket.server);
    g_assert_true(o.u.socket.has_wait && !o.u.socket.wait);
    g_assert_true(o.u.socket.tight); /* a default */
    g_assert_false(o.u.socket.has_ipv4);
    g_assert_null(o.u.socket.host);
    type_clear(&chardev_options_type, &o);
    g_assert_null(o.id);

    decode_ok(&chardev_options_type, "{'backend': 'ringbuf', 'id': 'r', 'size': 4096}", NULL, &o);
    g_assert_cmpuint(o.u.ringbuf.size, ==, 4096);
    g_autoptr(Json) j = type_encode(&chardev_options_type, &o);
    g_autofree char *text = json_format(j, false);
    g_assert_cmpstr(
        text, ==,
        "{\"backend\": \"ringbuf\", \"id\": \"r\", \"mux\": false, \"logappend\": false, \"size\": 4096}");
    type_clear(&chardev_options_type, &o);
    decode_ok(&chardev_options_type, "null,id=n", "backend", &o); /* a value without members */
    type_clear(&chardev_options_type, &o);
}

static void test_text_values(void)
{
    MemoryOptions m;
    decode_ok(&memory_options_type, "512,slots=4,maxmem=2G", "size", &m);
    g_assert_cmpuint(m.size, ==, UINT64_C(512) << 20);
    g_assert_cmpuint(m.maxmem, ==, UINT64_C(2) << 30);
    g_assert_true(m.has_slots && m.slots == 4);
    RtcOptions r;
    decode_ok(&rtc_options_type, "clock=vm", NULL, &r);
    g_assert_cmpint(r.clock, ==, RTC_CLOCK_VM);
    g_assert_cmpint(r.driftfix, ==, RTC_DRIFTFIX_NONE);
    g_assert_cmpstr(r.base, ==, "utc");
    type_clear(&rtc_options_type, &r);
    BootOptions b;
    decode_ok(&boot_options_type, "order=dc,reboot-timeout=-1", NULL, &b);
    g_assert_cmpint(b.reboot_timeout, ==, -1);
    type_clear(&boot_options_type, &b);
}

static void test_rest(void)
{
    MachineOptions m;
    decode_ok(&machine_options_type, "q35,accel=tcg,vmport=off,hpet", "type", &m);
    g_assert_cmpstr(m.type, ==, "q35");
    g_autofree char *text = json_format(m.props, false);
    g_assert_cmpstr(text, ==, "{\"vmport\": \"off\", \"hpet\": \"on\"}");
    g_autoptr(Json) j = type_encode(&machine_options_type, &m);
    g_assert_cmpstr(json_get_string(json_member(j, "vmport", NULL)), ==, "off");
    type_clear(&machine_options_type, &m);
}

static void test_sample(void)
{
    Sample s;
    decode_ok(&sample_type,
              "{\"base\": 1, \"names\": [\"a\", \"b\"], \"points\": [{\"x\": -3}, {\"x\": 4, \"y\": 1.5}],"
              " \"default\": 7, \"inner\": {\"x\": 2}, \"anything\": [null]}",
              NULL, &s);
    g_assert_cmpuint(s.names.n, ==, 2);
    g_assert_cmpstr(s.names.items[1], ==, "b");
    g_assert_cmpint(s.points.items[0].x, ==, -3);
    g_assert_cmpfloat(s.points.items[1].y, ==, 1.5);
    g_assert_true(s.has_inner && s.inner.x == 2);
    g_autoptr(Json) j = type_encode(&sample_type, &s);
    Sample again;
    g_assert_true(type_decode(&sample_type, j, false, &again, &error_abort_slot));
    g_autoptr(Json) k = type_encode(&sample_type, &again);
    g_assert_true(json_equal(j, k));
    type_clear(&sample_type, &again);
    type_clear(&sample_type, &s);

    decode_ok(&sample_type, "base=1,default=3,names.1=z,names.0=y,points.0.x=5,inner.x=9", NULL, &s);
    g_assert_cmpstr(s.names.items[0], ==, "y");
    g_assert_cmpint(s.points.items[0].x, ==, 5);
    g_assert_cmpint(s.inner.x, ==, 9);
    type_clear(&sample_type, &s);
}

static void test_errors(void)
{
    decode_fails(&chardev_options_type, "backend=socket,id=a,hots=b", "'hots' is unknown",
                 "did you mean 'host'?");
    decode_fails(&chardev_options_type, "backend=socket,id=a,zzzzzz=b", "'zzzzzz' is unknown",
                 "there are backend, id, mux, logfile, logappend, path, abstract, tight, host, port, to, "
                 "ipv4 and others");
    decode_fails(&chardev_options_type, "backend=file,id=a", "'path' is missing", NULL);
    decode_fails(&chardev_options_type, "id=a", "'backend' is missing", NULL);
    decode_fails(&rtc_options_type, "clock=hots", "'clock' must be one of 'host', 'rt', 'vm', not 'hots'",
                 "did you mean 'host'?");
    decode_fails(&chardev_options_type, "backend=socket,id=a,telnet=on",
                 "'telnet' is not supported: there is no telnet protocol; use a plain socket", NULL);
    decode_fails(&chardev_options_type, "backend=socket,id=a,tls-creds=t",
                 "'tls-creds' is not supported: chardevs have no TLS; use a UNIX socket and a TLS "
                 "proxy", NULL);
    decode_fails(&chardev_options_type, "backend=pty,id=a,mux=maybe",
                 "'mux' is wrong: 'maybe' is not a switch", "use 'on' or 'off'");
    decode_fails(&smp_options_type, "cpus=0", "'cpus' must be between 1 and 4096, not 0", NULL);
    decode_fails(&smp_options_type, "cpus=2x", "'cpus' is wrong: '2x' is not a number",
                 "give a number, decimal or with 0x");
    decode_fails(&smp_options_type, "{\"cpus\": \"2\"}", "'cpus' must be an integer, not string", NULL);
    decode_fails(&smp_options_type, "{\"cpus\": -2}", "'cpus' must not be negative", NULL);
    decode_fails(&smp_options_type, "{\"cpus\": 2.0}", "'cpus' must be an integer, not number", NULL);
    decode_fails(&smp_options_type, "{\"cpus\": null}", "'cpus' must be an integer, not null", NULL);
    decode_fails(&chardev_options_type, "backend=ringbuf,id=a,size=1G",
                 "'size' must be between 1 bytes and 64 MiB, not 1 GiB", NULL);
    decode_fails(&boot_options_type, "reboot-timeout=-2",
                 "'reboot-timeout' must be between -1 and 65535, not -2", NULL);
    decode_fails(&boot_options_type, "{\"strict\": 1}", "'strict' must be true or false, not integer", NULL);
    decode_fails(&boot_options_type, "{\"order\": 1}", "'order' must be a string, not integer", NULL);
    decode_fails(&sample_type, "{\"base\": 1, \"default\": 1, \"points\": [{\"x\": 1}, {\"y\": 1}]}",
                 "'points.1.x' is missing", "give it: across");
    decode_fails(&sample_type, "{\"base\": 1, \"default\": 1, \"names\": [\"a\", 2]}",
                 "'names.1' must be a string, not integer", NULL);
    decode_fails(&sample_type, "{\"base\": 1, \"default\": 1, \"names\": {}}",
                 "'names' must be a list, not object", NULL);
    decode_fails(&sample_type, "base=1,default=1,names=x",
                 "'names' is a list: give its elements as 'NAME.0=VALUE', not 'x'", NULL);
    decode_fails(&sample_type, "base=1,default=1,inner=x",
                 "'inner' is a group: give its members as 'NAME.MEMBER=VALUE', not 'x'", NULL);
    decode_fails(&sample_type, "{\"base\": 1, \"default\": 1, \"inner\": []}",
                 "'inner' must be an object, not array", NULL);
    decode_fails(&sample_type, "{\"base\": 9223372036854775808, \"default\": 1}",
                 "'base' must fit in a signed 64-bit integer", NULL);
    decode_fails(&sample_type, "{\"base\": 1, \"default\": 1, \"inner\": {\"x\": 1, \"xx\": 1}}",
                 "'inner.xx' is unknown", NULL);

    Sample s;
    Error *err = NULL;
    g_autoptr(Json) array = json_new_array();
    g_assert_false(type_decode(&sample_type, array, false, &s, &err));
    g_assert_cmpstr(error_text(err), ==, "'Sample' must be an object, not array");
    error_free(err);
}

static void keyval_is(const char *text, const char *implied, const char *json)
{
    bool from_text = false;
    g_autoptr(Json) j = keyval_parse(text, implied, &from_text, &error_abort_slot);
    g_autofree char *out = json_format(j, false);
    g_assert_cmpstr(out, ==, json);
    g_assert_true(from_text);
}

static void keyval_fails(const char *text, const char *message)
{
    bool from_text;
    Error *err = NULL;
    g_assert_null(keyval_parse(text, NULL, &from_text, &err));
    g_assert_cmpstr(error_text(err), ==, message);
    error_free(err);
}

static void test_keyval(void)
{
    keyval_is("", NULL, "{}");
    keyval_is("", "driver", "{}");
    keyval_is("a=b", NULL, "{\"a\": \"b\"}");
    keyval_is("a=b,", NULL, "{\"a\": \"b\"}");
    keyval_is("a=,b=c=d", NULL, "{\"a\": \"\", \"b\": \"c=d\"}");
    keyval_is("a=1,,2,,,b=3", NULL, "{\"a\": \"1,2,\", \"b\": \"3\"}");
    keyval_is("a=1,a=2", NULL, "{\"a\": \"2\"}");
    keyval_is("a.b=1,a.c=2,a.d.e=3", NULL, "{\"a\": {\"b\": \"1\", \"c\": \"2\", \"d\": {\"e\": \"3\"}}}");
    keyval_is("a.1=y,a.0=x", NULL, "{\"a\": [\"x\", \"y\"]}");
    keyval_is("a.0.b=1,a.1.b=2", NULL, "{\"a\": [{\"b\": \"1\"}, {\"b\": \"2\"}]}");
    keyval_is("x,b=1", "driver", "{\"driver\": \"x\", \"b\": \"1\"}");
    keyval_is("x,,y", "driver", "{\"driver\": \"x,y\"}");
    keyval_is("b=1,flag,noflop,none", "driver",
              "{\"b\": \"1\", \"flag\": \"on\", \"flop\": \"off\", \"none\": \"on\"}");
    keyval_is("help", NULL, "{\"help\": \"on\"}");
    keyval_fails("=x", "'' is not a valid option name");
    keyval_fails(",", "'' is not a valid option name");
    keyval_fails("a..b=x", "'a..b' is not a valid option name");
    keyval_fails("a b=x", "'a b' is not a valid option name");
    keyval_fails("a.01=x", "'a.01' is not a valid option name");
    keyval_fails("a=1,a.b=2", "'a' is given both a value and members");
    keyval_fails("a.b=2,a=1", "'a' is given both a value and members");
    keyval_fails("a.0=1,a.b=2", "'a' mixes numbered and named members");
    keyval_fails("0=1", "'option' mixes numbered and named members");
    keyval_fails("a.0=1,a.2=2", "'a.1' is missing: list elements count from 0 without gaps");
    keyval_fails("{\"a\": }", "invalid JSON at line 1 column 7: value expected");
    bool from_text = true;
    g_autoptr(Json) j = keyval_parse("{\"a\": 1}", "x", &from_text, &error_abort_slot);
    g_assert_false(from_text);
    g_assert_cmpuint(json_length(j), ==, 1);

    GString *deep = g_string_new("a");
    for (int i = 0; i < 10000; i++) {
        g_string_append(deep, ".a");
    }
    Error *err = NULL;
    g_string_append(deep, "=1");
    g_assert_null(keyval_parse(deep->str, NULL, &from_text, &err));
    error_free(err);
    g_string_free(deep, TRUE);
}

/* ---- alternates, commands ---- */

bool qmp_paint_it(QmpCall *call, const Place *args, Point *ret, Error **errp)
{
    ret->x = args->base + (args->near != NULL);
    return json_kind(args->at) == JSON_OBJECT || error_set(errp, "nothing is there");
}

bool qmp_mix_all(QmpCall *call, const MixAllArgs *args, MixAllResult *ret, Error **errp)
{
    ret->n = args->has_parts ? args->parts : 1;
    ret->items = g_new0(Colour, ret->n);
    ret->items[0] = args->first;
    return true;
}

bool qmp_hush(QmpCall *call, Error **errp)
{
    return error_set(errp, "hush");
}

bool qmp_as_it_is(QmpCall *call, const Json *args, Json **ret, Error **errp)
{
    *ret = json_ref((Json *)args);
    return true;
}

/* What a command's row makes of arguments: its result or its error as text. */
static void expect_call(const QmpCommand *c, const char *args, const char *expected)
{
    union { Place place; MixAllArgs mix; const Json *raw; } in;
    union { Point point; MixAllResult mix; Json *raw; } out;
    Error *err = NULL;
    g_autoptr(Json) json = args ? json_parse(args, -1, &error_abort_slot) : NULL, result = NULL;
    memset(&out, 0, sizeof(out));
    bool raw = c->flags & QMP_RAW;
    bool ok = raw || !c->args || type_decode(c->args, json, false, &in, &err);
    ok = ok && c->run(NULL, raw ? (const void *)json : &in, &out, &err);
    if (ok && c->ret) {
        result = c->flags & QMP_RAW_RESULT ? out.raw : type_encode(c->ret, &out);
    }
    g_autofree char *text = ok ? json_format(result, false) : g_strdup(error_text(err));
    g_assert_cmpstr(text, ==, expected);
    if (c->args && !raw) {
        type_clear(c->args, &in);
    }
    if (c->ret && !(c->flags & QMP_RAW_RESULT)) {
        type_clear(c->ret, &out);
    }
    error_free(err);
}

static void test_commands(void)
{
    const QmpCommand *c = sample_commands;
    g_assert_cmpstr(c[0].name, ==, "paint-it");
    g_assert_cmpuint(c[0].flags, ==, QMP_ALLOW_OOB);
    g_assert_cmpstr(c[0].features[0], ==, "fast");
    expect_call(&c[0], "{'base': 4, 'at': {}}", "{\"x\": 4}");
    expect_call(&c[0], "{'base': 4, 'at': {}, 'near': 'me'}", "{\"x\": 5}");
    expect_call(&c[0], "{'base': 4, 'at': null}", "nothing is there");
    expect_call(&c[0], "{'base': 4, 'at': true}",
                "'at' must be an object or a string or null or a list, not boolean");
    expect_call(&c[0], "{'base': 4}", "'at' is missing");
    expect_call(&c[1], "{'first': 'dark-green', 'parts': 2}", "[\"dark-green\", \"red\"]");
    expect_call(&c[1], "{'first': 'red', 'parts': 12}", "'parts' must be between 1 and 9, not 12");
    expect_call(&c[2], NULL, "hush");
    expect_call(&c[3], "{'any': [1]}", "{\"any\": [1]}");
    g_assert_null(c[4].name);
    g_assert_true(sample_events[0].args == &painted_event_type);
    g_assert_cmpstr(sample_events[1].features[0], ==, "slow");
    g_assert_null(sample_events[2].name);
    g_assert_cmpstr(place_type.fields[2].features[0], ==, "nearby");
}

/* An alternate keeps what it was given, through text too. */
static void test_alternate(void)
{
    static const char *const values[] = { "{\"base\": 1, \"at\": {\"colour\": \"red\"}, \"near\": \"x\"}",
                                          "{\"base\": 1, \"at\": \"name\"}", "{\"base\": 1, \"at\": null}",
                                          "{\"base\": 1, \"at\": [1, 2]}" };
    for (size_t i = 0; i < G_N_ELEMENTS(values); i++) {
        Place p;
        g_autoptr(Json) in = json_parse(values[i], -1, &error_abort_slot);
        g_assert_true(type_decode(&place_type, in, false, &p, &error_abort_slot));
        g_autoptr(Json) out = type_encode(&place_type, &p);
        g_autofree char *text = json_format(out, false);
        g_assert_cmpstr(text, ==, values[i]);
        type_clear(&place_type, &p);
    }
    Place p;
    decode_ok(&place_type, "base=1,at=name", NULL, &p);
    g_assert_cmpstr(json_get_string(p.at), ==, "name");
    type_clear(&place_type, &p);
    decode_ok(&place_type, "base=1,at.colour=red", NULL, &p);
    g_assert_cmpint(json_kind(p.at), ==, JSON_OBJECT);
    type_clear(&place_type, &p);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/type/chardev", test_chardev);
    g_test_add_func("/type/text-values", test_text_values);
    g_test_add_func("/type/rest", test_rest);
    g_test_add_func("/type/sample", test_sample);
    g_test_add_func("/type/commands", test_commands);
    g_test_add_func("/type/alternate", test_alternate);
    g_test_add_func("/type/errors", test_errors);
    g_test_add_func("/keyval", test_keyval);
    return g_test_run();
}
