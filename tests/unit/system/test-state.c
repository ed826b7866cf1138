/* SPDX-License-Identifier: MIT
 * tests/unit/system/test-state.c - saved-state tables and property tables, hostile input included.
 * Threads: main.
 */
#include "tests/lib/testmachine.h"
#include "system/internal.h"

#include <string.h>

/* ---- saved state ---- */

typedef struct Sub {
    uint8_t a;
    uint16_t b[3];
} Sub;
typedef struct State {
    uint8_t u8;
    uint16_t u16;
    uint32_t u32;
    uint64_t u64;
    int64_t i64;
    bool flag;
    uint8_t small; /* at most 7 */
    uint8_t bytes[5];
    uint32_t words[4];
    Sub one, many[3];
    Fifo8 fifo;
    Timer timer;
    uint32_t extra, late;
    bool with_extra;
    unsigned loads;
} State;

static bool extra_needed(const void *opaque)
{
    return ((const State *)opaque)->with_extra;
}

static bool state_post_load(void *opaque, Error **errp)
{
    State *s = opaque;
    s->loads++;
    return s->u8 < 250 || error_set(errp, "u8 is %u", s->u8);
}

static const VmField sub_fields[] = { VM_U8(Sub, a), VM_U16_ARRAY(Sub, b), { 0 } };
static const VmState sub_state = { .name = "sub", .version = 1, .fields = sub_fields };
static const VmField extra_fields[] = { VM_U32(State, extra), { 0 } };
static const VmState extra_state = {
    .name = "state/extra", .version = 1, .oldest = 1, .fields = extra_fields, .needed = extra_needed
};
static const VmState *const optional[] = { &extra_state, NULL };
static const VmField fields[] = {
    VM_U8(State, u8),
    VM_U16(State, u16),
    VM_U32(State, u32),
    VM_U64(State, u64),
    VM_I64(State, i64),
    VM_BOOL(State, flag),
    VM_U8_MAX(State, small, 7),
    VM_U8_ARRAY(State, bytes),
    VM_U32_ARRAY(State, words),
    VM_STRUCT(State, one, sub_state),
    VM_STRUCT_ARRAY(State, many, sub_state),
    VM_FIFO8(State, fifo),
    VM_TIMER(State, timer),
    { 0 },
};
static const VmState state = { .name = "state",
                               .version = 2,
                               .oldest = 1,
                               .fields = fields,
                               .optional = optional,
                               .post_load = state_post_load };

static Loop *loop;

static void state_init(State *s)
{
    memset(s, 0, sizeof(*s));
    fifo8_init(&s->fifo, 6);
    timer_init(&s->timer, loop, &clock_host_monotonic, NULL, NULL);
}

static void state_fini(State *s)
{
    timer_cancel(&s->timer);
    fifo8_fini(&s->fifo);
}

static void state_fill(State *s)
{
    s->u8 = 1;
    s->u16 = 0x1234;
    s->u32 = 0x89abcdef;
    s->u64 = UINT64_C(0x8123456789abcdef);
    s->i64 = -5;
    s->flag = true;
    s->small = 7;
    memcpy(s->bytes, "abcde", 5);
    s->words[3] = 9;
    s->one.b[2] = 3;
    s->many[2] = (Sub){ .a = 4, .b = { 5, 6, 7 } };
    for (unsigned i = 0; i < 4; i++) {
        fifo8_push(&s->fifo, (uint8_t)i);
    }
    fifo8_pop_or(&s->fifo, 0);
    timer_arm(&s->timer, INT64_MAX / 2);
    s->with_extra = true;
    s->extra = 55;
}

static GByteArray *filled(void)
{
    State s;
    state_init(&s);
    state_fill(&s);
    GByteArray *out = g_byte_array_new();
    vmstate_save(&state, &s, out);
    state_fini(&s);
    return out;
}

static void test_round_trip(void)
{
    GByteArray *a = filled(), *b = g_byte_array_new();
    State s;
    state_init(&s);
    const uint8_t *p = a->data;
    vmstate_load(&state, &s, &p, a->data + a->len, &error_abort_slot);
    g_assert_true(p == a->data + a->len);
    g_assert_cmphex(s.u64, ==, UINT64_C(0x8123456789abcdef));
    g_assert_cmpint(s.i64, ==, -5);
    g_assert_cmpuint(s.many[2].b[1], ==, 6);
    g_assert_cmpuint(fifo8_used(&s.fifo), ==, 3);
    g_assert_cmpuint(fifo8_peek_or(&s.fifo, 0, 9), ==, 1);
    g_assert_cmpint(timer_expires(&s.timer), ==, INT64_MAX / 2);
    g_assert_cmpuint(s.extra, ==, 55);
    g_assert_cmpuint(s.loads, ==, 1);
    s.with_extra = true;
    vmstate_save(&state, &s, b);
    g_assert_cmpmem(a->data, a->len, b->data, b->len);
    state_fini(&s);
    g_byte_array_free(a, TRUE);
    g_byte_array_free(b, TRUE);
}

static bool try_load(const VmState *how, const uint8_t *data, size_t len, State *s, char **why)
{
    Error *err = NULL;
    /* an exact copy on the heap: reading one byte beyond is caught by ASan */
    g_autofree uint8_t *copy = g_memdup2(data, len);
    const uint8_t *p = copy;
    state_init(s);
    bool ok = vmstate_load(how, s, &p, copy + len, &err);
    g_assert_true(ok == !err);
    if (why) {
        g_free(*why);
        *why = g_strdup(err ? error_text(err) : "");
    }
    error_free(err);
    return ok;
}

static void fix_crc(GByteArray *a)
{
    uint32_t crc = GUINT32_TO_LE(vmstate_crc32(0, a->data, a->len - 4));
    memcpy(a->data + a->len - 4, &crc, 4);
}

static void test_damage(void)
{
    GByteArray *a = filled();
    State s;
    for (guint bit = 0; bit < a->len * 8; bit++) {
        a->data[bit / 8] ^= 1u << (bit % 8);
        g_assert_false(try_load(&state, a->data, a->len, &s, NULL));
        state_fini(&s);
        a->data[bit / 8] ^= 1u << (bit % 8);
    }
    for (guint n = 0; n < a->len; n++) {
        g_assert_false(try_load(&state, a->data, n, &s, NULL));
        state_fini(&s);
    }
    g_byte_array_free(a, TRUE);
}

/* With the checksum made right again, so that damage reaches the parser; what is accepted is in range. */
static void test_hostile(void)
{
    GByteArray *good = filled();
    unsigned accepted = 0;
    for (unsigned i = 0; i < 20000; i++) {
        GByteArray *a = g_byte_array_new();
        g_byte_array_append(a, good->data, good->len);
        for (unsigned k = g_test_rand_int_range(1, 4); k; k--) {
            int at = g_test_rand_int_range(0, (int)a->len - 4);
            if (g_test_rand_bit()) {
                a->data[at] ^= 1u << g_test_rand_int_range(0, 8);
            } else {
                a->data[at] = (uint8_t)g_test_rand_int();
            }
        }
        fix_crc(a);
        State s;
        accepted += try_load(&state, a->data, a->len, &s, NULL);
        g_assert_cmpuint(fifo8_used(&s.fifo), <=, 6);
        g_assert_cmpuint(s.small, <=, 7);
        g_assert_cmpuint(*(uint8_t *)&s.flag, <=, 1);
        state_fini(&s);
        g_byte_array_free(a, TRUE);
    }
    g_assert_cmpuint(accepted, >, 100); /* else the damage never got past the frame */
    g_byte_array_free(good, TRUE);
}

static void test_versions(void)
{
    State s;
    char *why = NULL;
    GByteArray *a = filled();
    VmState newer = state;
    newer.oldest = 3;
    newer.version = 4;
    g_assert_false(try_load(&newer, a->data, a->len, &s, &why));
    g_assert_cmpstr(why, ==, "state section 'state' has version 2, this build loads 3 to 4");
    state_fini(&s);

    VmField more[G_N_ELEMENTS(fields) + 1]; /* a field that came with version 3: old streams lack it */
    memcpy(more, fields, sizeof(fields));
    more[G_N_ELEMENTS(fields) - 1] = (VmField)VM_U32(State, late);
    more[G_N_ELEMENTS(fields) - 1].since = 3;
    more[G_N_ELEMENTS(fields)] = (VmField){ 0 };
    newer.oldest = 1;
    newer.version = 3;
    newer.fields = more;
    g_assert_true(try_load(&newer, a->data, a->len, &s, &why));
    state_fini(&s);
    more[G_N_ELEMENTS(fields) - 1].since = 0;
    g_assert_false(try_load(&newer, a->data, a->len, &s, &why));
    g_assert_cmpstr(why, ==, "state section 'state' lacks field 'late'");
    state_fini(&s);

    VmState fewer = state;
    fewer.fields = fields + 1;
    g_assert_false(try_load(&fewer, a->data, a->len, &s, &why));
    g_assert_cmpstr(why, ==, "state section 'state' has an unknown field 'u8'");
    state_fini(&s);
    fewer = state;
    fewer.optional = NULL;
    g_assert_false(try_load(&fewer, a->data, a->len, &s, &why));
    state_fini(&s);

    State big;
    state_init(&big);
    big.u8 = 251;
    g_byte_array_set_size(a, 0);
    vmstate_save(&state, &big, a);
    g_assert_false(try_load(&state, a->data, a->len, &s, &why));
    g_assert_cmpstr(why, ==, "state section 'state': u8 is 251");
    state_fini(&s);
    state_fini(&big);
    g_free(why);
    g_byte_array_free(a, TRUE);
}

/* ---- properties ---- */

static const char *const colours[] = { "red", "green", NULL };
typedef struct Props {
    bool b;
    uint8_t u8;
    uint16_t u16;
    uint32_t u32;
    uint64_t u64, size;
    int32_t i32, addr;
    char *str;
    int colour, auto_;
} Props;
static const Prop props[] = {
    PROP_BOOL(Props, b, "b", true, ""),
    PROP_U8(Props, u8, "u8", 3, 1, 200, ""),
    PROP_U16(Props, u16, "u16", 4, 0, UINT16_MAX, ""),
    PROP_U32(Props, u32, "u32", 5, 0, UINT32_MAX, ""),
    PROP_U64(Props, u64, "u64", 6, 0, UINT64_MAX, ""),
    PROP_SIZE(Props, size, "size", 4096, 512, UINT64_C(1) << 40, ""),
    PROP_I32(Props, i32, "i32", -1, -10, 10, ""),
    PROP_STR(Props, str, "a-str", "dflt", ""),
    PROP_ENUM(Props, colour, "colour", 1, colours, ""),
    PROP_ONOFFAUTO(Props, auto_, "auto", AUTO, ""),
    PROP_PCI_ADDR(Props, addr, "addr", ""),
    { 0 },
};

static const struct {
    const char *name, *text, *json; /* json NULL: refused */
} prop_cases[] = {
    { "b", "off", "false" },
    { "b", "maybe", NULL },
    { "u8", "0xc8", "200" },
    { "u8", "201", NULL },
    { "u8", "0", NULL },
    { "u8", "-1", NULL },
    { "u8", "5x", NULL },
    { "u8", "", NULL },
    { "u16", "65536", NULL },
    { "u32", "4294967295", "4294967295" },
    { "u64", "18446744073709551615", "18446744073709551615" },
    { "u64", "18446744073709551616", NULL },
    { "size", "1M", "1048576" },
    { "size", "511", NULL },
    { "i32", "-10", "-10" },
    { "i32", "-11", NULL },
    { "i32", "11", NULL },
    { "a_str", "x", "\"x\"" },
    { "colour", "red", "\"red\"" },
    { "colour", "blue", NULL },
    { "auto", "on", "\"on\"" },
    { "auto", "1", NULL },
    { "addr", "1f.7", "\"1f.7\"" },
    { "addr", "3", "\"03.0\"" },
    { "addr", "20", NULL },
    { "addr", "3.8", NULL },
    { "addr", "3.", NULL },
    { "addr", "-1", NULL },
    { "addr", "3.0x", NULL },
};

static void test_props(void)
{
    Props s;
    memset(&s, 0xaa, sizeof(s));
    props_init(props, &s);
    g_assert_true(s.b && s.u8 == 3 && s.i32 == -1 && s.addr == -1 && s.colour == 1 && s.auto_ == AUTO);
    g_assert_cmpstr(s.str, ==, "dflt");
    for (unsigned i = 0; i < G_N_ELEMENTS(prop_cases); i++) {
        const Prop *p = prop_find(props, prop_cases[i].name);
        Error *err = NULL;
        g_autoptr(Json) was = prop_get(p, &s);
        bool ok = prop_set_text(NULL, p, &s, prop_cases[i].text, &err);
        g_autoptr(Json) now = prop_get(p, &s);
        g_assert_true(ok == (prop_cases[i].json != NULL));
        if (ok) {
            g_autofree char *text = json_format(now, false);
            g_assert_cmpstr(text, ==, prop_cases[i].json);
        } else {
            g_assert_nonnull(strstr(error_text(err), p->name));
            g_assert_true(json_equal(was, now)); /* a refused value changes nothing */
        }
        error_free(err);
    }
    g_assert_null(prop_find(props, "nosuch"));
    Error *err = NULL;
    g_autoptr(Json) n = json_new_int(-3), list = json_new_array();
    g_assert_true(prop_set_json(NULL, prop_find(props, "i32"), &s, n, NULL));
    g_assert_cmpint(s.i32, ==, -3);
    g_assert_false(prop_set_json(NULL, prop_find(props, "u32"), &s, n, &err));
    g_assert_cmpstr(error_text(err), ==,
                    "property 'u32' is of type uint32 and does not accept a JSON value of kind integer");
    error_free(err);
    g_assert_false(prop_set_json(NULL, prop_find(props, "a-str"), &s, list, NULL));
    props_fini(props, &s);
    g_assert_null(s.str);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    role_become_main();
    loop = loop_new("test");
    g_test_add_func("/system/vmstate/round-trip", test_round_trip);
    g_test_add_func("/system/vmstate/damage", test_damage);
    g_test_add_func("/system/vmstate/hostile", test_hostile);
    g_test_add_func("/system/vmstate/versions", test_versions);
    g_test_add_func("/system/props", test_props);
    int rc = g_test_run();
    loop_free(loop);
    return rc;
}
