/* SPDX-License-Identifier: MIT
 * tools/img/create.c - rhea-img create and resize.
 *
 * Threads: the main thread.
 */
#include "img.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const BlockDriver *img_format(const char *name, Error **errp)
{
    int kind = type_enum_value(block_driver_name_names, name);
    const BlockDriver *d = kind < 0 ? NULL : block_drivers[kind];
    if (!d) {
        error_set(errp, "format '%s' is not known", name);
        error_hint_nearest(errp, name, block_driver_name_names);
        return NULL;
    }
    if (!d->format || !d->format->create) {
        error_set(errp, "images of format '%s' cannot be created", name);
        return NULL;
    }
    return d;
}

int img_print_options(const char *format)
{
    Error *err = NULL;
    const BlockDriver *d = img_format(format, &err);
    if (!d) {
        return tool_fail(err);
    }
    printf("Supported %s options:\n", format);
    const TypeDesc *t = d->format->create_type;
    for (unsigned i = 0; i < t->n; i++) {
        if (!t->fields[i].refused) {
            printf("  %s=<%s> - %s\n", t->fields[i].name, t->fields[i].type->name, t->fields[i].doc);
        }
    }
    return 0;
}

void *img_create_options(const BlockFormatOps *f, const char *format, const char *options, int64_t size,
                         const char *backing, const char *backing_format, Error **errp)
{
    bool from_text = true;
    g_autoptr(Json) o = keyval_parse(options ? options : "", NULL, &from_text, errp);
    if (!o) {
        return NULL;
    }
    if (size >= 0) {
        g_autofree char *text = g_strdup_printf("%" PRId64, size);
        json_put(o, "size", json_new_string(text));
    }
    if (backing) {
        json_put(o, "backing_file", json_new_string(backing));
    }
    if (backing_format) {
        json_put(o, "backing_fmt", json_new_string(backing_format));
    }
    void *out = g_malloc0(f->create_type->size);
    if (!type_decode(f->create_type, o, true, out, errp)) {
        error_prefix(errp, "options of format '%s'", format);
        g_clear_pointer(&out, g_free);
    }
    return out;
}

/* Every format's options have a size; its place is found by name. */
static uint64_t *size_field(const TypeDesc *t, void *options, bool **has)
{
    for (unsigned i = 0; i < t->n; i++) {
        if (strcmp(t->fields[i].name, "size") == 0) {
            *has = (bool *)((char *)options + t->fields[i].has_offset);
            return (uint64_t *)((char *)options + t->fields[i].offset);
        }
    }
    g_assert_not_reached();
}

/* What is always told of a new qcow2 image; the rest when it was given. As qemu-img. */
static bool told(const char *key, Json *given)
{
    static const char *const always[] = {
        "cluster_size", "extended_l2", "compression_type", "size", "lazy_refcounts", "refcount_bits", NULL
    };
    bool found;
    json_member(given, key, &found);
    return found || g_strv_contains(always, key);
}

static void print_options(const char *name, const char *format, const TypeDesc *t, const void *options,
                          const char *given_text)
{
    bool from_text;
    g_autoptr(Json) j = type_encode(t, options);
    g_autoptr(Json) given = keyval_parse(given_text ? given_text : "", NULL, &from_text, NULL);
    printf("Formatting '%s', fmt=%s", name, format);
    json_object_object_foreach(j, key, value)
    {
        bool on;
        if (!told(key, given) && strcmp(key, "backing_file") != 0 && strcmp(key, "backing_fmt") != 0) {
            continue;
        }
        if (json_get_bool(value, &on)) {
            printf(" %s=%s", key, on ? "on" : "off");
        } else {
            printf(" %s=%s", key, json_object_get_string(value));
        }
    }
    printf("\n");
}

bool img_create(Img *m, const char *format, const char *name, const char *options, int64_t size,
                const char *backing, const char *backing_format, bool say, Error **errp)
{
    const BlockDriver *d = img_format(format, errp);
    void *o = d ? img_create_options(d->format, format, options, size, backing, backing_format, errp) : NULL;
    if (!o) {
        return false;
    }
    bool *has;
    uint64_t *bytes = size_field(d->format->create_type, o, &has);
    bool ok = *has || error_set(errp, "'%s': an image needs a size", name);
    if (ok && say && !m->quiet) {
        print_options(name, format, d->format->create_type, o, options);
    }
    *bytes = (uint64_t)tool_whole_sectors((int64_t)*bytes);
    ok = ok && d->format->create(m->graph, name, o, errp);
    type_clear(d->format->create_type, o);
    g_free(o);
    return ok;
}

bool img_backing_size(Img *m, const char *image, const char *backing, const char *format, int64_t *size,
                      Error **errp)
{
    g_autofree char *path = img_beside(image, backing);
    bool share = m->share, opts = m->image_opts;
    m->image_opts = false;
    m->share = true; /* only its size is wanted */
    BlockNode *n = img_open(m, path, format, IMG_READ, NULL, errp);
    m->share = share;
    m->image_opts = opts;
    if (!n) {
        error_prefix(errp, "backing file '%s'", backing);
        error_hint(errp, "-u creates the image without looking at it");
        return false;
    }
    *size = tool_whole_sectors(block_size(n));
    block_unref(n);
    return true;
}

int img_cmd_create(Img *m, int argc, char **argv)
{
    const char *format = "raw", *backing = NULL, *backing_format = NULL;
    g_autofree char *options = NULL;
    bool unsafe = false;
    Error *err = NULL;
    int64_t size = -1;
    for (int c; (c = img_getopt(m, argc, argv, "qf:b:F:uo:", NULL)) != -1;) {
        switch (c) {
        case 'f': format = optarg; break;
        case 'b': backing = optarg; break;
        case 'F': backing_format = optarg; break;
        case 'u': unsafe = true; break;
        case 'o': img_join_options(&options, optarg); break;
        default: return 1;
        }
    }
    if (m->image_opts) {
        return tool_complain("--image-opts: a new image has a file's name");
    }
    if (img_asks_help(options)) {
        return img_print_options(format);
    }
    if (optind != argc - 1 && optind != argc - 2) {
        return tool_complain("create needs a file's name and a size");
    }
    const char *name = argv[optind];
    if (optind + 1 < argc && !img_size(argv[optind + 1], &size, &err)) {
        return tool_fail(err);
    }
    bool from_text;
    g_autoptr(Json) given = keyval_parse(options ? options : "", NULL, &from_text, NULL);
    const char *opt_backing = given ? json_get_string(json_member(given, "backing_file", NULL)) : NULL;
    const char *opt_format = given ? json_get_string(json_member(given, "backing_fmt", NULL)) : NULL;
    const char *base = backing ? backing : opt_backing,
               *base_format = backing_format ? backing_format : opt_format;
    if (base && !base_format) {
        tool_complain("the backing file's format is not given");
        fprintf(stderr, "rhea-img: name it with -F, as in -F raw or -F qcow2\n");
        return 1;
    }
    bool sized = false;
    if (given) {
        json_member(given, "size", &sized);
    }
    if (sized && size >= 0) {
        return tool_complain("'%s': the size is given twice, behind the name and by -o size=", name);
    }
    int64_t base_bytes = 0;
    if (base && !unsafe) {
        if (!img_backing_size(m, name, base, base_format, &base_bytes, &err)) {
            return tool_fail(err);
        }
        size = size < 0 && !sized ? base_bytes : size;
    }
    return img_create(m, format, name, options, size, backing, backing_format, true, &err) ? 0
                                                                                           : tool_fail(err);
}

/* resize */

typedef struct Resize {
    BlockClient *c;
    int64_t size;
    int prealloc;
    Error *err;
    bool ok;
} Resize;

static void resize_body(void *opaque)
{
    Resize *r = opaque;
    r->ok = block_truncate(r->c, r->size, r->prealloc, &r->err);
}

static int resize(Img *m, const char *name, const char *format, const char *size_text, int prealloc,
                  bool shrink)
{
    Error *err = NULL;
    int relative = *size_text == '+' ? 1 : *size_text == '-' ? -1 : 0;
    int64_t n;
    if (!img_size(size_text + (relative != 0), &n, &err)) {
        return tool_fail(err);
    }
    BlockClient *c = img_open_client(m, name, format, IMG_WRITE, NULL, &err);
    if (!c) {
        return tool_fail(err);
    }
    int64_t was = tool_whole_sectors(block_size(block_client_node(c)));
    Resize r = { .c = c, .size = relative ? was + relative * n : n, .prealloc = prealloc };
    int status = 0;
    if (r.size <= 0) {
        status = tool_complain("the new size must be positive");
    } else if (r.size < was && !shrink) {
        status = tool_complain("%s would lose all data behind its new end; --shrink does it", name);
    } else {
        img_co(m, resize_body, &r);
        status = r.ok ? 0 : tool_fail(r.err);
    }
    block_client_free(c);
    if (status == 0 && !m->quiet) {
        printf("Image resized.\n");
    }
    return status;
}

int img_cmd_resize(Img *m, int argc, char **argv)
{
    static const ToolOption more[] = { { "preallocation", IMG_LONG, true },
                                       { "shrink", IMG_LONG + 1 },
                                       TOOL_OPTIONS_END };
    const char *format = NULL;
    int prealloc = BLOCK_PREALLOC_OFF;
    bool shrink = false;
    /* "-5G" at the end is a size, not options. */
    const char *size = argv[argc - 1];
    argc -= g_ascii_isdigit(size[strspn(size, "+-")]) ? 1 : 0;
    for (int c; (c = img_getopt(m, argc, argv, "f:q", more)) != -1;) {
        switch (c) {
        case 'f': format = optarg; break;
        case IMG_LONG:
            prealloc = type_enum_value(block_prealloc_names, optarg);
            if (prealloc < 0) {
                return tool_complain("preallocation mode '%s' is not known (off, metadata, falloc, full)",
                                     optarg);
            }
            break;
        case IMG_LONG + 1: shrink = true; break;
        default: return 1;
        }
    }
    if (optind != argc - 1 || size != argv[argc]) {
        return tool_complain("resize needs a file's name and a size");
    }
    return resize(m, argv[optind], format, size, prealloc, shrink);
}
