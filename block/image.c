/* SPDX-License-Identifier: MIT
 * block/image.c - from an image's name to the options of its nodes.
 *
 * Models: "json:{...}" carries options; "file:PATH" and anything else is a path. The format is the given one
 * or the one whose driver knows the first bytes; raw when none does. Threads: the main loop's.
 */
#include "internal.h"
#include "rhea/util/text.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { PROBE_BYTES = 2048 };

const char *block_probe(const uint8_t *head, size_t len)
{
    for (unsigned i = 0; i < BLOCK_DRIVER_NAME__COUNT; i++) {
        const BlockFormatOps *f = block_drivers[i]->format;
        if (f && f->probe && f->probe(head, len)) {
            return block_drivers[i]->name;
        }
    }
    return "raw";
}

static const char *probe(const char *path, Error **errp)
{
    uint8_t head[PROBE_BYTES];
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0) {
        error_set_errno(errp, errno, "cannot open '%s'", path);
        return NULL;
    }
    ssize_t len = pread(fd, head, sizeof(head), 0);
    int err = errno;
    close(fd);
    if (len < 0) {
        error_set_errno(errp, err, "cannot read '%s'", path);
        return NULL;
    }
    return block_probe(head, (size_t)len);
}

Json *block_image_options(const char *name, const char *format, Error **errp)
{
    if (g_str_has_prefix(name, "json:")) {
        Json *o = json_parse(name + 5, -1, errp);
        if (o && json_kind(o) != JSON_OBJECT) {
            error_set(errp, "'%s' is not a JSON object", name);
            g_clear_pointer(&o, json_unref);
        }
        if (o && format) {
            json_put(o, "driver", json_new_string(format));
        }
        return o;
    }
    const char *path = g_str_has_prefix(name, "file:") ? name + 5 : name;
    struct stat st;
    if (stat(path, &st) < 0) {
        error_set_errno(errp, errno, "cannot open '%s'", path);
        return NULL;
    }
    bool device = S_ISBLK(st.st_mode) || S_ISCHR(st.st_mode);
    if (!format) {
        format = probe(path, errp);
        if (!format) {
            return NULL;
        }
    }
    int kind = type_enum_value(block_driver_name_names, format);
    if (kind < 0) {
        error_set(errp, "format '%s' is not known", format);
        error_hint_nearest(errp, format, block_driver_name_names);
        return NULL;
    }
    Json *file = json_new_object();
    json_put(file, "driver", json_new_string(device ? "host_device" : "file"));
    json_put(file, "filename", json_new_string(path));
    if (kind == BLOCK_DRIVER_NAME_FILE || kind == BLOCK_DRIVER_NAME_HOST_DEVICE) {
        json_put(file, "driver", json_new_string(format));
        return file;
    }
    Json *o = json_new_object();
    json_put(o, "driver", json_new_string(format));
    json_put(o, "file", file);
    return o;
}
