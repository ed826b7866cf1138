/* SPDX-License-Identifier: MIT
 * tests/fuzz/keyval.c - any text as an option's argument, key=value or JSON, decoded into the type that the
 * first byte chooses.
 *
 * What must hold: what was decoded is the same after it was encoded, printed, and decoded again as JSON.
 * Covers: schema/keyval.c, type.c, and the tables of the types.
 */
#include "rhea/schema/type.h"
#include "schema/block.h"
#include "schema/chardev.h"
#include "schema/drive.h"
#include "schema/hostmem.h"
#include "schema/net.h"
#include "schema/options.h"
#include "schema/qmp.h"
#include "schema/smbios.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const struct {
    const TypeDesc *type;
    const char *implied;
} kinds[] = {
    { &machine_options_type, "type" },      { &accel_options_type, "accel" },
    { &smp_options_type, "cpus" },          { &memory_options_type, "size" },
    { &rtc_options_type, "base" },          { &boot_options_type, "order" },
    { &action_options_type, NULL },         { &numa_options_type, "type" },
    { &fw_cfg_options_type, "name" },       { &chardev_options_type, "backend" },
    { &drive_options_type, "file" },        { &blockdev_options_type, "driver" },
    { &host_mem_options_type, "qom-type" }, { &netdev_options_type, "type" },
    { &nic_options_type, "type" },          { &smbios_options_type, "type" },
    { &object_options_type, "qom-type" },
};

static void same_again(const TypeDesc *t, const void *value)
{
    g_autoptr(Error) err = NULL;
    g_autoptr(Json) first = type_encode(t, value);
    g_autofree void *again = g_malloc0(t->size);
    if (!type_decode(t, first, false, again, &err)) {
        g_autofree char *text = json_format(first, false);
        fprintf(stderr, "fuzz: %s: '%s' is refused: %s\n", t->name, text, error_text(err));
        abort();
    }
    g_autoptr(Json) second = type_encode(t, again);
    type_clear(t, again);
    if (!json_equal(first, second)) {
        fprintf(stderr, "fuzz: %s is another value when it comes again\n", t->name);
        abort();
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    bool from_text;
    if (!size) {
        return 0;
    }
    const TypeDesc *t = kinds[data[0] % G_N_ELEMENTS(kinds)].type;
    g_autofree char *text = g_strndup((const char *)data + 1, size - 1);
    g_autofree void *value = g_malloc0(t->size);
    g_autoptr(Error) err = NULL;
    g_autoptr(Json) j = keyval_parse(text, kinds[data[0] % G_N_ELEMENTS(kinds)].implied, &from_text, &err);
    if (j && type_decode(t, j, from_text, value, &err)) {
        same_again(t, value);
        type_clear(t, value);
    }
    return 0;
}
