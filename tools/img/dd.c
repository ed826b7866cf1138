/* SPDX-License-Identifier: MIT
 * tools/img/dd.c - rhea-img dd: copies a part of an image to a new one.
 *
 * Models: qemu-img's operands. count= are blocks of input behind skip=, as of dd(1); qemu-img 7.2 counts from
 * the image's beginning. Threads: the main thread.
 */
#include "convert.h"
#include "rhea/util/log.h"

#include <string.h>

typedef struct Operands {
    const char *in, *out;
    int64_t bs, count, skip;
} Operands;

static bool take_operand(Operands *o, const char *arg)
{
    const char *value = strchr(arg, '=');
    size_t len = value ? (size_t)(value - arg) : strlen(arg);
    g_autofree char *key = g_strndup(arg, len);
    int64_t *number = strcmp(key, "bs") == 0      ? &o->bs
                      : strcmp(key, "count") == 0 ? &o->count
                      : strcmp(key, "skip") == 0  ? &o->skip
                                                  : NULL;
    const char **name = strcmp(key, "if") == 0 ? &o->in : strcmp(key, "of") == 0 ? &o->out : NULL;
    Error *err = NULL;
    if (!value || (!number && !name)) {
        tool_complain("dd does not know '%s' (bs=, count=, skip=, if=, of=)", arg);
        return false;
    }
    if (name) {
        *name = value + 1;
    } else if (!img_size(value + 1, number, &err)) {
        error_prefix(&err, "%s", key);
        tool_fail(err);
        return false;
    }
    return true;
}

static int copy(Img *m, const Operands *o, const char *format, ConvertTarget *to)
{
    Error *err = NULL;
    BlockClient *c = img_open_client(m, o->in, format, IMG_READ, NULL, &err);
    if (!c) {
        return tool_fail(err);
    }
    int64_t size = tool_whole_sectors(block_size(block_client_node(c)));
    int64_t from = o->skip > size / o->bs ? size : o->skip * o->bs;
    int64_t len =
        o->count >= 0 && o->count < (size - from + o->bs - 1) / o->bs ? o->count * o->bs : size - from;
    if (o->skip > 0 && from >= size) {
        log_warn("skip=%" PRId64 " lies behind the end of '%s'", o->skip, o->in);
    }
    /* The part as a source of its own, by its offset. */
    Convert k = { .m = m, .sparse = 4096, .sources = g_array_new(FALSE, TRUE, sizeof(ConvertSource)) };
    ConvertSource s = { .c = c, .start = -from, .size = MIN(from + len, block_size(block_client_node(c))) };
    g_array_append_val(k.sources, s);
    k.total = len;
    to->name = o->out;
    int status = convert_open_target(&k, to, &err) ? convert_run(&k, 8) : tool_fail(err);
    block_client_free(k.target);
    block_client_free(c);
    g_array_free(k.sources, TRUE);
    return status;
}

int img_cmd_dd(Img *m, int argc, char **argv)
{
    const char *format = NULL;
    Operands o = { .bs = 512, .count = -1 };
    ConvertTarget to = { .format = "raw" };
    for (int c; (c = img_getopt(m, argc, argv, "Uf:O:", NULL)) != -1;) {
        switch (c) {
        case 'f': format = optarg; break;
        case 'O': to.format = optarg; break;
        default: return 1;
        }
    }
    for (; optind < argc; optind++) {
        if (!take_operand(&o, argv[optind])) {
            return 1;
        }
    }
    if (!o.in || !o.out || o.bs <= 0 || o.bs > INT32_MAX) {
        return tool_complain(o.in && o.out ? "bs must be from 1 to 2147483647" : "dd needs if= and of=");
    }
    return copy(m, &o, format, &to);
}
