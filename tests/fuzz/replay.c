/* SPDX-License-Identifier: MIT
 * tests/fuzz/replay.c - gives a target the files named, and those of the folders named, one after the other.
 *
 * For builds without libFuzzer, and for a single input under a debugger.
 */
#include <glib.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static unsigned run_file(const char *path)
{
    g_autofree char *bytes = NULL;
    gsize len;
    if (!g_file_get_contents(path, &bytes, &len, NULL)) {
        fprintf(stderr, "cannot read '%s'\n", path);
        return 0;
    }
    /* A copy without room behind it: reads past the end are seen. */
    g_autofree uint8_t *data = g_memdup2(bytes, len);
    LLVMFuzzerTestOneInput(data, len);
    return 1;
}

int main(int argc, char **argv)
{
    unsigned n = 0;
    for (int i = 1; i < argc; i++) {
        GDir *dir = g_dir_open(argv[i], 0, NULL);
        const char *name;
        while (dir && (name = g_dir_read_name(dir))) {
            g_autofree char *path = g_build_filename(argv[i], name, NULL);
            n += run_file(path);
        }
        n += dir ? 0 : run_file(argv[i]);
        if (dir) {
            g_dir_close(dir);
        }
    }
    printf("%u inputs\n", n);
    return n == 0;
}
