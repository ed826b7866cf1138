/* SPDX-License-Identifier: MIT
 * tests/fuzz/json.c - any bytes as JSON text, as it comes from clients of QMP and from options.
 *
 * What must hold: what was parsed is the same value after it was printed, in both forms, and parsed again.
 * Covers: util/json-parse.c, json.c.
 */
#include "rhea/util/json.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void same_again(const Json *j, bool pretty)
{
    g_autoptr(Error) err = NULL;
    g_autofree char *text = json_format(j, pretty);
    g_autoptr(Json) again = json_parse(text, -1, &err);
    if (err || !json_equal(j, again)) {
        fprintf(stderr, "fuzz: '%s' is %s\n", text, err ? error_text(err) : "another value");
        abort();
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    g_autoptr(Error) err = NULL;
    g_autoptr(Json) j = json_parse((const char *)data, (ssize_t)size, &err);
    if (!err) {
        same_again(j, false);
        same_again(j, true);
    }
    return 0;
}
