/* SPDX-License-Identifier: MIT
 * block/image.c - from an image's name to the options of its nodes.
 *
 * Models: "json:{...}" carries options, "nbd:..." and "nbd+unix:..." are URLs; "file:PATH" and anything else
 *         is a path. The format is the given one or the one whose driver knows the first bytes; raw when none
 * does. A path's are read here, another node's when it is open (node.c). Threads: the main loop's.
 */
#include "internal.h"
#include "rhea/block/nbd.h"
#include "rhea/util/errorcode.h"
#include "rhea/util/fdset.h"
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

/* Of a set of descriptors, any that can be read will do. */
static int open_to_look(const char *path)
{
    int fd = fdset_open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK, 0);
    return fd < 0 && fdset_is_path(path) ? fdset_open(path, O_RDWR | O_CLOEXEC, 0) : fd;
}

static const char *probe(const char *path, Error **errp)
{
    uint8_t head[PROBE_BYTES];
    int fd = open_to_look(path);
    if (fd < 0) {
        error_set_errno(errp, errno, "cannot open '%s'", path);
        return NULL;
    }
    ssize_t len = pread(fd, head, sizeof(head), 0);
    int err = errno;
    fdset_close(fd);
    if (len < 0) {
        error_set_errno(errp, err, "cannot read '%s'", path);
        return NULL;
    }
    return block_probe(head, (size_t)len);
}

typedef struct ProbeRead {
    BlockNode *n;
    uint8_t head[PROBE_BYTES];
    size_t len;
    int r;
} ProbeRead;

static void probe_read(void *opaque)
{
    ProbeRead *p = opaque;
    p->r = node_pread(p->n, 0, p->head, p->len);
}

const char *block_probe_node(BlockNode *n, Error **errp)
{
    g_autofree ProbeRead *p = g_new0(ProbeRead, 1);
    p->n = n;
    p->len = (size_t)MIN(block_size(n), (int64_t)PROBE_BYTES);
    co_run_sync(n->graph->loop, probe_read, p);
    if (p->r < 0) {
        error_set_errno(errp, -p->r, "cannot read '%s'", n->filename);
        return NULL;
    }
    return block_probe(p->head, p->len);
}

static bool known_format(const char *format, Error **errp)
{
    if (type_enum_value(block_driver_name_names, format) < 0) {
        error_fail(errp, "invalid-value", "format", NULL, "format '%s' is not known", format);
        error_hint_nearest(errp, format, block_driver_name_names);
        error_hint_else(errp, "such as raw or qcow2");
        return false;
    }
    return true;
}

static Json *url_options(const char *url, const char *format, Error **errp)
{
    if (format && !known_format(format, errp)) {
        return NULL;
    }
    Json *file = nbd_url_options(url, errp);
    if (!file || (format && g_str_equal(format, "nbd"))) {
        return file;
    }
    Json *o = json_put(json_new_object(), "file", file);
    return format ? json_put(o, "driver", json_new_string(format)) : o;
}

/* blkdebug:[CONFIG]:IMAGE */
static Json *blkdebug_options(const char *text, const char *format, Error **errp)
{
    const char *colon = strchr(text, ':');
    if (!colon) {
        error_fail(errp, "missing-member", "file", NULL, "'blkdebug:%s': the image is missing", text);
        error_hint(errp, "write blkdebug:CONFIG:IMAGE; the name of the configuration file may be empty");
        return NULL;
    }
    Json *o = block_image_options(colon + 1, format, errp), *file = o ? json_member(o, "file", NULL) : NULL;
    if (o && !file) {
        error_fail(errp, "invalid-value", "file", "name an image behind the colon",
                   "'blkdebug:%s': '%s' has nothing below that blkdebug could serve", text, colon + 1);
        g_clear_pointer(&o, json_unref);
    }
    if (!o) {
        return NULL;
    }
    Json *debug = json_put(json_new_object(), "driver", json_new_string("blkdebug"));
    json_put(debug, "image", json_ref(file));
    if (colon > text) {
        g_autofree char *config = g_strndup(text, (gsize)(colon - text));
        json_put(debug, "config", json_new_string(config));
    }
    return json_put(o, "file", debug);
}

static int path_stat(const char *path, struct stat *st)
{
    if (!fdset_is_path(path)) {
        return stat(path, st);
    }
    int fd = open_to_look(path);
    int r = fd < 0 ? -1 : fstat(fd, st);
    if (fd >= 0) {
        fdset_close(fd);
    }
    return r;
}

Json *block_image_options(const char *name, const char *format, Error **errp)
{
    if (g_str_has_prefix(name, "blkdebug:")) {
        return blkdebug_options(name + 9, format, errp);
    }
    if (g_str_has_prefix(name, "json:")) {
        Json *o = json_parse(name + 5, -1, errp);
        if (o && json_kind(o) != JSON_OBJECT) {
            error_fail(errp, "invalid-json", "file",
                       "it looks like json:{\"driver\": \"file\", \"filename\": \"NAME\"}",
                       "'%s' is not a JSON object", name);
            g_clear_pointer(&o, json_unref);
        }
        if (o && format) {
            json_put(o, "driver", json_new_string(format));
        }
        return o;
    }
    if (nbd_is_url(name)) {
        return url_options(name, format, errp);
    }
    const char *path = g_str_has_prefix(name, "file:") ? name + 5 : name;
    struct stat st;
    if (path_stat(path, &st) < 0) {
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
    if (!known_format(format, errp)) {
        return NULL;
    }
    int kind = type_enum_value(block_driver_name_names, format);
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
