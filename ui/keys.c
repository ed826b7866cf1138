/* SPDX-License-Identifier: MIT
 * ui/keys.c - the table of keys (rhea/ui/keys.h), by name and by each of their codes.
 * Threads: any.
 */
#include "rhea/ui/input.h"

static const struct Key {
    const char *name;
    uint16_t set1;
    uint8_t usage, evdev;
} keys[INPUT_KEYS] = {
#define INPUT_KEY(id, name, set1, set2, set3, usage, evdev) [INPUT_KEY_##id] = { name, set1, usage, evdev },
#include "rhea/ui/keys.h"
#undef INPUT_KEY
};

int input_key_find(const char *name)
{
    for (unsigned k = 0; k < INPUT_KEYS; k++) {
        if (g_str_equal(keys[k].name, name)) {
            return k;
        }
    }
    return -1;
}

int input_key_find_code(unsigned code)
{
    unsigned set1 = code & 0x80 ? 0xe000 | (code & 0x7f) : code;
    if (code == 0x54) {
        return INPUT_KEY_PRINT; /* SysRq is Print Screen with Alt */
    }
    if (code == 0xc6) {
        return INPUT_KEY_PAUSE;
    }
    for (unsigned k = 0; code && code < 0x100 && k < INPUT_KEYS; k++) {
        if (keys[k].set1 == set1) {
            return k;
        }
    }
    return -1;
}

int input_key_find_evdev(unsigned code)
{
    for (unsigned k = 0; code && k < INPUT_KEYS; k++) {
        if (keys[k].evdev == code) {
            return k;
        }
    }
    return -1;
}

const char *input_key_name(InputKey key)
{
    return key < INPUT_KEYS ? keys[key].name : NULL;
}

unsigned input_key_usage(InputKey key)
{
    return key < INPUT_KEYS ? keys[key].usage : 0;
}

unsigned input_key_evdev(InputKey key)
{
    return key < INPUT_KEYS ? keys[key].evdev : 0;
}
