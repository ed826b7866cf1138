/* SPDX-License-Identifier: MIT
 * ui/layout.c - keyboard layouts from the X keyboard database, by libxkbcommon.
 * Models: the layouts that QEMU has, under its names; per key the first layout group, the levels that Shift
 * and AltGr give. Where several keys give the same, the one that needs least counts. Does not model: dead
 * keys and compose sequences: what needs two strokes has no key here. Threads: main loop. The library is
 * loaded when the first layout is asked for: it would cost each start time.
 */
#include "config.h"
#include "rhea/ui/layout.h"
#include "rhea/util/errorcode.h"
#include "rhea/util/library.h"
#include "rhea/util/text.h"

static const struct {
    const char *name, *layout, *variant;
} known[] = {
    { "ar", "ara", "" },   { "bepo", "fr", "bepo" }, { "cz", "cz", "" },      { "da", "dk", "" },
    { "de", "de", "" },    { "de-ch", "ch", "de" },  { "en-gb", "gb", "" },   { "en-us", "us", "" },
    { "es", "es", "" },    { "et", "ee", "" },       { "fi", "fi", "" },      { "fo", "fo", "" },
    { "fr", "fr", "" },    { "fr-be", "be", "" },    { "fr-ca", "ca", "fr" }, { "fr-ch", "ch", "fr" },
    { "hr", "hr", "" },    { "hu", "hu", "" },       { "is", "is", "" },      { "it", "it", "" },
    { "ja", "jp", "" },    { "lt", "lt", "" },       { "lv", "lv", "" },      { "mk", "mk", "" },
    { "nl", "nl", "" },    { "no", "no", "" },       { "pl", "pl", "" },      { "pt", "pt", "" },
    { "pt-br", "br", "" }, { "ru", "ru", "" },       { "sl", "si", "" },      { "sv", "se", "" },
    { "th", "th", "" },    { "tr", "tr", "" },
};

const char *const *key_layout_names(void)
{
    static const char *names[G_N_ELEMENTS(known) + 1];
    for (unsigned i = 0; i < G_N_ELEMENTS(known); i++) {
        names[i] = known[i].name;
    }
    return names;
}

static char usual[32] = "en-us";

void key_layout_set_usual(const char *name)
{
    g_strlcpy(usual, name, sizeof(usual)); /* one of the names above */
}

#if HAVE_XKBCOMMON
#include <xkbcommon/xkbcommon.h>

enum { LEVELS = 4, EVDEV_OFFSET = 8 }; /* X's numbers of keys are Linux's, and 8 */

#define XKB_FUNCTIONS(F)                                                                                     \
    F(xkb_context_new)                                                                                       \
    F(xkb_context_unref)                                                                                     \
    F(xkb_context_set_log_level)                                                                             \
    F(xkb_keymap_new_from_names)                                                                             \
    F(xkb_keymap_unref) F(xkb_keymap_min_keycode) F(xkb_keymap_max_keycode) F(xkb_keymap_mod_get_index)      \
        F(xkb_keymap_num_levels_for_key) F(xkb_keymap_key_get_syms_by_level)                                 \
            F(xkb_keymap_key_get_mods_for_level) F(xkb_utf32_to_keysym)

static struct Lib {
#define FIELD(f) __typeof__(f) *f;
    XKB_FUNCTIONS(FIELD)
#undef FIELD
} lib;

static bool load(Error **errp)
{
    static const LibraryCall calls[] = {
#define CALL(f) { #f, offsetof(struct Lib, f), false },
        XKB_FUNCTIONS(CALL)
#undef CALL
    };
    static const Library xkb = {
        .file = "libxkbcommon.so.0",
        .what = "keyboard layouts need libxkbcommon",
        .cure = "install libxkbcommon0 and xkb-data",
        .calls = calls,
        .n = G_N_ELEMENTS(calls),
    };
    return lib.xkb_context_new || library_load(&xkb, &lib, errp);
}

struct KeyLayout {
    GHashTable *keys; /* keysym -> key, and modifiers from bit 8 on */
};

/* LAYOUT_* that reach the level, LAYOUT_OTHER when something else is needed (Num Lock). */
static unsigned level_mods(struct xkb_keymap *map, xkb_keycode_t code, xkb_level_index_t level)
{
    xkb_mod_mask_t masks[16], shift = 1u << lib.xkb_keymap_mod_get_index(map, XKB_MOD_NAME_SHIFT);
    xkb_mod_mask_t altgr = 1u << lib.xkb_keymap_mod_get_index(map, "Mod5"); /* LevelThree */
    size_t n = lib.xkb_keymap_key_get_mods_for_level(map, code, 0, level, masks, G_N_ELEMENTS(masks));
    unsigned best = level == 0 ? 0 : LAYOUT_OTHER;
    for (size_t i = 0; best && i < n; i++) {
        if (!(masks[i] & ~(shift | altgr))) {
            unsigned mods = (masks[i] & shift ? LAYOUT_SHIFT : 0) | (masks[i] & altgr ? LAYOUT_ALTGR : 0);
            best = MIN(best, mods);
        }
    }
    return best;
}

static void add_key(KeyLayout *l, struct xkb_keymap *map, xkb_keycode_t code, InputKey key)
{
    xkb_level_index_t levels = MIN(lib.xkb_keymap_num_levels_for_key(map, code, 0), LEVELS);
    for (xkb_level_index_t level = 0; level < levels; level++) {
        const xkb_keysym_t *syms;
        unsigned mods = level_mods(map, code, level);
        if (lib.xkb_keymap_key_get_syms_by_level(map, code, 0, level, &syms) == 1) {
            gpointer had = g_hash_table_lookup(l->keys, GUINT_TO_POINTER(*syms));
            if (!had || GPOINTER_TO_UINT(had) >> 9 > mods) {
                g_hash_table_insert(l->keys, GUINT_TO_POINTER(*syms),
                                    GUINT_TO_POINTER(mods << 9 | 0x100 | key));
            }
        }
    }
}

static struct xkb_keymap *compile(const char *name, Error **errp)
{
    struct xkb_rule_names names = { .rules = "evdev", .model = "pc105" };
    for (unsigned i = 0; i < G_N_ELEMENTS(known); i++) {
        if (g_str_equal(known[i].name, name)) {
            names.layout = known[i].layout;
            names.variant = known[i].variant;
        }
    }
    if (!names.layout) {
        error_fail(errp, "not-found", NULL, NULL, "there is no keyboard layout '%s'", name);
        error_hint_nearest(errp, name, key_layout_names());
        error_hint_else(errp, "-k help lists them");
        return NULL;
    }
    if (!load(errp)) {
        return NULL;
    }
    struct xkb_context *ctx = lib.xkb_context_new(XKB_CONTEXT_NO_ENVIRONMENT_NAMES);
    struct xkb_keymap *map = NULL;
    if (ctx) {
        lib.xkb_context_set_log_level(ctx, XKB_LOG_LEVEL_CRITICAL);
        map = lib.xkb_keymap_new_from_names(ctx, &names, XKB_KEYMAP_COMPILE_NO_FLAGS);
        lib.xkb_context_unref(ctx);
    }
    if (!map) {
        error_set(errp, "keyboard layout '%s' is not in the host's keyboard database", name);
        error_hint(errp, "install xkb-data");
    }
    return map;
}

KeyLayout *key_layout_new(const char *name, Error **errp)
{
    struct xkb_keymap *map = compile(name ? name : usual, errp);
    if (!map) {
        return NULL;
    }
    KeyLayout *l = g_new0(KeyLayout, 1);
    l->keys = g_hash_table_new(NULL, NULL);
    for (xkb_keycode_t c = lib.xkb_keymap_min_keycode(map); c <= lib.xkb_keymap_max_keycode(map); c++) {
        int key = c > EVDEV_OFFSET ? input_key_find_evdev(c - EVDEV_OFFSET) : -1;
        if (key >= 0) {
            add_key(l, map, c, (InputKey)key);
        }
    }
    lib.xkb_keymap_unref(map);
    return l;
}

void key_layout_free(KeyLayout *l)
{
    if (l) {
        g_hash_table_destroy(l->keys);
        g_free(l);
    }
}

bool key_layout_keysym(const KeyLayout *l, uint32_t keysym, InputKey *key, unsigned *mods)
{
    unsigned found = GPOINTER_TO_UINT(g_hash_table_lookup(l->keys, GUINT_TO_POINTER(keysym)));
    if (!found) {
        return false;
    }
    *key = found & 0xff;
    if (mods) {
        *mods = found >> 9;
    }
    return true;
}

bool key_layout_char(const KeyLayout *l, uint32_t unicode, InputKey *key, unsigned *mods)
{
    uint32_t keysym = unicode == '\n' ? XKB_KEY_Return : lib.xkb_utf32_to_keysym(unicode);
    unsigned needed;
    if (!keysym || !key_layout_keysym(l, keysym, key, &needed) || needed == LAYOUT_OTHER) {
        return false;
    }
    if (mods) {
        *mods = needed;
    }
    return true;
}
#else
KeyLayout *key_layout_new(const char *name, Error **errp)
{
    error_fail(errp, "not-supported", NULL, NULL, "keyboard layout '%s': this build has no libxkbcommon",
               name ? name : usual);
    error_hint(errp, "build it with libxkbcommon-dev");
    return NULL;
}

void key_layout_free(KeyLayout *l)
{
    (void)l;
}

bool key_layout_keysym(const KeyLayout *l, uint32_t keysym, InputKey *key, unsigned *mods)
{
    (void)l, (void)keysym, (void)key, (void)mods;
    return false;
}

bool key_layout_char(const KeyLayout *l, uint32_t unicode, InputKey *key, unsigned *mods)
{
    (void)l, (void)unicode, (void)key, (void)mods;
    return false;
}
#endif
