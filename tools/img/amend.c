/* SPDX-License-Identifier: MIT
 * tools/img/amend.c - rhea-img amend: changes options of an image that were given when it was made.
 *
 * Threads: the main thread.
 */
#include "img.h"

#include <stdio.h>
#include <string.h>

typedef struct Amend {
    BlockNode *n;
    const void *options;
    Error *err;
    bool ok;
} Amend;

static void amend_body(void *opaque)
{
    Amend *a = opaque;
    a->ok = a->n->driver->format->amend(a->n, a->options, &a->err);
}

static int print_options(const char *format)
{
    int kind = type_enum_value(block_driver_name_names, format);
    const BlockFormatOps *f = kind < 0 ? NULL : block_drivers[kind]->format;
    if (!f || !f->amend) {
        return tool_complain("images of format '%s' have no options that can be amended; those of qcow2 have",
                             format);
    }
    printf("Amend options for '%s':\n", format);
    for (unsigned i = 0; i < f->amend_type->n; i++) {
        const FieldDesc *d = &f->amend_type->fields[i];
        if (!d->refused) {
            printf("  %s=<%s> - %s\n", d->name, d->type->name, d->doc);
        }
    }
    return 0;
}

static int amend(Img *m, const char *name, const char *format, const char *text, const ToolCache *cache)
{
    Error *err = NULL;
    BlockClient *c = img_open_client(m, name, format, IMG_WRITE, cache, &err);
    if (!c) {
        return tool_fail(err);
    }
    Amend a = { .n = block_client_node(c) };
    const BlockFormatOps *f = a.n->driver->format;
    if (!f || !f->amend) {
        error_set(&a.err, "Format driver '%s' does not support option amendment", block_driver_name(a.n));
    } else {
        bool from_text;
        g_autoptr(Json) o = keyval_parse(text, NULL, &from_text, &a.err);
        g_autofree void *decoded = g_malloc0(f->amend_type->size);
        if (o && type_decode(f->amend_type, o, true, decoded, &a.err)) {
            a.options = decoded;
            img_progress(m, 0, 1);
            img_co(m, amend_body, &a);
            type_clear(f->amend_type, decoded);
        }
    }
    block_client_free(c);
    if (!a.ok) {
        return tool_fail(a.err);
    }
    img_progress_end(m);
    return 0;
}

int img_cmd_amend(Img *m, int argc, char **argv)
{
    static const ToolOption more[] = { { "force", IMG_LONG, false,
                                         "no image here has keys that it could erase", "leave it out" },
                                       TOOL_OPTIONS_END };
    const char *format = NULL;
    g_autofree char *options = NULL;
    ToolCache cache = { 0 };
    Error *err = NULL;
    for (int c; (c = img_getopt(m, argc, argv, "pqf:t:o:", more)) != -1;) {
        switch (c) {
        case 'f': format = optarg; break;
        case 'o': img_join_options(&options, optarg); break;
        case 't':
            if (!tool_parse_cache(optarg, &cache, &err)) {
                return tool_fail(err);
            }
            break;
        default: return 1;
        }
    }
    if (!options) {
        return tool_complain("amend needs options (-o)");
    }
    bool help = img_asks_help(options);
    if (help && format) {
        return print_options(format);
    }
    if (optind != argc - 1) {
        return tool_complain("amend needs one file's name");
    }
    if (help) {
        BlockNode *n = img_open(m, argv[optind], NULL, IMG_READ, NULL, &err);
        int status = n ? print_options(block_driver_name(n)) : tool_fail(err);
        block_unref(n);
        return status;
    }
    return amend(m, argv[optind], format, options, &cache);
}
