/* SPDX-License-Identifier: MIT
 * tests/unit/ui/test-term.c - terminals in memory (ui/term.c, ui/term-screen.c): what sequences do to cells,
 * what keys send, and sequences that nobody would write. RHEA_TERM_CASES=N sets how many of those, RHEA_SEED
 * which. Threads: main.
 */
#include "rhea/ui/term.h"

#include <stdlib.h>
#include <string.h>

static GString *answers;

static void on_answer(void *opaque G_GNUC_UNUSED, const char *text, size_t len)
{
    g_string_append_len(answers, text, (gssize)len);
}

static const TermOps ops = { .answer = on_answer };

static Term *made(int cols, int rows)
{
    g_string_truncate(answers, 0);
    return term_new(cols, rows, &ops, NULL);
}

static void say(Term *t, const char *text)
{
    term_write(t, (const uint8_t *)text, strlen(text));
}

/* The rows, joined by '|', without blanks at their ends. */
static char *seen(Term *t)
{
    GString *s = g_string_new(NULL);
    for (int y = 0; y < term_rows(t); y++) {
        const TermCell *row = term_row(t, y);
        gsize end = s->len;
        for (int x = 0; x < term_cols(t); x++) {
            if (row[x].ch) {
                g_string_append_unichar(s, row[x].ch);
            }
            end = row[x].ch && row[x].ch != ' ' ? s->len : end;
        }
        g_string_truncate(s, end);
        g_string_append(s, y + 1 < term_rows(t) ? "|" : "");
    }
    return g_string_free(s, FALSE);
}

#define LOOKS(t, want)                                                                                       \
    do {                                                                                                     \
        g_autofree char *looks_like = seen(t);                                                               \
        g_assert_cmpstr(looks_like, ==, want);                                                               \
    } while (0)

static const struct {
    const char *what, *write, *want;
} cases[] = {
    /* 10 x 4 */
    { "lines", "one\r\ntwo\nthree", "one|two|   three|" },
    { "wrap", "0123456789abc", "0123456789|abc||" },
    { "wrap-late", "0123456789\r\nx", "0123456789|x||" },
    { "no-wrap", "\033[?7l0123456789abc", "012345678c|||" },
    { "scroll", "a\r\nb\r\nc\r\nd\r\ne", "b|c|d|e" },
    { "region", "a\r\nb\r\nc\r\nd\033[2;3r\033[3;1H\n\nx", "a||x|d" },
    { "reverse-feed", "a\r\nb\033[H\033M\033Mc", "c||a|b" },
    { "place", "\033[2;3Hx\033[;5Hy\033[99;99Hz", "    y|  x||         z" },
    { "moves", "\033[2;2Ha\033[Ab\033[2Dc\033[Bd\033[3Ce", " cb| ad   e||" },
    { "columns", "\033[3Gx\033[2dy\033[Ez\033[Fq", "  x|q  y|z|" },
    { "erase-line", "0123456789\033[5G\033[K\r\n0123456789\033[A\033[3G\033[1K", "   3|0123456789||" },
    { "erase-all", "abc\r\ndef\033[2Jx", "|   x||" },
    { "erase-below", "abc\r\ndef\r\nghi\033[2;2H\033[J", "abc|d||" },
    { "erase-above", "abc\r\ndef\r\nghi\033[2;2H\033[1J", "|  f|ghi|" },
    { "insert", "abcdef\033[3G\033[2@x", "abx cdef|||" },
    { "delete", "abcdef\033[3G\033[2P", "abef|||" },
    { "erase-chars", "abcdef\033[3G\033[2X", "ab  ef|||" },
    { "insert-mode", "abc\r\033[4hx\033[4ly", "xybc|||" },
    { "insert-lines", "a\r\nb\r\nc\033[2H\033[2L", "a|||b" },
    { "delete-lines", "a\r\nb\r\nc\r\nd\033[2H\033[2M", "a|d||" },
    { "scroll-up", "a\r\nb\r\nc\033[2S", "c|||" },
    { "scroll-down", "a\r\nb\033[T", "|a|b|" },
    { "tabs", "a\tb\r\n\033[3g\033[4G\033H\r\tx\033[Zy", "a       b|   y||" },
    { "backspace", "ab\bc\b\b\b\bd", "dc|||" },
    { "repeat", "ab\033[3b", "abbbb|||" },
    { "save", "\033[2;2H\0337\033[Hx\0338y\033[s\033[1;1Hz\033[uq", "z| yq||" },
    { "utf-8", "\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80", "\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80|||" },
    { "utf-8-bad", "\xc3x\xff\xe2\x82y\xc0\x80",
      "\xef\xbf\xbdx\xef\xbf\xbd\xef\xbf\xbdy\xef\xbf\xbd\xef\xbf\xbd|||" },
    { "utf-8-long", "\xe0\x81\x81\xed\xa0\x80", "\xef\xbf\xbd\xef\xbf\xbd|||" },
    { "wide", "123456789\xe4\xb8\xad", "123456789|\xe4\xb8\xad||" },
    { "mark", "e\xcc\x81x", "ex|||" },
    { "lines-of-dec", "\033(0lqk\033(Blqk\033)0\016x\017x",
      "\xe2\x94\x8c\xe2\x94\x80\xe2\x94\x90lqk\xe2\x94\x82x|||" },
    { "title", "a\033]0;a title\007b\033]2;x\033\\c\033P+q\033\\d", "abcd|||" },
    { "unknown", "a\033[>4;2mb\033[1 qc\033[!pd\033%Ge", "abcdGe|||" },
    { "cancelled", "a\033[12\030b\033[\032c", "abc|||" },
    { "within", "a\033[2\rCb", "a b|||" },
    { "many-numbers", "\033[1;2;3;4;5;6;7;8;9;1;2;3;4;5;6;7;8;9mx", "x|||" },
    { "huge", "\033[99999999999999999999C\033[999999999999@\033[99999999999Ax", "         x|||" },
    { "origin", "\033[2;3r\033[?6h\033[Ha\033[99Hb\033[?6l", "|a|b|" },
    { "other-screen", "main\033[?1049hother\033[?1049l!", "main!|||" },
    { "reset", "abc\033c", "|||" },
    { "alignment", "\033#8\033[2;2H\033[J", "EEEEEEEEEE|E||" },
};

static void test_sequences(void)
{
    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
        Term *t = made(10, 4);
        g_test_message("%s", cases[i].what);
        say(t, cases[i].write);
        LOOKS(t, cases[i].want);
        term_free(t);
        t = made(10, 4); /* byte by byte */
        for (const char *p = cases[i].write; *p; p++) {
            term_write(t, (const uint8_t *)p, 1);
        }
        LOOKS(t, cases[i].want);
        term_free(t);
    }
}

static void test_colours(void)
{
    static const struct {
        const char *write;
        uint32_t fg, bg;
        uint8_t attr;
    } pens[] = {
        { "", TERM_INDEXED | 7, TERM_INDEXED, 0 },
        { "\033[1;31;44m", TERM_INDEXED | 1, TERM_INDEXED | 4, TERM_BOLD },
        { "\033[1;4;7;22;24m", TERM_INDEXED | 7, TERM_INDEXED, TERM_REVERSE },
        { "\033[31;7m\033[27;39m", TERM_INDEXED | 7, TERM_INDEXED, 0 },
        { "\033[95;106m", TERM_INDEXED | 13, TERM_INDEXED | 14, 0 },
        { "\033[38;5;9;48;5;16m", TERM_INDEXED | 9, 0, 0 },
        { "\033[38;5;231;48;5;232m", 0xffffff, 0x080808, 0 },
        { "\033[38;2;1;2;300m", 0x0102ff, TERM_INDEXED, 0 },
        { "\033[38;5m", TERM_INDEXED | 7, TERM_INDEXED, 0 },
        { "\033[31m\033[m", TERM_INDEXED | 7, TERM_INDEXED, 0 },
        { "\033[5;8;2m", TERM_INDEXED | 7, TERM_INDEXED, TERM_BLINK | TERM_HIDDEN | TERM_DIM },
    };
    for (size_t i = 0; i < G_N_ELEMENTS(pens); i++) {
        Term *t = made(4, 2);
        say(t, pens[i].write);
        say(t, "x");
        const TermCell *c = term_row(t, 0);
        g_assert_cmphex(c->fg, ==, pens[i].fg);
        g_assert_cmphex(c->bg, ==, pens[i].bg);
        g_assert_cmphex(c->attr, ==, pens[i].attr);
        term_free(t);
    }
}

static void test_past(void)
{
    Term *t = made(10, 3);
    int x, y;
    for (int i = 0; i < 1200; i++) {
        g_autofree char *line = g_strdup_printf("%d\r\n", i);
        say(t, line);
    }
    LOOKS(t, "1198|1199|");
    g_assert_true(term_cursor(t, &x, &y) && x == 0 && y == 2);
    term_scroll(t, 2);
    LOOKS(t, "1196|1197|1198");
    g_assert_false(term_cursor(t, &x, &y)); /* it is below */
    say(t, "new\r\n");
    LOOKS(t, "1196|1197|1198"); /* the view stays */
    term_scroll(t, 100000);
    LOOKS(t, "199|200|201"); /* a thousand are kept */
    say(t, "more\r\nand more\r\n");
    LOOKS(t, "201|202|203"); /* the oldest are gone */
    term_view_now(t);
    LOOKS(t, "more|and more|");
    say(t, "\033[3J");
    term_scroll(t, 5);
    LOOKS(t, "more|and more|");
    say(t, "\033[?1049h\n\n\n\n\n"); /* has no past */
    term_scroll(t, 5);
    LOOKS(t, "||");
    term_free(t);
}

static void test_changes(void)
{
    Term *t = made(10, 3);
    for (int y = 0; y < 3; y++) {
        g_assert_true(term_row_changed(t, y));
        g_assert_false(term_row_changed(t, y));
    }
    say(t, "\033[2;1Hx");
    g_assert_true(term_row_changed(t, 0)); /* the cursor went */
    g_assert_true(term_row_changed(t, 1));
    g_assert_false(term_row_changed(t, 2));
    g_assert_false(term_reversed(t));
    say(t, "\033[?5h\033[?25l");
    g_assert_true(term_reversed(t));
    int x, y;
    g_assert_false(term_cursor(t, &x, &y));
    term_free(t);
}

static void test_answers(void)
{
    Term *t = made(10, 3);
    say(t, "\033[2;4H\033[6n\033[5n\033[c\033Z\033[0c\033[1c");
    g_assert_cmpstr(answers->str, ==, "\033[2;4R\033[0n\033[?6c\033[?6c\033[?6c");
    g_string_truncate(answers, 0);
    g_assert_true(term_key(t, INPUT_KEY_UP, false, false));
    say(t, "\033[?1h");
    g_assert_true(term_key(t, INPUT_KEY_LEFT, false, true));
    g_assert_true(term_key(t, INPUT_KEY_F3, false, false));
    g_assert_true(term_key(t, INPUT_KEY_F12, false, false));
    g_assert_true(term_key(t, INPUT_KEY_TAB, true, false));
    g_assert_false(term_key(t, INPUT_KEY_TAB, false, false));
    g_assert_false(term_key(t, INPUT_KEY_A, false, false));
    g_assert_cmpstr(answers->str, ==, "\033[A\033\033OD\033[[C\033[24~\033[Z");
    g_string_truncate(answers, 0);
    term_char(t, 'c', true, false);
    term_char(t, 'x', false, true);
    term_char(t, 0x20ac, false, false);
    g_assert_cmpstr(answers->str, ==, "\003\033x\xe2\x82\xac");
    g_string_truncate(answers, 0);
    term_char(t, ' ', true, false);
    g_assert_cmpuint(answers->len, ==, 1);
    term_free(t);
}

/* ---- what nobody would write ---- */

static void random_piece(GRand *r, GString *out)
{
    static const char finals[] = "@ABCDEFGHIJKLMPSTXZ`abcdefghlmnrsu";
    static const char *const odd[] = { "\033[?1049h", "\033[?1049l", "\033[?6h", "\033c",        "\033#8",
                                       "\033]0;",     "\007",        "\033P",    "\033\\",       "\033[4h",
                                       "\033[?7l",    "\033(0",      "\016",     "\xe4\xb8\xad", "\xcc\x81",
                                       "\033M",       "\033D",       "\033E",    "\033H",        "\0337",
                                       "\0338",       "\033[?5h" };
    switch (g_rand_int_range(r, 0, 5)) {
    case 0:
        g_string_append_printf(
            out, "\033[%s%d;%d%c", g_rand_int_range(r, 0, 6) ? "" : "?",
            g_rand_int_range(r, 0, 4) ? g_rand_int_range(r, 0, 30) : g_rand_int_range(r, 0, 1 << 30),
            g_rand_int_range(r, 0, 40), finals[g_rand_int_range(r, 0, sizeof(finals) - 1)]);
        break;
    case 1: g_string_append(out, odd[g_rand_int_range(r, 0, G_N_ELEMENTS(odd))]); break;
    case 2:
        for (int n = g_rand_int_range(r, 0, 30); n; n--) {
            g_string_append_c(out, (char)g_rand_int_range(r, 0, 256));
        }
        break;
    case 3: g_string_append(out, "\r\n\n"); break;
    default: g_string_append(out, "text and more of it "); break;
    }
}

static void check(Term *t)
{
    int x, y;
    term_cursor(t, &x, &y);
    g_assert_cmpint(x, >=, 0);
    g_assert_cmpint(x, <, term_cols(t));
    g_assert_cmpint(y, >=, 0);
    for (y = 0; y < term_rows(t); y++) {
        const TermCell *row = term_row(t, y);
        for (x = 0; x < term_cols(t); x++) {
            g_assert_true(!row[x].ch || g_unichar_validate(row[x].ch));
            g_assert_cmpuint(row[x].fg, <=, TERM_INDEXED | 15);
        }
    }
}

static void test_storm(void)
{
    const char *cases_text = g_getenv("RHEA_TERM_CASES"), *seed_text = g_getenv("RHEA_SEED");
    guint32 seed = seed_text ? (guint32)atoll(seed_text) : g_random_int();
    g_test_message("RHEA_SEED=%u", seed);
    GRand *r = g_rand_new_with_seed(seed);
    Term *t = NULL;
    g_autoptr(GString) text = g_string_new(NULL);
    for (long i = 0, n = cases_text ? atol(cases_text) : 50000; i < n; i++) {
        if (i % 500 == 0) {
            term_free(t);
            t = made(g_rand_int_range(r, 2, 40), g_rand_int_range(r, 2, 20));
        }
        g_string_truncate(text, 0);
        random_piece(r, text);
        term_write(t, (const uint8_t *)text->str, text->len);
        if (i % 7 == 0) {
            term_scroll(t, g_rand_int_range(r, -10, 10));
            check(t);
        }
        g_string_truncate(answers, 0);
    }
    term_free(t);
    g_rand_free(r);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    answers = g_string_new(NULL);
    g_test_add_func("/term/sequences", test_sequences);
    g_test_add_func("/term/colours", test_colours);
    g_test_add_func("/term/past", test_past);
    g_test_add_func("/term/changes", test_changes);
    g_test_add_func("/term/answers", test_answers);
    g_test_add_func("/term/storm", test_storm);
    int r = g_test_run();
    g_string_free(answers, TRUE);
    return r;
}
