/* SPDX-License-Identifier: MIT
 * tools/img/measure.c - rhea-img measure: how much space would a new image take?
 *
 * Threads: the main thread.
 */
#include "img.h"

#include <stdio.h>

static int print_measure(const Img *m, const BlockMeasure *r)
{
    if (m->json) {
        Json *j = json_new_object();
        if (r->bitmaps != UINT64_MAX) {
            json_put(j, "bitmaps", json_new_uint(r->bitmaps));
        }
        json_put(j, "required", json_new_uint(r->required));
        json_put(j, "fully-allocated", json_new_uint(r->fully_allocated));
        img_print_json(j);
        json_unref(j);
    } else {
        printf("required size: %" PRIu64 "\nfully allocated size: %" PRIu64 "\n", r->required,
               r->fully_allocated);
        if (r->bitmaps != UINT64_MAX) {
            printf("bitmaps size: %" PRIu64 "\n", r->bitmaps);
        }
    }
    return 0;
}

int img_cmd_measure(Img *m, int argc, char **argv)
{
    static const ToolOption more[] = { { "size", IMG_LONG, true }, TOOL_OPTIONS_END };
    const char *out_format = "raw", *format = NULL, *snapshot = NULL;
    g_autofree char *options = NULL;
    int64_t size = -1;
    Error *err = NULL;
    for (int c; (c = img_getopt(m, argc, argv, "JO:o:f:l:U", more)) != -1;) {
        switch (c) {
        case 'O': out_format = optarg; break;
        case 'o': img_join_options(&options, optarg); break;
        case 'f': format = optarg; break;
        case 'l': snapshot = optarg; break;
        case IMG_LONG:
            if (!img_size(optarg, &size, &err)) {
                return tool_fail(err);
            }
            break;
        default: return 1;
        }
    }
    if (img_asks_help(options)) {
        return img_print_options(out_format);
    }
    if ((size >= 0) == (optind < argc) || argc - optind > 1) {
        return tool_complain("measure needs either --size or one file's name");
    }
    if (size >= 0 && (m->image_opts || format || snapshot)) {
        return tool_complain("--image-opts, -f and -l say how a file is read: they do not go with --size");
    }
    BlockClient *source = NULL;
    if (size < 0) {
        source = img_open_client(m, argv[optind], format, IMG_READ, NULL, &err);
        if (!source) {
            return tool_fail(err);
        }
        if (snapshot && !tool_view_snapshot(block_client_node(source), snapshot, &err)) {
            block_client_free(source);
            return tool_fail(err);
        }
        size = tool_whole_sectors(block_size(block_client_node(source)));
    }
    const BlockDriver *d = img_format(out_format, &err);
    void *o = d ? img_create_options(d->format, out_format, options, size, NULL, NULL, &err) : NULL;
    BlockMeasure r;
    bool ok = o && d->format->measure(o, size, source, &r, &err);
    if (o) {
        type_clear(d->format->create_type, o);
        g_free(o);
    }
    block_client_free(source);
    return ok ? print_measure(m, &r) : tool_fail(err);
}
