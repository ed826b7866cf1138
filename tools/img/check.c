/* SPDX-License-Identifier: MIT
 * tools/img/check.c - rhea-img check: leaks and errors of an image, and their repair.
 *
 * Threads: the main thread.
 */
#include "img.h"

#include <stdio.h>
#include <string.h>

typedef struct Check {
    BlockNode *n;
    BlockCheck res;
    unsigned fix;
    Error *err;
} Check;

static void check_body(void *opaque)
{
    Check *k = opaque;
    k->n->driver->format->check(k->n, &k->res, k->fix, &k->err);
}

static void check_say(void *opaque, const char *text)
{
    const Img *m = opaque;
    if (!m->quiet) {
        fprintf(stderr, "%s\n", text);
    }
}

static void check_print_json(const Check *k)
{
    const BlockCheck *r = &k->res;
    const struct {
        const char *name;
        int64_t value;
        bool always;
    } rows[] = {
        { "image-end-offset", r->image_end, false },
        { "total-clusters", r->total_clusters, false },
        { "check-errors", r->check_errors, true },
        { "allocated-clusters", r->allocated_clusters, false },
        { "fragmented-clusters", r->fragmented_clusters, false },
        { "compressed-clusters", r->compressed_clusters, false },
        { "leaks", r->leaks, false },
        { "leaks-fixed", r->leaks_fixed, false },
        { "corruptions", r->corruptions, false },
        { "corruptions-fixed", r->corruptions_fixed, false },
    };
    Json *j = json_new_object();
    for (unsigned i = 0; i < G_N_ELEMENTS(rows); i++) {
        if (rows[i].value || rows[i].always) {
            json_put(j, rows[i].name, json_new_int(rows[i].value));
        }
    }
    json_put(j, "filename", json_new_string(block_filename(k->n)));
    json_put(j, "format", json_new_string(block_driver_name(k->n)));
    img_print_json(j);
    json_unref(j);
}

static void check_print(const Check *k)
{
    const BlockCheck *r = &k->res;
    if (!r->corruptions && !r->leaks && !r->check_errors) {
        printf("No errors were found on the image.\n");
    }
    if (r->corruptions) {
        printf("\n%" PRId64 " errors were found on the image.\n"
               "Data may be corrupted, or further writes to the image may corrupt it.\n",
               r->corruptions);
    }
    if (r->leaks) {
        printf("\n%" PRId64 " leaked clusters were found on the image.\n"
               "This means waste of disk space, but no harm to data.\n",
               r->leaks);
    }
    if (r->check_errors) {
        printf("\n%" PRId64 " internal errors have occurred during the check.\n", r->check_errors);
    }
    if (r->total_clusters && r->allocated_clusters) {
        printf("%" PRId64 "/%" PRId64
               " = %0.2f%% allocated, %0.2f%% fragmented, %0.2f%% compressed clusters\n",
               r->allocated_clusters, r->total_clusters,
               (double)r->allocated_clusters * 100 / (double)r->total_clusters,
               (double)r->fragmented_clusters * 100 / (double)r->allocated_clusters,
               (double)r->compressed_clusters * 100 / (double)r->allocated_clusters);
    }
    if (r->image_end) {
        printf("Image end offset: %" PRId64 "\n", r->image_end);
    }
}

int img_cmd_check(Img *m, int argc, char **argv)
{
    static const ToolOption more[] = { { "repair", 'r', true }, TOOL_OPTIONS_END };
    const char *format = NULL;
    ToolCache cache = { 0 };
    Check k = { .fix = 0 };
    Error *err = NULL;
    for (int c; (c = img_getopt(m, argc, argv, "Jqf:r:T:U", more)) != -1;) {
        switch (c) {
        case 'f': format = optarg; break;
        case 'r':
            k.fix = strcmp(optarg, "leaks") == 0 ? BLOCK_FIX_LEAKS
                    : strcmp(optarg, "all") == 0 ? BLOCK_FIX_LEAKS | BLOCK_FIX_ERRORS
                                                 : 0;
            if (!k.fix) {
                return tool_complain("-r takes leaks or all, not '%s'", optarg);
            }
            break;
        case 'T':
            if (!tool_parse_cache(optarg, &cache, &err)) {
                return tool_fail(err);
            }
            break;
        default: return 1;
        }
    }
    if (optind != argc - 1) {
        return tool_complain("check needs one file's name");
    }
    k.n = img_open(m, argv[optind], format, k.fix ? IMG_WRITE : IMG_READ, &cache, &err);
    if (!k.n) {
        return tool_fail(err);
    }
    if (!k.n->driver->format || !k.n->driver->format->check) {
        tool_complain("images of format '%s' have nothing to check", block_driver_name(k.n));
        block_unref(k.n);
        return 63;
    }
    k.res.say = check_say;
    k.res.opaque = m;
    img_co(m, check_body, &k);
    if ((k.res.leaks_fixed || k.res.corruptions_fixed) && !k.err) {
        int64_t leaks = k.res.leaks_fixed, errors = k.res.corruptions_fixed;
        if (!m->json && !m->quiet) {
            printf("The following inconsistencies were found and repaired:\n\n    %" PRId64
                   " leaked clusters\n    %" PRId64
                   " corruptions\n\nDouble checking the fixed image now...\n",
                   leaks, errors);
        }
        k.res = (BlockCheck){ .say = check_say, .opaque = m };
        k.fix = 0;
        img_co(m, check_body, &k);
        k.res.leaks_fixed = leaks;
        k.res.corruptions_fixed = errors;
    }
    if (m->json) {
        check_print_json(&k);
    } else if (!m->quiet) {
        check_print(&k);
    }
    int status = k.err || k.res.check_errors ? 1 : k.res.corruptions ? 2 : k.res.leaks ? 3 : 0;
    block_unref(k.n);
    if (k.err) {
        tool_fail(k.err);
    }
    return status;
}
